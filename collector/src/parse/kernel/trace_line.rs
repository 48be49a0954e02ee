//! One printf line of a bpftrace script, and the numbers that bpftrace prints: shared by its text and JSON output.
//!
//! ```text
//! 5570190877155 XTABLES_LOCK pid=20093 comm=iptables-legacy wait_ns=19657 ret=0
//! # SECOND nsecs=6811539155252
//! ```
//!
//! A printf line is the script author's. A leading integer of 13 to 19 digits is taken as `nsecs`, then an
//! upper-case EVENT word; a comment line `# … nsecs=N` gives the time of the map prints behind it. Any other line is kept
//! whole, without a time.

use syncline_schema::trace::{EventRow, MapRow};

use crate::form::instant::digits;
use crate::form::{Batch, Context};

/// Largest integer up to which a double is exact.
const EXACT: i64 = 1 << 53;

/// Appends the row of a printf line; gives its time.
pub fn push_event(context: &Context, record: i64, line: &str, batch: &mut Batch) -> Option<i64> {
    let row = event(line);
    let time = row.time;
    batch.record(time);
    batch.push(&EventRow { source: context.source, record, clock: context.clock.as_str().into(), ..row });
    time
}

/// Dissects a printf line.
fn event(line: &str) -> EventRow<'_> {
    let whole = |time| EventRow { time, text: line.into(), ..Default::default() };
    let length = line.bytes().take_while(u8::is_ascii_digit).count();
    if length == 0 {
        return whole(stamp(line));
    }
    let (number, rest) = line.split_at(length);
    let time = if (13..=19).contains(&length) { number.parse::<i64>().ok() } else { None };
    let (Some(time), Some(rest)) = (time, rest.strip_prefix([' ', '\t'])) else {
        return whole(None);
    };
    let (word, tail) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
    if !is_event_word(word) {
        return whole(Some(time));
    }
    EventRow {
        time: Some(time),
        event: Some(word.into()),
        pid: value_of(tail, "pid=").and_then(|text| text.parse().ok()),
        comm: value_of(tail, "comm=").map(Into::into),
        text: tail.into(),
        ..Default::default()
    }
}

/// The `nsecs=N` of a comment line.
fn stamp(line: &str) -> Option<i64> {
    let rest = line.strip_prefix('#')?;
    let (_, number) = rest.split_once("nsecs=")?;
    let length = number.bytes().take_while(u8::is_ascii_digit).count();
    if (13..=19).contains(&length) { number[..length].parse().ok() } else { None }
}

fn is_event_word(word: &str) -> bool {
    let bytes = word.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_uppercase)
        && bytes.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_')
}

/// Value of `key=` at the beginning of a word: up to the next ` key=`, since a comm may hold blanks.
fn value_of<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut from = 0;
    let start = loop {
        let place = from + memchr::memmem::find(&text.as_bytes()[from..], key.as_bytes())?;
        if place == 0 || text.as_bytes()[place - 1] == b' ' {
            break place + key.len();
        }
        from = place + 1;
    };
    let rest = &text[start..];
    let end = match rest.split_once('=') {
        Some((ahead, _)) => ahead.rfind(' ').unwrap_or(ahead.len()),
        None => rest.len(),
    };
    Some(rest[..end].trim_end())
}

/// A printed value as a number, and as text where a double does not hold it exactly.
pub fn figure(printed: &str) -> (Option<f64>, Option<&str>) {
    let bytes = printed.as_bytes();
    let unsigned = bytes.strip_prefix(b"-").unwrap_or(bytes);
    if unsigned.len() <= 18
        && let Some(number) = digits(unsigned)
    {
        let value = if unsigned.len() == bytes.len() { number as f64 } else { -(number as f64) };
        return (Some(value), (number > EXACT).then_some(printed));
    }
    if !unsigned.is_empty() && unsigned.iter().all(u8::is_ascii_digit) {
        return (printed.parse().ok(), Some(printed));
    }
    let decimal = unsigned.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.') && unsigned.contains(&b'.');
    match printed.parse() {
        Ok(value) if decimal => (Some(value), None),
        _ => (None, Some(printed)),
    }
}

/// A map and its key, at the time of its print.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    pub record: i64,
    pub time: Option<i64>,
    /// With its `@`.
    pub map: &'a str,
    pub key: Option<&'a str>,
}

/// Appends one value of a map.
pub fn push_value(context: &Context, place: &Place, name: &str, printed: &str, batch: &mut Batch) {
    let (value, text) = figure(printed);
    batch.record(place.time);
    batch.push(&MapRow {
        source: context.source,
        record: place.record,
        clock: context.clock.as_str().into(),
        time: place.time,
        map: place.map.into(),
        key: place.key.map(Into::into),
        figure: name.into(),
        value,
        text: text.map(Into::into),
        ..Default::default()
    });
}

/// Appends one bucket of a histogram.
pub fn push_bucket(
    context: &Context,
    place: &Place,
    low: Option<f64>,
    high: Option<f64>,
    count: i64,
    batch: &mut Batch,
) {
    batch.record(place.time);
    batch.push(&syncline_schema::trace::HistogramRow {
        source: context.source,
        record: place.record,
        clock: context.clock.as_str().into(),
        time: place.time,
        map: place.map.into(),
        key: place.key.map(Into::into),
        low,
        high,
        count,
        ..Default::default()
    });
}

#[cfg(test)]
mod tests {
    use super::{event, figure};

    #[test]
    fn reads_events() {
        let row = event("5570190877155 XTABLES_LOCK pid=20093 comm=Web Content wait_ns=19657 ret=0");
        assert_eq!(
            (row.time, row.event.as_deref(), row.pid, row.comm.as_deref()),
            (Some(5_570_190_877_155), Some("XTABLES_LOCK"), Some(20093), Some("Web Content"))
        );
        assert_eq!(row.text, "pid=20093 comm=Web Content wait_ns=19657 ret=0");
        let row = event("# SECOND nsecs=6811539155252");
        assert_eq!((row.time, row.event, &*row.text), (Some(6_811_539_155_252), None, "# SECOND nsecs=6811539155252"));
        let row = event("5570190877155 RST 1.2.3.4:80 -> 5.6.7.8:9 ppid=1");
        assert_eq!((row.event.as_deref(), row.pid), (Some("RST"), None));
        for line in [
            "611 259 0 bash",
            "5570190877155",
            "5570190877155 lower x",
            "99999999999999999999 EXEC",
            "",
            "Tracing… Hit Ctrl-C",
        ] {
            let row = event(line);
            assert_eq!((row.event, &*row.text), (None, line));
        }
    }

    #[test]
    fn reads_figures() {
        assert_eq!(figure("12"), (Some(12.0), None));
        assert_eq!(figure("-12"), (Some(-12.0), None));
        assert_eq!(figure("1.5"), (Some(1.5), None));
        assert_eq!(figure("9007199254740993"), (Some(9007199254740992.0), Some("9007199254740993")));
        assert_eq!(figure("18446744073709551615"), (Some(18446744073709551615.0), Some("18446744073709551615")));
        assert_eq!(figure("inf"), (None, Some("inf")));
        assert_eq!(figure("(1, 2)"), (None, Some("(1, 2)")));
    }
}
