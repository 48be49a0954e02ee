//! Series identifiers, staleness of scrape streams, and samples in sorted runs.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use syncline_schema::samples::{STALE_NAN, SampleRow, SeriesRow};

use super::tables::{Tables, WriteError};
use crate::form::ledger::{Held, Ledger};
use crate::form::{Batch, Context, SeriesKey};

/// Samples of a sorted run. Fixed, for determinism; about 10 MB.
const RUN: usize = 200_000;

/// Memory that is taken for a series: its key and identifier, in a map that may be half empty, and its places among scrapes, where it has
/// some.
const SERIES: usize = 2 * size_of::<(Key, i64)>();
const SCRAPED: usize = 2 * (size_of::<(i64, u64)>() + size_of::<i64>());

/// What stands for a series.
type Key = [u64; 2];

/// Identifier of a series that was refused.
pub const REFUSED: i64 = -1;

/// What is known of a source's scrapes.
#[derive(Default)]
struct Scrapes {
    /// Series of the last scrape that had any.
    alive: Vec<i64>,
    /// Ordinal of the last scrape of each series.
    seen: HashMap<i64, u64>,
    ordinal: u64,
}

/// The series of a source that is being read.
struct Known {
    /// By what [`Samples::key`] makes of names and labels, which may be any length.
    ids: HashMap<Key, i64>,
    scrapes: Scrapes,
    held: Held,
}

/// The series of a bundle.
pub struct Samples {
    ledger: Ledger,
    hashers: [RandomState; 2],
    /// By source, until it ends.
    sources: HashMap<i32, Known>,
    next: i64,
    run: Vec<SampleRow<'static>>,
}

/// What became of the series of a batch.
#[derive(Debug, Default)]
pub struct Taken {
    /// Identifier of each; [`REFUSED`] where there was no room for it.
    pub ids: Vec<i64>,
    /// Line of the first that was refused, and how many were.
    pub refused: Option<(i64, u64)>,
}

impl Samples {
    /// No series yet; what is kept of them is taken from `ledger`.
    pub fn new(ledger: Ledger) -> Self {
        let hashers = [RandomState::new(), RandomState::new()];
        Self { ledger, hashers, sources: HashMap::new(), next: 0, run: Vec::new() }
    }

    /// 128 bits that stand for a series: of two hashes with keys that nobody knows, so that nobody can make two series one.
    fn key(&self, key: &SeriesKey) -> Key {
        self.hashers.each_ref().map(|hasher| hasher.hash_one(key))
    }

    /// A source was read to its end: its series come again in no other one.
    pub fn end(&mut self, source: i32) {
        self.sources.remove(&source);
    }

    /// Takes the series and samples of a batch.
    ///
    /// # Errors
    /// A table that cannot be written.
    pub fn take(&mut self, context: &Context, batch: &mut Batch, tables: &mut Tables) -> Result<Taken, WriteError> {
        let memory = if batch.scrapes.is_empty() { SERIES } else { SERIES + SCRAPED };
        let mut taken = Taken { ids: Vec::with_capacity(batch.series.len()), refused: None };
        for local in &batch.series {
            let key = self.key(&local.key);
            let account = || Known { ids: HashMap::new(), scrapes: Scrapes::default(), held: self.ledger.account() };
            let known = self.sources.entry(context.source).or_insert_with(account);
            if let Some(id) = known.ids.get(&key) {
                taken.ids.push(*id);
                continue;
            }
            if known.held.take(memory).is_err() {
                taken.refused.get_or_insert((local.record, 0)).1 += 1;
                taken.ids.push(REFUSED);
                continue;
            }
            let id = self.next;
            self.next += 1;
            known.ids.insert(key, id);
            taken.ids.push(id);
            tables.push(&SeriesRow {
                source: context.source,
                record: local.record,
                series: id,
                clock: context.clock.as_str().into(),
                witness: batch.witness.into(),
                name: local.key.name.as_str().into(),
                labels: local.key.labels.as_str().into(),
                metric_type: local.metric_type.map(Into::into),
                ..Default::default()
            })?;
        }
        let global = &taken.ids;
        let samples = std::mem::take(&mut batch.samples);
        if !batch.scrapes.is_empty() {
            self.mark_stale(context.source, batch, &samples, global);
        }
        for sample in samples {
            let Some(series) = global.get(sample.series as usize).filter(|id| **id != REFUSED) else { continue };
            self.run.push(SampleRow {
                series: *series,
                record: sample.record,
                time: sample.time,
                value: sample.value,
                ..Default::default()
            });
        }
        while self.run.len() >= RUN {
            let rest = self.run.split_off(RUN);
            let full = std::mem::replace(&mut self.run, rest);
            write(full, tables)?;
        }
        Ok(taken)
    }

    /// A series that is gone from the next successful scrape became stale then.
    fn mark_stale(&mut self, source: i32, batch: &Batch, samples: &[crate::form::Sample], global: &[i64]) {
        let Some(Known { scrapes: state, .. }) = self.sources.get_mut(&source) else { return };
        let mut at = 0;
        for (record, time) in &batch.scrapes {
            state.ordinal += 1;
            let mut current = Vec::new();
            // Samples ahead of the first stamp belong to no scrape.
            at += samples[at..].iter().take_while(|sample| sample.record < *record).count();
            while let Some(sample) = samples.get(at).filter(|sample| sample.record == *record) {
                if let Some(id) = global.get(sample.series as usize).filter(|id| **id != REFUSED)
                    && state.seen.insert(*id, state.ordinal) != Some(state.ordinal)
                {
                    current.push(*id);
                }
                at += 1;
            }
            if current.is_empty() {
                continue;
            }
            for id in &state.alive {
                if state.seen.get(id) != Some(&state.ordinal) {
                    let value = f64::from_bits(STALE_NAN);
                    self.run.push(SampleRow { series: *id, record: *record, time: *time, value, ..Default::default() });
                }
            }
            state.alive = current;
        }
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// A table that cannot be written.
    pub fn finish(&mut self, tables: &mut Tables) -> Result<(), WriteError> {
        write(std::mem::take(&mut self.run), tables)
    }
}

fn write(mut run: Vec<SampleRow<'static>>, tables: &mut Tables) -> Result<(), WriteError> {
    run.sort_by_key(|sample| (sample.series, sample.time, sample.record));
    for sample in &run {
        tables.push(sample)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{REFUSED, SERIES, Samples};
    use crate::form::ledger::Ledger;
    use crate::form::{Batch, Context, Sample, SeriesKey};
    use crate::parse::harness::context;
    use crate::write::tables::Tables;

    fn batch(names: std::ops::Range<u32>) -> Batch {
        let mut batch = Batch::default();
        for number in names {
            let key = SeriesKey { name: format!("a{number}"), labels: "{}".to_owned() };
            let series = batch.series(key, i64::from(number), None);
            batch.samples.push(Sample { series, record: 1, time: 1, value: 1.0 });
        }
        batch
    }

    #[test]
    fn what_is_kept_is_counted_refused_by_name_and_given_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut tables = Tables::new(folder.path());
        let ledger = Ledger::new(10 * SERIES);
        let mut samples = Samples::new(ledger.clone());
        let mut take = |samples: &mut Samples, context: &Context, names| {
            samples.take(context, &mut batch(names), &mut tables).expect("taken")
        };
        let first = take(&mut samples, &context(), 0..8);
        assert_eq!((first.ids, first.refused), ((0..8).collect::<Vec<i64>>(), None));
        let more = take(&mut samples, &context(), 6..12);
        assert_eq!((more.ids, more.refused), (vec![6, 7, 8, 9, REFUSED, REFUSED], Some((10, 2))));
        assert_eq!(samples.run.len(), 12, "no sample of a series that was refused");
        samples.end(context().source);
        assert_eq!(ledger.taken(), 0);
        let other = Context { source: 1, ..context() };
        assert_eq!(take(&mut samples, &other, 0..1).ids, [10]);
    }
}
