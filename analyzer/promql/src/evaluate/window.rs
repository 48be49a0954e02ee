//! Windows that slide over a series.

use std::sync::Arc;

use rayon::prelude::*;

use super::{Cells, Context, RangeInput, RangeVector, Row};
use crate::answer::SampleValue;
use crate::series::{HistogramSample, Series};

/// Samples of a window from which it pays to look at the clock.
const LONG: usize = 1_000;

/// What a range function sees at one step: the samples in `(start, end]`.
#[derive(Clone, Copy)]
pub(crate) struct Window<'a> {
    pub series: &'a Series,
    /// First float, and one past the last.
    pub first: usize,
    pub past: usize,
    /// First histogram, and one past the last.
    pub first_histogram: usize,
    pub past_histogram: usize,
    pub start: i64,
    pub end: i64,
    /// The step and its time, which an offset or `@` sets apart from the window's end.
    pub step: usize,
    pub time: i64,
}

impl<'a> Window<'a> {
    /// Times of the floats.
    pub(crate) fn times(&self) -> &'a [i64] {
        &self.series.times[self.first..self.past]
    }

    /// The floats.
    pub(crate) fn values(&self) -> &'a [f64] {
        &self.series.values[self.first..self.past]
    }

    /// The histograms.
    pub(crate) fn histograms(&self) -> &'a [HistogramSample] {
        &self.series.histograms[self.first_histogram..self.past_histogram]
    }

    /// Start timestamps of the histograms; empty where none is known.
    pub(crate) fn histogram_starts(&self) -> &'a [i64] {
        self.series.histogram_start_times.get(self.first_histogram..self.past_histogram).unwrap_or_default()
    }

    /// Whether there is no sample.
    pub(crate) fn is_empty(&self) -> bool {
        self.first == self.past && self.first_histogram == self.past_histogram
    }

    /// The number of samples.
    pub(crate) fn len(&self) -> usize {
        self.past - self.first + self.past_histogram - self.first_histogram
    }

    /// Seconds of the window.
    pub(crate) fn seconds(&self) -> f64 {
        (self.end - self.start) as f64 / 1000.0
    }
}

/// The windows of all steps over one series, empty ones included.
pub(crate) fn windows<'a, 'c>(
    series: &'a Series,
    vector: &'a RangeVector,
    context: &'c Context<'c>,
) -> impl Iterator<Item = Window<'a>> + use<'a, 'c> {
    let begin = vector.window_end(context, 0) - vector.range;
    let begun = series.times.partition_point(|&time| time <= begin);
    let begun_histogram = series.histograms.partition_point(|sample| sample.time <= begin);
    Windows {
        series,
        vector,
        context,
        step: 0,
        first: Edge::at(begun),
        past: Edge::at(begun),
        first_histogram: begun_histogram,
        past_histogram: begun_histogram,
    }
}

struct Windows<'a, 'c> {
    series: &'a Series,
    vector: &'a RangeVector,
    context: &'c Context<'c>,
    step: usize,
    first: Edge,
    past: Edge,
    first_histogram: usize,
    past_histogram: usize,
}

impl<'a> Iterator for Windows<'a, '_> {
    type Item = Window<'a>;

    // A window that is handed over in memory costs as much as what is done with it.
    #[inline(always)]
    fn next(&mut self) -> Option<Window<'a>> {
        let (series, step) = (self.series, self.step);
        if step >= self.context.steps {
            return None;
        }
        self.step += 1;
        let end = self.vector.window_end(self.context, step);
        let start = end - self.vector.range;
        self.past.go_beyond(&series.times, end);
        self.first.go_beyond(&series.times, start);
        if !series.histograms.is_empty() {
            while series.histograms.get(self.past_histogram).is_some_and(|sample| sample.time <= end) {
                self.past_histogram += 1;
            }
            while self.first_histogram < self.past_histogram && series.histograms[self.first_histogram].time <= start {
                self.first_histogram += 1;
            }
        }
        Some(Window {
            series,
            first: self.first.index,
            past: self.past.index,
            first_histogram: self.first_histogram,
            past_histogram: self.past_histogram,
            start,
            end,
            step,
            time: self.context.time(step),
        })
    }
}

/// An edge of a window: the first sample beyond a time that only grows.
#[derive(Clone, Copy)]
pub(super) struct Edge {
    pub(super) index: usize,
    /// By how many samples it moved last: scrapes are regular, and it will most likely do so again.
    stride: usize,
}

impl Edge {
    pub(super) fn at(index: usize) -> Edge {
        Edge { index, stride: 0 }
    }

    /// Moves to the first of the times (ascending) that is beyond `bound`.
    #[inline]
    pub(super) fn go_beyond(&mut self, times: &[i64], bound: i64) {
        let guess = self.index + self.stride;
        let not_short = times.get(guess).is_none_or(|&time| time > bound);
        let not_far = guess == self.index || times.get(guess - 1).is_some_and(|&time| time <= bound);
        if not_short && not_far {
            self.index = guess;
            return;
        }
        let before = self.index;
        while times.get(self.index).is_some_and(|&time| time <= bound) {
            self.index += 1;
        }
        self.stride = self.index - before;
    }
}

/// Applies a function to every window of every series, series in parallel.
///
/// `prepare` looks at a series once; what it returns is called with the windows that hold samples, in order.
/// Series without any result are left out.
pub(crate) fn roll<'a, P, F>(vector: &'a RangeVector, context: &Context<'_>, keep_name: bool, prepare: P) -> Vec<Row>
where
    P: Fn(&'a RangeInput) -> F + Sync,
    F: FnMut(&Window<'a>) -> Option<SampleValue>,
{
    let one = |input: &'a RangeInput| {
        // What is left out then is told as an error when the node is settled.
        if context.budget.is_late() {
            return None;
        }
        let mut function = prepare(input);
        let mut cells = Cells::empty(context.steps);
        let mut any = false;
        let mut largest = 0;
        for window in windows(&input.series, vector, context) {
            // With `anchored` or `smoothed` a window without samples of its own may still have a value.
            if window.is_empty() && vector.boundary.is_none() {
                continue;
            }
            largest = largest.max(window.len());
            if window.len() >= LONG && context.budget.is_late() {
                break;
            }
            if let Some(value) = function(&window) {
                any = true;
                match value {
                    SampleValue::Float(value) => cells.floats[window.step] = value,
                    SampleValue::Histogram(histogram) => {
                        // One that the storage holds too is not new.
                        if Arc::strong_count(&histogram) == 1 && !context.budget.take_histogram(&histogram) {
                            break;
                        }
                        cells.set(window.step, SampleValue::Histogram(histogram));
                    }
                }
            }
        }
        context.budget.see_window(largest);
        any.then(|| Row { labels: input.labels.clone(), drop_name: input.drop_name || !keep_name, cells })
    };
    vector.inputs.par_iter().with_min_len(8).filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_edge_is_where_a_search_finds_it(
            gaps in prop::collection::vec(prop_oneof![4 => Just(15i64), 1 => 1i64..100], 0..60),
            moves in prop::collection::vec(prop_oneof![4 => Just(60i64), 1 => 0i64..500], 1..40),
        ) {
            let times: Vec<i64> = gaps.iter().scan(0, |time, gap| { *time += gap; Some(*time) }).collect();
            let (mut edge, mut bound) = (Edge::at(0), 0);
            for step in moves {
                bound += step;
                edge.go_beyond(&times, bound);
                prop_assert_eq!(edge.index, times.partition_point(|&time| time <= bound));
            }
        }
    }
}
