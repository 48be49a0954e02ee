//! `bpftool prog show -j` behind a line with the time, as often as it was asked.
//!
//! ```text
//! 1795408951.160522272
//! [{"id":2047,"type":"cgroup_sock","name":"cil_sock_release","run_time_ns":3112649,"run_cnt":5283,…}]
//! ```
//!
//! Gives two counters a program, `bpftool_prog_run_time_ns` and `bpftool_prog_run_cnt`, with the labels `id`, `name`, `type`.
//! bpftool leaves both out while they are zero: where any program of a listing has them (so `kernel.bpf_stats_enabled` was
//! on), the others are zero; where none has, nothing was measured and no sample is made.

use std::borrow::Cow;

use serde::Deserialize;
use syncline_schema::clock::ClockToken;
use syncline_schema::loss::{NO_TIME, TIME_FROM_MTIME};

use crate::form::batch::SeriesKey;
use crate::form::instant;
use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Line, Reads, Sample, Sniff};
use crate::parse::syntax::metric_line::labels_json;

/// Listings of BPF programs.
pub const FORMAT: Format = Format {
    kind: "bpftool-prog",
    title: "BPF programs with their run time and run count",
    clock: ClockToken::Node,
    cut: Cut::Whole,
    sniff,
    reads: Reads::Rows(parse),
    sample: "1795408951.160522272\n[{\"id\":2047,\"type\":\"cgroup_sock\",\"name\":\"cil_sock_release\",\"run_time_ns\":3112649,\"run_cnt\":5283,\"bytes_xlated\":384}]\n",
    recognised: "a JSON array of objects with `id`, `type` and `bytes_xlated`, or lines `ID: TYPE  name NAME  tag …` above `xlated …`; behind an optional line with the epoch",
    capture: "sysctl kernel.bpf_stats_enabled=1; (date +%s.%N; bpftool prog show -j) > bpftool-prog-before.json",
    proves: "how long each BPF program ran, and how often, between two listings",
};

#[derive(Deserialize)]
struct Program<'a> {
    id: u64,
    #[serde(borrow, rename = "type", default)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    run_time_ns: Option<u64>,
    run_cnt: Option<u64>,
}

fn sniff(head: &Head) -> Sniff {
    let has = |mark: &[u8]| memchr::memmem::find(head.bytes, mark).is_some();
    let listing = has(b"\"bytes_xlated\":") && has(b"\"id\":") && has(b"\"type\":");
    let first = head.bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).find(|line| !line.is_empty());
    let opens = first.is_some_and(|line| line.starts_with(b"[") || epoch(line).is_some());
    let mut lines = head.bytes.split(|byte| *byte == b'\n').take(20);
    if lines.any(|line| program(&String::from_utf8_lossy(line)).is_some()) && has(b"xlated ") {
        return Sniff::Yes;
    }
    if listing && opens { Sniff::Yes } else { Sniff::No }
}

/// The time of a line that holds nothing else (`# TIMESTAMP` ahead of it or not).
fn epoch(line: &[u8]) -> Option<i64> {
    let line = line.strip_prefix(b"# TIMESTAMP ").unwrap_or(line).trim_ascii();
    instant::epoch_seconds(line).filter(|time| *time >= 1_000_000_000 * instant::SECOND)
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    batch.witness = "bpftool";
    let mut time = None;
    let mut lines = chunk.lines().peekable();
    while let Some(line) = lines.next() {
        if line.bytes.trim_ascii().is_empty() {
            continue;
        }
        if let Some(found) = epoch(line.bytes) {
            time = Some(found);
            continue;
        }
        // A listing may be pretty-printed: it reaches to the next time.
        let start = (line.offset - chunk.offset) as usize;
        let mut end = start + line.bytes.len();
        while let Some(next) = lines.next_if(|next| epoch(next.bytes).is_none()) {
            end = (next.offset - chunk.offset) as usize + next.bytes.len();
        }
        let block = Line { bytes: &chunk.bytes[start..end], ..line };
        listing(context, &block, time.take(), batch);
    }
}

/// The first line of a program in the text form: `33: lsm  name a  tag e8932b6bae2b9745  gpl run_time_ns 165081 run_cnt 188`.
fn program(line: &str) -> Option<Program<'static>> {
    let (id, rest) = line.split_once(": ")?;
    let id = id.parse().ok()?;
    let words: Vec<&str> = rest.split_whitespace().collect();
    let behind = |name: &str| words.iter().position(|word| *word == name).and_then(|at| words.get(at + 1)).copied();
    behind("tag")?;
    Some(Program {
        id,
        kind: Cow::Owned((*words.first()?).to_owned()),
        name: Cow::Owned(behind("name").unwrap_or_default().to_owned()),
        run_time_ns: behind("run_time_ns").and_then(|number| number.parse().ok()),
        run_cnt: behind("run_cnt").and_then(|number| number.parse().ok()),
    })
}

/// The programs of a listing as text. Lines that tell more of one are indented; others are refused.
fn of_text(context: &Context, block: &Line, batch: &mut Batch) -> Vec<Program<'static>> {
    let mut found = Vec::new();
    let text = Chunk {
        bytes: block.bytes,
        first_line: block.number,
        offset: block.offset,
        first: false,
        last: false,
        truncated: false,
        around: None,
    };
    for line in text.lines().filter(|line| !line.bytes.trim_ascii().is_empty()) {
        match program(&line.text()) {
            Some(program) => found.push(program),
            None if line.bytes.starts_with(b"\t") || line.bytes.starts_with(b"  ") => {}
            None => batch.reject(context, &line, "expected `ID: TYPE  name NAME  tag TAG …` or more of a program"),
        }
    }
    found
}

/// Reads one listing.
fn listing(context: &Context, line: &Line, stamp: Option<i64>, batch: &mut Batch) {
    let programs: Vec<Program> = match line.bytes.trim_ascii_start().first() {
        Some(b'[') => match serde_json::from_slice(line.bytes) {
            Ok(programs) => programs,
            Err(error) => return batch.reject(context, line, &format!("expected an array of BPF programs: {error}")),
        },
        _ => of_text(context, line, batch),
    };
    let named = stamp.or_else(|| instant::in_name(&context.path));
    let time = named.or(context.mtime);
    batch.record(time);
    let Some(time) = time else { return batch.loss(NO_TIME, 1) };
    if named.is_none() {
        batch.loss(TIME_FROM_MTIME, 1);
    }
    if programs.iter().all(|program| program.run_cnt.is_none()) {
        return;
    }
    for program in programs {
        let id = program.id.to_string();
        let labels = labels_json(vec![
            (Cow::Borrowed("id"), Cow::Borrowed(id.as_str())),
            (Cow::Borrowed("name"), program.name),
            (Cow::Borrowed("type"), program.kind),
        ]);
        let Ok(labels) = labels else { continue };
        let figures = [("bpftool_prog_run_time_ns", program.run_time_ns), ("bpftool_prog_run_cnt", program.run_cnt)];
        for (name, value) in figures {
            let key = SeriesKey { name: name.to_owned(), labels: labels.clone() };
            let series = batch.series(key, line.number, Some("counter"));
            batch.samples.push(Sample { series, record: line.number, time, value: value.unwrap_or(0) as f64 });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::FORMAT;
    use crate::form::Sniff;
    use crate::parse::harness::{files, head, parse_text};

    #[test]
    fn reads_a_listing() {
        let text = "1795408951.160522272\n[{\"id\":7,\"type\":\"tracing\",\"name\":\"a\",\"bytes_xlated\":1},{\"id\":8,\"type\":\"xdp\",\"run_time_ns\":5,\"run_cnt\":2}]\n";
        let batch = parse_text(&FORMAT, text);
        let values: Vec<f64> = batch.samples.iter().map(|sample| sample.value).collect();
        assert_eq!((values, batch.rejected), (vec![0.0, 0.0, 5.0, 2.0], 0));
        assert_eq!(batch.series[0].key.labels, r#"{"id":"7","name":"a","type":"tracing"}"#);
        assert_eq!((batch.samples[0].time, batch.samples[0].record), (1_795_408_951_160_522_272, 2));
    }

    #[test]
    fn the_text_form_says_the_same() {
        let text = "1795408951.16\n33: lsm  name restrict  tag e8932b6bae2b9745  gpl run_time_ns 165081 run_cnt 188\n\tloaded_at 2026-11-26T08:02:04+0000  uid 0\n\txlated 560B  jited 306B\n34: xdp  tag e8932b6bae2b9745\n\txlated 5B\nhello\n";
        assert_eq!((FORMAT.sniff)(&head("x", text.as_bytes())), Sniff::Yes);
        let batch = parse_text(&FORMAT, text);
        let values: Vec<f64> = batch.samples.iter().map(|sample| sample.value).collect();
        assert_eq!((values, batch.rejected), (vec![165_081.0, 188.0, 0.0, 0.0], 1));
        assert_eq!(batch.series[0].key.labels, r#"{"id":"33","name":"restrict","type":"lsm"}"#);
    }

    #[test]
    fn a_listing_without_statistics_gives_nothing() {
        let batch = parse_text(&FORMAT, "1795408951\n[{\"id\":7,\"bytes_xlated\":1}]\n");
        assert_eq!((batch.samples.len(), batch.records), (0, 1));
    }

    #[test]
    fn takes_every_listing_of_a_capture() {
        for (path, bytes) in files(&["captures/cilium-scale-up-1/bpf".to_owned()]) {
            let expected = if path.contains("bpftool-prog") { Sniff::Yes } else { Sniff::No };
            assert_eq!((FORMAT.sniff)(&head(&path, &bytes)), expected, "{path}");
            if expected == Sniff::Yes {
                let batch = parse_text(&FORMAT, &String::from_utf8_lossy(&bytes));
                assert!(batch.rejected == 0 && batch.samples.len() > 20, "{path}");
            }
        }
    }
}
