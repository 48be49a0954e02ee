//! Runs typed after the source document, against their truth: one made here with real iptables, `date` loops, `watch` and `script`
//! (needs root, `unshare` and `iptables-legacy`; says so where it is skipped), and those that were typed on real clusters
//! (`../shared/typed`, where it is at hand).

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// The report of a capture directory.
fn report(capture: &Path, out: &Path) -> Value {
    let made = Command::new(env!("CARGO_BIN_EXE_syncline"))
        .args(["report", "--formats", "json,md,html", "--out"])
        .arg(out)
        .arg(capture)
        .output()
        .expect("it starts");
    assert!(made.status.success(), "{}: {}", capture.display(), String::from_utf8_lossy(&made.stderr));
    let text = std::fs::read_to_string(out.join("report.json")).expect("a report");
    serde_json::from_str(&text).expect("JSON")
}

/// Bounds of a measurement; `variant` is part of its variant.
fn bounds(report: &Value, name: &str, variant: &str) -> Option<(f64, f64)> {
    let rows = report["measurements"].as_array().expect("measurements");
    let row = rows.iter().find(|row| {
        row["name"] == name && row["variant"].as_str().unwrap_or_default().contains(variant) && !row["bounds"].is_null()
    })?;
    Some((row["bounds"][0].as_f64()?, row["bounds"][1].as_f64()?))
}

fn has_iptables() -> bool {
    let tried = Command::new("unshare")
        .args(["-n", "iptables-legacy", "-t", "nat", "-L", "-n"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let script = Command::new("script").arg("--version").stdout(Stdio::null()).status();
    tried.is_ok_and(|status| status.success()) && script.is_ok_and(|status| status.success())
}

fn seconds(path: &Path) -> f64 {
    let text = std::fs::read_to_string(path).expect("a time");
    text.lines().find_map(|line| line.trim().parse().ok()).expect("seconds")
}

#[test]
fn a_scale_up_that_was_typed_here_lies_within_its_bounds() {
    if !has_iptables() {
        eprintln!("skipped: unshare -n iptables-legacy and script are not to be had here");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/typed/scale_up.sh");
    // To files, not pipes, and with an end: what the script leaves behind on an odd machine must not hold the tests.
    let errors = folder.path().join("script.errors");
    let status = Command::new("timeout")
        .args(["--kill-after=5", "120", "unshare", "-n", "bash"])
        .arg(&script)
        .arg(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&errors).expect("a file"))
        .status()
        .expect("it starts");
    let said = std::fs::read_to_string(&errors).unwrap_or_default();
    std::fs::write(folder.path().join("stop"), "").expect("written");
    assert!(status.success(), "{status}: {said}");
    let typed = seconds(&folder.path().join("loop/scale.txt"));
    let truth = (seconds(&folder.path().join("before")) - typed, seconds(&folder.path().join("after")) - typed);
    for capture in ["loop", "recording"] {
        let input = folder.path().join(capture);
        // Nothing relates the operator's clock to the node's but that they are one machine: which only the operator knows.
        let unstated = report(&input, &folder.path().join(format!("{capture}-unstated")));
        assert_eq!(bounds(&unstated, "api_processing_time", "").map(|(low, _)| low > 0.04), Some(true));
        let (low, high) = bounds(&unstated, "convergence_time", "one clock").expect("from the looks alone");
        assert!(low <= truth.1 && truth.0 <= high, "{capture}: {truth:?} not within {low}..{high}");
        std::fs::write(input.join("capture.toml"), "node = \"node-a\"\nsame_host = [\"node-a\", \"operator\"]\n")
            .expect("written");
        let stated = report(&input, &folder.path().join(format!("{capture}-stated")));
        assert_eq!(stated["runs"][0]["dataplane"], "kube-proxy-iptables", "{capture}");
        let (low, high) = bounds(&stated, "convergence_time", "").expect("from the looks alone");
        assert!(low <= truth.1 && truth.0 <= high, "{capture}: {truth:?} not within {low}..{high}");
    }
    // The chain that the document watches says nothing of endpoints, and names the one that does.
    let services = report(&folder.path().join("services"), &folder.path().join("services-report"));
    assert_eq!(bounds(&services, "convergence_time", ""), None);
    let page = std::fs::read_to_string(folder.path().join("services-report/report.md")).expect("a page");
    assert!(page.contains("KUBE-SVC-AAAAAAAAAAAAAAAA"), "the chain that would show it is named");
}

/// Folder with the runs typed on real clusters.
fn shared() -> Option<PathBuf> {
    let found = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/typed");
    found.is_dir().then_some(found)
}

#[test]
fn a_run_that_was_typed_on_kube_proxy_lies_within_its_bounds() {
    let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/typed/kube-proxy-scale");
    let truth = std::fs::read_to_string(run.join("truth.json")).expect("a truth");
    let truth: Value = serde_json::from_str(&truth).expect("JSON");
    let folder = tempfile::tempdir().expect("a folder");
    let found = report(&run.join("typed"), &folder.path().join("report"));
    // The last change lies between two looks of the truth, too.
    let stable = &truth["command_to_stable_s"];
    let (first, last) = (stable[0].as_f64().expect("seconds"), stable[1].as_f64().expect("seconds"));
    let (low, high) = bounds(&found, "convergence_time", "").expect("from the looks");
    assert!(low <= last && first <= high, "{first}..{last} not within {low}..{high}");
    let typed = truth["typed_dates_difference_s"].as_f64().expect("seconds");
    let (low, high) = bounds(&found, "api_processing_time", "").expect("from the dates");
    assert!(low - 1e-3 <= typed && typed <= high + 1e-3, "{typed} not within {low}..{high}");
    assert!(valued(&found) >= 8, "{} rows with a value", valued(&found));
    assert_eq!(found["runs"][0]["dataplane"], "kube-proxy-iptables");
}

/// Rows of the catalogue that have a value.
fn valued(report: &Value) -> usize {
    let verdicts = report["verdicts"].as_array().expect("verdicts");
    verdicts.iter().filter(|row| !row["measured"].is_null() || row["measured_bounds"].is_array()).count()
}

#[test]
fn runs_that_were_typed_on_clusters_lie_within_their_bounds() {
    let Some(shared) = shared() else {
        eprintln!("skipped: no ../shared/typed beside the workspace");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    for (run, least) in [("cilium-scale", 8), ("nftables-scale", 0)] {
        let truth = std::fs::read_to_string(shared.join(run).join("truth/truth.json")).expect("a truth");
        let truth: Value = serde_json::from_str(&truth).expect("JSON");
        let found = report(&shared.join(run).join("typed"), &folder.path().join(run));
        let stable = truth["command_to_stable_s"].as_f64().expect("seconds");
        let (low, high) = bounds(&found, "convergence_time", "").expect("from the looks");
        assert!(low <= stable && stable <= high, "{run}: {stable} not within {low}..{high}");
        let typed = truth["typed_dates_difference_s"].as_f64().expect("seconds");
        let (low, high) = bounds(&found, "api_processing_time", "").expect("from the dates");
        assert!(low - 1e-3 <= typed && typed <= high + 1e-3, "{run}: {typed} not within {low}..{high}");
        let valued = valued(&found);
        assert!(valued >= least, "{run}: {valued} rows with a value");
    }
}
