//! Reads the files of a capture in order: opens, recognises, cuts, and tells the write pass what it found.

mod archive;
mod tsdb;

use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use syncline_schema::clock::ClockToken;
use syncline_schema::loss::{self, Loss};
use syncline_schema::manifest::Source;

use crate::bundle::capture_toml::{self, Statements};
use crate::bundle::nearest::nearest;
use crate::bundle::pipeline::Outlet;
use crate::bundle::progress::Progress;
use crate::bundle::rules::{SourceRule, glob, plain_path};
use crate::bundle::said::Said;
use crate::form::{Context, Format, Head, Sniff};
use crate::input::{self, Cutter, Digested, Entry, Piece};
use crate::layers::prompt;
use crate::parse::FORMATS;

use archive::Opened;

/// Bytes that a sniffer sees.
const HEAD: usize = 64 << 10;

/// The reader of one bundle.
pub struct Reader<'o> {
    /// Kinds and clocks that the command line gave.
    pub options: &'o [SourceRule],
    /// `capture.toml`.
    pub statements: &'o Statements,
    /// Name of the node.
    pub node: Option<String>,
    /// Bytes of a record at most.
    pub limit: usize,
    /// Largest zstd window, as a power of two.
    pub window_log: u32,
    /// Bar.
    pub progress: Progress,
    /// Folder for files that must be read at many places, made when needed.
    pub scratch: &'o Path,
    /// How many files are in it.
    pub kept: AtomicUsize,
}

impl Reader<'_> {
    /// Reads all entries in order.
    pub fn read(&self, entries: &[Entry], outlet: &Outlet<Said>) {
        let mut index = 0;
        let grouped = self.grouped(entries);
        for (at, entry) in entries.iter().enumerate() {
            self.progress.begin(&entry.path);
            if let Some(group) = grouped.of_entry.get(&at).map(|number| &grouped.groups[*number]) {
                // Read as a whole where its first file stands.
                if group.files.iter().min() == Some(&at) {
                    self.walked(group, entries, &mut index, outlet);
                }
                self.progress.end();
                continue;
            }
            if entry.skipped {
                self.unread(index, entry, loss::SKIPPED_FILE, outlet);
                index += 1;
                self.progress.end();
                continue;
            }
            match input::open(&entry.file, self.window_log) {
                Ok((reader, digest)) => self.file(entry, reader, digest, &mut index, outlet),
                Err(error) => {
                    let context = self.unread(index, entry, loss::UNREAD_FILE, outlet);
                    outlet.say(Said::Unread { context, why: error.to_string() });
                    index += 1;
                }
            }
            self.progress.end();
        }
    }

    /// Names a file that is not read.
    fn unread(&self, index: i32, entry: &Entry, why: Loss, outlet: &Outlet<Said>) -> Arc<Context> {
        let context = Arc::new(self.context(index, &entry.path, None, None));
        let source = Source { path: entry.path.clone(), kind: "unread".to_owned(), ..Source::default() };
        outlet.say(Said::Begin { source, context: Arc::clone(&context), losses: vec![why] });
        context
    }

    fn file(&self, entry: &Entry, mut reader: Box<dyn Read>, digest: Digested, index: &mut i32, outlet: &Outlet<Said>) {
        let mtime = fs::metadata(&entry.file).and_then(|meta| meta.modified()).ok().and_then(|time| {
            time.duration_since(std::time::UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_nanos()).ok())
        });
        let mut head = Vec::new();
        let broken = read_head(&mut reader, &mut head);
        // What was decompressed does not lie there as it is read.
        let mut magic = Vec::new();
        let plain = entry.path != "-"
            && fs::File::open(&entry.file).is_ok_and(|file| file.take(4).read_to_end(&mut magic).is_ok())
            && head.starts_with(&magic);
        let one = Opened {
            path: entry.path.clone(),
            plain: plain_path(&entry.path),
            mtime,
            head,
            broken,
            reader: &mut reader,
            digest,
            disk: plain.then_some(entry.file.as_path()),
            depth: 0,
        };
        self.opened(one, index, outlet);
    }

    #[expect(clippy::too_many_arguments, reason = "the pieces of one opened file")]
    fn source(
        &self,
        index: i32,
        path: &str,
        plain: &str,
        mtime: Option<i64>,
        head: Vec<u8>,
        broken: Option<String>,
        reader: &mut dyn Read,
        outlet: &Outlet<Said>,
    ) {
        let rule = self.rule(plain);
        let (ahead, format) = self.behind(plain, &head, rule);
        let kind = match format {
            Some(format) => format.kind,
            None if capture_toml::is_one(plain) => "capture-toml",
            None => "unread",
        };
        let context = Arc::new(self.context(
            index,
            plain,
            rule.and_then(|rule| rule.clock.clone()).or_else(|| format.map(|f| f.clock.token().to_owned())),
            mtime,
        ));
        let empty = head.is_empty() && broken.is_none();
        let mut losses = Vec::new();
        if empty {
            losses.push(loss::EMPTY_FILE);
        } else if kind == "unread" {
            losses.push(loss::UNREAD_FILE);
        }
        let clock = (context.clock != "none" && format.is_some()).then(|| context.clock.clone());
        let nearest = if kind == "unread" { Self::nearest(plain, &head) } else { None };
        let source = Source { path: path.to_owned(), kind: kind.to_owned(), nearest, clock, ..Source::default() };
        outlet.say(Said::Begin { source, context: Arc::clone(&context), losses });
        let Some(format) = format else {
            if let Some(why) = broken {
                outlet.say(Said::Truncated { context, offset: head.len() as i64, why });
            }
            return;
        };
        let mut rest = head;
        let before: Vec<u8> = rest.drain(..ahead).collect();
        let (lines, bytes) = (memchr::memchr_iter(b'\n', &before).count() as i64, before.len() as i64);
        if ahead > 0 {
            let piece = Piece { bytes: before, first_line: 1, first: true, ..Piece::default() };
            if !outlet.chunk(piece, &context, &prompt::AHEAD) {
                return;
            }
        }
        let mut cutter = Cutter::new(rest, Broken { inner: reader, error: broken }, format.cut, self.limit);
        cutter.begin(lines, bytes);
        while let Some(mut piece) = cutter.next_piece() {
            for record in std::mem::take(&mut piece.skipped) {
                outlet.say(Said::Skipped { context: Arc::clone(&context), record });
            }
            if let Some(why) = &piece.truncated {
                let offset = piece.offset + piece.bytes.len() as i64;
                outlet.say(Said::Truncated { context: Arc::clone(&context), offset, why: why.clone() });
            }
            let last = piece.last;
            if !piece.bytes.is_empty() && !outlet.chunk(piece, &context, format) {
                return;
            }
            if last {
                return;
            }
        }
    }

    /// The first rule for a path: the command line ahead of `capture.toml`.
    fn rule(&self, plain: &str) -> Option<&SourceRule> {
        let rules = self.options.iter().chain(&self.statements.sources);
        rules.into_iter().find(|rule| glob(plain_path(&rule.glob).as_bytes(), plain.as_bytes()))
    }

    fn nearest(plain: &str, head: &[u8]) -> Option<String> {
        nearest(&Head { path: plain, bytes: head, whole: head.len() < HEAD })
    }

    /// The format of a file, and the length of what a terminal shows ahead of it.
    fn behind(&self, plain: &str, head: &[u8], rule: Option<&SourceRule>) -> (usize, Option<&'static Format>) {
        let whole = head.len() < HEAD;
        let format = self.recognise(plain, head, whole, rule);
        let ahead = if format.is_none() && !capture_toml::is_one(plain) { prompt::ahead(head) } else { 0 };
        match self.recognise(plain, &head[ahead..], whole, rule) {
            Some(format) if ahead > 0 => (ahead, Some(format)),
            _ => (0, format),
        }
    }

    fn recognise(&self, plain: &str, head: &[u8], whole: bool, rule: Option<&SourceRule>) -> Option<&'static Format> {
        if let Some(kind) = rule.and_then(|rule| rule.kind.as_deref()) {
            return FORMATS.iter().copied().find(|format| format.kind == kind);
        }
        if head.is_empty() || capture_toml::is_one(plain) {
            return None;
        }
        let bytes = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
        let head = Head { path: plain, bytes, whole };
        let mut perhaps = None;
        for format in FORMATS.iter().copied() {
            match (format.sniff)(&head) {
                Sniff::Yes => return Some(format),
                Sniff::Perhaps if perhaps.is_none() => perhaps = Some(format),
                _ => {}
            }
        }
        perhaps
    }

    fn context(&self, source: i32, path: &str, clock: Option<String>, mtime: Option<i64>) -> Context {
        let node = self.node.clone().unwrap_or_else(|| "node".to_owned());
        let clock = clock.unwrap_or_else(|| "none".to_owned());
        let token = ClockToken::ALL.into_iter().find(|token| token.token() == clock);
        let clock = token.map_or(clock, |token| token.domain(&node));
        Context {
            source,
            path: path.to_owned(),
            clock,
            node,
            year: self.statements.year,
            utc_offset: self.statements.utc_offset,
            mtime,
        }
    }
}

/// Gives an earlier read error once the bytes ahead of it were taken.
struct Broken<'r> {
    inner: &'r mut dyn Read,
    error: Option<String>,
}

impl Read for Broken<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.error.take() {
            Some(error) => Err(std::io::Error::other(error)),
            None => self.inner.read(buffer),
        }
    }
}

fn read_head(reader: &mut dyn Read, head: &mut Vec<u8>) -> Option<String> {
    reader.take(HEAD as u64).read_to_end(head).err().map(|error| error.to_string())
}
