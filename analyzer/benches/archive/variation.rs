//! Runs that are not copies: a sample run with other times, names, latencies and versions, in the same tables.
//!
//! Times on clocks that count from 1970 move by an hour a variation; names of pods get its number; client latencies are scaled, looks at the
//! dataplane come later by some milliseconds; the patch version of Cilium changes. The manifest says what was made of it, so
//! that each is a run of its own.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use sha2::{Digest, Sha256};
use syncline_schema::manifest::{MANIFEST, Manifest};
use syncline_schema::{Column, TABLES};

/// Times beyond this count from 1970, ns; those of monotonic clocks are shorter.
const SINCE_1970: i64 = 1_000_000_000_000_000_000;
const HOUR: i64 = 3_600_000_000_000;
const MS: i64 = 1_000_000;

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a variation of a bundle.
pub fn vary(bundle: &Path, out: &Path, number: i64) -> anyhow::Result<()> {
    fs::create_dir_all(out)?;
    let mut manifest: Manifest = serde_json::from_slice(&fs::read(bundle.join(MANIFEST))?)?;
    let name = bundle.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    manifest.name = Some(format!("{}-{number}", manifest.name.as_deref().unwrap_or(&name)));
    manifest.run_id = hex(format!("{}{number}", manifest.run_id).as_bytes());
    for source in manifest.sources.iter_mut().filter(|source| !source.sha256.is_empty()) {
        source.sha256 = hex(format!("{}{number}", source.sha256).as_bytes());
        for time in [&mut source.first, &mut source.last].into_iter().flatten() {
            *time = moved(*time, number, 0);
        }
    }
    for table in &mut manifest.tables {
        let columns = TABLES.iter().find(|(known, _)| *known == table.name).map_or(&[][..], |(_, columns)| columns);
        let path = out.join(format!("{}.parquet", table.name));
        let reader =
            ParquetRecordBatchReaderBuilder::try_new(File::open(bundle.join(format!("{}.parquet", table.name)))?)?;
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?)).build();
        let mut writer = ArrowWriter::try_new(File::create(&path)?, Arc::clone(reader.schema()), Some(properties))?;
        for batch in reader.build()? {
            writer.write(&varied(&batch?, &table.name, columns, number)?)?;
        }
        writer.close()?;
        let bytes = fs::read(&path)?;
        (table.bytes, table.sha256) = (bytes.len() as u64, hex(&bytes));
    }
    fs::write(out.join(MANIFEST), serde_json::to_vec(&manifest)?)?;
    Ok(())
}

fn moved(time: i64, number: i64, late: i64) -> i64 {
    if time.abs() < SINCE_1970 { time } else { time + number * HOUR + late }
}

fn varied(batch: &RecordBatch, table: &str, columns: &[Column], number: i64) -> anyhow::Result<RecordBatch> {
    let late = if table == "dataplane_snapshots" || table == "dataplane_changes" { number % 11 * MS } else { 0 };
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for (at, field) in batch.schema().fields().iter().enumerate() {
        let column = batch.column(at);
        let known = columns.iter().find(|column| column.name == field.name());
        if table == "requests" && field.name() == "latency" {
            let scaled =
                column.as_primitive::<Int64Type>().iter().map(|one| one.map(|one| one + one * (number % 10) / 50));
            arrays.push(Arc::new(scaled.collect::<Int64Array>()));
        } else if known.is_some_and(Column::is_time) {
            let times = column.as_primitive::<Int64Type>().iter().map(|one| one.map(|one| moved(one, number, late)));
            arrays.push(Arc::new(times.collect::<Int64Array>()));
        } else if let Some(texts) = column.as_any().downcast_ref::<StringArray>() {
            let renamed = texts.iter().map(|one| {
                one.map(|one| {
                    let named = one.replace("test-", &format!("t{number:04}-"));
                    if table == "facts" { named.replace("1.19.4", &format!("1.19.{}", number % 5)) } else { named }
                })
            });
            arrays.push(Arc::new(renamed.collect::<StringArray>()));
        } else {
            arrays.push(Arc::clone(column));
        }
    }
    Ok(RecordBatch::try_new(batch.schema(), arrays)?)
}
