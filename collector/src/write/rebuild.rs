//! One snapshot of a bundle, as it was captured.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use anyhow::{Context, bail};
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use syncline_schema::dataplane::COUNTER;

use super::integrity::{MEMORY, Whole};

/// Rows that are decoded at once.
const AT_ONCE: usize = 1024;

/// Text of the snapshot with `number` (from 0) of the source with index `source`, byte for byte.
///
/// # Errors
/// No such snapshot, a table that cannot be read, or tables that come to more than [`MEMORY`].
pub fn snapshot(bundle: &Path, whole: &Whole, source: i32, number: i64) -> anyhow::Result<Vec<u8>> {
    whole.within(MEMORY, |table| table.starts_with("dataplane_"))?;
    // A source of a series of files has a part of its stream's snapshots: `number` counts within the source.
    let mut own = Vec::new();
    for batch in read(bundle, whole, "dataplane_snapshots")? {
        let batch = batch?;
        for at in 0..batch.num_rows() {
            if int32(&batch, "source", at)? == source {
                own.push((int32(&batch, "stream", at)?, int64(&batch, "snapshot", at)?.unwrap_or(0)));
            }
        }
    }
    let wanted = usize::try_from(number).ok().and_then(|at| own.get(at));
    let Some((stream, last)) = wanted.copied() else {
        bail!("source {source} has {} snapshots, numbered from 0; there is no {number}", own.len());
    };
    let mut pieces: Vec<(i64, Option<i64>, Option<i64>)> = Vec::new();
    for batch in read(bundle, whole, "dataplane_changes")? {
        let batch = batch?;
        let operations = batch.column_by_name("operation").context("column operation")?.as_string::<i32>();
        for at in 0..batch.num_rows() {
            if int32(&batch, "stream", at)? != stream || int64(&batch, "snapshot", at)?.unwrap_or(0) > last {
                continue;
            }
            let position = usize::try_from(int64(&batch, "position", at)?.unwrap_or(0))?;
            let piece =
                (int64(&batch, "rule", at)?.unwrap_or(0), int64(&batch, "packets", at)?, int64(&batch, "bytes", at)?);
            match operations.value(at) {
                "insert" if position <= pieces.len() => pieces.insert(position, piece),
                "delete" if position < pieces.len() => drop(pieces.remove(position)),
                "counters" if position < pieces.len() => pieces[position] = piece,
                other => bail!("dataplane_changes: {other} at {position} of {} pieces", pieces.len()),
            }
        }
    }
    let mut texts: HashMap<i64, String> = HashMap::new();
    for batch in read(bundle, whole, "dataplane_rules")? {
        let batch = batch?;
        let column = batch.column_by_name("text").context("column text")?.as_string::<i32>();
        for at in 0..batch.num_rows() {
            if int32(&batch, "stream", at)? == stream {
                texts.insert(int64(&batch, "rule", at)?.unwrap_or(0), column.value(at).to_owned());
            }
        }
    }
    let mut out = Vec::new();
    for (rule, packets, bytes) in pieces {
        let text = texts.get(&rule).with_context(|| format!("dataplane_rules has no rule {rule}"))?;
        render(text, packets, bytes, &mut out);
    }
    Ok(out)
}

/// Writes a piece with its counters, and its raw bytes.
pub fn render(text: &str, packets: Option<i64>, bytes: Option<i64>, out: &mut Vec<u8>) {
    let mut counters = [packets, bytes].into_iter().flatten();
    let mut parts = text.split(COUNTER);
    out.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let mut rest = part.chars();
        match rest.next().map(u32::from) {
            Some(raw @ 0x100..=0x1ff) => out.push((raw - 0x100) as u8),
            Some(width) => {
                let width = (width.saturating_sub(u32::from('0')) as usize).min(WIDEST);
                let number = counters.next().map_or_else(|| " ".repeat(width), |number| padded(number, width));
                out.extend_from_slice(number.as_bytes());
            }
            None => {}
        }
        out.extend_from_slice(rest.as_str().as_bytes());
    }
}

/// Widest counter field: `'0' + width` stays below the letters that a raw byte is written as.
pub(super) const WIDEST: usize = 60;

/// A counter, to the right of a field. Not by a width of `format!`, which panics above 65,535: a field is as long as a capture has it.
pub(super) fn padded(number: i64, width: usize) -> String {
    let digits = number.to_string();
    " ".repeat(width.saturating_sub(digits.len())) + &digits
}

/// The batches of a table, one at a time; none where the bundle lacks it.
fn read(
    bundle: &Path,
    whole: &Whole,
    table: &str,
) -> anyhow::Result<impl Iterator<Item = anyhow::Result<RecordBatch>>> {
    let path = bundle.join(format!("{table}.parquet"));
    let reader = match path.exists() {
        true => {
            let file = File::open(&path).with_context(|| path.display().to_string())?;
            let builder = ParquetRecordBatchReaderBuilder::try_new(file)?;
            Some(builder.with_batch_size(whole.rows_at_once(table, AT_ONCE)).build()?)
        }
        false => None,
    };
    Ok(reader.into_iter().flatten().map(move |batch| batch.with_context(|| path.display().to_string())))
}

fn int32(batch: &RecordBatch, name: &str, at: usize) -> anyhow::Result<i32> {
    let column = batch.column_by_name(name).with_context(|| format!("column {name}"))?;
    Ok(column.as_primitive::<Int32Type>().value(at))
}

fn int64(batch: &RecordBatch, name: &str, at: usize) -> anyhow::Result<Option<i64>> {
    let column = batch.column_by_name(name).with_context(|| format!("column {name}"))?.as_primitive::<Int64Type>();
    Ok((!column.is_null(at)).then(|| column.value(at)))
}
