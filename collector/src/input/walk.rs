//! Which files there are: arguments, folders below them, sorted by path, where `snap-2` stands ahead of `snap-10`.
//!
//! A capture comes from strangers: a link in it may lead to `/etc/passwd`, to a folder above, or into a tree in which every folder
//! has two links to the next. What an argument itself is a link to was meant by whoever typed it; below it a link counts only while it
//! stays there, and a folder is entered once, whatever leads to it.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::open::what_is;

/// One file to read, or what lies there instead.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Where it lies; `-` is standard input.
    pub file: PathBuf,
    /// Path relative to the argument, with `/`.
    pub path: String,
    /// Why it is listed and not read.
    pub skipped: Option<Skip>,
    /// Whether what was read of it is gone from it: standard input, a pipe as of `<(kubectl logs …)`.
    pub once: bool,
}

/// Why something in a folder is not read.
#[derive(Clone, Debug, PartialEq)]
pub enum Skip {
    /// Its name begins with a point.
    Hidden,
    /// What it is, in place of a file: opening it may wait for ever.
    Special(&'static str),
    /// A link out of the argument: to where.
    Out(PathBuf),
    /// A link to a folder that is read under this path.
    Again(String),
    /// A folder that cannot be read: why.
    Unreadable(String),
    /// This and that many more, for which there is no room.
    Beyond(u64),
}

/// How folders are searched.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    /// Whether links are followed out of an argument.
    pub follow: bool,
    /// Bytes that the list of files may take, by [`cost`].
    pub room: usize,
}

/// Memory that a file takes while its capture is bundled, whatever is in it (its entry, its source, what was lost in it, its place
/// in the manifest): bytes. 61,000 empty entries of a zip took 1.4 KB each, with names of 18 bytes.
pub fn cost(path: &str) -> usize {
    1536 + 8 * path.len()
}

/// Files of all arguments: a folder's files sorted by path; what is not read of them is listed too.
///
/// # Errors
/// An argument that does not exist, or that cannot be read.
pub fn walk(arguments: &[PathBuf], how: Walk) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut room = how.room;
    for argument in arguments {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", argument.display()));
        if argument.as_os_str() == "-" {
            entries.push(Entry { file: argument.clone(), path: "-".to_owned(), skipped: None, once: true });
            continue;
        }
        let kind = fs::metadata(argument).map_err(named)?;
        if kind.is_dir() {
            let mut found = Folders::new(argument, how.follow, room).map_err(named)?;
            found.all(argument, &kind).map_err(named)?;
            room = found.room;
            let mut files = found.files;
            files.sort_by(|a, b| natural(&a.path, &b.path));
            entries.append(&mut files);
        } else {
            let name = argument.file_name().map_or_else(|| argument.to_string_lossy(), |name| name.to_string_lossy());
            let once = !kind.is_file();
            entries.push(Entry { file: argument.clone(), path: name.into_owned(), skipped: None, once });
        }
    }
    Ok(entries)
}

/// Order of paths with numbers by their values: files that were numbered as they were written come in that order. Digits behind a
/// point and digits are a fraction (`1795407710.48.txt` ahead of `1795407710.5.txt`).
fn natural(one: &str, other: &str) -> Ordering {
    let digits = |text: &[u8], at: usize| text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (a, b) = (one.as_bytes(), other.as_bytes());
    let (mut at, mut to) = (0, 0);
    while at < a.len() && to < b.len() {
        let (left, right) = (digits(a, at), digits(b, to));
        if left == 0 || right == 0 {
            if a[at] != b[to] {
                return a[at].cmp(&b[to]);
            }
            (at, to) = (at + 1, to + 1);
            continue;
        }
        let fraction = at > 1 && a[at - 1] == b'.' && a[at - 2].is_ascii_digit();
        let value = |text: &[u8]| text.iter().position(|byte| *byte != b'0').unwrap_or(text.len());
        let (left, right) = (&a[at..at + left], &b[to..to + right]);
        let (own, others) = (&left[value(left)..], &right[value(right)..]);
        let order = if fraction { left.cmp(right) } else { own.len().cmp(&others.len()).then_with(|| own.cmp(others)) };
        if order != Ordering::Equal {
            return order;
        }
        (at, to) = (at + left.len(), to + right.len());
    }
    // Paths that differ in leading zeros only are still two.
    (a.len() - at).cmp(&(b.len() - to)).then_with(|| one.cmp(other))
}

/// The folders of one argument.
struct Folders {
    /// The argument as it really lies.
    root: PathBuf,
    follow: bool,
    room: usize,
    files: Vec<Entry>,
    /// Device and inode of each folder that was entered, and its path.
    entered: HashMap<(u64, u64), String>,
    /// Links to folders: their path and where they lead. They are looked at when all folders that lie there themselves are known.
    links: Vec<(String, PathBuf)>,
    /// Index of the entry that stands for those there was no room for.
    beyond: Option<usize>,
}

impl Folders {
    fn new(argument: &Path, follow: bool, room: usize) -> io::Result<Self> {
        let root = fs::canonicalize(argument)?;
        let (files, entered, links) = Default::default();
        Ok(Self { root, follow, room, files, entered, links, beyond: None })
    }

    fn all(&mut self, argument: &Path, found: &Metadata) -> io::Result<()> {
        fs::read_dir(argument)?;
        self.below(argument, "", found);
        while !self.links.is_empty() {
            let mut links = std::mem::take(&mut self.links);
            // Which of two links to a folder is entered does not depend on the order in which a disk lists them.
            links.sort_by(|(one, _), (other, _)| natural(one, other));
            for (path, target) in links {
                self.linked(path, target);
            }
        }
        Ok(())
    }

    /// Enters the folder that a link leads to.
    fn linked(&mut self, path: String, target: PathBuf) {
        let Ok(found) = fs::metadata(&target) else { return self.add(path, target, None) };
        if !self.follow && !target.starts_with(&self.root) {
            self.add(path, target.clone(), Some(Skip::Out(target)));
        } else if let Some(first) = self.entered.get(&(found.dev(), found.ino())) {
            let first = if first.is_empty() { ".".to_owned() } else { first.clone() };
            self.add(path, target, Some(Skip::Again(first)));
        } else {
            self.below(&target, &path, &found);
        }
    }

    /// Enters a folder and those in it, links aside.
    fn below(&mut self, folder: &Path, prefix: &str, found: &Metadata) {
        let mut folders = vec![(folder.to_owned(), prefix.to_owned(), (found.dev(), found.ino()))];
        while let Some((folder, prefix, identity)) = folders.pop() {
            // By a link into it, or because it is mounted at several places.
            if let Some(first) = self.entered.get(&identity) {
                let again = Skip::Again(first.clone());
                self.add(prefix, folder, Some(again));
                continue;
            }
            self.entered.insert(identity, prefix.clone());
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) => {
                    self.add(prefix, folder, Some(Skip::Unreadable(error.to_string())));
                    continue;
                }
            };
            let mut links = Vec::new();
            for entry in entries {
                let entry = match entry {
                    Ok(entry) => entry,
                    Err(error) => {
                        self.add(prefix.clone(), folder.clone(), Some(Skip::Unreadable(error.to_string())));
                        break;
                    }
                };
                let name = entry.file_name().to_string_lossy().into_owned();
                let hidden = name.starts_with('.');
                let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
                // Of a link what it is itself.
                match entry.metadata() {
                    _ if hidden => self.add(path, entry.path(), Some(Skip::Hidden)),
                    // Folders and links take room too, though none of them is a file.
                    Ok(kind) if (kind.is_dir() || kind.is_symlink()) && !self.take(cost(&path) / 8) => {
                        self.left_out(path, entry.path());
                    }
                    Ok(kind) if kind.is_dir() => folders.push((entry.path(), path, (kind.dev(), kind.ino()))),
                    Ok(kind) if kind.is_symlink() => links.push((path, entry.path())),
                    Ok(kind) if !kind.is_file() => self.add(path, entry.path(), Some(Skip::Special(what_is(&kind)))),
                    // Why it cannot be opened is told when it is its turn.
                    Ok(_) | Err(_) => self.add(path, entry.path(), None),
                }
            }
            for (path, link) in links {
                self.link(path, link);
            }
        }
    }

    fn link(&mut self, path: String, link: PathBuf) {
        let real = fs::canonicalize(&link).and_then(|target| Ok((fs::metadata(&target)?, target)));
        match real {
            Ok((kind, target)) if kind.is_dir() => self.links.push((path, target)),
            Ok((_, target)) if !self.follow && !target.starts_with(&self.root) => {
                self.add(path, link, Some(Skip::Out(target)));
            }
            Ok((kind, target)) if kind.is_file() => self.add(path, target, None),
            Ok((kind, _)) => self.add(path, link, Some(Skip::Special(what_is(&kind)))),
            // To nothing, or to itself: opening it says so.
            Err(_) => self.add(path, link, None),
        }
    }

    /// Adds an entry while there is room.
    fn add(&mut self, path: String, file: PathBuf, skipped: Option<Skip>) {
        if self.take(cost(&path)) {
            self.files.push(Entry { file, path, skipped, once: false });
        } else {
            self.left_out(path, file);
        }
    }

    /// Takes room, while nothing was left out for want of it.
    fn take(&mut self, bytes: usize) -> bool {
        let fits = self.beyond.is_none() && bytes <= self.room;
        self.room -= if fits { bytes } else { 0 };
        fits
    }

    fn left_out(&mut self, path: String, file: PathBuf) {
        match self.beyond.and_then(|at| self.files.get_mut(at)) {
            Some(Entry { skipped: Some(Skip::Beyond(more)), .. }) => *more += 1,
            _ => {
                self.beyond = Some(self.files.len());
                self.files.push(Entry { file, path, skipped: Some(Skip::Beyond(0)), once: false });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn numbers_are_in_order_of_their_values() {
        let sorted = ["a", "a/1.txt", "a/2.txt", "a/10.txt", "b-1", "b-01x", "b-1x", "b.9", "b.10", "snap", "snap-x"];
        let mut shuffled = sorted;
        shuffled.reverse();
        shuffled.sort_by(|one, other| natural(one, other));
        assert_eq!(shuffled, sorted);
        let mut times =
            ["9.5.txt", "1795407710.55.txt", "1795407710.548.txt", "1795407710.5.txt", "1795407709.999.txt"];
        times.sort_by(|one, other| natural(one, other));
        assert_eq!(
            times,
            ["9.5.txt", "1795407709.999.txt", "1795407710.5.txt", "1795407710.548.txt", "1795407710.55.txt"]
        );
    }

    const HOW: Walk = Walk { follow: false, room: 1 << 20 };

    fn found(argument: &Path, how: Walk) -> Vec<(String, Option<Skip>)> {
        let entries = walk(&[argument.to_owned()], how).expect("walked");
        entries.into_iter().map(|one| (one.path, one.skipped)).collect()
    }

    #[test]
    fn a_link_counts_while_it_stays_within_the_argument() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        for name in ["run", "run/.data", "run/pods", "outside"] {
            fs::create_dir(at(name)).expect("a folder");
        }
        for name in ["run/.data/config", "run/pods/0.log", "outside/secret"] {
            fs::write(at(name), name).expect("written");
        }
        for (link, to) in [
            ("run/a.log", "pods/0.log"),
            ("run/again", "pods"),
            ("run/config", ".data"),
            ("run/etc", "../outside"),
            ("run/itself", "."),
            ("run/loop", "loop"),
            ("run/nowhere", "gone"),
            ("run/secret", "../outside/secret"),
            ("given", "run"),
        ] {
            symlink(to, at(link)).expect("a link");
        }
        let real = fs::canonicalize(folder.path()).expect("a path");
        let out = |name: &str| Some(Skip::Out(real.join(name)));
        let expected = [
            (".data", Some(Skip::Hidden)),
            ("a.log", None),
            ("again", Some(Skip::Again("pods".to_owned()))),
            ("config/config", None),
            ("etc", out("outside")),
            ("itself", Some(Skip::Again(".".to_owned()))),
            ("loop", None),
            ("nowhere", None),
            ("pods/0.log", None),
            ("secret", out("outside/secret")),
        ]
        .map(|(path, skipped)| (path.to_owned(), skipped));
        assert_eq!(found(&at("run"), HOW), expected);
        // The argument itself may be a link.
        assert_eq!(found(&at("given"), HOW), expected);
        let followed = found(&at("run"), Walk { follow: true, ..HOW });
        let followed: Vec<&str> =
            followed.iter().filter(|(_, skipped)| skipped.is_none()).map(|(path, _)| path.as_str()).collect();
        assert_eq!(
            followed,
            ["a.log", "config/config", "etc/secret", "loop", "nowhere", "pods/0.log", "secret"],
            "{followed:?}"
        );
    }

    #[test]
    fn links_that_fan_out_are_entered_once() {
        let folder = tempfile::tempdir().expect("a folder");
        // Two links in each to the next: 2^40 ways to the last.
        for depth in 0..40 {
            let here = folder.path().join(format!(".{depth}"));
            fs::create_dir(&here).expect("a folder");
            fs::write(here.join("file"), "x").expect("written");
            for link in ["a", "b"] {
                symlink(format!("../.{}", depth + 1), here.join(link)).expect("a link");
            }
        }
        symlink(".0", folder.path().join("first")).expect("a link");
        let found = found(folder.path(), HOW);
        let count = |wanted: fn(&Option<Skip>) -> bool| found.iter().filter(|(_, skipped)| wanted(skipped)).count();
        assert_eq!(count(|skipped| matches!(skipped, Some(Skip::Again(_)))), 39);
        // Forty files, and two links of the last folder that lead to nothing.
        assert_eq!(count(Option::is_none), 42);
    }

    #[test]
    fn there_are_as_many_files_as_there_is_room_for() {
        let folder = tempfile::tempdir().expect("a folder");
        for number in 0..30 {
            fs::write(folder.path().join(format!("{number:02}")), "").expect("written");
        }
        let found = found(folder.path(), Walk { room: 10 * cost("00"), ..HOW });
        assert_eq!(found.len(), 11);
        assert_eq!(found.iter().filter(|(_, skipped)| *skipped == Some(Skip::Beyond(19))).count(), 1);
    }

    #[test]
    fn an_unreadable_folder_costs_itself() {
        use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("capture"), "x").expect("written");
        // Deeper than a path may be long.
        let name = "d".repeat(200);
        let mut here = openat(CWD, folder.path(), OFlags::DIRECTORY, Mode::empty()).expect("opened");
        for _ in 0..30 {
            mkdirat(&here, name.as_str(), Mode::RWXU).expect("made");
            here = openat(&here, name.as_str(), OFlags::DIRECTORY, Mode::empty()).expect("opened");
        }
        let found = found(folder.path(), Walk { room: 1 << 20, ..HOW });
        assert!(
            matches!(found.as_slice(), [(one, None), (deep, Some(Skip::Unreadable(_)))]
            if one == "capture" && deep.len() > 3000),
            "{found:?}"
        );
    }
}
