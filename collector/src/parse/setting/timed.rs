//! What shells and programs print for `time COMMAND`.
//!
//! ```text
//! real    0m0.149s                                     bash (a tab between)
//! real 0.15                                            time -p, dash
//! 0.11user 0.03system 0:00.15elapsed 94%CPU …          GNU time
//! kubectl scale …  0.11s user 0.03s system 94% cpu 0.149 total    zsh
//! Executed in  149.00 millis    fish           external           fish
//! ```

use crate::form::instant::SECOND;

/// A duration as it was printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duration {
    /// ns.
    pub time: i64,
    /// What its last digit stands for, ns: it lies within this on either side.
    pub resolution: i64,
}

impl Duration {
    /// `0.149 s to 0.001 s: COMMAND`, the value of the fact `command-duration`.
    pub fn told(&self, command: &str) -> String {
        let seconds = |time: i64| time as f64 / SECOND as f64;
        format!("{} s to {} s: {command}", seconds(self.time), seconds(self.resolution))
    }
}

/// The duration that a line of `time` states; null for any other line.
pub fn duration(line: &str) -> Option<Duration> {
    let line = line.trim();
    if let Some(rest) = line.strip_prefix("real").filter(|rest| rest.starts_with([' ', '\t'])) {
        return minutes(rest.trim());
    }
    if let Some((ahead, _)) = line.split_once("elapsed ").filter(|(ahead, _)| ahead.contains("system ")) {
        return clock(ahead.rsplit(' ').next()?);
    }
    if let Some(ahead) = line.strip_suffix(" total").filter(|ahead| ahead.contains("% cpu ")) {
        return clock(ahead.rsplit(' ').next()?);
    }
    if let Some(rest) = line.strip_prefix("Executed in ") {
        let mut words = rest.split_whitespace();
        let (number, unit) = (words.next()?, words.next()?);
        let unit = match unit {
            "secs" => SECOND,
            "millis" => 1_000_000,
            "micros" => 1_000,
            _ => return None,
        };
        return number_of(number, unit);
    }
    None
}

/// `0m0.149s`, `0.15`; some locales write a comma.
fn minutes(text: &str) -> Option<Duration> {
    let Some((minutes, rest)) = text.split_once('m') else { return number_of(text, SECOND) };
    later(number_of(rest.strip_suffix('s')?, SECOND)?, minutes, 60)
}

/// `0:00.15`, `1:02:03`, `0.149`.
fn clock(text: &str) -> Option<Duration> {
    let mut parts = text.rsplit(':');
    let mut found = number_of(parts.next()?, SECOND)?;
    for (part, unit) in parts.zip([60, 3_600]) {
        found = later(found, part, unit)?;
    }
    Some(found)
}

fn later(found: Duration, count: &str, seconds: i64) -> Option<Duration> {
    let count: i64 = count.parse().ok().filter(|count| (0..100_000).contains(count))?;
    Some(Duration { time: found.time + count * seconds * SECOND, ..found })
}

/// A decimal number of units (ns).
fn number_of(text: &str, unit: i64) -> Option<Duration> {
    let (whole, part) = text.split_once(['.', ',']).unwrap_or((text, ""));
    let digits = |text: &str| text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(part) {
        return None;
    }
    let resolution = (unit / 10_i64.pow(part.len() as u32)).max(1);
    let part: i64 = if part.is_empty() { 0 } else { part.parse().ok()? };
    let time = whole.parse::<i64>().ok()?.checked_mul(unit)?.checked_add(part.checked_mul(resolution)?)?;
    Some(Duration { time, resolution })
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn every_shell_is_read_to_its_last_digit() {
        for (line, expected) in [
            ("real\t0m0.149s", Some((149_000_000, 1_000_000))),
            ("real\t0m0,149s", Some((149_000_000, 1_000_000))),
            ("real    1m2.500s", Some((62_500_000_000, 1_000_000))),
            ("real 0.15", Some((150_000_000, 10_000_000))),
            (
                "0.11user 0.03system 0:00.15elapsed 94%CPU (0avgtext+0avgdata 5120maxresident)k",
                Some((150_000_000, 10_000_000)),
            ),
            (
                "kubectl scale deploy/a --replicas=4  0.11s user 0.03s system 94% cpu 0.149 total",
                Some((149_000_000, 1_000_000)),
            ),
            (
                "kubectl rollout status  0.11s user 0.03s system 0% cpu 1:02.10 total",
                Some((62_100_000_000, 10_000_000)),
            ),
            ("Executed in  149.00 millis    fish           external", Some((149_000_000, 10_000))),
            ("user\t0m0.110s", None),
            ("real estate", None),
            ("realtime 3", None),
            ("real", None),
            ("real 99999999999999999999", None),
            ("real 99999m99999s", Some((6_099_939_000_000_000, 1_000_000_000))),
        ] {
            assert_eq!(duration(line).map(|one| (one.time, one.resolution)), expected, "{line}");
        }
    }
}
