//! The type check.

use super::Fault;
use super::tree::*;
use crate::labels::quoted;

/// Checks types and the rules on operators, functions and aggregations.
pub(super) fn check(node: &Node) -> Result<(), Fault> {
    match &node.kind {
        NodeKind::Number(_) | NodeKind::Text { .. } => Ok(()),
        NodeKind::Selector(selector) | NodeKind::RangeSelector { selector, .. } => check_selector(selector),
        NodeKind::Paren(inner) => check(inner),
        NodeKind::Unary { operand, .. } => {
            check(operand)?;
            match operand.value_type() {
                ValueType::Scalar | ValueType::Vector => Ok(()),
                other => Err(Fault::at(
                    node.span,
                    format!(
                        "unary expression only allowed on expressions of type scalar or instant vector, got {}",
                        quoted(other.documented())
                    ),
                )),
            }
        }
        NodeKind::Binary(binary) => check_binary(binary, node),
        NodeKind::Aggregate(aggregate) => check_aggregate(aggregate),
        NodeKind::Call(call) => check_call(call, node),
        NodeKind::Subquery(subquery) => {
            check(&subquery.inner)?;
            match subquery.inner.value_type() {
                ValueType::Vector => Ok(()),
                other => Err(Fault::at(
                    node.span,
                    format!("subquery is only allowed on instant vector, got {} instead", short_name(other)),
                )),
            }
        }
    }
}

/// What selects everything is refused.
fn check_selector(selector: &Selector) -> Result<(), Fault> {
    if selector.matchers.iter().all(|matcher| matcher.matches("")) {
        return Err(Fault::at(selector.span, "vector selector must contain at least one non-empty matcher"));
    }
    Ok(())
}

/// The type as messages about subqueries name it.
fn short_name(value_type: ValueType) -> &'static str {
    match value_type {
        ValueType::Scalar => "scalar",
        ValueType::String => "string",
        ValueType::Vector => "vector",
        ValueType::Matrix => "matrix",
    }
}

fn expect_type(node: &Node, wanted: ValueType, context: &str) -> Result<(), Fault> {
    check(node)?;
    let found = node.value_type();
    if found == wanted {
        return Ok(());
    }
    let message = format!("expected type {} in {context}, got {}", wanted.documented(), found.documented());
    Err(Fault::at(node.span, message))
}

fn check_binary(binary: &Binary, node: &Node) -> Result<(), Fault> {
    let (left, right) = (binary.left.value_type(), binary.right.value_type());
    let operator_place = binary.operator_span;
    check(&binary.left)?;
    check(&binary.right)?;
    if binary.returns_bool && !binary.operator.compares() {
        return Err(Fault::at(operator_place, "bool modifier can only be used on comparison operators"));
    }
    if binary.operator.compares() && !binary.returns_bool && left == ValueType::Scalar && right == ValueType::Scalar {
        return Err(Fault::at(operator_place, "comparisons between scalars must use BOOL modifier"));
    }
    for (side, operand) in [(left, &binary.left), (right, &binary.right)] {
        if !matches!(side, ValueType::Scalar | ValueType::Vector) {
            let message = "binary expression must contain only scalar and instant vector types";
            return Err(Fault::at(operand.span, message));
        }
    }
    let both_vectors = left == ValueType::Vector && right == ValueType::Vector;
    if binary.operator.is_set_operator() {
        if !both_vectors {
            let message =
                format!("set operator {} not allowed in binary scalar expression", quoted(binary.operator.symbol()));
            return Err(Fault::at(node.span, message));
        }
        if let Some(matching) = &binary.matching {
            if matches!(matching.cardinality, Cardinality::ManyToOne | Cardinality::OneToMany) {
                let message = format!("no grouping allowed for {} operation", quoted(binary.operator.symbol()));
                return Err(Fault::at(node.span, message));
            }
            if matching.fill_left.is_some() || matching.fill_right.is_some() {
                return Err(Fault::at(node.span, "filling in missing series not allowed for set operators"));
            }
        }
    } else if !both_vectors
        && binary
            .matching
            .as_ref()
            .is_some_and(|matching| matching.fill_left.is_some() || matching.fill_right.is_some())
    {
        return Err(Fault::at(node.span, "filling in missing series only allowed between instant vectors"));
    }
    Ok(())
}

fn check_aggregate(aggregate: &Aggregate) -> Result<(), Fault> {
    expect_type(&aggregate.operand, ValueType::Vector, "aggregation expression")?;
    if let Some(parameter) = &aggregate.parameter {
        let wanted = match aggregate.operator {
            AggregateOperator::CountValues => ValueType::String,
            _ => ValueType::Scalar,
        };
        expect_type(parameter, wanted, "aggregation parameter")?;
    }
    Ok(())
}

fn check_call(call: &Call, node: &Node) -> Result<(), Fault> {
    let function = call.function;
    let (given, most) = (call.arguments.len(), function.arguments.len());
    let name = quoted(function.name);
    let wrong = |wanted: String| {
        Err(Fault::at(node.span, format!("expected {wanted} argument(s) in call to {name}, got {given}")))
    };
    if function.variadic == 0 {
        if given != most {
            return wrong(format!("{most}"));
        }
    } else {
        let least = most - 1;
        if given < least {
            return wrong(format!("at least {least}"));
        }
        let limit = least + function.variadic.unsigned_abs() as usize;
        if function.variadic > 0 && given > limit {
            return wrong(format!("at most {limit}"));
        }
    }
    if function.name == "info" && given > 1 {
        return check_info(call);
    }
    for (index, argument) in call.arguments.iter().enumerate() {
        let wanted = function.arguments[index.min(most.saturating_sub(1))];
        expect_type(argument, wanted, &format!("call to function {name}"))?;
    }
    Ok(())
}

/// The second argument of `info` is a bare label selector. It may match everything: it selects among info series.
fn check_info(call: &Call) -> Result<(), Fault> {
    expect_type(&call.arguments[0], ValueType::Vector, "call to function \"info\"")?;
    let second = &call.arguments[1];
    match &second.kind {
        NodeKind::Selector(selector)
            if selector.name.is_none() && selector.at.is_none() && selector.offset.is_none() =>
        {
            Ok(())
        }
        NodeKind::Selector(selector) if selector.name.is_some() => {
            Err(Fault::at(second.span, "expected label selectors only, got vector selector instead"))
        }
        _ => Err(Fault::at(second.span, "expected label selectors only")),
    }
}
