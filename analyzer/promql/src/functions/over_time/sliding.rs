//! Sums and extremes of windows that slide over a series, at a constant cost per step.

use crate::evaluate::Window;

/// Windows shorter than this are added up directly.
const SHORT: usize = 16;

/// A number as the unevaluated sum of two floats: about 106 bits.
#[derive(Clone, Copy, Debug, Default)]
struct Double {
    high: f64,
    low: f64,
}

impl Double {
    /// Adds without losing what the larger part cannot hold (Knuth's two-sum, then normalised).
    fn plus(self, other: Double) -> Double {
        let sum = self.high + other.high;
        let part = sum - self.high;
        let lost = (self.high - (sum - part)) + (other.high - part);
        let low = lost + self.low + other.low;
        let high = sum + low;
        Double { high, low: low - (high - sum) }
    }
}

/// Sums of windows as differences of running totals, which are kept at twice the precision of a float.
///
/// Where even that does not do (values that are not finite, totals far larger than the window's sum) there is no
/// answer, and the window is to be added up directly.
#[derive(Debug, Default)]
pub(super) struct SlidingSum {
    /// The total of all finite values before each index.
    totals: Vec<Double>,
    /// How many values before each index are not finite.
    not_finite: Vec<u32>,
    largest: f64,
}

impl SlidingSum {
    /// The sum of a window's floats.
    pub(super) fn sum(&mut self, window: &Window<'_>) -> Option<f64> {
        if window.past - window.first < SHORT {
            return None;
        }
        if self.totals.is_empty() {
            self.prepare(&window.series.values);
        }
        if self.not_finite[window.past] != self.not_finite[window.first] {
            return None;
        }
        let (before, after) = (self.totals[window.first], self.totals[window.past]);
        let sum = after.plus(Double { high: -before.high, low: -before.low });
        // Beyond this the totals' rounding could show in the sum. Exact zeros of exact totals are common, and right.
        let precise = sum.high.abs() > self.largest * 1e-12;
        let exact = sum.high == 0.0 && before.low == 0.0 && after.low == 0.0 && self.largest < 9e15;
        (sum.high.is_finite() && (precise || exact)).then_some(sum.high)
    }

    fn prepare(&mut self, values: &[f64]) {
        let (mut total, mut not_finite) = (Double::default(), 0);
        self.totals.reserve(values.len() + 1);
        self.not_finite.reserve(values.len() + 1);
        self.totals.push(total);
        self.not_finite.push(0);
        for &value in values {
            if value.is_finite() {
                total = total.plus(Double { high: value, low: 0.0 });
                self.largest = self.largest.max(total.high.abs()).max(value.abs());
            } else {
                not_finite += 1;
            }
            self.totals.push(total);
            self.not_finite.push(not_finite);
        }
        if !total.high.is_finite() {
            // An overflow somewhere: no difference means anything.
            self.largest = f64::INFINITY;
        }
    }
}

/// The smallest or largest value of windows that slide: the extremes of all ends of an earlier window, and of what came since. Each
/// sample is looked at twice, without a branch that random values would mislead.
#[derive(Debug)]
pub(super) struct SlidingExtreme {
    largest: bool,
    /// `ends[i]`: the extreme from sample `from + i` up to where the ends end.
    ends: Vec<f64>,
    from: usize,
    /// The extreme of the samples behind the ends and before `next`; NaN without any.
    since: f64,
    /// The next sample to look at.
    next: usize,
}

impl SlidingExtreme {
    pub(super) fn new(largest: bool) -> SlidingExtreme {
        SlidingExtreme { largest, ends: Vec::new(), from: 0, since: f64::NAN, next: 0 }
    }

    /// The extreme of a window that is not empty; NaN if it holds nothing else.
    pub(super) fn value(&mut self, window: &Window<'_>) -> f64 {
        if self.largest { self.of(window, |new, old| new > old) } else { self.of(window, |new, old| new < old) }
    }

    fn of(&mut self, window: &Window<'_>, better: impl Fn(f64, f64) -> bool) -> f64 {
        // Of equal values the first is kept, as Prometheus does: zeros have signs.
        let best = |earlier: f64, later: f64| if better(later, earlier) || earlier.is_nan() { later } else { earlier };
        let values = &window.series.values;
        if window.first >= self.from + self.ends.len() {
            let own = &values[window.first..window.past];
            self.ends.clear();
            self.ends.resize(own.len(), f64::NAN);
            let mut extreme = f64::NAN;
            for (end, &value) in self.ends.iter_mut().zip(own).rev() {
                extreme = best(value, extreme);
                *end = extreme;
            }
            (self.from, self.since, self.next) = (window.first, f64::NAN, window.past);
        }
        self.since = values[self.next..window.past].iter().fold(self.since, |extreme, &value| best(extreme, value));
        self.next = window.past;
        best(self.ends[window.first - self.from], self.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::CompensatedSum;
    use crate::series::Series;
    use proptest::prelude::*;

    fn window(series: &Series, first: usize, past: usize) -> Window<'_> {
        Window { series, first, past, first_histogram: 0, past_histogram: 0, start: 0, end: 0, step: 0, time: 0 }
    }

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            8 => -1e3..1e3,
            2 => (-5i32..5).prop_map(f64::from),
            1 => Just(1e100),
            1 => Just(-1e100),
            1 => Just(f64::INFINITY),
            1 => Just(f64::NAN),
            1 => 1e-20..1e-10f64,
        ]
    }

    proptest! {
        #[test]
        fn sliding_gives_what_looking_at_the_whole_window_gives(
            values in prop::collection::vec(value(), 20..80),
            length in 1usize..40,
        ) {
            let series = Series { times: (0..values.len() as i64).collect(), values: values.into(), ..Series::default() };
            let (mut sums, mut smallest, mut largest) =
                (SlidingSum::default(), SlidingExtreme::new(false), SlidingExtreme::new(true));
            for past in 1..=series.values.len() {
                let one = window(&series, past.saturating_sub(length), past);
                let mut direct = CompensatedSum::default();
                one.values().iter().for_each(|&value| direct.add(value));
                if let Some(sum) = sums.sum(&one) {
                    prop_assert!((sum - direct.value()).abs() <= 1e-12 * sum.abs().max(direct.value().abs()));
                }
                let finite = || one.values().iter().copied().filter(|value| !value.is_nan());
                let expected = (finite().reduce(f64::min), finite().reduce(f64::max));
                let found = (smallest.value(&one), largest.value(&one));
                prop_assert!(expected.0.map_or(found.0.is_nan(), |value| value == found.0));
                prop_assert!(expected.1.map_or(found.1.is_nan(), |value| value == found.1));
            }
        }
    }
}
