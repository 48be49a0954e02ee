//! Time markers that the operator wrote.

use crate::Text;

table! {
    /// One marker.
    pub struct MarkerRow<'a> in "markers" {
        /// Index of the source.
        source: i32,
        /// Line of the source.
        record: i64,
        /// Clock domain of `time`.
        clock: Text<'a>,
        /// Time, ns.
        time: i64,
        /// Resolution of `time`, ns (10⁹ for `date +%s`).
        resolution: i64,
        /// Label, e.g. `action_start`.
        label: Text<'a>,
        /// Command that it marks.
        command: Option<Text<'a>>,
    }
}
