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
//! witness. Where a label set fits several others, nothing proves which is meant: all are kept and nothing is merged.

use std::collections::{BTreeMap, HashMap, HashSet};

use polars::prelude::{IntoLazy, JoinArgs, JoinType, col, df};
use syncline_promql::{Labels, MemoryStorage, Series};
use syncline_schema::samples::{SampleRow, SeriesRow};

use super::Bundle;

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
    /// Witnesses that were left aside, as rows.
    pub others: Vec<SeriesRow<'static>>,
}

fn labels_of(row: &SeriesRow<'_>) -> BTreeMap<String, String> {
    serde_json::from_str(&row.labels).unwrap_or_default()
}

/// Whether `rich` is `poor` and labels of a target.
fn extends(rich: &BTreeMap<String, String>, poor: &BTreeMap<String, String>) -> bool {
    poor.iter().all(|(name, value)| rich.get(name) == Some(value))
        && rich.keys().all(|name| poor.contains_key(name) || TARGET_LABELS.contains(&name.as_str()))
}

/// Chooses one witness for each series; `wanted` limits the metric names.
///
/// # Errors
/// A table that cannot be read.
pub fn choose(bundle: &Bundle, wanted: Option<&HashSet<String>>) -> anyhow::Result<Vec<Chosen>> {
    let rows = bundle.rows::<SeriesRow<'static>>(None)?;
    let mut by_name: BTreeMap<String, Vec<SeriesRow<'static>>> = BTreeMap::new();
    for row in rows {
        if wanted.is_none_or(|wanted| wanted.contains(row.name.as_ref())) {
            by_name.entry(row.name.to_string()).or_default().push(row);
        }
    }
    Ok(by_name.into_iter().flat_map(|(name, rows)| choose_among(&name, rows)).collect())
}

/// Groups the rows of one metric name into series.
fn choose_among(name: &str, mut rows: Vec<SeriesRow<'static>>) -> Vec<Chosen> {
    rows.sort_by_key(|row| (rank(&row.witness), row.series));
    // One source holds each series once: nothing to match, however many there are.
    if rows.iter().all(|row| row.source == rows[0].source) {
        return rows
            .into_iter()
            .map(|row| Chosen { name: name.to_owned(), labels: labels_of(&row), row, others: Vec::new() })
            .collect();
    }
    let mut groups: Vec<(BTreeMap<String, String>, Vec<SeriesRow<'static>>)> = Vec::new();
    for row in rows {
        let labels = labels_of(&row);
        let fits: Vec<usize> = groups
            .iter()
            .enumerate()
            .filter(|(_, (known, members))| {
                let same_source = members.iter().any(|member| member.source == row.source);
                !same_source && (extends(known, &labels) || extends(&labels, known))
            })
            .map(|(at, _)| at)
            .collect();
        match fits.as_slice() {
            [only] => {
                let (known, members) = &mut groups[*only];
                if labels.len() > known.len() {
                    *known = labels;
                }
                members.push(row);
            }
            _ => groups.push((labels, vec![row])),
        }
    }
    groups
        .into_iter()
        .filter_map(|(labels, members)| {
            let mut members = members.into_iter();
            let row = members.next()?;
            Some(Chosen { name: name.to_owned(), labels, row, others: members.collect() })
        })
        .collect()
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
    let ids: Vec<i64> = chosen.iter().map(|one| one.row.series).collect();
    let mut columns: HashMap<i64, Vec<(i64, f64)>> = HashMap::new();
    for sample in samples_of(bundle, &ids)? {
        columns.entry(sample.series).or_default().push((sample.time.div_euclid(1_000_000), sample.value));
    }
    let mut found = Vec::with_capacity(chosen.len());
    for one in chosen {
        let Some(mut points) = columns.remove(&one.row.series) else { continue };
        points.sort_by_key(|(time, _)| *time);
        points.dedup_by_key(|(time, _)| *time);
        let mut pairs: Vec<(String, String)> = one.labels.into_iter().collect();
        pairs.push(("__name__".to_owned(), one.name));
        if let Some((label, value)) = extra {
            pairs.retain(|(name, _)| name != label);
            pairs.push((label.to_owned(), value.to_owned()));
        }
        found.push(Series {
            labels: Labels::new(pairs),
            times: points.iter().map(|(time, _)| *time).collect(),
            values: points.iter().map(|(_, value)| *value).collect(),
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
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let wanted = df!("series" => ids)?.lazy();
    let frame =
        bundle.scan(SampleRow::TABLE)?.join(wanted, [col("series")], [col("series")], JoinArgs::new(JoinType::Semi));
    bundle.collect_rows(frame)
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
        let chosen = choose_among(
            "x",
            vec![
                row(0, 1, "api", r#"{"code":"1","instance":"a:9","job":"j"}"#),
                row(1, 2, "scrape", r#"{"code":"1"}"#),
            ],
        );
        assert_eq!(chosen.len(), 1);
        assert_eq!(chosen[0].row.series, 1, "the scrape's samples are used");
        assert_eq!(chosen[0].labels.get("job").map(String::as_str), Some("j"), "with the target's labels");
        assert_eq!(chosen[0].others.len(), 1);
    }

    #[test]
    fn other_labels_are_other_series() {
        let chosen =
            choose_among("x", vec![row(0, 1, "api", r#"{"code":"1"}"#), row(1, 2, "scrape", r#"{"code":"2"}"#)]);
        assert_eq!(chosen.len(), 2);
        let chosen = choose_among("x", vec![row(0, 1, "scrape", r#"{"a":"1"}"#), row(1, 1, "scrape", r#"{}"#)]);
        assert_eq!(chosen.len(), 2, "one source holds two series");
    }

    #[test]
    fn an_ambiguous_series_is_not_merged() {
        let chosen = choose_among(
            "x",
            vec![
                row(0, 1, "tsdb", r#"{"job":"a"}"#),
                row(1, 1, "tsdb", r#"{"job":"b"}"#),
                row(2, 2, "scrape", r#"{}"#),
            ],
        );
        assert_eq!(chosen.len(), 3);
    }
}
