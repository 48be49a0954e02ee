//! Folders that are whole or absent: made under a name of their own, and given the final one at the end.
//!
//! ```text
//! .run.lock              held while somebody writes `run`: of two, one begins and the other is told
//! .run.partial-a1B2c3    what is being made; its folder is locked, so that one whose process ended is known as such
//! run                    exchanged in one step with what stood there, where the file system can (renameat2)
//! ```
//!
//! A process that is killed leaves its folder behind: whoever writes beside it next removes it. Locks are those of `flock`; where a file
//! system has none, nothing of others is removed, and two writers of one name are told apart when the second gives it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

/// A folder that is removed when it is dropped, or by the next [`Scratch::new`] beside it where the process is killed.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _lock: File,
}

/// Goes at a new folder, each of which another process may take for one that was left behind.
const GOES: usize = 64;

impl Scratch {
    /// An empty folder in `parent` that nobody else may read, whose name begins with `prefix`. Others of that prefix whose process has
    /// ended are removed.
    ///
    /// # Errors
    /// A parent that is absent or cannot be written to.
    pub fn new(parent: &Path, prefix: &str) -> io::Result<Self> {
        Self::with_mode(parent, prefix, 0o700)
    }

    fn with_mode(parent: &Path, prefix: &str, mode: u32) -> io::Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        sweep(parent, prefix);
        for _ in 0..GOES {
            let mut builder = tempfile::Builder::new();
            let path = builder.prefix(prefix).permissions(fs::Permissions::from_mode(mode)).tempdir_in(parent)?.keep();
            // Somebody may have swept it between its making and its lock.
            let lock = match File::open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened?,
            };
            match lock.try_lock() {
                Ok(()) if !path.is_dir() => continue,
                Ok(()) | Err(TryLockError::Error(_)) => return Ok(Self { path, _lock: lock }),
                Err(TryLockError::WouldBlock) => continue,
            }
        }
        Err(io::Error::other("expected a folder of its own: another process removes each"))
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes the folders of processes that have ended.
fn sweep(parent: &Path, prefix: &str) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let is_one = entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix));
        if !is_one || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if let Ok(folder) = File::open(entry.path())
            && folder.try_lock().is_ok()
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The claim to write a folder under its final name.
#[derive(Debug)]
pub struct Claim {
    out: PathBuf,
    scratch: Scratch,
    lock: Option<(File, PathBuf)>,
}

impl Claim {
    /// Claims a name, and makes the folder that will get it.
    ///
    /// # Errors
    /// [`io::ErrorKind::ResourceBusy`] where another process writes it; a parent that cannot be written to.
    pub fn new(out: &Path) -> io::Result<Self> {
        let name = out.file_name().map_or_else(|| "out".into(), |name| name.to_string_lossy());
        let parent = parent(out);
        fs::create_dir_all(parent)?;
        let lock = lock(&parent.join(format!(".{name}.lock")))?;
        // As readable as any folder that is made here.
        let scratch = Scratch::with_mode(parent, &format!(".{name}.partial-"), 0o777)?;
        Ok(Self { out: out.to_owned(), scratch, lock })
    }

    /// The folder to fill.
    pub fn path(&self) -> &Path {
        self.scratch.path()
    }

    /// Gives the folder its final name. What stood there is replaced in one step, or the reason why not.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] where the name came to be used and `replace` is not said; the disk.
    pub fn commit(self, replace: bool) -> io::Result<()> {
        let Self { out, scratch, .. } = &self;
        File::open(scratch.path())?.sync_all()?;
        match renameat_with(CWD, scratch.path(), CWD, out, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && replace => exchange(scratch.path(), out)?,
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                // A file system without the flags, where the name is looked at first.
                if out.symlink_metadata().is_err() {
                    fs::rename(scratch.path(), out)?;
                } else if replace {
                    exchange(scratch.path(), out)?;
                } else {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
            }
            Err(error) => return Err(error.into()),
        }
        // Some file systems cannot sync a folder: it is in place all the same.
        let _ = File::open(parent(out)).and_then(|folder| folder.sync_all());
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some((_, path)) = &self.lock {
            let _ = fs::remove_file(path);
        }
    }
}

/// Lets two folders change places; the old one then lies where the new one was made, and goes with it.
fn exchange(made: &Path, out: &Path) -> io::Result<()> {
    match renameat_with(CWD, made, CWD, out, RenameFlags::EXCHANGE) {
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {}
        done => return Ok(done?),
    }
    let aside = made.with_extension("replaced");
    fs::rename(out, &aside)?;
    if let Err(error) = fs::rename(made, out) {
        fs::rename(&aside, out)?;
        return Err(error);
    }
    fs::rename(aside, made)
}

/// Takes the lock of a name; nothing where the file system has no locks.
fn lock(path: &Path) -> io::Result<Option<(File, PathBuf)>> {
    loop {
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::ResourceBusy.into()),
            Err(TryLockError::Error(_)) => return Ok(None),
        }
        // Whoever held it before may have removed it between the opening and the lock.
        if is_same(&file, path) {
            return Ok(Some((file, path.to_owned())));
        }
    }
}

fn is_same(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let place = |meta: io::Result<fs::Metadata>| meta.ok().map(|meta| (meta.dev(), meta.ino()));
    place(file.metadata()).is_some_and(|own| place(fs::metadata(path)) == Some(own))
}

fn parent(out: &Path) -> &Path {
    out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::ErrorKind;
    use std::path::Path;

    use super::{Claim, Scratch};

    #[test]
    fn many_that_begin_at_once_do_not_take_each_others_folders() {
        let folder = tempfile::tempdir().expect("a folder");
        let begin = || {
            for _ in 0..50 {
                let own = Scratch::new(folder.path(), ".many-").expect("a folder of its own");
                fs::write(own.path().join("file"), "x").expect("written");
                assert_eq!(fs::read_dir(own.path()).expect("listed").count(), 1);
            }
        };
        std::thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(begin))));
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 0);
    }

    fn made(out: &Path, text: &str) -> Claim {
        let claim = Claim::new(out).expect("claimed");
        fs::write(claim.path().join("file"), text).expect("written");
        claim
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder");
        let mut found: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        found.sort();
        found
    }

    #[test]
    fn a_folder_is_whole_or_absent_and_its_name_has_one_writer() {
        let parent = tempfile::tempdir().expect("a folder");
        let out = parent.path().join("run");
        let claim = made(&out, "one");
        assert_eq!(Claim::new(&out).expect_err("claimed").kind(), ErrorKind::ResourceBusy);
        assert!(!out.exists());
        claim.commit(false).expect("committed");
        assert_eq!(names(parent.path()), ["run"]);
        // Somebody else gave the name meanwhile.
        let late = made(&out, "two");
        assert_eq!(late.commit(false).expect_err("there").kind(), ErrorKind::AlreadyExists);
        assert_eq!(
            (names(parent.path()), fs::read_to_string(out.join("file")).expect("text")),
            (vec!["run".into()], "one".into())
        );
        made(&out, "three").commit(true).expect("replaced");
        assert_eq!(
            (names(parent.path()), fs::read_to_string(out.join("file")).expect("text")),
            (vec!["run".into()], "three".into())
        );
        drop(made(&out, "four"));
        assert_eq!(names(parent.path()), ["run"]);
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_another_makes_is_not() {
        let parent = tempfile::tempdir().expect("a folder");
        let left = parent.path().join(".run.partial-left");
        fs::create_dir(&left).expect("a folder");
        fs::write(left.join("file"), "half").expect("written");
        fs::write(parent.path().join(".run.lock"), "").expect("a lock that nobody holds");
        let other = Scratch::new(parent.path(), ".run.partial-").expect("a folder");
        assert!(!left.exists());
        let claim = made(&parent.path().join("run"), "one");
        assert!(other.path().is_dir());
        claim.commit(false).expect("committed");
        drop(other);
        assert_eq!(names(parent.path()), ["run"]);
    }
}
