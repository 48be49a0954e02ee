//! The series of a bundle as PromQL sees them: each series once, whoever captured it.
//!
//! A series may have several witnesses: a scrape stream (`/metrics` read once a second on the node), a TSDB block and
//! an answer of the HTTP API. They differ in labels (Prometheus adds those of the target: `job`, `instance`, …; which rows are
//! of one series: [`identity`]) and in times (an API answer repeats a value at every step). The order is documented:
//!
//! 1. `tsdb`: the samples as Prometheus stored them,
//! 2. `scrape`: the samples as the exporter gave them,
//! 3. `api`: values at the steps of a range query,
//! 4. `bpftool`, `exposition`: single readings.
//!
//! The first one is used for as long as it looked, the next ones for the stretches of time that it lacks ([`stretches`]). What
//! is left aside is counted by source ([`left_aside`]).
//!
//! What a recorder read itself beside an exporter of the same thing is left aside ([`recorded`]).
//!
//! Files of one component ([`components`]) hold parts of one series: blocks of a database and its head, answers of the API,
//! pages read one after the other. Their samples are united, each time once.

use std::collections::{HashMap, HashSet};

use syncline_promql::{HistogramSample, Labels, MemoryStorage, Series};
use syncline_schema::histograms::NativeHistogramRow;
use syncline_schema::samples::{SampleRow, SeriesRow, StartRow};

use super::components::{self, Class};
pub use super::identity::Chosen;
use super::identity::choose_among;
use super::stretches::{self, Member, Witness};
pub use super::stretches::{Aside, Why};
use super::{Bundle, histograms, points, recorded};

/// Chooses the witnesses of each series; `wanted` limits the metric names.
///
/// # Errors
/// A table that cannot be read.
pub fn choose(bundle: &Bundle, wanted: Option<&HashSet<String>>) -> anyhow::Result<Vec<Chosen>> {
    let several = !components::one_of_each_class(bundle)?;
    let paths: Vec<&str> = bundle.manifest.sources.iter().map(|source| source.path.as_str()).collect();
    if let Some(wanted) = wanted.filter(|_| !several) {
        let rows = bundle.rows_named(wanted)?;
        let components = components::find(bundle, &rows)?;
        let (chosen, open) = choose_among(rows, &components, &paths);
        if !open {
            return Ok(chosen);
        }
    }
    // Whose a bare label set is, and which files are of one component, the other series tell.
    let rows = bundle.rows::<SeriesRow<'static>>(None)?;
    let components = components::find(bundle, &rows)?;
    if let Some(wanted) = wanted.filter(|_| several && components.is_of_one_node()) {
        let own = rows.iter().filter(|row| wanted.contains(row.name.as_ref())).cloned().collect();
        let (chosen, open) = choose_among(own, &components, &paths);
        if !open {
            return Ok(chosen);
        }
    }
    let (mut chosen, _) = choose_among(rows, &components, &paths);
    if let Some(wanted) = wanted {
        chosen.retain(|one| wanted.contains(&one.name));
    }
    Ok(chosen)
}

/// The chosen series with their samples, for the PromQL engine, and what was left aside for them.
#[derive(Clone, Debug, Default)]
pub struct Selected {
    pub series: Vec<Series>,
    /// By source and reason.
    pub aside: Vec<Aside>,
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
    Ok(select(bundle, wanted, extra)?.series)
}

/// How many samples of each source no query uses, since a better witness has the same stretch of time.
///
/// # Errors
/// A table that cannot be read.
pub fn left_aside(bundle: &Bundle) -> anyhow::Result<Vec<Aside>> {
    Ok(select(bundle, None, None)?.aside)
}

/// As [`series`], with what was left aside.
///
/// # Errors
/// A table that cannot be read.
pub fn select(
    bundle: &Bundle,
    wanted: Option<&HashSet<String>>,
    extra: Option<(&str, &str)>,
) -> anyhow::Result<Selected> {
    load(bundle, choose(bundle, wanted)?, extra)
}

/// The samples of series that [`choose`] gave, for those that cannot hold all of a bundle at once. All series of a metric belong into
/// one call: a recorder's reading is left aside for an exporter's of the same name.
///
/// # Errors
/// A table that cannot be read.
pub fn load(bundle: &Bundle, chosen: Vec<Chosen>, extra: Option<(&str, &str)>) -> anyhow::Result<Selected> {
    // Each row with samples, and its place.
    let rows: Vec<&SeriesRow<'static>> =
        chosen.iter().flat_map(|one| [&one.row].into_iter().chain(&one.parts).chain(&one.others)).collect();
    let mut places: Vec<(i64, usize)> = rows.iter().enumerate().map(|(at, row)| (row.series, at)).collect();
    places.sort_unstable();
    let mut floats = points::of_series(bundle, &places, rows.len())?.into_iter();
    let ids: Vec<i64> = places.iter().map(|(id, _)| *id).collect();
    let owners: HashMap<i64, usize> = places.into_iter().collect();
    let mut native: Vec<Vec<HistogramSample>> = vec![Vec::new(); rows.len()];
    for row in bundle.rows_of_series::<NativeHistogramRow<'static>>(&ids)? {
        native[owners[&row.series]].push(histograms::sample(&row)?);
    }
    // By row and time, both in ms: few captures have any.
    let mut starts: HashMap<i64, Starts> = HashMap::new();
    for row in bundle.rows_of_series::<StartRow<'static>>(&ids)? {
        let [time, start] = [row.time, row.start].map(|time| time.div_euclid(1_000_000));
        starts.entry(row.series).or_default().insert(time, start);
    }
    let mut native = native.into_iter();
    let mut witnesses: Vec<Vec<Witness>> = Vec::with_capacity(chosen.len());
    for one in &chosen {
        let mut own: Vec<Witness> = Vec::new();
        for (at, row) in [&one.row].into_iter().chain(&one.parts).chain(&one.others).enumerate() {
            let member = Member {
                source: row.source,
                witness: row.witness.to_string(),
                points: floats.next().unwrap_or_default(),
                histograms: native.next().unwrap_or_default(),
            };
            let class = Class::of(&row.witness);
            match own.last_mut().filter(|last| at <= one.parts.len() || last.class == class) {
                Some(last) => last.members.push(member),
                None => own.push(Witness { class, clock: row.clock.to_string(), members: vec![member] }),
            }
        }
        witnesses.push(own);
    }
    let (joined, mut aside) = stretches::join(witnesses);
    let mut found = Vec::with_capacity(chosen.len());
    let twice = recorded::told_twice(&chosen);
    for ((one, (points, histograms)), instead) in chosen.into_iter().zip(joined).zip(twice) {
        if let Some(instead) = instead {
            let samples = points.times.len() + histograms.len();
            let (source, witness) = (one.row.source, one.row.witness.into_owned());
            let same = |known: &&mut Aside| {
                (known.source, &known.witness, known.why, &known.instead) == (source, &witness, Why::Recorded, &instead)
            };
            match aside.iter_mut().find(same) {
                Some(known) => (known.series, known.samples) = (known.series + 1, known.samples + samples),
                None => aside.push(Aside { source, witness, why: Why::Recorded, instead, series: 1, samples }),
            }
            continue;
        }
        if points.times.is_empty() && histograms.is_empty() {
            continue;
        }
        let mut pairs: Vec<(String, String)> = one.labels.into_iter().collect();
        pairs.push(("__name__".to_owned(), one.name));
        if let Some((label, value)) = extra {
            pairs.retain(|(name, _)| name != label);
            pairs.push((label.to_owned(), value.to_owned()));
        }
        let own = [&one.row].into_iter().chain(&one.parts).chain(&one.others);
        let own: Vec<&Starts> = own.filter_map(|row| starts.get(&row.series)).collect();
        found.push(Series {
            labels: Labels::new(pairs),
            start_times: begun(&own, points.times.iter().copied()),
            histogram_start_times: begun(&own, histograms.iter().map(|one| one.time)),
            times: points.times,
            values: points.values,
            histograms,
        });
    }
    Ok(Selected { series: found, aside })
}

/// Start time of each sample of a row, by the sample's time; ms.
type Starts = HashMap<i64, i64>;

/// Start times of samples at these times, 0 where they have none; nothing where none has any.
fn begun(own: &[&Starts], times: impl Iterator<Item = i64>) -> Vec<i64> {
    if own.is_empty() {
        return Vec::new();
    }
    times.map(|time| own.iter().find_map(|starts| starts.get(&time)).copied().unwrap_or(0)).collect()
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
