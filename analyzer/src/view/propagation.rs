//! Propagation: quantiles per run, and the slowest endpoints.

use serde::Serialize;

use super::chart::Chart;
use super::{dataplane_name, number};
use crate::result::propagation::{Propagated, SlowEndpoint};
use crate::result::{RunResult, in_parallel};

/// The section.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Propagation {
    pub chart: Option<Chart>,
    pub quantiles: Vec<QuantileRow>,
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

/// One slow endpoint.
#[derive(Clone, Debug, Serialize)]
pub struct SlowRow {
    pub run: String,
    pub endpoint: String,
    pub target: String,
    pub delay: String,
    pub evidence: Vec<String>,
}

/// Builds the section.
pub fn build(runs: &[RunResult], chart: Option<Chart>) -> Propagation {
    let mut section = Propagation { chart, ..Propagation::default() };
    let of_run = |result: &RunResult| {
        let run = &result.run;
        let found = result.propagation.open();
        let mut rows = Vec::new();
        for m in result.measurements.iter().filter(|m| m.name == "endpoint_propagation" && m.missing.is_none()) {
            let quantile = |q: &str| {
                m.quantiles
                    .get(q)
                    .map_or_else(|| "–".to_owned(), |e| number::interval(e.low, e.high, "s", number::Show::Unit))
            };
            let name = if m.variant.is_empty() { run.name.clone() } else { format!("{}, {}", run.name, m.variant) };
            rows.push(QuantileRow {
                run: name,
                dataplane: dataplane_name(&run.dataplane),
                n: number::count(m.n),
                never: number::count(found.never),
                p50: quantile("p50"),
                p90: quantile("p90"),
                p95: quantile("p95"),
                p99: quantile("p99"),
                max: quantile("max"),
            });
        }
        (rows, slowest(&run.name, &found))
    };
    for (rows, slowest) in in_parallel(runs, of_run) {
        section.quantiles.extend(rows);
        section.slowest.extend(slowest);
    }
    section
}

/// The slowest of a run.
fn slowest(run: &str, found: &Propagated) -> Vec<SlowRow> {
    let row = |one: &SlowEndpoint| SlowRow {
        run: run.to_owned(),
        endpoint: one.endpoint.clone(),
        target: one.target.clone(),
        delay: number::interval(one.low, one.high, "s", number::Show::Unit),
        evidence: one.evidence.iter().map(super::rows::evidence_line).collect(),
    };
    found.slowest.iter().map(row).collect()
}
