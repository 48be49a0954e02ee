//! `bundle`: the stages from files to a bundle that is whole or absent.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use syncline_schema::FORMAT_VERSION;
use syncline_schema::facts::FactRow;
use syncline_schema::loss::{self, Loss, LossRow};
use syncline_schema::manifest::{LossEntry, MANIFEST, Manifest, Source, Table};
use syncline_schema::rejects::RejectRow;

use crate::capture_toml::{self, Statements};
use crate::input::{self, Cutter, Digested, Entry};
use crate::parse::{Context, DISSECTORS, FORMATS, Format, Head, Sniff};
use crate::pipeline::{self, Outlet, Step};
use crate::write::samples::Samples;
use crate::write::snapshots::Encoder;
use crate::write::tables::{Tables, WriteError};

/// Bytes that a sniffer sees.
const HEAD: usize = 64 << 10;

/// What to bundle, and how.
#[derive(Clone, Debug, Default)]
pub struct BundleOptions {
    /// Files and folders; `-` is standard input.
    pub inputs: Vec<PathBuf>,
    /// Directory to make.
    pub out: PathBuf,
    /// Overrides of `capture.toml`.
    pub dataplane: Option<String>,
    /// As above.
    pub scenario: Option<String>,
    /// As above.
    pub node: Option<String>,
    /// `KIND[@CLOCK]=GLOB`, parsed.
    pub sources: Vec<SourceRule>,
    /// Bytes of memory; 0 means 512 MiB.
    pub memory: usize,
    /// Threads; 0 means as many as there are cores.
    pub threads: usize,
    /// Replace an existing bundle.
    pub force: bool,
    /// Called with the path of each source as it begins (progress).
    pub progress: Option<fn(&str)>,
}

/// What the kind and clock of some files are.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceRule {
    /// Path or glob (`*`, `**`, `?`), relative to the argument.
    pub glob: String,
    /// Kind.
    pub kind: Option<String>,
    /// Clock token, or a domain.
    pub clock: Option<String>,
}

/// What became of it.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// The manifest as written.
    pub manifest: Manifest,
    /// Records rejected in all.
    pub rejected: u64,
}

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Something about the arguments or `capture.toml`.
    #[error("{0}")]
    Usage(String),
    /// The disk.
    #[error("{0}: {1}")]
    Io(PathBuf, std::io::Error),
    /// A table.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// What the reader tells the write pass.
enum Said {
    Begin { source: Source, context: Arc<Context>, losses: Vec<Loss> },
    Skipped { context: Arc<Context>, line: i64, offset: i64, length: u64 },
    Truncated { context: Arc<Context>, offset: i64, why: String },
    End { index: i32, digest: Option<(String, u64)> },
}

/// Makes a bundle.
///
/// # Errors
/// Arguments that make no sense, inputs that cannot be read at all, a disk that cannot be written. Input that cannot be
/// parsed is no error: it is counted.
pub fn bundle(options: &BundleOptions) -> Result<Summary, BundleError> {
    if options.out.exists() && !options.force {
        return Err(BundleError::Usage(format!("{}: exists already; --force replaces it", options.out.display())));
    }
    let entries = input::walk(&options.inputs).map_err(|error| BundleError::Usage(error.to_string()))?;
    let statements = capture_toml::find(&entries)?;
    let partial = sibling(&options.out);
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(&partial).map_err(|error| BundleError::Io(partial.clone(), error))?;
    let result = fill(options, &entries, &statements, &partial).and_then(|summary| {
        commit(&partial, &options.out, options.force)?;
        Ok(summary)
    });
    if result.is_err() {
        let _ = fs::remove_dir_all(&partial);
    }
    result
}

/// The temporary folder beside the final one.
fn sibling(out: &Path) -> PathBuf {
    let name = out.file_name().map_or_else(|| "bundle".into(), |name| name.to_string_lossy());
    out.with_file_name(format!(".{name}.partial"))
}

fn commit(partial: &Path, out: &Path, force: bool) -> Result<(), BundleError> {
    let io = |error| BundleError::Io(out.to_owned(), error);
    if force && out.exists() {
        if out.is_dir() && out.join(MANIFEST).exists() {
            fs::remove_dir_all(out).map_err(io)?;
        } else {
            return Err(BundleError::Usage(format!("{}: is no bundle, --force does not replace it", out.display())));
        }
    }
    File::open(partial).and_then(|folder| folder.sync_all()).map_err(io)?;
    fs::rename(partial, out).map_err(io)
}

fn fill(
    options: &BundleOptions,
    entries: &[Entry],
    statements: &Statements,
    folder: &Path,
) -> Result<Summary, BundleError> {
    let memory = if options.memory == 0 { 512 << 20 } else { options.memory };
    let threads = match options.threads {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        count => count,
    };
    let mut pass = Pass::new(folder);
    let reader = Reader {
        options,
        statements,
        node: options.node.clone().or_else(|| statements.node.clone()),
        limit: memory / 8,
    };
    pipeline::run(threads, memory / 2, |outlet| reader.read(entries, outlet), |steps| pass.take(steps))?;
    pass.finish(options, statements, folder)
}

struct Reader<'o> {
    options: &'o BundleOptions,
    statements: &'o Statements,
    node: Option<String>,
    limit: usize,
}

impl Reader<'_> {
    fn read(&self, entries: &[Entry], outlet: &Outlet<Said>) {
        let mut index = 0;
        for entry in entries {
            if let Some(progress) = self.options.progress {
                progress(&entry.path);
            }
            match input::open(&entry.file) {
                Ok((reader, digest)) => self.file(entry, reader, &digest, &mut index, outlet),
                Err(error) => {
                    let context = Arc::new(self.context(index, &entry.path, "unread", None, None));
                    let source = Source { path: entry.path.clone(), kind: "unread".to_owned(), ..Source::default() };
                    outlet.say(Said::Begin { source, context: Arc::clone(&context), losses: vec![loss::UNREAD_FILE] });
                    outlet.say(Said::Truncated { context, offset: 0, why: error.to_string() });
                    index += 1;
                }
            }
        }
    }

    fn file(
        &self,
        entry: &Entry,
        mut reader: Box<dyn Read + Send>,
        digest: &Digested,
        index: &mut i32,
        outlet: &Outlet<Said>,
    ) {
        let mtime = fs::metadata(&entry.file).and_then(|meta| meta.modified()).ok().and_then(|time| {
            time.duration_since(std::time::UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_nanos()).ok())
        });
        let plain = plain_path(&entry.path);
        let mut head = Vec::new();
        let broken = read_head(&mut reader, &mut head);
        if head.len() > 262 && &head[257..262] == b"ustar" {
            return self.archive(entry, &plain, head, reader, digest, index, outlet);
        }
        let own = *index;
        *index += 1;
        self.source(own, &entry.path, &plain, mtime, head, broken, &mut reader, outlet);
        let _ = std::io::copy(&mut reader, &mut std::io::sink());
        outlet.say(Said::End { index: own, digest: Some(digest.finish()) });
    }

    /// A tar: its own source, then one for each file in it.
    #[expect(clippy::too_many_arguments, reason = "the pieces of one opened file")]
    fn archive(
        &self,
        entry: &Entry,
        plain: &str,
        head: Vec<u8>,
        reader: Box<dyn Read + Send>,
        digest: &Digested,
        index: &mut i32,
        outlet: &Outlet<Said>,
    ) {
        let own = *index;
        *index += 1;
        let context = Arc::new(self.context(own, plain, "tar", None, None));
        let source = Source { path: entry.path.clone(), kind: "tar".to_owned(), ..Source::default() };
        outlet.say(Said::Begin { source, context: Arc::clone(&context), losses: Vec::new() });
        let mut archive = tar::Archive::new(head.as_slice().chain(reader));
        let mut failed = None;
        match archive.entries() {
            Ok(files) => {
                for file in files {
                    let mut file = match file {
                        Ok(file) => file,
                        Err(error) => {
                            failed = Some(error.to_string());
                            break;
                        }
                    };
                    if !file.header().entry_type().is_file() {
                        continue;
                    }
                    let path = format!("{}/{}", entry.path, String::from_utf8_lossy(&file.path_bytes()));
                    let name = format!("{plain}/{}", String::from_utf8_lossy(&file.path_bytes()));
                    let mtime = file
                        .header()
                        .mtime()
                        .ok()
                        .and_then(|seconds| i64::try_from(seconds).ok()?.checked_mul(1_000_000_000));
                    let inner = *index;
                    *index += 1;
                    let mut head = Vec::new();
                    let broken = read_head(&mut file, &mut head);
                    self.source(inner, &path, &plain_path(&name), mtime, head, broken, &mut file, outlet);
                    let size = file.size();
                    outlet.say(Said::End { index: inner, digest: Some((String::new(), size)) });
                }
            }
            Err(error) => failed = Some(error.to_string()),
        }
        if let Some(why) = failed {
            outlet.say(Said::Truncated { context, offset: 0, why });
        }
        let _ = std::io::copy(&mut archive.into_inner(), &mut std::io::sink());
        outlet.say(Said::End { index: own, digest: Some(digest.finish()) });
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
        let format = self.recognise(plain, &head, rule);
        let kind = match format {
            Some(format) => format.kind,
            None if capture_toml::is_one(plain) => "capture-toml",
            None => "unread",
        };
        let context = Arc::new(self.context(
            index,
            plain,
            kind,
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
        let source = Source { path: path.to_owned(), kind: kind.to_owned(), clock, ..Source::default() };
        outlet.say(Said::Begin { source, context: Arc::clone(&context), losses });
        let Some(format) = format else {
            if let Some(why) = broken {
                outlet.say(Said::Truncated { context, offset: head.len() as i64, why });
            }
            return;
        };
        let mut cutter = Cutter::new(head, Broken { inner: reader, error: broken }, format.cut, self.limit);
        while let Some(mut piece) = cutter.next_piece() {
            if let Some((line, offset, length)) = piece.skipped.take() {
                outlet.say(Said::Skipped { context: Arc::clone(&context), line, offset, length });
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

    fn rule(&self, plain: &str) -> Option<&SourceRule> {
        let rules = self.options.sources.iter().chain(&self.statements.sources);
        rules.into_iter().find(|rule| glob(plain_path(&rule.glob).as_bytes(), plain.as_bytes()))
    }

    fn recognise(&self, plain: &str, head: &[u8], rule: Option<&SourceRule>) -> Option<&'static Format> {
        if let Some(kind) = rule.and_then(|rule| rule.kind.as_deref()) {
            return FORMATS.iter().copied().find(|format| format.kind == kind);
        }
        if head.is_empty() || capture_toml::is_one(plain) {
            return None;
        }
        let bytes = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
        let head = Head { path: plain, bytes, whole: bytes.len() < HEAD };
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

    fn context(&self, source: i32, path: &str, kind: &str, clock: Option<String>, mtime: Option<i64>) -> Context {
        let node = self.node.clone().unwrap_or_else(|| "node".to_owned());
        let _ = kind;
        let clock = clock.unwrap_or_else(|| "none".to_owned());
        let token = syncline_schema::clock::ClockToken::ALL.into_iter().find(|token| token.token() == clock);
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

/// The path without the ending of a compression.
fn plain_path(path: &str) -> String {
    let path = path.strip_suffix(".gz").or_else(|| path.strip_suffix(".zst")).unwrap_or(path);
    path.strip_suffix(".tgz").map_or_else(|| path.to_owned(), |stem| format!("{stem}.tar"))
}

/// Whether a path matches a pattern: `?` one character, `*` any but `/`, `**` any.
pub fn glob(pattern: &[u8], path: &[u8]) -> bool {
    match (pattern.first(), path.first()) {
        (None, None) => true,
        (Some(b'*'), _) if pattern.get(1) == Some(&b'*') => {
            let rest = pattern[2..].strip_prefix(b"/").unwrap_or(&pattern[2..]);
            (0..=path.len()).any(|at| glob(rest, &path[at..]))
        }
        (Some(b'*'), _) => {
            let end = path.iter().position(|byte| *byte == b'/').unwrap_or(path.len());
            (0..=end).any(|at| glob(&pattern[1..], &path[at..]))
        }
        (Some(b'?'), Some(byte)) if *byte != b'/' => glob(&pattern[1..], &path[1..]),
        (Some(a), Some(b)) if a == b => glob(&pattern[1..], &path[1..]),
        _ => false,
    }
}

/// The sequential pass.
struct Pass {
    tables: Tables,
    samples: Samples,
    encoder: Encoder,
    sources: Vec<Source>,
    contexts: Vec<Arc<Context>>,
    losses: BTreeMap<(Option<i32>, &'static str), (Loss, u64)>,
    versions: BTreeMap<String, String>,
}

impl Pass {
    fn new(folder: &Path) -> Self {
        Self {
            tables: Tables::new(folder),
            samples: Samples::default(),
            encoder: Encoder::default(),
            sources: Vec::new(),
            contexts: Vec::new(),
            losses: BTreeMap::new(),
            versions: BTreeMap::new(),
        }
    }

    fn loss(&mut self, source: i32, loss: Loss, count: u64) {
        self.losses.entry((Some(source), loss.name)).or_insert((loss, 0)).1 += count;
    }

    fn reject(&mut self, context: &Context, line: i64, offset: i64, reason: String) -> Result<(), WriteError> {
        if let Some(source) = self.sources.get_mut(context.source as usize) {
            source.rejected += 1;
        }
        self.loss(context.source, loss::REJECTED_RECORDS, 1);
        self.tables.push(&RejectRow {
            source: context.source,
            record: line,
            offset,
            reason: reason.into(),
            ..Default::default()
        })
    }

    fn take(&mut self, steps: &mut dyn Iterator<Item = Step<Said>>) -> Result<(), BundleError> {
        for step in steps {
            match step {
                Step::Said(Said::Begin { source, context, losses }) => {
                    for loss in losses {
                        self.losses.insert((Some(context.source), loss.name), (loss, 1));
                    }
                    self.sources.push(source);
                    self.contexts.push(context);
                }
                Step::Said(Said::Skipped { context, line, offset, length }) => {
                    self.loss(context.source, loss::RECORD_TOO_LONG, 1);
                    self.reject(
                        &context,
                        line,
                        offset,
                        format!("a record of {length} bytes: longer than --memory allows"),
                    )?;
                }
                Step::Said(Said::Truncated { context, offset, why }) => {
                    self.loss(context.source, loss::TRUNCATED_INPUT, 1);
                    let line = -1;
                    let _ = line;
                    self.tables.push(&RejectRow {
                        source: context.source,
                        record: 0,
                        offset,
                        reason: format!("the input breaks off here: {why}").into(),
                        ..Default::default()
                    })?;
                }
                Step::Said(Said::End { index, digest }) => {
                    if let (Some(source), Some((hash, bytes))) = (self.sources.get_mut(index as usize), digest) {
                        (source.sha256, source.bytes) = (hash, bytes);
                    }
                }
                Step::Parsed { source, parsed, .. } => self.parsed(source, *parsed)?,
            }
        }
        Ok(())
    }

    fn parsed(&mut self, index: i32, mut parsed: pipeline::Parsed) -> Result<(), BundleError> {
        let Some(context) = self.contexts.get(index as usize).cloned() else { return Ok(()) };
        if let Some(panic) = parsed.panic {
            self.reject(&context, 0, 0, format!("the parser failed on this chunk: {panic}"))?;
        }
        for (table, columns, batch) in &parsed.tables {
            self.tables.append(table, columns, batch)?;
        }
        self.samples.take(&context, &mut parsed.batch, &mut self.tables)?;
        for snapshot in std::mem::take(&mut parsed.batch.snapshots) {
            if let Some(dissector) = DISSECTORS.iter().find(|one| one.format == snapshot.format) {
                self.encoder.encode(&context, &snapshot, dissector, &mut self.tables)?;
            }
        }
        if parsed.batch.rejected > 0 {
            self.loss(index, loss::REJECTED_RECORDS, parsed.batch.rejected);
        }
        for (loss, count) in parsed.batch.losses.values() {
            self.loss(index, *loss, *count);
        }
        if let Some(source) = self.sources.get_mut(index as usize) {
            source.records += parsed.batch.records;
            source.rejected += parsed.batch.rejected;
            if let Some((first, last)) = parsed.batch.span {
                source.first = Some(source.first.map_or(first, |known| known.min(first)));
                source.last = Some(source.last.map_or(last, |known| known.max(last)));
            }
        }
        Ok(())
    }

    fn finish(
        mut self,
        options: &BundleOptions,
        statements: &Statements,
        folder: &Path,
    ) -> Result<Summary, BundleError> {
        self.samples.finish(&mut self.tables)?;
        let toml =
            self.contexts.iter().find(|context| capture_toml::is_one(&context.path)).map(|context| context.source);
        if let (Some(index), true) = (toml, statements.found) {
            self.sources[index as usize].records = statements.facts.len() as u64;
        }
        for (record, key, value) in &statements.facts {
            self.tables.push(&FactRow {
                source: toml,
                record: *record,
                key: key.as_str().into(),
                value: value.as_str().into(),
                ..Default::default()
            })?;
            if let Some(component) = key.strip_prefix("version/") {
                self.versions.insert(component.to_owned(), value.clone());
            }
        }
        let given = [("dataplane", &options.dataplane), ("scenario", &options.scenario), ("node", &options.node)];
        for (key, value) in given {
            if let Some(value) = value {
                self.tables.push(&FactRow {
                    source: None,
                    key: key.into(),
                    value: value.as_str().into(),
                    ..Default::default()
                })?;
            }
        }
        let mut entries = Vec::new();
        for ((source, name), (loss, count)) in &self.losses {
            self.tables.push(&LossRow {
                source: *source,
                name: (*name).into(),
                severity: loss.severity.word().into(),
                count: *count as i64,
                meaning: loss.meaning.into(),
                remedy: loss.remedy.into(),
                ..Default::default()
            })?;
            entries.push(LossEntry {
                name: (*name).to_owned(),
                severity: loss.severity.word().to_owned(),
                count: *count,
                source: source.and_then(|index| Some(self.sources.get(index as usize)?.path.clone())),
                meaning: loss.meaning.to_owned(),
                remedy: loss.remedy.to_owned(),
            });
        }
        let tables = self.tables.close()?.into_iter().map(|(name, rows, bytes)| Table { name, rows, bytes }).collect();
        let mut manifest = Manifest {
            format_version: FORMAT_VERSION,
            run_id: String::new(),
            name: statements.name.clone(),
            dataplane: options.dataplane.clone().or_else(|| statements.dataplane.clone()),
            scenario: options.scenario.clone().or_else(|| statements.scenario.clone()),
            nodes: options.node.clone().or_else(|| statements.node.clone()).into_iter().collect(),
            synthetic: statements.synthetic,
            versions: self.versions,
            sources: self.sources,
            tables,
            losses: entries,
        };
        manifest.run_id = run_id(&manifest);
        let file = folder.join(MANIFEST);
        let io = |error| BundleError::Io(file.clone(), error);
        let mut text = serde_json::to_string_pretty(&manifest).map_err(|error| io(error.into()))?;
        text.push('\n');
        let mut out = File::create(&file).map_err(io)?;
        out.write_all(text.as_bytes()).and_then(|()| out.sync_all()).map_err(io)?;
        let rejected = manifest.sources.iter().map(|source| source.rejected).sum();
        Ok(Summary { manifest, rejected })
    }
}

/// Hash of what the run was made of: paths, contents, statements.
fn run_id(manifest: &Manifest) -> String {
    let mut hash = Sha256::new();
    for source in &manifest.sources {
        hash.update(source.path.as_bytes());
        hash.update([0]);
        hash.update(source.sha256.as_bytes());
        hash.update([0]);
    }
    for statement in [&manifest.name, &manifest.dataplane, &manifest.scenario, &manifest.nodes.first().cloned()] {
        hash.update(statement.as_deref().unwrap_or_default().as_bytes());
        hash.update([0]);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
