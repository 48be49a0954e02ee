//! Alert and recording rules: files in the shape that Prometheus reads, and what became of them over captured series.
//!
//! ```yaml
//! groups:
//! - name: proxies
//!   rules:
//!   - record: instance:cpu:rate5m
//!     expr: rate(process_cpu_seconds_total[5m])
//!   - alert: Busy
//!     expr: instance:cpu:rate5m > 1
//!     for: 5m
//! ```

pub mod alerts;
pub mod judged;
pub mod read;
pub mod replay;
#[cfg(test)]
mod replay_tests;
mod storage;
pub mod template;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::Serialize;
use syncline_schema::samples::SeriesRow;

use crate::bundle::{Bundle, witnesses};
use read::Rules;
use replay::{Replay, Settings};

/// A file of rules.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RuleFile {
    pub groups: Vec<RuleGroup>,
}

/// Rules that are evaluated one after the other at each of the group's times.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RuleGroup {
    pub name: String,
    pub rules: Vec<Rule>,
}

/// One rule: it records its expression under a name, or alerts on it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Rule {
    /// Name of the series that it records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    /// Name of the alert.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert: Option<String>,
    /// PromQL.
    pub expr: String,
    /// How long the expression must have had a value, as Prometheus writes durations.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Replays rules over a run: loads what they ask for, and the time over which the run has samples at all.
///
/// # Errors
/// A table that cannot be read, or a bundle that was replaced meanwhile.
pub fn over(bundle: &Bundle, rules: &Rules, settings: &Settings) -> anyhow::Result<Replay> {
    let asked = rules.groups.iter().flat_map(|group| &group.rules).map(|rule| rule.expr.metric_names());
    // One that leaves a name open needs all.
    let wanted: Option<HashSet<String>> =
        asked.collect::<Option<Vec<_>>>().map(|names| names.into_iter().flatten().collect());
    let series = witnesses::series(bundle, wanted.as_ref(), None)?;
    let span = span(bundle)?;
    bundle.unchanged()?;
    Ok(replay::replay(rules, series, span, settings))
}

/// First and last record of the sources that hold series over time, ms.
fn span(bundle: &Bundle) -> anyhow::Result<Option<(i64, i64)>> {
    let over_time = |witness: &str| ["tsdb", "scrape", "api"].contains(&witness);
    let rows = bundle.rows::<SeriesRow<'static>>(None)?;
    let sources: BTreeSet<i32> = rows.iter().filter(|row| over_time(&row.witness)).map(|row| row.source).collect();
    let sources = sources.into_iter().filter_map(|at| bundle.manifest.sources.get(usize::try_from(at).ok()?));
    let spans = sources.filter_map(|source| source.first.zip(source.last));
    let all = spans.reduce(|(first, last), (other, later)| (first.min(other), last.max(later)));
    // Whole milliseconds within.
    Ok(all.map(|(first, last)| (first.div_euclid(1_000_000), last.div_euclid(1_000_000))))
}
