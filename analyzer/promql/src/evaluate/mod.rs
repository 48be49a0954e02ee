//! Evaluation: a tree, a storage and times in; an answer out.

use std::time::Duration;

use crate::answer::{Answer, EvalError};
use crate::storage::Storage;
use crate::syntax::Expr;

/// Settings of an evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// How far back an instant selector looks for a sample (5 minutes in Prometheus).
    pub lookback: Duration,
    /// Step of subqueries that give none (Prometheus: the global evaluation interval, 1 minute).
    pub subquery_step: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options { lookback: Duration::from_secs(300), subquery_step: Duration::from_secs(60) }
    }
}

/// Evaluates at one time (milliseconds since 1970).
pub fn instant(storage: &dyn Storage, expr: &Expr, time: i64, options: &Options) -> Result<Answer, EvalError> {
    let _ = (storage, expr, time, options);
    Err(EvalError::Execution("not built yet".to_owned()))
}

/// Evaluates at each step from `start` to at most `end` (all in milliseconds); the answer is a matrix.
pub fn range(
    storage: &dyn Storage,
    expr: &Expr,
    start: i64,
    end: i64,
    step: i64,
    options: &Options,
) -> Result<Answer, EvalError> {
    let _ = (storage, expr, start, end, step, options);
    Err(EvalError::Execution("not built yet".to_owned()))
}
