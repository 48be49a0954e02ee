//! The same content under two paths is one source: `containers/kube-proxy.log`, `pods/…/0.log` and `kube-proxy.log.gz` are one log.
//!
//! What is about to be read is compared with what was read before it, on disk and in archives alike, by size first and then by hash;
//! and only content that brings its own times is one source: two equal listings that were read at two moments are two observations.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::input::{self, Digested, Limits};

/// Files that were read: their sizes, hashes (hex) and paths; a compressed one as it lies there and as what it holds.
#[derive(Default)]
pub struct Known(Mutex<HashMap<u64, Vec<(String, String)>>>);

/// An earlier file with the same content, and what the later one was digested to.
pub struct Twin {
    pub first: String,
    pub digest: (String, u64),
}

impl Known {
    /// Notes a file that was read to its end.
    pub fn add(&self, digest: &Digested, path: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (hash, size) in [Some(digest.finish()), digest.content()].into_iter().flatten().filter(|one| one.1 > 0) {
            known.entry(size).or_default().push((hash, path.to_owned()));
        }
    }

    /// Whether a file of that many bytes, or one that holds so many, was read.
    pub fn has_size(&self, size: u64) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&size)
    }

    /// The first file with the content of this one, which is read where its size alone permits one.
    ///
    /// # Errors
    /// As the file's own; a damaged stream has the content that comes ahead of the damage.
    pub fn twin(&self, path: &Path, limits: &Limits) -> io::Result<Option<Twin>> {
        let (mut file, found) = input::regular(path)?;
        let stated = input::stated_size(&mut file)?;
        if !self.has_size(found.len()) && !stated.is_some_and(|size| self.has_size(size)) {
            return Ok(None);
        }
        let (mut reader, digest) = input::open(path, limits)?;
        let _ = io::copy(&mut reader, &mut io::sink());
        drop(reader);
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = [Some(digest.finish()), digest.content()].into_iter().flatten().find_map(|(hash, size)| {
            known.get(&size)?.iter().find(|(other, _)| *other == hash).map(|(_, path)| path.clone())
        });
        Ok(first.map(|first| Twin { first, digest: digest.finish() }))
    }
}
