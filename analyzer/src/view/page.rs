//! What fits on a page, and the page of one run.
//!
//! A report of 160 runs must stay readable: whatever grows with the number of runs is cut, the first of it shown, and how much
//! more `report.json` has said beside it. Verdicts, the head to head and the claims are never cut.

use std::collections::BTreeMap;

use serde::Serialize;

use super::also_measured::{self, Measured};
use super::chart::{Multiples, Panel, class_of, multiples};
use super::{View, before_after, dataplane_name, distributions, pictures, propagation, quality, queries, stages};
use crate::result::RunResult;
use crate::verdict::Catalogue;

/// How often the limits can be halved; behind that nothing is left to cut.
pub const LEVELS: usize = 9;

/// Cuts the list, and counts what was cut.
fn cut<T>(list: &mut Vec<T>, most: usize, level: usize, name: &'static str, more: &mut BTreeMap<&'static str, usize>) {
    let keep = most >> level;
    if list.len() > keep {
        *more.entry(name).or_default() += list.len() - keep;
        list.truncate(keep);
    }
}

/// The view with everything that grows with the number of runs cut to its limit, halved `level` times.
pub fn fitted(view: &View, level: usize) -> View {
    let mut view = view.clone();
    let mut more: BTreeMap<&'static str, usize> = BTreeMap::new();
    let m = &mut more;
    cut(&mut view.procedure, 24, level, "procedure", m);
    cut(&mut view.propagation.quantiles, 64, level, "propagation", m);
    cut(&mut view.propagation.slowest, 96, level, "slowest", m);
    cut(&mut view.stages.rows, 256, level, "stages", m);
    cut(&mut view.stages.slowest, 160, level, "stages_slowest", m);
    cut(&mut view.stages.dominant, 32, level, "dominant", m);
    cut(&mut view.before_after.rows, 64, level, "before_after", m);
    cut(&mut view.before_after.pairs, 64, level, "pairs", m);
    cut(&mut view.comparison, 96, level, "comparison", m);
    cut(&mut view.distributions.all, 24, level, "distributions", m);
    cut(&mut view.also_measured.rows, 128, level, "also_measured", m);
    cut(&mut view.runs, 64, level, "runs", m);
    cut(&mut view.beside, 256, level, "beside", m);
    cut(&mut view.quality.findings, 96, level, "findings", m);
    cut(&mut view.quality.clocks, 192, level, "clocks", m);
    cut(&mut view.quality.sources, 400, level, "sources", m);
    cut(&mut view.problems, 64, level, "problems", m);
    for run in &mut view.runs {
        cut(&mut run.facts, 16, level, "facts", m);
    }
    for query in &mut view.queries {
        cut(&mut query.lines, 8, level, "queries", m);
        if query.silent.len() > 24 >> level {
            query.silent.truncate(24 >> level);
            query.silent.push("…".into());
        }
    }
    for loss in &mut view.quality.losses {
        let keep = 12 >> level;
        loss.more += loss.places.len().saturating_sub(keep);
        loss.places.truncate(keep);
    }
    for cell in view.sections.iter_mut().flat_map(|s| &mut s.rows).flat_map(|r| &mut r.cells) {
        for group in cell.groups.iter_mut().chain(&mut cell.worst) {
            let keep = 16 >> level;
            group.runs_more += group.runs.len().saturating_sub(keep);
            group.runs.truncate(keep);
        }
        let keep = 64 >> level.min(4);
        cell.groups_more += cell.groups.len().saturating_sub(keep);
        cell.groups.truncate(keep);
    }
    cut(&mut view.cited, 512, level, "cited", m);
    view.quality.sources_more += m.remove("sources").unwrap_or(0);
    view.also_measured.more += m.remove("also_measured").unwrap_or(0);
    view.before_after.more += m.remove("before_after").unwrap_or(0);
    view.distributions.more += m.remove("distributions").unwrap_or(0);
    view.more = more;
    view
}

/// Everything that the report says of one run.
#[derive(Clone, Debug, Serialize)]
pub struct RunPage {
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
    pub more: BTreeMap<&'static str, usize>,
}

/// The page of a run.
pub fn run_page(result: &RunResult, catalogue: &Catalogue) -> Option<RunPage> {
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
        title: result.run.name.clone(),
        run: quality::run_views(alone, false).into_iter().next()?,
        timeline,
        propagation: propagation::build(alone, None),
        stages: stages::build(alone),
        before_after: before_after::build(alone),
        distributions: distributions::build(alone),
        queries: queries::build(&result.answers.iter().collect::<Vec<_>>(), catalogue),
        measured: also_measured::every(result),
        quality: quality::build(alone),
        problems: result.problems.clone(),
        more: BTreeMap::new(),
    })
}
