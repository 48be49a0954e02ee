//! Paths that a person gave, as bundles: what is none (a capture directory or file) is bundled first. What cannot be read costs itself:
//! the others are.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use syncline_collector::bundle::{BundleOptions, bundle};
use syncline_collector::write::integrity::is_bundle;
use syncline_collector::write::staged::Scratch;
use syncline_schema::manifest::Manifest;
use syncline_schema::printable::{tell, tell_error};

use super::archive::select::Condition;
use super::archive::{self, Archive};
use super::copies::{self, Captured, Distinct};
use super::work;
use crate::bundle::Bundle;

/// Memory that bundling takes where it may have more, bytes.
const MOST_FOR_BUNDLING: usize = 512 << 20;

/// How what was given is read.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Bytes that the rows of the bundles that are read at once may come to, and what bundling may use.
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
    pub distinct: Distinct<Bundle>,
    /// Why a path could not be read, a sentence each that names it. Standard error has said them.
    pub unread: Vec<String>,
    /// Keep the bundles that were made on disk until they are dropped.
    pub temporary: Vec<Scratch>,
}

impl Captured for Bundle {
    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn manifest(&self) -> Cow<'_, Manifest> {
        Cow::Borrowed(&self.manifest)
    }
}

/// Opens bundles, and bundles what is none first; each run once (standard error says which were copies, and what could not be read).
/// An archive stands for the bundles and captures that it was made of, those of the runs that `wanted` holds for.
///
/// # Errors
/// Nothing that can be read.
pub fn bundles(paths: &[PathBuf], wanted: Option<&Condition>, how: impl Into<Reading>) -> anyhow::Result<Given> {
    let mut places = Vec::new();
    for path in paths {
        if archive::is_archive(path) {
            places.extend(Archive::open(path)?.places(wanted)?);
        } else if wanted.is_some() {
            bail!("{}: expected an archive, from which --where selects runs", path.display());
        } else {
            places.push(path.clone());
        }
    }
    let mut given = Given::default();
    let mut bundles = Vec::with_capacity(places.len());
    for opened in opened(&places, how)? {
        match opened {
            Ok(Opened { bundle, temporary, told }) => {
                told.iter().for_each(|line| tell(format_args!("{line}")));
                given.temporary.extend(temporary);
                bundles.push(bundle);
            }
            Err(error) => given.unread.push(format!("{error:#}")),
        }
    }
    some_left(bundles.len(), &given.unread)?;
    given.distinct = copies::distinct(bundles);
    say_copies(&given.distinct);
    Ok(given)
}

/// Says on standard error which runs were copies of others.
pub(super) fn say_copies<T>(distinct: &Distinct<T>) {
    for (_, finding) in &distinct.findings {
        tell(format_args!("warning: {}: {}", finding.title, finding.detail));
    }
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
/// As there; an archive, which has many.
pub fn one(path: &Path, how: impl Into<Reading>) -> anyhow::Result<(Bundle, Option<Scratch>)> {
    if archive::is_archive(path) {
        bail!("{}: expected a bundle or a capture directory, this is an archive of many", path.display());
    }
    let Opened { bundle, temporary, told } = {
        let how = how.into();
        open(path, how, how.memory)?
    };
    told.iter().for_each(|line| tell(format_args!("{line}")));
    Ok((bundle, temporary))
}

/// A bundle that was opened.
#[derive(Debug)]
pub struct Opened {
    pub bundle: Bundle,
    /// Keeps it on disk where it was made for this.
    pub temporary: Option<Scratch>,
    /// What making it had to say, a line each.
    pub told: Vec<String>,
}

/// Opens paths that are no archives, several at once; in their order.
///
/// # Errors
/// Threads that cannot be had. What cannot be read is an error of its own.
pub fn opened(paths: &[PathBuf], how: impl Into<Reading>) -> anyhow::Result<Vec<anyhow::Result<Opened>>> {
    let how = how.into();
    let jobs = work::cores().min(paths.len()).max(1);
    let share = how.memory / jobs as u64;
    let mut all: Vec<Option<anyhow::Result<Opened>>> = paths.iter().map(|_| None).collect();
    work::each(
        paths.to_vec(),
        jobs,
        |_, path| open(&path, how, share),
        |at, opened| {
            all[at] = Some(opened);
            Ok(())
        },
    )?;
    Ok(all.into_iter().flatten().collect())
}

/// The path itself, or what the collector's library makes of a capture directory with `share` bytes of memory at most.
///
/// # Errors
/// Nothing there, nothing in it that is a capture, or a bundle that is not whole or too large.
pub fn open(path: &Path, how: Reading, share: u64) -> anyhow::Result<Opened> {
    if is_bundle(path) {
        return Ok(Opened { bundle: Bundle::open(path, how.memory)?, temporary: None, told: Vec::new() });
    }
    if !path.exists() {
        bail!("{}: expected a bundle or a capture directory, found nothing", path.display());
    }
    let folder = Scratch::new(&std::env::temp_dir(), ".syncline-bundles-");
    let folder = folder.context("a temporary directory for bundles")?;
    let name =
        path.canonicalize().ok().and_then(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()));
    let out = folder.path().join(name.unwrap_or_else(|| "capture".to_owned()));
    let options = BundleOptions {
        inputs: vec![path.to_owned()],
        out: out.clone(),
        follow: how.follow,
        memory: usize::try_from(share).unwrap_or(usize::MAX).min(MOST_FOR_BUNDLING),
        threads: rayon::current_num_threads(),
        ..BundleOptions::default()
    };
    let summary = bundle(&options).with_context(|| path.display().to_string())?;
    let mut told: Vec<String> =
        summary.told().map(|complaint| format!("{complaint} (in {})", path.display())).collect();
    if summary.rejected > 0 {
        let what = if summary.rejected == 1 { "record was" } else { "records were" };
        let rejected = summary.rejected;
        told.push(format!("warning: {}: {rejected} {what} rejected; the report counts them", path.display()));
    }
    if summary.manifest.sources.iter().all(|source| source.records == 0) {
        bail!("{}: no capture in it that could be read (syncline-collector formats lists what can)", path.display());
    }
    Ok(Opened { bundle: Bundle::open(&out, how.memory)?, temporary: Some(folder), told })
}
