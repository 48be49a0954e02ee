//! Watches: what `kubectl get -w -o json --output-watch-events` prints, with or without a receipt time around it.
//!
//! ```text
//! {"received":1795407753.588056,"event":{"type":"MODIFIED","object":{"kind":"EndpointSlice",…}}}
//! {"type":"ADDED","object":{"kind":"Pod",…}}
//! ```

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use syncline_schema::clock::ClockToken;
use syncline_schema::loss;

use super::instant::{epoch, rfc3339};
use super::kubernetes::{self, Witness};
use super::{Batch, Chunk, Context, Cut, Format, Head, Line, Sniff, kubernetes_facts};

/// The format.
pub const FORMAT: Format = Format {
    kind: "watch",
    title: "Kubernetes watch events, JSON lines",
    clock: ClockToken::Operator,
    cut: Cut::Lines,
    sniff,
    parse,
    sample: r#"{"received":1795407753.588056,"event":{"type":"MODIFIED","object":{"kind":"EndpointSlice",…}}}"#,
    recognised: "JSON objects with \"type\" (ADDED, MODIFIED, DELETED, BOOKMARK) and \"object\", one a line, bare or under \"event\" beside \"received\"",
    capture: "kubectl get endpointslices -A -w -o json --output-watch-events | jq -c --unbuffered '{received: now, event: .}'",
    proves: "which endpoints were ready when, and an upper bound of when each version was committed",
};

#[derive(Deserialize)]
struct Outer<'a> {
    #[serde(borrow, default)]
    received: Option<&'a RawValue>,
    #[serde(borrow, default)]
    event: Option<Inner<'a>>,
    #[serde(borrow, default, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    object: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Inner<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    object: &'a RawValue,
}

fn sniff(head: &Head) -> Sniff {
    let bytes = head.bytes.trim_ascii_start();
    let line = &bytes[..memchr::memchr(b'\n', bytes).unwrap_or(bytes.len())];
    let has = |mark: &[u8]| memchr::memmem::find(line, mark).is_some();
    let typed = ["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
        .iter()
        .any(|kind| has(format!("\"type\":\"{kind}\"").as_bytes()) || has(format!("\"type\": \"{kind}\"").as_bytes()));
    if bytes.starts_with(b"{") && typed && has(b"\"object\"") { Sniff::Yes } else { Sniff::No }
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    for line in chunk.lines() {
        if line.bytes.trim_ascii().is_empty() {
            continue;
        }
        if let Err(reason) = event(context, &line, batch) {
            batch.reject(context, &line, &reason);
        }
    }
}

fn event(context: &Context, line: &Line<'_>, batch: &mut Batch) -> Result<(), String> {
    let outer: Outer<'_> =
        serde_json::from_slice(line.bytes).map_err(|error| format!("expected a watch event as JSON: {error}"))?;
    let (kind, object) = match (outer.event, outer.kind, outer.object) {
        (Some(inner), _, _) => (inner.kind, inner.object),
        (None, Some(kind), Some(object)) => (kind, object),
        _ => return Err("expected \"type\" and \"object\"".to_owned()),
    };
    let time = match outer.received {
        Some(raw) => {
            let text = raw.get().trim_matches('"');
            let time = epoch(text.as_bytes()).or_else(|| rfc3339(text.as_bytes()));
            Some(time.ok_or_else(|| format!("expected \"received\" as epoch seconds or RFC 3339, found `{text}`"))?)
        }
        None => {
            batch.loss(loss::NO_TIME, 1);
            None
        }
    };
    if kind == "ERROR" {
        return Err(format!("the watch ended with an error: {}", object.get().chars().take(120).collect::<String>()));
    }
    batch.record(time);
    if kind == "BOOKMARK" {
        return Ok(());
    }
    let text = object.get().as_bytes();
    let Some((kind_of, object)) = kubernetes::object(text, "")? else {
        kubernetes_facts::read(context, line.number, text, "", batch);
        return Ok(());
    };
    let witness = Witness {
        source: context.source,
        record: line.number,
        clock: &context.clock,
        name: "watch",
        time,
        received: None,
        event: kind,
    };
    kubernetes::push(&kind_of, &object, &witness, batch);
    Ok(())
}
