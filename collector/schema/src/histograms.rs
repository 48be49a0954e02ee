//! Native histograms.

use crate::Text;

table! {
    /// One native histogram sample.
    pub struct NativeHistogramRow<'a> in "histograms" {
        /// Identifier of the series.
        series: i64,
        /// Line (or record) of the source.
        record: i64,
        /// Time of the sample, ns.
        time: i64,
        /// Sum of observations.
        sum: f64,
        /// Number of observations.
        count: f64,
        /// The rest as JSON: `schema`, `zero_threshold`, `zero_count`, `positive` and `negative` as `[[offset, [counts…]]…]`, `custom`, `reset_hint`.
        buckets: Text<'a>,
    }
}
