//! Verdicts that survive a sceptic: each rule on a capture made for it, and every measured verdict of real runs with the lines
//! that it rests on.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// 2026-11-23T04:00:00Z.
const EPOCH: i64 = 1_795_406_400;

/// A capture of 30 s of baseline, 30 s of action and 40 s of tail, made of what a rule needs.
struct Made {
    dataplane: &'static str,
    scenario: &'static str,
    /// Series as a scrape shows them, and their value at a second.
    series: Vec<(String, Box<dyn Fn(i64) -> f64>)>,
    requests: String,
}

impl Made {
    fn new(dataplane: &'static str, scenario: &'static str) -> Self {
        Self { dataplane, scenario, series: Vec::new(), requests: String::new() }
    }

    fn series(mut self, name: &str, value: impl Fn(i64) -> f64 + 'static) -> Self {
        self.series.push((name.to_owned(), Box::new(value)));
        self
    }

    /// Cores by mode in the baseline and in the action, on a node of two CPUs.
    fn node(mut self, modes: &[(&str, f64, f64)]) -> Self {
        for &(mode, quiet, busy) in modes {
            let name = format!("node_cpu_seconds_total{{cpu=\"0\",mode=\"{mode}\"}}");
            self = self.series(&name, move |at| counted(at, quiet, busy));
        }
        self
    }

    /// Requests of a kind, so many a second; those that fail by second and error (the first of that second).
    fn requests(mut self, kind: &str, rate: i64, failed: &[(i64, &str)]) -> Self {
        for at in 0..100 {
            let errors: Vec<&str> =
                failed.iter().filter(|(second, _)| *second == at).map(|(_, error)| *error).collect();
            for number in 0..rate {
                let (minute, second, part) = (at / 60, at % 60, number * 1_000_000_000 / rate);
                let ts = format!("2026-11-23T04:{minute:02}:{second:02}.{part:09}Z");
                let end = match errors.get(usize::try_from(number).unwrap_or(usize::MAX)) {
                    Some(error) => format!("\"status\":0,\"err\":\"{error}\""),
                    None => "\"status\":200,\"backend\":\"test-a\"".to_owned(),
                };
                let _ = writeln!(
                    self.requests,
                    "{{\"ts\":\"{ts}\",\"kind\":\"{kind}\",\"latency_ns\":900000,\"connect_ns\":200000,{end}}}"
                );
            }
        }
        self
    }

    /// Its report.
    fn report(&self) -> Value {
        let place = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| std::fs::write(place.path().join(name), text).expect("written");
        write(
            "capture.toml",
            &format!(
                "name = \"made\"\ndataplane = \"{}\"\nscenario = \"{}\"\nnode = \"node-a\"\ntimezone = \"UTC\"\nyear = 2026\nsame_host = [\"node-a\", \"apiserver\", \"prometheus\", \"operator\"]\n",
                self.dataplane, self.scenario
            ),
        );
        let mut markers = "epoch_s\tlabel\tcommand\n".to_owned();
        for (at, label) in [
            (0, "baseline_start"),
            (30, "baseline_end"),
            (30, "action_start"),
            (60, "rollout_complete"),
            (60, "tail_start"),
            (100, "end"),
        ] {
            let _ = writeln!(markers, "{}.000000000\t{label}\t", EPOCH + at);
        }
        write("markers.tsv", &markers);
        if !self.requests.is_empty() {
            write("requests.jsonl", &self.requests);
        }
        let mut stream = String::new();
        for at in 0..100 {
            let _ = writeln!(stream, "# SCRAPE {}.100000000", EPOCH + at);
            for (name, value) in &self.series {
                let _ = writeln!(stream, "{name} {}", value(at));
            }
        }
        write("node.metrics.stream", &stream);
        report(&[place.path().to_owned()], "json").0
    }
}

/// A counter that rises so much a second in the action, and otherwise so much.
fn counted(at: i64, quiet: f64, busy: f64) -> f64 {
    let during = (at - 30).clamp(0, 30) as f64;
    quiet * (at as f64 - during) + busy * during
}

/// `report.json` and the folder that it stands in.
fn report(captures: &[PathBuf], formats: &str) -> (Value, tempfile::TempDir) {
    let out = tempfile::tempdir().expect("a folder");
    let made = Command::new(env!("CARGO_BIN_EXE_syncline"))
        .args(["report", "--force", "--formats", formats, "--out"])
        .arg(out.path().join("report"))
        .args(captures)
        .output()
        .expect("it starts");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let text = std::fs::read_to_string(out.path().join("report/report.json")).expect("a report");
    (serde_json::from_str(&text).expect("JSON"), out)
}

fn verdict<'v>(report: &'v Value, id: &str) -> &'v Value {
    let all = report["verdicts"].as_array().expect("verdicts");
    all.iter().find(|one| one["id"] == id).unwrap_or_else(|| panic!("{id}"))
}

fn measurement<'v>(report: &'v Value, name: &str, variant: &str) -> &'v Value {
    let all = report["measurements"].as_array().expect("measurements");
    all.iter()
        .find(|one| one["name"] == name && one["variant"] == variant)
        .unwrap_or_else(|| panic!("{name} {variant}"))
}

fn status(verdict: &Value) -> (&str, &str) {
    (verdict["status"].as_str().unwrap_or_default(), verdict["reason_kind"].as_str().unwrap_or_default())
}

const CPU: &str =
    "container_cpu_usage_seconds_total{container=\"kube-proxy\",namespace=\"kube-system\",pod=\"kube-proxy-x\"}";
const MEMORY: &str =
    "container_memory_working_set_bytes{container=\"cilium-agent\",namespace=\"kube-system\",pod=\"cilium-x\"}";

#[test]
fn foreign_niced_load_is_no_load_and_is_named() {
    let with = |mode: &'static str| {
        Made::new("kube-proxy-iptables", "scale-up")
            .node(&[("idle", 0.9, 0.05), (mode, 0.7, 1.5), ("system", 0.4, 0.45)])
            .series(CPU, |at| counted(at, 0.01, 0.02))
            .series("container_cpu_usage_seconds_total{container=\"build\",namespace=\"ci\",pod=\"build-x\"}", |at| {
                counted(at, 0.7, 1.5)
            })
            .report()
    };
    let niced = with("nice");
    let busy = measurement(&niced, "node_busy", "action");
    assert!(busy["value"].as_f64().is_some_and(|busy| (busy - 0.225).abs() < 0.01), "{busy}");
    assert!(busy["details"]["niced"].as_f64().is_some_and(|niced| (niced - 0.75).abs() < 0.01), "{busy}");
    assert_eq!(status(verdict(&niced, "A3")), ("better", "below"), "{}", verdict(&niced, "A3"));
    // The same time in the mode of everyone else starves the proxy: that it took little means nothing.
    let loaded = with("user");
    assert_eq!(status(verdict(&loaded, "A3")), ("inconclusive", "load"), "{}", verdict(&loaded, "A3"));
    let findings = loaded["runs"][0]["findings"].to_string();
    assert!(findings.contains("98 % busy in the action") && findings.contains("build 1.5"), "{findings}");
}

#[test]
fn memory_is_never_gated_and_swings_within_its_bounds() {
    let swing = [452e6, 520e6, 521e6, 522e6, 537e6];
    let report = Made::new("cilium", "steady-state")
        .node(&[("idle", 0.02, 0.02), ("user", 1.98, 1.98)])
        .series(MEMORY, move |at| swing[usize::try_from(at % 5).unwrap_or(0)])
        .report();
    let verdict = verdict(&report, "T5.2");
    assert_eq!(verdict["measured_bounds"], serde_json::json!([452e6, 537e6]), "{verdict}");
    // 452 to 537 MB against 200 to 500 MB.
    assert_eq!(status(verdict), ("inconclusive", "straddles"), "{verdict}");
}

#[test]
fn failures_of_the_background_do_not_lengthen_an_impact() {
    let timeout = "timeout: dial tcp 10.96.100.100:80: i/o timeout";
    let refused = "refused: dial tcp 10.96.100.100:80: connect: connection refused";
    let mut failed: Vec<(i64, &str)> = vec![(31, refused), (40, refused), (58, refused)];
    let before = Made::new("kube-proxy-iptables", "rolling-restart").requests("new", 50, &failed).report();
    // The same kind long before and long after, as it fails without any action too.
    failed.extend([
        (3, timeout),
        (17, timeout),
        (24, timeout),
        (45, timeout),
        (72, timeout),
        (83, timeout),
        (84, timeout),
    ]);
    let after = Made::new("kube-proxy-iptables", "rolling-restart").requests("new", 50, &failed).report();
    for variant in ["", "seconds"] {
        let of = |report| measurement(report, "impact_duration", variant)["value"].as_f64();
        assert_eq!(of(&before), of(&after), "{variant}");
    }
    let impact = measurement(&after, "impact_duration", "");
    assert_eq!(impact["value"].as_f64(), Some(27.0), "{impact}");
    let notes = verdict(&after, "T4.2")["notes"].to_string();
    assert!(notes.contains("3 failures (3 time-out)") && notes.contains("lasted 30"), "{notes}");
}

#[test]
fn packets_of_kept_connections_are_few() {
    let made = |kept: i64| {
        Made::new("kube-proxy-iptables", "steady-state")
            .node(&[("idle", 1.4, 1.4), ("softirq", 0.02, 0.02), ("user", 0.5, 0.5)])
            .requests("new", 80 - kept, &[])
            .requests("keepalive", kept, &[])
            .report()
    };
    let high = |report: &Value| measurement(report, "packet_cost", "")["bounds"][1].as_f64().expect("a bound");
    let (fresh, mixed) = (made(0), made(20));
    // 80 × 6 packets at least, against 60 × 6 + 20 × 2.
    let ratio = high(&mixed) / high(&fresh);
    assert!((ratio - 480.0 / 400.0).abs() < 0.05, "{ratio}");
    assert_eq!(verdict(&mixed, "C2")["bound"], "upper bound");
}

#[test]
fn a_steady_state_is_not_judged_by_what_a_restart_did() {
    let duration = "cilium_reconciler_duration_seconds";
    let labels = "{module_id=\"loadbalancer-reconciler\",op=\"update\"}";
    let report = Made::new("cilium", "rolling-restart")
        .series(&format!("{duration}_sum{labels}"), |at| if at < 31 { 0.1 } else { 0.1 + (at - 30) as f64 * 0.02 })
        .series(&format!("{duration}_count{labels}"), |at| if at < 31 { 5.0 } else { (at - 25) as f64 })
        .report();
    assert!(!measurement(&report, "reconciler_duration", "")["value"].is_null());
    assert_eq!(status(verdict(&report, "B3")), ("not measured", "no-run"));
}

fn sample(run: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("in the workspace").join("sample-data").join(run)
}

/// Whether a citation names a place that is in the capture: a line, or a range of records with the query that gives the figure.
fn cites(evidence: &Value, sources: &[Value]) -> bool {
    let Some(record) = evidence["record"].as_i64().filter(|record| *record > 0) else { return false };
    let known = sources.iter().any(|source| source["path"] == evidence["path"]);
    match evidence["last"].as_i64() {
        Some(last) => known && last >= record && evidence["query"].as_str().is_some_and(|query| !query.is_empty()),
        None => known,
    }
}

#[test]
fn every_measured_verdict_cites_what_it_rests_on() {
    let runs = [
        "cilium-scale-up-1",
        "iptables-scale-up-1",
        "cilium-rolling-restart-1",
        "iptables-rolling-restart-1",
        "cilium-pod-crash-1",
        "iptables-pod-crash-1",
        "cilium-steady-1",
        "iptables-steady-1",
    ]
    .map(sample);
    let (report, folder) = report(&runs, "json,html");
    let html = std::fs::read_to_string(folder.path().join("report/report.html")).expect("a page");
    let sources: Vec<Value> = report["runs"]
        .as_array()
        .expect("runs")
        .iter()
        .flat_map(|run| run["sources"].as_array().expect("sources").clone())
        .collect();
    let verdicts = report["verdicts"].as_array().expect("verdicts");
    let measured: Vec<&Value> = verdicts.iter().filter(|one| one["status"] != "not measured").collect();
    assert!(measured.len() > 80, "{}", measured.len());
    let without: Vec<String> = measured
        .iter()
        .filter(|one| !one["evidence"].as_array().expect("evidence").iter().any(|evidence| cites(evidence, &sources)))
        .map(|one| format!("{} {} {}", one["id"], one["dataplane"], one["measurement"]))
        .collect();
    assert!(without.is_empty(), "{} of {} cite nothing: {without:#?}", without.len(), measured.len());
    // Nothing is cited that is not there.
    for one in &measured {
        for evidence in
            one["evidence"].as_array().expect("evidence").iter().filter(|one| one["record"].as_i64() > Some(0))
        {
            assert!(cites(evidence, &sources), "{} {}: {evidence}", one["id"], one["dataplane"]);
        }
    }
    // The page shows the first citation of the verdict that stands for a row.
    for row in report["summary"].as_array().expect("summary").iter().filter(|one| one["status"] != "not measured") {
        let stands = measured
            .iter()
            .find(|one| ["id", "dataplane", "scenario", "services", "status"].iter().all(|key| one[*key] == row[*key]));
        let first = &stands.unwrap_or_else(|| panic!("{row}"))["evidence"][0];
        let place = format!("{}:{}", first["path"].as_str().unwrap_or_default(), first["record"]);
        assert!(html.contains(&place), "{row}: {place}");
    }
}
