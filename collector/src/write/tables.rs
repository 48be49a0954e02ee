//! Parquet files of a bundle: one a table, row groups of a fixed number of rows.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch};
use arrow_select::concat::concat_batches;
use arrow_select::filter::filter_record_batch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use syncline_schema::manifest::Table;
use syncline_schema::{Column, ColumnType, Row, TABLES, is_possible};

use super::digest::{blake3, sha256};
use crate::form::columns::TableBuilder;

/// Rows of a row group (`feasibility`: statistics prune groups of about this size well).
const GROUP_ROWS: usize = 100_000;
/// Bytes after which a row group ends though it has fewer rows, so that memory stays bounded. Fixed, for determinism.
const GROUP_BYTES: usize = 8 << 20;
/// Bytes of a row group as whoever reads it holds them: one text in every row takes hardly any in the file. Fixed, too; rows of captures
/// have some hundred bytes.
const GROUP_UNPACKED: usize = 128 << 20;

/// The column of a series' identifier, by which rows are sorted in runs.
const SERIES: &str = "series";

/// Rows of a batch below which it is put together with others, and how many of those at most: a session of many commands has a batch for
/// each, and to write a row by itself costs as much as to write some hundred.
const SMALL: usize = 256;
const MOST_SMALL: usize = 64;

/// What can go wrong while a table is written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The disk.
    #[error("{path}: {error}")]
    Io {
        /// File.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Parquet.
    #[error("table {table}: {error}")]
    Parquet {
        /// Table.
        table: String,
        /// What the library said.
        error: ParquetError,
    },
    /// Arrow.
    #[error("table {table}: {error}")]
    Arrow {
        /// Table.
        table: String,
        /// What the library said.
        error: arrow_schema::ArrowError,
    },
}

struct Open {
    writer: ArrowWriter<File>,
    rows: u64,
    /// Bytes of the row group that is written, unpacked.
    unpacked: usize,
    path: PathBuf,
    /// Small batches that are not written yet.
    small: Vec<RecordBatch>,
}

impl Open {
    /// Appends the rows of a batch.
    fn take(&mut self, batch: &RecordBatch) -> Result<(), ParquetError> {
        self.rows += batch.num_rows() as u64;
        if batch.num_rows() >= SMALL || unpacked(batch) >= GROUP_BYTES / MOST_SMALL {
            self.gather()?;
            return self.write(batch);
        }
        self.small.push(batch.clone());
        if self.small.len() >= MOST_SMALL { self.gather() } else { Ok(()) }
    }

    /// Writes the small batches.
    fn gather(&mut self) -> Result<(), ParquetError> {
        let small = std::mem::take(&mut self.small);
        match small.as_slice() {
            [] => Ok(()),
            [one] => self.write(one),
            [first, ..] => self.write(&concat_batches(&first.schema(), &small)?),
        }
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<(), ParquetError> {
        self.writer.write(batch)?;
        self.unpacked += unpacked(batch);
        if self.writer.in_progress_rows() < batch.num_rows() {
            // A group came to its number of rows.
            self.unpacked = unpacked(batch);
        }
        if self.writer.in_progress_size() > GROUP_BYTES || self.unpacked > GROUP_UNPACKED {
            self.writer.flush()?;
            self.unpacked = 0;
        }
        Ok(())
    }
}

/// The open files of a bundle.
pub struct Tables {
    folder: PathBuf,
    open: BTreeMap<&'static str, Open>,
    own: BTreeMap<&'static str, TableBuilder>,
    /// Times that no capture can have, which were left out.
    impossible: u64,
}

impl Tables {
    /// Tables in `folder`, which exists.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), open: BTreeMap::new(), own: BTreeMap::new(), impossible: 0 }
    }

    /// Appends a row of the sequential pass.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn push<'a, R: Row<'a>>(&mut self, row: &R) -> Result<(), WriteError> {
        let builder = self.own.entry(R::TABLE).or_insert_with(|| TableBuilder::new(R::TABLE, R::COLUMNS));
        row.write(builder);
        if builder.rows() >= 8_192 || builder.bytes() >= GROUP_BYTES {
            let batch = finish(builder)?;
            self.append(R::TABLE, R::COLUMNS, &batch)?;
        }
        Ok(())
    }

    /// Appends the rows of a parsed chunk, without times that no capture can have.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn append(&mut self, table: &'static str, columns: &[Column], batch: &RecordBatch) -> Result<(), WriteError> {
        let arrow = |error| WriteError::Arrow { table: table.to_owned(), error };
        let possible = possible_times(columns, batch, &mut self.impossible).map_err(arrow)?;
        let batch = possible.as_ref().unwrap_or(batch);
        if batch.num_rows() == 0 {
            return Ok(());
        }
        if !self.open.contains_key(table) {
            let path = self.folder.join(format!("{table}.parquet"));
            let file = File::create(&path).map_err(|error| WriteError::Io { path: path.clone(), error })?;
            let schema = Arc::new(TableBuilder::schema(columns));
            let writer = ArrowWriter::try_new(file, schema, Some(properties(columns)))
                .map_err(|error| WriteError::Parquet { table: table.to_owned(), error })?;
            self.open.insert(table, Open { writer, rows: 0, unpacked: 0, path, small: Vec::new() });
        }
        let Some(open) = self.open.get_mut(table) else { return Ok(()) };
        open.take(batch).map_err(|error| WriteError::Parquet { table: table.to_owned(), error })
    }

    /// How many times were left out since no capture can have them. What rows are still to come in [`Tables::close`] is written first.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn impossible(&mut self) -> Result<u64, WriteError> {
        self.flush()?;
        Ok(self.impossible)
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        for (table, mut builder) in std::mem::take(&mut self.own) {
            let columns = TABLES.iter().find(|(name, _)| *name == table).map_or(&[][..], |(_, columns)| columns);
            let batch = finish(&mut builder)?;
            self.append(table, columns, &batch)?;
        }
        Ok(())
    }

    /// Closes and syncs every file. Returns each table that has rows, in the order of [`TABLES`].
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn close(mut self) -> Result<Vec<Table>, WriteError> {
        self.flush()?;
        let mut written = Vec::new();
        for (table, _) in TABLES {
            let Some(mut open) = self.open.remove(table) else { continue };
            let parquet = |error| WriteError::Parquet { table: (*table).to_owned(), error };
            open.gather().map_err(parquet)?;
            let path = open.path;
            let io = |error| WriteError::Io { path: path.clone(), error };
            let file = open.writer.into_inner().map_err(parquet)?;
            file.sync_all().map_err(io)?;
            let bytes = file.metadata().map_err(io)?.len();
            let (sha256, blake3) = (sha256(&path).map_err(io)?, blake3(&path).map_err(io)?);
            written.push(Table { name: (*table).to_owned(), rows: open.rows, bytes, sha256, blake3 });
        }
        Ok(written)
    }
}

/// Bytes of rows: their texts, and what all other values take.
fn unpacked(batch: &RecordBatch) -> usize {
    let of = |column: &ArrayRef| match column.as_string_opt::<i32>() {
        Some(texts) => {
            texts.value_offsets().last().zip(texts.value_offsets().first()).map_or(0, |(to, from)| to - from) as usize
        }
        None => 8 * column.len(),
    };
    batch.columns().iter().map(of).sum()
}

fn finish(builder: &mut TableBuilder) -> Result<RecordBatch, WriteError> {
    let table = builder.table;
    builder.finish().map_err(|error| WriteError::Arrow { table: table.to_owned(), error })
}

/// The rows whose times can be; of a column that may lack its time, the others lack it. `None` where all can be, as they are in every
/// sound capture.
fn possible_times(
    columns: &[Column],
    batch: &RecordBatch,
    impossible: &mut u64,
) -> Result<Option<RecordBatch>, arrow_schema::ArrowError> {
    let mut changed: Option<Vec<ArrayRef>> = None;
    let mut kept = vec![];
    for (at, column) in columns.iter().enumerate().filter(|(_, column)| column.is_time()) {
        let Some(times) = batch.columns().get(at).and_then(|times| times.as_primitive_opt::<Int64Type>()) else {
            continue;
        };
        if times.values().iter().all(|time| is_possible(*time)) {
            continue;
        }
        *impossible += times.iter().flatten().filter(|time| !is_possible(*time)).count() as u64;
        if column.nullable {
            let possible: Int64Array = times.iter().map(|time| time.filter(|time| is_possible(*time))).collect();
            changed.get_or_insert_with(|| batch.columns().to_vec())[at] = Arc::new(possible);
        } else {
            kept.resize(batch.num_rows(), true);
            kept.iter_mut().zip(times.values()).for_each(|(kept, time)| *kept &= is_possible(*time));
        }
    }
    let changed = changed.map(|columns| RecordBatch::try_new(batch.schema(), columns)).transpose()?;
    if kept.is_empty() {
        return Ok(changed);
    }
    filter_record_batch(changed.as_ref().unwrap_or(batch), &BooleanArray::from(kept)).map(Some)
}

fn properties(columns: &[Column]) -> WriterProperties {
    let level = ZstdLevel::try_new(6).unwrap_or_default();
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_data_page_row_count_limit(GROUP_ROWS)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_created_by("syncline".to_owned());
    for column in columns {
        let path = ColumnPath::from(column.name);
        match column.kind {
            ColumnType::I64 => {
                // Equal numbers in a row are nothing, packed or not, and unpacking has its cost in each row group.
                if column.name == SERIES {
                    builder = builder.set_column_compression(path.clone(), Compression::UNCOMPRESSED);
                }
                builder = builder
                    .set_column_dictionary_enabled(path.clone(), false)
                    .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
            }
            // Bytes of one weight next to each other: two thirds of what a dictionary takes, and read in half the time. What is null would
            // leave their number open (`footprint`).
            ColumnType::F64 if !column.nullable => {
                builder = builder
                    .set_column_dictionary_enabled(path.clone(), false)
                    .set_column_encoding(path, Encoding::BYTE_STREAM_SPLIT);
            }
            _ => builder = builder.set_column_dictionary_enabled(path, true),
        }
    }
    builder.build()
}

#[cfg(test)]
mod tests {
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use syncline_schema::facts::FactRow;
    use syncline_schema::logs::LogRow;
    use syncline_schema::markers::MarkerRow;

    use super::*;

    #[test]
    fn times_that_cannot_be_cost_themselves_and_are_counted() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut tables = Tables::new(folder.path());
        for time in [i64::MIN, 0, 1_795_407_750_000_000_000, i64::MAX] {
            tables.push(&MarkerRow { time, ..Default::default() }).expect("written");
            tables.push(&LogRow { time: Some(time), outer_time: None, ..Default::default() }).expect("written");
        }
        assert_eq!(tables.impossible().expect("written"), 4);
        let rows: Vec<(String, u64)> =
            tables.close().expect("closed").into_iter().map(|table| (table.name, table.rows)).collect();
        assert_eq!(rows, [("logs".to_owned(), 4), ("markers".to_owned(), 2)]);
        let file = File::open(folder.path().join("logs.parquet")).expect("a file");
        let mut reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet").build().expect("a reader");
        let batch = reader.next().expect("rows").expect("rows");
        let times = batch.column_by_name("time").expect("times").as_primitive::<Int64Type>();
        let known: Vec<Option<i64>> = times.iter().collect();
        assert_eq!(known, [None, Some(0), Some(1_795_407_750_000_000_000), None]);
    }

    #[test]
    fn a_text_in_every_row_makes_small_groups() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut tables = Tables::new(folder.path());
        let text = "x".repeat(1 << 20);
        let rows = 3 * (GROUP_UNPACKED >> 20);
        for _ in 0..rows {
            tables.push(&FactRow { value: text.as_str().into(), ..FactRow::default() }).expect("written");
        }
        tables.close().expect("closed");
        let file = std::fs::File::open(folder.path().join("facts.parquet")).expect("the table");
        let reader = SerializedFileReader::new(file).expect("Parquet");
        let groups: Vec<i64> = reader.metadata().row_groups().iter().map(|group| group.num_rows()).collect();
        assert_eq!(groups.iter().sum::<i64>(), rows as i64);
        assert!(groups.iter().all(|rows| *rows as usize <= (GROUP_UNPACKED >> 20) + 8), "{groups:?}");
    }

    #[test]
    fn small_batches_are_written_together_and_in_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut tables = Tables::new(folder.path());
        let mut next = 0;
        // Ones, more of them than are put together, and large ones between.
        for rows in [1, 2, SMALL, 1, SMALL - 1].into_iter().chain([1; 3 * MOST_SMALL]).chain([SMALL + 1, 3]) {
            let mut builder = TableBuilder::new(FactRow::TABLE, FactRow::COLUMNS);
            for _ in 0..rows {
                FactRow { record: next, ..FactRow::default() }.write(&mut builder);
                next += 1;
            }
            tables.append(FactRow::TABLE, FactRow::COLUMNS, &builder.finish().expect("rows")).expect("written");
        }
        assert_eq!(tables.close().expect("closed")[0].rows, next as u64);
        let file = File::open(folder.path().join("facts.parquet")).expect("a file");
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet").build().expect("a reader");
        let records: Vec<i64> = reader
            .flat_map(|rows| {
                let rows = rows.expect("rows");
                rows.column_by_name("record").expect("a column").as_primitive::<Int64Type>().values().to_vec()
            })
            .collect();
        assert_eq!(records, (0..next).collect::<Vec<i64>>());
    }
}
