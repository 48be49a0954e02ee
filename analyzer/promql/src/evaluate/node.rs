//! One node: which evaluation its kind needs.

use std::time::Instant;

use super::aggregate::aggregate;
use super::binary::{binary, negate};
use super::select::select_instant;
use super::{Context, Reference, Row, Steps, reference_of};
use crate::answer::EvalError;
use crate::functions::call;
use crate::syntax::tree::{Node, NodeKind};

/// Functions whose value depends on the step even if their arguments do not.
const STEP_DEPENDENT: [&str; 12] = [
    "time",
    "timestamp",
    "start_timestamp",
    "predict_linear",
    "hour",
    "minute",
    "month",
    "year",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "days_in_month",
];

/// Whether a node has the same value at every step, because `@` fixes all its selectors.
fn is_step_invariant(node: &Node, context: &Context<'_>) -> bool {
    let is_step_invariant = |node: &Node| is_step_invariant(node, context);
    match &node.kind {
        NodeKind::Number(_) | NodeKind::Text { .. } => true,
        NodeKind::Paren(inner) => is_step_invariant(inner),
        NodeKind::Unary { operand, .. } => is_step_invariant(operand),
        NodeKind::Binary(binary) => is_step_invariant(&binary.left) && is_step_invariant(&binary.right),
        NodeKind::Aggregate(aggregate) => {
            is_step_invariant(&aggregate.operand) && aggregate.parameter.as_ref().is_none_or(&is_step_invariant)
        }
        // Its own selector looks where the first argument looks, if that is one time.
        NodeKind::Call(call) if call.function.name == "info" => call.arguments.first().is_some_and(|first| {
            is_step_invariant(first) && matches!(reference_of(first, context), Ok(Reference::Fixed(_)))
        }),
        NodeKind::Call(call) => {
            !STEP_DEPENDENT.contains(&call.function.name) && call.arguments.iter().all(is_step_invariant)
        }
        NodeKind::Selector(selector) | NodeKind::RangeSelector { selector, .. } => selector.at.is_some(),
        NodeKind::Subquery(subquery) => subquery.at.is_some(),
    }
}

/// Evaluates a node at all steps.
pub(crate) fn evaluate(node: &Node, context: &Context<'_>) -> Result<Steps, EvalError> {
    if let NodeKind::Paren(inner) = &node.kind {
        return evaluate(inner, context);
    }
    let held = context.budget.mark();
    // Scalars, and what else is one value per step.
    context.reserve_rows(1)?;
    let begun = Instant::now();
    let value = evaluate_kind(node, context)?;
    context.settle(held, &value)?;
    if !context.options.timed || matches!(node.kind, NodeKind::Number(_) | NodeKind::Text { .. }) {
        return Ok(value);
    }
    let series = if let Steps::Vector(rows) = &value { rows.len() } else { 1 };
    context.notes.timed(node.span, begun.elapsed().as_secs_f64(), series);
    Ok(value)
}

fn evaluate_kind(node: &Node, context: &Context<'_>) -> Result<Steps, EvalError> {
    match &node.kind {
        NodeKind::Number(value) => return Ok(Steps::Scalar(vec![*value; context.steps])),
        NodeKind::Text { text, .. } => return Ok(Steps::Text(text.clone())),
        _ => {}
    }
    if context.steps > 1 && is_step_invariant(node, context) {
        let once = evaluate(node, &context.single())?;
        if let Steps::Vector(rows) = &once {
            context.reserve_rows(rows.len())?;
        }
        return Ok(once.repeated(context.steps));
    }
    match &node.kind {
        NodeKind::Unary { minus, operand } => {
            let value = evaluate(operand, context)?;
            Ok(if *minus { negate(value, context) } else { value })
        }
        NodeKind::Binary(one) => binary(one, node, context),
        NodeKind::Aggregate(one) => aggregate(one, context).map(Steps::Vector),
        NodeKind::Call(one) => call(one, node, context),
        NodeKind::Selector(selector) => select_instant(selector, context).map(Steps::Vector),
        _ => Err(EvalError::Execution("a range vector stands where no range vector can".to_owned())),
    }
}

/// Evaluates a node that is a scalar.
pub(crate) fn scalar(node: &Node, context: &Context<'_>) -> Result<Vec<f64>, EvalError> {
    match evaluate(node, context)? {
        Steps::Scalar(values) => Ok(values),
        _ => Err(EvalError::Execution("expected a scalar".to_owned())),
    }
}

/// Evaluates a node that is an instant vector.
pub(crate) fn vector(node: &Node, context: &Context<'_>) -> Result<Vec<Row>, EvalError> {
    match evaluate(node, context)? {
        Steps::Vector(rows) => Ok(rows),
        _ => Err(EvalError::Execution("expected an instant vector".to_owned())),
    }
}
