//! What `hubble observe` prints by default (its compact form).
//!
//! ```text
//! Aug 27 08:40:09.757: 10.0.2.79:35475 (ingress) <> demo/nginx-lpxdf:80 (ID:23472) to-overlay FORWARDED (TCP Flags: SYN)
//! Jul 29 03:24:25.779: kube-system/pinger-msvcn <- kube-system/pinger-7lgk8 to-endpoint FORWARDED (ICMPv4 EchoReply)
//! ```
//!
//! No year and no zone: both come from `capture.toml`, else a flow has no time. `a <- b` is a reply that went from b
//! to a. The older table form and other lines are refused.

use syncline_schema::clock::ClockToken;
use syncline_schema::flows::FlowRow;
use syncline_schema::loss::{LOST_FLOWS, NO_YEAR};

use super::{Batch, Chunk, Context, Cut, Format, Head, Sniff, instant};

/// Hubble flows as people read them.
pub const FORMAT: Format = Format {
    kind: "hubble-text",
    title: "Hubble flows as text",
    clock: ClockToken::Node,
    cut: Cut::Lines,
    sniff,
    parse,
    sample: "Aug 27 08:40:09.757: 10.0.2.79:35475 (ingress) -> demo/nginx-lpxdf:80 (ID:23472) to-endpoint FORWARDED (TCP Flags: SYN)",
    recognised: "lines `Mon DD HH:MM:SS.mmm: source -> destination … VERDICT (summary)`",
    capture: "hubble observe -f (better: -o jsonpb, which has the year)",
    proves: "which packets were forwarded and dropped, and why",
};

const VERDICTS: [&str; 9] =
    ["FORWARDED", "DROPPED", "ERROR", "AUDIT", "REDIRECTED", "TRACED", "TRANSLATED", "ALLOWED", "DENIED"];

fn sniff(head: &Head) -> Sniff {
    let (mut good, mut bad) = (0, 0);
    for line in head.bytes.split(|byte| *byte == b'\n').take(60) {
        let Ok(text) = std::str::from_utf8(line) else { continue };
        match flow(text.trim_end()) {
            Some(_) => good += 1,
            None => bad += usize::from(!text.trim().is_empty()),
        }
    }
    if good > bad { Sniff::Yes } else { Sniff::No }
}

/// Dissects a line: its time as written, and the row without source and times.
fn flow(line: &str) -> Option<(&str, FlowRow<'_>)> {
    // `Mon DD HH:MM:SS.mmm` is 19 bytes; a node in brackets may follow.
    let (when, rest) = (line.get(..19)?, line.get(19..)?);
    instant::syslog(when, 2024, 0)?;
    let (node, rest) = match rest.strip_prefix(" [") {
        Some(rest) => rest.split_once("]: ").map(|(node, rest)| (Some(node), rest))?,
        None => (None, rest.strip_prefix(": ")?),
    };
    let (place, arrow) = [" -> ", " <- ", " <> "].iter().filter_map(|arrow| Some((rest.find(arrow)?, *arrow))).min()?;
    let (left, rest) = (&rest[..place], &rest[place + 4..]);
    let (right, rest) = rest.split_once(' ')?;
    let rest = match rest.strip_prefix('(') {
        Some(tagged) => tagged.split_once(") ")?.1,
        None => rest,
    };
    let (kind, verdict, summary) = VERDICTS.iter().find_map(|verdict| {
        let place = rest.find(&format!(" {verdict}"))?;
        Some((&rest[..place], *verdict, rest[place + 1 + verdict.len()..].trim()))
    })?;
    let summary = summary.strip_prefix('(').and_then(|text| text.strip_suffix(')')).unwrap_or(summary);
    let left = endpoint(left.split(' ').next()?);
    let right = endpoint(right);
    let (source, destination) = if arrow == " <- " { (right, left) } else { (left, right) };
    let direction = ["INGRESS", "EGRESS"].into_iter().find(|word| kind.ends_with(word));
    let flags = summary.strip_prefix("TCP Flags: ").map(|flags| flags.replace(", ", ","));
    let protocol =
        summary.split(' ').next().filter(|word| matches!(*word, "TCP" | "UDP" | "ICMPv4" | "ICMPv6" | "SCTP"));
    let observation = match verdict {
        "DROPPED" => "drop".to_owned(),
        _ if kind.starts_with("to-") || kind.starts_with("from-") => kind.to_ascii_uppercase().replace('-', "_"),
        _ => kind.split([':', ' ']).next().unwrap_or_default().to_owned(),
    };
    let row = FlowRow {
        node: node.map(Into::into),
        verdict: verdict.into(),
        drop_reason: (verdict == "DROPPED").then(|| kind.into()),
        source_address: source.address.map(Into::into),
        source_port: source.port,
        destination_address: destination.address.map(Into::into),
        destination_port: destination.port,
        protocol: protocol.map(Into::into),
        flags: flags.map(Into::into),
        is_reply: match arrow {
            " -> " => Some(false),
            " <- " => Some(true),
            _ => None,
        },
        observation: Some(observation.into()),
        direction: direction.map(Into::into),
        source_pod: source.name.map(Into::into),
        destination_pod: destination.name.map(Into::into),
        summary: Some(summary.into()),
        ..Default::default()
    };
    Some((when, row))
}

/// One end of a flow: an address or a name.
struct End<'a> {
    address: Option<&'a str>,
    name: Option<&'a str>,
    port: Option<i32>,
}

/// `ip:port`, `[ipv6]:port`, `namespace/pod:port(service)`, each with or without the port.
fn endpoint(text: &str) -> End<'_> {
    let text = text.split('(').next().unwrap_or(text);
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (text, None),
        },
        _ => (text, None),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match host.parse::<std::net::IpAddr>() {
        Ok(_) => End { address: Some(host), name: None, port },
        Err(_) => End { address: None, name: Some(host), port },
    }
}

/// `EVENTS LOST: HUBBLE_RING_BUFFER CPU(0) 12`.
fn lost(line: &str) -> Option<u64> {
    line.split_once("EVENTS LOST: ")?.1.rsplit(' ').next()?.parse().ok()
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    let mut without_year = 0;
    for line in chunk.lines() {
        if line.bytes.trim_ascii().is_empty() {
            continue;
        }
        let text = String::from_utf8_lossy(line.bytes);
        if let Some(count) = lost(text.trim_end()) {
            batch.record(None);
            batch.loss(LOST_FLOWS, count);
            continue;
        }
        let Some((when, row)) = flow(text.trim_end()) else {
            batch.reject(context, &line, "expected `Mon DD HH:MM:SS.mmm: source -> destination … VERDICT (summary)`");
            continue;
        };
        let time = match (context.year, context.utc_offset) {
            (Some(year), Some(offset)) => instant::syslog(when, year, offset),
            _ => None,
        };
        without_year += u64::from(time.is_none());
        batch.record(time);
        batch.push(&FlowRow {
            source: context.source,
            record: line.number,
            clock: context.clock.as_str().into(),
            time,
            ..row
        });
    }
    if without_year > 0 {
        batch.loss(NO_YEAR, without_year);
    }
}

#[cfg(test)]
mod tests {
    use super::{FORMAT, flow};
    use crate::parse::harness::{context, corpus_files, parse_in, parse_text};

    #[test]
    fn dissects_lines() {
        let (when, row) = flow("Aug 27 08:49:44.416: 10.0.2.79:39309 (ingress) <- demo/nginx-lpxdf:80 (ID:23472) policy-verdict:L3-Only INGRESS DENIED (TCP Flags: SYN, ACK)").expect("a flow");
        assert_eq!(when, "Aug 27 08:49:44.416");
        assert_eq!((row.source_pod.as_deref(), row.source_port), (Some("demo/nginx-lpxdf"), Some(80)));
        assert_eq!((row.destination_address.as_deref(), row.destination_port), (Some("10.0.2.79"), Some(39309)));
        assert_eq!((&*row.verdict, row.flags.as_deref(), row.is_reply), ("DENIED", Some("SYN,ACK"), Some(true)));
        assert_eq!((row.direction.as_deref(), row.observation.as_deref()), (Some("INGRESS"), Some("policy-verdict")));
        let (_, row) = flow("Aug  7 08:49:44.416 [node-a]: [fe80::1]:546 -> ff02::2 Unsupported L3 protocol DROPPED (ICMPv6 RouterSolicitation)").expect("a flow");
        assert_eq!(
            (row.source_address.as_deref(), row.source_port, row.destination_address.as_deref()),
            (Some("fe80::1"), Some(546), Some("ff02::2"))
        );
        assert_eq!(
            (row.drop_reason.as_deref(), row.node.as_deref()),
            (Some("Unsupported L3 protocol"), Some("node-a"))
        );
    }

    #[test]
    fn a_flow_without_a_year_has_no_time() {
        let batch = parse_text(&FORMAT, FORMAT.sample);
        assert_eq!((batch.records, batch.span, batch.losses["no-year"].1), (1, None, 1));
        let mut dated = context();
        (dated.year, dated.utc_offset) = (Some(2025), Some(7200));
        let batch = parse_in(&FORMAT, &dated, FORMAT.sample);
        assert_eq!(batch.span.map(|span| span.0), Some(1_756_276_809_757_000_000));
    }

    #[test]
    fn reads_the_excerpts_of_the_corpus() {
        for (path, bytes) in corpus_files(&["hubble_compact"]) {
            if path.contains("xxradar") {
                let batch = parse_text(&FORMAT, &String::from_utf8_lossy(&bytes));
                assert!(batch.records > batch.rejected, "{path}: {} of {}", batch.rejected, batch.records);
            }
        }
    }
}
