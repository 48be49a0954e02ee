//! Kubernetes audit log: JSON lines of `audit.k8s.io/v1` (and `v1beta1`) events.
//!
//! ```text
//! {"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"RequestResponse","auditID":"…","stage":"ResponseComplete","requestURI":"/apis/…","verb":"update", …}
//! ```
//!
//! Bodies are most of an audit log. They are read only where rows are made of them: EndpointSlices, Endpoints, Pods,
//! Services, Leases of nodes, and scales. All others are stepped over: the API server writes an event's fields in one
//! order, so what stands ahead of the bodies and behind them is found by searching for two keys, which no text inside a
//! body can contain unescaped. A line of any other form is read as a whole.

use std::borrow::Cow;

use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;
use syncline_schema::audit::AuditRow;
use syncline_schema::clock::ClockToken;
use syncline_schema::loss;

use super::instant::rfc3339;
use super::kubernetes::{self, Object, Witness};
use super::{Batch, Chunk, Context, Cut, Format, Head, Line, Sniff};

type Text<'a> = Cow<'a, str>;

/// The format.
pub const FORMAT: Format = Format {
    kind: "audit",
    title: "Kubernetes audit log, JSON lines",
    clock: ClockToken::Apiserver,
    cut: Cut::Lines,
    sniff,
    parse,
    sample: r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"RequestResponse","stage":"ResponseComplete","verb":"update","objectRef":{"resource":"endpointslices",…},…}"#,
    recognised: "JSON objects with \"auditID\" and an apiVersion of audit.k8s.io, one a line",
    capture: "kube-apiserver --audit-log-path=… --audit-policy-file=… (RequestResponse for endpointslices, pods, deployments and node leases)",
    proves: "when each request was received and answered, which endpoints each EndpointSlice version listed, how far a node's clock may be off",
};

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
    user: User<'a>,
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
    #[serde(borrow, default)]
    response_object: Option<&'a RawValue>,
    #[serde(borrow, default)]
    request_object: Option<&'a RawValue>,
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
}

#[derive(Deserialize)]
struct ResponseStatus {
    #[serde(default)]
    code: Option<i32>,
}

fn sniff(head: &Head) -> Sniff {
    let bytes = head.bytes.trim_ascii_start();
    let line = &bytes[..memchr::memchr(b'\n', bytes).unwrap_or(bytes.len())];
    let has = |mark: &[u8]| memmem::find(line, mark).is_some();
    if bytes.starts_with(b"{")
        && has(b"\"auditID\"")
        && has(b"audit.k8s.io/")
        && ![&b"logEvents\""[..], b"events\"", b"messageType\""].iter().any(|key| first_key(bytes).starts_with(key))
    {
        Sniff::Yes
    } else {
        Sniff::No
    }
}

/// The text of a JSON object behind its brace and the quote of its first key.
fn first_key(object: &[u8]) -> &[u8] {
    let rest = object[1..].trim_ascii_start();
    rest.strip_prefix(b"\"").unwrap_or(rest)
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    let mut joined = String::new();
    for line in chunk.lines() {
        if line.bytes.trim_ascii().is_empty() {
            continue;
        }
        if let Err(reason) =
            stepping_over_bodies(context, &line, &mut joined, batch).unwrap_or_else(|| whole(context, &line, batch))
        {
            if chunk.truncated && chunk.last && !line.ended {
                batch.loss(loss::TRUNCATED_INPUT, 1);
            }
            batch.reject(context, &line, &reason);
        }
    }
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

/// Whether a body is the object itself, or its scale.
fn usable(object: &Object<'_>, kind: &str) -> bool {
    object.kind.as_deref().is_none_or(|found| found == kind || found == "Scale")
}

/// A body as an object; one that is none (a patch, a status of its own form) counts as absent.
fn body<'a>(raw: Option<&'a RawValue>) -> Option<Object<'a>> {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
}

/// Reads an event without its bodies, except for the answer where a row is made of it. `None`: the line has another form.
fn stepping_over_bodies(
    context: &Context,
    line: &Line<'_>,
    joined: &mut String,
    batch: &mut Batch,
) -> Option<Result<(), String>> {
    const REQUEST: &[u8] = b",\"requestObject\":";
    const RESPONSE: &[u8] = b",\"responseObject\":";
    let bytes = line.bytes.trim_ascii();
    let text = std::str::from_utf8(bytes).ok()?;
    let request = memmem::find(bytes, REQUEST);
    let response = memmem::find(&bytes[request.unwrap_or(0)..], RESPONSE).map(|at| at + request.unwrap_or(0));
    let head = request.or(response)?;
    let tail = memmem::rfind(bytes, b",\"requestReceivedTimestamp\":\"").filter(|tail| *tail > head)?;
    // Two events in one line (a lost line end) have a head and a tail that do not belong together.
    if memmem::find_iter(bytes, b"\"auditID\":\"").count() != 1 || !bytes.ends_with(b"}") {
        return None;
    }
    joined.clear();
    joined.push_str(&text[..head]);
    joined.push_str(&text[tail..]);
    let event: Event<'_> = serde_json::from_str(joined).ok()?;
    let Some(kind) = wanted(&event) else { return Some(rows(context, line, event, None, None, batch)) };
    let answer: Object<'_> = serde_json::from_str(&text[response? + RESPONSE.len()..tail]).ok()?;
    // Another answer (a Status): the request may be the object.
    usable(&answer, kind).then(|| rows(context, line, event, Some(answer), None, batch))
}

fn whole(context: &Context, line: &Line<'_>, batch: &mut Batch) -> Result<(), String> {
    let event: Event<'_> =
        serde_json::from_slice(line.bytes).map_err(|error| format!("expected an audit event as JSON: {error}"))?;
    let (answer, request) = match wanted(&event) {
        Some(_) => (body(event.response_object), body(event.request_object)),
        None => (None, None),
    };
    rows(context, line, event, answer, request, batch)
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
    line: &Line<'_>,
    event: Event<'a>,
    answer: Option<Object<'a>>,
    request: Option<Object<'a>>,
    batch: &mut Batch,
) -> Result<(), String> {
    let kind = wanted(&event);
    if !event.api_version.starts_with("audit.k8s.io/") {
        return Err(format!("expected apiVersion audit.k8s.io/…, found `{}`", event.api_version));
    }
    let time = |name: &str, text: &str| {
        rfc3339(text.as_bytes()).ok_or_else(|| format!("expected {name} in RFC 3339, found `{text}`"))
    };
    let stage_time = time("stageTimestamp", &event.stage_timestamp)?;
    let received = if event.request_received_timestamp.is_empty() {
        stage_time
    } else {
        time("requestReceivedTimestamp", &event.request_received_timestamp)?
    };
    batch.record(Some(received));
    let reference = event.object_ref.unwrap_or_default();
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
        record: line.number,
        clock: context.clock.as_str().into(),
        received,
        stage_time,
        audit_id: event.audit_id,
        stage: event.stage,
        level: event.level,
        verb: event.verb.clone(),
        user: event.user.username,
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
        None if deleted => Object::default(),
        None => {
            // A binding answers with a status; of all else that changes endpoints the object is missed.
            if reference.subresource != "binding" {
                batch.loss(loss::AUDIT_WITHOUT_BODIES, 1);
            }
            return Ok(());
        }
    };
    if object.metadata.name.is_empty() {
        object.metadata.name = reference.name;
    }
    if object.metadata.namespace.is_empty() {
        object.metadata.namespace = reference.namespace;
    }
    let witness = Witness {
        source: context.source,
        record: line.number,
        clock: &context.clock,
        name: "audit",
        time: Some(stage_time),
        received: Some(received),
        event: event_name,
    };
    kubernetes::push(kind, &object, &witness, batch);
    Ok(())
}
