//! Dataplane snapshots of every kind, as a dictionary of pieces and the changes from snapshot to snapshot.
//!
//! A snapshot is a sequence of *pieces* (lines with their line end; for one-line JSON the text up to and with a
//! separator). Joined, the pieces are the snapshot as it was captured, byte for byte. A piece is kept once, in
//! `dataplane_rules`, with its packet and byte counters cut out; `dataplane_changes` says how each snapshot of a
//! stream differs from the one before it (the first one from nothing).
//!
//! ```text
//! stream  iptables/nat-save.stream
//!   snapshot 0   insert 0..79                        ─┐ dataplane_changes
//!   snapshot 1   counters at 12, 13                   │ (positions refer to the snapshot as it stands
//!   snapshot 2   delete at 40, insert 3 at 40, …     ─┘  when the change is applied, in row order)
//! ```

use crate::Text;

/// Stands in a rule's `text` for a counter: `\u{1}` and the width to pad to on the left, as one character
/// (`'0' + width`). The first is the packet counter, the second the byte counter. A byte that is no UTF-8 text, and
/// U+0001 itself, is written as `\u{1}` and the character U+0100 + byte.
pub const COUNTER: char = '\u{1}';

table! {
    /// One piece of the dictionary of a stream. Equal text in another section (table, chain, frontend) is another rule.
    pub struct RuleRow<'a> in "dataplane_rules" {
        /// Index of the source where it first stood.
        source: i32,
        /// Line where it first stood.
        record: i64,
        /// Stream: index of the stream's first source.
        stream: i32,
        /// Identifier, unique in the bundle, given in order of first appearance.
        rule: i64,
        /// What it is: `rule`, `chain`, `frontend`, `backend`, `other`.
        kind: Text<'a>,
        /// iptables table or nft table.
        table: Option<Text<'a>>,
        /// Chain that the rule stands in; frontend (`ip:port/PROTO`) that a backend stands under.
        chain: Option<Text<'a>>,
        /// Jump target of a rule (`KUBE-SVC-…`, `KUBE-SEP-…`, `DNAT`, …).
        target: Option<Text<'a>>,
        /// `namespace/service:port` that the rule's comment names.
        service: Option<Text<'a>>,
        /// Protocol, lower case.
        protocol: Option<Text<'a>>,
        /// Address: DNAT destination or backend; for a rule of KUBE-SERVICES, and a frontend, the virtual IP.
        address: Option<Text<'a>>,
        /// Port beside `address`.
        port: Option<i32>,
        /// Slot of a backend in the load-balancer map (1…); 0 is the frontend itself.
        slot: Option<i32>,
        /// The piece with `COUNTER` for its counters.
        text: Text<'a>,
    }
}

table! {
    /// One change against the snapshot before it, to be applied in row order.
    pub struct ChangeRow<'a> in "dataplane_changes" {
        /// Stream.
        stream: i32,
        /// Number of the snapshot within its stream, from 0.
        snapshot: i64,
        /// `insert`, `delete` or `counters`.
        operation: Text<'a>,
        /// Position in the list of pieces.
        position: i64,
        /// Rule (of the piece inserted, deleted or counted).
        rule: i64,
        /// Packet counter, where the piece has one.
        packets: Option<i64>,
        /// Byte counter, where the piece has one.
        bytes: Option<i64>,
    }
}

table! {
    /// One snapshot.
    pub struct SnapshotRow<'a> in "dataplane_snapshots" {
        /// Index of the source.
        source: i32,
        /// Line of its stamp (its first line where it has none).
        record: i64,
        /// Stream: index of the stream's first source.
        stream: i32,
        /// Number within its stream, from 0.
        snapshot: i64,
        /// Clock domain of `time`.
        clock: Text<'a>,
        /// Stamp, ns: taken *before* the state was read. Null where there is none.
        time: Option<i64>,
        /// Resolution of `time`, ns (10⁹ for `date`): the stamp was taken at `time` or less than this after it. Null means exact.
        resolution: Option<i64>,
        /// When the reading was over, ns, where its stamp says so; else it was over before the next snapshot's began.
        until: Option<i64>,
        /// What the time rests on: `stamp`, `name` (of the file), `mtime`, `none`.
        time_from: Text<'a>,
        /// Kind of the format (`iptables-save`, `iptables-list`, `cilium-lb-list`, `lb4-reader`, …).
        format: Text<'a>,
        /// Number of pieces.
        pieces: i64,
        /// Whether the state is complete (a truncated one is kept but proves no absence).
        complete: bool,
    }
}
