//! Typed rows out of a collected frame.

use std::borrow::Cow;

use anyhow::Context;
use polars::prelude::{BooleanChunked, DataFrame, Float64Chunked, Int32Chunked, Int64Chunked, StringChunked};
use syncline_schema::{Column, ColumnSource, ColumnType, Row, Text};

use super::batches::possible;

enum Values {
    I32(Int32Chunked),
    I64(Int64Chunked),
    F64(Float64Chunked),
    Bool(BooleanChunked),
    Text(StringChunked),
}

/// One row of a frame.
struct FrameRow<'f> {
    columns: &'f [Values],
    at: usize,
}

macro_rules! value {
    ($method:ident, $variant:ident, $type:ty) => {
        fn $method(&self, column: usize) -> Option<$type> {
            match self.columns.get(column) {
                Some(Values::$variant(values)) => values.get(self.at),
                _ => None,
            }
        }
    };
}

impl ColumnSource<'static> for FrameRow<'_> {
    value!(i32, I32, i32);
    value!(i64, I64, i64);
    value!(f64, F64, f64);
    value!(bool, Bool, bool);
    fn text(&self, column: usize) -> Option<Text<'static>> {
        match self.columns.get(column) {
            Some(Values::Text(values)) => values.get(self.at).map(|text| Cow::Owned(text.to_owned())),
            _ => None,
        }
    }
}

/// All rows of a frame whose columns are `columns`, in that order.
///
/// # Errors
/// A column that is missing or of another type.
pub fn rows<R: Row<'static>>(frame: &DataFrame, columns: &[Column]) -> anyhow::Result<Vec<R>> {
    let mut values = Vec::with_capacity(columns.len());
    for column in columns {
        let series = frame.column(column.name)?.as_materialized_series().rechunk();
        let wrong = || format!("column {}: expected {:?}, found {}", column.name, column.kind, series.dtype());
        values.push(match column.kind {
            ColumnType::I32 => Values::I32(series.i32().with_context(wrong)?.clone()),
            ColumnType::I64 => {
                let numbers = series.i64().with_context(wrong)?;
                if column.is_time() {
                    possible(column.name, numbers.iter().flatten())?;
                }
                Values::I64(numbers.clone())
            }
            ColumnType::F64 => Values::F64(series.f64().with_context(wrong)?.clone()),
            ColumnType::Bool => Values::Bool(series.bool().with_context(wrong)?.clone()),
            ColumnType::Text => Values::Text(series.str().with_context(wrong)?.clone()),
        });
    }
    Ok((0..frame.height()).map(|at| R::read(&FrameRow { columns: &values, at })).collect())
}
