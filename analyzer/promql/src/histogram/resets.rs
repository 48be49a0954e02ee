//! Counter resets between two histograms.

use super::tally::{Total, common_bounds};
use super::{Histogram, IndexedBucket, ResetHint};

impl Histogram {
    /// Whether a counter was reset between `previous` and this histogram: its hint says so, or any count sank, or the
    /// buckets changed in a way that merging neighbours cannot explain.
    pub(crate) fn is_reset_since(&self, previous: &Histogram) -> bool {
        match self.reset_hint {
            ResetHint::CounterReset => return true,
            ResetHint::NotCounterReset => return false,
            ResetHint::Unknown | ResetHint::Gauge => {}
        }
        if self.count < previous.count || self.has_custom_buckets() != previous.has_custom_buckets() {
            return true;
        }
        if self.has_custom_buckets() {
            if self.custom_values == previous.custom_values {
                return any_sank(&previous.positive, &self.positive);
            }
            // Other boundaries are no reset by themselves: those that both have decide (Prometheus 3.8, PR 17278).
            let common = common_bounds(&self.custom_values, &previous.custom_values);
            let fitted = |histogram: &Histogram| {
                let mut total = Total::<f64>::of(histogram);
                total.fit_bounds(&common);
                total.histogram().positive
            };
            return any_sank(&fitted(previous), &fitted(self));
        }
        if self.schema > previous.schema || self.zero_threshold < previous.zero_threshold {
            return true;
        }
        if self.schema == previous.schema && self.zero_threshold == previous.zero_threshold {
            return self.zero_count < previous.zero_count
                || any_sank(&previous.positive, &self.positive)
                || any_sank(&previous.negative, &self.negative);
        }
        let mut before = Total::<f64>::of(previous);
        before.widen_zero_bucket(self.zero_threshold);
        before.reduce_resolution(self.schema);
        let before = before.histogram();
        if before.zero_threshold != self.zero_threshold || self.zero_count < before.zero_count {
            return true;
        }
        any_sank(&before.positive, &self.positive) || any_sank(&before.negative, &self.negative)
    }
}

/// Whether any bucket held more before than now.
fn any_sank(before: &[IndexedBucket], now: &[IndexedBucket]) -> bool {
    let mut now = now.iter().peekable();
    before.iter().any(|bucket| {
        while now.next_if(|candidate| candidate.index < bucket.index).is_some() {}
        let count = now.peek().filter(|candidate| candidate.index == bucket.index).map_or(0.0, |found| found.count);
        count < bucket.count
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(schema: i32, counts: &[(i32, f64)]) -> Histogram {
        Histogram {
            schema,
            count: counts.iter().map(|(_, count)| count).sum(),
            positive: counts.iter().map(|&(index, count)| IndexedBucket { index, count }).collect(),
            ..Histogram::default()
        }
    }

    #[test]
    fn a_lost_bucket_a_lower_count_or_a_finer_schema_is_a_reset() {
        let before = histogram(0, &[(0, 1.0), (1, 2.0)]);
        assert!(!histogram(0, &[(0, 1.0), (1, 3.0)]).is_reset_since(&before));
        assert!(!histogram(-1, &[(0, 1.0), (1, 3.0)]).is_reset_since(&before));
        assert!(histogram(0, &[(0, 9.0)]).is_reset_since(&before));
        assert!(histogram(0, &[(0, 0.5), (1, 9.0)]).is_reset_since(&before));
        assert!(histogram(1, &[(0, 9.0), (1, 9.0)]).is_reset_since(&before));
        let hinted = Histogram { reset_hint: ResetHint::CounterReset, ..before.clone() };
        assert!(hinted.is_reset_since(&before));
    }

    #[test]
    fn other_custom_bounds_are_a_reset_only_if_a_common_bucket_sank() {
        let custom = |bounds: &[f64], counts: &[(i32, f64)]| Histogram {
            custom_values: bounds.to_vec(),
            ..histogram(crate::histogram::CUSTOM_BUCKETS_SCHEMA, counts)
        };
        let before = custom(&[1.0, 2.0, 4.0], &[(0, 1.0), (1, 2.0), (2, 3.0)]);
        assert!(!custom(&[1.0, 4.0], &[(0, 1.0), (1, 5.0)]).is_reset_since(&before));
        assert!(custom(&[1.0, 4.0], &[(0, 2.0), (1, 4.0), (2, 3.0)]).is_reset_since(&before));
    }
}
