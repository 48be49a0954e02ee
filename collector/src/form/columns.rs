//! Arrow columns of one table, filled row by row.

use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, Float64Builder, Int32Builder, Int64Builder, StringBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, DataType, Field, Schema};
use syncline_schema::{Column, ColumnSink, ColumnType};

/// Builds a [`RecordBatch`] of one table.
pub struct TableBuilder {
    /// Name of the table.
    pub table: &'static str,
    columns: &'static [Column],
    builders: Vec<ColumnBuilder>,
    next: usize,
    rows: usize,
    bytes: usize,
}

enum ColumnBuilder {
    I32(Int32Builder),
    I64(Int64Builder),
    F64(Float64Builder),
    Bool(BooleanBuilder),
    Text(StringBuilder),
}

/// Rows for which a new table has room: most files are small, and room for a thousand in each of a dozen columns costs more than they do.
const FEW: usize = 32;

/// What a value takes beside its text, bytes.
const VALUE: usize = 8;

impl TableBuilder {
    /// An empty table.
    pub fn new(table: &'static str, columns: &'static [Column]) -> Self {
        let builders = columns
            .iter()
            .map(|column| match column.kind {
                ColumnType::I32 => ColumnBuilder::I32(Int32Builder::with_capacity(FEW)),
                ColumnType::I64 => ColumnBuilder::I64(Int64Builder::with_capacity(FEW)),
                ColumnType::F64 => ColumnBuilder::F64(Float64Builder::with_capacity(FEW)),
                ColumnType::Bool => ColumnBuilder::Bool(BooleanBuilder::with_capacity(FEW)),
                ColumnType::Text => ColumnBuilder::Text(StringBuilder::with_capacity(FEW, 4 * FEW)),
            })
            .collect();
        Self { table, columns, builders, next: 0, rows: 0, bytes: 0 }
    }

    /// Rows so far.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes that the rows so far take, more or less.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Columns of the table.
    pub fn columns(&self) -> &'static [Column] {
        self.columns
    }

    /// Arrow schema of the table.
    pub fn schema(columns: &[Column]) -> Schema {
        Schema::new(
            columns
                .iter()
                .map(|column| {
                    let kind = match column.kind {
                        ColumnType::I32 => DataType::Int32,
                        ColumnType::I64 => DataType::Int64,
                        ColumnType::F64 => DataType::Float64,
                        ColumnType::Bool => DataType::Boolean,
                        ColumnType::Text => DataType::Utf8,
                    };
                    Field::new(column.name, kind, column.nullable)
                })
                .collect::<Vec<_>>(),
        )
    }

    /// The rows so far as a batch; the builder is empty afterwards.
    ///
    /// # Errors
    /// Only where a row did not fill every column, which the row macro excludes.
    pub fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        let arrays: Vec<ArrayRef> = self
            .builders
            .iter_mut()
            .map(|builder| match builder {
                ColumnBuilder::I32(b) => Arc::new(b.finish()) as ArrayRef,
                ColumnBuilder::I64(b) => Arc::new(b.finish()),
                ColumnBuilder::F64(b) => Arc::new(b.finish()),
                ColumnBuilder::Bool(b) => Arc::new(b.finish()),
                ColumnBuilder::Text(b) => Arc::new(b.finish()),
            })
            .collect();
        (self.rows, self.bytes) = (0, 0);
        RecordBatch::try_new(Arc::new(Self::schema(self.columns)), arrays)
    }

    fn advance(&mut self) -> usize {
        let at = self.next;
        self.bytes += VALUE;
        self.next += 1;
        if self.next == self.columns.len() {
            self.next = 0;
            self.rows += 1;
        }
        at
    }
}

macro_rules! sink {
    ($method:ident, $variant:ident, $type:ty) => {
        fn $method(&mut self, value: Option<$type>) {
            let at = self.advance();
            if let ColumnBuilder::$variant(builder) = &mut self.builders[at] {
                builder.append_option(value);
            }
        }
    };
}

impl ColumnSink for TableBuilder {
    sink!(i32, I32, i32);
    sink!(i64, I64, i64);
    sink!(f64, F64, f64);
    sink!(bool, Bool, bool);

    fn text(&mut self, value: Option<&str>) {
        let at = self.advance();
        self.bytes += value.map_or(0, str::len);
        if let ColumnBuilder::Text(builder) = &mut self.builders[at] {
            builder.append_option(value);
        }
    }
}
