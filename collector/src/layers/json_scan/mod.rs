//! Finds the entries of a log store's export while it comes in: JSON lines, documents over many lines, arrays of any size.
//!
//! ```text
//! {"status":"success","data":{"result":[{"stream":{…},"values":[["1770…","text"],["1770…","text"]]}]}}
//!  context ──────────────────────────────────────┘               └─ entry ─────┘ └─ entry ─────┘
//! ```
//!
//! No more than one entry is held at once. A text that is not closed within its line is damage: the entry that it stands in is
//! given as it is, and the next one that begins as this one did begins anew. Every byte is looked at once, but for those of
//! damaged entries, which are looked at twice.

use std::collections::VecDeque;

use crate::form::Place;
use crate::form::effort::Effort;

mod damage;
#[cfg(test)]
mod scan_tests;
mod value;

use damage::Lost;
use value::Value;

/// Blanks ahead of a value, in its line or behind a bracket, at most: no program indents so far.
const WIDEST: usize = 4 << 10;
/// Values, and their bytes, that are kept for the entries behind them.
const MOST_VALUES: usize = 256;
const MOST_VALUE_BYTES: usize = 1 << 20;

/// What was found.
pub enum Piece<'b> {
    /// An entry, and at which of the paths it lies.
    Entry { path: &'static str, json: &'b [u8] },
    /// A line that is no JSON.
    Line { text: &'b [u8], ended: bool },
    /// What is left of a damaged entry.
    Damaged { text: &'b [u8], ended: bool },
}

/// Values that stood ahead of the entries, outside of them, the innermost last.
#[derive(Debug, Default)]
pub struct Context(Vec<(usize, String, Vec<u8>)>);

impl Context {
    /// Keeps a value, where there is room.
    fn push(&mut self, depth: usize, key: String, json: &[u8]) {
        let bytes: usize = self.0.iter().map(|(_, key, json)| key.len() + json.len()).sum();
        if self.0.len() < MOST_VALUES && bytes + key.len() + json.len() <= MOST_VALUE_BYTES {
            self.0.push((depth, key, json.to_vec()));
        }
    }

    /// The JSON of a value by its key.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.0.iter().rev().find(|(_, known, _)| known == key).map(|(_, _, json)| &**json)
    }
}

/// Takes what is found: the piece, where its first line stood, and what stood around it. False of an entry that is no JSON,
/// true of a line that heads a table.
pub type Take<'t> = dyn FnMut(Piece<'_>, Place, &Context) -> bool + 't;

/// An array or object that holds entries.
#[derive(Debug)]
struct Container {
    path: String,
    is_array: bool,
    key: Option<String>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Between,
    Value(Value),
    Line(usize),
    Lost(Lost),
}

/// The search.
pub struct Scan {
    paths: &'static [&'static str],
    limit: usize,
    text: Vec<u8>,
    at: usize,
    /// Where lines begin in `text`; below zero where that was given away already.
    lines: VecDeque<(isize, Place)>,
    /// Place of the next line, where bytes are taken instead of lines.
    next: Place,
    stack: Vec<Container>,
    context: Context,
    state: State,
    /// First key of the outermost object, and the blanks ahead of it.
    root: Option<(String, usize)>,
    /// How the entry that was damaged last began.
    mark: Vec<u8>,
    lost_column: usize,
    /// Blanks ahead of the line whose beginning was given away.
    indent: usize,
    /// What damaged entries may still cost.
    effort: Effort,
    /// Set where the text turned out to be a table: lines are given as they are.
    pub is_table: bool,
}

impl Scan {
    /// `paths`: where entries lie; `limit`: bytes of one at most.
    pub fn new(paths: &'static [&'static str], limit: usize) -> Self {
        Self {
            paths,
            limit,
            text: Vec::new(),
            at: 0,
            lines: VecDeque::new(),
            next: Place::bare(1, 0),
            stack: Vec::new(),
            context: Context::default(),
            state: State::Between,
            root: None,
            mark: Vec::new(),
            lost_column: 0,
            indent: 0,
            effort: Effort::of(0),
            is_table: false,
        }
    }

    /// Takes a line.
    pub fn line(&mut self, bytes: &[u8], ended: bool, place: Place, take: &mut Take<'_>) {
        self.compact();
        self.lines.push_back((self.text.len() as isize, place));
        self.text.extend_from_slice(bytes);
        self.effort.gain(bytes.len());
        if ended {
            self.text.push(b'\n');
        }
        self.run(false, false, take);
    }

    /// Takes bytes as they come.
    pub fn bytes(&mut self, bytes: &[u8], take: &mut Take<'_>) {
        self.compact();
        if self.lines.is_empty() {
            self.lines.push_back((0, self.next));
        }
        self.text.extend_from_slice(bytes);
        self.effort.gain(bytes.len());
        self.run(true, false, take);
    }

    /// Gives what is not whole, and begins anew.
    pub fn end(&mut self, by_bytes: bool, take: &mut Take<'_>) {
        loop {
            self.run(by_bytes, true, take);
            let text = std::mem::take(&mut self.text);
            match self.state {
                State::Value(value) => self.damaged(&text, value),
                State::Line(begin) => {
                    let place = self.place(begin);
                    take(Piece::Line { text: &text[begin..], ended: false }, place, &self.context);
                    (self.at, self.state) = (text.len(), State::Between);
                }
                State::Lost(lost) => {
                    self.give_lost(&text, lost, text.len(), false, take);
                    (self.at, self.state) = (text.len(), State::Between);
                }
                State::Between => {}
            }
            self.text = text;
            if matches!(self.state, State::Between) && self.at >= self.text.len() {
                break;
            }
        }
        self.text.clear();
        self.lines.clear();
        self.at = 0;
        (self.state, self.root, self.is_table) = (State::Between, None, false);
        self.stack.clear();
        self.context.0.clear();
    }

    /// The beginning of an entry that is not whole yet, for recognition.
    pub fn unfinished(&self) -> Option<(&'static str, &[u8])> {
        match self.state {
            State::Value(Value { begin, entry: Some(path), .. }) => Some((path, &self.text[begin..])),
            _ => None,
        }
    }

    /// Forgets what was given away.
    fn compact(&mut self) {
        let kept = match self.state {
            // The blanks ahead of a line that turns out to be no JSON are part of it.
            State::Between => self.line_if_first(&self.text, self.at),
            State::Value(value) => value.begin,
            State::Line(begin) | State::Lost(Lost { begin, .. }) => begin,
        };
        // What stood at the beginning of a line that is given away in part says how far it is indented.
        if let Ok(begin) = usize::try_from(self.line_of(kept).0)
            && begin < kept
        {
            let line = &self.text[begin..kept];
            self.indent = line.iter().take(WIDEST).take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        }
        if kept == 0 {
            return;
        }
        self.text.drain(..kept);
        self.at -= kept;
        let kept_signed = kept as isize;
        while self.lines.len() > 1 && self.lines.get(1).is_some_and(|(begin, _)| *begin <= kept_signed) {
            self.lines.pop_front();
        }
        for (begin, _) in &mut self.lines {
            *begin -= kept_signed;
        }
        match &mut self.state {
            State::Between => {}
            State::Value(value) => {
                value.begin -= kept;
                value.first_key = value.first_key.saturating_sub(kept);
                value.text = (value.text.0.saturating_sub(kept), value.text.1.saturating_sub(kept));
            }
            State::Line(begin) | State::Lost(Lost { begin, .. }) => *begin -= kept,
        }
    }

    /// The line that a byte stands in: where it begins, and its place.
    fn line_of(&self, at: usize) -> (isize, Place) {
        let at = at as isize;
        let behind = self.lines.partition_point(|(begin, _)| *begin <= at);
        self.lines.get(behind.saturating_sub(1)).copied().unwrap_or((0, self.next))
    }

    fn place(&self, at: usize) -> Place {
        self.line_of(at).1
    }

    /// Whether a line begins at a byte.
    fn begins_line(&self, at: usize) -> bool {
        self.line_of(at).0 == at as isize
    }

    /// Blanks ahead of a byte, where nothing else stands ahead of it in its line.
    fn column(&self, text: &[u8], at: usize) -> Option<usize> {
        let begin = usize::try_from(self.line_of(at).0).ok()?;
        let ahead = text.get(begin..at)?;
        (ahead.len() <= WIDEST && ahead.iter().all(|byte| matches!(byte, b' ' | b'\t'))).then_some(at - begin)
    }

    /// The line end at a byte was passed: where bytes are taken, the next line begins behind it.
    fn passed_line_end(&mut self, at: usize, by_bytes: bool) {
        if !by_bytes {
            return;
        }
        let behind = at as isize + 1;
        let (begin, place) = self.lines.back().copied().unwrap_or((0, self.next));
        if begin < behind {
            self.next = Place::bare(place.line + 1, place.offset + (behind - begin) as i64);
            self.lines.push_back((behind, self.next));
        }
        // Lines ahead of all that is unfinished are of no use any more.
        while matches!(self.state, State::Between) && self.lines.get(1).is_some_and(|(begin, _)| *begin <= behind) {
            self.lines.pop_front();
        }
    }

    fn run(&mut self, by_bytes: bool, is_last: bool, take: &mut Take<'_>) {
        let text = std::mem::take(&mut self.text);
        while self.at < text.len() {
            let goes_on = match self.state {
                State::Between => self.between(&text, by_bytes, is_last),
                State::Value(value) => self.value(&text, value, by_bytes, take),
                State::Line(begin) => self.rest_of_line(&text, begin, by_bytes, take),
                State::Lost(lost) => self.lost(&text, lost, by_bytes, take),
            };
            if !goes_on {
                break;
            }
        }
        self.text = text;
    }

    /// A line that is no JSON; false where its end is not there yet.
    fn rest_of_line(&mut self, text: &[u8], begin: usize, by_bytes: bool, take: &mut Take<'_>) -> bool {
        let Some(length) = memchr::memchr(b'\n', &text[self.at..]) else {
            self.at = text.len();
            if self.at - begin > self.limit {
                take(Piece::Line { text: &text[begin..], ended: false }, self.place(begin), &self.context);
                self.state = State::Line(self.at);
            }
            return false;
        };
        let end = self.at + length;
        let place = self.place(begin);
        self.is_table |= take(Piece::Line { text: &text[begin..end], ended: true }, place, &self.context);
        self.at = end + 1;
        self.state = match self.stack.len() {
            0 => State::Between,
            _ => State::Lost(Lost { begin: self.at, column: self.lost_column }),
        };
        self.passed_line_end(end, by_bytes);
        true
    }

    /// Between values, within containers or outside of all documents. False where more must be seen to decide.
    fn between(&mut self, text: &[u8], by_bytes: bool, is_last: bool) -> bool {
        let at = self.at;
        if self.is_table {
            self.state = State::Line(at);
            return true;
        }
        match text[at] {
            b'\n' => {
                self.at += 1;
                self.passed_line_end(at, by_bytes);
            }
            b' ' | b'\t' | b'\r' | b',' | b':' => {
                if text[at] == b','
                    && let Some(container) = self.stack.last_mut()
                {
                    container.key = None;
                }
                self.at += 1;
            }
            open @ (b'{' | b'[') => {
                if self.stack.is_empty() {
                    let rest = &text[at + 1..];
                    let rest = &rest[..rest.len().min(WIDEST)];
                    match rest.iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\r')) {
                        None if !is_last && rest.len() < WIDEST => return false,
                        Some(next) if begins_json(open, *next) => {}
                        _ => {
                            self.state = State::Line(self.line_if_first(text, at));
                            return true;
                        }
                    }
                }
                if !is_last && self.may_begin_root(text, at) {
                    return false;
                }
                if self.begins_root(text, at) {
                    self.stack.clear();
                    self.context.0.clear();
                }
                self.open(text, at, open);
            }
            b'}' | b']' if !self.stack.is_empty() => {
                self.stack.pop();
                let depth = self.stack.len();
                self.context.0.retain(|(known, _, _)| *known <= depth);
                if let Some(container) = self.stack.last_mut() {
                    container.key = None;
                }
                self.at += 1;
            }
            _ if self.stack.is_empty() => self.state = State::Line(self.line_if_first(text, at)),
            byte => {
                let entry =
                    self.stack.last().filter(|one| one.is_array).and_then(|one| self.entry(&format!("{}[]", one.path)));
                let mut value = self.begun(text, at, entry);
                value.quoted = byte == b'"';
                self.at += usize::from(value.quoted);
                self.state = State::Value(value);
            }
        }
        true
    }

    /// Where a line begins that shows nothing but blanks up to here; else here.
    fn line_if_first(&self, text: &[u8], at: usize) -> usize {
        self.column(text, at).map_or(at, |column| at - column)
    }

    fn entry(&self, path: &str) -> Option<&'static str> {
        self.paths.iter().find(|known| **known == path).copied()
    }

    /// Whether a value at a path that begins with this bracket holds entries.
    fn holds(&self, path: &str, open: u8) -> bool {
        self.paths.iter().any(|known| {
            known.strip_prefix(path).is_some_and(|rest| match open {
                b'[' => rest.starts_with("[]"),
                _ if path.is_empty() => !rest.is_empty() && !rest.starts_with('['),
                _ => rest.starts_with('.'),
            })
        })
    }

    fn open(&mut self, text: &[u8], at: usize, open: u8) {
        let path = match self.stack.last() {
            None => String::new(),
            Some(container) if container.is_array => format!("{}[]", container.path),
            Some(container) => joined(&container.path, container.key.as_deref().unwrap_or_default()),
        };
        let entry = self.entry(&path).filter(|path| !path.is_empty() || open == b'{');
        if entry.is_none() && self.holds(&path, open) {
            if self.stack.is_empty() {
                self.root = None;
            }
            self.stack.push(Container { path, is_array: open == b'[', key: None });
            self.at += 1;
            return;
        }
        let mut value = self.begun(text, at, entry);
        (value.depth, value.arrays, value.last) = (1, u128::from(open == b'['), open);
        self.at += 1;
        self.state = State::Value(value);
    }
}

fn joined(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Whether a bracket and the byte behind it begin JSON, and not a line of text (`[pod/…]`, `{app="x"}`).
fn begins_json(open: u8, next: u8) -> bool {
    match open {
        b'{' => matches!(next, b'"' | b'}' | b'\n'),
        _ => matches!(next, b'{' | b'[' | b'"' | b']' | b'\n'),
    }
}
