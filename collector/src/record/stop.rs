//! What ends a source, and in which phase of the recording it is.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Where the recording stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Sources begin.
    Preparing,
    /// Ahead of the action.
    Baseline,
    /// The action was sent and has not returned.
    Action,
    /// Until the rollout is complete and the dataplane quiet.
    Settling,
    /// Behind that.
    Tail,
}

impl Phase {
    /// The word in markers and summaries.
    pub fn word(self) -> &'static str {
        match self {
            Phase::Preparing => "preparing",
            Phase::Baseline => "baseline",
            Phase::Action => "action",
            Phase::Settling => "settling",
            Phase::Tail => "tail",
        }
    }
}

#[derive(Debug)]
struct State {
    stopped: bool,
    phase: Phase,
    near: bool,
    /// Those that end with this one.
    children: Vec<Stop>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// Shared by all threads of a recording.
#[derive(Clone, Debug)]
pub struct Stop(Arc<Shared>);

impl Default for Stop {
    fn default() -> Self {
        let state = Mutex::new(State { stopped: false, phase: Phase::Preparing, near: false, children: Vec::new() });
        Self(Arc::new(Shared { state, changed: Condvar::new() }))
    }
}

impl Stop {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the recording is to end.
    pub fn is_set(&self) -> bool {
        self.state().stopped
    }

    /// Ends the recording: every sleep returns at once.
    pub fn set(&self) {
        let children = {
            let mut state = self.state();
            state.stopped = true;
            std::mem::take(&mut state.children)
        };
        self.0.changed.notify_all();
        children.iter().for_each(Stop::set);
    }

    /// One of its own for a part of the work, which ends with this one too.
    pub fn child(&self) -> Self {
        let child = Self::default();
        let mut state = self.state();
        if state.stopped {
            child.set();
        } else {
            state.children.push(child.clone());
        }
        child
    }

    /// Says that the action is near.
    pub fn approach(&self) {
        self.state().near = true;
    }

    /// Whether the action is near, or has begun: what costs the cluster something begins now, not with the baseline.
    pub fn is_near(&self) -> bool {
        self.state().near
    }

    /// The phase.
    pub fn phase(&self) -> Phase {
        self.state().phase
    }

    /// Says that a phase begins. Sleeps go on.
    pub fn enter(&self, phase: Phase) {
        self.state().phase = phase;
    }

    /// Sleeps until a moment. True where it has come, false where the recording ended first: `while stop.sleep_until(next) { … }`.
    pub fn sleep_until(&self, moment: Instant) -> bool {
        let mut state = self.state();
        loop {
            if state.stopped {
                return false;
            }
            let left = moment.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            state = self.0.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Sleeps for a while. False where the recording ended first.
    pub fn sleep(&self, duration: Duration) -> bool {
        self.sleep_until(Instant::now() + duration)
    }

    /// The next of a row of absolute deadlines: waits for `next` and moves it on by `every`, past those that were missed, so that
    /// a late reading does not shift all that follow. False where the recording ended.
    pub fn beat(&self, next: &mut Instant, every: Duration) -> bool {
        if !self.sleep_until(*next) {
            return false;
        }
        let every = every.max(Duration::from_millis(1));
        let missed = (Instant::now() - *next).as_nanos() / every.as_nanos();
        *next += every.saturating_mul(u32::try_from(missed).unwrap_or(u32::MAX).saturating_add(1));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{Phase, Stop};
    use std::time::{Duration, Instant};

    #[test]
    fn a_sleeper_wakes_when_the_recording_ends() {
        let stop = Stop::default();
        let sleeper = {
            let stop = stop.clone();
            std::thread::spawn(move || stop.sleep(Duration::from_secs(3600)))
        };
        stop.set();
        assert!(!sleeper.join().expect("the sleeper"));
        assert!(!stop.sleep(Duration::ZERO));
    }

    #[test]
    fn deadlines_are_absolute_and_missed_ones_are_skipped() {
        let stop = Stop::default();
        let begun = Instant::now();
        let every = Duration::from_secs(1000);
        let mut next = begun;
        assert!(stop.beat(&mut next, every));
        assert_eq!(next, begun + every);
        // Far behind: the next one lies ahead of now, and on the same grid.
        let Some(long_ago) = begun.checked_sub(Duration::from_millis(2500)) else { return };
        let mut next = long_ago;
        assert!(stop.beat(&mut next, Duration::from_millis(500)));
        assert!(next > Instant::now() - Duration::from_millis(500));
        assert_eq!((next - long_ago).as_millis() % 500, 0);
    }

    #[test]
    fn a_part_ends_with_the_whole_and_not_the_other_way() {
        let whole = Stop::default();
        let (first, second) = (whole.child(), whole.child());
        first.set();
        assert!(!whole.is_set() && !second.is_set());
        whole.set();
        assert!(second.is_set() && whole.child().is_set());
    }

    #[test]
    fn a_phase_is_seen_by_all() {
        let stop = Stop::default();
        let other = stop.clone();
        assert_eq!(other.phase(), Phase::Preparing);
        stop.enter(Phase::Tail);
        assert_eq!(other.phase(), Phase::Tail);
    }
}
