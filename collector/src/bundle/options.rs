//! What `bundle` is asked for, what it answers, and what can go wrong.

use std::path::PathBuf;

use syncline_schema::loss::Severity;
use syncline_schema::manifest::Manifest;

use super::rules::SourceRule;
use crate::write::tables::WriteError;

/// What to bundle, and how.
#[derive(Clone, Debug, Default)]
pub struct BundleOptions {
    /// Files and folders; `-` is standard input.
    pub inputs: Vec<PathBuf>,
    /// Directory to make.
    pub out: PathBuf,
    /// Overrides of `capture.toml`.
    pub dataplane: Option<String>,
    /// As above.
    pub scenario: Option<String>,
    /// As above.
    pub node: Option<String>,
    /// `KIND[@CLOCK]=GLOB`, parsed.
    pub sources: Vec<SourceRule>,
    /// Bytes of memory; 0 means 512 MiB.
    pub memory: usize,
    /// Bytes of scratch space beside the bundle, for what must be read at many places; 0 means 16 GiB.
    pub scratch: u64,
    /// Follow links that lead out of a folder.
    pub follow: bool,
    /// Threads; 0 means as many as there are cores.
    pub threads: usize,
    /// Replace an existing bundle.
    pub force: bool,
    /// Show a progress bar on standard error where a terminal watches.
    pub progress: bool,
}

/// What became of it.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// The manifest as written.
    pub manifest: Manifest,
    /// Records rejected in all.
    pub rejected: u64,
    /// What was not read and why, the worst first: [`Summary::COMPLAINTS`] of them.
    pub complaints: Vec<(Severity, String)>,
}

impl Summary {
    /// So many complaints are kept: all are in the table `rejects`.
    pub const COMPLAINTS: usize = 20;

    /// The complaints as lines for standard error.
    pub fn told(&self) -> impl Iterator<Item = String> {
        self.complaints.iter().map(|(severity, what)| {
            let word = if *severity == Severity::Error { "error" } else { "warning" };
            format!("{word}: {what}")
        })
    }
}

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Something about the arguments or `capture.toml`.
    #[error("{0}")]
    Usage(String),
    /// The disk.
    #[error("{0}: {1}")]
    Io(PathBuf, std::io::Error),
    /// A table.
    #[error(transparent)]
    Write(#[from] WriteError),
}
