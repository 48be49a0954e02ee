//! `metric_shape`: what the document's metrics look like in the action, by the rule of [`crate::math::shape`].
//!
//! One row a metric (`variant`): seconds of work per second, from scrape to scrape. Its value is the share of the action that
//! was high; the shape itself is the method's first words. The rows about shapes (B1, B2, B3) are judged by their own
//! measurements, which need no scrape; this says what the document's reader would see.

use std::collections::BTreeMap;

use super::{Measurement, readings};
use crate::events::metric_names::absence;
use crate::events::{Phase, Run};
use crate::math::{Estimate, shape};

/// Counters of work.
const METRICS: [(&str, bool); 3] = [
    ("kubeproxy_sync_proxy_rules_duration_seconds_sum", true),
    ("cilium_endpoint_regeneration_time_stats_seconds_sum", false),
    ("cilium_reconciler_duration_seconds_sum", false),
];

const REMEDY: &str = "Scrape the proxy's /metrics every second, from ten seconds or more ahead of the action on.";

/// One row for each metric of the run's dataplane.
pub fn measure(run: &Run) -> Vec<Measurement> {
    METRICS
        .iter()
        .filter(|(_, of_kube_proxy)| *of_kube_proxy == run.is_kube_proxy())
        .map(|(metric, _)| one(run, metric))
        .collect()
}

fn one(run: &Run, metric: &str) -> Measurement {
    let series = readings::series(run, metric, |candidate| {
        !metric.starts_with("cilium_endpoint") || candidate.label("scope") == "total"
    });
    let values = |phase| {
        let mut found: BTreeMap<(i64, i64), f64> = BTreeMap::new();
        for one in &series {
            let Some(window) = run.window(phase, &one.clock) else { continue };
            for step in readings::steps(one, &window).into_iter().filter(|step| step.end > step.start) {
                *found.entry((step.start, step.end)).or_default() += step.delta;
            }
        }
        let seconds = |ns: i64| ns as f64 / 1e9;
        let all =
            found.into_iter().map(|((start, end), work)| (seconds(start), seconds(end), work / seconds(end - start)));
        all.collect::<Vec<_>>()
    };
    let (action, quiet) = (values(Phase::Action), values(Phase::Baseline));
    let quiet: Vec<f64> = quiet.into_iter().map(|(.., value)| value).collect();
    let missing = |what: String| {
        let row = Measurement::missing(run, "metric_shape", "ratio", &what, REMEDY);
        Measurement { variant: metric.into(), ..row }
    };
    if series.is_empty() {
        let why = absence(metric, &run.dataplane, &run.facts).map_or_else(String::new, |why| format!(": {why}"));
        return missing(format!("no series {metric}{why}"));
    }
    let Some(seen) = shape::shape(&action, &quiet) else {
        let (action, quiet) = (action.len(), quiet.len());
        return missing(format!(
            "{metric} has {quiet} intervals in the baseline and {action} in the action ({} each are needed)",
            shape::LEAST
        ));
    };
    let mut row = Measurement::new(run, "metric_shape", "ratio");
    row.variant = metric.into();
    row.window = "action".into();
    row.statistic = "share of the action that was high".into();
    row.n = action.len() as u64;
    row.estimate = Estimate::exact(seen.share);
    row.method = format!(
        "{}: {} stretches above {:.4} s of work per second, the highest {:.4}",
        seen.shape.words(),
        seen.stretches,
        seen.threshold,
        seen.highest
    )
    .into();
    row.details.insert("stretches".to_owned(), seen.stretches as f64);
    row.details.insert("threshold".to_owned(), seen.threshold);
    row.details.insert("highest".to_owned(), seen.highest);
    row.evidence = series.iter().filter_map(|one| Some(one.readings.first()?.evidence(run, metric))).take(3).collect();
    row
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::events::Window;

    const METRIC: &str = METRICS[0].0;

    #[test]
    fn a_burst_of_syncs_is_a_brief_spike() {
        let folder = tempfile::tempdir().unwrap();
        let mut total = 0.0;
        let samples: Vec<(i64, f64)> = (0..60)
            .map(|at| {
                total += if (40..43).contains(&at) { 0.5 } else { 0.001 };
                (at, total)
            })
            .collect();
        let mut run = fixture::run(folder.path(), "kube-proxy-iptables", |tables| {
            fixture::series(tables, 1, "scrape", METRIC, "{}", &samples);
        });
        let window =
            |start: i64, end: i64| Some(Window { start: start * 1_000_000_000, end: end * 1_000_000_000, slack: 0 });
        run.windows.clock = "node-a".to_owned();
        (run.windows.baseline, run.windows.action) = (window(0, 30), window(30, 60));
        run.clocks = crate::clock::Graph::build(vec!["node-a".to_owned()], &[]);
        let found = measure(&run);
        assert_eq!(found.len(), 1);
        assert!(found[0].method.starts_with("brief spike: 1 stretches"), "{:?}", found[0]);
        run.windows.baseline = None;
        assert!(measure(&run)[0].missing.is_some());
    }
}
