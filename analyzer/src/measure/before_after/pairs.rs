//! Which sources are readings of one thing at different moments: by their names, or by times that somebody stated.
//!
//! | names | what orders them |
//! |---|---|
//! | `x-before`, `x-after`; `pre`/`post`, `start`/`end`, `old`/`new`, …; also as a folder or glued to another word | the stated times, else the word |
//! | `x-1`, `x-2`; `t0`, `t1` | the stated times, else the number |
//! | one stem, digits that differ (`1795686076.prom`) | the stated times alone |
//!
//! A number behind a word for a machine (`worker1`, `node-2`) tells two places apart, not two moments.

use std::collections::BTreeMap;

/// Words for a moment, with their order.
const WORDS: [(&str, u64); 26] = [
    ("before", 0),
    ("pre", 0),
    ("start", 0),
    ("begin", 0),
    ("initial", 0),
    ("old", 0),
    ("prior", 0),
    ("earlier", 0),
    ("baseline", 0),
    ("first", 0),
    ("during", 1),
    ("mid", 1),
    ("middle", 1),
    ("while", 1),
    ("meanwhile", 1),
    ("after", 2),
    ("post", 2),
    ("end", 2),
    ("final", 2),
    ("new", 2),
    ("later", 2),
    ("finish", 2),
    ("finished", 2),
    ("last", 2),
    ("second", 2),
    ("done", 2),
];

/// Words that no other word begins or ends with by chance: they are found glued to others too (`metricsBefore`).
const GLUED: [(&str, u64); 2] = [("before", 0), ("after", 2)];

/// Words for a place: a number behind one is no moment.
const PLACES: [&str; 24] = [
    "node", "worker", "host", "ip", "pod", "master", "control", "plane", "cp", "agent", "proxy", "zone", "az",
    "region", "cluster", "vm", "instance", "server", "replica", "shard", "machine", "cilium", "cpu", "eth",
];

/// A source that may be one reading of several.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub source: i32,
    pub path: String,
    pub kind: String,
    /// Whether somebody stated when it was read.
    pub stated: bool,
}

/// What orders the members of a group where they have no stated times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Word,
    Number,
    /// Nothing: only stated times.
    Time,
}

/// Sources of one thing, each with its place in the order.
#[derive(Clone, Debug)]
pub struct Group {
    pub by: By,
    pub members: Vec<(u64, i32)>,
}

/// Groups of two or more sources of one kind, in the order of their first member.
pub fn groups(candidates: &[Candidate]) -> Vec<Group> {
    let mut found: Vec<Group> = Vec::new();
    let mut left: Vec<&Candidate> = candidates.iter().collect();
    for (by, rule) in [(By::Word, word as Rule), (By::Number, number), (By::Time, digits)] {
        let mut named: BTreeMap<(&str, String), Vec<(u64, i32)>> = BTreeMap::new();
        for one in left.iter().filter(|one| by != By::Time || one.stated) {
            if let Some((key, rank)) = rule(&one.path) {
                named.entry((&one.kind, key)).or_default().push((rank, one.source));
            }
        }
        for members in named.into_values() {
            let ranks: std::collections::BTreeSet<u64> = members.iter().map(|(rank, _)| *rank).collect();
            if members.len() < 2 || (by != By::Time && ranks.len() != members.len()) {
                continue;
            }
            found.push(Group { by, members });
        }
        let taken = |source: i32| found.iter().any(|group| group.members.iter().any(|(_, one)| *one == source));
        left.retain(|one| !taken(one.source));
    }
    for group in &mut found {
        group.members.sort_unstable();
    }
    found.sort_by_key(|group| group.members.iter().map(|(_, source)| *source).min());
    found
}

/// What is common to the names of a group, and the place of one name in its order.
type Rule = fn(&str) -> Option<(String, u64)>;

/// Tokens of a path: letters and digits, with where they stand.
fn tokens(path: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut from = None;
    for (at, letter) in path.char_indices().chain([(path.len(), '/')]) {
        match (letter.is_alphanumeric(), from) {
            (true, None) => from = Some(at),
            (false, Some(start)) => {
                found.push((start, &path[start..at]));
                from = None;
            }
            _ => {}
        }
    }
    found
}

fn without(path: &str, from: usize, length: usize) -> String {
    format!("{}*{}", &path[..from], &path[from + length..])
}

fn word(path: &str) -> Option<(String, u64)> {
    let path = path.to_lowercase();
    let all = tokens(&path);
    let whole = all.iter().rev().find_map(|(at, token)| {
        let (_, rank) = WORDS.iter().find(|(word, _)| word == token)?;
        Some((without(&path, *at, token.len()), *rank))
    });
    whole.or_else(|| {
        all.iter().rev().find_map(|(at, token)| {
            GLUED.iter().find_map(|(word, rank)| {
                let inside = match (token.starts_with(word), token.ends_with(word)) {
                    (true, _) => 0,
                    (false, true) => token.len() - word.len(),
                    _ => return None,
                };
                Some((without(&path, at + inside, word.len()), *rank))
            })
        })
    })
}

/// `metrics-1.txt`, `metrics2.txt`, `t0.prom`: a short number at the end of the file's stem.
fn number(path: &str) -> Option<(String, u64)> {
    let path = path.to_lowercase();
    let name = path.rfind('/').map_or(0, |at| at + 1);
    let stem = path[name..].find('.').map_or(path.len(), |at| name + at);
    let digits = path[name..stem].len() - path[name..stem].trim_end_matches(|c: char| c.is_ascii_digit()).len();
    if !(1..=3).contains(&digits) {
        return None;
    }
    let from = stem - digits;
    let ahead = path[name..from].trim_end_matches(['-', '_', ' ', '.']);
    let last = ahead.rsplit(|c: char| !c.is_alphabetic()).next().unwrap_or_default();
    if PLACES.contains(&last) || ahead.ends_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    Some((without(&path, from, digits), path[from..stem].parse().ok()?))
}

/// Names that differ in digits only.
fn digits(path: &str) -> Option<(String, u64)> {
    let mut key = String::new();
    for letter in path.chars() {
        let letter = if letter.is_ascii_digit() { '#' } else { letter };
        if letter != '#' || !key.ends_with('#') {
            key.push(letter);
        }
    }
    Some((key, 0))
}

#[cfg(test)]
mod tests {
    use super::{By, Candidate, groups};

    fn check(paths: &[&str], stated: bool, expected: &[(By, &[&str])]) {
        let candidates: Vec<Candidate> = paths
            .iter()
            .enumerate()
            .map(|(at, path)| Candidate {
                source: i32::try_from(at).unwrap(),
                path: (*path).to_owned(),
                kind: "k".to_owned(),
                stated,
            })
            .collect();
        let found: Vec<(By, Vec<&str>)> = groups(&candidates)
            .into_iter()
            .map(|group| {
                let name = |(_, source): &(u64, i32)| paths[usize::try_from(*source).unwrap()];
                (group.by, group.members.iter().map(name).collect())
            })
            .collect();
        let expected: Vec<(By, Vec<&str>)> = expected.iter().map(|(by, names)| (*by, names.to_vec())).collect();
        assert_eq!(found, expected, "{paths:?}");
    }

    #[test]
    fn words_order_whatever_the_files_are_called() {
        check(&["m-after.txt", "m-before.txt"], false, &[(By::Word, &["m-before.txt", "m-after.txt"])]);
        check(&["post/cilium.prom", "pre/cilium.prom"], false, &[(By::Word, &["pre/cilium.prom", "post/cilium.prom"])]);
        check(
            &["metricsAfter.txt", "metricsBefore.txt"],
            false,
            &[(By::Word, &["metricsBefore.txt", "metricsAfter.txt"])],
        );
        check(&["a_end.json", "a_start.json", "b_end.json"], false, &[(By::Word, &["a_start.json", "a_end.json"])]);
        check(
            &["x.before.txt", "x.during.txt", "x.after.txt"],
            false,
            &[(By::Word, &["x.before.txt", "x.during.txt", "x.after.txt"])],
        );
        check(&["sum_before.json", "count_after.json"], false, &[]);
    }

    #[test]
    fn numbers_order_moments_but_never_places() {
        check(&["m-2.txt", "m-1.txt"], false, &[(By::Number, &["m-1.txt", "m-2.txt"])]);
        check(&["t1.prom", "t0.prom"], false, &[(By::Number, &["t0.prom", "t1.prom"])]);
        check(&["iptables-worker1.txt", "iptables-worker2.txt"], false, &[]);
        check(&["node-1.prom", "node-2.prom"], false, &[]);
        check(&["10.0.0.1.prom", "10.0.0.2.prom"], false, &[]);
    }

    #[test]
    fn stated_times_order_what_names_do_not() {
        let names = ["1795686076.prom", "1795686136.prom"];
        check(&names, true, &[(By::Time, &names)]);
        check(&names, false, &[]);
    }
}
