//! Files of a Prometheus TSDB with checksums that hold, whatever is in them: index, chunks, tombstones, log, head.

use arbitrary::{Arbitrary, Unstructured};
use syncline_collector::form::ledger::Ledger;
use syncline_collector::input::tsdb::{Member, place, read};
use syncline_tsdb::bytes::{put_blob, put_uvarint, put_varint};
use syncline_tsdb::crc32c::crc32c;

use crate::chunks::parsed;
use crate::content::{Edit, edited};
use crate::{mutation, places};

/// Things of a kind at most.
const MOST: usize = 24;
/// Memory that the readers may keep, bytes.
const MEMORY: usize = 1 << 20;
/// Bytes of a page of the log.
const PAGE: usize = 32 << 10;

/// A database.
#[derive(Arbitrary, Debug)]
enum Database {
    Block(Block),
    Head(Head),
}

#[derive(Arbitrary, Debug)]
struct Block {
    version: u8,
    symbols: Vec<Vec<u8>>,
    series: Vec<Series>,
    chunks: Vec<Chunk>,
    stones: Vec<(u8, i64, i64)>,
    /// In place of the right offsets.
    contents: [Option<u64>; 6],
    edits: Vec<(u8, Edit)>,
}

#[derive(Arbitrary, Debug)]
struct Series {
    labels: Vec<(u8, u8)>,
    /// Chunks by number, or wherever.
    chunks: Vec<(u8, Option<u64>)>,
    right: bool,
}

#[derive(Arbitrary, Debug)]
struct Chunk {
    series: u8,
    from: i64,
    to: i64,
    encoding: u8,
    data: Vec<u8>,
    /// In place of the right length.
    length: Option<u64>,
}

#[derive(Arbitrary, Debug)]
struct Head {
    records: Vec<Record>,
    chunks: Vec<Chunk>,
    edits: Vec<(u8, Edit)>,
}

#[derive(Arbitrary, Debug)]
struct Record {
    packing: u8,
    /// Bytes of a fragment.
    pieces: u16,
    body: Body,
}

#[derive(Arbitrary, Debug)]
enum Body {
    Series(Vec<(u8, Vec<(u8, u8)>)>),
    Samples { series: u8, time: i64, steps: Vec<(i8, i64, f64)> },
    Deleted(Vec<(u8, i64, i64)>),
    Raw(u8, Vec<u8>),
}

/// Takes an input.
///
/// # Panics
/// Where memory is not given back.
pub fn run(data: &[u8]) {
    let Ok(database) = Database::arbitrary_take_rest(Unstructured::new(data)) else { return };
    let (mut files, edits, is_head) = match &database {
        Database::Block(block) => (block.files(), &block.edits, false),
        Database::Head(head) => (head.files(), &head.edits, true),
    };
    for (number, edit) in edits.iter().take(MOST) {
        let at = usize::from(*number) % files.len();
        files[at].1 = edited(std::mem::take(&mut files[at].1), std::slice::from_ref(edit));
    }
    let folder = places::folder();
    let members: Vec<Member> = files
        .iter()
        .filter_map(|(name, bytes)| {
            let file = folder.path().join(name.replace('/', "-"));
            places::write(&file, bytes);
            let part = place(name)?.1;
            Some(Member { name: (*name).to_owned(), file, part })
        })
        .collect();
    let (mut parcels, ledger) = (Vec::new(), Ledger::new(MEMORY));
    read(is_head, &members, &ledger, &mut |bytes, _| parcels.push(bytes));
    assert_eq!(ledger.taken(), 0, "what was taken of the memory is given back");
    parcels.iter().for_each(|bytes| drop(parsed(bytes)));
}

/// The files of a database, by name.
type Files = Vec<(&'static str, Vec<u8>)>;

/// Bytes and their checksum behind them.
fn summed(bytes: &[u8]) -> Vec<u8> {
    [bytes, &crc32c(bytes).to_be_bytes()].concat()
}

impl Block {
    fn files(&self) -> Files {
        let mut segment = vec![0x85, 0xBD, 0x40, 0xDD, 1, 0, 0, 0];
        let mut places = Vec::new();
        for chunk in self.chunks.iter().take(MOST) {
            places.push(segment.len() as u64);
            put_uvarint(&mut segment, chunk.length.unwrap_or(chunk.data.len() as u64));
            segment.extend(summed(&[&[chunk.encoding % 8], chunk.data.as_slice()].concat()));
        }
        let mut stones = Vec::new();
        for (series, from, to) in self.stones.iter().take(MOST) {
            put_uvarint(&mut stones, u64::from(*series));
            put_varint(&mut stones, *from);
            put_varint(&mut stones, *to);
        }
        let stones = [&[0x01, 0x30, 0xBA, 0x30, 1], summed(&stones).as_slice()].concat();
        vec![("index", self.index(&places)), ("chunks/000001", segment), ("tombstones", stones)]
    }

    fn index(&self, places: &[u64]) -> Vec<u8> {
        let mut index = vec![0xBA, 0xAA, 0xD7, 0x00, 1 + self.version % 2];
        let mut starts = [index.len() as u64, 0, 0, 0, 0, 0];
        let mut symbols = Vec::new();
        let texts: Vec<&[u8]> = self.symbols.iter().take(MOST).map(Vec::as_slice).chain([&b"__name__"[..]]).collect();
        symbols.extend_from_slice(&(texts.len() as u32).to_be_bytes());
        texts.iter().for_each(|text| put_blob(&mut symbols, text));
        index.extend_from_slice(&(symbols.len() as u32).to_be_bytes());
        index.extend(summed(&symbols));
        index.resize(index.len().next_multiple_of(16), 0);
        starts[1] = index.len() as u64;
        for series in self.series.iter().take(MOST) {
            let mut body = Vec::new();
            put_uvarint(&mut body, series.labels.len() as u64);
            for (name, value) in &series.labels {
                put_uvarint(&mut body, u64::from(*name) % (texts.len() as u64 + 1));
                put_uvarint(&mut body, u64::from(*value) % (texts.len() as u64 + 1));
            }
            put_uvarint(&mut body, series.chunks.len() as u64);
            let mut last = 0u64;
            for (at, (number, wild)) in series.chunks.iter().enumerate() {
                let place = wild.or(places.get(usize::from(*number)).copied()).unwrap_or_default();
                if at == 0 {
                    put_varint(&mut body, 0);
                    put_uvarint(&mut body, 1);
                    put_uvarint(&mut body, place);
                } else {
                    put_uvarint(&mut body, 1);
                    put_uvarint(&mut body, 1);
                    put_varint(&mut body, place.wrapping_sub(last) as i64);
                }
                last = place;
            }
            put_uvarint(&mut index, body.len() as u64);
            index.extend(if series.right { summed(&body) } else { [body.as_slice(), &[0; 4]].concat() });
            index.resize(index.len().next_multiple_of(16), 0);
        }
        starts[2..].fill(index.len() as u64);
        // A table of postings that names every label.
        let mut table = (texts.len() as u32).to_be_bytes().to_vec();
        for text in &texts {
            put_uvarint(&mut table, 1);
            put_blob(&mut table, text);
            put_uvarint(&mut table, 0);
        }
        index.extend_from_slice(&(table.len() as u32).to_be_bytes());
        index.extend(summed(&table));
        let contents: Vec<u8> =
            starts.iter().zip(&self.contents).flat_map(|(start, wild)| wild.unwrap_or(*start).to_be_bytes()).collect();
        index.extend(summed(&contents));
        index
    }
}

impl Head {
    fn files(&self) -> Files {
        let mut log = Vec::new();
        for record in self.records.iter().take(MOST) {
            record.put(&mut log);
        }
        let mut chunks = vec![0x01, 0x30, 0xBC, 0x91, 1, 0, 0, 0];
        for chunk in self.chunks.iter().take(MOST) {
            let mut body = u64::from(chunk.series).to_be_bytes().to_vec();
            body.extend_from_slice(&chunk.from.to_be_bytes());
            body.extend_from_slice(&chunk.to.to_be_bytes());
            body.push(chunk.encoding % 8);
            put_uvarint(&mut body, chunk.length.unwrap_or(chunk.data.len() as u64));
            body.extend_from_slice(&chunk.data);
            chunks.extend(summed(&body));
        }
        vec![("wal/00000000", log), ("chunks_head/000001", chunks)]
    }
}

impl Record {
    fn put(&self, log: &mut Vec<u8>) {
        let body = self.body.bytes();
        let (flags, packed) = match self.packing % 4 {
            1 => (2 << 3, zstd::encode_all(body.as_slice(), 1).unwrap_or_default()),
            // Said to be packed, and is not.
            2 => (1 << 3, body),
            _ => (0, body),
        };
        let size = usize::from(self.pieces % 512) + 8;
        let last = packed.len().div_ceil(size).max(1) - 1;
        for number in 0..=last {
            let piece = &packed[number * size..((number + 1) * size).min(packed.len())];
            // A fragment does not reach over the end of a page.
            if log.len() % PAGE + 7 + piece.len() > PAGE {
                log.resize(log.len().next_multiple_of(PAGE), 0);
            }
            let kind = match (number == 0, number == last) {
                (true, true) => 1,
                (true, false) => 2,
                (false, false) => 3,
                (false, true) => 4,
            };
            log.push(kind | flags);
            log.extend_from_slice(&(piece.len() as u16).to_be_bytes());
            log.extend_from_slice(&crc32c(piece).to_be_bytes());
            log.extend_from_slice(piece);
        }
    }
}

impl Body {
    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Body::Series(all) => {
                out.push(1);
                for (series, labels) in all.iter().take(MOST) {
                    out.extend_from_slice(&u64::from(*series).to_be_bytes());
                    put_uvarint(&mut out, labels.len() as u64);
                    for (name, value) in labels {
                        put_blob(&mut out, if *name < 128 { b"__name__" } else { std::slice::from_ref(name) });
                        put_blob(&mut out, std::slice::from_ref(value));
                    }
                }
            }
            Body::Samples { series, time, steps } => {
                out.push(2);
                out.extend_from_slice(&u64::from(*series).to_be_bytes());
                out.extend_from_slice(&time.to_be_bytes());
                for (series, time, value) in steps.iter().take(MOST) {
                    put_varint(&mut out, i64::from(*series));
                    put_varint(&mut out, *time);
                    out.extend_from_slice(&value.to_be_bytes());
                }
            }
            Body::Deleted(all) => {
                out.push(3);
                for (series, from, to) in all.iter().take(MOST) {
                    out.extend_from_slice(&u64::from(*series).to_be_bytes());
                    put_varint(&mut out, *from);
                    put_varint(&mut out, *to);
                }
            }
            Body::Raw(kind, bytes) => {
                out.push(kind % 16);
                out.extend_from_slice(bytes);
            }
        }
        out
    }
}

/// Bytes without order: each is a block or a head.
pub fn seeds() -> Vec<Vec<u8>> {
    mutation::noise(300)
}
