//! `restore_failures` and `programming_observations`: what kube-proxy's own counters say of errors and of endpoints programmed.

use std::collections::BTreeSet;

use polars::prelude::{col, lit};
use syncline_schema::syncs::SyncRow;

use super::could_have_shown;
use super::readings;
use super::{Measurement, Missing};
use crate::clock::Evidence;
use crate::events::{Phase, Run, proxies};
use crate::math::Estimate;

/// Counters of failed restores and syncs, of all modes.
const FAILURES: [&str; 3] = [
    "kubeproxy_sync_proxy_rules_iptables_restore_failures_total",
    "kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total",
    "kubeproxy_sync_proxy_rules_nftables_sync_failures_total",
];

/// Whether a series counts failed restores or syncs.
pub(super) fn is_failure(name: &str) -> bool {
    FAILURES.contains(&name)
}

const SCRAPE: &str = "Scrape kube-proxy's /metrics (:10249) every second over the whole run.";

/// Both names.
pub fn measure(run: &Run) -> Vec<Measurement> {
    if !run.is_kube_proxy() {
        let what = "the counters are kube-proxy's";
        return [("restore_failures", "1"), ("programming_observations", "ratio")]
            .iter()
            .map(|(name, unit)| Measurement::missing(run, name, unit, what, "Nothing: the claim is about kube-proxy."))
            .collect();
    }
    vec![failures(run), observations(run)]
}

fn failures(run: &Run) -> Measurement {
    let mut row = Measurement::new(run, "restore_failures", "1");
    row.window = "action".into();
    row.statistic = "total".into();
    let mut sum = None;
    for name in FAILURES {
        let found = readings::series(run, name, |_| true);
        if let Some(count) = readings::events_in_phase(run, &found, Phase::Action) {
            sum = Some(sum.unwrap_or(0.0) + count);
            row.details.insert(name.into(), count);
            row.evidence.extend(found.iter().filter_map(|s| Some(s.readings.last()?.evidence(run, name))));
        }
    }
    let mut missing = None;
    if sum.is_none() {
        match could_have_shown::counted(run, &could_have_shown::KUBE_PROXY, Phase::Action) {
            Ok(evidence) => {
                sum = Some(0.0);
                row.notes.push(
                    "No failure counter stands on a whole page of kube-proxy's metrics: none has ever been raised."
                        .into(),
                );
                row.evidence.extend(evidence);
            }
            Err(why) => missing = Some(why),
        }
    }
    let logged = logged(run);
    if let Some(logged) = &logged {
        row.details.insert("failed syncs in the log".into(), logged.count as f64);
        row.evidence.extend(logged.evidence.iter().cloned());
        if logged.undated > 0 {
            row.notes.push(format!(
                "{} of them have no date (no year, no zone): all of the log is counted.",
                logged.undated
            ));
        }
    }
    // A failure that a line tells is one, whatever a counter says; that no line tells of any counts only where the log
    // covers the window.
    let told = logged.filter(|one| one.count > 0 || one.covers);
    if let Some(told) = &told
        && sum.is_none_or(|sum| told.count as f64 > sum)
    {
        row.n = 1;
        row.estimate = Estimate::exact(told.count as f64);
        row.method = format!("failed syncs that kube-proxy's log tells of ({})", told.window).into();
        row.window = told.window.into();
        return row;
    }
    match sum {
        Some(sum) => {
            row.n = 1;
            row.estimate = Estimate::exact(sum);
            row.method = "Δ of kube-proxy's counters of failed restores (iptables) and failed syncs (nftables)".into();
        }
        None => row.missing = missing,
    }
    row
}

/// Failed syncs of the action (without one of the whole capture), by the logs.
struct Logged {
    count: usize,
    undated: usize,
    /// Whether the logs tell of the whole window, so that no line means no failure.
    covers: bool,
    window: &'static str,
    evidence: Vec<Evidence>,
}

/// Null where no log tells of any sync.
fn logged(run: &Run) -> Option<Logged> {
    let moments = col("moment").eq(lit("failed")).or(col("moment").eq(lit("complete")));
    let made = proxies::of(run.bundle.rows_or_note::<SyncRow<'static>>(Some(moments)), &|at| run.path(at).to_owned());
    let (_, any) = made.syncs.first()?;
    let action = run.window(Phase::Action, &any.clock);
    let is_of = |row: &SyncRow<'_>| match row.time.zip(run.window(Phase::Action, &row.clock)) {
        Some((time, window)) => window.contains(time),
        None => run.windows.action.is_none() || row.time.is_none(),
    };
    let failed: Vec<&SyncRow<'_>> =
        made.syncs.iter().map(|(_, row)| row).filter(|row| row.moment == "failed" && is_of(row)).collect();
    let sources: BTreeSet<i32> = made.syncs.iter().map(|(_, row)| row.source).collect();
    let covers = action.as_ref().is_some_and(|action| {
        let span =
            |at: &i32| run.bundle.manifest.sources.get(usize::try_from(*at).ok()?).map(|one| (one.first, one.last));
        let inside = |(first, last): (Option<i64>, Option<i64>)| {
            first.is_some_and(|first| first <= action.start) && last.is_some_and(|last| last + 1 >= action.end)
        };
        sources.iter().filter_map(span).all(inside)
    });
    let what = |row: &SyncRow<'_>| run.evidence(row.source, row.record, "a sync failed");
    Some(Logged {
        count: failed.len(),
        undated: failed.iter().filter(|row| row.time.is_none()).count(),
        covers,
        window: if run.windows.action.is_some() { "action" } else { "whole capture" },
        evidence: failed.iter().take(5).map(|row| what(row)).collect(),
    })
}

/// Observations of network programming latency in the action over the endpoints that became ready in it.
fn observations(run: &Run) -> Measurement {
    let mut row = Measurement::new(run, "programming_observations", "ratio");
    row.window = "action".into();
    row.statistic = "observations / readiness changes".into();
    let counters = readings::series(run, "kubeproxy_network_programming_duration_seconds_count", |_| true);
    let changes: BTreeSet<_> = run
        .episodes
        .iter()
        .filter(|e| e.phase == Some(Phase::Action))
        .map(|e| (&e.endpoint, e.direction, e.number))
        .collect();
    match readings::events_in_phase(run, &counters, Phase::Action) {
        Some(count) if !changes.is_empty() => {
            row.n = changes.len() as u64;
            row.estimate = Estimate::exact(count / changes.len() as f64);
            row.details.insert("observations".into(), count);
            row.details.insert("readiness_changes".into(), changes.len() as f64);
            row.method =
                format!("Δ kubeproxy_network_programming_duration_seconds_count (witness: {})", counters[0].witness)
                    .into();
            row.evidence = counters.iter().filter_map(|s| Some(s.readings.last()?.evidence(run, &s.name))).collect();
        }
        Some(_) => {
            row.missing = Some(Missing {
                what: "no endpoint changed in the action".into(),
                remedy: "Capture watches or audit events of EndpointSlices.".into(),
            });
        }
        None => {
            row.missing = Some(Missing {
                what: "no series kubeproxy_network_programming_duration_seconds_count".into(),
                remedy: SCRAPE.into(),
            })
        }
    }
    row
}
