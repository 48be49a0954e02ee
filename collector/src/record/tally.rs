//! How often a source looked, and its gaps: counted as it runs, in constant memory.

use std::time::{Duration, Instant};

/// Classes of gaps: 32 to an octave of nanoseconds, so that a median is right to 1.1 %.
const PER_OCTAVE: f64 = 32.0;

/// Of one source.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Readings, or events.
    pub ticks: u64,
    last: Option<Instant>,
    /// Gaps by class.
    classes: std::collections::BTreeMap<u32, u64>,
    /// Largest time between two ticks.
    pub largest: Duration,
    /// Since when (realtime, ns) it gives nothing because it ended, and why.
    broken: Option<(i64, String)>,
}

impl Tally {
    /// Counts a tick. Gives what had ended the source where this is its first since.
    pub fn tick(&mut self, now: Instant) -> Option<(i64, String)> {
        self.ticks += 1;
        if let Some(last) = self.last.replace(now) {
            let gap = now.saturating_duration_since(last);
            self.largest = self.largest.max(gap);
            let class = ((gap.as_nanos().max(1) as f64).log2() * PER_OCTAVE) as u32;
            *self.classes.entry(class).or_default() += 1;
        }
        self.broken.take()
    }

    /// Whether it has given something, or has failed to.
    pub fn has_begun(&self) -> bool {
        self.ticks > 0 || self.broken.is_some()
    }

    /// The source ended at a time; ticks of later are behind a gap.
    pub fn broke(&mut self, at: i64, what: &str) {
        self.broken.get_or_insert_with(|| (at, what.to_owned()));
    }

    /// The recording ends: a source that ended and has not come back has a gap until now.
    pub fn close(&mut self, now: Instant) {
        if let (Some(last), true) = (self.last, self.broken.is_some()) {
            self.largest = self.largest.max(now.saturating_duration_since(last));
        }
    }

    /// Median time between two ticks; null below two.
    pub fn median(&self) -> Option<Duration> {
        let gaps: u64 = self.classes.values().sum();
        let mut left = gaps.div_ceil(2);
        for (class, count) in &self.classes {
            left = left.saturating_sub(*count);
            if left == 0 {
                let middle = ((f64::from(*class) + 0.5) / PER_OCTAVE).exp2();
                return Some(Duration::from_nanos(middle as u64));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;
    use std::time::{Duration, Instant};

    #[test]
    fn the_median_and_the_largest_gap_are_told() {
        let mut tally = Tally::default();
        assert_eq!(tally.median(), None);
        let mut now = Instant::now();
        for gap in [0, 100, 100, 100, 900, 100, 20] {
            now += Duration::from_millis(gap);
            assert_eq!(tally.tick(now), None);
        }
        let median = tally.median().expect("six gaps").as_secs_f64();
        assert!((median / 0.1 - 1.0).abs() < 0.012, "{median}");
        assert_eq!((tally.ticks, tally.largest), (7, Duration::from_millis(900)));
        tally.close(now + Duration::from_secs(9));
        assert_eq!(tally.largest, Duration::from_millis(900));
        tally.broke(7, "ended");
        tally.close(now + Duration::from_secs(2));
        assert_eq!(tally.largest, Duration::from_secs(2));
        tally.broke(8, "ended again");
        assert_eq!(tally.tick(now), Some((7, "ended".to_owned())));
        assert_eq!(tally.tick(now), None);
    }
}
