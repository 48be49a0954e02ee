//! `chronyc tracking` as people read it.
//!
//! ```text
//! Reference ID    : C0A80001 (192.168.0.1)
//! Stratum         : 3
//! Ref time (UTC)  : Mon Nov 23 04:33:48 2026
//! System time     : 0.000012345 seconds slow of NTP time
//! …
//! Leap status     : Normal
//! ```
//!
//! The same fields as `chronyc -c tracking` prints in one line, and the same evidence (`chrony` has what they mean), but for the
//! time of the last update, which stands here in whole seconds. A file may hold many of them.

use syncline_schema::clock::ClockToken;
use syncline_schema::loss;

use crate::form::instant;
use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Line, Reads, Sniff};
use crate::parse::setting::chrony;

/// The format.
pub const FORMAT: Format = Format {
    kind: "chrony-text",
    title: "chronyc tracking, without -c",
    clock: ClockToken::Node,
    cut: Cut::Whole,
    sniff,
    reads: Reads::Rows(parse),
    sample: "Reference ID    : C0A80001 (192.168.0.1)\nStratum         : 3\nRef time (UTC)  : Mon Nov 23 04:33:48 2026\nSystem time     : 0.000012345 seconds slow of NTP time\nLast offset     : +0.000004567 seconds\nRMS offset      : 0.000021000 seconds\nFrequency       : 12.345 ppm slow\nResidual freq   : +0.001 ppm\nSkew            : 0.042 ppm\nRoot delay      : 0.000512000 seconds\nRoot dispersion : 0.000301000 seconds\nUpdate interval : 64.2 seconds\nLeap status     : Normal\n",
    recognised: "lines `Reference ID :`, `System time : … of NTP time` and `Leap status :`",
    capture: "chronyc tracking (better: chronyc -c tracking, which has the time of the last update to a nanosecond)",
    proves: "how far a machine's realtime was from NTP time, as chronyc -c tracking does",
};

fn sniff(head: &Head) -> Sniff {
    let has = |key: &str| head.bytes.split(|byte| *byte == b'\n').any(|line| value(line, key).is_some());
    if has("Reference ID") && has("System time") && has("Leap status") { Sniff::Yes } else { Sniff::No }
}

/// What stands behind a key.
fn value<'a>(line: &'a [u8], key: &str) -> Option<&'a str> {
    let text = std::str::from_utf8(line).ok()?.trim();
    text.strip_prefix(key)?.trim_start().strip_prefix(':').map(str::trim)
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    let mut begun: Option<(Line<'_>, Vec<Line<'_>>)> = None;
    let unfinished = "expected `chronyc tracking` up to its line `Leap status`";
    for line in chunk.lines().filter(|line| !line.bytes.trim_ascii().is_empty()) {
        if value(line.bytes, "Reference ID").is_some() {
            if let Some((first, _)) = begun.replace((line, Vec::new())) {
                batch.reject(context, &first, unfinished);
            }
        } else if let Some((first, lines)) = &mut begun {
            lines.push(line);
            if value(line.bytes, "Leap status").is_some() {
                one(context, first, lines, batch);
                begun = None;
            }
        } else {
            batch.reject(context, &line, "expected `Reference ID :` of chronyc tracking");
        }
    }
    if let Some((first, _)) = begun {
        batch.reject(context, &first, unfinished);
    }
}

fn one(context: &Context, first: &Line<'_>, lines: &[Line<'_>], batch: &mut Batch) {
    let get = |key: &str| lines.iter().find_map(|line| value(line.bytes, key)).unwrap_or_default();
    let number = |key: &str| get(key).split(' ').next().unwrap_or_default();
    let Some(time) = reference_time(get("Ref time (UTC)")) else {
        return batch.reject(context, first, "expected `Ref time (UTC)  : Mon Nov 23 04:33:48 2026` below it");
    };
    batch.loss(loss::WHOLE_SECONDS, 1);
    let reading = chrony::Reading {
        time,
        offset: number("System time"),
        root_delay: number("Root delay"),
        root_dispersion: number("Root dispersion"),
        leap: get("Leap status"),
    };
    chrony::push(context, first, &reading, batch);
}

/// `Mon Nov 23 04:33:48 2026`, UTC, ns.
fn reference_time(text: &str) -> Option<i64> {
    let (rest, year) = text.rsplit_once(' ')?;
    instant::syslog(rest.split_once(' ')?.1, year.parse().ok()?, 0)
}

#[cfg(test)]
mod tests {
    use super::FORMAT;
    use crate::form::Sniff;
    use crate::parse::harness::{head, parse_text};

    #[test]
    fn reads_what_the_line_with_commas_says() {
        let session = format!("{}\n{}", FORMAT.sample, FORMAT.sample);
        assert_eq!((FORMAT.sniff)(&head("x", session.as_bytes())), Sniff::Yes);
        let mut batch = parse_text(&FORMAT, &session);
        assert_eq!((batch.records, batch.rejected, batch.losses["whole-seconds"].1), (2, 0, 2));
        let mut tables = batch.take_tables();
        let anchors = tables.iter_mut().find(|table| table.table == "clock_anchors").expect("readings");
        let rows = anchors.finish().expect("rows");
        let at = |name: &str| {
            let column = rows.column_by_name(name).expect("the column");
            arrow_array::cast::AsArray::as_primitive::<arrow_array::types::Int64Type>(column).value(0)
        };
        assert_eq!((at("b_low"), at("a_high") - at("b_low")), (1_795_408_428_000_000_000, 569_345));
    }

    #[test]
    fn what_breaks_off_or_follows_no_server_is_refused() {
        let batch = parse_text(&FORMAT, &FORMAT.sample[..200]);
        assert_eq!((batch.records, batch.rejected), (0, 1));
        let batch = parse_text(&FORMAT, &FORMAT.sample.replace("Normal", "Not synchronised"));
        assert_eq!((batch.records, batch.rejected), (0, 1));
    }
}
