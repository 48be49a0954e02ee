//! vegeta's results: `vegeta encode`.
//!
//! ```text
//! {"attack":"","seq":0,"code":200,"timestamp":"2026-11-23T04:24:06.393076+01:00","latency":1482361,"bytes_out":0,"bytes_in":2,"error":"","body":"b2s=","method":"GET","url":"http://…"}
//! ```
//!
//! The time is when the request was sent, the latency is in ns. Its CSV form is `request_csv`'s.

use std::borrow::Cow;

use serde::Deserialize;
use syncline_schema::clock::ClockToken;
use syncline_schema::requests::RequestRow;

use crate::form::instant::rfc3339;
use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Line, Reads, Sniff};

/// The format.
pub const FORMAT: Format = Format {
    kind: "vegeta",
    title: "vegeta results, JSON lines",
    clock: ClockToken::Operator,
    cut: Cut::Lines,
    sniff,
    reads: Reads::Rows(parse),
    sample: "{\"attack\":\"\",\"seq\":0,\"code\":200,\"timestamp\":\"2026-11-23T04:24:06.393076Z\",\"latency\":1482361,\"bytes_out\":0,\"bytes_in\":2,\"error\":\"\"}\n",
    recognised: "JSON objects with \"attack\", \"seq\", \"code\" and \"latency\", one a line",
    capture: "vegeta attack … | tee results.bin | vegeta encode > vegeta.jsonl",
    proves: "failed requests and latency as a client sees them, by phase",
};

#[derive(Deserialize)]
struct Hit<'a> {
    #[serde(default)]
    code: i32,
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    latency: i64,
    #[serde(borrow, default)]
    error: Cow<'a, str>,
}

fn sniff(head: &Head) -> Sniff {
    let line = head.bytes.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
    let has = |mark: &[u8]| memchr::memmem::find(line, mark).is_some();
    let keys = [&b"\"attack\":"[..], b"\"seq\":", b"\"code\":", b"\"latency\":"].iter().all(|key| has(key));
    if line.starts_with(b"{") && keys { Sniff::Yes } else { Sniff::No }
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    for line in chunk.lines().filter(|line| !line.bytes.trim_ascii().is_empty()) {
        if let Err(reason) = hit(context, &line, batch) {
            batch.reject(context, &line, &reason);
        }
    }
}

fn hit(context: &Context, line: &Line<'_>, batch: &mut Batch) -> Result<(), String> {
    let hit: Hit<'_> =
        serde_json::from_slice(line.bytes).map_err(|error| format!("expected a result of vegeta: {error}"))?;
    let time = rfc3339(hit.timestamp.as_bytes())
        .ok_or_else(|| format!("expected \"timestamp\" in RFC 3339, found `{}`", hit.timestamp))?;
    batch.record(Some(time));
    let failed = hit.code == 0;
    batch.push(&RequestRow {
        source: context.source,
        record: line.number,
        clock: context.clock.as_str().into(),
        time,
        kind: "unknown".into(),
        latency: Some(hit.latency),
        status: (!failed).then_some(hit.code),
        error: failed.then_some(if hit.error.is_empty() { "no status".into() } else { hit.error }),
        ..Default::default()
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::FORMAT;
    use crate::parse::harness::parse_text;

    #[test]
    fn hits_are_requests() {
        let text =
            FORMAT.sample.repeat(2) + "{\"attack\":\"\",\"seq\":0,\"code\":0,\"timestamp\":\"now\",\"latency\":1}\n";
        let batch = parse_text(&FORMAT, &text);
        assert_eq!((batch.records, batch.rejected), (2, 1));
    }
}
