//! Figures as text: three significant digits, in units that a reader knows.

pub use crate::verdict::catalogue::Show;

/// A figure with its unit. Not finite: in words.
pub fn figure(value: f64, unit: &str, show: Show) -> String {
    if !value.is_finite() {
        return "not a number".into();
    }
    match (unit, show) {
        ("s", _) => seconds(value),
        ("ratio", Show::Times) => format!("{} ×", digits(value)),
        ("ratio", _) => format!("{} %", digits(value * 100.0)),
        ("bytes", _) => bytes(value),
        ("1/s", _) => format!("{}/s", digits(value)),
        ("cores", _) => format!("{} cores", digits(value)),
        ("core-s", _) => format!("{} core-seconds", digits(value)),
        ("points", _) => format!("{} points", digits(value)),
        _ => digits(value),
    }
}

/// What an interval without width reads as: a counter's difference, a count, a duration that was logged.
pub const EXACT: &str = "exact";

/// An interval: `482 to 513 ms`; words where it has no width, or where an end is open.
pub fn interval(low: Option<f64>, high: Option<f64>, unit: &str, show: Show) -> String {
    match (low, high) {
        (None, None) => "unbounded".into(),
        (Some(low), None) => format!("at least {}", figure(low, unit, show)),
        (None, Some(high)) => format!("at most {}", figure(high, unit, show)),
        (Some(low), Some(high)) => {
            let (a, b) = (figure(low, unit, show), figure(high, unit, show));
            if low == high {
                return EXACT.into();
            }
            if a == b {
                return format!("{a}, to three digits");
            }
            // One unit for both ends where they share it.
            match (a.split_once(' '), b.split_once(' ')) {
                (Some((number, of)), Some((_, same))) if of == same => format!("{number} to {b}"),
                _ => format!("{a} to {b}"),
            }
        }
    }
}

/// A figure rounded to what its bounds carry: to about half of their width, so that no digit is shown that they do not know.
pub fn carried(value: f64, low: Option<f64>, high: Option<f64>) -> f64 {
    let (Some(low), Some(high)) = (low, high) else { return value };
    let width = high - low;
    if !(width.is_finite() && width > 0.0 && value.is_finite()) || value == 0.0 {
        return value;
    }
    let to = |step: f64| (value / step).round() * step;
    let step = 10f64.powf((width / 2.0).log10().floor());
    // One digit stays, and the figure stays within its bounds.
    [step, step / 10.0].into_iter().map(to).find(|x| *x != 0.0 && (low..=high).contains(x)).unwrap_or(value)
}

/// Both ends of an interval rounded outward, to about a fifth of its width.
pub fn outward(low: f64, high: f64) -> (f64, f64) {
    let width = high - low;
    if !(width.is_finite() && width > 0.0) {
        return (low, high);
    }
    let step = 10f64.powf((width / 5.0).log10().floor());
    // What is a multiple already must not move by the error of a division.
    (((low / step) + 1e-9).floor() * step, ((high / step) - 1e-9).ceil() * step)
}

fn seconds(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 {
        "0 s".into()
    } else if size < 1e-6 {
        format!("{} ns", digits(value * 1e9))
    } else if size < 1e-3 {
        format!("{} µs", digits(value * 1e6))
    } else if size < 1.0 {
        format!("{} ms", digits(value * 1e3))
    } else {
        format!("{} s", digits(value))
    }
}

fn bytes(value: f64) -> String {
    let size = value.abs();
    if size < 1e3 {
        format!("{} B", digits(value))
    } else if size < 1e6 {
        format!("{} kB", digits(value / 1e3))
    } else if size < 1e9 {
        format!("{} MB", digits(value / 1e6))
    } else {
        format!("{} GB", digits(value / 1e9))
    }
}

/// Three significant digits, no exponent below 10¹⁵, no trailing zeros after the point, groups of three from 10,000 on.
pub fn digits(value: f64) -> String {
    if !value.is_finite() {
        return "not a number".into();
    }
    if value == 0.0 {
        return "0".into();
    }
    let size = value.abs();
    if !(1e-6..1e15).contains(&size) {
        return format!("{value:.2e}");
    }
    let magnitude = size.log10().floor() as i32;
    let decimals = usize::try_from(2 - magnitude).unwrap_or(0);
    // Bounded: 8 at most, since what is below 10⁻⁶ has an exponent.
    let text = format!("{value:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text };
    if size >= 10_000.0 { grouped(&text) } else { text.replace('-', "−") }
}

/// A count.
pub fn count(n: u64) -> String {
    if n >= 10_000 { grouped(&n.to_string()) } else { n.to_string() }
}

fn grouped(text: &str) -> String {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |d| ("−", d));
    let mut out = String::from(sign);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Nanoseconds since the epoch as RFC 3339 in UTC, to the millisecond.
pub fn instant(ns: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(ns)).map_or_else(|_| ns.to_string(), |t| format!("{t:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures() {
        for (value, unit, text) in [
            (0.5061, "s", "506 ms"),
            (1.1264, "s", "1.13 s"),
            (0.0000123, "s", "12.3 µs"),
            (0.0, "s", "0 s"),
            (0.052, "ratio", "5.2 %"),
            (412e6, "bytes", "412 MB"),
            (1234567.0, "1", "1,234,567"),
            (999.9, "1", "1000"),
            (-0.5, "points", "−0.5 points"),
            (f64::NAN, "s", "not a number"),
        ] {
            assert_eq!(figure(value, unit, Show::Unit), text);
        }
        assert_eq!(interval(Some(0.482), Some(0.513), "s", Show::Unit), "482 to 513 ms");
        assert_eq!(interval(Some(0.482), Some(1.1), "s", Show::Unit), "482 ms to 1.1 s");
        assert_eq!(interval(Some(0.5), None, "s", Show::Unit), "at least 500 ms");
        assert_eq!(interval(Some(2.0), Some(2.0), "ratio", Show::Times), EXACT);
        for (value, low, high, text) in [
            (0.5061, 0.482, 0.513, "510 ms"),
            (0.5521, 0.538, 0.877, "600 ms"),
            (1.2391, 1.2380, 1.2402, "1.24 s"),
            (0.0412, 0.0, 1.0, "40 ms"),
            (196.0, 130.0, 197.0, "196 s"),
            (0.27, 0.27, 0.27, "270 ms"),
        ] {
            assert_eq!(figure(carried(value, Some(low), Some(high)), "s", Show::Unit), text);
        }
        for (ends, out) in [
            ((1.74, 2.39), (1.7, 2.4)),
            ((31.9, 35.7), (31.9, 35.7)),
            ((45.2, 74.2), (45.0, 75.0)),
            ((2.0, 2.0), (2.0, 2.0)),
        ] {
            let (low, high) = outward(ends.0, ends.1);
            assert!((low - out.0).abs() < 1e-9 && (high - out.1).abs() < 1e-9, "{low} to {high}");
        }
        assert_eq!(carried(0.5, None, Some(1.0)), 0.5);
        assert_eq!(interval(Some(2.0), Some(2.001), "ratio", Show::Times), "2 ×, to three digits");
    }
}
