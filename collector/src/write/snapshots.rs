//! Snapshots as a dictionary and changes; and back.
//!
//! The state of a stream is the list of its pieces' rules. A snapshot is compared with the state (`differences`).
//! Rules of 50,000 pieces differ in a few, so most of the time goes into comparing text that is equal.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

use syncline_schema::dataplane::{ChangeRow, RuleRow, SnapshotRow};

use super::differences::{Held, differences};
use super::tables::{Tables, WriteError};
use super::templates::template;
use crate::form::dissector::{RuleFields, Section};
use crate::form::ledger::{Full, Held as Account, Ledger};
use crate::form::{Context, RawSnapshot};

/// Memory of a piece of a state: what it is and where it ends, now and in the snapshot ahead, and what is needed to compare them.
pub(super) const PIECE: usize =
    2 * (size_of::<Held>() + size_of::<usize>() + size_of::<u32>() + 2 * size_of::<i64>()) + size_of::<Range<usize>>();
/// Memory of a rule of the dictionary beside its text, in a map that may be half empty.
const RULE: usize = 2 * size_of::<((u32, String), i64)>();
/// Longest section: names of chains and frontends are shorter, and one stands beside each of its pieces.
const LONGEST_SECTION: usize = 4 << 10;

/// One stream of snapshots.
struct Stream {
    id: i32,
    /// By section and text.
    dictionary: HashMap<(u32, String), i64>,
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
    /// Whether the last snapshot was refused: nothing is known of the state since.
    refused: bool,
    /// Number of the last snapshot among those of all streams.
    used: u64,
    /// What the dictionary takes, and what the state does.
    rules: Account,
    pieces: Account,
}

/// Name and format of a stream.
type Key = (String, &'static str);

/// All streams of a bundle.
pub struct Encoder {
    ledger: Ledger,
    streams: HashMap<Key, Stream>,
    /// Those of the source that is being read which are of no series of files: they end with it.
    own: Vec<Key>,
    /// Hashes of those that had to be forgotten, and what makes them.
    forgotten: HashSet<u64>,
    hasher: RandomState,
    next_rule: i64,
    /// Snapshots so far.
    count: u64,
}

/// What became of a snapshot.
#[derive(Debug, PartialEq, Eq)]
pub enum Encoded {
    /// It is one of this stream.
    In(i32),
    /// Its series of files begins anew with this stream: there was no room to keep the state ahead.
    Anew(i32),
    /// There is no room for its state.
    Refused(Full),
}

impl Encoder {
    /// No stream yet; what is kept of them is taken from `ledger`.
    pub fn new(ledger: Ledger) -> Self {
        Self {
            ledger,
            streams: HashMap::new(),
            own: Vec::new(),
            forgotten: HashSet::new(),
            hasher: RandomState::new(),
            next_rule: 0,
            count: 0,
        }
    }

    /// The source was read to its end.
    pub fn end(&mut self) {
        for key in self.own.drain(..) {
            self.streams.remove(&key);
        }
    }

    /// Takes room for the stream that is being written, which is not among the others: those that were written longest ago are forgotten
    /// for it. A series of files is mostly read one file after the other.
    fn take(&mut self, account: &mut Account, bytes: usize) -> Result<(), Full> {
        loop {
            let Err(full) = account.take(bytes) else { return Ok(()) };
            let oldest = self.streams.iter().min_by_key(|(_, stream)| stream.used).map(|(key, _)| key.clone());
            let Some(oldest) = oldest else { return Err(full) };
            self.forgotten.insert(self.hasher.hash_one(&oldest));
            self.streams.remove(&oldest);
        }
    }

    /// Name of the stream that a snapshot belongs to. A file of a series goes on with the file ahead of it only where it is
    /// the next one, and was taken after it: two recordings of one time are two, whatever their names.
    fn stream_of(&self, context: &Context, snapshot: &RawSnapshot) -> String {
        let own = own_name(context);
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

    /// Encodes one snapshot. One whose state does not fit is left out, with the looks that found it unchanged.
    ///
    /// # Errors
    /// A table that cannot be written.
    pub fn encode(
        &mut self,
        context: &Context,
        snapshot: &RawSnapshot,
        tables: &mut Tables,
    ) -> Result<Encoded, WriteError> {
        let name = self.stream_of(context, snapshot);
        let is_own = name == own_name(context);
        let key = (name, snapshot.dissector.format);
        self.count += 1;
        let known = self.streams.remove(&key);
        let is_new = known.is_none();
        if is_new && is_own {
            self.own.push(key.clone());
        }
        let anew = is_new && !self.forgotten.is_empty() && self.forgotten.remove(&self.hasher.hash_one(&key));
        let mut stream = known.unwrap_or_else(|| Stream::new(context.source, &self.ledger));
        stream.used = self.count;
        stream.last_file = snapshot.series.as_ref().and_then(|series| series.number).or(stream.last_file);
        stream.last_time = snapshot.time.or(stream.last_time);
        let encoded = match snapshot.unchanged {
            true => stream.again(context, snapshot, tables),
            false => self.encode_in(&mut stream, context, snapshot, tables),
        };
        self.streams.insert(key, stream);
        Ok(match encoded? {
            Encoded::In(id) if anew => Encoded::Anew(id),
            encoded => encoded,
        })
    }

    fn encode_in(
        &mut self,
        stream: &mut Stream,
        context: &Context,
        snapshot: &RawSnapshot,
        tables: &mut Tables,
    ) -> Result<Encoded, WriteError> {
        let dissector = snapshot.dissector;
        let pieces = (dissector.split)(&snapshot.text);
        // Held beside what the state ahead takes, until that is given back.
        let mut held = self.ledger.account();
        let bytes = pieces.len().saturating_mul(PIECE).saturating_add(snapshot.text.len());
        if let Err(full) = self.take(&mut held, bytes) {
            stream.refused = true;
            return Ok(Encoded::Refused(full));
        }
        let number = stream.next;
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
            if section.len() > LONGEST_SECTION {
                section.truncate(section.floor_char_boundary(LONGEST_SECTION));
            }
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
                    let key = (section_id, template);
                    let rule = match stream.dictionary.get(&key) {
                        Some(rule) => *rule,
                        None => {
                            if let Err(full) = self.take(&mut stream.rules, RULE + key.1.len()) {
                                stream.refused = true;
                                return Ok(Encoded::Refused(full));
                            }
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
        stream.next += 1;
        let id = stream.id;
        differences(&stream.state, &now, |change| tables.push(&ChangeRow { stream: id, snapshot: number, ..change }))?;
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
        (stream.complete, stream.refused) = (snapshot.complete, false);
        stream.pieces = held;
        stream.state = now;
        stream.sections = sections;
        stream.texts.clear();
        stream.texts.extend_from_slice(&snapshot.text);
        stream.ends = pieces.iter().map(|range| range.end).collect();
        Ok(Encoded::In(stream.id))
    }
}

/// Name of the stream of a file that is of no series.
fn own_name(context: &Context) -> String {
    format!("{}#{}", context.path, context.source)
}

impl Stream {
    fn new(id: i32, ledger: &Ledger) -> Self {
        Self {
            id,
            dictionary: HashMap::new(),
            state: Vec::new(),
            texts: Vec::new(),
            ends: Vec::new(),
            sections: Vec::new(),
            section_ids: HashMap::new(),
            next: 0,
            last_file: None,
            last_time: None,
            complete: false,
            refused: false,
            used: 0,
            rules: ledger.account(),
            pieces: ledger.account(),
        }
    }

    /// A reading that found the state as it was: a snapshot without changes. Where none stands ahead of it (the file was cut) nothing
    /// is known of the state.
    fn again(&mut self, context: &Context, snapshot: &RawSnapshot, tables: &mut Tables) -> Result<Encoded, WriteError> {
        if self.refused {
            return Ok(Encoded::Refused(self.pieces.full()));
        }
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
        Ok(Encoded::In(self.id))
    }
}
