//! `deriv`, `predict_linear`, `double_exponential_smoothing`.

use super::Arguments;
use crate::answer::{EvalError, SampleValue};
use crate::evaluate::{CompensatedSum, Row, Window, roll};

/// Evaluates one of them.
pub(super) fn regression(name: &str, arguments: &Arguments<'_>) -> Result<Vec<Row>, EvalError> {
    let range = arguments.range(0)?;
    let context = arguments.context;
    let ignored = |window: &Window<'_>| {
        if !window.histograms().is_empty() && !window.times().is_empty() {
            let text = format!(
                "ignored histograms in a range containing both floats and histograms for metric name {}",
                crate::labels::quoted(window.series.labels.metric_name())
            );
            context.inform(&text, arguments.span(0));
        }
    };
    match name {
        "deriv" => Ok(roll(&range, context, false, |_| {
            |window: &Window<'_>| {
                ignored(window);
                if window.times().len() < 2 {
                    return None;
                }
                let line = least_squares(window.times(), window.values(), window.times()[0]);
                Some(SampleValue::Float(line.slope))
            }
        })),
        "predict_linear" => {
            let ahead = arguments.scalar(1)?;
            Ok(roll(&range, context, false, |_| {
                |window: &Window<'_>| {
                    ignored(window);
                    if window.times().len() < 2 {
                        return None;
                    }
                    let line = least_squares(window.times(), window.values(), window.time);
                    Some(SampleValue::Float(line.slope * ahead[window.step] + line.intercept))
                }
            }))
        }
        _ => {
            let (smoothing, trend) = (arguments.scalar(1)?, arguments.scalar(2)?);
            for (values, what) in [(&smoothing, "smoothing"), (&trend, "trend")] {
                if let Some(value) = values.iter().find(|value| !(**value > 0.0 && **value < 1.0)) {
                    let letters = if what == "smoothing" { "sf" } else { "tf" };
                    return Err(EvalError::Execution(format!(
                        "invalid {what} factor. Expected: 0 < {letters} < 1, got: {value:.6}"
                    )));
                }
            }
            Ok(roll(&range, context, false, |_| {
                |window: &Window<'_>| {
                    ignored(window);
                    smoothed(window.values(), smoothing[window.step], trend[window.step]).map(SampleValue::Float)
                }
            }))
        }
    }
}

/// A line through points: value at a time, and change per second.
struct Line {
    slope: f64,
    intercept: f64,
}

/// Simple linear regression; the intercept is the value at `origin` (milliseconds).
fn least_squares(times: &[i64], values: &[f64], origin: i64) -> Line {
    let first = values.first().copied().unwrap_or(f64::NAN);
    if values.iter().all(|value| *value == first) {
        if first.is_infinite() {
            return Line { slope: f64::NAN, intercept: f64::NAN };
        }
        return Line { slope: 0.0, intercept: first };
    }
    let mut sums = [CompensatedSum::default(); 4];
    for (&time, &y) in times.iter().zip(values) {
        let x = (time - origin) as f64 / 1000.0;
        for (sum, term) in sums.iter_mut().zip([x, y, x * y, x * x]) {
            sum.add(term);
        }
    }
    let n = times.len() as f64;
    let [x, y, xy, xx] = sums.map(|sum| sum.value());
    let covariance = xy - x * y / n;
    let variance = xx - x * x / n;
    let slope = covariance / variance;
    Line { slope, intercept: y / n - slope * x / n }
}

/// Double exponential smoothing: a level and a trend, both smoothed.
fn smoothed(values: &[f64], smoothing: f64, trend_smoothing: f64) -> Option<f64> {
    if values.len() < 2 {
        return None;
    }
    let (mut before, mut level) = (0.0, values[0]);
    let mut trend = values[1] - values[0];
    for (index, value) in values.iter().enumerate().skip(1) {
        if index > 1 {
            trend = trend_smoothing * (level - before) + (1.0 - trend_smoothing) * trend;
        }
        let next = smoothing * value + (1.0 - smoothing) * (level + trend);
        (before, level) = (level, next);
    }
    Some(level)
}
