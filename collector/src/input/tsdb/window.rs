//! A file read at any place, through a window that usually moves on.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Bytes read at once: chunks stand in the order of the series, so the next one is mostly in the window.
const WINDOW: usize = 256 << 10;

/// A file and a part of it in memory.
pub struct Window {
    file: File,
    /// Bytes of the file.
    pub length: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// Opens a file.
    ///
    /// # Errors
    /// A file that cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok(Self { file, length, start: 0, bytes: Vec::new() })
    }

    /// `wanted` bytes from `offset` on, fewer where the file ends.
    ///
    /// # Errors
    /// A disk that cannot be read.
    pub fn get(&mut self, offset: u64, wanted: usize) -> io::Result<&[u8]> {
        let wanted = usize::try_from(self.length.saturating_sub(offset)).map_or(wanted, |left| left.min(wanted));
        let inside = offset.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok());
        let at = match inside {
            Some(at) if at + wanted <= self.bytes.len() => at,
            _ => {
                self.bytes.clear();
                if self.bytes.capacity() > 2 * WINDOW {
                    // A long chunk needed it.
                    self.bytes = Vec::new();
                }
                self.start = offset;
                self.file.seek(SeekFrom::Start(offset))?;
                (&mut self.file).take(wanted.max(WINDOW) as u64).read_to_end(&mut self.bytes)?;
                0
            }
        };
        let end = (at + wanted).min(self.bytes.len());
        Ok(&self.bytes[at.min(end)..end])
    }
}
