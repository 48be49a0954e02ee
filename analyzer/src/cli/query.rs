//! `syncline query`: PromQL over the series of one or more bundles.
//!
//! Standard output has the answer: a table, CSV, or exactly what Prometheus' HTTP API would answer (`--format json`).
//! An expression that cannot be parsed or evaluated is answered likewise, with exit code 1.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use syncline_promql::{
    MemoryStorage, Options, Series, error_to_json, eval_error_to_json, instant, parse, parse_error_to_json, range,
    to_json,
};

use super::answers;
use crate::bundle::Bundle;
use crate::bundle::witnesses::{self, Aside};
use crate::result::copies::Distinct;
use crate::result::given;

/// Arguments of `syncline query`.
#[derive(Args, Debug)]
#[command(override_usage = "syncline query [OPTIONS] <BUNDLE>... <PROMQL>")]
pub struct QueryArguments {
    /// One or more bundles or capture directories, then the expression
    #[arg(required = true, num_args = 1.., value_name = "BUNDLE>... <PROMQL", hide_possible_values = true)]
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
    /// The most samples that the evaluation may hold at a time
    #[arg(long, value_name = "N", default_value_t = Options::default().max_samples)]
    max_samples: usize,
    /// The most memory that the evaluation may take for what it builds, as 512MiB or 2GiB
    #[arg(long, value_name = "SIZE", default_value = "2GiB", value_parser = bytes)]
    memory: usize,
    /// How to print the answer [default: table; chart for a range query on a terminal]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Print to standard error what was selected, what was left aside and why,
    /// and how long each step took
    #[arg(long)]
    explain: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Aligned columns, one line per value
    Table,
    /// Exactly what Prometheus' HTTP API answers
    Json,
    /// A line a value, for a spreadsheet
    Csv,
    /// A line a series, its course drawn in blocks
    Chart,
}

impl QueryArguments {
    fn format(&self) -> Format {
        let looked_at = self.step.is_some() && std::io::stdout().is_terminal();
        self.format.unwrap_or(if looked_at { Format::Chart } else { Format::Table })
    }
}

/// Options of `query` that `--help` lists, and their short forms.
const FLAGS: [&str; 11] = [
    "--time",
    "--start",
    "--end",
    "--step",
    "--lookback",
    "--max-samples",
    "--memory",
    "--format",
    "--explain",
    "--help",
    "-h",
];

/// The words of a `query` command line as clap can take them: an expression may begin with a minus, and so may a
/// time. Such a word gets a space before it, which no value minds.
pub fn shielded(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<OsString> = words.collect();
    if words.get(1).is_none_or(|command| command != "query") {
        return words;
    }
    for word in words.iter_mut().skip(2).take_while(|word| *word != "--") {
        let Some(text) = word.to_str() else { continue };
        let name = text.split('=').next().unwrap_or_default();
        let option = text.starts_with("--") && text[2..].starts_with(|letter: char| letter.is_ascii_alphabetic());
        if text.starts_with('-') && !option && !FLAGS.contains(&name) {
            *word = OsString::from(format!(" {text}"));
        }
    }
    words
}

/// Evaluates and prints. Exit code 1: the expression is wrong or cannot be evaluated.
///
/// # Errors
/// A bundle that cannot be read, or a time or duration that is none.
pub fn run(arguments: &QueryArguments) -> anyhow::Result<ExitCode> {
    let begun = Instant::now();
    let (expression, paths) = arguments.operands.split_last().context("an expression is needed")?;
    if paths.is_empty() {
        bail!("expected <BUNDLE>... <PROMQL>, found only `{expression}`");
    }
    let expression = expression.strip_prefix(' ').unwrap_or(expression);
    let format = arguments.format();
    let options = Options {
        lookback: duration(&arguments.lookback)?,
        timed: arguments.explain,
        max_samples: arguments.max_samples,
        memory: arguments.memory,
        ..Options::default()
    };
    let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
    let (Distinct { bundles, .. }, _temporary) = given::bundles(&paths)?;
    let labels = run_labels(&bundles);
    let query = parse(expression);
    // An expression that names its metrics needs no others; the default times are those of what it selects.
    let wanted: Option<HashSet<String>> =
        query.as_ref().ok().and_then(|query| query.metric_names()).map(|names| names.into_iter().collect());
    let mut series = Vec::new();
    let mut aside: Vec<String> = Vec::new();
    for (bundle, label) in bundles.iter().zip(&labels) {
        let extra = (bundles.len() > 1).then_some(("run", label.as_str()));
        let selected = witnesses::select(bundle, wanted.as_ref(), extra)?;
        series.extend(selected.series);
        aside.extend(selected.aside.iter().map(|one| left_aside(bundle, label, one)));
        bundle.unchanged()?;
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
        Err(error) => return refuse(&mut out, format, &parse_error_to_json(&error), &error.to_string()),
    };
    let answer = match &arguments.step {
        Some(step) => {
            let start = arguments.start.as_deref().map_or(Ok(first), milliseconds)?;
            let end = arguments.end.as_deref().map_or(Ok(last), milliseconds)?;
            let step = i64::try_from(duration(step)?.as_millis())?;
            if let Some(message) = range_error(start, end, step) {
                return refuse(&mut out, format, &error_to_json("bad_data", &message), &message);
            }
            range(&storage, &query, start, end, step, &options)
        }
        None => instant(&storage, &query, arguments.time.as_deref().map_or(Ok(last), milliseconds)?, &options),
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return refuse(&mut out, format, &eval_error_to_json(&error), &error.to_string()),
    };
    let evaluated = begun.elapsed();
    match format {
        Format::Json => writeln!(out, "{}", to_json(&answer))?,
        Format::Csv => answers::csv(&mut out, &answer)?,
        Format::Table => answers::table(&mut out, &answer)?,
        Format::Chart => answers::chart(&mut out, &answer)?,
    }
    if format != Format::Json {
        for note in answer.warnings.iter().chain(&answer.infos) {
            eprintln!("{note}");
        }
    }
    if arguments.explain {
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        eprintln!("loaded {number} series, {samples} samples in {:.1} ms", milliseconds(loaded));
        for line in &aside {
            eprintln!("{line}");
        }
        for one in &answer.selected {
            eprintln!("selected {}: {} series, {} samples", one.selector, one.series, one.samples);
        }
        eprint!("{}", answers::plan(&answer.plan));
        eprintln!("evaluated in {:.3} ms", milliseconds(evaluated - loaded));
        eprintln!("printed in {:.3} ms", milliseconds(begun.elapsed() - evaluated));
    }
    Ok(ExitCode::SUCCESS)
}

/// What was not used of a source, and why.
fn left_aside(bundle: &Bundle, label: &str, aside: &Aside) -> String {
    let source = usize::try_from(aside.source).ok().and_then(|at| bundle.manifest.sources.get(at));
    let path = source.map_or("?", |source| source.path.as_str());
    let Aside { witness, why, instead, series, samples, .. } = aside;
    format!(
        "left aside {samples} samples of {series} series of {label}: {path} ({witness}): {} ({instead})",
        why.words()
    )
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
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        if !seconds.is_finite() || seconds.abs() > 9e12 {
            bail!("`{text}` is not a valid time: expected RFC 3339 or Unix seconds");
        }
        return Ok((seconds * 1e3).round() as i64);
    }
    let time: jiff::Timestamp =
        text.parse().with_context(|| format!("`{text}` is not a valid time: expected RFC 3339 or Unix seconds"))?;
    Ok(time.as_millisecond())
}

/// A number of bytes, by itself or with a unit: `512MiB`, `2GiB`, `500MB`.
fn bytes(text: &str) -> Result<usize, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let unit: usize = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "mb" => 1000 * 1000,
        "gb" => 1000 * 1000 * 1000,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        _ => return Err(format!("`{text}` is no size: expected one as 512MiB or 2GiB")),
    };
    let size = text[..digits].parse::<usize>().ok().and_then(|count| count.checked_mul(unit));
    size.ok_or_else(|| format!("`{text}` is no size: expected one as 512MiB or 2GiB"))
}

/// A duration as in Prometheus (`1m30s`), or seconds.
pub(super) fn duration(text: &str) -> anyhow::Result<Duration> {
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
    fn sizes_have_units() {
        assert_eq!(bytes("2GiB"), Ok(2 << 30));
        assert_eq!(bytes("500MB"), Ok(500_000_000));
        assert_eq!(bytes("64k"), Ok(65_536));
        assert_eq!(bytes("1000"), Ok(1000));
        assert_eq!(bytes("2GiB"), Ok(Options::default().memory));
        for wrong in ["", "GiB", "1.5GiB", "-1", "1x", "99999999999999999999GiB"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_expression_and_a_time_may_begin_with_a_minus() {
        let words = |line: &[&str]| -> Vec<String> {
            let line = ["syncline", "query"].iter().chain(line).map(OsString::from);
            shielded(line).iter().skip(2).map(|word| word.to_string_lossy().into_owned()).collect()
        };
        assert_eq!(words(&["b", "-up", "--time", "-5"]), ["b", " -up", "--time", " -5"]);
        assert_eq!(words(&["b", "--1", "-h", "--format=csv"]), ["b", " --1", "-h", "--format=csv"]);
        assert_eq!(words(&["b", "--", "-up"]), ["b", "--", "-up"]);
        let other = shielded(["syncline", "report", "-x"].iter().map(OsString::from));
        assert_eq!(other[2], "-x");
    }

    #[test]
    fn times_are_rfc_3339_or_unix_seconds() {
        assert_eq!(milliseconds("1795407750.679").expect("valid"), 1_795_407_750_679);
        assert_eq!(milliseconds(" -1.5").expect("valid"), -1500);
        assert_eq!(milliseconds("2026-11-23T04:22:30.5Z").expect("valid"), 1_795_407_750_500);
        assert!(milliseconds("yesterday").is_err());
    }
}
