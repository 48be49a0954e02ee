//! A folder of files, through the whole of `bundle`: recognition, order, the sequential pass, Parquet, the manifest.

use std::path::{Path, PathBuf};

use arbitrary::{Arbitrary, Unstructured};
use syncline_collector::bundle::{BundleError, BundleOptions, bundle};
use syncline_collector::write::{integrity, rebuild};

use crate::content::Content;
use crate::{mutation, places};

/// Files of a capture at most.
const MOST_FILES: usize = 4;

/// Names of files: some say what is in them, and some belong to a TSDB.
const NAMES: [&str; 16] = [
    "nat-save.txt",
    "nat-save-1795407710.48.txt",
    "nat-save-1795407711.txt",
    "audit.jsonl",
    "kube-proxy.log",
    "markers.tsv",
    "capture.toml",
    "a.tar.gz",
    "data/wal/00000000",
    "data/chunks_head/000001",
    "data/01M83ZNG2Z4BNQXMP2GP3V8GR6/index",
    "data/01M83ZNG2Z4BNQXMP2GP3V8GR6/chunks/000001",
    "data/01M83ZNG2Z4BNQXMP2GP3V8GR6/meta.json",
    ".hidden",
    "x",
    "b/x.json",
];

/// A capture.
#[derive(Arbitrary, Debug)]
struct Capture {
    files: Vec<(u8, Content)>,
    dataplane: bool,
}

/// Takes an input.
pub fn run(data: &[u8]) {
    let Ok(capture) = Capture::arbitrary_take_rest(Unstructured::new(data)) else { return };
    let folder = places::folder();
    let input = folder.path().join("run");
    for (name, content) in capture.files.iter().take(MOST_FILES) {
        places::write(&input.join(NAMES[usize::from(*name) % NAMES.len()]), &content.bytes());
    }
    if input.is_dir() {
        let dataplane = capture.dataplane.then(|| "kube-proxy-iptables".to_owned());
        bundled(&BundleOptions { inputs: vec![input], dataplane, ..options(folder.path()) });
    }
}

/// Options of a bundle in a folder, within the least memory that `bundle` accepts.
pub fn options(folder: &Path) -> BundleOptions {
    BundleOptions { out: folder.join("bundle"), memory: 32 << 20, threads: 1, ..BundleOptions::default() }
}

/// Makes a bundle, which must be whole, whatever its input.
///
/// # Panics
/// Where it is not.
pub fn bundled(options: &BundleOptions) {
    let summary = match bundle(options) {
        Ok(summary) => summary,
        // Two that contradict each other, a line that cannot be read: said, and nothing made.
        Err(BundleError::Usage(_)) => return,
        Err(error) => panic!("no input makes a bundle fail: {error}"),
    };
    let manifest = integrity::manifest(&options.out).expect("what was written is a bundle");
    let whole = integrity::check(&options.out, &manifest).expect("what was written is whole");
    for (at, source) in summary.manifest.sources.iter().enumerate() {
        assert!(!source.kind.is_empty(), "{} has no kind", source.path);
        // What was taken apart is put together again, where the source has snapshots.
        if summary.manifest.tables.iter().any(|table| table.name == "dataplane_snapshots") {
            let _ = rebuild::snapshot(&options.out, &whole, at as i32, 0);
        }
    }
    let listed: Vec<PathBuf> = options.inputs.clone();
    assert!(!summary.manifest.sources.is_empty(), "nothing of {listed:?} is a source");
}

/// Bytes without order: each is a capture of some files.
pub fn seeds() -> Vec<Vec<u8>> {
    mutation::noise(200)
}
