//! What the figures rest on: runs, clocks, losses, sources.

use rayon::prelude::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};
use serde::Serialize;
use syncline_schema::manifest::LossEntry;

use super::rows::{cut, evidence_line};
use super::{dataplane_name, number};
use crate::events::Window;
use crate::events::facts::rank;
use crate::result::{RunResult, in_parallel};

/// One run in words.
#[derive(Clone, Debug, Serialize)]
pub struct RunView {
    pub name: String,
    pub id: String,
    pub dataplane: String,
    pub class: String,
    pub scenario: String,
    pub services: String,
    pub endpoints: String,
    pub node: String,
    pub windows: String,
    pub synthetic: bool,
    pub facts: Vec<Fact>,
    /// Its own page, relative to the report; empty where there is none.
    pub page: String,
}

/// One statement of a capture.
#[derive(Clone, Debug, Serialize)]
pub struct Fact {
    pub key: String,
    pub value: String,
    pub evidence: String,
}

/// Data quality of all runs.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Quality {
    pub findings: Vec<FindingView>,
    pub losses: Vec<LossView>,
    pub clocks: Vec<ClockView>,
    pub sources: Vec<SourceView>,
    /// Sources that only `report.json` lists.
    pub sources_more: usize,
}

/// A finding.
#[derive(Clone, Debug, Serialize)]
pub struct FindingView {
    pub run: String,
    pub title: String,
    pub detail: String,
    /// A command that stands behind the detail, verbatim; empty where there is none.
    pub script: String,
    pub evidence: Vec<String>,
}

/// A kind of loss, over all runs.
#[derive(Clone, Debug, Serialize)]
pub struct LossView {
    pub name: String,
    pub severity: String,
    pub count: String,
    pub runs: String,
    /// `run: source, count`.
    pub places: Vec<String>,
    /// Places that only `report.json` lists.
    pub more: usize,
    pub meaning: String,
    pub remedy: String,
}

/// One edge between two clocks.
#[derive(Clone, Debug, Serialize)]
pub struct ClockView {
    pub run: String,
    pub from: String,
    pub to: String,
    pub offset: String,
    pub width: String,
    pub evidence: Vec<String>,
}

/// One source.
#[derive(Clone, Debug, Serialize)]
pub struct SourceView {
    pub run: String,
    pub path: String,
    pub kind: String,
    pub clock: String,
    pub records: String,
    pub rejected: String,
    pub bytes: String,
    pub sha256: String,
}

/// Name of a run's own page: its number, and as much of its name as any file system takes.
pub fn page_name(at: usize, name: &str) -> String {
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }).take(60).collect();
    format!("runs/{:03}-{plain}.html", at + 1)
}

/// Runs in words.
pub fn run_views(runs: &[RunResult], pages: bool) -> Vec<RunView> {
    runs.par_iter()
        .enumerate()
        .map(|(at, r)| {
            let run = &r.run;
            let window = |name: &str, w: &Option<Window>| {
                w.as_ref().map(|w| format!("{name} {} s", number::digits(w.seconds())))
            };
            let windows: Vec<String> = [
                window("baseline", &run.windows.baseline),
                window("action", &run.windows.action),
                window("tail", &run.windows.tail),
            ]
            .into_iter()
            .flatten()
            .collect();
            RunView {
                name: run.name.clone(),
                id: run.id.clone(),
                dataplane: dataplane_name(&run.dataplane),
                class: super::chart::class_of(&run.dataplane).into(),
                scenario: run.scenario.clone(),
                services: run.services.map_or_else(|| "–".into(), number::count),
                endpoints: run.baseline_endpoints.map_or_else(|| "–".into(), number::count),
                node: run.node.clone(),
                windows: format!(
                    "{}{}",
                    windows.join(", "),
                    if run.windows.from.is_empty() { String::new() } else { format!(" (from {})", run.windows.from) }
                ),
                synthetic: run.synthetic,
                page: if pages { page_name(at, &run.name) } else { String::new() },
                facts: facts_first(run)
                    .into_iter()
                    .filter(|(key, _)| !key.starts_with("bpf-map-"))
                    .take(40)
                    .map(|(key, (value, evidence))| Fact {
                        key: key.clone(),
                        value: cut(value, 200),
                        evidence: evidence_line(evidence),
                    })
                    .collect(),
            }
        })
        .collect()
}

/// The facts of a run, those that change verdicts first.
fn facts_first(run: &crate::result::Header) -> Vec<(&String, &(String, crate::clock::Evidence))> {
    let mut all: Vec<_> = run.facts.iter().collect();
    all.sort_by_key(|(key, _)| (rank(key), *key));
    all
}

/// Places of a loss that a page lists.
pub const MOST_PLACES: usize = 12;

/// Losses by name, as they are met: what a loss means does not depend on the run.
#[derive(Default)]
struct Losses {
    all: Vec<LossView>,
    /// Of each: how often in all, in how many runs, and the last run that has it.
    counts: Vec<(u64, usize, usize)>,
}

impl Losses {
    fn add(&mut self, at: usize, run: &str, loss: &LossEntry) {
        let own = self.all.iter().position(|one| one.name == loss.name).unwrap_or_else(|| {
            self.all.push(LossView {
                name: loss.name.clone(),
                severity: loss.severity.clone(),
                count: String::new(),
                runs: String::new(),
                places: Vec::new(),
                more: 0,
                meaning: loss.meaning.clone(),
                remedy: loss.remedy.clone(),
            });
            self.counts.push((0, 0, usize::MAX));
            self.all.len() - 1
        });
        let (view, (sum, runs, last)) = (&mut self.all[own], &mut self.counts[own]);
        *sum = sum.saturating_add(loss.count);
        *runs += usize::from(*last != at);
        *last = at;
        if view.places.len() == MOST_PLACES {
            view.more += 1;
            return;
        }
        let source = cut(loss.source.as_deref().unwrap_or("the whole bundle"), 120);
        view.places.push(format!("{run}: {source}, {}", number::count(loss.count)));
    }

    fn views(self) -> Vec<LossView> {
        let counted = |(mut view, (sum, runs, _)): (LossView, (u64, usize, usize))| {
            view.count = number::count(sum);
            view.runs = super::plural(runs, "run");
            view
        };
        self.all.into_iter().zip(self.counts).map(counted).collect()
    }
}

/// Rows of a table in a page; the rest is in `report.json`.
pub const MOST_SOURCES: usize = 400;

/// Builds it.
pub fn build(runs: &[RunResult]) -> Quality {
    let mut quality = Quality::default();
    let mut losses = Losses::default();
    for (at, (run, manifest)) in in_parallel(runs, |r| (&r.run, r.run.manifest.open())).enumerate() {
        for finding in run.findings.iter().chain(&run.clocks.findings) {
            let (detail, script) = finding.detail.split_once('\n').unwrap_or((&finding.detail, ""));
            quality.findings.push(FindingView {
                run: run.name.clone(),
                title: finding.title.clone(),
                detail: detail.to_owned(),
                script: script.to_owned(),
                evidence: finding.evidence.iter().take(6).map(evidence_line).collect(),
            });
        }
        for edge in &run.clocks.edges {
            let end = |x: Option<i64>| x.map(|ns| ns as f64 / 1e9);
            let width = match (edge.low, edge.high) {
                (Some(low), Some(high)) => number::figure((high - low) as f64 / 1e9, "s", number::Show::Unit),
                _ => "open".into(),
            };
            quality.clocks.push(ClockView {
                run: run.name.clone(),
                from: edge.from.clone(),
                to: edge.to.clone(),
                offset: number::interval(end(edge.low), end(edge.high), "s", number::Show::Unit),
                width,
                evidence: edge
                    .tight
                    .iter()
                    .take(2)
                    .map(|c| format!("{}: {}", c.kind, evidence_line(&c.evidence)))
                    .chain((edge.count > edge.tight.len()).then(|| format!("{} pieces of evidence in all", edge.count)))
                    .collect(),
            });
        }
        manifest.losses.iter().for_each(|loss| losses.add(at, &run.name, loss));
        for source in &manifest.sources {
            if quality.sources.len() == MOST_SOURCES {
                quality.sources_more += 1;
                continue;
            }
            quality.sources.push(SourceView {
                run: run.name.clone(),
                path: source.path.clone(),
                kind: source.kind.clone(),
                clock: source.clock.clone().unwrap_or_else(|| "–".into()),
                records: number::count(source.records),
                rejected: number::count(source.rejected),
                bytes: number::figure(source.bytes as f64, "bytes", number::Show::Unit),
                sha256: source.sha256.clone(),
            });
        }
    }
    quality.losses = losses.views();
    let rank = |severity: &str| ["error", "warning", "info"].iter().position(|s| *s == severity).unwrap_or(3);
    quality.losses.sort_by_key(|l| rank(&l.severity));
    quality
}
