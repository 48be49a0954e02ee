//! Cuts a stream into chunks of whole records.

use std::io::{self, Read};
use std::sync::Arc;

use super::elements::{Elements, Frame};
use crate::form::ledger::{CHUNK, SHORTEST_LINES};
use crate::form::{Around, Cut};

/// Lines of a chunk at most: of lines that are as long as those of captures it has fewer. A row takes more memory than an empty line.
const MOST_LINES: usize = 128 << 10;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &[u8], cut: Cut, limit: usize) -> Vec<Piece> {
        let (head, text) = text.split_at(text.len().min(1_000));
        let mut cutter = Cutter::new(head.to_vec(), text, cut, limit);
        std::iter::from_fn(|| cutter.next_piece()).collect()
    }

    #[test]
    fn pieces_are_whole_records_and_nothing_is_lost() {
        let text: Vec<u8> = (0..400_000).flat_map(|n| format!("line {n} of a capture\n").into_bytes()).collect();
        let all = pieces(&text, Cut::Lines, 64 << 20);
        assert!(all.len() > 1);
        assert_eq!(all.iter().flat_map(|piece| piece.bytes.clone()).collect::<Vec<_>>(), text);
        for pair in all.windows(2) {
            assert!(pair[0].bytes.ends_with(b"\n"));
            let lines = pair[0].bytes.iter().filter(|byte| **byte == b'\n').count() as i64;
            assert_eq!(pair[1].first_line, pair[0].first_line + lines);
            assert_eq!(pair[1].offset, pair[0].offset + pair[0].bytes.len() as i64);
        }
        assert!(all.last().expect("one").last && all[0].first);
    }

    #[test]
    fn a_file_that_ends_with_a_chunk_has_a_last_piece() {
        let text = b"0123456\n".repeat(2 * CHUNK / 8);
        let all = pieces(&text, Cut::Lines, 64 << 20);
        assert!(all.iter().all(|piece| !piece.bytes.is_empty()), "an empty piece is handed to no parser");
        assert_eq!(all.iter().filter(|piece| piece.last).count(), 1);
        assert_eq!(all.iter().map(|piece| piece.bytes.len()).sum::<usize>(), text.len());
    }

    #[test]
    fn a_heading_stands_ahead_of_every_piece() {
        let rows: String = (0..600_000).map(|n| format!("{n},200\n")).collect();
        let text = format!("\ntime,status\n{rows}");
        let all = pieces(text.as_bytes(), Cut::Headed, 64 << 20);
        assert!(all.len() > 1);
        let mut found = Vec::new();
        for (number, piece) in all.iter().enumerate() {
            let said = std::str::from_utf8(&piece.bytes).expect("text");
            let mut lines = said.lines().zip(piece.first_line..).skip(usize::from(number == 0));
            assert_eq!(lines.next().map(|(line, _)| line), Some("time,status"));
            for (line, at) in lines {
                assert_eq!(line, format!("{},200", at - 3));
                found.push(at);
            }
            let place = piece.offset as usize + "time,status\n".len();
            assert!(number == 0 || text.as_bytes()[place..].starts_with(&piece.bytes["time,status\n".len()..]));
        }
        assert_eq!(found, (3..600_003).collect::<Vec<i64>>());
    }

    #[test]
    fn a_large_document_is_cut_between_elements() {
        use serde_json::Value;
        let element =
            |n: usize| format!("{{\n  \"n\": {n}, \"text\": \"a ] \\\" }} , {{ [\", \"of\": [1, [2, {{}}]]\n}}");
        let list = |range: std::ops::Range<usize>| range.map(element).collect::<Vec<_>>().join(",\n ");
        let count = 120_000;
        for (before, after) in
            [("{\"a\": [1, 2],\n \"data\": {\"result\": [", "], \"more\": 1},\n \"b\": []}"), ("[", "]")]
        {
            let text = format!("{before}{}{after}\n", list(0..count));
            let all = pieces(text.as_bytes(), Cut::Whole, 64 << 20);
            assert!(all.len() > 1);
            let mut found = Vec::new();
            for piece in &all {
                let value: Value = serde_json::from_slice(&piece.bytes).expect("a document");
                let elements = value.pointer("/data/result").unwrap_or(&value).as_array().expect("elements");
                found.extend(elements.iter().map(|one| one["n"].as_u64().expect("a number")));
                // The first whole element stands on its own line of the file.
                let said = std::str::from_utf8(&piece.bytes).expect("text");
                let inner = said.find("\"n\": ").expect("an element");
                let line = piece.first_line + said[..inner].matches('\n').count() as i64;
                let number: u64 = elements[0]["n"].as_u64().expect("a number");
                let expected =
                    1 + text[..text.find(&format!("\"n\": {number},")).expect("there")].matches('\n').count();
                assert_eq!(line, expected as i64);
            }
            assert_eq!(found, (0..count as u64).collect::<Vec<_>>());
            assert_eq!(all.iter().filter(|piece| piece.last).count(), 1);
        }
        // Documents in a row are cut between two of them.
        let text = (0..count).map(element).collect::<Vec<_>>().join("\n");
        let all = pieces(text.as_bytes(), Cut::Whole, 64 << 20);
        assert!(all.len() > 1);
        let whole = |piece: &Piece| {
            let found: Result<Vec<Value>, _> = serde_json::Deserializer::from_slice(&piece.bytes).into_iter().collect();
            found.expect("documents").len()
        };
        assert_eq!(all.iter().map(whole).sum::<usize>(), count);
        assert_eq!(all.iter().flat_map(|piece| piece.bytes.clone()).collect::<Vec<_>>(), text.as_bytes());
    }

    #[test]
    fn marks_begin_pieces() {
        let text: Vec<u8> =
            (0..300).flat_map(|n| format!("# TIMESTAMP {n}\n{}", "x y z\n".repeat(5_000)).into_bytes()).collect();
        let all = pieces(&text, Cut::Marks("# TIMESTAMP "), 64 << 20);
        assert!(all.len() > 1);
        assert!(all.iter().all(|piece| piece.bytes.starts_with(b"# TIMESTAMP ")));
    }

    #[test]
    fn a_chunk_of_short_lines_has_few_bytes() {
        let text = b"\n".repeat(3 * MOST_LINES + 5);
        for cut in [Cut::Lines, Cut::Headed] {
            let all = pieces(&text, cut, 64 << 20);
            assert_eq!(
                all.iter().map(|piece| piece.bytes.len()).collect::<Vec<_>>(),
                [MOST_LINES, MOST_LINES, MOST_LINES, 5]
            );
            assert_eq!(all.iter().filter(|piece| piece.last).count(), 1);
            assert_eq!(all[3].first_line, 3 * MOST_LINES as i64 + 1);
        }
        // Ahead of a mark, wherever one stands.
        let text = b"# TIMESTAMP 1\n".repeat(2 * MOST_LINES);
        let all = pieces(&text, Cut::Marks("# TIMESTAMP "), 64 << 20);
        assert!(all.len() >= 2 && all.iter().all(|piece| piece.bytes.starts_with(b"# TIMESTAMP 1\n")));
        assert!(all.iter().all(|piece| piece.bytes.len() / 14 <= MOST_LINES));
        assert_eq!(all.iter().flat_map(|piece| piece.bytes.clone()).collect::<Vec<_>>(), text);
        let long = [b"# TIMESTAMP 1\n".as_slice(), &b"\n".repeat(MOST_LINES + 9), b"# TIMESTAMP 2\nx\n"].concat();
        let all = pieces(&long, Cut::Marks("# TIMESTAMP "), 64 << 20);
        assert_eq!(all.iter().map(|piece| piece.bytes.len()).collect::<Vec<_>>(), [long.len() - 16, 16]);
    }

    #[test]
    fn a_long_record_is_a_chunk_by_itself() {
        let line = [&b"x".repeat(2 * CHUNK)[..], b"\nb\nc\n"].concat();
        let all = pieces(&[b"a\n", &line[..]].concat(), Cut::Lines, 64 << 20);
        assert_eq!(all.iter().map(|piece| piece.bytes.len()).collect::<Vec<_>>(), [2, 2 * CHUNK + 1, 4]);
    }

    #[test]
    fn a_record_of_more_lines_than_its_bytes_may_have_is_skipped_and_named() {
        let most = CHUNK / SHORTEST_LINES;
        let lines = b"\n".repeat(most + 1);
        let document = [b"{\"a\":".as_slice(), &lines, b"1}"].concat();
        let all = pieces(&document, Cut::Whole, CHUNK);
        assert_eq!(all.iter().map(|piece| (piece.bytes.len(), piece.skipped.len())).collect::<Vec<_>>(), [(0, 1)]);
        assert_eq!(all[0].skipped[0].length, document.len() as u64);
        let stream = [b"# TIMESTAMP 1\na\n# TIMESTAMP 2\n".as_slice(), &lines, b"# TIMESTAMP 3\nb\n"].concat();
        let all = pieces(&stream, Cut::Marks("# TIMESTAMP "), CHUNK);
        let kept: Vec<u8> = all.iter().flat_map(|piece| piece.bytes.clone()).collect();
        assert_eq!(kept, b"# TIMESTAMP 1\na\n# TIMESTAMP 3\nb\n");
        let skipped: Vec<i64> = all.iter().flat_map(|piece| piece.skipped.iter().map(|one| one.line)).collect();
        assert_eq!(skipped, [3]);
    }

    #[test]
    fn of_two_records_beyond_the_limit_both_are_named() {
        let mut text = Vec::new();
        for _ in 0..2 {
            text.extend(vec![b'x'; 2 * CHUNK]);
            text.push(b'\n');
        }
        text.extend(b"last\n");
        let all = pieces(&text, Cut::Lines, CHUNK);
        let lines: Vec<i64> = all.iter().flat_map(|piece| piece.skipped.iter().map(|one| one.line)).collect();
        assert_eq!(lines, [1, 2]);
    }

    #[test]
    fn a_record_beyond_the_limit_is_skipped_and_named() {
        let mut text = b"first\n".to_vec();
        text.extend(vec![b'x'; 3 * CHUNK]);
        text.extend(b"\nlast\n");
        let all = pieces(&text, Cut::Lines, CHUNK);
        let kept: Vec<u8> = all.iter().flat_map(|piece| piece.bytes.clone()).collect();
        assert_eq!(kept, b"first\nlast\n");
        assert_eq!(
            all.iter().flat_map(|piece| piece.skipped.iter().map(|one| (one.line, one.offset))).collect::<Vec<_>>(),
            [(2, 6)]
        );
    }
}
