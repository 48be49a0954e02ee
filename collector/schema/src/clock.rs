//! Clock domains, as tokens.
//!
//! A domain is text: the name of a node is its realtime clock (`node-a`), `node-a/boottime` and
//! `node-a/monotonic` its other two; `apiserver`, `prometheus` and `operator` are the realtime clocks of those.
//! Where no node was named, `node` stands for it.

/// The clock that a kind of capture is stamped by, before the node's name is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockToken {
    /// The node's realtime.
    Node,
    /// The node's CLOCK_BOOTTIME (bpftrace's `nsecs` from 0.12 on).
    NodeBoottime,
    /// The node's CLOCK_MONOTONIC.
    NodeMonotonic,
    /// The API server's realtime.
    Apiserver,
    /// Prometheus' realtime.
    Prometheus,
    /// The realtime of whoever ran kubectl.
    Operator,
    /// The capture has no times.
    None,
}

impl ClockToken {
    /// All tokens that `--source KIND@CLOCK` and `capture.toml` take.
    pub const ALL: [ClockToken; 7] = [
        ClockToken::Node,
        ClockToken::NodeBoottime,
        ClockToken::NodeMonotonic,
        ClockToken::Apiserver,
        ClockToken::Prometheus,
        ClockToken::Operator,
        ClockToken::None,
    ];

    /// The token as users write it.
    pub fn token(self) -> &'static str {
        match self {
            ClockToken::Node => "node",
            ClockToken::NodeBoottime => "boottime",
            ClockToken::NodeMonotonic => "monotonic",
            ClockToken::Apiserver => "apiserver",
            ClockToken::Prometheus => "prometheus",
            ClockToken::Operator => "operator",
            ClockToken::None => "none",
        }
    }

    /// The domain's name once the node is known.
    pub fn domain(self, node: &str) -> String {
        match self {
            ClockToken::Node => node.to_owned(),
            ClockToken::NodeBoottime => format!("{node}/boottime"),
            ClockToken::NodeMonotonic => format!("{node}/monotonic"),
            other => other.token().to_owned(),
        }
    }
}
