//! Which dataplane a run is of, where nobody stated it: every kind of source may say so, with its reason.
//!
//! | seen | says |
//! | --- | --- |
//! | `KUBE-SVC-…`, `KUBE-SEP-…` in the nat table (by `iptables` or through `nft`) | kube-proxy, iptables |
//! | the table `kube-proxy` of `nft` | kube-proxy, nftables |
//! | virtual servers of `ipvsadm` | kube-proxy, IPVS |
//! | frontends of Cilium's load-balancer map or list | Cilium |
//! | a log of cilium-agent; outputs of `cilium`, `hubble` | Cilium |
//! | a log of kube-proxy, its line `Using … Proxier`, its flags | kube-proxy, in that mode |
//! | metrics `cilium_…`, `kubeproxy_…` | the same; a mode where only that mode has the metric |
//!
//! State of the dataplane goes first, then what programs wrote, then metrics (which may be those of a whole cluster). What
//! contradicts each other is a finding.

use std::collections::BTreeMap;

use polars::prelude::{col, lit};
use syncline_schema::dataplane::{RuleRow, SnapshotRow};
use syncline_schema::samples::SeriesRow;

use super::dataplane::chain_of_a_service;
use super::facts::Facts;
use crate::bundle::Bundle;
use crate::clock::{Evidence, Finding};

/// What a source is worth, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    State,
    Output,
    Metrics,
}

/// kube-proxy in a mode that is not known.
const SOME_MODE: &str = "kube-proxy";

/// One reason for each dataplane and worth.
#[derive(Clone, Debug, Default)]
pub struct Reasons {
    found: BTreeMap<(Worth, &'static str), Evidence>,
}

impl Reasons {
    fn add(&mut self, worth: Worth, dataplane: &'static str, evidence: impl FnOnce() -> Evidence) {
        self.found.entry((worth, dataplane)).or_insert_with(evidence);
    }

    /// What the states of the dataplane say.
    pub fn of_state(
        rules: &[RuleRow<'static>],
        snapshots: &[SnapshotRow<'static>],
        path: &dyn Fn(i32) -> String,
    ) -> Self {
        let formats: BTreeMap<i32, &str> = snapshots.iter().map(|row| (row.stream, row.format.as_ref())).collect();
        let mut found = Self::default();
        for rule in rules {
            let format = formats.get(&rule.stream).copied().unwrap_or_default();
            let (chain, target) =
                (rule.chain.as_deref().unwrap_or_default(), rule.target.as_deref().unwrap_or_default());
            let is_lead = rule.kind == "frontend" || rule.kind == "rule";
            let (dataplane, what) = match format {
                "ipvsadm" if rule.kind == "frontend" => ("kube-proxy-ipvs", "a virtual server of IPVS"),
                _ if (format.starts_with("cilium") || format == "lb4-reader") && rule.kind == "frontend" => {
                    ("cilium", "a frontend of Cilium's load balancer")
                }
                _ if is_lead
                    && [chain, target]
                        .iter()
                        .any(|one| one.starts_with("KUBE-SVC-") || one.starts_with("KUBE-SEP-")) =>
                {
                    ("kube-proxy-iptables", "a chain of a Service that kube-proxy made with iptables")
                }
                _ if is_lead && format.starts_with("nft") && [chain, target].iter().any(|one| is_of_nftables(one)) => {
                    ("kube-proxy-nftables", "a Service in kube-proxy's table of nftables")
                }
                _ => continue,
            };
            found.add(Worth::State, dataplane, || Evidence {
                path: path(rule.source).into(),
                record: rule.record,
                what: what.into(),
                ..Evidence::default()
            });
        }
        found
    }

    /// Adds what logs, outputs of tools and metrics say.
    ///
    /// # Errors
    /// A table that cannot be read.
    pub fn add_programs(&mut self, bundle: &Bundle, facts: &Facts, path: &dyn Fn(i32) -> String) -> anyhow::Result<()> {
        let mode = facts.get("mode").and_then(|(mode, evidence)| Some((of_mode(mode)?, evidence)));
        if let Some((dataplane, evidence)) = &mode {
            self.add(Worth::Output, dataplane, || (*evidence).clone());
        }
        for source in bundle.manifest.sources.iter().filter(|source| source.records > 0) {
            let (dataplane, what) = match source.kind.as_str() {
                "cilium-log" => ("cilium", "a log of cilium-agent"),
                "kube-proxy-log" => (SOME_MODE, "a log of kube-proxy"),
                "cilium-config" | "cilium-status" | "cilium-metrics-list" | "cilium-monitor" => {
                    ("cilium", "an output of cilium")
                }
                "hubble" | "hubble-dict" | "hubble-text" => ("cilium", "an output of hubble"),
                _ => continue,
            };
            self.add(Worth::Output, dataplane, || Evidence {
                path: source.path.clone().into(),
                record: 0,
                what: what.into(),
                ..Evidence::default()
            });
        }
        // In the order of names: what begins with a prefix lies between it and the next byte.
        let begins = |prefix: &str, next: &str| {
            col("name").gt_eq(lit(prefix.to_owned())).and(col("name").lt(lit(next.to_owned())))
        };
        let wanted = begins("cilium_", "cilium`").or(begins("kubeproxy_", "kubeproxy`"));
        for row in bundle.rows::<SeriesRow<'static>>(Some(wanted))? {
            // The operator and what probes a cluster from outside may be there without the agent.
            if row.name.starts_with("cilium_operator_") {
                continue;
            }
            let dataplane = if row.name.starts_with("cilium_") { "cilium" } else { SOME_MODE };
            self.add(Worth::Metrics, dataplane, || Evidence {
                path: path(row.source).into(),
                record: row.record,
                what: row.name.into(),
                ..Evidence::default()
            });
        }
        Ok(())
    }

    /// The dataplane, and what a reader must know of it. `stated` is what somebody said of the capture, and whether that was an
    /// option of the command line: it is followed whatever the captures show, where a line of `capture.toml` is not if nothing
    /// captured bears it out and the states are of one other dataplane.
    pub fn decide(&self, stated: Option<(&str, bool)>) -> (String, Vec<Finding>) {
        let of = |worth: Worth| {
            let mut names: Vec<&'static str> =
                self.found.keys().filter(|(own, _)| *own == worth).map(|(_, name)| *name).collect();
            // Some mode is no more than the mode that is known.
            if names.iter().any(|name| name.starts_with("kube-proxy-")) {
                names.retain(|name| *name != SOME_MODE);
            }
            names
        };
        let state = of(Worth::State);
        if let Some((stated, by_option)) = stated {
            let foreign = !state.is_empty() && !state.contains(&stated);
            let borne_out =
                self.found.keys().any(|(_, name)| *name == stated || (*name == SOME_MODE && stated.starts_with(name)));
            if let ([shown], true, false, false) = (state.as_slice(), foreign, borne_out, by_option) {
                let finding = Finding {
                    title: format!("{stated} is stated, but the captures are of {shown}"),
                    detail: format!(
                        "what is captured is followed, {shown}: no state, log or metric in it is of {stated}; correct capture.toml, or override it by --dataplane"
                    ),
                    evidence: self.evidence(|name| name != stated),
                };
                return ((*shown).to_owned(), vec![finding]);
            }
            let finding = foreign.then(|| Finding {
                title: format!("{stated} is stated, but the states captured are of {}", state.join(" and ")),
                detail: "the statement is followed: what these states show is not judged as another dataplane's; correct the statement, or give the captures apart".to_owned(),
                evidence: self.evidence(|name| name != stated),
            });
            return (stated.to_owned(), finding.into_iter().collect());
        }
        let ranks = [state, of(Worth::Output), of(Worth::Metrics)];
        let Some(best) = ranks.iter().find(|names| !names.is_empty()) else {
            let finding = Finding {
                title: "dataplane not known".to_owned(),
                detail: "nothing states it and nothing captured tells it (states of iptables, nftables, IPVS or Cilium's maps, logs, metrics): state it in capture.toml or by --dataplane".to_owned(),
                evidence: Vec::new(),
            };
            return ("unknown".to_owned(), vec![finding]);
        };
        let order = ["cilium", "kube-proxy-ipvs", "kube-proxy-nftables", "kube-proxy-iptables", SOME_MODE];
        let found = order.iter().copied().find(|name| best.contains(name)).unwrap_or("unknown");
        // A mode that a log or a metric tells settles what kube-proxy's metrics leave open.
        let known = ranks.iter().flatten().find(|name| found == SOME_MODE && name.starts_with("kube-proxy-"));
        let (guess, assumed) = match (found, known) {
            (SOME_MODE, Some(mode)) => (*mode, false),
            (SOME_MODE, None) => ("kube-proxy-iptables", true),
            (other, _) => (other, false),
        };
        let mut findings = vec![Finding {
            title: format!("dataplane taken to be {guess}"),
            detail: if assumed {
                "nothing states it: it was told from kube-proxy's own words or metrics, which do not say its mode, so its default is taken; state it in capture.toml or by --dataplane".to_owned()
            } else {
                "nothing states it: it was told from what the evidence shows; state it in capture.toml or by --dataplane".to_owned()
            },
            evidence: self.evidence(|name| name == guess || name == found),
        }];
        let mut others: Vec<&str> = ranks.iter().flatten().copied().filter(|name| *name != guess).collect();
        others.retain(|name| !(*name == SOME_MODE && guess.starts_with(SOME_MODE)));
        others.sort_unstable();
        others.dedup();
        if !others.is_empty() {
            findings.push(Finding {
                title: format!("the captures show {guess} and {}", others.join(" and ")),
                detail: "both may be there (kube-proxy beside Cilium, rules that an earlier mode left): the run is judged as the first; state the dataplane in capture.toml or by --dataplane".to_owned(),
                evidence: self.evidence(|_| true),
            });
        }
        (guess.to_owned(), findings)
    }

    fn evidence(&self, wanted: impl Fn(&str) -> bool) -> Vec<Evidence> {
        self.found.iter().filter(|((_, name), _)| wanted(name)).map(|(_, evidence)| evidence.clone()).collect()
    }
}

fn is_of_nftables(chain: &str) -> bool {
    chain_of_a_service(chain) && !chain.starts_with("KUBE-")
}

fn of_mode(mode: &str) -> Option<&'static str> {
    match mode {
        "iptables" => Some("kube-proxy-iptables"),
        "nftables" => Some("kube-proxy-nftables"),
        "ipvs" => Some("kube-proxy-ipvs"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reasons(all: &[(Worth, &'static str)]) -> Reasons {
        let mut found = Reasons::default();
        for (record, (worth, name)) in all.iter().enumerate() {
            found.add(*worth, name, || Evidence { path: "x".into(), record: record as i64, ..Evidence::default() });
        }
        found
    }

    #[test]
    fn every_kind_of_source_may_say_it_and_contradictions_are_said() {
        use Worth::{Metrics, Output, State};
        for (all, expected, findings) in [
            (&[(Output, "cilium"), (Metrics, "cilium")][..], "cilium", 1),
            (&[(Metrics, "cilium")], "cilium", 1),
            (&[(Metrics, SOME_MODE)], "kube-proxy-iptables", 1),
            (&[(Output, "kube-proxy-nftables"), (Output, SOME_MODE), (Metrics, SOME_MODE)], "kube-proxy-nftables", 1),
            (&[(State, "cilium"), (Metrics, SOME_MODE)], "cilium", 2),
            (&[(State, "kube-proxy-iptables"), (Output, "cilium")], "kube-proxy-iptables", 2),
            (&[], "unknown", 1),
        ] {
            let (found, said) = reasons(all).decide(None);
            assert_eq!((found.as_str(), said.len()), (expected, findings), "{all:?}");
        }
        for (all, by_option, expected) in [
            (&[(State, "cilium")][..], false, "cilium"),
            (&[(State, "cilium")], true, "kube-proxy-nftables"),
            (&[(State, "cilium"), (Output, SOME_MODE)], false, "kube-proxy-nftables"),
            (&[(State, "cilium"), (State, "kube-proxy-ipvs")], false, "kube-proxy-nftables"),
        ] {
            let (found, said) = reasons(all).decide(Some(("kube-proxy-nftables", by_option)));
            assert_eq!((found.as_str(), said.len()), (expected, 1), "{all:?}");
        }
        assert!(reasons(&[(State, "cilium"), (Metrics, SOME_MODE)]).decide(Some(("cilium", false))).1.is_empty());
    }

    #[test]
    fn rules_of_iptables_seen_through_nft_are_of_iptables() {
        let rule = RuleRow {
            kind: "rule".into(),
            table: Some("ip nat".into()),
            chain: Some("KUBE-SERVICES".into()),
            target: Some("KUBE-SVC-A".into()),
            ..RuleRow::default()
        };
        let snapshot = SnapshotRow { format: "nft-text".into(), ..SnapshotRow::default() };
        let found = Reasons::of_state(&[rule], &[snapshot], &|_| String::new());
        assert_eq!(found.decide(None).0, "kube-proxy-iptables");
    }
}
