//! `node_busy`: share of the node's CPU time that was neither idle nor niced, per window.
//!
//! Niced time is kept apart (`details`: `niced`): a niced process gives way to every other one, so that what it takes is
//! there for whoever needs it. Above 90 % a window is loaded: who is ready to run must wait. Whether that could have produced
//! what a verdict says is reasoned about by direction, where verdicts are made. [`load_findings`] names the windows.

use super::readings;
use super::{Measurement, Missing};
use crate::clock::Finding;
use crate::events::{Phase, Run};
use crate::math::Estimate;

/// Share above which a window counts as loaded.
pub const LOADED: f64 = 0.9;

/// One row for each phase: variants `baseline`, `action`, `tail`.
pub fn measure(run: &Run) -> Vec<Measurement> {
    let all = readings::recorded_or(run, "node_cpu_seconds_total", |_| true);
    [Phase::Baseline, Phase::Action, Phase::Tail]
        .into_iter()
        .map(|phase| {
            let mut row = Measurement::new(run, "node_busy", "ratio");
            let word = super::proxy_cpu::word(phase);
            row.variant = word.into();
            row.window = word.into();
            row.statistic = "1 − (idle + iowait + nice) / all modes".into();
            let (mut idle, mut niced, mut total, mut counted) = (0.0, 0.0, 0.0, 0u64);
            for series in &all {
                let Some(window) = run.window(phase, &series.clock) else { continue };
                if let Ok(increase) = readings::increase(series, &window, 0.0)
                    && let Some(delta) = increase.delta.value
                {
                    total += delta;
                    counted += 1;
                    match series.label("mode") {
                        "idle" | "iowait" => idle += delta,
                        "nice" => niced += delta,
                        _ => {}
                    }
                    if row.evidence.len() < 2 {
                        row.evidence.extend(readings::evidence(run, series, &increase));
                    }
                }
            }
            if total > 0.0 {
                let busy = 1.0 - (idle + niced) / total;
                // Every mode of every CPU counts in ticks of 10 ms.
                let half = (counted as f64).sqrt() * 0.01 / total;
                let busy = busy.clamp(0.0, 1.0);
                row.estimate = Estimate::between((busy - half).max(0.0), busy, (busy + half).min(1.0));
                row.n = counted;
                row.details.insert("cpu_seconds_of_all_modes".into(), total);
                row.details.insert("niced".into(), niced / total);
                row.method = format!(
                    "node_cpu_seconds_total{} (witness: {})",
                    match all.first().is_some_and(|one| one.label("job") == readings::RECORDER) {
                        true => ", as the recorder read /proc/stat",
                        false => " of node-exporter",
                    },
                    all.first().map_or("", |s| &s.witness)
                ).into();
                if niced > 0.0 {
                    let share = 100.0 * niced / total;
                    row.notes.push(format!(
                        "Niced processes took {share:.0} % more of the node's CPU time, and give way to all others: they are not counted as load."
                    ));
                }
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

/// A finding for each window in which the node was loaded, and one that says who took its CPU, where `process_cpu` tells.
pub fn load_findings(rows: &[Measurement]) -> Vec<Finding> {
    let loaded = rows.iter().filter(|row| row.name == "node_busy").filter_map(|row| {
        let busy = row.estimate.value.filter(|busy| *busy > LOADED)?;
        Some(Finding {
            title: format!("The node was {:.0} % busy in the {}", 100.0 * busy, row.variant),
            detail: "Above 90 % whoever is ready to run waits: latencies and losses can only be too high, a process's CPU time only too low. A verdict that this could have produced is inconclusive, one reached in spite of it stands.".into(),
            evidence: row.evidence.clone(),
        })
    });
    let told: Vec<&Measurement> =
        rows.iter().filter(|row| row.name == super::process_cpu::NAME && !row.notes.is_empty()).collect();
    let takers = (!told.is_empty()).then(|| Finding {
        title: "Who took the node's CPU, phase by phase".into(),
        detail: told.iter().flat_map(|row| row.notes.iter().map(String::as_str)).collect::<Vec<_>>().join(" "),
        evidence: told.iter().flat_map(|row| row.evidence.iter().cloned()).collect(),
    });
    loaded.chain(takers).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{self, SECOND};
    use crate::events::{Window, Windows};

    #[test]
    fn niced_time_is_no_load() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = fixture::run(folder.path(), "cilium", |tables| {
            for (id, (mode, cores)) in [("idle", 0.1), ("user", 0.5), ("nice", 1.4)].into_iter().enumerate() {
                let labels = format!(r#"{{"cpu":"0","mode":"{mode}"}}"#);
                let points: Vec<(i64, f64)> = (0..=60).map(|t| (t, cores * t as f64)).collect();
                fixture::series(tables, id as i64, "tsdb", "node_cpu_seconds_total", &labels, &points);
            }
        });
        let window = Some(Window { start: 0, end: 61 * SECOND, slack: 0 });
        run.windows = Windows { clock: "node-a".into(), baseline: window, ..Windows::default() };
        let rows = super::measure(&run);
        let row = rows.iter().find(|row| row.variant == "baseline").unwrap();
        assert!((row.estimate.value.unwrap() - 0.25).abs() < 1e-9, "{row:#?}");
        assert!((row.details["niced"] - 0.7).abs() < 1e-9);
        assert!(super::load_findings(&rows).is_empty());
    }
}
