//! Splunk: exports of a search (JSON, CSV) and what its HTTP Event Collector takes.
//!
//! ```text
//! {"preview":false,"offset":0,"result":{"_raw":"…","_time":"2026-02-03T04:05:06.100+00:00","host":"node-a"}}
//! {"results":[{"_raw":"…","_time":"…"}]}      {"fields":["_time","_raw"],"rows":[["…","…"]]}
//! {"time":1770091506.1,"host":"node-a","sourcetype":"kube:container:kube-proxy","event":"…"}
//! ```

use super::json_store::{Shape, objects};
use super::layer::Layer;

/// The layer.
pub const LAYER: Layer = Layer {
    name: "splunk",
    title: "Splunk: exports of a search, events of its collector",
    sample: "{\"preview\":false,\"result\":{\"_raw\":\"I0203 04:05:06.100000       1 proxier.go:1] x\",\"_time\":\"2026-02-03T04:05:06.100+00:00\"}}\n",
    certain: true,
    wears: |head| SHAPE.worn(head),
    open: |setting| SHAPE.open(setting),
    put_on: Some(|text| {
        objects(
            text,
            |line| serde_json::json!({"preview": false, "result": {"_raw": line, "_time": "2026-11-23T04:42:31.500+00:00"}}),
        )
    }),
};

static SHAPE: Shape = Shape {
    entries: &["", "[]", "results[]", "rows[]"],
    message: &["result._raw", "_raw", "event"],
    marks: &[
        &["result._raw"],
        &["_raw"],
        &["event", "sourcetype"],
        &["event", "time", "host"],
        &["event", "time", "source"],
    ],
    held: &[&["_raw"]],
    time: &["result._time", "_time", "time"],
    pod: &["result.pod", "pod", "fields.k8s.pod.name", "result.k8s.pod.name", "k8s.pod.name", "fields.pod", "pod_name"],
    namespace: &[
        "result.namespace",
        "fields.k8s.namespace.name",
        "k8s.namespace.name",
        "fields.namespace",
        "namespace",
    ],
    container: &["result.container_name", "fields.k8s.container.name", "k8s.container.name", "container_name"],
    node: &["result.host", "fields.k8s.node.name", "host"],
    file: &["result.source", "source"],
    ..Shape::EMPTY
};

#[cfg(test)]
mod tests {
    use super::LAYER;
    use crate::layers::harness::{lines, wears};

    #[test]
    fn every_shape_gives_the_same_line() {
        for text in [
            r#"{"preview":false,"offset":0,"result":{"_raw":"x","_time":"2026-02-03T04:05:06.100+00:00","host":"h"}}"#,
            r#"{"preview":false,"results":[{"_raw":"x","_time":"2026-02-03T04:05:06.100+00:00"}]}"#,
            r#"{"fields":["_time","_raw"],"rows":[["2026-02-03T04:05:06.100+00:00","x"]]}"#,
            r#"{"time":1770091506.1,"host":"h","sourcetype":"kube:container","event":"x"}"#,
            "\"_time\",\"_raw\",host\n\"2026-02-03T04:05:06.100+00:00\",x,h\n",
        ] {
            assert!(wears(&LAYER, text), "{text}");
            let found = lines(&LAYER, text);
            assert_eq!((found.len(), found[0].1, &*found[0].2), (1, Some(1_770_091_506_100_000_000), "x"), "{text}");
        }
    }
}
