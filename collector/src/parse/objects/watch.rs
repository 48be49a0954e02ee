//! Watches: what `kubectl get -w -o json --output-watch-events` prints, with or without a receipt time around it.
//!
//! ```text
//! {"received":1795407753.588056,"event":{"type":"MODIFIED","object":{"kind":"EndpointSlice",…}}}
//! {"type":"ADDED","object":{"kind":"Pod",…}}
//! 2026-11-23T04:22:33.588056Z {"type":"ADDED","object":{…}}
//! ```
//!
//! Beside the types of the API a recorder writes `LISTED`: an item of the list with which it began a watch, or began it anew.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use syncline_schema::clock::ClockToken;
use syncline_schema::loss;

use crate::form::instant::{epoch, rfc3339};
use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Line, Reads, Sniff};
use crate::parse::objects::kubernetes::{self, Witness};
use crate::parse::objects::kubernetes_facts;

/// The format.
pub const FORMAT: Format = Format {
    kind: "watch",
    title: "Kubernetes watch events, JSON lines",
    clock: ClockToken::Operator,
    cut: Cut::Lines,
    sniff,
    reads: Reads::Rows(parse),
    sample: r#"{"received":1795407753.588056,"event":{"type":"MODIFIED","object":{"kind":"EndpointSlice",…}}}"#,
    recognised: "JSON objects with \"type\" (ADDED, MODIFIED, DELETED, BOOKMARK, LISTED) and \"object\", one a line, bare or under \"event\" beside \"received\"",
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
    let bytes = behind_stamp(head.bytes.trim_ascii_start()).1;
    let line = &bytes[..memchr::memchr(b'\n', bytes).unwrap_or(bytes.len())];
    let has = |mark: &[u8]| memchr::memmem::find(line, mark).is_some();
    let typed = ["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "LISTED"]
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

/// The time that `ts` or a loop wrote ahead of an event, and the event.
fn behind_stamp(line: &[u8]) -> (Option<i64>, &[u8]) {
    let Some(end) = line.iter().take(40).position(|byte| *byte == b'{').filter(|end| *end > 0) else {
        return (None, line);
    };
    let stamp = line[..end].trim_ascii();
    // A number of a line is no time.
    match epoch(stamp).filter(|_| stamp.len() >= 10).or_else(|| rfc3339(stamp)) {
        Some(time) => (Some(time), &line[end..]),
        None => (None, line),
    }
}

fn event(context: &Context, line: &Line<'_>, batch: &mut Batch) -> Result<(), String> {
    let (stamp, text) = behind_stamp(line.bytes);
    let outer: Outer<'_> =
        serde_json::from_slice(text).map_err(|error| format!("expected a watch event as JSON: {error}"))?;
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
        None if stamp.is_some() => stamp,
        None => {
            batch.loss(loss::NO_TIME, 1);
            None
        }
    };
    batch.record(time);
    if kind == "ERROR" {
        // 410 Gone, or whatever else ended the watch: what follows may begin later than this ended.
        batch.loss(loss::WATCH_GAP, 1);
        let words: String = object.get().chars().take(200).collect();
        batch.fact(context, line.number, &format!("lost/{}/watch/{}", loss::WATCH_GAP.name, line.number), &words);
        return Ok(());
    }
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

#[cfg(test)]
mod tests {
    use super::FORMAT;
    use crate::form::Sniff;
    use crate::parse::harness::{facts, head, parse_text};

    #[test]
    fn an_error_that_ends_a_watch_is_a_gap_and_no_damage() {
        let text = concat!(
            "{\"received\":1795407753.5,\"event\":{\"type\":\"LISTED\",\"object\":{\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\"}}}}\n",
            "{\"received\":1795407754.5,\"event\":{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410}}}\n",
        );
        assert_eq!((FORMAT.sniff)(&head("x", text.as_bytes())), Sniff::Yes);
        let mut batch = parse_text(&FORMAT, text);
        assert_eq!((batch.records, batch.rejected, batch.losses["watch-gap"].1), (2, 0, 1));
        assert_eq!(facts(&mut batch), ["lost/watch-gap/watch/2={\"kind\":\"Status\",\"code\":410}"]);
    }

    #[test]
    fn the_stamp_ahead_of_an_event_is_when_it_was_received() {
        let event = r#"{"type":"ADDED","object":{"kind":"EndpointSlice","metadata":{"name":"a"},"endpoints":[]}}"#;
        for stamp in ["2026-11-23T04:22:33.588056Z ", "1795407753.588056 "] {
            let text = format!("{stamp}{event}\n");
            assert_eq!((FORMAT.sniff)(&head("x", text.as_bytes())), Sniff::Yes);
            let batch = parse_text(&FORMAT, &text);
            assert_eq!((batch.records, batch.rejected, batch.losses.len()), (1, 0, 0));
            assert_eq!(batch.span, Some((1_795_407_753_588_056_000, 1_795_407_753_588_056_000)));
        }
        let batch = parse_text(&FORMAT, &format!("yesterday {event}\n{event}\n"));
        assert_eq!((batch.records, batch.rejected), (1, 1));
        assert!(batch.losses.contains_key("no-time"));
    }
}
