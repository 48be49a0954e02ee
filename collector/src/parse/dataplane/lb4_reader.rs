//! Lines of a reader that looks one Service up in Cilium's load-balancer map many times a second.
//!
//! ```text
//! {"ts":"1795408951.424676740","count":1,"qcount":0,"slots":[[1,2,"10.244.0.21:8080",0]],"samples_since_last_line":1,"read_ns":121433}
//! ```
//!
//! `slots` holds `[slot, backend id, address, flags]`. New connections go to the slots 1 to `count`; those above are
//! quarantined or leaving. The Service stands only in the file's name (`lb4-<namespace>-<name>.jsonl`). A line is
//! written on each change and now and then between, and `ts` is taken ahead of the reading.

use std::ops::Range;

use serde::Deserialize;
use syncline_schema::clock::ClockToken;

use crate::form::dissector::{Counters, Dissector, End, RuleFields, Section};
use crate::form::instant;
use crate::form::{Batch, Chunk, Context, Cut, Format, Head, RawSnapshot, Reads, Sniff};
use crate::parse::dataplane::rule_comment::address_and_port;

/// The format.
pub const FORMAT: Format = Format {
    kind: "lb4-reader",
    title: "Slots of one Service in Cilium's load-balancer map, a JSON line on each change",
    clock: ClockToken::Node,
    cut: Cut::Lines,
    sniff,
    reads: Reads::Rows(parse),
    sample: "{\"ts\":\"1795408951.424676740\",\"count\":1,\"qcount\":0,\"slots\":[[1,2,\"10.244.0.21:8080\",0]],\"samples_since_last_line\":1,\"read_ns\":121433}\n",
    recognised: "JSON lines with `ts`, `count`, `qcount` and `slots`",
    capture: "a program that looks up cilium_lb4_services_v2 by bpf(2), 50 times a second, and names its file lb4-<namespace>-<service>.jsonl",
    proves: "to which endpoints of a Service new connections could go, to a fiftieth of a second",
};

/// How its pieces are taken apart.
pub const DISSECTOR: Dissector = Dissector {
    format: "lb4-reader",
    end: |_| End::Unmarked,
    knows: |_| true,
    again: |_| Vec::new(),
    split,
    rounded: |_| 0,
    section: |_, _| {},
    counters: |_| Counters::default(),
    fields,
};

/// A line, as far as it is looked at here.
#[derive(Deserialize)]
struct Reading<'a> {
    ts: &'a str,
    count: u32,
    #[serde(rename = "qcount")]
    _qcount: u32,
    #[serde(borrow)]
    slots: Vec<&'a serde_json::value::RawValue>,
}

fn sniff(head: &Head) -> Sniff {
    let line = head.bytes.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
    if serde_json::from_slice::<Reading>(line).is_ok() { Sniff::Yes } else { Sniff::No }
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    for line in chunk.lines() {
        if line.bytes.trim_ascii().is_empty() {
            continue;
        }
        let reading = match serde_json::from_slice::<Reading>(line.bytes) {
            Ok(reading) => reading,
            Err(error) => {
                batch.reject(context, &line, &format!("expected ts, count, qcount and slots: {error}"));
                continue;
            }
        };
        let Some(time) = instant::epoch_seconds(reading.ts.as_bytes()) else {
            batch.reject(context, &line, "expected seconds since the epoch in `ts`");
            continue;
        };
        let from = (line.offset - chunk.offset) as usize;
        let to = memchr::memchr(b'\n', &chunk.bytes[from..]).map_or(chunk.bytes.len(), |length| from + length + 1);
        batch.record(Some(time));
        batch.snapshots.push(RawSnapshot {
            dissector: &DISSECTOR,
            record: line.number,
            first_line: line.number,
            time: Some(time),
            resolution: None,
            until: None,
            unchanged: false,
            time_from: "stamp",
            text: chunk.bytes[from..to].to_vec(),
            complete: is_whole(&reading),
            around: None,
            series: None,
        });
    }
}

/// The reader looks up slot by slot. Where the agent moved backends from slot to slot meanwhile, one is seen twice and
/// another not at all: such a reading proves no absence.
fn is_whole(reading: &Reading) -> bool {
    let mut backends: Vec<&str> = reading
        .slots
        .iter()
        .filter_map(|slot| serde_json::from_str::<(u32, i64, &str, i64)>(slot.get()).ok())
        .filter(|(slot, ..)| *slot <= reading.count)
        .map(|(_, _, address, _)| address)
        .collect();
    backends.sort_unstable();
    backends.dedup();
    backends.len() == reading.count as usize
}

/// Pieces: the stamp, the counts, each slot, and the rest of the line.
fn split(text: &[u8]) -> Vec<Range<usize>> {
    let mut ends = Vec::new();
    let counts = memchr::memmem::find(text, b"\"count\"").unwrap_or(0);
    ends.push(counts);
    if let Some(slots) = memchr::memmem::find(text, b"\"slots\":[") {
        let mut at = slots + b"\"slots\":[".len();
        ends.push(at);
        while text.get(at) == Some(&b'[') {
            let Some(length) = memchr::memchr(b']', &text[at..]) else { break };
            at += length + 1;
            at += usize::from(text.get(at) == Some(&b','));
            ends.push(at);
        }
    }
    ends.push(text.len());
    let mut from = 0;
    let mut pieces = Vec::new();
    for end in ends {
        if end > from {
            pieces.push(from..end);
            from = end;
        }
    }
    pieces
}

fn fields(path: &str, _section: &Section, piece: &[u8]) -> RuleFields {
    let service = service_of(path);
    if piece.starts_with(b"\"count\"") {
        return RuleFields { kind: "frontend", service, slot: Some(0), ..RuleFields::default() };
    }
    let slot = piece.strip_suffix(b",").unwrap_or(piece);
    match serde_json::from_slice::<(i32, i64, &str, i64)>(slot) {
        Ok((slot, _, address, _)) => {
            let (address, port) = address_and_port(address);
            let address = Some(address);
            RuleFields { kind: "backend", service, address, port, slot: Some(slot), ..RuleFields::default() }
        }
        Err(_) => RuleFields { kind: "other", service, ..RuleFields::default() },
    }
}

/// `lb4-default-test.jsonl` → `default-test`: namespace and name are told apart where the Services are known.
fn service_of(path: &str) -> Option<String> {
    let name = path.rsplit('/').next()?;
    let stem = name.strip_suffix(".jsonl").or_else(|| name.strip_suffix(".json")).unwrap_or(name);
    stem.strip_prefix("lb4-").filter(|rest| !rest.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{DISSECTOR, FORMAT};
    use crate::form::Sniff;
    use crate::form::dissector::check::{dissect, shape};
    use crate::parse::harness::{files, head, parse_text};

    const LINE: &str = "{\"ts\":\"1795409108.372763788\",\"count\":1,\"qcount\":1,\"slots\":[[1,44,\"10.244.0.15:8080\",0],[2,22,\"10.244.0.16:8080\",1]],\"samples_since_last_line\":1,\"read_ns\":121433}\n";

    #[test]
    fn each_slot_is_a_piece() {
        let batch = parse_text(&FORMAT, LINE);
        assert_eq!(batch.snapshots[0].time, Some(1_795_409_108_372_763_788));
        let shapes: Vec<_> =
            dissect(&DISSECTOR, "bpf/lb4-default-test.jsonl", &batch.snapshots[0].text).iter().map(shape).collect();
        assert_eq!(
            shapes,
            [
                "other - - - default-test - - -",
                "frontend - - - default-test - - 0",
                "backend - - - default-test - 10.244.0.15:8080 1",
                "backend - - - default-test - 10.244.0.16:8080 2",
                "other - - - default-test - - -",
            ]
        );
    }

    #[test]
    fn refuses_what_it_cannot_trust() {
        let batch = parse_text(&FORMAT, &format!("{}\n{}", &LINE[..90], LINE.replace("1795409108", "never")));
        assert_eq!((batch.snapshots.len(), batch.rejected), (0, 2));
        let batch = parse_text(&FORMAT, &LINE.replace("\"count\":1", "\"count\":3"));
        assert!(!batch.snapshots[0].complete);
        let torn = LINE.replace("\"count\":1", "\"count\":2").replace("10.244.0.16", "10.244.0.15");
        assert!(!parse_text(&FORMAT, &torn).snapshots[0].complete);
        assert!(parse_text(&FORMAT, LINE).snapshots[0].complete);
    }

    #[test]
    fn real_files_are_recognised_and_keep_every_byte() {
        for (name, bytes) in files(&["captures/cilium-rolling-restart-1/bpf".to_owned()]) {
            let wanted = name.contains("lb4-default-test");
            assert_eq!((FORMAT.sniff)(&head(&name, &bytes)) == Sniff::Yes, wanted, "{name}");
            if wanted {
                let batch = parse_text(&FORMAT, &String::from_utf8_lossy(&bytes));
                assert!(batch.rejected <= 1, "{name}");
                for snapshot in &batch.snapshots {
                    dissect(&DISSECTOR, &name, &snapshot.text);
                }
            }
        }
    }
}
