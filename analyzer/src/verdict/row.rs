//! One row within groups of replicate runs.

use std::collections::BTreeMap;

use serde::Serialize;

use super::catalogue::{Beyond, ClaimKind, Combine, Reading, Row, Side};
use super::figure::{GroupFigure, of_group};
use super::judge::{Claim, Status, judge};
use super::{ReadingVerdict, Reason, RunResult, Verdict, circumstances, one_figure, saturation, settle};
use crate::measure::Missing;
use crate::result::group::{Column, Keys, columns};

/// Key of a group: scenario, Services and (where it matters) endpoints, each to one significant figure.
pub type GroupKey = (String, Option<u64>, Option<u64>);

/// The runs of one dataplane, in groups of replicates.
pub fn groups<'r>(row: &Row, runs: &[&'r RunResult]) -> BTreeMap<GroupKey, Vec<&'r RunResult>> {
    let mut groups: BTreeMap<GroupKey, Vec<&RunResult>> = BTreeMap::new();
    for result in runs {
        let endpoints = if row.by_endpoints { result.run.baseline_endpoints.map(one_figure) } else { None };
        let key = (result.run.scenario.clone(), result.run.services.map(one_figure), endpoints);
        groups.entry(key).or_default().push(result);
    }
    groups
}

/// Judges a row for one dataplane. No documented value: no verdict.
pub fn judge_row(row: &Row, dataplane: &str, runs: &[&RunResult]) -> Vec<Verdict> {
    let Some(side) = row.side(dataplane) else { return Vec::new() };
    if side.kind == ClaimKind::None {
        return Vec::new();
    }
    let groups = groups(row, runs);
    let any = matches!(row.scenario.as_str(), "any" | "alert");
    let judged = |own: bool| -> Vec<Verdict> {
        let chosen = groups.iter().filter(|(key, _)| (any || key.0 == row.scenario) == own);
        chosen.map(|(key, runs)| judge_group(row, side, dataplane, key, runs)).collect()
    };
    let own = judged(true);
    if row.borrow && own.iter().all(|verdict| verdict.status == Status::NotMeasured) {
        let mut others = judged(false);
        others.retain(|verdict| verdict.status != Status::NotMeasured);
        let why = match own.first() {
            Some(verdict) => {
                let what = verdict.missing.as_ref().map_or_else(|| verdict.reason.to_string(), |one| one.what.clone());
                format!("the {} run gives none ({what})", row.scenario)
            }
            None => format!("no {} run", row.scenario),
        };
        for verdict in &mut others {
            verdict.notes.insert(0, format!("{why}: taken from a {} run", verdict.scenario));
        }
        if !others.is_empty() {
            return others;
        }
    }
    if own.is_empty() { vec![no_run(row, side, dataplane)] } else { own }
}

fn no_run(row: &Row, side: &Side, dataplane: &str) -> Verdict {
    let mut verdict = blank(row, side, dataplane, &row.scenario, None);
    verdict.reason = Reason::NoRun { scenario: row.scenario.clone(), dataplane: dataplane.to_owned() };
    verdict.missing = Some(Missing {
        what: verdict.reason.to_string(),
        remedy: format!(
            "capture a {} run of {dataplane} and pass it to `syncline report` with the others",
            row.scenario
        ),
    });
    verdict
}

/// A verdict with everything that does not depend on the runs.
pub(crate) fn blank(row: &Row, side: &Side, dataplane: &str, scenario: &str, services: Option<u64>) -> Verdict {
    Verdict {
        id: row.id.clone(),
        claim: row.claim.clone(),
        dataplane: dataplane.to_owned(),
        column: String::new(),
        scenario: scenario.to_owned(),
        services,
        status: Status::NotMeasured,
        reason: Reason::NoFigure,
        expected: side.text.clone(),
        expected_range: [side.low, side.high],
        measured: None,
        measured_bounds: None,
        unit: row.unit.clone(),
        measurement: String::new(),
        bound: None,
        n: 0,
        documented_query: row.documented.query.clone(),
        sound: row.sound.reason.clone(),
        readings: Vec::new(),
        runs: Vec::new(),
        evidence: Vec::new(),
        notes: if row.notes.is_empty() { Vec::new() } else { vec![row.notes.clone()] },
        missing: None,
    }
}

/// The claim as a reading has it.
pub(super) fn claim_of(row: &Row, side: &Side, reading: Option<&Reading>) -> Claim {
    let own = reading.filter(|r| r.low.is_some() || r.high.is_some());
    let (low, high) = own.map_or((side.low, side.high), |r| (r.low, r.high));
    let mut claim = Claim::new(side.kind, low, high, row.direction);
    claim.beyond_low = row.beyond_low.unwrap_or(claim.beyond_low);
    claim.beyond_high = row.beyond_high.unwrap_or(claim.beyond_high);
    // Several spikes are claimed: a low count is the harmless side, whatever the row's direction.
    if own.is_some_and(|r| r.low.is_some() && r.high.is_none()) && row.beyond_low.is_none() {
        claim.beyond_low = Beyond::Better;
    }
    claim
}

fn judge_group(row: &Row, side: &Side, dataplane: &str, key: &GroupKey, runs: &[&RunResult]) -> Verdict {
    let mut verdict = blank(row, side, dataplane, &key.0, key.1);
    let min_samples = side.min_samples.or(row.min_samples);
    let mut deciding: Vec<(ReadingVerdict, GroupFigure)> = Vec::new();
    for reading in row.readings_of(dataplane) {
        let shown_only = reading.shown_only || reading.unclaimed;
        let figure = of_group(runs, reading, min_samples);
        let (status, reason) = judge_reading(row, side, reading, &figure, min_samples);
        let judged = ReadingVerdict {
            label: reading.label.clone().unwrap_or_else(|| row.claim.clone()),
            measurement: reading.measurement.clone(),
            statistic: reading.statistic.clone(),
            status,
            reason,
            measured: figure.figure.value,
            measured_bounds: bounds(&figure),
            unit: unit(row, &figure),
            shown_only,
        };
        verdict.readings.push(judged.clone());
        if !shown_only {
            deciding.push((judged, figure));
        }
    }
    let Some(at) = decide(row.combine, &deciding, &mut verdict) else {
        verdict.reason = Reason::NoReading;
        return verdict;
    };
    if let Some((reading, figure)) = deciding.into_iter().nth(at) {
        verdict.measured = figure.figure.value;
        verdict.measured_bounds = bounds(&figure);
        verdict.measurement = format!("{} {}", reading.measurement, reading.statistic);
        verdict.unit = unit(row, &figure);
        verdict.n = figure.figure.n;
        verdict.bound = match (figure.figure.upper_only, figure.figure.lower_only) {
            (true, _) => Some("upper bound".into()),
            (_, true) => Some("lower bound".into()),
            _ => None,
        };
        verdict.evidence = figure.evidence;
        verdict.notes.extend(figure.notes);
        verdict.notes.extend(figure.instead);
        verdict.missing = figure.missing.filter(|_| verdict.status == Status::NotMeasured);
        let measured = figure.runs.iter().filter(|r| r.left_out.is_none()).count();
        if measured < runs.len() && measured > 0 {
            verdict.notes.push(format!("measured in {measured} of {} runs", runs.len()));
        }
        verdict.runs = figure.runs;
    }
    if let Some(least) = row.min_runs.filter(|least| runs.len() < *least) {
        let (n, word) = (runs.len(), if runs.len() == 1 { "run" } else { "runs" });
        verdict.notes.push(format!("{n} {word}: from {least} on, no single endpoint would decide this figure."));
    }
    if row.sized {
        verdict.notes.push(format!("This measures the size of the cluster{}.", size_of(runs)));
    }
    if runs.len() == 1 && matches!(verdict.status, Status::Holds | Status::Better | Status::Worse) {
        verdict.reason = Reason::InThisRun(Box::new(verdict.reason));
    }
    verdict.notes.extend(circumstances::notes(row, &verdict, runs));
    verdict.notes.extend(settle::settle(row, &verdict, runs, min_samples));
    verdict
}

/// `, which has 5 Services and 44 ready endpoints of the Service under test`.
fn size_of(runs: &[&RunResult]) -> String {
    let most = |of: fn(&crate::result::Header) -> Option<u64>| runs.iter().filter_map(|one| of(&one.run)).max();
    match (most(|run| run.services), most(|run| run.baseline_endpoints)) {
        (Some(services), Some(endpoints)) => format!(
            ", which has {services} Services, and {endpoints} endpoints of the Service under test: a small cluster has little of it, whatever its dataplane"
        ),
        (Some(services), None) => {
            format!(", which has {services} Services: a small cluster has little of it, whatever its dataplane")
        }
        _ => ": a small cluster has little of it, whatever its dataplane".to_owned(),
    }
}

/// The measurement's unit, else the row's.
fn unit(row: &Row, figure: &GroupFigure) -> String {
    if figure.unit.is_empty() { row.unit.clone() } else { figure.unit.clone() }
}

fn bounds(figure: &GroupFigure) -> Option<[Option<f64>; 2]> {
    let f = figure.figure;
    (f.low.is_some() || f.high.is_some()).then_some([f.low, f.high])
}

fn judge_reading(
    row: &Row,
    side: &Side,
    reading: &Reading,
    figure: &GroupFigure,
    least: Option<u64>,
) -> (Status, Reason) {
    if figure.runs.is_empty() {
        let reason = figure.missing.as_ref().map_or_else(
            || Reason::NotGiven { measurement: reading.measurement.clone(), statistic: reading.statistic.clone() },
            |missing| Reason::Missing { what: missing.what.clone() },
        );
        return (Status::NotMeasured, reason);
    }
    if reading.unclaimed {
        return (Status::NotMeasured, Reason::NothingClaimed);
    }
    // "none" says itself how many attempts it needs; an excess counts from any number.
    if figure.too_few && side.kind != ClaimKind::Zero {
        return (Status::Inconclusive, Reason::TooFew { n: figure.figure.n, least: least.unwrap_or(0) });
    }
    let claim = claim_of(row, side, Some(reading));
    let (status, reason) = judge(&figure.figure, &claim);
    let effect = saturation::effect(&format!("{} {}", reading.measurement, reading.statistic));
    saturation::weigh(status, reason, &claim, &saturation::pressure(effect, &figure.runs))
}

/// Makes one verdict of several readings, load weighed in each; the answer is the reading whose figure is shown.
fn decide(combine: Combine, deciding: &[(ReadingVerdict, GroupFigure)], verdict: &mut Verdict) -> Option<usize> {
    let status = |at: usize| deciding.get(at).map(|(r, _)| r.status);
    let worst = |at: &usize| match status(*at) {
        Some(Status::Worse) => 4,
        Some(Status::NotMeasured) => 3,
        Some(Status::Inconclusive) => 2,
        Some(Status::Better) => 1,
        _ => 0,
    };
    let at = match combine {
        Combine::First => (0..deciding.len())
            .find(|at| status(*at) != Some(Status::NotMeasured))
            .or((!deciding.is_empty()).then_some(0)),
        // The first of the worst.
        Combine::All => (0..deciding.len()).rev().max_by_key(worst),
        Combine::Agree => (0..deciding.len())
            .find(|at| status(*at) != Some(Status::NotMeasured))
            .or((!deciding.is_empty()).then_some(0)),
    }?;
    let (reading, _) = deciding.get(at)?;
    verdict.status = reading.status;
    verdict.reason = reading.reason.clone();
    if combine == Combine::Agree && deciding.iter().any(|(r, _)| r.status != reading.status) {
        verdict.status = Status::Inconclusive;
        let readings = deciding.iter().map(|(r, _)| (r.label.clone(), r.status)).collect();
        // Whoever asks whether it costs more than was said has an answer all the same.
        let not_worse = deciding.iter().all(|(r, _)| matches!(r.status, Status::Holds | Status::Better));
        verdict.reason = Reason::Ambiguous { readings, not_worse };
    }
    Some(at)
}

/// A figure of a dataplane without documented values, shown beside the others.
#[derive(Clone, Debug, Serialize)]
pub struct Beside {
    pub id: String,
    pub dataplane: String,
    /// By which facts its runs differ from the dataplane's other runs; empty where they are all alike.
    pub column: String,
    pub scenario: String,
    pub services: Option<u64>,
    pub measured: Option<f64>,
    pub measured_bounds: Option<[Option<f64>; 2]>,
    pub unit: String,
    pub n: u64,
    pub evidence: Vec<crate::clock::Evidence>,
}

/// The figures of nftables and ipvs runs for the rows of kube-proxy: measured, not judged.
pub fn beside(runs: &[RunResult], catalogue: &super::Catalogue, keys: &Keys) -> Vec<Beside> {
    let mut shown = Vec::new();
    let measured = |column: &Column| ["kube-proxy-nftables", "kube-proxy-ipvs"].contains(&column.dataplane.as_str());
    for (column, own) in columns(runs, keys).iter().filter(|(column, _)| measured(column)) {
        let dataplane = column.dataplane.as_str();
        for row in catalogue.rows.iter().filter(|r| r.scenario != "compare" && r.kube_proxy.kind != ClaimKind::None) {
            for (key, runs) in groups(row, own) {
                if key.0 != row.scenario && !matches!(row.scenario.as_str(), "any" | "alert") {
                    continue;
                }
                let readings = row.readings_of(dataplane);
                let Some(reading) = readings.iter().find(|r| !r.shown_only) else { continue };
                let figure = of_group(&runs, reading, None);
                if figure.runs.is_empty() {
                    continue;
                }
                shown.push(Beside {
                    id: row.id.clone(),
                    dataplane: dataplane.to_owned(),
                    column: column.words.clone(),
                    scenario: key.0,
                    services: key.1,
                    measured: figure.figure.value,
                    measured_bounds: bounds(&figure),
                    unit: unit(row, &figure),
                    n: figure.figure.n,
                    evidence: figure.evidence,
                });
            }
        }
    }
    shown
}
