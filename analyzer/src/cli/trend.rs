//! `syncline trend`: one figure of many runs over time and versions, and where it shifts.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::{Budget, Selection, ended, print, print_json};
use crate::math::quantile::REPORTED;
use crate::result::load::{load, nothing};
use crate::verdict::trend::{By, Question, series};
use crate::view::trend::build;
use crate::write::grid::Screen;
use crate::write::trend;

/// Arguments of `syncline trend`.
#[derive(Args, Debug)]
pub struct TrendArguments {
    /// The runs: archives, bundles, or capture directories
    #[arg(required = true, value_name = "RUNS")]
    inputs: Vec<PathBuf>,
    /// The measurement, as endpoint_propagation or "memory_bytes (action)"
    #[arg(long, value_name = "NAME", value_parser = measurement)]
    measurement: (String, Option<String>),
    /// Quantile of a distribution: p50, p90, p95, p99 or max [default: the
    /// main figure]
    #[arg(long, value_name = "Q", value_parser = quantile)]
    quantile: Option<String>,
    /// Order runs by this fact and then by time: cilium, kubernetes, kernel,
    /// kube-proxy, label, or a key as config/bpf-lb-algorithm
    #[arg(long, value_name = "FACT")]
    by: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t = TrendFormat::Table)]
    format: TrendFormat,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    budget: Budget,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TrendFormat {
    /// Tables and charts, for a terminal
    Table,
    /// An array, one element a series
    Json,
    /// One page
    Html,
}

/// A name, or a name with its variant in brackets.
fn measurement(text: &str) -> Result<(String, Option<String>), String> {
    let text = text.trim();
    let (name, variant) = match text.split_once(" (").and_then(|(name, rest)| Some((name, rest.strip_suffix(')')?))) {
        Some((name, variant)) => (name.trim(), Some(variant.to_owned())),
        None => (text, None),
    };
    if name.is_empty() { Err("expected the name of a measurement".to_owned()) } else { Ok((name.to_owned(), variant)) }
}

/// `p95`, `95`, `0.95` and `max` name what distributions carry.
fn quantile(text: &str) -> Result<String, String> {
    let share = match text.strip_prefix('p').unwrap_or(text).parse::<f64>() {
        Ok(number) if number > 1.0 || text.starts_with('p') => number / 100.0,
        Ok(number) => number,
        Err(_) => f64::NAN,
    };
    let found = REPORTED.iter().find(|(name, q)| *name == text || (q - share).abs() < 1e-9);
    found.map(|(name, _)| (*name).to_owned()).ok_or_else(|| {
        let names: Vec<&str> = REPORTED.iter().map(|(name, _)| *name).collect();
        format!("`{text}`: expected one of {}", names.join(", "))
    })
}

/// Finds the series and prints them. Exit code 2 where a run could not be read; the rest is printed.
///
/// # Errors
/// Runs that cannot be read; a measurement, quantile or fact that none of them has.
pub fn run(arguments: &TrendArguments) -> anyhow::Result<ExitCode> {
    let by = arguments.by.as_deref().map(By::of).transpose()?;
    let loaded = load(&arguments.inputs, &nothing, arguments.selection.condition()?.as_ref(), arguments.budget)?;
    let (measurement, variant) = arguments.measurement.clone();
    let question = Question { measurement, variant, quantile: arguments.quantile.clone() };
    let found = series(&loaded.results, &question, by.as_ref())?;
    let generated = loaded.results.iter().filter(|one| one.run.synthetic);
    let generated: Vec<&str> = generated.map(|one| one.run.name.as_str()).collect();
    let document = || build(&found, &question, by.as_ref(), &generated);
    match arguments.format {
        TrendFormat::Table => print(&trend::table(&document(), Screen::stdout()))?,
        TrendFormat::Json => print_json(&format!("{:#}\n", trend::json(&found, &question)))?,
        TrendFormat::Html => print(&trend::html(&document())?)?,
    }
    Ok(ended(false, !loaded.unread.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::{measurement, quantile};

    #[test]
    fn names_have_variants_and_quantiles_their_spellings() {
        let plain = |name: &str| (name.to_owned(), None);
        assert_eq!(measurement("endpoint_propagation"), Ok(plain("endpoint_propagation")));
        assert_eq!(measurement("memory_bytes (action)"), Ok(("memory_bytes".to_owned(), Some("action".to_owned()))));
        assert_eq!(measurement("a (b"), Ok(plain("a (b")));
        assert!(measurement(" ").is_err());
        for (text, name) in
            [("p95", "p95"), ("95", "p95"), ("0.95", "p95"), ("max", "max"), ("1", "max"), ("p100", "max")]
        {
            assert_eq!(quantile(text).as_deref(), Ok(name), "{text}");
        }
        for wrong in ["", "p", "p96", "nan", "-1", "median"] {
            assert!(quantile(wrong).is_err(), "{wrong}");
        }
    }
}
