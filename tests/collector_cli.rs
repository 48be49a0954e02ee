//! The collector's command line: exit codes, whole or absent, the same bytes whatever the threads and the memory.

mod told;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use syncline_collector::bundle::{BundleOptions, bundle};
use told::{losses, source};

fn collector(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_syncline-collector"))
        .current_dir(folder)
        .args(arguments)
        .output()
        .expect("the collector starts")
}

fn manifest(bundle: &Path) -> Value {
    let text = fs::read_to_string(bundle.join("manifest.json")).expect("a manifest");
    serde_json::from_str(&text).expect("JSON")
}

fn files(bundle: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(bundle).expect("a bundle").map(|entry| entry.expect("an entry"));
    let named = |entry: fs::DirEntry| (entry.file_name().to_string_lossy().into_owned(), entry.path());
    entries.map(named).map(|(name, path)| (name, fs::read(path).expect("a file"))).collect()
}

/// A stream of scrapes, several chunks long; every seventh scrape lacks a series.
fn scrapes(count: usize, series: usize) -> String {
    let mut text = String::new();
    for scrape in 0..count {
        text.push_str(&format!("# SCRAPE {}.5\n# TYPE work_total counter\n", 1_795_407_710 + scrape));
        for one in 0..series {
            if one == 3 && scrape % 7 == 6 {
                continue;
            }
            text.push_str(&format!("work_total{{part=\"{one}\",zone=\"north-by-north-west\"}} {}\n", scrape * one));
        }
    }
    text
}

#[test]
fn the_same_bytes_whatever_the_threads_and_the_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let captures = folder.path().join("run");
    fs::create_dir(&captures).expect("a folder");
    fs::write(captures.join("a.stream"), scrapes(600, 400)).expect("written");
    fs::write(captures.join("b.stream"), scrapes(50, 10)).expect("written");
    fs::write(captures.join("notes"), "unread").expect("written");
    let mut made = Vec::new();
    for (threads, memory) in [(1, 64 << 20), (4, 64 << 20), (4, 512 << 20), (3, 32 << 20)] {
        let out = folder.path().join(format!("bundle-{threads}-{memory}"));
        let options = BundleOptions {
            inputs: vec![captures.clone()],
            out: out.clone(),
            memory,
            threads,
            ..BundleOptions::default()
        };
        let summary = bundle(&options).expect("bundled");
        assert!(summary.manifest.sources[0].records > 0, "the stream was not read");
        made.push(files(&out));
    }
    for other in &made[1..] {
        assert!(made[0] == *other, "two bundles of the same captures differ");
    }
}

#[test]
fn a_bundle_is_never_replaced_unasked() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    fs::write(here.join("a.stream"), scrapes(3, 3)).expect("written");
    let run = |more: &[&str]| collector(here, &[&["bundle", "a.stream", "--out", "b"], more].concat());
    assert_eq!(run(&[]).status.code(), Some(0));
    let before = files(&here.join("b"));
    let again = run(&[]);
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&again.stderr).starts_with("error: b: exists already"), "{again:?}");
    assert_eq!(before, files(&here.join("b")));
    fs::write(here.join("a.stream"), scrapes(4, 3)).expect("written");
    assert_eq!(run(&["--force"]).status.code(), Some(0));
    assert_ne!(before, files(&here.join("b")));
    // What is no bundle is not replaced at all.
    fs::create_dir(here.join("precious")).expect("a folder");
    fs::write(here.join("precious/data"), "x").expect("written");
    let refused = collector(here, &["bundle", "a.stream", "--out", "precious", "--force"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(here.join("precious/data").exists());
    let left: Vec<_> =
        fs::read_dir(here).expect("a folder").filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    assert!(left.iter().all(|name| !name.starts_with('.')), "left behind: {left:?}");
}

#[test]
fn a_killed_run_leaves_nothing_under_the_final_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut child = Command::new(env!("CARGO_BIN_EXE_syncline-collector"))
        .current_dir(folder.path())
        .args(["bundle", "-", "--out", "b"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the collector starts");
    let mut input = child.stdin.take().expect("a pipe");
    // More than the pipe and a chunk hold: once this is written the collector is in the middle of its work.
    input.write_all(scrapes(600, 400).as_bytes()).expect("written");
    child.kill().expect("killed");
    child.wait().expect("ended");
    drop(input);
    assert!(!folder.path().join("b").exists());
    // What the killed run left does not stand in the way of the next.
    fs::write(folder.path().join("a.stream"), scrapes(3, 3)).expect("written");
    assert_eq!(collector(folder.path(), &["bundle", "a.stream", "--out", "b"]).status.code(), Some(0));
}

#[test]
fn whatever_lies_in_the_folder_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    fs::create_dir(&run).expect("a folder");
    // Each has content of its own: the same under two paths is read once.
    let of = |zone: &str| scrapes(40, 50).replace("north-by-north-west", zone).into_bytes();
    let pack = |zone: &str| zstd::encode_all(of(zone).as_slice(), 3).expect("packed");
    let packed = pack("packed");
    let twice = [pack("twice"), pack("twice")].concat();
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in [
        ("in/plain.stream", of("archived")),
        ("in/packed.stream.zst", pack("packed and archived")),
        ("in/index", b"\xba\xaa\xd7\0".to_vec()),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        archive.append_data(&mut header, name, bytes.as_slice()).expect("packed");
    }
    let archive = archive.into_inner().expect("packed");
    let with_mark = ["\u{feff}".as_bytes(), &of("marked")].concat();
    for (name, bytes) in [
        ("plain.stream", of("plain").as_slice()),
        ("packed.stream.zst", &packed),
        ("cut.stream.zst", &packed[..packed.len() / 2]),
        ("twice.stream.zst", &twice),
        ("again.stream.zst", &packed),
        ("marked.stream", &with_mark),
        ("empty.stream", b""),
        ("garbage.stream", b"\0\x01\xff\xfe garbage"),
        ("broken.stream.zst", b"\x28\xb5\x2f\xfd\xff\xff\xff\xff\xff"),
        ("all.tar", &archive),
        ("cut.tar", &archive[..archive.len() / 2]),
    ] {
        fs::write(run.join(name), bytes).expect("written");
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("nowhere", run.join("dangling.stream")).expect("linked");
        std::os::unix::fs::symlink(&run, run.join("itself")).expect("linked");
    }
    let done = collector(folder.path(), &["bundle", "run", "--out", "b"]);
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    let made = manifest(&folder.path().join("b"));
    let records = |path: &str| source(&made, path)["records"].as_u64().expect("records");
    let plain = records("plain.stream");
    assert!(plain > 0);
    for same in ["again.stream.zst", "marked.stream", "all.tar/in/plain.stream", "all.tar/in/packed.stream.zst"] {
        assert_eq!(records(same), plain, "{same}");
        assert_eq!(source(&made, same)["kind"], "scrape");
        assert_eq!(source(&made, same)["sha256"].as_str().map(str::len), Some(64), "{same}");
    }
    assert_eq!(records("twice.stream.zst"), 2 * plain);
    assert_eq!(source(&made, "packed.stream.zst")["same_as"], "again.stream.zst");
    assert_eq!(source(&made, "packed.stream.zst")["sha256"], source(&made, "again.stream.zst")["sha256"]);
    assert_eq!(source(&made, "all.tar/in/index")["kind"], "unread");
    for (path, loss) in [
        ("cut.stream.zst", "truncated-input"),
        ("empty.stream", "empty-file"),
        ("garbage.stream", "unread-file"),
        ("broken.stream.zst", "truncated-input"),
        ("cut.tar", "truncated-input"),
        #[cfg(unix)]
        ("dangling.stream", "unread-file"),
    ] {
        // A cut archive may name its entry instead.
        let named = losses(&made, path).iter().any(|name| name == loss)
            || made["losses"].as_array().expect("losses").iter().any(|one| {
                one["name"] == loss && one["source"].as_str().is_some_and(|at| at.starts_with(&format!("{path}/")))
            });
        assert!(named, "{path}: {:?}", losses(&made, path));
    }
}

/// `bundle <(kubectl logs …)`: what a pipe gave is not there a second time.
#[cfg(unix)]
#[test]
fn a_pipe_is_read_once_and_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = scrapes(40, 50);
    fs::write(folder.path().join("plain.stream"), &text).expect("written");
    let pipe = folder.path().join("pipe.stream");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("it starts").success());
    let writer = std::thread::spawn(move || fs::write(pipe, text));
    let done = collector(folder.path(), &["bundle", "pipe.stream", "--out", "b"]);
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    writer.join().expect("no panic").expect("written");
    assert_eq!(collector(folder.path(), &["bundle", "plain.stream", "--out", "c"]).status.code(), Some(0));
    let (piped, plain) = (manifest(&folder.path().join("b")), manifest(&folder.path().join("c")));
    for field in ["records", "sha256", "rejected"] {
        assert_eq!(piped["sources"][0][field], plain["sources"][0][field], "{field}");
    }
}

/// A zip of these files.
fn zipped(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in files {
        archive.start_file(*name, zip::write::SimpleFileOptions::default()).expect("begun");
        archive.write_all(bytes).expect("written");
    }
    archive.finish().expect("closed").into_inner()
}

#[test]
fn a_sysdump_is_read_with_the_archives_in_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let list =
        "SERVICE ADDRESS   BACKEND ADDRESS (REVNAT_ID) (SLOT)\n10.96.0.1:443/TCP (1)   172.18.0.2:6443/TCP (1) (1)\n";
    let mut bugtool = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    let mut header = tar::Header::new_gnu();
    header.set_size(list.len() as u64);
    header.set_mtime(1_795_408_958);
    bugtool.append_data(&mut header, "cmd/cilium-dbg-bpf-lb-list.md", list.as_bytes()).expect("appended");
    let bugtool = bugtool.into_inner().and_then(|inner| inner.finish()).expect("a tar");
    let flow = b"{\"flow\":{\"time\":\"2026-11-23T04:36:00Z\",\"verdict\":\"FORWARDED\",\"node_name\":\"node-a\"}}\n"
        .repeat(2000);
    let sysdump = zipped(&[
        ("dump/cilium-bugtool-cilium-abcde.tar.gz", &bugtool),
        ("dump/hubble-flows-cilium-abcde.json", &flow),
        ("dump/k8s-version.txt", b"v1.33.1"),
        ("dump/deeper.zip", &zipped(&[("lb.txt", list.as_bytes())])),
    ]);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&sysdump).expect("written");
    let captures = folder.path().join("run");
    fs::create_dir(&captures).expect("a folder");
    let cut = &sysdump[..sysdump.len() - 40];
    for (name, bytes) in [
        ("dump.zip", sysdump.as_slice()),
        ("packed.zip.gz", &packed.finish().expect("packed")),
        ("cut.zip", cut),
        ("empty.zip", &zipped(&[])),
    ] {
        fs::write(captures.join(name), bytes).expect("written");
    }
    let output = collector(folder.path(), &["bundle", "run", "--out", "made"]);
    assert!(output.status.success(), "{output:?}");
    let made = manifest(&folder.path().join("made"));
    for archive in ["dump.zip", "packed.zip.gz"] {
        let of = |path: &str| source(&made, &format!("{archive}/dump/{path}")).clone();
        assert_eq!(source(&made, archive)["kind"], "zip");
        assert_eq!(of("cilium-bugtool-cilium-abcde.tar.gz")["kind"], "tar");
        assert_eq!(of("cilium-bugtool-cilium-abcde.tar.gz/cmd/cilium-dbg-bpf-lb-list.md")["kind"], "cilium-lb-list");
        let flows = of("hubble-flows-cilium-abcde.json");
        // The second archive is the first one, packed: its flows are the same ones.
        let expected = if archive == "dump.zip" { ("hubble", 2000) } else { ("same-content", 0) };
        assert_eq!((&flows["kind"], &flows["records"]), (&expected.0.into(), &expected.1.into()));
        assert_eq!(flows["bytes"], flow.len() as u64);
        assert_eq!(of("k8s-version.txt")["kind"], "versions");
        assert_eq!(of("deeper.zip/lb.txt")["kind"], "cilium-lb-list");
    }
    assert_eq!(source(&made, "dump.zip")["bytes"], sysdump.len() as u64);
    assert_eq!(losses(&made, "cut.zip"), ["truncated-input"]);
    assert_eq!(losses(&made, "empty.zip"), Vec::<String>::new());
    let told = collector(folder.path(), &["inspect", "made"]).stdout;
    assert!(String::from_utf8_lossy(&told).contains("table of contents"), "{}", String::from_utf8_lossy(&told));
    let mut piped = Command::new(env!("CARGO_BIN_EXE_syncline-collector"))
        .args(["bundle", "-", "--out", "piped"])
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .spawn()
        .expect("the collector starts");
    piped.stdin.take().expect("a pipe").write_all(&sysdump).expect("written");
    assert!(piped.wait().expect("ended").success());
    assert_eq!(source(&manifest(&folder.path().join("piped")), "-/dump/deeper.zip/lb.txt")["kind"], "cilium-lb-list");
}

/// A CloudWatch export, an API answer in sorted keys and a CSV of requests, each larger than the least memory's longest record.
#[test]
fn a_document_larger_than_a_record_may_be_is_read_element_by_element() {
    let folder = tempfile::tempdir().expect("a folder");
    let captures = folder.path().join("run");
    fs::create_dir(&captures).expect("a folder");
    let event = |n: usize| {
        format!(
            "        {{\n            \"timestamp\": 1795000000000,\n            \"message\": \"{{\\\"kind\\\":\\\"Event\\\",\\\"apiVersion\\\":\\\"audit.k8s.io/v1\\\",\\\"level\\\":\\\"Metadata\\\",\\\"auditID\\\":\\\"{n}\\\",\\\"stage\\\":\\\"ResponseComplete\\\",\\\"requestURI\\\":\\\"/{}\\\",\\\"verb\\\":\\\"get\\\",\\\"user\\\":{{\\\"username\\\":\\\"u\\\"}},\\\"requestReceivedTimestamp\\\":\\\"2026-11-23T04:00:00.000000Z\\\",\\\"stageTimestamp\\\":\\\"2026-11-23T04:00:00.000000Z\\\"}}\"\n        }}",
            "x".repeat(600)
        )
    };
    let events: Vec<String> = (0..10_000).map(event).collect();
    let export = format!("{{\n    \"events\": [\n{}\n    ],\n    \"searchedLogStreams\": []\n}}\n", events.join(",\n"));
    let values: Vec<String> = (0..1_000).map(|n| format!("[{}, \"{n}\"]", 1_795_000_000 + n)).collect();
    let series: Vec<String> = (0..400)
        .map(|n| {
            format!("{{\"metric\": {{\"__name__\": \"m\", \"n\": \"{n}\"}}, \"values\": [{}]}}", values.join(", "))
        })
        .collect();
    let answer = format!(
        "{{\"data\": {{\"result\": [{}], \"resultType\": \"matrix\"}}, \"status\": \"success\"}}",
        series.join(", ")
    );
    let rows: String = (0..400_000).map(|n| format!("{},{},200\n", 1_795_000_000_000_u64 + n, n % 90)).collect();
    let requests = format!("timeStamp,elapsed,responseCode\n{rows}");
    assert!([&export, &answer, &requests].iter().all(|text| text.len() > 5 << 20));
    for (name, text) in [("export.json", &export), ("answer.json", &answer), ("requests.csv", &requests)] {
        fs::write(captures.join(name), text).expect("written");
    }
    for (memory, out) in [("32MiB", "small"), ("512MiB", "large")] {
        let output = collector(folder.path(), &["bundle", "run", "--out", out, "--memory", memory]);
        assert!(output.status.success(), "{output:?}");
        let made = manifest(&folder.path().join(out));
        for (name, records) in [("export.json", 10_000), ("answer.json", 400_000), ("requests.csv", 400_000)] {
            let source = source(&made, name);
            assert_eq!((&source["records"], &source["rejected"]), (&records.into(), &0.into()), "{name} in {memory}");
        }
    }
    assert_eq!(files(&folder.path().join("small")), files(&folder.path().join("large")));
}

#[test]
fn what_cannot_run_exits_with_two() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("run")).expect("a folder");
    for wrong in [&["bundle", "absent", "--out", "b"][..], &["bundle", "run"], &["inspect", "run"], &["nonsense"]] {
        assert_eq!(collector(folder.path(), wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn options_and_the_chosen_kind_override() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("run")).expect("a folder");
    fs::write(
        folder.path().join("run/capture.toml"),
        "dataplane = \"cilium\"\nnode = \"n1\"\nsynthetic = true\n[source.\"odd/*\"]\nkind = \"scrape\"\nclock = \"prometheus\"\n",
    )
    .expect("written");
    fs::create_dir(folder.path().join("run/odd")).expect("a folder");
    fs::write(folder.path().join("run/odd/file"), scrapes(2, 2)).expect("written");
    fs::write(folder.path().join("run/other"), scrapes(2, 2)).expect("written");
    let done = collector(
        folder.path(),
        &["bundle", "run", "--out", "b", "--dataplane", "kube-proxy-ipvs", "--source", "exposition@operator=other"],
    );
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    let made = manifest(&folder.path().join("b"));
    assert_eq!(made["dataplane"], "kube-proxy-ipvs");
    assert_eq!(made["synthetic"], true);
    assert_eq!(source(&made, "odd/file")["clock"], "prometheus");
    assert_eq!(
        (&source(&made, "other")["kind"], &source(&made, "other")["clock"]),
        (&"exposition".into(), &"operator".into())
    );
    assert_eq!(source(&made, "capture.toml")["kind"], "capture-toml");
}

#[test]
fn formats_says_of_each_how_it_is_known_captured_and_what_it_proves() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = String::from_utf8(collector(folder.path(), &["formats"]).stdout).expect("UTF-8");
    for format in syncline_collector::parse::FORMATS {
        assert!(text.contains(format.kind), "{} is not listed", format.kind);
        for said in [format.title, format.recognised, format.capture, format.proves, format.sample] {
            assert!(!said.is_empty(), "{}: something is not said", format.kind);
        }
        assert!(text.contains(format.clock.token()), "{}: its clock", format.kind);
    }
}

/// `collector/FORMATS.md`; `BLESS=1` writes it anew.
#[test]
fn the_table_of_formats_is_that_of_the_program() {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("FORMATS.md");
    let cell = |text: &str| text.replace('|', "\\|");
    let mut table = "# What the collector reads\n\n\
        By content, each kind by features unique to it; only where it says so, the name decides. Files may be plain, gzip or zstd, in a tar or a\n\
        zip. Whatever is none of these is listed as unread with the nearest guess, never half-read. `syncline-collector formats` shows the same with a sample and the\n\
        command that captures each.\n\n\
        | kind | what | recognised by | proves | clock |\n|---|---|---|---|---|\n"
        .to_owned();
    for format in syncline_collector::parse::FORMATS {
        let row = [format.title, format.recognised, format.proves].map(cell).join(" | ");
        table.push_str(&format!("| `{}` | {row} | {} |\n", format.kind, format.clock.token()));
    }
    table.push_str(
        "\nWhat lies around a capture is taken off ahead of all this, whatever the format, and stacked in any order:\n\n| layer | what |\n|---|---|\n",
    );
    for layer in syncline_collector::layers::LAYERS {
        table.push_str(&format!("| `{}` | {} |\n", layer.name, cell(layer.title)));
    }
    if std::env::var_os("BLESS").is_some() {
        fs::write(&place, &table).expect("written");
    }
    assert_eq!(fs::read_to_string(&place).unwrap_or_default(), table, "BLESS=1 writes collector/FORMATS.md anew");
}

#[test]
fn inspect_tells_a_program_all_that_the_manifest_and_the_rejects_hold() {
    let folder = tempfile::tempdir().expect("a folder");
    let captures = folder.path().join("run");
    fs::create_dir(&captures).expect("a folder");
    let audit = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"a","stage":"ResponseComplete","requestURI":"/","verb":"get","user":{"username":"u"},"requestReceivedTimestamp":"2026-11-23T04:00:00.000000Z","stageTimestamp":"2026-11-23T04:00:00.000000Z"}"#;
    fs::write(captures.join("audit.log"), format!("{audit}\n{{\"auditID\": broken\n{audit}\n")).expect("written");
    assert!(collector(folder.path(), &["bundle", "run", "--out", "made"]).status.success());
    let output = collector(folder.path(), &["inspect", "made", "--format", "json"]);
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let rejects = told["rejects"].as_array().expect("rejects");
    assert_eq!((rejects.len(), rejects[0]["record"].as_i64()), (1, Some(2)), "{told:#}");
    assert!(rejects[0]["reason"].as_str().is_some_and(|reason| reason.contains("expected")), "{told:#}");
    assert_eq!(source(&told, "audit.log")["records"], 2);
    let table = String::from_utf8(collector(folder.path(), &["inspect", "made"]).stdout).expect("UTF-8");
    assert!(table.contains("audit.log") && table.contains("rejected-records"), "{table}");
    // A capture is bundled first, and shows the same; nothing is left beside it.
    let direct = collector(folder.path(), &["inspect", "run", "--format", "json"]);
    let direct: Value = serde_json::from_slice(&direct.stdout).expect("JSON");
    assert_eq!((&direct["sources"], &direct["rejects"]), (&told["sources"], &told["rejects"]));
    assert_eq!(fs::read_dir(&captures).expect("a folder").count(), 1);
    assert_eq!(collector(folder.path(), &["inspect", "no-such"]).status.code(), Some(2));
}

#[test]
fn inspect_names_series_that_several_sources_tell() {
    let folder = tempfile::tempdir().expect("a folder");
    let captures = folder.path().join("run");
    fs::create_dir(&captures).expect("a folder");
    let page = "# TYPE up gauge\nup{job=\"a\"} 1\n# TYPE down gauge\ndown 2\n";
    fs::write(captures.join("1795407710.prom"), page).expect("written");
    fs::write(captures.join("1795407720.prom"), page.replace("down", "other")).expect("written");
    let output = collector(folder.path(), &["inspect", "run", "--format", "json"]);
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let expected = serde_json::json!([{"sources": ["1795407710.prom", "1795407720.prom"], "series": 1}]);
    assert_eq!(told["shared_series"], expected, "{told:#}");
    let table = String::from_utf8(collector(folder.path(), &["inspect", "run"]).stdout).expect("UTF-8");
    assert!(table.contains("1  1795407710.prom, 1795407720.prom"), "{table}");
}

#[test]
fn a_folder_without_captures_is_refused_and_nothing_is_made() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir_all(folder.path().join("empty/deeper")).expect("a folder");
    fs::create_dir(folder.path().join("hidden")).expect("a folder");
    fs::write(folder.path().join("hidden/.x"), "x").expect("written");
    for given in ["empty", "hidden"] {
        let output = collector(folder.path(), &["bundle", given, "--out", "made"]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("found no file"), "{output:?}");
        assert_eq!(collector(folder.path(), &["inspect", given]).status.code(), Some(2));
    }
    assert!(!folder.path().join("made").exists());
}

#[test]
fn help_fits_eighty_columns() {
    for arguments in [&["--help"][..], &["bundle", "--help"], &["inspect", "--help"], &["formats", "--help"]] {
        let shown = collector(Path::new("."), arguments);
        assert_eq!(shown.status.code(), Some(0));
        let text = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
}
