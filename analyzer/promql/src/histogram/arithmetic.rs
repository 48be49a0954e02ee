//! Sums, differences, products and comparisons of histograms.

use super::{Histogram, IndexedBucket, ResetHint};

/// Two histograms that cannot be combined: one has exponential buckets, the other custom ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MixedSchemas;

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

    /// The difference of two histograms.
    pub(crate) fn minus(&self, other: &Histogram) -> Result<Combined, MixedSchemas> {
        self.combined(other, -1.0)
    }

    fn combined(&self, other: &Histogram, sign: f64) -> Result<Combined, MixedSchemas> {
        if self.has_custom_buckets() != other.has_custom_buckets() {
            return Err(MixedSchemas);
        }
        let (mut left, mut right) = (self.clone(), other.clone());
        let mut bounds_reconciled = false;
        if self.has_custom_buckets() {
            if !same_bounds(&self.custom_values, &other.custom_values) {
                bounds_reconciled = true;
                let common: Vec<f64> =
                    self.custom_values.iter().copied().filter(|bound| other.custom_values.contains(bound)).collect();
                left = left.with_custom_values(&common);
                right = right.with_custom_values(&common);
            }
        } else {
            reconcile_zero_buckets(&mut left, &mut right);
            let schema = left.schema.min(right.schema);
            left.reduce_resolution(schema);
            right.reduce_resolution(schema);
        }
        let reset_conflict = matches!(
            (self.reset_hint, other.reset_hint),
            (ResetHint::CounterReset, ResetHint::NotCounterReset)
                | (ResetHint::NotCounterReset, ResetHint::CounterReset)
        );
        let reset_hint = match (self.reset_hint, other.reset_hint) {
            (ResetHint::Gauge, _) | (_, ResetHint::Gauge) => ResetHint::Gauge,
            _ if sign < 0.0 => ResetHint::Gauge,
            (a, b) if a == b => a,
            _ => ResetHint::Unknown,
        };
        let histogram = Histogram {
            schema: left.schema,
            zero_threshold: left.zero_threshold,
            zero_count: left.zero_count + sign * right.zero_count,
            count: left.count + sign * right.count,
            sum: left.sum + sign * right.sum,
            positive: merged(&left.positive, &right.positive, sign),
            negative: merged(&left.negative, &right.negative, sign),
            custom_values: left.custom_values,
            reset_hint,
        };
        Ok(Combined { histogram, reset_conflict, bounds_reconciled })
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
            buckets.iter().map(|bucket| IndexedBucket { index: bucket.index, count: change(bucket.count) }).collect()
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
            && same_bounds(&self.custom_values, &other.custom_values)
            && filled(&self.positive) == filled(&other.positive)
            && filled(&self.negative) == filled(&other.negative)
    }

    /// Merges neighbouring buckets until the schema is `schema`.
    pub(crate) fn reduce_resolution(&mut self, schema: i32) {
        if self.has_custom_buckets() || schema >= self.schema {
            return;
        }
        let shift = self.schema.saturating_sub(schema).clamp(0, 31);
        for side in [&mut self.positive, &mut self.negative] {
            let mut reduced: Vec<IndexedBucket> = Vec::with_capacity(side.len());
            for bucket in side.iter() {
                // ceil(index / 2^shift): the coarse bucket's upper boundary is the next one at or above.
                let index = ((i64::from(bucket.index) - 1) >> shift) as i32 + 1;
                match reduced.last_mut() {
                    Some(last) if last.index == index => last.count += bucket.count,
                    _ => reduced.push(IndexedBucket { index, count: bucket.count }),
                }
            }
            *side = reduced;
        }
        self.schema = schema;
    }

    /// The same observations with fewer custom boundaries, all of which must be boundaries already.
    fn with_custom_values(mut self, bounds: &[f64]) -> Histogram {
        let mut positive: Vec<IndexedBucket> = Vec::new();
        for bucket in &self.positive {
            let upper = self.bound(bucket.index);
            let index = bounds.partition_point(|bound| *bound < upper) as i32;
            match positive.last_mut() {
                Some(last) if last.index == index => last.count += bucket.count,
                _ => positive.push(IndexedBucket { index, count: bucket.count }),
            }
        }
        self.positive = positive;
        self.custom_values = bounds.to_vec();
        self
    }

    /// Widens the zero bucket, for comparison with a later histogram.
    pub(super) fn widen_zero_bucket_to(&mut self, threshold: f64) {
        self.widen_zero_bucket(threshold);
    }

    /// Widens the zero bucket to `threshold`, or further where that would cut a filled bucket.
    fn widen_zero_bucket(&mut self, threshold: f64) {
        if threshold <= self.zero_threshold {
            return;
        }
        let mut threshold = threshold;
        loop {
            let (mut count, mut wider) = (0.0, threshold);
            for side in [&self.positive, &self.negative] {
                for bucket in side.iter() {
                    let (lower, upper) = (self.bound(bucket.index.saturating_sub(1)), self.bound(bucket.index));
                    if upper <= threshold {
                        count += bucket.count;
                    } else if lower < threshold && bucket.count != 0.0 {
                        wider = wider.max(upper);
                    }
                }
            }
            if wider > threshold {
                threshold = wider;
                continue;
            }
            let (schema, zero_threshold) = (self.schema, threshold);
            for side in [&mut self.positive, &mut self.negative] {
                side.retain(|bucket| super::buckets::exponential_bound(bucket.index, schema) > zero_threshold);
            }
            self.zero_count += count;
            self.zero_threshold = threshold;
            return;
        }
    }
}

fn reconcile_zero_buckets(left: &mut Histogram, right: &mut Histogram) {
    // Widening one may overshoot the other; a few rounds settle it.
    for _ in 0..64 {
        if left.zero_threshold == right.zero_threshold {
            return;
        }
        let threshold = left.zero_threshold.max(right.zero_threshold);
        left.widen_zero_bucket(threshold);
        right.widen_zero_bucket(threshold);
    }
}

fn same_bounds(a: &[f64], b: &[f64]) -> bool {
    a == b
}

fn merged(left: &[IndexedBucket], right: &[IndexedBucket], sign: f64) -> Vec<IndexedBucket> {
    let mut all = Vec::with_capacity(left.len().max(right.len()));
    let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
    loop {
        let next = match (left.peek(), right.peek()) {
            (None, None) => return all,
            (Some(a), Some(b)) if a.index == b.index => {
                let count = a.count + sign * b.count;
                let index = a.index;
                left.next();
                right.next();
                IndexedBucket { index, count }
            }
            (Some(a), other) if other.is_none_or(|b| a.index < b.index) => {
                let bucket = **a;
                left.next();
                bucket
            }
            (_, Some(b)) => {
                let bucket = IndexedBucket { index: b.index, count: sign * b.count };
                right.next();
                bucket
            }
            (Some(_), None) => return all,
        };
        all.push(next);
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

    #[test]
    fn a_sum_has_the_coarser_resolution() {
        let fine = histogram(1, &[(-1, 1.0), (0, 2.0), (1, 3.0), (2, 4.0), (3, 5.0)]);
        let coarse = histogram(0, &[(0, 10.0), (1, 20.0)]);
        let sum = fine.plus(&coarse).expect("compatible").histogram;
        assert_eq!(sum.schema, 0);
        let counts: Vec<(i32, f64)> = sum.positive.iter().map(|bucket| (bucket.index, bucket.count)).collect();
        assert_eq!(counts, [(0, 13.0), (1, 27.0), (2, 5.0)]);
        assert!(sum.minus(&sum).expect("compatible").histogram.positive.iter().all(|bucket| bucket.count == 0.0));
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
        let counts: Vec<f64> = sum.histogram.positive.iter().map(|bucket| bucket.count).collect();
        assert_eq!(counts, [2.0, 3.0, 4.0]);
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
}
