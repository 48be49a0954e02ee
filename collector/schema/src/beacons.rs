//! Revisions of the cluster's store that a recorder learnt between two readings of its own clock.

use crate::Text;

table! {
    /// One request of a recorder whose answer named a revision: every object of the same store with an older revision was
    /// committed before `returned`, every one with a newer revision after `sent`.
    pub struct BeaconRow<'a> in "beacons" {
        /// Index of the source.
        source: i32,
        /// Line of the source.
        record: i64,
        /// Clock domain of `sent` and `returned`.
        clock: Text<'a>,
        /// `write` (an object of the recorder's own), `action` (the request that began the action) or `read` (the revision of a list).
        by: Text<'a>,
        /// `metadata.resourceVersion` of the answer: the revision that a write made, or up to which a list was read.
        resource_version: Text<'a>,
        /// When the request was sent, ns.
        sent: i64,
        /// When its answer was there, ns.
        returned: i64,
        /// The same on the boottime of that machine (`clock` + `/boottime`), ns, where the recorder read it.
        sent_boottime: Option<i64>,
        /// As above.
        returned_boottime: Option<i64>,
    }
}
