//! `syncline clocks`: the clock graph of a bundle, its edges and their evidence.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::TableFormat;
use crate::bundle::Bundle;
use crate::clock::Graph;
use crate::events::Run;

/// Arguments of `syncline clocks`.
#[derive(Args, Debug)]
pub struct ClocksArguments {
    /// A bundle
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,
    /// How to print
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    format: TableFormat,
}

/// Prints the graph.
///
/// # Errors
/// A bundle that cannot be read.
pub fn run(arguments: &ClocksArguments) -> anyhow::Result<ExitCode> {
    let run = Run::load(Bundle::open(&arguments.bundle)?)?;
    let clocks = &run.clocks;
    let pairs = pairs(clocks);
    let mut out = std::io::stdout().lock();
    if arguments.format == TableFormat::Json {
        let offsets: Vec<_> = pairs
            .iter()
            .map(|(from, to)| {
                let offset = clocks.offset(from, to);
                let missing = offset.is_none().then(|| clocks.missing(from, to));
                json!({"from": from, "to": to, "low": offset.map(|one| one.low), "high": offset.map(|one| one.high), "missing": missing})
            })
            .collect();
        let value =
            json!({"domains": clocks.domains, "edges": clocks.edges, "offsets": offsets, "findings": clocks.findings});
        writeln!(out, "{value:#}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let bound = |ns: Option<i64>| ns.map_or_else(|| "open".to_owned(), |ns| format!("{:.6}", ns as f64 / 1e6));
    writeln!(out, "Offsets are added to a time on the first clock to get the time on the second; ms.\n")?;
    writeln!(out, "EDGES (evidence intersected)")?;
    for edge in &clocks.edges {
        writeln!(
            out,
            "{} → {}: [{}, {}], {} pieces of evidence",
            edge.from,
            edge.to,
            bound(edge.low),
            bound(edge.high),
            edge.count
        )?;
        for one in &edge.tight {
            writeln!(out, "    {}: {} ({}:{})", one.kind, one.evidence.what, one.evidence.path, one.evidence.record)?;
        }
    }
    writeln!(out, "\nOFFSETS (tightest path)")?;
    for (from, to) in &pairs {
        match clocks.offset(from, to) {
            Some(offset) => {
                let width = (offset.high - offset.low) as f64 / 1e6;
                writeln!(
                    out,
                    "{from} → {to}: [{}, {}], {width:.6} wide",
                    bound(Some(offset.low)),
                    bound(Some(offset.high))
                )?;
            }
            None => writeln!(out, "{}", clocks.missing(from, to))?,
        }
    }
    if !clocks.findings.is_empty() {
        writeln!(out, "\nFINDINGS")?;
    }
    for finding in &clocks.findings {
        writeln!(out, "{}: {}", finding.title, finding.detail)?;
        for one in &finding.evidence {
            writeln!(out, "    {}:{} {}", one.path, one.record, one.what)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn pairs(clocks: &Graph) -> Vec<(&str, &str)> {
    let names = &clocks.domains;
    (0..names.len()).flat_map(|a| (a + 1..names.len()).map(move |b| (names[a].as_str(), names[b].as_str()))).collect()
}
