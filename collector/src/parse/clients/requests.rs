//! Requests of a load generator: one JSON object a line.
//!
//! ```text
//! {"ts":"2026-11-23T04:21:50.004693726Z","kind":"new","worker":1,"seq":43190,"latency_ns":622950,"connect_ns":124100,"status":200,"backend":"test-…","local":"10.244.0.22:41490"}
//! ```

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use syncline_schema::clock::ClockToken;
use syncline_schema::requests::RequestRow;

use crate::form::instant::{epoch, rfc3339};
use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Line, Reads, Sniff};

/// The format.
pub const FORMAT: Format = Format {
    kind: "requests",
    title: "requests of a load generator, JSON lines",
    clock: ClockToken::Node,
    cut: Cut::Lines,
    sniff,
    reads: Reads::Rows(parse),
    sample: r#"{"ts":"2026-11-23T04:21:50.004693726Z","kind":"new","latency_ns":622950,"connect_ns":124100,"status":200,"backend":"test-xlz7l"}"#,
    recognised: "JSON objects with \"ts\" (or time, timestamp) and \"latency_ns\" (or _us, _ms), one a line",
    capture: "a client that logs each request: ts, kind (new or keepalive), latency_ns, connect_ns, status, backend, err",
    proves: "failed connections, latency and connection set-up as a client sees them, by phase",
};

#[derive(Deserialize)]
struct Request<'a> {
    /// Text or number: read from what stands there, so that no digit is lost.
    #[serde(borrow, alias = "time", alias = "timestamp")]
    ts: &'a RawValue,
    #[serde(borrow, default)]
    kind: Option<Cow<'a, str>>,
    #[serde(default)]
    latency_ns: Option<i64>,
    #[serde(default)]
    latency_us: Option<f64>,
    #[serde(default)]
    latency_ms: Option<f64>,
    #[serde(default)]
    connect_ns: Option<i64>,
    #[serde(default)]
    status: Option<i32>,
    #[serde(borrow, default)]
    backend: Option<Cow<'a, str>>,
    #[serde(borrow, default, alias = "error")]
    err: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    local: Option<Cow<'a, str>>,
}

fn sniff(head: &Head) -> Sniff {
    // A first line of the client itself (its version, its settings) may come ahead of the requests.
    let lines = head.bytes.split(|byte| *byte == b'\n').take(20);
    let has = |line: &[u8], mark: &[u8]| memchr::memmem::find(line, mark).is_some();
    let own = |line: &[u8]| has(line, b"\"ts\":") && has(line, b"\"latency_ns\":");
    // Of other names only the object's own keys count: a flow has a time, and a latency deep in it.
    let other = |line: &[u8]| {
        let lasted =
            |one: &Request<'_>| one.latency_us.is_some() || one.latency_ms.is_some() || one.latency_ns.is_some();
        has(line, b"\"latency_") && serde_json::from_slice(line).is_ok_and(|one| lasted(&one))
    };
    let request = |line: &[u8]| line.starts_with(b"{") && (own(line) || other(line));
    if lines.into_iter().any(request) { Sniff::Yes } else { Sniff::No }
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    for line in chunk.lines() {
        if !line.bytes.trim_ascii().is_empty()
            && let Err(reason) = request(context, &line, batch)
        {
            batch.reject(context, &line, &reason);
        }
    }
}

fn request(context: &Context, line: &Line<'_>, batch: &mut Batch) -> Result<(), String> {
    let request: Request<'_> =
        serde_json::from_slice(line.bytes).map_err(|error| format!("expected a request as JSON: {error}"))?;
    let stamp = request.ts.get().trim_matches('"');
    let time = rfc3339(stamp.as_bytes()).or_else(|| epoch(stamp.as_bytes()));
    let time = time.ok_or_else(|| format!("expected \"ts\" in RFC 3339 or epoch seconds, found `{stamp}`"))?;
    let some = |text: Option<Cow<'_, str>>| {
        text.filter(|text| !text.is_empty()).map(|text| Cow::<str>::Owned(text.into_owned()))
    };
    let scaled = |value: Option<f64>, unit: f64| {
        value.map(|value| value * unit).filter(|value| (0.0..=9e17).contains(value)).map(|value| value.round() as i64)
    };
    let latency = request.latency_ns.or_else(|| scaled(request.latency_us, 1e3).or(scaled(request.latency_ms, 1e6)));
    batch.record(Some(time));
    let failed = request.status.is_none_or(|status| status == 0);
    batch.push(&RequestRow {
        source: context.source,
        record: line.number,
        clock: context.clock.as_str().into(),
        time,
        kind: match request.kind.as_deref() {
            None | Some("") => "new".into(),
            Some("persistent" | "keep-alive") => "keepalive".into(),
            Some(other) => other.to_owned().into(),
        },
        latency,
        connect: request.connect_ns,
        status: request.status.filter(|status| *status != 0),
        backend: some(request.backend),
        error: some(request.err).or_else(|| failed.then(|| "no status".into())),
        local: some(request.local),
        ..Default::default()
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::FORMAT;
    use crate::parse::harness::parse_text;

    #[test]
    fn numbers_as_times_and_nulls_as_texts_are_read() {
        let text = concat!(
            "{\"ts\":1795407724.802282,\"latency_ns\":5,\"status\":200,\"err\":null,\"backend\":null}\n",
            "{\"ts\":1795407724802,\"latency_ns\":5,\"status\":200}\n",
            "{\"time\":\"2026-11-23T04:22:04.8022Z\",\"status\":0,\"latency_ms\":1.25,\"error\":\"refused\"}\n",
            "{\"ts\":\"yesterday\",\"latency_ns\":5}\n",
        );
        let batch = parse_text(&FORMAT, text);
        assert_eq!((batch.records, batch.rejected), (3, 1));
        assert_eq!(batch.span, Some((1_795_407_724_802_000_000, 1_795_407_724_802_282_000)));
    }
}
