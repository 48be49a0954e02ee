//! VictoriaMetrics' export: `/api/v1/export`, one series (or a part of one) a line.
//!
//! ```text
//! {"metric":{"__name__":"up","job":"j"},"values":[1,1,0],"timestamps":[1700000100000,1700000115000,1700000130000]}
//! ```
//!
//! Times are in milliseconds. A value that is no number is `null` (NaN and staleness markers alike) or a word (`"Infinity"`).

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use syncline_schema::clock::ClockToken;
use syncline_schema::loss::STALE_OR_NAN;

use crate::form::batch::SeriesKey;
use crate::form::json_pairs::Pairs;
use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Line, Reads, Sample, Sniff};
use crate::parse::syntax::metric_line::{labels_json, value};

/// The export.
pub const FORMAT: Format = Format {
    kind: "victoria-export",
    title: "VictoriaMetrics' export, JSON lines",
    clock: ClockToken::Prometheus,
    cut: Cut::Lines,
    sniff,
    reads: Reads::Rows(parse),
    sample: "{\"metric\":{\"__name__\":\"up\",\"job\":\"j\"},\"values\":[1,0],\"timestamps\":[1700000100000,1700000115000]}\n",
    recognised: "JSON objects with \"metric\", \"values\" and \"timestamps\", one a line",
    capture: "curl -s http://victoria:8428/api/v1/export -d 'match[]={__name__!=\"\"}' -d start=… -d end=…",
    proves: "every sample that the store has of the series asked for, with its scrape time",
};

#[derive(Deserialize)]
struct Series<'a> {
    #[serde(borrow)]
    metric: Pairs<'a, Text<'a>>,
    values: Vec<Value>,
    timestamps: Vec<i64>,
}

/// Text that borrows where it can.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn sniff(head: &Head) -> Sniff {
    let line = head.bytes.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
    let start: Vec<u8> = line.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).take(30).collect();
    let has = |mark: &[u8]| memchr::memmem::find(line, mark).is_some();
    // A series with many samples may be longer than the head.
    let times = has(b"\"timestamps\"") || line.len() == head.bytes.len();
    if start.starts_with(b"{\"metric\":{") && has(b"\"values\"") && times { Sniff::Yes } else { Sniff::No }
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    batch.witness = "tsdb";
    for line in chunk.lines().filter(|line| !line.bytes.trim_ascii().is_empty()) {
        if let Err(reason) = series(&line, batch) {
            batch.reject(context, &line, &reason);
        }
    }
}

fn series(line: &Line<'_>, batch: &mut Batch) -> Result<(), String> {
    let found: Series<'_> = serde_json::from_slice(line.bytes)
        .map_err(|error| format!("expected metric, values and timestamps: {error}"))?;
    if found.values.len() != found.timestamps.len() {
        return Err(format!(
            "expected as many timestamps as values, found {} and {}",
            found.timestamps.len(),
            found.values.len()
        ));
    }
    let mut labels: Vec<_> = found.metric.0.into_iter().map(|(key, Text(text))| (key, text)).collect();
    let named = labels.iter().position(|(key, _)| key == "__name__").ok_or("expected a metric with a name")?;
    let name = labels.swap_remove(named).1.into_owned();
    let labels = labels_json(labels)?;
    let mut samples = Vec::with_capacity(found.values.len());
    let mut nulls = 0;
    for (number, time) in found.values.iter().zip(&found.timestamps) {
        let number = match number {
            Value::Number(number) => number.as_f64(),
            Value::Null => Some(f64::NAN),
            Value::String(text) => match text.as_str() {
                "Infinity" => Some(f64::INFINITY),
                "-Infinity" => Some(f64::NEG_INFINITY),
                other => value(other.as_bytes()),
            },
            _ => None,
        };
        let number = number.ok_or("expected numbers as values")?;
        nulls += u64::from(number.is_nan());
        samples.push((time.checked_mul(1_000_000).ok_or("expected milliseconds since the epoch")?, number));
    }
    let series = batch.series(SeriesKey { name, labels }, line.number, None);
    for (time, value) in samples {
        batch.record(Some(time));
        batch.samples.push(Sample { series, record: line.number, time, value });
    }
    if nulls > 0 {
        batch.loss(STALE_OR_NAN, nulls);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::FORMAT;
    use crate::form::Sniff;
    use crate::parse::harness::{head, parse_text};

    #[test]
    fn every_sample_is_read_and_a_bad_line_costs_itself() {
        let text = "{\"metric\":{\"__name__\":\"up\"},\"values\":[1,null,\"Infinity\"],\"timestamps\":[1700000100000,1700000115000,1700000130000]}\n{\"metric\":{\"__name__\":\"up\"},\"values\":[1],\"timestamps\":[1,2]}\n{\"metric\":{\"__name__\":\"up\"},\"values\":[0],\"timestamps\":[1700000145000]}\n";
        assert_eq!((FORMAT.sniff)(&head("x", text.as_bytes())), Sniff::Yes);
        let batch = parse_text(&FORMAT, text);
        assert_eq!((batch.samples.len(), batch.series.len(), batch.rejected), (4, 1, 1));
        assert_eq!(batch.samples[0].time, 1_700_000_100_000_000_000);
        assert_eq!(batch.losses["stale-or-nan"].1, 1);
    }
}
