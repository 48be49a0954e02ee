//! Which sources decide which rows of the catalogue: what `doctor` and the summary of a recording say of a source that is missing.
//!
//! A row needs one source of each group. The catalogue itself belongs to the analyzer, which the collector does not know; a test
//! compares the two.

/// Dataplane of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dataplane {
    KubeProxy,
    Cilium,
}

/// One of these sources is needed.
pub type Group = &'static [&'static str];

/// What one row needs; no group: the row makes no claim about that dataplane.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its id in the catalogue.
    pub id: &'static str,
    pub kube_proxy: &'static [Group],
    pub cilium: &'static [Group],
}

/// When endpoints changed.
const API: Group = &["kubernetes"];
/// When an endpoint was committed, in bounds.
const COMMITS: Group = &["beacon", "audit-log"];
/// What kube-proxy's dataplane holds.
const RULES: Group = &["iptables", "nftables", "ipvs"];
/// What Cilium's holds.
const MAPS: Group = &["bpf-maps"];
/// Syncs of kube-proxy, one by one or counted.
const SYNCS: Group = &["logs", "metrics", "prometheus", "kernel"];
/// Pages of the agent.
const PAGES: Group = &["metrics", "prometheus"];
/// CPU and memory of the proxy.
const USAGE: Group = &["usage", "metrics", "prometheus"];
/// The client.
const CLIENT: Group = &["probe"];
/// Retransmissions.
const TRACE: Group = &["kernel"];
/// Time of the node's softirqs.
const SOFTIRQ: Group = &["usage", "metrics", "prometheus"];
/// Run times of BPF programs.
const PROGRAMS: Group = &["bpf-programs"];

const PROPAGATION: (&[Group], &[Group]) = (&[API, COMMITS, RULES], &[API, COMMITS, MAPS]);

const fn row(id: &'static str, (kube_proxy, cilium): (&'static [Group], &'static [Group])) -> Row {
    Row { id, kube_proxy, cilium }
}

/// All rows, in the catalogue's order.
pub const ROWS: &[Row] = &[
    row("A1", PROPAGATION),
    row("A2", (&[&["iptables", "nftables", "kernel", "logs"]], &[MAPS])),
    row("A3", (&[USAGE], &[USAGE])),
    row("A4", (&[CLIENT], &[CLIENT])),
    row("B1", (&[SYNCS], &[PAGES])),
    row("B2", (&[SYNCS], &[PAGES])),
    row("B3", (&[SYNCS], &[PAGES])),
    row("T1.1", (&[], &[PAGES])),
    row("T1.2", (&[SYNCS], &[])),
    row("T1.3", (&[], &[PAGES])),
    row("T2.1", (&[SOFTIRQ, CLIENT], &[PROGRAMS])),
    row("T2.2", (&[CLIENT], &[CLIENT])),
    row("T2.3", (&[SOFTIRQ, CLIENT], &[PROGRAMS])),
    row("T3.1", PROPAGATION),
    row("T3.2", (&[USAGE], &[USAGE])),
    row("T3.3", (&[TRACE, CLIENT], &[TRACE, CLIENT])),
    row("T3.4", PROPAGATION),
    row("T4.1", (&[], &[API, COMMITS, MAPS])),
    row("T4.2", (&[CLIENT], &[CLIENT])),
    row("T4.3", (&[CLIENT], &[CLIENT])),
    row("T4.4", (&[CLIENT], &[CLIENT])),
    row("T5.1", (&[USAGE], &[USAGE])),
    row("T5.2", (&[USAGE], &[USAGE])),
    row("T5.3", (&[RULES], &[])),
    row("T5.4", (&[], &[PAGES])),
    row("AL1", (&[], &[PAGES])),
    row("AL2", (&[PAGES], &[])),
    row("E1", (&[], &[PAGES])),
    row("E2", (&[], &[PAGES])),
    row("E3", (&[SYNCS], &[])),
    row("E4", (&[PAGES], &[])),
    row("E5", (&[], &[PAGES])),
    row("E6", (&[], &[PAGES])),
    row("E7", (&[SYNCS], &[])),
    row("E8", (&[PAGES], &[])),
    row("C1", (&[SYNCS], &[PAGES])),
    row("C2", (&[SOFTIRQ, CLIENT], &[PROGRAMS])),
    row("C3", (&[CLIENT], &[CLIENT])),
    row("C4", (&[USAGE], &[USAGE])),
    row("C5", (&[SYNCS], &[PAGES])),
    row("C6", (&[USAGE], &[USAGE])),
    row("C7", PROPAGATION),
    row("K1", (&[SOFTIRQ, CLIENT], &[PROGRAMS])),
    row("K2", (&[SYNCS], &[PAGES])),
    row("K3", (&[USAGE], &[USAGE])),
    row("K4", (&[CLIENT], &[CLIENT])),
];

impl Row {
    /// What it needs on a dataplane; on one that is not known, what it needs on either.
    fn groups(&self, dataplane: Option<Dataplane>) -> Vec<Group> {
        match dataplane {
            Some(Dataplane::KubeProxy) => self.kube_proxy.to_vec(),
            Some(Dataplane::Cilium) => self.cilium.to_vec(),
            None => self.kube_proxy.iter().chain(self.cilium).copied().collect(),
        }
    }
}

/// Rows that a source has a part in, on a dataplane.
pub fn of_source(source: &str, dataplane: Option<Dataplane>) -> Vec<&'static str> {
    let uses = |row: &&Row| row.groups(dataplane).iter().any(|group| group.contains(&source));
    ROWS.iter().filter(uses).map(|row| row.id).collect()
}

/// Rows that nothing decides where only `available` sources record, each with the groups that have none. Of runs of several sizes
/// (K1 to K4, C6) one run has what it has.
pub fn undecided(available: &[&str], dataplane: Option<Dataplane>) -> Vec<(&'static str, Vec<Group>)> {
    let lacks = |row: &Row| -> Vec<Group> {
        let has = |group: &Group| group.iter().any(|source| available.contains(source));
        row.groups(dataplane).into_iter().filter(|group| !has(group)).collect()
    };
    ROWS.iter().map(|row| (row.id, lacks(row))).filter(|(_, lacks)| !lacks.is_empty()).collect()
}

/// The same in words, a line for rows that lack the same: `A4 T2.2: no probe`.
pub fn in_words(undecided: &[(&'static str, Vec<Group>)]) -> Vec<String> {
    let mut by_lack: Vec<(String, Vec<&str>)> = Vec::new();
    for (id, groups) in undecided {
        let lack = groups.iter().map(|group| group.join(" or ")).collect::<Vec<_>>().join(", and ");
        match by_lack.iter_mut().find(|(known, _)| *known == lack) {
            Some((_, ids)) => ids.push(id),
            None => by_lack.push((lack, vec![id])),
        }
    }
    by_lack.into_iter().map(|(lack, ids)| format!("{}: no {lack}", ids.join(" "))).collect()
}

/// Whether propagation, from the commit to the dataplane, can be measured: what `doctor`'s exit code says. Without the API and
/// what reads the dataplane it cannot.
pub fn measures_propagation(available: &[&str], dataplane: Option<Dataplane>) -> bool {
    let (kube_proxy, cilium) = PROPAGATION;
    let all = |groups: &[Group]| groups.iter().all(|group| group.iter().any(|source| available.contains(source)));
    match dataplane {
        Some(Dataplane::KubeProxy) => all(kube_proxy),
        Some(Dataplane::Cilium) => all(cilium),
        None => all(kube_proxy) || all(cilium),
    }
}

#[cfg(test)]
mod tests {
    use super::{Dataplane, ROWS, measures_propagation, of_source, undecided};
    use crate::record::sources::names;
    use std::collections::BTreeSet;

    /// Id, and which sides make a claim, as the catalogue has them.
    #[test]
    fn rows_are_those_of_the_catalogue() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../analyzer/src/verdict/catalogue.toml");
        let text = std::fs::read_to_string(path).expect("the catalogue");
        let catalogue: toml::Value = toml::from_str(&text).expect("TOML");
        let rows = catalogue["row"].as_array().expect("rows");
        let ids: Vec<&str> = rows.iter().filter_map(|row| row["id"].as_str()).collect();
        assert_eq!(ids, ROWS.iter().map(|row| row.id).collect::<Vec<_>>());
        for (row, ours) in rows.iter().zip(ROWS) {
            // Of a comparison the claim stands on one side only, and both are measured.
            if row["scenario"].as_str() == Some("compare") {
                continue;
            }
            for (side, groups) in [("kube-proxy", ours.kube_proxy), ("cilium", ours.cilium)] {
                let claims = row[side]["kind"].as_str() != Some("none");
                assert_eq!(claims, !groups.is_empty(), "{} on {side}", ours.id);
            }
        }
    }

    #[test]
    fn every_source_that_a_row_needs_is_one() {
        let known: BTreeSet<&str> = names().collect();
        for row in ROWS {
            for group in row.kube_proxy.iter().chain(row.cilium) {
                assert!(group.iter().all(|source| known.contains(source)), "{}: one of {group:?} is no source", row.id);
            }
        }
    }

    #[test]
    fn what_is_missing_decides_what_is_undecided() {
        let all = ["kubernetes", "beacon", "iptables", "metrics", "usage", "logs", "kernel", "probe"];
        assert_eq!(undecided(&all, Some(Dataplane::KubeProxy)), []);
        assert!(measures_propagation(&all, Some(Dataplane::KubeProxy)));
        assert!(!measures_propagation(&all, Some(Dataplane::Cilium)));
        let blind = ["kubernetes", "iptables", "metrics", "usage", "logs", "kernel", "probe"];
        let ids: Vec<&str> = undecided(&blind, Some(Dataplane::KubeProxy)).iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, ["A1", "T3.1", "T3.4", "C7"]);
        assert!(!measures_propagation(&blind, Some(Dataplane::KubeProxy)));
        assert!(of_source("probe", None).contains(&"A4") && !of_source("probe", None).contains(&"A3"));
        assert!(of_source("nothing", None).is_empty());
    }
}
