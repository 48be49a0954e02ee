//! The machine that is recorded: where its files lie and how its tools are run. All of it can be replaced, so that tests give a fake one.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// Longest standard error that is kept of a tool, bytes.
const LONGEST_COMPLAINT: u64 = 4096;

/// Where the machine's files lie.
#[derive(Clone, Debug)]
pub struct Host {
    /// `/proc` of the machine: that of PID 1 where the recorder shares its PID namespace.
    pub proc: PathBuf,
    /// `/sys`.
    pub sys: PathBuf,
    /// `/sys/fs/cgroup`.
    pub cgroup: PathBuf,
    /// The network namespace that the proxy programs, where the recorder is not in it: a path such as `/proc/812/ns/net`.
    pub netns: Option<PathBuf>,
    /// Folders that tools are looked for in; null: `PATH`, then the usual ones.
    pub tools: Option<Vec<PathBuf>>,
}

impl Default for Host {
    fn default() -> Self {
        let first = |paths: &[&str]| paths.iter().map(PathBuf::from).find(|path| path.exists());
        // Where the manifest's pod mounts the machine's own.
        let proc = first(&["/host/proc/1", "/proc"]).unwrap_or_default();
        let proc = if proc.ends_with("1") { PathBuf::from("/host/proc") } else { proc };
        let sys = first(&["/host/sys/kernel", "/sys/kernel"]).and_then(|path| path.parent().map(Path::to_path_buf));
        let sys = sys.unwrap_or_else(|| PathBuf::from("/sys"));
        Self { proc, cgroup: sys.join("fs/cgroup"), sys, netns: None, tools: None }
    }
}

impl Host {
    /// Path of a tool.
    pub fn tool(&self, name: &str) -> Option<PathBuf> {
        let usual = ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin"].map(PathBuf::from);
        let folders = self.tools.clone().unwrap_or_else(|| {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path).chain(usual).collect()
        });
        folders.iter().map(|folder| folder.join(name)).find(|path| is_executable(path))
    }

    /// A command, in the recorder's own network namespace.
    ///
    /// # Errors
    /// The tool is not there.
    pub fn command<A: AsRef<OsStr>>(&self, tool: &str, arguments: &[A]) -> anyhow::Result<Command> {
        let path = self.tool(tool).with_context(|| format!("{tool} is not installed"))?;
        let mut command = Command::new(path);
        command.args(arguments).stdin(Stdio::null());
        Ok(command)
    }

    /// A command in the network namespace that the proxy programs.
    ///
    /// # Errors
    /// The tool is not there, or `nsenter` where that is needed.
    pub fn command_in_netns<A: AsRef<OsStr>>(&self, tool: &str, arguments: &[A]) -> anyhow::Result<Command> {
        let Some(netns) = &self.netns else { return self.command(tool, arguments) };
        let path = self.tool(tool).with_context(|| format!("{tool} is not installed"))?;
        let mut net = std::ffi::OsString::from("--net=");
        net.push(netns);
        let mut command = self.command("nsenter", &[net.as_os_str(), OsStr::new("--"), path.as_os_str()])?;
        command.args(arguments);
        Ok(command)
    }

    /// Processes whose command (`/proc/PID/comm`) is one of `names`: pid and name.
    pub fn processes(&self, names: &[&str]) -> Vec<(u32, String)> {
        let Ok(entries) = fs::read_dir(&self.proc) else { return Vec::new() };
        let mut found = Vec::new();
        for entry in entries.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            let Ok(name) = fs::read_to_string(entry.path().join("comm")) else { continue };
            if names.contains(&name.trim_end()) {
                found.push((pid, name.trim_end().to_owned()));
            }
        }
        found.sort_unstable();
        found
    }
}

/// Ends a process that was started with `process_group(0)`, and those that it started.
pub fn end_group(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Runs a command to its end, within a time limit, and gives its standard output.
///
/// # Errors
/// It cannot be started, fails (with what it said), or takes longer than `limit`: then it is ended.
pub fn output(command: &mut Command, limit: Duration) -> anyhow::Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().rsplit('/').next().unwrap_or_default().to_owned();
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own: Ctrl-C is the recorder's to handle, and what a tool started ends with it.
        .process_group(0)
        .spawn()
        .with_context(|| format!("{name} cannot be started"))?;
    let (mut out, err) = (child.stdout.take(), child.stderr.take());
    // Read on threads of their own: a tool that fills one pipe while the other is awaited would hang. A grandchild may hold a pipe
    // open beyond the tool's own end, so that they are awaited for as long as the limit, not joined.
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(out) = &mut out {
            let _ = out.read_to_end(&mut text);
        }
        let _ = sender.send(text);
    });
    let (complaints, complained) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(mut err) = err {
            let _ = err.by_ref().take(LONGEST_COMPLAINT).read_to_end(&mut text);
            let _ = std::io::copy(&mut err, &mut std::io::sink());
        }
        let _ = complaints.send(text);
    });
    let text = receiver.recv_timeout(limit);
    // Its output ended; its end follows at once, but for a tool that closes its output and goes on.
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if text.is_err() || started.elapsed() >= limit {
            break None;
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let Some(status) = status else {
        end_group(&mut child);
        bail!("{name} did not end within {}", super::moment::words(limit));
    };
    if !status.success() {
        let said = complained.recv_timeout(Duration::from_millis(200)).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        bail!("{name} failed ({status}): {}", said.trim().lines().next().unwrap_or("it said nothing"));
    }
    text.with_context(|| format!("{name} holds its output open"))
}

#[cfg(test)]
mod tests {
    use super::{Host, output};
    use std::process::Command;
    use std::time::Duration;

    #[test]
    fn a_tool_that_hangs_fails_or_is_absent_is_told_apart() {
        let run = |script: &str, limit: u64| {
            let limit = Duration::from_millis(limit);
            output(Command::new("/bin/sh").args(["-c", script]), limit).map_err(|error| format!("{error:#}"))
        };
        assert_eq!(run("echo hello", 60_000), Ok(b"hello\n".to_vec()));
        assert!(run("sleep 600", 30).expect_err("it hangs").contains("did not end within 30 ms"));
        assert!(run("echo no such table >&2; exit 3", 60_000).expect_err("it fails").contains("no such table"));
        let host = Host { tools: Some(vec!["/nonexistent".into()]), ..Host::default() };
        let error = host.command("iptables-save", &["-c"]).expect_err("it is not there");
        assert_eq!(error.to_string(), "iptables-save is not installed");
    }

    #[test]
    fn output_larger_than_a_pipe_is_read_whole() {
        let limit = Duration::from_secs(60);
        let text = output(Command::new("/bin/sh").args(["-c", "head -c 1000000 /dev/zero; echo x >&2"]), limit);
        assert_eq!(text.expect("it ends").len(), 1_000_000);
    }

    #[test]
    fn processes_are_found_by_name() {
        let folder = tempfile::tempdir().expect("a folder");
        for (pid, name) in [("812", "kube-proxy\n"), ("9", "sh\n"), ("self", "kube-proxy\n")] {
            std::fs::create_dir(folder.path().join(pid)).expect("a process");
            std::fs::write(folder.path().join(pid).join("comm"), name).expect("its name");
        }
        let host = Host { proc: folder.path().to_owned(), ..Host::default() };
        assert_eq!(host.processes(&["kube-proxy"]), [(812, "kube-proxy".to_owned())]);
    }
}
