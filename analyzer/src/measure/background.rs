//! What fails without any action: the baseline's failures by kind, and how many of them an action's length explains.

use std::collections::BTreeMap;

use super::requests::{self, Failure};
use crate::events::{Phase, Run};
use crate::math::exact;

/// A kind whose number in the action the baseline's rate explains with at least this probability is background.
const LEVEL: f64 = 0.05;

/// Failures of the baseline by kind, and its length.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Background {
    kinds: BTreeMap<&'static str, u64>,
    seconds: f64,
}

/// Number of background failures expected in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Expected {
    pub value: f64,
    /// Upper end of the exact 95 % interval (Garwood) of the baseline's count, for the window's length.
    pub high: f64,
}

impl Background {
    /// The baseline's; `None` where no request was sent in it, so that nothing is known of what fails by itself.
    pub fn of(run: &Run, clock: &str) -> Option<Self> {
        let window = run.window(Phase::Baseline, clock)?;
        let sent = ["new", "keepalive"].into_iter().any(|kind| {
            requests::within(run, clock, window.start, window.end, kind)
                .and_then(|scan| scan.limit(1).collect().ok())
                .is_some_and(|frame| frame.height() > 0)
        });
        if !sent || window.seconds() <= 0.0 {
            return None;
        }
        let mut kinds = BTreeMap::new();
        for failure in requests::failures(run, clock, window.start, window.end) {
            *kinds.entry(kind(&failure)).or_default() += 1;
        }
        Some(Background { kinds, seconds: window.seconds() })
    }

    /// Whether `seen` failures of a kind in `seconds` are more than the baseline's rate explains: given the sum of both, each is
    /// in the action with the probability of its share of the time (the exact test of two Poisson rates).
    pub fn exceeded(&self, kind: &str, seen: u64, seconds: f64) -> bool {
        let quiet = self.kinds.get(kind).copied().unwrap_or(0);
        if seen == 0 || quiet == 0 {
            return seen > 0;
        }
        let share = seconds / (seconds + self.seconds);
        1.0 - exact::binomial_cdf(seen - 1, seen + quiet, share) < LEVEL
    }

    /// Expected in `seconds`, of some kinds. None in the baseline says that there is no background.
    pub fn expected(&self, kinds: &[&'static str], seconds: f64) -> Expected {
        let count: u64 = self.kinds.iter().filter(|(kind, _)| kinds.contains(kind)).map(|(_, n)| n).sum();
        if count == 0 {
            return Expected::default();
        }
        let scale = seconds / self.seconds;
        Expected { value: count as f64 * scale, high: exact::poisson(count, 0.95).1 * scale }
    }

    /// `12 time-out in 32 s`; empty where nothing failed.
    pub fn words(&self) -> String {
        let each: Vec<String> = self.kinds.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
        if each.is_empty() { String::new() } else { format!("{} in {:.0} s", each.join(", "), self.seconds) }
    }
}

/// Kind of a failure.
pub fn kind(failure: &Failure) -> &'static str {
    requests::kind_of(failure.error.as_deref(), failure.status)
}

#[cfg(test)]
mod tests {
    use super::Background;

    #[test]
    fn a_rate_explains_what_it_gives() {
        let quiet = Background { kinds: [("time-out", 6)].into(), seconds: 30.0 };
        assert!(!quiet.exceeded("time-out", 8, 30.0), "8 against 6");
        assert!(quiet.exceeded("time-out", 40, 30.0));
        assert!(quiet.exceeded("refused", 1, 30.0), "the baseline has none");
        assert!(!quiet.exceeded("refused", 0, 30.0));
        let expected = quiet.expected(&["time-out", "refused"], 60.0);
        assert!((expected.value - 12.0).abs() < 1e-9 && expected.high > 24.0 && expected.high < 28.0, "{expected:?}");
        assert_eq!(quiet.expected(&["refused"], 60.0).high, 0.0);
        assert_eq!(quiet.words(), "6 time-out in 30 s");
    }
}
