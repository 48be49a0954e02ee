//! What a terminal adds to text: `script`'s header and trailer, escapes and colours, carriage returns, bracketed paste, and whole
//! screens.
//!
//! ```text
//! Script started on 2026-11-26 09:41:11+00:00 [COMMAND="watch …" TERM="xterm" COLUMNS="170" LINES="24"]
//! ␛[?2004h$ date +%s.%N; kubectl scale deploy/test --replicas=44; date +%s.%N␍
//! ␛[?1049h␛[H␛[2JEvery 0.5s: iptables -t nat -L …  node-a: Thu Nov 26 09:41:11 2026␛[3;1HChain …
//! ```
//!
//! Lines are edited as the terminal would show them. What is drawn on the alternate screen is replayed: `watch` moves the cursor and
//! draws only the cells that changed, so a frame is the screen as it stands when the next one begins, below the stamp of its own
//! heading. A frame that reaches the right edge or the bottom may be cut there: it ends with `…`, and no snapshot of it is complete.

use std::num::NonZero;

use super::layer::{Dressed, Layer, Out, Peel, Setting};
use super::screen::Screen;
use super::watch::{Heading, heading};
use crate::form::effort::Effort;
use crate::form::stamp::{self, Dating};
use crate::form::{Head, Place};

/// The layer.
pub const LAYER: Layer = Layer {
    name: "terminal",
    title: "a terminal's escapes, carriage returns and screens, and the frame of script",
    sample: "Script started on 2026-11-26 09:41:11+00:00 [TERM=\"xterm\" COLUMNS=\"170\" LINES=\"24\"]\n",
    certain: true,
    wears,
    open: |setting: &Setting| Box::new(Terminal::new(setting)),
    put_on: Some(|text| {
        let mut dressed = b"Script started on 2026-11-26 09:41:11+00:00 [TERM=\"xterm\"]\r\n".to_vec();
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let bare = line.strip_suffix(b"\n");
            dressed.extend_from_slice(b"\x1b[?2004l");
            dressed.extend_from_slice(bare.unwrap_or(line));
            dressed.extend_from_slice(if bare.is_some() { b"\x1b[0m\r\n" } else { b"" });
        }
        dressed
    }),
};

const ESCAPE: u8 = 0x1b;
/// What a screen has where nothing says how large it is.
const LARGEST: (NonZero<u16>, NonZero<u16>) = match (NonZero::new(60), NonZero::new(250)) {
    (Some(lines), Some(columns)) => (lines, columns),
    _ => (NonZero::<u16>::MIN, NonZero::<u16>::MIN),
};
/// Columns beyond those that a recording states.
const WIDER: u16 = 60;
/// Cells of a screen at most: more than the largest monitor shows.
const MOST_CELLS: u32 = 100_000;
/// What a frame that may be cut ends with.
const CUT: &str = "…";

fn wears(head: &Head) -> bool {
    if head.bytes.contains(&0) {
        return false;
    }
    let returns = memchr::memchr_iter(b'\r', head.bytes).any(|at| {
        let next = head.bytes.get(at + 1);
        next.is_some_and(|byte| !matches!(byte, b'\n' | b'\r'))
    });
    let begun = head.bytes.starts_with(b"Script started on ");
    let escapes = memchr::memchr_iter(ESCAPE, head.bytes)
        .any(|at| matches!(head.bytes.get(at + 1), Some(b'[' | b']' | b'(' | b'=' | b'>')));
    begun || escapes || returns || head.bytes.contains(&0x08)
}

struct Terminal {
    dating: Dating,
    limit: usize,
    /// Bytes that were not taken yet: a line without its end, or an escape that may go on.
    held: Vec<u8>,
    /// The screen, and whether it is drawn on now: a session may enter it again and again.
    screen: Option<Screen>,
    on_screen: bool,
    size: (NonZero<u16>, NonZero<u16>),
    /// The first row of the frame that was given last, and the command that it is of.
    top: Option<String>,
    command: Option<String>,
    /// Place of the first byte held, and line ends so far.
    place: Place,
    /// Place of the bytes that were drawn last: a frame that stands there when the text ends is of no line behind it.
    drawn: Place,
}

impl Terminal {
    fn new(setting: &Setting) -> Self {
        Self {
            dating: setting.dating,
            limit: setting.limit,
            held: Vec::new(),
            screen: None,
            on_screen: false,
            size: LARGEST,
            top: None,
            command: None,
            place: Place::bare(1, 0),
            drawn: Place::bare(1, 0),
        }
    }

    fn work(&mut self, out: &mut Out, ended: bool) {
        let held = std::mem::take(&mut self.held);
        let mut at = 0;
        loop {
            let rest = &held[at..];
            let used = if self.on_screen { self.draw(rest, out, ended) } else { self.write(rest, out, ended) };
            if used == 0 {
                break;
            }
            self.place.line += memchr::memchr_iter(b'\n', &rest[..used]).count() as i64;
            self.place.offset += used as i64;
            at += used;
        }
        self.held = held[at..].to_vec();
    }

    /// Takes one line. Returns how many bytes it took.
    fn write(&mut self, rest: &[u8], out: &mut Out, ended: bool) -> usize {
        let end = memchr::memchr(b'\n', rest);
        let line = &rest[..end.unwrap_or(rest.len())];
        if let Some(begin) = entered(line) {
            if begin.0 > 0 {
                let text = shown(&line[..begin.0]);
                if !text.trim_ascii().is_empty() {
                    out.at(self.place);
                    out.bare(&text, true);
                }
            }
            // Wider than stated: what does not fit there is better read than wrapped into the row below.
            let columns = self.size.1.saturating_add(WIDER);
            match self.screen.as_mut().filter(|screen| screen.is_of(self.size.0, columns)) {
                Some(screen) => screen.clear(),
                None => self.screen = Some(Screen::new(self.size.0, columns)),
            }
            self.on_screen = true;
            return begin.0 + begin.1;
        }
        if end.is_none() && !ended && line.len() <= self.limit {
            return 0;
        }
        if line.is_empty() && end.is_none() {
            return 0;
        }
        out.at(self.place);
        if line.starts_with(b"Script started on ") || line.starts_with(b"Script done on ") {
            self.header(line);
            out.around(line.trim_ascii_end());
        } else {
            let text = shown(line);
            // The trailer stands behind the shell's last line.
            match memchr::memmem::find(&text, b"Script done on ").filter(|at| *at > 0) {
                Some(at) => {
                    out.bare(&text[..at], true);
                    out.around(&text[at..]);
                }
                None => out.bare(&text, end.is_some()),
            }
        }
        end.map_or(line.len(), |end| end + 1)
    }

    /// The size of the terminal, and its zone.
    fn header(&mut self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        let number = |name: &str| {
            let rest = text.split_once(name)?.1.strip_prefix("=\"")?;
            rest.split('"').next()?.parse::<NonZero<u16>>().ok().filter(|number| number.get() <= 1_000)
        };
        let fits = |(columns, lines): &(NonZero<u16>, NonZero<u16>)| {
            u32::from(columns.get()) * u32::from(lines.get()) <= MOST_CELLS
        };
        if let Some((columns, lines)) = number("COLUMNS").zip(number("LINES")).filter(fits) {
            self.size = (lines, columns);
        }
        let date = text.trim_start_matches("Script started on ").split(" [").next().unwrap_or_default();
        if let Some(offset) = stamp::line(date.trim().as_bytes()).and_then(|time| time.offset) {
            self.dating.utc_offset = self.dating.utc_offset.or(Some(offset));
        }
    }

    /// Draws up to where the screen is left, or as far as the bytes go.
    fn draw(&mut self, rest: &[u8], out: &mut Out, ended: bool) -> usize {
        if !rest.is_empty() {
            self.drawn = self.place;
        }
        let left = LEFT.iter().filter_map(|mark| Some((memchr::memmem::find(rest, mark)?, mark.len()))).min();
        // An escape at the end may go on in what comes next.
        let kept = memchr::memrchr(ESCAPE, rest).filter(|at| rest.len() - at < 16 && !ended);
        let end = left.map(|(at, _)| at).or(kept).unwrap_or(rest.len());
        let mut from = 0;
        for at in memchr::memchr_iter(ESCAPE, &rest[..end]) {
            if at > from && moves_to_top(&rest[at..]) {
                self.process(&rest[from..at]);
                self.take_frame(out, false);
                from = at;
            }
        }
        self.process(&rest[from..end]);
        if let Some((at, length)) = left {
            self.take_frame(out, true);
            self.on_screen = false;
            return at + length;
        }
        if ended && end == rest.len() {
            self.take_frame(out, true);
        }
        end
    }

    fn process(&mut self, bytes: &[u8]) {
        if let Some(screen) = &mut self.screen {
            screen.process(bytes);
        }
    }

    /// Gives the frame that stands on the screen, where it is another one than the last: of each second the first one, and the
    /// last of all (`is_last`). A heading has whole seconds, so that further ones would not be apart.
    fn take_frame(&mut self, out: &mut Out, is_last: bool) {
        let Some(screen) = &mut self.screen else { return };
        let (lines, columns) = (self.size.0.get(), self.size.1.get());
        let top = screen.top();
        if !is_last && self.top.as_deref() == Some(top) {
            return;
        }
        // A heading without its date is still being drawn.
        let Some(Heading { command, node, time: Some(time) }) = heading(top.as_bytes()) else { return };
        let is_again = self.top.as_deref() == Some(top);
        let top = top.to_owned();
        if !screen.look() && is_again {
            return;
        }
        self.top = Some(top);
        let mut rows = screen.rows();
        let full = rows.last().is_some_and(|last| !last.is_empty()) && lines < LARGEST.0.get();
        let skipped = if rows.get(1).is_some_and(String::is_empty) { 2 } else { 1 };
        rows = rows.get(skipped..).unwrap_or_default();
        while let [ahead @ .., last] = rows
            && last.is_empty()
        {
            rows = ahead;
        }
        out.at(self.drawn);
        if self.command.as_ref() != Some(&command) {
            out.name(|names| {
                names.command = Some(command.as_str().into());
                names.host = names.host.take().or(node.as_deref().map(Into::into));
            });
            out.section();
            self.command = Some(command);
        }
        out.bare(time.canonical(&self.dating).as_bytes(), true);
        for row in rows {
            // Fewer bytes than columns are fewer letters, too.
            let wide = row.len() >= usize::from(columns) && columns < LARGEST.1.get();
            if wide && row.chars().count() >= usize::from(columns) {
                out.bare(format!("{row}{CUT}").as_bytes(), true);
            } else {
                out.bare(row.as_bytes(), true);
            }
        }
        if full {
            out.bare(CUT.as_bytes(), true);
        }
    }
}

/// Escapes that enter, and leave, the alternate screen.
const ENTERED: [&[u8]; 3] = [b"\x1b[?1049h", b"\x1b[?47h", b"\x1b[?1047h"];
const LEFT: [&[u8]; 3] = [b"\x1b[?1049l", b"\x1b[?47l", b"\x1b[?1047l"];

/// Where a line enters the alternate screen, and how long the escape is.
fn entered(line: &[u8]) -> Option<(usize, usize)> {
    ENTERED.iter().filter_map(|mark| Some((memchr::memmem::find(line, mark)?, mark.len()))).min()
}

/// Whether an escape moves the cursor to the first row, or clears the screen: another frame begins.
fn moves_to_top(escape: &[u8]) -> bool {
    let Some(rest) = escape.strip_prefix(b"\x1b[") else { return false };
    [b"H".as_slice(), b"1;", b";", b"2J", b"1d", b"f", b"d"].iter().any(|mark| rest.starts_with(mark))
}

/// A line as a terminal shows it.
fn shown(line: &[u8]) -> Vec<u8> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let plain = !line.iter().any(|byte| matches!(*byte, ESCAPE | b'\r' | 0x07 | 0x08));
    if plain {
        return line.to_vec();
    }
    let text = String::from_utf8_lossy(line);
    let mut cells: Vec<char> = Vec::with_capacity(text.len());
    let mut at = 0;
    // What is moved by cells that are cut out or put in.
    let mut effort = Effort::of(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\u{1b}' => match letters.next() {
                // No line is edited so much: as it is.
                Some('[') if !control(&mut letters, &mut cells, &mut at, &mut effort) => return line.to_vec(),
                Some('[') => {}
                // A title, or another text for the terminal itself.
                Some(']' | 'P' | '_' | '^') => {
                    while let Some(letter) = letters.next() {
                        if letter == '\u{7}' || (letter == '\u{1b}' && letters.next_if_eq(&'\\').is_some()) {
                            break;
                        }
                    }
                }
                Some('(' | ')' | '#' | '%') => {
                    letters.next();
                }
                _ => {}
            },
            '\r' if letters.peek().is_none() => {}
            // A shell that wraps what is typed writes a space and returns; the text goes on.
            '\r' if at > 40 && at == cells.len() && cells.last() == Some(&' ') && letters.peek() != Some(&'\r') => {
                cells.pop();
                at = cells.len();
            }
            '\r' => at = 0,
            '\u{8}' => at = at.saturating_sub(1),
            '\u{7}' => {}
            letter => {
                put(&mut cells, at, letter);
                at += 1;
            }
        }
    }
    cells.into_iter().collect::<String>().into_bytes()
}

fn put(cells: &mut Vec<char>, at: usize, letter: char) {
    if at >= cells.len() {
        cells.resize(at, ' ');
        cells.push(letter);
    } else {
        cells[at] = letter;
    }
}

/// Cells that a cursor may be moved at once: more than any screen is wide.
const FARTHEST: usize = 1_000;

/// One control sequence behind `␛[`; false where too much was moved.
fn control(
    letters: &mut std::iter::Peekable<std::str::Chars<'_>>,
    cells: &mut Vec<char>,
    at: &mut usize,
    effort: &mut Effort,
) -> bool {
    let mut number = String::new();
    for letter in letters.by_ref() {
        if !('\u{40}'..='\u{7e}').contains(&letter) {
            number.push(letter);
            continue;
        }
        if matches!(letter, 'P' | '@') && !effort.spend(cells.len().saturating_sub(*at)) {
            return false;
        }
        let count = number.parse::<usize>().unwrap_or(1).clamp(1, FARTHEST);
        match letter {
            'K' if number.is_empty() || number == "0" => cells.truncate(*at),
            'C' => *at = (*at + count).min(cells.len() + FARTHEST),
            'D' => *at = at.saturating_sub(count),
            'G' => *at = count - 1,
            'P' => {
                let end = (*at + count).min(cells.len());
                cells.drain((*at).min(end)..end);
            }
            '@' => {
                let place = (*at).min(cells.len());
                cells.splice(place..place, std::iter::repeat_n(' ', count));
            }
            _ => {}
        }
        return true;
    }
    true
}

impl Peel for Terminal {
    fn line(&mut self, line: &Dressed<'_>, out: &mut Out) {
        // Within another layer: a screen cannot be replayed there, since its lines are not those of the file.
        let text = shown(line.bytes);
        if text.starts_with(b"Script started on ") || text.starts_with(b"Script done on ") {
            self.header(&text);
            return out.around(&text);
        }
        out.bare(&text, line.ended);
    }

    fn by_bytes(&self) -> bool {
        true
    }

    fn bytes(&mut self, bytes: &[u8], out: &mut Out) {
        // A line that is still without its end is not looked at again, but for an escape across two pieces.
        let goes_on = !self.on_screen && !self.held.is_empty() && self.held.len() + bytes.len() <= self.limit;
        let seen = self.held.len().saturating_sub(ENTERED[0].len());
        self.held.extend_from_slice(bytes);
        let quiet = goes_on && memchr::memchr(b'\n', bytes).is_none() && entered(&self.held[seen..]).is_none();
        if !quiet {
            self.work(out, false);
        }
    }

    fn end(&mut self, out: &mut Out) {
        self.work(out, true);
    }
}

#[cfg(test)]
mod tests {
    use super::{LAYER, shown};
    use crate::layers::harness::{lines, sections, wears};

    #[test]
    fn a_line_is_what_the_terminal_shows() {
        for (raw, expected) in [
            ("\u{1b}[?2004h$ date\r", "$ date"),
            ("\u{1b}[32mgreen\u{1b}[0m text", "green text"),
            ("10%\r20%\r100%", "100%"),
            ("kubectll\u{8} \u{8} get\u{1b}[K", "kubectl get"),
            ("\u{1b}]0;title\u{7}$ ls", "$ ls"),
            ("ab\u{1b}[3Gx", "abx"),
            ("plain", "plain"),
        ] {
            assert_eq!(String::from_utf8_lossy(&shown(raw.as_bytes())), expected, "{raw:?}");
        }
    }

    #[test]
    fn a_frame_that_is_left_when_the_text_ends_stands_at_a_line_of_it() {
        let text = "Script started on 2026-11-26 09:41:11+00:00 [TERM=\"xterm\" COLUMNS=\"60\" LINES=\"6\"]\n\u{1b}[?1049h\u{1b}[H\u{1b}[2JEvery 0.5s: ls\u{1b}[1;30Ha: Thu Nov 26 09:48:10 2026\u{1b}[3;1HNAME   IP\r\n";
        let lines: Vec<i64> = lines(&LAYER, text).into_iter().map(|(line, ..)| line).collect();
        assert_eq!(lines, [2, 2]);
    }

    #[test]
    fn a_line_of_escapes_alone_makes_little_of_itself() {
        // Cells far to the right, cells put in, and cells cut out of a long line, again and again.
        let text = "x".repeat(1 << 20);
        for (raw, longest) in [
            ("\u{1b}[9999C.".repeat(10), 10 * 1_001),
            (format!("{text}\r{}", "\u{1b}[999@".repeat(100_000)), 4 << 20),
            (format!("{text}\r{}", "\u{1b}[1P".repeat(400_000)), 4 << 20),
        ] {
            assert!(shown(raw.as_bytes()).len() <= longest);
        }
        // A screen of a million cells is not one.
        let mut terminal = super::Terminal::new(&crate::layers::harness::setting());
        terminal
            .header(b"Script started on 2026-11-26 09:41:11+00:00 [TERM=\"xterm\" COLUMNS=\"1000\" LINES=\"1000\"]");
        assert_eq!(terminal.size, super::LARGEST);
    }

    #[test]
    fn a_screen_of_watch_is_replayed() {
        let text = "Script started on 2026-11-26 09:41:11+00:00 [TERM=\"xterm\" COLUMNS=\"60\" LINES=\"6\"]\n\u{1b}[?1049h\u{1b}[H\u{1b}[2JEvery 0.5s: ls\u{1b}[1;30Ha: Thu Nov 26 09:48:10 2026\u{1b}[3;1HNAME   IP\u{1b}[4;1Hcart   1\u{1b}[1;51H1\u{1b}[4;8H2\u{1b}[?1049l\r\nScript done on 2026-11-26 09:41:12+00:00 [COMMAND_EXIT_CODE=\"0\"]\n";
        assert!(wears(&LAYER, text));
        let found = sections(&[&LAYER], text.as_bytes());
        let last = found.last().expect("a section");
        assert_eq!(last.names.command.as_deref(), Some("ls"));
        let inside = String::from_utf8_lossy(&last.text);
        // The heading of the second frame has another second.
        assert_eq!(
            inside.trim_end(),
            "# TIMESTAMP 1795686490\nNAME   IP\ncart   1\n# TIMESTAMP 1795686491\nNAME   IP\ncart   2"
        );
    }

    #[test]
    fn a_session_without_a_screen_is_its_lines() {
        let text = "\u{1b}[?2004h$ date +%s; kubectl scale; date +%s\r\n\u{1b}[?2004l\r1795686080\r\nscaled\r\n";
        let found: Vec<String> = lines(&LAYER, text).into_iter().map(|(_, _, text)| text).collect();
        assert_eq!(found, ["$ date +%s; kubectl scale; date +%s", "1795686080", "scaled"]);
        assert!(!wears(&LAYER, "plain\r\ntext\r\n"));
    }
}
