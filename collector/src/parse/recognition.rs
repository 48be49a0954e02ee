//! Tests over all formats: each real file is taken by its own format only, and damage never panics.

use crate::form::dissector::check::dissect;
use crate::form::{Batch, Chunk, Cut, Format, Reads, Sniff};
use crate::parse::FORMATS;
use crate::parse::harness::{context, files, head, untimed, whole};

/// Formats that take a file.
fn takers(path: &str, bytes: &[u8]) -> Vec<&'static str> {
    let head = head(path, bytes);
    FORMATS.iter().filter(|format| (format.sniff)(&head) == Sniff::Yes).map(|format| format.kind).collect()
}

/// Kind that the place of a real file in the captures or the corpus calls for, as far as the text formats are concerned.
fn expected(path: &str) -> Option<&'static str> {
    let name = path.rsplit('/').next().unwrap_or_default();
    let folder = path.split('/').nth(if path.starts_with("captures/") { 2 } else { 1 }).unwrap_or_default();
    Some(match (folder, name) {
        ("prometheus", name) if name.ends_with(".metrics.stream") => "scrape",
        ("prometheus", name) if name.ends_with(".json") => "prometheus-api",
        ("bpftrace", name) if name.ends_with(".txt") => "bpftrace-text",
        ("bpftrace", name) if name.ends_with(".json") => "bpftrace-json",
        ("logs", name) if name.starts_with("kube-proxy") => "kube-proxy-log",
        ("logs", _) | ("cilium_agent_log", _) => "cilium-log",
        ("bpf", name) if name.starts_with("hubble") && name.ends_with(".jsonl") => "hubble",
        ("bpf", name) if name.starts_with("hubble") => "cilium-log",
        ("bpf", name) if name.starts_with("bpftool-prog") => "bpftool-prog",
        ("bpf", "bpftool-map-list.json") => "bpftool-map",
        ("bpf", "agent-map-fds.tsv") => "bpf-map-fds",
        ("bpf", name) if name.starts_with("cilium-metrics-list") => "cilium-metrics-list",
        ("bpf", "cilium-config.txt") => "cilium-config",
        ("bpf", "cilium-version.txt") => "cilium-version",
        ("hubble_flows", _) => "hubble",
        ("kube_proxy_log", _) => "kube-proxy-log",
        _ => return None,
    })
}

/// Formats of this file's concern: text that programs print.
const TEXT: [&str; 16] = [
    "promtool-dump",
    "hubble-text",
    "scrape",
    "exposition",
    "prometheus-api",
    "bpftrace-text",
    "bpftrace-json",
    "kube-proxy-log",
    "cilium-log",
    "hubble",
    "bpftool-prog",
    "bpftool-map",
    "bpf-map-fds",
    "cilium-metrics-list",
    "cilium-config",
    "cilium-version",
];

/// Folders of the corpus whose files may or may not be taken: test descriptions, excerpts of documents.
const MIXED: [&str; 7] = [
    "hubble_compact",
    "prom_text",
    "promtool_dump",
    "openmetrics_cases",
    "prom_api_json",
    "bpftrace_text",
    "bpftrace_json",
];

#[test]
fn each_real_file_is_taken_by_its_own_format() {
    let mut wrong = Vec::new();
    for (path, bytes) in files(&["captures".to_owned(), "corpus".to_owned()]) {
        if bytes.is_empty() {
            continue;
        }
        let folder = path.split('/').nth(1).unwrap_or_default();
        let mut found = takers(&path, &untimed(&bytes));
        if expected(&path).is_none() {
            found.retain(|kind| TEXT.contains(kind));
        }
        if MIXED.contains(&folder) {
            if found.len() > 1 {
                wrong.push(format!("{path}: {found:?}"));
            }
        } else if found != expected(&path).into_iter().collect::<Vec<_>>() {
            wrong.push(format!("{path}: {found:?}, not {:?}", expected(&path)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Excerpts of real captures: kind, file, records and rows refused.
const FIXTURES: [(&str, &str, u64, u64); 12] = [
    ("beacon", "beacon.jsonl", 12, 0),
    ("scrape", "kube-proxy.metrics.stream", 123, 0),
    ("prometheus-api", "up.json", 10, 0),
    ("bpftrace-text", "ipt-sync.txt", 34, 0),
    ("bpftrace-json", "cpu.json", 32, 0),
    ("kube-proxy-log", "kube-proxy.log", 24, 0),
    ("cilium-log", "cilium-agent.log", 10, 0),
    ("hubble", "hubble-dropped.jsonl", 3, 0),
    ("bpftool-prog", "bpftool-prog.json", 1, 0),
    ("bpftool-map", "bpftool-map-list.json", 4, 0),
    ("cilium-config", "cilium-config.txt", 13, 0),
    ("recording", "recording.jsonl", 12, 0),
];

#[test]
fn fixtures_are_read_whole() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
    let mut found = Vec::new();
    for (kind, name, _, _) in FIXTURES {
        let bytes = std::fs::read(folder.join(kind).join(name)).expect("the fixture");
        assert_eq!(takers(name, &bytes), [kind]);
        let batch = FORMATS.iter().find(|format| format.kind == kind).map(|format| parse(format, &bytes));
        let counts = batch.map_or((0, 0), |batch| (batch.records, batch.rejected));
        found.push((kind, name, counts.0, counts.1));
    }
    assert_eq!(found, FIXTURES);
}

/// A small generator: the same damage on every run.
fn next(state: &mut u64) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize
}

fn parse(format: &Format, bytes: &[u8]) -> Batch {
    let mut batch = Batch::default();
    super::read(format, &context(), &whole(bytes), &mut batch);
    batch
}

#[test]
fn damage_never_panics() {
    let mut state = 7;
    for format in FORMATS {
        let sample = format.sample.repeat(3).into_bytes();
        for round in 0..400 {
            let mut bytes = sample.clone();
            for _ in 0..=round % 4 {
                let place = next(&mut state) % bytes.len();
                match next(&mut state) % 4 {
                    0 => bytes.truncate(place.max(1)),
                    1 => bytes[place] = (next(&mut state) % 256) as u8,
                    2 => bytes[place] = b"\"\\\n[]{}=:,# \r"[next(&mut state) % 13],
                    _ => bytes.insert(place, b"\"\\\n[]{}=:,# \r"[next(&mut state) % 13]),
                }
            }
            (format.sniff)(&head("damaged", &bytes));
            parse(format, &bytes);
        }
    }
}

#[test]
fn damaged_snapshots_keep_every_byte() {
    let mut state = 11;
    let states = FORMATS.iter().filter_map(|format| match format.reads {
        Reads::State(dissector) => Some((format, dissector)),
        Reads::Rows(_) => None,
    });
    let reader = FORMATS.iter().find(|format| format.kind == "lb4-reader").expect("its format");
    for (format, dissector) in states.chain([(reader, &super::dataplane::lb4_reader::DISSECTOR)]) {
        let sample = format.sample.repeat(3).into_bytes();
        for round in 0..400 {
            let mut bytes = sample.clone();
            for _ in 0..=round % 4 {
                let place = next(&mut state) % bytes.len().max(1);
                match next(&mut state) % 3 {
                    0 => bytes.truncate(place.max(1)),
                    1 => bytes[place] = (next(&mut state) % 256) as u8,
                    _ => bytes.insert(place, b"\"\\\n[]{}=:,# \r"[next(&mut state) % 13]),
                }
            }
            dissect(dissector, dissector.format, &bytes);
        }
    }
}

#[test]
fn each_sample_is_recognised_and_read() {
    for format in FORMATS.iter().filter(|format| TEXT.contains(&format.kind)) {
        assert_eq!(
            (format.sniff)(&head(&format!("x/map-fds/{}-map-fds", format.kind), format.sample.as_bytes())),
            Sniff::Yes,
            "{}",
            format.kind
        );
        let batch = parse(format, format.sample.as_bytes());
        assert!(batch.records > 0 && batch.rejected == 0, "{}", format.kind);
    }
}

#[test]
fn chunks_give_the_same_as_the_whole() {
    let counted = |batch: &Batch| (batch.records, batch.rejected, batch.samples.len(), batch.scrapes.clone());
    let found = files(&[
        "captures/iptables-scale-up-1/prometheus/kube-proxy.metrics.stream.zst".to_owned(),
        "captures/iptables-scale-up-1/bpftrace".to_owned(),
    ]);
    for (path, bytes) in found {
        let Some(format) = FORMATS.iter().find(|format| takers(&path, &bytes).contains(&format.kind)) else { continue };
        let Cut::Marks(mark) = format.cut else { continue };
        let all = parse(format, &bytes);
        let mut sum = Batch::default();
        let (mut start, mut line) = (0, 1);
        while start < bytes.len() {
            // The first mark behind a third of the file.
            let from = (start + bytes.len() / 3).min(bytes.len());
            let mut needle = vec![b'\n'];
            needle.extend_from_slice(mark.as_bytes());
            let end = memchr::memmem::find(&bytes[from..], &needle).map_or(bytes.len(), |place| from + place + 1);
            let piece = &bytes[start..end];
            let chunk = Chunk {
                bytes: piece,
                first_line: line,
                offset: start as i64,
                first: start == 0,
                last: end == bytes.len(),
                truncated: false,
                around: None,
            };
            super::read(format, &context(), &chunk, &mut sum);
            line += memchr::memchr_iter(b'\n', piece).count() as i64;
            start = end;
        }
        assert_eq!(counted(&sum), counted(&all), "{path}");
        assert_eq!(sum.series.len(), all.series.len(), "{path}");
    }
}

/// `cargo test --release -p syncline-collector throughput -- --ignored --nocapture`
#[test]
#[ignore = "prints figures, checks nothing"]
fn throughput() {
    let found = files(&[
        "captures/cilium-scale-up-1/prometheus/cilium-agent.metrics.stream.zst".to_owned(),
        "captures/cilium-scale-up-1/bpf/hubble-export.jsonl.zst".to_owned(),
        "captures/cilium-scale-up-1/bpftrace/cpu.json".to_owned(),
        "captures/iptables-scale-up-1/bpftrace/ipt-sync.txt.zst".to_owned(),
        "captures/iptables-scale-up-1/prometheus/query_range/kubeproxy_sync_proxy_rules_duration_seconds_bucket.json"
            .to_owned(),
        "captures/cilium-scale-up-1/logs/cilium-agent.log.zst".to_owned(),
    ]);
    for (path, bytes) in found {
        let Some(format) = FORMATS.iter().find(|format| takers(&path, &bytes).contains(&format.kind)) else { continue };
        let start = std::time::Instant::now();
        let mut rounds = 0;
        while start.elapsed().as_millis() < 500 {
            std::hint::black_box(parse(format, &bytes));
            rounds += 1;
        }
        let rate = (rounds * bytes.len()) as f64 / start.elapsed().as_secs_f64() / 1e6;
        eprintln!("{:16} {rate:8.0} MB/s  {} bytes  {path}", format.kind, bytes.len());
    }
}
