//! Two groups of runs: Mann–Whitney's U with its exact p, intervals of the shift and of the ratio with their coverage, Cliff's
//! delta, Holm's correction for several comparisons.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Result of Mann–Whitney's test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MannWhitney {
    /// Pairs in which the first group is greater, ties as halves.
    pub u: f64,
    /// Two-sided p.
    pub p: f64,
    /// Whether `p` is exact (a permutation count) or the normal approximation.
    pub exact: bool,
}

/// Smallest number of runs a side with which the test can reach p < 0.05 and says something of the spread.
pub const MINIMUM_RUNS: usize = 4;

/// Above this many values in all, the normal approximation is used.
const EXACT_LIMIT: usize = 60;

/// Mann–Whitney's test, two-sided. The exact p counts all ways to divide the values, with mid-ranks for ties, so it
/// is right with ties as well. `None` where a group is empty.
pub fn mann_whitney(first: &[f64], second: &[f64]) -> Option<MannWhitney> {
    let (m, n) = (first.len(), second.len());
    if m == 0 || n == 0 {
        return None;
    }
    let mut all: Vec<(f64, bool)> =
        first.iter().map(|v| (*v, true)).chain(second.iter().map(|v| (*v, false))).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Twice the mid-rank of each value: integers.
    let mut ranks = vec![0usize; all.len()];
    let mut ties = 0.0;
    let mut at = 0;
    while at < all.len() {
        let end = all[at..].iter().take_while(|(v, _)| *v == all[at].0).count() + at;
        for rank in &mut ranks[at..end] {
            *rank = at + end + 1;
        }
        let t = (end - at) as f64;
        ties += t * t * t - t;
        at = end;
    }
    let sum: usize = ranks.iter().zip(&all).filter(|(_, (_, mine))| *mine).map(|(r, _)| *r).sum();
    let u = sum as f64 / 2.0 - (m * (m + 1)) as f64 / 2.0;
    let total = m + n;
    if total <= EXACT_LIMIT {
        return Some(MannWhitney { u, p: exact_p(&ranks, m, sum), exact: true });
    }
    let (m, n, total) = (m as f64, n as f64, total as f64);
    let variance = m * n / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)));
    let distance = ((u - m * n / 2.0).abs() - 0.5).max(0.0);
    let p = if variance > 0.0 { 2.0 * normal_tail(distance / variance.sqrt()) } else { 1.0 };
    Some(MannWhitney { u, p: p.min(1.0), exact: false })
}

/// Share of the subsets of size `m` whose rank sum is at least as far from its mean as the observed one.
fn exact_p(ranks: &[usize], m: usize, observed: usize) -> f64 {
    let most: usize = ranks.iter().sum();
    // Without ties twice a rank is even: half of the sums cannot be.
    let unit = if ranks.iter().all(|rank| rank % 2 == 0) { 2 } else { 1 };
    // ways[k][s]: subsets of k values with the rank sum s units.
    let mut ways = vec![vec![0.0f64; most / unit + 1]; m + 1];
    ways[0][0] = 1.0;
    let mut reached = 0;
    for (done, rank) in ranks.iter().map(|rank| rank / unit).enumerate() {
        reached += rank;
        for k in (1..=m.min(done + 1)).rev() {
            let (fewer, more) = ways.split_at_mut(k);
            let with_it = more[0][rank..=reached].iter_mut();
            with_it.zip(&fewer[k - 1][..=reached - rank]).for_each(|(ways, without_it)| *ways += without_it);
        }
    }
    let mean = most as f64 * m as f64 / ranks.len() as f64;
    let distance = (observed as f64 - mean).abs() - 1e-9;
    let all: f64 = ways[m].iter().sum();
    let is_far = |sum: usize| ((sum * unit) as f64 - mean).abs() >= distance;
    let far: f64 = ways[m].iter().enumerate().filter(|(sum, _)| is_far(*sum)).map(|(_, w)| w).sum();
    (far / all).min(1.0)
}

/// Upper tail of the normal distribution, by the incomplete gamma function.
fn normal_tail(z: f64) -> f64 {
    (1.0 - super::exact::gamma_p(0.5, z * z / 2.0)) / 2.0
}

/// Hodges–Lehmann estimate of the shift from `first` to `second`: the median of all differences.
pub fn hodges_lehmann(first: &[f64], second: &[f64]) -> Option<f64> {
    let differences: Vec<f64> = first.iter().flat_map(|a| second.iter().map(move |b| b - a)).collect();
    super::quantile::median(&differences)
}

/// An interval of a location with the share of samples in which it holds the truth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Covered {
    /// Null: open.
    pub low: Option<f64>,
    /// Null: open.
    pub high: Option<f64>,
    /// At least this share.
    pub coverage: f64,
}

/// Values outside of an interval at each end, and what it covers; nothing where that is below a half.
type Outside = Option<(usize, f64)>;

/// How many of the sorted pairwise values lie outside an interval at each end, and what the interval covers: as close to
/// `level` from above as the numbers allow, else the whole range with what that covers; `None` below a half.
///
/// The tails are those of U (Lehmann, Nonparametrics, 1975): exact up to 60 values in all, else by the normal approximation.
fn outside(m: usize, n: usize, level: f64) -> Outside {
    if m == 0 || n == 0 {
        return None;
    }
    let tail = (1.0 - level) / 2.0;
    if m + n > EXACT_LIMIT {
        let (m, n) = (m as f64, n as f64);
        let half = super::interval::Z95 * (m * n * (m + n + 1.0) / 12.0).sqrt();
        return Some((((m * n / 2.0 - half).floor().max(1.0)) as usize, level));
    }
    // Hundreds of measurements of the same two sets ask the same.
    static KNOWN: Mutex<BTreeMap<(usize, usize, u64), Outside>> = Mutex::new(BTreeMap::new());
    let key = (m, n, level.to_bits());
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = known().get(&key) {
        return *found;
    }
    let found = exactly_outside(m, n, tail);
    known().insert(key, found);
    found
}

/// The same by all ways to reach each U, with so much in each tail.
fn exactly_outside(m: usize, n: usize, tail: f64) -> Outside {
    // Ways to reach each U without ties: subsets of m of the ranks 1…m+n by their sum.
    let most = (m + n) * (m + n + 1) / 2;
    let mut ways = vec![vec![0.0f64; most + 1]; m + 1];
    ways[0][0] = 1.0;
    for rank in 1..=m + n {
        let reached = rank * (rank + 1) / 2;
        for k in (1..=m.min(rank)).rev() {
            let (fewer, more) = ways.split_at_mut(k);
            let with_it = more[0][rank..=reached].iter_mut();
            with_it.zip(&fewer[k - 1][..=reached - rank]).for_each(|(ways, without_it)| *ways += without_it);
        }
    }
    let all: f64 = ways[m].iter().sum();
    let (mut below, mut found) = (0.0, None);
    for u in 0..m * n {
        below += ways[m][u + m * (m + 1) / 2] / all;
        if below > tail && found.is_some() {
            break;
        }
        found = Some((u + 1, 1.0 - 2.0 * below));
        if below > tail {
            break;
        }
    }
    found.filter(|(_, coverage)| *coverage >= 0.5)
}

/// The interval of the median pairwise value at a level; an end that is no number is open. `low` are the values that make
/// it least, `high` those that make it greatest: the same ones, or each at an end of its own bounds.
fn covered(mut low: Vec<f64>, mut high: Vec<f64>, (outside, coverage): (usize, f64)) -> Covered {
    // Hundreds of runs a side are ten thousands of pairs: two of them are wanted, not their order.
    let nth = |values: &mut Vec<f64>, at: usize| {
        (at < values.len()).then(|| *values.select_nth_unstable_by(at, f64::total_cmp).1)
    };
    let last = high.len().checked_sub(outside);
    let ends = (nth(&mut low, outside - 1), last.and_then(|at| nth(&mut high, at)));
    let finite = |end: Option<f64>| end.filter(|end| end.is_finite());
    Covered { low: finite(ends.0), high: finite(ends.1), coverage }
}

/// Interval of the Hodges–Lehmann shift `second − first` at a two-sided level, or with what coverage the groups allow.
/// Each value may lie anywhere within its bounds (`[low, high]`, null where open): the interval holds whatever it is.
pub fn shift_interval(first: &[[Option<f64>; 2]], second: &[[Option<f64>; 2]], level: f64) -> Option<Covered> {
    let pairs = |a: usize, b: usize, open: f64| {
        let difference = |x: &[Option<f64>; 2], y: &[Option<f64>; 2]| Some(y[b]? - x[a]?);
        first.iter().flat_map(|x| second.iter().map(move |y| difference(x, y).unwrap_or(open))).collect()
    };
    let outside = outside(first.len(), second.len(), level)?;
    Some(covered(pairs(1, 0, f64::NEG_INFINITY), pairs(0, 1, f64::INFINITY), outside))
}

/// Interval of the ratio `second / first` of quantities that cannot be negative: as [`shift_interval`] of their logarithms.
pub fn ratio_interval(first: &[[Option<f64>; 2]], second: &[[Option<f64>; 2]], level: f64) -> Option<Covered> {
    let pairs = |a: usize, b: usize, open: f64| {
        let ratio = |x: &[Option<f64>; 2], y: &[Option<f64>; 2]| {
            let (above, below) = (y[b]?.max(0.0), x[a]?);
            (below > 0.0).then(|| above / below)
        };
        first.iter().flat_map(|x| second.iter().map(move |y| ratio(x, y).unwrap_or(open))).collect()
    };
    let outside = outside(first.len(), second.len(), level)?;
    Some(covered(pairs(1, 0, f64::NEG_INFINITY), pairs(0, 1, f64::INFINITY), outside))
}

/// The least p that the test can reach with so many values a side, all distinct: 2 / C(m + n, m).
pub fn least_p(m: usize, n: usize) -> f64 {
    let mut ways = 1.0f64;
    for k in 1..=m.min(n) {
        ways *= (m.max(n) + k) as f64 / k as f64;
    }
    (2.0 / ways).min(1.0)
}

/// Holm's correction: p-values adjusted so that the chance of any false finding among them stays at the level that they
/// are held against (Holm, Scand. J. Statist. 6, 1979).
pub fn holm(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut found = vec![1.0; values.len()];
    let mut least = 0.0f64;
    for (rank, at) in order.into_iter().enumerate() {
        least = least.max(values[at] * (values.len() - rank) as f64).min(1.0);
        found[at] = least;
    }
    found
}

/// Smallest number of runs a side with which fully separated groups reach p < 0.05 after Holm's correction over so many
/// comparisons.
pub fn runs_needed(comparisons: usize) -> usize {
    let mut runs = MINIMUM_RUNS;
    let mut ways = 70.0f64;
    while 2.0 / ways * comparisons.max(1) as f64 >= 0.05 && runs < 50 {
        runs += 1;
        // C(2k, k) from C(2k − 2, k − 1).
        ways *= 2.0 * (2 * runs - 1) as f64 / runs as f64;
    }
    runs
}

/// Cliff's delta: share of pairs with `first` greater minus the share with `second` greater, in −1…1.
pub fn cliffs_delta(first: &[f64], second: &[f64]) -> Option<f64> {
    if first.is_empty() || second.is_empty() {
        return None;
    }
    let mut balance = 0i64;
    for a in first {
        for b in second {
            balance += i64::from(a > b) - i64::from(a < b);
        }
    }
    Some(balance as f64 / (first.len() * second.len()) as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        cliffs_delta, hodges_lehmann, holm, least_p, mann_whitney, ratio_interval, runs_needed, shift_interval,
    };

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
    }

    /// Fully separated groups: p = 2 / C(m + n, m), the smallest there is.
    #[test]
    fn smallest_p_of_small_groups() {
        for (m, n, ways) in [(3, 3, 20.0), (4, 4, 70.0), (5, 5, 252.0), (4, 6, 210.0)] {
            let first: Vec<f64> = (0..m).map(f64::from).collect();
            let second: Vec<f64> = (0..n).map(|v| 100.0 + f64::from(v)).collect();
            let found = mann_whitney(&first, &second).unwrap();
            close(found.u, 0.0);
            close(found.p, 2.0 / ways);
            assert!(found.exact);
        }
    }

    /// Table of U's exact distribution: P(U ≤ 2) at 4 against 5 is 4/126 one-sided.
    #[test]
    fn p_of_the_table() {
        let first = [1.0, 2.0, 3.0, 6.5];
        let second = [4.0, 5.0, 7.0, 8.0, 9.0];
        let found = mann_whitney(&first, &second).unwrap();
        close(found.u, 2.0);
        close(found.p, 2.0 * 4.0 / 126.0);
    }

    /// Four against four: the tail of 2.5 % holds U = 0 only (1/70), so the interval spans all 16 differences; at 5 against
    /// 5 it holds U ≤ 2 (4 of 252 ways), so the third difference from each end is the limit; at 3 against 3 the whole range
    /// covers 18 of 20 ways.
    #[test]
    fn interval_of_the_shift() {
        let group = |from: i32, count: i32| (0..count).map(|at| exact(f64::from(from + at))).collect::<Vec<_>>();
        let check = |count: i32, low: f64, high: f64, coverage: f64| {
            let found = shift_interval(&group(0, count), &group(10, count), 0.95).unwrap();
            assert_eq!((found.low, found.high), (Some(low), Some(high)), "{count}");
            close(found.coverage, coverage);
        };
        check(4, 7.0, 13.0, 1.0 - 2.0 / 70.0);
        check(5, 7.0, 13.0, 1.0 - 8.0 / 252.0);
        check(3, 8.0, 12.0, 0.9);
        assert_eq!(shift_interval(&group(0, 1), &group(10, 1), 0.95), None);
        assert!(shift_interval(&group(0, 40), &group(10, 40), 0.95).is_some_and(|found| found.low.is_some()));
    }

    fn exact(value: f64) -> [Option<f64>; 2] {
        [Some(value), Some(value)]
    }

    #[test]
    fn a_ratio_holds_whatever_the_bounds_leave_and_stays_open_where_they_do() {
        let first: Vec<_> = [1.0, 1.1, 1.2, 1.3].map(exact).into();
        let second: Vec<_> =
            first.iter().map(|[low, high]| [low.map(|x| 2.0 * x - 0.1), high.map(|x| 2.0 * x + 0.1)]).collect();
        let found = ratio_interval(&first, &second, 0.95).unwrap();
        close(found.low.unwrap(), 1.9 / 1.3);
        close(found.high.unwrap(), 2.7);
        let mut open = second.clone();
        open[0][1] = None;
        assert_eq!(ratio_interval(&first, &open, 0.95).unwrap().high, None);
        let mut zero = first.clone();
        zero[0] = [Some(0.0), Some(1.0)];
        assert_eq!(ratio_interval(&zero, &second, 0.95).unwrap().high, None, "a divisor that may be zero");
    }

    #[test]
    fn least_p_of_the_tables() {
        close(least_p(3, 3), 0.1);
        close(least_p(4, 4), 2.0 / 70.0);
        close(least_p(3, 10), 2.0 / 286.0);
        close(least_p(1, 1), 1.0);
    }

    #[test]
    fn several_comparisons_cost_significance() {
        let found = holm(&[0.01, 0.04, 0.03]);
        for (found, expected) in found.iter().zip([0.03, 0.06, 0.06]) {
            close(*found, expected);
        }
        assert!(holm(&[]).is_empty());
        // 2/70 < 0.05; twice that is not, but 2 · 2/252 is.
        assert_eq!((runs_needed(1), runs_needed(2), runs_needed(10)), (4, 5, 6));
    }

    #[test]
    fn equal_groups_differ_in_nothing() {
        let found = mann_whitney(&[1.0, 1.0, 1.0], &[1.0, 1.0]).unwrap();
        close(found.u, 3.0);
        close(found.p, 1.0);
        assert_eq!(cliffs_delta(&[1.0, 1.0], &[1.0]), Some(0.0));
        assert_eq!(mann_whitney(&[], &[1.0]), None);
    }

    #[test]
    fn shift_and_effect() {
        assert_eq!(hodges_lehmann(&[1.0, 2.0, 3.0], &[11.0, 12.0, 13.0]), Some(10.0));
        assert_eq!(cliffs_delta(&[1.0, 2.0], &[3.0, 4.0]), Some(-1.0));
        assert_eq!(cliffs_delta(&[], &[3.0]), None);
    }

    proptest! {
        #[test]
        fn the_order_of_the_groups_does_not_change_p(
            a in prop::collection::vec(0u8..20, 1..8), b in prop::collection::vec(0u8..20, 1..8),
        ) {
            let a: Vec<f64> = a.into_iter().map(f64::from).collect();
            let b: Vec<f64> = b.into_iter().map(f64::from).collect();
            let one = mann_whitney(&a, &b).unwrap();
            let other = mann_whitney(&b, &a).unwrap();
            prop_assert!((one.p - other.p).abs() < 1e-9);
            prop_assert!((one.u + other.u - (a.len() * b.len()) as f64).abs() < 1e-9);
            prop_assert!(one.p > 0.0 && one.p <= 1.0);
        }
    }
}
