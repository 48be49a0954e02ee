//! `bundle`: the stages from files to a bundle that is whole or absent.

#[cfg(test)]
mod bounds;
pub mod capture_toml;
mod dating;
pub mod nearest;
mod options;
mod pass;
pub mod pipeline;
mod programs;
mod progress;
mod reader;
pub mod recognise;
pub mod rules;
mod said;
mod settle;
mod twins;
#[cfg(test)]
mod wrapped;

pub use options::{BundleError, BundleOptions, Summary};
pub use rules::SourceRule;

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::AtomicU64;

use syncline_schema::manifest::MANIFEST;

use self::capture_toml::Statements;
use crate::bundle::pass::Pass;
use crate::bundle::progress::Progress;
use crate::bundle::reader::Reader;
use crate::form::ledger::Shares;
use crate::input::{self, Entry};
use crate::write::staged::Claim;

/// Makes a bundle.
///
/// # Errors
/// Arguments that make no sense, inputs that cannot be read at all, a disk that cannot be written. Input that cannot be
/// parsed is no error: it is counted.
pub fn bundle(options: &BundleOptions) -> Result<Summary, BundleError> {
    replaceable(options)?;
    let entries = input::walk(&options.inputs).map_err(|error| BundleError::Usage(error.to_string()))?;
    if entries.iter().all(|entry| entry.skipped) {
        let given: Vec<String> = options.inputs.iter().map(|path| path.display().to_string()).collect();
        let hidden = if entries.is_empty() { "" } else { " but hidden ones" };
        return Err(BundleError::Usage(format!("{}: expected captures, found no file{hidden}", given.join(", "))));
    }
    let statements = capture_toml::find(&entries)?;
    let io = |error: std::io::Error| {
        let out = options.out.display();
        match error.kind() {
            ErrorKind::ResourceBusy => BundleError::Usage(format!("{out}: another process writes it now")),
            ErrorKind::AlreadyExists => BundleError::Usage(format!("{out}: exists by now; --force replaces it")),
            _ => BundleError::Io(options.out.clone(), error),
        }
    };
    let claim = Claim::new(&options.out).map_err(io)?;
    let summary = fill(options, &entries, &statements, claim.path())?;
    // What stands there may be another thing by now.
    replaceable(options)?;
    claim.commit(options.force).map_err(io)?;
    Ok(summary)
}

/// Whether the name is free, or a bundle's that may be replaced.
fn replaceable(options: &BundleOptions) -> Result<(), BundleError> {
    let out = options.out.display();
    if options.out.symlink_metadata().is_err() {
        return Ok(());
    }
    if !options.force {
        return Err(BundleError::Usage(format!("{out}: exists already; --force replaces it")));
    }
    if !options.out.join(MANIFEST).exists() {
        return Err(BundleError::Usage(format!("{out}: expected a bundle to replace, this is none")));
    }
    Ok(())
}

fn fill(
    options: &BundleOptions,
    entries: &[Entry],
    statements: &Statements,
    folder: &Path,
) -> Result<Summary, BundleError> {
    let memory = if options.memory == 0 { 512 << 20 } else { options.memory };
    let threads = match options.threads {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        count => count,
    };
    let shares = Shares::of(memory);
    let mut pass = Pass::new(folder, shares.writing.clone());
    let scratch = folder.join("scratch");
    let reader = Reader {
        options: &options.sources,
        statements,
        node: options.node.clone().or_else(|| statements.node.clone()),
        limit: shares.record,
        reading: shares.reading,
        scratch_left: AtomicU64::new(shares.scratch),
        window_log: input::window_log(memory),
        progress: Progress::new(options.progress, entries.len()),
        scratch: &scratch,
        kept: Default::default(),
        entries,
        known: Default::default(),
        span: Default::default(),
    };
    pipeline::run(threads, shares.under_way, |outlet| reader.read(outlet), |steps| pass.take(steps))?;
    if scratch.exists() {
        fs::remove_dir_all(&scratch).map_err(|error| BundleError::Io(scratch, error))?;
    }
    pass.finish(options, statements, folder)
}
