//! A file, a piece of it, a line of it: what a parser is given.

use std::borrow::Cow;

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
    /// What lay around its lines and was taken off; null where nothing did. Numbers and offsets of the chunk and its lines are
    /// then those of what was inside: [`Around`] knows where each stands in the file.
    pub around: Option<&'a Around>,
}

/// What the wrappers said of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known<'a> {
    /// Clock reading of whoever carried or stored the line, ns.
    pub outer_time: Option<i64>,
    /// Resolution of it, ns.
    pub resolution: i64,
    /// `pod` or `namespace/pod`.
    pub pod: Option<&'a str>,
    pub container: Option<&'a str>,
    pub node: Option<&'a str>,
    /// Machine at whose prompt the command was typed.
    pub host: Option<&'a str>,
    /// The command that printed it.
    pub command: Option<&'a str>,
}

/// Names that wrappers gave to lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Names {
    pub pod: Option<Box<str>>,
    pub container: Option<Box<str>>,
    pub node: Option<Box<str>>,
    pub host: Option<Box<str>>,
    pub command: Option<Box<str>>,
}

impl Names {
    /// Those that are given.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        [&self.pod, &self.container, &self.node, &self.host, &self.command]
            .into_iter()
            .filter_map(|name| name.as_deref())
    }
}

/// Where a line stood in the file as captured, and what was said of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its number in the file, from 1; of a joined line that of its first piece.
    pub line: i64,
    /// Offset of that line in the decompressed file.
    pub offset: i64,
    /// Outer time, ns; `i64::MIN` where there is none.
    pub time: i64,
    /// Resolution of it, ns.
    pub resolution: i64,
    /// Index into [`Around::names`]; 0 says nothing.
    pub names: u32,
}

impl Place {
    /// A place of which nothing else is known.
    pub fn bare(line: i64, offset: i64) -> Self {
        Self { line, offset, time: i64::MIN, resolution: 1, names: 0 }
    }
}

/// The lines of a chunk as they stood in the file.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// Number of the first line of `places`, as the chunk counts.
    pub first: i64,
    /// One for each line.
    pub places: Vec<Place>,
    /// The first one is empty.
    pub names: std::sync::Arc<Vec<Names>>,
}

impl Around {
    /// The place of a line of the chunk; of one that is repeated ahead of it that of the first.
    pub fn place(&self, number: i64) -> Option<&Place> {
        let at = usize::try_from((number - self.first).max(0)).ok()?;
        self.places.get(at).or(self.places.last())
    }

    /// What was said of a line.
    pub fn known(&self, number: i64) -> Known<'_> {
        let Some(place) = self.place(number) else { return Known::default() };
        let Some(names) = self.names.get(place.names as usize) else { return Known::default() };
        Known {
            outer_time: (place.time != i64::MIN).then_some(place.time),
            resolution: place.resolution,
            pod: names.pod.as_deref(),
            container: names.container.as_deref(),
            node: names.node.as_deref(),
            host: names.host.as_deref(),
            command: names.command.as_deref(),
        }
    }
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

impl<'a> Line<'a> {
    /// The line as text; what is no UTF-8 in it becomes U+FFFD.
    pub fn text(&self) -> Cow<'a, str> {
        // Nearly all lines are UTF-8, which is checked faster than it is repaired.
        std::str::from_utf8(self.bytes).map_or_else(|_| String::from_utf8_lossy(self.bytes), Cow::Borrowed)
    }
}

impl<'a> Chunk<'a> {
    /// What lay around a line said of it.
    pub fn known(&self, number: i64) -> Known<'a> {
        self.around.map(|around| around.known(number)).unwrap_or_default()
    }

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
