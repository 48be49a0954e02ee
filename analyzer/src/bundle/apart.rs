//! Names of files: what tells several from each other, and which are looks at one thing.

/// Words that number the looks at one thing, in the name of a file or of its folder.
const LOOKS: [&str; 22] = [
    "before", "after", "pre", "post", "start", "end", "begin", "first", "second", "third", "last", "baseline",
    "during", "action", "tail", "initial", "final", "old", "new", "early", "late", "mid",
];
/// Words whose number names a machine, a copy or a run: `node-1` and `node-2` are two things.
const MACHINES: [&str; 15] = [
    "node",
    "worker",
    "host",
    "master",
    "controlplane",
    "plane",
    "machine",
    "vm",
    "server",
    "ip",
    "pod",
    "instance",
    "agent",
    "member",
    "rack",
];

/// What stays of each path when the parts that all have in common at both ends are taken off: `node-a` and `node-b` of
/// `run/node-a/versions.txt` and `run/node-b/versions.txt`.
pub fn labels(paths: &[&str]) -> Vec<String> {
    let split: Vec<Vec<&str>> = paths.iter().map(|path| path.split('/').collect()).collect();
    let Some(first) = split.first() else { return Vec::new() };
    let shortest = split.iter().map(Vec::len).min().unwrap_or(0);
    let same = |at: &dyn Fn(&[&str]) -> Option<String>| split.iter().all(|path| at(path) == at(first));
    let mut ahead = 0;
    while ahead < shortest && same(&|path| path.get(ahead).map(|part| (*part).to_owned())) {
        ahead += 1;
    }
    let mut behind = 0;
    while behind < shortest - ahead
        && same(&|path| path.len().checked_sub(behind + 1).and_then(|at| path.get(at)).map(|part| (*part).to_owned()))
    {
        behind += 1;
    }
    let rest = |path: &Vec<&str>| path.get(ahead..path.len() - behind).unwrap_or_default().join("/");
    split
        .iter()
        .zip(paths)
        .map(|(path, whole)| Some(rest(path)).filter(|rest| !rest.is_empty()).unwrap_or_else(|| (*whole).to_owned()))
        .collect()
}

/// The path without what only numbers the looks at a thing: times, counters and words like `before`. Equal answers: looks
/// at one thing. Of the folders only those whose whole name numbers a look are left out (`before/`, `1700000100/`): `node-1/` is a
/// machine.
///
/// ```text
/// 1700000100.prom             .prom
/// before/kube-proxy-1.prom    kube-proxy.prom
/// kube-proxy.prom             kube-proxy.prom
/// node-2/kube-proxy.prom      node-2/kube-proxy.prom
/// ```
pub fn thing(path: &str) -> String {
    let path = path.strip_suffix(".gz").or_else(|| path.strip_suffix(".zst")).unwrap_or(path);
    let mut parts: Vec<&str> = path.split('/').collect();
    let name = without_marks(&mask(parts.pop().unwrap_or_default()));
    parts.retain(|folder| mask(folder).chars().any(char::is_alphanumeric));
    let folders: String = parts.iter().map(|folder| format!("{folder}/")).collect();
    folders + &name
}

/// A masked name without its marks and what joins them to the rest.
fn without_marks(name: &str) -> String {
    let mut out = String::new();
    for (at, part) in name.split('#').enumerate() {
        let part = if at > 0 { part.trim_start_matches([')', ']']) } else { part };
        let part = if out.is_empty() && at > 0 { part.trim_start_matches(['-', '_', ' ']) } else { part };
        out.push_str(part);
        if at < name.matches('#').count() {
            out.truncate(out.trim_end_matches(|letter: char| !letter.is_alphanumeric()).len());
        }
    }
    out
}

/// A name with `#` for each number and each word that numbers looks; marks between two such are dropped.
fn mask(name: &str) -> String {
    let mut out = String::new();
    let mut before = String::new();
    let mut rest = name;
    while let Some(letter) = rest.chars().next() {
        let word = |keep: fn(char) -> bool| rest.find(|letter| !keep(letter)).unwrap_or(rest.len());
        if is_address(rest) {
            let length = word(|letter| letter.is_ascii_digit() || letter == '.');
            out.push_str(&rest[..length]);
            rest = &rest[length..];
        } else if letter.is_ascii_digit() {
            let length = word(|letter| letter.is_ascii_digit());
            // The T of 20261123T0442.
            let machine = MACHINES.contains(&before.as_str()) && length < 8;
            if machine {
                out.push_str(&rest[..length])
            } else {
                mark(&mut out)
            }
            rest = &rest[length..];
        } else if letter.is_alphabetic() {
            let length = word(char::is_alphabetic);
            before = rest[..length].to_lowercase();
            let time = ["t", "z", "utc"].contains(&before.as_str()) && out.ends_with(['#', '-', '_', ':', '.']);
            if LOOKS.contains(&before.as_str()) || (time && out.contains('#')) {
                mark(&mut out);
            } else {
                out.push_str(&rest[..length]);
            }
            rest = &rest[length..];
        } else {
            out.push(letter);
            rest = &rest[letter.len_utf8()..];
        }
    }
    out
}

/// Puts a `#`, once for several numbers in a row (`2026-11-23T04:42:11.5`).
fn mark(out: &mut String) {
    let end = out.trim_end_matches(|letter: char| !letter.is_alphanumeric() && letter != '#').len();
    if out[..end].ends_with('#') {
        out.truncate(end);
    } else {
        out.push('#');
    }
}

/// Whether a text begins with an IPv4 address, also as in `ip-10-0-0-1`.
fn is_address(text: &str) -> bool {
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let parts: Vec<&str> = text[..end].trim_end_matches('.').split('.').collect();
    parts.len() == 4 && parts.iter().all(|part| part.parse::<u8>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_looks_are_told_from_names_of_things() {
        let same = |paths: &[&str]| {
            let things: Vec<String> = paths.iter().map(|path| thing(path)).collect();
            things.windows(2).all(|pair| pair[0] == pair[1])
        };
        for looks in [
            &["1700000100.prom", "1700000115.250.prom"][..],
            &["before/kube-proxy.prom", "after/kube-proxy.prom"],
            &["kube-proxy-before.prom", "kube-proxy-after.prom.gz"],
            &["m/metrics-1.prom", "m/metrics-12.prom"],
            &["1700000100/page", "1700000200/page"],
            &["2026-11-23T04:42:11Z.prom", "2026-11-23T05:00:00Z.prom"],
            &["kube-proxy.stream.1", "kube-proxy.stream.2"],
            &["kube-proxy.prom", "kube-proxy (1).prom", "kube-proxy-after.prom", "2-kube-proxy.prom"],
        ] {
            assert!(same(looks), "{looks:?}");
        }
        for things in [
            &["node-a/kube-proxy.metrics", "node-b/kube-proxy.metrics"][..],
            &["node-1/kube-proxy.metrics", "node-2/kube-proxy.metrics"],
            &["kube-proxy.prom", "agent.prom"],
            &["worker1.prom", "worker2.prom"],
            &["10.0.0.1.prom", "10.0.0.2.prom"],
            &["kube-proxy-abcde.prom", "kube-proxy-fghij.prom"],
        ] {
            assert!(!same(things), "{things:?}");
        }
    }

    #[test]
    fn labels_are_what_paths_do_not_share() {
        assert_eq!(labels(&["r/node-a/v.txt", "r/node-b/v.txt"]), ["node-a", "node-b"]);
        assert_eq!(labels(&["k6-after.txt", "k6-before.txt"]), ["k6-after.txt", "k6-before.txt"]);
        assert_eq!(labels(&["a/x", "a/b/x"]), ["a/x", "b"]);
        assert_eq!(labels(&["same", "same"]), ["same", "same"]);
    }
}
