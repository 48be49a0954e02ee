//! Head to head over constructed runs.

use std::collections::BTreeMap;

use super::*;
use crate::clock::Evidence;
use crate::measure::Measurement;
use crate::result::Header;
use crate::result::group::Keys;

fn run(name: &str, dataplane: &str, services: u64, measurements: Vec<Measurement>) -> RunResult {
    let run = Header {
        name: name.into(),
        dataplane: dataplane.into(),
        scenario: "scale-up".into(),
        services: Some(services),
        ..Header::default()
    };
    RunResult { run, measurements, ..RunResult::default() }
}

fn measured(name: &str, variant: &str, ends: [f64; 3], window: &str) -> Measurement {
    let estimate = crate::math::Estimate::between(ends[0], ends[1], ends[2]);
    Measurement {
        name: name.into(),
        variant: variant.into(),
        n: 43,
        estimate,
        statistic: "mean".into(),
        quantiles: ["p50", "p95", "max"].map(|q| (q.to_owned(), estimate)).into(),
        window: window.into(),
        ..Measurement::default()
    }
}

fn table(runs: &[RunResult], nodes: Option<u64>) -> HeadToHead {
    build(runs, compared::columns(runs, &Keys::default()), nodes)
}

fn row<'t>(table: &'t HeadToHead, stem: &str) -> &'t Row {
    table.rows.iter().find(|row| row.stem == stem).unwrap_or_else(|| panic!("no row {stem}"))
}

#[test]
fn load_removes_no_row_and_stands_beside_the_figures() {
    let with = |cores: [f64; 3], busy: f64| {
        let busy = measured("node_busy", "baseline", [busy, busy, busy], "baseline");
        vec![measured("cpu_baseline", "", cores, "baseline"), busy]
    };
    let runs = [
        run("c", "cilium", 5, with([0.279, 0.284, 0.294], 0.69)),
        run("k", "kube-proxy-iptables", 5, with([0.0082, 0.0084, 0.0088], 0.97)),
    ];
    let table = table(&runs, Some(50));
    assert_eq!(
        table.columns.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(),
        ["kube-proxy (iptables)", "Cilium"]
    );
    let cpu = row(&table, "cpu-rest");
    assert_eq!(cpu.lower, "kube-proxy (iptables)");
    assert_eq!(cpu.cells[1].factor, "higher by a factor of 34 (31.7 to 35.9)");
    assert!(cpu.cells[0].rests.contains("97 % busy") && cpu.cells[1].rests.contains("69 % busy"), "{:?}", cpu.cells);
    assert!(cpu.sure[0].contains("these runs only"), "{:?}", cpu.sure);
    let cluster = row(&table, "cpu-rest-cluster");
    assert_eq!((cluster.cells[0].figure.as_str(), cluster.cells[1].figure.as_str()), ("0.42 cores", "14.2 cores"));
    let choice = &table.choices[0];
    assert_eq!((choice.lower.len(), choice.higher.len(), choice.open.len()), (0, 1, 0));
    assert!(choice.lead.contains("0.284 cores instead of 0.0084 cores"), "{}", choice.lead);
    assert!(choice.lead.contains("On 50 nodes that is 14 cores more"), "{}", choice.lead);
    assert!(table.rows.iter().all(|row| row.stem != "cpu-rest-cluster" || row.product));
}

#[test]
fn two_versions_of_one_dataplane_are_two_columns_set_against_each_other() {
    let version = |name: &str, version: &str, seconds: [f64; 3]| {
        let mut run = run(name, "cilium", 5, vec![measured("endpoint_propagation", "", seconds, "action")]);
        let fact = (version.to_owned(), Evidence::default());
        run.run.facts = BTreeMap::from([("version/cilium".to_owned(), fact)]);
        run
    };
    let runs = [version("new", "1.19.4", [0.25, 0.26, 0.27]), version("old", "1.17.6", [0.03, 0.035, 0.04])];
    let table = table(&runs, None);
    assert_eq!(table.columns.len(), 2);
    assert!(table.columns[0].name.contains("1.17") && table.columns[1].name.contains("1.19"), "the older first");
    let median = row(&table, "update-p50");
    assert_eq!(median.cells[1].finding, "higher");
    assert!(median.lower.contains("1.17"), "{}", median.lower);
    assert!(table.columns[1].class.contains("shade"), "one colour in two shades");
}

#[test]
fn one_dataplane_alone_has_figures_and_nothing_to_compare_with() {
    let runs = [run("c", "cilium", 5, vec![measured("memory_bytes", "", [4.5e8, 5e8, 5.4e8], "baseline")])];
    let table = table(&runs, None);
    assert!(table.choices.is_empty() && table.reach.contains("one dataplane"), "{}", table.reach);
    assert_eq!(row(&table, "memory").lower, "nothing to compare with");
    assert!(super::build(&[], Vec::new(), Some(3)).rows.is_empty());
}

#[test]
fn no_failure_beyond_the_background_has_a_least_factor() {
    let with = |ends: [f64; 3]| vec![measured("request_failures_per_pod", "", ends, "action against baseline")];
    let mut runs =
        [run("k", "kube-proxy-iptables", 5, with([1.58, 2.0, 2.49])), run("c", "cilium", 5, with([-0.1, 0.0, 0.19]))];
    for one in &mut runs {
        one.run.scenario = "rolling-restart".into();
    }
    let table = table(&runs, None);
    let failed = row(&table, "failures");
    assert_eq!((failed.cells[0].figure.as_str(), failed.cells[1].figure.as_str()), ("2", "0"));
    assert_eq!(failed.cells[1].finding, "lower");
    assert!(failed.cells[1].factor.contains("at least"), "a zero has no factor: {}", failed.cells[1].factor);
}

#[test]
fn growth_is_the_largest_size_over_the_smallest() {
    let with =
        |seconds: f64| vec![measured("endpoint_propagation", "", [seconds * 0.98, seconds, seconds * 1.02], "action")];
    let runs = [
        run("k5", "kube-proxy-iptables", 5, with(1.0)),
        run("k2000", "kube-proxy-iptables", 2005, with(3.0)),
        run("c5", "cilium", 5, with(0.5)),
        run("c2000", "cilium", 2005, with(0.5)),
    ];
    let table = table(&runs, None);
    let grown = row(&table, "growth-update-p95");
    assert_eq!((grown.cells[0].figure.as_str(), grown.cells[0].factor.as_str()), ("3 ×", "grows"));
    assert_eq!(grown.cells[1].factor, "no growth shown");
    assert_eq!(grown.lower, "Cilium");
    // The head to head itself stays with the small cluster, and tells of the large one.
    let p95 = row(&table, "update-p95");
    assert!(p95.place.contains("5 Services") && p95.elsewhere.len() == 1, "{p95:?}");
    assert!(p95.sure.iter().any(|said| said.contains("the same in the other group")), "{:?}", p95.sure);
}

#[test]
fn all_are_set_against_the_column_with_the_most_runs_and_what_shares_nothing_is_one_sentence() {
    let of = |name: &str, version: &str, services: u64| {
        let mut one =
            run(name, "kube-proxy-iptables", services, vec![measured("cpu_baseline", "", [0.1, 0.2, 0.3], "baseline")]);
        one.run.facts = BTreeMap::from([("version/kube-proxy".to_owned(), (version.to_owned(), Evidence::default()))]);
        one
    };
    let runs = [of("a", "1.20.2", 4), of("b", "1.36.2", 5), of("c", "1.36.2", 5)];
    let table = table(&runs, None);
    let names: Vec<&str> = table.columns.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["kube-proxy (iptables) 1.36", "kube-proxy (iptables) 1.20"]);
    let choice = &table.choices[0];
    assert_eq!(choice.against, names[0]);
    assert!(
        choice.missing.is_empty() && choice.sentence.starts_with("No question has a figure for both"),
        "{choice:?}"
    );
}
