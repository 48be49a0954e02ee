//! What is one series, one run and one fact, and whether a bundle is whole: captures in the shapes that people make them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use syncline_collector::bundle::{BundleOptions, bundle};

fn fault(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/faults").join(name)
}

fn syncline(arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_syncline")).args(arguments).output().expect("syncline starts");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"), "{output:?}");
    output
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The answer to a query: labels and value of each series.
fn answer(captures: &[&Path], expression: &str) -> Vec<(Value, String)> {
    let paths: Vec<&str> = captures.iter().map(|path| path.to_str().expect("UTF-8")).collect();
    let output = syncline(&[&["query"], &paths[..], &[expression, "--format", "json"]].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let json: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text} {}", said(&output)));
    let rows = json["data"]["result"].as_array().unwrap_or_else(|| panic!("{json}"));
    let row = |row: &Value| (row["metric"].clone(), row["value"][1].as_str().expect("a value").to_owned());
    rows.iter().map(row).collect()
}

/// The values alone, sorted.
fn values(captures: &[&Path], expression: &str) -> Vec<String> {
    let mut found: Vec<String> = answer(captures, expression).into_iter().map(|(_, value)| value).collect();
    found.sort();
    found
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(path, text).expect("written");
}

fn page(syncs: u32, goroutines: u32, start: Option<&str>) -> String {
    let start = start.map_or_else(String::new, |start| {
        format!("# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds {start}\n")
    });
    format!(
        "# TYPE kubeproxy_syncs_total counter\nkubeproxy_syncs_total {syncs}\n# TYPE go_goroutines gauge\ngo_goroutines {goroutines}\n{start}"
    )
}

#[test]
fn pages_of_one_series_are_one_series() {
    let captures = fault("p01-pages-of-one-series");
    assert_eq!(values(&[&captures], "count_over_time(reqs_total[5m])"), ["4"]);
    assert_eq!(values(&[&captures], "increase(reqs_total[45s] @ 1700000145)").len(), 1);
    assert_eq!(values(&[&captures], "count(reqs_total)"), ["1"]);
}

#[test]
fn looks_named_before_and_after_are_one_series_and_so_is_one_process_under_any_name() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, syncs) in [("before/kube-proxy-1700000100.prom", 10), ("after/kube-proxy-1700000160.prom", 17)] {
        write(folder.path(), name, &page(syncs, 90, None));
    }
    assert_eq!(values(&[folder.path()], "count_over_time(kubeproxy_syncs_total[5m])"), ["2"]);

    let folder = tempfile::tempdir().expect("a folder");
    for (name, syncs) in [("1700000100-quiet.prom", 10), ("1700000160-busy.prom", 17)] {
        write(folder.path(), name, &page(syncs, 90, Some("1.69999e+09")));
    }
    assert_eq!(values(&[folder.path()], "count_over_time(kubeproxy_syncs_total[5m])"), ["2"]);
    // A process that began while the other still ran is another one.
    write(folder.path(), "1700000220-other.prom", &page(3, 90, Some("1.69999812e+09")));
    assert_eq!(values(&[folder.path()], "count_over_time(kubeproxy_syncs_total[5m])"), ["1", "2"]);
}

#[test]
fn pages_of_two_components_stay_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let agent = "# TYPE cilium_forward_count_total counter\ncilium_forward_count_total 8\n# TYPE go_goroutines gauge\ngo_goroutines 203\n";
    write(folder.path(), "1700000100-kube-proxy.prom", &page(10, 90, None));
    write(folder.path(), "1700000101-agent.prom", agent);
    write(folder.path(), "1700000115-kube-proxy.prom", &page(11, 91, None));
    let found = answer(&[folder.path()], "go_goroutines");
    assert_eq!(found.len(), 2, "{found:?}");
    let captured: Vec<&str> = found.iter().filter_map(|(labels, _)| labels["capture"].as_str()).collect();
    assert_eq!(captured.len(), 2, "a label tells them apart: {found:?}");
    assert_eq!(values(&[folder.path()], "sum(go_goroutines)"), ["294"]);
    let syncs = answer(&[folder.path()], "count_over_time(kubeproxy_syncs_total[5m])");
    assert_eq!(syncs.len(), 1);
    assert_eq!((syncs[0].1.as_str(), syncs[0].0.get("capture")), ("2", None), "and only where it is needed");
}

#[test]
fn equal_labels_of_two_nodes_are_two_series() {
    let captures = fault("p02-two-nodes");
    assert_eq!(values(&[&captures], "sum(reqs_total)"), ["5430"]);
    let found = answer(&[&captures], "reqs_total");
    let nodes: Vec<&str> = found.iter().filter_map(|(labels, _)| labels["node"].as_str()).collect();
    assert_eq!(nodes.len(), 2, "{found:?}");
    assert!(nodes.contains(&"node-a") && nodes.contains(&"node-b"));

    // The same without a word on clocks: values at equal times contradict, folders name two things.
    let folder = tempfile::tempdir().expect("a folder");
    for node in ["node-a", "node-b"] {
        let text = fs::read_to_string(captures.join(node).join("kube-proxy.metrics")).expect("read");
        write(folder.path(), &format!("{node}/kube-proxy.metrics"), &text);
    }
    assert_eq!(values(&[folder.path()], "sum(reqs_total)"), ["5430"]);
    let found = answer(&[folder.path()], "reqs_total");
    let told: Vec<&str> = found.iter().filter_map(|(labels, _)| labels["capture"].as_str()).collect();
    assert!(told.contains(&"node-a") && told.contains(&"node-b"), "{found:?}");
    // Under names that could be two looks, the values still contradict.
    let folder = tempfile::tempdir().expect("a folder");
    for (node, name) in [("node-a", "metrics-1.stream"), ("node-b", "metrics-2.stream")] {
        let text = fs::read_to_string(captures.join(node).join("kube-proxy.metrics")).expect("read");
        write(folder.path(), name, &text);
    }
    assert_eq!(values(&[folder.path()], "sum(reqs_total)"), ["5430"]);
}

#[test]
fn both_stretches_of_time_are_seen_and_what_is_left_aside_is_counted() {
    let captures = fault("p03-partial-witness");
    assert_eq!(values(&[&captures], "count_over_time(reqs_total[1h])"), ["4"]);
    let found = answer(&[&captures], "reqs_total");
    assert_eq!((found.len(), found[0].1.as_str(), found[0].0["job"].as_str()), (1, "1330", Some("j")));
    let path = captures.to_str().expect("UTF-8");
    let explained = said(&syncline(&["query", path, "reqs_total", "--explain"]));
    assert!(!explained.contains("left aside"), "nothing is: {explained}");

    let folder = tempfile::tempdir().expect("a folder");
    for name in ["dump.txt", "scrape.txt"] {
        write(folder.path(), name, &fs::read_to_string(captures.join(name)).expect("read"));
    }
    let more = fs::read_to_string(captures.join("scrape.txt")).expect("read")
        + "# SCRAPE 1700000110.0\nreqs_total 120\n# SCRAPE 1700000111.0\nreqs_total 121\n";
    write(folder.path(), "scrape.txt", &more);
    assert_eq!(values(&[folder.path()], "count_over_time(reqs_total[1h])"), ["4"]);
    let path = folder.path().to_str().expect("UTF-8");
    let explained = said(&syncline(&["query", path, "reqs_total", "--explain"]));
    let line = explained.lines().find(|line| line.starts_with("left aside")).unwrap_or_else(|| panic!("{explained}"));
    assert!(
        line.contains("2 samples of 1 series") && line.contains("scrape.txt (scrape)") && line.contains("(tsdb)"),
        "{line}"
    );
}

#[test]
fn the_report_names_what_its_queries_leave_aside() {
    let captures = fault("p03-partial-witness");
    let folder = tempfile::tempdir().expect("a folder");
    let input = folder.path().join("run");
    fs::create_dir(&input).expect("a folder");
    write(&input, "capture.toml", "dataplane = \"kube-proxy-iptables\"\n");
    let asked = |text: &str| text.replace("reqs_total", "kubeproxy_sync_proxy_rules_duration_seconds_count");
    let scrape = fs::read_to_string(captures.join("scrape.txt")).expect("read");
    write(&input, "dump.txt", &asked(&fs::read_to_string(captures.join("dump.txt")).expect("read")));
    write(&input, "scrape.txt", &asked(&scrape));
    let (alone, _) = report(&[&input], folder.path());
    let title = "samples that the documented queries leave aside".to_owned();
    assert!(!titles(&alone, 0).contains(&title), "{:?}", titles(&alone, 0));
    let more = scrape + "# SCRAPE 1700000110.0\nreqs_total 120\n# SCRAPE 1700000111.0\nreqs_total 121\n";
    write(&input, "scrape.txt", &asked(&more));
    let (told, _) = report(&[&input], folder.path());
    assert!(titles(&told, 0).contains(&title), "{:?}", titles(&told, 0));
    let findings = told["runs"][0]["findings"].as_array().expect("findings");
    let finding = findings.iter().find(|one| one["title"] == title.as_str()).expect("the finding");
    let detail = finding["detail"].as_str().unwrap_or_default();
    assert!(detail.starts_with("2 samples of 1 series of scrape.txt (scrape)"), "{detail}");
}

fn bundled(captures: &Path, folder: &Path, name: &str) -> PathBuf {
    let out = folder.join(name);
    bundle(&BundleOptions { inputs: vec![captures.to_owned()], out: out.clone(), ..BundleOptions::default() })
        .expect("bundled");
    out
}

/// The JSON of a report over some inputs, and what was said on standard error.
fn report(inputs: &[&Path], folder: &Path) -> (Value, String) {
    let out = folder.join("report");
    let inputs: Vec<&str> = inputs.iter().map(|path| path.to_str().expect("UTF-8")).collect();
    let output = syncline(
        &[&["report"], &inputs[..], &["--out", out.to_str().expect("UTF-8"), "--formats", "json", "--force"]].concat(),
    );
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let text = fs::read_to_string(out.join("report.json")).expect("a report");
    (serde_json::from_str(&text).expect("JSON"), said(&output))
}

fn titles(report: &Value, run: usize) -> Vec<String> {
    let findings = report["runs"][run]["findings"].as_array().expect("findings");
    findings.iter().filter_map(|one| one["title"].as_str().map(str::to_owned)).collect()
}

fn copied(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copied(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}

#[test]
fn copies_of_a_run_are_one_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let captures = fault("c06-same-log-twice");
    let once = bundled(&captures, folder.path(), "once");
    // A copy under another name, with other file names.
    let copy = folder.path().join("copy");
    copied(&captures, &copy);
    fs::rename(copy.join("containers"), copy.join("logs")).expect("moved");
    write(&copy, "capture.toml", "name = \"another\"\nyear = 2026\ntimezone = \"UTC\"\n");
    for inputs in [&[once.as_path(), &once][..], &[&once, &captures], &[&once, &copy]] {
        let (report, said) = report(inputs, folder.path());
        assert_eq!(report["runs"].as_array().map(Vec::len), Some(1), "{inputs:?}");
        assert!(titles(&report, 0).contains(&"a run was given twice".to_owned()), "{inputs:?}");
        assert!(said.contains("warning: a run was given twice"), "{said}");
    }
    let pages = bundled(&fault("p01-pages-of-one-series"), folder.path(), "pages");
    assert_eq!(values(&[&pages, &pages, &fault("p01-pages-of-one-series")], "sum(reqs_total)"), ["190"]);
}

#[test]
fn facts_that_disagree_are_findings_and_summaries_are_sets() {
    let folder = tempfile::tempdir().expect("a folder");
    let (versions, _) = report(&[&fault("p05-facts-that-disagree/two-versions")], folder.path());
    assert!(titles(&versions, 0).contains(&"the captures disagree on version/kube-proxy".to_owned()), "{versions:#}");
    let facts = &versions["runs"][0]["facts"];
    assert_eq!(facts["version/kube-proxy@node-a"]["value"], "1.36.2");
    assert_eq!(facts["version/kube-proxy@node-b"]["value"], "1.31.0");

    let (summaries, _) = report(&[&fault("p05-facts-that-disagree/two-summaries")], folder.path());
    let facts = &summaries["runs"][0]["facts"];
    let value = |file: &str| facts[format!("client/k6/http_req_duration/p(95)@{file}")]["value"].clone();
    assert_eq!((value("k6-before.txt"), value("k6-after.txt")), ("133.4ms".into(), "999ms".into()), "{facts:#}");
    assert!(facts.get("client/k6/http_req_duration/p(95)").is_none(), "none of them is the run's");
}

#[test]
fn a_damaged_bundle_is_an_error_of_every_command_that_names_the_table() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = bundled(&fault("p01-pages-of-one-series"), folder.path(), "whole");
    let commands = |bundle: &Path, table: &str| {
        let path = bundle.to_str().expect("UTF-8");
        let out = folder.path().join("never").to_string_lossy().into_owned();
        for arguments in [
            &["report", path, "--out", &out][..],
            &["check", path],
            &["query", path, "reqs_total"],
            &["timeline", path],
            &["clocks", path],
        ] {
            let output = syncline(arguments);
            assert_eq!(output.status.code(), Some(2), "{arguments:?}");
            assert!(said(&output).contains(&format!("table {table}")), "{arguments:?}: {}", said(&output));
            assert!(output.stdout.is_empty(), "{arguments:?}");
        }
    };
    let damaged = |name: &str, damage: &dyn Fn(&Path)| {
        let copy = folder.path().join(name);
        copied(&whole, &copy);
        damage(&copy);
        copy
    };
    commands(&damaged("deleted", &|at| fs::remove_file(at.join("samples.parquet")).expect("removed")), "samples");
    let flip = |at: &Path| {
        let mut bytes = fs::read(at.join("series.parquet")).expect("read");
        bytes[10] ^= 0xff;
        fs::write(at.join("series.parquet"), bytes).expect("written");
    };
    commands(&damaged("flipped", &flip), "series");
    let extra = |at: &Path| {
        fs::copy(at.join("series.parquet"), at.join("audit.parquet")).expect("copied");
    };
    commands(&damaged("extra", &extra), "audit");
}
