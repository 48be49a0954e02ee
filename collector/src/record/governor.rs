//! What the recorder itself costs, and how it keeps below `--max-cpu`.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use syncline_schema::loss;

use super::folder::Out;
use super::plan::Plan;
use super::stop::Stop;

/// How often the cost is looked at.
const EVERY: Duration = Duration::from_secs(2);
/// Slowest, in thousandths: what was asked ten times a second is looked at twice in three seconds.
const SLOWEST: u32 = 15_000;
/// Clock ticks to a second: the same on every architecture that Linux has today.
const TICKS: f64 = 100.0;

/// CPU of the recorder and of all tools that it ran and runs, seconds.
pub fn cpu() -> f64 {
    let mut ticks = ticks("/proc/self/stat");
    // A tool that goes on is counted with its parent only when it has ended.
    for thread in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        ticks += children.split_ascii_whitespace().map(|pid| self::ticks(&format!("/proc/{pid}/stat"))).sum::<f64>();
    }
    ticks / TICKS
}

/// Clock ticks of a process and of its children that have ended; 0 where it has ended itself.
fn ticks(stat: &str) -> f64 {
    let text = fs::read_to_string(stat).unwrap_or_default();
    // The name in brackets may hold anything.
    let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace();
    fields.skip(11).take(4).filter_map(|field| field.parse::<f64>().ok()).sum()
}

/// Largest resident memory of the recorder so far, bytes.
pub fn peak_memory() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// Lower priority for the recorder, of processor and disk: what is measured goes first.
pub fn be_gentle(plan: &Plan) {
    let _ = rustix::process::nice(5);
    // There is no safe call for the priority of the disk; the tool is part of every distribution.
    let pid = std::process::id().to_string();
    if let Ok(mut command) = plan.host.command("ionice", &["-c", "3", "-p", &pid]) {
        let _ = super::host::output(&mut command, Duration::from_secs(2));
    }
}

/// Looks at the cost until the recording ends, and slows the sources down where it is too much.
pub fn govern(plan: &Plan, share: f64, largest: &AtomicU64, out: &Out, stop: &Stop) {
    let mut next = Instant::now() + EVERY;
    let (mut before, mut at) = (cpu(), Instant::now());
    let mut over = false;
    while stop.beat(&mut next, EVERY) {
        let (now, then) = (cpu(), Instant::now());
        let used = (now - before).max(0.0) / (then - at).as_secs_f64().max(0.001);
        (before, at) = (now, then);
        largest.fetch_max((used * 1e6) as u64, Ordering::Relaxed);
        let slowness = plan.slowness.load(Ordering::Relaxed);
        // A tool that starts is no reason: it takes two stretches in a row.
        let before = std::mem::replace(&mut over, used > share);
        let next = if over && !before { slowness } else { slower(slowness, used, share) };
        if next != slowness {
            plan.slowness.store(next, Ordering::Relaxed);
        }
        if next > slowness {
            let what = format!(
                "the recorder took {:.1} % of a core, {:.1} % are allowed: its sources look {:.1} times as seldom as asked",
                used * 100.0,
                share * 100.0,
                f64::from(next) / 1000.0
            );
            out.lost(loss::RECORDER_SLOWED, 1, what);
        }
    }
}

/// The next slowness, in thousandths, where a share of a core was used.
fn slower(slowness: u32, used: f64, share: f64) -> u32 {
    let wanted = f64::from(slowness) * used / share;
    if used > share {
        (wanted * 1.1).min(f64::from(SLOWEST)) as u32
    } else if used < share * 0.6 && slowness > 1000 {
        // Back more slowly than down, so that it does not swing.
        ((f64::from(slowness) * 0.8).max(wanted)).max(1000.0) as u32
    } else {
        slowness
    }
}

#[cfg(test)]
mod tests {
    use super::{SLOWEST, cpu, peak_memory, slower, ticks};

    #[test]
    fn it_slows_down_and_comes_back() {
        assert_eq!(slower(1000, 0.1, 0.2), 1000);
        assert!(slower(1000, 0.4, 0.2) >= 2000);
        assert_eq!(slower(1000, 900.0, 0.2), SLOWEST);
        let mut slowness = SLOWEST;
        for _ in 0..30 {
            slowness = slower(slowness, 0.0, 0.2);
        }
        assert_eq!(slowness, 1000);
    }

    #[test]
    fn its_own_cost_is_read_with_that_of_a_tool_that_goes_on() {
        assert!(cpu() >= 0.0 && peak_memory() > 0);
        let mut busy =
            std::process::Command::new("/bin/sh").args(["-c", "while :; do :; done"]).spawn().expect("a shell");
        let stat = format!("/proc/{}/stat", busy.id());
        let until = std::time::Instant::now() + std::time::Duration::from_secs(120);
        while ticks(&stat) < 10.0 && std::time::Instant::now() < until {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let (with, own) = (cpu(), ticks("/proc/self/stat") / super::TICKS);
        let _ = busy.kill();
        let _ = busy.wait();
        assert!(with >= own + 0.05, "{with} of all, {own} without the tool");
    }
}
