//! Tests of trends over runs that are made up: order, series, groups, what has no figure, shifts and what doubts them.

use syncline_schema::manifest::Manifest;

use super::*;
use crate::clock::Evidence;
use crate::events::Window;
use crate::math::Named;
use crate::measure::Missing;
use crate::result::apart::Apart;

const DAY: i64 = 86_400 * 1_000_000_000;
const START: i64 = 1_770_000_000 * 1_000_000_000;

/// A run of a day, with a p95 within 2 % and facts.
fn run(day: i64, p95: f64, facts: &[(&str, &str)]) -> RunResult {
    let fact = |(key, value): &(&str, &str)| ((*key).to_owned(), ((*value).to_owned(), Evidence::default()));
    let start = START + day * DAY;
    let mut header = Header {
        name: format!("run-{day}"),
        id: format!("{day:012}"),
        dataplane: "cilium".to_owned(),
        scenario: "scale-up".to_owned(),
        services: Some(500),
        facts: facts.iter().map(fact).collect(),
        ..Header::default()
    };
    header.windows.baseline = Some(Window { start, end: start + 60_000_000_000, slack: 0 });
    let measurement = Measurement {
        run: header.name.clone().into(),
        name: "endpoint_propagation".into(),
        unit: "s".into(),
        n: 100,
        statistic: "max".into(),
        estimate: Estimate::between(p95 * 1.1, p95 * 1.2, p95 * 1.3),
        quantiles: Named::from([("p95".to_owned(), Estimate::between(p95 * 0.98, p95, p95 * 1.02))]),
        ..Measurement::default()
    };
    RunResult { run: header, measurements: vec![measurement], ..RunResult::default() }
}

fn p95() -> Question {
    Question { measurement: "endpoint_propagation".to_owned(), variant: None, quantile: Some("p95".to_owned()) }
}

/// Values that vary by 5 %, always the same ones.
fn near(level: f64, count: i64) -> Vec<f64> {
    (0..count).map(|at| level * (1.0 + 0.05 * ((at * 37 % 17) as f64 / 17.0))).collect()
}

fn runs(values: impl IntoIterator<Item = f64>, facts: &[(&str, &str)]) -> Vec<RunResult> {
    values.into_iter().enumerate().map(|(day, value)| run(day as i64, value, facts)).collect()
}

fn only(results: &[RunResult], by: Option<&str>) -> Series {
    let by = by.map(|by| By::of(by).expect("a fact"));
    let mut all = series(results, &p95(), by.as_ref()).expect("series");
    assert_eq!(all.len(), 1, "{all:#?}");
    all.remove(0)
}

#[test]
fn runs_are_in_the_order_of_their_times_and_a_shift_is_found_between() {
    let mut results = runs(near(0.2, 12).into_iter().chain(near(0.5, 10)), &[("version/cilium", "1.19.4")]);
    results.reverse();
    let found = only(&results, None);
    let names: Vec<&str> = found.points.iter().map(|point| point.run.as_str()).collect();
    assert_eq!((names[0], names[21], found.points.len()), ("run-0", "run-21", 22));
    let [shift] = found.shifts.as_slice() else { panic!("{:#?}", found.shifts) };
    assert_eq!((shift.at, shift.higher, shift.before.runs.len(), shift.after.runs.len()), (12, Some(true), 12, 10));
    let [low, high] = shift.ratio_interval;
    assert!(low.is_some_and(|low| low < 2.5 && low > 2.2) && high.is_some_and(|high| high > 2.5 && high < 2.8));
    assert!(shift.ratio.is_some_and(|ratio| (ratio - 2.5).abs() < 0.1) && shift.p <= 0.01, "{shift:?}");
    assert!(found.groups.is_empty() && found.unproven.is_empty() && found.absent.is_empty());
}

#[test]
fn versions_are_ordered_as_numbers_and_form_one_series() {
    let mut results = Vec::new();
    // The older version was measured last.
    for (at, version) in ["1.19.4", "1.9.1", "1.17.6"].into_iter().enumerate() {
        let level = if version == "1.19.4" { 0.2 } else { 0.4 };
        for (day, value) in near(level, 6).into_iter().enumerate() {
            results.push(run((at * 6 + day) as i64, value, &[("version/cilium", version)]));
        }
    }
    results.push(run(40, 0.2, &[]));
    let found = only(&results, Some("cilium"));
    let groups: Vec<(Option<&str>, usize)> =
        found.groups.iter().map(|group| (group.by.as_deref(), group.sample.runs.len())).collect();
    assert_eq!(groups, [(Some("1.9.1"), 6), (Some("1.17.6"), 6), (Some("1.19.4"), 6), (None, 1)]);
    let [shift] = found.shifts.as_slice() else { panic!("{:#?}", found.shifts) };
    assert_eq!((shift.at, shift.higher), (12, Some(false)));
    assert!(found.groups[0].sample.interval.is_some(), "six runs have an exact interval");
    // By time the same runs fall, rise and stay: the versions do not part them.
    assert_eq!(only(&results, None).points.len(), 19);
}

#[test]
fn sizes_dataplanes_and_labels_are_series_of_their_own_and_a_fact_that_orders_is_none() {
    let mut results = runs(near(0.2, 4), &[("label", "plain")]);
    results.extend(runs(near(0.2, 4), &[("label", "tuned")]));
    results[0].run.services = Some(2000);
    results[1].run.dataplane = "kube-proxy-iptables".to_owned();
    let all = series(&results, &p95(), None).expect("series");
    let cells: Vec<(&str, &str, Option<u64>, usize)> =
        all.iter().map(|one| (one.dataplane.as_str(), one.column.as_str(), one.services, one.points.len())).collect();
    let cilium = "cilium";
    assert_eq!(
        cells,
        [
            (cilium, "plain", Some(500), 2),
            (cilium, "plain", Some(2000), 1),
            (cilium, "tuned", Some(500), 4),
            ("kube-proxy-iptables", "", Some(500), 1)
        ]
    );
    let by = By::of("label").expect("a fact");
    let all = series(&results, &p95(), Some(&by)).expect("series");
    assert_eq!(all.iter().map(|one| one.groups.len()).collect::<Vec<_>>(), [2, 1, 1]);
}

#[test]
fn a_run_without_the_figure_is_listed_with_the_reason() {
    let mut results = runs(near(0.2, 6), &[]);
    results[1].measurements[0].missing = Some(Missing { what: "no snapshots".into(), remedy: "take some".into() });
    results[2].measurements.clear();
    results[3].measurements[0].quantiles.clear();
    results[4].run.windows.baseline = None;
    results[5].measurements[0].quantiles.insert("p95".to_owned(), Estimate::default());
    let found = only(&results, None);
    let reasons: Vec<(&str, &str)> = found.absent.iter().map(|one| (one.run.as_str(), one.reason.as_str())).collect();
    assert_eq!(
        reasons,
        [
            ("run-4", "nothing tells when this run was: no markers, and no source with a time of day"),
            ("run-1", "no snapshots. Next time: take some"),
            ("run-2", "it is not among what this run was measured for"),
            ("run-3", "it has no p95 here"),
            ("run-5", "its figure is open on both sides"),
        ]
    );
    assert_eq!((found.points.len(), found.nothing), (1, Some(Nothing::TooFew)));
    // A clock since boot is no time of day; a file's first record is.
    let source = |first: i64| syncline_schema::manifest::Source { first: Some(first), ..Default::default() };
    let sources = vec![source(DAY), source(START + 7), source(START + 9)];
    results[4].run.manifest = Apart::new(&Manifest { sources, ..Manifest::default() });
    assert_eq!(began(&results[4].run), Some(START + 7));
}

#[test]
fn what_no_run_has_is_an_error_with_the_names_that_there_are() {
    let results = runs(near(0.2, 3), &[("version/cilium", "1.19.4"), ("version/linux@a", "6.1")]);
    let of = |question: &Question, by: Option<&str>| {
        let by = by.map(|by| By::of(by).expect("a fact"));
        format!("{:#}", series(&results, question, by.as_ref()).expect_err("an error"))
    };
    let other = Question { measurement: "endpoint_propagatoin".to_owned(), ..p95() };
    assert_eq!(of(&other, None), "no run has a measurement endpoint_propagatoin; there are endpoint_propagation");
    let variant = Question { variant: Some("node a".to_owned()), ..p95() };
    assert!(of(&variant, None).contains("endpoint_propagation (node a); there are endpoint_propagation"));
    let quantile = Question { quantile: Some("p50".to_owned()), ..p95() };
    assert_eq!(of(&quantile, None), "endpoint_propagation has no p50; it has p95");
    assert_eq!(of(&p95(), Some("kernel")), "--by kernel: no run tells it; they tell version/cilium");
    assert!(By::of("a,b").is_err() && By::of(" ").is_err());
}

#[test]
fn a_bound_from_one_side_among_others_proves_no_shift() {
    let mut results = runs(near(0.2, 10).into_iter().chain(near(0.5, 10)), &[]);
    for one in &mut results[10..] {
        one.measurements[0].upper_bound_only = true;
    }
    let found = only(&results, None);
    assert!(found.shifts.is_empty(), "at most 0.5 s is no more than 0.2 s: {:#?}", found.shifts);
    assert_eq!(found.unproven.iter().map(|one| one.doubt.clone()).collect::<Vec<_>>(), [Some(Doubt::Bounds)]);
    for one in &mut results[..10] {
        one.measurements[0].upper_bound_only = true;
    }
    assert_eq!(only(&results, None).shifts.len(), 1, "bounds of one kind are alike");
}

#[test]
fn a_shift_that_load_can_have_made_is_told_and_is_none() {
    let mut results = runs(near(0.2, 10).into_iter().chain(near(0.5, 10)), &[]);
    for (at, one) in results.iter_mut().enumerate() {
        let share = if at < 10 { 0.2 } else { 0.95 };
        one.measurements[0].window = "action".into();
        one.measurements.push(Measurement {
            name: "node_busy".into(),
            variant: "action".into(),
            unit: "ratio".into(),
            n: 1,
            estimate: Estimate::exact(share),
            ..Measurement::default()
        });
    }
    let found = only(&results, None);
    assert!(found.shifts.is_empty(), "{:#?}", found.shifts);
    assert!(matches!(found.unproven[0].doubt, Some(Doubt::Load(_))), "{:#?}", found.unproven);
    // The other way round the load works against the shift.
    for one in &mut results {
        let busy = &mut one.measurements[1].estimate;
        *busy = Estimate::exact(1.0 - busy.value.unwrap_or_default());
    }
    assert_eq!(only(&results, None).shifts.len(), 1);
}

#[test]
fn another_unit_is_not_mixed_in() {
    let mut results = runs(near(0.2, 3), &[]);
    results[2].measurements[0].unit = "1/s".into();
    let found = only(&results, None);
    assert_eq!((found.points.len(), found.absent[0].run.as_str()), (2, "run-2"));
    assert_eq!(found.absent[0].reason, "its figure is in 1/s, those of other runs in s");
}
