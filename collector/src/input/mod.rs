//! Files, archives and compressed streams, as chunks of whole records.

pub mod archive;
mod cutter;
#[cfg(test)]
mod cutter_tests;
mod elements;
mod expansion;
mod open;
mod stream;
pub mod tsdb;
mod walk;
mod whole;

pub use cutter::{Cutter, Piece, Skipped};
pub use open::regular;
pub use stream::{Digested, Limits, decompress, hashing, is_compressed, open, stated_size};
pub use walk::{Entry, Skip, Walk, cost, walk};
pub use whole::{whole, whole_text};
