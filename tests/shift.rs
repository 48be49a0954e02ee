//! Real runs with a node whose clock is three hours fast.
//!
//! Every time that the node wrote is moved: stamps of snapshots and of the map's reader, receipts of watches, the proxy's
//! log, realtime in `clock.tsv`, `renewTime` of its Lease, the times that the kubelet wrote into objects. The statement
//! that all is one machine is taken away. What the API server and the operator wrote stays. Then propagation must be what
//! it was, within its (wider) bounds; and with Leases and the kubelet's times gone as well, causality is left in one
//! direction only: then nothing may be measured, and the report must name the clocks that nothing relates.

use std::io::Read;
use std::path::{Path, PathBuf};

use syncline::bundle::MEMORY;
use syncline::measure::Measurement;
use syncline::result::load::{load, nothing};

/// Hours that the node's clock is ahead.
const HOURS: u32 = 3;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("in the workspace").to_owned()
}

fn read(path: &Path) -> String {
    let mut bytes = std::fs::read(path).expect("a file");
    if path.extension().is_some_and(|end| end == "zst") {
        let mut plain = Vec::new();
        let mut decoder = zstd::Decoder::new(bytes.as_slice()).expect("zstd");
        decoder.window_log_max(31).expect("a long window");
        // A stream that was cut off is good up to there.
        let mut chunk = vec![0; 1 << 20];
        while let Ok(count) = decoder.read(&mut chunk) {
            if count == 0 {
                break;
            }
            plain.extend_from_slice(&chunk[..count]);
        }
        bytes = plain;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Moves the number of seconds behind each `mark`.
fn epochs(text: &str, mark: &str) -> String {
    let mut parts = text.split(mark);
    let mut found = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        found.push_str(mark);
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        match part[..digits].parse::<u64>() {
            Ok(seconds) if digits >= 10 => {
                found.push_str(&(seconds + u64::from(HOURS) * 3_600).to_string());
                found.push_str(&part[digits..]);
            }
            _ => found.push_str(part),
        }
    }
    found
}

/// Moves the hour of the clock time that begins `at` bytes behind each `mark` (`04:22:33`).
fn hours(text: &str, mark: &str, at: usize) -> String {
    let mut parts = text.split(mark);
    let mut found = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        found.push_str(mark);
        match part.get(at..at + 2).and_then(|hour| hour.parse::<u32>().ok()) {
            Some(hour) if part.as_bytes().get(at + 2) == Some(&b':') => {
                assert!(hour + HOURS < 24, "the capture is too late in the day for this test");
                found.push_str(&part[..at]);
                found.push_str(&format!("{:02}", hour + HOURS));
                found.push_str(&part[at + 2..]);
            }
            _ => found.push_str(part),
        }
    }
    found
}

/// One file with the node's times moved. `None` for files that propagation does not need.
fn moved(path: &str, text: &str, causality_only: bool) -> Option<String> {
    let of_kubelet = |text: &str| {
        ["\"startedAt\":\"", "\"lastTransitionTime\":\"", "\"startTime\":\""].iter().fold(
            text.to_owned(),
            |text, mark| {
                if causality_only { text.replace(mark, "\"gone\":\"") } else { hours(&text, mark, 11) }
            },
        )
    };
    let name = path.rsplit('/').next().unwrap_or(path);
    Some(match name {
        "markers.tsv" => text.to_owned(),
        "capture.toml" => {
            let kept: Vec<&str> = text.lines().filter(|line| !line.starts_with("same_host")).collect();
            // The watches' receipts are the node's, as it is its machine that ran them.
            format!("{}\n[source.\"k8s/watch-*\"]\nclock = \"node\"\n", kept.join("\n"))
        }
        "clock.tsv" => text
            .lines()
            .map(|line| {
                let mut fields: Vec<String> = line.split('\t').map(str::to_owned).collect();
                if let Ok(realtime) = fields.get(3).map_or("", String::as_str).parse::<i64>() {
                    fields[3] = (realtime + i64::from(HOURS) * 3_600_000_000_000).to_string();
                }
                fields.join("\t") + "\n"
            })
            .collect(),
        "audit.jsonl" => {
            let kept = text.lines().filter(|line| !(causality_only && line.contains("kube-node-lease")));
            let kept: String = kept.map(|line| format!("{line}\n")).collect();
            of_kubelet(&hours(&kept, "\"renewTime\":\"", 11))
        }
        "watch-endpointslices.jsonl" => epochs(text, "{\"received\":"),
        "watch-pods.jsonl" => of_kubelet(&epochs(text, "{\"received\":")),
        "kube-proxy.log" => hours(&format!("\n{text}"), "\nI1123 ", 0),
        _ if name.ends_with(".stream") && !path.contains("prometheus") => epochs(text, "# TIMESTAMP "),
        _ if name.starts_with("lb4-") => epochs(text, "{\"ts\":\""),
        "ipt-sync.txt" | "bpf-map.txt" => text.to_owned(),
        _ => return None,
    })
}

fn copy(from: &Path, to: &Path, causality_only: bool) {
    let mut folders = vec![from.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let inside = path.strip_prefix(from).expect("inside").to_string_lossy().into_owned();
            let plain = inside.strip_suffix(".zst").unwrap_or(&inside).to_owned();
            let wanted = moved(&plain, "", false).is_some();
            if let Some(text) = wanted.then(|| read(&path)).and_then(|text| moved(&plain, &text, causality_only)) {
                let out = to.join(plain);
                std::fs::create_dir_all(out.parent().expect("a folder")).expect("a folder is made");
                std::fs::write(out, text).expect("a file is written");
            }
        }
    }
}

fn propagation(folder: &Path) -> Measurement {
    let results = load(&[folder.to_owned()], &nothing, None, MEMORY).expect("a capture that loads").results;
    let mut all = results.into_iter().flat_map(|result| result.measurements);
    all.find(|row| row.name == "endpoint_propagation").expect("a row")
}

fn check(name: &str) {
    let from = root().join("sample-data").join(name);
    let folder = tempfile::tempdir().expect("a folder");
    let original = propagation(&from);
    copy(&from, &folder.path().join("fast"), false);
    let fast = propagation(&folder.path().join("fast"));
    assert!(fast.missing.is_none(), "{name}: {:?}", fast.missing);
    assert_eq!(original.n, fast.n, "{name}");
    for quantile in ["p50", "p90", "p95", "max"] {
        let (was, is) = (original.quantiles[quantile], fast.quantiles[quantile]);
        eprintln!(
            "{name} {quantile}: {:.3?} became {:.3?}",
            (was.low, was.value, was.high),
            (is.low, is.value, is.high)
        );
        let value = was.value.expect("a value");
        let (low, high) = (is.low.expect("bounded"), is.high.expect("bounded"));
        assert!(low <= value && value <= high, "{name}: {quantile} was {was:?} and is {is:?}");
        assert!(high - low < 5.0, "{name}: {quantile} {is:?}: the clocks are related by little");
    }
    copy(&from, &folder.path().join("blind"), true);
    let blind = propagation(&folder.path().join("blind"));
    let missing = blind.missing.unwrap_or_else(|| panic!("{name}: measured with clocks that nothing relates"));
    assert!(missing.what.contains("apiserver") && missing.what.contains("node-a"), "{name}: {}", missing.what);
    assert!(!missing.remedy.is_empty(), "{name}");
}

#[test]
fn kube_proxy_scale_up() {
    check("iptables-scale-up-1");
}

#[test]
fn kube_proxy_rolling_restart() {
    check("iptables-rolling-restart-1");
}

#[test]
fn cilium_scale_up() {
    check("cilium-scale-up-1");
}

#[test]
fn cilium_rolling_restart() {
    check("cilium-rolling-restart-1");
}
