//! Files, archives and compressed streams, as chunks of whole records.

mod cutter;
mod elements;
mod stream;
pub mod tsdb;
mod walk;
mod whole;

pub use cutter::{CHUNK, Cutter, Piece, Skipped};
pub use stream::{Digested, decompress, hashing, is_compressed, open, stated_size, window_log};
pub use walk::{Entry, walk};
pub use whole::{whole, whole_text};
