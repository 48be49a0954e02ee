//! Series identifiers, staleness of scrape streams, and samples in sorted runs.

use std::collections::HashMap;

use syncline_schema::samples::{STALE_NAN, SampleRow, SeriesRow};

use super::tables::{Tables, WriteError};
use crate::form::{Batch, Context, SeriesKey};

/// Samples of a sorted run. Fixed, for determinism; about 10 MB.
const RUN: usize = 200_000;

/// What is known of a source's scrapes.
#[derive(Default)]
struct Scrapes {
    /// Series of the last scrape that had any.
    alive: Vec<i64>,
    /// Ordinal of the last scrape of each series.
    seen: HashMap<i64, u64>,
    ordinal: u64,
}

/// The series of a bundle.
#[derive(Default)]
pub struct Samples {
    ids: HashMap<(i32, SeriesKey), i64>,
    scrapes: HashMap<i32, Scrapes>,
    run: Vec<SampleRow<'static>>,
}

impl Samples {
    /// Takes the series and samples of a batch. Returns the identifier of each of its series.
    ///
    /// # Errors
    /// A table that cannot be written.
    pub fn take(&mut self, context: &Context, batch: &mut Batch, tables: &mut Tables) -> Result<Vec<i64>, WriteError> {
        let mut global = Vec::with_capacity(batch.series.len());
        for local in &batch.series {
            let fresh = self.ids.len() as i64;
            let key = (context.source, local.key.clone());
            let id = *self.ids.entry(key).or_insert(fresh);
            if id == fresh {
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
            global.push(id);
        }
        let samples = std::mem::take(&mut batch.samples);
        if !batch.scrapes.is_empty() {
            self.mark_stale(context.source, batch, &samples, &global);
        }
        for sample in samples {
            let Some(series) = global.get(sample.series as usize) else { continue };
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
        Ok(global)
    }

    /// A series that is gone from the next successful scrape became stale then.
    fn mark_stale(&mut self, source: i32, batch: &Batch, samples: &[crate::form::Sample], global: &[i64]) {
        let state = self.scrapes.entry(source).or_default();
        let mut at = 0;
        for (record, time) in &batch.scrapes {
            state.ordinal += 1;
            let mut current = Vec::new();
            // Samples ahead of the first stamp belong to no scrape.
            at += samples[at..].iter().take_while(|sample| sample.record < *record).count();
            while let Some(sample) = samples.get(at).filter(|sample| sample.record == *record) {
                if let Some(id) = global.get(sample.series as usize)
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
