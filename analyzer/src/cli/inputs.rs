//! Bundles and capture directories, as loaded runs.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rayon::prelude::{IntoParallelIterator, IntoParallelRefIterator, ParallelIterator};
use syncline_collector::bundle::{BundleOptions, bundle};
use syncline_schema::manifest::MANIFEST;
use tempfile::TempDir;

use super::copies::{self, Distinct};
use crate::bundle::Bundle;
use crate::events::Run;
use crate::measure::{self, Measurement};

/// Stack of a worker thread; only what is used of it is ever resident.
const WORKER_STACK: usize = 64 << 20;

/// Runs that were loaded, and the temporary bundles that they rest on.
pub struct Loaded {
    /// In the order of the arguments; names are unique.
    pub runs: Vec<Run>,
    /// Measurements of each run.
    pub measurements: Vec<Vec<Measurement>>,
    /// Kept until the end: they are deleted when this is dropped.
    _temporary: Option<TempDir>,
}

/// Opens bundles, bundles capture directories first, and loads and measures all runs in parallel. Copies of one run are
/// one run, said so.
///
/// # Errors
/// A path that is neither, or a bundle that cannot be read.
pub fn load(paths: &[PathBuf]) -> anyhow::Result<Loaded> {
    let (Distinct { bundles, findings }, temporary) = distinct_bundles(paths)?;
    // A worker that waits for a part of its run takes up parts of others: many runs stack up on one thread.
    let pool = rayon::ThreadPoolBuilder::new().stack_size(WORKER_STACK).build().context("worker threads")?;
    let (mut runs, measurements) = pool.install(|| evaluate(bundles))?;
    for (at, finding) in findings {
        if let Some(run) = runs.get_mut(at) {
            run.findings.push(finding);
        }
    }
    Ok(Loaded { runs, measurements, _temporary: temporary })
}

impl Loaded {
    /// Whether every bundle is still the one that was read.
    ///
    /// # Errors
    /// A bundle that was replaced meanwhile.
    pub fn unchanged(&self) -> anyhow::Result<()> {
        self.runs.iter().try_for_each(|run| run.bundle.unchanged())
    }
}

/// Opens bundles, and bundles what is none (a capture directory or file) first; each run once. The second value keeps such
/// bundles on disk.
///
/// # Errors
/// A path that is neither, or a bundle that cannot be read.
pub fn bundles(paths: &[PathBuf]) -> anyhow::Result<(Vec<Bundle>, Option<TempDir>)> {
    distinct_bundles(paths).map(|(distinct, temporary)| (distinct.bundles, temporary))
}

/// Each run once; standard error says which were copies.
fn distinct_bundles(paths: &[PathBuf]) -> anyhow::Result<(Distinct, Option<TempDir>)> {
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

fn evaluate(bundles: Vec<Bundle>) -> anyhow::Result<(Vec<Run>, Vec<Vec<Measurement>>)> {
    let runs: Vec<Run> = bundles
        .into_par_iter()
        .map(|bundle| {
            let place = bundle.path.display().to_string();
            Run::load(bundle).context(place)
        })
        .collect::<anyhow::Result<_>>()?;
    let mut runs = unique(runs);
    let mut measurements: Vec<Vec<Measurement>> = runs
        .par_iter()
        .map(|run| measure::all(run).with_context(|| run.bundle.path.display().to_string()))
        .collect::<anyhow::Result<_>>()?;
    for (run, measured) in runs.iter_mut().zip(&measurements) {
        run.findings.extend(measure::node_busy::load_findings(measured));
    }
    let flat: Vec<Measurement> = measurements.iter().flatten().cloned().collect();
    for found in measure::across::across(&runs, &flat) {
        let own = runs.iter().rposition(|run| run.name == found.run).or_else(|| runs.len().checked_sub(1));
        if let Some(all) = own.and_then(|at| measurements.get_mut(at)) {
            all.push(found);
        }
    }
    Ok((runs, measurements))
}

/// One bundle: the path itself, or what the collector's library makes of a capture directory.
fn open(path: &Path, number: usize, temporary: &mut Option<TempDir>) -> anyhow::Result<PathBuf> {
    if path.join(MANIFEST).is_file() {
        return Ok(path.to_owned());
    }
    if !path.exists() {
        bail!("{}: expected a bundle or a capture directory, found nothing", path.display());
    }
    let folder = match temporary {
        Some(folder) => folder,
        None => temporary.insert(tempfile::tempdir().context("a temporary directory for bundles")?),
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

/// Makes the names of runs unique by their identity.
fn unique(mut runs: Vec<Run>) -> Vec<Run> {
    let names: Vec<String> = runs.iter().map(|run| run.name.clone()).collect();
    for (at, run) in runs.iter_mut().enumerate() {
        if names.iter().filter(|name| **name == names[at]).count() > 1 {
            run.name = format!("{}-{}", run.name, run.id.get(..6).unwrap_or(&run.id));
        }
    }
    // Of the same sources under the same names: told apart by their position.
    let names: Vec<String> = runs.iter().map(|run| run.name.clone()).collect();
    for (at, run) in runs.iter_mut().enumerate() {
        if names[..at].contains(&names[at]) {
            run.name = format!("{} (run {})", run.name, at + 1);
        }
    }
    runs
}
