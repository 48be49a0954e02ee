//! Measurements: one file each, the same names for every dataplane.
//!
//! Each file has `pub fn measure(run: &Run) -> Vec<Measurement>`, pure but for reading the run's bundle. A name that
//! cannot be measured still yields a row, whose `missing` says what the captures lack and what would capture it. The
//! first row of a name has an empty `variant` and is the one that verdicts use unless a claim names another.

pub mod alerts;
pub mod api_processing_time;
pub mod background;

use std::collections::BTreeMap;

use rayon::prelude::{IntoParallelRefIterator, ParallelIterator};
use serde::Serialize;

use crate::clock::Evidence;
use crate::events::Run;
use crate::math::Estimate;

pub mod across;
pub mod before_after;
pub mod cilium_updates;
pub mod connection_setup_time;
pub mod convergence_time;
pub mod could_have_shown;
pub mod cpu;
#[cfg(test)]
pub(crate) mod fixture;
pub mod impact_duration;
pub mod kube_proxy_counters;
pub mod memory_bytes;
pub mod metric_shape;
mod nftables_rewrites;
pub mod node_busy;
pub mod packet_cost;
pub mod packet_loss_ratio;
pub mod process_cpu;
pub mod propagation;
pub mod proxy_cpu;
pub mod readings;
pub mod recovery_time;
pub mod request_failure_ratio;
pub mod request_failures_per_pod;
pub mod request_latency_ratio;
pub mod requests;
pub mod rules_rewritten_per_change;
pub mod rules_total;
pub mod stages;
pub mod stated_time;
pub mod sync_census;
pub mod sync_duration;
pub mod sync_rate;
pub mod trace_distribution;

/// Every measurement, in the order of reports.
const ALL: &[fn(&Run) -> Vec<Measurement>] = &[
    propagation::measure,
    stages::measure,
    cpu::measure,
    memory_bytes::measure,
    node_busy::measure,
    process_cpu::measure,
    request_failure_ratio::measure,
    request_failures_per_pod::measure,
    request_latency_ratio::measure,
    connection_setup_time::measure,
    impact_duration::measure,
    recovery_time::measure,
    sync_duration::measure,
    sync_rate::measure,
    metric_shape::measure,
    cilium_updates::measure,
    kube_proxy_counters::measure,
    packet_cost::measure,
    packet_loss_ratio::measure,
    rules_total::measure,
    rules_rewritten_per_change::measure,
    alerts::measure,
    before_after::measure,
    trace_distribution::measure,
];

/// Names of the design that the files of this folder give for any run, whether they can be measured or not.
pub const NAMES: &[&str] = &[
    "sync_duration",
    "sync_rate",
    "rules_rewritten_per_change",
    "rules_total",
    "cpu_baseline",
    "cpu_event",
    "cpu_increase_ratio",
    "cpu_increase_points",
    "cpu_excess_seconds",
    "packet_cost",
    "memory_bytes",
    "request_failure_ratio",
    "request_latency_ratio",
    "connection_setup_time",
    "packet_loss_ratio",
    "impact_duration",
    "recovery_time",
    "map_ops_rate",
];

/// Measures everything, in parallel; the order of the rows does not depend on the number of threads.
///
/// # Errors
/// A table that a measurement asked for and that could not be read: what it says would be missing.
pub fn all(run: &Run) -> anyhow::Result<Vec<Measurement>> {
    let found: Vec<Vec<Measurement>> = ALL.par_iter().map(|measure| measure(run)).collect();
    run.bundle.whole()?;
    Ok(found.into_iter().flatten().collect())
}

/// One measurement of one run (a row of `measurements` in `report.json`).
#[derive(Clone, Debug, Default, Serialize)]
pub struct Measurement {
    /// Name of the run.
    pub run: String,
    /// Name, as the design lists it.
    pub name: String,
    /// What it is measured over where one name has several readings (`iptables-save`, `ratio`, `upper bound`, node…); empty for the main one.
    pub variant: String,
    /// `s`, `ratio`, `cores`, `bytes`, `1/s`, `1`, `points`, `core-s`.
    pub unit: String,
    /// Number of things measured.
    pub n: u64,
    /// The main figure (the statistic that `statistic` names).
    pub estimate: Estimate,
    /// Which statistic `estimate` is: `max`, `p95`, `median`, `mean`, `total`, `ratio`, …
    pub statistic: String,
    /// Sampling interval of a proportion or a median, where one can be given.
    pub ci: Option<Interval>,
    /// `p50`, `p90`, `p95`, `p99`, `max` of a distribution.
    pub quantiles: BTreeMap<String, Estimate>,
    /// True where the figure bounds the claimed thing only from above.
    pub upper_bound_only: bool,
    /// True where the figure bounds it only from below (process CPU without iptables-restore).
    pub lower_bound_only: bool,
    /// How it was measured, in one sentence, with the witness used.
    pub method: String,
    /// Window it was measured in, in words.
    pub window: String,
    pub evidence: Vec<Evidence>,
    /// What a reader must know.
    pub notes: Vec<String>,
    /// Set where it could not be measured: what is missing and what would capture it.
    pub missing: Option<Missing>,
    /// Figures beside it (numerator, denominator, counts, spans), by name.
    pub details: BTreeMap<String, f64>,
}

/// An interval with its level.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// e.g. 0.95.
    pub level: f64,
    pub low: f64,
    pub high: f64,
}

/// Why a figure is absent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Missing {
    /// What the captures lack.
    pub what: String,
    /// What to capture, or run, next time.
    pub remedy: String,
}

impl Measurement {
    /// An empty row of a run.
    pub fn new(run: &Run, name: &str, unit: &str) -> Self {
        Self { run: run.name.clone(), name: name.into(), unit: unit.into(), ..Self::default() }
    }

    /// A row that says why there is no figure.
    pub fn missing(run: &Run, name: &str, unit: &str, what: &str, remedy: &str) -> Self {
        Self { missing: Some(Missing { what: what.into(), remedy: remedy.into() }), ..Self::new(run, name, unit) }
    }
}
