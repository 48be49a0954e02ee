//! `nft list ruleset`, `nft list table`, `nft list chain`, `nft list map`: text.
//!
//! ```text
//! # TIMESTAMP 1795410230.503735502
//! table ip kube-proxy {
//!     map service-ips {
//!         type ipv4_addr . inet_proto . inet_service : verdict
//!         elements = { 10.96.0.1 . tcp . 443 : goto service-2QRHZV4L-default/kubernetes/tcp/https,
//!                      10.96.100.100 . tcp . 80 : goto service-JKB34KST-default/test/tcp/http }
//!     }
//!     chain service-JKB34KST-default/test/tcp/http {
//!         meta l4proto tcp dnat ip to numgen random mod 2 map { 0 : 10.244.0.121 . 8080, 1 : 10.244.0.125 . 8080 }
//!     }
//! }
//! ```
//!
//! Pieces are lines, but an element of a list is a piece of its own, and so is what stands between two elements (the
//! comma, the line end, the next number): an endpoint that comes is one element more, not another line. Both generations
//! of kube-proxy's chains are read: a map of addresses in the Service's chain, and a verdict map (`vmap { 0 : goto
//! endpoint-… }`) to a chain for each endpoint. A listing whose braces do not match is incomplete.

use std::ops::Range;

use syncline_schema::clock::ClockToken;

use crate::form::dissector::{Counters, Dissector, End, RuleFields, Section, counters_behind};
use crate::form::stamp;
use crate::form::{Cut, Format, Head, Reads, Sniff};
use crate::parse::dataplane::nft_iptables::iptables_rule;
use crate::parse::dataplane::nft_listing::{again, knows};
use crate::parse::dataplane::nft_names::chain_name;
use crate::parse::dataplane::rule_comment;

/// The format.
pub const FORMAT: Format = Format {
    kind: "nft-text",
    title: "nft list ruleset, table, chain or map: text, one file or a stream of snapshots",
    clock: ClockToken::Node,
    cut: Cut::Marks(stamp::MARK),
    sniff,
    reads: Reads::State(&DISSECTOR),
    sample: "# TIMESTAMP 1795410230.503735502\ntable ip kube-proxy {\n\tchain service-JKB34KST-default/test/tcp/http {\n\t\tmeta l4proto tcp dnat ip to numgen random mod 1 map { 0 : 10.244.0.121 . 8080 }\n\t}\n}\n",
    recognised: "a line `table FAMILY NAME {` and blocks `chain NAME {`, `set NAME {`, `map NAME {` in it",
    capture: "while :; do date '+# TIMESTAMP %s.%N'; nft list table ip kube-proxy; sleep 0.1; done",
    proves: "which endpoints each Service's chain held, between a stamp and the next; how many elements a change touched",
};

/// How its pieces are taken apart.
pub const DISSECTOR: Dissector =
    Dissector { format: "nft-text", end, knows, again, split, rounded: |_| 0, section, counters, fields };

/// Families of nftables.
const FAMILIES: [&str; 6] = ["ip", "ip6", "inet", "arp", "bridge", "netdev"];

fn sniff(head: &Head) -> Sniff {
    let (mut tables, mut blocks, mut strange) = (0, 0, 0);
    let mut depth = 0_i32;
    for line in stamp::tried_lines(head.bytes, head.whole) {
        let text = String::from_utf8_lossy(line);
        match block(&text) {
            Some(("table", _)) => tables += 1,
            Some(_) if depth > 0 => blocks += 1,
            _ if depth == 0 && !line.is_empty() && !line.starts_with(b"#") => strange += 1,
            _ => {}
        }
        depth = (depth + braces(line)).max(0);
    }
    if tables > 0 && tables + blocks > 2 * strange { Sniff::Yes } else { Sniff::No }
}

fn end(text: &[u8]) -> End {
    let mut depth = 0;
    for line in text.split(|byte| *byte == b'\n') {
        depth += braces(line);
        if depth < 0 {
            return End::Broken;
        }
    }
    let table = text
        .split(|byte| *byte == b'\n')
        .any(|line| matches!(block(&String::from_utf8_lossy(line)), Some(("table", _))));
    if table && depth == 0 { End::Marked } else { End::Broken }
}

/// Opening less closing braces of a line, outside of quotes and comments.
fn braces(line: &[u8]) -> i32 {
    let (mut depth, mut quoted) = (0, false);
    for byte in line {
        match byte {
            b'"' => quoted = !quoted,
            b'{' if !quoted => depth += 1,
            b'}' if !quoted => depth -= 1,
            b'#' if !quoted => break,
            _ => {}
        }
    }
    depth
}

/// The keyword and name of a line that opens a block: `table ip kube-proxy {`, `chain services { # handle 26`.
pub fn block(line: &str) -> Option<(&'static str, String)> {
    let line = line.trim();
    let (inside, rest) = line.rsplit_once('{')?;
    let rest = rest.trim();
    if !(rest.is_empty() || rest.starts_with('#')) {
        return None;
    }
    let mut words = inside.split_whitespace();
    let keyword = words.next()?;
    let known = ["table", "chain", "map", "set", "flowtable", "counter", "quota", "limit"];
    let keyword = known.into_iter().find(|known| *known == keyword)?;
    let name: Vec<&str> = words.collect();
    match (keyword, name.as_slice()) {
        ("table", [family, name]) if FAMILIES.contains(family) => Some((keyword, format!("{family} {name}"))),
        ("table", [name]) => Some((keyword, format!("ip {name}"))),
        ("table", _) => None,
        (_, [name]) => Some((keyword, (*name).to_owned())),
        _ => None,
    }
}

/// Where the elements of a list begin in a line: behind `elements = {`, `map {` or `vmap {`, with text to follow.
fn list_in(line: &[u8]) -> Option<usize> {
    let at = [&b"elements = {"[..], b" map {", b" vmap {"]
        .iter()
        .filter_map(|opening| memchr::memmem::find(line, opening).map(|at| at + opening.len()))
        .min()?;
    let quoted = line[..at].iter().filter(|byte| **byte == b'"').count() % 2 == 1;
    (!quoted && line.get(at).is_some_and(|byte| matches!(byte, b' ' | b'\t'))).then_some(at)
}

fn split(text: &[u8]) -> Vec<Range<usize>> {
    let mut ends = Vec::new();
    let mut from = 0;
    while from < text.len() {
        let end = memchr::memchr(b'\n', &text[from..]).map_or(text.len(), |length| from + length + 1);
        match list_in(&text[from..end]) {
            Some(at) => from = elements(text, from + at, &mut ends),
            None => {
                ends.push(end);
                from = end;
            }
        }
    }
    let mut start = 0;
    let mut ranges = Vec::with_capacity(ends.len());
    for end in ends {
        if end > start {
            ranges.push(start..end);
            start = end;
        }
    }
    ranges
}

/// Cuts a list whose first element stands at `at` or behind; answers where the line behind its end begins.
fn elements(text: &[u8], mut at: usize, ends: &mut Vec<usize>) -> usize {
    loop {
        // Ahead of an element: blanks, line ends, commas, and the number of a numbered element.
        at += text[at..].iter().take_while(|byte| byte.is_ascii_whitespace() || **byte == b',').count();
        let digits = text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits > 0 && text[at + digits..].starts_with(b" : ") {
            at += digits + 3;
        }
        match text.get(at) {
            None => {
                ends.push(text.len());
                return text.len();
            }
            Some(b'}') => {
                let end = memchr::memchr(b'\n', &text[at..]).map_or(text.len(), |length| at + length + 1);
                // What stands between the last element and the brace goes with the brace.
                ends.push(end);
                return end;
            }
            Some(_) => {}
        }
        ends.push(at);
        let mut quoted = false;
        let length = text[at..]
            .iter()
            .position(|byte| {
                quoted ^= *byte == b'"';
                *byte == b'\n' || (!quoted && matches!(byte, b',' | b'}'))
            })
            .unwrap_or(text.len() - at);
        let value = text[at..at + length].trim_ascii_end().len();
        // A stray byte that is no element goes with what follows.
        at += value.max(1);
        ends.push(at);
    }
}

/// `ip kube-proxy|chain NAME|{tcp`: table, block, and an open list with the rule's protocol.
fn section(section: &mut Section, piece: &[u8]) {
    let text = String::from_utf8_lossy(piece);
    let trimmed = text.trim();
    if section.contains("|{") {
        if trimmed.trim_start_matches(',').trim_start().starts_with('}') {
            section.truncate(section.find("|{").unwrap_or(section.len()));
        }
        return;
    }
    match block(trimmed) {
        Some(("table", name)) => *section = name,
        Some((keyword, name)) => {
            section.truncate(section.find('|').unwrap_or(section.len()));
            section.push('|');
            section.push_str(keyword);
            section.push(' ');
            section.push_str(&name);
        }
        None if trimmed == "}" => section.truncate(section.find('|').unwrap_or(0)),
        None => {
            if let Some(at) = list_in(piece).filter(|at| piece[*at..].iter().all(|byte| is_lead(*byte))) {
                let protocol = protocol(&String::from_utf8_lossy(&piece[..at])).unwrap_or_default();
                section.push_str("|{");
                section.push_str(&protocol);
            }
        }
    }
}

/// Bytes that may stand between a list's brace and its first element.
fn is_lead(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte.is_ascii_digit() || byte == b':'
}

fn counters(piece: &[u8]) -> Counters {
    counters_behind(piece, b"counter packets ", b" bytes ")
}

/// Protocol that a rule matches: `meta l4proto tcp`, `tcp dport`.
fn protocol(rule: &str) -> Option<String> {
    let behind = rule.split_once("meta l4proto ").map(|(_, rest)| rest)?;
    let word = behind.split_whitespace().next()?;
    ["tcp", "udp", "sctp"].contains(&word).then(|| word.to_owned())
}

/// Table, block (`chain`, `map`, …), name and protocol of a section.
pub fn parts(section: &str) -> (Option<String>, &str, &str, Option<String>) {
    let mut parts = section.splitn(3, '|');
    let table = parts.next().filter(|table| !table.is_empty()).map(str::to_owned);
    let (keyword, name) = parts.next().and_then(|block| block.split_once(' ')).unwrap_or(("", ""));
    let protocol = parts.next().and_then(|list| list.strip_prefix('{')).filter(|one| !one.is_empty());
    (table, keyword, name, protocol.map(str::to_owned))
}

fn fields(_path: &str, section: &Section, piece: &[u8]) -> RuleFields {
    let text = String::from_utf8_lossy(piece);
    let line = text.trim();
    let (table, keyword, name, protocol_of_list) = parts(section);
    let in_list = section.contains("|{");
    let chain = (!name.is_empty()).then(|| name.to_owned());
    let other = RuleFields { kind: "other", table: table.clone(), chain: chain.clone(), ..RuleFields::default() };
    if let Some((opened, _)) = block(line) {
        return RuleFields { kind: if opened == "chain" { "chain" } else { "other" }, ..other };
    }
    let is_value =
        in_list && line.starts_with(|first: char| first.is_ascii_alphanumeric() || "\":[*@-".contains(first));
    // The head of a list is the rule itself.
    let head = list_in(piece).is_some();
    if is_value && !head {
        return element(table, keyword, name, protocol_of_list, line);
    }
    if keyword != "chain" || line.is_empty() || line.starts_with(['}', ',', '#']) || (in_list && !head) {
        return other;
    }
    if line.starts_with("type ") || line.starts_with("comment ") || line.starts_with("policy ") {
        return other;
    }
    rule(RuleFields { kind: "rule", table, chain, ..RuleFields::default() }, line)
}

fn rule(mut found: RuleFields, line: &str) -> RuleFields {
    let name = found.chain.as_deref().and_then(chain_name);
    found.protocol = protocol(line).or_else(|| name.as_ref().and_then(|name| name.protocol.clone()));
    found.service = name.and_then(|name| name.service);
    iptables_rule(&mut found, line);
    let quoted_away = line.split('"').step_by(2).collect::<Vec<_>>().join(" ");
    let words: Vec<&str> = quoted_away.split_whitespace().collect();
    for (at, word) in words.iter().enumerate() {
        match *word {
            "goto" | "jump" => found.target = words.get(at + 1).map(|target| (*target).to_owned()),
            "dnat" => {
                found.target = Some("DNAT".to_owned());
                // `dnat ip to`, `dnat ip addr . port to`
                let to =
                    words[at..].iter().take(8).position(|word| *word == "to").and_then(|to| words.get(at + to + 1));
                if let Some(place) = to.filter(|place| place.contains(['.', ':'])) {
                    let (address, port) = rule_comment::address_and_port(place);
                    (found.address, found.port) = (Some(address), port);
                }
            }
            // A comment of libxtables: `# DNAT to:10.0.0.1:8080`.
            _ if word.starts_with("to:") && found.chain.as_deref().is_some_and(|chain| chain.starts_with("KUBE-")) => {
                let (address, port) = rule_comment::address_and_port(&word[3..]);
                (found.address, found.port, found.target) = (Some(address), port, Some("DNAT".to_owned()));
            }
            "vmap" if found.target.is_none() => {
                found.target = words.get(at + 1).filter(|map| map.starts_with('@')).map(|map| (*map).to_owned());
            }
            "masquerade" | "reject" | "drop" | "accept" | "return" if found.target.is_none() => {
                found.target = Some(word.to_uppercase());
            }
            _ => {}
        }
    }
    found
}

/// One element of a list: an endpoint in a chain, an entry of kube-proxy's maps, or any other.
fn element(
    table: Option<String>,
    keyword: &str,
    name: &str,
    protocol_of_list: Option<String>,
    line: &str,
) -> RuleFields {
    let mut found = RuleFields {
        kind: "element",
        table,
        chain: Some(name.to_owned()),
        protocol: protocol_of_list,
        ..RuleFields::default()
    };
    let (key, verdict) = match line.split_once(" : ") {
        Some((key, verdict)) => (key, Some(verdict)),
        None => (line, None),
    };
    let verdict = verdict.or_else(|| (line.starts_with("goto ") || line.starts_with("jump ")).then_some(line));
    found.target = verdict.and_then(|verdict| Some(verdict.split_once(' ')?.1.trim().to_owned()));
    if let Some((_, comment)) = key.split_once("comment \"") {
        found.service = rule_comment::service(comment.trim_end_matches('"')).map(str::to_owned);
    }
    let plain = key.split(" comment ").next().unwrap_or(key);
    let parts: Vec<&str> = plain.split(" . ").map(|part| part.split_whitespace().next().unwrap_or(part)).collect();
    finish(&mut found, keyword, &parts);
    found
}

/// Fills in what an element's parts say: `[address, port]` of an endpoint, `[address, protocol, port]` of a Service.
pub fn finish(found: &mut RuleFields, keyword: &str, parts: &[&str]) {
    if keyword == "chain" {
        let owner = found.chain.as_deref().and_then(chain_name);
        let target = found.target.as_deref().and_then(chain_name);
        if let Some(target) = target {
            found.service = found.service.take().or_else(|| target.service.clone());
            found.protocol = found.protocol.take().or_else(|| target.protocol.clone());
            if let Some((address, port)) = target.endpoint {
                (found.kind, found.address, found.port) = ("backend", Some(address), Some(port));
            }
        } else if let [address, port] = parts
            && let (Ok(address), Ok(port)) = (address.parse::<std::net::IpAddr>(), port.parse())
        {
            (found.kind, found.address, found.port) = ("backend", Some(address.to_string()), Some(port));
        }
        if let Some(owner) = owner {
            found.service = found.service.take().or(owner.service);
            found.protocol = found.protocol.take().or(owner.protocol);
        }
        return;
    }
    if let Some(target) = found.target.as_deref().and_then(chain_name) {
        found.service = found.service.take().or(target.service);
        found.protocol = target.protocol;
    }
    match parts {
        [address, protocol, port] => {
            found.address = Some((*address).to_owned());
            found.protocol = Some((*protocol).to_owned());
            found.port = port.parse().ok();
        }
        [protocol, port] => {
            found.protocol = Some((*protocol).to_owned());
            found.port = port.parse().ok();
        }
        [address] => found.address = Some((*address).to_owned()),
        _ => {}
    }
    if matches!(found.chain.as_deref(), Some("service-ips" | "service-nodeports")) && found.target.is_some() {
        found.kind = "frontend";
    }
}

#[cfg(test)]
mod tests {
    use super::{DISSECTOR, FORMAT};
    use crate::form::Sniff;
    use crate::form::dissector::check::{dissect, shape};
    use crate::parse::harness::{corpus_files, files, head, parse_text};

    const RULESET: &str = concat!(
        "# TIMESTAMP 1795410230.503735502\ntable ip kube-proxy {\n\tcomment \"rules for kube-proxy\"\n\tmap service-ips {\n",
        "\t\ttype ipv4_addr . inet_proto . inet_service : verdict\n",
        "\t\telements = { 10.96.0.1 . tcp . 443 : goto service-2QRHZV4L-default/kubernetes/tcp/https,\n",
        "\t\t\t     10.96.100.100 . tcp . 80 : goto service-JKB34KST-default/test/tcp/http }\n\t}\n\n",
        "\tchain services {\n\t\tip daddr . meta l4proto . th dport vmap @service-ips\n\t}\n\n",
        "\tchain service-JKB34KST-default/test/tcp/http {\n",
        "\t\tmeta l4proto tcp dnat ip to numgen random mod 2 map { 0 : 10.244.0.121 . 8080, 1 : 10.244.0.125 . 8080 }\n\t}\n}\n",
    );

    const OLDER: &str = concat!(
        "table ip kube-proxy {\n\tchain service-ULMVA6XW-ns1/svc1/tcp/p80 {\n",
        "\t\tip daddr 172.30.0.41 tcp dport 80 ip saddr != 10.0.0.0/8 jump mark-for-masquerade\n",
        "\t\tnumgen random mod 1 vmap { 0 : goto endpoint-5OJB2KTY-ns1/svc1/tcp/p80__10.180.0.1/80 }\n\t}\n",
        "\tchain endpoint-5OJB2KTY-ns1/svc1/tcp/p80__10.180.0.1/80 {\n\t\tip saddr 10.180.0.1 jump mark-for-masquerade\n",
        "\t\tmeta l4proto tcp dnat to 10.180.0.1:80\n\t}\n}\n",
    );

    fn shapes(text: &str) -> Vec<String> {
        let batch = parse_text(&FORMAT, text);
        assert!(batch.snapshots[0].complete);
        let pieces = dissect(&DISSECTOR, "x", &batch.snapshots[0].text);
        pieces.iter().map(shape).filter(|shape| !shape.starts_with("other")).collect()
    }

    #[test]
    fn reads_addresses_in_the_chain_of_a_service() {
        assert_eq!(
            shapes(RULESET),
            [
                "frontend ip kube-proxy service-ips service-2QRHZV4L-default/kubernetes/tcp/https default/kubernetes:https tcp 10.96.0.1:443 -",
                "frontend ip kube-proxy service-ips service-JKB34KST-default/test/tcp/http default/test:http tcp 10.96.100.100:80 -",
                "chain ip kube-proxy services - - - - -",
                "rule ip kube-proxy services @service-ips - - - -",
                "chain ip kube-proxy service-JKB34KST-default/test/tcp/http - - - - -",
                "rule ip kube-proxy service-JKB34KST-default/test/tcp/http DNAT default/test:http tcp - -",
                "backend ip kube-proxy service-JKB34KST-default/test/tcp/http - default/test:http tcp 10.244.0.121:8080 -",
                "backend ip kube-proxy service-JKB34KST-default/test/tcp/http - default/test:http tcp 10.244.0.125:8080 -",
            ]
        );
    }

    #[test]
    fn reads_a_chain_for_each_endpoint() {
        let found = shapes(OLDER);
        assert_eq!(
            found[1..],
            [
                "rule ip kube-proxy service-ULMVA6XW-ns1/svc1/tcp/p80 mark-for-masquerade ns1/svc1:p80 tcp - -",
                "rule ip kube-proxy service-ULMVA6XW-ns1/svc1/tcp/p80 - ns1/svc1:p80 tcp - -",
                "backend ip kube-proxy service-ULMVA6XW-ns1/svc1/tcp/p80 endpoint-5OJB2KTY-ns1/svc1/tcp/p80__10.180.0.1/80 ns1/svc1:p80 tcp 10.180.0.1:80 -",
                "chain ip kube-proxy endpoint-5OJB2KTY-ns1/svc1/tcp/p80__10.180.0.1/80 - - - - -",
                "rule ip kube-proxy endpoint-5OJB2KTY-ns1/svc1/tcp/p80__10.180.0.1/80 mark-for-masquerade ns1/svc1:p80 tcp - -",
                "rule ip kube-proxy endpoint-5OJB2KTY-ns1/svc1/tcp/p80__10.180.0.1/80 DNAT ns1/svc1:p80 tcp 10.180.0.1:80 -",
            ]
        );
    }

    #[test]
    fn an_endpoint_more_is_an_element_more() {
        let pieces = |text: &str| {
            let ranges = (DISSECTOR.split)(text.as_bytes());
            ranges.into_iter().map(|range| text[range].to_owned()).collect::<Vec<_>>()
        };
        let list = "\t\tx map { 0 : 10.0.0.1 . 80, 1 : 10.0.0.2 . 80 }\n";
        assert_eq!(pieces(list), ["\t\tx map { 0 : ", "10.0.0.1 . 80", ", 1 : ", "10.0.0.2 . 80", " }\n"]);
        for broken in [
            "\t\tx map { 0 : 10.0.0.1",
            "elements = { a,,\n",
            "elements = { ",
            "elements = { \"a, b\" : c }",
            "map { } {",
        ] {
            assert_eq!(pieces(broken).concat(), broken);
        }
    }

    #[test]
    fn sees_what_is_missing() {
        let complete = |text: &str| parse_text(&FORMAT, text).snapshots[0].complete;
        assert!(complete(RULESET) && complete(&RULESET.replace('\n', "\r\n")));
        assert!(!complete(&RULESET[..RULESET.len() - 2]));
        assert!(!complete("# TIMESTAMP 1.0\nError: No such file or directory\n"));
        let counted = "table ip t {\n\tchain c {\n\t\tcounter packets 12 bytes 720 accept\n\t}\n}\n";
        assert_eq!(shapes(counted)[1], "rule ip t c ACCEPT - - - - counters");
    }

    #[test]
    fn real_files_are_recognised_and_keep_every_byte() {
        for (name, bytes) in files(&["captures/nftables-scale-up-1/nft".to_owned()]) {
            let wanted = !name.contains("json");
            assert_eq!((FORMAT.sniff)(&head(&name, &bytes)) == Sniff::Yes, wanted, "{name}");
            if wanted {
                let batch = parse_text(&FORMAT, &String::from_utf8_lossy(&bytes));
                let incomplete = batch.snapshots.iter().filter(|snapshot| !snapshot.complete).count();
                assert!(incomplete <= 1, "{name}: {incomplete}");
                for snapshot in batch.snapshots.iter().take(5) {
                    dissect(&DISSECTOR, &name, &snapshot.text);
                }
            }
        }
        for (name, bytes) in corpus_files(&["iptables", "nft", "ipvs", "ipset"]) {
            assert_eq!((FORMAT.sniff)(&head(&name, &bytes)) == Sniff::Yes, name.contains("kubeproxy"), "{name}");
            dissect(&DISSECTOR, &name, &bytes);
        }
    }
}
