//! "Before and after": what was read twice, the largest changes first.

use serde::Serialize;

use super::number::{self, Show};
use super::rows::{cut, evidence_line, sentence};
use crate::math::Estimate;
use crate::measure::before_after::{Change, Kind};
use crate::result::{RunResult, in_parallel};

/// Rows of a page; all of them are in `report.json`.
const MOST: usize = 40;

/// The section.
#[derive(Clone, Debug, Default, Serialize)]
pub struct BeforeAfter {
    pub rows: Vec<Row>,
    /// Changes that only `report.json` lists.
    pub more: usize,
    /// How many readings did not change, in words.
    pub unchanged: String,
    /// What several rows must be read with; a row names it by its number, from 1.
    pub shared: Vec<String>,
    /// Which files are pairs.
    pub pairs: Vec<String>,
}

/// One change in words.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub run: String,
    pub what: String,
    pub before: String,
    pub after: String,
    pub difference: String,
    pub rate: String,
    /// Work in all, and the mean of one.
    pub work: String,
    /// Seconds between the readings.
    pub apart: String,
    pub notes: Vec<String>,
    /// Numbers of shared notes.
    pub limits: Vec<usize>,
    pub evidence: Vec<String>,
}

/// Builds it: every run has its share of the page.
pub fn build(runs: &[RunResult]) -> BeforeAfter {
    let mut section = BeforeAfter::default();
    let speaks = |one: &RunResult| !one.before_after().changes.is_empty();
    let speaking = in_parallel(runs, speaks).filter(|speaks| *speaks).count().max(1);
    let share = (MOST / speaking).max(1);
    let mut unchanged = 0;
    let shown = |one: &RunResult| {
        let found = one.before_after();
        let rows: Vec<Row> = found.changes.iter().take(share).map(row).collect();
        (rows, found.changes.len().saturating_sub(share), found.unchanged, found.pairs)
    };
    for (rows, more, same, pairs) in in_parallel(runs, shown) {
        section.rows.extend(rows);
        section.more += more;
        unchanged += same;
        section.pairs.extend(pairs);
    }
    if section.rows.len() > MOST {
        section.more += section.rows.len() - MOST;
        section.rows.truncate(MOST);
    }
    share_notes(&mut section);
    section.pairs.truncate(MOST);
    if unchanged > 0 {
        let word = if unchanged == 1 { "thing" } else { "things" };
        section.unchanged = format!(
            "{} {word} that {} read twice did not change.",
            number::count(unchanged as u64),
            if unchanged == 1 { "was" } else { "were" }
        );
    }
    section
}

/// What stands in three rows or more is said once, below the table.
fn share_notes(section: &mut BeforeAfter) {
    let mut counts: std::collections::BTreeMap<String, usize> = std::collections::BTreeMap::new();
    for note in section.rows.iter().flat_map(|row| &row.notes) {
        *counts.entry(note.clone()).or_default() += 1;
    }
    for row in &mut section.rows {
        let shared = &mut section.shared;
        row.notes.retain(|note| {
            if counts.get(note).is_none_or(|count| *count < 3) {
                return true;
            }
            let at = shared.iter().position(|one| one == note).unwrap_or_else(|| {
                shared.push(note.clone());
                shared.len() - 1
            });
            row.limits.push(at + 1);
            false
        });
    }
}

fn row(change: &Change) -> Row {
    let unit = match (change.kind, change.unit.as_str()) {
        (Kind::Histogram, _) => "1",
        (_, "") | (_, "packets") => "1",
        (_, unit) => unit,
    };
    let show = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| plain(value, unit));
    let work = match change.total {
        Some(total) => {
            let size = if is_seconds(change) { "s" } else { "1" };
            let mean = with_bounds(change.mean, size);
            let longest = number::interval(change.longest.low, change.longest.high, size, Show::Unit);
            format!("{} in all, {mean} each; the longest {longest}", number::figure(total, size, Show::Unit))
        }
        None => String::new(),
    };
    Row {
        run: change.run.clone(),
        what: cut(&change.what, 240),
        before: show(change.before),
        after: show(change.after),
        difference: change.difference.value.map_or_else(|| "–".to_owned(), |value| signed(value, unit)),
        rate: if change.rate == Estimate::default() { "–".to_owned() } else { with_bounds(change.rate, "1/s") },
        work,
        apart: match change.seconds.value {
            Some(seconds) if change.by_api() || change.seconds.low == change.seconds.high => format!("{seconds:.3} s"),
            Some(_) => with_bounds(change.seconds, "s"),
            None => change.seconds.low.map_or_else(
                || "unknown".to_owned(),
                |low| format!("at least {}", number::figure(low, "s", Show::Unit)),
            ),
        },
        notes: change.notes.iter().map(|note| cut(&sentence(note), 400)).collect(),
        limits: Vec::new(),
        evidence: change.evidence.iter().map(evidence_line).collect(),
    }
}

fn is_seconds(change: &Change) -> bool {
    change.name.ends_with("_seconds") || change.unit == "s"
}

/// A reading as it stands: counts are not rounded to three digits, since the difference must be seen.
fn plain(value: f64, unit: &str) -> String {
    match unit {
        "1" if value.fract() == 0.0 && value.abs() < 1e15 => {
            let sign = if value < 0.0 { "−" } else { "" };
            format!("{sign}{}", number::count(value.abs() as u64))
        }
        "1" | "s" => {
            let text = format!("{value:.6}");
            let text = text.trim_end_matches('0').trim_end_matches('.').to_owned();
            if unit == "s" { format!("{text} s") } else { text }
        }
        _ => number::figure(value, unit, Show::Unit),
    }
}

fn signed(value: f64, unit: &str) -> String {
    let text = plain((value * 1e9).round() / 1e9, unit);
    if value > 0.0 { format!("+{text}") } else { text.replace('-', "−") }
}

fn with_bounds(estimate: Estimate, unit: &str) -> String {
    let interval = number::interval(estimate.low, estimate.high, unit, Show::Unit);
    match estimate.value {
        Some(value) if interval == number::EXACT => number::figure(value, unit, Show::Unit),
        Some(value) => format!("{} ({interval})", number::figure(value, unit, Show::Unit)),
        None => interval,
    }
}

#[cfg(test)]
mod tests {
    use super::{plain, signed};

    #[test]
    fn readings_stand_as_they_were_read() {
        assert_eq!(plain(1_542_576.0, "1"), "1,542,576");
        assert_eq!(plain(61.92, "s"), "61.92 s");
        assert_eq!(signed(61.92 - 61.5, "s"), "+0.42 s");
        assert_eq!(signed(-3.0, "1"), "−3");
    }
}
