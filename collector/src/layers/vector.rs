//! Events of Vector, as its sources `kubernetes_logs`, `file` and `docker_logs` make them.
//!
//! ```text
//! {"file":"/var/log/pods/…","kubernetes":{"pod_name":"kube-proxy-a","pod_namespace":"kube-system","pod_node_name":"node-a"},
//!  "message":"I0203 …","source_type":"kubernetes_logs","stream":"stderr","timestamp":"2026-02-03T04:05:06.1002Z"}
//! ```

use super::json_store::{Shape, objects};
use super::layer::Layer;

/// The layer.
pub const LAYER: Layer = Layer {
    name: "vector",
    title: "events of Vector",
    sample: "{\"message\":\"I0203 04:05:06.100000       1 proxier.go:1] x\",\"source_type\":\"kubernetes_logs\",\"stream\":\"stderr\",\"timestamp\":\"2026-02-03T04:05:06.1002Z\"}\n",
    certain: true,
    wears: |head| SHAPE.worn(head),
    open: |setting| SHAPE.open(setting),
    put_on: Some(|text| {
        objects(
            text,
            |line| serde_json::json!({"message": line, "source_type": "kubernetes_logs", "timestamp": "2026-11-23T04:42:31.5Z"}),
        )
    }),
};

static SHAPE: Shape = Shape {
    message: &["message"],
    marks: &[
        &["message", "source_type"],
        &["message", "kubernetes.pod_node_name"],
        &["message", "kubernetes.pod_namespace"],
    ],
    time: &["timestamp"],
    pod: &["kubernetes.pod_name"],
    namespace: &["kubernetes.pod_namespace"],
    container: &["kubernetes.container_name", "container_name"],
    node: &["kubernetes.pod_node_name", "host"],
    file: &["file", "container_name"],
    ..Shape::EMPTY
};

#[cfg(test)]
mod tests {
    use super::LAYER;
    use crate::layers::harness::{lines, sections, wears};

    #[test]
    fn an_event_is_read() {
        let text = r#"{"file":"/var/log/pods/kube-system_kube-proxy-a_1/kube-proxy/0.log","kubernetes":{"pod_name":"kube-proxy-a","pod_namespace":"kube-system","pod_node_name":"node-a"},"message":"I0203 x","source_type":"kubernetes_logs","stream":"stderr","timestamp":"2026-02-03T04:05:06.1002Z"}"#;
        assert!(wears(&LAYER, text));
        assert_eq!(lines(&LAYER, text), [(1, Some(1_770_091_506_100_200_000), "I0203 x".to_owned())]);
        let around = &sections(&[&LAYER], text.as_bytes())[0].around;
        assert_eq!(around.known(1).pod, Some("kube-system/kube-proxy-a"));
    }
}
