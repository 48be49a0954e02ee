//! What an evaluation answers.

use std::sync::Arc;

use crate::histogram::Histogram;
use crate::labels::Labels;

/// A sample's value: a float or a native histogram.
#[derive(Clone, Debug, PartialEq)]
pub enum SampleValue {
    /// A float.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<Histogram>),
}

/// One element of an instant vector.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorElement {
    /// Its labels.
    pub labels: Labels,
    /// Time of evaluation, milliseconds since 1970.
    pub time: i64,
    /// Its value.
    pub value: SampleValue,
}

/// One series of a matrix: floats and histograms, each sorted by time (milliseconds since 1970).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MatrixSeries {
    /// Its labels.
    pub labels: Labels,
    /// Float points.
    pub floats: Vec<(i64, f64)>,
    /// Histogram points.
    pub histograms: Vec<(i64, Arc<Histogram>)>,
}

/// A result, by the four types that the HTTP API knows.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// One number.
    Scalar {
        /// Time of evaluation, milliseconds since 1970.
        time: i64,
        /// The number.
        value: f64,
    },
    /// A string literal.
    String {
        /// Time of evaluation, milliseconds since 1970.
        time: i64,
        /// The text.
        text: String,
    },
    /// An instant vector, in the order of evaluation (which `sort` and `topk` set).
    Vector(Vec<VectorElement>),
    /// A range vector, or the answer to a range query; sorted by labels.
    Matrix(Vec<MatrixSeries>),
}

/// A result, and what PromQL has to say about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The result.
    pub value: Value,
    /// Warnings, sorted, worded as in the HTTP API: `PromQL warning: … (1:6)`.
    pub warnings: Vec<String>,
    /// Infos, sorted: `PromQL info: … (1:6)`.
    pub infos: Vec<String>,
    /// What was read.
    pub selected: Vec<Selected>,
    /// How long each step of the plan took, where [`Options::timed`](crate::Options::timed) asks for it; an outer part of the
    /// expression stands before its inner ones.
    pub plan: Vec<PlanStep>,
}

/// One part of the expression, as it was evaluated.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanStep {
    /// The part as written.
    pub text: String,
    /// How many parts it lies in.
    pub depth: usize,
    /// How long it took with all parts inside it, seconds.
    pub seconds: f64,
    /// Series that it gave; 1 for a scalar.
    pub series: usize,
}

/// What one selector of the expression read.
#[derive(Clone, Debug, PartialEq)]
pub struct Selected {
    /// The selector as written.
    pub selector: String,
    /// Series that matched.
    pub series: usize,
    /// Samples within the time that the evaluation needed.
    pub samples: usize,
}

/// Why an expression could not be evaluated.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EvalError {
    /// The query cannot be asked so (HTTP `bad_data`).
    #[error("{0}")]
    BadData(String),
    /// The evaluation failed (HTTP `execution`).
    #[error("{0}")]
    Execution(String),
    /// The deadline passed (HTTP `timeout`).
    #[error("query timed out in expression evaluation")]
    Timeout,
}
