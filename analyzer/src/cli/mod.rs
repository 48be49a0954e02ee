//! The commands of `syncline`: each reads its arguments, runs the stages, prints.

pub mod against;
pub mod alerts;
pub mod answers;
pub mod archive;
mod budget;
pub mod clocks;
pub mod compare;
pub mod dashboards;
pub mod export;
pub mod hints;
pub mod judged;
pub mod query;
pub mod serve;
pub mod shell;
pub mod timeline;
pub mod times;
pub mod trend;

use std::process::ExitCode;

pub use budget::{Budget, Selection};
use clap::{Args, ValueEnum};
use syncline_schema::printable::printable_json;

use crate::result::group::Keys;

/// How to print what is a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TableFormat {
    /// Aligned columns, for people
    Table,
    /// JSON
    Json,
}

/// Which runs count as replicates of each other.
#[derive(Args, Clone, Debug, Default)]
pub struct Grouping {
    /// Facts that tell runs apart too: keys as config/bpf-lb-algorithm
    #[arg(long, value_name = "FACT,...")]
    by: Option<String>,
    /// Facts that do not tell runs apart: of proxy, kubernetes, kernel,
    /// nodes, cores, min-sync-period, full-sync, label
    #[arg(long, value_name = "FACT,...")]
    ignore: Option<String>,
}

impl Grouping {
    /// The facts that make a key.
    ///
    /// # Errors
    /// A fact that is none.
    pub fn keys(&self) -> anyhow::Result<Keys> {
        Keys::of(self.by.as_deref(), self.ignore.as_deref())
    }
}

/// How a command ends that was told to fail where something was found (1), and could not read all that it was given (2). Neither is
/// a pass; what was found is what was asked for.
fn ended(found: bool, incomplete: bool) -> ExitCode {
    match (found, incomplete) {
        (true, _) => ExitCode::from(1),
        (false, true) => ExitCode::from(2),
        (false, false) => ExitCode::SUCCESS,
    }
}

/// Prints a document of JSON: the same data, nothing in it that a terminal obeys.
fn print_json(document: &str) -> anyhow::Result<()> {
    print(&printable_json(document))
}

/// Prints what is printable already.
fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    Ok(std::io::stdout().lock().write_all(text.as_bytes())?)
}
