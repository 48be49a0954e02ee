//! What programs print on standard error, between and within the lines of a listing that was saved with it (`2>&1`, a terminal).
//!
//! ```text
//! -A KUBE-SEP-B -p tcp -j DNAT --to-destina# Warning: iptables-legacy tables present, use iptables-legacy-save to see them
//! tion 10.0.0.2:8080
//! ```
//!
//! Standard output comes in blocks that end anywhere, so that a warning may stand in the middle of a line. A known one is
//! put behind that line: no byte is lost, and lines keep their numbers but for that one.

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::memmem::Finder;

/// Beginnings of warnings that stand alone or break a line, and words that must follow in the same line.
const WARNINGS: [(&[u8], &[u8]); 9] = [
    (b"# Warning: ", b"tables present"),
    (b"# Table `", b"incompatible"),
    (b"# Warning: table ", b"managed by iptables-nft"),
    (b"Another app is currently holding the xtables lock", b""),
    (b"Warning: Extension ", b"not supported"),
    (b"Defaulted container \"", b" out of:"),
    (b"Defaulting container name to ", b""),
    (b"Unable to use a TTY", b""),
    (b"command terminated with exit code", b""),
];

/// Longest warning.
const LONGEST: usize = 1_000;

/// What each of [`WARNINGS`] has in it.
static MARKS: LazyLock<[Finder<'static>; 6]> = LazyLock::new(|| {
    ["arning: ", "Another app is", "# Table `", "Default", " a TTY", "terminated with"].map(Finder::new)
});

/// A text whose lines are whole again.
pub struct Mended<'t> {
    pub text: Cow<'t, [u8]>,
    /// How many warnings stood within a line.
    pub count: u64,
}

/// Whether a line is a known warning.
pub fn is_warning(line: &[u8]) -> bool {
    WARNINGS.iter().any(|(start, word)| line.starts_with(start) && memchr::memmem::find(line, word).is_some())
}

/// Whether a warning may stand in a text. Hardly any has one: what all of them have is looked for in few passes.
pub fn may_hold_one(text: &[u8]) -> bool {
    !text.is_empty() && MARKS.iter().any(|mark| mark.find(text).is_some())
}

/// Joins lines that a warning broke, and puts the warning behind them.
pub fn mended(text: &[u8]) -> Mended<'_> {
    // The places of warnings that do not begin their line, in order.
    let mut places: Vec<usize> = WARNINGS
        .iter()
        .flat_map(|(start, _)| memchr::memmem::find_iter(text, start))
        .filter(|at| *at > 0 && text[at - 1] != b'\n')
        .filter(|at| {
            let rest = &text[*at..text.len().min(at + LONGEST)];
            is_warning(&rest[..memchr::memchr(b'\n', rest).unwrap_or(rest.len())])
        })
        .collect();
    places.sort_unstable();
    places.dedup();
    // Within quotes it is a comment of the rule. From one to the next: a line may have a million of them.
    let (mut from, mut quoted) = (0, false);
    places.retain(|at| {
        let between = &text[from..*at];
        let line = memchr::memrchr(b'\n', between).map_or(between, |end| &between[end + 1..]);
        let is_odd = memchr::memchr_iter(b'"', line).count() % 2 == 1;
        quoted = (line.len() == between.len() && quoted) != is_odd;
        from = *at;
        !quoted
    });
    if places.is_empty() {
        return Mended { text: Cow::Borrowed(text), count: 0 };
    }
    let mut whole = Vec::with_capacity(text.len() + 1);
    let mut held: Vec<u8> = Vec::new();
    let (mut from, mut count) = (0, 0);
    for at in places {
        if at < from {
            continue;
        }
        let end = memchr::memchr(b'\n', &text[at..]).map_or(text.len(), |length| at + length + 1);
        take_lines(&text[from..at], &mut held, &mut whole);
        held.extend_from_slice(&text[at..end]);
        (from, count) = (end, count + 1);
    }
    take_lines(&text[from..], &mut held, &mut whole);
    if !held.is_empty() {
        if !whole.ends_with(b"\n") {
            whole.push(b'\n');
        }
        whole.extend_from_slice(&held);
    }
    Mended { text: Cow::Owned(whole), count }
}

/// Appends text; what is held goes behind the first line end.
fn take_lines(text: &[u8], held: &mut Vec<u8>, whole: &mut Vec<u8>) {
    let Some(end) = memchr::memchr(b'\n', text).filter(|_| !held.is_empty()) else {
        whole.extend_from_slice(text);
        return;
    };
    whole.extend_from_slice(&text[..=end]);
    whole.append(held);
    whole.extend_from_slice(&text[end + 1..]);
}

#[cfg(test)]
mod tests {
    use super::mended;

    #[test]
    fn every_warning_has_a_mark_that_is_looked_for() {
        for (start, word) in super::WARNINGS {
            let warning = [b"-A x".as_slice(), start, b" a b ", word, b"\n"].concat();
            assert!(super::may_hold_one(&warning));
            assert_eq!(mended(&warning).count, 1, "{}", String::from_utf8_lossy(start));
        }
    }

    #[test]
    fn a_warning_within_a_line_goes_behind_it() {
        const WARNING: &str = "# Warning: iptables-legacy tables present, use iptables-legacy-save to see them\n";
        let check = |text: &str, expected: &str, count: u64| {
            let found = mended(text.as_bytes());
            assert_eq!((String::from_utf8_lossy(&found.text), found.count), (expected.into(), count), "{text}");
        };
        check(&format!("-A x\n{WARNING}-A y\n"), &format!("-A x\n{WARNING}-A y\n"), 0);
        check(&format!("-A {WARNING}x\n-A y\n"), &format!("-A x\n{WARNING}-A y\n"), 1);
        check(&format!("-A {WARNING}x {WARNING}y\n"), &format!("-A x y\n{WARNING}{WARNING}"), 2);
        check(&format!("-A {WARNING}"), &format!("-A \n{WARNING}"), 1);
        let quoted = format!("-A x --comment \"{WARNING}");
        check(&quoted, &quoted, 0);
        let both = format!("-A \" {WARNING}-A x{WARNING}-B \"\" {WARNING}\n");
        check(&both, &format!("-A \" {WARNING}-A x-B \"\" \n{WARNING}{WARNING}"), 2);
    }
}
