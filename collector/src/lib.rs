//! From raw captures to a Parquet bundle: `input` → `parse` → `write`.

pub mod bundle;
pub mod capture_toml;
pub mod input;
pub mod inspect;
pub mod parse;
mod pass;
pub mod pipeline;
mod progress;
mod reader;
pub mod write;
