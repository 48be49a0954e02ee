//! The stamp of a reading that says both its ends: the state was read between them.
//!
//! ```text
//! # TIMESTAMP 1795407710.648307833 1795407710.655120441
//! *nat
//! …
//! # TIMESTAMP 1795407710.748211390 1795407710.754903127 unchanged      read again: as the reading ahead of it, but for counters
//! ```
//!
//! The first number is the stamp that every snapshot has (`form/stamp.rs`), so that a reader which knows one time only takes the
//! end from the next stamp: its bounds are wider and as true.

use super::instant::{self, SECOND};
use super::stamp::MARK;

/// What stands behind the times of a reading that found nothing new.
const UNCHANGED: &str = "unchanged";

/// When a state was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// ns since the epoch, taken ahead of the reading.
    pub from: i64,
    /// ns since the epoch, taken behind it.
    pub until: i64,
    /// The state was that of the reading ahead in the same file (counters may have grown); no text follows.
    pub unchanged: bool,
}

impl Look {
    /// The line ahead of the text, with its line end.
    pub fn line(&self) -> String {
        let seconds = |time: i64| format!("{}.{:09}", time.div_euclid(SECOND), time.rem_euclid(SECOND));
        let end = if self.unchanged { format!(" {UNCHANGED}\n") } else { "\n".to_owned() };
        format!("{MARK}{} {}{end}", seconds(self.from), seconds(self.until))
    }

    /// What a line says (without its line end); null for a stamp of one time, for one whose end lies ahead of its beginning, and for any
    /// other line.
    pub fn of(line: &[u8]) -> Option<Look> {
        let mut words = line.strip_prefix(MARK.as_bytes())?.split(|byte| *byte == b' ');
        let from = instant::epoch_seconds(words.next()?)?;
        let until = instant::epoch_seconds(words.next()?.trim_ascii_end())?;
        let unchanged = words.next().is_some_and(|word| word.trim_ascii_end() == UNCHANGED.as_bytes());
        (until >= from).then_some(Look { from, until, unchanged })
    }
}

#[cfg(test)]
mod tests {
    use super::Look;
    use crate::form::stamp;

    #[test]
    fn what_is_written_is_read() {
        for unchanged in [false, true] {
            let look = Look { from: 1_795_407_710_000_000_009, until: 1_795_407_710_655_120_441, unchanged };
            let line = look.line();
            assert_eq!(Look::of(line.trim_end().as_bytes()), Some(look), "{line}");
            // A reader of one time takes the first.
            assert_eq!(stamp::canonical(line.trim_end().as_bytes()), Some((Some(look.from), 1)));
            // No layer takes it for a date of its own.
            assert_eq!(stamp::line(line.trim_end().as_bytes()), None);
        }
        for other in [
            "# TIMESTAMP 1795407710.6",
            "# TIMESTAMP 1795407711 1795407710",
            "# TIMESTAMP 1795407711 later",
            "# TIMESTAMP unknown",
            "1795407710.1 1795407710.2",
        ] {
            assert_eq!(Look::of(other.as_bytes()), None, "{other}");
        }
    }
}
