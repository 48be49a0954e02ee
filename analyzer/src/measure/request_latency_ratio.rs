//! `request_latency_ratio`: p99 of successful requests on new connections, action over baseline.

use super::requests;
use super::{Interval, Measurement};
use crate::events::{Phase, Run};
use crate::math::{Estimate, arithmetic, interval, quantile};

/// One row; `details` hold both p99 and both counts.
pub fn measure(run: &Run) -> Vec<Measurement> {
    let before = requests::sorted_seconds(run, Phase::Baseline, "new", "latency");
    let during = requests::sorted_seconds(run, Phase::Action, "new", "latency");
    let (Some(p99_before), Some(p99_during)) = (quantile::of_sorted(&before, 0.99), quantile::of_sorted(&during, 0.99))
    else {
        let what = "no successful requests on new connections with a latency in both baseline and action";
        return vec![Measurement::missing(run, "request_latency_ratio", "ratio", what, requests::REMEDY)];
    };
    let mut row = Measurement::new(run, "request_latency_ratio", "ratio");
    row.n = before.len().min(during.len()) as u64;
    row.window = "action against baseline".into();
    row.statistic = "ratio of p99".into();
    row.method =
        "p99 (nearest rank) of the latency of successful requests on new connections, as the client measured it".into();
    row.estimate = Estimate::exact(p99_during / p99_before);
    let spread = |sorted: &[f64], p99: f64| {
        let (low, high) = interval::of_quantile(sorted, 0.99, 0.95)?;
        Some(Estimate::between(low, p99, high))
    };
    if let (Some(b), Some(d)) = (spread(&before, p99_before), spread(&during, p99_during)) {
        let both = arithmetic::ratio(d, b);
        if let (Some(low), Some(high)) = (both.low, both.high) {
            // Each p99 lies in its interval with 95 %, both with at least 90 %.
            row.ci = Some(Interval { level: 0.9, low, high });
        }
    }
    let p99 = format!("quantile_disc(latency, 0.99) FILTER (WHERE NOT {}) / 1e9", requests::FAILED_SQL);
    row.evidence = requests::cite(run, Phase::Action, "new", &p99);
    row.evidence.extend(requests::cite(run, Phase::Baseline, "new", &p99));
    for (name, value) in [
        ("baseline_p99", p99_before),
        ("action_p99", p99_during),
        ("baseline_n", before.len() as f64),
        ("action_n", during.len() as f64),
        ("baseline_p50", quantile::of_sorted(&before, 0.5).unwrap_or_default()),
        ("action_p50", quantile::of_sorted(&during, 0.5).unwrap_or_default()),
        ("action_max", during.last().copied().unwrap_or_default()),
    ] {
        row.details.insert(name.into(), value);
    }
    vec![row]
}
