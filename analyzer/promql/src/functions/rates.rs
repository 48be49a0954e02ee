//! Rates and differences: `rate`, `increase`, `delta`, `irate`, `idelta`, `resets`, `changes`.

mod boundary;
mod histogram;

use std::sync::Arc;

use super::Arguments;
use crate::answer::{EvalError, SampleValue};
use crate::evaluate::{Context, RangeVector, Row, Window, roll};
use crate::histogram::{Histogram, ResetHint};
use crate::labels::{Labels, quoted};
use crate::series::Series;
use crate::syntax::tree::Span;

/// Which of the extrapolating functions it is, and where it stands.
#[derive(Clone, Copy)]
struct Rate<'a> {
    /// Decreases are resets.
    counter: bool,
    /// The result is per second.
    per_second: bool,
    span: Span,
    context: &'a Context<'a>,
}

/// Evaluates one of these functions.
pub(super) fn rates(name: &str, arguments: &Arguments<'_>) -> Result<Vec<Row>, EvalError> {
    let range = arguments.range(0)?;
    let context = arguments.context;
    let rate = Rate {
        counter: !matches!(name, "delta" | "idelta"),
        per_second: matches!(name, "rate" | "irate"),
        span: arguments.span(0),
        context,
    };
    if let Some(kind) = range.boundary {
        return boundary::rates(name, rate, kind, &range);
    }
    Ok(match name {
        "rate" | "increase" | "delta" => roll(&range, context, false, |input| {
            let drops = if rate.counter { resets(&input.series) } else { Vec::new() };
            let mut next_drop = 0;
            let mut noted = false;
            move |window: &Window<'_>| {
                if !noted && !window.times().is_empty() {
                    noted = true;
                    rate.note_name(&input.labels);
                }
                while drops.get(next_drop).is_some_and(|&index| index <= window.first) {
                    next_drop += 1;
                }
                rate.extrapolated(window, &drops[next_drop..])
            }
        }),
        "irate" | "idelta" => roll(&range, context, false, |_| move |window: &Window<'_>| rate.last_two(window)),
        "resets" => count_between(
            &range,
            context,
            |a, b| b < a,
            |a, b| {
                let gauge = |one: &Histogram| one.reset_hint == ResetHint::Gauge;
                gauge(a) != gauge(b) || b.is_reset_since(a)
            },
        ),
        _ => count_between(&range, context, |a, b| a != b && !(a.is_nan() && b.is_nan()), |a, b| !a.same_as(b)),
    })
}

/// The indices of samples before which the counter was reset: the value is lower than the one before, or the start
/// timestamp says so.
fn resets(series: &Series) -> Vec<usize> {
    let lower = |index: usize| series.values[index] < series.values[index - 1];
    let restarted = |index: usize| {
        series.start_times.get(index).is_some_and(|&start| {
            let (before, time) = (series.times[index - 1], series.times[index]);
            let start_before = series.start_times[index - 1];
            if start == 0 || start >= time || start < before {
                return false;
            }
            // A start at the sample before: a delta, which starts anew each time, if that one's start is known.
            start > before || (start_before != 0 && start_before < before)
        })
    };
    (1..series.values.len()).filter(|&index| lower(index) || restarted(index)).collect()
}

/// Seconds around and between the samples of a window.
struct Extent {
    to_start: f64,
    to_end: f64,
    sampled: f64,
    samples: f64,
}

impl Extent {
    fn of(window: &Window<'_>, first: i64, last: i64, samples: usize) -> Extent {
        Extent {
            to_start: (first - window.start) as f64 / 1000.0,
            to_end: (window.end - last) as f64 / 1000.0,
            sampled: (last - first) as f64 / 1000.0,
            samples: samples as f64,
        }
    }

    /// By how much the increase between the samples is to be multiplied to cover the window.
    ///
    /// A gap at an end of less than 1.1 times the average distance between samples is taken as covered by the series;
    /// beyond that the series is taken to begin or end half a distance outside. A counter cannot have been below
    /// zero: `to_zero` is when it would have been zero at this rate.
    fn factor(mut self, to_zero: Option<f64>) -> f64 {
        let average = self.sampled / (self.samples - 1.0);
        let threshold = average * 1.1;
        if self.to_start >= threshold {
            self.to_start = average / 2.0;
        }
        if let Some(to_zero) = to_zero
            && to_zero < self.to_start
        {
            self.to_start = to_zero;
        }
        if self.to_end >= threshold {
            self.to_end = average / 2.0;
        }
        (self.sampled + self.to_start + self.to_end) / self.sampled
    }
}

impl Rate<'_> {
    /// An info where the metric's name does not look like a counter's.
    fn note_name(&self, labels: &Labels) {
        let name = labels.metric_name();
        if !self.counter || name.is_empty() {
            return;
        }
        match labels.get("__type__") {
            "" => {
                if !["_total", "_sum", "_count", "_bucket"].iter().any(|suffix| name.ends_with(suffix)) {
                    let text = format!(
                        "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {}",
                        quoted(name)
                    );
                    self.context.inform(&text, self.span);
                }
            }
            "counter" | "histogram" => {}
            other => {
                let text = format!(
                    "metric might not be a counter, __type__ label is not set to \"counter\" or \"histogram\", got {}: {}",
                    quoted(other),
                    quoted(name)
                );
                self.context.inform(&text, self.span);
            }
        }
    }

    fn note_mix(&self, window: &Window<'_>) {
        let name = quoted(window.series.labels.metric_name());
        self.context.warn(&format!("encountered a mix of histograms and floats for metric name {name}"), self.span);
    }

    /// `rate`, `increase` or `delta` of a window. `drops` begins with the first drop after the window's first sample.
    fn extrapolated(&self, window: &Window<'_>, drops: &[usize]) -> Option<SampleValue> {
        let (times, values) = (window.times(), window.values());
        if !window.histograms().is_empty() {
            if !times.is_empty() {
                self.note_mix(window);
                return None;
            }
            return self.extrapolated_histogram(window);
        }
        let (first, last) = (*values.first()?, *values.last()?);
        let mut increase = last - first;
        for &index in drops.iter().take_while(|&&index| index < window.past) {
            increase += window.series.values[index - 1];
        }
        let begun = window.series.start_times.get(window.first).filter(|_| self.counter);
        if let Some(&begun) = begun
            && begun != 0
            && begun > window.start
            && begun < times[0]
        {
            return Some(SampleValue::Float(self.since_start(window, begun, increase + first)));
        }
        if times.len() < 2 {
            return None;
        }
        let extent = Extent::of(window, times[0], times[times.len() - 1], times.len());
        let to_zero = (self.counter && increase > 0.0 && first >= 0.0).then(|| extent.sampled * (first / increase));
        let mut factor = extent.factor(to_zero);
        if self.per_second {
            factor /= window.seconds();
        }
        Some(SampleValue::Float(increase * factor))
    }

    /// The rate of a counter that began at zero within the window: no extrapolation to the left.
    fn since_start(&self, window: &Window<'_>, begun: i64, increase: f64) -> f64 {
        let times = window.times();
        let (first, last) = (times[0], times[times.len() - 1]);
        let average = match times.len() {
            1 => 0.0,
            samples => (last - first) as f64 / 1000.0 / (samples - 1) as f64,
        };
        let sampled = (last - begun) as f64 / 1000.0;
        let mut to_end = (window.end - last) as f64 / 1000.0;
        if to_end >= average * 1.1 {
            to_end = average / 2.0;
        }
        let factor = (sampled + to_end) / sampled;
        increase * if self.per_second { factor / window.seconds() } else { factor }
    }

    fn extrapolated_histogram(&self, window: &Window<'_>) -> Option<SampleValue> {
        let samples = window.histograms();
        if samples.len() < 2 {
            return None;
        }
        let increase = histogram::increase(self, samples, window)?;
        let first = &samples[0];
        let extent = Extent::of(window, first.time, samples[samples.len() - 1].time, samples.len());
        let to_zero = (self.counter && increase.count > 0.0 && first.histogram.count >= 0.0)
            .then(|| extent.sampled * (first.histogram.count / increase.count));
        let mut factor = extent.factor(to_zero);
        if self.per_second {
            factor /= window.seconds();
        }
        let mut result = increase.times(factor);
        result.reset_hint = ResetHint::Gauge;
        Some(SampleValue::Histogram(Arc::new(result)))
    }

    /// `irate` or `idelta`: the last two samples alone.
    fn last_two(&self, window: &Window<'_>) -> Option<SampleValue> {
        let (times, values, histograms) = (window.times(), window.values(), window.histograms());
        if times.len() + histograms.len() < 2 {
            return None;
        }
        let newest_float = times.last().copied().unwrap_or(i64::MIN);
        let newest_histogram = histograms.last().map_or(i64::MIN, |sample| sample.time);
        let floats = times.len() >= 2 && times[times.len() - 2] > newest_histogram;
        let only_histograms = histograms.len() >= 2 && histograms[histograms.len() - 2].time > newest_float;
        if floats {
            let (before, last) = (values[values.len() - 2], values[values.len() - 1]);
            let seconds = (times[times.len() - 1] - times[times.len() - 2]) as f64 / 1000.0;
            let increase = if self.per_second && last < before { last } else { last - before };
            return Some(SampleValue::Float(if self.per_second { increase / seconds } else { increase }));
        }
        if !only_histograms {
            self.note_mix(window);
            return None;
        }
        let two = &histograms[histograms.len() - 2..];
        let seconds = (two[1].time - two[0].time) as f64 / 1000.0;
        let increase = histogram::last_increase(self, two, window)?;
        let mut result = if self.per_second { increase.divided_by(seconds) } else { increase };
        result.reset_hint = ResetHint::Gauge;
        Some(SampleValue::Histogram(Arc::new(result)))
    }
}

/// How many pairs of neighbours satisfy a condition; a float next to a histogram always does.
fn count_between(
    range: &RangeVector,
    context: &Context<'_>,
    float: fn(f64, f64) -> bool,
    histogram: fn(&Histogram, &Histogram) -> bool,
) -> Vec<Row> {
    roll(range, context, false, |input| {
        // For each sample, how many of the pairs up to it satisfy the condition.
        let mut total = 0u32;
        let mut before = Vec::new();
        if input.series.histograms.is_empty() {
            before.push(0);
            before.extend(input.series.values.windows(2).map(|two| {
                total += u32::from(float(two[0], two[1]));
                total
            }));
        }
        move |window: &Window<'_>| {
            let count = if window.series.histograms.is_empty() {
                f64::from(before[window.past - 1] - before[window.first])
            } else {
                mixed_count_between(window, float, histogram)
            };
            Some(SampleValue::Float(count))
        }
    })
}

fn mixed_count_between(
    window: &Window<'_>,
    float: fn(f64, f64) -> bool,
    histogram: fn(&Histogram, &Histogram) -> bool,
) -> f64 {
    let floats = window.times().iter().zip(window.values());
    let mut all: Vec<(i64, SampleValue)> = floats.map(|(&time, &value)| (time, SampleValue::Float(value))).collect();
    let histograms = window.histograms().iter();
    all.extend(histograms.map(|sample| (sample.time, SampleValue::Histogram(Arc::clone(&sample.histogram)))));
    all.sort_by_key(|(time, _)| *time);
    let changed = |two: &&[(i64, SampleValue)]| match (&two[0].1, &two[1].1) {
        (SampleValue::Float(a), SampleValue::Float(b)) => float(*a, *b),
        (SampleValue::Histogram(a), SampleValue::Histogram(b)) => histogram(a, b),
        _ => true,
    };
    all.windows(2).filter(changed).count() as f64
}
