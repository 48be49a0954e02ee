//! Fills the charts from runs and verdicts.

use std::collections::BTreeMap;

use super::chart::{Chart, cpu, propagation, ranges, timeline};
use super::{dataplane_name, number, propagation::delays, rows, series};
use crate::events::{Direction, Outcome};
use crate::verdict::catalogue::ClaimKind;
use crate::verdict::judge::Claim;
use crate::verdict::{Catalogue, RunResult, Status, Verdict, overall};

/// The charts that runs give.
#[derive(Clone, Debug, Default)]
pub struct Charts {
    pub timelines: Vec<Chart>,
    pub propagation: Option<Chart>,
    pub cpu: Option<Chart>,
}

/// Timelines in a report: more say nothing new and cost the page its size.
const MOST_TIMELINES: usize = 24;

/// Draws all of them. What cannot be read is added to `problems`.
pub fn build(runs: &[RunResult<'_>], problems: &mut Vec<String>) -> Charts {
    let mut charts = Charts::default();
    let chosen = comparable(runs);
    let mut cpu_curves = Vec::new();
    for (at, result) in runs.iter().enumerate() {
        let mut note =
            |what: &str, error: anyhow::Error| problems.push(format!("{}: {what}: {error:#}", result.run.name));
        let Some(filled) = fill(result, at, &mut note) else { continue };
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
            delays: delays(result.run).into_iter().map(|d| [d.low, d.high]).collect(),
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
pub fn comparable(runs: &[RunResult<'_>]) -> Vec<usize> {
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

fn level(result: &RunResult<'_>) -> Option<[f64; 3]> {
    let m =
        result.measurements.iter().find(|m| m.name == "cpu_baseline" && m.variant.is_empty() && m.missing.is_none())?;
    let value = m.estimate.value?;
    Some([m.estimate.low.unwrap_or(value), value, m.estimate.high.unwrap_or(value)])
}

fn fill(result: &RunResult<'_>, at: usize, note: &mut impl FnMut(&str, anyhow::Error)) -> Option<timeline::Timeline> {
    let run = result.run;
    let action = run.windows.action.as_ref().or(run.windows.baseline.as_ref())?;
    let origin = action.start;
    let mut get = |what: &str, found: anyhow::Result<Vec<(f64, f64)>>| {
        found.unwrap_or_else(|error| {
            note(what, error);
            Vec::new()
        })
    };
    let cpu = get("CPU", series::cpu(run, origin));
    let syncs = get("syncs", series::syncs(run, origin));
    let failures = series::failures(run, origin).unwrap_or_else(|error| {
        note("requests", error);
        Vec::new()
    });
    let events = series::markers(run, origin).unwrap_or_else(|error| {
        note("markers", error);
        Vec::new()
    });
    let (ready, dataplane_steps) = steps(run, origin);
    Some(timeline::Timeline {
        stem: format!("timeline-{}", at + 1),
        run: run.name.clone(),
        dataplane: run.dataplane.clone(),
        from: -5.0,
        to: action.seconds() + 8.0,
        events,
        ready,
        dataplane_steps,
        syncs,
        cpu,
        cpu_baseline: level(result).map(|l| l[1]),
        failures,
        client_seen: run.bundle.manifest.tables.iter().any(|t| t.name == "requests" && t.rows > 0),
    })
}

/// Points in time, s, with a count or a change of it.
type Steps = Vec<(f64, f64)>;

/// Counts of endpoints of the Service under test over time: ready (middle of what is known), and in the dataplane (the
/// latest time that the captures allow).
fn steps(run: &crate::events::Run, origin: i64) -> (Steps, Steps) {
    let node =
        run.episodes.iter().map(|e| &e.node).find(|n| ***n == *run.node).or(run.episodes.first().map(|e| &e.node));
    let own = run
        .episodes
        .iter()
        .filter(|e| Some(&e.node) == node && Some(&e.endpoint.service) == run.service_under_test.as_ref());
    let (mut ready, mut followed): (Steps, Steps) = Default::default();
    for episode in own {
        let sign = if episode.direction == Direction::Added { 1.0 } else { -1.0 };
        let c = &episode.committed;
        if let Some(time) = c.high.or(c.low)
            && let Some(at) = series::seconds(run, &c.clock, time, origin)
        {
            ready.push((at, sign));
        }
        if let (Outcome::Seen, Some(d)) = (episode.outcome, &episode.dataplane)
            && let Some(time) = d.high
            && let Some(at) = series::seconds(run, &d.clock, time, origin)
        {
            followed.push((at, sign));
        }
    }
    // Changes before the action made the baseline's number: walk back from it.
    let base = run.baseline_endpoints.unwrap_or(0) as f64;
    (summed(ready, base), summed(followed, base))
}

fn summed(mut steps: Vec<(f64, f64)>, base: f64) -> Vec<(f64, f64)> {
    if steps.is_empty() {
        return steps;
    }
    steps.sort_by(|a, b| a.0.total_cmp(&b.0));
    steps.retain(|s| s.0 > -5.0);
    let mut count = base;
    let mut points = vec![(-5.0, base)];
    for (time, sign) in steps {
        count += sign;
        points.push((time, count.max(0.0)));
    }
    points
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
