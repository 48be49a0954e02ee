//! Prometheus series and their float samples.

use crate::Text;

table! {
    /// One series of one source. The same series in a scrape stream and in an API answer is two rows: two witnesses.
    pub struct SeriesRow<'a> in "series" {
        /// Index of the source.
        source: i32,
        /// Line where the series first stood.
        record: i64,
        /// Identifier, unique in the bundle, given in order of first appearance.
        series: i64,
        /// Clock domain of its samples' `time`.
        clock: Text<'a>,
        /// `scrape` (a stream of scrapes), `exposition` (one text file), `api` (HTTP API answer), `tsdb`, `bpftool`.
        witness: Text<'a>,
        /// Metric name.
        name: Text<'a>,
        /// Labels without `__name__`: a JSON object, keys sorted, no white space.
        labels: Text<'a>,
        /// `counter`, `gauge`, `histogram`, `summary`, `untyped`; null where unknown.
        metric_type: Option<Text<'a>>,
    }
}

table! {
    /// One float sample. Sorted by series and time in runs of a fixed number of rows. A staleness marker is the
    /// NaN with the bits `0x7ff0000000000002`.
    pub struct SampleRow<'a> in "samples" {
        /// Identifier of the series; its row in `series` has source and clock.
        series: i64,
        /// Line of the source: of the `# SCRAPE` stamp for scrape streams, of the sample otherwise.
        record: i64,
        /// Time of the sample, ns.
        time: i64,
        /// Value.
        value: f64,
    }
}

table! {
    /// Since when a sample's counter or histogram counts, where its source says so: start timestamps of a TSDB, and of OpenMetrics
    /// (`_created`, `st@`). Samples without a row have none.
    pub struct StartRow<'a> in "starts" {
        /// Identifier of the series.
        series: i64,
        /// Line (or record) of the source.
        record: i64,
        /// Time of the sample, ns.
        time: i64,
        /// When it began to count, ns.
        start: i64,
    }
}

/// Bits of the NaN that marks a series as stale (Prometheus, `model/value`).
pub const STALE_NAN: u64 = 0x7ff0_0000_0000_0002;
