//! Prometheus' time series database: blocks, and the head with its write-ahead log.
//!
//! ```text
//! data/01M83A9Q5K9PVYWE04H4KBZE6D/index            0xBAAAD700: symbols, series with the places of their chunks
//! data/01M83A9Q5K9PVYWE04H4KBZE6D/chunks/000001    0x85BD40DD: chunks of samples
//! data/01M83A9Q5K9PVYWE04H4KBZE6D/tombstones       0x0130BA30: what was deleted
//! data/01M83A9Q5K9PVYWE04H4KBZE6D/meta.json
//! data/chunks_head/000001                          0x0130BC91: full chunks of the head
//! data/wal/00000003, data/wal/checkpoint.00000002/00000000, data/wbl/00000000
//! ```
//!
//! After the descriptions in Prometheus' repository under tsdb/docs/format, and for the widths of fields what those name.
//! The files of a block, or of a head, are read together (`input::tsdb`) and make one source, whose path is the
//! folder. It comes here as parcels, each complete by itself.
//!
//! `record` of a series is its reference in the index (its offset, in version 2 a sixteenth of it) or in the log. `record`
//! of a sample is the place of its chunk as an index writes it, number of the segment (from 0) × 2^32 + offset, or
//! number of the log's segment × 2^32 + offset of the record. Each chunk and record is checked against its checksum: a
//! damaged one is refused by its place, and what stands around it is kept. Exemplars and start times are left out.

use std::borrow::Cow;
use std::collections::HashMap;

use syncline_schema::clock::ClockToken;
use syncline_schema::loss::{DELETED_SAMPLES, START_TIMES, TOO_MUCH_BUILT};

use crate::form::batch::SeriesKey;
use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Line, Reads, Sample, Sniff};
use crate::parse::syntax::metric_line::labels_json;
use syncline_tsdb::bytes::{Bytes, Expected};
use syncline_tsdb::native_histogram::NativeHistogram;
use syncline_tsdb::parcel::{self, Entry, Home};
use syncline_tsdb::{crc32c, floats, histograms, records};

/// Blocks and heads.
pub const FORMAT: Format = Format {
    kind: "prometheus-tsdb",
    title: "Prometheus TSDB: a snapshot, a data folder, or one block",
    clock: ClockToken::Prometheus,
    cut: Cut::Whole,
    sniff,
    reads: Reads::Rows(parse),
    sample: "01M83A9Q5K9PVYWE04H4KBZE6D/{index,chunks/000001,meta.json,tombstones}, chunks_head/000001, wal/00000000\n",
    recognised: "a folder with an `index` (0xBAAAD700) and `chunks`, or with `wal` or `chunks_head`, also in a tar",
    capture: "curl -XPOST http://prometheus:9090/api/v1/admin/tsdb/snapshot (needs --web.enable-admin-api), then tar it",
    proves: "every sample that Prometheus stored, with its scrape time",
};

/// Single files are no TSDB: folders are recognised by `input::tsdb`.
fn sniff(_: &Head) -> Sniff {
    Sniff::No
}

/// A series of a parcel.
struct Known {
    /// Index in the batch; the reason where its labels cannot be used.
    index: Result<u32, &'static str>,
    deleted: Vec<(i64, i64)>,
}

/// State of a parcel.
struct Unpacked<'a, 'b> {
    context: &'a Context,
    batch: &'b mut Batch,
    file: &'a str,
    series: HashMap<u64, Known>,
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    batch.witness = "tsdb";
    let mut state = Unpacked { context, batch, file: "", series: HashMap::new() };
    let found = match parcel::entries(chunk.bytes) {
        Ok(found) => found,
        Err(reason) => return state.refuse(0, 0, reason),
    };
    for entry in found {
        match entry {
            Ok(entry) => state.entry(entry),
            Err(reason) => state.refuse(0, 0, reason),
        }
    }
}

impl<'a> Unpacked<'a, '_> {
    fn refuse(&mut self, record: i64, offset: u64, reason: &str) {
        let line = Line { bytes: b"", number: record, offset: i64::try_from(offset).unwrap_or(i64::MAX), ended: true };
        let told = if self.file.is_empty() { reason.to_owned() } else { format!("{}: {reason}", self.file) };
        self.batch.reject(self.context, &line, &told);
    }

    fn entry(&mut self, entry: Entry<'a>) {
        match entry {
            Entry::File(name) => self.file = name,
            Entry::Damage { offset, reason } => self.refuse(0, offset, reason),
            Entry::Series { series, record, metric_type, labels } => {
                let index = self.define(record, metric_type, &labels);
                if let Err(reason) = index {
                    self.refuse(record, 0, reason);
                }
                self.series.insert(series, Known { index, deleted: Vec::new() });
            }
            Entry::Deleted { series, from, to } => {
                if let Some(known) = self.series.get_mut(&series) {
                    known.deleted.push((from, to));
                }
            }
            Entry::Chunk { series, record, offset, home, bytes } => {
                if let Err(reason) = self.chunk(series, record, home, bytes) {
                    self.refuse(record, offset, reason);
                }
            }
            Entry::Record { record, offset, bytes } => {
                let mut unknown = 0;
                let result = records::items(bytes, |item| {
                    let (series, time) = match &item {
                        records::Item::Float { series, time, .. } | records::Item::Histogram { series, time, .. } => {
                            (*series, *time)
                        }
                        _ => return,
                    };
                    let Some(index) = self.wanted(series, time) else {
                        unknown += u64::from(!self.series.contains_key(&series));
                        return;
                    };
                    match item {
                        records::Item::Float { value, start, .. } => self.float(index, record, (time, start), value),
                        records::Item::Histogram { histogram, start, .. } => {
                            self.histogram(index, record, (time, start), &histogram);
                        }
                        _ => {}
                    }
                });
                if let Err(reason) = result {
                    self.refuse(record, offset, reason);
                }
                if unknown > 0 {
                    let reason = format!("expected a series record ahead of {unknown} samples of this record");
                    self.refuse(record, offset, &reason);
                }
            }
        }
    }

    fn define(&mut self, record: i64, metric_type: u8, labels: &[(&'a [u8], &'a [u8])]) -> Result<u32, Expected> {
        let mut name = Cow::Borrowed("");
        let mut pairs = Vec::with_capacity(labels.len());
        for (key, value) in labels {
            let text = |bytes: &'a [u8]| std::str::from_utf8(bytes).map_err(|_| "expected labels in UTF-8");
            let (key, value) = (text(key)?, text(value)?);
            if key == "__name__" {
                name = Cow::Borrowed(value);
            } else {
                pairs.push((Cow::Borrowed(key), Cow::Borrowed(value)));
            }
        }
        let metric_type = match metric_type {
            1 => Some("counter"),
            2 | 6 | 7 => Some("gauge"),
            3 | 4 => Some("histogram"),
            5 => Some("summary"),
            _ => None,
        };
        let key = SeriesKey { name: name.into_owned(), labels: labels_json(pairs)? };
        Ok(self.batch.series(key, record, metric_type))
    }

    /// The series of a sample, unless its labels cannot be used or the sample was deleted.
    fn wanted(&mut self, series: u64, time: i64) -> Option<u32> {
        let known = self.series.get(&series)?;
        let index = known.index.ok()?;
        // In order, and apart from each other.
        let ahead = known.deleted.partition_point(|(from, _)| *from <= time);
        if known.deleted[..ahead].last().is_some_and(|(_, to)| *to >= time) {
            self.batch.loss(DELETED_SAMPLES, 1);
            return None;
        }
        Some(index)
    }

    fn float(&mut self, series: u32, record: i64, (time, start): (i64, Option<i64>), value: f64) {
        let Some(time) = time.checked_mul(1_000_000) else {
            return self.refuse(record, record as u64 & 0xffff_ffff, "expected a time within the years 1678 to 2262");
        };
        self.batch.record(Some(time));
        self.batch.samples.push(Sample { series, record, time, value });
        self.start(series, record, time, start);
    }

    /// Notes since when the sample counts, ms.
    fn start(&mut self, series: u32, record: i64, time: i64, start: Option<i64>) {
        match start.map(|start| start.checked_mul(1_000_000)) {
            None => {}
            Some(None) => self.batch.loss(START_TIMES, 1),
            Some(Some(start)) => self.batch.start(series, record, time, start),
        }
    }

    fn histogram(&mut self, series: u32, record: i64, (time, start): (i64, Option<i64>), histogram: &NativeHistogram) {
        let Some(time) = time.checked_mul(1_000_000) else {
            return self.refuse(record, record as u64 & 0xffff_ffff, "expected a time within the years 1678 to 2262");
        };
        self.batch.record(Some(time));
        if self.batch.is_full() {
            return self.batch.loss(TOO_MUCH_BUILT, 1);
        }
        let row = histogram.row(series, record, time);
        self.batch.push(&row);
        self.start(series, record, time, start);
    }

    fn chunk(&mut self, series: u64, record: i64, home: Home, bytes: &[u8]) -> Result<(), Expected> {
        match self.series.get(&series) {
            None => return Err("expected a chunk of a series that the index or the log names"),
            // Refused where the series is defined.
            Some(Known { index: Err(_), .. }) => return Ok(()),
            Some(_) => {}
        }
        let (encoding, data) = checked(home, bytes)?;
        match encoding {
            1 => floats::xor(data, |time, value| {
                if let Some(index) = self.wanted(series, time) {
                    self.float(index, record, (time, None), value);
                }
            }),
            4 => floats::xor2(data, |time, start, value| {
                if let Some(index) = self.wanted(series, time) {
                    self.float(index, record, (time, start), value);
                }
            }),
            2 | 3 | 5 | 6 => {
                let each = |time: i64, start: Option<i64>, histogram: NativeHistogram| {
                    if let Some(index) = self.wanted(series, time) {
                        self.histogram(index, record, (time, start), &histogram);
                    }
                };
                if matches!(encoding, 2 | 5) {
                    histograms::integers(data, encoding == 5, each)
                } else {
                    histograms::floats(data, encoding == 6, each)
                }
            }
            _ => Err("expected an encoding of chunks that is known (1 to 6)"),
        }
    }
}

/// Encoding and data of a chunk whose checksum holds.
fn checked(home: Home, bytes: &[u8]) -> Result<(u8, &[u8]), Expected> {
    let (covered, sum) = bytes.split_last_chunk::<4>().ok_or("expected a chunk")?;
    if crc32c::crc32c(covered) != u32::from_be_bytes(*sum) {
        return Err("expected a chunk that fits its checksum");
    }
    let mut rest = Bytes::new(covered);
    if home == Home::Head {
        rest.take(24)?;
        // The highest bit says that it came out of order.
        let encoding = rest.u8()? & 0x7f;
        return Ok((encoding, rest.blob()?));
    }
    Ok((rest.u8()?, rest.rest()))
}
