//! Files of other people and programs: how each of the corpus is read (`fixtures/CORPUS.tsv`).
//!
//! One line a file: path, kind, records, records refused, losses. Any change of it is a failure; `BLESS=1` writes the
//! table anew. Runs where `../shared/corpus` is there, and says so where it is not. At least nine tenths of the files must be
//! read. Descriptions of test cases (`test.json`) are no captures and do not count.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use syncline_collector::bundle::{BundleOptions, bundle};
use syncline_schema::manifest::Manifest;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("in the workspace").to_owned()
}

/// Rows of one folder of the corpus.
fn rows(folder: &Path, name: &str, into: &mut BTreeMap<String, String>) {
    let place = tempfile::tempdir().expect("a folder");
    let out = place.path().join("bundle");
    let options = BundleOptions {
        inputs: vec![folder.to_owned()],
        out: out.clone(),
        node: Some("node-a".to_owned()),
        ..BundleOptions::default()
    };
    bundle(&options).unwrap_or_else(|error| panic!("{name}: {error}"));
    let text = std::fs::read_to_string(out.join("manifest.json")).expect("a manifest");
    let manifest: Manifest = serde_json::from_str(&text).expect("JSON");
    for source in &manifest.sources {
        let losses: Vec<String> = manifest
            .losses
            .iter()
            .filter(|loss| loss.source.as_ref() == Some(&source.path) && loss.name != "rejected-records")
            .map(|loss| format!("{}={}", loss.name, loss.count))
            .collect();
        let losses = if losses.is_empty() { "-".to_owned() } else { losses.join(" ") };
        into.insert(
            format!("{name}/{}", source.path),
            format!("{}\t{}\t{}\t{losses}", source.kind, source.records, source.rejected),
        );
    }
}

#[test]
fn every_file_is_read_as_the_table_says() {
    let places = ["../shared/corpus", "../../shared/corpus"].map(|place| root().join(place));
    let Some(corpus) = places.iter().find(|place| place.is_dir()) else {
        eprintln!("skipped: {} is not there", places[0].display());
        return;
    };
    let mut found = BTreeMap::new();
    let mut folders: Vec<PathBuf> = std::fs::read_dir(corpus)
        .expect("the corpus")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    for folder in folders {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        rows(&folder, &name, &mut found);
    }
    let mut text = "file\tkind\trecords\trejected\tlosses\n".to_owned();
    for (file, row) in &found {
        writeln!(text, "{file}\t{row}").expect("a text");
    }
    let captures: Vec<(&String, &String)> = found.iter().filter(|(file, _)| !file.ends_with("/test.json")).collect();
    let unread: Vec<&str> =
        captures.iter().filter(|(_, row)| row.starts_with("unread\t")).map(|(file, _)| file.as_str()).collect();
    assert!(
        unread.len() * 10 <= captures.len(),
        "{} of {} files are unread:\n{}",
        unread.len(),
        captures.len(),
        unread.join("\n")
    );
    let table = root().join("tests/fixtures/CORPUS.tsv");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&table, &text).expect("the table is written");
    }
    let expected = std::fs::read_to_string(&table).expect("the table; BLESS=1 writes it");
    let differing: Vec<String> = expected
        .lines()
        .filter(|line| !text.contains(*line))
        .map(|line| format!("- {line}"))
        .chain(text.lines().filter(|line| !expected.contains(*line)).map(|line| format!("+ {line}")))
        .collect();
    assert!(differing.is_empty(), "the corpus is read otherwise (BLESS=1 accepts it):\n{}", differing.join("\n"));
}
