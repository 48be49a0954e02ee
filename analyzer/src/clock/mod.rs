//! Clock domains as a graph whose edges are offset intervals with evidence.
//!
//! Convention: the offset *from* `a` *to* `b` is what must be **added** to a time on `a` to get the time on `b`
//! (`time_b = time_a + offset`), known to lie in `[low, high]` ns.

pub mod advice;
pub mod beacons;
mod edges;
pub mod evidence;
mod gauges;
pub mod pieces;
mod prompts;
mod routes;

use std::collections::HashMap;

use arcstr::ArcStr;
use serde::{Deserialize, Serialize};

pub use edges::PROGRAMMED;
use pieces::Piece;
use routes::Routes;

/// Where a figure comes from: a line of a capture, or the range of records and the query that give it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Evidence {
    /// Path of the source within the capture.
    pub path: ArcStr,
    /// Line (or record), from 1; 0 where the whole file is meant.
    pub record: i64,
    /// What stands there, in a few words.
    pub what: ArcStr,
    /// Last record of a range that begins with `record`: the figure is a statistic of many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<i64>,
    /// SQL that gives the figure from the bundle's Parquet files (as DuckDB reads them); empty where the line itself says it.
    #[serde(default, skip_serializing_if = "ArcStr::is_empty")]
    pub query: ArcStr,
}

/// An offset interval, ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offset {
    pub low: i64,
    pub high: i64,
}

impl Offset {
    /// Two clocks known to be one.
    pub const ZERO: Offset = Offset { low: 0, high: 0 };
}

/// One piece of evidence for one edge.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Constraint {
    pub from: String,
    pub to: String,
    /// Lower end of the offset; null where this evidence bounds it from above only.
    pub low: Option<i64>,
    /// Upper end; null where it bounds from below only.
    pub high: Option<i64>,
    /// `statement`, `reading`, `chrony`, `request`, `lease`, … as `evidence` lists them.
    pub kind: String,
    /// When it was so, on the clock `from`, ns; null where it holds at any time.
    pub at: Option<i64>,
    /// How much of each bound is an allowance for drift and steps at other moments.
    #[serde(skip)]
    pub slack: i64,
    pub evidence: Evidence,
}

/// An edge: the intersection of its evidence.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Edge {
    pub from: String,
    pub to: String,
    /// Null where that side is open.
    pub low: Option<i64>,
    pub high: Option<i64>,
    /// The evidence that made each side tight, lower side first, and how many pieces there were in all.
    pub tight: Vec<Constraint>,
    pub count: usize,
    /// Where no one offset fits all of the evidence: the offset over each stretch of time; else empty.
    pub pieces: Vec<Piece>,
}

/// A contradiction in the evidence, or another thing about clocks that a reader must know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    pub title: String,
    pub detail: String,
    pub evidence: Vec<Evidence>,
}

/// The clocks of a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Told")]
pub struct Graph {
    /// All clock domains that any source is stamped by, sorted.
    pub domains: Vec<String>,
    /// Edges with evidence.
    pub edges: Vec<Edge>,
    /// Contradictions and drift.
    pub findings: Vec<Finding>,
    /// `reach[i][j]`: upper end of the offset from domain `i` to domain `j` over all paths.
    #[serde(skip)]
    reach: Vec<Vec<Option<i64>>>,
    /// Place of each domain: every event of a run asks.
    #[serde(skip)]
    places: HashMap<String, usize>,
    #[serde(skip)]
    routes: Routes,
}

/// What a graph says of itself when it is written; the rest follows from it.
#[derive(Deserialize)]
struct Told {
    domains: Vec<String>,
    edges: Vec<Edge>,
    findings: Vec<Finding>,
}

impl From<Told> for Graph {
    fn from(Told { domains, edges, findings }: Told) -> Self {
        let reach = edges::shortest(&domains, &edges);
        Graph::with(domains, edges, findings, reach)
    }
}

impl Graph {
    /// Builds the graph: intersects the evidence of each edge, then adds up along the tightest paths.
    ///
    /// Evidence of one edge that does not intersect is a finding; the edge then rests on its strongest kind alone
    /// (readings before statements before causality), and the rest is named.
    pub fn build(domains: Vec<String>, constraints: &[Constraint]) -> Graph {
        let (mut edges, mut findings) = edges::intersect(constraints);
        let mut reach = edges::shortest(&domains, &edges);
        // Evidence of several edges may contradict itself only around a cycle: the weakest edge of it goes, by name.
        while let Some(finding) = edges::break_cycle(&domains, &reach, &mut edges) {
            findings.push(finding);
            reach = edges::shortest(&domains, &edges);
        }
        Graph::with(domains, edges, findings, reach)
    }

    fn with(domains: Vec<String>, edges: Vec<Edge>, findings: Vec<Finding>, reach: Vec<Vec<Option<i64>>>) -> Graph {
        let places: HashMap<String, usize> = domains.iter().cloned().enumerate().map(|(at, name)| (name, at)).collect();
        let routes = Routes::new(domains.len(), &edges, |name| places.get(name).copied());
        Graph { domains, edges, findings, reach, places, routes }
    }

    /// The tightest offset interval from one clock to another over all paths; `None` where no path bounds both sides.
    pub fn offset(&self, from: &str, to: &str) -> Option<Offset> {
        if from == to {
            return Some(Offset::ZERO);
        }
        self.between(*self.places.get(from)?, *self.places.get(to)?)
    }

    fn between(&self, from: usize, to: usize) -> Option<Offset> {
        if from == to {
            return Some(Offset::ZERO);
        }
        let (low, high) = (-self.reach[to][from]?, self.reach[from][to]?);
        (low <= high).then_some(Offset { low, high })
    }

    /// The offset for moments between `earliest` and `latest` (on the clock `from`): as [`Graph::offset`], but where an
    /// edge drifted or stepped only by what it did then. A null end is any time.
    pub fn offset_within(&self, from: &str, to: &str, earliest: Option<i64>, latest: Option<i64>) -> Option<Offset> {
        if from == to {
            return Some(Offset::ZERO);
        }
        let (start, end) = (*self.places.get(from)?, *self.places.get(to)?);
        let whole = self.between(start, end);
        let (Some(earliest), Some(latest)) = (earliest, latest) else { return whole };
        if !self.routes.moves {
            return whole;
        }
        let route = self.routes.between(start, end, &self.edges);
        if !route.moves {
            return whole;
        }
        let then = |at| self.between(start, at).map_or((None, None), |Offset { low, high }| (Some(low), Some(high)));
        // What contradicts itself at one moment says no more than all of the run does.
        pieces::closed(route.offset(&self.edges, earliest, latest, then)).or(whole)
    }

    /// Whether an offset rests on endpoints having been committed before they were programmed.
    pub fn circular(&self, from: &str, to: &str) -> bool {
        let rests = |hop: &[String]| {
            self.edges.iter().any(|edge| {
                let own = hop.contains(&edge.from) && hop.contains(&edge.to);
                own && edge.tight.iter().any(|one| one.kind == PROGRAMMED)
            })
        };
        let paths = [self.path(from, to), self.path(to, from)];
        paths.into_iter().flatten().any(|path| path.windows(2).any(rests))
    }

    /// What would relate two unrelated clocks, as a sentence with a command.
    pub fn missing(&self, from: &str, to: &str) -> String {
        if from.contains("/") || to.contains("/") {
            let node = from.split('/').next().unwrap_or(from);
            return format!(
                "nothing relates the clocks {from} and {to}: read CLOCK_MONOTONIC, CLOCK_BOOTTIME and CLOCK_REALTIME of {node} at one instant into clock.tsv"
            );
        }
        let name = if from == evidence::UNNAMED || to == evidence::UNNAMED {
            "name the node of the node-level captures (`node` in capture.toml, or --node), "
        } else {
            ""
        };
        format!(
            "nothing relates the clocks {from} and {to}: {name}keep `chronyc -c tracking` of both machines, audit the node's Lease renewals with bodies, or state same_host in capture.toml if they are one machine"
        )
    }
}
