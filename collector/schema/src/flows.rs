//! Hubble flows: packets and drops as the Cilium agent reported them.

use crate::Text;

table! {
    /// One flow.
    pub struct FlowRow<'a> in "flows" {
        /// Index of the source.
        source: i32,
        /// Line of the source.
        record: i64,
        /// Clock domain of `time`.
        clock: Text<'a>,
        /// Time of the flow, ns.
        time: Option<i64>,
        /// Node that reported it.
        node: Option<Text<'a>>,
        /// `FORWARDED`, `DROPPED`, `ERROR`, `TRANSLATED`, `TRACED`, …
        verdict: Text<'a>,
        /// `drop_reason_desc`.
        drop_reason: Option<Text<'a>>,
        /// Source address.
        source_address: Option<Text<'a>>,
        /// Source port.
        source_port: Option<i32>,
        /// Destination address.
        destination_address: Option<Text<'a>>,
        /// Destination port.
        destination_port: Option<i32>,
        /// `TCP`, `UDP`, `ICMPv4`, …
        protocol: Option<Text<'a>>,
        /// TCP flags joined by commas in the order of the capture.
        flags: Option<Text<'a>>,
        /// Whether it is a reply packet.
        is_reply: Option<bool>,
        /// `trace_observation_point` or the drop's event type.
        observation: Option<Text<'a>>,
        /// `INGRESS` or `EGRESS`.
        direction: Option<Text<'a>>,
        /// `namespace/pod` of the source.
        source_pod: Option<Text<'a>>,
        /// `namespace/pod` of the destination.
        destination_pod: Option<Text<'a>>,
        /// `namespace/name` of the destination Service.
        destination_service: Option<Text<'a>>,
        /// Summary text.
        summary: Option<Text<'a>>,
    }
}
