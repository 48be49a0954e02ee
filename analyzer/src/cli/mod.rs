//! The commands of `syncline`: each reads its arguments, runs the stages, prints.

pub mod against;
pub mod answers;
pub mod clocks;
pub mod compare;
pub mod hints;
pub mod judged;
pub mod query;
pub mod shell;
pub mod timeline;
pub mod times;

use clap::{Args, ValueEnum};

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

fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    Ok(std::io::stdout().lock().write_all(text.as_bytes())?)
}
