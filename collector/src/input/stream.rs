//! One file, decompressed while it is read; its bytes as they lie are hashed on the way.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

/// SHA-256 and size of a file as it lies there and of what it holds, known once it was read to its end.
#[derive(Clone, Default)]
pub struct Digested(Arc<Mutex<Digests>>);

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
    /// Hash as hex and bytes so far, of the file as it lies there.
    pub fn finish(&self) -> (String, u64) {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hex(&state.raw)
    }

    /// The same of what it holds, where it is compressed.
    pub fn content(&self) -> Option<(String, u64)> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.content.as_ref().map(hex)
    }

    /// Leaves out the content from here on: an archive is compared file by file.
    pub fn only_raw(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (state.content, state.only_raw) = (None, true);
    }

    fn update(&self, side: Side, bytes: &[u8]) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
        self.digest.update(self.side, &buffer[..count]);
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
/// A file that cannot be opened.
pub fn open(path: &Path, window_log: u32) -> io::Result<(Box<dyn Read>, Digested)> {
    let digest = Digested::default();
    let raw: Box<dyn Read> = if path.as_os_str() == "-" { Box::new(io::stdin()) } else { Box::new(File::open(path)?) };
    Ok((decompress(raw, &digest, window_log)?, digest))
}

/// Hashes the bytes as they come in, and undoes nothing.
pub fn hashing<'r>(raw: impl Read + 'r, digest: &Digested) -> impl Read + 'r {
    Hashing { inner: raw, digest: digest.clone(), side: Side::Raw }
}

/// Undoes gzip or zstd, several frames in a row too, and hashes the bytes as they come in and, where something was undone, as they come out.
///
/// # Errors
/// Bytes that cannot be read at all.
pub fn decompress<'r>(raw: impl Read + 'r, digest: &Digested, window_log: u32) -> io::Result<Box<dyn Read + 'r>> {
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
        decoder.window_log_max(window_log)?;
        Box::new(content(Box::new(Windowed { inner: decoder, window_log })))
    } else {
        Box::new(reader)
    })
}
