//! `cilium-dbg status` (also `--verbose`): what the agent says of itself.
//!
//! ```text
//! KVStore:                 Disabled
//! Kubernetes:              Ok         1.36 (v1.36.2) [linux/amd64]
//! KubeProxyReplacement:    True   [eth0 172.30.0.1 (Direct Routing)]
//! Cilium:                  Ok   1.19.4 (v1.19.4-cf4b9c48)
//! ```
//!
//! Each line at the left margin is a fact (`cilium/status/KubeProxyReplacement`); the versions of Kubernetes and of Cilium are
//! facts of the run. Indented lines (details of `--verbose`) go with the line that they stand under, and are left out.

use syncline_schema::clock::ClockToken;
use syncline_schema::facts::FactRow;

use super::{Batch, Chunk, Context, Cut, Format, Head, Sniff};

/// The format.
pub const FORMAT: Format = Format {
    kind: "cilium-status",
    title: "Status of the Cilium agent",
    clock: ClockToken::None,
    cut: Cut::Whole,
    sniff,
    parse,
    sample: "KVStore:                 Disabled\nKubernetes:              Ok         1.36 (v1.36.2) [linux/amd64]\nKubeProxyReplacement:    True   [eth0 172.30.0.1 (Direct Routing)]\nCilium:                  Ok   1.19.4 (v1.19.4-cf4b9c48)\n",
    recognised: "lines `KubeProxyReplacement: …` and `Cilium: …` at the left margin",
    capture: "kubectl -n kube-system exec ds/cilium -- cilium-dbg status --verbose",
    proves: "versions, and whether Cilium replaced kube-proxy",
};

fn sniff(head: &Head) -> Sniff {
    let begins = |mark: &[u8]| head.bytes.split(|byte| *byte == b'\n').any(|line| line.starts_with(mark));
    let agent = begins(b"KubeProxyReplacement:") || begins(b"KVStore:");
    if agent && begins(b"Cilium:") && begins(b"Kubernetes:") { Sniff::Yes } else { Sniff::No }
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    for line in chunk.lines() {
        let text = String::from_utf8_lossy(line.bytes);
        if text.trim().is_empty() || text.starts_with([' ', '\t']) {
            continue;
        }
        let Some((name, value)) = text.split_once(':').filter(|(name, _)| name.len() < 60) else {
            batch.reject(context, &line, "expected `Name: value` at the left margin");
            continue;
        };
        let value = value.trim();
        batch.record(None);
        fact(context, line.number, &format!("cilium/status/{name}"), value, batch);
        // `Ok   1.19.4 (v1.19.4-cf4b9c48)`, `Ok   1.36 (v1.36.2) [linux/amd64]`
        let version = value.split_once("(v").and_then(|(_, rest)| rest.split([')', '-', '+']).next());
        match (name, version) {
            ("Cilium", Some(version)) => fact(context, line.number, "version/cilium", version, batch),
            ("Kubernetes", Some(version)) => fact(context, line.number, "version/kubernetes", version, batch),
            _ => {}
        }
    }
}

fn fact(context: &Context, record: i64, key: &str, value: &str, batch: &mut Batch) {
    batch.push(&FactRow {
        source: Some(context.source),
        record,
        key: key.into(),
        value: value.into(),
        ..Default::default()
    });
}

#[cfg(test)]
mod tests {
    use super::FORMAT;
    use crate::parse::Sniff;
    use crate::parse::harness::{files, head, parse_text};

    #[test]
    fn versions_are_facts() {
        let mut batch = parse_text(&FORMAT, FORMAT.sample);
        assert_eq!((batch.records, batch.rejected), (4, 0));
        let facts = batch.take_tables().remove(0).finish().expect("rows");
        let column = facts.column_by_name("value").expect("the column");
        let values: Vec<_> = arrow_array::cast::AsArray::as_string::<i32>(column).iter().flatten().collect();
        assert!(values.contains(&"1.36.2") && values.contains(&"1.19.4"), "{values:?}");
    }

    #[test]
    fn takes_no_other_file() {
        for (path, bytes) in files(&["captures/cilium-scale-up-1".to_owned()]) {
            let wanted = path.contains("cilium-status") && path.ends_with(".txt");
            assert_eq!((FORMAT.sniff)(&head(&path, &bytes)) == Sniff::Yes, wanted, "{path}");
            let batch = parse_text(&FORMAT, &String::from_utf8_lossy(&bytes));
            assert!(!wanted || (batch.records > 10 && batch.rejected == 0), "{path}: {}", batch.rejected);
        }
    }
}
