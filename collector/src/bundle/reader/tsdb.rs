//! The reader's part for a Prometheus TSDB: finds the groups of files, lists each file as a source, and hands the
//! parcels of the group on.
//!
//! A TSDB is read at many places at once, which neither a compressed file nor a tar allows: such files are first put into a
//! scratch folder beside the bundle, which goes away with it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use syncline_schema::loss;
use syncline_schema::manifest::Source;

use super::scratch::Kept;
use super::{Reader, hand_on, read_head};
use crate::bundle::pipeline::Outlet;
use crate::bundle::rules::plain_path;
use crate::bundle::said::Said;
use crate::form::Context;
use crate::input::tsdb::{self, Group, Member};
use crate::input::{self, Entry, Piece};
use crate::parse::metrics::prometheus_tsdb::FORMAT;

/// Kind of the files of a group; the group itself is a source of the format's kind.
const MEMBER_KIND: &str = "prometheus-tsdb-file";

/// A file that may belong to a TSDB.
pub struct Candidate {
    /// Path of the source, as given.
    pub path: String,
    /// Path that tells its place.
    pub place: String,
    /// Where its bytes lie, decompressed; hash and size of the file as it lies; why it broke off.
    pub kept: Option<Kept>,
    /// Modification time, ns.
    pub mtime: Option<i64>,
    /// The file itself, where it is not kept elsewhere.
    pub file: PathBuf,
}

/// Files of a directory walk that belong to a TSDB: by entry the number of its group.
pub struct Grouped {
    pub groups: Vec<Group>,
    pub of_entry: HashMap<usize, usize>,
}

impl Reader<'_> {
    /// Finds the groups among the files of a walk.
    pub fn grouped(&self, entries: &[Entry]) -> Grouped {
        // Of each file its path and what its beginning says: twenty thousand blocks have as many beginnings.
        let files = entries.iter().map(|entry| {
            let path = place_of(&entry.file);
            let may_be = entry.skipped.is_none() && !entry.once && tsdb::place(&path).is_some();
            let opened = if may_be { input::open(&entry.file, &self.limits).ok() } else { None };
            let evidence = opened.map_or(0, |(mut reader, _)| {
                let mut head = Vec::new();
                read_head(&mut reader, &mut head);
                tsdb::evidence(&path, &head)
            });
            (if entry.skipped.is_some() { String::new() } else { path }, evidence)
        });
        let files: Vec<(String, u32)> = files.collect();
        let groups = tsdb::groups(files.iter().map(|(path, evidence)| (path.as_str(), *evidence)));
        let of = |(number, group): (usize, &Group)| group.files.iter().map(move |at| (*at, number)).collect::<Vec<_>>();
        let of_entry = groups.iter().enumerate().flat_map(of).collect();
        Grouped { groups, of_entry }
    }

    /// Reads a group of the files of a walk.
    pub fn walked(&self, group: &Group, entries: &[Entry], index: &mut i32, outlet: &Outlet<Said>) {
        let members = group.files.iter().map(|at| &entries[*at]).map(|entry| Candidate {
            path: entry.path.clone(),
            place: place_of(&entry.file),
            kept: None,
            mtime: None,
            file: entry.file.clone(),
        });
        self.group(group, members.collect(), index, outlet);
    }

    /// Reads the files of an archive that may belong to a TSDB: groups first, then the others like any file.
    pub fn archived(&self, mut candidates: Vec<Candidate>, index: &mut i32, outlet: &Outlet<Said>) {
        let files = candidates.iter().map(|one| {
            let mut head = Vec::new();
            if let Some(Ok(mut file)) = one.kept.as_ref().map(|kept| File::open(&kept.file)) {
                read_head(&mut file, &mut head);
            }
            (one.place.as_str(), tsdb::evidence(&one.place, &head))
        });
        let groups = tsdb::groups(files);
        let mut left: Vec<Option<Candidate>> = candidates.drain(..).map(Some).collect();
        for group in &groups {
            let members = group.files.iter().filter_map(|at| left[*at].take()).collect();
            self.group(group, members, index, outlet);
        }
        for one in left.into_iter().flatten() {
            let Some(mut kept) = one.kept else { continue };
            let own = *index;
            *index += 1;
            let mut head = Vec::new();
            let (mut reader, mut broken): (Box<dyn Read>, _) = match File::open(&kept.file) {
                Ok(file) => (Box::new(file), None),
                Err(error) => (Box::new(io::empty()), Some(error.to_string())),
            };
            broken = broken.or_else(|| read_head(&mut reader, &mut head));
            self.source(own, &one.path, &plain_path(&one.path), one.mtime, head, broken, &mut reader, outlet);
            self.cut(&mut kept, Arc::new(self.context(own, &one.path, None, None)), outlet);
            outlet.say(Said::End { index: own, digest: Some(kept.digest) });
        }
    }

    /// Says why what was put aside ends ahead of its end, or that there is more of it by now.
    pub fn cut(&self, kept: &mut Kept, context: Arc<Context>, outlet: &Outlet<Said>) {
        if kept.grew {
            let (context, loss) = (Arc::clone(&context), loss::GROWING_FILE);
            let why = "what was added while it was read may be left out".to_owned();
            outlet.say(Said::Withheld { context, loss, count: 1, why });
        }
        let Some(why) = kept.broken.take() else { return };
        if kept.loss.name == loss::TRUNCATED_INPUT.name {
            outlet.say(Said::Truncated { context, offset: 0, why });
        } else {
            outlet.say(Said::Withheld { context, loss: kept.loss, count: 1, why });
        }
    }

    /// Lists a group and its files, then reads it.
    fn group(&self, group: &Group, candidates: Vec<Candidate>, index: &mut i32, outlet: &Outlet<Said>) {
        let own = *index;
        *index += 1;
        let path = path_of(group, &candidates);
        let plain = plain_path(&path);
        let rule = self.rule(&plain);
        let clock = rule.and_then(|rule| rule.clock.clone()).unwrap_or_else(|| FORMAT.clock.token().to_owned());
        let context = Arc::new(self.context(own, &plain, Some(clock), None));
        let clock = Some(context.clock.clone());
        let source = Source { path, kind: FORMAT.kind.to_owned(), clock, ..Source::default() };
        outlet.say(Said::Begin { source, context: Arc::clone(&context), losses: Vec::new() });
        let (mut members, mut held, mut bytes, mut hash) = (Vec::new(), Vec::new(), 0, Sha256::new());
        for one in candidates {
            let inner = *index;
            *index += 1;
            let named = Arc::new(self.context(inner, &one.path, None, None));
            let source = Source { path: one.path.clone(), kind: MEMBER_KIND.to_owned(), ..Source::default() };
            outlet.say(Said::Begin { source, context: Arc::clone(&named), losses: Vec::new() });
            let mut kept = match one.kept.map_or_else(|| self.settled(&one.file), Ok) {
                Ok(kept) => kept,
                Err(error) => {
                    outlet.say(Said::Unread { context: named, why: error.to_string() });
                    continue;
                }
            };
            self.cut(&mut kept, named, outlet);
            let name = name_in(group, &one.place);
            hash.update(format!("{}  {name}\n", kept.digest.0));
            bytes += kept.digest.1;
            outlet.say(Said::End { index: inner, digest: Some(kept.digest.clone()) });
            if let Some((_, part)) = tsdb::place(&one.place) {
                members.push(Member { name, file: kept.file.clone(), part });
            }
            held.push(kept);
        }
        let mut first = true;
        let fits = tsdb::read(group.is_head, &members, &self.reading, &mut |bytes, rows| {
            let piece = Piece { bytes, first_line: 1, first, rows, ..Piece::default() };
            first = false;
            hand_on(piece, &context, &FORMAT, outlet);
        });
        if !fits {
            outlet.say(Said::Lost { context: Arc::clone(&context), loss: loss::MEMORY_USED_UP });
        }
        let hash = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        outlet.say(Said::End { index: own, digest: Some((hash, bytes)) });
    }

    /// A file of a walk: hashed, and decompressed into the scratch folder where it is compressed.
    fn settled(&self, path: &Path) -> io::Result<Kept> {
        let mut magic = Vec::new();
        input::regular(path)?.0.take(4).read_to_end(&mut magic)?;
        let (mut reader, digest) = input::open(path, &self.limits)?;
        if input::is_compressed(&magic) {
            return self.scratch.keep(&mut reader, &digest);
        }
        let failed = io::copy(&mut reader, &mut io::sink()).err();
        Ok(Kept::in_place(path.to_owned(), &digest, failed))
    }
}

/// The path that tells the place of a file of a walk. The argument itself may be the folder of a block.
fn place_of(file: &Path) -> String {
    plain_path(&file.to_string_lossy().replace('\\', "/"))
}

/// Name of a file within the folder of its group.
fn name_in(group: &Group, place: &str) -> String {
    place.strip_prefix(&group.folder).unwrap_or(place).trim_start_matches('/').to_owned()
}

/// Path of a group: its folder as far as the argument shows it, else its own name.
fn path_of(group: &Group, members: &[Candidate]) -> String {
    let Some(first) = members.first() else { return group.folder.clone() };
    let name = name_in(group, &first.place);
    let shown = plain_path(&first.path);
    let above = shown.strip_suffix(&name).map(|above| above.trim_end_matches('/')).unwrap_or_default();
    let own = group.folder.rsplit('/').next().unwrap_or_default();
    let folder = if above.is_empty() { own } else { above };
    if !group.is_head {
        return folder.to_owned();
    }
    let kind = if members.iter().any(|one| !one.place.contains("chunks_head/")) { "wal" } else { "chunks_head" };
    if folder.is_empty() { kind.to_owned() } else { format!("{folder}/{kind}") }
}
