//! `ipvsadm -Ln` (also `--stats`, `--rate`) and `ipvsadm -Sn`: virtual servers and where they send to.
//!
//! ```text
//! IP Virtual Server version 1.2.1 (size=4096)
//! Prot LocalAddress:Port Scheduler Flags
//!   -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
//! TCP  10.0.0.1:443 rr persistent 10800
//!   -> 192.168.0.1:6443             Masq    1      1          0
//!
//! -A -t 10.0.0.1:443 -s rr -p 10800                               (-Sn)
//! -a -t 10.0.0.1:443 -r 192.168.0.1:6443 -m -w 1
//! ```
//!
//! What counts connections and packets is a piece of its own, so that a server stays the same piece while it is used. A
//! server of weight 0 (kube-proxy lets it finish its connections) gets no new ones: it is an `element`, not a `backend`.

use std::ops::Range;

use syncline_schema::clock::ClockToken;

use crate::form::dissector::{Counters, Dissector, End, RuleFields, Section, repeated};
use crate::form::stamp;
use crate::form::{Cut, Format, Head, Reads, Sniff};
use crate::parse::dataplane::rule_comment::address_and_port;

/// The format.
pub const FORMAT: Format = Format {
    kind: "ipvsadm",
    title: "ipvsadm -Ln or -Sn: one file or a stream of snapshots",
    clock: ClockToken::Node,
    cut: Cut::Marks(stamp::MARK),
    sniff,
    reads: Reads::State(&DISSECTOR),
    sample: "# TIMESTAMP 1795407710.648307833\nIP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\nTCP  10.96.100.100:80 rr\n  -> 10.244.0.121:8080            Masq    1      0          0\n",
    recognised: "the heading `Prot LocalAddress:Port`, or lines `-A -t ADDRESS:PORT -s …` and `-a -t … -r …`",
    capture: "while :; do date '+# TIMESTAMP %s.%N'; ipvsadm -Ln; sleep 0.1; done",
    proves: "which endpoints each virtual IP sent new connections to, between a stamp and the next; that kube-proxy runs in ipvs mode",
};

/// How its pieces are taken apart.
pub const DISSECTOR: Dissector = Dissector {
    format: "ipvsadm",
    end,
    knows,
    again,
    split,
    rounded: |_| 0,
    section,
    counters: |_| Counters::default(),
    fields,
};

fn sniff(head: &Head) -> Sniff {
    let (mut headings, mut saved) = (0, 0);
    let mut virtual_server = false;
    for line in stamp::tried_lines(head.bytes, head.whole) {
        // A listing that was cut out of another has no heading.
        let scheduled = |line: &[u8]| {
            matches!(
                line.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).nth(2),
                Some(b"rr" | b"wrr" | b"lc" | b"wlc" | b"sh" | b"dh" | b"sed" | b"nq" | b"lblc" | b"lblcr" | b"mh")
            )
        };
        let forwards =
            [&b" Masq "[..], b" Route ", b" Tunnel "].iter().any(|word| memchr::memmem::find(line, word).is_some());
        headings += i32::from(virtual_server && is_server(line) && forwards);
        virtual_server = is_virtual(line) && scheduled(line);
        headings += i32::from(line.starts_with(b"Prot LocalAddress:Port"));
        saved += i32::from(saved_option(line).is_some());
    }
    if headings > 0 || saved > 1 { Sniff::Yes } else { Sniff::No }
}

fn end(text: &[u8]) -> End {
    if text.iter().all(u8::is_ascii_whitespace) { End::Broken } else { End::Unmarked }
}

fn knows(line: &[u8]) -> bool {
    let bare = line.trim_ascii();
    bare.is_empty()
        || line.starts_with(b"#")
        || [&b"IP Virtual Server"[..], b"Prot LocalAddress", b"-> "].iter().any(|start| bare.starts_with(start))
        || is_virtual(line)
        || saved_option(line).is_some()
}

/// The heading, or a virtual server where there is none, that comes again.
fn again(text: &[u8]) -> Vec<usize> {
    repeated(text, |line| {
        if line.starts_with(b"IP Virtual Server") || line.starts_with(b"Prot LocalAddress") {
            return Some(&line[..4]);
        }
        if line.starts_with(b"-A ") {
            return Some(line);
        }
        is_virtual(line).then(|| word_ends(line).get(1).map_or(line, |end| &line[..*end]))
    })
}

/// `A` or `a` and the rest of a line of `-Sn`.
fn saved_option(line: &[u8]) -> Option<(char, &str)> {
    let text = std::str::from_utf8(line).ok()?;
    let rest = text.strip_prefix('-')?;
    let option = rest.chars().next().filter(|option| matches!(option, 'A' | 'a'))?;
    let rest = rest[1..].strip_prefix(' ')?;
    ["-t ", "-u ", "--sctp-service "].iter().any(|kind| rest.starts_with(kind)).then_some((option, rest))
}

/// Ends of the first words of a line.
fn word_ends(line: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    for at in 1..=line.len() {
        let behind = line.get(at).is_none_or(u8::is_ascii_whitespace);
        if !line[at - 1].is_ascii_whitespace() && behind {
            ends.push(at);
        }
    }
    ends
}

fn is_virtual(line: &[u8]) -> bool {
    [&b"TCP "[..], b"UDP ", b"SCTP ", b"FWM "].iter().any(|protocol| line.starts_with(protocol))
}

fn is_server(line: &[u8]) -> bool {
    let line = line.trim_ascii_start();
    line.starts_with(b"-> ") && !line.starts_with(b"-> RemoteAddress")
}

fn split(text: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for line in crate::form::dissector::lines(text) {
        let bytes = &text[line.clone()];
        let ends = word_ends(bytes);
        let forwards = |word: &[u8]| [&b"Masq"[..], b"Route", b"Tunnel", b"Local"].contains(&word);
        let kept = if is_virtual(bytes) {
            ends.get(1)
        } else if is_server(bytes) {
            match (ends.get(1), ends.get(2)) {
                (Some(address), Some(forward)) if forwards(bytes[*address..*forward].trim_ascii()) => ends.get(3),
                (address, _) => address,
            }
        } else {
            None
        };
        // Blanks behind go with what is kept: their number follows from it.
        let kept = kept.map(|end| end + bytes[*end..].iter().take_while(|byte| **byte == b' ').count());
        match kept.filter(|kept| *kept < bytes.len()) {
            Some(kept) => found.extend([line.start..line.start + kept, line.start + kept..line.end]),
            None => found.push(line),
        }
    }
    found
}

/// The virtual server: `10.0.0.1:443/TCP`.
fn section(section: &mut Section, piece: &[u8]) {
    if let Some((_, rest)) = saved_option(piece.trim_ascii()) {
        let protocol = match rest.as_bytes().get(1) {
            Some(b't') => "TCP",
            Some(b'u') => "UDP",
            _ => "SCTP",
        };
        if let Some(place) = rest.split_whitespace().nth(1) {
            *section = format!("{place}/{protocol}");
        }
        return;
    }
    if is_virtual(piece) {
        let text = String::from_utf8_lossy(piece);
        let mut words = text.split_whitespace();
        if let (Some(protocol), Some(place)) = (words.next(), words.next()) {
            *section = format!("{place}/{protocol}");
        }
    } else if piece.starts_with(b"IP Virtual Server") {
        section.clear();
    }
}

fn fields(_path: &str, section: &Section, piece: &[u8]) -> RuleFields {
    let text = String::from_utf8_lossy(piece);
    let words: Vec<&str> = text.split_whitespace().collect();
    let frontend = (!section.is_empty()).then(|| section.clone());
    let protocol = section.rsplit_once('/').map(|(_, protocol)| protocol.to_ascii_lowercase());
    let found = RuleFields { kind: "other", chain: frontend, protocol, ..RuleFields::default() };
    let place = |place: &str, kind| {
        let (address, port) = address_and_port(place);
        RuleFields { kind, address: Some(address), port, ..found.clone() }
    };
    let behind = |option: &str| words.iter().position(|word| *word == option).and_then(|at| words.get(at + 1)).copied();
    if let Some((option, _)) = saved_option(piece.trim_ascii()) {
        return match (option, behind("-r")) {
            ('A', _) => place(section.split('/').next().unwrap_or_default(), "frontend"),
            (_, Some(server)) => place(server, if behind("-w") == Some("0") { "element" } else { "backend" }),
            _ => found,
        };
    }
    if is_virtual(piece) && words.first() != Some(&"FWM") && words.len() >= 2 {
        return place(words[1], "frontend");
    }
    if is_server(piece) && words.len() >= 2 {
        // The weight stands behind how packets are forwarded; `--stats` and `--rate` show neither.
        let forwards = words.get(2).is_some_and(|word| ["Masq", "Route", "Tunnel", "Local"].contains(word));
        let drained = forwards && words.get(3) == Some(&"0");
        return place(words[1], if drained { "element" } else { "backend" });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{DISSECTOR, FORMAT};
    use crate::form::Sniff;
    use crate::form::dissector::check::{dissect, shape};
    use crate::parse::harness::{corpus_files, head, parse_text};

    fn shapes(text: &str) -> Vec<String> {
        let found = dissect(&DISSECTOR, "x", text.as_bytes());
        found.iter().map(shape).filter(|shape| !shape.starts_with("other")).collect()
    }

    #[test]
    fn a_listing_without_its_heading_is_recognised() {
        let text = "TCP  10.102.128.4:3080 rr\n  -> 10.244.0.235:8080            Masq    1      0          0\n";
        assert_eq!((FORMAT.sniff)(&head("x", text.as_bytes())), Sniff::Yes);
        assert_eq!((FORMAT.sniff)(&head("x", b"TCP  10.102.128.4:3080 rr\nprose about it\n")), Sniff::No);
    }

    #[test]
    fn reads_all_listings() {
        let list = "TCP  10.0.0.1:443 rr persistent 10800\n  -> 192.168.0.1:6443             Masq    1      1          0\n  -> 192.168.0.2:6443             Masq    0      1          0\nUDP  [fd00::a]:53 rr\n  -> [fd00::1]:53                Masq    1      0          0\n";
        let expected = [
            "frontend - 10.0.0.1:443/TCP - - tcp 10.0.0.1:443 -",
            "backend - 10.0.0.1:443/TCP - - tcp 192.168.0.1:6443 -",
            "element - 10.0.0.1:443/TCP - - tcp 192.168.0.2:6443 -",
            "frontend - [fd00::a]:53/UDP - - udp fd00::a:53 -",
            "backend - [fd00::a]:53/UDP - - udp fd00::1:53 -",
        ];
        assert_eq!(shapes(list), expected);
        let saved = "-A -t 10.0.0.1:443 -s rr -p 10800\n-a -t 10.0.0.1:443 -r 192.168.0.1:6443 -m -w 1\n-a -t 10.0.0.1:443 -r 192.168.0.2:6443 -m -w 0\n-A -u [fd00::a]:53 -s rr\n-a -u [fd00::a]:53 -r [fd00::1]:53 -m -w 1\n";
        assert_eq!(shapes(saved), expected);
        let stats = "TCP  10.0.0.1:443                    12K      800        0    64000        0\n  -> 192.168.0.1:6443                10      800        0    64000        0\n";
        assert_eq!(shapes(stats), expected[..2]);
    }

    #[test]
    fn a_connection_more_is_the_same_server() {
        let server = |line: &str| line[(DISSECTOR.split)(line.as_bytes())[0].clone()].to_owned();
        assert_eq!(
            server("  -> 192.168.0.1:6443             Masq    1      9          0\n"),
            server("  -> 192.168.0.1:6443             Masq    1      10         2\n")
        );
    }

    #[test]
    fn real_files_are_recognised() {
        for (name, bytes) in corpus_files(&["iptables", "nft", "ipvs", "ipset"]) {
            let yes = (FORMAT.sniff)(&head(&name, &bytes)) == Sniff::Yes;
            let wanted = ["L27.", "L101", "L374", "L389", "L249"].iter().any(|part| name.contains(part))
                && name.contains("ipvs/");
            assert_eq!(yes, wanted, "{name}");
            dissect(&DISSECTOR, &name, &bytes);
            // One of them is a page with the listings of three machines.
            let listings = if name.contains("L249") { 3 } else { 1 };
            assert!(!yes || parse_text(&FORMAT, &String::from_utf8_lossy(&bytes)).records == listings, "{name}");
        }
    }
}
