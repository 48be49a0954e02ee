//! Packets of a trace, written as they come: tracks where they are first used, text interned, slices that overlap on tracks beside each
//! other.
//!
//! ```text
//! group     Sources
//! track       apiserver/audit.log
//! lanes         request   ├────────┤  ├──┤         slices of a track nest or follow each other, so one that overlaps
//!               request      ├─────────┤           another goes to a lane of its own; lanes of one name are drawn as one
//! ```
//!
//! The order of packets does not matter to a reader, that of equal times does: the end of a slice stands ahead of what begins on its lane
//! at that moment, since lanes are filled in that order.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io::Write;

use prost::Message;
use syncline_schema::printable::printable;

use super::messages::{
    Argument, BOOTTIME, Clock, ClockSnapshot, CounterDescriptor, Data, DebugAnnotation, EXPLICIT, EventType, Interned,
    InternedData, NEEDS_STATE, REALTIME, STATE_CLEARED, TracePacket, TrackDescriptor, TrackEvent,
};

/// The one sequence of packets that there is.
const SEQUENCE: u32 = 1;
/// Characters of a text of a capture at most: an error or a command line may be a page.
const LONGEST: usize = 1_000;

/// Lanes of bounds beside each other at most.
const DEEPEST: usize = 64;

/// A value of an event's argument.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Bool(bool),
    Int(i64),
    /// Text that few events share.
    Text(String),
    /// Text that many do: paths, clocks.
    Shared(String),
}

/// A track that is a place for events, by its number in the trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Track(u64);

/// What an event says beside its time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    pub category: &'static str,
    pub name: String,
    /// Names and values.
    pub arguments: Vec<(&'static str, Value)>,
    /// Arrows that begin here.
    pub flows: Vec<u64>,
    /// Arrows that end here.
    pub ends: Vec<u64>,
}

/// Lanes by the end of their last slice, ns, the earliest first.
type Lanes = BinaryHeap<Reverse<(i64, u64)>>;

/// Writes packets.
pub struct Packets<'o> {
    out: &'o mut dyn Write,
    buffer: Vec<u8>,
    begun: bool,
    tracks: u64,
    /// Groups and tracks by parent and name.
    known: HashMap<(u64, String), u64>,
    /// Lanes of a track and a name.
    lanes: HashMap<(u64, &'static str), Lanes>,
    names: HashMap<&'static str, u64>,
    categories: HashMap<&'static str, u64>,
    texts: HashMap<String, u64>,
    /// What the next packet interns.
    fresh: InternedData,
    /// Moments ahead of 1970, which a trace has no number for: they stand at 0, their bounds in the arguments.
    pub below: u64,
}

/// Tracks that may be of one rank.
const RANK: i32 = 1 << 20;

impl<'o> Packets<'o> {
    /// Packets to `out`.
    pub fn new(out: &'o mut dyn Write) -> Self {
        Self {
            out,
            buffer: Vec::new(),
            begun: false,
            tracks: 0,
            known: HashMap::new(),
            lanes: HashMap::new(),
            names: HashMap::new(),
            categories: HashMap::new(),
            texts: HashMap::new(),
            fresh: InternedData::default(),
            below: 0,
        }
    }

    fn packet(&mut self, timestamp: Option<i64>, data: Data) -> std::io::Result<()> {
        let state = if std::mem::replace(&mut self.begun, true) { 0 } else { STATE_CLEARED };
        let fresh = std::mem::take(&mut self.fresh);
        let below = timestamp.is_some_and(|ns| ns < 0);
        self.below += u64::from(below);
        let packet = TracePacket {
            timestamp: timestamp.map(|ns| u64::try_from(ns).unwrap_or(0)),
            trusted_packet_sequence_id: Some(SEQUENCE),
            interned_data: (fresh != InternedData::default()).then_some(fresh),
            sequence_flags: Some(state | NEEDS_STATE),
            data: Some(data),
        };
        self.buffer.clear();
        // A trace is its packets, each as field 1 with its length ahead.
        self.buffer.push(0x0a);
        packet.encode_length_delimited(&mut self.buffer).map_err(std::io::Error::other)?;
        self.out.write_all(&self.buffer)
    }

    /// Says that the trace's clock shows UTC, so that Perfetto can show dates.
    ///
    /// # Errors
    /// What the writer says.
    pub fn utc(&mut self, ns: i64) -> std::io::Result<()> {
        let Ok(ns) = u64::try_from(ns) else { return Ok(()) };
        let clock = |clock_id| Clock { clock_id: Some(clock_id), timestamp: Some(ns) };
        let clocks = [BOOTTIME, REALTIME].map(clock).to_vec();
        self.packet(Some(ns as i64), Data::ClockSnapshot(ClockSnapshot { clocks }))
    }

    /// The group or track of a name within another one, or at the top; `rank` is its place among a group's.
    ///
    /// # Errors
    /// What the writer says.
    pub fn track(&mut self, within: Option<Track>, name: &str, rank: Option<i32>) -> std::io::Result<Track> {
        let key = (within.map_or(0, |track| track.0), name.to_owned());
        if let Some(uuid) = self.known.get(&key) {
            return Ok(Track(*uuid));
        }
        let uuid = self.described(within, name, rank, None, None)?;
        self.known.insert(key, uuid);
        Ok(Track(uuid))
    }

    /// A new track of counter values.
    ///
    /// # Errors
    /// What the writer says.
    pub fn counter(&mut self, within: Track, name: &str, unit: &str, description: &str) -> std::io::Result<Track> {
        let counter = CounterDescriptor { unit_name: Some(unit.to_owned()) };
        Ok(Track(self.described(Some(within), name, None, Some(counter), Some(description))?))
    }

    fn described(
        &mut self,
        within: Option<Track>,
        name: &str,
        rank: Option<i32>,
        counter: Option<CounterDescriptor>,
        description: Option<&str>,
    ) -> std::io::Result<u64> {
        self.tracks += 1;
        // Of equal rank they stand as they were made.
        let made = i32::try_from(self.tracks).unwrap_or(i32::MAX);
        let rank = rank.unwrap_or(0).saturating_mul(RANK).saturating_add(made.min(RANK - 1));
        let descriptor = TrackDescriptor {
            uuid: Some(self.tracks),
            name: Some(shown(name)),
            parent_uuid: within.map(|track| track.0),
            child_ordering: counter.is_none().then_some(EXPLICIT),
            counter,
            sibling_order_rank: Some(rank),
            description: description.map(shown),
        };
        let uuid = self.tracks;
        self.packet(None, Data::TrackDescriptor(descriptor))?;
        Ok(uuid)
    }

    /// A lane of a track that is free from `low` on, taken until `high`, ns; none where that would be more than `most`.
    fn lane(
        &mut self,
        track: Track,
        name: &'static str,
        (low, high): (i64, i64),
        most: usize,
    ) -> std::io::Result<Option<u64>> {
        let lanes = self.lanes.entry((track.0, name)).or_default();
        let free = match lanes.peek() {
            Some(Reverse((end, _))) if *end <= low => lanes.pop().map(|Reverse((_, uuid))| uuid),
            _ => None,
        };
        let uuid = match free {
            Some(uuid) => uuid,
            None if lanes.len() >= most => return Ok(None),
            None => self.described(Some(track), name, None, None, None)?,
        };
        self.lanes.entry((track.0, name)).or_default().push(Reverse((high, uuid)));
        Ok(Some(uuid))
    }

    /// A slice on a lane `lane` of a track; `inner` are slices within it, which follow each other. One without length is an instant.
    ///
    /// # Errors
    /// What the writer says.
    pub fn slice(
        &mut self,
        track: Track,
        lane: &'static str,
        (low, high): (i64, i64),
        told: Told,
        inner: Vec<((i64, i64), Told)>,
    ) -> std::io::Result<()> {
        let Some(uuid) = self.lane(track, lane, (low, high), usize::MAX)? else { return Ok(()) };
        if low >= high && inner.is_empty() {
            return self.event(low, EventType::Instant, uuid, told);
        }
        self.event(low, EventType::SliceBegin, uuid, told)?;
        for ((from, to), told) in inner {
            self.event(from, EventType::SliceBegin, uuid, told)?;
            self.event(to, EventType::SliceEnd, uuid, Told::default())?;
        }
        self.event(high, EventType::SliceEnd, uuid, Told::default())
    }

    /// A slice of bounds, where those that overlap it leave a lane; answers whether it is there. What is drawn thousands of lanes deep
    /// nobody can look at, and bounds stand in the arguments of their event too.
    ///
    /// # Errors
    /// What the writer says.
    pub fn bounds(
        &mut self,
        track: Track,
        lane: &'static str,
        (low, high): (i64, i64),
        told: Told,
    ) -> std::io::Result<bool> {
        let Some(uuid) = self.lane(track, lane, (low, high), DEEPEST)? else { return Ok(false) };
        self.event(low, EventType::SliceBegin, uuid, told)?;
        self.event(high, EventType::SliceEnd, uuid, Told::default())?;
        Ok(true)
    }

    /// A value of a counter.
    ///
    /// # Errors
    /// What the writer says.
    pub fn value(&mut self, counter: Track, time: i64, value: f64) -> std::io::Result<()> {
        let event = TrackEvent {
            r#type: Some(EventType::Counter.into()),
            track_uuid: Some(counter.0),
            double_counter_value: Some(value),
            ..TrackEvent::default()
        };
        self.packet(Some(time), Data::TrackEvent(event))
    }

    fn event(&mut self, time: i64, kind: EventType, uuid: u64, told: Told) -> std::io::Result<()> {
        let mut debug_annotations = Vec::with_capacity(told.arguments.len());
        for (name, value) in told.arguments {
            let name_iid = Some(self.argument(name));
            let value = Some(match value {
                Value::Bool(is) => Argument::Bool(is),
                Value::Int(number) => Argument::Int(number),
                Value::Text(text) => Argument::Text(shown(&text)),
                Value::Shared(text) => Argument::Interned(self.text(text)),
            });
            debug_annotations.push(DebugAnnotation { name_iid, value });
        }
        let category_iids = if told.category.is_empty() { Vec::new() } else { vec![self.category(told.category)] };
        let event = TrackEvent {
            category_iids,
            debug_annotations,
            r#type: Some(kind.into()),
            track_uuid: Some(uuid),
            name: (!told.name.is_empty()).then(|| shown(&told.name)),
            flow_ids: told.flows,
            terminating_flow_ids: told.ends,
            ..TrackEvent::default()
        };
        self.packet(Some(time), Data::TrackEvent(event))
    }

    fn argument(&mut self, name: &'static str) -> u64 {
        let next = self.names.len() as u64 + 1;
        *self.names.entry(name).or_insert_with(|| {
            self.fresh.debug_annotation_names.push(interned(next, name.to_owned()));
            next
        })
    }

    fn category(&mut self, name: &'static str) -> u64 {
        let next = self.categories.len() as u64 + 1;
        *self.categories.entry(name).or_insert_with(|| {
            self.fresh.event_categories.push(interned(next, name.to_owned()));
            next
        })
    }

    fn text(&mut self, text: String) -> u64 {
        let next = self.texts.len() as u64 + 1;
        *self.texts.entry(text).or_insert_with_key(|text| {
            self.fresh.debug_annotation_string_values.push(interned(next, shown(text)));
            next
        })
    }
}

fn interned(iid: u64, name: String) -> Interned {
    Interned { iid: Some(iid), name: Some(name) }
}

/// Text of a capture as a trace holds it: printable, and no longer than a reader looks at.
fn shown(text: &str) -> String {
    let text = printable(text);
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::messages::Trace;
    use super::*;

    fn told(name: &str) -> Told {
        let arguments = vec![("source", Value::Shared("a.log\u{202e}".to_owned())), ("record", Value::Int(7))];
        Told { category: "timeline", name: name.to_owned(), arguments, ..Told::default() }
    }

    #[test]
    fn slices_that_overlap_have_lanes_of_their_own_and_texts_are_written_once() {
        let mut out = Vec::new();
        let mut packets = Packets::new(&mut out);
        let track = packets.track(None, "a", None).unwrap();
        assert_eq!(packets.track(None, "a", None).unwrap(), track);
        for bounds in [(0, 10), (5, 15), (10, 20), (15, 15), (-5, -5)] {
            packets.slice(track, "lane", bounds, told("x\u{1b}"), Vec::new()).unwrap();
        }
        let drawn = (0..DEEPEST + 3).filter(|_| packets.bounds(track, "bounds", (0, 9), told("b")).unwrap()).count();
        assert_eq!((drawn, packets.below), (DEEPEST, 1));
        let packets = Trace::decode(out.as_slice()).unwrap().packet;
        let mut lanes: Vec<(u64, u64)> = Vec::new();
        let (mut interned, mut names) = (0, Vec::new());
        for packet in packets {
            interned += packet.interned_data.map_or(0, |all| {
                assert_eq!(all.debug_annotation_string_values[0].name.as_deref(), Some("a.log\\u{202e}"));
                all.debug_annotation_names.len() + all.event_categories.len()
            });
            if let Some(Data::TrackEvent(event)) = packet.data {
                lanes.push((packet.timestamp.unwrap(), event.track_uuid.unwrap()));
                names.extend(event.name);
            }
        }
        assert_eq!(interned, 3, "two names and a category");
        assert_eq!(names[0], "x\\u{1b}");
        let [first, second] = [lanes[0].1, lanes[2].1];
        let expected = [(0, first), (10, first), (5, second), (15, second), (10, first), (20, first), (15, second)];
        assert_eq!(lanes[..7], expected);
    }
}
