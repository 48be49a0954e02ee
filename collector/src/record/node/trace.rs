//! The kernel's side: the bpftrace scripts that `scripts` prints, run while the recording lasts.
//!
//! `bpftrace/*.txt` are of the kind `bpftrace-text`; their times are CLOCK_BOOTTIME, which `clocks/clock.tsv` relates to realtime. One bpftrace runs
//! all that the dataplane needs: each takes some 100 MB and a second of CPU at its start.

use anyhow::Context;
use syncline_schema::loss;

use super::reader::Reader;
use super::scripts::{self, Script, Target};
use super::tool;
use crate::form::instant::SECOND;
use crate::record::folder::Out;
use crate::record::moment::Moment;
use crate::record::plan::Plan;
use crate::record::source::{Found, Lack, Source};
use crate::record::stop::{Phase, Stop};

/// The source.
pub const SOURCE: Source = Source {
    name: "kernel",
    kinds: &["bpftrace-text"],
    about: "bpftrace: when the kernel took rules or map entries, and TCP trouble of the Services under test",
    cadence: None,
    prepares: true,
    needs,
    run,
};

fn needs(plan: &Plan) -> Result<Found, Lack> {
    if plan.host.tool("bpftrace").is_none() {
        return Err(Lack::new(
            "bpftrace is not installed",
            "install bpftrace 0.12 or newer, or use the image of collector/Dockerfile",
        ));
    }
    let Some(has) = scripts::tracepoints(&plan.host.sys) else {
        return Err(Lack::new(
            "tracefs is not mounted",
            "mount -t tracefs tracefs /sys/kernel/tracing (the manifest's pod has it)",
        ));
    };
    let (script, names) = script(plan, &has);
    if script.traces {
        return Ok(format!("bpftrace with {names}"));
    }
    Err(Lack::new("this kernel lacks every tracepoint of the scripts", "a kernel with CONFIG_FTRACE_SYSCALLS"))
}

/// The addresses of the Services under test.
pub fn targets(plan: &Plan) -> Vec<Target> {
    let mut found = Vec::new();
    for service in &plan.services {
        let name = format!("{}/{}", service.namespace, service.name);
        for ip in &service.ips {
            let ports = service.ports.iter().filter(|port| port.protocol == "TCP");
            found.extend(ports.map(|port| Target { name: name.clone(), at: (*ip, port.port).into() }));
        }
    }
    found
}

/// One script of what this dataplane needs, and the names of its parts.
fn script(plan: &Plan, has: &dyn Fn(&str) -> bool) -> (Script, String) {
    let of_dataplane: &[&str] = match plan.proxy.dataplane.as_deref() {
        Some("cilium") => &["bpf-map.bt"],
        Some("kube-proxy-iptables") => &["ipt-sync.bt"],
        Some("kube-proxy-nftables") => &["nft-sync.bt"],
        // In ipvs mode nothing of iptables or nftables carries endpoints.
        Some("kube-proxy-ipvs") => &[],
        _ => &["ipt-sync.bt", "nft-sync.bt", "bpf-map.bt"],
    };
    let targets = targets(plan);
    let parts: Vec<Script> = of_dataplane
        .iter()
        .chain(&["tcp.bt"])
        .flat_map(|name| scripts::one(name, &targets, has))
        .filter(|part| part.traces)
        .collect();
    let names: Vec<&str> = parts.iter().map(|part| part.name).collect();
    let names = names.join(", ");
    (scripts::together(&parts), names)
}

fn run(plan: &Plan, out: &mut Out, stop: &Stop) -> anyhow::Result<()> {
    let has = scripts::tracepoints(&plan.host.sys).context("tracefs is not mounted")?;
    let (script, _) = script(plan, &has);
    let mut file = out.file("bpftrace/kernel.txt")?;
    let reader = Reader::new(&plan.host, "bpftrace", &["-B", "line", "-e", &script.text])?;
    let begun = Moment::now().realtime;
    let (teller, mut attached) = (out.clone(), false);
    let words = tool::follow(
        "bpftrace",
        &mut reader.command(),
        || stop.is_set(),
        |line| {
            // It prints an empty line for each map that was cleared.
            if line.trim_ascii().is_empty() {
                return Ok(());
            }
            // BEGIN prints when all is attached: a busy machine takes its time to compile.
            if !attached && line.starts_with(b"# ") {
                attached = true;
                let now = Moment::now().realtime;
                if stop.phase() > Phase::Preparing {
                    let what = format!(
                        "bpftrace took {} s to attach: nothing was traced ahead of that",
                        (now - begun) / SECOND
                    );
                    teller.lost_between(loss::RECORDER_GAP, 1, begun, now, what);
                }
            }
            file.write_record(line)?;
            // "Attaching 5 probes" is no event.
            if attached {
                out.tick();
            }
            Ok(())
        },
    )?;
    // "Lost 12 events" may stand on standard error, by version.
    if words.contains("Lost ") {
        out.lost(loss::LOST_TRACE_EVENTS, 1, words);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{SOURCE, needs, script};
    use crate::record::node::trial::{Machine, record};
    use crate::record::plan::{Port, Service};

    fn machine(script: &str) -> Machine {
        let machine = Machine::new();
        for name in ["sched/sched_switch", "syscalls/sys_enter_bpf", "syscalls/sys_exit_bpf", "tcp/tcp_retransmit_skb"]
        {
            machine.file(&format!("sys/kernel/tracing/events/{name}/id"), "7\n");
        }
        machine.tool("bpftrace", script);
        machine
    }

    #[test]
    fn the_dataplane_decides_which_scripts_run() {
        let machine = machine(
            "echo 'Attaching 3 probes...'; echo '# bpf-map.bt start nsecs=6811070000000'; echo '6811070019680 BPF_MAP_UPDATE_ELEM pid=32048 comm=cilium-agent map_fd=38 dur_ns=17449 ret=0'; echo; trap 'echo \"@updates: 1\"; exit 0' INT; while :; do :; done",
        );
        let mut plan = machine.plan();
        plan.proxy.dataplane = Some("cilium".into());
        plan.services = vec![Service {
            namespace: "default".into(),
            name: "test".into(),
            ips: vec!["10.96.100.100".parse().expect("an address")],
            ports: vec![Port { name: String::new(), protocol: "TCP".into(), port: 80, node_port: None }],
        }];
        assert_eq!(needs(&plan).expect("scripts"), "bpftrace with bpf-map.bt, tcp.bt");
        let text = script(&plan, &|_| true).0.text;
        assert!(text.contains("args->daddr[2] == 100") && text.contains("sys_enter_bpf") && !text.contains("iptables"));
        let recorded = record(&SOURCE, &plan, 2);
        recorded.ended.as_ref().expect("ends when it is told to");
        assert!(recorded.text("bpftrace/kernel.txt.zst").ends_with("@updates: 1\n"));
        recorded.manifest(&SOURCE);
    }

    #[test]
    fn what_is_missing_and_a_script_that_does_not_attach_are_named() {
        let machine = machine("echo 'ERROR: failed to attach' >&2; exit 1");
        let recorded = record(&SOURCE, &machine.plan(), 1);
        assert!(format!("{:#}", recorded.ended.expect_err("a fault")).contains("failed to attach"));
        let without = Machine::new();
        assert_eq!(needs(&without.plan()).expect_err("no tool").what, "bpftrace is not installed");
        without.tool("bpftrace", "");
        assert_eq!(needs(&without.plan()).expect_err("no tracefs").what, "tracefs is not mounted");
    }
}
