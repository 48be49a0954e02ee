//! The commands: arguments, what is printed, exit codes.

pub mod bundle;
#[cfg(feature = "record")]
pub mod doctor;
pub mod inspect;
#[cfg(feature = "record")]
pub mod manifest;
#[cfg(feature = "record")]
pub mod record;
#[cfg(feature = "record")]
pub mod scripts;
mod shared_series;
mod sizes;
