//! `convergence_time`: from the command to the stable dataplane, the document's own procedure ("time until iptables
//! stabilize"); the pods' start is in it.
//!
//! 1. Where the API's commits are known: first request → last endpoint in the dataplane.
//! 2. Else from looks at the dataplane alone: the command → the first look from which the endpoints of the Service that
//!    changed stay as they are, to the next action or the end of the looks.
//!
//! ```text
//! command ├                                       5 s and more without a change
//! look              ·        ·        ·        ·  ──────────────────────────────────┤ last look
//! endpoints         1        1        4        7
//!                                     └ low ─ shown ─ high: the next look's stamp
//! ```
//!
//! A look shows the state at some time between its stamp and the next one. The single figure is the middle between the last look
//! with the state before and the one that shows the stable state, since a look takes less than the pause between two. Less
//! than 5 s of looks behind it prove no stability: then only the lower end is known.

use super::propagation::{QUIET, SNAPSHOTS, absent, additions, blank, convert, single};
use super::{Measurement, Missing};
use crate::events::run::{Step, Watched};
use crate::events::{Observed, Phase, Run};
use crate::math::Estimate;

const NAME: &str = "convergence_time";
/// Where nothing relates the command's clock to that of the looks.
const ONE_CLOCK: &str = "if both are of one clock";

/// The figure; where clocks are not related also what it were if they are one.
pub fn measure(run: &Run) -> Vec<Measurement> {
    let from_commits = match additions(run) {
        Ok((episodes, committed, seen)) => match request(run, &committed.clock) {
            Some(request) => {
                let method = "first request → last endpoint in the dataplane; contains the pods' start";
                return vec![single(run, NAME, &request, &seen, episodes.len(), method)];
            }
            None => lacking(
                "no request that began the action was found",
                "write markers (date +%s.%N around the command), or keep the audit log",
            ),
        },
        Err(missing) => missing,
    };
    // Commits that are known, but not to the end, are no reason to leave the looks aside.
    let clock = run.windows.clock.clone();
    let offset = |one: &Observed| convert(run, one, &clock);
    match from_looks(run, &offset) {
        Ok(row) => vec![row],
        Err(Refused::Unrelated(other)) => {
            let missing = run.clocks.missing(&clock, &other);
            let mut found = vec![absent(run, NAME, missing.clone(), missing)];
            if let Ok(mut row) = from_looks(run, &|one| Some(one.clone())) {
                row.variant = ONE_CLOCK.into();
                row.notes.insert(0, format!("Nothing relates the clocks {clock} and {other}: this is the figure if they are one machine's, and nothing may rest on it before same_host states so."));
                found.push(row);
            }
            found
        }
        Err(Refused::Nothing(missing)) => {
            let seen = run.episodes.is_empty() || !run.moves.streams.is_empty();
            let missing = if seen && run.windows.action.is_some() { missing } else { from_commits };
            vec![Measurement { missing: Some(missing), ..blank(run, NAME, "value") }]
        }
    }
}

fn lacking(what: &str, remedy: &str) -> Missing {
    Missing { what: what.to_owned(), remedy: remedy.to_owned() }
}

/// When the action began, on a clock.
fn request(run: &Run, clock: &str) -> Option<Observed> {
    let action = run.window(Phase::Action, clock)?;
    Some(Observed {
        low: Some(action.start - action.slack),
        high: Some(action.start + action.slack),
        clock: clock.to_owned(),
        witness: run.windows.from.clone(),
        evidence: run.windows.evidence.clone(),
    })
}

enum Refused {
    /// The clock of the looks.
    Unrelated(String),
    Nothing(Missing),
}

/// The last change of one stream that belongs to the action, on the windows' clock.
struct Last<'a> {
    low: i64,
    shown: i64,
    /// Null where no look followed.
    high: Option<i64>,
    step: &'a Step,
    /// Up to when this stream went on looking.
    until: i64,
    /// Endpoints that came and went in the action.
    changed: usize,
}

/// A moment of a stream on the windows' clock.
type OnClock<'a> = dyn Fn(&Observed) -> Option<Observed> + 'a;

fn from_looks(run: &Run, on_clock: &OnClock<'_>) -> Result<Measurement, Refused> {
    let nothing = |what: &str| Refused::Nothing(lacking(what, SNAPSHOTS));
    let command = request(run, &run.windows.clock).ok_or_else(|| {
        Refused::Nothing(lacking(
            "no action: neither markers nor a transcript nor an audit log tell of one",
            "date +%s.%N; kubectl scale …; date +%s.%N",
        ))
    })?;
    let (Some(earliest), Some(latest)) = (command.low, command.high) else { return Err(nothing("no action")) };
    if run.moves.streams.is_empty() {
        return Err(nothing("no look at the dataplane shows the endpoints of a Service"));
    }
    let mut lasts = Vec::new();
    let mut unrelated = None;
    for stream in &run.moves.streams {
        match last_of(stream, earliest, run.windows.next, on_clock) {
            Some(found) => lasts.extend(found),
            None => unrelated = Some(stream.last.clock.clone()),
        }
    }
    let Some(latest_step) = lasts.iter().max_by_key(|one| (one.low, std::cmp::Reverse(one.shown))) else {
        return Err(match unrelated {
            Some(clock) => Refused::Unrelated(clock),
            None => nothing("no endpoint of a Service changed in the dataplane between the command and the next one"),
        });
    };
    let (mut low, mut shown, mut high) = (latest_step.low, latest_step.shown, latest_step.high);
    let mut witnesses = vec![latest_step];
    for other in lasts.iter().filter(|one| !std::ptr::eq(*one, latest_step)) {
        // A stream that ended before cannot know; one that looked on saw the same state come.
        let knows = high.is_some_and(|high| other.until >= high) && other.high.is_none_or(|other| other >= low);
        if knows && other.low <= high.unwrap_or(i64::MAX) {
            low = low.max(other.low);
            shown = shown.min(other.shown);
            high = match (high, other.high) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            witnesses.push(other);
        }
    }
    let service = run.service_under_test.as_deref().unwrap_or_default();
    let watched = lasts.iter().map(|one| one.until).max().unwrap_or(latest_step.until);
    let watched = run.windows.next.map_or(watched, |next| next.min(watched));
    let seconds = |time: i64| time as f64 / 1e9;
    let stable = high.is_some_and(|high| watched >= high + QUIET);
    let middle = |low: i64, high: i64| low + (high - low) / 2;
    let mut formats: Vec<&str> = witnesses.iter().map(|one| one.step.at.witness.as_str()).collect();
    formats.sort_unstable();
    formats.dedup();
    let mut row = single(
        run,
        NAME,
        &command,
        &latest_step.step.at,
        witnesses.iter().map(|one| one.changed).max().unwrap_or(0),
        &format!(
            "command → the first look ({}) from which the endpoints of {service} stay as they are; without the API's commits; contains the pods' start",
            formats.join(", ")
        ),
    );
    // Two looks of one second have one stamp: then nothing within the bounds is likelier.
    let likely = if shown > low { shown } else { high.unwrap_or(low) };
    row.estimate = Estimate {
        value: stable.then(|| seconds(middle(low, likely) - middle(earliest, latest))),
        low: Some(seconds((low - latest).max(0))),
        high: high.filter(|_| stable).map(|high| seconds(high - earliest)),
    };
    row.evidence = run.windows.evidence.clone();
    for one in &witnesses {
        row.evidence.push(one.step.before.clone());
        row.evidence.extend(one.step.at.evidence.iter().cloned());
    }
    row.details.insert("looks without a change behind it, s".to_owned(), seconds(watched - shown));
    row.details.insert("command to the look that shows it, s".to_owned(), seconds(shown - middle(earliest, latest)));
    if !stable {
        let behind = seconds(watched - shown).max(0.0);
        let why = match run.windows.next {
            Some(next) if next == watched => "the next action begins",
            _ => "the looks end",
        };
        row.notes.push(format!(
            "Right-censored: {why} {behind:.1} s behind the last change, and less than 5 s without one prove no stable dataplane. It was stable at the earliest then."
        ));
    }
    Ok(row)
}

/// The last change of a stream in the action: null where its clock is not related, empty where it shows none.
fn last_of<'a>(
    stream: &'a Watched,
    earliest: i64,
    next: Option<i64>,
    on_clock: &OnClock<'_>,
) -> Option<Option<Last<'a>>> {
    let end = on_clock(&stream.last)?;
    let mut found: Option<Last<'a>> = None;
    let mut changed = 0;
    for step in &stream.steps {
        let at = on_clock(&step.at)?;
        let Some(low) = at.low else { continue };
        if at.high.is_some_and(|high| high < earliest) || next.is_some_and(|next| low >= next) {
            continue;
        }
        let stamp = Observed { low: Some(step.shown), high: Some(step.shown), ..step.at.clone() };
        let shown = on_clock(&stamp).and_then(|stamp| Some((stamp.low?, stamp.high?)));
        let (first, last) = shown?;
        changed += step.came + step.went;
        // What the command began cannot have come before it.
        let low = low.max(earliest);
        let shown = (first + (last - first) / 2).max(low);
        found = Some(Last { low, shown, high: at.high, step, until: 0, changed });
    }
    let until = end.low.or(end.high)?;
    Some(found.map(|last| Last { until, changed, ..last }))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{self, SECOND};
    use super::*;
    use crate::events::Window;
    use crate::events::run::Moves;

    /// Looks each half second; resolution is in `high`.
    fn stream(changes: &[(f64, f64, f64)], last: f64, clock: &str) -> Watched {
        let at = |seconds: f64| Some((seconds * 1e9) as i64);
        let observed = |low: f64, high: f64| Observed {
            low: at(low),
            high: at(high),
            clock: clock.to_owned(),
            witness: "iptables-save".to_owned(),
            evidence: Vec::new(),
        };
        let step = |(low, shown, high): &(f64, f64, f64)| Step {
            at: observed(*low, *high),
            shown: at(*shown).unwrap(),
            came: 2,
            ..Step::default()
        };
        Watched { steps: changes.iter().map(step).collect(), last: observed(last, last), ..Watched::default() }
    }

    fn rows(streams: Vec<Watched>, next: Option<i64>) -> Vec<Measurement> {
        let folder = tempfile::tempdir().unwrap();
        let mut run = fixture::run(folder.path(), "kube-proxy-iptables", |_| ());
        run.windows.clock = "node-a".to_owned();
        run.windows.action = Some(Window { start: 100 * SECOND, end: 101 * SECOND, slack: 0 });
        run.windows.next = next;
        run.moves = Moves { streams, ..Moves::default() };
        measure(&run)
    }

    fn bounds(row: &Measurement) -> (Option<f64>, Option<f64>, Option<f64>) {
        (row.estimate.low, row.estimate.value, row.estimate.high)
    }

    #[test]
    fn looks_alone_tell_when_the_dataplane_was_stable() {
        let looks = stream(&[(90.0, 90.5, 91.0), (102.0, 102.5, 103.0), (103.0, 103.5, 104.0)], 120.0, "node-a");
        let found = rows(vec![looks.clone()], None);
        assert_eq!((bounds(&found[0]), found[0].n), ((Some(3.0), Some(3.25), Some(4.0)), 4));
        assert!(found[0].notes.is_empty());
        // A second stream narrows it, one that ended before does not.
        let narrow = stream(&[(103.2, 103.3, 103.4)], 130.0, "node-a");
        let ended = stream(&[(101.0, 101.1, 101.2)], 101.5, "node-a");
        let found = rows(vec![looks.clone(), narrow, ended], None);
        assert_eq!(bounds(&found[0]), (Some(3.2), Some(3.25), Some(3.4)));
        // The next action ends it: what it changes is not this one's.
        let found = rows(vec![looks], Some(102 * SECOND + SECOND / 2));
        assert_eq!((found[0].estimate.value, found[0].estimate.low), (None, Some(2.0)));
        assert!(found[0].notes[0].starts_with("Right-censored: the next action"), "{:?}", found[0].notes);
    }

    #[test]
    fn few_looks_behind_the_last_change_prove_no_stability() {
        let found = rows(vec![stream(&[(103.0, 103.5, 104.0)], 108.0, "node-a")], None);
        assert_eq!(bounds(&found[0]), (Some(3.0), None, None));
        assert!(found[0].notes[0].contains("the looks end 4.5 s behind"), "{:?}", found[0].notes);
        let none = rows(vec![stream(&[(90.0, 90.5, 91.0)], 120.0, "node-a")], None);
        assert!(none[0].missing.as_ref().unwrap().what.contains("no endpoint of a Service changed"));
    }

    #[test]
    fn a_clock_that_nothing_relates_gives_a_condition_and_no_figure() {
        let found = rows(vec![stream(&[(103.0, 103.5, 104.0)], 120.0, "other")], None);
        assert_eq!(found.len(), 2);
        assert!(found[0].missing.is_some() && found[0].estimate.value.is_none());
        assert_eq!((found[1].variant.as_str(), found[1].estimate.value), (ONE_CLOCK, Some(3.25)));
        assert!(found[1].notes[0].contains("same_host"));
    }
}
