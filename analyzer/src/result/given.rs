//! Paths that a person gave, as bundles: what is none (a capture directory or file) is bundled first. What cannot be read costs itself:
//! the others are.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use syncline_collector::bundle::{BundleOptions, bundle};
use syncline_collector::write::integrity::is_bundle;
use syncline_collector::write::staged::Scratch;
use syncline_schema::printable::{tell, tell_error};

use super::copies::{self, Distinct};
use crate::bundle::Bundle;

/// How what was given is read.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Bytes that the rows of a bundle may come to.
    pub memory: u64,
    /// Whether links are followed out of a capture directory.
    pub follow: bool,
}

impl From<u64> for Reading {
    fn from(memory: u64) -> Self {
        Self { memory, follow: false }
    }
}

/// What was given.
#[derive(Debug, Default)]
pub struct Given {
    /// Each run once.
    pub distinct: Distinct,
    /// Why a path could not be read, a sentence each that names it. Standard error has said them.
    pub unread: Vec<String>,
    /// Keeps the bundles that were made on disk until it is dropped.
    pub temporary: Option<Scratch>,
}

/// Opens bundles, and bundles what is none first; each run once (standard error says which were copies, and what could not be read).
///
/// # Errors
/// Nothing that can be read.
pub fn bundles(paths: &[PathBuf], how: impl Into<Reading>) -> anyhow::Result<Given> {
    let Reading { memory, follow } = how.into();
    let mut given = Given::default();
    let mut bundles = Vec::with_capacity(paths.len());
    for (number, path) in paths.iter().enumerate() {
        let opened = open(path, number, follow, &mut given.temporary).and_then(|path| Bundle::open(&path, memory));
        match opened {
            Ok(bundle) => bundles.push(bundle),
            Err(error) => given.unread.push(format!("{error:#}")),
        }
    }
    some_left(bundles.len(), &given.unread)?;
    given.distinct = copies::distinct(bundles);
    for (_, finding) in &given.distinct.findings {
        tell(format_args!("warning: {}: {}", finding.title, finding.detail));
    }
    Ok(given)
}

/// Says what could not be read where something else could; else it is what the command ends with.
///
/// # Errors
/// Nothing is left.
pub(super) fn some_left(left: usize, unread: &[String]) -> anyhow::Result<()> {
    if left == 0 && !unread.is_empty() {
        bail!("{}", unread.join("\n"));
    }
    for why in unread {
        tell_error(format_args!("{why}"));
    }
    Ok(())
}

/// One bundle of one path, as [`bundles`] opens several.
///
/// # Errors
/// As there.
pub fn one(path: &Path, how: impl Into<Reading>) -> anyhow::Result<(Bundle, Option<Scratch>)> {
    let Reading { memory, follow } = how.into();
    let mut temporary = None;
    let opened = Bundle::open(&open(path, 0, follow, &mut temporary)?, memory)?;
    Ok((opened, temporary))
}

/// The path itself, or what the collector's library makes of a capture directory.
fn open(path: &Path, number: usize, follow: bool, temporary: &mut Option<Scratch>) -> anyhow::Result<PathBuf> {
    if is_bundle(path) {
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
    let options = BundleOptions { inputs: vec![path.to_owned()], out: out.clone(), follow, ..BundleOptions::default() };
    let summary = bundle(&options).with_context(|| path.display().to_string())?;
    for complaint in summary.told() {
        tell(format_args!("{complaint} (in {})", path.display()));
    }
    if summary.rejected > 0 {
        let what = if summary.rejected == 1 { "record was" } else { "records were" };
        let rejected = summary.rejected;
        tell(format_args!("warning: {}: {rejected} {what} rejected; the report counts them", path.display()));
    }
    if summary.manifest.sources.iter().all(|source| source.records == 0) {
        bail!("{}: no capture in it that could be read (syncline-collector formats lists what can)", path.display());
    }
    Ok(out)
}
