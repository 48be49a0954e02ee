//! Two sets of runs against each other, as finished strings: what `syncline compare` prints in every format.

pub mod words;

use std::collections::BTreeMap;

use serde::Serialize;

use super::number::{self, Show};
use crate::result::RunResult;
use crate::result::group::{Keys, phrase};
use crate::verdict::change::{Cell, Change, Changes, Doubt, Sample, Word};

/// Everything that is said of two sets.
#[derive(Clone, Debug, Serialize)]
pub struct Document {
    pub title: String,
    /// How many measurements are higher, lower, …, in one line.
    pub summary: String,
    /// The first set, then the second.
    pub sides: Vec<SideView>,
    /// What the captures of both tell alike.
    pub alike: String,
    /// What they tell differently; empty where they tell nothing.
    pub differs: Vec<String>,
    /// One table a scenario and size.
    pub cells: Vec<CellView>,
    /// What was not compared, and why.
    pub left: Vec<String>,
    /// How to read it.
    pub notes: Vec<String>,
}

/// One set of runs.
#[derive(Clone, Debug, Serialize)]
pub struct SideView {
    pub label: String,
    pub runs: String,
    /// Their names, joined.
    pub names: String,
}

/// The comparisons of one scenario and size.
#[derive(Clone, Debug, Serialize)]
pub struct CellView {
    /// `scale-up, 5 Services`.
    pub heading: String,
    /// `3 runs against 3`.
    pub runs: String,
    /// What differs first, then in the order of measurements.
    pub rows: Vec<RowView>,
}

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub struct RowView {
    pub measurement: String,
    pub a: String,
    pub b: String,
    /// b over a, with its interval and what that covers where it is less than 95 %.
    pub ratio: String,
    pub p: String,
    /// `higher`, `lower`, `no difference`, `cannot tell`.
    pub word: String,
    /// The word with what belongs to it: how large a difference was ruled out, how many runs would do.
    pub meaning: String,
}

/// Two sets with their labels.
pub struct Sets<'a> {
    pub a: (&'a str, &'a [&'a RunResult]),
    pub b: (&'a str, &'a [&'a RunResult]),
}

/// Builds it.
pub fn build(sets: &Sets<'_>, changes: &Changes) -> Document {
    let (alike, differs) = facts(sets);
    Document {
        title: format!("{} against {}", sets.b.0, sets.a.0),
        summary: summary(&changes.all),
        sides: [sets.a, sets.b].map(|(label, runs)| side(label, runs)).into(),
        alike,
        differs,
        cells: cells(&changes.all),
        left: left(sets, changes),
        notes: notes(sets, &changes.all),
    }
}

fn side(label: &str, runs: &[&RunResult]) -> SideView {
    let names: Vec<&str> = runs.iter().map(|one| one.run.name.as_str()).collect();
    SideView { label: label.to_owned(), runs: super::plural(runs.len(), "run"), names: names.join(", ") }
}

/// Comparisons by what they say: `2 higher, 1 lower, 40 no difference, 3 cannot tell`.
pub fn summary(all: &[Change]) -> String {
    let mut counts: BTreeMap<Word, usize> = BTreeMap::new();
    for one in all {
        *counts.entry(one.word).or_default() += 1;
    }
    let parts: Vec<String> = counts.iter().map(|(word, count)| format!("{count} {}", word.word())).collect();
    format!("{}: {}", super::plural(all.len(), "measurement"), parts.join(", "))
}

/// Facts that all runs tell alike, and those that do not, side by side.
fn facts(sets: &Sets<'_>) -> (String, Vec<String>) {
    let (mut alike, mut differs) = (Vec::new(), Vec::new());
    let told = [sets.a.1, sets.b.1].map(|runs| Keys::default().told(runs));
    // What one dataplane alone can tell is no difference between two.
    let one_dataplane = told[0].first() == told[1].first();
    for ((name, a), (_, b)) in told[0].iter().zip(&told[1]) {
        let words = |value: &String| match name.as_str() {
            "dataplane" => super::dataplane_name(value),
            "proxy" => format!("version {value}"),
            name => phrase(name, Some(value)),
        };
        let shown = |values: &[String]| match values {
            [] => phrase(name, None),
            values => values.iter().map(words).collect::<Vec<_>>().join(" and "),
        };
        if a == b && a.len() < 2 {
            alike.extend(a.first().map(words));
        } else if one_dataplane || (!a.is_empty() && !b.is_empty()) {
            differs.push(format!("{} against {}", shown(a), shown(b)));
        }
    }
    (alike.join(", "), differs)
}

fn cells(all: &[Change]) -> Vec<CellView> {
    let mut found: Vec<(Cell, Vec<&Change>)> = Vec::new();
    for one in all {
        let cell = (one.scenario.clone(), one.services);
        match found.iter_mut().find(|(known, _)| *known == cell) {
            Some((_, rows)) => rows.push(one),
            None => found.push((cell, vec![one])),
        }
    }
    found
        .into_iter()
        .map(|((scenario, services), mut rows)| {
            let most = |runs: &dyn Fn(&Change) -> usize| rows.iter().map(|one| runs(one)).max().unwrap_or(0);
            let (a, b) = (most(&|one| one.a.runs.len()), most(&|one| one.b.runs.len()));
            rows.sort_by_key(|one| !matches!(one.word, Word::Higher | Word::Lower));
            CellView {
                heading: super::rows::group_label(&scenario, services),
                runs: format!("{} against {b}", super::plural(a, "run")),
                rows: rows.into_iter().map(row).collect(),
            }
        })
        .collect()
}

fn row(one: &Change) -> RowView {
    RowView {
        measurement: words::figure(&one.figure),
        a: median(&one.a, &one.unit),
        b: median(&one.b, &one.unit),
        ratio: words::ratio(one),
        p: words::p(one),
        word: one.word.word().to_owned(),
        meaning: words::meaning(one),
    }
}

/// The median, with how far the runs and their bounds reach from it.
pub fn median(sample: &Sample, unit: &str) -> String {
    let [low, high] = sample.hull;
    let Some(value) = sample.median else { return number::interval(low, high, unit, Show::Unit) };
    let shown = number::figure(value, unit, Show::Unit);
    match (low, high) {
        (Some(low), Some(high)) if low == high => shown,
        (Some(low), Some(high)) if value > 0.0 => {
            let reach = (high - value).max(value - low) / value;
            // Beyond its own size a share says less than the ends do.
            if reach > 1.0 {
                return format!("{shown} ({})", number::interval(Some(low), Some(high), unit, Show::Unit));
            }
            let share = 100.0 * reach;
            let share = if share < 1.0 { "under 1".to_owned() } else { format!("{:.0}", share.ceil()) };
            format!("{shown} ± {share} %")
        }
        _ => format!("{shown} ({})", number::interval(low, high, unit, Show::Unit)),
    }
}

fn left(sets: &Sets<'_>, changes: &Changes) -> Vec<String> {
    let mut found = Vec::new();
    for (at, (label, _)) in [sets.a, sets.b].iter().enumerate() {
        for ((scenario, services), runs) in &changes.alone[at] {
            let runs = super::plural(*runs, "run");
            found.push(format!("Only {label} has {} ({runs}).", super::rows::group_label(scenario, *services)));
        }
        let names: Vec<String> = changes.unmatched[at].iter().map(words::figure).collect();
        if !names.is_empty() {
            found.push(format!("Only {label} has {}.", names.join("; ")));
        }
    }
    found
}

fn notes(sets: &Sets<'_>, all: &[Change]) -> Vec<String> {
    let (a, b) = (sets.a.0, sets.b.0);
    let mut notes = vec![
        format!(
            "Medians over runs; ± reaches to the farthest bound of any run. {b} ÷ {a} is the ratio of the medians, its interval holds with 95 % by itself where nothing else is said, whatever the figures are within their bounds."
        ),
        "p is that of an exact test over runs (Mann–Whitney), corrected over all comparisons (Holm): of two equal sets, 5 in 100 at most have any figure called lower or higher. A dash: so few runs cannot differ significantly."
            .to_owned(),
        "“higher” and “lower” say where the figure lies, not whether that is good.".to_owned(),
    ];
    if all.iter().any(|one| one.reason == Some(Doubt::Runs))
        && let Some(needed) = all.first().map(|one| one.runs_needed)
    {
        notes.push(format!(
            "{needed} runs a side can decide all of these at once; with --only and the few figures that matter, fewer do."
        ));
    }
    notes
}
