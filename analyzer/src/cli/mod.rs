//! The commands of `syncline`: each reads its arguments, runs the stages, prints.

pub mod open;
pub mod query;
pub mod report;
