//! The series of a bundle as PromQL sees them: each series once, whoever captured it.
//!
//! A series may have several witnesses: a scrape stream (`/metrics` read once a second on the node), a TSDB block and
//! an answer of the HTTP API. They differ in labels (Prometheus adds those of the target: `job`, `instance`, …) and
//! in times (an API answer repeats a value at every step). The order is documented, and one of them is used:
//!
//! 1. `tsdb`: the samples as Prometheus stored them,
//! 2. `scrape`: the samples as the exporter gave them,
//! 3. `api`: values at the steps of a range query,
//! 4. `bpftool`, `exposition`: single readings.
//!
//! Two witnesses are of one series where the names are equal, one label set contains the other, and what is
//! more on one side are labels that a target adds. The richer label set is kept, with the samples of the better
//! witness. A bare label set may fit several targets (`go_goroutines` of every job): then what the other series of its
//! source say decides. Where they all but agree on the target's labels, it is that target's; else nothing proves which is
//! meant: all are kept and nothing is merged.
//!
//! ```text
//! stream   kubeproxy_sync_…{}   ──fits only──▶ {instance="a:10249",job="kube-proxy"}    so the stream is of kube-proxy
//! stream   go_goroutines{}      ──fits──▶ {…,job="kube-proxy"}, {…,job="kubelet"}       and this is the first one
//! ```
//!
//! Several blocks of a database, and its head, hold parts of one series, and so do several answers of the API: samples of
//! equal label sets within `tsdb`, and within `api`, are united, each time once.

use std::collections::{BTreeMap, HashMap, HashSet};

use rayon::prelude::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};
use syncline_promql::{HistogramSample, Labels, MemoryStorage, Series};
use syncline_schema::histograms::NativeHistogramRow;
use syncline_schema::samples::{SampleRow, SeriesRow};

use super::{Bundle, histograms, points};

/// Labels that Prometheus' service discovery adds to those of the exporter.
const TARGET_LABELS: [&str; 12] = [
    "job",
    "instance",
    "node",
    "endpoint",
    "namespace",
    "pod",
    "service",
    "container",
    "cluster",
    "prometheus",
    "metrics_path",
    "app",
];

/// Rank of a witness: lower is better.
fn rank(witness: &str) -> usize {
    ["tsdb", "scrape", "api", "bpftool", "exposition"].iter().position(|name| *name == witness).unwrap_or(9)
}

/// One series, as chosen.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// Metric name.
    pub name: String,
    /// Labels without `__name__`.
    pub labels: BTreeMap<String, String>,
    /// The row whose samples are used.
    pub row: SeriesRow<'static>,
    /// Further rows of the same witness, whose samples are used too.
    pub parts: Vec<SeriesRow<'static>>,
    /// Witnesses that were left aside, as rows.
    pub others: Vec<SeriesRow<'static>>,
}

type LabelMap = BTreeMap<String, String>;

fn is_target_label(name: &str) -> bool {
    TARGET_LABELS.contains(&name)
}

/// What `rich` has beyond `poor`, where that is labels of a target only.
fn added(rich: &LabelMap, poor: &LabelMap) -> Option<LabelMap> {
    if !poor.iter().all(|(name, value)| rich.get(name) == Some(value)) {
        return None;
    }
    let more: LabelMap =
        rich.iter().filter(|(name, _)| !poor.contains_key(*name)).map(|(n, v)| (n.clone(), v.clone())).collect();
    more.keys().all(|name| is_target_label(name)).then_some(more)
}

/// Chooses one witness for each series; `wanted` limits the metric names.
///
/// # Errors
/// A table that cannot be read.
pub fn choose(bundle: &Bundle, wanted: Option<&HashSet<String>>) -> anyhow::Result<Vec<Chosen>> {
    let all = || -> anyhow::Result<Vec<Chosen>> { Ok(choose_among(bundle.rows::<SeriesRow<'static>>(None)?).0) };
    let Some(wanted) = wanted else { return all() };
    let (chosen, open) = choose_among(bundle.rows_named(wanted)?);
    if !open {
        return Ok(chosen);
    }
    // Whose a bare label set is, the other series of its source tell.
    let mut chosen = all()?;
    chosen.retain(|one| wanted.contains(&one.name));
    Ok(chosen)
}

/// Rows of one series.
struct Group {
    labels: LabelMap,
    members: Vec<SeriesRow<'static>>,
}

impl Group {
    /// What the group has beyond a row of another source and another witness.
    fn beyond(&self, labels: &LabelMap, row: &SeriesRow) -> Option<LabelMap> {
        let other = self.members.iter().all(|member| member.source != row.source && member.witness != row.witness);
        other.then(|| added(&self.labels, labels)).flatten()
    }
}

/// Share of a source's series that must name the same target for it to be of that target.
const AGREEMENT: f64 = 0.9;

/// Groups rows into series. The second value: whether a label set fitted several targets.
fn choose_among(rows: Vec<SeriesRow<'static>>) -> (Vec<Chosen>, bool) {
    // Series whose labels differ in more than labels of targets are different: only the others are compared.
    let mut families: BTreeMap<(String, LabelMap), Vec<(LabelMap, SeriesRow<'static>)>> = BTreeMap::new();
    let parsed: Vec<LabelMap> =
        rows.par_iter().with_min_len(256).map(|row| serde_json::from_str(&row.labels).unwrap_or_default()).collect();
    for (row, labels) in rows.into_iter().zip(parsed) {
        let own = labels.iter().filter(|(name, _)| !is_target_label(name));
        let own = own.map(|(name, value)| (name.clone(), value.clone())).collect();
        families.entry((row.name.to_string(), own)).or_default().push((labels, row));
    }
    // How many series of a source prove which labels of its target.
    let mut proofs: HashMap<i32, BTreeMap<LabelMap, usize>> = HashMap::new();
    let mut grouped = Vec::with_capacity(families.len());
    for ((name, _), mut rows) in families {
        rows.sort_by_key(|(labels, row)| (std::cmp::Reverse(labels.len()), rank(&row.witness), row.series));
        let mut groups: Vec<Group> = Vec::new();
        let mut exact: HashMap<LabelMap, usize> = HashMap::new();
        let mut open = Vec::new();
        for (labels, row) in rows {
            if let Some(at) = exact.get(&labels) {
                groups[*at].members.push(row);
                continue;
            }
            let mut fits = groups.iter_mut().filter_map(|group| Some((group.beyond(&labels, &row)?, group)));
            match (fits.next(), fits.next()) {
                (Some((target, group)), None) => {
                    *proofs.entry(row.source).or_default().entry(target).or_default() += 1;
                    group.members.push(row);
                }
                (None, _) => {
                    exact.insert(labels.clone(), groups.len());
                    groups.push(Group { labels, members: vec![row] });
                }
                _ => open.push((labels, row)),
            }
        }
        grouped.push((name, groups, open));
    }
    let targets: HashMap<i32, LabelMap> = proofs
        .into_iter()
        .filter_map(|(source, counts)| {
            let all: usize = counts.values().sum();
            let (target, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
            (count as f64 >= AGREEMENT * all as f64).then_some((source, target))
        })
        .collect();
    let mut chosen = Vec::new();
    let any_open = grouped.iter().any(|(_, _, open)| !open.is_empty());
    for (name, mut groups, open) in grouped {
        for (labels, row) in open {
            let target = targets.get(&row.source);
            let own =
                groups.iter_mut().find(|group| target.is_some() && group.beyond(&labels, &row).as_ref() == target);
            match own {
                Some(group) => group.members.push(row),
                None => groups.push(Group { labels, members: vec![row] }),
            }
        }
        chosen.extend(groups.into_iter().filter_map(|group| of_group(&name, group)));
    }
    (chosen, any_open)
}

/// The best witness of a group, and what is used with it.
fn of_group(name: &str, mut group: Group) -> Option<Chosen> {
    group.members.sort_by_key(|row| (rank(&row.witness), row.series));
    let mut members = group.members.into_iter();
    let row = members.next()?;
    let united = ["tsdb", "api"].contains(&row.witness.as_ref());
    let (parts, others) = members.partition(|other| united && other.witness == row.witness);
    Some(Chosen { name: name.to_owned(), labels: group.labels, row, parts, others })
}

/// The chosen series with their samples, for the PromQL engine. `extra` is added to every label set (`run`).
///
/// # Errors
/// A table that cannot be read.
pub fn series(
    bundle: &Bundle,
    wanted: Option<&HashSet<String>>,
    extra: Option<(&str, &str)>,
) -> anyhow::Result<Vec<Series>> {
    let chosen = choose(bundle, wanted)?;
    // Identifier of a row with samples, and the series that they belong to.
    let mut owners: HashMap<i64, usize> = HashMap::new();
    for (at, one) in chosen.iter().enumerate() {
        owners.extend([&one.row].into_iter().chain(&one.parts).map(|row| (row.series, at)));
    }
    let mut ids: Vec<i64> = owners.keys().copied().collect();
    ids.sort_unstable();
    let places: Vec<(i64, usize)> = ids.iter().map(|id| (*id, owners[id])).collect();
    let floats = points::of_series(bundle, &places, chosen.len())?;
    let mut native: Vec<Vec<HistogramSample>> = vec![Vec::new(); chosen.len()];
    for row in bundle.rows_of_series::<NativeHistogramRow<'static>>(&ids)? {
        native[owners[&row.series]].push(histograms::sample(&row)?);
    }
    let mut found = Vec::with_capacity(chosen.len());
    for ((one, mut points), mut histograms) in chosen.into_iter().zip(floats).zip(native) {
        if points.times.is_empty() && histograms.is_empty() {
            continue;
        }
        histograms.sort_by_key(|sample| sample.time);
        histograms.dedup_by_key(|sample| sample.time);
        // Where two parts disagree about what a sample is, the histogram is kept, as Prometheus does.
        let is_histogram = |time: &i64| histograms.binary_search_by_key(time, |sample| sample.time).is_ok();
        if !histograms.is_empty() && points.times.iter().any(is_histogram) {
            let kept: Vec<bool> = points.times.iter().map(|time| !is_histogram(time)).collect();
            let mut keep = kept.iter();
            points.times.retain(|_| keep.next().is_some_and(|keep| *keep));
            let mut keep = kept.iter();
            points.values.retain(|_| keep.next().is_some_and(|keep| *keep));
        }
        let mut pairs: Vec<(String, String)> = one.labels.into_iter().collect();
        pairs.push(("__name__".to_owned(), one.name));
        if let Some((label, value)) = extra {
            pairs.retain(|(name, _)| name != label);
            pairs.push((label.to_owned(), value.to_owned()));
        }
        found.push(Series {
            labels: Labels::new(pairs),
            times: points.times,
            values: points.values,
            histograms,
            ..Series::default()
        });
    }
    Ok(found)
}

/// Everything of a bundle as one storage.
///
/// # Errors
/// A table that cannot be read.
pub fn storage(bundle: &Bundle) -> anyhow::Result<MemoryStorage> {
    Ok(MemoryStorage::new(series(bundle, None, None)?))
}

/// Samples of some series, in file order (sorted by series and time within runs of rows).
///
/// # Errors
/// A table that cannot be read.
pub fn samples_of(bundle: &Bundle, ids: &[i64]) -> anyhow::Result<Vec<SampleRow<'static>>> {
    bundle.rows_of_series(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(series: i64, source: i32, witness: &'static str, labels: &'static str) -> SeriesRow<'static> {
        SeriesRow {
            series,
            source,
            witness: witness.into(),
            name: "x".into(),
            labels: labels.into(),
            ..Default::default()
        }
    }

    #[test]
    fn a_scrape_and_an_api_answer_of_one_series_are_one() {
        let (chosen, _) = choose_among(vec![
            row(0, 1, "api", r#"{"code":"1","instance":"a:9","job":"j"}"#),
            row(1, 2, "scrape", r#"{"code":"1"}"#),
        ]);
        assert_eq!(chosen.len(), 1);
        assert_eq!(chosen[0].row.series, 1, "the scrape's samples are used");
        assert_eq!(chosen[0].labels.get("job").map(String::as_str), Some("j"), "with the target's labels");
        assert_eq!(chosen[0].others.len(), 1);
    }

    #[test]
    fn other_labels_are_other_series() {
        let (chosen, _) =
            choose_among(vec![row(0, 1, "api", r#"{"code":"1"}"#), row(1, 2, "scrape", r#"{"code":"2"}"#)]);
        assert_eq!(chosen.len(), 2);
        let (chosen, _) = choose_among(vec![row(0, 1, "scrape", r#"{"a":"1"}"#), row(1, 1, "scrape", r#"{}"#)]);
        assert_eq!(chosen.len(), 2, "one source holds two series");
    }

    #[test]
    fn an_ambiguous_series_is_not_merged() {
        let (chosen, _) = choose_among(vec![
            row(0, 1, "tsdb", r#"{"job":"a"}"#),
            row(1, 1, "tsdb", r#"{"job":"b"}"#),
            row(2, 2, "scrape", r#"{}"#),
        ]);
        assert_eq!(chosen.len(), 3);
    }

    #[test]
    fn what_a_source_says_elsewhere_tells_its_target() {
        let named = |mut row: SeriesRow<'static>| {
            row.name = "only_here".into();
            row
        };
        let rows = |proof: &'static str| {
            vec![
                row(0, 1, "tsdb", r#"{"job":"a"}"#),
                row(1, 1, "tsdb", r#"{"job":"b"}"#),
                named(row(2, 1, "tsdb", proof)),
                row(3, 2, "scrape", "{}"),
                named(row(4, 2, "scrape", "{}")),
                row(5, 3, "api", r#"{"job":"b"}"#),
            ]
        };
        let (chosen, _) = choose_among(rows(r#"{"job":"b"}"#));
        let found: Vec<(i64, Vec<i64>)> =
            chosen.iter().map(|one| (one.row.series, one.others.iter().map(|row| row.series).collect())).collect();
        assert_eq!(found, [(2, vec![4]), (0, vec![]), (1, vec![3, 5])]);
        assert_eq!(choose_among(rows(r#"{"job":"c"}"#)).0.len(), 4, "no candidate is of that target");
    }

    #[test]
    fn blocks_of_a_database_are_united() {
        let rows = vec![
            row(0, 1, "tsdb", r#"{"job":"a"}"#),
            row(1, 2, "tsdb", r#"{"job":"a"}"#),
            row(2, 3, "scrape", "{}"),
            row(3, 2, "tsdb", r#"{"job":"a","pod":"p"}"#),
        ];
        let (chosen, _) = choose_among(rows);
        assert_eq!(chosen.iter().filter(|one| one.row.witness == "tsdb").count(), 2);
        let united = chosen.iter().find(|one| one.row.series == 0).expect("the series of both blocks");
        assert_eq!(united.parts.iter().map(|row| row.series).collect::<Vec<_>>(), [1]);
    }
}
