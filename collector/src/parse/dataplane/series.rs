//! Snapshots one after the other behind `# TIMESTAMP` lines, and single files of one snapshot.
//!
//! ```text
//! # TIMESTAMP 1795407710.648307833      printed ahead of the command: the state was read between it and the next
//! …output of the command…
//! # TIMESTAMP 1795407710.794384887
//! …
//! ```
//!
//! A file without such a line is one snapshot. Its time is the one in its name (`1795407710.648307833.txt`), else its
//! modification time, which is a loss. A file whose name holds a time, or ends in a number (`snapshot-17.txt`), is
//! one of a series.

use std::ops::Range;

use syncline_schema::loss;

use crate::form::dissector::{Dissector, End};
use crate::form::instant;
use crate::form::stamp::MARK;
use crate::form::{Batch, Chunk, Context, RawSnapshot};

/// A snapshot that is being gathered.
struct Running {
    record: i64,
    first_line: i64,
    /// Null without a stamp line; a null inside for a stamp that could not be read.
    stamp: Option<Option<i64>>,
    text: Range<usize>,
}

/// Takes the snapshots of a chunk.
///
/// The last snapshot of a stream in a format without an end mark is never called complete: whoever stopped the
/// capture may have stopped the command in the middle of its output, and an absence must not rest on that.
pub fn take(context: &Context, chunk: &Chunk, batch: &mut Batch, dissector: &'static Dissector) {
    let mut found: Vec<Running> = Vec::new();
    for line in chunk.lines() {
        let from = (line.offset - chunk.offset) as usize;
        let to = following(chunk.bytes, from);
        match line.bytes.strip_prefix(MARK.as_bytes()) {
            Some(stamp) => {
                let time = instant::epoch_seconds(stamp.split(|byte| *byte == b' ').next().unwrap_or_default());
                // The last line of a capture that broke off may be half a stamp: no snapshot stands behind it.
                let time = if line.ended { time } else { None };
                if time.is_none() {
                    batch.reject(context, &line, "expected `# TIMESTAMP <seconds since the epoch>` and a line end");
                }
                if line.ended {
                    found.push(Running {
                        record: line.number,
                        first_line: line.number + 1,
                        stamp: Some(time),
                        text: to..to,
                    });
                }
            }
            None => match found.last_mut() {
                Some(running) => running.text.end = to,
                None => {
                    found.push(Running { record: line.number, first_line: line.number, stamp: None, text: from..to })
                }
            },
        }
    }
    let stream = !chunk.first || found.iter().any(|running| running.stamp.is_some());
    let count = found.len();
    for (at, running) in found.into_iter().enumerate() {
        let text = &chunk.bytes[running.text];
        // What stands ahead of the first stamp of a stream is kept if it says anything.
        if running.stamp.is_none() && text.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let last = chunk.last && at + 1 == count;
        let complete = match (dissector.end)(text) {
            End::Broken => false,
            End::Marked => text.ends_with(b"\n") || !(last && chunk.truncated),
            // Every program ends its last line: without that end the text was cut, perhaps in the middle of a value.
            End::Unmarked => !(last && (stream || chunk.truncated || !text.ends_with(b"\n"))),
        };
        let (time, time_from) = match running.stamp {
            Some(Some(time)) => (Some(time), "stamp"),
            Some(None) => (None, "none"),
            None if stream => (None, "none"),
            None => time_of_file(context),
        };
        match time_from {
            "mtime" => batch.loss(loss::TIME_FROM_MTIME, 1),
            "none" => batch.loss(loss::NO_TIME, 1),
            _ => {}
        }
        batch.record(time.filter(|_| time_from != "mtime"));
        batch.snapshots.push(RawSnapshot {
            dissector,
            record: running.record,
            first_line: running.first_line,
            time,
            time_from,
            text: text.to_vec(),
            complete,
            around: None,
            file_of_series: !stream && is_of_series(&context.path),
        });
    }
}

/// Offset behind the line end that follows `from`.
fn following(bytes: &[u8], from: usize) -> usize {
    memchr::memchr(b'\n', &bytes[from..]).map_or(bytes.len(), |length| from + length + 1)
}

fn time_of_file(context: &Context) -> (Option<i64>, &'static str) {
    match (instant::in_name(&context.path), context.mtime) {
        (Some(time), _) => (Some(time), "name"),
        (None, Some(time)) => (Some(time), "mtime"),
        (None, None) => (None, "none"),
    }
}

/// Whether a file's name says that it is one of many: it holds a time, or its stem ends in a digit.
fn is_of_series(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let stem = name.split('.').next().unwrap_or(name);
    let numbered = name.rsplit('.').next().is_some_and(|ending| ending.bytes().all(|byte| byte.is_ascii_digit()));
    instant::in_name(path).is_some() || stem.ends_with(|last: char| last.is_ascii_digit()) || numbered
}

#[cfg(test)]
mod tests {
    use super::{is_of_series, take};
    use crate::form::dissector::{Counters, Dissector, End, RuleFields, lines};
    use crate::form::{Batch, Chunk, Context};
    use crate::parse::harness::{context, whole};

    const LISTING: Dissector = Dissector {
        format: "iptables-list",
        end: |text| if text.is_empty() { End::Broken } else { End::Unmarked },
        split: lines,
        section: |_, _| {},
        counters: |_| Counters::default(),
        fields: |_, _, _| RuleFields::default(),
    };

    fn snapshots(text: &str) -> Batch {
        let mut batch = Batch::default();
        take(&context(), &whole(text.as_bytes()), &mut batch, &LISTING);
        batch
    }

    #[test]
    fn cuts_at_stamps_and_doubts_the_last() {
        let batch =
            snapshots("# TIMESTAMP 1795407710.5\na\nb\n# TIMESTAMP 1795407711.5\n# TIMESTAMP 1795407712.5\nc\n");
        let seen: Vec<_> =
            batch.snapshots.iter().map(|one| (one.record, one.text.len(), one.complete, one.time)).collect();
        assert_eq!(
            seen,
            [
                (1, 4, true, Some(1_795_407_710_500_000_000)),
                (4, 0, false, Some(1_795_407_711_500_000_000)),
                (5, 2, false, Some(1_795_407_712_500_000_000))
            ]
        );
        assert_eq!(batch.records, 3);
    }

    #[test]
    fn a_stamp_that_broke_off_is_no_snapshot() {
        let batch = snapshots("# TIMESTAMP 1795407710.5\na\n# TIMESTAMP 17954");
        assert_eq!((batch.snapshots.len(), batch.rejected), (1, 1));
    }

    #[test]
    fn a_file_without_stamps_takes_the_time_of_its_name_or_its_own() {
        let mut batch = Batch::default();
        let chunk = Chunk {
            bytes: b"a\r\n",
            first_line: 1,
            offset: 0,
            first: true,
            last: true,
            truncated: false,
            around: None,
        };
        let named = Context { path: "nat/1795407710.5.txt".to_owned(), ..context() };
        take(&named, &chunk, &mut batch, &LISTING);
        take(&context(), &chunk, &mut batch, &LISTING);
        let first = &batch.snapshots[0];
        assert_eq!((first.time, first.time_from), (Some(1_795_407_710_500_000_000), "name"));
        assert!(first.file_of_series && first.complete);
        let cut = Chunk { bytes: b"a\r\nb", ..chunk };
        take(&named, &cut, &mut batch, &LISTING);
        assert!(!batch.snapshots.pop().expect("a snapshot").complete);
        assert_eq!(batch.snapshots[1].time_from, "mtime");
        assert!(!batch.snapshots[1].file_of_series);
        assert!(batch.losses.contains_key("time-from-mtime"));
        assert_eq!(batch.span, Some((1_795_407_710_500_000_000, 1_795_407_710_500_000_000)));
    }

    #[test]
    fn numbered_files_are_a_series_and_before_and_after_are_not() {
        assert!(is_of_series("nat/snap-17.txt") && is_of_series("nat/out.17"));
        assert!(!is_of_series("iptables/all-tables-before.txt"));
    }
}
