//! Readings between the lines of a witness that writes a line on each change only.
//!
//! ```text
//! line                                        line: 5 samples since the last one
//! │       ·       ·       ·       ·           │
//! old     old     old     old     old ahead of it: the change came after the fourth
//! ```
//!
//! Every reading since the last line showed the old state, so the change came after the last of them. When that was
//! follows from the pace: `n` readings since a line took the time between the two lines, and no line of the stream was
//! faster than the fastest. A reader that keeps a schedule may be late for one reading and in time for the next, so one
//! reading is given up.

/// Readings that a pace needs.
const ENOUGH: i64 = 10;

/// The lines of a stream.
#[derive(Default)]
pub struct Lines {
    /// Stamp, ns, and readings since the line before.
    all: Vec<(i64, i64)>,
    /// Shortest time between two readings, as an average between two lines.
    pace: Option<i64>,
    /// Readings behind all lines.
    readings: i64,
}

impl Lines {
    /// Adds the next line.
    pub fn push(&mut self, time: i64, samples: Option<i64>) {
        let samples = samples.unwrap_or(0);
        if let Some((before, _)) = self.all.last().filter(|_| samples > 0) {
            let pace = (time - before).max(0) / samples;
            self.pace = Some(self.pace.map_or(pace, |known| known.min(pace)));
        }
        self.readings = self.readings.saturating_add(samples);
        self.all.push((time, samples));
    }

    /// When at the earliest the last reading ahead of the line at `after` was made, where the line ahead of it stands at
    /// `before`; `before` itself where nothing tells more.
    pub fn last_before(&self, before: i64, after: i64) -> i64 {
        let Some(pace) = self.pace.filter(|_| self.readings >= ENOUGH) else { return before };
        let at = self.all.partition_point(|(time, _)| *time < after);
        let (Some((time, samples)), Some((line, _))) =
            (self.all.get(at), at.checked_sub(1).and_then(|at| self.all.get(at)))
        else {
            return before;
        };
        if *time != after || *line != before {
            return before;
        }
        (before + (samples - 2).max(0).saturating_mul(pace)).clamp(before, after.max(before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_between_two_lines_prove_the_old_state() {
        let mut lines = Lines::default();
        for at in 0..12 {
            lines.push(at * 250, Some(12));
        }
        lines.push(11 * 250 + 120, Some(6));
        assert_eq!(lines.last_before(11 * 250, 11 * 250 + 120), 11 * 250 + 4 * 20);
        assert_eq!(lines.last_before(10 * 250, 11 * 250 + 120), 10 * 250, "a line stands between");
    }

    #[test]
    fn without_a_pace_the_line_before_is_the_bound() {
        let mut lines = Lines::default();
        lines.push(0, None);
        lines.push(100, Some(5));
        assert_eq!(lines.last_before(0, 100), 0);
    }
}
