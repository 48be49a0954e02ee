//! Series that were read twice: counters, gauges and histograms.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use polars::prelude::{col, lit};
use syncline_schema::markers::MarkerRow;
use syncline_schema::samples::{SampleRow, SeriesRow};

use super::pairs::{self, By, Candidate};
use super::{BeforeAfter, Change, Kind, histograms};
use crate::events::Run;
use crate::math::{Estimate, arithmetic};
use crate::measure::readings::Labels;
use crate::measure::stated_time;

/// Witnesses of single readings.
const WITNESSES: [&str; 4] = ["api", "exposition", "metrics-list", "bpftool"];

/// How old the newest sample of an answer may be where the captures do not tell the scrape interval: Prometheus' own default.
pub const SCRAPE_INTERVAL: f64 = 60.0;

/// Samples of a series from which on it was recorded, not read now and then.
const RECORDED: u64 = 8;

/// One reading.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    rank: u64,
    pub(super) time: Option<i64>,
    pub(super) source: i32,
    record: i64,
    pub(super) value: f64,
}

/// Readings of one series within a group.
pub(super) struct Read {
    pub(super) name: String,
    pub(super) labels: Labels,
    pub(super) target: String,
    metric_type: Option<String>,
    by_api: bool,
    pub(super) witness: String,
    by: By,
    pub(super) points: Vec<Point>,
}

pub(super) type Key = (usize, String, Labels, String);

/// Readings by metric and target, and of each source one series that was read at both moments.
pub(super) struct Index<'a> {
    named: HashMap<(String, String, bool), Vec<&'a Read>>,
    twice: HashMap<i32, &'a Read>,
}

impl<'a> Index<'a> {
    fn new(read: &'a BTreeMap<Key, Read>) -> Self {
        let mut index = Index { named: HashMap::new(), twice: HashMap::new() };
        for one in read.values() {
            index.named.entry((one.name.clone(), one.target.clone(), one.by_api)).or_default().push(one);
            if one.points.len() > 1 {
                for point in &one.points {
                    index.twice.entry(point.source).or_insert(one);
                }
            }
        }
        index
    }

    /// Series of a metric of the same target, by the same witness.
    pub(super) fn of(&self, name: &str, like: &Read) -> &[&'a Read] {
        self.named.get(&(name.to_owned(), like.target.clone(), like.by_api)).map_or(&[], Vec::as_slice)
    }
}

/// All of a run.
pub fn changes(run: &Run) -> BeforeAfter {
    let any = WITNESSES.iter().map(|one| col("witness").eq(lit(*one))).reduce(polars::prelude::Expr::or);
    let rows = run.bundle.rows_or_note::<SeriesRow<'static>>(any);
    let mut held: BTreeMap<i32, u64> = BTreeMap::new();
    for row in &rows {
        *held.entry(row.source).or_default() += 1;
    }
    let source = |at: i32| usize::try_from(at).ok().and_then(|at| run.bundle.manifest.sources.get(at));
    // A range or a stream has windows, and is measured there.
    let single = |at: i32| {
        let records = source(at).map_or(0, |source| source.records);
        held.get(&at).is_some_and(|series| records < RECORDED.saturating_mul(*series))
    };
    let unstated = stated_time::unstated(run);
    let mut candidates: Vec<Candidate> = Vec::new();
    let mut answers: BTreeSet<i32> = BTreeSet::new();
    for row in rows.iter().filter(|row| single(row.source)) {
        if row.witness == "api" {
            answers.insert(row.source);
        } else if candidates.iter().all(|one| one.source != row.source)
            && let Some(own) = source(row.source)
        {
            let stated = !unstated.contains_key(&row.source) && own.first.is_some();
            candidates.push(Candidate { source: row.source, path: own.path.clone(), kind: own.kind.clone(), stated });
        }
    }
    // Of each source: its group, its place in it, and what orders the group. Answers are one group: their labels say whose
    // they are. A file by itself may hold two readings.
    let mut places: BTreeMap<i32, (usize, u64, By)> =
        answers.iter().map(|source| (*source, (0, 0, By::Time))).collect();
    let groups = pairs::groups(&candidates);
    for (at, group) in groups.iter().enumerate() {
        places.extend(group.members.iter().map(|(rank, source)| (*source, (at + 1, *rank, group.by))));
    }
    for one in &candidates {
        let alone = groups.len() + 1 + usize::try_from(one.source).unwrap_or_default();
        places.entry(one.source).or_insert((alone, 0, By::Time));
    }
    let read = read(run, rows, &places, &unstated);
    let mut found = BeforeAfter {
        pairs: groups
            .iter()
            .map(|group| group.members.iter().map(|(_, source)| run.path(*source)).collect::<Vec<_>>().join(" → "))
            .collect(),
        ..BeforeAfter::default()
    };
    let known = Known { pages: page_times(&read), action: action_length(run) };
    let index = Index::new(&read);
    histograms::changes(run, &read, &index, &known, &mut found);
    histograms::programs(run, &read, &index, &known, &mut found);
    for one in read.values().filter(|one| !is_part(&index, one)) {
        let Some(change) = difference(run, &index, one, &known) else { continue };
        if change.difference.value == Some(0.0) { found.unchanged += 1 } else { found.changes.push(change) }
    }
    found
}

/// When a page without a stated time was read, as it tells itself, seconds since 1970: after whatever it says was last, and within two
/// minutes of its last garbage collection, which Go's runtime forces at least that often.
type PageTimes = BTreeMap<i32, (f64, f64)>;

/// Go's `forcegcperiod`, and a second for the collection itself.
const FORCED_COLLECTION: f64 = 121.0;

fn page_times(read: &BTreeMap<Key, Read>) -> PageTimes {
    let mut collected: BTreeMap<i32, Vec<f64>> = BTreeMap::new();
    let mut last: BTreeMap<i32, f64> = BTreeMap::new();
    for one in read.values() {
        let is_collection = one.name == "go_memstats_last_gc_time_seconds";
        let is_stamp = one.name.contains("last") && one.name.ends_with("_timestamp_seconds");
        if !(is_collection || is_stamp) {
            continue;
        }
        for point in one.points.iter().filter(|point| point.time.is_none() && point.value > 1e9) {
            if is_collection {
                collected.entry(point.source).or_default().push(point.value);
            }
            let known = last.entry(point.source).or_insert(point.value);
            *known = known.max(point.value);
        }
    }
    // Of several processes on one page nothing tells which one a series is of, but all were read at once.
    let of = |(source, times): (i32, Vec<f64>)| {
        let collection = times.into_iter().reduce(f64::min)?;
        let least = last.get(&source).copied().unwrap_or(collection);
        // A stamp far ahead of the collection is no moment of the past, or the runtime does not collect.
        (least <= collection + FORCED_COLLECTION).then_some((source, (least, collection + FORCED_COLLECTION)))
    };
    collected.into_iter().filter_map(of).collect()
}

/// Collects the readings of every series.
fn read(
    run: &Run,
    rows: Vec<SeriesRow<'static>>,
    places: &BTreeMap<i32, (usize, u64, By)>,
    unstated: &BTreeMap<i32, i64>,
) -> BTreeMap<Key, Read> {
    let mut found: BTreeMap<Key, Read> = BTreeMap::new();
    let mut owners: BTreeMap<i64, (Key, i32, u64)> = BTreeMap::new();
    for row in rows {
        let Some((group, rank, by)) = places.get(&row.source).copied() else { continue };
        let labels: Labels = serde_json::from_str(&row.labels).unwrap_or_default();
        let key = (group, row.name.to_string(), labels.clone(), row.clock.to_string());
        owners.insert(row.series, (key.clone(), row.source, rank));
        let target = |labels: &Labels| {
            let named = ["instance", "node", "pod"].iter().find_map(|name| labels.get(*name).cloned());
            named.unwrap_or_else(|| format!("{} {group}", row.clock))
        };
        found.entry(key).or_insert_with(|| Read {
            name: row.name.to_string(),
            target: target(&labels),
            labels,
            metric_type: row.metric_type.as_ref().map(ToString::to_string),
            by_api: row.witness == "api",
            witness: row.witness.to_string(),
            by,
            points: Vec::new(),
        });
    }
    let ids: Vec<i64> = owners.keys().copied().collect();
    let samples = run.bundle.rows_of_series::<SampleRow<'static>>(&ids).unwrap_or_else(|error| {
        run.bundle.note(&error);
        Vec::new()
    });
    for sample in samples.into_iter().filter(|sample| !sample.value.is_nan()) {
        let Some((key, source, rank)) = owners.get(&sample.series) else { continue };
        let time = Some(sample.time).filter(|time| unstated.get(source) != Some(time));
        if let Some(one) = found.get_mut(key) {
            let (source, rank) = (*source, *rank);
            one.points.push(Point { rank, time, source, record: sample.record, value: sample.value });
        }
    }
    // Several values of one series on one page, none with a time: labels were lost, or it is no page. None of them can be chosen.
    for one in found.values_mut().filter(|one| one.by != By::Time) {
        let mut of: BTreeMap<i32, usize> = BTreeMap::new();
        for point in one.points.iter().filter(|point| point.time.is_none()) {
            *of.entry(point.source).or_default() += 1;
        }
        one.points.retain(|point| of.get(&point.source).is_none_or(|count| *count < 2));
    }
    lone_pages(&mut found);
    for one in found.values_mut() {
        // Stated times order everything that has them; else the names do, and within a file its lines.
        if one.points.iter().all(|point| point.time.is_some()) {
            one.points.sort_by_key(|point| (point.time, point.rank, point.source, point.record));
            one.points.dedup_by_key(|point| point.time);
        } else {
            one.points.sort_by_key(|point| (point.rank, point.source, point.record));
        }
    }
    found
}

/// A file by itself, without times, holds two readings only if nearly everything in it stands as often as the rest: a page with a few
/// series twice has lost labels.
fn lone_pages(found: &mut BTreeMap<Key, Read>) {
    let mut counts: BTreeMap<i32, BTreeMap<usize, usize>> = BTreeMap::new();
    let lone = |one: &Read| one.by == By::Time && one.points.iter().any(|point| point.time.is_none());
    for one in found.values().filter(|one| lone(one)) {
        if let Some(first) = one.points.first() {
            *counts.entry(first.source).or_default().entry(one.points.len()).or_default() += 1;
        }
    }
    for one in found.values_mut().filter(|one| lone(one)) {
        let Some(of) = one.points.first().and_then(|first| counts.get(&first.source)) else { continue };
        let all: usize = of.values().sum();
        let like: usize = of.get(&one.points.len()).copied().unwrap_or(0);
        if 10 * like < 9 * all {
            one.points.clear();
        }
    }
}

/// Whether a series counts, going by its type and then by its name.
fn counts(one: &Read) -> bool {
    match one.metric_type.as_deref() {
        Some("counter" | "histogram") => true,
        Some("gauge") => false,
        _ => ["_total", "_count", "_sum", "_bucket"].iter().any(|end| one.name.ends_with(end)),
    }
}

/// Whether a series is shown as part of its histogram.
fn is_part(index: &Index, one: &Read) -> bool {
    if one.witness == "bpftool" {
        return true;
    }
    let has = |name: String| index.of(&name, one).iter().any(|other| !other.points.is_empty());
    if let Some(base) = one.name.strip_suffix("_bucket") {
        return one.labels.contains_key("le") && has(format!("{base}_count"));
    }
    let base = one.name.strip_suffix("_sum").or_else(|| one.name.strip_suffix("_count"));
    base.is_some_and(|base| has(format!("{base}_sum")) && has(format!("{base}_count")))
}

/// Seconds that a stated action took at least: what was read before and after it is at least that far apart.
fn action_length(run: &Run) -> Option<f64> {
    let markers = run.bundle.rows_or_note::<MarkerRow<'static>>(None);
    let find = |label: &str| markers.iter().find(|marker| marker.label == label);
    let (start, end) = (find("action_start")?, find("action_returned")?);
    let least = end.time - start.time - start.resolution - end.resolution;
    // A command of less bounds nothing that anybody would ask for.
    (least >= 1_000_000_000 && start.clock == end.clock).then_some(least as f64 / 1e9)
}

/// Seconds between two readings, and what must be said of them.
fn between(one: &Read, first: &Point, last: &Point, known: &Known, notes: &mut Vec<String>) -> Estimate {
    if let (Some(from), Some(to)) = (first.time, last.time) {
        let apart = (to - from) as f64 / 1e9;
        if !one.by_api {
            return Estimate::exact(apart);
        }
        notes.push(format!("Prometheus answers with its newest sample: how old it was is not told, {SCRAPE_INTERVAL} s (its default interval) are allowed for at each end."));
        let low = (apart - SCRAPE_INTERVAL).max(0.0);
        return Estimate { value: Some(apart), low: Some(low), high: Some(apart + SCRAPE_INTERVAL) };
    }
    let order = match one.by {
        By::Word => "the words in the files' names order them",
        By::Number => {
            "the numbers in the files' names order them: of two places, not two moments, the difference would mean nothing"
        }
        By::Time => "they stand in this order in their file",
    };
    let least = known.action.filter(|_| one.by == By::Word).unwrap_or(0.0);
    let moment = |point: &Point| {
        let stated = point.time.map(|time| (time as f64 / 1e9, time as f64 / 1e9));
        stated.or_else(|| known.pages.get(&point.source).copied())
    };
    if let (Some((from, until)), Some((begin, end))) = (moment(first), moment(last))
        && first.source != last.source
        && begin > from
    {
        notes.push(format!("Nobody stated the times of the readings; {order}. The pages tell them within two minutes, by their last garbage collections."));
        return Estimate { value: Some(begin - from), low: Some((begin - until).max(least)), high: Some(end - from) };
    }
    notes.push(format!("The times of the readings are unknown; {order}."));
    Estimate { value: None, low: (least > 0.0).then_some(least), high: None }
}

/// What is known of times that nobody stated.
pub(super) struct Known {
    pages: PageTimes,
    /// Seconds that a stated action took at least: what was read before and after it is at least that far apart.
    action: Option<f64>,
}

/// The change of one series; `None` where it was read once and that says nothing.
pub(super) fn difference(run: &Run, index: &Index, one: &Read, known: &Known) -> Option<Change> {
    let (first, last) = (one.points.first()?, one.points.last()?);
    let mut notes = Vec::new();
    let counter = counts(one);
    if one.witness == "metrics-list" && !counter && one.name.ends_with("_seconds") {
        notes.push("The list prints a histogram as one number, which is no counter.".to_owned());
    }
    let mut change = blank(run, one, if counter { Kind::Counter } else { Kind::Gauge });
    if one.points.len() < 2 {
        // Read once: new on the later page, or gone from it. Of another metric's answer nothing follows.
        let sibling = sibling(index, one)?;
        let (begin, end) = (sibling.points.first()?, sibling.points.last()?);
        let is_later = end.rank == first.rank && end.time == first.time && end.source == first.source;
        change.evidence = vec![first.evidence(run, one)];
        if !is_later {
            change.before = Some(first.value);
            change.notes.push("It is no more on the later page.".to_owned());
            return Some(change);
        }
        change.after = Some(first.value);
        if !counter {
            change.notes.push("It is new on the later page.".to_owned());
            return Some(change);
        }
        change
            .notes
            .push("It is new on the later page: a counter appears at its first event, and began at zero.".to_owned());
        change.evidence.insert(0, run.evidence(begin.source, 0, format!("no {}", one.name)));
        change.difference = Estimate::exact(first.value);
        change.seconds = between(one, begin, end, known, &mut change.notes);
        change.rate = per_second(&change);
        return Some(change);
    }
    change.before = Some(first.value);
    change.after = Some(last.value);
    change.evidence = vec![first.evidence(run, one), last.evidence(run, one)];
    change.seconds = between(one, first, last, known, &mut notes);
    let fell = one.points.windows(2).any(|pair| pair[1].value < pair[0].value);
    if counter && fell {
        change.notes.push(
            "The counter fell: it was reset in between (a restart), so that the difference is unknown.".to_owned(),
        );
    } else {
        change.difference = Estimate::exact(last.value - first.value);
        if counter {
            change.rate = per_second(&change);
        }
    }
    change.notes.extend(notes);
    Some(change)
}

/// Per second, where anything but the length of the action is known of the time between.
pub(super) fn per_second(change: &Change) -> Estimate {
    match change.seconds.high {
        Some(_) => arithmetic::ratio(change.difference, change.seconds),
        None => Estimate::default(),
    }
}

/// A series of the same pair that was read at both moments: then the pair's files show all that the component has.
fn sibling<'a>(index: &Index<'a>, one: &Read) -> Option<&'a Read> {
    let own = one.points.first()?;
    // Of an answer only its own metric follows; of a page anything.
    if one.by_api {
        let near =
            |other: &&&Read| other.points.len() > 1 && other.points.iter().any(|point| point.source == own.source);
        return index.of(&one.name, one).iter().find(near).copied();
    }
    index.twice.get(&own.source).copied()
}

fn blank(run: &Run, one: &Read, kind: Kind) -> Change {
    let unit = if one.name.ends_with("_bytes") || one.name.ends_with("_bytes_total") {
        "bytes"
    } else if one.name.ends_with("_seconds")
        || one.name.ends_with("_seconds_total")
        || one.name.ends_with("_seconds_sum")
    {
        "s"
    } else {
        ""
    };
    Change {
        run: run.name.clone(),
        kind,
        what: shown(&one.name, &one.labels),
        unit: unit.to_owned(),
        before: None,
        after: None,
        difference: Estimate::default(),
        seconds: Estimate::default(),
        rate: Estimate::default(),
        total: None,
        mean: Estimate::default(),
        p95: Estimate::default(),
        longest: Estimate::default(),
        notes: Vec::new(),
        evidence: Vec::new(),
        name: one.name.clone(),
        labels: one.labels.clone(),
        target: one.target.clone(),
        witness: one.witness.clone(),
    }
}

/// A series as Prometheus writes it.
pub(super) fn shown(name: &str, labels: &Labels) -> String {
    if labels.is_empty() {
        return name.to_owned();
    }
    let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
    format!("{name}{{{}}}", pairs.join(", "))
}

impl Point {
    fn evidence(&self, run: &Run, one: &Read) -> crate::clock::Evidence {
        run.evidence(self.source, self.record, format!("{} {}", one.name, self.value))
    }
}
