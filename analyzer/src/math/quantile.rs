//! Nearest-rank quantiles: always one of the values, the `⌈q·n⌉`-th smallest.
//!
//! For values known to lie in intervals, the lower and the upper ends are sorted apart (the envelope): the true
//! quantile lies between the quantile of the lower ends and that of the upper ends, whatever the true values are.
//! An open end sorts last (above) or first (below), and a quantile that falls on it is open.

use std::cmp::Ordering;

use super::{Estimate, Named};

/// The quantiles that every distribution in a report carries.
pub const REPORTED: [(&str, f64); 5] = [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("max", 1.0)];

/// Index of the nearest-rank quantile among `n` sorted values; `None` for none.
pub fn rank(n: usize, q: f64) -> Option<usize> {
    if n == 0 {
        return None;
    }
    // The small term keeps 0.95 × 20 at 19 where the product is a hair above it.
    let rank = (q * n as f64 - 1e-9).ceil();
    Some((rank.max(1.0) as usize).min(n) - 1)
}

/// Nearest-rank quantile of sorted values.
pub fn of_sorted<T: Copy>(sorted: &[T], q: f64) -> Option<T> {
    rank(sorted.len(), q).map(|at| sorted[at])
}

/// Nearest-rank quantile of values in any order; NaN sorts last.
pub fn of(values: &[f64], q: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    of_sorted(&sorted, q)
}

/// Middle value, or the mean of the two middle values (for few runs, where nearest rank would favour the lower one).
pub fn median(values: &[f64]) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let mut values = values.to_vec();
    let (odd, middle) = (values.len() % 2 == 1, values.len() / 2);
    let (below, upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    let lower = below.iter().copied().max_by(f64::total_cmp).filter(|_| !odd);
    Some(lower.map_or(*upper, |lower| (lower + *upper) / 2.0))
}

/// Intervals whose lower ends, values and upper ends are sorted apart.
#[derive(Clone, Debug)]
pub struct Envelope {
    low: Vec<Option<f64>>,
    value: Vec<Option<f64>>,
    high: Vec<Option<f64>>,
}

impl Envelope {
    /// Sorts once; quantiles are then looked up.
    pub fn new(values: &[Estimate]) -> Envelope {
        let ends = |pick: fn(&Estimate) -> Option<f64>, open_below: bool| {
            let mut ends: Vec<Option<f64>> = values.iter().map(pick).collect();
            ends.sort_unstable_by(|a, b| order(*a, *b, open_below));
            ends
        };
        Envelope { low: ends(|e| e.low, true), value: ends(|e| e.value, false), high: ends(|e| e.high, false) }
    }

    /// A quantile: open where it falls on an open end, or there is no interval.
    pub fn at(&self, q: f64) -> Estimate {
        let Some(at) = rank(self.low.len(), q) else { return Estimate::default() };
        Estimate { value: self.value[at], low: self.low[at], high: self.high[at] }
    }
}

/// Envelope quantile of intervals.
pub fn envelope(values: &[Estimate], q: f64) -> Estimate {
    Envelope::new(values).at(q)
}

/// All reported quantiles of intervals.
pub fn envelope_all(values: &[Estimate]) -> Named<Estimate> {
    if values.is_empty() {
        return Named::new();
    }
    let envelope = Envelope::new(values);
    REPORTED.iter().map(|(name, q)| ((*name).to_owned(), envelope.at(*q))).collect()
}

/// All reported quantiles of exact values.
pub fn exact_all(values: &[f64]) -> Named<Estimate> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let mut found = Named::new();
    for (name, q) in REPORTED {
        if let Some(value) = of_sorted(&sorted, q) {
            found.insert(name.to_owned(), Estimate::exact(value));
        }
    }
    found
}

fn order(a: Option<f64>, b: Option<f64>, open_below: bool) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        (None, None) => Ordering::Equal,
        (None, Some(_)) if open_below => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) if open_below => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Estimate, envelope, envelope_all, exact_all, median, of, rank};

    /// The textbook example of the nearest-rank method: 15 20 35 40 50.
    #[test]
    fn textbook_values() {
        let values = [40.0, 15.0, 50.0, 20.0, 35.0];
        for (q, expected) in [(0.05, 15.0), (0.30, 20.0), (0.40, 20.0), (0.50, 35.0), (1.0, 50.0)] {
            assert_eq!(of(&values, q), Some(expected), "q = {q}");
        }
    }

    #[test]
    fn ranks_that_floating_point_would_push_up() {
        for (n, q, expected) in
            [(20, 0.95, 18), (100, 0.99, 98), (10, 0.9, 8), (40, 0.95, 37), (1, 0.5, 0), (3, 0.0, 0)]
        {
            assert_eq!(rank(n, q), Some(expected), "n = {n}, q = {q}");
        }
        assert_eq!(rank(0, 0.5), None);
    }

    #[test]
    fn what_never_arrived_counts_and_leaves_the_top_open() {
        let mut values = vec![Estimate::between(0.1, 0.2, 0.3); 9];
        values.push(Estimate { value: None, low: Some(5.0), high: None });
        assert_eq!(envelope(&values, 0.9).high, Some(0.3));
        let top = envelope(&values, 1.0);
        assert_eq!((top.low, top.value, top.high), (Some(5.0), None, None));
    }

    #[test]
    fn nothing_has_no_quantiles() {
        assert_eq!(envelope(&[], 0.5), Estimate::default());
        assert!(envelope_all(&[]).is_empty());
        assert!(exact_all(&[]).is_empty());
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[1.0, 2.0, 4.0, 9.0]), Some(3.0));
    }

    proptest! {
        #[test]
        fn the_true_quantile_lies_in_the_envelope(
            points in prop::collection::vec((0.0..100.0f64, 0.0..10.0f64, 0.0..1.0f64), 1..60), q in 0.0..=1.0f64,
        ) {
            let intervals: Vec<Estimate> =
                points.iter().map(|(low, width, _)| Estimate::between(*low, low + width / 2.0, low + width)).collect();
            let truth: Vec<f64> = points.iter().map(|(low, width, at)| low + at * width).collect();
            let found = envelope(&intervals, q);
            let truth = of(&truth, q).unwrap();
            prop_assert!(found.low.unwrap() <= truth && truth <= found.high.unwrap());
        }
    }
}
