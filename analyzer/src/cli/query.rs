//! `syncline query`: PromQL over the series of one or more bundles.
//!
//! Standard output has the answer: a table, CSV, or exactly what Prometheus' HTTP API would answer (`--format json`).
//! An expression that cannot be parsed or evaluated is answered likewise, with exit code 1.
//!
//! Several bundles are asked together, each series with the label `run`, where a time is given that is the same for all. Without
//! one, and at times that count from a phase (`action+10s`), each run is asked by itself at its own.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::mem::ManuallyDrop;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use syncline_promql::{
    Answer, Expr, Options, Value, error_to_json, eval_error_to_json, parse, parse_error_to_json, to_json,
};

use syncline_schema::printable::{printable_json, tell, tell_error, tell_lines};

use super::times::{absolute, duration, relative};
use super::{Budget, Selection, answers, ended, hints};
use crate::bundle::Bundle;
use crate::bundle::witnesses::{self, Aside};
use crate::events::Run;
use crate::query::ask::{self, Part, Times};
use crate::result::given::{self, Given};
use crate::write::grid::Screen;

/// Arguments of `syncline query`.
#[derive(Args, Debug)]
#[command(override_usage = "syncline query [OPTIONS] <BUNDLE>... <PROMQL>")]
pub struct QueryArguments {
    /// One or more bundles or capture directories, then the expression
    #[arg(required = true, num_args = 1.., value_name = "BUNDLE>... <PROMQL", hide_possible_values = true)]
    operands: Vec<String>,
    /// Time of an instant query: RFC 3339, Unix seconds, or start, baseline,
    /// action, tail, end, each with + or - a duration (action+10s); -5m is
    /// ahead of the end [default: each run's last sample]
    #[arg(long, value_name = "T", conflicts_with_all = ["start", "end", "step"])]
    time: Option<String>,
    /// First time of a range query, written alike [default with --step: the
    /// first sample]
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
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    budget: Budget,
    /// How to print the answer [default: table; chart for a range query on a terminal]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Exit with 1 where the answer has a value: for CI, with a condition
    #[arg(long)]
    fail_if_any: bool,
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
const FLAGS: [&str; 12] = [
    "--time",
    "--start",
    "--end",
    "--step",
    "--lookback",
    "--max-samples",
    "--memory",
    "--format",
    "--explain",
    "--fail-if-any",
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

/// Evaluates and prints. Exit code 1: the expression is wrong or cannot be evaluated, or `--fail-if-any` found a value; else 2 where
/// a run could not be read.
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
        memory: usize::try_from(arguments.budget.memory).unwrap_or(usize::MAX),
        ..Options::default()
    };
    let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
    let Given { distinct, unread, temporary: _temporary } =
        given::bundles(&paths, arguments.selection.condition()?.as_ref(), arguments.budget)?;
    let bundles = distinct.runs;
    let query = parse(expression);
    let parts = ask::parts(&bundles, query.as_ref().ok())?;
    let number: usize = parts.iter().map(|part| part.series.len()).sum();
    let held = |one: &syncline_promql::Series| one.times.len() + one.histograms.len();
    let samples: usize = parts.iter().flat_map(|part| &part.series).map(held).sum();
    let aside: Vec<String> = bundles
        .iter()
        .zip(&parts)
        .flat_map(|(bundle, part)| part.aside.iter().map(|one| left_aside(bundle, &part.run, one)))
        .collect();
    let loaded = begun.elapsed();

    let mut out = std::io::stdout().lock();
    let query = match query {
        Ok(query) => query,
        Err(error) => return refuse(&mut out, format, &parse_error_to_json(&error), &error.to_string()),
    };
    let answer = match arguments.when(&query, &bundles, &parts)? {
        When::Refused(message) => return refuse(&mut out, format, &error_to_json("bad_data", &message), &message),
        When::Together(times) => {
            // The process ends with the answer: its samples need not be given back one by one.
            let storage = ManuallyDrop::new(ask::together(parts));
            ask::evaluate(&storage, &query, times, &options)
        }
        When::Apart(times) => ask::apart(parts.into_iter().zip(times).collect(), &query, &options),
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return refuse(&mut out, format, &eval_error_to_json(&error), &error.to_string()),
    };
    let evaluated = begun.elapsed();
    match format {
        Format::Json => writeln!(out, "{}", printable_json(&to_json(&answer)))?,
        Format::Csv => answers::csv(&mut out, &answer)?,
        Format::Table => answers::table(&mut out, &answer, Screen::stdout())?,
        Format::Chart => answers::chart(&mut out, &answer, Screen::stdout())?,
    }
    if format != Format::Json {
        for note in answer.warnings.iter().chain(&answer.infos) {
            tell(format_args!("{note}"));
        }
    }
    if !has_any(&answer) {
        for line in hints::of(&query, &bundles)? {
            tell(format_args!("{line}"));
        }
    }
    if arguments.explain {
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        tell(format_args!("loaded {number} series, {samples} samples in {:.1} ms", milliseconds(loaded)));
        for line in &aside {
            tell(format_args!("{line}"));
        }
        for one in &answer.selected {
            tell(format_args!("selected {}: {} series, {} samples", one.selector, one.series, one.samples));
        }
        tell_lines(&answers::plan(&answer.plan));
        tell(format_args!("evaluated in {:.3} ms", milliseconds(evaluated - loaded)));
        tell(format_args!("printed in {:.3} ms", milliseconds(begun.elapsed() - evaluated)));
    }
    Ok(ended(arguments.fail_if_any && has_any(&answer), !unread.is_empty()))
}

/// Whether an answer has a value: a series, or a number that is not nought.
fn has_any(answer: &Answer) -> bool {
    match &answer.value {
        Value::Vector(elements) => !elements.is_empty(),
        Value::Matrix(series) => !series.is_empty(),
        Value::Scalar { value, .. } => *value != 0.0 && !value.is_nan(),
        Value::String { text, .. } => !text.is_empty(),
    }
}

/// When an expression is evaluated.
enum When {
    /// Once, over all runs.
    Together(Times),
    /// Over each run by itself, in the order of the bundles.
    Apart(Vec<Times>),
    /// A range that the HTTP API would refuse.
    Refused(String),
}

impl QueryArguments {
    fn when(&self, query: &Expr, bundles: &[Bundle], parts: &[Part]) -> anyhow::Result<When> {
        let given = || [&self.time, &self.start, &self.end].into_iter().flatten();
        let relative = given().any(|text| absolute(text).is_none());
        let step =
            self.step.as_deref().map(|step| anyhow::Ok(i64::try_from(duration(step)?.as_millis())?)).transpose()?;
        // What asks for no metric has no time of its own.
        let constant = query.metric_names().is_some_and(|names| names.is_empty());
        let own_end = self.time.is_none() && step.is_none() && !constant;
        if !relative && (bundles.len() == 1 || !own_end) {
            let times = self.times(step, ask::span(parts), &|text| absolute(text).context("a time"))?;
            return Ok(refused(times).map_or(When::Together(times), When::Refused));
        }
        let mut all = Vec::with_capacity(bundles.len());
        for (bundle, part) in bundles.iter().zip(parts) {
            let run = if relative { Some(Run::load(bundle.clone())?) } else { None };
            let place = |text: &str| match (absolute(text), &run) {
                (Some(at), _) => Ok(at),
                (None, Some(run)) => on_samples(run, query, text),
                (None, None) => bail!("`{text}` is not a valid time"),
            };
            let times = self.times(step, part.span, &place)?;
            if let Some(message) = refused(times) {
                return Ok(When::Refused(message));
            }
            all.push(times);
        }
        // One run alone needs no label.
        Ok(match all.as_slice() {
            [times] => When::Together(*times),
            _ => When::Apart(all),
        })
    }

    /// The times of one evaluation; `place` reads a time as ns.
    fn times(
        &self,
        step: Option<i64>,
        span: Option<(i64, i64)>,
        place: &dyn Fn(&str) -> anyhow::Result<i64>,
    ) -> anyhow::Result<Times> {
        let (first, last) = span.unwrap_or((0, 0));
        let of = |text: &Option<String>, otherwise: i64| {
            let ns = text.as_deref().map(place).transpose()?;
            anyhow::Ok(ns.map_or(otherwise, milliseconds))
        };
        Ok(match step {
            Some(step) => Times::Range(of(&self.start, first)?, of(&self.end, last)?, step),
            None => Times::At(of(&self.time, last)?),
        })
    }
}

/// To the nearest millisecond, as the HTTP API does.
fn milliseconds(ns: i64) -> i64 {
    ns.saturating_add(500_000).div_euclid(1_000_000)
}

/// A time that counts from a phase, on the clock of the samples: moved by the middle of the offset between the two.
fn on_samples(run: &Run, query: &Expr, text: &str) -> anyhow::Result<i64> {
    let at = relative(text)?.within(run)?;
    let names = query.metric_names().map(|names| names.into_iter().collect());
    let chosen = witnesses::choose(&run.bundle, names.as_ref())?;
    let Some(clock) = chosen.first().map(|one| one.row.clock.as_ref()) else { return Ok(at) };
    let from = run.windows.clock.as_str();
    if clock == from {
        return Ok(at);
    }
    let offset = run.clocks.offset(from, clock).with_context(|| {
        format!("`{text}`: nothing in {} relates the samples' clock {clock} to {from}, on which its phases are: give a time", run.name)
    })?;
    Ok(at.saturating_add(offset.low + (offset.high - offset.low) / 2))
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
        writeln!(out, "{}", printable_json(json))?;
    } else {
        tell_error(format_args!("{text}"));
    }
    Ok(ExitCode::from(1))
}

/// What the HTTP API would refuse of a range.
fn refused(times: Times) -> Option<String> {
    let Times::Range(start, end, step) = times else { return None };
    if step <= 0 {
        let text = "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Some(text.to_owned());
    }
    if end < start {
        return Some("invalid parameter \"end\": end timestamp must not be before start time".to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(absolute("1795407750.679").map(milliseconds), Some(1_795_407_750_679));
        assert_eq!(absolute(" -1.5").map(milliseconds), Some(-1500));
        assert_eq!(absolute("2026-11-23T04:22:30.5Z").map(milliseconds), Some(1_795_407_750_500));
        assert!(absolute("yesterday").is_none());
    }
}
