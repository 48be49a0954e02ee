//! The samples around a window or a time, for `anchored` and `smoothed`.

use std::sync::Arc;

use super::{Context, Window};
use crate::answer::SampleValue;
use crate::histogram::{Histogram, MixedSchemas};
use crate::series::{HistogramSample, Series};
use crate::syntax::tree::Span;

/// The samples from one lookback before a window on; with `smoothed` up to one lookback after it.
pub(crate) struct Surroundings<'a> {
    pub times: &'a [i64],
    pub values: &'a [f64],
    pub histograms: &'a [HistogramSample],
    pub start: i64,
    pub end: i64,
    pub smoothed: bool,
}

impl<'a> Surroundings<'a> {
    pub(crate) fn of(window: &Window<'a>, lookback: i64, smoothed: bool) -> Surroundings<'a> {
        let Series { times, values, histograms, .. } = window.series;
        let oldest = window.start - lookback;
        let newest = if smoothed { window.end + lookback } else { window.end };
        let floats = times.partition_point(|&time| time <= oldest)..times.partition_point(|&time| time <= newest);
        let native = histograms.partition_point(|sample| sample.time <= oldest)
            ..histograms.partition_point(|sample| sample.time <= newest);
        Surroundings {
            times: &times[floats.clone()],
            values: &values[floats],
            histograms: &histograms[native],
            start: window.start,
            end: window.end,
            smoothed,
        }
    }

    /// The first and last sample that count: the latest one at or before the window's start, if there is any, and the
    /// last one within it (with `smoothed` the first one at or after its end). Nothing if none lies after the start,
    /// or all of them after the end.
    pub(crate) fn ends(&self, time: impl Fn(usize) -> i64, samples: usize) -> Option<(usize, usize)> {
        let mut last = samples.checked_sub(1)?;
        let first = first_index(last, |index| time(index) > self.start).saturating_sub(1);
        if self.smoothed {
            last = first_index(last, |index| time(index) >= self.end);
        }
        let outside = time(last) <= self.start || (self.smoothed && time(first) > self.end);
        (!outside).then_some((first, last))
    }

    /// The floats at the window's ends: interpolated with `smoothed`, where there are samples on both sides.
    pub(crate) fn float_ends(&self, (first, last): (usize, usize), counter: bool) -> (f64, f64) {
        let (times, values) = (self.times, self.values);
        let left = if self.smoothed && times[first] < self.start && first < last {
            interpolated(times, values, first, self.start, counter)
        } else {
            values[first]
        };
        let right = if self.smoothed && times[last] > self.end && last > 0 {
            interpolated(times, values, last - 1, self.end, counter)
        } else {
            values[last]
        };
        (left, right)
    }

    /// The floats of the window with those at its ends, as an instant query shows them.
    pub(crate) fn extended_floats(&self) -> Vec<(i64, f64)> {
        let Some(ends) = self.ends(|index| self.times[index], self.times.len()) else { return Vec::new() };
        let (left, right) = self.float_ends(ends, false);
        let inside = self.times.iter().copied().zip(self.values.iter().copied());
        let inside = inside.filter(|(time, _)| *time > self.start && *time < self.end);
        [(self.start, left)].into_iter().chain(inside).chain([(self.end, right)]).collect()
    }
}

/// The first index below `end` from which on a condition holds, else `end`.
fn first_index(end: usize, condition: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, end);
    while low < high {
        let middle = low + (high - low) / 2;
        if condition(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

/// The value between a sample and the next one. Across a reset a counter is taken to have begun at zero.
fn interpolated(times: &[i64], values: &[f64], index: usize, at: i64, counter: bool) -> f64 {
    let (mut from, to) = (values[index], values[index + 1]);
    if counter && to < from {
        from = 0.0;
    }
    from + (to - from) * (at - times[index]) as f64 / (times[index + 1] - times[index]) as f64
}

/// The histogram at a time between two samples. Across a reset a counter is taken to have begun at zero.
pub(crate) fn histogram_between(
    before: &HistogramSample,
    after: &HistogramSample,
    time: i64,
    counter: bool,
    span: Span,
    context: &Context<'_>,
) -> Result<Histogram, MixedSchemas> {
    if time == before.time {
        return Ok((*before.histogram).clone());
    }
    if time == after.time {
        return Ok((*after.histogram).clone());
    }
    let share = (time - before.time) as f64 / (after.time - before.time) as f64;
    if counter && after.histogram.is_reset_since(&before.histogram) {
        return Ok(after.histogram.times(share));
    }
    let reconciled = |word: &str| {
        context.inform(&format!("mismatched custom buckets were reconciled during {word}"), span);
    };
    let difference = after.histogram.difference(&before.histogram)?;
    if difference.bounds_reconciled {
        reconciled("subtraction");
    }
    let between = difference.histogram.times(share).plus(&before.histogram)?;
    if between.bounds_reconciled {
        reconciled("addition");
    }
    Ok(between.histogram)
}

/// The neighbours of a time in a series.
enum Sample<'a> {
    Float(i64, f64),
    Histogram(&'a HistogramSample),
}

impl Sample<'_> {
    fn time(&self) -> i64 {
        match self {
            Sample::Float(time, _) => *time,
            Sample::Histogram(sample) => sample.time,
        }
    }

    fn value(&self) -> SampleValue {
        match self {
            Sample::Float(_, value) => SampleValue::Float(*value),
            Sample::Histogram(sample) => SampleValue::Histogram(Arc::clone(&sample.histogram)),
        }
    }
}

/// The value at a time, interpolated between the samples around it; the one before it where there is only that. The
/// series holds no staleness markers.
pub(super) fn smoothed_at(
    series: &Series,
    time: i64,
    lookback: i64,
    span: Span,
    context: &Context<'_>,
) -> Result<Option<SampleValue>, MixedSchemas> {
    let next = series.times.partition_point(|&one| one <= time);
    let next_histogram = series.histograms.partition_point(|sample| sample.time <= time);
    let float = |index: usize| Some(Sample::Float(*series.times.get(index)?, *series.values.get(index)?));
    let histogram = |index: usize| series.histograms.get(index).map(Sample::Histogram);
    let candidates = [next.checked_sub(1).and_then(float), next_histogram.checked_sub(1).and_then(histogram)];
    let before = candidates.into_iter().flatten().max_by_key(Sample::time).filter(|one| one.time() > time - lookback);
    let candidates = [float(next), histogram(next_histogram)];
    let after = candidates.into_iter().flatten().min_by_key(Sample::time).filter(|one| one.time() <= time + lookback);
    let Some(before) = before else { return Ok(None) };
    if before.time() == time {
        return Ok(Some(before.value()));
    }
    Ok(Some(match (&before, after) {
        (Sample::Float(from, low), Some(Sample::Float(to, high))) => {
            SampleValue::Float(low + (high - low) * ((time - from) as f64 / (to - from) as f64))
        }
        (Sample::Histogram(from), Some(Sample::Histogram(to))) => {
            SampleValue::Histogram(Arc::new(histogram_between(from, to, time, false, span, context)?))
        }
        _ => before.value(),
    }))
}
