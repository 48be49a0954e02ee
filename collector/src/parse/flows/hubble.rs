//! Hubble flows: `hubble observe -o jsonpb`, the exporter's files, and older bare flows.
//!
//! ```text
//! {"flow":{"time":"2026-11-23T04:42:31.189816901Z","verdict":"FORWARDED","IP":{"source":"10.244.0.2",…},"l4":{"TCP":{…}},…},"node_name":"rig/node-a","time":"…"}
//! {"lost_events":{"source":"HUBBLE_RING_BUFFER","num_events_lost":"12"},"node_name":"rig/node-a","time":"…"}
//! ```
//!
//! Read: one object a line (wrapped in `flow`, or the flow itself), and pretty-printed objects or arrays of flows in a
//! file of one chunk. `lost_events` are a loss; `node_status`, agent and debug events are counted and give no rows. The clock
//! is the node's: the agent stamps a flow when it reads it from the kernel's ring buffer.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use syncline_schema::clock::ClockToken;
use syncline_schema::flows::FlowRow;
use syncline_schema::loss::{LOST_FLOWS, NO_TIME};

use crate::form::instant;
use crate::form::json_pairs::Pairs;
use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Line, Reads, Sniff};
use crate::parse::syntax::borrowed;

/// Hubble flows.
pub const FORMAT: Format = Format {
    kind: "hubble",
    title: "Hubble flows as JSON",
    clock: ClockToken::Node,
    cut: Cut::Lines,
    sniff,
    reads: Reads::Rows(parse),
    sample: r#"{"flow":{"time":"2026-11-23T04:42:31.189816901Z","verdict":"FORWARDED","IP":{"source":"10.244.0.2","destination":"10.244.0.21"}},"node_name":"node-a"}"#,
    recognised: "objects with `flow`, or with `verdict` and `IP`",
    capture: "hubble observe -f -o jsonpb > hubble.jsonl",
    proves: "which packets were forwarded and dropped, and why",
};

#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    flow: Option<Flow<'a>>,
    #[serde(borrow)]
    lost_events: Option<LostEvents<'a>>,
    node_status: Option<IgnoredAny>,
    agent_event: Option<IgnoredAny>,
    debug_event: Option<IgnoredAny>,
    #[serde(borrow, default, deserialize_with = "borrowed::optional")]
    node_name: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "borrowed::optional")]
    time: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct LostEvents<'a> {
    /// A number, as text in protobuf's JSON.
    #[serde(borrow)]
    num_events_lost: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Flow<'a> {
    #[serde(borrow, default, deserialize_with = "borrowed::optional")]
    time: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "borrowed::optional")]
    verdict: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "borrowed::optional")]
    drop_reason_desc: Option<Cow<'a, str>>,
    drop_reason: Option<u64>,
    #[serde(borrow, rename = "IP")]
    ip: Option<Addresses<'a>>,
    #[serde(borrow)]
    l4: Option<Pairs<'a, Transport<'a>>>,
    #[serde(borrow)]
    source: Option<Endpoint<'a>>,
    #[serde(borrow)]
    destination: Option<Endpoint<'a>>,
    #[serde(borrow)]
    destination_service: Option<Service<'a>>,
    #[serde(borrow, default, deserialize_with = "borrowed::optional")]
    node_name: Option<Cow<'a, str>>,
    is_reply: Option<bool>,
    reply: Option<bool>,
    event_type: Option<EventType>,
    #[serde(borrow, default, deserialize_with = "borrowed::optional")]
    traffic_direction: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "borrowed::optional")]
    trace_observation_point: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "Summary", alias = "summary")]
    summary: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Addresses<'a> {
    #[serde(borrow, default, deserialize_with = "borrowed::optional")]
    source: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "borrowed::optional")]
    destination: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Transport<'a> {
    source_port: Option<i32>,
    destination_port: Option<i32>,
    #[serde(borrow)]
    flags: Option<Pairs<'a, bool>>,
}

#[derive(Deserialize)]
struct Endpoint<'a> {
    #[serde(borrow, default, deserialize_with = "borrowed::optional")]
    namespace: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "borrowed::optional")]
    pod_name: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Service<'a> {
    #[serde(borrow, default, deserialize_with = "borrowed::optional")]
    namespace: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "borrowed::optional")]
    name: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct EventType {
    #[serde(rename = "type")]
    kind: Option<i64>,
}

/// A line without what grep or `kubectl logs --prefix` wrote ahead of the object.
fn behind_prefix(line: &[u8]) -> &[u8] {
    if line.starts_with(b"{") {
        return line;
    }
    let marks = [&b"{\"flow\""[..], b"{ \"flow\"", b"{\"lost_events\"", b"{\"node_status\""];
    let near = &line[..line.len().min(300)];
    let at = marks.iter().filter_map(|mark| memchr::memmem::find(near, mark)).min();
    at.map_or(line, |at| &line[at..])
}

/// Whether logfmt stands between the objects: then it is the log of an agent that exports its flows to the same place.
fn is_of_a_log(head: &Head) -> bool {
    let mut lines = head.bytes.split(|byte| *byte == b'\n');
    lines.any(|line| {
        let logfmt = line.starts_with(b"time=") || line.starts_with(b"level=");
        logfmt && memchr::memmem::find(line, b" msg=").is_some()
    })
}

fn sniff(head: &Head) -> Sniff {
    if is_of_a_log(head) {
        return Sniff::No;
    }
    let start = behind_prefix(head.bytes.trim_ascii_start());
    let compact: Vec<u8> = start.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).take(4000).collect();
    let has = |mark: &str| memchr::memmem::find(&compact, mark.as_bytes()).is_some();
    let wrapped = ["{\"flow\":{", "{\"lost_events\":{", "{\"node_status\":{"]
        .iter()
        .any(|mark| compact.starts_with(mark.as_bytes()));
    if wrapped && (has("\"verdict\":") || has("\"node_name\":") || has("\"num_events_lost\":")) {
        return Sniff::Yes;
    }
    let object = compact.starts_with(b"{") || compact.starts_with(b"[{");
    if object && has("\"verdict\":\"") && has("\"IP\":{\"source\":") { Sniff::Yes } else { Sniff::No }
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    let start = chunk.bytes.trim_ascii_start();
    let first_line = behind_prefix(start.split(|byte| *byte == b'\n').next().unwrap_or_default());
    let whole_lines = serde_json::from_slice::<IgnoredAny>(first_line).is_ok() && !first_line.starts_with(b"[");
    let mut undated = 0;
    if chunk.first && chunk.last && !whole_lines && (start.starts_with(b"{") || start.starts_with(b"[")) {
        undated += pretty(context, chunk, batch);
    } else {
        for line in chunk.lines() {
            if !line.bytes.iter().all(u8::is_ascii_whitespace) {
                undated += record(context, &Line { bytes: behind_prefix(line.bytes), ..line }, batch);
            }
        }
    }
    if undated > 0 {
        batch.loss(NO_TIME, undated);
    }
}

/// Objects over many lines, or arrays of them. Gives the number of flows without a time.
fn pretty(context: &Context, chunk: &Chunk, batch: &mut Batch) -> u64 {
    let (mut at, mut number, mut undated) = (0, chunk.first_line, 0);
    let mut one = |raw: &RawValue, batch: &mut Batch| {
        let bytes = raw.get().as_bytes();
        let start = (bytes.as_ptr() as usize).saturating_sub(chunk.bytes.as_ptr() as usize).min(chunk.bytes.len());
        number += memchr::memchr_iter(b'\n', &chunk.bytes[at.min(start)..start]).count() as i64;
        at = start;
        undated += record(context, &Line { bytes, number, offset: chunk.offset + start as i64, ended: true }, batch);
    };
    for item in serde_json::Deserializer::from_slice(chunk.bytes).into_iter::<&RawValue>() {
        match item {
            Ok(raw) if raw.get().starts_with('[') => match serde_json::from_str::<Vec<&RawValue>>(raw.get()) {
                Ok(flows) => flows.into_iter().for_each(|flow| one(flow, batch)),
                Err(_) => one(raw, batch),
            },
            Ok(raw) => one(raw, batch),
            Err(error) => {
                let line = Line { bytes: chunk.bytes, number: chunk.first_line, offset: chunk.offset, ended: false };
                batch.reject(context, &line, &format!("expected JSON objects of flows: {error}"));
                break;
            }
        }
    }
    undated
}

/// Reads one object. Gives 1 for a flow without a time.
fn record(context: &Context, line: &Line, batch: &mut Batch) -> u64 {
    let text = match std::str::from_utf8(line.bytes) {
        Ok(text) => text,
        Err(_) => {
            batch.reject(context, line, "expected UTF-8");
            return 0;
        }
    };
    let found: Record = match serde_json::from_str(text) {
        Ok(found) => found,
        Err(error) => {
            batch.reject(context, line, &format!("expected a flow: {error}"));
            return 0;
        }
    };
    let outer_time = found.time.as_deref().and_then(|time| instant::rfc3339(time.as_bytes()));
    if let Some(flow) = found.flow {
        return push(context, line, flow, found.node_name, outer_time, batch);
    }
    if let Some(lost) = found.lost_events {
        let count = lost.num_events_lost.and_then(|raw| raw.get().trim_matches('"').parse().ok());
        batch.record(outer_time);
        batch.loss(LOST_FLOWS, count.unwrap_or(1));
        return 0;
    }
    if found.node_status.is_some() || found.agent_event.is_some() || found.debug_event.is_some() {
        batch.record(outer_time);
        return 0;
    }
    match serde_json::from_str::<Flow>(text) {
        Ok(flow) if flow.verdict.is_some() || flow.ip.is_some() => push(context, line, flow, None, None, batch),
        _ => {
            batch.reject(context, line, "expected flow, lost_events or node_status");
            0
        }
    }
}

fn push(
    context: &Context,
    line: &Line,
    flow: Flow,
    node: Option<Cow<str>>,
    outer_time: Option<i64>,
    batch: &mut Batch,
) -> u64 {
    let time = flow.time.as_deref().and_then(|time| instant::rfc3339(time.as_bytes())).or(outer_time);
    let transport = flow.l4.and_then(|l4| l4.0.into_iter().next());
    let (protocol, transport) = transport.map_or((None, None), |(name, transport)| (Some(name), Some(transport)));
    let flags = transport.as_ref().and_then(|transport| transport.flags.as_ref()).map(|flags| {
        let set: Vec<&str> = flags.0.iter().filter(|(_, set)| *set).map(|(name, _)| &**name).collect();
        set.join(",")
    });
    // Event types of Cilium's monitor: 1 is a drop, 4 a trace, 5 a policy verdict.
    let observed = flow.trace_observation_point.or_else(|| {
        flow.event_type.and_then(|event| event.kind).map(|kind| match kind {
            1 => "drop".into(),
            4 => "trace".into(),
            5 => "policy-verdict".into(),
            129 => "l7".into(),
            other => other.to_string().into(),
        })
    });
    let (source_address, destination_address) = flow.ip.map_or((None, None), |ip| (ip.source, ip.destination));
    let destination_service = flow.destination_service.and_then(|service| joined(service.namespace, service.name));
    batch.record(time);
    batch.push(&FlowRow {
        source: context.source,
        record: line.number,
        clock: context.clock.as_str().into(),
        time,
        node: flow.node_name.or(node).map(without_cluster),
        verdict: flow.verdict.unwrap_or(Cow::Borrowed("VERDICT_UNKNOWN")),
        drop_reason: flow.drop_reason_desc.or_else(|| flow.drop_reason.map(|code| code.to_string().into())),
        source_address,
        source_port: transport.as_ref().and_then(|transport| transport.source_port),
        destination_address,
        destination_port: transport.as_ref().and_then(|transport| transport.destination_port),
        protocol,
        flags: flags.filter(|flags| !flags.is_empty()).map(Cow::Owned),
        is_reply: flow.is_reply.or(flow.reply),
        observation: observed,
        direction: flow.traffic_direction,
        source_pod: flow.source.and_then(|endpoint| joined(endpoint.namespace, endpoint.pod_name)),
        destination_pod: flow.destination.and_then(|endpoint| joined(endpoint.namespace, endpoint.pod_name)),
        destination_service,
        summary: flow.summary,
        ..Default::default()
    });
    u64::from(time.is_none())
}

/// `namespace/name`.
fn joined<'a>(namespace: Option<Cow<'a, str>>, name: Option<Cow<'a, str>>) -> Option<Cow<'a, str>> {
    let name = name.filter(|name| !name.is_empty())?;
    Some(match namespace {
        Some(namespace) if !namespace.is_empty() => format!("{namespace}/{name}").into(),
        _ => name,
    })
}

/// Hubble puts the name of the cluster ahead of the node's: `rig/node-a`.
fn without_cluster(node: Cow<'_, str>) -> Cow<'_, str> {
    match node.rsplit_once('/') {
        Some((_, name)) => Cow::Owned(name.to_owned()),
        None => node,
    }
}

#[cfg(test)]
mod tests {
    use super::FORMAT;
    use crate::form::Sniff;
    use crate::parse::harness::{corpus_files, files, head, parse_text};

    #[test]
    fn reads_flows_and_losses() {
        let text = "{\"flow\":{\"time\":\"2026-11-23T04:42:31.5Z\",\"verdict\":\"DROPPED\",\"drop_reason\":139,\"IP\":{\"source\":\"a\",\"destination\":\"b\"},\"l4\":{\"TCP\":{\"source_port\":1,\"destination_port\":2,\"flags\":{\"SYN\":true}}},\"event_type\":{\"type\":1,\"sub_type\":139}},\"node_name\":\"rig/n\"}\n{\"lost_events\":{\"num_events_lost\":\"12\"},\"time\":\"2026-11-23T04:42:32Z\"}\n{\"node_status\":{\"state_change\":\"NODE_CONNECTED\"}}\n{\"verdict\":\"FORWARDED\",\"IP\":{\"source\":\"a\"}}\n{\"flow\":{\"verd";
        let batch = parse_text(&FORMAT, text);
        assert_eq!((batch.records, batch.rejected), (4, 1));
        assert_eq!((batch.losses["lost-flows"].1, batch.losses["no-time"].1), (12, 1));
        assert_eq!(batch.span, Some((1_795_408_951_500_000_000, 1_795_408_952_000_000_000)));
    }

    #[test]
    fn prefixes_of_grep_and_kubectl_are_no_part_of_a_flow() {
        let flow =
            r#"{"flow":{"time":"2026-11-23T04:42:31.5Z","verdict":"DROPPED","IP":{"source":"a","destination":"b"}}}"#;
        for prefix in ["hubble-flows-cilium-tl8kg.json:", "[pod/cilium-x/cilium-agent] "] {
            let text = format!("{prefix}{flow}\n{prefix}{flow}\n");
            assert_eq!((FORMAT.sniff)(&head("x", text.as_bytes())), Sniff::Yes, "{prefix}");
            let batch = parse_text(&FORMAT, &text);
            assert_eq!((batch.records, batch.rejected), (2, 0), "{prefix}");
        }
    }

    #[test]
    fn reads_pretty_printed_arrays() {
        let text = "[\n {\"verdict\": \"FORWARDED\",\n \"IP\": {\"source\": \"a\"}},\n {\"verdict\": \"DROPPED\"}\n]\n";
        assert_eq!((FORMAT.sniff)(&head("x", text.as_bytes())), Sniff::Yes);
        let batch = parse_text(&FORMAT, text);
        assert_eq!((batch.records, batch.rejected), (2, 0));
    }

    #[test]
    fn takes_every_flow_of_the_captures_and_the_corpus() {
        let captured = files(&["captures/cilium-scale-up-1/bpf".to_owned()]).into_iter();
        for (path, bytes) in captured.chain(corpus_files(&["hubble_flows"])) {
            let flows = path.contains("hubble") && !path.ends_with(".stderr");
            assert_eq!((FORMAT.sniff)(&head(&path, &bytes)) == Sniff::Yes, flows, "{path}");
            if flows {
                let batch = parse_text(&FORMAT, &String::from_utf8_lossy(&bytes));
                assert!(batch.rejected == 0 && batch.records > 0, "{path}");
            }
        }
    }
}
