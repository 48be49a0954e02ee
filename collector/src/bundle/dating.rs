//! The year and the zone of times that lack one, from what other sources of the same capture say of themselves.
//!
//! ```text
//! kube-proxy.log   I1126 09:41:24.097634 …      no year, no zone
//! scale.txt        1795686080.927401346          2026-11-26T09:41:20Z
//!                  so the log is of 2026, in UTC, and a fact of the run says from what that was told
//! ```
//!
//! A container writes its log in UTC unless somebody told it otherwise, so UTC is tried first, then whole hours, then quarters: the
//! first under which the log lies within what the dated sources span. A log that begins long before them is taken to be in UTC
//! where nothing contradicts that.

use crate::form::instant::{self, SECOND};
use crate::form::stamp::{self, Dating, Stamp};

/// How far outside of the dated stretch a time may lie.
const AROUND: i64 = 900 * SECOND;
/// How long before the dated stretch a log may begin.
const LONG_BEFORE: i64 = 30 * 86_400 * SECOND;
/// Lines that are looked at.
const LOOKED_AT: usize = 200;

/// The first time of a text that lacks a year, a zone or a day, in any of the ways in which lines begin or stand alone.
pub fn undated(text: &[u8]) -> Option<Stamp> {
    text.split(|byte| *byte == b'\n').take(LOOKED_AT).find_map(|line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let found = klog(line).or_else(|| stamp::line(line)).or_else(|| Some(stamp::ahead(line)?.0))?;
        (found.year.is_none() || found.offset.is_none()).then_some(found)
    })
}

/// The header of a klog line.
fn klog(line: &[u8]) -> Option<Stamp> {
    if line.len() < 22 || !matches!(line[0], b'I' | b'W' | b'E' | b'F') || !line[1..5].iter().all(u8::is_ascii_digit) {
        return None;
    }
    let end = memchr::memchr(b' ', &line[6..])? + 6;
    let clock = instant::klog(&[b"0101 ", line.get(6..end)?].concat(), 1970, 0)?;
    let month = instant::digits(&line[1..3])? as i8;
    let day = instant::digits(&line[3..5])? as i8;
    jiff::civil::Date::new(2024, month, day).ok()?;
    Some(Stamp { year: None, day: Some((month, day)), clock, resolution: 1_000, offset: None })
}

/// The year and the offset from UTC, s, under which a time lies where the dated sources are.
pub fn inferred(time: &Stamp, span: (i64, i64)) -> Option<(i16, i32)> {
    let near = (span.0 / SECOND / 31_556_952 + 1970) as i16;
    let years: Vec<i16> = time.year.map_or_else(|| vec![near - 1, near, near + 1], |year| vec![year]);
    let at = |year: i16, offset: i32| {
        let dating = Dating { year: Some(year), utc_offset: Some(offset), span: Some(span) };
        Stamp { year: time.day.map(|_| year), offset: Some(time.offset.unwrap_or(offset)), ..*time }.time(&dating)
    };
    let mut offsets: Vec<i32> = (-12 * 4..=14 * 4).map(|quarter| quarter * 900).collect();
    offsets.sort_by_key(|offset| (*offset != 0, offset % 3600 != 0, offset % 1800 != 0, offset.abs()));
    if let Some(offset) = time.offset {
        offsets = vec![offset];
    }
    let within = |moment: &i64| (span.0 - AROUND..=span.1 + AROUND).contains(moment);
    for offset in &offsets {
        if let Some(year) = years.iter().find(|year| at(**year, *offset).is_some_and(|moment| within(&moment))) {
            return Some((*year, *offset));
        }
    }
    let utc = time.offset.unwrap_or(0);
    let before = |moment: &i64| (span.0 - LONG_BEFORE..=span.1 + AROUND).contains(moment);
    years.iter().rev().find(|year| at(**year, utc).is_some_and(|moment| before(&moment))).map(|year| (*year, utc))
}

#[cfg(test)]
mod tests {
    use super::{inferred, undated};
    use crate::form::instant::SECOND;

    /// 2026-11-26T09:41:20Z.
    const AT: i64 = 1_795_686_080 * SECOND;

    #[test]
    fn a_log_is_dated_by_what_lies_beside_it() {
        let span = (AT, AT + 60 * SECOND);
        let check = |line: &str, expected| {
            let found = undated(line.as_bytes()).unwrap_or_else(|| panic!("{line}"));
            assert_eq!(inferred(&found, span), expected, "{line}");
        };
        check("I1126 09:41:24.042567       1 proxier.go:668] x", Some((2026, 0)));
        check("I1126 10:41:24.042567       1 proxier.go:668] x", Some((2026, 3600)));
        check("I1126 15:11:24.042567       1 proxier.go:668] x", Some((2026, 19_800)));
        // It begins two days before: in UTC, where nothing says otherwise.
        check("I1124 10:41:24.042567       1 proxier.go:668] x", Some((2026, 0)));
        check("I0103 10:41:24.042567       1 proxier.go:668] x", None);
        check("Nov 26 04:41:24.900: a -> b", Some((2026, -18_000)));
    }

    #[test]
    fn the_turn_of_the_year_is_no_trap() {
        let new_year = 1_798_761_600 * SECOND;
        let found = undated(b"I1231 23:59:58.000000       1 proxier.go:668] x").expect("a time");
        assert_eq!(inferred(&found, (new_year, new_year + 60 * SECOND)), Some((2026, 0)));
    }
}
