//! Everything that a report says, as finished strings: every format renders this one view, so their numbers agree.

pub mod also_measured;
pub mod before_after;
pub mod chart;
pub mod comparison;
pub mod differences;
pub mod distributions;
pub mod headline;
pub mod number;
pub mod pictures;
pub mod procedure;
pub mod propagation;
pub mod quality;
pub mod queries;
pub mod rows;
pub mod stages;

use serde::Serialize;

use crate::query::QueryAnswer;
use crate::result::RunResult;
use crate::result::group::Keys;
use crate::verdict::{Beside, Catalogue, Verdict, beside, judge};
use chart::Chart;

/// What the user asks for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Title of the report.
    pub title: Option<String>,
    /// The proposal's own words, in Markdown.
    pub notes: Option<String>,
    /// By which facts runs are told apart.
    pub keys: Keys,
}

/// A report, ready to be rendered.
#[derive(Clone, Debug, Serialize)]
pub struct View {
    pub title: String,
    /// What was compared, in one line.
    pub subtitle: String,
    /// Names of runs whose captures were generated, joined; empty where all were measured.
    pub synthetic: String,
    /// The user's notes, in Markdown.
    pub notes: String,
    pub headline: headline::Headline,
    pub procedure: Vec<procedure::Step>,
    pub differences: Vec<differences::Difference>,
    pub overview: Option<Chart>,
    pub sections: Vec<rows::Section>,
    pub beside: Vec<rows::BesideRow>,
    pub timelines: Vec<Chart>,
    pub propagation: propagation::Propagation,
    pub stages: stages::Stages,
    pub before_after: before_after::BeforeAfter,
    pub comparison: Vec<comparison::Row>,
    pub cpu: Option<Chart>,
    pub distributions: distributions::Distributions,
    pub queries: Vec<queries::QueryView>,
    pub also_measured: also_measured::AlsoMeasured,
    pub runs: Vec<quality::RunView>,
    pub quality: quality::Quality,
    pub method: Vec<String>,
    /// Figures that could not be read from a bundle, in words.
    pub problems: Vec<String>,
}

/// The verdicts and the view that shows them.
#[derive(Clone, Debug)]
pub struct Judged {
    pub verdicts: Vec<Verdict>,
    pub beside: Vec<Beside>,
    pub queries: Vec<QueryAnswer>,
    pub view: View,
}

/// Judges the runs and makes the view.
pub fn build(runs: &[RunResult], catalogue: &Catalogue, options: &Options) -> Judged {
    let verdicts = judge(runs, catalogue, &options.keys);
    let shown = beside(runs, catalogue, &options.keys);
    let charts = pictures::build(runs);
    let answers: Vec<QueryAnswer> = runs.iter().flat_map(|result| result.answers.iter().cloned()).collect();
    let problem = |result: &RunResult, what: &String| format!("{}: {what}", result.run.name);
    let problems = runs.iter().flat_map(|one| one.problems.iter().map(move |what| problem(one, what))).collect();
    let view = View {
        title: options.title.clone().unwrap_or_else(|| headline::title(runs)),
        subtitle: headline::subtitle(runs),
        synthetic: runs.iter().filter(|r| r.run.synthetic).map(|r| r.run.name.as_str()).collect::<Vec<_>>().join(", "),
        notes: options.notes.clone().unwrap_or_default(),
        headline: headline::build(runs, &verdicts, catalogue),
        procedure: procedure::build(runs),
        differences: differences::build(&verdicts, catalogue),
        overview: pictures::overview(&verdicts, catalogue),
        sections: rows::sections(&verdicts, catalogue),
        beside: rows::beside_rows(&shown, catalogue),
        timelines: charts.timelines,
        propagation: propagation::build(runs, charts.propagation),
        stages: stages::build(runs),
        before_after: before_after::build(runs),
        comparison: comparison::build(runs),
        cpu: charts.cpu,
        distributions: distributions::build(runs),
        queries: queries::build(&answers, catalogue),
        also_measured: also_measured::build(runs, catalogue),
        runs: quality::run_views(runs),
        quality: quality::build(runs),
        method: method(),
        problems,
    };
    Judged { verdicts, beside: shown, queries: answers, view }
}

/// Name of a dataplane for readers.
pub fn dataplane_name(dataplane: &str) -> String {
    match dataplane {
        "cilium" => "Cilium".into(),
        "unknown" => "unknown dataplane".into(),
        other => {
            other.strip_prefix("kube-proxy-").map_or_else(|| other.to_owned(), |mode| format!("kube-proxy ({mode})"))
        }
    }
}

/// How the figures came about, in the order of the pipeline.
fn method() -> Vec<String> {
    [
        "Times stay on the clock that they were captured on. Clocks are related by intervals with evidence (readings of two clocks at one instant, statements, causality); where nothing relates two clocks, a latency between them is not measured.",
        "A snapshot proves “absent then, present now”: every latency has a lower and an upper bound, and a percentile is given by the sorted lower and the sorted upper bounds. An endpoint that never arrived counts as later than everything seen.",
        "A claim “holds” only if all of the measurement's interval lies inside the documented range; it is “better” or “worse” only if all of it lies beyond. Everything else is “inconclusive”, and says what would settle it. What the captures do not contain is “not measured”, never a pass.",
        "Runs of the same dataplane, scenario and number of Services (to one significant figure) are replicates: the median of the runs is shown, and the hull of their bounds decides. With fewer than six runs no confidence interval over runs means anything, and none is given. A row that is claimed for any scenario takes its worst group.",
        "“Exact” marks a figure whose interval has no width: a count, the difference of two readings of a counter, a duration that was logged. It says how well this run was read, not how another run would turn out.",
        "“About x” is read as x ± 25 %; “possible x” holds at or below x; “none” is worse if an excess over the baseline is above zero with its bounds, and needs 3,001 attempts without one to hold.",
        "A documented query is quoted as it stands; where it cannot answer what it is asked, the verdict rests on the measurement named beside it, with the reason.",
    ]
    .map(str::to_owned)
    .into()
}
