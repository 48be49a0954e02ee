//! Runs of one group as replicates, and groups of two dataplanes against each other.
//!
//! The run is the unit: its endpoints share syncs, so they are never pooled. A group gives the median over its runs, the
//! hull of their bounds, their spread, and from six runs on an exact interval of the median. Two groups of the same
//! scenario and size are compared by Mann and Whitney's test (exact p, corrected after Holm over all comparisons made),
//! the Hodges–Lehmann shift with its exact interval, Cliff's delta, and the ratio of medians with the interval that the
//! bounds leave. Where the numbers of runs cannot reach significance, how many would is said instead.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{RunResult, load, one_figure};
use crate::math::{Estimate, arithmetic, compare, interval, quantile};
use crate::measure::Measurement;
use crate::measure::node_busy::LOADED;

/// What is compared: measurement and statistic.
const COMPARED: [(&str, &str); 8] = [
    ("endpoint_propagation", "p50"),
    ("endpoint_propagation", "p95"),
    ("endpoint_removal", "p50"),
    ("settle_time", "value"),
    ("cpu_event", "value"),
    ("cpu_increase_points", "value"),
    ("memory_bytes", "value"),
    ("connection_setup_time", "p50"),
];

/// Level of the intervals.
const LEVEL: f64 = 0.95;

/// The runs of one dataplane in a comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    pub dataplane: String,
    /// Each run and its figure.
    pub runs: Vec<(String, Estimate)>,
    /// Median over the runs.
    pub median: Option<f64>,
    /// Hull of their bounds, null where open.
    pub hull: [Option<f64>; 2],
    /// Least and greatest value of a run.
    pub spread: Option<[f64; 2]>,
    /// Exact interval of the median, from six runs on.
    pub interval: Option<[f64; 2]>,
    /// In how many runs the node was above 90 % busy while it was measured.
    pub loaded: usize,
}

/// One measurement of two dataplanes in the same scenario and size.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    pub measurement: String,
    pub statistic: String,
    pub unit: String,
    pub scenario: String,
    /// Services to one significant figure.
    pub services: Option<u64>,
    pub first: Group,
    pub second: Group,
    /// Second / first: of the medians, with what the bounds leave.
    pub ratio: Estimate,
    /// Hodges–Lehmann shift from the first to the second.
    pub shift: Option<f64>,
    /// Its exact interval, where the groups are large enough.
    pub shift_interval: Option<[f64; 2]>,
    /// Cliff's delta: 1 where every run of the first is above every run of the second.
    pub delta: Option<f64>,
    /// Exact two-sided p; null where no number of this size could be significant.
    pub p: Option<f64>,
    /// After Holm's correction over all comparisons with a p.
    pub p_corrected: Option<f64>,
    /// What that means, or why nothing does.
    pub meaning: String,
}

fn figure<'m>(measurements: &'m [Measurement], name: &str, statistic: &str) -> Option<(Estimate, &'m Measurement)> {
    let row = measurements.iter().find(|row| row.name == name && row.variant.is_empty() && row.missing.is_none())?;
    // With the sampling interval of a median or a proportion: such a figure is not exact.
    let estimate = super::figure::statistic(row, statistic)?;
    (estimate.value.is_some() || estimate.low.is_some()).then_some((estimate, row))
}

fn group(dataplane: &str, runs: &[&RunResult], name: &str, statistic: &str) -> (Group, String) {
    let mut unit = String::new();
    let mut found: Vec<(String, Estimate)> = Vec::new();
    let mut loaded = 0;
    for result in runs {
        let Some((estimate, row)) = figure(&result.measurements, name, statistic) else { continue };
        unit.clone_from(&row.unit);
        found.push((result.run.name.clone(), estimate));
        loaded += usize::from(load::during(result, row).is_some_and(|busy| busy > LOADED));
    }
    let values: Vec<f64> = found.iter().filter_map(|(_, estimate)| estimate.value).collect();
    // A run whose figure is open makes the median unknown, not smaller.
    let complete = !values.is_empty() && values.len() == found.len();
    let hull = found.iter().map(|(_, estimate)| *estimate).reduce(arithmetic::union).unwrap_or_default();
    let spread = || {
        let least = values.iter().copied().reduce(f64::min)?;
        Some([least, values.iter().copied().reduce(f64::max)?])
    };
    let group = Group {
        dataplane: dataplane.to_owned(),
        median: if complete { quantile::median(&values) } else { None },
        hull: [hull.low, hull.high],
        spread: if complete { spread() } else { None },
        interval: if complete { interval::of_median(&values, LEVEL).map(|(low, high)| [low, high]) } else { None },
        runs: found,
        loaded,
    };
    (group, unit)
}

/// All comparisons that the runs allow: Cilium first, then each other dataplane.
pub fn comparisons(runs: &[RunResult]) -> Vec<Comparison> {
    type Groups<'r> = BTreeMap<&'r str, Vec<&'r RunResult>>;
    let mut cells: BTreeMap<(String, Option<u64>), Groups<'_>> = BTreeMap::new();
    for result in runs {
        let key = (result.run.scenario.clone(), result.run.services.map(one_figure));
        cells.entry(key).or_default().entry(&result.run.dataplane).or_default().push(result);
    }
    let mut found = Vec::new();
    for ((scenario, services), groups) in &cells {
        let Some(own) = groups.get("cilium") else { continue };
        for (other, others) in groups.iter().filter(|(name, _)| **name != "cilium") {
            for (name, statistic) in COMPARED {
                let (first, unit) = group("cilium", own, name, statistic);
                let (second, _) = group(other, others, name, statistic);
                if first.runs.is_empty() || second.runs.is_empty() {
                    continue;
                }
                found.push(compared(name, statistic, unit, (scenario, *services), first, second));
            }
        }
    }
    correct(&mut found);
    found
}

fn compared(
    name: &str,
    statistic: &str,
    unit: String,
    (scenario, services): (&str, Option<u64>),
    first: Group,
    second: Group,
) -> Comparison {
    let values = |group: &Group| group.runs.iter().filter_map(|(_, estimate)| estimate.value).collect::<Vec<f64>>();
    let (a, b) = (values(&first), values(&second));
    let complete = first.median.is_some() && second.median.is_some();
    let enough = complete && a.len().min(b.len()) >= compare::MINIMUM_RUNS;
    let whole = |group: &Group| Estimate { value: group.median, low: group.hull[0], high: group.hull[1] };
    Comparison {
        measurement: name.to_owned(),
        statistic: statistic.to_owned(),
        unit,
        scenario: scenario.to_owned(),
        services,
        ratio: arithmetic::ratio(whole(&second), whole(&first)),
        shift: if complete { compare::hodges_lehmann(&a, &b) } else { None },
        shift_interval: compare::shift_interval(&a, &b, LEVEL).filter(|_| complete).map(|(low, high)| [low, high]),
        delta: if complete { compare::cliffs_delta(&a, &b) } else { None },
        p: if enough { compare::mann_whitney(&a, &b).map(|test| test.p) } else { None },
        p_corrected: None,
        meaning: String::new(),
        first,
        second,
    }
}

/// Corrects the p-values for their number, and says what each means.
fn correct(all: &mut [Comparison]) {
    let tested: Vec<usize> = (0..all.len()).filter(|at| all[*at].p.is_some()).collect();
    let corrected = compare::holm(&tested.iter().filter_map(|at| all[*at].p).collect::<Vec<f64>>());
    let needed = compare::runs_needed(all.len());
    for (at, p) in tested.iter().zip(corrected) {
        all[*at].p_corrected = Some(p);
    }
    for one in all.iter_mut() {
        let (m, n) = (one.first.runs.len(), one.second.runs.len());
        let load = |group: &Group| group.loaded > 0;
        one.meaning = if load(&one.first) != load(&one.second) {
            "inconclusive: load (only one side's node was above 90 % busy when it was measured)".to_owned()
        } else {
            match one.p_corrected {
                Some(p) if p < 0.05 => format!("differs (p = {p:.3} after correction)"),
                Some(p) => format!(
                    "{m} against {n} runs do not tell them apart (p = {p:.3} after correction); {needed} a side could"
                ),
                None if one.first.median.is_none() || one.second.median.is_none() => {
                    "a run's figure is open: no test over runs".to_owned()
                }
                None => format!("{m} against {n} runs cannot reach significance; {needed} a side could"),
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(dataplane: &str, values: &[f64]) -> Group {
        let runs = values.iter().map(|value| (String::new(), Estimate::exact(*value))).collect();
        Group {
            dataplane: dataplane.to_owned(),
            runs,
            median: quantile::median(values),
            hull: [Some(values[0]), values.last().copied()],
            spread: None,
            interval: None,
            loaded: 0,
        }
    }

    fn all(sizes: &[(usize, f64)]) -> Vec<Comparison> {
        let mut found: Vec<Comparison> = sizes
            .iter()
            .map(|(runs, apart)| {
                let values: Vec<f64> = (0..*runs).map(|at| 1.0 + 0.01 * at as f64).collect();
                let others: Vec<f64> = values.iter().map(|value| value + apart).collect();
                let group = ("scale-up", Some(5));
                compared("x", "p50", "s".to_owned(), group, side("cilium", &values), side("other", &others))
            })
            .collect();
        correct(&mut found);
        found
    }

    #[test]
    fn few_runs_say_how_many_would_do() {
        let found = &all(&[(2, 1.0)])[0];
        assert_eq!((found.p, found.p_corrected), (None, None));
        assert!(found.meaning.contains("2 against 2") && found.meaning.contains("4 a side"), "{}", found.meaning);
        assert!((found.shift.unwrap() - 1.0).abs() < 1e-9);
        assert_eq!(found.delta, Some(-1.0));
        assert_eq!(found.shift_interval, None);
    }

    #[test]
    fn correction_is_over_all_comparisons_made() {
        let one = &all(&[(4, 1.0)])[0];
        assert!(one.meaning.starts_with("differs"), "{}", one.meaning);
        let two = all(&[(4, 1.0), (4, 1.0)]);
        assert!((two[0].p_corrected.unwrap() - 4.0 / 70.0).abs() < 1e-9);
        assert!(two[0].meaning.contains("5 a side"), "{}", two[0].meaning);
    }

    #[test]
    fn a_load_on_one_side_settles_nothing() {
        let values: Vec<f64> = (0..6).map(|at| 1.0 + 0.01 * f64::from(at)).collect();
        let others: Vec<f64> = values.iter().map(|value| value + 1.0).collect();
        let loaded = Group { loaded: 2, ..side("cilium", &values) };
        let mut found = [compared("x", "p50", "s".to_owned(), ("scale-up", None), loaded, side("other", &others))];
        correct(&mut found);
        assert!(found[0].meaning.starts_with("inconclusive: load"));
    }
}
