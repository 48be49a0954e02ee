//! What a line of a load generator's summary says.

use crate::form::instant;

/// One figure of the whole run.
#[derive(Debug, PartialEq, Eq)]
pub struct Figure {
    pub metric: String,
    pub statistic: String,
    /// As it was printed, with its unit.
    pub value: String,
}

impl Figure {
    pub fn new(metric: &str, statistic: &str, value: &str) -> Self {
        Self { metric: metric.to_owned(), statistic: statistic.to_owned(), value: value.to_owned() }
    }
}

/// A line, understood or not.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// Figures.
    Figures(Vec<Figure>),
    /// One entry of the set of errors: how often, where the tool says so, and the text.
    Error(Option<u64>, String),
    /// A heading, a picture, progress: it says nothing.
    Nothing,
    /// It is not understood: to be refused.
    Unknown,
}

impl Said {
    pub fn one(metric: &str, statistic: &str, value: &str) -> Self {
        Said::Figures(vec![Figure::new(metric, statistic, value)])
    }
}

/// Whether a text is a number.
pub fn is_number(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once('.') {
        Some((whole, part)) => digits(whole) && digits(part),
        None => digits(text),
    }
}

/// Whether a text is a number with its unit: `63.18ms`, `1m2.5s`, `96.67%`, `12k`, `606.33MB`, `0`.
pub fn is_quantity(text: &str) -> bool {
    let digits = text.trim_end_matches(|last: char| last.is_alphabetic() || last == '%');
    let unit = &text[digits.len()..];
    (is_number(digits) && unit.chars().count() <= 4)
        || text.parse::<f64>().is_ok_and(|_| text.contains(['e', 'E']))
        || instant::go_duration(text).is_some()
}
