//! From batches to a Parquet bundle.

mod differences;
pub mod gaps;
pub mod integrity;
pub mod rebuild;
pub mod samples;
pub mod snapshots;
#[cfg(test)]
mod snapshots_tests;
pub mod staged;
pub mod tables;
mod templates;
