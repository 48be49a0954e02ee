//! Intersection of the evidence of an edge, and shortest paths over edges.
//!
//! An offset interval `[low, high]` from `a` to `b` is two difference constraints: `b − a ≤ high` and `a − b ≤ −low`.
//! The tightest upper end over all paths is a shortest path (Floyd and Warshall), lower ends are those of the way back.

use std::collections::BTreeMap;

use super::{Constraint, Edge, Finding};

/// Kinds of evidence, the strongest first.
const STRENGTH: [&str; 8] =
    ["reading", "statement", "chrony", "request", "lease", "watch", "handler", "object-timestamp"];

fn strength(kind: &str) -> usize {
    STRENGTH.iter().position(|name| *name == kind).unwrap_or(STRENGTH.len())
}

/// Edges of all pairs, and what contradicted.
pub fn intersect(constraints: &[Constraint]) -> (Vec<Edge>, Vec<Finding>) {
    let mut pairs: BTreeMap<(&str, &str), Vec<Constraint>> = BTreeMap::new();
    for one in constraints {
        // One direction for each pair, so that evidence of both meets.
        let (key, one) = if one.from <= one.to {
            ((one.from.as_str(), one.to.as_str()), one.clone())
        } else {
            let turned = Constraint {
                from: one.to.clone(),
                to: one.from.clone(),
                low: one.high.map(|high| -high),
                high: one.low.map(|low| -low),
                ..one.clone()
            };
            ((one.to.as_str(), one.from.as_str()), turned)
        };
        pairs.entry(key).or_default().push(one);
    }
    let mut edges = Vec::new();
    let mut findings = Vec::new();
    for ((from, to), all) in pairs {
        edges.push(one_edge(from, to, &all, &mut findings));
    }
    (edges, findings)
}

fn one_edge(from: &str, to: &str, all: &[Constraint], findings: &mut Vec<Finding>) -> Edge {
    let mut kinds: Vec<&str> = all.iter().map(|one| one.kind.as_str()).collect();
    kinds.sort_by_key(|kind| (strength(kind), *kind));
    kinds.dedup();
    let mut low: Option<(i64, Constraint)> = None;
    let mut high: Option<(i64, Constraint)> = None;
    for kind in kinds {
        let of_kind = || all.iter().filter(|one| one.kind == kind);
        let (mut own_low, mut own_high) = (
            of_kind().filter_map(|one| Some((one.low?, one))).max_by_key(|(low, _)| *low),
            of_kind().filter_map(|one| Some((one.high?, one))).min_by_key(|(high, _)| *high),
        );
        if let (Some((a, lower)), Some((b, upper))) = (own_low, own_high)
            && a > b
        {
            // The clocks moved against each other between two readings: the hull bounds every moment between them.
            findings.push(Finding {
                title: format!("{from} and {to} drifted or stepped"),
                detail: format!(
                    "evidence of the kind {kind} does not intersect by {:.3} ms: the hull is used",
                    (a - b) as f64 / 1e6
                ),
                evidence: vec![lower.evidence.clone(), upper.evidence.clone()],
            });
            own_low = of_kind().filter_map(|one| Some((one.low?, one))).min_by_key(|(low, _)| *low);
            own_high = of_kind().filter_map(|one| Some((one.high?, one))).max_by_key(|(high, _)| *high);
        }
        let new_low = own_low.map_or(low.as_ref().map(|(low, _)| *low), |(own, _)| {
            Some(low.as_ref().map_or(own, |(low, _)| own.max(*low)))
        });
        let new_high = own_high.map_or(high.as_ref().map(|(high, _)| *high), |(own, _)| {
            Some(high.as_ref().map_or(own, |(high, _)| own.min(*high)))
        });
        if let (Some(a), Some(b)) = (new_low, new_high)
            && a > b
        {
            let evidence = [own_low, own_high].into_iter().flatten().map(|(_, one)| one.evidence.clone());
            let stronger = [&low, &high].into_iter().flatten().map(|(_, one)| one.evidence.clone());
            findings.push(Finding {
                title: format!("evidence on {from} and {to} contradicts itself"),
                detail: format!("{kind} leaves no offset that stronger evidence allows (by {:.3} ms): it was not used; a clock stepped, or a statement is wrong", (a - b) as f64 / 1e6),
                evidence: stronger.chain(evidence).collect(),
            });
            continue;
        }
        if let Some((own, one)) = own_low
            && low.as_ref().is_none_or(|(low, _)| own > *low)
        {
            low = Some((own, one.clone()));
        }
        if let Some((own, one)) = own_high
            && high.as_ref().is_none_or(|(high, _)| own < *high)
        {
            high = Some((own, one.clone()));
        }
    }
    Edge {
        from: from.to_owned(),
        to: to.to_owned(),
        low: low.as_ref().map(|(low, _)| *low),
        high: high.as_ref().map(|(high, _)| *high),
        tight: low.into_iter().chain(high).map(|(_, one)| one).collect(),
        count: all.len(),
    }
}

/// Tightest upper ends of the offsets between all domains.
pub fn shortest(domains: &[String], edges: &[Edge]) -> Vec<Vec<Option<i64>>> {
    let count = domains.len();
    let mut reach = vec![vec![None; count]; count];
    for (at, row) in reach.iter_mut().enumerate() {
        row[at] = Some(0);
    }
    let at = |name: &str| domains.iter().position(|domain| domain == name);
    for edge in edges {
        let (Some(from), Some(to)) = (at(&edge.from), at(&edge.to)) else { continue };
        reach[from][to] = edge.high;
        reach[to][from] = edge.low.map(|low| -low);
    }
    for via in 0..count {
        for from in 0..count {
            for to in 0..count {
                let (Some(first), Some(second)) = (reach[from][via], reach[via][to]) else { continue };
                let sum: i64 = i64::saturating_add(first, second);
                if reach[from][to].is_none_or(|known| sum < known) {
                    reach[from][to] = Some(sum);
                }
            }
        }
    }
    reach
}

/// Where going round a cycle gains time, drops its weakest edge and says so. `None` where nothing contradicts.
pub fn break_cycle(domains: &[String], reach: &[Vec<Option<i64>>], edges: &mut Vec<Edge>) -> Option<Finding> {
    let on_cycle = |at: usize| reach[at][at].is_some_and(|gain| gain < 0);
    let gain = (0..domains.len()).filter_map(|at| reach[at][at]).min().filter(|gain| *gain < 0)?;
    let inside = |name: &str| domains.iter().position(|domain| domain == name).is_some_and(on_cycle);
    let weakest = edges
        .iter()
        .enumerate()
        .filter(|(_, edge)| inside(&edge.from) && inside(&edge.to))
        .max_by_key(|(_, edge)| edge.tight.iter().map(|one| strength(&one.kind)).max().unwrap_or(usize::MAX))
        .map(|(at, _)| at)?;
    let edge = edges.remove(weakest);
    Some(Finding {
        title: format!("evidence on {} and {} contradicts that of other clocks", edge.from, edge.to),
        detail: format!(
            "round the cycle {:.3} ms are left over: this edge, the weakest, was not used; a clock stepped, or a statement is wrong",
            -gain as f64 / 1e6
        ),
        evidence: edge.tight.into_iter().map(|one| one.evidence).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Evidence, Graph, Offset};
    use super::*;

    fn constraint(from: &str, to: &str, low: Option<i64>, high: Option<i64>, kind: &str) -> Constraint {
        let evidence = Evidence { path: "x".to_owned(), record: 1, what: kind.to_owned() };
        Constraint { from: from.to_owned(), to: to.to_owned(), low, high, kind: kind.to_owned(), evidence }
    }

    fn graph(constraints: &[Constraint]) -> Graph {
        Graph::build(["a", "b", "c"].map(str::to_owned).to_vec(), constraints)
    }

    #[test]
    fn intervals_intersect_on_an_edge_and_add_up_along_a_path() {
        let clocks = graph(&[
            constraint("a", "b", Some(10), Some(30), "reading"),
            constraint("b", "a", Some(-25), None, "lease"),
            constraint("b", "c", Some(-5), Some(5), "statement"),
        ]);
        assert_eq!(clocks.offset("a", "b"), Some(Offset { low: 10, high: 25 }));
        assert_eq!(clocks.offset("a", "c"), Some(Offset { low: 5, high: 30 }));
        assert_eq!(clocks.offset("c", "a"), Some(Offset { low: -30, high: -5 }));
    }

    #[test]
    fn a_contradiction_round_a_cycle_is_found() {
        let clocks = graph(&[
            constraint("a", "b", Some(0), Some(0), "statement"),
            constraint("b", "c", Some(0), Some(0), "reading"),
            constraint("a", "c", Some(50), Some(60), "lease"),
        ]);
        assert_eq!(clocks.findings.len(), 1, "{:?}", clocks.findings);
        assert_eq!(clocks.offset("a", "c"), Some(Offset::ZERO), "the weakest edge is dropped");
    }

    #[test]
    fn one_sided_evidence_relates_nothing() {
        let clocks = graph(&[constraint("a", "b", None, Some(30), "lease")]);
        assert_eq!(clocks.offset("a", "b"), None);
        assert_eq!(clocks.offset("a", "c"), None);
    }

    #[test]
    fn a_contradiction_is_a_finding_and_never_an_average() {
        let clocks = graph(&[
            constraint("a", "b", Some(0), Some(0), "statement"),
            constraint("a", "b", None, Some(-1_000_000), "lease"),
        ]);
        assert_eq!(clocks.offset("a", "b"), Some(Offset::ZERO));
        assert_eq!(clocks.findings.len(), 1);
        assert_eq!(clocks.findings[0].evidence.len(), 3);
    }
}
