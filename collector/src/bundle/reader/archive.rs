//! The reader's part for archives: a tar or a zip is a source of its own, and so is each file in it, an archive in it
//! too (`cilium sysdump` writes a zip that holds a tar of each agent's bugtool).
//!
//! A tar is read in one go. A zip has its table of contents at its end: one that is compressed, comes from standard input or
//! stands in another archive is first put into the scratch folder.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use syncline_schema::manifest::Source;

use super::tsdb::{Candidate, Kept};
use super::{Reader, read_head};
use crate::bundle::pipeline::Outlet;
use crate::bundle::rules::plain_path;
use crate::bundle::said::Said;
use crate::form::Context;
use crate::input::{self, Digested};

/// How deep archives in archives are read; one that lies deeper is an unread file.
const DEEPEST: usize = 4;

/// A file of which the beginning was read.
pub struct Opened<'r> {
    /// Path of the source, as given.
    pub path: String,
    /// The path without the ending of a compression.
    pub plain: String,
    /// Modification time, ns.
    pub mtime: Option<i64>,
    pub head: Vec<u8>,
    /// Why it cannot be read beyond `head`.
    pub broken: Option<String>,
    /// What stands behind `head`.
    pub reader: &'r mut dyn Read,
    pub digest: Digested,
    /// Where the same bytes lie as a file of their own.
    pub disk: Option<&'r Path>,
    /// In how many archives it stands.
    pub depth: usize,
}

impl Reader<'_> {
    /// Reads a file, or the files in it.
    pub fn opened(&self, one: Opened<'_>, index: &mut i32, outlet: &Outlet<Said>) {
        let is_tar = one.head.get(257..262) == Some(b"ustar");
        let is_zip = [b"PK\x03\x04", b"PK\x05\x06"].iter().any(|mark| one.head.starts_with(*mark));
        if (is_tar || is_zip) && one.depth < DEEPEST && self.rule(&one.plain).is_none() {
            return self.archive(one, if is_tar { "tar" } else { "zip" }, index, outlet);
        }
        let own = *index;
        *index += 1;
        self.source(own, &one.path, &one.plain, one.mtime, one.head, one.broken, one.reader, outlet);
        let _ = io::copy(one.reader, &mut io::sink());
        if self.rule(&one.plain).is_none() {
            self.known.add(&one.digest, &one.path);
        }
        outlet.say(Said::End { index: own, digest: Some(one.digest.finish()) });
    }

    fn archive(&self, one: Opened<'_>, kind: &str, index: &mut i32, outlet: &Outlet<Said>) {
        let own = *index;
        *index += 1;
        let context = Arc::new(self.context(own, &one.plain, None, None));
        let source = Source { path: one.path.clone(), kind: kind.to_owned(), ..Source::default() };
        outlet.say(Said::Begin { source, context: Arc::clone(&context), losses: Vec::new() });
        let digest = one.digest.clone();
        digest.only_raw();
        let files = Files {
            reader: self,
            path: one.path.clone(),
            plain: one.plain.clone(),
            depth: one.depth + 1,
            own: Arc::clone(&context),
            candidates: Vec::new(),
        };
        let failed = if kind == "tar" { files.of_tar(one, index, outlet) } else { files.of_zip(one, index, outlet) };
        if let Err(why) = failed {
            outlet.say(Said::Truncated { context, offset: 0, why });
        }
        outlet.say(Said::End { index: own, digest: Some(digest.finish()) });
    }
}

/// The files of one archive.
struct Files<'o> {
    reader: &'o Reader<'o>,
    path: String,
    plain: String,
    depth: usize,
    /// The archive itself.
    own: Arc<Context>,
    /// Files that may belong to a TSDB: which do is known when all were seen.
    candidates: Vec<Candidate>,
}

impl Files<'_> {
    fn of_tar(mut self, one: Opened<'_>, index: &mut i32, outlet: &Outlet<Said>) -> Result<(), String> {
        let mut archive = tar::Archive::new(one.head.as_slice().chain(one.reader));
        let mut failed = one.broken;
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
                    let name = String::from_utf8_lossy(&file.path_bytes()).into_owned();
                    let seconds = file.header().mtime().ok().and_then(|seconds| i64::try_from(seconds).ok());
                    let size = file.size();
                    self.member(&name, (seconds, size), &mut file, index, outlet);
                }
            }
            Err(error) => failed = Some(error.to_string()),
        }
        self.reader.archived(self.candidates, index, outlet);
        let _ = io::copy(&mut archive.into_inner(), &mut io::sink());
        failed.map_or(Ok(()), Err)
    }

    fn of_zip(mut self, one: Opened<'_>, index: &mut i32, outlet: &Outlet<Said>) -> Result<(), String> {
        let mut reader = one.head.as_slice().chain(one.reader);
        let file = match one.disk {
            Some(path) => {
                io::copy(&mut reader, &mut io::sink()).map_err(|error| error.to_string())?;
                path.to_owned()
            }
            None => {
                let kept = self.reader.keep(&mut reader, &one.digest).map_err(|error| error.to_string())?;
                kept.file
            }
        };
        let opened = File::open(file).map_err(|error| error.to_string())?;
        let mut archive = zip::ZipArchive::new(io::BufReader::new(opened))
            .map_err(|error| format!("expected a zip with its table of contents at the end: {error}"))?;
        for at in 0..archive.len() {
            let mut file = match archive.by_index(at) {
                Ok(file) => file,
                Err(error) => {
                    let why = format!("file {} of the archive: {error}", at + 1);
                    outlet.say(Said::Unread { context: Arc::clone(&self.own), why });
                    continue;
                }
            };
            if !file.is_file() {
                continue;
            }
            let name = String::from_utf8_lossy(file.name_raw()).into_owned();
            // Times without a zone, which is all that the table itself has, say nothing.
            let seconds = file.extra_data_fields().find_map(|field| match field {
                zip::extra_fields::ExtraField::ExtendedTimestamp(stamp) => stamp.mod_time().map(i64::from),
                _ => None,
            });
            let size = file.size();
            self.member(&name, (seconds, size), &mut file, index, outlet);
        }
        self.reader.archived(self.candidates, index, outlet);
        Ok(())
    }

    /// Reads one file of the archive, of which the modification time and the size are known.
    fn member(
        &mut self,
        name: &str,
        (seconds, size): (Option<i64>, u64),
        raw: &mut dyn Read,
        index: &mut i32,
        outlet: &Outlet<Said>,
    ) {
        let path = format!("{}/{name}", self.path);
        let plain = plain_path(&format!("{}/{name}", self.plain));
        let mtime = seconds.and_then(|seconds| seconds.checked_mul(1_000_000_000));
        let is_block = input::tsdb::place(&plain).is_some();
        let mut magic = Vec::with_capacity(4);
        let _ = raw.take(4).read_to_end(&mut magic);
        let raw: &mut dyn Read = &mut magic.chain(raw);
        let mut again = None;
        // What a compressed one holds is told at its end.
        if !is_block && (input::is_compressed(&magic) || self.reader.known.has_size(size)) {
            let Some(kept) = self.kept(name, raw, outlet) else { return };
            if let Some(twin) = self.reader.twin(&kept.file, &path).filter(|_| kept.broken.is_none()) {
                self.reader.same(*index, &path, twin, outlet);
                *index += 1;
                let _ = std::fs::remove_file(kept.file);
                return;
            }
            again = Some(kept);
        }
        let mut from_file = again.as_ref().and_then(|kept| File::open(&kept.file).ok());
        let raw: &mut dyn Read = match &mut from_file {
            Some(file) => file,
            None => raw,
        };
        let digest = Digested::default();
        let opened = input::decompress(raw, &digest, self.reader.window_log);
        if is_block {
            match opened.and_then(|mut reader| self.reader.keep(&mut reader, &digest)) {
                Ok(kept) => {
                    let kept = Some(kept);
                    self.candidates.push(Candidate { path, place: plain, kept, mtime, file: PathBuf::new() });
                }
                Err(error) => {
                    let why = format!("{name}: {error}");
                    outlet.say(Said::Truncated { context: Arc::clone(&self.own), offset: 0, why });
                }
            }
            return;
        }
        let (mut reader, mut broken): (Box<dyn Read>, _) = match opened {
            Ok(reader) => (reader, None),
            Err(error) => (Box::new(io::empty()), Some(error.to_string())),
        };
        let mut head = Vec::new();
        broken = broken.or(read_head(&mut reader, &mut head));
        let one =
            Opened { path, plain, mtime, head, broken, reader: &mut reader, digest, disk: None, depth: self.depth };
        self.reader.opened(one, index, outlet);
        if let Some(kept) = again {
            if let Some(why) = kept.broken {
                outlet.say(Said::Truncated {
                    context: Arc::clone(&self.own),
                    offset: 0,
                    why: format!("{name}: {why}"),
                });
            }
            let _ = std::fs::remove_file(kept.file);
        }
    }

    /// A file of the archive as it lies there, put where it can be read twice.
    fn kept(&self, name: &str, raw: &mut dyn Read, outlet: &Outlet<Said>) -> Option<Kept> {
        let digest = Digested::default();
        let kept = self.reader.keep(&mut input::hashing(raw, &digest), &digest);
        kept.map_err(|error| {
            let why = format!("{name}: {error}");
            outlet.say(Said::Truncated { context: Arc::clone(&self.own), offset: 0, why });
        })
        .ok()
    }
}
