//! Small inputs that make much of themselves: each costs itself, is named, and gives the same bundle whatever the number of threads.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, SystemTime};

use syncline_schema::manifest::Manifest;

use super::{BundleOptions, bundle};

/// As little as the command line allows.
const MEMORY: usize = 32 << 20;

const LOG: &str = "I1123 04:22:33.606679       1 proxier.go:662] \"SyncProxyRules complete\" elapsed=\"1ms\"\n";
const SAVE: &str = "# TIMESTAMP 1795407710.5\n*nat\n:PREROUTING ACCEPT [0:0]\n:KUBE-SERVICES - [0:0]\n-A PREROUTING -j KUBE-SERVICES\nCOMMIT\n";

fn bundled(name: &str, bytes: &[u8], threads: usize) -> Manifest {
    let folder = tempfile::tempdir().expect("a folder");
    let captures = folder.path().join("captures");
    fs::create_dir(&captures).expect("a folder");
    fs::write(captures.join(name), bytes).expect("written");
    // Some formats have no other time.
    let file = fs::File::options().append(true).open(captures.join(name)).expect("opened");
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_407_710)).expect("dated");
    // What lies beside it is none the worse.
    fs::write(captures.join("zz-kube-proxy.log"), LOG).expect("written");
    let options = BundleOptions {
        inputs: vec![captures],
        out: folder.path().join("bundle"),
        memory: MEMORY,
        threads,
        ..BundleOptions::default()
    };
    bundle(&options).expect("a bundle").manifest
}

/// Losses and records of a file, which are the same with one thread and with three.
fn losses(name: &str, bytes: &[u8]) -> (BTreeMap<String, u64>, u64) {
    let [one, three] = [1, 3].map(|threads| bundled(name, bytes, threads));
    let tables = |manifest: &Manifest| manifest.tables.iter().map(|table| table.sha256.clone()).collect::<Vec<_>>();
    assert_eq!(tables(&one), tables(&three), "{name}");
    assert_eq!(one.sources.last().map(|source| (source.kind.as_str(), source.records)), Some(("kube-proxy-log", 1)));
    let of_it = one.losses.iter().filter(|loss| loss.source.as_deref() == Some(name));
    (of_it.map(|loss| (loss.name.clone(), loss.count)).collect(), one.sources[0].records)
}

#[test]
fn a_snapshot_of_empty_lines_is_one_that_is_too_long() {
    let text = format!(
        "{SAVE}# TIMESTAMP 1795407711.5\n*nat\n{}COMMIT\n# TIMESTAMP 1795407712.5\n{SAVE}",
        "\n".repeat(8 << 20)
    );
    let packed = zstd::encode_all(text.as_bytes(), 1).expect("packed");
    assert!(packed.len() < 4_096);
    let (losses, records) = losses("nat.txt.zst", &packed);
    assert_eq!((losses.get("record-too-long"), records), (Some(&1), 3), "{losses:?}");
}

#[test]
fn rejects_of_a_stream_are_counted_and_not_all_listed() {
    let text = format!("# TYPE a gauge\n{}{}", "a 1\n".repeat(20_000), "}\n".repeat(1 << 20));
    let (losses, _) = losses("a.prom", text.as_bytes());
    let (rejected, unlisted) = (losses.get("rejected-records").copied(), losses.get("unlisted-rejects").copied());
    assert_eq!(rejected, Some(1 << 20), "{losses:?}");
    assert!(unlisted.is_some_and(|count| count > 900_000), "{losses:?}");
}

#[test]
fn series_beyond_what_there_is_are_counted() {
    let text: String = (0..300_000).map(|number| format!("a{{i=\"{number}\"}} 1\n")).collect();
    let (losses, _) = losses("a.prom", format!("# TYPE a gauge\n{text}").as_bytes());
    let refused = losses.get("memory-used-up").copied().unwrap_or(0);
    assert!((10_000..290_000).contains(&refused), "{losses:?}");
    assert!(losses.get("rejected-records").is_some_and(|count| (1..5).contains(count)), "it is said where: {losses:?}");
}

#[test]
fn a_long_text_in_every_row_comes_to_its_end() {
    let key = "k".repeat(256 << 10);
    let text = format!("Attaching 1 probe...\n@x[{key}]: \n{}", "[1, 2)  1 |@|\n".repeat(4_000));
    let (losses, _) = losses("trace.txt", text.as_bytes());
    assert!(losses.get("too-much-built").is_some_and(|rows| (1_000..4_000).contains(rows)), "{losses:?}");
}

#[test]
fn stamps_and_sections_by_the_thousand_are_read() {
    let stamps: String = (0..300_000).map(|number| format!("# TIMESTAMP {}.5\n", 1_795_407_711 + number)).collect();
    let (_, records) = losses("nat.txt", format!("{SAVE}{stamps}").as_bytes());
    assert!(records > 200_000, "{records}");
    let section = |number| {
        format!(
            "$ kubectl get pods -n n{number}\nNAME   READY   STATUS    RESTARTS   AGE\na      1/1     Running   0          1s\n"
        )
    };
    let sections: String = (0..20_000).map(section).collect();
    let manifest = bundled("session.txt", sections.as_bytes(), 2);
    // Rows of the sections that were read, and their commands; some of those behind were drawn already.
    let records = manifest.sources[0].records;
    assert!(manifest.sources[0].kind == "kubectl-table" && (30_000..35_000).contains(&records), "{records}");
    let lost = manifest.losses.iter().filter(|loss| loss.name == "too-many-sections").map(|loss| loss.count);
    assert_eq!(lost.collect::<Vec<_>>(), [1], "{:?}", manifest.losses);
    let few = bundled("session.txt", &sections.as_bytes()[..sections.len() / 2], 2);
    assert!(few.losses.iter().all(|loss| loss.name != "too-many-sections"), "{:?}", few.losses);
}

#[test]
fn cells_by_the_million_are_refused_where_they_stand() {
    let event = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"a","stage":"ResponseComplete","requestURI":"/x","verb":"create","user":{"username":"u"},"requestReceivedTimestamp":"2026-11-23T04:24:06.393076Z","stageTimestamp":"2026-11-23T04:24:06.401993Z"}"#;
    let cells = format!("{{\"kind\":\"EventList\",\"items\":[{}0]}}", "0,".repeat((4 << 20) - 100));
    let text = format!("{event}\n{cells}\n{event}\n");
    let packed = zstd::encode_all(text.as_bytes(), 1).expect("packed");
    let (losses, records) = losses("audit.log.zst", &packed);
    assert!(records >= 1 && losses.contains_key("record-too-long"), "{losses:?} {records}");
}
