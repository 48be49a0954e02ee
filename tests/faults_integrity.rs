//! The collector on bundles that are not whole: `inspect` names the table.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn collector(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_syncline-collector")).args(arguments).output().expect("the collector starts")
}

#[test]
fn inspect_refuses_a_damaged_bundle_and_names_the_table() {
    let folder = tempfile::tempdir().expect("a folder");
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/faults/p01-pages-of-one-series");
    let bundle = folder.path().join("bundle");
    let path = bundle.to_str().expect("UTF-8");
    assert!(collector(&["bundle", captures.to_str().expect("UTF-8"), "--out", path]).status.success());
    assert!(collector(&["inspect", path]).status.success());
    let samples = bundle.join("samples.parquet");
    let whole = fs::read(&samples).expect("read");
    let refused = |what: &str| {
        let output = collector(&["inspect", path]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{what}: {said}");
        assert!(said.contains("table samples"), "{what}: {said}");
        assert!(output.stdout.is_empty(), "{what}");
    };
    fs::write(&samples, &whole[..whole.len() - 7]).expect("written");
    refused("cut");
    let mut other = whole.clone();
    other[whole.len() / 2] ^= 1;
    fs::write(&samples, &other).expect("written");
    refused("another byte");
    fs::remove_file(&samples).expect("removed");
    refused("deleted");
}
