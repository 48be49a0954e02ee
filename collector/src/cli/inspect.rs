//! `inspect`: what is in a bundle. `formats`: what can be read.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use clap::{Args, ValueEnum};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use syncline_schema::clock::ClockToken;
use syncline_schema::manifest::Manifest;
use syncline_schema::printable::{Printable, printable, printable_json, printable_lines, tell};

use super::shared_series::shared_series;
use crate::bundle::{BundleOptions, bundle};
use crate::layers::LAYERS;
use crate::parse::FORMATS;
use crate::write::integrity::{self, Whole};
use crate::write::rebuild;

/// Arguments of `inspect`.
#[derive(Args, Debug)]
pub struct InspectArguments {
    /// A bundle, or a capture file or directory (bundled first)
    #[arg(value_name = "BUNDLE|CAPTURE_DIR")]
    bundle: PathBuf,
    /// Print snapshot N (from 0) of a source (path or index) as it was captured
    #[arg(long, value_name = "SOURCE:N")]
    snapshot: Option<String>,
    /// Follow links that lead out of a capture directory
    #[arg(long)]
    follow: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

/// Prints what is in a bundle, or would be in that of a capture.
///
/// # Errors
/// Neither bundle nor capture, or a table that cannot be read.
pub fn run(arguments: &InspectArguments) -> anyhow::Result<ExitCode> {
    let given = &arguments.bundle;
    if integrity::is_bundle(given) {
        return show(given, arguments);
    }
    if !given.exists() {
        bail!("{}: expected a bundle or a capture, found nothing", given.display());
    }
    let folder = tempfile::tempdir().context("a temporary directory for the bundle")?;
    let out = folder.path().join("bundle");
    let (inputs, follow) = (vec![given.clone()], arguments.follow);
    let summary = bundle(&BundleOptions { inputs, out: out.clone(), follow, ..BundleOptions::default() })?;
    for complaint in summary.told() {
        tell(format_args!("{complaint}"));
    }
    show(&out, arguments)
}

fn show(bundle: &Path, arguments: &InspectArguments) -> anyhow::Result<ExitCode> {
    let manifest = integrity::manifest(bundle)?;
    let whole = integrity::check(bundle, &manifest)?;
    let mut out = std::io::stdout().lock();
    if let Some(wanted) = &arguments.snapshot {
        let (source, number) = wanted.rsplit_once(':').context("expected SOURCE:N")?;
        let number: i64 = number.parse().with_context(|| format!("`{number}`: expected the number of a snapshot"))?;
        let index = source_index(&manifest, source)?;
        let bytes = rebuild::snapshot(bundle, &whole, index, number)?;
        // Byte for byte, but for a terminal, which captured bytes must not drive.
        if out.is_terminal() {
            out.write_all(printable_lines(&String::from_utf8_lossy(&bytes)).as_bytes())?;
        } else {
            out.write_all(&bytes)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    match arguments.format {
        Format::Json => {
            let rejects: Vec<serde_json::Value> = first_rejects(bundle, &whole, 100)?
                .into_iter()
                .map(|one| {
                    serde_json::json!({"source": path_of(&manifest, one.source), "record": one.record, "offset": one.offset, "reason": one.reason, "excerpt": one.excerpt})
                })
                .collect();
            let mut value = serde_json::to_value(&manifest)?;
            value["rejects"] = rejects.into();
            let shared = shared_series(bundle, &whole)?.into_iter().map(|(sources, series)| {
                let paths: Vec<&str> = sources.iter().map(|source| path_of(&manifest, *source)).collect();
                serde_json::json!({"sources": paths, "series": series})
            });
            value["shared_series"] = shared.collect::<Vec<_>>().into();
            writeln!(out, "{}", printable_json(&serde_json::to_string_pretty(&value)?))?;
        }
        Format::Table => table(&mut Printable(out), &manifest, bundle, &whole)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn source_index(manifest: &Manifest, text: &str) -> anyhow::Result<i32> {
    if let Some(at) = manifest.sources.iter().position(|source| source.path == text) {
        return Ok(i32::try_from(at)?);
    }
    match text.parse::<i32>() {
        Ok(index) if usize::try_from(index).is_ok_and(|at| at < manifest.sources.len()) => Ok(index),
        _ => bail!("`{text}`: expected the path or the index of a source that `inspect` lists"),
    }
}

fn path_of(manifest: &Manifest, index: i32) -> &str {
    usize::try_from(index).ok().and_then(|at| manifest.sources.get(at)).map_or("?", |source| source.path.as_str())
}

/// Writes what is in a bundle as aligned columns.
///
/// # Errors
/// A table that cannot be read, or `out` that cannot be written.
pub fn table(out: &mut impl Write, manifest: &Manifest, bundle: &Path, whole: &Whole) -> anyhow::Result<()> {
    let or_unknown = |text: &Option<String>| printable(text.as_deref().unwrap_or("unknown")).into_owned();
    writeln!(
        out,
        "run        {} ({})",
        or_unknown(&manifest.name),
        printable(manifest.run_id.get(..12).unwrap_or_default())
    )?;
    writeln!(out, "dataplane  {}", or_unknown(&manifest.dataplane))?;
    writeln!(out, "scenario   {}", or_unknown(&manifest.scenario))?;
    writeln!(
        out,
        "nodes      {}",
        if manifest.nodes.is_empty() {
            "unknown".to_owned()
        } else {
            printable(&manifest.nodes.join(", ")).into_owned()
        }
    )?;
    if manifest.synthetic {
        writeln!(out, "synthetic  yes: these captures were generated, not measured")?;
    }
    for (component, version) in &manifest.versions {
        writeln!(out, "version    {} {}", printable(component), printable(version))?;
    }
    writeln!(out, "\n{:>5} {:>9} {:>8}  {:22} {:16} source", "index", "records", "rejected", "kind", "clock")?;
    for (index, source) in manifest.sources.iter().enumerate() {
        let clock = printable(source.clock.as_deref().unwrap_or("-"));
        writeln!(
            out,
            "{index:>5} {:>9} {:>8}  {:22} {clock:16} {}",
            source.records,
            source.rejected,
            printable(&source.kind),
            printable(&source.path)
        )?;
        if !source.layers.is_empty() {
            writeln!(out, "{:26}within {}", "", printable(&source.layers.join(", ")))?;
        }
        if let Some(same) = &source.same_as {
            writeln!(out, "{:26}the same content as {}", "", printable(same))?;
        }
        if let Some(nearest) = &source.nearest {
            writeln!(out, "{:26}{}", "", printable(nearest))?;
        }
    }
    writeln!(out, "\n{:>9} {:>10}  table", "rows", "bytes")?;
    for one in &manifest.tables {
        writeln!(out, "{:>9} {:>10}  {}", one.rows, one.bytes, printable(&one.name))?;
    }
    writeln!(out, "\nlosses: {}", manifest.losses.len())?;
    for loss in &manifest.losses {
        let source = loss.source.as_deref().unwrap_or("the whole bundle");
        let (severity, name) = (printable(&loss.severity), printable(&loss.name));
        writeln!(out, "  {severity} {} × {name} in {}", loss.count, printable(source))?;
    }
    let shared = shared_series(bundle, whole)?;
    if !shared.is_empty() {
        writeln!(
            out,
            "\nseries of one name and labels in several sources: a query takes each stretch of time from the best of"
        )?;
        writeln!(out, "them, and `syncline query --explain` counts what it leaves aside")?;
    }
    for (sources, series) in shared {
        let paths: Vec<String> =
            sources.iter().map(|source| printable(path_of(manifest, *source)).into_owned()).collect();
        writeln!(out, "{series:>9}  {}", paths.join(", "))?;
    }
    let rejects = first_rejects(bundle, whole, 10)?;
    if !rejects.is_empty() {
        writeln!(out, "\nfirst rejects (all are in rejects.parquet):")?;
    }
    for one in rejects {
        let excerpt: String = one.excerpt.chars().take(60).collect();
        writeln!(
            out,
            "  {}:{}: {}: {}",
            printable(path_of(manifest, one.source)),
            one.record,
            printable(&one.reason),
            printable(&excerpt)
        )?;
    }
    Ok(())
}

/// A row of `rejects`.
struct Reject {
    source: i32,
    record: i64,
    offset: i64,
    reason: String,
    excerpt: String,
}

fn first_rejects(bundle: &Path, whole: &Whole, count: usize) -> anyhow::Result<Vec<Reject>> {
    let path = bundle.join("rejects.parquet");
    if !path.exists() {
        return Ok(Vec::new());
    }
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(&path)?)?.with_limit(count);
    let reader = builder.with_batch_size(whole.rows_at_once("rejects", 1024)).build()?;
    let mut found = Vec::new();
    for batch in reader {
        let batch = batch?;
        let text = |name: &str, at: usize| {
            batch.column_by_name(name).map(|column| column.as_string::<i32>().value(at).to_owned()).unwrap_or_default()
        };
        let number = |name: &str, at: usize| {
            batch.column_by_name(name).map(|column| column.as_primitive::<Int64Type>().value(at)).unwrap_or_default()
        };
        for at in 0..batch.num_rows() {
            let source = batch.column_by_name("source").map(|column| column.as_primitive::<Int32Type>().value(at));
            found.push(Reject {
                source: source.unwrap_or(-1),
                record: number("record", at),
                offset: number("offset", at),
                reason: text("reason", at),
                excerpt: text("excerpt", at),
            });
        }
    }
    Ok(found)
}

/// Lists the formats.
///
/// # Errors
/// Standard output that cannot be written.
pub fn formats() -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "Files may be plain, gzip or zstd, also inside a tar or zip, a tar in a zip too\n(cilium sysdump). Kinds are recognised by content, then by name;"
    )?;
    writeln!(out, "--source KIND[@CLOCK]=GLOB and capture.toml override. Clocks: {}.", {
        let tokens: Vec<&str> = ClockToken::ALL.into_iter().map(ClockToken::token).collect();
        tokens.join(", ")
    })?;
    writeln!(out, "\nWhat lies around a capture is taken off first, in any order and stacked:")?;
    for layer in LAYERS {
        writeln!(out, "  {:16} {}", layer.name, layer.title)?;
    }
    for format in FORMATS {
        writeln!(out, "\n{}  ({})", format.kind, format.title)?;
        writeln!(out, "  clock       {}", format.clock.token())?;
        writeln!(out, "  recognised  {}", format.recognised)?;
        writeln!(out, "  capture     {}", format.capture)?;
        writeln!(out, "  proves      {}", format.proves)?;
        for (at, line) in format.sample.lines().enumerate() {
            writeln!(out, "  {}  {line}", if at == 0 { "sample    " } else { "          " })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
