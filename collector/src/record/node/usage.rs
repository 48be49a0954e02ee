//! CPU and memory: of the proxy's container and process, children included, and of the node.
//!
//! `node/usage.prom` is of the kind `scrape`, with the names that cAdvisor and node-exporter use, so that queries find them; the label `job` tells that the
//! recorder read them itself. cAdvisor looks each 10 to 15 s, the recorder ten times a second.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use syncline_schema::loss;

use super::cgroup::{self, Group};
use super::proc;
use crate::record::folder::Out;
use crate::record::moment::{Moment, seconds};
use crate::record::plan::Plan;
use crate::record::source::{Found, Lack, Source};
use crate::record::stop::Stop;

/// The source.
pub const SOURCE: Source = Source {
    name: "usage",
    kinds: &["scrape"],
    about: "CPU and memory of the proxy's container and process, and of the node",
    cadence: Some(Duration::from_millis(100)),
    needs,
    run,
};

/// Label of all series of the recorder's own.
const JOB: &str = "syncline-recorder";
/// Commands of proxies.
pub const PROXIES: [&str; 2] = ["kube-proxy", "cilium-agent"];
/// What is dear to read or hardly changes is read so often; so are the processors of a large node.
const SELDOM: Duration = Duration::from_secs(1);
const FEW_PROCESSORS: usize = 8;
/// How often a proxy that is gone is looked for.
const FIND_EVERY: Duration = Duration::from_secs(2);

fn needs(plan: &Plan) -> Result<Found, Lack> {
    if !plan.host.proc.join("stat").is_file() {
        return Err(Lack::new("/proc is not to be seen", "mount the machine's /proc, or run with hostPID"));
    }
    let found = proxies(plan);
    if found.is_empty() {
        return Ok("the node (no process of kube-proxy or cilium-agent: run with hostPID to see it)".to_owned());
    }
    let words: Vec<String> = found
        .iter()
        .map(|proxy| {
            let group = proxy.group.as_ref().map_or("no control group of its own", |group| group.path.as_str());
            format!("{} (pid {}, {group})", proxy.name, proxy.pid)
        })
        .collect();
    Ok(format!("the node, {}", words.join(", ")))
}

/// A proxy's process and control group.
struct Proxy {
    name: String,
    pid: u32,
    /// Start of the process, ticks: tells it from another with the same number.
    start: u64,
    group: Option<Group>,
    /// Labels of its container, with a comma behind each.
    labels: String,
}

/// The proxies that run now.
fn proxies(plan: &Plan) -> Vec<Proxy> {
    let known: Vec<(u32, String)> = plan.proxy.processes.iter().map(|one| (one.pid, one.name.clone())).collect();
    let alive = |(pid, name): &(u32, String)| {
        fs::read_to_string(plan.host.proc.join(pid.to_string()).join("comm")).is_ok_and(|comm| comm.trim_end() == name)
    };
    let mut found: Vec<(u32, String)> = known.into_iter().filter(alive).collect();
    if found.is_empty() {
        // Restarted, or not looked for yet: those in the namespace that is recorded.
        let own = plan.host.netns.as_ref().and_then(|path| fs::read_link(path).ok());
        let here = |pid: u32| fs::read_link(plan.host.proc.join(pid.to_string()).join("ns/net")).ok();
        found = plan.host.processes(&PROXIES);
        found.retain(|(pid, _)| own.is_none() || here(*pid) == own);
    }
    found.into_iter().filter_map(|(pid, name)| proxy(plan, pid, name)).collect()
}

fn proxy(plan: &Plan, pid: u32, name: String) -> Option<Proxy> {
    let start = proc::stat_of(&plan.host.proc, pid)?.start;
    let text = fs::read_to_string(plan.host.proc.join(pid.to_string()).join("cgroup")).unwrap_or_default();
    let group = cgroup::of(&plan.host.cgroup, &text);
    // The container whose identity stands in the path.
    let container = group.as_ref().and_then(|group| {
        plan.proxy.pods.iter().find_map(|pod| {
            let of =
                |id: &str| id.rsplit('/').next().filter(|id| !id.is_empty()).is_some_and(|id| group.path.contains(id));
            pod.containers.iter().find(|container| of(&container.id)).map(|container| (pod, container))
        })
    });
    let mut labels = String::new();
    match container {
        Some((pod, container)) => {
            let (namespace, pod, container) = (&pod.namespace, &pod.name, &container.name);
            // Names of Kubernetes hold nothing that would have to be escaped.
            let _ = write!(labels, "container=\"{container}\",namespace=\"{namespace}\",pod=\"{pod}\",");
        }
        None => {
            let _ = write!(labels, "container=\"{name}\",");
        }
    }
    Some(Proxy { name, pid, start, group, labels })
}

fn run(plan: &Plan, out: &mut Out, stop: &Stop) -> anyhow::Result<()> {
    let mut file = out.file("node/usage.prom")?;
    let mut all = proxies(plan);
    let (mut next, mut next_find, mut next_seldom) = (Instant::now(), Instant::now() + FIND_EVERY, Instant::now());
    let mut text = String::new();
    while stop.beat(&mut next, plan.every(SOURCE.name)) {
        let now = Instant::now();
        if all.is_empty() && now >= next_find {
            all = proxies(plan);
            next_find = now + FIND_EVERY;
        }
        let seldom = now >= next_seldom;
        if seldom {
            next_seldom = now + SELDOM;
        }
        text.clear();
        let _ = writeln!(text, "# SCRAPE {}", seconds(Moment::now().realtime));
        let before = all.len();
        all.retain(|proxy| {
            let is_there = of_proxy(plan, proxy, seldom, &mut text);
            if !is_there {
                out.lost(loss::RECORDER_GAP, 1, format!("{} (pid {}) has ended", proxy.name, proxy.pid));
            }
            is_there
        });
        if all.len() < before {
            // Whoever began in its place is looked for at once.
            all = proxies(plan);
        }
        of_node(&plan.host.proc, seldom, &mut text)?;
        file.write_record(text.as_bytes())?;
        out.tick();
    }
    Ok(())
}

/// Appends a proxy's figures; false where it has ended.
fn of_proxy(plan: &Plan, proxy: &Proxy, seldom: bool, text: &mut String) -> bool {
    let Some(stat) = proc::stat_of(&plan.host.proc, proxy.pid).filter(|stat| stat.start == proxy.start) else {
        return false;
    };
    let (labels, pid, name) = (&proxy.labels, proxy.pid, &proxy.name);
    let seconds_of = |ticks: u64| ticks as f64 * proc::tick() as f64 / 1e9;
    if let Some(group) = &proxy.group {
        if let Some(used) = group.cpu() {
            counter(
                text,
                "container_cpu_usage_seconds_total",
                &format!("{labels}id=\"{}\",", group.path),
                used as f64 / 1e9,
            );
        }
        if seldom && let Some(memory) = group.memory() {
            let labels = format!("{labels}id=\"{}\",", group.path);
            gauge(text, "container_memory_usage_bytes", &labels, memory.usage);
            gauge(text, "container_memory_working_set_bytes", &labels, memory.working_set);
            gauge(text, "container_memory_rss", &labels, memory.rss);
        }
    }
    let labels = format!("process=\"{name}\",pid=\"{pid}\",");
    counter(text, "syncline_process_cpu_seconds_total", &labels, seconds_of(stat.own));
    counter(text, "syncline_process_children_cpu_seconds_total", &labels, seconds_of(stat.children));
    let page = rustix::param::page_size() as u64;
    gauge(text, "syncline_process_resident_memory_bytes", &labels, stat.pages.saturating_mul(page));
    true
}

/// Appends the node's figures.
fn of_node(proc: &std::path::Path, seldom: bool, text: &mut String) -> anyhow::Result<()> {
    let stat: PathBuf = proc.join("stat");
    let processors = proc::processors(&fs::read_to_string(stat)?);
    if processors.len() <= FEW_PROCESSORS || seldom {
        let _ = writeln!(text, "# TYPE node_cpu_seconds_total counter");
        for (number, ticks) in &processors {
            for (mode, ticks) in proc::MODES.iter().zip(ticks) {
                let value = *ticks as f64 * proc::tick() as f64 / 1e9;
                let _ =
                    writeln!(text, "node_cpu_seconds_total{{cpu=\"{number}\",mode=\"{mode}\",job=\"{JOB}\"}} {value}");
            }
        }
    }
    if seldom {
        let memory = fs::read_to_string(proc.join("meminfo"))?;
        for name in ["MemTotal", "MemAvailable"] {
            if let Some(bytes) = proc::memory(&memory, name) {
                gauge(text, &format!("node_memory_{name}_bytes"), "", bytes);
            }
        }
    }
    Ok(())
}

fn counter(text: &mut String, name: &str, labels: &str, value: f64) {
    let _ = writeln!(text, "# TYPE {name} counter\n{name}{{{labels}job=\"{JOB}\"}} {value}");
}

fn gauge(text: &mut String, name: &str, labels: &str, value: u64) {
    let _ = writeln!(text, "# TYPE {name} gauge\n{name}{{{labels}job=\"{JOB}\"}} {value}");
}
