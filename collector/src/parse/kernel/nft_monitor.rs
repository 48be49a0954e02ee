//! `nft -j monitor` and `nft monitor`: what was programmed, in the order in which the kernel did it.
//!
//! ```text
//! {"add": {"chain": {"family": "ip", "table": "kube-proxy", "name": "service-JKB34KST-default/test/tcp/http", "handle": 54}}}
//! {"delete": {"rule": {"family": "ip", "table": "kube-proxy", "chain": "service-JKB34KST-default/test/tcp/http", "handle": 70, "expr": […]}}}
//! {"add": {"element": {"family": "ip", "table": "kube-proxy", "name": "hairpin-connections", "elem": {"set": […]}}}}
//! add rule ip kube-proxy services ip daddr @cluster-ips …                                       (without -j)
//! # new generation 112 by process 20093 (nft)
//! ```
//!
//! Each line is a row of `trace_events`: event `NFT_ADD`, `NFT_DELETE`, `NFT_INSERT`, … , the whole line as its text. nft
//! writes no time. Where the line begins with seconds since the epoch (`nft -j monitor | ts %.s`) that is its time, which
//! is when the reader got it; else only the order is known.

use syncline_schema::clock::ClockToken;
use syncline_schema::loss;
use syncline_schema::trace::EventRow;

use crate::form::instant;
use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Reads, Sniff};

/// The format.
pub const FORMAT: Format = Format {
    kind: "nft-monitor",
    title: "nft -j monitor, nft monitor: every change of the ruleset in its order",
    clock: ClockToken::Node,
    cut: Cut::Lines,
    sniff,
    reads: Reads::Rows(parse),
    sample: "{\"add\": {\"element\": {\"family\": \"ip\", \"table\": \"kube-proxy\", \"name\": \"hairpin-connections\", \"elem\": {\"set\": [{\"concat\": [\"10.244.0.125\", \"10.244.0.125\", \"tcp\", 8080]}]}}}}\n",
    recognised: "lines `{\"add\": {\"rule\": …}}` (or chain, set, map, element, table) or `add rule FAMILY TABLE …`",
    capture: "nft -j monitor | ts %.s > monitor.jsonl",
    proves: "the order of all changes, and which of them were one transaction; with `ts` also when, within the reader's delay",
};

const WORDS: [&str; 7] = ["add", "create", "insert", "delete", "replace", "destroy", "flush"];
const OBJECTS: [&str; 9] = ["table", "chain", "rule", "set", "map", "element", "flowtable", "counter", "quota"];

fn sniff(head: &Head) -> Sniff {
    let kept = if head.whole {
        head.bytes
    } else {
        &head.bytes[..memchr::memrchr(b'\n', head.bytes).unwrap_or(head.bytes.len())]
    };
    let (mut good, mut bad) = (0, 0);
    for line in kept.split(|byte| *byte == b'\n').take(200) {
        let line = line.trim_ascii();
        match word_of(behind_stamp(line).1) {
            Some(_) => good += 1,
            None if line.is_empty() || line.starts_with(b"#") => {}
            None => bad += 1,
        }
    }
    // The first line may be a warning or a greeting.
    if good > 0 && bad <= 1 + good / 20 { Sniff::Yes } else { Sniff::No }
}

/// A leading `1795410238.560860790 `, and the rest.
fn behind_stamp(line: &[u8]) -> (Option<i64>, &[u8]) {
    let length = line.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count();
    match line.get(length) {
        Some(b' ' | b'\t') if length >= 10 => {
            (instant::epoch_seconds(&line[..length]), line[length..].trim_ascii_start())
        }
        _ => (None, line),
    }
}

/// The verb of a change.
fn word_of(line: &[u8]) -> Option<&'static str> {
    if let Some(rest) = line.strip_prefix(b"{") {
        let (verb, rest) = quoted(rest)?;
        let rest = rest.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start().strip_prefix(b"{")?;
        let (object, _) = quoted(rest)?;
        let known = OBJECTS.iter().any(|known| known.as_bytes() == object);
        return WORDS.into_iter().find(|word| known && word.as_bytes() == verb);
    }
    let mut words = line.split(|byte| *byte == b' ');
    let (verb, object, family) = (words.next()?, words.next()?, words.next()?);
    let known = OBJECTS.iter().any(|known| known.as_bytes() == object);
    let family = [&b"ip"[..], b"ip6", b"inet", b"arp", b"bridge", b"netdev"].contains(&family);
    WORDS.into_iter().find(|word| known && family && word.as_bytes() == verb)
}

fn quoted(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.trim_ascii_start().strip_prefix(b"\"")?;
    let end = memchr::memchr(b'"', text)?;
    Some((&text[..end], &text[end + 1..]))
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    for line in chunk.lines() {
        let text = line.bytes.trim_ascii();
        let (time, change) = behind_stamp(text);
        let event = match word_of(change) {
            Some("add") => "NFT_ADD",
            Some("create") => "NFT_CREATE",
            Some("insert") => "NFT_INSERT",
            Some("delete") => "NFT_DELETE",
            Some("replace") => "NFT_REPLACE",
            Some("destroy") => "NFT_DESTROY",
            Some("flush") => "NFT_FLUSH",
            _ if change.starts_with(b"# new generation ") => "NFT_GENERATION",
            _ if text.is_empty() || text.starts_with(b"#") => continue,
            // The greeting ahead of the first object.
            _ if line.number == 1 => continue,
            _ => {
                batch.reject(context, &line, "expected a change of nft monitor: {\"add\": {…}} or `add rule …`");
                continue;
            }
        };
        let whole = !change.starts_with(b"{") || serde_json::from_slice::<serde::de::IgnoredAny>(change).is_ok();
        if !whole {
            batch.reject(context, &line, "expected a whole JSON object on the line");
            continue;
        }
        let said = String::from_utf8_lossy(change);
        let process = said.split_once(" by process ").map(|(_, rest)| rest);
        batch.record(time);
        if time.is_none() {
            batch.loss(loss::NO_TIME, 1);
        }
        batch.push(&EventRow {
            source: context.source,
            record: line.number,
            clock: context.clock.as_str().into(),
            time,
            event: Some(event.into()),
            pid: process.and_then(|rest| rest.split(' ').next()?.parse().ok()),
            comm: process.and_then(|rest| Some(rest.split_once('(')?.1.trim_end_matches(')').to_owned().into())),
            text: said,
            ..Default::default()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::FORMAT;
    use crate::form::Sniff;
    use crate::parse::harness::{files, head, parse_text};

    #[test]
    fn reads_both_notations_and_the_time_of_a_reader() {
        let text = concat!(
            "# Warning: table ip nat is managed by iptables-nft, do not touch!\n",
            "1795410238.5 {\"add\": {\"chain\": {\"family\": \"ip\", \"table\": \"kube-proxy\", \"name\": \"x\"}}}\n",
            "delete rule ip kube-proxy services handle 7\n# new generation 112 by process 20093 (nft)\n",
            "{\"add\": {\"chain\": {\"family\": \"ip\", \"table\": \"kube-pro\n",
        );
        let batch = parse_text(&FORMAT, text);
        assert_eq!((batch.records, batch.rejected), (3, 1));
        assert_eq!(batch.span, Some((1_795_410_238_500_000_000, 1_795_410_238_500_000_000)));
        assert_eq!(batch.losses.get("no-time").map(|(_, count)| *count), Some(2));
    }

    #[test]
    fn real_files_are_recognised() {
        for (name, bytes) in files(&["captures/nftables-rolling-restart-1/nft".to_owned()]) {
            let wanted = name.contains("monitor");
            assert_eq!((FORMAT.sniff)(&head(&name, &bytes)) == Sniff::Yes, wanted, "{name}");
            if wanted {
                let batch = parse_text(&FORMAT, &String::from_utf8_lossy(&bytes));
                let lines = memchr::memchr_iter(b'\n', &bytes).count() as u64;
                assert_eq!((batch.records, batch.rejected), (lines, 0), "{name}");
            }
        }
    }
}
