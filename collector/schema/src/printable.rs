//! Captured and given text as it may be shown: what moves a cursor, turns the direction of writing or cannot be seen is written as its escape.
//!
//! Run names, labels, paths and messages come from strangers. A terminal obeys ESC, a browser and a terminal turn text around at
//! U+202E, and a name with U+200B in it looks like another one. Every output of both programs passes its text through here first, and then
//! escapes what its own format gives a meaning to.
//!
//! | characters | shown as |
//! |---|---|
//! | line end, carriage return, tab | `\n`, `\r`, `\t` (several lines: line ends and tabs stay) |
//! | C0, DEL, C1, with ESC and CSI | `\u{1b}` |
//! | marks, overrides and isolates of direction | `\u{202e}` |
//! | zero-width and other default-ignorable characters, the tags block | `\u{200b}` |
//! | U+2028, U+2029, annotations, noncharacters | `\u{2028}` |
//! | bytes that are no UTF-8 | U+FFFD, as they were read |
//! | a joiner or variation selector within an emoji | itself |
//! | all else: letters of every script, combining marks, emoji | itself |
//!
//! A backslash stays one: that `\u{202e}` was written out in a capture deceives nobody.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io::{self, Write};

/// `Default_Ignorable_Code_Point` of Unicode 16 (DerivedCoreProperties.txt), and what else has no glyph: line and paragraph separators,
/// interlinear annotations (U+FFF9 to U+FFFB) and the format controls of Egyptian hieroglyphs. Ascending.
const UNSEEN: [(char, char); 22] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2028}', '\u{2029}'),
    ('\u{202a}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fdd0}', '\u{fdef}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{fffe}', '\u{ffff}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
    ('\u{10fffe}', '\u{10ffff}'),
];

/// Whether a character is seen as what it is, whatever stands around it.
pub fn is_shown(c: char) -> bool {
    if (' '..='~').contains(&c) {
        return true;
    }
    // The last two of each plane are no characters.
    if c.is_control() || u32::from(c) & 0xfffe == 0xfffe {
        return false;
    }
    let after = UNSEEN.partition_point(|(_, last)| *last < c);
    UNSEEN.get(after).is_none_or(|(first, _)| c < *first)
}

/// Text on one line.
pub fn printable(text: &str) -> Cow<'_, str> {
    rewritten(text, &[], visible)
}

/// Text on as many lines as it has: line ends (`\n`) and tabs stay.
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    rewritten(text, &['\n', '\t'], visible)
}

/// A JSON document whose strings hold the same characters as before, those that are not shown as `\u` escapes: data stays data, and a
/// terminal may print it.
pub fn printable_json(document: &str) -> Cow<'_, str> {
    // Outside of strings JSON has no other white space, and within them no raw control characters.
    rewritten(document, &['\n', '\r', '\t'], |out, c| {
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(out, "\\u{unit:04x}");
        }
    })
}

/// A message on standard error, on one line. Whether anybody reads it is not this program's business: nothing fails where it cannot
/// be written.
pub fn tell(message: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{}", printable(&message.to_string()));
}

/// An error on standard error. Its further lines (a parser's picture of the place) are indented: no name with a line end in it can
/// pass for a message of its own.
pub fn tell_error(error: fmt::Arguments<'_>) {
    tell_lines(&format!("error: {error}").replace('\n', "\n  "));
}

/// As [`tell`], for text of several lines that this program laid out.
pub fn tell_lines(text: &str) {
    let text = text.strip_suffix('\n').unwrap_or(text);
    if !text.is_empty() {
        let _ = writeln!(io::stderr().lock(), "{}", printable_lines(text));
    }
}

/// A writer that makes text printable (line ends and tabs stay), so that no table forgets a value. Values that must not end their line are
/// made [`printable`] before. It takes whole characters at a time, as `write!` gives them.
pub struct Printable<W: Write>(pub W);

impl<W: Write> Write for Printable<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(printable_lines(&String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn visible(out: &mut String, c: char) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c => out.extend(c.escape_unicode()),
    }
}

/// The text with `escape` in place of what is not shown; it borrows where nothing is to do.
fn rewritten<'t>(text: &'t str, kept: &[char], escape: impl Fn(&mut String, char)) -> Cow<'t, str> {
    let mut out = String::new();
    let mut done = 0;
    let mut before = None;
    let mut at = 0;
    loop {
        // Most of most texts is plain ASCII: a byte that is shown is a character that is.
        let plain = plain(&text.as_bytes()[at..]);
        if plain > 0 {
            at += plain;
            before = None;
        }
        let mut characters = text[at..].chars();
        let Some(c) = characters.next() else { break };
        let behind = characters.next();
        let end = at + c.len_utf8();
        if is_shown(c) || kept.contains(&c) || is_within_emoji(before, c, behind) {
            before = Some(c);
        } else {
            out.push_str(&text[done..at]);
            escape(&mut out, c);
            done = end;
            before = None;
        }
        at = end;
    }
    if done == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[done..]);
    Cow::Owned(out)
}

/// How many of the first bytes are shown as they are: looked at as blocks, which compilers make wide instructions of, then one by one.
fn plain(bytes: &[u8]) -> usize {
    let is_plain = |byte: &u8| (b' '..=b'~').contains(byte);
    let blocks = bytes.chunks_exact(32).take_while(|block| block.iter().fold(true, |all, byte| all & is_plain(byte)));
    let checked = 32 * blocks.count();
    checked + bytes[checked..].iter().take_while(|byte| is_plain(byte)).count()
}

/// Whether a joiner or a variation selector belongs to an emoji (UTS #51): `👩‍💻`, `❤️`.
fn is_within_emoji(before: Option<char>, c: char, behind: Option<char>) -> bool {
    match c {
        '\u{fe0e}' | '\u{fe0f}' => before.is_some_and(is_pictograph),
        '\u{200d}' => before.is_some_and(|c| c == '\u{fe0f}' || is_pictograph(c)) && behind.is_some_and(is_pictograph),
        _ => false,
    }
}

/// Whether a character lies in a block of pictographs, or is a modifier of skin or hair.
fn is_pictograph(c: char) -> bool {
    matches!(c, '\u{2190}'..='\u{21ff}' | '\u{2300}'..='\u{23ff}' | '\u{25a0}'..='\u{27bf}' | '\u{2900}'..='\u{297f}' | '\u{2b00}'..='\u{2bff}' | '\u{1f000}'..='\u{1faff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_is_written_out() {
        for (text, shown) in [
            ("plain text, ×, →, …", "plain text, ×, →, …"),
            ("\u{1b}[2J\u{7}", "\\u{1b}[2J\\u{7}"),
            ("\u{9b}31m\u{7f}\u{85}", "\\u{9b}31m\\u{7f}\\u{85}"),
            ("a\nb\r\tc", "a\\nb\\r\\tc"),
            ("user\u{202e}gpj.exe", "user\\u{202e}gpj.exe"),
            ("\u{2066}a\u{2069}\u{200e}\u{200f}\u{61c}", "\\u{2066}a\\u{2069}\\u{200e}\\u{200f}\\u{61c}"),
            ("po\u{200b}d\u{feff}\u{ad}\u{2060}", "po\\u{200b}d\\u{feff}\\u{ad}\\u{2060}"),
            ("\u{2028}\u{2029}\u{fffe}\u{1ffff}\u{fdd0}", "\\u{2028}\\u{2029}\\u{fffe}\\u{1ffff}\\u{fdd0}"),
            ("a\u{e0041}\u{e007f}", "a\\u{e0041}\\u{e007f}"),
            ("a\u{200d}b \u{200c} x\u{fe0f}", "a\\u{200d}b \\u{200c} x\\u{fe0f}"),
        ] {
            assert_eq!(printable(text), shown);
            assert!(printable(text).chars().all(is_shown));
        }
    }

    #[test]
    fn people_s_languages_and_emoji_stay_readable() {
        for text in [
            "узел-7 ノード 节点 노드 κόμβος עברית عربي हिन्दी ไทย",
            "e\u{301}tat, n\u{303}",
            "👍🏽 ❤\u{fe0f} 👩\u{200d}💻 ❤\u{fe0f}\u{200d}🔥 🇩🇪 ☎\u{fe0e}",
        ] {
            assert!(matches!(printable(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn lines_stay_where_several_are_meant() {
        assert_eq!(printable_lines("a\n\tb\r\n\u{1b}"), "a\n\tb\\r\n\\u{1b}");
        let (mut out, name) = (Vec::new(), "\u{202e}x");
        writeln!(Printable(&mut out), "{:>4} {name}", 1).expect("memory takes it");
        assert_eq!(String::from_utf8_lossy(&out), "   1 \\u{202e}x\n");
    }

    #[test]
    fn json_stays_the_same_data() {
        let document = "{\n  \"a\u{7f}\u{85}\u{202e}\": \"\\u001b ü \u{e0041}\u{1f44d}\"\n}";
        let shown = printable_json(document);
        assert_eq!(shown, "{\n  \"a\\u007f\\u0085\\u202e\": \"\\u001b ü \\udb40\\udc41\u{1f44d}\"\n}");
        assert!(shown.chars().all(|c| c == '\n' || is_shown(c)));
    }

    #[test]
    fn the_ranges_ascend_and_none_is_missed_at_its_ends() {
        assert!(UNSEEN.windows(2).all(|pair| pair[0].1 < pair[1].0));
        for (first, last) in UNSEEN {
            assert!(!is_shown(first) && !is_shown(last), "{first:?} to {last:?}");
        }
        assert!(is_shown('\u{fffd}') && is_shown('\u{fffc}') && is_shown('\u{a0}') && is_shown('\u{2010}'));
    }
}
