//! What load generators print at the end: the text of k6 and its `--summary-export`, vegeta's reports as text and JSON, the texts of
//! hey and wrk.
//!
//! ```text
//! Latencies     [min, mean, 50, 90, 95, 99, max]  90.4ms, 113.1ms, 108.2ms, 140.1ms, 247.7ms, 264.8ms, 300ms
//! Success       [ratio]                           55.42%
//!
//!      http_req_duration..............: avg=117.55ms min=114.45ms med=117.04ms max=236.84ms p(90)=119.1ms p(95)=119.97ms
//! ```
//!
//! Another tool's figures, shown beside ours: each is a fact `client/TOOL/METRIC/STATISTIC`, as it was printed. They hold for
//! the whole run, so they prove nothing of a phase; request lines do.

use serde_json::Value;
use syncline_schema::clock::ClockToken;

use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Reads, Sniff};

/// The format.
pub const FORMAT: Format = Format {
    kind: "client-summary",
    title: "summaries of load generators: k6, vegeta, hey, wrk",
    clock: ClockToken::None,
    cut: Cut::Whole,
    sniff,
    reads: Reads::Rows(parse),
    sample: "Latencies     [min, mean, 50, 90, 95, 99, max]  90.4ms, 113.1ms, 108.2ms, 140.1ms, 247.7ms, 264.8ms, 300ms\n",
    recognised: "lines `Latencies [min, mean, …]` of vegeta, `http_req_duration...: avg=…` of k6, `Requests/sec:` of hey and wrk; JSON with the same names",
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
    let json = head.bytes.trim_ascii_start().starts_with(b"{")
        && ((has(b"\"latencies\"") && has(b"\"success\"") && has(b"\"50th\""))
            || (has(b"\"metrics\"") && has(b"\"http_req_duration\"") && has(b"\"avg\"")));
    if vegeta || k6 || others || json { Sniff::Yes } else { Sniff::No }
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
    // Both end with a line `Requests/sec:`; only hey tells the slowest of them.
    let plain = if memchr::memmem::find(chunk.bytes, b"Slowest:").is_some() { "hey" } else { "wrk" };
    for line in chunk.lines() {
        let text = String::from_utf8_lossy(line.bytes);
        let mut fact = |tool: &str, metric: &str, statistic: &str, value: &str| {
            push(context, line.number, &format!("client/{tool}/{metric}/{statistic}"), value, batch);
        };
        if let Some((metric, names, values)) = of_vegeta(&text) {
            for (name, value) in names.split(", ").zip(values.split(", ")) {
                fact("vegeta", &metric, name.trim(), value.trim());
            }
        } else if let Some((metric, values)) = of_k6(&text) {
            for (at, word) in values.split_whitespace().enumerate() {
                match word.split_once('=') {
                    Some((name, value)) => fact("k6", metric, name, value),
                    None if at == 0 => fact("k6", metric, "value", word),
                    None => {}
                }
            }
        } else if let Some((metric, statistic, value)) = of_plain(&text) {
            fact(plain, metric, &statistic, value);
        }
    }
}

/// `Latencies     [min, mean]    1ms, 2ms`: the metric in small letters, its statistics, their values.
fn of_vegeta(line: &str) -> Option<(String, &str, &str)> {
    let (metric, rest) = line.split_once('[')?;
    let (names, values) = rest.split_once(']')?;
    let plain = !metric.trim().is_empty() && metric.trim().chars().all(|one| one.is_ascii_alphabetic() || one == ' ');
    let counted = names != "code:count";
    (plain && counted && !values.trim().is_empty())
        .then(|| (metric.trim().to_ascii_lowercase().replace(' ', "_"), names, values.trim()))
}

/// `  Slowest:  0.8376 secs`, `  99% in 0.0552 secs` of hey; `    Latency   635.91us    0.89ms  12.92ms   93.69%`, `  99%    1.2ms` of wrk.
fn of_plain(line: &str) -> Option<(&str, String, &str)> {
    let line = line.trim();
    if let Some((metric, value)) = line.split_once(':') {
        let known = ["Total", "Slowest", "Fastest", "Average", "Requests/sec", "Transfer/sec", "Socket errors"];
        return known.contains(&metric).then(|| (metric, "value".to_owned(), value.trim()));
    }
    let mut words = line.split_whitespace();
    match words.next()? {
        "Latency" if words.clone().count() == 4 => Some(("Latency", "mean".to_owned(), words.next()?)),
        share if share.ends_with('%') && share.starts_with(|first: char| first.is_ascii_digit() && first != '0') => {
            let value = line[share.len()..].trim().trim_start_matches("in ");
            let timed = value.starts_with(|first: char| first.is_ascii_digit());
            timed.then(|| ("Latency", format!("p{}", share.trim_end_matches('%')), value))
        }
        _ => None,
    }
}

/// `http_req_duration..........: avg=1ms …`.
fn of_k6(line: &str) -> Option<(&str, &str)> {
    let (metric, values) = line.split_once("..: ").or_else(|| line.split_once(".: "))?;
    let metric = metric.trim_matches([' ', '.', '\u{2713}', '\u{2717}']).trim();
    let plain = !metric.is_empty() && metric.chars().all(|one| one.is_ascii_alphanumeric() || "_{}:".contains(one));
    plain.then_some((metric, values))
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
        // k6 2.x nests the statistics under `values`.
        let statistics = value.get("values").unwrap_or(value);
        for (name, value) in statistics.as_object().into_iter().flatten() {
            if let Some(value) = text(value) {
                push(context, 1, &format!("client/{tool}/{metric}/{name}"), &value, batch);
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
    use super::{FORMAT, of_k6, of_vegeta};
    use crate::form::Sniff;
    use crate::parse::harness::{facts, head, parse_text};

    #[test]
    fn lines_name_a_metric_and_its_statistics() {
        let (metric, names, values) = of_vegeta("Bytes In      [total, mean]    3714690, 3095.57").expect("a line");
        assert_eq!((metric.as_str(), names, values), ("bytes_in", "total, mean", "3714690, 3095.57"));
        assert!(of_vegeta("Status Codes  [code:count]    0:535  200:665").is_none());
        assert_eq!(of_k6("     http_reqs......: 1000    3.3/s"), Some(("http_reqs", "1000    3.3/s")));
        assert!(of_k6("Error: a b: c").is_none());
    }

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
                "client/wrk/Latency/mean=635.91us client/wrk/Latency/p99=1.29ms client/wrk/Socket errors/value=connect 3, read 0, write 0, timeout 5 client/wrk/Requests/sec/value=748868.53",
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
