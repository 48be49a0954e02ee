//! A block: its series in the order of the index, with their chunks from the segments.
//!
//! ```text
//! index ──series──▶ places of chunks ──▶ chunks/000001, 000002, … ──▶ parcels
//! ```
//!
//! In memory: the symbols of the index, what was deleted, a window of each of the segments that were read last, one parcel.

use std::collections::{HashMap, VecDeque};
use std::io;

use super::index::{Index, Next};
use super::window::Window;
use super::{DELETED, MOST_DELETED, Member, Packer, Part, merged};
use crate::form::ledger::{Held, Ledger};
use syncline_tsdb::bytes::Bytes;
use syncline_tsdb::crc32c::crc32c;
use syncline_tsdb::parcel::{Entry, Home};

/// First bytes of a segment of chunks.
pub const CHUNKS_MAGIC: [u8; 4] = [0x85, 0xBD, 0x40, 0xDD];
/// First bytes of tombstones.
pub const TOMBSTONES_MAGIC: [u8; 4] = [0x01, 0x30, 0xBA, 0x30];
/// A chunk of more bytes is damage: Prometheus ends one at about a kilobyte, a large histogram needs more.
pub const LONGEST_CHUNK: u64 = 4 << 20;
/// Length, encoding and count of samples stand within so many bytes.
const FRONT: usize = 16;

/// Segments that are open at once: a series has its chunks in few of them.
const MOST_OPEN: usize = 16;

/// Reads a block. False where there was no room for all that must be kept of it.
pub fn read(members: &[Member], ledger: &Ledger, packer: &mut Packer) -> bool {
    let mut deleted = Deleted { of_series: HashMap::new(), held: ledger.account(), is_full: false };
    let mut segments = Segments { members: HashMap::new(), open: VecDeque::new() };
    let mut index = None;
    for member in members {
        match member.part {
            Part::Index => index = Some(member),
            Part::Chunks(number) => {
                segments.members.insert(number, member);
            }
            Part::Tombstones => {
                if let Err((offset, reason)) = tombstones(member, &mut deleted) {
                    packer.damage(&member.name, offset, &reason);
                }
            }
            _ => {}
        }
    }
    for stretches in deleted.of_series.values_mut() {
        *stretches = merged(std::mem::take(stretches));
    }
    let Some(member) = index else {
        packer.damage("index", 0, "expected an index: no chunk can be read without");
        return true;
    };
    let mut index = match Index::open(&member.file, ledger) {
        Ok(index) => index,
        Err(error) => {
            packer.damage(&member.name, 0, &error.to_string());
            return error.kind() != io::ErrorKind::OutOfMemory;
        }
    };
    for (offset, reason) in &index.faults {
        packer.damage(&member.name, *offset, reason);
    }
    if index.is_lost() {
        return true;
    }
    while !packer.is_over {
        match index.next() {
            Ok(None) => break,
            Err(error) => {
                packer.damage(&member.name, 0, &error.to_string());
                break;
            }
            Ok(Some(Next::Damage { offset, reason })) => packer.damage(&member.name, offset, &reason),
            Ok(Some(Next::Series(series))) => {
                let record = series.reference as i64;
                let stones = deleted.of_series.get(&series.reference);
                let define = |packer: &mut Packer| {
                    packer.put(&Entry::Series { series: 0, record, metric_type: 0, labels: series.labels.clone() }, 0);
                    for (from, to) in stones.into_iter().flatten() {
                        packer.put(&Entry::Deleted { series: 0, from: *from, to: *to }, 0);
                    }
                    packer.count
                };
                packer.flush_when_full();
                let mut parcel = define(packer);
                for place in &series.chunks {
                    packer.flush_when_full();
                    if parcel != packer.count {
                        parcel = define(packer);
                    }
                    chunk(&mut segments, *place, packer);
                    if packer.is_over {
                        break;
                    }
                }
            }
        }
    }
    !deleted.is_full
}

/// Segments by the number in their name, which begins with 1, and those that are open, the last one used last.
struct Segments<'m> {
    members: HashMap<u64, &'m Member>,
    open: VecDeque<(u64, Window)>,
}

impl Segments<'_> {
    fn window(&mut self, number: u64, member: &Member) -> io::Result<&mut Window> {
        let known = self.open.iter().position(|(open, _)| *open == number);
        let one = match known.and_then(|at| self.open.remove(at)) {
            Some(one) => one,
            None => (number, Window::open(&member.file)?),
        };
        if self.open.len() >= MOST_OPEN {
            self.open.pop_front();
        }
        self.open.push_back(one);
        self.open.back_mut().map(|(_, window)| window).ok_or_else(|| io::Error::other("expected an open segment"))
    }
}

/// Packs the chunk at a place.
fn chunk(segments: &mut Segments, place: u64, packer: &mut Packer) {
    let (number, offset) = ((place >> 32) + 1, place & 0xffff_ffff);
    let Some(member) = segments.members.get(&number).copied() else {
        let name = format!("chunks/{number:06}");
        return packer.damage(&name, offset, "expected the segment that the index names: there is no such file");
    };
    let result = match segments.window(number, member) {
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

/// What was deleted, by series.
struct Deleted {
    of_series: HashMap<u64, Vec<(i64, i64)>>,
    held: Held,
    /// Whether there was no room for all of it.
    is_full: bool,
}

/// Memory of a series that has deletions, in a map that may be half empty.
const SERIES: usize = 2 * size_of::<(u64, Vec<(i64, i64)>)>();

/// Reads the tombstones of a block.
fn tombstones(member: &Member, deleted: &mut Deleted) -> Result<(), (u64, String)> {
    let wrong = |reason: &str| (0, reason.to_owned());
    let mut window = Window::open(&member.file).map_err(|error| (0, error.to_string()))?;
    let length = usize::try_from(window.length).unwrap_or(usize::MAX);
    let mut held = deleted.held.another();
    if let Err(full) = held.take(length) {
        deleted.is_full = true;
        return Err((0, format!("{full}: what was deleted is read as if it were not")));
    }
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
        let known = deleted.of_series.get(&series).map(Vec::len);
        if known.is_some_and(|count| count >= MOST_DELETED) {
            return Err(wrong("expected at most 10,000 deletions of a series: it is read as if the others were not"));
        }
        let bytes = if known.is_some() { DELETED } else { DELETED + SERIES };
        if let Err(full) = deleted.held.take(bytes) {
            deleted.is_full = true;
            return Err((0, format!("{full}: what else was deleted is read as if it were not")));
        }
        deleted.of_series.entry(series).or_default().push((from, to));
    }
    Ok(())
}
