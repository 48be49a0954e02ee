//! `chronyc -c tracking`: how far a clock was from that of its time servers.
//!
//! ```text
//! C0A80001,192.168.0.1,3,1795409228.280778771,-0.000012345,0.000004567,0.000021000,-12.345,0.001,0.042,0.000512000,0.000301000,64.2,Normal
//! ```
//!
//! Fields: reference, its name, stratum, time of the last update, offset of the system clock from NTP time, last and RMS
//! offset, frequency, residual, skew, root delay, root dispersion, interval, leap status. chrony's manual bounds the error of
//! the clock by |offset| + root dispersion + half the root delay. The line may stand many times, one for each call.

use syncline_schema::clock::ClockToken;
use syncline_schema::clock_anchors::ClockAnchorRow;

use crate::form::instant;
use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Line, Reads, Sniff};

/// The format.
pub const FORMAT: Format = Format {
    kind: "chrony",
    title: "chronyc -c tracking: how far a clock was from its time servers",
    clock: ClockToken::Node,
    cut: Cut::Lines,
    sniff,
    reads: Reads::Rows(parse),
    sample: "C0A80001,192.168.0.1,3,1795409228.280778771,-0.000012345,0.000004567,0.000021000,-12.345,0.001,0.042,0.000512000,0.000301000,64.2,Normal\n",
    recognised: "lines of 14 fields separated by commas: eight hexadecimal digits first, a leap status last",
    capture: "chronyc -c tracking >> chrony-$(hostname).csv (on each machine, at the start and the end; of another machine than the node: --source 'chrony@operator=GLOB')",
    proves: "how far a machine's realtime was from NTP time, and so from that of every other machine read so",
};

const LEAP: [&str; 4] = ["Normal", "Insert second", "Delete second", "Not synchronised"];

fn fields(line: &str) -> Option<Vec<&str>> {
    let found: Vec<&str> = line.trim().split(',').collect();
    let named = found.first().is_some_and(|id| id.len() == 8 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    (found.len() == 14 && named && found.last().is_some_and(|leap| LEAP.contains(leap))).then_some(found)
}

fn sniff(head: &Head) -> Sniff {
    let first = head.bytes.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
    if std::str::from_utf8(first).ok().and_then(fields).is_some() { Sniff::Yes } else { Sniff::No }
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    for line in chunk.lines() {
        let text = line.text();
        if text.trim().is_empty() {
            continue;
        }
        let Some(fields) = fields(&text) else {
            batch.reject(context, &line, "expected the 14 fields of `chronyc -c tracking`");
            continue;
        };
        let Some(time) = instant::epoch_seconds(fields[3].as_bytes()) else {
            batch.reject(context, &line, "expected the time of the last update in the fourth field");
            continue;
        };
        let reading =
            Reading { time, offset: fields[4], root_delay: fields[10], root_dispersion: fields[11], leap: fields[13] };
        push(context, &line, &reading, batch);
    }
}

/// What matters of one call, the numbers as chrony prints them, s.
pub struct Reading<'a> {
    /// Of the last update, ns.
    pub time: i64,
    pub offset: &'a str,
    pub root_delay: &'a str,
    pub root_dispersion: &'a str,
    pub leap: &'a str,
}

impl Reading<'_> {
    /// |offset| + root dispersion + half the root delay, ns.
    fn error(&self) -> Option<i64> {
        let number = |text: &str| text.parse::<f64>().ok().filter(|value| value.is_finite()).map(f64::abs);
        let seconds = number(self.offset)? + number(self.root_dispersion)? + number(self.root_delay)? / 2.0;
        Some((seconds * 1e9 - 1e-3).ceil() as i64)
    }
}

/// Appends the row of a reading, or refuses it.
pub fn push(context: &Context, line: &Line<'_>, reading: &Reading<'_>, batch: &mut Batch) {
    if let Err(reason) = anchor(context, line, "chrony", reading, batch) {
        batch.reject(context, line, &reason);
    }
}

/// Appends the row of a reading, by `evidence`.
///
/// # Errors
/// In words: it bounds nothing.
pub fn anchor(
    context: &Context,
    line: &Line<'_>,
    evidence: &'static str,
    reading: &Reading<'_>,
    batch: &mut Batch,
) -> Result<(), String> {
    if reading.leap == "Not synchronised" {
        return Err("expected a synchronised clock: chronyd follows no time server, so that nothing bounds it".into());
    }
    let error = reading.error().ok_or("expected the offset, root delay and root dispersion in seconds")?;
    let time = reading.time;
    batch.record(Some(time));
    batch.push(&ClockAnchorRow {
        source: context.source,
        record: line.number,
        evidence: evidence.into(),
        a: "ntp".into(),
        a_low: time.saturating_sub(error),
        a_high: time.saturating_add(error),
        b: context.clock.as_str().into(),
        b_low: time,
        b_high: time,
        ..Default::default()
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{FORMAT, Reading};
    use crate::form::Sniff;
    use crate::parse::harness::{head, parse_text};

    #[test]
    fn bounds_a_clock_by_offset_and_root_distance() {
        let batch = parse_text(&FORMAT, FORMAT.sample);
        assert_eq!((batch.records, batch.rejected), (1, 0));
        // 12.345 µs + 301 µs + half of 512 µs.
        let reading = Reading {
            time: 0,
            offset: "-0.000012345",
            root_delay: "0.000512000",
            root_dispersion: "0.000301000",
            leap: "Normal",
        };
        assert_eq!(reading.error(), Some(569_345));
        assert_eq!((FORMAT.sniff)(&head("x.csv", FORMAT.sample.as_bytes())), Sniff::Yes);
    }

    #[test]
    fn an_unsynchronised_clock_bounds_nothing() {
        let text = "00000000,,0,0.000000000,0.0,0.0,0.0,0.0,0.0,0.0,1.0,1.0,0.0,Not synchronised\n";
        let batch = parse_text(&FORMAT, text);
        assert_eq!((batch.records, batch.rejected), (0, 1));
        assert_eq!((FORMAT.sniff)(&head("x.csv", b"a,b,c\n")), Sniff::No);
        let cut = &FORMAT.sample[..40];
        assert_eq!(parse_text(&FORMAT, cut).rejected, 1);
    }
}
