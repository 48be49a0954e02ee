//! The increase of native histograms over a window.

use super::Rate;
use crate::evaluate::Window;
use crate::histogram::{Histogram, ResetHint};
use crate::labels::quoted;
use crate::series::HistogramSample;

impl Rate<'_> {
    fn warn_of(&self, window: &Window<'_>, what: &str) {
        let name = quoted(window.series.labels.metric_name());
        self.context.warn(&format!("{what} {name}"), self.span);
    }

    fn warn_of_gauge(&self, window: &Window<'_>) {
        self.warn_of(window, "this native histogram metric is not a counter:");
    }

    fn warn_of_counter(&self, window: &Window<'_>) {
        self.warn_of(window, "this native histogram metric is not a gauge:");
    }

    fn warn_of_mixed_schemas(&self, window: &Window<'_>) {
        let text = "vector contains a mix of histograms with exponential and custom buckets schemas for metric name";
        self.warn_of(window, text);
    }

    fn difference(&self, last: &Histogram, first: &Histogram, window: &Window<'_>) -> Option<Histogram> {
        match last.minus(first) {
            Ok(difference) => {
                if difference.bounds_reconciled {
                    let text = "mismatched custom buckets were reconciled during subtraction";
                    self.context.inform(text, self.span);
                }
                Some(difference.histogram)
            }
            Err(_) => {
                self.warn_of_mixed_schemas(window);
                None
            }
        }
    }
}

/// Last histogram minus first, plus what resets in between took away.
pub(super) fn increase(rate: &Rate<'_>, samples: &[HistogramSample], window: &Window<'_>) -> Option<Histogram> {
    let last = &*samples.last()?.histogram;
    let is_gauge = |sample: &HistogramSample| sample.histogram.reset_hint == ResetHint::Gauge;
    let mut previous = (*samples.first()?.histogram).clone();
    let second = &*samples.get(1)?.histogram;
    if rate.counter {
        if samples.iter().any(is_gauge) {
            rate.warn_of_gauge(window);
        }
        if second.is_reset_since(&previous) {
            // The first sample then says nothing, and its buckets need not fit the others.
            previous = Histogram {
                schema: second.schema,
                custom_values: second.custom_values.clone(),
                zero_threshold: second.zero_threshold,
                ..Histogram::default()
            };
        }
    } else if !is_gauge(&samples[0]) || last.reset_hint != ResetHint::Gauge {
        rate.warn_of_counter(window);
    }
    let custom = previous.has_custom_buckets();
    let looked_at = if rate.counter { &samples[1..] } else { &samples[samples.len() - 1..] };
    if looked_at.iter().any(|sample| sample.histogram.has_custom_buckets() != custom) {
        rate.warn_of_mixed_schemas(window);
        return None;
    }
    let mut result = last.clone();
    let coarsest = looked_at.iter().map(|sample| sample.histogram.schema).min()?.min(previous.schema);
    result.reduce_resolution(coarsest);
    result = rate.difference(&result, &previous, window)?;
    if rate.counter {
        let mut before = &previous;
        for sample in &samples[1..] {
            if sample.histogram.is_reset_since(before) {
                result = result.plus(before).ok()?.histogram;
            }
            before = &sample.histogram;
        }
    }
    result.reset_hint = ResetHint::Gauge;
    Some(result)
}

/// The increase from the one before last to the last.
pub(super) fn last_increase(rate: &Rate<'_>, two: &[HistogramSample], window: &Window<'_>) -> Option<Histogram> {
    let (before, last) = (&*two.first()?.histogram, &*two.last()?.histogram);
    let is_gauge = |one: &Histogram| one.reset_hint == ResetHint::Gauge;
    if rate.per_second {
        if is_gauge(before) || is_gauge(last) {
            rate.warn_of_gauge(window);
        }
        if last.is_reset_since(before) {
            return Some(last.clone());
        }
    } else if !is_gauge(before) || !is_gauge(last) {
        rate.warn_of_counter(window);
    }
    rate.difference(last, before, window)
}
