//! What was measured and stands in no row of the catalogue: nothing that has a figure may be left unseen.

use std::collections::BTreeSet;

use serde::Serialize;

use super::number::{self, Show};
use super::rows::{evidence_line, sentence, with_bounds};
use crate::measure::{Measurement, before_after};
use crate::result::RunResult;
use crate::verdict::{Catalogue, Row};

/// Rows of a page; all of them are in `report.json`.
const MOST: usize = 120;

/// Measurements that have a section of their own, or are findings of their run.
const SHOWN: [&str; 3] = ["trace_distribution", "metric_shape", "process_cpu"];

/// The section.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AlsoMeasured {
    pub rows: Vec<Measured>,
    /// Figures that only `report.json` lists.
    pub more: usize,
}

/// One figure.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    pub run: String,
    pub name: String,
    pub variant: String,
    pub measured: String,
    pub statistic: String,
    pub n: String,
    pub window: String,
    pub method: String,
    pub notes: Vec<String>,
    pub evidence: Vec<String>,
}

/// Builds it: every figure that no row of the run's dataplane reads, runs in turn so that each has its share of the page.
pub fn build(runs: &[RunResult], catalogue: &Catalogue) -> AlsoMeasured {
    let of: Vec<Vec<&Measurement>> = runs.iter().map(|result| unread(result, catalogue)).collect();
    let speaking = of.iter().filter(|all| !all.is_empty()).count().max(1);
    let share = (MOST / speaking).max(1);
    let mut section = AlsoMeasured::default();
    for (all, result) in of.into_iter().zip(runs) {
        section.more += all.len().saturating_sub(share);
        section.rows.extend(all.into_iter().take(share).map(|one| measured(one, &result.run.name)));
    }
    section
}

/// Figures of a run that no row reads. What the document itself asks for goes ahead.
fn unread<'a>(result: &'a RunResult, catalogue: &Catalogue) -> Vec<&'a Measurement> {
    let dataplane = result.run.dataplane.as_str();
    let mut read: BTreeSet<(&str, &str)> = BTreeSet::new();
    for row in catalogue.rows.iter().filter(|row| claims(row, dataplane)) {
        for reading in row.readings_of(dataplane) {
            read.insert((&reading.measurement, reading.variant.as_deref().unwrap_or_default()));
        }
    }
    let has = |name: &str, variant: &str| {
        result.measurements.iter().any(|m| m.name == name && m.variant == variant && m.missing.is_none())
    };
    let is_read = |m: &Measurement| {
        // Two readings stand in where nothing else gives the main figure.
        let stands_in =
            m.variant == before_after::VARIANT && read.contains(&(m.name.as_str(), "")) && !has(&m.name, "");
        stands_in || read.contains(&(m.name.as_str(), m.variant.as_str()))
    };
    let has_figure = |m: &&Measurement| {
        let estimate = m.estimate;
        m.missing.is_none() && (estimate.value.is_some() || estimate.low.is_some() || estimate.high.is_some())
    };
    let mut found: Vec<&Measurement> = result
        .measurements
        .iter()
        .filter(has_figure)
        .filter(|m| !SHOWN.contains(&m.name.as_str()) && !m.name.starts_with("stage") && !is_read(m))
        .collect();
    found.sort_by_key(|m| !["api_processing_time", "convergence_time"].contains(&m.name.as_str()));
    found
}

fn claims(row: &Row, dataplane: &str) -> bool {
    let side = if dataplane.starts_with("kube-proxy") { "kube-proxy-iptables" } else { dataplane };
    row.side(side).is_some_and(|side| side.kind != crate::verdict::catalogue::ClaimKind::None)
}

/// Every measurement of a run that has a figure.
pub fn every(result: &RunResult) -> Vec<Measured> {
    let known = |m: &&Measurement| m.estimate.value.is_some() || m.estimate.low.is_some() || m.estimate.high.is_some();
    result
        .measurements
        .iter()
        .filter(|m| m.missing.is_none())
        .filter(known)
        .map(|one| measured(one, &result.run.name))
        .collect()
}

fn measured(one: &Measurement, run: &str) -> Measured {
    Measured {
        run: run.to_owned(),
        name: one.name.to_string(),
        variant: one.variant.to_string(),
        measured: with_bounds(one.estimate.value, [one.estimate.low, one.estimate.high], &one.unit, Show::Unit),
        statistic: one.statistic.to_string(),
        n: number::count(one.n),
        window: one.window.to_string(),
        method: sentence(&one.method),
        notes: one.notes.iter().map(|note| sentence(note)).collect(),
        evidence: one.evidence.iter().take(3).map(evidence_line).collect(),
    }
}
