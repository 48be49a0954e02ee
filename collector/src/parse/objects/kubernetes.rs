//! Kubernetes objects, as far as rows are made of them: EndpointSlice, Endpoints, Pod, Service.
//!
//! Everything else of an object (managed fields, specs of containers, …) is skipped without being kept. Texts are
//! borrowed from the capture.

use std::borrow::Cow;

use serde::Deserialize;
use syncline_schema::endpoints::EndpointRow;
use syncline_schema::pods::PodRow;
use syncline_schema::services::ServiceRow;

use crate::form::Batch;
use crate::form::instant::rfc3339;
use crate::parse::syntax::borrowed;

type Text<'a> = Cow<'a, str>;

/// Who saw an object, and when.
#[derive(Clone, Debug, Default)]
pub struct Witness<'a> {
    /// Index of the source.
    pub source: i32,
    /// Line.
    pub record: i64,
    /// Clock domain.
    pub clock: &'a str,
    /// `audit`, `watch`, `list`.
    pub name: &'static str,
    /// When, ns.
    pub time: Option<i64>,
    /// When the request came in (`audit`), ns.
    pub received: Option<i64>,
    /// Event or verb.
    pub event: Text<'a>,
}

/// The parts of any object that are read.
#[derive(Debug, Default, Deserialize)]
pub struct Object<'a> {
    /// Kind; in items of a list often absent.
    #[serde(borrow, default, deserialize_with = "borrowed::optional")]
    pub kind: Option<Text<'a>>,
    /// Metadata.
    #[serde(borrow, default)]
    pub metadata: Metadata<'a>,
    #[serde(borrow, default)]
    endpoints: Option<Vec<SliceEndpoint<'a>>>,
    #[serde(borrow, default)]
    ports: Option<Vec<Port<'a>>>,
    #[serde(borrow, default)]
    subsets: Option<Vec<Subset<'a>>>,
    /// Spec.
    #[serde(borrow, default)]
    pub spec: Option<Spec<'a>>,
    #[serde(borrow, default)]
    status: Option<Status<'a>>,
}

/// `metadata`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata<'a> {
    /// Name.
    #[serde(borrow, default)]
    pub name: Text<'a>,
    /// Namespace.
    #[serde(borrow, default)]
    pub namespace: Text<'a>,
    /// Uid.
    #[serde(borrow, default)]
    pub uid: Text<'a>,
    /// Version.
    #[serde(borrow, default)]
    pub resource_version: Text<'a>,
    #[serde(borrow, default, deserialize_with = "borrowed::optional")]
    creation_timestamp: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "borrowed::optional")]
    deletion_timestamp: Option<Text<'a>>,
    #[serde(borrow, default)]
    labels: Option<Labels<'a>>,
    #[serde(borrow, default)]
    annotations: Option<Annotations<'a>>,
    #[serde(borrow, default)]
    owner_references: Option<Vec<Owner<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
struct Owner<'a> {
    #[serde(borrow, default)]
    kind: Text<'a>,
    #[serde(borrow, default)]
    name: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
struct Labels<'a> {
    #[serde(borrow, default, deserialize_with = "borrowed::optional", rename = "kubernetes.io/service-name")]
    service: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "borrowed::optional")]
    app: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "borrowed::optional", rename = "app.kubernetes.io/name")]
    app_name: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "borrowed::optional", rename = "k8s-app")]
    k8s_app: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
struct Annotations<'a> {
    #[serde(
        borrow,
        default,
        deserialize_with = "borrowed::optional",
        rename = "endpoints.kubernetes.io/last-change-trigger-time"
    )]
    trigger: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "borrowed::optional", rename = "kubectl.kubernetes.io/restartedAt")]
    restarted: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SliceEndpoint<'a> {
    #[serde(borrow, default)]
    addresses: Option<Vec<Text<'a>>>,
    #[serde(default)]
    conditions: Option<Conditions>,
    #[serde(borrow, default, deserialize_with = "borrowed::optional")]
    node_name: Option<Text<'a>>,
    #[serde(borrow, default)]
    topology: Option<Topology<'a>>,
    #[serde(borrow, default)]
    target_ref: Option<Target<'a>>,
}

#[derive(Debug, Default, Deserialize)]
struct Topology<'a> {
    #[serde(borrow, default, deserialize_with = "borrowed::optional", rename = "kubernetes.io/hostname")]
    hostname: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
struct Conditions {
    #[serde(default)]
    ready: Option<bool>,
    #[serde(default)]
    serving: Option<bool>,
    #[serde(default)]
    terminating: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
struct Target<'a> {
    #[serde(borrow, default, deserialize_with = "borrowed::optional")]
    name: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "borrowed::optional")]
    uid: Option<Text<'a>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Port<'a> {
    #[serde(borrow, default, deserialize_with = "borrowed::optional")]
    name: Option<Text<'a>>,
    #[serde(default)]
    port: Option<i32>,
    #[serde(borrow, default, deserialize_with = "borrowed::optional")]
    protocol: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Subset<'a> {
    #[serde(borrow, default)]
    addresses: Option<Vec<Address<'a>>>,
    #[serde(borrow, default)]
    not_ready_addresses: Option<Vec<Address<'a>>>,
    #[serde(borrow, default)]
    ports: Option<Vec<Port<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Address<'a> {
    #[serde(borrow, default)]
    ip: Text<'a>,
    #[serde(borrow, default, deserialize_with = "borrowed::optional")]
    node_name: Option<Text<'a>>,
    #[serde(borrow, default)]
    target_ref: Option<Target<'a>>,
}

/// `spec` of Pods, Services, Leases, Scales, Deployments.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec<'a> {
    #[serde(borrow, default, deserialize_with = "borrowed::optional")]
    node_name: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "borrowed::optional", rename = "clusterIP")]
    cluster_ip: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "borrowed::optional", rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow, default)]
    ports: Option<Vec<Port<'a>>>,
    /// Replicas.
    #[serde(default)]
    pub replicas: Option<i64>,
    /// Renewal of a Lease.
    #[serde(borrow, default, deserialize_with = "borrowed::optional")]
    pub renew_time: Option<Text<'a>>,
    #[serde(borrow, default)]
    template: Option<Template<'a>>,
}

#[derive(Debug, Default, Deserialize)]
struct Template<'a> {
    #[serde(borrow, default)]
    metadata: Option<TemplateMetadata<'a>>,
}

#[derive(Debug, Default, Deserialize)]
struct TemplateMetadata<'a> {
    #[serde(borrow, default)]
    annotations: Option<Annotations<'a>>,
}

impl<'a> Spec<'a> {
    /// That of a pod which was bound to a node.
    pub fn on_node(node: Text<'a>) -> Self {
        Spec { node_name: Some(node), ..Spec::default() }
    }

    /// `kubectl.kubernetes.io/restartedAt` of the pod template.
    pub fn restarted_at(&self) -> Option<Text<'a>> {
        self.template.as_ref()?.metadata.as_ref()?.annotations.as_ref()?.restarted.clone()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    #[serde(borrow, default, deserialize_with = "borrowed::optional", rename = "podIP")]
    pod_ip: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "borrowed::optional")]
    phase: Option<Text<'a>>,
    #[serde(borrow, default)]
    conditions: Option<Vec<Condition<'a>>>,
    #[serde(borrow, default)]
    container_statuses: Option<Vec<ContainerStatus<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow, default)]
    status: Text<'a>,
    #[serde(borrow, default, deserialize_with = "borrowed::optional")]
    last_transition_time: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerStatus<'a> {
    #[serde(default)]
    restart_count: Option<i64>,
    #[serde(borrow, default)]
    state: Option<ContainerState<'a>>,
}

#[derive(Debug, Default, Deserialize)]
struct ContainerState<'a> {
    #[serde(borrow, default)]
    running: Option<Running<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Running<'a> {
    #[serde(borrow, default, deserialize_with = "borrowed::optional")]
    started_at: Option<Text<'a>>,
}

fn time(text: Option<&Text<'_>>) -> Option<i64> {
    rfc3339(text?.as_bytes())
}

/// Kinds that rows are made of.
const KINDS: [&str; 4] = ["EndpointSlice", "Endpoints", "Pod", "Service"];

/// Kind (of the list, where an item has none) and object of a JSON text; `None` for a kind that no row is made of, whose fields may mean anything.
///
/// # Errors
/// What was expected and did not stand there.
pub fn object<'a>(text: &'a [u8], list_kind: &str) -> Result<Option<(String, Object<'a>)>, String> {
    #[derive(Deserialize)]
    struct Kind<'a> {
        #[serde(borrow, default)]
        kind: Text<'a>,
    }
    let wrong = |error: serde_json::Error| format!("expected a Kubernetes object: {error}");
    let own: Kind<'_> = serde_json::from_slice(text).map_err(wrong)?;
    let kind = if own.kind.is_empty() { list_kind } else { own.kind.as_ref() };
    if !KINDS.contains(&kind) {
        return Ok(None);
    }
    Ok(Some((kind.to_owned(), serde_json::from_slice(text).map_err(wrong)?)))
}

/// Appends the rows of an object. Answers whether its kind is one that rows are made of.
pub fn push(kind: &str, object: &Object<'_>, witness: &Witness<'_>, batch: &mut Batch) -> bool {
    match kind {
        "EndpointSlice" => slice(object, witness, batch),
        "Endpoints" => endpoints(object, witness, batch),
        "Pod" => pod(object, witness, batch),
        "Service" => service(object, witness, batch),
        _ => return false,
    }
    true
}

fn row<'a>(object: &Object<'a>, witness: &Witness<'a>, kind: &'static str, service: Text<'a>) -> EndpointRow<'a> {
    EndpointRow {
        source: witness.source,
        record: witness.record,
        clock: witness.clock.into(),
        witness: witness.name.into(),
        time: witness.time,
        received: witness.received,
        event: witness.event.clone(),
        kind: kind.into(),
        namespace: object.metadata.namespace.clone(),
        service,
        slice: object.metadata.name.clone(),
        slice_uid: object.metadata.uid.clone(),
        resource_version: object.metadata.resource_version.clone(),
        trigger_time: time(object.metadata.annotations.as_ref().and_then(|one| one.trigger.as_ref())),
        ..Default::default()
    }
}

fn is_deletion(event: &str) -> bool {
    event.eq_ignore_ascii_case("delete") || event == "DELETED"
}

fn slice(object: &Object<'_>, witness: &Witness<'_>, batch: &mut Batch) {
    let labelled = object.metadata.labels.as_ref().and_then(|labels| labels.service.clone());
    let owned = || {
        let owners = object.metadata.owner_references.as_ref()?;
        owners.iter().find(|owner| owner.kind == "Service").map(|owner| owner.name.clone())
    };
    let service = labelled.or_else(owned).unwrap_or_default();
    let base = row(object, witness, "EndpointSlice", service);
    let none = Vec::new();
    let all = object.endpoints.as_ref().unwrap_or(&none);
    if all.is_empty() || is_deletion(&witness.event) {
        batch.push(&base);
        return;
    }
    let ports = object.ports.as_ref().filter(|ports| !ports.is_empty());
    let absent = [Port::default()];
    for endpoint in all {
        let conditions = endpoint.conditions.as_ref();
        let topology = endpoint.topology.as_ref().and_then(|topology| topology.hostname.clone());
        for address in endpoint.addresses.iter().flatten() {
            for port in ports.map_or(&absent[..], |ports| ports.as_slice()) {
                batch.push(&EndpointRow {
                    address: Some(address.clone()),
                    port: port.port,
                    port_name: port.name.clone().filter(|name| !name.is_empty()),
                    protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".into())),
                    ready: conditions.and_then(|conditions| conditions.ready),
                    serving: conditions.and_then(|conditions| conditions.serving),
                    terminating: conditions.and_then(|conditions| conditions.terminating),
                    node: endpoint.node_name.clone().or_else(|| topology.clone()),
                    target_uid: endpoint.target_ref.as_ref().and_then(|target| target.uid.clone()),
                    target: endpoint.target_ref.as_ref().and_then(|target| target.name.clone()),
                    ..base.clone()
                });
            }
        }
    }
}

fn endpoints(object: &Object<'_>, witness: &Witness<'_>, batch: &mut Batch) {
    let base = row(object, witness, "Endpoints", object.metadata.name.clone());
    let mut any = false;
    for subset in object.subsets.iter().flatten().filter(|_| !is_deletion(&witness.event)) {
        for (addresses, ready) in [(&subset.addresses, true), (&subset.not_ready_addresses, false)] {
            for address in addresses.iter().flatten() {
                for port in subset.ports.iter().flatten() {
                    any = true;
                    batch.push(&EndpointRow {
                        address: Some(address.ip.clone()),
                        port: port.port,
                        port_name: port.name.clone(),
                        protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".into())),
                        ready: Some(ready),
                        node: address.node_name.clone(),
                        target_uid: address.target_ref.as_ref().and_then(|target| target.uid.clone()),
                        target: address.target_ref.as_ref().and_then(|target| target.name.clone()),
                        ..base.clone()
                    });
                }
            }
        }
    }
    if !any {
        batch.push(&base);
    }
}

fn pod(object: &Object<'_>, witness: &Witness<'_>, batch: &mut Batch) {
    let status = object.status.as_ref();
    let ready =
        status.and_then(|status| status.conditions.as_ref()?.iter().find(|condition| condition.kind == "Ready"));
    let containers = status.and_then(|status| status.container_statuses.as_ref());
    let started =
        |container: &ContainerStatus<'_>| time(container.state.as_ref()?.running.as_ref()?.started_at.as_ref());
    let labels = object.metadata.labels.as_ref();
    batch.push(&PodRow {
        source: witness.source,
        record: witness.record,
        clock: witness.clock.into(),
        witness: witness.name.into(),
        time: witness.time,
        received: witness.received,
        event: witness.event.clone(),
        namespace: object.metadata.namespace.clone(),
        name: object.metadata.name.clone(),
        uid: object.metadata.uid.clone(),
        resource_version: object.metadata.resource_version.clone(),
        app: labels.and_then(|one| one.app.clone().or_else(|| one.app_name.clone()).or_else(|| one.k8s_app.clone())),
        node: object.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        address: status.and_then(|status| status.pod_ip.clone()),
        phase: status.and_then(|status| status.phase.clone()),
        ready: ready.map(|condition| condition.status == "True"),
        ready_since: ready.and_then(|condition| time(condition.last_transition_time.as_ref())),
        created: time(object.metadata.creation_timestamp.as_ref()),
        deletion: time(object.metadata.deletion_timestamp.as_ref()),
        started: containers.and_then(|all| all.iter().filter_map(started).max()),
        restarts: containers.map(|all| all.iter().filter_map(|one| one.restart_count).sum()),
        ..Default::default()
    });
}

fn service(object: &Object<'_>, witness: &Witness<'_>, batch: &mut Batch) {
    let spec = object.spec.as_ref();
    let absent = [Port::default()];
    let ports = spec.and_then(|spec| spec.ports.as_ref()).filter(|ports| !ports.is_empty());
    for port in ports.map_or(&absent[..], |ports| ports.as_slice()) {
        batch.push(&ServiceRow {
            source: witness.source,
            record: witness.record,
            clock: witness.clock.into(),
            time: witness.time,
            event: witness.event.clone(),
            namespace: object.metadata.namespace.clone(),
            name: object.metadata.name.clone(),
            kind: spec.and_then(|spec| spec.kind.clone()).unwrap_or_else(|| "ClusterIP".into()),
            cluster_ip: spec.and_then(|spec| spec.cluster_ip.clone()),
            port: port.port,
            port_name: port.name.clone(),
            protocol: port.port.map(|_| port.protocol.clone().unwrap_or_else(|| "TCP".into())),
            ..Default::default()
        });
    }
}
