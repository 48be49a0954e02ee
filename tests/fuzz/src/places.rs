//! Folders for the targets that need files: in memory where the machine has such a file system.

use std::path::Path;

use tempfile::TempDir;

/// A folder that is removed when it is dropped.
///
/// # Panics
/// Where no folder can be made: nothing can be tried then.
pub fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a temporary folder")
}

/// Writes a file, and the folders above it.
///
/// # Panics
/// Where the file cannot be written.
pub fn write(path: &Path, bytes: &[u8]) {
    if let Some(above) = path.parent() {
        std::fs::create_dir_all(above).expect("a folder");
    }
    std::fs::write(path, bytes).expect("a file");
}
