//! Clock domains as a graph whose edges are offset intervals with evidence.
//!
//! Convention: the offset *from* `a` *to* `b` is what must be **added** to a time on `a` to get the time on `b`
//! (`time_b = time_a + offset`), known to lie in `[low, high]` ns.

mod edges;
pub mod evidence;

use std::collections::HashMap;

use serde::Serialize;

/// Where a figure comes from: a line of a capture.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Evidence {
    /// Path of the source within the capture.
    pub path: String,
    /// Line (or record), from 1; 0 where the whole file is meant.
    pub record: i64,
    /// What stands there, in a few words.
    pub what: String,
}

/// An offset interval, ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Offset {
    pub low: i64,
    pub high: i64,
}

impl Offset {
    /// Two clocks known to be one.
    pub const ZERO: Offset = Offset { low: 0, high: 0 };
}

/// One piece of evidence for one edge.
#[derive(Clone, Debug, Serialize)]
pub struct Constraint {
    pub from: String,
    pub to: String,
    /// Lower end of the offset; null where this evidence bounds it from above only.
    pub low: Option<i64>,
    /// Upper end; null where it bounds from below only.
    pub high: Option<i64>,
    /// `statement`, `reading`, `lease`, `causality`, `object-timestamp`.
    pub kind: String,
    pub evidence: Evidence,
}

/// An edge: the intersection of its evidence.
#[derive(Clone, Debug, Serialize)]
pub struct Edge {
    pub from: String,
    pub to: String,
    /// Null where that side is open.
    pub low: Option<i64>,
    pub high: Option<i64>,
    /// The evidence that made each side tight, lower side first, and how many pieces there were in all.
    pub tight: Vec<Constraint>,
    pub count: usize,
}

/// A contradiction in the evidence, or another thing about clocks that a reader must know.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    pub title: String,
    pub detail: String,
    pub evidence: Vec<Evidence>,
}

/// The clocks of a run.
#[derive(Clone, Debug, Default, Serialize)]
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
        let places = domains.iter().cloned().enumerate().map(|(at, name)| (name, at)).collect();
        Graph { domains, edges, findings, reach, places }
    }

    /// The tightest offset interval from one clock to another over all paths; `None` where no path bounds both sides.
    pub fn offset(&self, from: &str, to: &str) -> Option<Offset> {
        if from == to {
            return Some(Offset::ZERO);
        }
        let (from, to) = (*self.places.get(from)?, *self.places.get(to)?);
        let high = (*self.reach.get(from)?.get(to)?)?;
        let low = -(*self.reach.get(to)?.get(from)?)?;
        (low <= high).then_some(Offset { low, high })
    }

    /// What would relate two unrelated clocks, as a sentence with a command.
    pub fn missing(&self, from: &str, to: &str) -> String {
        if from.contains("/") || to.contains("/") {
            let node = from.split('/').next().unwrap_or(from);
            return format!(
                "nothing relates the clocks {from} and {to}: read CLOCK_MONOTONIC, CLOCK_BOOTTIME and CLOCK_REALTIME of {node} at one instant into clock.tsv"
            );
        }
        format!(
            "nothing relates the clocks {from} and {to}: keep `chronyc -c tracking` of both machines, audit the node's Lease renewals with bodies, or state same_host in capture.toml if they are one machine"
        )
    }
}
