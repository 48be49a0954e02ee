//! Aggregations over time, one series at a time.

mod sliding;

use std::sync::Arc;

use super::Arguments;
use crate::answer::{EvalError, SampleValue};
use crate::evaluate::{
    CompensatedSum, Mean, Row, Variance, Window, note_histogram_sum, note_invalid_quantiles, note_mixed_schemas,
    quantile, roll,
};
use crate::histogram::{Histogram, HistogramMean};
use crate::labels::quoted;
use sliding::{SlidingExtreme, SlidingSum};

/// Evaluates one of the `…_over_time` functions.
pub(super) fn over_time(name: &str, arguments: &Arguments<'_>) -> Result<Vec<Row>, EvalError> {
    let context = arguments.context;
    if name == "quantile_over_time" {
        let parameters = arguments.scalar(0)?;
        let range = arguments.range(1)?;
        return Ok(roll(&range, context, false, |_| {
            let mut buffer = Vec::new();
            let parameters = &parameters;
            move |window: &Window<'_>| {
                if window.values().is_empty() {
                    return None;
                }
                note_invalid_quantiles(&parameters[window.step..=window.step], arguments.span(0), context);
                note_ignored(window, arguments);
                buffer.clear();
                buffer.extend_from_slice(window.values());
                Some(SampleValue::Float(quantile(parameters[window.step], &mut buffer)))
            }
        }));
    }
    let range = arguments.range(0)?;
    let float = |function: fn(&Window<'_>) -> f64| {
        roll(&range, context, false, move |_| {
            move |window: &Window<'_>| {
                if window.values().is_empty() {
                    return None;
                }
                note_ignored(window, arguments);
                Some(SampleValue::Float(function(window)))
            }
        })
    };
    Ok(match name {
        "sum_over_time" => roll(&range, context, false, |_| {
            let mut sums = SlidingSum::default();
            move |window: &Window<'_>| match total(window, false, arguments)? {
                Total::Floats => Some(SampleValue::Float(sums.sum(window).unwrap_or_else(|| {
                    let mut sum = CompensatedSum::default();
                    window.values().iter().for_each(|&value| sum.add(value));
                    sum.value()
                }))),
                Total::Histograms(sum) => Some(SampleValue::Histogram(Arc::new(sum))),
            }
        }),
        "avg_over_time" => roll(&range, context, false, |_| {
            let mut sums = SlidingSum::default();
            move |window: &Window<'_>| match total(window, true, arguments)? {
                Total::Floats => Some(SampleValue::Float(match sums.sum(window) {
                    Some(sum) => sum / window.values().len() as f64,
                    None => {
                        let mut mean = Mean::default();
                        window.values().iter().for_each(|&value| mean.add(value));
                        mean.value()
                    }
                })),
                Total::Histograms(mean) => Some(SampleValue::Histogram(Arc::new(mean))),
            }
        }),
        "count_over_time" => roll(&range, context, false, |_| {
            |window: &Window<'_>| Some(SampleValue::Float((window.values().len() + window.histograms().len()) as f64))
        }),
        "present_over_time" => roll(&range, context, false, |_| |_: &Window<'_>| Some(SampleValue::Float(1.0))),
        "last_over_time" => roll(&range, context, true, |_| |window: &Window<'_>| last(window).map(|found| found.1)),
        "first_over_time" => roll(&range, context, true, |_| |window: &Window<'_>| first(window).map(|found| found.1)),
        "ts_of_last_over_time" => {
            roll(&range, context, false, |_| |window: &Window<'_>| last(window).map(|found| seconds(found.0)))
        }
        "ts_of_first_over_time" => {
            roll(&range, context, false, |_| |window: &Window<'_>| first(window).map(|found| seconds(found.0)))
        }
        "min_over_time" | "max_over_time" => roll(&range, context, false, |_| {
            let mut extreme = SlidingExtreme::new(name == "max_over_time");
            move |window: &Window<'_>| {
                if window.values().is_empty() {
                    return None;
                }
                note_ignored(window, arguments);
                Some(SampleValue::Float(extreme.value(window)))
            }
        }),
        "ts_of_min_over_time" => {
            float(|window| window.times()[best(window.values(), |new, old| new <= old)] as f64 / 1000.0)
        }
        "ts_of_max_over_time" => {
            float(|window| window.times()[best(window.values(), |new, old| new >= old)] as f64 / 1000.0)
        }
        "stddev_over_time" => float(|window| variance(window).sqrt()),
        "stdvar_over_time" => float(variance),
        "mad_over_time" => float(median_absolute_deviation),
        _ => return Err(EvalError::Execution(format!("function {name} is not known"))),
    })
}

fn seconds(time: i64) -> SampleValue {
    SampleValue::Float(time as f64 / 1000.0)
}

fn note_ignored(window: &Window<'_>, arguments: &Arguments<'_>) {
    if !window.histograms().is_empty() {
        let text = format!(
            "ignored histograms in a range containing both floats and histograms for metric name {}",
            quoted(window.series.labels.metric_name())
        );
        arguments.context.inform(&text, arguments.span(0));
    }
}

/// What a window's samples add up to: floats, which the caller adds, or histograms.
enum Total {
    Floats,
    Histograms(Histogram),
}

fn total(window: &Window<'_>, mean: bool, arguments: &Arguments<'_>) -> Option<Total> {
    let Some(first) = window.histograms().first() else { return Some(Total::Floats) };
    let (name, span, context) = (window.series.labels.metric_name(), arguments.span(0), arguments.context);
    if !window.values().is_empty() {
        let text = format!("encountered a mix of histograms and floats for metric name {}", quoted(name));
        context.warn(&text, span);
        return None;
    }
    let mut total = HistogramMean::new(&first.histogram);
    for sample in &window.histograms()[1..] {
        let added = if mean { total.add(&sample.histogram) } else { total.sum.add(&sample.histogram) };
        if added.is_err() {
            note_mixed_schemas(name, span, context);
            return None;
        }
    }
    note_histogram_sum(&total.sum, span, context);
    Some(Total::Histograms(if mean { total.histogram() } else { total.sum.histogram() }))
}

fn last(window: &Window<'_>) -> Option<(i64, SampleValue)> {
    let float = window.times().last().zip(window.values().last());
    match (float, window.histograms().last()) {
        (Some((&time, &value)), other) if other.is_none_or(|sample| sample.time < time) => {
            Some((time, SampleValue::Float(value)))
        }
        (_, Some(sample)) => Some((sample.time, SampleValue::Histogram(Arc::clone(&sample.histogram)))),
        _ => None,
    }
}

fn first(window: &Window<'_>) -> Option<(i64, SampleValue)> {
    let float = window.times().first().zip(window.values().first());
    match (float, window.histograms().first()) {
        (Some((&time, &value)), other) if other.is_none_or(|sample| sample.time > time) => {
            Some((time, SampleValue::Float(value)))
        }
        (_, Some(sample)) => Some((sample.time, SampleValue::Histogram(Arc::clone(&sample.histogram)))),
        _ => None,
    }
}

/// The index of the best value; NaN is best only among NaNs.
fn best(values: &[f64], better: impl Fn(f64, f64) -> bool) -> usize {
    let mut found = 0;
    for (index, &value) in values.iter().enumerate() {
        if better(value, values[found]) || values[found].is_nan() {
            found = index;
        }
    }
    found
}

fn variance(window: &Window<'_>) -> f64 {
    let mut variance = Variance::default();
    window.values().iter().for_each(|&value| variance.add(value));
    variance.value()
}

/// A NaN leaves the median undefined (Prometheus 3.14, PR 19040).
fn median_absolute_deviation(window: &Window<'_>) -> f64 {
    if window.values().iter().any(|value| value.is_nan()) {
        return f64::NAN;
    }
    let mut values = window.values().to_vec();
    let median = quantile(0.5, &mut values);
    values.iter_mut().for_each(|value| *value = (*value - median).abs());
    quantile(0.5, &mut values)
}
