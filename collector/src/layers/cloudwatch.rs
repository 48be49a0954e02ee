//! Amazon CloudWatch Logs, in every way in which its events come out.
//!
//! ```text
//! {"events":[{"logStreamName":"…","timestamp":1770091506100,"message":"…","eventId":"…"}]}   filter-log-events, get-log-events
//! {"messageType":"DATA_MESSAGE","logStream":"…","logEvents":[{"id":"…","timestamp":…,"message":"…"}]}   Firehose, subscriptions
//! {"results":[[{"field":"@timestamp","value":"…"},{"field":"@message","value":"…"}]]}        Logs Insights; as CSV too
//! 2026-02-03T04:05:06.100000+00:00 stream message                                            aws logs tail
//! 2026-02-03T04:05:06.100Z message                                                           export to S3
//! EVENTS ⇥ 3611… ⇥ 1770091507000 ⇥ stream ⇥ message ⇥ 1770091506100                                   --output text
//! ```

use super::json_fields::{Fields, moment};
use super::json_scan::Context;
use super::json_store::{Shape, Turned};
use super::layer::Layer;
use super::prefix::{self, Read, Taken, word};
use crate::form::stamp::Dating;

/// Its JSON, and tables of Logs Insights.
pub const LAYER: Layer = Layer {
    name: "cloudwatch",
    title: "CloudWatch Logs: events as JSON, Logs Insights",
    sample: "{\"events\":[{\"logStreamName\":\"s\",\"timestamp\":1770091506100,\"message\":\"I0203 04:05:06.100000       1 proxier.go:1] x\",\"eventId\":\"1\"}]}\n",
    certain: true,
    wears: |head| SHAPE.worn(head),
    open: |setting| SHAPE.open(setting),
    put_on: Some(|text| {
        let event = |line: &[u8]| {
            let line = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(line)).into_owned();
            serde_json::json!({"logStreamName": "s", "timestamp": 1_795_408_951_500_i64, "message": line})
        };
        let events: Vec<serde_json::Value> = text.split_inclusive(|byte| *byte == b'\n').map(event).collect();
        let answer = serde_json::json!({"events": events, "searchedLogStreams": []});
        serde_json::to_vec_pretty(&answer).unwrap_or_default()
    }),
};

static SHAPE: Shape = Shape {
    entries: &["", "[]", "events[]", "logEvents[]", "results[]", "[].logEvents[]"],
    message: &["@message", "message"],
    marks: &[
        &["message", "timestamp", "ingestionTime"],
        &["message", "timestamp", "eventId"],
        &["message", "timestamp", "logStreamName"],
        &["@message"],
        &["@message", "@timestamp"],
    ],
    held: &[&["message", "timestamp"], &["message", "logStreamName"], &["message", "id"], &["message"], &["@message"]],
    time: &["timestamp", "@timestamp"],
    pod: &["@kubernetes.pod_name", "kubernetes.pod_name"],
    namespace: &["kubernetes.namespace_name"],
    container: &["kubernetes.container_name"],
    node: &["kubernetes.host"],
    file: &["logStreamName", "@logStream", "logStream"],
    turn: Some(is_control),
    most: Some(("@message", 10_000)),
    ..Shape::EMPTY
};

/// Firehose's word that it is there.
fn is_control(fields: &Fields<'_>, context: &Context) -> Turned {
    let of_type = context.get("messageType").is_some_and(|kind| kind == b"\"CONTROL_MESSAGE\"");
    let message = fields.text(&["message"]).unwrap_or_default();
    if of_type || message.starts_with("CWL CONTROL MESSAGE") { Turned::Own } else { Turned::Inside }
}

/// Its text.
pub const TEXT: Layer = Layer {
    name: "cloudwatch",
    title: "CloudWatch Logs: aws logs tail, exports to S3, --output text",
    sample: "2026-02-03T04:05:06.100000+00:00 kube-proxy-a I0203 04:05:06.100000       1 proxier.go:1] x\n",
    certain: false,
    wears: |head| prefix::worn(head, taken),
    open: |setting| prefix::open(setting, taken),
    put_on: Some(|text| prefix::put_on(text, "2026-11-23T04:42:31.500000+00:00 stream ")),
};

fn taken<'a>(line: &'a [u8], dating: &Dating) -> Read<'a> {
    if line.starts_with(b"EVENTS\t") {
        return row(line, dating).map_or(Read::Other, Read::Inside);
    }
    if [&b"SEARCHEDLOGSTREAMS\t"[..], b"f/", b"b/"].iter().any(|own| line.starts_with(own)) {
        return Read::Own;
    }
    let Some((time, rest)) = prefix::rfc3339(line) else { return Read::Other };
    let length = line.len() - rest.len() - 1;
    let is_tail = line[..length].ends_with(b"+00:00") && length == 32;
    let is_export = line[..length].ends_with(b"Z") && length == 24;
    if is_tail && let Some((stream, text)) = word(rest) {
        let (namespace, pod, container) = match super::json_fields::of_log_path(stream) {
            Some((namespace, pod, container)) => (Some(namespace), Some(pod), Some(container)),
            None => (None, None, None),
        };
        return Read::Inside(Taken { time: Some(time), namespace, pod, container, text, ..Taken::default() });
    }
    match is_export {
        true => Read::Inside(Taken { time: Some(time), text: rest, ..Taken::default() }),
        false => Read::Other,
    }
}

/// `EVENTS`, then the fields of an event in the order of their names.
fn row<'a>(line: &'a [u8], dating: &Dating) -> Option<Taken<'a>> {
    let rest = &line[b"EVENTS\t".len()..];
    let last = memchr::memrchr(b'\t', rest)?;
    let time = moment(std::str::from_utf8(rest[last + 1..].trim_ascii()).ok()?, dating)?;
    let mut text = &rest[..last];
    let digits = |text: &[u8]| text.iter().all(u8::is_ascii_digit) && !text.is_empty();
    let column = |text: &'a [u8]| memchr::memchr(b'\t', text).map(|tab| (&text[..tab], &text[tab + 1..]));
    // get-log-events has the time of ingestion only; filter-log-events an identifier ahead of it and the stream behind it.
    let (first, behind) = column(text).filter(|(first, _)| digits(first))?;
    text = behind;
    if first.len() != 13 {
        let (_, behind) = column(text).filter(|(ingested, _)| digits(ingested))?;
        let (_, behind) = column(behind)?;
        text = behind;
    }
    Some(Taken { time: Some(time), text, ..Taken::default() })
}

#[cfg(test)]
mod tests {
    use super::{LAYER, TEXT};
    use crate::layers::harness::{lines, wears};

    const AT: i64 = 1_770_091_506_100_000_000;

    #[test]
    fn every_shape_gives_the_same_line() {
        for text in [
            r#"{"events":[{"logStreamName":"s","timestamp":1770091506100,"message":"x","eventId":"1"}],"searchedLogStreams":[]}"#,
            "{\n  \"events\": [\n    {\n      \"timestamp\": 1770091506100,\n      \"message\": \"x\",\n      \"ingestionTime\": 1\n    }\n  ],\n  \"nextForwardToken\": \"f/1\"\n}\n",
            r#"{"messageType":"DATA_MESSAGE","owner":"1","logEvents":[{"id":"1","timestamp":1770091506100,"message":"x"}]}"#,
            r#"{"results":[[{"field":"@timestamp","value":"2026-02-03 04:05:06.100"},{"field":"@message","value":"x"},{"field":"@ptr","value":"y"}]],"status":"Complete"}"#,
            r#"[[{"field":"@timestamp","value":"2026-02-03 04:05:06.100"},{"field":"@message","value":"x"}]]"#,
            r#"[{"@timestamp":"2026-02-03 04:05:06.100","@message":"x"}]"#,
            r#"{"message":"x","timestamp":1770091506100,"ingestionTime":2}"#,
            "@timestamp,@message\n2026-02-03 04:05:06.100,x\n",
        ] {
            assert!(wears(&LAYER, text), "{text}");
            let found = lines(&LAYER, text);
            assert_eq!((found.len(), found[0].1, &*found[0].2), (1, Some(AT), "x"), "{text}");
        }
        for text in [
            "2026-02-03T04:05:06.100000+00:00 stream x\n",
            "2026-02-03T04:05:06.100Z x\n",
            "EVENTS\t1770091507000\tx\t1770091506100\n",
            "EVENTS\t36111111111111111111111111111111111111111111111111111111\t1770091507000\tstream\tx\t1770091506100\nSEARCHEDLOGSTREAMS\tstream\tTrue\n",
        ] {
            assert!(wears(&TEXT, text), "{text}");
            assert_eq!(lines(&TEXT, text), [(1, Some(AT), "x".to_owned())], "{text}");
        }
    }

    #[test]
    fn control_messages_are_kept_apart_and_messages_may_have_several_lines() {
        let text = "{\"messageType\":\"CONTROL_MESSAGE\",\"logEvents\":[{\"id\":\"\",\"timestamp\":1,\"message\":\"CWL CONTROL MESSAGE: Checking\"}]}\n{\"messageType\":\"DATA_MESSAGE\",\"logEvents\":[{\"id\":\"1\",\"timestamp\":1770091506100,\"message\":\"x\\ny\"}]}\n";
        assert_eq!(lines(&LAYER, text), [(2, Some(AT), "x".to_owned()), (2, Some(AT), "y".to_owned())]);
    }

    #[test]
    fn one_bad_event_costs_itself() {
        let good =
            "    {\n      \"timestamp\": 1770091506100,\n      \"message\": \"x\",\n      \"eventId\": \"1\"\n    }";
        let cut =
            "    {\n      \"timestamp\": 1770091506100,\n      \"message\": \"cut\n      \"eventId\": \"1\"\n    }";
        let text = format!("{{\n  \"events\": [\n{good},\n{cut},\n{good}\n  ]\n}}\n");
        let found = lines(&LAYER, &text);
        assert_eq!(found.iter().map(|(line, _, _)| *line).collect::<Vec<_>>(), [3, 8, 13]);
        assert!(found[1].2.contains("\"message\": \"cut"), "{found:?}");
        // In one line.
        let one = r#"{"timestamp":1770091506100,"message":"x"}"#;
        let text = format!(r#"{{"events":[{one},{{"timestamp":1770091506100,"message":"cu{one},{one}]}}"#);
        let texts: Vec<String> = lines(&LAYER, &text).into_iter().map(|(_, _, text)| text).collect();
        assert_eq!(texts, ["x", "{\"timestamp\":1770091506100,\"message\":\"cu", "x", "x"]);
        // A document that breaks off, and the next one.
        let text = format!("{{\"events\":[{one},{{\"timestamp\":17\n{{\"events\":[{one}]}}\n");
        let texts: Vec<String> = lines(&LAYER, &text).into_iter().map(|(_, _, text)| text).collect();
        assert_eq!(texts, ["x", "{\"timestamp\":17", "x"]);
    }

    #[test]
    fn cells_over_several_lines_and_quotes_are_read() {
        let text = "@timestamp,@message\n2026-02-03 04:05:06.100,\"a \"\"b\"\"\nc\"\n2026-02-03 04:05:06.100,d\n";
        let texts: Vec<(i64, String)> = lines(&LAYER, text).into_iter().map(|(line, _, text)| (line, text)).collect();
        assert_eq!(texts, [(2, "a \"b\"".to_owned()), (2, "c".to_owned()), (4, "d".to_owned())]);
    }

    #[test]
    fn others_are_none() {
        for text in [
            r#"{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[{"auditID":"a","message":"x","timestamp":1}]}"#,
            r#"{"apiVersion":"v1","items":[{"kind":"Event","message":"m"}],"kind":"List"}"#,
            "timeStamp,elapsed,label,responseCode,responseMessage\n1,2,a,200,OK\n",
        ] {
            assert!(!wears(&LAYER, text), "{text}");
        }
        assert!(!wears(&TEXT, "2026-02-03T04:05:06.123456789Z I0203 x\n"));
    }
}
