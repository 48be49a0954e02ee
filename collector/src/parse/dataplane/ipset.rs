//! `ipset save` and `ipset list`: the sets that kube-proxy's ipvs mode matches by.
//!
//! ```text
//! create KUBE-CLUSTER-IP hash:ip,port family inet hashsize 1024 maxelem 65536 comment
//! add KUBE-CLUSTER-IP 10.96.0.1,tcp:443 comment "default/kubernetes:https"
//!
//! Name: KUBE-CLUSTER-IP                                          (list)
//! Type: hash:ip,port
//! Members:
//! 10.96.0.1,tcp:443 comment "default/kubernetes:https"
//! ```

use std::ops::Range;

use syncline_schema::clock::ClockToken;

use crate::form::dissector::{Counters, Dissector, End, RuleFields, Section, counters_behind, lines, repeated};
use crate::form::stamp;
use crate::form::{Cut, Format, Head, Reads, Sniff};
use crate::parse::dataplane::rule_comment;

/// The format.
pub const FORMAT: Format = Format {
    kind: "ipset",
    title: "ipset save or list: one file or a stream of snapshots",
    clock: ClockToken::Node,
    cut: Cut::Marks(stamp::MARK),
    sniff,
    reads: Reads::State(&DISSECTOR),
    sample: "# TIMESTAMP 1795407710.648307833\ncreate KUBE-CLUSTER-IP hash:ip,port family inet hashsize 1024 maxelem 65536 comment\nadd KUBE-CLUSTER-IP 10.96.0.1,tcp:443 comment \"default/kubernetes:https\"\n",
    recognised: "lines `create SET TYPE …` and `add SET …`, or `Name: …`, `Type: …`, `Members:`",
    capture: "while :; do date '+# TIMESTAMP %s.%N'; ipset save; sleep 1; done",
    proves: "which virtual IPs ipvs mode knew, between a stamp and the next",
};

/// How its pieces are taken apart.
pub const DISSECTOR: Dissector = Dissector {
    format: "ipset",
    end,
    knows,
    again,
    split: |text: &[u8]| -> Vec<Range<usize>> { lines(text) },
    rounded: |_| 0,
    section,
    counters: |piece: &[u8]| -> Counters { counters_behind(piece, b" packets ", b" bytes ") },
    fields,
};

/// Types of sets begin so.
const TYPES: [&str; 6] = ["hash:", "bitmap:", "list:", "iphash", "ipmap", "macipmap"];

fn sniff(head: &Head) -> Sniff {
    let (mut sets, mut other) = (0, 0);
    for line in stamp::tried_lines(head.bytes, head.whole) {
        let text = String::from_utf8_lossy(line);
        let words: Vec<&str> = text.split_whitespace().collect();
        let of_type = |at: usize| words.get(at).is_some_and(|word| TYPES.iter().any(|kind| word.starts_with(kind)));
        match words.as_slice() {
            ["create" | "-N", ..] if of_type(2) => sets += 1,
            ["Type:", ..] if of_type(1) => sets += 1,
            ["add" | "-A", _, _, ..] | ["COMMIT"] | [] => {}
            _ => other += 1,
        }
    }
    if sets > 0 && (other == 0 || memchr::memmem::find(head.bytes, b"Members:").is_some()) {
        Sniff::Yes
    } else {
        Sniff::No
    }
}

fn end(text: &[u8]) -> End {
    if text.iter().all(u8::is_ascii_whitespace) { End::Broken } else { End::Unmarked }
}

/// Lines of `save`, keys of a listing, and members: addresses, ports, names of sets.
fn knows(line: &[u8]) -> bool {
    const KEYS: [&[u8]; 14] = [
        b"create ",
        b"add ",
        b"-N ",
        b"-A ",
        b"Name:",
        b"Type:",
        b"Revision:",
        b"Header:",
        b"Size in memory:",
        b"References:",
        b"Number of entries:",
        b"Default binding:",
        b"Members:",
        b"Bindings:",
    ];
    let bare = line.trim_ascii();
    let member = || {
        let word = bare.split(u8::is_ascii_whitespace).next().unwrap_or_default();
        let plain = word.iter().all(|byte| byte.is_ascii_alphanumeric() || b".,:/_-".contains(byte));
        // A set of sets lists names: alone, or with what is kept of them.
        let kept = bare.get(word.len()..).unwrap_or_default().trim_ascii();
        let alone =
            kept.is_empty() || [&b"comment "[..], b"timeout ", b"packets "].iter().any(|key| kept.starts_with(key));
        plain && (alone || word.iter().any(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase()))
    };
    bare.is_empty()
        || line.starts_with(b"#")
        || bare == b"COMMIT"
        || KEYS.iter().any(|key| bare.starts_with(key))
        || member()
}

/// A set that comes again.
fn again(text: &[u8]) -> Vec<usize> {
    repeated(text, |line| {
        let name = ["Name:", "create ", "-N "].iter().find_map(|key| line.strip_prefix(key.as_bytes()))?;
        name.trim_ascii().split(u8::is_ascii_whitespace).next()
    })
}

/// The set of a listing; empty in what `save` prints.
fn section(section: &mut Section, piece: &[u8]) {
    if let Some(name) = piece.strip_prefix(b"Name:") {
        *section = String::from_utf8_lossy(name.trim_ascii()).into_owned();
    } else if piece.trim_ascii() == b"Members:" {
        section.push_str("\tmembers");
    }
}

fn fields(_path: &str, section: &Section, piece: &[u8]) -> RuleFields {
    let text = String::from_utf8_lossy(piece);
    let mut words = text.split_whitespace();
    let (set, entry) = match section.strip_suffix("\tmembers") {
        Some(set) => (Some(set.to_owned()), words.next()),
        None => match words.next() {
            Some("add" | "-A") => (words.next().map(str::to_owned), words.next()),
            Some("create" | "-N") => {
                return RuleFields { kind: "chain", chain: words.next().map(str::to_owned), ..RuleFields::default() };
            }
            _ => (None, None),
        },
    };
    let mut found = RuleFields { kind: "other", chain: set, ..RuleFields::default() };
    let Some(entry) = entry.filter(|entry| *entry != "Members:") else { return found };
    found.kind = "element";
    if let Some((_, comment)) = text.split_once(" comment \"") {
        found.service = rule_comment::service(comment.split('"').next().unwrap_or_default()).map(str::to_owned);
    }
    for part in entry.split(',') {
        match part.split_once(':') {
            Some((protocol @ ("tcp" | "udp" | "sctp"), port)) => {
                found.protocol = Some(protocol.to_owned());
                found.port = port.parse().ok();
            }
            _ if found.address.is_none() => found.address = Some(part.to_owned()),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{DISSECTOR, FORMAT};
    use crate::form::Sniff;
    use crate::form::dissector::check::{dissect, shape};
    use crate::parse::harness::{corpus_files, head};

    #[test]
    fn reads_saved_and_listed_entries() {
        let shapes = |text: &str| dissect(&DISSECTOR, "x", text.as_bytes()).iter().map(shape).collect::<Vec<_>>();
        let expected = "element - KUBE-CLUSTER-IP - default/kubernetes:https tcp 10.96.0.1:443 -";
        assert_eq!(
            shapes("add KUBE-CLUSTER-IP 10.96.0.1,tcp:443 packets 1 bytes 60 comment \"default/kubernetes:https\"\n"),
            [format!("{expected} counters")]
        );
        let list = "Name: KUBE-CLUSTER-IP\nType: hash:ip,port\nMembers:\n10.96.0.1,tcp:443 comment \"default/kubernetes:https\"\n";
        assert_eq!(shapes(list)[3], expected);
    }

    #[test]
    fn real_files_are_recognised() {
        for (name, bytes) in corpus_files(&["iptables", "nft", "ipvs", "ipset"]) {
            assert_eq!((FORMAT.sniff)(&head(&name, &bytes)) == Sniff::Yes, name.contains("ipset/"), "{name}");
            dissect(&DISSECTOR, &name, &bytes);
        }
    }
}
