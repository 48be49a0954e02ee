//! Measurements over several runs: how cost and memory grow with the number of Services.
//!
//! | name | what |
//! |---|---|
//! | `memory_per_service` | slope of the proxy's memory over Services, bytes, with a 95 % interval of the slope |
//! | `update_work_growth` | exponent of `update_work` over Services, from the smallest, a middle and the largest size |
//! | `update_work_size_ratio`, `cpu_size_ratio`, `memory_size_ratio` | largest size / smallest size |
//!
//! `variant` is the dataplane (and the column, where it has several), `run` is empty. Sizes are numbers of Services to one significant figure; runs of one
//! size are replicates and give their median.

use std::collections::{BTreeMap, HashMap};

use super::{Interval, Measurement, Missing};
use crate::math::{Estimate, arithmetic, growth, quantile};

/// Least ratio of the largest to the smallest size.
const LEAST_RATIO: f64 = 10.0;

const REMEDY: &str =
    "Capture the same scenario with at least three numbers of Services, the largest ten times the smallest.";

/// What is needed of a run.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub name: &'a str,
    /// Its dataplane, and by what it differs from other runs of it: `cilium 1.17`. Only runs of one column are set side by side.
    pub column: &'a str,
    pub scenario: &'a str,
    /// Services in its cluster.
    pub services: Option<u64>,
}

/// All names above for each column of `runs`; `rows` holds the rows of [`super::all`] of these runs.
pub fn across(runs: &[Subject<'_>], rows: &[&Measurement]) -> Vec<Measurement> {
    let measured = &of_runs(rows);
    let mut columns: Vec<&str> = runs.iter().map(|r| r.column).collect();
    columns.sort_unstable();
    columns.dedup();
    let mut found = Vec::new();
    for column in columns {
        let of: Vec<&Subject<'_>> = runs.iter().filter(|r| r.column == column).collect();
        let scale: Vec<&Subject<'_>> = of.iter().copied().filter(|r| r.scenario == "scale-up").collect();
        // Growth compares like with like: scale-ups where there are enough of them, else every run with a baseline.
        let like = if sizes(&scale).len() >= 3 { &scale } else { &of };
        found.push(memory_per_service(column, like, measured));
        found.push(work_growth(column, like, measured));
        for (name, source) in [
            ("update_work_size_ratio", "update_work"),
            ("cpu_size_ratio", "cpu_baseline"),
            ("memory_size_ratio", "memory_bytes"),
        ] {
            found.push(size_ratio(column, name, source, like, measured));
        }
    }
    found
}

/// A number to one significant figure.
pub fn one_figure(n: u64) -> u64 {
    let mut scale = 1;
    while n / scale >= 10 {
        scale *= 10;
    }
    (n + scale / 2) / scale * scale
}

fn sizes(runs: &[&Subject<'_>]) -> BTreeMap<u64, Vec<u64>> {
    let mut found: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for run in runs {
        if let Some(services) = run.services {
            found.entry(one_figure(services)).or_default().push(services);
        }
    }
    found
}

/// What of a run is set against its size.
const SOURCES: [&str; 3] = ["memory_bytes", "update_work", "cpu_baseline"];

/// The main row of each of [`SOURCES`] by run, the first that has a figure where there are several.
type Measured<'m> = HashMap<&'static str, HashMap<&'m str, &'m Measurement>>;

fn of_runs<'m>(rows: &[&'m Measurement]) -> Measured<'m> {
    let mut found: Measured = SOURCES.into_iter().map(|name| (name, HashMap::new())).collect();
    for row in rows.iter().filter(|row| row.variant.is_empty()) {
        let Some(by_run) = found.get_mut(&*row.name) else { continue };
        let own = by_run.entry(&row.run).or_insert(row);
        if own.missing.is_some() && row.missing.is_none() {
            *own = row;
        }
    }
    found
}

/// Estimates of a measurement by size: union of bounds, median of values.
fn by_size(runs: &[&Subject<'_>], measured: &Measured<'_>, name: &str) -> BTreeMap<u64, (f64, Estimate, usize)> {
    let mut rows: BTreeMap<u64, Vec<(f64, Estimate)>> = BTreeMap::new();
    for run in runs {
        let row = measured[name].get(run.name).filter(|row| row.missing.is_none());
        if let (Some(services), Some(row)) = (run.services, row)
            && row.estimate.value.is_some()
        {
            // With its sampling interval: the median of one run's figures is not exact.
            let mut estimate = row.estimate;
            if let Some(ci) = row.ci {
                estimate.low = Some(estimate.low.map_or(ci.low, |low| low.min(ci.low)));
                estimate.high = Some(estimate.high.map_or(ci.high, |high| high.max(ci.high)));
            }
            rows.entry(one_figure(services)).or_default().push((services as f64, estimate));
        }
    }
    rows.into_iter()
        .filter_map(|(size, list)| {
            let values: Vec<f64> = list.iter().filter_map(|(_, e)| e.value).collect();
            let services: Vec<f64> = list.iter().map(|(s, _)| *s).collect();
            let bounds = list.iter().map(|(_, e)| *e).reduce(arithmetic::union)?;
            let estimate = Estimate { value: quantile::median(&values), ..bounds };
            Some((size, (quantile::median(&services)?, estimate, list.len())))
        })
        .collect()
}

fn start(column: &str, name: &str, unit: &str) -> Measurement {
    Measurement {
        name: name.into(),
        variant: column.into(),
        unit: unit.into(),
        window: "over runs".into(),
        ..Measurement::default()
    }
}

/// Why sizes do not suffice, if they do not.
fn lacking(found: &BTreeMap<u64, (f64, Estimate, usize)>, least: usize) -> Option<Missing> {
    let (first, last) = (found.values().next(), found.values().next_back());
    let ratio = match (first, last) {
        (Some(first), Some(last)) if first.0 > 0.0 => last.0 / first.0,
        _ => 0.0,
    };
    (found.len() < least || ratio < LEAST_RATIO).then(|| Missing {
        what: format!(
            "{} sizes, the largest {ratio:.0} × the smallest ({least} sizes, 10 × apart, are needed)",
            found.len()
        ),
        remedy: REMEDY.into(),
    })
}

fn memory_per_service(column: &str, runs: &[&Subject<'_>], measured: &Measured<'_>) -> Measurement {
    let mut row = start(column, "memory_per_service", "bytes");
    row.statistic = "slope".into();
    let found = by_size(runs, measured, "memory_bytes");
    if let Some(missing) = lacking(&found, 3) {
        row.missing = Some(missing);
        return row;
    }
    let of_run = &measured["memory_bytes"];
    let points: Vec<(f64, f64)> =
        runs.iter().filter_map(|run| Some((run.services? as f64, of_run.get(run.name)?.estimate.value?))).collect();
    row.n = points.len() as u64;
    match growth::line(&points) {
        Some(line) => {
            row.estimate = Estimate::exact(line.slope);
            row.ci =
                line.half_width.map(|half| Interval { level: 0.95, low: line.slope - half, high: line.slope + half });
            row.details.insert("intercept".into(), line.intercept);
            row.details.insert("sizes".into(), found.len() as f64);
            row.method = "least squares of memory_bytes over the number of Services, one point a run".into();
            row.notes.push("The order of the runs is a confounder: agents grow with age.".into());
        }
        None => row.missing = Some(Missing { what: "no two runs differ in size".into(), remedy: REMEDY.into() }),
    }
    row
}

fn work_growth(column: &str, runs: &[&Subject<'_>], measured: &Measured<'_>) -> Measurement {
    let mut row = start(column, "update_work_growth", "1");
    row.statistic = "exponent".into();
    let found = by_size(runs, measured, "update_work");
    if let Some(missing) = lacking(&found, 3) {
        row.missing = Some(missing);
        return row;
    }
    let all: Vec<&(f64, Estimate, usize)> = found.values().collect();
    let (first, last) = (all[0], all[all.len() - 1]);
    // The middle size is the one nearest to the geometric mean of the ends.
    let centre = (first.0.max(1.0) * last.0).sqrt();
    let Some(middle) =
        all[1..all.len() - 1].iter().min_by(|a, b| (a.0 / centre).ln().abs().total_cmp(&(b.0 / centre).ln().abs()))
    else {
        return row;
    };
    row.n = all.iter().map(|p| p.2 as u64).sum();
    row.estimate = growth::exponent_bounds([first.0, middle.0, last.0], [first.1, middle.1, last.1]);
    for (key, point) in [("smallest", first), ("middle", *middle), ("largest", last)] {
        row.details.insert(format!("{key}_services"), point.0);
        row.details.insert(format!("{key}_work"), point.1.value.unwrap_or_default());
    }
    row.method =
        "log((y₃ − y₁)/(y₂ − y₁)) / log((n₃ − n₁)/(n₂ − n₁)) of update_work: the fixed cost is taken off first".into();
    if row.estimate.value.is_none() {
        row.notes.push("The work does not rise with size: there is no exponent.".into());
    }
    row
}

fn size_ratio(column: &str, name: &str, source: &str, runs: &[&Subject<'_>], measured: &Measured<'_>) -> Measurement {
    let mut row = start(column, name, "ratio");
    row.statistic = "largest size / smallest size".into();
    let found = by_size(runs, measured, source);
    if let Some(missing) = lacking(&found, 3) {
        row.missing = Some(missing);
        return row;
    }
    if let (Some(first), Some(last)) = (found.values().next(), found.values().next_back()) {
        row.n = found.values().map(|p| p.2 as u64).sum();
        row.estimate = arithmetic::ratio(last.1, first.1);
        row.details.insert("smallest_services".into(), first.0);
        row.details.insert("largest_services".into(), last.0);
        row.details.insert("smallest".into(), first.1.value.unwrap_or_default());
        row.details.insert("largest".into(), last.1.value.unwrap_or_default());
        row.method = format!("medians of {source} over the runs of each size").into();
    }
    row
}

#[cfg(test)]
mod tests {
    use super::super::{Measurement, fixture};
    use super::{Subject, across, one_figure};
    use crate::events::Run;
    use crate::math::Estimate;

    fn subject(run: &Run) -> Subject<'_> {
        Subject { name: &run.name, column: &run.dataplane, scenario: &run.scenario, services: run.services }
    }

    #[test]
    fn memory_and_work_over_three_sizes() {
        let folder = tempfile::tempdir().unwrap();
        let mut runs = Vec::new();
        let mut rows = Vec::new();
        for services in [5u64, 505, 2005] {
            let mut run = fixture::run(folder.path(), "kube-proxy-iptables", |_| ());
            run.name = services.to_string();
            run.services = Some(services);
            for (name, value) in [
                ("memory_bytes", 3e7 + 2000.0 * services as f64),
                ("update_work", 0.01 + 1e-4 * services as f64),
                ("cpu_baseline", 0.01),
            ] {
                let mut row = Measurement::new(&run, name, "");
                row.estimate = Estimate::exact(value);
                rows.push(row);
            }
            runs.push(run);
        }
        let runs: Vec<Subject<'_>> = runs.iter().map(subject).collect();
        let rows: Vec<&Measurement> = rows.iter().collect();
        let found = across(&runs, &rows);
        let value = |name: &str| found.iter().find(|m| m.name == name).and_then(|m| m.estimate.value).unwrap();
        assert!((value("memory_per_service") - 2000.0).abs() < 1e-6);
        assert!((value("update_work_growth") - 1.0).abs() < 1e-9);
        assert!((value("cpu_size_ratio") - 1.0).abs() < 1e-9);
        // Two sizes say nothing of growth.
        let few = across(&runs[..2], &rows);
        assert!(few.iter().all(|m| m.missing.is_some()));
    }

    #[test]
    fn sizes_to_one_figure() {
        for (n, expected) in [(0, 0), (5, 5), (9, 9), (14, 10), (505, 500), (2005, 2000), (1960, 2000), (96, 100)] {
            assert_eq!(one_figure(n), expected, "{n}");
        }
    }
}
