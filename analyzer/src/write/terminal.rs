//! Verdicts on a terminal: side by side, then the counts.

use std::fmt::Write;

use crate::verdict::list::columns;
use crate::verdict::{Catalogue, Status, Verdict};
use crate::view::View;
use crate::view::rows::{Cell, RowView};

/// Table of all rows with the counts below: what `report` and `check` print.
pub fn summary(view: &View) -> String {
    let mut lines = vec![["ROW", "CLAIM", "CILIUM", "KUBE-PROXY (IPTABLES)"].map(str::to_owned)];
    for row in view.sections.iter().flat_map(|s| &s.rows) {
        let cell =
            |dataplane: &str| row.cells.iter().find(|c| c.dataplane == dataplane).map_or_else(String::new, words);
        lines.push([row.id.clone(), claim(row), cell("cilium"), cell("kube-proxy-iptables")]);
    }
    let mut text = columns(&lines);
    text.push('\n');
    for side in &view.claims {
        let of = |status: &str| side.counts.iter().filter(|c| c.status == status).map(|c| c.n).sum::<u64>();
        let counts: Vec<String> =
            Status::ALL.iter().map(|status| format!("{} {}", of(status.word()), status.word())).collect();
        let _ = writeln!(text, "{} ({}): {}", side.name, side.runs, counts.join(", "));
    }
    if !view.synthetic.is_empty() {
        let _ = writeln!(text, "Generated data, not measured: {}", view.synthetic);
    }
    for problem in &view.problems {
        let _ = writeln!(text, "Could not be read: {problem}");
    }
    printable(&text)
}

/// What the head to head comes to, a sentence for each column that is set against the first.
pub fn decision(view: &View) -> String {
    let mut text = String::new();
    for choice in &view.head_to_head.choices {
        let _ = writeln!(text, "{}", choice.sentence);
    }
    printable(&text)
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

/// Captured text must not drive the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// Exit code of `check`: 0 judged and nothing worse, 1 a value is worse, with `strict` also what could not be decided.
pub fn exit_code(verdicts: &[Verdict], strict: bool) -> u8 {
    let fails = |v: &Verdict| match v.status {
        Status::Worse => true,
        Status::Inconclusive | Status::NotMeasured => strict,
        Status::Holds | Status::Better => false,
    };
    // Nothing judged is not a pass either.
    u8::from(verdicts.iter().any(fails) || (strict && verdicts.is_empty()))
}

/// `check --format json`: the verdicts as `report.json` has them.
pub fn check_json(verdicts: &[Verdict]) -> String {
    format!("{:#}\n", super::json::verdicts(verdicts))
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
