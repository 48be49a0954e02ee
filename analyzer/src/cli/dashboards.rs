//! `syncline rules` and `syncline dashboards`: the catalogue for Prometheus and Grafana.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use syncline_schema::printable::printable;

use super::judged::catalogue;
use super::print;
use crate::verdict::watch;
use crate::view::dashboards::build;
use crate::write::{self, File, dashboards as grafana, rules as yaml};

/// Arguments of `syncline rules`.
#[derive(Args, Debug)]
pub struct RulesArguments {
    /// How to print
    #[arg(long, value_enum, default_value_t = RulesFormat::Prometheus)]
    format: RulesFormat,
    /// Catalogue (TOML) whose rows replace those of the built-in one
    #[arg(long, value_name = "FILE")]
    expectations: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RulesFormat {
    /// A file for Prometheus' rule_files
    Prometheus,
    /// The object of Prometheus' operator
    Prometheusrule,
}

/// Arguments of `syncline dashboards`.
#[derive(Args, Debug)]
pub struct DashboardsArguments {
    /// Directory to write them to, and a ConfigMap of them; whole or absent
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Catalogue (TOML) whose rows replace those of the built-in one
    #[arg(long, value_name = "FILE")]
    expectations: Option<PathBuf>,
    /// Replace dashboards that are there already
    #[arg(long)]
    force: bool,
}

/// Prints the rules of the catalogue.
///
/// # Errors
/// A catalogue that cannot be read.
pub fn rules(arguments: &RulesArguments) -> anyhow::Result<ExitCode> {
    let catalogue = catalogue(arguments.expectations.as_ref())?;
    let (file, unwatched) = (watch::rules(&catalogue), watch::unwatched(&catalogue));
    let text = match arguments.format {
        RulesFormat::Prometheus => yaml::plain(&file, &unwatched)?,
        RulesFormat::Prometheusrule => yaml::object(&file, &unwatched)?,
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the dashboards of the catalogue, and prints the paths.
///
/// # Errors
/// A catalogue that cannot be read, or a directory that cannot be used.
pub fn dashboards(arguments: &DashboardsArguments) -> anyhow::Result<ExitCode> {
    let catalogue = catalogue(arguments.expectations.as_ref())?;
    let mut files: Vec<(String, String)> = build(&catalogue).iter().map(grafana::file).collect();
    files.push(("configmap.yaml".to_owned(), grafana::config_map(&files)?));
    let files: Vec<File<'_>> = files.into_iter().map(|(name, text)| File::of(name, text)).collect();
    for path in write::dashboards_to_directory(&files, &arguments.out, arguments.force)? {
        print(&format!("{}\n", printable(&path.to_string_lossy())))?;
    }
    Ok(ExitCode::SUCCESS)
}
