//! Everything that a report says, as finished strings: every format renders this one view, so their numbers agree.

pub mod also_measured;
pub mod before_after;
pub mod changes;
pub mod chart;
pub mod claims;
pub mod comparison;
pub mod dashboards;
pub mod distributions;
pub mod environment;
pub mod head_to_head;
pub mod next;
pub mod number;
pub mod page;
pub mod pictures;
pub mod procedure;
pub mod propagation;
pub mod quality;
pub mod queries;
pub mod rows;
pub mod stages;
pub mod trend;

use serde::Serialize;

use crate::result::RunResult;
use crate::result::group::Keys;
use crate::verdict::{Beside, Catalogue, Verdict, beside, judge};
use chart::{Chart, Multiples};
use page::{Fit, More};

/// What the user asks for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Title of the report.
    pub title: Option<String>,
    /// The proposal's own words, in Markdown.
    pub notes: Option<String>,
    /// By which facts runs are told apart.
    pub keys: Keys,
    /// Nodes of the cluster that one node's cost is multiplied by.
    pub nodes: Option<u64>,
    /// Whether each run has a page of its own.
    pub per_run: bool,
    /// Whether only what a terminal shows is wanted: the rows and the claims, without the sections on how they came about.
    pub brief: bool,
    /// Why runs that were given could not be read.
    pub unread: Vec<String>,
}

/// A report, ready to be rendered.
#[derive(Clone, Debug, Serialize)]
pub struct View {
    pub title: String,
    /// Names of runs whose captures were generated, joined; empty where all were measured.
    pub synthetic: String,
    /// The user's notes, in Markdown.
    pub notes: String,
    pub environment: environment::Environment,
    pub head_to_head: head_to_head::HeadToHead,
    /// Is the document right: counts of each dataplane that has documented values.
    pub claims: Vec<claims::Side>,
    pub procedure: Vec<procedure::Step>,
    pub next: Vec<next::Next>,
    pub overview: Option<Chart>,
    pub sections: Vec<rows::Section>,
    pub beside: Vec<rows::BesideRow>,
    /// Lines that the verdicts rest on: the appendix.
    pub cited: Vec<rows::Cited>,
    pub timelines: Vec<Multiples>,
    pub propagation: propagation::Propagation,
    pub stages: stages::Stages,
    pub before_after: before_after::BeforeAfter,
    pub comparison: Vec<comparison::Row>,
    pub cpu: Option<Multiples>,
    pub distributions: distributions::Distributions,
    pub queries: Vec<queries::QueryView>,
    pub also_measured: also_measured::AlsoMeasured,
    pub runs: Vec<quality::RunView>,
    pub quality: quality::Quality,
    pub method: Vec<String>,
    /// Figures that could not be read from a bundle, in words.
    pub problems: Vec<String>,
    /// Of each list that was cut to fit, how much only `report.json` has.
    pub more: More,
    /// Pages of the runs, where they are asked for.
    #[serde(skip)]
    pub pages: Vec<page::RunPage>,
}

/// The verdicts and the view that shows them.
#[derive(Clone, Debug)]
pub struct Judged {
    pub verdicts: Vec<Verdict>,
    pub beside: Vec<Beside>,
    pub view: View,
}

/// Judges the runs and makes the view.
pub fn build(runs: &[RunResult], catalogue: &Catalogue, options: &Options) -> Judged {
    let detailed = if options.brief { &[] } else { runs };
    let ((verdicts, shown), (charts, head_to_head)) = rayon::join(
        || (judge(runs, catalogue, &options.keys), beside(runs, catalogue, &options.keys)),
        || {
            let columns = head_to_head::compared::columns(runs, &options.keys);
            (pictures::build(detailed, &columns), head_to_head::build(runs, columns, options.nodes))
        },
    );
    let problem = |result: &RunResult, what: &String| format!("{}: {what}", result.run.name);
    let of_runs = runs.iter().flat_map(|one| one.problems.iter().map(move |what| problem(one, what)));
    let problems = options.unread.iter().cloned().chain(of_runs).collect();
    let (mut more, mut others) = (More::new(), More::new());
    let ((propagation, stages, before_after, also_measured), (distributions, queries, run_views, quality)) =
        rayon::join(
            || {
                (
                    propagation::build(detailed, charts.propagation).fitting(&mut more),
                    stages::build(detailed).fitting(&mut more),
                    before_after::build(detailed).fitting(&mut more),
                    also_measured::build(detailed, catalogue).fitting(&mut more),
                )
            },
            || {
                (
                    distributions::build(detailed).fitting(&mut others),
                    queries::build(detailed, catalogue, queries::MOST, &mut others).fitting(&mut others),
                    quality::run_views(detailed, options.per_run).fitting(&mut others),
                    quality::build(detailed).fitting(&mut others),
                )
            },
        );
    // Each name is of one list.
    more.append(&mut others);
    let view = View {
        title: options.title.clone().unwrap_or_else(|| title(runs)),
        synthetic: runs.iter().filter(|r| r.run.synthetic).map(|r| r.run.name.as_str()).collect::<Vec<_>>().join(", "),
        notes: options.notes.clone().unwrap_or_default(),
        environment: environment::build(runs),
        claims: claims::build(runs, &verdicts, catalogue),
        next: next::build(&verdicts, catalogue, &head_to_head),
        head_to_head,
        procedure: procedure::build(runs),
        overview: pictures::overview(&verdicts, catalogue),
        sections: rows::sections(&verdicts, catalogue).fitting(&mut more),
        beside: rows::beside_rows(&shown, catalogue),
        cited: rows::cited(&verdicts),
        timelines: charts.timelines,
        propagation,
        stages,
        before_after,
        comparison: comparison::build(runs, &options.keys),
        cpu: charts.cpu,
        distributions,
        queries,
        also_measured,
        runs: run_views,
        quality,
        method: method(),
        problems,
        more,
        pages: if options.per_run {
            runs.iter().enumerate().filter_map(|(at, one)| page::run_page(at, one, catalogue)).collect()
        } else {
            Vec::new()
        },
    };
    Judged { verdicts, beside: shown, view }
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

/// `1 run`, `2 runs`.
pub fn plural(n: usize, word: &str) -> String {
    if n == 1 { format!("1 {word}") } else { format!("{} {word}s", number::count(n as u64)) }
}

/// Title where the user gives none: what could be chosen, what is in use today first.
fn title(runs: &[RunResult]) -> String {
    let known = ["kube-proxy-iptables", "kube-proxy-nftables", "kube-proxy-ipvs", "cilium"];
    let mut names: Vec<&str> = known.into_iter().filter(|d| runs.iter().any(|r| r.run.dataplane == *d)).collect();
    if names.len() > 2 {
        // All modes of kube-proxy are one name here; the columns below tell them apart.
        names.retain(|name| *name == "cilium");
        names.insert(0, "kube-proxy");
    }
    let names: Vec<String> = names.into_iter().map(dataplane_name).collect();
    match names.as_slice() {
        [] => "Dataplane report".into(),
        [one] => format!("{one}, measured"),
        [most @ .., last] => format!("{} or {last}: what the runs say", most.join(", ")),
    }
}

/// How the figures came about, in the order of the pipeline.
fn method() -> Vec<String> {
    [
        "Times stay on the clock that they were captured on. Clocks are related by intervals with evidence (readings of two clocks at one instant, statements, causality); where nothing relates two clocks, a latency between them is not measured.",
        "A snapshot proves “absent then, present now”: every latency has a lower and an upper bound, and a percentile is given by the sorted lower and the sorted upper bounds. An endpoint that never arrived counts as later than everything seen.",
        "Head to head: the median of each side's runs with the hull of their bounds; two sides are told apart where these intervals do not touch, or where an exact test over four or more runs a side says so after correction for the number of questions. The factor is the ratio of the medians, with what the bounds leave. Load on the nodes removes no row: it stands beside the figures.",
        "A figure is “as claimed” (`holds` in report.json) only if all of the measurement's interval lies inside the documented range; it is off the claim, good or bad for you (`better`, `worse`), only if all of it lies beyond. Everything else is “cannot tell” (`inconclusive`), and says what would settle it. What the captures do not contain is “not measured”, never a pass.",
        "A figure is rounded to what its bounds carry, about half of their width; report.json has all digits.",
        "Runs are replicates where what changes the meaning agrees: dataplane and mode, minor versions, nodes, cores, settings in force, scenario and number of Services (to one significant figure): the median of the runs is shown, and the hull of their bounds decides. With fewer than six runs no confidence interval over runs means anything, and none is given. A row that is claimed for any scenario takes its worst group.",
        "“Exact” marks a figure whose interval has no width: a count, the difference of two readings of a counter, a duration that was logged. It says how well this run was read, not how another run would turn out.",
        "“About x” is read as x ± 25 %; “possible x” holds at or below x; “none” is worse if an excess over the baseline is above zero with its bounds, and needs 3,001 attempts without one to hold.",
        "A documented query is quoted as it stands; where it cannot answer what it is asked, the verdict rests on the measurement named beside it, with the reason.",
    ]
    .map(str::to_owned)
    .into()
}
