//! Syslog as it goes over the wire (RFC 3164, RFC 5424): a line begins with its priority.
//!
//! ```text
//! <30>Feb  3 04:05:06 node-a kube-proxy[2445]: I0203 …
//! <30>1 2026-02-03T04:05:06.100200Z node-a kube-proxy 2445 - [x@1 a="b"] I0203 …
//! ```
//!
//! What syslog daemons write to files has no priority, and is read like journald's text.

use super::journald;
use super::layer::Layer;
use super::prefix::{self, Read, Taken, word};
use crate::form::stamp::Dating;

/// The layer.
pub const LAYER: Layer = Layer {
    name: "syslog",
    title: "syslog (RFC 3164, RFC 5424)",
    sample: "<30>1 2026-02-03T04:05:06.100200Z node-a kube-proxy 2445 - - I0203 04:05:06.100000       1 proxier.go:1] x\n",
    certain: true,
    wears: |head| prefix::worn(head, taken),
    open: |setting| prefix::open(setting, taken),
    put_on: Some(|text| prefix::put_on(text, "<30>1 2026-11-23T04:42:31.500000Z node-a kube-proxy 2445 - - ")),
};

fn taken<'a>(line: &'a [u8], dating: &Dating) -> Read<'a> {
    let read = || {
        // Over TCP the length may stand ahead of it.
        let digits = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let rest = if digits > 0 { line[digits..].strip_prefix(b" ")? } else { line };
        let rest = rest.strip_prefix(b"<")?;
        let end = memchr::memchr(b'>', &rest[..rest.len().min(4)])?;
        if end == 0 || !rest[..end].iter().all(u8::is_ascii_digit) {
            return None;
        }
        let rest = &rest[end + 1..];
        match rest.strip_prefix(b"1 ") {
            Some(rest) => newer(rest),
            None => journald::headed(rest, dating),
        }
    };
    read().map_or(Read::Other, Read::Inside)
}

fn newer(rest: &[u8]) -> Option<Taken<'_>> {
    let (time, rest) = match rest.strip_prefix(b"- ") {
        Some(rest) => (None, rest),
        None => prefix::rfc3339(rest).map(|(time, rest)| (Some(time), rest))?,
    };
    let (host, rest) = word(rest)?;
    let (_, rest) = word(rest)?;
    let (_, rest) = word(rest)?;
    let (_, mut rest) = word(rest)?;
    if let Some(behind) = rest.strip_prefix(b"-") {
        rest = behind;
    } else {
        while rest.first() == Some(&b'[') {
            rest = &rest[data(rest)?..];
        }
    }
    let text = rest.strip_prefix(b" ").unwrap_or(rest);
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    Some(Taken { time, node: Some(host).filter(|host| *host != "-"), text, ..Taken::default() })
}

/// Length of an element of structured data.
fn data(text: &[u8]) -> Option<usize> {
    let (mut quoted, mut at) = (false, 1);
    loop {
        match text.get(at)? {
            b'\\' if quoted => at += 1,
            b'"' => quoted = !quoted,
            b']' if !quoted => return Some(at + 1),
            _ => {}
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::LAYER;
    use crate::layers::harness::{lines, sections, wears};

    #[test]
    fn both_forms_are_read() {
        let text = "<30>1 2026-02-03T04:05:06.1002Z node-a kube-proxy 2445 - [x@1 a=\"]\"][y b=\"c\"] I0203 x\n<30>1 - - - - - - y\n<30>Feb  3 04:05:06 node-a kube-proxy[2445]: z\n57 <30>1 2026-02-03T04:05:06.1002Z node-a kube-proxy - - - w\n";
        assert!(wears(&LAYER, text));
        let time = Some(1_770_091_506_100_200_000);
        let expected = [(1, time, "I0203 x"), (2, None, "y"), (3, None, "z"), (4, time, "w")];
        assert_eq!(lines(&LAYER, text), expected.map(|(line, time, text)| (line, time, text.to_owned())));
        let around = &sections(&[&LAYER], text.as_bytes())[0].around;
        assert_eq!([1, 2, 3].map(|line| around.known(line).node), [Some("node-a"), None, Some("node-a")]);
        assert!(!wears(&LAYER, "<a>b</a>\n"));
    }
}
