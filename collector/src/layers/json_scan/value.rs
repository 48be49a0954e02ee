//! A value as it comes in: where it ends, and whether it can be JSON.

use super::damage::MOST_MARK;
use super::{Container, Piece, Scan, State, Take, WIDEST, joined};
use crate::form::json_pairs::Pairs;
use crate::form::ledger::SHORTEST_LINES;

/// Bytes of a value outside of entries that is kept for the entries behind it.
const MOST_CONTEXT: usize = 64 << 10;
/// Brackets within brackets, as serde has it.
const DEEPEST: u32 = 127;

/// A value that is not whole yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value {
    pub(super) begin: usize,
    /// Path, for an entry.
    pub(super) entry: Option<&'static str>,
    pub(super) depth: u32,
    /// Which of the open brackets are those of arrays: a bit each, the innermost lowest.
    pub(super) arrays: u128,
    pub(super) quoted: bool,
    pub(super) escaped: bool,
    /// The last byte outside of texts that was no blank.
    pub(super) last: u8,
    /// The last text at depth 1.
    pub(super) text: (usize, usize),
    /// Behind the first key.
    pub(super) first_key: usize,
    /// Blanks ahead of the line that it begins in.
    pub(super) column: usize,
}

impl Value {
    /// Whether a byte cannot stand here in JSON.
    fn is_wrong(&self, byte: u8) -> bool {
        let in_array = self.arrays & 1 == 1;
        match byte {
            _ if self.depth == 0 => false,
            b'{' | b'[' => {
                self.depth >= DEEPEST || (self.last == b',' && !in_array) || !matches!(self.last, b',' | b':' | b'[')
            }
            b'}' => in_array,
            b']' => !in_array,
            b',' | b':' => false,
            _ => self.last == b'"',
        }
    }
}

impl Scan {
    pub(super) fn begun(&self, text: &[u8], begin: usize, entry: Option<&'static str>) -> Value {
        let column = match usize::try_from(self.line_of(begin).0) {
            Ok(line) => text[line..begin].iter().take(WIDEST).take_while(|byte| matches!(byte, b' ' | b'\t')).count(),
            Err(_) => self.indent,
        };
        let (depth, arrays, last) = (0, 0, b':');
        Value { begin, entry, depth, arrays, quoted: false, escaped: false, last, text: (0, 0), first_key: 0, column }
    }

    /// Goes on with a value; false where it is not whole yet.
    pub(super) fn value(&mut self, text: &[u8], mut value: Value, by_bytes: bool, take: &mut Take<'_>) -> bool {
        while self.at < text.len() {
            if value.quoted {
                if std::mem::take(&mut value.escaped) && text[self.at] != b'\n' {
                    self.at += 1;
                    continue;
                }
                let Some(length) = memchr::memchr3(b'"', b'\\', b'\n', &text[self.at..]) else {
                    self.at = text.len();
                    break;
                };
                let at = self.at + length;
                self.at = at + 1;
                match text[at] {
                    b'\\' => value.escaped = true,
                    b'\n' => {
                        self.damaged(text, value);
                        return true;
                    }
                    _ => {
                        (value.quoted, value.last) = (false, b'"');
                        if value.depth == 1 {
                            value.text.1 = at;
                            value.first_key = if value.first_key == 0 { at + 1 } else { value.first_key };
                        }
                        if value.depth == 0 {
                            self.whole(text, value, take);
                            return true;
                        }
                    }
                }
                continue;
            }
            let at = self.at;
            let byte = text[at];
            if value.depth == 0 && matches!(byte, b'}' | b']' | b',' | b' ' | b'\t' | b'\r' | b'\n') {
                self.whole(text, value, take);
                return true;
            }
            if matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                if byte == b'\n' {
                    self.passed_line_end(at, by_bytes);
                }
                self.at += 1;
                continue;
            }
            if value.is_wrong(byte) || (byte == b'{' && self.begins_anew(text, at, &value)) {
                self.damaged(text, value);
                return true;
            }
            match byte {
                b'"' => {
                    value.quoted = true;
                    value.text = if value.depth == 1 { (at + 1, at + 1) } else { value.text };
                }
                b'{' | b'[' => {
                    if value.depth == 1 && self.turns_container(text, &value, byte) {
                        return true;
                    }
                    value.depth += 1;
                    value.arrays = value.arrays << 1 | u128::from(byte == b'[');
                }
                b'}' | b']' => {
                    value.depth -= 1;
                    value.arrays >>= 1;
                    if value.depth == 0 {
                        self.at += 1;
                        self.whole(text, value, take);
                        return true;
                    }
                }
                _ => {}
            }
            value.last = byte;
            self.at += 1;
        }
        self.state = State::Value(value);
        let has_too_many_lines = self.lines.len() > self.limit / SHORTEST_LINES;
        if self.at - value.begin > self.limit || has_too_many_lines {
            self.damaged(text, value);
            return true;
        }
        false
    }

    /// Whether another entry begins where this one should go on: further to the left than it may.
    fn begins_anew(&self, text: &[u8], at: usize, value: &Value) -> bool {
        let (line, _) = self.line_of(at);
        line > value.begin as isize && self.column(text, at).is_some_and(|column| column <= value.column)
    }

    /// Turns an object that could be an entry into a container, where one of its values holds entries.
    fn turns_container(&mut self, text: &[u8], value: &Value, open: u8) -> bool {
        let Some(path) = value.entry.filter(|_| text[value.begin] == b'{') else { return false };
        // Where no text stood ahead of the bracket there is no key, and this is no object.
        let Some(ahead) = value.text.0.checked_sub(1).and_then(|quote| text.get(value.begin..quote)) else {
            return false;
        };
        let Ok(key) = std::str::from_utf8(&text[value.text.0..value.text.1]) else { return false };
        let child = joined(path, key);
        if !self.holds(&child, open) {
            return false;
        }
        let depth = self.stack.len() + 1;
        let ahead = ahead.trim_ascii_end();
        let mut closed = ahead.strip_suffix(b",").unwrap_or(ahead).to_vec();
        closed.push(b'}');
        self.set_root(text, value);
        if let Ok(pairs) = serde_json::from_slice::<Raws<'_>>(&closed) {
            for (key, json) in pairs.0.into_iter().filter(|(_, json)| json.get().len() <= MOST_CONTEXT) {
                self.context.push(depth, key.into_owned(), json.get().as_bytes());
            }
        }
        self.stack.push(Container { path: path.to_owned(), is_array: false, key: Some(key.to_owned()) });
        self.state = State::Between;
        self.open(text, self.at, open);
        true
    }

    /// Remembers how the outermost object begins.
    fn set_root(&mut self, text: &[u8], value: &Value) {
        if self.stack.is_empty() {
            let first = text.get(value.begin + 1..value.first_key).unwrap_or_default().trim_ascii();
            self.root = key_of_root(first).map(|key| (key, value.column));
        }
    }

    /// Whether more must be seen to tell whether a document like the outermost one begins here.
    pub(super) fn may_begin_root(&self, text: &[u8], at: usize) -> bool {
        let rest = behind(text, at);
        if rest.is_empty() && text.len() - at > WIDEST {
            return false;
        }
        self.root.as_ref().filter(|_| !self.stack.is_empty()).is_some_and(|(key, column)| {
            rest.len() < key.len()
                && key.as_bytes().starts_with(rest)
                && self.column(text, at).is_some_and(|found| found <= *column)
        })
    }

    /// Whether a document like the outermost one begins here, first in its line.
    pub(super) fn begins_root(&self, text: &[u8], at: usize) -> bool {
        let Some((key, column)) = &self.root else { return false };
        let is_first = self.column(text, at).is_some_and(|found| found <= *column);
        let rest = behind(text, at);
        !self.stack.is_empty() && text[at] == b'{' && is_first && !key.is_empty() && rest.starts_with(key.as_bytes())
    }

    /// A value is whole: up to `self.at`.
    fn whole(&mut self, text: &[u8], value: Value, take: &mut Take<'_>) {
        let bytes = &text[value.begin..self.at];
        self.state = State::Between;
        if let Some(path) = value.entry {
            let place = self.place(value.begin);
            if !take(Piece::Entry { path, json: bytes }, place, &self.context) {
                self.damaged(text, value);
            }
            return;
        }
        let depth = self.stack.len();
        let Some(container) = self.stack.last_mut().filter(|one| !one.is_array) else {
            return self.stray(bytes, value.begin, take);
        };
        let is_text = bytes.first() == Some(&b'"');
        if is_text && container.key.is_none() {
            let key = serde_json::from_slice::<String>(bytes).unwrap_or_default();
            if depth == 1 && self.root.is_none() {
                self.root = key_of_root(bytes).map(|key| (key, value.column));
            }
            container.key = Some(key);
            return;
        }
        match container.key.take() {
            Some(key) if bytes.len() <= MOST_CONTEXT => self.context.push(depth, key, bytes),
            Some(_) => {}
            None => self.stray(bytes, value.begin, take),
        }
    }

    /// What stands where no value should: kept unless it is JSON.
    fn stray(&mut self, bytes: &[u8], begin: usize, take: &mut Take<'_>) {
        if serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_err() {
            let place = self.place(begin);
            take(Piece::Damaged { text: bytes, ended: true }, place, &self.context);
        }
    }
}

/// What stands behind a bracket and the blanks behind it, as far as it is looked at.
fn behind(text: &[u8], at: usize) -> &[u8] {
    let rest = &text[at + 1..];
    rest[..rest.len().min(WIDEST)].trim_ascii_start()
}

/// The first key of a document, with its quotes, where it is as short as a key.
fn key_of_root(first: &[u8]) -> Option<String> {
    (first.len() <= MOST_MARK).then(|| String::from_utf8_lossy(first).into_owned())
}

type Raws<'a> = Pairs<'a, &'a serde_json::value::RawValue>;
