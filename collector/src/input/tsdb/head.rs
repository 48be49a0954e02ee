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
use super::{DELETED, LABELS, LONGEST_LABELS, MOST_DELETED, Member, Packer, Part, log, merged};
use crate::form::effort::Effort;
use crate::form::ledger::{Held, Ledger};
use syncline_tsdb::bytes::{Bytes, put_blob};
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
    /// Names and values in turn, each behind its length; nothing where they are not known.
    labels: Box<[u8]>,
    metric_type: u8,
}

/// Memory of a series beside its labels, in a map that may be half empty.
const SERIES: usize = 2 * size_of::<(u64, Known)>();
/// Memory of one that has deletions.
const STRETCHES: usize = 2 * size_of::<(u64, Vec<(i64, i64)>)>();

/// What the log says of all series.
struct Log {
    known: HashMap<u64, Known>,
    deleted: HashMap<u64, Vec<(i64, i64)>>,
    held: Held,
    /// Series, and deletions, for which there was no room.
    refused: u64,
    /// Those that are packed in a parcel already, and which one that is.
    named: HashSet<u64>,
    parcel: u64,
}

/// Reads a head. False where there was no room for all that must be kept of it.
pub fn read(members: &[Member], ledger: &Ledger, packer: &mut Packer) -> bool {
    let mut log = Log::new(ledger, packer.count);
    for member in members.iter().filter(|member| member.part.is_log()) {
        let refused = log.refused;
        // What is damaged is named in the second round.
        let _ = log::read(&member.file, |(offset, record)| {
            let Ok(record) = record else { return };
            let _ = items(record, |item| {
                if let Err(reason) = log.remember(item) {
                    packer.damage(&member.name, offset, reason);
                }
            });
        });
        if log.refused > refused {
            let count = log.refused - refused;
            packer.damage(
                &member.name,
                0,
                &format!("{}: {count} series or deletions of this file were left out", log.held.full()),
            );
        }
    }
    for stretches in log.deleted.values_mut() {
        *stretches = merged(std::mem::take(stretches));
    }
    for member in members.iter().filter(|member| member.part.is_log()) {
        let result = log::read(&member.file, |(offset, record)| match record {
            Err(reason) => packer.damage(&member.name, offset, &reason),
            Ok(bytes) => log.record(member, offset, bytes, packer),
        });
        if let Err(error) = result {
            packer.damage(&member.name, 0, &error.to_string());
        }
        if packer.is_over {
            break;
        }
    }
    for member in members.iter().filter(|member| matches!(member.part, Part::HeadChunks(_))) {
        if let Err((offset, reason)) = chunks(member, &mut log, packer) {
            packer.damage(&member.name, offset, &reason);
        }
    }
    log.refused == 0
}

impl Log {
    fn new(ledger: &Ledger, parcel: u64) -> Self {
        Self {
            known: HashMap::new(),
            deleted: HashMap::new(),
            held: ledger.account(),
            refused: 0,
            named: HashSet::new(),
            parcel,
        }
    }

    fn remember(&mut self, item: Item) -> Result<(), &'static str> {
        match item {
            Item::Series { series, labels } => {
                let bytes: usize = labels.iter().map(|(name, value)| name.len() + value.len()).sum();
                if bytes > LONGEST_LABELS {
                    return Err(LABELS);
                }
                let mut packed = Vec::with_capacity(bytes + 4 * labels.len());
                for text in labels.iter().flat_map(|(name, value)| [name, value]) {
                    put_blob(&mut packed, text.as_bytes());
                }
                let before = self.known.get(&series).map_or(0, |known| known.labels.len());
                if let Some(known) = self.get(series, packed.len()) {
                    known.labels = packed.into_boxed_slice();
                    self.held.give(before);
                }
            }
            Item::Type { series, metric_type } => {
                if let Some(known) = self.get(series, 0) {
                    known.metric_type = metric_type;
                }
            }
            Item::Deleted { series, from, to } => {
                let count = self.deleted.get(&series).map(Vec::len);
                if count.is_some_and(|count| count >= MOST_DELETED) {
                    return Err("expected at most 10,000 deletions of a series: it is read as if the others were not");
                }
                if self.held.take(if count.is_some() { DELETED } else { DELETED + STRETCHES }).is_err() {
                    self.refused += 1;
                } else {
                    self.deleted.entry(series).or_default().push((from, to));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A series, of which so many bytes more are kept; nothing where there is no room.
    fn get(&mut self, series: u64, bytes: usize) -> Option<&mut Known> {
        let own = if self.known.contains_key(&series) { 0 } else { SERIES };
        if self.held.take(own + bytes).is_err() {
            self.refused += 1;
            return None;
        }
        Some(self.known.entry(series).or_default())
    }

    /// Packs a record that has samples, and the series that it needs.
    fn record(&mut self, member: &Member, offset: u64, bytes: &[u8], packer: &mut Packer) {
        packer.flush_when_full();
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
        used.into_iter().for_each(|series| self.name(series, packer));
        packer.put(&Entry::File(&member.name), 0);
        let record = (member.part.number() << 32 | offset) as i64;
        packer.put(&Entry::Record { record, offset, bytes }, samples);
    }

    /// Packs what is known of a series, once a parcel.
    fn name(&mut self, series: u64, packer: &mut Packer) {
        if std::mem::replace(&mut self.parcel, packer.count) != packer.count {
            self.named.clear();
        }
        let Some(found) = self.known.get(&series).filter(|found| !found.labels.is_empty()) else { return };
        if !self.named.insert(series) {
            return;
        }
        let mut texts = Bytes::new(&found.labels);
        let labels = std::iter::from_fn(|| Some((texts.blob().ok()?, texts.blob().ok()?))).collect();
        let entry = Entry::Series { series, record: series as i64, metric_type: found.metric_type, labels };
        packer.put(&entry, 0);
        for (from, to) in self.deleted.get(&series).into_iter().flatten() {
            packer.put(&Entry::Deleted { series, from: *from, to: *to }, 0);
        }
    }
}

/// Packs the chunks of a file. It is made longer than needed: zeros end it.
fn chunks(member: &Member, log: &mut Log, packer: &mut Packer) -> Result<(), (u64, String)> {
    let mut window = Window::open(&member.file).map_err(|error| (0, error.to_string()))?;
    let mut at = HEADER;
    let mut damage = None;
    let mut effort = Effort::of(usize::try_from(window.length).unwrap_or(usize::MAX));
    while at + FRONT as u64 <= window.length {
        let front = window.get(at, FRONT + 10).map_err(|error| (at, error.to_string()))?;
        if front.iter().take(FRONT).all(|byte| *byte == 0) {
            break;
        }
        let plausible = dissected(front).filter(|(series, length, _)| {
            // Behind damage the next chunk is searched for: one of a series that is known.
            (damage.is_none() || log.known.contains_key(series)) && at + length + 4 <= window.length
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
            let from = *damage.get_or_insert(at);
            if !effort.spend(length as usize) {
                return Err((
                    from,
                    format!(
                        "expected a chunk that fits its checksum: none was found up to {at}, where the search ends"
                    ),
                ));
            }
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
        packer.flush_when_full();
        log.name(series, packer);
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
    let plausible = from <= to && (1..=6).contains(&encoding) && size <= LONGEST_CHUNK;
    // Only a size that is one can be added to.
    plausible.then(|| (series, prefix + size, samples))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::{FRONT, HEAD_MAGIC, Known, LONGEST_LABELS, SERIES, chunks, read};
    use crate::form::ledger::Ledger;
    use crate::input::tsdb::{Member, Packer, Part};
    use syncline_tsdb::bytes::{put_blob, put_uvarint, put_varint};
    use syncline_tsdb::crc32c::crc32c;
    use syncline_tsdb::parcel::{Entry, entries};

    #[test]
    fn a_size_that_is_none_is_no_chunk() {
        let front = |size: u64| {
            let mut front = vec![0; FRONT - 1];
            front.push(1);
            put_uvarint(&mut front, size);
            front
        };
        assert_eq!(super::dissected(&front(5)), Some((0, FRONT as u64 + 6, 0)));
        assert_eq!(super::dissected(&front(u64::MAX)), None);
    }

    fn member(folder: &Path, part: Part, bytes: &[u8]) -> Member {
        let file = folder.join("file");
        fs::write(&file, bytes).expect("written");
        Member { name: "file".to_owned(), file, part }
    }

    /// A segment of records, each whole in its fragment and its page.
    fn segment(records: &[Vec<u8>]) -> Vec<u8> {
        const PAGE: usize = 32 << 10;
        let mut segment = Vec::new();
        for record in records {
            if segment.len() % PAGE + 7 + record.len() > PAGE {
                segment.resize(segment.len().next_multiple_of(PAGE), 0);
            }
            let length = u16::try_from(record.len()).expect("a short record");
            segment.extend([&[1][..], &length.to_be_bytes(), &crc32c(record).to_be_bytes(), record].concat());
        }
        segment
    }

    fn series(reference: u64, value: &str) -> Vec<u8> {
        let mut record = [&[1][..], &reference.to_be_bytes(), &[1]].concat();
        put_blob(&mut record, b"__name__");
        put_blob(&mut record, value.as_bytes());
        record
    }

    fn sample(reference: u64) -> Vec<u8> {
        let mut record = [&[2][..], &reference.to_be_bytes(), &7_u64.to_be_bytes()].concat();
        put_varint(&mut record, 0);
        put_varint(&mut record, 0);
        record.extend(1.0_f64.to_be_bytes());
        record
    }

    fn deleted(reference: u64, from: i64, to: i64) -> Vec<u8> {
        let mut record = [&[3][..], &reference.to_be_bytes()].concat();
        put_varint(&mut record, from);
        put_varint(&mut record, to);
        record
    }

    /// What a log gives, and whether all of it fitted.
    #[derive(Default)]
    struct Packed {
        fits: bool,
        named: Vec<u64>,
        stretches: Vec<(i64, i64)>,
        damage: Vec<String>,
    }

    fn packed(records: &[Vec<u8>], ledger: &Ledger) -> Packed {
        let folder = tempfile::tempdir().expect("a folder");
        let log = member(folder.path(), Part::Log(0), &segment(records));
        let mut parcels: Vec<Vec<u8>> = Vec::new();
        let mut send = |bytes, _| parcels.push(bytes);
        let mut packer = Packer::new(&mut send, 1 << 20);
        let mut found = Packed { fits: read(&[log], ledger, &mut packer), ..Packed::default() };
        packer.flush();
        for parcel in &parcels {
            for entry in entries(parcel).expect("a parcel") {
                match entry.expect("whole") {
                    Entry::Series { series, .. } => found.named.push(series),
                    Entry::Deleted { from, to, .. } => found.stretches.push((from, to)),
                    Entry::Damage { reason, .. } => found.damage.push(reason.to_owned()),
                    _ => {}
                }
            }
        }
        found
    }

    #[test]
    fn series_beyond_what_there_is_are_left_out_by_name() {
        let ledger = Ledger::new(3 * (SERIES + 32));
        let records: Vec<Vec<u8>> = (0..10).map(|n| series(n, "up")).chain((0..10).map(sample)).collect();
        let found = packed(&records, &ledger);
        assert_eq!((found.fits, found.named.len()), (false, 3));
        assert!(found.damage[0].contains("7 series or deletions of this file were left out"), "{:?}", found.damage);
        assert_eq!(ledger.taken(), 0);
        let found = packed(&records, &Ledger::new(1 << 20));
        assert_eq!((found.fits, found.named.len(), found.damage.len()), (true, 10, 0));
    }

    #[test]
    fn labels_and_deletions_have_their_limits() {
        let long = series(1, &"x".repeat(LONGEST_LABELS));
        let found = packed(&[long, series(2, "up"), sample(1), sample(2)], &Ledger::new(1 << 20));
        assert_eq!(found.named, [2]);
        assert!(found.damage[0].contains("16 KiB"), "{:?}", found.damage);
        let again: Vec<Vec<u8>> = (0..20_000).map(|time| deleted(2, time % 50, time % 50 + 3)).collect();
        let records = [vec![series(2, "up"), sample(2)], again].concat();
        let found = packed(&records, &Ledger::new(8 << 20));
        assert_eq!(found.stretches, [(0, 52)]);
        assert!(found.damage[0].contains("10,000 deletions"), "{:?}", found.damage);
    }

    #[test]
    fn a_search_for_chunks_in_vain_comes_to_its_end() {
        // Whatever the place, it could be a chunk of a known series, of 16 KiB.
        let pattern = [0x81, 0x81, 0x81, 0x01];
        let mut bytes = [&HEAD_MAGIC[..], &[1, 0, 0, 0]].concat();
        bytes.extend(pattern.repeat(256 << 10));
        let folder = tempfile::tempdir().expect("a folder");
        let file = member(folder.path(), Part::HeadChunks(1), &bytes);
        let mut log = super::Log::new(&Ledger::new(1 << 20), 0);
        for turn in 0..4 {
            let mut eight = [pattern, pattern].concat();
            eight.rotate_left(turn);
            let reference = u64::from_be_bytes(eight.try_into().expect("eight bytes"));
            log.known.insert(reference, Known::default());
        }
        let mut send = |_, _| {};
        let (_, reason) = chunks(&file, &mut log, &mut Packer::new(&mut send, 1 << 20)).expect_err("damage");
        assert!(reason.contains("where the search ends"), "{reason}");
    }

    #[test]
    fn varints_are_as_long_as_the_test_says() {
        let mut out = Vec::new();
        put_uvarint(&mut out, 1 | 1 << 7 | 1 << 14);
        assert_eq!(out, [0x81, 0x81, 0x01]);
    }
}
