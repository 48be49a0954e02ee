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
        /// The rest as JSON: `schema`, `zero_threshold`, `zero_count`, `positive` and `negative` as `[[index of the first bucket, [counts…]]…]`
        /// (each bucket's own count), `custom` (upper bounds with schema −53), `reset_hint` (`unknown`, `reset`, `not-reset`, `gauge`).
        /// What is not finite stands as a string. A staleness marker has the `sum` of one of a float sample, and no buckets.
        buckets: Text<'a>,
    }
}
