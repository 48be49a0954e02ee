//! The client side: one row a request.

use crate::Text;

table! {
    /// One request of a load generator.
    pub struct RequestRow<'a> in "requests" {
        /// Index of the source.
        source: i32,
        /// Line of the source.
        record: i64,
        /// Clock domain of `time`.
        clock: Text<'a>,
        /// When it was sent, ns.
        time: i64,
        /// `new` (a new connection) or `keepalive`.
        kind: Text<'a>,
        /// Time to the answer, ns.
        latency: Option<i64>,
        /// Time of connect(2), ns; new connections only.
        connect: Option<i64>,
        /// HTTP status.
        status: Option<i32>,
        /// Who answered.
        backend: Option<Text<'a>>,
        /// Error text; null for a success.
        error: Option<Text<'a>>,
        /// Local address and port.
        local: Option<Text<'a>>,
    }
}
