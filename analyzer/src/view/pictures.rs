//! Fills the charts from runs and verdicts.

use std::collections::BTreeMap;

use super::chart::{Chart, cpu, propagation, ranges, timeline};
use super::{dataplane_name, number, rows};
use crate::result::RunResult;
use crate::verdict::catalogue::ClaimKind;
use crate::verdict::judge::Claim;
use crate::verdict::{Catalogue, Status, Verdict, overall};

/// The charts that runs give.
#[derive(Clone, Debug, Default)]
pub struct Charts {
    pub timelines: Vec<Chart>,
    pub propagation: Option<Chart>,
    pub cpu: Option<Chart>,
}

/// Timelines in a report: more say nothing new and cost the page its size.
const MOST_TIMELINES: usize = 24;

/// Draws all of them.
pub fn build(runs: &[RunResult]) -> Charts {
    let mut charts = Charts::default();
    let chosen = comparable(runs);
    let mut cpu_curves = Vec::new();
    for (at, result) in runs.iter().enumerate() {
        let Some(filled) = fill(result, at) else { continue };
        if chosen.contains(&at) {
            cpu_curves.push(cpu::Curve {
                run: result.run.name.clone(),
                dataplane: result.run.dataplane.clone(),
                label: dataplane_name(&result.run.dataplane),
                points: filled
                    .cpu
                    .iter()
                    .copied()
                    .filter(|p| p.0 >= filled.from - 20.0 && p.0 <= filled.to + 10.0)
                    .collect(),
                baseline: level(result),
                action_end: result.run.windows.action.as_ref().map_or(0.0, crate::events::Window::seconds),
            });
        }
        if charts.timelines.len() < MOST_TIMELINES {
            charts.timelines.extend(timeline::draw(&filled));
        }
    }
    charts.cpu = cpu::draw(&cpu_curves);
    let curves: Vec<propagation::Curve> = chosen
        .iter()
        .filter_map(|at| runs.get(*at))
        .map(|result| propagation::Curve {
            run: result.run.name.clone(),
            dataplane: result.run.dataplane.clone(),
            label: dataplane_name(&result.run.dataplane),
            delays: result.propagation.delays.clone(),
        })
        .filter(|c| !c.delays.is_empty())
        .collect();
    let words = chosen.first().and_then(|at| runs.get(*at)).map_or_else(String::new, |r| {
        format!("{}, {} Services", r.run.scenario, r.run.services.map_or_else(|| "?".into(), number::count))
    });
    charts.propagation = propagation::draw(&curves, &words);
    charts
}

/// Runs that share one picture: those of the scenario and size that most dataplanes have, scale-up and small first.
pub fn comparable(runs: &[RunResult]) -> Vec<usize> {
    let mut groups: BTreeMap<(u8, String, Option<u64>), Vec<usize>> = BTreeMap::new();
    for (at, result) in runs.iter().enumerate() {
        let order = match result.run.scenario.as_str() {
            "scale-up" => 0,
            "rolling-restart" => 1,
            "pod-crash" => 2,
            _ => 3,
        };
        let key = (order, result.run.scenario.clone(), result.run.services.map(crate::verdict::one_figure));
        groups.entry(key).or_default().push(at);
    }
    let dataplanes = |members: &Vec<usize>| {
        let mut names: Vec<&str> =
            members.iter().filter_map(|at| runs.get(*at)).map(|r| r.run.dataplane.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names.len()
    };
    let mut best: Option<Vec<usize>> = None;
    for members in groups.into_values() {
        if best.as_ref().is_none_or(|b| dataplanes(&members) > dataplanes(b)) {
            best = Some(members);
        }
    }
    best.unwrap_or_default()
}

fn level(result: &RunResult) -> Option<[f64; 3]> {
    let m =
        result.measurements.iter().find(|m| m.name == "cpu_baseline" && m.variant.is_empty() && m.missing.is_none())?;
    let value = m.estimate.value?;
    Some([m.estimate.low.unwrap_or(value), value, m.estimate.high.unwrap_or(value)])
}

fn fill(result: &RunResult, at: usize) -> Option<timeline::Timeline> {
    let (run, curves) = (&result.run, result.curves.clone());
    let action = run.windows.action.as_ref().or(run.windows.baseline.as_ref())?;
    Some(timeline::Timeline {
        stem: format!("timeline-{}", at + 1),
        run: run.name.clone(),
        dataplane: run.dataplane.clone(),
        from: -5.0,
        to: action.seconds() + 8.0,
        events: curves.events,
        ready: curves.ready,
        dataplane_steps: curves.dataplane,
        syncs: curves.syncs,
        cpu: curves.cpu,
        cpu_baseline: level(result).map(|l| l[1]),
        failures: curves.failures,
        client_seen: curves.client_seen,
    })
}

/// The picture of all verdicts that have a range with numbers.
pub fn overview(verdicts: &[Verdict], catalogue: &Catalogue) -> Option<Chart> {
    let mut panels: Vec<ranges::Panel> = [
        ("Times", "s", number::Show::Unit),
        ("Shares", "ratio", number::Show::Unit),
        ("Factors", "ratio", number::Show::Times),
        ("CPU", "cores", number::Show::Unit),
        ("CPU, points of the node", "points", number::Show::Unit),
        ("Memory", "bytes", number::Show::Unit),
        ("Rates", "1/s", number::Show::Unit),
        ("Counts", "1", number::Show::Unit),
    ]
    .map(|(title, unit, show)| ranges::Panel { title: title.into(), unit: unit.into(), show, groups: Vec::new() })
    .into();
    for row in &catalogue.rows {
        let show = row.show;
        let mut lanes: Vec<(String, ranges::Lane)> = ["cilium", "kube-proxy-iptables"]
            .into_iter()
            .filter_map(|dataplane| {
                let verdict = overall(verdicts, &row.id, dataplane)?;
                let side = row.side(dataplane)?;
                let drawn = matches!(
                    side.kind,
                    ClaimKind::Range | ClaimKind::About | ClaimKind::Ratio | ClaimKind::SizeRatio | ClaimKind::Slope
                );
                let measured = verdict.status != Status::NotMeasured && verdict.measured.is_some_and(|v| v > 0.0);
                if !drawn || !measured || (side.low.is_none() && side.high.is_none()) {
                    return None;
                }
                let claim = Claim::new(side.kind, side.low, side.high, row.direction);
                let lane = ranges::Lane {
                    dataplane: dataplane.into(),
                    short: if dataplane == "cilium" { "Cilium".into() } else { "kube-proxy".into() },
                    claimed: [claim.low.filter(|x| *x > 0.0), claim.high],
                    value: verdict.measured,
                    bounds: verdict.measured_bounds.unwrap_or_default(),
                    status: rows::status_class(verdict.status).into(),
                };
                Some((verdict.unit.clone(), lane))
            })
            .collect();
        let mut units: Vec<String> = lanes.iter().map(|(unit, _)| unit.clone()).collect();
        units.dedup();
        // Both sides of a row share a unit, or the row is no comparison and each goes to its own panel.
        for unit in units {
            let (own, rest): (Vec<_>, Vec<_>) = lanes.into_iter().partition(|(u, _)| *u == unit);
            lanes = rest;
            let show = if unit == "ratio" { show } else { number::Show::Unit };
            let Some(panel) = panels.iter_mut().find(|p| p.unit == unit && p.show == show) else { continue };
            panel.groups.push(ranges::Group {
                id: row.id.clone(),
                claim: row.claim.clone(),
                lanes: own.into_iter().map(|(_, lane)| lane).collect(),
            });
        }
    }
    ranges::draw(&panels)
}
