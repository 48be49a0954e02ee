//! `syncline alerts`: anybody's rule files, replayed over captured series.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use syncline_promql::Options;
use syncline_schema::printable::{tell, tell_error};

use super::times::duration;
use super::{Budget, Selection, ended, print, print_json};
use crate::query::ask::run_labels;
use crate::query::rules::over;
use crate::query::rules::read::{Rules, read};
use crate::query::rules::replay::Settings;
use crate::result::given::{self, Given};
use crate::write::alerts::{self, RunAlerts};
use crate::write::grid::Screen;

/// Arguments of `syncline alerts`.
#[derive(Args, Debug)]
pub struct AlertsArguments {
    /// The runs: bundles, capture directories, or archives
    #[arg(required = true, value_name = "RUNS")]
    inputs: Vec<PathBuf>,
    /// Files of rules, as Prometheus loads them or as PrometheusRule objects
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    rules: Vec<PathBuf>,
    /// Time between two evaluations of a group that does not say it itself
    #[arg(long, value_name = "D", default_value = "1m")]
    interval: String,
    /// How far back a sample counts as current
    #[arg(long, value_name = "D", default_value = "5m")]
    lookback: String,
    /// How to print
    #[arg(long, value_enum, default_value_t = AlertsFormat::Table)]
    format: AlertsFormat,
    /// Exit with 1 where any alert fired
    #[arg(long, value_enum, value_name = "STATE")]
    fail_on: Option<FailOn>,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    budget: Budget,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AlertsFormat {
    /// Aligned columns, for people
    Table,
    /// JSON
    Json,
    /// JUnit's XML, for CI: what fired, or could not be evaluated, fails
    Junit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FailOn {
    Firing,
}

/// Replays and prints. Exit code 1 where `--fail-on` says so; else 2 where a run, a file or a rule could not be read or evaluated, or
/// where nothing could be judged.
///
/// # Errors
/// Nothing that can be read, or a duration that is none.
pub fn run(arguments: &AlertsArguments) -> anyhow::Result<ExitCode> {
    let interval = i64::try_from(duration(&arguments.interval)?.as_millis())?;
    anyhow::ensure!(interval > 0, "`{}`: an interval is longer than nothing", arguments.interval);
    let settings = Settings {
        interval,
        options: Options {
            lookback: duration(&arguments.lookback)?,
            subquery_step: std::time::Duration::from_millis(interval.unsigned_abs()),
            memory: usize::try_from(arguments.budget.memory).unwrap_or(usize::MAX),
            ..Options::default()
        },
    };
    let mut rules = Rules::default();
    let mut unread = Vec::new();
    for path in &arguments.rules {
        if let Err(error) = read(path, &mut rules) {
            unread.push(format!("{error:#}"));
        }
    }
    if rules.groups.is_empty() && rules.refused.is_empty() {
        anyhow::bail!("{}", unread.join("\n"));
    }
    for why in &unread {
        tell_error(format_args!("{why}"));
    }
    let Given { distinct, unread: lost, temporary: _temporary } =
        given::bundles(&arguments.inputs, arguments.selection.condition()?.as_ref(), arguments.budget)?;
    let names = run_labels(&distinct.runs);
    let mut runs = Vec::with_capacity(names.len());
    for (bundle, run) in distinct.runs.iter().zip(names) {
        runs.push(RunAlerts { run, replay: over(bundle, &rules, &settings)? });
    }
    match arguments.format {
        AlertsFormat::Table => print(&alerts::table(&runs, &rules, Screen::stdout()))?,
        AlertsFormat::Json => print_json(&format!("{:#}\n", alerts::json(&runs, &rules)))?,
        AlertsFormat::Junit => print(&alerts::junit(&runs, &rules))?,
    }
    if arguments.format == AlertsFormat::Table {
        alerts::notes(&runs, &rules).iter().for_each(|note| tell(format_args!("{note}")));
    }
    let failing = arguments.fail_on == Some(FailOn::Firing) && alerts::any_firing(&runs);
    let incomplete = !(unread.is_empty() && lost.is_empty() && rules.refused.is_empty());
    Ok(ended(failing, incomplete || !alerts::any_judged(&runs)))
}
