//! The HTTP API's JSON: `{"status":"success","data":{"resultType":…,"result":[…]}}`.

use std::fmt::Write;

use rayon::prelude::*;

use crate::answer::{Answer, EvalError, MatrixSeries, SampleValue, Value};
use crate::histogram::Histogram;
use crate::labels::Labels;
use crate::number::{format_float, format_json_float, format_json_number, format_time, write_json_float, write_time};
use crate::syntax::ParseError;

/// An answer as the HTTP API gives it.
pub fn to_json(answer: &Answer) -> String {
    let mut out = String::from(r#"{"status":"success","data":{"resultType":"#);
    match &answer.value {
        Value::Scalar { time, value } => {
            let _ = write!(
                out,
                r#""scalar","result":[{},"{}"]"#,
                format_json_number(*time as f64 / 1000.0),
                format_float(*value)
            );
        }
        Value::String { time, text } => {
            let _ = write!(out, r#""string","result":[{},"#, format_json_number(*time as f64 / 1000.0));
            write_string(&mut out, text);
            out.push(']');
        }
        Value::Vector(elements) => {
            out.push_str(r#""vector","result":["#);
            for (index, element) in elements.iter().enumerate() {
                separate(&mut out, index);
                out.push_str(r#"{"metric":"#);
                write_labels(&mut out, &element.labels);
                match &element.value {
                    SampleValue::Float(value) => {
                        out.push_str(r#","value":"#);
                        write_float_point(&mut out, element.time, *value);
                    }
                    SampleValue::Histogram(histogram) => {
                        out.push_str(r#","histogram":"#);
                        write_histogram_point(&mut out, element.time, histogram);
                    }
                }
                out.push('}');
            }
            out.push(']');
        }
        Value::Matrix(series) => {
            out.push_str(r#""matrix","result":["#);
            let points: usize = series.iter().map(|one| one.floats.len() + one.histograms.len()).sum();
            let parts = if points < MANY { 1 } else { 4 * rayon::current_num_threads() };
            let parts = series.par_chunks(series.len().div_ceil(parts).max(1)).map(|some| {
                let mut out = String::new();
                for (index, one) in some.iter().enumerate() {
                    separate(&mut out, index);
                    write_series(&mut out, one);
                }
                out
            });
            for (index, part) in parts.collect::<Vec<String>>().into_iter().enumerate() {
                separate(&mut out, index);
                out.push_str(&part);
            }
            out.push(']');
        }
    }
    out.push('}');
    write_list(&mut out, "warnings", &answer.warnings);
    write_list(&mut out, "infos", &answer.infos);
    out.push('}');
    out
}

/// Points of a matrix from which several threads write it.
const MANY: usize = 4_096;

fn write_series(out: &mut String, one: &MatrixSeries) {
    out.push_str(r#"{"metric":"#);
    write_labels(out, &one.labels);
    if !one.floats.is_empty() {
        out.push_str(r#","values":["#);
        for (index, (time, value)) in one.floats.iter().enumerate() {
            separate(out, index);
            write_float_point(out, *time, *value);
        }
        out.push(']');
    }
    if !one.histograms.is_empty() {
        out.push_str(r#","histograms":["#);
        for (index, (time, histogram)) in one.histograms.iter().enumerate() {
            separate(out, index);
            write_histogram_point(out, *time, histogram);
        }
        out.push(']');
    }
    out.push('}');
}

/// A parse error as the HTTP API gives it.
pub fn parse_error_to_json(error: &ParseError) -> String {
    error_to_json("bad_data", &format!("invalid parameter \"query\": {error}"))
}

/// An evaluation error as the HTTP API gives it.
pub fn eval_error_to_json(error: &EvalError) -> String {
    let kind = match error {
        EvalError::BadData(_) => "bad_data",
        EvalError::Execution(_) => "execution",
        EvalError::Timeout => "timeout",
    };
    error_to_json(kind, &error.to_string())
}

/// Any error in the HTTP API's form; `kind` is `bad_data`, `execution`, …
pub fn error_to_json(kind: &str, message: &str) -> String {
    let mut out = format!(r#"{{"status":"error","errorType":"{kind}","error":"#);
    write_string(&mut out, message);
    out.push('}');
    out
}

fn separate(out: &mut String, index: usize) {
    if index > 0 {
        out.push(',');
    }
}

/// The most warnings, and the most infos, that the API lists.
const MOST_NOTES: usize = 10;

fn write_list(out: &mut String, key: &str, texts: &[String]) {
    if texts.is_empty() {
        return;
    }
    let _ = write!(out, r#","{key}":["#);
    for (index, text) in texts.iter().take(MOST_NOTES).enumerate() {
        separate(out, index);
        write_string(out, text);
    }
    if let Some(more) = texts.len().checked_sub(MOST_NOTES).filter(|more| *more > 0) {
        separate(out, MOST_NOTES);
        write_string(out, &format!("{more} more {} annotations omitted", key.trim_end_matches('s')));
    }
    out.push(']');
}

fn write_labels(out: &mut String, labels: &Labels) {
    out.push('{');
    for (index, (name, value)) in labels.pairs().iter().enumerate() {
        separate(out, index);
        write_string(out, name);
        out.push(':');
        write_string(out, value);
    }
    out.push('}');
}

fn write_float_point(out: &mut String, time: i64, value: f64) {
    out.push('[');
    write_time(out, time);
    out.push_str(",\"");
    write_json_float(out, value);
    out.push_str("\"]");
}

fn write_histogram_point(out: &mut String, time: i64, histogram: &Histogram) {
    let _ = write!(
        out,
        r#"[{},{{"count":"{}","sum":"{}""#,
        format_time(time),
        format_json_float(histogram.count),
        format_json_float(histogram.sum)
    );
    let mut any = false;
    for bucket in histogram.all_buckets() {
        if bucket.count == 0.0 {
            continue;
        }
        out.push_str(if any { "," } else { r#","buckets":["# });
        any = true;
        // 0: open left, 1: open right, 2: open both, 3: closed both (the API's numbers).
        let kind = match (bucket.lower_inclusive, bucket.upper_inclusive) {
            (true, true) => 3,
            (true, false) => 1,
            (false, true) => 0,
            (false, false) => 2,
        };
        let _ = write!(
            out,
            r#"[{kind},"{}","{}","{}"]"#,
            format_json_float(bucket.lower),
            format_json_float(bucket.upper),
            format_json_float(bucket.count)
        );
    }
    if any {
        out.push(']');
    }
    out.push_str("}]");
}

/// A JSON string, without the HTML escapes that Go would add by default (Prometheus turns them off).
fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            letter if (letter as u32) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", letter as u32);
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::{MatrixSeries, VectorElement};

    fn answer(value: Value) -> Answer {
        Answer { value, warnings: Vec::new(), infos: Vec::new(), selected: Vec::new(), plan: Vec::new() }
    }

    #[test]
    fn each_type_has_the_shape_of_the_http_api() {
        let labels = Labels::new([("__name__", "up"), ("job", "prometheus")]);
        let vector = Value::Vector(vec![VectorElement {
            labels: labels.clone(),
            time: 1435781451781,
            value: SampleValue::Float(1.0),
        }]);
        assert_eq!(
            to_json(&answer(vector)),
            r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up","job":"prometheus"},"value":[1435781451.781,"1"]}]}}"#
        );
        let matrix = Value::Matrix(vec![MatrixSeries {
            labels,
            floats: vec![(1435781430781, 1.5), (1435781445000, f64::NAN)],
            histograms: Vec::new(),
        }]);
        assert_eq!(
            to_json(&answer(matrix)),
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"up","job":"prometheus"},"values":[[1435781430.781,"1.5"],[1435781445,"NaN"]]}]}}"#
        );
        assert_eq!(
            to_json(&answer(Value::Scalar { time: 1500, value: 2.0 })),
            r#"{"status":"success","data":{"resultType":"scalar","result":[1.5,"2"]}}"#
        );
    }

    #[test]
    fn annotations_and_errors_are_escaped() {
        let mut one = answer(Value::Vector(Vec::new()));
        one.infos.push("PromQL info: name \"x\" (1:6)".to_owned());
        assert_eq!(
            to_json(&one),
            r#"{"status":"success","data":{"resultType":"vector","result":[]},"infos":["PromQL info: name \"x\" (1:6)"]}"#
        );
        assert_eq!(
            eval_error_to_json(&EvalError::Execution("a \"b\"".to_owned())),
            r#"{"status":"error","errorType":"execution","error":"a \"b\""}"#
        );
    }
}
