//! Short notation for series, histograms and answers, for tests of what the language says.

// Each test file that includes this uses a part of it.
#![allow(dead_code)]

use std::sync::Arc;

use syncline_promql::histogram::CUSTOM_BUCKETS_SCHEMA;
use syncline_promql::{
    Answer, Histogram, HistogramSample, IndexedBucket, Labels, MemoryStorage, Options, ResetHint, SampleValue, Series,
    Value, instant, parse, range,
};

/// A sample, or the place where one might be.
#[derive(Clone, Debug)]
pub enum Point {
    Gap,
    Float(f64),
    Native(Histogram),
}

impl From<f64> for Point {
    fn from(value: f64) -> Point {
        Point::Float(value)
    }
}

impl From<Histogram> for Point {
    fn from(histogram: Histogram) -> Point {
        Point::Native(histogram)
    }
}

fn buckets(counts: &[(i32, f64)]) -> Vec<IndexedBucket> {
    counts.iter().map(|&(index, count)| IndexedBucket { index, count }).collect()
}

/// A histogram with exponential buckets of the given indices; the zero bucket (up to 0.001) counts `zero`.
pub fn exponential(schema: i32, zero: f64, counts: &[(i32, f64)], sum: f64) -> Histogram {
    Histogram {
        schema,
        zero_threshold: 0.001,
        zero_count: zero,
        count: zero + counts.iter().map(|(_, count)| count).sum::<f64>(),
        sum,
        positive: buckets(counts),
        ..Histogram::default()
    }
}

/// A histogram with custom bounds; as many counts as bounds and one more.
pub fn custom(bounds: &[f64], counts: &[f64], sum: f64) -> Histogram {
    Histogram {
        schema: CUSTOM_BUCKETS_SCHEMA,
        count: counts.iter().sum(),
        sum,
        custom_values: bounds.to_vec(),
        positive: (0..).zip(counts).map(|(index, &count)| IndexedBucket { index, count }).collect(),
        ..Histogram::default()
    }
}

/// The same histogram with a hint.
pub fn hinted(hint: ResetHint, histogram: Histogram) -> Histogram {
    Histogram { reset_hint: hint, ..histogram }
}

/// A series named `name{label="value",…}`, one point each 15 s from time 0.
pub fn series<P: Into<Point>>(metric: &str, points: impl IntoIterator<Item = P>) -> Series {
    let (name, labels) = metric.trim_end_matches('}').split_once('{').unwrap_or((metric, ""));
    let mut pairs = vec![("__name__".to_owned(), name.to_owned())];
    for pair in labels.split(',').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').expect("label=value");
        pairs.push((name.to_owned(), value.trim_matches('"').to_owned()));
    }
    let mut series = Series { labels: Labels::new(pairs), ..Series::default() };
    for (index, point) in points.into_iter().enumerate() {
        let time = index as i64 * 15_000;
        match point.into() {
            Point::Gap => {}
            Point::Float(value) => series.push(time, value),
            Point::Native(histogram) => {
                series.histograms.push(HistogramSample { time, histogram: Arc::new(histogram) });
            }
        }
    }
    series
}

/// Series in memory.
pub fn storage(series: impl IntoIterator<Item = Series>) -> MemoryStorage {
    MemoryStorage::new(series.into_iter().collect())
}

/// The answer at a time in seconds.
pub fn ask(storage: &MemoryStorage, seconds: i64, query: &str) -> Answer {
    let expr = parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
    instant(storage, &expr, seconds * 1000, &Options::default()).unwrap_or_else(|error| panic!("{query}: {error}"))
}

/// The error at a time in seconds.
pub fn fails(storage: &MemoryStorage, seconds: i64, query: &str) -> String {
    let expr = parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
    match instant(storage, &expr, seconds * 1000, &Options::default()) {
        Ok(answer) => panic!("{query}: {answer:?}"),
        Err(error) => error.to_string(),
    }
}

/// The answer of a range query, all in seconds.
pub fn ask_range(storage: &MemoryStorage, start: i64, end: i64, step: i64, query: &str) -> Answer {
    let expr = parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
    range(storage, &expr, start * 1000, end * 1000, step * 1000, &Options::default())
        .unwrap_or_else(|error| panic!("{query}: {error}"))
}

/// Elements as `labels value`, in the order of the answer; a matrix as `labels time:value time:value …`.
pub fn shown(answer: &Answer) -> Vec<String> {
    let text = |value: &SampleValue| match value {
        SampleValue::Float(value) => format!("{value}"),
        SampleValue::Histogram(histogram) => histogram.to_string(),
    };
    match &answer.value {
        Value::Scalar { value, .. } => vec![format!("{value}")],
        Value::String { text, .. } => vec![text.clone()],
        Value::Vector(elements) => elements.iter().map(|one| format!("{} {}", one.labels, text(&one.value))).collect(),
        Value::Matrix(series) => series
            .iter()
            .map(|one| {
                let floats = one.floats.iter().map(|(time, value)| (*time, format!("{value}")));
                let native = one.histograms.iter().map(|(time, histogram)| (*time, histogram.to_string()));
                let mut points: Vec<(i64, String)> = floats.chain(native).collect();
                points.sort_by_key(|(time, _)| *time);
                let points = points.iter().map(|(time, value)| format!(" {}:{value}", *time / 1000));
                format!("{}{}", one.labels, points.collect::<String>())
            })
            .collect(),
    }
}

/// Values alone of an answer of floats.
pub fn floats(answer: &Answer) -> Vec<f64> {
    let Value::Vector(elements) = &answer.value else { panic!("a vector: {answer:?}") };
    elements
        .iter()
        .map(|one| match &one.value {
            SampleValue::Float(value) => *value,
            SampleValue::Histogram(histogram) => panic!("a histogram {histogram}"),
        })
        .collect()
}

/// The only histogram of an answer.
pub fn histogram(answer: &Answer) -> Histogram {
    let Value::Vector(elements) = &answer.value else { panic!("a vector: {answer:?}") };
    match elements.as_slice() {
        [one] => match &one.value {
            SampleValue::Histogram(histogram) => (**histogram).clone(),
            SampleValue::Float(value) => panic!("a float {value}"),
        },
        _ => panic!("one element: {elements:?}"),
    }
}
