//! `bundle`: the stages from files to a bundle that is whole or absent.

pub mod capture_toml;
mod dating;
pub mod nearest;
mod options;
mod pass;
pub mod pipeline;
mod programs;
mod progress;
mod reader;
mod recognise;
pub mod rules;
mod said;
mod settle;
mod twins;
#[cfg(test)]
mod wrapped;

pub use options::{BundleError, BundleOptions, Summary};
pub use rules::SourceRule;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use syncline_schema::manifest::MANIFEST;

use self::capture_toml::Statements;
use crate::bundle::pass::Pass;
use crate::bundle::progress::Progress;
use crate::bundle::reader::Reader;
use crate::input::{self, CHUNK, Entry};

/// Makes a bundle.
///
/// # Errors
/// Arguments that make no sense, inputs that cannot be read at all, a disk that cannot be written. Input that cannot be
/// parsed is no error: it is counted.
pub fn bundle(options: &BundleOptions) -> Result<Summary, BundleError> {
    if options.out.symlink_metadata().is_ok() {
        if !options.force {
            return Err(BundleError::Usage(format!("{}: exists already; --force replaces it", options.out.display())));
        }
        if !options.out.join(MANIFEST).exists() {
            let out = options.out.display();
            return Err(BundleError::Usage(format!("{out}: expected a bundle to replace, this is none")));
        }
    }
    let entries = input::walk(&options.inputs).map_err(|error| BundleError::Usage(error.to_string()))?;
    if entries.iter().all(|entry| entry.skipped) {
        let given: Vec<String> = options.inputs.iter().map(|path| path.display().to_string()).collect();
        let hidden = if entries.is_empty() { "" } else { " but hidden ones" };
        return Err(BundleError::Usage(format!("{}: expected captures, found no file{hidden}", given.join(", "))));
    }
    let statements = capture_toml::find(&entries)?;
    let partial = sibling(&options.out, "partial");
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(&partial).map_err(|error| BundleError::Io(partial.clone(), error))?;
    let result = fill(options, &entries, &statements, &partial).and_then(|summary| {
        commit(&partial, &options.out)?;
        Ok(summary)
    });
    if result.is_err() {
        let _ = fs::remove_dir_all(&partial);
    }
    result
}

/// A hidden folder beside the final one.
fn sibling(out: &Path, what: &str) -> PathBuf {
    let name = out.file_name().map_or_else(|| "bundle".into(), |name| name.to_string_lossy());
    out.with_file_name(format!(".{name}.{what}"))
}

/// Gives the finished folder its name. An old bundle is moved aside first, so that the name never holds half of one.
fn commit(partial: &Path, out: &Path) -> Result<(), BundleError> {
    let io = |error| BundleError::Io(out.to_owned(), error);
    File::open(partial).and_then(|folder| folder.sync_all()).map_err(io)?;
    let old = sibling(out, "replaced");
    let replaces = out.symlink_metadata().is_ok();
    if replaces {
        let _ = fs::remove_dir_all(&old);
        fs::rename(out, &old).map_err(io)?;
    }
    if let Err(error) = fs::rename(partial, out) {
        if replaces {
            let _ = fs::rename(&old, out);
        }
        return Err(io(error));
    }
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Some file systems cannot sync a folder: the bundle is in place all the same.
    let _ = File::open(parent).and_then(|folder| folder.sync_all());
    if replaces {
        fs::remove_dir_all(&old).map_err(io)?;
    }
    Ok(())
}

/// Longest record that a memory limit allows: a power of two of chunks, so that two limits cut alike up to the smaller.
fn longest_record(memory: usize) -> usize {
    let mut limit = CHUNK;
    while limit * 2 <= memory / 8 {
        limit *= 2;
    }
    limit
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
    let mut pass = Pass::new(folder);
    let scratch = folder.join("scratch");
    let reader = Reader {
        options: &options.sources,
        statements,
        node: options.node.clone().or_else(|| statements.node.clone()),
        limit: longest_record(memory),
        window_log: input::window_log(memory),
        progress: Progress::new(options.progress, entries.len()),
        scratch: &scratch,
        kept: Default::default(),
        entries,
        known: Default::default(),
        span: Default::default(),
    };
    pipeline::run(threads, memory / 2, |outlet| reader.read(outlet), |steps| pass.take(steps))?;
    if scratch.exists() {
        fs::remove_dir_all(&scratch).map_err(|error| BundleError::Io(scratch, error))?;
    }
    pass.finish(options, statements, folder)
}
