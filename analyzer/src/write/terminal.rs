//! Verdicts on a terminal: side by side, then the counts.

use std::fmt::Write;

use serde_json::json;
use syncline_schema::printable::printable;

use super::grid::{self, Screen, Style};
use crate::verdict::change::Change;
use crate::verdict::{Catalogue, Status, Verdict};
use crate::view::View;
use crate::view::rows::{Cell, RowView};

/// Table of all rows with the counts below: what `report` and `check` print.
pub fn summary(view: &View, screen: Screen) -> String {
    let header = ["ROW", "CLAIM", "CILIUM", "KUBE-PROXY (IPTABLES)"];
    let mut lines = vec![header.map(|text| grid::Cell::new(text, Style::Dim)).to_vec()];
    for row in view.sections.iter().flat_map(|s| &s.rows) {
        let cell = |dataplane: &str| {
            let found = row.cells.iter().find(|c| c.dataplane == dataplane);
            found.map_or_else(grid::Cell::default, |cell| grid::Cell::new(words(cell), style(cell)))
        };
        lines.push(vec![row.id.clone().into(), claim(row).into(), cell("cilium"), cell("kube-proxy-iptables")]);
    }
    let mut text = String::new();
    for side in &view.claims {
        let of = |status: &str| side.counts.iter().filter(|c| c.status == status).map(|c| c.n).sum::<u64>();
        let counts: Vec<String> =
            Status::ALL.iter().map(|status| format!("{} {}", of(status.word()), status.word())).collect();
        let _ = writeln!(text, "{} ({}): {}", printable(&side.name), printable(&side.runs), counts.join(", "));
    }
    if !view.synthetic.is_empty() {
        let _ = writeln!(text, "Generated data, not measured: {}", printable(&view.synthetic));
    }
    for problem in &view.problems {
        let _ = writeln!(text, "Could not be read: {}", printable(problem));
    }
    format!("{}\n{}", grid::grid(&lines, screen), text)
}

/// Colour of a verdict.
fn style(cell: &Cell) -> Style {
    let is = |status: Status| cell.worst.as_ref().is_some_and(|group| group.standing.status == status.word());
    let styles = [
        (Status::Worse, Style::Red),
        (Status::Inconclusive, Style::Yellow),
        (Status::NotMeasured, Style::Dim),
        (Status::Holds, Style::Green),
        (Status::Better, Style::Cyan),
    ];
    styles.into_iter().find(|(status, _)| is(*status)).map_or(Style::Plain, |(_, style)| style)
}

/// What the head to head comes to, a sentence for each column that is set against the first.
pub fn decision(view: &View) -> String {
    let mut text = String::new();
    for choice in &view.head_to_head.choices {
        let _ = writeln!(text, "{}", printable(&choice.sentence));
    }
    text
}

fn claim(row: &RowView) -> String {
    crate::view::rows::cut(&row.claim, 28)
}

fn words(cell: &Cell) -> String {
    match &cell.worst {
        Some(group) if group.standing.status == Status::NotMeasured.word() => {
            format!("{} {}", group.standing.mark, group.standing.status)
        }
        Some(group) => {
            // Every figure has its bounds: an exact one says so.
            let bounds = match group.bounds.as_str() {
                "" => " (no bounds)".to_owned(),
                open if open == group.measured => String::new(),
                bounds => format!(" ({bounds})"),
            };
            let claimed = crate::view::rows::cut(&cell.expected, 18);
            format!("{} {} {}{bounds} [{claimed}]", group.standing.mark, group.standing.status, group.measured)
        }
        None => "–".into(),
    }
}

/// What makes a verdict fail `check`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Failing<'k> {
    /// What could not be decided fails too.
    pub strict: bool,
    /// Places of verdicts that are worse, and were so in the baseline: they do not fail.
    pub known: &'k [usize],
}

impl Failing<'_> {
    /// Whether a verdict, at its place among all, fails.
    pub fn fails(&self, at: usize, verdict: &Verdict) -> bool {
        match verdict.status {
            Status::Worse => !self.known.contains(&at),
            Status::Inconclusive | Status::NotMeasured => self.strict,
            Status::Holds | Status::Better => false,
        }
    }

    /// Whether any does. Nothing judged is not a pass either, where everything must be decided.
    pub fn any(&self, verdicts: &[Verdict]) -> bool {
        verdicts.iter().enumerate().any(|(at, verdict)| self.fails(at, verdict)) || (self.strict && verdicts.is_empty())
    }
}

/// `check --format json`: the verdicts as `report.json` has them.
pub fn check_json(verdicts: &[Verdict]) -> String {
    format!("{:#}\n", super::json::verdicts(verdicts))
}

/// `check --baseline … --format json`: the verdicts, and the comparisons with the baseline (a: baseline, b: now).
pub fn against_json(verdicts: &[Verdict], changes: &[Change]) -> String {
    let document =
        json!({ "verdicts": super::json::verdicts(verdicts), "against_baseline": super::changes::json(changes) });
    format!("{document:#}\n")
}

/// Rows of the catalogue that no run could be judged by, for a closing hint.
pub fn unmeasured(verdicts: &[Verdict], catalogue: &Catalogue) -> usize {
    catalogue
        .rows
        .iter()
        .filter(|row| {
            let mut own = verdicts.iter().filter(|v| v.id == row.id).peekable();
            own.peek().is_some() && own.all(|v| v.status == Status::NotMeasured)
        })
        .count()
}
