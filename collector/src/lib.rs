//! From raw captures to a Parquet bundle: `input` → `parse` → `write`.

pub mod input;
pub mod parse;
pub mod write;
