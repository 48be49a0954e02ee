//! Programs whose output is no capture of a kind that is read: what marks it, and what to capture instead.
//!
//! ```text
//!     [NEW] udp      17 30 src=10.0.0.1 dst=10.96.0.10 sport=52269 dport=53 [UNREPLIED] …     conntrack -E
//! 19:31:37.438631 IP 10.0.0.1.13758 > 10.96.0.5.80: Flags [S], seq 265989161, …              tcpdump
//! rtt min/avg/max/mdev = 0.078/0.112/0.493/0.080 ms                                          ping
//! ```

/// What to capture instead of packets.
const FLOWS: &str = "flows are read instead: hubble observe -f -o jsonpb; what clients felt: a log of requests";
/// What to capture instead of another measurement of clients.
const REQUESTS: &str = "requests are read instead, one a line: vegeta encode, k6 run --out json=…, or CSV with time,latency_ms,status,error";
/// What to capture instead of figures of the host.
const METRICS: &str = "metrics are read instead: curl -s node-exporter:9100/metrics, or Prometheus' database";
/// What to capture instead of other components' logs.
const LOGS: &str =
    "the proxy's or the agent's is read instead: kubectl -n kube-system logs --timestamps <kube-proxy or cilium pod>";

/// A program: its name, what says that a line is its own, how many of such lines are enough, and what to do instead.
struct Program {
    name: &'static str,
    mark: fn(&str) -> bool,
    least: usize,
    instead: &'static str,
}

const PROGRAMS: [Program; 26] = [
    Program { name: "connection tracking entries (conntrack)", mark: conntrack, least: 1, instead: FLOWS },
    Program { name: "packets as text (tcpdump)", mark: tcpdump, least: 1, instead: FLOWS },
    Program { name: "ping", mark: ping, least: 1, instead: REQUESTS },
    Program { name: "a run of fortio", mark: fortio, least: 1, instead: REQUESTS },
    Program { name: "a run of iperf", mark: iperf, least: 1, instead: REQUESTS },
    Program {
        name: "a run of netperf",
        mark: |line| line.starts_with("MIGRATED TCP") || line.starts_with("MIGRATED UDP"),
        least: 1,
        instead: REQUESTS,
    },
    Program { name: "a run of sockperf", mark: |line| line.starts_with("sockperf: "), least: 1, instead: REQUESTS },
    Program {
        name: "a route's hops (mtr)",
        mark: |line| line.contains("Loss%") && line.contains("Snt"),
        least: 1,
        instead: REQUESTS,
    },
    Program {
        name: "a route's hops (traceroute)",
        mark: |line| line.starts_with("traceroute to ") || line.starts_with("tracepath to "),
        least: 1,
        instead: REQUESTS,
    },
    Program { name: "sockets (ss, netstat)", mark: sockets, least: 1, instead: METRICS },
    Program {
        name: "routes (ip route)",
        mark: routes,
        least: 2,
        instead: "the dataplane's rules are read instead: iptables-save, nft list ruleset, ipvsadm -Ln, cilium-dbg bpf lb list",
    },
    Program {
        name: "addresses or links (ip address)",
        mark: links,
        least: 1,
        instead: "write node names and addresses to capture.toml; kubectl get nodes -o json is read",
    },
    Program {
        name: "the kernel's log (dmesg)",
        mark: dmesg,
        least: 2,
        instead: "bpftrace's output is read instead: it tells what the kernel did",
    },
    Program {
        name: "a profile (perf)",
        mark: perf,
        least: 1,
        instead: "bpftrace's counts and histograms are read instead, and bpftool prog show -j",
    },
    Program {
        name: "system calls (strace)",
        mark: strace,
        least: 3,
        instead: "bpftrace's output is read instead: lines `nsecs EVENT key=value`",
    },
    Program { name: "figures of the host (vmstat, mpstat, sar, top)", mark: host_figures, least: 1, instead: METRICS },
    Program {
        name: "counters of an interface (ethtool, ifconfig, tc, nstat)",
        mark: interface,
        least: 1,
        instead: METRICS,
    },
    Program {
        name: "kubectl describe",
        mark: described,
        least: 3,
        instead: "kubectl get -o yaml or -o json is read instead: it has times and identifiers",
    },
    Program {
        name: "a unified diff",
        mark: |line| line.starts_with("@@ -") && line[4..].contains(" @@"),
        least: 1,
        instead: "give the two files themselves",
    },
    Program { name: "klog of the kubelet", mark: |line| klog_of(line, &KUBELET), least: 1, instead: LOGS },
    Program {
        name: "klog of the controller manager",
        mark: |line| klog_of(line, &CONTROLLERS),
        least: 1,
        instead: LOGS,
    },
    Program { name: "klog of the scheduler", mark: |line| klog_of(line, &SCHEDULER), least: 1, instead: LOGS },
    Program {
        name: "klog of the API server",
        mark: |line| klog_of(line, &APISERVER),
        least: 1,
        instead: "its audit log is read instead (--audit-log-path); of logs the proxy's and the agent's",
    },
    Program {
        name: "klog of some component, not of kube-proxy",
        mark: |line| klog_file(line).is_some(),
        least: 3,
        instead: LOGS,
    },
    Program {
        name: "a log of etcd",
        mark: |line| line.starts_with("{\"level\":") && line.contains("\"caller\":\"") && line.contains("etcd"),
        least: 1,
        instead: LOGS,
    },
    Program {
        name: "a log of CoreDNS",
        mark: |line| line.contains("CoreDNS-1.") || line.starts_with("[INFO] plugin/"),
        least: 1,
        instead: LOGS,
    },
];

const KUBELET: [&str; 12] = [
    "kubelet.go",
    "kubelet_node_status.go",
    "pod_workers.go",
    "reconciler.go",
    "reconciler_common.go",
    "kuberuntime_manager.go",
    "kuberuntime_container.go",
    "operation_generator.go",
    "prober.go",
    "pod_startup_latency_tracker.go",
    "kubelet_pods.go",
    "pod_container_deletor.go",
];
const CONTROLLERS: [&str; 10] = [
    "endpointslice_controller.go",
    "endpoints_controller.go",
    "endpointslicemirroring_controller.go",
    "replica_set.go",
    "deployment_controller.go",
    "garbagecollector.go",
    "node_lifecycle_controller.go",
    "controllermanager.go",
    "controller_utils.go",
    "range_allocator.go",
];
const SCHEDULER: [&str; 4] = ["schedule_one.go", "scheduler.go", "eventhandlers.go", "scheduling_queue.go"];
const APISERVER: [&str; 8] = [
    "httplog.go",
    "apf_controller.go",
    "cacher.go",
    "handler.go",
    "dynamic_serving_content.go",
    "cidrallocator.go",
    "alloc.go",
    "aggregator.go",
];

/// What a text is that no format takes, and what to capture instead; null where nothing marks it. The first in the list that
/// most of the lines do not contradict decides.
pub fn known(text: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).take(60).collect();
    let found =
        PROGRAMS.iter().find(|program| lines.iter().filter(|line| (program.mark)(line)).count() >= program.least)?;
    // A page that shows a line of it is not its output.
    let klog = found.name.starts_with("klog");
    let own = lines.iter().filter(|line| (found.mark)(line) || klog && klog_file(line).is_some()).count();
    if klog && own * 2 <= lines.len() {
        return None;
    }
    Some(format!("{}: it is not read; {}", found.name, found.instead))
}

/// File of the source that a klog line names.
fn klog_file(line: &str) -> Option<&str> {
    let header = line.split_once("] ").map_or(line, |(header, _)| header);
    let mut words = header.split_ascii_whitespace();
    let first = words.next()?;
    let level = first.len() == 5
        && first.starts_with(['I', 'W', 'E', 'F'])
        && first[1..].bytes().all(|byte| byte.is_ascii_digit());
    let time = words.next()?;
    let file = words.nth(1)?.split_once(':')?.0;
    (level && time.contains(':') && file.ends_with(".go")).then_some(file)
}

fn klog_of(line: &str, files: &[&str]) -> bool {
    klog_file(line).is_some_and(|file| files.contains(&file))
}

fn conntrack(line: &str) -> bool {
    line.contains(" src=") && line.contains(" dst=") && (line.contains(" sport=") || line.contains("type="))
}

fn tcpdump(line: &str) -> bool {
    let packet = (line.contains(" IP ") || line.contains(" IP6 ") || line.starts_with("IP ")) && line.contains(" > ");
    (packet && (line.contains("Flags [") || line.contains("length ") || line.contains("UDP")))
        || line.starts_with("tcpdump: ")
        || line.starts_with("listening on ") && line.contains("link-type")
}

fn ping(line: &str) -> bool {
    line.contains("icmp_seq=")
        || line.contains("packets transmitted,")
        || line.starts_with("rtt min/avg/max")
        || line.starts_with("round-trip min/avg/max")
}

fn fortio(line: &str) -> bool {
    line.starts_with("Fortio ")
        || line.contains("# target 50%")
        || line.contains("\"DurationHistogram\"")
        || line.starts_with("All done ") && line.contains(" calls")
}

fn iperf(line: &str) -> bool {
    line.contains("[ ID] Interval")
        || line.contains("] local ") && line.contains(" port ") && line.contains("connected")
        || line.contains("\"sum_received\"")
}

fn sockets(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    words.contains(&"Recv-Q") && words.contains(&"Send-Q")
}

fn routes(line: &str) -> bool {
    line.contains(" dev ") && (line.contains(" scope ") || line.contains(" via ") || line.contains(" proto "))
}

fn links(line: &str) -> bool {
    line.contains(": <") && line.contains("> mtu ")
}

fn dmesg(line: &str) -> bool {
    let Some((stamp, _)) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) else { return false };
    let stamp = stamp.trim();
    stamp.contains('.') && stamp.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

fn perf(line: &str) -> bool {
    line.starts_with("# Overhead  Command")
        || line.starts_with("# Samples: ")
        || line.contains("Performance counter stats for")
}

fn strace(line: &str) -> bool {
    let Some((call, result)) = line.rsplit_once(") = ") else { return false };
    let name = call.split('(').next().unwrap_or_default().rsplit(' ').next().unwrap_or_default();
    let plain =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    plain && call.contains('(') && result.starts_with(|first: char| first.is_ascii_digit() || first == '-')
}

fn host_figures(line: &str) -> bool {
    line.starts_with("procs ---")
        || line.starts_with("top - ")
        || line.contains("%usr") && line.contains("%sys")
        || line.contains("%user") && line.contains("%system")
}

fn interface(line: &str) -> bool {
    line == "NIC statistics:"
        || line.starts_with("qdisc ")
        || line.starts_with("#kernel")
        || line.contains("RX packets") && line.contains("bytes")
}

fn described(line: &str) -> bool {
    ["Name:  ", "Namespace:  ", "Labels:  ", "Annotations:  ", "Selector:  ", "Events:  ", "Status:  "]
        .iter()
        .any(|key| line.starts_with(key))
}

#[cfg(test)]
mod tests {
    use super::known;

    #[test]
    fn outputs_are_named_by_marks_of_their_own() {
        for (text, name) in [
            ("[DESTROY] tcp      6 src=10.0.0.1 dst=10.96.0.10 sport=52269 dport=80 src=10.0.0.9\n", "conntrack"),
            ("tcp      6 431999 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 [ASSURED] mark=0\n", "conntrack"),
            ("19:31:37.4 IP6 fd00::1.1 > fd00::2.80: Flags [S], seq 2, length 0\n", "tcpdump"),
            ("64 bytes from 10.0.0.1: icmp_seq=1 ttl=64 time=0.1 ms\n", "ping"),
            ("# target 50% 0.0004\nAll done 4000 calls (plus 4 warmup) 0.4 ms avg\n", "fortio"),
            ("[ ID] Interval           Transfer     Bitrate\n", "iperf"),
            ("HOST: node-a   Loss%   Snt   Last   Avg  Best  Wrst StDev\n", "mtr"),
            ("State  Recv-Q Send-Q Local Address:Port Peer Address:Port\n", "sockets"),
            ("default via 10.0.0.1 dev eth0\n10.0.0.0/24 dev eth0 proto kernel scope link src 10.0.0.2\n", "routes"),
            ("[    0.000000] Linux version\n[   12.345678] eth0: up\n", "dmesg"),
            ("# Samples: 5K of event 'cycles'\n", "perf"),
            ("read(3, \"x\", 1) = 1\nclose(3) = 0\nopenat(AT_FDCWD, \"a\", O_RDONLY) = -1 ENOENT\n", "strace"),
            ("--- a\n+++ b\n@@ -1,2 +1,2 @@\n-x\n+y\n", "unified diff"),
            ("I0203 04:05:06.100000       1 endpointslice_controller.go:356] \"About\"\n", "controller manager"),
            ("I0203 04:05:06.100000    1234 kubelet.go:356] \"SyncLoop\"\n", "kubelet"),
        ] {
            let said = known(text).unwrap_or_default();
            assert!(said.contains(name) && said.contains("instead") || said.contains("themselves"), "{name}: {said}");
        }
        assert_eq!(known("Dear all, the average and the maximum are fine.\n"), None);
        assert_eq!(
            known("# Notes\nIt said\nI0203 04:05:06.700000       1 kubelet.go:273] \"x\"\nand no more.\n"),
            None
        );
    }
}
