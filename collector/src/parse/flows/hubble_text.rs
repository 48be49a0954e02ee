//! What `hubble observe` prints for people: the compact form, and the table of older versions (`-o table`, `-o tab`).
//!
//! ```text
//! Aug 27 08:40:09.757: 10.0.2.79:35475 (ingress) <> demo/nginx-lpxdf:80 (ID:23472) to-overlay FORWARDED (TCP Flags: SYN)
//! Jul 29 03:24:25.779: kube-system/pinger-msvcn <- kube-system/pinger-7lgk8 to-endpoint FORWARDED (ICMPv4 EchoReply)
//! ```
//!
//! ```text
//! TIMESTAMP             SOURCE                    DESTINATION          TYPE          VERDICT     SUMMARY
//! Jul 29 03:24:25.779   default/client:41022      default/web:80       to-endpoint   FORWARDED   TCP Flags: SYN
//! ```
//!
//! Colours of a terminal are stepped over. No year and no zone: both come from `capture.toml`, else a flow has no time (`--time-format` can print RFC 3339 or
//! RFC 1123 instead). `a <- b` is a reply that went from b to a. Prompts around the flows are kept as log lines, other lines are
//! refused. The form with one field a line is `hubble-dict`.

use std::borrow::Cow;

use syncline_schema::clock::ClockToken;
use syncline_schema::flows::FlowRow;
use syncline_schema::loss::{LOST_FLOWS, NO_YEAR};

use crate::form::instant;
use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Reads, Sniff};

/// Hubble flows as people read them.
pub const FORMAT: Format = Format {
    kind: "hubble-text",
    title: "Hubble flows as text",
    clock: ClockToken::Node,
    cut: Cut::Lines,
    sniff,
    reads: Reads::Rows(parse),
    sample: "Aug 27 08:40:09.757: 10.0.2.79:35475 (ingress) -> demo/nginx-lpxdf:80 (ID:23472) to-endpoint FORWARDED (TCP Flags: SYN)",
    recognised: "lines `Mon DD HH:MM:SS.mmm: source -> destination … VERDICT (summary)`, or a table `TIMESTAMP SOURCE DESTINATION TYPE VERDICT SUMMARY`",
    capture: "hubble observe -f (better: -o jsonpb, which has the year)",
    proves: "which packets were forwarded and dropped, and why",
};

pub(super) const VERDICTS: [&str; 10] =
    ["FORWARDED", "DROPPED", "ERROR", "AUDITED", "AUDIT", "REDIRECTED", "TRACED", "TRANSLATED", "ALLOWED", "DENIED"];

fn sniff(head: &Head) -> Sniff {
    let (mut good, mut bad) = (0, 0);
    for line in head.bytes.split(|byte| *byte == b'\n').take(60) {
        let Ok(text) = std::str::from_utf8(line) else { continue };
        let text = plain(text.trim_end());
        match flow(&text) {
            Some(_) => good += 1,
            None => bad += usize::from(!text.trim().is_empty() && !is_heading(&text) && lost(&text).is_none()),
        }
    }
    if good > bad { Sniff::Yes } else { Sniff::No }
}

/// Column names of the table.
fn is_heading(line: &str) -> bool {
    let mut words = line.split_whitespace();
    words.next() == Some("TIMESTAMP") && words.any(|word| word == "VERDICT")
}

/// The text without the colours of a terminal (`ESC [ … m`).
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains('\x1b') {
        return Cow::Borrowed(text);
    }
    let mut parts = text.split('\x1b');
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let behind = part.strip_prefix('[').and_then(|part| part.split_once('m')).map_or(part, |(_, behind)| behind);
        kept.push_str(behind);
    }
    Cow::Owned(kept)
}

/// The columns of a flow, as all forms have them.
pub(super) struct Columns<'a> {
    pub node: Option<&'a str>,
    pub left: &'a str,
    /// `->`, `<-` (a reply: from right to left) or `<>`.
    pub arrow: &'a str,
    pub right: &'a str,
    /// `to-endpoint`, `Policy denied`, `policy-verdict:L3-Only INGRESS`, …
    pub kind: &'a str,
    pub verdict: &'a str,
    /// Which policies decided, where that is printed: `BY shop-egress (CiliumNetworkPolicy)`.
    pub policy: &'a str,
    pub summary: &'a str,
}

/// Dissects a line: its time as written, and the row without source and times.
fn flow(line: &str) -> Option<(&str, FlowRow<'static>)> {
    // A node in brackets may follow the time.
    let (when, rest) = line.split_at_checked(when_length(line)?)?;
    let columns = if rest.starts_with("  ") || rest.starts_with('\t') { cells(rest)? } else { compact(rest)? };
    Some((when, row(&columns)))
}

/// A row of the table behind its time: `[node] source destination type verdict [summary]`.
fn cells(rest: &str) -> Option<Columns<'_>> {
    let cells: Vec<&str> =
        rest.split("  ").flat_map(|part| part.split('\t')).map(str::trim).filter(|cell| !cell.is_empty()).collect();
    let verdict_of = |cell: &'_ str| {
        VERDICTS
            .into_iter()
            .find(|verdict| cell.strip_prefix(verdict).is_some_and(|rest| rest.is_empty() || rest.starts_with(" BY ")))
    };
    let at = cells.iter().position(|cell| verdict_of(cell).is_some()).filter(|at| (3..=4).contains(at))?;
    let verdict = verdict_of(cells[at])?;
    Some(Columns {
        node: (at == 4).then(|| cells[0]),
        left: cells[at - 3],
        arrow: "->",
        right: cells[at - 2],
        kind: cells[at - 1],
        verdict,
        policy: cells[at][verdict.len()..].trim(),
        summary: cells.get(at + 1).copied().unwrap_or_default(),
    })
}

/// A line of the compact form behind its time.
fn compact(rest: &str) -> Option<Columns<'_>> {
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
    // The first word that is a verdict: names of policies may hold others.
    let (place, verdict) = VERDICTS
        .iter()
        .filter_map(|verdict| {
            let ends = |at: &usize| rest[at + 1 + verdict.len()..].chars().next().is_none_or(|next| next == ' ');
            Some((rest.match_indices(&format!(" {verdict}")).map(|(at, _)| at).find(ends)?, *verdict))
        })
        .min()?;
    let (kind, behind) = (&rest[..place], rest[place + 1 + verdict.len()..].trim());
    let (policy, summary) = policy_and_summary(behind);
    Some(Columns { node, left, arrow: arrow.trim(), right, kind, verdict, policy, summary })
}

/// `BY shop-egress (CiliumNetworkPolicy) (TCP Flags: SYN)`: the policies that decided, and the summary without its brackets.
fn policy_and_summary(behind: &str) -> (&str, &str) {
    if !behind.starts_with("BY ") {
        return ("", behind.strip_prefix('(').and_then(|text| text.strip_suffix(')')).unwrap_or(behind));
    }
    // The last brackets, with those within them.
    let mut depth = 0_i32;
    let open = behind.char_indices().rev().find(|(_, letter)| {
        depth += match letter {
            ')' => 1,
            '(' => -1,
            _ => 0,
        };
        depth == 0 && *letter == '('
    });
    match open.filter(|_| behind.ends_with(')')) {
        Some((at, _)) => (behind[..at].trim(), &behind[at + 1..behind.len() - 1]),
        None => (behind, ""),
    }
}

/// The row of a flow, without source and times.
pub(super) fn row(columns: &Columns<'_>) -> FlowRow<'static> {
    let Columns { node, left, arrow, right, kind, verdict, policy, summary } = *columns;
    let end = |text: &'_ str| text.split(' ').next().unwrap_or_default().to_owned();
    let (left, right) = (end(left), end(right));
    let (left, right) = (endpoint(&left), endpoint(&right));
    let (source, destination) = if arrow == "<-" { (right, left) } else { (left, right) };
    let direction = ["INGRESS", "EGRESS"].into_iter().find(|word| kind.ends_with(word));
    let flags = summary.strip_prefix("TCP Flags: ").map(|flags| flags.replace(", ", ","));
    let protocol =
        summary.split(' ').next().filter(|word| matches!(*word, "TCP" | "UDP" | "ICMPv4" | "ICMPv6" | "SCTP"));
    let observation = match verdict {
        "DROPPED" => "drop".to_owned(),
        _ if kind.starts_with("to-") || kind.starts_with("from-") => kind.to_ascii_uppercase().replace('-', "_"),
        _ => kind.split([':', ' ']).next().unwrap_or_default().to_owned(),
    };
    let owned = |text: &str| Cow::Owned(text.to_owned());
    FlowRow {
        node: node.map(owned),
        verdict: owned(verdict),
        drop_reason: (verdict == "DROPPED").then(|| owned(kind)),
        source_address: source.address.map(owned),
        source_port: source.port,
        destination_address: destination.address.map(owned),
        destination_port: destination.port,
        protocol: protocol.map(owned),
        flags: flags.map(Into::into),
        is_reply: match arrow {
            "->" => Some(false),
            "<-" => Some(true),
            _ => None,
        },
        observation: Some(observation.into()),
        direction: direction.map(owned),
        source_pod: source.name.map(owned),
        destination_pod: destination.name.map(owned),
        summary: Some(if policy.is_empty() { owned(summary) } else { format!("{summary} {policy}").into() }),
        ..Default::default()
    }
}

/// Length of the time at the beginning of a line: `Mon DD HH:MM:SS.mmm`, RFC 3339, or RFC 1123 with a zone.
fn when_length(line: &str) -> Option<usize> {
    if line.get(..19).is_some_and(|when| instant::syslog(when, 2024, 0).is_some()) {
        return Some(19);
    }
    let blank = line.find(' ')?;
    let stamp = line[..blank].strip_suffix(':').unwrap_or(&line[..blank]);
    if instant::rfc3339(stamp.as_bytes()).is_some() {
        return Some(stamp.len());
    }
    let when = line.get(..31)?;
    rfc1123(when).map(|_| when.len())
}

/// `Mon, 02 Jan 2006 15:04:05 -0700`, ns.
fn rfc1123(when: &str) -> Option<i64> {
    let stamp = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(when).ok()?;
    i64::try_from(stamp.as_nanosecond()).ok()
}

/// Time of a flow as any form of text has it; null where year or zone are missing.
pub(super) fn time(context: &Context, when: &str) -> Option<i64> {
    if let Some(time) = instant::rfc3339(when.as_bytes()).or_else(|| rfc1123(when)) {
        return Some(time);
    }
    instant::syslog(when, context.year?, context.utc_offset?)
}

/// Whether a text is a time that `time` can read, given a year.
pub(super) fn is_time(when: &str) -> bool {
    when_length(when) == Some(when.len())
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

/// `EVENTS LOST: HUBBLE_RING_BUFFER CPU(0) 12`, and what a client says that does not know such events:
/// `unknown response type: &{LostEvents:source:HUBBLE_RING_BUFFER  num_events_lost:3}`.
pub(super) fn lost(line: &str) -> Option<u64> {
    if let Some((_, behind)) = line.split_once("num_events_lost") {
        let behind = behind.trim_start_matches(['"', ':', ' ']);
        return behind[..behind.bytes().take_while(u8::is_ascii_digit).count()].parse().ok();
    }
    line.split_once("EVENTS LOST: ")?.1.rsplit(' ').next()?.parse().ok()
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    let mut without_year = 0;
    for line in chunk.lines() {
        if line.bytes.trim_ascii().is_empty() {
            continue;
        }
        let text = line.text();
        let text = plain(&text);
        if is_heading(&text) {
            continue;
        }
        if let Some(count) = lost(text.trim_end()) {
            batch.record(None);
            batch.loss(LOST_FLOWS, count);
            continue;
        }
        let Some((when, row)) = flow(text.trim_end()) else {
            batch.reject(context, &line, "expected `Mon DD HH:MM:SS.mmm: source -> destination … VERDICT (summary)`");
            continue;
        };
        let time = time(context, when);
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
    fn verdicts_of_policies_are_whole_words() {
        for (line, expected) in [
            (
                "policy-verdict:L3-Only EGRESS ALLOWED BY audit-DENIED (CiliumNetworkPolicy) (TCP Flags: SYN)",
                "ALLOWED SYN",
            ),
            ("policy-verdict:none EGRESS AUDITED (TCP Flags: SYN)", "AUDITED SYN"),
            ("policy-verdict:none INGRESS AUDIT (TCP Flags: SYN, ACK)", "AUDIT SYN,ACK"),
            ("policy-verdict:all INGRESS DENIED BY a (x), b (y) (HTTP/1.1 GET http://x/(1))", "DENIED -"),
        ] {
            let (_, row) =
                flow(&format!("Feb  3 04:05:06.100: 10.9.0.1:40000 (ID:7) -> 10.9.0.2:80 (ID:8) {line}")).expect(line);
            assert_eq!(format!("{} {}", row.verdict, row.flags.as_deref().unwrap_or("-")), expected);
        }
        assert_eq!(super::lost("unknown response type: &{LostEvents:source:X  num_events_lost:3}"), Some(3));
    }

    #[test]
    fn a_table_and_colours_say_the_same() {
        let of = |line: &str| flow(&super::plain(line)).expect("a flow").1;
        let compact =
            of("Aug 27 08:40:09.757: demo/a:41022 (ID:7) -> demo/b:80 (ID:8) Policy denied DROPPED (TCP Flags: SYN)");
        let colours = of(
            "\x1b[2mAug 27 08:40:09.757\x1b[0m: \x1b[36mdemo/a\x1b[0m:41022 (ID:7) -> demo/b:80 (ID:8) Policy denied \x1b[31mDROPPED\x1b[0m (TCP Flags: SYN)",
        );
        let table =
            of("Aug 27 08:40:09.757   demo/a:41022 (ID:7)   demo/b:80   Policy denied   DROPPED   TCP Flags: SYN");
        assert_eq!(compact, colours);
        assert_eq!(compact, table);
        assert_eq!((table.source_port, table.drop_reason.as_deref()), (Some(41022), Some("Policy denied")));
        let with_node = of("Aug 27 08:40:09.757\tnode-a\tdemo/a:41022\tdemo/b\tto-endpoint\tFORWARDED\t");
        assert_eq!((with_node.node.as_deref(), with_node.summary.as_deref()), (Some("node-a"), Some("")));
        let text = "TIMESTAMP   SOURCE   DESTINATION   TYPE   VERDICT   SUMMARY\nAug 27 08:40:09.757   a/b:1   c/d:2   to-endpoint   FORWARDED   UDP\n";
        let batch = parse_text(&FORMAT, text);
        assert_eq!((batch.records, batch.rejected), (1, 0));
    }

    #[test]
    fn other_forms_of_time_have_a_year() {
        for when in ["2025-08-27T07:40:09.757Z", "2025-08-27T08:40:09.757+01:00", "Wed, 27 Aug 2025 09:40:09 +0200"] {
            let text = format!(
                "{when}: 10.0.2.79:35475 (ingress) -> demo/nginx-lpxdf:80 to-endpoint FORWARDED (UDP)\n{when}   demo/a:41022   demo/b:80   to-endpoint   FORWARDED   UDP\n"
            );
            let batch = parse_text(&FORMAT, &text);
            assert_eq!((batch.records, batch.rejected), (2, 0), "{when}");
            let seconds = batch.span.map(|span| (span.0 / 1_000_000_000, span.1 / 1_000_000_000));
            assert_eq!(seconds, Some((1_756_280_409, 1_756_280_409)), "{when}");
        }
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
