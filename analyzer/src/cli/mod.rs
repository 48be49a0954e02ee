//! The commands of `syncline`: each reads its arguments, runs the stages, prints.

pub mod answers;
pub mod clocks;
pub mod copies;
pub mod inputs;
pub mod judged;
pub mod query;
pub mod timeline;

use clap::ValueEnum;

/// How to print what is a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TableFormat {
    /// Aligned columns, for people
    Table,
    /// JSON
    Json,
}
