//! Float samples of chosen series, read straight from the row groups that hold them.
//!
//! `samples` is by far the longest table: 14 million rows for 10,000 series over six hours. Row groups are read in
//! parallel, three columns of each, and only those whose range of series identifiers has one that is wanted.

use anyhow::Context;
use arrow_array::types::{Float64Type, Int64Type};
use rayon::prelude::{IndexedParallelIterator, IntoParallelIterator, IntoParallelRefIterator, ParallelIterator};
use syncline_schema::is_possible;
use syncline_schema::samples::SampleRow;

use super::Bundle;
use super::batches::{Groups, full, possible};

/// Rows that are decoded at once.
const BATCH: usize = 1 << 13;

/// Samples: times in milliseconds since 1970, and as many values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Points {
    /// Times.
    pub times: Vec<i64>,
    /// Values.
    pub values: Vec<f64>,
}

impl Points {
    /// Whether the times ascend, each once.
    pub fn is_in_order(&self) -> bool {
        self.times.is_sorted_by(|a, b| a < b)
    }

    /// Makes times ascend; of equal times the first is kept. Blocks, and runs of a large table, may overlap.
    pub fn put_in_order(&mut self) {
        if self.is_in_order() {
            return;
        }
        let mut pairs: Vec<(i64, f64)> = self.times.iter().copied().zip(self.values.iter().copied()).collect();
        pairs.sort_by_key(|(time, _)| *time);
        pairs.dedup_by_key(|(time, _)| *time);
        (self.times, self.values) = pairs.into_iter().unzip();
    }
}

/// Rows of one series that follow each other in a row group: the place of the series in the answer, none where it is not
/// wanted; and how many rows.
#[derive(Clone, Copy)]
struct Run {
    owner: Option<usize>,
    rows: usize,
}

/// Where the rows of a run go.
struct Slot<'a> {
    rows: usize,
    target: Option<(&'a mut [i64], &'a mut [f64])>,
}

/// The samples of some series, as the table has them. `owners` has identifiers of rows of `series`, ascending, each with the place in the
/// answer (below `count`) that its samples belong to; of one place there may be several.
///
/// The column of identifiers is read first: it tells how long each answer is, and where in it each row goes.
///
/// # Errors
/// A table that cannot be read.
pub fn of_series(bundle: &Bundle, owners: &[(i64, usize)], count: usize) -> anyhow::Result<Vec<Points>> {
    let file = bundle.path.join(format!("{}.parquet", SampleRow::TABLE));
    if !file.exists() || owners.is_empty() {
        return Ok(vec![Points::default(); count]);
    }
    let table = Groups::open(&file, &["series"])?;
    let ids: Vec<i64> = owners.iter().map(|(series, _)| *series).collect();
    let groups = table.of_series(Some(&ids));
    let runs: Vec<Vec<Run>> =
        groups.par_iter().map(|group| runs(&table, *group, owners)).collect::<anyhow::Result<_>>()?;

    let mut lengths = vec![0; count];
    for run in runs.iter().flatten() {
        if let Some(owner) = run.owner {
            lengths[owner] += run.rows;
        }
    }
    // By one thread: those that ask the system for memory at once wait for each other.
    let room = |n: usize| Points { times: vec![0; n], values: vec![0.0; n] };
    let mut all: Vec<Points> = lengths.into_iter().map(room).collect();
    let mut free: Vec<(&mut [i64], &mut [f64])> =
        all.iter_mut().map(|points| (&mut points.times[..], &mut points.values[..])).collect();
    let slots: Vec<Vec<Slot>> = runs
        .iter()
        .map(|runs| {
            let slot = |run: &Run| Slot {
                rows: run.rows,
                target: run.owner.map(|owner| {
                    let (times, values) = std::mem::take(&mut free[owner]);
                    let (times, later_times) = times.split_at_mut(run.rows);
                    let (values, later_values) = values.split_at_mut(run.rows);
                    free[owner] = (later_times, later_values);
                    (times, values)
                }),
            };
            runs.iter().map(slot).collect()
        })
        .collect();
    let table = table.of_columns(&["time", "value"]);
    groups.into_par_iter().zip(slots).try_for_each(|(group, slots)| fill(&table, group, slots))?;
    Ok(all)
}

/// The runs of a row group.
fn runs(table: &Groups, group: usize, owners: &[(i64, usize)]) -> anyhow::Result<Vec<Run>> {
    let mut runs: Vec<Run> = Vec::new();
    table.each(group, BATCH, |batch| {
        for run in full::<Int64Type>(batch, "series")?.values().chunk_by(|a, b| a == b) {
            let found = owners.binary_search_by_key(&run[0], |(series, _)| *series).ok();
            let owner = found.map(|at| owners[at].1);
            match runs.last_mut().filter(|last| last.owner == owner) {
                Some(last) => last.rows += run.len(),
                None => runs.push(Run { owner, rows: run.len() }),
            }
        }
        Ok(())
    })?;
    Ok(runs)
}

/// Copies the rows of a row group to where they belong.
fn fill(table: &Groups, group: usize, slots: Vec<Slot>) -> anyhow::Result<()> {
    let mut slots = slots.into_iter();
    let mut slot = Slot { rows: 0, target: None };
    table.each(group, BATCH, |batch| {
        let mut times = &full::<Int64Type>(batch, "time")?.values()[..];
        // Without a way out early compilers make wide instructions of it.
        if !times.iter().fold(true, |all, time| all & is_possible(*time)) {
            possible("time", times.iter().copied())?;
        }
        let mut values = &full::<Float64Type>(batch, "value")?.values()[..];
        while !times.is_empty() {
            while slot.rows == 0 {
                slot = slots.next().context("more rows than identifiers")?;
            }
            let rows = slot.rows.min(times.len());
            if let Some((to_times, to_values)) = slot.target.take() {
                let (now, later) = to_times.split_at_mut(rows);
                let (values_now, values_later) = to_values.split_at_mut(rows);
                // Of a time that is no earlier than 1970 the quotient without a sign is the same, and takes half as long.
                if times[..rows].iter().fold(true, |all, time| all & (*time >= 0)) {
                    now.iter_mut()
                        .zip(times)
                        .for_each(|(to, time)| *to = (time.cast_unsigned() / 1_000_000).cast_signed());
                } else {
                    now.iter_mut().zip(times).for_each(|(to, time)| *to = time.div_euclid(1_000_000));
                }
                values_now.copy_from_slice(&values[..rows]);
                slot.target = Some((later, values_later));
            }
            slot.rows -= rows;
            (times, values) = (&times[rows..], &values[rows..]);
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
    use arrow_schema::{DataType, Field, Schema};
    use parquet::arrow::ArrowWriter;
    use syncline_schema::manifest::Manifest;

    use super::*;

    #[test]
    fn parts_that_overlap_are_merged_each_time_once() {
        let mut points = Points { times: vec![10, 30, 20, 30, 40], values: vec![1.0, 3.0, 2.0, 9.0, 4.0] };
        assert!(!points.is_in_order());
        points.put_in_order();
        assert_eq!(points, Points { times: vec![10, 20, 30, 40], values: vec![1.0, 2.0, 3.0, 4.0] });
        assert!(points.is_in_order());
    }

    #[test]
    fn samples_over_row_groups_go_to_their_series() {
        // Series 1 and 3 are wanted, as places 1 and 0; 3 goes on in the second group, 2 lies between.
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("samples.parquet");
        let schema = Arc::new(Schema::new(vec![
            Field::new("series", DataType::Int64, false),
            Field::new("time", DataType::Int64, false),
            Field::new("value", DataType::Float64, false),
        ]));
        let mut writer = ArrowWriter::try_new(std::fs::File::create(&path).expect("a file"), Arc::clone(&schema), None)
            .expect("a writer");
        for rows in [&[(1, 10), (1, 20), (2, 10), (3, 10)][..], &[(3, 20), (4, 10)], &[(1, 15), (9, 1)]] {
            let column = |of: fn(&(i64, i64)) -> i64| Arc::new(rows.iter().map(of).collect::<Int64Array>());
            let values: Float64Array = rows.iter().map(|(series, time)| (series * 100 + time) as f64).collect();
            let columns: Vec<ArrayRef> = vec![column(|row| row.0), column(|row| row.1 * 1_000_000), Arc::new(values)];
            writer.write(&RecordBatch::try_new(Arc::clone(&schema), columns).expect("rows")).expect("written");
            writer.flush().expect("a row group");
        }
        writer.close().expect("a file");
        let bundle = Bundle { path: folder.path().to_owned(), manifest: Manifest::default(), ..Bundle::default() };
        let found = of_series(&bundle, &[(1, 1), (3, 0)], 2).expect("readable");
        assert_eq!(found[0], Points { times: vec![10, 20], values: vec![310.0, 320.0] });
        assert_eq!(found[1], Points { times: vec![10, 20, 15], values: vec![110.0, 120.0, 115.0] });
        let one = of_series(&bundle, &[(1, 0), (3, 0)], 1).expect("readable");
        assert_eq!(one[0].times, [10, 20, 10, 20, 15], "two rows in one place, as they stand");
    }
}
