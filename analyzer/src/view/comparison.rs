//! Dataplanes side by side over replicate runs, with what their numbers allow to be said.

use serde::Serialize;

use super::changes::words;
use super::{dataplane_name, number};
use crate::result::RunResult;
use crate::result::group::{Column, Keys};
use crate::verdict::change::Sample;
use crate::verdict::replicates::{Pair, comparisons};

/// One comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub group: String,
    pub measurement: String,
    pub first: String,
    pub second: String,
    pub ratio: String,
    pub shift: String,
    pub delta: String,
    pub meaning: String,
}

/// All of them.
pub fn build(runs: &[RunResult], keys: &Keys) -> Vec<Row> {
    comparisons(runs, keys).iter().map(row).collect()
}

/// A column's name: `Cilium 1.19`.
pub fn column_name(column: &Column) -> String {
    format!("{} {}", dataplane_name(&column.dataplane), column.words).trim_end().to_owned()
}

fn row(pair: &Pair) -> Row {
    let one = &pair.change;
    let show = |value: f64| number::figure(value, &one.unit, number::Show::Unit);
    let span = |[low, high]: [Option<f64>; 2]| number::interval(low, high, &one.unit, number::Show::Unit);
    let side = |column: &Column, sample: &Sample| {
        let median = sample.median.map_or_else(|| "open".to_owned(), show);
        let runs = sample.runs.len();
        let word = if runs == 1 { "run" } else { "runs" };
        let exact = sample.interval.map(|ends| format!(", 95 % {}", span(ends.map(Some))));
        let spread = sample.spread.filter(|_| runs > 1).map(|ends| format!(", runs {}", span(ends.map(Some))));
        format!(
            "{}: {median} ({}, {runs} {word}{}{})",
            column_name(column),
            span(sample.hull),
            spread.unwrap_or_default(),
            exact.unwrap_or_default()
        )
    };
    let services = one.services.map_or_else(String::new, |services| format!(", about {services} Services"));
    let shift_interval = match one.shift_interval {
        [None, None] => String::new(),
        ends => format!(" ({}{})", span(ends), words::covers(one)),
    };
    Row {
        group: format!("{}{services}", one.scenario),
        measurement: words::figure(&one.figure),
        first: side(&pair.a, &one.a),
        second: side(&pair.b, &one.b),
        ratio: words::ratio(one),
        shift: one.shift.map_or_else(|| "–".to_owned(), show) + &shift_interval,
        delta: one.delta.map_or_else(|| "–".to_owned(), |delta| format!("{delta:.2}")),
        meaning: words::meaning(one),
    }
}
