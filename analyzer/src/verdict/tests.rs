//! The rules of judging on constructed measurements.

use proptest::prelude::*;

use super::*;
use crate::math::Estimate;
use crate::measure::Measurement;
use crate::result::Header;

pub fn run(name: &str, dataplane: &str, scenario: &str, services: u64) -> Header {
    Header {
        name: name.into(),
        id: name.into(),
        dataplane: dataplane.into(),
        scenario: scenario.into(),
        node: "node-a".into(),
        services: Some(services),
        baseline_endpoints: Some(1),
        ..Header::default()
    }
}

fn result(run: &Header, measurements: Vec<Measurement>) -> RunResult {
    RunResult { run: run.clone(), measurements, ..RunResult::default() }
}

fn measured(name: &str, value: f64, low: f64, high: f64, n: u64) -> Measurement {
    let estimate = Estimate { value: Some(value), low: Some(low), high: Some(high) };
    let quantiles = ["p50", "p95", "max"].map(|q| (q.to_owned(), estimate)).into();
    Measurement { name: name.into(), n, estimate, statistic: "value".into(), quantiles, ..Default::default() }
}

fn judged(runs: &[(Header, Vec<Measurement>)]) -> Vec<Verdict> {
    let results: Vec<RunResult> = runs.iter().map(|(run, m)| result(run, m.clone())).collect();
    judge(&results, &Catalogue::built_in().expect("built-in"), &Keys::default())
}

fn status(verdicts: &[Verdict], id: &str, dataplane: &str) -> Status {
    overall(verdicts, id, dataplane).unwrap_or_else(|| panic!("{id}")).status
}

const C: &str = "cilium";
const K: &str = "kube-proxy-iptables";

#[test]
fn of_equal_verdicts_the_costliest_figure_stands_for_the_row() {
    let far = |name: &str, services, value: f64| {
        (
            run(name, C, "scale-up", services),
            vec![measured("endpoint_propagation", value, value - 0.1, value + 0.1, 43)],
        )
    };
    for runs in [[far("a", 5, 1.0), far("b", 500, 3.0)], [far("a", 5, 3.0), far("b", 500, 1.0)]] {
        let verdicts = judged(&runs);
        let verdict = overall(&verdicts, "A1", C).expect("A1");
        assert_eq!((verdict.status, verdict.measured), (Status::Worse, Some(3.0)));
    }
}

#[test]
fn a_median_stands_side_by_side_with_its_sampling_interval() {
    let with = |dataplane: &str| {
        let mut row = measured("connection_setup_time", 0.001, 0.001, 0.001, 2_000);
        row.statistic = "median".into();
        row.ci = Some(crate::measure::Interval { level: 0.95, low: 0.0009, high: 0.0012 });
        (run(dataplane, dataplane, "scale-up", 5), vec![row])
    };
    let runs = [with(C), with(K)];
    let results: Vec<RunResult> = runs.iter().map(|(run, m)| result(run, m.clone())).collect();
    let all = replicates::comparisons(&results, &Keys::default());
    let one = all.iter().find(|one| one.change.figure.measurement == "connection_setup_time").expect("compared");
    assert_eq!(one.change.a.hull, [Some(0.0009), Some(0.0012)]);
}

#[test]
fn one_significant_figure() {
    for (n, rounded) in [(0, 0), (5, 5), (9, 9), (11, 10), (505, 500), (550, 600), (2005, 2000), (9_960, 10_000)] {
        assert_eq!(one_figure(n), rounded);
    }
}

#[test]
fn what_the_steady_run_cannot_give_comes_from_another_and_is_said_so() {
    let of = |scenario: &str, value: f64| {
        (run(scenario, C, scenario, 5), vec![measured("memory_bytes", value, value, value, 60)])
    };
    let said = |runs: &[(Header, Vec<Measurement>)]| {
        let verdicts = judged(runs);
        let verdict = overall(&verdicts, "T5.2", C).expect("T5.2");
        (verdict.scenario.clone(), verdict.notes.iter().find(|note| note.contains("taken from")).cloned())
    };
    let steady = of("steady-state", 4e8);
    assert_eq!(said(&[steady, of("scale-up", 3e8)]), ("steady-state".to_owned(), None));
    let (scenario, note) = said(&[(run("s", C, "steady-state", 5), vec![]), of("scale-up", 3e8)]);
    assert_eq!(scenario, "scale-up");
    assert!(note.is_some_and(|note| note.starts_with("the steady-state run gives none (")));
    let (_, note) = said(&[of("scale-up", 3e8)]);
    assert_eq!(note.as_deref(), Some("no steady-state run: taken from a scale-up run"));
    assert_eq!(said(&[(run("s", C, "steady-state", 5), vec![])]).0, "steady-state");
}

#[test]
fn runs_without_measurements_pass_nothing() {
    let verdicts = judged(&[(run("c", C, "scale-up", 5), vec![]), (run("k", K, "scale-up", 5), vec![])]);
    assert!(verdicts.iter().all(|v| v.status == Status::NotMeasured), "{verdicts:#?}");
    assert!(verdicts.iter().all(|v| !v.reason.to_string().is_empty() && !v.reason.kind().is_empty()));
}

#[test]
fn every_row_with_a_claim_has_a_verdict_and_no_other_has() {
    let verdicts = judged(&[(run("c", C, "scale-up", 5), vec![]), (run("k", K, "scale-up", 5), vec![])]);
    for row in Catalogue::built_in().expect("built-in").rows {
        for dataplane in [C, K] {
            let claims = row.side(dataplane).is_some_and(|s| s.kind != catalogue::ClaimKind::None);
            assert_eq!(overall(&verdicts, &row.id, dataplane).is_some(), claims, "{} {dataplane}", row.id);
        }
    }
}

#[test]
fn a_group_takes_the_hull_of_its_runs_and_the_median() {
    let a1 = |value, low, high| vec![measured("endpoint_propagation", value, low, high, 43)];
    let one = judged(&[(run("a", C, "scale-up", 5), a1(0.3, 0.2, 0.4))]);
    assert_eq!(status(&one, "A1", C), Status::Holds);
    let two =
        judged(&[(run("a", C, "scale-up", 5), a1(0.3, 0.2, 0.4)), (run("b", C, "scale-up", 5), a1(0.4, 0.3, 0.6))]);
    let verdict = overall(&two, "A1", C).expect("A1");
    assert_eq!((verdict.status, verdict.measured), (Status::Inconclusive, Some(0.35)));
    assert_eq!(verdict.measured_bounds, Some([Some(0.2), Some(0.6)]));
    // Another number of Services is another group; the worst stands for the row.
    let sizes =
        judged(&[(run("a", C, "scale-up", 5), a1(0.3, 0.2, 0.4)), (run("b", C, "scale-up", 2005), a1(0.9, 0.8, 1.0))]);
    assert_eq!(sizes.iter().filter(|v| v.id == "A1").count(), 2);
    assert_eq!(status(&sizes, "A1", C), Status::Worse);
}

#[test]
fn a_run_whose_end_is_open_opens_the_group() {
    let mut open = measured("endpoint_propagation", 0.3, 0.2, 0.4, 43);
    open.quantiles.insert("max".into(), Estimate { value: None, low: Some(0.3), high: None });
    let verdicts = judged(&[
        (run("a", C, "scale-up", 5), vec![measured("endpoint_propagation", 0.3, 0.2, 0.4, 43)]),
        (run("b", C, "scale-up", 5), vec![open]),
    ]);
    assert_eq!(status(&verdicts, "A1", C), Status::Inconclusive);
}

#[test]
fn too_few_samples() {
    let verdicts = judged(&[(run("a", C, "scale-up", 5), vec![measured("endpoint_propagation", 0.3, 0.2, 0.4, 19)])]);
    let verdict = overall(&verdicts, "A1", C).expect("A1");
    assert_eq!(verdict.status, Status::Inconclusive);
    assert_eq!(verdict.reason, Reason::TooFew { n: 19, least: 20 });
}

#[test]
fn two_readings_that_differ_are_ambiguous() {
    let mut points = measured("cpu_increase_points", 1.0, 0.9, 1.1, 30);
    points.unit = "points".into();
    let verdicts =
        judged(&[(run("a", C, "scale-up", 5), vec![measured("cpu_increase_ratio", 1.2, 1.1, 1.3, 30), points])]);
    let verdict = overall(&verdicts, "C4", C).expect("C4");
    assert_eq!(verdict.status, Status::Inconclusive);
    assert!(verdict.reason.is_ambiguous(), "{}", verdict.reason);
    assert_eq!(verdict.readings.iter().map(|r| r.status).collect::<Vec<_>>(), [Status::Worse, Status::Holds]);
    // One reading alone cannot be taken for both.
    let half = judged(&[(run("a", C, "scale-up", 5), vec![measured("cpu_increase_points", 1.0, 0.9, 1.1, 30)])]);
    assert_eq!(status(&half, "C4", C), Status::Inconclusive);
}

#[test]
fn a_loaded_window_against_a_quiet_one_is_inconclusive() {
    let busy =
        |variant: &str, value| Measurement { variant: variant.into(), ..measured("node_busy", value, value, value, 1) };
    let with = |b, a| {
        let points = measured("cpu_increase_points", 1.0, 0.9, 1.1, 30);
        let points = Measurement { window: "action against baseline".into(), ..points };
        let m = vec![points, busy("baseline", b), busy("action", a)];
        status(&judged(&[(run("a", C, "scale-up", 5), m)]), "A3", C)
    };
    assert_eq!(with(0.5, 0.6), Status::Holds);
    assert_eq!(with(0.95, 0.96), Status::Holds);
    assert_eq!(with(0.5, 0.95), Status::Inconclusive);
}

#[test]
fn the_figure_of_a_row_and_its_verdict_come_from_one_reading() {
    let m = || vec![measured("settle_time", 0.3, 0.2, 0.4, 1), measured("endpoint_propagation", 0.9, 0.8, 1.0, 43)];
    let one = judged(&[(run("a", C, "scale-up", 5), m())]);
    let verdict = overall(&one, "T3.1", C).expect("T3.1");
    assert_eq!((verdict.status, verdict.measured), (Status::Holds, Some(0.3)));
    assert_eq!(verdict.measurement, "settle_time value");
    assert!(verdict.notes.iter().any(|note| note.starts_with("1 run: from 3 on")), "{:?}", verdict.notes);
    assert!(verdict.readings.iter().any(|one| one.shown_only && one.measured == Some(0.9)));
    let names = ["a", "b", "c"].map(|name| (run(name, C, "scale-up", 5), m()));
    assert_eq!(status(&judged(&names), "T3.1", C), Status::Holds);
}

#[test]
fn load_decides_by_direction_row_by_row() {
    let busy =
        |variant: &str, value| Measurement { variant: variant.into(), ..measured("node_busy", value, value, value, 1) };
    let with = |dataplane: &str, m: Measurement| {
        let all = vec![m, busy("baseline", 0.5), busy("action", 0.98)];
        judged(&[(run("a", dataplane, "scale-up", 5), all)])
    };
    let in_window = |m: Measurement, window: &str| Measurement { window: window.into(), ..m };
    let slow = with(C, in_window(measured("endpoint_propagation", 0.9, 0.8, 1.0, 43), "action"));
    let verdict = overall(&slow, "A1", C).expect("A1");
    assert!(verdict.status == Status::Inconclusive && verdict.reason.is_load(), "{}", verdict.reason);
    let quick = with(K, in_window(measured("endpoint_propagation", 0.9, 0.8, 1.0, 43), "action"));
    let verdict = overall(&quick, "A1", K).expect("A1");
    assert_eq!((verdict.status, verdict.reason.kind()), (Status::Better, "below"));
    assert!(verdict.reason.to_string().contains("in spite of load"), "{}", verdict.reason);
    // Nothing failed on a saturated node: more could have, so that none is worth all the more.
    let mut none = in_window(measured("request_failure_ratio", 0.0, 0.0, 0.0009, 4000), "action against baseline");
    none.variant = "excess".into();
    assert_eq!(status(&with(C, none.clone()), "A4", C), Status::Holds);
    none.estimate = Estimate { value: Some(0.01), low: Some(0.008), high: Some(0.012) };
    assert!(overall(&with(C, none), "A4", C).is_some_and(|v| v.reason.is_load()));
    // Memory does not depend on it.
    let memory = with(C, in_window(measured("memory_bytes", 6e8, 6e8, 6e8, 60), "action"));
    assert_eq!(status(&memory, "T5.2", C), Status::Worse);
}

#[test]
fn a_slope_that_lies_above_the_claim_as_a_whole_is_above_it() {
    let at = |services: u64, bytes: f64| {
        (run(&format!("k{services}"), K, "scale-up", services), vec![measured("memory_bytes", bytes, bytes, bytes, 30)])
    };
    // About 18 KB a Service, known to some ± 7: wider than the claim of 5, but all of it above.
    let verdicts = judged(&[at(5, 37e6), at(6, 38e6), at(505, 50e6), at(500, 40e6), at(2005, 74e6), at(2000, 72e6)]);
    let verdict = overall(&verdicts, "C6", K).expect("C6");
    let [low, high] = verdict.measured_bounds.expect("bounds");
    assert!(low.is_some_and(|low| low > 6250.0) && high > low, "{low:?} {high:?}");
    assert_eq!(verdict.status, Status::Worse, "{}", verdict.reason);
}

#[test]
fn a_steady_state_is_not_judged_by_a_restart() {
    let mut operations = measured("reconciler_duration", 0.02, 0.02, 0.02, 60);
    operations.quantiles.insert("p50".into(), Estimate::exact(0.005));
    let restart = judged(&[(run("r", C, "rolling-restart", 5), vec![operations.clone()])]);
    assert_eq!(status(&restart, "B3", C), Status::NotMeasured);
    let steady = judged(&[(run("s", C, "steady-state", 5), vec![operations])]);
    assert_eq!(status(&steady, "B3", C), Status::Worse);
    let work = |services: u64| {
        (run(&format!("k{services}"), K, "scale-up", services), vec![measured("update_work", 1.0, 1.0, 1.0, 9)])
    };
    let sizes = judged(&[work(5), work(500), work(2000)]);
    assert_eq!(status(&sizes, "B3", K), Status::NotMeasured);
    assert_ne!(status(&sizes, "K2", K), Status::NotMeasured);
}

#[test]
fn what_cannot_fail_does_not_count_among_what_holds() {
    let verdicts = judged(&[(run("k", K, "scale-up", 5), vec![measured("restore_failures", 7.0, 7.0, 7.0, 1)])]);
    let verdict = overall(&verdicts, "E4", K).expect("E4");
    assert_eq!((verdict.status, verdict.reason.kind(), verdict.counts()), (Status::Holds, "cannot-fail", false));
}

#[test]
fn two_readings_on_one_side_of_what_a_user_asks_say_so() {
    let with = |value: f64| {
        let of = |variant: &str, value| Measurement {
            variant: variant.into(),
            ..measured("impact_duration", value, value, value, 2000)
        };
        let verdicts = judged(&[(run("k", K, "rolling-restart", 5), vec![of("", 40.0), of("seconds", value)])]);
        overall(&verdicts, "T4.2", K).map(|v| v.reason.to_string()).unwrap_or_default()
    };
    assert!(with(10.0).ends_with("by either, it is not worse than claimed"), "{}", with(10.0));
    assert!(!with(90.0).contains("not worse"), "{}", with(90.0));
}

#[test]
fn upper_bounds_of_packet_cost() {
    let with = |value: f64| {
        let m =
            Measurement { upper_bound_only: true, ..measured("packet_cost", value, value * 0.9, value * 1.1, 20_000) };
        judged(&[(run("k", K, "scale-up", 5), vec![m])])
    };
    assert_eq!(status(&with(1e-4), "C2", K), Status::Holds);
    assert_eq!(status(&with(1e-5), "C2", K), Status::Better);
    assert_eq!(status(&with(1e-3), "C2", K), Status::Inconclusive);
    assert_eq!(status(&with(1e-4), "T2.3", K), Status::Better);
}

#[test]
fn growth_needs_sizes_and_tells_flat_from_linear() {
    let at = |services: u64, y: f64| {
        let m = vec![
            measured("update_work", y, y * 0.99, y * 1.01, 30),
            measured(
                "memory_bytes",
                4e7 + 3000.0 * services as f64,
                4e7 + 3000.0 * services as f64,
                4e7 + 3000.0 * services as f64,
                30,
            ),
        ];
        (run(&format!("k{services}"), K, "scale-up", services), m)
    };
    assert_eq!(status(&judged(&[at(5, 0.02), at(500, 0.1)]), "K2", K), Status::NotMeasured);
    let linear = judged(&[at(5, 0.02), at(505, 0.12), at(2005, 0.42)]);
    let verdict = overall(&linear, "K2", K).expect("K2");
    assert!(verdict.measured.is_some_and(|x| (x - 1.0).abs() < 0.05), "{verdict:#?}");
    assert_eq!(verdict.status, Status::Holds);
    assert_eq!(status(&linear, "C6", K), Status::Holds);
    assert_eq!(status(&judged(&[at(5, 0.02), at(505, 0.02), at(2005, 0.021)]), "K2", K), Status::Better);
}

#[test]
fn alerts_are_not_measured_without_values() {
    let with = |value| judged(&[(run("k", K, "scale-up", 5), vec![measured("alert:AL2", value, value, value, 9)])]);
    assert_eq!(status(&with(0.0), "AL2", K), Status::Holds);
    assert_eq!(status(&with(1.0), "AL2", K), Status::Worse);
    assert_eq!(status(&with(0.5), "AL2", K), Status::Inconclusive);
    assert_eq!(status(&judged(&[(run("k", K, "scale-up", 5), vec![])]), "AL2", K), Status::NotMeasured);
}

#[test]
fn nftables_is_shown_without_a_verdict() {
    let nft = run("n", "kube-proxy-nftables", "scale-up", 5);
    let m = vec![measured("endpoint_propagation", 0.3, 0.2, 0.4, 43)];
    assert!(judged(&[(nft.clone(), m.clone())]).is_empty());
    let shown = beside(&[result(&nft, m)], &Catalogue::built_in().expect("built-in"), &Keys::default());
    assert!(shown.iter().any(|b| b.id == "A1" && b.measured == Some(0.3)));
}

fn end() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![4 => (-1.0..40.0f64).prop_map(Some), 1 => Just(None), 1 => Just(Some(f64::NAN)), 1 => Just(Some(f64::INFINITY))]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    /// Whatever the measurements are, a verdict that holds has a finite value and no bound that is not a number.
    #[test]
    fn nothing_unknown_holds(ends in proptest::collection::vec((end(), end(), end(), 0u64..20_000, any::<bool>()), 1..60), cilium in any::<bool>()) {
        let dataplane = if cilium { C } else { K };
        let catalogue = Catalogue::built_in().expect("built-in");
        let readings: Vec<_> = catalogue.rows.iter().flat_map(|r| &r.readings).collect();
        let runs: Vec<(Header, Vec<Measurement>)> = ends.chunks(20).enumerate().map(|(i, chunk)| {
            let scenario = ["scale-up", "rolling-restart", "steady-state"][i % 3];
            let measurements = readings.iter().zip(chunk.iter().cycle()).map(|(reading, (value, low, high, n, upper))| {
                let estimate = Estimate { value: *value, low: *low, high: *high };
                Measurement {
                    name: reading.measurement.clone().into(),
                    variant: reading.variant.clone().unwrap_or_default().into(),
                    n: *n,
                    estimate,
                    quantiles: ["p50", "p95", "max"].map(|q| (q.to_owned(), estimate)).into(),
                    upper_bound_only: *upper,
                    ..Default::default()
                }
            }).collect();
            (run(&format!("r{i}"), dataplane, scenario, 5), measurements)
        }).collect();
        for verdict in judged(&runs) {
            if verdict.status == Status::Holds {
                prop_assert!(verdict.measured.is_some_and(f64::is_finite), "{verdict:#?}");
                let bounds = verdict.measured_bounds.unwrap_or_default();
                prop_assert!(bounds.iter().flatten().all(|b| b.is_finite()), "{verdict:#?}");
            }
        }
    }
}
