//! Operations between two scrapes: a histogram's `_sum` and `_count` give their number and their mean, and so bounds of any
//! quantile of the single ones.
//!
//! ```text
//! scrape  Δcount  Δsum    one by one
//!   1        1     8 ms   8 ms
//!   2        3    12 ms   anything from 0 to 12 ms, 4 ms on average
//! ```

use std::collections::BTreeMap;

use super::Measurement;
use super::readings::{self, Reading, Series, Step};
use crate::clock::Evidence;
use crate::events::{Run, Window};
use crate::math::{Estimate, quantile};

/// Quantiles that are given.
const QUANTILES: [(&str, f64); 5] = [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("max", 1.0)];

/// What was done between two scrapes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mean {
    /// Of the count: its `delta` is the number of operations.
    pub step: Step,
    /// Seconds of one, on average.
    pub seconds: f64,
}

/// All intervals with operations whose end lies in a window, in order of time.
pub fn of(sums: &[Series], counts: &[Series], window: &dyn Fn(&Series) -> Option<Window>) -> Vec<Mean> {
    let mut found = Vec::new();
    for count in counts {
        let Some(sum) = sums.iter().find(|s| s.labels == count.labels && s.witness == count.witness) else { continue };
        let Some(window) = window(count) else { continue };
        let totals: BTreeMap<i64, f64> = readings::steps(sum, &window).iter().map(|s| (s.end, s.delta)).collect();
        for step in readings::steps(count, &window) {
            if let Some(total) = totals.get(&step.end)
                && step.delta > 0.0
            {
                found.push(Mean { step, seconds: total / step.delta });
            }
        }
    }
    found.sort_by_key(|one| one.step.end);
    found
}

/// A quantile: its value over the means, its bounds those of the single operations, of which the means are all that is known.
pub fn quantile_of(means: &[Mean], q: f64) -> Option<Estimate> {
    let value = quantile::of(&means.iter().map(|one| one.seconds).collect::<Vec<_>>(), q)?;
    let count = |one: &Mean| one.step.delta.round().max(1.0) as usize;
    let n: usize = means.iter().map(count).sum();
    let rank = ((q * n as f64).ceil() as usize).clamp(1, n);
    // So many must be as long or longer.
    let above = n - rank + 1;
    // At least: of each interval one operation is as long as its mean, and the others may be nothing.
    let mut least: Vec<f64> = means.iter().map(|one| one.seconds).collect();
    // At most: of an interval k operations are as long as its sum / k, and the others are nothing.
    let mut most: Vec<f64> = means
        .iter()
        .flat_map(|one| {
            let sum = one.seconds * one.step.delta;
            (1..=count(one).min(above)).map(move |k| sum / k as f64)
        })
        .collect();
    for list in [&mut least, &mut most] {
        list.sort_by(|a, b| b.total_cmp(a));
    }
    let low = least.get(above - 1).copied().unwrap_or(0.0);
    let high = most.get(above - 1).copied().unwrap_or(value);
    Some(Estimate::between(low.min(value), value, high.max(value)))
}

/// Number, quantiles and p95 of the means, with the readings that they come from.
pub fn describe(run: &Run, row: &mut Measurement, means: &[Mean], counts: &Series) {
    row.n = means.len() as u64;
    row.quantiles =
        QUANTILES.iter().filter_map(|(name, q)| Some(((*name).to_owned(), quantile_of(means, *q)?))).collect();
    if let Some(p95) = row.quantiles.get("p95") {
        row.estimate = *p95;
    }
    if let (Some(first), Some(last)) = (means.first(), means.last()) {
        row.evidence = match range(run, counts, &first.step.last, &last.step.last, "increase") {
            Some(range) => vec![range],
            None => vec![last.step.last.evidence(run, &counts.name)],
        };
    }
    if means.iter().any(|one| one.step.delta > 1.5) {
        row.notes.push("Several operations fell between two scrapes: of these their mean is known, and the bounds hold whatever the single ones took.".into());
    }
}

/// Readings of a series from one to another as evidence, with PromQL over them; `None` where they stand in several files.
pub fn range(run: &Run, series: &Series, first: &Reading, last: &Reading, function: &str) -> Option<Evidence> {
    if first.source != last.source {
        return None;
    }
    let labels: Vec<String> = series
        .labels
        .iter()
        .filter(|(name, _)| *name != "__name__")
        .map(|(name, value)| format!("{name}={value:?}"))
        .collect();
    let seconds = ((last.high - first.high) as f64 / 1e9).ceil().max(1.0);
    let (low, high) = (first.record.min(last.record), first.record.max(last.record));
    Some(Evidence {
        last: Some(high),
        query: format!("{function}({}{{{}}}[{seconds:.0}s])", series.name, labels.join(",")).into(),
        ..run.evidence(first.source, low, format!("readings of {}", series.name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(count: f64, sum: f64) -> Mean {
        let last = Reading { low: 0, high: 0, value: count, source: 0, record: 1 };
        Mean { step: Step { start: 0, end: 0, delta: count, last }, seconds: sum / count }
    }

    #[test]
    fn single_operations_are_exact() {
        let means: Vec<Mean> = (1..=20).map(|at| mean(1.0, f64::from(at))).collect();
        assert_eq!(quantile_of(&means, 0.95), Some(Estimate::exact(19.0)));
        assert_eq!(quantile_of(&means, 1.0), Some(Estimate::exact(20.0)));
        assert_eq!(quantile_of(&[], 0.5), None);
    }

    #[test]
    fn of_several_only_their_sum_is_known() {
        let found = quantile_of(&[mean(1.0, 8.0), mean(3.0, 12.0)], 1.0).unwrap();
        assert_eq!((found.low, found.value, found.high), (Some(8.0), Some(8.0), Some(12.0)));
        // The third of four: two are as long or longer. 4 ms is sure, and so is no more than 8 ms.
        let found = quantile_of(&[mean(1.0, 8.0), mean(3.0, 12.0)], 0.75).unwrap();
        assert_eq!((found.low, found.high), (Some(4.0), Some(8.0)));
    }

    /// Whatever the single operations were, their quantile lies within the bounds.
    #[test]
    fn the_truth_lies_within_the_bounds() {
        let mut state = 7u64;
        let mut random = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / f64::from(1u32 << 31)
        };
        for _ in 0..300 {
            let intervals = 1 + (random() * 12.0) as usize;
            let mut all = Vec::new();
            let mut means = Vec::new();
            for _ in 0..intervals {
                let own: Vec<f64> = (0..=(random() * 5.0) as usize).map(|_| random().powi(4)).collect();
                means.push(mean(own.len() as f64, own.iter().sum()));
                all.extend(own);
            }
            for (_, q) in QUANTILES {
                let truth = quantile::of(&all, q).unwrap();
                let found = quantile_of(&means, q).unwrap();
                let (low, high) = (found.low.unwrap(), found.high.unwrap());
                assert!(low <= truth + 1e-12 && truth <= high + 1e-12, "{truth} in {low}..{high} of {all:?}");
            }
        }
    }
}
