//! "Before and after": whatever was read twice, differenced over the time between.
//!
//! The document's reader saves a page, a list, an answer or a listing, changes something, and saves it again. Two readings of a
//! counter are an exact difference, whoever made them; with two stated times they are a rate, and sum and count of one histogram
//! are a mean. Nothing here needs windows or clocks.
//!
//! ```text
//! count_before.json  1523 ─┐                    7 syncs in 59.7 s
//! count_after.json   1530 ─┤ one histogram  ──▶ 0.42 s of work, 60 ms each
//! sum_before.json    61.5 ─┤
//! sum_after.json     61.92 ┘
//! ```
//!
//! | what | how it is paired |
//! |---|---|
//! | answers of the API (instants) | series by name and labels; their times stand in them |
//! | pages of /metrics, `cilium metrics list`, dumps of `bpftool prog` | files by [`pairs`]; then series by name and labels |
//! | listings of the dataplane, EndpointSlices | files by [`pairs`], or two listings of one file; then rules, backends, endpoints |
//!
//! A counter that fell was reset: that is said, and no difference is formed. A counter that is new on the later page of a pair began at zero.
//! Times that nobody stated are said to be unknown; the difference still stands.

use serde::{Deserialize, Serialize};

use super::Measurement;
use crate::clock::Evidence;
use crate::events::Run;
use crate::events::metric_names::absence;
use crate::math::Estimate;

mod figures;
mod histograms;
mod listings;
pub mod pairs;
mod series;
mod services;

pub use figures::VARIANT;

/// What kind of thing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `_count`, `_sum` and `_bucket` of one histogram: before and after are its counts.
    Histogram,
    Counter,
    Gauge,
    /// Packets that a rule counted.
    Rule,
    /// How many rules, backends or endpoints there are.
    Entries,
}

/// One thing read twice.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Change {
    pub run: String,
    pub kind: Kind,
    /// A series as Prometheus writes it, a rule, a Service.
    pub what: String,
    /// Unit of `before`, `after` and `difference`: empty for a bare number.
    pub unit: String,
    pub before: Option<f64>,
    pub after: Option<f64>,
    /// After less before; null where a counter was reset or one reading is missing.
    pub difference: Estimate,
    /// Seconds between the two readings; bounds where the moments are known within some; null where nobody stated them.
    pub seconds: Estimate,
    /// `difference` per second, for counters.
    pub rate: Estimate,
    /// Of a histogram: Δsum.
    pub total: Option<f64>,
    /// Of a histogram: Δsum ÷ Δcount.
    pub mean: Estimate,
    /// Of a histogram: the 95th percentile of the observations between the readings (nearest rank), as its buckets and its sum bound it.
    pub p95: Estimate,
    /// Of a histogram: the longest of them, bounded likewise.
    pub longest: Estimate,
    /// What a reader must know: a reset, an unknown time, what was added.
    pub notes: Vec<String>,
    /// The earlier and the later reading.
    pub evidence: Vec<Evidence>,
    /// Metric name; empty for a rule and for a number of entries.
    pub name: String,
    /// Labels, for those who measure; gone where a result was kept.
    #[serde(skip)]
    pub labels: super::readings::Labels,
    /// Who was read, for those who measure: what tells two targets with equal labels apart.
    #[serde(skip)]
    pub target: String,
    /// `exposition`, `metrics-list`, `bpftool`, `api`, `listing`.
    pub witness: String,
}

impl Change {
    /// Whether both readings were answers of Prometheus, whose samples are older than the answer.
    pub fn by_api(&self) -> bool {
        self.witness == "api"
    }
}

/// Everything that was read twice in a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct BeforeAfter {
    /// What changed, the largest changes first.
    pub changes: Vec<Change>,
    /// Read twice, and equal.
    pub unchanged: usize,
    /// Pairs of files, in words.
    pub pairs: Vec<String>,
}

/// Looks for pairs in a run.
pub fn of(run: &Run) -> BeforeAfter {
    let mut found = series::changes(run);
    let listed = listings::changes(run);
    found.changes.extend(listed.changes);
    found.unchanged += listed.unchanged;
    found.pairs.extend(listed.pairs);
    found.pairs.extend(equal_pairs(run));
    let better = better_witnesses(&found.changes);
    let mut ranked: Vec<(usize, f64, Change)> = found
        .changes
        .into_iter()
        .map(|change| {
            let again = better.get(&fact(&change)).is_some_and(|witness| *witness != change.witness);
            (if again { 3 } else { class(run, &change) }, weight(&change), change)
        })
        .collect();
    ranked.sort_by(|(a, x, one), (b, y, other)| {
        let order = a.cmp(b).then(y.total_cmp(x));
        order.then(one.what.cmp(&other.what)).then(one.target.cmp(&other.target))
    });
    found.changes = ranked.into_iter().map(|(.., change)| change).collect();
    found
}

/// Pairs of files with the same content, of which one was read: nothing in them changed.
fn equal_pairs(run: &Run) -> Vec<String> {
    let sources = run.bundle.manifest.sources.iter().filter_map(|source| Some((source, source.same_as.as_deref()?)));
    let said = sources.filter_map(|(source, same)| {
        let one = |at: i32, path: &str| pairs::Candidate {
            source: at,
            path: path.to_owned(),
            kind: String::new(),
            stated: false,
        };
        let group = pairs::groups(&[one(0, same), one(1, &source.path)]).into_iter().next()?;
        let name = |at: i32| if at == 0 { same } else { source.path.as_str() };
        let names: Vec<&str> = group.members.iter().map(|(_, at)| name(*at)).collect();
        Some(format!("{}: the same content, nothing changed", names.join(" → ")))
    });
    said.collect()
}

/// The catalogue's measurements as far as such pairs give them, with the variant [`VARIANT`].
pub fn measure(run: &Run) -> Vec<Measurement> {
    figures::of(run, &of(run))
}

/// Labels that Prometheus adds to those of the exporter: what is equal but for these is one fact.
const TARGET_LABELS: [&str; 10] =
    ["job", "instance", "node", "endpoint", "namespace", "pod", "service", "metrics_path", "app", "k8s_app"];

/// What a change is of, whoever read it.
fn fact(change: &Change) -> (String, Vec<(String, String)>) {
    let own = |name: &str| change.name.starts_with("container_") || !TARGET_LABELS.contains(&name);
    let labels = change.labels.iter().filter(|(name, _)| own(name));
    let what = if change.name.is_empty() { &change.what } else { &change.name };
    (what.clone(), labels.map(|(name, value)| (name.clone(), value.clone())).collect())
}

/// How far the time between the readings is known: the width of its bounds, seconds; nothing for a page's histogram.
fn width(change: &Change) -> f64 {
    // Buckets say more of a histogram than when it was read.
    if change.kind == Kind::Histogram && !change.by_api() { 0.0 } else { apart(change) }
}

fn apart(change: &Change) -> f64 {
    let seconds = change.seconds;
    match (seconds.value, seconds.low, seconds.high) {
        (Some(_), Some(low), Some(high)) => high - low,
        _ => f64::INFINITY,
    }
}

/// Of each fact the witness that knows best when it read.
fn better_witnesses(changes: &[Change]) -> std::collections::BTreeMap<(String, Vec<(String, String)>), String> {
    let mut found: std::collections::BTreeMap<_, (f64, String)> = std::collections::BTreeMap::new();
    for change in changes {
        let own = (width(change), change.witness.clone());
        let best = found.entry(fact(change)).or_insert_with(|| own.clone());
        if own.0 < best.0 || (own.0 == best.0 && own.1 < best.1) {
            *best = own;
        }
    }
    found.into_iter().map(|(fact, (_, witness))| (fact, witness)).collect()
}

/// What stands first: the metrics that the catalogues know, and rules; then what else is of the dataplane and its proxy; then the rest.
fn class(run: &Run, change: &Change) -> usize {
    let proxy = super::proxy_cpu::container(run);
    let of_proxy = change.labels.get("container").is_some_and(|container| container == proxy);
    let own = if run.is_kube_proxy() { "kubeproxy_" } else { "cilium_" };
    let about_itself = ["_process_", "_memstats_", "_k8s_client", "_virtual_memory", "_version"];
    match change.kind {
        Kind::Entries => 0,
        // The built-in chains see every packet of the node.
        Kind::Rule => usize::from(!change.labels.contains_key("service") && !change.what.contains("KUBE-S")),
        _ if change.name.starts_with("bpftool_") => 0,
        _ if change.name.starts_with("container_") => {
            let costs = ["container_cpu_usage_seconds_total", "container_memory_working_set_bytes"];
            if of_proxy && costs.contains(&change.name.as_str()) { 0 } else { 2 }
        }
        _ if absence(&change.name, &run.dataplane, &run.facts).is_some() => 0,
        _ if change.name.starts_with(own) && !about_itself.iter().any(|part| change.name.contains(part)) => 1,
        _ => 2,
    }
}

/// How large a change is: by how many times, and then by how much. What a counter counted goes ahead of where a gauge stands.
fn weight(change: &Change) -> f64 {
    let Some(difference) = change.difference.value else { return 0.0 };
    let before = change.before.unwrap_or(0.0).abs();
    let after = change.after.unwrap_or(0.0).abs();
    let relative = difference.abs() / before.max(after).max(f64::MIN_POSITIVE);
    let size = difference.abs() / if change.unit == "bytes" { 1e6 } else { 1.0 };
    let counted = if change.kind == Kind::Gauge { 0.0 } else { 1.0 };
    counted + relative.min(1.0) + (1.0 + size).ln() / 20.0
}
