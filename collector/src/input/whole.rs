//! A file that is read as a whole, up to a length: a manifest, notes, a catalogue.

use std::io::{self, ErrorKind, Read};
use std::path::Path;

use super::open::source;

/// The bytes of a file, or of a pipe that a person named, `most` at most.
///
/// # Errors
/// What cannot be read, is no file, or is longer.
pub fn whole(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source(path)?.reader.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
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
        let failed = |most| whole_text(&path, most).expect_err("refused").kind();
        std::fs::write(&path, "12345").expect("written");
        assert_eq!(whole_text(&path, 5).expect("text"), "12345");
        assert_eq!([failed(0), failed(4)], [ErrorKind::FileTooLarge; 2]);
        std::fs::write(&path, [0xff]).expect("written");
        assert_eq!(failed(4), ErrorKind::InvalidData);
        // Its end lies eight terabytes away.
        std::fs::File::create(&path).and_then(|file| file.set_len(8 << 40)).expect("a sparse file");
        assert_eq!(failed(1 << 16), ErrorKind::FileTooLarge);
        assert_eq!(whole(Path::new("/dev/zero"), 1 << 16).expect_err("endless").kind(), ErrorKind::InvalidInput);
    }
}
