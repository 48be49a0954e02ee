//! `resets` and `changes`: how many pairs of neighbours satisfy a condition.

use std::sync::Arc;

use super::starts;
use crate::answer::SampleValue;
use crate::evaluate::{Context, RangeVector, Row, Window, roll};
use crate::histogram::Histogram;
use crate::series::Series;
use crate::syntax::tree::Boundary;

use super::histogram::is_gauge;

/// Counter resets: a lower value, a start timestamp that says so, or another type of sample.
pub(super) fn resets(range: &RangeVector, context: &Context<'_>) -> Vec<Row> {
    count_between(range, context, |a, b| {
        let restarted = starts::is_reset(a.start, a.time, b.start, b.time);
        match (&a.value, &b.value) {
            (SampleValue::Float(x), SampleValue::Float(y)) => y < x || restarted,
            (SampleValue::Histogram(x), SampleValue::Histogram(y)) => restarted || is_reset(x, y),
            _ => true,
        }
    })
}

fn is_reset(before: &Histogram, after: &Histogram) -> bool {
    is_gauge(before) != is_gauge(after) || after.is_reset_since(before)
}

/// Changes of the value, or of the type of sample.
pub(super) fn changes(range: &RangeVector, context: &Context<'_>) -> Vec<Row> {
    count_between(range, context, |a, b| match (&a.value, &b.value) {
        (SampleValue::Float(x), SampleValue::Float(y)) => x != y && !(x.is_nan() && y.is_nan()),
        (SampleValue::Histogram(x), SampleValue::Histogram(y)) => !x.same_as(y),
        _ => true,
    })
}

/// A sample as the condition sees it; a start of 0 is not known.
struct Reading {
    time: i64,
    start: i64,
    value: SampleValue,
}

fn float(series: &Series, index: usize) -> Reading {
    let start = series.start_times.get(index).copied().unwrap_or(0);
    Reading { time: series.times[index], start, value: SampleValue::Float(series.values[index]) }
}

fn histogram(series: &Series, index: usize) -> Reading {
    let sample = &series.histograms[index];
    let start = series.histogram_start_times.get(index).copied().unwrap_or(0);
    Reading { time: sample.time, start, value: SampleValue::Histogram(Arc::clone(&sample.histogram)) }
}

/// For each sample of a series, how many of the pairs up to it satisfy a condition.
fn counted(readings: impl Iterator<Item = Reading>, condition: impl Fn(&Reading, &Reading) -> bool) -> Vec<u32> {
    let mut total = 0;
    let mut before: Option<Reading> = None;
    readings
        .map(|reading| {
            total += u32::from(before.as_ref().is_some_and(|before| condition(before, &reading)));
            before = Some(reading);
            total
        })
        .collect()
}

fn count_between(
    range: &RangeVector,
    context: &Context<'_>,
    condition: impl Fn(&Reading, &Reading) -> bool + Sync,
) -> Vec<Row> {
    let lookback = context.lookback();
    let anchored = range.boundary == Some(Boundary::Anchored);
    roll(range, context, false, |input| {
        let series = &*input.series;
        let floats = (0..series.times.len()).map(|index| float(series, index));
        let (up_to, mixed_times) = if series.histograms.is_empty() {
            (counted(floats, &condition), None)
        } else {
            let histograms = (0..series.histograms.len()).map(|index| histogram(series, index));
            let mut all: Vec<Reading> = floats.chain(histograms).collect();
            all.sort_by_key(|reading| reading.time);
            let times: Vec<i64> = all.iter().map(|reading| reading.time).collect();
            (counted(all.into_iter(), &condition), Some(times))
        };
        move |window: &Window<'_>| {
            let (mut first, past) = match &mixed_times {
                None => (window.first, window.past),
                Some(times) => (
                    times.partition_point(|&time| time <= window.start),
                    times.partition_point(|&time| time <= window.end),
                ),
            };
            if first >= past {
                return None;
            }
            // An anchored window begins with the sample before it, if that is not too old.
            let times = mixed_times.as_deref().unwrap_or(&window.series.times);
            if anchored && first > 0 && times[first - 1] > window.start - lookback {
                first -= 1;
            }
            Some(SampleValue::Float(f64::from(up_to[past - 1] - up_to[first])))
        }
    })
}
