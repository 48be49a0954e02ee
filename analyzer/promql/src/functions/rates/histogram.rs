//! The increase of native histograms over a window.

use super::{Rate, starts};
use crate::evaluate::{Window, note_mixed_schemas};
use crate::histogram::{Combined, Histogram, MixedSchemas, ResetHint};
use crate::labels::quoted;
use crate::series::HistogramSample;

/// Histograms of one series, and when each began to count, where that is known.
#[derive(Clone, Copy)]
pub(super) struct Readings<'a> {
    pub samples: &'a [HistogramSample],
    pub starts: &'a [i64],
}

impl<'a> Readings<'a> {
    /// Those of a window.
    pub(super) fn of(window: &Window<'a>) -> Readings<'a> {
        Readings { samples: window.histograms(), starts: window.histogram_starts() }
    }

    /// Whether the start timestamps tell of a reset before the sample with this index.
    fn restarts_at(&self, index: usize) -> bool {
        let time = |index: usize| self.samples[index].time;
        let start = self.starts.get(index);
        start.is_some_and(|&start| starts::is_reset(self.starts[index - 1], time(index - 1), start, time(index)))
    }
}

pub(super) fn is_gauge(histogram: &Histogram) -> bool {
    histogram.reset_hint == ResetHint::Gauge
}

impl Rate<'_> {
    pub(super) fn warn_of_gauge(&self, name: &str) {
        let name = quoted(name);
        self.context.warn(&format!("this native histogram metric is not a counter: {name}"), self.span);
    }

    pub(super) fn warn_of_counter(&self, name: &str) {
        let name = quoted(name);
        self.context.warn(&format!("this native histogram metric is not a gauge: {name}"), self.span);
    }

    /// What a sum or difference gave, with a note where boundaries had to be reconciled (`word`) or nothing fits.
    pub(super) fn noted(&self, combined: Result<Combined, MixedSchemas>, word: &str, name: &str) -> Option<Histogram> {
        match combined {
            Ok(combined) => {
                if combined.bounds_reconciled {
                    self.context.inform(&format!("mismatched custom buckets were reconciled during {word}"), self.span);
                }
                Some(combined.histogram)
            }
            Err(_) => {
                note_mixed_schemas(name, self.span, self.context);
                None
            }
        }
    }
}

/// Last histogram minus first, plus what resets in between took away. There must be two at least.
pub(super) fn increase(rate: &Rate<'_>, readings: Readings<'_>, name: &str) -> Option<Histogram> {
    let samples = readings.samples;
    let (first, last) = (&*samples.first()?.histogram, &*samples.last()?.histogram);
    let second = &*samples.get(1)?.histogram;
    let mut previous = first.clone();
    if rate.counter {
        if samples.iter().any(|sample| is_gauge(&sample.histogram)) {
            rate.warn_of_gauge(name);
        }
        if readings.restarts_at(1) || second.is_reset_since(&previous) {
            // The first sample then says nothing, and its buckets need not fit the others.
            let (schema, custom_values) = (second.schema, second.custom_values.clone());
            previous = Histogram { schema, custom_values, ..Histogram::default() };
        }
    }
    let custom = previous.has_custom_buckets();
    let looked_at = if rate.counter { &samples[1..] } else { &samples[samples.len() - 1..] };
    if looked_at.iter().any(|sample| sample.histogram.has_custom_buckets() != custom) {
        note_mixed_schemas(name, rate.span, rate.context);
        return None;
    }
    let coarsest = looked_at.iter().map(|sample| sample.histogram.schema).min()?.min(previous.schema);
    let mut result = last.at_resolution(coarsest);
    result = rate.noted(result.difference(&previous), "subtraction", name)?;
    if rate.counter {
        let mut before = &previous;
        for (index, sample) in samples.iter().enumerate().skip(1) {
            let start = readings.starts.get(index).copied().unwrap_or(0);
            if start != 0 && starts::overlaps(readings.starts[index - 1], samples[index - 1].time, start) {
                rate.warn_of_overlap(name);
            }
            if readings.restarts_at(index) || sample.histogram.is_reset_since(before) {
                result = rate.noted(result.plus(before), "addition", name)?;
            }
            before = &sample.histogram;
        }
    } else if !is_gauge(first) || !is_gauge(last) {
        rate.warn_of_counter(name);
    }
    result.reset_hint = ResetHint::Gauge;
    Some(result)
}

/// The increase from the one before last to the last.
pub(super) fn last_increase(rate: &Rate<'_>, readings: Readings<'_>, name: &str) -> Option<Histogram> {
    let index = readings.samples.len().checked_sub(1)?;
    let (before, last) =
        (&*readings.samples.get(index.checked_sub(1)?)?.histogram, &*readings.samples[index].histogram);
    if rate.per_second {
        if is_gauge(before) || is_gauge(last) {
            rate.warn_of_gauge(name);
        }
        if readings.restarts_at(index) || last.is_reset_since(before) {
            return Some(last.clone());
        }
    } else if !is_gauge(before) || !is_gauge(last) {
        rate.warn_of_counter(name);
    }
    rate.noted(last.difference(before), "subtraction", name)
}
