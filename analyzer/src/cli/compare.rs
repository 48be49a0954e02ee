//! `syncline compare`: two sets of runs of anything against each other.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, ValueEnum};
use syncline_schema::printable::tell;

use super::{Budget, Selection, ended, print, print_json};
use crate::result::RunResult;
use crate::result::group::{Keys, columns};
use crate::result::load::{load_two, nothing};
use crate::verdict::change::{Changes, Figure, cell, compare_sets};
use crate::view::changes::{Sets, build};
use crate::view::comparison::column_name;
use crate::view::rows::group_label;
use crate::write::changes::{self, FailOn};
use crate::write::grid::Screen;
use crate::write::junit;

/// Arguments of `syncline compare`.
#[derive(Args, Debug)]
pub struct CompareArguments {
    /// The runs that are compared against: bundles, capture directories, or
    /// archives
    #[arg(required = true, value_name = "RUNS")]
    first: Vec<PathBuf>,
    /// The other runs: what is said is said of these
    #[arg(long, required = true, num_args = 1.., value_name = "RUNS")]
    against: Vec<PathBuf>,
    /// Name of the first set [default: what tells it apart, else A]
    #[arg(long, value_name = "T")]
    label_a: Option<String>,
    /// Name of the other set [default: what tells it apart, else B]
    #[arg(long, value_name = "T")]
    label_b: Option<String>,
    /// Compare these measurements only: fewer comparisons need fewer runs
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    only: Vec<String>,
    /// Exit with 1 where a figure of the other set is higher (by so many
    /// percent at least): higher, higher:10
    #[arg(long, value_name = "higher[:PERCENT]", value_parser = fail_on)]
    fail_on: Option<FailOn>,
    /// How to print
    #[arg(long, value_enum, default_value_t = CompareFormat::Table)]
    format: CompareFormat,
    #[command(flatten)]
    selection: Selection,
    /// Only runs of the first set that this condition holds for too
    #[arg(long, value_name = "SQL")]
    where_a: Option<String>,
    /// Only runs of the other set that this condition holds for too
    #[arg(long, value_name = "SQL")]
    where_b: Option<String>,
    #[command(flatten)]
    budget: Budget,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CompareFormat {
    /// Aligned columns, for people
    Table,
    /// Markdown, for a pull request's comment
    Md,
    /// One page
    Html,
    /// An array, one element a comparison
    Json,
    /// JUnit's XML, for CI
    Junit,
}

fn fail_on(text: &str) -> Result<FailOn, String> {
    let wrong = || format!("`{text}`: expected higher, or higher:PERCENT as higher:10");
    let rest = text.strip_prefix("higher").ok_or_else(wrong)?;
    if rest.is_empty() {
        return Ok(FailOn { percent: 0.0 });
    }
    let percent = rest.strip_prefix(':').map(|number| number.trim_end_matches('%')).and_then(|n| n.parse::<f64>().ok());
    percent.filter(|n| n.is_finite() && *n >= 0.0).map(|percent| FailOn { percent }).ok_or_else(wrong)
}

/// Compares and prints. Exit code 1 where `--fail-on` says so, else 2 where a run could not be read.
///
/// # Errors
/// Runs that cannot be read, or two sets without a scenario and size in common.
pub fn run(arguments: &CompareArguments) -> anyhow::Result<ExitCode> {
    let budget = arguments.budget;
    let wanted_a = arguments.selection.and(arguments.where_a.as_deref())?;
    let wanted_b = arguments.selection.and(arguments.where_b.as_deref())?;
    let paths = [arguments.first.as_slice(), arguments.against.as_slice()];
    let [first, against] = load_two(paths, &nothing, [wanted_a.as_ref(), wanted_b.as_ref()], budget)?;
    let (a, b): (Vec<&RunResult>, Vec<&RunResult>) = (first.results.iter().collect(), against.results.iter().collect());
    for one in &a {
        for other in b.iter().filter(|other| other.run.run_id == one.run.run_id) {
            tell(format_args!("warning: {} and {} are the same run, on both sides", one.run.name, other.run.name));
        }
    }
    let changes = compared(&a, &b, &arguments.only)?;
    let labels = labels(arguments, &a, &b);
    let document = || build(&Sets { a: (&labels[0], &a), b: (&labels[1], &b) }, &changes);
    match arguments.format {
        CompareFormat::Table => print(&changes::table(&document(), Screen::stdout()))?,
        CompareFormat::Md => print(&changes::markdown(&document()))?,
        CompareFormat::Html => print(&changes::html(&document())?)?,
        CompareFormat::Json => print_json(&format!("{:#}\n", changes::json(&changes.all)))?,
        CompareFormat::Junit => print(&junit::changes(&changes.all, arguments.fail_on))?,
    }
    let fails = arguments.fail_on.is_some_and(|rule| changes.all.iter().any(|one| rule.fails(one)));
    let unread = !(first.unread.is_empty() && against.unread.is_empty());
    Ok(ended(fails, unread))
}

/// The comparisons, at least one.
fn compared(a: &[&RunResult], b: &[&RunResult], only: &[String]) -> anyhow::Result<Changes> {
    let wanted = |figure: &Figure| only.is_empty() || only.contains(&figure.measurement);
    let found = compare_sets(a, b, &wanted);
    if !found.all.is_empty() {
        return Ok(found);
    }
    let cells = |runs: &[&RunResult]| {
        let mut words: Vec<String> =
            runs.iter().map(|one| cell(one)).map(|(name, size)| group_label(&name, size)).collect();
        words.sort();
        words.dedup();
        words.join("; ")
    };
    if a.iter().any(|one| b.iter().any(|other| cell(one) == cell(other))) {
        let what = if only.is_empty() { "no measurement".to_owned() } else { format!("none of {}", only.join(", ")) };
        bail!("nothing to compare: {what} is there on both sides");
    }
    bail!(
        "nothing to compare: the two sets have no scenario with as many Services in common ({} against {})",
        cells(a),
        cells(b)
    )
}

/// The labels given, else what tells the sets apart (`Cilium 1.17` and `Cilium 1.19`), else A and B.
fn labels(arguments: &CompareArguments, a: &[&RunResult], b: &[&RunResult]) -> [String; 2] {
    let all = columns(a.iter().chain(b).copied(), &Keys::default());
    let of = |runs: &[&RunResult]| {
        let mut own =
            all.iter().filter(|(_, members)| members.iter().any(|one| runs.iter().any(|run| std::ptr::eq(*run, *one))));
        own.next().filter(|_| own.next().is_none()).map(|(column, _)| column_name(column))
    };
    let told = of(a).zip(of(b)).filter(|(a, b)| a != b);
    let (first, second) = told.unwrap_or_else(|| ("A".to_owned(), "B".to_owned()));
    [arguments.label_a.clone().unwrap_or(first), arguments.label_b.clone().unwrap_or(second)]
}

#[cfg(test)]
mod tests {
    use super::fail_on;

    #[test]
    fn a_rule_names_its_percentage() {
        assert_eq!(fail_on("higher").map(|rule| rule.percent), Ok(0.0));
        assert_eq!(fail_on("higher:12.5").map(|rule| rule.percent), Ok(12.5));
        assert_eq!(fail_on("higher:10%").map(|rule| rule.percent), Ok(10.0));
        for wrong in ["lower", "higher:", "higher:x", "higher:-1", "higher10", "higher:inf"] {
            assert!(fail_on(wrong).is_err(), "{wrong}");
        }
    }
}
