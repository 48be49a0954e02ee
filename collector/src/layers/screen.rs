//! The screen that a program draws on: replayed by `vt100`, and read where it was drawn on only.
//!
//! ```text
//! ␛[1;48H2␛[3;9H7        a second of `watch`: one cell of the heading and one of the table, of 14,000
//! ```
//!
//! A recording of hours is as many frames as seconds. What a stretch of bytes may touch is followed by its escapes; where that is not
//! plain (a line end at the bottom, a text that reaches the right edge, anything but moves and erased cells), it may be all.

use std::num::NonZero;

/// A screen, and its rows as they were read last.
pub struct Screen {
    parser: vt100::Parser,
    rows: Vec<String>,
    /// What may have changed since, by row.
    touched: Vec<Touched>,
    lines: u16,
    columns: u16,
    /// Rows that scroll end ahead of this one.
    bottom: u16,
    /// Whether those are not all.
    scrolls_in_part: bool,
    /// Whether something was set that changes what later escapes touch.
    odd: bool,
}

/// Which cells of a row may have changed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Touched {
    None,
    /// From the first to ahead of the second.
    Cells(u16, u16),
    All,
}

impl Touched {
    fn add(&mut self, from: u16, to: u16) {
        *self = match *self {
            Touched::None => Touched::Cells(from, to),
            Touched::Cells(first, last) => Touched::Cells(first.min(from), last.max(to)),
            Touched::All => Touched::All,
        };
    }
}

/// Where the cursor is, while bytes are followed.
struct Cursor {
    row: u16,
    /// At most here: letters that are not ASCII may be two cells wide.
    column: u16,
    /// Whether it is there.
    exact: bool,
}

impl Screen {
    /// An empty one.
    pub fn new(lines: NonZero<u16>, columns: NonZero<u16>) -> Self {
        let count = usize::from(lines.get());
        Self {
            parser: vt100::Parser::new(lines, columns, 0),
            rows: vec![String::new(); count],
            touched: vec![Touched::None; count],
            lines: lines.get(),
            columns: columns.get(),
            bottom: lines.get(),
            scrolls_in_part: false,
            odd: false,
        }
    }

    /// Whether it has that many rows and columns.
    pub fn is_of(&self, lines: NonZero<u16>, columns: NonZero<u16>) -> bool {
        (self.lines, self.columns) == (lines.get(), columns.get())
    }

    /// As a new one, in the memory that it has.
    pub fn clear(&mut self) {
        self.parser.process(b"\x1b[?6l\x1b[r\x1b[m\x1b[4l\x1b[H\x1b[2J");
        self.touched.fill(Touched::All);
        (self.bottom, self.scrolls_in_part) = (self.lines, false);
    }

    /// Draws.
    pub fn process(&mut self, bytes: &[u8]) {
        let (row, column) = self.parser.screen().cursor_position();
        if self.odd || !self.follow(bytes, Cursor { row, column, exact: true }) {
            self.touched.fill(Touched::All);
        }
        self.parser.process(bytes);
    }

    /// The first row, without blanks at its end.
    pub fn top(&mut self) -> &str {
        self.read(0);
        self.rows.first().map_or("", String::as_str)
    }

    /// Reads what was drawn since; false where no row is another one than before.
    pub fn look(&mut self) -> bool {
        let mut changed = false;
        for row in 0..self.rows.len() {
            changed |= self.read(row);
        }
        changed
    }

    /// The rows as they were last read, without blanks at their ends.
    pub fn rows(&self) -> &[String] {
        &self.rows
    }

    fn read(&mut self, row: usize) -> bool {
        let Some(touched) = self.touched.get_mut(row) else { return false };
        let touched = std::mem::replace(touched, Touched::None);
        let patched = match touched {
            Touched::None => return false,
            Touched::Cells(from, to) => self.patch(row, from, to.min(self.columns)),
            Touched::All => None,
        };
        if let Some(changed) = patched {
            return changed;
        }
        let screen = self.parser.screen();
        let text = match u16::try_from(row) {
            Ok(at @ 1..) => screen.contents_between(at - 1, self.columns, at, self.columns),
            _ => screen.rows(0, self.columns).next().unwrap_or_default(),
        };
        // The end of the row ahead.
        let text = if row > 0 { text.strip_prefix('\n').unwrap_or(&text) } else { &text };
        let changed = self.rows[row] != text.trim_end();
        if changed {
            text.trim_end().clone_into(&mut self.rows[row]);
        }
        changed
    }

    /// Reads some cells of a row anew: whether they are others than before. Null where the row must be read as a whole, since a letter
    /// in it is more than a byte or a cell.
    fn patch(&mut self, row: usize, from: u16, to: u16) -> Option<bool> {
        let text = self.rows.get_mut(row).filter(|text| text.is_ascii())?;
        let (at, screen) = (u16::try_from(row).ok()?, self.parser.screen());
        let mut cells = Vec::with_capacity(usize::from(to.saturating_sub(from)));
        for column in from..to {
            let cell = screen.cell(at, column)?;
            cells.push(match cell.contents().as_bytes() {
                [] if !cell.is_wide_continuation() => b' ',
                [byte] if byte.is_ascii() => *byte,
                _ => return None,
            });
        }
        let cells = String::from_utf8(cells).ok()?;
        let range = usize::from(from).min(text.len())..usize::from(to).min(text.len());
        let (same, beyond) = cells.split_at(range.len());
        if text[range.clone()] == *same && beyond.bytes().all(|byte| byte == b' ') {
            return Some(false);
        }
        // Blanks ahead of what stands behind the end.
        let gap = usize::from(from).saturating_sub(text.len());
        text.extend(std::iter::repeat_n(' ', gap));
        text.replace_range(range.start + gap..range.end + gap, &cells);
        text.truncate(text.trim_end().len());
        Some(true)
    }

    /// Marks the rows that bytes may touch; false where that cannot be told.
    fn follow(&mut self, bytes: &[u8], mut cursor: Cursor) -> bool {
        let (mut at, mut told) = (0, true);
        while let Some(&byte) = bytes.get(at) {
            at += 1;
            match byte {
                0x1b => match self.escape(&bytes[at..], &mut cursor) {
                    Some((length, plain)) => {
                        at += length;
                        told &= plain;
                    }
                    None => {
                        self.odd = true;
                        return false;
                    }
                },
                b'\r' => (cursor.column, cursor.exact) = (0, true),
                b'\n' if cursor.row.saturating_add(1) < self.bottom => cursor.row += 1,
                0x08 => cursor.column = cursor.column.saturating_sub(1),
                0x07 | 0x0e | 0x0f => {}
                0x20..=0x7e => told &= self.put(1, &mut cursor),
                // A letter of several bytes may be two cells wide.
                0x80..=0xbf => {}
                0xc2..=0xf4 => {
                    cursor.exact = false;
                    told &= self.put(2, &mut cursor);
                }
                _ => told = false,
            }
        }
        told
    }

    fn put(&mut self, cells: u16, cursor: &mut Cursor) -> bool {
        let Some(touched) = self.touched.get_mut(usize::from(cursor.row)) else { return false };
        let from = cursor.column;
        cursor.column = from.saturating_add(cells);
        if cursor.exact {
            touched.add(from, cursor.column)
        } else {
            *touched = Touched::All
        }
        // Behind the last column it goes on in the next row.
        cursor.column <= self.columns
    }

    /// What stands behind an escape: how many bytes it has, and whether what it touches can be told. Null for one that may change what
    /// others touch.
    fn escape(&mut self, rest: &[u8], cursor: &mut Cursor) -> Option<(usize, bool)> {
        match rest.first()? {
            b'(' | b')' => return (rest.len() > 1).then_some((2, true)),
            b'=' | b'>' => return Some((1, true)),
            b'[' => {}
            b'7' | b'8' | b'D' | b'E' | b'M' => return Some((1, false)),
            _ => return None,
        }
        let length = rest[1..].iter().take(24).position(|byte| (0x40..=0x7e).contains(byte))?;
        let (numbers, kind) = (&rest[1..1 + length], rest[1 + length]);
        let length = length + 2;
        if numbers.first() == Some(&b'?') {
            // The cursor is shown or not, and keys are sent otherwise.
            let harmless = matches!(numbers, b"?25" | b"?12" | b"?1" | b"?12;25" | b"?7" | b"?2004");
            if matches!(numbers, b"?1049" | b"?1047" | b"?47") {
                // Another screen, whose rows scroll as was said when it was there: nobody knows, until it is said again.
                (self.bottom, self.scrolls_in_part) = (0, true);
                return Some((length, false));
            }
            return harmless.then_some((length, true));
        }
        let mut parts = numbers.split(|byte| *byte == b';').map(|number| {
            let number = std::str::from_utf8(number).ok()?;
            if number.is_empty() { Some(1) } else { number.parse::<u16>().ok().map(|number| number.max(1)) }
        });
        if matches!(kind, b'm' | b't' | b'l') {
            return Some((length, true));
        }
        let first = parts.next().flatten()?;
        match kind {
            b'H' | b'f' => {
                let column = parts.next().unwrap_or(Some(1))?;
                *cursor = Cursor { row: first - 1, column: column - 1, exact: true };
            }
            // They stop where the rows end that scroll.
            b'A' | b'B' if self.scrolls_in_part => return Some((length, false)),
            b'd' => cursor.row = first - 1,
            b'G' | b'`' => (cursor.column, cursor.exact) = (first - 1, true),
            b'C' => cursor.column = cursor.column.saturating_add(first).min(self.columns - 1),
            b'D' => cursor.column = cursor.column.saturating_sub(first),
            b'A' => cursor.row = cursor.row.saturating_sub(first),
            b'B' => cursor.row = cursor.row.saturating_add(first),
            b'K' | b'X' | b'P' | b'@' => {
                if let Some(touched) = self.touched.get_mut(usize::from(cursor.row)) {
                    *touched = Touched::All;
                }
            }
            b'r' => {
                self.bottom = parts.next().flatten().unwrap_or(self.lines).min(self.lines);
                self.scrolls_in_part = first > 1 || self.bottom < self.lines;
                return Some((length, false));
            }
            b'J' | b'L' | b'M' | b'S' | b'T' => return Some((length, false)),
            _ => return None,
        }
        // What lies outside is moved inside.
        Some((length, cursor.row < self.lines && cursor.column < self.columns))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use proptest::prelude::*;

    use super::{Screen, Touched};

    const PARTS: [&str; 44] = [
        "a",
        "bc",
        "ü",
        "界",
        "0123456789",
        "\r",
        "\n",
        "\u{8}",
        "\t",
        "\u{7}",
        "\u{1b}[H",
        "\u{1b}[2;3H",
        "\u{1b}[4;9H",
        "\u{1b}[9;40H",
        "\u{1b}[3d",
        "\u{1b}[5G",
        "\u{1b}[C",
        "\u{1b}[2D",
        "\u{1b}[A",
        "\u{1b}[2B",
        "\u{1b}[K",
        "\u{1b}[1K",
        "\u{1b}[2X",
        "\u{1b}[P",
        "\u{1b}[3@",
        "\u{1b}[31m",
        "\u{1b}[J",
        "\u{1b}[2J",
        "\u{1b}[L",
        "\u{1b}[S",
        "\u{1b}7",
        "\u{1b}8",
        "\u{1b}[?25l",
        "\u{1b}M",
        "\u{1b}[1;3r",
        "\u{1b}[2;4r",
        "\u{1b}[r",
        "\u{1b}[4l",
        "\u{1b}[?6h",
        "\u{1b}[?1049h",
        "\u{1b}[?1049l",
        "\u{1b}[?47h",
        "  ",
        "\u{1b}[2;12H",
    ];

    proptest! {
        #[test]
        fn what_was_not_touched_has_not_changed(
            strokes in proptest::collection::vec(proptest::collection::vec(0..PARTS.len(), 0..12), 0..24)
        ) {
            let (lines, columns) = (NonZero::new(5).expect("lines"), NonZero::new(12).expect("columns"));
            let mut screen = Screen::new(lines, columns);
            let mut whole = vt100::Parser::new(lines, columns, 0);
            for stroke in strokes {
                let bytes: String = stroke.into_iter().map(|part| PARTS[part]).collect();
                screen.process(bytes.as_bytes());
                whole.process(bytes.as_bytes());
                screen.look();
                let expected: Vec<String> =
                    whole.screen().rows(0, columns.get()).map(|row| row.trim_end().to_owned()).collect();
                prop_assert_eq!(screen.rows(), &expected);
            }
        }
    }

    #[test]
    fn a_second_of_watch_touches_its_row_alone() {
        let (lines, columns) = (NonZero::new(24).expect("lines"), NonZero::new(80).expect("columns"));
        let mut screen = Screen::new(lines, columns);
        screen.process(b"\x1b[H\x1b[2JEvery 0.5s: x\x1b[3;1Ha table");
        assert!(screen.look());
        screen.process(b"\x1b[1;70H9\x1b[3;9H7\x1b[1;1H");
        assert_eq!(screen.touched.iter().filter(|touched| **touched != Touched::None).count(), 2);
        assert!(screen.look() && !screen.look());
        assert_eq!(screen.rows()[2], "a table 7");
    }
}
