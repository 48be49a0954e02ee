//! What one run gave, as plain owned data: verdicts, comparisons and views need no bundle.
//!
//! ```text
//! bundle ─ Run (episodes, tables) ─ measure, query, curves ─▶ RunResult      the bundle may go
//! ```
//!
//! Everything that needs tables or episodes is computed once, while the bundle is open; [`load`] does so run by run, so that
//! of many runs only their results are held.

pub mod copies;
pub mod curves;
pub mod given;
pub mod group;
pub mod load;
pub mod propagation;

use std::collections::BTreeMap;

use syncline_schema::manifest::Manifest;

use crate::clock::{Finding, Graph};
use crate::events::facts::Facts;
use crate::events::{Direction, Run, Windows};
use crate::measure::before_after::{self, BeforeAfter};
use crate::measure::stages::Breakdown;
use crate::measure::trace_distribution::{self, Distribution};
use crate::measure::{Measurement, proxy_cpu};
use crate::query::{self, QueryAnswer, Question};
use curves::Curves;
use propagation::{Propagated, Widest};

/// What one run gave.
#[derive(Clone, Debug, Default)]
pub struct RunResult {
    /// The run itself: name, dataplane, windows, facts, clocks.
    pub run: Header,
    /// Every measurement; those over several runs stand at the last run that they rest on.
    pub measurements: Vec<Measurement>,
    /// Its course over time.
    pub curves: Curves,
    /// Delays of its endpoints.
    pub propagation: Propagated,
    /// The widest bounds of a change that was seen: of additions, and of removals. What settles a verdict depends on them.
    pub widest: BTreeMap<Direction, Widest>,
    /// Where the time of additions goes, stage by stage.
    pub stages: Option<Breakdown>,
    /// What was read twice.
    pub before_after: BeforeAfter,
    /// Histograms that a bpftrace script printed.
    pub distributions: Vec<Distribution>,
    /// Answers to the questions that were asked of it.
    pub answers: Vec<QueryAnswer>,
    /// What could not be read, in words.
    pub problems: Vec<String>,
}

/// What is known of a run as a whole. Field for field what [`Run`] says, without its tables and episodes.
#[derive(Clone, Debug, Default)]
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
    /// Sources, tables and losses of the bundle.
    pub manifest: Manifest,
}

impl Header {
    /// Whether the dataplane is kube-proxy in any mode.
    pub fn is_kube_proxy(&self) -> bool {
        self.dataplane.starts_with("kube-proxy")
    }
}

impl RunResult {
    /// Everything that a run gives: takes the tables that it needs, and no longer needs the bundle.
    ///
    /// # Errors
    /// A table that could not be read: what it says would be missing.
    pub fn of(mut run: Run, measurements: Vec<Measurement>, questions: &[Question]) -> anyhow::Result<RunResult> {
        let mut problems = Vec::new();
        let curves = Curves::of(&run, &mut problems);
        let (answers, left_aside) = query::answers(&run, questions).unwrap_or_else(|error| {
            problems.push(format!("PromQL: {error:#}"));
            (Vec::new(), None)
        });
        run.findings.extend(left_aside);
        let found = RunResult {
            curves,
            propagation: Propagated::of(&run),
            widest: propagation::widest(&run),
            stages: Breakdown::of(&run, &measurements, Direction::Added),
            before_after: before_after::of(&run),
            distributions: trace_distribution::distributions(&run),
            answers,
            problems,
            measurements,
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
            manifest: bundle.manifest,
        };
        Ok(RunResult { run, ..found })
    }
}
