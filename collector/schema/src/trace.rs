//! What bpftrace printed: events, maps and histograms.

use crate::Text;

table! {
    /// One printf line of a bpftrace script.
    pub struct EventRow<'a> in "trace_events" {
        /// Index of the source.
        source: i32,
        /// Line of the source.
        record: i64,
        /// Clock domain of `time`.
        clock: Text<'a>,
        /// Leading integer of 13 to 19 digits, taken as `nsecs`.
        time: Option<i64>,
        /// The upper-case word behind the time, e.g. `REPLACE`.
        event: Option<Text<'a>>,
        /// `pid=` of the line.
        pid: Option<i64>,
        /// `comm=` of the line.
        comm: Option<Text<'a>>,
        /// The rest of the line, as printed; the whole line where there is no event word.
        text: Text<'a>,
    }
}

table! {
    /// One value of a map (`@x[key]: value`), printed during the run or at its end.
    pub struct MapRow<'a> in "trace_maps" {
        /// Index of the source.
        source: i32,
        /// Line of the source.
        record: i64,
        /// Clock domain of `time`.
        clock: Text<'a>,
        /// `nsecs` of the last printf line ahead of it that had one; null at exit without one.
        time: Option<i64>,
        /// Name of the map with its `@`.
        map: Text<'a>,
        /// Key as printed, without brackets.
        key: Option<Text<'a>>,
        /// Which figure: `value`, or `count`, `average`, `total`, `min`, `max` of `stats()`.
        figure: Text<'a>,
        /// The value as a number; null for text and stacks.
        value: Option<f64>,
        /// The value as printed where it is no number that a double holds exactly.
        text: Option<Text<'a>>,
    }
}

table! {
    /// One bucket of a `hist()` or `lhist()` map.
    pub struct HistogramRow<'a> in "trace_histograms" {
        /// Index of the source.
        source: i32,
        /// Line of the source.
        record: i64,
        /// Clock domain of `time`.
        clock: Text<'a>,
        /// As in `trace_maps`.
        time: Option<i64>,
        /// Name of the map with its `@`.
        map: Text<'a>,
        /// Key as printed.
        key: Option<Text<'a>>,
        /// Lower edge, inclusive; null where the bucket is open below.
        low: Option<f64>,
        /// Upper edge, exclusive; null where the bucket is open above.
        high: Option<f64>,
        /// Count.
        count: i64,
    }
}
