//! Which places below some folders hold a run.
//!
//! | what lies there | is |
//! |---|---|
//! | a folder with `manifest.json` | a bundle: one run |
//! | a folder with `capture.toml` | a capture with all that is below it: one run |
//! | a folder below which one of these lies | no run itself |
//! | any other folder with a file that the collector reads | a capture with all that is below it: one run |
//! | a tar or a zip in a folder that is none of these | a capture: one run |
//!
//! Names that begin with a dot are passed over, and links too (unless links are followed). What is a file and belongs to no run is
//! counted by name.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};
use syncline_collector::bundle::glance::{Glance, glance};
use syncline_collector::write::integrity::is_bundle;

use super::index::INDEX;

/// Name of the file that states what a capture is.
const STATEMENTS: &str = "capture.toml";
/// Folders within each other at most.
const DEEPEST: usize = 64;

/// A place that holds a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Absolute.
    pub path: PathBuf,
    /// Below the root: `.` where it is the root itself.
    pub below: String,
    /// SHA-256 over the names, sizes and times of its files.
    pub stamp: String,
    pub is_bundle: bool,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// In the order of their paths below the root.
    pub runs: Vec<Found>,
    /// Files that belong to no run.
    pub loose: Vec<PathBuf>,
    /// Folders that could not be read, and why.
    pub unreadable: Vec<(PathBuf, String)>,
}

/// Finds the runs below some roots. `known` says of a folder that it held a run when it was last looked at.
///
/// # Errors
/// A root that is not there.
pub fn find(roots: &[PathBuf], follow: bool, known: &dyn Fn(&Path) -> bool) -> anyhow::Result<Places> {
    let mut found = Places::default();
    let mut seen = BTreeSet::new();
    for root in roots {
        let whole = root.canonicalize().with_context(|| format!("{}: expected a folder of runs", root.display()))?;
        let mut search = Search { root: &whole, follow, known, seen: &mut seen, found: &mut found };
        if whole.is_file() {
            search.archive(&whole)?;
        } else if whole.join(INDEX).is_file() {
            bail!("{}: is an archive: `syncline archive merge` joins archives", root.display());
        } else {
            search.folder(&whole, 0, &mut BTreeSet::new());
        }
    }
    found.runs.sort_by(|a, b| a.below.cmp(&b.below).then_with(|| a.path.cmp(&b.path)));
    Ok(found)
}

struct Search<'s> {
    root: &'s Path,
    follow: bool,
    known: &'s dyn Fn(&Path) -> bool,
    /// Paths that hold a run already: roots may lie within each other.
    seen: &'s mut BTreeSet<PathBuf>,
    found: &'s mut Places,
}

/// Entries of a folder in order.
struct Listing {
    folders: Vec<PathBuf>,
    files: Vec<PathBuf>,
}

impl Search<'_> {
    /// Whether a folder, or one below it, is a run by a mark of its own; runs without one are added only where it has none.
    fn folder(&mut self, path: &Path, depth: usize, around: &mut BTreeSet<(u64, u64)>) -> bool {
        if is_bundle(path) || path.join(STATEMENTS).is_file() {
            self.add(path, is_bundle(path));
            return true;
        }
        if path.join(INDEX).is_file() {
            return false;
        }
        let listing = match self.list(path) {
            Ok(listing) => listing,
            Err(error) => {
                self.found.unreadable.push((path.to_owned(), error.to_string()));
                return false;
            }
        };
        let identity = fs::metadata(path).map(|found| (found.dev(), found.ino())).unwrap_or_default();
        if depth >= DEEPEST || !around.insert(identity) {
            let why = if depth >= DEEPEST { "too many folders within each other" } else { "a link back to itself" };
            self.found.unreadable.push((path.to_owned(), why.to_owned()));
            return false;
        }
        let before = self.found.clone_lengths();
        let mut marked = false;
        for folder in &listing.folders {
            marked |= self.folder(folder, depth + 1, around);
        }
        around.remove(&identity);
        if marked {
            self.archives_of(&listing);
            return true;
        }
        let known = (self.known)(path);
        if known || listing.files.iter().any(|file| glance(file) == Some(Glance::Capture)) {
            // What seemed to be runs below it are parts of this one.
            self.found.forget(before, self.seen);
            self.add(path, false);
            return false;
        }
        self.archives_of(&listing);
        false
    }

    /// Archives of a folder that is no run, each by itself; its other files belong to none.
    fn archives_of(&mut self, listing: &Listing) {
        for file in &listing.files {
            if (self.known)(file) || glance(file) == Some(Glance::Archive) {
                self.add(file, false);
            } else {
                self.found.loose.push(file.clone());
            }
        }
    }

    fn archive(&mut self, path: &Path) -> anyhow::Result<()> {
        if glance(path).is_none() {
            bail!("{}: expected a folder of runs, a tar, a zip or a capture", path.display());
        }
        self.add(path, false);
        Ok(())
    }

    fn add(&mut self, path: &Path, is_bundle: bool) {
        if !self.seen.insert(path.to_owned()) {
            return;
        }
        match stamp(path, self.follow) {
            Ok(stamp) => {
                let below = path.strip_prefix(self.root).ok().filter(|path| !path.as_os_str().is_empty());
                let below = below.map_or_else(|| ".".to_owned(), |path| path.to_string_lossy().into_owned());
                self.found.runs.push(Found { path: path.to_owned(), below, stamp, is_bundle });
            }
            Err(error) => self.found.unreadable.push((path.to_owned(), error.to_string())),
        }
    }

    fn list(&self, path: &Path) -> std::io::Result<Listing> {
        let mut listing = Listing { folders: Vec::new(), files: Vec::new() };
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            let path = entry.path();
            let Some(found) = metadata(&path, self.follow) else { continue };
            if found.is_dir() {
                listing.folders.push(path);
            } else if found.is_file() {
                listing.files.push(path);
            }
        }
        listing.folders.sort();
        listing.files.sort();
        Ok(listing)
    }
}

impl Places {
    fn clone_lengths(&self) -> (usize, usize) {
        (self.runs.len(), self.loose.len())
    }

    fn forget(&mut self, (runs, loose): (usize, usize), seen: &mut BTreeSet<PathBuf>) {
        for one in self.runs.drain(runs..) {
            seen.remove(&one.path);
        }
        self.loose.truncate(loose);
    }
}

fn metadata(path: &Path, follow: bool) -> Option<Metadata> {
    let own = fs::symlink_metadata(path).ok()?;
    if own.is_symlink() && !follow { None } else { fs::metadata(path).ok() }
}

/// What tells that nothing below a path was touched since: names, sizes, times of change.
fn stamp(path: &Path, follow: bool) -> std::io::Result<String> {
    let mut hash = Sha256::new();
    let mut left = vec![(path.to_owned(), 0)];
    while let Some((path, depth)) = left.pop() {
        let Some(found) = metadata(&path, follow) else { continue };
        hash.update(path.as_os_str().as_encoded_bytes());
        hash.update([0]);
        if found.is_dir() {
            if depth >= DEEPEST {
                continue;
            }
            let mut inside =
                fs::read_dir(&path)?.map(|entry| entry.map(|one| one.path())).collect::<Result<Vec<_>, _>>()?;
            inside.sort();
            left.extend(inside.into_iter().map(|path| (path, depth + 1)));
            continue;
        }
        for number in [found.len().cast_signed(), found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()]
        {
            hash.update(number.to_le_bytes());
        }
    }
    Ok(hex(hash))
}

/// A hash in hex digits.
pub fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
