//! What seeds are made of: the samples of the formats and layers, and the smaller captures among the fixtures.

use std::fs;
use std::path::{Path, PathBuf};

use syncline_collector::layers::LAYERS;
use syncline_collector::parse::FORMATS;

/// Largest fixture that is taken: a mutation of a larger one changes too small a part of it.
const LARGEST: u64 = 12 << 10;

/// Folder of the fixtures.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures")
}

/// The sample of a format, or of a layer, by a number that may be any.
pub fn sample(number: u8) -> &'static str {
    let number = usize::from(number) % (FORMATS.len() + LAYERS.len());
    FORMATS.get(number).map_or_else(|| LAYERS[number - FORMATS.len()].sample, |format| format.sample)
}

/// Every sample.
pub fn samples() -> impl Iterator<Item = &'static str> {
    FORMATS.iter().map(|format| format.sample).chain(LAYERS.iter().map(|layer| layer.sample))
}

/// The captures among the fixtures, by path, those that are small enough.
pub fn captures() -> Vec<Vec<u8>> {
    let mut paths = Vec::new();
    collect(&folder(), &mut paths);
    paths.sort();
    paths.iter().filter_map(|path| fs::read(path).ok()).collect()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_none_or(|end| end != "parquet")
            && entry.metadata().is_ok_and(|meta| meta.len() <= LARGEST)
        {
            found.push(path);
        }
    }
}
