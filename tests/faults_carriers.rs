//! Captures that went through carriers and log stores (`fixtures/faults`): what stood inside is read, with the store's time and
//! names; one bad element costs itself.

use std::collections::BTreeMap;
use std::path::Path;

use syncline_collector::layers::LAYERS;

#[path = "bundled/mod.rs"]
mod bundled;
use bundled::Bundle;

impl Bundle {
    /// Kind, layers, records and rejects of each source but `capture.toml`.
    fn sources(&self) -> BTreeMap<String, (String, String, u64, u64)> {
        let sources = self.manifest.sources.iter().filter(|source| source.kind != "capture-toml");
        let told = |source: &syncline_schema::manifest::Source| {
            let layers = source.layers.join(" ");
            (source.path.clone(), (source.kind.clone(), layers, source.records, source.rejected))
        };
        sources.map(told).collect()
    }

    /// Records and rejects of all sources.
    fn counts(&self) -> Vec<(u64, u64)> {
        self.sources().into_values().map(|(_, _, records, rejected)| (records, rejected)).collect()
    }
}

/// 2026-02-03T04:05:06Z, ns.
const AT: i64 = 1_770_091_506_000_000_000;

#[test]
fn one_bad_element_costs_itself() {
    assert_eq!(Bundle::of("c01-aks-cut-record").counts(), [(3, 1)]);
    let cut = Bundle::of("c02-batch-with-one-cut");
    assert_eq!(cut.counts(), [(2, 1), (2, 1)]);
    // In the document that is printed over many lines each event stands at the line where its object begins.
    let stands = cut.rows("audit", &["record"]);
    assert!(["3", "15"].iter().all(|line| stands.contains(&(*line).to_owned())), "{stands:?}");
}

#[test]
fn a_log_entry_in_yaml_is_an_event() {
    let entry = Bundle::of("c03-logentry-yaml");
    assert_eq!(entry.counts(), [(1, 0)]);
    assert_eq!(entry.rows("audit", &["verb", "resource", "name"]), ["update endpointslices cart-x1"]);
}

#[test]
fn what_the_runtime_split_is_joined_for_every_format() {
    let split = Bundle::of("c04-audit-split-by-runtime");
    assert_eq!(split.counts(), [(3, 0)]);
    // A piece may end where a chunk ends.
    let event = |n: usize| {
        format!(
            r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"{n}","stage":"ResponseComplete","requestURI":"/{}","verb":"get","requestReceivedTimestamp":"2026-11-23T04:00:00.000000Z","stageTimestamp":"2026-11-23T04:00:00.000000Z"}}"#,
            "x".repeat(20_000)
        )
    };
    let mut text = String::new();
    for n in 0..500 {
        let event = event(n);
        let (first, second) = event.split_at(16 << 10);
        text.push_str(&format!("2026-11-23T04:00:00.1Z stdout P {first}\n2026-11-23T04:00:00.1Z stdout F {second}\n"));
    }
    assert_eq!(Bundle::with("cri.log", text.as_bytes()).counts(), [(500, 0)]);
}

/// Moments, times and proxies of syncs.
fn syncs(bundle: &Bundle) -> Vec<String> {
    bundle.rows("syncs", &["moment", "time", "duration", "proxy"])
}

#[test]
fn stern_and_its_time_are_taken_off() {
    let stern = Bundle::of("c10-stern");
    let expected = [
        format!("start {} - kube-proxy-a", AT + 100_000_000),
        format!("complete {} 50000000 kube-proxy-a", AT + 150_000_000),
    ];
    assert_eq!(syncs(&stern), expected);
    let lines = stern.rows("logs", &["outer_time", "pod", "container"]);
    assert_eq!(lines[0], format!("{} kube-proxy-a kube-proxy", AT + 100_200_000));
}

#[test]
fn every_log_store_gives_one_sync() {
    let stores = Bundle::of("c11-log-stores");
    for (path, (kind, layers, records, rejected)) in stores.sources() {
        assert_eq!((&*kind, records, rejected), ("kube-proxy-log", 2, 0), "{path} {layers}");
        assert!(!layers.is_empty(), "{path}");
    }
    let syncs = syncs(&stores);
    assert_eq!(syncs.iter().filter(|sync| sync.starts_with("start ")).count(), 5, "{syncs:?}");
    let complete: Vec<&String> = syncs.iter().filter(|sync| sync.starts_with("complete ")).collect();
    assert_eq!(complete.len(), 5);
    assert!(complete.iter().all(|sync| sync.contains(" 50000000 ")), "{syncs:?}");
    // All have the time that klog wrote, or the store's where klog's head is gone.
    let times = |sync: &&String| {
        let time: i64 = sync.split(' ').nth(1).and_then(|time| time.parse().ok()).expect("a time");
        (time - AT - 150_000_000).abs() <= 200_000
    };
    assert!(complete.iter().all(times), "{syncs:?}");
    let outer = stores.rows("logs", &["outer_time"]);
    assert!(outer.iter().all(|time| time != "-"), "{outer:?}");
}

#[test]
fn the_logs_of_a_dump_name_their_pods() {
    let dump = Bundle::of("c12-cluster-info-dump");
    let expected = [
        format!("start {} - kube-system/kube-proxy-a", AT + 100_000_000),
        format!("complete {} 50000000 kube-system/kube-proxy-a", AT + 150_000_000),
    ];
    assert_eq!(syncs(&dump), expected);
    assert_eq!(dump.rows("services", &["namespace", "name"]), ["shop cart"]);
    let records = dump.rows("syncs", &["record"]);
    assert_eq!(records, ["23", "24"]);
}

#[test]
fn two_proxies_in_one_file_stay_two() {
    let proxies: Vec<String> = syncs(&Bundle::of("c15-several-proxies"));
    assert_eq!(proxies.iter().filter(|sync| sync.ends_with(" kube-proxy-a")).count(), 2, "{proxies:?}");
    assert_eq!(proxies.iter().filter(|sync| sync.ends_with(" kube-proxy-b")).count(), 2, "{proxies:?}");
    let proxies = Bundle::of("n21-two-proxies").rows("syncs", &["proxy"]);
    assert_eq!(proxies.iter().filter(|proxy| *proxy == "kube-proxy-aaaaa").count(), 4, "{proxies:?}");
    assert_eq!(proxies.len(), 8);
}

#[test]
fn an_event_that_breaks_off_is_never_parsed_again() {
    // As `c22-cut-event-then-text/make.py` writes it.
    let cut = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"a","stage":"ResponseComplete","requestURI":"/x","verb":"get","userAgent":"abc"#;
    let good = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"b","stage":"ResponseComplete","requestURI":"/x","verb":"get","requestReceivedTimestamp":"2026-02-03T04:05:06.000001Z","stageTimestamp":"2026-02-03T04:05:06.000002Z"}"#;
    let mut text = format!("{good}\n{cut}\n");
    for n in 0..30_000 {
        text.push_str(&format!("I0203 04:05:06.100000       1 trace.go:205] Trace[{n}]: a request for a list of endpoints took a while, END\n"));
    }
    text.push_str(&format!("{good}\n"));
    assert_eq!(Bundle::with("audit.log", text.as_bytes()).counts(), [(2, 30_001)]);
}

#[test]
fn audit_events_are_read_within_every_store() {
    let event = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"a","stage":"ResponseComplete","requestURI":"/x","verb":"get","user":{"username":"u"},"requestReceivedTimestamp":"2026-11-23T04:24:06.393076Z","stageTimestamp":"2026-11-23T04:24:06.401993Z"}"#;
    let object: serde_json::Value = serde_json::from_str(event).expect("JSON");
    let json = |value: serde_json::Value| value.to_string();
    let cell = serde_json::json!([[{"field": "@timestamp", "value": "2026-11-23 04:24:06.401"}, {"field": "@message", "value": event}]]);
    // More than a head has room for.
    let long = event.replace("\"/x\"", &format!("\"/{}\"", "x".repeat(100_000)));
    for (what, text) in [
        ("filter-log-events", json(serde_json::json!({"events": [{"logStreamName": "s", "message": event}]}))),
        (
            "Firehose",
            json(serde_json::json!({"messageType": "DATA_MESSAGE", "logEvents": [{"id": "1", "message": event}]})),
        ),
        ("Insights", json(serde_json::json!({"results": cell, "status": "Complete"}))),
        ("cells of Insights", json(cell.clone())),
        (
            "table of Insights",
            format!("@timestamp,@message\n2026-11-23 04:24:06.401,\"{}\"\n", event.replace('"', "\"\"")),
        ),
        ("AKS", json(serde_json::json!({"category": "kube-audit", "properties": {"log": event}}))),
        ("AKS records", json(serde_json::json!({"records": [{"properties": {"log": format!("{event}\n")}}]}))),
        (
            "docker",
            json(
                serde_json::json!({"log": format!("{event}\n"), "stream": "stdout", "time": "2026-11-23T04:24:06.4Z"}),
            ),
        ),
        ("docker without a time", json(serde_json::json!({"log": format!("{event}\n"), "stream": "stdout"}))),
        ("a message", json(serde_json::json!({ "message": event }))),
        ("an object", json(serde_json::json!({ "event": object }))),
        (
            "Loki",
            json(serde_json::json!({"labels": {"job": "audit"}, "line": event, "timestamp": "2026-11-23T04:24:06.4Z"})),
        ),
        (
            "Loki's answer",
            json(
                serde_json::json!({"status": "success", "data": {"resultType": "streams", "result": [{"stream": {}, "values": [["1795407846401000000", event]]}]}}),
            ),
        ),
        ("Splunk", json(serde_json::json!({"preview": false, "result": {"_raw": event}}))),
        ("journald", json(serde_json::json!({"__REALTIME_TIMESTAMP": "1795407846401000", "MESSAGE": event}))),
        ("OpenSearch", json(serde_json::json!({"_source": {"kubernetes": {"audit": object}}}))),
        ("aws logs tail", format!("2026-11-23T04:24:06.401000+00:00 kube-apiserver-audit-1 {event}\n")),
        ("a long event", json(serde_json::json!({"events": [{"timestamp": 1, "message": long}]}))),
        (
            "a long event in a fluent-bit record",
            json(
                serde_json::json!({"events": [{"timestamp": 1, "message": json(serde_json::json!({"log": long, "_p": "F"}))}]}),
            ),
        ),
        ("bare", event.to_owned()),
    ] {
        let found = Bundle::with("x", text.as_bytes());
        assert_eq!(found.counts(), [(1, 0)], "{what}: {:?}", found.sources());
        assert_eq!(found.rows("audit", &["verb"]), ["get"], "{what}");
    }
}

/// What the rows of some tables say beside where and when their lines were carried.
fn said(bundle: &Bundle) -> Vec<Vec<String>> {
    vec![
        bundle.rows("audit", &["verb", "uri", "received", "stage_time"]),
        bundle.rows("syncs", &["moment", "time", "duration"]),
        bundle.rows("logs", &["time", "level", "message", "fields"]),
        bundle.rows("rejects", &["reason"]),
    ]
}

#[test]
fn a_layer_leaves_the_rows_of_what_stands_inside() {
    let klog = "I1123 04:42:31.400000       1 proxier.go:828] \"Syncing iptables rules\" ipFamily=\"IPv4\"\nI1123 04:42:31.450000       1 proxier.go:822] \"SyncProxyRules complete\" ipFamily=\"IPv4\" elapsed=\"50ms\"\n";
    let agent = "time=2026-11-23T04:42:31.4Z level=info msg=\"New endpoint\" endpointID=1 subsys=endpoint\ntime=2026-11-23T04:42:31.5Z level=warning msg=\"x\\ty\" subsys=endpoint\n";
    let audit = "{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"level\":\"Metadata\",\"auditID\":\"a\",\"stage\":\"ResponseComplete\",\"requestURI\":\"/x\",\"verb\":\"get\",\"requestReceivedTimestamp\":\"2026-11-23T04:42:31.400000Z\",\"stageTimestamp\":\"2026-11-23T04:42:31.400001Z\"}\n";
    let carriers: Vec<_> = LAYERS.iter().filter_map(|layer| Some((layer, layer.put_on?))).collect();
    for bare in [klog, agent, audit] {
        let dated = |text: &[u8]| {
            let folder = tempfile::tempdir().expect("a folder");
            std::fs::write(folder.path().join("x"), text).expect("written");
            std::fs::write(folder.path().join("capture.toml"), "year = 2026\ntimezone = \"UTC\"\n").expect("written");
            Bundle::from(folder.path())
        };
        let expected = said(&dated(bare.as_bytes()));
        for (outer, put_on) in &carriers {
            let once = put_on(bare.as_bytes());
            let mut found = said(&dated(&once));
            // Lines of the layer itself are rows of logs.
            found[2].retain(|row| expected[2].contains(row));
            assert_eq!(found, expected, "{}: {}", outer.name, String::from_utf8_lossy(&once));
        }
    }
}

#[test]
fn layers_around_layers_leave_the_rows_too() {
    let klog = "I1123 04:42:31.400000       1 proxier.go:828] \"Syncing iptables rules\" ipFamily=\"IPv4\"\nI1123 04:42:31.450000       1 proxier.go:822] \"SyncProxyRules complete\" ipFamily=\"IPv4\" elapsed=\"50ms\"\n";
    let carriers: Vec<_> = LAYERS.iter().filter_map(|layer| Some((layer, layer.put_on?))).collect();
    let dated = |text: &[u8]| {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("x"), text).expect("written");
        std::fs::write(folder.path().join("capture.toml"), "year = 2026\ntimezone = \"UTC\"\n").expect("written");
        Bundle::from(folder.path())
    };
    let expected = said(&dated(klog.as_bytes()));
    let mut wrong = Vec::new();
    for (row, (outer, put_outer)) in carriers.iter().enumerate() {
        for (column, (inner, put_inner)) in carriers.iter().enumerate() {
            // Nobody puts a time ahead of each line of a document; a tenth of all pairs is enough at a time.
            if outer.name == inner.name || outer.name == "times" || (row * 7 + column) % 10 != 0 {
                continue;
            }
            let bundle = dated(&put_outer(&put_inner(klog.as_bytes())));
            let mut found = said(&bundle);
            found[2].retain(|row| expected[2].contains(row));
            if found != expected {
                wrong.push(format!("{} around {}: {:?}", outer.title, inner.title, bundle.sources()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// 2026-11-26T09:48:10Z, in nanoseconds.
const LOOKED: i64 = 1_795_686_490_000_000_000;

#[test]
fn loops_with_date_are_looks_at_their_own_times() {
    let found = Bundle::of("n01-date-lines");
    let looks = found.rows("dataplane_snapshots", &["source", "time", "resolution", "time_from"]);
    let expected: Vec<String> = [
        (0, 0, 3_000_000_000, "1000000000"),
        (1, 0, 3_000_000_000, "1000000000"),
        (2, 142_423_046, 3_784_423_046, "-"),
        (3, 145_985_549, 3_785_985_549, "-"),
        (4, 142_423_046, 3_784_423_046, "-"),
    ]
    .into_iter()
    .flat_map(|(source, first, second, resolution)| {
        [first, second].map(|at: i64| format!("{source} {} {resolution} stamp", LOOKED + at))
    })
    .collect();
    assert_eq!(looks, expected);
}

#[test]
fn a_recording_of_watch_is_a_look_at_the_time_of_its_heading() {
    let found = Bundle::of("n04-watch-recording");
    // 09:41:11 in the zone that the recording's own header tells.
    let looks = found.rows("dataplane_snapshots", &["time", "resolution", "time_from"]);
    assert_eq!(looks, [format!("{} 1000000000 stamp", LOOKED - 419_000_000_000)]);
    let rules = found.rows("dataplane_rules", &["kind", "chain", "address", "port"]);
    assert!(rules.contains(&"rule KUBE-SVC-AAAAAAAAAAAAAAAA 10.0.0.1 8080".to_owned()), "{rules:?}");
}

#[test]
fn a_session_is_read_command_by_command() {
    let found = Bundle::of("c08-log-behind-table");
    let errors = found.rows("logs", &["level", "message"]);
    let failed = errors.iter().filter(|row| *row == "error Endpoint  failed").count();
    assert_eq!((failed, found.counts()), (3, vec![(6, 0)]), "{errors:?}");
    let found = Bundle::of("c20-prompts");
    assert_eq!(found.counts(), [(8, 0)], "{:?}", found.sources());
    let rows = found.rows("logs", &["message"]);
    assert!(rows.iter().any(|row| row.starts_with("cart   10.9.0.1:8080")), "{rows:?}");
}

#[test]
fn rows_of_a_table_have_the_time_ahead_of_their_line() {
    let found = Bundle::of("c13-stamped-tables");
    let times = found.rows("logs", &["source", "time"]);
    // 05:05:06.100 and 05:05:09.400 in +01:00; the other file has neither year nor zone, and takes them from this one.
    let first = 1_770_091_506_100_000_000_i64;
    let expected = [format!("0 {first}"), format!("0 {}", first + 3_300_000_000), format!("1 {}", first - 100_000_000)];
    assert_eq!(times, expected, "{:?}", found.rows("facts", &["key", "value"]));
    let facts = found.rows("facts", &["key", "value"]);
    assert!(facts.iter().any(|fact| fact.starts_with("inferred/year 2026")), "{facts:?}");
}

#[test]
fn a_recording_longer_than_what_is_looked_at_first_is_replayed() {
    let frame = |second: u32| {
        let rows: String = (1..40).map(|row| format!("\u{1b}[{};1H   10   600 KUBE-SEP-{row:016}  0    --  *      *       0.0.0.0/0            0.0.0.0/0            /* default/test:http -> 10.0.0.{row}:8080 */", row + 4)).collect();
        format!(
            "\u{1b}[HEvery 0.5s: iptables -t nat -L KUBE-SVC-A -v -n\u{1b}[1;120Hnode-a: Thu Nov 26 09:48:{second:02} 2026\u{1b}[3;1HChain KUBE-SVC-A (1 references)\u{1b}[4;1H pkts bytes target     prot opt in     out     source               destination{rows}"
        )
    };
    let drawn: String = (10..40).map(frame).collect();
    let text = format!(
        "Script started on 2026-11-26 09:48:09+00:00 [COLUMNS=\"160\" LINES=\"60\"]\n\u{1b}[?1049h\u{1b}[2J{drawn}\u{1b}[?1049l\r\n"
    );
    assert!(text.len() > 100_000);
    let looks = Bundle::with("watch.typescript", text.as_bytes()).rows("dataplane_snapshots", &["time"]);
    assert_eq!(looks, (0..30).map(|second| (LOOKED + second * 1_000_000_000).to_string()).collect::<Vec<_>>());
}

#[test]
fn the_same_log_under_two_paths_of_an_archive_is_one_log() {
    let faults = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/faults/c06-same-log-twice");
    let log = std::fs::read(faults.join("pods/kube-proxy/0.log")).expect("a log");
    let listing = b"Chain A (1 references)\ntarget     prot opt source               destination\n";
    let archive = |files: &[(&str, &[u8])]| {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, path, *bytes).expect("appended");
        }
        archive.into_inner().expect("an archive")
    };
    let mut other = log.clone();
    other.reverse();
    // Of equal size alone, and two equal listings without times: each is what it is.
    let bytes = archive(&[
        ("a/kube-proxy.log", &log),
        ("b/other.log", &other),
        ("c/0.log", &log),
        ("d/list.txt", listing),
        ("e/list.txt", listing),
    ]);
    let bundle = Bundle::with("run.tar", &bytes);
    let same: Vec<_> = bundle.manifest.sources.iter().map(|one| (one.path.as_str(), one.same_as.as_deref())).collect();
    assert_eq!(
        same,
        [
            ("run.tar", None),
            ("run.tar/a/kube-proxy.log", None),
            ("run.tar/b/other.log", None),
            ("run.tar/c/0.log", Some("run.tar/a/kube-proxy.log")),
            ("run.tar/d/list.txt", None),
            ("run.tar/e/list.txt", None),
        ]
    );
    let alone = Bundle::with("kube-proxy.log", &log);
    assert_eq!(bundle.rows("syncs", &["moment", "duration"]), alone.rows("syncs", &["moment", "duration"]));
    let hashes: Vec<_> = bundle.manifest.sources.iter().map(|one| one.sha256.as_str()).collect();
    assert_eq!((hashes[1], hashes[4]), (hashes[3], hashes[5]));
    // The file beside it, and the archive of it, are one log too.
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("kube-proxy.log"), &log).expect("written");
    std::fs::write(folder.path().join("run.tar"), archive(&[("kube-proxy.log", &log)])).expect("written");
    let both = Bundle::from(folder.path());
    assert_eq!(both.manifest.sources[2].same_as.as_deref(), Some("kube-proxy.log"));
    // Behind it, too, and packed; a packed file that is cut is the twin of its copy alone.
    let packed = |bytes: &[u8]| {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packer, bytes).expect("written");
        packer.finish().expect("packed")
    };
    let folder = tempfile::tempdir().expect("a folder");
    let cut = &packed(&log)[..packed(&log).len() - 20];
    let inner =
        archive(&[("kube-proxy.log", &log), ("rotated.log.gz", &packed(&log)), ("other.log.gz", &packed(&other))]);
    for (name, bytes) in [
        ("run.tar", inner.as_slice()),
        ("t-behind.log", &log),
        ("u-behind.log.gz", &packed(&log)),
        ("v-cut.log.gz", cut),
        ("w-cut.log.gz", cut),
        ("x-sized.log.zst", &zstd::bulk::compress(&log, 3).expect("packed")),
    ] {
        std::fs::write(folder.path().join(name), bytes).expect("written");
    }
    let behind = Bundle::from(folder.path());
    let sources = behind.manifest.sources.iter().filter(|one| one.kind != "tar");
    let same: Vec<_> = sources.map(|one| (one.path.as_str(), one.same_as.as_deref())).collect();
    let first = Some("run.tar/kube-proxy.log");
    assert_eq!(
        same,
        [
            ("run.tar/kube-proxy.log", None),
            ("run.tar/rotated.log.gz", first),
            ("run.tar/other.log.gz", None),
            ("t-behind.log", first),
            ("u-behind.log.gz", first),
            ("v-cut.log.gz", None),
            ("w-cut.log.gz", Some("v-cut.log.gz")),
            ("x-sized.log.zst", first),
        ]
    );
}
