//! Between which clocks an offset is asked for, over which edges: found once, since every event of a run asks.

use std::sync::OnceLock;

use super::{Edge, pieces};

/// An interval with ends that may be open, ns.
type Interval = (Option<i64>, Option<i64>);

/// One edge of a route; `a` and `b` are places among its domains, the first 0, the last 1.
#[derive(Clone, Debug)]
struct Hop {
    edge: usize,
    a: usize,
    b: usize,
    /// Place of the edge's own clock `from` among all domains.
    from: usize,
}

/// All edges that a path from one domain to another can take.
#[derive(Clone, Debug, Default)]
pub struct Route {
    hops: Vec<Hop>,
    domains: usize,
    /// Whether an edge of it drifted or stepped: else its offset is the same at any time.
    pub moves: bool,
}

impl Route {
    /// `ends` are the places of the clocks `from` and `to` of each edge.
    fn new(start: usize, end: usize, domains: usize, edges: &[Edge], ends: &[Option<(usize, usize)>]) -> Route {
        let mut local = vec![None; domains];
        (local[start], local[end]) = (Some(0), Some(1));
        let mut count = 2;
        let mut place = |at: usize| {
            *local[at].get_or_insert_with(|| {
                count += 1;
                count - 1
            })
        };
        let mut route = Route::default();
        for edge in on_paths(start, end, domains, ends) {
            let Some((from, to)) = ends[edge] else { continue };
            route.hops.push(Hop { edge, a: place(from), b: place(to), from });
            route.moves |= !edges[edge].pieces.is_empty();
        }
        route.domains = count;
        route
    }

    /// The offset over the route for moments between `earliest` and `latest` on its first clock. `then` gives the
    /// offset from that clock to another one at any time.
    pub fn offset(&self, edges: &[Edge], earliest: i64, latest: i64, then: impl Fn(usize) -> Interval) -> Interval {
        let mut known: Vec<Interval> = vec![(None, None); self.domains];
        known[0] = (Some(0), Some(0));
        let own: Vec<Interval> =
            self.hops.iter().map(|hop| at(&edges[hop.edge], earliest, latest, then(hop.from))).collect();
        let add = |a: Option<i64>, b: Option<i64>| a.zip(b).map(|(a, b)| a.saturating_add(b));
        for _ in 0..self.domains {
            let mut moved = false;
            for (hop, (low, high)) in self.hops.iter().zip(&own) {
                for (a, b, low, high) in
                    [(hop.a, hop.b, *low, *high), (hop.b, hop.a, high.map(|at| -at), low.map(|at| -at))]
                {
                    let (new_low, new_high) = (add(known[a].0, low), add(known[a].1, high));
                    if new_low > known[b].0 {
                        (known[b].0, moved) = (new_low, true);
                    }
                    if new_high.is_some_and(|new| known[b].1.is_none_or(|old| new < old)) {
                        (known[b].1, moved) = (new_high, true);
                    }
                }
            }
            if !moved {
                break;
            }
        }
        known[1]
    }
}

/// The edges that a path from one domain to another, without turning back, can take, in their order: those of the biconnected
/// component that an edge between the two would be in (J. Hopcroft, R. Tarjan: Efficient algorithms for graph
/// manipulation, 1973).
fn on_paths(start: usize, end: usize, domains: usize, ends: &[Option<(usize, usize)>]) -> Vec<usize> {
    struct Frame {
        domain: usize,
        via: Option<usize>,
        next: usize,
        /// How many edges were kept when it was entered.
        kept: usize,
    }
    let mut of_domain: Vec<Vec<(usize, usize)>> = vec![Vec::new(); domains];
    for (edge, own) in ends.iter().enumerate() {
        let Some((a, b)) = *own else { continue };
        of_domain[a].push((edge, b));
        of_domain[b].push((edge, a));
    }
    // The order in which domains are found, from 1, and the earliest one that is reached from behind each.
    let (mut order, mut reached) = (vec![0; domains], vec![0; domains]);
    (order[start], order[end], reached[end]) = (1, 2, 2);
    let mut count = 2;
    let mut kept = Vec::new();
    let mut frames = vec![Frame { domain: end, via: None, next: 0, kept: 0 }];
    while let Some(frame) = frames.last_mut() {
        let at = frame.domain;
        if let Some((edge, other)) = of_domain[at].get(frame.next).copied() {
            frame.next += 1;
            if order[other] == 0 {
                count += 1;
                (order[other], reached[other]) = (count, count);
                frames.push(Frame { domain: other, via: Some(edge), next: 0, kept: kept.len() });
                kept.push(edge);
            } else if order[other] < order[at] && frame.via != Some(edge) {
                kept.push(edge);
                reached[at] = reached[at].min(order[other]);
            }
            continue;
        }
        let own = frame.kept;
        frames.pop();
        if let Some(before) = frames.last() {
            reached[before.domain] = reached[before.domain].min(reached[at]);
            // Nothing behind it leads past the domain it hangs on.
            if reached[at] >= order[before.domain] {
                kept.truncate(own);
            }
        }
    }
    kept.sort_unstable();
    kept
}

/// An edge's interval at moments that are `then` away from its own clock.
fn at(edge: &Edge, earliest: i64, latest: i64, then: Interval) -> Interval {
    let (false, (Some(low), Some(high))) = (edge.pieces.is_empty(), then) else { return (edge.low, edge.high) };
    let (low, high) = pieces::within(&edge.pieces, earliest.saturating_add(low), latest.saturating_add(high));
    (low.max(edge.low), [high, edge.high].into_iter().flatten().min())
}

/// The routes of a graph, each found when it is first asked for.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    ends: Vec<Option<(usize, usize)>>,
    domains: usize,
    found: Vec<OnceLock<Vec<OnceLock<Route>>>>,
    /// Whether any edge drifted or stepped.
    pub moves: bool,
}

impl Routes {
    /// `place` gives the place of a domain.
    pub fn new(domains: usize, edges: &[Edge], place: impl Fn(&str) -> Option<usize>) -> Routes {
        Routes {
            ends: edges.iter().map(|edge| place(&edge.from).zip(place(&edge.to))).collect(),
            domains,
            found: vec![OnceLock::new(); domains],
            moves: edges.iter().any(|edge| !edge.pieces.is_empty()),
        }
    }

    /// The route from one domain to another; both are places of the graph that this was made for.
    pub fn between(&self, start: usize, end: usize, edges: &[Edge]) -> &Route {
        let own = self.found[start].get_or_init(|| vec![OnceLock::new(); self.domains]);
        own[end].get_or_init(|| Route::new(start, end, self.domains, edges, &self.ends))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_holds_what_lies_on_a_path_and_nothing_else() {
        // A triangle 0 1 2, a bridge to 3, a square 3 4 5 6, a triangle 1 7 8 and a leaf 9 beside the way.
        let edges = [(0, 1), (1, 2), (0, 2), (2, 3), (3, 4), (4, 5), (5, 6), (6, 3), (1, 7), (7, 8), (8, 1), (9, 4)];
        let ends: Vec<_> = edges.into_iter().map(Some).chain([None]).collect();
        let on = |start, end| on_paths(start, end, 11, &ends);
        assert_eq!(on(0, 5), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(on(5, 0), on(0, 5));
        assert_eq!(on(0, 3), [0, 1, 2, 3]);
        assert_eq!(on(0, 1), [0, 1, 2]);
        assert_eq!(on(9, 8), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
        assert_eq!(on(0, 10), [0; 0], "nothing leads there");
    }

    /// Against all simple paths, tried one by one, in many small graphs.
    #[test]
    fn routes_are_all_simple_paths() {
        fn walk(
            at: usize,
            end: usize,
            ends: &[Option<(usize, usize)>],
            path: &mut Vec<(usize, usize)>,
            found: &mut [bool],
        ) {
            if at == end {
                path.iter().for_each(|(edge, _)| found[*edge] = true);
                return;
            }
            for (edge, own) in ends.iter().enumerate() {
                let Some((a, b)) = *own else { continue };
                let other = if a == at {
                    b
                } else if b == at {
                    a
                } else {
                    continue;
                };
                if path.iter().all(|(_, before)| *before != other) {
                    path.push((edge, at));
                    walk(other, end, ends, path, found);
                    path.pop();
                }
            }
        }
        let mut state = 7_u64;
        for _ in 0..300 {
            let mut ends = Vec::new();
            for a in 0..6 {
                for b in a + 1..6 {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    if state >> 33 & 3 == 0 {
                        ends.push(Some((a, b)));
                    }
                }
            }
            let mut found = vec![false; ends.len()];
            walk(0, 5, &ends, &mut Vec::new(), &mut found);
            let all: Vec<usize> = (0..ends.len()).filter(|edge| found[*edge]).collect();
            assert_eq!(on_paths(0, 5, 6, &ends), all, "{ends:?}");
        }
    }
}
