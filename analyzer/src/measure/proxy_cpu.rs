//! CPU of the proxy (kube-proxy or cilium-agent) in the windows of a run: what all CPU measurements rest on.
//!
//! First choice is the counter of the container, as a recorder read it from the cgroup, else as cAdvisor did: it holds the
//! children of kube-proxy too (iptables-restore does most of the work). cAdvisor stamps its samples itself, 1–2 s apart and much more under load. Without it, the
//! process's own counter: for kube-proxy that omits the children and so bounds the CPU only from below.

use std::collections::{BTreeMap, BTreeSet};

use polars::prelude::{col, lit};
use syncline_schema::samples::SeriesRow;

use super::readings::{self, Increase, Series};
use crate::events::{Phase, Run};
use crate::math::{Estimate, arithmetic};

/// Step of `process_cpu_seconds_total`: the kernel's clock tick of 10 ms.
const PROCESS_TICK: f64 = 0.01;

/// Where the proxy's CPU was read.
#[derive(Clone, Debug)]
pub struct ProxyCpu {
    /// One series per container (one per node).
    pub series: Vec<Series>,
    /// True for a process counter of kube-proxy.
    pub lower_bound_only: bool,
    /// Step of the counter, seconds.
    pub resolution: f64,
    /// How it was measured, in words.
    pub method: String,
}

/// A rate over a phase, summed over containers.
#[derive(Clone, Debug)]
pub struct PhaseCpu {
    /// Cores.
    pub cores: Estimate,
    /// CPU-seconds between the stamps.
    pub used: Estimate,
    /// Seconds between the stamps (mean over containers).
    pub seconds: Estimate,
    /// Fewest stamps of any container.
    pub stamps: usize,
    pub increases: Vec<(usize, Increase)>,
}

/// Container of the proxy.
pub fn container(run: &Run) -> &'static str {
    if run.is_kube_proxy() { "kube-proxy" } else { "cilium-agent" }
}

/// Sources whose page is the proxy's own: a raw scrape has no `job` to tell.
pub fn own_sources(run: &Run) -> BTreeSet<i32> {
    let mark = if run.is_kube_proxy() { "kubeproxy_sync_proxy_rules_duration_seconds_count" } else { "cilium_version" };
    let other = if run.is_kube_proxy() {
        "kubeproxy_network_programming_duration_seconds_count"
    } else {
        "cilium_endpoint_state"
    };
    let rows =
        run.bundle.rows_or_note::<SeriesRow<'static>>(Some(col("name").eq(lit(mark)).or(col("name").eq(lit(other)))));
    rows.iter().filter(|row| row.witness == "scrape" || row.witness == "exposition").map(|row| row.source).collect()
}

/// Whether a series of a process metric is the proxy's.
pub fn is_own(run: &Run, own: &BTreeSet<i32>, candidate: readings::Candidate) -> bool {
    let job = candidate.label("job");
    if job.is_empty() {
        own.contains(&candidate.source)
    } else {
        job.contains(if run.is_kube_proxy() { "kube-proxy" } else { "cilium" }) && !job.contains("operator")
    }
}

/// Finds the proxy's CPU counter; `None` where no capture has one.
pub fn find(run: &Run) -> Option<ProxyCpu> {
    let container = container(run);
    let found = readings::recorded_or(run, "container_cpu_usage_seconds_total", |c| {
        c.label("container") == container && matches!(c.label("cpu"), "" | "total")
    });
    if !found.is_empty() {
        let (witness, recorded) = (found[0].witness.clone(), found[0].label("job") == readings::RECORDER);
        let whose = if recorded { "the recorder's reading of the container's cgroup:" } else { "cAdvisor's" };
        return Some(ProxyCpu {
            // The recorder stamps what it reads: a value that stays is no sample seen again.
            series: found.into_iter().map(|one| if recorded { one } else { readings::distinct(one) }).collect(),
            lower_bound_only: false,
            resolution: 0.0,
            method: format!(
                "{whose} container_cpu_usage_seconds_total of the container {container} (witness: {witness})"
            ),
        });
    }
    let of_process = |name: &str| readings::series(run, name, |c| c.label("process") == container);
    let process = of_process("syncline_process_cpu_seconds_total");
    if !process.is_empty() {
        let children = of_process("syncline_process_children_cpu_seconds_total");
        return Some(ProxyCpu {
            series: process.into_iter().chain(children).collect(),
            lower_bound_only: false,
            resolution: PROCESS_TICK,
            method: format!(
                "the recorder's reading of the process {container} and of the children that it has waited for, in /proc (it has no control group of its own)"
            ),
        });
    }
    let own = own_sources(run);
    for name in ["cilium_process_cpu_seconds_total", "process_cpu_seconds_total"] {
        if run.is_kube_proxy() && name.starts_with("cilium") {
            continue;
        }
        let found = readings::series(run, name, |c| {
            is_own(run, &own, c) || (name.starts_with("cilium_process") && !c.label("job").contains("operator"))
        });
        if let Some(first) = found.first() {
            let method = format!(
                "{name} of the proxy's own endpoint (witness: {}){}",
                first.witness,
                if run.is_kube_proxy() { ", which omits its iptables-restore children: a lower bound" } else { "" }
            );
            return Some(ProxyCpu {
                series: found,
                lower_bound_only: run.is_kube_proxy(),
                resolution: PROCESS_TICK,
                method,
            });
        }
    }
    None
}

/// The proxy's CPU in a phase.
///
/// # Errors
/// A sentence saying why it cannot be told.
pub fn in_phase(run: &Run, cpu: &ProxyCpu, phase: Phase) -> Result<PhaseCpu, String> {
    let mut cores = Estimate::exact(0.0);
    let mut used = Estimate::exact(0.0);
    let mut seconds = Estimate::exact(0.0);
    let mut stamps = usize::MAX;
    let mut increases = Vec::new();
    let mut why = "no container of the proxy has samples".to_owned();
    for (at, series) in cpu.series.iter().enumerate() {
        let Some(window) = run.window(phase, &series.clock) else {
            return Err(format!("the run has no {} window on the clock {}", word(phase), series.clock));
        };
        match readings::increase(series, &window, cpu.resolution) {
            Ok(increase) => {
                cores = arithmetic::sum(cores, increase.rate());
                used = arithmetic::sum(used, increase.delta);
                seconds = arithmetic::sum(seconds, increase.seconds);
                stamps = stamps.min(increase.stamps);
                increases.push((at, increase));
            }
            // A container that ended before or began after this window is no part of it.
            Err(reason) => why = reason,
        }
    }
    if increases.is_empty() {
        return Err(why);
    }
    let seconds = arithmetic::scaled(seconds, 1.0 / increases.len() as f64);
    Ok(PhaseCpu { cores, used, seconds, stamps, increases })
}

/// A phase in words.
pub fn word(phase: Phase) -> &'static str {
    match phase {
        Phase::Baseline => "baseline",
        Phase::Action => "action",
        Phase::Tail => "tail",
    }
}

/// Number of CPUs of the node, by name of what told it.
pub fn node_cpus(run: &Run) -> Option<(f64, String)> {
    let all = readings::exported_or(run, "node_cpu_seconds_total", |c| c.label("mode") == "idle");
    let cpus: BTreeSet<(String, String)> =
        all.iter().map(|s| (s.label("instance").to_owned(), s.label("cpu").to_owned())).collect();
    let instances: BTreeSet<&String> = cpus.iter().map(|(instance, _)| instance).collect();
    if !cpus.is_empty() {
        let each = cpus.len() as f64 / instances.len().max(1) as f64;
        return Some((each, "the distinct cpu labels of node_cpu_seconds_total".into()));
    }
    let cores = readings::series(run, "machine_cpu_cores", |_| true);
    let last = cores.first()?.readings.last()?;
    Some((last.value, "machine_cpu_cores".into()))
}

/// What to capture where the counter is missing.
pub const REMEDY: &str = "Scrape cAdvisor (kubelet /metrics/cadvisor) and save `query_range` of \
container_cpu_usage_seconds_total{container=~\"kube-proxy|cilium-agent\"}, or a TSDB snapshot.";

/// Maps each phase that could be measured.
pub fn by_phase(run: &Run, cpu: &ProxyCpu) -> BTreeMap<Phase, Result<PhaseCpu, String>> {
    [Phase::Baseline, Phase::Action, Phase::Tail].into_iter().map(|phase| (phase, in_phase(run, cpu, phase))).collect()
}
