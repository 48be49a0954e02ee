//! Functions of one number: rounding, roots, logarithms, trigonometry, clamping.

use super::Arguments;
use crate::answer::EvalError;
use crate::evaluate::Row;

/// Evaluates one of them on all floats; histograms are left out.
pub(super) fn math(name: &str, arguments: &Arguments<'_>) -> Result<Vec<Row>, EvalError> {
    let function: fn(f64) -> f64 = match name {
        "abs" => f64::abs,
        "ceil" => f64::ceil,
        "floor" => f64::floor,
        "exp" => f64::exp,
        "sqrt" => f64::sqrt,
        "ln" => f64::ln,
        "log2" => f64::log2,
        "log10" => f64::log10,
        "sin" => f64::sin,
        "cos" => f64::cos,
        "tan" => f64::tan,
        "asin" => f64::asin,
        "acos" => f64::acos,
        "atan" => f64::atan,
        "sinh" => f64::sinh,
        "cosh" => f64::cosh,
        "tanh" => f64::tanh,
        "asinh" => f64::asinh,
        "acosh" => f64::acosh,
        "atanh" => f64::atanh,
        "rad" => |degrees| degrees * std::f64::consts::PI / 180.0,
        "deg" => |radians| radians * 180.0 / std::f64::consts::PI,
        "sgn" => |value| {
            if value < 0.0 {
                -1.0
            } else if value > 0.0 {
                1.0
            } else {
                value
            }
        },
        "clamp" => return clamp(arguments, Some(1), Some(2)),
        "clamp_min" => return clamp(arguments, Some(1), None),
        "clamp_max" => return clamp(arguments, None, Some(1)),
        "round" => return round(arguments),
        _ => return Err(EvalError::Execution(format!("function {name} is not known"))),
    };
    Ok(each_float(arguments.vector(0)?, |_, value| Some(function(value))))
}

/// Applies a function to all floats; what it gives no value for, and histograms, are left out.
pub(super) fn each_float(rows: Vec<Row>, change: impl Fn(usize, f64) -> Option<f64>) -> Vec<Row> {
    rows.into_iter()
        .filter_map(|mut row| {
            row.drop_name = true;
            row.cells.histograms = None;
            for step in 0..row.cells.floats.len() {
                if let Some(value) = row.cells.float(step) {
                    match change(step, value) {
                        Some(value) => row.cells.floats[step] = value,
                        None => row.cells.clear(step),
                    }
                }
            }
            (!row.cells.is_empty()).then_some(row)
        })
        .collect()
}

fn clamp(arguments: &Arguments<'_>, low: Option<usize>, high: Option<usize>) -> Result<Vec<Row>, EvalError> {
    let rows = arguments.vector(0)?;
    let steps = arguments.context.steps;
    let low = low.map_or_else(|| Ok(vec![f64::NEG_INFINITY; steps]), |index| arguments.scalar(index))?;
    let high = high.map_or_else(|| Ok(vec![f64::INFINITY; steps]), |index| arguments.scalar(index))?;
    Ok(each_float(rows, |step, value| {
        let (low, high) = (low[step], high[step]);
        if high < low {
            None
        } else if low.is_nan() || high.is_nan() || value.is_nan() {
            Some(f64::NAN)
        } else {
            Some(value.min(high).max(low))
        }
    }))
}

fn round(arguments: &Arguments<'_>) -> Result<Vec<Row>, EvalError> {
    let rows = arguments.vector(0)?;
    let nearest = if arguments.len() > 1 { arguments.scalar(1)? } else { vec![1.0; arguments.context.steps] };
    Ok(each_float(rows, |step, value| {
        // By the inverse, as Prometheus does: 0.1 has no exact float, its inverse has.
        let inverse = 1.0 / nearest[step];
        Some((value * inverse + 0.5).floor() / inverse)
    }))
}
