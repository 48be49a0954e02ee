//! Snapshots one after the other behind `# TIMESTAMP` lines, and single files of one snapshot.
//!
//! ```text
//! # TIMESTAMP 1795407710.648307833      printed ahead of the command: the state was read between it and the next
//! …output of the command…
//! # TIMESTAMP 1795407710.794384887
//! …
//! # TIMESTAMP 1795407710.894384887 1795407710.901120441              the state was read between these two
//! # TIMESTAMP 1795407710.994384887 1795407711.001120441 unchanged    and found as it was, but for counters
//! ```
//!
//! A file without such a line is one snapshot. Its time is the one in its name (`1795407710.648307833.txt`), else its
//! modification time, which is a loss. Where a heading, a table or a chain comes again, another snapshot begins: behind a stamp it
//! was taken before the next one; without stamps only the order of the listings is known. Lines that are no part of the
//! format make a snapshot incomplete; a known warning of standard error that broke a line is put behind it.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use syncline_schema::loss;

use crate::form::dissector::{Dissector, End};
use crate::form::file_series::{self, FileSeries};
use crate::form::instant;
use crate::form::look::Look;
use crate::form::stamp;
use crate::form::{Batch, Chunk, Context, Line, RawSnapshot};
use crate::parse::dataplane::alike::{Faults, faults, following};
use crate::parse::dataplane::standard_error::{self, Mended};

/// Begins a stamp line.
static MARK: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(stamp::MARK));

/// A snapshot that is being gathered.
struct Running {
    record: i64,
    first_line: i64,
    /// Null without a stamp line.
    stamp: Option<Stamped>,
    text: Range<usize>,
}

/// What a stamp line says.
#[derive(Clone, Copy)]
struct Stamped {
    /// Null for one that could not be read, or has no date.
    time: Option<i64>,
    /// ns.
    resolution: i64,
    /// When the reading was over, ns.
    until: Option<i64>,
    /// The state was found as it was: nothing stands behind the stamp.
    unchanged: bool,
}

/// One listing within what stands behind a stamp, or in a file.
struct Listing<'t> {
    text: &'t [u8],
    /// Lines ahead of it.
    lines_ahead: i64,
    is_first: bool,
    is_last: bool,
}

/// Takes the snapshots of a chunk.
///
/// The last snapshot of a stream in a format without an end mark is never called complete: whoever stopped the
/// capture may have stopped the command in the middle of its output, and an absence must not rest on that.
pub fn take(context: &Context, chunk: &Chunk, batch: &mut Batch, dissector: &'static Dissector) {
    let found = cut(context, chunk, batch);
    let stream = !chunk.first || found.iter().any(|running| running.stamp.is_some());
    let stamps: Vec<Option<Stamped>> = found.iter().map(|running| running.stamp).collect();
    let count = found.len();
    // The listing ahead, where nothing was wrong with it.
    let mut clean: Option<Clean> = None;
    let mut series: Option<Option<FileSeries>> = None;
    for (at, running) in found.into_iter().enumerate() {
        let raw = &chunk.bytes[running.text];
        // What stands ahead of the first stamp of a stream is kept if it says anything.
        if running.stamp.is_none() && raw.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let looked = running.stamp.filter(|stamp| stamp.unchanged && raw.iter().all(u8::is_ascii_whitespace));
        if let Some(stamp) = looked {
            batch.record(stamp.time);
            batch.snapshots.push(unchanged(dissector, running.record, running.first_line, stamp));
            continue;
        }
        let ahead = clean.as_ref().and_then(|clean| batch.snapshots.get(clean.at)).map(|one| one.text.as_slice());
        let compared = faults(raw, ahead.unwrap_or_default(), dissector);
        // Line for line the listing ahead, but for counters: then it is whole where that one is, and one as that one is.
        let same_end = clean.as_ref().filter(|_| compared.is_same && !compared.may_be_broken).map(|clean| clean.end);
        let mended = match compared.may_be_broken {
            false => Mended { text: Cow::Borrowed(raw), count: 0 },
            true => standard_error::mended(raw),
        };
        if mended.count > 0 {
            batch.loss(loss::CLEANED_LINES, mended.count);
        }
        let listings = match same_end {
            Some(_) => vec![Listing { text: raw, lines_ahead: 0, is_first: true, is_last: true }],
            None => listings(&mended.text, dissector),
        };
        let many = listings.len() > 1;
        for listing in listings {
            let last = chunk.last && at + 1 == count && listing.is_last;
            let Faults { strange, rounded, .. } = match many || mended.count > 0 {
                false => compared,
                true => {
                    let before = clean.as_ref().and_then(|clean| batch.snapshots.get(clean.at));
                    faults(listing.text, before.map_or(&[], |one| one.text.as_slice()), dissector)
                }
            };
            let end = same_end.unwrap_or_else(|| (dissector.end)(listing.text));
            clean = (strange == 0 && rounded == 0).then_some(Clean { at: batch.snapshots.len(), end });
            for (loss, count) in [(loss::NOT_UNDERSTOOD, strange), (loss::ROUNDED_COUNTERS, rounded)] {
                if count > 0 {
                    batch.loss(loss, count);
                }
            }
            let whole = match end {
                End::Broken => false,
                End::Marked => listing.text.ends_with(b"\n") || !(last && chunk.truncated),
                // Every program ends its last line: without that end the text was cut, perhaps in the middle of a value.
                End::Unmarked => !(last && (stream || chunk.truncated || !listing.text.ends_with(b"\n"))),
            };
            let (time, resolution, time_from) = match running.stamp {
                Some(stamp) if listing.is_first => stamp.told(),
                Some(stamp) => stamp.until(stamps.get(at + 1).copied().flatten()),
                None if stream || many => (None, None, "none"),
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
                record: if listing.is_first { running.record } else { running.first_line + listing.lines_ahead },
                first_line: running.first_line + listing.lines_ahead,
                time,
                resolution,
                until: running.stamp.and_then(|stamp| stamp.until).filter(|_| !many),
                unchanged: false,
                time_from,
                text: listing.text.to_vec(),
                complete: whole && strange == 0,
                around: None,
                series: match time_from {
                    "stamp" | "name" => series.get_or_insert_with(|| file_series::of(&context.path)).clone(),
                    _ => None,
                },
            });
        }
    }
}

/// A reading that found nothing new. Whether the state is complete is that of the reading ahead, which may stand in another chunk.
fn unchanged(dissector: &'static Dissector, record: i64, first_line: i64, stamp: Stamped) -> RawSnapshot {
    let (time, resolution, time_from) = stamp.told();
    RawSnapshot {
        dissector,
        record,
        first_line,
        time,
        resolution,
        until: stamp.until,
        unchanged: true,
        time_from,
        text: Vec::new(),
        complete: false,
        around: None,
        series: None,
    }
}

/// A listing in which nothing was wrong: its index among the batch's snapshots, and what it says of its end.
struct Clean {
    at: usize,
    end: End,
}

/// Cuts a chunk at its stamps.
fn cut(context: &Context, chunk: &Chunk, batch: &mut Batch) -> Vec<Running> {
    let mut found: Vec<Running> = Vec::new();
    let (bytes, mut from, mut number) = (chunk.bytes, 0, chunk.first_line);
    // What stands between two stamps is looked at once, for its line ends.
    let marks = MARK.find_iter(bytes).filter(|at| *at == 0 || bytes[at - 1] == b'\n').chain([bytes.len()]);
    for at in marks {
        if at > from {
            match found.last_mut() {
                Some(running) => running.text.end = at,
                None => {
                    found.push(Running { record: number, first_line: number, stamp: None, text: from..at });
                }
            }
            number += memchr::memchr_iter(b'\n', &bytes[from..at]).count() as i64;
        }
        from = following(bytes, at);
        let ended = bytes[at..from].ends_with(b"\n");
        let line = &bytes[at..from - usize::from(ended)];
        let line =
            Line { bytes: line.strip_suffix(b"\r").unwrap_or(line), number, offset: chunk.offset + at as i64, ended };
        let Some((time, resolution)) = stamp::canonical(line.bytes) else { continue };
        // The last line of a capture that broke off may be half a stamp: no snapshot stands behind it.
        let time = if ended { time } else { None };
        if time.is_none() && !(ended && line.bytes.ends_with(b" unknown")) {
            batch.reject(context, &line, "expected `# TIMESTAMP <seconds since the epoch>` and a line end");
        }
        number += 1;
        if ended {
            let look = Look::of(line.bytes);
            let (until, unchanged) = (look.map(|look| look.until), look.is_some_and(|look| look.unchanged));
            let stamp = Some(Stamped { time, resolution, until, unchanged });
            found.push(Running { record: line.number, first_line: number, stamp, text: from..from });
        }
    }
    found
}

impl Stamped {
    /// Time, resolution and where they are from, of what stands right behind the stamp.
    fn told(self) -> (Option<i64>, Option<i64>, &'static str) {
        match self.time {
            Some(time) => (Some(time), Some(self.resolution).filter(|resolution| *resolution > 1), "stamp"),
            None => (None, None, "none"),
        }
    }

    /// Of what stands further behind: taken after this stamp, and before what follows the next one.
    fn until(self, next: Option<Self>) -> (Option<i64>, Option<i64>, &'static str) {
        let end = next.and_then(|next| Some(next.time?.saturating_add(next.resolution)));
        match (self.time, end) {
            (Some(time), Some(end)) if end > time => (Some(time), Some(end - time), "stamp"),
            _ => (None, None, "none"),
        }
    }
}

/// The listings of a text: it is cut where one begins anew. What leads to a table goes with what follows.
fn listings<'t>(text: &'t [u8], dissector: &Dissector) -> Vec<Listing<'t>> {
    let mut starts = vec![0];
    for at in (dissector.again)(text) {
        let start = with_lead(text, at);
        if starts.last().is_some_and(|last| *last < start) {
            starts.push(start);
        }
    }
    let ends: Vec<usize> = starts.iter().copied().skip(1).chain([text.len()]).collect();
    let mut lines_ahead = 0;
    let count = starts.len();
    let mut found = Vec::with_capacity(count);
    for (number, (start, end)) in starts.into_iter().zip(ends).enumerate() {
        let own = &text[start..end];
        found.push(Listing { text: own, lines_ahead, is_first: number == 0, is_last: number + 1 == count });
        if count > 1 {
            lines_ahead += memchr::memchr_iter(b'\n', own).count() as i64;
        }
    }
    found
}

/// Where the lines begin that lead to the listing at `at`: blank lines, `# Generated by …`.
fn with_lead(text: &[u8], mut at: usize) -> usize {
    while at > 0 {
        let before = memchr::memrchr(b'\n', &text[..at - 1]).map_or(0, |end| end + 1);
        let line = text[before..at].trim_ascii_end();
        let lead = line.is_empty() || line.starts_with(b"# Generated by");
        if !lead || before == 0 {
            break;
        }
        at = before;
    }
    at
}

fn time_of_file(context: &Context) -> (Option<i64>, Option<i64>, &'static str) {
    match (instant::time_in_name(&context.path), context.mtime) {
        (Some((time, resolution, _)), _) => (Some(time), Some(resolution).filter(|unit| *unit > 1), "name"),
        (None, Some(time)) => (Some(time), None, "mtime"),
        (None, None) => (None, None, "none"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::take;
    use crate::form::dissector::{Counters, Dissector, End, RuleFields, lines, repeated};
    use crate::form::{Batch, Chunk, Context};
    use crate::parse::harness::{context, whole};

    const LISTING: Dissector = Dissector {
        format: "iptables-list",
        end: |text| if text.is_empty() { End::Broken } else { End::Unmarked },
        knows: |_| true,
        rounded: |_| 0,
        again: |text| repeated(text, |line| (line == b"H").then_some(line)),
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
    fn a_stamp_may_say_when_the_reading_was_over_and_that_it_found_nothing_new() {
        let batch = snapshots(concat!(
            "# TIMESTAMP 1795407710.5 1795407710.6\nH\na\n",
            "# TIMESTAMP 1795407711.5 1795407711.625 unchanged\n",
            "# TIMESTAMP 1795407712.5 1795407712.4\nH\nb\n",
            "# TIMESTAMP 1795407713.5 1795407713.6 unchanged\n",
        ));
        let tenths = |time: Option<i64>| time.map(|time| time / 100_000_000 - 17_954_077_000);
        let seen: Vec<_> = batch
            .snapshots
            .iter()
            .map(|one| (one.record, one.unchanged, one.text.len(), one.complete, tenths(one.until)))
            .collect();
        // The third ends ahead of its beginning: that end says nothing.
        assert_eq!(
            seen,
            [
                (1, false, 4, true, Some(106)),
                (4, true, 0, false, Some(116)),
                (5, false, 4, true, None),
                (8, true, 0, false, Some(136))
            ]
        );
        assert_eq!((batch.records, batch.rejected), (4, 0));
    }

    #[test]
    fn what_stands_as_it_stood_is_judged_once() {
        static JUDGED: AtomicUsize = AtomicUsize::new(0);
        static ENDS: AtomicUsize = AtomicUsize::new(0);
        const COUNTING: Dissector = Dissector {
            knows: |_| JUDGED.fetch_add(1, Ordering::Relaxed) < usize::MAX,
            end: |text| {
                ENDS.fetch_add(1, Ordering::Relaxed);
                (LISTING.end)(text)
            },
            ..LISTING
        };
        let state = |count: usize| format!("H\n  {count}  {} a\n  0 0 b\n", count * 60);
        let text: String = (0..9).map(|at| format!("# TIMESTAMP 179540771{at}.5\n{}", state(at * at))).collect();
        let mut batch = Batch::default();
        take(&context(), &whole(text.as_bytes()), &mut batch, &COUNTING);
        assert_eq!(batch.snapshots.iter().filter(|one| one.complete).count(), 8);
        assert_eq!((JUDGED.load(Ordering::Relaxed), ENDS.load(Ordering::Relaxed)), (3, 1));
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
        assert!(first.series.is_some() && first.complete);
        let cut = Chunk { bytes: b"a\r\nb", ..chunk };
        take(&named, &cut, &mut batch, &LISTING);
        assert!(!batch.snapshots.pop().expect("a snapshot").complete);
        assert_eq!(batch.snapshots[1].time_from, "mtime");
        assert!(batch.snapshots[1].series.is_none());
        assert!(batch.losses.contains_key("time-from-mtime"));
        assert_eq!(batch.span, Some((1_795_407_710_500_000_000, 1_795_407_710_500_000_000)));
    }

    #[test]
    fn a_heading_that_comes_again_begins_another_snapshot() {
        let batch = snapshots("H\na\n\nH\nb\n");
        let seen: Vec<_> = batch.snapshots.iter().map(|one| (one.record, one.text.len(), one.time_from)).collect();
        assert_eq!(seen, [(1, 4, "none"), (3, 5, "none")]);
        // Behind a stamp the second was taken before the next one.
        let batch = snapshots("# TIMESTAMP 1795407710.5\nH\na\nH\nb\n# TIMESTAMP 1795407712\nH\nc\nH\nd\n");
        let seen: Vec<_> =
            batch.snapshots.iter().map(|one| (one.record, one.time, one.resolution, one.time_from)).collect();
        assert_eq!(
            seen,
            [
                (1, Some(1_795_407_710_500_000_000), Some(100_000_000), "stamp"),
                (4, Some(1_795_407_710_500_000_000), Some(2_500_000_000), "stamp"),
                (6, Some(1_795_407_712_000_000_000), Some(1_000_000_000), "stamp"),
                (9, None, None, "none"),
            ]
        );
    }

    #[test]
    fn a_stamp_without_a_date_is_no_damage() {
        let batch = snapshots("# TIMESTAMP unknown\na\n# TIMESTAMP unknown\nb\n");
        assert_eq!((batch.snapshots.len(), batch.rejected, batch.losses["no-time"].1), (2, 0, 2));
    }
}
