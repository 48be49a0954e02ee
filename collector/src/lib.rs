//! From raw captures to a Parquet bundle: `input` → `layers` → `parse` → `write`, conducted by `bundle`.
//! From a cluster to raw captures: `record`.

pub mod bundle;
pub mod cli;
pub mod form;
pub mod input;
pub mod layers;
pub mod parse;
#[cfg(feature = "record")]
pub mod record;
pub mod write;
