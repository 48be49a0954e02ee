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
use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Line, Reads, Sample, Sniff};
use crate::parse::syntax::json_pairs::Pairs;
use crate::parse::syntax::metric_line::labels_json;

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

/// `Metric   Labels   Value`: the value is a number, or the quantiles of a histogram as durations, of which none is a sample.
fn parse_columns(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    let named = instant::in_name(&context.path);
    let time = named.or(context.mtime);
    match (named, time) {
        (None, Some(_)) => batch.loss(TIME_FROM_MTIME, 1),
        (None, None) => batch.loss(NO_TIME, 1),
        _ => {}
    }
    for line in chunk.lines().filter(|line| !line.bytes.trim_ascii().is_empty() && !is_header(line.bytes)) {
        let text = String::from_utf8_lossy(line.bytes);
        let text = text.trim();
        let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
        let (labels, value) = match rest.rfind("  ") {
            Some(at) => (rest[..at].trim(), rest[at..].trim()),
            None => ("", rest.trim()),
        };
        let pairs = pairs(labels);
        let plausible = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':');
        let labels = labels_json(pairs).ok().filter(|_| plausible && !value.is_empty());
        let Some(labels) = labels else {
            batch.reject(context, &line, "expected metric, labels and value");
            continue;
        };
        batch.record(time);
        if let (Ok(value), Some(time)) = (value.parse::<f64>(), time) {
            let series = batch.series(SeriesKey { name: name.to_owned(), labels }, line.number, None);
            batch.samples.push(Sample { series, record: line.number, time, value });
        }
    }
}

/// `direction="EGRESS" reason="…"`, and as newer agents print it `direction=EGRESS reason=Unsupported L3 protocol`: a value ends
/// where the next word with `=` begins.
fn pairs(labels: &str) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
    let key = |word: &str| {
        let key = word.split_once('=').map_or("", |(key, _)| key);
        let name = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        !key.is_empty() && name && !key.as_bytes()[0].is_ascii_digit()
    };
    let mut found: Vec<(String, String)> = Vec::new();
    for word in labels.split(' ') {
        let in_quotes =
            found.last().is_some_and(|(_, value)| value.starts_with('"') && (value.len() < 2 || !value.ends_with('"')));
        match found.last_mut() {
            Some((_, value)) if in_quotes || !key(word) => {
                value.push(' ');
                value.push_str(word);
            }
            _ => {
                if let Some((key, value)) = word.split_once('=') {
                    found.push((key.to_owned(), value.to_owned()));
                }
            }
        }
    }
    let plain = |value: String| match value.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')) {
        Some(inner) => inner.to_owned(),
        None => value.trim_end().to_owned(),
    };
    found.into_iter().map(|(key, value)| (Cow::Owned(key), Cow::Owned(plain(value)))).collect()
}

#[cfg(test)]
mod tests {
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
        assert_eq!((batch.records, batch.rejected, batch.samples.len()), (3, 0, 2));
        assert_eq!(batch.series[0].key.labels, r#"{"map_name":"lb4_backends_v3"}"#);
        assert_eq!((FORMAT.sniff)(&head("x", text.as_bytes())), Sniff::Yes);
    }

    use super::FORMAT;
    use crate::form::Sniff;
    use crate::parse::harness::{files, head, parse_text};

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
