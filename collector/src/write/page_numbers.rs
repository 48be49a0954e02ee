//! Whether a page of whole numbers has as many of them as its header says: the library believes the header, and goes past the end of its
//! buffers where the page itself begins with another count.
//!
//! ```text
//! columns that may lack values   u32 length │ runs: which rows have a value │ numbers
//! others                                                                      numbers
//! numbers (DELTA_BINARY_PACKED)  block size │ parts of a block │ count │ first │ blocks …
//! ```
//!
//! Only the beginning of a page is unpacked for it. Sources: `Encodings.md` of apache/parquet-format (run length encoding, delta encoding),
//! and its `parquet.thrift` (`DataPageHeader`).

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;

use parquet::basic::Compression;
use zstd::zstd_safe::DCtx;

/// Bytes that are read of a page at once: what zstd packs of a block is hardly longer.
const AT_ONCE: usize = 32 << 10;

/// A page of numbers.
pub struct Page<'a> {
    pub file: &'a File,
    /// Where it begins behind its header, and ends.
    pub begin: u64,
    pub end: u64,
    pub compression: Compression,
    /// Values that its header states, with those that are null.
    pub values: u64,
    /// Whether there may be nulls.
    pub nullable: bool,
}

/// What unpacks pages, one after the other: to make one takes longer than the beginning of a page.
pub struct Unpacker(DCtx<'static>);

impl Default for Unpacker {
    fn default() -> Self {
        Self(DCtx::create())
    }
}

impl Page<'_> {
    /// Compares the counts.
    ///
    /// # Errors
    /// In words: they differ, or the page cannot be read.
    pub fn check(&self, unpacker: &mut Unpacker) -> Result<(), String> {
        let raw = BufReader::with_capacity(AT_ONCE, Stretch { file: self.file, at: self.begin, end: self.end });
        match self.compression {
            Compression::UNCOMPRESSED => self.counted(raw),
            Compression::ZSTD(_) => {
                let unpacked = zstd::stream::read::Decoder::with_context(raw, &mut unpacker.0);
                self.counted(BufReader::with_capacity(1 << 10, unpacked))
            }
            other => Err(format!("numbers packed by {other}, which no bundle has")),
        }
    }

    fn counted(&self, mut page: impl Read) -> Result<(), String> {
        let cut = |error: io::Error| format!("a page of numbers that cannot be read: {error}");
        let mut present = self.values;
        if self.nullable {
            let mut length = [0; 4];
            page.read_exact(&mut length).map_err(cut)?;
            let mut runs = (&mut page).take(u64::from(u32::from_le_bytes(length)));
            present = self.present(&mut runs).map_err(cut)?;
            io::copy(&mut runs, &mut io::sink()).map_err(cut)?;
        }
        // Where every value is null, some writers leave the numbers out.
        if present == 0 {
            return Ok(());
        }
        let mut number = || varint(&mut page).map_err(cut);
        let (_, _, count) = (number()?, number()?, number()?);
        if count != present {
            return Err(format!("a page of {count} numbers, where {present} are due"));
        }
        Ok(())
    }

    /// How many of the values are there: a bit each, in runs.
    fn present(&self, runs: &mut impl Read) -> io::Result<u64> {
        let (mut left, mut present) = (self.values, 0_u64);
        while left > 0 {
            let head = varint(runs)?;
            if head & 1 == 0 {
                let run = (head >> 1).min(left);
                if run == 0 {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "a run of no values"));
                }
                present += if byte(runs)? & 1 == 1 { run } else { 0 };
                left -= run;
                continue;
            }
            // Groups of eight; behind the last value they are filled up.
            for _ in 0..head >> 1 {
                let bits = byte(runs)?;
                let own = left.min(8);
                let mask = if own == 8 { 0xff } else { (1_u8 << own) - 1 };
                present += u64::from((bits & mask).count_ones());
                left -= own;
                if left == 0 {
                    break;
                }
            }
            if head == 1 {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a run of no values"));
            }
        }
        Ok(present)
    }
}

fn byte(from: &mut impl Read) -> io::Result<u8> {
    let mut byte = [0];
    from.read_exact(&mut byte)?;
    Ok(byte[0])
}

fn varint(from: &mut impl Read) -> io::Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = byte(from)?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "a number too long"))
}

/// A stretch of a file.
struct Stretch<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Read for Stretch<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..most], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn check(bytes: &[u8], values: u64, nullable: bool) -> Result<(), String> {
        let packed = zstd::encode_all(bytes, 1).expect("packed");
        let mut said = Vec::new();
        for (bytes, compression) in
            [(bytes, Compression::UNCOMPRESSED), (&packed, Compression::ZSTD(Default::default()))]
        {
            let mut file = tempfile::tempfile().expect("a file");
            file.write_all(&[b"head", bytes, b"next"].concat()).expect("written");
            let end = 4 + bytes.len() as u64;
            said.push(
                Page { file: &file, begin: 4, end, compression, values, nullable }.check(&mut Unpacker::default()),
            );
        }
        assert_eq!(said[0].is_ok(), said[1].is_ok(), "{said:?}");
        said.remove(0)
    }

    #[test]
    fn a_page_has_as_many_numbers_as_are_due() {
        // Blocks of 128 in 4 parts, 7 numbers.
        let numbers = |count: u8| vec![0x80, 0x01, 0x04, count, 0x00];
        check(&numbers(7), 7, false).expect("as many");
        for count in [0, 6, 8] {
            assert!(check(&numbers(count), 7, false).is_err(), "{count}");
        }
        check(&numbers(7)[..2], 7, false).expect_err("cut");
        check(&[0xff; 40], 7, false).expect_err("no number");
        let with = |runs: &[u8], count: u8| [&[runs.len() as u8, 0, 0, 0], runs, &numbers(count)].concat();
        // A run of 7 that are there; of 7 that are not; a group with 3 of 7 and a bit behind them; a run of 4 and a group of 3 with 2.
        check(&with(&[14, 1], 7), 7, true).expect("all of them");
        check(&with(&[14, 0], 0), 7, true).expect("none of them");
        check(&with(&[3, 0b1010_0101], 3), 7, true).expect("three of them");
        check(&with(&[8, 1, 3, 0b101], 6), 7, true).expect("six of them");
        for (runs, count) in [(&[14, 1][..], 0), (&[3, 0b111], 0), (&[14, 1], 6), (&[0, 1], 0), (&[1], 0), (&[], 0)] {
            assert!(check(&with(runs, count), 7, true).is_err(), "{runs:?} {count}");
        }
    }
}
