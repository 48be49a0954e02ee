//! `api_processing_time`: between the two times that stand around a command, its start and return in it.
//!
//! ```text
//! date      kubectl … request → answer …      date
//! ├─────────────────────────────────────────┤      up to the resolution of both: whole seconds tell 1 s from 0 to 2 s
//! ```
//!
//! What `time` printed for a command is its duration without any date (fact `command-duration`); where neither stands, there is none.
//! A second command is the variant `action 2`, and so on.

use arcstr::ArcStr;

use syncline_schema::facts::FactRow;
use syncline_schema::markers::MarkerRow;

use super::Measurement;
use super::propagation::{absent, blank};
use crate::events::{Run, windows};
use crate::math::Estimate;

const NAME: &str = "api_processing_time";
const REMEDY: &str = "date +%s.%N; kubectl scale …; date +%s.%N";

/// One row for each command that has a time on both sides.
pub fn measure(run: &Run) -> Vec<Measurement> {
    let markers = run.bundle.rows_or_note::<MarkerRow<'static>>(None);
    let starts = windows::starts(&markers);
    let facts = run.bundle.rows_or_note::<FactRow<'static>>(None);
    let durations: Vec<&FactRow<'_>> = facts.iter().filter(|fact| fact.key == "command-duration").collect();
    let mut found: Vec<Measurement> = Vec::new();
    let mut waited = false;
    for (at, start) in starts.iter().enumerate() {
        let label = start.label.replace("_start", "_returned");
        let until = starts.get(at + 1).map_or(i64::MAX, |next| next.time.max(start.time + 1));
        let own = |one: &&MarkerRow<'_>| one.source == start.source && one.clock == start.clock;
        let returned = markers
            .iter()
            .filter(own)
            .filter(|one| one.label == label && one.time >= start.time && one.time <= until)
            .min_by_key(|one| (one.time, one.record));
        let Some(end) = returned else {
            waited |= markers.iter().filter(own).any(|one| one.label.starts_with("rollout"));
            continue;
        };
        // `time` looks from nearer than the dates around the same command.
        let nearer = |fact: &&FactRow<'_>| {
            fact.source == Some(start.source) && (start.record..=end.record).contains(&fact.record)
        };
        if durations.iter().any(nearer) {
            continue;
        }
        let mut row = between(run, start, end);
        if at > 0 {
            row.variant = format!("action {}", at + 1).into();
        }
        found.push(row);
    }
    let ahead = found.len();
    let timed = durations.into_iter().filter_map(|fact| timed(run, fact));
    found.extend(timed.enumerate().map(|(at, row)| match ahead + at {
        0 => row,
        before => Measurement { variant: format!("action {}", before + 1).into(), ..row },
    }));
    if let Some(first) = found.first_mut() {
        first.variant = ArcStr::new();
        return found;
    }
    let what = if waited {
        "the second time stands behind the rollout's end, not behind the command"
    } else {
        "no times around the command"
    };
    vec![absent(run, NAME, what, REMEDY)]
}

/// `0.149 s to 0.001 s: COMMAND`.
fn timed(run: &Run, fact: &FactRow<'_>) -> Option<Measurement> {
    let (duration, command) = fact.value.split_once(": ")?;
    let (value, resolution) = duration.strip_suffix(" s")?.split_once(" s to ")?;
    let (value, resolution): (f64, f64) = (value.parse().ok()?, resolution.parse().ok()?);
    Some(Measurement {
        n: 1,
        estimate: Estimate::between((value - resolution).max(0.0), value, value + resolution),
        method: "what `time` printed for the command: kubectl's own start and end are in it".into(),
        window: "action".into(),
        evidence: vec![run.evidence(fact.source?, fact.record, format!("time of {command}"))],
        notes: vec!["As the shell saw it: not the API server's own time, which is a part of it.".to_owned()],
        ..blank(run, NAME, "value")
    })
}

fn between(run: &Run, start: &MarkerRow<'_>, end: &MarkerRow<'_>) -> Measurement {
    // A stamp was taken at its time, or up to its resolution later.
    let later = |marker: &MarkerRow<'_>| if marker.resolution > 1 { marker.resolution } else { 0 };
    let seconds = |time: i64| time as f64 / 1e9;
    let time = end.time - start.time;
    let estimate = Estimate::between(seconds((time - later(start)).max(0)), seconds(time), seconds(time + later(end)));
    let command = start.command.as_deref().unwrap_or("the command");
    Measurement {
        n: 1,
        estimate,
        method: "between the two dates around the command: kubectl's own start and end are in it".into(),
        window: "action".into(),
        evidence: vec![
            run.evidence(start.source, start.record, format!("ahead of {command}")),
            run.evidence(end.source, end.record, format!("behind {command}")),
        ],
        notes: vec!["Between the two dates: not the API server's own time, which is a part of it.".to_owned()],
        ..blank(run, NAME, "value")
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{self, SECOND};
    use super::*;

    /// Variant, value and bounds.
    type Told = (String, Option<f64>, Option<f64>, Option<f64>);

    fn marker(label: &'static str, time: i64, resolution: i64) -> MarkerRow<'static> {
        MarkerRow { record: time / SECOND, time, resolution, label: label.into(), ..MarkerRow::default() }
    }

    fn rows(markers: &[MarkerRow<'static>]) -> Vec<Told> {
        let folder = tempfile::tempdir().unwrap();
        let run = fixture::run(folder.path(), "kube-proxy-iptables", |tables| {
            markers.iter().for_each(|one| tables.push(one).unwrap());
        });
        let row = |one: Measurement| (one.variant.to_string(), one.estimate.value, one.estimate.low, one.estimate.high);
        measure(&run).into_iter().map(row).collect()
    }

    #[test]
    fn whole_seconds_bound_the_difference_by_a_second_on_each_side() {
        let all = [
            marker("action_start", 100 * SECOND, SECOND),
            marker("action_returned", 101 * SECOND, SECOND),
            marker("action2_start", 110 * SECOND, 1),
            marker("action2_returned", 141 * SECOND + 149_000_000, 1),
        ];
        assert_eq!(
            rows(&all),
            [
                (String::new(), Some(1.0), Some(0.0), Some(2.0)),
                ("action 2".to_owned(), Some(31.149), Some(31.149), Some(31.149))
            ]
        );
    }

    #[test]
    fn what_time_printed_needs_no_date_and_is_nearer_than_dates() {
        let folder = tempfile::tempdir().unwrap();
        let run = fixture::run(folder.path(), "kube-proxy-iptables", |tables| {
            for one in [marker("action_start", 100 * SECOND, SECOND), marker("action_returned", 101 * SECOND, SECOND)] {
                tables.push(&one).unwrap();
            }
            for (record, value) in [
                (100, "0.149 s to 0.001 s: kubectl scale"),
                (300, "31.2 s to 0.01 s: kubectl delete pod a: b"),
                (301, "odd"),
            ] {
                let fact = FactRow {
                    source: Some(0),
                    record,
                    key: "command-duration".into(),
                    value: value.into(),
                    ..FactRow::default()
                };
                tables.push(&fact).unwrap();
            }
        });
        let found: Vec<_> =
            measure(&run).into_iter().map(|one| (one.variant.to_string(), one.estimate.value)).collect();
        assert_eq!(found, [(String::new(), Some(0.149)), ("action 2".to_owned(), Some(31.2))]);
    }

    #[test]
    fn the_end_of_a_rollout_is_no_return() {
        assert_eq!(
            rows(&[marker("action_start", 100 * SECOND, 1), marker("rollout_complete", 120 * SECOND, 1)]),
            [(String::new(), None, None, None)]
        );
    }
}
