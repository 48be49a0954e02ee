//! Which files are of one component, so that equal labels in them are one series.
//!
//! A page has no label of its target: that `go_goroutines` of two files is one series, only the files can tell. The rule:
//!
//! 1. **Databases and answers** (`tsdb`, `api`) carry the labels of their targets: all that were read on one clock are one.
//! 2. **Pages** (`scrape`, `exposition`, `bpftool`) on two clocks are of two nodes, always.
//! 3. Pages on one clock are of one component where
//!    - `process_start_time_seconds` is the same number (one process), whatever the files are called; or
//!    - they have metrics in common beyond those that every program has (at least half of the smaller set), their paths
//!      differ only by what numbers looks ([`apart::thing`]), and nothing contradicts it: where both have a start, the later
//!      process began after the last look at the earlier one.
//! 4. Values contradict: two values of one series at one time, or counters that fall when the files are read in the order of
//!    time though they never fall within a file.
//!
//! ```text
//! 1700000100.prom  reqs_total 100 ┐ same metrics, one name but for the number:
//! 1700000115.prom  reqs_total 130 ┘ one component
//! kube-proxy.prom  go_goroutines 97, kubeproxy_… ┐ nothing of their own in common:
//! agent.prom       go_goroutines 203, cilium_…   ┘ two components
//! ```
//!
//! What nothing joins stays apart: a sum may then count a component twice, which its labels show; values of two
//! components in one series would show nowhere.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arcstr::ArcStr;
use syncline_schema::samples::SampleRow;

use super::listed::Listed;
use super::{Bundle, apart};

/// Beginnings of metrics that programs of all kinds have.
const COMMON: [&str; 14] = [
    "go_",
    "process_",
    "promhttp_",
    "rest_client_",
    "workqueue_",
    "kubernetes_",
    "apiserver_",
    "leader_election_",
    "hidden_metric",
    "registered_metric",
    "disabled_metric",
    "authentication_",
    "authorization_",
    "aggregator_",
];
const START: &str = "process_start_time_seconds";
/// Shared series whose samples are compared.
const COMPARED: usize = 32;
/// How exactly a start is told: the kernel counts in ticks of 10 ms from a boot time in whole seconds.
const TICK: f64 = 0.005;
/// By how much the start of a process may lie ahead of the last look at the one before: boot time is in whole seconds.
const SLACK: f64 = 2.0;

/// What kind of witness a component is: a series has at most one of each class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// `tsdb`.
    Database,
    /// `scrape`, `exposition`, `bpftool`.
    Pages,
    /// `api`.
    Answers,
}

impl Class {
    /// The class of a witness.
    pub fn of(witness: &str) -> Self {
        match witness {
            "tsdb" => Class::Database,
            "api" => Class::Answers,
            _ => Class::Pages,
        }
    }
}

/// Files of one component.
#[derive(Clone, Debug)]
pub struct Component {
    pub class: Class,
    pub clock: ArcStr,
    /// Ascending.
    pub sources: Vec<i32>,
}

impl Component {
    /// The node whose clock it was read on.
    pub fn node(&self) -> &str {
        self.clock.split('/').next().unwrap_or(&self.clock)
    }
}

/// The components of a bundle's series.
#[derive(Clone, Debug, Default)]
pub struct Components {
    pub all: Vec<Component>,
    of: HashMap<(i32, Class, ArcStr), usize>,
}

impl Components {
    /// The component of a row.
    pub fn of(&self, row: &Listed) -> usize {
        let key = (row.source, Class::of(&row.witness), row.clock.clone());
        self.of.get(&key).copied().unwrap_or(usize::MAX)
    }

    fn add(&mut self, class: Class, clock: &ArcStr, sources: impl IntoIterator<Item = i32>) {
        let sources: BTreeSet<i32> = sources.into_iter().collect();
        let at = self.all.len();
        for source in &sources {
            self.of.insert((*source, class, clock.clone()), at);
        }
        self.all.push(Component { class, clock: clock.clone(), sources: sources.into_iter().collect() });
    }

    /// Whether the components of each class were read on one node: then none needs its node as a label.
    pub fn is_of_one_node(&self) -> bool {
        let mut nodes: BTreeMap<Class, &str> = BTreeMap::new();
        self.all.iter().all(|one| *nodes.entry(one.class).or_insert(one.node()) == one.node())
    }

    /// Whether no two components are of one class: then equal labels can only be one series.
    pub fn is_plain(&self) -> bool {
        let mut classes: Vec<Class> = self.all.iter().map(|one| one.class).collect();
        classes.sort_unstable();
        classes.windows(2).all(|pair| pair[0] != pair[1])
    }
}

/// The series of one file of pages.
struct Page<'r> {
    source: i32,
    thing: String,
    /// Metrics that not every program has.
    own: BTreeSet<&'r str>,
    /// Series by name and labels.
    series: HashMap<(&'r str, &'r str), &'r Listed>,
    first: Option<i64>,
    last: Option<i64>,
    /// Start of the process at the first and at the last look, s; null where the file has none, or several.
    start: Option<(f64, f64)>,
}

/// Sorts the files of `rows` into components.
///
/// # Errors
/// Samples that cannot be read.
pub fn find(bundle: &Bundle, rows: &[Listed]) -> anyhow::Result<Components> {
    let mut by_class: BTreeMap<(Class, &ArcStr), BTreeMap<i32, Vec<&Listed>>> = BTreeMap::new();
    let of_one_file = |a: &Listed, b: &Listed| (a.source, &a.witness, &a.clock) == (b.source, &b.witness, &b.clock);
    for rows in rows.chunk_by(of_one_file) {
        let class = by_class.entry((Class::of(&rows[0].witness), &rows[0].clock)).or_default();
        class.entry(rows[0].source).or_default().extend(rows);
    }
    let mut found = Components::default();
    for ((class, clock), sources) in by_class {
        if class != Class::Pages || sources.len() == 1 {
            found.add(class, clock, sources.into_keys());
            continue;
        }
        for sources in clusters(bundle, sources)? {
            found.add(class, clock, sources);
        }
    }
    Ok(found)
}

/// Pages of one clock, as the sets that are of one component.
fn clusters(bundle: &Bundle, sources: BTreeMap<i32, Vec<&Listed>>) -> anyhow::Result<Vec<Vec<i32>>> {
    let mut starts = starts(bundle, &sources)?;
    let mut pages: Vec<Page<'_>> = sources
        .into_iter()
        .map(|(source, rows)| {
            let of = usize::try_from(source).ok().and_then(|at| bundle.manifest.sources.get(at));
            let own = rows.iter().map(|row| row.name.as_str());
            Page {
                source,
                thing: of.map_or_else(String::new, |one| apart::thing(&one.path)),
                own: own.filter(|name| !COMMON.iter().any(|start| name.starts_with(start))).collect(),
                series: rows.iter().map(|row| ((row.name.as_str(), row.labels.as_str()), *row)).collect(),
                first: of.and_then(|one| one.first),
                last: of.and_then(|one| one.last),
                start: starts.remove(&source),
            }
        })
        .collect();
    pages.sort_by_key(|page| (page.first, page.source));
    // Each set, with its latest page in front of it.
    let mut sets: Vec<(Page<'_>, Vec<i32>)> = Vec::new();
    for mut page in pages {
        let mut own = None;
        for (at, (latest, _)) in sets.iter().enumerate() {
            if is_one(bundle, latest, &page)? {
                own = Some(at);
                break;
            }
        }
        match own.and_then(|at| sets.get_mut(at)) {
            Some((latest, members)) => {
                members.push(page.source);
                page.own.extend(latest.own.iter());
                page.last = page.last.max(latest.last);
                page.start = page.start.or(latest.start);
                *latest = page;
            }
            None => {
                let members = vec![page.source];
                sets.push((page, members));
            }
        }
    }
    Ok(sets.into_iter().map(|(_, members)| members).collect())
}

/// Whether a page is of the component that `earlier` is of.
fn is_one(bundle: &Bundle, earlier: &Page<'_>, page: &Page<'_>) -> anyhow::Result<bool> {
    let overlap = page.first.zip(earlier.last).is_some_and(|(first, last)| first <= last);
    let same_start = |(_, a): (f64, f64), (b, _): (f64, f64)| (a - b).abs() < TICK;
    if let Some((before, after)) = earlier.start.zip(page.start) {
        if same_start(before, after) {
            return Ok(!overlap || compare(bundle, earlier, page)? != Compared::Contradict);
        }
        // The process began anew between the two looks, or there are two.
        let anew = earlier.last.is_some_and(|last| after.0 >= last as f64 / 1e9 - SLACK);
        return Ok(anew && earlier.thing == page.thing && kin(earlier, page));
    }
    if earlier.thing != page.thing || !kin(earlier, page) {
        return Ok(false);
    }
    Ok(!overlap || compare(bundle, earlier, page)? == Compared::Agree)
}

/// Whether two pages have metrics of their own in common: at least half of the smaller set.
fn kin(a: &Page<'_>, b: &Page<'_>) -> bool {
    let least = a.own.len().min(b.own.len());
    least == 0 || 2 * a.own.intersection(&b.own).count() >= least
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compared {
    Agree,
    Contradict,
    /// The samples tell nothing.
    Open,
}

/// Compares the samples of series that two pages share, where they cover one stretch of time.
fn compare(bundle: &Bundle, a: &Page<'_>, b: &Page<'_>) -> anyhow::Result<Compared> {
    let mut shared: Vec<(&Listed, &Listed)> =
        a.series.iter().filter_map(|(key, row)| Some((*row, *b.series.get(key)?))).collect();
    // Counters tell more.
    shared.sort_by_key(|(row, _)| (!is_counter(row), row.series));
    shared.truncate(COMPARED);
    let mut ids: Vec<i64> = shared.iter().flat_map(|(a, b)| [a.series, b.series]).collect();
    ids.sort_unstable();
    let mut samples: HashMap<i64, Vec<(i64, f64)>> = HashMap::new();
    for row in bundle.rows_of_series::<SampleRow<'static>>(&ids)? {
        if !row.value.is_nan() {
            samples.entry(row.series).or_default().push((row.time, row.value));
        }
    }
    samples.values_mut().for_each(|one| one.sort_by_key(|(time, _)| *time));
    let falls = |one: &[(i64, f64)]| one.windows(2).any(|pair| pair[1].1 < pair[0].1);
    let mut found = Compared::Open;
    for (first, second) in shared {
        let (Some(x), Some(y)) = (samples.get(&first.series), samples.get(&second.series)) else { continue };
        let values: HashMap<i64, f64> = x.iter().copied().collect();
        for (time, value) in y {
            match values.get(time) {
                Some(known) if known != value => return Ok(Compared::Contradict),
                Some(_) => found = Compared::Agree,
                None => {}
            }
        }
        if is_counter(first) && !falls(x) && !falls(y) {
            let mut both = [x.as_slice(), y.as_slice()].concat();
            both.sort_by_key(|(time, _)| *time);
            if falls(&both) {
                return Ok(Compared::Contradict);
            }
            if both.first().map(|one| one.1) < both.last().map(|one| one.1) {
                found = Compared::Agree;
            }
        }
    }
    Ok(found)
}

fn is_counter(row: &Listed) -> bool {
    let named = ["_total", "_count", "_bucket"].iter().any(|end| row.name.ends_with(end));
    named || matches!(row.metric_type.as_deref(), Some("counter"))
}

/// Time and value of one sample.
type Look = (i64, f64);

/// Start of the process at the first and the last look of each file that has exactly one.
fn starts(bundle: &Bundle, sources: &BTreeMap<i32, Vec<&Listed>>) -> anyhow::Result<HashMap<i32, (f64, f64)>> {
    let mut owners: BTreeMap<i64, i32> = BTreeMap::new();
    for (source, rows) in sources {
        let own: Vec<i64> = rows.iter().filter(|row| row.name.ends_with(START)).map(|row| row.series).collect();
        if let [only] = own[..] {
            owners.insert(only, *source);
        }
    }
    let ids: Vec<i64> = owners.keys().copied().collect();
    let mut looks: HashMap<i32, (Look, Look)> = HashMap::new();
    for row in bundle.rows_of_series::<SampleRow<'static>>(&ids)? {
        let (Some(source), look) = (owners.get(&row.series), (row.time, row.value)) else { continue };
        if row.value.is_finite() {
            let known = looks.entry(*source).or_insert((look, look));
            if look.0 < known.0.0 {
                known.0 = look;
            }
            if look.0 >= known.1.0 {
                known.1 = look;
            }
        }
    }
    Ok(looks.into_iter().map(|(source, (first, last))| (source, (first.1, last.1))).collect())
}
