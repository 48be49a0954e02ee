//! Clock domains as a graph whose edges are offset intervals with evidence.
//!
//! Convention: the offset *from* `a` *to* `b` is what must be **added** to a time on `a` to get the time on `b`
//! (`time_b = time_a + offset`), known to lie in `[low, high]` ns.

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
    pub domains: Vec<String>,
    pub edges: Vec<Edge>,
    pub findings: Vec<Finding>,
}

impl Graph {
    /// The tightest offset interval from one clock to another over all paths; `None` where no path bounds both sides.
    pub fn offset(&self, _from: &str, _to: &str) -> Option<Offset> {
        None
    }

    /// What would relate two unrelated clocks, as a sentence with a command.
    pub fn missing(&self, from: &str, to: &str) -> String {
        format!("nothing relates the clocks {from} and {to}")
    }
}
