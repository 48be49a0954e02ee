//! `syncline query`: PromQL over the series of one or more bundles.
//!
//! Standard output has the answer: a table, CSV, or exactly what Prometheus' HTTP API would answer (`--format json`).
//! An expression that cannot be parsed or evaluated is answered likewise, with exit code 1.

use std::collections::HashSet;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use syncline_promql::{
    Answer, MemoryStorage, Options, SampleValue, Series, Value, error_to_json, eval_error_to_json, format_float,
    format_time, instant, parse, parse_error_to_json, range, to_json,
};

use crate::bundle::{Bundle, witnesses};

/// Arguments of `syncline query`.
#[derive(Args, Debug)]
pub struct QueryArguments {
    /// One or more bundles, then the expression
    #[arg(required = true, num_args = 2.., value_names = ["BUNDLE", "PROMQL"])]
    operands: Vec<String>,
    /// Time of an instant query: RFC 3339 or Unix seconds [default: the last sample]
    #[arg(long, value_name = "T", conflicts_with_all = ["start", "end", "step"])]
    time: Option<String>,
    /// First time of a range query [default with --step: the first sample]
    #[arg(long, value_name = "T", requires = "step")]
    start: Option<String>,
    /// Last time of a range query [default with --step: the last sample]
    #[arg(long, value_name = "T", requires = "step")]
    end: Option<String>,
    /// Step of a range query: a duration as 15s, or seconds
    #[arg(long, value_name = "D")]
    step: Option<String>,
    /// How far back a sample counts as current
    #[arg(long, value_name = "D", default_value = "5m")]
    lookback: String,
    /// How to print the answer
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Print to standard error what was selected and how long each step took
    #[arg(long)]
    explain: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
    Csv,
}

/// Evaluates and prints. Exit code 1: the expression is wrong or cannot be evaluated.
///
/// # Errors
/// A bundle that cannot be read, or a time or duration that is none.
pub fn run(arguments: &QueryArguments) -> anyhow::Result<ExitCode> {
    let begun = Instant::now();
    let (expression, paths) = arguments.operands.split_last().context("an expression is needed")?;
    let options = Options { lookback: duration(&arguments.lookback)?, ..Options::default() };
    let bundles: Vec<Bundle> =
        paths.iter().map(|path| Bundle::open(&PathBuf::from(path))).collect::<anyhow::Result<_>>()?;
    let labels = run_labels(&bundles);
    let query = parse(expression);
    // An expression that names its metrics needs no others; the default times are those of what it selects.
    let wanted: Option<HashSet<String>> =
        query.as_ref().ok().and_then(|query| query.metric_names()).map(|names| names.into_iter().collect());
    let mut series = Vec::new();
    for (bundle, label) in bundles.iter().zip(&labels) {
        let extra = (bundles.len() > 1).then_some(("run", label.as_str()));
        series.extend(witnesses::series(bundle, wanted.as_ref(), extra)?);
    }
    let firsts = |one: &Series| [one.times.first().copied(), one.histograms.first().map(|sample| sample.time)];
    let lasts = |one: &Series| [one.times.last().copied(), one.histograms.last().map(|sample| sample.time)];
    let first = series.iter().flat_map(firsts).flatten().min().unwrap_or(0);
    let last = series.iter().flat_map(lasts).flatten().max().unwrap_or(0);
    let number = series.len();
    let samples = series.iter().map(|one| one.times.len() + one.histograms.len()).sum::<usize>();
    let storage = MemoryStorage::new(series);
    let loaded = begun.elapsed();

    let mut out = std::io::stdout().lock();
    let query = match query {
        Ok(query) => query,
        Err(error) => return refuse(&mut out, arguments.format, &parse_error_to_json(&error), &error.to_string()),
    };
    let parsed = begun.elapsed();
    let answer = match &arguments.step {
        Some(step) => {
            let start = arguments.start.as_deref().map_or(Ok(first), milliseconds)?;
            let end = arguments.end.as_deref().map_or(Ok(last), milliseconds)?;
            let step = i64::try_from(duration(step)?.as_millis())?;
            if let Some(message) = range_error(start, end, step) {
                return refuse(&mut out, arguments.format, &error_to_json("bad_data", &message), &message);
            }
            range(&storage, &query, start, end, step, &options)
        }
        None => instant(&storage, &query, arguments.time.as_deref().map_or(Ok(last), milliseconds)?, &options),
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return refuse(&mut out, arguments.format, &eval_error_to_json(&error), &error.to_string()),
    };
    match arguments.format {
        Format::Json => writeln!(out, "{}", to_json(&answer))?,
        Format::Csv => write_rows(&mut out, &answer, ",", csv_field)?,
        Format::Table => write_rows(&mut out, &answer, "  ", str::to_owned)?,
    }
    if arguments.format != Format::Json {
        for note in answer.warnings.iter().chain(&answer.infos) {
            eprintln!("{note}");
        }
    }
    if arguments.explain {
        eprintln!("loaded {number} series, {samples} samples in {:.1} ms", loaded.as_secs_f64() * 1e3);
        eprintln!("parsed in {:.3} ms", (parsed - loaded).as_secs_f64() * 1e3);
        for one in &answer.selected {
            eprintln!("selected {}: {} series, {} samples", one.selector, one.series, one.samples);
        }
        eprintln!("evaluated in {:.3} ms", (begun.elapsed() - parsed).as_secs_f64() * 1e3);
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints an error in the format that was asked for.
fn refuse(out: &mut impl Write, format: Format, json: &str, text: &str) -> anyhow::Result<ExitCode> {
    if format == Format::Json {
        writeln!(out, "{json}")?;
    } else {
        eprintln!("error: {text}");
    }
    Ok(ExitCode::from(1))
}

/// What the HTTP API would refuse of a range.
fn range_error(start: i64, end: i64, step: i64) -> Option<String> {
    if step <= 0 {
        let text = "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Some(text.to_owned());
    }
    if end < start {
        return Some("invalid parameter \"end\": end timestamp must not be before start time".to_owned());
    }
    None
}

/// The label `run` of each bundle: its name, else its directory's, made unique by the run's identity.
fn run_labels(bundles: &[Bundle]) -> Vec<String> {
    let names: Vec<String> = bundles
        .iter()
        .map(|bundle| {
            let folder = bundle.path.file_name().map(|name| name.to_string_lossy().into_owned());
            bundle.manifest.name.clone().or(folder).unwrap_or_else(|| "bundle".to_owned())
        })
        .collect();
    names
        .iter()
        .enumerate()
        .map(|(at, name)| {
            let shared = names.iter().filter(|other| *other == name).count() > 1;
            if shared {
                format!("{name}-{}", bundles[at].manifest.run_id.chars().take(8).collect::<String>())
            } else {
                name.clone()
            }
        })
        .collect()
}

/// RFC 3339 or Unix seconds, as milliseconds since 1970.
fn milliseconds(text: &str) -> anyhow::Result<i64> {
    if let Ok(seconds) = text.parse::<f64>() {
        if !seconds.is_finite() || seconds.abs() > 9e12 {
            bail!("`{text}` is no time: expected RFC 3339 or Unix seconds");
        }
        return Ok((seconds * 1e3).round() as i64);
    }
    let time: jiff::Timestamp =
        text.parse().with_context(|| format!("`{text}` is no time: expected RFC 3339 or Unix seconds"))?;
    Ok(time.as_millisecond())
}

/// A duration as in Prometheus (`1m30s`), or seconds.
fn duration(text: &str) -> anyhow::Result<Duration> {
    let wrong = || format!("`{text}` is no duration: expected one as 1m30s, or seconds");
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).with_context(wrong);
    }
    let units = [
        ("ms", 1),
        ("s", 1_000),
        ("m", 60_000),
        ("h", 3_600_000),
        ("d", 86_400_000),
        ("w", 604_800_000),
        ("y", 31_536_000_000),
    ];
    let (mut rest, mut total, mut before) = (text, 0_u64, u64::MAX);
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).with_context(wrong)?;
        let count: u64 = rest[..digits].parse().ok().with_context(wrong)?;
        rest = &rest[digits..];
        let letters = rest.find(|letter: char| letter.is_ascii_digit()).unwrap_or(rest.len());
        let size =
            units.iter().find(|(name, _)| *name == &rest[..letters]).map(|(_, size)| *size).with_context(wrong)?;
        if size >= before {
            bail!(wrong());
        }
        before = size;
        total = count.checked_mul(size).and_then(|part| total.checked_add(part)).with_context(wrong)?;
        rest = &rest[letters..];
    }
    if text.is_empty() {
        bail!(wrong());
    }
    Ok(Duration::from_millis(total))
}

/// One line a value: labels, time, value.
fn write_rows(out: &mut impl Write, answer: &Answer, gap: &str, field: fn(&str) -> String) -> anyhow::Result<()> {
    let mut rows: Vec<[String; 3]> = Vec::new();
    match &answer.value {
        Value::Scalar { time, value } => rows.push([String::new(), format_time(*time), format_float(*value)]),
        Value::String { time, text } => rows.push([String::new(), format_time(*time), text.clone()]),
        Value::Vector(elements) => rows.extend(elements.iter().map(|element| {
            let value = match &element.value {
                SampleValue::Float(value) => format_float(*value),
                SampleValue::Histogram(histogram) => histogram_text(histogram.count, histogram.sum),
            };
            [element.labels.to_string(), format_time(element.time), value]
        })),
        Value::Matrix(series) => {
            for one in series {
                let labels = one.labels.to_string();
                rows.extend(
                    one.floats.iter().map(|(time, value)| [labels.clone(), format_time(*time), format_float(*value)]),
                );
                rows.extend(one.histograms.iter().map(|(time, histogram)| {
                    [labels.clone(), format_time(*time), histogram_text(histogram.count, histogram.sum)]
                }));
            }
        }
    }
    let aligned = gap != ",";
    let width = |at: usize| if aligned { rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0) } else { 0 };
    let (labels_width, time_width) = (width(0).max(if aligned { 6 } else { 0 }), width(1));
    writeln!(out, "{:labels_width$}{gap}{:time_width$}{gap}value", "series", "time")?;
    for [labels, time, value] in &rows {
        writeln!(out, "{:labels_width$}{gap}{:time_width$}{gap}{}", field(labels), time, field(value))?;
    }
    Ok(())
}

fn histogram_text(count: f64, sum: f64) -> String {
    format!("{{count:{}, sum:{}}}", format_float(count), format_float(sum))
}

fn csv_field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_prometheus() {
        assert_eq!(duration("1m30s").expect("valid"), Duration::from_secs(90));
        assert_eq!(duration("250ms").expect("valid"), Duration::from_millis(250));
        assert_eq!(duration("0.5").expect("valid"), Duration::from_millis(500));
        for wrong in ["", "1", "m", "1s1m", "1x", "-5s"] {
            assert!(wrong == "1" || duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_rfc_3339_or_unix_seconds() {
        assert_eq!(milliseconds("1795407750.679").expect("valid"), 1_795_407_750_679);
        assert_eq!(milliseconds("2026-11-23T04:22:30.5Z").expect("valid"), 1_795_407_750_500);
        assert!(milliseconds("yesterday").is_err());
    }
}
