//! Series that several sources tell: a query takes each stretch of time from one of them, and leaves the others aside.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::write::integrity::{MEMORY, Whole};

/// How many series of one name and labels stand in the same sources (indices, ascending; two at least).
///
/// # Errors
/// A table that cannot be read, or comes to more than [`MEMORY`].
pub fn shared_series(bundle: &Path, whole: &Whole) -> anyhow::Result<BTreeMap<Vec<i32>, u64>> {
    let path = bundle.join("series.parquet");
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    whole.within(MEMORY, |table| table == "series")?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(&path)?)?;
    let columns = ProjectionMask::columns(builder.parquet_schema(), ["source", "name", "labels"]);
    let hashes = RandomState::new();
    let mut sources: HashMap<u64, BTreeSet<i32>> = HashMap::new();
    for batch in builder.with_projection(columns).with_batch_size(whole.rows_at_once("series", 1024)).build()? {
        let batch = batch?;
        let (Some(source), Some(name), Some(labels)) =
            (batch.column_by_name("source"), batch.column_by_name("name"), batch.column_by_name("labels"))
        else {
            continue;
        };
        let (source, name, labels) =
            (source.as_primitive::<Int32Type>(), name.as_string::<i32>(), labels.as_string::<i32>());
        for at in 0..batch.num_rows() {
            let identity = hashes.hash_one((name.value(at), labels.value(at)));
            sources.entry(identity).or_default().insert(source.value(at));
        }
    }
    let mut found = BTreeMap::new();
    for own in sources.into_values().filter(|own| own.len() > 1) {
        *found.entry(own.into_iter().collect()).or_insert(0) += 1;
    }
    Ok(found)
}
