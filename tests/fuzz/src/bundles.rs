//! A bundle of strangers: its manifest and one of its tables damaged, or written anew with other values or types of columns.
//!
//! A table that was damaged by whoever also wrote the manifest fits it: bytes, rows and hash are made right again where the
//! input says so.

use std::fs::{self, File};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use arbitrary::{Arbitrary, Unstructured};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, RecordBatchOptions, StringArray,
};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use sha2::{Digest, Sha256};
use syncline_collector::cli::inspect;
use syncline_collector::write::{integrity, rebuild};
use syncline_schema::manifest::{MANIFEST, Manifest};

use crate::content::{Edit, edited};
use crate::{fixtures, mutation, places};

/// Cells that are changed at most.
const MOST_CELLS: usize = 32;

/// Numbers that a calculation may stumble over.
const NUMBERS: [i64; 12] = [
    i64::MIN,
    i64::MAX,
    i64::MIN + 1,
    -1,
    0,
    1,
    2,
    1 << 31,
    1 << 53,
    1_795_407_710_000_000_000,
    1_795_407_711_000_000_000,
    5_570_139_948_711,
];

/// Texts that mean something somewhere.
const TEXTS: [&str; 24] = [
    "",
    "insert",
    "delete",
    "counters",
    "action",
    "action-end",
    "ADDED",
    "DELETED",
    "cilium",
    "node-a",
    "node-a/boottime",
    "apiserver",
    "default/test",
    "10.0.0.1",
    "[{\"address\":\"10.0.0.1\",\"ready\":true}]",
    "{\"a\":\"b\"}",
    "not JSON {",
    "-9223372036854775808",
    "NaN",
    "\u{202e}\u{0}\u{fffd}",
    "99999999999999999999999999",
    "process_cpu_seconds_total",
    "config/kube-proxy-replacement",
    "1.36.2",
];

/// What is done to a bundle.
#[derive(Arbitrary, Debug)]
pub struct Damage {
    /// Values of cells.
    cells: Vec<Cell>,
    /// A table whose column gets another type.
    retyped: Option<(u8, u8, u8)>,
    /// A table, and edits of its bytes.
    edits: Option<(u8, Vec<Edit>)>,
    /// Whether the manifest lists other bytes, rows and hashes than it should.
    lies: bool,
    manifest: Vec<Edit>,
}

/// One cell of a table.
#[derive(Arbitrary, Debug)]
struct Cell {
    table: u8,
    column: u8,
    row: u8,
    value: Datum,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Datum {
    Null,
    Integer(i64),
    Number(u8),
    Float(f64),
    Text(u8),
    /// That of another row.
    Of(u8),
}

/// A table as the fixture has it.
struct Table {
    name: String,
    rows: RecordBatch,
    bytes: Vec<u8>,
}

/// The bundle of the fixtures that is written anew.
struct Base {
    manifest: Manifest,
    tables: Vec<Table>,
}

fn base() -> &'static Base {
    static BASE: OnceLock<Base> = OnceLock::new();
    BASE.get_or_init(|| {
        let folder = fixtures::folder().join("bundle-v3");
        let text = fs::read_to_string(folder.join(MANIFEST)).expect("a fixture");
        let manifest: Manifest = serde_json::from_str(&text).expect("a manifest");
        let tables = manifest.tables.iter().map(|table| {
            let path = folder.join(format!("{}.parquet", table.name));
            let file = File::open(&path).expect("a fixture");
            let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet").with_batch_size(1 << 16);
            let rows = reader.build().expect("Parquet").next().expect("rows").expect("rows");
            Table { name: table.name.clone(), rows, bytes: fs::read(&path).expect("a fixture") }
        });
        Base { tables: tables.collect(), manifest }
    })
}

/// Takes an input.
///
/// # Panics
/// Where a bundle whose tables cannot be read is called whole.
pub fn run(data: &[u8]) {
    let Ok(damage) = Damage::arbitrary_take_rest(Unstructured::new(data)) else { return };
    let folder = places::folder();
    damage.write(folder.path());
    let Ok(manifest) = integrity::manifest(folder.path()) else { return };
    let Ok(whole) = integrity::check(folder.path(), &manifest) else { return };
    for source in 0..3 {
        let _ = rebuild::snapshot(folder.path(), &whole, source, 0);
    }
    let _ = inspect::table(&mut Vec::new(), &manifest, folder.path(), &whole);
}

impl Damage {
    /// Writes the bundle with this damage. Cells alone make one that is whole.
    ///
    /// # Panics
    /// Where it cannot be written.
    pub fn write(&self, folder: &Path) {
        let base = base();
        let mut manifest = base.manifest.clone();
        for (at, table) in base.tables.iter().enumerate() {
            let number = |number: u8| usize::from(number) % base.tables.len();
            let cells: Vec<&Cell> =
                self.cells.iter().take(MOST_CELLS).filter(|cell| number(cell.table) == at).collect();
            let retyped = self.retyped.filter(|(table, ..)| number(*table) == at);
            let mut bytes = match (cells.is_empty(), retyped) {
                (true, None) => table.bytes.clone(),
                _ => parquet(&rewritten(&table.rows, &cells, retyped.map(|(_, column, kind)| (column, kind)))),
            };
            let edits = self.edits.as_ref().filter(|(table, _)| number(*table) == at);
            if let Some((_, edits)) = edits {
                bytes = edited(bytes, edits);
            }
            let file = folder.join(format!("{}.parquet", table.name));
            places::write(&file, &bytes);
            if !self.lies {
                let listed = &mut manifest.tables[at];
                listed.bytes = bytes.len() as u64;
                listed.sha256 = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
                let opened = File::open(&file).expect("just written");
                if let Ok(footer) = ArrowReaderMetadata::load(&opened, ArrowReaderOptions::new()) {
                    listed.rows = footer.metadata().file_metadata().num_rows() as u64;
                }
            }
        }
        let text = serde_json::to_vec_pretty(&manifest).expect("JSON");
        places::write(&folder.join(MANIFEST), &edited(text, &self.manifest));
    }

    /// The same with the values of cells only.
    #[must_use]
    pub fn of_cells(self) -> Self {
        Self { cells: self.cells, retyped: None, edits: None, lies: false, manifest: Vec::new() }
    }
}

fn parquet(rows: &RecordBatch) -> Vec<u8> {
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), None).expect("a writer");
    writer.write(rows).expect("memory has no errors");
    writer.into_inner().expect("memory has no errors")
}

/// Rows with some cells changed, and one column of another type.
fn rewritten(rows: &RecordBatch, cells: &[&Cell], retyped: Option<(u8, u8)>) -> RecordBatch {
    let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
    let mut fields: Vec<Arc<Field>> = rows.schema().fields().iter().cloned().collect();
    for cell in cells {
        let at = usize::from(cell.column) % columns.len();
        columns[at] = changed(&columns[at], cell, fields[at].is_nullable());
    }
    if let Some((column, kind)) = retyped {
        let at = usize::from(column) % columns.len();
        let count = rows.num_rows();
        let (kind, values): (DataType, ArrayRef) = match kind % 4 {
            0 => (DataType::Int32, Arc::new(Int32Array::from(vec![7; count]))),
            1 => (DataType::Float64, Arc::new(Float64Array::from(vec![0.5; count]))),
            2 => (DataType::Utf8, Arc::new(StringArray::from(vec!["x"; count]))),
            _ => (DataType::Boolean, Arc::new(BooleanArray::from(vec![true; count]))),
        };
        fields[at] = Arc::new(Field::new(fields[at].name(), kind, fields[at].is_nullable()));
        columns[at] = values;
    }
    let count = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &count).expect("columns of one length")
}

/// A column with one value changed.
fn changed(column: &ArrayRef, cell: &Cell, nullable: bool) -> ArrayRef {
    let count = column.len();
    if count == 0 {
        return Arc::clone(column);
    }
    let row = usize::from(cell.row) % count;
    let other = match cell.value {
        Datum::Of(other) => usize::from(other) % count,
        _ => row,
    };
    let integer = match cell.value {
        Datum::Integer(number) => Some(number),
        Datum::Float(float) => Some(float as i64),
        Datum::Number(number) | Datum::Text(number) => Some(NUMBERS[usize::from(number) % NUMBERS.len()]),
        Datum::Null | Datum::Of(_) => None,
    };
    let float = match cell.value {
        Datum::Float(float) => Some(float),
        _ => integer.map(|number| number as f64),
    };
    let text = match cell.value {
        Datum::Text(number) | Datum::Number(number) => Some(TEXTS[usize::from(number) % TEXTS.len()].to_owned()),
        Datum::Integer(number) => Some(number.to_string()),
        Datum::Float(number) => Some(number.to_string()),
        Datum::Null | Datum::Of(_) => None,
    };
    if matches!(cell.value, Datum::Null) && !nullable {
        return Arc::clone(column);
    }
    let is_other = matches!(cell.value, Datum::Of(_));
    match column.data_type() {
        DataType::Int32 => {
            let mut values: Vec<Option<i32>> = column.as_primitive::<Int32Type>().iter().collect();
            values[row] = if is_other { values[other] } else { integer.map(|number| number as i32) };
            Arc::new(Int32Array::from(values))
        }
        DataType::Int64 => {
            let mut values: Vec<Option<i64>> = column.as_primitive::<Int64Type>().iter().collect();
            values[row] = if is_other { values[other] } else { integer };
            Arc::new(Int64Array::from(values))
        }
        DataType::Float64 => {
            let mut values: Vec<Option<f64>> = column.as_primitive::<Float64Type>().iter().collect();
            values[row] = if is_other { values[other] } else { float };
            Arc::new(Float64Array::from(values))
        }
        DataType::Boolean => {
            let mut values: Vec<Option<bool>> = column.as_boolean().iter().collect();
            values[row] = if is_other { values[other] } else { integer.map(|number| number & 1 == 1) };
            Arc::new(BooleanArray::from(values))
        }
        DataType::Utf8 => {
            let mut values: Vec<Option<String>> =
                column.as_string::<i32>().iter().map(|value| value.map(str::to_owned)).collect();
            values[row] = if is_other { values[other].clone() } else { text };
            Arc::new(StringArray::from(values))
        }
        other => panic!("no bundle has a column of {other}"),
    }
}

/// Bytes without order: each is some damage.
pub fn seeds() -> Vec<Vec<u8>> {
    mutation::noise(200)
}
