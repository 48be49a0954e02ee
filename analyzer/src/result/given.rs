//! Paths that a person gave, as bundles: what is none (a capture directory or file) is bundled first.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use syncline_collector::bundle::{BundleOptions, bundle};
use syncline_collector::write::staged::Scratch;
use syncline_schema::manifest::MANIFEST;

use super::copies::{self, Distinct};
use crate::bundle::Bundle;

/// Opens bundles, and bundles what is none first; each run once (standard error says which were copies). The second value
/// keeps such bundles on disk until it is dropped.
///
/// # Errors
/// A path that is neither, or a bundle that cannot be read.
pub fn bundles(paths: &[PathBuf]) -> anyhow::Result<(Distinct, Option<Scratch>)> {
    let mut temporary = None;
    let mut bundles = Vec::with_capacity(paths.len());
    for (number, path) in paths.iter().enumerate() {
        bundles.push(Bundle::open(&open(path, number, &mut temporary)?)?);
    }
    let distinct = copies::distinct(bundles);
    for (_, finding) in &distinct.findings {
        eprintln!("warning: {}: {}", finding.title, finding.detail);
    }
    Ok((distinct, temporary))
}

/// One bundle of one path, as [`bundles`] opens several.
///
/// # Errors
/// As there.
pub fn one(path: &Path) -> anyhow::Result<(Bundle, Option<Scratch>)> {
    let mut temporary = None;
    let opened = Bundle::open(&open(path, 0, &mut temporary)?)?;
    Ok((opened, temporary))
}

/// The path itself, or what the collector's library makes of a capture directory.
fn open(path: &Path, number: usize, temporary: &mut Option<Scratch>) -> anyhow::Result<PathBuf> {
    if path.join(MANIFEST).is_file() {
        return Ok(path.to_owned());
    }
    if !path.exists() {
        bail!("{}: expected a bundle or a capture directory, found nothing", path.display());
    }
    let folder = match temporary {
        Some(folder) => folder,
        None => {
            let folder = Scratch::new(&std::env::temp_dir(), ".syncline-bundles-");
            temporary.insert(folder.context("a temporary directory for bundles")?)
        }
    };
    let name =
        path.canonicalize().ok().and_then(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()));
    let out = folder.path().join(format!("{number}")).join(name.unwrap_or_else(|| "capture".to_owned()));
    std::fs::create_dir_all(out.parent().unwrap_or(folder.path()))?;
    let options = BundleOptions { inputs: vec![path.to_owned()], out: out.clone(), ..BundleOptions::default() };
    let summary = bundle(&options).with_context(|| path.display().to_string())?;
    if summary.rejected > 0 {
        let what = if summary.rejected == 1 { "record was" } else { "records were" };
        eprintln!("warning: {}: {} {what} rejected; the report counts them", path.display(), summary.rejected);
    }
    if summary.manifest.sources.iter().all(|source| source.records == 0) {
        bail!("{}: no capture in it that could be read (syncline-collector formats lists what can)", path.display());
    }
    Ok(out)
}
