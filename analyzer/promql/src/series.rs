//! Samples and series, as a storage hands them to the engine.

use std::sync::Arc;

use crate::histogram::Histogram;
use crate::labels::Labels;

/// The bit pattern of the staleness marker: a NaN that says "this series ended here".
pub const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The staleness marker as a float.
pub fn stale_marker() -> f64 {
    f64::from_bits(STALE_BITS)
}

/// Whether a value is the staleness marker (any other NaN is a value).
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_BITS
}

/// One float sample: milliseconds since 1970, value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Milliseconds since 1970.
    pub time: i64,
    /// The value; may be the staleness marker.
    pub value: f64,
}

/// One native histogram sample. A histogram whose `sum` is the staleness marker is one.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramSample {
    /// Milliseconds since 1970.
    pub time: i64,
    /// The histogram; shared, since windows hand it on unchanged.
    pub histogram: Arc<Histogram>,
}

/// A series: labels and samples in columns.
///
/// `times` ascends strictly and is as long as `values`; so does `histograms`, and no time stands in both.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// All labels, the metric's name among them.
    pub labels: Labels,
    /// Milliseconds since 1970 of each float sample.
    pub times: Vec<i64>,
    /// The float samples, staleness markers included.
    pub values: Vec<f64>,
    /// Native histogram samples.
    pub histograms: Vec<HistogramSample>,
    /// Start timestamp of each float sample (when its counter began at zero), milliseconds since 1970, 0 where it is
    /// not known; empty if no sample has one.
    pub start_times: Vec<i64>,
    /// The same of each native histogram sample.
    pub histogram_start_times: Vec<i64>,
}

impl Series {
    /// A series of float samples.
    pub fn of_floats(labels: Labels, samples: &[Sample]) -> Series {
        Series {
            labels,
            times: samples.iter().map(|sample| sample.time).collect(),
            values: samples.iter().map(|sample| sample.value).collect(),
            ..Series::default()
        }
    }

    /// Whether there is any sample in `start..=end`.
    pub fn has_samples_in(&self, start: i64, end: i64) -> bool {
        let floats = self.times.partition_point(|&time| time < start);
        let histograms = self.histograms.partition_point(|sample| sample.time < start);
        self.times.get(floats).is_some_and(|&time| time <= end)
            || self.histograms.get(histograms).is_some_and(|sample| sample.time <= end)
    }
}
