//! Tests of encodings that no packaged Prometheus writes yet: their bits are laid here by hand.

use syncline_schema::samples::STALE_NAN;

use super::bytes::put_varint;
use super::floats::xor2;
use super::histograms::{floats, integers};
use super::records::{Item, items};
use crate::native_histogram::{NativeHistogram, ResetHint};

/// Bits from text: `"110 0000000000101"`.
#[derive(Default)]
struct Laid {
    bits: Vec<bool>,
}

impl Laid {
    fn bits(mut self, text: &str) -> Self {
        self.bits.extend(text.bytes().filter(|byte| *byte != b' ').map(|byte| byte == b'1'));
        self
    }

    fn number(mut self, value: u64, width: u32) -> Self {
        self.bits.extend((0..width).rev().map(|bit| value >> bit & 1 == 1));
        self
    }

    fn varint(self, value: i64) -> Self {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, value);
        bytes.into_iter().fold(self, |laid, byte| laid.number(u64::from(byte), 8))
    }

    fn float(self, value: f64) -> Self {
        self.number(value.to_bits(), 64)
    }

    /// The bytes behind a header.
    fn behind(self, header: &[u8]) -> Vec<u8> {
        let mut bytes = header.to_vec();
        for eight in self.bits.chunks(8) {
            let byte = eight.iter().enumerate().fold(0, |byte, (at, bit)| byte | u8::from(*bit) << (7 - at));
            bytes.push(byte);
        }
        bytes
    }
}

#[test]
fn xor2_has_joint_controls() {
    let changed = 1f64.to_bits() ^ 1.5f64.to_bits();
    assert_eq!((changed.leading_zeros(), changed.trailing_zeros()), (12, 51));
    let laid = Laid::default()
        .varint(1000)
        .float(1.0)
        .number(10, 8) // uvarint: Δt
        .bits("0") // same value
        .bits("0") // same step, same value
        .bits("10 1 01100 000001 1") // same step, new window, the one bit
        .bits("10 0 1") // same step, that window again
        .bits("11111") // same step, stale
        .bits("110 1111111111011 0") // ΔΔt −5, the value ahead of the marker
        .bits("1110 00000001000000000000 10 1") // ΔΔt 4096, window
        .bits("11110")
        .number(-4091i64 as u64, 64) // back to the first step
        .bits("111"); // stale
    let mut found = Vec::new();
    let result = xor2(&laid.behind(&[0, 9, 0]), |time, start, value| {
        assert_eq!(start, None);
        found.push((time, value.to_bits()));
    });
    assert_eq!(result, Ok(()));
    let (one, more, stale) = (1f64.to_bits(), 1.5f64.to_bits(), STALE_NAN);
    let expected = [
        (1000, one),
        (1010, one),
        (1020, one),
        (1030, more),
        (1040, one),
        (1050, stale),
        (1055, one),
        (5156, more),
        (5166, stale),
    ];
    assert_eq!(found, expected);
}

#[test]
fn xor2_start_times_hold_until_they_change() {
    let laid = Laid::default()
        .varint(1000)
        .float(1.0)
        .varint(400) // the first start time: 600
        .number(10, 8)
        .bits("0")
        .bits("0 11110 000000000001") // from the third sample on: 1 ahead of the sample before
        .bits("0 0") // again
        .bits("0 10 100"); // 4 more
    let mut found = Vec::new();
    let result = xor2(&laid.behind(&[0, 5, 0x82]), |time, start, value| {
        assert_eq!(value.to_bits(), 1f64.to_bits());
        found.push((time, start));
    });
    assert_eq!(result, Ok(()));
    assert_eq!(
        found,
        [(1000, Some(600)), (1010, Some(600)), (1020, Some(1009)), (1030, Some(1019)), (1040, Some(1025))]
    );
    // None at first, and none again: a start of 0.
    let laid = Laid::default().varint(7).float(1.0).number(10, 8).bits("0 10 011").bits("0 10 010");
    let mut found = Vec::new();
    assert_eq!(xor2(&laid.behind(&[0, 3, 0x01]), |time, start, _| found.push((time, start))), Ok(()));
    assert_eq!(found, [(7, None), (17, Some(4)), (27, Some(12))]);
}

/// Threshold 0, schema −53, one span of two buckets, none negative, bounds 0.5 and 1/3.
fn custom_layout() -> Laid {
    Laid::default()
        .bits("00000000")
        .bits("1111110")
        .number(-53i64 as u64 & 0x1ff_ffff, 25)
        .bits("10 001 10 010 0 0") // one span: two buckets, offset 0; no negative one
        .bits("10 010") // two bounds
        .bits("1110 111110101") // 0.5 × 1000 + 1
        .bits("0")
        .float(1.0 / 3.0)
}

#[test]
fn custom_bounds_are_read_with_and_without_start_times() {
    let expected = |count: f64, counts: [f64; 2], reset_hint| NativeHistogram {
        schema: -53,
        count,
        sum: 2.5,
        positive: vec![(0, counts.to_vec())],
        custom: vec![0.5, 1.0 / 3.0],
        reset_hint,
        ..NativeHistogram::default()
    };
    let first = |laid: Laid| laid.bits("1110 001100100").bits("10 011").bits("0").float(2.5).bits("10 001 10 001");
    // Count + 2, no zero count, same sum, each bucket + 1 and + 0 as a difference.
    let second = |laid: Laid| laid.bits("10 010").bits("10 010").bits("0").bits("0").bits("10 001 0");
    for (header, with_starts) in [([0x00, 2, 0x80], false), ([0x80, 2, 0x81], true)] {
        let mut laid = first(custom_layout());
        if with_starts {
            laid = laid.varint(7);
        }
        laid = second(laid);
        if with_starts {
            laid = laid.bits("10 011");
        }
        let (mut found, mut starts) = (Vec::new(), Vec::new());
        let result = integers(&laid.behind(&header), with_starts, |time, start, one| {
            found.push((time, one));
            starts.push(start);
        });
        assert_eq!(result, Ok(()));
        assert_eq!(starts, if with_starts { [Some(93), Some(97)] } else { [None; 2] });
        let counts = [expected(3.0, [1.0, 2.0], ResetHint::Reset), expected(5.0, [2.0, 3.0], ResetHint::NotReset)];
        assert_eq!(found, [(100, counts[0].clone()), (102, counts[1].clone())]);
    }
    let laid = custom_layout().bits("1110 001100100").float(3.0).float(0.0).float(2.5).float(1.0).float(2.0).varint(9);
    let mut found = Vec::new();
    let result = floats(&laid.behind(&[0xc0, 1, 0x80]), true, |time, start, one| found.push((time, start, one)));
    assert_eq!(result, Ok(()));
    assert_eq!(found, [(100, Some(91), expected(3.0, [1.0, 2.0], ResetHint::Gauge))]);
}

#[test]
fn records_with_start_times() {
    let mut record = vec![11];
    for value in [7, 5000, 4000] {
        put_varint(&mut record, value);
    }
    record.extend_from_slice(&1f64.to_be_bytes());
    // The next series with no start, the same one, and one of its own.
    for (series, time, start) in [(1, 0, vec![0]), (-1, 15, vec![1]), (2, -3, vec![2, 9])] {
        put_varint(&mut record, series);
        put_varint(&mut record, time);
        record.extend(start);
        record.extend_from_slice(&2f64.to_be_bytes());
    }
    let mut found = Vec::new();
    assert_eq!(items(&record, |item| found.push(item)), Ok(()));
    let float = |series, time, start, value| Item::Float { series, time, start, value };
    let samples = [
        float(7, 5000, Some(4000), 1.0),
        float(8, 5000, None, 2.0),
        float(7, 5015, None, 2.0),
        float(9, 4997, Some(3995), 2.0),
    ];
    assert_eq!(found, samples);
    assert!(items(&record[..record.len() - 1], |_| {}).is_err());
}

#[test]
fn types_that_changed_their_meaning_are_told_apart() {
    let mut series = vec![12];
    series.extend_from_slice(&9u64.to_be_bytes());
    series.extend_from_slice(&[1, 1, b'a', 1, b'b']);
    let mut found = Vec::new();
    assert_eq!(items(&series, |item| found.push(item)), Ok(()));
    assert_eq!(found, [Item::Series { series: 9, labels: vec![("a", "b")] }]);
    assert_eq!(items(&[13], |_| panic!("a boundary says nothing")), Ok(()));
    assert!(items(&[99], |_| {}).is_err());
}
