//! A reader of Cilium's load-balancer map by bpf(2) look-ups: one JSON object a line, on every change.
//!
//! ```text
//! {"ts":"1795408951.424676740","count":1,"qcount":0,"slots":[[1,2,"10.244.0.21:8080",0]],"samples_since_last_line":1,"read_ns":121433}
//! ```
//!
//! A slot is `[slot, backend id, address, flags]`. Slots up to `count` get new connections; those behind it (`qcount`)
//! are quarantined. The Service stands in the name of the file: `lb4-<namespace>-<service>.jsonl`.

use std::ops::Range;

use syncline_schema::clock::ClockToken;

use super::instant::epoch_seconds;
use super::iptables_save::address_and_port;
use super::snapshot::{Counters, Dissector, RuleFields, Section};
use super::{Batch, Chunk, Context, Cut, Format, Head, RawSnapshot, Sniff};

/// The format.
pub const LB4_READER: Format = Format {
    kind: "lb4-reader",
    title: "reader of Cilium's load-balancer map, JSON lines",
    clock: ClockToken::Node,
    cut: Cut::Lines,
    sniff,
    parse,
    sample: r#"{"ts":"1795408951.424676740","count":1,"qcount":0,"slots":[[1,2,"10.244.0.21:8080",0]],"samples_since_last_line":1,"read_ns":121433}"#,
    recognised: "JSON objects with \"ts\", \"count\", \"qcount\" and \"slots\", one a line",
    capture: "a reader of cilium_lb4_services_v2 and cilium_lb4_backends_v3, 50 look-ups a second, a line on each change",
    proves: "when each backend began and ceased to get new connections, within 20 ms",
};

/// How a snapshot is taken apart.
pub const DISSECTOR: Dissector =
    Dissector { format: "lb4-reader", split, section: |_: &mut Section, _| {}, counters, fields };

fn sniff(head: &Head) -> Sniff {
    let line = &head.bytes[..memchr::memchr(b'\n', head.bytes).unwrap_or(head.bytes.len())];
    let has = |mark: &[u8]| memchr::memmem::find(line, mark).is_some();
    if line.starts_with(b"{\"ts\"") && has(b"\"qcount\":") && has(b"\"slots\":[") { Sniff::Yes } else { Sniff::No }
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    for line in chunk.lines() {
        if line.bytes.trim_ascii().is_empty() {
            continue;
        }
        let stamp = line.bytes.strip_prefix(b"{\"ts\":\"").and_then(|rest| {
            let end = memchr::memchr(b'"', rest)?;
            epoch_seconds(&rest[..end])
        });
        let whole = line.bytes.ends_with(b"}") && serde_json::from_slice::<serde::de::IgnoredAny>(line.bytes).is_ok();
        let (Some(time), true) = (stamp, whole) else {
            batch.reject(context, &line, "expected a JSON object that begins with \"ts\" in epoch seconds");
            continue;
        };
        batch.record(Some(time));
        let from = (line.offset - chunk.offset) as usize;
        let end = (from + line.bytes.len() + 2).min(chunk.bytes.len());
        let text = &chunk.bytes[from..end];
        let text = memchr::memchr(b'\n', text).map_or(text, |at| &text[..=at]);
        batch.snapshots.push(RawSnapshot {
            format: "lb4-reader",
            record: line.number,
            first_line: line.number,
            time: Some(time),
            time_from: "stamp",
            text: text.to_vec(),
            complete: true,
            file_of_series: false,
        });
    }
}

/// The head up to `"slots":[`, each slot with its comma, the tail.
fn split(text: &[u8]) -> Vec<Range<usize>> {
    let mark = b"\"slots\":[";
    let Some(at) = memchr::memmem::find(text, mark) else { return std::iter::once(0..text.len()).collect() };
    let mut pieces = Vec::new();
    let mut from = at + mark.len();
    pieces.push(0..from);
    while text.get(from) == Some(&b'[') {
        let Some(end) = memchr::memchr(b']', &text[from..]) else { break };
        let mut to = from + end + 1;
        if text.get(to) == Some(&b',') {
            to += 1;
        }
        pieces.push(from..to);
        from = to;
    }
    if from < text.len() {
        pieces.push(from..text.len());
    }
    pieces
}

/// Numbers that change from line to line: the time stamp of the head, the statistics of the tail.
fn counters(piece: &[u8]) -> Counters {
    let number = |mark: &[u8], from: usize| -> Option<Range<usize>> {
        let at = from + memchr::memmem::find(&piece[from..], mark)? + mark.len();
        let length = piece[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        (length > 0).then(|| at..at + length)
    };
    if piece.starts_with(b"{\"ts\":\"") {
        let packets = number(b"\"ts\":\"", 0);
        let bytes = packets.as_ref().and_then(|seconds| number(b".", seconds.end));
        return Counters { packets, bytes };
    }
    let packets = number(b"\"samples_since_last_line\":", 0);
    let bytes = packets.as_ref().and_then(|before| number(b"\"read_ns\":", before.end));
    Counters { packets, bytes }
}

fn fields(path: &str, _section: &Section, piece: &[u8]) -> RuleFields {
    let text = String::from_utf8_lossy(piece).into_owned();
    let service = service_of(path);
    if text.starts_with("{\"ts\"") {
        let count = text.split_once("\"count\":").and_then(|(_, rest)| rest.split(',').next()?.parse().ok());
        return RuleFields { kind: "frontend", service, slot: count, ..RuleFields::default() };
    }
    let parts: Vec<&str> = text.trim_matches(|letter| "[],".contains(letter)).split(',').collect();
    let backend = parts.get(2).and_then(|text| address_and_port(text.trim_matches('"')));
    match (parts.first().and_then(|slot| slot.parse().ok()), backend) {
        (Some(slot), Some((address, port))) => RuleFields {
            kind: "backend",
            service,
            address: Some(address),
            port: Some(port),
            protocol: Some("tcp".to_owned()),
            slot: Some(slot),
            ..RuleFields::default()
        },
        _ => RuleFields { kind: "other", service, ..RuleFields::default() },
    }
}

/// `lb4-default-test.jsonl` → `default/test`. A namespace with a dash in it cannot be told from the service's name.
fn service_of(path: &str) -> Option<String> {
    let name = path.rsplit('/').next()?.strip_prefix("lb4-")?.split('.').next()?;
    let (namespace, service) = name.split_once('-')?;
    Some(format!("{namespace}/{service}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_apart_without_gaps() {
        let line = br#"{"ts":"1795408951.424676740","count":2,"qcount":0,"slots":[[1,2,"10.244.0.21:8080",0],[2,3,"10.244.0.22:8080",0]],"samples_since_last_line":1,"read_ns":121433}"#;
        let pieces = split(line);
        assert_eq!(pieces.len(), 4);
        assert_eq!(pieces.iter().flat_map(|range| line[range.clone()].to_vec()).collect::<Vec<_>>(), line);
        let found = fields("bpf/lb4-default-test.jsonl", &Section::new(), &line[pieces[2].clone()]);
        assert_eq!((found.address.as_deref(), found.slot), (Some("10.244.0.22"), Some(2)));
        assert_eq!(found.service.as_deref(), Some("default/test"));
        let head = fields("bpf/lb4-default-test.jsonl", &Section::new(), &line[pieces[0].clone()]);
        assert_eq!((head.kind, head.slot), ("frontend", Some(2)));
    }
}
