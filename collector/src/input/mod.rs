//! Files, archives and compressed streams, as chunks of whole records.

mod cutter;
#[cfg(test)]
mod cutter_tests;
mod elements;
mod stream;
pub mod tsdb;
mod walk;

pub use cutter::{Cutter, Piece, Skipped};
pub use stream::{Digested, decompress, hashing, is_compressed, open, stated_size, window_log};
pub use walk::{Entry, walk};
