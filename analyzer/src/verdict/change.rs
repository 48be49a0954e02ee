//! Two sets of runs, measurement by measurement: what changed from the first to the second, and how sure that is.
//!
//! The run is the unit: its endpoints share syncs, so they are never pooled. Each measurement that both sets have, in the same
//! scenario with as many Services, is compared by its medians over the runs:
//!
//! ```text
//! exact test (Mann–Whitney) ─ Holm over all comparisons ─┐
//! interval of the ratio, holding each run's own bounds ──┴─▶ lower, higher, no difference, cannot tell
//! ```
//!
//! | word | when |
//! |---|---|
//! | `lower`, `higher` | p below 0.05 after the correction, and the interval lies on that side whatever the figures are within their bounds |
//! | `no difference` | none of the two, from as many runs as could have shown one; the largest difference that the interval leaves is said |
//! | `cannot tell` | fewer runs, or a figure that is open, is an upper bound on one side only, or may come from the machine's load |
//!
//! What cannot reach 0.05 with its numbers of runs, or is the same in every run, is no test and takes no part in the correction
//! (Tarone, Biometrics 46, 1990); so the chance of any false `lower` or `higher` stays at 5 % at most.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::{IntoParallelIterator, ParallelExtend, ParallelIterator};
use serde::Serialize;

use super::reason::Loaded;
use super::{RunFigure, RunResult, figure, one_figure, saturation};
use crate::math::{Estimate, arithmetic, compare, interval, quantile};
use crate::measure::Measurement;

/// Level of the test over all comparisons.
pub const SIGNIFICANT: f64 = 0.05;
/// Level of each interval by itself.
pub const LEVEL: f64 = 0.95;
/// Distributions of which the median alone is compared: one by one they say little of a run, and each costs the others power.
const MEDIAN_ONLY: [&str; 3] = ["stage_time", "trace_distribution", "memory_bytes"];

/// What is said of the second set against the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Word {
    #[serde(rename = "higher")]
    Higher,
    #[serde(rename = "lower")]
    Lower,
    #[serde(rename = "no difference")]
    NoDifference,
    #[serde(rename = "cannot tell")]
    CannotTell,
}

impl Word {
    /// The word in reports and JSON.
    pub fn word(self) -> &'static str {
        match self {
            Word::Higher => "higher",
            Word::Lower => "lower",
            Word::NoDifference => "no difference",
            Word::CannotTell => "cannot tell",
        }
    }
}

/// A figure of each run of one set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// Each run's name and figure.
    pub runs: Vec<(String, Estimate)>,
    /// Median over the runs; null where a run's figure is open.
    pub median: Option<f64>,
    /// Hull of their bounds, null where open.
    pub hull: [Option<f64>; 2],
    /// Least and greatest value of a run.
    pub spread: Option<[f64; 2]>,
    /// Exact interval of the median, from six runs on.
    pub interval: Option<[f64; 2]>,
    /// How busy the node of each run was while it was measured.
    pub loads: Vec<RunFigure>,
    /// Whether a figure bounds the thing from one side only.
    pub one_sided: bool,
}

impl Sample {
    /// The figures of runs, each with its run's name, and how busy their nodes were; `None` of none.
    pub fn of(runs: Vec<(String, Estimate)>, loads: Vec<RunFigure>, one_sided: bool) -> Option<Sample> {
        let values: Vec<f64> = runs.iter().filter_map(|(_, one)| one.value).filter(|value| value.is_finite()).collect();
        let hull = runs.iter().map(|(_, one)| *one).reduce(arithmetic::union)?;
        let mut found = Sample { hull: [hull.low, hull.high], loads, one_sided, ..Sample::default() };
        // A run whose figure is open makes the median unknown, not smaller.
        if values.len() == runs.len() {
            found.median = quantile::median(&values);
            let least = values.iter().copied().reduce(f64::min);
            found.spread = least.zip(values.iter().copied().reduce(f64::max)).map(|(low, high)| [low, high]);
            found.interval = interval::of_median(&values, LEVEL).map(|(low, high)| [low, high]);
        }
        found.runs = runs;
        Some(found)
    }
}

/// Which figure of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Figure {
    pub measurement: String,
    pub variant: String,
    /// `value`, `p50`, `p95`, …
    pub statistic: String,
}

/// One measurement of two sets of runs in one scenario and size.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub figure: Figure,
    pub unit: String,
    pub scenario: String,
    /// Services to one significant figure.
    pub services: Option<u64>,
    pub a: Sample,
    pub b: Sample,
    /// Median of b over median of a.
    pub ratio: Option<f64>,
    /// Interval of the ratio, null where open.
    pub ratio_interval: [Option<f64>; 2],
    /// Hodges–Lehmann shift from a to b.
    pub shift: Option<f64>,
    /// Interval of the shift, null where open.
    pub shift_interval: [Option<f64>; 2],
    /// What the intervals cover: 0.95 or more, less where the runs are few; null where they only hold these runs' bounds.
    pub coverage: Option<f64>,
    /// Cliff's delta: 1 where every run of a is above every run of b.
    pub delta: Option<f64>,
    /// Exact two-sided p; null where a figure is open or a side has one run.
    pub p: Option<f64>,
    /// After Holm's correction over all comparisons; null where no result of so few runs could be significant.
    pub p_adjusted: Option<f64>,
    pub word: Word,
    /// Why it cannot be told, where it cannot.
    pub reason: Option<Doubt>,
    /// The largest difference that the interval leaves, as a share of a.
    pub smallest_difference: Option<f64>,
    /// Runs a side with which a full separation would be significant among all comparisons.
    pub runs_needed: usize,
}

/// Why it cannot be told whether there is a difference.
#[derive(Clone, Debug, PartialEq)]
pub enum Doubt {
    /// Too few runs.
    Runs,
    /// A run's figure has no value: an endpoint never arrived, a bucket is all that is known.
    Open,
    /// The test tells them apart, or would; the bounds of single figures do not.
    Bounds,
    /// An upper or a lower bound on one side only.
    OneSided,
    /// The nodes were not equally busy, and that could have made the difference.
    Load(Loaded),
}

/// The comparisons of two sets, and what has no counterpart.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// In the order of scenarios, sizes and measurements.
    pub all: Vec<Change>,
    /// Scenario and size that only one set has, with its number of runs: a's, then b's.
    pub alone: [Vec<(Cell, usize)>; 2],
    /// Measurements that only one set has in a scenario that both have: a's, then b's.
    pub unmatched: [BTreeSet<Figure>; 2],
}

/// Scenario, and Services to one significant figure.
pub type Cell = (String, Option<u64>);

/// The scenario and size of a run.
pub fn cell(run: &RunResult) -> Cell {
    (run.run.scenario.clone(), run.run.services.map(one_figure))
}

/// Compares two sets: every figure that both have, or those that `wanted` keeps.
pub fn compare_sets(a: &[&RunResult], b: &[&RunResult], wanted: &dyn Fn(&Figure) -> bool) -> Changes {
    let by_cell = |runs: &[&RunResult]| -> BTreeMap<Cell, Vec<usize>> {
        let mut cells: BTreeMap<Cell, Vec<usize>> = BTreeMap::new();
        for (at, run) in runs.iter().enumerate() {
            cells.entry(cell(run)).or_default().push(at);
        }
        cells
    };
    let (cells_a, cells_b) = (by_cell(a), by_cell(b));
    let alone = |own: &BTreeMap<Cell, Vec<usize>>, other: &BTreeMap<Cell, Vec<usize>>| {
        own.iter()
            .filter(|(cell, _)| !other.contains_key(*cell))
            .map(|(cell, runs)| (cell.clone(), runs.len()))
            .collect()
    };
    let mut found = Changes { alone: [alone(&cells_a, &cells_b), alone(&cells_b, &cells_a)], ..Changes::default() };
    for (cell, own) in &cells_a {
        let Some(others) = cells_b.get(cell) else { continue };
        let own: Vec<&RunResult> = own.iter().map(|at| a[*at]).collect();
        let others: Vec<&RunResult> = others.iter().map(|at| b[*at]).collect();
        let (figures, of_b) = (figures(&own), figures(&others));
        found.unmatched[0].extend(figures.iter().filter(|one| wanted(one) && !of_b.contains(one)).cloned());
        found.unmatched[1].extend(of_b.iter().filter(|one| wanted(one) && !figures.contains(one)).cloned());
        let both: Vec<Figure> = figures.into_iter().filter(|one| of_b.contains(one) && wanted(one)).collect();
        found.all.par_extend(both.into_par_iter().filter_map(|figure| change(cell, figure, &own, &others)));
    }
    correct(&mut found.all);
    found
}

/// The figures that any of the runs has, in the order of its measurements.
fn figures(runs: &[&RunResult]) -> Vec<Figure> {
    let mut found: Vec<Figure> = Vec::new();
    let mut seen: BTreeSet<Figure> = BTreeSet::new();
    // What rests on several runs is no figure of one.
    let own =
        runs.iter().flat_map(|run| &run.measurements).filter(|row| row.missing.is_none() && row.window != "over runs");
    for row in own {
        let statistics: &[&str] = match row.quantiles.contains_key("p50") {
            true if MEDIAN_ONLY.contains(&row.name.as_str()) => &["p50"],
            true => &["p50", "p95"],
            false => &["value"],
        };
        for statistic in statistics {
            let (measurement, variant) = (row.name.to_string(), row.variant.to_string());
            let figure = Figure { measurement, variant, statistic: (*statistic).to_owned() };
            if estimate(row, statistic).is_some() && seen.insert(figure.clone()) {
                found.push(figure);
            }
        }
    }
    found
}

/// With the sampling interval of a median or a proportion: such a figure is not exact.
fn estimate(row: &Measurement, statistic: &str) -> Option<Estimate> {
    figure::statistic(row, statistic).filter(|estimate| estimate.value.is_some() || estimate.low.is_some())
}

/// One figure of two sets of runs, not yet corrected; `None` where one of them has none.
pub fn change(cell: &Cell, figure: Figure, a: &[&RunResult], b: &[&RunResult]) -> Option<Change> {
    let ((a, unit), (b, _)) = (sample(&figure, a)?, sample(&figure, b)?);
    Some(compared(cell, figure, unit, a, b))
}

/// A figure of each run that has it, and its unit.
fn sample(figure: &Figure, runs: &[&RunResult]) -> Option<(Sample, String)> {
    let (mut own, mut loads, mut one_sided, mut unit) = (Vec::new(), Vec::new(), false, None);
    for run in runs {
        let is_it = |row: &&Measurement| row.name == figure.measurement && row.variant == figure.variant;
        let row = run.measurements.iter().filter(is_it).find(|row| row.missing.is_none());
        let Some((row, estimate)) = row.and_then(|row| Some((row, estimate(row, &figure.statistic)?))) else {
            continue;
        };
        unit.get_or_insert_with(|| row.unit.clone());
        own.push((run.run.name.clone(), estimate));
        loads.push(load(run, row));
        one_sided |= row.upper_bound_only || row.lower_bound_only;
    }
    Some((Sample::of(own, loads, one_sided)?, unit?.to_string()))
}

/// How busy the node of a run was while something was measured.
pub fn load(run: &RunResult, row: &Measurement) -> RunFigure {
    let (busy, against_busy) = saturation::of_figure(run, row);
    RunFigure { run: run.run.name.clone().into(), busy, against_busy, ..RunFigure::default() }
}

fn compared((scenario, services): &Cell, figure: Figure, unit: String, a: Sample, b: Sample) -> Change {
    let values = |sample: &Sample| sample.runs.iter().filter_map(|(_, one)| one.value).collect::<Vec<f64>>();
    let bounds = |sample: &Sample| sample.runs.iter().map(|(_, one)| [one.low, one.high]).collect::<Vec<_>>();
    let (first, second) = (values(&a), values(&b));
    let complete = a.median.is_some() && b.median.is_some();
    // A quantity that is nothing in some run of the first set has no ratio to it.
    let positive = |values: &[f64], least: f64| values.iter().all(|value| *value >= least);
    let has_ratio = complete && positive(&first, f64::MIN_POSITIVE) && positive(&second, 0.0);
    let whole = |sample: &Sample| Estimate { value: sample.median, low: sample.hull[0], high: sample.hull[1] };
    let medians = if has_ratio { arithmetic::ratio(whole(&b), whole(&a)) } else { Estimate::default() };
    let shifted = arithmetic::difference(whole(&b), whole(&a));
    let covered = compare::shift_interval(&bounds(&a), &bounds(&b), LEVEL).filter(|_| complete);
    let ratios = compare::ratio_interval(&bounds(&a), &bounds(&b), LEVEL).filter(|_| has_ratio);
    let ends = |covered: Option<compare::Covered>, else_hull: Estimate, value: Option<f64>| match covered {
        // The ratio of the medians and the median of the ratios may differ: both lie in it.
        Some(found) => [
            found.low.map(|low| value.map_or(low, |value| low.min(value))),
            found.high.map(|high| value.map_or(high, |value| high.max(value))),
        ],
        None => [else_hull.low, else_hull.high],
    };
    let ratio_interval = ends(ratios, medians, medians.value);
    let several = first.len() > 1 && second.len() > 1;
    Change {
        figure,
        unit,
        scenario: scenario.clone(),
        services: *services,
        ratio: medians.value,
        smallest_difference: ratio_interval[0].zip(ratio_interval[1]).map(|(low, high)| (high - 1.0).max(1.0 - low)),
        ratio_interval,
        shift: if complete { compare::hodges_lehmann(&first, &second) } else { None },
        shift_interval: if complete { ends(covered, shifted, shifted.value) } else { [None; 2] },
        coverage: covered.map(|found| found.coverage),
        delta: if complete { compare::cliffs_delta(&first, &second) } else { None },
        p: if complete && several { compare::mann_whitney(&first, &second).map(|test| test.p) } else { None },
        p_adjusted: None,
        word: Word::CannotTell,
        reason: Some(Doubt::Runs),
        runs_needed: 0,
        a,
        b,
    }
}

impl Change {
    /// Whether the figure is one and the same in every run of both sets.
    fn is_constant(&self) -> bool {
        let mut values = self.a.runs.iter().chain(&self.b.runs).map(|(_, one)| one.value);
        let first = values.next().flatten();
        first.is_some() && values.all(|value| value == first)
    }

    fn least_p(&self) -> f64 {
        compare::least_p(self.a.runs.len(), self.b.runs.len())
    }

    /// On which side of no change the interval lies whole, if on one.
    fn proven(&self) -> Option<Word> {
        let ([low, high], none) =
            if self.ratio.is_some() { (self.ratio_interval, 1.0) } else { (self.shift_interval, 0.0) };
        match (low, high) {
            (Some(low), _) if low > none => Some(Word::Higher),
            (_, Some(high)) if high < none => Some(Word::Lower),
            _ => None,
        }
    }

    /// The load that could have made the lower side the lower one, if any.
    fn load_behind(&self, word: Word) -> Option<Loaded> {
        let (lower, higher) = if word == Word::Higher { (&self.a, &self.b) } else { (&self.b, &self.a) };
        let named = format!("{} {}", self.figure.measurement, self.figure.statistic);
        saturation::could_have_parted(&named, &lower.loads, &higher.loads)
    }
}

/// Corrects p over all comparisons (Holm), and says what each means. The order is kept.
pub fn correct(all: &mut [Change]) {
    let testable = |one: &Change| one.p.is_some() && !one.is_constant() && one.least_p() < SIGNIFICANT;
    let tested: Vec<usize> = (0..all.len()).filter(|at| testable(&all[*at])).collect();
    let corrected = compare::holm(&tested.iter().filter_map(|at| all[*at].p).collect::<Vec<f64>>());
    for (at, p) in tested.iter().zip(corrected) {
        all[*at].p_adjusted = Some(p);
    }
    // With more runs of everything every figure that varies would be tested.
    let would = all.iter().filter(|one| one.a.median.is_some() && one.b.median.is_some() && !one.is_constant()).count();
    let needed = compare::runs_needed(would);
    for one in all.iter_mut() {
        one.runs_needed = needed;
        (one.word, one.reason) = judged(one, tested.len().max(1));
    }
}

fn judged(one: &Change, family: usize) -> (Word, Option<Doubt>) {
    let cannot = |doubt: Doubt| (Word::CannotTell, Some(doubt));
    if one.a.median.is_none() || one.b.median.is_none() {
        return cannot(Doubt::Open);
    }
    if one.a.one_sided != one.b.one_sided {
        return cannot(Doubt::OneSided);
    }
    if one.p_adjusted.is_some_and(|p| p < SIGNIFICANT) {
        return match one.proven() {
            Some(word) => match one.load_behind(word) {
                Some(loaded) => cannot(Doubt::Load(loaded)),
                None => (word, None),
            },
            None => cannot(Doubt::Bounds),
        };
    }
    // As many runs as could have shown a difference among so many comparisons.
    let enough = one.least_p() * (family as f64) < SIGNIFICANT;
    let [low, high] = if one.ratio.is_some() { one.ratio_interval } else { one.shift_interval };
    match (enough, low.is_some() && high.is_some()) {
        (true, true) => (Word::NoDifference, None),
        (true, false) => cannot(Doubt::Bounds),
        (false, _) => cannot(Doubt::Runs),
    }
}

#[cfg(test)]
#[path = "change_tests.rs"]
mod tests;
