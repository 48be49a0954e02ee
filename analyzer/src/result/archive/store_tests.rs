//! Changes of an archive in one step, wherever they are interrupted.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::super::index::{Entry, Index, Part, Pending, file_name, hidden_name, partition};
use super::super::tables::{Filler, RESULTS, RunRow, TABLES};
use super::super::{RESULTS_VERSION, Stored};
use super::{Kept, Store, each_batch, file_of, packed, results, tables};
use crate::result::{Header, RunResult};

fn kept(id: &str, dataplane: &str) -> Kept {
    let mut filler = Filler::default();
    filler.push(&RunRow { run_id: id.into(), results_version: RESULTS_VERSION.cast_signed(), ..RunRow::default() });
    let run = Header { name: format!("name of {id}"), dataplane: dataplane.to_owned(), ..Header::default() };
    let stored = Stored { id: id.to_owned(), path: id.to_owned(), result: RunResult { run, ..RunResult::default() } };
    Kept {
        id: id.to_owned(),
        entry: Entry { manifest: format!("of {id}"), ..Entry::default() },
        dataplane: dataplane.to_owned(),
        scenario: "scale-up".to_owned(),
        rows: filler.finish().expect("rows"),
        result: packed(&stored).expect("packed"),
    }
}

/// Runs of the archive by their results, and by the table `runs`; the two must agree, and each run be there once.
fn runs(folder: &Path) -> Vec<String> {
    let index = Index::read(folder).expect("an index");
    let mut found: Vec<String> =
        results(folder, &index, &|_| true).expect("results").into_iter().map(|one| one.id).collect();
    found.sort();
    let mut of_table = Vec::new();
    for (number, part) in &index.parts {
        let folder = partition(folder, "runs", &part.dataplane, &part.scenario);
        each_batch(&file_of(&folder, *number), |batch| {
            of_table.extend(super::texts(&batch)?.iter().flatten().map(str::to_owned));
            Ok(())
        })
        .expect("rows");
    }
    of_table.sort();
    assert_eq!(found, of_table);
    assert!(index.runs.keys().eq(&found), "{found:?}");
    found
}

/// All files of the tables.
fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let folders = tables().flat_map(|table| super::partitions(folder, table));
    folders.flat_map(|folder| fs::read_dir(folder).expect("listed").flatten().map(|entry| entry.path())).collect()
}

#[test]
fn a_run_is_there_once_however_often_it_is_committed() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let mut store = Store::open(folder).expect("an archive");
    store.commit(vec![kept("a", "cilium"), kept("b", "cilium"), kept("c", "unknown")], &BTreeSet::new()).expect("kept");
    assert_eq!(runs(folder), ["a", "b", "c"]);
    assert_eq!(files(folder).len(), 2 * (TABLES.len() + 1));
    // Again, and one of them moves to another partition.
    store.commit(vec![kept("a", "unknown"), kept("d", "cilium")], &BTreeSet::from(["c".to_owned()])).expect("kept");
    assert_eq!(runs(folder), ["a", "b", "d"]);
    for number in 0..12 {
        store.commit(vec![kept(&format!("e{number}"), "cilium")], &BTreeSet::new()).expect("kept");
    }
    let before = (runs(folder), Index::read(folder).expect("an index").parts.len());
    store.join().expect("joined");
    assert_eq!(runs(folder), before.0);
    assert!(Index::read(folder).expect("an index").parts.len() < 4 && before.1 > 12);
    let all: BTreeSet<String> = before.0.into_iter().collect();
    store.commit(Vec::new(), &all).expect("dropped");
    assert!(runs(folder).is_empty() && files(folder).is_empty());
    assert!(Store::open(folder).is_err(), "one process writes at a time");
}

#[test]
fn whatever_a_process_left_half_done_is_finished_or_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let mut store = Store::open(folder).expect("an archive");
    store.commit(vec![kept("a", "cilium")], &BTreeSet::new()).expect("kept");
    store.commit(vec![kept("b", "cilium")], &BTreeSet::new()).expect("kept");
    drop(store);
    let whole = files(folder);
    let names = |number: u64| {
        let folders = tables().map(|table| partition(folder, table, "cilium", "scale-up"));
        folders
            .map(move |folder| (folder.join(file_name(number)), folder.join(hidden_name(number))))
            .collect::<Vec<_>>()
    };

    // Written, and not decided: it goes.
    for (published, hidden) in names(1) {
        fs::copy(&published, hidden.with_file_name(hidden_name(77))).expect("copied");
    }
    drop(Store::open(folder).expect("an archive"));
    assert_eq!(files(folder), whole);

    // Decided, and done up to any table: readers find it all the same, and the next writer does the rest.
    for done in 0..=names(1).len() {
        let mut index = Index::read(folder).expect("an index");
        let part = Part { dataplane: "cilium".to_owned(), scenario: "scale-up".to_owned(), bytes: 0, runs: 1 };
        index.pending = Some(Pending { publish: vec![1], remove: [(55, part)].into() });
        index.write(folder).expect("written");
        for (at, (published, hidden)) in names(1).into_iter().enumerate() {
            fs::copy(&published, published.with_file_name(file_name(55))).expect("copied");
            if at >= done {
                fs::rename(published, hidden).expect("renamed");
            }
        }
        assert_eq!(runs(folder), ["a", "b"], "{done} done");
        drop(Store::open(folder).expect("an archive"));
        assert_eq!((runs(folder), files(folder)), (vec!["a".to_owned(), "b".to_owned()], whole.clone()), "{done} done");
        assert_eq!(Index::read(folder).expect("an index").pending, None);
    }
}

#[test]
fn results_of_another_version_are_named_and_not_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let mut store = Store::open(folder).expect("an archive");
    let mut other = kept("a", "cilium");
    let columns = vec![
        other.result.column(0).clone(),
        std::sync::Arc::new(arrow_array::Int32Array::from(vec![RESULTS_VERSION.cast_signed() + 1]))
            as arrow_array::ArrayRef,
        other.result.column(2).clone(),
    ];
    other.result = arrow_array::RecordBatch::try_new(other.result.schema(), columns).expect("a batch");
    store.commit(vec![other], &BTreeSet::new()).expect("kept");
    let error = format!("{:#}", results(folder, &store.index, &|_| true).expect_err("another version"));
    assert!(error.contains("measures them again") && error.contains(RESULTS), "{error}");
}
