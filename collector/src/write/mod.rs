//! From batches to a Parquet bundle.

pub mod columns;
