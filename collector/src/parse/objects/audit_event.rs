//! One Kubernetes audit event of any version: what rows are made of it.
//!
//! ```text
//! {"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"RequestResponse","auditID":"…","stage":"ResponseComplete","requestURI":"/apis/…","verb":"update", …}
//! ```
//!
//! Bodies are most of an audit log. They are read only where rows are made of them: EndpointSlices, Endpoints, Pods (with
//! their bindings), Services, Leases of nodes, and scales. All others are stepped over: the API server writes an event's
//! fields in one order, so what stands ahead of the bodies and behind them is found by searching for two keys, which no
//! text inside a body can contain unescaped. An event of any other form is read as a whole. An event without microseconds (v1alpha1, v1beta1) has its second only, which is a loss.

use std::borrow::Cow;

use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;
use syncline_schema::audit::AuditRow;
use syncline_schema::loss;

use crate::form::instant::rfc3339;
use crate::form::{Batch, Context};
use crate::parse::objects::kubernetes::{self, Metadata, Object, Witness};

type Text<'a> = Cow<'a, str>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    #[serde(borrow, default)]
    api_version: Text<'a>,
    #[serde(borrow, default, rename = "auditID")]
    audit_id: Text<'a>,
    #[serde(borrow, default)]
    stage: Text<'a>,
    #[serde(borrow, default)]
    level: Text<'a>,
    #[serde(borrow, default)]
    verb: Text<'a>,
    #[serde(borrow, default, rename = "requestURI")]
    request_uri: Text<'a>,
    #[serde(borrow, default)]
    user: Option<User<'a>>,
    #[serde(borrow, default)]
    user_agent: Text<'a>,
    #[serde(borrow, default)]
    object_ref: Option<ObjectRef<'a>>,
    #[serde(default)]
    response_status: Option<ResponseStatus>,
    #[serde(borrow, default)]
    request_received_timestamp: Text<'a>,
    #[serde(borrow, default)]
    stage_timestamp: Text<'a>,
    /// Of v1alpha1 and v1beta1, in whole seconds.
    #[serde(borrow, default)]
    timestamp: Text<'a>,
    #[serde(borrow, default)]
    metadata: EventMetadata<'a>,
    #[serde(borrow, default)]
    response_object: Option<&'a RawValue>,
    #[serde(borrow, default)]
    request_object: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventMetadata<'a> {
    #[serde(borrow, default)]
    creation_timestamp: Option<Text<'a>>,
}

#[derive(Default, Deserialize)]
struct User<'a> {
    #[serde(borrow, default)]
    username: Text<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ObjectRef<'a> {
    #[serde(borrow, default)]
    resource: Text<'a>,
    #[serde(borrow, default)]
    subresource: Text<'a>,
    #[serde(borrow, default)]
    namespace: Text<'a>,
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(borrow, default)]
    api_group: Text<'a>,
    #[serde(borrow, default)]
    uid: Text<'a>,
}

#[derive(Deserialize)]
struct ResponseStatus {
    #[serde(default)]
    code: Option<i32>,
}

/// The request of a binding.
#[derive(Deserialize)]
struct Binding<'a> {
    #[serde(borrow, default)]
    metadata: Metadata<'a>,
    #[serde(borrow, default)]
    target: Option<BindingTarget<'a>>,
}

#[derive(Deserialize)]
struct BindingTarget<'a> {
    #[serde(borrow, default)]
    name: Text<'a>,
}

/// The answer of a delete.
#[derive(Deserialize)]
struct StatusAnswer<'a> {
    #[serde(borrow, default)]
    details: Option<StatusDetails<'a>>,
}

#[derive(Deserialize)]
struct StatusDetails<'a> {
    #[serde(borrow, default)]
    uid: Text<'a>,
}

fn some(text: Text<'_>) -> Option<Text<'_>> {
    (!text.is_empty()).then_some(text)
}

/// Kind of the object that a request to a resource answers with.
fn kind_of(resource: &str) -> Option<&'static str> {
    Some(match resource {
        "endpointslices" => "EndpointSlice",
        "endpoints" => "Endpoints",
        "pods" => "Pod",
        "services" => "Service",
        "deployments" => "Deployment",
        "replicasets" => "ReplicaSet",
        "leases" => "Lease",
        _ => return None,
    })
}

/// A body; one of another form (a patch, a status) counts as absent.
fn body<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Option<T> {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
}

/// When the request was received, and when its stage was reached.
fn times(event: &Event<'_>, batch: &mut Batch) -> Result<(i64, i64), String> {
    let time = |name: &str, text: &str| match text {
        "" => Ok(None),
        text => {
            rfc3339(text.as_bytes()).map(Some).ok_or_else(|| format!("expected {name} in RFC 3339, found `{text}`"))
        }
    };
    let received = time("requestReceivedTimestamp", &event.request_received_timestamp)?;
    let stage = time("stageTimestamp", &event.stage_timestamp)?;
    if let Some(both) = received.or(stage).map(|first| (first, stage.unwrap_or(first))) {
        return Ok(both);
    }
    let created = event.metadata.creation_timestamp.as_deref().unwrap_or_default();
    let coarse = time("timestamp", &event.timestamp)?.or(time("creationTimestamp", created)?);
    let Some(coarse) = coarse else {
        return Err(
            "expected requestReceivedTimestamp, stageTimestamp or timestamp: without a time the event proves nothing"
                .to_owned(),
        );
    };
    batch.loss(loss::WHOLE_SECONDS, 1);
    Ok((coarse, coarse + 999_999_999))
}

/// Whether a body is the object itself, or its scale.
fn usable(object: &Object<'_>, kind: &str) -> bool {
    object.kind.as_deref().is_none_or(|found| found == kind || found == "Scale")
}

/// Appends the rows of one event. `record` is the line that it stands in.
///
/// # Errors
/// What was expected and did not stand there; nothing was appended then.
pub fn push(context: &Context, record: i64, text: &[u8], batch: &mut Batch) -> Result<(), String> {
    stepping_over_bodies(context, record, text, batch).unwrap_or_else(|| whole(context, record, text, batch))
}

/// Reads an event without its bodies, except for the answer where a row is made of it. `None`: it has another form.
fn stepping_over_bodies(context: &Context, record: i64, text: &[u8], batch: &mut Batch) -> Option<Result<(), String>> {
    const REQUEST: &[u8] = b",\"requestObject\":";
    const RESPONSE: &[u8] = b",\"responseObject\":";
    let bytes = text.trim_ascii();
    let text = std::str::from_utf8(bytes).ok()?;
    let request = memmem::find(bytes, REQUEST);
    let response = memmem::find(&bytes[request.unwrap_or(0)..], RESPONSE).map(|at| at + request.unwrap_or(0));
    let head = request.or(response)?;
    let tail = memmem::rfind(bytes, b",\"requestReceivedTimestamp\":\"").filter(|tail| *tail > head)?;
    // Two events in one line (a lost line end) have a head and a tail that do not belong together.
    if memmem::find_iter(bytes, b"\"auditID\":\"").count() != 1 || !bytes.ends_with(b"}") {
        return None;
    }
    let joined = [&text[..head], &text[tail..]].concat();
    let event: Event<'_> = serde_json::from_str(&joined).ok()?;
    let Some(kind) = wanted(&event) else { return Some(rows(context, record, event, None, None, batch)) };
    let answer: Object<'_> = serde_json::from_str(text.get(response? + RESPONSE.len()..tail)?).ok()?;
    // Another answer (a Status): the request may be the object.
    usable(&answer, kind).then(|| rows(context, record, event, Some(answer), None, batch))
}

fn whole(context: &Context, record: i64, text: &[u8], batch: &mut Batch) -> Result<(), String> {
    let event: Event<'_> =
        serde_json::from_slice(text).map_err(|error| format!("expected an audit event as JSON: {error}"))?;
    let (answer, request) = match wanted(&event) {
        Some(_) => (body(event.response_object), body(event.request_object)),
        None => (None, None),
    };
    rows(context, record, event, answer, request, batch)
}

/// Kind of the object that rows are made of, where a request changed one.
fn wanted(event: &Event<'_>) -> Option<&'static str> {
    let writes = matches!(event.verb.as_ref(), "create" | "update" | "patch" | "delete" | "deletecollection");
    let code = event.response_status.as_ref().and_then(|status| status.code);
    let succeeded = code.is_none_or(|code| (200..300).contains(&code));
    let done = writes && succeeded && event.stage == "ResponseComplete";
    event.object_ref.as_ref().filter(|_| done).and_then(|reference| kind_of(&reference.resource))
}

fn rows<'a>(
    context: &Context,
    record: i64,
    event: Event<'a>,
    answer: Option<Object<'a>>,
    request: Option<Object<'a>>,
    batch: &mut Batch,
) -> Result<(), String> {
    let kind = wanted(&event);
    // Events of v1beta1 that another program passed on may lack it.
    let nameless = event.api_version.is_empty() && !event.audit_id.is_empty() && !event.stage.is_empty();
    if !event.api_version.starts_with("audit.k8s.io/") && !nameless {
        return Err(format!("expected apiVersion audit.k8s.io/…, found `{}`", event.api_version));
    }
    let (received, stage_time) = times(&event, batch)?;
    batch.record(Some(received));
    let reference = event.object_ref.unwrap_or_default();
    let user = event.user.unwrap_or_default();
    let code = event.response_status.as_ref().and_then(|status| status.code);
    let mut object: Option<Object<'_>> = None;
    if let Some(kind) = kind {
        // A delete answers with a Status; the request of an update is the object, that of a patch is a patch.
        object = answer.filter(|one| usable(one, kind));
        if object.is_none() && matches!(event.verb.as_ref(), "create" | "update") {
            object = request.filter(|one| usable(one, kind));
        }
    }
    let spec = object.as_ref().and_then(|object| object.spec.as_ref());
    let in_answer =
        |pick: fn(&Object<'_>) -> String| object.as_ref().map(pick).filter(|text| !text.is_empty()).map(Text::from);
    let name = some(reference.name.clone()).or_else(|| in_answer(|object| object.metadata.name.to_string()));
    batch.push(&AuditRow {
        source: context.source,
        record,
        clock: context.clock.as_str().into(),
        received,
        stage_time,
        audit_id: event.audit_id,
        stage: event.stage,
        level: event.level,
        verb: event.verb.clone(),
        user: user.username,
        user_agent: some(event.user_agent),
        uri: event.request_uri,
        api_group: some(reference.api_group),
        resource: some(reference.resource.clone()),
        subresource: some(reference.subresource.clone()),
        namespace: some(reference.namespace.clone()),
        name,
        code,
        uid: in_answer(|object| object.metadata.uid.to_string()),
        resource_version: in_answer(|object| object.metadata.resource_version.to_string()),
        replicas: spec.and_then(|spec| spec.replicas),
        renew_time: spec.and_then(|spec| spec.renew_time.as_ref()).and_then(|text| rfc3339(text.as_bytes())),
        restarted_at: spec.and_then(kubernetes::Spec::restarted_at),
        ..Default::default()
    });
    let Some(kind) = kind else { return Ok(()) };
    if !matches!(kind, "EndpointSlice" | "Endpoints" | "Pod" | "Service") {
        return Ok(());
    }
    let event_name: Text<'_> = if reference.subresource.is_empty() {
        event.verb
    } else {
        format!("{}/{}", event.verb, reference.subresource).into()
    };
    let deleted = event_name == "delete";
    let mut object = match object {
        Some(object) => object,
        // A delete may answer with a status, whose details tell the uid of what is gone.
        None if deleted => {
            let mut gone = Object::default();
            gone.metadata.uid = body::<StatusAnswer<'_>>(event.response_object)
                .and_then(|status| Some(status.details?.uid))
                .unwrap_or_default();
            gone
        }
        // A binding answers with a status; the request tells the node.
        None if event_name == "create/binding" => {
            let Some(binding) = body::<Binding<'_>>(event.request_object) else {
                batch.loss(loss::AUDIT_WITHOUT_BODIES, 1);
                return Ok(());
            };
            let mut bound = Object::default();
            bound.metadata = binding.metadata;
            bound.spec = binding.target.map(|target| kubernetes::Spec::on_node(target.name));
            bound
        }
        None => {
            batch.loss(loss::AUDIT_WITHOUT_BODIES, 1);
            return Ok(());
        }
    };
    if object.metadata.uid.is_empty() {
        object.metadata.uid = reference.uid;
    }
    if object.metadata.name.is_empty() {
        object.metadata.name = reference.name;
    }
    if object.metadata.namespace.is_empty() {
        object.metadata.namespace = reference.namespace;
    }
    let witness = Witness {
        source: context.source,
        record,
        clock: &context.clock,
        name: "audit",
        time: Some(stage_time),
        received: Some(received),
        event: event_name,
    };
    kubernetes::push(kind, &object, &witness, batch);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::parse::harness::{context, whole as chunk};
    use arrow_array::RecordBatch;

    /// The audit log of a sample run, up to where it was cut off when it was copied.
    fn sample() -> Vec<u8> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sample-data/cilium-scale-up-1/k8s/audit.jsonl.zst");
        let mut bytes = Vec::new();
        let file = std::fs::File::open(&path).expect("the sample");
        let _ = std::io::Read::read_to_end(&mut zstd::Decoder::new(file).expect("zstd"), &mut bytes);
        bytes
    }

    fn tables(mut batch: Batch) -> Vec<(&'static str, RecordBatch)> {
        batch.take_tables().into_iter().map(|mut one| (one.table, one.finish().expect("rows"))).collect()
    }

    #[test]
    fn stepping_over_bodies_gives_the_rows_of_a_whole_reading() {
        let bytes = sample();
        let (mut quick, mut slow, mut stepped) = (Batch::default(), Batch::default(), 0);
        for line in chunk(&bytes).lines() {
            push(&context(), line.number, line.bytes, &mut quick).expect("an event");
            whole(&context(), line.number, line.bytes, &mut slow).expect("an event");
            let alone = stepping_over_bodies(&context(), line.number, line.bytes, &mut Batch::default());
            stepped += usize::from(alone.is_some());
        }
        assert!(stepped > 500, "only {stepped} events have the form that the quick way reads");
        assert!(tables(quick) == tables(slow), "the two ways of reading differ");
    }

    #[test]
    fn two_events_in_one_line_are_rejected_not_mixed() {
        let text = String::from_utf8(sample()).expect("UTF-8");
        let bodies: Vec<&str> = text.lines().filter(|line| line.contains("\"responseObject\":")).take(2).collect();
        // The line end was lost, and a byte on either side of it.
        let merged = format!("{}{}", &bodies[0][..bodies[0].len() - 1], &bodies[1][1..]);
        assert!(push(&context(), 1, merged.as_bytes(), &mut Batch::default()).is_err());
    }
}
