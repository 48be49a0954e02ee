//! Sparse files in a tar: a map of what is stored, and zeros between. Prometheus allocates its files ahead, so `tar -S` of its folder has some.
//!
//! ```text
//! map      (0, 512) (4096, 100)            real size 8192
//! file     ████▁▁▁▁▁▁▁▁▁▁▁▁██▁▁▁▁▁▁▁▁
//! archive  ██████
//! ```
//!
//! GNU's old format has the map in the header and in blocks behind it, its PAX formats 0.0 and 0.1 in extended headers, 1.0 ahead of the
//! content (<https://www.gnu.org/software/tar/manual/html_section/Sparse-Formats.html>).

use std::io::{self, Read};

/// Stretches of a map at most: 1.6 MB of it.
pub const MOST: usize = 100_000;

/// What is stored of a sparse file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Map {
    /// Offset and length of each stretch, bytes.
    pub stretches: Vec<(u64, u64)>,
    /// Size of the file.
    pub size: u64,
}

impl Map {
    /// Adds a stretch.
    ///
    /// # Errors
    /// What was expected.
    pub fn push(&mut self, offset: u64, length: u64) -> Result<(), String> {
        if self.stretches.len() == MOST {
            return Err(format!("expected a sparse file of at most {MOST} stretches"));
        }
        self.stretches.push((offset, length));
        Ok(())
    }

    /// Whether the stretches lie in the file one behind the other and are as long as what is stored.
    ///
    /// # Errors
    /// What was expected.
    pub fn check(&self, stored: u64) -> Result<(), String> {
        let mut end = 0u64;
        let mut sum = 0u64;
        for (offset, length) in &self.stretches {
            let next = offset.checked_add(*length).filter(|next| *next <= self.size && *offset >= end);
            end = next.ok_or("expected stretches of a sparse file one behind the other, within its size")?;
            sum += length;
        }
        if sum != stored {
            return Err(format!("expected {sum} bytes of a sparse file, as its map says, found {stored}"));
        }
        Ok(())
    }
}

/// A sparse file with its holes as zeros.
pub struct Holes<'r> {
    stored: &'r mut dyn Read,
    /// As a list that begins with the next one.
    stretches: std::vec::IntoIter<(u64, u64)>,
    /// Bytes that are left of the hole and of the stretch behind it.
    hole: u64,
    stretch: u64,
    at: u64,
    size: u64,
}

impl<'r> Holes<'r> {
    /// Of what is stored of a file.
    pub fn new(map: Map, stored: &'r mut dyn Read) -> Self {
        Self { stored, stretches: map.stretches.into_iter(), hole: 0, stretch: 0, at: 0, size: map.size }
    }
}

impl Read for Holes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.hole == 0 && self.stretch == 0 && self.at < self.size {
            // Behind the last stretch comes a hole up to the end.
            let (offset, length) = self.stretches.next().unwrap_or((self.size, 0));
            (self.hole, self.stretch) = (offset.saturating_sub(self.at), length);
        }
        let most = |left: u64| buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = if self.hole > 0 {
            let count = most(self.hole);
            buffer[..count].fill(0);
            self.hole -= count as u64;
            count
        } else {
            let wanted = most(self.stretch);
            if wanted == 0 {
                return Ok(0);
            }
            let count = self.stored.read(&mut buffer[..wanted])?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.stretch -= count as u64;
            count
        };
        self.at += count as u64;
        Ok(count)
    }
}

/// The map ahead of the content of format 1.0: numbers, one a line, up to the end of a block.
///
/// # Errors
/// What was expected.
pub fn ahead(stored: &mut dyn Read, size: u64) -> Result<(Map, u64), String> {
    let wanted = || "expected the map of a sparse file, a number a line".to_owned();
    let (mut block, mut at, mut taken) = ([0; 512], 512, 0u64);
    let mut number = || -> Result<u64, String> {
        let mut digits = String::new();
        loop {
            if at == block.len() {
                stored.read_exact(&mut block).map_err(|_| wanted())?;
                (at, taken) = (0, taken + 512);
            }
            let byte = block[at];
            at += 1;
            match byte {
                b'\n' => return digits.parse().map_err(|_| wanted()),
                b'0'..=b'9' if digits.len() < 20 => digits.push(char::from(byte)),
                _ => return Err(wanted()),
            }
        }
    };
    let count = number()?;
    let mut map = Map { size, ..Map::default() };
    for _ in 0..count {
        let (offset, length) = (number()?, number()?);
        map.push(offset, length)?;
    }
    Ok((map, taken))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_zeros() {
        let map = Map { stretches: vec![(2, 3), (5, 0), (8, 1)], size: 11 };
        map.check(4).expect("valid");
        let mut text = Vec::new();
        Holes::new(map.clone(), &mut b"abcd".as_slice()).read_to_end(&mut text).expect("read");
        assert_eq!(text, b"\0\0abc\0\0\0d\0\0");
        let mut cut = b"ab".as_slice();
        let failed = Holes::new(map.clone(), &mut cut).read_to_end(&mut text).map_err(|error| error.kind());
        assert_eq!(failed, Err(io::ErrorKind::UnexpectedEof));
        map.check(5).expect_err("more than the map says");
        for stretches in [vec![(4, 2), (3, 1)], vec![(10, 2)], vec![(u64::MAX, 2)]] {
            Map { stretches, size: 11 }.check(2).expect_err("not in the file");
        }
    }

    #[test]
    fn a_map_ahead_is_read_to_the_end_of_its_block() {
        let mut text = b"2\n0\n1\n9\n2\n".to_vec();
        text.resize(512, 0);
        text.extend(b"abc");
        let mut reader = text.as_slice();
        let (map, taken) = ahead(&mut reader, 11).expect("a map");
        assert_eq!((map.stretches, taken, reader), (vec![(0, 1), (9, 2)], 512, b"abc".as_slice()));
        for wrong in [&b"x"[..], b"", b"99999999999999999999999\n", &[b'1'; 600]] {
            ahead(&mut &*wrong, 1).expect_err("no map");
        }
        // A count alone makes no room.
        let endless = b"18446744073709551615\n".iter().copied().chain(b"1\n".iter().copied().cycle().take(500_000));
        let endless: Vec<u8> = endless.collect();
        assert!(ahead(&mut endless.as_slice(), 1).expect_err("too many").contains("at most 100000 stretches"));
    }
}
