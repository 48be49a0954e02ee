//! `syncline-collector`: raw captures in, a Parquet bundle out.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use syncline_collector::cli::bundle::{self, BundleArguments};
#[cfg(feature = "record")]
use syncline_collector::cli::doctor::{self, DoctorArguments};
use syncline_collector::cli::inspect::{self, InspectArguments};
#[cfg(feature = "record")]
use syncline_collector::cli::manifest::{self, ManifestArguments};
#[cfg(feature = "record")]
use syncline_collector::cli::record::{self, RecordArguments};
#[cfg(feature = "record")]
use syncline_collector::cli::scripts::{self, ScriptsArguments};
use syncline_collector::cli::usage;
use syncline_schema::printable::tell_error;

/// Record runs, bundle captures into Parquet, and look at bundles
///
/// Exit codes: 0 done; 1 done, but with --strict there were rejects, a
/// recording went otherwise than asked, or (doctor) propagation cannot be
/// measured; 2 could not run.
#[derive(Parser)]
#[command(version, max_term_width = 80)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a bundle of capture files and folders
    Bundle(BundleArguments),
    /// Show what is in a bundle: sources, tables, losses, rejects
    Inspect(InspectArguments),
    /// Record a run of a cluster into a capture
    #[cfg(feature = "record")]
    Record(Box<RecordArguments>),
    /// Say what can be recorded here, what not, and why
    #[cfg(feature = "record")]
    Doctor(Box<DoctorArguments>),
    /// Print the YAML of the recorder's pod, its account and its rights
    #[cfg(feature = "record")]
    Manifest(ManifestArguments),
    /// Print bpftrace scripts tailored to Services
    #[cfg(feature = "record")]
    Scripts(ScriptsArguments),
    /// List the formats that can be read, and how to capture each
    Formats,
}

fn main() -> ExitCode {
    let program = match Program::try_parse() {
        Ok(program) => program,
        Err(error) => return usage(&error),
    };
    let result = match program.command {
        Command::Bundle(arguments) => bundle::run(arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        #[cfg(feature = "record")]
        Command::Record(arguments) => record::run(*arguments),
        #[cfg(feature = "record")]
        Command::Doctor(arguments) => doctor::run(*arguments),
        #[cfg(feature = "record")]
        Command::Manifest(arguments) => manifest::run(arguments),
        #[cfg(feature = "record")]
        Command::Scripts(arguments) => scripts::run(&arguments),
        Command::Formats => inspect::formats(),
    };
    result.unwrap_or_else(|error| {
        // The reader of a pipe (`| head`) has seen enough.
        let closed = |cause: &std::io::Error| cause.kind() == std::io::ErrorKind::BrokenPipe;
        if error.chain().any(|cause| cause.downcast_ref().is_some_and(closed)) {
            return ExitCode::SUCCESS;
        }
        tell_error(format_args!("{error:#}"));
        ExitCode::from(2)
    })
}
