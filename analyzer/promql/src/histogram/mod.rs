//! Native histograms: exponential buckets (schema −4 to 8) and custom bucket boundaries (schema −53).
//!
//! The format is that of Prometheus' native histogram specification. Counts are floats always; a histogram of
//! integers is widened when it is read. Buckets are kept as sorted (index, count) pairs rather than as spans.

mod arithmetic;
mod buckets;
mod display;
mod estimate;
mod resets;
mod tally;
mod trim;

pub(crate) use arithmetic::{Combined, HistogramMean, HistogramSum};
pub use buckets::Bucket;
pub(crate) use estimate::NanEffect;
pub(crate) use tally::MixedSchemas;

/// The schema number of histograms with custom bucket boundaries.
pub const CUSTOM_BUCKETS_SCHEMA: i32 = -53;

/// What is known about a counter reset between the sample before and this one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResetHint {
    /// Nothing: compare the two.
    #[default]
    Unknown,
    /// A reset took place.
    CounterReset,
    /// No reset took place.
    NotCounterReset,
    /// A gauge: resets mean nothing.
    Gauge,
}

/// One bucket of one side: its index in the schema, and its count (not cumulative).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IndexedBucket {
    /// Index. Exponential: the bucket `(base^(index−1), base^index]`. Custom: the bucket up to `custom_values[index]`.
    pub index: i32,
    /// Observations in this bucket alone.
    pub count: f64,
}

/// A native histogram.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Resolution: base = 2^(2^−schema); [`CUSTOM_BUCKETS_SCHEMA`] for custom boundaries.
    pub schema: i32,
    /// Half-width of the zero bucket.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: f64,
    /// All observations, NaN ones included.
    pub count: f64,
    /// Sum of observations; the staleness marker makes the sample one.
    pub sum: f64,
    /// Buckets above the zero bucket (or all, with custom boundaries), sorted by index.
    pub positive: Vec<IndexedBucket>,
    /// Buckets below the zero bucket, sorted by index (of the absolute value).
    pub negative: Vec<IndexedBucket>,
    /// Upper bounds of custom buckets, ascending, without the final +Inf.
    pub custom_values: Vec<f64>,
    /// Reset hint.
    pub reset_hint: ResetHint,
}
