//! Integers and strings as a TSDB's files hold them: big endian, and varints as Go's `encoding/binary` writes them.

/// Why some bytes could not be read: what was expected.
pub type Expected = &'static str;

/// Reads from the front of a slice.
#[derive(Clone, Copy, Debug)]
pub struct Bytes<'a> {
    rest: &'a [u8],
}

impl<'a> Bytes<'a> {
    /// All of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What was not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Expected> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or("expected more bytes than there are")?;
        self.rest = rest;
        Ok(taken)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, Expected> {
        Ok(self.take(1)?[0])
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Result<u32, Expected> {
        let taken = self.take(4)?;
        Ok(u32::from_be_bytes([taken[0], taken[1], taken[2], taken[3]]))
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Result<u64, Expected> {
        let mut eight = [0; 8];
        eight.copy_from_slice(self.take(8)?);
        Ok(u64::from_be_bytes(eight))
    }

    /// A float in eight bytes.
    pub fn f64(&mut self) -> Result<f64, Expected> {
        Ok(f64::from_bits(self.u64()?))
    }

    /// Unsigned, seven bits a byte, the low ones first.
    pub fn uvarint(&mut self) -> Result<u64, Expected> {
        let mut value = 0u64;
        for (at, byte) in self.rest.iter().enumerate().take(10) {
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                if at == 9 && *byte > 1 {
                    break;
                }
                self.rest = &self.rest[at + 1..];
                return Ok(value);
            }
        }
        Err("expected a varint")
    }

    /// Signed: zigzag of the unsigned form.
    pub fn varint(&mut self) -> Result<i64, Expected> {
        let raw = self.uvarint()?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    /// A number of things that follow, each of `least` bytes or more.
    pub fn count(&mut self, least: usize) -> Result<usize, Expected> {
        let count = self.uvarint()?;
        let fits = usize::try_from(count).ok().filter(|count| count.saturating_mul(least) <= self.rest.len());
        fits.ok_or("expected a count that fits the bytes that follow")
    }

    /// Bytes behind their length.
    pub fn blob(&mut self) -> Result<&'a [u8], Expected> {
        let length = self.count(1)?;
        self.take(length)
    }

    /// Text behind its length.
    pub fn text(&mut self) -> Result<&'a str, Expected> {
        std::str::from_utf8(self.blob()?).map_err(|_| "expected UTF-8")
    }
}

/// Appends an unsigned varint.
pub fn put_uvarint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed varint.
pub fn put_varint(out: &mut Vec<u8>, value: i64) {
    put_uvarint(out, (value << 1 ^ value >> 63) as u64);
}

/// Appends bytes behind their length.
pub fn put_blob(out: &mut Vec<u8>, bytes: &[u8]) {
    put_uvarint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::{Bytes, put_blob, put_uvarint, put_varint};

    #[test]
    fn what_is_put_is_read() {
        for value in [0, 1, -1, 63, -64, 64, 300, i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            put_uvarint(&mut out, value as u64);
            put_blob(&mut out, b"ab");
            let mut bytes = Bytes::new(&out);
            assert_eq!(bytes.varint(), Ok(value));
            assert_eq!(bytes.uvarint(), Ok(value as u64));
            assert_eq!(bytes.text(), Ok("ab"));
            assert!(bytes.is_empty());
        }
    }

    #[test]
    fn damage_is_an_error() {
        assert!(Bytes::new(&[0x80; 11]).uvarint().is_err());
        assert!(Bytes::new(&[0x80]).uvarint().is_err());
        assert!(Bytes::new(&[5, b'a']).blob().is_err());
        assert!(Bytes::new(&[0xff; 9]).count(8).is_err());
        assert!(Bytes::new(&[1, 0xff]).text().is_err());
    }
}
