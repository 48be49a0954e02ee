//! `cilium-dbg service list -o json`: what the agent means to be in the load-balancer maps, and what it has put there.
//!
//! ```text
//! [{"spec": {"backend-addresses": […], "flags": {…}, "frontend-address": {"ip": "10.96.0.1", "port": 443, "protocol": "TCP"}, "id": 1},
//!   "status": {"realized": {"backend-addresses": [{"ip": "172.18.0.2", "port": 6443, "state": "active"}], …}}}]
//! ```
//!
//! Keys are sorted, so the frontend of `spec` stands ahead of the realized backends: those are the ones that are
//! taken, and only while their state is active (a backend that is terminating or quarantined gets no new connections: it is an
//! `element`). What `spec` lists is kept as it is, as pieces of kind `other`.

use std::ops::Range;

use serde::Deserialize;
use syncline_schema::clock::ClockToken;

use crate::form::dissector::{Counters, Dissector, End, RuleFields, Section, documents};
use crate::form::stamp;
use crate::form::{Cut, Format, Head, Reads, Sniff};

/// The format.
pub const FORMAT: Format = Format {
    kind: "cilium-service-json",
    title: "cilium-dbg service list, JSON: one file or a stream of snapshots",
    clock: ClockToken::Node,
    cut: Cut::Marks(stamp::MARK),
    sniff,
    reads: Reads::State(&DISSECTOR),
    sample: "# TIMESTAMP 1795408951.210283656\n[{\"spec\":{\"frontend-address\":{\"ip\":\"10.96.0.1\",\"port\":443,\"protocol\":\"TCP\"},\"id\":1},\"status\":{\"realized\":{\"backend-addresses\":[{\"ip\":\"172.18.0.2\",\"port\":6443,\"state\":\"active\"}]}}}]\n",
    recognised: "a JSON array of objects with `spec`, `frontend-address` and `realized`",
    capture: "while :; do date '+# TIMESTAMP %s.%N'; cilium-dbg service list -o json; sleep 0.2; done",
    proves: "which backends the agent gave each frontend, between a stamp and the next",
};

/// How its pieces are taken apart.
pub const DISSECTOR: Dissector = Dissector {
    format: "cilium-service-json",
    end,
    knows: |_| true,
    again: documents,
    split,
    rounded: |_| 0,
    section,
    counters: |_| Counters::default(),
    fields,
};

/// What a frontend's place stands behind, and where its realized backends begin.
const SPEC: &[u8] = b"\"spec\"";
const STATUS: &[u8] = b"\"status\"";
const FRONTEND: &[u8] = b"\"frontend-address\"";
const BACKENDS: &[u8] = b"\"backend-addresses\"";

fn sniff(head: &Head) -> Sniff {
    let has = |mark: &[u8]| memchr::memmem::find(head.bytes, mark).is_some();
    let array = stamp::tried_lines(head.bytes, head.whole)
        .find(|line| !line.trim_ascii().is_empty() && !line.starts_with(b"#"))
        .is_some_and(|line| line.trim_ascii_start().starts_with(b"["));
    if array && has(SPEC) && has(FRONTEND) && has(BACKENDS) { Sniff::Yes } else { Sniff::No }
}

fn end(text: &[u8]) -> End {
    let text = text.trim_ascii();
    if text.ends_with(b"]") { End::Marked } else { End::Broken }
}

/// Cuts ahead of the keys that matter, and ahead of each object in an array of backends.
fn split(text: &[u8]) -> Vec<Range<usize>> {
    let mut cuts = vec![0];
    // Depth of braces and brackets; the depth within the array of backends, while in one.
    let (mut at, mut depth, mut backends) = (0, 0_usize, None);
    let mut opens_backends = false;
    while at < text.len() {
        match text[at] {
            b'"' => {
                let rest = &text[at..];
                if [SPEC, STATUS, FRONTEND].iter().any(|key| rest.starts_with(key)) {
                    cuts.push(at);
                }
                opens_backends = rest.starts_with(BACKENDS);
                at = string_end(text, at);
                continue;
            }
            b'{' | b'[' => {
                if text[at] == b'{' && backends == Some(depth) {
                    cuts.push(at);
                }
                depth += 1;
                if text[at] == b'[' && std::mem::take(&mut opens_backends) {
                    backends = Some(depth);
                }
            }
            b'}' | b']' => {
                if backends == Some(depth) {
                    backends = None;
                    cuts.push(at);
                }
                depth = depth.saturating_sub(1);
            }
            _ => {}
        }
        at += 1;
    }
    cuts.push(text.len());
    cuts.dedup();
    cuts.windows(2).map(|two| two[0]..two[1]).collect()
}

fn string_end(text: &[u8], from: usize) -> usize {
    let mut at = from + 1;
    while at < text.len() {
        match text[at] {
            b'\\' => at += 2,
            b'"' | b'\n' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

#[derive(Deserialize)]
struct Place {
    ip: String,
    #[serde(default)]
    port: u16,
    #[serde(default)]
    protocol: Option<String>,
    #[serde(default)]
    state: Option<String>,
}

/// The object that stands first in a piece, whatever follows.
fn place(piece: &[u8]) -> Option<Place> {
    let from = memchr::memchr(b'{', piece)?;
    let mut values = serde_json::Deserializer::from_slice(&piece[from..]).into_iter::<Place>();
    values.next()?.ok()
}

/// `10.96.0.1:443/TCP`, as the other lists of Cilium write a frontend.
fn name(place: &Place) -> String {
    let protocol = place.protocol.as_deref().unwrap_or("TCP").to_ascii_uppercase();
    let host = if place.ip.contains(':') { format!("[{}]", place.ip) } else { place.ip.clone() };
    format!("{host}:{}/{protocol}", place.port)
}

/// Ahead of the frontend nothing; then the frontend; within `status` the frontend behind a `>`.
fn section(section: &mut Section, piece: &[u8]) {
    if piece.starts_with(SPEC) || piece.trim_ascii_start().starts_with(b"[") {
        section.clear();
    } else if piece.starts_with(FRONTEND) && !section.starts_with('>') {
        *section = place(piece).map(|place| name(&place)).unwrap_or_default();
    } else if piece.starts_with(STATUS) && !section.is_empty() && !section.starts_with('>') {
        section.insert(0, '>');
    }
}

fn fields(_path: &str, section: &Section, piece: &[u8]) -> RuleFields {
    let realized = section.strip_prefix('>');
    let frontend = realized.unwrap_or(section);
    let chain = (!frontend.is_empty()).then(|| frontend.to_owned());
    let protocol = frontend.rsplit_once('/').map(|(_, protocol)| protocol.to_ascii_lowercase());
    let found = RuleFields { kind: "other", chain, protocol, ..RuleFields::default() };
    let of = |place: Place, kind| RuleFields {
        kind,
        address: Some(place.ip),
        port: Some(i32::from(place.port)),
        ..found.clone()
    };
    if piece.starts_with(FRONTEND) && realized.is_none() {
        return place(piece).map_or(found.clone(), |place| of(place, "frontend"));
    }
    match (realized, piece.starts_with(b"{").then(|| place(piece)).flatten()) {
        (Some(_), Some(place)) => {
            let active = place.state.as_deref().is_none_or(|state| state == "active");
            of(place, if active { "backend" } else { "element" })
        }
        _ => found,
    }
}

#[cfg(test)]
mod tests {
    use super::{DISSECTOR, FORMAT};
    use crate::form::Sniff;
    use crate::form::dissector::check::{dissect, shape};
    use crate::parse::harness::{head, parse_text};

    const COMPACT: &str = r#"[{"spec":{"backend-addresses":[{"ip":"10.244.0.1","port":80}],"flags":{"name":"web","type":"ClusterIP"},"frontend-address":{"ip":"10.96.0.9","port":80,"protocol":"UDP"},"id":7},"status":{"realized":{"backend-addresses":[{"ip":"10.244.0.1","nodeName":"{","port":8080,"state":"active"},{"ip":"10.244.0.2","port":8080,"state":"terminating"}],"flags":{"name":"web"},"frontend-address":{"ip":"10.96.0.9","port":80}}}},{"spec":{"frontend-address":{"ip":"fd00::9","port":80},"id":8},"status":{"realized":{"backend-addresses":[]}}}]"#;

    fn shapes(text: &str) -> Vec<String> {
        let pieces = dissect(&DISSECTOR, "x", text.as_bytes());
        pieces.iter().map(shape).filter(|shape| !shape.starts_with("other")).collect()
    }

    #[test]
    fn a_service_has_one_status_however_often_it_says_so() {
        let mut section = String::from("10.96.0.1:443/TCP");
        (0..1_000).for_each(|_| super::section(&mut section, b"\"status\": {}"));
        assert_eq!(section, ">10.96.0.1:443/TCP");
    }

    #[test]
    fn realized_backends_belong_to_their_frontend() {
        let expected = [
            "frontend - 10.96.0.9:80/UDP - - udp 10.96.0.9:80 -",
            "backend - 10.96.0.9:80/UDP - - udp 10.244.0.1:8080 -",
            "element - 10.96.0.9:80/UDP - - udp 10.244.0.2:8080 -",
            "frontend - [fd00::9]:80/TCP - - tcp fd00::9:80 -",
        ];
        assert_eq!(shapes(COMPACT), expected);
        let value: serde_json::Value = serde_json::from_str(COMPACT).expect("JSON");
        assert_eq!(shapes(&serde_json::to_string_pretty(&value).expect("JSON")), expected, "pretty-printed");
    }

    #[test]
    fn every_byte_is_in_one_piece_wherever_the_text_is_cut() {
        for end in 0..COMPACT.len() {
            let text = &COMPACT.as_bytes()[..end];
            let pieces = (DISSECTOR.split)(text);
            let joined: Vec<u8> = pieces.iter().flat_map(|piece| text[piece.clone()].to_vec()).collect();
            assert_eq!(joined, text, "cut at {end}");
            dissect(&DISSECTOR, "x", text);
        }
        let stream = format!("# TIMESTAMP 1.5\n{COMPACT}\n# TIMESTAMP 2.5\n{}", &COMPACT[..200]);
        assert_eq!((FORMAT.sniff)(&head("service-list.json", stream.as_bytes())), Sniff::Yes);
        let batch = parse_text(&FORMAT, &stream);
        let complete: Vec<bool> = batch.snapshots.iter().map(|snapshot| snapshot.complete).collect();
        assert_eq!(complete, [true, false]);
    }
}
