//! `node_busy`: share of the node's CPU time that was not idle, per window.
//!
//! Above 90 % a run is loaded: what it shows is the machine as much as the dataplane. [`load_findings`] says so.

use super::readings;
use super::{Measurement, Missing};
use crate::clock::Finding;
use crate::events::{Phase, Run};
use crate::math::Estimate;

/// Share above which a window counts as loaded.
pub const LOADED: f64 = 0.9;

/// One row for each phase: variants `baseline`, `action`, `tail`.
pub fn measure(run: &Run) -> Vec<Measurement> {
    let all = readings::series(run, "node_cpu_seconds_total", |_| true);
    [Phase::Baseline, Phase::Action, Phase::Tail]
        .into_iter()
        .map(|phase| {
            let mut row = Measurement::new(run, "node_busy", "ratio");
            let word = super::proxy_cpu::word(phase);
            row.variant = word.into();
            row.window = word.into();
            row.statistic = "1 − (idle + iowait) / all modes".into();
            let (mut idle, mut total, mut counted) = (0.0, 0.0, 0u64);
            for series in &all {
                let Some(window) = run.window(phase, &series.clock) else { continue };
                if let Ok(increase) = readings::increase(series, &window, 0.0)
                    && let Some(delta) = increase.delta.value
                {
                    total += delta;
                    counted += 1;
                    if matches!(series.label("mode"), "idle" | "iowait") {
                        idle += delta;
                    }
                    if row.evidence.len() < 2 {
                        row.evidence.extend(readings::evidence(run, series, &increase));
                    }
                }
            }
            if total > 0.0 {
                let busy = 1.0 - idle / total;
                // Every mode of every CPU counts in ticks of 10 ms.
                let half = (counted as f64).sqrt() * 0.01 / total;
                row.estimate = Estimate::between((busy - half).max(0.0), busy, (busy + half).min(1.0));
                row.n = counted;
                row.details.insert("cpu_seconds_of_all_modes".into(), total);
                row.method = format!(
                    "node_cpu_seconds_total of node-exporter (witness: {})",
                    all.first().map_or("", |s| &s.witness)
                );
            } else {
                row.missing = Some(Missing {
                    what: "no node_cpu_seconds_total covers the window".into(),
                    remedy: "Scrape node-exporter every second and save query_range of node_cpu_seconds_total.".into(),
                });
            }
            row
        })
        .collect()
}

/// A finding for each window in which the node was loaded.
pub fn load_findings(rows: &[Measurement]) -> Vec<Finding> {
    rows.iter()
        .filter(|row| row.name == "node_busy")
        .filter_map(|row| {
            let busy = row.estimate.value.filter(|busy| *busy > LOADED)?;
            Some(Finding {
                title: format!("The node was {:.0} % busy in the {}", 100.0 * busy, row.variant),
                detail: "Above 90 % every latency and every CPU figure shows the machine's load as well as the dataplane's work.".into(),
                evidence: row.evidence.clone(),
            })
        })
        .collect()
}
