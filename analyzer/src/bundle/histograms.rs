//! Native histograms of a bundle, as PromQL takes them.

use std::sync::Arc;

use anyhow::Context;
use serde::Deserialize;
use serde_json::value::RawValue;
use syncline_promql::{Histogram, HistogramSample, IndexedBucket, ResetHint};
use syncline_schema::histograms::NativeHistogramRow;

/// The column `buckets`. Numbers are taken as text: serde_json reads some decimals one bit wrong.
#[derive(Deserialize)]
struct Buckets<'a> {
    schema: i32,
    #[serde(borrow)]
    zero_threshold: &'a RawValue,
    #[serde(borrow)]
    zero_count: &'a RawValue,
    #[serde(borrow)]
    positive: Vec<(i32, Vec<&'a RawValue>)>,
    #[serde(borrow)]
    negative: Vec<(i32, Vec<&'a RawValue>)>,
    #[serde(borrow)]
    custom: Vec<&'a RawValue>,
    reset_hint: &'a str,
}

/// One row as a sample.
///
/// # Errors
/// A column that is not what the schema says.
pub fn sample(row: &NativeHistogramRow) -> anyhow::Result<HistogramSample> {
    let wrong = || format!("histograms: series {}, record {}: buckets {}", row.series, row.record, row.buckets);
    let found: Buckets = serde_json::from_str(&row.buckets).with_context(wrong)?;
    let histogram = Histogram {
        schema: found.schema,
        zero_threshold: number(found.zero_threshold).with_context(wrong)?,
        zero_count: number(found.zero_count).with_context(wrong)?,
        count: row.count,
        sum: row.sum,
        positive: buckets(&found.positive).with_context(wrong)?,
        negative: buckets(&found.negative).with_context(wrong)?,
        custom_values: found.custom.iter().copied().map(number).collect::<Option<_>>().with_context(wrong)?,
        reset_hint: match found.reset_hint {
            "reset" => ResetHint::CounterReset,
            "not-reset" => ResetHint::NotCounterReset,
            "gauge" => ResetHint::Gauge,
            _ => ResetHint::Unknown,
        },
    };
    Ok(HistogramSample { time: row.time.div_euclid(1_000_000), histogram: Arc::new(histogram) })
}

fn number(raw: &RawValue) -> Option<f64> {
    raw.get().trim_matches('"').parse().ok()
}

fn buckets(runs: &[(i32, Vec<&RawValue>)]) -> Option<Vec<IndexedBucket>> {
    let mut found = Vec::new();
    for (first, counts) in runs {
        for (at, count) in counts.iter().copied().enumerate() {
            let index = i32::try_from(at).ok().and_then(|at| first.checked_add(at))?;
            found.push(IndexedBucket { index, count: number(count)? });
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_a_histogram() {
        let buckets = r#"{"schema":3,"zero_threshold":1e-128,"zero_count":2,"positive":[[-2,[1,0.5]],[4,["inf"]]],"negative":[],"custom":[0.1],"reset_hint":"gauge"}"#;
        let row = NativeHistogramRow { time: 5_000_000, buckets: buckets.into(), ..Default::default() };
        let found = sample(&row).expect("a histogram");
        assert_eq!((found.time, found.histogram.zero_threshold), (5, 1e-128));
        let indexes: Vec<i32> = found.histogram.positive.iter().map(|bucket| bucket.index).collect();
        assert_eq!((indexes, found.histogram.positive[2].count), (vec![-2, -1, 4], f64::INFINITY));
        assert_eq!(found.histogram.reset_hint, ResetHint::Gauge);
        assert!(sample(&NativeHistogramRow::default()).is_err());
    }
}
