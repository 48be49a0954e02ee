//! Moments of a proxy that its log tells: slice events received, syncs begun and ended, their durations.

use crate::Text;

table! {
    /// One such moment.
    pub struct SyncRow<'a> in "syncs" {
        /// Index of the source.
        source: i32,
        /// Line of the source.
        record: i64,
        /// Clock domain of `time`.
        clock: Text<'a>,
        /// Time of the log line, ns: the end of a sync for `complete`; null where it could not be told (no year, no zone). A
        /// duration needs none.
        time: Option<i64>,
        /// Proxy that wrote the line, where what lay around it named one: `namespace/pod`, a pod, or a node. Else the source is one proxy.
        proxy: Option<Text<'a>>,
        /// `failed` (the sync wrote nothing or not all of it; its duration is no latency), `received` (slice event reached the handler), `setting` (endpoints of a Service port set), `start`, `reload` (rule data written), `complete` (duration known), `programming` (network programming latency).
        moment: Text<'a>,
        /// Duration of the sync (or the network programming latency), ns.
        duration: Option<i64>,
        /// `IPv4` or `IPv6`.
        family: Option<Text<'a>>,
        /// `namespace/service` or `namespace/service:port` that the line names.
        object: Option<Text<'a>>,
        /// Endpoints that the line lists (`setting`), joined by commas, or figures of `reload` as `key=value` pairs.
        detail: Option<Text<'a>>,
    }
}
