//! The verdicts, row by row, side by side, in words that cannot be read backwards: where the figure lies against the claim, and
//! whether that is good or bad for who runs the cluster. The tokens of `report.json` stay beside them.

use serde::Serialize;

use super::dataplane_name;
use super::number::{self, Show};
use crate::clock::Evidence;
use crate::verdict::catalogue::Row;
use crate::verdict::{Beside, Catalogue, Reason, Status, Verdict, overall};

/// Rows of one part of the source document.
#[derive(Clone, Debug, Serialize)]
pub struct Section {
    /// Anchor.
    pub stem: String,
    pub title: String,
    pub rows: Vec<RowView>,
}

/// One row of the catalogue.
#[derive(Clone, Debug, Serialize)]
pub struct RowView {
    pub id: String,
    pub claim: String,
    pub scenario: String,
    /// Provenance: heading of the document.
    pub heading: String,
    pub quote: Vec<String>,
    pub query: Vec<String>,
    pub sound: String,
    pub notes: String,
    /// Cilium, then kube-proxy; a side without a run has no cell.
    pub cells: Vec<Cell>,
}

/// One row for one dataplane.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    pub dataplane: String,
    pub name: String,
    /// Class of the dataplane's colour.
    pub class: String,
    pub expected: String,
    /// The verdict that stands for the row; the worst of `groups`. Null where nothing is claimed or no run exists.
    pub worst: Option<Group>,
    /// All groups, the shown one among them.
    pub groups: Vec<Group>,
    /// Groups that only `report.json` lists.
    pub groups_more: usize,
    /// Of how many groups it is the worst, and how many could not judge the row; empty where there is one.
    pub of: String,
}

/// One verdict in words.
#[derive(Clone, Debug, Serialize)]
pub struct Group {
    /// `scale-up, 5 Services`.
    pub label: String,
    pub standing: Standing,
    pub reason: String,
    /// The median, or the bound where there is none.
    pub measured: String,
    /// The interval.
    pub bounds: String,
    /// `upper bound`, `lower bound` or empty.
    pub bound: String,
    pub measurement: String,
    pub n: String,
    pub readings: Vec<ReadingView>,
    pub runs: Vec<RunLine>,
    /// Runs that only `report.json` lists.
    pub runs_more: usize,
    pub notes: Vec<String>,
    /// What is missing and what would capture it.
    pub remedy: String,
    /// Anchor of its lines in the appendix; empty where it has none.
    pub anchor: String,
    /// How many lines it has in all.
    pub evidence: usize,
}

/// The lines that a verdict rests on.
#[derive(Clone, Debug, Serialize)]
pub struct Cited {
    pub anchor: String,
    pub id: String,
    pub name: String,
    pub label: String,
    /// Whether this is the group that stands for the row.
    pub first: bool,
    pub lines: Vec<String>,
    /// Further lines that only `report.json` lists.
    pub more: usize,
}

/// Where a figure stands against its claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// The token of `report.json`.
    pub status: &'static str,
    /// For people.
    pub words: &'static str,
    pub class: &'static str,
    /// A sign beside the words.
    pub mark: &'static str,
}

impl Standing {
    /// Of a status alone, as counts need it.
    pub fn summary(status: Status) -> Standing {
        let (words, class, mark) = match status {
            Status::Holds => ("as claimed", "at-claim", "●"),
            Status::Better => ("off the claim, good for you", "at-good", "+"),
            Status::Worse => ("off the claim, bad for you", "at-bad", "!"),
            Status::Inconclusive => ("cannot tell", "at-open", "?"),
            Status::NotMeasured => ("not measured", "at-none", "○"),
        };
        Standing { status: status.word(), words, class, mark }
    }

    /// Of a verdict: with the side on which the figure lies.
    pub fn of(status: Status, reason: &Reason) -> Standing {
        let words = match (status, reason.kind()) {
            (_, "nothing-claimed") => "no claim",
            (Status::Holds, "cannot-fail") => "claims nothing that could fail",
            (Status::Holds, "never-above") => "did not fire, as claimed",
            (Status::Better, "above") => "above the claim, good for you",
            (Status::Better, "below" | "upper-bound") => "below the claim, good for you",
            (Status::Worse, "above" | "excess" | "lower-bound") => "above the claim, bad for you",
            (Status::Worse, "below") => "below the claim, bad for you",
            (Status::Worse, "fired") => "fired, bad for you",
            _ => return Standing::summary(status),
        };
        Standing { words, ..Standing::summary(status) }
    }
}

/// A reading in words.
#[derive(Clone, Debug, Serialize)]
pub struct ReadingView {
    pub label: String,
    pub standing: Standing,
    pub measured: String,
    pub reason: String,
    pub shown_only: bool,
}

/// One run's own figure.
#[derive(Clone, Debug, Serialize)]
pub struct RunLine {
    pub run: String,
    pub measured: String,
    pub n: String,
    pub left_out: String,
    pub method: String,
}

/// A figure of a dataplane without documented values.
#[derive(Clone, Debug, Serialize)]
pub struct BesideRow {
    pub id: String,
    pub claim: String,
    pub dataplane: String,
    pub group: String,
    pub measured: String,
    pub bounds: String,
}

/// Evidence lines shown per verdict; all of them are in `report.json`.
const EVIDENCE_SHOWN: usize = 5;

/// All rows in the order of the document, in its parts.
pub fn sections(verdicts: &[Verdict], catalogue: &Catalogue) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for row in &catalogue.rows {
        // Headings of one row each are shown together, under the part that they belong to.
        let heading = &row.documented.heading;
        let alone = catalogue.rows.iter().filter(|r| r.documented.heading == *heading).count() == 1;
        let title = match heading.split_once(" › ") {
            Some((part, _)) if alone => part.to_owned(),
            _ => heading.trim_end_matches(':').to_owned(),
        };
        let view = row_view(row, verdicts);
        match sections.iter_mut().find(|s| s.title == title) {
            Some(section) => section.rows.push(view),
            None => {
                let stem = format!("part-{}", sections.len() + 1);
                sections.push(Section { stem, title, rows: vec![view] });
            }
        }
    }
    sections
}

/// One row with its cells.
pub fn row_view(row: &Row, verdicts: &[Verdict]) -> RowView {
    let cells = ["cilium", "kube-proxy-iptables"]
        .into_iter()
        .map(|dataplane| {
            let own: Vec<Group> = verdicts
                .iter()
                .filter(|v| v.id == row.id && v.dataplane == dataplane)
                .map(|v| group(v, row.show))
                .collect();
            let of = of_groups(row, dataplane, verdicts);
            Cell {
                dataplane: dataplane.into(),
                name: dataplane_name(dataplane),
                class: super::chart::class_of(dataplane).into(),
                expected: row.side(dataplane).map_or_else(String::new, |s| s.text.clone()),
                worst: overall(verdicts, &row.id, dataplane).map(|v| group(v, row.show)),
                groups: own,
                groups_more: 0,
                of,
            }
        })
        .collect();
    RowView {
        id: row.id.clone(),
        claim: row.claim.clone(),
        scenario: row.scenario.clone(),
        heading: row.documented.heading.clone(),
        quote: row.documented.quote.clone(),
        query: row.documented.query.clone(),
        sound: row.sound.reason.clone(),
        notes: row.notes.clone(),
        cells,
    }
}

/// `Worst for you of 3 groups`, `The only one of 3 groups that could be judged`.
fn of_groups(row: &Row, dataplane: &str, verdicts: &[Verdict]) -> String {
    let own = || verdicts.iter().filter(|v| v.id == row.id && v.dataplane == dataplane);
    let open = |v: &&Verdict| v.status == Status::NotMeasured || v.reason.is_too_few();
    let (all, judged) = (own().count(), own().filter(|v| !open(v)).count());
    match (all, judged) {
        (0 | 1, _) => String::new(),
        (_, 0) => format!("None of {all} groups has enough to be judged"),
        (_, 1) => format!("The only one of {all} groups that could be judged"),
        _ if judged < all => format!("Worst for you of the {judged} groups that could be judged, of {all}"),
        _ => format!("Worst for you of {all} groups"),
    }
}

/// A group in words: `scale-up, 5 Services`.
pub fn group_label(scenario: &str, services: Option<u64>) -> String {
    match services {
        Some(n) => format!("{scenario}, {} Services", number::count(n)),
        None => scenario.to_owned(),
    }
}

/// Ahead of a group's label: by what its runs differ from others of the dataplane.
fn in_column(column: &str, label: String) -> String {
    if column.is_empty() { label } else { format!("{column}: {label}") }
}

fn group(verdict: &Verdict, show: Show) -> Group {
    let bounds = verdict.measured_bounds.unwrap_or_default();
    Group {
        label: in_column(&verdict.column, group_label(&verdict.scenario, verdict.services)),
        standing: Standing::of(verdict.status, &verdict.reason),
        reason: sentence(&verdict.reason.to_string()),
        measured: measured(verdict.measured, bounds, &verdict.unit, show),
        bounds: if verdict.measured_bounds.is_some() {
            number::interval(bounds[0], bounds[1], &verdict.unit, show)
        } else {
            String::new()
        },
        bound: verdict.bound.clone().unwrap_or_default(),
        measurement: verdict.measurement.clone(),
        n: number::count(verdict.n),
        readings: if verdict.readings.len() < 2 {
            Vec::new()
        } else {
            verdict.readings.iter().map(|r| reading(r, show)).collect()
        },
        runs: verdict
            .runs
            .iter()
            .map(|r| RunLine {
                run: r.run.to_string(),
                measured: match r.unit.as_str() {
                    // Of a ratio over runs each run has its own figure, in its own unit.
                    unit if !unit.is_empty() && unit != verdict.unit => {
                        with_bounds(r.measured, r.bounds, unit, Show::Unit)
                    }
                    _ => with_bounds(r.measured, r.bounds, &verdict.unit, show),
                },
                n: number::count(r.n),
                left_out: r.left_out.as_ref().map_or_else(String::new, |why| format!("left out: {why}")),
                method: r.method.to_string(),
            })
            .collect(),
        runs_more: 0,
        notes: verdict.notes.iter().map(|n| sentence(n)).collect(),
        remedy: verdict.missing.as_ref().map_or_else(String::new, |m| sentence(&m.remedy)),
        anchor: if verdict.evidence.is_empty() { String::new() } else { anchor(verdict) },
        evidence: verdict.evidence.len(),
    }
}

/// `ev-A1-cilium-scale-up-5`, with what tells its column from others.
fn anchor(verdict: &Verdict) -> String {
    let services = verdict.services.map_or_else(String::new, |n| format!("-{n}"));
    let column = if verdict.column.is_empty() { String::new() } else { format!("-{}", verdict.column) };
    let text = format!("ev-{}-{}-{}{services}{column}", verdict.id, verdict.dataplane, verdict.scenario);
    text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '.' { c } else { '-' }).collect()
}

/// Every verdict's lines, in the order of the rows: the appendix.
pub fn cited(verdicts: &[Verdict]) -> Vec<Cited> {
    verdicts
        .iter()
        .filter(|v| !v.evidence.is_empty())
        .map(|v| Cited {
            anchor: anchor(v),
            id: v.id.clone(),
            name: dataplane_name(&v.dataplane),
            label: in_column(&v.column, group_label(&v.scenario, v.services)),
            first: overall(verdicts, &v.id, &v.dataplane).is_some_and(|worst| std::ptr::eq(worst, v)),
            lines: v.evidence.iter().take(EVIDENCE_SHOWN).map(evidence_line).collect(),
            more: v.evidence.len().saturating_sub(EVIDENCE_SHOWN),
        })
        .collect()
}

fn reading(r: &crate::verdict::ReadingVerdict, show: Show) -> ReadingView {
    ReadingView {
        label: r.label.clone(),
        standing: Standing::of(r.status, &r.reason),
        measured: with_bounds(r.measured, r.measured_bounds.unwrap_or_default(), &r.unit, show),
        reason: sentence(&r.reason.to_string()),
        shown_only: r.shown_only,
    }
}

/// The figure alone, or its open interval where it has none.
pub fn measured(value: Option<f64>, bounds: [Option<f64>; 2], unit: &str, show: Show) -> String {
    match value {
        Some(value) => number::figure(number::carried(value, bounds[0], bounds[1]), unit, show),
        None if bounds == [None, None] => "–".into(),
        None => number::interval(bounds[0], bounds[1], unit, show),
    }
}

/// The figure with its interval behind it.
pub fn with_bounds(value: Option<f64>, bounds: [Option<f64>; 2], unit: &str, show: Show) -> String {
    let figure = measured(value, bounds, unit, show);
    if value.is_none() || bounds == [None, None] {
        return figure;
    }
    let interval = number::interval(bounds[0], bounds[1], unit, show);
    if interval == figure { figure } else { format!("{figure} ({interval})") }
}

/// `path:line  what stands there`.
pub fn evidence_line(evidence: &Evidence) -> String {
    let place =
        if evidence.record > 0 { format!("{}:{}", evidence.path, evidence.record) } else { evidence.path.to_string() };
    let place = match evidence.last {
        Some(last) => format!("{place}–{last}"),
        None => place,
    };
    let line = if evidence.what.is_empty() { place } else { format!("{place}  {}", cut(&evidence.what, 160)) };
    if evidence.query.is_empty() { line } else { format!("{line}: {}", evidence.query) }
}

/// At most so many characters.
pub fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut out: String = text.chars().take(most.saturating_sub(1)).collect();
    out.push('…');
    out
}

/// First letter large, a full stop at the end.
pub fn sentence(text: &str) -> String {
    let mut letters = text.trim().chars();
    let Some(first) = letters.next() else { return String::new() };
    // A metric or a row name keeps its case.
    let word: String = text.trim().chars().take_while(|c| !c.is_whitespace()).collect();
    let head = if word.contains('_') || word.contains('/') || word.chars().skip(1).any(char::is_uppercase) {
        first.to_string()
    } else {
        first.to_uppercase().collect()
    };
    let mut out = head + letters.as_str();
    if !out.ends_with(['.', '!', '?', ':']) {
        out.push('.');
    }
    out
}

/// Figures of the dataplanes without documented values.
pub fn beside_rows(shown: &[Beside], catalogue: &Catalogue) -> Vec<BesideRow> {
    shown
        .iter()
        .filter_map(|b| {
            let row = catalogue.row(&b.id)?;
            let bounds = b.measured_bounds.unwrap_or_default();
            Some(BesideRow {
                id: b.id.clone(),
                claim: row.claim.clone(),
                dataplane: dataplane_name(&b.dataplane),
                group: in_column(&b.column, group_label(&b.scenario, b.services)),
                measured: measured(b.measured, bounds, &b.unit, row.show),
                bounds: if b.measured_bounds.is_some() {
                    number::interval(bounds[0], bounds[1], &b.unit, row.show)
                } else {
                    String::new()
                },
            })
        })
        .collect()
}
