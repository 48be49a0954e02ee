//! What all sources of a capture tell of the run itself: versions, the proxy's mode, settings, how large the cluster is.
//!
//! Options of the command line come first, then what a capture shows: version files and objects, metrics that carry versions as
//! labels, the proxy's first log lines, and which metrics are there at all. What they leave open is told by `capture.toml`. Two that
//! disagree are a finding ([`super::disagreements`]), whoever stated them: the first is taken, and every value stands beside it
//! under `key@node`, or `key@file` where no node is known.
//!
//! | key | from |
//! |---|---|
//! | `version/kubernetes`, `version/kube-proxy`, `version/cilium`, `version/linux` | capture.toml, versions.txt, `…_build_info`, `cilium_version`, `kube_node_info`, `node_uname_info`, `cadvisor_version_info`, `"Version info"` |
//! | `mode` | `Using iptables Proxier`, `FLAG: --proxy-mode`, metrics that only one mode registers |
//! | `config/min-sync-period`, `config/lb-reflector-wait-time` | flags and configuration that the programs log |
//! | `config/full-sync` | `fullSync=` in the lines about syncs: `every sync` or `changed chains` |
//! | `metrics/ip_family` | the label of kube-proxy's metrics (from Kubernetes 1.33 on) |
//! | `count/nodes`, `count/services`, `count/endpoints` | objects, metrics, the dataplane |

use std::collections::{BTreeMap, HashSet};

use polars::prelude::{col, lit};
use syncline_schema::facts::FactRow;
use syncline_schema::logs::LogRow;

use super::disagreements::{self, By, Told};
use super::metric_names;
use crate::bundle::{Bundle, listed};
use crate::clock::{Evidence, Finding, evidence as clock};

/// Facts by key, each with where it stands.
pub type Facts = BTreeMap<String, (String, Evidence)>;

/// Metrics whose labels tell a version: metric, label, key.
const LABELS: [(&str, &[&str], &str); 6] = [
    ("kubernetes_build_info", &["git_version", "gitVersion"], "version/kubernetes"),
    ("kube_node_info", &["kubelet_version"], "version/kubernetes"),
    ("kube_node_info", &["kernel_version"], "version/linux"),
    ("node_uname_info", &["release"], "version/linux"),
    ("cadvisor_version_info", &["kernelVersion"], "version/linux"),
    ("cilium_version", &["version"], "version/cilium"),
];
/// Where an option of the command line stands, as evidence.
pub const COMMAND_LINE: &str = "command line";
/// Lines of a log that are searched for settings.
const STARTUP: i64 = 2_000;
/// How kube-proxy's line about a sync begins, from which `config/full-sync` is told.
const FULL_SYNC: &str = "Syncing ";
const FAMILY: &str = "kubeproxy_sync_proxy_rules_duration_seconds_count";

/// Reads them.
///
/// # Errors
/// A table that cannot be read.
pub fn gather(bundle: &Bundle, path: &dyn Fn(i32) -> String) -> anyhow::Result<(Facts, Vec<Finding>)> {
    let mut told = stated(bundle, path)?;
    let mut nodes: BTreeMap<&str, &Evidence> = BTreeMap::new();
    for one in told.iter().filter(|one| one.key.starts_with("node/")) {
        nodes.entry(&one.key).or_insert(&one.evidence);
    }
    if let Some(evidence) = nodes.values().next() {
        let (key, value) = ("count/nodes".to_owned(), nodes.len().to_string());
        told.push(Told { key, value, evidence: (*evidence).clone(), node: None, by: By::Capture });
    }
    let of_nodes: Vec<Told> = told.iter().flat_map(versions_of_node).collect();
    told.extend(of_nodes);
    metrics(bundle, path, &mut told)?;
    logs(bundle, path, &mut told)?;
    Ok(disagreements::settle(told))
}

fn stated(bundle: &Bundle, path: &dyn Fn(i32) -> String) -> anyhow::Result<Vec<Told>> {
    let rows = bundle.rows::<FactRow<'static>>(None)?;
    // A listing of settings may name one in several sections: what one file says last holds.
    let mut last: BTreeMap<(Option<i32>, String), i64> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.key.starts_with("config/")) {
        let own = last.entry((row.source, row.key.to_string())).or_insert(row.record);
        *own = (*own).max(row.record);
    }
    let overruled =
        |row: &FactRow| last.get(&(row.source, row.key.to_string())).is_some_and(|record| row.record < *record);
    let rows = rows.into_iter().filter(|row| !overruled(row));
    let told = rows.map(|row| {
        let source = row.source.and_then(|at| bundle.manifest.sources.get(usize::try_from(at).ok()?));
        let by = match (row.source, source) {
            (None, _) => By::CommandLine,
            (_, Some(source)) if source.kind == "capture-toml" => By::CaptureToml,
            _ => By::Capture,
        };
        let place = row.source.map_or_else(|| COMMAND_LINE.to_owned(), path);
        let evidence =
            Evidence { path: place.into(), record: row.record, what: row.key.as_ref().into(), ..Evidence::default() };
        let node = row.source.and_then(|source| node_of(bundle, source));
        Told { key: row.key.into_owned(), value: row.value.into_owned(), evidence, node, by }
    });
    Ok(told.collect())
}

/// The versions that an object of a node tells: `node/NAME` is `Linux 6.1.0, kubelet v1.31.0`.
fn versions_of_node(told: &Told) -> Vec<Told> {
    let Some(node) = told.key.strip_prefix("node/") else { return Vec::new() };
    let Some((linux, kubelet)) = told.value.split_once(", kubelet ") else { return Vec::new() };
    let pairs = [("version/linux", linux.trim_start_matches("Linux ")), ("version/kubernetes", kubelet)];
    let version = |(key, value): (&str, &str)| Told {
        key: key.to_owned(),
        value: value.trim().trim_start_matches('v').to_owned(),
        node: Some(node.to_owned()),
        ..told.clone()
    };
    pairs
        .into_iter()
        .filter(|(_, value)| value.trim().starts_with(|letter: char| letter == 'v' || letter.is_ascii_digit()))
        .map(version)
        .collect()
}

/// The node whose clock a source is stamped by.
fn node_of(bundle: &Bundle, source: i32) -> Option<String> {
    let clock = bundle.manifest.sources.get(usize::try_from(source).ok()?)?.clock.as_deref()?;
    let node = clock.split('/').next()?;
    let others = ["apiserver", "operator", "prometheus", "none", clock::UNNAMED];
    (!others.contains(&node)).then(|| node.to_owned())
}

fn metrics(bundle: &Bundle, path: &dyn Fn(i32) -> String, told: &mut Vec<Told>) -> anyhow::Result<()> {
    let modes: BTreeMap<&str, &str> = metric_names::of_one_mode().collect();
    let names = LABELS.iter().map(|(name, ..)| *name).chain(modes.keys().copied()).chain([FAMILY]);
    let names: HashSet<String> = names.map(str::to_owned).collect();
    let mut nodes: BTreeMap<String, Evidence> = BTreeMap::new();
    let mut families: BTreeMap<String, Evidence> = BTreeMap::new();
    for row in listed::read(bundle, Some(&names))?.0 {
        let labels: BTreeMap<String, String> = serde_json::from_str(&row.labels).unwrap_or_default();
        let source = path(row.source);
        let evidence = || Evidence {
            path: source.as_str().into(),
            record: row.record,
            what: row.name.clone(),
            ..Evidence::default()
        };
        for (_, wanted, key) in LABELS.iter().filter(|(name, ..)| row.name == *name) {
            let Some(value) = wanted.iter().find_map(|label| labels.get(*label)).filter(|value| !value.is_empty())
            else {
                continue;
            };
            // Each component tells its own build: a proxy's is not the API server's.
            let job = labels.get("job").map_or("", String::as_str);
            let own = job.contains("kube-proxy") || (job.is_empty() && source.contains("kube-proxy"));
            let key = if own && row.name == "kubernetes_build_info" { "version/kube-proxy" } else { key };
            let named = ["node", "nodename"].iter().find_map(|label| labels.get(*label).cloned());
            let node = named.or_else(|| node_of(bundle, row.source));
            let value = value.trim_start_matches('v').to_owned();
            told.push(Told { key: key.to_owned(), value, evidence: evidence(), node, by: By::Capture });
        }
        if let Some(mode) = modes.get(row.name.as_str()) {
            let (key, value, node) = ("mode".to_owned(), (*mode).to_owned(), node_of(bundle, row.source));
            told.push(Told { key, value, evidence: evidence(), node, by: By::Capture });
        }
        if row.name == "kube_node_info"
            && let Some(node) = labels.get("node")
        {
            nodes.entry(node.clone()).or_insert_with(evidence);
        }
        if row.name == FAMILY
            && let Some(family) = labels.get("ip_family")
        {
            families.entry(family.clone()).or_insert_with(evidence);
        }
    }
    let all = |of: BTreeMap<String, Evidence>| (of.keys().cloned().collect::<Vec<_>>(), of.into_values().next());
    let mut tell = |key: &str, value: String, evidence| {
        told.push(Told { key: key.to_owned(), value, evidence, node: None, by: By::Capture });
    };
    if let (names, Some(evidence)) = all(nodes) {
        tell("count/nodes", names.len().to_string(), evidence);
    }
    if let (names, Some(evidence)) = all(families) {
        tell("metrics/ip_family", names.join(","), evidence);
    }
    Ok(())
}

fn logs(bundle: &Bundle, path: &dyn Fn(i32) -> String, told: &mut Vec<Told>) -> anyhow::Result<()> {
    // Programs tell their settings when they start.
    let rows = bundle.rows::<LogRow<'static>>(Some(col("record").lt_eq(lit(STARTUP))))?;
    // With a configuration file kube-proxy ignores its other flags, and lists them all the same.
    let by_file = |row: &&LogRow<'static>| row.message.trim().starts_with("FLAG: --config=\"/");
    let by_file: HashSet<i32> = rows.iter().filter(by_file).map(|row| row.source).collect();
    full_syncs(bundle, &rows, path, told);
    for row in rows {
        if by_file.contains(&row.source) && row.message.trim().starts_with("FLAG: ") {
            continue;
        }
        let fields = row.fields.as_deref().unwrap_or_default();
        if let Some((key, value)) = line(&row.message, fields) {
            let evidence = Evidence {
                path: path(row.source).into(),
                record: row.record,
                what: row.message.into(),
                ..Evidence::default()
            };
            let node = node_of(bundle, row.source);
            told.push(Told { key: key.to_owned(), value, evidence, node, by: By::Capture });
        }
    }
    Ok(())
}

/// Syncs from which it is told whether they rewrite everything.
const LEAST_SYNCS: usize = 5;

/// Whether kube-proxy rewrites the whole table on every sync, as its own lines about them say: a feature gate, an old version or
/// a patch may make it so, and no listing of settings proves it.
fn full_syncs(bundle: &Bundle, rows: &[LogRow<'static>], path: &dyn Fn(i32) -> String, told: &mut Vec<Told>) {
    let mut found: BTreeMap<i32, (usize, usize, &LogRow<'static>)> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.message.starts_with(FULL_SYNC)) {
        let fields = row.fields.as_deref().unwrap_or_default();
        let Some((_, full)) = fields.split_once("fullSync=") else { continue };
        let (all, whole, _) = found.entry(row.source).or_insert((0, 0, row));
        *all += 1;
        *whole += usize::from(full.starts_with("true"));
    }
    for (source, (all, whole, row)) in found.into_iter().filter(|(_, (all, ..))| *all >= LEAST_SYNCS) {
        let value = if whole == all { "every sync" } else { "changed chains" };
        let evidence = Evidence {
            path: path(source).into(),
            record: row.record,
            what: row.message.as_ref().into(),
            ..Evidence::default()
        };
        let (key, node) = ("config/full-sync".to_owned(), node_of(bundle, source));
        told.push(Told { key, value: value.to_owned(), evidence, node, by: By::Capture });
    }
}

/// What a log line tells of the proxy.
fn line(message: &str, fields: &str) -> Option<(&'static str, String)> {
    let message = message.trim();
    if let Some(flag) = message.strip_prefix("FLAG: --") {
        let (name, value) = flag.split_once('=')?;
        let value = value.trim_matches('"');
        let key = match name {
            "iptables-min-sync-period" | "nftables-min-sync-period" => "config/min-sync-period",
            "proxy-mode" => "mode",
            _ => return None,
        };
        return (!value.is_empty()).then(|| (key, value.to_owned()));
    }
    if let Some(value) = message.strip_prefix("minSyncPeriod:") {
        return Some(("config/min-sync-period", value.trim().to_owned()));
    }
    if message == "Version info" {
        let value = fields.split_once("version=")?.1.split_ascii_whitespace().next()?.trim_matches('"');
        return Some(("version/kube-proxy", value.trim_start_matches('v').to_owned()));
    }
    let mode = message.to_ascii_lowercase();
    let mode = mode.strip_prefix("using ")?.split_once(" proxier")?.0.to_owned();
    ["iptables", "nftables", "ipvs"].contains(&mode.as_str()).then_some(("mode", mode))
}

/// Whether a line is one in which a running program tells a setting that it follows.
pub fn tells_setting(line: &str) -> bool {
    let line = line.trim();
    line.starts_with("FLAG: --") || line.starts_with("minSyncPeriod:") || line.starts_with(FULL_SYNC)
}

/// Major and minor number of a version that a key names.
pub fn minor(facts: &Facts, key: &str) -> Option<(u32, u32)> {
    let text = facts.get(key)?.0.trim_start_matches('v');
    let mut parts = text.split(|letter: char| !letter.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Every value that the captures gave for a key on which they disagree, each with the node or file that gave it; empty where
/// they agree.
pub fn disagreeing<'f>(facts: &'f Facts, key: &str) -> Vec<(&'f str, &'f str)> {
    let ahead = format!("{key}@");
    let own = facts.range(ahead.clone()..).take_while(|(known, _)| known.starts_with(&ahead));
    own.map(|(known, (value, _))| (&known[ahead.len()..], value.as_str())).collect()
}

/// Where a number stands that was counted over everything captured, as evidence.
const WHOLE: &str = "the whole capture";

/// Whether a number is what the captures happen to name, and so the least that it can be.
pub fn is_least(facts: &Facts, key: &str) -> bool {
    facts.get(key).is_some_and(|(_, evidence)| evidence.path == WHOLE)
}

/// Adds how large the cluster is, as far as it was counted.
pub fn count(facts: &mut Facts, counted: [(&str, Option<u64>, &str); 3]) {
    for (key, number, what) in counted {
        let Some(number) = number else { continue };
        let evidence = Evidence { path: WHOLE.into(), record: 0, what: what.into(), ..Evidence::default() };
        facts.entry(format!("count/{key}")).or_insert((number.to_string(), evidence));
    }
}

/// Rank of a key in a list that is cut: what changes verdicts comes first.
pub fn rank(key: &str) -> usize {
    let first = [
        "dataplane",
        "scenario",
        "mode",
        "version/",
        "count/",
        "config/min-sync-period",
        "config/lb-reflector-wait-time",
        "metrics/",
    ];
    // Descriptors join captures to each other and say nothing to a reader.
    let last = usize::from(key.starts_with("bpf-map-"));
    first.iter().position(|start| key.starts_with(start)).unwrap_or(first.len() + last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_proxy_tell_its_mode_and_settings() {
        let check = |message: &str, fields: &str, expected: Option<(&str, &str)>| {
            let found = line(message, fields);
            assert_eq!(found.as_ref().map(|(key, value)| (*key, value.as_str())), expected, "{message}");
        };
        check("FLAG: --iptables-min-sync-period=\"1s\"", "", Some(("config/min-sync-period", "1s")));
        check("FLAG: --proxy-mode=\"ipvs\"", "", Some(("mode", "ipvs")));
        check("FLAG: --proxy-mode=\"\"", "", None);
        check("Using iptables Proxier", "", Some(("mode", "iptables")));
        check("Using nftables Proxier", "", Some(("mode", "nftables")));
        check("Using dual-stack proxier", "", None);
        check("Version info", "version=\"v1.36.2\"", Some(("version/kube-proxy", "1.36.2")));
    }
    #[test]
    fn objects_of_nodes_tell_their_versions() {
        let told = |value: &str| Told {
            key: "node/a".to_owned(),
            value: value.to_owned(),
            evidence: Evidence::default(),
            node: None,
            by: By::Capture,
        };
        let versions: Vec<(String, String, Option<String>)> = versions_of_node(&told("Linux 6.1.0, kubelet v1.31.0"))
            .into_iter()
            .map(|one| (one.key, one.value, one.node))
            .collect();
        let of = |key: &str, value: &str| (key.to_owned(), value.to_owned(), Some("a".to_owned()));
        assert_eq!(versions, [of("version/linux", "6.1.0"), of("version/kubernetes", "1.31.0")]);
        assert!(versions_of_node(&told("Linux , kubelet ")).is_empty());
    }
}
