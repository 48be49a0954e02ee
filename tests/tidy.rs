//! What the house keeps: layering, stems, module docs, file length, the paths that prose names, what must stay absent.
//!
//! Each rule is a function from the tree to complaints, so that a rule can be tried on a planted fault (see the tests
//! whose names begin with `notices_`).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Stages of each program in the order of the flow, which is the alphabetical one. What is no stage (`bundle` and `cli` of the
/// collector) conducts them, and no stage may use it.
const STAGES: [(&str, &[&str], &[&str]); 2] = [
    (
        "analyzer/src/",
        &["bundle", "clock", "events", "math", "measure", "query", "result", "verdict", "view", "write"],
        &["cli"],
    ),
    ("collector/src/", &["form", "input", "layers", "parse", "write"], &["bundle", "cli"]),
];
/// Modules of the collector beside `record`.
const COLLECTOR: [&str; 8] = ["bundle", "cli", "form", "input", "layers", "parse", "write", "record"];
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

/// Modules of its own crate that a file names: `crate::a`, `crate::{a, b::c}`, over several lines too, and `super::super::a` where
/// that leads to the top.
fn named_modules(path: &str, text: &str) -> Vec<(usize, String)> {
    let depth = path.split("/src/").nth(1).map_or(0, |inner| {
        let stem = inner.trim_end_matches("/mod.rs").trim_end_matches(".rs");
        stem.split('/').count()
    });
    let up = "super::".repeat(depth.max(1));
    let code: String = text
        .lines()
        .map(|line| if line.trim_start().starts_with("//") { "\n".to_owned() } else { format!("{line}\n") })
        .collect();
    let mut found = Vec::new();
    for mark in ["crate::", up.as_str()] {
        for (at, _) in code.match_indices(mark) {
            let before = code[..at].chars().next_back().unwrap_or(' ');
            if before.is_alphanumeric() || before == '_' || before == ':' {
                continue;
            }
            let line = code[..at].matches('\n').count() + 1;
            let rest = &code[at + mark.len()..];
            if let Some(list) = rest.strip_prefix('{') {
                let (mut depth, mut start) = (0, 0);
                for (end, letter) in list.char_indices() {
                    match letter {
                        '{' => depth += 1,
                        '}' if depth > 0 => depth -= 1,
                        ',' | '}' if depth == 0 => {
                            found.push((line, first_word(list[start..end].trim())));
                            start = end + 1;
                            if letter == '}' {
                                break;
                            }
                        }
                        _ => {}
                    }
                }
            } else {
                found.push((line, first_word(rest)));
            }
        }
    }
    found
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
}

fn layering(path: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for (root, stages, conductors) in STAGES {
        let Some(stage) = path.strip_prefix(root).and_then(|rest| rest.split(['/', '.']).next()) else { continue };
        let Some(own) = stages.iter().position(|name| *name == stage) else { continue };
        for (line, module) in named_modules(path, text) {
            let later = stages[own + 1..].contains(&module.as_str());
            if later || conductors.contains(&module.as_str()) {
                complaints.push(format!("{path}:{line}: stage `{stage}` uses the later stage `{module}`"));
            }
            // What lies around a capture is taken off ahead of its parser, which never sees it.
            if stage == "parse" && module == "layers" && root == "collector/src/" {
                complaints.push(format!("{path}:{line}: a parser names `layers`"));
            }
        }
    }
    complaints
}

/// The recorder meets the rest of the collector in files only: it uses `form` and the schema, and `cli` alone uses it. Its tests bundle
/// what it wrote.
fn wing(path: &str, text: &str) -> Vec<String> {
    let Some(module) = path.strip_prefix("collector/src/").and_then(|rest| rest.split(['/', '.']).next()) else {
        return Vec::new();
    };
    let test = ["_tests.rs", "/trial.rs", "/trials.rs"].iter().any(|end| path.ends_with(end));
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let complain = |(line, named): (usize, String)| {
        let allowed = ["form", "record"].contains(&named.as_str());
        let own = module == "record" && !allowed && COLLECTOR.contains(&named.as_str());
        let other = named == "record" && !["record", "cli", "lib"].contains(&module);
        let what = match (own, other) {
            (true, _) => format!("the recorder uses `{named}`"),
            (_, true) => format!("`{module}` uses the recorder"),
            _ => return None,
        };
        Some(format!("{path}:{line}: {what}"))
    };
    if test { Vec::new() } else { named_modules(path, code).into_iter().filter_map(complain).collect() }
}

/// The part of a file that is no test of its own.
fn program<'t>(path: &str, text: &'t str) -> &'t str {
    let name = Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let test = ["tests.rs", "trial.rs", "trials.rs", "harness.rs", "fixture.rs", "recognition.rs"]
        .iter()
        .any(|end| name.ends_with(end));
    let ours = path.contains("/src/");
    if ours && !test { text.split("#[cfg(test)]\nmod ").next().unwrap_or_default() } else { "" }
}

/// A width or a precision that is a variable panics above 65,535 (`Formatter`), so that one of a capture must not be one: a line ahead of it
/// says what bounds it (`// Bounded: …`).
fn bounded_widths(path: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut before = "";
    for (number, line) in program(path, text).lines().enumerate() {
        let inner = line.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(inner, _)| inner);
        let specs = inner.filter_map(|inner| inner.split_once(':')).map(|(_, spec)| spec);
        let variable = |spec: &str| !spec.starts_with(':') && !spec.contains([' ', '(', '"']);
        let wide = specs.filter(|spec| variable(spec)).any(|spec| spec.contains('$') || spec.contains(".*"));
        let code = !line.trim_start().starts_with("//");
        if wide && code && !before.trim_start().starts_with("// Bounded: ") {
            complaints.push(format!("{path}:{}: a width or precision that nothing is said to bound", number + 1));
        }
        before = line;
    }
    complaints
}

/// What goes to people goes through `printable::tell`, which makes it printable and does not panic where standard error is closed.
fn told(path: &str, text: &str) -> Vec<String> {
    let direct = ["println!(", "eprint!(", " print!("];
    let own = path == "collector/schema/src/printable.rs";
    let found = program(path, text).lines().enumerate().filter(|(_, line)| {
        let code = !line.trim_start().starts_with("//");
        code && !own && direct.iter().any(|word| line.contains(word))
    });
    found.map(|(at, _)| format!("{path}:{}: printed without `printable`", at + 1)).collect()
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
fn the_recorder_meets_the_rest_in_files_only() {
    complain(sources().iter().flat_map(|(path, text)| wing(path, text)).collect());
}

#[test]
fn widths_and_precisions_are_bounded() {
    complain(sources().iter().flat_map(|(path, text)| bounded_widths(path, text)).collect());
}

#[test]
fn what_is_told_is_printable() {
    complain(sources().iter().flat_map(|(path, text)| told(path, text)).collect());
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
    let parsers: Vec<String> = files().into_iter().filter(|path| path.starts_with("collector/src/parse/")).collect();
    let mut complaints = Vec::new();
    for format in formats {
        let twin = twins.iter().find(|(kind, _)| *kind == format.kind).map(|(_, file)| *file);
        let stem = twin.unwrap_or(format.kind).replace('-', "_");
        let file = format!("/{stem}.rs");
        let found = parsers.iter().filter(|path| path.ends_with(&file)).count();
        if found != 1 {
            complaints.push(format!("format `{}` has {found} parsers collector/src/parse/*{file}", format.kind));
        }
    }
    complain(complaints);
}

#[test]
fn every_layer_has_a_file_of_its_name() {
    let layers = syncline_collector::layers::LAYERS;
    assert!(layers.len() >= 8, "{} layers", layers.len());
    let missing = layers.iter().map(|layer| format!("collector/src/layers/{}.rs", layer.name.replace('-', "_")));
    complain(missing.filter(|file| !root().join(file).exists()).map(|file| format!("no {file}")).collect());
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

/// Whoever links the collector as a library has neither its TLS nor its system calls.
#[test]
fn the_analyzer_has_no_recorder() {
    let tree = |package: &str| {
        let output = Command::new(env!("CARGO"))
            .args(["tree", "-p", package, "-e", "normal", "--prefix", "none", "--offline"])
            .current_dir(root())
            .output()
            .expect("cargo tree runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(
        tree("syncline-collector").contains("\nureq v"),
        "the recorder's own dependencies are called otherwise now"
    );
    let analyzer = tree("syncline");
    assert!(analyzer.contains("syncline-collector v"), "{analyzer}");
    for name in ["ureq", "ureq-proto", "aya"] {
        assert!(!analyzer.contains(&format!("\n{name} v")), "the analyzer links {name}, which only the recorder needs");
    }
}

#[test]
fn notices_a_planted_fault() {
    assert_eq!(layering("analyzer/src/clock/mod.rs", "use crate::verdict::Verdict;\n").len(), 1);
    assert_eq!(layering("analyzer/src/verdict/mod.rs", "use crate::clock::Graph;\n").len(), 0);
    assert_eq!(layering("collector/src/form/line.rs", "use crate::{parse::read, form};\n").len(), 1);
    assert_eq!(layering("collector/src/parse/logs/a.rs", "use crate::{\n    form::Line,\n    layers,\n};\n").len(), 1);
    assert_eq!(layering("collector/src/input/cutter.rs", "use super::super::write::tables;\n").len(), 1);
    assert_eq!(layering("collector/src/input/cutter.rs", "use super::elements;\nuse crate::form::Cut;\n").len(), 0);
    assert_eq!(layering("collector/src/parse/a/b.rs", "use crate::bundle::Summary;\n").len(), 1);
    assert_eq!(wing("collector/src/record/a/b.rs", "use crate::parse::FORMATS;\n").len(), 1);
    assert_eq!(wing("collector/src/record/a.rs", "use crate::form::look;\nuse super::plan;\n").len(), 0);
    assert_eq!(
        wing("collector/src/record/a.rs", "#[cfg(test)]\nmod tests {\n    use crate::bundle::bundle;\n}\n").len(),
        0
    );
    assert_eq!(wing("collector/src/bundle/a.rs", "use crate::record::plan;\n").len(), 1);
    assert_eq!(wing("collector/src/cli/a.rs", "use crate::record::plan;\n").len(), 0);
    let widths = |text: &str| bounded_widths("collector/src/a.rs", text).len();
    assert_eq!(widths("format!(\"{number:>width$}\", width = field.len())"), 1);
    assert_eq!(widths("format!(\"{:.*}\", digits, value)"), 1);
    assert_eq!(widths("format!(\"{value:.digits$}\")"), 1);
    assert_eq!(widths("// Bounded: 8 at most.\nformat!(\"{value:.digits$}\")"), 0);
    assert_eq!(widths("format!(\"{value:>10.3} {}\", Values::$variant)"), 0);
    assert_eq!(told("analyzer/src/a.rs", "    eprintln!(\"{name}\");\n").len(), 1);
    assert_eq!(
        told("analyzer/src/a.rs", "    tell(format_args!(\"{name}\"));\n#[cfg(test)]\nmod tests { println!(); }").len(),
        0
    );
    assert_eq!(module_doc("x.rs", "use std::fs;\n").len(), 1);
    assert_eq!(length("x.rs", &"x\n".repeat(LONGEST + 1)).len(), 1);
    assert_eq!(length("x.rs", &format!("//! Long because it is a table.\n{}", "x\n".repeat(LONGEST))).len(), 0);
    assert_eq!(module_name("collector/src/utils.rs").len(), 1);
    assert_eq!(named_paths("README.md", "see `collector/src/nowhere.rs`").len(), 1);
    assert_eq!(named_paths("README.md", "see `collector/schema`").len(), 0);
    assert_eq!(private_words("x.rs", concat!("let path = \"/wo", "rk/main\";")).len(), 1);
    assert_eq!(forbidden_dependencies("polars-core v0.55.2\nserde v1.0\n").len(), 1);
}
