//! Kubernetes API server audit events: who asked for what, when it was received and when it was answered.

use crate::Text;

table! {
    /// One audit event (one stage of one request). Source: `audit.k8s.io/v1` `Event`.
    pub struct AuditRow<'a> in "audit" {
        /// Index of the source.
        source: i32,
        /// Line of the source.
        record: i64,
        /// Clock domain of `received` and `stage_time`.
        clock: Text<'a>,
        /// `requestReceivedTimestamp`, ns.
        received: i64,
        /// `stageTimestamp`, ns.
        stage_time: i64,
        /// `auditID`.
        audit_id: Text<'a>,
        /// `RequestReceived`, `ResponseStarted`, `ResponseComplete` or `Panic`.
        stage: Text<'a>,
        /// `Metadata`, `Request`, `RequestResponse`.
        level: Text<'a>,
        /// `create`, `update`, `patch`, `delete`, `list`, `watch`, …
        verb: Text<'a>,
        /// `user.username`.
        user: Text<'a>,
        /// `userAgent`.
        user_agent: Option<Text<'a>>,
        /// `requestURI`.
        uri: Text<'a>,
        /// `objectRef.apiGroup`.
        api_group: Option<Text<'a>>,
        /// `objectRef.resource`.
        resource: Option<Text<'a>>,
        /// `objectRef.subresource`.
        subresource: Option<Text<'a>>,
        /// `objectRef.namespace`.
        namespace: Option<Text<'a>>,
        /// `objectRef.name`, else the name in the response.
        name: Option<Text<'a>>,
        /// HTTP status code of the answer.
        code: Option<i32>,
        /// `metadata.uid` of the object in the answer.
        uid: Option<Text<'a>>,
        /// `metadata.resourceVersion` of the object in the answer.
        resource_version: Option<Text<'a>>,
        /// `spec.replicas` of the object in the answer (Scale, Deployment, ReplicaSet).
        replicas: Option<i64>,
        /// `spec.renewTime` of a node Lease, ns on that node's clock (microsecond resolution).
        renew_time: Option<i64>,
        /// `kubectl.kubernetes.io/restartedAt` of the pod template in the answer: a rollout restart changes it.
        restarted_at: Option<Text<'a>>,
    }
}
