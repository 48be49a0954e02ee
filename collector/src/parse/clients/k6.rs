//! k6's results: `k6 run --out json=…`.
//!
//! ```text
//! {"metric":"http_req_duration","type":"Point","data":{"time":"2026-11-23T04:24:06.393Z","value":148.36,"tags":{"method":"GET","status":"200","error":"","url":"http://…"}}}
//! {"type":"Metric","data":{"name":"http_req_duration", …},"metric":"http_req_duration"}
//! ```
//!
//! A point of `http_req_duration` is a request that ended at its time; its value is in ms. Points of other metrics say
//! nothing that a request's row holds: they are counted and left out. k6 keeps connections, but does not say which
//! request opened one, so the kind is `unknown`.

use std::borrow::Cow;

use serde::Deserialize;
use syncline_schema::clock::ClockToken;
use syncline_schema::requests::RequestRow;

use crate::form::instant::rfc3339;
use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Line, Reads, Sniff};

/// The format.
pub const FORMAT: Format = Format {
    kind: "k6",
    title: "k6 results, JSON lines",
    clock: ClockToken::Operator,
    cut: Cut::Lines,
    sniff,
    reads: Reads::Rows(parse),
    sample: "{\"metric\":\"http_req_duration\",\"type\":\"Point\",\"data\":{\"time\":\"2026-11-23T04:24:06.393Z\",\"value\":148.36,\"tags\":{\"method\":\"GET\",\"status\":\"200\"}}}\n",
    recognised: "JSON objects with \"metric\", \"type\" (Metric or Point) and \"data\", one a line",
    capture: "k6 run --out json=k6.jsonl script.js",
    proves: "failed requests and latency as a client sees them, by phase",
};

#[derive(Deserialize)]
struct Row<'a> {
    #[serde(borrow, default)]
    metric: Cow<'a, str>,
    #[serde(borrow, default, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    data: Data<'a>,
}

#[derive(Default, Deserialize)]
struct Data<'a> {
    #[serde(borrow, default)]
    time: Cow<'a, str>,
    #[serde(default)]
    value: Option<f64>,
    #[serde(borrow, default)]
    tags: Option<Tags<'a>>,
}

#[derive(Default, Deserialize)]
struct Tags<'a> {
    #[serde(borrow, default)]
    status: Cow<'a, str>,
    #[serde(borrow, default)]
    error: Cow<'a, str>,
    #[serde(borrow, default)]
    error_code: Cow<'a, str>,
}

fn sniff(head: &Head) -> Sniff {
    let line = head.bytes.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
    let has = |mark: &[u8]| memchr::memmem::find(line, mark).is_some();
    let point = has(b"\"type\":\"Metric\"") || has(b"\"type\":\"Point\"");
    if line.starts_with(b"{") && has(b"\"metric\":") && has(b"\"data\":") && point { Sniff::Yes } else { Sniff::No }
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    for line in chunk.lines().filter(|line| !line.bytes.trim_ascii().is_empty()) {
        if let Err(reason) = row(context, &line, batch) {
            batch.reject(context, &line, &reason);
        }
    }
}

fn row(context: &Context, line: &Line<'_>, batch: &mut Batch) -> Result<(), String> {
    let row: Row<'_> =
        serde_json::from_slice(line.bytes).map_err(|error| format!("expected a result of k6: {error}"))?;
    if row.kind != "Point" || row.metric != "http_req_duration" {
        batch.record(None);
        return Ok(());
    }
    let end = rfc3339(row.data.time.as_bytes())
        .ok_or_else(|| format!("expected \"time\" in RFC 3339, found `{}`", row.data.time))?;
    let value = row.data.value.filter(|value| (0.0..1e9).contains(value)).ok_or("expected a duration in ms")?;
    let latency = (value * 1e6).round() as i64;
    let tags = row.data.tags.unwrap_or_default();
    let status: Option<i32> = tags.status.parse().ok().filter(|status| *status != 0);
    let said = [tags.error, tags.error_code].into_iter().find(|text| !text.is_empty());
    batch.record(Some(end - latency));
    batch.push(&RequestRow {
        source: context.source,
        record: line.number,
        clock: context.clock.as_str().into(),
        time: end - latency,
        kind: "unknown".into(),
        latency: Some(latency),
        status,
        error: if status.is_none() { Some(said.unwrap_or_else(|| "no status".into())) } else { None },
        ..Default::default()
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::FORMAT;
    use crate::parse::harness::parse_text;

    #[test]
    fn a_request_began_ahead_of_its_point() {
        let batch = parse_text(&FORMAT, FORMAT.sample);
        assert_eq!(batch.span, Some((1_795_407_846_244_640_000, 1_795_407_846_244_640_000)));
        let other = FORMAT.sample.replace("http_req_duration", "vus")
            + "{\"metric\":\"http_req_duration\",\"type\":\"Point\",\"data\":{}}\n";
        let batch = parse_text(&FORMAT, &other);
        assert_eq!((batch.records, batch.rejected), (1, 1));
    }
}
