//! The index of a block: its symbols in memory, its series one after another.
//!
//! ```text
//! 0xBAAAD700 version | symbols | series … | label indexes | postings | two tables of offsets | contents: 6 × <8>, crc
//! symbols   length <4>, count <4>, each behind its length, crc
//! series    length <uvarint>, labels as pairs of symbols, chunks as (from, to, place), crc
//! ```
//!
//! In version 1 a symbol is named by its offset in the file, in version 2 by its number, and series begin at multiples of
//! 16. Damaged symbols are made again from the table of postings, which names every label with a checksum of its
//! own; they count only where the result fits the checksum of the symbols. A damaged series is stepped over: the next one is where a
//! length, symbols and a checksum fit together again.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::window::Window;
use super::{LABELS, LONGEST_LABELS};
use crate::form::effort::Effort;
use crate::form::ledger::{Full, Held, Ledger};
use syncline_tsdb::bytes::{Bytes, put_blob};
use syncline_tsdb::crc32c::crc32c;

/// First bytes of an index.
pub const MAGIC: [u8; 4] = [0xBA, 0xAA, 0xD7, 0x00];
/// Magic and version.
const HEADER: u64 = 5;
/// The contents at the end.
const CONTENTS: u64 = 52;
/// Bytes of a series at most: a chunk takes about ten.
const LONGEST: u64 = 4 << 20;

/// Bytes of a series that are looked at first.
const FRONT: usize = 64;

/// An index that is read from its beginning on.
pub struct Index {
    file: Window,
    version: u8,
    symbols: Symbols,
    /// Where the next series may begin, and where there are none any more.
    next: u64,
    end: u64,
    /// What was wrong with the index as a whole: offset and reason.
    pub faults: Vec<(u64, String)>,
    lost: bool,
    /// What the search behind damage may still cost.
    effort: Effort,
    /// What the symbols take.
    _held: Held,
}

/// Strings of an index.
#[derive(Default)]
struct Symbols {
    /// The section behind its count.
    bytes: Vec<u8>,
    /// Where each begins in `bytes`.
    starts: Vec<usize>,
    /// Offset of `bytes` in the file.
    offset: u64,
}

/// A series.
#[derive(Debug)]
pub struct Series<'a> {
    /// How tombstones name it: the offset, in version 2 a sixteenth of it.
    pub reference: u64,
    pub labels: Vec<(&'a [u8], &'a [u8])>,
    /// Places of its chunks: number of the segment × 2^32 + offset.
    pub chunks: Vec<u64>,
}

/// What comes next.
pub enum Next<'a> {
    Series(Series<'a>),
    Damage { offset: u64, reason: String },
}

/// A series as it stands.
struct Raw {
    labels: Vec<(u64, u64)>,
    chunks: Vec<u64>,
}

impl Index {
    /// Opens an index and reads its symbols.
    ///
    /// # Errors
    /// A file that cannot be read at all, or has symbols that do not fit (`OutOfMemory`).
    pub fn open(path: &Path, ledger: &Ledger) -> io::Result<Self> {
        let mut file = Window::open(path)?;
        let mut held = ledger.account();
        let mut faults = Vec::new();
        let header = file.get(0, HEADER as usize)?.to_vec();
        if header.get(..4) != Some(&MAGIC) {
            faults.push((0, "expected an index to begin with 0xBAAAD700".to_owned()));
        }
        let version = match header.get(4) {
            Some(version @ (1 | 2)) => *version,
            _ => {
                faults.push((4, "expected version 1 or 2 of the index: read as 2".to_owned()));
                2
            }
        };
        let contents = contents(&mut file)?;
        if contents.is_none() {
            let at = file.length.saturating_sub(CONTENTS);
            faults.push((at, "expected contents that fit their checksum: series are searched for".to_owned()));
        }
        let place = contents.map_or(HEADER, |places| places[0]);
        let (section, fits) = section(&mut file, place, &mut held)?;
        let mut symbols = Symbols::new(section, place, &mut held)?;
        let mut lost = false;
        if !fits {
            let again = match contents {
                Some(places) => rebuilt(&mut file, places[5], place, &mut held)?,
                None => None,
            };
            lost = again.is_none();
            let end =
                if lost { "no label of this block can be trusted" } else { "they were made again from the postings" };
            faults.push((place, format!("expected symbols that fit their checksum: {end}")));
            symbols = again.unwrap_or_default();
        }
        let behind = place + 4 + file.get(place, 4)?.try_into().map_or(0, u32::from_be_bytes) as u64 + 4;
        let next = contents.map_or(behind, |places| places[1].max(HEADER));
        let sections = contents.map(|places| places[2..].iter().copied().filter(|at| *at > next).min());
        let end = sections.flatten().unwrap_or(file.length.saturating_sub(CONTENTS));
        let effort = Effort::of(usize::try_from(file.length).unwrap_or(usize::MAX));
        Ok(Self { file, version, symbols, next, end: end.min(next.max(end)), faults, lost, effort, _held: held })
    }

    /// Whether no series can be read: the symbols are gone.
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// The next series.
    ///
    /// # Errors
    /// A disk that cannot be read.
    pub fn next(&mut self) -> io::Result<Option<Next<'_>>> {
        let step = if self.version == 1 { 1 } else { 16 };
        let mut damage = None;
        loop {
            self.next = self.next.next_multiple_of(step);
            if self.next >= self.end {
                return Ok(damage.map(|offset| Next::Damage { offset, reason: DAMAGED.to_owned() }));
            }
            let at = self.next;
            let symbol = |name| self.symbols.get(name, self.version);
            match series(&mut self.file, at, self.end, symbol)? {
                // Sections may be padded.
                Found::Padding => self.next += step,
                Found::Damage(looked_at) => {
                    damage.get_or_insert(at);
                    self.next += step;
                    if !self.effort.spend(looked_at) {
                        // Too much was tried in vain: what follows is lost, too.
                        self.next = self.end;
                    }
                }
                Found::Long(length) => {
                    self.next += length;
                    return Ok(Some(Next::Damage { offset: at, reason: LABELS.to_owned() }));
                }
                Found::Series(..) if damage.is_some() => {
                    // The series is read again: what was lost ahead of it comes first.
                    return Ok(damage.map(|offset| Next::Damage { offset, reason: DAMAGED.to_owned() }));
                }
                Found::Series(raw, length) => {
                    self.next += length;
                    let reference = if self.version == 1 { at } else { at / 16 };
                    let symbol = |name| self.symbols.get(name, self.version).unwrap_or_default();
                    let labels = raw.labels.iter().map(|(name, value)| (symbol(*name), symbol(*value))).collect();
                    return Ok(Some(Next::Series(Series { reference, labels, chunks: raw.chunks })));
                }
            }
        }
    }
}

const DAMAGED: &str = "expected a series that fits its checksum: it was stepped over, its chunks are lost";

/// Six places, where their checksum holds and they lie within the file.
fn contents(file: &mut Window) -> io::Result<Option<[u64; 6]>> {
    let Some(at) = file.length.checked_sub(CONTENTS) else { return Ok(None) };
    let bytes = file.get(at, CONTENTS as usize)?;
    let Some((places, sum)) = bytes.split_last_chunk::<4>() else { return Ok(None) };
    if crc32c(places) != u32::from_be_bytes(*sum) {
        return Ok(None);
    }
    let mut found = [0; 6];
    let mut bytes = Bytes::new(places);
    for place in &mut found {
        *place = bytes.u64().unwrap_or_default();
    }
    Ok((found[0] >= HEADER && found.iter().all(|place| *place < at)).then_some(found))
}

/// A section with a length of four bytes: its content, and whether it fits its checksum.
fn section(file: &mut Window, at: u64, held: &mut Held) -> io::Result<(Vec<u8>, bool)> {
    let Ok(length) = file.get(at, 4)?.try_into().map(u32::from_be_bytes) else { return Ok((Vec::new(), false)) };
    if at + 8 + u64::from(length) > file.length {
        return Ok((Vec::new(), false));
    }
    // As it is read, and as it is kept.
    held.take(2 * length as usize).map_err(full)?;
    let bytes = file.get(at + 4, length as usize + 4)?;
    let Some((content, sum)) = bytes.split_last_chunk::<4>() else { return Ok((Vec::new(), false)) };
    Ok((content.to_vec(), crc32c(content) == u32::from_be_bytes(*sum)))
}

/// There is no room for what must be kept.
fn full(error: Full) -> io::Error {
    io::Error::new(io::ErrorKind::OutOfMemory, format!("{error}: nothing of this block can be read"))
}

impl Symbols {
    /// Takes a section: a count, and that many strings.
    fn new(mut section: Vec<u8>, place: u64, held: &mut Held) -> io::Result<Self> {
        let bytes = section.split_off(section.len().min(4));
        let mut starts = Vec::new();
        let mut rest = Bytes::new(&bytes);
        while !rest.is_empty() {
            if starts.len() == starts.capacity() {
                // It grows to twice its size.
                held.take(starts.len().max(1_024) * size_of::<usize>()).map_err(full)?;
            }
            starts.push(bytes.len() - rest.rest().len());
            if rest.blob().is_err() {
                starts.pop();
                break;
            }
        }
        Ok(Self { bytes, starts, offset: place + 8 })
    }

    fn get(&self, name: u64, version: u8) -> Option<&[u8]> {
        let start = if version == 1 {
            usize::try_from(name.checked_sub(self.offset)?).ok()?
        } else {
            *self.starts.get(usize::try_from(name).ok()?)?
        };
        Bytes::new(self.bytes.get(start..)?).blob().ok()
    }
}

/// Symbols from the table of postings: every name and value once, in order. None where the result does not fit the
/// checksum of the symbols as they were written.
fn rebuilt(file: &mut Window, table: u64, place: u64, held: &mut Held) -> io::Result<Option<Symbols>> {
    let (content, fits) = section(file, table, held)?;
    if table == 0 || !fits {
        return Ok(None);
    }
    // A string of the table has three bytes or more.
    held.take(content.len().saturating_mul(size_of::<&[u8]>())).map_err(full)?;
    let mut strings = BTreeSet::new();
    let mut rest = Bytes::new(&content);
    let mut read = || -> Result<(), &'static str> {
        for _ in 0..rest.u32()? {
            for _ in 0..rest.uvarint()? {
                strings.insert(rest.blob()?);
            }
            rest.uvarint()?;
        }
        Ok(())
    };
    if read().is_err() {
        return Ok(None);
    }
    // The list of all series has an empty name and value, which only early versions kept among the symbols.
    for with_empty in [false, true] {
        let mut again = Vec::new();
        let chosen = strings.iter().filter(|text| with_empty || !text.is_empty());
        again.extend_from_slice(&(chosen.clone().count() as u32).to_be_bytes());
        chosen.for_each(|text| put_blob(&mut again, text));
        let sum = file.get(place + 4 + again.len() as u64, 4)?;
        if sum == crc32c(&again).to_be_bytes() {
            return Ok(Some(Symbols::new(again, place, held)?));
        }
    }
    Ok(None)
}

/// What stands at a place.
enum Found {
    Series(Raw, u64),
    /// One whose labels are too long, and its length.
    Long(u64),
    Padding,
    /// How many bytes showed that.
    Damage(usize),
}

fn series<'s>(file: &mut Window, at: u64, end: u64, symbol: impl Fn(u64) -> Option<&'s [u8]>) -> io::Result<Found> {
    let mut head = Bytes::new(file.get(at, 10)?);
    let before = head.rest().len();
    let length = match head.uvarint() {
        Ok(0) => return Ok(Found::Padding),
        Ok(length) if length <= LONGEST => length,
        _ => return Ok(Found::Damage(0)),
    };
    let prefix = (before - head.rest().len()) as u64;
    if at + prefix + length + 4 > end {
        return Ok(Found::Damage(0));
    }
    // Where no series stands its first bytes are hardly ever a number of labels and symbols.
    let mut front = Bytes::new(file.get(at + prefix, (length as usize).min(FRONT))?);
    let count = front.uvarint().unwrap_or(u64::MAX);
    let names = std::iter::from_fn(|| front.uvarint().ok())
        .take(usize::try_from(count.saturating_mul(2)).unwrap_or(usize::MAX));
    if count > length || names.into_iter().any(|name| symbol(name).is_none()) {
        return Ok(Found::Damage(FRONT));
    }
    let bytes = file.get(at + prefix, length as usize + 4)?;
    let Some((content, sum)) = bytes.split_last_chunk::<4>() else { return Ok(Found::Damage(0)) };
    let damage = Ok(Found::Damage(content.len()));
    // The content is tried first: it is nearly always refused at once where no series stands, and a sum takes longer.
    let Ok(raw) = dissected(content) else { return damage };
    let mut lengths = raw.labels.iter().map(|(name, value)| Some(symbol(*name)?.len() + symbol(*value)?.len()));
    let Some(labels) = lengths.try_fold(0, |sum: usize, length| Some(sum.saturating_add(length?))) else {
        return damage;
    };
    if crc32c(content) != u32::from_be_bytes(*sum) {
        return damage;
    }
    if labels > LONGEST_LABELS {
        return Ok(Found::Long(prefix + length + 4));
    }
    Ok(Found::Series(raw, prefix + length + 4))
}

fn dissected(content: &[u8]) -> Result<Raw, &'static str> {
    let mut bytes = Bytes::new(content);
    let count = bytes.count(2)?;
    let labels = (0..count).map(|_| Ok((bytes.uvarint()?, bytes.uvarint()?))).collect::<Result<_, &'static str>>()?;
    let count = bytes.count(3)?;
    let mut chunks = Vec::with_capacity(count);
    let mut place = 0u64;
    for number in 0..count {
        if number == 0 {
            bytes.varint()?;
            bytes.uvarint()?;
            place = bytes.uvarint()?;
        } else {
            bytes.uvarint()?;
            bytes.uvarint()?;
            place = place.wrapping_add_signed(bytes.varint()?);
        }
        chunks.push(place);
    }
    if !bytes.is_empty() {
        return Err("expected nothing behind the chunks of a series");
    }
    Ok(Raw { labels, chunks })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Index, LONGEST_LABELS, MAGIC, Next};
    use crate::form::ledger::Ledger;
    use syncline_tsdb::bytes::{put_blob, put_uvarint};
    use syncline_tsdb::crc32c::crc32c;

    /// An index of these symbols and series, each of which is given as the symbols of its labels.
    fn index(symbols: &[&[u8]], series: &[&[u64]]) -> Vec<u8> {
        let mut section = (symbols.len() as u32).to_be_bytes().to_vec();
        symbols.iter().for_each(|symbol| put_blob(&mut section, symbol));
        let mut file = [&MAGIC[..], &[2]].concat();
        let places = file.len() as u64;
        file.extend((section.len() as u32).to_be_bytes());
        file.extend(&section);
        file.extend(crc32c(&section).to_be_bytes());
        let begin = file.len() as u64;
        for labels in series {
            file.resize(file.len().next_multiple_of(16), 0);
            let mut content = Vec::new();
            put_uvarint(&mut content, labels.len() as u64 / 2);
            labels.iter().for_each(|symbol| put_uvarint(&mut content, *symbol));
            put_uvarint(&mut content, 0);
            put_uvarint(&mut file, content.len() as u64);
            file.extend(&content);
            file.extend(crc32c(&content).to_be_bytes());
        }
        let end = file.len() as u64;
        let contents: Vec<u8> = [places, begin, end, end, end, end].iter().flat_map(|at| at.to_be_bytes()).collect();
        file.extend(&contents);
        file.extend(crc32c(&contents).to_be_bytes());
        file
    }

    fn opened(bytes: &[u8], ledger: &Ledger) -> std::io::Result<Index> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("index");
        fs::write(&file, bytes).expect("written");
        Index::open(&file, ledger)
    }

    /// Labels of each series, or why there are none.
    fn found(mut index: Index) -> Vec<Result<usize, String>> {
        let mut found = Vec::new();
        while let Some(next) = index.next().expect("read") {
            found.push(match next {
                Next::Series(series) => Ok(series.labels.len()),
                Next::Damage { reason, .. } => Err(reason),
            });
        }
        found
    }

    #[test]
    fn a_series_that_names_a_long_symbol_again_and_again_is_left_out() {
        let long = b"x".repeat(LONGEST_LABELS / 4);
        let bytes = index(&[b"a", &long], &[&[0, 1], &[0, 1, 1, 1, 1, 1], &[0, 0]]);
        let found = found(opened(&bytes, &Ledger::new(1 << 20)).expect("an index"));
        assert_eq!(found, [Ok(1), Err(super::LABELS.to_owned()), Ok(1)]);
    }

    #[test]
    fn symbols_that_do_not_fit_are_refused_and_given_back() {
        let symbols: Vec<&[u8]> = vec![b""; 100_000];
        let bytes = index(&symbols, &[&[0, 1]]);
        let ledger = Ledger::new(1 << 20);
        let error = opened(&bytes, &ledger).err().expect("refused");
        assert!(error.to_string().contains("--memory"), "{error}");
        assert_eq!(ledger.taken(), 0);
        assert_eq!(found(opened(&bytes, &Ledger::new(16 << 20)).expect("an index")), [Ok(1)]);
    }

    #[test]
    fn a_search_for_series_in_vain_comes_to_its_end() {
        // At each place stands a length of 16 KiB, and one label that exists.
        let mut bytes = index(&[b"a"], &[]);
        let contents = bytes.split_off(bytes.len() - 52);
        bytes.resize(bytes.len().next_multiple_of(16), 0);
        let begin = bytes.len();
        for _ in 0..100_000 {
            bytes.extend([0x80, 0x80, 0x01, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        }
        let end = bytes.len() as u64;
        let places: Vec<u64> = vec![5, begin as u64, end, end, end, end];
        let places: Vec<u8> = places.iter().flat_map(|at| at.to_be_bytes()).collect();
        bytes.extend(&places);
        bytes.extend(crc32c(&places).to_be_bytes());
        assert_eq!(contents.len(), 52);
        let mut index = opened(&bytes, &Ledger::new(1 << 20)).expect("an index");
        assert!(matches!(index.next().expect("read"), Some(Next::Damage { .. })));
        assert!(index.effort.is_over(), "it would have gone through all of them");
    }
}
