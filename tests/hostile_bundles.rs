//! Bundles that strangers made: what is no manifest is not read as one, what comes to more than the memory allows is refused by name, and what
//! cannot be read costs itself.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use syncline_collector::bundle::{BundleOptions, bundle};
use syncline_collector::write::tables::Tables;
use syncline_schema::manifest::{MANIFEST, Manifest};
use syncline_schema::markers::MarkerRow;

/// Rules that ask for series of both dataplanes.
const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../templates/rules/syncline.rules.yaml");

fn syncline(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_syncline")).args(arguments).output().expect("syncline starts")
}

/// Exit code, standard output, standard error.
fn ended(arguments: &[&str]) -> (i32, String, String) {
    let output = syncline(arguments);
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(!said.contains("panicked"), "{arguments:?}: {said}");
    (output.status.code().expect("an exit code"), String::from_utf8(output.stdout).expect("UTF-8"), said)
}

fn bundled(folder: &Path, run: &str) -> PathBuf {
    let inputs = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../sample-data").join(run)];
    let out = folder.join(run);
    bundle(&BundleOptions { inputs, out: out.clone(), ..BundleOptions::default() }).expect("bundled");
    out
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Commands that read bundles, with the bundle's place.
fn commands<'a>(bundle: &'a str, out: &'a str) -> [Vec<&'a str>; 8] {
    [
        vec!["report", bundle, "--out", out],
        vec!["check", bundle],
        vec!["compare", bundle, "--against", bundle],
        vec!["trend", bundle, "--measurement", "endpoint_propagation"],
        vec!["query", bundle, "up"],
        vec!["alerts", bundle, "--rules", RULES],
        vec!["timeline", bundle],
        vec!["clocks", bundle],
    ]
}

#[test]
fn what_is_no_manifest_is_refused_before_it_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let put = |name: &str, make: &dyn Fn(&Path)| {
        let bundle = folder.path().join(name);
        fs::create_dir(&bundle).expect("made");
        make(&bundle.join(MANIFEST));
        bundle
    };
    let device = put("device", &|path| std::os::unix::fs::symlink("/dev/null", path).expect("linked"));
    let sparse = put("sparse", &|path| File::create(path).and_then(|file| file.set_len(1 << 40)).expect("made"));
    let folder_of = put("folder", &|path| fs::create_dir(path).expect("made"));
    let deep = put("deep", &|path| fs::write(path, "[".repeat(1 << 20)).expect("written"));
    let nested = format!("{{\"format_version\": 3, \"x\": {}", "[".repeat(1 << 20));
    let nested = put("nested", &|path| fs::write(path, &nested).expect("written"));
    let bytes = put("bytes", &|path| fs::write(path, [0xff, 0xfe, 0]).expect("written"));
    let newer = put("newer", &|path| fs::write(path, "{\"format_version\": 99}").expect("written"));
    for (bundle, part) in [
        (device, "found no file"),
        (sparse, "bytes"),
        (folder_of, "found no file"),
        (deep, "expected the manifest of a bundle"),
        (nested, "expected the manifest of a bundle"),
        (bytes, "expected the manifest of a bundle"),
        (newer, "newer than this program knows"),
    ] {
        let out = folder.path().join("out");
        for arguments in commands(text(&bundle), text(&out)) {
            let (code, _, said) = ended(&arguments);
            assert_eq!(code, 2, "{arguments:?}: {said}");
            assert!(said.contains(part) && said.contains(MANIFEST), "{arguments:?}: {said}");
        }
        assert!(!out.exists());
    }
}

#[test]
fn many_equal_rows_are_refused_by_name_and_by_what_they_come_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let bundle = folder.path().join("bundle");
    fs::create_dir(&bundle).expect("made");
    let mut tables = Tables::new(&bundle);
    let row = MarkerRow { time: 1_795_407_750_000_000_000, label: "x".into(), ..MarkerRow::default() };
    (0..100_000).for_each(|_| tables.push(&row).expect("written"));
    let tables = tables.close().expect("closed");
    assert!(tables[0].bytes < 64 << 10, "{tables:?}");
    let manifest = Manifest { format_version: syncline_schema::FORMAT_VERSION, tables, ..Manifest::default() };
    fs::write(bundle.join(MANIFEST), serde_json::to_string(&manifest).expect("JSON")).expect("written");
    let out = folder.path().join("out");
    for mut arguments in commands(text(&bundle), text(&out)) {
        arguments.extend(["--memory", "4MiB"]);
        let (code, printed, said) = ended(&arguments);
        assert_eq!(code, 2, "{arguments:?}: {said}");
        assert!(said.contains("table markers: 100000 rows") && said.contains("--memory"), "{arguments:?}: {said}");
        assert!(printed.is_empty() && !out.exists());
    }
    // What is allowed is read.
    let (code, _, said) = ended(&["timeline", text(&bundle)]);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn a_broken_bundle_among_several_costs_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let (good, broken) = (bundled(folder.path(), "cilium-pod-crash-1"), bundled(folder.path(), "iptables-pod-crash-1"));
    fs::remove_file(broken.join("markers.parquet")).expect("removed");
    let absent = folder.path().join("absent");
    let (good, broken, absent) = (text(&good), text(&broken), text(&absent));
    let named =
        |said: &str| said.contains("table markers: markers.parquet is missing") && said.contains("absent: expected");

    let out = folder.path().join("report");
    let (code, _, said) = ended(&["report", broken, good, absent, "--out", text(&out)]);
    assert_eq!(code, 0, "a report is written, whatever it says: {said}");
    assert!(named(&said), "{said}");
    for file in ["report.html", "report.md", "report.json"] {
        let report = fs::read_to_string(out.join(file)).expect("written");
        assert!(report.contains("markers.parquet is missing") || report.contains("markers.parquet"), "{file}");
        assert!(report.contains("cilium-pod-crash-1"), "{file}");
    }
    let (alone, printed, _) = ended(&["check", good, "--format", "json"]);
    let (code, same, said) = ended(&["check", broken, good, absent, "--format", "json"]);
    assert!(named(&said) && same == printed, "the rest is judged as by itself: {said}");
    assert_eq!(code, if alone == 1 { 1 } else { 2 }, "what was not judged is no pass");
    let (code, printed, said) = ended(&["query", good, broken, "count(process_cpu_seconds_total)", "--format", "csv"]);
    assert_eq!((code, printed.lines().count()), (2, 2), "{said}");
    let (code, printed, said) = ended(&["compare", good, broken, "--against", good, "--format", "json"]);
    assert_eq!(code, 2, "{said}");
    assert!(
        serde_json::from_str::<serde_json::Value>(&printed)
            .is_ok_and(|all| all.as_array().is_some_and(|all| !all.is_empty()))
    );
    // Nothing is left: that is the error.
    for arguments in
        [vec!["check", broken, absent], vec!["report", broken, absent, "--out", text(&folder.path().join("none"))]]
    {
        let (code, printed, said) = ended(&arguments);
        assert!(code == 2 && printed.is_empty() && named(&said), "{said}");
    }
    assert!(!folder.path().join("none").exists());
}
