//! Shifts of a sequence: where it divides, and whether a division holds whatever the values are within their bounds.
//!
//! ```text
//! values ─ ranks ─ divide (E-divisive) ─ p by permutation ─┐
//! bounds ─ interval of the ratio across each division ─────┴─▶ shifts, and what the bounds alone can have made
//! ```
//!
//! E-divisive (Matteson and James, JASA 109, 2014): of all ways to choose `0 < τ < κ ≤ n` take the one with the greatest energy
//! distance between `z[..τ]` and `z[τ..κ]`, divide at τ, and go on within the parts, as long as the greatest distance is one that at
//! most 5 of 100 orders of the same values within their parts reach. Exponent 1. So of 100 sequences without any shift at most 5
//! have one, as long as any order of their values was as likely as any other.
//!
//! | measured over 2,000 sequences of made-up latencies with ties, a second mode and outliers | 12 runs | 40 runs |
//! |---|--:|--:|
//! | no shift: divided, and called a shift | 4.7 %, 2.5 % | 4.9 %, 3.0 % |
//! | one shifted sequence, its runs in random orders (30): called a shift | | 4.7 % |
//! | × 1.5 at a random place: found, within two runs of it | | 94 %, 85 % |
//! | × 2 | | 100 %, 98 % |
//! | × 0.5 | | 100 %, 98 % |
//!
//! (`SYNCLINE_SEEDS=2000 cargo test -p syncline --lib shifts -- --nocapture` prints it.)
//!
//! It works on mid-ranks, not on the values: a value that never arrived has a rank (the last) and no number, one run ten times as
//! slow does not hide a shift of the others, and all sums are of integers, so that ties are ties on every machine. Rank tests lose
//! 5 % of the power on normal noise and gain on every heavy tail. What ranks do not know is how wide a gap is: where exactly a
//! division lies is then settled by the values, by least absolute deviations.
//!
//! Each value is an interval, and a division of the middles may be one of the bounds only: wide ones here, narrow ones there. So a
//! division counts only where the interval of the ratio over it (of the difference where there is no ratio) lies on one side, with
//! each value at whatever end of its bounds speaks against it ([`compare::ratio_interval`]). One that does not is taken out, the
//! last found first, and what it parted is one part again.

use std::ops::Range;

use rayon::prelude::{IntoParallelIterator, ParallelIterator};

use super::Estimate;
use super::compare::{self, Covered, MINIMUM_RUNS};

/// Least number of values in a part: with fewer on both sides no test could tell them apart, and one or two slow runs are no shift.
pub const LEAST: usize = MINIMUM_RUNS;
/// Longest sequence that is searched; of a longer one the newest values are. A pass takes n² steps for each order that is tried:
/// 2,000 values with one shift cost a CPU-second or two, with fifteen shifts six.
pub const MOST: usize = 2_000;
/// Most divisions of a sequence.
pub const MOST_SHIFTS: usize = 32;
/// A division whose p is above this is none.
pub const SIGNIFICANT: f64 = 0.05;
/// Level of the interval that must lie on one side.
pub const LEVEL: f64 = 0.95;
/// Orders that are tried for a p, as many as its authors do: 0.05 is 10 of 200, so that the level is exact.
pub const PERMUTATIONS: usize = 199;
/// Orders that are tried at once, on all threads; whether to go on is asked between.
const BATCH: usize = 50;
/// Where the random orders begin. Fixed: the same values have the same shifts.
const SEED: u64 = 0x5379_6e63_6c69_6e65;

/// One division of a sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct Shift {
    /// Place of the first value behind it.
    pub at: usize,
    /// The values ahead of it, back to the shift before.
    pub before: Range<usize>,
    /// The values behind it, up to the next shift.
    pub after: Range<usize>,
    /// Share of the random orders that divide as well.
    pub p: f64,
    /// Interval of the ratio after ÷ before; null where a value can be zero or less.
    pub ratio: Option<Covered>,
    /// Interval of the difference after − before.
    pub difference: Option<Covered>,
}

impl Shift {
    /// Whether what comes behind is higher (`true`) or lower whatever the values are within their bounds; null where these leave it open.
    pub fn higher(&self) -> Option<bool> {
        let (found, none) = match self.ratio {
            Some(ratio) => (Some(ratio), 1.0),
            None => (self.difference, 0.0),
        };
        let found = found?;
        match (found.low, found.high) {
            (Some(low), _) if low > none => Some(true),
            (_, Some(high)) if high < none => Some(false),
            _ => None,
        }
    }
}

/// Why there was nothing to search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nothing {
    /// Fewer than two parts of [`LEAST`].
    TooFew,
    /// All values are one.
    Constant,
}

/// What a sequence has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Shifts, in their order.
    pub shifts: Vec<Shift>,
    /// Divisions that the bounds of the values alone can have made, in their order. Their parts are those of the time when they were
    /// taken out.
    pub unproven: Vec<Shift>,
    /// How many values ahead of those that were searched were left out: 0 up to [`MOST`].
    pub left_out: usize,
    /// Why there was nothing to search, if there was not.
    pub nothing: Option<Nothing>,
}

/// Shifts of values in their order.
pub fn find(values: &[Estimate]) -> Found {
    let left_out = values.len().saturating_sub(MOST);
    let mut found = Found { left_out, ..Found::default() };
    let searched = values.get(left_out..).unwrap_or_default();
    let levels: Vec<f64> = searched.iter().map(level).collect();
    found.nothing = match levels.as_slice() {
        few if few.len() < 2 * LEAST => Some(Nothing::TooFew),
        [first, rest @ ..] if rest.iter().all(|value| value == first) => Some(Nothing::Constant),
        _ => None,
    };
    if found.nothing.is_some() {
        return found;
    }
    let mut kept = settled(&divide(&levels), &levels);
    loop {
        let parted = parted(&kept, searched, left_out);
        // The last found rests on the others.
        let last = (0..kept.len()).rev().find(|at| parted.get(*at).is_none_or(|shift| shift.higher().is_none()));
        let Some(at) = last else {
            found.shifts = parted;
            break;
        };
        found.unproven.extend(parted.into_iter().nth(at));
        kept.remove(at);
    }
    found.shifts.sort_by_key(|shift| shift.at);
    found.unproven.sort_by_key(|shift| shift.at);
    found
}

/// Where a value stands among others: a missing one above a lower bound above all, as what never arrived.
fn level(value: &Estimate) -> f64 {
    let finite = |x: Option<f64>| x.filter(|x| x.is_finite());
    match (finite(value.value), finite(value.low), finite(value.high)) {
        (Some(value), ..) => value,
        (None, Some(low), Some(high)) => low + (high - low) / 2.0,
        (None, None, Some(_)) => f64::NEG_INFINITY,
        (None, ..) => f64::INFINITY,
    }
}

/// The divisions with the values between them, in the order in which they were found.
fn parted(divisions: &[Division], values: &[Estimate], left_out: usize) -> Vec<Shift> {
    let mut places: Vec<usize> = divisions.iter().map(|one| one.at).collect();
    places.sort_unstable();
    let of = |one: &Division| {
        let from = places.iter().rev().find(|at| **at < one.at).copied().unwrap_or(0);
        let to = places.iter().find(|at| **at > one.at).copied().unwrap_or(values.len());
        let (first, second) = (values.get(from..one.at)?, values.get(one.at..to)?);
        let known = |values: &[Estimate], least: f64| values.iter().filter_map(|one| one.value).all(|x| x >= least);
        let positive = known(first, f64::MIN_POSITIVE) && known(second, 0.0);
        let bounds = |values: &[Estimate]| values.iter().map(|one| [one.low, one.high]).collect::<Vec<_>>();
        let (first, second) = (bounds(first), bounds(second));
        Some(Shift {
            at: left_out + one.at,
            before: left_out + from..left_out + one.at,
            after: left_out + one.at..left_out + to,
            p: one.p,
            ratio: if positive { compare::ratio_interval(&first, &second, LEVEL) } else { None },
            difference: compare::shift_interval(&first, &second, LEVEL),
        })
    };
    divisions.iter().filter_map(of).collect()
}

/// Where a sequence divides, and how many orders of it divide as well.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Division {
    /// Place of the first value behind it.
    pub at: usize,
    /// Share of the random orders with a distance as great.
    pub p: f64,
}

/// The significant divisions of values (no NaN; infinite ones sort last and first), in the order in which they are found.
pub fn divide(values: &[f64]) -> Vec<Division> {
    let ranks = ranks(values);
    let mut found: Vec<Division> = Vec::new();
    // Places of divisions, and both ends of the sequence.
    let mut ends = vec![0, ranks.len()];
    let mut parts: Vec<Option<Best>> = vec![best(&ranks)];
    while found.len() < MOST_SHIFTS {
        let greatest = (0..parts.len()).filter_map(|at| Some((at, parts[at]?))).reduce(|a, b| {
            // The first of equals.
            if b.1.distance > a.1.distance { b } else { a }
        });
        let Some((part, best_part)) = greatest else { break };
        let Some(p) = p_of(best_part.distance, &ranks, &ends, found.len() as u64) else { break };
        let at = ends[part] + best_part.at;
        found.push(Division { at, p });
        ends.insert(part + 1, at);
        parts[part] = best(&ranks[ends[part]..at]);
        parts.insert(part + 1, best(&ranks[at..ends[part + 2]]));
    }
    found
}

/// Each division where the values themselves put it: between its neighbours, at the place with the least sum of distances from the medians of
/// both sides (least absolute deviations: Bai, Econometric Theory 11, 1995). Ranks do not know how wide the gap is that they part at, so
/// that the highest of the low values may as well stand on the other side.
fn settled(divisions: &[Division], levels: &[f64]) -> Vec<Division> {
    let values = within_reach(levels);
    let mut places: Vec<usize> = divisions.iter().map(|one| one.at).collect();
    places.sort_unstable();
    let mut found = divisions.to_vec();
    for at in 0..places.len() {
        let own = places[at];
        let from = if at > 0 { places[at - 1] } else { 0 };
        let to = places.get(at + 1).copied().unwrap_or(values.len());
        let cost = |place: usize| deviations(&values[from..place]) + deviations(&values[place..to]);
        let (mut best, mut least) = (own, cost(own) * (1.0 - 1e-9));
        for place in from + LEAST..=to - LEAST {
            let cost = cost(place);
            if cost < least {
                (best, least) = (place, cost * (1.0 - 1e-9));
            }
        }
        places[at] = best;
        found.iter_mut().filter(|one| one.at == own).for_each(|one| one.at = best);
    }
    found
}

/// The values, with those that are open beyond all others by as much as these lie apart.
fn within_reach(levels: &[f64]) -> Vec<f64> {
    let finite = || levels.iter().copied().filter(|value| value.is_finite());
    let (low, high) = (finite().fold(f64::MAX, f64::min), finite().fold(f64::MIN, f64::max));
    let apart = (high - low).max(high.abs()).max(f64::MIN_POSITIVE);
    levels.iter().map(|value| value.clamp(low.min(high) - apart, high.max(low) + apart)).collect()
}

/// Sum of the distances from the median.
fn deviations(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let median = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
    sorted.iter().map(|value| (value - median).abs()).sum()
}

/// Twice the mid-rank of each value: integers, with ties equal.
fn ranks(values: &[f64]) -> Vec<i32> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0i32; values.len()];
    let mut from = 0;
    for same in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let doubled = from + from + same.len() + 1;
        for at in same {
            ranks[*at] = i32::try_from(doubled).unwrap_or(i32::MAX);
        }
        from += same.len();
    }
    ranks
}

/// The best division of a part.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Best {
    /// Energy distance, scaled by the sizes: `mn / (m + n) · E`.
    distance: f64,
    /// Place within the part.
    at: usize,
}

/// Searches all pairs of τ and κ with [`LEAST`] values on both sides. `n²` steps:
/// the sum of the distances within `z[τ..κ]` is that within `z[τ+1..κ]` and those from `z[τ]`, so one row follows from the row below it.
fn best(ranks: &[i32]) -> Option<Best> {
    let n = ranks.len();
    if n < 2 * LEAST {
        return None;
    }
    let apart = |a: i32, b: i32| i64::from(a.abs_diff(b));
    // Of the first k values, the sum of their distances.
    let mut whole = vec![0i64; n + 1];
    for k in 0..n {
        whole[k + 1] = whole[k] + ranks[..k].iter().map(|one| apart(*one, ranks[k])).sum::<i64>();
    }
    let reciprocals: Vec<f64> = (0..=n).map(|k| 1.0 / k.max(1) as f64).collect();
    let mut inside = vec![0i64; n];
    let mut found: Option<Best> = None;
    for at in (LEAST..n).rev() {
        let own = ranks[at];
        let ahead = whole[at];
        let spread = ahead as f64 * reciprocals[at - 1];
        let mut from_own = 0;
        for last in at + 1..n {
            from_own += apart(own, ranks[last]);
            inside[last] += from_own;
            let behind = last + 1 - at;
            if behind < LEAST {
                continue;
            }
            let between = whole[last + 1] - ahead - inside[last];
            let within = spread * behind as f64 + inside[last] as f64 * reciprocals[behind - 1] * at as f64;
            let distance = 2.0 * reciprocals[last + 1] * (between as f64 - within);
            if found.is_none_or(|best| distance > best.distance) {
                found = Some(Best { distance, at });
            }
        }
    }
    // What is all one value has no distance.
    found.filter(|best| best.distance > 0.0)
}

/// Share of the orders of the values within their parts whose best division is as good; `None` as soon as it is above the level.
fn p_of(distance: f64, ranks: &[i32], ends: &[usize], step: u64) -> Option<f64> {
    let most = (SIGNIFICANT * (PERMUTATIONS + 1) as f64).round() as usize;
    // The same distance by another way of summing is the same.
    let least = distance * (1.0 - 1e-9);
    let as_good = |number: usize| {
        let mut random = fastrand::Rng::with_seed(SEED ^ (step << 32) ^ number as u64);
        let mut order = ranks.to_vec();
        let mut parts = ends.windows(2);
        parts.any(|end| {
            let part = &mut order[end[0]..end[1]];
            random.shuffle(part);
            best(part).is_some_and(|best| best.distance >= least)
        })
    };
    let mut reached = 1;
    for from in (0..PERMUTATIONS).step_by(BATCH) {
        let batch = from..PERMUTATIONS.min(from + BATCH);
        reached += batch.into_par_iter().filter(|number| as_good(*number)).count();
        if reached > most {
            return None;
        }
    }
    Some(reached as f64 / (PERMUTATIONS + 1) as f64)
}

#[cfg(test)]
#[path = "shifts_tests.rs"]
mod tests;
