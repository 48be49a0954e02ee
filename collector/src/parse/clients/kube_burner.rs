//! kube-burner's result files: podLatency, svcLatency and others, job summaries.
//!
//! ```text
//! [{"quantileName":"Ready","P99":2000,"P95":2000,"P50":1000,"min":0,"max":2000,"avg":1107,"metricName":"podLatencyQuantilesMeasurement", …}, …]
//! [{"timestamp":"2026-01-15T20:58:14Z","podReadyLatency":1000,"metricName":"podLatencyMeasurement","podName":"…", …}, …]
//! ```
//!
//! Its figures are another tool's measurements: they become facts, in seconds, to stand beside ours
//! (`kube-burner/podLatencyQuantilesMeasurement/Ready/P99`). Documents of OpenSearch or Elasticsearch (`_source`, answers with `hits`,
//! bulk files) hold the same objects. Of a file with a row for each object the number of objects and
//! the median and maximum of each latency are kept. Pod latencies are written in ms, those of Services in ns.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use syncline_schema::clock::ClockToken;

use crate::form::effort::Effort;
use crate::form::instant::rfc3339;
use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Line, Reads, Sniff};
use crate::parse::syntax::yaml;

/// The format.
pub const FORMAT: Format = Format {
    kind: "kube-burner",
    title: "kube-burner results: podLatency, svcLatency, job summaries, JSON",
    clock: ClockToken::Operator,
    cut: Cut::Whole,
    sniff,
    reads: Reads::Rows(parse),
    sample: "[{\"quantileName\":\"Ready\",\"uuid\":\"u\",\"P99\":2000,\"P95\":2000,\"P50\":1000,\"min\":0,\"max\":2000,\"avg\":1107,\"timestamp\":\"2026-01-15T21:00:44.774555062Z\",\"metricName\":\"podLatencyQuantilesMeasurement\"}]\n",
    recognised: "JSON objects with \"metricName\" and \"uuid\", \"quantileName\" or \"jobConfig\"",
    capture: "kube-burner init -c … --metrics-directory collected-metrics (local indexer)",
    proves: "another tool's latencies of the same run: facts beside our figures",
};

fn sniff(head: &Head) -> Sniff {
    let text = head.bytes.trim_ascii_start();
    let has = |key: &str| memchr::memmem::find(text, format!("\"{key}\"").as_bytes()).is_some();
    let marked = has("metricName") && (has("uuid") || has("quantileName") || has("jobConfig"));
    if text.starts_with(b"[") | text.starts_with(b"{") && marked { Sniff::Yes } else { Sniff::No }
}

/// Bytes of an object at most, and of one that is no JSON by itself.
const LONGEST: usize = 4 << 20;
const LONGEST_LENIENT: usize = 16 << 10;

/// Objects of a text, whatever stands between them: examples in documents lack the brackets of the list.
fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    let text = chunk.bytes;
    let mut sums: BTreeMap<(String, String), Vec<f64>> = BTreeMap::new();
    let mut first = None;
    let (mut at, mut counted, mut number) = (0, 0, chunk.first_line);
    let mut effort = Effort::of(text.len());
    while let Some(start) = text.get(at..).and_then(|rest| memchr::memchr(b'{', rest)).map(|place| at + place) {
        number += memchr::memchr_iter(b'\n', &text[counted..start]).count() as i64;
        counted = start;
        let rest = &text[start..text.len().min(start + LONGEST)];
        let mut objects = serde_json::Deserializer::from_slice(rest).into_iter::<Map<String, Value>>();
        let line = Line { bytes: &text[start..], number, offset: chunk.offset + start as i64, ended: true };
        match objects.next() {
            Some(Ok(object)) => {
                at = start + objects.byte_offset();
                first.get_or_insert(number);
                let mut results = Vec::new();
                unwrap(object, 0, &mut results);
                for object in results {
                    let time =
                        object.get("timestamp").and_then(Value::as_str).and_then(|text| rfc3339(text.as_bytes()));
                    batch.record(time);
                    one(context, number, &object, &mut sums, batch);
                }
            }
            Some(Err(error)) => {
                // Examples in documents have a comma too many, which YAML allows.
                if let Some((length, object)) = lenient(&rest[..rest.len().min(LONGEST_LENIENT)]) {
                    at = start + length;
                    batch.record(None);
                    one(context, number, &object, &mut sums, batch);
                    continue;
                }
                if !effort.spend_on(rest, &error) || !effort.spend(rest.len().min(LONGEST_LENIENT)) {
                    let why = "expected results of kube-burner: too many that never end, what follows was not read";
                    batch.reject(context, &line, why);
                    break;
                }
                batch.reject(context, &line, &format!("expected a result of kube-burner as JSON: {error}"));
                // The next object begins at the left margin.
                at = memchr::memmem::find(&text[start..], b"\n{").map_or(text.len(), |place| start + place + 1);
            }
            None => return,
        }
    }
    for ((metric, field), mut values) in sums {
        values.sort_by(f64::total_cmp);
        let mut say = |what: &str, value: String| {
            batch.fact(context, first.unwrap_or(1), &format!("kube-burner/{metric}/{field}/{what}"), &value);
        };
        say("objects", values.len().to_string());
        say("P50", values[(values.len() - 1) / 2].to_string());
        say("max", values[values.len() - 1].to_string());
    }
}

/// The results in a document of a search engine; any other object is a result itself.
fn unwrap(mut object: Map<String, Value>, depth: usize, found: &mut Vec<Map<String, Value>>) {
    let is_result = ["metricName", "quantileName", "jobConfig"].iter().any(|key| object.contains_key(*key));
    if is_result || depth > 4 {
        return found.push(object);
    }
    let inner = ["hits", "_source", "responses"].into_iter().find_map(|key| object.remove(key));
    match inner {
        Some(Value::Object(inner)) => unwrap(inner, depth + 1, found),
        Some(Value::Array(all)) => {
            for one in all {
                if let Value::Object(one) = one {
                    unwrap(one, depth + 1, found);
                }
            }
        }
        // The line ahead of each document of a bulk request.
        _ if ["index", "create"].iter().any(|key| object.get(*key).is_some_and(Value::is_object)) => {}
        _ => found.push(object),
    }
}

/// An object as YAML reads it, and its length.
fn lenient(text: &[u8]) -> Option<(usize, Map<String, Value>)> {
    let (mut depth, mut quoted) = (0, false);
    let end = text.iter().position(|byte| {
        match byte {
            b'"' => quoted = !quoted,
            b'{' if !quoted => depth += 1,
            b'}' if !quoted => depth -= 1,
            _ => {}
        }
        depth == 0
    })?;
    let json = yaml::to_json(&text[..=end]).ok()?;
    Some((end + 1, serde_json::from_slice(&json).ok()?))
}

fn one(
    context: &Context,
    record: i64,
    object: &Map<String, Value>,
    sums: &mut BTreeMap<(String, String), Vec<f64>>,
    batch: &mut Batch,
) {
    let metric = object.get("metricName").and_then(Value::as_str).unwrap_or("jobSummary");
    // Latencies of Services are written in ns, all others in ms.
    let unit = if metric.starts_with("svc") { 1e9 } else { 1e3 };
    if let Some(quantile) = object.get("quantileName").and_then(Value::as_str) {
        for name in ["P99", "P95", "P50", "min", "max", "avg"] {
            if let Some(value) = object.get(name).and_then(Value::as_f64) {
                batch.fact(
                    context,
                    record,
                    &format!("kube-burner/{metric}/{quantile}/{name}"),
                    &(value / unit).to_string(),
                );
            }
        }
        return;
    }
    for (key, value) in object {
        let Some(number) = value.as_f64() else {
            if ["version", "k8sVersion", "ocpVersion"].contains(&key.as_str())
                && let Some(text) = value.as_str()
            {
                batch.fact(context, record, &format!("kube-burner/{metric}/{key}"), text);
            }
            continue;
        };
        if key.ends_with("Latency") || (metric.starts_with("svc") && key == "ready") {
            sums.entry((metric.to_owned(), key.clone())).or_default().push(number / unit);
        } else if ["elapsedTime", "achievedQps"].contains(&key.as_str()) || key == "value" {
            batch.fact(context, record, &format!("kube-burner/{metric}/{key}"), &number.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::FORMAT;
    use crate::form::Sniff;
    use crate::parse::harness::{corpus_files, facts, head, parse_text};

    #[test]
    fn documents_of_a_search_engine_hold_results() {
        let result = r#"{"quantileName":"Ready","uuid":"u","P99":1234,"metricName":"podLatencyQuantilesMeasurement"}"#;
        for (text, records) in [
            (
                format!(
                    r#"{{"took":1,"hits":{{"total":2,"hits":[{{"_id":"1","_source":{result}}},{{"_id":"2","_source":{result}}}]}}}}"#
                ),
                2,
            ),
            (format!("{{\"_index\":\"k\",\"_source\":{result}}}\n{{\"_index\":\"k\",\"_source\":{result}}}\n"), 2),
            (format!("{{\"index\":{{\"_index\":\"k\"}}}}\n{result}\n"), 1),
        ] {
            assert_eq!((FORMAT.sniff)(&head("x.json", text.as_bytes())), Sniff::Yes, "{text}");
            let mut batch = parse_text(&FORMAT, &text);
            assert_eq!((batch.records, batch.rejected), (records, 0), "{text}");
            assert!(facts(&mut batch)[0].ends_with("Ready/P99=1.234"), "{text}");
        }
    }

    #[test]
    fn objects_that_never_end_are_given_up_and_those_ahead_are_kept() {
        let text = format!("{}{}", FORMAT.sample, "{\"a\":[\n".repeat(200_000));
        let batch = parse_text(&FORMAT, &text);
        assert_eq!(batch.records, 1);
        // Far fewer tries than there are braces.
        assert!((1..20_000).contains(&batch.rejected), "{}", batch.rejected);
    }

    #[test]
    fn latencies_are_facts_in_seconds() {
        let mut batch = parse_text(&FORMAT, FORMAT.sample);
        assert_eq!((batch.records, batch.rejected), (1, 0));
        let facts = batch.take_tables().remove(0).finish().expect("rows");
        let column = |name: &str| {
            let column = facts.column_by_name(name).expect("the column");
            arrow_array::cast::AsArray::as_string::<i32>(column).iter().flatten().map(str::to_owned).collect::<Vec<_>>()
        };
        let at = column("key").iter().position(|key| key.ends_with("Ready/P99")).expect("P99");
        assert_eq!(column("value")[at], "2");
    }

    #[test]
    fn real_files_are_read() {
        for (name, bytes) in corpus_files(&["kube_burner"]) {
            let yes = (FORMAT.sniff)(&head(&name, &bytes)) == Sniff::Yes;
            assert_eq!(yes, !name.contains("rhoso"), "{name}");
            let batch = parse_text(&FORMAT, &String::from_utf8_lossy(&bytes));
            assert!(!yes || (batch.records > 0 && batch.rejected == 0), "{name}: {}", batch.rejected);
        }
    }
}
