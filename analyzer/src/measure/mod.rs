//! Measurements: one file each, the same names for every dataplane.
//!
//! Each file has `pub fn measure(run: &Run) -> Vec<Measurement>`, pure but for reading the run's bundle. A name that
//! cannot be measured still yields a row, whose `missing` says what the captures lack and what would capture it. The
//! first row of a name has an empty `variant` and is the one that verdicts use unless a claim names another.

pub mod alerts;
pub mod api_processing_time;
pub mod background;

use arcstr::ArcStr;
use rayon::prelude::{IntoParallelRefIterator, ParallelIterator};
use serde::{Deserialize, Serialize};

use crate::clock::Evidence;
use crate::events::Run;
use crate::math::{Estimate, Named};

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
pub mod interval_means;
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

/// One file of measurements.
#[derive(Clone, Copy)]
pub struct Part {
    /// The file's stem.
    pub name: &'static str,
    /// Raised where the file gives another figure than before for the same run: results that were kept are then measured again.
    pub version: u32,
    measure: fn(&Run) -> Vec<Measurement>,
}

const fn part(name: &'static str, version: u32, measure: fn(&Run) -> Vec<Measurement>) -> Part {
    Part { name, version, measure }
}

/// Every measurement, in the order of reports.
pub const ALL: &[Part] = &[
    part("propagation", 1, propagation::measure),
    part("stages", 1, stages::measure),
    part("cpu", 1, cpu::measure),
    part("memory_bytes", 1, memory_bytes::measure),
    part("node_busy", 1, node_busy::measure),
    part("process_cpu", 1, process_cpu::measure),
    part("request_failure_ratio", 1, request_failure_ratio::measure),
    part("request_failures_per_pod", 1, request_failures_per_pod::measure),
    part("request_latency_ratio", 1, request_latency_ratio::measure),
    part("connection_setup_time", 1, connection_setup_time::measure),
    part("impact_duration", 1, impact_duration::measure),
    part("recovery_time", 1, recovery_time::measure),
    part("sync_duration", 1, sync_duration::measure),
    part("sync_rate", 1, sync_rate::measure),
    part("metric_shape", 1, metric_shape::measure),
    part("cilium_updates", 1, cilium_updates::measure),
    part("kube_proxy_counters", 1, kube_proxy_counters::measure),
    part("packet_cost", 1, packet_cost::measure),
    part("packet_loss_ratio", 1, packet_loss_ratio::measure),
    part("rules_total", 1, rules_total::measure),
    part("rules_rewritten_per_change", 1, rules_rewritten_per_change::measure),
    part("alerts", 1, alerts::measure),
    part("before_after", 1, before_after::measure),
    part("trace_distribution", 1, trace_distribution::measure),
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

/// What one file of measurements gave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Name of the [`Part`].
    pub part: String,
    /// Its version then.
    pub version: u32,
    /// How many rows it gave.
    pub rows: usize,
}

/// Measures everything, in parallel; the order of the rows does not depend on the number of threads.
///
/// # Errors
/// A table that a measurement asked for and that could not be read: what it says would be missing.
pub fn all(run: &Run) -> anyhow::Result<Vec<Measurement>> {
    parts(run, &|_| None).map(|(rows, _)| rows)
}

/// As [`all`], and which file gave what. What `kept` has of a file is taken as it is.
///
/// # Errors
/// As there.
pub fn parts(
    run: &Run,
    kept: &(dyn Fn(&Part) -> Option<Vec<Measurement>> + Sync),
) -> anyhow::Result<(Vec<Measurement>, Vec<Made>)> {
    let of = |part: &Part| kept(part).unwrap_or_else(|| (part.measure)(run));
    let found: Vec<Vec<Measurement>> = ALL.par_iter().map(of).collect();
    run.bundle.whole()?;
    let made = |(part, rows): (&Part, &Vec<Measurement>)| Made {
        part: part.name.to_owned(),
        version: part.version,
        rows: rows.len(),
    };
    let made = ALL.iter().zip(&found).map(made).collect();
    Ok((found.into_iter().flatten().collect(), made))
}

/// Stands for the run's name in notes, until it is known which name is unique among the runs given.
pub const THIS_RUN: &str = "{this run}";

/// One measurement of one run (a row of `measurements` in `report.json`).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Measurement {
    /// Name of the run.
    pub run: ArcStr,
    /// Name, as the design lists it.
    pub name: ArcStr,
    /// What it is measured over where one name has several readings (`iptables-save`, `ratio`, `upper bound`, node…); empty for the main one.
    pub variant: ArcStr,
    /// `s`, `ratio`, `cores`, `bytes`, `1/s`, `1`, `points`, `core-s`.
    pub unit: ArcStr,
    /// Number of things measured.
    pub n: u64,
    /// The main figure (the statistic that `statistic` names).
    pub estimate: Estimate,
    /// Which statistic `estimate` is: `max`, `p95`, `median`, `mean`, `total`, `ratio`, …
    pub statistic: ArcStr,
    /// Sampling interval of a proportion or a median, where one can be given.
    pub ci: Option<Interval>,
    /// `p50`, `p90`, `p95`, `p99`, `max` of a distribution.
    pub quantiles: Named<Estimate>,
    /// True where the figure bounds the claimed thing only from above.
    pub upper_bound_only: bool,
    /// True where the figure bounds it only from below (process CPU without iptables-restore).
    pub lower_bound_only: bool,
    /// How it was measured, in one sentence, with the witness used.
    pub method: ArcStr,
    /// Window it was measured in, in words.
    pub window: ArcStr,
    pub evidence: Vec<Evidence>,
    /// What a reader must know.
    pub notes: Vec<String>,
    /// Set where it could not be measured: what is missing and what would capture it.
    pub missing: Option<Missing>,
    /// Figures beside it (numerator, denominator, counts, spans), by name.
    pub details: Named<f64>,
}

/// An interval with its level.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// e.g. 0.95.
    pub level: f64,
    pub low: f64,
    pub high: f64,
}

/// Why a figure is absent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Missing {
    /// What the captures lack.
    pub what: String,
    /// What to capture, or run, next time.
    pub remedy: String,
}

impl Measurement {
    /// An empty row of a run.
    pub fn new(run: &Run, name: &str, unit: &str) -> Self {
        Self { run: run.name.clone().into(), name: name.into(), unit: unit.into(), ..Self::default() }
    }

    /// A row that says why there is no figure.
    pub fn missing(run: &Run, name: &str, unit: &str, what: &str, remedy: &str) -> Self {
        Self { missing: Some(Missing { what: what.into(), remedy: remedy.into() }), ..Self::new(run, name, unit) }
    }
}
