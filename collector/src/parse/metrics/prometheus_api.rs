//! Answers of Prometheus' HTTP API (`query`, `query_range`, and what Thanos, Mimir or VictoriaMetrics answer alike).
//!
//! ```text
//! {"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"up","job":"a"},"values":[[1795408968.164,"1"]]}]}}
//! ```
//!
//! Read: matrix and vector answers to a plain selector, one answer a file. The answer to an expression
//! (`sum(rate(…))`: no `__name__`; a scalar; a string) is no sample of anything: it is counted, and a fact says so.
//! Native histograms come with the bounds of their buckets; the schema is told from them. What the other endpoints answer (targets, metadata,
//! rules, alerts, series, labels, the state of the server) is `prometheus_facts`'; errors, warnings and infos become facts. A
//! result without its envelope (`jq .data.result`) is read alike.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use syncline_schema::clock::ClockToken;

use crate::form::batch::SeriesKey;
use crate::form::effort::Effort;
use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Line, Reads, Sample, Sniff};
use crate::parse::metrics::prometheus_facts;
use crate::parse::syntax::metric_line::{labels_json, value};
use syncline_tsdb::native_histogram::{Bounded, NativeHistogram};

/// Answers of the HTTP API.
pub const FORMAT: Format = Format {
    kind: "prometheus-api",
    title: "Answer of Prometheus' HTTP API",
    clock: ClockToken::Prometheus,
    cut: Cut::Whole,
    sniff,
    reads: Reads::Rows(parse),
    sample: r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"up","job":"a"},"values":[[1795408968.164,"1"]]}]}}"#,
    recognised: "a JSON object with `status` and `data`, as the API answers",
    capture: "curl -sG http://prometheus:9090/api/v1/query_range --data-urlencode query=up -d start=… -d end=… -d step=1",
    proves: "what Prometheus had, at the times that the query asked for",
};

#[derive(Deserialize)]
struct Answer<'a> {
    // Of an answer in sorted keys that is cut it stands in the last piece only.
    #[serde(borrow, default)]
    status: Cow<'a, str>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow, rename = "errorType")]
    error_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    error: Option<Cow<'a, str>>,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default)]
    infos: Vec<String>,
}

#[derive(Deserialize)]
struct Data<'a> {
    // As the status.
    #[serde(borrow, default, rename = "resultType")]
    result_type: Cow<'a, str>,
    #[serde(borrow)]
    result: &'a RawValue,
}

#[derive(Deserialize)]
struct Series<'a> {
    #[serde(borrow)]
    metric: Labels<'a>,
    #[serde(borrow, default)]
    values: Vec<Point<'a>>,
    #[serde(borrow)]
    value: Option<Point<'a>>,
    #[serde(borrow, default)]
    histograms: Vec<NativePoint<'a>>,
    #[serde(borrow)]
    histogram: Option<NativePoint<'a>>,
}

/// Seconds since the epoch, and a native histogram.
#[derive(Deserialize)]
struct NativePoint<'a>(f64, #[serde(borrow)] Native<'a>);

#[derive(Deserialize)]
struct Native<'a> {
    #[serde(borrow)]
    count: Cow<'a, str>,
    #[serde(borrow)]
    sum: Cow<'a, str>,
    #[serde(borrow, default)]
    buckets: Vec<NativeBucket<'a>>,
}

/// Which bounds belong to the bucket, the bounds, and the count.
#[derive(Deserialize)]
struct NativeBucket<'a>(
    #[expect(dead_code, reason = "tells nothing that the bounds do not")] u8,
    #[serde(borrow)] Cow<'a, str>,
    #[serde(borrow)] Cow<'a, str>,
    #[serde(borrow)] Cow<'a, str>,
);

impl Native<'_> {
    fn histogram(&self) -> Option<NativeHistogram> {
        let number = |text: &str| value(text.as_bytes());
        let buckets = self.buckets.iter().map(|NativeBucket(_, lower, upper, count)| {
            Some(Bounded { lower: number(lower)?, upper: number(upper)?, count: number(count)? })
        });
        let buckets = buckets.collect::<Option<Vec<Bounded>>>()?;
        Some(NativeHistogram::of_bounds(&buckets, number(&self.count)?, number(&self.sum)?))
    }
}

/// Seconds since the epoch, and the value as text.
#[derive(Deserialize)]
struct Point<'a>(f64, #[serde(borrow)] Cow<'a, str>);

/// Labels in the order of the answer.
struct Labels<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Labels<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pairs = crate::form::json_pairs::Pairs::<Text>::deserialize(deserializer)?;
        Ok(Labels(pairs.0.into_iter().map(|(key, Text(text))| (key, text)).collect()))
    }
}

/// Text that borrows where it can.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn sniff(head: &Head) -> Sniff {
    let start: Vec<u8> = head.bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).take(2000).collect();
    let has = |mark: &str| memchr::memmem::find(&start, mark.as_bytes()).is_some();
    let status = start.starts_with(b"{\"status\":\"success\"") || start.starts_with(b"{\"status\":\"error\"");
    let result = ["matrix", "vector", "scalar", "string"].iter().any(|kind| has(&format!("\"resultType\":\"{kind}\"")));
    match (status, result) {
        (true, true) => Sniff::Yes,
        (false, true) if start.starts_with(b"{\"data\":{\"result") => Sniff::Yes,
        (false, false) if start.starts_with(b"{\"data\":{\"result\":[{\"metric\":{") => Sniff::Yes,
        (true, false) if has("\"resultType\":") => Sniff::No,
        (true, false) if has("\"data\":") || has("\"errorType\":") => Sniff::Yes,
        // A result without its envelope: what `jq .data.result` leaves.
        (false, _) if start.starts_with(b"[{\"metric\":{") && (has("\"value\":[") || has("\"values\":[[")) => {
            Sniff::Yes
        }
        // Keys in the order of the alphabet: the status stands at the end.
        (false, false) if start.starts_with(b"{\"data\":") => {
            let end: Vec<u8> =
                head.bytes.iter().rev().copied().filter(|byte| !byte.is_ascii_whitespace()).take(20).collect();
            let end: Vec<u8> = end.into_iter().rev().collect();
            if end.ends_with(b"\"status\":\"success\"}") { Sniff::Yes } else { Sniff::No }
        }
        _ => Sniff::No,
    }
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    batch.witness = "api";
    let whole = Line { bytes: chunk.bytes, number: chunk.first_line, offset: chunk.offset, ended: !chunk.truncated };
    let text = match std::str::from_utf8(chunk.bytes) {
        Ok(text) => text,
        Err(_) => return salvage(context, &whole, "expected UTF-8", batch),
    };
    if text.trim_start().starts_with('[') {
        return bare(context, chunk, &whole, text, batch);
    }
    match serde_json::from_str::<Answer>(text) {
        Ok(found) => answer(context, chunk, &whole, found, batch),
        Err(_) => stream(context, chunk, text, batch),
    }
}

/// Answers one after the other, whatever white space stands where. A damaged one costs itself: the next one that begins a line
/// is read again.
fn stream(context: &Context, chunk: &Chunk, text: &str, batch: &mut Batch) {
    let bytes = text.as_bytes();
    let (mut at, mut number) = (0, chunk.first_line);
    let mut effort = Effort::of(bytes.len());
    while let Some(blank) = bytes[at..].iter().position(|byte| !byte.is_ascii_whitespace()) {
        number += memchr::memchr_iter(b'\n', &bytes[at..at + blank]).count() as i64;
        let start = at + blank;
        let mut documents = serde_json::Deserializer::from_str(&text[start..]).into_iter::<&RawValue>();
        let end = match documents.next() {
            Some(Ok(_)) => start + documents.byte_offset(),
            Some(Err(error)) if !effort.spend_on(&bytes[start..], &error) => {
                let rest = Line { bytes: &bytes[start..], number, offset: chunk.offset + start as i64, ended: true };
                return batch.reject(context, &rest, GIVEN_UP);
            }
            _ => memchr::memmem::find(&bytes[start..], b"\n{").map_or(bytes.len(), |length| start + length + 1),
        };
        let part = &text[start..end];
        let own = Chunk {
            bytes: part.as_bytes(),
            first_line: number,
            offset: chunk.offset + start as i64,
            first: chunk.first && start == 0,
            last: chunk.last && end == bytes.len(),
            truncated: chunk.truncated && end == bytes.len(),
            around: chunk.around,
        };
        let whole = Line { bytes: own.bytes, number, offset: own.offset, ended: !own.truncated };
        match serde_json::from_str::<Answer>(part) {
            Ok(found) => answer(context, &own, &whole, found, batch),
            Err(error) => salvage(context, &whole, &format!("expected an answer of the HTTP API: {error}"), batch),
        }
        number += memchr::memchr_iter(b'\n', part.as_bytes()).count() as i64;
        at = end;
    }
}

/// One answer.
fn answer(context: &Context, chunk: &Chunk, whole: &Line, answer: Answer, batch: &mut Batch) {
    for (key, words) in [("prometheus-api/warning", &answer.warnings), ("prometheus-api/info", &answer.infos)] {
        words.iter().for_each(|word| batch.fact(context, whole.number, key, word.as_str()));
    }
    let is_begun = answer.status.is_empty() && !chunk.last;
    if answer.status != "success" && !is_begun {
        batch.record(None);
        let reason = [answer.error_type, answer.error].into_iter().flatten().collect::<Vec<_>>().join(": ");
        return batch.fact(context, whole.number, "prometheus-api/error", &reason);
    }
    let data: Option<Data> = answer.data.and_then(|data| serde_json::from_str(data.get()).ok());
    let Some(data) = data else {
        return prometheus_facts::of_data(context, whole.number, answer.data, batch);
    };
    match &*data.result_type {
        "matrix" | "vector" => {}
        "" if is_begun => {}
        other => {
            batch.record(None);
            return batch.fact(
                context,
                whole.number,
                "prometheus-api/expression",
                &format!("{}: a {other}", context.path),
            );
        }
    }
    let items: Vec<&RawValue> = match serde_json::from_str(data.result.get()) {
        Ok(items) => items,
        Err(error) => return batch.reject(context, whole, &format!("expected an array of series: {error}")),
    };
    all(context, chunk, items, batch);
}

/// An array of series without its envelope.
fn bare(context: &Context, chunk: &Chunk, whole: &Line, text: &str, batch: &mut Batch) {
    match serde_json::from_str::<Vec<&RawValue>>(text) {
        Ok(items) if items.is_empty() => batch.reject(context, whole, "expected a series with metric and values"),
        Ok(items) => all(context, chunk, items, batch),
        Err(error) => salvage(context, whole, &format!("expected an array of series: {error}"), batch),
    }
}

/// All series of a result.
fn all(context: &Context, chunk: &Chunk, items: Vec<&RawValue>, batch: &mut Batch) {
    let mut expressions = 0;
    let (mut at, mut number) = (0, chunk.first_line);
    for item in items {
        let bytes = item.get().as_bytes();
        // Where the item stands in the file: its line is what rows refer to.
        let start = (bytes.as_ptr() as usize).saturating_sub(chunk.bytes.as_ptr() as usize).min(chunk.bytes.len());
        number += memchr::memchr_iter(b'\n', &chunk.bytes[at.min(start)..start]).count() as i64;
        at = start;
        let line = Line { bytes, number, offset: chunk.offset + start as i64, ended: true };
        if !series(context, &line, item.get(), batch) {
            expressions += 1;
        }
    }
    if expressions > 0 {
        let said = format!("{}: {expressions} series without a metric name", context.path);
        batch.fact(context, chunk.first_line, "prometheus-api/expression", &said);
    }
}

/// Reads one series; false when it is part of an expression's answer.
fn series(context: &Context, line: &Line, text: &str, batch: &mut Batch) -> bool {
    let found: Series = match serde_json::from_str(text) {
        Ok(found) => found,
        Err(error) => {
            batch.reject(context, line, &format!("expected a series with metric and values: {error}"));
            return true;
        }
    };
    let mut labels = found.metric.0;
    let Some(name) = labels.iter().position(|(key, _)| key == "__name__").map(|place| labels.swap_remove(place).1)
    else {
        batch.record(None);
        return false;
    };
    let labels = match labels_json(labels) {
        Ok(labels) => labels,
        Err(reason) => {
            batch.reject(context, line, reason);
            return true;
        }
    };
    let native: Vec<&NativePoint> = found.histograms.iter().chain(&found.histogram).collect();
    if found.values.is_empty() && found.value.is_none() && native.is_empty() {
        return true;
    }
    let index = batch.series(SeriesKey { name: name.into_owned(), labels }, line.number, None);
    for NativePoint(seconds, native) in native {
        let milliseconds = (seconds * 1e3).round();
        match native.histogram() {
            Some(histogram) if milliseconds.abs() < 9e12 => {
                let time = milliseconds as i64 * 1_000_000;
                batch.record(Some(time));
                let row = histogram.row(index, line.number, time);
                batch.push(&row);
            }
            _ => batch.reject(context, line, "expected [seconds, {\"count\", \"sum\", \"buckets\"}]"),
        }
    }
    for Point(seconds, text) in found.values.iter().chain(&found.value) {
        // Prometheus keeps milliseconds; a double of seconds is good to a quarter of a microsecond.
        let milliseconds = (seconds * 1e3).round();
        match value(text.as_bytes()) {
            Some(value) if milliseconds.abs() < 9e12 => {
                let time = milliseconds as i64 * 1_000_000;
                batch.record(Some(time));
                batch.samples.push(Sample { series: index, record: line.number, time, value });
            }
            _ => batch.reject(context, line, "expected [seconds, \"value\"]"),
        }
    }
    true
}

/// Why what follows is not looked at.
const GIVEN_UP: &str = "expected answers of the HTTP API: too many series that never end, what follows was not read";

/// The series of a damaged answer that are whole by themselves; the rest is refused.
fn salvage(context: &Context, whole: &Line, reason: &str, batch: &mut Batch) {
    let bytes = whole.bytes;
    let (mut at, mut number, mut kept) = (0, whole.number, 0);
    let mut effort = Effort::of(bytes.len());
    // Where the last series ended: another one does not begin within it.
    let mut end = 0;
    for key in memchr::memmem::find_iter(bytes, b"\"metric\"") {
        if key < end {
            continue;
        }
        let blank = bytes[..key].iter().rev().take_while(|byte| byte.is_ascii_whitespace()).count();
        let Some(start) = (key - blank).checked_sub(1).filter(|start| bytes[*start] == b'{') else { continue };
        let mut values = serde_json::Deserializer::from_slice(&bytes[start..]).into_iter::<&RawValue>();
        let item = match values.next() {
            Some(Ok(item)) => item,
            Some(Err(error)) if !effort.spend_on(&bytes[start..], &error) => {
                let rest = Line { bytes: &bytes[start..], number, offset: whole.offset + start as i64, ended: true };
                batch.reject(context, &rest, GIVEN_UP);
                break;
            }
            _ => continue,
        };
        end = start + values.byte_offset();
        number += memchr::memchr_iter(b'\n', &bytes[at..start]).count() as i64;
        at = start;
        let line = Line { bytes: item.get().as_bytes(), number, offset: whole.offset + start as i64, ended: true };
        kept += usize::from(series(context, &line, item.get(), batch));
    }
    batch.reject(context, whole, &format!("{reason} ({kept} whole series in it were read)"));
}

#[cfg(test)]
mod tests {
    use super::FORMAT;
    use crate::form::Sniff;
    use crate::parse::harness::{files, head, parse_text};

    #[test]
    fn series_that_never_end_are_given_up_and_those_ahead_are_kept() {
        let series = r#"{"metric":{"__name__":"a"},"values":[[1,"1"]]}"#;
        let answer = |rest: &str| {
            format!("{{\"status\":\"success\",\"data\":{{\"resultType\":\"matrix\",\"result\":[{series}{rest}")
        };
        for text in [
            answer(&format!(",{}", "{\"metric\":".repeat(100_000))),
            format!("{}\n{}", answer("]}}"), "{\"data\":[\n".repeat(100_000)),
        ] {
            let batch = parse_text(&FORMAT, &text);
            assert_eq!(batch.samples.len(), 1);
            assert!((1..40).contains(&batch.rejected), "{}", batch.rejected);
        }
        // Series within a series are part of it.
        let nested = format!("{}{}x", "{\"metric\":".repeat(100), "}".repeat(100));
        let batch = parse_text(&FORMAT, &answer(&format!(",{nested}")));
        assert_eq!(batch.samples.len(), 1);
    }

    #[test]
    fn reads_selectors_only() {
        let text = "{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\",\"result\":[\n{\"metric\":{\"__name__\":\"up\",\"job\":\"a\"},\"values\":[[1795408968.164,\"1\"],[1795408969.164,\"NaN\"]]},\n{\"metric\":{\"job\":\"a\"},\"values\":[[1,\"2\"]]}]}}";
        let batch = parse_text(&FORMAT, text);
        assert_eq!((batch.samples.len(), batch.series.len(), batch.records, batch.rejected), (2, 1, 3, 0));
        assert_eq!((batch.samples[0].time, batch.samples[0].record), (1_795_408_968_164_000_000, 2));
        assert_eq!(batch.series[0].key.labels, r#"{"job":"a"}"#);
    }

    #[test]
    fn answers_in_a_row_are_read_whatever_stands_between_them() {
        let one = |time: u64| {
            format!(
                "{{\n \"status\": \"success\",\n \"data\": {{\"resultType\": \"vector\", \"result\": [\n {{ \"metric\": {{\"__name__\": \"up\"}}, \"value\": [{time}, \"1\"]}}]}}}}"
            )
        };
        for between in ["", "\n", "\n\n  ", "\r\n"] {
            let text = [one(1), one(2), one(3)].join(between);
            let batch = parse_text(&FORMAT, &text);
            assert_eq!((batch.samples.len(), batch.rejected), (3, 0), "{between:?}");
        }
        let broken = format!("{}\n{}\n{}\n", one(1), &one(2)[..60], one(3));
        let batch = parse_text(&FORMAT, &broken);
        assert_eq!((batch.samples.len(), batch.rejected), (2, 1));
        assert_eq!(batch.samples[1].record, 11);
    }

    #[test]
    fn reads_native_histograms() {
        let text = r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"h"},"histograms":[[1795408968.164,{"count":"3","sum":"4.5","buckets":[[3,"-0.1","0.1","1"],[0,"1","2","2"]]}],[1795408969.164,{"count":"x","sum":"4.5"}]]}]}}"#;
        let mut batch = parse_text(&FORMAT, text);
        assert_eq!((batch.samples.len(), batch.series.len(), batch.records, batch.rejected), (0, 1, 1, 1));
        let tables = batch.take_tables();
        assert_eq!(
            tables.iter().map(|table| (table.table, table.rows())).collect::<Vec<_>>(),
            [("histograms", 1), ("rejects", 1)]
        );
    }

    #[test]
    fn damaged_answers_are_refused() {
        for text in
            ["{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\",\"result\":[{\"metric\":{}", "[]", "\u{1}"]
        {
            assert_eq!(parse_text(&FORMAT, text).rejected, 1, "{text}");
        }
    }

    #[test]
    fn takes_every_answer_of_a_capture() {
        for folder in ["captures/cilium-scale-up-1/prometheus", "corpus/prom_api_json"] {
            for (path, bytes) in files(&[folder.to_owned()]) {
                if !path.ends_with(".json")
                    || !path.starts_with("captures/") && !bytes.windows(12).any(|text| text == b"\"resultType\"")
                {
                    continue;
                }
                assert_eq!((FORMAT.sniff)(&head(&path, &bytes)), Sniff::Yes, "{path}");
                assert_eq!(parse_text(&FORMAT, &String::from_utf8_lossy(&bytes)).rejected, 0, "{path}");
            }
        }
    }
}
