//! Gaps in series of scrapes and snapshots: stamps much further apart than they usually are.

use std::collections::BTreeMap;

use crate::form::ledger::{Full, Held, Ledger};

/// Memory of a stamp, in a list that may have grown just now.
const STAMP: usize = 2 * size_of::<i64>();

/// Stamps of one series of captures each, by its first source.
pub struct Stamps {
    of_series: BTreeMap<i32, Vec<i64>>,
    held: Held,
}

impl Stamps {
    /// None yet; what is kept of them is taken from `ledger`.
    pub fn new(ledger: &Ledger) -> Self {
        Self { of_series: BTreeMap::new(), held: ledger.account() }
    }

    /// Remembers a stamp, ns.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn add(&mut self, series: i32, time: i64) -> Result<(), Full> {
        self.held.take(STAMP)?;
        self.of_series.entry(series).or_default().push(time);
        Ok(())
    }

    /// Sources with intervals longer than `factor` times their median, and how many there are.
    pub fn gaps(&self, factor: i64) -> Vec<(i32, u64)> {
        let counted = self.of_series.iter().map(|(series, stamps)| (*series, gaps(stamps, factor)));
        counted.filter(|(_, count)| *count > 0).collect()
    }
}

fn gaps(stamps: &[i64], factor: i64) -> u64 {
    let intervals: Vec<i64> = stamps.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect();
    let mut sorted = intervals.clone();
    sorted.sort_unstable();
    // Two intervals have no usual length.
    let Some(median) = sorted.get(sorted.len() / 2).filter(|_| sorted.len() >= 3) else { return 0 };
    let limit = median.saturating_mul(factor);
    intervals.iter().filter(|interval| **interval > limit).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_by_the_million_fit_what_there_is() {
        let mut stamps = Stamps::new(&Ledger::new(4 * STAMP));
        let added = (0..10).filter(|time| stamps.add(0, *time).is_ok()).count();
        assert_eq!((added, stamps.of_series[&0].len()), (4, 4));
    }

    #[test]
    fn a_gap_is_much_longer_than_usual() {
        for (stamps, factor, expected) in [
            (&[0, 10, 20, 30, 51, 60][..], 2, 1),
            (&[0, 10, 20, 30, 50, 60], 2, 0),
            (&[0, 10, 20, 30, 51, 60], 5, 0),
            (&[0, 10, 1000], 2, 0),
            (&[], 2, 0),
            (&[i64::MIN, 0, i64::MAX, 1], 2, 0),
        ] {
            assert_eq!(gaps(stamps, factor), expected, "{stamps:?} × {factor}");
        }
    }
}
