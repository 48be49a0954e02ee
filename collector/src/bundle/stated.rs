//! Which `capture.toml` counts for a run: the one among its files, or, where there is none, the one in its archives.
//!
//! Archives are looked through for it ahead of reading them, since what it says holds for every file of the run, and it may stand anywhere in
//! them. Of a zip that takes a look at its table of contents; of a tar, all that stands ahead of it: so far, and no further, tars
//! are read twice.

use std::io::{self, Read};

use super::capture_toml::{Statements, is_one, parse};
use super::options::BundleError;
use super::rules::plain_path;
use crate::input::archive::{self, Member, What};
use crate::input::{self, Entry, Limits};

/// Longest text that is taken for one.
const TEXT: u64 = 1 << 20;
/// Bytes of all tars together that are looked through, unpacked: some seconds.
pub const LOOK: u64 = 1 << 30;

/// One that was found.
struct Found {
    /// Where, for people: the file, and what stands in it if that is an archive.
    shown: String,
    /// Path of the source.
    path: String,
    text: io::Result<Vec<u8>>,
}

/// Reads the `capture.toml` among the entries, or, where there is none, in the archives among them. Of tars `look` bytes are read for
/// it.
///
/// # Errors
/// Several, which contradict each other.
pub fn find(entries: &[Entry], limits: &Limits, mut look: u64) -> Result<Statements, BundleError> {
    let mut found = Vec::new();
    // What is not read, or cannot be, is told when it is its turn.
    let readable = || entries.iter().filter(|entry| entry.skipped.is_none());
    for entry in readable().filter(|entry| is_one(&entry.path)).take(2) {
        if let Ok((mut reader, _)) = input::open(&entry.file, limits) {
            let (path, text) = (plain_path(&entry.path), text_of(&mut reader));
            found.push(Found { shown: entry.file.display().to_string(), path, text });
        }
    }
    if found.is_empty() {
        // What is unpacked here is unpacked again, and counts then.
        let limits = Limits { pool: Default::default(), ..limits.clone() };
        for entry in readable().filter(|entry| !entry.once) {
            let _ = in_archive(entry, entries.len() == 1, &limits, &mut look, &mut found);
        }
    }
    let [one] = found.as_slice() else {
        return match found.as_slice() {
            [first, second, ..] => Err(BundleError::Usage(format!(
                "{} and {}: one run has one capture.toml; bundle runs one by one",
                first.shown, second.shown
            ))),
            _ => Ok(Statements::default()),
        };
    };
    let mut statements = match &one.text {
        Ok(text) => parse(text),
        Err(error) => Statements { refused: vec![(0, error.to_string())], ..Statements::default() },
    };
    (statements.path, statements.shown) = (Some(one.path.clone()), one.shown.clone());
    // Globs are relative to the folder that it stands in.
    let folder = globset::escape(one.path.strip_suffix("capture.toml").unwrap_or_default());
    for rule in &mut statements.sources {
        rule.glob = format!("{folder}{}", rule.glob);
    }
    Ok(statements)
}

/// Why a `capture.toml` does not count.
pub fn why_not(statements: &Statements) -> String {
    match &statements.path {
        Some(path) => format!("not used: {path} is the one of this run"),
        None => format!(
            "not used: in archives it is looked for ahead of reading them, in packed ones only where nothing else is given, and in the first {LOOK} bytes of tars"
        ),
    }
}

fn text_of(reader: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    reader.take(TEXT + 1).read_to_end(&mut text)?;
    if text.len() as u64 > TEXT {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("expected at most {TEXT} bytes")));
    }
    Ok(text)
}

/// Those of an archive. A compressed tar is looked through only where it is `alone`: a capture may have many.
fn in_archive(entry: &Entry, alone: bool, limits: &Limits, look: &mut u64, found: &mut Vec<Found>) -> io::Result<()> {
    let (mut file, _) = input::regular(&entry.file)?;
    let mut head = Vec::new();
    file.by_ref().take(512).read_to_end(&mut head)?;
    let plain = plain_path(&entry.path);
    let mut each = |member: Member, content: &mut dyn Read| {
        if is_one(&member.name) && matches!(member.what, What::File(_)) {
            let path = plain_path(&format!("{plain}/{}", member.name));
            let shown = format!("{}/{}", entry.file.display(), member.name);
            found.push(Found { shown, path, text: text_of(content) });
        }
        found.len() < 2
    };
    let is_tar = head.get(257..262) == Some(b"ustar");
    // How an archive ends ahead of its end is told when it is its turn.
    if head.starts_with(b"PK\x03\x04") {
        let _ = archive::zip_some(file, &is_one, &mut each);
    } else if is_tar || (alone && input::is_compressed(&head)) {
        let mut reader = input::open(&entry.file, limits)?.0.take(*look);
        let _ = archive::tar(&mut reader, &mut each);
        *look = reader.limit();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::path::Path;

    use super::*;
    use crate::input::Walk;

    const TOML: &str = "node = \"a\"\n[source.\"x*\"]\nclock = \"b\"\n";

    fn header(name: &str, size: usize) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_path(name).expect("a name");
        header.set_size(size as u64);
        header.set_cksum();
        header
    }

    fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, content) in files {
            bytes.extend(header(name, content.len()).as_bytes());
            bytes.extend(*content);
            bytes.resize(bytes.len().next_multiple_of(512), 0);
        }
        bytes.resize(bytes.len() + 1024, 0);
        bytes
    }

    fn zip_of(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut archive = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        for (name, content) in files {
            archive.start_file(*name, zip::write::SimpleFileOptions::default()).expect("begun");
            archive.write_all(content).expect("written");
        }
        archive.finish().expect("closed").into_inner()
    }

    fn statements(file: &Path, look: u64) -> Result<Statements, BundleError> {
        let entries = input::walk(&[file.to_owned()], Walk { follow: false, room: 1 << 20 }).expect("a walk");
        find(&entries, &Limits::new(64 << 20), look)
    }

    #[test]
    fn it_is_found_in_an_archive_and_its_globs_are_of_its_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let files: [(&str, &[u8]); 3] = [("b/x", &[b'x'; 100_000]), ("b/capture.toml", TOML.as_bytes()), ("c", b"y")];
        let packed = zstd::encode_all(&tar_of(&files)[..], 1).expect("packed");
        for (name, bytes) in [("a.tar", tar_of(&files)), ("a.zip", zip_of(&files)), ("a.tar.zst", packed)] {
            let file = folder.path().join(name);
            fs::write(&file, bytes).expect("written");
            let found = statements(&file, LOOK).expect("one");
            let plain = name.trim_end_matches(".zst");
            assert_eq!(found.path, Some(format!("{plain}/b/capture.toml")), "{name}");
            assert_eq!(found.sources[0].glob, format!("{plain}/b/x*"), "{name}");
            // Of a tar it is found where it stands within what is looked through.
            let short = statements(&file, 90_000).expect("one or none");
            assert_eq!(short.path.is_some(), name == "a.zip", "{name}");
        }
        let two: [(&str, &[u8]); 2] = [("a/capture.toml", TOML.as_bytes()), ("capture.toml", b"")];
        for (name, bytes) in [("two.tar", tar_of(&two)), ("two.zip", zip_of(&two))] {
            let file = folder.path().join(name);
            fs::write(&file, bytes).expect("written");
            assert!(matches!(statements(&file, LOOK), Err(BundleError::Usage(_))), "{name}");
        }
    }

    #[test]
    fn of_a_zip_the_table_alone_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.zip");
        let bytes = zip_of(&[("x", &[b'x'; 5000]), ("capture.toml", TOML.as_bytes())]);
        // A header that is none: whoever reads that entry fails.
        fs::write(&file, [b"PK\x03\x04", &[0xff; 26][..], &bytes[30..]].concat()).expect("written");
        assert_eq!(statements(&file, 0).expect("one").node.as_deref(), Some("a"));
    }
}
