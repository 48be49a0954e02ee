//! Reports of constructed runs: escaping, completeness, determinism, files.

use std::collections::BTreeMap;

use syncline_schema::manifest::Manifest;

use super::*;
use crate::clock::{Evidence, Finding};
use crate::math::Estimate;
use crate::measure::Measurement;
use crate::result::apart::Apart;
use crate::result::{Header, RunResult};
use crate::verdict::Catalogue;
use crate::view::{Options, build};

const EVIL: &str = "</td><script>alert('x')</script> | `a` [b](javascript:c) <img src=x onerror=y> \"q\" \u{202e}\u{0}";

fn run(name: &str, dataplane: &str) -> Header {
    let mut manifest = Manifest::default();
    manifest.sources.push(syncline_schema::manifest::Source {
        path: EVIL.into(),
        sha256: "ab".repeat(32),
        ..Default::default()
    });
    manifest.losses.push(syncline_schema::manifest::LossEntry {
        name: EVIL.into(),
        severity: "warning".into(),
        count: 3,
        ..Default::default()
    });
    Header {
        name: name.into(),
        id: name.into(),
        dataplane: dataplane.into(),
        scenario: "scale-up".into(),
        synthetic: true,
        node: "node-a".into(),
        services: Some(5),
        baseline_endpoints: Some(1),
        service_under_test: Some(EVIL.into()),
        facts: BTreeMap::from([(
            EVIL.to_owned(),
            (EVIL.to_owned(), Evidence { path: EVIL.into(), record: 1, what: EVIL.into(), ..Evidence::default() }),
        )]),
        findings: vec![Finding { title: EVIL.into(), detail: EVIL.into(), evidence: vec![] }],
        manifest: Apart::new(&manifest),
        ..Header::default()
    }
}

fn measured(name: &str, value: f64) -> Measurement {
    let estimate = Estimate { value: Some(value), low: Some(value * 0.9), high: Some(value * 1.1) };
    Measurement {
        name: name.into(),
        unit: "s".into(),
        n: 43,
        estimate,
        statistic: "max".into(),
        quantiles: ["p50", "p95", "max"].map(|q| (q.to_owned(), estimate)).into(),
        method: EVIL.into(),
        notes: vec![EVIL.into()],
        evidence: vec![Evidence { path: EVIL.into(), record: 7, what: EVIL.into(), ..Evidence::default() }],
        ..Default::default()
    }
}

/// A file of a report as it is on disk.
struct Whole {
    path: String,
    text: String,
}

fn whole(files: &[File<'_>]) -> Vec<Whole> {
    let of = |file: &File<'_>| {
        let mut bytes = Vec::new();
        file.write(&mut bytes).expect("written");
        Whole { path: file.path.clone(), text: String::from_utf8(bytes).expect("UTF-8") }
    };
    files.iter().map(of).collect()
}

/// The same, to be written.
fn as_files() -> Vec<File<'static>> {
    files().into_iter().map(|one| File::of(one.path, one.text)).collect()
}

fn files() -> Vec<Whole> {
    let (a, b) = (run(&format!("c {EVIL}"), "cilium"), run("k", "kube-proxy-iptables"));
    let results = [
        RunResult {
            run: a,
            measurements: vec![measured("endpoint_propagation", 0.4), measured("service_update_time", 0.02)],
            ..RunResult::default()
        },
        RunResult {
            run: b,
            measurements: vec![measured("endpoint_propagation", 1.0), measured("sync_duration", f64::NAN)],
            ..RunResult::default()
        },
    ];
    let options = Options {
        title: Some(format!("T {EVIL}")),
        notes: Some("# Hello\n<script>x</script>".into()),
        per_run: true,
        ..Options::default()
    };
    let judged = build(&results, &Catalogue::built_in().expect("built-in"), &options);
    whole(&render(&judged, &results, &[Format::Html, Format::Markdown, Format::Json, Format::Short]).expect("rendered"))
}

#[test]
fn hostile_strings_stay_text_in_every_format() {
    for file in files() {
        if file.path.ends_with(".json") {
            serde_json::from_str::<serde_json::Value>(&file.text).expect("json");
            continue;
        }
        // The page's own script is the only one, and its policy names no other.
        let own = usize::from(file.path.ends_with(".html"));
        assert_eq!(file.text.matches("<script").count(), own, "{}", file.path);
        assert!(!file.text.contains("<img"), "{}", file.path);
        assert!(!file.text.contains("NaN"), "{}", file.path);
        assert!(!file.text.contains('\u{202e}'), "{}", file.path);
        if file.path.ends_with(".md") {
            assert!(!file.text.replace("\\]", "").contains("](javascript"), "{}", file.path);
            // A captured bar would add columns: every row of a table has as many as its header.
            let mut columns = None;
            for line in file.text.lines() {
                if !line.starts_with('|') {
                    columns = None;
                    continue;
                }
                let bars = line.replace("\\\\", "").replace("\\|", "").matches('|').count();
                assert_eq!(*columns.get_or_insert(bars), bars, "{line}");
            }
        }
    }
}

#[test]
fn every_row_stands_in_every_format_and_bytes_repeat() {
    let first = files();
    for file in first.iter().filter(|f| f.path.starts_with("report.")) {
        for row in Catalogue::built_in().expect("built-in").rows {
            assert!(file.text.contains(&row.id), "{} lacks {}", file.path, row.id);
        }
        assert!(file.text.len() < 1_000_000);
    }
    for (a, b) in first.iter().zip(files()) {
        assert_eq!((&a.path, &a.text), (&b.path, &b.text));
    }
}

#[test]
fn headings_are_in_order_and_tables_have_captions() {
    let html = files().remove(0).text;
    let mut level = 0;
    for part in html.split("<h").skip(1) {
        let Some(now) = part.chars().next().and_then(|c| c.to_digit(10)) else { continue };
        assert!(now <= level + 1, "h{now} after h{level}");
        level = now;
    }
    assert_eq!(html.matches("<table").count(), html.matches("<caption").count());
    assert_eq!(html.matches("<h1").count(), 1);
    assert!(html.contains("Generated data"));
    assert!(!html.contains("http://") || !html.contains("src=\"http"));
}

#[test]
fn json_follows_the_schema() {
    let schema: serde_json::Value =
        serde_json::from_str(include_str!("../../../templates/report.schema.json")).expect("schema");
    let text = files().into_iter().find(|f| f.path.ends_with(".json")).expect("json").text;
    let document: serde_json::Value = serde_json::from_str(&text).expect("json");
    let mut problems = Vec::new();
    follow(&schema, &schema, &document, "$", &mut problems);
    assert!(problems.is_empty(), "{problems:#?}");
}

/// As much of JSON Schema as the schema uses: type, enum, required, properties, additionalProperties, items, $ref.
fn follow(
    root: &serde_json::Value,
    schema: &serde_json::Value,
    value: &serde_json::Value,
    at: &str,
    problems: &mut Vec<String>,
) {
    use serde_json::Value;
    let schema = match schema.get("$ref").and_then(Value::as_str) {
        Some(reference) => root.pointer(reference.trim_start_matches('#')).expect(reference),
        None => schema,
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_u64() || n.is_i64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let allowed: Vec<&str> = match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let fits = allowed.is_empty() || allowed.contains(&kind) || (kind == "integer" && allowed.contains(&"number"));
    if !fits {
        problems.push(format!("{at}: {kind}, expected {allowed:?}"));
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array)
        && !words.contains(value)
    {
        problems.push(format!("{at}: {value} is none of {words:?}"));
    }
    if let Value::Object(object) = value {
        for name in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            if !object.contains_key(name) {
                problems.push(format!("{at}: lacks {name}"));
            }
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, item) in object {
            let at = format!("{at}.{name}");
            match (properties.and_then(|p| p.get(name)), schema.get("additionalProperties")) {
                (Some(own), _) => follow(root, own, item, &at, problems),
                (None, Some(Value::Bool(false))) => problems.push(format!("{at}: not in the schema")),
                (None, Some(other @ Value::Object(_))) => follow(root, other, item, &at, problems),
                _ => {}
            }
        }
    }
    if let (Value::Array(items), Some(own)) = (value, schema.get("items")) {
        for (index, item) in items.iter().enumerate() {
            follow(root, own, item, &format!("{at}[{index}]"), problems);
        }
    }
}

#[test]
fn a_report_is_whole_or_absent() {
    let dir = tempfile::tempdir().expect("dir");
    let out = dir.path().join("deep/report");
    let written = to_directory(&as_files(), &out, false).expect("written");
    assert_eq!(written.len(), 4);
    assert!(out.join("figures").is_dir() || !out.join("figures").exists());
    assert!(to_directory(&as_files(), &out, false).expect_err("exists").to_string().contains("--force"));
    to_directory(&as_files(), &out, true).expect("replaced");
    fs::write(out.join("precious.txt"), "x").expect("write");
    assert!(to_directory(&as_files(), &out, true).expect_err("foreign").to_string().contains("precious.txt"));
    assert!(out.join("precious.txt").exists());
    assert_eq!(fs::read_dir(dir.path().join("deep")).expect("dir").count(), 1, "no temporary directory is left");
}

/// Many runs of three dataplanes in several scenarios and sizes, each with all that a run can say.
fn many(n: usize) -> Vec<RunResult> {
    let dataplanes = ["cilium", "kube-proxy-iptables", "kube-proxy-nftables"];
    let scenarios = ["scale-up", "rolling-restart", "steady-state", "pod-crash"];
    let long =
        "a sentence about how it was measured, with the witness that was used and why another one was not; ".repeat(3);
    let names = [
        "endpoint_propagation",
        "endpoint_removal",
        "connection_setup_time",
        "cpu_baseline",
        "memory_bytes",
        "sync_duration",
        "settle_time",
        "packet_cost",
    ];
    (0..n)
        .map(|at| {
            let dataplane = dataplanes[at % 3];
            let mut header = run(&format!("{dataplane}-run-with-a-long-name-{at}"), dataplane);
            header.scenario = scenarios[at / 3 % 4].into();
            header.services = Some([5, 500, 2000][at / 12 % 3]);
            for fact in 0..60 {
                let evidence = Evidence {
                    path: format!("config/file-{fact}.txt").into(),
                    record: 1,
                    what: long.clone().into(),
                    ..Evidence::default()
                };
                header.facts.insert(format!("config/key-{fact}"), (format!("value {fact}"), evidence));
            }
            for finding in 0..6 {
                header.findings.push(Finding {
                    title: format!("finding {finding}"),
                    detail: long.clone(),
                    evidence: vec![],
                });
            }
            let mut manifest = header.manifest.open();
            manifest.sources = vec![manifest.sources[0].clone(); 60];
            header.manifest = Apart::new(&manifest);
            let mut measurements: Vec<Measurement> =
                names.iter().map(|name| measured(name, 0.1 + 0.01 * at as f64)).collect();
            for other in 0..40 {
                measurements
                    .push(Measurement { method: long.clone().into(), ..measured(&format!("another_{other}"), 1.0) });
            }
            RunResult { run: header, measurements, ..RunResult::default() }
        })
        .collect()
}

#[test]
fn many_runs_fit_and_what_is_cut_is_counted() {
    let runs = many(160);
    let options = Options { per_run: true, nodes: Some(50), ..Options::default() };
    let judged = build(&runs, &Catalogue::built_in().expect("built-in"), &options);
    let files = whole(&render(&judged, &runs, &[Format::Html, Format::Markdown, Format::Short]).expect("rendered"));
    let of = |name: &str| &files.iter().find(|f| f.path == name).expect(name).text;
    assert!(of("report.html").len() <= html::LARGEST, "{} bytes of HTML", of("report.html").len());
    assert!(of("report.md").len() <= markdown::LARGEST, "{} bytes of Markdown", of("report.md").len());
    let short = of("summary.md");
    assert!(short.chars().count() <= markdown::LONGEST, "{} characters", short.chars().count());
    for whole in [of("report.html"), of("report.md"), short] {
        assert!(whole.contains("Head to head") && whole.contains("Is the document right?"));
    }
    assert!(of("report.html").contains("more runs in report.json"), "what was cut is not counted");
    assert!(!short.contains("](figures/") && !short.contains("]("), "a relative link breaks in a comment");
    assert_eq!(files.iter().filter(|f| f.path.starts_with("runs/")).count(), 160);
    // Nothing is cut where nothing is large.
    let few = many(3);
    let judged = build(&few, &Catalogue::built_in().expect("built-in"), &Options::default());
    let page = html::render(&judged.view).expect("rendered");
    assert!(page.len() < html::LARGEST && !page.contains("more runs in report.json"));
}

#[test]
fn a_link_to_a_row_leads_into_what_it_opens() {
    let html = files().remove(0).text;
    let mut seen = 0;
    for link in html.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(html.contains(&format!("id=\"{link}\"")), "#{link} leads nowhere");
        seen += usize::from(link.starts_with("row-"));
    }
    assert!(seen > 40, "{seen} links to rows");
    // Browsers open the details around what a link points at, with or without a script.
    for part in html.split("id=\"row-").skip(1) {
        let row = part.split('"').next().expect("an id");
        let before = html.split(&format!("id=\"row-{row}\"")).next().expect("before it");
        assert!(before.rfind("<details>") > before.rfind("</details>"), "row-{row} lies in no details");
    }
}

#[test]
fn formats_are_named() {
    assert_eq!(Format::list("md, html").expect("two"), [Format::Markdown, Format::Html]);
    assert_eq!(Format::list("short").expect("one"), [Format::Short]);
    assert!(Format::list("pdf").expect_err("pdf").to_string().contains("pdf"));
    assert!(Format::list("").is_err());
}
