//! Binary operators on single values, and with a scalar on one side.

use std::sync::Arc;

use rayon::prelude::*;

use super::matching::match_vectors;
use super::sets::set_operation;
use super::{Cells, Context, Row, Steps, evaluate};
use crate::answer::{EvalError, SampleValue};
use crate::histogram::{Combined, Histogram, MixedSchemas};
use crate::syntax::tree::{Binary, BinaryOperator, Matching, Node, Span};

/// Evaluates a binary operation.
pub(crate) fn binary(binary: &Binary, node: &Node, context: &Context<'_>) -> Result<Steps, EvalError> {
    let left = evaluate(&binary.left, context)?;
    let right = evaluate(&binary.right, context)?;
    let operation = Operation { binary, span: node.span, context };
    match (left, right) {
        (Steps::Scalar(left), Steps::Scalar(right)) => {
            let values = left.iter().zip(&right).map(|(&left, &right)| scalars(binary.operator, left, right));
            Ok(Steps::Scalar(values.collect()))
        }
        (Steps::Vector(rows), Steps::Scalar(values)) => Ok(Steps::Vector(operation.with_scalar(rows, &values, false))),
        (Steps::Scalar(values), Steps::Vector(rows)) => Ok(Steps::Vector(operation.with_scalar(rows, &values, true))),
        (Steps::Vector(left), Steps::Vector(right)) => {
            let default = Matching::default();
            let matching = binary.matching.as_ref().unwrap_or(&default);
            if binary.operator.is_set_operator() {
                return set_operation(binary.operator, matching, left, right, context).map(Steps::Vector);
            }
            match_vectors(&operation, matching, left, right).map(Steps::Vector)
        }
        _ => {
            Err(EvalError::Execution("binary expression must contain only scalar and instant vector types".to_owned()))
        }
    }
}

/// Unary minus.
pub(crate) fn negate(value: Steps, context: &Context<'_>) -> Steps {
    match value {
        Steps::Scalar(values) => Steps::Scalar(values.into_iter().map(|value| -value).collect()),
        Steps::Vector(mut rows) => {
            for row in &mut rows {
                row.drop_name = true;
                for step in 0..row.cells.floats.len() {
                    match row.cells.get(step) {
                        Some(SampleValue::Float(value)) => row.cells.floats[step] = -value,
                        Some(SampleValue::Histogram(histogram)) => {
                            let negative = histogram.times(-1.0);
                            if !context.budget.take_histogram(&negative) {
                                break;
                            }
                            row.cells.set(step, SampleValue::Histogram(Arc::new(negative)));
                        }
                        None => {}
                    }
                }
            }
            Steps::Vector(rows)
        }
        text => text,
    }
}

fn truth(condition: bool) -> f64 {
    if condition { 1.0 } else { 0.0 }
}

fn compare(operator: BinaryOperator, left: f64, right: f64) -> bool {
    match operator {
        BinaryOperator::Equal => left == right,
        BinaryOperator::NotEqual => left != right,
        BinaryOperator::Greater => left > right,
        BinaryOperator::Less => left < right,
        BinaryOperator::GreaterOrEqual => left >= right,
        BinaryOperator::LessOrEqual => left <= right,
        _ => false,
    }
}

fn arithmetic(operator: BinaryOperator, left: f64, right: f64) -> f64 {
    match operator {
        BinaryOperator::Add => left + right,
        BinaryOperator::Subtract => left - right,
        BinaryOperator::Multiply => left * right,
        BinaryOperator::Divide => left / right,
        BinaryOperator::Modulo => left % right,
        BinaryOperator::Power => left.powf(right),
        BinaryOperator::Atan2 => left.atan2(right),
        _ => f64::NAN,
    }
}

fn scalars(operator: BinaryOperator, left: f64, right: f64) -> f64 {
    if operator.compares() { truth(compare(operator, left, right)) } else { arithmetic(operator, left, right) }
}

/// What comes of two samples that meet.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Value(SampleValue),
    /// A comparison that does not hold: they met all the same.
    Filtered,
    /// The operator means nothing between the two, which a note says: as if they had not met.
    Invalid,
}

/// A binary operation with its surroundings.
#[derive(Clone, Copy)]
pub(crate) struct Operation<'a> {
    pub binary: &'a Binary,
    pub span: Span,
    pub context: &'a Context<'a>,
}

impl Operation<'_> {
    /// The operation on two floats; `None` where a comparison filters. `kept` is what a comparison keeps.
    #[inline]
    pub(crate) fn floats(&self, left: f64, right: f64, kept: f64) -> Option<f64> {
        let operator = self.binary.operator;
        if operator.compares() {
            let holds = compare(operator, left, right);
            return if self.binary.returns_bool { Some(truth(holds)) } else { holds.then_some(kept) };
        }
        if matches!(operator, BinaryOperator::TrimLower | BinaryOperator::TrimUpper) {
            self.incompatible("float", "float");
            return None;
        }
        Some(arithmetic(operator, left, right))
    }

    fn incompatible(&self, left: &str, right: &str) {
        let symbol = self.binary.operator.symbol();
        let text = format!(
            "incompatible sample types encountered for binary operator {}: {left} {symbol} {right}",
            crate::labels::quoted(symbol)
        );
        self.context.inform(&text, self.span);
    }

    /// The operation on any two samples. A comparison keeps the left one.
    pub(crate) fn samples(&self, left: &SampleValue, right: &SampleValue) -> Outcome {
        use SampleValue::{Float, Histogram as Native};
        let operator = self.binary.operator;
        let histogram = |histogram| self.computed(histogram);
        match (left, right) {
            (Float(_), Float(_)) if matches!(operator, BinaryOperator::TrimLower | BinaryOperator::TrimUpper) => {
                self.incompatible("float", "float");
                Outcome::Invalid
            }
            (Float(a), Float(b)) => {
                self.floats(*a, *b, *a).map_or(Outcome::Filtered, |value| Outcome::Value(Float(value)))
            }
            (Native(a), Float(b)) => match operator {
                BinaryOperator::Multiply => histogram(a.times(*b)),
                BinaryOperator::Divide => histogram(a.divided_by(*b)),
                BinaryOperator::TrimUpper => histogram(a.trimmed(*b, true)),
                BinaryOperator::TrimLower => histogram(a.trimmed(*b, false)),
                _ => {
                    self.incompatible("histogram", "float");
                    Outcome::Invalid
                }
            },
            (Float(a), Native(b)) => {
                if operator == BinaryOperator::Multiply {
                    return histogram(b.times(*a));
                }
                self.incompatible("float", "histogram");
                Outcome::Invalid
            }
            (Native(a), Native(b)) => match operator {
                BinaryOperator::Add => self.combined(a.plus(b), "addition"),
                BinaryOperator::Subtract => self.combined(a.minus(b), "subtraction"),
                BinaryOperator::Equal | BinaryOperator::NotEqual => {
                    let holds = a.same_as(b) == (operator == BinaryOperator::Equal);
                    match (self.binary.returns_bool, holds) {
                        (true, _) => Outcome::Value(Float(truth(holds))),
                        (false, true) => Outcome::Value(left.clone()),
                        (false, false) => Outcome::Filtered,
                    }
                }
                _ => {
                    self.incompatible("histogram", "histogram");
                    Outcome::Invalid
                }
            },
        }
    }

    /// A sum or difference of histograms, with what is to be said of it. One that followed a counter reset and one that
    /// did not make no sum.
    fn combined(&self, combined: Result<Combined, MixedSchemas>, word: &str) -> Outcome {
        let Ok(combined) = combined else {
            let symbol = self.binary.operator.symbol();
            let text = format!("incompatible bucket layout encountered for binary operator {symbol}");
            self.context.warn(&text, self.span);
            return Outcome::Invalid;
        };
        if combined.reset_conflict {
            self.context.warn(&format!("conflicting counter resets during histogram {word}"), self.span);
            return Outcome::Invalid;
        }
        if combined.bounds_reconciled {
            self.context.inform(&format!("mismatched custom buckets were reconciled during {word}"), self.span);
        }
        self.computed(combined.histogram)
    }

    /// A new histogram, as long as there is room.
    fn computed(&self, histogram: Histogram) -> Outcome {
        if self.context.budget.take_histogram(&histogram) {
            Outcome::Value(SampleValue::Histogram(Arc::new(histogram)))
        } else {
            Outcome::Invalid
        }
    }

    /// Whether the result has no metric name.
    pub(crate) fn drops_name(&self) -> bool {
        self.binary.operator.changes_metric() || self.binary.returns_bool
    }

    fn with_scalar(&self, rows: Vec<Row>, scalars: &[f64], scalar_left: bool) -> Vec<Row> {
        rows.into_par_iter()
            .with_min_len(16)
            .filter_map(|mut row| {
                row.drop_name |= self.drops_name();
                apply_scalar(self, &mut row.cells, scalars, scalar_left);
                (!row.cells.is_empty()).then_some(row)
            })
            .collect()
    }
}

fn apply_scalar(operation: &Operation<'_>, cells: &mut Cells, scalars: &[f64], scalar_left: bool) {
    for (step, &scalar) in scalars.iter().enumerate() {
        if let Some(value) = cells.float(step) {
            let (left, right) = if scalar_left { (scalar, value) } else { (value, scalar) };
            match operation.floats(left, right, value) {
                Some(result) => cells.floats[step] = result,
                None => cells.clear(step),
            }
        } else if let Some(histogram) = cells.histogram(step).cloned() {
            let (histogram, scalar) = (SampleValue::Histogram(histogram), SampleValue::Float(scalar));
            let (left, right) = if scalar_left { (&scalar, &histogram) } else { (&histogram, &scalar) };
            let result = operation.samples(left, right);
            cells.clear(step);
            if let Outcome::Value(result) = result {
                cells.set(step, result);
            }
        }
    }
}
