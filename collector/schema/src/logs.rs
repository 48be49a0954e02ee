//! Lines of proxy and agent logs.

use crate::Text;

table! {
    /// One log line.
    pub struct LogRow<'a> in "logs" {
        /// Index of the source.
        source: i32,
        /// Line of the source.
        record: i64,
        /// Clock domain of `time`.
        clock: Text<'a>,
        /// Time of the line, ns; null where it could not be told (no year, no zone).
        time: Option<i64>,
        /// Second clock reading in front of the line (CRI, docker, journald), ns.
        outer_time: Option<i64>,
        /// `info`, `warning`, `error`, `fatal`, `debug`.
        level: Text<'a>,
        /// `file.go:line`, or the subsystem.
        caller: Option<Text<'a>>,
        /// The message, unquoted.
        message: Text<'a>,
        /// The rest: `key=value` pairs as written.
        fields: Option<Text<'a>>,
        /// Pod that wrote the line (`pod` or `namespace/pod`), where what lay around the line named it.
        pod: Option<Text<'a>>,
        /// Its container.
        container: Option<Text<'a>>,
        /// Node that the line came from, where what lay around it named one.
        node: Option<Text<'a>>,
    }
}
