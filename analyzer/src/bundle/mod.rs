//! Opens a bundle and reads its tables as typed rows or as lazy frames.

mod columns;
pub mod witnesses;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use polars::prelude::{
    DataFrame, DataType, Expr, Field, IntoLazy, LazyFrame, NULL, PlRefPath, ScanArgsParquet, Schema, col, lit,
};
use syncline_schema::manifest::{MANIFEST, Manifest};
use syncline_schema::{Column, ColumnType, FORMAT_VERSION, Row, TABLES};

/// A bundle on disk.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// Its directory.
    pub path: PathBuf,
    /// What is in it.
    pub manifest: Manifest,
}

impl Bundle {
    /// Opens a bundle directory and checks its version.
    ///
    /// # Errors
    /// No directory, no manifest, or a format version newer than this program knows.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let file = path.join(MANIFEST);
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("{}: expected a bundle, with a manifest", file.display()))?;
        let manifest: Manifest = serde_json::from_str(&text)
            .with_context(|| format!("{}: expected the manifest of a bundle", file.display()))?;
        if manifest.format_version > FORMAT_VERSION {
            bail!(
                "{}: bundle format {} is newer than this program knows ({FORMAT_VERSION}): use a newer syncline",
                file.display(),
                manifest.format_version
            );
        }
        Ok(Self { path: path.to_owned(), manifest })
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
        let path = file.to_str().with_context(|| format!("{}: expected a path in UTF-8", file.display()))?;
        let arguments = ScanArgsParquet { glob: false, ..ScanArgsParquet::default() };
        LazyFrame::scan_parquet(PlRefPath::new(path), arguments)
            .with_context(|| format!("{}: expected a Parquet file", file.display()))
    }

    /// The rows of a table that `filter` keeps, in file order.
    ///
    /// # Errors
    /// A Parquet file that cannot be read, or one whose columns are not the table's.
    pub fn rows<R: Row<'static>>(&self, filter: Option<Expr>) -> anyhow::Result<Vec<R>> {
        let frame = self.scan(R::TABLE)?;
        let frame = match filter {
            Some(filter) => frame.filter(filter),
            None => frame,
        };
        self.collect_rows(frame)
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
