//! Evaluation: a tree, a storage and times in; an answer out.
//!
//! Every node is evaluated once, for all steps: a vector is a list of rows with one cell per step. Range functions
//! slide their window over a series, rows are worked on in parallel.

mod aggregate;
mod around;
mod binary;
mod budget;
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
use std::time::{Duration, Instant};

use crate::answer::{Answer, EvalError, MatrixSeries, Value, VectorElement};
use crate::storage::Storage;
use crate::syntax::Expr;
use crate::syntax::tree::{Boundary, ValueType};
pub(crate) use aggregate::{note_histogram_sum, note_mixed_schemas};
pub(crate) use around::{Surroundings, histogram_between};
pub(crate) use budget::Budget;
use budget::samples_of_histogram;
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
    /// The most samples that may be held at a time (50 million in Prometheus), counted as Prometheus does; of
    /// subqueries every step of every series counts, with a sample or without.
    pub max_samples: usize,
    /// The most bytes that may be held at a time for what is built: steps × series, and histograms that were computed.
    /// What the storage holds does not count.
    pub memory: usize,
    /// When the evaluation is given up; `None`: never.
    pub deadline: Option<Instant>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            lookback: Duration::from_secs(300),
            subquery_step: Duration::from_secs(60),
            timed: false,
            max_samples: 50_000_000,
            memory: 2 << 30,
            deadline: None,
        }
    }
}

/// The most steps of a range query, as in Prometheus.
const MOST_STEPS: i64 = 11_000;

/// Evaluates at one time (milliseconds since 1970).
pub fn instant(storage: &dyn Storage, expr: &Expr, time: i64, options: &Options) -> Result<Answer, EvalError> {
    within_bounds(&[time])?;
    let times = Times { start: time, end: time, step: 0 };
    answer(storage, expr, times, options, |context| match expr.root.value_type() {
        ValueType::Matrix => matrix_at(&expr.root, context),
        _ => Ok(match evaluate(&expr.root, context)? {
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
        }),
    })
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
    answer(storage, expr, Times { start, end, step }, options, |context| {
        let rows = match evaluate(&expr.root, context)? {
            Steps::Scalar(values) => {
                let cells = Cells { floats: values, histograms: None };
                vec![Row { labels: Default::default(), drop_name: false, cells }]
            }
            Steps::Vector(rows) => without_dropped_names(rows)?,
            Steps::Text(_) => Vec::new(),
        };
        // A point is twice as large as a cell, and takes its place.
        context.reserve_rows(rows.len())?;
        let mut series: Vec<MatrixSeries> = rows.into_iter().filter_map(|row| points(row, context)).collect();
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(Value::Matrix(series))
    })
}

/// The times of a query, milliseconds; the step of an instant query is 0.
#[derive(Clone, Copy)]
struct Times {
    start: i64,
    end: i64,
    step: i64,
}

/// Trees deeper than this are evaluated on a stack of their own.
const DEEP: usize = 64;

/// Enough for the deepest tree that the parser lets through.
const DEEP_STACK: usize = 64 << 20;

/// Evaluates with notes and within bounds.
fn answer(
    storage: &dyn Storage,
    expr: &Expr,
    times: Times,
    options: &Options,
    value: impl Fn(&Context<'_>) -> Result<Value, EvalError> + Sync,
) -> Result<Answer, EvalError> {
    let (notes, budget) = (Notes::default(), Budget::of(options));
    let Times { start, end, step } = times;
    let context = Context {
        storage,
        options,
        text: &expr.text,
        notes: &notes,
        budget: &budget,
        query_start: start,
        query_end: end,
        query_step: step,
        start,
        step: step.max(1),
        steps: if step > 0 { ((end - start) / step + 1) as usize } else { 1 },
        in_subquery: false,
    };
    let value = if expr.root.depth() <= DEEP {
        value(&context)?
    } else {
        std::thread::scope(|scope| {
            let deep = std::thread::Builder::new().stack_size(DEEP_STACK).spawn_scoped(scope, || value(&context));
            let refused = |_| EvalError::Execution("expression is nested too deeply".to_owned());
            deep.map_err(refused)?.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })?
    };
    Ok(notes.into_answer(value, &expr.text))
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
            let held = window.histograms().iter().map(|sample| samples_of_histogram(&sample.histogram)).sum::<usize>();
            context.budget.take_samples(floats.len() + held)?;
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
