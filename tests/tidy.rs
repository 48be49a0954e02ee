//! What the house keeps: layering, stems, module docs, file length, the paths that prose names, what must stay absent.
//!
//! Each rule is a function from the tree to complaints, so that a rule can be tried on a planted fault (see the tests
//! whose names begin with `notices_`).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Stages of the analyzer in the order of the flow, which is the alphabetical one.
const STAGES: [&str; 8] = ["bundle", "clock", "events", "math", "measure", "verdict", "view", "write"];
/// What may lie at the top of the repository.
const TOP: [&str; 18] = [
    ".cargo",
    ".ci",
    ".git",
    ".gitattributes",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "analyzer",
    "clippy.toml",
    "collector",
    "rustfmt.toml",
    "sample-data",
    "templates",
    "tests",
];
/// Longest file without a reason. A longer one says at its top, in a line that begins with `Long because`, why.
const LONGEST: usize = 500;
/// Names that say nothing.
const EMPTY_NAMES: [&str; 6] = ["utils", "util", "shared", "common", "types", "helpers"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests folder lies in the workspace").to_owned()
}

/// All files that git tracks, or would.
fn files() -> Vec<String> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git lists the files");
    assert!(output.status.success(), "git ls-files failed: is this a git checkout?");
    let text = String::from_utf8(output.stdout).expect("paths are UTF-8");
    text.lines().filter(|path| root().join(path).exists()).map(str::to_owned).collect()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn sources() -> Vec<(String, String)> {
    let found: Vec<_> =
        files().into_iter().filter(|path| path.ends_with(".rs")).map(|path| (path.clone(), read(&path))).collect();
    assert!(found.len() > 40, "only {} Rust files found: the rule would check nothing", found.len());
    found
}

fn complain(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

fn layering(path: &str, text: &str) -> Vec<String> {
    let Some(stage) = path.strip_prefix("analyzer/src/").and_then(|rest| rest.split(['/', '.']).next()) else {
        return Vec::new();
    };
    let Some(own) = STAGES.iter().position(|name| *name == stage) else { return Vec::new() };
    let mut complaints = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("//") {
            continue;
        }
        for later in &STAGES[own + 1..] {
            if line.contains(&format!("crate::{later}::")) || line.contains(&format!("crate::{later};")) {
                complaints.push(format!("{path}:{}: stage `{stage}` uses the later stage `{later}`", number + 1));
            }
        }
    }
    complaints
}

fn module_doc(path: &str, text: &str) -> Vec<String> {
    if text.starts_with("//!") { Vec::new() } else { vec![format!("{path}:1: no module doc (`//!`) at the top")] }
}

fn length(path: &str, text: &str) -> Vec<String> {
    let lines = text.lines().count();
    let reason = text.lines().take(40).any(|line| line.trim_start_matches("//!").trim().starts_with("Long because"));
    if lines > LONGEST && !reason {
        return vec![format!("{path}: {lines} lines, and no reason (`//! Long because …`) at its top")];
    }
    Vec::new()
}

fn module_name(path: &str) -> Vec<String> {
    let name = Path::new(path).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let folders = path.split('/').any(|part| EMPTY_NAMES.contains(&part));
    if EMPTY_NAMES.contains(&name) || folders { vec![format!("{path}: a name that says nothing")] } else { Vec::new() }
}

/// Paths in backticks that begin at the top of the repository must exist.
fn named_paths(path: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for (at, word) in line.split('`').enumerate() {
            let inside = at % 2 == 1;
            let first = word.split('/').next().unwrap_or_default();
            let rooted = word.contains('/') && TOP.contains(&first);
            if !inside || !rooted || word.contains(['*', '…', '<', ' ', '{']) {
                continue;
            }
            if !root().join(word.trim_end_matches('/')).exists() {
                complaints.push(format!("{path}:{}: names `{word}`, which does not exist", number + 1));
            }
        }
    }
    complaints
}

/// Text that only this machine, or no reader, needs. Split so that this file does not contain them.
fn private_words(path: &str, text: &str) -> Vec<String> {
    let words = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("FIX", "ME"), concat!("todo", "!(")];
    let mut complaints = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for word in words {
            if line.contains(word) {
                complaints.push(format!("{path}:{}: `{word}` should not stay", number + 1));
            }
        }
    }
    complaints
}

fn forbidden_dependencies(tree: &str) -> Vec<String> {
    let forbidden = ["polars", "tokio", "async-std", "futures", "openssl"];
    let names: BTreeSet<&str> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    names
        .into_iter()
        .filter(|name| forbidden.iter().any(|bad| name == bad || name.starts_with(&format!("{bad}-"))))
        .map(|name| format!("the collector depends on `{name}`"))
        .collect()
}

#[test]
fn a_stage_uses_earlier_stages_only() {
    complain(sources().iter().flat_map(|(path, text)| layering(path, text)).collect());
}

#[test]
fn every_file_says_what_it_is() {
    complain(sources().iter().flat_map(|(path, text)| module_doc(path, text)).collect());
}

#[test]
fn files_are_short_or_say_why() {
    complain(sources().iter().flat_map(|(path, text)| length(path, text)).collect());
}

#[test]
fn names_mean_something() {
    complain(sources().iter().flat_map(|(path, _)| module_name(path)).collect());
}

#[test]
fn prose_names_existing_paths() {
    let prose: Vec<String> = files().into_iter().filter(|p| p.ends_with(".md") && !p.ends_with("CAPTURE.md")).collect();
    assert!(prose.iter().any(|path| path == "ARCHITECTURE.md"), "ARCHITECTURE.md is there");
    complain(prose.iter().flat_map(|path| named_paths(path, &read(path))).collect());
}

#[test]
fn nothing_private_is_left() {
    let texts = files().into_iter().filter(|path| {
        [".rs", ".toml", ".md", ".j2", ".json"].iter().any(|end| path.ends_with(end))
            && !path.starts_with("sample-data/")
            && !path.starts_with("tests/fixtures/")
    });
    complain(texts.flat_map(|path| private_words(&path, &read(&path))).collect());
}

#[test]
fn the_top_level_is_as_agreed() {
    let tops: BTreeSet<String> = files().iter().filter_map(|path| path.split('/').next().map(str::to_owned)).collect();
    complain(
        tops.iter()
            .filter(|name| !TOP.contains(&name.as_str()))
            .map(|name| format!("{name}: not at the top level"))
            .collect(),
    );
}

#[test]
fn every_format_has_a_parser_of_its_stem() {
    let formats = syncline_collector::parse::FORMATS;
    assert!(formats.len() >= 10, "{} formats", formats.len());
    // Two readings of one syntax share the file of the syntax.
    let twins = [("scrape", "exposition"), ("bpf-map-fds", "bpftool-map"), ("cilium-version", "cilium-config")];
    let mut complaints = Vec::new();
    for format in formats {
        let twin = twins.iter().find(|(kind, _)| *kind == format.kind).map(|(_, file)| *file);
        let stem = twin.unwrap_or(format.kind).replace('-', "_");
        let file = format!("collector/src/parse/{stem}.rs");
        let folder = format!("collector/src/parse/{stem}");
        if !root().join(&file).exists() && !root().join(&folder).is_dir() {
            complaints.push(format!("format `{}` has no parser {file}", format.kind));
        }
    }
    complain(complaints);
}

#[test]
fn the_collector_stays_small() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["tree", "-p", "syncline-collector", "-e", "normal", "--prefix", "none", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo tree runs");
    let tree = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(tree.contains("arrow-array"), "the tree of the collector shows its dependencies:\n{tree}");
    complain(forbidden_dependencies(&tree));
}

#[test]
fn notices_a_planted_fault() {
    assert_eq!(layering("analyzer/src/clock/mod.rs", "use crate::verdict::Verdict;\n").len(), 1);
    assert_eq!(layering("analyzer/src/verdict/mod.rs", "use crate::clock::Graph;\n").len(), 0);
    assert_eq!(module_doc("x.rs", "use std::fs;\n").len(), 1);
    assert_eq!(length("x.rs", &"x\n".repeat(LONGEST + 1)).len(), 1);
    assert_eq!(length("x.rs", &format!("//! Long because it is a table.\n{}", "x\n".repeat(LONGEST))).len(), 0);
    assert_eq!(module_name("collector/src/utils.rs").len(), 1);
    assert_eq!(named_paths("README.md", "see `collector/src/nowhere.rs`").len(), 1);
    assert_eq!(named_paths("README.md", "see `collector/schema`").len(), 0);
    assert_eq!(private_words("x.rs", concat!("let path = \"/wo", "rk/main\";")).len(), 1);
    assert_eq!(forbidden_dependencies("polars-core v0.55.2\nserde v1.0\n").len(), 1);
}
