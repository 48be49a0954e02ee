//! Whole tables, straight from their row groups: where nothing is filtered or joined, a frame would only stand between.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fs::File;
use std::path::Path;

use anyhow::{Context, bail};
use arrow_array::types::{ArrowPrimitiveType, Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, BooleanArray, PrimitiveArray, RecordBatch, StringArray};
use arrow_schema::ArrowError;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowPredicateFn, ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowFilter,
};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::statistics::Statistics;
use rayon::prelude::{IntoParallelIterator, ParallelIterator};
use syncline_schema::{Column, ColumnSource, ColumnType, Row, Text, is_possible};

/// Rows that are decoded at once.
const BATCH: usize = 1 << 14;
/// The column that names a row's series.
const SERIES: &str = "series";
/// The column of a metric's name.
const NAME: &str = "name";

/// A Parquet file whose row groups are read apart from each other.
pub struct Groups<'a> {
    file: &'a Path,
    metadata: ArrowReaderMetadata,
    mask: ProjectionMask,
}

impl<'a> Groups<'a> {
    /// Opens a file for some of its columns.
    ///
    /// # Errors
    /// A file that is no Parquet.
    pub fn open(file: &'a Path, columns: &[&str]) -> anyhow::Result<Self> {
        let opened = File::open(file).with_context(|| file.display().to_string())?;
        let metadata = ArrowReaderMetadata::load(&opened, ArrowReaderOptions::new())
            .with_context(|| format!("{}: expected a Parquet file", file.display()))?;
        let mask = ProjectionMask::columns(metadata.parquet_schema(), columns.iter().copied());
        Ok(Groups { file, metadata, mask })
    }

    /// The row groups whose range of series identifiers has one of `ids` (ascending); all of them without any.
    pub fn of_series(&self, ids: Option<&[i64]>) -> Vec<usize> {
        let metadata = self.metadata.metadata();
        let wanted = |group: &usize| ids.is_none_or(|ids| may_hold(metadata.row_group(*group), ids));
        (0..metadata.num_row_groups()).filter(wanted).collect()
    }

    /// The same file for other columns.
    pub fn of_columns(&self, columns: &[&str]) -> Self {
        let mask = ProjectionMask::columns(self.metadata.parquet_schema(), columns.iter().copied());
        Groups { file: self.file, metadata: self.metadata.clone(), mask }
    }

    /// Hands each batch of a row group to `take`, in order.
    ///
    /// # Errors
    /// A row group that cannot be read, or what `take` answers.
    pub fn each(
        &self,
        group: usize,
        batch: usize,
        take: impl FnMut(&RecordBatch) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.each_wanted(group, batch, None, take)
    }

    /// The same of the rows that a filter keeps: of the others no column is unpacked that it does not need itself.
    fn each_wanted(
        &self,
        group: usize,
        batch: usize,
        filter: Option<RowFilter>,
        mut take: impl FnMut(&RecordBatch) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let place = || format!("{}: row group {group}", self.file.display());
        let opened = File::open(self.file).with_context(place)?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(opened, self.metadata.clone())
            .with_projection(self.mask.clone())
            .with_row_groups(vec![group])
            .with_batch_size(batch);
        let builder = match filter {
            Some(filter) => builder.with_row_filter(filter),
            None => builder,
        };
        for batch in builder.build().with_context(place)? {
            take(&batch.with_context(place)?).with_context(place)?;
        }
        Ok(())
    }

    /// Keeps rows with one of these names.
    fn named(&self, names: &HashSet<String>) -> RowFilter {
        let names = names.clone();
        let mask = ProjectionMask::columns(self.metadata.parquet_schema(), [NAME]);
        let keep = move |batch: RecordBatch| {
            let column: Option<&StringArray> = batch.columns().first().and_then(|one| one.as_any().downcast_ref());
            let column = column.ok_or_else(|| ArrowError::SchemaError(format!("column {NAME}: expected texts")))?;
            Ok(column.iter().map(|name| Some(name.is_some_and(|name| names.contains(name)))).collect())
        };
        RowFilter::new(vec![Box::new(ArrowPredicateFn::new(mask, keep))])
    }
}

/// Which rows of a table are wanted.
#[derive(Clone, Copy)]
pub enum Wanted<'a> {
    /// All.
    All,
    /// Those whose column `series` has one of these identifiers (ascending).
    Series(&'a [i64]),
    /// Those whose column `name` has one of these names.
    Names(&'a HashSet<String>),
}

impl Wanted<'_> {
    /// The wanted rows of a batch, ascending. Names were filtered when it was read.
    fn of(self, batch: &RecordBatch) -> anyhow::Result<Vec<usize>> {
        let all = 0..batch.num_rows();
        match self {
            Wanted::All | Wanted::Names(_) => Ok(all.collect()),
            Wanted::Series(ids) => {
                let series = full::<Int64Type>(batch, SERIES)?.values();
                Ok(all.filter(|at| ids.binary_search(&series[*at]).is_ok()).collect())
            }
        }
    }
}

/// The wanted rows of a table, in file order.
///
/// # Errors
/// A file that cannot be read, or a column that is missing or of another type.
pub fn rows<R: Row<'static> + Send>(file: &Path, wanted: Wanted) -> anyhow::Result<Vec<R>> {
    let names: Vec<&str> = R::COLUMNS.iter().map(|column| column.name).collect();
    let groups = Groups::open(file, &names)?;
    let read = |group: usize| -> anyhow::Result<Vec<R>> {
        let mut rows = Vec::new();
        let filter = if let Wanted::Names(names) = wanted { Some(groups.named(names)) } else { None };
        groups.each_wanted(group, BATCH, filter, |batch| {
            let columns: Vec<Values> =
                R::COLUMNS.iter().map(|column| values(batch, column)).collect::<anyhow::Result<_>>()?;
            rows.extend(wanted.of(batch)?.into_iter().map(|at| R::read(&BatchRow { columns: &columns, at })));
            Ok(())
        })?;
        Ok(rows)
    };
    let ids = if let Wanted::Series(ids) = wanted { Some(ids) } else { None };
    let all: Vec<Vec<R>> = groups.of_series(ids).into_par_iter().map(read).collect::<anyhow::Result<_>>()?;
    Ok(all.into_iter().flatten().collect())
}

/// Whether the identifiers of a row group may include one of `ids`.
fn may_hold(group: &RowGroupMetaData, ids: &[i64]) -> bool {
    let column = group.columns().iter().find(|column| column.column_path().string() == SERIES);
    let Some(Statistics::Int64(statistics)) = column.and_then(|column| column.statistics()) else { return true };
    let (Some(least), Some(greatest)) = (statistics.min_opt(), statistics.max_opt()) else { return true };
    let at = ids.partition_point(|series| series < least);
    ids.get(at).is_some_and(|series| series <= greatest)
}

/// A column without nulls.
///
/// # Errors
/// A column that is missing, of another type, or has nulls.
pub fn full<'a, T: ArrowPrimitiveType>(batch: &'a RecordBatch, name: &str) -> anyhow::Result<&'a PrimitiveArray<T>> {
    let column = batch.column_by_name(name).and_then(|column| column.as_any().downcast_ref::<PrimitiveArray<T>>());
    let wrong = || format!("column {name}: expected {} without nulls", T::DATA_TYPE);
    column.filter(|column| column.null_count() == 0).with_context(wrong)
}

enum Values<'a> {
    I32(&'a PrimitiveArray<Int32Type>),
    I64(&'a PrimitiveArray<Int64Type>),
    F64(&'a PrimitiveArray<Float64Type>),
    Bool(&'a BooleanArray),
    Text(&'a StringArray),
}

fn values<'a>(batch: &'a RecordBatch, column: &Column) -> anyhow::Result<Values<'a>> {
    let found = batch.column_by_name(column.name).with_context(|| format!("no column {}", column.name))?;
    let any = found.as_any();
    let values = match column.kind {
        ColumnType::I32 => any.downcast_ref().map(Values::I32),
        ColumnType::I64 => any.downcast_ref().map(Values::I64),
        ColumnType::F64 => any.downcast_ref().map(Values::F64),
        ColumnType::Bool => any.downcast_ref().map(Values::Bool),
        ColumnType::Text => any.downcast_ref().map(Values::Text),
    };
    if let (Some(Values::I64(times)), true) = (&values, column.is_time()) {
        possible(column.name, times.iter().flatten())?;
    }
    values.with_context(|| format!("column {}: expected {:?}, found {}", column.name, column.kind, found.data_type()))
}

/// Whether all times are such that a capture can have: what reckons with them need not ask.
///
/// # Errors
/// The first that is none.
pub fn possible(name: &str, mut times: impl Iterator<Item = i64>) -> anyhow::Result<()> {
    match times.find(|time| !is_possible(*time)) {
        Some(time) => bail!("column {name}: expected times between 1938 and 2100, found {time} ns"),
        None => Ok(()),
    }
}

struct BatchRow<'b> {
    columns: &'b [Values<'b>],
    at: usize,
}

macro_rules! value {
    ($method:ident, $variant:ident, $type:ty) => {
        fn $method(&self, column: usize) -> Option<$type> {
            match self.columns.get(column) {
                Some(Values::$variant(values)) if values.is_valid(self.at) => Some(values.value(self.at)),
                _ => None,
            }
        }
    };
}

impl ColumnSource<'static> for BatchRow<'_> {
    value!(i32, I32, i32);
    value!(i64, I64, i64);
    value!(f64, F64, f64);
    value!(bool, Bool, bool);
    fn text(&self, column: usize) -> Option<Text<'static>> {
        match self.columns.get(column) {
            Some(Values::Text(values)) if values.is_valid(self.at) => {
                Some(Cow::Owned(values.value(self.at).to_owned()))
            }
            _ => None,
        }
    }
}
