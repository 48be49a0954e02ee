//! The distribution of values that are known as intervals only: the non-parametric maximum-likelihood estimate.
//!
//! Source: Turnbull, "The empirical distribution function with arbitrarily grouped, censored and truncated data",
//! J. R. Statist. Soc. B 38 (1976). Mass can lie only where a lower end is followed at once by an upper end (the
//! innermost intervals); how much lies in each is found by self-consistency: each value's mass is shared among the
//! innermost intervals that it contains, in proportion to what they hold.
//!
//! ```text
//! values      ├────────┤      ├──────────┤
//!                 ├────────────────┤         ├────────── …   (never arrived: open above)
//! innermost       ├────┤      ├────┤         ├────────── …
//! ```
//!
//! An innermost interval that is open above holds the mass of what never arrived: a quantile that falls on it is not
//! given.

use std::collections::HashMap;

use super::quantile::{Envelope, REPORTED, rank};
use super::{Estimate, Named};

/// Steps after which the shares are taken as they are, and the work that all steps together may cost: with very many
/// values there are so many pieces that each is narrow, and a few steps do.
const MOST_STEPS: usize = 2_000;
const FEWEST_STEPS: usize = 20;
const MOST_WORK: usize = 20_000_000;
/// Change of the largest share below which they are taken as found.
const CLOSE: f64 = 1e-7;

/// The estimated distribution.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distribution {
    /// Innermost intervals, ascending, with the share of the values in each.
    pub pieces: Vec<Piece>,
}

/// An innermost interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Piece {
    /// Lower end; minus infinity where it is open below.
    pub low: f64,
    /// Upper end; infinity where it is open above.
    pub high: f64,
    /// Share of all values.
    pub share: f64,
}

/// Estimates the distribution of values in the intervals `[low, high]`; an open end is infinite. NaN ends count as open.
pub fn estimate(values: &[Estimate]) -> Distribution {
    let end = |value: Option<f64>, open: f64| value.filter(|value| !value.is_nan()).unwrap_or(open);
    let intervals: Vec<(f64, f64)> = values
        .iter()
        .map(|one| (end(one.low, f64::NEG_INFINITY), end(one.high, f64::INFINITY)))
        .map(|(low, high)| (low.min(high), low.max(high)))
        .collect();
    let mut pieces = innermost(&intervals);
    // Which pieces an interval contains: a range, the same for many.
    let mut counts: HashMap<(usize, usize), f64> = HashMap::new();
    for (low, high) in &intervals {
        let first = pieces.partition_point(|piece| piece.low < *low);
        let last = pieces.partition_point(|piece| piece.high <= *high);
        *counts.entry((first, last)).or_default() += 1.0;
    }
    let mut ranges: Vec<((usize, usize), f64)> = counts.into_iter().filter(|((first, last), _)| first < last).collect();
    ranges.sort_by_key(|(range, _)| *range);
    solve(&mut pieces, &ranges);
    Distribution { pieces }
}

/// All reported quantiles: bounds by the envelope (lower and upper ends sorted apart), values by the estimate. Where the
/// upper bound is open, so many never arrived that no value is given.
pub fn quantiles(values: &[Estimate]) -> Named<Estimate> {
    let (distribution, envelope) = (estimate(values), Envelope::new(values));
    let mut found = Named::new();
    for (name, q) in REPORTED {
        let bounds = envelope.at(q);
        let Some(rank) = rank(values.len(), q) else { continue };
        // The middle of the nearest rank's own share: what the value of that rank is expected to be.
        let level = (rank as f64 + 0.5) / values.len() as f64;
        let value = distribution.quantile(level).filter(|_| bounds.high.is_some());
        let value = value.map(|value| bounds.low.map_or(value, |low| value.max(low)));
        let value = value.map(|value| bounds.high.map_or(value, |high| value.min(high)));
        found.insert(name.to_owned(), Estimate { value, ..bounds });
    }
    found
}

/// A lower end followed at once by an upper end, among all ends in order (at one place lower ends come first).
fn innermost(intervals: &[(f64, f64)]) -> Vec<Piece> {
    let mut ends: Vec<(f64, bool)> = Vec::with_capacity(2 * intervals.len());
    for (low, high) in intervals {
        ends.push((*low, false));
        ends.push((*high, true));
    }
    ends.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut found: Vec<Piece> = Vec::new();
    for pair in ends.windows(2) {
        if !pair[0].1 && pair[1].1 {
            found.push(Piece { low: pair[0].0, high: pair[1].0, share: 0.0 });
        }
    }
    found
}

/// Self-consistency from equal shares. Sums over ranges are differences of running sums, so that a step costs as much
/// as there are pieces and ranges.
fn solve(pieces: &mut [Piece], ranges: &[((usize, usize), f64)]) {
    let (count, total) = (pieces.len(), ranges.iter().map(|(_, count)| count).sum::<f64>());
    if count == 0 || total <= 0.0 {
        return;
    }
    let mut shares = vec![1.0 / count as f64; count];
    let mut running = vec![0.0; count + 1];
    let mut weights = vec![0.0; count + 1];
    let steps = (MOST_WORK / (count + ranges.len())).clamp(FEWEST_STEPS, MOST_STEPS);
    for _ in 0..steps {
        for at in 0..count {
            running[at + 1] = running[at] + shares[at];
        }
        weights.fill(0.0);
        for ((first, last), number) in ranges {
            let held = running[*last] - running[*first];
            if held > 0.0 {
                weights[*first] += number / held;
                weights[*last] -= number / held;
            }
        }
        let (mut weight, mut change) = (0.0, 0.0f64);
        for at in 0..count {
            weight += weights[at];
            let new = (shares[at] * weight / total).max(0.0);
            change = change.max((new - shares[at]).abs());
            shares[at] = new;
        }
        if change < CLOSE {
            break;
        }
    }
    for (piece, share) in pieces.iter_mut().zip(shares) {
        piece.share = share;
    }
}

impl Distribution {
    /// Share of the values that no upper end bounds: they never arrived.
    pub fn censored(&self) -> f64 {
        self.pieces.iter().filter(|piece| piece.high.is_infinite()).map(|piece| piece.share).sum()
    }

    /// A quantile, between the ends of its piece by how much of the piece's share is needed; `None` where it falls on
    /// a piece that is open, or there is none.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let mut below = 0.0;
        for piece in &self.pieces {
            // Shares add up to one but for rounding.
            if below + piece.share + 1e-6 >= q && piece.share > 0.0 {
                let part = ((q - below) / piece.share).clamp(0.0, 1.0);
                let open = piece.low.is_infinite() || piece.high.is_infinite();
                return (!open).then_some(piece.low + (piece.high - piece.low) * part);
            }
            below += piece.share;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::quantile::envelope;
    use super::*;

    fn within(low: f64, high: f64) -> Estimate {
        Estimate { value: None, low: Some(low), high: Some(high) }
    }

    fn shares(values: &[Estimate]) -> Vec<(f64, f64, f64)> {
        let round = |share: f64| (share * 1e4).round() / 1e4;
        estimate(values).pieces.iter().map(|piece| (piece.low, piece.high, round(piece.share))).collect()
    }

    /// Two of three values contain [1, 2] and two contain [3, 4]: by symmetry half of the mass lies in each.
    #[test]
    fn shares_of_a_case_that_can_be_done_by_hand() {
        let values = [within(0.0, 2.0), within(1.0, 4.0), within(3.0, 5.0)];
        assert_eq!(shares(&values), [(1.0, 2.0, 0.5), (3.0, 4.0, 0.5)]);
    }

    /// Right-censored values alone: Kaplan and Meier's estimate. Deaths at 1, 3, 4 and losses at 2 and 5:
    /// S = 4/5, 4/5 · 2/3, 4/5 · 2/3 · 1/2.
    #[test]
    fn right_censored_values_give_kaplan_and_meiers_estimate() {
        let lost = |low| Estimate { value: None, low: Some(low), high: None };
        let values = [within(1.0, 1.0), lost(2.0), within(3.0, 3.0), within(4.0, 4.0), lost(5.0)];
        let found = estimate(&values);
        let at = |x: f64| found.pieces.iter().filter(|piece| piece.high <= x).map(|piece| piece.share).sum::<f64>();
        for (x, survival) in [(1.0, 0.8), (3.0, 0.8 * 2.0 / 3.0), (4.0, 0.8 / 3.0)] {
            assert!((1.0 - at(x) - survival).abs() < 1e-5, "at {x}: {}", 1.0 - at(x));
        }
        assert!((found.censored() - 0.8 / 3.0).abs() < 1e-5);
        assert_eq!(found.quantile(0.5), Some(4.0));
        assert_eq!(found.quantile(0.9), None, "beyond the censored share");
    }

    #[test]
    fn exact_values_give_their_own_distribution() {
        let values: Vec<Estimate> = (1..=10).map(|v| within(f64::from(v), f64::from(v))).collect();
        let found = estimate(&values);
        for (q, expected) in [(0.5, 5.0), (0.9, 9.0), (0.95, 10.0), (1.0, 10.0)] {
            assert_eq!(found.quantile(q), Some(expected), "q = {q}");
        }
        assert_eq!(estimate(&[]).quantile(0.5), None);
    }

    proptest! {
        #[test]
        fn shares_add_up_and_lie_between_the_ends(
            points in prop::collection::vec((0.0..100.0f64, 0.0..20.0f64, 0u8..8), 1..50),
        ) {
            let values: Vec<Estimate> = points
                .iter()
                .map(|(low, width, open)| Estimate {
                    value: None,
                    low: Some(*low),
                    high: (*open > 0).then_some(low + width),
                })
                .collect();
            let found = estimate(&values);
            let sum: f64 = found.pieces.iter().map(|piece| piece.share).sum();
            prop_assert!((sum - 1.0).abs() < 1e-6, "{sum}");
            let n = values.len() as f64;
            let mut below = 0.0;
            for piece in found.pieces.iter().filter(|piece| piece.high.is_finite()) {
                below += piece.share;
                let least = values.iter().filter(|one| one.high.is_some_and(|high| high <= piece.high)).count() as f64;
                let most = values.iter().filter(|one| one.low.is_some_and(|low| low <= piece.high)).count() as f64;
                prop_assert!(below >= least / n - 1e-3 && below <= most / n + 1e-3, "{below} {least} {most} {n}");
            }
            let all = quantiles(&values);
            prop_assert_eq!(all.len(), 5);
            for (name, q) in REPORTED {
                let (bounds, found) = (envelope(&values, q), all[name]);
                prop_assert_eq!((bounds.low, bounds.high), (found.low, found.high));
                prop_assert!(found.value.is_none_or(|value| bounds.low.is_none_or(|low| low <= value)));
                prop_assert!(found.value.is_none_or(|value| bounds.high.is_none_or(|high| value <= high)));
                prop_assert!(found.high.is_some() || found.value.is_none(), "beyond the censored share");
            }
        }
    }
}
