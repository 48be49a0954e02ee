//! Histograms that a bpftrace script printed.

use serde::Serialize;

use super::number::{self, Show};
use super::rows::{evidence_line, sentence};
use crate::measure::trace_distribution::{Bucket, Distribution, quantile};
use crate::result::{RunResult, in_parallel};

/// Histograms that a page shows; all of them are measurements of `report.json`.
const MOST: usize = 12;

/// The section.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Distributions {
    pub all: Vec<DistributionView>,
    /// Histograms that only `report.json` lists.
    pub more: usize,
}

/// One histogram.
#[derive(Clone, Debug, Serialize)]
pub struct DistributionView {
    pub run: String,
    pub name: String,
    pub n: String,
    pub p50: String,
    pub p95: String,
    pub longest: String,
    pub buckets: Vec<BucketView>,
    pub notes: Vec<String>,
    pub evidence: Vec<String>,
}

/// One bucket.
#[derive(Clone, Debug, Serialize)]
pub struct BucketView {
    pub edges: String,
    pub count: String,
    /// Share of the fullest bucket, percent.
    pub share: String,
}

/// Builds it.
pub fn build(runs: &[RunResult]) -> Distributions {
    let mut section = Distributions::default();
    for (result, own) in in_parallel(runs, |result| (result, result.distributions.open())) {
        for one in &own {
            if section.all.len() == MOST {
                section.more += 1;
                continue;
            }
            let own = |m: &&crate::measure::Measurement| m.name == "trace_distribution" && m.variant == one.name;
            let measured = result.measurements.iter().find(own);
            section.all.push(DistributionView {
                run: result.run.name.clone(),
                n: number::count(one.buckets.iter().map(|bucket| bucket.count).sum()),
                p50: within(one, 0.5),
                p95: within(one, 0.95),
                longest: within(one, 1.0),
                buckets: buckets(one),
                notes: measured.map_or_else(Vec::new, |m| m.notes.iter().map(|note| sentence(note)).collect()),
                evidence: measured.map_or_else(Vec::new, |m| m.evidence.iter().map(evidence_line).collect()),
                name: one.name.clone(),
            });
        }
    }
    section
}

fn unit(one: &Distribution) -> &'static str {
    if one.scale.is_some() { "s" } else { "1" }
}

fn within(one: &Distribution, q: f64) -> String {
    let found = quantile(one, q);
    number::interval(found.low, found.high, unit(one), Show::Unit)
}

fn buckets(one: &Distribution) -> Vec<BucketView> {
    let fullest = one.buckets.iter().map(|bucket| bucket.count).max().unwrap_or(1).max(1);
    let scaled = |edge: Option<f64>| edge.map(|edge| edge * one.scale.unwrap_or(1.0));
    let view = |bucket: &Bucket| BucketView {
        edges: match (bucket.low, bucket.high) {
            (Some(low), Some(high)) if low == high => {
                number::figure(low * one.scale.unwrap_or(1.0), unit(one), Show::Unit)
            }
            _ => number::interval(scaled(bucket.low), scaled(bucket.high), unit(one), Show::Unit),
        },
        count: number::count(bucket.count),
        share: format!("{:.1}", bucket.count as f64 * 100.0 / fullest as f64),
    };
    one.buckets.iter().map(view).collect()
}
