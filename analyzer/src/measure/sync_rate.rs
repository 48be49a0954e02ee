//! `sync_rate`: how often the dataplane is programmed: kube-proxy's syncs, Cilium's load-balancer reconciler operations.

use super::cilium_updates::RECONCILER;
use super::readings;
use super::sync_census::{self, Census, Sync};
use super::{Measurement, Missing};
use crate::events::{Phase, Run};
use crate::math::Estimate;

/// The main row is the action; variants `baseline`, `tail`.
pub fn measure(run: &Run) -> Vec<Measurement> {
    let phases = [(Phase::Action, ""), (Phase::Baseline, "baseline"), (Phase::Tail, "tail")];
    if run.is_kube_proxy() {
        let census = sync_census::take(run);
        return phases.into_iter().flat_map(|(phase, variant)| of_proxies(run, &census, phase, variant)).collect();
    }
    let operations = readings::series(run, "cilium_reconciler_duration_seconds_count", |c| {
        c.label("module_id").ends_with(RECONCILER)
    });
    phases
        .into_iter()
        .map(|(phase, variant)| {
            let mut row = start(run, phase, variant);
            let window = operations.first().and_then(|s| run.window(phase, &s.clock));
            match (window, readings::events_in_phase(run, &operations, phase)) {
                (Some(window), Some(count)) => {
                    rate(&mut row, count, window.seconds(), window.slack);
                    row.method = format!(
                        "Δ cilium_reconciler_duration_seconds_count of the load-balancer reconciler / length of the window (witness: {})",
                        operations[0].witness
                    ).into();
                    row.evidence = operations.iter().filter_map(|s| Some(s.readings.last()?.evidence(run, &s.name))).collect();
                }
                _ => {
                    row.missing = Some(Missing {
                        what: "no series cilium_reconciler_duration_seconds_count of the load-balancer reconciler".into(),
                        remedy: "Scrape cilium-agent's /metrics every second (Cilium 1.18 or later).".into(),
                    });
                }
            }
            row
        })
        .collect()
}

/// A row for each proxy, the highest ahead.
fn of_proxies(run: &Run, census: &Census, phase: Phase, variant: &str) -> Vec<Measurement> {
    let syncs = census.within(run, phase);
    let of = |proxy: &str| {
        let mut row = start(run, phase, variant);
        let own: Vec<&&Sync> = syncs.iter().filter(|s| s.proxy == proxy).collect();
        let known: Vec<&Sync> = census.syncs.iter().filter(|s| s.proxy == proxy).collect();
        // Before the first sync no line tells the log's clock: the sources of the log do.
        let clock = known.first().map_or(run.windows.clock.clone(), |s| s.clock.clone());
        let dated = known.is_empty() || known.iter().any(|s| s.end.is_some());
        match run.window(phase, &clock) {
            Some(window) if !census.witness.is_empty() && dated => {
                rate(&mut row, own.len() as f64, window.seconds(), window.slack);
                row.method =
                    format!("syncs that ended in the window / its length (witness: {})", census.witness).into();
                row.evidence = own.iter().take(1).chain(own.last()).map(|s| s.evidence.clone()).collect();
                row.upper_bound_only = census.mixed.iter().any(|mixed| mixed == proxy);
            }
            _ => {
                let (what, remedy) = sync_census::unplaced(run, &known, phase).unwrap_or_else(|| {
                    ("no sync of kube-proxy, or no window, was captured".into(), sync_census::REMEDY.into())
                });
                row.missing = Some(Missing { what, remedy });
            }
        }
        row
    };
    sync_census::worst(census.proxies().into_iter().map(|proxy| (proxy, of(proxy))).collect())
}

fn start(run: &Run, phase: Phase, variant: &str) -> Measurement {
    let mut row = Measurement::new(run, "sync_rate", "1/s");
    row.variant = variant.into();
    row.window = super::proxy_cpu::word(phase).into();
    row.statistic = "mean".into();
    row
}

/// A count may be off by one at each edge of the window.
fn rate(row: &mut Measurement, count: f64, seconds: f64, slack: i64) {
    let seconds = seconds.max(1e-9);
    let slack = 2.0 * slack as f64 / 1e9;
    row.n = count as u64;
    row.estimate = Estimate {
        value: Some(count / seconds),
        low: Some((count - 1.0).max(0.0) / (seconds + slack)),
        high: (seconds > slack).then(|| (count + 1.0) / (seconds - slack)),
    };
    row.details.insert("count".into(), count);
    row.details.insert("seconds".into(), seconds);
}
