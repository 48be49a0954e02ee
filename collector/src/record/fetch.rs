//! One GET within a time limit and a bound on size: pages of metrics, answers of Prometheus.
//!
//! Of this machine's own endpoints: no proxy, and certificates are not checked, since a kubelet's is mostly its own. So nothing that
//! these answer is trusted further than a metric is.

use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

/// Most bytes of an answer, unpacked.
const MOST: u64 = 64 << 20;

/// Where a token lies, which is read anew for each request: they are renewed every hour.
#[derive(Clone, Debug)]
pub struct Token(pub PathBuf);

/// A client without connections to spare: cheap to make, one a thread.
pub struct Fetcher {
    agent: ureq::Agent,
}

impl Fetcher {
    /// With a time limit for each request as a whole.
    pub fn new(limit: Duration) -> Self {
        let tls = ureq::tls::TlsConfig::builder().disable_verification(true).build();
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(limit))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .tls_config(tls)
            .user_agent("syncline-collector")
            .build();
        Self { agent: config.into() }
    }

    /// The body of an answer 200.
    ///
    /// # Errors
    /// Everything else, in words without the URL (which may hold a password) and without what was sent.
    pub fn get(&self, url: &str, accept: &str, token: Option<&Token>) -> anyhow::Result<Vec<u8>> {
        let mut request = self.agent.get(url).header("Accept", accept).header("Accept-Encoding", "gzip");
        if let Some(Token(path)) = token {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            request = request.header("Authorization", format!("Bearer {}", text.trim()));
        }
        let mut response = request.call()?;
        let status = response.status().as_u16();
        if status != 200 {
            let why = match status {
                401 => " (it asks for a token)",
                403 => " (the account may not read it)",
                300..=399 => " (it redirects)",
                _ => "",
            };
            bail!("it answered {status}{why}");
        }
        // ureq unpacks what the server said it packed; one that packs without a word is seen by its first bytes.
        let mut body = Vec::new();
        response.body_mut().as_reader().take(MOST + 1).read_to_end(&mut body)?;
        if body.starts_with(&[0x1f, 0x8b]) {
            let mut plain = Vec::new();
            flate2::read::MultiGzDecoder::new(body.as_slice()).take(MOST + 1).read_to_end(&mut plain)?;
            body = plain;
        }
        ensure!(body.len() as u64 <= MOST, "its answer is larger than {} MiB", MOST >> 20);
        Ok(body)
    }
}

/// A URL as it may be shown: without name and password, and without its query.
pub fn shown(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let end = rest.find('/').unwrap_or(rest.len());
    let authority = rest[..end].rsplit('@').next().unwrap_or_default();
    if scheme.is_empty() {
        format!("{authority}{}", &rest[end..])
    } else {
        format!("{scheme}://{authority}{}", &rest[end..])
    }
}

/// The same as a word for the name of a file.
pub fn stem(url: &str) -> String {
    let shown = shown(url);
    let rest = shown.split_once("://").map_or(shown.as_str(), |(_, rest)| rest).trim_end_matches('/');
    let rest = rest.strip_suffix("/metrics").unwrap_or(rest);
    rest.chars().map(|letter| if letter.is_ascii_alphanumeric() || letter == '.' { letter } else { '-' }).collect()
}

/// Why a URL cannot be asked; null where it can.
pub fn refused(url: &str) -> Option<&'static str> {
    let Some((scheme, rest)) = url.split_once("://") else { return Some("it does not begin with http:// or https://") };
    if !matches!(scheme, "http" | "https") {
        return Some("it does not begin with http:// or https://");
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Some("it holds a name and password: they belong into a proxy of your own, not on a command line");
    }
    if authority.is_empty() || rest.bytes().any(|byte| byte <= b' ') {
        return Some("it names no host");
    }
    None
}

#[cfg(test)]
pub mod tests {
    use super::{Fetcher, Token, refused, shown, stem};
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener};
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    /// A server that answers every request by `answer`, of its number; and what it was asked.
    pub fn server(answer: impl Fn(usize) -> Vec<u8> + Send + 'static) -> (SocketAddr, Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let Ok(mut stream) = stream else { return };
                let mut request = Vec::new();
                let mut piece = [0_u8; 1024];
                while !request.ends_with(b"\r\n\r\n") {
                    match stream.read(&mut piece) {
                        Ok(count) if count > 0 => request.extend_from_slice(&piece[..count]),
                        _ => break,
                    }
                }
                let _ = sender.send(String::from_utf8_lossy(&request).into_owned());
                let _ = stream.write_all(&answer(number));
            }
        });
        (address, receiver)
    }

    /// An answer 200.
    pub fn ok(head: &str, body: &[u8]) -> Vec<u8> {
        let mut text = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{head}Content-Length: {}\r\n\r\n", body.len())
            .into_bytes();
        text.extend_from_slice(body);
        text
    }

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).expect("memory");
        encoder.finish().expect("memory")
    }

    fn get(answer: Vec<u8>) -> Result<Vec<u8>, String> {
        let (address, _asked) = server(move |_| answer.clone());
        let found = Fetcher::new(Duration::from_secs(20)).get(&format!("http://{address}/metrics"), "*/*", None);
        found.map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn answers_are_read_packed_and_in_chunks() {
        assert_eq!(get(ok("", b"a 1\n")), Ok(b"a 1\n".to_vec()));
        assert_eq!(get(ok("Content-Encoding: gzip\r\n", &packed(b"a 1\n"))), Ok(b"a 1\n".to_vec()));
        assert_eq!(get(ok("", &packed(b"a 1\n"))), Ok(b"a 1\n".to_vec()));
        let chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\na \r\n2\r\n1\n\r\n0\r\n\r\n".to_vec();
        assert_eq!(get(chunks), Ok(b"a 1\n".to_vec()));
    }

    #[test]
    fn what_is_no_whole_answer_is_an_error() {
        assert!(
            get(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".to_vec()).unwrap_err().contains("may not read")
        );
        assert!(
            get(b"HTTP/1.1 302 Found\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n".to_vec())
                .unwrap_err()
                .contains("302")
        );
        assert!(get(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na 1\n".to_vec()).is_err());
        assert!(get(b"SSH-2.0\r\n".to_vec()).is_err());
        assert!(get(Vec::new()).is_err());
        let mut half = packed(b"a 1\n");
        half.truncate(half.len() - 6);
        assert!(get(ok("Content-Encoding: gzip\r\n", &half)).is_err());
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("its address"));
        // It accepts and never answers.
        assert!(Fetcher::new(Duration::from_millis(50)).get(&url, "*/*", None).is_err());
    }

    #[test]
    fn a_token_is_sent_and_never_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        std::fs::write(&path, "SECRET-TOKEN\n").expect("a token");
        let (address, asked) = server(|_| b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n".to_vec());
        let fetcher = Fetcher::new(Duration::from_secs(20));
        let error = fetcher.get(&format!("http://{address}/"), "*/*", Some(&Token(path))).expect_err("401");
        assert!(asked.recv().expect("a request").to_lowercase().contains("authorization: bearer secret-token\r\n"));
        assert!(!format!("{error:#}").contains("SECRET"), "{error:#}");
    }

    #[test]
    fn urls_are_shown_without_secrets() {
        assert_eq!(shown("http://user:pw@a.b:1/metrics?token=x"), "http://a.b:1/metrics");
        assert_eq!(stem("http://10.0.0.1:9100/metrics"), "10.0.0.1-9100");
        assert_eq!(stem("https://[fd00::1]:10250/metrics/cadvisor"), "-fd00--1--10250-metrics-cadvisor");
        for wrong in ["a:9100", "ftp://a", "http://u:p@a/", "http:///x", "http://a b/"] {
            assert!(refused(wrong).is_some(), "{wrong}");
        }
        assert_eq!(refused("http://a:9100"), None);
    }
}
