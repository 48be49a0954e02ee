//! `cilium-dbg metrics list -o json`: the agent's metrics at one moment, without a time.
//!
//! ```text
//! [{"labels":{"method":"GET","path":"/v1/config"},"name":"cilium_agent_api_process_time_seconds","value":0.0045},{"name":"cilium_bpf_ratelimit_dropped_total"}]
//! ```
//!
//! A zero is left out by the agent. A histogram stands as its mean, under its family's name: no series of a scrape has
//! that name, so both cannot be mixed up. The witness is `metrics-list`.

use std::borrow::Cow;

use serde::Deserialize;
use syncline_schema::clock::ClockToken;
use syncline_schema::loss::{NO_TIME, TIME_FROM_MTIME};

use crate::form::batch::SeriesKey;
use crate::form::instant;
use crate::form::json_pairs::Pairs;
use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Line, Reads, Sample, Sniff};
use crate::parse::syntax::metric_line::{labels_json, value as exposed};

/// The agent's own list of its metrics.
pub const FORMAT: Format = Format {
    kind: "cilium-metrics-list",
    title: "The Cilium agent's list of its metrics",
    clock: ClockToken::Node,
    cut: Cut::Whole,
    sniff,
    reads: Reads::Rows(parse),
    sample: r#"[{"labels":{"direction":"EGRESS"},"name":"cilium_forward_count_total","value":1027}]"#,
    recognised: "a JSON array of objects with `name`, `labels` and `value`, whose names begin with `cilium_`; the column names `Metric Labels Value`",
    capture: "kubectl -n kube-system exec ds/cilium -- cilium-dbg metrics list -o json > $(date +%s.%N).json",
    proves: "what the agent had counted, once",
};

#[derive(Deserialize)]
struct Metric<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    labels: Option<Pairs<'a, Text<'a>>>,
    value: Option<f64>,
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Column names of the text form.
fn is_header(line: &[u8]) -> bool {
    let text = String::from_utf8_lossy(line);
    let words: Vec<&str> = text.split_whitespace().collect();
    words == ["Metric", "Labels", "Value"]
}

fn sniff(head: &Head) -> Sniff {
    if head.bytes.split(|byte| *byte == b'\n').take(20).any(is_header) {
        return Sniff::Yes;
    }
    let compact: Vec<u8> = head.bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).take(2000).collect();
    let opens = compact.starts_with(b"[{\"name\":\"cilium_") || compact.starts_with(b"[{\"labels\":{");
    let named = memchr::memmem::find(&compact, b"\"name\":\"cilium_").is_some();
    if opens && named { Sniff::Yes } else { Sniff::No }
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    batch.witness = "metrics-list";
    if !chunk.bytes.trim_ascii_start().starts_with(b"[") {
        return parse_columns(context, chunk, batch);
    }
    let whole = Line { bytes: chunk.bytes, number: chunk.first_line, offset: chunk.offset, ended: true };
    let metrics: Vec<Metric> = match serde_json::from_slice(chunk.bytes) {
        Ok(metrics) => metrics,
        Err(error) => return batch.reject(context, &whole, &format!("expected an array of metrics: {error}")),
    };
    let named = instant::in_name(&context.path);
    let Some(time) = named.or(context.mtime) else {
        batch.record(None);
        return batch.loss(NO_TIME, metrics.len() as u64);
    };
    if named.is_none() {
        batch.loss(TIME_FROM_MTIME, 1);
    }
    for metric in metrics {
        let pairs = metric.labels.map_or_else(Vec::new, |labels| labels.0);
        let labels = match labels_json(pairs.into_iter().map(|(key, Text(value))| (key, value)).collect()) {
            Ok(labels) => labels,
            Err(reason) => {
                batch.reject(context, &whole, reason);
                continue;
            }
        };
        batch.record(Some(time));
        let key = SeriesKey { name: metric.name.into_owned(), labels };
        let series = batch.series(key, whole.number, None);
        let value = metric.value.unwrap_or(0.0);
        batch.samples.push(Sample { series, record: whole.number, time, value });
    }
}

/// `Metric   Labels   Value`: the value is a number, or quantiles: those of a histogram (`p50 / p90 / p99`) or of a summary
/// (`p0(32.36µs) p50(125.3µs)`), each a series with the label `quantile`, in seconds where they are durations.
fn parse_columns(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    let named = instant::in_name(&context.path);
    let time = named.or(context.mtime);
    match (named, time) {
        (None, Some(_)) => batch.loss(TIME_FROM_MTIME, 1),
        (None, None) => batch.loss(NO_TIME, 1),
        _ => {}
    }
    for line in chunk.lines().filter(|line| !line.bytes.trim_ascii().is_empty() && !is_header(line.bytes)) {
        let text = line.text();
        let Some((name, pairs, values)) = columns(text.trim()) else {
            batch.reject(context, &line, "expected metric, labels and value");
            continue;
        };
        batch.record(time);
        let Some(time) = time else { continue };
        for (quantile, value) in values {
            let mut pairs = pairs.clone();
            pairs.extend(quantile.map(|quantile| (Cow::Borrowed("quantile"), quantile)));
            let Ok(labels) = labels_json(pairs) else {
                batch.reject(context, &line, "expected labels with names of their own");
                break;
            };
            let series = batch.series(SeriesKey { name: name.to_owned(), labels }, line.number, None);
            batch.samples.push(Sample { series, record: line.number, time, value });
        }
    }
}

/// Labels and values of a line; the quantile is null for a plain number.
type Columns<'t> = (&'t str, Vec<(Cow<'t, str>, Cow<'t, str>)>, Vec<(Option<Cow<'t, str>>, f64)>);

fn columns(text: &str) -> Option<Columns<'_>> {
    let (name, rest) = text.split_once(' ')?;
    let rest = rest.trim();
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':') {
        return None;
    }
    // Two blanks or more stand ahead of the value, where there are labels.
    let (labels, value) = match rest.rfind("  ") {
        Some(at) => (rest[..at].trim(), rest[at..].trim()),
        None => ("", rest),
    };
    Some((name, pairs(labels)?, values(value)?))
}

/// `method="GET" path="/v1"`, and without quotes (from 1.16 on): there a word without `=` goes on with the value ahead of it.
fn pairs(labels: &str) -> Option<Vec<(Cow<'_, str>, Cow<'_, str>)>> {
    let mut found: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::new();
    let mut left = labels;
    while !left.is_empty() {
        let word = left.split(' ').next().unwrap_or_default();
        match word.split_once('=') {
            Some((key, value)) if value.starts_with('"') => {
                let from = key.len() + 2;
                let length = left[from..].find('"')?;
                found.push((Cow::Borrowed(key), Cow::Borrowed(&left[from..from + length])));
                left = left[from + length + 1..].trim_start();
                continue;
            }
            Some((key, value)) if !key.is_empty() && !key.starts_with(|first: char| first.is_ascii_digit()) => {
                found.push((Cow::Borrowed(key), Cow::Borrowed(value)));
            }
            _ => found.last_mut()?.1.to_mut().push_str(&format!(" {word}")),
        }
        left = left[word.len()..].trim_start();
    }
    Some(found)
}

/// Quantiles of a summary at most: each of them has all labels of its line.
const MOST_QUANTILES: usize = 100;

fn values(text: &str) -> Option<Vec<(Option<Cow<'_, str>>, f64)>> {
    if let Some(number) = exposed(text.as_bytes()) {
        return Some(vec![(None, number)]);
    }
    if text.contains(" / ") {
        let parts: Vec<&str> = text.split(" / ").map(str::trim).collect();
        let names = ["0.5", "0.9", "0.99"];
        let all = parts.iter().zip(names).map(|(part, name)| Some((Some(Cow::Borrowed(name)), amount(part)?)));
        return all.collect::<Option<Vec<_>>>().filter(|all| all.len() == parts.len());
    }
    // `p0(32.36µs) p25(91.09µs)`
    let part = |word: &str| {
        let (percent, value) = word.strip_prefix('p')?.strip_suffix(')')?.split_once('(')?;
        let share = percent.parse::<f64>().ok().filter(|percent| (0.0..=100.0).contains(percent))? / 100.0;
        Some((Some(Cow::Owned(share.to_string())), amount(value)?))
    };
    let parts = text.split(' ').filter(|word| !word.is_empty()).take(MOST_QUANTILES + 1).map(part);
    parts.collect::<Option<Vec<_>>>().filter(|all| (1..=MOST_QUANTILES).contains(&all.len()))
}

/// `5.5s`, `2.125ms`, `1m3s` in seconds; `12k`, `1.5MB`, `3MiB` in ones and bytes; a plain number.
fn amount(text: &str) -> Option<f64> {
    if let Some(number) = exposed(text.as_bytes()) {
        return Some(number);
    }
    if let Some(duration) = instant::go_duration(text) {
        return Some(duration as f64 / 1e9);
    }
    let digits = text.trim_end_matches(char::is_alphabetic).trim_end();
    let number: f64 = digits.parse().ok()?;
    let unit = text[digits.len()..].trim().trim_end_matches('B');
    let factor = match unit {
        "" => 1.0,
        "n" => 1e-9,
        "u" | "\u{b5}" => 1e-6,
        "m" => 1e-3,
        "k" | "K" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        _ => return None,
    };
    Some(number * factor)
}

#[cfg(test)]
mod tests {
    #[test]
    fn quantiles_are_shares_and_as_many_as_a_summary_has() {
        let line = |value: &str| format!("Metric   Labels   Value\ncilium_a    x=\"y\"    {value}\n");
        let labels = |value: &str| {
            let batch = parse_text(&FORMAT, &line(value));
            (batch.series.len(), batch.rejected)
        };
        assert_eq!(labels("p0(1s) p50(2ms) p100(3s)"), (3, 0));
        let (many, digits) = ("p50(1s) ".repeat(101), format!("p{}(1s)", "9".repeat(70_000)));
        for value in ["pNaN(1s)", "p-1(1s)", "p101(1s)", "p1e308(1s)", "pinf(1s)", "p(1s)", "p50()", &many, &digits] {
            assert_eq!(labels(value), (0, 1), "{}", &value[..value.len().min(20)]);
        }
        // A number of digits without end is as large as it is.
        let shown = format!("p0.{}5(1s)", "0".repeat(70_000));
        assert_eq!(parse_text(&FORMAT, &line(&shown)).series[0].key.labels, r#"{"quantile":"0","x":"y"}"#);
    }

    #[test]
    fn labels_are_read_with_quotes_and_without() {
        let text = "Metric                     Labels                                             Value\ncilium_drop_count_total    direction=EGRESS reason=Unsupported L3 protocol    32.000000\ncilium_x_total    direction=\"EGRESS\" reason=\"Invalid mac\"    1.000000\ncilium_y_total    path=/v1/endpoint code=200    2.000000\n";
        let batch = parse_text(&FORMAT, text);
        let labels: Vec<&str> = batch.series.iter().map(|series| series.key.labels.as_str()).collect();
        assert_eq!(
            labels,
            [
                r#"{"direction":"EGRESS","reason":"Unsupported L3 protocol"}"#,
                r#"{"direction":"EGRESS","reason":"Invalid mac"}"#,
                r#"{"code":"200","path":"/v1/endpoint"}"#
            ]
        );
    }

    #[test]
    fn columns_are_read() {
        let text = "Metric                  Labels                        Value\ncilium_api_seconds      method=\"GET\" path=\"/v1\"       4.5ms / 5ms / 10ms\ncilium_map_ops_total    map_name=\"lb4_backends_v3\"    12.000000\ncilium_unreachable                                    0.000000\n";
        let batch = parse_text(&FORMAT, text);
        assert_eq!((batch.records, batch.rejected, batch.samples.len()), (3, 0, 5));
        assert_eq!(batch.series[0].key.labels, r#"{"method":"GET","path":"/v1","quantile":"0.5"}"#);
        assert_eq!(batch.samples[2].value, 0.01);
        assert_eq!(batch.series[3].key.labels, r#"{"map_name":"lb4_backends_v3"}"#);
        assert_eq!((FORMAT.sniff)(&head("x", text.as_bytes())), Sniff::Yes);
    }

    use super::{FORMAT, columns};
    use crate::form::Sniff;
    use crate::parse::harness::{files, head, parse_text};

    #[test]
    fn labels_without_quotes_and_quantiles_in_any_unit_are_read() {
        let said = |text: &str| {
            columns(text).map(|(_, pairs, values)| {
                let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
                let values: Vec<String> =
                    values.iter().map(|(name, value)| format!("{}:{value}", name.as_deref().unwrap_or("-"))).collect();
                format!("{} | {}", pairs.join(","), values.join(","))
            })
        };
        for (text, expected) in [
            (
                "cilium_x_seconds   method=GET path=/v1 error=not found   5.5s / 9.1s / 9.91s",
                "method=GET,path=/v1,error=not found | 0.5:5.5,0.9:9.1,0.99:9.91",
            ),
            ("cilium_x_seconds      437.5ms / 2.125s / 1m3s", " | 0.5:0.4375,0.9:2.125,0.99:63"),
            ("go_gc_duration_seconds   p0(32.5µs) p100(2.125ms)", " | 0:0.0000325,1:0.002125"),
            ("cilium_bytes   a=b   1k / 2kB / 1Ki", "a=b | 0.5:1000,0.9:2000,0.99:1024"),
            ("cilium_gauge   NaN", " | -:NaN"),
        ] {
            assert_eq!(said(text).as_deref(), Some(expected), "{text}");
        }
        for text in ["cilium_x", "cilium_x   a=b   5.5q", "not a metric", "cilium_x   1s / 2s / 3s / 4s"] {
            assert_eq!(said(text), None, "{text}");
        }
    }

    #[test]
    fn takes_only_its_own_files() {
        for (path, bytes) in files(&["captures/cilium-scale-up-1".to_owned()]) {
            let expected = if path.contains("cilium-metrics-list") { Sniff::Yes } else { Sniff::No };
            assert_eq!((FORMAT.sniff)(&head(&path, &bytes)), expected, "{path}");
            if expected == Sniff::Yes {
                let batch = parse_text(&FORMAT, &String::from_utf8_lossy(&bytes));
                assert!(batch.rejected == 0 && batch.samples.len() > 100, "{path}");
            }
        }
    }

    #[test]
    fn a_zero_is_left_out() {
        let batch = parse_text(
            &FORMAT,
            "[{\"name\":\"cilium_a\"},{\"labels\":{\"b\":\"c\"},\"name\":\"cilium_a\",\"value\":2.5}]",
        );
        let values: Vec<f64> = batch.samples.iter().map(|sample| sample.value).collect();
        assert_eq!(values, [0.0, 2.5]);
    }
}
