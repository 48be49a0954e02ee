//! Groups the files of a Prometheus TSDB and packs what is in them into parcels.
//!
//! ```text
//! …/01M83…/index  …/01M83…/chunks/000001  …/01M83…/meta.json  …/01M83…/tombstones   one block: the source …/01M83…
//! …/chunks_head/000001  …/wal/00000003  …/wal/checkpoint.00000002/00000000  …/wbl/00000000   one head: the source …/wal
//! ```
//!
//! A file belongs to a group by its place, and a group counts where the contents of its files say so and where it has
//! chunks or a log: an index alone holds no samples.

mod block;
mod head;
mod index;
mod log;
mod window;

use std::collections::BTreeMap;
use std::path::PathBuf;

use syncline_tsdb::parcel::{Entry, Parcel};

use crate::form::ledger::Ledger;

/// What a file is to a TSDB, in the order in which they are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Index,
    Meta,
    Tombstones,
    /// A segment of a block, by its number from 1.
    Chunks(u64),
    /// A segment of a checkpoint: number of the checkpoint, number of the segment.
    Checkpoint(u64, u64),
    /// A segment of the log.
    Log(u64),
    /// A segment of the log of samples that came out of order.
    LateLog(u64),
    /// Full chunks of the head.
    HeadChunks(u64),
}

impl Part {
    fn is_log(self) -> bool {
        matches!(self, Part::Checkpoint(..) | Part::Log(_) | Part::LateLog(_))
    }

    fn is_head(self) -> bool {
        self.is_log() || matches!(self, Part::HeadChunks(_))
    }

    /// Number of the file.
    fn number(self) -> u64 {
        match self {
            Part::Index | Part::Meta | Part::Tombstones => 0,
            Part::Checkpoint(_, number)
            | Part::Chunks(number)
            | Part::Log(number)
            | Part::LateLog(number)
            | Part::HeadChunks(number) => number,
        }
    }

    /// How much the beginning of a file speaks for it.
    fn evidence(self, head: &[u8]) -> u32 {
        let is = match self {
            Part::Index => head.starts_with(&index::MAGIC),
            Part::Meta => memchr::memmem::find(head, b"\"minTime\"").is_some(),
            Part::Tombstones => head.starts_with(&block::TOMBSTONES_MAGIC),
            Part::Chunks(_) => head.starts_with(&block::CHUNKS_MAGIC),
            Part::HeadChunks(_) => head.starts_with(&head::HEAD_MAGIC),
            Part::Checkpoint(..) | Part::Log(_) | Part::LateLog(_) => log::begins(head),
        };
        match self {
            _ if !is => 0,
            // A log or a file of chunks says enough by itself; of a damaged block two files must agree.
            Part::Index | Part::HeadChunks(_) | Part::Checkpoint(..) | Part::Log(_) => 2,
            _ => 1,
        }
    }
}

/// A file of a group.
#[derive(Clone, Debug)]
pub struct Member {
    /// Name within the folder of the TSDB or block.
    pub name: String,
    /// Where its bytes lie, decompressed.
    pub file: PathBuf,
    pub part: Part,
}

/// The place of a file in a TSDB: folder, and what it is there. None for a file that can be no part of one.
pub fn place(path: &str) -> Option<(&str, Part)> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    match name {
        "index" => return Some((folder, Part::Index)),
        "meta.json" => return Some((folder, Part::Meta)),
        "tombstones" => return Some((folder, Part::Tombstones)),
        _ => {}
    }
    let number = digits(name)?;
    let (root, kind) = folder.rsplit_once('/').unwrap_or(("", folder));
    let part = match kind {
        "chunks" => Part::Chunks(number),
        "chunks_head" => Part::HeadChunks(number),
        "wal" => Part::Log(number),
        "wbl" => Part::LateLog(number),
        _ => {
            let checkpoint = digits(kind.strip_prefix("checkpoint.")?)?;
            let root = root.strip_suffix("wal")?;
            return Some((root.strip_suffix('/').unwrap_or(root), Part::Checkpoint(checkpoint, number)));
        }
    };
    Some((root, part))
}

fn digits(name: &str) -> Option<u64> {
    (name.len() >= 6 && name.bytes().all(|byte| byte.is_ascii_digit())).then(|| name.parse().ok()).flatten()
}

/// A block or a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Folder of the block, or of the TSDB that the head is of.
    pub folder: String,
    pub is_head: bool,
    /// Its files, as indexes into what was given, in the order in which they are read.
    pub files: Vec<usize>,
}

/// How much the beginning of a file speaks for its [`place`].
pub fn evidence(path: &str, head: &[u8]) -> u32 {
    place(path).map_or(0, |(_, part)| part.evidence(head))
}

/// Groups files: paths, and the [`evidence`] of those that have a place.
pub fn groups<'p>(files: impl Iterator<Item = (&'p str, u32)>) -> Vec<Group> {
    // By folder and kind: the evidence, and the files with their places.
    type Found = (u32, Vec<(Part, usize)>);
    let mut found: BTreeMap<(String, bool), Found> = BTreeMap::new();
    for (at, (path, evidence)) in files.enumerate() {
        let Some((folder, part)) = place(path) else { continue };
        let group = found.entry((folder.to_owned(), part.is_head())).or_default();
        group.0 += evidence;
        group.1.push((part, at));
    }
    let counts = |(score, parts): &Found| {
        *score >= 2 && parts.iter().any(|(part, _)| part.is_head() || matches!(part, Part::Chunks(_)))
    };
    found
        .into_iter()
        .filter(|(_, group)| counts(group))
        .map(|((folder, is_head), (_, mut parts))| {
            parts.sort_unstable();
            Group { folder, is_head, files: parts.into_iter().map(|(_, at)| at).collect() }
        })
        .collect()
}

/// Bytes of parcels, and samples, for each byte of the files at most: labels stand in each parcel that needs them, records are
/// compressed, a sample takes as little as two bits.
const MOST_PACKED: u64 = 64;
const MOST_SAMPLES: u64 = 32;
/// As above for few bytes.
const LEAST_PACKED: u64 = 64 << 20;

/// Packs parcels and sends them off.
pub struct Packer<'s> {
    parcel: Parcel,
    send: &'s mut dyn FnMut(Vec<u8>, usize),
    /// What may still be packed: bytes, and samples.
    left: (u64, u64),
    /// Whether that was used up: an index may name one chunk a million times.
    is_over: bool,
    /// Parcels so far.
    count: u64,
}

impl<'s> Packer<'s> {
    /// `send` takes the bytes of a parcel, and what they take in memory as rows. The files have `bytes`.
    pub fn new(send: &'s mut dyn FnMut(Vec<u8>, usize), bytes: u64) -> Self {
        let left = |times: u64| bytes.saturating_mul(times).saturating_add(LEAST_PACKED);
        let left = (left(MOST_PACKED), left(MOST_SAMPLES));
        Self { parcel: Parcel::default(), send, left, is_over: false, count: 0 }
    }

    fn put(&mut self, entry: &Entry, samples: usize) {
        if self.is_over {
            return;
        }
        let before = self.parcel.len();
        self.parcel.put(entry, samples);
        let packed = (self.parcel.len() - before) as u64;
        match (self.left.0.checked_sub(packed), self.left.1.checked_sub(samples as u64)) {
            (Some(bytes), Some(samples)) => self.left = (bytes, samples),
            _ => {
                self.is_over = true;
                let reason = "expected chunks and records that are named once: the rest of the files was left out";
                self.parcel.put(&Entry::Damage { offset: 0, reason }, 1);
            }
        }
    }

    /// Names a place that cannot be read.
    fn damage(&mut self, file: &str, offset: u64, reason: &str) {
        // Damage alone fills parcels, too; it needs none of the series in them.
        self.flush_when_full();
        self.put(&Entry::File(file), 0);
        self.put(&Entry::Damage { offset, reason }, 1);
    }

    /// Sends a full parcel off; true where a new one was begun.
    fn flush_when_full(&mut self) -> bool {
        let full = self.parcel.is_full();
        if full {
            self.flush();
        }
        full
    }

    fn flush(&mut self) {
        self.count += 1;
        let (bytes, memory) = std::mem::take(&mut self.parcel).close();
        (self.send)(bytes, memory);
    }
}

/// Bytes of the names and values of a series at most: it stands in every parcel that needs it.
const LONGEST_LABELS: usize = 16 << 10;
/// Why a series is left out whose labels are longer.
const LABELS: &str = "expected labels of at most 16 KiB in all: the series is left out";
/// Stretches of time of a series that were deleted, at most.
const MOST_DELETED: usize = 10_000;
/// Memory of one of them, in a list that may have grown just now.
const DELETED: usize = 4 * size_of::<i64>();

/// Stretches in order, those that meet as one.
fn merged(mut deleted: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    deleted.sort_unstable();
    let mut found: Vec<(i64, i64)> = Vec::new();
    for (from, to) in deleted {
        match found.last_mut() {
            Some((_, last)) if from <= last.saturating_add(1) => *last = (*last).max(to),
            _ => found.push((from, to)),
        }
    }
    found
}

/// Reads a block or a head; `send` takes the parcels. What is kept of it is taken from `ledger`: false where that was used up, which is
/// then named.
pub fn read(is_head: bool, members: &[Member], ledger: &Ledger, send: &mut dyn FnMut(Vec<u8>, usize)) -> bool {
    let bytes = members.iter().filter_map(|member| std::fs::metadata(&member.file).ok()).map(|found| found.len()).sum();
    let mut packer = Packer::new(send, bytes);
    let fits = match is_head {
        true => head::read(members, ledger, &mut packer),
        false => block::read(members, ledger, &mut packer),
    };
    if !packer.parcel.is_empty() {
        packer.flush();
    }
    fits
}

#[cfg(test)]
mod tests {
    use super::{Packer, Part, block, evidence, groups, index, place};

    #[test]
    fn places_tell_what_a_file_is() {
        let check = |path, folder, part| assert_eq!(place(path), Some((folder, part)), "{path}");
        check("a/01M83/index", "a/01M83", Part::Index);
        check("index", "", Part::Index);
        check("01M83/chunks/000012", "01M83", Part::Chunks(12));
        check("chunks/000001", "", Part::Chunks(1));
        check("a/data/wal/00000003", "a/data", Part::Log(3));
        check("a/wal/checkpoint.00000002/00000000", "a", Part::Checkpoint(2, 0));
        check("wal/checkpoint.00000002/00000000", "", Part::Checkpoint(2, 0));
        check("wbl/00000000", "", Part::LateLog(0));
        check("x/chunks_head/000001", "x", Part::HeadChunks(1));
        for other in ["a/indexes", "chunks/1", "wal/segment", "a/000001", "b/checkpoint.00000002/00000000", ""] {
            assert_eq!(place(other), None, "{other}");
        }
    }

    #[test]
    fn a_group_counts_where_its_contents_say_so() {
        let found = |index: &[u8]| {
            let files = [
                ("b/chunks/000001", block::CHUNKS_MAGIC.to_vec()),
                ("b/index", index.to_vec()),
                ("b/meta.json", b"{\"minTime\":0}".to_vec()),
                ("b/readme", Vec::new()),
                ("c/index", b"<html>".to_vec()),
                ("d/meta.json", b"{\"minTime\":0}".to_vec()),
                ("d/index", index::MAGIC.to_vec()),
            ];
            groups(files.iter().map(|(path, head)| (*path, evidence(path, head))))
        };
        let whole = found(&index::MAGIC);
        assert_eq!(whole.len(), 1);
        assert_eq!((whole[0].folder.as_str(), whole[0].is_head, &whole[0].files), ("b", false, &vec![1, 2, 0]));
        assert_eq!(found(b"damaged"), whole, "the other files say what it is");
    }

    #[test]
    fn stretches_that_meet_are_one() {
        let all = vec![(5, 9), (1, 2), (3, 4), (20, 30), (8, 12), (25, 26), (i64::MIN, -5)];
        assert_eq!(super::merged(all), [(i64::MIN, -5), (1, 12), (20, 30)]);
    }

    #[test]
    fn damage_alone_is_sent_off_in_parcels_and_comes_to_an_end() {
        let mut sent = Vec::new();
        let mut send = |bytes: Vec<u8>, _| sent.push(bytes.len());
        let mut packer = Packer::new(&mut send, 0);
        for offset in 0..10_000_000 {
            packer.damage("wal/00000000", offset, "expected the beginning of a record ahead of its rest");
        }
        assert!(packer.is_over && packer.parcel.len() < 2 << 20);
        assert!(sent.len() > 10 && sent.iter().all(|bytes| *bytes < 1 << 20));
        assert!(sent.iter().sum::<usize>() as u64 <= super::LEAST_PACKED + (1 << 20));
    }
}
