//! What `bpftrace -f json` prints: one object a line, or pretty-printed over several.
//!
//! ```text
//! {"type": "attached_probes", "data": {"probes": 5}}
//! {"type": "printf", "data": "6811070045601 BPF_MAP_UPDATE_ELEM pid=32048 comm=cilium-agent map_fd=38 ret=0\n"}
//! {"type": "map", "data": {"@samples": {"swapper/0": 35}}}
//! {"type": "hist", "data": {"@update_ns": [{"min": 8192, "max": 16383, "count": 727}]}}
//! ```
//!
//! Read: printf, map, stats, hist (`max` is inclusive, the row's `high` is not), tseries, lost_events, attached_probes;
//! time, cat, join, value, syscall, strftime, helper_error are kept as lines. Integers beyond 2^53 come as strings. What stands between the
//! objects (standard error) is kept as lines. Times of maps: as in `bpftrace-text`.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use syncline_schema::clock::ClockToken;
use syncline_schema::loss::LOST_TRACE_EVENTS;

use crate::form::json_pairs::Pairs;
use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Line, Reads, Sniff};
use crate::parse::kernel::trace_line::{Place, push_bucket, push_event, push_value};

/// JSON output.
pub const FORMAT: Format = Format {
    kind: "bpftrace-json",
    title: "Output of bpftrace -f json",
    clock: ClockToken::NodeBoottime,
    cut: Cut::Marks(MARK),
    sniff,
    reads: Reads::Rows(parse),
    sample: r#"{"type": "printf", "data": "6811070045601 BPF_MAP_UPDATE_ELEM pid=32048 comm=cilium-agent map_fd=38 ret=0\n"}"#,
    recognised: "lines `{\"type\": …, \"data\": …}` with a type of bpftrace's",
    capture: "bpftrace -B line -f json script.bt > trace.json",
    proves: "what the kernel did, to the nanosecond",
};

/// Every object begins with this.
const MARK: &str = "{\"type\"";

#[derive(Deserialize)]
struct Output<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    data: &'a RawValue,
}

const KINDS: [&str; 15] = [
    "attached_probes",
    "lost_events",
    "map",
    "hist",
    "stats",
    "tseries",
    "value",
    "printf",
    "time",
    "cat",
    "join",
    "syscall",
    "helper_error",
    "strftime",
    "errorf",
];

fn sniff(head: &Head) -> Sniff {
    for line in head.bytes.split(|byte| *byte == b'\n').take(50) {
        let Some(rest) = line.strip_prefix(MARK.as_bytes()) else { continue };
        let rest: Vec<u8> = rest.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).take(40).collect();
        let known = |kind: &&str| rest.starts_with(format!(":\"{kind}\",\"data\":").as_bytes());
        return if KINDS.iter().any(known) { Sniff::Yes } else { Sniff::No };
    }
    Sniff::No
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    let mut time = None;
    let mut lines = chunk.lines().peekable();
    while let Some(line) = lines.next() {
        if !line.bytes.starts_with(MARK.as_bytes()) {
            if !line.bytes.iter().all(u8::is_ascii_whitespace) {
                push_event(context, line.number, &line.text(), batch);
            }
            continue;
        }
        if read(context, &line, line.bytes, &mut time, batch) {
            continue;
        }
        // Pretty-printed: up to the next object.
        let start = (line.offset - chunk.offset) as usize;
        let mut end = start + line.bytes.len();
        while let Some(next) = lines.next_if(|next| !next.bytes.starts_with(MARK.as_bytes())) {
            end = (next.offset - chunk.offset) as usize + next.bytes.len();
        }
        let block = &chunk.bytes[start..end];
        if block.len() == line.bytes.len() || !read(context, &line, block, &mut time, batch) {
            batch.reject(context, &Line { bytes: block, ..line }, "expected a whole JSON object with type and data");
        }
    }
}

/// Reads one object; false when it is none.
fn read(context: &Context, line: &Line, bytes: &[u8], time: &mut Option<i64>, batch: &mut Batch) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        // A comm is bytes, not text.
        let text = String::from_utf8_lossy(bytes);
        return text.contains(char::REPLACEMENT_CHARACTER) && read(context, line, text.as_bytes(), time, batch);
    };
    let Ok(output) = serde_json::from_str::<Output>(text) else { return false };
    let place = Place { record: line.number, time: *time, map: "", key: None };
    let data = output.data.get();
    match &*output.kind {
        "printf" | "time" | "cat" | "join" | "errorf" => match serde_json::from_str::<Printed>(data) {
            Ok(Printed(printed)) => {
                for printed in printed.trim_end_matches('\n').split('\n') {
                    *time = push_event(context, line.number, printed, batch).or(*time);
                }
                true
            }
            Err(_) => false,
        },
        "attached_probes" => {
            batch.record(None);
            true
        }
        "lost_events" => {
            let lost: Option<LostEvents> = serde_json::from_str(data).ok();
            batch.record(None);
            batch.loss(LOST_TRACE_EVENTS, lost.map_or(1, |lost| lost.events));
            true
        }
        kind @ ("map" | "stats" | "hist" | "tseries") => match serde_json::from_str::<Pairs<&RawValue>>(data) {
            Ok(maps) => maps
                .0
                .iter()
                .all(|(name, value)| map(context, kind, &Place { map: name, ..place.clone() }, value.get(), batch)),
            Err(_) => false,
        },
        _ => {
            push_event(context, line.number, &format!("{} {data}", output.kind), batch);
            true
        }
    }
}

#[derive(Deserialize)]
struct Printed<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
struct LostEvents {
    events: u64,
}

/// One bucket; the first may lack `min`, the last `max`.
#[derive(Deserialize)]
struct Bucket {
    min: Option<f64>,
    max: Option<f64>,
    count: i64,
}

#[derive(Deserialize)]
struct Interval<'a> {
    #[serde(borrow)]
    interval_start: Cow<'a, str>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
}

/// Reads one map: a scalar, or an object of keys.
fn map(context: &Context, kind: &str, place: &Place, value: &str, batch: &mut Batch) -> bool {
    let keyed = || serde_json::from_str::<Pairs<&RawValue>>(value).ok();
    let each = |batch: &mut Batch, one: fn(&Context, &Place, &str, &mut Batch) -> bool| {
        keyed().is_some_and(|pairs| {
            pairs
                .0
                .iter()
                .all(|(key, value)| one(context, &Place { key: Some(key), ..place.clone() }, value.get(), batch))
        })
    };
    match (kind, value.as_bytes().first()) {
        ("hist", Some(b'[')) => histogram(context, place, value, batch),
        ("hist", Some(b'{')) => each(batch, histogram),
        ("tseries", Some(b'[')) => intervals(context, place, value, batch),
        ("tseries", Some(b'{')) => each(batch, intervals),
        ("stats", Some(b'{')) if keyed().is_some_and(|pairs| is_statistics(&pairs)) => {
            statistics(context, place, value, batch)
        }
        ("stats", Some(b'{')) => each(batch, statistics),
        ("map", Some(b'{')) => each(batch, scalar),
        _ => scalar(context, place, value, batch),
    }
}

fn is_statistics(pairs: &Pairs<&RawValue>) -> bool {
    let named = pairs.0.iter().all(|(key, value)| {
        matches!(&**key, "count" | "average" | "total" | "min" | "max") && !value.get().starts_with('{')
    });
    named && pairs.0.iter().any(|(key, _)| key == "count") && pairs.0.iter().any(|(key, _)| key == "total")
}

fn scalar(context: &Context, place: &Place, value: &str, batch: &mut Batch) -> bool {
    match serde_json::from_str::<Printed>(value) {
        Ok(Printed(text)) => push_value(context, place, "value", &text, batch),
        Err(_) => push_value(context, place, "value", value, batch),
    }
    true
}

fn statistics(context: &Context, place: &Place, value: &str, batch: &mut Batch) -> bool {
    match serde_json::from_str::<Pairs<&RawValue>>(value) {
        Ok(parts) => parts.0.iter().for_each(|(name, value)| {
            push_value(context, place, name, value.get().trim_matches('"'), batch);
        }),
        // avg() maps come as stats with plain numbers.
        Err(_) => return scalar(context, place, value, batch),
    }
    true
}

fn histogram(context: &Context, place: &Place, value: &str, batch: &mut Batch) -> bool {
    let Ok(buckets) = serde_json::from_str::<Vec<Bucket>>(value) else { return false };
    for Bucket { min, max, count } in buckets {
        push_bucket(context, place, min, max.map(|max| max + 1.0), count, batch);
    }
    true
}

fn intervals(context: &Context, place: &Place, value: &str, batch: &mut Batch) -> bool {
    let Ok(intervals) = serde_json::from_str::<Vec<Interval>>(value) else { return false };
    for interval in intervals {
        let Some(value) = interval.value.filter(|value| value.get() != "null") else { continue };
        let start = interval.interval_start;
        let key = place.key.map_or_else(|| start.to_string(), |key| format!("{key},{start}"));
        push_value(context, &Place { key: Some(&key), ..place.clone() }, "value", value.get().trim_matches('"'), batch);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::FORMAT;
    use crate::form::Sniff;
    use crate::parse::harness::{corpus_files, files, head, parse_text};

    #[test]
    fn reads_lines_and_blocks() {
        let text = "{\"type\": \"attached_probes\", \"data\": {\"probes\": 5}}\n{\"type\": \"printf\", \"data\": \"# SECOND nsecs=6811489326348\\n\"}\n{\"type\": \"map\", \"data\": {\"@x\": {\"a,2\": \"18446744073709551615\", \"b\": 1}}}\nWARNING: x\n\n{\"type\": \"hist\", \"data\": {\n  \"@\": {\"curl\": [{\"max\": -1, \"count\": 1}, {\"min\": 0, \"max\": 0, \"count\": 1}]}\n}}\n{\"type\": \"lost_events\", \"data\": {\"events\": 7}}\n{\"type\": \"stats\", \"data\": {\"@\": {\"count\": 1, \"average\": 2, \"total\": 2}}}\n{\"type\": \"stats\", \"data\": {\"@\": {\"count\": 1, \"zsh\": 2}}}\n";
        let mut batch = parse_text(&FORMAT, text);
        assert_eq!((batch.records, batch.rejected, batch.losses["lost-trace-events"].1), (13, 0, 7));
        assert_eq!(batch.take_tables().len(), 3);
    }

    #[test]
    fn a_cut_object_is_refused() {
        let text = "{\"type\": \"map\", \"data\": {\"@x\": 1}}\n{\"type\": \"map\", \"data\": {\"@x\": ";
        let batch = parse_text(&FORMAT, text);
        assert_eq!((batch.records, batch.rejected), (1, 1));
    }

    #[test]
    fn takes_every_trace_of_the_captures_and_the_corpus() {
        let captured = files(&[
            "captures/cilium-scale-up-1/bpftrace".to_owned(),
            "captures/iptables-scale-up-1/bpftrace".to_owned(),
        ]);
        let captured = captured.into_iter().filter(|(path, _)| path.ends_with(".json"));
        for (path, bytes) in captured.chain(corpus_files(&["bpftrace_json"])) {
            // Test descriptions: patterns, not output.
            if path.contains("expect.ndjson") || path.ends_with("test_file.txt") {
                continue;
            }
            assert_eq!((FORMAT.sniff)(&head(&path, &bytes)), Sniff::Yes, "{path}");
            assert_eq!(parse_text(&FORMAT, &String::from_utf8_lossy(&bytes)).rejected, 0, "{path}");
        }
    }
}
