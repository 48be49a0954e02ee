//! The questions that a migration asks, and which figure of a run answers each.

use crate::math::Estimate;
use crate::measure::Measurement;
use crate::result::RunResult;
use crate::verdict::figure::statistic;

/// What load on the node does to a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Waiting grows with it: latencies, lost requests.
    Lengthens,
    /// What is counted is what was used, whatever else ran: CPU, memory.
    Spares,
}

/// Where the figure of a question stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A statistic of a measurement's main figure.
    Statistic(&'static str, &'static str),
    /// CPU-seconds above the baseline's rate, for each endpoint that changed.
    CpuPerChange,
    /// Interrupt work for each packet, by the same division on every dataplane.
    PacketCost,
}

/// One question.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// Stable name: anchor, and `question` in `report.json`.
    pub stem: &'static str,
    pub title: &'static str,
    /// A few words for lists.
    pub short: &'static str,
    pub source: Source,
    /// Unit of the figure.
    pub unit: &'static str,
    /// Behind the figure, where the unit does not say all.
    pub per: &'static str,
    /// Scenarios that answer it, best first.
    pub scenarios: &'static [&'static str],
    pub load: Load,
    /// Whether each figure only bounds the thing from above: a ratio of such figures proves nothing.
    pub upper_only: bool,
    /// Whether a cluster of N nodes has N times as much of it.
    pub per_node: bool,
    /// What the figure is, in one or two sentences.
    pub meaning: &'static str,
    /// Rows of the catalogue about the same thing.
    pub rows: &'static [&'static str],
}

const UPDATES: &[&str] = &["scale-up", "rolling-restart"];
const AT_REST: &[&str] = &["steady-state", "scale-up", "rolling-restart", "pod-crash"];

/// All of them, in the order of the page.
pub const QUESTIONS: [Question; 11] = [
    Question {
        stem: "update-p50",
        title: "Update latency, median",
        short: "update latency, median",
        source: Source::Statistic("endpoint_propagation", "p50"),
        unit: "s",
        per: "",
        scenarios: UPDATES,
        load: Load::Lengthens,
        upper_only: false,
        per_node: false,
        meaning: "From the commit of a new endpoint to the API until the node's dataplane sends connections to it: half of the endpoints were in by then.",
        rows: &["T4.1"],
    },
    Question {
        stem: "update-p95",
        title: "Update latency, 95th percentile",
        short: "update latency, p95",
        source: Source::Statistic("endpoint_propagation", "p95"),
        unit: "s",
        per: "",
        scenarios: UPDATES,
        load: Load::Lengthens,
        upper_only: false,
        per_node: false,
        meaning: "The same; 95 % of the endpoints were in by then.",
        rows: &["T3.4"],
    },
    Question {
        stem: "update-max",
        title: "Update latency, slowest endpoint",
        short: "update latency, slowest",
        source: Source::Statistic("endpoint_propagation", "max"),
        unit: "s",
        per: "",
        scenarios: UPDATES,
        load: Load::Lengthens,
        upper_only: false,
        per_node: false,
        meaning: "The same; the last endpoint was in by then.",
        rows: &["A1", "T3.1"],
    },
    Question {
        stem: "removal",
        title: "Removal latency, median",
        short: "removal latency, median",
        source: Source::Statistic("endpoint_removal", "p50"),
        unit: "s",
        per: "",
        scenarios: &["rolling-restart", "pod-crash"],
        load: Load::Lengthens,
        upper_only: false,
        per_node: false,
        meaning: "From the commit that an endpoint is not ready until no new connection can be sent to it. New connections fail in this time where the pod is gone already.",
        rows: &["C7"],
    },
    Question {
        stem: "failures",
        title: "Failed new connections",
        short: "failed new connections per replaced pod",
        source: Source::Statistic("request_failures_per_pod", "value"),
        unit: "1",
        per: "per replaced pod",
        scenarios: &["rolling-restart", "pod-crash"],
        load: Load::Lengthens,
        upper_only: false,
        per_node: false,
        meaning: "Failed new connections of the client during the action, less what its baseline's rate would have given, divided by the pods that left the Service. The interval is that of a count (95 %). A client that tries more often sees more of them.",
        rows: &["T4.3", "A4"],
    },
    Question {
        stem: "connect",
        title: "Connection set-up, median",
        short: "connection set-up",
        source: Source::Statistic("connection_setup_time", "p50"),
        unit: "s",
        per: "",
        scenarios: AT_REST,
        load: Load::Lengthens,
        upper_only: false,
        per_node: false,
        meaning: "The client's own connect time to the Service while nothing changes.",
        rows: &["T2.2", "C3"],
    },
    Question {
        stem: "request-p99",
        title: "Request latency during an update, p99",
        short: "p99 of requests during an update",
        source: Source::Statistic("request_latency_ratio", "value"),
        unit: "ratio",
        per: "its own baseline",
        scenarios: &["rolling-restart", "scale-up"],
        load: Load::Lengthens,
        upper_only: false,
        per_node: false,
        meaning: "The 99th percentile of successful requests on new connections while pods are replaced, as a multiple of the same run's baseline.",
        rows: &["T4.4"],
    },
    Question {
        stem: "cpu-rest",
        title: "CPU of the proxy at rest",
        short: "CPU at rest",
        source: Source::Statistic("cpu_baseline", "value"),
        unit: "cores",
        per: "per node",
        scenarios: AT_REST,
        load: Load::Spares,
        upper_only: false,
        per_node: true,
        meaning: "Mean of the container of kube-proxy, or of the Cilium agent, before anything changes. The agent does more than Services: networking of pods, policy, flow visibility.",
        rows: &["T5.1"],
    },
    Question {
        stem: "cpu-update",
        title: "CPU of the proxy per update",
        short: "CPU per update",
        source: Source::CpuPerChange,
        unit: "core-s",
        per: "per endpoint changed",
        scenarios: UPDATES,
        load: Load::Spares,
        upper_only: false,
        per_node: false,
        meaning: "CPU time above the baseline's rate during the action, divided by the endpoints that changed. Where pods start on the node, the agent also sets up their network in this time; kube-proxy leaves that to another component.",
        rows: &["T3.2", "C4", "A3"],
    },
    Question {
        stem: "memory",
        title: "Memory of the proxy",
        short: "memory",
        source: Source::Statistic("memory_bytes", "value"),
        unit: "bytes",
        per: "per node",
        scenarios: AT_REST,
        load: Load::Spares,
        upper_only: false,
        per_node: true,
        meaning: "Median working set of the same container before anything changes.",
        rows: &["T5.2", "C6"],
    },
    Question {
        stem: "packet",
        title: "CPU per packet, at most",
        short: "CPU per packet",
        source: Source::PacketCost,
        unit: "s",
        per: "",
        scenarios: AT_REST,
        load: Load::Spares,
        upper_only: true,
        per_node: false,
        meaning: "All work of the node in software interrupts divided by the workload's packets, the same way on every side. It charges foreign work to the packets too, so each figure is an upper bound, and their ratio is an indication, no proof.",
        rows: &["C2", "T2.1", "K1"],
    },
];

/// A run's answer to a question.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    pub estimate: Estimate,
    /// Things that were measured.
    pub n: u64,
    /// Share of the node's CPU that was busy meanwhile; null where nothing tells.
    pub busy: Option<f64>,
}

/// What a run answers; `None` where it does not.
pub fn answer(question: &Question, result: &RunResult) -> Option<Answer> {
    let (estimate, n, measurement) = match question.source {
        Source::Statistic(name, which) => {
            let found = given(result, name, "")?;
            (statistic(found, which)?, found.n, found)
        }
        Source::CpuPerChange => cpu_per_change(result)?,
        Source::PacketCost => {
            let both = [given(result, "packet_cost", "upper bound"), given(result, "packet_cost", "")];
            let found = both.into_iter().flatten().find(|one| one.upper_bound_only)?;
            (statistic(found, "value")?, found.n, found)
        }
    };
    let known = estimate.value.is_some_and(f64::is_finite) || estimate.low.is_some() || estimate.high.is_some();
    known.then(|| Answer { estimate, n, busy: busy(result, measurement) })
}

fn given<'a>(result: &'a RunResult, name: &str, variant: &str) -> Option<&'a Measurement> {
    result.measurements.iter().find(|one| one.name == name && one.variant == variant && one.missing.is_none())
}

/// The busiest of the phases that a measurement's window names.
fn busy(result: &RunResult, measurement: &Measurement) -> Option<f64> {
    let phase = |name: &str| given(result, "node_busy", name).and_then(|one| one.estimate.value);
    let phases = ["baseline", "action", "tail"].into_iter().filter(|name| measurement.window.contains(name));
    phases.filter_map(phase).max_by(f64::total_cmp)
}

type Found<'a> = (Estimate, u64, &'a Measurement);

fn cpu_per_change<'a>(result: &'a RunResult) -> Option<Found<'a>> {
    let found = given(result, "cpu_excess_seconds", "")?;
    let changes: f64 = ["endpoint_propagation", "endpoint_removal"]
        .into_iter()
        .filter_map(|name| given(result, name, "")?.details.get("endpoints changed").copied())
        .sum();
    let by = |x: Option<f64>| x.map(|x| x / changes);
    let e = found.estimate;
    (changes >= 1.0).then(|| (Estimate { value: by(e.value), low: by(e.low), high: by(e.high) }, changes as u64, found))
}
