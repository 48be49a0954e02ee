//! Numbers and times as Prometheus prints them.

use std::fmt::Write;

/// A float as Go's `strconv.FormatFloat(value, 'f', -1, 64)` prints it: shortest, never an exponent.
pub fn format_float(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value == f64::INFINITY {
        "+Inf".to_owned()
    } else if value == f64::NEG_INFINITY {
        "-Inf".to_owned()
    } else {
        // Rust's `Display` for floats is the shortest decimal that reads back, without exponent: the same rule.
        format!("{value}")
    }
}

/// A float as Go's `%v` and `%g` print it: shortest, with an exponent below 1e-4 and from 1e6 on.
pub fn format_float_short(value: f64) -> String {
    let magnitude = value.abs();
    if value == 0.0 || !value.is_finite() || (1e-4..1e6).contains(&magnitude) {
        return format_float(value);
    }
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) => match exponent.strip_prefix('-') {
            Some(digits) => format!("{mantissa}e-{digits:0>2}"),
            None => format!("{mantissa}e+{exponent:0>2}"),
        },
        None => text,
    }
}

/// A float as OpenMetrics writes it in label values: always with a point or an exponent.
pub fn format_label_float(value: f64) -> String {
    let text = format_float_short(value);
    if value.is_finite() && !text.contains(['.', 'e']) { format!("{text}.0") } else { text }
}

/// A float inside the JSON of a histogram or a `value`: plain between 1e-6 and 1e21, else with an exponent.
pub fn format_json_float(value: f64) -> String {
    let mut out = String::new();
    write_json_float(&mut out, value);
    out
}

/// The same, appended to a text.
pub(crate) fn write_json_float(out: &mut String, value: f64) {
    let magnitude = value.abs();
    if value == 0.0 || !value.is_finite() {
        out.push_str(&format_float(value));
    } else if (1e-6..1e21).contains(&magnitude) {
        // Whole numbers are common, and cheaper to print as such.
        let _ = if magnitude < 1e15 && value.trunc() == value {
            write!(out, "{}", value as i64)
        } else {
            write!(out, "{value}")
        };
    } else {
        let text = format!("{value:e}");
        match text.split_once('e') {
            Some((mantissa, exponent)) => match exponent.strip_prefix('-') {
                Some(digits) => out.push_str(&format!("{mantissa}e-{digits:0>2}")),
                None => out.push_str(&format!("{mantissa}e+{exponent:0>2}")),
            },
            None => out.push_str(&text),
        }
    }
}

/// A float as a JSON number (not in quotes): as [`format_json_float`], and exponents without a leading zero.
pub fn format_json_number(value: f64) -> String {
    format_json_float(value).replace("e-0", "e-").replace("e+0", "e+")
}

/// Milliseconds as seconds with three decimals, or none for whole seconds: `1435781430.781`, `1435781430`.
pub fn format_time(milliseconds: i64) -> String {
    let mut out = String::new();
    write_time(&mut out, milliseconds);
    out
}

/// The same, appended to a text.
pub(crate) fn write_time(out: &mut String, milliseconds: i64) {
    let sign = if milliseconds < 0 { "-" } else { "" };
    let absolute = milliseconds.unsigned_abs();
    let (seconds, rest) = (absolute / 1000, absolute % 1000);
    let _ = if rest == 0 { write!(out, "{sign}{seconds}") } else { write!(out, "{sign}{seconds}.{rest:03}") };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_print_as_in_go() {
        assert_eq!(format_float(1e21), "1000000000000000000000");
        assert_eq!(format_float(0.1), "0.1");
        assert_eq!(format_float(-0.0), "-0");
        assert_eq!(format_float(f64::NEG_INFINITY), "-Inf");
        assert_eq!(format_float_short(1e21), "1e+21");
        assert_eq!(format_float_short(1.5e-7), "1.5e-07");
        assert_eq!(format_float_short(12345.678), "12345.678");
        assert_eq!(format_float_short(123456789.0), "1.23456789e+08");
    }

    #[test]
    fn times_keep_three_decimals_or_none() {
        assert_eq!(format_time(1435781430781), "1435781430.781");
        assert_eq!(format_time(1435781430000), "1435781430");
        assert_eq!(format_time(1500), "1.500");
        assert_eq!(format_time(-1), "-0.001");
    }
}
