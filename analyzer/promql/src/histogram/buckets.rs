//! Bucket boundaries, and the walk over all buckets of a histogram.

use super::{CUSTOM_BUCKETS_SCHEMA, Histogram, IndexedBucket};

/// A bucket with its boundaries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Lower boundary.
    pub lower: f64,
    /// Upper boundary.
    pub upper: f64,
    /// Whether the lower boundary belongs to the bucket.
    pub lower_inclusive: bool,
    /// Whether the upper boundary belongs to the bucket.
    pub upper_inclusive: bool,
    /// Observations.
    pub count: f64,
}

/// The upper boundary of the bucket `index` on the positive side of an exponential schema.
///
/// Specification: base^index with base = 2^(2^−schema); the bucket that would end beyond the largest float ends
/// there, the next one at +Inf.
pub(crate) fn exponential_bound(index: i32, schema: i32) -> f64 {
    if schema < 0 {
        let exponent = i64::from(index) << schema.unsigned_abs().min(31);
        return if exponent == 1024 { f64::MAX } else { power_of_two(exponent) };
    }
    let steps = 1i64 << schema.min(31);
    let (whole, part) = (i64::from(index).div_euclid(steps), i64::from(index).rem_euclid(steps));
    if whole == 1024 && part == 0 {
        return f64::MAX;
    }
    // 2^whole · 2^(part/steps); the first factor is exact.
    (part as f64 / steps as f64).exp2() * power_of_two(whole)
}

fn power_of_two(exponent: i64) -> f64 {
    2f64.powi(exponent.clamp(-2000, 2000) as i32)
}

impl Histogram {
    /// Whether the boundaries are custom ones.
    pub fn has_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }

    /// The upper boundary of a bucket of the positive side.
    pub(crate) fn bound(&self, index: i32) -> f64 {
        if self.has_custom_buckets() {
            if index < 0 {
                return f64::NEG_INFINITY;
            }
            return self.custom_values.get(index as usize).copied().unwrap_or(f64::INFINITY);
        }
        exponential_bound(index, self.schema)
    }

    /// A positive bucket with its boundaries.
    pub(crate) fn positive_bucket(&self, bucket: &IndexedBucket) -> Bucket {
        let lower = if self.has_custom_buckets() && bucket.index == 0 {
            f64::NEG_INFINITY
        } else {
            self.bound(bucket.index.saturating_sub(1))
        };
        Bucket {
            lower,
            upper: self.bound(bucket.index),
            // The first custom bucket includes −Inf.
            lower_inclusive: lower == f64::NEG_INFINITY,
            upper_inclusive: true,
            count: bucket.count,
        }
    }

    /// A negative bucket with its boundaries.
    pub(crate) fn negative_bucket(&self, bucket: &IndexedBucket) -> Bucket {
        Bucket {
            lower: -self.bound(bucket.index),
            upper: -self.bound(bucket.index.saturating_sub(1)),
            lower_inclusive: true,
            upper_inclusive: false,
            count: bucket.count,
        }
    }

    /// The zero bucket, with both boundaries included.
    pub(crate) fn zero_bucket(&self) -> Bucket {
        Bucket {
            lower: -self.zero_threshold,
            upper: self.zero_threshold,
            lower_inclusive: true,
            upper_inclusive: true,
            count: self.zero_count,
        }
    }

    /// All buckets in ascending order; a bucket that overlaps the zero bucket is cut at its threshold.
    pub fn all_buckets(&self) -> Vec<Bucket> {
        // A negative or NaN count of the zero bucket (of an intermediate result) shows nowhere, as in Prometheus.
        self.ascending_buckets(self.zero_count > 0.0)
    }

    /// The same, with or without the zero bucket.
    pub(super) fn ascending_buckets(&self, with_zero_bucket: bool) -> Vec<Bucket> {
        let mut buckets = Vec::with_capacity(self.negative.len() + self.positive.len() + 1);
        for bucket in self.negative.iter().rev() {
            let mut bucket = self.negative_bucket(bucket);
            if bucket.upper > -self.zero_threshold {
                bucket.upper = -self.zero_threshold;
            }
            buckets.push(bucket);
        }
        if with_zero_bucket {
            buckets.push(self.zero_bucket());
        }
        for bucket in &self.positive {
            let mut bucket = self.positive_bucket(bucket);
            if !self.has_custom_buckets() && bucket.lower < self.zero_threshold {
                bucket.lower = self.zero_threshold;
            }
            buckets.push(bucket);
        }
        buckets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_exponential_schemas_are_powers_of_the_base() {
        assert_eq!(exponential_bound(0, 0), 1.0);
        assert_eq!(exponential_bound(3, 0), 8.0);
        assert_eq!(exponential_bound(-3, 0), 0.125);
        assert_eq!(exponential_bound(1, -2), 16.0);
        assert_eq!(exponential_bound(2, 1), 2.0);
        assert_eq!(exponential_bound(1, 1), 2f64.sqrt());
        assert_eq!(exponential_bound(1024, 0), f64::MAX);
        assert_eq!(exponential_bound(1025, 0), f64::INFINITY);
        assert_eq!(exponential_bound(i32::MAX, -4), f64::INFINITY);
    }
}
