//! One expression over several bundles: which series, at which times, and the answers as one.

use std::collections::HashSet;

use syncline_promql::{
    Answer, EvalError, Expr, Labels, MemoryStorage, Options, Series, Value, VectorElement, instant, range,
};

use crate::bundle::Bundle;
use crate::bundle::witnesses::{self, Aside};

/// The label that says which run a series is of.
pub const RUN: &str = "run";

/// The series of one bundle that an expression selects from.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// Value of the label `run`.
    pub run: String,
    pub series: Vec<Series>,
    /// What was left aside of its sources.
    pub aside: Vec<Aside>,
    /// First and last sample, ms; `None` without any.
    pub span: Option<(i64, i64)>,
}

/// Times of an evaluation, ms since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    At(i64),
    /// Start, end, step.
    Range(i64, i64, i64),
}

/// Reads what an expression needs (all series where it names no metrics); of several bundles each series says of which run it is.
///
/// # Errors
/// A table that cannot be read, or a bundle that was replaced meanwhile.
pub fn parts(bundles: &[Bundle], query: Option<&Expr>) -> anyhow::Result<Vec<Part>> {
    let wanted: Option<HashSet<String>> = query.and_then(Expr::metric_names).map(|names| names.into_iter().collect());
    let labels = run_labels(bundles);
    bundles
        .iter()
        .zip(labels)
        .map(|(bundle, run)| {
            let extra = (bundles.len() > 1).then_some((RUN, run.as_str()));
            let selected = witnesses::select(bundle, wanted.as_ref(), extra)?;
            bundle.unchanged()?;
            let firsts = |one: &Series| [one.times.first().copied(), one.histograms.first().map(|sample| sample.time)];
            let lasts = |one: &Series| [one.times.last().copied(), one.histograms.last().map(|sample| sample.time)];
            let first = selected.series.iter().flat_map(firsts).flatten().min();
            let last = selected.series.iter().flat_map(lasts).flatten().max();
            Ok(Part { run, series: selected.series, aside: selected.aside, span: first.zip(last) })
        })
        .collect()
}

/// First and last sample of several.
pub fn span(parts: &[Part]) -> Option<(i64, i64)> {
    let spans = || parts.iter().filter_map(|part| part.span);
    spans().map(|(first, _)| first).min().zip(spans().map(|(_, last)| last).max())
}

/// All series together.
pub fn together(parts: Vec<Part>) -> MemoryStorage {
    MemoryStorage::new(parts.into_iter().flat_map(|part| part.series).collect())
}

/// Evaluates over each bundle by itself, at its own times, and joins the answers: every series of the result says of which run
/// it is, also where the expression took its labels away. A scalar of each run becomes a series of that run.
///
/// # Errors
/// An expression that cannot be evaluated over one of them.
pub fn apart(parts: Vec<(Part, Times)>, query: &Expr, options: &Options) -> Result<Answer, EvalError> {
    let mut joined: Option<Answer> = None;
    for (part, times) in parts {
        let answer = evaluate(&MemoryStorage::new(part.series), query, times, options)?;
        let answer = Answer { value: of_run(answer.value, &part.run), ..answer };
        joined = Some(match joined {
            None => answer,
            Some(before) => join(before, answer),
        });
    }
    Ok(joined.unwrap_or(Answer {
        value: Value::Vector(Vec::new()),
        warnings: Vec::new(),
        infos: Vec::new(),
        selected: Vec::new(),
        plan: Vec::new(),
    }))
}

/// Evaluates at a time or over a range.
///
/// # Errors
/// An expression that cannot be evaluated.
pub fn evaluate(storage: &MemoryStorage, query: &Expr, times: Times, options: &Options) -> Result<Answer, EvalError> {
    match times {
        Times::At(time) => instant(storage, query, time, options),
        Times::Range(start, end, step) => range(storage, query, start, end, step, options),
    }
}

fn of_run(value: Value, run: &str) -> Value {
    let named = |labels: Labels| if labels.has(RUN) { labels } else { labels.with(RUN, run) };
    match value {
        Value::Vector(elements) => {
            Value::Vector(elements.into_iter().map(|one| VectorElement { labels: named(one.labels), ..one }).collect())
        }
        Value::Matrix(series) => Value::Matrix(
            series.into_iter().map(|one| syncline_promql::MatrixSeries { labels: named(one.labels), ..one }).collect(),
        ),
        Value::Scalar { time, value } => {
            let value = syncline_promql::SampleValue::Float(value);
            Value::Vector(vec![VectorElement { labels: named(Labels::default()), time, value }])
        }
        text @ Value::String { .. } => text,
    }
}

fn join(before: Answer, answer: Answer) -> Answer {
    let value = match (before.value, answer.value) {
        (Value::Vector(one), Value::Vector(other)) => Value::Vector(one.into_iter().chain(other).collect()),
        (Value::Matrix(one), Value::Matrix(other)) => Value::Matrix(one.into_iter().chain(other).collect()),
        // A string does not depend on the series.
        (one, _) => one,
    };
    let mut merged = Answer { value, ..before };
    for (all, more) in [(&mut merged.warnings, answer.warnings), (&mut merged.infos, answer.infos)] {
        for text in more {
            if !all.contains(&text) {
                all.push(text);
            }
        }
        all.sort();
    }
    merged.selected.extend(answer.selected);
    merged.plan.extend(answer.plan);
    merged
}

/// The label `run` of each bundle: its name, else its directory's, made unique by the run's identity.
pub fn run_labels(bundles: &[Bundle]) -> Vec<String> {
    let names: Vec<String> = bundles
        .iter()
        .map(|bundle| {
            let folder = bundle.path.file_name().map(|name| name.to_string_lossy().into_owned());
            bundle.manifest.name.clone().or(folder).unwrap_or_else(|| "bundle".to_owned())
        })
        .collect();
    names
        .iter()
        .enumerate()
        .map(|(at, name)| {
            let shared = names.iter().filter(|other| *other == name).count() > 1;
            if shared {
                format!("{name}-{}", bundles[at].manifest.run_id.chars().take(8).collect::<String>())
            } else {
                name.clone()
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use syncline_promql::{SampleValue, parse};

    use super::*;

    fn part(run: &str, times: &[i64]) -> Part {
        let series = Series {
            labels: Labels::new([("__name__", "x"), (RUN, run)]),
            times: times.to_vec().into(),
            values: times.iter().map(|time| *time as f64).collect(),
            ..Series::default()
        };
        let span = times.first().copied().zip(times.last().copied());
        Part { run: run.to_owned(), series: vec![series], aside: Vec::new(), span }
    }

    #[test]
    fn each_run_is_asked_at_its_own_time_and_its_answer_says_so() {
        let own = |part: Part| {
            let last = part.span.unwrap().1;
            (part, Times::At(last))
        };
        let parts = || vec![part("a", &[0, 1_000]), part("b", &[90_000_000, 90_001_000])];
        for (text, expected) in [
            ("x", [1_000.0, 90_001_000.0]),
            ("sum(x)", [1_000.0, 90_001_000.0]),
            ("scalar(x)", [1_000.0, 90_001_000.0]),
        ] {
            let query = parse(text).unwrap();
            let found = apart(parts().into_iter().map(own).collect(), &query, &Options::default()).unwrap();
            let Value::Vector(elements) = found.value else { panic!("{text}: a vector") };
            let seen: Vec<(&str, SampleValue)> =
                elements.iter().map(|one| (one.labels.get(RUN), one.value.clone())).collect();
            let wanted = [("a", SampleValue::Float(expected[0])), ("b", SampleValue::Float(expected[1]))];
            assert_eq!(seen, wanted, "{text}");
        }
        // Together only one of the two is current at any moment.
        let query = parse("x").unwrap();
        let found = evaluate(&together(parts()), &query, Times::At(90_001_000), &Options::default()).unwrap();
        assert!(matches!(found.value, Value::Vector(elements) if elements.len() == 1));
        assert_eq!(span(&parts()), Some((0, 90_001_000)));
    }
}
