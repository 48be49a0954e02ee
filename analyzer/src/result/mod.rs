//! What one run gave, as plain owned data: verdicts, comparisons and views need no bundle.
//!
//! ```text
//! bundle ─ Run (episodes, tables) ─ measure, query, curves ─▶ RunResult      the bundle may go
//! ```
//!
//! Everything that needs tables or episodes is computed once, while the bundle is open; [`load`] does so run by run, so that
//! of many runs only their results are held.

pub mod apart;
pub mod archive;
pub mod copies;
pub mod curves;
pub mod given;
pub mod group;
pub mod interned;
pub mod load;
pub mod propagation;
pub mod usage;
pub mod work;

use std::collections::BTreeMap;

use arcstr::ArcStr;
use rayon::prelude::{IntoParallelRefIterator, ParallelIterator};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use syncline_schema::manifest::Manifest;

use crate::clock::{Finding, Graph};
use crate::events::facts::Facts;
use crate::events::{Direction, Run, Windows};
use crate::measure::before_after::{self, BeforeAfter};
use crate::measure::stages::Breakdown;
use crate::measure::trace_distribution::{self, Distribution};
use crate::measure::{self, Made, Measurement, Part, THIS_RUN, node_busy, proxy_cpu};
use crate::query::{self, Asker, QueryAnswer, Question};
use apart::Apart;
use curves::Curves;
use propagation::{Propagated, Widest};

/// What of an answer says which question it answers, and whether it does.
#[derive(Debug, Default, Deserialize)]
pub struct AnswerHead {
    pub query: String,
    /// Rows of the catalogue that ask it.
    pub rows: Vec<Asker>,
    /// What limits it, in words.
    pub limits: Vec<String>,
    phases: Vec<IgnoredAny>,
}

impl AnswerHead {
    /// Whether it has no value in any phase.
    pub fn is_silent(&self) -> bool {
        self.phases.is_empty()
    }
}

/// Runs of which parts are open at a time: few enough for memory, enough for every thread.
const OPEN: usize = 64;

/// What `of` makes of each, in their order. It works on [`OPEN`] at a time, in parallel.
pub fn in_parallel<'a, A: Sync, B: Send + 'a>(
    all: &'a [A],
    of: impl Fn(&'a A) -> B + Sync + 'a,
) -> impl Iterator<Item = B> + 'a {
    all.chunks(OPEN).flat_map(move |some| some.par_iter().map(&of).collect::<Vec<B>>())
}

/// What one run gave.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RunResult {
    /// The run itself: name, dataplane, windows, facts, clocks.
    pub run: Header,
    /// Every measurement; those over several runs stand at the last run that they rest on.
    pub measurements: Vec<Measurement>,
    /// Which file of measurements gave how many of them, in their order; those over several runs are of none.
    pub made: Vec<Made>,
    /// Its course over time.
    pub curves: Apart<Curves>,
    /// Delays of its endpoints.
    pub propagation: Apart<Propagated>,
    /// The widest bounds of a change that was seen: of additions, and of removals. What settles a verdict depends on them.
    pub widest: BTreeMap<Direction, Widest>,
    /// Where the time of additions goes, stage by stage.
    pub stages: Apart<Option<Breakdown>>,
    /// What was read twice: [`Self::before_after`].
    pub(crate) before_after: Apart<BeforeAfter>,
    /// Histograms that a bpftrace script printed.
    pub distributions: Apart<Vec<Distribution>>,
    /// Answers to the questions that were asked of it: [`Self::answers`].
    pub(crate) answers: Apart<Vec<QueryAnswer>>,
    /// What of the captures they leave aside; a finding of the run too.
    pub aside: Option<Finding>,
    /// What could not be read, in words.
    pub problems: Vec<String>,
}

/// What is known of a run as a whole. Field for field what [`Run`] says, without its tables and episodes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Header {
    /// Name, unique among the runs given.
    pub name: String,
    /// First 12 characters of the run's identity.
    pub id: String,
    /// `cilium`, `kube-proxy-iptables`, `kube-proxy-nftables`, `kube-proxy-ipvs`, `unknown`.
    pub dataplane: String,
    /// `scale-up`, `rolling-restart`, `steady-state`, `pod-crash`, `unknown`.
    pub scenario: String,
    /// Whether the captures were generated, not measured.
    pub synthetic: bool,
    /// Main node of the node-level captures.
    pub node: String,
    pub clocks: Graph,
    pub windows: Windows,
    /// Services in the cluster.
    pub services: Option<u64>,
    /// Ready endpoints of the Service under test in the baseline.
    pub baseline_endpoints: Option<u64>,
    /// `namespace/name` of the Service whose endpoints change.
    pub service_under_test: Option<String>,
    /// Versions, modes, settings, sizes.
    pub facts: Facts,
    /// What a reader must know.
    pub findings: Vec<Finding>,
    /// Whole identity of the bundle.
    pub run_id: String,
    /// Sources, tables and losses of the bundle.
    pub manifest: Apart<Manifest>,
}

impl Header {
    /// Whether the dataplane is kube-proxy in any mode.
    pub fn is_kube_proxy(&self) -> bool {
        self.dataplane.starts_with("kube-proxy")
    }
}

impl RunResult {
    /// Everything that a run gives: takes the tables that it needs, and no longer needs the bundle. What an earlier result of the same
    /// captures holds is taken from it where it is still what would be measured.
    ///
    /// # Errors
    /// A table that could not be read: what it says would be missing.
    pub fn of(mut run: Run, earlier: Option<RunResult>, questions: &[Question]) -> anyhow::Result<RunResult> {
        let kept = |part: &Part| earlier.as_ref().and_then(|one| one.rows_of(part)).map(<[Measurement]>::to_vec);
        let (measurements, made) = measure::parts(&run, &kept)?;
        run.findings.extend(node_busy::load_findings(&measurements));
        let mut problems = Vec::new();
        let curves = Apart::new(&Curves::of(&run, &mut problems));
        let asked = earlier.filter(|one| one.answered(questions));
        let (answers, aside) = match asked {
            Some(one) => (one.answers, one.aside),
            None => {
                let (answers, aside) = query::answers(&run, questions).unwrap_or_else(|error| {
                    problems.push(format!("PromQL: {error:#}"));
                    (Vec::new(), None)
                });
                (Apart::new(&answers), aside)
            }
        };
        run.findings.extend(aside.clone());
        let found = RunResult {
            curves,
            propagation: Apart::new(&Propagated::of(&run)),
            widest: propagation::widest(&run),
            stages: Apart::new(&Breakdown::of(&run, &measurements, Direction::Added)),
            before_after: Apart::new(&before_after::of(&run)),
            distributions: Apart::new(&trace_distribution::distributions(&run)),
            answers,
            aside,
            problems,
            measurements,
            made,
            run: Header::default(),
        };
        let cores = group::cores(proxy_cpu::node_cpus(&run));
        run.bundle.whole()?;
        let Run {
            bundle,
            name,
            id,
            dataplane,
            scenario,
            synthetic,
            node,
            clocks,
            windows,
            services,
            baseline_endpoints,
            service_under_test,
            mut facts,
            findings,
            ..
        } = run;
        if let Some((key, fact)) = cores {
            facts.entry(key).or_insert(fact);
        }
        let run = Header {
            name,
            id,
            dataplane,
            scenario,
            synthetic,
            node,
            clocks,
            windows,
            services,
            baseline_endpoints,
            service_under_test,
            facts,
            findings,
            run_id: bundle.manifest.run_id.clone(),
            manifest: Apart::new(&bundle.manifest),
        };
        Ok(RunResult { run, ..found })
    }

    /// What a file of measurements gave, where it gave it in the version that it has now.
    fn rows_of(&self, part: &Part) -> Option<&[Measurement]> {
        let at = self.made.iter().position(|made| made.part == part.name && made.version == part.version)?;
        let from: usize = self.made[..at].iter().map(|made| made.rows).sum();
        self.measurements.get(from..from.checked_add(self.made[at].rows)?)
    }

    /// Whether it answers all of the questions, in their order, and no other.
    fn answered(&self, questions: &[Question]) -> bool {
        let mine = questions.iter().filter(|one| query::concerns(&one.text, &self.run.dataplane));
        mine.map(|one| &one.text).eq(self.answer_heads().iter().map(|one| &one.query))
    }

    /// Whether it is what would be measured and asked today.
    pub fn is_current(&self, questions: &[Question]) -> bool {
        measure::ALL.iter().all(|part| self.rows_of(part).is_some()) && self.answered(questions)
    }

    /// Gives it the name that it has among the runs of a report, wherever that stands.
    pub fn rename(&mut self, name: &str) {
        name.clone_into(&mut self.run.name);
        let shared = ArcStr::from(name);
        for one in &mut self.measurements {
            one.run = shared.clone();
            for note in one.notes.iter_mut().filter(|note| note.contains(THIS_RUN)) {
                *note = note.replace(THIS_RUN, name);
            }
        }
    }

    /// Answers to the questions that were asked of it.
    pub fn answers(&self) -> Vec<QueryAnswer> {
        let mut answers = self.answers.open();
        answers.iter_mut().for_each(|one| self.run.name.clone_into(&mut one.run));
        answers
    }

    /// The same without their courses.
    pub fn answer_heads(&self) -> Vec<AnswerHead> {
        self.answers.open_as()
    }

    /// Takes these answers in place of those that it has.
    pub fn answer(&mut self, answers: &Vec<QueryAnswer>) {
        self.answers = Apart::new(answers);
    }

    /// What was read twice.
    pub fn before_after(&self) -> BeforeAfter {
        let mut found = self.before_after.open();
        found.changes.iter_mut().for_each(|one| self.run.name.clone_into(&mut one.run));
        found
    }
}
