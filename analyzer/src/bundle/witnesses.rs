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

use rayon::prelude::{IndexedParallelIterator, IntoParallelIterator, IntoParallelRefMutIterator, ParallelIterator};
use syncline_promql::{Column, HistogramSample, Labels, MemoryStorage, Series};
use syncline_schema::histograms::NativeHistogramRow;
use syncline_schema::samples::{SampleRow, StartRow};

use super::components::{self, Class};
pub use super::identity::Chosen;
use super::identity::choose_among;
use super::points::Points;
use super::stretches::{self, Member, Witness};
pub use super::stretches::{Aside, Why};
use super::{Bundle, histograms, listed, points, recorded};

/// Chooses the witnesses of each series; `wanted` limits the metric names.
///
/// # Errors
/// A table that cannot be read.
pub fn choose(bundle: &Bundle, wanted: Option<&HashSet<String>>) -> anyhow::Result<Vec<Chosen>> {
    let paths: Vec<&str> = bundle.manifest.sources.iter().map(|source| source.path.as_str()).collect();
    let (mut rows, one_of_each_class) = listed::read(bundle, wanted)?;
    if wanted.is_some() {
        if one_of_each_class {
            let components = components::find(bundle, &rows)?;
            let (chosen, open) = choose_among(rows, &components, &paths);
            if !open {
                return Ok(chosen);
            }
        }
        // Whose a bare label set is, and which files are of one component, the other series tell.
        (rows, _) = listed::read(bundle, None)?;
    }
    let components = components::find(bundle, &rows)?;
    if let Some(wanted) = wanted.filter(|_| !one_of_each_class && components.is_of_one_node()) {
        let own = rows.iter().filter(|row| wanted.contains(row.name.as_str())).cloned().collect();
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
    let mut ids: Vec<i64> = chosen.iter().flat_map(Chosen::rows).map(|row| row.series).collect();
    ids.sort_unstable();
    let mut native: HashMap<i64, Vec<HistogramSample>> = HashMap::new();
    for row in bundle.rows_of_series::<NativeHistogramRow<'static>>(&ids)? {
        native.entry(row.series).or_default().push(histograms::sample(&row)?);
    }
    let floats = floats(bundle, &chosen, &native)?;
    // By row and time, both in ms: few captures have any.
    let mut starts: HashMap<i64, Starts> = HashMap::new();
    for row in bundle.rows_of_series::<StartRow<'static>>(&ids)? {
        let [time, start] = [row.time, row.start].map(|time| time.div_euclid(1_000_000));
        starts.entry(row.series).or_default().insert(time, start);
    }
    // Mostly each series has one witness with floats alone, and nothing is to be joined.
    let (joined, mut aside) = if native.is_empty() && floats.iter().all(|points| points.len() == 1) {
        (floats.into_iter().flatten().map(|points| (points, Vec::new())).collect(), Vec::new())
    } else {
        stretches::join(witnesses(&chosen, floats, native))
    };
    let mut kept = Vec::with_capacity(chosen.len());
    let twice = recorded::told_twice(&chosen);
    for ((one, (points, histograms)), instead) in chosen.into_iter().zip(joined).zip(twice) {
        if let Some(instead) = instead {
            let samples = points.times.len() + histograms.len();
            let (source, witness) = (one.row.source, one.row.witness.to_string());
            let same = |known: &&mut Aside| {
                (known.source, &known.witness, known.why, &known.instead) == (source, &witness, Why::Recorded, &instead)
            };
            match aside.iter_mut().find(same) {
                Some(known) => (known.series, known.samples) = (known.series + 1, known.samples + samples),
                None => aside.push(Aside { source, witness, why: Why::Recorded, instead, series: 1, samples }),
            }
        } else if !points.times.is_empty() || !histograms.is_empty() {
            kept.push((one, points, histograms));
        }
    }
    let series = |(one, points, histograms): (Chosen, Points, Vec<HistogramSample>)| {
        let own: Vec<&Starts> = one.rows().filter_map(|row| starts.get(&row.series)).collect();
        let mut pairs: Vec<(String, String)> = one.labels.into_iter().collect();
        pairs.push(("__name__".to_owned(), one.name));
        if let Some((label, value)) = extra {
            pairs.retain(|(name, _)| name != label);
            pairs.push((label.to_owned(), value.to_owned()));
        }
        Series {
            labels: Labels::new(pairs),
            start_times: begun(&own, points.times.iter().copied()),
            histogram_start_times: begun(&own, histograms.iter().map(|one| one.time)),
            unmarked: points.unmarked && histograms.is_empty(),
            times: points.times,
            values: points.values,
            histograms,
        }
    };
    Ok(Selected { series: kept.into_par_iter().with_min_len(64).map(series).collect(), aside })
}

/// The witnesses of each of the chosen, best first.
fn witnesses(
    chosen: &[Chosen],
    floats: Vec<Vec<Points>>,
    mut native: HashMap<i64, Vec<HistogramSample>>,
) -> Vec<Vec<Witness>> {
    let mut witnesses: Vec<Vec<Witness>> = Vec::with_capacity(chosen.len());
    for (one, points) in chosen.iter().zip(floats) {
        let mut own: Vec<Witness> = Vec::new();
        // Where several rows are read as one, the first stands for them.
        for ((at, row), points) in one.rows().enumerate().zip(points) {
            let member = Member {
                source: row.source,
                witness: row.witness.clone(),
                points,
                histograms: native.remove(&row.series).unwrap_or_default(),
            };
            let class = Class::of(&row.witness);
            match own.last_mut().filter(|last| at <= one.parts.len() || last.class == class) {
                Some(last) => last.members.push(member),
                None => own.push(Witness { class, clock: row.clock.clone(), members: vec![member] }),
            }
        }
        witnesses.push(own);
    }
    witnesses
}

/// The float samples of each of the chosen: row by row, or of all rows as one where they follow each other, as the blocks of a database do.
fn floats(
    bundle: &Bundle,
    chosen: &[Chosen],
    native: &HashMap<i64, Vec<HistogramSample>>,
) -> anyhow::Result<Vec<Vec<Points>>> {
    let is_plain = |one: &Chosen| one.others.is_empty() && one.rows().all(|row| !native.contains_key(&row.series));
    let mut found = read(bundle, &chosen.iter().map(|one| (one, is_plain(one))).collect::<Vec<_>>())?;
    // Times that several series have are looked at once.
    let is_in_order = |seen: &mut Column<i64>, points: &Points| {
        let ascends = points.times.ptr_eq(seen) || points.is_in_order();
        if ascends {
            seen.clone_from(&points.times);
        }
        ascends
    };
    let overlap: Vec<usize> = found
        .par_iter_mut()
        .enumerate()
        .with_min_len(64)
        .map_init(Column::default, |seen, (at, own)| {
            if let [as_one] = own.as_slice()
                && chosen[at].rows().nth(1).is_some()
            {
                return (!is_in_order(seen, as_one)).then_some(at);
            }
            own.iter_mut().filter(|points| !is_in_order(seen, points)).for_each(Points::put_in_order);
            None
        })
        .flatten_iter()
        .collect();
    if !overlap.is_empty() {
        let again = read(bundle, &overlap.iter().map(|at| (&chosen[*at], false)).collect::<Vec<_>>())?;
        for (at, mut own) in overlap.into_iter().zip(again) {
            own.iter_mut().filter(|points| !points.is_in_order()).for_each(Points::put_in_order);
            found[at] = own;
        }
    }
    Ok(found)
}

/// The float samples of series as the table has them: of all rows as one where that is wanted, else row by row.
fn read(bundle: &Bundle, wanted: &[(&Chosen, bool)]) -> anyhow::Result<Vec<Vec<Points>>> {
    let (mut places, mut count, mut lengths) = (Vec::new(), 0, Vec::with_capacity(wanted.len()));
    for (one, as_one) in wanted {
        let begin = count;
        for row in one.rows() {
            count += usize::from(count == begin || !as_one);
            places.push((row.series, count - 1));
        }
        lengths.push(count - begin);
    }
    places.sort_unstable();
    let mut all = points::of_series(bundle, &places, count)?.into_iter();
    Ok(lengths.into_iter().map(|length| all.by_ref().take(length).collect()).collect())
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
