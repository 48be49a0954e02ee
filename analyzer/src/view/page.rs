//! What fits on a page, and the page of one run.
//!
//! A report of 160 runs must stay readable: whatever grows with the number of runs is cut, the first of it shown, and how much
//! more `report.json` has said beside it. Verdicts, the head to head and the claims are never cut.

use std::collections::BTreeMap;

use serde::Serialize;

use super::also_measured::{self, Measured};
use super::chart::{Multiples, Panel, class_of, multiples};
use super::{View, before_after, dataplane_name, distributions, pictures, propagation, quality, queries, rows, stages};
use crate::result::RunResult;
use crate::verdict::Catalogue;

/// How often the limits can be halved; behind that nothing is left to cut.
pub const LEVELS: usize = 9;

/// Cuts the list, and counts what was cut.
fn cut<T>(list: &mut Vec<T>, most: usize, level: usize, name: &'static str, more: &mut More) {
    let keep = most >> level;
    if list.len() > keep {
        *more.entry(name).or_default() += list.len() - keep;
        list.truncate(keep);
    }
}

/// What was cut of each list, by name.
pub type More = BTreeMap<&'static str, usize>;

/// A part of the view that grows with the number of runs.
pub trait Fit {
    /// Cuts it to its limits, halved `level` times, and counts what was cut.
    fn fit(&mut self, level: usize, more: &mut More);

    /// As it is made for a report: cut to its limits.
    #[must_use]
    fn fitting(mut self, more: &mut More) -> Self
    where
        Self: Sized,
    {
        self.fit(0, more);
        self
    }
}

impl Fit for propagation::Propagation {
    fn fit(&mut self, level: usize, more: &mut More) {
        cut(&mut self.quantiles, 64, level, "propagation", more);
        cut(&mut self.slowest, 96, level, "slowest", more);
    }
}

impl Fit for stages::Stages {
    fn fit(&mut self, level: usize, more: &mut More) {
        cut(&mut self.rows, 256, level, "stages", more);
        cut(&mut self.slowest, 160, level, "stages_slowest", more);
        cut(&mut self.dominant, 32, level, "dominant", more);
    }
}

impl Fit for before_after::BeforeAfter {
    fn fit(&mut self, level: usize, more: &mut More) {
        cut(&mut self.rows, 64, level, "before_after", more);
        cut(&mut self.pairs, 64, level, "pairs", more);
        self.more += more.remove("before_after").unwrap_or(0);
    }
}

impl Fit for distributions::Distributions {
    fn fit(&mut self, level: usize, more: &mut More) {
        cut(&mut self.all, 24, level, "distributions", more);
        self.more += more.remove("distributions").unwrap_or(0);
    }
}

impl Fit for also_measured::AlsoMeasured {
    fn fit(&mut self, level: usize, more: &mut More) {
        cut(&mut self.rows, 128, level, "also_measured", more);
        self.more += more.remove("also_measured").unwrap_or(0);
    }
}

impl Fit for quality::Quality {
    fn fit(&mut self, level: usize, more: &mut More) {
        cut(&mut self.findings, 96, level, "findings", more);
        cut(&mut self.clocks, 192, level, "clocks", more);
        cut(&mut self.sources, quality::MOST_SOURCES, level, "sources", more);
        self.sources_more += more.remove("sources").unwrap_or(0);
        for loss in &mut self.losses {
            let keep = quality::MOST_PLACES >> level;
            loss.more += loss.places.len().saturating_sub(keep);
            loss.places.truncate(keep);
        }
    }
}

impl Fit for Vec<quality::RunView> {
    fn fit(&mut self, level: usize, more: &mut More) {
        cut(self, 64, level, "runs", more);
        for run in self {
            cut(&mut run.facts, 16, level, "facts", more);
        }
    }
}

impl Fit for Vec<queries::QueryView> {
    fn fit(&mut self, level: usize, more: &mut More) {
        for query in self {
            cut(&mut query.lines, queries::MOST, level, "queries", more);
            if query.silent.len() > 24 >> level {
                query.silent.truncate(24 >> level);
                query.silent.push("…".into());
            }
        }
    }
}

impl Fit for Vec<rows::Section> {
    fn fit(&mut self, level: usize, _: &mut More) {
        for cell in self.iter_mut().flat_map(|s| &mut s.rows).flat_map(|r| &mut r.cells) {
            for group in cell.groups.iter_mut().chain(&mut cell.worst) {
                let keep = 16 >> level;
                group.runs_more += group.runs.len().saturating_sub(keep);
                group.runs.truncate(keep);
            }
            let keep = 64 >> level.min(4);
            cell.groups_more += cell.groups.len().saturating_sub(keep);
            cell.groups.truncate(keep);
        }
    }
}

/// The view with everything that grows with the number of runs cut to its limit, halved `level` times.
pub fn fitted(view: &View, level: usize) -> View {
    let mut view = view.clone();
    let mut more = std::mem::take(&mut view.more);
    let m = &mut more;
    cut(&mut view.procedure, 24, level, "procedure", m);
    cut(&mut view.comparison, 96, level, "comparison", m);
    cut(&mut view.beside, 256, level, "beside", m);
    cut(&mut view.problems, 64, level, "problems", m);
    cut(&mut view.cited, 512, level, "cited", m);
    view.propagation.fit(level, m);
    view.stages.fit(level, m);
    view.before_after.fit(level, m);
    view.distributions.fit(level, m);
    view.also_measured.fit(level, m);
    view.runs.fit(level, m);
    view.quality.fit(level, m);
    view.queries.fit(level, m);
    view.sections.fit(level, m);
    view.more = more;
    view
}

/// Everything that the report says of one run.
#[derive(Clone, Debug, Serialize)]
pub struct RunPage {
    /// File, relative to the report.
    #[serde(skip)]
    pub path: String,
    pub title: String,
    pub run: quality::RunView,
    pub timeline: Option<Multiples>,
    pub propagation: propagation::Propagation,
    pub stages: stages::Stages,
    pub before_after: before_after::BeforeAfter,
    pub distributions: distributions::Distributions,
    pub queries: Vec<queries::QueryView>,
    /// Every measurement.
    pub measured: Vec<Measured>,
    pub quality: quality::Quality,
    pub problems: Vec<String>,
    /// Nothing is cut here; the sections that the report shares ask for it.
    pub more: More,
}

/// The page of the run at its place among all.
pub fn run_page(at: usize, result: &RunResult, catalogue: &Catalogue) -> Option<RunPage> {
    let alone = std::slice::from_ref(result);
    let timeline = pictures::course(result, &dataplane_name(&result.run.dataplane), class_of(&result.run.dataplane)).map(|course| {
        let mut panel: Panel = multiples::panel(&course, multiples::axes(&[&course]));
        panel.note = String::new();
        Multiples {
            stem: "timeline".into(),
            title: result.run.name.clone(),
            description: "Grey, the ready endpoints; in colour, those that the dataplane held at the latest time that the captures allow; below them the syncs and the moments with a failed request.".into(),
            panels: vec![panel],
        }
    });
    Some(RunPage {
        path: quality::page_name(at, &result.run.name),
        title: result.run.name.clone(),
        run: quality::run_views(alone, false).into_iter().next()?,
        timeline,
        propagation: propagation::build(alone, None),
        stages: stages::build(alone),
        before_after: before_after::build(alone),
        distributions: distributions::build(alone),
        queries: queries::build(alone, catalogue, usize::MAX, &mut BTreeMap::new()),
        measured: also_measured::every(result),
        quality: quality::build(alone),
        problems: result.problems.clone(),
        more: BTreeMap::new(),
    })
}
