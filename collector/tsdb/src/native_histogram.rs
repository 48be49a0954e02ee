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

/// A bucket with its bounds, as the HTTP API and `promtool tsdb dump` write it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounded {
    pub lower: f64,
    pub upper: f64,
    pub count: f64,
}

/// Schema of custom bounds.
pub const CUSTOM_SCHEMA: i32 = -53;
/// How far a bound may be from a power of the base: bounds are rounded where they are computed.
const SLACK: f64 = 1e-6;

impl NativeHistogram {
    /// A histogram from buckets with bounds. Where they are those of an exponential schema (base 2^(2^−schema)), it is that
    /// one; else custom bounds hold them all.
    pub fn of_bounds(buckets: &[Bounded], count: f64, sum: f64) -> Self {
        let found = (-4..=8).find_map(|schema| exponential(buckets, schema)).unwrap_or_else(|| custom(buckets));
        Self { count, sum, ..found }
    }

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

/// Index of a bucket of a schema whose absolute bounds are these; one may be cut off at the zero bucket.
fn index(lower: f64, upper: f64, schema: i32, threshold: f64) -> Option<i32> {
    let steps = 2f64.powi(schema);
    let place = upper.log2() * steps;
    let fits = place.is_finite() && (place - place.round()).abs() < SLACK;
    let below = lower == threshold && place.round() - 1.0 < threshold.log2() * steps + SLACK;
    let regular = lower > 0.0 && (lower.log2() * steps - (place.round() - 1.0)).abs() < SLACK;
    (fits && (regular || below && lower > 0.0)).then_some(place.round() as i32)
}

fn exponential(buckets: &[Bounded], schema: i32) -> Option<NativeHistogram> {
    let mut found = NativeHistogram { schema, ..NativeHistogram::default() };
    let around_zero = |one: &&Bounded| one.lower <= 0.0 && one.upper >= 0.0 && one.lower == -one.upper;
    if let Some(zero) = buckets.iter().find(around_zero) {
        (found.zero_threshold, found.zero_count) = (zero.upper, zero.count);
    }
    for one in buckets.iter().filter(|one| !around_zero(one)) {
        if one.lower >= 0.0 {
            let index = index(one.lower, one.upper, schema, found.zero_threshold)?;
            found.positive.push((index, vec![one.count]));
        } else {
            let index = index(-one.upper, -one.lower, schema, found.zero_threshold)?;
            found.negative.push((index, vec![one.count]));
        }
    }
    found.positive.sort_by_key(|(index, _)| *index);
    found.negative.sort_by_key(|(index, _)| *index);
    Some(found)
}

fn custom(buckets: &[Bounded]) -> NativeHistogram {
    let mut bounds: Vec<f64> =
        buckets.iter().flat_map(|one| [one.lower, one.upper]).filter(|b| b.is_finite()).collect();
    bounds.sort_by(f64::total_cmp);
    bounds.dedup();
    let mut counts = vec![0.0; bounds.len() + 1];
    for one in buckets {
        counts[bounds.partition_point(|bound| *bound < one.upper)] += one.count;
    }
    NativeHistogram { schema: CUSTOM_SCHEMA, positive: vec![(0, counts)], custom: bounds, ..NativeHistogram::default() }
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
    use super::{Bounded, CUSTOM_SCHEMA, NativeHistogram, ResetHint};

    fn bounded(buckets: &[(f64, f64, f64)]) -> NativeHistogram {
        let buckets: Vec<Bounded> = buckets
            .iter()
            .map(|(lower, upper, count)| Bounded { lower: *lower, upper: *upper, count: *count })
            .collect();
        NativeHistogram::of_bounds(&buckets, 9.0, 1.5)
    }

    #[test]
    fn bounds_tell_the_schema() {
        let found = bounded(&[(-2.0, -1.0, 1.0), (-0.001, 0.001, 2.0), (0.001, 0.5, 3.0), (4.0, 8.0, 4.0)]);
        assert_eq!(found.schema, CUSTOM_SCHEMA, "0.001 to 0.5 is too wide for any schema");
        let found = bounded(&[(-2.0, -1.0, 1.0), (-0.3, 0.3, 2.0), (0.3, 0.5, 3.0), (4.0, 8.0, 4.0)]);
        assert_eq!((found.schema, found.zero_threshold, found.zero_count), (0, 0.3, 2.0));
        assert_eq!((found.positive, found.negative), (vec![(-1, vec![3.0]), (3, vec![4.0])], vec![(1, vec![1.0])]));
        // The API prints what Prometheus computes: base 2^(1/8).
        let found = bounded(&[(0.7711054127039704, 0.8408964152537144, 1.0), (1.0, 1.0905077326652577, 2.0)]);
        assert_eq!((found.schema, found.positive), (3, vec![(-2, vec![1.0]), (1, vec![2.0])]));
    }

    #[test]
    fn other_bounds_are_custom() {
        let found = bounded(&[(f64::NEG_INFINITY, 0.1, 1.0), (0.5, 2.5, 2.0), (2.5, f64::INFINITY, 3.0)]);
        assert_eq!((found.schema, found.custom), (CUSTOM_SCHEMA, vec![0.1, 0.5, 2.5]));
        assert_eq!(found.positive, [(0, vec![1.0, 0.0, 2.0, 3.0])]);
        assert_eq!(bounded(&[]).positive, []);
    }

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
