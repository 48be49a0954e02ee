//! What an unread file resembles: a container that must be unpacked first, an error message in place of a capture, or the
//! format whose sample shares the most words with it. A guess for people; nothing is read by it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use crate::bundle::programs;
use crate::form::{Format, Head};
use crate::parse::FORMATS;

/// Words that any summary of figures has: they mark nothing.
const OF_STATISTICS: [&str; 14] = [
    "min", "max", "avg", "mean", "total", "count", "sum", "average", "median", "stdev", "latency", "time", "seconds",
    "value",
];

/// First bytes of files that are no text, and what to do about them.
const MAGIC: [(&[u8], &str); 17] = [
    (b"\xfd7zXZ\0", "an xz archive: decompress it first (unxz)"),
    (b"BZh", "a bzip2 archive: decompress it first (bunzip2)"),
    (b"\x04\x22\x4d\x18", "an lz4 archive: decompress it first (unlz4)"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it first"),
    (b"PK\x03\x04", "a zip within too many other archives: unpack it first"),
    (b"\xd4\xc3\xb2\xa1", "a packet capture (pcap): Hubble flows are read instead (hubble observe -f -o jsonpb)"),
    (b"\xa1\xb2\xc3\xd4", "a packet capture (pcap): Hubble flows are read instead (hubble observe -f -o jsonpb)"),
    (b"\x4d\x3c\xb2\xa1", "a packet capture (pcap): Hubble flows are read instead (hubble observe -f -o jsonpb)"),
    (b"\xa1\xb2\x3c\x4d", "a packet capture (pcap): Hubble flows are read instead (hubble observe -f -o jsonpb)"),
    (b"\x0a\x0d\x0d\x0a", "a packet capture (pcapng): Hubble flows are read instead (hubble observe -f -o jsonpb)"),
    (b"PAR1", "a Parquet file: give the whole bundle to `syncline`, or the capture it was made of"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"PERFILE2", "perf.data: bpftrace's output is read instead"),
    (b"\x7fELF", "a program"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xfe", "text in UTF-16: convert it first (iconv -f UTF-16 -t UTF-8)"),
    (b"\xfe\xff", "text in UTF-16: convert it first (iconv -f UTF-16 -t UTF-8)"),
];

/// Beginnings of a first line that is no capture but the reason why there is none.
const FAILURES: [&str; 14] = [
    "Error from server",
    "error: ",
    "Error: ",
    "ERROR: ",
    "Unable to connect to the server",
    "The connection to the server",
    "curl: (",
    "bash: ",
    "sh: ",
    "iptables: ",
    "Error response from daemon",
    "OCI runtime exec failed",
    "command terminated with exit code",
    "Usage:",
];

/// Bytes that are looked at.
const LOOKED_AT: usize = 4 << 10;

/// Words of a sample that must be found, at least; share of the weight of all its words; and share of the words found.
const LEAST_WORDS: usize = 3;
const LEAST_SHARE: f64 = 0.25;
const LEAST_OF_FILE: f64 = 0.1;

/// What a file resembles that no format takes; null where it resembles nothing.
pub fn nearest(head: &Head) -> Option<String> {
    let bytes = &head.bytes[..head.bytes.len().min(LOOKED_AT)];
    if let Some((_, what)) = MAGIC.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Some((*what).to_owned());
    }
    if bytes.get(257..262) == Some(b"ustar") {
        return Some("a tar within too many other archives: unpack it first".to_owned());
    }
    if bytes.contains(&0) {
        return Some("no text, and no archive that is known".to_owned());
    }
    let text = String::from_utf8_lossy(bytes);
    let first = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    let shown = || first.chars().take(80).collect::<String>();
    if FAILURES.iter().any(|start| first.starts_with(start)) || first.ends_with("command not found") {
        return Some(format!("an error message in place of a capture: `{}`", shown()));
    }
    if ["<!doctype html", "<html"].iter().any(|start| first.to_ascii_lowercase().starts_with(start)) {
        return Some("a web page, perhaps a login form in place of an answer".to_owned());
    }
    if let Some(known) = programs::known(&text) {
        return Some(known);
    }
    resembled(&words(&text)).or_else(|| Some(format!("nearest to none; it begins `{}`", shown())))
}

/// The format whose sample shares the most words, each weighted by how few samples have it.
fn resembled(found: &BTreeSet<String>) -> Option<String> {
    // A capture may have a hundred thousand files that nothing reads.
    static SAMPLES: LazyLock<Vec<(&Format, BTreeSet<String>)>> =
        LazyLock::new(|| FORMATS.iter().map(|format| (*format, words(format.sample))).collect());
    static SPREAD: LazyLock<BTreeMap<&str, usize>> = LazyLock::new(|| {
        let mut spread = BTreeMap::new();
        for word in SAMPLES.iter().flat_map(|(_, words)| words) {
            *spread.entry(word.as_str()).or_default() += 1;
        }
        spread
    });
    let (samples, spread) = (&*SAMPLES, &*SPREAD);
    let weight = |word: &str| ((samples.len() as f64 + 1.0) / spread.get(word).copied().unwrap_or(1) as f64).ln();
    let scored = samples.iter().filter_map(|(format, words)| {
        let shared: Vec<&String> = words.intersection(found).collect();
        let all: f64 = words.iter().map(|word| weight(word)).sum();
        let share = shared.iter().map(|word| weight(word)).sum::<f64>() / all.max(1.0);
        let enough = shared.len() >= LEAST_WORDS
            && share >= LEAST_SHARE
            && shared.len() as f64 >= LEAST_OF_FILE * found.len() as f64;
        enough.then_some((share, shared.len(), words.len(), *format))
    });
    let (_, shared, of, format) = scored.max_by(|a, b| a.0.total_cmp(&b.0).then(b.3.kind.cmp(a.3.kind)))?;
    Some(format!(
        "nearest to {} ({shared} of the {of} words of its sample), which is known by {}",
        format.kind, format.recognised
    ))
}

/// Words of three letters or more; numbers, names of places and addresses tell nothing.
fn words(text: &str) -> BTreeSet<String> {
    text.split(|letter: char| !letter.is_alphabetic() && !matches!(letter, '_' | '-'))
        .map(|word| word.trim_matches(['_', '-']))
        .filter(|word| word.chars().count() >= 3)
        .map(str::to_lowercase)
        .filter(|word| !OF_STATISTICS.contains(&word.as_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{FORMATS, nearest, words};
    use crate::parse::harness::head;

    fn guess(bytes: &[u8]) -> String {
        nearest(&head("x", bytes)).unwrap_or_default()
    }

    #[test]
    fn a_sample_resembles_its_own_format() {
        // A diff is named as one, whatever it is of.
        let wordy = |format: &&&crate::form::Format| words(format.sample).len() >= 6 && format.kind != "listing-diff";
        for format in FORMATS.iter().filter(wordy) {
            let said = guess(format.sample.as_bytes());
            assert!(said.contains(&format!("nearest to {} (", format.kind)), "{}: {said}", format.kind);
        }
    }

    #[test]
    fn what_must_be_done_first_is_said() {
        assert!(guess(b"\xfd7zXZ\0\0\0").contains("unxz"));
        assert!(guess(b"\xff\xfe{\0\"\0").contains("UTF-16"));
        assert!(guess(b"abc\0\0def").contains("no text"));
        let failed = guess(b"Error from server (NotFound): pods \"x\" not found\n");
        assert!(failed.contains("in place of a capture: `Error from server (NotFound)"), "{failed}");
        assert!(guess(b"<!DOCTYPE html>\n<html>").contains("web page"));
    }

    #[test]
    fn prose_resembles_nothing() {
        let said = guess(b"\nDear all, here are the notes of the meeting on Monday. We talked about lunch.\n");
        assert!(said.starts_with("nearest to none; it begins `Dear all, here"), "{said}");
        assert_eq!(guess(b""), "");
    }
}
