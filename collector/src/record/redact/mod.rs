//! `--redact`: names of namespaces, pods, nodes, Services and workloads, and IP addresses, replaced consistently in all files of a capture.
//!
//! Two passes: the first collects names ([`names`]), the second writes each file anew beside itself and renames it, so
//! that a file is redacted or as it was, never in between. The bundle of a redacted capture gives the same figures: times, counters,
//! hashes of rules, uids and versions stay, equal things stay equal, subnets stay subnets.
//!
//! What stays on purpose: uids, ports, versions, messages of programs, names of containers' images, and what `words` lists. The key
//! is of one process, and never written: replicates fit together. Recorders of several nodes fit together where all are given the same
//! secret in the variable [`KEY_VARIABLE`].

mod addresses;
mod maps;
mod names;
mod replace;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::Context as _;

pub use addresses::Key;
use replace::Table;

/// Longest line, or document, that is held in memory.
const LONGEST: usize = 256 << 20;
/// Longest document over several lines that names are looked for in.
const LONGEST_DOCUMENT: usize = 64 << 20;

/// Any secret text, for captures of several recorders that are to be reported together.
pub const KEY_VARIABLE: &str = "SYNCLINE_REDACT_KEY";

/// The key of this process: of [`KEY_VARIABLE`], else of random bytes.
///
/// # Errors
/// The system gives no random bytes.
pub fn key() -> io::Result<Key> {
    static KEY: OnceLock<Key> = OnceLock::new();
    if let Some(key) = KEY.get() {
        return Ok(key.clone());
    }
    let key = match std::env::var_os(KEY_VARIABLE).filter(|text| !text.is_empty()) {
        Some(text) => Key::of(text.as_encoded_bytes()),
        None => {
            let mut bytes = [0; 32];
            File::open("/dev/urandom")?.read_exact(&mut bytes)?;
            Key::of(&bytes)
        }
    };
    Ok(KEY.get_or_init(|| key).clone())
}

/// What was done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Redacted {
    /// How many files were written anew.
    pub files: usize,
    /// How many names were replaced.
    pub names: usize,
    /// Names that stay because they are words of the formats: replacing them would break lines that do not mean them.
    pub kept: Vec<String>,
}

/// Redacts all files below `folder`, in place. `further` are names to replace whether or not a file tells what they are.
///
/// # Errors
/// A file that cannot be read or written, or with a line too long to hold; what was redacted so far stays so.
pub fn folder(folder: &Path, key: &Key, further: &[String]) -> anyhow::Result<Redacted> {
    let mut files = Vec::new();
    walk(folder, &mut files).with_context(|| folder.display().to_string())?;
    files.sort();
    let mut found: BTreeSet<String> = further.iter().filter(|name| names::is_name(name)).cloned().collect();
    for path in &files {
        collect(path, &mut found).with_context(|| path.display().to_string())?;
    }
    let (table, kept) = table(key, &found);
    let mut renamed = BTreeMap::new();
    for path in &files {
        rewrite(path, &table).with_context(|| path.display().to_string())?;
        let inner = path.strip_prefix(folder).unwrap_or(path);
        let mut new = Vec::new();
        if table.line(inner.as_os_str().as_encoded_bytes(), &mut new) {
            let new = String::from_utf8(new).context("a file's name is no UTF-8")?;
            renamed.insert(path.clone(), folder.join(new));
        }
    }
    for (old, new) in &renamed {
        if let Some(parent) = new.parent() {
            std::fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        }
        std::fs::rename(old, new).with_context(|| new.display().to_string())?;
        // A folder that is empty now was named after something.
        if let Some(parent) = old.parent().filter(|parent| *parent != folder) {
            let _ = std::fs::remove_dir(parent);
        }
    }
    Ok(Redacted { files: files.len(), names: table.len(), kept })
}

/// The table of the names found, and those that stay.
fn table(key: &Key, found: &BTreeSet<String>) -> (Table, Vec<String>) {
    let known = |name: &str| found.contains(name) && !words::is_systems(name, |_| false);
    let (mut new, mut kept) = (Vec::new(), Vec::new());
    for name in found {
        if words::is_systems(name, known) {
            continue;
        }
        if words::is_formats(name) {
            kept.push(name.clone());
        } else if !begins_with_another(name, found) {
            new.push(name.as_str());
        }
    }
    (Table::new(key.clone(), new.into_iter(), words::systems()), kept)
}

/// Whether a name is another one with letters that a controller gave behind it: then the other's new name stands in it, and a pod
/// is still seen to be of its ReplicaSet.
fn begins_with_another(name: &str, found: &BTreeSet<String>) -> bool {
    let mut rest = name;
    for _ in 0..2 {
        let Some((base, suffix)) = rest.rsplit_once('-') else { return false };
        let given = |byte: u8| byte.is_ascii_digit() || b"bcdfghjklmnpqrstvwxz".contains(&byte);
        if suffix.is_empty() || suffix.len() > 10 || !suffix.bytes().all(given) {
            return false;
        }
        if found.contains(base) && !words::is_formats(base) {
            return true;
        }
        rest = base;
    }
    false
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// How a file is packed, by its first bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Packed {
    Plain,
    Gzip,
    Zstd,
}

fn open(path: &Path) -> io::Result<(Box<dyn BufRead>, Packed)> {
    let mut reader = BufReader::with_capacity(1 << 16, File::open(path)?);
    let head = reader.fill_buf()?;
    if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let decoder = zstd::stream::read::Decoder::with_buffer(reader)?;
        return Ok((Box::new(BufReader::with_capacity(1 << 16, decoder)), Packed::Zstd));
    }
    if head.starts_with(&[0x1f, 0x8b]) {
        let decoder = flate2::bufread::MultiGzDecoder::new(reader);
        return Ok((Box::new(BufReader::with_capacity(1 << 16, decoder)), Packed::Gzip));
    }
    Ok((Box::new(reader), Packed::Plain))
}

/// Calls `each` with every line; a file whose end is cut off in the middle of a compressed frame ends there.
fn lines(reader: &mut dyn BufRead, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = Read::take(&mut *reader, LONGEST as u64).read_until(b'\n', &mut line);
        let cut_off = match read {
            Ok(_) => false,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => true,
            Err(error) => return Err(error),
        };
        if line.len() >= LONGEST {
            return Err(io::Error::other(format!("a line of more than {LONGEST} bytes")));
        }
        if !line.is_empty() {
            each(&line)?;
        }
        if cut_off || line.last() != Some(&b'\n') {
            return Ok(());
        }
    }
}

/// Adds the names that a file holds.
fn collect(path: &Path, found: &mut BTreeSet<String>) -> io::Result<()> {
    let (mut reader, _) = open(path)?;
    // A document over several lines, as far as it goes: from a line that opens it up to the next stamp.
    let mut document: Vec<u8> = Vec::new();
    lines(&mut *reader, |line| {
        let start = line.trim_ascii_start();
        let stamp = line.starts_with(b"# TIMESTAMP ");
        if !document.is_empty() && stamp {
            names::of_json(&document, found);
            document.clear();
        }
        if document.is_empty() {
            let opens = start.starts_with(b"{") || start.starts_with(b"[");
            if opens && !names::of_json(line, found) {
                document.extend_from_slice(line);
            }
        } else if document.len() + line.len() < LONGEST_DOCUMENT {
            document.extend_from_slice(line);
        }
        names::of_line(line, found);
        Ok(())
    })?;
    if !document.is_empty() {
        names::of_json(&document, found);
    }
    Ok(())
}

/// Writes a file anew, packed as it was.
fn rewrite(path: &Path, table: &Table) -> anyhow::Result<()> {
    let (mut reader, packed) = open(path)?;
    let folder = path.parent().context("a file lies in a folder")?;
    let mut file = tempfile::Builder::new().prefix(".redact-").tempfile_in(folder)?;
    {
        let plain = BufWriter::with_capacity(1 << 16, file.as_file_mut());
        let write = |out: &mut dyn Write, reader: &mut dyn BufRead| {
            let mut new = Vec::new();
            lines(reader, |line| {
                new.clear();
                table.line(line, &mut new);
                out.write_all(&new)
            })
        };
        match packed {
            Packed::Plain => {
                let mut out = plain;
                write(&mut out, &mut *reader)?;
                out.flush()?;
            }
            Packed::Gzip => {
                let mut out = flate2::write::GzEncoder::new(plain, flate2::Compression::default());
                write(&mut out, &mut *reader)?;
                out.finish()?.flush()?;
            }
            Packed::Zstd => {
                let mut out = zstd::stream::write::Encoder::new(plain, 3)?;
                write(&mut out, &mut *reader)?;
                out.finish()?.flush()?;
            }
        }
    }
    // The time of a file may be the only one that its content has.
    let modified = std::fs::metadata(path)?;
    file.as_file().set_permissions(modified.permissions())?;
    file.as_file().set_modified(modified.modified()?)?;
    file.persist(path)?;
    Ok(())
}
