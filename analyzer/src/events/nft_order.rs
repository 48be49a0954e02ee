//! `nft monitor` as a witness of order.
//!
//! kube-proxy replaces the rule of a Service's chain in one transaction, and the monitor shows every such rule in the order
//! in which the kernel took them. It has no time of its own, but what came with one rule came at one moment, and
//! what came with a later rule came later:
//!
//! ```text
//! rule k     a, b      [a.low ─────── a.high]   ∩  [b.low ─── b.high]
//! rule k+1   c            not before either of them can have come, nor they behind it
//! ```
//!
//! Where each line begins with a time (`nft -j monitor | ts %.s`) the reader had it by then: that bounds it from above.
//! An endpoint counts only where the monitor shows it as often as the API does: else which change is which is open.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use polars::prelude::{col, lit};
use syncline_schema::trace::EventRow;

use super::doings::node_of;
use super::{Direction, Episode, Observed, Outcome};
use crate::bundle::Bundle;
use crate::clock::{Evidence, Finding, Graph};

/// An endpoint of a chain: address and port.
type Place = (String, i32);

/// What one rule changed, in the order of the file.
struct Taken {
    added: BTreeSet<Place>,
    removed: BTreeSet<Place>,
    time: Option<i64>,
    clock: String,
    source: i32,
    record: i64,
}

/// Narrows when the episodes of nftables runs were in force.
///
/// # Errors
/// A table that cannot be read.
pub fn narrow(
    bundle: &Bundle,
    clocks: &Graph,
    path: &dyn Fn(i32) -> String,
    episodes: &mut [Episode],
) -> anyhow::Result<Vec<Finding>> {
    let words = ["NFT_ADD", "NFT_CREATE", "NFT_INSERT", "NFT_REPLACE"];
    let wanted = words.into_iter().map(|word| col("event").eq(lit(word))).reduce(|a, b| a.or(b));
    let mut chains: BTreeMap<(String, String), Vec<Taken>> = BTreeMap::new();
    let mut last: HashMap<(i32, String), BTreeSet<Place>> = HashMap::new();
    for row in bundle.rows::<EventRow<'static>>(wanted)? {
        let Some((chain, held)) = rule(&row.text) else { continue };
        let Some(before) = last.insert((row.source, chain.clone()), held.clone()) else { continue };
        let node = node_of(&row.clock).to_owned();
        chains.entry((node, chain)).or_default().push(Taken {
            added: held.difference(&before).cloned().collect(),
            removed: before.difference(&held).cloned().collect(),
            time: row.time,
            clock: row.clock.to_string(),
            source: row.source,
            record: row.record,
        });
    }
    let mut findings = Vec::new();
    for ((node, chain), taken) in &chains {
        // Two monitors of one node are two witnesses; one of them will do.
        let one = taken.first().map_or(-1, |first| first.source);
        let taken: Vec<&Taken> = taken.iter().filter(|rule| rule.source == one).collect();
        let own: Vec<usize> = (0..episodes.len())
            .filter(|at| {
                let episode = &episodes[*at];
                *episode.node == **node && names(chain, &episode.endpoint.service)
            })
            .collect();
        let groups = groups(&taken, &own, episodes);
        match bounds(&taken, &groups, episodes, clocks) {
            Some(bounds) => apply(&taken, &groups, &bounds, episodes, path),
            None => findings.push(Finding {
                title: format!("nft monitor shows changes of {chain} in another order than the snapshots"),
                detail: "what it shows was not used: a capture lost lines, or a clock is wrong".to_owned(),
                evidence: taken.iter().take(2).map(|rule| cite(rule, path)).collect(),
            }),
        }
    }
    Ok(findings)
}

fn cite(rule: &Taken, path: &dyn Fn(i32) -> String) -> Evidence {
    Evidence {
        path: path(rule.source).into(),
        record: rule.record,
        what: "the kernel took the Service's new rule".into(),
        ..Evidence::default()
    }
}

/// Whether a chain is that of a Service: `service-JKB34KST-default/test/tcp/http`.
fn names(chain: &str, service: &str) -> bool {
    let named = chain.splitn(3, '-').nth(2).unwrap_or_default();
    named.strip_prefix(service).is_some_and(|rest| rest.starts_with('/'))
}

/// The Service chain that a line adds a rule to, and the endpoints in the rule.
fn rule(text: &str) -> Option<(String, BTreeSet<Place>)> {
    if text.starts_with('{') {
        let line: serde_json::Value = serde_json::from_str(text).ok()?;
        let rule = line.as_object()?.values().next()?.get("rule")?;
        let chain = rule.get("chain")?.as_str().filter(|chain| chain.starts_with("service-"))?;
        let mut held = BTreeSet::new();
        collect(rule.get("expr")?, &mut held);
        return (!held.is_empty()).then(|| (chain.to_owned(), held));
    }
    // add rule ip kube-proxy service-X… meta l4proto tcp dnat ip to numgen random mod 2 map { 0 : 10.0.0.1 . 8080, … }
    let words: Vec<&str> = text.split([' ', ',', '{', '}']).filter(|word| !word.is_empty()).collect();
    let object = words.iter().position(|word| *word == "rule").filter(|at| *at == 1)?;
    let chain = words.get(object + 3).filter(|chain| chain.starts_with("service-"))?;
    let held = words.windows(3).filter(|three| three[1] == ".");
    let held = held.filter_map(|three| Some((address(three[0])?, three[2].parse().ok()?)));
    let held: BTreeSet<Place> = held.collect();
    (!held.is_empty()).then(|| ((*chain).to_owned(), held))
}

fn address(text: &str) -> Option<String> {
    text.parse::<std::net::IpAddr>().ok().map(|address| address.to_string())
}

/// Every `{"concat": ["10.244.0.121", 8080]}` in an expression.
fn collect(value: &serde_json::Value, held: &mut BTreeSet<Place>) {
    match value {
        serde_json::Value::Object(map) => {
            if let Some([first, second]) = map.get("concat").and_then(|pair| pair.as_array()).map(Vec::as_slice)
                && let (Some(address), Some(port)) = (first.as_str().and_then(address), second.as_i64())
            {
                held.insert((address, i32::try_from(port).unwrap_or(-1)));
            }
            map.values().for_each(|value| collect(value, held));
        }
        serde_json::Value::Array(list) => list.iter().for_each(|value| collect(value, held)),
        _ => {}
    }
}

/// For each rule the episodes that it answers.
fn groups(taken: &[&Taken], own: &[usize], episodes: &[Episode]) -> Vec<Vec<usize>> {
    let mut shown: HashMap<(&Place, Direction), Vec<usize>> = HashMap::new();
    for (at, rule) in taken.iter().enumerate() {
        for (set, direction) in [(&rule.added, Direction::Added), (&rule.removed, Direction::Removed)] {
            for place in set {
                shown.entry((place, direction)).or_default().push(at);
            }
        }
    }
    let mut wanted: HashMap<(Place, Direction), Vec<usize>> = HashMap::new();
    for at in own {
        let Episode { endpoint, direction, .. } = &episodes[*at];
        wanted.entry(((endpoint.address.clone(), endpoint.port), *direction)).or_default().push(*at);
    }
    let mut found = vec![Vec::new(); taken.len()];
    for ((place, direction), mut all) in wanted {
        all.sort_by_key(|at| episodes[*at].number);
        let Some(rules) = shown.get(&(&place, direction)).filter(|rules| rules.len() == all.len()) else { continue };
        for (rule, episode) in rules.iter().zip(all) {
            if episodes[episode].outcome == Outcome::Seen {
                found[*rule].push(episode);
            }
        }
    }
    found
}

type Bounds = Vec<(Option<i64>, Option<i64>)>;

/// When each rule was taken; `None` where the order contradicts what was seen.
fn bounds(taken: &[&Taken], groups: &[Vec<usize>], episodes: &[Episode], clocks: &Graph) -> Option<Bounds> {
    let seen = |at: &usize| episodes[*at].dataplane.as_deref();
    let clock = groups.iter().flatten().find_map(seen).map(|one| one.clock.clone()).unwrap_or_default();
    let mut found: Bounds = Vec::with_capacity(taken.len());
    let mut latest: Option<i64> = None;
    for (rule, group) in taken.iter().zip(groups) {
        let own: Vec<&Observed> = group.iter().filter_map(seen).filter(|one| one.clock == clock).collect();
        latest = latest.max(own.iter().filter_map(|one| one.low).max());
        let read = rule.time.and_then(|time| {
            let offset = clocks.offset_within(&rule.clock, &clock, Some(time), Some(time))?;
            Some(time + offset.high)
        });
        found.push((latest, own.iter().filter_map(|one| one.high).chain(read).min()));
    }
    let mut earliest: Option<i64> = None;
    for (low, high) in found.iter_mut().rev() {
        earliest = [earliest, *high].into_iter().flatten().min();
        *high = earliest;
        if low.zip(*high).is_some_and(|(low, high)| low > high) {
            return None;
        }
    }
    Some(found)
}

fn apply(
    taken: &[&Taken],
    groups: &[Vec<usize>],
    bounds: &Bounds,
    episodes: &mut [Episode],
    path: &dyn Fn(i32) -> String,
) {
    for ((rule, group), (low, high)) in taken.iter().zip(groups).zip(bounds) {
        let mut known: HashMap<usize, Arc<Observed>> = HashMap::new();
        for at in group {
            let Some(seen) = episodes[*at].dataplane.clone() else { continue };
            let new = ((*low).max(seen.low), [*high, seen.high].into_iter().flatten().min());
            if new == (seen.low, seen.high) {
                continue;
            }
            let narrowed = known.entry(Arc::as_ptr(&seen) as usize).or_insert_with(|| {
                let mut one = (*seen).clone();
                (one.low, one.high) = new;
                one.witness = format!("{} ∩ nft-monitor", one.witness);
                one.evidence.push(cite(rule, path));
                Arc::new(one)
            });
            episodes[*at].dataplane = Some(Arc::clone(narrowed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Endpoint, Phase};

    const CHAIN: &str = "service-JKB34KST-default/test/tcp/http";

    fn line(addresses: &[&str]) -> String {
        let pairs: Vec<String> =
            addresses.iter().enumerate().map(|(at, one)| format!(r#"[{at}, {{"concat": ["{one}", 8080]}}]"#)).collect();
        format!(
            r#"{{"add": {{"rule": {{"family": "ip", "table": "kube-proxy", "chain": "{CHAIN}", "handle": 70, "expr": [{{"dnat": {{"family": "ip", "addr": {{"map": {{"data": {{"set": [{}]}}}}}}}}}}]}}}}}}"#,
            pairs.join(", ")
        )
    }

    fn taken(before: &[&str], after: &[&str], record: i64, time: Option<i64>) -> Taken {
        let set = |all: &[&str]| rule(&line(all)).unwrap().1;
        let (before, after) = (set(before), set(after));
        Taken {
            added: after.difference(&before).cloned().collect(),
            removed: before.difference(&after).cloned().collect(),
            time,
            clock: "n".to_owned(),
            source: 0,
            record,
        }
    }

    fn episode(address: &str, low: i64, high: i64) -> Episode {
        let seen = Observed {
            low: Some(low),
            high: Some(high),
            clock: "n".to_owned(),
            witness: "nft-json".to_owned(),
            evidence: Vec::new(),
        };
        Episode {
            endpoint: Arc::new(Endpoint {
                service: "default/test".to_owned(),
                address: address.to_owned(),
                port: 8080,
                protocol: "TCP".to_owned(),
                target_uid: String::new(),
                target: String::new(),
            }),
            node: "n".into(),
            direction: Direction::Added,
            number: 0,
            committed: Default::default(),
            dataplane: Some(Arc::new(seen)),
            outcome: Outcome::Seen,
            stages: Default::default(),
            phase: Some(Phase::Action),
        }
    }

    fn narrowed(taken: &[Taken], mut episodes: Vec<Episode>) -> Option<Vec<(i64, i64)>> {
        let taken: Vec<&Taken> = taken.iter().collect();
        let groups = groups(&taken, &(0..episodes.len()).collect::<Vec<_>>(), &episodes);
        let bounds = bounds(&taken, &groups, &episodes, &Graph::default())?;
        apply(&taken, &groups, &bounds, &mut episodes, &|_| "nft/monitor.jsonl".to_owned());
        let of = |one: &Episode| one.dataplane.as_ref().and_then(|seen| seen.low.zip(seen.high)).unwrap();
        Some(episodes.iter().map(of).collect())
    }

    #[test]
    fn a_rule_tells_its_chain_and_endpoints_in_both_notations() {
        let places = BTreeSet::from([("10.0.0.1".to_owned(), 8080), ("10.0.0.2".to_owned(), 8080)]);
        assert_eq!(rule(&line(&["10.0.0.1", "10.0.0.2"])), Some((CHAIN.to_owned(), places.clone())));
        let text = format!(
            "add rule ip kube-proxy {CHAIN} meta l4proto tcp dnat ip to numgen random mod 2 map {{ 0 : 10.0.0.1 . 8080, 1 : 10.0.0.2 . 8080 }}"
        );
        assert_eq!(rule(&text), Some((CHAIN.to_owned(), places)));
        assert!(names(CHAIN, "default/test") && !names(CHAIN, "default/tes"));
        assert_eq!(rule(r#"{"add": {"chain": {"family": "ip", "table": "kube-proxy", "name": "x"}}}"#), None);
    }

    #[test]
    fn what_came_with_one_rule_came_at_one_moment() {
        let all = [taken(&["10.0.0.9"], &["10.0.0.9", "10.0.0.1", "10.0.0.2"], 5, None)];
        let found = narrowed(&all, vec![episode("10.0.0.1", 100, 300), episode("10.0.0.2", 200, 400)]);
        assert_eq!(found, Some(vec![(200, 300); 2]));
    }

    #[test]
    fn what_came_with_a_later_rule_came_later() {
        let all = [
            taken(&["10.0.0.9"], &["10.0.0.9", "10.0.0.1"], 5, None),
            taken(&["10.0.0.9", "10.0.0.1"], &["10.0.0.9", "10.0.0.1", "10.0.0.2"], 6, Some(350)),
        ];
        let found = narrowed(&all, vec![episode("10.0.0.1", 150, 500), episode("10.0.0.2", 100, 400)]);
        assert_eq!(found, Some(vec![(150, 350), (150, 350)]), "the reader had the second by 350");
    }

    #[test]
    fn an_order_that_cannot_be_bounds_nothing() {
        let all = [
            taken(&["10.0.0.9"], &["10.0.0.9", "10.0.0.1"], 5, None),
            taken(&["10.0.0.9", "10.0.0.1"], &["10.0.0.9", "10.0.0.1", "10.0.0.2"], 6, None),
        ];
        assert_eq!(narrowed(&all, vec![episode("10.0.0.1", 500, 600), episode("10.0.0.2", 100, 200)]), None);
    }
}
