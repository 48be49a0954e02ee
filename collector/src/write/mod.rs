//! From batches to a Parquet bundle.

mod differences;
mod digest;
mod footprint;
pub mod gaps;
pub mod integrity;
mod page_header;
mod page_numbers;
pub mod rebuild;
pub mod samples;
pub mod snapshots;
#[cfg(test)]
mod snapshots_tests;
pub mod staged;
pub mod tables;
mod templates;
