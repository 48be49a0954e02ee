//! journald as `journalctl` prints it, and the files of syslog daemons: time, host and unit ahead of each line.
//!
//! ```text
//! -- Logs begin at Mon 2026-02-02 04:05:06 UTC, end at … --                      journald's own line
//! Feb 03 04:05:06 node-a kube-proxy[2445]: I0203 …                               short; short-precise has a fraction
//! 2026-02-03T04:05:06.100200+0000 node-a kube-proxy[2445]: I0203 …               short-iso, short-iso-precise
//! 1770091506.100200 node-a kube-proxy[2445]: I0203 …                             short-unix
//! Tue 2026-02-03 04:05:06 UTC node-a kube-proxy.service[2445]: I0203 …           short-full, with-unit
//! [   12.345678] node-a kube-proxy[2445]: I0203 …                                short-monotonic: no time
//! ```

use super::layer::Layer;
use super::prefix::{self, Read, Taken, word};
use crate::form::stamp::{self, Dating};

/// The layer.
pub const LAYER: Layer = Layer {
    name: "journald",
    title: "journalctl, and files of syslog daemons",
    sample: "Feb 03 04:05:06 node-a kube-proxy[2445]: I0203 04:05:06.100000       1 proxier.go:1] x\n",
    certain: true,
    wears: |head| prefix::worn(head, taken),
    open: |setting| prefix::open(setting, taken),
    put_on: Some(|text| prefix::put_on(text, "2026-11-23T04:42:31.500000+0000 node-a kube-proxy[2445]: ")),
};

fn taken<'a>(line: &'a [u8], dating: &Dating) -> Read<'a> {
    if line.starts_with(b"-- ") {
        let own = [&b"-- Logs begin"[..], b"-- Journal begins", b"-- Reboot", b"-- Boot ", b"-- No entries"];
        return if own.iter().any(|own| line.starts_with(own)) { Read::Own } else { Read::Other };
    }
    headed(line, dating).map_or(Read::Other, Read::Inside)
}

/// A line with time, host and unit ahead of it.
pub fn headed<'a>(line: &'a [u8], dating: &Dating) -> Option<Taken<'a>> {
    let (time, rest) = time(line, dating)?;
    let (host, rest) = word(rest)?;
    // The unit: a word, `[pid]` and a colon.
    let end = memchr::memchr(b':', &rest[..rest.len().min(200)])?;
    let unit = std::str::from_utf8(&rest[..end]).ok()?;
    let name = match unit.strip_suffix(']').and_then(|unit| unit.rsplit_once('[')) {
        Some((name, pid)) if !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) => return None,
        None => unit,
    };
    let text = &rest[end + 1..];
    let text = if text.is_empty() { text } else { text.strip_prefix(b" ")? };
    // Names of units and programs; a `(` is what a process is called ahead of `exec`.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@/()\\:".contains(&byte);
    let named = !name.is_empty() && name.bytes().all(plain) && !host.is_empty() && !host.contains(['[', '"', '=', '{']);
    named.then_some(Taken { time, node: Some(host), text, ..Taken::default() })
}

/// A time and its resolution, ns, where one is known.
type When = Option<(i64, i64)>;

/// The time ahead of a line, and the rest of the line.
fn time<'a>(line: &'a [u8], dating: &Dating) -> Option<(When, &'a [u8])> {
    let first = *line.first()?;
    if first == b'[' {
        let end = memchr::memchr(b']', &line[..line.len().min(40)])?;
        let number = line[1..end].trim_ascii();
        let plain = number.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b' ' | b'<' | b'>'));
        return (plain && number.contains(&b'.')).then_some((None, line.get(end + 2..)?));
    }
    let words = match first {
        b'0'..=b'9' if line.get(10) == Some(&b' ') && line.get(4) == Some(&b'-') => 2,
        b'0'..=b'9' => 1,
        _ if line.get(3) == Some(&b' ') && line.get(4).is_some_and(|byte| byte.is_ascii_digit() || *byte == b' ') => {
            let year = line.get(4..8)?.iter().all(u8::is_ascii_digit);
            // `Tue 2026-02-03 04:05:06 UTC` and `Feb 03 04:05:06`.
            if year { 4 } else { 3 }
        }
        _ => return None,
    };
    let mut at = 0;
    for _ in 0..words {
        at += line[at..].iter().take_while(|byte| **byte == b' ').count();
        at += memchr::memchr(b' ', line.get(at..)?)?;
    }
    let stamp = stamp::line(&line[..at])?;
    let time = stamp.time(dating).map(|time| (time, stamp.resolution));
    Some((time, &line[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::LAYER;
    use crate::layers::harness::{lines, sections, wears};

    #[test]
    fn every_form_is_read() {
        let second = 1_770_091_506_000_000_000;
        let micros = Some(second + 100_200_000);
        for (ahead, time) in [
            ("Feb 03 04:05:06", None),
            ("Feb  3 04:05:06.100200", None),
            ("2026-02-03T04:05:06+0000", Some(second)),
            ("2026-02-03T04:05:06.100200+00:00", micros),
            ("2026-02-03 04:05:06.100200+0000", micros),
            ("1770091506.100200", micros),
            ("Tue 2026-02-03 04:05:06 UTC", Some(second)),
            ("[   12.345678]", None),
        ] {
            for host in ["node-a", "myhost"] {
                let text = format!("-- Logs begin at Mon 2026-02-02. --\n{ahead} {host} kube-proxy[2445]: I0203 x\n");
                assert!(wears(&LAYER, &text), "{text}");
                assert_eq!(lines(&LAYER, &text), [(2, time, "I0203 x".to_owned())], "{text}");
                let around = &sections(&[&LAYER], text.as_bytes())[0].around;
                assert_eq!(around.known(1).node, Some(host), "{text}");
            }
        }
    }

    #[test]
    fn a_line_that_goes_on_has_the_time_of_its_entry() {
        let text = "2026-02-03T04:05:06+0000 a k[1]: x\n                 y\n";
        let time = Some(1_770_091_506_000_000_000);
        let expected = [(1, time, "x".to_owned()), (2, time, "                 y".to_owned())];
        assert_eq!(lines(&LAYER, text), expected);
    }

    #[test]
    fn others_are_none() {
        for text in [
            "Feb  3 04:05:06.123: 10.0.0.1:1 (ID:1) -> 10.0.0.2:2 (ID:2) to-endpoint FORWARDED (TCP Flags: SYN)\n",
            "2026-02-03T04:05:06.123Z I0203 04:05:06.1       1 proxier.go:1] x\n",
            "2026-02-03T04:05:06Z {app=\"a\"} x\n",
            "2026-02-03T04:05:06.123Z time=\"2026-02-03T04:05:06Z\" level=info msg=x\n",
            "I0203 04:05:06.100000       1 proxier.go:1] x\n",
            "Feb 03 05:05:06 NAME READY\nFeb 03 05:05:06 a-1 1/1\n",
        ] {
            assert!(!wears(&LAYER, text), "{text}");
        }
    }
}
