//! Times and durations as logs and captures write them, in nanoseconds.
//!
//! ```text
//! 1795408951.211716404             seconds since the epoch
//! 2026-11-23T04:42:31.189816901Z   RFC 3339
//! 1123 04:22:33.568529             klog: month, day, time of day; no year, no zone
//! 1m2.5s  33.571µs                 Go durations
//! ```

use jiff::civil::Date;

/// Nanoseconds of a second.
pub const SECOND: i64 = 1_000_000_000;

/// Decimal digits as a number; `None` for anything else or more than 18 digits.
pub fn digits(text: &[u8]) -> Option<i64> {
    if text.is_empty() || text.len() > 18 {
        return None;
    }
    text.iter().try_fold(0i64, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
}

/// A fraction's digits (without the point) as nanoseconds; digits behind the ninth are cut.
pub fn fraction(text: &[u8]) -> Option<i64> {
    let kept = &text[..text.len().min(9)];
    if !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits(kept)? * 10i64.pow(9 - kept.len() as u32))
}

/// Time since the epoch in s (with an optional fraction), or as a whole number of ms, µs or ns, told by its digits.
pub fn epoch(text: &[u8]) -> Option<i64> {
    let scale = match text.len() {
        13 => 1_000_000,
        16 => 1_000,
        19 => 1,
        _ => return epoch_seconds(text),
    };
    if text.iter().all(u8::is_ascii_digit) {
        return std::str::from_utf8(text).ok()?.parse::<i64>().ok()?.checked_mul(scale);
    }
    epoch_seconds(text)
}

/// Seconds since the epoch with an optional fraction (`1795408951.211716404`), as ns.
pub fn epoch_seconds(text: &[u8]) -> Option<i64> {
    let (whole, part) = match memchr::memchr(b'.', text) {
        Some(point) => (&text[..point], fraction(&text[point + 1..])?),
        None => (text, 0),
    };
    digits(whole)?.checked_mul(SECOND)?.checked_add(part)
}

/// Nanoseconds since the epoch of a date and time of day at an offset from UTC in seconds.
fn civil(year: i64, month: i64, day: i64, time_of_day: i64, offset: i64) -> Option<i64> {
    let date = Date::new(i16::try_from(year).ok()?, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()?;
    let days = i64::from((date - Date::constant(1970, 1, 1)).get_days());
    days.checked_mul(86_400)?.checked_sub(offset)?.checked_mul(SECOND)?.checked_add(time_of_day)
}

/// `HH:MM:SS[.fraction]` as ns since midnight, and how many bytes it took.
fn time_of_day(text: &[u8]) -> Option<(i64, usize)> {
    if text.len() < 8 || text[2] != b':' || text[5] != b':' {
        return None;
    }
    let (hour, minute, second) = (digits(&text[..2])?, digits(&text[3..5])?, digits(&text[6..8])?);
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let whole = ((hour * 60 + minute) * 60 + second) * SECOND;
    if text.get(8) != Some(&b'.') && text.get(8) != Some(&b',') {
        return Some((whole, 8));
    }
    let length = text[9..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    Some((whole + fraction(&text[9..9 + length])?, 9 + length))
}

/// RFC 3339 (`2026-11-23T04:42:31.18Z`, `…+08:00`) as ns since the epoch; a text without a zone is refused.
pub fn rfc3339(text: &[u8]) -> Option<i64> {
    if text.len() < 20 || text[4] != b'-' || text[7] != b'-' || !matches!(text[10], b'T' | b't' | b' ') {
        return None;
    }
    let (time, used) = time_of_day(&text[11..])?;
    let zone = &text[11 + used..];
    let offset = match zone {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), rest @ ..] => {
            let (hours, minutes) = match rest {
                [_, _, b':', _, _] => (digits(&rest[..2])?, digits(&rest[3..])?),
                [_, _, _, _] => (digits(&rest[..2])?, digits(&rest[2..])?),
                _ => return None,
            };
            (hours * 3600 + minutes * 60) * if *sign == b'-' { -1 } else { 1 }
        }
        _ => return None,
    };
    civil(digits(&text[..4])?, digits(&text[5..7])?, digits(&text[8..10])?, time, offset)
}

/// klog's `MMDD HH:MM:SS.ffffff` (21 bytes) in a year and at an offset from UTC in seconds.
pub fn klog(text: &[u8], year: i16, offset: i32) -> Option<i64> {
    if text.len() < 13 || text[4] != b' ' {
        return None;
    }
    let (time, used) = time_of_day(&text[5..])?;
    if 5 + used != text.len() {
        return None;
    }
    civil(i64::from(year), digits(&text[..2])?, digits(&text[2..4])?, time, i64::from(offset))
}

/// `Mon DD HH:MM:SS.mmm` in a year and at an offset from UTC in seconds.
pub fn syslog(text: &str, year: i16, offset: i32) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = MONTHS.iter().position(|month| text.starts_with(month))? as i64 + 1;
    let bytes = text.as_bytes();
    if bytes.len() < 15 || bytes[3] != b' ' || bytes[6] != b' ' {
        return None;
    }
    let (time, used) = time_of_day(&bytes[7..])?;
    let day = digits(bytes[4..6].trim_ascii_start())?;
    if 7 + used == bytes.len() { civil(i64::from(year), month, day, time, i64::from(offset)) } else { None }
}

/// A Go duration (`585.485129ms`, `1m2.5s`, `33.571µs`) in ns.
pub fn go_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total: i64 = 0;
    let mut any = false;
    while !rest.is_empty() {
        let length = rest.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
        let (number, tail) = rest.split_at(length);
        let (unit, after) = [
            ("ns", 1),
            ("us", 1_000),
            ("µs", 1_000),
            ("μs", 1_000),
            ("ms", 1_000_000),
            ("s", SECOND),
            ("m", 60 * SECOND),
            ("h", 3600 * SECOND),
        ]
        .iter()
        .find_map(|(name, unit)| tail.strip_prefix(name).map(|after| (*unit, after)))?;
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        let whole = if whole.is_empty() { 0 } else { digits(whole.as_bytes())? };
        let part = if part.is_empty() { 0 } else { fraction(part.as_bytes())? };
        // The fraction is in billionths of the unit.
        let part = i64::try_from(i128::from(part) * i128::from(unit) / i128::from(SECOND)).ok()?;
        total = total.checked_add(whole.checked_mul(unit)?.checked_add(part)?)?;
        (any, rest) = (true, after);
    }
    any.then_some(if negative { -total } else { total })
}

/// Decimal seconds (`2.606524308`) in ns.
pub fn decimal_seconds(text: &str) -> Option<i64> {
    epoch_seconds(text.as_bytes())
}

/// The time in a file's name (`1795408951.211716404.txt`, `scrape-1795408951.prom`), ns: the first run of ten
/// digits (seconds, with a fraction behind a point) or of 13, 16 or 19 digits (ms, µs, ns).
pub fn in_name(path: &str) -> Option<i64> {
    time_in_name(path).map(|(time, _, _)| time)
}

/// The time in a file's name, its resolution (ns), and where it stands in the name (behind the folder).
pub fn time_in_name(path: &str) -> Option<(i64, i64, std::ops::Range<usize>)> {
    let name = path.rsplit('/').next()?.as_bytes();
    let mut at = 0;
    while at < name.len() {
        let length = name[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let run = &name[at..at + length];
        let plausible = run.first().is_some_and(|byte| *byte == b'1' || *byte == b'2');
        match length {
            10 if plausible => {
                let rest = &name[at + 10..];
                let part = match rest.first() {
                    Some(b'.') => rest[1..].iter().take_while(|byte| byte.is_ascii_digit()).count(),
                    _ => 0,
                };
                let end = if part > 0 { at + 11 + part } else { at + 10 };
                return Some((epoch_seconds(&name[at..end])?, 10_i64.pow(9 - part.min(9) as u32), at..end));
            }
            13 | 16 | 19 if plausible => {
                let unit = 10_i64.pow(19 - length as u32);
                return Some((
                    std::str::from_utf8(run).ok()?.parse::<i64>().ok()?.checked_mul(unit)?,
                    unit,
                    at..at + length,
                ));
            }
            _ => at += length.max(1),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{epoch_seconds, go_duration, in_name, klog, rfc3339};

    #[test]
    fn reads_times() {
        assert_eq!(epoch_seconds(b"1795408951.211716404"), Some(1_795_408_951_211_716_404));
        assert_eq!(epoch_seconds(b"1795408951"), Some(1_795_408_951_000_000_000));
        assert_eq!(epoch_seconds(b"17954089511795408951"), None);
        assert_eq!(rfc3339(b"2026-11-23T04:42:31.189816901Z"), Some(1_795_408_951_189_816_901));
        assert_eq!(rfc3339(b"2026-11-23T12:42:31+08:00"), Some(1_795_408_951_000_000_000));
        assert_eq!(rfc3339(b"2026-02-30T12:42:31Z"), None);
        assert_eq!(rfc3339(b"2026-11-23T12:42:31.1"), None);
        assert_eq!(klog(b"1123 04:42:31.189816", 2026, 0), Some(1_795_408_951_189_816_000));
        assert_eq!(klog(b"1123 05:42:31.189816", 2026, 3600), Some(1_795_408_951_189_816_000));
        assert_eq!(klog(b"1323 05:42:31.189816", 2026, 3600), None);
    }

    #[test]
    fn reads_go_durations() {
        assert_eq!(go_duration("585.485129ms"), Some(585_485_129));
        assert_eq!(go_duration("33.571µs"), Some(33_571));
        assert_eq!(go_duration("1m2.5s"), Some(62_500_000_000));
        assert_eq!(go_duration("1h0m0s"), Some(3_600_000_000_000));
        assert_eq!(go_duration("12"), None);
        assert_eq!(go_duration(""), None);
        assert_eq!(go_duration("1.2.3s"), None);
    }

    #[test]
    fn finds_times_in_names() {
        assert_eq!(in_name("a/1795408951.211716404.txt"), Some(1_795_408_951_211_716_404));
        assert_eq!(in_name("metrics-1795408951.prom"), Some(1_795_408_951_000_000_000));
        assert_eq!(in_name("1795408951211.prom"), Some(1_795_408_951_211_000_000));
        assert_eq!(in_name("20261123-0442.prom"), None);
        assert_eq!(in_name("metrics.txt"), None);
    }
}
