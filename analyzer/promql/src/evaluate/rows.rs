//! Intermediate values: one row per series, one cell per step.

use std::collections::HashMap;
use std::sync::Arc;

use crate::answer::{EvalError, SampleValue};
use crate::histogram::Histogram;
use crate::labels::Labels;
use crate::series::{is_stale, stale_marker};

/// The value of a node at all steps.
#[derive(Clone, Debug)]
pub(crate) enum Steps {
    /// One number per step.
    Scalar(Vec<f64>),
    /// A string.
    Text(String),
    /// Rows; their order is that of the vector.
    Vector(Vec<Row>),
}

/// A series over all steps.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub labels: Labels,
    /// Whether the metric's name is to go when the evaluation ends.
    pub drop_name: bool,
    pub cells: Cells,
}

/// One cell per step.
///
/// An empty cell is the staleness marker among the floats: no arithmetic gives that bit pattern (it is a signalling
/// NaN, which arithmetic makes quiet), and a selector never hands a marker on.
#[derive(Clone, Debug)]
pub(crate) struct Cells {
    pub floats: Vec<f64>,
    /// Histograms, where there are any; the float of such a step is empty.
    pub histograms: Option<Vec<Option<Arc<Histogram>>>>,
}

impl Cells {
    /// Empty cells.
    pub(crate) fn empty(steps: usize) -> Cells {
        Cells { floats: vec![stale_marker(); steps], histograms: None }
    }

    /// The float at a step.
    pub(crate) fn float(&self, step: usize) -> Option<f64> {
        let value = self.floats[step];
        if is_stale(value) { None } else { Some(value) }
    }

    /// The histogram at a step.
    pub(crate) fn histogram(&self, step: usize) -> Option<&Arc<Histogram>> {
        self.histograms.as_ref()?[step].as_ref()
    }

    /// The value at a step.
    pub(crate) fn get(&self, step: usize) -> Option<SampleValue> {
        match self.float(step) {
            Some(value) => Some(SampleValue::Float(value)),
            None => self.histogram(step).cloned().map(SampleValue::Histogram),
        }
    }

    /// Whether there is a value at a step.
    pub(crate) fn has(&self, step: usize) -> bool {
        !is_stale(self.floats[step]) || self.histogram(step).is_some()
    }

    /// Whether there is no value at all.
    pub(crate) fn is_empty(&self) -> bool {
        (0..self.floats.len()).all(|step| !self.has(step))
    }

    /// Sets the value at a step.
    pub(crate) fn set(&mut self, step: usize, value: SampleValue) {
        match value {
            SampleValue::Float(value) => self.floats[step] = value,
            SampleValue::Histogram(histogram) => {
                let steps = self.floats.len();
                self.histograms.get_or_insert_with(|| vec![None; steps])[step] = Some(histogram);
            }
        }
    }

    /// Empties a step.
    pub(crate) fn clear(&mut self, step: usize) {
        self.floats[step] = stale_marker();
        if let Some(histograms) = &mut self.histograms {
            histograms[step] = None;
        }
    }

    /// Changes all floats, empties histograms.
    pub(crate) fn map_floats(&mut self, change: impl Fn(usize, f64) -> f64) {
        self.histograms = None;
        for (step, value) in self.floats.iter_mut().enumerate() {
            if !is_stale(*value) {
                *value = change(step, *value);
            }
        }
    }

    /// Repeats the only step.
    pub(crate) fn repeated(self, steps: usize) -> Cells {
        Cells {
            floats: vec![self.floats.first().copied().unwrap_or_else(stale_marker); steps],
            histograms: self.histograms.map(|one| vec![one.into_iter().next().flatten(); steps]),
        }
    }
}

impl Steps {
    /// Repeats the only step.
    pub(crate) fn repeated(self, steps: usize) -> Steps {
        match self {
            Steps::Scalar(values) => Steps::Scalar(vec![values.first().copied().unwrap_or(f64::NAN); steps]),
            Steps::Text(text) => Steps::Text(text),
            Steps::Vector(rows) => {
                Steps::Vector(rows.into_iter().map(|row| Row { cells: row.cells.repeated(steps), ..row }).collect())
            }
        }
    }
}

/// The message about two elements with the same labels.
pub(crate) const SAME_LABELS: &str = "vector cannot contain metrics with the same labelset";

/// Joins rows with the same labels where they have values at different steps; else an error.
pub(crate) fn merge_same_labels(rows: Vec<Row>) -> Result<Vec<Row>, EvalError> {
    let mut places: HashMap<Labels, usize> = HashMap::with_capacity(rows.len());
    let mut merged: Vec<Row> = Vec::with_capacity(rows.len());
    for row in rows {
        match places.get(&row.labels) {
            None => {
                places.insert(row.labels.clone(), merged.len());
                merged.push(row);
            }
            Some(&place) => {
                let target = &mut merged[place];
                for step in 0..row.cells.floats.len() {
                    if let Some(value) = row.cells.get(step) {
                        if target.cells.has(step) {
                            return Err(EvalError::Execution(SAME_LABELS.to_owned()));
                        }
                        target.cells.set(step, value);
                    }
                }
            }
        }
    }
    Ok(merged)
}
