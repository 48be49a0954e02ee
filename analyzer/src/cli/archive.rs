//! `syncline archive`: what every run below some folders gave, kept; and archives made apart joined.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use syncline_schema::printable::printable;

use super::{Budget, TableFormat, print, print_json};
use crate::result::archive::merge::merge;
use crate::result::archive::pass::{self, Options, Summary};
use crate::result::usage::Stages;
use crate::result::work;
use crate::verdict::Catalogue;
use crate::verdict::queries::questions;

/// Lines of a list that a table shows.
const SHOWN: usize = 20;

/// Arguments of `syncline archive`.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct ArchiveArguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Folders to look for runs in: bundles, captures (folders with a
    /// capture.toml, or with a file that the collector reads), tars and zips
    #[arg(required = true, value_name = "ROOT")]
    roots: Vec<PathBuf>,
    /// Folder of the archive; made, or brought up to date
    #[arg(long, required = true, value_name = "ARCHIVE")]
    out: Option<PathBuf>,
    /// Runs that are read at once [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1024))]
    jobs: Option<u64>,
    /// Only the runs of one of N shards, counted from 0: each process that is
    /// given another I takes others, and all of them take all
    #[arg(long, value_name = "I/N", value_parser = shard)]
    shard: Option<(u64, u64)>,
    /// Drop runs whose captures are no longer there
    #[arg(long)]
    prune: bool,
    /// Catalogue (TOML) whose queries are asked too
    #[arg(long, value_name = "FILE")]
    expectations: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    format: TableFormat,
    #[command(flatten)]
    budget: Budget,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Join archives (shards, clusters, what Spark wrote) into one
    Merge(MergeArguments),
}

/// Arguments of `syncline archive merge`.
#[derive(Args, Debug)]
struct MergeArguments {
    /// Archives, or folders with the tables of one
    #[arg(required = true, value_name = "ARCHIVE")]
    inputs: Vec<PathBuf>,
    /// Archive that they become part of
    #[arg(long, value_name = "ARCHIVE")]
    out: PathBuf,
    /// How to print
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    format: TableFormat,
}

fn shard(text: &str) -> Result<(u64, u64), String> {
    let wrong = || format!("`{text}`: expected the shard's number from 0 and how many there are, as 0/4");
    let (at, of) = text.split_once('/').ok_or_else(wrong)?;
    let (at, of) = (at.trim().parse().map_err(|_| wrong())?, of.trim().parse().map_err(|_| wrong())?);
    if at < of { Ok((at, of)) } else { Err(wrong()) }
}

/// Brings an archive up to date, or joins some. Exit code 2 where a run could not be read: the others are in the archive, and the
/// list says which and why.
///
/// # Errors
/// Roots that are not there, an archive that cannot be written.
pub fn run(arguments: &ArchiveArguments) -> anyhow::Result<ExitCode> {
    let catalogue = match &arguments.expectations {
        Some(path) => Catalogue::with_file(path)?,
        None => Catalogue::built_in()?,
    };
    let asks = |dataplane: &str| questions(&catalogue, dataplane);
    if let Some(Command::Merge(arguments)) = &arguments.command {
        let summary = merge(&arguments.inputs, &arguments.out, &asks)?;
        return told(&summary, arguments.format);
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{bar:30} {pos} of {len} runs, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let progress = |done: usize, of: usize| {
        bar.set_length(of as u64);
        bar.set_position(done as u64);
    };
    let summary = pass::run(&Options {
        roots: arguments.roots.clone(),
        archive: arguments.out.clone().unwrap_or_default(),
        jobs: arguments.jobs.and_then(|jobs| usize::try_from(jobs).ok()).unwrap_or_else(work::cores),
        how: arguments.budget.into(),
        shard: arguments.shard,
        prune: arguments.prune,
        asks: &asks,
        progress: &progress,
    });
    bar.finish_and_clear();
    told(&summary?, arguments.format)
}

fn told(summary: &Summary, format: TableFormat) -> anyhow::Result<ExitCode> {
    match format {
        TableFormat::Table => print(&table(summary))?,
        TableFormat::Json => print_json(&format!("{:#}\n", document(summary)))?,
    }
    Ok(if summary.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

/// CPU seconds by stage.
fn stages(cpu: &Stages) -> BTreeMap<&'static str, f64> {
    BTreeMap::from([
        ("open", cpu.open),
        ("load", cpu.load),
        ("measure", cpu.measure),
        ("pack", cpu.pack),
        ("write", cpu.write),
        ("elsewhere", cpu.elsewhere),
    ])
}

fn document(summary: &Summary) -> Value {
    let failed = |(path, reason): &(String, String)| json!({ "path": path, "reason": reason });
    let loose: Vec<String> = summary.loose.iter().map(|path| path.display().to_string()).collect();
    json!({
        "runs": summary.runs,
        "new": summary.new,
        "changed": summary.changed,
        "unchanged": summary.unchanged,
        "failed": summary.failed.iter().map(failed).collect::<Vec<_>>(),
        "gone": summary.gone,
        "copies": summary.copies,
        "not_of_a_run": loose,
        "seconds": summary.seconds,
        "peak_bytes": summary.peak_bytes,
        "opened": summary.opened,
        "cpu_seconds": stages(&summary.cpu),
    })
}

fn table(summary: &Summary) -> String {
    let Summary { runs, new, changed, unchanged, .. } = summary;
    let mut text = format!("{runs} runs: {new} new, {changed} changed, {unchanged} unchanged");
    if !summary.failed.is_empty() {
        text.push_str(&format!(", {} could not be read", summary.failed.len()));
    }
    text.push('\n');
    let mut list = |title: &str, lines: Vec<String>| {
        if lines.is_empty() {
            return;
        }
        text.push_str(&format!("\n{title}\n"));
        lines.iter().take(SHOWN).for_each(|line| text.push_str(&format!("  {}\n", printable(line))));
        if lines.len() > SHOWN {
            text.push_str(&format!("  and {} more (--format json lists them)\n", lines.len() - SHOWN));
        }
    };
    list("could not be read", summary.failed.iter().map(|(path, why)| format!("{path}: {why}")).collect());
    list("copies of one run, counted once", summary.copies.iter().map(|all| all.join(", ")).collect());
    list("no longer there (--prune drops them)", summary.gone.clone());
    list("of no run", summary.loose.iter().map(|path| path.display().to_string()).collect());
    if summary.opened > 0 {
        let stages = stages(&summary.cpu);
        let each: Vec<String> = stages.iter().map(|(name, seconds)| format!("{name} {seconds:.1}")).collect();
        let peak = summary.peak_bytes.map_or_else(String::new, |bytes| format!(", {} MB at most", bytes / 1_000_000));
        text.push_str(&format!(
            "\n{} opened in {:.1} s{peak}; CPU {:.1} s ({})\n",
            summary.opened,
            summary.seconds,
            summary.cpu.total(),
            each.join(", ")
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_one_of_several() {
        assert_eq!(shard("0/1"), Ok((0, 1)));
        assert_eq!(shard("3/4"), Ok((3, 4)));
        for wrong in ["4/4", "1", "/4", "-1/4", "1/0", "a/b"] {
            assert!(shard(wrong).is_err(), "{wrong}");
        }
    }
}
