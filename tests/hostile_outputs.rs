//! Every command and format of the analyzer over a capture whose every string is hostile: no output drives a terminal, turns text around, is
//! markup, a link or a formula of the capture's.

mod hostile;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hostile::{EVIL, FORMULA, NOTES, capture, complaints};
use pulldown_cmark::{Event, Options, Parser, Tag};
use syncline_collector::bundle::{BundleOptions, bundle};
use syncline_schema::manifest::{LossEntry, MANIFEST, Manifest};

/// Runs a command; answers what it printed on standard output, where it had an answer.
fn run(all: &mut Vec<String>, name: &str, codes: &[i32], arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_syncline")).args(arguments).output().expect("syncline starts");
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(!said.contains("panicked"), "{name}: {said}");
    let code = output.status.code().expect("an exit code");
    assert!(codes.contains(&code), "{name} ends with {code}: {}", said.chars().take(600).collect::<String>());
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    all.extend(complaints(&format!("{name} on standard error"), &said));
    all.extend(complaints(name, &text));
    text
}

/// A bundle of a hostile capture, whose manifest says more than the capture does.
fn bundled(folder: &Path, sample: &str) -> PathBuf {
    let out = folder.join(format!("{sample}\u{202e}\u{1b}[31m.bundle"));
    let inputs = vec![capture(folder, sample)];
    bundle(&BundleOptions { inputs, out: out.clone(), ..BundleOptions::default() }).expect("bundled");
    let file = out.join(MANIFEST);
    let mut manifest: Manifest = serde_json::from_slice(&fs::read(&file).expect("read")).expect("a manifest");
    manifest.versions.insert(EVIL.to_owned(), EVIL.to_owned());
    manifest.versions.insert("kubernetes".to_owned(), format!("{FORMULA}{EVIL}"));
    let text = || EVIL.to_owned();
    manifest.losses.push(LossEntry {
        name: text(),
        severity: text(),
        count: 1,
        source: Some(text()),
        meaning: text(),
        remedy: text(),
    });
    fs::write(&file, serde_json::to_string(&manifest).expect("JSON")).expect("written");
    out
}

/// Links, images and markup of a Markdown file that are not the program's own.
fn foreign(name: &str, text: &str) -> Vec<String> {
    let options =
        Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_FOOTNOTES | Options::ENABLE_GFM;
    let own =
        ["<details>", "<summary>", "</summary>", "</details>", "<br>", "<strong>", "</strong>", "<code>", "</code>"];
    Parser::new_ext(text, options)
        .filter_map(|event| match event {
            Event::Start(Tag::Link { dest_url, .. }) => (!dest_url.starts_with("https://example.org/")
                && !dest_url.starts_with('#'))
            .then(|| format!("a link to {dest_url}")),
            Event::Start(Tag::Image { dest_url, .. }) => {
                (!dest_url.starts_with("figures/")).then(|| format!("an image at {dest_url}"))
            }
            Event::Html(raw) | Event::InlineHtml(raw) => {
                let tags = raw.split('<').skip(1).map(|tag| format!("<{}>", tag.split('>').next().unwrap_or_default()));
                let foreign: Vec<String> = tags.filter(|tag| !own.contains(&tag.as_str())).collect();
                (!foreign.is_empty()).then(|| format!("markup {foreign:?}"))
            }
            _ => None,
        })
        .map(|what| format!("{name}: {what}"))
        .collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn no_output_holds_what_a_stranger_wrote_as_more_than_text() {
    let folder = tempfile::tempdir().expect("a folder");
    let all = &mut Vec::new();
    let (cilium, iptables) =
        (bundled(folder.path(), "cilium-pod-crash-1"), bundled(folder.path(), "iptables-pod-crash-1"));
    let (a, b) = (cilium.to_str().expect("UTF-8"), iptables.to_str().expect("UTF-8"));
    let notes = folder.path().join("notes\u{202e}.md");
    fs::write(&notes, NOTES).expect("written");

    let report = folder.path().join("report\u{1b}[2J\u{202e}");
    let (out, notes) = (report.to_str().expect("UTF-8"), notes.to_str().expect("UTF-8"));
    run(
        all,
        "report",
        &[0],
        &["report", a, b, "--out", out, "--per-run", "--title", EVIL, "--notes", notes, "--by", "label"],
    );
    let written = files(&report);
    assert!(written.iter().any(|path| path.ends_with("report.html")) && written.len() > 6, "{written:?}");
    for path in &written {
        let name = path.strip_prefix(&report).expect("inside").to_str().expect("UTF-8");
        let text = fs::read_to_string(path).expect("UTF-8");
        all.extend(complaints(name, &text));
        if name.ends_with(".md") {
            all.extend(foreign(name, &text));
        }
        // What is shown is shown as what it is.
        if ["report.html", "report.md", "summary.md"].contains(&name) {
            assert!(text.contains("u{202e}gpj") || text.contains("u\\{202e\\}gpj"), "{name}: the title is not there");
        }
        if name == "report.json" {
            let document: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(document["title"], EVIL, "data stays data");
        }
    }

    for format in ["table", "json", "junit"] {
        let name = format!("check {format}.{}", if format == "junit" { "xml" } else { format });
        run(all, &name, &[0, 1], &["check", a, "--baseline", b, "--format", format]);
    }
    run(all, "check.json", &[0, 1], &["check", a, "--format", "json"]);
    for format in ["table", "md", "html", "json", "junit"] {
        let name = format!("compare.{}", if format == "junit" { "xml" } else { format });
        let text = run(
            all,
            &name,
            &[0, 1],
            &["compare", a, "--against", b, "--format", format, "--label-a", EVIL, "--label-b", FORMULA],
        );
        if format == "md" {
            all.extend(foreign(&name, &text));
        }
    }
    for format in ["table", "html", "json"] {
        let name = format!("trend.{format}");
        let asked = ["trend", a, b, "--measurement", "endpoint_propagation", "--by", "label", "--format", format];
        run(all, &name, &[0], &asked);
        let unknown = ["trend", a, "--measurement", EVIL, "--quantile", "p95", "--format", format];
        // Nothing is printed: an error is told, and what is told is looked at too.
        run(all, "trend.unknown", &[2], &unknown);
    }
    let rules = folder.path().join("rules\u{1b}[2J.yaml");
    let text = "groups:\n- name: g\n  \"key\\u202e\": 1\n  rules:\n  - alert: \"A\\e[2J\"\n    expr: '{__name__=~\".*seconds_total|hostile\"} >= 0'\n    labels: {n: '{{ $labels.__name__ }}'}\n    annotations: {a: \"{{ $labels.a }}\\u202e {{ if }}\"}\n  - alert: \"B\\e[2J\"\n    expr: \"up\\u202e\"\n";
    fs::write(&rules, text).expect("written");
    for format in ["table", "json", "junit"] {
        let asked =
            ["alerts", a, b, "--rules", rules.to_str().expect("UTF-8"), "--interval", "30s", "--format", format];
        let text = run(all, &format!("alerts.{format}"), &[2], &asked);
        assert!(text.contains("firing"), "{text}");
    }
    for format in ["table", "csv", "json"] {
        for query in
            ["hostile", "process_cpu_seconds_total", "-hostile", "label_replace(hostile, \"x\", \"$0\", \"a\", \".*\")"]
        {
            run(all, &format!("query.{format}"), &[0, 1], &["query", a, query, "--format", format, "--explain"]);
        }
        let text = run(all, &format!("text.{format}"), &[0], &["query", a, "\"=1+1\u{202e}\"", "--format", format]);
        assert!(format != "csv" || text.contains("'=1+1\\u{202e}"), "{text}");
        run(all, &format!("wrong.{format}"), &[1], &["query", a, &format!("up{{{EVIL}"), "--format", format]);
        run(all, &format!("timeline.{format}"), &[0], &["timeline", b, "--format", format]);
    }
    run(all, "chart", &[0, 1], &["query", a, "hostile", "--step", "10", "--format", "chart"]);
    run(all, "columns.csv", &[0], &["timeline", b, "--columns", "what,object,source", "--format", "csv"]);
    for format in ["table", "json"] {
        run(all, &format!("clocks.{format}"), &[0], &["clocks", a, "--format", format]);
    }
    // What cannot run says so, and names what it was given.
    let absent = folder.path().join(EVIL.replace('/', ""));
    let absent = absent.to_str().expect("UTF-8");
    run(all, "absent", &[2], &["check", absent]);
    run(all, "kind", &[2], &["timeline", a, "--kind", EVIL]);
    run(all, "formats", &[2], &["report", a, "--out", "x", "--formats", EVIL]);
    run(all, "argument", &[2], &["check", a, "--format", EVIL]);
    run(all, "command", &[2], &[EVIL]);
    assert!(
        all.is_empty(),
        "{} complaints:\n{}",
        all.len(),
        all.iter().take(40).cloned().collect::<Vec<_>>().join("\n")
    );
}

#[test]
fn notices_a_planted_string() {
    for (name, text) in [
        ("table", "a \u{1b}[2J"),
        ("table", "a \u{202e}b"),
        ("x.json", "{\"a\": \"\u{200b}\"}"),
        ("x.csv", "a,=1+1\n"),
        ("x.csv", "\"=1+1\"\n"),
        ("x.html", "<p><img src=x></p>"),
        ("x.html", "<a href=\"javascript:x\">y</a>"),
        ("x.svg", "<svg><script>x</script></svg>"),
        ("x.md", "| <img src=x> |"),
    ] {
        assert!(!complaints(name, text).is_empty(), "{name}: {text:?}");
    }
    for text in ["[x](javascript:y)", "![x](http://evil.example/x.gif)", "<b>x</b>"] {
        assert!(!foreign("x.md", text).is_empty(), "{text}");
    }
    assert!(complaints("x.csv", "a,-1.5,+Inf,'=1\n").is_empty());
}
