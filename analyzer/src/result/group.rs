//! Which runs are replicates of each other: those that agree on everything that changes what their figures mean.
//!
//! ```text
//! Cilium 1.17.6 ┐ proxy 1.17 ┐
//! Cilium 1.17.9 ┘            ├ two columns of one report: "1.17" and "1.19"
//! Cilium 1.19.4 ─ proxy 1.19 ┘
//! ```
//!
//! | part of the key | from |
//! |---|---|
//! | dataplane and mode | the run |
//! | `kubernetes`, `proxy`, `kernel` | versions, to the minor one |
//! | `nodes`, `cores` | objects and metrics that list all of them |
//! | `min-sync-period`, `full-sync` | only where the program itself said that it is in force; a ConfigMap's key may be ignored |
//! | `label` | `capture.toml` |
//!
//! What a capture does not tell joins the runs that do where these agree among each other; where they do not, it is a column of
//! its own, *not stated*: nothing says to which of them it belongs.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::bail;

use super::{Header, RunResult};
use crate::clock::Evidence;
use crate::events::facts::Facts;

/// Facts of the key by default, in the order in which a label names them.
const DEFAULT: [&str; 8] = ["proxy", "kubernetes", "kernel", "nodes", "cores", "min-sync-period", "full-sync", "label"];

/// Fact that holds the number of CPUs of the node.
const CORES: &str = "count/cores";

/// The facts that make a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    names: Vec<String>,
}

impl Default for Keys {
    fn default() -> Self {
        Self { names: DEFAULT.map(str::to_owned).into() }
    }
}

impl Keys {
    /// The default facts and those of `by`, without those of `ignore`; each a list with commas between. A fact is one of the
    /// names above, or any key that `report.json` lists among a run's facts (`config/…`, `version/…`).
    ///
    /// # Errors
    /// An empty name, or one to ignore that is not part of the key.
    pub fn of(by: Option<&str>, ignore: Option<&str>) -> anyhow::Result<Keys> {
        let mut keys = Keys::default();
        for name in words(by, "--by")? {
            if !keys.names.contains(&name) {
                keys.names.push(name);
            }
        }
        for name in words(ignore, "--ignore")? {
            let Some(at) = keys.names.iter().position(|known| *known == name) else {
                bail!("--ignore {name}: runs are not told apart by it; expected one of {}", keys.names.join(", "));
            };
            keys.names.remove(at);
        }
        Ok(keys)
    }
}

impl Keys {
    /// What runs tell of each fact of the key, the dataplane first: name, and its distinct values in order.
    pub fn told(&self, runs: &[&RunResult]) -> Vec<(String, Vec<String>)> {
        let distinct = |of: &dyn Fn(&Header) -> Option<String>| {
            let values: BTreeSet<Ordered> =
                runs.iter().filter_map(|one| of(&one.run)).map(|one| Ordered(Some(one))).collect();
            values.into_iter().filter_map(|one| one.0).collect()
        };
        let dataplane = ("dataplane".to_owned(), distinct(&|run| Some(run.dataplane.clone())));
        let named = |name: &String| (name.clone(), distinct(&|run| value(run, name)));
        std::iter::once(dataplane).chain(self.names.iter().map(named)).collect()
    }
}

fn words(list: Option<&str>, option: &str) -> anyhow::Result<Vec<String>> {
    let Some(list) = list else { return Ok(Vec::new()) };
    let words: Vec<String> = list.split(',').map(|word| word.trim().to_owned()).collect();
    if words.iter().any(String::is_empty) {
        bail!("{option}: expected facts with commas between ({}, or a key as config/…)", DEFAULT.join(", "));
    }
    Ok(words)
}

/// One column: runs of one dataplane that agree on every fact of the key. Ordered by what the facts say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Column {
    pub dataplane: String,
    /// By which facts it differs from the dataplane's other columns, in words: `1.17, kernel 6.1`; empty where it is the
    /// only one.
    pub words: String,
    /// Every fact of the key that is known, by name.
    pub facts: Vec<(String, String)>,
}

/// The columns of runs, each with its runs in their order; sorted by dataplane, then by their facts (versions as numbers).
pub fn columns<'r>(runs: impl IntoIterator<Item = &'r RunResult>, keys: &Keys) -> Vec<(Column, Vec<&'r RunResult>)> {
    let mut dataplanes: BTreeMap<&str, Vec<&RunResult>> = BTreeMap::new();
    for run in runs {
        dataplanes.entry(&run.run.dataplane).or_default().push(run);
    }
    dataplanes.into_iter().flat_map(|(dataplane, own)| of_dataplane(dataplane, &own, keys)).collect()
}

fn of_dataplane<'r>(dataplane: &str, runs: &[&'r RunResult], keys: &Keys) -> Vec<(Column, Vec<&'r RunResult>)> {
    let told: Vec<Vec<Option<String>>> =
        runs.iter().map(|run| keys.names.iter().map(|name| value(&run.run, name)).collect()).collect();
    let values = |at: usize| told.iter().filter_map(move |one| one[at].as_ref()).collect::<BTreeSet<_>>();
    // One known value, and the others do not tell: they join it.
    let settled: Vec<Option<&String>> =
        (0..keys.names.len()).map(|at| Some(values(at)).filter(|all| all.len() == 1)?.pop_first()).collect();
    let differing: Vec<usize> = (0..keys.names.len()).filter(|at| values(*at).len() > 1).collect();
    let mut groups: BTreeMap<Vec<Ordered>, Vec<usize>> = BTreeMap::new();
    for (at, one) in told.iter().enumerate() {
        let key = differing.iter().map(|part| Ordered(one[*part].clone())).collect();
        groups.entry(key).or_default().push(at);
    }
    groups
        .into_iter()
        .map(|(key, members)| {
            let words: Vec<String> = differing
                .iter()
                .zip(&key)
                .map(|(part, value)| phrase(&keys.names[*part], value.0.as_deref()))
                .collect();
            let own = |at: usize| {
                let differs = differing.iter().position(|part| *part == at);
                differs.map_or(settled[at], |place| key[place].0.as_ref())
            };
            let facts =
                (0..keys.names.len()).filter_map(|at| Some((keys.names[at].clone(), own(at)?.clone()))).collect();
            let column = Column { dataplane: dataplane.to_owned(), words: words.join(", "), facts };
            (column, members.into_iter().map(|at| runs[at]).collect())
        })
        .collect()
}

/// A value ordered as people count: 1.9 ahead of 1.17; what is not stated last.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ordered(Option<String>);

impl Ordered {
    fn rank(&self) -> (bool, Vec<(u64, String)>) {
        let text = self.0.as_deref().unwrap_or_default();
        let parts = text.split('.').map(|part| {
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            (part[..digits].parse().unwrap_or(u64::MAX), part[digits..].to_owned())
        });
        (self.0.is_none(), parts.collect())
    }
}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// What a run says of a fact of the key.
fn value(run: &Header, name: &str) -> Option<String> {
    let facts = &run.facts;
    let plain = |key: &str| facts.get(key).map(|(value, _)| value.trim().to_owned()).filter(|text| !text.is_empty());
    match name {
        "proxy" if run.is_kube_proxy() => {
            minor(facts, "version/kube-proxy").or_else(|| minor(facts, "version/kubernetes"))
        }
        "proxy" => minor(facts, "version/cilium"),
        "kubernetes" => minor(facts, "version/kubernetes"),
        "kernel" => minor(facts, "version/linux"),
        // The nodes that captures happen to name are some of the cluster's.
        "nodes" => plain("count/nodes").filter(|_| !crate::events::facts::is_least(facts, "count/nodes")),
        "cores" => plain(CORES),
        "min-sync-period" | "full-sync" => in_force(facts, &format!("config/{name}")),
        "label" => plain("label"),
        key => plain(key),
    }
}

fn minor(facts: &Facts, key: &str) -> Option<String> {
    crate::events::facts::minor(facts, key).map(|(major, minor)| format!("{major}.{minor}"))
}

/// A setting that the running program itself told; what a ConfigMap lists may be ignored.
fn in_force(facts: &Facts, key: &str) -> Option<String> {
    let (value, evidence) = facts.get(key)?;
    crate::events::facts::tells_setting(&evidence.what).then(|| value.clone())
}

/// A fact in words.
pub fn phrase(name: &str, value: Option<&str>) -> String {
    match (name, value) {
        ("proxy", Some(value)) => value.to_owned(),
        ("proxy", None) => "version not stated".to_owned(),
        ("kubernetes", value) => format!("Kubernetes {}", value.unwrap_or("not stated")),
        ("nodes" | "cores", Some("1")) => format!("1 {}", name.trim_end_matches('s')),
        ("nodes" | "cores", Some(value)) => format!("{value} {name}"),
        ("label", Some(value)) => value.to_owned(),
        (name, value) => format!("{name} {}", value.unwrap_or("not stated")),
    }
}

/// The fact of a node's CPUs.
pub(super) fn cores(counted: Option<(f64, String)>) -> Option<(String, (String, Evidence))> {
    let (count, what) = counted.filter(|(count, _)| count.is_finite() && *count >= 1.0)?;
    let evidence = Evidence { path: "the whole capture".into(), record: 0, what: what.into(), ..Evidence::default() };
    Some((CORES.to_owned(), (format!("{count}"), evidence)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &str, facts: &[(&str, &str)]) -> RunResult {
        let fact = |(key, value): &(&str, &str)| {
            let what = if key.starts_with("config/") { "minSyncPeriod: x" } else { "" };
            let evidence = Evidence { what: what.into(), ..Evidence::default() };
            ((*key).to_owned(), ((*value).to_owned(), evidence))
        };
        let run = Header {
            name: name.to_owned(),
            dataplane: "cilium".to_owned(),
            facts: facts.iter().map(fact).collect(),
            ..Header::default()
        };
        RunResult { run, ..RunResult::default() }
    }

    fn words(runs: &[RunResult], keys: &Keys) -> Vec<(String, usize)> {
        columns(runs, keys).into_iter().map(|(column, runs)| (column.words, runs.len())).collect()
    }

    fn pair(words: &str, runs: usize) -> (String, usize) {
        (words.to_owned(), runs)
    }

    #[test]
    fn two_minor_versions_are_two_columns_and_patches_are_one() {
        let of = |version| run(version, &[("version/cilium", version), ("version/kubernetes", "1.33.1")]);
        let runs = [of("1.19.4"), of("1.9.1"), of("1.17.6"), of("1.17.9")];
        assert_eq!(words(&runs, &Keys::default()), [pair("1.9", 1), pair("1.17", 2), pair("1.19", 1)]);
        assert_eq!(words(&runs[2..], &Keys::default()), [pair("", 2)]);
        assert_eq!(words(&runs, &Keys::of(None, Some("proxy")).unwrap()), [pair("", 4)]);
    }

    #[test]
    fn what_is_not_stated_joins_one_value_and_stands_apart_from_several() {
        let (six, five) = (&[("version/linux", "6.1.0")][..], &[("version/linux", "5.10.3")][..]);
        assert_eq!(words(&[run("a", six), run("b", &[])], &Keys::default()), [pair("", 2)]);
        let found = words(&[run("a", six), run("b", &[]), run("c", five)], &Keys::default());
        assert_eq!(found, [pair("kernel 5.10", 1), pair("kernel 6.1", 1), pair("kernel not stated", 1)]);
    }

    #[test]
    fn a_setting_counts_where_the_program_told_it() {
        let proven = |period: &str| run(period, &[("config/min-sync-period", period)]);
        let found = words(&[proven("1s"), proven("10s")], &Keys::default());
        assert_eq!(found, [pair("min-sync-period 1s", 1), pair("min-sync-period 10s", 1)]);
        let mut listed = [proven("1s"), proven("10s")];
        for one in &mut listed {
            one.run.facts.values_mut().for_each(|(_, evidence)| evidence.what = "config/min-sync-period".into());
        }
        assert_eq!(words(&listed, &Keys::default()), [pair("", 2)]);
        assert_eq!(words(&listed, &Keys::of(Some("config/min-sync-period"), None).unwrap()).len(), 2);
    }

    #[test]
    fn labels_nodes_and_cores_tell_runs_apart() {
        let of = |facts: &[(&str, &str)]| run("x", facts);
        let found = words(&[of(&[("label", "tuned")]), of(&[("label", "plain")])], &Keys::default());
        assert_eq!(found, [pair("plain", 1), pair("tuned", 1)]);
        let found = words(&[of(&[("count/nodes", "1")]), of(&[("count/nodes", "3")])], &Keys::default());
        assert_eq!(found, [pair("1 node", 1), pair("3 nodes", 1)]);
        assert!(Keys::of(Some("a,,b"), None).is_err() && Keys::of(None, Some("nothing")).is_err());
    }
}
