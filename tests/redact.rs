//! A redacted capture gives the same figures: its bundle has the same rows, numbers and equalities as that of the capture as it was, and
//! none of the names and addresses.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type};
use arrow_schema::DataType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use syncline_collector::bundle::{BundleOptions, bundle};
use syncline_collector::record::redact::{self, Key};
use syncline_schema::manifest::Manifest;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("in the workspace").to_owned()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder").flatten() {
        let (path, new) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &new);
        } else {
            std::fs::copy(&path, &new).expect("a copy");
            let modified = std::fs::metadata(&path).and_then(|found| found.modified()).expect("its time");
            File::options()
                .append(true)
                .open(&new)
                .and_then(|file| file.set_modified(modified))
                .expect("the same time");
        }
    }
}

fn bundled(capture: &Path, out: &Path) -> Manifest {
    let options = BundleOptions { inputs: vec![capture.to_owned()], out: out.to_owned(), ..BundleOptions::default() };
    bundle(&options).unwrap_or_else(|error| panic!("{}: {error}", capture.display()));
    let text = std::fs::read_to_string(out.join("manifest.json")).expect("a manifest");
    serde_json::from_str(&text).expect("JSON")
}

/// Columns whose numbers are identifiers: they follow the order of files, which follows their names.
fn is_identifier(name: &str) -> bool {
    ["source", "series", "rule", "rule_id", "chain_id", "id", "snapshot"].contains(&name) || name.ends_with("_source")
}

/// What a column holds, as far as redaction may not change it: sorted numbers, and of texts and identifiers how often each stands there.
fn columns(path: &Path) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut counts: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    let file = File::open(path).expect("a table");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|one| one.build()).expect("Parquet");
    for batch in reader {
        let batch = batch.expect("rows");
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            let text = |at: usize| -> Option<String> {
                if column.is_null(at) {
                    return None;
                }
                Some(match column.data_type() {
                    DataType::Int64 => column.as_primitive::<Int64Type>().value(at).to_string(),
                    DataType::Int32 => column.as_primitive::<Int32Type>().value(at).to_string(),
                    DataType::Float64 => column.as_primitive::<Float64Type>().value(at).to_string(),
                    DataType::Boolean => column.as_boolean().value(at).to_string(),
                    DataType::Utf8 => column.as_string::<i32>().value(at).to_owned(),
                    other => panic!("{}: a column of type {other}", field.name()),
                })
            };
            // Lengths and places in a file change with its names.
            if matches!(field.name().as_str(), "offset" | "bytes") {
                continue;
            }
            let name = field.name().clone();
            if matches!(column.data_type(), DataType::Utf8) || is_identifier(&name) {
                let counts = counts.entry(name).or_default();
                (0..column.len()).for_each(|at| *counts.entry(text(at).unwrap_or_default()).or_default() += 1);
            } else {
                found.entry(name).or_default().extend((0..column.len()).map(|at| text(at).unwrap_or_default()));
            }
        }
    }
    found.values_mut().for_each(|values| values.sort_unstable());
    for (name, counts) in counts {
        let mut sizes: Vec<usize> = counts.into_values().collect();
        sizes.sort_unstable();
        found.insert(name, sizes.iter().map(usize::to_string).collect());
    }
    found
}

/// All texts below a folder, unpacked, with their paths.
fn texts(folder: &Path, into: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            texts(&path, into);
            continue;
        }
        let mut bytes = Vec::new();
        let file = File::open(&path).expect("a file");
        if path.extension().is_some_and(|end| end == "zst") {
            zstd::Decoder::new(file).and_then(|mut one| one.read_to_end(&mut bytes)).expect("zstd");
        } else {
            (&file).read_to_end(&mut bytes).expect("bytes");
        }
        into.push((path.display().to_string(), String::from_utf8_lossy(&bytes).into_owned()));
    }
}

fn check(name: &str, gone: &[&str]) {
    let place = tempfile::tempdir().expect("a folder");
    let (before, after) = (place.path().join("before"), place.path().join("after"));
    copy(&root().join("sample-data").join(name), &before);
    copy(&before, &after);
    let done = redact::folder(&after, &Key::of(b"a test's key"), &[]).expect("it is redacted");
    assert!(done.names > 10 && done.files > 10, "{done:?}");

    let mut all = Vec::new();
    texts(&after, &mut all);
    let mut original = Vec::new();
    texts(&before, &mut original);
    for word in gone {
        assert!(
            original.iter().any(|(_, text)| text.contains(word)),
            "{word} was never there: the check would prove nothing"
        );
        for (path, text) in &all {
            // `node-a` stands in `node-addresses` too.
            let ends = |at: usize| !text[at + word.len()..].starts_with(|next: char| next.is_ascii_alphabetic());
            if let Some((at, _)) = text.match_indices(word).find(|(at, _)| ends(*at)) {
                let around: String = text[at..].chars().take(60).collect();
                panic!("{name}: {word} is left in {path}: {around}");
            }
        }
    }

    let (first, second) = (place.path().join("a.bundle"), place.path().join("b.bundle"));
    let (old, new) = (bundled(&before, &first), bundled(&after, &second));
    let sources = |manifest: &Manifest| {
        let mut all: Vec<String> = manifest
            .sources
            .iter()
            .map(|one| format!("{} {} {} {:?} {:?}", one.kind, one.records, one.rejected, one.first, one.last))
            .collect();
        all.sort();
        all
    };
    assert_eq!(sources(&old), sources(&new), "{name}");
    let losses = |manifest: &Manifest| {
        let mut all: Vec<String> = manifest.losses.iter().map(|one| format!("{} {}", one.name, one.count)).collect();
        all.sort();
        all
    };
    assert_eq!(losses(&old), losses(&new), "{name}");
    for table in &old.tables {
        let file = format!("{}.parquet", table.name);
        let (one, other) = (columns(&first.join(&file)), columns(&second.join(&file)));
        for (column, values) in &one {
            let same = other.get(column) == Some(values);
            assert!(same, "{name}: {}.{column} differs", table.name);
        }
    }
}

#[test]
fn iptables_figures_stay() {
    check("iptables-pod-crash-1", &["10.244.0.", "10.96.100.100", "172.30.0.1", "node-a", "default/test"]);
}

#[test]
fn nftables_figures_stay() {
    check("nftables-pod-crash-1", &["10.244.0.", "10.96.100.100", "172.30.0.1", "node-a", "default/test"]);
}

#[test]
fn cilium_figures_stay() {
    check("cilium-pod-crash-1", &["10.244.0.", "10.96.100.100", "172.30.0.1", "node-a", "default/test"]);
}
