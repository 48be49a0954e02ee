//! Mutations for the short run: fixed seed, fixed number, the same on every machine.

/// A small generator (xorshift), so that a failure can be repeated.
pub struct Dice(u64);

impl Dice {
    /// A generator; 0 is no seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    /// The next 64 bits.
    pub fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below a limit; 0 where the limit is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.roll() % limit.max(1) as u64) as usize
    }

    /// Some bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.roll() as u8).collect()
    }
}

/// Longest input of the short run.
const LONGEST: usize = 32 << 10;

/// Inputs of bytes without any order, for targets that take them as a description of something.
pub fn noise(count: usize) -> Vec<Vec<u8>> {
    let mut dice = Dice::new(0x9e37_79b9_7f4a_7c15);
    (0..count)
        .map(|_| {
            let length = 16 + dice.below(600);
            dice.bytes(length)
        })
        .collect()
}

/// Numbers that break what counts on smaller ones.
const NUMBERS: [&[u8]; 12] = [
    b"-1",
    b"0",
    b"65536",
    b"4294967296",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"18446744073709551616",
    b"1e308",
    b"-1e309",
    b"NaN",
    b"9999-12-31T23:59:59Z",
    b"99999999999999.999999999",
];

/// A mutation of one of `seeds`: some changes, each of a byte, a number, a piece, or a part of another seed.
pub fn mutated(seeds: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let Some(first) = seeds.get(dice.below(seeds.len())) else { return Vec::new() };
    let mut bytes = first.clone();
    for _ in 0..=dice.below(6) {
        let at = dice.below(bytes.len() + 1);
        let end = (at + 1 + dice.below(40)).min(bytes.len());
        match dice.below(9) {
            0 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            1 if at < bytes.len() => bytes[at] = dice.roll() as u8,
            2 => bytes.insert(at, dice.roll() as u8),
            3 => drop(bytes.drain(at.min(end)..end)),
            4 => {
                let piece = bytes[at.min(end)..end].to_vec();
                let to = dice.below(bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
            5 => numbered(&mut bytes, at, NUMBERS[dice.below(NUMBERS.len())]),
            6 => bytes.truncate(at),
            7 => {
                let other = &seeds[dice.below(seeds.len())];
                let from = dice.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => {
                let other = &seeds[dice.below(seeds.len())];
                let from = dice.below(other.len() + 1);
                let to = (from + dice.below(200)).min(other.len());
                bytes.splice(at..at, other[from..to].iter().copied());
            }
        }
    }
    bytes.truncate(LONGEST);
    bytes
}

/// Puts a number in the place of the first one behind `at`.
fn numbered(bytes: &mut Vec<u8>, at: usize, number: &[u8]) {
    let Some(from) = bytes[at..].iter().position(u8::is_ascii_digit).map(|found| at + found) else { return };
    let to = bytes[from..].iter().position(|byte| !byte.is_ascii_digit()).map_or(bytes.len(), |found| from + found);
    bytes.splice(from..to, number.iter().copied());
}
