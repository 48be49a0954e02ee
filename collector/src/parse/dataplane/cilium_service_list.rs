//! `cilium-dbg service list`: what the agent means to be in the load-balancer maps.
//!
//! ```text
//! ID   Frontend                Service Type   Backend
//! 1    10.96.0.1:443/TCP       ClusterIP      1 => 172.30.0.1:6443/TCP (active)
//! 2    10.96.100.100:80/TCP    ClusterIP      1 => 10.244.0.121:8080/TCP (active)
//!                                             2 => 10.244.0.122:8080/TCP (terminating)
//! ```
//!
//! A backend that is terminating or quarantined gets no new connections: it is an `element`, not a `backend`. Frontends
//! without a protocol (older agents) are TCP. The first line of a frontend is two pieces: its own and that of its first
//! backend.

use std::ops::Range;

use syncline_schema::clock::ClockToken;

use crate::form::dissector::{Counters, Dissector, End, RuleFields, Section, lines, repeated};
use crate::form::stamp;
use crate::form::{Cut, Format, Head, Reads, Sniff};
use crate::parse::dataplane::rule_comment::address_and_port;

/// The format.
pub const FORMAT: Format = Format {
    kind: "cilium-service-list",
    title: "cilium-dbg service list, text: one file or a stream of snapshots",
    clock: ClockToken::Node,
    cut: Cut::Marks(stamp::MARK),
    sniff,
    reads: Reads::State(&DISSECTOR),
    sample: "# TIMESTAMP 1795408951.210283656\nID   Frontend                Service Type   Backend\n2    10.96.100.100:80/TCP    ClusterIP      1 => 10.244.0.121:8080/TCP (active)\n",
    recognised: "the column names `ID   Frontend   Service Type   Backend`",
    capture: "while :; do date '+# TIMESTAMP %s.%N'; cilium-dbg service list; sleep 0.2; done",
    proves: "which backends the agent gave each frontend, between a stamp and the next",
};

/// How its pieces are taken apart.
pub const DISSECTOR: Dissector = Dissector {
    format: "cilium-service-list",
    end,
    knows,
    again: |text| repeated(text, |line| is_header(line).then_some(line)),
    split,
    rounded: |_| 0,
    section,
    counters: |_| Counters::default(),
    fields,
};

fn is_header(line: &[u8]) -> bool {
    let text = String::from_utf8_lossy(line);
    let words: Vec<&str> = text.split_whitespace().collect();
    words.starts_with(&["ID", "Frontend", "Service", "Type", "Backend"])
}

fn sniff(head: &Head) -> Sniff {
    if stamp::tried_lines(head.bytes, head.whole).any(is_header) { Sniff::Yes } else { Sniff::No }
}

fn end(text: &[u8]) -> End {
    if text.split(|byte| *byte == b'\n').any(is_header) { End::Unmarked } else { End::Broken }
}

fn knows(line: &[u8]) -> bool {
    line.first().is_none_or(|first| first.is_ascii_digit() || b" \t#".contains(first)) || is_header(line)
}

fn split(text: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for line in lines(text) {
        let bytes = &text[line.clone()];
        let arrow = memchr::memmem::find(bytes, b" => ").unwrap_or(0);
        let number = bytes[..arrow].iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        // Blanks ahead of a backend's number stand for the frontend's columns.
        let cut = line.start + arrow - number;
        if number > 0 && cut > line.start {
            found.extend([line.start..cut, cut..line.end]);
        } else {
            found.push(line);
        }
    }
    found
}

/// `10.96.100.100:80/TCP`, from the piece ahead of a first backend.
fn frontend(piece: &str) -> Option<String> {
    let mut words = piece.split_whitespace();
    let (id, place) = (words.next()?, words.next()?);
    let plausible = id.bytes().all(|byte| byte.is_ascii_digit()) && place.contains(':') && place != "=>";
    plausible.then(|| if place.contains('/') { place.to_owned() } else { format!("{place}/TCP") })
}

fn section(section: &mut Section, piece: &[u8]) {
    if let Some(frontend) = frontend(&String::from_utf8_lossy(piece)) {
        *section = frontend;
    } else if is_header(piece) {
        section.clear();
    }
}

fn fields(_path: &str, section: &Section, piece: &[u8]) -> RuleFields {
    let text = String::from_utf8_lossy(piece);
    let protocol = section.trim_end_matches("/i").rsplit_once('/').map(|(_, protocol)| protocol.to_ascii_lowercase());
    let chain = (!section.is_empty()).then(|| section.clone());
    let found = RuleFields { kind: "other", chain, protocol, ..RuleFields::default() };
    let place = |place: &str, kind| {
        let (address, port) = address_and_port(place.split('/').next().unwrap_or(place));
        RuleFields { kind, address: Some(address), port, ..found.clone() }
    };
    if let Some((_, backend)) = text.split_once(" => ") {
        let mut words = backend.split_whitespace();
        let address = words.next().unwrap_or_default();
        let gone = matches!(words.next(), Some("(terminating)" | "(quarantined)" | "(maintenance)"));
        return place(address, if gone { "element" } else { "backend" });
    }
    match frontend(&text) {
        Some(frontend) => place(&frontend, "frontend"),
        None => found,
    }
}

#[cfg(test)]
mod tests {
    use super::DISSECTOR;
    use crate::form::dissector::check::{dissect, shape};

    #[test]
    fn frontends_and_backends_are_pieces() {
        let text = "ID   Frontend                Service Type   Backend\n2    10.96.100.100:80/TCP    ClusterIP      1 => 10.244.0.121:8080/TCP (active)\n                                            2 => 10.244.0.122:8080/TCP (terminating)\n3    10.96.0.10:53           ClusterIP      \n";
        let found: Vec<String> = dissect(&DISSECTOR, "x", text.as_bytes()).iter().map(shape).collect();
        let found: Vec<&str> = found.iter().map(String::as_str).filter(|shape| !shape.starts_with("other")).collect();
        assert_eq!(
            found,
            [
                "frontend - 10.96.100.100:80/TCP - - tcp 10.96.100.100:80 -",
                "backend - 10.96.100.100:80/TCP - - tcp 10.244.0.121:8080 -",
                "element - 10.96.100.100:80/TCP - - tcp 10.244.0.122:8080 -",
                "frontend - 10.96.0.10:53/TCP - - tcp 10.96.0.10:53 -",
            ]
        );
    }
}
