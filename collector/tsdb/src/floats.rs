//! Chunks of float samples: XOR (encoding 1) and XOR2 (encoding 4).
//!
//! ```text
//! XOR    count <u16>                varint t0, v0 <64> · uvarint Δt, varbit_xor · then varbit_ts, varbit_xor a sample
//! XOR2   count <u16> start <u8>     the same two first samples · then one control a sample for time and value together:
//!        0 same step, same value · 10 same step, 0 + old window | 1 + new window · 110 + 13 | 1110 + 20 | 11110 + 64 bits
//!        of ΔΔt and then 0 same | 10 old window | 110 new window | 111 stale · 11111 same step, stale
//! start  bit 7: the first sample has a start time (varint t − start), which holds on; bits 0–6: from which sample on each has its own
//!        (varbit_int: the time before − start, then the change of that)
//! ```
//!
//! A staleness marker does not change what the next value of XOR2 is compared with. A start time of 0 is none.

use syncline_schema::samples::STALE_NAN;

use super::bits::{Bits, Window, Xored};
use super::bytes::Expected;

/// Gives each sample (time in ms, value) of an XOR chunk's data; those ahead of a fault are given too.
pub fn xor(data: &[u8], mut each: impl FnMut(i64, f64)) -> Result<(), Expected> {
    let (count, rest) = counted(data)?;
    let mut bits = Bits::new(rest);
    if count == 0 {
        return Ok(());
    }
    let mut time = bits.varint()?;
    let mut value = Xored::new(bits.float()?);
    each(time, f64::from_bits(value.bits));
    let mut step = 0i64;
    for number in 1..count {
        step = if number == 1 { bits.uvarint()? as i64 } else { step.wrapping_add(bits.varbit_time()?) };
        time = time.wrapping_add(step);
        each(time, value.next(&mut bits)?);
    }
    Ok(())
}

/// The number of samples, and what follows it.
fn counted(data: &[u8]) -> Result<(u16, &[u8]), Expected> {
    let (count, rest) = data.split_at_checked(2).ok_or("expected the number of samples")?;
    Ok((u16::from_be_bytes([count[0], count[1]]), rest))
}

/// The start times of a chunk's samples, read along with these.
#[derive(Clone, Copy, Debug, Default)]
pub struct StartTimes {
    header: u8,
    start: i64,
    /// The time of the sample before, less the start time.
    difference: i64,
}

impl StartTimes {
    /// Of a chunk with this header.
    pub fn new(header: u8) -> Self {
        Self { header, ..Self::default() }
    }

    /// The start time, ms, of sample `number` (from 0) at `time`, ms, behind one at `before`; none where it has none.
    pub fn next(&mut self, number: u16, before: i64, time: i64, bits: &mut Bits) -> Result<Option<i64>, Expected> {
        let from = u16::from(self.header & 0x7f);
        if number == 0 && self.header & 0x80 != 0 {
            self.start = time.wrapping_sub(bits.varint()?);
        } else if number > 0 && from > 0 && number >= from {
            let read = bits.varbit_int()?;
            self.difference = if number == from { read } else { self.difference.wrapping_add(read) };
            self.start = before.wrapping_sub(self.difference);
        }
        Ok((self.start != 0).then_some(self.start))
    }
}

/// The value of XOR2: the last one that was not stale, and its window.
struct Value {
    bits: u64,
    window: Window,
}

impl Value {
    fn changed(&mut self, difference: u64) -> f64 {
        self.bits ^= difference;
        f64::from_bits(self.bits)
    }

    /// `0` same, `10` old window, `110` new window, `111` stale.
    fn any(&mut self, bits: &mut Bits) -> Result<f64, Expected> {
        Ok(match bits.ones(3)? {
            0 => f64::from_bits(self.bits),
            1 => {
                let difference = self.window.again(bits)?;
                self.changed(difference)
            }
            2 => {
                let difference = self.window.renew(bits)?;
                self.changed(difference)
            }
            _ => f64::from_bits(STALE_NAN),
        })
    }
}

/// Gives each sample of an XOR2 chunk's data: time and start time, ms, and value.
pub fn xor2(data: &[u8], mut each: impl FnMut(i64, Option<i64>, f64)) -> Result<(), Expected> {
    let (count, rest) = counted(data)?;
    let (start, rest) = rest.split_first().ok_or("expected the header of start times")?;
    let mut starts = StartTimes::new(*start);
    let mut bits = Bits::new(rest);
    if count == 0 {
        return Ok(());
    }
    let mut time = bits.varint()?;
    let first = bits.float()?;
    // A marker at the beginning leaves nothing to compare with.
    let known = if first.to_bits() == STALE_NAN { 0 } else { first.to_bits() };
    let mut value = Value { bits: known, window: Window::default() };
    each(time, starts.next(0, time, time, &mut bits)?, first);
    let mut step = 0i64;
    for number in 1..count {
        let control = if number == 1 { None } else { Some(bits.ones(5)?) };
        let found = match control {
            None => {
                step = bits.uvarint()? as i64;
                value.any(&mut bits)?
            }
            Some(0) => f64::from_bits(value.bits),
            Some(1) => {
                let renewed = bits.bit()?;
                let difference =
                    if renewed { value.window.renew(&mut bits)? } else { value.window.again(&mut bits)? };
                value.changed(difference)
            }
            Some(5) => f64::from_bits(STALE_NAN),
            Some(wide) => {
                let width = [13, 20, 64][wide as usize - 2];
                // Two's complement: unlike in XOR, the lower half is the larger one.
                let change = (bits.bits(width)? << (64 - width)) as i64 >> (64 - width);
                step = step.wrapping_add(change);
                value.any(&mut bits)?
            }
        };
        let before = time;
        time = time.wrapping_add(step);
        each(time, starts.next(number, before, time, &mut bits)?, found);
    }
    Ok(())
}
