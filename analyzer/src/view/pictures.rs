//! Fills the charts from runs and verdicts.

use std::collections::BTreeMap;

use super::chart::{Chart, Multiples, cpu, multiples, propagation, ranges};
use super::head_to_head::compared::Column;
use super::number;
use super::rows::{Standing, group_label};
use crate::result::RunResult;
use crate::verdict::catalogue::ClaimKind;
use crate::verdict::judge::Claim;
use crate::verdict::{Catalogue, Status, Verdict, overall};

/// The charts that runs give.
#[derive(Clone, Debug, Default)]
pub struct Charts {
    /// One a scenario and size, a panel a dataplane.
    pub timelines: Vec<Multiples>,
    pub propagation: Option<Chart>,
    /// A panel a scenario and size.
    pub cpu: Option<Multiples>,
}

/// Scenarios and sizes in a report: more say nothing new and cost the page its size.
const MOST_GROUPS: usize = 12;
/// Runs of one dataplane in one panel of CPU.
const MOST_CURVES: usize = 6;

/// Scenario and size, in the order of the page.
type Key = (u8, String, Option<u64>);

fn key(result: &RunResult) -> Key {
    let order = match result.run.scenario.as_str() {
        "scale-up" => 0,
        "rolling-restart" => 1,
        "pod-crash" => 2,
        _ => 3,
    };
    (order, result.run.scenario.clone(), result.run.services.map(crate::verdict::one_figure))
}

/// Draws all of them.
pub fn build(runs: &[RunResult], columns: &[Column]) -> Charts {
    let mut charts = Charts::default();
    let mut groups: BTreeMap<Key, Vec<&RunResult>> = BTreeMap::new();
    for result in runs {
        groups.entry(key(result)).or_default().push(result);
    }
    let mut cpu_groups: Vec<(String, Vec<cpu::Curve>)> = Vec::new();
    for (at, ((_, scenario, services), own)) in groups.iter().enumerate().take(MOST_GROUPS) {
        let label = group_label(scenario, *services);
        let mut curves = Vec::new();
        let mut drawn: Vec<(&Column, Option<(multiples::Course, usize)>)> = Vec::new();
        for column in columns {
            let of: Vec<&&RunResult> = own.iter().filter(|r| column.holds(r)).collect();
            for result in of.iter().take(MOST_CURVES) {
                curves.extend(curve(result, column));
            }
            let course = middle(&of).and_then(|result| course(result, &column.name, &column.class));
            drawn.push((column, course.map(|course| (course, of.len()))));
        }
        cpu_groups.push((label.clone(), curves));
        let known: Vec<&multiples::Course> = drawn.iter().filter_map(|(_, one)| one.as_ref()).map(|(c, _)| c).collect();
        let changed =
            |c: &&multiples::Course| !c.ready.is_empty() || !c.dataplane_steps.is_empty() || !c.syncs.is_empty();
        if !known.iter().any(changed) {
            continue;
        }
        let axes = multiples::axes(&known);
        let panels = drawn
            .iter()
            .map(|(column, one)| match one {
                Some((course, n)) => {
                    let mut panel = multiples::panel(course, axes);
                    if *n > 1 {
                        panel.note = format!("{}, the middle one of {n} runs by p95", panel.note);
                    }
                    panel
                }
                None => multiples::empty(
                    &column.name,
                    &column.class,
                    &format!("No run of {} to draw: {label}.", column.name),
                ),
            })
            .collect();
        charts.timelines.push(Multiples {
            stem: format!("timeline-{}", at + 1),
            title: label.clone(),
            description: format!(
                "{label}: grey, the ready endpoints; in colour, those that the dataplane held at the latest time that the captures allow; below them the syncs and the moments with a failed request. All panels have the same axes."
            ),
            panels,
        });
    }
    charts.cpu = cpu_figure(&cpu_groups);
    let chosen = comparable(runs);
    let curves: Vec<propagation::Curve> = chosen
        .iter()
        .filter_map(|at| runs.get(*at))
        .filter_map(|result| {
            let column = columns.iter().find(|column| column.holds(result))?;
            Some(propagation::Curve {
                run: result.run.name.clone(),
                class: column.class.clone(),
                label: column.name.clone(),
                delays: result.propagation.open().delays,
            })
        })
        .filter(|c| !c.delays.is_empty())
        .take(MOST_BANDS)
        .collect();
    let words = chosen.first().and_then(|at| runs.get(*at)).map_or_else(String::new, |r| {
        format!("{}, {} Services", r.run.scenario, r.run.services.map_or_else(|| "?".into(), number::count))
    });
    charts.propagation = propagation::draw(&curves, &words);
    charts
}

/// Bands in the picture of propagation: more cannot be told apart.
const MOST_BANDS: usize = 24;

fn cpu_figure(groups: &[(String, Vec<cpu::Curve>)]) -> Option<Multiples> {
    let all: Vec<cpu::Curve> = groups.iter().flat_map(|(_, own)| own).cloned().collect();
    let axes = cpu::axes(&all)?;
    let panels: Vec<_> =
        groups.iter().filter_map(|(label, own)| cpu::panel(label, &own.iter().collect::<Vec<_>>(), axes)).collect();
    (!panels.is_empty()).then(|| Multiples {
        stem: "cpu".into(),
        title: "CPU of the proxy".into(),
        description: "Cores that the proxy's container used, on one logarithmic axis for all dataplanes and panels; dashed, the mean of the baseline; shaded, the action. A curve is broken where its counter was stale.".into(),
        panels,
    })
}

/// The run in the middle by the 95th percentile of propagation; of runs without one the first.
fn middle<'r>(runs: &[&'r &'r RunResult]) -> Option<&'r RunResult> {
    let p95 = |result: &RunResult| {
        let found = result.measurements.iter().find(|m| m.name == "endpoint_propagation" && m.variant.is_empty())?;
        found.quantiles.get("p95")?.value
    };
    let mut known: Vec<(f64, &'r RunResult)> =
        runs.iter().filter_map(|result| Some((p95(result)?, **result))).collect();
    known.sort_by(|a, b| a.0.total_cmp(&b.0));
    known.get(known.len().saturating_sub(1) / 2).map(|one| one.1).or_else(|| runs.first().map(|one| **one))
}

fn curve(result: &RunResult, column: &Column) -> Option<cpu::Curve> {
    let run = &result.run;
    let action = run.windows.action.as_ref().or(run.windows.baseline.as_ref())?;
    let shown = -30.0..=action.seconds() + 30.0;
    Some(cpu::Curve {
        run: run.name.clone(),
        name: column.name.clone(),
        class: column.class.clone(),
        points: result.curves.open().cpu.into_iter().filter(|p| shown.contains(&p.0)).collect(),
        baseline: level(result),
        action_end: run.windows.action.as_ref().map_or(0.0, crate::events::Window::seconds),
    })
}

/// Runs that share one picture: those of the scenario and size that most dataplanes have, scale-up and small first.
pub fn comparable(runs: &[RunResult]) -> Vec<usize> {
    let mut groups: BTreeMap<Key, Vec<usize>> = BTreeMap::new();
    for (at, result) in runs.iter().enumerate() {
        groups.entry(key(result)).or_default().push(at);
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

/// What happened in one run; `None` where it has no window.
pub fn course(result: &RunResult, name: &str, class: &str) -> Option<multiples::Course> {
    let (run, curves) = (&result.run, result.curves.open());
    let action = run.windows.action.as_ref().or(run.windows.baseline.as_ref())?;
    Some(multiples::Course {
        run: run.name.clone(),
        name: name.to_owned(),
        class: class.to_owned(),
        to: action.seconds() + 8.0,
        ready: curves.ready,
        dataplane_steps: curves.dataplane,
        syncs: curves.syncs,
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
                    status: Standing::of(verdict.status, &verdict.reason).class.into(),
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
