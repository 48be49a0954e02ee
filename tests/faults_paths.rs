//! What lies in a capture and is no capture: links out of it, pipes, devices, files without an end, folders that cannot be read, and a
//! `capture.toml` with mistakes in it. Each costs itself.

mod told;

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::Value;
use told::{losses, source};

const CAPTURE: &str = "# SCRAPE 1795407710.5\n# TYPE work_total counter\nwork_total 1\n";

/// Runs the collector. It is given up after a minute, which nothing here needs by far: it waits for what never comes.
fn collector(folder: &Path, arguments: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_syncline-collector"))
        .current_dir(folder)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the collector starts");
    for _ in 0..1200 {
        if child.try_wait().expect("a child").is_some() {
            return child.wait_with_output().expect("its output");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().expect("killed");
    panic!("it never ended: {arguments:?}");
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn bundled(folder: &Path, more: &[&str]) -> (Output, Value) {
    let output = collector(folder, &[&["bundle", "run", "--out", "made", "--force"], more].concat());
    let manifest = fs::read_to_string(folder.join("made/manifest.json"));
    let manifest = manifest.unwrap_or_else(|error| panic!("{error}: {}", said(&output)));
    (output, serde_json::from_str(&manifest).expect("JSON"))
}

/// A folder with the capture `run/kept.stream`.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("run")).expect("a folder");
    fs::write(folder.path().join("run/kept.stream"), CAPTURE).expect("written");
    folder
}

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).expect("a FIFO");
}

#[test]
fn a_link_does_not_lead_out_of_the_argument() {
    let folder = folder();
    let run = folder.path().join("run");
    fs::create_dir(folder.path().join("etc")).expect("a folder");
    fs::write(folder.path().join("etc/secret"), "root:x:0:0\n").expect("written");
    symlink("../etc/secret", run.join("secret")).expect("a link");
    symlink("../etc", run.join("etc")).expect("a link");
    symlink("kept.stream", run.join("inner.stream")).expect("a link");
    fs::write(run.join("capture.toml"), "[source.\"**secret\"]\nkind = \"iptables-save\"\n").expect("written");
    let (output, made) = bundled(folder.path(), &[]);
    assert!(output.status.success(), "{}", said(&output));
    for link in ["secret", "etc"] {
        assert_eq!(
            (losses(&made, link), &source(&made, link)["kind"]),
            (vec!["link-not-followed".to_owned()], &"unread".into())
        );
        assert!(said(&output).contains(&format!("warning: {link}: not read: a link to ")), "{}", said(&output));
    }
    let told = collector(folder.path(), &["inspect", "made", "--format", "json"]);
    assert!(!String::from_utf8_lossy(&told.stdout).contains("root:x"), "{}", String::from_utf8_lossy(&told.stdout));
    // Of two names of one capture one is read.
    assert_eq!(source(&made, "kept.stream")["same_as"], "inner.stream");
    let (_, made) = bundled(folder.path(), &["--follow"]);
    assert_eq!(
        ["secret", "etc/secret"].map(|path| source(&made, path)["kind"].clone()),
        ["iptables-save", "iptables-save"]
    );
    // What is given by name was meant.
    symlink("run/kept.stream", folder.path().join("given")).expect("a link");
    assert!(collector(folder.path(), &["bundle", "given", "--out", "by-name"]).status.success());
    // Where there is nothing else it is said what would be read.
    fs::create_dir(folder.path().join("only")).expect("a folder");
    symlink("../etc/secret", folder.path().join("only/link")).expect("a link");
    let output = collector(folder.path(), &["bundle", "only", "--out", "none"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("--follow"), "{}", said(&output));
}

#[test]
fn nothing_waits_for_a_pipe_or_reads_a_device() {
    let folder = folder();
    let run = folder.path().join("run");
    for name in ["capture.toml", "pipe", "index", "chunks.zip"] {
        fifo(&run.join(name));
    }
    symlink("pipe", run.join("to-pipe")).expect("a link");
    symlink("/dev/zero", run.join("zero")).expect("a link");
    let (output, made) = bundled(folder.path(), &["--follow"]);
    assert!(output.status.success(), "{}", said(&output));
    for path in ["capture.toml", "pipe", "index", "chunks.zip", "to-pipe", "zero"] {
        assert_eq!(losses(&made, path), ["skipped-file"], "{path}");
    }
    assert!(source(&made, "kept.stream")["records"].as_u64() > Some(0));
    // By name too.
    let output = collector(folder.path(), &["bundle", "/dev/zero", "run/kept.stream", "--out", "by-name"]);
    assert!(output.status.success() && said(&output).contains("found a device"), "{}", said(&output));
}

#[test]
fn a_file_without_an_end_costs_itself() {
    let folder = folder();
    let run = folder.path().join("run");
    // Eight terabytes of nothing.
    for name in ["sparse.stream", "capture.toml"] {
        File::create(run.join(name)).and_then(|file| file.set_len(8 << 40)).expect("a sparse file");
    }
    let (output, made) = bundled(folder.path(), &[]);
    assert!(output.status.success(), "{}", said(&output));
    for path in ["sparse.stream", "capture.toml"] {
        assert!(losses(&made, path).contains(&"expanded-too-far".to_owned()), "{path}: {:?}", losses(&made, path));
    }
    assert!(losses(&made, "capture.toml").contains(&"statement-refused".to_owned()));
    assert!(source(&made, "kept.stream")["records"].as_u64() > Some(0));
}

#[test]
fn a_folder_that_cannot_be_read_costs_itself() {
    use rustix::fs::{OFlags, mkdirat, openat};
    let folder = folder();
    // Deeper than a path may be long, which nobody may read, whatever the permissions.
    let name = "d".repeat(200);
    let mut here = openat(CWD, folder.path().join("run"), OFlags::DIRECTORY, Mode::empty()).expect("opened");
    for _ in 0..25 {
        mkdirat(&here, name.as_str(), Mode::RWXU).expect("made");
        here = openat(&here, name.as_str(), OFlags::DIRECTORY, Mode::empty()).expect("opened");
    }
    let (output, made) = bundled(folder.path(), &[]);
    assert!(output.status.success() && said(&output).contains("error: ddd"), "{}", said(&output));
    assert!(source(&made, "kept.stream")["records"].as_u64() > Some(0));
    assert!(made["losses"].as_array().is_some_and(|all| all.iter().any(|loss| loss["name"] == "unreadable-folder")));
    assert_eq!(bundled(folder.path(), &["--strict"]).0.status.code(), Some(1));
}

#[test]
fn a_wrong_line_of_capture_toml_costs_itself() {
    let folder = folder();
    let place = folder.path().join("run/capture.toml");
    for (wrong, expected) in [
        ("dataplane = \"ipfire\"\n", "error: run/capture.toml:2: `dataplane`: expected cilium"),
        ("node = \n", "error: run/capture.toml:2: "),
        ("[source.\"*\"]\nkind = \"nonsense\"\n", "error: run/capture.toml:3: `nonsense`: expected a kind"),
        ("[source.\"[a\"]\nclock = \"node\"\n", "error: run/capture.toml:2: `[a`: expected a path or a glob"),
    ] {
        fs::write(&place, format!("label = \"kept\"\n{wrong}[versions]\nkernel = \"6.1\"\n")).expect("written");
        let (output, made) = bundled(folder.path(), &[]);
        assert!(output.status.success() && said(&output).contains(&format!("\n{expected}")), "{}", said(&output));
        assert_eq!((&made["versions"]["kernel"], &made["dataplane"]), (&"6.1".into(), &Value::Null));
        assert_eq!(losses(&made, "capture.toml"), ["statement-refused"]);
        assert_eq!(source(&made, "capture.toml")["rejected"], 1);
        assert!(source(&made, "kept.stream")["records"].as_u64() > Some(0));
        assert_eq!(bundled(folder.path(), &["--strict"]).0.status.code(), Some(1));
        let told = collector(folder.path(), &["inspect", "made", "--format", "json"]);
        let told: Value = serde_json::from_slice(&told.stdout).expect("JSON");
        let reject = &told["rejects"][0];
        assert!(expected.contains(&format!(":{}:", reject["record"])), "{reject}");
    }
    // Which of two holds nobody can tell.
    fs::create_dir(folder.path().join("run/more")).expect("a folder");
    fs::copy(&place, folder.path().join("run/more/capture.toml")).expect("copied");
    assert_eq!(collector(folder.path(), &["bundle", "run", "--out", "two"]).status.code(), Some(2));
}

#[test]
fn globs_of_many_stars_take_no_time() {
    let folder = folder();
    let name = "a".repeat(200);
    fs::write(folder.path().join("run").join(&name), CAPTURE.replace("work", "other")).expect("written");
    let (stars, deep) = (format!("exposition={}b", "*a".repeat(100)), format!("exposition={}b", "**/".repeat(100)));
    let (output, made) = bundled(folder.path(), &["--source", &stars, "--source", &deep]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(source(&made, &name)["kind"], "scrape");
    let output = collector(folder.path(), &["bundle", "run", "--out", "none", "--source", "exposition=[a"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("expected a path or a glob"), "{}", said(&output));
}

#[test]
fn standard_input_and_pipes_are_read_as_before() {
    let folder = folder();
    let script = format!(
        "{0} bundle - --out stdin < run/kept.stream && {0} bundle <(cat run/kept.stream) --out substituted",
        env!("CARGO_BIN_EXE_syncline-collector")
    );
    let mut child = Command::new("bash")
        .args(["-c", &script])
        .current_dir(folder.path())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a shell");
    let mut told = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut told).expect("text");
    assert!(child.wait().expect("ended").success(), "{told}");
    for out in ["stdin", "substituted"] {
        let manifest = fs::read_to_string(folder.path().join(out).join("manifest.json")).expect("a manifest");
        let manifest: Value = serde_json::from_str(&manifest).expect("JSON");
        assert_eq!(
            (&manifest["sources"][0]["kind"], manifest["losses"].as_array().map(Vec::len)),
            (&"scrape".into(), Some(0)),
            "{out}"
        );
    }
}
