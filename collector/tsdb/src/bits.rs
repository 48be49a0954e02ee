//! The bit stream of a chunk, and the numbers of varying width in it.
//!
//! ```text
//! varbit_int   0 | 10 + 3 | 110 + 6 | 1110 + 9 | 11110 + 12 | 111110 + 18 | 1111110 + 25 | 11111110 + 56 | 11111111 + 64 bits
//! varbit_ts    0 | 10 + 14 | 110 + 17 | 1110 + 20 | 1111 + 64 bits
//! varbit_xor   0 | 10 + the bits of the last window | 11 + 5 (leading) + 6 (length) + those bits
//! ```

use super::bytes::Expected;

const CUT: Expected = "expected more samples: the chunk ends before its count says";

/// Reads bits, the highest of each byte first.
#[derive(Clone, Copy, Debug)]
pub struct Bits<'a> {
    bytes: &'a [u8],
    /// Next bit.
    at: usize,
}

impl<'a> Bits<'a> {
    /// All bits of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// One bit.
    pub fn bit(&mut self) -> Result<bool, Expected> {
        let byte = self.bytes.get(self.at / 8).ok_or(CUT)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Ok(bit == 1)
    }

    /// `count` bits (up to 64) as a number.
    pub fn bits(&mut self, count: u32) -> Result<u64, Expected> {
        let (first, skip) = (self.at / 8, (self.at % 8) as u32);
        let end = self.at + count as usize;
        if end > self.bytes.len() * 8 {
            return Err(CUT);
        }
        let mut window = [0u8; 16];
        let last = (first + 9).min(self.bytes.len());
        window[..last - first].copy_from_slice(&self.bytes[first..last]);
        self.at = end;
        let wide = u128::from_be_bytes(window) << skip;
        Ok(if count == 0 { 0 } else { (wide >> (128 - count)) as u64 })
    }

    /// A float in 64 bits.
    pub fn float(&mut self) -> Result<f64, Expected> {
        Ok(f64::from_bits(self.bits(64)?))
    }

    /// How many of up to `most` bits are set ahead of the first that is not.
    pub fn ones(&mut self, most: u32) -> Result<u32, Expected> {
        for count in 0..most {
            if !self.bit()? {
                return Ok(count);
            }
        }
        Ok(most)
    }

    /// A varint of whole bytes, which need not begin at a byte.
    pub fn uvarint(&mut self) -> Result<u64, Expected> {
        let mut value = 0u64;
        for at in 0..10 {
            let byte = self.bits(8)?;
            value |= (byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("expected a varint")
    }

    /// The signed form.
    pub fn varint(&mut self) -> Result<i64, Expected> {
        let raw = self.uvarint()?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    /// `varbit_uint`.
    pub fn varbit_uint(&mut self) -> Result<u64, Expected> {
        const WIDTHS: [u32; 9] = [0, 3, 6, 9, 12, 18, 25, 56, 64];
        let ones = self.ones(8)?;
        self.bits(WIDTHS[ones as usize])
    }

    /// `varbit_int`.
    pub fn varbit_int(&mut self) -> Result<i64, Expected> {
        const WIDTHS: [u32; 9] = [0, 3, 6, 9, 12, 18, 25, 56, 64];
        let width = WIDTHS[self.ones(8)? as usize];
        Ok(signed(self.bits(width)?, width))
    }

    /// `varbit_ts`.
    pub fn varbit_time(&mut self) -> Result<i64, Expected> {
        const WIDTHS: [u32; 5] = [0, 14, 17, 20, 64];
        let width = WIDTHS[self.ones(4)? as usize];
        Ok(signed(self.bits(width)?, width))
    }
}

/// A number of `width` bits whose upper half, without its lowest member, is negative: −3 … 4 in three bits.
fn signed(bits: u64, width: u32) -> i64 {
    if width == 0 || width == 64 || bits <= 1 << (width - 1) { bits as i64 } else { bits as i64 - (1 << width) }
}

/// The bits of a float that changed last.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    leading: u32,
    trailing: u32,
}

impl Window {
    /// The changed bits in the window as it is.
    pub fn again(&self, bits: &mut Bits) -> Result<u64, Expected> {
        Ok(bits.bits(64 - self.leading - self.trailing)? << self.trailing)
    }

    /// A new window, and the changed bits in it.
    pub fn renew(&mut self, bits: &mut Bits) -> Result<u64, Expected> {
        let leading = bits.bits(5)? as u32;
        let length = match bits.bits(6)? as u32 {
            0 => 64,
            length => length,
        };
        let trailing = 64u32.checked_sub(leading + length).ok_or("expected a window within 64 bits")?;
        *self = Window { leading, trailing };
        self.again(bits)
    }
}

/// A float that is written as its difference to the one before.
#[derive(Clone, Copy, Debug, Default)]
pub struct Xored {
    /// The float, as bits: a staleness marker is a NaN with a payload.
    pub bits: u64,
    window: Window,
}

impl Xored {
    /// Begins with a value.
    pub fn new(value: f64) -> Self {
        Self { bits: value.to_bits(), window: Window::default() }
    }

    /// Reads the next value.
    pub fn next(&mut self, bits: &mut Bits) -> Result<f64, Expected> {
        if bits.bit()? {
            self.bits ^= if bits.bit()? { self.window.renew(bits)? } else { self.window.again(bits)? };
        }
        Ok(f64::from_bits(self.bits))
    }
}

#[cfg(test)]
mod tests {
    use super::{Bits, signed};

    #[test]
    fn bits_come_highest_first() {
        let bytes = [0b1011_0001, 0xff, 0, 0, 0, 0, 0, 0, 0, 0x81];
        let mut bits = Bits::new(&bytes);
        assert_eq!(bits.ones(8), Ok(1));
        assert_eq!(bits.bits(3), Ok(0b110));
        assert_eq!(bits.bits(64), Ok(0b001_1111_1111 << 53));
        assert_eq!(bits.bits(11), Ok(0b000_1000_0001));
        assert!(bits.bit().is_err() && bits.bits(1).is_err());
        assert_eq!(bits.bits(0), Ok(0));
    }

    #[test]
    fn small_numbers_have_one_more_above_than_below() {
        assert_eq!([0b100, 0b101, 0b111].map(|bits| signed(bits, 3)), [4, -3, -1]);
        assert_eq!(signed(u64::MAX, 64), -1);
    }
}
