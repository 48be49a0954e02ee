//! Intersection of the evidence of an edge, and shortest paths over edges.
//!
//! An offset interval `[low, high]` from `a` to `b` is two difference constraints: `b − a ≤ high` and `a − b ≤ −low`.
//! The tightest upper end over all paths is a shortest path (Floyd and Warshall), lower ends are those of the way back.

use std::collections::BTreeMap;

use super::pieces::{self, Pieces};
use super::{Constraint, Edge, Finding};

/// Kinds of evidence, the strongest first.
const STRENGTH: [&str; 14] = [
    "reading",
    "statement",
    "only-node",
    "prompt",
    "chrony",
    "adjtimex",
    "request",
    "beacon",
    "lease",
    "watch",
    "handler",
    "gauge",
    "object-timestamp",
    PROGRAMMED,
];
/// Circular where the time from commit to dataplane is asked for.
pub const PROGRAMMED: &str = "programmed";

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
                // One instant on both clocks: the bound is their difference.
                at: one
                    .at
                    .zip(one.high.map(|high| high - one.slack).or(one.low.map(|low| low + one.slack)))
                    .map(|(at, offset)| at + offset),
                ..one.clone()
            };
            ((one.to.as_str(), one.from.as_str()), turned)
        };
        pairs.entry(key).or_default().push(one);
    }
    let mut edges = Vec::new();
    let mut findings = Vec::new();
    for ((from, to), all) in pairs {
        edges.push(match split(from, to, &all, &mut findings) {
            Some(pieces) => stepped_edge(from, to, &all, pieces),
            None => one_edge(from, to, &all, &mut findings),
        });
    }
    (edges, findings)
}

/// An edge of one-sided evidence on both sides of a step.
fn stepped_edge(from: &str, to: &str, all: &[Constraint], pieces: Pieces) -> Edge {
    let (low, high) = pieces.hull();
    let cited = |side: fn(&Constraint) -> Option<i64>| {
        all.iter().find(|one| side(one).is_some() && pieces.evidence.contains(&one.evidence)).cloned()
    };
    let tight = [cited(|one| one.low), cited(|one| one.high)].into_iter().flatten().collect();
    Edge { from: from.to_owned(), to: to.to_owned(), low, high, tight, count: all.len(), pieces: pieces.all }
}

fn one_edge(from: &str, to: &str, all: &[Constraint], findings: &mut Vec<Finding>) -> Edge {
    let mut kinds: Vec<&str> = all.iter().map(|one| one.kind.as_str()).collect();
    kinds.sort_by_key(|kind| (strength(kind), *kind));
    kinds.dedup();
    let mut low: Option<(i64, Constraint)> = None;
    let mut high: Option<(i64, Constraint)> = None;
    let mut pieces: Vec<pieces::Piece> = Vec::new();
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
            let watched = pieces::of_readings(&of_kind().collect::<Vec<_>>());
            let fallback = || vec![lower.evidence.clone(), upper.evidence.clone()];
            findings.push(Finding {
                title: format!("{from} and {to} {}", moved(watched.as_ref())),
                detail: format!(
                    "evidence of the kind {kind} does not intersect by {:.3} ms: {}",
                    (a - b) as f64 / 1e6,
                    watched.as_ref().map_or_else(|| "the hull is used".to_owned(), stretches)
                ),
                evidence: watched.as_ref().map_or_else(fallback, |watched| watched.evidence.clone()),
            });
            let (lowest, highest) = watched.as_ref().map_or((None, None), Pieces::hull);
            if pieces.is_empty() {
                pieces = watched.map(|watched| watched.all).unwrap_or_default();
            }
            own_low = of_kind().filter_map(|one| Some((one.low?, one))).min_by_key(|(low, _)| *low);
            own_high = of_kind().filter_map(|one| Some((one.high?, one))).max_by_key(|(high, _)| *high);
            own_low = own_low.map(|(low, one)| (lowest.map_or(low, |lowest| low.min(lowest)), one));
            own_high = own_high.map(|(high, one)| (highest.map_or(high, |highest| high.max(highest)), one));
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
        pieces,
    }
}

/// What the clocks of an edge did.
fn moved(watched: Option<&Pieces>) -> &'static str {
    match watched {
        None => "drifted or stepped",
        Some(watched) if watched.steps.is_empty() => "drifted apart",
        Some(_) => "stepped against each other",
    }
}

/// Where the steps lie, and what is made of them.
fn stretches(watched: &Pieces) -> String {
    let size =
        |by: i64| if by == 0 { "a step".to_owned() } else { format!("a step of at least {:.3} ms", by as f64 / 1e6) };
    let time = |at: i64| {
        if at < 1_000_000_000_000_000_000 {
            // Boottime and monotonic count from the boot.
            return format!("{:.3} s", at as f64 / 1e9);
        }
        jiff::Timestamp::from_nanosecond(i128::from(at)).map_or_else(|_| at.to_string(), |time| format!("{time:.3}"))
    };
    let steps: Vec<String> = watched
        .steps
        .iter()
        .map(|(from, until, by)| format!("{} between {} and {}", size(*by), time(*from), time(*until)))
        .collect();
    if steps.is_empty() {
        return "each moment is bounded by the readings around it".to_owned();
    }
    format!("{}; each stretch of time is bounded by its own evidence", steps.join(", "))
}

/// One-sided evidence of an edge that no one offset satisfies: split by the fewest steps that explain it.
fn split(from: &str, to: &str, all: &[Constraint], findings: &mut Vec<Finding>) -> Option<Pieces> {
    let one_sided: Vec<&Constraint> = all.iter().filter(|one| one.low.is_none() || one.high.is_none()).collect();
    let low = one_sided.iter().filter_map(|one| one.low).max()?;
    let high = one_sided.iter().filter_map(|one| one.high).min()?;
    if low <= high || one_sided.len() < all.len() {
        return None;
    }
    let found = pieces::fewest_steps(&one_sided)?;
    findings.push(Finding {
        title: format!("{from} and {to} stepped against each other"),
        detail: format!(
            "no one offset satisfies all of the evidence (by {:.3} ms): {}",
            (low - high) as f64 / 1e6,
            stretches(&found)
        ),
        evidence: found.evidence.clone(),
    });
    Some(found)
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
        let evidence = Evidence { path: "x".into(), record: 1, what: kind.into(), ..Evidence::default() };
        Constraint {
            from: from.to_owned(),
            to: to.to_owned(),
            low,
            high,
            kind: kind.to_owned(),
            evidence,
            ..Constraint::default()
        }
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
    fn a_step_between_readings_is_told_where_it_lies() {
        let at = |at: i64, low: i64| Constraint {
            at: Some(at),
            ..constraint("a", "b", Some(low), Some(low + 10), "reading")
        };
        let clocks =
            graph(&[at(0, 0), at(1_000_000_000, 0), at(2_000_000_000, 900_000_000), at(3_000_000_000, 900_000_000)]);
        // In the second of the step each clock may have run 50 µs the other way.
        assert_eq!(clocks.offset("a", "b"), Some(Offset { low: -50_000, high: 900_050_010 }), "at any time");
        let within = |from, to| clocks.offset_within("a", "b", Some(from), Some(to));
        assert_eq!(within(10, 20), Some(Offset { low: 0, high: 10 }));
        assert_eq!(within(2_500_000_000, 2_600_000_000), Some(Offset { low: 900_000_000, high: 900_000_010 }));
        assert_eq!(within(10, 2_500_000_000), clocks.offset("a", "b"));
        // When it is on the other clock is known less well: beyond the last reading the clocks may drift.
        let back = clocks.offset_within("b", "a", Some(3_400_000_000), Some(3_400_000_000)).expect("related");
        assert!(-900_020_020 <= back.low && back.low <= -900_000_010, "{back:?}");
        assert!(-900_000_000 <= back.high && back.high <= -899_979_980, "{back:?}");
        assert!(clocks.findings[0].title.contains("stepped"), "{:?}", clocks.findings);
        assert_eq!(clocks.findings[0].evidence.len(), 2);
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
