//! A bundle of a capture that stands in the repository, or of one made up, and its rows as text.

use std::fs::File;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use syncline_collector::bundle::{BundleOptions, bundle};
use syncline_schema::manifest::Manifest;
use tempfile::TempDir;

/// A bundle, there as long as this is.
pub struct Bundle {
    folder: TempDir,
    pub manifest: Manifest,
}

impl Bundle {
    /// Of a folder (or a file) of `fixtures/faults`.
    pub fn of(fixture: &str) -> Self {
        let faults = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/faults");
        Self::from(&faults.join(fixture))
    }

    /// Of one file with a text.
    pub fn with(name: &str, text: impl AsRef<[u8]>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(name), text).expect("written");
        Self::from(folder.path())
    }

    /// Of a capture directory.
    pub fn from(input: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("bundle");
        let inputs = vec![input.to_owned()];
        let options =
            BundleOptions { inputs, out: out.clone(), node: Some("node-a".to_owned()), ..BundleOptions::default() };
        bundle(&options).unwrap_or_else(|error| panic!("{}: {error}", input.display()));
        let text = std::fs::read_to_string(out.join("manifest.json")).expect("a manifest");
        Self { folder, manifest: serde_json::from_str(&text).expect("JSON") }
    }

    /// Rows of a table: the columns named, joined by blanks; `-` for null.
    pub fn rows(&self, table: &str, columns: &[&str]) -> Vec<String> {
        let path = self.folder.path().join("bundle").join(format!("{table}.parquet"));
        let Ok(file) = File::open(path) else { return Vec::new() };
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet").build().expect("a reader");
        let mut rows = Vec::new();
        for batch in reader {
            let batch = batch.expect("rows");
            for row in 0..batch.num_rows() {
                let cells: Vec<String> = columns.iter().map(|name| cell(&batch, name, row)).collect();
                rows.push(cells.join(" "));
            }
        }
        rows
    }
}

fn cell(batch: &RecordBatch, name: &str, row: usize) -> String {
    let column = batch.column_by_name(name).unwrap_or_else(|| panic!("no column {name}"));
    if column.is_null(row) {
        return "-".to_owned();
    }
    if let Some(texts) = column.as_string_opt::<i32>() {
        texts.value(row).to_owned()
    } else if let Some(numbers) = column.as_primitive_opt::<Int64Type>() {
        numbers.value(row).to_string()
    } else if let Some(numbers) = column.as_primitive_opt::<Int32Type>() {
        numbers.value(row).to_string()
    } else if let Some(numbers) = column.as_primitive_opt::<Float64Type>() {
        numbers.value(row).to_string()
    } else {
        column.as_boolean().value(row).to_string()
    }
}
