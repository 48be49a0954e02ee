//! Float samples of chosen series, read straight from the row groups that hold them.
//!
//! `samples` is by far the longest table: 14 million rows for 10,000 series over six hours. Row groups are read in
//! parallel, three columns of each, and only those whose range of series identifiers has one that is wanted.
//!
//! What is scraped together has the same times: the course of times that several series have is held once.
//!
//! ```text
//! series, time   runs: whose rows, how many, which course of times    lengths, and times of each series
//! value          to where its run belongs, in one piece of memory for all
//! ```

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail};
use arrow_array::types::{Float64Type, Int64Type};
use arrow_buffer::Buffer;
use bytes::Bytes;
use memmap2::{Advice, MmapMut};
use rayon::prelude::{IndexedParallelIterator, IntoParallelIterator, IntoParallelRefIterator, ParallelIterator};
use syncline_promql::{Column, any_stale};
use syncline_schema::samples::SampleRow;

use super::Bundle;
use super::batches::{Groups, full, possible};

/// Rows that are decoded at once: they stay in the cache of a core until they are where they belong.
const BATCH: usize = 1 << 13;
/// Courses of times that a run is compared with, the latest ones: series of a target follow each other.
const RECENT: usize = 4;
/// Numbers from which memory is asked for in large pages.
const MANY: usize = 1 << 18;

/// Samples: times in milliseconds since 1970, and as many values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Points {
    /// Times.
    pub times: Column<i64>,
    /// Values.
    pub values: Column<f64>,
    /// Whether none of the values is a staleness marker.
    pub unmarked: bool,
}

impl Points {
    /// Samples of a series.
    pub fn of(times: Vec<i64>, values: Vec<f64>) -> Self {
        Points { unmarked: !any_stale(&values), times: times.into(), values: values.into() }
    }

    /// Whether the times ascend, each once.
    pub fn is_in_order(&self) -> bool {
        self.times.is_sorted_by(|a, b| a < b)
    }

    /// Makes times ascend; of equal times the first is kept. Blocks, and runs of a large table, may overlap.
    pub fn put_in_order(&mut self) {
        let mut pairs: Vec<(i64, f64)> = self.times.iter().copied().zip(self.values.iter().copied()).collect();
        pairs.sort_by_key(|(time, _)| *time);
        pairs.dedup_by_key(|(time, _)| *time);
        let (times, values) = pairs.into_iter().unzip();
        *self = Self::of(times, values);
    }
}

/// Rows of one series that follow each other in a row group.
#[derive(Clone, Copy)]
struct Run {
    rows: usize,
    /// Place of the series in the answer, and number of the course of its times; none where it is not wanted.
    wanted: Option<(usize, usize)>,
}

/// Where the rows of a run go.
struct Slot<'a> {
    rows: usize,
    target: Option<Target<'a>>,
}

/// Room for the rows of a run, and what is to be told of their series: that it has a staleness marker.
struct Target<'a> {
    room: &'a mut [f64],
    marked: &'a AtomicBool,
}

impl Target<'_> {
    /// What `put` puts into the room is looked at while it is at hand.
    fn fill(self, put: impl FnOnce(&mut [f64])) {
        put(self.room);
        if any_stale(self.room) {
            self.marked.store(true, Ordering::Relaxed);
        }
    }
}

/// The samples of some series, as the table has them. `owners` has identifiers of rows of `series`, ascending, each with the place in the
/// answer (below `count`) that its samples belong to; of one place there may be several.
///
/// The columns of identifiers and times are read first: they tell how long each answer is, and where in it each row goes.
///
/// # Errors
/// A table that cannot be read.
pub fn of_series(bundle: &Bundle, owners: &[(i64, usize)], count: usize) -> anyhow::Result<Vec<Points>> {
    let file = bundle.path.join(format!("{}.parquet", SampleRow::TABLE));
    if !file.exists() || owners.is_empty() {
        return Ok(vec![Points::default(); count]);
    }
    let table = Groups::open(&file, &["series", "time"])?;
    let ids: Vec<i64> = owners.iter().map(|(series, _)| *series).collect();
    let groups = table.of_series(Some(&ids));
    let found: Vec<Runs> =
        groups.par_iter().map(|group| runs(&table, *group, owners)).collect::<anyhow::Result<_>>()?;
    let (runs, courses): (Vec<_>, Vec<_>) = found.into_iter().map(|one| (one.runs, one.courses)).unzip();
    let series = arranged(&runs, courses, count);

    let table = table.of_columns(&["value"]);
    let marked: Vec<AtomicBool> = series.iter().map(|_| AtomicBool::new(false)).collect();
    let values = filled(series.iter().map(|one| one.times.len()).sum(), |mut all| {
        let mut rooms: Vec<_> = Vec::with_capacity(count);
        for one in &series {
            let mut own: Vec<&mut [f64]> = one.parts.iter().map(|_| Default::default()).collect();
            for part in one.parts.iter() {
                (own[part.run], all) = all.split_at_mut(part.rows);
            }
            rooms.push(own.into_iter());
        }
        let mut slot = |run: &Run| Slot {
            rows: run.rows,
            target: run
                .wanted
                .and_then(|(owner, _)| Some(Target { room: rooms[owner].next()?, marked: &marked[owner] })),
        };
        let slots: Vec<Vec<Slot>> = runs.iter().map(|runs| runs.iter().map(&mut slot).collect()).collect();
        groups.into_par_iter().zip(slots).try_for_each(|(group, slots)| fill(&table, group, slots))
    })?;
    let mut begin = 0;
    let own = |(one, marked): (Arranged, AtomicBool)| {
        let values = values.slice(begin, one.times.len());
        begin += one.times.len();
        Points { times: one.times, values, unmarked: !marked.into_inner() }
    };
    Ok(series.into_iter().zip(marked).map(own).collect())
}

/// So many numbers in one piece of memory, as `fill` sets them. To ask for many pages takes longer than to decode what they hold.
fn filled(count: usize, fill: impl FnOnce(&mut [f64]) -> anyhow::Result<()>) -> anyhow::Result<Column<f64>> {
    if count < MANY {
        let mut numbers = vec![0.0; count];
        fill(&mut numbers)?;
        return Ok(numbers.into());
    }
    let bytes = count.checked_mul(size_of::<f64>()).context("samples beyond all memory")?;
    let mut map = MmapMut::map_anon(bytes).with_context(|| format!("{bytes} bytes for samples"))?;
    // A system without large pages has small ones.
    let _ = map.advise(Advice::HugePage);
    fill(bytemuck::cast_slice_mut(&mut map))?;
    Ok(Buffer::from(Bytes::from_owner(map)).into())
}

/// The runs of a row group, and their courses of times (ms).
fn runs(table: &Groups, group: usize, owners: &[(i64, usize)]) -> anyhow::Result<Runs> {
    let mut found = Runs::default();
    // What a batch ends with may go on in the next one.
    let mut open: Option<(i64, Vec<i64>)> = None;
    table.each(group, BATCH, |batch| {
        let mut times = &full::<Int64Type>(batch, "time")?.values()[..];
        for run in full::<Int64Type>(batch, "series")?.values().chunk_by(|a, b| a == b) {
            let (own, later) = times.split_at(run.len());
            times = later;
            match &mut open {
                Some((series, begun)) if *series == run[0] => {
                    begun.extend_from_slice(own);
                    continue;
                }
                _ => open.take().map_or(Ok(()), |(series, times)| found.take(series, &times, owners))?,
            }
            if times.is_empty() {
                open = Some((run[0], own.to_vec()));
            } else {
                found.take(run[0], own, owners)?;
            }
        }
        Ok(())
    })?;
    open.map_or(Ok(()), |(series, times)| found.take(series, &times, owners))?;
    found.courses.iter_mut().flatten().for_each(|time| *time = time.div_euclid(1_000_000));
    Ok(found)
}

/// The runs of a row group, in order, and the courses of times that those of wanted series have.
#[derive(Default)]
struct Runs {
    runs: Vec<Run>,
    courses: Vec<Vec<i64>>,
    /// Numbers of the latest courses, the last one first.
    recent: Vec<usize>,
}

impl Runs {
    /// Appends the run of a series; `times` are in ns.
    fn take(&mut self, series: i64, times: &[i64], owners: &[(i64, usize)]) -> anyhow::Result<()> {
        let Ok(at) = owners.binary_search_by_key(&series, |(series, _)| *series) else {
            match self.runs.last_mut().filter(|last| last.wanted.is_none()) {
                Some(last) => last.rows += times.len(),
                None => self.runs.push(Run { rows: times.len(), wanted: None }),
            }
            return Ok(());
        };
        let known = self.recent.iter().position(|course| self.courses[*course] == times);
        if known.is_none() {
            possible("time", times.iter().copied())?;
            self.courses.push(times.to_vec());
        }
        let course = known.map_or(self.courses.len() - 1, |at| self.recent.remove(at));
        self.recent.insert(0, course);
        self.recent.truncate(RECENT);
        self.runs.push(Run { rows: times.len(), wanted: Some((owners[at].1, course)) });
        Ok(())
    }
}

/// A series whose runs lie one behind the other.
#[derive(Clone, Default)]
struct Arranged {
    times: Column<i64>,
    /// As they follow each other in `times`.
    parts: Arc<[Part]>,
}

/// A run of a series: its number, as the table has them, and its rows.
#[derive(Clone, Copy)]
struct Part {
    run: usize,
    rows: usize,
}

impl Arranged {
    /// From the courses of runs. Those that do not overlap follow each other in time: blocks of a database are read by name.
    fn of(courses: &[&Column<i64>]) -> Self {
        let mut order: Vec<usize> = (0..courses.len()).collect();
        let follow = |order: &[usize]| order.windows(2).all(|two| courses[two[0]].last() < courses[two[1]].first());
        if !follow(&order) {
            order.sort_by_key(|at| courses[*at].first());
            if !follow(&order) {
                order.sort_unstable();
            }
        }
        let times = match courses {
            [one] => (*one).clone(),
            _ => order.iter().flat_map(|at| courses[*at].iter().copied()).collect(),
        };
        Arranged { times, parts: order.into_iter().map(|run| Part { run, rows: courses[run].len() }).collect() }
    }
}

/// The series by their places. `courses` are those of the row groups, one after the other.
fn arranged(runs: &[Vec<Run>], courses: Vec<Vec<Vec<i64>>>, count: usize) -> Vec<Arranged> {
    // Equal courses of several row groups have one number. Of those that look alike only the latest are compared.
    let mut numbered: Vec<Column<i64>> = Vec::new();
    let mut alike: HashMap<(usize, Option<i64>, Option<i64>), Vec<usize>> = HashMap::new();
    let mut number = |course: Vec<i64>| {
        let alike = alike.entry((course.len(), course.first().copied(), course.last().copied())).or_default();
        let known = alike.iter().rev().take(RECENT).find(|at| numbered[**at] == course).copied();
        known.unwrap_or_else(|| {
            numbered.push(course.into());
            alike.push(numbered.len() - 1);
            numbered.len() - 1
        })
    };
    let numbers: Vec<Vec<usize>> =
        courses.into_iter().map(|courses| courses.into_iter().map(&mut number).collect()).collect();

    let mut own: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (runs, numbers) in runs.iter().zip(&numbers) {
        for (owner, course) in runs.iter().filter_map(|run| run.wanted) {
            own[owner].push(numbers[course]);
        }
    }
    let mut known: HashMap<Vec<usize>, Arranged> = HashMap::new();
    let arranged = |own: &Vec<usize>| Arranged::of(&own.iter().map(|at| &numbered[*at]).collect::<Vec<_>>());
    own.into_iter().map(|own| known.entry(own).or_insert_with_key(arranged).clone()).collect()
}

/// Puts the values of a row group to where they belong.
fn fill(table: &Groups, group: usize, slots: Vec<Slot>) -> anyhow::Result<()> {
    let mut slots = slots.into_iter();
    let mut slot = Slot { rows: 0, target: None };
    // The next rows, at most so many: how many, and where they go.
    let mut next = |most: usize| -> anyhow::Result<(usize, Option<Target>)> {
        while slot.rows == 0 {
            slot = slots.next().context("more rows than identifiers")?;
        }
        let rows = slot.rows.min(most);
        slot.rows -= rows;
        let own = slot.target.take().map(|Target { room, marked }| {
            let (own, rest) = room.split_at_mut(rows);
            slot.target = Some(Target { room: rest, marked });
            Target { room: own, marked }
        });
        Ok((rows, own))
    };
    let split = table.each_split(group, "value", |values| {
        let mut at = 0;
        while at < values.len() {
            let (rows, own) = next(values.len() - at)?;
            if let Some(own) = own {
                own.fill(|room| values.put(at, room));
            }
            at += rows;
        }
        Ok(())
    })?;
    if !split {
        table.each(group, BATCH, |batch| {
            let mut values = &full::<Float64Type>(batch, "value")?.values()[..];
            while !values.is_empty() {
                let (rows, own) = next(values.len())?;
                let (now, later) = values.split_at(rows);
                if let Some(own) = own {
                    own.fill(|room| room.copy_from_slice(now));
                }
                values = later;
            }
            Ok(())
        })?;
    }
    if slot.rows > 0 || slots.len() > 0 {
        bail!("row group {group}: fewer values than identifiers");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
    use arrow_schema::{DataType, Field, Schema};
    use parquet::arrow::ArrowWriter;
    use parquet::basic::Encoding;
    use parquet::file::properties::WriterProperties;
    use syncline_schema::manifest::Manifest;

    use super::*;

    fn points(all: &[(i64, f64)]) -> Points {
        let (times, values) = all.iter().copied().unzip();
        Points::of(times, values)
    }

    #[test]
    fn parts_that_overlap_are_merged_each_time_once() {
        let mut points = points(&[(10, 1.0), (30, 3.0), (20, 2.0), (30, 9.0), (40, 4.0)]);
        assert!(!points.is_in_order());
        points.put_in_order();
        assert_eq!(points, self::points(&[(10, 1.0), (20, 2.0), (30, 3.0), (40, 4.0)]));
        assert!(points.is_in_order());
    }

    /// A bundle whose table of samples has these row groups of series and times (ms).
    fn bundle(folder: &Path, groups: &[&[(i64, i64)]], properties: WriterProperties) -> Bundle {
        let schema = Arc::new(Schema::new(vec![
            Field::new("series", DataType::Int64, false),
            Field::new("time", DataType::Int64, false),
            Field::new("value", DataType::Float64, false),
        ]));
        let file = std::fs::File::create(folder.join("samples.parquet")).expect("a file");
        let mut writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties)).expect("a writer");
        for rows in groups {
            let column = |of: fn(&(i64, i64)) -> i64| Arc::new(rows.iter().map(of).collect::<Int64Array>());
            let values: Float64Array = rows.iter().map(|(series, time)| (series * 100 + time) as f64).collect();
            let columns: Vec<ArrayRef> = vec![column(|row| row.0), column(|row| row.1 * 1_000_000), Arc::new(values)];
            writer.write(&RecordBatch::try_new(Arc::clone(&schema), columns).expect("rows")).expect("written");
            writer.flush().expect("a row group");
        }
        writer.close().expect("a file");
        Bundle { path: folder.to_owned(), manifest: Manifest::default(), ..Bundle::default() }
    }

    /// Dictionaries, as older bundles have them; and values split into bytes, in pages of two.
    fn properties() -> [WriterProperties; 2] {
        let split = WriterProperties::builder()
            .set_dictionary_enabled(false)
            .set_column_encoding("value".into(), Encoding::BYTE_STREAM_SPLIT)
            .set_data_page_row_count_limit(2)
            .set_write_batch_size(2);
        [WriterProperties::builder().build(), split.build()]
    }

    #[test]
    fn samples_over_row_groups_go_to_their_series() {
        // Series 1 and 3 are wanted, as places 1 and 0; 3 goes on in the second group, 2 lies between.
        // The last run of 1 lies among the first, that of 5 ahead of it.
        let groups: [&[(i64, i64)]; 3] =
            [&[(1, 10), (1, 20), (2, 10), (3, 10)], &[(3, 20), (4, 10), (5, 30), (5, 40)], &[(1, 15), (5, 10), (9, 1)]];
        for properties in properties() {
            let folder = tempfile::tempdir().expect("a folder");
            let bundle = bundle(folder.path(), &groups, properties);
            let found = of_series(&bundle, &[(1, 1), (3, 0), (5, 2)], 3).expect("readable");
            assert_eq!(found[0], points(&[(10, 310.0), (20, 320.0)]));
            assert_eq!(found[1], points(&[(10, 110.0), (20, 120.0), (15, 115.0)]));
            assert_eq!(found[2], points(&[(10, 510.0), (30, 530.0), (40, 540.0)]));
            let one = of_series(&bundle, &[(1, 0), (3, 0)], 1).expect("readable");
            assert_eq!(one[0].times, vec![10, 20, 10, 20, 15], "two rows in one place, as they stand");
        }
    }

    #[test]
    fn times_that_several_series_have_are_held_once_and_others_are_not_mixed_up() {
        // Over more rows than are decoded at once: 40 series of 500 samples; every seventh has times of its own, of one length and with
        // the same ends.
        let time = |series: i64, at: i64| at * 15_000 + i64::from(series % 7 == 3 && (at == 7 || at == series));
        let (first, second): (Vec<_>, Vec<_>) = (0..40)
            .flat_map(|series| (0..500).map(move |at| (series, time(series, at))))
            .partition(|(_, time)| *time < 3_000_000);
        for properties in properties() {
            let folder = tempfile::tempdir().expect("a folder");
            let bundle = bundle(folder.path(), &[&first, &second], properties);
            let owners: Vec<(i64, usize)> = (0..40).map(|series| (series, 39 - series as usize)).collect();
            let found = of_series(&bundle, &owners, 40).expect("readable");
            for (series, place) in owners {
                let expected: Vec<(i64, f64)> =
                    (0..500).map(|at| time(series, at)).map(|time| (time, (series * 100 + time) as f64)).collect();
                assert_eq!(found[place], points(&expected), "series {series}");
                assert_eq!(found[place].times.ptr_eq(&found[39].times), series % 7 != 3, "series {series}");
            }
        }
    }
}
