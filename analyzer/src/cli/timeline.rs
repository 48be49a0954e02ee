//! `syncline timeline`: the aligned events of a bundle.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::bundle::Bundle;
use crate::events::Run;
use crate::events::timeline::{Event, timeline};

/// Arguments of `syncline timeline`.
#[derive(Args, Debug)]
pub struct TimelineArguments {
    /// A bundle
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Only events of this kind: marker, request, endpoint, sync, dataplane,
    /// failure
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Only events whose object contains this text
    #[arg(long, value_name = "TEXT")]
    object: Option<String>,
    /// Only events of sources whose path contains this text
    #[arg(long, value_name = "TEXT")]
    source: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
    Csv,
}

/// Prints the timeline.
///
/// # Errors
/// A bundle that cannot be read.
pub fn run(arguments: &TimelineArguments) -> anyhow::Result<ExitCode> {
    let run = Run::load(Bundle::open(&arguments.bundle)?)?;
    let mut timeline = timeline(&run)?;
    let contains =
        |wanted: &Option<String>, text: &str| wanted.as_ref().is_none_or(|wanted| text.contains(wanted.as_str()));
    timeline.events.retain(|event| {
        arguments.kind.as_ref().is_none_or(|kind| kind == event.kind)
            && contains(&arguments.object, &event.object)
            && contains(&arguments.source, &event.source)
    });
    let mut out = std::io::stdout().lock();
    match arguments.format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&timeline)?)?,
        Format::Csv => {
            writeln!(out, "low,high,kind,object,what,source,record,order_open")?;
            for event in &timeline.events {
                let text = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
                let Event { low, high, kind, record, order_open, .. } = event;
                writeln!(
                    out,
                    "{low},{high},{kind},{},{},{},{record},{order_open}",
                    text(&event.object),
                    text(&event.what),
                    text(&event.source)
                )?;
            }
        }
        Format::Table => {
            writeln!(
                out,
                "times on the clock {}; ~ order against the event ahead is open within the bounds",
                timeline.clock
            )?;
            for event in &timeline.events {
                let time = jiff::Timestamp::from_nanosecond(i128::from(event.low))
                    .map_or_else(|_| event.low.to_string(), |time| format!("{time:.6}"));
                let width = (event.high - event.low) as f64 / 1e6;
                let mark = if event.order_open { '~' } else { ' ' };
                writeln!(
                    out,
                    "{mark} {time} +{width:>9.3} ms  {:9}  {}  {}  ({}:{})",
                    event.kind,
                    event.object.escape_debug(),
                    event.what.escape_debug(),
                    event.source.escape_debug(),
                    event.record
                )?;
            }
        }
    }
    for (clock, count) in &timeline.unrelated {
        eprintln!("{count} events of the clock {clock} are left out: {}", run.clocks.missing(clock, &timeline.clock));
    }
    Ok(ExitCode::SUCCESS)
}
