//! What audit events come wrapped in.
//!
//! ```text
//! {"kind":"EventList","items":[{…}]}                              webhook
//! {"events":[{"message":"{…}"}]}                                  aws logs filter-log-events, get-log-events
//! {"logEvents":[{"message":"{…}"}], "messageType":"DATA_MESSAGE"} Firehose, subscriptions
//! [[{"field":"@message","value":"{…}"}]], {"results":[[…]]}       Logs Insights
//! {"records":[{"properties":{"log":"{…}"}}]}, {"log_s":"{…}"}     AKS: event hub, storage, Log Analytics
//! {"protoPayload":{"methodName":"io.k8s.core.v1.pods.create",…}}  GKE: a LogEntry, not an audit event: it is rewritten
//! {"log":"{…}\n","stream":"stdout"}, {"message":"{…}"}            docker, log shippers
//! {"_index":"…","_source":{…}}, {"hits":{"hits":[…]}}             Elasticsearch, OpenSearch
//! {"line":"{…}"}, {"data":{"result":[{"values":[["…","{…}"]]}]}}  Loki: logcli, its HTTP API
//! {"_raw":"{…}"}, {"MESSAGE":"{…}"}                              Splunk, journald
//! ```

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// Wrappers within wrappers at most.
const DEEPEST: usize = 8;

/// Keys behind which an event, or a wrapper, may stand as an object, a list or a text.
const KEYS: [&str; 24] = [
    "items",
    "events",
    "logEvents",
    "results",
    "records",
    "properties",
    "log",
    "log_s",
    "message",
    "@message",
    "jsonPayload",
    "textPayload",
    "_source",
    "hits",
    "event",
    "responseElements",
    "line",
    "data",
    "result",
    "values",
    "_raw",
    "MESSAGE",
    "audit",
    "kubernetes",
];

/// Whether a text shows marks of audit events, bare or within a text.
pub fn is_audit(text: &[u8]) -> bool {
    let has = |mark: &[u8]| memchr::memmem::find(text, mark).is_some();
    let quoted = |word: &str| {
        [format!("\"{word}\""), format!("\\\"{word}\\\""), format!("\"\"{word}\"\"")]
            .iter()
            .any(|form| has(form.as_bytes()))
    };
    (quoted("auditID") && quoted("stage"))
        || has(b"\"audit.k8s.io/v1")
        || (quoted("protoPayload") && has(b"io.k8s."))
        || (has(b"audit.k8s.io/v1") && has(b"auditID:") && has(b"\nstage:"))
        || (has(b"\nprotoPayload:") && has(b"methodName: io.k8s."))
}

/// The JSON of a line, without what a log shipper put ahead of it.
pub fn object(line: &[u8]) -> Option<&[u8]> {
    let line = line.trim_ascii();
    let begins = |at: &usize| match line[*at] {
        b'{' => true,
        // Not `kube-apiserver[1]:` and `[pod/kube-apiserver-a/kube-apiserver]`.
        b'[' => line[*at + 1..].trim_ascii_start().first().is_none_or(|next| b"{[\"]".contains(next)),
        _ => false,
    };
    let at = (0..line.len().min(300)).find(begins)?;
    // `aws … --output text` has the time of ingestion behind the message.
    let column = if line.last().is_some_and(u8::is_ascii_digit) { memchr::memrchr(b'\t', line) } else { None };
    let line = match column {
        Some(tab) if line[tab + 1..].iter().all(u8::is_ascii_digit) => line[..tab].trim_ascii_end(),
        _ => line,
    };
    line.get(at..)
}

/// All events of a JSON text.
///
/// # Errors
/// No JSON, or nothing in it that could be an event.
pub fn events(text: &[u8]) -> Result<Vec<Cow<'_, [u8]>>, String> {
    let mut found = Vec::new();
    unwrap(Cow::Borrowed(text), 0, &mut found)?;
    if found.is_empty() && !is_empty_batch(text) {
        return Err("expected an audit event, or a known wrapper of some, as JSON".to_owned());
    }
    Ok(found)
}

/// Batches without events: a control message, an export of a quiet hour.
fn is_empty_batch(text: &[u8]) -> bool {
    let value: Value = serde_json::from_slice(text).unwrap_or_default();
    value["messageType"] == "CONTROL_MESSAGE"
        || KEYS.iter().any(|key| value[*key].as_array().is_some_and(Vec::is_empty))
}

#[derive(Deserialize)]
struct Outer<'a> {
    #[serde(borrow, default, rename = "auditID")]
    audit_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    stage: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "protoPayload")]
    proto_payload: Option<&'a RawValue>,
}

fn unwrap<'a>(text: Cow<'a, [u8]>, depth: usize, found: &mut Vec<Cow<'a, [u8]>>) -> Result<(), String> {
    if depth > DEEPEST {
        return Ok(());
    }
    let wrong = |error: serde_json::Error| format!("expected an audit event as JSON: {error}");
    match text.trim_ascii().first() {
        Some(b'{') => {
            let outer: Outer<'_> = serde_json::from_slice(&text).map_err(wrong)?;
            if outer.audit_id.is_some() || outer.stage.is_some() {
                found.push(text);
                return Ok(());
            }
            if outer.proto_payload.is_some() {
                found.extend(of_cloud_audit(&text).map(|event| Cow::Owned(event.to_string().into_bytes())));
                return Ok(());
            }
            let pairs: std::collections::BTreeMap<Cow<'_, str>, &RawValue> =
                serde_json::from_slice(&text).map_err(wrong)?;
            // A cell of Logs Insights: other fields than the message are of no use.
            if let (Some(field), Some(value)) = (pairs.get("field"), pairs.get("value")) {
                if field.get() == "\"@message\"" {
                    unwrap(Cow::Owned(value.get().as_bytes().to_vec()), depth + 1, found)?;
                }
                return Ok(());
            }
            for key in KEYS {
                if let Some(inner) = pairs.get(key) {
                    let before = found.len();
                    unwrap(Cow::Owned(inner.get().as_bytes().to_vec()), depth + 1, found)?;
                    if found.len() > before {
                        return Ok(());
                    }
                }
            }
            // What says that it is an event, whatever it lacks, is refused by name.
            if pairs.get("apiVersion").is_some_and(|version| version.get().starts_with("\"audit.k8s.io/")) {
                found.push(text);
            }
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_slice(&text).map_err(wrong)?;
            for item in items {
                unwrap(Cow::Owned(item.get().as_bytes().to_vec()), depth + 1, found)?;
            }
        }
        Some(b'"') => {
            let inner: String = serde_json::from_slice(&text).map_err(wrong)?;
            // Other lines of a shared log group are no events; so is the test file of an S3 export.
            if let Some(inner) = object(inner.as_bytes()).filter(|inner| is_audit(inner)) {
                unwrap(Cow::Owned(inner.to_vec()), depth + 1, found)?;
            }
        }
        None => return Err("expected an audit event as JSON, found nothing".to_owned()),
        _ => {}
    }
    Ok(())
}

/// A LogEntry of Google's Cloud Audit Logs as an audit event. Its `timestamp` is taken as the receipt of the request, the
/// logging service's `receiveTimestamp` as the latest time of the answer.
fn of_cloud_audit(text: &[u8]) -> Option<Value> {
    let entry: Value = serde_json::from_slice(text).ok()?;
    let payload = &entry["protoPayload"];
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
        "auditID": entry["insertId"],
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
        "requestReceivedTimestamp": entry["timestamp"].as_str().unwrap_or_default(),
        "stageTimestamp": entry["receiveTimestamp"].as_str().or(entry["timestamp"].as_str()).unwrap_or_default(),
    }))
}

#[cfg(test)]
mod tests {
    use super::{events, object};

    #[test]
    fn what_a_shipper_puts_ahead_is_no_part_of_the_object() {
        for (line, expected) in [
            ("Mar  1 10:00:00 a kube-apiserver[1234]: {\"a\":1}", Some("{\"a\":1}")),
            ("[pod/kube-apiserver-a/kube-apiserver] {\"a\":[1]}", Some("{\"a\":[1]}")),
            ("2026-11-23T04:24:06Z [{\"a\":1}]", Some("[{\"a\":1}]")),
            ("[", Some("[")),
            ("I0301 10:00:00.123456       1 trace.go:205] Trace[1]: x", None),
        ] {
            assert_eq!(object(line.as_bytes()), expected.map(str::as_bytes), "{line}");
        }
    }

    #[test]
    fn wrappers_of_log_stores_are_undone() {
        let event = r#"{"auditID":"a","stage":"ResponseComplete"}"#;
        for wrapped in [
            serde_json::json!({"labels": {"job": "audit"}, "line": event, "timestamp": "x"}),
            serde_json::json!({"status": "success", "data": {"resultType": "streams", "result": [{"stream": {}, "values": [["1", event]]}]}}),
            serde_json::json!({"preview": false, "result": {"_raw": event}}),
            serde_json::json!({"__REALTIME_TIMESTAMP": "1", "MESSAGE": event}),
            serde_json::json!({"_source": {"kubernetes": {"audit": serde_json::from_str::<serde_json::Value>(event).expect("JSON")}}}),
        ] {
            assert_eq!(events(wrapped.to_string().as_bytes()).expect("one").len(), 1, "{wrapped}");
        }
    }

    #[test]
    fn insights_and_google_wrappers_are_undone() {
        let event = r#"{"auditID":"a","stage":"ResponseComplete"}"#;
        let cell = serde_json::json!([[{"field": "@timestamp", "value": "x"}, {"field": "@message", "value": event}]]);
        assert_eq!(events(cell.to_string().as_bytes()).expect("one").len(), 1);
        let results = serde_json::json!({"results": cell, "status": "Complete"});
        assert_eq!(events(results.to_string().as_bytes()).expect("one")[0].as_ref(), event.as_bytes());
        let google = r#"{"insertId":"i","timestamp":"2026-11-23T04:24:06.393076Z","protoPayload":{"methodName":"io.k8s.core.v1.pods.binding.create","resourceName":"core/v1/namespaces/default/pods/p/binding","request":{"kind":"Binding"}}}"#;
        let found = events(google.as_bytes()).expect("one");
        let event: serde_json::Value = serde_json::from_slice(&found[0]).expect("JSON");
        assert_eq!(event["verb"], "create");
        assert_eq!(event["objectRef"]["subresource"], "binding");
        assert_eq!(event["objectRef"]["namespace"], "default");
    }

    #[test]
    fn nonsense_is_an_error_and_an_empty_batch_is_not() {
        for text in ["", "{", "[1, {\"a\": 2}]", "{\"a\": 1}", "\"x\""] {
            assert!(events(text.as_bytes()).is_err(), "{text}");
        }
        assert_eq!(
            events(b"{\"messageType\":\"CONTROL_MESSAGE\",\"logEvents\":[{\"message\":\"CWL\"}]}"),
            Ok(Vec::new())
        );
        assert!(events(format!("{}1{}", "[".repeat(90), "]".repeat(90)).as_bytes()).is_err());
    }
}
