//! Rules over series that are made for what could go wrong.

use std::path::Path;

use syncline_promql::{Labels, Options, Sample, Series};

use super::judged::Status;
use super::read::{Rules, read};
use super::replay::{Replay, RuleHistory, Settings, replay};

/// Samples of `name` from 0 s on, one a second; `.` is a missing one.
fn series(name: &str, values: &str) -> Series {
    let samples: Vec<Sample> = values
        .chars()
        .enumerate()
        .filter_map(|(at, letter)| Some(Sample { time: at as i64 * 1_000, value: f64::from(letter.to_digit(10)?) }))
        .collect();
    Series::of_floats(Labels::new([("__name__", name), ("instance", "a")]), &samples)
}

fn rules(text: &str) -> Rules {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rules.yaml");
    std::fs::write(&path, text).expect("written");
    let mut rules = Rules::default();
    read(Path::new(&path), &mut rules).expect("rules");
    assert!(rules.refused.is_empty(), "{:?}", rules.refused);
    rules
}

/// Evaluated every second from 0 to `seconds`; a sample counts for 3 s.
fn played(text: &str, series: Vec<Series>, seconds: i64) -> Replay {
    let lookback = std::time::Duration::from_secs(3);
    let settings = Settings { interval: 1_000, options: Options { lookback, ..Options::default() } };
    replay(&rules(text), series, Some((0, seconds * 1_000)), &settings)
}

fn rule<'r>(played: &'r Replay, name: &str) -> &'r RuleHistory {
    let all = played.groups.iter().flat_map(|group| &group.rules);
    all.into_iter().find(|one| one.name == name).unwrap_or_else(|| panic!("no rule {name}"))
}

/// Stretches in seconds: pending, firing, resolved.
fn stretches(one: &RuleHistory) -> Vec<(i64, Option<i64>, Option<i64>)> {
    let seconds = |time: Option<i64>| time.map(|time| time / 1_000);
    one.stretches.iter().map(|one| (one.pending / 1_000, seconds(one.firing), seconds(one.resolved))).collect()
}

#[test]
fn what_a_rule_records_is_seen_by_those_behind_it_and_ends_with_its_value() {
    let text = "groups:\n- name: g\n  rules:\n  - alert: Early\n    expr: high > 0\n  - record: high\n    expr: x > 5\n  - alert: Late\n    expr: high > 0\n";
    let played = played(text, vec![series("x", "119991111111")], 11);
    // Ahead of the record, the value is that of the evaluation before.
    assert_eq!(stretches(rule(&played, "Early")), [(3, Some(3), Some(6))]);
    // Not 3 s longer, which a sample would count for.
    assert_eq!(stretches(rule(&played, "Late")), [(2, Some(2), Some(5))]);
    assert_eq!(rule(&played, "high").status, Status::Recorded);
    assert_eq!(rule(&played, "high").valued, 3);
}

#[test]
fn alerts_are_series_that_other_groups_see() {
    let text = "groups:\n- name: a\n  rules:\n  - alert: X\n    expr: x > 5\n    for: 2s\n- name: b\n  interval: 2s\n  rules:\n  - alert: Pending\n    expr: ALERTS{alertname=\"X\",alertstate=\"pending\"}\n  - alert: Firing\n    expr: count(ALERTS{alertname=\"X\",alertstate=\"firing\"}) > 0\n  - alert: Since\n    expr: ALERTS_FOR_STATE{alertname=\"X\"} == 2\n";
    let played = played(text, vec![series("x", "119999911111")], 11);
    assert_eq!(stretches(rule(&played, "X")), [(2, Some(4), Some(7))]);
    assert_eq!(stretches(rule(&played, "Pending")), [(2, Some(2), Some(4))]);
    assert_eq!(stretches(rule(&played, "Firing")), [(4, Some(4), Some(8))]);
    assert_eq!(stretches(rule(&played, "Since")), [(2, Some(2), Some(8))]);
    // An alert on an alert has a name of its own.
    assert_eq!(rule(&played, "Pending").stretches[0].labels.get("alertname"), "Pending");
}

#[test]
fn a_rule_that_asks_for_itself_is_evaluated_one_time_after_the_other() {
    let text = "groups:\n- name: g\n  rules:\n  - record: n\n    expr: (n or vector(0)) + 1\n  - alert: Tenth\n    expr: n == 10\n";
    let played = played(text, vec![series("x", "1")], 20);
    assert_eq!(stretches(rule(&played, "Tenth")), [(9, Some(9), Some(10))]);
}

#[test]
fn ahead_and_one_by_one_give_the_same() {
    let wave: String = (0..1_200).map(|at| char::from(b'0' + (at * 7 % 10) as u8)).collect();
    let ahead = "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: sum_over_time(x[7s]) > 35\n    for: 1s\n";
    // `start()` keeps it from being evaluated ahead.
    let single = ahead.replace("> 35", "> 35 or x @ start() > 99");
    let history = |text: &str| stretches(rule(&played(text, vec![series("x", &wave)], 1_199), "A"));
    assert_eq!(history(ahead), history(&single));
    assert!(history(ahead).len() > 20);
}

#[test]
fn a_group_looks_back_by_its_offset_and_stops_at_its_limit() {
    let text = "groups:\n- name: g\n  query_offset: 2s\n  rules:\n  - alert: X\n    expr: x > 5\n- name: h\n  limit: 1\n  rules:\n  - alert: L\n    expr: '{__name__=~\"x|y\"} > 5'\n  - record: r\n    expr: label_replace(x, \"n\", \"1\", \"\", \"\") or y\n";
    let played = played(text, vec![series("x", "119999111"), series("y", "111199111")], 8);
    assert_eq!(stretches(rule(&played, "X")), [(4, Some(4), Some(8))]);
    let limited = rule(&played, "L");
    let told: Vec<&String> = limited.failures.keys().collect();
    assert!(told[0].contains("same labelset after applying alert labels"), "{told:?}");
    assert_eq!(stretches(limited), [(2, Some(2), Some(6))]);
    let record = rule(&played, "r");
    assert_eq!(record.status, Status::Failed);
    assert!(record.why.starts_with("exceeded limit of 1 with 2 series (9 of 9 evaluations)"), "{}", record.why);
}

#[test]
fn a_counter_that_begins_anew_is_no_alert() {
    let text = "groups:\n- name: g\n  rules:\n  - alert: Fast\n    expr: rate(c_total[4s]) > 1.5\n    for: 2s\n  - alert: Reset\n    expr: resets(c_total[4s]) > 0\n";
    let played = played(text, vec![series("c_total", "01234567801234567")], 16);
    assert_eq!(rule(&played, "Fast").status, Status::Inactive);
    assert_eq!(stretches(rule(&played, "Reset")), [(9, Some(9), Some(12))]);
}

#[test]
fn silence_is_no_proof() {
    let text = "groups:\n- name: g\n  rules:\n  - {alert: None, expr: none > 5}\n  - {alert: Half, expr: x / none > 5}\n  - {alert: Unless, expr: x > 5 unless none}\n  - {alert: Or, expr: none > 1 or x > 5}\n  - {alert: Absent, expr: absent(none)}\n  - {alert: Open, expr: x == 1, for: 1m}\n  - {alert: Part, expr: late > 5}\n  - {alert: Fails, expr: 'x * on() group_left() {__name__=~\"x|late\"} > 5'}\n  - {alert: Quiet, expr: x > 5}\n  - {alert: Short, expr: x == 2, for: 5s}\n";
    let all = vec![series("x", "11112211111111111111"), series("late", "..............111111")];
    let played = played(text, all, 19);
    for (name, status, why) in [
        ("None", Status::NoData, "no series of none"),
        ("Half", Status::NoData, "no series of none"),
        ("Unless", Status::Inactive, ""),
        ("Or", Status::Inactive, ""),
        ("Absent", Status::Firing, ""),
        ("Open", Status::Undecided, "pending for 13 s when the run ended, `for` asks 60 s"),
        ("Part", Status::InPart, "samples reach over 5 s of 19 s"),
        ("Quiet", Status::Inactive, ""),
        ("Short", Status::Pending, "never for 5 s"),
    ] {
        let one = rule(&played, name);
        assert_eq!((one.status, one.why.as_str()), (status, why), "{name}");
    }
    let fails = rule(&played, "Fails");
    assert_eq!(fails.status, Status::Failed, "{}", fails.why);
    assert!(fails.why.contains("(6 of 20 evaluations)"), "{}", fails.why);
    let nothing = replay(&rules(text), Vec::new(), None, &Settings { interval: 1_000, options: Options::default() });
    assert!(nothing.groups[0].rules.iter().all(|one| one.status == Status::NoData));
}

#[test]
fn captured_series_of_a_recorded_name_are_left_aside() {
    let text = "groups:\n- name: g\n  rules:\n  - record: r\n    expr: x\n  - alert: A\n    expr: r > 5\n";
    let played = played(text, vec![series("x", "1111"), series("r", "9999"), series("ALERTS", "1111")], 3);
    assert_eq!(rule(&played, "A").status, Status::Inactive);
    assert_eq!(
        played.aside.iter().map(|(name, number)| (name.as_str(), *number)).collect::<Vec<_>>(),
        [("ALERTS", 1), ("r", 1)]
    );
}

#[test]
fn too_many_evaluations_are_refused() {
    let text = "groups:\n- name: g\n  interval: 1ms\n  rules:\n  - {alert: A, expr: x > 5}\n";
    let played = played(text, vec![series("x", "1")], 100_000);
    let one = rule(&played, "A");
    assert_eq!(one.status, Status::Failed);
    assert!(one.why.contains("would be evaluated 100000001 times"), "{}", one.why);
}
