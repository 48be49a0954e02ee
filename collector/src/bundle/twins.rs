//! The same content under two paths is one source: `containers/kube-proxy.log` and `pods/…/0.log` are one log.
//!
//! Only files of equal size are compared, by their hash, and only content that brings its own times is one source: two equal listings
//! that were read at two moments are two observations. Files on disk are compared ahead; what stands in an archive, with what was read
//! before it.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

use crate::input::Entry;

/// For each entry the earlier one with the same content.
pub fn of(entries: &[Entry]) -> HashMap<usize, usize> {
    let mut by_size: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (at, entry) in entries.iter().enumerate() {
        let meta = fs::metadata(&entry.file).ok().filter(|meta| meta.is_file() && meta.len() > 0);
        if let Some(meta) = meta.filter(|_| !entry.skipped && entry.path != "-") {
            by_size.entry(meta.len()).or_default().push(at);
        }
    }
    let mut twins = HashMap::new();
    for same in by_size.into_values().filter(|same| same.len() > 1) {
        let mut known: HashMap<[u8; 32], usize> = HashMap::new();
        for at in same {
            let Ok(hash) = hash(&entries[at]) else { continue };
            match known.get(&hash) {
                Some(first) => {
                    twins.insert(at, *first);
                }
                None => {
                    known.insert(hash, at);
                }
            }
        }
    }
    twins
}

/// Files that were read: their sizes, hashes (hex) and paths.
#[derive(Default)]
pub struct Known(Mutex<HashMap<u64, Vec<(String, String)>>>);

impl Known {
    /// Notes a file by what it was digested to.
    pub fn add(&self, (hash, size): (String, u64), path: &str) {
        if size > 0 {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            known.entry(size).or_default().push((hash, path.to_owned()));
        }
    }

    /// Whether a file of that many bytes was read.
    pub fn has_size(&self, size: u64) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&size)
    }

    /// Path of the first file with that content.
    pub fn first(&self, digest: &(String, u64)) -> Option<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = known.get(&digest.1)?;
        same.iter().find(|(hash, _)| *hash == digest.0).map(|(_, path)| path.clone())
    }
}

fn hash(entry: &Entry) -> io::Result<[u8; 32]> {
    let file = File::open(&entry.file)?;
    let size = file.metadata()?.len();
    let mut hash = Sha256::new();
    // A file that grows meanwhile is hashed as far as it was when it was opened.
    io::copy(&mut file.take(size), &mut hash)?;
    Ok(hash.finalize().into())
}
