//! Services of the cluster: what a virtual IP and port mean.

use crate::Text;

table! {
    /// One port of one Service as a list, watch or audit event showed it.
    pub struct ServiceRow<'a> in "services" {
        /// Index of the source.
        source: i32,
        /// Line (or item) of the source.
        record: i64,
        /// Clock domain of `time`.
        clock: Text<'a>,
        /// When it was seen, ns; null for a list without a time.
        time: Option<i64>,
        /// `ADDED`, `MODIFIED`, `DELETED`, `LIST`, or an audit verb.
        event: Text<'a>,
        /// Namespace.
        namespace: Text<'a>,
        /// Name.
        name: Text<'a>,
        /// `ClusterIP`, `NodePort`, `LoadBalancer`, `ExternalName`.
        kind: Text<'a>,
        /// `spec.clusterIP` (`None` for a headless Service).
        cluster_ip: Option<Text<'a>>,
        /// Port number.
        port: Option<i32>,
        /// Name of the port.
        port_name: Option<Text<'a>>,
        /// Protocol.
        protocol: Option<Text<'a>>,
    }
}
