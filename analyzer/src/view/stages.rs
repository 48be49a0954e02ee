//! Where the time goes: the stages from the request to the dataplane, their medians drawn one behind the other, and the
//! slowest endpoints.

use serde::Serialize;

use super::chart::stages::{Bar, Lane};
use super::chart::{self, Chart};
use super::{dataplane_name, number};
use crate::measure::stages::Breakdown;
use crate::result::{RunResult, in_parallel};

/// The section.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Stages {
    pub chart: Option<Chart>,
    pub rows: Vec<StageRow>,
    pub slowest: Vec<SlowRow>,
    /// Which stage dominates, a sentence a run.
    pub dominant: Vec<String>,
}

/// One stage of one run.
#[derive(Clone, Debug, Serialize)]
pub struct StageRow {
    pub run: String,
    pub dataplane: String,
    pub stage: String,
    pub n: String,
    pub median: String,
    pub p95: String,
    pub longest: String,
}

/// One slow endpoint.
#[derive(Clone, Debug, Serialize)]
pub struct SlowRow {
    pub run: String,
    pub endpoint: String,
    pub node: String,
    pub moments: String,
}

/// A moment in words.
pub fn word(moment: &str) -> &str {
    match moment {
        "request" => "request received",
        "pod_created" => "pod created",
        "bound" => "pod bound",
        "ready" => "pod ready",
        "committed" => "slice committed",
        "received" => "proxy received it",
        "sync_start" => "sync began",
        "kernel_replaced" => "kernel took the rules",
        "visible" => "in the dataplane",
        other => other,
    }
}

/// Builds the section: additions of each run.
pub fn build(runs: &[RunResult]) -> Stages {
    let mut section = Stages::default();
    let mut lanes = Vec::new();
    for (result, found) in in_parallel(runs, |result| (result, result.stages.open())) {
        let run = &result.run;
        let Some(found) = &found else { continue };
        let stage = |at: usize| {
            let one = &found.stages[at];
            format!("{} → {}", word(&one.from), word(&one.to))
        };
        for (at, one) in found.stages.iter().enumerate() {
            let quantile = |name: &str| {
                let estimate = one.quantiles.get(name).copied().unwrap_or_default();
                number::interval(estimate.low, estimate.high, "s", number::Show::Unit)
            };
            section.rows.push(StageRow {
                run: run.name.clone(),
                dataplane: dataplane_name(&run.dataplane),
                stage: stage(at),
                n: number::count(one.n as u64),
                median: quantile("p50"),
                p95: quantile("p95"),
                longest: quantile("max"),
            });
        }
        let told = |dominant: Option<(usize, bool)>| {
            dominant.map(|(at, certain)| {
                let how = if certain { "" } else { " (by its estimate; the bounds leave it open)" };
                format!("{}{how}", stage(at))
            })
        };
        if let Some(whole) = told(found.dominant) {
            let rest = told(found.dominant_from_commit).map(|rest| format!("; from the commit on, {rest}"));
            section.dominant.push(format!("{}: longest is {whole}{}.", run.name, rest.unwrap_or_default()));
        }
        for one in &found.slowest {
            let moments: Vec<String> = one
                .moments
                .iter()
                .map(|(name, low, high)| {
                    format!("{} {}", word(name), number::interval(Some(*low), Some(*high), "s", number::Show::Unit))
                })
                .collect();
            section.slowest.push(SlowRow {
                run: run.name.clone(),
                endpoint: one.endpoint.clone(),
                node: one.node.clone(),
                moments: moments.join(", "),
            });
        }
        lanes.push(lane(&run.name, &run.dataplane, found));
    }
    section.chart = chart::stages::draw(&lanes);
    section
}

/// Medians of the stages from the commit on, one behind the other: what is ahead of it is the pods' start.
fn lane(run: &str, dataplane: &str, found: &Breakdown) -> Lane {
    let most = found.stages.iter().map(|stage| stage.n).max().unwrap_or(0);
    let from_commit = found
        .stages
        .iter()
        .skip_while(|stage| stage.from != "committed")
        .filter(|stage| 2 * stage.n >= most)
        .filter_map(|stage| {
            let median = stage.quantiles.get("p50")?;
            Some(Bar {
                label: format!("{} → {}", word(&stage.from), word(&stage.to)),
                seconds: median.value?.max(0.0),
                low: median.low?,
                high: median.high?,
            })
        })
        .collect();
    Lane { run: run.to_owned(), dataplane: dataplane.to_owned(), bars: from_commit }
}
