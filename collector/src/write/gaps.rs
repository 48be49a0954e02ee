//! Gaps in series of scrapes and snapshots: stamps much further apart than they usually are.

use std::collections::BTreeMap;

/// Stamps of one series of captures each, by its first source.
#[derive(Default)]
pub struct Stamps(BTreeMap<i32, Vec<i64>>);

impl Stamps {
    /// Remembers a stamp, ns.
    pub fn add(&mut self, series: i32, time: i64) {
        self.0.entry(series).or_default().push(time);
    }

    /// Sources with intervals longer than `factor` times their median, and how many there are.
    pub fn gaps(&self, factor: i64) -> Vec<(i32, u64)> {
        let counted = self.0.iter().map(|(series, stamps)| (*series, gaps(stamps, factor)));
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
