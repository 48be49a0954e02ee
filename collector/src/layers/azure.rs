//! Azure: diagnostic records (event hub, storage account), Log Analytics as JSON, CSV and answers of its API.
//!
//! ```text
//! {"records":[{"category":"kube-audit","properties":{"log":"…","pod":"kube-apiserver-a"},"time":"2026-…Z"}]}
//! {"category":"kube-audit","properties":{"log":"…"},"time":"2026-…Z"}          PT1H.json, a record a line
//! [{"TimeGenerated":"2026-…Z","log_s":"…"}]                                    AzureDiagnostics; LogMessage: ContainerLogV2
//! {"tables":[{"columns":[{"name":"TimeGenerated"},{"name":"log_s"}],"rows":[["2026-…Z","…"]]}]}
//! ```

use super::json_store::{Shape, objects};
use super::layer::Layer;

/// The layer.
pub const LAYER: Layer = Layer {
    name: "azure",
    title: "Azure diagnostic records and Log Analytics",
    sample: "{\"category\":\"kube-audit\",\"properties\":{\"log\":\"{…}\",\"pod\":\"kube-apiserver-a\"},\"time\":\"2026-02-03T04:05:00.004300Z\"}\n",
    certain: true,
    wears: |head| SHAPE.worn(head),
    open: |setting| SHAPE.open(setting),
    put_on: Some(|text| {
        objects(
            text,
            |line| serde_json::json!({"category": "kube-audit", "properties": {"log": line}, "time": "2026-11-23T04:42:31.5Z"}),
        )
    }),
};

static SHAPE: Shape = Shape {
    entries: &["", "[]", "records[]", "[].records[]", "tables[].rows[]", "value[]"],
    message: &["properties.log", "log_s", "LogMessage", "LogEntry", "properties.message", "Message", "SyslogMessage"],
    marks: &[
        &["properties.log"],
        &["log_s"],
        &["LogMessage"],
        &["LogEntry", "TimeGenerated"],
        &["SyslogMessage"],
        &["Message", "TimeGenerated"],
    ],
    time: &["time", "TimeGenerated", "properties.time"],
    pod: &["properties.pod", "pod_s", "PodName", "Pod"],
    namespace: &["PodNamespace"],
    container: &["properties.container", "ContainerName", "containerID_s"],
    node: &["Computer", "properties.host"],
    ..Shape::EMPTY
};

#[cfg(test)]
mod tests {
    use super::LAYER;
    use crate::layers::harness::{lines, sections, wears};

    const AT: i64 = 1_770_091_506_100_000_000;

    #[test]
    fn every_shape_gives_the_same_line() {
        for text in [
            r#"{"records":[{"category":"kube-audit","properties":{"log":"x\n","pod":"a-1"},"time":"2026-02-03T04:05:06.1Z"}]}"#,
            r#"[{"records":[{"category":"kube-audit","properties":{"log":"x","pod":"a-1"},"time":"2026-02-03T04:05:06.1Z"}]}]"#,
            r#"{"category":"kube-audit","properties":{"log":"x","pod":"a-1"},"time":"2026-02-03T04:05:06.1Z"}"#,
            r#"{"category":"kube-audit","properties":"{\"log\":\"x\",\"pod\":\"a-1\"}","time":"2026-02-03T04:05:06.1Z"}"#,
            r#"[{"TimeGenerated":"2026-02-03T04:05:06.1Z","log_s":"x","pod_s":"a-1","TableName":"PrimaryResult"}]"#,
            r#"{"tables":[{"name":"P","columns":[{"name":"TimeGenerated","type":"datetime"},{"name":"LogMessage","type":"dynamic"},{"name":"PodName","type":"string"}],"rows":[["2026-02-03T04:05:06.1Z","x","a-1"]]}]}"#,
            "\"TimeGenerated [UTC]\",PodName,LogMessage\n\"2026-02-03T04:05:06.1Z\",a-1,x\n",
        ] {
            assert!(wears(&LAYER, text), "{text}");
            let found = lines(&LAYER, text);
            assert_eq!((found.len(), found[0].1, &*found[0].2), (1, Some(AT), "x"), "{text}");
            assert_eq!(sections(&[&LAYER], text.as_bytes())[0].around.known(1).pod, Some("a-1"), "{text}");
        }
    }

    #[test]
    fn a_record_that_breaks_off_costs_itself() {
        let good = r#"{"category":"kube-audit","properties":{"log":"x"},"time":"2026-02-03T04:05:06.1Z"}"#;
        let text = format!("{good}\n{}\n{good}\n{good}\n", &good[..45]);
        let found: Vec<(i64, String)> = lines(&LAYER, &text).into_iter().map(|(line, _, text)| (line, text)).collect();
        assert_eq!(found.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(found[1].1, good[..45]);
        assert_eq!(found[3].1, "x");
    }
}
