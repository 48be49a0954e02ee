//! The head: the write-ahead log, and the chunks that were full already.
//!
//! ```text
//! wal/checkpoint.N ─ wal/… ─▶ 1. series, types, deletions     in memory: the labels of the series
//! wal/checkpoint.N ─ wal/… ─ wbl/… ─▶ 2. samples ─┐
//! chunks_head/… ─▶ 3. chunks ─────────────────────┴─▶ parcels, each with the series that it needs
//! ```
//!
//! A sample may stand in the log and in a chunk, and in a block too: equal times of a series count once, in the analyzer.

use std::collections::{HashMap, HashSet};

use super::block::LONGEST_CHUNK;
use super::window::Window;
use super::{Member, Packer, Part, log};
use syncline_tsdb::bytes::Bytes;
use syncline_tsdb::crc32c::crc32c;
use syncline_tsdb::parcel::{Entry, Home};
use syncline_tsdb::records::{Item, items};

/// First bytes of a file of chunks of the head.
pub const HEAD_MAGIC: [u8; 4] = [0x01, 0x30, 0xBC, 0x91];
/// Magic, version, three bytes of padding.
const HEADER: u64 = 8;
/// Series, first and last time, encoding.
const FRONT: usize = 25;

/// What the log says of a series.
#[derive(Default)]
struct Known {
    labels: Vec<(String, String)>,
    metric_type: u8,
    deleted: Vec<(i64, i64)>,
}

type Series = HashMap<u64, Known>;

/// Reads a head.
pub fn read(members: &[Member], packer: &mut Packer) {
    let mut known = Series::new();
    for member in members.iter().filter(|member| member.part.is_log()) {
        // What is damaged is named in the second round.
        let _ = log::read(&member.file, |(_, record)| {
            if let Ok(record) = record {
                let _ = items(record, |item| remember(item, &mut known));
            }
        });
    }
    let mut named = HashSet::new();
    for member in members.iter().filter(|member| member.part.is_log()) {
        let result = log::read(&member.file, |(offset, record)| match record {
            Err(reason) => packer.damage(&member.name, offset, &reason),
            Ok(bytes) => {
                if packer.flush_when_full() {
                    named.clear();
                }
                let (mut samples, mut used) = (0, Vec::new());
                let result = items(bytes, |item| match item {
                    Item::Float { series, .. } => {
                        samples += 1;
                        used.push(series);
                    }
                    Item::Histogram { series, .. } => {
                        // A histogram's row is as long as some twenty samples.
                        samples += 20;
                        used.push(series);
                    }
                    _ => {}
                });
                if used.is_empty() && result.is_ok() {
                    return;
                }
                used.into_iter().for_each(|series| name(series, &known, &mut named, packer));
                packer.put(&Entry::File(&member.name), 0);
                let record = (member.part.number() << 32 | offset) as i64;
                packer.put(&Entry::Record { record, offset, bytes }, samples);
            }
        });
        if let Err(error) = result {
            packer.damage(&member.name, 0, &error.to_string());
        }
    }
    for member in members.iter().filter(|member| matches!(member.part, Part::HeadChunks(_))) {
        if let Err((offset, reason)) = chunks(member, &known, &mut named, packer) {
            packer.damage(&member.name, offset, &reason);
        }
    }
}

fn remember(item: Item, known: &mut Series) {
    match item {
        Item::Series { series, labels } => {
            let labels = labels.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            known.entry(series).or_default().labels = labels;
        }
        Item::Type { series, metric_type } => known.entry(series).or_default().metric_type = metric_type,
        Item::Deleted { series, from, to } => known.entry(series).or_default().deleted.push((from, to)),
        _ => {}
    }
}

/// Packs what is known of a series, once a parcel.
fn name(series: u64, known: &Series, named: &mut HashSet<u64>, packer: &mut Packer) {
    let Some(found) = known.get(&series).filter(|found| !found.labels.is_empty()) else { return };
    if !named.insert(series) {
        return;
    }
    let labels = found.labels.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let entry = Entry::Series { series, record: series as i64, metric_type: found.metric_type, labels };
    packer.put(&entry, 0);
    for (from, to) in &found.deleted {
        packer.put(&Entry::Deleted { series, from: *from, to: *to }, 0);
    }
}

/// Packs the chunks of a file. It is made longer than needed: zeros end it.
fn chunks(member: &Member, known: &Series, named: &mut HashSet<u64>, packer: &mut Packer) -> Result<(), (u64, String)> {
    let mut window = Window::open(&member.file).map_err(|error| (0, error.to_string()))?;
    let mut at = HEADER;
    let mut damage = None;
    while at + FRONT as u64 <= window.length {
        let front = window.get(at, FRONT + 10).map_err(|error| (at, error.to_string()))?;
        if front.iter().take(FRONT).all(|byte| *byte == 0) {
            break;
        }
        let plausible = dissected(front).filter(|(series, length, _)| {
            // Behind damage the next chunk is searched for: one of a series that is known.
            (damage.is_none() || known.contains_key(series)) && at + length + 4 <= window.length
        });
        let Some((series, length, samples)) = plausible else {
            damage.get_or_insert(at);
            at += 1;
            continue;
        };
        let bytes = window.get(at, length as usize + 4).map_err(|error| (at, error.to_string()))?;
        let fits =
            bytes.split_last_chunk::<4>().is_some_and(|(covered, sum)| crc32c(covered) == u32::from_be_bytes(*sum));
        if !fits {
            damage.get_or_insert(at);
            at += 1;
            continue;
        }
        if let Some(from) = damage.take() {
            packer.damage(
                &member.name,
                from,
                &format!("expected a chunk that fits its checksum: the next one is at {at}"),
            );
        }
        if packer.flush_when_full() {
            named.clear();
        }
        name(series, known, named, packer);
        packer.put(&Entry::File(&member.name), 0);
        let record = (member.part.number() << 32 | at) as i64;
        packer.put(&Entry::Chunk { series, record, offset: at, home: Home::Head, bytes }, samples);
        at += length + 4;
    }
    match damage {
        Some(from) => Err((from, "expected a chunk that fits its checksum: none follows".to_owned())),
        None => Ok(()),
    }
}

/// Series, length without the checksum, and samples of a chunk, where its front may be one.
fn dissected(front: &[u8]) -> Option<(u64, u64, usize)> {
    let mut bytes = Bytes::new(front);
    let (series, from, to) = (bytes.u64().ok()?, bytes.u64().ok()? as i64, bytes.u64().ok()? as i64);
    let encoding = bytes.u8().ok()? & 0x7f;
    let size = bytes.uvarint().ok()?;
    let samples = bytes.rest().get(..2).map_or(0, |count| usize::from(u16::from_be_bytes([count[0], count[1]])));
    let prefix = (front.len() - bytes.rest().len()) as u64;
    (from <= to && (1..=6).contains(&encoding) && size <= LONGEST_CHUNK).then_some((series, prefix + size, samples))
}
