//! `iptables -L CHAIN -v -n -x [--line-numbers]`: chains as people look at them.
//!
//! ```text
//! # TIMESTAMP 1795407710.654642669
//! Chain KUBE-SVC-YEZFJYGKNSPCOFP3 (1 references)
//! num      pkts      bytes target     prot opt in     out     source               destination
//! 1           0        0 KUBE-MARK-MASQ  6    --  *      *      !10.244.0.0/16        10.96.100.100        /* default/test:http cluster IP */ tcp dpt:80
//! ```

use syncline_schema::clock::ClockToken;

use super::iptables_save::{address_and_port, service_of};
use super::snapshot::{Counters, Dissector, RuleFields, Section, lines};
use super::{Cut, Format, Head, Sniff, stamped};

/// The format.
pub const IPTABLES_LIST: Format = Format {
    kind: "iptables-list",
    title: "iptables -L -v -n -x, one chain or a table",
    clock: ClockToken::Node,
    cut: Cut::Marks(stamped::MARK),
    sniff,
    parse: |context, chunk, batch| {
        stamped::push(context, chunk, "iptables-list", |text| !text.trim_ascii().is_empty(), batch)
    },
    sample: "# TIMESTAMP 1795407710.654642669\nChain KUBE-SVC-YEZFJYGKNSPCOFP3 (1 references)\nnum      pkts      bytes target     prot opt in     out     source               destination",
    recognised: "lines `Chain NAME (…)` with a header of columns below",
    capture: "while :; do echo \"# TIMESTAMP $(date +%s.%N)\"; iptables -w -t nat -L KUBE-SVC-… -v -n -x --line-numbers; sleep 0.1; done",
    proves: "which endpoints a Service's chain sent connections to at each snapshot",
};

/// How a snapshot is taken apart.
pub const DISSECTOR: Dissector = Dissector { format: "iptables-list", split: lines, section, counters, fields };

fn sniff(head: &Head) -> Sniff {
    let body = stamped::behind_stamp(head.bytes);
    let mut lines = body.split(|byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default();
    let second = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    if first.starts_with(b"Chain ") && second.contains("target") && second.contains("prot") {
        Sniff::Yes
    } else {
        Sniff::No
    }
}

fn section(section: &mut Section, piece: &[u8]) {
    if let Some(rest) = piece.strip_prefix(b"Chain ") {
        *section = String::from_utf8_lossy(rest).split_whitespace().next().unwrap_or_default().to_owned();
    }
}

/// Fields of a line: start and end of each run of other than blanks.
fn runs(piece: &[u8]) -> Vec<(usize, usize)> {
    let mut runs = Vec::new();
    let mut from = None;
    for (at, byte) in piece.iter().enumerate() {
        match (byte.is_ascii_whitespace(), from) {
            (false, None) => from = Some(at),
            (true, Some(begin)) => {
                runs.push((begin, at));
                from = None;
            }
            _ => {}
        }
    }
    runs.extend(from.map(|begin| (begin, piece.len())));
    runs
}

fn is_number(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

/// Index of the packet counter among the fields: 1 with line numbers, 0 without; none where counters are rounded.
fn packets_at(piece: &[u8], runs: &[(usize, usize)]) -> Option<usize> {
    let number = |at: usize| runs.get(at).is_some_and(|(from, to)| is_number(&piece[*from..*to]));
    if number(0) && number(1) && number(2) {
        // A target is never a number, so three numbers are line number, packets, bytes.
        Some(1)
    } else if number(0) && number(1) {
        Some(0)
    } else {
        None
    }
}

fn counters(piece: &[u8]) -> Counters {
    if piece.starts_with(b"Chain") || piece.starts_with(b"num") {
        return Counters::default();
    }
    let runs = runs(piece);
    let Some(at) = packets_at(piece, &runs) else { return Counters::default() };
    // Padding belongs to the counter: from behind the field before it. A first column has none.
    let padded = |at: usize| (if at == 0 { 0 } else { runs[at - 1].1 + 1 }).min(runs[at].0);
    Counters { packets: Some(padded(at)..runs[at].1), bytes: Some(padded(at + 1)..runs[at + 1].1) }
}

fn fields(_path: &str, section: &Section, piece: &[u8]) -> RuleFields {
    let text = String::from_utf8_lossy(piece).into_owned();
    let chain = (!section.is_empty()).then(|| section.clone());
    if text.starts_with("Chain ") {
        return RuleFields { kind: "chain", chain, ..RuleFields::default() };
    }
    let runs = runs(piece);
    let word = |at: usize| runs.get(at).map(|(from, to)| String::from_utf8_lossy(&piece[*from..*to]).into_owned());
    let Some(at) = packets_at(piece, &runs).map(|at| at + 2) else {
        return RuleFields { kind: "other", chain, ..RuleFields::default() };
    };
    let comment =
        text.split_once("/*").and_then(|(_, rest)| rest.split_once("*/")).map(|(comment, _)| comment.trim().to_owned());
    let mut found = RuleFields {
        kind: "rule",
        chain,
        target: word(at),
        service: comment.as_deref().and_then(service_of),
        protocol: word(at + 1).map(|protocol| match protocol.as_str() {
            "6" => "tcp".to_owned(),
            "17" => "udp".to_owned(),
            other => other.to_ascii_lowercase(),
        }),
        ..RuleFields::default()
    };
    let shown = comment.as_deref().and_then(|comment| comment.split_once("-> ")).map(|(_, to)| to.to_owned());
    let translated = text.split_once(" to:").and_then(|(_, to)| to.split_whitespace().next()).map(str::to_owned);
    if let Some((address, port)) = translated.or(shown).and_then(|to| address_and_port(to.trim())) {
        (found.address, found.port) = (Some(address), Some(port));
    } else if section == "KUBE-SERVICES" {
        found.address = word(at + 6).map(|to| to.split('/').next().unwrap_or_default().to_owned());
        found.port = text.split_once("dpt:").and_then(|(_, port)| port.split_whitespace().next()?.parse().ok());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_with_their_padding() {
        let line = b"1        2218   133540 KUBE-SVC-YEZ  6    --  *      *       0.0.0.0/0            10.96.100.100        /* default/test:http cluster IP */ tcp dpt:80\n";
        let found = counters(line);
        assert_eq!(found.packets.map(|range| line[range].to_vec()), Some(b"       2218".to_vec()));
        let fields = fields("", &"KUBE-SERVICES".to_owned(), line);
        assert_eq!(
            (fields.target.as_deref(), fields.address.as_deref(), fields.port),
            (Some("KUBE-SVC-YEZ"), Some("10.96.100.100"), Some(80))
        );
        assert_eq!(fields.service.as_deref(), Some("default/test:http"));
    }
}
