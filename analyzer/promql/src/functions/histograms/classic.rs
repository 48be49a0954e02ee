//! Classic histograms: cumulative buckets, one series each, told apart by the label `le`.

use std::collections::HashMap;

use crate::evaluate::{Context, Row};
use crate::labels::{Labels, quoted};
use crate::syntax::tree::Span;

/// The label that holds a bucket's upper boundary.
const BUCKET_LABEL: &str = "le";

/// The rows of one classic histogram.
pub(super) struct ClassicHistogram {
    pub labels: Labels,
    /// Upper boundary and row, sorted by boundary.
    buckets: Vec<(f64, usize)>,
}

/// A cumulative bucket at one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct CumulativeBucket {
    pub upper: f64,
    pub count: f64,
}

/// Groups float rows by all labels but `le`.
pub(super) fn classic_histograms(rows: &[Row], span: Span, context: &Context<'_>) -> Vec<ClassicHistogram> {
    let mut places: HashMap<Labels, usize> = HashMap::new();
    let mut histograms: Vec<ClassicHistogram> = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let has_floats = (0..context.steps).any(|step| row.cells.float(step).is_some());
        if !has_floats {
            continue;
        }
        let boundary = row.labels.get(BUCKET_LABEL);
        let Some(upper) = parse_boundary(boundary) else {
            let mut text = format!("bucket label \"le\" is missing or has a malformed value of {}", quoted(boundary));
            if !row.labels.metric_name().is_empty() {
                text.push_str(&format!(" for metric name {}", quoted(row.labels.metric_name())));
            }
            context.warn(&text, span);
            continue;
        };
        let labels = row.labels.without(&[BUCKET_LABEL]);
        let place = *places.entry(labels.clone()).or_insert_with(|| {
            histograms.push(ClassicHistogram { labels, buckets: Vec::new() });
            histograms.len() - 1
        });
        histograms[place].buckets.push((upper, index));
    }
    for histogram in &mut histograms {
        histogram.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    histograms
}

/// A boundary as Go's `ParseFloat` reads it.
fn parse_boundary(text: &str) -> Option<f64> {
    match text.to_ascii_lowercase().trim_start_matches(['+', '-']) {
        "inf" | "infinity" => Some(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY }),
        _ => text.parse().ok(),
    }
}

impl ClassicHistogram {
    /// Calls a function with the buckets of each step that has any.
    pub(super) fn each_step(
        &self,
        rows: &[Row],
        steps: usize,
        mut function: impl FnMut(usize, &mut Vec<CumulativeBucket>) -> f64,
    ) -> Vec<Option<f64>> {
        let mut buckets = Vec::with_capacity(self.buckets.len());
        (0..steps)
            .map(|step| {
                buckets.clear();
                buckets.extend(self.buckets.iter().filter_map(|&(upper, row)| {
                    rows[row].cells.float(step).map(|count| CumulativeBucket { upper, count })
                }));
                (!buckets.is_empty()).then(|| function(step, &mut buckets))
            })
            .collect()
    }
}

/// Adds up buckets with the same boundary.
fn coalesce(buckets: &mut Vec<CumulativeBucket>) {
    buckets.dedup_by(|next, kept| {
        let same = next.upper == kept.upper;
        if same {
            kept.count += next.count;
        }
        same
    });
}

/// Relative differences below this come from adding floats, not from the data.
const TOLERANCE: f64 = 1e-12;

fn almost_equal(a: f64, b: f64) -> bool {
    if a == b || (a.is_nan() && b.is_nan()) {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < TOLERANCE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < TOLERANCE
}

/// What had to be done to make counts ascend.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Forced {
    /// Lowest and highest upper boundary of the buckets that were raised.
    pub lowest: f64,
    pub highest: f64,
    /// By how much at most.
    pub difference: f64,
}

/// Makes counts ascend. Tiny differences are evened out silently; the answer is what else had to be raised.
fn make_monotonic(buckets: &mut [CumulativeBucket]) -> Option<Forced> {
    let mut forced: Option<Forced> = None;
    let mut previous = buckets.first()?.count;
    for bucket in &mut buckets[1..] {
        if almost_equal(previous, bucket.count) {
            bucket.count = previous;
        } else if bucket.count < previous {
            let difference = previous - bucket.count;
            let all = forced.get_or_insert(Forced { lowest: bucket.upper, highest: bucket.upper, difference });
            all.highest = bucket.upper;
            all.difference = all.difference.max(difference);
            bucket.count = previous;
        } else {
            previous = bucket.count;
        }
    }
    forced
}

/// The quantile of cumulative buckets sorted by boundary, and what had to be done to make their counts ascend.
pub(super) fn quantile(buckets: &mut Vec<CumulativeBucket>, quantile: f64) -> (f64, Option<Forced>) {
    if quantile.is_nan() {
        return (f64::NAN, None);
    }
    if quantile < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if quantile > 1.0 {
        return (f64::INFINITY, None);
    }
    if buckets.last().is_none_or(|last| last.upper != f64::INFINITY) {
        return (f64::NAN, None);
    }
    coalesce(buckets);
    let forced = make_monotonic(buckets);
    let last = buckets.len() - 1;
    let observations = buckets[last].count;
    if buckets.len() < 2 || observations == 0.0 || observations.is_nan() {
        return (f64::NAN, forced);
    }
    let rank = quantile * observations;
    let place = buckets[..last].partition_point(|bucket| bucket.count < rank);
    if place == last {
        return (buckets[last - 1].upper, forced);
    }
    let bucket = buckets[place];
    if place == 0 && bucket.upper <= 0.0 {
        return (bucket.upper, forced);
    }
    let (start, before) = if place == 0 { (0.0, 0.0) } else { (buckets[place - 1].upper, buckets[place - 1].count) };
    (start + (bucket.upper - start) * ((rank - before) / (bucket.count - before)), forced)
}

/// The fraction of observations between two values (Prometheus 3.8, PR 17424).
///
/// The first bucket begins at 0 if it can; else all of its observations count as lying below any value inside it.
pub(super) fn fraction(buckets: &mut Vec<CumulativeBucket>, lower: f64, upper: f64) -> f64 {
    if buckets.last().is_none_or(|last| last.upper != f64::INFINITY) {
        return f64::NAN;
    }
    coalesce(buckets);
    let all = buckets.last().map_or(0.0, |last| last.count);
    if all == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let rank_of = |value: f64| {
        let mut start = if buckets[0].upper > 0.0 { 0.0 } else { f64::NEG_INFINITY };
        let mut rank = 0.0;
        for bucket in buckets.iter() {
            if start >= value {
                return rank;
            }
            if bucket.upper > value {
                if start == f64::NEG_INFINITY {
                    return bucket.count;
                }
                return rank + (bucket.count - rank) * (value - start) / (bucket.upper - start);
            }
            (start, rank) = (bucket.upper, bucket.count);
        }
        all
    };
    // A count that sank on the way up does not make a fraction above 1.
    let within = |rank: f64| if rank > all { all } else { rank };
    (within(rank_of(upper)) - within(rank_of(lower))) / all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(pairs: &[(f64, f64)]) -> Vec<CumulativeBucket> {
        pairs.iter().map(|&(upper, count)| CumulativeBucket { upper, count }).collect()
    }

    #[test]
    fn quantiles_interpolate_and_stop_at_the_highest_finite_bound() {
        let all = buckets(&[(1.0, 4.0), (2.0, 8.0), (f64::INFINITY, 10.0)]);
        assert_eq!(quantile(&mut all.clone(), 0.2), (0.5, None));
        assert_eq!(quantile(&mut all.clone(), 0.6), (1.5, None));
        assert_eq!(quantile(&mut all.clone(), 0.99), (2.0, None));
        assert!(quantile(&mut all[..2].to_vec(), 0.5).0.is_nan());
        assert_eq!(quantile(&mut all.clone(), 2.0).0, f64::INFINITY);
        assert_eq!(fraction(&mut all.clone(), 0.5, 1.5), 0.4);
    }

    #[test]
    fn fractions_of_negative_and_of_single_buckets() {
        let negative = buckets(&[(-2.0, 4.0), (2.0, 8.0), (f64::INFINITY, 10.0)]);
        assert_eq!(fraction(&mut negative.clone(), f64::NEG_INFINITY, -2.0), 0.4);
        assert_eq!(fraction(&mut negative.clone(), -3.0, 0.0), 0.2);
        assert_eq!(fraction(&mut negative.clone(), f64::NEG_INFINITY, -3.0), 0.4);
        let single = buckets(&[(f64::INFINITY, 5.0)]);
        assert_eq!(fraction(&mut single.clone(), f64::NEG_INFINITY, f64::INFINITY), 1.0);
        assert_eq!(fraction(&mut single.clone(), 1.0, f64::INFINITY), 1.0);
        assert!(fraction(&mut buckets(&[(f64::INFINITY, 0.0)]), 0.0, 1.0).is_nan());
    }

    #[test]
    fn counts_that_sink_are_raised_and_said_so() {
        let mut sunk = buckets(&[(1.0, 4.0), (2.0, 3.0), (f64::INFINITY, 8.0)]);
        let forced = Forced { lowest: 2.0, highest: 2.0, difference: 1.0 };
        assert_eq!(quantile(&mut sunk, 0.5), (1.0, Some(forced)));
        let mut rounding = buckets(&[(1.0, 4.0), (2.0, 4.0 - 1e-13), (f64::INFINITY, 8.0)]);
        assert_eq!(quantile(&mut rounding, 0.5).1, None);
    }
}
