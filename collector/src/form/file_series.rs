//! Files of one series: one state a file, or one stretch of a recording a file.
//!
//! ```text
//! nat/1795407710.648.txt, nat/1795407710.794.txt      the time is in the name: one series, in the order of those times
//! snap-1.txt, snap-2.txt, snap-3.txt                  numbered: a series if their contents say when each was taken
//! iptables-worker1.txt, iptables-worker2.txt          two machines, whatever their contents say
//! before.txt, after.txt                               two files
//! ```
//!
//! A number alone is no time: without one that somebody stated each file stands for itself. Modification times say nothing, since
//! copying changes them.

use super::instant;

/// Words for machines: a number behind one names a machine.
const MACHINES: [&str; 16] = [
    "node",
    "worker",
    "master",
    "host",
    "server",
    "cp",
    "control-plane",
    "controlplane",
    "controller",
    "vm",
    "machine",
    "minion",
    "agent",
    "cluster",
    "ip",
    "pod",
];

/// Which series a file is of, and its place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSeries {
    /// Folder and name without the time or the number.
    pub stem: String,
    /// The number; null for a time.
    pub number: Option<i64>,
}

/// The series that a file's name speaks of; null for a name without a time and a number.
pub fn of(path: &str) -> Option<FileSeries> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    if let Some((_, _, place)) = instant::time_in_name(path) {
        let stem = format!("{folder}/{}*{}", &name[..place.start], &name[place.end..]);
        return Some(FileSeries { stem, number: None });
    }
    // `snap-17.txt`, `out.17`.
    let (bare, ending) = name.split_once('.').unwrap_or((name, ""));
    let in_ending = !ending.is_empty() && ending.bytes().all(|byte| byte.is_ascii_digit());
    if !in_ending && ending.starts_with(|first: char| first.is_ascii_digit()) {
        // `v1.2.txt`
        return None;
    }
    let (text, rest) = if in_ending { (name, "") } else { (bare, ending) };
    let head = text.trim_end_matches(|last: char| last.is_ascii_digit());
    let number = text[head.len()..].parse().ok()?;
    let word = head.trim_end_matches(['-', '_', '.', ' ']);
    let is_machine = MACHINES.iter().any(|machine| word.to_ascii_lowercase().ends_with(machine));
    // An address or a version ends in a number too.
    let is_address = word.ends_with(|last: char| last.is_ascii_digit());
    (!is_machine && !is_address).then(|| FileSeries { stem: format!("{folder}/{head}*.{rest}"), number: Some(number) })
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn times_and_numbers_make_series_but_machines_do_not() {
        let stem = |path: &str| of(path).map(|found| (found.stem, found.number));
        assert_eq!(stem("nat/1795407710.648.txt"), Some(("nat/*.txt".to_owned(), None)));
        assert_eq!(stem("nat/w1-1795407710.txt"), Some(("nat/w1-*.txt".to_owned(), None)));
        assert_eq!(stem("nat/snap-17.txt"), Some(("nat/snap-*.txt".to_owned(), Some(17))));
        assert_eq!(stem("nat/out.17"), Some(("nat/out.*.".to_owned(), Some(17))));
        for path in ["iptables-worker1.txt", "node-a/node-2.txt", "ip-10-0-0-1.txt", "before.txt", "v1.2.txt", "cp1"] {
            assert_eq!(of(path), None, "{path}");
        }
    }
}
