//! `impact_duration`: how long a change is felt by clients.
//!
//! ```text
//! baseline ····x·····   action ──x──x x────x──────── tail ······x·  ·    x: failed request
//!          the rate of each kind   └ impact ─┘   5 quiet seconds └ background, as in the baseline
//! ```
//!
//! A failure belongs to the action only beyond the background:
//!
//! 1. behind the action's end it belongs only if it follows the failure before it within 5 s;
//! 2. a kind (refused, time-out …) whose number the baseline's rate explains does not belong at all;
//! 3. of a kind that is beyond the baseline's rate, but occurs there too, as many as that rate may have given are taken
//!    off the ends for the lower bound.
//!
//! First to last failure is the main row; variant `seconds`: seconds with a failed new connection.

use std::collections::{BTreeMap, BTreeSet};

use super::Measurement;
use super::background::{Background, kind};
use super::recovery_time::QUIET;
use super::requests::{self, Failure};
use crate::events::{Phase, Run};
use crate::math::Estimate;

/// The main row and `seconds`.
pub fn measure(run: &Run) -> Vec<Measurement> {
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
    let all = requests::failures(run, clock, action.start, end);
    let background = Background::of(run, clock);
    let told = belonging(&all, action.end, action.seconds(), background.as_ref());
    let attempts = requests::tally(run, Phase::Action, "new").map_or(0, |t| t.attempts);

    let mut row = Measurement::new(run, "impact_duration", "s");
    row.window = "action and tail".into();
    row.statistic = "first to last failed request".into();
    row.method = "times at which the client sent the first and the last failed request that is beyond the baseline's background; the upper bound ends with the one that was answered last".into();
    row.n = attempts;
    row.details.insert("failures".into(), told.own.len() as f64);
    row.details.insert("failures_of_the_background".into(), (all.len() - told.own.len()) as f64);
    row.details.insert("rollout_seconds".into(), action.seconds());
    row.notes.push(format!("The action itself (the rollout, to its last endpoint) lasted {:.1} s.", action.seconds()));
    row.notes.extend(told.notes);
    if background.is_none() {
        row.notes.push("The client sent nothing in the baseline: what fails by itself is not known, so that the figure has no lower bound.".into());
    }
    let kinds: Vec<&'static str> = told.own.iter().map(|one| kind(one)).collect::<BTreeSet<_>>().into_iter().collect();
    let expected = background.as_ref().map(|one| one.expected(&kinds, action.seconds()));
    let mut seconds = row.clone();

    row.estimate = span(&told.own, expected.map(|one| one.high));
    cite(run, &mut row, told.own.first().into_iter().chain(told.own.last()).copied());
    looked(run, &mut row);
    found_in(&mut row, &told.own);

    let fresh: Vec<&Failure> = told.own.iter().copied().filter(|f| f.kind == "new").collect();
    let mut distinct: Vec<i64> = fresh.iter().map(|f| (f.time - action.start) / 1_000_000_000).collect();
    distinct.dedup();
    let count = distinct.len() as f64;
    seconds.variant = "seconds".into();
    seconds.statistic = "seconds with a failed new connection".into();
    seconds.method =
        "whole seconds since the action began in which a new connection failed beyond the baseline's background".into();
    seconds.estimate = match expected {
        Some(expected) => Estimate::between((count - expected.high).max(0.0), (count - expected.value).max(0.0), count),
        None => Estimate { value: Some(count), low: None, high: Some(count) },
    };
    cite(run, &mut seconds, fresh.first().into_iter().chain(fresh.last()).copied());
    looked(run, &mut seconds);
    found_in(&mut seconds, &fresh);
    vec![row, seconds]
}

/// The failures that belong to the action, and what is to be said of the others.
struct Told<'a> {
    own: Vec<&'a Failure>,
    notes: Vec<String>,
}

fn belonging<'a>(all: &'a [Failure], end: i64, seconds: f64, background: Option<&Background>) -> Told<'a> {
    let mut near: Vec<&Failure> = Vec::new();
    let mut later: Vec<&Failure> = Vec::new();
    for failure in all {
        let before = near.last().map_or(end, |last| last.time);
        if failure.time < end || (later.is_empty() && failure.time - before < QUIET) {
            near.push(failure);
        } else {
            later.push(failure);
        }
    }
    let mut notes = Vec::new();
    if !later.is_empty() {
        notes.push(format!(
            "Not counted: {} behind the action's end and 5 s or more behind the failure before. Nothing ties them to the action.",
            words(&later)
        ));
    }
    let mut own = near.clone();
    if let Some(background) = background {
        let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
        for failure in &near {
            *seen.entry(kind(failure)).or_default() += 1;
        }
        own.retain(|one| background.exceeded(kind(one), seen.get(kind(one)).copied().unwrap_or(0), seconds));
        let usual: Vec<&Failure> = near
            .iter()
            .copied()
            .filter(|one| !background.exceeded(kind(one), seen.get(kind(one)).copied().unwrap_or(0), seconds))
            .collect();
        if !usual.is_empty() {
            notes.push(format!(
                "Not counted: {} in the action, no more than the baseline's rate explains ({}).",
                words(&usual),
                background.words()
            ));
        }
    }
    Told { own, notes }
}

/// `8 failures (8 time-out)`.
fn words(failures: &[&Failure]) -> String {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for failure in failures {
        *kinds.entry(kind(failure)).or_default() += 1;
    }
    let each: Vec<String> = kinds.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
    let word = if failures.len() == 1 { "failure" } else { "failures" };
    format!("{} {word} ({})", failures.len(), each.join(", "))
}

/// First to last; `usual`: how many of them the background may have given, taken off the ends for the lower bound. `None`: not
/// known, so that there is no lower bound.
fn span(own: &[&Failure], usual: Option<f64>) -> Estimate {
    let (Some(first), Some(last)) = (own.first(), own.last()) else {
        return Estimate::exact(0.0);
    };
    let between = |a: &Failure, b: &Failure| (b.time - a.time) as f64 / 1e9;
    let low = usual.map(|usual| {
        let off = usual.ceil().max(0.0) as usize;
        let kept = own.len().saturating_sub(off);
        if kept < 2 {
            0.0
        } else {
            own.windows(kept).map(|few| between(few[0], few[kept - 1])).fold(f64::INFINITY, f64::min)
        }
    });
    let value = between(first, last);
    let ended = own.iter().map(|one| one.time + one.latency.unwrap_or(0).max(0)).max().unwrap_or(last.time);
    Estimate { value: Some(value), low, high: Some((ended - first.time) as f64 / 1e9) }
}

/// Numbers beside the figure.
fn found_in(row: &mut Measurement, own: &[&Failure]) {
    row.details.insert("failures_new".into(), own.iter().filter(|f| f.kind == "new").count() as f64);
    for failure in own {
        *row.details.entry(format!("failures: {}", kind(failure))).or_default() += 1.0;
    }
}

/// All attempts of the action and the tail: that none failed is shown by them.
fn looked(run: &Run, row: &mut Measurement) {
    let figure = format!("min(time) FILTER (WHERE {0}), max(time) FILTER (WHERE {0})", requests::FAILED_SQL);
    for phase in [Phase::Action, Phase::Tail] {
        row.evidence.extend(requests::cite(run, phase, "new", &figure));
    }
}

fn cite<'a>(run: &Run, row: &mut Measurement, failures: impl Iterator<Item = &'a Failure>) {
    for failure in failures {
        let text = format!("{}: {}", failure.kind, failure.error.as_deref().unwrap_or("failed"));
        row.evidence.push(run.evidence(failure.source, failure.record, text));
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{self, SECOND};
    use super::*;
    use crate::events::{Window, Windows};

    /// A client that asks once a second over 30 s of baseline, 30 s of action and 40 s of tail, and fails at these seconds.
    fn measured(failed: &[(i64, &'static str)]) -> Vec<Measurement> {
        let folder = tempfile::tempdir().unwrap();
        let mut run = fixture::run(folder.path(), "kube-proxy-iptables", |tables| {
            for at in 0..100 {
                let error = failed.iter().find(|(second, _)| *second == at).map(|(_, error)| (*error).into());
                let status = if error.is_some() { None } else { Some(200) };
                let row = Failure {
                    record: at + 1,
                    clock: "node-a".into(),
                    time: at * SECOND,
                    kind: "new".into(),
                    latency: Some(1_000_000),
                    status,
                    error,
                    ..Failure::default()
                };
                tables.push(&row).unwrap();
            }
        });
        let window = |start: i64, end: i64| Some(Window { start: start * SECOND, end: end * SECOND, slack: 0 });
        run.windows = Windows {
            clock: "node-a".into(),
            baseline: window(0, 30),
            action: window(30, 60),
            tail: window(60, 100),
            ..Windows::default()
        };
        measure(&run)
    }

    const REFUSED: &str = "connection refused";
    const TIMEOUT: &str = "i/o timeout";

    #[test]
    fn what_fails_long_after_the_rollout_is_background() {
        let rows = measured(&[
            (32, REFUSED),
            (50, REFUSED),
            (58, TIMEOUT),
            (61, TIMEOUT),
            (70, TIMEOUT),
            (71, TIMEOUT),
            (90, TIMEOUT),
        ]);
        assert_eq!(rows[0].estimate.value, Some(29.0), "32 to 61: {:#?}", rows[0]);
        assert_eq!(rows[1].estimate, Estimate::exact(4.0));
        let said = rows[0].notes.join(" ");
        assert!(
            said.contains("lasted 30.0 s") && said.contains("3 failures (3 time-out) behind the action's end"),
            "{said}"
        );
    }

    #[test]
    fn a_kind_that_the_baseline_shows_as_often_does_not_belong() {
        let usual = [(2, TIMEOUT), (9, TIMEOUT), (20, TIMEOUT), (31, TIMEOUT), (45, TIMEOUT), (59, TIMEOUT)];
        let rows = measured(&usual);
        assert_eq!(rows[0].estimate, Estimate::exact(0.0), "{:#?}", rows[0]);
        let mut with_refusals = usual.to_vec();
        with_refusals.extend([(40, REFUSED), (44, REFUSED)]);
        let rows = measured(&with_refusals);
        assert_eq!(rows[0].estimate.value, Some(4.0), "the refusals alone: {:#?}", rows[0]);
        assert!(
            rows[0].notes.iter().any(|note| note.contains("3 failures (3 time-out) in the action")),
            "{:?}",
            rows[0].notes
        );
    }

    #[test]
    fn what_the_background_may_have_given_is_taken_off_the_lower_bound() {
        let mut failed = vec![(5, TIMEOUT)];
        failed.extend((31..59).map(|at| (at, TIMEOUT)));
        let rows = measured(&failed);
        let estimate = rows[0].estimate;
        assert_eq!(estimate.value, Some(27.0));
        // One in 30 s: up to 5.6 in the action, so six of the 28 may be background.
        assert_eq!(estimate.low, Some(21.0), "{estimate:?}");
        assert!(rows[1].estimate.value.is_some_and(|value| (value - 27.0).abs() < 1e-9), "{:?}", rows[1].estimate);
    }

    #[test]
    fn no_failure_is_shown_by_all_that_was_asked() {
        let rows = measured(&[]);
        assert_eq!(rows[0].estimate, Estimate::exact(0.0));
        assert!(
            rows.iter().all(|row| row
                .evidence
                .iter()
                .any(|one| one.record > 0 && one.last.is_some() && !one.query.is_empty()))
        );
    }
}
