//! Snapshots as a dictionary and changes; and back.
//!
//! The state of a stream is the list of its pieces' rules. A snapshot is compared with the state: what both begin and
//! end with is left alone, the middle is compared piece by piece with a greedy search for the next common piece.
//! Rules of 50,000 pieces differ in a few, so most of the time goes into comparing text that is equal.

use std::collections::HashMap;

use syncline_schema::dataplane::{COUNTER, ChangeRow, RuleRow, SnapshotRow};

use super::tables::{Tables, WriteError};
use crate::parse::snapshot::{Counters, Dissector, Section};
use crate::parse::{Context, RawSnapshot};

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
    dictionary: HashMap<(Section, Vec<u8>), i64>,
    state: Vec<Held>,
    /// Text of each piece of the last snapshot, for a fast comparison.
    texts: Vec<u8>,
    ends: Vec<usize>,
    /// Section of each piece of the last snapshot.
    sections: Vec<u32>,
    section_ids: HashMap<Section, u32>,
    next: i64,
}

/// All streams of a bundle.
#[derive(Default)]
pub struct Encoder {
    streams: HashMap<(String, &'static str), Stream>,
    next_rule: i64,
}

impl Encoder {
    /// Encodes one snapshot.
    ///
    /// # Errors
    /// A table that cannot be written.
    pub fn encode(
        &mut self,
        context: &Context,
        snapshot: &RawSnapshot,
        dissector: &Dissector,
        tables: &mut Tables,
    ) -> Result<(), WriteError> {
        let folder = context.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let name =
            if snapshot.file_of_series { folder.to_owned() } else { format!("{}#{}", context.path, context.source) };
        let stream = self.streams.entry((name, snapshot.format)).or_insert_with(|| Stream {
            id: context.source,
            dictionary: HashMap::new(),
            state: Vec::new(),
            texts: Vec::new(),
            ends: Vec::new(),
            sections: Vec::new(),
            section_ids: HashMap::new(),
            next: 0,
        });
        let pieces = (dissector.split)(&snapshot.text);
        let number = stream.next;
        stream.next += 1;
        let mut section = Section::new();
        let mut now: Vec<Held> = Vec::with_capacity(pieces.len());
        let mut line = snapshot.first_line;
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
                            let fields = (dissector.fields)(&context.path, &section, piece);
                            tables.push(&RuleRow {
                                source: context.source,
                                record: line,
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
                                text: String::from_utf8_lossy(&key.1),
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
            time_from: snapshot.time_from.into(),
            format: snapshot.format.into(),
            pieces: now.len() as i64,
            complete: snapshot.complete,
            ..Default::default()
        })?;
        stream.state = now;
        stream.sections = sections;
        stream.texts.clear();
        stream.texts.extend_from_slice(&snapshot.text);
        stream.ends = pieces.iter().map(|range| range.end).collect();
        Ok(())
    }
}

/// The piece with its counters cut out, and the counters.
fn template(piece: &[u8], counters: &Counters) -> (Vec<u8>, Option<i64>, Option<i64>) {
    let mut text = Vec::with_capacity(piece.len());
    let mut from = 0;
    let mut values = [None, None];
    for (value, range) in values.iter_mut().zip([&counters.packets, &counters.bytes]) {
        let Some(range) = range else { continue };
        let field = &piece[range.clone()];
        let digits = field.iter().position(|byte| *byte != b' ').map_or(&field[..0], |at| &field[at..]);
        let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<i64>().ok());
        let canonical = number.is_some_and(|number| number.to_string().as_bytes() == digits);
        let width = field.len().min(60) as u8;
        // A number wider than its padding is written as it is: its width must not make another rule.
        let width = if digits.len() == field.len() { 0 } else { width };
        if !canonical {
            continue;
        }
        text.extend_from_slice(&piece[from..range.start]);
        text.extend_from_slice(COUNTER.to_string().as_bytes());
        text.push(b'0' + width);
        from = range.end;
        *value = number;
    }
    text.extend_from_slice(&piece[from..]);
    (text, values[0], values[1])
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
                let gone = old[i..].iter().take(SEARCH).position(|held| held.rule == b.rule);
                let come = new[j..].iter().take(SEARCH).position(|held| held.rule == a.rule);
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
