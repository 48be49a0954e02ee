//! The reader's part for archives: a tar or a zip is a source of its own, and so is each file in it, an archive in it
//! too (`cilium sysdump` writes a zip that holds a tar of each agent's bugtool). What is no file in it is a source that was not read.
//!
//! A tar is read in one go. A zip has its table of contents at its end: one that is compressed, comes from standard input or
//! stands in another archive is first put into the scratch folder.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use syncline_schema::loss::{self, Loss};
use syncline_schema::manifest::Source;

use super::scratch::Kept;
use super::tsdb::Candidate;
use super::{Reader, read_head};
use crate::bundle::pipeline::Outlet;
use crate::bundle::rules::plain_path;
use crate::bundle::said::Said;
use crate::bundle::twins::Twin;
use crate::form::Context;
use crate::input::archive::{self, Member, Unlisted, What};
use crate::input::{self, Digested, cost};

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

/// `tar` or `zip`, told by the first bytes of a file; nothing where it is neither.
pub fn kind(head: &[u8]) -> Option<&'static str> {
    let is_tar = head.get(257..262) == Some(b"ustar");
    let is_zip = [b"PK\x03\x04", b"PK\x05\x06"].iter().any(|mark| head.starts_with(*mark));
    is_tar.then_some("tar").or(is_zip.then_some("zip"))
}

impl Reader<'_> {
    /// Reads a file, or the files in it.
    pub fn opened(&self, one: Opened<'_>, index: &mut i32, outlet: &Outlet<Said>) {
        if let Some(kind) = kind(&one.head).filter(|_| one.depth < DEEPEST && self.rule(&one.plain).is_none()) {
            return self.archive(one, kind, index, outlet);
        }
        let own = *index;
        *index += 1;
        self.source(own, &one.path, &one.plain, one.mtime, one.head, one.broken, one.reader, outlet);
        let _ = io::copy(one.reader, &mut io::sink());
        if self.rule(&one.plain).is_none() {
            self.known.add(&one.digest, &one.path);
        }
        self.beyond(&one.digest, || Arc::new(self.context(own, &one.plain, None, None)), outlet);
        outlet.say(Said::End { index: own, digest: Some(one.digest.finish()) });
    }

    /// Says of a file how it differs from what was read of it.
    fn beyond(&self, digest: &Digested, context: impl Fn() -> Arc<Context>, outlet: &Outlet<Said>) {
        let said = |loss: Loss, why: &str| {
            outlet.say(Said::Withheld { context: context(), loss, count: 1, why: why.to_owned() });
        };
        if digest.is_exceeded() {
            said(loss::EXPANDED_TOO_FAR, "not read any further: it unpacks to far more than its size");
        }
        if digest.grew() {
            said(loss::GROWING_FILE, "what was added while it was read was left out");
        }
    }

    fn archive(&self, one: Opened<'_>, kind: &str, index: &mut i32, outlet: &Outlet<Said>) {
        let own = *index;
        *index += 1;
        let context = Arc::new(self.context(own, &one.plain, None, None));
        let source = Source { path: one.path.clone(), kind: kind.to_owned(), ..Source::default() };
        outlet.say(Said::Begin { source, context: Arc::clone(&context), losses: Vec::new() });
        let digest = one.digest.clone();
        digest.only_raw();
        let mut files = Files {
            reader: self,
            path: one.path.clone(),
            plain: one.plain.clone(),
            depth: one.depth + 1,
            own: Arc::clone(&context),
            digest: digest.clone(),
            candidates: Vec::new(),
            names: BTreeSet::new(),
            links: Vec::new(),
            left_out: None,
        };
        let failed = if kind == "tar" { files.of_tar(one, index, outlet) } else { files.of_zip(one, index, outlet) };
        files.end(index, outlet);
        if let Err(why) = failed {
            outlet.say(Said::Truncated { context: Arc::clone(&context), offset: 0, why });
        }
        self.beyond(&digest, || Arc::clone(&context), outlet);
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
    digest: Digested,
    /// Files that may belong to a TSDB: which do is known when all were seen.
    candidates: Vec<Candidate>,
    /// Names of the files so far, as they mean.
    names: BTreeSet<String>,
    /// Symbolic links: name, and where they lead. They are looked at when all names are known.
    links: Vec<(String, String)>,
    /// The first entry that there was no room for, and how many there were.
    left_out: Option<(String, u64)>,
}

impl Files<'_> {
    fn of_tar(&mut self, one: Opened<'_>, index: &mut i32, outlet: &Outlet<Said>) -> Result<(), String> {
        let mut reader = one.head.as_slice().chain(one.reader);
        let read = archive::tar(&mut reader, &mut |member, content| {
            self.entry(member, content, index, outlet);
            true
        });
        // What broke off while the head was read did so ahead of what comes of it.
        let read = one.broken.map_or(read, Err);
        let _ = io::copy(&mut reader, &mut io::sink());
        read
    }

    fn of_zip(&mut self, one: Opened<'_>, index: &mut i32, outlet: &Outlet<Said>) -> Result<(), String> {
        let mut reader = one.head.as_slice().chain(one.reader);
        let mut kept = None;
        let file = match one.disk {
            Some(path) => {
                io::copy(&mut reader, &mut io::sink()).map_err(|error| error.to_string())?;
                path
            }
            None => {
                let kept =
                    kept.insert(self.reader.scratch.keep(&mut reader, &one.digest).map_err(|error| error.to_string())?);
                self.reader.cut(kept, Arc::clone(&self.own), outlet);
                kept.file.as_path()
            }
        };
        let (file, _) = input::regular(file).map_err(|error| error.to_string())?;
        let left = archive::zip(file, &mut |member, content| {
            self.entry(member, content, index, outlet);
            self.left_out.is_none()
        })?;
        if let Some((_, count)) = &mut self.left_out {
            *count += left;
        }
        Ok(())
    }

    fn end(self, index: &mut i32, outlet: &Outlet<Said>) {
        for (name, to) in &self.links {
            let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
            let path = format!("{}/{name}", self.path);
            // A folder is no entry that counts, but there is something in it.
            let is_there = |target: &String| {
                let within = format!("{target}/");
                let next = self.names.range(within.clone()..).next();
                self.names.contains(target) || next.is_some_and(|name| name.starts_with(&within))
            };
            match meant(folder, to).filter(is_there) {
                Some(target) => self.linked(&path, &target, index, outlet),
                None => {
                    let why = format!("not read: a link to {to}");
                    self.reader.refused(*index, &path, loss::LINK_NOT_FOLLOWED, 1, why, outlet);
                    *index += 1;
                }
            }
        }
        self.reader.archived(self.candidates, index, outlet);
        if let Some((name, count)) = self.left_out {
            let why = format!("no room for {count} of its entries: {name} and those behind it");
            outlet.say(Said::Withheld { context: self.own, loss: loss::TOO_MANY_FILES, count, why });
        }
    }

    /// Reads an entry, or says why not.
    fn entry(&mut self, member: Member, content: &mut dyn Read, index: &mut i32, outlet: &Outlet<Said>) {
        let Member { name, mtime, what } = member;
        if let What::Unlisted(found) = what {
            let Unlisted { places, bytes, first } = found;
            let why = format!("{bytes} bytes that its table of contents does not list, the first at byte {first}");
            return self.of_archive(loss::UNLISTED_BYTES, places, why, outlet);
        }
        let path = format!("{}/{name}", self.path);
        if !self.reader.room.take(cost(&path)) {
            self.left_out.get_or_insert((name, 0)).1 += 1;
            return;
        }
        let (loss, why) = match what {
            What::File(size) => {
                if self.names.insert(meant("", &name).unwrap_or_else(|| name.clone())) {
                    return self.file(&name, (mtime, size), content, index, outlet);
                }
                (loss::REPEATED_ENTRY, "not read: an entry of the same name stands ahead of it".to_owned())
            }
            What::Symbolic(to) => {
                self.links.push((name, to));
                return;
            }
            What::Hard(to) => match meant("", &to).filter(|target| self.names.contains(target)) {
                Some(target) => return self.linked(&path, &target, index, outlet),
                None => (loss::LINK_NOT_FOLLOWED, format!("not read: a link to {to}")),
            },
            What::Special(what) => (loss::SKIPPED_FILE, format!("not read: {what}")),
            What::Overlapping => {
                (loss::OVERLAPPING_ENTRIES, "not read: its bytes belong to another entry of the archive too".to_owned())
            }
            What::Damaged(why) if name.is_empty() => return self.of_archive(loss::UNREADABLE_ENTRY, 1, why, outlet),
            What::Unlisted(_) => return,
            What::Damaged(why) => (loss::UNREADABLE_ENTRY, format!("not read: {why}")),
        };
        self.reader.refused(*index, &path, loss, 1, why, outlet);
        *index += 1;
    }

    /// Names a loss of the archive that is none of an entry.
    fn of_archive(&self, loss: Loss, count: u64, why: String, outlet: &Outlet<Said>) {
        outlet.say(Said::Withheld { context: Arc::clone(&self.own), loss, count, why });
    }

    /// Names an entry whose content is read where it lies itself.
    fn linked(&self, path: &str, target: &str, index: &mut i32, outlet: &Outlet<Said>) {
        let twin = Twin { first: format!("{}/{target}", self.path), digest: (String::new(), 0) };
        self.reader.same(*index, path, twin, outlet);
        *index += 1;
    }

    /// Reads one file of the archive, of which the modification time and the size are known.
    fn file(
        &mut self,
        name: &str,
        (seconds, size): (Option<i64>, u64),
        content: &mut dyn Read,
        index: &mut i32,
        outlet: &Outlet<Said>,
    ) {
        let path = format!("{}/{name}", self.path);
        let plain = plain_path(&format!("{}/{name}", self.plain));
        let mtime = seconds.and_then(|seconds| seconds.checked_mul(1_000_000_000));
        let is_block = input::tsdb::place(&plain).is_some();
        let mut magic = Vec::with_capacity(4);
        // A reader that fails does so again.
        let _ = content.take(4).read_to_end(&mut magic);
        let raw: &mut dyn Read = &mut magic.chain(content);
        let mut again = None;
        // What a compressed one holds is told at its end.
        if !is_block && (input::is_compressed(&magic) || self.reader.known.has_size(size)) {
            let Some(kept) = self.kept(name, raw, outlet) else { return };
            if let Some(twin) = self.reader.twin(&kept.file, &path).filter(|_| kept.broken.is_none()) {
                self.reader.same(*index, &path, twin, outlet);
                *index += 1;
                return;
            }
            again = Some(kept);
        }
        let mut from_file = again.as_ref().and_then(|kept| File::open(&kept.file).ok());
        let raw: &mut dyn Read = match &mut from_file {
            Some(file) => file,
            None => raw,
        };
        let digest = self.digest.member();
        let opened = input::decompress(raw, &digest, &self.reader.limits);
        if is_block {
            match opened.and_then(|mut reader| self.reader.scratch.keep(&mut reader, &digest)) {
                Ok(kept) => {
                    let kept = Some(kept);
                    self.candidates.push(Candidate { path, place: plain, kept, mtime, file: PathBuf::new() });
                }
                Err(error) => self.unkept(name, &error, outlet),
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
        if let Some(mut kept) = again {
            kept.broken = kept.broken.map(|why| format!("{name}: {why}"));
            self.reader.cut(&mut kept, Arc::clone(&self.own), outlet);
        }
    }

    /// A file of the archive as it lies there, put where it can be read twice.
    fn kept(&self, name: &str, raw: &mut dyn Read, outlet: &Outlet<Said>) -> Option<Kept> {
        let digest = self.digest.member();
        let kept = self.reader.scratch.keep(&mut input::hashing(raw, &digest), &digest);
        kept.map_err(|error| self.unkept(name, &error, outlet)).ok()
    }

    fn unkept(&self, name: &str, error: &io::Error, outlet: &Outlet<Said>) {
        let why = format!("{name}: {error}");
        outlet.say(Said::Truncated { context: Arc::clone(&self.own), offset: 0, why });
    }
}

/// The path that a name or a link means, from a folder of the archive on; nothing where it leads out of it.
fn meant(folder: &str, to: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    if to.starts_with('/') {
        return None;
    }
    for part in folder.split('/').chain(to.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::meant;

    #[test]
    fn a_path_means_what_is_left_of_it() {
        for (folder, to, expected) in [
            ("", "./a//b", Some("a/b")),
            ("a/b", "../c", Some("a/c")),
            ("a", "../../c", None),
            ("a", "/etc/passwd", None),
            ("", "../a", None),
            ("a", ".", Some("a")),
        ] {
            assert_eq!(meant(folder, to).as_deref(), expected, "{folder} {to}");
        }
    }
}
