//! How the formats of dataplane snapshots take their text apart.
//!
//! A snapshot is cut into pieces (`split`); joined they are the text again. A piece that has counters is kept without
//! them, so that a rule whose packets were counted is still the same rule.

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
    /// Ranges of the pieces; they cover the text without gaps.
    pub split: fn(&[u8]) -> Vec<Range<usize>>,
    /// Updates the section by a piece, before the piece is looked up.
    pub section: fn(&mut Section, &[u8]),
    /// Finds the counters of a piece.
    pub counters: fn(&[u8]) -> Counters,
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
