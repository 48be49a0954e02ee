//! The machinery behind a table: column types, the row trait, and the macro that declares both at once.

use std::borrow::Cow;

/// Text of a row: borrowed from the capture while it is parsed, owned when it was read from a bundle.
pub type Text<'a> = Cow<'a, str>;

/// Physical type of a column. The Arrow types are `Int32`, `Int64`, `Float64`, `Boolean` and `Utf8`: all of them
/// survive arrow-rs → Parquet → polars, DuckDB, Spark and pandas unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    I32,
    I64,
    F64,
    Bool,
    Text,
}

/// One column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Name in the Parquet file.
    pub name: &'static str,
    /// Physical type.
    pub kind: ColumnType,
    /// Whether a row may lack it.
    pub nullable: bool,
    /// What it means, with its unit.
    pub doc: &'static str,
}

/// Columns that are times or spans of time, ns.
const TIMES: [&str; 24] = [
    "a_high",
    "a_low",
    "b_high",
    "b_low",
    "connect",
    "created",
    "deletion",
    "duration",
    "latency",
    "outer_time",
    "ready_since",
    "received",
    "renew_time",
    "resolution",
    "returned",
    "returned_boottime",
    "sent",
    "start",
    "sent_boottime",
    "stage_time",
    "started",
    "time",
    "trigger_time",
    "until",
];

impl Column {
    /// Whether it is a time or a span of time, ns.
    pub fn is_time(&self) -> bool {
        self.kind == ColumnType::I64 && TIMES.contains(&self.name)
    }
}

/// Whether a time (or a span) is one that a capture can have, ns: from 1938 to 2100. Two of them differ by what an `i64` holds, and so does the
/// sum of a time and such a difference.
pub fn is_possible(time: i64) -> bool {
    (-1_000_000_000_000_000_000..=4_102_444_800_000_000_000).contains(&time)
}

/// Takes the values of one row, column by column, in the order of [`Row::COLUMNS`].
pub trait ColumnSink {
    fn i32(&mut self, value: Option<i32>);
    fn i64(&mut self, value: Option<i64>);
    fn f64(&mut self, value: Option<f64>);
    fn bool(&mut self, value: Option<bool>);
    fn text(&mut self, value: Option<&str>);
}

/// Gives the values of one row by column index. A null of a column that may not be null reads as zero or empty.
pub trait ColumnSource<'a> {
    fn i32(&self, column: usize) -> Option<i32>;
    fn i64(&self, column: usize) -> Option<i64>;
    fn f64(&self, column: usize) -> Option<f64>;
    fn bool(&self, column: usize) -> Option<bool>;
    fn text(&self, column: usize) -> Option<Text<'a>>;
}

/// A row of a table.
pub trait Row<'a>: Sized {
    /// Name of the table and stem of its Parquet file.
    const TABLE: &'static str;
    /// Columns in file order.
    const COLUMNS: &'static [Column];
    /// Hands every column to `sink`, in order.
    fn write(&self, sink: &mut impl ColumnSink);
    /// Rebuilds the row from `source`, whose columns are in the order of [`Row::COLUMNS`].
    fn read(source: &impl ColumnSource<'a>) -> Self;
}

/// One field type: how it is described, written and read.
pub trait Field<'a>: Sized {
    const KIND: ColumnType;
    const NULLABLE: bool;
    fn put(&self, sink: &mut impl ColumnSink);
    fn get(source: &impl ColumnSource<'a>, column: usize) -> Self;
}

macro_rules! plain_field {
    ($type:ty, $kind:ident, $method:ident) => {
        impl<'a> Field<'a> for $type {
            const KIND: ColumnType = ColumnType::$kind;
            const NULLABLE: bool = false;
            fn put(&self, sink: &mut impl ColumnSink) {
                sink.$method(Some(*self));
            }
            fn get(source: &impl ColumnSource<'a>, column: usize) -> Self {
                source.$method(column).unwrap_or_default()
            }
        }
        impl<'a> Field<'a> for Option<$type> {
            const KIND: ColumnType = ColumnType::$kind;
            const NULLABLE: bool = true;
            fn put(&self, sink: &mut impl ColumnSink) {
                sink.$method(*self);
            }
            fn get(source: &impl ColumnSource<'a>, column: usize) -> Self {
                source.$method(column)
            }
        }
    };
}

plain_field!(i32, I32, i32);
plain_field!(i64, I64, i64);
plain_field!(f64, F64, f64);
plain_field!(bool, Bool, bool);

impl<'a> Field<'a> for Text<'a> {
    const KIND: ColumnType = ColumnType::Text;
    const NULLABLE: bool = false;
    fn put(&self, sink: &mut impl ColumnSink) {
        sink.text(Some(self));
    }
    fn get(source: &impl ColumnSource<'a>, column: usize) -> Self {
        source.text(column).unwrap_or_default()
    }
}

impl<'a> Field<'a> for Option<Text<'a>> {
    const KIND: ColumnType = ColumnType::Text;
    const NULLABLE: bool = true;
    fn put(&self, sink: &mut impl ColumnSink) {
        sink.text(self.as_deref());
    }
    fn get(source: &impl ColumnSource<'a>, column: usize) -> Self {
        source.text(column)
    }
}

/// Declares a row (for another crate's tables too): the struct, its columns (with their docs) and both directions of conversion.
#[macro_export]
macro_rules! table {
    (
        $(#[$meta:meta])*
        pub struct $name:ident<$life:lifetime> in $table:literal {
            $( $(#[doc = $doc:literal])+ $field:ident : $type:ty ),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $name<$life> {
            $( $(#[doc = $doc])+ pub $field: $type, )+
            /// Ties the row to the text that it borrows.
            #[doc(hidden)]
            pub borrowed: std::marker::PhantomData<&$life ()>,
        }

        impl<$life> $name<$life> {
            /// Name of the table and stem of its Parquet file.
            pub const TABLE: &'static str = $table;
            /// Columns in file order.
            pub const COLUMNS: &'static [$crate::Column] = &[
                $( $crate::Column {
                    name: stringify!($field),
                    kind: <$type as $crate::table::Field<$life>>::KIND,
                    nullable: <$type as $crate::table::Field<$life>>::NULLABLE,
                    doc: concat!($($doc),+),
                } ),+
            ];
        }

        impl<$life> $crate::Row<$life> for $name<$life> {
            const TABLE: &'static str = $table;
            const COLUMNS: &'static [$crate::Column] = $name::<$life>::COLUMNS;
            fn write(&self, sink: &mut impl $crate::ColumnSink) {
                $( $crate::table::Field::put(&self.$field, sink); )+
            }
            fn read(source: &impl $crate::ColumnSource<$life>) -> Self {
                let mut column = 0..;
                Self {
                    $( $field: <$type as $crate::table::Field<$life>>::get(source, column.next().unwrap_or_default()), )+
                    borrowed: std::marker::PhantomData,
                }
            }
        }
    };
}
