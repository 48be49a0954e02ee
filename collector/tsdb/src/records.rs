//! Records of the write-ahead log, decompressed.
//!
//! ```text
//! 1 series             ref <8>, labels; again and again
//! 2 samples            base ref <8>, base time <8>; then Δref, Δtime <varint>, value <8>
//! 3 tombstones         ref <8>, from, to <varint>
//! 6 metadata           ref <uvarint>, type <1>, fields
//! 7, 9 / 8, 10         histograms of integers / of floats: bases as in 2, Δref, Δtime, histogram
//! 11, 12, 13           samples and histograms with start times: first ref, time, start <varint>; then Δref, Δtime, mark and, where
//!                      the mark is neither 0 (none) nor 1 (that of the sample before), what the start differs by from the first
//! ```
//!
//! Exemplars (4), markers of chunks (5), boundaries and times of validity hold no samples. Types 12 and 13 stand for
//! something else in an experiment with a fast start (series again, and a boundary of one byte): what follows the type tells.

use super::bytes::{Bytes, Expected};
use super::histograms::{Span, side, summed};
use crate::native_histogram::{CUSTOM_SCHEMA, NativeHistogram, ResetHint};

/// Labels of a series as a record has them.
pub type RecordLabels<'a> = Vec<(&'a str, &'a str)>;

/// What a record says.
#[derive(Debug, PartialEq)]
pub enum Item<'a> {
    Series {
        series: u64,
        labels: RecordLabels<'a>,
    },
    Type {
        series: u64,
        metric_type: u8,
    },
    Deleted {
        series: u64,
        from: i64,
        to: i64,
    },
    Float {
        series: u64,
        time: i64,
        /// Start time, ms.
        start: Option<i64>,
        value: f64,
    },
    Histogram {
        series: u64,
        time: i64,
        start: Option<i64>,
        histogram: NativeHistogram,
    },
}

/// Gives what a record says; what stands ahead of a fault is given too.
pub fn items<'a>(record: &'a [u8], mut each: impl FnMut(Item<'a>)) -> Result<(), Expected> {
    let mut bytes = Bytes::new(record);
    let kind = bytes.u8()?;
    match kind {
        1 => series(bytes, &mut each),
        12 if looks_like_series(bytes) => series(bytes, &mut each),
        2 => based(bytes, |bytes, series, time| each_float(bytes, (series, time, None), &mut each)),
        3 => {
            while !bytes.is_empty() {
                each(Item::Deleted { series: bytes.u64()?, from: bytes.varint()?, to: bytes.varint()? });
            }
            Ok(())
        }
        4 | 5 | 14 => Ok(()),
        6 => metadata(bytes, &mut each),
        7 | 9 => based(bytes, |bytes, series, time| {
            let histogram = histogram(bytes, false)?;
            each(Item::Histogram { series, time, start: None, histogram });
            Ok(())
        }),
        8 | 10 => based(bytes, |bytes, series, time| {
            let histogram = histogram(bytes, true)?;
            each(Item::Histogram { series, time, start: None, histogram });
            Ok(())
        }),
        13 if bytes.is_empty() => Ok(()),
        11..=13 => chained(bytes, |bytes, series, time, start| {
            if kind == 11 {
                return each_float(bytes, (series, time, start), &mut each);
            }
            let histogram = histogram(bytes, kind == 13)?;
            each(Item::Histogram { series, time, start, histogram });
            Ok(())
        }),
        _ => Err("expected a type of record that is known (1 to 14)"),
    }
}

fn each_float<'a>(
    bytes: &mut Bytes<'a>,
    (series, time, start): (u64, i64, Option<i64>),
    each: &mut impl FnMut(Item<'a>),
) -> Result<(), Expected> {
    each(Item::Float { series, time, start, value: bytes.f64()? });
    Ok(())
}

fn labels<'a>(bytes: &mut Bytes<'a>) -> Result<RecordLabels<'a>, Expected> {
    let count = bytes.count(2)?;
    (0..count).map(|_| Ok((bytes.text()?, bytes.text()?))).collect()
}

fn series<'a>(mut bytes: Bytes<'a>, each: &mut impl FnMut(Item<'a>)) -> Result<(), Expected> {
    while !bytes.is_empty() {
        let series = bytes.u64()?;
        each(Item::Series { series, labels: labels(&mut bytes)? });
    }
    Ok(())
}

fn looks_like_series(mut bytes: Bytes) -> bool {
    while !bytes.is_empty() {
        if bytes.u64().is_err() || labels(&mut bytes).is_err() {
            return false;
        }
    }
    true
}

fn metadata<'a>(mut bytes: Bytes<'a>, each: &mut impl FnMut(Item<'a>)) -> Result<(), Expected> {
    while !bytes.is_empty() {
        let (series, metric_type) = (bytes.uvarint()?, bytes.u8()?);
        for _ in 0..bytes.count(2)? {
            bytes.blob()?;
            bytes.blob()?;
        }
        each(Item::Type { series, metric_type });
    }
    Ok(())
}

/// Samples as differences to a base.
fn based<'a>(
    mut bytes: Bytes<'a>,
    mut each: impl FnMut(&mut Bytes<'a>, u64, i64) -> Result<(), Expected>,
) -> Result<(), Expected> {
    if bytes.is_empty() {
        return Ok(());
    }
    let (series, time) = (bytes.u64()?, bytes.u64()? as i64);
    while !bytes.is_empty() {
        let series = series.wrapping_add_signed(bytes.varint()?);
        let time = time.wrapping_add(bytes.varint()?);
        each(&mut bytes, series, time)?;
    }
    Ok(())
}

/// Samples with start times: the series differs from the one before, time and start time from the first.
fn chained<'a>(
    mut bytes: Bytes<'a>,
    mut each: impl FnMut(&mut Bytes<'a>, u64, i64, Option<i64>) -> Result<(), Expected>,
) -> Result<(), Expected> {
    if bytes.is_empty() {
        return Ok(());
    }
    let known = |start: i64| (start != 0).then_some(start);
    let (mut series, first, first_start) = (bytes.varint()?, bytes.varint()?, bytes.varint()?);
    each(&mut bytes, series as u64, first, known(first_start))?;
    let mut start = first_start;
    while !bytes.is_empty() {
        series = series.wrapping_add(bytes.varint()?);
        let time = first.wrapping_add(bytes.varint()?);
        start = match bytes.u8()? {
            0 => 0,
            1 => start,
            _ => first_start.wrapping_add(bytes.varint()?),
        };
        each(&mut bytes, series as u64, time, known(start))?;
    }
    Ok(())
}

fn spans(bytes: &mut Bytes) -> Result<Vec<Span>, Expected> {
    let count = bytes.count(2)?;
    (0..count).map(|_| Ok(Span { offset: bytes.varint()?, length: bytes.uvarint()? })).collect()
}

fn counts(bytes: &mut Bytes, floats: bool) -> Result<Vec<f64>, Expected> {
    if floats {
        let count = bytes.count(8)?;
        return (0..count).map(|_| bytes.f64()).collect();
    }
    let count = bytes.count(1)?;
    let differences: Vec<i64> = (0..count).map(|_| bytes.varint()).collect::<Result<_, _>>()?;
    Ok(summed(&differences))
}

fn histogram(bytes: &mut Bytes, floats: bool) -> Result<NativeHistogram, Expected> {
    let reset_hint = match bytes.u8()? {
        1 => ResetHint::Reset,
        2 => ResetHint::NotReset,
        3 => ResetHint::Gauge,
        _ => ResetHint::Unknown,
    };
    let schema = i32::try_from(bytes.varint()?).map_err(|_| "expected a schema of native histograms")?;
    let zero_threshold = bytes.f64()?;
    let (zero_count, count) =
        if floats { (bytes.f64()?, bytes.f64()?) } else { (bytes.uvarint()? as f64, bytes.uvarint()? as f64) };
    let sum = bytes.f64()?;
    let (positive, negative) = (spans(bytes)?, spans(bytes)?);
    let (positive, negative) = (side(&positive, &counts(bytes, floats)?)?, side(&negative, &counts(bytes, floats)?)?);
    let mut custom = Vec::new();
    if schema == CUSTOM_SCHEMA {
        let count = bytes.count(8)?;
        custom = (0..count).map(|_| bytes.f64()).collect::<Result<_, _>>()?;
    }
    Ok(NativeHistogram { schema, zero_threshold, zero_count, count, sum, positive, negative, custom, reset_hint })
}
