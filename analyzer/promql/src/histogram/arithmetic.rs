//! Sums, differences, products and comparisons of histograms.

use super::tally::{MixedSchemas, Total};
use super::{Histogram, IndexedBucket, ResetHint};
use crate::evaluate::CompensatedSum;

/// What came of combining two histograms.
#[derive(Debug)]
pub(crate) struct Combined {
    pub histogram: Histogram,
    /// One counter histogram followed a reset, the other did not.
    pub reset_conflict: bool,
    /// Custom boundaries differed and were reduced to those that both have.
    pub bounds_reconciled: bool,
}

impl Histogram {
    /// The sum of two histograms, at the coarser resolution of both.
    pub(crate) fn plus(&self, other: &Histogram) -> Result<Combined, MixedSchemas> {
        self.combined(other, 1.0)
    }

    /// The difference of two histograms, which is a gauge.
    pub(crate) fn minus(&self, other: &Histogram) -> Result<Combined, MixedSchemas> {
        let mut combined = self.difference(other)?;
        combined.histogram.reset_hint = ResetHint::Gauge;
        Ok(combined)
    }

    /// The difference of two histograms within a larger calculation: the reset hint is that of a sum.
    pub(crate) fn difference(&self, other: &Histogram) -> Result<Combined, MixedSchemas> {
        self.combined(other, -1.0)
    }

    fn combined(&self, other: &Histogram, sign: f64) -> Result<Combined, MixedSchemas> {
        let mut total = Total::<f64>::of(self);
        let conflicts = total.combine(other, sign)?;
        Ok(Combined {
            histogram: total.histogram(),
            reset_conflict: conflicts.resets,
            bounds_reconciled: conflicts.bounds,
        })
    }

    /// All counts and the sum times a factor. A negative factor makes a gauge.
    pub(crate) fn times(&self, factor: f64) -> Histogram {
        let mut scaled = self.map_counts(|count| count * factor);
        if factor < 0.0 {
            scaled.reset_hint = ResetHint::Gauge;
        }
        scaled
    }

    /// All counts and the sum divided. Division by zero leaves no buckets but the zero bucket.
    pub(crate) fn divided_by(&self, divisor: f64) -> Histogram {
        let mut divided = self.map_counts(|count| count / divisor);
        if divisor == 0.0 {
            divided.positive.clear();
            divided.negative.clear();
        }
        if divisor < 0.0 {
            divided.reset_hint = ResetHint::Gauge;
        }
        divided
    }

    fn map_counts(&self, change: impl Fn(f64) -> f64) -> Histogram {
        let side = |buckets: &[IndexedBucket]| {
            let mut changed = Vec::with_capacity(buckets.len());
            let all = buckets.iter().map(|bucket| IndexedBucket { index: bucket.index, count: change(bucket.count) });
            changed.extend(all.filter(|bucket| bucket.count != 0.0));
            changed
        };
        Histogram {
            zero_count: change(self.zero_count),
            count: change(self.count),
            sum: change(self.sum),
            positive: side(&self.positive),
            negative: side(&self.negative),
            custom_values: self.custom_values.clone(),
            ..*self
        }
    }

    /// Whether two histograms hold the same observations in the same buckets; empty buckets do not count.
    pub(crate) fn same_as(&self, other: &Histogram) -> bool {
        let same = |a: f64, b: f64| a.to_bits() == b.to_bits() || a == b;
        let filled = |buckets: &[IndexedBucket]| -> Vec<IndexedBucket> {
            buckets.iter().filter(|bucket| bucket.count != 0.0).copied().collect()
        };
        self.schema == other.schema
            && same(self.count, other.count)
            && same(self.sum, other.sum)
            && (self.has_custom_buckets() || self.zero_threshold == other.zero_threshold)
            && same(self.zero_count, other.zero_count)
            && self.custom_values == other.custom_values
            && filled(&self.positive) == filled(&other.positive)
            && filled(&self.negative) == filled(&other.negative)
    }

    /// Merges neighbouring buckets until the schema is `schema`.
    pub(crate) fn at_resolution(&self, schema: i32) -> Histogram {
        let mut total = Total::<f64>::of(self);
        total.reduce_resolution(schema);
        total.histogram()
    }
}

/// Whether any of some histograms followed a counter reset, and whether any did not.
#[derive(Clone, Copy, Debug, Default)]
struct HintsSeen {
    reset: bool,
    no_reset: bool,
}

/// A sum of histograms, compensated in every bucket.
#[derive(Clone, Debug)]
pub(crate) struct HistogramSum {
    total: Total<CompensatedSum>,
    hints: HintsSeen,
    /// Whether custom boundaries differed and were reduced to those that all have.
    pub bounds_reconciled: bool,
}

impl HistogramSum {
    /// Begins with a first histogram.
    pub(crate) fn new(first: &Histogram) -> HistogramSum {
        let mut sum = HistogramSum { total: Total::of(first), hints: HintsSeen::default(), bounds_reconciled: false };
        sum.see_hint(first);
        sum
    }

    fn see_hint(&mut self, histogram: &Histogram) {
        self.hints.reset |= histogram.reset_hint == ResetHint::CounterReset;
        self.hints.no_reset |= histogram.reset_hint == ResetHint::NotCounterReset;
    }

    /// Adds a histogram.
    pub(crate) fn add(&mut self, histogram: &Histogram) -> Result<(), MixedSchemas> {
        let conflicts = self.total.combine(histogram, 1.0)?;
        self.bounds_reconciled |= conflicts.bounds;
        self.see_hint(histogram);
        Ok(())
    }

    /// Whether a histogram that followed a reset met one that did not.
    pub(crate) fn reset_conflict(&self) -> bool {
        self.hints.reset && self.hints.no_reset
    }

    /// The sum.
    pub(crate) fn histogram(self) -> Histogram {
        self.total.histogram()
    }
}

/// A mean of histograms: a sum until anything in it overflows, from then on an incremental mean.
#[derive(Clone, Debug)]
pub(crate) struct HistogramMean {
    /// The sum, or the mean so far.
    pub sum: HistogramSum,
    count: f64,
    incremental: bool,
}

impl HistogramMean {
    /// Begins with a first histogram.
    pub(crate) fn new(first: &Histogram) -> HistogramMean {
        HistogramMean { sum: HistogramSum::new(first), count: 1.0, incremental: false }
    }

    /// Adds a histogram.
    pub(crate) fn add(&mut self, histogram: &Histogram) -> Result<(), MixedSchemas> {
        self.count += 1.0;
        let count = self.count;
        if !self.incremental && self.sum.total.is_far_from_overflow() && Total::<f64>::is_small(histogram) {
            return self.sum.add(histogram);
        }
        if !self.incremental {
            let mut next = self.sum.clone();
            next.add(histogram)?;
            if !next.total.overflows() {
                self.sum = next;
                return Ok(());
            }
            self.incremental = true;
            self.sum.total.scale(|value| value / (count - 1.0));
        }
        let share = (count - 1.0) / count;
        self.sum.total.scale(|value| value * share);
        self.sum.add(&histogram.divided_by(count))
    }

    /// The mean.
    pub(crate) fn histogram(mut self) -> Histogram {
        let count = self.count;
        if !self.incremental {
            self.sum.total.scale(|value| value / count);
        }
        self.sum.histogram()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::CUSTOM_BUCKETS_SCHEMA;

    fn histogram(schema: i32, counts: &[(i32, f64)]) -> Histogram {
        Histogram {
            schema,
            count: counts.iter().map(|(_, count)| count).sum(),
            positive: counts.iter().map(|&(index, count)| IndexedBucket { index, count }).collect(),
            ..Histogram::default()
        }
    }

    fn counts(histogram: &Histogram) -> Vec<(i32, f64)> {
        histogram.positive.iter().map(|bucket| (bucket.index, bucket.count)).collect()
    }

    #[test]
    fn a_sum_has_the_coarser_resolution_and_no_empty_buckets() {
        let fine = histogram(1, &[(-1, 1.0), (0, 2.0), (1, 3.0), (2, 4.0), (3, 5.0)]);
        let coarse = histogram(0, &[(0, 10.0), (1, 20.0), (7, 0.0)]);
        let sum = fine.plus(&coarse).expect("compatible").histogram;
        assert_eq!(sum.schema, 0);
        assert_eq!(counts(&sum), [(0, 13.0), (1, 27.0), (2, 5.0)]);
        assert!(sum.minus(&sum).expect("compatible").histogram.positive.is_empty());
        assert_eq!(counts(&coarse.minus(&sum).expect("compatible").histogram), [(0, -3.0), (1, -7.0), (2, -5.0)]);
    }

    #[test]
    fn differing_custom_bounds_are_reduced_to_the_common_ones() {
        let custom = |bounds: &[f64], counts: &[(i32, f64)]| Histogram {
            custom_values: bounds.to_vec(),
            ..histogram(CUSTOM_BUCKETS_SCHEMA, counts)
        };
        let a = custom(&[1.0, 2.0, 4.0], &[(0, 1.0), (1, 2.0), (3, 3.0)]);
        let b = custom(&[1.0, 4.0], &[(0, 1.0), (1, 1.0), (2, 1.0)]);
        let sum = a.plus(&b).expect("compatible");
        assert!(sum.bounds_reconciled);
        assert_eq!(sum.histogram.custom_values, [1.0, 4.0]);
        assert_eq!(counts(&sum.histogram), [(0, 2.0), (1, 3.0), (2, 4.0)]);
        assert!(a.plus(&histogram(0, &[])).is_err());
    }

    #[test]
    fn the_wider_zero_bucket_swallows_what_it_covers() {
        let mut wide = histogram(0, &[(3, 1.0)]);
        wide.zero_threshold = 1.5;
        let narrow = histogram(0, &[(0, 1.0), (1, 2.0), (2, 4.0)]);
        let sum = narrow.plus(&wide).expect("compatible").histogram;
        // 1.5 would cut the filled bucket (1, 2], so the zero bucket ends at 2.
        assert_eq!((sum.zero_threshold, sum.zero_count), (2.0, 3.0));
        assert_eq!(sum.positive.len(), 2);
    }

    #[test]
    fn sums_lose_no_small_counts_to_large_ones() {
        let mut sum = HistogramSum::new(&histogram(0, &[(1, 1.0)]));
        for count in [1e100, 1.0, -1e100] {
            sum.add(&histogram(0, &[(1, count)])).expect("compatible");
        }
        let sum = sum.histogram();
        assert_eq!((sum.count, counts(&sum)), (2.0, vec![(1, 2.0)]));
    }

    #[test]
    fn a_mean_of_huge_counts_does_not_overflow() {
        let huge = histogram(0, &[(1, f64::MAX)]);
        let mut mean = HistogramMean::new(&huge);
        mean.add(&huge).expect("compatible");
        mean.add(&huge).expect("compatible");
        let mean = mean.histogram();
        assert!((mean.count / f64::MAX - 1.0).abs() < 1e-12 && (mean.positive[0].count / f64::MAX - 1.0).abs() < 1e-12);
    }
}
