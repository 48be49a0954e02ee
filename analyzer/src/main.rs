//! `syncline`: bundles in; alignment, verdicts, reports and queries out.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use syncline::cli::{open, query, report};

/// Line up what a cluster was told with what its dataplane did
///
/// Exit codes: 0 done; 1 a value is worse (check), or the expression is wrong
/// (query); 2 could not run.
#[derive(Parser)]
#[command(version, max_term_width = 80)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Judge the documented values and write a report
    Report(report::ReportArguments),
    /// Judge the documented values, for CI: no files
    Check(report::CheckArguments),
    /// Evaluate PromQL over the series of bundles
    Query(query::QueryArguments),
    /// Print the catalogue of documented values
    Expectations(report::ExpectationsArguments),
}

fn main() -> ExitCode {
    let result = match Program::parse().command {
        Command::Report(arguments) => open::runs(&arguments.runs).and_then(|o| report::report(&arguments, &o.runs)),
        Command::Check(arguments) => open::runs(&arguments.runs).and_then(|o| report::check(&arguments, &o.runs)),
        Command::Query(arguments) => query::run(&arguments),
        Command::Expectations(arguments) => report::expectations(&arguments),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}
