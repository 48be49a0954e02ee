//! The functions of the language, by family.

mod absent;
mod histograms;
mod info;
mod labels;
mod math;
mod over_time;
mod rates;
mod regression;
mod sort;
mod time;

use crate::answer::{EvalError, SampleValue};
use crate::evaluate::{
    Cells, Context, RangeVector, Row, Steps, evaluate, range_vector, sample_starts, sample_times, scalar, vector,
};
use crate::labels::Labels;
use crate::syntax::tree::{Boundary, Call, Node, NodeKind, Span};

/// A call and its surroundings.
#[derive(Clone, Copy)]
struct Arguments<'a> {
    call: &'a Call,
    node: &'a Node,
    context: &'a Context<'a>,
}

impl Arguments<'_> {
    fn vector(&self, index: usize) -> Result<Vec<Row>, EvalError> {
        vector(self.node_of(index)?, self.context)
    }

    fn scalar(&self, index: usize) -> Result<Vec<f64>, EvalError> {
        scalar(self.node_of(index)?, self.context)
    }

    fn range(&self, index: usize) -> Result<RangeVector, EvalError> {
        range_vector(self.node_of(index)?, self.context)
    }

    fn text(&self, index: usize) -> Result<String, EvalError> {
        match evaluate(self.node_of(index)?, self.context)? {
            Steps::Text(text) => Ok(text),
            _ => Err(EvalError::Execution("expected a string".to_owned())),
        }
    }

    /// A label's name: `None` if it is empty or not valid UTF-8, which no label has.
    fn label_name(&self, index: usize) -> Result<Option<String>, EvalError> {
        let text = self.text(index)?;
        let broken = matches!(self.node_of(index)?.unwrapped().kind, NodeKind::Text { is_utf8: false, .. });
        Ok((!text.is_empty() && !broken).then_some(text))
    }

    fn node_of(&self, index: usize) -> Result<&Node, EvalError> {
        self.call.arguments.get(index).ok_or_else(|| EvalError::Execution("an argument is missing".to_owned()))
    }

    /// The place of an argument, or of the call if it has none.
    fn span(&self, index: usize) -> Span {
        self.call.arguments.get(index).map_or(self.node.span, |argument| argument.span)
    }

    fn len(&self) -> usize {
        self.call.arguments.len()
    }
}

/// Evaluates a function call.
pub(crate) fn call(call: &Call, node: &Node, context: &Context<'_>) -> Result<Steps, EvalError> {
    let arguments = Arguments { call, node, context };
    let name = call.function.name;
    refuse_boundary(call)?;
    let steps = context.steps;
    let constant = |value: f64| Ok(Steps::Scalar(vec![value; steps]));
    match name {
        "time" => Ok(Steps::Scalar((0..steps).map(|step| context.time(step) as f64 / 1000.0).collect())),
        "pi" => constant(std::f64::consts::PI),
        "start" => constant(context.query_start as f64 / 1000.0),
        "end" => constant(context.query_end as f64 / 1000.0),
        "range" => constant((context.query_end - context.query_start) as f64 / 1000.0),
        "step" => constant(context.query_step as f64 / 1000.0),
        "max_of" | "min_of" => {
            let (left, right) = (arguments.scalar(0)?, arguments.scalar(1)?);
            let pick = |(a, b): (&f64, &f64)| match (a.is_nan() || b.is_nan(), name) {
                (true, _) => f64::NAN,
                (_, "max_of") => a.max(*b),
                _ => a.min(*b),
            };
            Ok(Steps::Scalar(left.iter().zip(&right).map(pick).collect()))
        }
        "scalar" => Ok(Steps::Scalar(only_element(&arguments.vector(0)?, steps))),
        "vector" => {
            let cells = Cells { floats: arguments.scalar(0)?, histograms: None };
            Ok(Steps::Vector(vec![Row { labels: Labels::default(), drop_name: false, cells }]))
        }
        "timestamp" => timestamp(&arguments).map(Steps::Vector),
        "start_timestamp" => match &arguments.node_of(0)?.unwrapped().kind {
            NodeKind::Selector(selector) => sample_starts(selector, context).map(Steps::Vector),
            _ => Ok(Steps::Vector(Vec::new())),
        },
        _ => vector_function(name, &arguments).map(Steps::Vector),
    }
}

/// Only some functions know what to do with `anchored` and `smoothed` windows.
fn refuse_boundary(call: &Call) -> Result<(), EvalError> {
    for argument in &call.arguments {
        let NodeKind::RangeSelector { selector, .. } = &argument.unwrapped().kind else { continue };
        let (word, allowed): (&str, &[&str]) = match selector.boundary {
            None => continue,
            Some(Boundary::Anchored) => ("anchored", &["changes", "delta", "increase", "rate", "resets"]),
            Some(Boundary::Smoothed) => ("smoothed", &["delta", "increase", "rate"]),
        };
        if !allowed.contains(&call.function.name) {
            let (allowed, name) = (allowed.join(", "), call.function.name);
            let message = format!("{word} modifier can only be used with: {allowed} - not with {name}");
            return Err(EvalError::Execution(message));
        }
    }
    Ok(())
}

fn vector_function(name: &str, arguments: &Arguments<'_>) -> Result<Vec<Row>, EvalError> {
    match name {
        "absent" | "absent_over_time" => absent::absent(name, arguments),
        "rate" | "increase" | "delta" | "irate" | "idelta" | "resets" | "changes" => rates::rates(name, arguments),
        "deriv" | "predict_linear" | "double_exponential_smoothing" => regression::regression(name, arguments),
        "label_replace" | "label_join" => labels::labels(name, arguments),
        "info" => info::info(arguments),
        _ if name.ends_with("_over_time") => over_time::over_time(name, arguments),
        _ if name.starts_with("histogram_") => histograms::histograms(name, arguments),
        _ if name.starts_with("sort") => sort::sort(name, arguments),
        "year" | "month" | "day_of_month" | "day_of_week" | "day_of_year" | "days_in_month" | "hour" | "minute" => {
            time::calendar(name, arguments)
        }
        _ => math::math(name, arguments),
    }
}

/// The float of the only element at each step, NaN where there is not exactly one float.
fn only_element(rows: &[Row], steps: usize) -> Vec<f64> {
    (0..steps)
        .map(|step| {
            let mut found = rows.iter().filter_map(|row| row.cells.float(step));
            match (found.next(), found.next()) {
                (Some(value), None) => value,
                _ => f64::NAN,
            }
        })
        .collect()
}

/// The time of each element: that of its sample if it comes straight from a selector, else that of the step.
fn timestamp(arguments: &Arguments<'_>) -> Result<Vec<Row>, EvalError> {
    if let NodeKind::Selector(selector) = &arguments.node_of(0)?.unwrapped().kind {
        return sample_times(selector, arguments.context);
    }
    let mut rows = arguments.vector(0)?;
    for row in &mut rows {
        row.drop_name = true;
        for step in 0..arguments.context.steps {
            if row.cells.has(step) {
                row.cells.clear(step);
                row.cells.set(step, SampleValue::Float(arguments.context.time(step) as f64 / 1000.0));
            }
        }
    }
    Ok(rows)
}
