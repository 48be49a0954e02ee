//! The analyzer's command line: what each command prints, where, with which exit code; the same bytes whatever the threads.
//!
//! Long because each command has its contract tried here.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use syncline_collector::bundle::{BundleOptions, bundle};

fn syncline(folder: &Path, arguments: &[&str]) -> Output {
    syncline_on(folder, arguments, "2")
}

fn syncline_on(folder: &Path, arguments: &[&str], threads: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
    command.current_dir(folder).args(arguments);
    command.env("RAYON_NUM_THREADS", threads).env("POLARS_MAX_THREADS", threads);
    command.output().expect("syncline starts")
}

fn sample(run: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sample-data").join(run);
    path.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A bundle of a sample run, in `folder`.
fn bundled(folder: &Path, run: &str) -> String {
    let options = BundleOptions { inputs: vec![sample(run)], out: folder.join(run), ..BundleOptions::default() };
    bundle(&options).expect("bundled");
    run.to_owned()
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn json(output: &Output) -> Value {
    let text = out(output);
    serde_json::from_str(&text).unwrap_or_else(|error| {
        let said = String::from_utf8_lossy(&output.stderr);
        panic!("{error} in `{}`; standard error: {said}", text.chars().take(300).collect::<String>())
    })
}

fn code(output: &Output) -> i32 {
    let code = output.status.code().expect("an exit code");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"), "{output:?}");
    code
}

fn files(folder: &Path, into: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, into);
        } else {
            let bytes = fs::read(&path).expect("a file");
            into.insert(path, bytes);
        }
    }
}

fn report_of(folder: &Path, name: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let root = folder.join(name);
    files(&root, &mut found);
    found.into_iter().map(|(path, bytes)| (path.strip_prefix(&root).expect("inside").to_owned(), bytes)).collect()
}

#[test]
fn what_cannot_run_exits_with_2_and_says_why_on_standard_error() {
    let folder = folder();
    fs::create_dir(folder.path().join("empty")).expect("a folder");
    fs::write(folder.path().join("a-file"), "").expect("a file");
    for arguments in [
        &["nonsense"][..],
        &["report", "no-such-capture", "--out", "report"],
        &["report", "empty"],
        &["check", "no-such-capture"],
        &["query", "no-such-bundle", "up"],
        &["query", "empty"],
        &["timeline", "no-such-bundle"],
        &["clocks", "no-such-bundle"],
        &["expectations", "--format", "yaml"],
        &["compare", "no-such-capture", "--against", "empty"],
        &["check", "empty", "--ignore", "colour"],
        &["trend", "no-such-bundle", "--measurement", "sync_duration"],
        &["trend", "empty"],
        &["alerts", "no-such-bundle", "--rules", "a-file"],
        &["alerts", "empty"],
        &["rules", "--format", "json"],
        &["rules", "--expectations", "a-file"],
        &["dashboards"],
        &["export", "no-such-bundle", "--format", "perfetto", "--out", "x"],
        &["export", "empty"],
        &["completions", "tcsh"],
        &["man", "a-file"],
    ] {
        let output = syncline(folder.path(), arguments);
        assert_eq!(code(&output), 2, "{arguments:?}: {output:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}: {output:?}");
    }
    assert!(!folder.path().join("report").exists());
    let commands =
        "report query expectations timeline clocks check compare trend alerts rules dashboards export completions man";
    for command in commands.split(' ') {
        let output = syncline(folder.path(), &[command, "--help"]);
        assert_eq!(code(&output), 0);
        let wide = out(&output).lines().map(|line| line.chars().count()).max();
        assert!(wide.is_some_and(|wide| wide <= 80), "{command} --help is {wide:?} wide");
    }
}

#[test]
fn a_report_has_the_same_bytes_whatever_the_threads_and_needs_no_network() {
    let folder = folder();
    let runs = ["cilium-pod-crash-1", "iptables-pod-crash-1"].map(|run| bundled(folder.path(), run));
    let mut made = Vec::new();
    for threads in ["1", "4"] {
        let name = format!("report-{threads}");
        let arguments = ["report", &runs[0], &runs[1], "--out", &name];
        let output = syncline_on(folder.path(), &arguments, threads);
        assert_eq!(code(&output), 0, "{output:?}");
        assert!(out(&output).contains(&format!("{name}/report.html")), "the path of the report is not printed");
        made.push(report_of(folder.path(), &name));
        assert_eq!(code(&syncline(folder.path(), &arguments)), 2, "an existing report was overwritten");
        let forced = [&arguments[..], &["--force"]].concat();
        assert_eq!(code(&syncline(folder.path(), &forced)), 0);
    }
    for (path, bytes) in &made[0] {
        assert!(made[1].get(path) == Some(bytes), "{}: differs between one thread and four", path.display());
    }
    let html = String::from_utf8(made[0][Path::new("report.html")].clone()).expect("UTF-8");
    for load in ["<script ", "<link", "<img", "src=\"", "@import", "url("] {
        assert!(!html.contains(load), "the report loads something: {load}");
    }
    // Its one script stands in it, and the page's policy names that one.
    assert_eq!((html.matches("<script>").count(), html.matches("script-src 'sha256-").count()), (1, 1));
    let document: Value = serde_json::from_slice(&made[0][Path::new("report.json")]).expect("JSON");
    for key in ["runs", "measurements", "verdicts", "losses", "clocks"] {
        assert!(document[key].as_array().is_some_and(|list| !list.is_empty()), "{key} is empty");
    }
    for verdict in document["verdicts"].as_array().expect("verdicts") {
        let status = verdict["status"].as_str().expect("a status");
        if status == "holds" {
            assert!(verdict["measured"].is_number() && verdict["measured_bounds"].is_array(), "{verdict:#}");
            assert!(verdict["evidence"].as_array().is_some_and(|list| !list.is_empty()), "no evidence: {verdict:#}");
        }
        if status == "not measured" {
            assert!(!verdict["reason"].as_str().unwrap_or_default().is_empty(), "{verdict:#}");
        }
    }
    for one in document["measurements"].as_array().expect("measurements") {
        let quantiles = one["quantiles"].as_object().into_iter().flatten().map(|(_, quantile)| quantile);
        for figure in quantiles.chain([one]) {
            let Some(value) = figure["value"].as_f64() else { continue };
            let (low, high) = (figure["bounds"][0].as_f64(), figure["bounds"][1].as_f64());
            let within = low.is_none_or(|low| low <= value) && high.is_none_or(|high| value <= high);
            assert!(within, "beyond its own bounds: {one:#}");
        }
    }
    // A difference of two dumps names both files.
    let cost =
        |one: &&Value| one["name"] == "packet_cost" && one["run"] == "cilium-pod-crash-1" && one["variant"] == "";
    let cost = document["measurements"].as_array().into_iter().flatten().find(cost).expect("packet_cost");
    let paths: Vec<&str> =
        cost["evidence"].as_array().expect("evidence").iter().filter_map(|one| one["path"].as_str()).collect();
    assert!(paths.iter().any(|path| *path != paths[0]), "{cost:#}");
}

#[test]
fn a_capture_directory_and_its_bundle_give_the_same_verdicts() {
    let folder = folder();
    let run = bundled(folder.path(), "iptables-pod-crash-1");
    let raw = sample("iptables-pod-crash-1");
    let verdicts = |input: &str| {
        let output = syncline(folder.path(), &["check", input, "--format", "json"]);
        (code(&output), json(&output))
    };
    let (from_bundle, from_capture) = (verdicts(&run), verdicts(&raw.to_string_lossy()));
    assert!(from_bundle == from_capture, "they differ");
    let rows = from_bundle.1.as_array().expect("an array");
    assert!(rows.iter().any(|row| row["id"] == "C7"));
    let worse = rows.iter().any(|row| row["status"] == "worse");
    assert_eq!(from_bundle.0, i32::from(worse));
    let open = rows.iter().any(|row| row["status"] == "inconclusive" || row["status"] == "not measured");
    let strict = syncline(folder.path(), &["check", &run, "--strict"]);
    assert_eq!(code(&strict), i32::from(worse || open));
    assert!(open, "nothing was open in one crash: --strict was not tried");
}

#[test]
fn what_judges_nothing_is_no_pass() {
    let folder = folder();
    let captures = folder.path().join("run");
    fs::create_dir(&captures).expect("a folder");
    fs::copy(sample("cilium-pod-crash-1").join("markers.tsv"), captures.join("markers.tsv")).expect("copied");
    let output = syncline(folder.path(), &["check", "run"]);
    assert_eq!(code(&output), 2, "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("nothing could be judged"), "{output:?}");
}

#[test]
fn check_fails_where_a_value_is_worse() {
    let folder = folder();
    let run = bundled(folder.path(), "cilium-pod-crash-1");
    let output = syncline(folder.path(), &["check", &run]);
    assert!(out(&output).contains("worse"), "{output:?}");
    assert_eq!(code(&output), 1);
}

#[test]
fn the_catalogue_has_every_row_in_every_format() {
    let folder = folder();
    let listed = json(&syncline(folder.path(), &["expectations", "--format", "json"]));
    let rows = listed.as_array().expect("an array");
    assert_eq!(rows.len(), 46);
    for row in rows {
        for key in ["id", "scenario", "claim", "expected", "documented", "sound", "provenance", "min_samples"] {
            assert!(row.get(key).is_some(), "{}: no {key}", row["id"]);
        }
        let expected = row["expected"].as_object().expect("by dataplane");
        assert!(["cilium", "kube-proxy-iptables"].iter().all(|side| expected.contains_key(*side)), "{row:#}");
        assert!(expected.values().any(|side| side["text"].is_string()), "nothing is claimed: {row:#}");
    }
    let toml = syncline(folder.path(), &["expectations", "--format", "toml"]);
    fs::write(folder.path().join("own.toml"), toml.stdout).expect("written");
    let table = out(&syncline(folder.path(), &["expectations"]));
    assert!(rows.iter().all(|row| table.contains(row["id"].as_str().expect("an id"))));
    let run = bundled(folder.path(), "iptables-pod-crash-1");
    let output =
        syncline(folder.path(), &["report", &run, "--out", "own", "--expectations", "own.toml", "--formats", "json"]);
    assert_eq!(code(&output), 0, "the printed catalogue cannot be read back: {output:?}");
    assert_eq!(report_of(folder.path(), "own").len(), 1, "only report.json was asked for");
}

#[test]
fn query_answers_as_the_http_api_does() {
    let folder = folder();
    let run = bundled(folder.path(), "iptables-pod-crash-1");
    let ask = |expression: &str, more: &[&str]| {
        let fixed = ["query", &run, expression, "--format", "json"];
        syncline(folder.path(), &[&fixed[..], more].concat())
    };
    let scalar = ask("1/3", &["--time", "1700000000"]);
    assert_eq!(code(&scalar), 0);
    let expected = r#"{"status":"success","data":{"resultType":"scalar","result":[1700000000,"0.3333333333333333"]}}"#;
    assert_eq!(out(&scalar).trim_end(), expected);
    let range = json(&ask("vector(2)", &["--start", "1700000000", "--end", "1700000060", "--step", "30s"]));
    assert_eq!(range["data"]["resultType"], "matrix");
    let values = range["data"]["result"][0]["values"].as_array().expect("values");
    assert_eq!(values.len(), 3);
    assert_eq!(values[2], serde_json::json!([1_700_000_060, "2"]));
    let vector = json(&ask("count(kubeproxy_sync_proxy_rules_duration_seconds_count)", &[]));
    assert_eq!(vector["data"]["resultType"], "vector");
    // Since when a counter counts is part of its rate: OpenMetrics says it.
    let page =
        |time: i64, total: i64| format!("# SCRAPE {time}.0\n# TYPE a counter\na_total {total}\na_created 1795407705\n");
    let capture = folder.path().join("openmetrics");
    fs::create_dir(&capture).expect("a folder");
    let pages = [page(1_795_407_710, 10), page(1_795_407_715, 12), page(1_795_407_720, 30)].concat();
    fs::write(capture.join("metrics.prom"), pages).expect("a file");
    let said = |expression: &str| {
        let fixed = ["query", "openmetrics", expression, "--format", "json", "--time", "1795407720"];
        json(&syncline(folder.path(), &fixed))["data"]["result"][0]["value"][1].as_str().map(str::to_owned)
    };
    assert_eq!(said("start_timestamp(a_total)").as_deref(), Some("1795407705"));
    assert_eq!(said("start_timestamp(a_created)"), None);
    assert_eq!(said("increase(a_total[16s])").as_deref(), Some("30"), "all of it since it began, not 20 within 10 s");
    for wrong in ["sum(", "foo{", "rate(up)", "1 + \"a\""] {
        let output = ask(wrong, &[]);
        assert_eq!(code(&output), 1, "{wrong}");
        let answer = json(&output);
        assert_eq!(answer["status"], "error");
        assert_eq!(answer["errorType"], "bad_data", "{answer}");
        assert!(answer["error"].as_str().is_some_and(|text| !text.is_empty()));
    }
    let csv = out(&syncline(folder.path(), &["query", &run, "vector(1)", "--format", "csv"]));
    assert_eq!(csv.lines().count(), 2, "{csv}");
    // Options may stand before and between the operands, an expression may begin with a minus, and so may a time.
    let minus = syncline(folder.path(), &["query", "--time", "-60", &run, "--format", "json", "-vector(time())"]);
    assert_eq!(json(&minus)["data"]["result"][0]["value"], serde_json::json!([-60, "60"]));
    // A capture directory needs no bundle first.
    let capture = sample("iptables-pod-crash-1").display().to_string();
    let direct = syncline(folder.path(), &["query", &capture, "count(process_cpu_seconds_total)", "--format", "json"]);
    let bundled = syncline(folder.path(), &["query", &run, "count(process_cpu_seconds_total)", "--format", "json"]);
    assert_eq!(out(&direct), out(&bundled));
    let chart = out(&syncline(
        folder.path(),
        &["query", &run, "count(process_cpu_seconds_total)", "--step", "10s", "--format", "chart"],
    ));
    assert!(chart.lines().nth(1).is_some_and(|line| line.contains('▁')), "{chart}");
    let explained = syncline(folder.path(), &["query", &run, "sum(rate(process_cpu_seconds_total[1m]))", "--explain"]);
    assert_eq!(code(&explained), 0);
    let explained = String::from_utf8_lossy(&explained.stderr).into_owned();
    for part in ["selected process_cpu_seconds_total", "  rate(process_cpu_seconds_total[1m])\n"] {
        assert!(explained.contains(part), "{explained}");
    }
}

#[test]
fn query_over_several_bundles_says_which_run() {
    let folder = folder();
    let runs = ["iptables-pod-crash-1", "cilium-pod-crash-1"].map(|run| bundled(folder.path(), run));
    let expression = "count by (run) (process_cpu_seconds_total)";
    let output =
        syncline(folder.path(), &["query", &runs[0], &runs[1], expression, "--format", "json", "--lookback", "1h"]);
    let answer = json(&output);
    let named: Vec<&str> = answer["data"]["result"]
        .as_array()
        .expect("a result")
        .iter()
        .filter_map(|one| one["metric"]["run"].as_str())
        .collect();
    assert_eq!(named.len(), 2, "{answer}");
    assert!(runs.iter().all(|run| named.contains(&run.as_str())), "{named:?}");
}

#[test]
fn timeline_and_clocks_print_what_a_program_can_read() {
    let folder = folder();
    let run = bundled(folder.path(), "iptables-pod-crash-1");
    let events = json(&syncline(folder.path(), &["timeline", &run, "--format", "json"]));
    let events = events["events"].as_array().expect("an array");
    assert!(events.len() > 10);
    for event in events {
        let (low, high) = (event["low"].as_i64().expect("a time"), event["high"].as_i64().expect("a time"));
        assert!(low <= high && event["source"].is_string() && event["record"].is_number(), "{event:#}");
    }
    let csv = out(&syncline(folder.path(), &["timeline", &run, "--format", "csv"]));
    assert_eq!(csv.lines().count(), events.len() + 1, "one line an event and a heading");
    let filtered = |arguments: &[&str]| {
        let all = [&["timeline", &run, "--format", "json"], arguments].concat();
        json(&syncline(folder.path(), &all))["events"].as_array().expect("an array").clone()
    };
    let (before, after) = (filtered(&["--to", "action"]), filtered(&["--from", "action"]));
    assert!(!before.is_empty() && !after.is_empty());
    assert!(before.len() + after.len() >= events.len(), "bounds may reach into both");
    assert!(filtered(&["--from", "action-1s", "--to", "action+1s"]).len() < events.len());
    let low = filtered(&["--columns", "low,what", "--kind", "sync"]);
    assert!(low.iter().all(|one| one.as_object().is_some_and(|one| one.len() == 2)), "{low:?}");
    let csv = out(&syncline(folder.path(), &["timeline", &run, "--format", "csv", "--columns", "time,kind"]));
    assert_eq!(csv.lines().next(), Some("time,kind"));
    assert_eq!(code(&syncline(folder.path(), &["timeline", &run, "--from", "yesterday"])), 2);
    assert_eq!(code(&syncline(folder.path(), &["timeline", &run, "--kind", "synk"])), 2);
    let clocks = json(&syncline(folder.path(), &["clocks", &run, "--format", "json"]));
    let anchors = clocks["anchors"].as_array().expect("an array");
    assert_eq!(anchors.len() + 1, clocks["domains"].as_array().map_or(0, Vec::len), "one for each other clock");
    assert!(clocks["edges"].as_array().is_some_and(|edges| !edges.is_empty()), "{clocks:#}");
    assert!(!out(&syncline(folder.path(), &["clocks", &run])).is_empty());
}

#[test]
fn the_short_form_fits_a_comment_and_nodes_multiply() {
    let folder = folder();
    let runs = ["cilium-pod-crash-1", "iptables-pod-crash-1"].map(|run| bundled(folder.path(), run));
    let short = ["report", &runs[0], &runs[1], "--out", "short", "--formats", "short", "--nodes", "50"];
    assert_eq!(code(&syncline(folder.path(), &short)), 0);
    let made = report_of(folder.path(), "short");
    assert_eq!(made.keys().collect::<Vec<_>>(), [Path::new("summary.md")]);
    let text = String::from_utf8(made[Path::new("summary.md")].clone()).expect("UTF-8");
    assert!(text.chars().count() <= 60_000 && !text.contains("]("), "{} characters", text.chars().count());
    for part in ["Head to head", "on 50 nodes", "do not cover", "Is the document right?", "What to capture next"] {
        assert!(text.contains(part), "{part}");
    }
    let pages = ["report", &runs[0], &runs[1], "--out", "pages", "--formats", "html", "--per-run"];
    assert_eq!(code(&syncline(folder.path(), &pages)), 0);
    let made = report_of(folder.path(), "pages");
    let html = String::from_utf8(made[Path::new("report.html")].clone()).expect("UTF-8");
    let linked: Vec<&Path> = made.keys().map(|path| &**path).filter(|path| path.starts_with("runs")).collect();
    assert_eq!(linked.len(), 2);
    for page in linked {
        // The page escapes what it is given, a stroke too.
        let link = format!("href=\"{}\"", page.display()).replace('/', "&#x2f;");
        assert!(html.contains(&link), "{} is not linked", page.display());
    }
    // A report with pages is a report: --force replaces it.
    assert_eq!(code(&syncline(folder.path(), &[&pages[..], &["--force"]].concat())), 0);
    let none = ["report", &runs[0], "--out", "none", "--nodes", "0"];
    assert_eq!(code(&syncline(folder.path(), &none)), 2);
}

#[test]
fn titles_and_notes_are_shown_not_run() {
    let folder = folder();
    let run = bundled(folder.path(), "iptables-pod-crash-1");
    fs::write(folder.path().join("notes.md"), "We **propose** this.\n\n<script>alert(1)</script>\n").expect("written");
    let title = "Move <b>now</b> & \"soon\"";
    let arguments = ["report", &run, "--out", "report", "--notes", "notes.md", "--title", title];
    assert_eq!(code(&syncline(folder.path(), &arguments)), 0);
    let html = fs::read_to_string(folder.path().join("report/report.html")).expect("a report");
    assert!(html.contains("<strong>propose</strong>"));
    assert!(html.contains("&lt;script&gt;alert(1)") && html.matches("<script>").count() == 1);
    assert!(html.contains("&lt;b&gt;now") && !html.contains("<b>now"));
    let missing = ["report", &run, "--out", "other", "--notes", "none.md"];
    assert_eq!(code(&syncline(folder.path(), &missing)), 2);
    assert!(!folder.path().join("other").exists());
}

#[test]
fn a_query_takes_phases_says_what_is_near_and_fails_on_what_it_finds() {
    let folder = folder();
    let run = bundled(folder.path(), "iptables-pod-crash-1");
    let query = |more: &[&str]| {
        let arguments: Vec<&str> = ["query", &run].into_iter().chain(more.iter().copied()).collect();
        syncline(folder.path(), &arguments)
    };
    let time = |text: &str| {
        let answer = json(&query(&["process_cpu_seconds_total", "--format", "json", "--time", text]));
        answer["data"]["result"][0]["value"][0].as_f64().unwrap_or_else(|| panic!("{text}: {answer}"))
    };
    let (action, later, end, before_end) = (time("action"), time("action+10s"), time("end"), time("-5s"));
    assert!((later - action - 10.0).abs() < 0.002 && (end - before_end - 5.0).abs() < 0.002, "{action} {later} {end}");
    let range = json(&query(&[
        "up or vector(1)",
        "--format",
        "json",
        "--start",
        "action",
        "--end",
        "action+20s",
        "--step",
        "10",
    ]));
    assert_eq!(range["data"]["result"][0]["values"].as_array().map(Vec::len), Some(3), "{range}");
    assert_eq!(code(&query(&["vector(1)", "--time", "lunch"])), 2);

    let empty = query(&["kubeproxy_sync_proxy_rules_errors_total"]);
    let said = String::from_utf8_lossy(&empty.stderr).into_owned();
    for part in ["nearest: kubeproxy_sync_proxy_rules", "no version of kube-proxy has it", "stands in row"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert_eq!(code(&query(&["process_cpu_seconds_total > 1e9", "--fail-if-any"])), 0);
    assert_eq!(code(&query(&["process_cpu_seconds_total", "--fail-if-any"])), 1);
    assert_eq!(code(&query(&["process_cpu_seconds_total"])), 0);
}

#[test]
fn an_instant_query_over_several_runs_takes_the_end_of_each() {
    let folder = folder();
    let runs = ["iptables-pod-crash-1", "cilium-pod-crash-1"].map(|run| bundled(folder.path(), run));
    let ask = |more: &[&str]| {
        let arguments: Vec<&str> =
            ["query", &runs[0], &runs[1]].into_iter().chain(more.iter().copied()).chain(["--format", "json"]).collect();
        json(&syncline(folder.path(), &arguments))
    };
    // Hours apart: at one moment only one of them is current.
    for expression in ["sum(process_cpu_seconds_total)", "sum by (run) (process_cpu_seconds_total)"] {
        let answer = ask(&[expression]);
        let result = answer["data"]["result"].as_array().expect("a result");
        let named: Vec<&str> = result.iter().filter_map(|one| one["metric"]["run"].as_str()).collect();
        assert_eq!(named, runs, "{expression}: {answer}");
        assert_ne!(result[0]["value"][0], result[1]["value"][0], "each at its own time");
    }
    assert_eq!(
        ask(&["sum(process_cpu_seconds_total)", "--time", "action"])["data"]["result"].as_array().map(Vec::len),
        Some(2)
    );
    assert_eq!(ask(&["1 + 1"])["data"]["resultType"], "scalar");
}

#[test]
fn timeline_and_clocks_take_capture_directories_and_shells_get_their_completions() {
    let folder = folder();
    let capture = sample("iptables-pod-crash-1").to_string_lossy().into_owned();
    for command in ["timeline", "clocks"] {
        let output = syncline(folder.path(), &[command, &capture]);
        assert_eq!(code(&output), 0, "{output:?}");
        assert!(out(&output).lines().count() > 3, "{command}");
    }
    for (shell, part) in [("bash", "complete -F"), ("zsh", "#compdef syncline"), ("fish", "complete -c syncline")] {
        let script = out(&syncline(folder.path(), &["completions", shell]));
        assert!(script.contains(part) && script.contains("compare"), "{shell}");
    }
    let pages = out(&syncline(folder.path(), &["man", "pages"]));
    for page in ["syncline.1", "syncline-compare.1", "syncline-query.1"] {
        assert!(pages.lines().any(|line| line.ends_with(page)), "{page} in {pages}");
        let text = fs::read_to_string(folder.path().join("pages").join(page)).expect("a page");
        assert!(text.contains(".TH ") && text.contains(".SH "), "{page}");
    }
}

/// `capture.toml` states one version, the captures show another: the captures hold, and the run says so.
#[test]
fn what_a_capture_shows_beats_what_capture_toml_states_and_versions_are_columns() {
    let folder = folder();
    for (name, version) in [("old", "1.17.6"), ("new", "1.19.4")] {
        let capture = folder.path().join(name);
        fs::create_dir_all(capture.join("metrics")).expect("a folder");
        let stated = "dataplane = \"cilium\"\nscenario = \"steady-state\"\nnode = \"a\"\nlabel = \"x\"\n[versions]\ncilium = \"1.17.6\"\n";
        fs::write(capture.join("capture.toml"), stated).expect("written");
        let page = format!(
            "# HELP cilium_version Version\n# TYPE cilium_version gauge\ncilium_version{{version=\"{version}\"}} 1\n# HELP {name}_total x\n# TYPE {name}_total counter\n{name}_total 1\n"
        );
        fs::write(capture.join("metrics/cilium-agent.txt"), page).expect("written");
    }
    let output = syncline(folder.path(), &["report", "old", "new", "--out", "report", "--formats", "json"]);
    assert_eq!(code(&output), 0, "{output:?}");
    let report: Value =
        serde_json::from_slice(&fs::read(folder.path().join("report/report.json")).expect("a report")).expect("JSON");
    let runs = report["runs"].as_array().expect("runs");
    let of = |name: &str| runs.iter().find(|run| run["name"] == name).expect("a run");
    assert_eq!(of("new")["facts"]["version/cilium"]["value"], "1.19.4", "{:#}", of("new")["facts"]);
    let titles = |name: &str| of(name)["findings"].to_string();
    assert!(
        titles("new").contains("the captures disagree on version/cilium") && titles("new").contains("1.19.4 is taken")
    );
    assert!(!titles("old").contains("disagree"));
    let columns: std::collections::BTreeSet<&str> =
        report["verdicts"].as_array().expect("verdicts").iter().filter_map(|one| one["column"].as_str()).collect();
    assert_eq!(columns.into_iter().collect::<Vec<_>>(), ["1.17", "1.19"]);
    let ignored =
        syncline(folder.path(), &["report", "old", "new", "--out", "one", "--formats", "json", "--ignore", "proxy"]);
    assert_eq!(code(&ignored), 0, "{ignored:?}");
    let text = fs::read_to_string(folder.path().join("one/report.json")).expect("a report");
    assert!(!text.contains("\"column\":\"1.1"), "one column");
}
