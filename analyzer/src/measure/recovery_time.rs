//! `recovery_time`: from a failure to the state in which it is no longer felt.
//!
//! | variant | what |
//! |---|---|
//! | (none) | kill → last failed new connection ahead of 5 quiet seconds, as clients saw it; `action 2` … for later kills |
//! | `dataplane` | crashed container: not ready committed → out of the dataplane, plus ready again committed → in it |
//! | `whole` | not ready committed → in the dataplane again, the restart of the container included |
//! | `deleted` | forced delete: not ready committed → out of the dataplane |
//!
//! A container that the kubelet restarts keeps its pod's uid: the endpoint leaves and comes back, in two episodes.

use std::collections::BTreeMap;

use arcstr::ArcStr;
use syncline_schema::markers::MarkerRow;

use super::requests::{self, Failure};
use super::{Measurement, Missing};
use crate::clock::Evidence;
use crate::events::{Direction, Episode, Observed, Phase, Run};
use crate::math::{Estimate, arithmetic, quantile};

/// How long no request may fail before a failure counts as the last, ns.
pub(super) const QUIET: i64 = 5_000_000_000;

/// All variants.
pub fn measure(run: &Run) -> Vec<Measurement> {
    let clocks = requests::clocks(run);
    let mut found = match clocks.first() {
        Some(clock) => recoveries(run, clock, requests::last_sent(run, clock)),
        None => vec![Measurement::missing(run, "recovery_time", "s", "no requests of a client", requests::REMEDY)],
    };
    found.extend(by_episodes(run));
    found
}

/// From the dataplane's own evidence.
fn by_episodes(run: &Run) -> Vec<Measurement> {
    // Changes of one endpoint on one node, in order of time.
    let mut lives: BTreeMap<_, Vec<&Episode>> = BTreeMap::new();
    for episode in &run.episodes {
        let tested = run.service_under_test.as_ref().is_none_or(|s| *s == episode.endpoint.service);
        if tested && matches!(episode.phase, Some(Phase::Action | Phase::Tail)) {
            lives.entry((&episode.endpoint, &episode.node)).or_default().push(episode);
        }
    }
    let (mut dataplane, mut whole, mut deleted) = (Vec::new(), Vec::new(), Vec::new());
    let mut evidence: BTreeMap<&str, Vec<Evidence>> = BTreeMap::new();
    for life in lives.values_mut() {
        life.sort_by_key(|e| (e.committed.high.or(e.committed.low), e.number, e.direction));
        for (at, out) in life.iter().enumerate().filter(|(_, e)| e.direction == Direction::Removed) {
            let Some(left) = out.dataplane.as_ref().map(|d| between(run, &out.committed, d)) else { continue };
            let back = life[at + 1..].iter().find(|e| e.direction == Direction::Added);
            match back {
                Some(back) => {
                    let Some(seen) = back.dataplane.as_ref() else { continue };
                    dataplane.push(arithmetic::sum(left, between(run, &back.committed, seen)));
                    whole.push(between(run, &out.committed, seen));
                    for key in ["dataplane", "whole"] {
                        evidence.entry(key).or_default().extend(cited(out).chain(cited(back)));
                    }
                }
                None => {
                    deleted.push(left);
                    evidence.entry("deleted").or_default().extend(cited(out));
                }
            }
        }
    }
    [("dataplane", dataplane), ("whole", whole), ("deleted", deleted)]
        .into_iter()
        .map(|(variant, values)| {
            let mut row = Measurement::new(run, "recovery_time", "s");
            row.variant = variant.into();
            row.window = "action and tail".into();
            row.n = values.len() as u64;
            row.statistic = "max".into();
            if values.is_empty() {
                row.missing = Some(Missing {
                    what: match variant {
                        "deleted" => "no endpoint left the dataplane for good".into(),
                        _ => "no endpoint left the dataplane and came back with the same pod".into(),
                    },
                    remedy: "Kill a container (`ctr tasks kill -s SIGKILL`) with watches of EndpointSlices and snapshots of the dataplane running.".into(),
                });
                return row;
            }
            row.estimate = quantile::envelope(&values, 1.0);
            row.quantiles = quantile::envelope_all(&values);
            row.method = "commits of readiness (audit, watch) against the dataplane's own evidence, by episodes of an endpoint".into();
            row.evidence = evidence.remove(variant).unwrap_or_default().into_iter().take(6).collect();
            row
        })
        .collect()
}

fn cited(episode: &Episode) -> impl Iterator<Item = Evidence> {
    let seen = episode.dataplane.iter().flat_map(|d| d.evidence.iter().take(1).cloned());
    episode.committed.evidence.iter().take(1).cloned().chain(seen)
}

/// Seconds from one moment to another, over their clocks; open where either is, or where the clocks are unrelated.
fn between(run: &Run, from: &Observed, to: &Observed) -> Estimate {
    let Some(offset) = run.clocks.offset(&from.clock, &to.clock) else { return Estimate::default() };
    let low = to.low.zip(from.high).map(|(to, from)| (to - from - offset.high) as f64 / 1e9);
    let high = to.high.zip(from.low.or(from.high)).map(|(to, from)| (to - from - offset.low) as f64 / 1e9);
    let value = match (low, high) {
        (Some(low), Some(high)) => Some(low / 2.0 + high / 2.0),
        // Never seen: no value, only the lower bound.
        _ => None,
    };
    Estimate { value, low, high: if from.low.is_some() { high } else { None } }
}

/// Recovery after each action: from the moment of the kill (between `actionN_start` and `actionN_returned`).
fn recoveries(run: &Run, clock: &str, last_sent: Option<i64>) -> Vec<Measurement> {
    let mut kills: Vec<(i64, i64, MarkerRow<'static>)> = Vec::new();
    let mut markers = run.bundle.rows_or_note::<MarkerRow<'static>>(None);
    markers.sort_by_key(|m| (m.time, m.record));
    for marker in &markers {
        let Some(number) = marker.label.strip_prefix("action").and_then(|rest| rest.strip_suffix("_start")) else {
            continue;
        };
        let Some(offset) = run.clocks.offset(&marker.clock, clock) else { continue };
        let returned = markers.iter().find(|m| m.label == format!("action{number}_returned") && m.time >= marker.time);
        let latest = returned.map_or(marker.time + marker.resolution, |m| m.time + m.resolution);
        kills.push((marker.time + offset.low, latest + offset.high, marker.clone()));
    }
    if kills.is_empty()
        && let Some(action) = run.window(Phase::Action, clock)
    {
        kills.push((action.start - action.slack, action.start + action.slack, MarkerRow::default()));
    }
    let mut found = Vec::new();
    for (at, (low, high, marker)) in kills.iter().enumerate() {
        let until = kills.get(at + 1).map_or(i64::MAX, |next| next.0);
        let mut row = Measurement::new(run, "recovery_time", "s");
        row.variant = if at == 0 { ArcStr::new() } else { format!("action {}", at + 1).into() };
        row.window = marker.command.as_deref().unwrap_or("from the action on").into();
        row.statistic = "kill to the last failure ahead of 5 quiet seconds".into();
        row.method =
            "failed new connections of the client; the kill lies between the action's start and its return".into();
        let failures = requests::failures(run, clock, *low, until);
        let mut last: Option<&Failure> = None;
        for failure in failures.iter().filter(|f| f.kind == "new") {
            if failure.time - last.map_or(*low, |l| l.time) > QUIET {
                break;
            }
            last = Some(failure);
            row.n += 1;
        }
        row.details.insert("failures".into(), row.n as f64);
        let seen_to = last_sent.unwrap_or(*low).min(until);
        let quiet = seen_to - last.map_or(*low, |l| l.time);
        if quiet < QUIET {
            row.notes.push(
                "The requests end (or the next action begins) before 5 quiet seconds: recovery may have taken longer."
                    .into(),
            );
        }
        match last {
            Some(failure) => {
                let end = failure.time + failure.latency.unwrap_or(0).max(0);
                row.estimate = Estimate {
                    value: Some((failure.time - low) as f64 / 1e9),
                    low: Some(((failure.time - high) as f64 / 1e9).max(0.0)),
                    high: (quiet >= QUIET).then(|| (end - low) as f64 / 1e9),
                };
                row.evidence.push(run.evidence(
                    failure.source,
                    failure.record,
                    failure.error.as_deref().unwrap_or("failed"),
                ));
            }
            None if seen_to > *high => {
                row.estimate = Estimate { value: Some(0.0), low: Some(0.0), high: (quiet >= QUIET).then_some(0.0) };
                row.notes.push("No new connection failed.".into());
            }
            None => {
                row.missing =
                    Some(Missing { what: "no requests after the action".into(), remedy: requests::REMEDY.into() });
            }
        }
        if !marker.label.is_empty() {
            row.evidence.push(run.evidence(marker.source, marker.record, marker.label.as_ref()));
        }
        found.push(row);
    }
    if found.is_empty() {
        found.push(Measurement::missing(
            run,
            "recovery_time",
            "s",
            "nothing says when the action began",
            "Write markers: action_start, action_returned.",
        ));
    }
    found
}
