//! A file that is read as a whole, up to a length: a manifest, notes, a catalogue.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// The bytes of a file, `most` at most: `/dev/zero` has more, and so has what grows while it is read.
///
/// # Errors
/// A file that cannot be read, or is longer.
pub fn whole(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(ErrorKind::FileTooLarge, format!("longer than {most} bytes")));
    }
    Ok(bytes)
}

/// The same as text.
///
/// # Errors
/// As [`whole`], or bytes that are no UTF-8.
pub fn whole_text(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(whole(path, most)?).map_err(|error| io::Error::new(ErrorKind::InvalidData, error.utf8_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_is_allowed_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x");
        std::fs::write(&path, "12345").expect("written");
        assert_eq!(whole_text(&path, 5).expect("text"), "12345");
        assert_eq!(whole(&path, 4).expect_err("too long").kind(), ErrorKind::FileTooLarge);
        std::fs::write(&path, [0xff]).expect("written");
        assert_eq!(whole_text(&path, 4).expect_err("no text").kind(), ErrorKind::InvalidData);
        assert_eq!(whole(Path::new("/dev/zero"), 1 << 16).expect_err("endless").kind(), ErrorKind::FileTooLarge);
    }
}
