//! Google Cloud Logging: LogEntries as JSON, YAML and tables. (`--format='value(timestamp,textPayload)'` writes a time
//! ahead of each line, as others do.)
//!
//! ```text
//! [{"insertId":"…","jsonPayload":{"message":"…"},"resource":{"labels":{"pod_name":"kube-proxy-a"}},"timestamp":"2026-…Z"}]
//! {"protoPayload":{"methodName":"io.k8s.core.v1.pods.create",…},…}      Cloud Audit Logs
//! ---                                                                  gcloud logging read
//! insertId: e1
//! textPayload: I0203 …
//! ```
//!
//! Two things that its agents rewrite are written back: an audit event out of a `protoPayload`, and the head of a klog line
//! out of `sourceLocation`, `severity` and the time. What neither has is not made up.

use serde_json::{Value, json};

use super::json_fields::Fields;
use super::json_scan::Context;
use super::json_store::{Entries, Shape, Turned, objects};
use super::layer::{Dressed, Layer, Out, Peel, Setting};
use crate::form::{Head, Place, stamp};

/// Its JSON.
pub const LAYER: Layer = Layer {
    name: "google",
    title: "Google Cloud Logging: LogEntries as JSON",
    sample: "[{\"insertId\":\"e1\",\"textPayload\":\"I0203 04:05:06.100000       1 proxier.go:1] x\",\"timestamp\":\"2026-02-03T04:05:06.1002Z\"}]\n",
    certain: true,
    wears: |head| SHAPE.worn(head),
    open: |setting| SHAPE.open(setting),
    put_on: Some(|text| {
        objects(
            text,
            |line| json!({"insertId": "e", "logName": "projects/p/logs/stderr", "textPayload": line, "timestamp": "2026-11-23T04:42:31.5Z"}),
        )
    }),
};

/// Its YAML.
pub const YAML: Layer = Layer {
    name: "google",
    title: "Google Cloud Logging: LogEntries as YAML",
    sample: "---\ninsertId: e1\ntextPayload: I0203 04:05:06.100000       1 proxier.go:1] x\ntimestamp: '2026-02-03T04:05:06.1002Z'\n",
    certain: true,
    wears: is_yaml,
    open: |setting| Box::new(Documents::new(setting)),
    put_on: Some(|text| {
        let mut dressed = Vec::new();
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(line));
            let quoted = Value::from(line.as_ref());
            let entry = format!("---\ninsertId: e\ntextPayload: {quoted}\ntimestamp: '2026-11-23T04:42:31.5Z'\n");
            dressed.extend_from_slice(entry.as_bytes());
        }
        dressed
    }),
};

static SHAPE: Shape = Shape {
    entries: &["", "[]", "entries[]"],
    message: &[
        "textPayload",
        "text_payload",
        "jsonPayload.message",
        "jsonPayload.log",
        "jsonPayload.MESSAGE",
        "jsonPayload.msg",
        "jsonPayload",
    ],
    marks: &[
        &["textPayload", "timestamp"],
        &["textPayload", "insertId"],
        &["jsonPayload", "timestamp"],
        &["jsonPayload", "insertId"],
        &["jsonPayload.message", "timestamp"],
        &["protoPayload"],
        &["text_payload", "timestamp"],
    ],
    time: &["timestamp", "receiveTimestamp"],
    pod: &["resource.labels.pod_name", "labels.k8s-pod/name"],
    namespace: &["resource.labels.namespace_name"],
    container: &["resource.labels.container_name"],
    node: &["labels.compute.googleapis.com/resource_name", "resource.labels.node_name", "resource.labels.instance_id"],
    turn: Some(turn),
    ..Shape::EMPTY
};

fn turn(fields: &Fields<'_>, _: &Context) -> Turned {
    if fields.has("protoPayload") {
        return of_cloud_audit(fields).map_or(Turned::Inside, |event| Turned::To(event.to_string()));
    }
    if let Some(line) = klog(fields) {
        return Turned::To(line);
    }
    // What an agent took apart whole goes on whole: `msg` alone has neither level nor subsystem.
    let payload =
        fields.get("jsonPayload").filter(|_| fields.has("jsonPayload.msg") && !fields.has("jsonPayload.message"));
    payload.and_then(|payload| payload.message()).map_or(Turned::Inside, |json| Turned::To(json.into_owned()))
}

/// A LogEntry of Google's Cloud Audit Logs as an audit event. Its `timestamp` is taken as the receipt of the request, the
/// logging service's `receiveTimestamp` as the latest time of the answer.
fn of_cloud_audit(entry: &Fields<'_>) -> Option<Value> {
    let payload: Value = serde_json::from_str(&entry.get("protoPayload")?.message()?).ok()?;
    let verb = payload["methodName"].as_str().filter(|method| method.starts_with("io.k8s."))?.rsplit('.').next()?;
    // core/v1/namespaces/NAMESPACE/pods/NAME/binding
    let mut parts: Vec<&str> = payload["resourceName"].as_str()?.split('/').collect();
    let group = if parts.len() > 2 { parts.drain(..2).next() } else { None };
    let namespace =
        if parts.first() == Some(&"namespaces") && parts.len() > 2 { parts.drain(..2).nth(1) } else { None };
    let part = |at: usize| parts.get(at).copied();
    let failed = payload["status"]["code"].as_i64().filter(|code| *code != 0);
    Some(json!({
        "apiVersion": "audit.k8s.io/v1",
        "level": if payload["response"].is_object() { "RequestResponse" } else { "Metadata" },
        "auditID": entry.text(&["insertId"]),
        "stage": "ResponseComplete",
        "verb": verb,
        "requestURI": payload["resourceName"],
        "user": {"username": payload["authenticationInfo"]["principalEmail"].as_str().unwrap_or_default()},
        "userAgent": payload["requestMetadata"]["callerSuppliedUserAgent"].as_str().unwrap_or_default(),
        "objectRef": {
            "apiGroup": group.filter(|group| *group != "core").unwrap_or_default(),
            "resource": part(0).unwrap_or_default(),
            "namespace": namespace.unwrap_or_default(),
            "name": part(1).unwrap_or_default(),
            "subresource": part(2).unwrap_or_default(),
        },
        "responseStatus": {"code": if failed.is_some() { 400 } else { 200 }},
        "requestObject": payload["request"],
        "responseObject": payload["response"],
        "requestReceivedTimestamp": entry.text(&["timestamp"]).unwrap_or_default(),
        "stageTimestamp": entry.text(&["receiveTimestamp", "timestamp"]).unwrap_or_default(),
    }))
}

/// The klog line that an agent took apart: `I0203 04:05:06.100200       1 proxier.go:822] …`.
fn klog(entry: &Fields<'_>) -> Option<String> {
    let message = entry.text(&["jsonPayload.message", "textPayload"])?;
    let of = |name: &str| entry.text(&[&format!("sourceLocation.{name}"), &format!("jsonPayload.{name}")]);
    let (file, line) = (of("file")?, of("line")?);
    let severity = entry.text(&["severity"])?;
    let time = entry.text(&["timestamp"])?;
    let level = match &*severity {
        "INFO" => 'I',
        "WARNING" => 'W',
        "ERROR" => 'E',
        "CRITICAL" | "ALERT" | "EMERGENCY" => 'F',
        _ => return None,
    };
    if !file.ends_with(".go") || !time.ends_with('Z') {
        return None;
    }
    let (month, day) = (time.get(5..7)?, time.get(8..10)?);
    let (clock, part) = (time.get(11..19)?, time.get(20..).unwrap_or_default().trim_end_matches('Z'));
    let process = entry.text(&["jsonPayload.pid"]).unwrap_or("1".into());
    let part = part.get(..6).unwrap_or(part);
    Some(format!("{level}{month}{day} {clock}.{part:0<6} {process:>7} {file}:{line}] {message}"))
}

fn is_yaml(head: &Head) -> bool {
    let mut first = stamp::tried_lines(head.bytes, true).filter(|line| !line.is_empty() && !line.starts_with(b"#"));
    let begins = first.next().is_some_and(|line| line == b"---" || line.first().is_some_and(u8::is_ascii_lowercase));
    let has = |key: &str| stamp::tried_lines(head.bytes, true).any(|line| line.starts_with(key.as_bytes()));
    let payload = ["protoPayload:", "jsonPayload:", "textPayload:"].iter().any(|key| has(key));
    begins && payload && ["insertId:", "timestamp:", "logName:"].iter().any(|key| has(key))
}

/// Bytes of a document in YAML at most.
const LONGEST: usize = 8 << 20;

/// Documents in YAML, one entry each.
struct Documents {
    entries: Entries,
    text: Vec<u8>,
    /// Where its first line that says something stands.
    place: Option<Place>,
}

impl Documents {
    fn new(setting: &Setting) -> Self {
        Self { entries: Entries::new(&SHAPE, setting), text: Vec::new(), place: None }
    }

    fn give(&mut self, ended: bool, out: &mut Out) {
        let text = std::mem::take(&mut self.text);
        let Some(place) = self.place.take() else { return };
        let value = std::str::from_utf8(&text).ok().and_then(|text| serde_saphyr::from_str::<Value>(text).ok());
        match value.filter(Value::is_object).map(|value| value.to_string()) {
            Some(json) => {
                self.entries.entry("", json.as_bytes(), place, &Context::default(), out);
            }
            None => self.entries.verbatim(text.trim_ascii(), ended, place, out),
        }
    }
}

impl Peel for Documents {
    fn line(&mut self, line: &Dressed<'_>, out: &mut Out) {
        let place = out.place();
        if line.bytes.trim_ascii_end() == b"---" || self.text.len() > LONGEST {
            self.give(true, out);
            if line.bytes.starts_with(b"---") {
                return;
            }
        }
        if self.place.is_none() && !line.bytes.trim_ascii().is_empty() && !line.bytes.starts_with(b"#") {
            self.place = Some(place);
        }
        if self.place.is_some() {
            self.text.extend_from_slice(line.bytes);
            self.text.push(b'\n');
        }
    }

    fn end(&mut self, out: &mut Out) {
        self.give(true, out);
        self.entries.end(out);
    }
}

#[cfg(test)]
mod tests {
    use super::{LAYER, YAML};
    use crate::layers::harness::{lines, sections, wears};

    const AT: i64 = 1_770_091_506_100_200_000;

    #[test]
    fn texts_and_objects_are_read() {
        let text = r#"[{"insertId":"e","textPayload":"x\n","timestamp":"2026-02-03T04:05:06.1002Z","resource":{"labels":{"pod_name":"a-1","namespace_name":"n"}},"labels":{"compute.googleapis.com/resource_name":"h"}}]"#;
        assert!(wears(&LAYER, text));
        assert_eq!(lines(&LAYER, text), [(1, Some(AT), "x".to_owned())]);
        let known = sections(&[&LAYER], text.as_bytes());
        assert_eq!((known[0].around.known(1).pod, known[0].around.known(1).node), (Some("n/a-1"), Some("h")));
        for (payload, expected) in [
            (r#""jsonPayload":{"message":"x"}"#, "x"),
            (r#""jsonPayload":{"msg":"x","level":"info"}"#, r#"{"msg":"x","level":"info"}"#),
            (
                r#""jsonPayload":{"message":"\"SyncProxyRules complete\" elapsed=\"50ms\"","pid":"7"},"severity":"INFO","sourceLocation":{"file":"proxier.go","line":"822"}"#,
                "I0203 04:05:06.100200       7 proxier.go:822] \"SyncProxyRules complete\" elapsed=\"50ms\"",
            ),
        ] {
            let text = format!(r#"{{"insertId":"e",{payload},"timestamp":"2026-02-03T04:05:06.1002Z"}}"#);
            assert_eq!(lines(&LAYER, &text), [(1, Some(AT), expected.to_owned())], "{payload}");
        }
    }

    #[test]
    fn an_audit_entry_is_written_back() {
        let text = r#"{"insertId":"i","timestamp":"2026-11-23T04:24:06.393076Z","protoPayload":{"methodName":"io.k8s.core.v1.pods.binding.create","resourceName":"core/v1/namespaces/default/pods/p/binding","request":{"kind":"Binding"}}}"#;
        let event: serde_json::Value = serde_json::from_str(&lines(&LAYER, text)[0].2).expect("JSON");
        assert_eq!(event["verb"], "create");
        assert_eq!(event["objectRef"]["subresource"], "binding");
        assert_eq!(event["objectRef"]["namespace"], "default");
        let other = text.replace("io.k8s.core", "v1.compute");
        assert_eq!(lines(&LAYER, &other)[0].2, other, "goes on as it is");
    }

    #[test]
    fn documents_in_yaml_are_read() {
        let text = "# a comment\n---\ninsertId: e\ntextPayload: x\ntimestamp: '2026-02-03T04:05:06.100200Z'\n---\ninsertId: [\n---\ntextPayload: |\n  y\ntimestamp: 2026-02-03T04:05:06.100200Z\n";
        assert!(wears(&YAML, text));
        let time = Some(AT);
        let expected = [(3, time, "x".to_owned()), (7, None, "insertId: [".to_owned()), (9, time, "y".to_owned())];
        assert_eq!(lines(&YAML, text), expected);
        for text in ["kind: Event\napiVersion: audit.k8s.io/v1\nauditID: a\n", "apiVersion: v1\nitems:\n- kind: Pod\n"]
        {
            assert!(!wears(&YAML, text), "{text}");
        }
    }
}
