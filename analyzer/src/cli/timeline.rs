//! `syncline timeline`: the aligned events of a bundle.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, ValueEnum};
use syncline_schema::printable::{Printable, printable, printable_json, tell};

use super::Budget;
use super::times::moment;
use crate::events::Run;
use crate::events::timeline::{Event, Filter, KINDS, UNDATED, each};
use crate::result::given;
use crate::write::csv;

/// Arguments of `syncline timeline`.
#[derive(Args, Debug)]
pub struct TimelineArguments {
    /// A bundle, or a capture directory (bundled first)
    #[arg(value_name = "BUNDLE|CAPTURE_DIR")]
    bundle: PathBuf,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// First moment: RFC 3339, Unix seconds, or start, baseline, action, tail,
    /// end, each with + or - a duration (action-5s); +30s is after the start,
    /// -30s ahead of the end
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    from: Option<String>,
    /// End of the range (exclusive)
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    to: Option<String>,
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
    /// What to print of each, in this order: time, low, high, width, kind,
    /// object, what, source, record, order_open
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_enum)]
    columns: Vec<Column>,
    #[command(flatten)]
    budget: Budget,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
    Csv,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Column {
    /// `low` as RFC 3339
    Time,
    /// Earliest moment, ns
    Low,
    /// Latest moment, ns
    High,
    /// Latest − earliest, ns
    Width,
    Kind,
    Object,
    What,
    Source,
    Record,
    OrderOpen,
}

/// Columns where none are named: those of CSV and JSON.
const ALL: [Column; 8] = [
    Column::Low,
    Column::High,
    Column::Kind,
    Column::Object,
    Column::What,
    Column::Source,
    Column::Record,
    Column::OrderOpen,
];

impl Column {
    fn name(self) -> &'static str {
        match self {
            Column::Time => "time",
            Column::Low => "low",
            Column::High => "high",
            Column::Width => "width",
            Column::Kind => "kind",
            Column::Object => "object",
            Column::What => "what",
            Column::Source => "source",
            Column::Record => "record",
            Column::OrderOpen => "order_open",
        }
    }

    fn of(self, event: &Event) -> serde_json::Value {
        match self {
            Column::Time => time(event.low).into(),
            Column::Low => event.low.into(),
            Column::High => event.high.into(),
            Column::Width => (event.high - event.low).into(),
            Column::Kind => event.kind.as_str().into(),
            Column::Object => event.object.as_str().into(),
            Column::What => event.what.as_str().into(),
            Column::Source => event.source.as_str().into(),
            Column::Record => event.record.into(),
            Column::OrderOpen => event.order_open.into(),
        }
    }
}

/// Prints the timeline.
///
/// # Errors
/// A bundle that cannot be read, a time or a kind that is none.
pub fn run(arguments: &TimelineArguments) -> anyhow::Result<ExitCode> {
    if let Some(kind) = arguments.kind.as_deref().filter(|kind| !KINDS.contains(kind)) {
        bail!("`{kind}` is no kind of event: expected one of {}", KINDS.join(", "));
    }
    let (bundle, _temporary) = given::one(&arguments.bundle, arguments.budget)?;
    let run = Run::load(bundle)?;
    let place = |text: &Option<String>| text.as_deref().map(|text| moment(text, &run)).transpose();
    let filter = Filter {
        from: place(&arguments.from)?,
        to: place(&arguments.to)?,
        kind: arguments.kind.clone(),
        object: arguments.object.clone(),
        source: arguments.source.clone(),
    };
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let columns = if arguments.columns.is_empty() { ALL.to_vec() } else { arguments.columns.clone() };
    let unrelated = match arguments.format {
        Format::Json => json(&run, &filter, &columns, &mut out)?,
        Format::Csv => {
            writeln!(out, "{}", columns.iter().map(|column| column.name()).collect::<Vec<_>>().join(","))?;
            each(&run, &filter, &mut |event| {
                let cells: Vec<String> = columns.iter().map(|column| csv::of_json(&column.of(&event))).collect();
                Ok(writeln!(out, "{}", cells.join(","))?)
            })?
        }
        Format::Table => {
            let mut out = Printable(&mut out);
            writeln!(
                out,
                "times on the clock {}; ~ order against the event ahead is open within the bounds",
                printable(&run.windows.clock)
            )?;
            let own = !arguments.columns.is_empty();
            each(&run, &filter, &mut |event| {
                Ok(writeln!(out, "{}", if own { line_of(&event, &columns) } else { line(&event) })?)
            })?
        }
    };
    out.flush()?;
    run.bundle.unchanged()?;
    say_left_out(&run, &unrelated);
    Ok(ExitCode::SUCCESS)
}

/// Says on standard error which events nothing relates to the run's reference clock: their clocks, with how many.
pub(super) fn say_left_out(run: &Run, unrelated: &[(String, u64)]) {
    for (clock, count) in unrelated {
        if clock == UNDATED {
            tell(format_args!("{count} events have no date and are left out: state year and timezone in capture.toml"));
            continue;
        }
        let why = run.clocks.missing(clock, &run.windows.clock);
        tell(format_args!("{count} events of the clock {clock} are left out: {why}"));
    }
}

/// One object; each event on a line of its own, so that it can be written as it comes.
fn json(run: &Run, filter: &Filter, columns: &[Column], out: &mut impl Write) -> anyhow::Result<Vec<(String, u64)>> {
    let clock = serde_json::Value::from(run.windows.clock.as_str()).to_string();
    write!(out, "{{\n  \"clock\": {},\n  \"events\": [", printable_json(&clock))?;
    let mut first = true;
    let unrelated = each(run, filter, &mut |event| {
        let fields: serde_json::Map<String, serde_json::Value> =
            columns.iter().map(|column| (column.name().to_owned(), column.of(&event))).collect();
        let event = serde_json::Value::Object(fields).to_string();
        write!(out, "{}\n    {}", if first { "" } else { "," }, printable_json(&event))?;
        first = false;
        Ok(())
    })?;
    writeln!(out, "\n  ],\n  \"unrelated\": {}\n}}", printable_json(&serde_json::to_string(&unrelated)?))?;
    Ok(unrelated)
}

fn time(ns: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(ns)).map_or_else(|_| ns.to_string(), |time| format!("{time:.6}"))
}

fn line(event: &Event) -> String {
    let width = (event.high - event.low) as f64 / 1e6;
    format!(
        "{} {} +{width:>9.3} ms  {:9}  {}  {}  ({}:{})",
        if event.order_open { '~' } else { ' ' },
        time(event.low),
        printable(&event.kind),
        printable(&event.object),
        printable(&event.what),
        printable(&event.source),
        event.record
    )
}

fn line_of(event: &Event, columns: &[Column]) -> String {
    let text = |column: &Column| match (column, column.of(event)) {
        (Column::OrderOpen, _) => if event.order_open { "~" } else { " " }.to_owned(),
        (_, serde_json::Value::String(text)) => printable(&text).into_owned(),
        (_, value) => value.to_string(),
    };
    columns.iter().map(text).collect::<Vec<_>>().join("  ")
}
