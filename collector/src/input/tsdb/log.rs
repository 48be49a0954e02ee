//! Segments of a write-ahead log: pages of fragments, put together to records.
//!
//! ```text
//! page of 32 KiB   fragment fragment … zeros
//! fragment         kind <3 bits> snappy <1> zstd <1>, length <2>, crc <4>, data     1 whole, 2 first, 3 middle, 4 last
//! ```
//!
//! Behind a damaged fragment reading goes on at the next page. The last page of a log that is being written may end
//! anywhere.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use syncline_tsdb::crc32c::crc32c;

const PAGE: usize = 32 << 10;
/// Kind, length, checksum.
const HEADER: usize = 7;
/// Bytes of a record at most, packed and unpacked: Prometheus writes a scrape or a part of one.
const LONGEST: usize = 32 << 20;

/// What a log gives: where it begins (offset in the segment), and the record or why there is none.
pub type Found<'a> = (u64, Result<&'a [u8], String>);

/// Reads a segment; gives each record or what is wrong with it.
///
/// # Errors
/// A file that cannot be read.
pub fn read(path: &Path, mut each: impl FnMut(Found)) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut page = Vec::with_capacity(PAGE);
    let mut offset = 0u64;
    let mut open: Option<Open> = None;
    loop {
        page.clear();
        (&mut file).take(PAGE as u64).read_to_end(&mut page)?;
        if page.is_empty() {
            if let Some(open) = open {
                each((open.offset, Err("expected the rest of a record: the segment ends".to_owned())));
            }
            return Ok(());
        }
        let mut at = 0;
        // Fewer bytes than a header at the end of a page are left empty.
        while at < page.len() {
            let place = offset + at as u64;
            match fragment(&page[at..]) {
                Ok(None) => break,
                Ok(Some((flags, data))) => {
                    at += HEADER + data.len();
                    taken(&mut open, flags, data, place, &mut each);
                }
                Err(reason) => {
                    // The record that it belongs to is lost with it.
                    let begun = open.take().map_or(place, |open| open.offset);
                    each((begun, Err(format!("{reason} at {place}: reading goes on at the next page"))));
                    break;
                }
            }
        }
        offset += page.len() as u64;
    }
}

/// Whether a segment begins with a fragment that fits its checksum.
pub fn begins(head: &[u8]) -> bool {
    matches!(fragment(&head[..head.len().min(PAGE)]), Ok(Some(_)))
}

/// A record of which the first fragments were read.
struct Open {
    offset: u64,
    flags: u8,
    bytes: Vec<u8>,
}

/// The next fragment; none where the rest of the page is empty.
fn fragment(rest: &[u8]) -> Result<Option<(u8, &[u8])>, String> {
    if rest.iter().take(HEADER).all(|byte| *byte == 0) {
        return Ok(None);
    }
    let Some((header, behind)) = rest.split_at_checked(HEADER) else {
        return Err("expected the rest of a fragment: the segment ends".to_owned());
    };
    let length = usize::from(u16::from_be_bytes([header[1], header[2]]));
    if header[0] & 7 == 0 || header[0] & 7 > 4 || header[0] >> 5 != 0 || length > PAGE - HEADER {
        return Err("expected the header of a fragment".to_owned());
    }
    let Some(data) = behind.get(..length) else {
        return Err("expected the rest of a fragment: the page or the segment ends".to_owned());
    };
    let sum = u32::from_be_bytes([header[3], header[4], header[5], header[6]]);
    if crc32c(data) != sum {
        return Err("expected a fragment that fits its checksum".to_owned());
    }
    Ok(Some((header[0], data)))
}

fn taken(open: &mut Option<Open>, flags: u8, data: &[u8], place: u64, each: &mut impl FnMut(Found)) {
    let kind = flags & 7;
    if matches!(kind, 1 | 2)
        && let Some(old) = open.take()
    {
        each((old.offset, Err("expected the rest of a record: another one begins".to_owned())));
    }
    match kind {
        1 => finish(place, flags, data, each),
        2 => *open = Some(Open { offset: place, flags, bytes: data.to_vec() }),
        _ => {
            let Some(mut record) = open.take() else {
                return each((place, Err("expected the beginning of a record ahead of its rest".to_owned())));
            };
            if record.bytes.len() + data.len() > LONGEST {
                return each((record.offset, Err(format!("expected a record of at most {LONGEST} bytes"))));
            }
            record.bytes.extend_from_slice(data);
            if kind == 4 {
                finish(record.offset, record.flags, &record.bytes, each);
            } else {
                *open = Some(record);
            }
        }
    }
}

/// Unpacks a record.
fn finish(offset: u64, flags: u8, bytes: &[u8], each: &mut impl FnMut(Found)) {
    let unpacked;
    let plain = match flags >> 3 & 3 {
        0 => Ok(bytes),
        1 => match snap::raw::decompress_len(bytes) {
            Ok(length) if length > LONGEST => Err(format!("expected a record of at most {LONGEST} bytes")),
            _ => {
                unpacked = snap::raw::Decoder::new().decompress_vec(bytes);
                unpacked.as_deref().map_err(|error| format!("expected snappy: {error}"))
            }
        },
        2 => {
            unpacked = zstd_bounded(bytes).map_err(|_| snap::Error::Empty);
            unpacked.as_deref().map_err(|_| "expected zstd of a record that is not too long".to_owned())
        }
        _ => Err("expected one compression, not two".to_owned()),
    };
    each((offset, plain));
}

fn zstd_bounded(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut decoder = zstd::Decoder::with_buffer(bytes)?;
    decoder.window_log_max(LONGEST.ilog2())?;
    let mut plain = Vec::new();
    decoder.take(LONGEST as u64 + 1).read_to_end(&mut plain)?;
    if plain.len() > LONGEST {
        return Err(io::Error::other("too long"));
    }
    Ok(plain)
}
