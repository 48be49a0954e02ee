//! What `/proc` says of processes and processors.

use std::path::Path;

use crate::form::instant::SECOND;

/// Times that `/proc/stat` counts for each processor, in its order.
pub const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];

/// Of `/proc/PID/stat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    pub comm: String,
    pub parent: u32,
    /// CPU time, ticks: its own, and that of children that it has waited for.
    pub own: u64,
    pub children: u64,
    /// Start, ticks since the boot: with the pid it tells one process from another.
    pub start: u64,
    /// Resident pages.
    pub pages: u64,
}

/// Takes `/proc/PID/stat` apart: a command may hold blanks and brackets.
pub fn stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.split_once('(')?;
    let (comm, rest) = rest.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // The first one is the state, field 3 of proc(5).
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Stat {
        comm: comm.to_owned(),
        parent: u32::try_from(field(4)?).ok()?,
        own: field(14)?.checked_add(field(15)?)?,
        children: field(16)?.checked_add(field(17)?)?,
        start: field(22)?,
        pages: field(24)?,
    })
}

/// That of a process; null where it is gone.
pub fn stat_of(proc: &Path, pid: u32) -> Option<Stat> {
    let text = std::fs::read(proc.join(pid.to_string()).join("stat")).ok()?;
    stat(&String::from_utf8_lossy(&text))
}

/// Processors of `/proc/stat`: number and ticks in each of [`MODES`].
pub fn processors(text: &str) -> Vec<(u32, [u64; 8])> {
    let of = |line: &str| {
        let mut words = line.strip_prefix("cpu")?.split_ascii_whitespace();
        let number = words.next()?.parse().ok()?;
        let mut ticks = [0; 8];
        for slot in &mut ticks {
            // Kernels ahead of 2.6.11 have no `steal`.
            *slot = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        }
        // The line of all processors together has a blank behind `cpu`.
        line.as_bytes().get(3).is_some_and(u8::is_ascii_digit).then_some((number, ticks))
    };
    text.lines().filter_map(of).collect()
}

/// A line of `/proc/meminfo`, bytes.
pub fn memory(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_ascii_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Pids, from the folders of `/proc`.
pub fn pids(proc: &Path) -> std::io::Result<Vec<u32>> {
    let entries = std::fs::read_dir(proc)?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

/// Length of a tick, ns. It is 10 ms on nearly every kernel.
pub fn tick() -> u64 {
    SECOND as u64 / rustix::param::clock_ticks_per_second().max(1)
}

#[cfg(test)]
mod tests {
    use super::{memory, processors, stat};

    #[test]
    fn a_command_may_hold_anything() {
        let text = "812 (kube) (proxy) S 1 812 812 0 -1 4194560 9 8 7 6 150 25 40 2 20 0 12 0 3456 730000000 9100 18446744073709551615 1";
        let found = stat(text).expect("a process");
        assert_eq!((found.comm.as_str(), found.parent, found.own, found.children), ("kube) (proxy", 1, 175, 42));
        assert_eq!((found.start, found.pages), (3456, 9100));
        for cut in 0..text.len() - 30 {
            let _ = stat(&text[..cut]);
        }
        assert_eq!(stat("812 (x) S 1"), None);
    }

    #[test]
    fn processors_and_memory_are_read() {
        let text = "cpu  3 0 3 30 0 0 0 0 0 0\ncpu0 1 0 2 10 5 0 6 7 0 0\ncpu11 2 0 1 20\nintr 5\n";
        assert_eq!(processors(text), [(0, [1, 0, 2, 10, 5, 0, 6, 7]), (11, [2, 0, 1, 20, 0, 0, 0, 0])]);
        assert_eq!(memory("MemTotal:       24 kB\nMemAvailable:    7 kB\n", "MemAvailable"), Some(7168));
        assert_eq!(memory("MemTotal: many", "MemTotal"), None);
    }
}
