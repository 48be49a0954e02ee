//! Numbers of lines: `cat -n`, `nl`, `grep -n`, of one file or of several.
//!
//! ```text
//!      7␉I0203 04:05:06.100000       1 proxier.go:828] "Syncing iptables rules"      cat -n
//! 7:I0203 04:05:06.100000       1 proxier.go:828] "Syncing iptables rules"           grep -n
//! 8-I0203 04:05:06.110000       1 iptables.go:410] "Running"                         … -C 1
//! --
//! logs/kube-proxy-x7k2p.log:7:I0203 04:05:06.100000 …                                grep -n in several
//! ```

use std::collections::BTreeMap;

use super::layer::Layer;
use super::prefix::{self, Read, Taken};
use crate::form::Head;
use crate::form::stamp;

/// The layer.
pub const LAYER: Layer = Layer {
    name: "numbered",
    title: "numbers of lines (cat -n, grep -n)",
    sample: "     1\tI0203 04:05:06.100000       1 proxier.go:1] x\n     2\tI0203 04:05:06.100001       1 proxier.go:1] y\n",
    certain: false,
    wears,
    open: |setting| prefix::open(setting, |line, _| taken(line).map_or(Read::Other, |(_, _, read)| read)),
    put_on: Some(|text| {
        let mut dressed = Vec::new();
        for (at, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
            dressed.extend_from_slice(format!("{:>6}\t", at + 1).as_bytes());
            dressed.extend_from_slice(line);
        }
        dressed
    }),
};

/// Digits of a number at most: longer ones are times.
const DIGITS: usize = 7;
/// Lines that are looked at.
const TRIED: usize = 40;

/// Whether lines have numbers that rise, in each file that they name.
fn wears(head: &Head) -> bool {
    let mut last: BTreeMap<Option<&str>, u32> = BTreeMap::new();
    let lines = stamp::tried_lines(head.bytes, head.whole || !head.bytes.contains(&b'\n'));
    let mut found = false;
    for line in lines.filter(|line| !line.is_empty()).take(TRIED) {
        match taken(line) {
            Some((number, mark, Read::Inside(inside))) => {
                // `14:05:06 …` is a time of day.
                let clock = inside.text.get(2) == Some(&b':') && inside.text[..2].iter().all(u8::is_ascii_digit);
                if clock || last.insert(inside.pod, number).is_some_and(|last| last >= number) {
                    return false;
                }
                // `2026-02-03` is a date: what `grep` finds, and what `cat` counts, has another mark.
                found |= mark != b'-';
            }
            Some(_) => {}
            None => return false,
        }
    }
    found
}

/// The number of a line, the mark behind it, and what stands there; `--` stands between what `grep` found apart.
fn taken(line: &[u8]) -> Option<(u32, u8, Read<'_>)> {
    if line == b"--" {
        return Some((0, b'-', Read::Own));
    }
    let plain = line.trim_ascii_start();
    if let Some((number, mark, text)) = numbered(plain, b"\t") {
        return Some((number, mark, Read::Inside(Taken { text, ..Taken::default() })));
    }
    if let Some((number, mark, text)) = numbered(line, b":-") {
        return Some((number, mark, Read::Inside(Taken { text, ..Taken::default() })));
    }
    // A path has no blank here, else any sentence could be one.
    let end = line.iter().take(300).position(u8::is_ascii_whitespace).unwrap_or(line.len().min(300));
    let ends = (1..end).filter(|at| matches!(line[*at], b':' | b'-'));
    for at in ends {
        let Some((number, mark, text)) = numbered(&line[at + 1..], &line[at..=at]) else { continue };
        let path = std::str::from_utf8(&line[..at]).ok()?;
        let name = path.rsplit('/').next().unwrap_or(path);
        let (stem, ending) = name.rsplit_once('.')?;
        let named = ending.starts_with(|letter: char| letter.is_ascii_lowercase())
            && ending.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if named && !stem.is_empty() {
            return Some((number, mark, Read::Inside(Taken { pod: Some(stem), text, ..Taken::default() })));
        }
    }
    None
}

/// A number, one of some marks, and the rest.
fn numbered<'a>(line: &'a [u8], marks: &[u8]) -> Option<(u32, u8, &'a [u8])> {
    let digits = line.iter().take(DIGITS + 1).take_while(|byte| byte.is_ascii_digit()).count();
    let begins = line.first().is_some_and(|first| *first != b'0') && (1..=DIGITS).contains(&digits);
    let mark = *line.get(digits).filter(|mark| begins && marks.contains(mark))?;
    let number = std::str::from_utf8(&line[..digits]).ok()?.parse().ok()?;
    Some((number, mark, &line[digits + 1..]))
}

#[cfg(test)]
mod tests {
    use super::LAYER;
    use crate::layers::harness::{lines, sections, wears};

    #[test]
    fn numbers_are_taken_off() {
        let check = |text: &str, expected: &[&str]| {
            assert!(wears(&LAYER, text), "{text}");
            let found: Vec<String> = lines(&LAYER, text).into_iter().map(|(_, _, text)| text).collect();
            assert_eq!(found, expected, "{text}");
        };
        check("     1\ta\n     2\t\tb\n", &["a", "\tb"]);
        check("7:I0203 04:05:06.1 1 a.go:1] x\n8-y\n--\n100:z\n", &["I0203 04:05:06.1 1 a.go:1] x", "y", "z"]);
        check("logs/a-1.log:7:x\nlogs/a-1.log-8-y\nlogs/b.log:2:z\n", &["x", "y", "z"]);
        let several = "logs/a-1.log:7:x\nlogs/b.log:2:z\n";
        let around = &sections(&[&LAYER], several.as_bytes())[0].around;
        assert_eq!((around.known(1).pod, around.known(2).pod), (Some("a-1"), Some("b")));
    }

    #[test]
    fn times_rules_and_prose_have_none() {
        for text in [
            "14:05:06 x\n14:05:07 y\n",
            "14:05:06 x\n",
            "04:05:06 x\n05:05:07 y\n",
            "1795407710\tx\n1795407711\ty\n",
            "2:a\n1:b\n",
            "1:a\n1:b\n",
            "2026-02-03 x\n2027-02-03 y\n",
            "Chain A (1 references)\n1\tx\n",
            "10.0.0.1:80\n",
            "a sentence: 7:x\n",
            "",
        ] {
            assert!(!wears(&LAYER, text), "{text}");
        }
    }
}
