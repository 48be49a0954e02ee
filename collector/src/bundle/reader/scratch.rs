//! The scratch folder: what must be read at many places (a TSDB, a zip) or twice, and cannot be where it lies.
//!
//! What is put there is taken away as soon as nobody needs it, and all of it together has a size at most.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use syncline_schema::loss::{self, Loss};

use crate::input::Digested;

/// Bytes that a scratch folder may hold where nothing else was said.
pub const ROOM: u64 = 16 << 30;

/// The folder.
pub struct Scratch {
    folder: PathBuf,
    space: Arc<Space>,
    /// How many files were put there.
    files: AtomicU64,
}

struct Space {
    most: u64,
    used: AtomicU64,
}

/// A file whose bytes are at hand.
pub struct Kept {
    /// Where.
    pub file: PathBuf,
    /// SHA-256 (hex) and size of the file as it lies there.
    pub digest: (String, u64),
    /// Why it ends ahead of its end.
    pub broken: Option<String>,
    /// Which loss that is.
    pub loss: Loss,
    /// Whether it became longer while it was read.
    pub grew: bool,
    /// Nothing for a file that is read where it lies.
    _held: Option<Held>,
}

impl Kept {
    /// A file that is read where it lies.
    pub fn in_place(file: PathBuf, digest: &Digested, failed: Option<io::Error>) -> Self {
        Self::new(file, digest, failed, None)
    }

    fn new(file: PathBuf, digest: &Digested, failed: Option<io::Error>, _held: Option<Held>) -> Self {
        let loss = match failed.as_ref().map(io::Error::kind) {
            Some(io::ErrorKind::StorageFull) => loss::SCRATCH_FULL,
            Some(io::ErrorKind::QuotaExceeded) => loss::EXPANDED_TOO_FAR,
            _ => loss::TRUNCATED_INPUT,
        };
        let broken = failed.map(|error| error.to_string());
        Self { file, digest: digest.finish(), broken, loss, grew: digest.grew(), _held }
    }
}

/// A file in the folder, which goes away with this.
struct Held {
    file: PathBuf,
    bytes: u64,
    space: Arc<Space>,
}

impl Drop for Held {
    fn drop(&mut self) {
        // What cannot be removed goes away with the folder.
        let _ = fs::remove_file(&self.file);
        self.space.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

struct Out<'h> {
    file: File,
    held: &'h mut Held,
}

impl Write for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Space { most, used } = &*self.held.space;
        let wanted = bytes.len() as u64;
        let take = |used: u64| used.checked_add(wanted).filter(|sum| sum <= most);
        if used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err() {
            let why = format!("expected at most {} MiB of scratch space: --scratch allows more", most >> 20);
            return Err(io::Error::new(io::ErrorKind::StorageFull, why));
        }
        self.held.bytes += wanted;
        self.file.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Scratch {
    /// One that is made when it is needed, and holds so many bytes (0: as many as [`ROOM`]).
    pub fn new(folder: PathBuf, most: u64) -> Self {
        let most = if most == 0 { ROOM } else { most };
        Self { folder, space: Arc::new(Space { most, used: AtomicU64::new(0) }), files: AtomicU64::new(0) }
    }

    /// Puts what a reader gives there, as far as it can be read and there is room.
    ///
    /// # Errors
    /// A file that cannot be made.
    pub fn keep(&self, reader: &mut dyn Read, digest: &Digested) -> io::Result<Kept> {
        fs::create_dir_all(&self.folder)?;
        let file = self.folder.join(self.files.fetch_add(1, Ordering::Relaxed).to_string());
        let out = File::create(&file)?;
        let mut held = Held { file: file.clone(), bytes: 0, space: Arc::clone(&self.space) };
        let failed = io::copy(reader, &mut Out { file: out, held: &mut held }).err();
        Ok(Kept::new(file, digest, failed, Some(held)))
    }

    /// Removes the folder.
    ///
    /// # Errors
    /// As the file system's.
    pub fn remove(&self) -> io::Result<()> {
        if self.folder.exists() { fs::remove_dir_all(&self.folder) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{self, Limits};

    #[test]
    fn what_is_kept_has_a_size_at_most_and_goes_away() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().join("scratch");
        let scratch = Scratch::new(place.clone(), 10);
        let given = folder.path().join("given");
        fs::write(&given, b"").expect("written");
        let (_, digest) = input::open(&given, &Limits::new(0)).expect("opened");
        let keep = |bytes: &[u8]| scratch.keep(&mut &*bytes, &digest).expect("kept");
        let first = keep(b"123456");
        assert_eq!((fs::read(&first.file).expect("there"), first.broken.is_some()), (b"123456".to_vec(), false));
        let second = keep(b"78901");
        assert!(
            second.loss.name == "scratch-full" && second.broken.as_ref().is_some_and(|why| why.contains("--scratch"))
        );
        drop((first, second));
        assert_eq!(keep(b"1234567890").broken, None);
        assert_eq!(fs::read_dir(&place).expect("a folder").count(), 0);
        scratch.remove().expect("removed");
        assert!(!place.exists());
    }
}
