//! Takes a stack of layers off a stream while it is read.
//!
//! ```text
//! file      2026-…Z stderr P I1123 ab⏎2026-…Z stderr F cd⏎          lines 1, 2
//! inside    I1123 abcd⏎                                              line 1, which stood at line 1 of the file
//! ```
//!
//! What stands inside is read like a file of its own, section by section; [`Stripped::around`] says where its lines stood.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Read};
use std::rc::Rc;

use syncline_schema::loss::Loss;

use super::layer::{Dressed, Event, Given, Layer, Out, Peel, Register, Setting};
use crate::form::{Around, Names, Place};

/// Bytes read at once.
const BLOCK: usize = 256 << 10;

/// Layers at work, outermost first.
struct Level {
    peel: Box<dyn Peel>,
    out: Out,
}

/// Where a section begins: bytes and lines of the inside ahead of it, and its names.
#[derive(Clone, Copy, Debug)]
struct Begun {
    bytes: u64,
    lines: i64,
    names: u32,
}

/// What came out of the innermost layer.
#[derive(Default)]
struct Inside {
    /// Bytes that nobody has read yet.
    text: VecDeque<u8>,
    /// Lines whose places nobody has asked for yet.
    places: VecDeque<Place>,
    /// Number of the first of them.
    first: i64,
    /// Lines and bytes given out so far, to where sections end.
    lines: i64,
    bytes: u64,
    /// Where sections begin.
    sections: VecDeque<Begun>,
    /// Whether the last line has no end yet.
    open: bool,
    /// Lines of the layers themselves.
    losses: Vec<Loss>,
    kept: Vec<u8>,
    kept_places: Vec<Place>,
}

impl Inside {
    fn push(&mut self, bytes: &[u8], ended: bool, place: Place) {
        if !self.open {
            self.places.push_back(place);
            self.lines += 1;
        }
        self.text.extend(bytes);
        self.bytes += bytes.len() as u64;
        if ended {
            self.text.push_back(b'\n');
            self.bytes += 1;
        }
        self.open = !ended;
    }

    fn section(&mut self, names: u32) {
        if self.open {
            self.text.push_back(b'\n');
            self.bytes += 1;
            self.open = false;
        }
        match self.sections.back_mut() {
            Some(last) if last.bytes == self.bytes => last.names = names,
            _ => self.sections.push_back(Begun { bytes: self.bytes, lines: self.lines, names }),
        }
    }
}

/// A stream without its layers.
pub struct Stripped<'r> {
    reader: Box<dyn Read + 'r>,
    levels: Vec<Level>,
    inside: Inside,
    register: Register,
    limit: usize,
    /// A line of the file that has no end yet.
    carry: Vec<u8>,
    /// It was longer than the limit: its rest goes through as it is.
    overlong: bool,
    /// Place of the next line of the file.
    line: i64,
    offset: i64,
    ended: bool,
    error: Option<io::Error>,
    /// Bytes of the inside that were read.
    read: u64,
    /// Whether a section was begun.
    begun: bool,
}

impl<'r> Stripped<'r> {
    /// Takes `layers`, outermost first, off what `reader` gives.
    pub fn new(reader: Box<dyn Read + 'r>, layers: &[&'static Layer], setting: &Setting) -> Self {
        let levels = layers.iter().map(|layer| Level { peel: (layer.open)(setting), out: Out::default() }).collect();
        Self {
            reader,
            levels,
            inside: Inside { first: 1, ..Inside::default() },
            register: Register::default(),
            limit: setting.limit.max(BLOCK),
            carry: Vec::new(),
            overlong: false,
            line: 1,
            offset: 0,
            ended: false,
            error: None,
            read: 0,
            begun: false,
        }
    }

    /// Goes on to the next section. The first value says whether there is one, then with which names.
    pub fn next_section(&mut self) -> Option<Names> {
        // What nobody wanted of the section before.
        if std::mem::replace(&mut self.begun, true) {
            let mut sink = vec![0; BLOCK];
            while self.read_section(&mut sink).is_ok_and(|count| count > 0) {}
        }
        loop {
            if let Some(begun) = self.inside.sections.front().copied()
                && begun.bytes == self.read
            {
                self.inside.sections.pop_front();
                // Lines that nobody wanted have places that nobody asked for.
                self.around(begun.lines);
                return Some(self.register.get(begun.names).clone());
            }
            if !self.inside.text.is_empty() {
                return Some(Names::default());
            }
            if self.ended {
                return None;
            }
            self.fill();
        }
    }

    fn fill(&mut self) {
        let mut block = vec![0; BLOCK];
        match self.reader.read(&mut block) {
            Ok(0) => self.finish(),
            Ok(count) => self.take(&block[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                self.finish();
                self.error = Some(error);
            }
        }
    }

    fn take(&mut self, block: &[u8]) {
        if self.levels.first().is_some_and(|level| level.peel.by_bytes()) {
            let place = Place::bare(self.line, self.offset);
            self.enter(place, |peel, out| peel.bytes(block, out));
            self.line += memchr::memchr_iter(b'\n', block).count() as i64;
            self.offset += block.len() as i64;
            return;
        }
        let mut from = 0;
        for at in memchr::memchr_iter(b'\n', block) {
            let piece = &block[from..at];
            from = at + 1;
            if self.carry.is_empty() && !self.overlong {
                self.dressed(piece, true);
            } else {
                self.carry.extend_from_slice(piece);
                let carry = std::mem::take(&mut self.carry);
                self.dressed(&carry, true);
                self.carry = carry;
                self.carry.clear();
            }
        }
        self.carry.extend_from_slice(&block[from..]);
        if self.carry.len() > self.limit {
            let carry = std::mem::take(&mut self.carry);
            self.inside.push(&carry, false, Place::bare(self.line, self.offset));
            self.offset += carry.len() as i64;
            self.overlong = true;
        }
    }

    /// A whole line of the file.
    fn dressed(&mut self, bytes: &[u8], ended: bool) {
        let place = Place::bare(self.line, self.offset);
        if self.overlong {
            self.inside.push(bytes, ended, place);
            self.overlong = false;
        } else {
            feed(&mut self.levels, &mut self.inside, &mut self.register, bytes, ended, place);
        }
        self.line += 1;
        self.offset += bytes.len() as i64 + i64::from(ended);
    }

    fn enter(&mut self, place: Place, act: impl FnOnce(&mut dyn Peel, &mut Out)) {
        if let Some((first, rest)) = self.levels.split_first_mut() {
            run(first, rest, &mut self.inside, &mut self.register, place, act);
        }
    }

    fn finish(&mut self) {
        if self.ended {
            return;
        }
        if !self.carry.is_empty() || self.overlong {
            let carry = std::mem::take(&mut self.carry);
            self.dressed(&carry, false);
        }
        let place = Place::bare((self.line - 1).max(1), self.offset);
        finish(&mut self.levels, &mut self.inside, &mut self.register, place);
        self.ended = true;
    }

    fn read_section(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let until = self.inside.sections.front().map(|begun| begun.bytes);
            let left = until.map_or(u64::MAX, |until| until - self.read.min(until));
            let count = buffer.len().min(self.inside.text.len()).min(usize::try_from(left).unwrap_or(usize::MAX));
            if count > 0 {
                let (first, second) = self.inside.text.as_slices();
                let head = first.len().min(count);
                buffer[..head].copy_from_slice(&first[..head]);
                buffer[head..count].copy_from_slice(&second[..count - head]);
                self.inside.text.drain(..count);
                self.read += count as u64;
                return Ok(count);
            }
            if left == 0 {
                return Ok(0);
            }
            if self.ended {
                return self.error.take().map_or(Ok(0), Err);
            }
            self.fill();
        }
    }

    /// The places of the lines up to number `last` of the inside, which nobody asked for yet.
    pub fn around(&mut self, last: i64) -> Around {
        let count = usize::try_from((last - self.inside.first + 1).max(0)).unwrap_or(0).min(self.inside.places.len());
        let places: Vec<Place> = self.inside.places.drain(..count).collect();
        let first = self.inside.first;
        self.inside.first += count as i64;
        Around { first, places, names: self.register.all() }
    }

    /// The place of a line whose place nobody asked for yet.
    pub fn place(&self, number: i64) -> Option<Place> {
        self.inside.places.get(usize::try_from(number - self.inside.first).ok()?).copied()
    }

    /// The lines of the layers themselves since it was asked last.
    pub fn kept(&mut self) -> Option<(Vec<u8>, Around)> {
        if self.inside.kept.is_empty() {
            return None;
        }
        let places = std::mem::take(&mut self.inside.kept_places);
        Some((std::mem::take(&mut self.inside.kept), Around { first: 1, places, names: self.register.all() }))
    }

    /// What the layers knew to be missing, since it was asked last.
    pub fn losses(&mut self) -> Vec<Loss> {
        std::mem::take(&mut self.inside.losses)
    }

    /// Lines and bytes of the inside up to where the section that was read ends.
    pub fn given(&self) -> (i64, i64) {
        // Every line that was given out and asked for; of later sections nobody asked yet.
        (self.inside.first - 1, i64::try_from(self.read).unwrap_or(i64::MAX))
    }

    /// Bytes of the file that were read.
    pub fn offset(&self) -> i64 {
        self.offset + self.carry.len() as i64
    }
}

/// The section of a stream that is read now.
pub struct SectionReader<'r>(pub Rc<RefCell<Stripped<'r>>>);

impl Read for SectionReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read_section(buffer)
    }
}

/// Gives a line to the outermost of some layers, and what it gives to the next one.
fn feed(levels: &mut [Level], inside: &mut Inside, register: &mut Register, bytes: &[u8], ended: bool, place: Place) {
    let Some((first, rest)) = levels.split_first_mut() else { return inside.push(bytes, ended, place) };
    run(first, rest, inside, register, place, |peel, out| peel.line(&Dressed { bytes, ended }, out));
}

fn run(
    level: &mut Level,
    rest: &mut [Level],
    inside: &mut Inside,
    register: &mut Register,
    place: Place,
    act: impl FnOnce(&mut dyn Peel, &mut Out),
) {
    level.out.at(place);
    std::mem::swap(&mut level.out.register, register);
    act(&mut *level.peel, &mut level.out);
    std::mem::swap(&mut level.out.register, register);
    inside.losses.append(&mut level.out.losses);
    let mut text = std::mem::take(&mut level.out.text);
    let mut events: Vec<Event> = std::mem::take(&mut level.out.events);
    for event in &events {
        let bytes = &text[event.from..event.to];
        match event.given {
            Given::Bare => feed(rest, inside, register, bytes, event.ended, event.place),
            Given::Around => {
                inside.kept.extend_from_slice(bytes);
                inside.kept.push(b'\n');
                inside.kept_places.push(event.place);
            }
            Given::Section => {
                finish(rest, inside, register, event.place);
                inside.section(event.place.names);
            }
        }
    }
    // The room is used again.
    text.clear();
    events.clear();
    (level.out.text, level.out.events) = (text, events);
}

fn finish(levels: &mut [Level], inside: &mut Inside, register: &mut Register, place: Place) {
    if let Some((first, rest)) = levels.split_first_mut() {
        run(first, rest, inside, register, place, |peel, out| peel.end(out));
        finish(rest, inside, register, place);
    }
}
