//! `cilium-dbg bpf lb list` as JSON and as text.
//!
//! ```text
//! # TIMESTAMP 1795408951.210283656
//! {
//!   "10.96.100.100:80/TCP (0)": [
//!     "0.0.0.0:0 (2) (0) [ClusterIP, non-routable] "
//!   ],
//!   "10.96.100.100:80/TCP (1)": [
//!     "10.244.0.21:8080/TCP (2) (1)"
//!   ]
//! }
//! ```
//!
//! A key is `frontend (slot)`; behind a backend stand a revision of its Service and the slot again. Slot 0 is the
//! frontend itself. The list shows the backends that are leaving like all others: it proves that a backend has a
//! slot, not that new connections go there. Older agents list all backends of a frontend in one array.

use std::ops::Range;

use syncline_schema::clock::ClockToken;

use crate::form::dissector::{Counters, Dissector, End, RuleFields, Section, documents, repeated};
use crate::form::stamp;
use crate::form::{Cut, Format, Head, Reads, Sniff};
use crate::parse::dataplane::rule_comment::address_and_port;

/// The format.
pub const FORMAT: Format = Format {
    kind: "cilium-lb-list",
    title: "cilium-dbg bpf lb list, JSON or text, one file or a stream of snapshots",
    clock: ClockToken::Node,
    cut: Cut::Marks(stamp::MARK),
    sniff,
    reads: Reads::State(&DISSECTOR),
    sample: "# TIMESTAMP 1795408951.210283656\n{\n  \"10.96.100.100:80/TCP (1)\": [\n    \"10.244.0.21:8080/TCP (2) (1)\"\n  ]\n}\n",
    recognised: "keys `\"address:port/PROTOCOL (slot)\"`, or the column names `SERVICE ADDRESS … BACKEND ADDRESS (REVNAT_ID) (SLOT)`, or rows `address:port  address:port (id) (slot)`",
    capture: "while :; do date '+# TIMESTAMP %s.%N'; cilium-dbg bpf lb list -o json; sleep 0.2; done",
    proves: "which backends had a slot in the load-balancer map, between a stamp and the next (leaving ones included)",
};

/// How its pieces are taken apart.
pub const DISSECTOR: Dissector = Dissector {
    format: "cilium-lb-list",
    end,
    knows,
    again,
    split,
    rounded: |_| 0,
    section,
    counters: |_| Counters::default(),
    fields,
};

const TEXT_HEADER: &[u8] = b"SERVICE ADDRESS";

fn sniff(head: &Head) -> Sniff {
    let mut said = stamp::tried_lines(head.bytes, head.whole).filter(|line| !line.trim_ascii().is_empty());
    let mut said = said.by_ref().skip_while(|line| line.starts_with(b"#"));
    let first = said.next().unwrap_or_default();
    if first.starts_with(TEXT_HEADER) && memchr::memmem::find(first, b"BACKEND ADDRESS").is_some() {
        return Sniff::Yes;
    }
    let object = first.trim_ascii().strip_prefix(b"{");
    let entry = match object {
        Some(b"") => said.next().unwrap_or_default(),
        Some(rest) => rest,
        None => return if is_row(first) { Sniff::Yes } else { Sniff::No },
    };
    let key = entry.trim_ascii_start().strip_prefix(b"\"").unwrap_or_default();
    let key = &key[..memchr::memchr(b'"', key).unwrap_or(0)];
    let opens = memchr::memmem::find(entry, b"[").is_some();
    if opens && frontend(&String::from_utf8_lossy(key)).is_some() { Sniff::Yes } else { Sniff::No }
}

/// A row of the text form, of which `grep` leaves no column names: `10.96.0.1:443  172.18.0.2:6443 (1) (1)`.
fn is_row(line: &[u8]) -> bool {
    let (Some(key), Some(backend)) = parts(line) else { return false };
    let mut words = backend.split_whitespace();
    let backed = words.next().is_some_and(|place| frontend(place).is_some());
    let numbered = |word: &str| word.strip_prefix('(').and_then(|word| word.strip_suffix(')')?.parse::<u32>().ok());
    backed && frontend(&key).is_some() && words.by_ref().take(2).filter_map(numbered).count() == 2
}

fn end(text: &[u8]) -> End {
    let rows = || text.split(|byte| *byte == b'\n').any(is_row);
    let json = text.trim_ascii_start().starts_with(b"{");
    if memchr::memmem::find(text, TEXT_HEADER).is_some() || !json && rows() {
        return End::Unmarked;
    }
    let text = text.trim_ascii_end();
    match memchr::memchr(b'{', text) {
        Some(_) if text.ends_with(b"}") => End::Marked,
        _ => End::Broken,
    }
}

/// Lines of JSON; the column names; rows that begin with a frontend, or go on with the one above.
fn knows(line: &[u8]) -> bool {
    let json = |first: &u8| b"{}\"[]".contains(first);
    match line.first() {
        None | Some(b' ' | b'\t' | b'#') => true,
        Some(first) if json(first) => true,
        _ if line.starts_with(TEXT_HEADER) => true,
        _ => parts(line).0.is_some_and(|key| frontend(&key).is_some() || is_nothing(&key)),
    }
}

/// `:0/ANY (0)`: an entry of the map that no frontend has.
fn is_nothing(key: &str) -> bool {
    key.starts_with(":0/") || key.starts_with(":0 ")
}

/// The column names, or a document, that come again; where neither is there, a row with a slot that does.
fn again(text: &[u8]) -> Vec<usize> {
    if text.trim_ascii_start().starts_with(b"{") || memchr::memmem::find(text, b"\n{").is_some() {
        return documents(text);
    }
    let headed = memchr::memmem::find(text, TEXT_HEADER).is_some();
    repeated(text, |line| match headed {
        true => line.starts_with(TEXT_HEADER).then_some(line),
        false => (line.first().is_some_and(u8::is_ascii_digit) && is_row(line)).then_some(line),
    })
}

/// Cuts JSON behind each `{`, behind each comma and ahead of each `}`, so that an entry with one backend is one
/// piece and each further backend another; text outside of an object at its line ends.
fn split(text: &[u8]) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let (mut from, mut at, mut depth) = (0, 0, 0_usize);
    let mut cut = |from: &mut usize, to: usize| {
        if *from < to {
            pieces.push(*from..to);
            *from = to;
        }
    };
    while at < text.len() {
        match text[at] {
            b'"' if depth > 0 => at = string_end(text, at),
            b'{' => {
                depth += 1;
                at = blank_end(text, at + 1);
                cut(&mut from, at);
            }
            b',' if depth > 0 => {
                at = blank_end(text, at + 1);
                cut(&mut from, at);
            }
            b'}' if depth > 0 => {
                cut(&mut from, at);
                depth -= 1;
                at += 1;
            }
            b'\n' if depth == 0 => {
                at += 1;
                cut(&mut from, at);
            }
            _ => at += 1,
        }
    }
    cut(&mut from, text.len());
    pieces
}

/// Offset behind the closing quote of the string that opens at `from`. A string never runs over a line end, so that
/// one that was cut off does not swallow the rest.
fn string_end(text: &[u8], from: usize) -> usize {
    let mut at = from + 1;
    while at < text.len() {
        match text[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            b'\n' => return at,
            _ => at += 1,
        }
    }
    text.len()
}

/// Offset behind the blanks at `from`, up to and with one line end.
fn blank_end(text: &[u8], from: usize) -> usize {
    let blanks = text[from..].iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r')).count();
    match text.get(from + blanks) {
        Some(b'\n') => from + blanks + 1,
        _ => from,
    }
}

/// `address:port/PROTOCOL (slot)`: frontend, address, port, protocol, slot. The slot may be absent.
struct Address {
    name: String,
    address: String,
    port: Option<i32>,
    protocol: Option<String>,
    slot: Option<i32>,
}

fn frontend(key: &str) -> Option<Address> {
    let (name, rest) = key.trim().split_once(' ').unwrap_or((key.trim(), ""));
    let slot =
        rest.trim().strip_prefix('(').and_then(|slot| slot.split_once(')')).and_then(|(slot, _)| slot.parse().ok());
    let (place, protocol) = name.split_once('/').map_or((name, None), |(place, protocol)| (place, Some(protocol)));
    let (address, port) = address_and_port(place);
    let plausible =
        port.is_some() && address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'.' || byte == b':');
    // `/TCP/i`: the entry for clients within the cluster.
    let protocol =
        protocol.map(|word| word.trim_end_matches("/i")).filter(|word| *word != "ANY").map(str::to_ascii_lowercase);
    (plausible && !address.is_empty()).then(|| Address { name: name.to_owned(), address, port, protocol, slot })
}

/// The frontend's key and the backend of a piece, as text.
fn parts(piece: &[u8]) -> (Option<String>, Option<String>) {
    let text = String::from_utf8_lossy(piece);
    if !text.contains('"') {
        // Text form: two columns parted by two blanks or more. The frontend is not repeated for further rows by some versions.
        let line = text.trim_end();
        return match line.trim_start().split_once("  ") {
            Some((key, rest)) if !line.starts_with(' ') => (Some(key.to_owned()), Some(rest.trim().to_owned())),
            _ if line.starts_with(' ') => (None, Some(line.trim().to_owned())),
            _ => (None, None),
        };
    }
    let mut strings = text.split('"').skip(1).step_by(2).map(str::to_owned);
    let behind = text.rsplit('"').next().unwrap_or_default().trim_start();
    let first = strings.next();
    match strings.next() {
        Some(second) => (first, Some(second)),
        None if behind.starts_with(':') => (first, None),
        None => (None, first),
    }
}

fn section(section: &mut Section, piece: &[u8]) {
    if let Some(found) = parts(piece).0.as_deref().and_then(frontend) {
        *section = found.name;
    }
}

fn fields(_path: &str, section: &Section, piece: &[u8]) -> RuleFields {
    let other = RuleFields { kind: "other", ..RuleFields::default() };
    let (key, backend) = parts(piece);
    let key = key.as_deref().and_then(frontend);
    let Some(backend) = backend else { return other };
    let Some(owner) = frontend(section) else { return other };
    // `10.244.0.21:8080/TCP (2) (1)`: revision, then slot; `backend 4230 not found` where it went while it was read.
    let slot_behind =
        || backend.split('(').nth(2).and_then(|rest| rest.split_once(')')).and_then(|(slot, _)| slot.parse().ok());
    let slot = key.and_then(|key| key.slot).or_else(slot_behind);
    let found = backend.split_whitespace().next().and_then(frontend);
    let chain = Some(section.clone());
    let is_frontend = slot == Some(0) || found.as_ref().is_some_and(|one| one.port == Some(0));
    if is_frontend {
        return RuleFields {
            kind: "frontend",
            chain,
            protocol: owner.protocol,
            address: Some(owner.address),
            port: owner.port,
            slot: Some(0),
            ..RuleFields::default()
        };
    }
    RuleFields {
        kind: "backend",
        chain,
        protocol: owner.protocol,
        port: found.as_ref().and_then(|one| one.port),
        address: found.map(|one| one.address),
        slot,
        ..RuleFields::default()
    }
}

#[cfg(test)]
mod tests {
    use super::{DISSECTOR, FORMAT};
    use crate::form::Sniff;
    use crate::form::dissector::check::{dissect, shape};
    use crate::parse::harness::{corpus_files, files, head, parse_text};

    const JSON: &str = "{\n  \"10.96.0.1:443/TCP (0)\": [\n    \"0.0.0.0:0 (7) (0) [ClusterIP, non-routable] \"\n  ],\n  \"10.96.0.1:443/TCP (1)\": [\n    \"172.30.0.1:6443/TCP (7) (1)\"\n  ]\n}\n\n";

    fn shapes(text: &str) -> Vec<String> {
        dissect(&DISSECTOR, "x", text.as_bytes()).iter().map(shape).collect()
    }

    #[test]
    fn an_entry_is_one_piece() {
        assert_eq!(
            shapes(JSON),
            [
                "other - - - - - - -",
                "frontend - 10.96.0.1:443/TCP - - tcp 10.96.0.1:443 0",
                "backend - 10.96.0.1:443/TCP - - tcp 172.30.0.1:6443 1",
                "other - - - - - - -",
                "other - - - - - - -",
            ]
        );
    }

    #[test]
    fn reads_arrays_of_several_text_six_and_what_went_away() {
        assert_eq!(
            shapes(
                "{\n \"[fd00::a]:53/UDP (0)\": [\"[::]:0 (1) (0)\"],\n \"10.0.0.1:80\": [\n  \"0.0.0.0:0 (3) (0) [ClusterIP]\",\n  \"10.1.0.1:80 (3) (1)\"\n ],\n \"10.0.0.1:81/TCP (2)\": [\"backend 4230 not found\"]\n}\n"
            ),
            [
                "other - - - - - - -",
                "frontend - [fd00::a]:53/UDP - - udp fd00::a:53 0",
                "frontend - 10.0.0.1:80 - - - 10.0.0.1:80 0",
                "backend - 10.0.0.1:80 - - - 10.1.0.1:80 1",
                "backend - 10.0.0.1:81/TCP - - tcp - 2",
                "other - - - - - - -",
            ]
        );
        assert_eq!(
            shapes(
                "SERVICE ADDRESS            BACKEND ADDRESS (REVNAT_ID) (SLOT)\n10.96.100.100:80/TCP (44)   10.244.0.252:8080/TCP (2) (44)                 \n"
            )[1],
            "backend - 10.96.100.100:80/TCP - - tcp 10.244.0.252:8080 44"
        );
    }

    #[test]
    fn a_row_without_its_frontend_belongs_to_the_one_above() {
        let text = "SERVICE ADDRESS        BACKEND ADDRESS (REVNAT_ID) (SLOT)\n172.18.0.2:32646    0.0.0.0:0 (33) (0) [NodePort, l7-load-balancer] (L7LB Proxy Port: 15735)\n                    10.0.1.126:8012 (33) (1)\n";
        assert_eq!((FORMAT.sniff)(&head("x", text.as_bytes())), Sniff::Yes);
        let found = shapes(text);
        let found: Vec<&str> = found.iter().map(String::as_str).filter(|shape| !shape.starts_with("other")).collect();
        assert_eq!(
            found,
            [
                "frontend - 172.18.0.2:32646 - - - 172.18.0.2:32646 0",
                "backend - 172.18.0.2:32646 - - - 10.0.1.126:8012 1"
            ]
        );
    }

    #[test]
    fn rows_without_their_column_names_are_recognised() {
        let text = "172.17.14.177:8000   0.0.0.0:0 (13) (0) [ClusterIP, non-routable]\n                     172.16.1.237:8000 (13) (1)\n";
        assert_eq!((FORMAT.sniff)(&head("x", text.as_bytes())), Sniff::Yes);
        assert_eq!(shapes(text)[1], "backend - 172.17.14.177:8000 - - - 172.16.1.237:8000 1");
        let two = "10.0.0.1:80   10.0.0.2:80\n";
        assert_eq!((FORMAT.sniff)(&head("x", two.as_bytes())), Sniff::No);
    }

    #[test]
    fn a_listing_that_broke_off_is_incomplete() {
        let text = format!("# TIMESTAMP 1.0\n{JSON}# TIMESTAMP 2.0\n{}", &JSON[..100]);
        let batch = parse_text(&FORMAT, &text);
        assert_eq!(batch.snapshots.iter().map(|one| one.complete).collect::<Vec<_>>(), [true, false]);
        for cut in 0..JSON.len() {
            dissect(&DISSECTOR, "x", &JSON.as_bytes()[..cut]);
        }
    }

    #[test]
    fn real_files_are_recognised_and_keep_every_byte() {
        for (name, bytes) in files(&["captures/cilium-pod-crash-1/bpf".to_owned()]) {
            let wanted = name.contains("bpf-lb-list")
                || name.ends_with("lb-list-before.txt")
                || name.ends_with("lb-list-after.txt");
            assert_eq!((FORMAT.sniff)(&head(&name, &bytes)) == Sniff::Yes, wanted, "{name}");
            if wanted {
                let batch = parse_text(&FORMAT, &String::from_utf8_lossy(&bytes));
                assert!(!batch.snapshots.is_empty());
                for snapshot in batch.snapshots.iter().take(20) {
                    let pieces = dissect(&DISSECTOR, &name, &snapshot.text);
                    assert!(pieces.iter().filter(|piece| piece.fields.kind == "backend").count() > 44, "{name}");
                }
            }
        }
        for (name, bytes) in corpus_files(&["cilium_cli", "prom_api_json", "hubble_flows"]) {
            let yes = (FORMAT.sniff)(&head(&name, &bytes)) == Sniff::Yes;
            assert_eq!(yes, name.contains("bpf-lb-list"), "{name}");
        }
    }
}
