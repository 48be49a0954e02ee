//! Propagation: quantiles per run, the slowest endpoints, the stages on the way.

use std::collections::BTreeMap;

use serde::Serialize;

use super::chart::Chart;
use super::{dataplane_name, number};
use crate::events::{Direction, Episode, Outcome, Phase, Run};
use crate::verdict::RunResult;

/// The section.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Propagation {
    pub chart: Option<Chart>,
    pub quantiles: Vec<QuantileRow>,
    pub stages: Vec<StageRow>,
    pub slowest: Vec<SlowRow>,
}

/// Quantiles of one run.
#[derive(Clone, Debug, Serialize)]
pub struct QuantileRow {
    pub run: String,
    pub dataplane: String,
    pub n: String,
    pub never: String,
    pub p50: String,
    pub p90: String,
    pub p95: String,
    pub p99: String,
    pub max: String,
}

/// Median time between two stages of one run.
#[derive(Clone, Debug, Serialize)]
pub struct StageRow {
    pub run: String,
    pub dataplane: String,
    pub stage: String,
    pub n: String,
    pub median: String,
    pub longest: String,
}

/// One slow endpoint.
#[derive(Clone, Debug, Serialize)]
pub struct SlowRow {
    pub run: String,
    pub endpoint: String,
    pub target: String,
    pub delay: String,
    pub evidence: Vec<String>,
}

/// Delay of one endpoint, s.
#[derive(Clone, Debug)]
pub struct Delay<'a> {
    pub episode: &'a Episode,
    pub low: Option<f64>,
    /// Null where it never arrived.
    pub high: Option<f64>,
}

/// Delays of the first additions in the action, moved by the clocks' offsets. Empty where the clocks are unrelated.
pub fn delays(run: &Run) -> Vec<Delay<'_>> {
    run.episodes
        .iter()
        .filter(|e| e.direction == Direction::Added && e.number == 0 && e.phase == Some(Phase::Action))
        .filter(|e| matches!(e.outcome, Outcome::Seen | Outcome::Never))
        .filter_map(|episode| {
            let dataplane = episode.dataplane.as_ref()?;
            let committed = &episode.committed;
            let offset = if committed.clock == dataplane.clock {
                crate::clock::Offset::ZERO
            } else {
                run.clocks.offset(&committed.clock, &dataplane.clock)?
            };
            let low = dataplane.low.zip(committed.high).map(|(d, c)| (d - c - offset.high) as f64 / 1e9);
            let high = match episode.outcome {
                Outcome::Seen => dataplane.high.zip(committed.low).map(|(d, c)| (d - c - offset.low) as f64 / 1e9),
                _ => None,
            };
            Some(Delay { episode, low, high })
        })
        .collect()
}

/// Builds the section.
pub fn build(runs: &[RunResult<'_>], chart: Option<Chart>) -> Propagation {
    let mut section = Propagation { chart, ..Propagation::default() };
    for result in runs {
        let run = result.run;
        for m in result.measurements.iter().filter(|m| m.name == "endpoint_propagation" && m.missing.is_none()) {
            let quantile = |q: &str| {
                m.quantiles
                    .get(q)
                    .map_or_else(|| "–".to_owned(), |e| number::interval(e.low, e.high, "s", number::Show::Unit))
            };
            let never =
                run.episodes.iter().filter(|e| e.outcome == Outcome::Never && e.direction == Direction::Added).count();
            let name = if m.variant.is_empty() { run.name.clone() } else { format!("{}, {}", run.name, m.variant) };
            section.quantiles.push(QuantileRow {
                run: name,
                dataplane: dataplane_name(&run.dataplane),
                n: number::count(m.n),
                never: number::count(never as u64),
                p50: quantile("p50"),
                p90: quantile("p90"),
                p95: quantile("p95"),
                p99: quantile("p99"),
                max: quantile("max"),
            });
        }
        section.stages.extend(stages(run));
        section.slowest.extend(slowest(run));
    }
    section
}

/// Time from the commit to each later stage, for the first additions of the action.
fn stages(run: &Run) -> Vec<StageRow> {
    let mut found: BTreeMap<usize, (String, Vec<(f64, f64)>)> = BTreeMap::new();
    const ORDER: [&str; 6] = ["ready", "received", "sync_start", "kernel_replaced", "visible", "map_written"];
    for episode in run
        .episodes
        .iter()
        .filter(|e| e.direction == Direction::Added && e.number == 0 && e.phase == Some(Phase::Action))
    {
        for stage in &episode.stages {
            let Some(order) = ORDER.iter().position(|o| *o == stage.name) else { continue };
            let offset = if stage.at.clock == episode.committed.clock {
                Some(crate::clock::Offset::ZERO)
            } else {
                run.clocks.offset(&episode.committed.clock, &stage.at.clock)
            };
            let (Some(offset), Some(low), Some(high)) = (offset, stage.at.low, stage.at.high) else { continue };
            let (Some(c_low), Some(c_high)) = (episode.committed.low, episode.committed.high) else { continue };
            let interval = ((low - c_high - offset.high) as f64 / 1e9, (high - c_low - offset.low) as f64 / 1e9);
            found.entry(order).or_insert_with(|| (stage.name.clone(), Vec::new())).1.push(interval);
        }
    }
    found
        .into_values()
        .map(|(name, intervals)| {
            let nearest = |quantile: f64| {
                let rank = |mut ends: Vec<f64>| {
                    ends.sort_by(f64::total_cmp);
                    let at = ((ends.len() as f64 * quantile).ceil() as usize).clamp(1, ends.len().max(1)) - 1;
                    ends.get(at).copied()
                };
                number::interval(
                    rank(intervals.iter().map(|i| i.0).collect()),
                    rank(intervals.iter().map(|i| i.1).collect()),
                    "s",
                    number::Show::Unit,
                )
            };
            StageRow {
                run: run.name.clone(),
                dataplane: dataplane_name(&run.dataplane),
                stage: stage_words(&name).into(),
                n: number::count(intervals.len() as u64),
                median: nearest(0.5),
                longest: nearest(1.0),
            }
        })
        .collect()
}

fn stage_words(name: &str) -> &str {
    match name {
        "ready" => "pod ready (relative to the commit)",
        "received" => "commit to the proxy's handler",
        "sync_start" => "commit to the start of its sync",
        "kernel_replaced" => "commit to the kernel's table replaced",
        "map_written" => "commit to the map written",
        "visible" => "commit to visible in a snapshot",
        other => other,
    }
}

/// The three slowest of a run.
fn slowest(run: &Run) -> Vec<SlowRow> {
    let mut all = delays(run);
    all.sort_by(|a, b| {
        let key = |d: &Delay<'_>| d.high.unwrap_or(f64::INFINITY);
        key(b).total_cmp(&key(a)).then_with(|| a.episode.endpoint.cmp(&b.episode.endpoint))
    });
    all.into_iter()
        .take(3)
        .map(|d| SlowRow {
            run: run.name.clone(),
            endpoint: format!(
                "{} {}:{}",
                d.episode.endpoint.service, d.episode.endpoint.address, d.episode.endpoint.port
            ),
            target: d.episode.endpoint.target.clone(),
            delay: number::interval(d.low, d.high, "s", number::Show::Unit),
            evidence: d
                .episode
                .committed
                .evidence
                .iter()
                .chain(d.episode.dataplane.iter().flat_map(|o| &o.evidence))
                .take(6)
                .map(super::rows::evidence_line)
                .collect(),
        })
        .collect()
}
