//! How Prometheus packs samples: chunks of every encoding, records of the log, parcels.

use syncline_collector::form::{Batch, Chunk, Context};
use syncline_collector::parse::metrics::prometheus_tsdb;
use syncline_collector::parse::read;
use syncline_tsdb::bytes::{put_blob, put_uvarint, put_varint};
use syncline_tsdb::parcel::{Entry, Home, Parcel};
use syncline_tsdb::{crc32c, floats, histograms, records};

use crate::fixtures;

/// Takes an input: a byte of what it is, then its bytes.
///
/// # Panics
/// Where more samples come out than the bytes can hold.
pub fn run(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    let mut samples = 0usize;
    let _ = match kind % 8 {
        0 => floats::xor(bytes, |_, _| samples += 1).is_ok(),
        1 => floats::xor2(bytes, |_, _, _| samples += 1).is_ok(),
        2 | 3 => histograms::integers(bytes, kind % 8 == 3, |_, _, _| samples += 1).is_ok(),
        4 | 5 => histograms::floats(bytes, kind % 8 == 5, |_, _, _| samples += 1).is_ok(),
        6 => records::items(bytes, |_| samples += 1).is_ok(),
        _ => return parcel(bytes),
    };
    assert!(samples <= bytes.len() * 8 + 1, "{samples} samples of {} bytes", bytes.len());
}

/// A parcel of one series, with a chunk of any encoding and a record, each with the checksum that it needs.
fn parcel(bytes: &[u8]) {
    let Some((encoding, data)) = bytes.split_first() else { return };
    let mut parcel = Parcel::default();
    let labels: Vec<(&[u8], &[u8])> = vec![(b"__name__", b"x"), (b"le", b"0.5")];
    parcel.put(&Entry::File("chunks/000001"), 0);
    parcel.put(&Entry::Series { series: 1, record: 1, metric_type: encoding >> 4, labels }, 0);
    parcel.put(&Entry::Deleted { series: 1, from: 0, to: 1_000 }, 0);
    let mut chunk = [&[encoding & 7], data].concat();
    chunk.extend_from_slice(&crc32c::crc32c(&chunk).to_be_bytes());
    parcel.put(&Entry::Chunk { series: 1, record: 2, offset: 8, home: Home::Block, bytes: &chunk }, 0);
    parcel.put(&Entry::Record { record: 3, offset: 0, bytes: data }, 0);
    parsed(&parcel.close().0);
}

/// Parses a parcel as the collector does.
pub fn parsed(bytes: &[u8]) -> Batch {
    let context = Context {
        source: 0,
        path: "data/wal".to_owned(),
        clock: "prometheus".to_owned(),
        node: "node-a".to_owned(),
        year: None,
        utc_offset: None,
        mtime: None,
    };
    let chunk = Chunk { bytes, first_line: 1, offset: 0, first: true, last: true, truncated: false, around: None };
    let mut batch = Batch::default();
    read(&prometheus_tsdb::FORMAT, &context, &chunk, &mut batch);
    batch.take_tables().iter_mut().for_each(|table| drop(table.finish().expect("columns of one length")));
    batch
}

/// Pieces of a real database as chunks and records of every kind, and a record of series.
pub fn seeds() -> Vec<Vec<u8>> {
    let base = fixtures::folder().join("prometheus-tsdb");
    let mut seeds = Vec::new();
    for path in [
        "block/01M83ZNG2Z4BNQXMP2GP3V8GR6/chunks/000001",
        "snapshot/01M83ZVGH4PFDEHF7Q426AGCDP/chunks/000001",
        "head/wal/00000000",
    ] {
        let bytes = std::fs::read(base.join(path)).expect("a fixture");
        // Chunks begin behind the header; their own header is the length and the encoding.
        for (at, piece) in bytes[8..].chunks(300).enumerate() {
            seeds.push([&[at as u8], &piece[piece.len().min(2)..]].concat());
        }
    }
    let mut record = vec![6, 1];
    record.extend_from_slice(&7u64.to_be_bytes());
    put_uvarint(&mut record, 1);
    put_blob(&mut record, b"__name__");
    put_blob(&mut record, b"x");
    seeds.push(record);
    let mut record = vec![6, 2];
    record.extend_from_slice(&[0; 16]);
    put_varint(&mut record, 1);
    put_varint(&mut record, -5);
    record.extend_from_slice(&1f64.to_be_bytes());
    seeds.push(record);
    seeds
}
