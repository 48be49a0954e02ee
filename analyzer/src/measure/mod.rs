//! Measurements: one file each, the same names for every dataplane.

pub mod alerts;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::clock::Evidence;
use crate::math::Estimate;

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
