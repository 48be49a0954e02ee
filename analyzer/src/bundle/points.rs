//! Float samples of chosen series, read straight from the row groups that hold them.
//!
//! `samples` is by far the longest table: 14 million rows for 10,000 series over six hours. Row groups are read in
//! parallel, three columns of each, and only those whose range of series identifiers has one that is wanted.

use arrow_array::RecordBatch;
use arrow_array::types::{Float64Type, Int64Type};
use rayon::prelude::{IntoParallelIterator, ParallelIterator};
use syncline_schema::samples::SampleRow;

use super::Bundle;
use super::batches::{Groups, full};

/// Rows that are decoded at once.
const BATCH: usize = 1 << 13;
const COLUMNS: [&str; 3] = ["series", "time", "value"];

/// Samples of one series: times in milliseconds since 1970, ascending, each once; and as many values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Points {
    /// Times.
    pub times: Vec<i64>,
    /// Values.
    pub values: Vec<f64>,
}

/// Rows of one series that follow each other in the table.
struct Stretch {
    owner: usize,
    points: Points,
}

/// The samples of some series. `owners` has identifiers of rows of `series`, ascending, each with the place in the answer (below
/// `count`) that its samples belong to.
///
/// # Errors
/// A table that cannot be read.
pub fn of_series(bundle: &Bundle, owners: &[(i64, usize)], count: usize) -> anyhow::Result<Vec<Points>> {
    let file = bundle.path.join(format!("{}.parquet", SampleRow::TABLE));
    if !file.exists() || owners.is_empty() {
        return Ok(vec![Points::default(); count]);
    }
    let table = Groups::open(&file, &COLUMNS)?;
    let ids: Vec<i64> = owners.iter().map(|(series, _)| *series).collect();
    let read = |group: usize| -> anyhow::Result<Vec<Stretch>> {
        let mut stretches = Vec::new();
        table.each(group, BATCH, |batch| take(batch, owners, &mut stretches))?;
        Ok(stretches)
    };
    let groups: Vec<Vec<Stretch>> =
        table.of_series(Some(&ids)).into_par_iter().map(read).collect::<anyhow::Result<_>>()?;
    let mut parts: Vec<Vec<Points>> = (0..count).map(|_| Vec::new()).collect();
    for stretch in groups.into_iter().flatten() {
        parts[stretch.owner].push(stretch.points);
    }
    Ok(parts.into_par_iter().map(united).collect())
}

/// Adds the wanted rows of a batch, one stretch for rows of one series that follow each other.
fn take(batch: &RecordBatch, owners: &[(i64, usize)], out: &mut Vec<Stretch>) -> anyhow::Result<()> {
    let series = full::<Int64Type>(batch, COLUMNS[0])?.values();
    let times = full::<Int64Type>(batch, COLUMNS[1])?.values();
    let values = full::<Float64Type>(batch, COLUMNS[2])?.values();
    let mut at = 0;
    for run in series.chunk_by(|a, b| a == b) {
        let rows = at..at + run.len();
        at = rows.end;
        let Ok(found) = owners.binary_search_by_key(&run[0], |(series, _)| *series) else { continue };
        let owner = owners[found].1;
        let times = times[rows.clone()].iter().map(|time| time.div_euclid(1_000_000));
        match out.last_mut().filter(|last| last.owner == owner) {
            Some(last) => {
                last.points.times.extend(times);
                last.points.values.extend_from_slice(&values[rows]);
            }
            None => {
                let points = Points { times: times.collect(), values: values[rows].to_vec() };
                out.push(Stretch { owner, points });
            }
        }
    }
    Ok(())
}

/// Parts of one series as one: ascending, of equal times the first.
fn united(parts: Vec<Points>) -> Points {
    let ascending = |part: &Points| part.times.is_sorted_by(|a, b| a < b);
    let disjoint = parts.windows(2).all(|two| two[0].times.last() < two[1].times.first());
    if disjoint && parts.iter().all(ascending) {
        let mut parts = parts.into_iter();
        let mut all = parts.next().unwrap_or_default();
        for part in parts {
            all.times.extend(part.times);
            all.values.extend(part.values);
        }
        return all;
    }
    let mut points: Vec<(i64, f64)> =
        parts.into_iter().flat_map(|part| part.times.into_iter().zip(part.values)).collect();
    points.sort_by_key(|(time, _)| *time);
    points.dedup_by_key(|(time, _)| *time);
    let (times, values) = points.into_iter().unzip();
    Points { times, values }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(all: &[(i64, f64)]) -> Points {
        let (times, values) = all.iter().copied().unzip();
        Points { times, values }
    }

    #[test]
    fn parts_that_overlap_are_merged_each_time_once() {
        let parts = vec![points(&[(10, 1.0), (30, 3.0)]), points(&[(20, 2.0), (30, 9.0)]), points(&[(40, 4.0)])];
        assert_eq!(united(parts), points(&[(10, 1.0), (20, 2.0), (30, 3.0), (40, 4.0)]));
    }

    #[test]
    fn parts_that_follow_each_other_are_joined() {
        let parts = vec![points(&[(10, 1.0)]), points(&[(20, 2.0), (30, 3.0)])];
        assert_eq!(united(parts), points(&[(10, 1.0), (20, 2.0), (30, 3.0)]));
        assert_eq!(united(vec![points(&[(10, 1.0), (10, 2.0)])]), points(&[(10, 1.0)]), "within a part too");
        assert_eq!(united(Vec::new()), Points::default());
    }
}
