//! A parcel: some series with their raw chunks and records, put together from the files of a TSDB so that it can be parsed
//! without them.
//!
//! An index names places in other files, a record names series of earlier records: what `input` reads in one go is packed
//! with the labels that it needs, and any worker can parse it.
//!
//! ```text
//! magic, then entries:   F file   S series   D deleted   C chunk   R record   X damage
//! ```

use super::bytes::{Bytes, Expected, put_blob, put_uvarint, put_varint};

/// How a parcel begins: no capture does.
const MAGIC: &[u8] = b"\0syncline tsdb\n";
/// Bytes of a parcel, more or less. Fixed: a bundle must not depend on memory or threads.
const FULL_BYTES: usize = 512 << 10;
/// Samples of a parcel, more or less: one takes as little as two bits in a chunk.
const FULL_SAMPLES: usize = 64 << 10;
/// What a sample takes in memory as rows, in bytes.
pub const SAMPLE_MEMORY: usize = 48;

/// Where the bytes of a chunk lie: in a segment of a block, or among the chunks of the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// encoding <1>, data, crc <4>
    Block,
    /// series <8>, from <8>, to <8>, encoding <1>, length <uvarint>, data, crc <4>
    Head,
}

/// One entry.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry<'a> {
    /// The file that the entries behind it lie in.
    File(&'a str),
    /// A series; `metric_type` as in the log, 0 where unknown.
    Series { series: u64, record: i64, metric_type: u8, labels: Vec<(&'a [u8], &'a [u8])> },
    /// Times (ms) between which samples of a series were deleted.
    Deleted { series: u64, from: i64, to: i64 },
    /// A chunk as it lies there, with its checksum.
    Chunk { series: u64, record: i64, offset: u64, home: Home, bytes: &'a [u8] },
    /// A record of the log, put together and decompressed.
    Record { record: i64, offset: u64, bytes: &'a [u8] },
    /// A place that could not be read.
    Damage { offset: u64, reason: &'a str },
}

/// A parcel being packed.
pub struct Parcel {
    bytes: Vec<u8>,
    samples: usize,
    file: String,
}

impl Default for Parcel {
    fn default() -> Self {
        Self { bytes: MAGIC.to_vec(), samples: 0, file: String::new() }
    }
}

impl Parcel {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.bytes.len() == MAGIC.len()
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it should be sent off.
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= FULL_BYTES || self.samples >= FULL_SAMPLES
    }

    /// The bytes, and what they take in memory as rows.
    pub fn close(self) -> (Vec<u8>, usize) {
        let rows = self.samples * SAMPLE_MEMORY;
        (self.bytes, rows)
    }

    /// Packs an entry; `samples` is how many it holds.
    pub fn put(&mut self, entry: &Entry, samples: usize) {
        let out = &mut self.bytes;
        match entry {
            Entry::File(name) => {
                if self.file == *name {
                    return;
                }
                (*name).clone_into(&mut self.file);
                out.push(b'F');
                put_blob(out, name.as_bytes());
            }
            Entry::Series { series, record, metric_type, labels } => {
                out.push(b'S');
                put_uvarint(out, *series);
                put_varint(out, *record);
                out.push(*metric_type);
                put_uvarint(out, labels.len() as u64);
                for (name, value) in labels {
                    put_blob(out, name);
                    put_blob(out, value);
                }
            }
            Entry::Deleted { series, from, to } => {
                out.push(b'D');
                put_uvarint(out, *series);
                put_varint(out, *from);
                put_varint(out, *to);
            }
            Entry::Chunk { series, record, offset, home, bytes } => {
                out.push(if *home == Home::Head { b'H' } else { b'C' });
                put_uvarint(out, *series);
                put_varint(out, *record);
                put_uvarint(out, *offset);
                put_blob(out, bytes);
            }
            Entry::Record { record, offset, bytes } => {
                out.push(b'R');
                put_varint(out, *record);
                put_uvarint(out, *offset);
                put_blob(out, bytes);
            }
            Entry::Damage { offset, reason } => {
                out.push(b'X');
                put_uvarint(out, *offset);
                put_blob(out, reason.as_bytes());
            }
        }
        self.samples += samples;
    }
}

/// Unpacks a parcel.
pub fn entries(bytes: &[u8]) -> Result<impl Iterator<Item = Result<Entry<'_>, Expected>>, Expected> {
    let mut bytes = Bytes::new(bytes.strip_prefix(MAGIC).ok_or("expected the folder of a TSDB, not one of its files")?);
    Ok(std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let entry = entry(&mut bytes);
        if entry.is_err() {
            bytes = Bytes::new(&[]);
        }
        Some(entry)
    }))
}

fn entry<'a>(bytes: &mut Bytes<'a>) -> Result<Entry<'a>, Expected> {
    Ok(match bytes.u8()? {
        b'F' => Entry::File(bytes.text()?),
        b'S' => {
            let (series, record, metric_type) = (bytes.uvarint()?, bytes.varint()?, bytes.u8()?);
            let count = bytes.count(2)?;
            let labels = (0..count).map(|_| Ok((bytes.blob()?, bytes.blob()?))).collect::<Result<_, Expected>>()?;
            Entry::Series { series, record, metric_type, labels }
        }
        b'D' => Entry::Deleted { series: bytes.uvarint()?, from: bytes.varint()?, to: bytes.varint()? },
        kind @ (b'C' | b'H') => Entry::Chunk {
            series: bytes.uvarint()?,
            record: bytes.varint()?,
            offset: bytes.uvarint()?,
            home: if kind == b'H' { Home::Head } else { Home::Block },
            bytes: bytes.blob()?,
        },
        b'R' => Entry::Record { record: bytes.varint()?, offset: bytes.uvarint()?, bytes: bytes.blob()? },
        b'X' => Entry::Damage { offset: bytes.uvarint()?, reason: bytes.text()? },
        _ => return Err("expected an entry of a parcel"),
    })
}

#[cfg(test)]
mod tests {
    use super::{Entry, Home, Parcel, entries};

    #[test]
    fn what_is_packed_is_unpacked() {
        let all = [
            Entry::File("index"),
            Entry::Series { series: 7, record: -7, metric_type: 1, labels: vec![(b"a", b"\xff")] },
            Entry::Deleted { series: 7, from: -5, to: i64::MAX },
            Entry::Chunk { series: 7, record: 1, offset: 8, home: Home::Block, bytes: b"xyz" },
            Entry::Chunk { series: 7, record: 1, offset: 8, home: Home::Head, bytes: b"" },
            Entry::Record { record: 3, offset: u64::MAX, bytes: b"\x01" },
            Entry::Damage { offset: 9, reason: "expected more" },
        ];
        let mut parcel = Parcel::default();
        all.iter().for_each(|entry| parcel.put(entry, 1));
        parcel.put(&Entry::File("index"), 0);
        let (bytes, memory) = parcel.close();
        let found: Vec<Entry> = entries(&bytes).expect("a parcel").collect::<Result<_, _>>().expect("whole");
        assert_eq!(found, all);
        assert_eq!(memory, 7 * super::SAMPLE_MEMORY);
        for end in 0..bytes.len() {
            if let Ok(some) = entries(&bytes[..end]) {
                some.for_each(drop);
            }
        }
    }
}
