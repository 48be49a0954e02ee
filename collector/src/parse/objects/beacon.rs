//! Beacons of a recorder: requests of its own that tell which revision the cluster's store had between two moments.
//!
//! ```text
//! {"beacon":{"resourceVersion":"1204","sent":1795407753.588056123,"returned":1795407753.592101877,"sent_boottime":5568.059442412,"returned_boottime":5568.063488166}}
//! {"beacon":{"by":"action","resourceVersion":"1240","sent":1795407755.1,"returned":1795407755.104}}
//! ```
//!
//! `by` is `write` where it is absent.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use syncline_schema::beacons::BeaconRow;
use syncline_schema::clock::ClockToken;

use crate::form::instant::{epoch, epoch_seconds};
use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Line, Reads, Sniff};

/// The format.
pub const FORMAT: Format = Format {
    kind: "beacon",
    title: "beacons of a recorder, JSON lines",
    clock: ClockToken::Node,
    cut: Cut::Lines,
    sniff,
    reads: Reads::Rows(parse),
    sample: r#"{"beacon":{"resourceVersion":"1204","sent":1795407753.588056123,"returned":1795407753.592101877}}"#,
    recognised: "JSON lines with an object \"beacon\" that has a \"resourceVersion\" and the times \"sent\" and \"returned\"",
    capture: "syncline-collector record, which writes an object of its own ten times a second",
    proves: "between which moments of the recorder's clock each version of any object of the same store was committed, without the audit log",
};

#[derive(Deserialize)]
struct Outer<'a> {
    #[serde(borrow)]
    beacon: Beacon<'a>,
}

/// Times are read from what stands there: as binary fractions they would lose their last digits.
#[derive(Deserialize)]
struct Beacon<'a> {
    #[serde(borrow, default)]
    by: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "resourceVersion")]
    resource_version: Cow<'a, str>,
    #[serde(borrow)]
    sent: &'a RawValue,
    #[serde(borrow)]
    returned: &'a RawValue,
    #[serde(borrow, default)]
    sent_boottime: Option<&'a RawValue>,
    #[serde(borrow, default)]
    returned_boottime: Option<&'a RawValue>,
}

fn sniff(head: &Head) -> Sniff {
    let bytes = head.bytes.trim_ascii_start();
    let line = &bytes[..memchr::memchr(b'\n', bytes).unwrap_or(bytes.len())];
    let has = |mark: &[u8]| memchr::memmem::find(line, mark).is_some();
    let own = line.starts_with(b"{\"beacon\":") || line.starts_with(b"{ \"beacon\":");
    if own && has(b"\"resourceVersion\"") && has(b"\"sent\"") { Sniff::Yes } else { Sniff::No }
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    for line in chunk.lines() {
        if !line.bytes.trim_ascii().is_empty()
            && let Err(reason) = beacon(context, &line, batch)
        {
            batch.reject(context, &line, &reason);
        }
    }
}

fn beacon(context: &Context, line: &Line<'_>, batch: &mut Batch) -> Result<(), String> {
    let Outer { beacon } =
        serde_json::from_slice(line.bytes).map_err(|error| format!("expected a beacon as JSON: {error}"))?;
    let number: Option<u64> = beacon.resource_version.parse().ok();
    if number.is_none_or(|number| number == 0) {
        return Err(format!("expected \"resourceVersion\" as a number, found `{}`", beacon.resource_version));
    }
    let by = match beacon.by.as_deref() {
        None | Some("write") => "write",
        Some("action") => "action",
        Some("read") => "read",
        Some(other) => return Err(format!("expected \"by\" as write, action or read, found `{other}`")),
    };
    let wrong = |name: &str, raw: &RawValue| format!("expected \"{name}\" as epoch seconds, found `{raw}`");
    let time =
        |name: &str, raw: &RawValue| epoch(raw.get().trim_matches('"').as_bytes()).ok_or_else(|| wrong(name, raw));
    // Seconds since the boot have few digits.
    let since_boot = |name: &str, raw: Option<&RawValue>| {
        let read =
            |raw: &RawValue| epoch_seconds(raw.get().trim_matches('"').as_bytes()).ok_or_else(|| wrong(name, raw));
        raw.map(read).transpose()
    };
    let (sent, returned) = (time("sent", beacon.sent)?, time("returned", beacon.returned)?);
    let sent_boottime = since_boot("sent_boottime", beacon.sent_boottime)?;
    let returned_boottime = since_boot("returned_boottime", beacon.returned_boottime)?;
    // Realtime may step back while a request is under way; boottime cannot.
    let backwards = match sent_boottime.zip(returned_boottime) {
        Some((sent, returned)) => returned < sent,
        None => returned < sent,
    };
    if backwards {
        return Err("expected \"returned\" behind \"sent\"".to_owned());
    }
    batch.record(Some(sent));
    batch.record_until(returned);
    batch.push(&BeaconRow {
        source: context.source,
        record: line.number,
        clock: context.clock.as_str().into(),
        by: by.into(),
        resource_version: beacon.resource_version,
        sent,
        returned,
        sent_boottime,
        returned_boottime,
        ..Default::default()
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::FORMAT;
    use crate::form::Sniff;
    use crate::parse::harness::{head, parse_text};

    const WHOLE: &str = r#"{"beacon":{"resourceVersion":"1204","sent":1795407753.588056123,"returned":1795407753.592101877,"sent_boottime":5568.059442412,"returned_boottime":5568.063488166}}"#;

    #[test]
    fn no_digit_of_a_time_is_lost() {
        assert_eq!((FORMAT.sniff)(&head("beacon.jsonl", WHOLE.as_bytes())), Sniff::Yes);
        let batch = parse_text(&FORMAT, WHOLE);
        assert_eq!((batch.records, batch.rejected), (1, 0));
        assert_eq!(batch.span, Some((1_795_407_753_588_056_123, 1_795_407_753_592_101_877)));
    }

    #[test]
    fn damage_is_refused_line_by_line() {
        let cut = &WHOLE[..WHOLE.len() - 20];
        let unnumbered = WHOLE.replace("\"1204\"", "\"abc\"");
        let none = WHOLE.replace("\"1204\"", "\"0\"");
        let backwards = r#"{"beacon":{"resourceVersion":"1204","sent":1795407753.6,"returned":1795407753.5}}"#;
        let unknown = WHOLE.replace("{\"resourceVersion\"", "{\"by\":\"guess\",\"resourceVersion\"");
        let batch = parse_text(&FORMAT, &[WHOLE, cut, &unnumbered, &none, backwards, &unknown, WHOLE].join("\n"));
        assert_eq!((batch.records, batch.rejected), (2, 5));
    }

    #[test]
    fn a_clock_that_steps_back_meanwhile_is_no_damage() {
        let stepped = WHOLE.replace("1795407753.592101877", "1795407748.592101877");
        assert_eq!(parse_text(&FORMAT, &stepped).rejected, 0);
    }

    #[test]
    fn other_lines_are_not_taken() {
        for text in ["{\"lost\":{\"source\":\"x\"}}", "{\"beacon\":1}", "{\"event\":{\"beacon\":1}}"] {
            assert_eq!((FORMAT.sniff)(&head("beacon.jsonl", text.as_bytes())), Sniff::No, "{text}");
        }
    }
}
