//! Whole tables, straight from their row groups: where nothing is filtered or joined, a frame would only stand between.

use std::borrow::Cow;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use arrow_array::types::{ArrowPrimitiveType, Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, BooleanArray, PrimitiveArray, RecordBatch, StringArray};
use arrow_schema::{DataType, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Encoding, Type};
use parquet::column::page::Page;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::file::statistics::Statistics;
use rayon::prelude::{IntoParallelIterator, ParallelIterator};
use syncline_schema::{Column, ColumnSource, ColumnType, Row, Text, is_possible};

/// Rows that are decoded at once.
const BATCH: usize = 1 << 14;
/// The column that names a row's series.
const SERIES: &str = "series";

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
        Ok(Self::new(file, metadata, columns))
    }

    /// The same, with some of its texts as the file holds them: numbers of entries of a dictionary.
    ///
    /// # Errors
    /// As [`Groups::open`].
    pub fn open_with_dictionaries(file: &'a Path, columns: &[&str], texts: &[&str]) -> anyhow::Result<Self> {
        let plain = Self::open(file, columns)?;
        let dictionary = || DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let fields = plain.metadata.schema().fields().iter().map(|field| match field.data_type() {
            DataType::Utf8 if texts.contains(&field.name().as_str()) => {
                Arc::new(field.as_ref().clone().with_data_type(dictionary()))
            }
            _ => Arc::clone(field),
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let options = ArrowReaderOptions::new().with_schema(schema);
        let metadata = ArrowReaderMetadata::try_new(Arc::clone(plain.metadata.metadata()), options)
            .with_context(|| format!("{}: expected texts in dictionaries", file.display()))?;
        Ok(Self::new(file, metadata, columns))
    }

    fn new(file: &'a Path, metadata: ArrowReaderMetadata, columns: &[&str]) -> Self {
        let mask = ProjectionMask::columns(metadata.parquet_schema(), columns.iter().copied());
        Groups { file, metadata, mask }
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
        mut take: impl FnMut(&RecordBatch) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let place = || format!("{}: row group {group}", self.file.display());
        let opened = File::open(self.file).with_context(place)?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(opened, self.metadata.clone())
            .with_projection(self.mask.clone())
            .with_row_groups(vec![group])
            .with_batch_size(batch);
        for batch in builder.build().with_context(place)? {
            take(&batch.with_context(place)?).with_context(place)?;
        }
        Ok(())
    }

    /// Hands each page of a column of floats to `take`, in order, where all of them are split into their bytes, as those of our bundles are:
    /// what is wanted of them is put together where it belongs, without an array in between. Answers whether they are.
    ///
    /// # Errors
    /// A row group that cannot be read, or what `take` answers.
    pub fn each_split(
        &self,
        group: usize,
        column: &str,
        mut take: impl FnMut(Split) -> anyhow::Result<()>,
    ) -> anyhow::Result<bool> {
        let place = || format!("{}: row group {group}", self.file.display());
        let group = self.metadata.metadata().row_group(group);
        let chunk = group.columns().iter().find(|chunk| chunk.column_path().string() == column);
        let chunk = chunk.with_context(|| format!("no column {column}")).with_context(place)?;
        let whole = |encoding| matches!(encoding, Encoding::BYTE_STREAM_SPLIT | Encoding::RLE);
        let plain = chunk.column_type() == Type::DOUBLE && chunk.column_descr().max_def_level() == 0;
        if !plain || chunk.dictionary_page_offset().is_some() || !chunk.encodings().all(whole) {
            return Ok(false);
        }
        let rows = usize::try_from(group.num_rows()).unwrap_or_default();
        let file = File::open(self.file).with_context(place)?;
        let pages = SerializedPageReader::new(Arc::new(file), chunk, rows, None).with_context(place)?;
        for page in pages {
            let Page::DataPage { buf, num_values, encoding: Encoding::BYTE_STREAM_SPLIT, .. } =
                page.with_context(place)?
            else {
                bail!("{}: column {column}: expected a page of values split into bytes", place());
            };
            if Some(buf.len()) != usize::try_from(num_values).ok().and_then(|values| values.checked_mul(8)) {
                bail!("{}: column {column}: {} bytes for {num_values} values", place(), buf.len());
            }
            take(Split(&buf)).with_context(place)?;
        }
        Ok(true)
    }
}

/// Floats by their bytes: the first bytes of all, then the second ones, …
///
/// Source: `Encodings.md` of apache/parquet-format (byte stream split).
#[derive(Clone, Copy)]
pub struct Split<'a>(&'a [u8]);

impl Split<'_> {
    /// How many floats there are.
    pub fn len(self) -> usize {
        self.0.len() / 8
    }

    /// Puts those from `begin` on into `to`. Eight at a time: their eight bytes of each weight, as a square of bytes, are mirrored at its
    /// diagonal, halves first (H. S. Warren, Hacker's Delight, 7-3: transposing a bit matrix).
    pub fn put(self, begin: usize, to: &mut [f64]) {
        let own = begin..begin + to.len();
        let streams: [&[u8]; 8] = std::array::from_fn(|weight| &self.0[weight * self.len()..][own.clone()]);
        let eights = streams.map(|one| one.as_chunks::<8>());
        let (whole, rest) = to.as_chunks_mut::<8>();
        for (at, to) in whole.iter_mut().enumerate() {
            let mut square = std::array::from_fn(|weight| u64::from_le_bytes(eights[weight].0[at]));
            // One loop over the three has its numbers in memory, and takes twice as long.
            for row in [0, 1, 2, 3] {
                exchange(&mut square, row, row + 4, 32, 0x0000_0000_ffff_ffff);
            }
            for row in [0, 1, 4, 5] {
                exchange(&mut square, row, row + 2, 16, 0x0000_ffff_0000_ffff);
            }
            for row in [0, 2, 4, 6] {
                exchange(&mut square, row, row + 1, 8, 0x00ff_00ff_00ff_00ff);
            }
            to.iter_mut().zip(square).for_each(|(to, bits)| *to = f64::from_bits(bits));
        }
        for (at, to) in rest.iter_mut().enumerate() {
            *to = f64::from_le_bytes(std::array::from_fn(|weight| eights[weight].1[at]));
        }
    }
}

/// Exchanges the blocks of two rows that lie across the diagonal: those beside `mask` of the upper one, those in it of the lower one.
#[inline(always)]
fn exchange(square: &mut [u64; 8], upper: usize, lower: usize, bits: u32, mask: u64) {
    let (above, below) = (square[upper], square[lower]);
    square[upper] = (above & mask) | ((below & mask) << bits);
    square[lower] = ((above >> bits) & mask) | (below & !mask);
}

/// Which rows of a table are wanted.
#[derive(Clone, Copy)]
pub enum Wanted<'a> {
    /// All.
    All,
    /// Those whose column `series` has one of these identifiers (ascending).
    Series(&'a [i64]),
}

impl Wanted<'_> {
    /// The wanted rows of a batch, ascending.
    fn of(self, batch: &RecordBatch) -> anyhow::Result<Vec<usize>> {
        let all = 0..batch.num_rows();
        match self {
            Wanted::All => Ok(all.collect()),
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
        groups.each(group, BATCH, |batch| {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn floats_split_into_bytes_are_put_together(
            bits in prop::collection::vec(any::<u64>(), 0..70),
            begin in 0usize..70,
            length in 0usize..70,
        ) {
            let bytes: Vec<u8> = (0..8).flat_map(|at| bits.iter().map(move |bits| bits.to_le_bytes()[at])).collect();
            let begin = begin.min(bits.len());
            let mut found = vec![0.0; length.min(bits.len() - begin)];
            Split(&bytes).put(begin, &mut found);
            let found: Vec<u64> = found.into_iter().map(f64::to_bits).collect();
            prop_assert_eq!(&found[..], &bits[begin..begin + found.len()]);
        }
    }
}
