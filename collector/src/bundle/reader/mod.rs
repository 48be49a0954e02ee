//! Reads the files of a capture in order: opens, recognises, cuts, and tells the write pass what it found.

mod archive;
mod layered;
mod scratch;
mod tsdb;

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::Path;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use syncline_schema::clock::ClockToken;
use syncline_schema::loss::{self, Loss};
use syncline_schema::manifest::Source;

use super::capture_toml::{self, Statements};
use super::nearest::nearest;
use super::pipeline::{Outlet, Refusal};
use super::progress::Progress;
use super::recognise::{What, recognise, span};
use super::rules::{Rules, SourceRule, plain_path};
use super::said::Said;
use super::stated::why_not;
use super::twins::{Known, Twin};
use crate::form::ledger::{Held, Ledger};
use crate::form::stamp::{Dating, MARK};
use crate::form::{Context, Format, Head, Reads};
use crate::input::{self, Cutter, Digested, Entry, Limits, Piece, Skip};
use crate::layers::Setting;
use crate::parse::FORMATS;

use archive::Opened;
pub use archive::kind as archive_kind;
use layered::{Layered, losses};
pub use scratch::Scratch;

/// Bytes that a sniffer sees.
pub const HEAD: usize = 64 << 10;

/// The reader of one bundle.
pub struct Reader<'o> {
    /// Kinds and clocks that the command line and `capture.toml` gave.
    pub rules: &'o Rules,
    /// `capture.toml`.
    pub statements: &'o Statements,
    /// Name of the node.
    pub node: Option<String>,
    /// Bytes of a record at most.
    pub limit: usize,
    /// How far files are unpacked.
    pub limits: Limits,
    /// What is kept of a TSDB.
    pub reading: Ledger,
    /// Bar.
    pub progress: Progress,
    /// Folder for files that must be read at many places.
    pub scratch: &'o Scratch,
    /// What the files of archives may take beside those of the walk.
    pub room: Room,
    /// All files.
    pub entries: &'o [Entry],
    /// What was read so far.
    pub known: Known,
    /// What dated sources span, once somebody asked.
    pub span: OnceLock<Option<(i64, i64, String)>>,
}

/// Room for what is known of files, whatever is in them, by [`input::cost`].
pub struct Room(Mutex<Held>);

impl Room {
    /// Beside the files of the walk.
    pub fn new(reading: &Ledger, entries: &[Entry]) -> Self {
        let mut held = reading.account();
        // The walk went no further than there was room; then the archives have none.
        let files: usize = entries.iter().map(|entry| input::cost(&entry.path)).sum();
        let _ = held.take(files.min(reading.total()));
        Self(Mutex::new(held))
    }

    /// Takes some, where there is as much.
    fn take(&self, bytes: usize) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take(bytes).is_ok()
    }
}

impl Reader<'_> {
    /// Reads all entries in order.
    pub fn read(&self, outlet: &Outlet<Said>) {
        let entries = self.entries;
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
            if let Some(skip) = &entry.skipped {
                self.skipped(index, entry, skip, outlet);
                index += 1;
                self.progress.end();
                continue;
            }
            if !entry.once
                && let Some(twin) = self.twin(&entry.file, &entry.path)
            {
                self.same(index, &entry.path, twin, outlet);
                index += 1;
                self.progress.end();
                continue;
            }
            match input::open(&entry.file, &self.limits) {
                Ok((reader, digest)) => self.file(entry, reader, digest, &mut index, outlet),
                Err(error) => {
                    let is_bomb = error.kind() == ErrorKind::QuotaExceeded;
                    let loss = if is_bomb { loss::EXPANDED_TOO_FAR } else { loss::UNREAD_FILE };
                    self.refused(index, &entry.path, loss, 1, format!("not read: {error}"), outlet);
                    index += 1;
                }
            }
            self.progress.end();
        }
    }

    /// An earlier file with the same content, if they are one source.
    fn twin(&self, file: &Path, path: &str) -> Option<Twin> {
        let unruled = self.rule(&plain_path(path)).is_none();
        let twin = unruled.then(|| self.known.twin(file, &self.limits).ok().flatten())??;
        self.is_dated(file, path).then_some(twin)
    }

    /// Whether a file brings its own times.
    fn is_dated(&self, file: &Path, path: &str) -> bool {
        let mut head = Vec::new();
        if let Ok((mut reader, _)) = input::open(file, &self.limits) {
            read_head(&mut reader, &mut head);
        }
        let plain = plain_path(path);
        let what = recognise(&plain, &head, head.len() < HEAD, &mut self.setting(), None, &|| None);
        what.format.is_some_and(|format| match format.reads {
            Reads::State(_) => what.stamped || head.starts_with(MARK.as_bytes()),
            Reads::Rows(_) => !matches!(format.clock, ClockToken::None) && format.kind != "exposition",
        })
    }

    /// Names a file whose content is read under another path.
    fn same(&self, index: i32, path: &str, twin: Twin, outlet: &Outlet<Said>) {
        let context = Arc::new(self.context(index, path, None, None));
        let source = Source {
            path: path.to_owned(),
            kind: "same-content".to_owned(),
            same_as: Some(twin.first),
            ..Source::default()
        };
        outlet.say(Said::Begin { source, context, losses: vec![loss::SAME_CONTENT] });
        outlet.say(Said::End { index, digest: Some(twin.digest) });
    }

    /// Names what a walk found and is not read.
    fn skipped(&self, index: i32, entry: &Entry, skip: &Skip, outlet: &Outlet<Said>) {
        let path = &entry.path;
        let (loss, count, why) = match skip {
            Skip::Hidden => {
                self.begin_unread(index, path, vec![loss::SKIPPED_FILE], outlet);
                return;
            }
            Skip::Again(first) => {
                let twin = Twin { first: first.clone(), digest: (String::new(), 0) };
                return self.same(index, path, twin, outlet);
            }
            Skip::Special(what) => (loss::SKIPPED_FILE, 1, format!("not read: {what}")),
            Skip::Out(to) => (loss::LINK_NOT_FOLLOWED, 1, format!("not read: a link to {}", to.display())),
            Skip::Unreadable(error) => (loss::UNREADABLE_FOLDER, 1, format!("not read: {error}")),
            Skip::Beyond(more) => (loss::TOO_MANY_FILES, more + 1, format!("no room for it and {more} more")),
        };
        self.refused(index, path, loss, count, why, outlet);
    }

    /// Names what is not read, and says why.
    fn refused(&self, index: i32, path: &str, loss: Loss, count: u64, why: String, outlet: &Outlet<Said>) {
        let context = self.begin_unread(index, path, Vec::new(), outlet);
        outlet.say(Said::Withheld { context, loss, count, why });
    }

    fn begin_unread(&self, index: i32, path: &str, losses: Vec<Loss>, outlet: &Outlet<Said>) -> Arc<Context> {
        let context = Arc::new(self.context(index, path, None, None));
        let source = Source { path: path.to_owned(), kind: "unread".to_owned(), ..Source::default() };
        outlet.say(Said::Begin { source, context: Arc::clone(&context), losses });
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
        let plain = !entry.once
            && input::regular(&entry.file).is_ok_and(|(file, _)| file.take(4).read_to_end(&mut magic).is_ok())
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
        let whole = head.len() < HEAD;
        let stated = rule.and_then(|rule| rule.kind.as_deref());
        let stated = stated.and_then(|kind| FORMATS.iter().copied().find(|format| format.kind == kind));
        let mut setting = self.setting();
        let what = if capture_toml::is_one(plain) || (head.is_empty() && stated.is_none()) {
            What::default()
        } else {
            recognise(plain, &head, whole, &mut setting, stated, &|| self.dated())
        };
        let kind = match what.format {
            Some(format) => format.kind,
            None if capture_toml::is_one(plain) => "capture-toml",
            None => "unread",
        };
        let clock = rule.and_then(|rule| rule.clock.clone());
        let token = clock.clone().or_else(|| what.format.map(|format| format.clock.token().to_owned()));
        let mut context = self.context(index, plain, token, mtime);
        (context.year, context.utc_offset) = (setting.dating.year, setting.dating.utc_offset);
        let context = Arc::new(context);
        let losses = losses(kind, head.is_empty() && broken.is_none());
        let stamped = (context.clock != "none" && what.format.is_some()).then(|| context.clock.clone());
        let nearest = if kind == "unread" { nearest(&Head { path: plain, bytes: &head, whole }) } else { None };
        let source = Source {
            path: path.to_owned(),
            kind: kind.to_owned(),
            nearest,
            layers: what.layers.iter().map(|layer| layer.name.to_owned()).collect(),
            clock: stamped,
            ..Source::default()
        };
        outlet.say(Said::Begin { source, context: Arc::clone(&context), losses });
        for (key, value) in what.facts {
            outlet.say(Said::Fact { context: Arc::clone(&context), key, value });
        }
        let Some(format) = what.format else {
            if kind == "capture-toml" && self.statements.path.as_deref() != Some(plain) {
                let (loss, why) = (loss::STATEMENT_REFUSED, why_not(self.statements));
                outlet.say(Said::Withheld { context: Arc::clone(&context), loss, count: 1, why });
            }
            if let Some(why) = broken {
                outlet.say(Said::Truncated { context, offset: head.len() as i64, why });
            }
            return;
        };
        let mut rest = Broken { inner: reader, error: broken };
        if !what.layers.is_empty() {
            let file = Layered { layers: &what.layers, setting: &setting, context: &context, clock, stated };
            return self.layered(&file, &mut head.as_slice().chain(rest), outlet);
        }
        let mut cutter = Cutter::new(head, &mut rest, format.cut, self.limit);
        while let Some(mut piece) = cutter.next_piece() {
            for record in std::mem::take(&mut piece.skipped) {
                outlet.say(Said::Skipped { context: Arc::clone(&context), record });
            }
            if let Some(why) = &piece.truncated {
                let offset = piece.offset + piece.bytes.len() as i64;
                outlet.say(Said::Truncated { context: Arc::clone(&context), offset, why: why.clone() });
            }
            let last = piece.last;
            if !piece.bytes.is_empty() && !hand_on(piece, &context, format, outlet) {
                return;
            }
            if last {
                return;
            }
        }
    }

    fn setting(&self) -> Setting {
        let (year, utc_offset) = (self.statements.year, self.statements.utc_offset);
        // A line is held by each layer, by what reads it and by what it makes.
        Setting { dating: Dating { year, utc_offset, span: None }, limit: self.limit / 4 }
    }

    /// What the sources that bring their dates span, and the first of them; looked for once, when a file needs it.
    fn dated(&self) -> Option<(i64, i64, String)> {
        self.span.get_or_init(|| self.look_for_dates()).clone()
    }

    fn look_for_dates(&self) -> Option<(i64, i64, String)> {
        let mut found: Option<(i64, i64, String)> = None;
        for entry in self.entries.iter().filter(|entry| entry.skipped.is_none() && !entry.once).take(MOST_DATED) {
            let plain = plain_path(&entry.path);
            let Ok((mut reader, _)) = input::open(&entry.file, &self.limits) else { continue };
            let mut head = Vec::new();
            read_head(&mut reader, &mut head);
            let context = self.context(0, &plain, None, None);
            if let Some((first, last)) = span(&context, &head, head.len() < HEAD, &self.setting()) {
                let (from, to, _) = found.get_or_insert_with(|| (first, last, entry.path.clone()));
                (*from, *to) = ((*from).min(first), (*to).max(last));
            }
        }
        found
    }

    /// The first rule for a path: the command line ahead of `capture.toml`.
    fn rule(&self, plain: &str) -> Option<&SourceRule> {
        self.rules.of(plain)
    }

    fn named(&self) -> String {
        self.node.clone().unwrap_or_else(|| "node".to_owned())
    }

    /// The domain that a clock token, or a domain, stands for.
    fn domain(&self, clock: Option<String>) -> String {
        let clock = clock.unwrap_or_else(|| "none".to_owned());
        let token = ClockToken::ALL.into_iter().find(|token| token.token() == clock);
        token.map_or(clock, |token| token.domain(&self.named()))
    }

    fn context(&self, source: i32, path: &str, clock: Option<String>, mtime: Option<i64>) -> Context {
        Context {
            source,
            path: path.to_owned(),
            clock: self.domain(clock),
            node: self.named(),
            year: self.statements.year,
            utc_offset: self.statements.utc_offset,
            mtime,
        }
    }
}

/// Hands a piece to the workers, or names it where it makes too much of itself. False once nobody listens any more.
fn hand_on(piece: Piece, context: &Arc<Context>, format: &'static Format, outlet: &Outlet<Said>) -> bool {
    let first = piece.around.as_ref().and_then(|around| around.place(piece.first_line));
    let (line, offset) = first.map_or((piece.first_line, piece.offset), |place| (place.line, place.offset));
    match outlet.chunk(piece, context, format) {
        Ok(()) => true,
        Err(Refusal::Over) => false,
        Err(Refusal::TooLarge(why)) => outlet.say(Said::Refused { context: Arc::clone(context), line, offset, why }),
    }
}

/// Files that are looked at for dates at most.
const MOST_DATED: usize = 400;

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
