//! One fact told several times: which value is taken, and what to say where they differ.
//!
//! ```text
//! node-a/versions.txt  Kubernetes v1.36.2 ┐ version/kube-proxy         1.36.2   (the first)
//! node-b/versions.txt  Kubernetes v1.31.0 ┘ version/kube-proxy@node-a  1.36.2
//!                                           version/kube-proxy@node-b  1.31.0   and a finding
//! k6-before.txt  p(95)=133.4ms ┐ client/k6/http_req_duration/p(95)@k6-before.txt  133.4ms
//! k6-after.txt   p(95)=999ms   ┘ client/k6/http_req_duration/p(95)@k6-after.txt   999ms     two sets, no contradiction
//! ```
//!
//! A run has one version of each component, one mode and one value of each setting: two values contradict each other. What tools
//! and programs printed of themselves at one moment (summaries of load generators, `cilium status`) may be there several times.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::Facts;
use crate::bundle::apart;
use crate::clock::{Evidence, Finding};

/// Beginnings of keys that can have one value in a run.
const ONE_VALUE: [&str; 12] = [
    "version/",
    "config/",
    "node/",
    "count/",
    "metrics/",
    "mode",
    "dataplane",
    "scenario",
    "synthetic",
    "year",
    "timezone",
    "node",
];
/// Beginnings of keys of tools whose results are sets: what one file says belongs together.
const SETS: [&str; 3] = ["client/", "kube-burner/", "clusterloader2/"];

/// Who told a fact, the one to be believed first: an option overrides on purpose, and what a capture shows beats what somebody
/// wrote about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    CommandLine,
    Capture,
    CaptureToml,
}

/// A fact as one place tells it.
#[derive(Clone, Debug)]
pub struct Told {
    pub key: String,
    pub value: String,
    pub evidence: Evidence,
    /// Node that it is of, where known.
    pub node: Option<String>,
    pub by: By,
}

/// Takes one value of each fact; what disagrees is a finding, with every value under `key@place`.
pub fn settle(mut told: Vec<Told>) -> (Facts, Vec<Finding>) {
    told.sort_by_key(|one| one.by);
    let mut sets: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut keys: BTreeMap<String, Vec<Told>> = BTreeMap::new();
    for one in told {
        if let Some(set) = set_of(&one.key) {
            sets.entry(set).or_default().insert(one.evidence.path.to_string());
        }
        keys.entry(one.key.clone()).or_default().push(one);
    }
    let mut facts = Facts::new();
    let mut findings = Vec::new();
    for (key, told) in keys {
        let Some(first) = told.first() else { continue };
        let set = set_of(&key).and_then(|set| sets.get(&set)).filter(|paths| paths.len() > 1);
        let differs = told.iter().any(|one| !same(&key, &first.value, &one.value));
        if set.is_none() && !differs {
            facts.insert(key, (first.value.clone(), first.evidence.clone()));
            continue;
        }
        let places = places(&told, set);
        let contradict =
            ONE_VALUE.iter().any(|start| if start.ends_with('/') { key.starts_with(start) } else { key == *start });
        // What the command line says overrides capture.toml on purpose.
        let captured = |one: &&Told| one.by == By::Capture || first.by != By::CommandLine;
        if contradict && let Some(finding) = finding(&key, &told, &places, &captured) {
            findings.push(finding);
        }
        if contradict {
            facts.insert(key.clone(), (first.value.clone(), first.evidence.clone()));
        }
        for (one, place) in told.iter().zip(&places).filter(|(one, _)| !contradict || captured(one)) {
            let fact = (one.value.clone(), one.evidence.clone());
            match facts.get(&format!("{key}@{place}")) {
                None => drop(facts.insert(format!("{key}@{place}"), fact)),
                Some((known, _)) if same(&key, known, &one.value) => {}
                Some(_) => drop(facts.insert(format!("{key}@{place}:{}", one.evidence.record), fact)),
            }
        }
    }
    (facts, findings)
}

/// The set of results that a key is of: `client/k6`.
fn set_of(key: &str) -> Option<String> {
    let start = SETS.iter().find(|start| key.starts_with(**start))?;
    let tool = if *start == "client/" { key[start.len()..].split('/').next().unwrap_or_default() } else { "" };
    Some(format!("{start}{tool}"))
}

/// What tells each of several values' origins: the node, where each has one and no node two values; else what the paths do not
/// share.
fn places(told: &[Told], set: Option<&BTreeSet<String>>) -> Vec<String> {
    let nodes: Option<Vec<&String>> = told.iter().map(|one| one.node.as_ref()).collect();
    if let (Some(nodes), None) = (nodes, set) {
        let mut values: BTreeMap<&String, &str> = BTreeMap::new();
        let one_each = nodes.iter().zip(told).all(|(node, one)| {
            let known = *values.entry(*node).or_insert(&one.value);
            same(&one.key, known, &one.value)
        });
        if one_each {
            return nodes.into_iter().cloned().collect();
        }
    }
    let mut paths: BTreeSet<&str> = told.iter().map(|one| one.evidence.path.as_str()).collect();
    paths.extend(set.into_iter().flatten().map(String::as_str));
    let paths: Vec<&str> = paths.into_iter().collect();
    let labels: BTreeMap<&str, String> = paths.iter().copied().zip(apart::labels(&paths)).collect();
    told.iter().map(|one| labels.get(one.evidence.path.as_str()).cloned().unwrap_or_default()).collect()
}

/// A finding with each value once.
fn finding(key: &str, told: &[Told], places: &[String], counts: &dyn Fn(&&Told) -> bool) -> Option<Finding> {
    let mut values: Vec<(&Told, &str)> = Vec::new();
    for (one, place) in told.iter().zip(places).filter(|(one, _)| counts(one)) {
        if values.iter().all(|(known, _)| !same(key, &known.value, &one.value)) {
            values.push((one, place));
        }
    }
    let each: Vec<String> = values.iter().map(|(one, place)| format!("{} ({place})", one.value)).collect();
    let taken = told.first().map_or("", |one| one.value.as_str());
    (values.len() > 1 || values.first().is_some_and(|(one, _)| !same(key, &one.value, taken))).then(|| Finding {
        title: format!("the captures disagree on {key}"),
        detail: format!("{}: {taken} is taken", each.join(" and ")),
        evidence: values.iter().map(|(one, _)| one.evidence.clone()).collect(),
    })
}

/// Whether two values are one: of versions a leading v, a build's suffix and missing parts do not count, of others capitals,
/// quotes and how a duration is written.
fn same(key: &str, a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    if key.starts_with("version/") {
        let parts = |text: &str| -> Vec<String> {
            let text = text.trim().trim_start_matches('v');
            let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
            text[..end].split('.').map(str::to_owned).collect()
        };
        return parts(a).iter().zip(&parts(b)).all(|(a, b)| !a.is_empty() && a == b);
    }
    let plain = |text: &str| text.trim().trim_matches(['"', '\'']).to_ascii_lowercase();
    let (a, b) = (plain(a), plain(b));
    a == b || seconds(&a).zip(seconds(&b)).is_some_and(|(a, b)| (a - b).abs() < 1e-9)
}

/// A duration as Go prints it, s: `1m0s`, `500ms`.
fn seconds(text: &str) -> Option<f64> {
    let mut rest = text;
    let mut sum = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest.find(|letter: char| letter.is_ascii_digit()).unwrap_or(rest.len());
        sum += number
            * match &rest[..end] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = &rest[end..];
    }
    (!text.is_empty()).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::facts::{disagreeing, minor};

    fn told(key: &str, value: &str, path: &str, record: i64) -> Told {
        let evidence = Evidence { path: path.into(), record, ..Evidence::default() };
        Told { key: key.to_owned(), value: value.to_owned(), evidence, node: None, by: By::Capture }
    }

    #[test]
    fn what_disagrees_is_a_finding_and_the_first_is_taken() {
        let key = "version/cilium";
        let agreeing = vec![told(key, "1.19.4", "a", 1), told(key, "1.19.4-rev", "b", 2), told(key, "v1.19", "c", 3)];
        let (facts, findings) = settle(agreeing.clone());
        assert!(findings.is_empty() && disagreeing(&facts, key).is_empty());
        let (facts, findings) = settle([agreeing, vec![told(key, "1.17.0", "d", 4)]].concat());
        assert_eq!(findings[0].evidence.iter().map(|one| one.record).collect::<Vec<_>>(), [1, 4]);
        assert_eq!(findings[0].detail, "1.19.4 (a) and 1.17.0 (d): 1.19.4 is taken");
        assert_eq!(minor(&facts, key), Some((1, 19)));
        assert_eq!(minor(&facts, "version/kubernetes"), None);
        assert_eq!(disagreeing(&facts, key).len(), 4);
    }

    #[test]
    fn versions_of_two_nodes_stand_by_node() {
        let of = |node: &str, value: &str, record| Told {
            node: Some(node.to_owned()),
            ..told("version/linux", value, "query.json", record)
        };
        let (facts, findings) = settle(vec![of("a", "6.1.0", 1), of("b", "5.10.3", 2), of("c", "6.1.0", 3)]);
        assert_eq!(disagreeing(&facts, "version/linux"), [("a", "6.1.0"), ("b", "5.10.3"), ("c", "6.1.0")]);
        assert_eq!(findings.len(), 1);
    }

    #[test]
    fn two_summaries_are_two_sets_and_no_contradiction() {
        let (facts, findings) = settle(vec![
            told("client/k6/http_reqs/rate", "7", "k6-after.txt", 3),
            told("client/k6/http_reqs/rate", "9", "k6-before.txt", 3),
            told("client/k6/only", "1", "k6-before.txt", 4),
            told("client/wrk/Latency/p99", "1ms", "wrk.txt", 1),
        ]);
        assert!(findings.is_empty());
        let keys: Vec<&str> = facts.keys().map(String::as_str).collect();
        let expected = [
            "client/k6/http_reqs/rate@k6-after.txt",
            "client/k6/http_reqs/rate@k6-before.txt",
            "client/k6/only@k6-before.txt",
            "client/wrk/Latency/p99",
        ];
        assert_eq!(keys, expected);
    }

    #[test]
    fn options_override_on_purpose_and_statements_are_compared_with_captures() {
        let by = |by: By, value: &str, path: &str| Told { by, ..told("mode", value, path, 1) };
        let (facts, findings) =
            settle(vec![by(By::CaptureToml, "ipvs", "capture.toml"), by(By::CommandLine, "nftables", "-")]);
        assert_eq!((facts["mode"].0.as_str(), findings.len()), ("nftables", 0));
        let (facts, findings) =
            settle(vec![by(By::Capture, "iptables", "log"), by(By::CaptureToml, "ipvs", "capture.toml")]);
        assert_eq!((facts["mode"].0.as_str(), findings.len()), ("iptables", 1));
        assert!(findings[0].detail.ends_with("iptables is taken"), "{}", findings[0].detail);
        let (_, findings) = settle(vec![by(By::Capture, "iptables", "log"), by(By::CommandLine, "ipvs", "-")]);
        assert_eq!(findings.len(), 1);
    }

    #[test]
    fn settings_are_equal_however_they_are_written() {
        for (a, b) in [("1m0s", "60s"), ("\"500ms\"", "0.5s"), ("True", "true")] {
            assert!(same("config/x", a, b), "{a} {b}");
        }
        for (a, b) in [("1s", "1m"), ("1", "2"), ("iptables", "ipvs"), ("", "x")] {
            assert!(!same("config/x", a, b), "{a} {b}");
        }
    }
}
