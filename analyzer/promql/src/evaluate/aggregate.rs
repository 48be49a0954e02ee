//! Aggregations that give one value per group: sum, avg, min, max, count, group, stddev, stdvar.

use std::collections::HashMap;
use std::sync::Arc;

use rayon::prelude::*;

use super::rank::ranked;
use super::{Cells, CompensatedSum, Context, Mean, Row, Variance, vector};
use crate::answer::{EvalError, SampleValue};
use crate::histogram::{Histogram, HistogramMean, HistogramSum};
use crate::labels::{Labels, METRIC_NAME, quoted};
use crate::series::{any_stale, is_stale};
use crate::syntax::tree::{Aggregate, AggregateOperator, Span};

/// A group: its labels and the numbers of its rows.
pub(crate) struct Group {
    pub labels: Labels,
    pub drop_name: bool,
    pub rows: Vec<usize>,
}

/// The labels of the group that a label set belongs to.
pub(crate) fn group_labels(aggregate: &Aggregate, labels: &Labels) -> Labels {
    if aggregate.without {
        let gone = |name: &str| name == METRIC_NAME || aggregate.grouping.iter().any(|label| label == name);
        Labels::from_pairs(labels.pairs().iter().filter(|(name, _)| !gone(name)).cloned().collect())
    } else if aggregate.grouping.is_empty() {
        Labels::default()
    } else {
        labels.only(&aggregate.grouping)
    }
}

/// Rows by group, in the order in which groups appear.
pub(crate) fn groups(aggregate: &Aggregate, rows: &[Row]) -> Vec<Group> {
    let mut places: HashMap<Labels, usize> = HashMap::new();
    let mut groups: Vec<Group> = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let labels = group_labels(aggregate, &row.labels);
        let place = *places.entry(labels.clone()).or_insert_with(|| {
            groups.push(Group { labels, drop_name: false, rows: Vec::new() });
            groups.len() - 1
        });
        groups[place].rows.push(index);
        groups[place].drop_name |= row.drop_name;
    }
    groups
}

/// Evaluates an aggregation.
pub(crate) fn aggregate(aggregate: &Aggregate, context: &Context<'_>) -> Result<Vec<Row>, EvalError> {
    let rows = vector(&aggregate.operand, context)?;
    if aggregate.operator.has_parameter() {
        return ranked(aggregate, rows, context);
    }
    let groups = groups(aggregate, &rows);
    context.reserve_rows(groups.len())?;
    let fold = |group: &Group| {
        let span = aggregate.operand.span;
        let cells = match aggregate.operator {
            AggregateOperator::Sum => sums(&rows, group, span, context),
            AggregateOperator::Average => averages(&rows, group, span, context),
            AggregateOperator::Minimum => extremes(&rows, group, aggregate, context, |new, old| new < old),
            AggregateOperator::Maximum => extremes(&rows, group, aggregate, context, |new, old| new > old),
            AggregateOperator::Count => counts(&rows, group, context.steps),
            AggregateOperator::Group => {
                let mut cells = counts(&rows, group, context.steps);
                cells.map_floats(|_, _| 1.0);
                cells
            }
            _ => variances(&rows, group, aggregate, context),
        };
        Row { labels: group.labels.clone(), drop_name: group.drop_name, cells }
    };
    let results: Vec<Row> = groups.par_iter().map(fold).collect();
    Ok(results.into_iter().filter(|row| !row.cells.is_empty()).collect())
}

fn counts(rows: &[Row], group: &Group, steps: usize) -> Cells {
    let mut cells = Cells::empty(steps);
    for &row in &group.rows {
        for step in 0..steps {
            if rows[row].cells.has(step) {
                cells.floats[step] = cells.float(step).unwrap_or(0.0) + 1.0;
            }
        }
    }
    cells
}

/// Notes about histograms that were added up.
pub(crate) fn note_histogram_sum(sum: &HistogramSum, span: Span, context: &Context<'_>) {
    if sum.reset_conflict() {
        context.warn("conflicting counter resets during histogram aggregation", span);
    }
    if sum.bounds_reconciled {
        context.inform("mismatched custom buckets were reconciled during aggregation", span);
    }
}

/// A warning about histograms with exponential and with custom buckets side by side.
pub(crate) fn note_mixed_schemas(metric_name: &str, span: Span, context: &Context<'_>) {
    let name = quoted(metric_name);
    let text = "vector contains a mix of histograms with exponential and custom buckets schemas for metric name";
    context.warn(&format!("{text} {name}"), span);
}

/// What the histograms of a group at one step add up to (or their mean); `None` if they cannot be added.
fn histogram_total(
    rows: &[Row],
    group: &Group,
    step: usize,
    mean: bool,
    span: Span,
    context: &Context<'_>,
) -> Option<Histogram> {
    let mut histograms =
        group.rows.iter().filter_map(|&row| Some((rows[row].cells.histogram(step)?, rows[row].labels.metric_name())));
    let (first, _) = histograms.next()?;
    let mut total = HistogramMean::new(first);
    for (histogram, name) in histograms {
        let added = if mean { total.add(histogram) } else { total.sum.add(histogram) };
        if added.is_err() {
            note_mixed_schemas(name, span, context);
            return None;
        }
    }
    note_histogram_sum(&total.sum, span, context);
    Some(if mean { total.histogram() } else { total.sum.histogram() })
}

/// Puts histograms in place of what floats gave; a step with both is left empty, with a warning.
fn with_histograms(
    mut cells: Cells,
    rows: &[Row],
    group: &Group,
    mean: bool,
    span: Span,
    context: &Context<'_>,
) -> Cells {
    if group.rows.iter().all(|&row| rows[row].cells.histograms.is_none()) {
        return cells;
    }
    for step in 0..context.steps {
        if !group.rows.iter().any(|&row| rows[row].cells.histogram(step).is_some()) {
            continue;
        }
        if cells.has(step) {
            context.warn("encountered a mix of histograms and floats for aggregation", span);
            cells.clear(step);
            continue;
        }
        if let Some(total) = histogram_total(rows, group, step, mean, span, context) {
            if !context.budget.take_histogram(&total) {
                break;
            }
            cells.set(step, SampleValue::Histogram(Arc::new(total)));
        }
    }
    cells
}

/// Feeds all floats of a group to one accumulator per step; steps without floats are left empty.
///
/// Rows are taken in order at each step, so the result does not depend on the number of threads.
fn fold_floats<A: Default + Clone>(
    rows: &[Row],
    group: &Group,
    steps: usize,
    add: impl Fn(&mut A, f64) + Sync,
    finish: impl Fn(&A) -> f64 + Sync,
) -> Cells {
    let mut cells = Cells::empty(steps);
    // Steps of a row lie next to each other: the more of them are taken at once, the fewer pages are looked up.
    let parts = if group.rows.len() * steps > 100_000 { rayon::current_num_threads() } else { 1 };
    let chunk = steps.div_ceil(parts).max(64);
    cells.floats.par_chunks_mut(chunk).enumerate().for_each(|(number, out)| {
        let from = number * chunk;
        let mut accumulators = vec![A::default(); out.len()];
        let (mut filled, mut all_filled) = (vec![false; out.len()], false);
        for &row in &group.rows {
            let floats = &rows[row].cells.floats[from..from + out.len()];
            if !any_stale(floats) {
                accumulators.iter_mut().zip(floats).for_each(|(accumulator, &value)| add(accumulator, value));
                all_filled = true;
                continue;
            }
            for (place, &value) in floats.iter().enumerate() {
                if !is_stale(value) {
                    add(&mut accumulators[place], value);
                    filled[place] = true;
                }
            }
        }
        let any = |(place, _): &(usize, &A)| all_filled || filled[*place];
        for (place, accumulator) in accumulators.iter().enumerate().filter(any) {
            out[place] = finish(accumulator);
        }
    });
    cells
}

fn sums(rows: &[Row], group: &Group, span: Span, context: &Context<'_>) -> Cells {
    let cells = fold_floats(rows, group, context.steps, CompensatedSum::add, CompensatedSum::value);
    with_histograms(cells, rows, group, false, span, context)
}

fn averages(rows: &[Row], group: &Group, span: Span, context: &Context<'_>) -> Cells {
    let cells = fold_floats(rows, group, context.steps, Mean::add, Mean::value);
    with_histograms(cells, rows, group, true, span, context)
}

/// Says that an aggregation passed over histograms, if it did.
pub(crate) fn note_ignored_histograms(rows: &[Row], members: &[usize], aggregate: &Aggregate, context: &Context<'_>) {
    let any = members.iter().any(|&row| {
        rows[row].cells.histograms.as_ref().is_some_and(|histograms| histograms.iter().any(Option::is_some))
    });
    if any {
        let text = format!("ignored histogram in {} aggregation", aggregate.operator.name());
        context.inform(&text, aggregate.operand.span);
    }
}

fn extremes(
    rows: &[Row],
    group: &Group,
    aggregate: &Aggregate,
    context: &Context<'_>,
    better: impl Fn(f64, f64) -> bool,
) -> Cells {
    note_ignored_histograms(rows, &group.rows, aggregate, context);
    let mut cells = Cells::empty(context.steps);
    for &row in &group.rows {
        for step in 0..context.steps {
            if let Some(value) = rows[row].cells.float(step) {
                match cells.float(step) {
                    // A NaN gives way to anything.
                    Some(old) if !better(value, old) && !old.is_nan() => {}
                    _ => cells.floats[step] = value,
                }
            }
        }
    }
    cells
}

fn variances(rows: &[Row], group: &Group, aggregate: &Aggregate, context: &Context<'_>) -> Cells {
    note_ignored_histograms(rows, &group.rows, aggregate, context);
    let root = aggregate.operator == AggregateOperator::StandardDeviation;
    fold_floats(rows, group, context.steps, Variance::add, |variance| {
        if root { variance.value().sqrt() } else { variance.value() }
    })
}
