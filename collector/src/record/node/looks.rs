//! A file of readings of one state, each behind a stamp with both its ends; one that found nothing new is its stamp alone.
//!
//! ```text
//! # TIMESTAMP 1795407710.648307833 1795407710.655120441
//! *nat
//! …
//! # TIMESTAMP 1795407710.748211390 1795407710.754903127 unchanged
//! ```

use std::io;
use std::time::{Duration, Instant};

use syncline_schema::loss;

use crate::form::look::Look;
use crate::record::folder::{File, Out, Packing};

/// How often counters that have grown are written, where nothing else changed, for each started part of this size.
const COUNTERS_EVERY: Duration = Duration::from_secs(1);
const PART: usize = 256 << 10;

/// What of a line is no counter: what stays of it, in two parts.
pub type Kept = fn(&[u8]) -> (&[u8], &[u8]);

/// The whole line.
pub fn whole(line: &[u8]) -> (&[u8], &[u8]) {
    (line, &[])
}

/// A file of looks.
#[derive(Debug)]
pub struct Looks {
    out: Out,
    file: File,
    kept: Kept,
    /// The text of the last reading that was written whole, and when.
    last: Vec<u8>,
    written: Option<Instant>,
}

impl Looks {
    /// Opens one. The first reading of a file that goes on is written whole.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(out: &Out, path: &str, kept: Kept) -> io::Result<Self> {
        Ok(Self { out: out.clone(), file: out.packed(path, Packing::Far)?, kept, last: Vec::new(), written: None })
    }

    /// Writes a reading; says whether more than counters changed.
    ///
    /// # Errors
    /// The disk is full.
    pub fn push(&mut self, from: i64, until: i64, text: &[u8]) -> io::Result<bool> {
        let equal = self.written.is_some() && text == self.last;
        let alike = equal || self.written.is_some() && alike(text, &self.last, self.kept);
        let wait = COUNTERS_EVERY * (1 + u32::try_from(self.last.len() / PART).unwrap_or(u32::MAX));
        if equal || alike && self.written.is_some_and(|written| written.elapsed() < wait) {
            self.unchanged(from, until)?;
            return Ok(false);
        }
        let mut record = Look { from, until, unchanged: false }.line().into_bytes();
        record.extend_from_slice(text);
        if !record.ends_with(b"\n") {
            record.push(b'\n');
        }
        self.file.write_record(&record)?;
        self.last.clear();
        self.last.extend_from_slice(text);
        if !alike && self.written.is_some() {
            self.out.changed();
        }
        self.written = Some(Instant::now());
        Ok(!alike)
    }

    /// Writes that nothing changed since the reading ahead.
    ///
    /// # Errors
    /// The disk is full.
    pub fn unchanged(&mut self, from: i64, until: i64) -> io::Result<()> {
        self.file.write_record(Look { from, until, unchanged: true }.line().as_bytes())
    }
}

/// Whether two texts have the same lines but for their counters.
fn alike(one: &[u8], other: &[u8], kept: Kept) -> bool {
    let mut lines = one.split(|byte| *byte == b'\n');
    let mut others = other.split(|byte| *byte == b'\n');
    loop {
        match (lines.next(), others.next()) {
            (None, None) => return true,
            (Some(line), Some(other)) if line == other || kept(line) == kept(other) => {}
            _ => return false,
        }
    }
}

/// Readings that decide of the rate.
const WINDOW: usize = 20;

/// Less often where a reading takes long: a fourth of the time at most is spent with it.
#[derive(Debug, Default)]
pub struct Pace {
    /// The last readings, of which the shortest counts: one that waited for a processor says nothing of the table.
    recent: [Option<Duration>; WINDOW],
    at: usize,
    /// The longest wait that was said.
    said: Duration,
}

impl Pace {
    /// How long to wait from one reading to the next, after one that took `took`. Where that has become longer than asked, and half as long again
    /// than was said before, it is said as a loss.
    pub fn after(&mut self, asked: Duration, took: Duration, out: &Out) -> Duration {
        let (wait, words) = self.next(asked, took);
        if let Some(words) = words {
            out.lost(loss::RECORDER_SLOWED, 1, words);
        }
        wait
    }

    /// The same, with the words for the loss.
    fn next(&mut self, asked: Duration, took: Duration) -> (Duration, Option<String>) {
        self.recent[self.at] = Some(took);
        self.at = (self.at + 1) % self.recent.len();
        let usual = match self.recent.iter().all(Option::is_some) {
            true => self.recent.iter().flatten().min().copied().unwrap_or_default(),
            // The first ones find nothing in the caches.
            false => Duration::ZERO,
        };
        let least = usual * 4;
        // A little more than asked is none.
        let slowed = least > asked + asked / 10;
        // A table that grows and a machine that is busy now and then would have it said again and again.
        let words = (slowed && least > self.said + self.said / 2).then(|| {
            self.said = least;
            format!(
                "a reading takes {} ms: read every {} ms instead of every {}",
                usual.as_millis(),
                least.as_millis(),
                asked.as_millis()
            )
        });
        (if slowed { least } else { asked }, words)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Pace, alike, whole};

    #[test]
    fn texts_are_alike_line_by_line() {
        assert!(alike(b"a\nb\n", b"a\nb\n", whole));
        assert!(alike(b"1 a\nb\n", b"2 a\nb\n", |line| (
            line.strip_prefix(b"1").unwrap_or(line.get(1..).unwrap_or(line)),
            &[]
        )));
        for other in [&b"a\n"[..], b"a\nb\nc\n", b"a\nc\n", b""] {
            assert!(!alike(b"a\nb\n", other, whole));
        }
    }

    #[test]
    fn a_long_reading_lowers_the_rate_and_says_so_once() {
        let mut pace = Pace::default();
        let (asked, quick, long) = (Duration::from_millis(100), Duration::from_millis(5), Duration::from_millis(60));
        assert_eq!(pace.next(asked, quick), (asked, None));
        // One slow reading among quick ones is no large table.
        assert_eq!(pace.next(asked, long), (asked, None));
        for _ in 0..18 {
            assert_eq!(pace.next(asked, long), (asked, None));
        }
        let (every, words) = pace.next(asked, long);
        assert_eq!(every, Duration::from_millis(240));
        assert_eq!(words.as_deref(), Some("a reading takes 60 ms: read every 240 ms instead of every 100"));
        assert_eq!(pace.next(asked, long), (Duration::from_millis(240), None));
        assert_eq!(pace.next(asked, quick), (asked, None));
        // Somewhat slower again says nothing new, twice as slow does.
        let mut next = |took: Duration| (0..20).filter_map(|_| pace.next(asked, took).1).collect::<Vec<_>>();
        assert_eq!(next(Duration::from_millis(70)), Vec::<String>::new());
        assert_eq!(
            next(Duration::from_millis(130)),
            ["a reading takes 130 ms: read every 520 ms instead of every 100"]
        );
    }
}
