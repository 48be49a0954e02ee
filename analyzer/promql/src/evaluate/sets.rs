//! `and`, `or`, `unless`.

use std::collections::HashMap;

use super::matching::{Signatures, signature};
use super::{Context, Row, merge_same_labels};
use crate::answer::EvalError;
use crate::syntax::tree::{BinaryOperator, Matching};

/// Evaluates a set operator: which elements stay depends on the other side at the same step.
pub(crate) fn set_operation(
    operator: BinaryOperator,
    matching: &Matching,
    mut left: Vec<Row>,
    mut right: Vec<Row>,
    context: &Context<'_>,
) -> Result<Vec<Row>, EvalError> {
    let (deciding, filtered) = match operator {
        BinaryOperator::Or => (&left, &mut right),
        _ => (&right, &mut left),
    };
    let keep_matched = operator == BinaryOperator::And;
    let mut signatures = Signatures::new(matching);
    // For each signature, the steps at which the deciding side has an element.
    let mut present: HashMap<usize, Vec<bool>> = HashMap::new();
    for row in deciding.iter() {
        let id = signatures.id(signature(matching, &row.labels));
        let steps = present.entry(id).or_insert_with(|| vec![false; context.steps]);
        for (step, flag) in steps.iter_mut().enumerate() {
            *flag |= row.cells.has(step);
        }
    }
    filtered.retain_mut(|row| {
        let id = signatures.known(&signature(matching, &row.labels));
        match id.and_then(|id| present.get(&id)) {
            Some(steps) => {
                for (step, &matched) in steps.iter().enumerate() {
                    if matched != keep_matched {
                        row.cells.clear(step);
                    }
                }
                !row.cells.is_empty()
            }
            None => !keep_matched,
        }
    });
    match operator {
        BinaryOperator::Or => {
            left.append(&mut right);
            merge_same_labels(left)
        }
        _ => Ok(left),
    }
}
