//! The collector over a capture whose every string is hostile: what it prints of it drives no terminal and turns no text around.

mod hostile;

use std::process::Command;

use hostile::{EVIL, FORMULA, NOTES, capture, complaints};

fn run(all: &mut Vec<String>, name: &str, code: i32, arguments: &[&str]) -> String {
    let output =
        Command::new(env!("CARGO_BIN_EXE_syncline-collector")).args(arguments).output().expect("the collector starts");
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(code), "{name}: {}", said.chars().take(600).collect::<String>());
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    all.extend(complaints(&format!("{name} on standard error"), &said));
    all.extend(complaints(name, &text));
    said + &text
}

#[test]
fn what_is_said_of_a_capture_is_printable() {
    let folder = tempfile::tempdir().expect("a folder");
    let all = &mut Vec::new();
    let root = capture(folder.path(), "iptables-pod-crash-1");
    std::fs::write(root.join("notes.md"), NOTES).expect("written");
    let bundle = folder.path().join("bundle\u{202e}\u{1b}[2J");
    let (root, out) = (root.to_str().expect("UTF-8"), bundle.to_str().expect("UTF-8"));
    let said = run(all, "bundle", 0, &["bundle", root, "--out", out]);
    assert!(said.contains("\\u{202e}"), "{said}");
    run(all, "again", 2, &["bundle", root, "--out", out]);
    let table = run(all, "inspect", 0, &["inspect", out]);
    assert!(table.contains("\\u{202e}gpj"), "{table}");
    let text = run(all, "inspect.json", 0, &["inspect", out, "--format", "json"]);
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(value["name"], EVIL, "data stays data");
    run(all, "snapshot", 2, &["inspect", out, "--snapshot", &format!("{}:0", EVIL.replace(':', ""))]);
    run(all, "number", 2, &["inspect", out, "--snapshot", &format!("0:{FORMULA}{EVIL}")]);
    run(all, "absent", 2, &["inspect", &EVIL.replace('/', "")]);
    run(all, "source", 2, &["bundle", root, "--out", "x", "--source", EVIL]);
    run(all, "command", 2, &[EVIL]);
    assert!(all.is_empty(), "{}", all.join("\n"));
}
