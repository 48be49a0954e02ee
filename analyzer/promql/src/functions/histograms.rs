//! Functions of histograms, native ones and classic ones (`…_bucket` series with the label `le`).

mod classic;

use super::Arguments;
use crate::answer::EvalError;
use crate::evaluate::{Cells, Extent, Row, merge_same_labels, note_invalid_quantiles};
use crate::histogram::{Histogram, NanEffect};
use crate::labels::{Labels, quoted};
use crate::number::format_label_float;
use crate::syntax::tree::Span;
use classic::{ClassicHistogram, classic_histograms};

/// Evaluates one of the `histogram_…` functions.
pub(super) fn histograms(name: &str, arguments: &Arguments<'_>) -> Result<Vec<Row>, EvalError> {
    match name {
        "histogram_count" => each_histogram(arguments, |histogram| histogram.count),
        "histogram_sum" => each_histogram(arguments, |histogram| histogram.sum),
        "histogram_avg" => each_histogram(arguments, |histogram| histogram.sum / histogram.count),
        "histogram_stdvar" => each_histogram(arguments, Histogram::variance),
        "histogram_stddev" => each_histogram(arguments, |histogram| histogram.variance().sqrt()),
        "histogram_quantile" => {
            let parameters = arguments.scalar(0)?;
            note_invalid_quantiles(&parameters, arguments.span(0), arguments.context);
            let rows = arguments.vector(1)?;
            quantiles(&rows, &parameters, arguments.span(1), |_| true, arguments)
        }
        "histogram_quantiles" => several_quantiles(arguments),
        "histogram_fraction" => {
            let (lower, upper) = (arguments.scalar(0)?, arguments.scalar(1)?);
            let rows = arguments.vector(2)?;
            fractions(&rows, &lower, &upper, arguments)
        }
        _ => Err(EvalError::Execution(format!("function {name} is not known"))),
    }
}

/// Applies a function to each native histogram; floats are left out.
fn each_histogram(arguments: &Arguments<'_>, function: impl Fn(&Histogram) -> f64) -> Result<Vec<Row>, EvalError> {
    let mut results = Vec::new();
    let rows = arguments.vector(0)?;
    arguments.context.reserve_rows(rows.len())?;
    for row in rows {
        let Some(histograms) = &row.cells.histograms else { continue };
        let mut cells = Cells::empty(arguments.context.steps);
        for (step, histogram) in histograms.iter().enumerate() {
            if let Some(histogram) = histogram {
                cells.floats[step] = function(histogram);
            }
        }
        if !cells.is_empty() {
            results.push(Row { labels: row.labels.clone(), drop_name: true, cells });
        }
    }
    Ok(results)
}

/// Puts classic and native results together: where both give a value, neither counts.
fn combined(
    rows: &[Row],
    arguments: &Arguments<'_>,
    span: Span,
    native: impl Fn(usize, &Histogram, &Labels) -> f64,
    classic: impl Fn(&ClassicHistogram) -> Vec<Option<f64>> + Sync,
) -> Result<Vec<Row>, EvalError> {
    use rayon::prelude::*;
    let context = arguments.context;
    context.reserve_rows(rows.len())?;
    let classic_rows = classic_histograms(rows, span, context);
    let mut results: Vec<Row> = classic_rows
        .par_iter()
        .map(|histogram| {
            let mut cells = Cells::empty(context.steps);
            for (step, value) in classic(histogram).into_iter().enumerate() {
                if let Some(value) = value {
                    cells.floats[step] = value;
                }
            }
            Row { labels: histogram.labels.clone(), drop_name: true, cells }
        })
        .collect();
    let mut places = std::collections::HashMap::new();
    for (place, row) in results.iter().enumerate() {
        places.insert(row.labels.clone(), place);
    }
    for row in rows.iter().filter(|row| row.cells.histograms.is_some()) {
        let place = places.get(&row.labels).copied();
        let mut own = Cells::empty(context.steps);
        for step in 0..context.steps {
            let Some(histogram) = row.cells.histogram(step) else { continue };
            if let Some(place) = place
                && results[place].cells.has(step)
            {
                results[place].cells.clear(step);
                let text = "vector contains a mix of classic and native histograms";
                context.warn(&with_metric_name(text, &row.labels), span);
                continue;
            }
            let value = native(step, histogram, &row.labels);
            match place {
                Some(place) => results[place].cells.floats[step] = value,
                None => own.floats[step] = value,
            }
        }
        if !own.is_empty() {
            results.push(Row { labels: row.labels.clone(), drop_name: true, cells: own });
        }
    }
    results.retain(|row| !row.cells.is_empty());
    merge_same_labels(results)
}

/// A note's text with the metric's name, where there is one.
fn with_metric_name(text: &str, labels: &Labels) -> String {
    match labels.metric_name() {
        "" => text.to_owned(),
        name => format!("{text} for metric name {}", quoted(name)),
    }
}

/// `histogram_quantiles`: a label says which quantile an element is, at each step anew.
fn several_quantiles(arguments: &Arguments<'_>) -> Result<Vec<Row>, EvalError> {
    let steps = arguments.context.steps;
    let rows = arguments.vector(0)?;
    let label = arguments.text(1)?;
    let mut results = Vec::new();
    // The first quantile that looks into the buckets of a step repairs them, and says so, for all.
    let mut repaired = vec![false; steps];
    for index in 2..arguments.len() {
        let parameters = arguments.scalar(index)?;
        note_invalid_quantiles(&parameters, arguments.span(index), arguments.context);
        let found = quantiles(&rows, &parameters, arguments.span(0), |step| !repaired[step], arguments)?;
        for (step, parameter) in parameters.iter().enumerate() {
            repaired[step] |= (0.0..=1.0).contains(parameter);
        }
        let mut distinct = parameters.clone();
        distinct.sort_by(f64::total_cmp);
        distinct.dedup_by(|a, b| a.to_bits() == b.to_bits());
        for parameter in &distinct {
            let value = format_label_float(*parameter);
            for row in &found {
                arguments.context.reserve_rows(1)?;
                let mut cells = row.cells.clone();
                for (step, other) in parameters.iter().enumerate() {
                    if other.to_bits() != parameter.to_bits() {
                        cells.clear(step);
                    }
                }
                if !cells.is_empty() {
                    results.push(Row { labels: row.labels.with(&label, &value), drop_name: row.drop_name, cells });
                }
            }
        }
    }
    merge_same_labels(results)
}

fn quantiles(
    rows: &[Row],
    parameters: &[f64],
    span: Span,
    tells_repairs: impl Fn(usize) -> bool + Sync,
    arguments: &Arguments<'_>,
) -> Result<Vec<Row>, EvalError> {
    let context = arguments.context;
    let native = |step: usize, histogram: &Histogram, labels: &Labels| {
        let estimate = histogram.quantile(parameters[step]);
        let note = match estimate.nan_effect {
            NanEffect::None | NanEffect::Excluded => None,
            NanEffect::Result => Some("input to histogram_quantile has NaN observations, result is NaN"),
            NanEffect::Skewed => Some("input to histogram_quantile has NaN observations, result is skewed higher"),
        };
        if let Some(note) = note {
            context.inform(&with_metric_name(note, labels), span);
        }
        estimate.value
    };
    let classic = |histogram: &ClassicHistogram| {
        histogram.each_step(rows, context.steps, |step, buckets| {
            let (value, forced) = classic::quantile(buckets, parameters[step]);
            if let Some(forced) = forced.filter(|_| tells_repairs(step)) {
                let text = "input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)";
                let extent = Extent::of(forced.lowest, forced.highest, forced.difference, context.time(step));
                context.inform_with_extent(&with_metric_name(text, &histogram.labels), span, extent);
            }
            value
        })
    };
    combined(rows, arguments, span, native, classic)
}

fn fractions(rows: &[Row], lower: &[f64], upper: &[f64], arguments: &Arguments<'_>) -> Result<Vec<Row>, EvalError> {
    let context = arguments.context;
    let span = arguments.span(2);
    let native = |step: usize, histogram: &Histogram, labels: &Labels| {
        let estimate = histogram.fraction(lower[step], upper[step]);
        if estimate.nan_effect != NanEffect::None {
            let text = "input to histogram_fraction has NaN observations, which are excluded from all fractions";
            context.inform(&with_metric_name(text, labels), span);
        }
        estimate.value
    };
    let classic = |histogram: &ClassicHistogram| {
        histogram.each_step(rows, context.steps, |step, buckets| classic::fraction(buckets, lower[step], upper[step]))
    };
    combined(rows, arguments, span, native, classic)
}
