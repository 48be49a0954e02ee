//! Damaged input: every file of real captures cut off, altered, emptied or of the wrong kind.
//!
//! One bundle is made of a folder that holds, for each capture file, several damaged forms of it. Whatever the damage:
//! no panic, the exit code as designed, every file listed as a source, what is good around the damage kept, and the
//! loss named.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// Bytes of a damaged file at most: enough for several chunks of records, small enough to try many.
const LONGEST: usize = 300_000;

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("in the workspace").join("sample-data")
}

fn collector(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_syncline-collector")).args(arguments).output().expect("the collector starts")
}

/// A small generator (xorshift), so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}

/// Captures to damage: name (without `.zst`) and the beginning of the text.
fn captures() -> Vec<(String, Vec<u8>)> {
    let names = [
        "iptables-scale-up-1/iptables/nat-save.stream.zst",
        "iptables-scale-up-1/iptables/L-KUBE-SVC-default-test.stream.zst",
        "iptables-scale-up-1/k8s/audit.jsonl.zst",
        "iptables-scale-up-1/k8s/watch-endpointslices.jsonl.zst",
        "iptables-scale-up-1/k8s/objects-before.json.zst",
        "iptables-scale-up-1/bpftrace/ipt-sync.txt.zst",
        "iptables-scale-up-1/bpftrace/cpu.txt.zst",
        "iptables-scale-up-1/logs/kube-proxy.log.zst",
        "iptables-scale-up-1/prometheus/kube-proxy.metrics.stream.zst",
        "iptables-scale-up-1/prometheus/query_range/process_cpu_seconds_total.json.zst",
        "iptables-scale-up-1/client/requests.jsonl.zst",
        "iptables-scale-up-1/markers.tsv",
        "iptables-scale-up-1/clock.tsv",
        "nftables-scale-up-1/nft/table-kube-proxy.json.stream.zst",
        "nftables-scale-up-1/nft/ruleset.stream.zst",
        "nftables-scale-up-1/nft/monitor.jsonl.zst",
        "cilium-scale-up-1/bpf/bpf-lb-list.json.stream.zst",
        "cilium-scale-up-1/bpf/lb4-default-test.jsonl.zst",
        "cilium-scale-up-1/bpf/hubble-export.jsonl.zst",
        "cilium-scale-up-1/bpf/bpftool-prog-before.json.zst",
    ];
    names
        .iter()
        .map(|name| {
            let packed = std::fs::read(samples().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
            let mut text = packed;
            if name.ends_with(".zst") {
                let mut decoder = zstd::Decoder::new(text.as_slice()).expect("zstd");
                decoder.window_log_max(31).expect("window");
                let mut plain = Vec::new();
                std::io::Read::read_to_end(&mut decoder, &mut plain).expect("a whole stream");
                text = plain;
            }
            text.truncate(LONGEST);
            (name.trim_end_matches(".zst").replace('/', "__"), text)
        })
        .collect()
}

fn damage(form: usize, text: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut text = text.to_vec();
    let at = dice.below(text.len());
    match form {
        0 => text.truncate(at),
        1 => {
            for _ in 0..20 {
                let at = dice.below(text.len());
                text[at] ^= 1 << dice.below(8);
            }
        }
        2 => {
            let junk: Vec<u8> = (0..200).map(|_| dice.below(256) as u8).collect();
            text.splice(at..at, junk);
        }
        3 => {
            let end = (at + 1 + dice.below((text.len() / 20).min(5000))).min(text.len());
            text.drain(at..end);
        }
        _ => {
            text = text.iter().flat_map(|byte| if *byte == b'\n' { vec![b'\r', b'\n'] } else { vec![*byte] }).collect()
        }
    }
    text
}

fn manifest(bundle: &Path) -> Value {
    let text = std::fs::read_to_string(bundle.join("manifest.json")).expect("a manifest");
    serde_json::from_str(&text).expect("JSON")
}

fn records(manifest: &Value) -> BTreeMap<String, (String, u64, u64)> {
    let number = |source: &Value, key: &str| source[key].as_u64().unwrap_or_default();
    manifest["sources"]
        .as_array()
        .expect("sources")
        .iter()
        .map(|source| {
            let path = source["path"].as_str().unwrap_or_default().to_owned();
            let kind = source["kind"].as_str().unwrap_or_default().to_owned();
            (path, (kind, number(source, "records"), number(source, "rejected")))
        })
        .collect()
}

#[test]
fn damaged_captures_keep_what_is_good() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = folder.path().join("run");
    std::fs::create_dir(&input).expect("a folder");
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let captures = captures();
    for (name, text) in &captures {
        std::fs::write(input.join(format!("whole__{name}")), text).expect("written");
        for form in 0..5 {
            std::fs::write(input.join(format!("form{form}__{name}")), damage(form, text, &mut dice)).expect("written");
        }
    }
    std::fs::write(input.join("empty.jsonl"), b"").expect("written");
    std::fs::write(input.join("picture.jsonl"), b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01").expect("written");
    let bundle = folder.path().join("bundle");
    let (input, out) = (input.to_string_lossy().into_owned(), bundle.to_string_lossy().into_owned());

    let output = collector(&["bundle", &input, "--out", &out, "--node", "node-a"]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "rejects are a warning:\n{errors}");
    assert!(!errors.contains("panicked"), "{errors}");

    let sources = records(&manifest(&bundle));
    let of = |name: &str| {
        let found = sources.iter().find(|(path, _)| path.ends_with(name));
        found.unwrap_or_else(|| panic!("{name} is no source")).1.clone()
    };
    for (name, _) in &captures {
        let (kind, whole, _) = of(&format!("whole__{name}"));
        assert_ne!(kind, "unread", "{name} is recognised");
        // Damage that changed nothing left the same content under two paths, which is read once.
        if kind == "same-content" {
            continue;
        }
        assert!(whole > 0, "{name} has records");
        for form in [1, 2, 3, 4] {
            let (damaged_kind, kept, _) = of(&format!("form{form}__{name}"));
            // Damage may cost all of one JSON document. Of many lines or stamped records most must be left.
            let document = ["prometheus-api", "list", "bpftool-prog"].contains(&kind.as_str());
            if whole >= 50 && damaged_kind == kind && !document {
                assert!(kept * 10 >= whole * 8, "form {form} of {name}: {kept} of {whole} records kept");
            }
        }
        let (_, kept, rejected) = of(&format!("form4__{name}"));
        assert_eq!(
            (kept, rejected),
            {
                let (_, whole, rejected) = of(&format!("whole__{name}"));
                (whole, rejected)
            },
            "CRLF changes nothing in {name}"
        );
    }
    assert_eq!(of("picture.jsonl").0, "unread");
    let losses = manifest(&bundle)["losses"].to_string();
    for name in ["unread-file", "empty-file", "rejected-records"] {
        assert!(losses.contains(name), "{name} is a named loss: {losses}");
    }

    let strict = folder.path().join("strict");
    let output = collector(&["bundle", &input, "--out", &strict.to_string_lossy(), "--strict"]);
    assert_eq!(output.status.code(), Some(1), "with --strict rejects are a failure");
}

#[test]
fn nothing_to_read_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("bundle").to_string_lossy().into_owned();
    let output = collector(&["bundle", "no/such/folder", "--out", &out]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no/such/folder"), "the error names the path");
    assert!(!folder.path().join("bundle").exists(), "nothing under the final name");
}
