//! Figures with their bounds as text: a line each, on one axis.
//!
//! ```text
//! 2026-02-02 run-11        ├─●─┤
//! ── 1.9 × (1.7 to 2.1) ──
//! 2026-02-03 run-12                     ├──●───┤
//! 2026-02-03 run-13                          ├─────────▶
//!                      200 ms                      1.3 s
//! ```

use super::super::number::{Show, figure};
use super::super::rows::cut;
use super::Scale;

/// Columns that a drawing takes at most.
pub const WIDTH: usize = 80;
/// Longest label.
const LABEL: usize = 30;
/// From this factor between the greatest and the least on, the axis is logarithmic.
const LOG_FROM: f64 = 30.0;

/// One line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// Printable already.
    pub label: String,
    pub value: Option<f64>,
    /// Null: open below.
    pub low: Option<f64>,
    /// Null: open above.
    pub high: Option<f64>,
    /// Words on a line of their own ahead of it.
    pub ahead: Option<String>,
}

/// Draws the lines, the axis last; nothing where no figure has a number.
pub fn draw(rows: &[Row], unit: &str) -> Vec<String> {
    let numbers = || rows.iter().flat_map(|row| [row.value, row.low, row.high]).flatten().filter(|x| x.is_finite());
    let (Some(low), Some(high)) = (numbers().reduce(f64::min), numbers().reduce(f64::max)) else { return Vec::new() };
    let label = rows.iter().map(|row| row.label.chars().count()).max().unwrap_or(0).min(LABEL);
    let columns = WIDTH - label - 2;
    let log = low > 0.0 && high / low >= LOG_FROM;
    let scale = Scale { low, high, from: 0.0, to: (columns - 1) as f64, log };
    let mut lines = Vec::new();
    for row in rows {
        lines.extend(row.ahead.as_ref().map(|words| ruled(words)));
        lines.push(format!("{}  {}", padded(&cut(&row.label, label), label), drawn(row, &scale, columns).trim_end()));
    }
    let ends = [low, high].map(|end| figure(end, unit, Show::Unit));
    let between = columns.saturating_sub(ends.iter().map(|end| end.chars().count()).sum());
    let word = if log { "log" } else { "" };
    let axis = if low < high { format!("{}{}{}", ends[0], centred(word, between), ends[1]) } else { ends[0].clone() };
    lines.push(format!("{}  {axis}", padded("", label)));
    lines
}

fn padded(text: &str, width: usize) -> String {
    let mut out = text.to_owned();
    out.extend(std::iter::repeat_n(' ', width.saturating_sub(text.chars().count())));
    out
}

fn centred(word: &str, width: usize) -> String {
    let free = width.saturating_sub(word.len());
    format!("{}{word}{}", " ".repeat(free / 2), " ".repeat(free - free / 2))
}

/// Words with a rule on both sides.
fn ruled(words: &str) -> String {
    let words = cut(words, WIDTH - 6);
    let free = WIDTH - 2 - words.chars().count();
    format!("{} {words} {}", "─".repeat(2), "─".repeat(free - 2))
}

fn drawn(row: &Row, scale: &Scale, columns: usize) -> String {
    let at = |x: f64| (scale.within(x).round() as usize).min(columns - 1);
    let mut line = vec![' '; columns];
    let (from, to) = (row.low.map_or(0, at), row.high.map_or(columns - 1, at));
    for place in line.iter_mut().take(to + 1).skip(from) {
        *place = '─';
    }
    if from < to || row.value.is_none() {
        line[from] = if row.low.is_some() { '├' } else { '◀' };
        line[to] = if row.high.is_some() { '┤' } else { '▶' };
    }
    if let Some(value) = row.value {
        line[at(value)] = '●';
    }
    line.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(value: Option<f64>, low: Option<f64>, high: Option<f64>) -> Row {
        Row { label: "2026-02-02 run".to_owned(), value, low, high, ahead: None }
    }

    #[test]
    fn a_line_shows_its_bounds_and_open_ends() {
        let rows = [
            row(Some(1.0), Some(1.0), Some(1.0)),
            row(Some(2.0), Some(1.5), Some(3.0)),
            Row { ahead: Some("2 × (1.5 to 3)".to_owned()), ..row(None, Some(2.0), None) },
            row(Some(3.0), None, Some(3.0)),
        ];
        let lines = draw(&rows, "s");
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH), "{lines:#?}");
        assert!(lines[0].ends_with("run  ●"), "{lines:#?}");
        assert!(lines[1].contains('├') && lines[1].contains('●') && lines[1].ends_with('┤'), "{lines:#?}");
        assert!(lines[2].starts_with("── 2 × (1.5 to 3) ──") && lines[2].chars().count() == WIDTH, "{lines:#?}");
        assert!(lines[3].contains('├') && lines[3].ends_with('▶') && !lines[3].contains('●'), "{lines:#?}");
        assert!(lines[4].contains('◀') && lines[4].ends_with('●'), "{lines:#?}");
        assert!(lines[5].contains("1 s") && lines[5].ends_with("3 s"), "{lines:#?}");
    }

    #[test]
    fn a_wide_range_is_logarithmic_and_one_value_is_an_axis_too() {
        let lines = draw(&[row(Some(0.01), Some(0.01), Some(0.01)), row(Some(10.0), Some(10.0), Some(10.0))], "s");
        assert!(lines[2].contains("log"), "{lines:#?}");
        let lines = draw(&[row(Some(2.0), Some(2.0), Some(2.0))], "s");
        assert!(lines[0].ends_with('●') && lines[1].ends_with("2 s"), "{lines:#?}");
        assert!(draw(&[], "s").is_empty() && draw(&[row(None, None, None)], "s").is_empty());
        let long = Row { label: "x".repeat(200), ..row(Some(f64::MAX), Some(f64::MIN), None) };
        assert!(draw(&[long], "s").iter().all(|line| line.chars().count() <= WIDTH));
    }
}
