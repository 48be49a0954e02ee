//! `anchored` and `smoothed` windows: values at the window's ends instead of extrapolation.

use super::Rate;
use crate::answer::{EvalError, SampleValue};
use crate::evaluate::{RangeVector, Row, Window, roll};
use crate::syntax::tree::Boundary;

/// Evaluates a function over such windows.
pub(super) fn rates(
    name: &str,
    rate: Rate<'_>,
    boundary: Boundary,
    range: &RangeVector,
) -> Result<Vec<Row>, EvalError> {
    let smoothed = boundary == Boundary::Smoothed;
    let allowed = matches!(name, "rate" | "increase" | "delta") || (!smoothed && matches!(name, "resets" | "changes"));
    if !allowed {
        let message = if smoothed {
            format!("smoothed modifier can only be used with: delta, increase, rate - not with {name}")
        } else {
            format!("anchored modifier can only be used with: changes, delta, increase, rate, resets - not with {name}")
        };
        return Err(EvalError::Execution(message));
    }
    let lookback = rate.context.lookback();
    Ok(roll(range, rate.context, false, |input| {
        let mut noted = false;
        move |window: &Window<'_>| {
            let ends = Ends::of(window, lookback, smoothed)?;
            if !noted {
                noted = true;
                rate.note_name(&input.labels);
            }
            let (times, values) = (&window.series.times, &window.series.values);
            let count = |condition: fn(f64, f64) -> bool| {
                let pairs = values[ends.first..=ends.last].windows(2);
                Some(SampleValue::Float(pairs.filter(|two| condition(two[0], two[1])).count() as f64))
            };
            match name {
                "resets" => return count(|a, b| b < a),
                "changes" => return count(|a, b| a != b && !(a.is_nan() && b.is_nan())),
                _ => {}
            }
            let left = if smoothed && times[ends.first] < window.start && ends.first < ends.last {
                interpolated(times, values, ends.first, window.start, rate.counter)
            } else {
                values[ends.first]
            };
            let right = if smoothed && times[ends.last] > window.end && ends.last > ends.first {
                interpolated(times, values, ends.last - 1, window.end, rate.counter)
            } else {
                values[ends.last]
            };
            let mut increase = right - left;
            if rate.counter {
                let mut previous = left;
                let inside = values[ends.first..=ends.last]
                    .iter()
                    .zip(&times[ends.first..=ends.last])
                    .filter(|(_, time)| **time > window.start && **time < window.end)
                    .map(|(value, _)| *value);
                for value in inside.chain([right]) {
                    if value < previous {
                        increase += previous;
                    }
                    previous = value;
                }
            }
            if rate.per_second {
                increase /= window.seconds();
            }
            Some(SampleValue::Float(increase))
        }
    }))
}

/// The first and last sample that count.
struct Ends {
    first: usize,
    last: usize,
}

impl Ends {
    fn of(window: &Window<'_>, lookback: i64, smoothed: bool) -> Option<Ends> {
        let times = &window.series.times;
        // The latest sample at or before the window's start, if it is not too old; else the first one inside.
        let first = match window.first.checked_sub(1) {
            Some(before) if times[before] > window.start - lookback => before,
            _ => window.first,
        };
        let last = if smoothed {
            let next = times.partition_point(|&time| time < window.end);
            match times.get(next) {
                Some(&time) if time <= window.end + lookback => next,
                _ => next.checked_sub(1)?,
            }
        } else {
            window.past.checked_sub(1)?
        };
        (first <= last && times.get(last).is_some_and(|&time| time > window.start)).then_some(Ends { first, last })
    }
}

/// The value between a sample and the next one. Across a reset a counter is taken to have begun at zero.
fn interpolated(times: &[i64], values: &[f64], index: usize, at: i64, counter: bool) -> f64 {
    let (mut from, to) = (values[index], values[index + 1]);
    if counter && to < from {
        from = 0.0;
    }
    from + (to - from) * (at - times[index]) as f64 / (times[index + 1] - times[index]) as f64
}
