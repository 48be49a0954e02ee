//! ClusterLoader2's summaries: performance data, resource usage by percentile, and its junit file.
//!
//! ```text
//! {"version":"v1","dataItems":[{"data":{"Perc50":1086.05,"Perc99":2029.91},"unit":"ms","labels":{"Metric":"pod_startup"}}]}
//! {"99":[{"Name":"node-a/kube-proxy","CPU":0.02,"Mem":62205952}, …]}
//! <testsuite name="ClusterLoaderV2" …><testcase name="…" time="161.03"></testcase>
//! ```
//!
//! The figures become facts with their unit behind them, to stand beside ours (`clusterloader2/pod_startup/Perc99`).

use serde_json::Value;
use syncline_schema::clock::ClockToken;

use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Line, Reads, Sniff};

/// The format.
pub const FORMAT: Format = Format {
    kind: "cluster-loader",
    title: "ClusterLoader2 summaries: dataItems, resource usage, junit.xml",
    clock: ClockToken::None,
    cut: Cut::Whole,
    sniff,
    reads: Reads::Rows(parse),
    sample: "{\"version\": \"v1\", \"dataItems\": [{\"data\": {\"Perc50\": 1086.056005, \"Perc99\": 2029.913438}, \"unit\": \"ms\", \"labels\": {\"Metric\": \"pod_startup\"}}]}\n",
    recognised: "a JSON object with \"version\" and \"dataItems\", lists of {Name, CPU, Mem} by percentile, or a testsuite named ClusterLoaderV2",
    capture: "clusterloader2 --report-dir=report …",
    proves: "another tool's latencies and resource usage of the same run: facts beside our figures",
};

fn sniff(head: &Head) -> Sniff {
    let text = head.bytes.trim_ascii_start();
    let has = |mark: &[u8]| memchr::memmem::find(text, mark).is_some();
    let items = text.starts_with(b"{") && has(b"\"dataItems\"") && has(b"\"version\"");
    let usage = text.starts_with(b"{") && has(b"\"Name\"") && has(b"\"CPU\"") && has(b"\"Mem\"");
    let junit = text.starts_with(b"<") && has(b"name=\"ClusterLoaderV2\"");
    if items || usage || junit { Sniff::Yes } else { Sniff::No }
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    let text = chunk.bytes.trim_ascii_start();
    if text.starts_with(b"<") {
        return junit(context, chunk, batch);
    }
    let line = Line { bytes: text, number: chunk.first_line, offset: chunk.offset, ended: true };
    let value: Value = match serde_json::from_slice(text) {
        Ok(value) => value,
        Err(error) => {
            return batch.reject(context, &line, &format!("expected a summary of ClusterLoader2 as JSON: {error}"));
        }
    };
    for item in value["dataItems"].as_array().into_iter().flatten() {
        batch.record(None);
        let labels: Vec<&str> =
            item["labels"].as_object().into_iter().flatten().filter_map(|(_, value)| value.as_str()).collect();
        for (name, figure) in item["data"].as_object().into_iter().flatten() {
            let unit = item["unit"].as_str().map(|unit| format!(" {unit}")).unwrap_or_default();
            fact(context, line.number, &format!("{}/{name}", labels.join("/")), &format!("{figure}{unit}"), batch);
        }
    }
    if value["dataItems"].is_array() {
        return;
    }
    for (percentile, list) in value.as_object().into_iter().flatten() {
        for item in list.as_array().into_iter().flatten() {
            batch.record(None);
            let Some(name) = item["Name"].as_str() else { continue };
            fact(context, line.number, &format!("usage/{name}/cpu/p{percentile}"), &item["CPU"].to_string(), batch);
            fact(context, line.number, &format!("usage/{name}/bytes/p{percentile}"), &item["Mem"].to_string(), batch);
        }
    }
}

/// Each test case with its time in seconds; a failure is said.
fn junit(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    let mut running: Option<(i64, String, String)> = None;
    let mut failed = false;
    for line in chunk.lines() {
        let text = line.text();
        failed |= text.contains("<failure");
        if text.trim_start().starts_with("<testcase") {
            match (attribute(&text, "name"), attribute(&text, "time")) {
                (Some(name), Some(time)) => running = Some((line.number, name, time)),
                _ => batch.reject(context, &line, "expected a testcase with name and time"),
            }
        }
        if text.contains("</testcase>") || text.trim_end().ends_with("/>") {
            if let Some((record, name, time)) = running.take() {
                batch.record(None);
                let time = if failed { format!("{time} s, failed") } else { format!("{time} s") };
                fact(context, record, &format!("junit/{name}"), &time, batch);
            }
            failed = false;
        }
    }
}

fn attribute(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!(" {name}=\""))?;
    Some(rest.split('"').next()?.to_owned())
}

fn fact(context: &Context, record: i64, key: &str, value: &str, batch: &mut Batch) {
    batch.fact(context, record, &format!("clusterloader2/{key}"), value);
}

#[cfg(test)]
mod tests {
    use super::FORMAT;
    use crate::form::Sniff;
    use crate::parse::harness::{corpus_files, head, parse_text};

    #[test]
    fn summaries_are_read_and_a_broken_one_is_refused() {
        assert_eq!(parse_text(&FORMAT, FORMAT.sample).records, 1);
        assert_eq!(parse_text(&FORMAT, &FORMAT.sample[..60]).rejected, 1);
        for (name, bytes) in corpus_files(&["cl2"]) {
            assert_eq!((FORMAT.sniff)(&head(&name, &bytes)), Sniff::Yes, "{name}");
            let batch = parse_text(&FORMAT, &String::from_utf8_lossy(&bytes));
            assert!(batch.records > 0 && batch.rejected == 0, "{name}: {} {}", batch.records, batch.rejected);
        }
    }
}
