//! Logs of the proxies' pods on this node, followed through the API with the runtime's time ahead of each line.
//!
//! ```text
//! 2026-11-23T04:22:33.568612345Z I1123 04:22:33.568529       1 config.go:142] "Calling handler.OnEndpointSliceUpdate"
//! ```
//!
//! A stream breaks off (the API server restarts, the log is rotated, the container ends). It is asked for again from the second of
//! the last line on; what is known already is left out by its time, and of lines with the same time as many as were seen. A
//! container that was restarted is asked for its former log too. A pod that takes another's place is found within seconds.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::Value;
use syncline_schema::loss::RECORDER_GAP;

use super::cluster::api::{Api, ApiError, broke_off};
use super::folder::{File, Out};
use super::moment::Moment;
use super::plan::Plan;
use super::secrets;
use super::source::{Found, Lack, Source};
use super::stop::Stop;
use crate::form::instant::{self, SECOND};

/// The proxies' logs.
pub const SOURCE: Source = Source {
    name: "logs",
    kinds: &["kube-proxy-log", "cilium-log"],
    about: "logs of kube-proxy's and the Cilium agent's pods on this node, followed",
    cadence: None,
    prepares: false,
    needs,
    run,
};

/// Containers whose logs are wanted.
const CONTAINERS: [&str; 2] = ["kube-proxy", "cilium-agent"];
/// A stream that is silent for so long is asked for again, in case the connection is dead.
const QUIET: Duration = Duration::from_secs(60);
/// Time ahead of asking again for one that ended.
const AGAIN: Duration = Duration::from_secs(1);
/// How often new pods are looked for.
const PODS: Duration = Duration::from_secs(10);
/// Longest line.
const LONGEST: u64 = 1 << 20;

/// A container of a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Log {
    namespace: String,
    pod: String,
    container: String,
}

impl Log {
    fn path(&self) -> String {
        format!(
            "/api/v1/namespaces/{}/pods/{}/log?container={}&timestamps=true",
            self.namespace, self.pod, self.container
        )
    }

    fn file(&self) -> String {
        format!("logs/{}.{}.log", self.pod, self.container)
    }
}

fn known(plan: &Plan) -> BTreeSet<Log> {
    let all = plan.proxy.pods.iter().flat_map(|pod| pod.containers.iter().map(move |container| (pod, container)));
    all.filter(|(_, container)| CONTAINERS.contains(&container.name.as_str()))
        .map(|(pod, container)| Log {
            namespace: pod.namespace.clone(),
            pod: pod.name.clone(),
            container: container.name.clone(),
        })
        .collect()
}

fn needs(plan: &Plan) -> Result<Found, Lack> {
    let Some(api) = &plan.api else {
        return Err(Lack::new(
            format!("no logs: {}", plan.no_api),
            "give the recorder an account (`manifest`) or --kubeconfig",
        ));
    };
    let logs = known(plan);
    if logs.is_empty() {
        let remedy = "where the proxy is no pod, save its log by journalctl -u kube-proxy -o short-iso-precise beside the capture";
        return Err(Lack::new("no logs: the API knows no pod of kube-proxy or Cilium on this node", remedy));
    }
    for log in &logs {
        if let Err(error) = api.get(&format!("{}&tailLines=1&limitBytes=4096", log.path())) {
            let remedy = "allow get on pods/log in its namespace (`manifest` prints the Role)";
            return Err(Lack::new(format!("no log of {}: {error}", log.pod), remedy));
        }
    }
    let names: Vec<String> = logs.iter().map(|log| format!("{} ({})", log.pod, log.container)).collect();
    Ok(names.join(", "))
}

/// What a reader has to say of its log.
enum News {
    Line(Log, Vec<u8>),
    /// It broke off at a time (realtime, ns) and came back at another, or not yet.
    Gap {
        log: Log,
        from: i64,
        until: Option<i64>,
        why: String,
    },
}

fn run(plan: &Plan, out: &mut Out, stop: &Stop) -> anyhow::Result<()> {
    let api = Arc::clone(plan.api.as_ref().context("no API server")?);
    let (sender, receiver) = channel();
    let begun = Moment::now().realtime;
    let mut readers = Readers { api: Arc::clone(&api), stop: stop.clone(), sender, followed: BTreeSet::new() };
    for log in known(plan) {
        // A part of what stands there already shows which program writes, and how it was started long ago does not matter.
        readers.follow(log, begun - 2 * SECOND);
    }
    let mut files: Vec<(Log, File)> = Vec::new();
    let mut next = Instant::now() + PODS;
    while !stop.is_set() {
        take(&receiver, out, &mut files, Duration::from_millis(200))?;
        if Instant::now() >= next {
            next = Instant::now() + PODS;
            // Where it cannot be asked the watches say so.
            for log in found(&api, plan).unwrap_or_default() {
                readers.follow(log, begun - 2 * SECOND);
            }
        }
    }
    // Lines that were received and not written; the readers end by themselves.
    while let Ok(true) = take(&receiver, out, &mut files, Duration::ZERO) {}
    Ok(())
}

/// Writes what comes next; true where something came.
fn take(receiver: &Receiver<News>, out: &Out, files: &mut Vec<(Log, File)>, wait: Duration) -> anyhow::Result<bool> {
    match receiver.recv_timeout(wait) {
        Ok(News::Line(log, line)) => {
            let file = match files.iter_mut().find(|(one, _)| *one == log) {
                Some((_, file)) => file,
                None => {
                    let file = out.file(&log.file())?;
                    files.push((log, file));
                    &mut files.last_mut().context("it was added")?.1
                }
            };
            file.write_record(&secrets::of_line(&line))?;
            out.tick();
            Ok(true)
        }
        Ok(News::Gap { log, from, until, why }) => {
            let what = format!("log of {}: {why}", log.pod);
            match until {
                Some(until) => out.lost_between(
                    RECORDER_GAP,
                    0,
                    from,
                    until,
                    format!("{what}; back, and what was written meanwhile was asked for"),
                ),
                None => out.lost(RECORDER_GAP, 1, what),
            }
            Ok(true)
        }
        Err(RecvTimeoutError::Timeout) => Ok(false),
        Err(RecvTimeoutError::Disconnected) => {
            std::thread::sleep(wait);
            Ok(false)
        }
    }
}

/// Pods of this node with a container that is wanted.
fn found(api: &Api, plan: &Plan) -> Option<Vec<Log>> {
    let node = plan.node.as_ref()?;
    let namespaces: BTreeSet<&str> = plan.proxy.pods.iter().map(|pod| pod.namespace.as_str()).collect();
    let mut logs = Vec::new();
    for namespace in namespaces {
        let path = format!("/api/v1/namespaces/{namespace}/pods?fieldSelector=spec.nodeName%3D{node}");
        let list = api.json(&path).ok()?;
        for pod in list["items"].as_array().into_iter().flatten() {
            logs.extend(of_pod(pod));
        }
    }
    Some(logs)
}

fn of_pod(pod: &Value) -> Vec<Log> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    containers
        .map(|container| text(&container["name"]))
        .filter(|name| CONTAINERS.contains(&name.as_str()))
        .map(|container| Log {
            namespace: text(&pod["metadata"]["namespace"]),
            pod: text(&pod["metadata"]["name"]),
            container,
        })
        .collect()
}

/// Threads that follow a log each. Not joined: one that waits for a line would hold up the end; it ends with its connection.
struct Readers {
    api: Arc<Api>,
    stop: Stop,
    sender: Sender<News>,
    followed: BTreeSet<Log>,
}

impl Readers {
    fn follow(&mut self, log: Log, since: i64) {
        if !self.followed.insert(log.clone()) {
            return;
        }
        let (api, stop, sender) = (Arc::clone(&self.api), self.stop.clone(), self.sender.clone());
        let started = std::thread::Builder::new().name("logs".into()).stack_size(256 << 10).spawn({
            let log = log.clone();
            move || reader(&api, &stop, &sender, &log, since)
        });
        if let Err(error) = started {
            self.followed.remove(&log);
            let why = format!("no thread to follow it: {error}");
            let _ = self.sender.send(News::Gap { log, from: Moment::now().realtime, until: None, why });
        }
    }
}

/// Follows a log until the recording ends or the pod is gone.
fn reader(api: &Api, stop: &Stop, sender: &Sender<News>, log: &Log, since: i64) {
    let mut seen = Seen::since(since);
    // Since when it gives nothing, and whether that was told.
    let mut broken: Option<i64> = None;
    let mut former = false;
    while !stop.is_set() {
        if std::mem::take(&mut former) {
            // The container may have been restarted: the end of its former log. There mostly is none, and then this is refused.
            if let Ok(text) = api.get(&format!("{}&previous=true&sinceTime={}", log.path(), seen.asked_from())) {
                let _ = lines(text.as_slice(), &mut seen, log, sender);
            }
        }
        let path = format!("{}&follow=true&sinceTime={}", log.path(), seen.asked_from());
        let why = match api.stream(&path, QUIET) {
            Ok(stream) => {
                if let Some(from) = broken.take() {
                    let until = Some(Moment::now().realtime);
                    let _ = sender.send(News::Gap { log: log.clone(), from, until, why: "it had broken off".into() });
                }
                match lines(stream, &mut seen, log, sender) {
                    // It ended in order: rotated, or the container did.
                    Ok(()) => {
                        former = true;
                        None
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::TimedOut || is_quiet(&error) => None,
                    Err(error) => Some(broke_off(&error)),
                }
            }
            // The pod is gone: another one takes its place, and is found.
            Err(ApiError::Status { code: 404, .. }) => return,
            Err(error) => Some(error.to_string()),
        };
        if let Some(why) = why.filter(|_| !stop.is_set()) {
            former = true;
            if broken.is_none() {
                let from = Moment::now().realtime;
                broken = Some(from);
                if sender.send(News::Gap { log: log.clone(), from, until: None, why }).is_err() {
                    return;
                }
            }
        }
        if !stop.sleep(AGAIN) {
            return;
        }
    }
}

/// Whether a read ended because nothing came for [`QUIET`]: ureq tells it in words of its own.
fn is_quiet(error: &std::io::Error) -> bool {
    error.to_string().contains("timeout")
}

/// Hands on the lines that are new.
fn lines(stream: impl Read, seen: &mut Seen, log: &Log, sender: &Sender<News>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    seen.again();
    loop {
        line.clear();
        let count = reader.by_ref().take(LONGEST).read_until(b'\n', &mut line)?;
        if count == 0 {
            return Ok(());
        }
        if line.last() != Some(&b'\n') {
            if (count as u64) < LONGEST {
                // Cut off in its middle: it comes again, whole.
                return Ok(());
            }
            line.push(b'\n');
        }
        if seen.is_new(&line) && sender.send(News::Line(log.clone(), line.clone())).is_err() {
            return Ok(());
        }
    }
}

/// Up to which line a log was handed on.
#[derive(Debug)]
struct Seen {
    /// Time of the last line, ns.
    last: i64,
    /// How many lines with that time were handed on.
    count: usize,
    /// How many of them came again since the log was asked for again.
    repeated: usize,
}

impl Seen {
    fn since(time: i64) -> Self {
        Self { last: time, count: 0, repeated: 0 }
    }

    /// The log is asked for again.
    fn again(&mut self) {
        self.repeated = 0;
    }

    /// From when on: the API takes whole seconds.
    fn asked_from(&self) -> String {
        let seconds = jiff::Timestamp::from_second(self.last.div_euclid(SECOND)).unwrap_or_default();
        seconds.to_string()
    }

    /// Whether a line is one that was not handed on. One without a time goes on from the line ahead.
    fn is_new(&mut self, line: &[u8]) -> bool {
        let word = line.split(|byte| *byte == b' ').next().unwrap_or_default();
        let Some(time) = instant::rfc3339(word) else { return self.repeated >= self.count };
        match time.cmp(&self.last) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Greater => {
                (self.last, self.count, self.repeated) = (time, 1, 1);
                true
            }
            std::cmp::Ordering::Equal => {
                self.repeated += 1;
                let new = self.repeated > self.count;
                self.count = self.count.max(self.repeated);
                new
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{SOURCE, Seen, needs};
    use crate::record::cluster::api::Api;
    use crate::record::fetch::tests::server;
    use crate::record::folder::Folder;
    use crate::record::host::Host;
    use crate::record::plan::{Container, Plan, Pod};
    use crate::record::stop::Stop;
    use std::io::Read as _;
    use std::sync::Arc;

    #[test]
    fn no_line_is_lost_or_written_twice() {
        let mut seen = Seen::since(0);
        let mut take = |text: &str, again: bool| {
            if again {
                seen.again();
            }
            text.lines()
                .filter(|line| seen.is_new(line.as_bytes()))
                .map(|line| line[31..].to_owned())
                .collect::<Vec<_>>()
        };
        let first =
            "2026-11-23T04:22:33.500000000Z a\n2026-11-23T04:22:33.600000000Z b\n2026-11-23T04:22:33.600000000Z c\n";
        assert_eq!(take(first, true), ["a", "b", "c"]);
        // Asked for again from the second on: all of it comes again, with one more of the same time.
        let again = format!("{first}2026-11-23T04:22:33.600000000Z d\n2026-11-23T04:22:34.000000000Z e\n");
        assert_eq!(take(&again, true), ["d", "e"]);
        assert_eq!(take("2026-11-23T04:22:34.000000000Z e\n", true), Vec::<String>::new());
        assert_eq!(take("2026-11-23T04:22:34.000000000Z f\n", false), ["f"]);
        assert_eq!(seen.asked_from(), "2026-11-23T04:22:34Z");
    }

    fn plan(server: &str) -> Plan {
        let mut plan = Plan::of(Host::default());
        plan.api = Some(Arc::new(Api::plain(server).expect("a URL")));
        let container = Container { name: "kube-proxy".into(), ..Container::default() };
        plan.proxy.pods = vec![Pod {
            namespace: "kube-system".into(),
            name: "kube-proxy-x".into(),
            containers: vec![container],
            ..Pod::default()
        }];
        plan
    }

    #[test]
    fn a_stream_that_breaks_off_is_resumed_and_tokens_stay_out() {
        // Streams end in the middle of a line, are refused, and go on; the former container's log is not there.
        let year = "2126-11-23T04:22";
        let (address, asked) = server(move |number| {
            let text = match number {
                0 => {
                    format!("{year}:33.1Z a\n{year}:33.2Z Authorization: Bearer abcdefghijklmnop0123\n{year}:33.3Z ha")
                }
                1 => return b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_vec(),
                2 => format!(
                    "{year}:33.1Z a\n{year}:33.2Z Authorization: Bearer abcdefghijklmnop0123\n{year}:33.3Z half\n"
                ),
                _ => return b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_vec(),
            };
            format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{text}", text.len()).into_bytes()
        });
        let folder = tempfile::tempdir().expect("a folder");
        let capture = Folder::begin(folder.path(), u64::MAX).expect("a capture");
        let stop = Stop::default();
        let plan = plan(&format!("http://{address}"));
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| (SOURCE.run)(&plan, &mut capture.out("logs"), &stop));
            let paths: Vec<String> = asked.iter().take(4).collect();
            assert!(paths[0].contains("follow=true&sinceTime="), "{paths:?}");
            assert!(paths[1].contains("previous=true&sinceTime=2126-11-23T04:22:33Z"), "{paths:?}");
            stop.set();
            thread.join().expect("no panic").expect("no error");
        });
        capture.finish();
        let mut text = String::new();
        let file = std::fs::File::open(folder.path().join("logs/kube-proxy-x.kube-proxy.log.zst")).expect("the log");
        zstd::Decoder::new(file).expect("zstd").read_to_string(&mut text).expect("text");
        assert_eq!(text, format!("{year}:33.1Z a\n{year}:33.2Z Authorization: Bearer [removed]\n{year}:33.3Z half\n"));
    }

    #[test]
    fn a_missing_right_is_told_with_its_remedy() {
        let (address, _asked) = server(|_| {
            let body = r#"{"reason":"Forbidden","message":"pods \"kube-proxy-x\" is forbidden"}"#;
            format!("HTTP/1.1 403 Forbidden\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
        });
        let lack = needs(&plan(&format!("http://{address}"))).expect_err("it may not");
        assert!(lack.what.contains("Forbidden") && lack.remedy.contains("pods/log"), "{lack}");
        assert!(needs(&Plan::of(Host::default())).expect_err("no API").what.contains("no API server was asked"));
    }
}
