//! `memory_bytes`: the proxy's memory, median of its working set in the baseline, between the least and the greatest that was read.

use super::proxy_cpu;
use super::readings::{self, Series};
use super::{Measurement, Missing};
use crate::events::{Phase, Run};
use crate::math::{Estimate, quantile};

/// One row per phase: the main one is the baseline, variants `action` and `tail`.
pub fn measure(run: &Run) -> Vec<Measurement> {
    let container = proxy_cpu::container(run);
    let mut found =
        readings::recorded_or(run, "container_memory_working_set_bytes", |c| c.label("container") == container);
    let mut method = match found.first().is_some_and(|one| one.label("job") == readings::RECORDER) {
        true => "the recorder's reading of the container's cgroup: container_memory_working_set_bytes",
        false => "cAdvisor's container_memory_working_set_bytes",
    };
    if found.is_empty() {
        let own = proxy_cpu::own_sources(run);
        method = "resident memory of the proxy's process";
        for name in ["cilium_process_resident_memory_bytes", "process_resident_memory_bytes"] {
            if found.is_empty() {
                let prefixed = name.starts_with("cilium") && !run.is_kube_proxy();
                found = readings::series(run, name, |c| {
                    proxy_cpu::is_own(run, &own, c) || (prefixed && !c.label("job").contains("operator"))
                });
            }
        }
    }
    [(Phase::Baseline, ""), (Phase::Action, "action"), (Phase::Tail, "tail")]
        .into_iter()
        .map(|(phase, variant)| {
            let mut row = Measurement::new(run, "memory_bytes", "bytes");
            row.variant = variant.into();
            row.window = proxy_cpu::word(phase).into();
            row.statistic = "median".into();
            fill(run, &found, phase, &mut row);
            if row.estimate.value.is_some() {
                row.method = format!("{method} of {container} (witness: {})", found.first().map_or("", |s| &s.witness)).into();
            } else {
                row.missing = Some(Missing {
                    what: format!("no memory gauge of {container} in the {}", proxy_cpu::word(phase)),
                    remedy: "Save query_range of container_memory_working_set_bytes{container=~\"kube-proxy|cilium-agent\"}.".into(),
                });
            }
            row
        })
        .collect()
}

/// Medians of each container, summed: with several nodes the figure is per node, so their mean.
fn fill(run: &Run, found: &[Series], phase: Phase, row: &mut Measurement) {
    let mut medians = Vec::new();
    let (mut lows, mut highs) = (Vec::new(), Vec::new());
    for series in found {
        let Some(window) = run.window(phase, &series.clock) else { continue };
        let inside: Vec<_> = series.readings.iter().filter(|r| window.contains(r.high)).collect();
        let values: Vec<f64> = inside.iter().map(|r| r.value).collect();
        let Some(median) = quantile::of(&values, 0.5) else { continue };
        medians.push(median);
        row.n += values.len() as u64;
        lows.push(values.iter().copied().fold(f64::INFINITY, f64::min));
        highs.push(values.iter().copied().fold(f64::NEG_INFINITY, f64::max));
        if let (Some(first), Some(last)) = (inside.first(), inside.last()) {
            row.evidence.push(first.evidence(run, format!("{} {}", series.name, first.value)));
            row.evidence.push(last.evidence(run, format!("{} {}", series.name, last.value)));
        }
        if values.len() > 1 && row.quantiles.is_empty() {
            row.quantiles = quantile::exact_all(&values);
        }
    }
    if medians.is_empty() {
        return;
    }
    // The gauge is exact at its stamps, and it swings: what it held in the window is a range, not its median.
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    row.estimate = Estimate::between(mean(&lows), mean(&medians), mean(&highs));
    row.details.insert("containers".into(), medians.len() as f64);
    row.details.insert("min".into(), lows.iter().copied().fold(f64::INFINITY, f64::min));
    row.details.insert("max".into(), highs.iter().copied().fold(f64::NEG_INFINITY, f64::max));
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{self, SECOND};
    use crate::events::{Window, Windows};

    #[test]
    fn a_gauge_that_swings_has_its_range_as_bounds() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = fixture::run(folder.path(), "cilium", |tables| {
            let points: Vec<(i64, f64)> = (0..60)
                .map(|t| (t, [452e6, 520e6, 521e6, 522e6, 537e6][usize::try_from(t % 5).unwrap_or(0)]))
                .collect();
            let labels = r#"{"container":"cilium-agent"}"#;
            fixture::series(tables, 0, "tsdb", "container_memory_working_set_bytes", labels, &points);
        });
        let window = Some(Window { start: 0, end: 60 * SECOND, slack: 0 });
        run.windows = Windows { clock: "node-a".into(), baseline: window, ..Windows::default() };
        let row = &super::measure(&run)[0];
        let estimate = row.estimate;
        assert_eq!((estimate.low, estimate.value, estimate.high), (Some(452e6), Some(521e6), Some(537e6)));
    }
}
