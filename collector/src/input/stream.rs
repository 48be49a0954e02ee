//! One file, decompressed while it is read; its bytes as they lie are hashed on the way.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::expansion::{Expansion, Pool};
use super::open::source;

/// How far files are unpacked.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Largest zstd window, as a power of two.
    pub window_log: u32,
    /// What all files together may be unpacked to beyond what each may.
    pub pool: Pool,
}

impl Limits {
    /// Those under a memory limit.
    pub fn new(memory: usize) -> Self {
        Self { window_log: window_log(memory), pool: Pool::default() }
    }
}

/// SHA-256 and size of a file as it lies there and of what it holds, known once it was read to its end.
#[derive(Clone)]
pub struct Digested {
    digests: Arc<Mutex<Digests>>,
    /// How far the file may be unpacked; a file of an archive shares that of the archive.
    expansion: Arc<Expansion>,
    grew: Arc<AtomicBool>,
}

#[derive(Default)]
struct Digests {
    raw: (Sha256, u64),
    /// Of what came out of a decompressor.
    content: Option<(Sha256, u64)>,
    only_raw: bool,
}

/// Which of the two digests some bytes belong to.
#[derive(Clone, Copy)]
enum Side {
    Raw,
    Content,
}

impl Digested {
    /// Of a file that takes up `stored` bytes on a disk; of a stream, of which nobody knows ahead how long it is, nothing.
    fn new(limits: &Limits, stored: Option<u64>, grew: Arc<AtomicBool>) -> Self {
        let expansion = Arc::new(Expansion::new(&limits.pool, stored));
        Self { digests: Arc::default(), expansion, grew }
    }

    /// Of a file in the archive that this is of.
    pub fn member(&self) -> Self {
        Self { digests: Arc::default(), expansion: Arc::new(self.expansion.within()), grew: Arc::default() }
    }

    /// Whether more came out of the file than may.
    pub fn is_exceeded(&self) -> bool {
        self.expansion.is_exceeded()
    }

    /// Whether the file became longer while it was read.
    pub fn grew(&self) -> bool {
        self.grew.load(Ordering::Relaxed)
    }

    /// Hash as hex and bytes so far, of the file as it lies there.
    pub fn finish(&self) -> (String, u64) {
        let state = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        hex(&state.raw)
    }

    /// The same of what it holds, where it is compressed.
    pub fn content(&self) -> Option<(String, u64)> {
        let state = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        state.content.as_ref().map(hex)
    }

    /// Leaves out the content from here on: an archive is compared file by file.
    pub fn only_raw(&self) {
        let mut state = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        (state.content, state.only_raw) = (None, true);
    }

    fn update(&self, side: Side, bytes: &[u8]) -> io::Result<()> {
        self.hash(side, bytes);
        match side {
            Side::Raw => self.expansion.took(bytes.len() as u64),
            Side::Content => self.expansion.gave(bytes.len() as u64),
        }
    }

    fn hash(&self, side: Side, bytes: &[u8]) {
        let mut state = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        let (hash, size) = match side {
            Side::Raw => &mut state.raw,
            Side::Content if state.only_raw => return,
            Side::Content => state.content.get_or_insert_default(),
        };
        hash.update(bytes);
        *size += bytes.len() as u64;
    }
}

fn hex((hash, size): &(Sha256, u64)) -> (String, u64) {
    (hash.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect(), *size)
}

/// Says what to do where a frame needs a larger window than allowed.
struct Windowed<R> {
    inner: R,
    window_log: u32,
}

impl<R: Read> Read for Windowed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|error| {
            if error.to_string().contains("too much memory") {
                let allowed = self.window_log;
                return io::Error::other(format!(
                    "expected a zstd window of at most 2^{allowed} bytes: raise --memory to four times the window"
                ));
            }
            error
        })
    }
}

struct Hashing<R> {
    inner: R,
    digest: Digested,
    side: Side,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.digest.update(self.side, &buffer[..count])?;
        Ok(count)
    }
}

/// Window of a zstd frame that is accepted whatever the memory limit, as a power of two (`zstd --long`).
const LEAST_WINDOW_LOG: u32 = 27;

/// Largest window of a zstd frame that a memory limit allows, as a power of two: half of it, from `zstd --long=27` to 31.
pub fn window_log(memory: usize) -> u32 {
    (memory / 2).max(1).ilog2().clamp(LEAST_WINDOW_LOG, 31)
}

/// First bytes of a gzip member, RFC 1952.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// First bytes of a zstd frame, RFC 8878.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Whether a file that begins so is compressed.
pub fn is_compressed(head: &[u8]) -> bool {
    head.starts_with(&GZIP) || head.starts_with(&ZSTD)
}

/// How many bytes a compressed file holds, as its one zstd frame or the end of its gzip member tells; nothing for any other. It is a
/// hint: several members say less, gzip counts modulo 2³², and a writer of zstd may leave it out.
///
/// # Errors
/// As the file's own.
pub fn stated_size(file: &mut File) -> io::Result<Option<u64>> {
    let mut head = Vec::with_capacity(18);
    file.by_ref().take(18).read_to_end(&mut head)?;
    if head.starts_with(&ZSTD) {
        return Ok(zstd::zstd_safe::get_frame_content_size(&head).ok().flatten());
    }
    if !head.starts_with(&GZIP) || head.len() < 18 {
        return Ok(None);
    }
    let mut size = [0; 4];
    file.seek(SeekFrom::End(-4))?;
    file.read_exact(&mut size)?;
    Ok(Some(u64::from(u32::from_le_bytes(size))))
}

/// Opens a file (`-` is standard input) and undoes gzip or zstd, recognised by their first bytes.
///
/// # Errors
/// A file that cannot be opened, or what is none.
pub fn open(path: &Path, limits: &Limits) -> io::Result<(Box<dyn Read>, Digested)> {
    let opened = source(path)?;
    let digest = Digested::new(limits, opened.stored, opened.grew);
    Ok((decompress(opened.reader, &digest, limits)?, digest))
}

/// Hashes the bytes as they come in, and undoes nothing.
pub fn hashing<'r>(raw: impl Read + 'r, digest: &Digested) -> impl Read + 'r {
    Hashing { inner: raw, digest: digest.clone(), side: Side::Raw }
}

/// Undoes gzip or zstd, several frames in a row too, and hashes the bytes as they come in and, where something was undone, as they come out.
///
/// # Errors
/// Bytes that cannot be read at all.
pub fn decompress<'r>(raw: impl Read + 'r, digest: &Digested, limits: &Limits) -> io::Result<Box<dyn Read + 'r>> {
    let mut reader = BufReader::with_capacity(256 << 10, hashing(raw, digest));
    // A pipe may give its first bytes one by one: the magic of zstd has four.
    let mut magic = Vec::with_capacity(4);
    reader.by_ref().take(4).read_to_end(&mut magic)?;
    let reader = io::Cursor::new(magic.clone()).chain(reader);
    let content = |decoder: Box<dyn Read + 'r>| Hashing { inner: decoder, digest: digest.clone(), side: Side::Content };
    Ok(if magic.starts_with(&GZIP) {
        Box::new(content(Box::new(flate2::bufread::MultiGzDecoder::new(reader))))
    } else if magic.starts_with(&ZSTD) {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(reader)?;
        decoder.window_log_max(limits.window_log)?;
        Box::new(content(Box::new(Windowed { inner: decoder, window_log: limits.window_log })))
    } else {
        Box::new(reader)
    })
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn a_file_that_unpacks_too_far_is_read_that_far() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x");
        let limits = Limits { window_log: LEAST_WINDOW_LOG, pool: Pool::of(1000) };
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).expect("written");
            let (mut reader, digest) = open(&path, &limits).expect("opened");
            let read = io::copy(&mut reader, &mut io::sink()).map_err(|error| error.kind());
            (read, digest.is_exceeded())
        };
        let text: String = (0..5000).map(|line| format!("line {line}\n")).collect();
        let packed = zstd::encode_all(text.as_bytes(), 3).expect("packed");
        assert_eq!(read(&packed), (Ok(text.len() as u64), false));
        let bomb = zstd::encode_all(vec![b'\n'; 10 << 20].as_slice(), 3).expect("packed");
        assert_eq!(read(&bomb), (Err(ErrorKind::QuotaExceeded), true));
        // What the bomb took does not lack elsewhere.
        assert_eq!(read(&packed), (Ok(text.len() as u64), false));
        // Eight terabytes of nothing take up nothing.
        File::create(&path).and_then(|file| file.set_len(8 << 40)).expect("a sparse file");
        assert_eq!(open(&path, &limits).map(|_| ()).map_err(|error| error.kind()), Err(ErrorKind::QuotaExceeded));
    }
}
