//! Native histograms, from samples to the HTTP API's JSON.

// In a test an unexpected error is to fail it.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use syncline_promql::histogram::CUSTOM_BUCKETS_SCHEMA;
use syncline_promql::{
    Answer, Histogram, HistogramSample, IndexedBucket, Labels, MemoryStorage, Options, ResetHint, SampleValue, Series,
    Value, instant, parse, to_json,
};

/// A histogram of schema 0 with a zero bucket up to 0.001.
fn exponential(zero: f64, counts: &[(i32, f64)], sum: f64) -> Histogram {
    Histogram {
        schema: 0,
        zero_threshold: 0.001,
        zero_count: zero,
        count: zero + counts.iter().map(|(_, count)| count).sum::<f64>(),
        sum,
        positive: counts.iter().map(|&(index, count)| IndexedBucket { index, count }).collect(),
        ..Histogram::default()
    }
}

fn series(name: &str, label: &str, histograms: Vec<Histogram>) -> Series {
    Series {
        labels: Labels::new([("__name__", name), ("l", label)]),
        histograms: histograms
            .into_iter()
            .enumerate()
            .map(|(index, histogram)| HistogramSample { time: index as i64 * 15_000, histogram: Arc::new(histogram) })
            .collect(),
        ..Series::default()
    }
}

fn ask(storage: &MemoryStorage, seconds: i64, query: &str) -> Answer {
    instant(storage, &parse(query).unwrap(), seconds * 1000, &Options::default()).unwrap()
}

fn floats(answer: &Answer) -> Vec<f64> {
    let Value::Vector(elements) = &answer.value else { panic!("a vector") };
    let float = |value: &SampleValue| match value {
        SampleValue::Float(value) => *value,
        SampleValue::Histogram(histogram) => panic!("a histogram {histogram}"),
    };
    elements.iter().map(|element| float(&element.value)).collect()
}

fn counter() -> MemoryStorage {
    let at = |n: f64| exponential(n, &[(0, 2.0 * n), (1, 4.0 * n), (3, n)], 10.0 * n);
    MemoryStorage::new(vec![
        series("h", "a", vec![at(10.0), at(20.0), at(30.0), at(40.0), at(50.0)]),
        // A reset after the third sample.
        series("h", "b", vec![at(100.0), at(110.0), at(120.0), at(5.0), at(15.0)]),
    ])
}

#[test]
fn the_json_of_a_histogram_leaves_out_empty_buckets_and_tells_open_ends() {
    let storage = MemoryStorage::new(vec![series(
        "h",
        "a",
        vec![Histogram {
            negative: vec![IndexedBucket { index: 1, count: 0.5 }, IndexedBucket { index: 2, count: 0.0 }],
            ..exponential(2.0, &[(0, 1.0), (1, 3.5)], 1e-7)
        }],
    )]);
    assert_eq!(
        to_json(&ask(&storage, 0, "h")),
        r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"h","l":"a"},"histogram":[0,{"count":"6.5","sum":"1e-07","buckets":[[1,"-2","-1","0.5"],[3,"-0.001","0.001","2"],[0,"0.5","1","1"],[0,"1","2","3.5"]]}]}]}}"#
    );
}

#[test]
fn rates_work_bucket_by_bucket_and_see_resets() {
    let storage = counter();
    let close = |found: Vec<f64>, expected: &[f64]| {
        assert_eq!(found.len(), expected.len());
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9), "{found:?} {expected:?}");
    };
    // 30 · 8 more observations in 45 s, extended to the minute. After the reset the counts start again.
    close(floats(&ask(&storage, 60, "histogram_count(increase(h[1m]))")), &[320.0, (25.0 * 8.0) * 60.0 / 45.0]);
    close(floats(&ask(&storage, 60, "histogram_count(rate(h[1m]))")), &[320.0 / 60.0, 200.0 / 45.0]);
    close(floats(&ask(&storage, 60, "histogram_avg(rate(h[1m]))")), &[1.25, 1.25]);
    close(floats(&ask(&storage, 60, "histogram_count(irate(h[1m]))")), &[80.0 / 15.0, 80.0 / 15.0]);
    close(floats(&ask(&storage, 60, "resets(h[5m])")), &[0.0, 1.0]);
    close(floats(&ask(&storage, 60, "histogram_quantile(1, sum(rate(h[1m])))")), &[8.0]);
    close(floats(&ask(&storage, 60, "histogram_fraction(0, 1, sum(h))")), &[3.0 / 8.0]);
    close(floats(&ask(&storage, 60, "histogram_count(avg_over_time(h[30s]))")), &[360.0, 80.0]);
    close(floats(&ask(&storage, 60, "histogram_sum(h * 2 - h)")), &[500.0, 150.0]);
    close(floats(&ask(&storage, 60, "count_over_time(h[30s])")), &[2.0, 2.0]);
    close(floats(&ask(&storage, 60, "h == bool h")), &[1.0, 1.0]);
    assert!(floats(&ask(&storage, 60, "abs(h)")).is_empty());
}

#[test]
fn what_cannot_be_done_with_histograms_is_left_out_and_said() {
    let storage = counter();
    let plus = ask(&storage, 60, "h + 1");
    assert_eq!(plus.value, Value::Vector(Vec::new()));
    assert_eq!(
        plus.infos,
        [r#"PromQL info: incompatible sample types encountered for binary operator "+": histogram + float (1:1)"#]
    );
    assert_eq!(ask(&storage, 60, "max(h)").infos, ["PromQL info: ignored histogram in max aggregation (1:5)"]);
    assert_eq!(
        ask(&storage, 60, "delta(h[1m])").warnings,
        [r#"PromQL warning: this native histogram metric is not a gauge: "h" (1:7)"#]
    );
    let mixed = MemoryStorage::new(vec![Series {
        times: vec![15_000].into(),
        values: vec![1.0].into(),
        ..series("m", "a", vec![exponential(1.0, &[], 1.0)])
    }]);
    assert_eq!(
        ask(&mixed, 20, "rate(m[1m])").warnings,
        [r#"PromQL warning: encountered a mix of histograms and floats for metric name "m" (1:6)"#]
    );
    assert_eq!(floats(&ask(&mixed, 20, "resets(m[1m])")), [1.0]);
    assert_eq!(floats(&ask(&mixed, 20, "m")), [1.0]);
}

#[test]
fn custom_buckets_are_classic_buckets_in_one_sample() {
    let custom = |counts: &[(i32, f64)]| Histogram {
        schema: CUSTOM_BUCKETS_SCHEMA,
        zero_threshold: 0.0,
        custom_values: vec![0.1, 1.0],
        ..exponential(0.0, counts, 3.0)
    };
    let storage = MemoryStorage::new(vec![
        series("c", "a", vec![custom(&[(0, 1.0), (1, 2.0), (2, 1.0)])]),
        series("c", "b", vec![exponential(0.0, &[(0, 1.0)], 1.0)]),
    ]);
    assert_eq!(floats(&ask(&storage, 0, r#"histogram_quantile(0.5, c{l="a"})"#)), [0.55]);
    assert_eq!(floats(&ask(&storage, 0, r#"histogram_quantile(0.99, c{l="a"})"#)), [1.0]);
    let sum = ask(&storage, 0, "sum(c)");
    assert_eq!(sum.value, Value::Vector(Vec::new()));
    assert_eq!(
        sum.warnings,
        [
            r#"PromQL warning: vector contains a mix of histograms with exponential and custom buckets schemas for metric name "c" (1:5)"#
        ]
    );
}

#[test]
fn conflicting_resets_are_a_warning() {
    let hinted = |hint| Histogram { reset_hint: hint, ..exponential(0.0, &[(0, 1.0)], 1.0) };
    let storage = MemoryStorage::new(vec![
        series("h", "a", vec![hinted(ResetHint::CounterReset)]),
        series("h", "b", vec![hinted(ResetHint::NotCounterReset)]),
    ]);
    assert_eq!(
        ask(&storage, 0, "sum(h)").warnings,
        ["PromQL warning: conflicting counter resets during histogram aggregation (1:5)"]
    );
    assert_eq!(
        ask(&storage, 0, r#"h{l="a"} + ignoring (l) h{l="b"}"#).warnings,
        ["PromQL warning: conflicting counter resets during histogram addition (1:1)"]
    );
}
