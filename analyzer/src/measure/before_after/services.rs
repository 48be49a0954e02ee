//! New connections of a Service between two listings: the packets of the rules that send them to its endpoints.
//!
//! ```text
//! KUBE-SERVICES → KUBE-SVC-A → KUBE-SEP-1: DNAT     in table nat each connection's first packet passes each of these once:
//!                            ↘ KUBE-SEP-2: DNAT     the sum over the last ones counts every connection once
//! ```
//!
//! Of a listing of the Service's chain alone the jumps to its endpoints are summed.

use std::collections::{BTreeMap, BTreeSet};

use super::listings::{Entry, Identity, Listing, blank, line, whole};
use super::{BeforeAfter, Kind};
use crate::events::Run;
use crate::math::{Estimate, arithmetic};

/// The rules of one Service that lead to endpoints, in both listings.
#[derive(Default)]
struct Service<'l> {
    before: Vec<&'l Entry>,
    after: Vec<&'l Entry>,
    /// Rules of the first listing that the second lacks: what they counted since is not known.
    gone: usize,
    /// Rules that count less than before: their chain was rewritten.
    fell: usize,
}

/// One row for each Service whose connections were counted.
pub fn connections(
    run: &Run,
    before: &Listing,
    after: &Listing,
    seconds: Estimate,
    notes: &[String],
    found: &mut BeforeAfter,
) {
    let mut services: BTreeMap<&str, Service<'_>> = BTreeMap::new();
    let has = |identity: &Identity, start: &str| identity.2.split_whitespace().any(|word| word.starts_with(start));
    let both = || before.entries.iter().chain(&after.entries);
    let by_address: BTreeSet<&str> =
        both().filter(|(identity, _)| has(identity, "DNAT")).map(|(_, entry)| entry.service.as_str()).collect();
    let ends = |identity: &Identity, entry: &Entry| {
        let start = if by_address.contains(entry.service.as_str()) { "DNAT" } else { "KUBE-SEP-" };
        !entry.service.is_empty() && entry.packets.is_some() && has(identity, start)
    };
    for (identity, old) in before.entries.iter().filter(|(identity, entry)| ends(identity, entry)) {
        let service = services.entry(&old.service).or_default();
        service.before.push(old);
        match after.entries.get(identity) {
            None => service.gone += 1,
            Some(new) => service.fell += usize::from(new.packets < old.packets),
        }
    }
    for (_, new) in after.entries.iter().filter(|(identity, entry)| ends(identity, entry)) {
        services.entry(&new.service).or_default().after.push(new);
    }
    let total = |rules: &[&Entry]| rules.iter().filter_map(|rule| rule.packets).sum::<i64>();
    for (name, service) in services {
        let (from, to) = (total(&service.before), total(&service.after));
        if service.before.len() + service.after.len() < 3 || (from == to && service.gone + service.fell == 0) {
            // One rule is its own sum.
            continue;
        }
        let mut change =
            blank(run, Kind::Rule, format!("new connections of {name}: packets of its rules to endpoints"));
        "packets".clone_into(&mut change.unit);
        change.labels = [("service".to_owned(), name.to_owned())].into();
        (change.before, change.after) = (Some(from as f64), Some(to as f64));
        change.seconds = seconds;
        let rules = format!("{} rules before, {} after.", service.before.len(), service.after.len());
        change.notes.push(rules);
        if service.gone + service.fell > 0 {
            change.notes.push(format!(
                "{} rules are gone and {} count less than before: the chains were rewritten in between, so that the sum is unknown.",
                service.gone, service.fell
            ));
        } else {
            change.difference = Estimate::exact((to - from) as f64);
            change.rate = arithmetic::ratio(change.difference, seconds);
        }
        change.notes.extend(notes.iter().cloned());
        let at = |listing: &Listing, rules: &[&Entry], sum: i64| match rules.first() {
            Some(rule) => line(run, listing, rule, format!("{sum} packets of {} rules", rules.len())),
            None => whole(run, listing),
        };
        change.evidence = vec![at(before, &service.before, from), at(after, &service.after, to)];
        found.changes.push(change);
    }
}
