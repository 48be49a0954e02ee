//! `report`, `check` and `expectations`: the commands that judge, or list what is judged.

use std::collections::BTreeSet;
use std::mem::ManuallyDrop;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use syncline_collector::input::whole_text;
use syncline_schema::printable::{printable, tell};

use super::against::{self, Against};
use super::{Budget, Grouping, Selection, ended, print, print_json};
use crate::result::load::{Loaded, load, nothing};
use crate::verdict::change::Change;
use crate::verdict::list::{ListFormat, list};
use crate::verdict::queries::questions;
use crate::verdict::{Catalogue, Status};
use crate::view::{self, Options};
use crate::write::grid::Screen;
use crate::write::terminal::Failing;
use crate::write::{self, Format, changes, junit, terminal};

/// Longest notes, bytes: a page of them and the report fit into one.
const LONGEST_NOTES: u64 = 256 << 10;

/// Arguments of `syncline report`.
#[derive(Args, Debug)]
pub struct ReportArguments {
    /// Bundles, capture directories (bundled first), or archives
    #[arg(required = true, value_name = "BUNDLE|CAPTURE_DIR|ARCHIVE")]
    inputs: Vec<PathBuf>,
    /// Directory to write the report to; whole or absent
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Formats to write: md, short (for a comment), html, json
    #[arg(long, value_name = "LIST", default_value = "md,short,html,json")]
    formats: String,
    /// Nodes of the cluster: CPU and memory of one node are multiplied
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    nodes: Option<u64>,
    /// Write a page for each run too (HTML)
    #[arg(long)]
    per_run: bool,
    /// Catalogue (TOML) whose rows replace those of the built-in one
    #[arg(long, value_name = "FILE")]
    expectations: Option<PathBuf>,
    #[command(flatten)]
    grouping: Grouping,
    #[command(flatten)]
    selection: Selection,
    /// Title of the report
    #[arg(long, value_name = "T")]
    title: Option<String>,
    /// Markdown to put ahead of the report
    #[arg(long, value_name = "FILE.md")]
    notes: Option<PathBuf>,
    /// Replace a report that is there already
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    budget: Budget,
}

/// Arguments of `syncline check`.
#[derive(Args, Debug)]
pub struct CheckArguments {
    /// Bundles, capture directories (bundled first), or archives
    #[arg(required = true, value_name = "BUNDLE|CAPTURE_DIR|ARCHIVE")]
    inputs: Vec<PathBuf>,
    /// Catalogue (TOML) whose rows replace those of the built-in one
    #[arg(long, value_name = "FILE")]
    expectations: Option<PathBuf>,
    /// Earlier runs: what is worse in them too does not fail, and what a row
    /// measures must not have become costlier
    #[arg(long, num_args = 1.., value_name = "RUNS")]
    baseline: Vec<PathBuf>,
    #[command(flatten)]
    grouping: Grouping,
    #[command(flatten)]
    selection: Selection,
    /// What could not be decided counts as a failure too
    #[arg(long)]
    strict: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t = CheckFormat::Table)]
    format: CheckFormat,
    #[command(flatten)]
    budget: Budget,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CheckFormat {
    /// Aligned columns, for people
    Table,
    /// JSON
    Json,
    /// JUnit's XML, for CI
    Junit,
}

/// Arguments of `syncline expectations`.
#[derive(Args, Debug)]
pub struct ExpectationsArguments {
    /// How to print
    #[arg(long, value_enum, default_value_t = CatalogueFormat::Table)]
    format: CatalogueFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CatalogueFormat {
    Table,
    Json,
    Toml,
}

/// The built-in catalogue, with the rows of a file in their place where one is given.
pub(super) fn catalogue(path: Option<&PathBuf>) -> anyhow::Result<Catalogue> {
    Ok(match path {
        Some(path) => Catalogue::with_file(path)?,
        None => Catalogue::built_in()?,
    })
}

/// Writes a report. Exit code 0 when it is written, whatever it says.
///
/// # Errors
/// Inputs, options or an output directory that cannot be used.
pub fn report(arguments: &ReportArguments) -> anyhow::Result<ExitCode> {
    let formats = Format::list(&arguments.formats)?;
    let catalogue = catalogue(arguments.expectations.as_ref())?;
    let read = |path: &PathBuf| {
        whole_text(path, LONGEST_NOTES).with_context(|| format!("{}: expected Markdown", path.display()))
    };
    let notes = arguments.notes.as_ref().map(read).transpose()?;
    let asks = |dataplane: &str| questions(&catalogue, dataplane);
    let wanted = arguments.selection.condition()?;
    let Loaded { results, unread } = load(&arguments.inputs, &asks, wanted.as_ref(), arguments.budget)?;
    // The process ends with the command: what a thousand runs hold need not be given back piece by piece.
    let results = ManuallyDrop::new(results);
    let judged = view::build(
        &results,
        &catalogue,
        &Options {
            title: arguments.title.clone(),
            notes,
            keys: arguments.grouping.keys()?,
            nodes: arguments.nodes,
            per_run: arguments.per_run && formats.contains(&Format::Html),
            brief: false,
            unread,
        },
    );
    let files = write::render(&judged, &results, &formats)?;
    let written = write::to_directory(&files, &arguments.out, arguments.force)?;
    print(&terminal::summary(&judged.view, Screen::stdout()))?;
    print(&terminal::decision(&judged.view))?;
    for path in written {
        print(&format!("{}\n", printable(&path.to_string_lossy())))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints verdicts. Exit code 1 where a value is worse (with `--strict` also where it could not be decided), or, against a
/// baseline, where it became so or costlier; else 2 where a run could not be read: what was not judged is no pass.
///
/// # Errors
/// Inputs that cannot be used.
pub fn check(arguments: &CheckArguments) -> anyhow::Result<ExitCode> {
    let catalogue = catalogue(arguments.expectations.as_ref())?;
    let keys = arguments.grouping.keys()?;
    let budget = arguments.budget;
    let asks = |dataplane: &str| questions(&catalogue, dataplane);
    let wanted = arguments.selection.condition()?;
    let Loaded { results, unread } = load(&arguments.inputs, &asks, wanted.as_ref(), budget)?;
    let mut incomplete = !unread.is_empty();
    let judged =
        view::build(&results, &catalogue, &Options { keys: keys.clone(), brief: true, unread, ..Options::default() });
    let before = match arguments.baseline.as_slice() {
        [] => None,
        paths => {
            let baseline = load(paths, &nothing, None, budget)?;
            incomplete |= !baseline.unread.is_empty();
            Some(Against::new(&baseline.results, &results, &judged.verdicts, &catalogue, &keys))
        }
    };
    let failing = Failing { strict: arguments.strict, known: before.as_ref().map_or(&[], |before| &before.known) };
    let changes: &[Change] = before.as_ref().map_or(&[], |before| &before.changes.all);
    let costlier = |one: &Change| against::is_costlier(one, &catalogue, arguments.strict);
    match (arguments.format, &before) {
        (CheckFormat::Table, _) => {
            let screen = Screen::stdout();
            print(&terminal::summary(&judged.view, screen))?;
            if let Some(before) = &before {
                print(&format!("\n{}", changes::table(&before.document, screen)))?;
                for line in before.lines(&judged.verdicts) {
                    print(&format!("{}\n", printable(&line)))?;
                }
            }
        }
        (CheckFormat::Json, None) => print_json(&terminal::check_json(&judged.verdicts))?,
        (CheckFormat::Json, Some(_)) => print_json(&terminal::against_json(&judged.verdicts, changes))?,
        (CheckFormat::Junit, _) => print(&junit::verdicts(&judged.verdicts, &failing, changes, &costlier))?,
    }
    if judged.verdicts.iter().all(|verdict| verdict.status == Status::NotMeasured) {
        let modes: BTreeSet<String> = results.iter().map(|one| view::dataplane_name(&one.run.dataplane)).collect();
        let modes = modes.into_iter().collect::<Vec<_>>().join(", ");
        if judged.verdicts.is_empty() && results.iter().any(|one| one.run.is_kube_proxy()) {
            tell(format_args!(
                "warning: nothing was judged: documented values exist for Cilium and for kube-proxy in iptables mode, and these runs are of {modes}"
            ));
        } else {
            bail!(
                "nothing could be judged: none of the documented values was measured in these runs ({modes}); `syncline report` says what is missing"
            );
        }
    }
    let fails = failing.any(&judged.verdicts) || changes.iter().any(costlier);
    Ok(ended(fails, incomplete))
}

/// Lists the catalogue.
///
/// # Errors
/// Standard output that cannot be written.
pub fn expectations(arguments: &ExpectationsArguments) -> anyhow::Result<ExitCode> {
    let format = match arguments.format {
        CatalogueFormat::Table => ListFormat::Table,
        CatalogueFormat::Json => ListFormat::Json,
        CatalogueFormat::Toml => ListFormat::Toml,
    };
    print(&list(&catalogue(None)?, format)?)?;
    Ok(ExitCode::SUCCESS)
}
