//! A moment on the clocks of this machine.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::form::instant::SECOND;

/// Realtime and boottime, read right behind each other. Both are needed: realtime may step, boottime relates to nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// CLOCK_REALTIME, ns since the epoch.
    pub realtime: i64,
    /// CLOCK_BOOTTIME, ns since the boot.
    pub boottime: i64,
}

impl Moment {
    /// Now.
    pub fn now() -> Self {
        Self { realtime: read(ClockId::Realtime), boottime: read(ClockId::Boottime) }
    }
}

/// One clock, ns.
pub fn read(clock: ClockId) -> i64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(clock);
    tv_sec.saturating_mul(SECOND).saturating_add(tv_nsec)
}

/// ns as seconds with nine digits behind the point, as all files of a recording have them.
pub fn seconds(time: i64) -> String {
    format!("{}.{:09}", time.div_euclid(SECOND), time.rem_euclid(SECOND))
}

/// A duration for people.
pub fn words(duration: Duration) -> String {
    match duration.as_secs_f64() {
        seconds if seconds < 0.001 => format!("{:.0} µs", seconds * 1e6),
        seconds if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        seconds if seconds < 120.0 => format!("{seconds:.1} s"),
        seconds => format!("{:.0} min", seconds / 60.0),
    }
}
