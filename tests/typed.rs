//! Runs typed after the source document, against their truth: one made by `typed/scale_up.sh` with real iptables, `date` loops,
//! `watch` and `script`, and those that were typed on real clusters (`../shared/typed`, where it is at hand).
//! With `SYNCLINE_LIVE=1` the script runs anew (needs root, `unshare`, `iptables-legacy`); it is not run otherwise, since what it
//! records then depends on the machine's terminals, locks and load.

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

fn seconds(path: &Path) -> f64 {
    let text = std::fs::read_to_string(path).expect("a time");
    text.lines().find_map(|line| line.trim().parse().ok()).expect("seconds")
}

/// Copies a folder of files and one level of folders, so that a test may add to it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("copied");
        }
    }
}

#[test]
fn a_scale_up_that_was_typed_on_iptables_lies_within_its_bounds() {
    let folder = tempfile::tempdir().expect("a folder");
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/typed/iptables-scale");
    copy(&recorded, folder.path());
    judge_scale_up(folder.path());
}

#[test]
fn a_scale_up_that_is_typed_now_lies_within_its_bounds() {
    if std::env::var_os("SYNCLINE_LIVE").is_none() {
        eprintln!("skipped: SYNCLINE_LIVE=1 types it anew, with real iptables in a network namespace");
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
    judge_scale_up(folder.path());
}

/// Judges what `typed/scale_up.sh` left in a folder, three captures of one scale-up, against the moments between which it loaded the
/// last state (`before`, `after`).
fn judge_scale_up(folder: &Path) {
    let typed = seconds(&folder.join("loop/scale.txt"));
    let truth = (seconds(&folder.join("before")) - typed, seconds(&folder.join("after")) - typed);
    for capture in ["loop", "recording"] {
        let input = folder.join(capture);
        // Nothing relates the operator's clock to the node's but that they are one machine: which only the operator knows.
        let unstated = report(&input, &folder.join(format!("{capture}-unstated")));
        assert_eq!(bounds(&unstated, "api_processing_time", "").map(|(low, _)| low > 0.04), Some(true));
        let (low, high) = bounds(&unstated, "convergence_time", "one clock").expect("from the looks alone");
        assert!(low <= truth.1 && truth.0 <= high, "{capture}: {truth:?} not within {low}..{high}");
        std::fs::write(input.join("capture.toml"), "node = \"node-a\"\nsame_host = [\"node-a\", \"operator\"]\n")
            .expect("written");
        let stated = report(&input, &folder.join(format!("{capture}-stated")));
        assert_eq!(stated["runs"][0]["dataplane"], "kube-proxy-iptables", "{capture}");
        let (low, high) = bounds(&stated, "convergence_time", "").expect("from the looks alone");
        assert!(low <= truth.1 && truth.0 <= high, "{capture}: {truth:?} not within {low}..{high}");
    }
    // The chain that the document watches says nothing of endpoints, and names the one that does.
    let services = report(&folder.join("services"), &folder.join("services-report"));
    assert_eq!(bounds(&services, "convergence_time", ""), None);
    let page = std::fs::read_to_string(folder.join("services-report/report.md")).expect("a page");
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
