//! What load generators print at the end: the text of k6 and its `--summary-export`, vegeta's reports as text and JSON, the texts of
//! hey, wrk and ab.
//!
//! ```text
//! Latencies     [min, mean, 50, 90, 95, 99, max]  90.4ms, 113.1ms, 108.2ms, 140.1ms, 247.7ms, 264.8ms, 300ms
//! Success       [ratio]                           55.42%
//!
//!      http_req_duration..............: avg=117.55ms min=114.45ms med=117.04ms max=236.84ms p(90)=119.1ms p(95)=119.97ms
//! ```
//!
//! Another tool's figures, shown beside ours: each is a fact `client/TOOL/METRIC/STATISTIC`, as it was printed; each entry of a
//! set of errors is a fact `client/TOOL/error/NUMBER`. A line that is not understood is refused. They hold for
//! the whole run, so they prove nothing of a phase; request lines do.

use serde_json::Value;
use syncline_schema::clock::ClockToken;

use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Reads, Sniff};
use crate::parse::clients::bench_report::{self, Part};
use crate::parse::clients::summary_fact::{Figure, Said};
use crate::parse::clients::{k6_summary, vegeta_report};

/// The format.
pub const FORMAT: Format = Format {
    kind: "client-summary",
    title: "summaries of load generators: k6, vegeta, hey, wrk, ab",
    clock: ClockToken::None,
    cut: Cut::Whole,
    sniff,
    reads: Reads::Rows(parse),
    sample: "Latencies     [min, mean, 50, 90, 95, 99, max]  90.4ms, 113.1ms, 108.2ms, 140.1ms, 247.7ms, 264.8ms, 300ms\n",
    recognised: "lines `Latencies [min, mean, …]` of vegeta, `http_req_duration...: avg=…` of k6, `Requests/sec:` of hey and wrk, `Complete requests:` of ab; JSON with the same names",
    capture: "vegeta report results.bin; k6 run --summary-export=summary.json script.js (better: the requests, k6 run --out json=k6.jsonl)",
    proves: "nothing of a phase: the tool's own figures of the whole run, beside ours",
};

fn sniff(head: &Head) -> Sniff {
    let has = |mark: &[u8]| memchr::memmem::find(head.bytes, mark).is_some();
    let latencies = has(b"[min, mean,") || has(b"[mean, 50,");
    let vegeta = has(b"Latencies") && latencies && has(b"[total") && has(b"[ratio]");
    let seconds = (has(b"Slowest:") && has(b"Fastest:")) || (has(b"Thread Stats") && has(b"Latency"));
    let others = has(b"Requests/sec:") && seconds;
    let k6 = has(b"http_req_duration") && has(b"...: avg=");
    let ab = has(b"Complete requests:") && has(b"Failed requests:");
    let json = head.bytes.trim_ascii_start().starts_with(b"{")
        && ((has(b"\"latencies\"") && has(b"\"success\"") && has(b"\"50th\""))
            || (has(b"\"metrics\"") && has(b"\"http_req_duration\"") && has(b"\"avg\"")));
    if vegeta || k6 || ab || others || json { Sniff::Yes } else { Sniff::No }
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    let Some(first) = chunk.lines().next() else { return };
    if chunk.bytes.trim_ascii_start().starts_with(b"{") {
        match serde_json::from_slice::<Value>(chunk.bytes) {
            Ok(value) => of_json(context, &value, batch),
            Err(error) => batch.reject(context, &first, &format!("expected a summary as JSON: {error}")),
        }
        return;
    }
    let tool = tool_of(chunk.bytes);
    let (mut part, mut in_errors, mut errors) = (Part::default(), false, 0_u64);
    for line in chunk.lines() {
        let text = line.text();
        if text.trim().is_empty() {
            continue;
        }
        let said = match tool {
            "k6" => k6_summary::line(&text),
            "vegeta" => vegeta_report::line(&text, in_errors),
            _ => bench_report::line(&text, &mut part, tool),
        };
        in_errors |= text.trim() == "Error Set:";
        match said {
            Said::Figures(found) => {
                for Figure { metric, statistic, value } in found {
                    push(context, line.number, &format!("client/{tool}/{metric}/{statistic}"), &value, batch);
                }
            }
            Said::Error(count, error) => {
                errors += 1;
                let value = count.map_or_else(|| error.clone(), |count| format!("{count} × {error}"));
                push(context, line.number, &format!("client/{tool}/error/{errors}"), &value, batch);
            }
            Said::Nothing => {}
            Said::Unknown => batch.reject(context, &line, "expected a line of a load generator's summary"),
        }
    }
}

/// Who printed a summary.
fn tool_of(bytes: &[u8]) -> &'static str {
    let has = |mark: &[u8]| memchr::memmem::find(bytes, mark).is_some();
    if has(b"..: avg=") || has(b"http_reqs..") {
        "k6"
    } else if has(b"[ratio]") || has(b"[total, rate") {
        "vegeta"
    } else if has(b"Complete requests:") {
        "ab"
    } else if has(b"Success rate:") && has(b"Slowest:") {
        "oha"
    } else if has(b"Slowest:") {
        // wrk ends with a line `Requests/sec:` too.
        "hey"
    } else {
        "wrk"
    }
}

fn of_json(context: &Context, value: &Value, batch: &mut Batch) {
    let (tool, metrics) = match value.get("metrics") {
        Some(metrics) => ("k6", metrics),
        None => ("vegeta", value),
    };
    let Some(metrics) = metrics.as_object() else { return };
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    for (metric, value) in metrics {
        if let Some(value) = text(value) {
            push(context, 1, &format!("client/{tool}/{metric}/value"), &value, batch);
        }
        for (number, error) in value.as_array().into_iter().flatten().filter_map(Value::as_str).enumerate() {
            push(context, 1, &format!("client/{tool}/{metric}/{}", number + 1), error, batch);
        }
        // k6 2.x nests the statistics under `values`.
        let statistics = value.get("values").unwrap_or(value);
        for (name, value) in statistics.as_object().into_iter().flatten() {
            if let Some(value) = text(value) {
                // vegeta's JSON has nanoseconds; its text and k6's have units of their own.
                let unit = if tool == "vegeta" && metric == "latencies" { " ns" } else { "" };
                push(context, 1, &format!("client/{tool}/{metric}/{name}"), &format!("{value}{unit}"), batch);
            }
        }
    }
}

fn push(context: &Context, record: i64, key: &str, value: &str, batch: &mut Batch) {
    batch.record(None);
    batch.fact(context, record, key, value);
}

#[cfg(test)]
mod tests {
    use super::FORMAT;
    use crate::form::Sniff;
    use crate::parse::harness::{facts, head, parse_text};

    #[test]
    fn hey_and_wrk_give_facts() {
        let hey = "\nSummary:\n  Total:\t1.5550 secs\n  Slowest:\t0.8376 secs\n  Fastest:\t0.7170 secs\n  Requests/sec:\t6.4310\n\nLatency distribution:\n  50% in 0.8364 secs\n  0% in 0.0000 secs\n";
        let wrk = "Running 30s test @ http://10.96.0.9/\n  Thread Stats   Avg      Stdev     Max   +/- Stdev\n    Latency   635.91us    0.89ms  12.92ms   93.69%\n  Latency Distribution\n     99%    1.29ms\n  Socket errors: connect 3, read 0, write 0, timeout 5\nRequests/sec: 748868.53\n";
        for (text, expected) in [
            (
                hey,
                "client/hey/Total/value=1.5550 secs client/hey/Slowest/value=0.8376 secs client/hey/Fastest/value=0.7170 secs client/hey/Requests/sec/value=6.4310 client/hey/Latency/p50=0.8364 secs",
            ),
            (
                wrk,
                "client/wrk/Latency/mean=635.91us client/wrk/Latency/stdev=0.89ms client/wrk/Latency/max=12.92ms client/wrk/Latency/within_stdev=93.69% client/wrk/Latency/p99=1.29ms client/wrk/Socket errors/connect=3 client/wrk/Socket errors/read=0 client/wrk/Socket errors/write=0 client/wrk/Socket errors/timeout=5 client/wrk/Requests/sec/value=748868.53",
            ),
        ] {
            assert_eq!((FORMAT.sniff)(&head("x.txt", text.as_bytes())), Sniff::Yes);
            assert_eq!(facts(&mut parse_text(&FORMAT, text)).join(" "), expected);
        }
    }

    #[test]
    fn text_and_json_give_facts() {
        let report = "Requests      [total, rate, throughput]         1200, 120.00, 65.87\n".to_owned()
            + FORMAT.sample
            + "Success       [ratio]                           55.42%\n";
        assert_eq!((FORMAT.sniff)(&head("report.txt", report.as_bytes())), Sniff::Yes);
        assert_eq!(parse_text(&FORMAT, &report).records, 11);
        let older = report.replace(
            "[min, mean, 50, 90, 95, 99, max]  90.4ms, 113.1ms, 108.2ms, 140.1ms, 247.7ms",
            "[mean, 50, 95, 99, max]  113.1ms, 108.2ms, 247.7ms",
        );
        assert_eq!((FORMAT.sniff)(&head("report.txt", older.as_bytes())), Sniff::Yes);
        assert_eq!(parse_text(&FORMAT, &older).records, 9);
        let json =
            r#"{"metrics":{"http_req_duration":{"avg":117.5,"p(95)":119.9},"http_reqs":{"count":1000,"rate":3.3}}}"#;
        assert_eq!((FORMAT.sniff)(&head("summary.json", json.as_bytes())), Sniff::Yes);
        assert_eq!(parse_text(&FORMAT, json).records, 4);
        let cut = parse_text(&FORMAT, &json[..40]);
        assert_eq!((cut.records, cut.rejected), (0, 1));
    }
}
