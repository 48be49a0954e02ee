//! How the formats of dataplane snapshots take their text apart.
//!
//! A snapshot is cut into pieces (`split`); joined they are the text again. A piece that has counters is kept without
//! them, so that a rule whose packets were counted is still the same rule.

use std::collections::HashSet;
use std::ops::Range;

/// Where the running piece stands: the iptables table, the chain, the frontend.
pub type Section = String;

/// Digits of the counters within a piece, the padding on their left included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packet counter.
    pub packets: Option<Range<usize>>,
    /// Byte counter; stands behind the packet counter.
    pub bytes: Option<Range<usize>>,
}

/// What a piece says (columns of `dataplane_rules`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleFields {
    /// `rule`, `chain`, `frontend`, `backend`, `other`.
    pub kind: &'static str,
    /// Table.
    pub table: Option<String>,
    /// Chain, or frontend.
    pub chain: Option<String>,
    /// Jump target.
    pub target: Option<String>,
    /// `namespace/service:port`.
    pub service: Option<String>,
    /// Protocol, lower case.
    pub protocol: Option<String>,
    /// Address.
    pub address: Option<String>,
    /// Port.
    pub port: Option<i32>,
    /// Slot of the load-balancer map.
    pub slot: Option<i32>,
}

/// What the text of a snapshot says of its own end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// An end mark stands where it belongs.
    Marked,
    /// The end or the beginning is missing, or there is nothing at all.
    Broken,
    /// The format has no end mark: whether the output was cut off cannot be seen.
    Unmarked,
}

/// How one format is taken apart.
pub struct Dissector {
    /// Kind of the format.
    pub format: &'static str,
    /// Judges the text of one snapshot.
    pub end: fn(&[u8]) -> End,
    /// Whether a line (without its end) is part of the format: a snapshot with others is not complete.
    pub knows: fn(&[u8]) -> bool,
    /// Offsets at which further listings begin in the text: what stands once in a listing came again.
    pub again: fn(&[u8]) -> Vec<usize>,
    /// Ranges of the pieces; they cover the text without gaps.
    pub split: fn(&[u8]) -> Vec<Range<usize>>,
    /// Updates the section by a piece, before the piece is looked up.
    pub section: fn(&mut Section, &[u8]),
    /// Finds the counters of a piece.
    pub counters: fn(&[u8]) -> Counters,
    /// How many counters of a line were printed rounded (`134K`): they have no value.
    pub rounded: fn(&[u8]) -> u64,
    /// Reads a new piece. `path` is that of the source.
    pub fields: fn(path: &str, section: &Section, piece: &[u8]) -> RuleFields,
}

impl std::fmt::Debug for Dissector {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.format)
    }
}

/// Pieces that are lines with their line ends.
pub fn lines(text: &[u8]) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut from = 0;
    for at in memchr::memchr_iter(b'\n', text) {
        ranges.push(from..at + 1);
        from = at + 1;
    }
    if from < text.len() {
        ranges.push(from..text.len());
    }
    ranges
}

/// Offsets of the lines at which a text begins anew: `key` names what a line opens that stands once in a listing.
pub fn repeated<'t>(text: &'t [u8], key: impl Fn(&'t [u8]) -> Option<&'t [u8]>) -> Vec<usize> {
    let mut found = Vec::new();
    let mut seen: HashSet<&[u8]> = HashSet::new();
    for range in lines(text) {
        let Some(key) = key(text[range.clone()].trim_ascii_end()) else { continue };
        if !seen.insert(key) {
            found.push(range.start);
            seen.clear();
            seen.insert(key);
        }
    }
    found
}

/// What a line opens, in listings that do not name their tables.
pub enum Opens<'t> {
    /// A chain that the kernel has (with a policy): these stand first in their table.
    Builtin(&'t [u8]),
    /// Any other chain.
    Own(&'t [u8]),
}

/// Chains that the kernel has in a table, at most: it has five.
const MOST_BUILTIN: usize = 16;

/// Offsets at which a listing of iptables begins anew. Tables have chains of the same names, and are told apart by the
/// chains of the kernel that they begin with: INPUT behind PREROUTING and more of them is another table's.
pub fn repeated_tables<'t>(text: &'t [u8], opens: impl Fn(&'t [u8]) -> Option<Opens<'t>>) -> Vec<usize> {
    let mut found = Vec::new();
    let mut tables: HashSet<Vec<&[u8]>> = HashSet::new();
    let mut own: HashSet<&[u8]> = HashSet::new();
    let (mut builtin, mut start, mut is_head): (Vec<&[u8]>, usize, bool) = (Vec::new(), 0, false);
    let mut close = |builtin: &mut Vec<&'t [u8]>, start: usize, found: &mut Vec<usize>| {
        let table = std::mem::take(builtin);
        if !table.is_empty() && !tables.insert(table.clone()) {
            found.push(start);
            tables.clear();
            tables.insert(table);
        }
    };
    for range in lines(text) {
        match opens(text[range.clone()].trim_ascii_end()) {
            Some(Opens::Builtin(name)) => {
                if !is_head || builtin.contains(&name) || builtin.len() >= MOST_BUILTIN {
                    close(&mut builtin, start, &mut found);
                    own.clear();
                    start = range.start;
                }
                builtin.push(name);
                is_head = true;
            }
            Some(Opens::Own(name)) => {
                is_head = false;
                if !own.insert(name) {
                    close(&mut builtin, start, &mut found);
                    found.push(range.start);
                    own.clear();
                    own.insert(name);
                }
            }
            None => {}
        }
    }
    close(&mut builtin, start, &mut found);
    found.sort_unstable();
    found.dedup();
    found.retain(|at| *at > 0);
    found
}

/// Offsets of JSON documents behind the first, each at the beginning of a line.
pub fn documents(text: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut closed = false;
    for range in lines(text) {
        match text[range.start] {
            b'{' | b'[' if closed => {
                found.push(range.start);
                closed = false;
            }
            b'}' | b']' => closed = true,
            _ => {}
        }
        closed |= text[range.start] == b'{' && text[range.clone()].trim_ascii_end().ends_with(b"}");
    }
    found
}

/// The digits behind two words.
pub fn counters_behind(piece: &[u8], packets: &[u8], bytes: &[u8]) -> Counters {
    let number = |from: usize, word: &[u8]| {
        let start = from + memchr::memmem::find(&piece[from..], word)? + word.len();
        let length = piece[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        (length > 0).then_some(start..start + length)
    };
    let Some(first) = number(0, packets) else { return Counters::default() };
    let second = number(first.end, bytes);
    Counters { packets: Some(first), bytes: second }
}

/// Checks that the tests of every dissector share.
#[cfg(test)]
pub(crate) mod check {
    use super::{Counters, Dissector, RuleFields, Section};

    /// One piece with what was read from it.
    pub struct Piece {
        pub fields: RuleFields,
        pub counters: Counters,
    }

    /// Takes a text apart and asserts that the pieces join to it and that counters are digits with padding.
    pub fn dissect(dissector: &Dissector, path: &str, text: &[u8]) -> Vec<Piece> {
        let mut section = Section::new();
        let mut end = 0;
        let mut pieces = Vec::new();
        for range in (dissector.split)(text) {
            assert_eq!(range.start, end, "{path}: pieces leave a gap");
            assert!(!range.is_empty(), "{path}: an empty piece");
            end = range.end;
            let piece = &text[range];
            (dissector.section)(&mut section, piece);
            let counters = (dissector.counters)(piece);
            for counter in [&counters.packets, &counters.bytes].into_iter().flatten() {
                let digits = piece[counter.clone()].trim_ascii_start();
                assert!(!digits.is_empty() && digits.iter().all(u8::is_ascii_digit), "{path}: {counter:?}");
            }
            if let (Some(packets), Some(bytes)) = (&counters.packets, &counters.bytes) {
                assert!(packets.end <= bytes.start, "{path}: counters overlap");
            }
            pieces.push(Piece { fields: (dissector.fields)(path, &section, piece), counters });
        }
        assert_eq!(end, text.len(), "{path}: the pieces end early");
        pieces
    }

    /// `kind table chain target service protocol address:port slot`, and `counters` where it has them.
    pub fn shape(piece: &Piece) -> String {
        let fields = &piece.fields;
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let mut address = or_dash(&fields.address);
        if let Some(port) = fields.port {
            address = format!("{address}:{port}");
        }
        let slot = fields.slot.map_or("-".to_owned(), |slot| slot.to_string());
        let counters = if piece.counters.packets.is_some() { " counters" } else { "" };
        format!(
            "{} {} {} {} {} {} {address} {slot}{counters}",
            fields.kind,
            or_dash(&fields.table),
            or_dash(&fields.chain),
            or_dash(&fields.target),
            or_dash(&fields.service),
            or_dash(&fields.protocol)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{Opens, documents, repeated, repeated_tables};

    fn opens(line: &[u8]) -> Option<Opens<'_>> {
        match line.first()? {
            b'A'..=b'Z' => Some(Opens::Builtin(line)),
            b'a'..=b'z' => Some(Opens::Own(line)),
            _ => None,
        }
    }

    #[test]
    fn tables_with_the_same_chains_are_one_listing_and_the_same_table_again_is_another() {
        for (text, expected) in [
            ("I\nF\nO\na\n1\nP\nI\nO\na\n", &[][..]),
            ("I\nF\na\nI\nF\na\n", &[6]),
            ("I\nF\nI\nF\nI\nF\n", &[4, 8]),
            ("a\n1\na\n2\na\n", &[4, 8]),
            ("a\nb\na\nb\n", &[4]),
            ("", &[]),
        ] {
            assert_eq!(repeated_tables(text.as_bytes(), opens), expected, "{text}");
        }
    }

    #[test]
    fn headings_and_documents_begin_anew() {
        assert_eq!(repeated(b"H\n1\nH\n2\nH\n", |line| (line == b"H").then_some(line)), [4, 8]);
        assert_eq!(documents(b"{\n \"a\": {\n }\n}\n{\n}\n\n[\n]\n"), [15, 20]);
        assert_eq!(documents(b"{\"a\": 1}\n{\"a\": 2}\n"), [9]);
    }
}
