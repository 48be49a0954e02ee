//! How Prometheus packs samples: bits, chunks, records of its log. Bytes in, samples out, no I/O.
//!
//! After the descriptions in Prometheus' repository under tsdb/docs/format. [`parcel`] is how the collector hands the raw chunks
//! and records of a database to the parser; [`native_histogram`] is what a native histogram is, whatever it came in.

mod bits;
pub mod bytes;
pub mod crc32c;
pub mod floats;
pub mod histograms;
pub mod native_histogram;
#[cfg(test)]
mod newer;
pub mod parcel;
pub mod records;
