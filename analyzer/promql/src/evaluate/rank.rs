//! Aggregations with a parameter: topk, bottomk, limitk, limit_ratio, quantile, count_values.

use std::cmp::Ordering;
use std::collections::HashMap;

use rayon::prelude::*;

use super::aggregate::{Group, groups, note_ignored_histograms};
use super::{Cells, Context, Row, merge_same_labels, scalar};
use crate::answer::{EvalError, SampleValue};
use crate::labels::Labels;
use crate::number::{format_float, format_float_short};
use crate::series::is_stale;
use crate::syntax::tree::{Aggregate, AggregateOperator, NodeKind, Span};

/// Evaluates an aggregation that has a parameter.
pub(crate) fn ranked(aggregate: &Aggregate, rows: Vec<Row>, context: &Context<'_>) -> Result<Vec<Row>, EvalError> {
    let Some(parameter) = &aggregate.parameter else {
        return Err(EvalError::Execution("aggregation lacks its parameter".to_owned()));
    };
    if aggregate.operator == AggregateOperator::CountValues {
        let literal = parameter.unwrapped();
        return match &literal.kind {
            NodeKind::Text { text, is_utf8: true } if !text.is_empty() => count_values(aggregate, &rows, text, context),
            _ => {
                let written = context.text.get(literal.span.start..literal.span.end).unwrap_or_default();
                Err(EvalError::Execution(format!("invalid label name {written}")))
            }
        };
    }
    let parameters = scalar(parameter, context)?;
    let summary = Parameters::of(&parameters);
    let groups = groups(aggregate, &rows);
    context.reserve_rows(rows.len())?;
    match aggregate.operator {
        AggregateOperator::Quantile => {
            summary.note_invalid_quantiles(parameter.span, context);
            Ok(quantiles(aggregate, &rows, &groups, &parameters, context))
        }
        AggregateOperator::LimitRatio => {
            summary.check_ratios(parameter.span, context)?;
            Ok(limit_ratio(&rows, &parameters))
        }
        _ => {
            summary.check_element_counts()?;
            Ok(select_rows(aggregate, &rows, &groups, &parameters, context))
        }
    }
}

fn quantiles(
    aggregate: &Aggregate,
    rows: &[Row],
    groups: &[Group],
    parameters: &[f64],
    context: &Context<'_>,
) -> Vec<Row> {
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

/// The parameters of all steps: what is wrong with any of them is wrong whatever the vector holds (PR 16725).
struct Parameters {
    least: f64,
    greatest: f64,
    any_nan: bool,
}

impl Parameters {
    fn of(parameters: &[f64]) -> Parameters {
        let numbers = || parameters.iter().copied().filter(|value| !value.is_nan());
        Parameters {
            least: numbers().fold(f64::INFINITY, f64::min),
            greatest: numbers().fold(f64::NEG_INFINITY, f64::max),
            any_nan: parameters.iter().any(|value| value.is_nan()),
        }
    }

    /// Refuses what is no number of elements.
    fn check_element_counts(&self) -> Result<(), EvalError> {
        let short = format_float_short;
        let message = if self.any_nan {
            "Parameter value is NaN".to_owned()
        } else if self.least <= -9.223372036854776e18 {
            format!("Scalar value {} underflows int64", short(self.least))
        } else if self.greatest >= 9.223372036854776e18 {
            format!("Scalar value {} overflows int64", short(self.greatest))
        } else {
            return Ok(());
        };
        Err(EvalError::Execution(message))
    }

    /// Refuses a ratio of NaN, and warns of ratios beyond 1.
    fn check_ratios(&self, span: Span, context: &Context<'_>) -> Result<(), EvalError> {
        if self.any_nan {
            return Err(EvalError::Execution("Ratio value is NaN".to_owned()));
        }
        for (ratio, capped) in [(self.greatest, 1.0), (self.least, -1.0)] {
            if (capped > 0.0 && ratio > 1.0) || (capped < 0.0 && ratio < -1.0) {
                let (ratio, capped) = (format_float_short(ratio), format_float_short(capped));
                let text = format!("ratio value should be between -1 and 1, got {ratio}, capping to {capped}");
                context.warn(&text, span);
            }
        }
        Ok(())
    }

    fn note_invalid_quantiles(&self, span: Span, context: &Context<'_>) {
        if self.any_nan {
            note_invalid_quantiles(&[f64::NAN], span, context);
        }
        if self.greatest > 1.0 {
            note_invalid_quantiles(&[self.greatest], span, context);
        }
        if self.least < 0.0 {
            note_invalid_quantiles(&[self.least], span, context);
        }
    }
}

/// topk, bottomk and limitk: some of the elements of each group, as they are.
fn select_rows(
    aggregate: &Aggregate,
    rows: &[Row],
    groups: &[Group],
    parameters: &[f64],
    context: &Context<'_>,
) -> Vec<Row> {
    let mut results: Vec<Option<Row>> = rows.iter().map(|_| None).collect();
    // The order of the answer: within each group, as the last step ranks them.
    let mut order: Vec<usize> = Vec::new();
    for group in groups {
        if aggregate.operator != AggregateOperator::LimitK {
            note_ignored_histograms(rows, &group.rows, aggregate, context);
        }
        // What is chosen is held for some steps at a time.
        let parts = parameters.chunks(HELD).enumerate();
        let chosen = parts.flat_map(|(part, own)| match aggregate.operator {
            AggregateOperator::LimitK => first_elements(rows, group, part * HELD, own),
            operator => best_of_steps(operator, rows, group, part * HELD, own),
        });
        for (step, chosen) in chosen.enumerate() {
            for row in chosen {
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
    order.into_iter().filter_map(|row| results[row].take()).collect()
}

/// How many elements a parameter asks for.
fn element_count(parameter: f64) -> usize {
    if parameter < 1.0 { 0 } else { parameter as usize }
}

/// At each of some steps the first rows that have a value.
fn first_elements(rows: &[Row], group: &Group, begin: usize, parameters: &[f64]) -> Vec<Vec<usize>> {
    let at = |(place, &parameter): (usize, &f64)| {
        let present = group.rows.iter().copied().filter(|&row| rows[row].cells.has(begin + place));
        present.take(element_count(parameter)).collect()
    };
    parameters.iter().enumerate().map(at).collect()
}

/// Steps that are ranked together: their floats in a row are few lines of the processor's cache.
const TOGETHER: usize = 32;
/// Steps whose choice is held at a time.
const HELD: usize = 16 * TOGETHER;

/// At each of some steps, from `begin`, the rows with the best floats, best first.
fn best_of_steps(
    operator: AggregateOperator,
    rows: &[Row],
    group: &Group,
    begin: usize,
    parameters: &[f64],
) -> Vec<Vec<usize>> {
    let some = |(number, parameters): (usize, &[f64])| -> Vec<Vec<usize>> {
        let from = begin + number * TOGETHER;
        let mut chosen: Vec<Vec<usize>> = vec![Vec::new(); parameters.len()];
        // Of each step the worst of those chosen, once they are as many as they may be: few elements are better. NaN until then.
        let mut worst = vec![f64::NAN; parameters.len()];
        for &row in &group.rows {
            let floats = &rows[row].cells.floats[from..from + parameters.len()];
            for (place, (&float, worst)) in floats.iter().zip(&mut worst).enumerate() {
                let is_no_better = if operator == AggregateOperator::TopK { float <= *worst } else { float >= *worst };
                if is_no_better || is_stale(float) {
                    continue;
                }
                let (count, heap) = (element_count(parameters[place]), &mut chosen[place]);
                let value = |row: usize| rows[row].cells.floats[from + place];
                offer(operator, row, count, value, heap);
                if let Some(&top) = heap.first().filter(|_| heap.len() == count) {
                    *worst = value(top);
                }
            }
        }
        for (place, heap) in chosen.iter_mut().enumerate() {
            let value = |row: usize| rows[row].cells.floats[from + place];
            heap.sort_by(|&a, &b| rank_order(operator, value(a), value(b)));
        }
        chosen
    };
    parameters.par_chunks(TOGETHER).enumerate().flat_map_iter(some).collect()
}

/// Takes an element in among the best `count`, if it is one.
///
/// A binary heap with the worst element on top, kept as Go's `container/heap` does, so that of equal values the same
/// ones are chosen as by Prometheus.
fn offer(
    operator: AggregateOperator,
    element: usize,
    count: usize,
    value: impl Fn(usize) -> f64,
    heap: &mut Vec<usize>,
) {
    // Whether `a` is worse than `b`; NaN is the worst for both operators.
    let worse = |a: usize, b: usize| {
        let (a, b) = (value(a), value(b));
        a.is_nan() || if operator == AggregateOperator::TopK { a < b } else { a > b }
    };
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
fn limit_ratio(rows: &[Row], ratios: &[f64]) -> Vec<Row> {
    let mut results = Vec::new();
    for row in rows {
        let offset = crate::hash::label_hash(&row.labels) as f64 / u64::MAX as f64;
        let mut kept = row.clone();
        for (step, ratio) in ratios.iter().map(|ratio| ratio.clamp(-1.0, 1.0)).enumerate() {
            let inside = if ratio >= 0.0 { offset < ratio } else { offset >= 1.0 + ratio };
            if !inside {
                kept.cells.clear(step);
            }
        }
        if !kept.cells.is_empty() {
            results.push(kept);
        }
    }
    results
}

fn count_values(
    aggregate: &Aggregate,
    rows: &[Row],
    label: &str,
    context: &Context<'_>,
) -> Result<Vec<Row>, EvalError> {
    let mut places: HashMap<Labels, usize> = HashMap::new();
    let mut results: Vec<Row> = Vec::new();
    for group in groups(aggregate, rows) {
        for &row in &group.rows {
            context.budget.check()?;
            for step in 0..context.steps {
                let text = match rows[row].cells.get(step) {
                    Some(SampleValue::Float(value)) => format_float(value),
                    Some(SampleValue::Histogram(histogram)) => histogram.to_string(),
                    None => continue,
                };
                let labels = group.labels.with(label, &text);
                let place = match places.get(&labels) {
                    Some(place) => *place,
                    None => {
                        context.reserve_rows(1)?;
                        places.insert(labels.clone(), results.len());
                        results.push(Row { labels, drop_name: group.drop_name, cells: Cells::empty(context.steps) });
                        results.len() - 1
                    }
                };
                let cells = &mut results[place].cells;
                cells.floats[step] = cells.float(step).unwrap_or(0.0) + 1.0;
            }
        }
    }
    merge_same_labels(results)
}
