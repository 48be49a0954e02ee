//! Puts what lay around the lines of a chunk into its rows: where each line stood in the file, who carried it and when.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray};

use crate::form::{Around, Batch, Known};

/// One thing that is known of a line.
type Of = fn(&Known<'_>) -> Option<String>;

/// Settles the rows of a table.
pub fn table(name: &str, rows: &RecordBatch, around: &Around) -> RecordBatch {
    let schema = rows.schema();
    let Some(records) = column(rows, "record").and_then(|at| rows.column(at).as_primitive_opt::<Int64Type>()) else {
        return rows.clone();
    };
    let lines: Vec<i64> = records.values().to_vec();
    let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
    let mut set = |at: Option<usize>, values: ArrayRef| {
        if let Some(column) = at.and_then(|at| columns.get_mut(at)) {
            *column = values;
        }
    };
    let place = |line: &i64| around.place(*line);
    set(
        column(rows, "record"),
        Arc::new(numbers(lines.iter().map(|line| place(line).map_or(*line, |place| place.line)))),
    );
    match name {
        "rejects" => {
            set(
                column(rows, "offset"),
                Arc::new(numbers(lines.iter().map(|line| place(line).map_or(0, |p| p.offset)))),
            );
        }
        "logs" => {
            let known: Vec<Known<'_>> = lines.iter().map(|line| around.known(*line)).collect();
            let at = column(rows, "outer_time");
            let own = at.and_then(|at| rows.column(at).as_primitive_opt::<Int64Type>());
            let times = known
                .iter()
                .enumerate()
                .map(|(row, known)| own.filter(|own| own.is_valid(row)).map(|own| own.value(row)).or(known.outer_time));
            set(at, Arc::new(times.collect::<Int64Array>()));
            let of: [(&str, Of); 3] = [
                ("pod", |known| known.pod.map(str::to_owned)),
                ("container", |known| known.container.map(str::to_owned)),
                ("node", |known| known.node.map(str::to_owned)),
            ];
            for (name, of) in of {
                set(column(rows, name), Arc::new(texts(rows, name, known.iter().map(of))));
            }
        }
        "syncs" => {
            let proxies = lines.iter().map(|line| {
                let known = around.known(*line);
                known.pod.or(known.node).map(str::to_owned)
            });
            set(column(rows, "proxy"), Arc::new(texts(rows, "proxy", proxies)));
        }
        _ => {}
    }
    RecordBatch::try_new(schema, columns).unwrap_or_else(|_| rows.clone())
}

fn column(rows: &RecordBatch, name: &str) -> Option<usize> {
    rows.schema().index_of(name).ok()
}

fn numbers(values: impl Iterator<Item = i64>) -> Int64Array {
    Int64Array::from_iter_values(values)
}

/// What a column has, and where it has nothing what was found around.
fn texts(rows: &RecordBatch, name: &str, found: impl Iterator<Item = Option<String>>) -> StringArray {
    let own = column(rows, name).and_then(|at| rows.column(at).as_string_opt::<i32>());
    let values = found
        .enumerate()
        .map(|(row, found)| own.filter(|own| own.is_valid(row)).map(|own| own.value(row).to_owned()).or(found));
    values.collect()
}

/// Settles what a batch has beside its tables.
pub fn batch(batch: &mut Batch, around: &Arc<Around>) {
    let line = |number: i64| around.place(number).map_or(number, |place| place.line);
    for sample in &mut batch.samples {
        sample.record = line(sample.record);
    }
    for series in &mut batch.series {
        series.record = line(series.record);
    }
    for (record, _) in &mut batch.scrapes {
        *record = line(*record);
    }
    for snapshot in &mut batch.snapshots {
        snapshot.record = line(snapshot.record);
        snapshot.around = Some(Arc::clone(around));
    }
}
