//! Other programs: run with a limit on their time and on what they print, or followed line by line.
//!
//! A tool that hangs is killed, one that dies says so with its last words; neither takes the recorder along.

use std::io::Read;
use std::os::fd::AsFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, kill_process};
use rustix::time::Timespec;

/// Bytes that one reading of a pipe takes.
const BLOCK: usize = 256 << 10;
/// Most bytes that are kept of what a tool says on standard error.
const WORDS: usize = 600;
/// How long a followed tool may take to end when it is asked to, and how often it is looked whether it shall.
const GRACE: Duration = Duration::from_secs(5);
const GLANCE: Duration = Duration::from_millis(200);

/// Why a tool gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("{0} could not be started: {1}")]
    Start(String, std::io::Error),
    #[error("{0} gave no answer within {1:?} and was killed")]
    Hung(String, Duration),
    #[error("{0} ended with {1}: {2}")]
    Failed(String, ExitStatus, String),
    #[error("{0} printed more than {1} bytes")]
    TooLong(String, usize),
    #[error("{0}: {1}")]
    Pipe(String, std::io::Error),
}

impl Fault {
    /// The same of a tool that was run under another name.
    pub fn named(self, name: &str) -> Self {
        let name = name.to_owned();
        match self {
            Fault::Start(_, error) => Fault::Start(name, error),
            Fault::Hung(_, time) => Fault::Hung(name, time),
            Fault::Failed(_, status, words) => Fault::Failed(name, status, words),
            Fault::TooLong(_, bytes) => Fault::TooLong(name, bytes),
            Fault::Pipe(_, error) => Fault::Pipe(name, error),
        }
    }
}

/// What a tool may take.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    pub time: Duration,
    /// Bytes on standard output.
    pub bytes: usize,
}

impl Limit {
    /// For what is small: five seconds, 4 MiB.
    pub const SMALL: Limit = Limit { time: Duration::from_secs(5), bytes: 4 << 20 };
    /// For a whole table: ten seconds, 256 MiB.
    pub const TABLE: Limit = Limit { time: Duration::from_secs(10), bytes: 256 << 20 };
}

/// Runs a tool to its end; what it prints replaces `text`, whose room is used again.
///
/// # Errors
/// A tool that cannot be started, takes too long, prints too much, or does not end well.
pub fn run(command: &mut Command, limit: Limit, text: &mut Vec<u8>) -> Result<(), Fault> {
    let name = name(command);
    text.clear();
    let mut child = Running::start(command, &name)?;
    let deadline = Instant::now() + limit.time;
    let (mut words, mut block) = (Vec::new(), vec![0; BLOCK]);
    while child.is_open() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            child.kill();
            return Err(Fault::Hung(name, limit.time));
        }
        let mut most = false;
        child
            .read(left, &mut block, |is_output, bytes| {
                if is_output {
                    most = text.len() + bytes.len() > limit.bytes;
                    text.extend_from_slice(bytes);
                } else {
                    keep(&mut words, bytes);
                }
            })
            .map_err(|error| Fault::Pipe(name.clone(), error))?;
        if most {
            child.kill();
            return Err(Fault::TooLong(name, limit.bytes));
        }
    }
    match child.wait(deadline) {
        None => {
            child.kill();
            Err(Fault::Hung(name, limit.time))
        }
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(Fault::Failed(name, status, said(&words))),
    }
}

/// Runs a tool until it ends or `ends` says so (then it is interrupted as by ^C); `line` gets whole lines of its standard output, with
/// their line ends, as they come. Gives what it said on standard error.
///
/// # Errors
/// A tool that cannot be started, ends by itself (that too is a fault: it was to go on), or a line that cannot be kept.
pub fn follow(
    name: &str,
    command: &mut Command,
    ends: impl Fn() -> bool,
    mut line: impl FnMut(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<String> {
    let mut child = Running::start(command, name)?;
    let (mut words, mut rest, mut block) = (Vec::new(), Vec::new(), vec![0; BLOCK]);
    let mut asked: Option<Instant> = None;
    while child.is_open() {
        if asked.is_none() && ends() {
            child.interrupt();
            asked = Some(Instant::now());
        }
        if asked.is_some_and(|since| since.elapsed() > GRACE) {
            child.kill();
            break;
        }
        let mut kept = Ok(());
        child.read(GLANCE, &mut block, |is_output, bytes| {
            if !is_output {
                return keep(&mut words, bytes);
            }
            rest.extend_from_slice(bytes);
            if let Some(end) = memchr::memrchr(b'\n', &rest) {
                for one in rest[..=end].split_inclusive(|byte| *byte == b'\n') {
                    if kept.is_ok() {
                        kept = line(one);
                    }
                }
                rest.drain(..=end);
            }
        })?;
        if kept.is_err() {
            child.kill();
            kept?;
        }
    }
    // What stands without a line end is half a line.
    let status = child.wait(Instant::now() + GRACE);
    match (asked, status) {
        (Some(_), _) => Ok(said(&words)),
        (None, Some(status)) => Err(Fault::Failed(name.to_owned(), status, said(&words)).into()),
        (None, None) => Err(Fault::Hung(name.to_owned(), GRACE).into()),
    }
}

/// A child whose pipes are read. Dropped, it is killed: none outlives its source.
struct Running {
    child: Child,
    /// Standard output and standard error, until they end.
    pipes: [Option<Pipe>; 2],
}

enum Pipe {
    Output(std::process::ChildStdout),
    Error(std::process::ChildStderr),
}

impl Pipe {
    fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Pipe::Output(pipe) => pipe.as_fd(),
            Pipe::Error(pipe) => pipe.as_fd(),
        }
    }

    fn read(&mut self, block: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Pipe::Output(pipe) => pipe.read(block),
            Pipe::Error(pipe) => pipe.read(block),
        }
    }
}

impl Running {
    fn start(command: &mut Command, name: &str) -> Result<Self, Fault> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| Fault::Start(name.to_owned(), error))?;
        let output = child.stdout.take();
        if let Some(pipe) = &output {
            // A large table then needs few turns; where it is not allowed, more.
            let _ = rustix::pipe::fcntl_setpipe_size(pipe, 1 << 20);
        }
        let pipes = [output.map(Pipe::Output), child.stderr.take().map(Pipe::Error)];
        Ok(Self { child, pipes })
    }

    fn is_open(&self) -> bool {
        self.pipes.iter().any(Option::is_some)
    }

    /// Waits for something to read, at most `wait`, and hands on what there is.
    fn read(&mut self, wait: Duration, block: &mut [u8], mut take: impl FnMut(bool, &[u8])) -> std::io::Result<()> {
        let ready: Vec<bool> = {
            let mut fds: Vec<PollFd<'_>> =
                self.pipes.iter().flatten().map(|pipe| PollFd::from_borrowed_fd(pipe.fd(), PollFlags::IN)).collect();
            let wait = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
            match poll(&mut fds, Some(&wait)) {
                Ok(_) => fds.iter().map(|fd| !fd.revents().is_empty()).collect(),
                Err(rustix::io::Errno::INTR) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        };
        let mut ready = ready.into_iter();
        for slot in &mut self.pipes {
            let Some(pipe) = slot else { continue };
            if ready.next() != Some(true) {
                continue;
            }
            match pipe.read(block) {
                Ok(0) => *slot = None,
                Ok(count) => take(matches!(pipe, Pipe::Output(_)), &block[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn interrupt(&self) {
        // It may have ended by itself.
        let _ = kill_process(Pid::from_child(&self.child), Signal::INT);
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Its status once it has ended; null where it has not by the deadline.
    fn wait(&mut self, deadline: Instant) -> Option<ExitStatus> {
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            if Instant::now() >= deadline {
                return None;
            }
            // It has closed its pipes: its end is a matter of microseconds.
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.kill();
        }
    }
}

/// The name that messages use.
fn name(command: &Command) -> String {
    std::path::Path::new(command.get_program())
        .file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

fn keep(words: &mut Vec<u8>, bytes: &[u8]) {
    words.extend_from_slice(bytes);
    if words.len() > 2 * WORDS {
        words.drain(..words.len() - WORDS);
    }
}

/// The last words, on one line.
fn said(words: &[u8]) -> String {
    let text = String::from_utf8_lossy(&words[words.len().saturating_sub(WORDS)..]).into_owned();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::{Fault, Limit, follow, run};

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn what_is_printed_is_kept_and_a_bad_end_is_named() {
        let mut text = b"old".to_vec();
        run(&mut shell("seq 1 30000"), Limit::SMALL, &mut text).expect("ends well");
        assert!(text.starts_with(b"1\n2\n") && text.ends_with(b"\n30000\n"));
        let fault = run(&mut shell("echo some; echo no such table >&2; exit 3"), Limit::SMALL, &mut text);
        let words = fault.expect_err("a bad end").to_string();
        assert!(words.contains("no such table") && words.contains('3'), "{words}");
        let fault = run(&mut Command::new("/no/such/tool"), Limit::SMALL, &mut text);
        assert!(matches!(fault, Err(Fault::Start(..))));
    }

    #[test]
    fn one_that_hangs_or_floods_is_killed() {
        let mut text = Vec::new();
        let limit = Limit { time: Duration::from_millis(50), bytes: 1 << 20 };
        assert!(matches!(run(&mut shell("exec sleep 1000"), limit, &mut text), Err(Fault::Hung(..))));
        // It closes its pipes and stays.
        assert!(matches!(run(&mut shell("exec sleep 1000 >&- 2>&-"), limit, &mut text), Err(Fault::Hung(..))));
        let flood = Limit { time: Duration::from_secs(60), bytes: 100 };
        assert!(matches!(run(&mut shell("exec yes"), flood, &mut text), Err(Fault::TooLong(..))));
    }

    #[test]
    fn a_followed_tool_is_interrupted_and_its_last_lines_are_kept() {
        let seen = AtomicUsize::new(0);
        let script = "trap 'echo last; exit 0' INT; echo warned >&2; echo one; while :; do sleep 0.01; done";
        let mut lines = Vec::new();
        let words = follow(
            "sh",
            &mut shell(script),
            || seen.load(Ordering::Relaxed) > 0,
            |line| {
                seen.fetch_add(1, Ordering::Relaxed);
                lines.push(String::from_utf8_lossy(line).into_owned());
                Ok(())
            },
        );
        assert_eq!((words.expect("ends"), lines), ("warned".to_owned(), vec!["one\n".to_owned(), "last\n".to_owned()]));
        // One that ends by itself is a fault, with its words.
        let fault = follow("tool", &mut shell("echo gone >&2"), || false, |_| Ok(()));
        assert!(fault.expect_err("a fault").to_string().contains("tool ended with exit status: 0: gone"));
    }
}
