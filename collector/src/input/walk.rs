//! Which files there are: arguments, folders below them, sorted by path, where `snap-2` stands ahead of `snap-10`.

use std::cmp::Ordering;
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
    /// Whether what was read of it is gone from it: standard input, a pipe as of `<(kubectl logs …)`.
    pub once: bool,
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
            entries.push(Entry { file: argument.clone(), path: "-".to_owned(), skipped: false, once: true });
            continue;
        }
        let kind = fs::metadata(argument).map_err(named)?;
        if kind.is_dir() {
            let mut found = Vec::new();
            descend(argument, "", &mut Vec::new(), &mut found).map_err(named)?;
            found.sort_by(|a: &Entry, b| natural(&a.path, &b.path));
            entries.append(&mut found);
        } else {
            let name = argument.file_name().map_or_else(|| argument.to_string_lossy(), |name| name.to_string_lossy());
            let once = !kind.is_file();
            entries.push(Entry { file: argument.clone(), path: name.into_owned(), skipped: false, once });
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
        found.push(Entry { file: entry.path(), path, skipped, once: false });
    }
    above.pop();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::natural;

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
}
