//! Runs that are copies of each other: the same captures given twice are one run, never replicates.
//!
//! What counts is the content (the SHA-256 of each source), not names or paths. Only captures that something stamps count:
//! lists of versions and settings are the same in honest replicates too.
//!
//! | two runs | are |
//! |---|---|
//! | have the same captures | one run, given twice |
//! | share more than half of the captures and of their records, of the one that has fewer | one run: no replicates |
//! | share some captures (the audit log of a cluster, say) | two runs, and what rests on these is not independent |

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use syncline_schema::manifest::{Manifest, Source};

use super::in_parallel;
use crate::clock::{Evidence, Finding};

/// A run as far as it can be a copy of another one.
pub trait Captured {
    /// Where it lies, for readers.
    fn place(&self) -> String;
    /// What it was made of.
    fn manifest(&self) -> Cow<'_, Manifest>;
}

/// What runs are left, and what is to be said of them.
#[derive(Debug)]
pub struct Distinct<T> {
    /// In the order given.
    pub runs: Vec<T>,
    /// Place in `runs`, and what a reader must know of it.
    pub findings: Vec<(usize, Finding)>,
}

impl<T> Default for Distinct<T> {
    fn default() -> Self {
        Self { runs: Vec::new(), findings: Vec::new() }
    }
}

/// Takes each run once: of its copies the one with the most records, in the place of the first.
pub fn distinct<T: Captured + Sync>(given: Vec<T>) -> Distinct<T> {
    let mut found: Distinct<T> = Distinct::default();
    // Which of the runs that are kept have a capture: of a thousand runs hardly two share any.
    let mut holders: HashMap<String, Vec<usize>> = HashMap::new();
    let hashes = |run: &T| captures(&run.manifest()).into_keys().map(str::to_owned).collect();
    let hashes: Vec<Vec<String>> = in_parallel(&given, hashes).collect();
    for (run, own) in given.into_iter().zip(hashes) {
        let mut copy_of = None;
        let mut sharing = Vec::new();
        let candidates: BTreeSet<usize> = own.iter().filter_map(|hash| holders.get(hash)).flatten().copied().collect();
        // Packed in a result: opened once, and only where another run has a capture of it.
        let manifest = if candidates.is_empty() { Manifest::default() } else { run.manifest().into_owned() };
        for at in candidates {
            match shared(&found.runs[at].manifest(), &manifest) {
                Shared::Nothing => {}
                Shared::All => copy_of = copy_of.or(Some((at, None))),
                Shared::Most(pairs) => copy_of = copy_of.or(Some((at, Some(pairs)))),
                Shared::Some(pairs) => sharing.push((at, pairs)),
            }
        }
        let kept = copy_of.as_ref().map_or(found.runs.len(), |(at, _)| *at);
        for hash in own {
            holders.entry(hash).or_default().push(kept);
        }
        if let Some((at, pairs)) = copy_of {
            let fuller = records(&manifest) > records(&found.runs[at].manifest());
            let left = if fuller { std::mem::replace(&mut found.runs[at], run) } else { run };
            let finding = copied(&found.runs[at], &left, pairs.as_deref());
            found.findings.push((at, finding));
            continue;
        }
        for (at, pairs) in sharing {
            let finding = Finding {
                title: "two runs share captures".to_owned(),
                detail: format!(
                    "{} and {} have {} of their captures in common: both are counted, and what rests on these is not independent",
                    found.runs[at].place(),
                    run.place(),
                    pairs.len()
                ),
                evidence: evidence(&pairs),
            };
            found.findings.push((found.runs.len(), finding));
        }
        found.runs.push(run);
    }
    found
}

/// Paths of captures with the same content in two runs.
type Pairs = Vec<(String, String)>;

#[derive(Debug, PartialEq)]
enum Shared {
    Nothing,
    Some(Pairs),
    Most(Pairs),
    All,
}

/// Records of a run's captures.
fn records(manifest: &Manifest) -> u128 {
    captures(manifest).values().map(|one| u128::from(one.records)).sum()
}

fn copied(kept: &impl Captured, left: &impl Captured, pairs: Option<&[(String, String)]>) -> Finding {
    let (a, b) = (kept.manifest(), left.manifest());
    let (kept, left) = (kept.place(), left.place());
    let (title, what) = match pairs {
        None => ("a run was given twice", format!("{left} has the same captures as {kept}")),
        Some(pairs) => (
            "two runs are mostly the same captures",
            format!(
                "{left} shares {} captures with {kept}, more than half of them: these are no replicates",
                pairs.len()
            ),
        ),
    };
    let statement =
        |what: &str, a: String, b: String| (a != b).then(|| format!("; of the {what} ({a} and {b}) the first holds"));
    let or = |text: &Option<String>| text.clone().unwrap_or_else(|| "none stated".to_owned());
    let statements = [
        statement("dataplane", or(&a.dataplane), or(&b.dataplane)),
        statement("scenario", or(&a.scenario), or(&b.scenario)),
        statement("nodes", a.nodes.join(", "), b.nodes.join(", ")),
    ];
    let statements: String = statements.into_iter().flatten().collect();
    Finding {
        title: title.to_owned(),
        detail: format!("{what}: counted as one, {kept}{statements}"),
        evidence: pairs.map(evidence).unwrap_or_default(),
    }
}

fn evidence(pairs: &[(String, String)]) -> Vec<Evidence> {
    let one = |(path, other): &(String, String)| Evidence {
        path: path.clone().into(),
        record: 0,
        what: format!("the same content as {other}").into(),
        ..Evidence::default()
    };
    pairs.iter().take(6).map(one).collect()
}

/// The captures of a run by content (SHA-256): those that a clock stamps, where there are any.
pub fn captures(manifest: &Manifest) -> BTreeMap<&str, &Source> {
    let read = |source: &&Source| {
        source.records > 0 && source.kind != "capture-toml" && source.kind != "unread" && !source.sha256.is_empty()
    };
    let all = || manifest.sources.iter().filter(read);
    let any = all().any(|source| source.clock.is_some());
    all().filter(|source| source.clock.is_some() || !any).map(|source| (source.sha256.as_str(), source)).collect()
}

fn shared(a: &Manifest, b: &Manifest) -> Shared {
    let (a, b) = (captures(a), captures(b));
    let both: Vec<(&Source, &Source)> = a.iter().filter_map(|(hash, one)| Some((*one, *b.get(hash)?))).collect();
    if both.is_empty() {
        return Shared::Nothing;
    }
    if both.len() == a.len() && both.len() == b.len() {
        return Shared::All;
    }
    let pairs: Pairs = both.iter().map(|(one, other)| (one.path.clone(), other.path.clone())).collect();
    let records = |all: &BTreeMap<&str, &Source>| all.values().map(|one| u128::from(one.records)).sum::<u128>();
    let common: u128 = both.iter().map(|(one, _)| u128::from(one.records)).sum();
    let most = 2 * both.len() > a.len().min(b.len()) && 2 * common > records(&a).min(records(&b));
    if most { Shared::Most(pairs) } else { Shared::Some(pairs) }
}

#[cfg(test)]
mod tests {
    use crate::bundle::Bundle;

    use super::*;

    fn bundle(name: &str, captures: &[(&str, u64)]) -> Bundle {
        let source = |(hash, records): &(&str, u64)| Source {
            path: format!("{hash}.log"),
            kind: "kube-proxy-log".to_owned(),
            clock: Some("node".to_owned()),
            sha256: (*hash).to_owned(),
            records: *records,
            ..Source::default()
        };
        let mut sources: Vec<Source> = captures.iter().map(source).collect();
        // What all runs of a cluster state alike.
        sources.push(Source { kind: "versions".to_owned(), clock: None, ..source(&("versions", 10)) });
        sources.push(Source { kind: "capture-toml".to_owned(), clock: None, ..source(&(name, 1)) });
        let manifest = Manifest { sources, ..Manifest::default() };
        Bundle { path: name.into(), manifest, ..Bundle::default() }
    }

    fn left(given: Vec<Bundle>) -> (Vec<String>, Vec<(usize, String)>) {
        let found = distinct(given);
        let names = found.runs.iter().map(Captured::place).collect();
        (names, found.findings.into_iter().map(|(at, one)| (at, one.title)).collect())
    }

    #[test]
    fn copies_are_one_run_and_replicates_are_several() {
        let run = || bundle("one", &[("a", 10), ("b", 5)]);
        let (names, findings) = left(vec![run(), bundle("again", &[("b", 5), ("a", 10)]), bundle("two", &[("c", 9)])]);
        assert_eq!(names, ["one", "two"]);
        assert_eq!(findings, [(0, "a run was given twice".to_owned())]);

        let touched = bundle("touched", &[("a", 10), ("b", 5), ("marker", 2)]);
        let (names, findings) = left(vec![run(), touched]);
        assert_eq!((names.len(), findings[0].1.as_str()), (1, "two runs are mostly the same captures"));

        let of = |own: &str| bundle(own, &[("audit", 100), (own, 50), (&format!("{own}-2"), 60)]);
        let (names, findings) = left(vec![of("x"), of("y")]);
        assert_eq!(names.len(), 2, "an audit log of the cluster does not make two runs one");
        assert_eq!(findings, [(1, "two runs share captures".to_owned())]);
    }
}
