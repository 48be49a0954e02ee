//! `syncline export`: a run for other people's tools.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use syncline_schema::printable::{printable, tell};

use super::timeline::say_left_out;
use super::{Budget, Selection, print};
use crate::bundle::Bundle;
use crate::events::Run;
use crate::result::given::{self, Given};
use crate::write::{openmetrics, perfetto, whole};

/// Arguments of `syncline export`.
#[derive(Args, Debug)]
pub struct ExportArguments {
    /// The run: a bundle, a capture directory (bundled first), or an archive
    /// of which --where selects one
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// What to write
    #[arg(long, value_enum)]
    format: Format,
    /// File to write it to; whole or absent
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Replace a file that is there already
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    budget: Budget,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A trace for ui.perfetto.dev: events, stages, counters on one clock
    Perfetto,
    /// All series, for promtool tsdb create-blocks-from openmetrics
    Openmetrics,
}

/// Writes the file and prints its path; standard error says what is in it, and what is not and why.
///
/// # Errors
/// A run that cannot be read, several of them, or a file that cannot be written.
pub fn run(arguments: &ExportArguments) -> anyhow::Result<ExitCode> {
    let Given { mut distinct, temporary: _temporary, .. } = given::bundles(
        std::slice::from_ref(&arguments.run),
        arguments.selection.condition()?.as_ref(),
        arguments.budget,
    )?;
    let bundle = match (distinct.runs.pop(), distinct.runs.len()) {
        (Some(bundle), 0) => bundle,
        (None, _) => anyhow::bail!("{}: no run in it that --where holds for", arguments.run.display()),
        (Some(_), more) => {
            let runs = more + 1;
            anyhow::bail!("{}: {runs} runs in it; expected one, which --where may select", arguments.run.display())
        }
    };
    match arguments.format {
        Format::Perfetto => trace(bundle, arguments)?,
        Format::Openmetrics => series(&bundle, arguments)?,
    }
    print(&format!("{}\n", printable(&arguments.out.to_string_lossy())))?;
    Ok(ExitCode::SUCCESS)
}

fn trace(bundle: Bundle, arguments: &ExportArguments) -> anyhow::Result<()> {
    let run = Run::load(bundle)?;
    let written = whole::file(&arguments.out, arguments.force, |out| {
        let written = perfetto::write(&run, out)?;
        run.bundle.unchanged()?;
        Ok(written)
    })?;
    let perfetto::Written { events, changes, values, unrelated, unrelated_series, bounds_told, below } = written;
    tell(format_args!(
        "{events} events, {changes} changes of endpoints and {values} values of counters on the clock {}",
        printable(&run.windows.clock)
    ));
    say_left_out(&run, &unrelated);
    if unrelated_series > 0 {
        tell(format_args!("{unrelated_series} series of CPU time are left out: nothing relates their clock to it"));
    }
    if bounds_told > 0 {
        tell(format_args!("the bounds of {bounds_told} events stand in their arguments alone: too many overlap them"));
    }
    if below > 0 {
        tell(format_args!("{below} packets lie ahead of 1970, which a trace has no time for: they stand at 0"));
    }
    Ok(())
}

fn series(bundle: &Bundle, arguments: &ExportArguments) -> anyhow::Result<()> {
    let written = whole::file(&arguments.out, arguments.force, |out| {
        let written = openmetrics::write(bundle, out)?;
        bundle.unchanged()?;
        Ok(written)
    })?;
    let openmetrics::Written { families, series, samples, untyped, .. } = written;
    tell(format_args!("{samples} samples of {series} series in {families} families"));
    if untyped > 0 {
        tell(format_args!("{untyped} families stand as unknown: OpenMetrics has other names or bounds for their type"));
    }
    written.losses().iter().for_each(|line| tell(format_args!("{line}")));
    Ok(())
}
