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
        assert_eq!(interval(Some(2.0), Some(2.001), "ratio", Show::Times), "2 ×, to three digits");
    }
}
