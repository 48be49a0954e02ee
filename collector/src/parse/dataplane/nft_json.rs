//! `nft -j list ruleset`, `nft -j list table`, `nft -j list chain`: JSON.
//!
//! ```text
//! # TIMESTAMP 1795410230.527218371
//! {"nftables": [{"metainfo": {"version": "1.1.7", …}}, {"table": {"family": "ip", "name": "kube-proxy", "handle": 31}}, …
//!  {"map": {"family": "ip", "name": "service-ips", "table": "kube-proxy", …, "elem": [[{"concat": ["10.96.0.1", "tcp", 443]}, {"goto": {"target": "service-…"}}], …]}},
//!  {"rule": {"family": "ip", "table": "kube-proxy", "chain": "service-…", "handle": 70, "expr": [… {"dnat": {"addr": {"map": {…, "data": {"set": [[0, {"concat": ["10.244.0.121", 8080]}]]}}}}}]}}]}
//! ```
//!
//! One object on a line as nft prints it, or over many lines (`jq`). Pieces are the objects of the list; elements of a
//! set or map, and of the list within a rule, are pieces of their own, as is what stands between them.

use std::collections::HashSet;
use std::ops::Range;

use serde_json::Value;
use syncline_schema::clock::ClockToken;

use crate::form::dissector::{Counters, Dissector, End, RuleFields, Section, counters_behind, documents, lines};
use crate::form::stamp;
use crate::form::{Cut, Format, Head, Reads, Sniff};
use crate::parse::dataplane::nft_names::chain_name;
use crate::parse::dataplane::nft_text::{finish, parts};
use crate::parse::dataplane::rule_comment;

/// The format.
pub const FORMAT: Format = Format {
    kind: "nft-json",
    title: "nft -j list ruleset, table or chain: JSON, one file or a stream of snapshots",
    clock: ClockToken::Node,
    cut: Cut::Marks(stamp::MARK),
    sniff,
    reads: Reads::State(&DISSECTOR),
    sample: "# TIMESTAMP 1795410230.527218371\n{\"nftables\": [{\"metainfo\": {\"version\": \"1.1.7\", \"json_schema_version\": 1}}, {\"rule\": {\"family\": \"ip\", \"table\": \"kube-proxy\", \"chain\": \"service-JKB34KST-default/test/tcp/http\", \"handle\": 70, \"expr\": [{\"dnat\": {\"family\": \"ip\", \"addr\": {\"map\": {\"key\": {\"numgen\": {\"mode\": \"random\", \"mod\": 1, \"offset\": 0}}, \"data\": {\"set\": [[0, {\"concat\": [\"10.244.0.121\", 8080]}]]}}}}}]}}]}\n",
    recognised: "a JSON object whose first key is `nftables`",
    capture: "while :; do date '+# TIMESTAMP %s.%N'; nft -j list table ip kube-proxy; sleep 0.1; done",
    proves: "which endpoints each Service's chain held, between a stamp and the next; how many elements a change touched",
};

/// How its pieces are taken apart.
pub const DISSECTOR: Dissector =
    Dissector { format: "nft-json", end, knows: |_| true, again, split, rounded: |_| 0, section, counters, fields };

/// Keys of the objects in the list.
const OBJECTS: [&str; 9] = ["metainfo", "table", "chain", "set", "map", "rule", "counter", "flowtable", "ct helper"];
/// Brackets within brackets: a rule has some ten.
const DEEPEST: usize = 512;

fn sniff(head: &Head) -> Sniff {
    let mut text = head.bytes.trim_ascii_start();
    while text.starts_with(b"#") {
        let Some(end) = memchr::memchr(b'\n', text) else { return Sniff::No };
        text = text[end..].trim_ascii_start();
    }
    let key = text.strip_prefix(b"{").map(<[u8]>::trim_ascii_start);
    if key.is_some_and(|key| key.starts_with(b"\"nftables\"")) { Sniff::Yes } else { Sniff::No }
}

fn end(text: &[u8]) -> End {
    let (cuts, closed) = cuts(text);
    if closed && !cuts.is_empty() { End::Marked } else { End::Broken }
}

/// A document with a chain (or a map) that an earlier one had: several chains of one moment are several documents.
fn again(text: &[u8]) -> Vec<usize> {
    let starts = documents(text);
    if starts.is_empty() {
        return Vec::new();
    }
    let ends = starts.iter().copied().skip(1).chain([text.len()]);
    let first = starts.first().copied().unwrap_or(text.len());
    let mut seen = opened(&text[..first]);
    let mut found = Vec::new();
    for (start, end) in starts.iter().copied().zip(ends) {
        let own = opened(&text[start..end]);
        if own.iter().any(|one| seen.contains(one)) {
            found.push(start);
            seen.clear();
        }
        seen.extend(own);
    }
    found
}

/// Chains, maps and sets of a document: the text between the key and the handle.
fn opened(document: &[u8]) -> HashSet<&[u8]> {
    let keys = [&b"{\"chain\": {"[..], b"{\"map\": {", b"{\"set\": {"];
    let behind = |key: &'static [u8]| {
        memchr::memmem::find_iter(document, key).map(move |at| {
            let rest = &document[at..document.len().min(at + 400)];
            &rest[..memchr::memmem::find(rest, b"\"handle\"").unwrap_or(rest.len())]
        })
    };
    keys.into_iter().flat_map(behind).collect()
}

/// A container that is open while the text is scanned.
struct Open {
    array: bool,
    /// The key that it stands under.
    key: Key,
    /// Values begun in it.
    values: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Ruleset,
    /// `elem`: elements of a set or map.
    Elements,
    /// `set`: a list within a rule.
    Set,
    Other,
}

/// Where pieces begin and end, and whether every bracket was closed.
fn cuts(text: &[u8]) -> (Vec<usize>, bool) {
    let mut scan = Scan { text, open: Vec::new(), cuts: Vec::new(), list: None, numbered: None, left_numbered: false };
    let mut key = Key::Other;
    let mut at = 0;
    let mut closed_all = false;
    while at < text.len() && scan.open.len() <= DEEPEST {
        match text[at] {
            b'"' => {
                let end = string_end(text, at);
                let colon =
                    text[end..].iter().position(|byte| !byte.is_ascii_whitespace()).map(|skip| text[end + skip]);
                let is_key = scan.open.last().is_some_and(|open| !open.array) && colon == Some(b':');
                if is_key {
                    key = match &text[at..end] {
                        b"\"nftables\"" => Key::Ruleset,
                        b"\"elem\"" => Key::Elements,
                        b"\"set\"" => Key::Set,
                        _ => Key::Other,
                    };
                } else {
                    scan.begin(at);
                    scan.end(end);
                    key = Key::Other;
                }
                at = end;
                continue;
            }
            byte @ (b'{' | b'[') => {
                scan.begin(at);
                let array = byte == b'[';
                scan.open(array, if array { key } else { Key::Other });
                key = Key::Other;
            }
            b'}' | b']' => {
                scan.close();
                scan.end(at + 1);
                closed_all = scan.open.is_empty();
            }
            b',' | b':' => {}
            byte if byte.is_ascii_whitespace() => {}
            _ => {
                let length = text[at..].iter().take_while(|byte| !b",]}: \t\r\n\"[{".contains(byte)).count().max(1);
                scan.begin(at);
                scan.end(at + length);
                key = Key::Other;
                at += length;
                continue;
            }
        }
        at += 1;
    }
    (scan.cuts, closed_all && scan.open.is_empty())
}

/// What the scanner of [`cuts`] remembers.
struct Scan<'a> {
    text: &'a [u8],
    open: Vec<Open>,
    cuts: Vec<usize>,
    /// Depth (number of open containers) inside the list whose elements are pieces.
    list: Option<usize>,
    /// Depth inside a numbered element of it: `[0, {…}]`.
    numbered: Option<usize>,
    /// Whether the value that just ended was such an element.
    left_numbered: bool,
}

impl Scan<'_> {
    /// A value begins.
    fn begin(&mut self, at: usize) {
        let depth = self.open.len();
        let Some(last) = self.open.last_mut() else { return };
        last.values += 1;
        if depth == 2 && last.key == Key::Ruleset {
            self.cuts.push(at);
        } else if self.list == Some(depth) {
            let rest = self.text[at..].strip_prefix(b"[").map(<[u8]>::trim_ascii_start).unwrap_or_default();
            if last.key == Key::Set && rest.first().is_some_and(u8::is_ascii_digit) {
                self.numbered = Some(depth + 1);
            } else {
                self.cuts.push(at);
            }
        } else if self.numbered == Some(depth) && last.values > 1 {
            // The number goes with what stands ahead of it.
            self.cuts.push(at);
        }
    }

    /// A value ended.
    fn end(&mut self, at: usize) {
        let depth = self.open.len();
        let left_numbered = std::mem::take(&mut self.left_numbered);
        let Some(last) = self.open.last() else { return };
        let whole = (depth == 2 && last.key == Key::Ruleset) || (self.list == Some(depth) && !left_numbered);
        if whole || (self.numbered == Some(depth) && last.values > 1) {
            self.cuts.push(at);
        }
    }

    fn open(&mut self, array: bool, key: Key) {
        self.open.push(Open { array, key, values: 0 });
        let depth = self.open.len();
        if matches!(key, Key::Elements | Key::Set) && self.list.is_none() && depth > 3 {
            self.list = Some(depth);
        }
    }

    fn close(&mut self) {
        let depth = self.open.len();
        if self.list == Some(depth) {
            self.list = None;
        }
        if self.numbered == Some(depth) {
            self.numbered = None;
            self.left_numbered = true;
        }
        self.open.pop();
    }
}

/// The end of the string that begins at `at`.
fn string_end(text: &[u8], at: usize) -> usize {
    let mut end = at + 1;
    while let Some(byte) = text.get(end) {
        match byte {
            b'\\' => end += 2,
            b'"' => return end + 1,
            _ => end += 1,
        }
    }
    text.len()
}

fn split(text: &[u8]) -> Vec<Range<usize>> {
    let (cuts, _) = cuts(text);
    if cuts.is_empty() {
        return lines(text);
    }
    let mut start = 0;
    let mut ranges = Vec::with_capacity(cuts.len() + 1);
    for cut in cuts.into_iter().chain([text.len()]) {
        if cut > start && cut <= text.len() {
            ranges.push(start..cut);
            start = cut;
        }
    }
    ranges
}

/// The key of an object in the list, if the piece begins one.
fn object(text: &str) -> Option<&'static str> {
    let rest = text.strip_prefix('{')?.trim_start().strip_prefix('"')?;
    OBJECTS.into_iter().find(|key| rest.strip_prefix(*key).is_some_and(|rest| rest.starts_with('"')))
}

/// The string behind a key, where it first stands.
fn string_behind<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut rest = text;
    loop {
        let (_, behind) = rest.split_once(&format!("\"{key}\""))?;
        if let Some(value) = behind.trim_start().strip_prefix(':') {
            return value.trim_start().strip_prefix('"')?.split('"').next();
        }
        rest = behind;
    }
}

/// Protocol that a rule matches by `{"meta": {"key": "l4proto"}}, "right": "tcp"`.
fn protocol(text: &str) -> Option<&str> {
    let (_, behind) = text.split_once("\"l4proto\"")?;
    string_behind(behind, "right").filter(|word| ["tcp", "udp", "sctp"].contains(word))
}

/// As the section of nft's text: `ip kube-proxy|chain NAME|{tcp`.
fn section(section: &mut Section, piece: &[u8]) {
    if piece.first() != Some(&b'{') {
        return;
    }
    let text = String::from_utf8_lossy(piece);
    let Some(kind) = object(&text) else { return };
    section.clear();
    let string = |key| string_behind(&text, key).unwrap_or_default();
    match kind {
        "metainfo" => {}
        "table" => *section = format!("{} {}", string("family"), string("name")),
        "rule" => {
            let protocol = protocol(&text).unwrap_or_default();
            *section = format!("{} {}|chain {}|{{{protocol}", string("family"), string("table"), string("chain"));
        }
        other => *section = format!("{} {}|{other} {}|{{", string("family"), string("table"), string("name")),
    }
}

fn counters(piece: &[u8]) -> Counters {
    if memchr::memmem::find(piece, b"\"counter\"").is_none() {
        return Counters::default();
    }
    counters_behind(piece, b"\"packets\": ", b"\"bytes\": ")
}

fn fields(_path: &str, section: &Section, piece: &[u8]) -> RuleFields {
    let text = String::from_utf8_lossy(piece);
    let (table, keyword, name, protocol_of_rule) = parts(section);
    let chain = (!name.is_empty()).then(|| name.to_owned());
    let other = RuleFields { kind: "other", table: table.clone(), chain: chain.clone(), ..RuleFields::default() };
    match object(&text) {
        Some("rule") => {
            let found = RuleFields { kind: "rule", protocol: protocol_of_rule, ..other };
            return rule(found, &text);
        }
        Some("chain") => return RuleFields { kind: "chain", ..other },
        Some(_) => return other,
        None => {}
    }
    match serde_json::from_str::<Value>(&text) {
        Ok(value) if !keyword.is_empty() => {
            let mut found = RuleFields { kind: "element", protocol: protocol_of_rule, ..other };
            element(&mut found, keyword, &value);
            found
        }
        _ => other,
    }
}

/// A whole rule, or the head of one with a list in it (which is no JSON by itself).
fn rule(mut found: RuleFields, text: &str) -> RuleFields {
    let name = found.chain.as_deref().and_then(chain_name);
    if let Some(name) = name {
        found.service = name.service;
        found.protocol = found.protocol.or(name.protocol);
    }
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    // A rule of iptables' nft mode names its Service by address and port, and its comment, if by anything.
    let is_iptables = found.chain.as_deref().is_some_and(|chain| chain.starts_with("KUBE-"));
    if let Some(comment) = value["rule"]["comment"].as_str().filter(|_| is_iptables) {
        found.service = rule_comment::service(comment).map(str::to_owned);
        if let Some((address, port)) = rule_comment::endpoint(comment) {
            (found.address, found.port) = (Some(address), port);
        }
    }
    let statements = value["rule"]["expr"].as_array().map(Vec::as_slice).unwrap_or_default();
    if statements.is_empty() && text.contains("\"dnat\"") {
        found.target = Some("DNAT".to_owned());
    }
    for statement in statements {
        if let Some(target) = jump(statement) {
            found.target = Some(target.to_owned());
        } else if let Some(condition) = statement.get("match").filter(|_| is_iptables) {
            matched(&mut found, condition);
        } else if statement["xt"]["name"] == "DNAT" {
            found.target = Some("DNAT".to_owned());
        } else if let Some(dnat) = statement.get("dnat") {
            found.target = Some("DNAT".to_owned());
            found.address = dnat["addr"].as_str().map(str::to_owned);
            found.port = dnat["port"].as_i64().and_then(|port| i32::try_from(port).ok());
        } else if let Some(map) = statement.get("vmap").and_then(|map| map["data"].as_str()) {
            found.target.get_or_insert_with(|| map.to_owned());
        } else if let Some(word) =
            ["masquerade", "reject", "drop", "accept", "return"].iter().find(|word| statement.get(**word).is_some())
        {
            found.target.get_or_insert_with(|| word.to_uppercase());
        }
    }
    found
}

/// `ip daddr 10.96.0.5`, `tcp dport 80`.
fn matched(found: &mut RuleFields, condition: &Value) {
    let (payload, right) = (&condition["left"]["payload"], &condition["right"]);
    if condition["op"] != "==" {
        return;
    }
    match (payload["protocol"].as_str(), payload["field"].as_str()) {
        (Some("ip" | "ip6"), Some("daddr")) => found.address = right.as_str().map(str::to_owned),
        (Some(protocol @ ("tcp" | "udp" | "sctp")), Some("dport")) => {
            found.protocol.get_or_insert_with(|| protocol.to_owned());
            found.port = right.as_i64().and_then(|port| i32::try_from(port).ok());
        }
        _ => {}
    }
}

/// Chain of a `goto` or `jump`.
fn jump(statement: &Value) -> Option<&str> {
    statement.get("goto").or_else(|| statement.get("jump"))?["target"].as_str()
}

/// An element: a value, a pair of key and verdict, or either within `{"elem": {"val": …, "comment": …}}`.
fn element(found: &mut RuleFields, keyword: &str, value: &Value) {
    let (mut key, verdict) = match value.as_array().map(Vec::as_slice) {
        Some([key, verdict]) => (key, Some(verdict)),
        _ => (value, Some(value)),
    };
    if let Some(wrapped) = key.get("elem") {
        found.service = wrapped["comment"].as_str().and_then(rule_comment::service).map(str::to_owned);
        key = &wrapped["val"];
    }
    found.target = verdict.and_then(jump).map(str::to_owned);
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let words: Vec<String> = match key["concat"].as_array() {
        Some(parts) => parts.iter().map(word).collect(),
        None if key.is_string() || key.is_number() => vec![word(key)],
        None => Vec::new(),
    };
    let parts: Vec<&str> = words.iter().map(String::as_str).collect();
    finish(found, keyword, &parts);
}

#[cfg(test)]
mod tests {
    use super::{DISSECTOR, FORMAT, cuts};
    use crate::form::Sniff;
    use crate::form::dissector::check::{dissect, shape};
    use crate::parse::dataplane::nft_text;
    use crate::parse::harness::{files, head, parse_text};

    const RULESET: &str = concat!(
        "{\"nftables\": [{\"metainfo\": {\"version\": \"1.1.7\"}}, {\"chain\": {\"family\": \"ip\", \"table\": \"kube-proxy\", \"name\": \"services\", \"handle\": 26}}, ",
        "{\"map\": {\"family\": \"ip\", \"name\": \"service-ips\", \"table\": \"kube-proxy\", \"type\": [\"ipv4_addr\", \"inet_proto\"], \"map\": \"verdict\", \"elem\": ",
        "[[{\"concat\": [\"10.96.100.100\", \"tcp\", 80]}, {\"goto\": {\"target\": \"service-JKB34KST-default/test/tcp/http\"}}], ",
        "[{\"elem\": {\"val\": {\"concat\": [\"10.107.174.82\", \"tcp\", 80]}, \"comment\": \"default/noendpoints:http\"}}, {\"goto\": {\"target\": \"reject-chain\"}}]]}}, ",
        "{\"rule\": {\"family\": \"ip\", \"table\": \"kube-proxy\", \"chain\": \"services\", \"handle\": 27, \"expr\": [{\"counter\": {\"packets\": 7, \"bytes\": 420}}, {\"jump\": {\"target\": \"x\"}}]}}, ",
        "{\"rule\": {\"family\": \"ip\", \"table\": \"kube-proxy\", \"chain\": \"service-JKB34KST-default/test/tcp/http\", \"handle\": 70, \"expr\": ",
        "[{\"match\": {\"op\": \"==\", \"left\": {\"meta\": {\"key\": \"l4proto\"}}, \"right\": \"tcp\"}}, {\"dnat\": {\"family\": \"ip\", \"addr\": {\"map\": {\"key\": {\"numgen\": {\"mod\": 2}}, \"data\": ",
        "{\"set\": [[0, {\"concat\": [\"10.244.0.121\", 8080]}], [1, {\"concat\": [\"10.244.0.125\", 8080]}]]}}}}}]}}]}\n"
    );

    #[test]
    fn brackets_within_brackets_end_where_no_rule_has_them() {
        let (cuts, closed) = super::cuts(format!("{{\"nftables\": [{}", "[".repeat(100_000)).as_bytes());
        assert!(!closed && cuts.len() < 10);
    }

    #[test]
    fn reads_objects_and_elements() {
        let batch = parse_text(&FORMAT, RULESET);
        assert!(batch.snapshots[0].complete);
        let found: Vec<String> = dissect(&DISSECTOR, "x", &batch.snapshots[0].text).iter().map(shape).collect();
        let found: Vec<&str> = found.iter().map(String::as_str).filter(|shape| !shape.starts_with("other")).collect();
        assert_eq!(
            found,
            [
                "chain ip kube-proxy services - - - - -",
                "frontend ip kube-proxy service-ips service-JKB34KST-default/test/tcp/http default/test:http tcp 10.96.100.100:80 -",
                "frontend ip kube-proxy service-ips reject-chain default/noendpoints:http tcp 10.107.174.82:80 -",
                "rule ip kube-proxy services x - - - - counters",
                "rule ip kube-proxy service-JKB34KST-default/test/tcp/http DNAT default/test:http tcp - -",
                "backend ip kube-proxy service-JKB34KST-default/test/tcp/http - default/test:http tcp 10.244.0.121:8080 -",
                "backend ip kube-proxy service-JKB34KST-default/test/tcp/http - default/test:http tcp 10.244.0.125:8080 -",
            ]
        );
    }

    #[test]
    fn damage_keeps_every_byte_and_is_seen() {
        for end in 0..RULESET.len() {
            dissect(&DISSECTOR, "cut", &RULESET.as_bytes()[..end]);
        }
        assert!(cuts(RULESET.as_bytes()).1 && !cuts(&RULESET.as_bytes()[..RULESET.len() - 2]).1);
        for text in ["{\"nftables\": [1, 2, {}]]]]", "]}{[", "{\"nftables\": [{\"set\": {\"elem\": [[[[", "\"\\"] {
            dissect(&DISSECTOR, text, text.as_bytes());
        }
    }

    #[test]
    fn text_and_json_of_one_ruleset_say_the_same() {
        let found = files(&["captures/nftables-scale-up-1/nft".to_owned()]);
        let backends = |dissector, name: &str| -> Option<Vec<String>> {
            let (name, bytes) = found.iter().find(|(path, _)| path.ends_with(name))?;
            let shapes = dissect(dissector, name, bytes).iter().map(shape).collect::<Vec<_>>();
            let mut kept: Vec<String> =
                shapes.into_iter().filter(|one| one.starts_with("backend") || one.starts_with("frontend")).collect();
            kept.sort();
            Some(kept)
        };
        let Some(text) = backends(&nft_text::DISSECTOR, "ruleset-after.txt") else { return };
        assert!(text.len() > 44, "{text:?}");
        assert_eq!(Some(text), backends(&DISSECTOR, "ruleset-after.json"));
        for (name, bytes) in &found {
            let wanted = name.contains(".json") && !name.contains("monitor");
            assert_eq!((FORMAT.sniff)(&head(name, bytes)) == Sniff::Yes, wanted, "{name}");
        }
    }
}
