//! `impact_duration`: how long a change is felt by clients.
//!
//! ```text
//! action ──x──x x────x──────────────  x: failed request
//!          └ impact ─┘                first to last failure (variant `seconds`: seconds with one)
//! ```

use super::Measurement;
use super::requests::{self, Failure};
use crate::events::{Phase, Run};
use crate::math::Estimate;

/// The main row and `seconds`.
pub fn measure(run: &Run) -> Vec<Measurement> {
    let mut found = Vec::new();
    let clocks = requests::clocks(run);
    let Some(clock) = clocks.first() else {
        let what = "no requests of a client";
        return vec![Measurement::missing(run, "impact_duration", "s", what, requests::REMEDY)];
    };
    let Some(action) = run.window(Phase::Action, clock) else {
        let what = "no window for the action on the client's clock";
        let remedy = "Write markers (action_start, rollout_complete) and clock anchors between operator and client.";
        return vec![Measurement::missing(run, "impact_duration", "s", what, remedy)];
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
    found
}

fn cite<'a>(run: &Run, row: &mut Measurement, failures: impl Iterator<Item = &'a Failure>) {
    for failure in failures {
        let text = format!("{}: {}", failure.kind, failure.error.as_deref().unwrap_or("failed"));
        row.evidence.push(run.evidence(failure.source, failure.record, text));
    }
}
