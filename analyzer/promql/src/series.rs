//! Samples and series, as a storage hands them to the engine.

use std::sync::Arc;

use arrow_buffer::{ArrowNativeType, ScalarBuffer};

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

/// Whether any of the values is the staleness marker.
pub fn any_stale(values: &[f64]) -> bool {
    // Whole stretches at a time, which compilers make wide instructions of.
    values.chunks(256).any(|some| some.iter().fold(false, |any, &value| any | is_stale(value)))
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

/// Numbers of samples, one behind the other. Series that were scraped together have one column of times between them, and a storage may
/// hold those of many series in one piece.
pub type Column<T> = ScalarBuffer<T>;

/// A series: labels and samples in columns.
///
/// `times` ascends strictly and is as long as `values`; so does `histograms`, and no time stands in both.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// All labels, the metric's name among them.
    pub labels: Labels,
    /// Milliseconds since 1970 of each float sample.
    pub times: Column<i64>,
    /// The float samples, staleness markers included.
    pub values: Column<f64>,
    /// Native histogram samples.
    pub histograms: Vec<HistogramSample>,
    /// Start timestamp of each float sample (when its counter began at zero), milliseconds since 1970, 0 where it is
    /// not known; empty if no sample has one.
    pub start_times: Vec<i64>,
    /// The same of each native histogram sample.
    pub histogram_start_times: Vec<i64>,
    /// Whether it is known that no sample is a staleness marker; a storage looks once for all that ask it.
    pub unmarked: bool,
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

    /// Appends a float sample; where the columns are this series' own, without a copy of what they have.
    pub fn push(&mut self, time: i64, value: f64) {
        append(&mut self.times, time);
        append(&mut self.values, value);
        self.unmarked &= !is_stale(value);
    }

    /// Whether any sample is a staleness marker.
    pub fn has_markers(&self) -> bool {
        !self.unmarked
            && (any_stale(&self.values) || self.histograms.iter().any(|sample| is_stale(sample.histogram.sum)))
    }

    /// Whether there is any sample in `start..=end`.
    pub fn has_samples_in(&self, start: i64, end: i64) -> bool {
        let floats = self.times.partition_point(|&time| time < start);
        let histograms = self.histograms.partition_point(|sample| sample.time < start);
        self.times.get(floats).is_some_and(|&time| time <= end)
            || self.histograms.get(histograms).is_some_and(|sample| sample.time <= end)
    }
}

fn append<T: ArrowNativeType>(column: &mut Column<T>, one: T) {
    let whole = std::mem::take(column).into_inner();
    let mut all = whole.into_vec::<T>().unwrap_or_else(|shared| Column::from(shared).to_vec());
    all.push(one);
    *column = all.into();
}
