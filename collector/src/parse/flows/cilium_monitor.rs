//! `cilium-dbg monitor`: events of the datapath, as JSON lines (`-j`) or text.
//!
//! ```text
//! {"cpu":"CPU 01:","type":"drop","mark":"0xfddd76f6","ifindex":29,"reason":"Policy denied","source":1234,"srcLabel":48447,"dstLabel":2,"summary":{"l3":{"src":"192.168.0.149","dst":"93.184.215.14"},"tcp":"…"}}
//! xx drop (Policy denied) flow 0xfddd76f6 to endpoint 0, ifindex 29, file bpf_lxc.c:1274, , identity 48447->world: 192.168.0.149:45830 -> 93.184.215.14:80 tcp SYN
//! -> endpoint 1234 flow 0x0 , identity world->48447 state new ifindex lxc1 orig-ip 10.0.0.1: 10.0.0.1:80 -> 10.0.0.2:45830 tcp SYN, ACK
//! ```
//!
//! The monitor prints no time: events become flows without one, in their order. A line with seconds since the epoch ahead
//! of it (`… | ts %.s`) has a time. Debug and capture lines are kept out, and counted.

use serde_json::Value;
use syncline_schema::clock::ClockToken;
use syncline_schema::flows::FlowRow;
use syncline_schema::loss;

use crate::form::instant;
use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Line, Reads, Sniff};
use crate::parse::dataplane::rule_comment::address_and_port;

/// The format.
pub const FORMAT: Format = Format {
    kind: "cilium-monitor",
    title: "cilium-dbg monitor, JSON lines or text",
    clock: ClockToken::Node,
    cut: Cut::Lines,
    sniff,
    reads: Reads::Rows(parse),
    sample: "{\"cpu\":\"CPU 01:\",\"type\":\"drop\",\"mark\":\"0xfddd76f6\",\"ifindex\":29,\"reason\":\"Policy denied\",\"source\":1234,\"srcLabel\":48447,\"dstLabel\":2}\n",
    recognised: "JSON objects with \"cpu\" and \"type\", one a line; lines `xx drop (…) flow 0x… …` and `-> … flow 0x…`",
    capture: "cilium-dbg monitor -j | ts %.s > monitor.jsonl",
    proves: "which packets were dropped, and why, in their order",
};

fn sniff(head: &Head) -> Sniff {
    let (mut good, mut bad) = (0, 0);
    for line in head.bytes.split(|byte| *byte == b'\n').take(100) {
        let (_, line) = behind_stamp(line.trim_ascii());
        let has = |mark: &[u8]| memchr::memmem::find(line, mark).is_some();
        if (line.starts_with(b"{") && has(b"\"cpu\"") && has(b"\"type\"")) || is_text(line) {
            good += 1;
        } else if !line.is_empty() && !is_said_beside(line) {
            bad += 1;
        }
    }
    if good > bad { Sniff::Yes } else { Sniff::No }
}

/// Greetings, debug lines, and log lines of the command itself.
fn is_said_beside(line: &[u8]) -> bool {
    let begins = [
        &b"Listening for events"[..],
        b"Press Ctrl-C",
        b"level=",
        b"time=",
        b"CPU ",
        b"Policy verdict log",
        b"----",
        b">> ",
        b"<< ",
        b"Ethernet",
        b"IPv4",
        b"TCP",
        b"UDP",
        b"  Packet has been truncated",
    ];
    begins.iter().any(|mark| line.starts_with(mark))
}

fn is_text(line: &[u8]) -> bool {
    let flow = memchr::memmem::find(line, b" flow 0x").is_some();
    flow && (line.starts_with(b"xx drop (") || line.starts_with(b"-> ") || line.starts_with(b"<- "))
}

/// A leading `1795410238.560860790 `, and the rest.
fn behind_stamp(line: &[u8]) -> (Option<i64>, &[u8]) {
    let length = line.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count();
    match line.get(length) {
        Some(b' ' | b'\t') if length >= 10 => {
            (instant::epoch_seconds(&line[..length]), line[length..].trim_ascii_start())
        }
        _ => (None, line),
    }
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    for line in chunk.lines() {
        let (time, said) = behind_stamp(line.bytes.trim_ascii());
        if said.is_empty() {
            continue;
        }
        let text = String::from_utf8_lossy(said);
        let row = if said.starts_with(b"{") {
            match serde_json::from_slice::<Value>(said) {
                Ok(event) => of_json(&event),
                Err(error) => {
                    batch.reject(context, &line, &format!("expected an event of cilium monitor as JSON: {error}"));
                    continue;
                }
            }
        } else {
            of_text(&text)
        };
        push(context, &line, time, row, batch);
    }
}

/// Appends a flow; what is none (a debug line, the greeting) is counted only.
fn push(context: &Context, line: &Line<'_>, time: Option<i64>, row: Option<FlowRow<'_>>, batch: &mut Batch) {
    batch.record(time);
    let Some(row) = row else { return };
    if time.is_none() {
        batch.loss(loss::NO_TIME, 1);
    }
    batch.push(&FlowRow {
        source: context.source,
        record: line.number,
        clock: context.clock.as_str().into(),
        time,
        node: Some(context.node.as_str().into()),
        ..row
    });
}

fn of_json(event: &Value) -> Option<FlowRow<'static>> {
    let text = |key: &str| event[key].as_str().map(|text| text.to_owned().into());
    let kind = event["type"].as_str()?;
    let summary = &event["summary"];
    let address = |end: &str| summary["l3"][end].as_str().map(|text| text.to_owned().into());
    let drop = kind == "drop";
    if !drop && !kind.starts_with("trace") {
        return None;
    }
    Some(FlowRow {
        verdict: if drop { "DROPPED" } else { "TRACED" }.into(),
        drop_reason: text("reason").filter(|_| drop),
        source_address: address("src"),
        destination_address: address("dst"),
        observation: text("observationPoint").or_else(|| drop.then(|| "drop".into())),
        summary: ["tcp", "udp", "icmpv4", "icmpv6"]
            .iter()
            .find_map(|key| summary[*key].as_str().map(|text| text.to_owned().into())),
        ..FlowRow::default()
    })
}

fn of_text(line: &str) -> Option<FlowRow<'_>> {
    if !is_text(line.as_bytes()) {
        return None;
    }
    let reason = line.strip_prefix("xx drop (").and_then(|rest| rest.split(')').next());
    // Behind the last `: ` stand the ends of the packet: `a:port -> b:port tcp SYN`.
    let packet = line.rsplit_once(": ").map(|(_, packet)| packet).unwrap_or_default();
    let (source, rest) = packet.split_once(" -> ").unwrap_or_default();
    let (destination, summary) = rest.split_once(' ').unwrap_or((rest, ""));
    let (source, destination) = (address_and_port(source), address_and_port(destination));
    let address = |end: &(String, Option<i32>)| (!end.0.is_empty()).then(|| end.0.clone().into());
    let protocol = summary.split(' ').next().filter(|word| ["tcp", "udp", "icmp", "sctp"].contains(word));
    Some(FlowRow {
        verdict: if reason.is_some() { "DROPPED" } else { "TRACED" }.into(),
        drop_reason: reason.map(Into::into),
        source_address: address(&source),
        source_port: source.1,
        destination_address: address(&destination),
        destination_port: destination.1,
        protocol: protocol.map(|protocol| protocol.to_ascii_uppercase().into()),
        observation: Some(if reason.is_some() { "drop" } else { "trace" }.into()),
        summary: Some(summary.into()),
        ..FlowRow::default()
    })
}

#[cfg(test)]
mod tests {
    use super::{FORMAT, of_text};
    use crate::form::Sniff;
    use crate::parse::harness::{head, parse_text};

    const DROP: &str = "xx drop (Policy denied) flow 0xfddd76f6 to endpoint 0, ifindex 29, file bpf_lxc.c:1274, , identity 48447->world: 192.168.0.149:45830 -> 93.184.215.14:80 tcp SYN";

    #[test]
    fn drops_are_flows_with_their_reason() {
        let row = of_text(DROP).expect("a flow");
        assert_eq!(row.drop_reason.as_deref(), Some("Policy denied"));
        assert_eq!((row.source_port, row.destination_address.as_deref()), (Some(45830), Some("93.184.215.14")));
        for text in [DROP.to_owned(), FORMAT.sample.to_owned(), format!("1795410238.5 {}", FORMAT.sample)] {
            assert_eq!((FORMAT.sniff)(&head("x", text.as_bytes())), Sniff::Yes, "{text}");
            let mut batch = parse_text(&FORMAT, &text);
            assert_eq!((batch.records, batch.rejected), (1, 0));
            assert_eq!(batch.take_tables().len(), 1, "{text}");
        }
        assert_eq!(parse_text(&FORMAT, "{\"cpu\":\"CPU 01:\",\"type\":\"dr").rejected, 1);
    }
}
