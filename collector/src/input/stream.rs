//! One file, decompressed while it is read; its bytes as they lie are hashed on the way.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

/// SHA-256 and size of a file as it lies there, known once it was read to its end.
#[derive(Clone, Default)]
pub struct Digested(Arc<Mutex<(Sha256, u64)>>);

impl Digested {
    /// Hash as hex and bytes so far.
    pub fn finish(&self) -> (String, u64) {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let hash = state.0.clone().finalize();
        (hash.iter().map(|byte| format!("{byte:02x}")).collect(), state.1)
    }

    fn update(&self, bytes: &[u8]) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.0.update(bytes);
        state.1 += bytes.len() as u64;
    }
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
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.digest.update(&buffer[..count]);
        Ok(count)
    }
}

/// Window of a zstd frame that is accepted whatever the memory limit, as a power of two (`zstd --long`).
const LEAST_WINDOW_LOG: u32 = 27;

/// Largest window of a zstd frame that a memory limit allows, as a power of two: half of it, from `zstd --long=27` to 31.
pub fn window_log(memory: usize) -> u32 {
    (memory / 2).max(1).ilog2().clamp(LEAST_WINDOW_LOG, 31)
}

/// Opens a file (`-` is standard input) and undoes gzip or zstd, recognised by their first bytes.
///
/// # Errors
/// A file that cannot be opened.
pub fn open(path: &Path, window_log: u32) -> io::Result<(Box<dyn Read>, Digested)> {
    let digest = Digested::default();
    let raw: Box<dyn Read> = if path.as_os_str() == "-" { Box::new(io::stdin()) } else { Box::new(File::open(path)?) };
    Ok((decompress(raw, &digest, window_log)?, digest))
}

/// Hashes the bytes as they come in, and undoes nothing.
pub fn hashing<'r>(raw: impl Read + 'r, digest: &Digested) -> impl Read + 'r {
    Hashing { inner: raw, digest: digest.clone() }
}

/// Undoes gzip or zstd, several frames in a row too, and hashes the bytes as they come in.
///
/// # Errors
/// Bytes that cannot be read at all.
pub fn decompress<'r>(raw: impl Read + 'r, digest: &Digested, window_log: u32) -> io::Result<Box<dyn Read + 'r>> {
    let mut reader = BufReader::with_capacity(256 << 10, Hashing { inner: raw, digest: digest.clone() });
    // A pipe may give its first bytes one by one: the magic of zstd has four.
    let mut magic = Vec::with_capacity(4);
    reader.by_ref().take(4).read_to_end(&mut magic)?;
    let reader = io::Cursor::new(magic.clone()).chain(reader);
    Ok(if magic.starts_with(&[0x1f, 0x8b]) {
        Box::new(flate2::bufread::MultiGzDecoder::new(reader))
    } else if magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(reader)?;
        decoder.window_log_max(window_log)?;
        Box::new(Windowed { inner: decoder, window_log })
    } else {
        Box::new(reader)
    })
}
