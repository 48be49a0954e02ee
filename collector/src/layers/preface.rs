//! What programs print around a document that was asked for: curl's meter, the headers of an answer, notices of kubectl.

use super::layer::{Dressed, Layer, Out, Peel, Setting};
use crate::form::{Head, stamp};

/// The layer.
pub const LAYER: Layer = Layer {
    name: "preface",
    title: "curl's meter, headers of HTTP, notices of kubectl",
    sample: "HTTP/1.1 200 OK\nContent-Type: text/plain\n\n# HELP a b\n",
    certain: true,
    wears: |head: &Head| {
        let mut lines = stamp::tried_lines(head.bytes, head.whole);
        lines.any(|line| line.starts_with(b"HTTP/") && status(line) || is_meter(line) || is_notice(line))
    },
    open: |_: &Setting| Box::new(Preface::default()),
    put_on: Some(|text| [b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n".as_slice(), text].concat()),
};

/// Beginnings of what kubectl, and shells, say beside the output.
const NOTICES: [&[u8]; 10] = [
    b"Defaulted container ",
    b"Defaulting container name to ",
    b"Unable to use a TTY",
    b"Warning: v1 Endpoints is deprecated",
    b"Warning: Use tokens from the TokenRequest",
    b"Found existing alias for ",
    b"command terminated with exit code",
    b"If you don't see a command prompt, try pressing enter",
    b"Found 2 pods, using pod/",
    b"Flag --",
];

/// Whether a line is what kubectl says beside the output.
pub fn is_notice(line: &[u8]) -> bool {
    NOTICES.iter().any(|notice| line.starts_with(notice))
        || (line.starts_with(b"Found ") && memchr::memmem::find(line, b" pods, using pod/").is_some())
}

fn status(line: &[u8]) -> bool {
    let mut words = line.split(|byte| *byte == b' ').skip(1);
    words.next().is_some_and(|code| code.len() == 3 && code.iter().all(u8::is_ascii_digit))
}

fn is_meter(line: &[u8]) -> bool {
    let short = line.len() < 120;
    let plain = line.trim_ascii();
    short
        && (plain.starts_with(b"% Total")
            || plain.ends_with(b"Left  Speed")
            || memchr::memmem::find(plain, b"--:--:--").is_some())
}

#[derive(Default)]
struct Preface {
    headers: bool,
}

impl Peel for Preface {
    fn line(&mut self, line: &Dressed<'_>, out: &mut Out) {
        let bytes = line.bytes.strip_suffix(b"\r").unwrap_or(line.bytes);
        if bytes.starts_with(b"HTTP/") && status(bytes) {
            self.headers = true;
        }
        if self.headers {
            // An empty line ends them; so does what is no header at all.
            self.headers = !bytes.is_empty();
            let header =
                bytes.is_empty() || bytes.starts_with(b"HTTP/") || memchr::memmem::find(bytes, b": ").is_some();
            if header {
                return out.around(bytes);
            }
            self.headers = false;
        }
        if is_meter(bytes) || is_notice(bytes) {
            return out.around(bytes);
        }
        out.bare(line.bytes, line.ended);
    }
}

#[cfg(test)]
mod tests {
    use super::LAYER;
    use crate::layers::harness::{lines, wears};

    #[test]
    fn what_stands_ahead_of_a_document_is_taken_off() {
        for (before, document) in [
            ("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n", "# HELP a b\na 1\n"),
            (
                "  % Total    % Received % Xferd  Average Speed   Time    Time     Time  Current\n                                 Dload  Upload   Total   Spent    Left  Speed\n100 26673    0 26673    0     0  8682k      0 --:--:-- --:--:-- --:--:-- 8682k\n",
                "# HELP up Whether.\n",
            ),
            ("Defaulted container \"cilium-agent\" out of: cilium-agent, config (init)\n", "NAME READY\n"),
        ] {
            let text = format!("{before}{document}");
            assert!(wears(&LAYER, &text), "{before}");
            let found: String = lines(&LAYER, &text).into_iter().map(|(_, _, text)| text + "\n").collect();
            assert_eq!(found, document);
        }
        assert!(!wears(&LAYER, "# HELP a b\n") && !wears(&LAYER, "HTTP/ is a protocol\n"));
    }
}
