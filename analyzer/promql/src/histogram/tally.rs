//! Histograms while they are added up: one layout that fits all of them, and a tally for each bucket.
//!
//! A tally is a plain float for a single sum or difference, and a compensated sum for aggregations, in which every
//! bucket loses as little to rounding as a float sample would (Prometheus 3.10, PR 17687).

use super::buckets::exponential_bound;
use super::{CUSTOM_BUCKETS_SCHEMA, Histogram, IndexedBucket, ResetHint};
use crate::evaluate::CompensatedSum;

/// Two histograms that cannot be combined: one has exponential buckets, the other custom ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MixedSchemas;

/// What adding one histogram to others brought to light.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Conflicts {
    /// One followed a counter reset, the other did not.
    pub resets: bool,
    /// Custom boundaries differed and were reduced to those that both have.
    pub bounds: bool,
}

/// The count of a bucket while histograms are added up.
pub(super) trait Tally: Copy + Default {
    /// Adds observations.
    fn add(&mut self, count: f64);
    /// Adds another tally, as where two buckets become one.
    fn absorb(&mut self, other: Self);
    /// Multiplies or divides.
    fn scale(&mut self, change: &impl Fn(f64) -> f64);
    fn value(self) -> f64;
    /// Whether the running sum is beyond the largest float.
    fn is_infinite(self) -> bool;
}

impl Tally for f64 {
    fn add(&mut self, count: f64) {
        *self += count;
    }

    fn absorb(&mut self, other: Self) {
        *self += other;
    }

    fn scale(&mut self, change: &impl Fn(f64) -> f64) {
        *self = change(*self);
    }

    fn value(self) -> f64 {
        self
    }

    fn is_infinite(self) -> bool {
        f64::is_infinite(self)
    }
}

impl Tally for CompensatedSum {
    fn add(&mut self, count: f64) {
        CompensatedSum::add(self, count);
    }

    fn absorb(&mut self, other: Self) {
        CompensatedSum::add(self, other.sum);
        CompensatedSum::add(self, other.compensation);
    }

    fn scale(&mut self, change: &impl Fn(f64) -> f64) {
        self.sum = change(self.sum);
        self.compensation = change(self.compensation);
    }

    fn value(self) -> f64 {
        CompensatedSum::value(&self)
    }

    fn is_infinite(self) -> bool {
        self.sum.is_infinite()
    }
}

/// Numbers below this stay finite when there are a few of them.
const FAR_FROM_OVERFLOW: f64 = 1e300;

/// One side's buckets, sorted by index.
type Side<T> = Vec<(i32, T)>;

/// Some histograms added up.
#[derive(Clone, Debug)]
pub(super) struct Total<T> {
    schema: i32,
    zero_threshold: f64,
    zero: T,
    count: T,
    sum: T,
    positive: Side<T>,
    negative: Side<T>,
    custom_values: Vec<f64>,
    reset_hint: ResetHint,
}

fn tally<T: Tally>(count: f64) -> T {
    let mut tally = T::default();
    tally.add(count);
    tally
}

impl<T: Tally> Total<T> {
    /// One histogram alone.
    pub(super) fn of(histogram: &Histogram) -> Total<T> {
        let side =
            |buckets: &[IndexedBucket]| buckets.iter().map(|bucket| (bucket.index, tally(bucket.count))).collect();
        Total {
            schema: histogram.schema,
            zero_threshold: histogram.zero_threshold,
            zero: tally(histogram.zero_count),
            count: tally(histogram.count),
            sum: tally(histogram.sum),
            positive: side(&histogram.positive),
            negative: side(&histogram.negative),
            custom_values: histogram.custom_values.clone(),
            reset_hint: histogram.reset_hint,
        }
    }

    /// Adds a histogram (or, with a sign of −1, subtracts it) at the coarser resolution of both.
    pub(super) fn combine(&mut self, other: &Histogram, sign: f64) -> Result<Conflicts, MixedSchemas> {
        if self.has_custom_buckets() != other.has_custom_buckets() {
            return Err(MixedSchemas);
        }
        let mut conflicts = Conflicts { resets: self.take_hint(other.reset_hint), bounds: false };
        if self.has_layout_of(other) {
            self.take(other.zero_count, other.count, other.sum, sign);
            merge(&mut self.positive, &other.positive, |bucket| (bucket.index, bucket.count), sign);
            merge(&mut self.negative, &other.negative, |bucket| (bucket.index, bucket.count), sign);
            return Ok(conflicts);
        }
        let mut other = Total::<f64>::of(other);
        if self.has_custom_buckets() {
            conflicts.bounds = true;
            let common = common_bounds(&self.custom_values, &other.custom_values);
            self.fit_bounds(&common);
            other.fit_bounds(&common);
        } else {
            reconcile_zero_buckets(self, &mut other);
            let schema = self.schema.min(other.schema);
            self.reduce_resolution(schema);
            other.reduce_resolution(schema);
        }
        self.take(other.zero, other.count, other.sum, sign);
        merge(&mut self.positive, &other.positive, |bucket| *bucket, sign);
        merge(&mut self.negative, &other.negative, |bucket| *bucket, sign);
        Ok(conflicts)
    }

    /// Whether buckets of the same index are the same.
    fn has_layout_of(&self, other: &Histogram) -> bool {
        if self.has_custom_buckets() {
            self.custom_values == other.custom_values
        } else {
            self.schema == other.schema && self.zero_threshold == other.zero_threshold
        }
    }

    fn take(&mut self, zero: f64, count: f64, sum: f64, sign: f64) {
        self.zero.add(sign * zero);
        self.count.add(sign * count);
        self.sum.add(sign * sum);
    }

    /// Multiplies or divides everything.
    pub(super) fn scale(&mut self, change: impl Fn(f64) -> f64) {
        for one in [&mut self.zero, &mut self.count, &mut self.sum] {
            one.scale(&change);
        }
        for (_, one) in self.positive.iter_mut().chain(&mut self.negative) {
            one.scale(&change);
        }
    }

    /// Whether nothing is anywhere near the largest float: adding what is small overflows nothing.
    pub(super) fn is_far_from_overflow(&self) -> bool {
        [self.zero, self.count, self.sum].iter().all(|one| one.value().abs() < FAR_FROM_OVERFLOW)
            && self.positive.iter().chain(&self.negative).all(|(_, one)| one.value().abs() < FAR_FROM_OVERFLOW)
    }

    /// The same of a histogram.
    pub(super) fn is_small(histogram: &Histogram) -> bool {
        [histogram.zero_count, histogram.count, histogram.sum].iter().all(|one| one.abs() < FAR_FROM_OVERFLOW)
            && histogram.positive.iter().chain(&histogram.negative).all(|one| one.count.abs() < FAR_FROM_OVERFLOW)
    }

    /// Whether anything is beyond the largest float.
    pub(super) fn overflows(&self) -> bool {
        [self.zero, self.count, self.sum].iter().any(|one| one.is_infinite())
            || self.positive.iter().chain(&self.negative).any(|(_, one)| one.is_infinite())
    }

    /// The result, without empty buckets.
    pub(super) fn histogram(self) -> Histogram {
        let side = |buckets: Side<T>| {
            buckets
                .into_iter()
                .map(|(index, count)| IndexedBucket { index, count: count.value() })
                .filter(|bucket| bucket.count != 0.0)
                .collect()
        };
        Histogram {
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero.value(),
            count: self.count.value(),
            sum: self.sum.value(),
            positive: side(self.positive),
            negative: side(self.negative),
            custom_values: self.custom_values,
            reset_hint: self.reset_hint,
        }
    }

    fn has_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }

    /// The hint after another histogram was added; whether the two contradict each other.
    fn take_hint(&mut self, other: ResetHint) -> bool {
        use ResetHint::{CounterReset, Gauge, NotCounterReset, Unknown};
        let own = self.reset_hint;
        self.reset_hint = match (own, other) {
            (Gauge, _) | (_, Gauge) => Gauge,
            (own, other) if own == other => own,
            _ => Unknown,
        };
        matches!((own, other), (CounterReset, NotCounterReset) | (NotCounterReset, CounterReset))
    }

    /// Merges neighbouring buckets until the schema is `schema`.
    pub(super) fn reduce_resolution(&mut self, schema: i32) {
        if self.has_custom_buckets() || schema >= self.schema {
            return;
        }
        let shift = self.schema.saturating_sub(schema).clamp(0, 31);
        // ceil(index / 2^shift): the coarse bucket's upper boundary is the next one at or above.
        let coarse = |index: i32| ((i64::from(index) - 1) >> shift) as i32 + 1;
        for side in [&mut self.positive, &mut self.negative] {
            renumber(side, coarse);
        }
        self.schema = schema;
    }

    /// The same observations with fewer custom boundaries, all of which must be boundaries already.
    pub(super) fn fit_bounds(&mut self, bounds: &[f64]) {
        let own = std::mem::replace(&mut self.custom_values, bounds.to_vec());
        let upper =
            |index: i32| usize::try_from(index).ok().and_then(|index| own.get(index)).copied().unwrap_or(f64::INFINITY);
        renumber(&mut self.positive, |index| bounds.partition_point(|bound| *bound < upper(index)) as i32);
    }

    /// Widens the zero bucket to `threshold`, or further where that would cut a filled bucket.
    pub(super) fn widen_zero_bucket(&mut self, threshold: f64) {
        if threshold <= self.zero_threshold {
            return;
        }
        let (schema, mut threshold) = (self.schema, threshold);
        let bound = |index: i32| exponential_bound(index, schema);
        loop {
            let cut = self
                .positive
                .iter()
                .chain(&self.negative)
                .filter(|(index, count)| {
                    bound(index.saturating_sub(1)) < threshold && bound(*index) > threshold && count.value() != 0.0
                })
                .map(|(index, _)| bound(*index));
            match cut.reduce(f64::max) {
                Some(wider) => threshold = wider,
                None => break,
            }
        }
        for side in [&mut self.positive, &mut self.negative] {
            for (_, count) in side.iter().filter(|(index, _)| bound(*index) <= threshold) {
                self.zero.absorb(*count);
            }
            side.retain(|(index, _)| bound(*index) > threshold);
        }
        self.zero_threshold = threshold;
    }
}

/// The boundaries that both have.
pub(super) fn common_bounds(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().copied().filter(|bound| b.contains(bound)).collect()
}

/// Gives buckets new indices, which must not descend; those that get the same one become one.
fn renumber<T: Tally>(side: &mut Side<T>, new_index: impl Fn(i32) -> i32) {
    let mut renumbered: Side<T> = Vec::with_capacity(side.len());
    for &(index, count) in side.iter() {
        let index = new_index(index);
        match renumbered.last_mut() {
            Some((last, all)) if *last == index => all.absorb(count),
            _ => renumbered.push((index, count)),
        }
    }
    *side = renumbered;
}

fn reconcile_zero_buckets<T: Tally>(left: &mut Total<T>, right: &mut Total<f64>) {
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

/// Adds buckets of one side to another.
fn merge<T: Tally, B>(side: &mut Side<T>, other: &[B], bucket: impl Fn(&B) -> (i32, f64), sign: f64) {
    if side.len() == other.len() && side.iter().zip(other).all(|((index, _), other)| *index == bucket(other).0) {
        for ((_, all), other) in side.iter_mut().zip(other) {
            all.add(sign * bucket(other).1);
        }
        return;
    }
    let own = std::mem::take(side);
    side.reserve(own.len().max(other.len()));
    let (mut own, mut other) = (own.into_iter().peekable(), other.iter().map(bucket).peekable());
    while let Some(&(index, count)) = other.peek() {
        match own.next_if(|(mine, _)| *mine <= index) {
            Some((mine, mut all)) => {
                if mine == index {
                    all.add(sign * count);
                    other.next();
                }
                side.push((mine, all));
            }
            None => {
                side.push((index, tally(sign * count)));
                other.next();
            }
        }
    }
    side.extend(own);
}
