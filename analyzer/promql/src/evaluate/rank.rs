//! Aggregations with a parameter: topk, bottomk, limitk, limit_ratio, quantile, count_values.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::aggregate::{Group, groups, note_ignored_histograms};
use super::{Cells, Context, Row, merge_same_labels, scalar};
use crate::answer::{EvalError, SampleValue};
use crate::labels::Labels;
use crate::number::{format_float, format_float_short};
use crate::syntax::tree::{Aggregate, AggregateOperator, Node, NodeKind, Span};

/// Evaluates an aggregation that has a parameter.
pub(crate) fn ranked(
    aggregate: &Aggregate,
    rows: Vec<Row>,
    node: &Node,
    context: &Context<'_>,
) -> Result<Vec<Row>, EvalError> {
    let Some(parameter) = &aggregate.parameter else {
        return Err(EvalError::Execution("aggregation lacks its parameter".to_owned()));
    };
    if aggregate.operator == AggregateOperator::CountValues {
        let NodeKind::Text(label) = &parameter.unwrapped().kind else {
            return Err(EvalError::Execution("count_values needs a label name".to_owned()));
        };
        return count_values(aggregate, &rows, label, context);
    }
    let parameters = scalar(parameter, context)?;
    let groups = groups(aggregate, &rows);
    match aggregate.operator {
        AggregateOperator::Quantile => Ok(quantiles(aggregate, &rows, &groups, &parameters, parameter.span, context)),
        AggregateOperator::LimitRatio => limit_ratio(&rows, &parameters, parameter.span, node, context),
        _ => select_rows(aggregate, &rows, &groups, &parameters, context),
    }
}

fn quantiles(
    aggregate: &Aggregate,
    rows: &[Row],
    groups: &[Group],
    parameters: &[f64],
    span: Span,
    context: &Context<'_>,
) -> Vec<Row> {
    note_invalid_quantiles(parameters, span, context);
    let mut results = Vec::new();
    for group in groups {
        note_ignored_histograms(rows, &group.rows, aggregate, context);
        let mut cells = Cells::empty(context.steps);
        let mut values = Vec::with_capacity(group.rows.len());
        for (step, &parameter) in parameters.iter().enumerate() {
            values.clear();
            values.extend(group.rows.iter().filter_map(|&row| rows[row].cells.float(step)));
            if !values.is_empty() {
                cells.floats[step] = quantile(parameter, &mut values);
            }
        }
        if !cells.is_empty() {
            results.push(Row { labels: group.labels.clone(), drop_name: group.drop_name, cells });
        }
    }
    results
}

/// Warns of quantiles outside 0 to 1.
pub(crate) fn note_invalid_quantiles(parameters: &[f64], span: Span, context: &Context<'_>) {
    for &parameter in parameters {
        if !(0.0..=1.0).contains(&parameter) {
            let text = format!("quantile value should be between 0 and 1, got {}", format_float_short(parameter));
            context.warn(&text, span);
        }
    }
}

/// The quantile of values by linear interpolation between ranks; NaN counts as the smallest value. Reorders the values.
pub(crate) fn quantile(parameter: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || parameter.is_nan() {
        return f64::NAN;
    }
    if parameter < 0.0 {
        return f64::NEG_INFINITY;
    }
    if parameter > 1.0 {
        return f64::INFINITY;
    }
    let rank = parameter * (values.len() - 1) as f64;
    let lower = rank.floor() as usize;
    let weight = rank - rank.floor();
    let (_, &mut low, above) = values.select_nth_unstable_by(lower, |a, b| ascending(*a, *b));
    // The next value in order is the least of those above; without any it is the same one.
    let high = above.iter().copied().min_by(|a, b| ascending(*a, *b)).unwrap_or(low);
    low * (1.0 - weight) + high * weight
}

/// Ascending, NaN first.
fn ascending(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

/// The parameter of topk, bottomk and limitk as a number of elements.
fn element_count(parameter: f64) -> Result<usize, EvalError> {
    if parameter.is_nan() {
        return Err(EvalError::Execution("Parameter value is NaN".to_owned()));
    }
    if parameter <= -9.223372036854776e18 {
        return Err(EvalError::Execution(format!("Scalar value {} underflows int64", format_float_short(parameter))));
    }
    if parameter >= 9.223372036854776e18 {
        return Err(EvalError::Execution(format!("Scalar value {} overflows int64", format_float_short(parameter))));
    }
    Ok(if parameter < 1.0 { 0 } else { parameter as usize })
}

/// topk, bottomk and limitk: some of the elements of each group, as they are.
fn select_rows(
    aggregate: &Aggregate,
    rows: &[Row],
    groups: &[Group],
    parameters: &[f64],
    context: &Context<'_>,
) -> Result<Vec<Row>, EvalError> {
    let by_value = aggregate.operator != AggregateOperator::LimitK;
    let mut results: Vec<Option<Row>> = rows.iter().map(|_| None).collect();
    // The order of the answer: within each group, as the last step ranks them.
    let mut order: Vec<usize> = Vec::new();
    for group in groups {
        if by_value {
            note_ignored_histograms(rows, &group.rows, aggregate, context);
        }
        let mut chosen: Vec<usize> = Vec::new();
        for (step, &parameter) in parameters.iter().enumerate() {
            let count = element_count(parameter)?;
            chosen.clear();
            if by_value {
                let value = |row: usize| rows[row].cells.floats[step];
                let present = group.rows.iter().copied().filter(|&row| rows[row].cells.float(step).is_some());
                best_elements(aggregate.operator, present, count, value, &mut chosen);
            } else {
                chosen.extend(group.rows.iter().filter(|&&row| rows[row].cells.has(step)).take(count));
            }
            for &row in &chosen {
                let target = results[row].get_or_insert_with(|| {
                    order.push(row);
                    Row {
                        labels: rows[row].labels.clone(),
                        drop_name: rows[row].drop_name,
                        cells: Cells::empty(context.steps),
                    }
                });
                if let Some(value) = rows[row].cells.get(step) {
                    target.cells.set(step, value);
                }
            }
        }
    }
    Ok(order.into_iter().filter_map(|row| results[row].take()).collect())
}

/// The best `count` elements, best first.
///
/// A binary heap with the worst element on top, kept as Go's `container/heap` does, so that of equal values the same
/// ones are chosen as by Prometheus.
fn best_elements(
    operator: AggregateOperator,
    elements: impl Iterator<Item = usize>,
    count: usize,
    value: impl Fn(usize) -> f64,
    heap: &mut Vec<usize>,
) {
    // Whether `a` is worse than `b`; NaN is the worst for both operators.
    let worse = |a: usize, b: usize| {
        let (a, b) = (value(a), value(b));
        a.is_nan() || if operator == AggregateOperator::TopK { a < b } else { a > b }
    };
    for element in elements {
        if heap.len() < count {
            heap.push(element);
            let mut place = heap.len() - 1;
            while place > 0 {
                let parent = (place - 1) / 2;
                if !worse(heap[place], heap[parent]) {
                    break;
                }
                heap.swap(place, parent);
                place = parent;
            }
        } else if let Some(&top) = heap.first()
            && worse(top, element)
            && !(value(top).is_nan() && value(element).is_nan())
        {
            heap[0] = element;
            let mut place = 0;
            loop {
                let left = 2 * place + 1;
                if left >= heap.len() {
                    break;
                }
                let right = left + 1;
                let child = if right < heap.len() && worse(heap[right], heap[left]) { right } else { left };
                if !worse(heap[child], heap[place]) {
                    break;
                }
                heap.swap(place, child);
                place = child;
            }
        }
    }
    heap.sort_by(|&a, &b| rank_order(operator, value(a), value(b)));
}

/// Best first; NaN is the worst for both.
fn rank_order(operator: AggregateOperator, a: f64, b: f64) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        _ if operator == AggregateOperator::TopK => b.partial_cmp(&a).unwrap_or(Ordering::Equal),
        _ => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
    }
}

/// limit_ratio: the elements whose label hash falls below the ratio (or, if negative, above its complement).
fn limit_ratio(
    rows: &[Row],
    parameters: &[f64],
    span: Span,
    node: &Node,
    context: &Context<'_>,
) -> Result<Vec<Row>, EvalError> {
    let _ = node;
    let mut ratios = Vec::with_capacity(parameters.len());
    for &parameter in parameters {
        if parameter.is_nan() {
            return Err(EvalError::Execution("Ratio value is NaN".to_owned()));
        }
        let ratio = parameter.clamp(-1.0, 1.0);
        if ratio != parameter {
            let text = format!(
                "ratio value should be between -1 and 1, got {}, capping to {}",
                format_float_short(parameter),
                format_float_short(ratio)
            );
            context.warn(&text, span);
        }
        ratios.push(ratio);
    }
    let mut results = Vec::new();
    for row in rows {
        let offset = crate::hash::label_hash(&row.labels) as f64 / u64::MAX as f64;
        let mut kept = row.clone();
        for (step, &ratio) in ratios.iter().enumerate() {
            let inside = if ratio >= 0.0 { offset < ratio } else { offset >= 1.0 + ratio };
            if !inside {
                kept.cells.clear(step);
            }
        }
        if !kept.cells.is_empty() {
            results.push(kept);
        }
    }
    Ok(results)
}

fn count_values(
    aggregate: &Aggregate,
    rows: &[Row],
    label: &str,
    context: &Context<'_>,
) -> Result<Vec<Row>, EvalError> {
    if label.is_empty() {
        return Err(EvalError::Execution("invalid label name \"\"".to_owned()));
    }
    let mut places: HashMap<Labels, usize> = HashMap::new();
    let mut results: Vec<Row> = Vec::new();
    for group in groups(aggregate, rows) {
        for &row in &group.rows {
            for step in 0..context.steps {
                let text = match rows[row].cells.get(step) {
                    Some(SampleValue::Float(value)) => format_float(value),
                    Some(SampleValue::Histogram(histogram)) => histogram.to_string(),
                    None => continue,
                };
                let labels = group.labels.with(label, &text);
                let place = *places.entry(labels.clone()).or_insert_with(|| {
                    results.push(Row { labels, drop_name: group.drop_name, cells: Cells::empty(context.steps) });
                    results.len() - 1
                });
                let cells = &mut results[place].cells;
                cells.floats[step] = cells.float(step).unwrap_or(0.0) + 1.0;
            }
        }
    }
    merge_same_labels(results)
}
