//! Which files there are: arguments, folders below them, sorted by path.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// One file to read.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Where it lies; `-` is standard input.
    pub file: PathBuf,
    /// Path relative to the argument, with `/`.
    pub path: String,
    /// Listed but not read: hidden, or no file.
    pub skipped: bool,
}

/// Files of all arguments: a folder's files sorted by path; hidden ones are listed, but not read.
///
/// # Errors
/// An argument that does not exist, or a folder that cannot be read.
pub fn walk(arguments: &[PathBuf]) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for argument in arguments {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", argument.display()));
        if argument.as_os_str() == "-" {
            entries.push(Entry { file: argument.clone(), path: "-".to_owned(), skipped: false });
        } else if fs::metadata(argument).map_err(named)?.is_dir() {
            let mut found = Vec::new();
            descend(argument, "", &mut Vec::new(), &mut found).map_err(named)?;
            found.sort_by(|a: &Entry, b| a.path.cmp(&b.path));
            entries.append(&mut found);
        } else {
            let name = argument.file_name().map_or_else(|| argument.to_string_lossy(), |name| name.to_string_lossy());
            entries.push(Entry { file: argument.clone(), path: name.into_owned(), skipped: false });
        }
    }
    Ok(entries)
}

/// A folder that is its own ancestor (by a link) is not entered again; a link to nothing is listed, and cannot be opened
/// later: a loss, not an error.
fn descend(folder: &Path, prefix: &str, above: &mut Vec<PathBuf>, found: &mut Vec<Entry>) -> io::Result<()> {
    let real = fs::canonicalize(folder)?;
    if above.contains(&real) {
        return Ok(());
    }
    above.push(real);
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let hidden = name.starts_with('.');
        let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        let skipped = match fs::metadata(entry.path()) {
            _ if hidden => true,
            Ok(kind) if kind.is_dir() => {
                descend(&entry.path(), &path, above, found)?;
                continue;
            }
            // Opening one may wait for ever.
            Ok(kind) => !kind.is_file(),
            Err(_) => false,
        };
        found.push(Entry { file: entry.path(), path, skipped });
    }
    above.pop();
    Ok(())
}
