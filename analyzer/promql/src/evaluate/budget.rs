//! What an evaluation may hold at a time: samples, as Prometheus counts them, and bytes of what is built; and how long it may take.
//!
//! Rows are reserved before they are allocated. When a node's value is there, what its parts held is given back. What
//! is found too large in parallel work is remembered, and told at the next node.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use super::{Cells, Context, Options, Row, Steps};
use crate::answer::EvalError;
use crate::histogram::Histogram;

/// Bytes of a row besides its cells.
const BYTES_OF_A_ROW: usize = 160;

/// Bytes of a float's cell, and of a histogram's place.
const BYTES_OF_A_CELL: usize = 8;

/// Bytes of a sample in Prometheus: a time and a float.
const BYTES_OF_A_SAMPLE: usize = 16;

/// A part of the bounds within which rough counts do.
const ROUGHLY: usize = 16;

/// The bounds of an evaluation, and what it holds now.
pub(crate) struct Budget {
    most_samples: usize,
    most_bytes: usize,
    held: [AtomicUsize; 3],
    /// Samples of the largest window since the last value.
    window: AtomicUsize,
    exhausted: AtomicBool,
    deadline: Option<Instant>,
}

/// Places in [`Budget::held`]: samples, bytes of rows, bytes of histograms that were computed.
const SAMPLES: usize = 0;
const ROWS: usize = 1;
const HISTOGRAMS: usize = 2;

/// What was held at a moment.
#[derive(Clone, Copy)]
pub(crate) struct Mark([usize; 3]);

fn exhausted() -> EvalError {
    let message = "query processing would load too many samples into memory in query execution";
    EvalError::Execution(message.to_owned())
}

impl Budget {
    pub(crate) fn of(options: &Options) -> Budget {
        Budget {
            most_samples: options.max_samples,
            most_bytes: options.memory,
            held: Default::default(),
            window: AtomicUsize::new(0),
            exhausted: AtomicBool::new(false),
            deadline: options.deadline,
        }
    }

    fn held(&self, place: usize) -> usize {
        self.held[place].load(Relaxed)
    }

    fn take(&self, place: usize, amount: usize) -> usize {
        // Amounts are bounded by the budget each, so that no sum overflows before it is noticed.
        self.held[place].fetch_add(amount.min(usize::MAX / 4), Relaxed).saturating_add(amount)
    }

    /// Whether there is no time left.
    pub(crate) fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    fn is_within(&self) -> bool {
        self.held(ROWS).saturating_add(self.held(HISTOGRAMS)) <= self.most_bytes && !self.exhausted.load(Relaxed)
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark([SAMPLES, ROWS, HISTOGRAMS].map(|place| self.held(place)))
    }

    /// Takes bytes of a histogram; `false` where there are none left.
    pub(crate) fn take_histogram(&self, histogram: &Histogram) -> bool {
        let all = self.take(HISTOGRAMS, bytes_of(histogram)).saturating_add(self.held(ROWS));
        if all > self.most_bytes {
            self.exhausted.store(true, Relaxed);
        }
        !self.exhausted.load(Relaxed)
    }

    /// Remembers how many samples a window had.
    pub(crate) fn see_window(&self, samples: usize) {
        self.window.fetch_max(samples, Relaxed);
    }

    /// An error where something was too large.
    pub(crate) fn check(&self) -> Result<(), EvalError> {
        if self.is_late() {
            return Err(EvalError::Timeout);
        }
        if self.is_within() { Ok(()) } else { Err(exhausted()) }
    }

    /// Takes bytes for what is no row.
    pub(crate) fn take_bytes(&self, bytes: usize) -> Result<(), EvalError> {
        self.take(ROWS, bytes);
        self.check()
    }

    /// Takes samples and the bytes of them, for what is no row.
    pub(crate) fn take_samples(&self, samples: usize) -> Result<(), EvalError> {
        self.take(ROWS, samples.saturating_mul(BYTES_OF_A_SAMPLE));
        if self.take(SAMPLES, samples) > self.most_samples {
            return Err(exhausted());
        }
        self.check()
    }
}

impl Context<'_> {
    /// Reserves rows of cells for all steps, before they are allocated.
    ///
    /// Of a subquery's steps every cell counts as a sample: there may be very many more than samples.
    pub(crate) fn reserve_rows(&self, rows: usize) -> Result<(), EvalError> {
        let cells = rows.saturating_mul(self.steps);
        let bytes = cells.saturating_mul(BYTES_OF_A_CELL).saturating_add(rows.saturating_mul(BYTES_OF_A_ROW));
        let too_many = self.in_subquery && cells > self.budget.most_samples;
        if too_many || bytes > self.budget.most_bytes {
            return Err(exhausted());
        }
        self.budget.take(ROWS, bytes);
        self.budget.check()
    }

    /// Counts a node's value, and gives back what else was taken since a mark.
    pub(crate) fn settle(&self, since: Mark, value: &Steps) -> Result<(), EvalError> {
        let budget = self.budget;
        budget.check()?;
        let Mark([samples, rows, histograms]) = since;
        let (own_samples, own_bytes) = match value {
            Steps::Text(_) => (0, 0),
            Steps::Scalar(values) => (values.len(), values.len() * BYTES_OF_A_CELL),
            Steps::Vector(all) => (self.samples_of(all), bytes_of_rows(all)),
        };
        let window = budget.window.swap(0, Relaxed);
        if budget.take(SAMPLES, own_samples).saturating_add(window) > budget.most_samples {
            return Err(exhausted());
        }
        budget.held[SAMPLES].store(samples.saturating_add(own_samples), Relaxed);
        budget.held[ROWS].store(rows.saturating_add(own_bytes), Relaxed);
        // Counting histograms takes time, and few of them do not matter.
        if budget.held(HISTOGRAMS) - histograms > budget.most_bytes / 64
            && let Steps::Vector(all) = value
        {
            let own: usize = all.iter().map(|row| bytes_of_histograms(&row.cells)).sum();
            budget.held[HISTOGRAMS].store(histograms.saturating_add(own), Relaxed);
        }
        Ok(())
    }

    /// The samples of rows; the number of their cells where even that is little.
    fn samples_of(&self, rows: &[Row]) -> usize {
        let cells = rows.len().saturating_mul(self.steps);
        if cells.saturating_mul(ROUGHLY) <= self.budget.most_samples {
            return cells;
        }
        rows.iter().map(|row| samples_of_cells(&row.cells)).sum()
    }
}

fn samples_of_cells(cells: &Cells) -> usize {
    let floats = (0..cells.floats.len()).filter(|&step| cells.float(step).is_some()).count();
    let histograms = cells.histograms.iter().flatten().flatten();
    floats + histograms.map(|histogram| samples_of_histogram(histogram)).sum::<usize>()
}

/// A histogram counts as so many samples as it is larger than one.
pub(crate) fn samples_of_histogram(histogram: &Histogram) -> usize {
    let numbers = histogram.positive.len() + histogram.negative.len() + histogram.custom_values.len();
    (176 + 8 * numbers) / BYTES_OF_A_SAMPLE
}

fn bytes_of(histogram: &Histogram) -> usize {
    let buckets = histogram.positive.len() + histogram.negative.len();
    size_of::<Histogram>() + 16 + 16 * buckets + 8 * histogram.custom_values.len()
}

fn bytes_of_rows(rows: &[Row]) -> usize {
    let bytes = |row: &Row| {
        let places = if row.cells.histograms.is_some() { 2 } else { 1 };
        BYTES_OF_A_ROW + row.cells.floats.len() * places * BYTES_OF_A_CELL
    };
    rows.iter().map(bytes).sum()
}

/// Bytes of the histograms that nobody else holds.
fn bytes_of_histograms(cells: &Cells) -> usize {
    let all = cells.histograms.iter().flatten().flatten();
    all.filter(|histogram| Arc::strong_count(histogram) == 1).map(|histogram| bytes_of(histogram)).sum()
}
