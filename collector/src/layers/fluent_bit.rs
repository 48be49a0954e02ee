//! Records of Fluent Bit, Fluentd and Filebeat, and of other shippers that wrap a line in a JSON object.
//!
//! ```text
//! {"time":"2026-…Z","stream":"stderr","_p":"F","log":"I0203 …","kubernetes":{"pod_name":"kube-proxy-a","host":"node-a"}}
//! {"@timestamp":"2026-…Z","message":"I0203 …","kubernetes":{"pod":{"name":"kube-proxy-a"}},"log":{"offset":1}}
//! ```

use super::json_store::{Shape, objects};
use super::layer::Layer;

/// Records that say more than the line.
pub const LAYER: Layer = Layer {
    name: "fluent_bit",
    title: "records of Fluent Bit, Fluentd or Filebeat",
    sample: "{\"time\":\"2026-02-03T04:05:06.100200000Z\",\"stream\":\"stderr\",\"_p\":\"F\",\"log\":\"I0203 04:05:06.100000       1 proxier.go:1] x\",\"kubernetes\":{\"pod_name\":\"kube-proxy-a\"}}\n",
    certain: true,
    wears: |head| SHAPE.worn(head),
    open: |setting| SHAPE.open(setting),
    put_on: Some(|text| {
        objects(text, |line| {
            serde_json::json!({"time": "2026-11-23T04:42:31.500000000Z", "stream": "stdout", "_p": "F", "log": line,
                "kubernetes": {"pod_name": "a-1", "container_name": "c", "host": "n"}})
        })
    }),
};

/// Objects with nothing but the line.
pub const BARE: Layer = Layer {
    name: "fluent_bit",
    title: "JSON objects with a log line each",
    sample: "{\"message\":\"I0203 04:05:06.100000       1 proxier.go:1] x\"}\n",
    certain: false,
    wears: |head| ONE.worn(head),
    open: |setting| ONE.open(setting),
    put_on: Some(|text| objects(text, |line| serde_json::json!({ "message": line }))),
};

static SHAPE: Shape = Shape {
    message: &["log", "message", "MESSAGE"],
    marks: &[
        &["log", "_p"],
        &["log", "logtag"],
        &["log", "kubernetes"],
        &["log", "kubernetes.pod_name"],
        &["log", "date"],
        &["log", "@timestamp"],
        &["log", "stream", "time"],
        &["log", "stream", "timestamp"],
        &["message", "kubernetes"],
        &["message", "kubernetes.pod.name"],
        &["message", "kubernetes.pod_name"],
        &["message", "@timestamp"],
        &["message", "logtag"],
    ],
    time: TIMES,
    pod: &["kubernetes.pod_name", "kubernetes.pod.name", "k8s.pod.name", "pod_name", "pod"],
    namespace: &["kubernetes.namespace_name", "kubernetes.namespace", "k8s.namespace.name", "namespace_name"],
    container: &["kubernetes.container_name", "kubernetes.container.name", "k8s.container.name", "container_name"],
    node: &[
        "kubernetes.host",
        "kubernetes.node.name",
        "kubernetes.node_name",
        "k8s.node.name",
        "hostname",
        "host.name",
    ],
    file: &["log.file.path", "filename", "file", "tag", "container_name"],
    ..Shape::EMPTY
};

const TIMES: &[&str] = &["time", "@timestamp", "timestamp", "date", "ts"];

static ONE: Shape = Shape {
    message: &[
        "log",
        "message",
        "msg",
        "line",
        "text",
        "body",
        "Body",
        "content",
        "event.original",
        "raw",
        "event",
        "audit",
        "responseElements",
        "data",
    ],
    marks: &[
        &["log"],
        &["message"],
        &["line"],
        &["text"],
        &["body"],
        &["Body"],
        &["content"],
        &["event.original"],
        &["raw"],
        &["event"],
        &["audit"],
        &["responseElements"],
        &["data"],
    ],
    time: TIMES,
    pod: SHAPE.pod,
    namespace: SHAPE.namespace,
    container: SHAPE.container,
    node: SHAPE.node,
    file: SHAPE.file,
    ..Shape::EMPTY
};

#[cfg(test)]
mod tests {
    use super::{BARE, LAYER};
    use crate::layers::harness::{lines, sections, wears};

    const AT: i64 = 1_770_091_506_100_200_000;

    #[test]
    fn records_of_every_shipper_are_read() {
        for text in [
            r#"{"time":"2026-02-03T04:05:06.1002Z","stream":"stderr","_p":"F","log":"x","kubernetes":{"pod_name":"a-1","namespace_name":"n","host":"h"}}"#,
            r#"{"date":1770091506.1002,"log":"x","kubernetes":{"pod_name":"a-1","namespace_name":"n","host":"h"}}"#,
            r#"{"@timestamp":"2026-02-03T04:05:06.1002Z","message":"x","log":{"offset":1},"kubernetes":{"pod":{"name":"a-1"},"namespace":"n","node":{"name":"h"}}}"#,
            r#"[{"@timestamp":"2026-02-03T04:05:06.1002Z","log":"x","kubernetes.pod_name":"a-1","kubernetes.namespace_name":"n","kubernetes.host":"h"}]"#,
        ] {
            assert!(wears(&LAYER, text), "{text}");
            assert_eq!(lines(&LAYER, text), [(1, Some(AT), "x".to_owned())], "{text}");
            let around = &sections(&[&LAYER], text.as_bytes())[0].around;
            assert_eq!((around.known(1).pod, around.known(1).node), (Some("n/a-1"), Some("h")), "{text}");
        }
        assert!(wears(&BARE, "{\"message\":\"x\"}\n") && !wears(&LAYER, "{\"message\":\"x\"}\n"));
    }

    #[test]
    fn pieces_are_joined() {
        let piece = |tag: &str, text: &str| {
            format!(
                "{{\"time\":\"2026-02-03T04:05:06.1002Z\",\"stream\":\"stderr\",\"_p\":\"{tag}\",\"log\":\"{text}\"}}\n"
            )
        };
        let text = [piece("P", "ab"), piece("P", "cd"), piece("F", "ef"), piece("F", "g")].concat();
        assert_eq!(lines(&LAYER, &text), [(1, Some(AT), "abcdef".to_owned()), (4, Some(AT), "g".to_owned())]);
        assert_eq!(lines(&LAYER, &piece("P", "ab")), [(1, Some(AT), "ab".to_owned())]);
    }

    #[test]
    fn other_json_is_none() {
        for text in [
            r#"{"flow":{"time":"2026-02-03T04:05:06Z","verdict":"DROPPED"},"node_name":"h","time":"2026-02-03T04:05:06Z"}"#,
            r#"{"apiVersion":"v1","kind":"Event","message":"Scaled up","kubernetes":1,"metadata":{}}"#,
            r#"{"time":"2026-02-03T04:05:06Z","level":"info","msg":"New endpoint"}"#,
            r#"{"type":"Point","data":{"time":"2026-02-03T04:05:06Z","value":1,"tags":{}},"metric":"http_reqs"}"#,
            r#"{"ts":"2026-11-23T04:21:50.004693726Z","kind":"new","latency_ns":622950,"status":200}"#,
            r#"{"attack":"","seq":0,"code":200,"timestamp":"2026-02-03T04:05:06Z","latency":1,"error":"","body":null}"#,
        ] {
            assert!(!wears(&LAYER, text), "{text}");
        }
    }
}
