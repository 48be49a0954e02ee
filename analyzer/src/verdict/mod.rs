//! Judges the documented claims: row by row, dataplane by dataplane, group by group.
//!
//! ```text
//! catalogue (rows) ─┐
//!                   ├─ groups of replicate runs ─ figure of each reading ─ interval against range ─ verdict
//! runs, measured  ──┘
//! ```
//!
//! A value that cannot be judged is never a pass: `holds` needs a finite value whose whole interval lies inside.

pub mod catalogue;
pub mod change;
mod circumstances;
pub mod compare;
pub mod dashboard;
pub mod figure;
pub mod judge;
pub mod list;
pub mod queries;
pub mod reason;
pub mod replicates;
pub mod row;
pub mod saturation;
mod settle;
pub mod trend;
pub mod watch;

use rayon::prelude::{IntoParallelRefIterator, ParallelIterator};
use serde::Serialize;

pub use catalogue::{Catalogue, CatalogueError, Row};
pub use figure::RunFigure;
pub use judge::Status;
pub use reason::Reason;
pub use row::{Beside, beside};

use crate::clock::Evidence;
use crate::measure::Missing;
use crate::result::RunResult;
use crate::result::group::{Column, Keys, columns};

/// One row judged for one group of runs of one dataplane.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    pub id: String,
    /// What is claimed.
    pub claim: String,
    pub dataplane: String,
    /// By which facts its runs differ from the dataplane's other runs (`1.17`); empty where they are all alike.
    pub column: String,
    /// Scenario of the group (of the row, where there is no run).
    pub scenario: String,
    /// Services in the cluster to one significant figure, where the group has one size.
    pub services: Option<u64>,
    pub status: Status,
    /// Why: fields `reason` (words) and `reason_kind` (token).
    #[serde(flatten)]
    pub reason: Reason,
    /// As documented.
    pub expected: String,
    /// The documented range that the words were read as, `[low, high]`, null where open.
    pub expected_range: [Option<f64>; 2],
    /// Median over the runs.
    pub measured: Option<f64>,
    /// Hull over the runs, null where unbounded.
    pub measured_bounds: Option<[Option<f64>; 2]>,
    pub unit: String,
    /// Which measurement and statistic decided.
    pub measurement: String,
    /// Which it would be better to have: an upper or a lower bound.
    pub bound: Option<String>,
    /// Number of things measured (least of the runs).
    pub n: u64,
    /// The documented queries, as they stand.
    pub documented_query: Vec<String>,
    /// Why the verdict does not rest on them.
    pub sound: String,
    /// Every reading with the verdict that it gives.
    pub readings: Vec<ReadingVerdict>,
    /// Each run's own figure.
    pub runs: Vec<RunFigure>,
    pub evidence: Vec<Evidence>,
    pub notes: Vec<String>,
    pub missing: Option<Missing>,
}

impl Verdict {
    /// Whether it says anything of the claim: what cannot fail is not counted among what holds.
    pub fn counts(&self) -> bool {
        *self.reason.core() != Reason::CannotFail
    }
}

/// One reading of a claim and what it would say.
#[derive(Clone, Debug, Serialize)]
pub struct ReadingVerdict {
    pub label: String,
    pub measurement: String,
    pub statistic: String,
    pub status: Status,
    #[serde(flatten)]
    pub reason: Reason,
    pub measured: Option<f64>,
    pub measured_bounds: Option<[Option<f64>; 2]>,
    pub unit: String,
    /// Shown beside the verdict; did not decide.
    pub shown_only: bool,
}

/// Judges every row for every column of runs of a dataplane that has a documented value. Order: rows, then dataplanes, then
/// columns, then groups.
pub fn judge(runs: &[RunResult], catalogue: &Catalogue, keys: &Keys) -> Vec<Verdict> {
    let columns = columns(runs, keys);
    let judged = |column: &Column| ["cilium", "kube-proxy-iptables"].contains(&column.dataplane.as_str());
    let judged: Vec<&(Column, Vec<&RunResult>)> = columns.iter().filter(|(column, _)| judged(column)).collect();
    let pairs = catalogue.rows.iter().flat_map(|row| judged.iter().map(move |of| (row, *of)));
    let pairs: Vec<(&Row, &(Column, Vec<&RunResult>))> = pairs.collect();
    // What rests on no other verdict first, in parallel.
    let alone = |(row, (column, own)): &(&Row, &(Column, Vec<&RunResult>))| {
        let dataplane = column.dataplane.as_str();
        let across = compare::across_sizes(row, dataplane, own).map(|one| vec![one]);
        across.or_else(|| (row.scenario != "compare").then(|| row::judge_row(row, dataplane, own)))
    };
    let found: Vec<Option<Vec<Verdict>>> = pairs.par_iter().map(alone).collect();
    let mut verdicts: Vec<Verdict> = Vec::new();
    for ((row, (column, own)), found) in pairs.into_iter().zip(found) {
        let dataplane = column.dataplane.as_str();
        let found = found.unwrap_or_else(|| {
            let of_column = |v: &&Verdict| v.dataplane == dataplane && v.column == column.words;
            let earlier: Vec<Verdict> = verdicts.iter().filter(of_column).cloned().collect();
            let others = columns.iter().filter(|(other, _)| other.dataplane != dataplane);
            compare::between(row, dataplane, own, others, &earlier)
        });
        verdicts.extend(found.into_iter().map(|one| Verdict { column: column.words.clone(), ..one }));
    }
    verdicts
}

/// The one verdict that stands for a row and a dataplane: the worst of its groups. A group that could not measure the
/// row, or too little of it, counts only where no other group could: a steady run has no updates to time.
pub fn overall<'a>(verdicts: &'a [Verdict], id: &str, dataplane: &str) -> Option<&'a Verdict> {
    let rank = |v: &&Verdict| match v.status {
        Status::Worse => 5,
        Status::Inconclusive if v.reason.is_too_few() => 1,
        Status::Inconclusive => 4,
        Status::Holds => 3,
        Status::Better => 2,
        Status::NotMeasured => 0,
    };
    let mut worst: Option<&Verdict> = None;
    for verdict in verdicts.iter().filter(|v| v.id == id && v.dataplane == dataplane) {
        let beyond = |w: &&Verdict| costlier(verdict, w);
        if worst.is_none_or(|w| rank(&verdict) > rank(&w) || (rank(&verdict) == rank(&w) && beyond(&w))) {
            worst = Some(verdict);
        }
    }
    worst
}

/// Whether one figure lies farther on the costly side than another of the same row and status: farther beyond the range
/// where both are beyond it, else nearer to the end that the claim bounds.
fn costlier(one: &Verdict, other: &Verdict) -> bool {
    let [low, high] = one.expected_range;
    let cost = |v: &Verdict| -> Option<f64> {
        let value = v.measured.or_else(|| v.measured_bounds.and_then(|[low, high]| high.or(low)))?;
        Some(match (low, high) {
            // Below the range, and that is the costly side.
            (Some(low), _) if v.status == Status::Worse && value < low => low - value,
            (Some(_), None) => -value,
            _ => value,
        })
    };
    match (cost(one), cost(other)) {
        (Some(one), Some(other)) => one > other,
        _ => false,
    }
}

/// `n` to one significant figure.
pub fn one_figure(n: u64) -> u64 {
    let mut power = 1u64;
    while n / power >= 10 {
        power *= 10;
    }
    ((n + power / 2) / power) * power
}

#[cfg(test)]
mod tests;
