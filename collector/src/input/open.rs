//! The one way in which a path is opened.
//!
//! What lies in a capture was put there by others: a FIFO that nobody writes to, a device without an end, a file that grows while it
//! is read. A file is what it was when it was opened; anything else is an error that names what is there. What a person types may be a
//! pipe too (`<(kubectl logs …)`), which is waited for only a little where nobody holds its other end.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Seek};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;

/// How often a pipe that was given by name is asked whether somebody writes to it, and how long an answer is waited for: five seconds in
/// all.
const LOOKS: usize = 50;
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// What lies at a path, for a sentence.
pub fn what_is(found: &Metadata) -> &'static str {
    let kind = found.file_type();
    if kind.is_file() {
        "a file"
    } else if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_symlink() {
        "a link"
    } else {
        "a device"
    }
}

fn expect(found: &Metadata, wanted: &str, fits: bool) -> io::Result<()> {
    let what = what_is(found);
    if fits {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, format!("expected {wanted}, found {what}")))
    }
}

/// Opening a FIFO must not wait for whoever writes to it, and a terminal must not become that of the process.
fn opening() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32);
    options
}

/// Opens a regular file, and nothing else.
///
/// # Errors
/// As the file system's; anything else that lies there, by name.
pub fn regular(path: &Path) -> io::Result<(File, Metadata)> {
    let wanted = |found: &Metadata| expect(found, "a file", found.is_file());
    // Merely opening a device may do something; and once it is open it may be another thing than it was.
    wanted(&std::fs::metadata(path)?)?;
    let file = opening().open(path)?;
    let found = file.metadata()?;
    wanted(&found)?;
    Ok((file, found))
}

/// What a path gave to read.
pub struct Source {
    /// Its bytes: of a file those that it had when it was opened.
    pub reader: Box<dyn Read + Send>,
    /// How many bytes of it take up room on the disk: fewer than it has where it is sparse. Nothing for a pipe.
    pub stored: Option<u64>,
    /// Set when a file turned out to be longer than it was when it was opened.
    pub grew: Arc<AtomicBool>,
}

/// Opens what was named: a regular file, a pipe, or standard input (`-`).
///
/// # Errors
/// As the file system's; a folder, a socket or a device; a pipe that nobody writes to.
pub fn source(path: &Path) -> io::Result<Source> {
    let grew = Arc::new(AtomicBool::new(false));
    if path.as_os_str() == "-" {
        return Ok(Source { reader: Box::new(io::stdin()), stored: None, grew });
    }
    let found = std::fs::metadata(path)?;
    expect(&found, "a file or a pipe", found.is_file() || found.file_type().is_fifo())?;
    if !found.is_file() {
        return Ok(Source { reader: pipe(path, LOOKS)?, stored: None, grew });
    }
    let (file, found) = regular(path)?;
    let size = found.len();
    let stored = Some(stored(&file, &found)?);
    let reader = Box::new(AtOpening { file, size, left: size, grew: Arc::clone(&grew) });
    Ok(Source { reader, stored, grew })
}

/// How many bytes of a file take up room.
fn stored(mut file: &File, found: &Metadata) -> io::Result<u64> {
    let (size, stored) = (found.len(), found.blocks().saturating_mul(512));
    if stored >= size {
        return Ok(size);
    }
    // Some file systems count no blocks, or compress them: only a hole tells that a file is sparse.
    let hole = rustix::fs::seek(file, rustix::fs::SeekFrom::Hole(0)).unwrap_or(size);
    file.rewind()?;
    Ok(if hole < size { stored } else { size })
}

/// A pipe that somebody writes to.
fn pipe(path: &Path, looks: usize) -> io::Result<Box<dyn Read + Send>> {
    let file = opening().open(path)?;
    let mut first = [0];
    for _ in 0..looks {
        // Something to read, or an end, which only a pipe has that somebody wrote to.
        let ready = poll(&mut [PollFd::new(&file, PollFlags::IN)], Some(&LOOK))? > 0;
        let held = match (&file).read(&mut first) {
            Ok(0) => ready,
            Ok(_) => {
                blocking(&file)?;
                return Ok(Box::new(io::Cursor::new(first).chain(file)));
            }
            Err(error) => match error.kind() {
                // Whoever holds the other end has not written yet.
                io::ErrorKind::WouldBlock => true,
                io::ErrorKind::Interrupted => false,
                _ => return Err(error),
            },
        };
        if held {
            blocking(&file)?;
            return Ok(Box::new(file));
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "expected a pipe that a program writes to, found one that none does"))
}

fn blocking(file: &File) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(file)?;
    Ok(rustix::fs::fcntl_setfl(file, flags - OFlags::NONBLOCK)?)
}

/// A file as it was when it was opened.
struct AtOpening {
    file: File,
    size: u64,
    left: u64,
    grew: Arc<AtomicBool>,
}

impl Read for AtOpening {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.left == 0 {
            if self.file.metadata().is_ok_and(|now| now.len() > self.size) {
                self.grew.store(true, Ordering::Relaxed);
            }
            return Ok(0);
        }
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.file.read(&mut buffer[..most])?;
        if count == 0 {
            let read = self.size - std::mem::take(&mut self.left);
            let what = format!("expected the {} bytes that it had when it was opened, found {read}", self.size);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
        }
        self.left -= count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn said<T>(result: io::Result<T>) -> String {
        result.err().map(|error| error.to_string()).unwrap_or_default()
    }

    fn fifo(path: &Path) {
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
            .expect("a FIFO");
    }

    #[test]
    fn what_is_no_file_is_named_and_nothing_waits() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fifo(&at("pipe"));
        let _listener = UnixListener::bind(at("socket")).expect("a socket");
        std::os::unix::fs::symlink(at("pipe"), at("link")).expect("a link");
        for (path, what) in [
            (at("pipe"), "a pipe"),
            (at("link"), "a pipe"),
            (at("socket"), "a socket"),
            (folder.path().to_owned(), "a folder"),
            ("/dev/zero".into(), "a device"),
        ] {
            assert_eq!(said(regular(&path)), format!("expected a file, found {what}"), "{}", path.display());
        }
        for path in [at("socket"), "/dev/zero".into(), folder.path().to_owned()] {
            assert!(said(source(&path)).starts_with("expected a file or a pipe, found "), "{}", path.display());
        }
        assert!(said(pipe(&at("pipe"), 2)).contains("found one that none does"));
    }

    #[test]
    fn a_pipe_is_read_from_its_first_byte() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pipe");
        fifo(&path);
        let writing = path.clone();
        let writer = std::thread::spawn(move || std::fs::write(writing, "first and last"));
        let mut text = String::new();
        source(&path).expect("opened").reader.read_to_string(&mut text).expect("read");
        assert_eq!(text, "first and last");
        writer.join().expect("no panic").expect("written");
    }

    #[test]
    fn a_file_is_what_it_was_when_it_was_opened() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        std::fs::write(&path, "one\n").expect("written");
        let mut opened = source(&path).expect("opened");
        let mut more = OpenOptions::new().append(true).open(&path).expect("opened");
        more.write_all(b"two\n").expect("written");
        let mut text = String::new();
        opened.reader.read_to_string(&mut text).expect("read");
        assert_eq!((text.as_str(), opened.grew.load(Ordering::Relaxed)), ("one\n", true));
        let mut opened = source(&path).expect("opened");
        more.set_len(3).expect("cut");
        let cut = said(opened.reader.read_to_string(&mut String::new()));
        assert_eq!(cut, "expected the 8 bytes that it had when it was opened, found 3");
        assert!(!opened.grew.load(Ordering::Relaxed));
    }
}
