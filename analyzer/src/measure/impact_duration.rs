//! `impact_duration` and `recovery_time`: how long a change is felt by clients.
//!
//! ```text
//! action ──x──x x────x──────────────5 s quiet─────────  x: failed request
//!          └ impact ─┘                                   first to last failure (variant `seconds`: seconds with one)
//! └──── recovery ────┘                                   kill to the last failure ahead of 5 quiet seconds
//! ```

use syncline_schema::markers::MarkerRow;

use super::requests::{self, Failure};
use super::{Measurement, Missing};
use crate::events::{Phase, Run};
use crate::math::Estimate;

/// How long no request may fail before a failure counts as the last, ns.
const QUIET: i64 = 5_000_000_000;

/// `impact_duration` (main and `seconds`), `recovery_time` (main, and `second action` where there was one).
pub fn measure(run: &Run) -> Vec<Measurement> {
    let mut found = Vec::new();
    let clocks = requests::clocks(run);
    let Some(clock) = clocks.first() else {
        let what = "no requests of a client";
        return ["impact_duration", "recovery_time"]
            .iter()
            .map(|name| Measurement::missing(run, name, "s", what, requests::REMEDY))
            .collect();
    };
    let (Some(action), last) = (run.window(Phase::Action, clock), requests::last_sent(run, clock)) else {
        let what = "no window for the action on the client's clock";
        let remedy = "Write markers (action_start, rollout_complete) and clock anchors between operator and client.";
        return ["impact_duration", "recovery_time"]
            .iter()
            .map(|name| Measurement::missing(run, name, "s", what, remedy))
            .collect();
    };
    let end = run.window(Phase::Tail, clock).map_or(action.end, |w| w.end.max(action.end));
    let failures = requests::failures(run, clock, action.start, end);
    let fresh: Vec<&Failure> = failures.iter().filter(|f| f.kind == "new").collect();
    let attempts = requests::tally(run, Phase::Action, "new").map_or(0, |t| t.attempts);

    let mut row = Measurement::new(run, "impact_duration", "s");
    row.window = "action and tail".into();
    row.statistic = "first to last failed request".into();
    row.method = "times at which the client sent the first and the last failed request; the upper bound holds the last one's own duration".into();
    row.n = attempts;
    row.estimate = match (failures.first(), failures.last()) {
        (Some(first), Some(last)) => {
            let value = (last.time - first.time) as f64 / 1e9;
            Estimate::between(value, value, value + last.latency.unwrap_or(0).max(0) as f64 / 1e9)
        }
        _ => Estimate::exact(0.0),
    };
    row.details.insert("failures".into(), failures.len() as f64);
    row.details.insert("failures_new".into(), fresh.len() as f64);
    row.details.insert("rollout_seconds".into(), action.seconds());
    cite(run, &mut row, failures.iter().take(1).chain(failures.last()));
    let mut seconds = row.clone();
    found.push(row);

    let mut distinct: Vec<i64> = fresh.iter().map(|f| (f.time - action.start) / 1_000_000_000).collect();
    distinct.dedup();
    seconds.variant = "seconds".into();
    seconds.statistic = "seconds with a failed new connection".into();
    seconds.method = "whole seconds since the action began in which a new connection failed".into();
    seconds.estimate = Estimate::exact(distinct.len() as f64);
    seconds.evidence.clear();
    cite(run, &mut seconds, fresh.iter().copied().take(1).chain(fresh.last().copied()));
    found.push(seconds);

    found.extend(recoveries(run, clock, last));
    found
}

/// Recovery after each action: from the moment of the kill (between `actionN_start` and `actionN_returned`).
fn recoveries(run: &Run, clock: &str, last_sent: Option<i64>) -> Vec<Measurement> {
    let mut kills: Vec<(i64, i64, MarkerRow<'static>)> = Vec::new();
    let mut markers = run.bundle.rows::<MarkerRow<'static>>(None).unwrap_or_default();
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
        row.variant = if at == 0 { String::new() } else { format!("action {}", at + 1) };
        row.window = marker.command.as_deref().unwrap_or("from the action on").to_owned();
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

fn cite<'a>(run: &Run, row: &mut Measurement, failures: impl Iterator<Item = &'a Failure>) {
    for failure in failures {
        let text = format!("{}: {}", failure.kind, failure.error.as_deref().unwrap_or("failed"));
        row.evidence.push(run.evidence(failure.source, failure.record, text));
    }
}
