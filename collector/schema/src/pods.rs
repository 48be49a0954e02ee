//! Pods as watches, lists and audit events showed them: created, bound, ready, deleted.

use crate::Text;

table! {
    /// One observed version of a pod.
    pub struct PodRow<'a> in "pods" {
        /// Index of the source.
        source: i32,
        /// Line of the source.
        record: i64,
        /// Clock domain of `time` and `received`.
        clock: Text<'a>,
        /// Witness: `audit`, `watch` or `list`.
        witness: Text<'a>,
        /// When the witness had the version, ns.
        time: Option<i64>,
        /// Resolution of `time`, ns (10⁹ for stamps in whole seconds): it was taken at `time` or less than this after it. Null means exact.
        resolution: Option<i64>,
        /// When the API server received the request that made this version, ns; `audit` only.
        received: Option<i64>,
        /// As in `endpoints`; for `audit` the verb, with `/binding`, `/status` or `/eviction` behind it for a subresource.
        event: Text<'a>,
        /// Namespace.
        namespace: Text<'a>,
        /// Name.
        name: Text<'a>,
        /// `metadata.uid`.
        uid: Text<'a>,
        /// `metadata.resourceVersion`.
        resource_version: Text<'a>,
        /// Value of the label `app` (else `app.kubernetes.io/name`, `k8s-app`).
        app: Option<Text<'a>>,
        /// Node that it is bound to.
        node: Option<Text<'a>>,
        /// `status.podIP`.
        address: Option<Text<'a>>,
        /// `status.phase`.
        phase: Option<Text<'a>>,
        /// Status of the condition `Ready`.
        ready: Option<bool>,
        /// `lastTransitionTime` of the condition `Ready`, ns (whole seconds, the kubelet's clock).
        ready_since: Option<i64>,
        /// `metadata.creationTimestamp`, ns (whole seconds, the API server's clock).
        created: Option<i64>,
        /// `metadata.deletionTimestamp`, ns (whole seconds).
        deletion: Option<i64>,
        /// Greatest `startedAt` of its running containers, ns (whole seconds, the kubelet's clock).
        started: Option<i64>,
        /// Sum of `restartCount` of its containers.
        restarts: Option<i64>,
    }
}
