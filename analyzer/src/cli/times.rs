//! Times and durations as people write them.
//!
//! | written | means |
//! |---|---|
//! | `2026-02-03T04:05:06Z`, `1770091506.5` | that moment |
//! | `start`, `baseline`, `action`, `tail`, `end` | where the phase of a run begins; `end`: where the last one ends |
//! | `action+10s`, `end-1m30s` | so long after or before it |
//! | `+30s`, `-5m` | after the start, before the end |

use std::time::Duration;

use anyhow::{Context, bail};

use crate::events::{Run, Window};

/// A duration as in Prometheus (`1m30s`), or seconds.
///
/// # Errors
/// A text that is none.
pub fn duration(text: &str) -> anyhow::Result<Duration> {
    let wrong = || format!("`{text}` is no duration: expected one as 1m30s, or seconds");
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).with_context(wrong);
    }
    let units = [
        ("ms", 1),
        ("s", 1_000),
        ("m", 60_000),
        ("h", 3_600_000),
        ("d", 86_400_000),
        ("w", 604_800_000),
        ("y", 31_536_000_000),
    ];
    let (mut rest, mut total, mut before) = (text, 0_u64, u64::MAX);
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).with_context(wrong)?;
        let count: u64 = rest[..digits].parse().ok().with_context(wrong)?;
        rest = &rest[digits..];
        let letters = rest.find(|letter: char| letter.is_ascii_digit()).unwrap_or(rest.len());
        let size =
            units.iter().find(|(name, _)| *name == &rest[..letters]).map(|(_, size)| *size).with_context(wrong)?;
        if size >= before {
            bail!(wrong());
        }
        before = size;
        total = count.checked_mul(size).and_then(|part| total.checked_add(part)).with_context(wrong)?;
        rest = &rest[letters..];
    }
    if text.is_empty() {
        bail!(wrong());
    }
    Ok(Duration::from_millis(total))
}

/// RFC 3339 or Unix seconds (below zero: ahead of 1970), as ns since 1970; `None` for any other text.
pub fn absolute(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return i64::try_from(at.as_nanosecond()).ok();
    }
    let seconds: f64 = text.parse().ok()?;
    // Whole seconds and their part apart: a double near 1.8e9 keeps 0.24 µs.
    let fits = seconds.is_finite() && seconds.abs() < 9e9;
    fits.then(|| (seconds.trunc() as i64) * 1_000_000_000 + (seconds.fract() * 1e9).round() as i64)
}

/// A moment that counts from the phases of a run: `action+10s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relative<'t> {
    /// `start`, `baseline`, `action`, `tail`, `end`.
    base: &'t str,
    /// ns.
    by: i64,
}

/// Names that a moment may count from.
const BASES: [&str; 5] = ["start", "baseline", "action", "tail", "end"];

/// Parses a moment that counts from a phase.
///
/// # Errors
/// A text that is none.
pub fn relative(text: &str) -> anyhow::Result<Relative<'_>> {
    let wrong = || {
        format!(
            "`{text}` is not a valid time: expected RFC 3339, Unix seconds, or start, baseline, action, tail, end with + or - a duration (action-5s)"
        )
    };
    let text = text.trim();
    let (name, rest) = text.split_at(text.find(['+', '-']).unwrap_or(text.len()));
    // A bare offset: after the start, or back from the end.
    let base = match (name, rest.starts_with('-')) {
        ("", _) if rest.is_empty() => bail!(wrong()),
        ("", true) => "end",
        ("", false) => "start",
        (name, _) => name,
    };
    if !BASES.contains(&base) {
        bail!(wrong());
    }
    let Some(length) = rest.get(1..) else { return Ok(Relative { base, by: 0 }) };
    let by = i64::try_from(duration(length).with_context(wrong)?.as_nanos()).ok().with_context(wrong)?;
    Ok(Relative { base, by: if rest.starts_with('-') { -by } else { by } })
}

impl Relative<'_> {
    /// On the clock of the run's windows, ns.
    ///
    /// # Errors
    /// A run without such a phase.
    pub fn within(self, run: &Run) -> anyhow::Result<i64> {
        let windows = &run.windows;
        let missing = || format!("{} has no {}", run.name, self.base);
        let begun = |window: &Option<Window>| window.as_ref().map(|window| window.start).with_context(missing);
        let own =
            || run.bundle.manifest.sources.iter().filter(|one| one.clock.as_deref() == Some(windows.clock.as_str()));
        let base = match self.base {
            "start" => {
                let first = || own().filter_map(|one| one.first).min();
                windows.baseline.as_ref().map(|window| window.start).or_else(first).with_context(missing)?
            }
            "baseline" => begun(&windows.baseline)?,
            "action" => begun(&windows.action)?,
            "tail" => begun(&windows.tail)?,
            _ => {
                let all = [&windows.tail, &windows.action, &windows.baseline];
                let last = all.into_iter().flatten().map(|one| one.end).max();
                last.or_else(|| own().filter_map(|one| one.last).max()).with_context(missing)?
            }
        };
        Ok(base.saturating_add(self.by))
    }
}

/// A moment on the clock of the run's windows, ns, however it is written.
///
/// # Errors
/// A text that is none, or a run without such a phase.
pub fn moment(text: &str, run: &Run) -> anyhow::Result<i64> {
    // A sign ahead of a number of seconds is an offset here.
    match absolute(text).filter(|_| !text.trim().starts_with(['+', '-'])) {
        Some(at) => Ok(at),
        None => relative(text)?.within(run),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::fixture;

    #[test]
    fn durations_are_those_of_prometheus() {
        assert_eq!(duration("1m30s").expect("valid"), Duration::from_secs(90));
        assert_eq!(duration("250ms").expect("valid"), Duration::from_millis(250));
        assert_eq!(duration("0.5").expect("valid"), Duration::from_millis(500));
        for wrong in ["", "m", "1s1m", "1x", "-5s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn moments_are_absolute_or_count_from_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = fixture::run(folder.path(), "cilium", |_| ());
        let window = |start, end| Some(Window { start, end, slack: 0 });
        run.windows.baseline = window(1_000_000_000, 5_000_000_000);
        run.windows.action = window(5_000_000_000, 9_000_000_000);
        let check = |text: &str, expected: Option<i64>| assert_eq!(moment(text, &run).ok(), expected, "{text}");
        check("1970-01-01T00:00:02.5Z", Some(2_500_000_000));
        check("2.5", Some(2_500_000_000));
        check("start", Some(1_000_000_000));
        check("+1m30s", Some(91_000_000_000));
        check("-5s", Some(4_000_000_000));
        check("-2", Some(7_000_000_000));
        check("action-500ms", Some(4_500_000_000));
        check("action+2", Some(7_000_000_000));
        check("end", Some(9_000_000_000));
        check("tail", None);
        check("yesterday", None);
        check("action+soon", None);
        check("", None);
        check("+", None);
    }
}
