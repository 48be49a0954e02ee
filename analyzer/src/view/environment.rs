//! Where the runs took place, and what they do not cover: a reader whose cluster is another one must see both at once.

use std::cell::LazyCell;
use std::collections::BTreeSet;

use serde::Serialize;

use super::{dataplane_name, number, plural, rows};
use crate::result::{RunResult, in_parallel};

/// Both.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Environment {
    /// Parts of one line.
    pub facts: Vec<String>,
    /// What was not measured, a sentence each.
    pub not_covered: Vec<String>,
}

/// Facts that the line names, in its order, with how they are called there.
const VERSIONS: [(&str, &str); 4] =
    [("kubernetes", "Kubernetes"), ("kube-proxy", "kube-proxy"), ("cilium", "Cilium"), ("linux", "Linux")];

/// Builds it.
pub fn build(runs: &[RunResult]) -> Environment {
    let mut facts: Vec<String> = Vec::new();
    let versions: Vec<_> = in_parallel(runs, versions).collect();
    for (at, (_, name)) in VERSIONS.into_iter().enumerate() {
        let own: BTreeSet<String> = versions.iter().filter_map(|of_run| of_run[at].clone()).collect();
        if !own.is_empty() {
            facts.push(format!("{name} {}", some(&own)));
        }
    }
    let nodes = numbers(runs, |r| r.run.facts.get("count/nodes").and_then(|(value, _)| value.parse().ok()));
    let cpus = numbers(runs, |r| {
        let counted = || r.measurements.iter().find_map(|one| one.details.get("node_cpus")).map(|n| *n as u64);
        r.run.facts.get("count/cores").and_then(|(value, _)| value.parse().ok()).or_else(counted)
    });
    let services = numbers(runs, |r| r.run.services.map(crate::verdict::one_figure));
    match (nodes.as_slice(), cpus.as_slice()) {
        ([], []) => {}
        ([one], []) => facts.push(plural(to_size(*one), "node")),
        ([one], cpus) => facts.push(format!("{} with {} CPUs", plural(to_size(*one), "node"), span(cpus))),
        ([], cpus) => facts.push(format!("{} CPUs a node", span(cpus))),
        (nodes, []) => facts.push(format!("{} nodes", span(nodes))),
        (nodes, cpus) => facts.push(format!("{} nodes with {} CPUs", span(nodes), span(cpus))),
    }
    if !services.is_empty() {
        facts.push(format!(
            "{}{} Services",
            if services.iter().any(|n| *n >= 10) { "about " } else { "" },
            span(&services)
        ));
    }
    let most = endpoints(runs);
    if most > 0 {
        facts.push(format!("up to {} behind one Service", plural(most, "endpoint")));
    }
    facts.push(plural(runs.len(), "run"));
    Environment { facts, not_covered: not_covered(runs, &nodes, &services, most) }
}

/// What a run says of each of [`VERSIONS`].
fn versions(result: &RunResult) -> [Option<String>; VERSIONS.len()] {
    let manifest = LazyCell::new(|| result.run.manifest.open());
    VERSIONS.map(|(key, _)| {
        let fact = result.run.facts.get(&format!("version/{key}")).map(|(value, _)| value);
        fact.or_else(|| manifest.versions.get(key)).map(|stated| rows::cut(stated, 40))
    })
}

/// Endpoints of the Service under test: those of the baseline, and those that came.
fn endpoints(runs: &[RunResult]) -> usize {
    let of = |r: &RunResult| {
        let propagation = r.measurements.iter().find(|m| m.name == "endpoint_propagation" && m.variant.is_empty());
        let came = propagation.and_then(|m| m.details.get("endpoints changed")).map_or(0, |n| *n as usize);
        let before = r.run.baseline_endpoints.map_or(0, to_size);
        // A restart replaces what was there; a scale-up adds to it.
        if r.run.scenario == "scale-up" { before.saturating_add(came) } else { before.max(came) }
    };
    runs.iter().map(of).max().unwrap_or(0)
}

fn to_size(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

fn numbers(runs: &[RunResult], of: impl Fn(&RunResult) -> Option<u64>) -> Vec<u64> {
    runs.iter().filter_map(of).collect::<BTreeSet<u64>>().into_iter().collect()
}

/// `5, 500 and 2000`, or the ends of many.
fn span(values: &[u64]) -> String {
    match values {
        [] => "–".into(),
        [one] => number::count(*one),
        [most @ .., last] if values.len() <= 4 => {
            let most: Vec<String> = most.iter().map(|n| number::count(*n)).collect();
            format!("{} and {}", most.join(", "), number::count(*last))
        }
        [first, .., last] => format!("{} to {}", number::count(*first), number::count(*last)),
    }
}

fn some(values: &BTreeSet<String>) -> String {
    let shown: Vec<&str> = values.iter().take(3).map(String::as_str).collect();
    let more = values.len() - shown.len();
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}

/// What a proposal cannot take from these runs.
fn not_covered(runs: &[RunResult], nodes: &[u64], services: &[u64], most: usize) -> Vec<String> {
    let mut said = Vec::new();
    match nodes {
        [] => said.push("How many nodes there were is not told: figures are those of the nodes that were captured.".to_owned()),
        [1] => said.push("More than one node: every run had one. How long an update takes to reach many nodes, and traffic between nodes, was not measured.".to_owned()),
        _ => {}
    }
    if let Some(largest) = services.last() {
        let endpoints = if most > 0 {
            format!(", or more than {} behind one Service", number::count(most as u64))
        } else {
            String::new()
        };
        said.push(format!("More than about {} Services{endpoints}.", number::count(*largest)));
    }
    let present: BTreeSet<&str> = runs.iter().map(|r| r.run.scenario.as_str()).collect();
    let absent: Vec<&str> = ["scale-up", "rolling-restart", "pod-crash", "steady-state"]
        .into_iter()
        .filter(|s| !present.contains(s))
        .collect();
    if !absent.is_empty() {
        said.push(format!("Scenarios without a run: {}.", absent.join(", ")));
    }
    let planes: BTreeSet<&str> = runs.iter().map(|r| r.run.dataplane.as_str()).collect();
    let others: Vec<String> = ["kube-proxy-iptables", "kube-proxy-nftables", "kube-proxy-ipvs", "cilium"]
        .into_iter()
        .filter(|one| !planes.contains(one))
        .map(dataplane_name)
        .collect();
    if !others.is_empty() {
        said.push(format!("Dataplanes without a run: {}.", others.join(", ")));
    }
    let busy: Vec<f64> = runs
        .iter()
        .flat_map(|r| &r.measurements)
        .filter(|one| one.name == "node_busy" && one.missing.is_none())
        .filter_map(|one| one.estimate.value)
        .collect();
    let (low, high) = (busy.iter().copied().reduce(f64::min), busy.iter().copied().reduce(f64::max));
    if let (Some(low), Some(high)) = (low, high) {
        said.push(format!("Nodes with other loads: these were {:.0} to {:.0} % busy.", low * 100.0, high * 100.0));
    }
    if planes.contains("cilium") && planes.len() > 1 {
        said.push("The Cilium agent's share for Services: its CPU and memory also pay for the pods' network, policy and flow visibility, which beside kube-proxy other components do, whose cost was not counted.".to_owned());
    }
    said.push(
        "What else a migration changes: network policy, encryption, flow visibility, the pods' network itself, and the move from one dataplane to the other."
            .to_owned(),
    );
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        assert_eq!(span(&[5]), "5");
        assert_eq!(span(&[5, 500, 2000]), "5, 500 and 2000");
        assert_eq!(span(&[1, 2, 3, 4, 50_000]), "1 to 50,000");
        let versions: BTreeSet<String> = ["1", "2", "3", "4"].map(str::to_owned).into();
        assert_eq!(some(&versions), "1, 2, 3 and 1 more");
    }
}
