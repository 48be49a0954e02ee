//! Estimates from buckets: quantiles, fractions, variance.
//!
//! Within a bucket observations are spread evenly, on a linear scale for custom buckets and the zero bucket, on a
//! logarithmic one for exponential buckets (native histogram specification, "Interpolation within a bucket").

use super::{Bucket, Histogram};

/// What NaN observations did to an estimate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NanEffect {
    /// There were none.
    None,
    /// The result is NaN.
    Result,
    /// The result is too high.
    Skewed,
    /// They were left out.
    Excluded,
}

/// An estimate and what NaN observations did to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Estimate {
    pub value: f64,
    pub nan_effect: NanEffect,
}

impl Histogram {
    /// The buckets as estimates see them: the zero bucket is cut at 0 where one side has no buckets at all, and a
    /// first custom bucket without lower boundary starts at 0 if it can.
    fn buckets_for_estimates(&self) -> Vec<Bucket> {
        let mut buckets = self.all_buckets();
        for bucket in &mut buckets {
            if self.has_custom_buckets() {
                if bucket.lower == f64::NEG_INFINITY && bucket.upper > 0.0 {
                    bucket.lower = 0.0;
                }
            } else if bucket.lower < 0.0 && bucket.upper > 0.0 {
                if self.negative.is_empty() && !self.positive.is_empty() {
                    bucket.lower = 0.0;
                } else if self.positive.is_empty() && !self.negative.is_empty() {
                    bucket.upper = 0.0;
                }
            }
        }
        buckets
    }

    fn is_linear(&self, bucket: &Bucket) -> bool {
        self.has_custom_buckets() || (bucket.lower <= 0.0 && bucket.upper >= 0.0)
    }

    /// Whether some observations are in no bucket: those of NaN, which also make the sum NaN.
    fn has_unplaced_observations(&self, buckets: &[Bucket]) -> bool {
        self.sum.is_nan() && buckets.iter().map(|bucket| bucket.count).sum::<f64>() < self.count
    }

    /// The estimated quantile.
    pub(crate) fn quantile(&self, quantile: f64) -> Estimate {
        let plain = |value| Estimate { value, nan_effect: NanEffect::None };
        if quantile < 0.0 {
            return plain(f64::NEG_INFINITY);
        }
        if quantile > 1.0 {
            return plain(f64::INFINITY);
        }
        if self.count == 0.0 || quantile.is_nan() {
            return plain(f64::NAN);
        }
        // NaN observations are in the count but in no bucket: then only counting from below is right. Else counting
        // from the nearer end is more precise.
        let has_nan = self.sum.is_nan();
        let forward = has_nan || quantile < 0.5;
        let mut rank = if forward { quantile * self.count } else { (1.0 - quantile) * self.count };
        let mut buckets = self.buckets_for_estimates();
        let unplaced = self.has_unplaced_observations(&buckets);
        if !forward {
            buckets.reverse();
        }
        let mut count = 0.0;
        let mut found = None;
        for bucket in buckets.iter().filter(|bucket| bucket.count != 0.0) {
            count += bucket.count;
            found = Some(*bucket);
            if count >= rank {
                break;
            }
        }
        let Some(bucket) = found else {
            let nan_effect = match (has_nan, rank > 0.0) {
                (true, true) => NanEffect::Result,
                (true, false) => NanEffect::Skewed,
                _ => NanEffect::None,
            };
            return Estimate { value: f64::NAN, nan_effect };
        };
        if self.has_custom_buckets() {
            if bucket.lower == f64::NEG_INFINITY {
                return plain(bucket.upper);
            }
            if bucket.upper == f64::INFINITY && !self.custom_values.is_empty() {
                return plain(bucket.lower);
            }
        }
        let count = count.min(self.count);
        if count < rank {
            if has_nan {
                return Estimate { value: f64::NAN, nan_effect: NanEffect::Result };
            }
            return plain(bucket.upper);
        }
        rank = if forward { rank - (count - bucket.count) } else { count - rank };
        let fraction = rank / bucket.count;
        let value = if self.is_linear(&bucket) {
            bucket.lower + (bucket.upper - bucket.lower) * fraction
        } else {
            let (low, high) = (bucket.lower.abs().log2(), bucket.upper.abs().log2());
            if bucket.lower > 0.0 {
                (low + (high - low) * fraction).exp2()
            } else {
                -(high + (low - high) * (1.0 - fraction)).exp2()
            }
        };
        // Observations of +Inf and of −Inf make the sum NaN too, but lie in buckets.
        Estimate { value, nan_effect: if unplaced { NanEffect::Skewed } else { NanEffect::None } }
    }

    /// The estimated fraction of observations between two values. NaN observations lie between no values.
    pub(crate) fn fraction(&self, lower: f64, upper: f64) -> Estimate {
        let plain = |value| Estimate { value, nan_effect: NanEffect::None };
        if self.count == 0.0 || lower.is_nan() || upper.is_nan() {
            return plain(f64::NAN);
        }
        if lower >= upper {
            return plain(0.0);
        }
        let buckets = self.buckets_for_estimates();
        let unplaced = self.has_unplaced_observations(&buckets);
        let all = if self.sum.is_nan() { buckets.iter().map(|bucket| bucket.count).sum() } else { self.count };
        let rank_of = |value: f64| {
            let mut rank = 0.0;
            for bucket in &buckets {
                if bucket.lower >= value {
                    return rank;
                }
                if bucket.upper > value {
                    return rank + bucket.count * share_below(bucket, value, self.is_linear(bucket));
                }
                rank += bucket.count;
            }
            all
        };
        let value = (rank_of(upper).min(all) - rank_of(lower).min(all)) / self.count;
        Estimate { value, nan_effect: if unplaced { NanEffect::Excluded } else { NanEffect::None } }
    }

    /// The estimated population variance.
    pub(crate) fn variance(&self) -> f64 {
        let mean = self.sum / self.count;
        let mut total = crate::evaluate::CompensatedSum::default();
        for bucket in self.all_buckets().iter().filter(|bucket| bucket.count != 0.0) {
            let distance = self.representative(bucket) - mean;
            total.add(bucket.count * distance * distance);
        }
        total.value() / self.count
    }

    /// The value that stands for all observations of a bucket.
    fn representative(&self, bucket: &Bucket) -> f64 {
        if self.has_custom_buckets() {
            (bucket.lower + bucket.upper) / 2.0
        } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
            0.0
        } else {
            let middle = (bucket.lower * bucket.upper).sqrt();
            if bucket.upper < 0.0 { -middle } else { middle }
        }
    }
}

/// The share of a bucket's observations below a value inside it.
fn share_below(bucket: &Bucket, value: f64, linear: bool) -> f64 {
    // Nothing is known of where in an endless bucket observations lie: as far out as they can.
    if bucket.lower == f64::NEG_INFINITY {
        return 1.0;
    }
    if bucket.upper == f64::INFINITY {
        return 0.0;
    }
    if linear {
        return (value - bucket.lower) / (bucket.upper - bucket.lower);
    }
    let (low, high, at) = (bucket.lower.abs().log2(), bucket.upper.abs().log2(), value.abs().log2());
    if value > 0.0 { (at - low) / (high - low) } else { 1.0 - (at - high) / (low - high) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::{CUSTOM_BUCKETS_SCHEMA, IndexedBucket};

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
    fn exponential_buckets_interpolate_on_a_logarithmic_scale() {
        let histogram = exponential();
        assert!((histogram.quantile(0.25).value - 2f64.sqrt()).abs() < 1e-12);
        assert!((histogram.quantile(0.75).value - 8f64.sqrt()).abs() < 1e-12);
        assert_eq!(histogram.quantile(1.0).value, 4.0);
        assert_eq!(histogram.quantile(0.0).value, 1.0);
        assert!((histogram.fraction(2f64.sqrt(), 4.0).value - 0.75).abs() < 1e-12);
        assert_eq!(histogram.fraction(f64::NEG_INFINITY, f64::INFINITY).value, 1.0);
    }

    #[test]
    fn negative_buckets_mirror_positive_ones() {
        let mut histogram = exponential();
        std::mem::swap(&mut histogram.positive, &mut histogram.negative);
        assert!((histogram.quantile(0.25).value + 8f64.sqrt()).abs() < 1e-12);
        assert!((histogram.fraction(-4.0, -(2f64.sqrt())).value - 0.75).abs() < 1e-12);
    }

    #[test]
    fn custom_buckets_interpolate_linearly_and_stop_at_the_last_bound() {
        let histogram = Histogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count: 4.0,
            custom_values: vec![1.0, 2.0],
            positive: vec![IndexedBucket { index: 0, count: 2.0 }, IndexedBucket { index: 2, count: 2.0 }],
            ..Histogram::default()
        };
        assert_eq!(histogram.quantile(0.25).value, 0.5);
        assert_eq!(histogram.quantile(0.9).value, 2.0);
    }

    #[test]
    fn nan_observations_are_noted() {
        let histogram = Histogram { count: 40.0, sum: f64::NAN, ..exponential() };
        assert_eq!(histogram.quantile(0.9).nan_effect, NanEffect::Result);
        assert_eq!(histogram.quantile(0.1).nan_effect, NanEffect::Skewed);
        let half = histogram.fraction(f64::NEG_INFINITY, f64::INFINITY);
        assert_eq!((half.value, half.nan_effect), (0.5, NanEffect::Excluded));
        // All observations lie in buckets: ±Inf among them made the sum NaN.
        let infinite = Histogram { sum: f64::NAN, ..exponential() };
        assert_eq!(infinite.quantile(0.1).nan_effect, NanEffect::None);
        assert_eq!(infinite.fraction(0.0, 2.0).nan_effect, NanEffect::None);
    }
}
