//! What is left of an entry that breaks off: given as it is, up to where the next one begins.

use super::value::Value;
use super::{Piece, Scan, State, Take, WIDEST};

/// Bytes of a damaged entry that are given at once.
const MOST_LOST: usize = 64 << 10;
/// Bytes that are looked through at once.
const WINDOW: usize = 4 << 10;
/// Bytes of the beginning of a document that is looked for behind damage.
pub(super) const MOST_MARK: usize = 256;
/// What is left of a damaged entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lost {
    pub(super) begin: usize,
    pub(super) column: usize,
}

impl Scan {
    /// A value is damaged. The next one that begins in the same way begins anew.
    pub(super) fn damaged(&mut self, text: &[u8], value: Value) {
        self.mark.clear();
        if let Some(mark) =
            text.get(value.begin..value.first_key.min(text.len())).filter(|mark| mark.len() <= MOST_MARK)
        {
            self.mark.extend_from_slice(mark);
        }
        self.lost_column = value.column;
        // Where too much was looked at again, what was passed is given as it is, whatever begins in it.
        if self.effort.spend(self.at.saturating_sub(value.begin)) {
            self.at = value.begin + 1;
        }
        self.at = self.at.max(value.begin + 1);
        self.state = State::Lost(Lost { begin: value.begin, column: value.column });
    }

    pub(super) fn give_lost(&mut self, text: &[u8], lost: Lost, end: usize, ended: bool, take: &mut Take<'_>) {
        let left = text[lost.begin.min(end)..end].trim_ascii_end();
        let left = left.strip_suffix(b",").unwrap_or(left);
        if !left.is_empty() {
            let place = self.place(lost.begin);
            take(Piece::Damaged { text: left, ended }, place, &self.context);
        }
    }

    /// Behind a damaged entry: looks for what begins another one, or ends what holds them. False where more must be seen.
    pub(super) fn lost(&mut self, text: &[u8], lost: Lost, by_bytes: bool, take: &mut Take<'_>) -> bool {
        if !self.begins_line(self.at) {
            return self.lost_within_line(text, lost, by_bytes, take);
        }
        let rest = &text[self.at..];
        let rest = &rest[..rest.len().min(WIDEST)];
        let Some(column) = rest.iter().position(|byte| !matches!(byte, b' ' | b'\t')) else {
            return rest.len() == WIDEST && {
                self.at += 1;
                self.lost_within_line(text, lost, by_bytes, take)
            };
        };
        let first = self.at + column;
        match text[first] {
            b'}' | b']' if column >= lost.column => {}
            b'{' | b'[' | b'}' | b']' => {
                self.give_lost(text, lost, self.at, true, take);
                (self.at, self.state) = (first, State::Between);
                return true;
            }
            b'"' | b',' | b'\n' | b'\r' | b'-' | b'0'..=b'9' => {}
            _ => {
                self.give_lost(text, lost, self.at, true, take);
                self.state = State::Line(self.at);
                return true;
            }
        }
        // Goes on with the damaged one.
        self.at += usize::from(text[self.at] != b'\n');
        self.lost_within_line(text, lost, by_bytes, take)
    }

    fn lost_within_line(&mut self, text: &[u8], lost: Lost, by_bytes: bool, take: &mut Take<'_>) -> bool {
        // In pieces: the end of the line may be far, and another entry near.
        let reach = text.len().min(self.at + WINDOW + self.mark.len().max(MOST_MARK));
        let rest = &text[self.at..reach];
        let end = memchr::memchr(b'\n', rest);
        let rest = &rest[..end.unwrap_or(rest.len())];
        let root = self.root.as_ref().filter(|(key, _)| !self.stack.is_empty() && !key.is_empty());
        let root = root.and_then(|(key, _)| memchr::memmem::find(rest, format!("{{{key}").as_bytes()));
        let again = if self.mark.is_empty() { None } else { memchr::memmem::find(rest, &self.mark) };
        if let Some(next) = again.into_iter().chain(root).min() {
            self.give_lost(text, lost, self.at + next, true, take);
            if again != Some(next) {
                self.stack.clear();
                self.context.0.clear();
            }
            (self.at, self.state) = (self.at + next, State::Between);
            return true;
        }
        if let Some(length) = end {
            let end = self.at + length;
            self.at = end + 1;
            if self.stack.is_empty() {
                self.give_lost(text, lost, end, true, take);
                self.state = State::Between;
            } else if self.at - lost.begin > MOST_LOST {
                self.give_lost(text, lost, end, true, take);
                self.state = State::Lost(Lost { begin: self.at, ..lost });
            }
            self.passed_line_end(end, by_bytes);
            return true;
        }
        // A mark may stand across two pieces.
        let next = reach.saturating_sub(self.mark.len().max(MOST_MARK)).max(self.at);
        let goes_on = reach < text.len() && next > self.at;
        self.at = next;
        if self.at - lost.begin > self.limit.min(MOST_LOST) {
            self.give_lost(text, lost, self.at, true, take);
            self.state = State::Lost(Lost { begin: self.at, ..lost });
        }
        goes_on
    }
}
