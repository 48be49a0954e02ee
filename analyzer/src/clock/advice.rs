//! Which reading would tighten the path between two clocks most.

use serde::Serialize;

use super::{Graph, Offset};

/// One more reading of two clocks, and what it would give.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Advice {
    /// The path that the tightest offset rests on, clock by clock.
    pub path: Vec<String>,
    /// The two clocks of the edge to read, of those on the path.
    pub between: [String; 2],
    /// How wide that edge is, ns; null where it is open.
    pub edge_width: Option<i64>,
    /// How wide the offset of the path is now, ns; null where nothing relates its ends.
    pub width: Option<i64>,
    /// How wide it would be, were that edge known exactly: the width of the new reading comes on top. Null where the
    /// clocks are not related at all: then the new reading is the whole of it.
    pub left: Option<i64>,
    /// What to capture.
    pub capture: String,
}

/// Widths up to this need no other anchor: a reading is no better.
const TIGHT: i64 = 20_000;

impl Graph {
    /// The reading that would narrow the offset between two clocks most; `None` where it is as narrow as readings are.
    pub fn advice(&self, from: &str, to: &str) -> Option<Advice> {
        let Some(offset) = self.offset(from, to) else { return Some(self.unrelated(from, to)) };
        let width = offset.high - offset.low;
        let path = self.path(from, to)?;
        if width <= TIGHT {
            return None;
        }
        let best = path
            .windows(2)
            .filter_map(|hop| {
                let own = self.offset(&hop[0], &hop[1])?;
                Some((self.pinned(from, to, hop, own)?, own.high - own.low, hop))
            })
            .min_by_key(|(left, wide, _)| (*left, std::cmp::Reverse(*wide)))?;
        let (left, wide, hop) = best;
        Some(Advice {
            between: [hop[0].clone(), hop[1].clone()],
            edge_width: Some(wide),
            width: Some(width),
            left: Some(left),
            capture: capture(&hop[0], &hop[1]),
            path,
        })
    }

    fn unrelated(&self, from: &str, to: &str) -> Advice {
        // The gap lies between what each of the two is related to; readings of one node's clocks close it there.
        let near = |domain: &str, other: &str| {
            let node = domain.split('/').next().unwrap_or(domain);
            let same = other.split('/').next() == Some(node);
            if !same && self.offset(domain, node).is_some() { node.to_owned() } else { domain.to_owned() }
        };
        let between = [near(from, to), near(to, from)];
        let edge = self.edges.iter().find(|edge| {
            [&edge.from, &edge.to] == [&between[0], &between[1]] || [&edge.to, &edge.from] == [&between[0], &between[1]]
        });
        let capture = match edge {
            Some(edge) if edge.low.is_some() != edge.high.is_some() => {
                format!("one side is known; the other: {}", capture(&between[0], &between[1]))
            }
            _ => capture(&between[0], &between[1]),
        };
        Advice {
            path: vec![from.to_owned(), to.to_owned()],
            between,
            edge_width: None,
            width: None,
            left: None,
            capture,
        }
    }

    /// Width of an offset, were one edge known to be the middle of what it is.
    fn pinned(&self, from: &str, to: &str, hop: &[String], own: Offset) -> Option<i64> {
        let middle = own.low + (own.high - own.low) / 2;
        let upper = |from: &str, to: &str, by: i64| {
            let at = |name: &str| self.places.get(name).copied();
            let reach = |a: &str, b: &str| *self.reach.get(at(a)?)?.get(at(b)?)?;
            let (first, second) = (hop.first()?, hop.get(1)?);
            let there = reach(from, first).zip(reach(second, to)).map(|(a, b)| a + by + b);
            let back = reach(from, second).zip(reach(first, to)).map(|(a, b)| a - by + b);
            [reach(from, to), there, back].into_iter().flatten().min()
        };
        Some((upper(from, to, middle)? + upper(to, from, middle)?).max(0))
    }

    /// The clocks on the path that gives the upper end of an offset.
    pub(super) fn path(&self, from: &str, to: &str) -> Option<Vec<String>> {
        let (mut at, end) = (*self.places.get(from)?, *self.places.get(to)?);
        let mut found = vec![from.to_owned()];
        while at != end && found.len() <= self.domains.len() {
            let left = self.reach[at][end]?;
            let next = self.edges.iter().find_map(|edge| {
                let (a, b) = (*self.places.get(&edge.from)?, *self.places.get(&edge.to)?);
                let (next, cost) = match at {
                    _ if at == a => (b, edge.high?),
                    _ if at == b => (a, -edge.low?),
                    _ => return None,
                };
                let fits =
                    !found.contains(&self.domains[next]) && self.reach[next][end].map(|rest| cost + rest) == Some(left);
                fits.then_some(next)
            })?;
            found.push(self.domains[next].clone());
            at = next;
        }
        Some(found)
    }
}

/// What relates two clocks best.
fn capture(a: &str, b: &str) -> String {
    let node = |name: &str| name.split('/').next().unwrap_or(name).to_owned();
    if a.contains('/') || b.contains('/') {
        let of = if a.contains('/') { node(a) } else { node(b) };
        return format!(
            "read CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_REALTIME, CLOCK_MONOTONIC of {of} into clock.tsv, at the start, the end and every few seconds between"
        );
    }
    if a == "prometheus" || b == "prometheus" {
        let other = if a == "prometheus" { b } else { a };
        return format!(
            "`chronyc -c tracking` on the machines of prometheus and {other}, or scrape node_time_seconds of {other}"
        );
    }
    format!(
        "`chronyc -c tracking` on the machines of {a} and {b} at the start and the end, or same_host = [\"{a}\", \"{b}\"] in capture.toml if they are one machine"
    )
}

#[cfg(test)]
mod tests {
    use super::super::{Constraint, Evidence};
    use super::*;

    fn edge(from: &str, to: &str, low: Option<i64>, high: Option<i64>) -> Constraint {
        let evidence = Evidence::default();
        let kind = "reading".to_owned();
        Constraint { from: from.to_owned(), to: to.to_owned(), low, high, kind, evidence, ..Constraint::default() }
    }

    fn graph(all: &[Constraint]) -> Graph {
        Graph::build(["apiserver", "n", "n/boottime", "operator"].map(str::to_owned).to_vec(), all)
    }

    #[test]
    fn the_widest_edge_of_the_path_is_named_and_what_would_be_left() {
        let clocks = graph(&[
            edge("n", "n/boottime", Some(-2_000), Some(2_000)),
            edge("apiserver", "n", Some(0), Some(900_000_000)),
        ]);
        let advice = clocks.advice("apiserver", "n/boottime").unwrap();
        assert_eq!(advice.path, ["apiserver", "n", "n/boottime"]);
        assert_eq!(advice.between, ["apiserver", "n"].map(str::to_owned));
        assert_eq!((advice.width, advice.left), (Some(900_004_000), Some(4_000)));
        assert!(advice.capture.contains("chronyc"), "{}", advice.capture);
        assert_eq!(clocks.advice("n", "n/boottime"), None, "no reading is better");
    }

    #[test]
    fn an_open_side_is_named() {
        let clocks = graph(&[edge("n", "n/boottime", Some(0), Some(10)), edge("apiserver", "n", None, Some(5))]);
        let advice = clocks.advice("apiserver", "n/boottime").unwrap();
        assert_eq!(advice.width, None);
        assert_eq!(advice.between, ["apiserver", "n"].map(str::to_owned));
        assert!(advice.capture.starts_with("one side is known"), "{}", advice.capture);
    }
}
