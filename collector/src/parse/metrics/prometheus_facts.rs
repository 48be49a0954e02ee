//! What the other endpoints of Prometheus' HTTP API answer: facts of the run, never samples.
//!
//! ```text
//! {"activeTargets":[{"labels":{"job":"kube-proxy"},"scrapeUrl":"http://…","health":"up","lastError":""}]}   targets
//! {"version":"2.42.0", …}  {"storageRetention":"15d", …}  {"headStats":{"numSeries":508, …}}                 status/…
//! {"alerts":[…]}  {"groups":[…]}  {"up":[{"type":"gauge","help":"…"}]}  ["up","job"]  [{"__name__":"up"}]    others
//! ```
//!
//! Of targets each one that was not healthy is said, with its error, because a metric that is missing then has a
//! reason. Versions and settings become facts of the run; all else is counted by kind.

use serde_json::Value;
use serde_json::value::RawValue;

use crate::form::{Batch, Context};

/// Facts of an answer's `data`.
pub fn of_data(context: &Context, record: i64, data: Option<&RawValue>, batch: &mut Batch) {
    let data: Value = data.and_then(|data| serde_json::from_str(data.get()).ok()).unwrap_or_default();
    batch.record(None);
    let mut say = |key: String, value: String| batch.fact(context, record, &key, &value);
    match &data {
        Value::Array(items) => {
            let kind = if items.iter().all(Value::is_string) { "names" } else { "series" };
            say(format!("prometheus-api/{kind}"), items.len().to_string());
        }
        Value::Object(fields) => {
            if let Some(version) = data["version"].as_str() {
                say("version/prometheus".to_owned(), version.to_owned());
            }
            for target in data["activeTargets"].as_array().into_iter().flatten() {
                let label = |name: &str| target["labels"][name].as_str().unwrap_or("?");
                let key = format!("prometheus-api/target/{}/{}", label("job"), label("instance"));
                let health = target["health"].as_str().unwrap_or("unknown");
                let error = target["lastError"].as_str().filter(|error| !error.is_empty());
                say(key, error.map_or_else(|| health.to_owned(), |error| format!("{health}: {error}")));
            }
            for (key, name) in [("alerts", "alerts"), ("groups", "rule-groups"), ("droppedTargets", "dropped-targets")]
            {
                if let Some(list) = data[key].as_array() {
                    say(format!("prometheus-api/{name}"), list.len().to_string());
                }
            }
            for key in ["storageRetention", "startTime", "reloadConfigSuccess", "corruptionCount"] {
                match &data[key] {
                    Value::Null => {}
                    Value::String(text) => say(format!("prometheus-api/{key}"), text.clone()),
                    other => say(format!("prometheus-api/{key}"), other.to_string()),
                }
            }
            for (key, value) in data["headStats"].as_object().into_iter().flatten() {
                say(format!("prometheus-api/head/{key}"), value.to_string());
            }
            // Flags of the command line: all values are texts.
            for key in ["query.lookback-delta", "storage.tsdb.retention.time"] {
                if let Some(value) = data[key].as_str() {
                    say(format!("prometheus-api/flag/{key}"), value.to_owned());
                }
            }
            let described = |value: &Value| {
                value
                    .as_array()
                    .and_then(|list| list.first())
                    .is_some_and(|one| one["type"].is_string() && one["help"].is_string())
            };
            let metrics = fields.values().filter(|value| described(value)).count();
            if metrics > 0 {
                say("prometheus-api/metadata".to_owned(), metrics.to_string());
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use crate::parse::harness::parse_text;
    use crate::parse::metrics::prometheus_api::FORMAT;

    #[test]
    fn every_endpoint_gives_facts() {
        for (data, facts) in [
            (
                r#"{"activeTargets":[{"labels":{"job":"a","instance":"b"},"health":"down","lastError":"refused"}],"droppedTargets":[]}"#,
                2,
            ),
            (r#"{"version":"2.42.0","revision":"x"}"#, 1),
            (
                r#"{"startTime":"2026-11-23T00:00:00Z","storageRetention":"15d","reloadConfigSuccess":true,"corruptionCount":0}"#,
                4,
            ),
            (r#"{"headStats":{"numSeries":508,"chunkCount":937},"seriesCountByMetricName":[]}"#, 2),
            (r#"{"query.lookback-delta":"5m","log.level":"info"}"#, 1),
            (r#"{"alerts":[]}"#, 1),
            (r#"{"groups":[{"name":"g","rules":[]}]}"#, 1),
            (r#"{"up":[{"type":"gauge","help":"h","unit":""}]}"#, 1),
            (r#"["up","job"]"#, 1),
            (r#"[{"__name__":"up"}]"#, 1),
        ] {
            let mut batch = parse_text(&FORMAT, &format!("{{\"status\":\"success\",\"data\":{data}}}"));
            assert_eq!((batch.records, batch.rejected), (1, 0), "{data}");
            let rows = batch.take_tables().iter().find(|table| table.table == "facts").map_or(0, |table| table.rows());
            assert_eq!(rows, facts, "{data}");
        }
    }

    #[test]
    fn a_result_without_its_envelope_is_read() {
        let batch = parse_text(
            &FORMAT,
            r#"[{"metric":{"__name__":"up"},"value":[1700000000.1,"1"]},{"metric":{},"value":[1700000000.1,"2"]}]"#,
        );
        assert_eq!((batch.samples.len(), batch.records, batch.rejected), (1, 2, 0));
    }
}
