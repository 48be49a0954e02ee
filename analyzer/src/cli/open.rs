//! Opens what the command line names: bundles as they are, capture directories through the collector's library.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rayon::prelude::{IntoParallelRefIterator, ParallelIterator};
use syncline_collector::bundle::{BundleOptions, bundle};
use syncline_schema::manifest::MANIFEST;

use crate::bundle::Bundle;
use crate::events::Run;

/// Memory for bundling a capture directory.
const MEMORY: usize = 512 << 20;

/// Loaded runs, and the bundles made for them: those go when this is dropped.
#[derive(Debug)]
pub struct Opened {
    pub runs: Vec<Run>,
    _made: Vec<tempfile::TempDir>,
}

/// Loads the runs, in the order of the arguments, with unique names.
///
/// # Errors
/// A path that is neither, or one that cannot be read.
pub fn runs(paths: &[PathBuf]) -> anyhow::Result<Opened> {
    let loaded: Vec<anyhow::Result<(Run, Option<tempfile::TempDir>)>> =
        paths.par_iter().map(|path| one(path)).collect();
    let (mut runs, mut made) = (Vec::new(), Vec::new());
    for one in loaded {
        let (run, folder) = one?;
        runs.push(run);
        made.extend(folder);
    }
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for run in &runs {
        *seen.entry(run.name.clone()).or_default() += 1;
    }
    for run in &mut runs {
        if seen.get(&run.name).is_some_and(|n| *n > 1) {
            run.name = format!("{} ({})", run.name, run.id);
        }
    }
    Ok(Opened { runs, _made: made })
}

fn one(path: &Path) -> anyhow::Result<(Run, Option<tempfile::TempDir>)> {
    let named = || path.display().to_string();
    if path.join(MANIFEST).is_file() {
        return Ok((Run::load(Bundle::open(path)?).with_context(named)?, None));
    }
    // The tables must outlive the run: measurements and charts read them.
    let folder = tempfile::Builder::new().prefix("syncline-").tempdir()?;
    let out = folder.path().join(path.file_name().unwrap_or_else(|| "capture".as_ref()));
    bundle(&BundleOptions {
        inputs: vec![path.to_owned()],
        out: out.clone(),
        memory: MEMORY,
        ..BundleOptions::default()
    })
    .with_context(named)?;
    Ok((Run::load(Bundle::open(&out)?).with_context(named)?, Some(folder)))
}
