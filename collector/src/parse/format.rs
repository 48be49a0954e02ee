//! What a format declares, and what its parser is given.

use syncline_schema::clock::ClockToken;

use super::Batch;

/// Answer of a sniffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sniff {
    /// It is this format: a mark that no other format has was seen.
    Yes,
    /// It may be; the name decides.
    Perhaps,
    /// It is not.
    No,
}

/// The beginning of a file, decompressed.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Path relative to the argument, without `.gz` or `.zst`.
    pub path: &'a str,
    /// Up to 64 KiB, without a byte-order mark.
    pub bytes: &'a [u8],
    /// Whether `bytes` is the whole file.
    pub whole: bool,
}

/// Where a file of a format may be cut into chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// At any line end.
    Lines,
    /// Ahead of any line that begins with this mark (`# TIMESTAMP `); what stands ahead of the first mark goes with it.
    Marks(&'static str),
    /// Nowhere: the parser gets the whole file (which must fit the memory limit). Only a JSON document larger than a
    /// chunk is cut, between the elements of an array, into documents like it.
    Whole,
    /// At any line end; the first line that is not empty, the heading, is repeated ahead of each chunk.
    Headed,
}

/// One format.
pub struct Format {
    /// Token: names the schema file, the parser, the sample folder and the goldens.
    pub kind: &'static str,
    /// One line for people.
    pub title: &'static str,
    /// Clock of its times, unless `--source` or `capture.toml` says otherwise.
    pub clock: ClockToken,
    pub cut: Cut,
    /// Decides from the beginning of a file.
    pub sniff: fn(&Head) -> Sniff,
    /// Parses one chunk.
    pub parse: fn(&Context, &Chunk, &mut Batch),
    /// A short real sample, as `formats` shows it.
    pub sample: &'static str,
    /// How it is recognised, in words.
    pub recognised: &'static str,
    /// The command that captures it.
    pub capture: &'static str,
    /// What it can prove.
    pub proves: &'static str,
}

/// What a parser may know of the file.
#[derive(Clone, Debug)]
pub struct Context {
    /// Index of the source.
    pub source: i32,
    /// Path relative to the argument, without `.gz` or `.zst`; entries of a tar as `archive.tar/entry`.
    pub path: String,
    /// Clock domain of its times (`node-a`, `node-a/boottime`, `apiserver`, …).
    pub clock: String,
    /// Name of the node.
    pub node: String,
    /// Year for times that lack one.
    pub year: Option<i16>,
    /// Offset from UTC in seconds, for times that lack a zone.
    pub utc_offset: Option<i32>,
    /// Modification time of the file, ns; null for standard input.
    pub mtime: Option<i64>,
}

/// A piece of a file.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    /// Whole records, as [`Cut`] says; without a byte-order mark; line ends as captured.
    pub bytes: &'a [u8],
    /// Number of its first line, from 1.
    pub first_line: i64,
    /// Offset of its first byte in the decompressed file.
    pub offset: i64,
    /// Whether it is the first of its file.
    pub first: bool,
    /// Whether it is the last of its file.
    pub last: bool,
    /// Whether the input broke off (a compressed frame without its end): the last record may be cut.
    pub truncated: bool,
}

/// A line of a chunk.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// The line without its line end (neither `\n` nor `\r\n`).
    pub bytes: &'a [u8],
    /// Its number in the file, from 1.
    pub number: i64,
    /// Offset of its first byte in the decompressed file.
    pub offset: i64,
    /// False for a last line without a line end.
    pub ended: bool,
}

impl<'a> Chunk<'a> {
    /// Its lines.
    pub fn lines(&self) -> impl Iterator<Item = Line<'a>> + use<'a> {
        let (bytes, mut number, base) = (self.bytes, self.first_line, self.offset);
        let mut at = 0;
        std::iter::from_fn(move || {
            if at >= bytes.len() {
                return None;
            }
            let rest = &bytes[at..];
            let (length, ended) = match memchr::memchr(b'\n', rest) {
                Some(length) => (length, true),
                None => (rest.len(), false),
            };
            let mut content = &rest[..length];
            if content.last() == Some(&b'\r') {
                content = &content[..length - 1];
            }
            let line = Line { bytes: content, number, offset: base + at as i64, ended };
            at += length + 1;
            number += 1;
            Some(line)
        })
    }
}
