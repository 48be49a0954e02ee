//! Looks at the entrance alone: `iptables -L KUBE-SERVICES`, `nft list map ip kube-proxy service-ips`.
//!
//! The entrance has one rule a Service port. When a Service scales it does not change (kube-proxy may write it anew, in
//! another order, with its counters at zero): where its endpoints go is told by the chain that its rule leads to.
//!
//! ```text
//! KUBE-SERVICES ─→ KUBE-SVC-x ─→ KUBE-SEP-y          service-ips ─→ service-x ─→ endpoint-y
//! └─ captured ─┘   └── what changes ──┘               └ captured ┘  └── what changes ──┘
//! ```

use std::collections::BTreeMap;

use syncline_schema::dataplane::RuleRow;

use super::dataplane::{chain_of_a_service, is_entrance};
use crate::clock::{Evidence, Finding};

/// Streams that hold the entrance and nothing behind it, with what it leads to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entrances {
    all: Vec<Entrance>,
}

#[derive(Clone, Debug, PartialEq)]
struct Entrance {
    /// Name of the chain or map that was captured.
    name: String,
    iptables: bool,
    /// By chain that a rule leads to: Service as its comment names it, and the rule.
    leads: BTreeMap<String, (Option<String>, Evidence)>,
}

impl Entrances {
    /// Finds them among the rules of all streams.
    pub fn of(rules: &[RuleRow<'static>], path: &dyn Fn(i32) -> String) -> Self {
        let mut streams: BTreeMap<i32, Option<Entrance>> = BTreeMap::new();
        for rule in rules {
            let (chain, target) =
                (rule.chain.as_deref().unwrap_or_default(), rule.target.as_deref().unwrap_or_default());
            let entry = streams.entry(rule.stream);
            if chain_of_a_service(chain) && matches!(rule.kind.as_ref(), "rule" | "backend") {
                entry.and_modify(|one| *one = None).or_insert(None);
            } else if is_entrance(chain) && chain_of_a_service(target) {
                let fresh = || {
                    let iptables = chain.starts_with("KUBE-");
                    Some(Entrance { name: chain.to_owned(), iptables, leads: BTreeMap::new() })
                };
                let Some(entrance) = entry.or_insert_with(fresh) else { continue };
                let evidence = Evidence {
                    path: path(rule.source).into(),
                    record: rule.record,
                    what: format!("{chain} leads to {target}").into(),
                    ..Evidence::default()
                };
                let service = rule.service.as_deref().map(str::to_owned);
                entrance.leads.entry(target.to_owned()).or_insert((service, evidence));
            }
        }
        Self { all: streams.into_values().flatten().collect() }
    }

    /// What a reader must know where an action changes a Service and nothing else was looked at. `hints` are words that may
    /// name the Service: itself, or the command's object.
    pub fn finding(&self, hints: &[&str]) -> Option<Finding> {
        let first = self.all.first()?;
        let named = |service: &str| {
            let plain = service.split(':').next().unwrap_or(service);
            let name = plain.rsplit('/').next().unwrap_or(plain);
            hints.iter().any(|hint| *hint == plain || *hint == name)
        };
        let leads = || self.all.iter().flat_map(|one| &one.leads);
        let own = leads().find(|(_, (service, _))| service.as_deref().is_some_and(named));
        let list = |chain: &str| {
            if first.iptables {
                format!("iptables -t nat -L {chain} -n -v -x")
            } else {
                format!("nft list chain ip kube-proxy {chain}")
            }
        };
        let (chain, evidence) = match own {
            Some((chain, (service, evidence))) => {
                let service = service.as_deref().unwrap_or_default();
                (format!("that of {service} is {chain}: `{}`", list(chain)), vec![evidence.clone()])
            }
            None => {
                let some: Vec<String> = leads()
                    .take(3)
                    .map(|(chain, (service, _))| format!("{chain} ({})", service.as_deref().unwrap_or("no comment")))
                    .collect();
                let evidence = leads().take(3).map(|(_, (_, evidence))| evidence.clone()).collect();
                let more = leads().count().saturating_sub(some.len());
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                (format!("they are {}{more}: `{}`", some.join(", "), list("<chain>")), evidence)
            }
        };
        Some(Finding {
            title: format!("{} alone was captured: it proves nothing of propagation", first.name),
            detail: format!(
                "{} holds one rule for each Service port and does not change when a Service scales (only the order of its rules and its counters do); endpoints stand in the chains that it leads to, and {chain} in the loop would show them",
                first.name
            ),
            evidence,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(stream: i32, chain: &'static str, target: &'static str, service: &'static str) -> RuleRow<'static> {
        RuleRow {
            stream,
            record: 3,
            kind: "rule".into(),
            chain: Some(chain.into()),
            target: Some(target.into()),
            service: Some(service.into()),
            ..RuleRow::default()
        }
    }

    #[test]
    fn the_chain_that_would_show_endpoints_is_named() {
        let rules = [
            rule(0, "KUBE-SERVICES", "KUBE-SVC-A", "default/web:http"),
            rule(0, "KUBE-SERVICES", "KUBE-SVC-B", "default/test:http"),
        ];
        let found = Entrances::of(&rules, &|_| "x".to_owned());
        let finding = found.finding(&["test"]).unwrap();
        assert!(finding.title.starts_with("KUBE-SERVICES alone"), "{}", finding.title);
        assert!(finding.detail.contains("iptables -t nat -L KUBE-SVC-B "), "{}", finding.detail);
        assert_eq!(finding.evidence.len(), 1);
        let open = found.finding(&[]).unwrap();
        assert!(open.detail.contains("KUBE-SVC-A (default/web:http), KUBE-SVC-B"), "{}", open.detail);
        let whole = [rules[0].clone(), rule(0, "KUBE-SVC-A", "KUBE-SEP-C", "default/web:http")];
        assert_eq!(Entrances::of(&whole, &|_| String::new()).finding(&[]).map(|one| one.title), None);
    }
}
