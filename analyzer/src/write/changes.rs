//! `syncline compare`: the table, Markdown, HTML, JSON.

use minijinja::{Value, context};
use serde_json::json;
use syncline_schema::printable::printable;

use super::grid::{Cell, Screen, Style, grid};
use super::markdown::escape;
use super::template;
use crate::verdict::change::{Change, Sample, Word};
use crate::view::changes::{Document, RowView, words};

const CSS: &str = include_str!("../../../templates/style.css");
const TEMPLATE: &str = include_str!("../../../templates/changes.html.j2");

/// The table on a terminal: as benchstat's, a line a measurement, b against a.
pub fn table(document: &Document, screen: Screen) -> String {
    let mut out = String::new();
    let mut line = |text: &str| {
        out.push_str(&printable(text));
        out.push('\n');
    };
    for side in &document.sides {
        line(&format!("{}: {} ({})", side.label, side.runs, side.names));
    }
    line(&format!("alike: {}", if document.alike.is_empty() { "nothing that is told" } else { &document.alike }));
    match document.differs.as_slice() {
        [] => line("differs: nothing that the captures tell"),
        differs => line(&format!("differs: {}", differs.join("; "))),
    }
    for cell in &document.cells {
        out.push('\n');
        out.push_str(&screen.paint(&printable(&format!("{} ({})", cell.heading, cell.runs)), Style::Bold));
        out.push('\n');
        let labels: Vec<&str> = document.sides.iter().map(|side| side.label.as_str()).collect();
        let (a, b) = (labels.first().copied().unwrap_or("a"), labels.get(1).copied().unwrap_or("b"));
        let header = ["measurement", a, b, &format!("{b} ÷ {a}"), "p", "verdict"];
        let mut lines = vec![header.map(|text| Cell::new(text, Style::Dim)).to_vec()];
        lines.extend(cell.rows.iter().map(cells));
        out.push_str(&grid(&lines, screen));
    }
    out.push('\n');
    for text in std::iter::once(&document.summary).chain(&document.left).chain(&document.notes) {
        let one = [vec![Cell::from(text.as_str())]];
        out.push_str(&grid(&one, screen));
    }
    out
}

fn cells(row: &RowView) -> Vec<Cell> {
    let style = match row.word.as_str() {
        "higher" | "lower" => Style::Bold,
        "cannot tell" => Style::Dim,
        _ => Style::Plain,
    };
    let figure = [&row.a, &row.b].map(|text| Cell::from(text.as_str()));
    let [a, b] = figure;
    vec![
        row.measurement.as_str().into(),
        a,
        b,
        row.ratio.as_str().into(),
        row.p.as_str().into(),
        Cell::new(row.meaning.as_str(), style),
    ]
}

/// Markdown that GitHub renders: fit for a pull request's comment.
pub fn markdown(document: &Document) -> String {
    let mut out = format!("# {}\n\n{}.\n\n", escape(&document.title), escape(&document.summary));
    for side in &document.sides {
        out.push_str(&format!("- **{}**: {} ({})\n", escape(&side.label), escape(&side.runs), escape(&side.names)));
    }
    out.push_str(&format!("- Alike: {}\n", escape(&document.alike)));
    let differs = if document.differs.is_empty() {
        "nothing that the captures tell".to_owned()
    } else {
        document.differs.join("; ")
    };
    out.push_str(&format!("- Differs: {}\n", escape(&differs)));
    let labels: Vec<String> = document.sides.iter().map(|side| escape(&side.label)).collect();
    let (a, b) = (labels.first().map_or("a", String::as_str), labels.get(1).map_or("b", String::as_str));
    for cell in &document.cells {
        out.push_str(&format!("\n## {} ({})\n\n", escape(&cell.heading), escape(&cell.runs)));
        out.push_str(&format!("| measurement | {a} | {b} | {b} ÷ {a} | p | verdict |\n|---|--:|--:|--:|--:|---|\n"));
        for row in &cell.rows {
            let [measurement, a, b, ratio, p] =
                [&row.measurement, &row.a, &row.b, &row.ratio, &row.p].map(|text| escape(text));
            let meaning = match row.word.as_str() {
                "higher" | "lower" => format!("**{}**", escape(&row.meaning)),
                _ => escape(&row.meaning),
            };
            out.push_str(&format!("| {measurement} | {a} | {b} | {ratio} | {p} | {meaning} |\n"));
        }
    }
    for text in document.left.iter().chain(&document.notes) {
        out.push_str(&format!("\n{}\n", escape(text)));
    }
    out
}

/// One page, nothing loaded, no script.
///
/// # Errors
/// A template that does not render: a fault of this program.
pub fn html(document: &Document) -> anyhow::Result<String> {
    let environment = template::pages(&[("changes.html", TEMPLATE)])?;
    Ok(environment.get_template("changes.html")?.render(context! {
        view => Value::from_serialize(document),
        style => Value::from_safe_string(CSS.to_owned()),
        version => env!("CARGO_PKG_VERSION"),
    })?)
}

/// An array, one element a comparison; what is not given is null.
pub fn json(all: &[Change]) -> serde_json::Value {
    let finite = |[low, high]: [Option<f64>; 2]| match (low, high) {
        (None, None) => serde_json::Value::Null,
        (low, high) => json!([low, high]),
    };
    let sample = |sample: &Sample| {
        let runs = sample.runs.iter();
        let figures: Vec<_> = runs
            .map(|(run, one)| json!({ "run": run, "value": one.value, "bounds": finite([one.low, one.high]) }))
            .collect();
        json!({ "runs": sample.runs.len(), "median": sample.median, "bounds": finite(sample.hull), "figures": figures })
    };
    let one = |change: &Change| {
        json!({
            "measurement": change.figure.measurement,
            "variant": change.figure.variant,
            "statistic": change.figure.statistic,
            "scenario": change.scenario,
            "services": change.services,
            "unit": change.unit,
            "a": sample(&change.a),
            "b": sample(&change.b),
            "ratio": change.ratio,
            "ratio_interval": finite(change.ratio_interval),
            "difference": change.shift,
            "difference_interval": finite(change.shift_interval),
            "coverage": change.coverage,
            "delta": change.delta,
            "p": change.p,
            "p_adjusted": change.p_adjusted,
            "verdict": change.word,
            "reason": change.reason.as_ref().map(|doubt| words::why(change, doubt)),
            "smallest_difference": change.smallest_difference,
            "runs_needed": change.runs_needed,
        })
    };
    serde_json::Value::Array(all.iter().map(one).collect())
}

/// What makes a comparison fail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FailOn {
    /// By how many percent the median must be higher at least; 0: by anything that is told.
    pub percent: f64,
}

impl FailOn {
    /// Whether it does. What has no ratio, since it was nothing in a run of a, is higher by any percentage.
    pub fn fails(self, change: &Change) -> bool {
        change.word == Word::Higher && change.ratio.is_none_or(|ratio| (ratio - 1.0) * 100.0 >= self.percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::changes::{CellView, SideView};

    const EVIL: &str = "</td><script>alert(1)</script> | [b](javascript:c) \u{1b}[2J \u{202e}";

    fn document() -> Document {
        let evil = || EVIL.to_owned();
        let side = || SideView { label: evil(), runs: "1 run".to_owned(), names: evil() };
        let row = RowView {
            measurement: evil(),
            a: "1 s".to_owned(),
            b: "2 s".to_owned(),
            ratio: "2 × (1.5 to 2.5)".to_owned(),
            p: "0.01".to_owned(),
            word: "higher".to_owned(),
            meaning: "higher".to_owned(),
        };
        Document {
            title: evil(),
            summary: "1 measurement: 1 higher".to_owned(),
            sides: vec![side(), side()],
            alike: evil(),
            differs: vec![evil()],
            cells: vec![CellView { heading: evil(), runs: "1 run against 1".to_owned(), rows: vec![row] }],
            left: vec![evil()],
            notes: Vec::new(),
        }
    }

    #[test]
    fn captured_text_stays_text_in_every_format() {
        let (markdown, page) = (markdown(&document()), html(&document()).unwrap());
        for text in [&markdown, &page] {
            assert!(!text.contains("<script") && !text.contains('\u{202e}'), "{text}");
        }
        // A captured bar would add columns.
        let bars = |line: &str| line.replace("\\|", "").matches('|').count();
        let rows: Vec<usize> = markdown.lines().filter(|line| line.starts_with('|')).map(bars).collect();
        assert_eq!(rows, [7, 7, 7], "{markdown}");
        let table = table(&document(), Screen::default());
        assert!(!table.contains('\u{1b}') && !table.contains('\u{202e}') && table.contains("higher"), "{table}");
    }
}
