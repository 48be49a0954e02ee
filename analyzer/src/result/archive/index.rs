//! `archive.json`: which runs an archive holds, where each was found, and which files hold what it gave.
//!
//! ```text
//! places   /runs/2026-11/a  ─ stamp ─▶ run 3f2a…       where captures lie, and what was there when it was read
//! runs     3f2a…            ─▶ part 7                  what each gave, and by which versions of the measurements
//! parts    7                ─▶ cilium, scale-up        files of one number, a table each
//! pending  what a commit decided and has not done yet  whoever opens the archive next does the rest
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use syncline_collector::input::whole_text;

/// Name of the index in an archive.
pub const INDEX: &str = "archive.json";
/// Version of the layout of an archive.
pub const ARCHIVE_VERSION: u32 = 1;
/// Longest index that is read, bytes: of some hundred thousand runs.
const LONGEST: u64 = 512 << 20;

/// The index.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Index {
    /// [`ARCHIVE_VERSION`] of the writer.
    pub archive_version: u32,
    /// Program that wrote it.
    pub generator: String,
    /// Number of the next part.
    pub next: u64,
    /// Changes that a commit decided; absent when all are made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
    /// By number.
    pub parts: BTreeMap<u64, Part>,
    /// By identity.
    pub runs: BTreeMap<String, Entry>,
    /// By path: absolute, as found.
    pub places: BTreeMap<String, Place>,
}

/// A run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Part that has its rows.
    pub part: u64,
    /// SHA-256 of the manifest of its bundle: what it says of the sources and of the run.
    pub manifest: String,
    /// By what it was measured: versions and questions (SHA-256).
    pub current: String,
}

/// Where captures of a run lie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Path below the root that it was found in.
    pub below: String,
    /// SHA-256 over names, sizes and times of its files when it was read.
    pub stamp: String,
    /// What was there.
    #[serde(flatten)]
    pub held: Held,
}

/// What a place held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Held {
    /// Identity of a run.
    Run(String),
    /// Nothing that could be read, and why.
    Failed(String),
}

/// Files of one number, one of each table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub dataplane: String,
    pub scenario: String,
    /// Bytes of its files.
    pub bytes: u64,
    /// Runs in it.
    pub runs: usize,
}

/// What a commit decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Parts that get their final names.
    pub publish: Vec<u64>,
    /// Parts that go.
    pub remove: BTreeMap<u64, Part>,
}

impl Index {
    /// Reads the index of an archive.
    ///
    /// # Errors
    /// None, one that is no index, or one of a newer version.
    pub fn read(archive: &Path) -> anyhow::Result<Index> {
        let path = archive.join(INDEX);
        let place = || path.display().to_string();
        let text = whole_text(&path, LONGEST).with_context(place)?;
        let index: Index =
            serde_json::from_str(&text).with_context(|| format!("{}: expected the index of an archive", place()))?;
        if index.archive_version > ARCHIVE_VERSION {
            let version = index.archive_version;
            bail!("{}: layout version {version}, this program knows up to {ARCHIVE_VERSION}", place());
        }
        Ok(index)
    }

    /// Writes it in one step.
    ///
    /// # Errors
    /// The disk.
    pub fn write(&self, archive: &Path) -> anyhow::Result<()> {
        let path = archive.join(INDEX);
        let new = archive.join(".archive.new");
        let place = || new.display().to_string();
        let mut file = BufWriter::new(File::create(&new).with_context(place)?);
        serde_json::to_writer(&mut file, self).with_context(place)?;
        file.flush().and_then(|()| file.get_ref().sync_data()).with_context(place)?;
        fs::rename(&new, &path).with_context(|| path.display().to_string())
    }

    /// Places that hold a run, in the order of their paths below the root.
    pub fn places_of(&self) -> BTreeMap<&str, BTreeSet<(&str, &str)>> {
        let mut found: BTreeMap<&str, BTreeSet<(&str, &str)>> = BTreeMap::new();
        for (path, place) in &self.places {
            if let Held::Run(id) = &place.held {
                found.entry(id).or_default().insert((&place.below, path));
            }
        }
        found
    }
}

/// Folder of a partition of a table, as Hive names it.
pub fn partition(archive: &Path, table: &str, dataplane: &str, scenario: &str) -> PathBuf {
    let of = |key: &str, value: &str| format!("{key}={}", escaped(value));
    archive.join(table).join(of("dataplane", dataplane)).join(of("scenario", scenario))
}

/// File of a part.
pub fn file_name(number: u64) -> String {
    format!("part-{number:06}.parquet")
}

/// What it is called until it is published: no engine takes it for a table's file.
pub fn hidden_name(number: u64) -> String {
    format!(".part-{number:06}.new")
}

/// Number of a part by the name of a file, published or not.
pub fn number_of(name: &str) -> Option<u64> {
    let published = name.strip_prefix("part-").and_then(|rest| rest.strip_suffix(".parquet"));
    let hidden = || name.strip_prefix(".part-").and_then(|rest| rest.strip_suffix(".new"));
    published.or_else(hidden)?.parse().ok()
}

/// A value in a path, as Hive escapes it.
fn escaped(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let text: String = value
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    match text.as_str() {
        "" => "__HIVE_DEFAULT_PARTITION__".to_owned(),
        "." | ".." => text.replace('.', "%2E"),
        _ => text,
    }
}

/// All folders of a partition below a table.
pub fn partitions(archive: &Path, table: &str) -> Vec<PathBuf> {
    let folders = |path: &Path| {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect::<Vec<_>>()
    };
    folders(&archive.join(table)).iter().flat_map(|path| folders(path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_stays_below_its_table_whatever_it_is_called() {
        let root = Path::new("/a");
        for name in ["scale-up", "..", ".", "", "a/b", "../../x", "ü", "a=b"] {
            let path = partition(root, "runs", "cilium", name);
            assert_eq!(path.components().count(), 5, "{}", path.display());
            assert!(path.starts_with("/a/runs/dataplane=cilium"), "{}", path.display());
        }
        assert_eq!(partition(root, "runs", "cilium", "a b"), Path::new("/a/runs/dataplane=cilium/scenario=a%20b"));
        assert_eq!(number_of(&file_name(7)), Some(7));
        assert_eq!(number_of(&hidden_name(1_234_567)), Some(1_234_567));
        assert_eq!(number_of("part-x.parquet"), None);
    }
}
