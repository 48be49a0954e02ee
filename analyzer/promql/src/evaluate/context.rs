//! What an evaluation knows at every node: times, storage, settings; and where annotations go.

use super::notes::{Extent, Notes};
use super::{Budget, Options};
use crate::answer::{EvalError, Selected};
use crate::storage::Storage;
use crate::syntax::line_and_column;
use crate::syntax::tree::{At, DurationNode, Span};

/// The surroundings of a node.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub storage: &'a dyn Storage,
    pub options: &'a Options,
    /// The query's text.
    pub text: &'a str,
    pub notes: &'a Notes,
    pub budget: &'a Budget,
    /// The whole query's times (milliseconds) and step (0 for an instant query).
    pub query_start: i64,
    pub query_end: i64,
    pub query_step: i64,
    /// The times at which the node is evaluated: those of the query, or of the steps of a subquery.
    pub start: i64,
    pub step: i64,
    pub steps: usize,
    /// Whether these are the steps of a subquery.
    pub in_subquery: bool,
}

impl<'a> Context<'a> {
    /// The time of a step.
    pub(crate) fn time(&self, step: usize) -> i64 {
        self.start + self.step * step as i64
    }

    /// The same with one step only, for what does not depend on the step.
    pub(crate) fn single(&self) -> Context<'a> {
        Context { steps: 1, ..*self }
    }

    /// A duration in milliseconds.
    pub(crate) fn milliseconds(&self, duration: &DurationNode) -> Result<i64, EvalError> {
        let range = (self.query_end - self.query_start) as f64 / 1000.0;
        let seconds = duration.seconds(self.query_step as f64 / 1000.0, range).map_err(EvalError::Execution)?;
        if seconds.abs() >= 9.2e12 || seconds.is_nan() {
            return Err(EvalError::Execution("duration is out of range".to_owned()));
        }
        Ok((seconds * 1000.0).round() as i64)
    }

    /// A range or step in milliseconds, which must be positive.
    pub(crate) fn positive_milliseconds(&self, duration: &DurationNode) -> Result<i64, EvalError> {
        let milliseconds = self.milliseconds(duration)?;
        if milliseconds <= 0 {
            return Err(EvalError::Execution("duration must be greater than 0".to_owned()));
        }
        Ok(milliseconds)
    }

    /// The time that `@` names.
    pub(crate) fn at(&self, at: Option<At>) -> Option<i64> {
        at.map(|at| match at {
            At::Time(time) => time,
            At::Start => self.query_start,
            At::End => self.query_end,
        })
    }

    /// The lookback in milliseconds.
    pub(crate) fn lookback(&self) -> i64 {
        i64::try_from(self.options.lookback.as_millis()).unwrap_or(i64::MAX / 4).clamp(1, i64::MAX / 4)
    }

    fn place(&self, span: Span) -> String {
        let (line, column) = line_and_column(self.text, span.start);
        format!("({line}:{column})")
    }

    /// Adds a warning about a place in the query.
    pub(crate) fn warn(&self, text: &str, span: Span) {
        self.notes.warn(format!("PromQL warning: {text}"), || self.place(span));
    }

    /// Adds an info about a place in the query.
    pub(crate) fn inform(&self, text: &str, span: Span) {
        self.notes.inform(format!("PromQL info: {text}"), || self.place(span));
    }

    /// Adds an info that says over which buckets and times it holds; several of the same text become one.
    pub(crate) fn inform_with_extent(&self, text: &str, span: Span, extent: Extent) {
        self.notes.inform_with_extent(format!("PromQL info: {text}"), self.place(span), extent);
    }

    /// Remembers what a selector read.
    pub(crate) fn selected(&self, selector: Span, series: usize, samples: usize) {
        let selector = self.text.get(selector.start..selector.end).unwrap_or_default().to_owned();
        self.notes.selected(Selected { selector, series, samples });
    }
}
