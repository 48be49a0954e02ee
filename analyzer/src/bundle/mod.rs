//! Opens a bundle and reads its tables as typed rows or as lazy frames.

pub mod apart;
mod batches;
mod columns;
mod components;
mod frames;
mod histograms;
mod identity;
pub mod listed;
mod points;
pub mod recorded;
mod stretches;
pub mod witnesses;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::{Context, bail};
use batches::Wanted;
use frames::Frames;
use polars::prelude::{
    DataFrame, DataType, Expr, Field, IntoLazy, JoinArgs, JoinType, LazyFrame, NULL, Schema, col, df, lit,
};
use syncline_collector::write::integrity;
pub use syncline_collector::write::integrity::MEMORY;
use syncline_schema::manifest::Manifest;
use syncline_schema::{Column, ColumnType, FORMAT_VERSION, Row, TABLES};

/// A bundle on disk.
#[derive(Clone, Debug, Default)]
pub struct Bundle {
    /// Its directory.
    pub path: PathBuf,
    /// What is in it.
    pub manifest: Manifest,
    /// What all of its rows come to in memory, bytes.
    pub bytes: u64,
    /// Why tables could not be read, as [`Bundle::rows_or_note`] met it; clones share it.
    pub unread: Arc<Mutex<BTreeSet<String>>>,
    pub(crate) frames: Frames,
}

impl Bundle {
    /// Opens a bundle directory, checks its version, that every table is as its manifest lists it, and that all of them can be read
    /// within `memory` (bytes).
    ///
    /// # Errors
    /// No directory, no manifest, a format version newer than this program knows, a table that is missing, damaged or
    /// not listed, or rows that come to more.
    pub fn open(path: &Path, memory: u64) -> anyhow::Result<Self> {
        let manifest = integrity::manifest(path)?;
        let whole = integrity::check(path, &manifest)?;
        whole.within(memory, |_| true)?;
        Ok(Self { path: path.to_owned(), manifest, bytes: whole.bytes(), ..Self::default() })
    }

    /// Whether the folder still holds the bundle that was opened: `bundle --force` may have replaced it meanwhile, and
    /// what was read would be of two runs. Commands ask this when they have read all that they need.
    ///
    /// # Errors
    /// Another manifest, or none.
    pub fn unchanged(&self) -> anyhow::Result<()> {
        match integrity::manifest(&self.path) {
            Ok(now) if now == self.manifest => Ok(()),
            _ => bail!("{}: the bundle was replaced while it was read: start again", self.path.display()),
        }
    }

    /// A lazy scan of one table; an absent table is empty, with the right columns.
    ///
    /// # Errors
    /// A table that no bundle has, or a Parquet file that cannot be read.
    pub fn scan(&self, table: &str) -> anyhow::Result<LazyFrame> {
        let file = self.path.join(format!("{table}.parquet"));
        if !file.exists() {
            let columns =
                TABLES.iter().find(|(name, _)| *name == table).with_context(|| format!("no table `{table}`"))?;
            return Ok(DataFrame::empty_with_schema(&schema(columns.1)).lazy());
        }
        self.frames.of(table, &file)
    }

    /// The rows of a table that `filter` keeps, in file order.
    ///
    /// # Errors
    /// A Parquet file that cannot be read, or one whose columns are not the table's.
    pub fn rows<R: Row<'static> + Send>(&self, filter: Option<Expr>) -> anyhow::Result<Vec<R>> {
        let file = self.path.join(format!("{}.parquet", R::TABLE));
        if !file.exists() {
            return Ok(Vec::new());
        }
        let Some(filter) = filter else {
            // An older format may lack columns, which a frame fills.
            if self.manifest.format_version == FORMAT_VERSION {
                return batches::rows(&file, Wanted::All).with_context(|| format!("table {}", R::TABLE));
            }
            return self.collect_rows(self.scan(R::TABLE)?);
        };
        self.collect_rows(self.scan(R::TABLE)?.filter(filter))
    }

    /// The rows of some series (identifiers, ascending) of a table that names them, in file order.
    ///
    /// # Errors
    /// As [`Bundle::rows`].
    pub fn rows_of_series<R: Row<'static> + Send>(&self, ids: &[i64]) -> anyhow::Result<Vec<R>> {
        let file = self.path.join(format!("{}.parquet", R::TABLE));
        if ids.is_empty() || !file.exists() {
            return Ok(Vec::new());
        }
        if self.manifest.format_version == FORMAT_VERSION {
            return batches::rows(&file, Wanted::Series(ids)).with_context(|| format!("table {}", R::TABLE));
        }
        let wanted = df!("series" => ids)?.lazy();
        let frame = self.scan(R::TABLE)?.join(wanted, [col("series")], [col("series")], JoinArgs::new(JoinType::Semi));
        self.collect_rows(frame)
    }

    /// The rows of a table, none where it cannot be read: then why is noted, and [`Bundle::whole`] fails. For
    /// measurements, which must all be tried before the run is given up.
    pub fn rows_or_note<R: Row<'static> + Send>(&self, filter: Option<Expr>) -> Vec<R> {
        self.rows(filter).unwrap_or_else(|error| {
            self.note(&error);
            Vec::new()
        })
    }

    /// Notes why a table could not be read: then [`Bundle::whole`] fails.
    pub fn note(&self, error: &anyhow::Error) {
        let mut unread = self.unread.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        unread.insert(format!("{error:#}"));
    }

    /// Whether all that was asked for so far could be read.
    ///
    /// # Errors
    /// The tables that could not.
    pub fn whole(&self) -> anyhow::Result<()> {
        let unread = self.unread.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if unread.is_empty() {
            return Ok(());
        }
        bail!("{}", unread.iter().map(String::as_str).collect::<Vec<_>>().join("; "))
    }

    /// Collects a frame that has the columns of `R`'s table (in any order, with others beside them). Columns that the
    /// format version of the bundle did not have yet are null.
    ///
    /// # Errors
    /// A Parquet file that cannot be read, or a column that is missing or of another type.
    pub fn collect_rows<R: Row<'static>>(&self, mut frame: LazyFrame) -> anyhow::Result<Vec<R>> {
        let table = || format!("{}: table {}", self.path.display(), R::TABLE);
        let older = self.manifest.format_version < FORMAT_VERSION;
        let known = frame.collect_schema().with_context(table)?;
        let wanted: Vec<Expr> = R::COLUMNS
            .iter()
            .map(|column| {
                if older && !known.contains(column.name) {
                    return lit(NULL).cast(data_type(column.kind)).alias(column.name);
                }
                col(column.name)
            })
            .collect();
        let frame = frame.select(wanted).collect().with_context(table)?;
        columns::rows(&frame, R::COLUMNS).with_context(table)
    }
}

fn data_type(kind: ColumnType) -> DataType {
    match kind {
        ColumnType::I32 => DataType::Int32,
        ColumnType::I64 => DataType::Int64,
        ColumnType::F64 => DataType::Float64,
        ColumnType::Bool => DataType::Boolean,
        ColumnType::Text => DataType::String,
    }
}

fn schema(columns: &[Column]) -> Schema {
    columns.iter().map(|column| Field::new(column.name.into(), data_type(column.kind))).collect()
}

#[cfg(test)]
mod tests {
    use syncline_schema::FORMAT_VERSION;
    use syncline_schema::manifest::MANIFEST;
    use syncline_schema::markers::MarkerRow;

    use super::*;

    #[test]
    fn a_table_that_cannot_be_read_is_an_error_and_not_an_empty_table() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = Manifest { format_version: FORMAT_VERSION, ..Manifest::default() };
        std::fs::write(folder.path().join(MANIFEST), serde_json::to_string(&manifest).unwrap()).unwrap();
        let bundle = Bundle::open(folder.path(), MEMORY).unwrap();
        assert!(bundle.rows_or_note::<MarkerRow<'static>>(None).is_empty());
        bundle.whole().unwrap();
        std::fs::write(folder.path().join("markers.parquet"), b"PAR1 damaged PAR1").unwrap();
        assert!(bundle.clone().rows_or_note::<MarkerRow<'static>>(None).is_empty());
        let error = bundle.whole().unwrap_err().to_string();
        assert!(error.contains("markers"), "{error}");
        let error = Bundle::open(folder.path(), MEMORY).unwrap_err().to_string();
        assert!(error.contains("table markers") && error.contains("does not list it"), "{error}");
    }

    #[test]
    fn a_bundle_that_was_replaced_is_not_mixed_with_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let write = |manifest: &Manifest| {
            std::fs::write(folder.path().join(MANIFEST), serde_json::to_string(manifest).unwrap()).unwrap();
        };
        let manifest = Manifest { format_version: FORMAT_VERSION, ..Manifest::default() };
        write(&manifest);
        let bundle = Bundle::open(folder.path(), MEMORY).unwrap();
        write(&manifest);
        bundle.unchanged().unwrap();
        write(&Manifest { run_id: "another".to_owned(), ..manifest });
        assert!(bundle.unchanged().unwrap_err().to_string().contains("replaced while it was read"));
    }
}
