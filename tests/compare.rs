//! `syncline compare` and `check --baseline`: real differences, injected ones, what few runs cannot tell, and what CI sees.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn syncline(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
    command.current_dir(folder).args(arguments).env("RAYON_NUM_THREADS", "2").env("POLARS_MAX_THREADS", "2");
    command.output().expect("syncline starts")
}

fn code(output: &Output) -> i32 {
    let code = output.status.code().expect("an exit code");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"), "{output:?}");
    code
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn json(output: &Output) -> Vec<Value> {
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_str(&text(output)).unwrap_or_else(|error| panic!("{error}; standard error: {said}"))
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("in the workspace").join("tests/fixtures/compare-wait")
}

/// The comparison of one measurement and statistic.
fn one<'a>(all: &'a [Value], measurement: &str, statistic: &str) -> &'a Value {
    let is_it = |one: &&Value| {
        one["measurement"] == measurement
            && one["statistic"] == statistic
            && one["variant"] == ""
            && one["a"]["runs"] != 0
    };
    all.iter().find(is_it).unwrap_or_else(|| panic!("no {measurement} {statistic}"))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// The captures' own clock, and an independent script's medians over their sum: 0.26 against 0.035 s.
fn check_wait(folder: &Path) {
    let (slow, fast) = (["500ms-1", "500ms-2", "500ms-3"], ["50ms-1", "50ms-2", "50ms-3"]);
    let arguments = ["compare"].iter().chain(&slow).chain(&["--against"]).chain(&fast).copied();
    let all = json(&syncline(folder, &arguments.chain(["--format", "json"]).collect::<Vec<_>>()));
    let median = one(&all, "endpoint_propagation", "p50");
    let (a, b) = (number(&median["a"]["median"]), number(&median["b"]["median"]));
    // The clocks leave the shorter one within some 20 ms: it is held by its bounds.
    let bounds = |side: &str| [0, 1].map(|end| number(&median[side]["bounds"][end]));
    assert!((0.24..0.29).contains(&a) && (0.01..0.045).contains(&b), "{a} against {b}: {median:#}");
    assert!(bounds("b")[0] < 0.035 && 0.035 < bounds("b")[1] && bounds("b")[1] < bounds("a")[0], "{median:#}");
    let (low, high) = (number(&median["ratio_interval"][0]), number(&median["ratio_interval"][1]));
    assert!(low < 0.135 && 0.135 < high && high < 0.5, "{low} to {high}");
    // Three against three cannot be significant, however far apart: 2 of 20 ways to divide them are as extreme.
    assert_eq!(median["verdict"], "cannot tell");
    assert!((number(&median["p"]) - 0.1).abs() < 1e-9 && median["p_adjusted"].is_null(), "{median:#}");
    assert!((number(&median["coverage"]) - 0.9).abs() < 1e-9);
    assert!(number(&median["runs_needed"]) >= 4.0);
    let reason = median["reason"].as_str().expect("a reason");
    assert!(reason.contains("runs a side would do") && reason.contains("lower"), "{reason}");
}

#[test]
fn a_real_difference_is_found_by_its_ratio_and_three_runs_a_side_say_how_many_would_do() {
    check_wait(&fixture());
}

#[test]
fn the_whole_captures_say_the_same() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("in the workspace").to_owned();
    let places = ["../shared/compare-wait", "../../shared/compare-wait"].map(|place| root.join(place));
    match places.iter().find(|place| place.is_dir()) {
        Some(folder) => check_wait(folder),
        None => eprintln!("skipped: {} is not there", places[0].display()),
    }
}

/// The key of a ConfigMap is listed and ignored: the run is as the others with 500 ms, and is compared as such.
#[test]
fn a_key_that_is_only_listed_tells_no_runs_apart() {
    let arguments = ["compare", "500ms-1", "500ms-2", "500ms-3", "--against", "key-only-1"];
    let table = text(&syncline(&fixture(), &arguments));
    assert!(table.contains("differs: nothing that the captures tell"), "{table}");
    assert!(table.contains("cannot tell") && table.contains("endpoint_propagation p50"), "{table}");
}

/// Captures of clients whose connections take `seconds`, on average: everything else is alike.
fn client_run(folder: &Path, name: &str, seconds: f64, seed: u64) {
    let capture = folder.join(name);
    fs::create_dir_all(capture.join("client")).expect("a folder");
    let start = 1_770_000_000.0;
    let statement = format!(
        "name = \"{name}\"\ndataplane = \"cilium\"\nscenario = \"steady-state\"\nnode = \"node-a\"\nsame_host = [\"node-a\", \"operator\"]\ntimezone = \"UTC\"\nyear = 2026\nsynthetic = true\n"
    );
    fs::write(capture.join("capture.toml"), statement).expect("written");
    let markers = format!(
        "epoch_s\tlabel\tcommand\n{start}\tbaseline_start\t\n{}\tbaseline_end\t\n{}\tend\t\n",
        start + 60.0,
        start + 61.0
    );
    fs::write(capture.join("markers.tsv"), markers).expect("written");
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut requests = String::new();
    for at in 0..1_200 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let part = (state >> 11) as f64 / (1u64 << 53) as f64;
        let connect = seconds * (0.5 + part);
        let time = start + 0.05 * f64::from(at) + 0.01;
        let (whole, ns) = (time.floor() as i64, ((time.fract()) * 1e9) as i64);
        let minute = (whole - 1_770_000_000) / 60;
        let second = (whole - 1_770_000_000) % 60;
        // 1,770,000,000 is 2026-02-02T02:40:00Z.
        let _ = writeln!(
            requests,
            "{{\"ts\":\"2026-02-02T02:{:02}:{second:02}.{ns:09}Z\",\"kind\":\"new\",\"worker\":1,\"seq\":{at},\"latency_ns\":{},\"connect_ns\":{},\"status\":200,\"backend\":\"b\",\"local\":\"10.0.0.9:{}\"}}",
            40 + minute,
            (connect * 3e9) as i64,
            (connect * 1e9) as i64,
            20_000 + at
        );
    }
    fs::write(capture.join("client/requests.jsonl"), requests).expect("written");
}

fn client_runs(folder: &Path, prefix: &str, runs: usize, seconds: f64, seed: u64) -> Vec<String> {
    let name = |at: usize| format!("{prefix}-{at}");
    (0..runs).for_each(|at| client_run(folder, &name(at), seconds, seed + at as u64));
    (0..runs).map(name).collect()
}

#[test]
fn injected_differences_are_found_and_equal_sets_are_not_called_different() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    let before = client_runs(path, "before", 7, 0.001, 1);
    let same = client_runs(path, "same", 7, 0.001, 101);
    let slower = client_runs(path, "slower", 7, 0.0016, 201);
    let run = |b: &[String], more: &[&str]| {
        let mut arguments = vec!["compare"];
        arguments.extend(before.iter().map(String::as_str));
        arguments.push("--against");
        arguments.extend(b.iter().map(String::as_str));
        arguments.extend(["--only", "connection_setup_time"]);
        arguments.extend(more);
        syncline(path, &arguments)
    };
    let all = json(&run(&slower, &["--format", "json"]));
    let median = one(&all, "connection_setup_time", "p50");
    assert_eq!(median["verdict"], "higher", "{median:#}");
    let (low, high) = (number(&median["ratio_interval"][0]), number(&median["ratio_interval"][1]));
    assert!(low <= 1.6 && 1.6 <= high && low > 1.0, "{low} to {high}");
    let all = json(&run(&same, &["--format", "json"]));
    assert!(all.iter().all(|one| one["verdict"] == "no difference"), "{all:#?}");
    let left = number(&one(&all, "connection_setup_time", "p50")["smallest_difference"]);
    assert!(left > 0.0 && left < 0.3, "{left}");

    // CI: by what, and by how much.
    assert_eq!(code(&run(&slower, &[])), 0);
    assert_eq!(code(&run(&slower, &["--fail-on", "higher"])), 1);
    assert_eq!(code(&run(&slower, &["--fail-on", "higher:30"])), 1);
    assert_eq!(code(&run(&slower, &["--fail-on", "higher:90"])), 0);
    assert_eq!(code(&run(&same, &["--fail-on", "higher"])), 0);
    assert_eq!(code(&run(&slower, &["--fail-on", "slower"])), 2);

    let table = text(&run(&slower, &["--label-a", "old", "--label-b", "new"]));
    let line = table.lines().find(|line| line.starts_with("connection_setup_time p50 ")).expect("a line");
    assert!(line.contains(" ± ") && line.contains(" × (") && line.ends_with("higher"), "{line}");
    assert!(table.contains("new ÷ old"), "{table}");
    let junit = text(&run(&slower, &["--format", "junit", "--fail-on", "higher"]));
    assert!(junit.contains("<failure message=\"higher: 1.") && junit.starts_with("<?xml"), "{junit}");
    let markdown = text(&run(&slower, &["--format", "md"]));
    assert!(markdown.contains("**higher**") && markdown.contains("| measurement |"), "{markdown}");
    let html = text(&run(&slower, &["--format", "html", "--label-b", "<script>x</script>"]));
    assert!(html.contains("<strong>higher</strong>") && !html.contains("<script"), "{html}");
}

#[test]
fn two_selections_of_the_same_runs_are_the_two_lists() {
    let folder = tempfile::tempdir().expect("a folder");
    let (a, b) = (client_runs(folder.path(), "a", 3, 0.010, 1), client_runs(folder.path(), "b", 2, 0.020, 50));
    let (a, b): (Vec<&str>, Vec<&str>) =
        (a.iter().map(String::as_str).collect(), b.iter().map(String::as_str).collect());
    let all = [&a[..], &b].concat();
    let made = syncline(folder.path(), &[&["archive"], &all[..], &["--out", "kept"]].concat());
    assert_eq!(code(&made), 0, "{made:?}");
    let compared = |first: &[&str], against: &[&str], more: &[&str]| {
        let output = syncline(
            folder.path(),
            &[&["compare"], first, &["--against"], against, &["--format", "json"], more].concat(),
        );
        (code(&output), json(&output))
    };
    let expected = compared(&a, &b, &[]);
    let selections = ["--where-a", "name LIKE 'a%'", "--where-b", "name LIKE 'b%'"];
    assert!(!expected.1.is_empty());
    assert_eq!(compared(&["kept"], &["kept"], &selections), expected);
    assert_eq!(compared(&all, &all, &selections), expected);
    // A run that both select is on both sides, and that is said.
    let both = ["compare", "kept", "--against", "kept", "--where-b", "name LIKE 'b%'"];
    let output = syncline(folder.path(), &both);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((code(&output), said.matches("are the same run, on both sides").count()), (0, 2), "{said}");
    let none = syncline(folder.path(), &[&both[..], &["--where-a", "name = 'c'"]].concat());
    assert!(code(&none) == 2 && String::from_utf8_lossy(&none.stderr).contains("holds for none of 5 runs"), "{none:?}");
}

#[test]
fn sets_without_anything_in_common_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    client_run(folder.path(), "steady", 0.001, 1);
    let fixture = fixture().join("50ms-1");
    let other = fixture.to_str().expect("UTF-8");
    let output = syncline(folder.path(), &["compare", "steady", "--against", other]);
    assert_eq!(code(&output), 2);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("no scenario") && said.contains("steady-state") && said.contains("scale-up"), "{said}");
    let output = syncline(folder.path(), &["compare", "steady", "--against", "steady"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("the same run, on both sides"), "{output:?}");
}

/// T2.2 documents 0.1 to 1 ms for Cilium.
#[test]
fn check_against_a_baseline_fails_on_what_became_costlier_and_not_on_what_was_so_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    let before = client_runs(path, "before", 7, 0.005, 1);
    let same = client_runs(path, "same", 7, 0.005, 101);
    let slower = client_runs(path, "slower", 7, 0.01, 201);
    let run = |runs: &[String], baseline: &[String], more: &[&str]| {
        let mut arguments = vec!["check"];
        arguments.extend(runs.iter().map(String::as_str));
        if !baseline.is_empty() {
            arguments.push("--baseline");
            arguments.extend(baseline.iter().map(String::as_str));
        }
        arguments.extend(more);
        syncline(path, &arguments)
    };
    // Worse than documented, by itself.
    assert_eq!(code(&run(&same, &[], &[])), 1);
    // As it was before: no regression.
    let output = run(&same, &before, &[]);
    assert_eq!(code(&output), 0, "{}", text(&output));
    assert!(text(&output).contains("is worse in the baseline too"), "{}", text(&output));
    let output = run(&slower, &before, &["--format", "junit"]);
    assert_eq!(code(&output), 1);
    let junit = text(&output);
    assert!(junit.contains("<testsuite name=\"against the baseline, steady-state\""), "{junit}");
    assert!(junit.contains("<failure message=\"higher: "), "{junit}");
    assert!(junit.contains("worse, as in the baseline"), "{junit}");
    let document: Value = serde_json::from_str(&text(&run(&slower, &before, &["--format", "json"]))).expect("JSON");
    assert!(document["verdicts"].as_array().is_some_and(|all| !all.is_empty()));
    assert!(
        document["against_baseline"].as_array().is_some_and(|all| all.iter().any(|one| one["verdict"] == "higher"))
    );
}
