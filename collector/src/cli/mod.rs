//! The commands: arguments, what is printed, exit codes.

pub mod bundle;
pub mod inspect;
mod shared_series;
