//! Times and durations in parameters, as Prometheus reads them.

use syncline_promql::duration_milliseconds;

/// Unix seconds or RFC 3339, as ms since 1970; `None` for any other text.
pub(crate) fn time(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<f64>() {
        return (!seconds.is_nan()).then(|| (seconds * 1e3).round() as i64);
    }
    text.parse::<jiff::Timestamp>().ok().map(|at| at.as_millisecond())
}

/// Seconds, or a duration as `1m30s`, as ms.
///
/// # Errors
/// What Prometheus says of a text that is none.
pub(crate) fn duration(text: &str) -> Result<i64, String> {
    let wrong = || format!("cannot parse {text:?} to a valid duration");
    if let Ok(seconds) = text.parse::<f64>() {
        if seconds.is_nan() {
            return Err(wrong());
        }
        if seconds.abs() > i64::MAX as f64 / 1e9 {
            return Err(format!("{}. It overflows int64", wrong()));
        }
        return Ok((seconds * 1e3) as i64);
    }
    if text == "0" { Ok(0) } else { duration_milliseconds(text).ok_or_else(wrong) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_durations_are_numbers_or_words() {
        assert_eq!(time("1.5"), Some(1500));
        assert_eq!(time("2026-02-03T04:05:06.789Z"), Some(1_770_091_506_789));
        assert_eq!(time("-1"), Some(-1000));
        assert_eq!((time("NaN"), time(""), time("yesterday")), (None, None, None));
        assert_eq!((duration("15"), duration("1m30s"), duration("0.0001")), (Ok(15_000), Ok(90_000), Ok(0)));
        assert_eq!(duration("x").unwrap_err(), "cannot parse \"x\" to a valid duration");
        assert!(duration("1e30").unwrap_err().ends_with("It overflows int64"));
    }
}
