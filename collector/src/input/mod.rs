//! Files, archives and compressed streams, as chunks of whole records.

mod cutter;
mod stream;
mod walk;

pub use cutter::{CHUNK, Cutter, Piece};
pub use stream::{Digested, open};
pub use walk::{Entry, walk};
