//! A file, a piece of it, a line of it: what a parser is given.

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
