//! The files of an archive: parts are written hidden, and published by one change of the index.
//!
//! ```text
//! write   runs/…/.part-000007.new, measurements/…/.part-000007.new, …      nobody sees them
//! decide  archive.json: part 7 is there, part 3 is not                       in one step
//! do      give 7 its names, remove 3                                         again, if it was interrupted
//! ```
//!
//! A process that is killed leaves hidden files, which the next one removes, or a decision, which the next one carries out: every run
//! is in the archive once, whole, or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use arrow_array::{Array, ArrayRef, BinaryArray, BooleanArray, Int32Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use arrow_select::filter::filter_record_batch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use rayon::prelude::{IntoParallelIterator, ParallelIterator};
use syncline_collector::form::columns::TableBuilder;

use super::index::{
    ARCHIVE_VERSION, Entry, Held, INDEX, Index, Part, Pending, Place, file_name, hidden_name, number_of, partition,
    partitions,
};
use super::tables::{RESULTS, TABLES};
use super::{RESULTS_VERSION, Stored};
use crate::result::interned::Interned;

/// Name of the file that a writer locks.
const LOCK: &str = ".lock";
/// Parts of a partition from which they are joined, and the largest that are, bytes.
const MANY: usize = 8;
const SMALL: u64 = 64 << 20;
/// Runs whose results make one row group: who wants one run unpacks so many.
const TOGETHER: usize = 16;
/// Rows of a row group of the other tables.
const GROUP_ROWS: usize = 100_000;

/// What a run leaves in the archive.
pub struct Kept {
    pub id: String,
    pub entry: Entry,
    pub dataplane: String,
    pub scenario: String,
    /// A batch a table, in the order of [`TABLES`], and its result.
    pub rows: Vec<RecordBatch>,
    pub result: RecordBatch,
}

impl Kept {
    /// Bytes that it takes until it is written.
    pub fn bytes(&self) -> u64 {
        let all = self.rows.iter().chain([&self.result]);
        all.map(|batch| batch.get_array_memory_size() as u64).sum()
    }
}

/// Runs of tables that lie elsewhere: another archive's, or what an engine wrote.
pub struct Foreign {
    pub dataplane: String,
    pub scenario: String,
    /// Those that are wanted, by identity.
    pub entries: BTreeMap<String, Entry>,
    /// Files of the partition, by table.
    pub files: BTreeMap<&'static str, Vec<PathBuf>>,
}

impl Foreign {
    /// Hands on the rows of the wanted runs of a table, as this program writes them.
    fn each(&self, table: &'static str, mut take: impl FnMut(RecordBatch) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let schema = Arc::new(schema(table));
        for path in self.files.get(table).into_iter().flatten() {
            each_batch(path, |batch| {
                // Engines call every column one that may be null.
                let column = |field: &arrow_schema::FieldRef| {
                    let found = batch.column_by_name(field.name());
                    found.cloned().with_context(|| format!("expected a column `{}`", field.name()))
                };
                let columns = schema.fields().iter().map(column).collect::<anyhow::Result<Vec<ArrayRef>>>()?;
                let batch = RecordBatch::try_new(Arc::clone(&schema), columns)?;
                let ids = texts(&batch)?;
                let wanted = |id: Option<&str>| Some(id.is_some_and(|id| self.entries.contains_key(id)));
                let kept: BooleanArray = ids.iter().map(wanted).collect();
                take(filter_record_batch(&batch, &kept)?)
            })?;
        }
        Ok(())
    }
}

/// What is added to a partition.
#[derive(Clone, Copy, Default)]
struct Added<'a> {
    kept: &'a [Kept],
    foreign: Option<&'a Foreign>,
}

/// Columns of a table.
fn schema(table: &str) -> Schema {
    let known = TABLES.iter().find(|(name, _)| *name == table);
    known.map_or_else(
        || {
            Schema::new(vec![
                Field::new("run_id", DataType::Utf8, false),
                Field::new("version", DataType::Int32, false),
                Field::new("result", DataType::Binary, false),
            ])
        },
        |(_, columns)| TableBuilder::schema(columns),
    )
}

/// The result of a run as a row of [`RESULTS`].
///
/// # Errors
/// None that data can cause.
pub fn packed(stored: &Stored) -> anyhow::Result<RecordBatch> {
    let bytes = rmp_serde::to_vec_named(stored).context("a result")?;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec![stored.id.as_str()])),
        Arc::new(Int32Array::from(vec![RESULTS_VERSION.cast_signed()])),
        Arc::new(BinaryArray::from(vec![bytes.as_slice()])),
    ];
    Ok(RecordBatch::try_new(Arc::new(schema(RESULTS)), columns)?)
}

/// An archive that one process writes.
pub struct Store {
    folder: PathBuf,
    pub index: Index,
    _lock: File,
}

impl Store {
    /// Opens an archive, or begins one; finishes or removes what a process that was killed left behind.
    ///
    /// # Errors
    /// A folder of something else, another process that writes it, a disk that cannot be written.
    pub fn open(folder: &Path) -> anyhow::Result<Store> {
        let place = || folder.display().to_string();
        let begun = folder.join(INDEX).exists();
        if !begun && fs::read_dir(folder).is_ok_and(|mut entries| entries.any(|one| !is_ours(one))) {
            bail!("{}: expected an archive or an empty folder, this is neither", place());
        }
        fs::create_dir_all(folder).with_context(place)?;
        let lock = File::create(folder.join(LOCK)).with_context(place)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => bail!("{}: another process writes it now", place()),
            // A file system without locks: then nobody can tell.
            Err(fs::TryLockError::Error(_)) => {}
        }
        let generator = format!("syncline {}", env!("CARGO_PKG_VERSION"));
        let mut index = if folder.join(INDEX).exists() { Index::read(folder)? } else { Index::default() };
        (index.archive_version, index.generator) = (ARCHIVE_VERSION, generator);
        let mut store = Store { folder: folder.to_owned(), index, _lock: lock };
        store.carry_out()?;
        store.remove_strays()?;
        store.index.write(folder).with_context(place)?;
        Ok(store)
    }

    /// Adds runs of other tables, which hold them in files of one partition each. None of them may be here already.
    ///
    /// # Errors
    /// Files that cannot be read or have other columns, the disk.
    pub fn adopt(&mut self, foreign: Vec<Foreign>) -> anyhow::Result<()> {
        let mut pending = Pending::default();
        for one in foreign.iter().filter(|one| !one.entries.is_empty()) {
            let added = Added { kept: &[], foreign: Some(one) };
            self.replace(&one.dataplane, &one.scenario, added, &[], &BTreeSet::new(), &mut pending)?;
        }
        self.decide(pending)
    }

    /// Adds runs, in place of what is there of them, and drops others; in one step. Places are as the index has them by then.
    ///
    /// # Errors
    /// The disk.
    pub fn commit(&mut self, runs: Vec<Kept>, dropped: &BTreeSet<String>) -> anyhow::Result<()> {
        let gone: BTreeSet<String> = runs.iter().map(|one| one.id.clone()).chain(dropped.iter().cloned()).collect();
        let affected: BTreeSet<u64> =
            gone.iter().filter_map(|id| self.index.runs.get(id)).map(|entry| entry.part).collect();
        let mut groups: BTreeMap<(String, String), (Vec<Kept>, Vec<u64>)> = BTreeMap::new();
        for one in runs {
            groups.entry((one.dataplane.clone(), one.scenario.clone())).or_default().0.push(one);
        }
        for number in affected {
            let Some(part) = self.index.parts.get(&number) else { continue };
            groups.entry((part.dataplane.clone(), part.scenario.clone())).or_default().1.push(number);
        }
        let mut pending = Pending::default();
        gone.iter().for_each(|id| drop(self.index.runs.remove(id)));
        for ((dataplane, scenario), (added, rewritten)) in groups {
            let added = Added { kept: &added, foreign: None };
            self.replace(&dataplane, &scenario, added, &rewritten, &gone, &mut pending)?;
        }
        self.decide(pending)
    }

    /// Joins small parts of partitions that have many.
    ///
    /// # Errors
    /// The disk.
    pub fn join(&mut self) -> anyhow::Result<()> {
        let mut partitions: BTreeMap<(String, String), Vec<u64>> = BTreeMap::new();
        for (number, part) in self.index.parts.iter().filter(|(_, part)| part.bytes < SMALL) {
            partitions.entry((part.dataplane.clone(), part.scenario.clone())).or_default().push(*number);
        }
        let mut pending = Pending::default();
        for ((dataplane, scenario), numbers) in partitions.into_iter().filter(|(_, numbers)| numbers.len() > MANY) {
            self.replace(&dataplane, &scenario, Added::default(), &numbers, &BTreeSet::new(), &mut pending)?;
        }
        if pending == Pending::default() { Ok(()) } else { self.decide(pending) }
    }

    /// Writes one part from new runs and from what is left of others without `gone`.
    fn replace(
        &mut self,
        dataplane: &str,
        scenario: &str,
        added: Added<'_>,
        rewritten: &[u64],
        gone: &BTreeSet<String>,
        pending: &mut Pending,
    ) -> anyhow::Result<()> {
        let number = self.index.next;
        self.index.next += 1;
        let mut part = Part { dataplane: dataplane.to_owned(), scenario: scenario.to_owned(), bytes: 0, runs: 0 };
        for (at, name) in tables().enumerate() {
            let folder = partition(&self.folder, name, dataplane, scenario);
            fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
            let mut writer = PartWriter::new(folder.join(hidden_name(number)), name)?;
            for old in rewritten {
                each_batch(&file_of(&folder, *old), |batch| writer.write(&without(&batch, gone)?))?;
            }
            for one in added.kept {
                writer.write(one.rows.get(at).unwrap_or(&one.result))?;
            }
            if let Some(foreign) = added.foreign {
                foreign.each(name, |batch| writer.write(&batch))?;
            }
            part.bytes += writer.finish()?;
        }
        for (id, entry) in &mut self.index.runs {
            if rewritten.contains(&entry.part) && !gone.contains(id) {
                entry.part = number;
                part.runs += 1;
            }
        }
        let kept = added.kept.iter().map(|one| (&one.id, &one.entry));
        for (id, entry) in kept.chain(added.foreign.iter().flat_map(|one| &one.entries)) {
            self.index.runs.insert(id.clone(), Entry { part: number, ..entry.clone() });
            part.runs += 1;
        }
        for old in rewritten {
            pending.remove.extend(self.index.parts.remove(old).map(|part| (*old, part)));
        }
        if part.runs == 0 {
            // Nothing is left of the others: their files go, and these never come.
            return tables().try_for_each(|name| {
                remove(&partition(&self.folder, name, dataplane, scenario).join(hidden_name(number)))
            });
        }
        self.index.parts.insert(number, part);
        pending.publish.push(number);
        Ok(())
    }

    fn decide(&mut self, pending: Pending) -> anyhow::Result<()> {
        self.index.pending = Some(pending);
        self.index.write(&self.folder)?;
        self.carry_out()?;
        self.index.write(&self.folder)
    }

    /// Does what was decided; again where that was interrupted.
    fn carry_out(&mut self) -> anyhow::Result<()> {
        let Some(pending) = self.index.pending.take() else { return Ok(()) };
        for number in &pending.publish {
            let Some(part) = self.index.parts.get(number) else { continue };
            for name in tables() {
                let folder = partition(&self.folder, name, &part.dataplane, &part.scenario);
                match fs::rename(folder.join(hidden_name(*number)), folder.join(file_name(*number))) {
                    Err(error) if error.kind() != ErrorKind::NotFound => {
                        return Err(error).with_context(|| folder.display().to_string());
                    }
                    _ => {}
                }
            }
        }
        for (number, part) in &pending.remove {
            for name in tables() {
                remove(&partition(&self.folder, name, &part.dataplane, &part.scenario).join(file_name(*number)))?;
            }
        }
        Ok(())
    }

    /// Removes files of parts that the index does not have.
    fn remove_strays(&self) -> anyhow::Result<()> {
        for folder in tables().flat_map(|name| partitions(&self.folder, name)) {
            for entry in fs::read_dir(&folder)?.flatten() {
                let name = entry.file_name();
                let number = name.to_str().and_then(number_of);
                if number.is_some_and(|number| !self.index.parts.contains_key(&number)) {
                    remove(&entry.path())?;
                }
            }
        }
        Ok(())
    }

    /// The results of runs, as they were kept.
    ///
    /// # Errors
    /// A part that is missing or damaged.
    pub fn results(&self, ids: &BTreeSet<&str>) -> anyhow::Result<Vec<Stored>> {
        results(&self.folder, &self.index, &|id| ids.contains(id))
    }

    /// Takes over places that now hold something, or nothing.
    pub fn places(&mut self, found: impl IntoIterator<Item = (String, Place)>) {
        self.index.places.extend(found);
    }

    /// Identities of runs that no place holds any more.
    pub fn homeless(&self) -> BTreeSet<String> {
        let held: BTreeSet<&String> = self.index.places.values().filter_map(|place| run_of(&place.held)).collect();
        self.index.runs.keys().filter(|id| !held.contains(id)).cloned().collect()
    }
}

fn run_of(held: &Held) -> Option<&String> {
    match held {
        Held::Run(id) => Some(id),
        Held::Failed(_) => None,
    }
}

/// Whether an entry of a folder is what a writer that was killed at once left behind.
fn is_ours(entry: std::io::Result<fs::DirEntry>) -> bool {
    entry.is_ok_and(|one| {
        let name = one.file_name();
        name == LOCK || name == ".archive.new"
    })
}

/// All tables in the order in which they are published.
fn tables() -> impl Iterator<Item = &'static str> {
    TABLES.iter().map(|(name, _)| *name).chain([RESULTS])
}

fn remove(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).with_context(|| path.display().to_string()),
        _ => Ok(()),
    }
}

/// The results of some runs, part by part.
///
/// # Errors
/// A part that is missing or damaged.
pub fn results(folder: &Path, index: &Index, wanted: &(dyn Fn(&str) -> bool + Sync)) -> anyhow::Result<Vec<Stored>> {
    let parts: BTreeSet<u64> = index.runs.iter().filter(|(id, _)| wanted(id)).map(|(_, entry)| entry.part).collect();
    let of_part = |number: u64| -> anyhow::Result<Vec<Stored>> {
        let part = index.parts.get(&number).with_context(|| format!("{}: no part {number}", folder.display()))?;
        let folder = partition(folder, RESULTS, &part.dataplane, &part.scenario);
        let (mut found, mut shared) = (Vec::new(), Interned::default());
        each_result(&file_of(&folder, number), wanted, |mut stored| {
            shared.share(&mut stored.result);
            found.push(stored);
        })?;
        Ok(found)
    };
    let found: Vec<Vec<Stored>> = parts.into_par_iter().map(of_part).collect::<anyhow::Result<_>>()?;
    Ok(found.into_iter().flatten().collect())
}

/// Hands on the results of some runs that a file holds.
///
/// # Errors
/// A file that is missing, damaged, or of results of another version.
pub fn each_result(path: &Path, wanted: &dyn Fn(&str) -> bool, mut take: impl FnMut(Stored)) -> anyhow::Result<()> {
    each_batch(path, |batch| {
        let (ids, results) = (texts(&batch)?, batch.column_by_name("result"));
        let results = results.and_then(|column| column.as_any().downcast_ref::<BinaryArray>());
        let results = results.context("expected a column `result` of bytes")?;
        let versions = batch.column_by_name("version").and_then(|column| column.as_any().downcast_ref::<Int32Array>());
        let versions = versions.context("expected a column `version` of numbers")?;
        for at in (0..batch.num_rows()).filter(|at| wanted(ids.value(*at))) {
            let version = versions.value(at);
            if version != RESULTS_VERSION.cast_signed() {
                bail!(
                    "results of version {version}, this program knows {RESULTS_VERSION}: `syncline archive` measures them again"
                );
            }
            let stored: Stored = rmp_serde::from_slice(results.value(at))
                .with_context(|| format!("the result of run {}", ids.value(at)))?;
            take(stored);
        }
        Ok(())
    })
}

fn texts(batch: &RecordBatch) -> anyhow::Result<&StringArray> {
    let column = batch.column_by_name("run_id").and_then(|column| column.as_any().downcast_ref());
    column.context("expected a column `run_id` of texts")
}

/// The rows of other runs than `gone`.
fn without(batch: &RecordBatch, gone: &BTreeSet<String>) -> anyhow::Result<RecordBatch> {
    if gone.is_empty() {
        return Ok(batch.clone());
    }
    let ids = texts(batch)?;
    let kept: BooleanArray = ids.iter().map(|id| Some(id.is_none_or(|id| !gone.contains(id)))).collect();
    Ok(filter_record_batch(batch, &kept)?)
}

/// File of a part, published or about to be.
fn file_of(folder: &Path, number: u64) -> PathBuf {
    let path = folder.join(file_name(number));
    if path.exists() { path } else { folder.join(hidden_name(number)) }
}

/// Hands on the rows of a file.
fn each_batch(path: &Path, mut take: impl FnMut(RecordBatch) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let place = || path.display().to_string();
    let file = File::open(path).with_context(place)?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).with_context(place)?;
    let reader = reader.with_batch_size(1 << 13).build().with_context(place)?;
    for batch in reader {
        take(batch.with_context(place)?).with_context(place)?;
    }
    Ok(())
}

/// Writes one file of a part. A table without rows has a file too: readers find its columns.
struct PartWriter {
    path: PathBuf,
    writer: ArrowWriter<File>,
}

impl PartWriter {
    fn new(path: PathBuf, table: &str) -> anyhow::Result<Self> {
        let place = || path.display().to_string();
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
            .set_max_row_group_row_count(Some(if table == RESULTS { TOGETHER } else { GROUP_ROWS }))
            .set_created_by(format!("syncline {}", env!("CARGO_PKG_VERSION")))
            .build();
        let file = File::create(&path).with_context(place)?;
        let writer = ArrowWriter::try_new(file, Arc::new(schema(table)), Some(properties)).with_context(place)?;
        Ok(Self { path, writer })
    }

    fn write(&mut self, batch: &RecordBatch) -> anyhow::Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.writer.write(batch).with_context(|| self.path.display().to_string())
    }

    /// Ends the file; its bytes.
    fn finish(self) -> anyhow::Result<u64> {
        let place = || self.path.display().to_string();
        let mut file = self.writer.into_inner().with_context(place)?;
        file.flush().with_context(place)?;
        Ok(file.metadata().with_context(place)?.len())
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
