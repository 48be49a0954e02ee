//! What a format, a line, a batch and a dissector are: the ground that all stages stand on. No I/O, and no format's own marks.

pub mod batch;
pub mod columns;
pub mod csv;
pub mod dissector;
pub mod effort;
pub mod file_series;
pub mod format;
pub mod instant;
pub mod json_pairs;
pub mod ledger;
pub mod line;
pub mod look;
mod names;
pub mod stamp;

pub use batch::{Batch, RawSnapshot, Sample, SeriesKey};
pub use format::{Cut, Format, Head, Reads, Sniff};
pub use line::{Around, Chunk, Context, Known, Line, Names, Place};
