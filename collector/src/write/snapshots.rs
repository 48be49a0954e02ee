//! Snapshots as a dictionary and changes; and back.
//!
//! The state of a stream is the list of its pieces' rules. A snapshot is compared with the state: what both begin and
//! end with is left alone, the middle is compared piece by piece with a greedy search for the next common piece.
//! Rules of 50,000 pieces differ in a few, so most of the time goes into comparing text that is equal.

use std::collections::{HashMap, HashSet};

use syncline_schema::dataplane::{COUNTER, ChangeRow, RuleRow, SnapshotRow};

use super::rebuild::{WIDEST, padded};
use super::tables::{Tables, WriteError};
use crate::form::dissector::{Counters, RuleFields, Section};
use crate::form::{Context, RawSnapshot};

/// How far ahead a common piece is searched for, in either list.
const SEARCH: usize = 4_096;

#[derive(Clone, Debug, PartialEq)]
struct Held {
    rule: i64,
    packets: Option<i64>,
    bytes: Option<i64>,
}

/// One stream of snapshots.
struct Stream {
    id: i32,
    dictionary: HashMap<(Section, String), i64>,
    state: Vec<Held>,
    /// Text of each piece of the last snapshot, for a fast comparison.
    texts: Vec<u8>,
    ends: Vec<usize>,
    /// Section of each piece of the last snapshot.
    sections: Vec<u32>,
    section_ids: HashMap<Section, u32>,
    next: i64,
    /// Number of the last file of a numbered series.
    last_file: Option<i64>,
    /// Last time that was stated.
    last_time: Option<i64>,
    /// Whether the last snapshot was complete.
    complete: bool,
}

/// All streams of a bundle.
#[derive(Default)]
pub struct Encoder {
    streams: HashMap<(String, &'static str), Stream>,
    next_rule: i64,
}

impl Encoder {
    /// Name of the stream that a snapshot belongs to. A file of a series goes on with the file ahead of it only where it is
    /// the next one, and was taken after it: two recordings of one time are two, whatever their names.
    fn stream_of(&self, context: &Context, snapshot: &RawSnapshot) -> String {
        let own = format!("{}#{}", context.path, context.source);
        let Some(series) = snapshot.series.as_ref().filter(|_| snapshot.time.is_some()) else { return own };
        match self.streams.get(&(series.stem.clone(), snapshot.dissector.format)) {
            None => series.stem.clone(),
            Some(stream) => {
                let next = match (series.number, stream.last_file) {
                    (Some(number), Some(last)) => number == last || number == last.saturating_add(1),
                    _ => true,
                };
                let later = snapshot.time >= stream.last_time;
                if next && later { series.stem.clone() } else { own }
            }
        }
    }

    /// Encodes one snapshot. Returns its stream.
    ///
    /// # Errors
    /// A table that cannot be written.
    pub fn encode(
        &mut self,
        context: &Context,
        snapshot: &RawSnapshot,
        tables: &mut Tables,
    ) -> Result<i32, WriteError> {
        let name = self.stream_of(context, snapshot);
        let stream = self.streams.entry((name, snapshot.dissector.format)).or_insert_with(|| Stream {
            id: context.source,
            last_file: None,
            last_time: None,
            complete: false,
            dictionary: HashMap::new(),
            state: Vec::new(),
            texts: Vec::new(),
            ends: Vec::new(),
            sections: Vec::new(),
            section_ids: HashMap::new(),
            next: 0,
        });
        stream.last_file = snapshot.series.as_ref().and_then(|series| series.number).or(stream.last_file);
        stream.last_time = snapshot.time.or(stream.last_time);
        if snapshot.unchanged {
            return stream.again(context, snapshot, tables);
        }
        let dissector = snapshot.dissector;
        let pieces = (dissector.split)(&snapshot.text);
        let number = stream.next;
        stream.next += 1;
        let mut section = Section::new();
        let mut now: Vec<Held> = Vec::with_capacity(pieces.len());
        let mut line = snapshot.first_line;
        let is_json = matches!(snapshot.text.trim_ascii_start().first(), Some(b'{' | b'['));
        let unfinished = !snapshot.complete && !is_json && !snapshot.text.ends_with(b"\n");
        let mut sections = Vec::with_capacity(pieces.len());
        let mut last_section: Option<(Section, u32)> = None;
        for (at, range) in pieces.iter().enumerate() {
            let piece = &snapshot.text[range.clone()];
            (dissector.section)(&mut section, piece);
            let section_id = match &last_section {
                Some((known, id)) if *known == section => *id,
                _ => {
                    let fresh = stream.section_ids.len() as u32;
                    let id = *stream.section_ids.entry(section.clone()).or_insert(fresh);
                    last_section = Some((section.clone(), id));
                    id
                }
            };
            sections.push(section_id);
            // The piece that stood at this place last time: in most snapshots it is this one.
            let same = stream.ends.get(at).is_some_and(|to| {
                let from = if at == 0 { 0 } else { stream.ends[at - 1] };
                stream.sections[at] == section_id && stream.texts[from..*to] == *piece
            });
            let held = match stream.state.get(at) {
                Some(held) if same => held.clone(),
                _ => {
                    let (template, packets, bytes) = template(piece, &(dissector.counters)(piece));
                    let key = (section.clone(), template);
                    let rule = match stream.dictionary.get(&key) {
                        Some(rule) => *rule,
                        None => {
                            let rule = self.next_rule;
                            self.next_rule += 1;
                            // A last line without its end may be cut in the middle of a value: it proves nothing.
                            let cut = unfinished && at + 1 == pieces.len();
                            let fields = if cut {
                                RuleFields { kind: "other", ..RuleFields::default() }
                            } else {
                                (dissector.fields)(&context.path, &section, piece)
                            };
                            tables.push(&RuleRow {
                                source: context.source,
                                record: snapshot
                                    .around
                                    .as_ref()
                                    .and_then(|around| around.place(line))
                                    .map_or(line, |place| place.line),
                                stream: stream.id,
                                rule,
                                kind: fields.kind.into(),
                                table: fields.table.map(Into::into),
                                chain: fields.chain.map(Into::into),
                                target: fields.target.map(Into::into),
                                service: fields.service.map(Into::into),
                                protocol: fields.protocol.map(Into::into),
                                address: fields.address.map(Into::into),
                                port: fields.port,
                                slot: fields.slot,
                                text: key.1.as_str().into(),
                                ..Default::default()
                            })?;
                            stream.dictionary.insert(key, rule);
                            rule
                        }
                    };
                    Held { rule, packets, bytes }
                }
            };
            now.push(held);
            line += memchr::memchr_iter(b'\n', piece).count() as i64;
        }
        for change in differences(&stream.state, &now) {
            tables.push(&ChangeRow { stream: stream.id, snapshot: number, ..change })?;
        }
        tables.push(&SnapshotRow {
            source: context.source,
            record: snapshot.record,
            stream: stream.id,
            snapshot: number,
            clock: context.clock.as_str().into(),
            time: snapshot.time,
            resolution: snapshot.resolution,
            until: snapshot.until,
            time_from: snapshot.time_from.into(),
            format: dissector.format.into(),
            pieces: now.len() as i64,
            complete: snapshot.complete,
            ..Default::default()
        })?;
        stream.complete = snapshot.complete;
        stream.state = now;
        stream.sections = sections;
        stream.texts.clear();
        stream.texts.extend_from_slice(&snapshot.text);
        stream.ends = pieces.iter().map(|range| range.end).collect();
        Ok(stream.id)
    }
}

impl Stream {
    /// A reading that found the state as it was: a snapshot without changes. Where none stands ahead of it (the file was cut) nothing
    /// is known of the state.
    fn again(&mut self, context: &Context, snapshot: &RawSnapshot, tables: &mut Tables) -> Result<i32, WriteError> {
        let number = self.next;
        self.next += 1;
        tables.push(&SnapshotRow {
            source: context.source,
            record: snapshot.record,
            stream: self.id,
            snapshot: number,
            clock: context.clock.as_str().into(),
            time: snapshot.time,
            resolution: snapshot.resolution,
            until: snapshot.until,
            time_from: snapshot.time_from.into(),
            format: snapshot.dissector.format.into(),
            pieces: self.state.len() as i64,
            complete: self.complete,
            ..Default::default()
        })?;
        Ok(self.id)
    }
}

/// The piece with its counters cut out, and the counters.
fn template(piece: &[u8], counters: &Counters) -> (String, Option<i64>, Option<i64>) {
    let mut text = String::with_capacity(piece.len() + 4);
    let mut from = 0;
    let mut values = [None, None];
    for (value, range) in values.iter_mut().zip([&counters.packets, &counters.bytes]) {
        let Some((range, field)) = range.as_ref().and_then(|range| Some((range, piece.get(range.clone())?))) else {
            continue;
        };
        let digits = field.trim_ascii_start();
        let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<i64>().ok());
        // What would not be written again as it stood (`007`, `+1`, a suffix, tabs) stays in the text.
        let plain = number.is_some_and(|number| padded(number, field.len().min(WIDEST)).as_bytes() == field);
        if !plain || range.start < from {
            continue;
        }
        // Without padding any width will do: a counter that grows must not make another rule.
        let width = if digits.len() == field.len() { 0 } else { field.len() as u8 };
        escape(&piece[from..range.start], &mut text);
        text.push(COUNTER);
        text.push(char::from(b'0' + width));
        from = range.end;
        *value = number;
    }
    escape(&piece[from..], &mut text);
    (text, values[0], values[1])
}

/// Appends bytes as text. A byte that is no text, and `COUNTER` itself, becomes `COUNTER` and the character U+0100 + byte.
fn escape(bytes: &[u8], text: &mut String) {
    for chunk in bytes.utf8_chunks() {
        for (at, part) in chunk.valid().split(COUNTER).enumerate() {
            if at > 0 {
                text.push_str("\u{1}\u{101}");
            }
            text.push_str(part);
        }
        for byte in chunk.invalid() {
            text.push(COUNTER);
            text.extend(char::from_u32(0x100 + u32::from(*byte)));
        }
    }
}

/// Changes that make `old` into `new`.
fn differences(old: &[Held], new: &[Held]) -> Vec<ChangeRow<'static>> {
    let mut changes = Vec::new();
    let change = |operation: &'static str, position: usize, held: &Held| ChangeRow {
        operation: operation.into(),
        position: position as i64,
        rule: held.rule,
        packets: held.packets,
        bytes: held.bytes,
        ..Default::default()
    };
    // What stands behind the common beginning of either list: a rule that does not is not searched for.
    let (mut ahead_old, mut ahead_new) = (HashSet::new(), HashSet::new());
    let same = old.iter().zip(new).take_while(|(a, b)| a.rule == b.rule).count();
    for (list, ahead) in [(old, &mut ahead_old), (new, &mut ahead_new)] {
        for held in &list[same..] {
            ahead.insert(held.rule);
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < old.len() || j < new.len() {
        match (old.get(i), new.get(j)) {
            (Some(a), Some(b)) if a.rule == b.rule => {
                if a != b {
                    changes.push(change("counters", j, b));
                }
                i += 1;
                j += 1;
            }
            (Some(a), Some(b)) => {
                let find = |list: &[Held], rule| list.iter().take(SEARCH).position(|held| held.rule == rule);
                let gone = if ahead_old.contains(&b.rule) { find(&old[i..], b.rule) } else { None };
                let come = if ahead_new.contains(&a.rule) { find(&new[j..], a.rule) } else { None };
                match (gone, come) {
                    (Some(gone), Some(come)) if gone < come => (0..gone).for_each(|_| {
                        changes.push(change("delete", j, &old[i]));
                        i += 1;
                    }),
                    (_, Some(come)) => (0..come).for_each(|_| {
                        changes.push(change("insert", j, &new[j]));
                        j += 1;
                    }),
                    (Some(gone), None) => (0..gone).for_each(|_| {
                        changes.push(change("delete", j, &old[i]));
                        i += 1;
                    }),
                    (None, None) => {
                        changes.push(change("delete", j, a));
                        changes.push(change("insert", j, b));
                        i += 1;
                        j += 1;
                    }
                }
            }
            (Some(a), None) => {
                changes.push(change("delete", j, a));
                i += 1;
            }
            (None, Some(b)) => {
                changes.push(change("insert", j, b));
                j += 1;
            }
            (None, None) => {}
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::form::Reads;
    use crate::form::dissector::{Dissector, End};
    use crate::write::integrity::Whole;
    use crate::write::rebuild::render;
    use proptest::prelude::*;

    fn held(rules: &[u8]) -> Vec<Held> {
        rules
            .iter()
            .map(|rule| Held { rule: i64::from(rule % 8), packets: Some(i64::from(*rule)), bytes: None })
            .collect()
    }

    proptest! {
        #[test]
        fn changes_lead_from_one_list_to_the_other(old: Vec<u8>, new: Vec<u8>) {
            let (old, new) = (held(&old), held(&new));
            let mut list = old.clone();
            for change in differences(&old, &new) {
                let at = change.position as usize;
                let piece = Held { rule: change.rule, packets: change.packets, bytes: change.bytes };
                match change.operation.as_ref() {
                    "insert" => list.insert(at, piece),
                    "delete" => drop(list.remove(at)),
                    _ => list[at] = piece,
                }
            }
            prop_assert_eq!(list, new);
        }

        #[test]
        fn a_piece_is_written_again_as_it_stood(before: Vec<u8>, field in "( {0,9}[0-9]{1,20}|[0-9]{1,3}K|\\+1)", after: Vec<u8>) {
            let mut piece = before.clone();
            piece.extend(field.as_bytes());
            let packets = Some(before.len()..piece.len());
            piece.push(b':');
            let from = piece.len();
            piece.extend(field.as_bytes());
            let bytes = Some(from..piece.len());
            piece.extend(&after);
            let (text, packets, bytes) = template(&piece, &Counters { packets, bytes });
            let mut again = Vec::new();
            render(&text, packets, bytes, &mut again);
            prop_assert_eq!(again, piece);
        }
    }

    #[test]
    fn a_growing_counter_is_the_same_rule() {
        let rule = |text: &str| {
            let colon = text.find(':').expect("a colon");
            template(text.as_bytes(), &Counters { packets: Some(1..colon), bytes: Some(colon + 1..text.len() - 1) }).0
        };
        assert_eq!(rule("[9:480]"), rule("[10:99999]"));
    }

    fn counters(piece: &[u8]) -> Counters {
        let end = piece.iter().position(|byte| *byte == b']');
        let colon = piece.iter().position(|byte| *byte == b':');
        match (piece.first(), colon, end) {
            (Some(b'['), Some(colon), Some(end)) if colon < end => {
                Counters { packets: Some(1..colon), bytes: Some(colon + 1..end) }
            }
            _ => Counters::default(),
        }
    }

    #[test]
    fn every_snapshot_of_a_real_stream_is_rebuilt() {
        const LINES: Dissector = Dissector {
            knows: |_| true,
            again: |_| Vec::new(),
            rounded: |_| 0,
            format: "test",
            end: |_| End::Marked,
            split: crate::form::dissector::lines,
            section: |section, piece| {
                if piece.starts_with(b"*") {
                    *section = String::from_utf8_lossy(piece).into_owned();
                }
            },
            counters,
            fields: |_, _, _| crate::form::dissector::RuleFields { kind: "rule", ..Default::default() },
        };
        rebuilds("iptables-scale-up-1/iptables/nat-save.stream.zst", &LINES);
    }

    #[test]
    fn every_snapshot_of_nftables_is_rebuilt() {
        for (stream, format) in [
            ("nftables-rolling-restart-1/nft/table-kube-proxy.json.stream.zst", "nft-json"),
            ("nftables-rolling-restart-1/nft/ruleset.stream.zst", "nft-text"),
            ("nftables-rolling-restart-1/nft/chain-default-test.stream.zst", "nft-text"),
        ] {
            let one = crate::parse::FORMATS.iter().find(|one| one.kind == format).expect("a format");
            let Reads::State(dissector) = one.reads else { panic!("{format} is a state") };
            rebuilds(stream, dissector);
        }
    }

    fn rebuilds(stream: &str, dissector: &'static Dissector) {
        let stream = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../sample-data").join(stream);
        let text = zstd::decode_all(std::fs::File::open(&stream).expect("a sample")).expect("decompressed");
        let mark = b"# TIMESTAMP ";
        let mut starts: Vec<usize> = memchr::memmem::find_iter(&text, mark).collect();
        starts.push(text.len());
        let mut states: Vec<Vec<u8>> = starts.windows(2).map(|pair| text[pair[0]..pair[1]].to_vec()).collect();
        // Bytes that are no text, an empty state, and a state that begins anew.
        states.extend([b"[1:2] \xff\x01 a\n\n\r\n".to_vec(), Vec::new(), states[0].clone()]);
        assert!(states.len() > 10);
        let folder = tempfile::tempdir().expect("a folder");
        let mut tables = Tables::new(folder.path());
        let mut encoder = Encoder::default();
        let context = crate::form::Context {
            source: 0,
            path: "x".to_owned(),
            clock: "node".to_owned(),
            node: "node".to_owned(),
            year: None,
            utc_offset: None,
            mtime: None,
        };
        for state in &states {
            let snapshot = RawSnapshot {
                dissector,
                record: 1,
                first_line: 1,
                time: None,
                resolution: None,
                until: None,
                unchanged: false,
                time_from: "none",
                text: state.clone(),
                complete: true,
                around: None,
                series: None,
            };
            encoder.encode(&context, &snapshot, &mut tables).expect("encoded");
        }
        tables.close().expect("closed");
        for number in [0, 1, states.len() / 2, states.len() - 4, states.len() - 3, states.len() - 2, states.len() - 1] {
            let again =
                crate::write::rebuild::snapshot(folder.path(), &Whole::default(), 0, number as i64).expect("rebuilt");
            assert!(again == states[number], "snapshot {number} differs");
        }
    }

    #[test]
    fn a_counter_may_stand_behind_any_number_of_blanks() {
        let piece = format!("{}7 rest", " ".repeat(70_000));
        let counters = Counters { packets: Some(0..70_001), bytes: None };
        let (text, packets, _) = template(piece.as_bytes(), &counters);
        assert_eq!((text, packets), (piece, None));
    }
}
