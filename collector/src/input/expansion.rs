//! How far a file may be unpacked.
//!
//! Two kilobytes of zstd can be sixty megabytes of empty lines, and a zip of zips more than a disk holds. What comes out of a file (out of
//! the files in it, for an archive; holes, for a sparse one) is counted against what the file takes up: a thousand times that, which gzip
//! cannot exceed by much and logs (10 to 50 times) and series of snapshots (up to some hundred) stay well below. What small files need
//! beyond comes from a pool that all files of a run share, so that neither one bomb nor a thousand small ones take longer than some seconds.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes out per byte in.
pub const RATIO: u64 = 1_000;
/// Bytes that all files together may be unpacked to beyond that.
pub const POOL: u64 = 256 << 20;

/// What is left for all files.
#[derive(Clone, Debug)]
pub struct Pool(Arc<AtomicU64>);

impl Default for Pool {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(POOL)))
    }
}

#[cfg(test)]
impl Pool {
    /// One of so many bytes.
    pub fn of(bytes: u64) -> Self {
        Self(Arc::new(AtomicU64::new(bytes)))
    }
}

/// What came out of one file so far.
#[derive(Debug)]
pub struct Expansion {
    pool: Pool,
    state: Arc<Mutex<State>>,
    /// Whether what is read raw is that of a stream, and counts as what was given.
    is_stream: bool,
}

#[derive(Debug, Default)]
struct State {
    given: u64,
    out: u64,
    drawn: u64,
    exceeded: bool,
}

impl Expansion {
    /// Of a file that takes up `stored` bytes, or of a stream.
    pub fn new(pool: &Pool, stored: Option<u64>) -> Self {
        let state = State { given: stored.unwrap_or(0), ..State::default() };
        Self { pool: pool.clone(), state: Arc::new(Mutex::new(state)), is_stream: stored.is_none() }
    }

    /// Of a file in that one.
    pub fn within(&self) -> Self {
        Self { pool: self.pool.clone(), state: Arc::clone(&self.state), is_stream: false }
    }

    /// Counts bytes of the file as it lies there.
    ///
    /// # Errors
    /// As [`Self::gave`].
    pub fn took(&self, bytes: u64) -> io::Result<()> {
        if !self.is_stream {
            return self.gave(bytes);
        }
        self.state.lock().unwrap_or_else(PoisonError::into_inner).given += bytes;
        Ok(())
    }

    /// Counts bytes that came out of it.
    ///
    /// # Errors
    /// More than may.
    pub fn gave(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.out = state.out.saturating_add(bytes);
        let over = state.out.saturating_sub(state.given.saturating_mul(RATIO).saturating_add(state.drawn));
        let draw = |left: u64| left.checked_sub(over);
        if over > 0 && self.pool.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, draw).is_err() {
            state.exceeded = true;
            let why = format!(
                "expected it to unpack to at most {RATIO} times its size, and small files to {} MiB beyond that in all",
                POOL >> 20
            );
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, why));
        }
        state.drawn += over;
        Ok(())
    }

    /// Whether that happened.
    pub fn is_exceeded(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).exceeded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bomb_leaves_to_other_files_what_is_theirs() {
        let pool = Pool::of(1000);
        let bomb = Expansion::new(&pool, Some(1));
        bomb.gave(RATIO).expect("its own");
        bomb.within().gave(999).expect("of the pool");
        assert!(!bomb.is_exceeded());
        bomb.within().gave(2).expect_err("too much");
        assert!(bomb.is_exceeded());
        bomb.gave(1).expect_err("still");
        let other = Expansion::new(&pool, Some(100));
        other.gave(100 * RATIO).expect("its own");
        let stream = Expansion::new(&pool, None);
        stream.took(3).expect("given");
        stream.gave(3 * RATIO).expect("its own");
        stream.gave(2).expect_err("too much");
    }
}
