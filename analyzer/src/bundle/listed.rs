//! The rows of `series` as the choice of witnesses needs them.
//!
//! A database has a row for each series in each of its blocks: tens of thousands of rows with the same few thousand texts. The file holds each
//! text once (a dictionary), and so do these rows.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use arcstr::ArcStr;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, DictionaryArray, RecordBatch, StringArray};
use syncline_schema::FORMAT_VERSION;
use syncline_schema::samples::SeriesRow;

use super::Bundle;
use super::batches::{Groups, full};
use super::components::Class;

/// Rows that are decoded at once.
const BATCH: usize = 1 << 14;

/// A row of `series`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Index of the source.
    pub source: i32,
    /// Line where the series first stood.
    pub record: i64,
    /// Identifier.
    pub series: i64,
    /// Clock domain of its samples.
    pub clock: ArcStr,
    /// How it was captured.
    pub witness: ArcStr,
    /// Metric name.
    pub name: ArcStr,
    /// Labels without the name, JSON.
    pub labels: ArcStr,
    /// `counter`, `gauge`, …, where known.
    pub metric_type: Option<ArcStr>,
}

impl From<SeriesRow<'_>> for Listed {
    fn from(row: SeriesRow<'_>) -> Self {
        let text = |text: &str| ArcStr::from(text);
        Listed {
            source: row.source,
            record: row.record,
            series: row.series,
            clock: text(&row.clock),
            witness: text(&row.witness),
            name: text(&row.name),
            labels: text(&row.labels),
            metric_type: row.metric_type.as_deref().map(text),
        }
    }
}

/// What was captured together, as far as a row tells: files of pages may be of one component each, all others are.
#[derive(Default)]
struct Captured(BTreeSet<(Class, ArcStr, Option<i32>)>);

impl Captured {
    fn add(&mut self, source: i32, clock: &ArcStr, witness: &str) {
        let class = Class::of(witness);
        let source = (class == Class::Pages).then_some(source);
        // Rows of one file follow each other.
        if self.0.last().is_none_or(|last| last.0 != class || last.1 != *clock || last.2 != source) {
            self.0.insert((class, clock.clone(), source));
        }
    }

    /// Whether no class has two components, whatever the rows: then metrics may be looked up by name alone.
    fn one_of_each_class(&self) -> bool {
        let classes: Vec<Class> = self.0.iter().map(|(class, ..)| *class).collect();
        classes.windows(2).all(|pair| pair[0] != pair[1])
    }
}

/// The rows of some metrics (all of them without names), in file order; and whether no class of witnesses has two components, of all rows.
///
/// # Errors
/// A table that cannot be read.
pub fn read(bundle: &Bundle, wanted: Option<&HashSet<String>>) -> anyhow::Result<(Vec<Listed>, bool)> {
    let is_wanted = |name: &str| wanted.is_none_or(|wanted| wanted.contains(name));
    let (mut rows, mut captured) = (Vec::new(), Captured::default());
    let file = bundle.path.join(format!("{}.parquet", SeriesRow::TABLE));
    if file.exists() && bundle.manifest.format_version == FORMAT_VERSION {
        of_file(&file, &is_wanted, &mut rows, &mut captured).with_context(|| format!("table {}", SeriesRow::TABLE))?;
    } else {
        for row in bundle.rows::<SeriesRow<'static>>(None)? {
            let row = Listed::from(row);
            captured.add(row.source, &row.clock, &row.witness);
            if is_wanted(&row.name) {
                rows.push(row);
            }
        }
    }
    Ok((rows, captured.one_of_each_class()))
}

/// The names of all metrics.
///
/// # Errors
/// A table that cannot be read.
pub fn names(bundle: &Bundle) -> anyhow::Result<BTreeSet<ArcStr>> {
    let mut names = BTreeSet::new();
    let file = bundle.path.join(format!("{}.parquet", SeriesRow::TABLE));
    if !file.exists() {
        return Ok(names);
    }
    let table = Groups::open_with_dictionaries(&file, &["name"], &["name"])?;
    for group in table.of_series(None) {
        table.each(group, BATCH, |batch| {
            let texts = Texts::of(batch, "name")?;
            let mut told = vec![false; texts.entries.len()];
            (0..batch.num_rows()).filter_map(|row| texts.entry(row)).for_each(|entry| told[entry] = true);
            let own = told.iter().zip(texts.entries).filter(|(told, _)| **told);
            names.extend(own.filter_map(|(_, name)| name.map(ArcStr::from)));
            Ok(())
        })?;
    }
    Ok(names)
}

/// A column of texts: numbers of entries of a dictionary.
struct Texts<'b> {
    array: &'b DictionaryArray<Int32Type>,
    entries: &'b StringArray,
}

impl<'b> Texts<'b> {
    fn of(batch: &'b RecordBatch, name: &str) -> anyhow::Result<Self> {
        let array = batch.column_by_name(name).and_then(|column| column.as_any().downcast_ref());
        let array: &DictionaryArray<Int32Type> = array.with_context(|| format!("column {name}: expected texts"))?;
        let entries = array.values().as_any().downcast_ref();
        Ok(Texts { array, entries: entries.with_context(|| format!("column {name}: expected texts"))? })
    }

    /// Number of the entry that a row has; none where it has none.
    fn entry(&self, row: usize) -> Option<usize> {
        let key = self.array.is_valid(row).then(|| self.array.keys().value(row))?;
        usize::try_from(key).ok().filter(|entry| *entry < self.entries.len())
    }
}

/// What was made of the entries of a dictionary, by their numbers: each text once.
#[derive(Default)]
struct Made {
    of: Option<ArrayRef>,
    texts: Vec<Option<ArcStr>>,
}

impl Made {
    /// The text of a row. The next row groups may have another dictionary.
    fn text(&mut self, texts: &Texts, row: usize) -> Option<ArcStr> {
        let dictionary = texts.array.values();
        if !self.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, dictionary)) {
            *self = Made { of: Some(Arc::clone(dictionary)), texts: vec![None; dictionary.len()] };
        }
        let entry = texts.entry(row)?;
        Some(self.texts[entry].get_or_insert_with(|| texts.entries.value(entry).into()).clone())
    }
}

fn of_file(
    file: &Path,
    is_wanted: &impl Fn(&str) -> bool,
    rows: &mut Vec<Listed>,
    captured: &mut Captured,
) -> anyhow::Result<()> {
    let columns: Vec<&str> = SeriesRow::COLUMNS.iter().map(|column| column.name).collect();
    let table = Groups::open_with_dictionaries(file, &columns, &["clock", "witness", "name", "labels"])?;
    let [mut clock, mut witness, mut name, mut label] = [const { Made { of: None, texts: Vec::new() } }; 4];
    let mut kind: Option<ArcStr> = None;
    for group in table.of_series(None) {
        table.each(group, BATCH, |batch| {
            let sources = full::<Int32Type>(batch, "source")?.values();
            let (records, series) = (full::<Int64Type>(batch, "record")?, full::<Int64Type>(batch, "series")?);
            let [clocks, witnesses, names, labels] =
                ["clock", "witness", "name", "labels"].map(|column| Texts::of(batch, column));
            let (clocks, witnesses, names, labels) = (clocks?, witnesses?, names?, labels?);
            let kinds = batch.column_by_name("metric_type").and_then(|column| column.as_any().downcast_ref());
            let kinds: &StringArray = kinds.context("column metric_type: expected texts")?;
            let wanted: Vec<bool> = names.entries.iter().map(|name| name.is_some_and(is_wanted)).collect();
            let missing = || "a series without clock, witness, name or labels";
            let mut before = None;
            for at in 0..batch.num_rows() {
                let from = (sources[at], clocks.entry(at), witnesses.entry(at));
                if before.replace(from) != Some(from) {
                    let (clock, witness) =
                        clock.text(&clocks, at).zip(witness.text(&witnesses, at)).with_context(missing)?;
                    captured.add(sources[at], &clock, &witness);
                }
                if !wanted[names.entry(at).with_context(missing)?] {
                    continue;
                }
                if kind.as_deref() != kinds.is_valid(at).then(|| kinds.value(at)) {
                    kind = kinds.is_valid(at).then(|| kinds.value(at).into());
                }
                rows.push(Listed {
                    source: sources[at],
                    record: records.value(at),
                    series: series.value(at),
                    clock: clock.text(&clocks, at).with_context(missing)?,
                    witness: witness.text(&witnesses, at).with_context(missing)?,
                    name: name.text(&names, at).with_context(missing)?,
                    labels: label.text(&labels, at).with_context(missing)?,
                    metric_type: kind.clone(),
                });
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use syncline_collector::write::tables::Tables;
    use syncline_schema::manifest::Manifest;

    use super::*;

    fn row(series: i64, source: i32, witness: &'static str, name: &'static str) -> SeriesRow<'static> {
        SeriesRow {
            series,
            source,
            record: series + 10,
            witness: witness.into(),
            name: name.into(),
            clock: if source < 2 { "a" } else { "b" }.into(),
            labels: format!("{{\"n\":\"{}\"}}", series % 3).into(),
            metric_type: (series % 2 == 0).then(|| "counter".into()),
            ..Default::default()
        }
    }

    #[test]
    fn rows_are_those_of_the_table_and_tell_what_was_captured_together() {
        let pages = [row(0, 0, "scrape", "x"), row(1, 0, "scrape", "y"), row(2, 1, "tsdb", "x"), row(3, 2, "api", "x")];
        // A second file of pages; answers on a second clock.
        let apart = [row(4, 1, "exposition", "z"), row(5, 0, "api", "z")];
        for (rows, one_of_each) in [(pages.to_vec(), true), (vec![], true)]
            .into_iter()
            .chain(apart.iter().map(|more| ([&pages[..], std::slice::from_ref(more)].concat(), false)))
        {
            let folder = tempfile::tempdir().expect("a folder");
            let mut tables = Tables::new(folder.path());
            rows.iter().for_each(|row| tables.push(row).expect("written"));
            tables.close().expect("closed");
            for format_version in [FORMAT_VERSION, 1] {
                let manifest = Manifest { format_version, ..Manifest::default() };
                let bundle = Bundle { path: folder.path().to_owned(), manifest, ..Bundle::default() };
                let all: Vec<Listed> = rows.iter().cloned().map(Listed::from).collect();
                assert_eq!(read(&bundle, None).expect("readable"), (all.clone(), one_of_each));
                let told = all.iter().map(|row| row.name.clone()).collect();
                assert_eq!(names(&bundle).expect("readable"), told);
                let x: Vec<Listed> = all.into_iter().filter(|row| row.name == "x").collect();
                let wanted = ["x".to_owned(), "none".to_owned()].into();
                assert_eq!(read(&bundle, Some(&wanted)).expect("readable"), (x, one_of_each));
            }
        }
    }
}
