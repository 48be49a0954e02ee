//! Dataplanes side by side over replicate runs, with what their numbers allow to be said.

use serde::Serialize;

use super::{dataplane_name, number};
use crate::result::RunResult;
use crate::verdict::replicates::{Comparison, Group, comparisons};

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
pub fn build(runs: &[RunResult]) -> Vec<Row> {
    comparisons(runs).iter().map(row).collect()
}

fn row(one: &Comparison) -> Row {
    let show = |value: f64| number::figure(value, &one.unit, number::Show::Unit);
    let span = |low: Option<f64>, high: Option<f64>| number::interval(low, high, &one.unit, number::Show::Unit);
    let side = |group: &Group| {
        let median = group.median.map_or_else(|| "open".to_owned(), show);
        let runs = group.runs.len();
        let word = if runs == 1 { "run" } else { "runs" };
        let exact = group.interval.map(|[low, high]| format!(", 95 % {}", span(Some(low), Some(high))));
        let spread =
            group.spread.filter(|_| runs > 1).map(|[low, high]| format!(", runs {}", span(Some(low), Some(high))));
        format!(
            "{}: {median} ({}, {runs} {word}{}{})",
            dataplane_name(&group.dataplane),
            span(group.hull[0], group.hull[1]),
            spread.unwrap_or_default(),
            exact.unwrap_or_default()
        )
    };
    let times = |low: Option<f64>, high: Option<f64>| number::interval(low, high, "ratio", number::Show::Times);
    let services = one.services.map_or_else(String::new, |services| format!(", about {services} Services"));
    let within = one.shift_interval.map(|[low, high]| format!(" ({})", span(Some(low), Some(high))));
    Row {
        group: format!("{}{services}", one.scenario),
        measurement: if one.statistic == "value" {
            one.measurement.clone()
        } else {
            format!("{} {}", one.measurement, one.statistic)
        },
        first: side(&one.first),
        second: side(&one.second),
        ratio: format!(
            "{} ({})",
            one.ratio.value.map_or_else(|| "–".to_owned(), |value| number::figure(value, "ratio", number::Show::Times)),
            times(one.ratio.low, one.ratio.high)
        ),
        shift: one.shift.map_or_else(|| "–".to_owned(), show) + &within.unwrap_or_default(),
        delta: one.delta.map_or_else(|| "–".to_owned(), |delta| format!("{delta:.2}")),
        meaning: one.meaning.clone(),
    }
}
