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

/// Most that is repeated ahead of a piece.
const MOST_REPEATED: usize = 64 << 10;
/// Deepest array that is cut.
const DEEPEST: usize = 256;

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
    /// Bytes of `outside` up to where that array was opened, its bracket included.
    ahead: usize,
    /// The last whole element that another follows.
    element: Option<Element>,
    /// Behind the last whole document that another follows.
    document: Option<usize>,
    /// Behind the last whole document, as long as nothing followed it.
    ended: Option<usize>,
}

/// An element of an array. What must stand around a cut is put together only where one is made: a document may have an array of
/// two elements every six bytes.
#[derive(Debug)]
struct Element {
    /// Behind it.
    end: usize,
    /// Bytes of [`Elements::outside`] ahead of its array.
    ahead: usize,
    /// The brackets that are open there.
    open: Vec<u8>,
}

impl Elements {
    /// Where the buffer may be cut, and what must then stand behind the piece and ahead of the rest. A comma there is
    /// part of neither.
    pub fn cut(&mut self, buffer: &[u8]) -> Option<(usize, Frame)> {
        self.look(buffer);
        if let Some(at) = self.document.take() {
            return Some((at, Frame::default()));
        }
        let element = self.element.take()?;
        let before = self.outside.get(..element.ahead)?.to_vec();
        let after = element.open.iter().rev().map(|open| if *open == b'{' { b'}' } else { b']' }).collect();
        Some((element.end, Frame { before, after }))
    }

    /// The buffer lost so many bytes at its beginning.
    pub fn advance(&mut self, count: usize) {
        self.seen -= count.min(self.seen);
        let behind = |at: usize| at.checked_sub(count).filter(|at| *at > 0);
        self.document = self.document.and_then(behind);
        self.ended = self.ended.and_then(behind);
        self.element = self.element.take().and_then(|element| Some(Element { end: behind(element.end)?, ..element }));
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
                b',' if self.array > 0 && self.open.len() == self.array => self.comma(at),
                _ => {}
            }
        }
        self.seen = buffer.len();
    }

    /// An element of the outermost array ended.
    fn comma(&mut self, at: usize) {
        if self.outside.len() > MOST_REPEATED || self.array > DEEPEST {
            return;
        }
        match &mut self.element {
            // Of the same array: only that it is further behind.
            Some(element) if element.ahead == self.ahead => element.end = at,
            _ => self.element = Some(Element { end: at, ahead: self.ahead, open: self.open.clone() }),
        }
    }

    fn opened(&mut self, byte: u8) {
        if self.open.is_empty() {
            self.document = self.ended.take().or(self.document);
            // Those of the document ahead are not repeated any more.
            self.element = None;
            self.outside.clear();
            self.outside.push(byte);
        }
        self.open.push(byte);
        if byte == b'[' && self.array == 0 {
            (self.array, self.ahead) = (self.open.len(), self.outside.len());
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

#[cfg(test)]
mod tests {
    use super::Elements;

    #[test]
    fn what_stands_around_a_cut_is_that_of_its_array() {
        let mut elements = Elements::default();
        let text = br#"{"a": [1, 2], "b": {"c": [3, 4, "#;
        let (at, frame) = elements.cut(text).expect("a cut");
        assert_eq!((&text[at..], frame.after.as_slice()), (&b", "[..], &b"]}}"[..]));
        assert_eq!(frame.before, br#"{"a": [], "b": {"c": ["#);
    }

    #[test]
    fn many_small_arrays_cost_no_more_than_one() {
        // Each of them may be cut, behind up to 64 KiB that are repeated: what is built is put together for one of them.
        let text = format!("{{\"a\": \"{}\", {}", "x".repeat(60_000), "\"b\": [1, 2], ".repeat(200_000));
        let mut elements = Elements::default();
        let (at, frame) = elements.cut(text.as_bytes()).expect("a cut");
        assert!(frame.before.len() <= super::MOST_REPEATED && at < text.len());
    }
}
