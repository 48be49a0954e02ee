//! `anchored` and `smoothed` windows: values at the window's ends instead of extrapolation. Native histograms since
//! Prometheus 3.14 (PR 18564).

use std::sync::Arc;

use super::histogram::is_gauge;
use super::{Rate, counts};
use crate::answer::SampleValue;
use crate::evaluate::{RangeVector, Row, Surroundings, Window, histogram_between, note_mixed_schemas, roll};
use crate::histogram::{Histogram, MixedSchemas, ResetHint};
use crate::series::HistogramSample;
use crate::syntax::tree::Boundary;

/// Evaluates a function over such windows.
pub(super) fn rates(name: &str, rate: Rate<'_>, boundary: Boundary, range: &RangeVector) -> Vec<Row> {
    match name {
        "resets" => return counts::resets(range, rate.context),
        "changes" => return counts::changes(range, rate.context),
        _ => {}
    }
    let lookback = rate.context.lookback();
    let smoothed = boundary == Boundary::Smoothed;
    roll(range, rate.context, false, |input| {
        let mut noted = false;
        move |window: &Window<'_>| {
            let around = Surroundings::of(window, lookback, smoothed);
            match (around.times.is_empty(), around.histograms.is_empty()) {
                (true, true) => None,
                (false, false) => {
                    rate.note_mix(input.labels.metric_name());
                    None
                }
                (false, true) => {
                    let increase = increase(&rate, &around)?;
                    if !std::mem::replace(&mut noted, true) {
                        rate.note_name(&input.labels);
                    }
                    Some(SampleValue::Float(if rate.per_second { increase / window.seconds() } else { increase }))
                }
                (true, false) => {
                    let increase = histogram_increase(&rate, &around, input.labels.metric_name())?;
                    let mut result = if rate.per_second { increase.divided_by(window.seconds()) } else { increase };
                    result.reset_hint = ResetHint::Gauge;
                    Some(SampleValue::Histogram(Arc::new(result)))
                }
            }
        }
    })
}

/// The value at the window's end minus that at its start, plus what resets in between took away.
fn increase(rate: &Rate<'_>, around: &Surroundings<'_>) -> Option<f64> {
    let ends = around.ends(|index| around.times[index], around.times.len())?;
    let (left, right) = around.float_ends(ends, rate.counter);
    let mut increase = right - left;
    if rate.counter {
        let mut previous = left;
        let inside = (ends.0..=ends.1)
            .filter(|&index| around.times[index] > around.start && around.times[index] < around.end)
            .map(|index| around.values[index]);
        for value in inside.chain([right]) {
            if value < previous {
                increase += previous;
            }
            previous = value;
        }
    }
    Some(increase)
}

/// The same of native histograms.
fn histogram_increase(rate: &Rate<'_>, around: &Surroundings<'_>, name: &str) -> Option<Histogram> {
    let all = around.histograms;
    let (first, last) = around.ends(|index| all[index].time, all.len())?;
    let used = &all[first..=last];
    let custom = used[0].histogram.has_custom_buckets();
    for sample in used {
        if sample.histogram.has_custom_buckets() != custom {
            note_mixed_schemas(name, rate.span, rate.context);
            return None;
        }
        if rate.counter && is_gauge(&sample.histogram) {
            rate.warn_of_gauge(name);
        }
    }
    let at = |two: &[HistogramSample], time: i64| -> Option<Histogram> {
        let value = histogram_between(&two[0], &two[1], time, rate.counter, rate.span, rate.context);
        if matches!(value, Err(MixedSchemas)) {
            note_mixed_schemas(name, rate.span, rate.context);
        }
        value.ok()
    };
    let interpolates_left = around.smoothed && all[first].time < around.start && first < last;
    let left =
        if interpolates_left { at(&all[first..=first + 1], around.start)? } else { (*all[first].histogram).clone() };
    let right = if around.smoothed && last > 0 && all[last].time > around.end {
        at(&all[last - 1..=last], around.end)?
    } else {
        (*all[last].histogram).clone()
    };
    if !(rate.counter || is_gauge(&left) && is_gauge(&right)) {
        rate.warn_of_counter(name);
    }
    let mut result = rate.noted(right.difference(&left), "subtraction", name)?;
    if !rate.counter {
        return Some(result);
    }
    // The first sample is the left end, the last one the right end. A reset that the left end was interpolated across
    // is counted already.
    let (mut previous, mut next) = (&left, first + 1);
    if interpolates_left && all[first + 1].histogram.is_reset_since(&all[first].histogram) {
        previous = &*all[first + 1].histogram;
        next += 1;
    }
    if next > last {
        return Some(result);
    }
    for current in all[next..last].iter().map(|sample| &*sample.histogram).chain([&right]) {
        if current.is_reset_since(previous) {
            result = rate.noted(result.plus(previous), "addition", name)?;
        }
        previous = current;
    }
    Some(result)
}
