//! What tells whether a file is the one that was listed: its SHA-256 and its BLAKE3, in hex.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use blake3::Hasher;
use blake3::hazmat::{ChainingValue, HasherExt, Mode, left_subtree_len, merge_subtrees_root};
use sha2::{Digest, Sha256};

/// Size from which two threads hash a file, bytes: a thread costs as much as a hundred KiB.
const BY_TWO: u64 = 1 << 20;
/// Bytes that are read at once: they stay in the cache of a core.
const AT_ONCE: usize = 128 << 10;

/// SHA-256 of a file.
pub(super) fn sha256(path: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    io::copy(&mut File::open(path)?, &mut hash)?;
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// BLAKE3 of a file. It is a tree: of a large file the two parts below its root are hashed beside each other.
pub(super) fn blake3(path: &Path) -> io::Result<String> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    if length < BY_TWO {
        return Ok(Hasher::new().update_reader(file)?.finalize().to_hex().to_string());
    }
    let middle = left_subtree_len(length);
    let (left, right) = std::thread::scope(|scope| {
        let right = scope.spawn(|| part(&file, middle, length));
        (part(&file, 0, middle), right.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    Ok(merge_subtrees_root(&left?, &right?, Mode::Hash).to_hex().to_string())
}

/// What a part of a file comes to, which is a subtree: it begins at 0 or at a power of two, and ends there or with the file.
fn part(file: &File, begin: u64, end: u64) -> io::Result<ChainingValue> {
    let mut hash = Hasher::new();
    hash.set_input_offset(begin);
    let (mut at, mut bytes) = (begin, vec![0; AT_ONCE]);
    while at < end {
        let due = usize::try_from(end - at).map_or(AT_ONCE, |rest| rest.min(AT_ONCE));
        file.read_exact_at(&mut bytes[..due], at)?;
        hash.update(&bytes[..due]);
        at += due as u64;
    }
    Ok(hash.finalize_non_root())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_threads_find_what_one_does() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x");
        for length in [0, 1, BY_TWO - 1, BY_TWO, BY_TWO + 1, (2 << 20) + 1024, (3 << 20) + 5, 4 << 20] {
            let mut bytes: Vec<u8> = (0..length).map(|at| (at * at / 251) as u8).collect();
            std::fs::write(&path, &bytes).expect("written");
            let whole = blake3(&path).expect("hashed");
            assert_eq!(whole, blake3::hash(&bytes).to_hex().to_string(), "{length} bytes");
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
                std::fs::write(&path, &bytes).expect("written");
                assert_ne!(blake3(&path).expect("hashed"), whole, "{length} bytes, the last one changed");
            }
        }
    }
}
