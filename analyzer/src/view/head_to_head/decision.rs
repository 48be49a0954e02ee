//! What the head to head comes to, in lists and sentences.

use serde::Serialize;

use super::compared::{Column, Compared, Finding, Ratio, leading};
use super::questions::Question;
use super::{by, figure, short, show};
use crate::math::compare::MINIMUM_RUNS;
use crate::view::number;

/// One column set against the first.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Choice {
    pub name: String,
    pub class: String,
    /// Name of the first column.
    pub against: String,
    /// What a migration is about, in absolute figures.
    pub lead: String,
    /// The whole in one sentence.
    pub sentence: String,
    pub lower: Vec<Item>,
    pub higher: Vec<Item>,
    pub open: Vec<Item>,
    /// Questions that only one side answers.
    pub missing: Vec<String>,
}

/// One question in a list.
#[derive(Clone, Debug, Serialize)]
pub struct Item {
    pub stem: String,
    pub question: String,
    /// `2.1 (2.0 to 2.3)`; empty where nothing was told apart.
    pub factor: String,
}

/// One for each column but the first.
pub fn choices(all: &[(&'static Question, Vec<Compared>)], columns: &[Column], nodes: Option<u64>) -> Vec<Choice> {
    let Some(first) = columns.first() else { return Vec::new() };
    columns
        .iter()
        .enumerate()
        .skip(1)
        .map(|(at, column)| Choice { lead: lead(all, at, column, first, nodes), ..choice(all, at, column, first) })
        .collect()
}

fn choice(all: &[(&'static Question, Vec<Compared>)], at: usize, column: &Column, first: &Column) -> Choice {
    let mut choice = Choice {
        name: column.name.clone(),
        class: column.class.clone(),
        against: first.name.clone(),
        ..Choice::default()
    };
    let mut found: Vec<(&Question, &Ratio)> = Vec::new();
    for (question, own) in all {
        match leading(own).and_then(|lead| own.get(lead)).and_then(|one| one.ratios.get(at - 1)) {
            Some(Some(ratio)) => found.push((question, ratio)),
            _ => choice.missing.push(question.short.into()),
        }
    }
    for (question, ratio) in &found {
        let item = |factor: String| Item { stem: question.stem.into(), question: question.short.into(), factor };
        match ratio.finding {
            Finding::Lower => choice.lower.push(item(by(ratio))),
            Finding::Higher => choice.higher.push(item(by(ratio))),
            Finding::NotToldApart => choice.open.push(item(String::new())),
        }
    }
    choice.sentence = if found.is_empty() {
        // All of them: a list would say no more.
        choice.missing.clear();
        format!(
            "No question has a figure for both {} and {} in the same scenario with the same number of Services.",
            column.name, first.name
        )
    } else {
        let parts = [
            (choice.lower.len(), "lower", widest(&found, Finding::Lower)),
            (choice.higher.len(), "higher", widest(&found, Finding::Higher)),
        ]
        .map(|(n, word, widest)| match widest {
            Some(widest) => format!("{word} in {n} (most in {widest})"),
            None => format!("{word} in none"),
        });
        format!(
            "{} against {}: of {} questions {}, {}, not told apart in {}.",
            column.name,
            first.name,
            found.len(),
            parts[0],
            parts[1],
            choice.open.len()
        )
    };
    choice
}

/// What the lead says of a question, with the figure of the column and that of the first.
const LEADS: [(&str, &str, &str); 4] = [
    ("update-p95", "95 % of the new endpoints were in the dataplane within", ""),
    ("failures", "new connections that failed for each replaced pod:", ""),
    ("cpu-rest", "the proxy at rest used", " of a node"),
    ("memory", "it held", " of memory"),
];

/// `With Cilium instead of kube-proxy (iptables): 95 % … within 490 ms instead of 1.01 s; …`.
fn lead(
    all: &[(&'static Question, Vec<Compared>)],
    at: usize,
    column: &Column,
    first: &Column,
    nodes: Option<u64>,
) -> String {
    let pair = |stem: &str| {
        let (_, own) = all.iter().find(|(question, _)| question.stem == stem)?;
        let one = own.get(leading(own)?)?;
        Some((one, one.sides.get(at)?.as_ref()?, one.sides.first()?.as_ref()?))
    };
    let said: Vec<String> = LEADS
        .iter()
        .filter_map(|(stem, opening, of)| {
            let (one, own, other) = pair(stem)?;
            Some(format!("{opening} {} instead of {}{of}", figure(own, &one.unit).0, figure(other, &one.unit).0))
        })
        .collect();
    if said.is_empty() {
        return String::new();
    }
    let mut lead = format!("In these runs, with {} instead of {}: {}.", column.name, first.name, said.join("; "));
    let Some(nodes) = nodes.filter(|n| *n > 1) else { return lead };
    let more: Vec<String> = ["cpu-rest", "memory"]
        .into_iter()
        .filter_map(|stem| {
            let (one, own, other) = pair(stem)?;
            let more = (own.median? - other.median?) * nodes as f64;
            let word = if more < 0.0 { "less" } else { "more" };
            let of = if stem == "memory" { " of memory" } else { "" };
            Some(format!("{}{of} {word}", number::figure(short(more.abs()), &one.unit, show(&one.unit))))
        })
        .collect();
    if !more.is_empty() {
        lead.push_str(&format!(" On {} nodes that is {}.", number::count(nodes), more.join(" and ")));
    }
    lead
}

/// The question with the largest factor of a kind: `CPU at rest, by a factor of 34 (32 to 36)`.
fn widest(found: &[(&Question, &Ratio)], finding: Finding) -> Option<String> {
    // The end that is nearest to one is what the bounds prove.
    let proven = |ratio: &Ratio| match finding {
        Finding::Lower => ratio.bounds[1].filter(|x| *x > 0.0).map_or(0.0, |x| 1.0 / x),
        _ => ratio.bounds[0].unwrap_or(0.0),
    };
    found
        .iter()
        .filter(|(_, ratio)| ratio.finding == finding)
        .max_by(|a, b| proven(a.1).total_cmp(&proven(b.1)))
        .map(|(question, ratio)| format!("{}, by a factor of {}", question.short, by(ratio)))
}

/// How far the figures reach, by the number of runs behind them.
pub fn reach(all: &[(&'static Question, Vec<Compared>)], columns: &[Column], needed: usize) -> String {
    if columns.len() < 2 {
        return "The runs are of one dataplane: there is nothing to set it against. Capture the same action with another one.".into();
    }
    let leads = || all.iter().filter_map(|(_, own)| own.get(leading(own)?));
    let runs = |pick: fn(usize, usize) -> usize| {
        leads().flat_map(|one| one.sides.iter().flatten()).map(|s| s.runs).reduce(pick)
    };
    match (runs(usize::min), runs(usize::max)) {
        (Some(1), Some(1)) => format!(
            "Each figure rests on one run a side: its interval says how well that run was read, not how another one would turn out. With {needed} runs a side a test could tell."
        ),
        (Some(least), Some(most)) if least < MINIMUM_RUNS => format!(
            "The figures rest on {least} to {most} runs a side. Where there are fewer than {MINIMUM_RUNS}, the interval says how well those runs were read, not how another one would turn out; with {needed} a side a test could tell."
        ),
        (Some(least), Some(most)) if least == most => format!("Each figure rests on {least} runs a side."),
        (Some(least), Some(most)) => format!("The figures rest on {least} to {most} runs a side."),
        _ => String::new(),
    }
}
