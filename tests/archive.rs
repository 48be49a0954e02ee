//! `syncline archive`: the results that it keeps are those that the bundles give, whatever happens to the process, the places and the
//! versions meanwhile.

#[path = "truth/captured.rs"]
mod captured;
#[expect(dead_code, reason = "what tests of the truth ask of a cluster")]
#[path = "truth/cluster.rs"]
mod cluster;
#[path = "truth/files.rs"]
mod files;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use cluster::{Cluster, Plan};
use serde_json::Value;
use syncline::bundle::MEMORY;
use syncline::events::Run;
use syncline::measure;
use syncline::result::{RunResult, given};
use syncline_collector::bundle::{BundleOptions, bundle};

fn syncline(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
    command.current_dir(folder).args(arguments).env("RAYON_NUM_THREADS", "2").env("POLARS_MAX_THREADS", "2");
    let output = command.output().expect("syncline starts");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"), "{output:?}");
    output
}

/// What `archive` says in JSON, and its exit code.
fn archive(folder: &Path, arguments: &[&str]) -> (Value, i32) {
    let all: Vec<&str> = ["archive"].iter().chain(arguments).chain(&["--format", "json"]).copied().collect();
    let output = syncline(folder, &all);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let found = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    (found, output.status.code().expect("an exit code"))
}

/// `runs`, `new`, `changed`, `unchanged`, `opened`.
fn counts(said: &Value) -> [u64; 5] {
    ["runs", "new", "changed", "unchanged", "opened"].map(|name| said[name].as_u64().unwrap_or(u64::MAX))
}

/// The capture of a made-up cluster.
fn capture(seed: u64, path: &Path) {
    let plan = Plan { cilium: seed % 2 == 1, ..Plan::of(seed) };
    files::write(&Cluster::new(plan), path);
}

/// Captures below `runs`, one of them in a folder of its own, one of them bundled.
fn runs(folder: &Path, count: u64) {
    for seed in 0..count {
        let path = folder.join("runs").join(if seed == 1 { "older/b".to_owned() } else { format!("r{seed}") });
        if seed == 2 {
            let raw = folder.join("raw");
            capture(seed, &raw);
            let options = BundleOptions { inputs: vec![raw], out: path, ..BundleOptions::default() };
            bundle(&options).expect("a bundle");
        } else {
            capture(seed, &path);
        }
    }
}

/// The report of some runs: every file of it.
fn report(folder: &Path, runs: &[&str]) -> Vec<(String, String)> {
    let out = folder.join("report");
    let _ = fs::remove_dir_all(&out);
    let all: Vec<&str> = ["report"].iter().chain(runs).chain(&["--out", "report"]).copied().collect();
    let output = syncline(folder, &all);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = ["report.json", "report.md", "report.html", "summary.md"];
    names.map(|name| (name.to_owned(), fs::read_to_string(out.join(name)).expect(name))).into()
}

fn assert_same(found: &[(String, String)], expected: &[(String, String)]) {
    for ((name, one), (_, other)) in found.iter().zip(expected) {
        let line = one.lines().zip(other.lines()).find(|(a, b)| a != b);
        assert!(one == other, "{name} differs: {line:?}");
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("listed").flatten() {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("copied");
        }
    }
}

#[test]
fn a_report_of_an_archive_is_the_one_of_its_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    runs(folder, 5);
    let (said, code) = archive(folder, &["runs", "--out", "kept", "--jobs", "3"]);
    assert_eq!((counts(&said), code), ([5, 5, 0, 0, 5], 0), "{said:#}");
    let paths = ["runs/older/b", "runs/r0", "runs/r2", "runs/r3", "runs/r4"];
    let expected = report(folder, &paths);
    assert_same(&report(folder, &["kept"]), &expected);

    // The other commands give the same too.
    let same = |arguments: &[&str], behind: &[&str]| {
        let of = |runs: &[&str]| {
            let all: Vec<&str> = arguments.iter().chain(runs).chain(behind).copied().collect();
            let output = syncline(folder, &all);
            (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code())
        };
        assert_eq!(of(&["kept"]), of(&paths), "{arguments:?}");
    };
    same(&["check"], &["--format", "json"]);
    same(&["query"], &["count by (__name__) ({__name__=~\"kubeproxy.*\"})", "--format", "json"]);

    // Shards, each by a process of its own, and joined.
    for shard in ["0/2", "1/2"] {
        let out = format!("shard-{}", &shard[..1]);
        archive(folder, &["runs", "--out", &out, "--shard", shard]);
    }
    let (said, code) = archive(folder, &["merge", "shard-0", "shard-1", "--out", "joined"]);
    assert_eq!((counts(&said)[0], code), (5, 0), "{said:#}");
    assert_same(&report(folder, &["joined"]), &expected);
    // Joined again, nothing is twice.
    let (said, _) = archive(folder, &["merge", "shard-1", "kept", "--out", "joined"]);
    assert_eq!(counts(&said)[..2], [5, 0], "{said:#}");
    // Tables without an index, as an engine writes them.
    fs::remove_file(folder.join("shard-0/archive.json")).expect("removed");
    fs::remove_file(folder.join("shard-1/archive.json")).expect("removed");
    archive(folder, &["merge", "shard-0", "shard-1", "--out", "engine"]);
    assert_same(&report(folder, &["engine"]), &expected);

    // Selected by facts.
    let dataplane = |wanted: &str| {
        let output = syncline(folder, &["report", "kept", "--out", "some", "--force", "--where", wanted]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = fs::read_to_string(folder.join("some/report.json")).expect("a report");
        let report: Value = serde_json::from_str(&text).expect("JSON");
        let runs = report["runs"].as_array().expect("runs").clone();
        runs.iter().map(|run| run["dataplane"].as_str().expect("a dataplane").to_owned()).collect::<Vec<_>>()
    };
    let cilium = dataplane("dataplane = \"cilium\"");
    let others = dataplane("not dataplane = 'cilium'");
    assert!(cilium.iter().all(|one| one == "cilium") && others.iter().all(|one| one != "cilium"));
    assert_eq!(cilium.len() + others.len(), 5);
    let none = syncline(folder, &["report", "kept", "--out", "none", "--where", "cilium = 'x'"]);
    assert_eq!(none.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&none.stderr).contains("holds for none of 5 runs"), "{none:?}");
}

#[test]
fn only_what_is_new_or_changed_is_opened() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    runs(folder, 4);
    let pass = |more: &[&str]| {
        let all: Vec<&str> = ["runs", "--out", "kept"].iter().chain(more).copied().collect();
        archive(folder, &all)
    };
    assert_eq!(counts(&pass(&[]).0), [4, 4, 0, 0, 4]);
    assert_eq!(counts(&pass(&[]).0), [4, 0, 0, 4, 0]);

    // A new one costs itself; a copy is the same run, listed with both places.
    capture(4, &folder.join("runs/new"));
    copy(&folder.join("runs/r0"), &folder.join("runs/again"));
    copy(&folder.join("runs/r2"), &folder.join("runs/again-bundle"));
    let (said, code) = pass(&[]);
    assert_eq!((counts(&said)[0], counts(&said)[1], code), (5, 1, 0), "{said:#}");
    let copies = said["copies"].as_array().expect("copies");
    assert_eq!(copies.len(), 2, "{said:#}");
    assert!(copies[0].as_array().expect("places").len() == 2, "{said:#}");
    // A bundle's copy is told by its manifest: only two captures were opened.
    assert_eq!(counts(&said)[4], 2, "{said:#}");

    // Touched, not changed: a bundle is known by its manifest.
    let manifest = folder.join("runs/r2/manifest.json");
    let text = fs::read(&manifest).expect("read");
    fs::write(&manifest, text).expect("written");
    let (said, _) = pass(&[]);
    assert_eq!(counts(&said), [5, 0, 0, 5, 0], "{said:#}");

    // Changed: the run that was there is another one now.
    let statements = folder.join("runs/r3/capture.toml");
    let text = fs::read_to_string(&statements).unwrap_or_default();
    fs::write(&statements, format!("name = \"renamed\"\n{text}")).expect("written");
    let (said, _) = pass(&[]);
    assert_eq!((counts(&said)[0], counts(&said)[2], counts(&said)[4]), (5, 1, 1), "{said:#}");
    let json = report(folder, &["kept"]).swap_remove(0).1;
    assert_eq!(json.matches("\"name\":\"renamed\"").count(), 1, "the run has its new name, once");

    // Gone: kept, said, and dropped where that is asked for.
    fs::remove_dir_all(folder.join("runs/new")).expect("removed");
    let (said, _) = pass(&[]);
    assert_eq!(counts(&said)[0], 5);
    assert!(said["gone"][0].as_str().expect("a path").ends_with("runs/new"), "{said:#}");
    let (said, _) = pass(&["--prune"]);
    assert_eq!(counts(&said)[0], 4, "{said:#}");
}

#[test]
fn what_cannot_be_read_costs_itself_and_is_listed() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    runs(folder, 3);
    let table = folder.join("runs/r2/facts.parquet");
    let whole = fs::read(&table).expect("read");
    fs::write(&table, &whole[..whole.len() / 2]).expect("written");
    fs::write(folder.join("runs/notes.txt"), "what we did\n").expect("written");
    let (said, code) = archive(folder, &["runs", "--out", "kept"]);
    assert_eq!((counts(&said)[..2].to_vec(), code), (vec![2, 2], 2), "{said:#}");
    let failed = said["failed"].as_array().expect("failed");
    assert!(failed.len() == 1 && failed[0]["path"].as_str().expect("a path").ends_with("runs/r2"), "{said:#}");
    assert!(failed[0]["reason"].as_str().expect("a reason").contains("facts"), "{said:#}");
    assert!(said["not_of_a_run"][0].as_str().expect("a path").ends_with("notes.txt"), "{said:#}");
    // Not tried again while it is the same, and still no success.
    let (said, code) = archive(folder, &["runs", "--out", "kept"]);
    assert_eq!((counts(&said), code), ([2, 0, 0, 2, 0], 2), "{said:#}");
    // `check` says that it does not know of all.
    assert_eq!(syncline(folder, &["check", "kept"]).status.code().map(|code| code == 0), Some(false));
    fs::write(&table, whole).expect("written");
    let (said, code) = archive(folder, &["runs", "--out", "kept"]);
    assert_eq!((counts(&said)[..2].to_vec(), code), (vec![3, 1], 0), "{said:#}");

    // Folders of something else are left as they are.
    fs::create_dir(folder.join("else")).expect("made");
    fs::write(folder.join("else/letter.txt"), "dear").expect("written");
    let output = syncline(folder, &["archive", "runs", "--out", "else"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(fs::read_dir(folder.join("else")).expect("listed").count(), 1);
}

#[test]
fn a_process_that_is_killed_leaves_an_archive_that_the_next_one_goes_on_with() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    runs(folder, 3);
    archive(folder, &["runs/r0", "--out", "kept"]);
    capture(3, &folder.join("runs/r3"));
    for lines in 0..2 {
        let mut child = Command::new(env!("CARGO_BIN_EXE_syncline"))
            .current_dir(folder)
            .args(["archive", "runs", "--out", "kept", "--jobs", "1"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("syncline starts");
        // Somewhere in its work: behind its first look at the lock, or later.
        while lines > 0 && !folder.join("kept/.lock").exists() {
            std::thread::yield_now();
        }
        child.kill().expect("killed");
        child.wait().expect("ended");
        let output = syncline(folder, &["check", "kept", "--format", "json"]);
        assert!(!output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let (said, code) = archive(folder, &["runs", "--out", "kept"]);
    assert_eq!((counts(&said)[0], code), (4, 0), "{said:#}");
    assert_same(&report(folder, &["kept"]), &report(folder, &["runs/older/b", "runs/r0", "runs/r2", "runs/r3"]));
    let left = |path: &Path| -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![path.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("listed").flatten() {
                if entry.path().is_dir() { folders.push(entry.path()) } else { found.push(entry.path()) }
            }
        }
        found
    };
    let hidden = |path: &PathBuf| path.extension().is_some_and(|end| end == "new");
    assert!(!left(&folder.join("kept")).iter().any(hidden), "nothing half done is left");
}

#[test]
fn archives_of_files_are_runs_and_a_folder_of_captures_is_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    capture(0, &folder.join("raw/a"));
    capture(1, &folder.join("runs/plain/deep"));
    fs::create_dir_all(folder.join("runs/packed")).expect("made");
    let mut tar = tar::Builder::new(fs::File::create(folder.join("runs/packed/a.tar")).expect("made"));
    tar.append_dir_all("a", folder.join("raw/a")).expect("packed");
    tar.finish().expect("packed");
    let (said, code) = archive(folder, &["runs", "--out", "kept"]);
    assert_eq!((counts(&said)[..2].to_vec(), code), (vec![2, 2], 0), "{said:#}");
    // The files in the tar are the capture's: the same content is the same run.
    copy(&folder.join("raw/a"), &folder.join("runs/unpacked"));
    let (said, _) = archive(folder, &["runs", "--out", "kept"]);
    assert_eq!((counts(&said)[0], said["copies"].as_array().expect("copies").len()), (2, 1), "{said:#}");
}

/// An earlier result gives what is still measured alike, and nothing that is not.
#[test]
fn a_new_version_of_a_measurement_measures_that_one_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    capture(0, folder.path());
    let (bundle, _temporary) = given::one(folder.path(), MEMORY).expect("a capture that is bundled");
    let run = Run::load(bundle).expect("a run");
    let first = RunResult::of(run.clone(), None, &[]).expect("a result");
    let at = |part: &str| measure::ALL.iter().position(|one| one.name == part).expect("a part");
    let (anew, kept) = (at("propagation"), at("rules_total"));
    let rows_of = |result: &RunResult, part: usize| {
        let from: usize = result.made[..part].iter().map(|made| made.rows).sum();
        from..from + result.made[part].rows
    };
    let mut earlier = first.clone();
    earlier.made[anew].version += 1;
    for part in [anew, kept] {
        for row in rows_of(&first, part) {
            earlier.measurements[row].method = "as it was".into();
        }
    }
    assert!(first.is_current(&[]) && !earlier.is_current(&[]));
    let now = RunResult::of(run, Some(earlier), &[]).expect("a result");
    assert!(now.is_current(&[]));
    let methods = |result: &RunResult, part| {
        result.measurements[rows_of(result, part)].iter().map(|one| one.method.clone()).collect::<Vec<_>>()
    };
    assert_eq!(methods(&now, anew), methods(&first, anew));
    assert!(methods(&now, kept).iter().all(|method| method == "as it was"));
    assert_eq!(now.measurements.len(), first.measurements.len());
}
