//! Native histograms as rows, whatever format they came in.

use std::fmt::Write;

use syncline_schema::histograms::NativeHistogramRow;

/// Buckets that stand beside each other: index of the first, and the observations in each (not cumulative).
pub type Run = (i32, Vec<f64>);

/// One native histogram.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NativeHistogram {
    pub schema: i32,
    pub zero_threshold: f64,
    pub zero_count: f64,
    pub count: f64,
    pub sum: f64,
    pub positive: Vec<Run>,
    pub negative: Vec<Run>,
    /// Upper bounds of custom buckets.
    pub custom: Vec<f64>,
    pub reset_hint: ResetHint,
}

/// What is known about a counter reset ahead of a histogram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResetHint {
    #[default]
    Unknown,
    Reset,
    NotReset,
    Gauge,
}

impl ResetHint {
    fn word(self) -> &'static str {
        match self {
            ResetHint::Unknown => "unknown",
            ResetHint::Reset => "reset",
            ResetHint::NotReset => "not-reset",
            ResetHint::Gauge => "gauge",
        }
    }
}

impl NativeHistogram {
    /// The row; `series` is an index into the batch's series.
    pub fn row(&self, series: u32, record: i64, time: i64) -> NativeHistogramRow<'static> {
        NativeHistogramRow {
            series: i64::from(series),
            record,
            time,
            sum: self.sum,
            count: self.count,
            buckets: self.buckets().into(),
            ..Default::default()
        }
    }

    fn buckets(&self) -> String {
        let mut json = format!("{{\"schema\":{},\"zero_threshold\":", self.schema);
        number(&mut json, self.zero_threshold);
        json.push_str(",\"zero_count\":");
        number(&mut json, self.zero_count);
        for (name, runs) in [("positive", &self.positive), ("negative", &self.negative)] {
            let _ = write!(json, ",\"{name}\":[");
            for (at, (first, counts)) in runs.iter().enumerate() {
                let _ = write!(json, "{}[{first},", if at > 0 { "," } else { "" });
                numbers(&mut json, counts);
                json.push(']');
            }
            json.push(']');
        }
        json.push_str(",\"custom\":");
        numbers(&mut json, &self.custom);
        let _ = write!(json, ",\"reset_hint\":\"{}\"}}", self.reset_hint.word());
        json
    }
}

fn numbers(json: &mut String, values: &[f64]) {
    json.push('[');
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            json.push(',');
        }
        number(json, *value);
    }
    json.push(']');
}

/// JSON has no words for NaN and the infinities: they stand as strings.
fn number(json: &mut String, value: f64) {
    // Writing to a string cannot fail. `{:?}` has an exponent where a plain number would be long.
    let _ = match value {
        whole if whole.fract() == 0.0 && whole.abs() < 1e15 => write!(json, "{whole}"),
        finite if finite.is_finite() => write!(json, "{finite:?}"),
        other => write!(json, "\"{other}\""),
    };
}

#[cfg(test)]
mod tests {
    use super::{NativeHistogram, ResetHint};

    #[test]
    fn buckets_are_json() {
        let histogram = NativeHistogram {
            schema: 3,
            zero_threshold: 1e-128,
            zero_count: 2.0,
            count: 9.5,
            positive: vec![(-2, vec![1.0, 0.5]), (4, vec![f64::INFINITY])],
            reset_hint: ResetHint::Gauge,
            ..Default::default()
        };
        let json = histogram.row(0, 0, 0).buckets;
        let found: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(found["positive"], serde_json::json!([[-2, [1, 0.5]], [4, ["inf"]]]));
        assert!(json.contains(r#""zero_threshold":1e-128,"#), "{json}");
        assert_eq!((&found["negative"], &found["custom"]), (&serde_json::json!([]), &serde_json::json!([])));
        assert_eq!(found["reset_hint"], "gauge");
    }
}
