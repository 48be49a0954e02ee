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

use syncline_schema::loss::{self, Loss};

use super::layer::{Dressed, Event, Given, Layer, Out, Peel, Register, Setting};
use crate::form::{Around, Names, Place};

/// Bytes read at once.
const BLOCK: usize = 256 << 10;
/// Bytes that a layer gets at once which may make many of one: a cell of a screen that is drawn anew is a frame of it.
const DRAWN: usize = 4 << 10;
/// Bytes inside that are enough for one read.
const ENOUGH: usize = 1 << 20;
/// Bytes that may come out of the layers for each byte of the file, and for a small one in any case.
const MOST_EXPANDED: u64 = 1_000;
const LEAST_EXPANDED: u64 = 16 << 20;
/// Memory for the lines of the layers themselves, as long as nobody asks for them.
const MOST_KEPT: usize = 32 << 20;

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
    /// Whether some of them were left out since they were asked for.
    is_full: bool,
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

    /// Keeps a line of a layer itself.
    fn keep(&mut self, bytes: &[u8], place: Place) {
        if self.kept.len() + bytes.len() + self.kept_places.len() * size_of::<Place>() > MOST_KEPT {
            if !std::mem::replace(&mut self.is_full, true) {
                self.losses.push(loss::MEMORY_USED_UP);
            }
            return;
        }
        self.kept.extend_from_slice(bytes);
        self.kept.push(b'\n');
        self.kept_places.push(place);
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
    /// What was read last, and how much of it was taken.
    block: Vec<u8>,
    taken: usize,
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
            block: vec![0; BLOCK],
            taken: BLOCK,
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
            let mut sink = [0; 4 << 10];
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
        if self.taken < self.block.len() {
            return self.draw();
        }
        self.block.resize(BLOCK, 0);
        match self.reader.read(&mut self.block) {
            Ok(0) => self.finish(),
            Ok(count) => {
                self.block.truncate(count);
                self.taken = 0;
                self.draw();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                self.finish();
                self.error = Some(error);
            }
        }
        if self.ended {
            self.taken = self.block.len();
        }
    }

    /// Takes what was read, or as much of it as gives enough.
    fn draw(&mut self) {
        let block = std::mem::take(&mut self.block);
        if self.levels.first().is_some_and(|level| level.peel.by_bytes()) {
            while self.taken < block.len() && self.inside.text.len() < ENOUGH {
                let end = block.len().min(self.taken + DRAWN);
                self.take_bytes(&block[self.taken..end]);
                self.taken = end;
            }
        } else {
            self.take_lines(&block);
            self.taken = block.len();
        }
        self.block = block;
        let given = u64::try_from(self.offset()).unwrap_or(0).saturating_mul(MOST_EXPANDED);
        if self.inside.bytes > given.saturating_add(LEAST_EXPANDED) {
            self.finish();
            self.error = Some(io::Error::other(format!(
                "expected at most {MOST_EXPANDED} bytes inside for each byte of the file: it draws more than any screen shows"
            )));
        }
    }

    fn take_bytes(&mut self, bytes: &[u8]) {
        let place = Place::bare(self.line, self.offset);
        self.enter(place, |peel, out| peel.bytes(bytes, out));
        self.line += memchr::memchr_iter(b'\n', bytes).count() as i64;
        self.offset += bytes.len() as i64;
    }

    fn take_lines(&mut self, block: &[u8]) {
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
        let mut places: Vec<Place> = self.inside.places.drain(..count).collect();
        let first = self.inside.first;
        self.inside.first += count as i64;
        let names = self.register.of(&mut places);
        Around { first, places, names }
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
        self.inside.is_full = false;
        let mut places = std::mem::take(&mut self.inside.kept_places);
        let names = self.register.of(&mut places);
        Some((std::mem::take(&mut self.inside.kept), Around { first: 1, places, names }))
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
            Given::Around => inside.keep(bytes, event.place),
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

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::{ENOUGH, MOST_KEPT, Stripped};
    use crate::form::Place;
    use crate::layers::harness::setting;
    use crate::layers::{Layer, cluster_dump, terminal};

    fn stripped<'r>(reader: impl Read + 'r, layer: &'static Layer) -> Stripped<'r> {
        Stripped::new(Box::new(reader), &[layer], &setting())
    }

    #[test]
    fn lines_of_the_layers_alone_are_kept_up_to_a_number_and_that_is_said() {
        let banner = "==== END logs for container kube-proxy of pod kube-system/kube-proxy-a ====\n";
        let text = banner.repeat(2 * MOST_KEPT / banner.len());
        let mut stripped = stripped(text.as_bytes(), &cluster_dump::LAYER);
        assert_eq!(stripped.next_section().map(|names| names.command), Some(None));
        while stripped.next_section().is_some() {}
        let taken = stripped.inside.kept.len() + stripped.inside.kept_places.len() * size_of::<Place>();
        assert!(taken <= MOST_KEPT && taken > MOST_KEPT / 2, "{taken}");
        assert_eq!(stripped.losses().iter().map(|loss| loss.name).collect::<Vec<_>>(), ["memory-used-up"]);
        assert!(stripped.kept().is_some());
    }

    #[test]
    fn frames_of_a_screen_are_drawn_one_after_the_other_and_come_to_an_end() {
        let header = "Script started on 2026-11-26 09:41:11+00:00 [TERM=\"xterm\" COLUMNS=\"500\" LINES=\"200\"]\n";
        let rows = format!("{}\r\n", "z".repeat(499)).repeat(190);
        let frame =
            format!("\u{1b}[?1049h\u{1b}[H\u{1b}[2JEvery 1.0s: ls     a: Thu Nov 26 09:41:11 2026\u{1b}[3;1H{rows}");
        let again: String = (0..100_000).map(|second| format!("\u{1b}[1;38H{}\u{1b}[H", second % 10)).collect();
        let text = format!("{header}{frame}{again}");
        let mut stripped = stripped(text.as_bytes(), &terminal::LAYER);
        let mut largest = 0;
        let mut given = 0_u64;
        let mut buffer = vec![0; 64 << 10];
        let mut failed = None;
        while stripped.next_section().is_some() {
            loop {
                match stripped.read_section(&mut buffer) {
                    Ok(0) => break,
                    Ok(count) => given += count as u64,
                    Err(error) => failed = Some(error.to_string()),
                }
                largest = largest.max(stripped.inside.text.len());
            }
        }
        assert!(given > 50_000_000, "{given}");
        assert!(largest < 64 * ENOUGH, "{largest}");
        assert!(failed.is_some_and(|why| why.contains("for each byte of the file")), "{given} of {}", text.len());
    }
}
