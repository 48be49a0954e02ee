//! Two clocks read at one instant.

use crate::Text;

table! {
    /// While clock `b` read `b_low`…`b_high`, clock `a` read `a_low`…`a_high`: `a − b` lies in `[a_low − b_high, a_high − b_low]`.
    pub struct ClockAnchorRow<'a> in "clock_anchors" {
        /// Index of the source.
        source: i32,
        /// Line of the source.
        record: i64,
        /// What it rests on: `reading` (clock.tsv), `lease`, `chrony`.
        evidence: Text<'a>,
        /// First clock domain.
        a: Text<'a>,
        /// Earliest reading of `a`, ns.
        a_low: i64,
        /// Latest reading of `a`, ns.
        a_high: i64,
        /// Second clock domain.
        b: Text<'a>,
        /// Earliest reading of `b`, ns.
        b_low: i64,
        /// Latest reading of `b`, ns.
        b_high: i64,
    }
}
