//! Counters and gauges of a run: which witness is used, and how a counter is differenced in a window.
//!
//! **Witness order**, by what a sample's time means: `tsdb` (Prometheus' own samples; cAdvisor's with cAdvisor's own
//! stamps), `scrape` (a stream of scrapes, stamped ahead of each), `api` (answers of the HTTP API: every evaluation
//! step repeats the newest sample, so a value was taken somewhere within the step before it), `exposition` (one page).
//! The first witness whose readings cover at least 90 % of what the widest one covers and whose clock the windows
//! can be placed on is used, alone: one fact has several witnesses and must not be counted twice.

use std::collections::BTreeMap;

use arcstr::ArcStr;
use polars::prelude::{col, lit};
use syncline_schema::samples::{SampleRow, SeriesRow};

use super::{could_have_shown, stated_time};
pub use crate::bundle::recorded::RECORDER;
use crate::clock::Evidence;
use crate::events::{Phase, Run, Window};
use crate::math::{Estimate, arithmetic};

/// Labels of a series, without `__name__`.
pub type Labels = BTreeMap<String, String>;

/// Witnesses from the best to the last.
pub const WITNESSES: [&str; 5] = ["tsdb", "scrape", "api", "exposition", "bpftool"];

/// Least share of a window that a counter's first and last stamp must span.
pub const LEAST_SPAN: f64 = 0.6;

/// One value of a series, taken somewhere in `[low, high]`, ns on the series' clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    pub low: i64,
    pub high: i64,
    pub value: f64,
    /// Where it stands: a series may come from several files.
    pub source: i32,
    pub record: i64,
}

impl Reading {
    /// The line that it stands on.
    pub fn evidence(&self, run: &Run, what: impl Into<ArcStr>) -> Evidence {
        run.evidence(self.source, self.record, what)
    }
}

/// One series as one witness has it.
#[derive(Clone, Debug)]
pub struct Series {
    pub name: String,
    pub labels: Labels,
    pub clock: String,
    pub witness: String,
    /// When the witness began to look, where known: a counter that appears later was zero until then.
    pub began: Option<i64>,
    /// Sorted by time.
    pub readings: Vec<Reading>,
}

impl Series {
    /// A label, empty where it is absent (as PromQL has it).
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// What a filter sees of a series.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    pub labels: &'a Labels,
    pub source: i32,
    pub witness: &'a str,
}

impl Candidate<'_> {
    /// A label, empty where it is absent.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// All series of one name that `keep` wants, by the best witness. Empty where there is none. A table that cannot be
/// read counts as absent here: loading the run has reported it.
pub fn series(run: &Run, name: &str, keep: impl Fn(Candidate) -> bool) -> Vec<Series> {
    let rows = run.bundle.rows_or_note::<SeriesRow<'static>>(Some(col("name").eq(lit(name))));
    let mut found: BTreeMap<Key, Series> = BTreeMap::new();
    let mut owners: BTreeMap<i64, (i32, Key)> = BTreeMap::new();
    for row in rows {
        let labels: Labels = serde_json::from_str(&row.labels).unwrap_or_default();
        let Some(order) = WITNESSES.iter().position(|w| *w == row.witness) else { continue };
        if !keep(Candidate { labels: &labels, source: row.source, witness: &row.witness }) || !placed(run, &row.clock) {
            continue;
        }
        // Equal labels on two clocks are of two nodes.
        let key = (order, row.clock.to_string(), labels.clone());
        owners.insert(row.series, (row.source, key.clone()));
        let began =
            usize::try_from(row.source).ok().and_then(|at| run.bundle.manifest.sources.get(at)).and_then(|s| s.first);
        let series = found.entry(key).or_insert_with(|| Series {
            name: name.to_owned(),
            labels,
            clock: row.clock.into_owned(),
            witness: row.witness.into_owned(),
            began,
            readings: Vec::new(),
        });
        series.began = match (series.began, began) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
    let (Some(first), Some(last)) = (owners.keys().next(), owners.keys().next_back()) else { return Vec::new() };
    // Row groups carry the least and greatest identifier, so that this reads only the groups that matter.
    let near = col("series").gt_eq(lit(*first)).and(col("series").lt_eq(lit(*last)));
    let exact = (owners.len() <= 16).then(|| {
        owners.keys().skip(1).fold(col("series").eq(lit(*first)), |any, id| any.or(col("series").eq(lit(*id))))
    });
    let filter = match exact {
        Some(exact) => near.and(exact),
        None => near,
    };
    let unstated = stated_time::unstated(run);
    for row in run.bundle.rows_or_note::<SampleRow<'static>>(Some(filter)) {
        // What only a file's modification time dates is a reading of no moment.
        if owners.get(&row.series).is_some_and(|(source, _)| unstated.get(source) == Some(&row.time)) {
            continue;
        }
        // NaN is a staleness marker or no measurement: neither is a reading of a counter.
        if row.value.is_nan() {
            continue;
        }
        let Some((source, key)) = owners.get(&row.series) else { continue };
        if let Some(series) = found.get_mut(key) {
            let (source, time) = (*source, row.time);
            series.readings.push(Reading { low: time, high: time, value: row.value, source, record: row.record });
        }
    }
    for series in found.values_mut() {
        // The same sample may stand in two answers or two blocks.
        series.readings.sort_by_key(|r| (r.high, r.source, r.record));
        series.readings.dedup_by_key(|r| r.high);
        if series.witness == "api" {
            widen(&mut series.readings);
        }
    }
    best(found)
}

/// As [`series`], but of what both a recorder and another exporter tell the recorder's alone: it looks ten times a second and
/// stamps what it reads, and the two must never be summed.
pub fn recorded_or(run: &Run, name: &str, keep: impl Fn(Candidate) -> bool) -> Vec<Series> {
    let recorded = series(run, name, |one| one.label("job") == RECORDER && keep(one));
    if recorded.is_empty() { series(run, name, keep) } else { recorded }
}

/// As [`series`], without what a recorder read itself, where another exporter tells it too.
pub fn exported_or(run: &Run, name: &str, keep: impl Fn(Candidate) -> bool) -> Vec<Series> {
    let exported = series(run, name, |one| one.label("job") != RECORDER && keep(one));
    if exported.is_empty() { series(run, name, keep) } else { exported }
}

/// What tells one series from others: rank of the witness, clock, labels.
type Key = (usize, String, Labels);

/// Of each witness in order: takes the first that covers nearly all that any of them does.
fn best(found: BTreeMap<Key, Series>) -> Vec<Series> {
    let mut spans: BTreeMap<usize, (i64, i64)> = BTreeMap::new();
    for ((order, ..), series) in &found {
        if let (Some(first), Some(last)) = (series.readings.first(), series.readings.last()) {
            let span = spans.entry(*order).or_insert((first.high, last.high));
            *span = (span.0.min(first.high), span.1.max(last.high));
        }
    }
    let widest = spans.values().map(|(first, last)| last - first).max().unwrap_or(0);
    let Some(chosen) =
        spans.iter().find(|(_, (first, last))| (last - first) as f64 >= 0.9 * widest as f64).map(|(o, _)| *o)
    else {
        return Vec::new();
    };
    found
        .into_iter()
        .filter(|((order, ..), series)| *order == chosen && !series.readings.is_empty())
        .map(|(_, s)| s)
        .collect()
}

/// Whether the run's windows can be placed on a clock (always where it has none).
fn placed(run: &Run, clock: &str) -> bool {
    run.windows.clock.is_empty() || run.clocks.offset(&run.windows.clock, clock).is_some()
}

/// An API answer has one value per evaluation step, the newest sample at that time: the sample is at most one step
/// older than the first step that shows it. Whether a *repeated* value is that sample again or a new one cannot be told: it may be as old as
/// the first one, as it is where a target is scraped less often than the steps.
fn widen(readings: &mut [Reading]) {
    let step = readings.windows(2).map(|w| w[1].high - w[0].high).filter(|d| *d > 0).min().unwrap_or(0);
    for at in 0..readings.len() {
        let repeated = at.checked_sub(1).map(|before| readings[before]).filter(|one| one.value == readings[at].value);
        readings[at].low = repeated.map_or(readings[at].high - step, |before| before.low);
    }
}

/// Only the first of equal neighbours: for targets that stamp their own samples (cAdvisor), a repeated value is the
/// same sample seen again, and the time at which it is seen again says nothing.
pub fn distinct(mut series: Series) -> Series {
    series.readings.dedup_by(|later, earlier| later.value == earlier.value);
    series
}

/// The rise of a counter from its first to its last stamp inside a window.
#[derive(Clone, Debug)]
pub struct Increase {
    /// By how much it rose.
    pub delta: Estimate,
    /// Seconds between the two stamps.
    pub seconds: Estimate,
    /// Stamps inside the window.
    pub stamps: usize,
    /// Share of the window that they span.
    pub share: f64,
    pub first: Reading,
    pub last: Reading,
    /// Least and greatest rise per second of the whole window, by the stamps around it.
    around: (f64, Option<f64>),
}

impl Increase {
    /// Per second: between the stamps, with bounds that hold for the whole window.
    ///
    /// ```text
    ///        window ├──────────────────────────┤
    /// stamps    ·      ·      ·      ·      ·      ·
    ///                  ├─── value ──────────┤
    ///           ├────────── at most ───────────────┤
    /// ```
    pub fn rate(&self) -> Estimate {
        let between = arithmetic::ratio(self.delta, self.seconds);
        Estimate {
            value: between.value,
            low: between.low.map(|low| low.min(self.around.0)),
            // Two stamps that may be of one moment bound nothing between them; those around them do.
            high: between.high.or(between.value).zip(self.around.1).map(|(high, around)| high.max(around)),
        }
    }
}

/// Differences a counter from its first to its last stamp inside `window`; `resolution` is the size of its steps
/// (0.01 s for process CPU, 0 where it is as fine as the time itself).
///
/// # Errors
/// A sentence saying why the window is not covered.
pub fn increase(series: &Series, window: &Window, resolution: f64) -> Result<Increase, String> {
    let inside: Vec<&Reading> = series.readings.iter().filter(|r| window.contains(r.high)).collect();
    let (Some(first), Some(last)) = (inside.first(), inside.last()) else {
        return Err(format!("no sample of {} in the window", series.name));
    };
    let seconds = Estimate::between(
        ((last.low - first.high).max(0)) as f64 / 1e9,
        // In whole nanoseconds: a stamp since 1970 is too long for a float.
        ((last.low - first.low) + (last.high - first.high)) as f64 / 2e9,
        (last.high - first.low) as f64 / 1e9,
    );
    let share = (last.high - first.high) as f64 / (window.end - window.start).max(1) as f64;
    if inside.len() < 2 || share < LEAST_SPAN {
        return Err(format!(
            "the {} samples of {} in the window span {:.0} % of it ({:.0} % are needed)",
            inside.len(),
            series.name,
            100.0 * share,
            100.0 * LEAST_SPAN
        ));
    }
    // A counter that falls was reset: it began again from zero.
    let rise = |a: &Reading, b: &Reading| if b.value >= a.value { b.value - a.value } else { b.value };
    let delta: f64 = inside.windows(2).map(|w| rise(w[0], w[1])).sum();
    // What rose between the window's ends and the stamps next to them is known within the stamps beyond. Where there
    // is none, the window ends with the stamp.
    let (mut start, mut end, mut most, mut from) = (first.high, last.low, delta, first.low);
    if let Some(before) = series.readings.iter().rev().find(|r| r.high < window.start) {
        (start, from) = (window.start, window.start);
        most += rise(before, first);
    }
    if let Some(after) = series.readings.iter().find(|r| r.low > window.end) {
        end = window.end;
        most += rise(last, after);
    }
    // At least there rose what lies between values that were surely taken within.
    let within: Vec<&Reading> = inside.iter().copied().filter(|r| r.low >= from).collect();
    let least: f64 = within.windows(2).map(|w| rise(w[0], w[1])).sum();
    let low = (least - resolution).max(0.0) / ((end.max(last.high) - from).max(1) as f64 / 1e9);
    let around = (low, (end > start).then(|| (most + resolution) / ((end - start) as f64 / 1e9)));
    Ok(Increase {
        around,
        delta: Estimate::between((delta - resolution).max(0.0), delta, delta + resolution),
        seconds,
        stamps: inside.len(),
        share,
        first: **first,
        last: **last,
    })
}

/// Rise of a counter of *events* over a window: from the last reading at or before its start to the last one before
/// its end. A counter that appears only within the capture began at zero (most counters do so at their first event).
/// `None` where nothing is known of the start; and where no reading lies in the window, unless those around it are equal: two
/// readings far from a window prove nothing of what happened in it.
pub fn events_in(series: &Series, window: &Window) -> Option<f64> {
    let before = series.readings.iter().rev().find(|r| r.high <= window.start);
    let mut inside = series.readings.iter().filter(|r| r.high > window.start && r.high < window.end).peekable();
    if inside.peek().is_none() {
        let after = series.readings.iter().find(|r| r.high >= window.end);
        return before.zip(after).filter(|(before, after)| before.value == after.value).map(|_| 0.0);
    }
    let start = match before {
        Some(reading) => reading.value,
        None => {
            let first = series.readings.first()?;
            // Two seconds: a source's first scrape need not hold every series.
            let late = series.began.is_some_and(|began| first.high > began + 2_000_000_000);
            if late { 0.0 } else { first.value }
        }
    };
    let mut at = start;
    let mut delta = 0.0;
    for reading in inside {
        delta += if reading.value >= at { reading.value - at } else { reading.value };
        at = reading.value;
    }
    Some(delta)
}

/// One interval between two readings of a counter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    pub start: i64,
    pub end: i64,
    pub delta: f64,
    /// The reading that it ends with.
    pub last: Reading,
}

/// All intervals of a counter whose end lies in a window, that of its appearance (from zero) included.
pub fn steps(series: &Series, window: &Window) -> Vec<Step> {
    let mut found = Vec::new();
    if let (Some(first), Some(began)) = (series.readings.first(), series.began)
        && first.high > began + 2_000_000_000
        && window.contains(first.high)
    {
        found.push(Step { start: began, end: first.high, delta: first.value, last: *first });
    }
    for pair in series.readings.windows(2) {
        if window.contains(pair[1].high) {
            let delta = if pair[1].value >= pair[0].value { pair[1].value - pair[0].value } else { pair[1].value };
            found.push(Step { start: pair[0].high, end: pair[1].high, delta, last: pair[1] });
        }
    }
    found
}

/// Sum of [`events_in`] over series, in a phase; `None` where there are no series, where none reaches to the end of the phase (what
/// followed its last reading is not known), or where the run has no such phase.
pub fn events_in_phase(run: &Run, series: &[Series], phase: Phase) -> Option<f64> {
    let mut sum = None;
    for one in series {
        let window = run.window(phase, &one.clock)?;
        let times: Vec<i64> = one.readings.iter().map(|reading| reading.high).collect();
        if could_have_shown::reaches(&times, &window)
            && let Some(delta) = events_in(one, &window)
        {
            sum = Some(sum.unwrap_or(0.0) + delta);
        }
    }
    sum
}

/// Evidence for the two ends of an increase.
pub fn evidence(run: &Run, series: &Series, increase: &Increase) -> Vec<Evidence> {
    let name = &series.name;
    vec![
        increase.first.evidence(run, format!("{name} {}", increase.first.value)),
        increase.last.evidence(run, format!("{name} {}", increase.last.value)),
    ]
}

#[cfg(test)]
mod tests;
