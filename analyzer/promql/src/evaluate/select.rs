//! Selectors and subqueries.

use std::sync::Arc;
use std::time::Instant;

use rayon::prelude::*;

use super::around::smoothed_at;
use super::window::Edge;
use super::{Cells, Context, Row, Steps, evaluate, note_mixed_schemas};
use crate::answer::{EvalError, SampleValue};
use crate::histogram::{Histogram, MixedSchemas, ResetHint};
use crate::labels::Labels;
use crate::series::{Column, HistogramSample, Series, is_stale};
use crate::syntax::tree::{Boundary, Node, NodeKind, Selector, Subquery};

/// One series of a range vector. It holds no staleness markers.
pub(crate) struct RangeInput {
    pub labels: Labels,
    pub drop_name: bool,
    pub series: Arc<Series>,
}

/// A range vector at all steps: series, and which part of them each step sees.
pub(crate) struct RangeVector {
    pub inputs: Vec<RangeInput>,
    /// Length of the window, milliseconds.
    pub range: i64,
    pub offset: i64,
    pub at: Option<i64>,
    pub boundary: Option<Boundary>,
}

impl RangeVector {
    /// The end of the window at a step.
    pub(crate) fn window_end(&self, context: &Context<'_>, step: usize) -> i64 {
        self.at.unwrap_or_else(|| context.time(step)) - self.offset
    }
}

/// The sample an instant selector sees.
#[derive(Clone, Copy)]
struct Seen {
    time: i64,
    /// Index among the floats, or else the histograms.
    float: Option<usize>,
    histogram: Option<usize>,
}

/// Walks a series once, giving for ascending times the latest sample at or before each.
struct Walker<'a> {
    series: &'a Series,
    lookback: i64,
    /// The first float beyond the last time.
    floats: Edge,
    histograms: usize,
}

impl<'a> Walker<'a> {
    fn new(series: &'a Series, lookback: i64, first: i64) -> Walker<'a> {
        let oldest = first - lookback;
        Walker {
            series,
            lookback,
            floats: Edge::at(series.times.partition_point(|&time| time <= oldest)),
            histograms: series.histograms.partition_point(|sample| sample.time <= oldest),
        }
    }

    /// The sample seen at a time; `None` if it is too old or a staleness marker. Times must not descend.
    fn at(&mut self, time: i64) -> Option<Seen> {
        let series = self.series;
        self.floats.go_beyond(&series.times, time);
        while series.histograms.get(self.histograms).is_some_and(|one| one.time <= time) {
            self.histograms += 1;
        }
        let float = self.floats.index.checked_sub(1).map(|index| (series.times[index], index));
        let histogram = self.histograms.checked_sub(1).map(|index| (series.histograms[index].time, index));
        let seen = match (float, histogram) {
            (Some((float_time, index)), other) if other.is_none_or(|(time, _)| time <= float_time) => {
                if is_stale(series.values[index]) {
                    return None;
                }
                Seen { time: float_time, float: Some(index), histogram: None }
            }
            (_, Some((time, index))) => {
                if is_stale(series.histograms[index].histogram.sum) {
                    return None;
                }
                Seen { time, float: None, histogram: Some(index) }
            }
            _ => return None,
        };
        // The lookback is open on the left: a sample exactly that old is not seen.
        (seen.time > time - self.lookback).then_some(seen)
    }
}

fn select(selector: &Selector, context: &Context<'_>, start: i64, end: i64) -> Vec<Arc<Series>> {
    let mut series = context.storage.select(&selector.matchers, start, end);
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    let samples = series
        .par_iter()
        .with_min_len(64)
        .map(|one| {
            let floats =
                one.times.partition_point(|&time| time <= end) - one.times.partition_point(|&time| time < start);
            let histograms = one.histograms.partition_point(|sample| sample.time <= end)
                - one.histograms.partition_point(|sample| sample.time < start);
            floats + histograms
        })
        .sum();
    context.selected(selector.span, series.len(), samples);
    series
}

/// Where an instant selector looks: offset and fixed time.
struct Reference {
    offset: i64,
    at: Option<i64>,
}

impl Reference {
    fn of(selector: &Selector, context: &Context<'_>) -> Result<Reference, EvalError> {
        let offset = selector.offset.as_ref().map_or(Ok(0), |offset| context.milliseconds(offset))?;
        Ok(Reference { offset, at: context.at(selector.at) })
    }

    fn time(&self, context: &Context<'_>, step: usize) -> i64 {
        self.at.unwrap_or_else(|| context.time(step)) - self.offset
    }
}

/// An instant selector.
pub(crate) fn select_instant(selector: &Selector, context: &Context<'_>) -> Result<Vec<Row>, EvalError> {
    let reference = Reference::of(selector, context)?;
    let lookback = context.lookback();
    let (first, last) = (reference.time(context, 0), reference.time(context, context.steps - 1));
    let smoothed = selector.boundary == Some(Boundary::Smoothed);
    let ahead = if smoothed { lookback } else { 0 };
    let series = select(selector, context, first - lookback + 1, last + ahead);
    context.reserve_rows(series.len())?;
    Ok(series
        .par_iter()
        .map_init(Sight::default, |sight, series| {
            let mut cells = Cells::empty(context.steps);
            let mut any = false;
            if !smoothed && series.histograms.is_empty() {
                sight.turn_to(&series.times, &reference, context);
                for (cell, seen) in cells.floats.iter_mut().zip(&sight.seen) {
                    if let Some(index) = *seen {
                        // A cell with the marker is an empty one.
                        *cell = series.values[index];
                        any |= !is_stale(*cell);
                    }
                }
            } else if smoothed {
                let clean = without_markers(series);
                for step in 0..context.steps {
                    let time = reference.time(context, step);
                    match smoothed_at(&clean, time, lookback, selector.span, context) {
                        Ok(Some(value)) => {
                            if let SampleValue::Histogram(histogram) = &value
                                && !context.budget.take_histogram(histogram)
                            {
                                break;
                            }
                            cells.set(step, value);
                            any = true;
                        }
                        Ok(None) => {}
                        Err(MixedSchemas) => note_mixed_schemas(series.labels.metric_name(), selector.span, context),
                    }
                }
            } else {
                let mut walker = Walker::new(series, lookback, first);
                for step in 0..context.steps {
                    let Some(seen) = walker.at(reference.time(context, step)) else { continue };
                    any = true;
                    if let Some(index) = seen.float {
                        cells.floats[step] = series.values[index];
                    } else if let Some(index) = seen.histogram {
                        let histogram = Arc::clone(&series.histograms[index].histogram);
                        cells.set(step, SampleValue::Histogram(histogram));
                    }
                }
            }
            any.then(|| Row { labels: series.labels.clone(), drop_name: false, cells })
        })
        .flatten_iter()
        .collect())
}

/// Which of the times of a series each step sees. Series that were scraped together have one column of times, which is looked through once.
#[derive(Default)]
struct Sight {
    times: Column<i64>,
    seen: Vec<Option<usize>>,
}

impl Sight {
    fn turn_to(&mut self, times: &Column<i64>, reference: &Reference, context: &Context<'_>) {
        if self.times.ptr_eq(times) {
            return;
        }
        self.times.clone_from(times);
        let lookback = context.lookback();
        let oldest = reference.time(context, 0) - lookback;
        let mut edge = Edge::at(times.partition_point(|&time| time <= oldest));
        let seen = |step| {
            let time = reference.time(context, step);
            edge.go_beyond(times, time);
            // The lookback is open on the left.
            edge.index.checked_sub(1).filter(|&index| times[index] > time - lookback)
        };
        self.seen = (0..context.steps).map(seen).collect();
    }
}

/// When the sample was taken that a step sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Of a float: milliseconds since 1970.
    OfFloat(i64),
    OfHistogram,
}

/// A series, and the moment of the sample that each step sees.
type Moments = (Labels, Vec<Option<Moment>>);

/// The series that an instant selector sees, and when the samples were taken that each step sees.
pub(crate) fn sample_moments(selector: &Selector, context: &Context<'_>) -> Result<Vec<Moments>, EvalError> {
    let reference = Reference::of(selector, context)?;
    let lookback = context.lookback();
    let (first, last) = (reference.time(context, 0), reference.time(context, context.steps - 1));
    let series = select(selector, context, first - lookback + 1, last);
    // A moment takes two cells.
    context.reserve_rows(series.len().saturating_mul(2))?;
    let moments = series.iter().map(|series| {
        let mut walker = Walker::new(series, lookback, first);
        let moments = (0..context.steps).map(|step| {
            let seen = walker.at(reference.time(context, step))?;
            Some(if seen.float.is_some() { Moment::OfFloat(seen.time) } else { Moment::OfHistogram })
        });
        (series.labels.clone(), moments.collect())
    });
    Ok(moments.collect())
}

/// The start timestamps (seconds) of the samples that a selector sees, where they have any.
pub(crate) fn sample_starts(selector: &Selector, context: &Context<'_>) -> Result<Vec<Row>, EvalError> {
    let start = |series: &Series, seen: &Seen| {
        let float = seen.float.and_then(|index| series.start_times.get(index));
        let histogram = seen.histogram.and_then(|index| series.histogram_start_times.get(index));
        float.or(histogram).map(|start| *start as f64 / 1000.0)
    };
    times_of(selector, context, start)
}

/// The times (seconds) of the samples that a selector sees, as `timestamp` wants them.
pub(crate) fn sample_times(selector: &Selector, context: &Context<'_>) -> Result<Vec<Row>, EvalError> {
    times_of(selector, context, |_, seen| Some(seen.time as f64 / 1000.0))
}

fn times_of(
    selector: &Selector,
    context: &Context<'_>,
    time: impl Fn(&Series, &Seen) -> Option<f64> + Sync,
) -> Result<Vec<Row>, EvalError> {
    let reference = Reference::of(selector, context)?;
    let lookback = context.lookback();
    let (first, last) = (reference.time(context, 0), reference.time(context, context.steps - 1));
    let series = select(selector, context, first - lookback + 1, last);
    context.reserve_rows(series.len())?;
    Ok(series
        .par_iter()
        .filter_map(|series| {
            let mut cells = Cells::empty(context.steps);
            let mut walker = Walker::new(series, lookback, first);
            let mut any = false;
            for step in 0..context.steps {
                let seen = walker.at(reference.time(context, step));
                if let Some(seconds) = seen.and_then(|seen| time(series, &seen)) {
                    cells.floats[step] = seconds;
                    any = true;
                }
            }
            any.then(|| Row { labels: series.labels.clone(), drop_name: true, cells })
        })
        .collect())
}

fn without_markers(series: &Arc<Series>) -> Arc<Series> {
    let stale_histogram = |sample: &HistogramSample| is_stale(sample.histogram.sum);
    if !series.has_markers() {
        return Arc::clone(series);
    }
    let histogram_starts = series.histogram_start_times.iter().zip(&series.histograms);
    let kept = || series.times.iter().zip(series.values.iter()).filter(|(_, value)| !is_stale(**value));
    let starts = series.start_times.iter().zip(series.values.iter()).filter(|(_, value)| !is_stale(**value));
    Arc::new(Series {
        labels: series.labels.clone(),
        times: kept().map(|(time, _)| *time).collect(),
        values: kept().map(|(_, value)| *value).collect(),
        histograms: series.histograms.iter().filter(|sample| !stale_histogram(sample)).cloned().collect(),
        start_times: starts.map(|(start, _)| *start).collect(),
        histogram_start_times: histogram_starts
            .filter(|(_, sample)| !stale_histogram(sample))
            .map(|(start, _)| *start)
            .collect(),
        unmarked: true,
    })
}

/// A range vector: a range selector or a subquery, perhaps in parentheses.
pub(crate) fn range_vector(node: &Node, context: &Context<'_>) -> Result<RangeVector, EvalError> {
    let begun = Instant::now();
    let vector = read_range_vector(node, context)?;
    // What becomes of it has a row for each series.
    context.reserve_rows(vector.inputs.len())?;
    if context.options.timed {
        context.notes.timed(node.unwrapped().span, begun.elapsed().as_secs_f64(), vector.inputs.len());
    }
    Ok(vector)
}

fn read_range_vector(node: &Node, context: &Context<'_>) -> Result<RangeVector, EvalError> {
    match &node.unwrapped().kind {
        NodeKind::RangeSelector { selector, range } => {
            let range = context.positive_milliseconds(range)?;
            let reference = Reference::of(selector, context)?;
            let lookback = context.lookback();
            let (first, last) = (reference.time(context, 0), reference.time(context, context.steps - 1));
            let (before, after) = match selector.boundary {
                None => (0, 0),
                Some(Boundary::Anchored) => (lookback, 0),
                Some(Boundary::Smoothed) => (lookback, lookback),
            };
            let series = select(selector, context, first - range - before + 1, last + after);
            let inputs = series
                .par_iter()
                .map(|series| {
                    let clean = without_markers(series);
                    if !Arc::ptr_eq(&clean, series) {
                        context.budget.take_bytes((clean.times.len() + clean.histograms.len()) * 16)?;
                    }
                    Ok(RangeInput { labels: series.labels.clone(), drop_name: false, series: clean })
                })
                .collect::<Result<_, EvalError>>()?;
            Ok(RangeVector { inputs, range, offset: reference.offset, at: reference.at, boundary: selector.boundary })
        }
        NodeKind::Subquery(subquery) => evaluate_subquery(subquery, context),
        _ => Err(EvalError::Execution("expected a range vector".to_owned())),
    }
}

/// Evaluates a subquery once, at every multiple of its step that any window of the outer steps can see.
fn evaluate_subquery(subquery: &Subquery, context: &Context<'_>) -> Result<RangeVector, EvalError> {
    let range = context.positive_milliseconds(&subquery.range)?;
    let step = match &subquery.step {
        Some(step) => context.positive_milliseconds(step)?,
        None => i64::try_from(context.options.subquery_step.as_millis()).unwrap_or(60_000).max(1),
    };
    let offset = subquery.offset.as_ref().map_or(Ok(0), |offset| context.milliseconds(offset))?;
    let at = context.at(subquery.at);
    let mut vector = RangeVector { inputs: Vec::new(), range, offset, at, boundary: None };
    let oldest = vector.window_end(context, 0) - range;
    let last = vector.window_end(context, context.steps - 1);
    // The first multiple of the step after the window's open left end.
    let mut start = oldest / step * step;
    if start <= oldest {
        start += step;
    }
    if start > last {
        return Ok(vector);
    }
    let steps = (last - start) / step + 1;
    let inner = Context { start, step, steps: steps as usize, in_subquery: true, ..*context };
    if let Steps::Vector(rows) = evaluate(&subquery.inner, &inner)? {
        vector.inputs = rows.into_iter().map(|row| as_input(row, &inner)).collect::<Result<_, _>>()?;
    }
    Ok(vector)
}

/// The steps of a subquery as samples of a series.
///
/// They may show a sample twice, or not at all: hints about resets between neighbours no longer hold (Prometheus 3.2,
/// PR 15987).
fn as_input(row: Row, context: &Context<'_>) -> Result<RangeInput, EvalError> {
    let mut series = Series { labels: row.labels.clone(), ..Series::default() };
    let unhinted = |histogram: &Arc<Histogram>| match histogram.reset_hint {
        ResetHint::Unknown | ResetHint::Gauge => Arc::clone(histogram),
        _ => Arc::new(Histogram { reset_hint: ResetHint::Unknown, ..(**histogram).clone() }),
    };
    // A sample is twice as large as the cell whose place it takes.
    let floats = row.cells.floats.iter().filter(|value| !is_stale(**value)).count();
    context.budget.take_bytes(floats.saturating_mul(8))?;
    let (mut times, mut values) = (Vec::with_capacity(floats), Vec::with_capacity(floats));
    for step in 0..context.steps {
        if let Some(value) = row.cells.float(step) {
            times.push(context.time(step));
            values.push(value);
        } else if let Some(histogram) = row.cells.histogram(step) {
            let unhinted = unhinted(histogram);
            if !Arc::ptr_eq(&unhinted, histogram) && !context.budget.take_histogram(&unhinted) {
                break;
            }
            series.histograms.push(HistogramSample { time: context.time(step), histogram: unhinted });
        }
    }
    context.budget.check()?;
    (series.times, series.values) = (times.into(), values.into());
    Ok(RangeInput { labels: row.labels, drop_name: row.drop_name, series: Arc::new(series) })
}
