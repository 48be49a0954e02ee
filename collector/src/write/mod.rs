//! From batches to a Parquet bundle.

pub mod gaps;
pub mod integrity;
pub mod rebuild;
pub mod samples;
pub mod snapshots;
pub mod staged;
pub mod tables;
