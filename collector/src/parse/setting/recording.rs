//! What a recorder says of itself: what it could not see, and how its sources went.
//!
//! ```text
//! {"lost":{"source":"watch","loss":"watch-gap","count":1,"from":1795407753.588,"until":1795407755.102,"what":"endpointslices: 410 Gone"}}
//! {"source":{"name":"iptables","readings":612,"cadence":0.1001,"largest_gap":0.231}}
//! {"kernel_clock":{"time":1795407753.588,"synchronised":true,"maxerror":0.001250,"esterror":0.000310}}
//! ```
//!
//! `loss` is a name that the collector knows, else it counts as `recorder-gap`; times are seconds on the recorder's clock.
//! `kernel_clock` is what adjtimex(2) says: `maxerror` bounds the clock's error (s) while a time server steers it.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use syncline_schema::clock::ClockToken;
use syncline_schema::loss::{self, Loss};

use super::chrony::{self, Reading};
use crate::form::instant::epoch;
use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Line, Reads, Sniff};

/// The format.
pub const FORMAT: Format = Format {
    kind: "recording",
    title: "what a recorder says of itself, JSON lines",
    clock: ClockToken::Node,
    cut: Cut::Lines,
    sniff,
    reads: Reads::Rows(parse),
    sample: r#"{"lost":{"source":"watch","loss":"watch-gap","count":1,"from":1795407753.588,"what":"endpointslices: 410 Gone"}}"#,
    recognised: "JSON lines with an object \"lost\", \"source\" or \"kernel_clock\" that has a \"source\", a \"name\" or a \"maxerror\"",
    capture: "syncline-collector record",
    proves: "which gaps a recording has and why, and how often its sources looked",
};

#[derive(Deserialize)]
struct Outer<'a> {
    #[serde(borrow, default)]
    lost: Option<Lost<'a>>,
    #[serde(borrow, default)]
    source: Option<Source<'a>>,
    #[serde(borrow, default)]
    kernel_clock: Option<KernelClock<'a>>,
}

#[derive(Deserialize)]
struct KernelClock<'a> {
    #[serde(borrow)]
    time: &'a RawValue,
    synchronised: bool,
    #[serde(borrow)]
    maxerror: &'a RawValue,
}

#[derive(Deserialize)]
struct Lost<'a> {
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(borrow, default)]
    loss: Option<Cow<'a, str>>,
    #[serde(default)]
    count: Option<u64>,
    #[serde(borrow, default)]
    from: Option<&'a RawValue>,
    #[serde(borrow, default)]
    until: Option<&'a RawValue>,
    #[serde(borrow, default)]
    what: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Source<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(default)]
    readings: Option<u64>,
    /// Median seconds between two readings.
    #[serde(default)]
    cadence: Option<f64>,
    /// Seconds.
    #[serde(default)]
    largest_gap: Option<f64>,
}

fn sniff(head: &Head) -> Sniff {
    let bytes = head.bytes.trim_ascii_start();
    let line = &bytes[..memchr::memchr(b'\n', bytes).unwrap_or(bytes.len())];
    let has = |mark: &[u8]| memchr::memmem::find(line, mark).is_some();
    let lost = line.starts_with(b"{\"lost\":{") && has(b"\"source\":\"");
    let source = line.starts_with(b"{\"source\":{") && has(b"\"name\":\"");
    let kernel = line.starts_with(b"{\"kernel_clock\":{") && has(b"\"maxerror\":");
    if lost || source || kernel { Sniff::Yes } else { Sniff::No }
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    for line in chunk.lines() {
        if !line.bytes.trim_ascii().is_empty()
            && let Err(reason) = said(context, &line, batch)
        {
            batch.reject(context, &line, &reason);
        }
    }
}

fn said(context: &Context, line: &Line<'_>, batch: &mut Batch) -> Result<(), String> {
    let outer: Outer<'_> =
        serde_json::from_slice(line.bytes).map_err(|error| format!("expected what was lost as JSON: {error}"))?;
    if let Some(kernel) = outer.kernel_clock {
        return clock_of(context, line, &kernel, batch);
    }
    match (outer.lost, outer.source) {
        (Some(lost), _) => lost_of(context, line, &lost, batch),
        (None, Some(source)) => {
            batch.record(None);
            let seconds = |name: &str, value: Option<f64>| value.map(|value| format!(", {name} {value:.4} s"));
            let words = [
                Some(format!("{} readings", source.readings.unwrap_or(0))),
                seconds("median cadence", source.cadence),
                seconds("largest gap", source.largest_gap),
            ];
            let key = format!("recorded/{}", source.name);
            batch.fact(context, line.number, &key, &words.into_iter().flatten().collect::<String>());
            Ok(())
        }
        (None, None) => Err("expected \"lost\", \"source\" or \"kernel_clock\"".to_owned()),
    }
}

/// A clock that no time server steers is told as a fact, and bounds nothing.
fn clock_of(context: &Context, line: &Line<'_>, kernel: &KernelClock<'_>, batch: &mut Batch) -> Result<(), String> {
    let time = epoch(kernel.time.get().as_bytes())
        .ok_or_else(|| format!("expected epoch seconds, found `{}`", kernel.time))?;
    if kernel.synchronised {
        let (offset, root_delay) = ("0", "0");
        let reading = Reading { time, offset, root_delay, root_dispersion: kernel.maxerror.get(), leap: "Normal" };
        return chrony::anchor(context, line, "adjtimex", &reading, batch);
    }
    batch.record(Some(time));
    batch.fact(context, line.number, "clock/kernel", "no time server steers it: its error is not bounded");
    Ok(())
}

fn lost_of(context: &Context, line: &Line<'_>, lost: &Lost<'_>, batch: &mut Batch) -> Result<(), String> {
    let time = |raw: Option<&RawValue>| {
        let read = |raw: &RawValue| {
            epoch(raw.get().trim_matches('"').as_bytes())
                .ok_or_else(|| format!("expected epoch seconds, found `{raw}`"))
        };
        raw.map(read).transpose()
    };
    let (from, until) = (time(lost.from)?, time(lost.until)?);
    let name = lost.loss.as_deref().unwrap_or_default();
    let known: Loss = loss::ALL.iter().find(|one| one.name == name).copied().unwrap_or(loss::RECORDER_GAP);
    batch.record(from.or(until));
    if let Some(until) = until {
        batch.record_until(until);
    }
    batch.loss(known, lost.count.unwrap_or(1));
    let lasted = from.zip(until).map(|(from, until)| (until - from) as f64 / 1e9).filter(|lasted| *lasted >= 0.0);
    let lasted = lasted.map(|seconds| format!(" ({seconds:.3} s)")).unwrap_or_default();
    // One fact each: the same source may lose several times.
    let key = format!("lost/{}/{}/{}", known.name, lost.source, line.number);
    batch.fact(context, line.number, &key, &format!("{}{lasted}", lost.what));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::FORMAT;
    use crate::form::Sniff;
    use crate::parse::harness::{facts, head, parse_text};

    #[test]
    fn the_kernel_bounds_a_clock_that_is_steered() {
        let line =
            |rest: &str| format!("{{\"kernel_clock\":{{\"time\":1795407753.5,{rest},\"esterror\":0.000310}}}}\n");
        let text =
            line("\"synchronised\":true,\"maxerror\":0.001250") + &line("\"synchronised\":false,\"maxerror\":16.0");
        assert_eq!((FORMAT.sniff)(&head("kernel.jsonl", text.as_bytes())), Sniff::Yes);
        let mut batch = parse_text(&FORMAT, &text);
        assert_eq!((batch.records, batch.rejected), (2, 0));
        let steered = parse_text(&FORMAT, &line("\"synchronised\":true,\"maxerror\":0.001250")).take_tables();
        assert!(steered.iter().any(|table| table.table == "clock_anchors" && table.rows() == 1));
        assert_eq!(facts(&mut batch), ["clock/kernel=no time server steers it: its error is not bounded"]);
        assert_eq!(parse_text(&FORMAT, &line("\"synchronised\":true,\"maxerror\":true")).rejected, 1);
    }

    #[test]
    fn what_was_lost_is_counted_and_said() {
        let text = concat!(
            "{\"lost\":{\"source\":\"watch\",\"loss\":\"watch-gap\",\"count\":2,\"from\":1795407753.5,\"until\":1795407755.25,\"what\":\"410 Gone\"}}\n",
            "{\"lost\":{\"source\":\"iptables\",\"loss\":\"a name of later\",\"what\":\"no answer\"}}\n",
            "{\"source\":{\"name\":\"iptables\",\"readings\":612,\"cadence\":0.1,\"largest_gap\":0.25}}\n",
            "{\"lost\":{\"source\":\"x\",\"from\":\"yesterday\"}}\n{\"other\":1}\n",
        );
        assert_eq!((FORMAT.sniff)(&head("recording.jsonl", text.as_bytes())), Sniff::Yes);
        let mut batch = parse_text(&FORMAT, text);
        assert_eq!((batch.records, batch.rejected), (3, 2));
        assert_eq!((batch.losses["watch-gap"].1, batch.losses["recorder-gap"].1), (2, 1));
        assert_eq!(batch.span, Some((1_795_407_753_500_000_000, 1_795_407_755_250_000_000)));
        assert_eq!(
            facts(&mut batch),
            [
                "lost/watch-gap/watch/1=410 Gone (1.750 s)",
                "lost/recorder-gap/iptables/2=no answer",
                "recorded/iptables=612 readings, median cadence 0.1000 s, largest gap 0.2500 s"
            ]
        );
    }
}
