//! The model of one run that measurements work on.

use arcstr::ArcStr;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::bundle::Bundle;
use crate::clock::{Evidence, Graph, Offset};

/// One run, loaded: a bundle with its clocks, windows and endpoint episodes.
#[derive(Clone, Debug)]
pub struct Run {
    pub bundle: Bundle,
    /// Name, unique among the runs of a report.
    pub name: String,
    /// First 12 characters of the run's identity.
    pub id: String,
    /// `cilium`, `kube-proxy-iptables`, `kube-proxy-nftables`, `kube-proxy-ipvs`, `unknown`.
    pub dataplane: String,
    /// `scale-up`, `rolling-restart`, `steady-state`, `pod-crash`, `unknown`.
    pub scenario: String,
    /// Whether the captures were generated, not measured.
    pub synthetic: bool,
    /// Main node of the node-level captures: its name is the domain of its realtime clock.
    pub node: String,
    pub clocks: Graph,
    pub windows: Windows,
    /// Services in the cluster, and ready endpoints of the Service under test in the baseline.
    pub services: Option<u64>,
    pub baseline_endpoints: Option<u64>,
    /// `namespace/name` of the Service whose endpoints change (most changes), if any.
    pub service_under_test: Option<String>,
    /// Every change of every endpoint of every Service, on every observed node.
    pub episodes: Vec<Episode>,
    /// Pods up to their endpoints, and the request that began the action.
    pub pods: super::pods::Pods,
    /// Every change of the Service under test in the dataplane, whatever made it.
    pub moves: Moves,
    /// What each look at the dataplane held in all.
    pub totals: Vec<super::dataplane::Total>,
    /// Facts: versions, modes, settings.
    pub facts: BTreeMap<String, (String, Evidence)>,
    /// Things found while loading that a reader must know (load, ambiguous scenario, …).
    pub findings: Vec<crate::clock::Finding>,
}

/// When a Service's endpoints changed in the dataplane, and how far the looks at it go.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moves {
    /// Looks that showed a change: between the look before and the end of this one. One for all endpoints of a look.
    pub all: Vec<Observed>,
    /// Last complete look of each stream that holds the Service.
    pub last: Vec<Observed>,
    /// The same, stream by stream.
    pub streams: Vec<Watched>,
}

/// What one stream of looks shows of a Service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Watched {
    /// Looks that showed a change, in order.
    pub steps: Vec<Step>,
    /// First and last complete look.
    pub first: Observed,
    /// As above.
    pub last: Observed,
}

/// One look that showed a change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// Between the look before and the end of this one.
    pub at: Observed,
    /// Stamp of the look that shows it, ns on the clock of `at`.
    pub shown: i64,
    /// The look before.
    pub before: Evidence,
    /// Endpoints that came with it.
    pub came: usize,
    /// Endpoints that went with it.
    pub went: usize,
}

/// A phase of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Baseline,
    Action,
    Tail,
}

/// A window on one clock, ns; `slack` is how far each edge may be off because clocks relate only within bounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Window {
    pub start: i64,
    pub end: i64,
    pub slack: i64,
}

impl Window {
    /// Length in seconds.
    pub fn seconds(&self) -> f64 {
        (self.end - self.start) as f64 / 1e9
    }

    /// Whether an instant lies in it (start inclusive, end exclusive).
    pub fn contains(&self, time: i64) -> bool {
        self.start <= time && time < self.end
    }
}

/// The windows of a run, all on `clock`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Windows {
    /// Clock domain that they are given on.
    pub clock: String,
    pub baseline: Option<Window>,
    pub action: Option<Window>,
    pub tail: Option<Window>,
    /// What they rest on, in words: markers, or the audit log.
    pub from: String,
    pub evidence: Vec<Evidence>,
    /// When the action after this one begins.
    #[serde(skip)]
    pub next: Option<i64>,
}

impl Run {
    /// A phase's window on another clock: shifted by the middle of the offset interval, with half its width as slack.
    /// `None` where the run has no such phase or the clocks are unrelated.
    pub fn window(&self, phase: Phase, clock: &str) -> Option<Window> {
        let window = match phase {
            Phase::Baseline => self.windows.baseline.as_ref(),
            Phase::Action => self.windows.action.as_ref(),
            Phase::Tail => self.windows.tail.as_ref(),
        }?;
        let Offset { low, high } = self.clocks.offset(&self.windows.clock, clock)?;
        let middle = low + (high - low) / 2;
        Some(Window {
            start: window.start + middle,
            end: window.end + middle,
            slack: window.slack + (high - low + 1) / 2,
        })
    }

    /// Path of a source, as the capture names it.
    pub fn path(&self, source: i32) -> &str {
        usize::try_from(source)
            .ok()
            .and_then(|at| self.bundle.manifest.sources.get(at))
            .map_or("?", |s| s.path.as_str())
    }

    /// Evidence: one line of one source.
    pub fn evidence(&self, source: i32, record: i64, what: impl Into<ArcStr>) -> Evidence {
        Evidence { path: self.path(source).into(), record, what: what.into(), ..Evidence::default() }
    }

    /// Whether the dataplane is kube-proxy in any mode.
    pub fn is_kube_proxy(&self) -> bool {
        self.dataplane.starts_with("kube-proxy")
    }
}

/// A moment known to lie in `[low, high]` on `clock`, ns. `low` null: any time before; `high` null: not seen yet.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Observed {
    pub low: Option<i64>,
    pub high: Option<i64>,
    pub clock: String,
    /// Which witness gave it: `audit`, `watch`, `log`, `trace`, `iptables-save`, `lb4-reader`, …
    pub witness: String,
    pub evidence: Vec<Evidence>,
}

/// An endpoint of a Service on a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Endpoint {
    /// `namespace/name` of the Service.
    pub service: String,
    pub address: String,
    pub port: i32,
    pub protocol: String,
    /// `targetRef.uid`; empty where the slice has none.
    pub target_uid: String,
    /// Pod.
    pub target: String,
}

/// Whether an endpoint came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    Added,
    Removed,
}

/// How a change of an endpoint ended on one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The dataplane was seen to follow.
    Seen,
    /// Not seen to the end of the capture: right-censored.
    Never,
    /// The endpoint changed back before the dataplane acted.
    Superseded,
    /// No dataplane capture covers this Service or this time.
    Unobserved,
}

/// One stage on the way of a change.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// `request`, `pod_created`, `bound`, `ready`, `committed`, `received`, `sync_start`, `kernel_replaced`, `visible`.
    pub name: &'static str,
    /// All endpoints of a sync share it.
    pub at: Arc<Observed>,
}

/// One change of one endpoint, on one node. Ten thousand endpoints on fifty nodes make half a million of these, so
/// whatever several of them have in common is shared.
#[derive(Clone, Debug, PartialEq)]
pub struct Episode {
    pub endpoint: Arc<Endpoint>,
    /// Node whose dataplane was observed.
    pub node: Arc<str>,
    pub direction: Direction,
    /// Number of this change among the endpoint's changes in this direction, from 0 (0: the first episode).
    pub number: usize,
    /// When the change was committed to the API.
    pub committed: Arc<Observed>,
    /// When the dataplane followed; for `Never`, `low` is the last look that did not show it and `high` is null.
    pub dataplane: Option<Arc<Observed>>,
    pub outcome: Outcome,
    pub stages: Arc<[Stage]>,
    /// Phase that `committed` falls into.
    pub phase: Option<Phase>,
}
