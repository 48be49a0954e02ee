//! Cuts a stream into chunks of whole records.

use std::io::{self, Read};
use std::sync::Arc;

use super::elements::{Elements, Frame};
use crate::form::ledger::{CHUNK, SHORTEST_LINES};
use crate::form::{Around, Cut};

/// Lines of a chunk at most: of lines that are as long as those of captures it has fewer. A row takes more memory than an empty line.
pub(super) const MOST_LINES: usize = 128 << 10;
/// Longest heading that is repeated ahead of each chunk.
const LONGEST_HEADING: usize = 64 << 10;

/// A chunk that owns its bytes.
#[derive(Debug, Default)]
pub struct Piece {
    /// Whole records.
    pub bytes: Vec<u8>,
    /// Number of its first line, from 1.
    pub first_line: i64,
    /// Offset of its first byte in the decompressed file.
    pub offset: i64,
    /// Whether it is the first of its file.
    pub first: bool,
    /// Whether it is the last of its file.
    pub last: bool,
    /// Why the input broke off, where it did.
    pub truncated: Option<String>,
    /// Records that stood ahead of it, longer than the limit, and were skipped.
    pub skipped: Vec<Skipped>,
    /// What lay around its lines and was taken off.
    pub around: Option<Arc<Around>>,
    /// Bytes that its rows take in memory, where they are many more than its own; else 0.
    pub rows: usize,
}

/// A record that was longer than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its first line, from 1.
    pub line: i64,
    /// Offset of its first byte in the decompressed file.
    pub offset: i64,
    /// Bytes that were left out.
    pub length: u64,
}

/// Reads a stream piece by piece.
pub struct Cutter<R> {
    reader: R,
    cut: Cut,
    /// Longest record that is kept.
    limit: usize,
    buffer: Vec<u8>,
    line: i64,
    offset: i64,
    begun: bool,
    ended: bool,
    truncated: Option<String>,
    /// Of a document that is cut between its elements: where that may be. Null where it is not JSON.
    elements: Option<Elements>,
    /// What is repeated ahead of the next piece.
    before: Vec<u8>,
}

impl<R: Read> Cutter<R> {
    /// `head` was read already; it stands ahead of what `reader` still has.
    pub fn new(head: Vec<u8>, reader: R, cut: Cut, limit: usize) -> Self {
        let mut buffer = head;
        let mut offset = 0;
        if buffer.starts_with(b"\xef\xbb\xbf") {
            buffer.drain(..3);
            offset = 3;
        }
        let json = buffer.trim_ascii_start().starts_with(b"{") || buffer.trim_ascii_start().starts_with(b"[");
        Self {
            reader,
            cut,
            limit: limit.max(CHUNK),
            buffer,
            line: 1,
            offset,
            begun: false,
            ended: false,
            truncated: None,
            elements: (json && cut == Cut::Whole).then(Elements::default),
            before: Vec::new(),
        }
    }

    /// The next piece; `None` after the last.
    pub fn next_piece(&mut self) -> Option<Piece> {
        if self.ended && self.buffer.is_empty() && self.begun {
            return None;
        }
        let mut wanted = CHUNK;
        let mut skipped = Vec::new();
        loop {
            self.fill(wanted);
            if self.ended {
                let end = self.within_lines(self.buffer.len());
                if self.has_too_many_lines(end) {
                    skipped.push(self.skip_to(end));
                    continue;
                }
                return Some(self.take(end, skipped));
            }
            if let Some((at, frame)) = self.elements.as_mut().and_then(|elements| elements.cut(&self.buffer)) {
                if self.has_too_many_lines(at) {
                    skipped.push(self.skip_to(at));
                    continue;
                }
                return Some(self.take_framed(at, &frame, skipped));
            }
            if let Some(at) = self.last_cut() {
                let at = self.within_lines(at);
                if self.has_too_many_lines(at) {
                    skipped.push(self.skip_to(at));
                    continue;
                }
                let heading = if self.cut == Cut::Headed && !self.begun { self.heading() } else { None };
                let piece = self.take(at, skipped);
                self.before = heading.unwrap_or(std::mem::take(&mut self.before));
                return Some(piece);
            }
            if self.buffer.len() >= self.limit || self.has_too_many_lines(self.buffer.len()) {
                skipped.push(self.skip_record());
                wanted = CHUNK;
                continue;
            }
            wanted = (self.buffer.len() * 2).min(self.limit);
        }
    }

    fn fill(&mut self, wanted: usize) {
        while !self.ended && self.buffer.len() < wanted {
            let missing = (wanted - self.buffer.len()) as u64;
            match self.reader.by_ref().take(missing).read_to_end(&mut self.buffer) {
                Ok(0) => self.ended = true,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.truncated = Some(error.to_string());
                    self.ended = true;
                }
            }
        }
    }

    /// Where the buffer may be cut: behind the last line end, or ahead of the last mark. A byte stays behind unless the
    /// buffer is full, so that a file that ends exactly here still has a last piece.
    fn last_cut(&self) -> Option<usize> {
        match self.cut {
            Cut::Whole => None,
            Cut::Lines | Cut::Headed => {
                let kept = usize::from(self.buffer.len() < self.limit);
                memchr::memrchr(b'\n', &self.buffer[..self.buffer.len().saturating_sub(kept)]).map(|at| at + 1)
            }
            Cut::Marks(mark) => {
                let found = memchr::memmem::rfind_iter(&self.buffer, mark.as_bytes())
                    .find(|at| *at > 0 && self.buffer[at - 1] == b'\n');
                found.filter(|at| *at > 0)
            }
        }
    }

    /// An earlier cut than one, where that many lines stand ahead of it that they are too many for a chunk, or a record that is long by
    /// itself: should that be refused, what stands behind it is not.
    fn within_lines(&self, end: usize) -> usize {
        let whole = &self.buffer[..end];
        let begins = match self.cut {
            _ if end <= 2 * CHUNK => None,
            Cut::Whole => None,
            Cut::Lines | Cut::Headed => memchr::memchr(b'\n', whole).map(|at| at + 1),
            Cut::Marks(mark) => marks(whole, mark).find(|at| *at > 0),
        };
        if let Some(next) = begins.filter(|next| *next > CHUNK) {
            return next;
        }
        if self.cut == Cut::Whole || memchr::memchr_iter(b'\n', whole).count() <= MOST_LINES {
            return end;
        }
        let most = memchr::memchr_iter(b'\n', whole).nth(MOST_LINES - 1).map_or(end, |at| at + 1);
        match self.cut {
            Cut::Marks(mark) => {
                // A record of more lines is a chunk by itself.
                let ahead = marks(&whole[..most], mark).filter(|at| *at > 0).last();
                let behind = || Some(most - 1 + marks(&whole[most - 1..], mark).find(|at| *at > 0)?);
                ahead.or_else(behind).unwrap_or(end)
            }
            _ => most,
        }
    }

    /// Whether so much of the buffer has more lines than a record of the longest kind.
    fn has_too_many_lines(&self, end: usize) -> bool {
        memchr::memchr_iter(b'\n', &self.buffer[..end]).count() > self.limit / SHORTEST_LINES
    }

    /// Drops what stands ahead of a place in the buffer.
    fn skip_to(&mut self, end: usize) -> Skipped {
        let skipped = Skipped { line: self.line, offset: self.offset, length: end as u64 };
        self.advance(end);
        skipped
    }

    /// Drops the record that fills the whole buffer, up to where the next one begins.
    fn skip_record(&mut self) -> Skipped {
        let (line, offset) = (self.line, self.offset);
        let mut dropped = 0;
        loop {
            // Keep a tail: a mark may stand across two reads.
            let keep = match self.cut {
                Cut::Marks(mark) => mark.len() + 1,
                _ => 0,
            };
            let end = self.buffer.len().saturating_sub(keep);
            dropped += end as u64;
            self.advance(end);
            self.fill(CHUNK);
            let begin = match self.cut {
                Cut::Whole => None,
                Cut::Lines | Cut::Headed => memchr::memchr(b'\n', &self.buffer).map(|at| at + 1),
                Cut::Marks(mark) => marks(&self.buffer, mark).find(|at| *at > 0),
            };
            if let Some(begin) = begin {
                dropped += begin as u64;
                self.advance(begin);
                return Skipped { line, offset, length: dropped };
            }
            if self.ended {
                dropped += self.buffer.len() as u64;
                self.advance(self.buffer.len());
                return Skipped { line, offset, length: dropped };
            }
        }
    }

    /// The first line that is not empty, with its end; null for one that is longer than any.
    fn heading(&self) -> Option<Vec<u8>> {
        let mut lines = self.buffer.split_inclusive(|byte| *byte == b'\n');
        let heading = lines.find(|line| !line.trim_ascii().is_empty())?;
        (heading.len() <= LONGEST_HEADING).then(|| heading.to_vec())
    }

    /// Takes a piece that ends within an array, and drops the comma behind it.
    fn take_framed(&mut self, end: usize, frame: &Frame, skipped: Vec<Skipped>) -> Piece {
        let mut piece = self.take(end, skipped);
        piece.bytes.extend_from_slice(&frame.after);
        if !frame.before.is_empty() {
            self.advance(1);
        }
        self.before.clone_from(&frame.before);
        piece
    }

    /// So many lines and bytes of the file stand ahead of what is read here.
    pub fn begin(&mut self, lines: i64, bytes: i64) {
        self.line += lines;
        self.offset += bytes;
    }

    /// How many lines and bytes were taken, and those that stood ahead.
    pub fn taken(&self) -> (i64, i64) {
        (self.line - 1, self.offset)
    }

    fn advance(&mut self, count: usize) {
        if let Some(elements) = &mut self.elements {
            elements.advance(count);
        }
        self.line += memchr::memchr_iter(b'\n', &self.buffer[..count]).count() as i64;
        self.offset += count as i64;
        self.buffer.drain(..count);
    }

    fn take(&mut self, end: usize, skipped: Vec<Skipped>) -> Piece {
        // Room for the next chunk at once: growing it step by step would copy it several times.
        let mut rest = Vec::with_capacity(if self.ended { 0 } else { CHUNK + self.buffer.len() - end });
        rest.extend_from_slice(&self.buffer[end..]);
        self.buffer.truncate(end);
        let mut bytes = std::mem::replace(&mut self.buffer, rest);
        if let Some(elements) = &mut self.elements {
            elements.advance(end);
        }
        let (line, offset) = (self.line, self.offset);
        self.line += memchr::memchr_iter(b'\n', &bytes).count() as i64;
        self.offset += bytes.len() as i64;
        if self.begun && !self.before.is_empty() && !bytes.is_empty() {
            bytes.splice(..0, self.before.iter().copied());
        }
        let repeated = &bytes[..if self.begun && !bytes.is_empty() { self.before.len() } else { 0 }];
        let piece = Piece {
            // Behind what is repeated, lines and bytes count as they stand in the file.
            first_line: line - memchr::memchr_iter(b'\n', repeated).count() as i64,
            offset: offset - repeated.len() as i64,
            first: !self.begun,
            last: self.ended && self.buffer.is_empty(),
            truncated: if self.ended && self.buffer.is_empty() { self.truncated.take() } else { None },
            skipped,
            bytes,
            around: None,
            rows: 0,
        };
        self.begun = true;
        piece
    }
}

/// Where lines begin with a mark.
fn marks<'b>(bytes: &'b [u8], mark: &'b str) -> impl Iterator<Item = usize> + 'b {
    memchr::memmem::find_iter(bytes, mark.as_bytes()).filter(|at| *at == 0 || bytes[at - 1] == b'\n')
}
