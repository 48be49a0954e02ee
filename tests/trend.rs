//! `syncline trend`: runs of several days and versions with a known factor between them, in every format.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use syncline_collector::bundle::{BundleOptions, bundle};

fn syncline(folder: &Path, arguments: &[&str], threads: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
    command.current_dir(folder).args(arguments).env("RAYON_NUM_THREADS", threads).env("POLARS_MAX_THREADS", threads);
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

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The bundle of a run on a day of February 2026, whose clients' connections take `seconds` on average; without, nobody connected.
fn client_run(folder: &Path, day: usize, version: &str, seconds: Option<f64>) -> String {
    let name = format!("run-{day:02}");
    let capture = folder.join("captures").join(&name);
    fs::create_dir_all(capture.join("client")).expect("a folder");
    let statement = format!(
        "name = \"{name}\"\ndataplane = \"cilium\"\nscenario = \"steady-state\"\nnode = \"node-a\"\nsame_host = [\"node-a\", \"operator\"]\ntimezone = \"UTC\"\nyear = 2026\nsynthetic = true\n[versions]\ncilium = \"{version}\"\n"
    );
    fs::write(capture.join("capture.toml"), statement).expect("written");
    // 1,769,904,000 is 2026-02-01T00:00:00Z.
    let start = 1_769_904_000 + 86_400 * (day as i64 - 1);
    let markers = format!(
        "epoch_s\tlabel\tcommand\n{start}.0\tbaseline_start\t\n{}.0\tbaseline_end\t\n{}.0\tend\t\n",
        start + 30,
        start + 31
    );
    fs::write(capture.join("markers.tsv"), markers).expect("written");
    let mut state = (day as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut requests = String::new();
    for at in 0..if seconds.is_some() { 300 } else { 0 } {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let connect = seconds.unwrap_or_default() * (0.5 + (state >> 11) as f64 / (1u64 << 53) as f64);
        let _ = writeln!(
            requests,
            "{{\"ts\":\"2026-02-{day:02}T00:00:{:02}.{}90000001Z\",\"kind\":\"new\",\"worker\":1,\"seq\":{at},\"latency_ns\":{},\"connect_ns\":{},\"status\":200,\"backend\":\"b\",\"local\":\"10.0.0.9:{}\"}}",
            at / 10,
            at % 10,
            (connect * 3e9) as i64,
            (connect * 1e9) as i64,
            20_000 + at
        );
    }
    fs::write(capture.join("client/requests.jsonl"), requests).expect("written");
    let options = BundleOptions { inputs: vec![capture], out: folder.join(&name), ..BundleOptions::default() };
    bundle(&options).expect("bundled");
    name
}

/// Nine runs at a millisecond, then eight at 1.6 of a version that is older by its number. One day nobody connected.
fn archive(folder: &Path) -> Vec<String> {
    let run = |day: usize| {
        let seconds = if day <= 10 { 0.001 } else { 0.0016 };
        client_run(folder, day, if day <= 10 { "1.17.6" } else { "1.9.1" }, (day != 5).then_some(seconds))
    };
    // Given in another order than they ran.
    (1..=18).rev().map(run).collect()
}

fn trend(folder: &Path, runs: &[String], more: &[&str]) -> Output {
    trend_on(folder, runs, more, "2")
}

fn trend_on(folder: &Path, runs: &[String], more: &[&str], threads: &str) -> Output {
    let mut arguments = vec!["trend"];
    arguments.extend(runs.iter().map(String::as_str));
    arguments.extend(more);
    syncline(folder, &arguments, threads)
}

const MEDIAN: [&str; 4] = ["--measurement", "connection_setup_time", "--quantile", "p50"];

fn with(more: &[&'static str]) -> Vec<&'static str> {
    MEDIAN.iter().chain(more).copied().collect()
}

fn series(output: &Output) -> Value {
    let all: Vec<Value> =
        serde_json::from_str(&text(output)).unwrap_or_else(|error| panic!("{error}; standard error: {}", said(output)));
    assert_eq!(all.len(), 1, "{all:#?}");
    all.into_iter().next().expect("one")
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn is_day(time: &Value, day: usize) -> bool {
    time.as_str().is_some_and(|time| time.starts_with(&format!("2026-02-{day:02}T00:00:00.")))
}

fn check_time(found: &Value) {
    assert_eq!(
        (&found["dataplane"], &found["scenario"], &found["unit"]),
        (&"cilium".into(), &"steady-state".into(), &"s".into())
    );
    let points = found["points"].as_array().expect("points");
    let days: Vec<&str> = points.iter().filter_map(|point| point["run"].as_str()).collect();
    assert!(days.len() == 17 && days.is_sorted() && !days.contains(&"run-05"), "{days:?}");
    assert!(is_day(&points[0]["time"], 1), "{points:#?}");
    for point in points {
        let [low, high] = [0, 1].map(|end| number(&point["bounds"][end]));
        assert!(low <= number(&point["value"]) && number(&point["value"]) <= high && point["n"] == 300, "{point:#}");
    }
    let absent = &found["not_measured"][0];
    assert!(absent["run"] == "run-05" && is_day(&absent["time"], 5), "{absent:#}");
    assert!(absent["reason"].as_str().is_some_and(|reason| reason.len() > 20), "{absent:#}");
    let shifts = found["shifts"].as_array().expect("shifts");
    assert_eq!(shifts.len(), 1, "{found:#}");
    let shift = &shifts[0];
    assert_eq!((&shift["after_run"], &shift["first_run"]), (&"run-10".into(), &"run-11".into()), "{shift:#}");
    assert!(is_day(&shift["time"], 11) && shift["direction"] == "higher", "{shift:#}");
    assert_eq!((&shift["before"]["runs"], &shift["after"]["runs"]), (&9.into(), &8.into()));
    let [low, high] = [0, 1].map(|end| number(&shift["ratio_interval"][end]));
    assert!(low <= 1.6 && 1.6 <= high && low > 1.2 && high < 2.2, "{shift:#}");
    assert!(number(&shift["p"]) < 0.01 && (number(&shift["ratio"]) - 1.6).abs() < 0.2, "{shift:#}");
}

fn check_versions(found: &Value) {
    let groups: Vec<(&Value, &Value)> =
        found["groups"].as_array().expect("groups").iter().map(|group| (&group["by"], &group["runs"])).collect();
    assert_eq!(groups, [(&"1.9.1".into(), &8.into()), (&"1.17.6".into(), &9.into())], "1.9 is older than 1.17");
    let shift = &found["shifts"][0];
    assert_eq!(
        (&shift["first_run"], &shift["by"], &shift["direction"]),
        (&"run-01".into(), &"1.17.6".into(), &"lower".into())
    );
    assert_eq!(found["points"][0]["by"], "1.9.1");
}

#[test]
fn a_known_shift_is_found_over_time_and_over_versions_in_every_format() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, runs) = (folder.path(), archive(folder.path()));
    let output = trend(path, &runs, &with(&["--format", "json"]));
    assert_eq!(code(&output), 0, "{output:?}");
    check_time(&series(&output));
    assert_eq!(text(&output), text(&trend_on(path, &runs, &with(&["--format", "json"]), "1")), "the same bytes");
    for by in ["cilium", "version/cilium"] {
        let output =
            trend(path, &runs, &["--format", "json", "--by", by].iter().chain(&MEDIAN).copied().collect::<Vec<_>>());
        check_versions(&series(&output));
    }

    let table = text(&trend(path, &runs, &MEDIAN));
    let lines: Vec<&str> = table.lines().collect();
    assert!(table.contains("1 series, 18 runs (1 without the figure): 1 shift"), "{table}");
    assert!(table.contains("Generated data, not measured: ") && table.contains("Not measured in run-05: "), "{table}");
    let row = lines.iter().find(|line| line.starts_with("run-11 ")).expect("a row");
    assert!(
        row.contains("2026-02-11 00:00") && row.contains("▲ 1.") && row.contains(" × (") && row.contains(" ms ("),
        "{row}"
    );
    let drawn: Vec<&&str> = lines.iter().filter(|line| line.contains('●')).collect();
    assert_eq!(drawn.len(), 17, "{table}");
    assert!(drawn.iter().all(|line| line.chars().count() <= 80), "{table}");
    let place =
        |run: &str| drawn.iter().find(|line| line.contains(run)).and_then(|line| line.chars().position(|c| c == '●'));
    assert!(place("run-10") < place("run-11"), "{table}");
    let rule = lines.iter().position(|line| line.starts_with("── ▲ 1.")).expect("a rule");
    assert!(lines[rule + 1].contains("run-11") && lines[rule - 1].contains("run-10"), "{table}");
    assert!(table.contains("Shift at run-11 (2026-02-11 00:00): ") && table.contains(": higher."), "{table}");
    let table = text(&trend(path, &runs, &with(&["--by", "cilium"])));
    let older = table.lines().position(|line| line.starts_with("1.9.1 ")).expect("a group");
    assert!(
        table.lines().nth(older + 1).is_some_and(|line| line.starts_with("1.17.6 ") && line.contains('▼')),
        "{table}"
    );

    let page = text(&trend(path, &runs, &with(&["--format", "html", "--by", "cilium"])));
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("<svg") && !page.contains("<script"), "{page}");
    assert!(page.contains("1.9.1 → 1.17.6") && page.contains("run-05") && page.contains("Generated data."), "{page}");
    assert!(!page.contains("http:") || page.matches("http:").count() == page.matches("http://www.w3.org/").count());
}

/// What an archive keeps of the runs gives the same series, whole or by a condition.
#[test]
fn an_archive_gives_what_its_runs_give() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, runs) = (folder.path(), archive(folder.path()));
    let output = syncline(path, &["archive", "captures", "--out", "kept"], "2");
    assert_eq!(code(&output), 0, "{output:?}");
    let kept = ["kept".to_owned()];
    let of_archive = series(&trend(path, &kept, &with(&["--format", "json", "--by", "cilium"])));
    check_versions(&of_archive);
    assert_eq!(of_archive, series(&trend(path, &runs, &with(&["--format", "json", "--by", "cilium"]))));
    let condition = ["--format", "json", "--where", "cilium = '1.17.6'"];
    let found = series(&trend(path, &kept, &with(&condition)));
    assert_eq!(
        (found["points"].as_array().map(Vec::len), &found["not_measured"][0]["run"]),
        (Some(9), &"run-05".into())
    );
}

#[test]
fn runs_at_one_level_have_no_shift_and_few_say_how_many_it_takes() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    let runs: Vec<String> = (1..=9).map(|day| client_run(path, day, "1.19.4", Some(0.001))).collect();
    let found = series(&trend(path, &runs, &with(&["--format", "json"])));
    assert_eq!((&found["shifts"], &found["unproven"]), (&Value::Array(Vec::new()), &Value::Array(Vec::new())));
    assert!(text(&trend(path, &runs, &MEDIAN)).contains("No shift found among 9 runs."));
    let table = text(&trend(path, &runs[..3], &MEDIAN));
    assert!(table.contains("No shift can be told: 3 runs, and it takes 4 on each side."), "{table}");
}

#[test]
fn what_cannot_be_asked_is_refused_with_what_can_be() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    let runs = [client_run(path, 1, "1.19.4", Some(0.001))];
    let refused = |more: &[&str]| {
        let output = trend(path, &runs, more);
        assert_eq!((code(&output), output.stdout.len()), (2, 0), "{output:?}");
        said(&output)
    };
    let names = refused(&["--measurement", "connection_time"]);
    assert!(
        names.contains("no run has a measurement connection_time; there are ")
            && names.contains("connection_setup_time"),
        "{names}"
    );
    assert!(
        refused(&["--measurement", "connection_setup_time", "--quantile", "p96"]).contains("p50, p90, p95, p99, max")
    );
    let facts = refused(&with(&["--by", "kernel"]));
    assert!(facts.contains("no run tells it") && facts.contains("version/cilium"), "{facts}");
    assert!(refused(&with(&["--by", "cilium,kernel"])).contains("expected one fact"));
    // What can be read is told, and the exit code says that it is not all.
    let with_more = [runs[0].clone(), "nowhere".to_owned()];
    let output = trend(path, &with_more, &with(&["--format", "json"]));
    assert_eq!(code(&output), 2);
    assert_eq!(series(&output)["points"].as_array().map(Vec::len), Some(1));
    assert!(said(&output).contains("nowhere"), "{output:?}");
}
