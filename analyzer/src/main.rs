//! `syncline`: bundles in, verdicts and reports out.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use syncline::cli::{
    alerts, archive, clocks, compare, dashboards, export, judged, query, serve, shell, timeline, trend,
};
use syncline_collector::cli::usage;
use syncline_schema::printable::tell_error;

/// Line up what a cluster was told with what its dataplane did
///
/// Exit codes: report 0 when it is written, whatever it says; check 0 judged
/// and nothing worse, 1 a value is worse; compare 1 --fail-on says so; query 1
/// the expression is wrong, or --fail-if-any found a value; alerts 1 --fail-on
/// says so; every command 2 when it could not run, and check, compare, query and
/// alerts when they could not read or evaluate all that they were given (the
/// rest is printed; a report names what it lacks).
#[derive(Parser)]
#[command(version, max_term_width = 80)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Judge runs and write the report (HTML, Markdown, JSON)
    Report(judged::ReportArguments),
    /// Evaluate PromQL over the captured series
    Query(query::QueryArguments),
    /// List the documented values and how each is judged
    Expectations(judged::ExpectationsArguments),
    /// Print every event of a run on one clock
    Timeline(timeline::TimelineArguments),
    /// Print how the clocks of a run relate, and what proves it
    Clocks(clocks::ClocksArguments),
    /// Print the verdicts, for CI; no files
    Check(judged::CheckArguments),
    /// Compare two sets of runs: versions, settings, clusters, before and after
    Compare(compare::CompareArguments),
    /// Keep the results of every run below some folders, incrementally
    Archive(archive::ArchiveArguments),
    /// Follow a figure over time and versions, and find where it shifts
    Trend(trend::TrendArguments),
    /// Print alert and recording rules for the documented limits
    Rules(dashboards::RulesArguments),
    /// Replay alert rules: which would have fired, and when
    Alerts(alerts::AlertsArguments),
    /// Write Grafana dashboards of what the document asks
    Dashboards(dashboards::DashboardsArguments),
    /// Answer as Prometheus' HTTP API does, over captured series
    Serve(serve::ServeArguments),
    /// Write a run for other tools: a trace for Perfetto, series for Prometheus
    Export(export::ExportArguments),
    /// Print the completions of a shell
    Completions(shell::CompletionsArguments),
    /// Write the manual's pages into a directory
    Man(shell::ManArguments),
}

fn main() -> ExitCode {
    let program = match Program::try_parse_from(query::shielded(std::env::args_os())) {
        Ok(program) => program,
        Err(error) => return usage(&error),
    };
    let result = match program.command {
        Command::Report(arguments) => judged::report(&arguments),
        Command::Query(arguments) => query::run(&arguments),
        Command::Expectations(arguments) => judged::expectations(&arguments),
        Command::Timeline(arguments) => timeline::run(&arguments),
        Command::Clocks(arguments) => clocks::run(&arguments),
        Command::Check(arguments) => judged::check(&arguments),
        Command::Compare(arguments) => compare::run(&arguments),
        Command::Archive(arguments) => archive::run(&arguments),
        Command::Trend(arguments) => trend::run(&arguments),
        Command::Alerts(arguments) => alerts::run(&arguments),
        Command::Rules(arguments) => dashboards::rules(&arguments),
        Command::Dashboards(arguments) => dashboards::dashboards(&arguments),
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Export(arguments) => export::run(&arguments),
        Command::Completions(arguments) => shell::completions(&arguments, Program::command()),
        Command::Man(arguments) => shell::man(&arguments, Program::command()),
    };
    result.unwrap_or_else(|error| {
        // Whoever reads the output may stop early (`| head`).
        let broken =
            error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe);
        if broken {
            return ExitCode::SUCCESS;
        }
        tell_error(format_args!("{error:#}"));
        ExitCode::from(2)
    })
}
