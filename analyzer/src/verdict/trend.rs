//! One figure of many runs, over time or over versions: series of comparable runs in their order, and where they shift.
//!
//! ```text
//! runs ─ a point each ─ series (dataplane × scenario × Services × what else changes a figure's meaning)
//!                         ├─ by time, or by a fact (versions as numbers) and then time
//!                         └─ shifts: E-divisive, held against each run's own bounds, then against the load of the nodes
//! ```
//!
//! Versions do not tell series apart, as they do elsewhere: what they do to a figure is the question. A run without the figure, or
//! of which nothing tells when it was, is listed with the reason.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::bail;

use super::change::{self, Cell, Doubt, Sample};
use super::{RunFigure, RunResult, figure, saturation};
use crate::math::shifts::{self, Nothing};
use crate::math::{Estimate, arithmetic};
use crate::measure::Measurement;
use crate::result::Header;
use crate::result::group::{Column, Keys, columns};

/// Facts of the key that are versions: a trend goes over them.
const VERSIONS: &str = "proxy,kubernetes,kernel";
/// Times below this, ns, are no times of day: a clock since boot would have to run for 31 years.
const EPOCH: i64 = 1_000_000_000 * 1_000_000_000;
/// Names that an error lists at most.
const LISTED: usize = 60;

/// What is asked of every run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Name of the measurement.
    pub measurement: String,
    /// Its variant; null: the main one.
    pub variant: Option<String>,
    /// `p50`, `p90`, `p95`, `p99`, `max`; null: the main figure.
    pub quantile: Option<String>,
}

impl Question {
    /// The statistic as verdicts name it.
    fn statistic(&self) -> &str {
        self.quantile.as_deref().unwrap_or("value")
    }
}

/// A fact by which runs are ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By {
    /// As it was given.
    pub name: String,
    /// Key among the facts, or a name of [`Keys`].
    key: String,
}

impl By {
    /// A fact: `cilium`, `kubernetes`, `linux` (or `kernel`) and `kube-proxy` are versions; any other as [`Keys::of`] takes it.
    ///
    /// # Errors
    /// No name, or more than one.
    pub fn of(name: &str) -> anyhow::Result<By> {
        let name = name.trim();
        if name.is_empty() || name.contains(',') {
            bail!("--by: expected one fact (cilium, kubernetes, kernel, label, or a key as config/…)");
        }
        let key = match name {
            "cilium" | "kubernetes" | "kube-proxy" => format!("version/{name}"),
            "linux" | "kernel" => "version/linux".to_owned(),
            other => other.to_owned(),
        };
        Ok(By { name: name.to_owned(), key })
    }

    fn keys(&self) -> anyhow::Result<Keys> {
        Keys::of(Some(&self.key), None)
    }
}

/// The figure of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Name of the run.
    pub run: String,
    /// Its identity, as reports show it.
    pub run_id: String,
    /// When it began, ns since the epoch.
    pub time: i64,
    /// What it tells of the fact by which runs are ordered; null where it does not, or none was asked for.
    pub by: Option<String>,
    /// Value and bounds.
    pub figure: Estimate,
    pub unit: String,
    /// Number of things measured.
    pub n: u64,
    /// Which statistic it is: `p95`, `max`, `mean`, …
    pub statistic: String,
    /// Whether it bounds the thing from one side only: `upper`, `lower`.
    pub one_sided: Option<&'static str>,
    /// How busy the node was meanwhile.
    pub load: RunFigure,
}

/// A run without a point.
#[derive(Clone, Debug, PartialEq)]
pub struct Absent {
    pub run: String,
    pub run_id: String,
    /// When it began, ns since the epoch; null where nothing tells.
    pub time: Option<i64>,
    /// What is missing, and what would have captured it.
    pub reason: String,
}

/// Runs that tell one thing of the fact.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Null: not stated.
    pub by: Option<String>,
    /// Places of its points.
    pub points: std::ops::Range<usize>,
    pub sample: Sample,
}

/// Where a series shifts.
#[derive(Clone, Debug, PartialEq)]
pub struct Shift {
    /// Place of the first point behind it.
    pub at: usize,
    pub before: Sample,
    pub after: Sample,
    /// Median after over median before; null where it has none.
    pub ratio: Option<f64>,
    /// Its interval, null where open.
    pub ratio_interval: [Option<f64>; 2],
    /// Median after less median before.
    pub difference: Option<f64>,
    /// Its interval, null where open.
    pub difference_interval: [Option<f64>; 2],
    /// Share of the random orders that divide as well.
    pub p: f64,
    /// Whether what comes behind is higher; null where the bounds leave it open.
    pub higher: Option<bool>,
    /// Why it is none, where the figures part and that proves nothing.
    pub doubt: Option<Doubt>,
}

/// Comparable runs in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    pub dataplane: String,
    /// What tells it apart from other series of its dataplane, in words; empty where nothing does.
    pub column: String,
    pub scenario: String,
    /// Services to one significant figure.
    pub services: Option<u64>,
    /// Empty where no run has the figure.
    pub unit: String,
    pub points: Vec<Point>,
    /// With a fact: its values in order.
    pub groups: Vec<Group>,
    /// In their order.
    pub shifts: Vec<Shift>,
    /// Where the figures part, and that proves nothing.
    pub unproven: Vec<Shift>,
    /// The oldest points, which were not searched.
    pub left_out: usize,
    /// Why there was nothing to search.
    pub nothing: Option<Nothing>,
    pub absent: Vec<Absent>,
}

/// The series of runs, by dataplane, column, scenario and size.
///
/// # Errors
/// A measurement, quantile or fact that no run has: the names that there are.
pub fn series(results: &[RunResult], question: &Question, by: Option<&By>) -> anyhow::Result<Vec<Series>> {
    known(results, question)?;
    let order = by.map(|by| Order::of(results, by)).transpose()?;
    let keys = keys(by)?;
    let mut found = Vec::new();
    for (column, runs) in columns(results, &keys) {
        let mut cells: BTreeMap<Cell, Vec<&RunResult>> = BTreeMap::new();
        for run in runs {
            cells.entry(change::cell(run)).or_default().push(run);
        }
        found.extend(cells.into_iter().map(|(cell, runs)| one(&column, cell, &runs, question, order.as_ref())));
    }
    Ok(found)
}

/// What tells series apart beside dataplane, scenario and size.
fn keys(by: Option<&By>) -> anyhow::Result<Keys> {
    let own = by.map(|by| by.key.rsplit('/').next().unwrap_or_default());
    // A fact that tells no series apart anyway is none of the key.
    let without = own.map(|own| Keys::of(None, Some(&format!("{VERSIONS},{own}"))));
    without.and_then(Result::ok).map_or_else(|| Keys::of(None, Some(VERSIONS)), Ok)
}

/// What runs tell of a fact, in its order.
struct Order {
    key: String,
    keys: Keys,
    places: BTreeMap<String, usize>,
}

impl Order {
    fn of(results: &[RunResult], by: &By) -> anyhow::Result<Order> {
        let keys = by.keys()?;
        let all: Vec<&RunResult> = results.iter().collect();
        let values = told(&keys, &by.key, &all);
        if values.is_empty() {
            let plain = |key: &&String| !key.contains('@');
            let facts: BTreeSet<&String> = results.iter().flat_map(|one| one.run.facts.keys()).filter(plain).collect();
            bail!("--by {}: no run tells it; they tell {}", by.name, listed(facts.into_iter().map(String::as_str)));
        }
        let places = values.into_iter().enumerate().map(|(place, value)| (value, place)).collect();
        Ok(Order { key: by.key.clone(), keys, places })
    }

    fn value(&self, run: &RunResult) -> Option<String> {
        told(&self.keys, &self.key, &[run]).into_iter().next()
    }

    /// Not stated: last.
    fn place(&self, value: Option<&String>) -> usize {
        value.and_then(|value| self.places.get(value)).copied().unwrap_or(usize::MAX)
    }
}

fn told(keys: &Keys, key: &str, runs: &[&RunResult]) -> Vec<String> {
    keys.told(runs).into_iter().find(|(name, _)| name == key).map(|(_, values)| values).unwrap_or_default()
}

fn listed<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<&str> = names.collect();
    let more = names.len().saturating_sub(LISTED);
    let shown = names[..names.len() - more].join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

/// Whether any run has a row of the name, and one the quantile.
fn known(results: &[RunResult], question: &Question) -> anyhow::Result<()> {
    let own: Vec<&Measurement> = results.iter().filter_map(|run| row(run, question)).collect();
    if own.is_empty() {
        let name = |row: &Measurement| match row.variant.as_str() {
            "" => row.name.to_string(),
            variant => format!("{} ({variant})", row.name),
        };
        let names: BTreeSet<String> =
            results.iter().flat_map(|run| &run.measurements).filter(|row| is_of_one(row)).map(name).collect();
        let asked = match &question.variant {
            Some(variant) => format!("{} ({variant})", question.measurement),
            None => question.measurement.clone(),
        };
        bail!("no run has a measurement {asked}; there are {}", listed(names.iter().map(String::as_str)));
    }
    let Some(quantile) = &question.quantile else { return Ok(()) };
    let measured: Vec<&&Measurement> = own.iter().filter(|row| row.missing.is_none()).collect();
    if !measured.is_empty() && !measured.iter().any(|row| figure::statistic(row, quantile).is_some()) {
        let has: BTreeSet<&str> = measured.iter().flat_map(|row| row.quantiles.keys()).map(String::as_str).collect();
        if has.is_empty() {
            bail!("{} is no distribution: leave out --quantile", question.measurement);
        }
        bail!("{} has no {quantile}; it has {}", question.measurement, listed(has.into_iter()));
    }
    Ok(())
}

/// What rests on several runs is no figure of one.
fn is_of_one(row: &Measurement) -> bool {
    row.window != "over runs"
}

fn row<'r>(run: &'r RunResult, question: &Question) -> Option<&'r Measurement> {
    figure::named(&run.measurements, &question.measurement, question.variant.as_deref()).filter(|row| is_of_one(row))
}

/// When a run began: its baseline, else its action; where it has no windows, with the first record that any of its sources has.
pub fn began(run: &Header) -> Option<i64> {
    let windows = [&run.windows.baseline, &run.windows.action, &run.windows.tail];
    let of_windows = windows.into_iter().flatten().map(|window| window.start).filter(|time| *time >= EPOCH).min();
    let sources =
        || run.manifest.open().sources.iter().filter_map(|source| source.first).filter(|time| *time >= EPOCH).min();
    of_windows.or_else(sources)
}

/// The point of a run.
fn point(run: &RunResult, question: &Question, order: Option<&Order>) -> Result<Point, Absent> {
    let time = began(&run.run);
    let absent = |reason: String| Absent { run: run.run.name.clone(), run_id: run.run.id.clone(), time, reason };
    let Some(row) = row(run, question) else {
        return Err(absent("it is not among what this run was measured for".to_owned()));
    };
    if let Some(missing) = &row.missing {
        let (what, remedy) = (missing.what.trim_end_matches('.'), missing.remedy.trim_end_matches('.'));
        return Err(absent(if remedy.is_empty() { what.to_owned() } else { format!("{what}. Next time: {remedy}") }));
    }
    let Some(found) = figure::statistic(row, question.statistic()) else {
        return Err(absent(format!("it has no {} here", question.statistic())));
    };
    let finite = |x: Option<f64>| x.filter(|x| x.is_finite());
    let figure = Estimate { value: finite(found.value), low: finite(found.low), high: finite(found.high) };
    if figure == Estimate::default() {
        return Err(absent("its figure is open on both sides".to_owned()));
    }
    let Some(time) = time else {
        return Err(absent("nothing tells when this run was: no markers, and no source with a time of day".to_owned()));
    };
    Ok(Point {
        run: run.run.name.clone(),
        run_id: run.run.id.clone(),
        time,
        by: order.and_then(|order| order.value(run)),
        figure,
        unit: row.unit.to_string(),
        n: row.n,
        statistic: question.quantile.clone().unwrap_or_else(|| row.statistic.to_string()),
        one_sided: match (row.upper_bound_only, row.lower_bound_only) {
            (true, _) => Some("upper"),
            (false, true) => Some("lower"),
            (false, false) => None,
        },
        load: change::load(run, row),
    })
}

fn one(
    column: &Column,
    (scenario, services): Cell,
    runs: &[&RunResult],
    question: &Question,
    order: Option<&Order>,
) -> Series {
    let mut found = Series {
        dataplane: column.dataplane.clone(),
        column: column.words.clone(),
        scenario,
        services,
        ..Series::default()
    };
    for run in runs {
        match point(run, question, order) {
            Ok(point) => found.points.push(point),
            Err(absent) => found.absent.push(absent),
        }
    }
    let place = |point: &Point| order.map_or(0, |order| order.place(point.by.as_ref()));
    found.points.sort_by(|a, b| (place(a), a.time, &a.run).cmp(&(place(b), b.time, &b.run)));
    found.unit = found.points.first().map(|point| point.unit.clone()).unwrap_or_default();
    // Two witnesses of one name may count in different units.
    for other in found.points.extract_if(.., |point| point.unit != found.unit) {
        let reason = format!("its figure is in {}, those of other runs in {}", other.unit, found.unit);
        found.absent.push(Absent { run: other.run, run_id: other.run_id, time: Some(other.time), reason });
    }
    found.absent.sort_by(|a, b| (a.time, &a.run).cmp(&(b.time, &b.run)));
    if order.is_some() {
        found.groups = groups(&found.points);
    }
    search(&mut found, question);
    found
}

fn sample(points: &[Point]) -> Option<Sample> {
    let runs = points.iter().map(|point| (point.run.clone(), point.figure)).collect();
    let loads = points.iter().map(|point| point.load.clone()).collect();
    Sample::of(runs, loads, points.iter().any(|point| point.one_sided.is_some()))
}

fn groups(points: &[Point]) -> Vec<Group> {
    let mut from = 0;
    let of = |own: &[Point]| {
        let points = from..from + own.len();
        from = points.end;
        Some(Group { by: own.first()?.by.clone(), points, sample: sample(own)? })
    };
    points.chunk_by(|a, b| a.by == b.by).filter_map(of).collect()
}

/// Finds the shifts of a series.
fn search(series: &mut Series, question: &Question) {
    let points = &series.points;
    // What bounds the thing from one side can be anything beyond, unless all of them do: then they are alike.
    let alike = points.windows(2).all(|pair| pair[0].one_sided == pair[1].one_sided);
    let of = |point: &Point| match point.one_sided {
        Some("upper") if !alike => Estimate { low: None, ..point.figure },
        Some("lower") if !alike => Estimate { high: None, ..point.figure },
        _ => point.figure,
    };
    let values: Vec<Estimate> = points.iter().map(of).collect();
    let found = shifts::find(&values);
    let named = format!("{} {}", question.measurement, question.statistic());
    let of = |shift: &shifts::Shift| of_shift(shift, points, &named);
    let (loaded, shifts): (Vec<Shift>, Vec<Shift>) =
        found.shifts.iter().filter_map(of).partition(|shift| shift.doubt.is_some());
    let mut unproven: Vec<Shift> = found.unproven.iter().filter_map(of).chain(loaded).collect();
    unproven.sort_by_key(|shift| shift.at);
    (series.shifts, series.unproven) = (shifts, unproven);
    (series.left_out, series.nothing) = (found.left_out, found.nothing);
}

fn of_shift(found: &shifts::Shift, points: &[Point], named: &str) -> Option<Shift> {
    let (own, behind) = (points.get(found.before.clone())?, points.get(found.after.clone())?);
    let (before, after) = (sample(own)?, sample(behind)?);
    let whole = |sample: &Sample| Estimate { value: sample.median, low: sample.hull[0], high: sample.hull[1] };
    let ratio = found.ratio.and_then(|_| arithmetic::ratio(whole(&after), whole(&before)).value);
    let difference = arithmetic::difference(whole(&after), whole(&before)).value;
    // The ratio of the medians and the median of the ratios may differ: both lie in it.
    let ends = |covered: Option<crate::math::compare::Covered>, value: Option<f64>| {
        let [low, high] = covered.map_or([None; 2], |found| [found.low, found.high]);
        let with = |end: Option<f64>, pick: fn(f64, f64) -> f64| end.map(|end| value.map_or(end, |x| pick(end, x)));
        [with(low, f64::min), with(high, f64::max)]
    };
    let higher = found.higher();
    let doubt = match higher {
        None => Some(Doubt::Bounds),
        Some(higher) => {
            let (lower, above) = if higher { (own, behind) } else { (behind, own) };
            let parted = saturation::could_have_parted(named, middle_load(lower), middle_load(above));
            parted.map(Doubt::Load)
        }
    };
    Some(Shift {
        at: found.at,
        ratio_interval: ends(found.ratio, ratio),
        difference_interval: ends(found.difference, difference),
        before,
        after,
        ratio,
        difference,
        p: found.p,
        higher,
        doubt,
    })
}

/// The run whose node was as busy as those of half of the others: of many runs one is always busier than one of the others.
fn middle_load(points: &[Point]) -> Option<&RunFigure> {
    let mut known: Vec<&RunFigure> =
        points.iter().map(|point| &point.load).filter(|load| load.busy.is_some()).collect();
    known.sort_by(|a, b| a.busy.unwrap_or_default().total_cmp(&b.busy.unwrap_or_default()));
    known.get(known.len() / 2).copied()
}

#[cfg(test)]
#[path = "trend_tests.rs"]
mod tests;
