//! Cuts one large JSON document between the elements of an array in it, so that each piece is a document of its own.
//!
//! ```text
//! {"events": [ e₁, e₂, ‖ e₃, e₄ ], "more": 1}        cut behind e₂
//! {"events": [ e₁, e₂]}                              first piece: closed where it was cut
//! {"events": [ e₃, e₄ ], "more": 1}                  next piece: what stood ahead of the array stands ahead of it too
//! ```
//!
//! Documents that follow each other are cut between two of them. What stands ahead of an array and outside of all arrays is
//! repeated, in one line; in a document in which that is long no cut is made.

use std::sync::Arc;

/// Most that is repeated ahead of a piece.
const MOST_REPEATED: usize = 64 << 10;

/// What must stand around a piece that begins, or ends, within an array.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Ahead of it.
    pub before: Vec<u8>,
    /// Behind it.
    pub after: Vec<u8>,
}

/// Follows a document as it comes in.
#[derive(Debug, Default)]
pub struct Elements {
    /// Bytes of the buffer that were looked at.
    seen: usize,
    in_text: bool,
    escaped: bool,
    /// Open brackets.
    open: Vec<u8>,
    /// How many were open when the outermost array was opened; 0 where none is open.
    array: usize,
    /// All that stands outside of arrays, their brackets included.
    outside: Vec<u8>,
    frame: Arc<Frame>,
    /// Behind the last whole element that another follows, and what must stand around there.
    element: Option<(usize, Arc<Frame>)>,
    /// Behind the last whole document that another follows.
    document: Option<usize>,
    /// Behind the last whole document, as long as nothing followed it.
    ended: Option<usize>,
}

impl Elements {
    /// Where the buffer may be cut, and what must then stand behind the piece and ahead of the rest. A comma there is
    /// part of neither.
    pub fn cut(&mut self, buffer: &[u8]) -> Option<(usize, Arc<Frame>)> {
        self.look(buffer);
        match self.document.take() {
            Some(at) => Some((at, Arc::default())),
            None => self.element.take(),
        }
    }

    /// The buffer lost so many bytes at its beginning.
    pub fn advance(&mut self, count: usize) {
        self.seen -= count.min(self.seen);
        let behind = |at: usize| at.checked_sub(count).filter(|at| *at > 0);
        self.document = self.document.and_then(behind);
        self.ended = self.ended.and_then(behind);
        self.element = self.element.take().and_then(|(at, frame)| Some((behind(at)?, frame)));
    }

    fn look(&mut self, buffer: &[u8]) {
        for (at, &byte) in buffer.iter().enumerate().skip(self.seen) {
            if self.array == 0 && self.outside.len() <= MOST_REPEATED {
                // A line end would move the numbers of the lines behind it.
                self.outside.push(if byte == b'\n' { b' ' } else { byte });
            }
            if self.in_text {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_text = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_text = true,
                b'{' | b'[' => self.opened(byte),
                b'}' | b']' => self.closed(at),
                b',' if self.array > 0 && self.open.len() == self.array && self.outside.len() <= MOST_REPEATED => {
                    self.element = Some((at, Arc::clone(&self.frame)));
                }
                _ => {}
            }
        }
        self.seen = buffer.len();
    }

    fn opened(&mut self, byte: u8) {
        if self.open.is_empty() {
            self.document = self.ended.take().or(self.document);
            self.outside.clear();
            self.outside.push(byte);
        }
        self.open.push(byte);
        if byte == b'[' && self.array == 0 {
            self.array = self.open.len();
            let after = self.open.iter().rev().map(|open| if *open == b'{' { b'}' } else { b']' }).collect();
            self.frame = Arc::new(Frame { before: self.outside.clone(), after });
        }
    }

    fn closed(&mut self, at: usize) {
        if self.array == self.open.len() && self.array > 0 {
            self.array = 0;
            self.outside.push(b']');
        }
        self.open.pop();
        if self.open.is_empty() {
            self.ended = Some(at + 1);
        }
    }
}
