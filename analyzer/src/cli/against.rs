//! `syncline check --baseline`: the runs against earlier ones, as far as rows of the catalogue look at them.

use crate::result::RunResult;
use crate::result::group::Keys;
use crate::verdict::catalogue::Direction;
use crate::verdict::change::{Change, Changes, Figure, Word, compare_sets};
use crate::verdict::{Catalogue, Row, Status, Verdict, judge};
use crate::view::changes::{Document, Sets, build};

/// What the baseline says.
pub struct Against {
    pub changes: Changes,
    pub document: Document,
    /// Places of the verdicts that are worse, and were so in the baseline.
    pub known: Vec<usize>,
}

impl Against {
    /// Judges the baseline by the same catalogue, and compares what its rows measure.
    pub fn new(
        baseline: &[RunResult],
        runs: &[RunResult],
        verdicts: &[Verdict],
        catalogue: &Catalogue,
        keys: &Keys,
    ) -> Self {
        let before = judge(baseline, catalogue, keys);
        let worse = |one: &Verdict| one.status == Status::Worse;
        let was_worse = |one: &Verdict| before.iter().any(|other| worse(other) && is_same(one, other));
        let known = (0..verdicts.len()).filter(|at| worse(&verdicts[*at]) && was_worse(&verdicts[*at])).collect();
        let (a, b): (Vec<&RunResult>, Vec<&RunResult>) = (baseline.iter().collect(), runs.iter().collect());
        let changes = compare_sets(&a, &b, &|figure| rows(catalogue, figure).next().is_some());
        let document = build(&Sets { a: ("baseline", &a), b: ("now", &b) }, &changes);
        Self { changes, document, known }
    }

    /// Which verdicts are worse as before, a line each.
    pub fn lines(&self, verdicts: &[Verdict]) -> Vec<String> {
        let line = |at: &usize| {
            let one = verdicts.get(*at)?;
            Some(format!("{} ({}, {}) is worse in the baseline too: no failure", one.id, one.dataplane, one.scenario))
        };
        self.known.iter().filter_map(line).collect()
    }
}

/// Whether two verdicts are of one thing. The column may differ: a new version against the old one is what a baseline is for.
fn is_same(one: &Verdict, other: &Verdict) -> bool {
    (&one.id, &one.dataplane, &one.scenario, one.services)
        == (&other.id, &other.dataplane, &other.scenario, other.services)
}

/// The rows that judge a figure.
fn rows<'c>(catalogue: &'c Catalogue, figure: &Figure) -> impl Iterator<Item = &'c Row> {
    let (measurement, variant) = (figure.measurement.clone(), figure.variant.clone());
    catalogue.rows.iter().filter(move |row| {
        let judges = row.readings.iter().filter(|reading| !reading.shown_only);
        let mut judges = judges.map(|reading| (&reading.measurement, reading.variant.as_deref().unwrap_or_default()));
        judges.any(|(name, of)| *name == measurement && of == variant)
    })
}

/// Whether a comparison is a failure: the figure moved to the side that a row calls costlier; with `strict` also where it
/// cannot be told.
pub fn is_costlier(one: &Change, catalogue: &Catalogue, strict: bool) -> bool {
    match one.word {
        Word::Higher => rows(catalogue, &one.figure).any(|row| row.direction == Direction::Lower),
        Word::Lower => rows(catalogue, &one.figure).any(|row| row.direction == Direction::Higher),
        Word::CannotTell => strict,
        Word::NoDifference => false,
    }
}
