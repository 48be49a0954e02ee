//! The series of runs as a server holds them: all of them, decoded, each run perhaps moved in time.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::bail;
use syncline_promql::{MemoryStorage, Series, format_time};
use syncline_schema::samples::{SampleRow, SeriesRow};
use syncline_serve::{Held, Metadata};

use super::ask::{RUN, run_labels};
use crate::bundle::{Bundle, witnesses};

/// Bytes that a sample takes while it is read: its row, and its place among the decoded.
const BYTES_OF_A_SAMPLE: u64 = 40;

/// Where a run's samples are, and by how much they were moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Value of the label `run`.
    pub run: String,
    /// First and last sample as captured, ms since 1970; `None` without any.
    pub span: Option<(i64, i64)>,
    /// ms added to every time.
    pub shift: i64,
}

impl Placed {
    /// First and last sample as served.
    pub fn served(&self) -> Option<(i64, i64)> {
        self.span.map(|(first, last)| (first.saturating_add(self.shift), last.saturating_add(self.shift)))
    }
}

/// All series of several runs.
#[derive(Debug, Default)]
pub struct Loaded {
    pub storage: MemoryStorage,
    pub held: Held,
    pub metadata: BTreeMap<String, Vec<Metadata>>,
    pub runs: Vec<Placed>,
}

/// Reads all series. Of several runs, and of runs that are moved, each series says of which run it is. With `end` (ms since 1970) each
/// run is moved so that its last sample lies there; values that are times themselves stay as they were captured.
///
/// # Errors
/// A table that cannot be read, a bundle that was replaced meanwhile, or series that take more than `memory` (bytes).
pub fn load(bundles: &[Bundle], end: Option<i64>, memory: u64) -> anyhow::Result<Loaded> {
    let mut loaded = Loaded::default();
    let mut all: Vec<Series> = Vec::new();
    let mut types: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (bundle, run) in bundles.iter().zip(run_labels(bundles)) {
        let rows =
            bundle.manifest.tables.iter().find(|table| table.name == SampleRow::TABLE).map_or(0, |table| table.rows);
        within(loaded.held.bytes as u64 + rows.saturating_mul(BYTES_OF_A_SAMPLE), memory, bundle)?;
        let extra = (bundles.len() > 1 || end.is_some()).then_some((RUN, run.as_str()));
        let mut series = witnesses::select(bundle, None, extra)?.series;
        for row in bundle.rows::<SeriesRow<'static>>(None)? {
            let known = types.entry(row.name.into_owned()).or_default();
            known.extend(row.metric_type.map(|kind| kind.into_owned()));
        }
        bundle.unchanged()?;
        let ends = |one: &Series| {
            let first = [one.times.first().copied(), one.histograms.first().map(|sample| sample.time)];
            let last = [one.times.last().copied(), one.histograms.last().map(|sample| sample.time)];
            (first.into_iter().flatten().min(), last.into_iter().flatten().max())
        };
        let first = series.iter().filter_map(|one| ends(one).0).min();
        let span = first.zip(series.iter().filter_map(|one| ends(one).1).max());
        let shift = end.zip(span).map_or(0, |(end, (_, last))| end.saturating_sub(last));
        for one in &mut series {
            moved(one, shift);
            loaded.held.add(one);
        }
        within(loaded.held.bytes as u64, memory, bundle)?;
        all.extend(series);
        loaded.runs.push(Placed { run, span, shift });
    }
    let names: BTreeSet<&str> = all.iter().map(|one| one.labels.metric_name()).collect();
    types.retain(|name, _| names.contains(name.as_str()));
    loaded.metadata = types.into_iter().map(|(name, kinds)| (name, metadata(kinds))).collect();
    loaded.storage = MemoryStorage::new(all);
    Ok(loaded)
}

fn within(bytes: u64, memory: u64, bundle: &Bundle) -> anyhow::Result<()> {
    if bytes > memory {
        let needed = bytes.div_ceil(1 << 20);
        bail!(
            "{}: the series of the runs up to this one take {needed} MiB, and --memory allows {} MiB: give more, or fewer runs",
            bundle.path.display(),
            memory >> 20
        );
    }
    Ok(())
}

fn moved(series: &mut Series, by: i64) {
    if by == 0 {
        return;
    }
    series.times = series.times.iter().map(|time| time.saturating_add(by)).collect();
    series.histograms.iter_mut().for_each(|sample| sample.time = sample.time.saturating_add(by));
    // 0: not known.
    let starts = series.start_times.iter_mut().chain(&mut series.histogram_start_times);
    starts.filter(|time| **time != 0).for_each(|time| *time = time.saturating_add(by));
}

/// What the captures told of a metric; they keep neither help texts nor units.
fn metadata(kinds: BTreeSet<String>) -> Vec<Metadata> {
    let of = |kind: String| Metadata { kind, help: String::new(), unit: String::new() };
    if kinds.is_empty() {
        return vec![of("unknown".to_owned())];
    }
    kinds.into_iter().map(|kind| of(if kind == "untyped" { "unknown".to_owned() } else { kind })).collect()
}

/// What an answer over moved runs says: which were moved, and when they truly were.
pub fn notes(runs: &[Placed]) -> Vec<String> {
    let moved = runs.iter().filter(|one| one.shift != 0);
    moved
        .filter_map(|one| {
            let (first, last) = one.span?;
            let (seconds, run) = (format_time(one.shift), &one.run);
            let [first, last] = [first, last].map(moment);
            Some(format!("run {run} was captured from {first} to {last} and is shown {seconds} s later"))
        })
        .collect()
}

/// RFC 3339, to the second.
pub fn moment(milliseconds: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(milliseconds).map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    at.unwrap_or_else(|_| format_time(milliseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_is_moved_keeps_its_course_and_says_so() {
        let mut series = Series {
            times: vec![1_000, 3_000].into(),
            values: vec![1.0, 2.0].into(),
            start_times: vec![0, 500],
            ..Series::default()
        };
        moved(&mut series, 10_000);
        assert_eq!((&series.times[..], &series.start_times[..]), (&[11_000, 13_000][..], &[0, 10_500][..]));
        let placed = Placed { run: "a".into(), span: Some((0, 60_000)), shift: 3_600_000 };
        assert_eq!(placed.served(), Some((3_600_000, 3_660_000)));
        let said = notes(&[placed, Placed { run: "b".into(), span: None, shift: 5 }]);
        assert_eq!(
            said,
            ["run a was captured from 1970-01-01T00:00:00Z to 1970-01-01T00:01:00Z and is shown 3600 s later"]
        );
    }
}
