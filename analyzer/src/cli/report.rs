//! `syncline report`, `syncline check` and `syncline expectations`: verdicts as files, on the terminal, and what they
//! are judged by.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, ValueEnum};

use crate::events::Run;
use crate::measure;
use crate::verdict::list::{ListFormat, list};
use crate::verdict::{Catalogue, RunResult};
use crate::view::{Judged, Options, build};
use crate::write::{self, Format, terminal};

/// Arguments of `syncline report`.
#[derive(Args, Debug)]
pub struct ReportArguments {
    /// Bundles or capture directories, one a run
    #[arg(required = true, value_name = "BUNDLE|CAPTURE_DIR")]
    pub runs: Vec<PathBuf>,
    /// Directory to write the report to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Formats, separated by commas
    #[arg(long, value_name = "FORMATS", default_value = "md,html,json")]
    formats: String,
    /// Catalogue whose rows replace or add to the built-in ones
    #[arg(long, value_name = "FILE")]
    expectations: Option<PathBuf>,
    /// Title of the report
    #[arg(long)]
    title: Option<String>,
    /// Markdown to put ahead of the report
    #[arg(long, value_name = "FILE.md")]
    notes: Option<PathBuf>,
    /// Replace a report that is there
    #[arg(long)]
    force: bool,
}

/// Arguments of `syncline check`.
#[derive(Args, Debug)]
pub struct CheckArguments {
    /// Bundles or capture directories, one a run
    #[arg(required = true, value_name = "BUNDLE|CAPTURE_DIR")]
    pub runs: Vec<PathBuf>,
    /// Count what is inconclusive or not measured as well
    #[arg(long)]
    strict: bool,
    /// Catalogue whose rows replace or add to the built-in ones
    #[arg(long, value_name = "FILE")]
    expectations: Option<PathBuf>,
    /// How to print the verdicts
    #[arg(long, value_enum, default_value_t = CheckFormat::Table)]
    format: CheckFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CheckFormat {
    Table,
    Json,
}

/// Arguments of `syncline expectations`.
#[derive(Args, Debug)]
pub struct ExpectationsArguments {
    /// How to print the catalogue
    #[arg(long, value_enum, default_value_t = CatalogueFormat::Table)]
    format: CatalogueFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CatalogueFormat {
    Table,
    Json,
    Toml,
}

/// Writes a report of loaded runs. Exit code 0 once it is written, whatever it says.
///
/// # Errors
/// A file that cannot be read or written; an output directory that is not empty, without `--force`.
pub fn report(arguments: &ReportArguments, runs: &[Run]) -> anyhow::Result<ExitCode> {
    let formats = Format::list(&arguments.formats)?;
    let catalogue = catalogue(arguments.expectations.as_deref())?;
    let notes = match &arguments.notes {
        Some(path) => {
            Some(std::fs::read_to_string(path).with_context(|| format!("{}: cannot be read", path.display()))?)
        }
        None => None,
    };
    let results = measured(runs);
    let judged = build(&results, &catalogue, &Options { title: arguments.title.clone(), notes });
    let files = write::render(&judged, &results, &formats)?;
    let written = write::to_directory(&files, &arguments.out, arguments.force)?;
    print(&format!("{}\n{}", terminal::summary(&judged.view), lines(&written)))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the verdicts of loaded runs. Exit code 1 where a value is worse (with `--strict`: or undecided).
///
/// # Errors
/// A catalogue that cannot be read.
pub fn check(arguments: &CheckArguments, runs: &[Run]) -> anyhow::Result<ExitCode> {
    let catalogue = catalogue(arguments.expectations.as_deref())?;
    let results = measured(runs);
    let Judged { verdicts, view, .. } = build(&results, &catalogue, &Options::default());
    print(&match arguments.format {
        CheckFormat::Table => terminal::summary(&view),
        CheckFormat::Json => terminal::check_json(&verdicts),
    })?;
    Ok(ExitCode::from(terminal::exit_code(&verdicts, arguments.strict)))
}

/// Prints the built-in catalogue.
///
/// # Errors
/// Standard output that cannot be written to.
pub fn expectations(arguments: &ExpectationsArguments) -> anyhow::Result<ExitCode> {
    let format = match arguments.format {
        CatalogueFormat::Table => ListFormat::Table,
        CatalogueFormat::Json => ListFormat::Json,
        CatalogueFormat::Toml => ListFormat::Toml,
    };
    print(&list(&Catalogue::built_in()?, format)?)?;
    Ok(ExitCode::SUCCESS)
}

fn catalogue(path: Option<&Path>) -> anyhow::Result<Catalogue> {
    Ok(match path {
        Some(path) => Catalogue::with_file(path)?,
        None => Catalogue::built_in()?,
    })
}

fn measured(runs: &[Run]) -> Vec<RunResult<'_>> {
    runs.iter().map(|run| RunResult { run, measurements: measured_of(run) }).collect()
}

fn lines(paths: &[PathBuf]) -> String {
    paths.iter().map(|p| format!("{}\n", p.display())).collect()
}

/// A reader that has seen enough (`| head`) is no error.
fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("standard output"),
    }
}

fn measured_of(run: &Run) -> Vec<measure::Measurement> {
    let mut all = measure::all(run);
    // Alerts need the engine; a run's dataplane decides which of them applies.
    if !all.iter().any(|m| m.name.starts_with("alert:")) {
        all.extend(measure::alerts::measure(run));
    }
    all
}
