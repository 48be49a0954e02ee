//! `syncline clocks`: the clock graph of a bundle, its edges and their evidence.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use syncline_schema::printable::{Printable, printable_json};

use super::{Budget, TableFormat};
use crate::clock::Graph;
use crate::clock::advice::Advice;
use crate::events::Run;
use crate::result::given;

/// Arguments of `syncline clocks`.
#[derive(Args, Debug)]
pub struct ClocksArguments {
    /// A bundle, or a capture directory (bundled first)
    #[arg(value_name = "BUNDLE|CAPTURE_DIR")]
    bundle: PathBuf,
    /// How to print
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    format: TableFormat,
    #[command(flatten)]
    budget: Budget,
}

/// Prints the graph.
///
/// # Errors
/// A bundle that cannot be read.
pub fn run(arguments: &ClocksArguments) -> anyhow::Result<ExitCode> {
    let (bundle, _temporary) = given::one(&arguments.bundle, arguments.budget)?;
    let run = Run::load(bundle)?;
    run.bundle.unchanged()?;
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
        let advice: Vec<_> = advice(&run)
            .into_iter()
            .map(|(to, advice)| json!({"from": run.windows.clock, "to": to, "anchor": advice}))
            .collect();
        let value = json!({
            "domains": clocks.domains,
            "edges": clocks.edges,
            "offsets": offsets,
            "reference": run.windows.clock,
            "anchors": advice,
            "findings": clocks.findings,
        });
        writeln!(out, "{}", printable_json(&format!("{value:#}")))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = Printable(out);
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
        for piece in &edge.pieces {
            let time = |at: Option<i64>| at.map_or_else(|| "…".to_owned(), instant);
            writeln!(
                out,
                "    {} – {}: [{}, {}]",
                time(piece.start),
                time(piece.end),
                bound(piece.low),
                bound(piece.high)
            )?;
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
    writeln!(out, "\nANCHORS (the reading that would narrow the path from {} most)", run.windows.clock)?;
    for (to, advice) in advice(&run) {
        let ms = |ns: Option<i64>| ns.map_or_else(|| "open".to_owned(), |ns| format!("{:.6} ms", ns as f64 / 1e6));
        let Some(advice) = advice else {
            writeln!(out, "{to}: as narrow as readings are")?;
            continue;
        };
        let left = advice.left.map_or_else(
            || "the width of the reading".to_owned(),
            |left| format!("{} and the width of the reading", ms(Some(left))),
        );
        writeln!(
            out,
            "{to}: {} wide ({}); {} – {} ({} wide) read anew would leave {left}: {}",
            ms(advice.width),
            advice.path.join(" → "),
            advice.between[0],
            advice.between[1],
            ms(advice.edge_width),
            advice.capture
        )?;
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

/// For each clock the reading that would narrow its offset from the reference most.
fn advice(run: &Run) -> Vec<(&str, Option<Advice>)> {
    let reference = run.windows.clock.as_str();
    let others = run.clocks.domains.iter().filter(|domain| *domain != reference);
    others.map(|domain| (domain.as_str(), run.clocks.advice(reference, domain))).collect()
}

/// A moment, as far as its clock has an era; boottime and monotonic count from the boot.
fn instant(at: i64) -> String {
    if at < 1_000_000_000_000_000_000 {
        return format!("{:.6} s", at as f64 / 1e9);
    }
    jiff::Timestamp::from_nanosecond(i128::from(at)).map_or_else(|_| at.to_string(), |time| format!("{time:.6}"))
}

fn pairs(clocks: &Graph) -> Vec<(&str, &str)> {
    let names = &clocks.domains;
    (0..names.len()).flat_map(|a| (a + 1..names.len()).map(move |b| (names[a].as_str(), names[b].as_str()))).collect()
}
