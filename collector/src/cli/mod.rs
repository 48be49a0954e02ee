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

use std::process::ExitCode;

use syncline_schema::printable::tell_lines;

/// Says what is wrong with a command line, or prints the help or the version that it asked for. Exit codes as clap's: 2, and 0.
///
/// Its words are a person's, or those of a script that passes on a captured name.
pub fn usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        tell_lines(&error.to_string());
    } else {
        // A reader that has seen enough (`| head`) is no fault.
        let _ = error.print();
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}
