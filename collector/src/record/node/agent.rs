//! What the Cilium agent says of itself, once at the beginning: status, options, version.
//!
//! `cilium/status.txt`, `cilium/config.txt` and `cilium/version.txt` are of the kinds `cilium-status`, `cilium-config` and `cilium-version`. `cilium-dbg` speaks to the agent's socket: it must be in the recorder's image, and
//! the machine's `/var/run/cilium` mounted.

use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use syncline_schema::loss;

use super::tool::{Limit, run as run_tool};
use crate::record::folder::{Out, Packing};
use crate::record::host;
use crate::record::plan::Plan;
use crate::record::source::{Found, Lack, Source};
use crate::record::stop::Stop;

/// The source.
pub const SOURCE: Source = Source {
    name: "cilium",
    kinds: &["cilium-status", "cilium-config", "cilium-version"],
    about: "cilium-dbg status, config and version, once",
    cadence: None,
    prepares: false,
    needs,
    run,
};

/// What is asked, and where the answer goes.
const ASKED: [(&[&str], &str); 3] = [
    (&["status", "--verbose"], "cilium/status.txt"),
    (&["config", "-a"], "cilium/config.txt"),
    (&["version"], "cilium/version.txt"),
];

/// The tool's two names: the older one was given up with Cilium 1.15.
fn tool(plan: &Plan) -> Option<&'static str> {
    ["cilium-dbg", "cilium"].into_iter().find(|name| plan.host.tool(name).is_some())
}

fn command(plan: &Plan, arguments: &[&str]) -> anyhow::Result<Command> {
    plan.host.command(tool(plan).context("cilium-dbg is not installed")?, arguments)
}

fn needs(plan: &Plan) -> Result<Found, Lack> {
    let remedy = "nothing where Cilium does not run; else keep the output of kubectl -n kube-system exec ds/cilium -- cilium-dbg status --verbose in a file beside the capture";
    let Ok(mut command) = command(plan, &["version"]) else {
        return Err(Lack::new("cilium-dbg is not installed", remedy));
    };
    match host::output(&mut command, Duration::from_millis(900)) {
        // The command line for outside of the cluster has the older name too, and no daemon.
        Ok(text) if String::from_utf8_lossy(&text).contains("Daemon:") => Ok("cilium-dbg and its agent".to_owned()),
        Ok(_) => Err(Lack::new("no agent of Cilium answers", remedy)),
        Err(error) => Err(Lack::new(format!("{error:#}"), remedy)),
    }
}

fn run(plan: &Plan, out: &mut Out, stop: &Stop) -> anyhow::Result<()> {
    let mut text = Vec::new();
    for (arguments, file) in ASKED {
        let mut command = command(plan, arguments)?;
        match run_tool(&mut command, Limit::SMALL, &mut text) {
            Ok(()) => {
                out.packed(file, Packing::None)?.write_record(&text)?;
                out.tick();
            }
            // The others may be answered all the same.
            Err(fault) => out.lost(loss::RECORDER_GAP, 1, format!("{}: {fault}", arguments[0])),
        }
    }
    // One that returns is begun again.
    while stop.sleep(Duration::from_secs(3600)) {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{SOURCE, needs};
    use crate::record::node::trial::{Machine, record};

    #[test]
    fn what_the_agent_says_is_kept_and_one_refusal_leaves_the_others() {
        let machine = Machine::new();
        machine.tool("cilium-dbg", "case $1 in status) printf 'KVStore:                 Disabled\\nKubernetes:              Ok         1.36 (v1.36.2) [linux/amd64]\\nKubeProxyReplacement:    True   [eth0]\\nCilium:                  Ok   1.19.4 (v1.19.4-cf4b9c48)\\n';; version) printf 'Client: 1.19.4 cf4b9c48 2026-06-10T15:09:30+08:00 go version go1.25.5 linux/amd64\\nDaemon: 1.19.4 cf4b9c48 2026-06-10T15:09:30+08:00 go version go1.25.5 linux/amd64\\n';; *) echo not now >&2; exit 1;; esac");
        let plan = machine.plan();
        needs(&plan).expect("an agent");
        let recorded = record(&SOURCE, &plan, 2);
        recorded.ended.as_ref().expect("ends when it is told to");
        assert_eq!(recorded.losses.len(), 1);
        assert!(recorded.losses[0].starts_with("config: ") && recorded.losses[0].contains("not now"));
        assert_eq!(recorded.manifest(&SOURCE).versions.get("cilium").map(String::as_str), Some("1.19.4"));
        // The command line for outside of a cluster knows no agent.
        machine.tool("cilium-dbg", "echo 'cilium-cli: v0.16.0'");
        assert!(needs(&machine.plan()).is_err());
    }
}
