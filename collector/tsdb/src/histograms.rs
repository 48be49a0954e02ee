//! Chunks of native histograms: of integers (encoding 2, with start times 5) and of floats (3, with start times 6).
//!
//! ```text
//! count <u16>  flags <u8>                                plain: the two highest bits of the flags are the reset header
//! reset <2 bits> count <14 bits>  start <u8>             with start times
//! layout   zero threshold <u8 or u8 + f64>, schema <varbit_int>, positive spans, negative spans, with schema −53 the bounds
//! first    t, count, zero count, sum, then each bucket (integers: the difference to the bucket before)
//! later    integers: changes of changes of all but the sum, which is varbit_xor; floats: ΔΔt and varbit_xor of all else
//! ```
//!
//! The layout holds for all samples of a chunk. A sample whose sum is a staleness marker has no buckets.

use syncline_schema::samples::STALE_NAN;

use super::bits::{Bits, Xored};
use super::bytes::Expected;
use super::floats::StartTimes;
use crate::native_histogram::{CUSTOM_SCHEMA, NativeHistogram, ResetHint, Run};

/// Buckets of one side at most: a damaged span may name billions.
const MOST_BUCKETS: u64 = 1 << 16;
/// Spans of one side, and bounds of custom buckets, at most: each sample of a chunk goes through all of them.
const MOST_SPANS: usize = 1 << 12;

/// A run of buckets: how far behind the end of the run before it begins, and how many.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    pub offset: i64,
    pub length: u64,
}

/// Runs of buckets with absolute indexes, and the number of all.
fn places(spans: &[Span]) -> Result<(Vec<(i32, usize)>, usize), Expected> {
    const WRONG: Expected = "expected bucket indexes within 32 bits";
    if spans.len() > MOST_SPANS {
        return Err("expected at most 4,096 spans");
    }
    let (mut next, mut total, mut runs) = (0i64, 0u64, Vec::with_capacity(spans.len()));
    for span in spans {
        let first = next.checked_add(span.offset).ok_or(WRONG)?;
        total = total.saturating_add(span.length);
        if total > MOST_BUCKETS {
            return Err("expected at most 65,536 buckets");
        }
        next = first.checked_add(span.length as i64).ok_or(WRONG)?;
        i32::try_from(next).map_err(|_| WRONG)?;
        runs.push((i32::try_from(first).map_err(|_| WRONG)?, span.length as usize));
    }
    Ok((runs, total as usize))
}

/// Buckets in runs; `counts` has as many as the spans name.
fn runs(places: &[(i32, usize)], mut counts: impl Iterator<Item = f64>) -> Vec<Run> {
    let filled = places.iter().map(|(first, length)| (*first, counts.by_ref().take(*length).collect::<Vec<f64>>()));
    filled.filter(|(_, counts)| !counts.is_empty()).collect()
}

/// Buckets of one side as spans and counts describe them.
pub fn side(spans: &[Span], counts: &[f64]) -> Result<Vec<Run>, Expected> {
    let (places, total) = places(spans)?;
    if total != counts.len() {
        return Err("expected as many buckets as the spans name");
    }
    Ok(runs(&places, counts.iter().copied()))
}

/// Counts whose differences are given, as integer histograms write them.
pub fn summed(differences: &[i64]) -> Vec<f64> {
    let mut sum = 0i64;
    differences
        .iter()
        .map(|difference| {
            sum = sum.wrapping_add(*difference);
            sum as f64
        })
        .collect()
}

/// What all samples of a chunk share.
struct Layout {
    schema: i32,
    zero_threshold: f64,
    positive: Vec<(i32, usize)>,
    negative: Vec<(i32, usize)>,
    /// Buckets of both sides.
    positives: usize,
    negatives: usize,
    custom: Vec<f64>,
}

fn spans(bits: &mut Bits) -> Result<Vec<Span>, Expected> {
    let count = bits.varbit_uint()?;
    // Grown one by one: a count may be damaged, and the bits end soon then.
    let mut spans = Vec::new();
    for _ in 0..count {
        if spans.len() > MOST_SPANS {
            break;
        }
        spans.push(Span { length: bits.varbit_uint()?, offset: bits.varbit_int()? });
    }
    Ok(spans)
}

fn layout(bits: &mut Bits) -> Result<Layout, Expected> {
    let zero_threshold = match bits.bits(8)? {
        0 => 0.0,
        255 => bits.float()?,
        exponent => 2f64.powi(exponent as i32 - 244),
    };
    let schema = i32::try_from(bits.varbit_int()?).map_err(|_| "expected a schema of native histograms")?;
    let (positive, positives) = places(&spans(bits)?)?;
    let (negative, negatives) = places(&spans(bits)?)?;
    let mut custom = Vec::new();
    if schema == CUSTOM_SCHEMA {
        for _ in 0..bits.varbit_uint()? {
            if custom.len() >= MOST_SPANS {
                return Err("expected at most 4,096 bounds of custom buckets");
            }
            custom.push(match bits.varbit_uint()? {
                0 => bits.float()?,
                thousandths => (thousandths - 1) as f64 / 1000.0,
            });
        }
    }
    Ok(Layout { schema, zero_threshold, positive, negative, positives, negatives, custom })
}

/// Number of samples, reset header, and start times.
struct Header {
    count: u16,
    reset: u8,
    starts: StartTimes,
}

fn header(data: &[u8], with_starts: bool) -> Result<(Header, &[u8]), Expected> {
    let (header, rest) = data.split_at_checked(3).ok_or("expected the header of a histogram chunk")?;
    let count = u16::from_be_bytes([header[0], header[1]]);
    Ok((
        if with_starts {
            Header { count: count & 0x3fff, reset: header[0] >> 6, starts: StartTimes::new(header[2]) }
        } else {
            Header { count, reset: header[2] >> 6, starts: StartTimes::default() }
        },
        rest,
    ))
}

impl Header {
    /// Within a chunk no counter is reset. That none was between two chunks holds only where the one before is at hand.
    fn hint(&self, number: u16) -> ResetHint {
        match (self.reset, number) {
            (0b11, _) => ResetHint::Gauge,
            (_, 1..) => ResetHint::NotReset,
            (0b10, 0) => ResetHint::Reset,
            _ => ResetHint::Unknown,
        }
    }
}

/// A number that is written as the change of its change.
#[derive(Clone, Copy, Debug, Default)]
struct Second {
    value: i64,
    change: i64,
}

impl Second {
    fn next(&mut self, bits: &mut Bits) -> Result<i64, Expected> {
        self.change = self.change.wrapping_add(bits.varbit_int()?);
        self.value = self.value.wrapping_add(self.change);
        Ok(self.value)
    }
}

/// Gives each histogram of a chunk of integers, with its time and start time, ms.
pub fn integers(
    data: &[u8],
    with_starts: bool,
    mut each: impl FnMut(i64, Option<i64>, NativeHistogram),
) -> Result<(), Expected> {
    let (mut header, rest) = header(data, with_starts)?;
    let mut bits = Bits::new(rest);
    if header.count == 0 {
        return Ok(());
    }
    let layout = layout(&mut bits)?;
    let mut time = Second { value: bits.varbit_int()?, change: 0 };
    let mut count = Second { value: bits.varbit_uint()? as i64, change: 0 };
    let mut zero = Second { value: bits.varbit_uint()? as i64, change: 0 };
    let mut sum = Xored::new(bits.float()?);
    // Grown one by one, as above.
    let mut buckets = Vec::new();
    for _ in 0..layout.positives + layout.negatives {
        buckets.push(Second { value: bits.varbit_int()?, change: 0 });
    }
    for number in 0..header.count {
        let before = time.value;
        if number > 0 {
            time.next(&mut bits)?;
            count.next(&mut bits)?;
            zero.next(&mut bits)?;
            sum.next(&mut bits)?;
            if sum.bits != STALE_NAN {
                for bucket in &mut buckets {
                    bucket.next(&mut bits)?;
                }
            }
        }
        let start = header.starts.next(number, before, time.value, &mut bits)?;
        if sum.bits == STALE_NAN {
            each(time.value, start, stale(header.hint(number)));
            continue;
        }
        let values: Vec<i64> = buckets.iter().map(|bucket| bucket.value).collect();
        let (positive, negative) = values.split_at(layout.positives);
        // Counts are unsigned.
        let counts = (count.value as u64 as f64, zero.value as u64 as f64);
        let sides = (summed(positive), summed(negative));
        each(time.value, start, layout.histogram(f64::from_bits(sum.bits), counts, sides, header.hint(number)));
    }
    Ok(())
}

/// Gives each histogram of a chunk of floats, with its time and start time, ms.
pub fn floats(
    data: &[u8],
    with_starts: bool,
    mut each: impl FnMut(i64, Option<i64>, NativeHistogram),
) -> Result<(), Expected> {
    let (mut header, rest) = header(data, with_starts)?;
    let mut bits = Bits::new(rest);
    if header.count == 0 {
        return Ok(());
    }
    let layout = layout(&mut bits)?;
    let mut time = Second { value: bits.varbit_int()?, change: 0 };
    let mut count = Xored::new(bits.float()?);
    let mut zero = Xored::new(bits.float()?);
    let mut sum = Xored::new(bits.float()?);
    let mut buckets = Vec::new();
    for _ in 0..layout.positives + layout.negatives {
        buckets.push(Xored::new(bits.float()?));
    }
    for number in 0..header.count {
        let before = time.value;
        if number > 0 {
            time.next(&mut bits)?;
            count.next(&mut bits)?;
            zero.next(&mut bits)?;
            sum.next(&mut bits)?;
            if sum.bits != STALE_NAN {
                for bucket in &mut buckets {
                    bucket.next(&mut bits)?;
                }
            }
        }
        let start = header.starts.next(number, before, time.value, &mut bits)?;
        if sum.bits == STALE_NAN {
            each(time.value, start, stale(header.hint(number)));
            continue;
        }
        let mut values: Vec<f64> = buckets.iter().map(|bucket| f64::from_bits(bucket.bits)).collect();
        let negative = values.split_off(layout.positives);
        let counts = (f64::from_bits(count.bits), f64::from_bits(zero.bits));
        each(
            time.value,
            start,
            layout.histogram(f64::from_bits(sum.bits), counts, (values, negative), header.hint(number)),
        );
    }
    Ok(())
}

/// A staleness marker, which has no buckets.
fn stale(reset_hint: ResetHint) -> NativeHistogram {
    NativeHistogram { sum: f64::from_bits(STALE_NAN), reset_hint, ..NativeHistogram::default() }
}

impl Layout {
    fn histogram(
        &self,
        sum: f64,
        (count, zero_count): (f64, f64),
        (positive, negative): (Vec<f64>, Vec<f64>),
        reset_hint: ResetHint,
    ) -> NativeHistogram {
        NativeHistogram {
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count,
            count,
            sum,
            positive: runs(&self.positive, positive.into_iter()),
            negative: runs(&self.negative, negative.into_iter()),
            custom: self.custom.clone(),
            reset_hint,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST_BUCKETS, MOST_SPANS, Span, places, side, summed};

    #[test]
    fn spans_follow_each_other() {
        let spans = [Span { offset: -3, length: 2 }, Span { offset: 0, length: 1 }, Span { offset: 4, length: 1 }];
        assert_eq!(
            side(&spans, &summed(&[1, 2, -1, 5])),
            Ok(vec![(-3, vec![1.0, 3.0]), (-1, vec![2.0]), (4, vec![7.0])])
        );
        assert!(side(&spans, &[1.0]).is_err(), "fewer counts than buckets");
    }

    #[test]
    fn damaged_spans_are_refused() {
        for span in [
            Span { offset: i64::MAX, length: 1 },
            Span { offset: 0, length: MOST_BUCKETS + 1 },
            Span { offset: i64::from(i32::MAX), length: 1 },
            Span { offset: 0, length: u64::MAX },
        ] {
            assert!(places(&[Span { offset: 1, length: 1 }, span]).is_err(), "{span:?}");
        }
        assert!(places(&vec![Span { offset: 0, length: 0 }; MOST_SPANS + 1]).is_err());
    }

    #[test]
    fn a_few_bytes_that_name_many_buckets_make_none_of_them() {
        // Two samples, schema 0, one positive span of 65,536 buckets: then the bits end.
        let mut given = 0;
        let data = [0, 2, 0, 0, 0b0000_0000, 0b1010_1111, 0xff, 0xff, 0xff, 0xff];
        assert!(super::integers(&data, false, |_, _, _| given += 1).is_err());
        assert_eq!(given, 0);
    }
}
