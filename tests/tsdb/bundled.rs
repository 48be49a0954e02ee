//! Makes a bundle of some inputs and reads back the series that it holds.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use syncline_collector::bundle::{BundleOptions, bundle};
use syncline_schema::manifest::Manifest;

/// Time in ms, and the bits of the value: by time, each once.
pub type Points = Vec<(i64, u64)>;

/// A native histogram: time in ms, count, bits of the sum, buckets.
pub type NativePoint = (i64, f64, u64, Buckets);

/// Buckets by index; empty ones, which the common layout of a chunk brings, left out.
#[derive(Clone, Debug, PartialEq)]
pub struct Buckets {
    pub schema: i64,
    pub zero: (f64, f64),
    pub positive: BTreeMap<i64, f64>,
    pub negative: BTreeMap<i64, f64>,
}

/// What a bundle holds.
#[derive(Debug)]
pub struct Bundled {
    pub manifest: Manifest,
    /// By name and labels.
    pub floats: BTreeMap<String, Points>,
    pub histograms: BTreeMap<String, Vec<NativePoint>>,
    /// Offset and reason.
    pub rejects: Vec<String>,
}

impl Bundled {
    /// Records of the sources of a kind.
    pub fn records(&self, kind: &str) -> u64 {
        self.manifest.sources.iter().filter(|one| one.kind == kind).map(|one| one.records).sum()
    }

    /// How often a loss was counted.
    pub fn lost(&self, name: &str) -> u64 {
        self.manifest.losses.iter().filter(|loss| loss.name == name).map(|loss| loss.count).sum()
    }
}

fn table(folder: &Path, name: &str) -> Vec<RecordBatch> {
    let path = folder.join(format!("{name}.parquet"));
    if !path.exists() {
        return Vec::new();
    }
    let file = File::open(&path).expect("a table");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet").build().expect("a reader");
    reader.map(|batch| batch.expect("a batch")).collect()
}

fn numbers<'b>(batch: &'b RecordBatch, name: &str) -> &'b [i64] {
    batch.column_by_name(name).expect("the column").as_primitive::<Int64Type>().values()
}

fn floats<'b>(batch: &'b RecordBatch, name: &str) -> &'b [f64] {
    batch.column_by_name(name).expect("the column").as_primitive::<Float64Type>().values()
}

fn texts<'b>(batch: &'b RecordBatch, name: &str) -> Vec<&'b str> {
    batch.column_by_name(name).expect("the column").as_string::<i32>().iter().map(Option::unwrap_or_default).collect()
}

/// Bundles some inputs and reads what came out.
pub fn read(inputs: &[PathBuf]) -> Bundled {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("b");
    let options = BundleOptions { inputs: inputs.to_vec(), out: out.clone(), threads: 2, ..BundleOptions::default() };
    let manifest = bundle(&options).expect("bundled").manifest;
    assert!(!out.join("scratch").exists(), "the scratch folder is gone");
    let mut names = BTreeMap::new();
    for batch in table(&out, "series") {
        let (name, labels) = (texts(&batch, "name"), texts(&batch, "labels"));
        for (at, id) in numbers(&batch, "series").iter().enumerate() {
            names.insert(*id, format!("{}{}", name[at], labels[at]));
        }
    }
    let mut found = Bundled { manifest, floats: BTreeMap::new(), histograms: BTreeMap::new(), rejects: Vec::new() };
    for batch in table(&out, "samples") {
        let (times, values) = (numbers(&batch, "time"), floats(&batch, "value"));
        for (at, id) in numbers(&batch, "series").iter().enumerate() {
            let points = found.floats.entry(names[id].clone()).or_default();
            points.push((times[at] / 1_000_000, values[at].to_bits()));
        }
    }
    for batch in table(&out, "histograms") {
        let (times, counts, sums) = (numbers(&batch, "time"), floats(&batch, "count"), floats(&batch, "sum"));
        let buckets = texts(&batch, "buckets");
        for (at, id) in numbers(&batch, "series").iter().enumerate() {
            let json: serde_json::Value = serde_json::from_str(buckets[at]).expect("JSON");
            let number = |name: &str| json[name].as_f64().expect("a number");
            let buckets = Buckets {
                schema: json["schema"].as_i64().expect("a schema"),
                zero: (number("zero_threshold"), number("zero_count")),
                positive: flat(&json["positive"]),
                negative: flat(&json["negative"]),
            };
            let points = found.histograms.entry(names[id].clone()).or_default();
            points.push((times[at] / 1_000_000, counts[at], sums[at].to_bits(), buckets));
        }
    }
    // The head and a block, or two blocks, may hold the same sample: equal ones count once, others are a fault.
    for points in found.floats.values_mut() {
        points.sort_unstable();
        points.dedup();
    }
    for points in found.histograms.values_mut() {
        points.sort_by_key(|point| point.0);
        points.dedup();
    }
    for batch in table(&out, "rejects") {
        let reasons = texts(&batch, "reason");
        found
            .rejects
            .extend(numbers(&batch, "offset").iter().zip(reasons).map(|(at, reason)| format!("{at}: {reason}")));
    }
    found
}

fn flat(runs: &serde_json::Value) -> BTreeMap<i64, f64> {
    let mut found = BTreeMap::new();
    for run in runs.as_array().expect("runs") {
        let first = run[0].as_i64().expect("an index");
        let counts = run[1].as_array().expect("counts").iter().map(|count| count.as_f64().expect("a count"));
        found.extend(
            counts.enumerate().map(|(at, count)| (first + at as i64, count)).filter(|(_, count)| *count != 0.0),
        );
    }
    found
}

/// Compares float series; names the first that differs, not all of their samples.
pub fn assert_floats(found: &BTreeMap<String, Points>, expected: &BTreeMap<String, Points>, what: &str) {
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{what}");
    for (series, points) in expected {
        let others = &found[series];
        let differs = points.iter().zip(others).find(|(a, b)| a != b);
        assert_eq!((others.len(), differs), (points.len(), None), "{what}: {series}");
    }
}
