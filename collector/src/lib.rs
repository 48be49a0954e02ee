//! From raw captures to a Parquet bundle: `input` → `layers` → `parse` → `write`, conducted by `bundle`.

pub mod bundle;
pub mod cli;
pub mod form;
pub mod input;
pub mod layers;
pub mod parse;
pub mod write;
