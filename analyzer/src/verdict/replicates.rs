//! Dataplanes against each other within one report: each column of Cilium's runs against each other dataplane's, in the same
//! scenario and size, by the rules of [`super::change`]; one correction over all of them.

use std::collections::BTreeSet;

use super::RunResult;
use super::change::{Cell, Change, Figure, cell, change, correct};
use crate::result::group::{Column, Keys, columns};

/// What is compared: measurement and statistic.
const COMPARED: [(&str, &str); 8] = [
    ("endpoint_propagation", "p50"),
    ("endpoint_propagation", "p95"),
    ("endpoint_removal", "p50"),
    ("settle_time", "value"),
    ("cpu_event", "value"),
    ("cpu_increase_points", "value"),
    ("memory_bytes", "value"),
    ("connection_setup_time", "p50"),
];

/// One comparison: Cilium's column, the other one, and what changes from the first to the second.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    pub a: Column,
    pub b: Column,
    pub change: Change,
}

/// All comparisons that the runs allow.
pub fn comparisons(runs: &[RunResult], keys: &Keys) -> Vec<Pair> {
    let all = columns(runs, keys);
    let cells: BTreeSet<Cell> = runs.iter().map(cell).collect();
    let (own, others): (Vec<_>, Vec<_>) = all.iter().partition(|(column, _)| column.dataplane == "cilium");
    let mut found: Vec<(&Column, &Column, Change)> = Vec::new();
    for wanted in &cells {
        for (a, of_a) in &own {
            for (b, of_b) in &others {
                for (measurement, statistic) in COMPARED {
                    let figure = Figure {
                        measurement: measurement.to_owned(),
                        variant: String::new(),
                        statistic: statistic.to_owned(),
                    };
                    found.extend(
                        change(wanted, figure, &of_cell(of_a, wanted), &of_cell(of_b, wanted)).map(|one| (a, b, one)),
                    );
                }
            }
        }
    }
    let mut changes: Vec<Change> = found.iter().map(|(.., change)| change.clone()).collect();
    correct(&mut changes);
    let pair = |((a, b, _), change): ((&Column, &Column, Change), Change)| Pair { a: a.clone(), b: b.clone(), change };
    found.into_iter().zip(changes).map(pair).collect()
}

fn of_cell<'r>(runs: &[&'r RunResult], wanted: &Cell) -> Vec<&'r RunResult> {
    runs.iter().copied().filter(|one| cell(one) == *wanted).collect()
}
