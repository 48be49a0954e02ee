//! One HTTP/1.1 request and its answer over a connection that is given, within a deadline.
//!
//! Small on purpose: a client library would hide when the connection was made, and retries what must be counted as failed.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Longest head of an answer.
const HEAD: usize = 64 << 10;
/// How much of a body is kept to see who answered.
const KEPT: usize = 1024;
/// Bodies are read so far; a longer one counts as answered, and its connection is not used again.
const BODY: usize = 8 << 20;
/// How often a wait looks whether the recording has ended.
const LOOK: Duration = Duration::from_millis(250);

/// Why there was no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Refused,
    Reset,
    Timeout,
    Unreachable,
    Dns,
    /// The server closed the connection ahead of the whole answer.
    Closed,
    /// What came is no HTTP.
    NotHttp,
    /// The fault lies with this machine (no port or no descriptor left): it tells nothing of the dataplane.
    Ours,
    Other,
}

impl Fault {
    /// The word in a line's `err`: those that a reader of `requests` tells apart.
    pub fn word(self) -> &'static str {
        match self {
            Fault::Refused => "refused",
            Fault::Reset => "reset",
            Fault::Timeout => "timeout",
            Fault::Unreachable => "unreachable",
            Fault::Dns => "dns",
            Fault::Closed => "closed early",
            Fault::NotHttp => "no HTTP",
            Fault::Ours => "client",
            Fault::Other => "other",
        }
    }

    /// That of an error of a socket.
    pub fn of(error: &io::Error) -> Self {
        use io::ErrorKind as K;
        match error.kind() {
            K::ConnectionRefused => Fault::Refused,
            K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe => Fault::Reset,
            K::TimedOut | K::WouldBlock => Fault::Timeout,
            K::HostUnreachable | K::NetworkUnreachable | K::NetworkDown => Fault::Unreachable,
            K::UnexpectedEof => Fault::Closed,
            K::AddrNotAvailable | K::AddrInUse => Fault::Ours,
            // EMFILE, ENFILE.
            _ if matches!(error.raw_os_error(), Some(24 | 23)) => Fault::Ours,
            _ => Fault::Other,
        }
    }
}

/// A request without an answer.
#[derive(Debug)]
pub struct Failure {
    pub fault: Fault,
    /// Where it failed, and what the system said.
    pub words: String,
    /// Whether it was given up because the recording ended: it proves nothing.
    pub given_up: bool,
}

impl Failure {
    pub fn new(fault: Fault, words: impl Into<String>) -> Self {
        Self { fault, words: words.into(), given_up: false }
    }

    /// That of an error while doing something.
    pub fn of(error: &io::Error, doing: &str) -> Self {
        Self::new(Fault::of(error), format!("{doing}: {error}"))
    }
}

/// An answer that was read to its end.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Who answered, where the server tells it.
    pub backend: Option<String>,
    /// Whether the connection may be used again.
    pub keep: bool,
}

/// Sends `request` and reads the answer, until `deadline` or until `ended` says so.
///
/// # Errors
/// Every end but a whole answer.
pub fn exchange(
    stream: &mut TcpStream,
    request: &[u8],
    deadline: Instant,
    ended: &dyn Fn() -> bool,
) -> Result<Answer, Failure> {
    let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let set = stream.set_write_timeout(Some(left));
    set.and_then(|()| stream.write_all(request)).map_err(|error| Failure::of(&error, "send"))?;
    let mut reader = Reader { stream, deadline, ended, buffer: Vec::with_capacity(2048) };
    loop {
        let head = reader.head()?;
        // 100 Continue and its like come ahead of the answer; 101 is one.
        if (100..200).contains(&head.status) && head.status != 101 {
            continue;
        }
        let empty = matches!(head.status, 101 | 204 | 304);
        let (body, whole) = match head.length {
            _ if empty => (Vec::new(), head.status != 101),
            Length::Bytes(length) => reader.bytes(length)?,
            Length::Chunked => reader.chunks()?,
            Length::ToEnd => reader.until_closed()?,
        };
        let backend = head.backend.or_else(|| backend_in(&body));
        return Ok(Answer { status: head.status, backend, keep: head.keep && whole });
    }
}

enum Length {
    Bytes(usize),
    Chunked,
    ToEnd,
}

struct Head {
    status: u16,
    length: Length,
    keep: bool,
    backend: Option<String>,
}

struct Reader<'a> {
    stream: &'a mut TcpStream,
    deadline: Instant,
    ended: &'a dyn Fn() -> bool,
    /// Read and not used so far.
    buffer: Vec<u8>,
}

impl Reader<'_> {
    /// Reads more; false at the end of the stream.
    fn more(&mut self) -> Result<bool, Failure> {
        let mut piece = [0_u8; 8192];
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Failure::new(Fault::Timeout, "no whole answer in time"));
            }
            let wait = left.min(LOOK).max(Duration::from_millis(1));
            self.stream.set_read_timeout(Some(wait)).map_err(|error| Failure::of(&error, "receive"))?;
            match self.stream.read(&mut piece) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    self.buffer.extend_from_slice(&piece[..count]);
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    if (self.ended)() {
                        let given_up = Failure::new(Fault::Timeout, "the recording ended");
                        return Err(Failure { given_up: true, ..given_up });
                    }
                }
                Err(error) => return Err(Failure::of(&error, "receive")),
            }
        }
    }

    fn needed(&mut self, where_: &str) -> Result<(), Failure> {
        if self.more()? { Ok(()) } else { Err(Failure::new(Fault::Closed, format!("connection closed {where_}"))) }
    }

    fn head(&mut self) -> Result<Head, Failure> {
        let end = loop {
            if let Some(at) = memchr::memmem::find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
            if self.buffer.len() > HEAD {
                return Err(Failure::new(Fault::NotHttp, "the head of the answer has no end"));
            }
            let start = &self.buffer[..self.buffer.len().min(5)];
            if !b"HTTP/".starts_with(start) {
                return Err(Failure::new(Fault::NotHttp, "the answer does not begin with HTTP/"));
            }
            self.needed("ahead of the answer's head")?;
        };
        let head: Vec<u8> = self.buffer.drain(..end).collect();
        let text = String::from_utf8_lossy(&head);
        let mut lines = text.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let mut words = first.splitn(3, ' ');
        let version = words.next().unwrap_or_default();
        let status =
            words.next().and_then(|word| word.parse::<u16>().ok()).filter(|status| (100..1000).contains(status));
        let (true, Some(status)) = (version.starts_with("HTTP/1."), status) else {
            return Err(Failure::new(Fault::NotHttp, "the answer's first line has no status"));
        };
        let (mut length, mut chunked, mut keep, mut backend) = (None, false, version != "HTTP/1.0", None);
        for line in lines {
            let Some((name, value)) = line.split_once(':') else { continue };
            let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
            match name.as_str() {
                "content-length" => match value.parse::<usize>() {
                    Ok(value) => length = Some(value),
                    Err(_) => return Err(Failure::new(Fault::NotHttp, "Content-Length is no number")),
                },
                "transfer-encoding" => chunked = value.to_ascii_lowercase().contains("chunked"),
                "connection" => {
                    let value = value.to_ascii_lowercase();
                    keep = (keep || value.contains("keep-alive")) && !value.contains("close");
                }
                "x-backend" | "x-backend-server" | "x-served-by" | "x-pod" | "x-pod-name" | "x-hostname" => {
                    backend = backend.or_else(|| name_of(value));
                }
                _ => {}
            }
        }
        let length = match (chunked, length) {
            (true, _) => Length::Chunked,
            (false, Some(length)) => Length::Bytes(length),
            (false, None) => Length::ToEnd,
        };
        Ok(Head { status, length, keep, backend })
    }

    /// A body of a known length: its beginning, and whether all of it was read.
    fn bytes(&mut self, length: usize) -> Result<(Vec<u8>, bool), Failure> {
        let mut kept = Vec::new();
        let mut left = length;
        loop {
            let take = left.min(self.buffer.len());
            keep(&mut kept, &self.buffer[..take]);
            self.buffer.drain(..take);
            left -= take;
            if left == 0 {
                // What stands behind the body belongs to no request.
                return Ok((kept, self.buffer.is_empty()));
            }
            if length - left > BODY {
                return Ok((kept, false));
            }
            self.needed("within the body")?;
        }
    }

    fn chunks(&mut self) -> Result<(Vec<u8>, bool), Failure> {
        let mut kept = Vec::new();
        let mut read = 0;
        loop {
            let line = self.line()?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let Ok(length) = usize::from_str_radix(digits, 16) else {
                return Err(Failure::new(Fault::NotHttp, "a chunk without its length"));
            };
            if length == 0 {
                // Trailers, up to an empty line.
                while !self.line()?.is_empty() {}
                return Ok((kept, self.buffer.is_empty()));
            }
            read += length;
            if read > BODY {
                return Ok((kept, false));
            }
            while self.buffer.len() < length + 2 {
                self.needed("within a chunk")?;
            }
            keep(&mut kept, &self.buffer[..length]);
            self.buffer.drain(..length + 2);
        }
    }

    fn line(&mut self) -> Result<String, Failure> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.buffer, b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            if self.buffer.len() > HEAD {
                return Err(Failure::new(Fault::NotHttp, "a line without an end"));
            }
            self.needed("within the body")?;
        }
    }

    fn until_closed(&mut self) -> Result<(Vec<u8>, bool), Failure> {
        let mut kept = Vec::new();
        let mut read = 0;
        loop {
            keep(&mut kept, &self.buffer);
            read += self.buffer.len();
            self.buffer.clear();
            if read > BODY || !self.more()? {
                return Ok((kept, false));
            }
        }
    }
}

fn keep(kept: &mut Vec<u8>, piece: &[u8]) {
    let room = KEPT.saturating_sub(kept.len());
    kept.extend_from_slice(&piece[..piece.len().min(room)]);
}

/// A text that can be the name or address of a backend.
fn name_of(text: &str) -> Option<String> {
    let text = text.trim();
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_' | ':' | '[' | ']');
    (!text.is_empty() && text.len() <= 253 && text.chars().all(allowed)).then(|| text.to_owned())
}

/// Who answered, by what servers of tests write: their name alone, `Hostname: NAME`, or JSON with it.
fn backend_in(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    if let Some(name) = name_of(text) {
        return Some(name);
    }
    if let Ok(serde_json::Value::Object(object)) = serde_json::from_str(text) {
        const KEYS: [&str; 6] = ["hostname", "pod", "podName", "pod_name", "host", "server"];
        return KEYS.iter().find_map(|key| object.get(*key)?.as_str().and_then(name_of));
    }
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("hostname").then(|| name_of(value))?
    })
}

#[cfg(test)]
mod tests {
    use super::{Answer, Failure, Fault, backend_in, exchange};
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    /// The outcome of one request to a server that answers with `pieces` and then does `last`.
    fn answered(pieces: &'static [&'static [u8]], last: fn(TcpStream)) -> Result<Answer, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0_u8; 4096];
            let _ = stream.read(&mut request);
            for piece in pieces {
                if stream.write_all(piece).is_err() {
                    return;
                }
            }
            last(stream);
        });
        let mut stream = TcpStream::connect(address).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        let found = exchange(&mut stream, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", deadline, &|| false);
        drop(stream);
        server.join().unwrap();
        found
    }

    fn closes(stream: TcpStream) {
        drop(stream);
    }

    /// Waits until the client is gone.
    fn waits(mut stream: TcpStream) {
        let _ = stream.read(&mut [0_u8; 16]);
    }

    #[test]
    fn reads_answers_of_every_length() {
        let ok = |keep| Answer { status: 200, backend: Some("test-1".to_owned()), keep };
        let plain: &[&[u8]] = &[b"HTTP/1.1 200 OK\r\nContent-", b"Length: 7\r\n\r\ntes", b"t-1\n"];
        assert_eq!(answered(plain, waits).unwrap(), ok(true));
        let chunked: &[&[u8]] = &[
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;a=b\r\ntes\r\n",
            b"3\r\nt-1\r\n0\r\nA: b\r\n\r\n",
        ];
        assert_eq!(answered(chunked, waits).unwrap(), ok(true));
        assert_eq!(answered(&[b"HTTP/1.0 200 OK\r\n\r\ntest-1"], closes).unwrap(), ok(false));
        let close: &[&[u8]] = &[b"HTTP/1.1 503 No\r\nConnection: close\r\nX-Backend: b\r\nContent-Length: 0\r\n\r\n"];
        assert_eq!(answered(close, waits).unwrap(), Answer { status: 503, backend: Some("b".to_owned()), keep: false });
        let early: &[&[u8]] = &[b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"];
        assert_eq!(answered(early, waits).unwrap(), Answer { status: 204, backend: None, keep: true });
        // A second answer that nobody asked for: the connection cannot be trusted.
        let twice: &[&[u8]] = &[b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"];
        assert!(!answered(twice, waits).unwrap().keep);
    }

    #[test]
    fn names_every_other_end() {
        let fault = |pieces, last| answered(pieces, last).unwrap_err().fault;
        assert_eq!(fault(&[], closes), Fault::Closed);
        assert_eq!(fault(&[b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"], closes), Fault::Closed);
        assert_eq!(fault(&[b"SSH-2.0-OpenSSH\r\n"], waits), Fault::NotHttp);
        assert_eq!(fault(&[b"HTTP/1.1 two\r\n\r\n"], waits), Fault::NotHttp);
        assert_eq!(fault(&[b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"], waits), Fault::NotHttp);
        assert_eq!(fault(&[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"], waits), Fault::NotHttp);
    }

    #[test]
    fn a_server_that_hangs_times_out_and_ends_with_the_recording() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let soon = Instant::now() + Duration::from_millis(20);
        let found = exchange(&mut stream, b"GET / HTTP/1.1\r\n\r\n", soon, &|| false).unwrap_err();
        assert_eq!((found.fault, found.given_up), (Fault::Timeout, false));
        let late = Instant::now() + Duration::from_secs(3600);
        let found = exchange(&mut stream, b"GET / HTTP/1.1\r\n\r\n", late, &|| true).unwrap_err();
        assert!(found.given_up);
    }

    #[test]
    fn sees_who_answered() {
        let seen = |body: &str| backend_in(body.as_bytes());
        assert_eq!(seen("10.244.0.9\n").as_deref(), Some("10.244.0.9"));
        assert_eq!(seen("\n\nHostname: test-abc\n\nPod Information:\n").as_deref(), Some("test-abc"));
        assert_eq!(seen("{\"a\": 1, \"hostname\": \"test-abc\"}").as_deref(), Some("test-abc"));
        assert_eq!(seen("<html>Welcome to nginx!</html>"), None);
        assert_eq!(seen(""), None);
    }
}
