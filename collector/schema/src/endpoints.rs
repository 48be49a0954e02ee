//! Which endpoints an EndpointSlice (or Endpoints object) listed, each time a witness saw the object.

use crate::Text;

table! {
    /// One endpoint in one observed version of a slice. A version without endpoints is one row with a null `address`; a deleted slice is one row with `event` `DELETED` and a null `address`.
    pub struct EndpointRow<'a> in "endpoints" {
        /// Index of the source.
        source: i32,
        /// Line of the source.
        record: i64,
        /// Clock domain of `time` and `received`.
        clock: Text<'a>,
        /// Witness: `audit`, `watch` or `list`.
        witness: Text<'a>,
        /// When the witness had the version, ns: `stageTimestamp` for `audit`, receipt for `watch`; null for a list without a time.
        time: Option<i64>,
        /// Resolution of `time`, ns (10⁹ for stamps in whole seconds): it was taken at `time` or less than this after it. Null means exact.
        resolution: Option<i64>,
        /// When the API server received the request that made this version, ns; `audit` only.
        received: Option<i64>,
        /// `ADDED`, `MODIFIED`, `DELETED` of a watch, `LISTED` of the list that it began (anew) with; `create`, `update`, `patch`, `delete` of an audit event; `LIST` of a list.
        event: Text<'a>,
        /// `EndpointSlice` or `Endpoints`.
        kind: Text<'a>,
        /// Namespace of the Service.
        namespace: Text<'a>,
        /// Name of the Service (label `kubernetes.io/service-name`; the object's own name for `Endpoints`).
        service: Text<'a>,
        /// Name of the slice.
        slice: Text<'a>,
        /// `metadata.uid` of the slice.
        slice_uid: Text<'a>,
        /// `metadata.resourceVersion` of this version.
        resource_version: Text<'a>,
        /// Annotation `endpoints.kubernetes.io/last-change-trigger-time`, ns (whole seconds).
        trigger_time: Option<i64>,
        /// IP address of the endpoint.
        address: Option<Text<'a>>,
        /// Port number; an endpoint with several ports is several rows.
        port: Option<i32>,
        /// Name of the port.
        port_name: Option<Text<'a>>,
        /// `TCP`, `UDP` or `SCTP`.
        protocol: Option<Text<'a>>,
        /// `conditions.ready`; null means ready.
        ready: Option<bool>,
        /// `conditions.serving`.
        serving: Option<bool>,
        /// `conditions.terminating`.
        terminating: Option<bool>,
        /// Node of the endpoint.
        node: Option<Text<'a>>,
        /// `targetRef.uid`: the pod.
        target_uid: Option<Text<'a>>,
        /// `targetRef.name`: the pod.
        target: Option<Text<'a>>,
    }
}
