//! Head to head: what a migration asks, dataplane beside dataplane, with the factor between them and how sure it is. It comes
//! ahead of what a document claims: whoever decides needs the difference first.

pub mod compared;
mod decision;
mod growth;
pub mod questions;

use serde::Serialize;

use super::number::{self, Show};
use super::plural;
use super::rows::group_label;
use crate::math::compare::{MINIMUM_RUNS, runs_needed};
use crate::result::RunResult;
use compared::{Column, Compared, Finding, Ratio, Side};
pub use decision::Choice;
use questions::Question;

/// The first screen.
#[derive(Clone, Debug, Default, Serialize)]
pub struct HeadToHead {
    /// The first is what the others are set against.
    pub columns: Vec<ColumnView>,
    /// One for each column but the first.
    pub choices: Vec<Choice>,
    /// How far the figures reach, in one sentence.
    pub reach: String,
    pub rows: Vec<Row>,
    /// The columns and the figures behind it, for `report.json`.
    #[serde(skip)]
    pub of: Vec<Column>,
    #[serde(skip)]
    pub all: Vec<Compared>,
}

/// One column in words.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ColumnView {
    pub name: String,
    pub class: String,
    /// `6 runs`.
    pub runs: String,
}

/// One question in words.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Row {
    pub stem: String,
    pub question: String,
    pub meaning: String,
    /// `scale-up, 5 Services`.
    pub place: String,
    pub cells: Vec<Cell>,
    /// Who is lower.
    pub lower: String,
    /// How sure that is, a sentence each.
    pub sure: Vec<String>,
    /// The same question in other scenarios and sizes.
    pub elsewhere: Vec<String>,
    /// Rows of the catalogue about it.
    pub ids: Vec<String>,
    /// A product of the row above and the number of nodes.
    pub product: bool,
}

/// One column's figure.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Cell {
    pub name: String,
    pub class: String,
    /// Empty where there is none.
    pub figure: String,
    pub bounds: String,
    pub per: String,
    /// `lower by a factor of 2.1 (2.0 to 2.3)`; empty in the first column.
    pub factor: String,
    /// `lower`, `higher`, `level` or empty.
    pub finding: String,
    /// `3 runs · node 70 % busy`.
    pub rests: String,
}

/// Builds it; `nodes` is the size of the cluster that one node's cost is multiplied by.
pub fn build(runs: &[RunResult], columns: Vec<Column>, nodes: Option<u64>) -> HeadToHead {
    let all = compared::all(runs, &columns);
    // Every question is a test against each other column, once there are runs enough for one.
    let tests = all
        .iter()
        .filter_map(|(_, own)| own.get(compared::leading(own)?))
        .map(|one| one.ratios.iter().flatten().count());
    let needed = runs_needed(tests.sum());
    let mut rows = Vec::new();
    for (question, own) in &all {
        let Some(at) = compared::leading(own) else { continue };
        let Some(lead) = own.get(at) else { continue };
        rows.push(row(question, lead, own, &columns, needed));
        if let (true, Some(nodes)) = (question.per_node, nodes.filter(|n| *n > 1)) {
            rows.push(product(question, lead, &columns, nodes));
        }
    }
    rows.extend(growth::rows(&all, &columns));
    HeadToHead {
        choices: decision::choices(&all, &columns, nodes),
        reach: decision::reach(&all, &columns, needed),
        columns: columns
            .iter()
            .map(|one| ColumnView {
                name: one.name.clone(),
                class: one.class.clone(),
                runs: plural(one.runs.len(), "run"),
            })
            .collect(),
        rows,
        of: columns,
        all: all.into_iter().flat_map(|(_, own)| own).collect(),
    }
}

/// How a unit of this table is shown: a ratio is always a factor here.
fn show(unit: &str) -> Show {
    if unit == "ratio" { Show::Times } else { Show::Unit }
}

/// The figure and its interval.
fn figure(side: &Side, unit: &str) -> (String, String) {
    let [low, high] = side.bounds;
    let interval = number::interval(low, high, unit, show(unit));
    match side.median {
        Some(value) => (number::figure(number::carried(value, low, high), unit, show(unit)), interval),
        None => (interval, String::new()),
    }
}

fn row(question: &Question, lead: &Compared, own: &[Compared], columns: &[Column], needed: usize) -> Row {
    let cells = columns.iter().enumerate().map(|(at, column)| cell(question, lead, at, column)).collect();
    Row {
        stem: question.stem.into(),
        question: question.title.into(),
        meaning: question.meaning.into(),
        place: group_label(&lead.scenario, lead.services),
        cells,
        lower: if question.upper_only && lead.sides.iter().flatten().count() > 1 {
            "no proof either way".into()
        } else {
            lower(lead, columns)
        },
        sure: sure(question, lead, own, columns, needed),
        elsewhere: own
            .iter()
            .filter(|one| (&one.scenario, one.services) != (&lead.scenario, lead.services))
            .filter_map(|one| elsewhere(question, one, columns))
            .collect(),
        ids: question.rows.iter().map(|id| (*id).to_owned()).collect(),
        product: false,
    }
}

fn cell(question: &Question, lead: &Compared, at: usize, column: &Column) -> Cell {
    let mut cell = Cell { name: column.name.clone(), class: column.class.clone(), ..Cell::default() };
    let Some(Some(side)) = lead.sides.get(at) else { return cell };
    (cell.figure, cell.bounds) = figure(side, &lead.unit);
    if cell.bounds == cell.figure {
        cell.bounds = String::new();
    }
    cell.per = question.per.into();
    let busy = side.busy.map(|[low, high]| {
        let percent = |x: f64| format!("{:.0}", x * 100.0);
        let span =
            if percent(low) == percent(high) { percent(low) } else { format!("{} to {}", percent(low), percent(high)) };
        format!(" · node {span} % busy")
    });
    cell.rests = format!("{}{}", plural(side.runs, "run"), busy.unwrap_or_default());
    if let Some(Some(ratio)) = at.checked_sub(1).and_then(|at| lead.ratios.get(at)) {
        (cell.factor, cell.finding) = factor(question, ratio);
    }
    cell
}

/// `lower by a factor of 2.1 (2.0 to 2.3)`, and the finding as a word.
fn factor(question: &Question, ratio: &Ratio) -> (String, String) {
    let (text, word) = match ratio.finding {
        Finding::Lower => (format!("lower by a factor of {}", by(ratio)), "lower"),
        Finding::Higher => (format!("higher by a factor of {}", by(ratio)), "higher"),
        Finding::NotToldApart => {
            let [low, high] = ratio.bounds;
            let (low, high) = match (low, high) {
                (Some(low), Some(high)) => {
                    let (low, high) = number::outward(low, high);
                    (Some(low), Some(high))
                }
                open => open,
            };
            let span = number::interval(low, high, "ratio", Show::Times);
            let span = if span == number::EXACT { "no difference".to_owned() } else { span };
            let what = if question.upper_only { "upper bounds only" } else { "not told apart" };
            (format!("{what}: {span}"), "level")
        }
    };
    (text, word.to_owned())
}

/// The factor, always above one, with its interval.
pub(super) fn by(ratio: &Ratio) -> String {
    let [low, high] = ratio.bounds;
    let (value, low, high) = if ratio.finding == Finding::Lower {
        let turned = |x: Option<f64>| x.filter(|x| *x > 0.0).map(|x| 1.0 / x);
        (turned(ratio.value), turned(high), turned(low))
    } else {
        (ratio.value, low, high)
    };
    let (low, high) = match (low, high) {
        (Some(low), Some(high)) => {
            let (down, up) = number::outward(low, high);
            // Rounding must not undo what was found.
            (Some(if down > 1.0 { down } else { low }), Some(up))
        }
        open => open,
    };
    let span = number::interval(low, high, "1", Show::Unit);
    match value {
        Some(value) if span == number::EXACT => number::digits(value),
        Some(value) => format!("{} ({span})", number::digits(number::carried(value, low, high))),
        None => span,
    }
}

/// `Cilium`, or those that cannot be told apart at the low end.
fn lower(lead: &Compared, columns: &[Column]) -> String {
    let known: Vec<(usize, &Side)> =
        lead.sides.iter().enumerate().filter_map(|(at, side)| Some((at, side.as_ref()?))).collect();
    if known.len() < 2 {
        return "nothing to compare with".into();
    }
    let height = |side: &Side| side.median.or(side.bounds[0]).unwrap_or(f64::INFINITY);
    let Some((_, least)) = known.iter().min_by(|a, b| height(a.1).total_cmp(&height(b.1))) else {
        return String::new();
    };
    let at_the_low_end: Vec<&str> = known
        .iter()
        .filter(|(_, side)| compared::apart(side.bounds, least.bounds) != Finding::Higher)
        .filter_map(|(at, _)| columns.get(*at).map(|column| column.name.as_str()))
        .collect();
    if at_the_low_end.len() == known.len() { "not told apart".into() } else { at_the_low_end.join(" or ") }
}

fn sure(question: &Question, lead: &Compared, own: &[Compared], columns: &[Column], needed: usize) -> Vec<String> {
    let known: Vec<&Side> = lead.sides.iter().flatten().collect();
    if known.len() < 2 {
        return Vec::new();
    }
    let least = known.iter().map(|side| side.runs).min().unwrap_or(0);
    let most = known.iter().map(|side| side.runs).max().unwrap_or(0);
    let mut said = vec![match (least, most) {
        (1, 1) => "One run each: these runs only.".to_owned(),
        (a, b) if a == b && a < MINIMUM_RUNS => format!("{a} runs each: too few for a test, {needed} would do."),
        (a, b) if a < MINIMUM_RUNS => format!("{a} to {b} runs a side: too few for a test, {needed} each would do."),
        (a, b) if a == b => format!("{a} runs each."),
        (a, b) => format!("{a} to {b} runs a side."),
    }];
    if question.upper_only {
        said.push("Each figure bounds the cost from above only, and a ratio of such bounds proves nothing.".to_owned());
    }
    for (at, ratio) in lead.ratios.iter().enumerate() {
        let (Some(ratio), Some(column)) = (ratio, columns.get(at + 1)) else { continue };
        let name = if lead.ratios.iter().flatten().count() > 1 { format!("{}: ", column.name) } else { String::new() };
        if let Some(p) = ratio.p_adjusted {
            let p = if p < 0.001 { "p < 0.001".to_owned() } else { format!("p = {p:.3}") };
            said.push(format!("{name}{p} over all rows."));
        }
        if ratio.finding != Finding::NotToldApart {
            let others = own.iter().filter(|one| (&one.scenario, one.services) != (&lead.scenario, lead.services));
            let others: Vec<Finding> =
                others.filter_map(|one| one.ratios.get(at)?.as_ref()).map(|one| one.finding).collect();
            let same = others.iter().filter(|one| **one == ratio.finding).count();
            match (same, others.len()) {
                (_, 0) => {}
                (1, 1) => said.push(format!("{name}the same in the other group of runs.")),
                (same, all) if same == all => said.push(format!("{name}the same in all {all} other groups of runs.")),
                (0, 1) => said.push(format!("{name}not so in the other group of runs.")),
                (0, all) => said.push(format!("{name}not so in the {all} other groups of runs.")),
                (same, all) => said.push(format!("{name}the same in {same} of {all} other groups of runs.")),
            }
        }
        let (Some(Some(side)), Some(Some(first))) = (lead.sides.get(at + 1), lead.sides.first()) else { continue };
        match compared::load_explains(question, side, first, ratio.finding) {
            Some(true) => {
                said.push(format!("{name}the side with more load is the higher one: load may be a part of it."))
            }
            Some(false) => {
                said.push(format!("{name}the side with more load is the lower one: load is not the reason."))
            }
            None => {}
        }
    }
    said
}

/// `scale-up, 2000 Services: Cilium 1.9 (1.8 to 2.0) lower`.
fn elsewhere(question: &Question, one: &Compared, columns: &[Column]) -> Option<String> {
    let parts: Vec<String> = one
        .ratios
        .iter()
        .zip(columns.iter().skip(1))
        .filter_map(|(ratio, column)| {
            let ratio = ratio.as_ref()?;
            let (text, _) = factor(question, ratio);
            Some(format!("{} {text}", column.name))
        })
        .collect();
    (!parts.is_empty()).then(|| format!("{}: {}.", group_label(&one.scenario, one.services), parts.join("; ")))
}

/// One node's cost times the nodes of a cluster.
fn product(question: &Question, lead: &Compared, columns: &[Column], nodes: u64) -> Row {
    let times = |x: Option<f64>| x.map(|x| x * nodes as f64);
    let cells = columns
        .iter()
        .enumerate()
        .map(|(at, column)| {
            let mut cell = Cell { name: column.name.clone(), class: column.class.clone(), ..Cell::default() };
            let Some(Some(side)) = lead.sides.get(at) else { return cell };
            let whole = Side { median: times(side.median), bounds: side.bounds.map(times), ..side.clone() };
            (cell.figure, cell.bounds) = figure(&whole, &lead.unit);
            if let (Some(own), Some(first)) =
                (whole.median, lead.sides.first().and_then(|s| times(s.as_ref()?.median)).filter(|_| at > 0))
            {
                let more = own - first;
                let sign = if more < 0.0 { "less" } else { "more" };
                let first = columns.first().map_or("", |column| column.name.as_str());
                let more = number::figure(short(more.abs()), &lead.unit, show(&lead.unit));
                cell.factor = format!("{more} {sign} than {first}");
            }
            cell
        })
        .collect();
    Row {
        stem: format!("{}-cluster", question.stem),
        question: format!("… on {} nodes", number::count(nodes)),
        meaning:
            "One node's figure times the number of nodes: a simple product. Nodes with other loads or pods will differ."
                .into(),
        place: String::new(),
        cells,
        product: true,
        ..Row::default()
    }
}

/// Two significant digits: a difference of two rounded figures has no more.
pub(super) fn short(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let step = 10f64.powf(value.abs().log10().floor() - 1.0);
    (value / step).round() * step
}

#[cfg(test)]
mod tests;
