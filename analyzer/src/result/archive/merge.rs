//! Archives that were made apart (shards, clusters, what Spark wrote) as one.
//!
//! An input is an archive, or a folder of the same tables without an index. Of a run that several hold the first one counts. Failures
//! are taken over too, and the places where copies of a run lie.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use arrow_array::{Array, RecordBatch, StringArray};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::current;
use super::index::{Entry, Held, INDEX, Index, Place, partitions};
use super::pass::{Summary, digest};
use super::store::{Foreign, Store, each_result};
use super::tables::{RESULTS, TABLES};
use crate::result::load::Asks;

/// Name of the table in which an engine lists what it could not read: `path` and `reason`.
const FAILED: &str = "failed";
/// Name of the table in which it may list where every run lies: `path` and `run_id` (null where none could be read).
const PLACES: &str = "places";

/// Joins archives into one, which may be there already.
///
/// # Errors
/// An input that is none, tables that cannot be read, the disk.
pub fn merge(inputs: &[PathBuf], out: &Path, asks: Asks<'_>) -> anyhow::Result<Summary> {
    let mut store = Store::open(out)?;
    let mut summary = Summary::default();
    for input in inputs {
        let index = input.join(INDEX).is_file().then(|| Index::read(input)).transpose()?;
        if index.is_none() && !input.join(RESULTS).is_dir() {
            bail!("{}: expected an archive, or a folder with the tables of one", input.display());
        }
        let mut places: BTreeMap<String, Place> = BTreeMap::new();
        let mut foreign = Vec::new();
        for folder in partitions(input, RESULTS) {
            foreign.extend(of_partition(input, &folder, index.as_ref(), &store, asks, &mut places)?);
        }
        let found: usize = foreign.iter().map(|one| one.entries.len()).sum();
        summary.new += found;
        match index {
            Some(index) => {
                places = index.places;
            }
            None => {
                let known = |id: &String| {
                    store.index.runs.contains_key(id) || foreign.iter().any(|one| one.entries.contains_key(id))
                };
                let copies = listed(input, PLACES, "run_id")?.into_iter().filter(|(_, id)| known(id));
                let failed = listed(input, FAILED, "reason")?.into_iter();
                let all = copies.map(|(path, id)| (path, Held::Run(id)));
                let all = all.chain(failed.map(|(path, why)| (path, Held::Failed(why))));
                let place =
                    |(below, held): (String, Held)| (below.clone(), Place { below, stamp: String::new(), held });
                places.extend(all.map(place));
            }
        }
        // What one input could not read another one may have read.
        places.retain(|path, place| matches!(place.held, Held::Run(_)) || !store.index.places.contains_key(path));
        store.places(places);
        store.adopt(foreign)?;
    }
    store.join()?;
    store.commit(Vec::new(), &BTreeSet::new())?;
    summary.runs = store.index.runs.len();
    summary.unchanged = summary.runs - summary.new;
    for (path, place) in &store.index.places {
        if let Held::Failed(why) = &place.held {
            summary.failed.push((path.clone(), why.clone()));
        }
    }
    Ok(summary)
}

/// The runs of a partition that are not in the archive yet.
fn of_partition(
    input: &Path,
    folder: &Path,
    index: Option<&Index>,
    store: &Store,
    asks: Asks<'_>,
    places: &mut BTreeMap<String, Place>,
) -> anyhow::Result<Option<Foreign>> {
    // An archive's own files are those of its index; what else lies there is not published.
    let own = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let listed =
            |index: &Index| super::index::number_of(name).is_some_and(|number| index.parts.contains_key(&number));
        name.ends_with(".parquet") && !name.starts_with(['.', '_']) && index.is_none_or(listed)
    };
    let files_of = |table: &str| -> anyhow::Result<Vec<PathBuf>> {
        let below = folder.strip_prefix(input.join(RESULTS))?;
        let folder = input.join(table).join(below);
        if !folder.is_dir() {
            return Ok(Vec::new());
        }
        let listed = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
        let mut files: Vec<PathBuf> = listed.flatten().map(|entry| entry.path()).filter(own).collect();
        files.sort();
        Ok(files)
    };
    let mut foreign: Option<Foreign> = None;
    for path in files_of(RESULTS)? {
        each_result(&path, &|id| !store.index.runs.contains_key(id), |stored| {
            let run = &stored.result.run;
            let questions = asks(&run.dataplane);
            let token =
                if stored.result.is_current(&questions) { current(&questions, &run.dataplane) } else { String::new() };
            let entry = Entry { part: 0, manifest: digest(&run.manifest.open()), current: token };
            let place = Place { below: stored.path.clone(), stamp: String::new(), held: Held::Run(stored.id.clone()) };
            places.insert(stored.path.clone(), place);
            let own = foreign.get_or_insert_with(|| Foreign {
                dataplane: run.dataplane.clone(),
                scenario: run.scenario.clone(),
                entries: BTreeMap::new(),
                files: BTreeMap::new(),
            });
            own.entries.entry(stored.id).or_insert(entry);
        })?;
    }
    if let Some(foreign) = &mut foreign {
        for table in TABLES.iter().map(|(name, _)| *name).chain([RESULTS]) {
            foreign.files.insert(table, files_of(table)?);
        }
    }
    Ok(foreign)
}

/// What an engine lists of paths: those for which a column of the table has a text. None where there is no such table.
fn listed(input: &Path, table: &str, column: &str) -> anyhow::Result<Vec<(String, String)>> {
    let folder = input.join(table);
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|end| end != "parquet") {
            continue;
        }
        let place = || path.display().to_string();
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).with_context(place)?);
        for batch in reader.with_context(place)?.build().with_context(place)? {
            let batch = batch.with_context(place)?;
            let of = |name: &str| text_column(&batch, name).with_context(place);
            let (paths, texts) = (of("path")?, of(column)?);
            let both = paths.iter().zip(texts.iter()).filter_map(|(path, text)| path.zip(text));
            found.extend(both.map(|(path, text)| (path.to_owned(), text.to_owned())));
        }
    }
    Ok(found)
}

fn text_column<'b>(batch: &'b RecordBatch, name: &str) -> anyhow::Result<&'b StringArray> {
    let column = batch.column_by_name(name).and_then(|column| column.as_any().downcast_ref());
    column.with_context(|| format!("expected a column `{name}` of texts"))
}
