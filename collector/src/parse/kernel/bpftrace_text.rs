//! What bpftrace prints as text: printf lines, maps, histograms, statistics.
//!
//! ```text
//! Attaching 5 probes...
//! # SECOND nsecs=6811539155252
//! 6811070019680 BPF_MAP_UPDATE_ELEM pid=32048 tid=32063 comm=cilium-agent map_fd=38 dur_ns=17449 ret=0
//! @samples[swapper/0]: 35
//! @update_ns:
//! [32K, 64K)            52 |@@@                                                 |
//! ```
//!
//! A map has no time of its own: it takes that of the last printf line ahead of it that had one. At the beginning of a chunk no
//! such line is known, and maps there stay without a time. Stacks (`@[` … `]: n`) become keys with line ends; the
//! bars of `tseries()` are read as `time: value` texts.

use syncline_schema::clock::ClockToken;
use syncline_schema::logs::LogRow;
use syncline_schema::loss::{LOST_TRACE_EVENTS, NO_PROBE_ATTACHED};

use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Line, Reads, Sniff};
use crate::parse::kernel::trace_line::{Place, push_bucket, push_event, push_value};

/// Text output.
pub const FORMAT: Format = Format {
    kind: "bpftrace-text",
    title: "Output of bpftrace, as text",
    clock: ClockToken::NodeBoottime,
    cut: Cut::Lines,
    sniff,
    reads: Reads::Rows(parse),
    sample: "Attaching 5 probes...\n6811070019680 BPF_MAP_UPDATE_ELEM pid=32048 comm=cilium-agent map_fd=38 dur_ns=17449 ret=0\n@updates: 1542\n",
    recognised: "`Attaching N probes...`, `Attached N probes` or `No probes to attach`; mostly lines `@map: value` or `nsecs EVENT key=value`",
    capture: "bpftrace -B line script.bt > trace.txt, with lines that begin with nsecs and an upper-case word",
    proves: "what the kernel did, to the nanosecond",
};

fn sniff(head: &Head) -> Sniff {
    let (mut maps, mut other, mut in_stack) = (0, 0, false);
    for line in head.bytes.split(|byte| *byte == b'\n').take(400) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Ok(text) = std::str::from_utf8(line) else { continue };
        // It found nothing to trace: what it says is what the file holds.
        if text.trim_end() == NO_PROBES {
            return Sniff::Yes;
        }
        // A time series of `tseries()`, and the documents that come with bpftrace's tools.
        if is_attached(text) || text.starts_with("hh:mm:ss") || is_example(text) {
            return Sniff::Yes;
        }
        if in_stack {
            in_stack = !text.starts_with("]: ");
            maps += 1;
            continue;
        }
        // With -q, and in what was cut out of a trace, nothing stands ahead.
        in_stack = text.starts_with('@') && matches!(heading(text), Some(Heading::Stack { .. }));
        if text.starts_with('@') && heading(text).is_some() || bucket(text).is_some() || is_event(text) {
            maps += 1;
        } else if !text.trim().is_empty() {
            other += 1;
        }
    }
    if maps > other { Sniff::Yes } else { Sniff::No }
}

/// What bpftrace says where no probe of the script exists.
const NO_PROBES: &str = "No probes to attach";

/// What bpftrace says of itself on standard error: the level.
fn complaint(line: &str) -> Option<&'static str> {
    if line.trim_end() == NO_PROBES || line.starts_with("ERROR: ") || line.starts_with("[ERROR] ") {
        return Some("error");
    }
    // `stdin:1:1-20: WARNING: …` names a place in the script.
    let placed = line.split_once(": ").is_some_and(|(place, rest)| place.contains(':') && rest.starts_with("ERROR: "));
    let warned = line.starts_with("WARNING: ") || line.starts_with("[WARN] ") || line.contains(": WARNING: ");
    match (placed, warned && lost(line).is_none()) {
        (true, _) => Some("error"),
        (_, true) => Some("warning"),
        _ => None,
    }
}

/// `Attaching 5 probes...` (to 0.23) or `Attached 5 probes`.
fn is_attached(line: &str) -> bool {
    let rest = line.strip_prefix("Attaching ").or_else(|| line.strip_prefix("Attached "));
    rest.and_then(|rest| rest.split_once(' ')).is_some_and(|(count, rest)| {
        count.parse::<u32>().is_ok() && matches!(rest, "probe..." | "probes..." | "probe" | "probes")
    })
}

/// `6811070019680 BPF_MAP_UPDATE_ELEM pid=32048 …`.
fn is_event(line: &str) -> bool {
    let mut words = line.split_ascii_whitespace();
    let digits = |word: &str| word.len() >= 9 && word.bytes().all(|byte| byte.is_ascii_digit());
    let upper = |word: &str| word.len() >= 3 && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    words.next().is_some_and(digits)
        && words.next().is_some_and(upper)
        && words.next().is_some_and(|word| word.contains('='))
}

/// `Demonstrations of tcplife, the Linux bpftrace/eBPF version.`
fn is_example(line: &str) -> bool {
    line.starts_with("Demonstrations of ") && line.contains("bpftrace")
}

/// What a map's line says.
enum Heading<'a> {
    /// `@x: 5`, `@x[key]: text`.
    Value { map: &'a str, key: Option<&'a str>, value: &'a str },
    /// `@x: ` ahead of buckets or a stack.
    Open { map: &'a str, key: Option<&'a str> },
    /// `@x[` ahead of a stack that ends with `]: value`.
    Stack { map: &'a str },
}

/// Dissects a line that begins with `@`.
fn heading(line: &str) -> Option<Heading<'_>> {
    let length = 1 + line.bytes().skip(1).take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
    let (map, rest) = line.split_at_checked(length)?;
    let (key, rest) = match rest.strip_prefix('[') {
        None => (None, rest.strip_prefix(':')?),
        Some("") => return Some(Heading::Stack { map }),
        Some(keyed) => match keyed.split_once("]: ") {
            Some((key, value)) => (Some(key), value),
            None => (Some(keyed.strip_suffix("]:")?), ""),
        },
    };
    let value = rest.trim();
    Some(if value.is_empty() { Heading::Open { map, key } } else { Heading::Value { map, key, value } })
}

/// Edges and count of a line `[2K, 4K)   7 |@@  |`; edges of `(..., 0)`, `[10, ...)` and `[1]` alike.
fn bucket(line: &str) -> Option<(Option<f64>, Option<f64>, i64)> {
    if !line.starts_with(['[', '(']) {
        return None;
    }
    let (range, bar) = line.split_once('|')?;
    if !bar.trim_end().ends_with('|') {
        return None;
    }
    let close = range.rfind([')', ']'])?;
    let count = range[close + 1..].trim().parse().ok()?;
    let inner = &range[1..close];
    let Some((low, high)) = inner.split_once(',') else {
        let only = edge(inner.trim())?;
        return Some((Some(only), Some(only + 1.0), count));
    };
    let open = |text: &str| match text.trim() {
        "..." => Some(None),
        text => edge(text).map(Some),
    };
    let (low, mut high) = (open(low)?, open(high)?);
    // `(...,0]` of old versions: everything below zero, and zero.
    if line.starts_with('(') && range[close..].starts_with(']') {
        high = high.map(|high| high + 1.0);
    }
    Some((low, high, count))
}

/// An edge with a binary suffix: `512`, `1K`, `16M`.
fn edge(text: &str) -> Option<f64> {
    let (number, power) = match text.as_bytes().last()? {
        b'K' => (&text[..text.len() - 1], 1),
        b'M' => (&text[..text.len() - 1], 2),
        b'G' => (&text[..text.len() - 1], 3),
        b'T' => (&text[..text.len() - 1], 4),
        b'P' => (&text[..text.len() - 1], 5),
        b'E' => (&text[..text.len() - 1], 6),
        _ => (text, 0),
    };
    Some(number.parse::<i64>().ok()? as f64 * 1024f64.powi(power))
}

/// The parts of `count 2, average 5, total 10[, min 1, max 4]`.
fn statistics(value: &str) -> Option<Vec<(&str, &str)>> {
    let parts: Option<Vec<(&str, &str)>> = value.split(", ").map(|part| part.split_once(' ')).collect();
    parts.filter(|parts| {
        parts.len() > 1
            && parts.iter().all(|(name, figure)| {
                matches!(*name, "count" | "average" | "total" | "min" | "max") && figure.parse::<f64>().is_ok()
            })
    })
}

/// `Lost 12 events`, `[WARN] Lost 12 events`.
fn lost(line: &str) -> Option<u64> {
    let rest = &line[line.find("Lost ")? + 5..];
    let (count, tail) = rest.split_once(' ')?;
    if tail.starts_with("event") { count.parse().ok() } else { None }
}

/// A row of a `tseries()` chart: its time and value.
fn tick(line: &str) -> Option<(&str, &str)> {
    let (time, rest) = line.split_once(' ')?;
    let value = rest.rsplit([' ', '|', '*']).next()?;
    let charted = rest.trim_start().starts_with(['|', '*', '.']) && time.contains(':');
    (charted && value.parse::<f64>().is_ok()).then_some((time, value))
}

/// What is being read.
enum State<'a> {
    Lines,
    /// Behind `@x:`: buckets, a chart or a stack may follow.
    Open(Place<'a>, Vec<&'a str>),
    /// Behind `@x[`: frames of the key.
    Stack(Place<'a>, Vec<&'a str>),
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    let mut reader = Reader { context, time: None, state: State::Lines };
    for line in chunk.lines() {
        match std::str::from_utf8(line.bytes) {
            Ok(text) => reader.line(text, line.number, batch),
            Err(_) => {
                // A comm is bytes, not text.
                reader.close(batch);
                let text = line.text();
                match heading(&text) {
                    Some(Heading::Value { map, key, value }) => {
                        push_value(
                            context,
                            &Place { record: line.number, time: reader.time, map, key },
                            "value",
                            value,
                            batch,
                        );
                    }
                    _ => reader.time = push_event(context, line.number, &text, batch).or(reader.time),
                }
            }
        }
    }
    reader.finish(chunk, batch);
}

struct Reader<'a, 'c> {
    context: &'c Context,
    /// `nsecs` of the last printf line that had one.
    time: Option<i64>,
    state: State<'a>,
}

impl<'a> Reader<'a, '_> {
    fn line(&mut self, text: &'a str, number: i64, batch: &mut Batch) {
        match &mut self.state {
            State::Stack(place, frames) => {
                let Some(value) = text.strip_prefix("]: ").or_else(|| text.split_once("]: ").map(|(_, value)| value))
                else {
                    return frames.push(text.trim());
                };
                if let Some((last, _)) = text.split_once("]: ").filter(|(last, _)| !last.is_empty()) {
                    frames.push(last.trim());
                }
                let key = frames.join("\n");
                push_value(self.context, &Place { key: Some(&key), ..place.clone() }, "value", value.trim(), batch);
                self.state = State::Lines;
                return;
            }
            State::Open(place, texts) => {
                let place = Place { record: number, ..place.clone() };
                if let Some((low, high, count)) = bucket(text) {
                    return push_bucket(self.context, &place, low, high, count, batch);
                }
                if let Some((when, value)) = tick(text) {
                    let key = place.key.map_or_else(|| when.to_owned(), |key| format!("{key},{when}"));
                    return push_value(self.context, &Place { key: Some(&key), ..place }, "value", value, batch);
                }
                if text.starts_with([' ', '\t']) || text.starts_with("hh:mm") {
                    return texts.push(text.trim());
                }
                self.close(batch);
            }
            State::Lines => {}
        }
        // Nearly every line is an event or a map.
        if !text.starts_with(|first: char| first == '@' || first.is_ascii_digit())
            && let Some(level) = complaint(text)
        {
            batch.record(None);
            if text.trim_end() == NO_PROBES {
                batch.loss(NO_PROBE_ATTACHED, 1);
            }
            return batch.push(&LogRow {
                source: self.context.source,
                record: number,
                clock: self.context.clock.as_str().into(),
                level: level.into(),
                caller: Some("bpftrace".into()),
                message: text.trim_end().into(),
                ..Default::default()
            });
        }
        let place = |map, key| Place { record: number, time: self.time, map, key };
        match text.as_bytes().first() {
            None => {}
            Some(b'@') => match heading(text) {
                Some(Heading::Value { map, key, value }) => match statistics(value) {
                    Some(parts) => parts
                        .into_iter()
                        .for_each(|(name, value)| push_value(self.context, &place(map, key), name, value, batch)),
                    None => push_value(self.context, &place(map, key), "value", value, batch),
                },
                Some(Heading::Open { map, key }) => self.state = State::Open(place(map, key), Vec::new()),
                Some(Heading::Stack { map }) => self.state = State::Stack(place(map, None), Vec::new()),
                None => self.event(text, number, batch),
            },
            Some(b'^') if text == "^C" => {}
            Some(b'A') if is_attached(text) => batch.record(None),
            Some(_) => match lost(text) {
                Some(count) => {
                    batch.record(None);
                    batch.loss(LOST_TRACE_EVENTS, count);
                }
                None => self.event(text, number, batch),
            },
        }
    }

    fn event(&mut self, text: &str, number: i64, batch: &mut Batch) {
        self.time = push_event(self.context, number, text, batch).or(self.time);
    }

    /// Ends a map print: text that stood below it is its value (a stack).
    fn close(&mut self, batch: &mut Batch) {
        if let State::Open(place, texts) = std::mem::replace(&mut self.state, State::Lines) {
            // The frame of a chart is no value.
            let chart = texts.iter().any(|text| text.contains("____") || text.starts_with("hh:mm"));
            if !texts.is_empty() && !chart {
                push_value(self.context, &place, "value", &texts.join("\n"), batch);
            }
        }
    }

    fn finish(mut self, chunk: &Chunk, batch: &mut Batch) {
        if let State::Stack(place, frames) = &self.state {
            let text = frames.join("\n");
            let line = Line { bytes: text.as_bytes(), number: place.record, offset: chunk.offset, ended: false };
            batch.reject(self.context, &line, "expected `]: value` behind a stack");
        }
        self.close(batch);
    }
}

#[cfg(test)]
mod tests {
    use super::{FORMAT, bucket};
    use crate::form::Sniff;
    use crate::parse::harness::{corpus_files, files, head, parse_text};

    #[test]
    fn reads_buckets() {
        assert_eq!(bucket("[1K, 2K)               1 |@@@|"), Some((Some(1024.0), Some(2048.0), 1)));
        assert_eq!(bucket("(..., 0)               1 |@@@|"), Some((None, Some(0.0), 1)));
        assert_eq!(bucket("[2000,...)            39 |@ |"), Some((Some(2000.0), None, 39)));
        assert_eq!(bucket("[0]                    7 |  |"), Some((Some(0.0), Some(1.0), 7)));
        assert_eq!(bucket("[-4, -2)               7 |  |"), Some((Some(-4.0), Some(-2.0), 7)));
        for line in ["[WARN] x | y |", "[1, 2) 3", "(1)", "[] 1 ||"] {
            assert_eq!(bucket(line), None, "{line}");
        }
    }

    #[test]
    fn a_trace_without_its_first_line_is_recognised() {
        let events = "6811070019680 BPF_MAP_UPDATE_ELEM pid=32048 comm=cilium-agent map_fd=38 dur_ns=17449 ret=0\n";
        let stacks = "@[\n    kfree_skb+1\n    tcp_v4_rcv+20\n]: 7\n@[\n    do_exit+2\n]: 1\n";
        for text in [events, stacks] {
            assert_eq!((FORMAT.sniff)(&head("x.txt", text.as_bytes())), Sniff::Yes, "{text}");
        }
        for text in ["1795407710 up 3\n1795407711 up 3\n", "a: b\n@x is here\n"] {
            assert_eq!((FORMAT.sniff)(&head("x.txt", text.as_bytes())), Sniff::No, "{text}");
        }
    }

    #[test]
    fn reads_a_session() {
        let text = "Attaching 5 probes...\n@early: 1\n# SECOND nsecs=6811539155252\n@samples[swapper/0]: 35\n@s[a]: count 2, average 5, total 10\n@big: 18446744073709551615\n@update_ns: \n[32K, 64K)            52 |@@@ |\n[64K, 128K)            1 |@@@ |\n\n@[\n    ip_output+1\n    release_sock+64\n]: 1708\nLost 12 events\n^C\n6811539155253 EXEC pid=1 comm=x\n";
        let mut batch = parse_text(&FORMAT, text);
        assert_eq!((batch.records, batch.rejected, batch.losses["lost-trace-events"].1), (13, 0, 12));
        assert_eq!(batch.span, Some((6_811_539_155_252, 6_811_539_155_253)));
        assert_eq!(batch.take_tables().len(), 3);
    }

    #[test]
    fn a_cut_stack_is_refused() {
        assert_eq!(parse_text(&FORMAT, "Attaching 1 probe...\n@[\n    ip_output+1\n").rejected, 1);
    }

    #[test]
    fn takes_every_trace_of_the_captures_and_the_corpus() {
        let captured = files(&[
            "captures/cilium-scale-up-1/bpftrace".to_owned(),
            "captures/iptables-scale-up-1/bpftrace".to_owned(),
        ]);
        for (path, bytes) in
            captured.into_iter().filter(|(path, _)| path.ends_with(".txt")).chain(corpus_files(&["bpftrace_text"]))
        {
            let is_output = path.starts_with("captures/") || path.contains("runtime_outputs");
            let found = (FORMAT.sniff)(&head(&path, &bytes));
            assert!(found == Sniff::Yes || !is_output || path.contains("tseries"), "{path}");
            assert_eq!(parse_text(&FORMAT, &String::from_utf8_lossy(&bytes)).rejected, 0, "{path}");
        }
    }
}
