//! What a run may hold at once: shares of `--memory`, in bytes.
//!
//! ```text
//! --memory ─┬─ 1/2  chunks under way, and the rows that are built from them       whoever reads waits until there is room
//!           ├─ 1/3  what the sequential pass keeps: series, states, stamps        what does not fit is refused by name
//!           └─ 1/6  what the reader keeps: files, symbols and series of a TSDB    likewise
//! ```
//!
//! Each share is used by one thread in the order of the capture, so that what is refused does not depend on how threads take turns.
//! Sizes are those of what is built: two kilobytes of a capture may be gigabytes of rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that a chunk has at least, unless the file ends. Fixed: a bundle must not depend on memory or threads.
pub const CHUNK: usize = 4 << 20;

/// Bytes of a line that a record has on average, at least: a record of more lines than that allows is one that is too long, since each
/// line takes more memory than it has bytes.
pub const SHORTEST_LINES: usize = 32;

/// Longest record whatever the memory, bytes: texts of a column are counted in 31 bits.
const LONGEST: usize = 512 << 20;

/// The shares of a run.
#[derive(Clone, Debug)]
pub struct Shares {
    /// Longest record, bytes.
    pub record: usize,
    /// Chunks under way and their rows, bytes.
    pub under_way: usize,
    /// For the sequential pass.
    pub writing: Ledger,
    /// For the reader.
    pub reading: Ledger,
}

impl Shares {
    /// The shares of so many bytes of memory.
    pub fn of(memory: usize) -> Self {
        // A power of two of chunks, so that two limits cut alike up to the smaller.
        let mut record = CHUNK;
        while record * 2 <= memory / 8 && record < LONGEST {
            record *= 2;
        }
        Self { record, under_way: memory / 2, writing: Ledger::new(memory / 3), reading: Ledger::new(memory / 6) }
    }
}

/// A share that is taken from and given back to.
#[derive(Clone, Debug)]
pub struct Ledger(Arc<Share>);

#[derive(Debug)]
struct Share {
    total: usize,
    taken: AtomicUsize,
}

/// There is no room left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected what is kept at once to fit {total} bytes, its share of --memory: raise --memory")]
pub struct Full {
    /// Bytes of the share.
    pub total: usize,
}

impl Ledger {
    /// A share of `total` bytes.
    pub fn new(total: usize) -> Self {
        Self(Arc::new(Share { total, taken: AtomicUsize::new(0) }))
    }

    /// Bytes in all.
    pub fn total(&self) -> usize {
        self.0.total
    }

    /// Bytes that are taken.
    pub fn taken(&self) -> usize {
        self.0.taken.load(Ordering::Relaxed)
    }

    /// An account of somebody who holds nothing yet.
    pub fn account(&self) -> Held {
        Held { ledger: self.clone(), bytes: 0 }
    }
}

/// What one owner holds; given back when it goes away.
#[derive(Debug)]
pub struct Held {
    ledger: Ledger,
    bytes: usize,
}

impl Held {
    /// Takes more.
    ///
    /// # Errors
    /// There is no room; nothing was taken.
    pub fn take(&mut self, bytes: usize) -> Result<(), Full> {
        let share = &self.ledger.0;
        let fits = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= share.total);
        share.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).map_err(|_| self.full())?;
        self.bytes += bytes;
        Ok(())
    }

    /// Another account with the same share.
    pub fn another(&self) -> Self {
        self.ledger.account()
    }

    /// What is said where there is no room.
    pub fn full(&self) -> Full {
        Full { total: self.ledger.0.total }
    }

    /// Gives back.
    pub fn give(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.ledger.0.taken.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.give(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::{CHUNK, Full, Ledger, Shares};

    #[test]
    fn what_is_taken_is_given_back_and_more_than_all_is_refused() {
        let ledger = Ledger::new(100);
        let (mut one, mut other) = (ledger.account(), ledger.account());
        assert_eq!((one.take(60), other.take(40)), (Ok(()), Ok(())));
        assert_eq!((one.take(1), one.take(usize::MAX)), (Err(Full { total: 100 }), Err(Full { total: 100 })));
        one.give(10);
        assert_eq!((other.take(10), ledger.taken()), (Ok(()), 100));
        drop(one);
        assert_eq!(ledger.taken(), 50);
        other.give(1_000);
        assert_eq!(ledger.taken(), 0);
    }

    #[test]
    fn a_record_is_a_power_of_two_of_chunks() {
        assert_eq!([16 << 20, 512 << 20, 1 << 30].map(|memory| Shares::of(memory).record / CHUNK), [1, 16, 32]);
    }
}
