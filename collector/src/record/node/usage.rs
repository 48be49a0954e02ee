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
    prepares: false,
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

#[cfg(test)]
mod tests {
    use super::{SOURCE, needs};
    use crate::record::node::trial::{Machine, record};
    use crate::record::plan::{Container, Pod, Process};

    const STAT: &str =
        "812 (kube-proxy) S 1 812 812 0 -1 4194560 9 8 7 6 150 25 40 2 20 0 12 0 3456 730000000 9100 184467 1\n";

    fn machine() -> Machine {
        let machine = Machine::new();
        machine.file("proc/stat", "cpu  3 0 3 30 0 0 0 0 0 0\ncpu0 1 0 2 10 5 0 6 7 0 0\ncpu1 2 0 1 20 0 0 0 0 0 0\n");
        machine.file("proc/meminfo", "MemTotal:       24 kB\nMemAvailable:    7 kB\n");
        machine.file("proc/812/comm", "kube-proxy\n");
        machine.file("proc/812/stat", STAT);
        machine.file("proc/812/cgroup", "0::/kubepods/cri-7f.scope\n");
        machine.file("cgroup/kubepods/cri-7f.scope/cpu.stat", "usage_usec 1500000\n");
        machine.file("cgroup/kubepods/cri-7f.scope/memory.current", "9000\n");
        machine.file("cgroup/kubepods/cri-7f.scope/memory.stat", "anon 4000\ninactive_file 2000\n");
        machine
    }

    #[test]
    fn a_container_is_told_by_its_identity() {
        let machine = machine();
        let mut plan = machine.plan();
        plan.proxy.processes = vec![Process { pid: 812, name: "kube-proxy".into() }];
        plan.proxy.pods = vec![Pod {
            namespace: "kube-system".into(),
            name: "kube-proxy-x1".into(),
            containers: vec![Container {
                name: "kube-proxy".into(),
                id: "containerd://7f".into(),
                ..Container::default()
            }],
            ..Pod::default()
        }];
        assert_eq!(needs(&plan).expect("the node"), "the node, kube-proxy (pid 812, /kubepods/cri-7f.scope)");
        let recorded = record(&SOURCE, &plan, 3);
        recorded.ended.as_ref().expect("ends when it is told to");
        let text = recorded.text("node/usage.prom.zst");
        for line in [
            "container_cpu_usage_seconds_total{container=\"kube-proxy\",namespace=\"kube-system\",pod=\"kube-proxy-x1\",id=\"/kubepods/cri-7f.scope\",job=\"syncline-recorder\"} 1.5\n",
            "container_memory_working_set_bytes{container=\"kube-proxy\",namespace=\"kube-system\",pod=\"kube-proxy-x1\",id=\"/kubepods/cri-7f.scope\",job=\"syncline-recorder\"} 7000\n",
            "node_memory_MemAvailable_bytes{job=\"syncline-recorder\"} 7168\n",
            "node_cpu_seconds_total{cpu=\"1\",mode=\"idle\",job=\"syncline-recorder\"} ",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        recorded.manifest(&SOURCE);
    }

    #[test]
    fn a_proxy_that_ends_is_named_and_the_one_in_its_place_is_found() {
        let machine = machine();
        let plan = machine.plan();
        let recorded = std::thread::scope(|scope| {
            let running = scope.spawn(|| record(&SOURCE, &plan, 400));
            // The same number, another process: it began later.
            std::thread::sleep(std::time::Duration::from_millis(100));
            machine.file("proc/812/stat", &STAT.replace(" 3456 ", " 9999 "));
            running.join().expect("no panic")
        });
        recorded.ended.as_ref().expect("goes on");
        assert_eq!(recorded.losses, ["kube-proxy (pid 812) has ended"]);
        assert!(
            recorded
                .text("node/usage.prom.zst")
                .lines()
                .rev()
                .take(60)
                .any(|line| line.starts_with("container_cpu_usage"))
        );
        recorded.manifest(&SOURCE);
    }
}
