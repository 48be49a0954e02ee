//! `</` and `>/`: the part of a histogram below or above a value (Prometheus 3.11, PR 17904).
//!
//! A bucket around the value is cut by interpolation. Count and sum are estimated anew if anything was cut: each bucket
//! counts with the middle of what is left of it. Of a bucket that reaches to infinity nothing is known; what might lie
//! on the wrong side is left out.

use super::{Bucket, Histogram, IndexedBucket};

/// What stays of a bucket: observations, and the value that stands for them in the sum.
struct Kept {
    count: f64,
    value: f64,
}

/// Where to cut, and which side stays.
#[derive(Clone, Copy)]
struct Cut {
    at: f64,
    below: bool,
    /// Observations spread evenly (custom buckets) rather than on a logarithmic scale.
    linear: bool,
}

impl Histogram {
    /// The observations below (or above) a value.
    pub(crate) fn trimmed(&self, at: f64, below: bool) -> Histogram {
        let cut = Cut { at, below, linear: self.has_custom_buckets() };
        let (mut count, mut sum, mut changed) = (0.0, 0.0, false);
        let mut trimmed = self.clone();
        let filled = |buckets: &[IndexedBucket]| buckets.iter().any(|bucket| bucket.count != 0.0);
        let mut note = |before: f64, kept: &Kept| {
            count += kept.count;
            sum += kept.value * kept.count;
            changed |= kept.count != before;
        };
        for bucket in trimmed.positive.iter_mut().filter(|bucket| bucket.count != 0.0) {
            let kept = cut.kept(&self.positive_bucket(bucket), true);
            note(bucket.count, &kept);
            bucket.count = kept.count;
        }
        for bucket in trimmed.negative.iter_mut().filter(|bucket| bucket.count != 0.0) {
            let kept = cut.kept(&self.negative_bucket(bucket), false);
            note(bucket.count, &kept);
            bucket.count = kept.count;
        }
        if self.zero_count > 0.0 {
            let mut zero = self.zero_bucket();
            match (filled(&self.negative), filled(&self.positive)) {
                (true, false) => zero.upper = 0.0,
                (false, true) => zero.lower = 0.0,
                _ => {}
            }
            let kept = cut.kept_of_zero_bucket(&zero);
            note(self.zero_count, &kept);
            trimmed.zero_count = kept.count;
        }
        if changed {
            (trimmed.count, trimmed.sum) = (count, sum);
            trimmed.positive.retain(|bucket| bucket.count != 0.0);
            trimmed.negative.retain(|bucket| bucket.count != 0.0);
        }
        trimmed
    }
}

impl Cut {
    fn kept(&self, bucket: &Bucket, positive: bool) -> Kept {
        let whole = if self.below { bucket.upper <= self.at } else { bucket.lower >= self.at };
        let part = if self.below { bucket.lower < self.at } else { bucket.upper > self.at };
        if whole {
            return Kept { count: bucket.count, value: self.middle(bucket.lower, bucket.upper, positive) };
        }
        if !part {
            return Kept { count: 0.0, value: 0.0 };
        }
        if bucket.lower == f64::NEG_INFINITY {
            return self.kept_without_lower_end(bucket);
        }
        if bucket.upper == f64::INFINITY {
            // Above: all of them may lie above. Below: all of them may, too.
            return Kept { count: if self.below { 0.0 } else { bucket.count }, value: self.at };
        }
        let under = bucket.count * self.share_below(bucket, positive);
        if self.below {
            Kept { count: under, value: self.middle(bucket.lower, self.at, positive) }
        } else {
            Kept { count: bucket.count - under, value: self.middle(self.at, bucket.upper, positive) }
        }
    }

    /// The first custom bucket, cut: it begins at 0 if it can.
    fn kept_without_lower_end(&self, bucket: &Bucket) -> Kept {
        let (at, upper) = (self.at, bucket.upper);
        let from_zero = upper > 0.0 && upper != f64::INFINITY;
        match self.below {
            true if from_zero && at > 0.0 => Kept { count: bucket.count * at / upper, value: at / 2.0 },
            true if upper <= 0.0 => Kept { count: bucket.count, value: at },
            false if from_zero && at >= 0.0 => {
                Kept { count: bucket.count * (1.0 - at / upper), value: (at + upper) / 2.0 }
            }
            _ => Kept { count: 0.0, value: 0.0 },
        }
    }

    fn kept_of_zero_bucket(&self, bucket: &Bucket) -> Kept {
        let (at, lower, upper) = (self.at, bucket.lower, bucket.upper);
        let all = Kept { count: bucket.count, value: (lower + upper) / 2.0 };
        let none = Kept { count: 0.0, value: 0.0 };
        if at <= lower {
            return if self.below { none } else { all };
        }
        if at >= upper {
            return if self.below { all } else { none };
        }
        let (from, to) = if self.below { (lower, at) } else { (at, upper) };
        Kept { count: bucket.count * ((to - from) / (upper - lower)), value: (from + to) / 2.0 }
    }

    fn share_below(&self, bucket: &Bucket, positive: bool) -> f64 {
        if self.linear {
            return (self.at - bucket.lower) / (bucket.upper - bucket.lower);
        }
        let (low, high, at) = (bucket.lower.abs().log2(), bucket.upper.abs().log2(), self.at.abs().log2());
        if positive { (at - low) / (high - low) } else { 1.0 - (at - high) / (low - high) }
    }

    /// The value that stands for observations between two bounds.
    fn middle(&self, lower: f64, upper: f64, positive: bool) -> f64 {
        match (lower.is_infinite(), upper.is_infinite()) {
            (true, true) => 0.0,
            (true, false) => {
                if upper > 0.0 {
                    upper / 2.0
                } else {
                    upper
                }
            }
            (false, true) => lower,
            _ if self.linear => (lower + upper) / 2.0,
            _ => {
                let mean = (lower * upper).abs().sqrt();
                if positive { mean } else { -mean }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::CUSTOM_BUCKETS_SCHEMA;

    /// Ten observations in (1, 2], ten in (2, 4].
    fn exponential() -> Histogram {
        Histogram {
            schema: 0,
            count: 20.0,
            sum: 45.0,
            positive: vec![IndexedBucket { index: 1, count: 10.0 }, IndexedBucket { index: 2, count: 10.0 }],
            ..Histogram::default()
        }
    }

    #[test]
    fn what_lies_on_one_side_stays_and_the_sum_is_estimated_only_if_something_went() {
        let low = exponential().trimmed(2.0, true);
        assert_eq!((low.count, low.positive.len(), low.sum), (10.0, 1, 10.0 * 2f64.sqrt()));
        let both = exponential().trimmed(8f64.sqrt(), true);
        assert!((both.count - 15.0).abs() < 1e-12);
        assert_eq!(exponential().trimmed(f64::INFINITY, true).sum, 45.0);
        assert_eq!(exponential().trimmed(0.5, false), exponential());
        let none = exponential().trimmed(f64::NEG_INFINITY, true);
        assert_eq!((none.count, none.sum, none.positive.len()), (0.0, 0.0, 0));
    }

    #[test]
    fn buckets_without_an_end_are_treated_with_care() {
        let custom = |bounds: &[f64], counts: &[f64]| Histogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count: counts.iter().sum(),
            sum: 7.0,
            custom_values: bounds.to_vec(),
            positive: (0..).zip(counts).map(|(index, &count)| IndexedBucket { index, count }).collect(),
            ..Histogram::default()
        };
        let positive = custom(&[2.0, 4.0], &[4.0, 2.0, 6.0]);
        let cut = |at, below| {
            let cut = positive.trimmed(at, below);
            (cut.count, cut.sum)
        };
        assert_eq!(cut(1.0, true), (2.0, 1.0));
        assert_eq!(cut(5.0, true), (6.0, 4.0 + 6.0));
        assert_eq!(cut(1.0, false), (10.0, 2.0 * 1.5 + 2.0 * 3.0 + 6.0 * 4.0));
        assert_eq!(cut(5.0, false), (6.0, 30.0));
        let negative = custom(&[-2.0, 4.0], &[4.0, 2.0, 0.0]);
        assert_eq!(negative.trimmed(-3.0, true).sum, -12.0);
        assert_eq!(negative.trimmed(-3.0, false).count, 2.0);
    }
}
