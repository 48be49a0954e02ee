//! The header of a Parquet page: how many bytes and values are behind it.
//!
//! The library reads these headers and unpacks each page at once; it does not show the one without the other. Only what is needed
//! is taken from the Thrift (compact protocol), all else is skipped.
//!
//! ```text
//! 1 type   2 bytes unpacked   3 bytes packed
//! 5 data page {1 values, 2 encoding, 3 encoding of what is null}   7 dictionary {1 values, 2 encoding}
//! ```
//!
//! Data pages of version 2 are refused: no bundle has one.
//!
//! Source: `parquet.thrift` of apache/parquet-format (`PageHeader`), `thrift-compact-protocol.md` of apache/thrift.

/// Values one behind the other.
pub const PLAIN: i64 = 0;
/// Numbers of entries of the dictionary, in format version 1.
pub const PLAIN_DICTIONARY: i64 = 2;
/// Runs.
const RLE: i64 = 3;
/// Differences of whole numbers, in blocks.
pub const DELTA_BINARY_PACKED: i64 = 5;
/// Numbers of entries of the dictionary.
pub const RLE_DICTIONARY: i64 = 8;
/// The first bytes of all values, then the second ones, …
pub const BYTE_STREAM_SPLIT: i64 = 9;

/// What a page holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Values of rows.
    Data,
    /// What the values of data pages are numbers of.
    Dictionary,
    /// What readers skip.
    Other,
}

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageHeader {
    pub kind: Kind,
    /// Bytes of the page when it is unpacked.
    pub unpacked: u64,
    /// Bytes of the page as it lies there.
    pub packed: u64,
    /// Values, nulls among them.
    pub values: u64,
    /// Number of the encoding of its values.
    pub encoding: i64,
}

impl PageHeader {
    /// Bytes that a reader holds of the page. Where nothing is packed the page is what lies there, whatever the header says.
    pub fn size(&self) -> u64 {
        self.unpacked.max(self.packed)
    }
}

/// How deep structures may lie in each other.
const DEPTH: usize = 16;
/// Types of the compact protocol.
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const STRUCT: u8 = 12;

/// Reads a header; answers it and its length.
///
/// # Errors
/// Bytes that are none, or end too early.
pub fn read(bytes: &[u8]) -> Result<(PageHeader, usize), &'static str> {
    let mut thrift = Thrift { rest: bytes };
    let (mut kind, mut unpacked, mut packed) = (None, None, None);
    let (mut values, mut encoding, mut nulls) = (0, PLAIN, RLE);
    let mut before = 0;
    while let Some((field, of)) = thrift.field(&mut before)? {
        match (field, of) {
            (1, I32) => kind = Some(thrift.zigzag()?),
            (2, I32) => unpacked = Some(thrift.zigzag()?),
            (3, I32) => packed = Some(thrift.zigzag()?),
            (5 | 7, STRUCT) => {
                let mut inner = 0;
                while let Some((inside, of)) = thrift.field(&mut inner)? {
                    match (field, inside, of) {
                        (_, 1, I32) => values = thrift.zigzag()?,
                        (_, 2, I32) => encoding = thrift.zigzag()?,
                        (5, 3, I32) => nulls = thrift.zigzag()?,
                        _ => thrift.skip(of, DEPTH)?,
                    }
                }
            }
            _ => thrift.skip(of, DEPTH)?,
        }
    }
    let kind = match kind.ok_or("a page header without a type")? {
        0 if nulls != RLE => return Err("a page that tells in an old way what is null, which no bundle has"),
        0 => Kind::Data,
        3 => return Err("a data page of version 2, which no bundle has"),
        2 => Kind::Dictionary,
        _ => Kind::Other,
    };
    let number = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
    let (Some(unpacked), Some(packed), Some(values)) = (number(unpacked), number(packed), number(Some(values))) else {
        return Err("a page header without sizes");
    };
    Ok((PageHeader { kind, unpacked, packed, values, encoding }, bytes.len() - thrift.rest.len()))
}

/// Bytes of Thrift's compact protocol.
struct Thrift<'a> {
    rest: &'a [u8],
}

impl Thrift<'_> {
    fn byte(&mut self) -> Result<u8, &'static str> {
        let (first, rest) = self.rest.split_first().ok_or("a page header that is cut")?;
        self.rest = rest;
        Ok(*first)
    }

    fn varint(&mut self) -> Result<u64, &'static str> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a page header with a number too long")
    }

    fn zigzag(&mut self) -> Result<i64, &'static str> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// Number and type of the next field; none at the end of the structure.
    fn field(&mut self, before: &mut i64) -> Result<Option<(i64, u8)>, &'static str> {
        let byte = self.byte()?;
        if byte == 0 {
            return Ok(None);
        }
        let step = i64::from(byte >> 4);
        *before = if step == 0 { self.zigzag()? } else { before.saturating_add(step) };
        Ok(Some((*before, byte & 0x0f)))
    }

    fn bytes(&mut self, number: u64) -> Result<(), &'static str> {
        let number = usize::try_from(number).map_err(|_| "a page header that is cut")?;
        self.rest = self.rest.get(number..).ok_or("a page header that is cut")?;
        Ok(())
    }

    fn skip(&mut self, of: u8, depth: usize) -> Result<(), &'static str> {
        let depth = depth.checked_sub(1).ok_or("a page header too deep")?;
        match of {
            1 | 2 => Ok(()),
            3 => self.bytes(1),
            I16 | I32 | I64 => self.varint().map(drop),
            7 => self.bytes(8),
            8 => self.varint().and_then(|number| self.bytes(number)),
            9 | 10 => {
                let head = self.byte()?;
                let number = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
                // In a list a truth takes a byte.
                self.all(number, |thrift| thrift.skip(if head & 0x0f <= 2 { 3 } else { head & 0x0f }, depth))
            }
            STRUCT => {
                let mut before = 0;
                while let Some((_, of)) = self.field(&mut before)? {
                    self.skip(of, depth)?;
                }
                Ok(())
            }
            _ => Err("a page header with a field of no known type"),
        }
    }

    /// So many elements, each of a byte at least.
    fn all(
        &mut self,
        number: u64,
        mut one: impl FnMut(&mut Self) -> Result<(), &'static str>,
    ) -> Result<(), &'static str> {
        for _ in 0..number {
            one(self)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_past_what_is_not_needed() {
        // type 0, unpacked 300, packed 20, crc, data page {values 7, encoding 8, levels 3 and 3, statistics {…}}, end.
        let bytes = [
            0x15, 0x00, 0x15, 0xd8, 0x04, 0x15, 0x28, 0x15, 0x09, 0x1c, 0x15, 0x0e, 0x15, 0x10, 0x15, 0x06, 0x15, 0x06,
            0x1c, 0x18, 0x02, b'a', b'b', 0x00, 0x00, 0x00, 0xff,
        ];
        let (header, length) = read(&bytes).expect("a header");
        assert_eq!(length, bytes.len() - 1);
        assert_eq!(
            header,
            PageHeader { kind: Kind::Data, unpacked: 300, packed: 20, values: 7, encoding: RLE_DICTIONARY }
        );
        for end in 0..length {
            assert!(read(&bytes[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn what_is_no_header_is_an_error_and_ends() {
        for bytes in [
            &[][..],
            &[0x00],
            &[0xff; 64],
            &[0x1c; 64],
            &[0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x0f],
            &[0x15, 0x00, 0x15, 0x01, 0x15, 0x01, 0x00],
        ] {
            assert!(read(bytes).is_err(), "{bytes:?}");
        }
    }
}
