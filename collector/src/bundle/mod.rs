//! `bundle`: the stages from files to a bundle that is whole or absent.

#[cfg(test)]
mod bounds;
pub mod capture_toml;
mod dating;
pub mod glance;
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
mod stated;
mod twins;
#[cfg(test)]
mod wrapped;

pub use options::{BundleError, BundleOptions, Summary};
pub use rules::SourceRule;

use std::io::ErrorKind;
use std::path::Path;

use syncline_schema::manifest::MANIFEST;

use self::capture_toml::Statements;
use crate::bundle::pass::Pass;
use crate::bundle::progress::Progress;
use crate::bundle::reader::{Reader, Room, Scratch};
use crate::bundle::rules::Rules;
use crate::form::ledger::Shares;
use crate::input::{self, Entry, Limits, Skip, Walk};
use crate::write::staged::Claim;

/// Makes a bundle.
///
/// # Errors
/// Arguments that make no sense, inputs that cannot be read at all, a disk that cannot be written. Input that cannot be
/// parsed is no error: it is counted.
pub fn bundle(options: &BundleOptions) -> Result<Summary, BundleError> {
    replaceable(options)?;
    let memory = if options.memory == 0 { 512 << 20 } else { options.memory };
    let limits = Limits::new(memory);
    let shares = Shares::of(memory);
    let walk = Walk { follow: options.follow, room: shares.reading.total() };
    let entries = input::walk(&options.inputs, walk).map_err(|error| BundleError::Usage(error.to_string()))?;
    if entries.iter().all(|entry| entry.skipped.is_some()) {
        return Err(BundleError::Usage(nothing(options, &entries)));
    }
    let statements = stated::find(&entries, &limits, stated::LOOK)?;
    let given: usize = options.sources.iter().map(|rule| rule.glob.len()).sum();
    if given > rules::LONGEST {
        return Err(BundleError::Usage(format!("--source: expected globs of at most {} bytes in all", rules::LONGEST)));
    }
    // The command line ahead of `capture.toml`.
    let rules = options.sources.iter().chain(&statements.sources).cloned().collect();
    let rules = Rules::new(rules).map_err(BundleError::Usage)?;
    let io = |error: std::io::Error| {
        let out = options.out.display();
        match error.kind() {
            ErrorKind::ResourceBusy => BundleError::Usage(format!("{out}: another process writes it now")),
            ErrorKind::AlreadyExists => BundleError::Usage(format!("{out}: exists by now; --force replaces it")),
            _ => BundleError::Io(options.out.clone(), error),
        }
    };
    let claim = Claim::new(&options.out).map_err(io)?;
    let found = Found { entries: &entries, statements: &statements, rules: &rules };
    let summary = fill(options, &found, (shares, limits), claim.path())?;
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

/// What there is to be read.
struct Found<'f> {
    entries: &'f [Entry],
    statements: &'f Statements,
    rules: &'f Rules,
}

/// Why there is nothing to be read.
fn nothing(options: &BundleOptions, entries: &[Entry]) -> String {
    let given: Vec<String> = options.inputs.iter().map(|path| path.display().to_string()).collect();
    let why = match entries.iter().find(|entry| entry.skipped != Some(Skip::Hidden)) {
        Some(Entry { path, skipped: Some(Skip::Out(to)), .. }) => {
            format!(" but links out of it, as {path} to {}: --follow reads them", to.display())
        }
        Some(Entry { path, skipped: Some(Skip::Unreadable(error)), .. }) => format!(": {path}: {error}"),
        Some(entry) => format!(" but what is none, as {}", entry.path),
        None if entries.is_empty() => String::new(),
        None => " but hidden ones".to_owned(),
    };
    format!("{}: expected captures, found no file{why}", given.join(", "))
}

fn fill(
    options: &BundleOptions,
    found: &Found<'_>,
    (shares, limits): (Shares, Limits),
    folder: &Path,
) -> Result<Summary, BundleError> {
    let threads = match options.threads {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        count => count,
    };
    let Found { entries, statements, rules } = *found;
    let mut pass = Pass::new(folder, shares.writing.clone());
    let place = folder.join("scratch");
    let scratch = Scratch::new(place.clone(), options.scratch);
    let reader = Reader {
        rules,
        statements,
        node: options.node.clone().or_else(|| statements.node.clone()),
        limit: shares.record,
        limits,
        room: Room::new(&shares.reading, entries),
        reading: shares.reading,
        progress: Progress::new(options.progress, entries.len()),
        scratch: &scratch,
        entries,
        known: Default::default(),
        span: Default::default(),
    };
    pipeline::run(threads, shares.under_way, |outlet| reader.read(outlet), |steps| pass.take(steps))?;
    scratch.remove().map_err(|error| BundleError::Io(place, error))?;
    pass.finish(options, statements, folder)
}
