//! The files of a recording: compressed as they grow, readable after `kill -9` up to the last second, within a bound on disk; what
//! was lost is written as it happens.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use serde_json::json;
use syncline_schema::loss::{self, Loss};
use zstd::stream::raw::CParameter;
use zstd::stream::write::Encoder;

use super::moment::{Moment, seconds};
use super::tally::Tally;

/// How often what was written is made readable: the part of a recording that `kill -9` loses.
pub const FLUSH: Duration = Duration::from_millis(500);
/// Kept for the last words of a recording that fills the disk, bytes.
const RESERVE: u64 = 256 << 10;
/// Name of the file that says what was lost.
pub const SAID: &str = "recording.jsonl";

/// A directory that is being recorded into. Dropped last, it ends all frames.
pub struct Folder {
    root: PathBuf,
    /// Bytes on disk, compressed.
    bytes: AtomicU64,
    /// Bytes that it may have; what the recorder says at its end goes beyond.
    limit: u64,
    /// Whether the limit was met or the disk is full.
    full: AtomicBool,
    open: Mutex<Vec<Weak<Mutex<Slot>>>>,
    /// Where losses are written, a line each, uncompressed. It has [`RESERVE`] bytes set aside, so that a full disk can be told.
    said: Mutex<fs::File>,
    tallies: Mutex<BTreeMap<&'static str, Arc<Mutex<Tally>>>>,
    losses: Mutex<Vec<Lost>>,
    changes: Mutex<BTreeMap<&'static str, Instant>>,
}

/// Something that was lost.
#[derive(Clone, Debug)]
pub struct Lost {
    /// Name of the source.
    pub source: &'static str,
    /// Name of the loss.
    pub loss: &'static str,
    /// How often.
    pub count: u64,
    /// What happened, for people.
    pub what: String,
}

impl Folder {
    /// Begins a recording in a directory, which is made where it is absent.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn begin(root: &Path, limit: u64) -> io::Result<Arc<Self>> {
        fs::create_dir_all(root)?;
        let said = fs::File::options().create(true).append(true).open(root.join(SAID))?;
        // Not every file system can: then the last words are lost with the rest.
        let _ = rustix::fs::fallocate(&said, rustix::fs::FallocateFlags::KEEP_SIZE, 0, RESERVE);
        Ok(Arc::new(Self {
            root: root.to_owned(),
            bytes: AtomicU64::new(0),
            limit,
            full: AtomicBool::new(false),
            open: Mutex::new(Vec::new()),
            said: Mutex::new(said),
            tallies: Mutex::new(BTreeMap::new()),
            losses: Mutex::new(Vec::new()),
            changes: Mutex::new(BTreeMap::new()),
        }))
    }

    /// Where it lies.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether nothing more can be written: the recording is to end.
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// What was lost so far.
    pub fn losses(&self) -> Vec<Lost> {
        guard(&self.losses).clone()
    }

    /// The hand that a source writes with.
    pub fn out(self: &Arc<Self>, source: &'static str) -> Out {
        let tally = Arc::clone(guard(&self.tallies).entry(source).or_default());
        Out { folder: Arc::clone(self), source, tally }
    }

    /// What each source did until now, the end.
    pub fn tallies(&self) -> Vec<(&'static str, Tally)> {
        let now = Instant::now();
        let closed = |(name, tally): (&&'static str, &Arc<Mutex<Tally>>)| {
            let mut tally = guard(tally);
            tally.close(now);
            (*name, tally.clone())
        };
        guard(&self.tallies).iter().map(closed).collect()
    }

    /// Makes all that was written readable. Called every [`FLUSH`] by the conductor.
    pub fn flush(&self) {
        let files: Vec<_> = {
            let mut open = guard(&self.open);
            open.retain(|file| file.strong_count() > 0);
            open.iter().filter_map(Weak::upgrade).collect()
        };
        for file in files {
            // A source may hold its file while the disk hangs: the others are flushed all the same.
            if let Ok(mut slot) = file.try_lock()
                && let Err(error) = slot.0.flush()
            {
                self.failed(&error);
            }
        }
    }

    /// Ends all frames, also those of sources that hang: nothing can be written to them any more.
    pub fn finish(&self) {
        let files: Vec<_> = guard(&self.open).drain(..).filter_map(|file| file.upgrade()).collect();
        for file in files {
            if let Ok(mut slot) = file.try_lock() {
                let _ = slot.0.finish();
            }
        }
        let said = guard(&self.said);
        // Gives back what was set aside and not needed.
        let _ = said.metadata().and_then(|found| match found.len() {
            0 => fs::remove_file(self.root.join(SAID)),
            length => said.set_len(length),
        });
    }

    /// Writes a line to the file that says how the recording went.
    pub fn say(&self, line: &serde_json::Value) {
        let mut text = line.to_string();
        text.push('\n');
        let _ = guard(&self.said).write_all(text.as_bytes());
        self.bytes.fetch_add(text.len() as u64, Ordering::Relaxed);
    }

    /// Counts a loss and writes it down at once. Times are ns of realtime.
    fn lost(&self, source: &'static str, loss: Loss, count: u64, from: Option<i64>, until: Option<i64>, what: &str) {
        let mut lost = json!({"source": source, "loss": loss.name, "count": count, "what": what});
        for (key, time) in [("from", from), ("until", until)] {
            // As a text: a binary fraction would not keep the last digits.
            if let Some(time) = time {
                lost[key] = seconds(time).into();
            }
        }
        self.say(&json!({ "lost": lost }));
        guard(&self.losses).push(Lost { source, loss: loss.name, count, what: what.to_owned() });
    }

    /// A file could not be written.
    fn failed(&self, error: &io::Error) {
        if self.full.swap(true, Ordering::Relaxed) {
            return;
        }
        let what = match error.kind() {
            io::ErrorKind::QuotaExceeded if error.get_ref().is_some() => error.to_string(),
            _ => format!("{}: {error}; the recording ends here", self.root.display()),
        };
        self.lost("disk", loss::RECORDER_FULL, 1, Some(Moment::now().realtime), None, &what);
    }

    /// Whether --max-size is used up.
    fn check_size(&self) -> io::Result<()> {
        if self.bytes() <= self.limit {
            return Ok(());
        }
        let what = format!("the recording has the {} bytes that --max-size allows, and ends here", self.limit);
        Err(io::Error::new(io::ErrorKind::QuotaExceeded, what))
    }

    /// A source saw something change, now.
    fn changed(&self, source: &'static str) {
        guard(&self.changes).insert(source, Instant::now());
    }

    /// When a source last saw something change that an action can have begun.
    pub fn last_change(&self) -> Option<Instant> {
        guard(&self.changes).values().max().copied()
    }
}

impl fmt::Debug for Folder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Folder").field("root", &self.root).finish_non_exhaustive()
    }
}

/// What a lock guards is whole even where a thread that held it panicked: each change is one call.
fn guard<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How a file is compressed. Memory is what differs: all open files together must stay small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// For lines that resemble their neighbours: 0.5 MB of memory.
    Near,
    /// For snapshots that resemble the one ahead, up to some MB each: about 12 MB of memory.
    Far,
    /// As it is, for what people look at.
    None,
}

/// What a source writes with; cheap to clone, for threads that it starts.
#[derive(Clone, Debug)]
pub struct Out {
    folder: Arc<Folder>,
    source: &'static str,
    tally: Arc<Mutex<Tally>>,
}

impl Out {
    /// Opens a file of the capture by its path in it (`iptables/nat.txt`); it gets `.zst` behind its name. One that exists goes on.
    ///
    /// # Errors
    /// The path leads out of the capture, or the file cannot be opened.
    pub fn file(&self, path: &str) -> io::Result<File> {
        self.packed(path, Packing::Near)
    }

    /// As [`Out::file`], with a choice how it is compressed.
    ///
    /// # Errors
    /// As there.
    pub fn packed(&self, path: &str, packing: Packing) -> io::Result<File> {
        let inside = Path::new(path);
        if path.is_empty() || inside.components().any(|part| !matches!(part, Component::Normal(_))) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("`{path}` leads out of the capture")));
        }
        let name = if packing == Packing::None { path.to_owned() } else { format!("{path}.zst") };
        let whole = self.folder.root.join(name);
        let open = || {
            if let Some(parent) = whole.parent() {
                fs::create_dir_all(parent)?;
            }
            let file = fs::File::options().create(true).append(true).open(&whole)?;
            let new = file.metadata()?.len() == 0;
            Ok((Frame::begin(Counted { file, folder: Arc::clone(&self.folder) }, packing)?, new))
        };
        let (frame, new) = open().inspect_err(|error| self.folder.failed(error))?;
        let frame = Arc::new(Mutex::new(Slot(frame)));
        guard(&self.folder.open).push(Arc::downgrade(&frame));
        Ok(File { frame, folder: Arc::clone(&self.folder), new })
    }

    /// The clocks, now.
    pub fn stamp(&self) -> Moment {
        Moment::now()
    }

    /// Counts a reading, or an event; call it where a reading ended. Cadence and gaps are counted from it.
    pub fn tick(&self) {
        let back = guard(&self.tally).tick(Instant::now());
        if let Some((from, what)) = back {
            let until = Moment::now().realtime;
            let what = format!("{what}; back after {:.1} s", (until - from) as f64 / 1e9);
            // It was counted when it began.
            self.folder.lost(self.source, loss::RECORDER_GAP, 0, Some(from), Some(until), &what);
        }
    }

    /// Names a loss, `count` times, with words of what happened. No secrets, and no more than a line.
    pub fn lost(&self, loss: Loss, count: u64, what: impl fmt::Display) {
        self.folder.lost(self.source, loss, count, Some(Moment::now().realtime), None, &what.to_string());
    }

    /// As [`Out::lost`], with the stretch of time (ns of realtime) in which nothing was seen.
    pub fn lost_between(&self, loss: Loss, count: u64, from: i64, until: i64, what: impl fmt::Display) {
        self.folder.lost(self.source, loss, count, Some(from), Some(until), &what.to_string());
    }

    /// Says that the source ended and is begun again; the gap lasts until its next tick.
    pub fn broken(&self, what: &str) {
        let now = Moment::now().realtime;
        guard(&self.tally).broke(now, what);
        self.folder.lost(self.source, loss::RECORDER_GAP, 1, Some(now), None, what);
    }

    /// Says that what the source looks at changed (a rule, a backend, an endpoint): the recording goes on until nothing changes.
    pub fn changed(&self) {
        self.folder.changed(self.source);
    }

    /// Where the capture lies.
    pub fn root(&self) -> &Path {
        &self.folder.root
    }

    /// Name of the source.
    pub fn source(&self) -> &'static str {
        self.source
    }
}

/// One file of a capture; clones write to the same file, a record at a time.
#[derive(Clone)]
pub struct File {
    frame: Arc<Mutex<Slot>>,
    folder: Arc<Folder>,
    new: bool,
}

impl File {
    /// Whether it began empty: a header is needed. False where a source that was begun again goes on in it.
    pub fn is_new(&self) -> bool {
        self.new
    }

    /// Writes a whole record (a line with its end, a snapshot with its stamp). It is readable after [`FLUSH`].
    ///
    /// # Errors
    /// The disk, or what `--max-size` allows, is full: the recording ends.
    pub fn write_record(&mut self, record: &[u8]) -> io::Result<()> {
        if self.folder.is_full() {
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, "the recording is full"));
        }
        let written = self.folder.check_size().and_then(|()| guard(&self.frame).0.write(record));
        written.inspect_err(|error| self.folder.failed(error))
    }

    /// Writes a line and its end.
    ///
    /// # Errors
    /// As there.
    pub fn write_line(&mut self, line: &str) -> io::Result<()> {
        let mut record = String::with_capacity(line.len() + 1);
        record.push_str(line);
        record.push('\n');
        self.write_record(record.as_bytes())
    }
}

impl fmt::Debug for File {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("File").finish_non_exhaustive()
    }
}

/// A frame of zstd that has not ended, or a plain file.
enum Frame {
    Packed { encoder: Box<Encoder<'static, Counted>>, dirty: bool },
    Plain(Counted),
    Ended,
}

impl Frame {
    fn begin(file: Counted, packing: Packing) -> io::Result<Self> {
        let (level, window) = match packing {
            Packing::None => return Ok(Self::Plain(file)),
            Packing::Near => (1, 18),
            Packing::Far => (3, 22),
        };
        let mut encoder = Encoder::new(file, level)?;
        encoder.set_parameter(CParameter::WindowLog(window))?;
        if packing == Packing::Far {
            encoder.set_parameter(CParameter::EnableLongDistanceMatching(true))?;
        }
        Ok(Self::Packed { encoder: Box::new(encoder), dirty: false })
    }

    fn write(&mut self, record: &[u8]) -> io::Result<()> {
        match self {
            Self::Packed { encoder, dirty } => {
                *dirty = true;
                encoder.write_all(record)
            }
            Self::Plain(file) => file.write_all(record),
            Self::Ended => Err(io::Error::other("the recording has ended")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Packed { encoder, dirty } if *dirty => {
                *dirty = false;
                encoder.flush()
            }
            _ => Ok(()),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        match std::mem::replace(self, Self::Ended) {
            Self::Packed { encoder, .. } => encoder.finish().map(drop),
            Self::Plain(_) | Self::Ended => Ok(()),
        }
    }
}

/// Ends its frame when the last hand lets go of it.
struct Slot(Frame);

impl Drop for Slot {
    fn drop(&mut self) {
        let _ = self.0.finish();
    }
}

/// A file whose bytes are counted.
struct Counted {
    file: fs::File,
    folder: Arc<Folder>,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.folder.bytes.fetch_add(written as u64, Ordering::Relaxed);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[path = "folder_tests.rs"]
mod tests;
