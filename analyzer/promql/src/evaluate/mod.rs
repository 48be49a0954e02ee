//! Evaluation: a tree, a storage and times in; an answer out.
//!
//! Every node is evaluated once, for all steps: a vector is a list of rows with one cell per step. Range functions
//! slide their window over a series, rows are worked on in parallel.

mod aggregate;
mod around;
mod binary;
mod context;
mod matching;
mod node;
mod notes;
mod rank;
mod reference;
mod rows;
mod select;
mod sets;
mod sums;
mod window;

use std::sync::Arc;
use std::time::Duration;

use crate::answer::{Answer, EvalError, MatrixSeries, Value, VectorElement};
use crate::storage::Storage;
use crate::syntax::Expr;
use crate::syntax::tree::{Boundary, ValueType};
pub(crate) use aggregate::{note_histogram_sum, note_mixed_schemas};
pub(crate) use around::{Surroundings, histogram_between};
pub(crate) use context::Context;
pub(crate) use node::{evaluate, scalar, vector};
pub(crate) use notes::Extent;
use notes::Notes;
pub(crate) use rank::{note_invalid_quantiles, quantile};
pub(crate) use reference::{Reference, reference_of};
pub(crate) use rows::{Cells, Row, SAME_LABELS, Steps, merge_same_labels};
pub(crate) use select::{Moment, RangeInput, RangeVector, range_vector, sample_moments, sample_starts, sample_times};
pub(crate) use sums::{CompensatedSum, Mean, Variance};
pub(crate) use window::{Window, roll, windows};

/// Settings of an evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// How far back an instant selector looks for a sample (5 minutes in Prometheus).
    pub lookback: Duration,
    /// Step of subqueries that give none (Prometheus: the global evaluation interval, 1 minute).
    pub subquery_step: Duration,
    /// Whether [`Answer::plan`] is wanted.
    pub timed: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { lookback: Duration::from_secs(300), subquery_step: Duration::from_secs(60), timed: false }
    }
}

/// The most steps of a range query, as in Prometheus.
const MOST_STEPS: i64 = 11_000;

/// Evaluates at one time (milliseconds since 1970).
pub fn instant(storage: &dyn Storage, expr: &Expr, time: i64, options: &Options) -> Result<Answer, EvalError> {
    within_bounds(&[time])?;
    let notes = Notes::default();
    let context = Context {
        storage,
        options,
        text: &expr.text,
        notes: &notes,
        query_start: time,
        query_end: time,
        query_step: 0,
        start: time,
        step: 1,
        steps: 1,
    };
    let value = match expr.root.value_type() {
        ValueType::Matrix => matrix_at(&expr.root, &context)?,
        _ => match evaluate(&expr.root, &context)? {
            Steps::Scalar(values) => Value::Scalar { time, value: values.first().copied().unwrap_or(f64::NAN) },
            Steps::Text(text) => Value::String { time, text },
            Steps::Vector(rows) => Value::Vector(
                without_dropped_names(rows)?
                    .into_iter()
                    .filter_map(|row| {
                        let value = row.cells.get(0)?;
                        Some(VectorElement { labels: row.labels, time, value })
                    })
                    .collect(),
            ),
        },
    };
    Ok(notes.into_answer(value, &expr.text))
}

/// Evaluates at each step from `start` to at most `end` (all in milliseconds); the answer is a matrix.
///
/// More than 11,000 steps are refused, as Prometheus does.
pub fn range(
    storage: &dyn Storage,
    expr: &Expr,
    start: i64,
    end: i64,
    step: i64,
    options: &Options,
) -> Result<Answer, EvalError> {
    within_bounds(&[start, end])?;
    let refuse = |message: &str| Err(EvalError::BadData(message.to_owned()));
    if end < start {
        return refuse("invalid parameter \"end\": end timestamp must not be before start time");
    }
    if step <= 0 {
        return refuse(
            "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer",
        );
    }
    if (end - start) / step > MOST_STEPS {
        return refuse(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        );
    }
    if !matches!(expr.root.value_type(), ValueType::Scalar | ValueType::Vector) {
        return Err(EvalError::BadData(format!(
            "invalid parameter \"query\": invalid expression type {} for range query, must be Scalar or instant Vector",
            crate::labels::quoted(expr.root.value_type().documented())
        )));
    }
    let notes = Notes::default();
    let context = Context {
        storage,
        options,
        text: &expr.text,
        notes: &notes,
        query_start: start,
        query_end: end,
        query_step: step,
        start,
        step,
        steps: ((end - start) / step + 1) as usize,
    };
    let rows = match evaluate(&expr.root, &context)? {
        Steps::Scalar(values) => {
            let cells = Cells { floats: values, histograms: None };
            vec![Row { labels: Default::default(), drop_name: false, cells }]
        }
        Steps::Vector(rows) => without_dropped_names(rows)?,
        Steps::Text(_) => Vec::new(),
    };
    let mut series: Vec<MatrixSeries> = rows.into_iter().filter_map(|row| points(row, &context)).collect();
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok(notes.into_answer(Value::Matrix(series), &expr.text))
}

/// Times further out could overflow in a sum with a range or an offset.
fn within_bounds(times: &[i64]) -> Result<(), EvalError> {
    if times.iter().all(|time| time.unsigned_abs() < 1 << 60) {
        Ok(())
    } else {
        Err(EvalError::BadData("time is out of bounds".to_owned()))
    }
}

fn points(row: Row, context: &Context<'_>) -> Option<MatrixSeries> {
    let mut series = MatrixSeries { labels: row.labels, ..MatrixSeries::default() };
    for step in 0..context.steps {
        if let Some(value) = row.cells.float(step) {
            series.floats.push((context.time(step), value));
        } else if let Some(histogram) = row.cells.histogram(step) {
            series.histograms.push((context.time(step), Arc::clone(histogram)));
        }
    }
    (!series.floats.is_empty() || !series.histograms.is_empty()).then_some(series)
}

fn without_dropped_names(mut rows: Vec<Row>) -> Result<Vec<Row>, EvalError> {
    for row in rows.iter_mut().filter(|row| row.drop_name) {
        row.labels = row.labels.without_name();
    }
    merge_same_labels(rows)
}

/// A range vector as an instant query shows it: the samples themselves.
fn matrix_at(node: &crate::syntax::tree::Node, context: &Context<'_>) -> Result<Value, EvalError> {
    let argument = range_vector(node, context)?;
    let mut series = Vec::new();
    for input in &argument.inputs {
        for window in windows(&input.series, &argument, context) {
            let labels = if input.drop_name { input.labels.without_name() } else { input.labels.clone() };
            let floats: Vec<(i64, f64)> = match argument.boundary {
                None => window.times().iter().copied().zip(window.values().iter().copied()).collect(),
                Some(kind) => {
                    Surroundings::of(&window, context.lookback(), kind == Boundary::Smoothed).extended_floats()
                }
            };
            let histograms: Vec<_> =
                window.histograms().iter().map(|sample| (sample.time, Arc::clone(&sample.histogram))).collect();
            if !floats.is_empty() || !histograms.is_empty() {
                series.push(MatrixSeries { labels, floats, histograms });
            }
        }
    }
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    if series.windows(2).any(|two| two[0].labels == two[1].labels) {
        return Err(EvalError::Execution(SAME_LABELS.to_owned()));
    }
    Ok(Value::Matrix(series))
}
