//! Alert rules: an expression and its `for:`, evaluated over a range.

use std::collections::BTreeMap;

use crate::answer::{EvalError, Value};
use crate::evaluate::{Options, range};
use crate::labels::Labels;
use crate::storage::Storage;
use crate::syntax::Expr;

/// One stretch of evaluations at which an alert's expression had a value.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertInterval {
    /// Labels of the element, without the metric's name.
    pub labels: Labels,
    /// First evaluation with a value, milliseconds since 1970: pending from here on.
    pub pending: i64,
    /// First evaluation at which `for:` was over, if that came to pass.
    pub firing: Option<i64>,
    /// Last evaluation with a value.
    pub last: i64,
    /// Whether the range ended before the alert did.
    pub open: bool,
    /// Number of evaluations with a value.
    pub evaluations: usize,
    /// Smallest value.
    pub minimum: f64,
    /// Largest value.
    pub maximum: f64,
}

/// What became of an alert rule over a range.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertHistory {
    /// Intervals, sorted by labels and time.
    pub intervals: Vec<AlertInterval>,
    /// Warnings of the evaluation.
    pub warnings: Vec<String>,
    /// Infos of the evaluation.
    pub infos: Vec<String>,
}

/// When an alert is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlertRange {
    /// First evaluation, milliseconds since 1970.
    pub start: i64,
    /// Last evaluation at most here.
    pub end: i64,
    /// Milliseconds between evaluations (the rule group's interval).
    pub step: i64,
}

/// Evaluates an alert rule over a range. `hold` is the rule's `for:` in milliseconds; with 0 an alert fires at once.
///
/// As in Prometheus an alert is pending from the first evaluation that gives its labels a value, fires at the first
/// evaluation at which that was at least `hold` ago, and ends with the first evaluation without a value.
pub fn alert(
    storage: &dyn Storage,
    expr: &Expr,
    hold: i64,
    times: AlertRange,
    options: &Options,
) -> Result<AlertHistory, EvalError> {
    let answer = range(storage, expr, times.start, times.end, times.step, options)?;
    let mut points: BTreeMap<Labels, Vec<(i64, f64)>> = BTreeMap::new();
    if let Value::Matrix(series) = &answer.value {
        for one in series {
            let labels = one.labels.without_name();
            let all = points.entry(labels).or_default();
            all.extend(one.floats.iter().copied());
            all.extend(one.histograms.iter().map(|(time, histogram)| (*time, histogram.count)));
            all.sort_by_key(|(time, _)| *time);
        }
    }
    let mut intervals = Vec::new();
    for (labels, points) in points {
        let mut current: Option<AlertInterval> = None;
        for (time, value) in points {
            match &mut current {
                Some(interval) if time - interval.last <= times.step => {
                    interval.last = time;
                    interval.evaluations += 1;
                    interval.minimum = interval.minimum.min(value);
                    interval.maximum = interval.maximum.max(value);
                    if interval.firing.is_none() && time - interval.pending >= hold {
                        interval.firing = Some(time);
                    }
                }
                _ => {
                    intervals.extend(current.take());
                    current = Some(AlertInterval {
                        labels: labels.clone(),
                        pending: time,
                        firing: (hold <= 0).then_some(time),
                        last: time,
                        open: false,
                        evaluations: 1,
                        minimum: value,
                        maximum: value,
                    });
                }
            }
        }
        if let Some(mut interval) = current {
            interval.open = interval.last + times.step > times.end;
            intervals.push(interval);
        }
    }
    Ok(AlertHistory { intervals, warnings: answer.warnings, infos: answer.infos })
}
