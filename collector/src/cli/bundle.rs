//! `bundle`: raw captures in, a Parquet bundle out.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use syncline_schema::printable::tell;

use crate::bundle::capture_toml::{DATAPLANES, SCENARIOS, check_kind};
use crate::bundle::{BundleOptions, SourceRule, bundle, rules};

/// Arguments of `bundle`.
#[derive(Args, Debug)]
pub struct BundleArguments {
    /// Capture files and folders; - is standard input
    #[arg(required = true, value_name = "FILE|DIR")]
    inputs: Vec<PathBuf>,
    /// Directory to make; it is whole or absent
    #[arg(long, value_name = "BUNDLE")]
    out: PathBuf,
    /// cilium, kube-proxy-iptables, kube-proxy-nftables, kube-proxy-ipvs
    #[arg(long, value_name = "D", value_parser = DATAPLANES)]
    dataplane: Option<String>,
    /// scale-up, rolling-restart, steady-state, pod-crash
    #[arg(long, value_name = "S", value_parser = SCENARIOS)]
    scenario: Option<String>,
    /// Node of the node-level captures: the name of its clock
    #[arg(long, value_name = "N")]
    node: Option<String>,
    /// Kind (and clock) of files, where content does not tell; repeatable
    #[arg(long = "source", value_name = "KIND[@CLOCK]=GLOB", value_parser = source_rule)]
    sources: Vec<SourceRule>,
    /// Memory to use at most, e.g. 512MiB
    #[arg(long, value_name = "SIZE", default_value = "512MiB", value_parser = size)]
    memory: usize,
    /// Disk space to use beside the bundle at most, for archives of databases
    #[arg(long, value_name = "SIZE", default_value = "16GiB", value_parser = super::sizes::bytes)]
    scratch: u64,
    /// Follow links that lead out of a folder
    #[arg(long)]
    follow: bool,
    /// Exit with 1 where anything was rejected
    #[arg(long)]
    strict: bool,
    /// Replace an existing bundle
    #[arg(long)]
    force: bool,
}

/// Makes a bundle and says what became of it.
///
/// # Errors
/// As [`bundle`].
pub fn run(arguments: BundleArguments) -> anyhow::Result<ExitCode> {
    let out = arguments.out.clone();
    let summary = bundle(&BundleOptions {
        inputs: arguments.inputs,
        out: arguments.out,
        dataplane: arguments.dataplane,
        scenario: arguments.scenario,
        node: arguments.node,
        sources: arguments.sources,
        memory: arguments.memory,
        scratch: arguments.scratch,
        follow: arguments.follow,
        threads: 0,
        force: arguments.force,
        progress: true,
    })?;
    let manifest = &summary.manifest;
    let unread = manifest.sources.iter().filter(|source| source.kind == "unread").count();
    let records: u64 = manifest.sources.iter().map(|source| source.records).sum();
    let (shown, sources) = (out.display(), manifest.sources.len());
    tell(format_args!("{shown}: {sources} sources, {records} records, {unread} unread"));
    for source in &manifest.sources {
        if let Some(nearest) = &source.nearest {
            tell(format_args!("unread: {}: {nearest}", source.path));
        }
    }
    if records == 0 {
        tell(format_args!("warning: no capture in it could be read: `syncline-collector formats` lists what can"));
    }
    for complaint in summary.told() {
        tell(format_args!("{complaint}"));
    }
    if summary.rejected > 0 {
        let rejected = summary.rejected;
        tell(format_args!("warning: {rejected} records were rejected: syncline-collector inspect {shown} shows them"));
    }
    Ok(ExitCode::from(u8::from(arguments.strict && summary.rejected > 0)))
}

fn source_rule(text: &str) -> Result<SourceRule, String> {
    let wrong = || format!("`{text}`: expected KIND[@CLOCK]=GLOB");
    let (what, glob) = text.split_once('=').ok_or_else(wrong)?;
    let (kind, clock) = what.split_once('@').map_or((what, None), |(kind, clock)| (kind, Some(clock.to_owned())));
    if glob.is_empty() || (kind.is_empty() && clock.is_none()) {
        return Err(wrong());
    }
    let kind = (!kind.is_empty()).then(|| kind.to_owned());
    check_kind(kind.as_deref())?;
    rules::glob(glob)?;
    Ok(SourceRule { glob: glob.to_owned(), kind, clock })
}

fn size(text: &str) -> Result<usize, String> {
    let bytes = super::sizes::bytes(text)?;
    if bytes < 32 << 20 {
        return Err(format!("`{text}`: at least 32MiB are needed"));
    }
    usize::try_from(bytes).map_err(|_| format!("`{text}`: too large"))
}
