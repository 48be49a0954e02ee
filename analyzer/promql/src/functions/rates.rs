//! Rates and differences: `rate`, `increase`, `delta`, `irate`, `idelta`, `resets`, `changes`.

mod boundary;
mod counts;
mod histogram;
mod starts;

use std::sync::Arc;

use super::Arguments;
use crate::answer::{EvalError, SampleValue};
use crate::evaluate::{Context, Row, Window, roll};
use crate::histogram::ResetHint;
use crate::labels::{Labels, quoted};
use crate::series::Series;
use crate::syntax::tree::Span;
use histogram::Readings;

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
        return Ok(boundary::rates(name, rate, kind, &range));
    }
    Ok(match name {
        "rate" | "increase" | "delta" => roll(&range, context, false, |input| {
            let series = &input.series;
            let drops = if rate.counter { resets(series) } else { Vec::new() };
            let overlaps = if rate.counter {
                starts::overlapping(|index| series.times[index], &series.start_times)
            } else {
                Vec::new()
            };
            let mut next_drop = 0;
            let mut noted = false;
            let mut usual = Usual::default();
            move |window: &Window<'_>| {
                if !noted && !window.times().is_empty() {
                    noted = true;
                    rate.note_name(&input.labels);
                }
                let next_overlap = overlaps.partition_point(|&index| index <= window.first);
                if overlaps.get(next_overlap).is_some_and(|&index| index < window.past) {
                    rate.warn_of_overlap(input.labels.metric_name());
                }
                while drops.get(next_drop).is_some_and(|&index| index <= window.first) {
                    next_drop += 1;
                }
                rate.extrapolated(window, &drops[next_drop..], &mut usual)
            }
        }),
        "irate" | "idelta" => roll(&range, context, false, |_| move |window: &Window<'_>| rate.last_two(window)),
        "resets" => counts::resets(&range, context),
        _ => counts::changes(&range, context),
    })
}

/// The indices of samples before which the counter was reset: the value is lower than the one before, or the start
/// timestamp says so.
fn resets(series: &Series) -> Vec<usize> {
    let (times, values, starts) = (&series.times, &series.values, &series.start_times);
    let restarted = |index: usize| {
        starts
            .get(index)
            .is_some_and(|&start| starts::is_reset(starts[index - 1], times[index - 1], start, times[index]))
    };
    let is_reset = |&index: &usize| values[index] < values[index - 1] || restarted(index);
    if !starts.is_empty() {
        return (1..values.len()).filter(is_reset).collect();
    }
    // Counters hardly ever fall: stretches of them are looked at as a whole, which compilers make wide instructions of.
    let later = values.get(1..).unwrap_or_default();
    let mut found = Vec::new();
    for (number, (before, after)) in values.chunks(STRETCH).zip(later.chunks(STRETCH)).enumerate() {
        if before.iter().zip(after).fold(false, |any, (before, after)| any | (after < before)) {
            let from = number * STRETCH + 1;
            found.extend((from..from + after.len()).filter(is_reset));
        }
    }
    found
}

/// Samples that are looked at together.
const STRETCH: usize = 128;

/// Seconds around and between the samples of a window.
#[derive(Clone, Copy, Debug, Default)]
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
    fn factor(self, to_zero: Option<f64>) -> f64 {
        let mut covered = self.covered();
        if let Some(to_zero) = to_zero
            && to_zero < covered.to_start
        {
            covered.to_start = to_zero;
        }
        (covered.sampled + covered.to_start + covered.to_end) / covered.sampled
    }

    /// What the series is taken to cover around its samples.
    fn covered(mut self) -> Extent {
        let average = self.sampled / (self.samples - 1.0);
        let threshold = average * 1.1;
        if self.to_start >= threshold {
            self.to_start = average / 2.0;
        }
        if self.to_end >= threshold {
            self.to_end = average / 2.0;
        }
        self
    }

    /// The same where the counter began at zero within the window, `begun` seconds before the first sample: nothing is
    /// to be guessed to the left of it. After a single sample nothing is guessed to the right either.
    fn factor_since(&self, begun: f64) -> f64 {
        let average = if self.samples > 1.0 { self.sampled / (self.samples - 1.0) } else { 0.0 };
        let to_end = if self.to_end >= average * 1.1 { average / 2.0 } else { self.to_end };
        let sampled = self.sampled + begun;
        (sampled + to_end) / sampled
    }
}

/// The factor of a window, kept for the next one: scrapes are regular, and in most windows of a series the samples lie alike.
#[derive(Default)]
struct Usual {
    /// ms ahead of the first sample, behind the last, and between them; samples.
    place: (i64, i64, i64, usize),
    extent: Extent,
    /// Where no zero of a counter is nearer than the window's start.
    factor: f64,
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

    fn note_mix(&self, name: &str) {
        let name = quoted(name);
        self.context.warn(&format!("encountered a mix of histograms and floats for metric name {name}"), self.span);
    }

    fn warn_of_overlap(&self, name: &str) {
        let text = format!("start timestamps overlap with earlier samples for metric name {}", quoted(name));
        self.context.warn(&text, self.span);
    }

    /// `rate`, `increase` or `delta` of a window. `drops` begins with the first drop after the window's first sample.
    #[inline]
    fn extrapolated(&self, window: &Window<'_>, drops: &[usize], usual: &mut Usual) -> Option<SampleValue> {
        let (times, values) = (window.times(), window.values());
        if !window.histograms().is_empty() {
            if !times.is_empty() {
                self.note_mix(window.series.labels.metric_name());
                return None;
            }
            return self.extrapolated_histogram(window);
        }
        let (first, last) = (*values.first()?, *values.last()?);
        let mut increase = last - first;
        for &index in drops.iter().take_while(|&&index| index < window.past) {
            increase += window.series.values[index - 1];
        }
        let (first_time, last_time) = (times[0], times[times.len() - 1]);
        let start = window.series.start_times.get(window.first).copied();
        if let Some(begun) = self.start_within(window, start, first_time) {
            let extent = Extent::of(window, first_time, last_time, times.len());
            return Some(SampleValue::Float((increase + first) * self.per_second(extent.factor_since(begun), window)));
        }
        if times.len() < 2 {
            return None;
        }
        let place = (first_time - window.start, window.end - last_time, last_time - first_time, times.len());
        if usual.place != place {
            let extent = Extent::of(window, first_time, last_time, times.len());
            *usual = Usual { place, extent, factor: self.per_second(extent.factor(None), window) };
        }
        // One that was twice as high as it grew was zero long before: to the window's start it is 1.1 times the sampled stretch at most.
        if self.counter && increase > 0.0 && first >= 0.0 && first < 2.0 * increase {
            let to_zero = usual.extent.sampled * (first / increase);
            return Some(SampleValue::Float(increase * self.per_second(usual.extent.factor(Some(to_zero)), window)));
        }
        Some(SampleValue::Float(increase * usual.factor))
    }

    fn per_second(&self, factor: f64, window: &Window<'_>) -> f64 {
        if self.per_second { factor / window.seconds() } else { factor }
    }

    /// Seconds from when the counter began at zero to the first sample, if it began within the window.
    fn start_within(&self, window: &Window<'_>, start: Option<i64>, first: i64) -> Option<f64> {
        start
            .filter(|&start| self.counter && start != 0 && start > window.start && start < first)
            .map(|start| (first - start) as f64 / 1000.0)
    }

    fn extrapolated_histogram(&self, window: &Window<'_>) -> Option<SampleValue> {
        let readings = Readings::of(window);
        let (samples, name) = (readings.samples, window.series.labels.metric_name());
        let first = samples.first()?;
        let extent = Extent::of(window, first.time, samples[samples.len() - 1].time, samples.len());
        let increase = match samples.len() {
            1 => None,
            _ => Some(histogram::increase(self, readings, name)?),
        };
        let begun = self.start_within(window, readings.starts.first().copied(), first.time);
        let (increase, factor) = match (increase, begun) {
            (Some(increase), Some(begun)) => {
                (self.noted(increase.plus(&first.histogram), "addition", name)?, extent.factor_since(begun))
            }
            (None, Some(begun)) => ((*first.histogram).clone(), extent.factor_since(begun)),
            (Some(increase), None) => {
                let to_zero = (self.counter && increase.count > 0.0 && first.histogram.count >= 0.0)
                    .then(|| extent.sampled * (first.histogram.count / increase.count));
                (increase, extent.factor(to_zero))
            }
            (None, None) => return None,
        };
        let mut result = increase.times(self.per_second(factor, window));
        result.reset_hint = ResetHint::Gauge;
        Some(SampleValue::Histogram(Arc::new(result)))
    }

    /// `irate` or `idelta`: the last two samples alone.
    fn last_two(&self, window: &Window<'_>) -> Option<SampleValue> {
        let (times, values, histograms) = (window.times(), window.values(), window.histograms());
        if times.len() + histograms.len() < 2 {
            return None;
        }
        let name = window.series.labels.metric_name();
        let newest_float = times.last().copied().unwrap_or(i64::MIN);
        let newest_histogram = histograms.last().map_or(i64::MIN, |sample| sample.time);
        let floats = times.len() >= 2 && times[times.len() - 2] > newest_histogram;
        let only_histograms = histograms.len() >= 2 && histograms[histograms.len() - 2].time > newest_float;
        if floats {
            let (at, starts) = (window.past - 1, &window.series.start_times);
            let (before, last) = (values[values.len() - 2], values[values.len() - 1]);
            let (time_before, time) = (times[times.len() - 2], newest_float);
            let restarted =
                starts.get(at).is_some_and(|&start| starts::is_reset(starts[at - 1], time_before, start, time));
            let increase = if self.per_second && (last < before || restarted) { last } else { last - before };
            let seconds = (time - time_before) as f64 / 1000.0;
            return Some(SampleValue::Float(if self.per_second { increase / seconds } else { increase }));
        }
        if !only_histograms {
            self.note_mix(name);
            return None;
        }
        let two = &histograms[histograms.len() - 2..];
        let seconds = (two[1].time - two[0].time) as f64 / 1000.0;
        let increase = histogram::last_increase(self, Readings::of(window), name)?;
        let mut result = if self.per_second { increase.divided_by(seconds) } else { increase };
        result.reset_hint = ResetHint::Gauge;
        Some(SampleValue::Histogram(Arc::new(result)))
    }
}
