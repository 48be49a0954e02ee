//! Flows of Hubble: `hubble observe -o jsonpb --follow` against the agent's own socket, where there are both.
//!
//! The binary is that of this image, else that of the agent's container (its root as `/proc` has it: it is linked
//! statically). Flows of the namespaces under test alone: all of a node would be too many. Headers of HTTP lose what is secret.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::folder::Out;
use super::plan::Plan;
use super::secrets;
use super::source::{Found, Lack, Source};
use super::stop::Stop;

/// Flows.
pub const SOURCE: Source = Source {
    name: "hubble",
    kinds: &["hubble"],
    about: "flows of the namespace under test, by Hubble, where it is on",
    cadence: None,
    prepares: false,
    needs,
    run,
};

/// Where the agent listens.
const SOCKETS: [&str; 2] = ["run/cilium/hubble.sock", "var/run/cilium/hubble.sock"];
/// How often a wait for flows looks whether the recording has ended.
const LOOK: Duration = Duration::from_millis(200);
/// Lines that wait to be written.
const WAITING: usize = 4096;

/// What is needed to observe.
#[derive(Debug, PartialEq, Eq)]
struct Ways {
    binary: PathBuf,
    socket: PathBuf,
}

fn ways(plan: &Plan) -> Result<Ways, Lack> {
    let agents: Vec<u32> = plan
        .proxy
        .processes
        .iter()
        .filter(|process| process.name == "cilium-agent")
        .map(|process| process.pid)
        .collect();
    if agents.is_empty() {
        return Err(Lack::new("no Hubble: no Cilium agent runs here", "nothing where Cilium is not used"));
    }
    // The agent's own view, then that of the machine.
    let roots: Vec<PathBuf> = agents
        .iter()
        .map(|pid| plan.host.proc.join(pid.to_string()).join("root"))
        .chain([plan.host.proc.join("1/root"), PathBuf::from("/")])
        .collect();
    let socket = roots.iter().flat_map(|root| SOCKETS.map(|path| root.join(path))).find(|path| path.exists());
    let Some(socket) = socket else {
        return Err(Lack::new(
            "no Hubble: the agent has no hubble.sock",
            "cilium hubble enable (or --set hubble.enabled=true)",
        ));
    };
    let inside = || roots.iter().map(|root| root.join("usr/bin/hubble")).find(|path| path.exists());
    let Some(binary) = plan.host.tool("hubble").or_else(inside) else {
        return Err(Lack::new(
            "no Hubble: there is no binary `hubble` here or in the agent's container",
            "put hubble into the image",
        ));
    };
    Ok(Ways { binary, socket })
}

fn needs(plan: &Plan) -> Result<Found, Lack> {
    ways(plan).map(|ways| format!("{} at {}", ways.binary.display(), ways.socket.display()))
}

/// Ends the process that it holds when it is dropped, whatever happens in between.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(plan: &Plan, out: &mut Out, stop: &Stop) -> anyhow::Result<()> {
    let ways = ways(plan).map_err(|lack| anyhow::Error::msg(lack.what))?;
    let mut file = out.file("flows/hubble.jsonl")?;
    let mut command = Command::new(&ways.binary);
    command
        .args(["observe", "--follow", "--output", "jsonpb", "--namespace", &plan.namespace, "--server"])
        .arg(format!("unix://{}", ways.socket.display()))
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = Ended(command.spawn().context("hubble cannot be started")?);
    let (stdout, stderr) = (child.0.stdout.take().context("no output")?, child.0.stderr.take().context("no output")?);
    let (sender, receiver) = sync_channel::<Vec<u8>>(WAITING);
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stdout);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            if sender.send(std::mem::take(&mut line)).is_err() {
                return;
            }
        }
    });
    let complaint = std::thread::spawn(move || {
        let mut text = String::new();
        let _ = stderr.take(4096).read_to_string(&mut text);
        text
    });
    loop {
        match receiver.recv_timeout(LOOK) {
            Ok(line) => {
                if let Some(text) = clean(&line) {
                    file.write_line(&text)?;
                    out.tick();
                }
            }
            Err(RecvTimeoutError::Timeout) if stop.is_set() => return Ok(()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) if stop.is_set() => return Ok(()),
            Err(RecvTimeoutError::Disconnected) => {
                drop(child);
                let said = complaint.join().unwrap_or_default();
                bail!("hubble ended: {}", said.lines().next().unwrap_or("it said nothing"));
            }
        }
        if stop.is_set() {
            return Ok(());
        }
    }
}

/// A flow without secrets; null where it is none.
fn clean(line: &[u8]) -> Option<String> {
    let mut flow: Value = serde_json::from_slice(line).ok()?;
    if let Some(headers) = flow.pointer_mut("/flow/l7/http/headers") {
        *headers = Value::Array(Vec::new());
    }
    secrets::of_object(&mut flow);
    Some(flow.to_string())
}

#[cfg(test)]
mod tests {
    use super::{SOURCE, clean, needs};
    use crate::record::folder::Folder;
    use crate::record::host::Host;
    use crate::record::plan::{Plan, Process};
    use crate::record::stop::Stop;
    use std::os::unix::fs::PermissionsExt as _;

    /// A host with an agent, its socket, and a `hubble` that is a script.
    fn plan(folder: &std::path::Path, script: &str) -> Plan {
        let root = folder.join("proc/7/root");
        std::fs::create_dir_all(root.join("run/cilium")).expect("folders");
        std::fs::write(root.join("run/cilium/hubble.sock"), "").expect("a socket");
        let tools = folder.join("tools");
        std::fs::create_dir_all(&tools).expect("a folder");
        std::fs::write(tools.join("hubble"), format!("#!/bin/sh\n{script}\n")).expect("a script");
        std::fs::set_permissions(tools.join("hubble"), std::fs::Permissions::from_mode(0o755)).expect("executable");
        let mut plan = Plan::of(Host { proc: folder.join("proc"), tools: Some(vec![tools]), ..Host::default() });
        plan.proxy.processes = vec![Process { pid: 7, name: "cilium-agent".into() }];
        plan
    }

    #[test]
    fn flows_are_written_and_an_end_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let plan = plan(folder.path(), "echo '{\"flow\":{\"verdict\":\"FORWARDED\"}}'; echo no; echo 'it broke' >&2");
        assert!(needs(&plan).expect("both are there").contains("hubble.sock"));
        let capture = Folder::begin(&folder.path().join("capture"), u64::MAX).expect("a capture");
        // A script that another thread's child still holds open for writing cannot be run for a moment.
        let error = loop {
            let error = (SOURCE.run)(&plan, &mut capture.out("hubble"), &Stop::default()).expect_err("it ended");
            if !format!("{error:#}").contains("busy") {
                break error;
            }
        };
        assert!(error.to_string().contains("it broke"), "{error}");
        assert_eq!(capture.tallies()[0].1.ticks, 1);
    }

    #[test]
    fn what_is_missing_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut plan = plan(folder.path(), "");
        std::fs::remove_file(folder.path().join("tools/hubble")).expect("it was there");
        assert!(needs(&plan).expect_err("no binary").what.contains("no binary"));
        plan.proxy.processes.clear();
        assert!(needs(&plan).expect_err("no agent").what.contains("no Cilium agent"));
    }

    #[test]
    fn headers_do_not_come_along() {
        let text = clean(br#"{"flow":{"l7":{"http":{"url":"/a","headers":[{"key":"Cookie","value":"SECRET"}]}}}}"#)
            .expect("a flow");
        assert!(text.contains("/a") && !text.contains("SECRET"));
        assert_eq!(clean(b"level=warn"), None);
    }
}
