//! What others put around a capture, taken off ahead of recognition: one layer, one file, one list.
//!
//! A line goes from the file through the layers that the file wears, outermost first, to the format that reads what stood inside.
//! [`Layer`] says what a layer declares; `strip` is how a stack of them works.

pub mod cri;
pub mod dates;
#[cfg(test)]
pub(crate) mod harness;
pub mod layer;
pub mod log_line;
pub mod margin;
pub mod preface;
pub mod prompt;
pub mod strip;
pub mod terminal;
pub mod times;
pub mod watch;

pub use layer::{Dressed, Layer, Out, Peel, Setting};

/// Every layer, in the order in which they are looked for: those that lie outermost first.
pub const LAYERS: &[&Layer] = &[
    &terminal::LAYER,
    &cri::LAYER,
    &watch::LAYER,
    &prompt::LAYER,
    &preface::LAYER,
    &dates::LAYER,
    &times::LAYER,
    &margin::LAYER,
];

/// Whether a format is asked only of what is left of a session when the sections that other formats read are gone.
pub fn transcript_apart(kind: &str) -> bool {
    kind == "transcript"
}
