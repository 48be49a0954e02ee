//! The same content under two paths is one source: `containers/kube-proxy.log` and `pods/…/0.log` are one log.
//!
//! Only files of equal size are compared, by their hash, and only content that brings its own times is one source: two equal listings
//! that were read at two moments are two observations.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Read};

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

fn hash(entry: &Entry) -> io::Result<[u8; 32]> {
    let file = File::open(&entry.file)?;
    let size = file.metadata()?.len();
    let mut hash = Sha256::new();
    // A file that grows meanwhile is hashed as far as it was when it was opened.
    io::copy(&mut file.take(size), &mut hash)?;
    Ok(hash.finalize().into())
}
