//! Which moment an expression speaks of: the time of evaluation, shifted by `offset`, or fixed by `@`.

use super::Context;
use crate::answer::EvalError;
use crate::syntax::tree::{At, DurationNode, Node, NodeKind, ValueType};

/// A moment, as seen from the time of evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reference {
    /// So many milliseconds before the time of evaluation.
    Before(i64),
    /// This time, whatever the time of evaluation.
    Fixed(i64),
}

impl Reference {
    /// The time of evaluation itself.
    pub(crate) const NOW: Reference = Reference::Before(0);

    fn seen_through(
        self,
        at: Option<At>,
        offset: Option<&DurationNode>,
        context: &Context<'_>,
    ) -> Result<Reference, EvalError> {
        let offset = offset.map_or(Ok(0), |offset| context.milliseconds(offset))?;
        Ok(match (context.at(at), self) {
            (Some(at), _) => Reference::Fixed(at - offset),
            (None, Reference::Before(before)) => Reference::Before(before.saturating_add(offset)),
            (None, Reference::Fixed(time)) => Reference::Fixed(time - offset),
        })
    }
}

/// The moment that all vectors an expression is made of speak of; the time of evaluation if they differ (Prometheus
/// 3.14, PR 19387). Scalars do not matter: their selectors give no element.
pub(crate) fn reference_of(node: &Node, context: &Context<'_>) -> Result<Reference, EvalError> {
    let mut found = None;
    let agree = collect(node, Reference::NOW, context, &mut found)?;
    Ok(found.filter(|_| agree).unwrap_or(Reference::NOW))
}

/// Whether all references found so far agree.
fn collect(
    node: &Node,
    outer: Reference,
    context: &Context<'_>,
    found: &mut Option<Reference>,
) -> Result<bool, EvalError> {
    if !matches!(node.value_type(), ValueType::Vector | ValueType::Matrix) {
        return Ok(true);
    }
    let own = match &node.kind {
        NodeKind::Paren(inner) | NodeKind::Unary { operand: inner, .. } => {
            return collect(inner, outer, context, found);
        }
        NodeKind::Binary(binary) => {
            return Ok(collect(&binary.left, outer, context, found)? && collect(&binary.right, outer, context, found)?);
        }
        NodeKind::Aggregate(aggregate) => return collect(&aggregate.operand, outer, context, found),
        NodeKind::Subquery(subquery) => {
            let end = outer.seen_through(subquery.at, subquery.offset.as_ref(), context)?;
            return collect(&subquery.inner, end, context, found);
        }
        NodeKind::Call(call) => {
            // The second argument of `info` only looks like a vector.
            let taken = if call.function.name == "info" { 1 } else { call.arguments.len() };
            let mut vectors = call.arguments[..taken.min(call.arguments.len())]
                .iter()
                .filter(|one| matches!(one.value_type(), ValueType::Vector | ValueType::Matrix))
                .peekable();
            if vectors.peek().is_some() {
                for one in vectors {
                    if !collect(one, outer, context, found)? {
                        return Ok(false);
                    }
                }
                return Ok(true);
            }
            outer
        }
        NodeKind::Selector(selector) | NodeKind::RangeSelector { selector, .. } => {
            outer.seen_through(selector.at, selector.offset.as_ref(), context)?
        }
        NodeKind::Number(_) | NodeKind::Text { .. } => return Ok(true),
    };
    Ok(*found.get_or_insert(own) == own)
}
