//! A block: its series in the order of the index, with their chunks from the segments.
//!
//! ```text
//! index ──series──▶ places of chunks ──▶ chunks/000001, 000002, … ──▶ parcels
//! ```
//!
//! In memory: the symbols of the index, a window of each segment, one parcel.

use std::collections::{BTreeMap, HashMap};
use std::io;

use super::index::{Index, Next};
use super::window::Window;
use super::{Member, Packer, Part};
use syncline_tsdb::bytes::Bytes;
use syncline_tsdb::crc32c::crc32c;
use syncline_tsdb::parcel::{Entry, Home};

/// First bytes of a segment of chunks.
pub const CHUNKS_MAGIC: [u8; 4] = [0x85, 0xBD, 0x40, 0xDD];
/// First bytes of tombstones.
pub const TOMBSTONES_MAGIC: [u8; 4] = [0x01, 0x30, 0xBA, 0x30];
/// A chunk of more bytes is damage: Prometheus ends one at about a kilobyte, a large histogram needs more.
pub const LONGEST_CHUNK: u64 = 16 << 20;
/// Length, encoding and count of samples stand within so many bytes.
const FRONT: usize = 16;

/// Reads a block.
pub fn read(members: &[Member], packer: &mut Packer) {
    let mut deleted: HashMap<u64, Vec<(i64, i64)>> = HashMap::new();
    let mut segments = Segments::new();
    let mut index = None;
    for member in members {
        match member.part {
            Part::Index => index = Some(member),
            Part::Chunks(number) => {
                segments.insert(number, (member, Window::open(&member.file)));
            }
            Part::Tombstones => {
                if let Err((offset, reason)) = tombstones(member, &mut deleted) {
                    packer.damage(&member.name, offset, &reason);
                }
            }
            _ => {}
        }
    }
    let Some(member) = index else {
        return packer.damage("index", 0, "expected an index: no chunk can be read without");
    };
    let mut index = match Index::open(&member.file) {
        Ok(index) => index,
        Err(error) => return packer.damage(&member.name, 0, &error.to_string()),
    };
    for (offset, reason) in &index.faults {
        packer.damage(&member.name, *offset, reason);
    }
    if index.is_lost() {
        return;
    }
    loop {
        match index.next() {
            Ok(None) => return,
            Err(error) => return packer.damage(&member.name, 0, &error.to_string()),
            Ok(Some(Next::Damage { offset, reason })) => packer.damage(&member.name, offset, &reason),
            Ok(Some(Next::Series(series))) => {
                let record = series.reference as i64;
                let stones = deleted.get(&series.reference);
                let define = |packer: &mut Packer| {
                    packer.put(&Entry::Series { series: 0, record, metric_type: 0, labels: series.labels.clone() }, 0);
                    for (from, to) in stones.into_iter().flatten() {
                        packer.put(&Entry::Deleted { series: 0, from: *from, to: *to }, 0);
                    }
                };
                packer.flush_when_full();
                define(packer);
                for place in &series.chunks {
                    if packer.flush_when_full() {
                        define(packer);
                    }
                    chunk(&mut segments, *place, packer);
                }
            }
        }
    }
}

/// Segments by the number in their name, which begins with 1.
type Segments<'m> = BTreeMap<u64, (&'m Member, io::Result<Window>)>;

/// Packs the chunk at a place.
fn chunk(segments: &mut Segments, place: u64, packer: &mut Packer) {
    let (number, offset) = ((place >> 32) + 1, place & 0xffff_ffff);
    let Some((member, window)) = segments.get_mut(&number) else {
        let name = format!("chunks/{number:06}");
        return packer.damage(&name, offset, "expected the segment that the index names: there is no such file");
    };
    let result = match window {
        Ok(window) => located(window, offset),
        Err(error) => Err(error.to_string()),
    };
    match result {
        Ok((bytes, samples)) => {
            packer.put(&Entry::File(&member.name), 0);
            let record = place as i64;
            packer.put(&Entry::Chunk { series: 0, record, offset, home: Home::Block, bytes }, samples);
        }
        Err(reason) => packer.damage(&member.name, offset, &reason),
    }
}

/// A chunk from its encoding to its checksum, and the number of its samples.
fn located(window: &mut Window, offset: u64) -> Result<(&[u8], usize), String> {
    let length = window.length;
    let front = window.get(offset, FRONT).map_err(|error| error.to_string())?;
    let mut bytes = Bytes::new(front);
    let size = bytes.uvarint().map_err(|_| format!("expected a chunk here: the file has {length} bytes"))?;
    let prefix = front.len() - bytes.rest().len();
    // Five bytes of encoding and checksum are not counted in the length.
    let whole = size.saturating_add(5);
    if size > LONGEST_CHUNK || offset + prefix as u64 + whole > length {
        return Err(format!("expected a chunk of {size} bytes here: the file has {length}"));
    }
    let found = window.get(offset + prefix as u64, whole as usize).map_err(|error| error.to_string())?;
    let samples = found.get(1..3).map_or(0, |count| usize::from(u16::from_be_bytes([count[0], count[1]])));
    Ok((found, samples))
}

/// Reads the tombstones of a block.
fn tombstones(member: &Member, deleted: &mut HashMap<u64, Vec<(i64, i64)>>) -> Result<(), (u64, String)> {
    let wrong = |reason: &str| (0, reason.to_owned());
    let mut window = Window::open(&member.file).map_err(|error| (0, error.to_string()))?;
    let length = usize::try_from(window.length).unwrap_or(usize::MAX).min(256 << 20);
    let bytes = window.get(0, length).map_err(|error| (0, error.to_string()))?;
    let body = bytes.strip_prefix(&TOMBSTONES_MAGIC).and_then(|rest| rest.strip_prefix(&[1]));
    let Some((stones, sum)) = body.and_then(|body| body.split_last_chunk::<4>()) else {
        return Err(wrong("expected tombstones, version 1: what was deleted is read as if it were not"));
    };
    if crc32c(stones) != u32::from_be_bytes(*sum) {
        return Err((
            5,
            "expected tombstones that fit their checksum: what was deleted is read as if it were not".to_owned(),
        ));
    }
    let mut rest = Bytes::new(stones);
    while !rest.is_empty() {
        let mut one = || Ok::<_, &'static str>((rest.uvarint()?, rest.varint()?, rest.varint()?));
        let (series, from, to) = one().map_err(wrong)?;
        deleted.entry(series).or_default().push((from, to));
    }
    Ok(())
}
