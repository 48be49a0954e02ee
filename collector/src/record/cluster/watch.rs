//! Objects of the API server: a list, then a watch with the receipt stamp, a file for each resource, of the kind `watch`.
//!
//! ```text
//! list ── LISTED … ── watch ── ADDED MODIFIED … BOOKMARK ──┬─ ended or broke off: resumed where it ended, nothing is missed
//!   └───────────────── 410 Gone, damaged ◀─────────────────┘  (what happened meanwhile was received late, and is named)
//! ```
//!
//! The revision of each list is written too (`kubernetes/reads.jsonl`, of the kind `beacon`).

use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

use serde_json::{Value, json};
use syncline_schema::loss;

use super::api::{ApiError, broke_off, was_silent};
use super::beacon;
use super::facts::pods_path;
use crate::form::instant::SECOND;
use crate::record::folder::{File, Out};
use crate::record::moment::{Moment, seconds};
use crate::record::plan::Plan;
use crate::record::source::{Found, Lack, Source};
use crate::record::stop::Stop;

/// The source.
pub const SOURCE: Source = Source {
    name: "kubernetes",
    kinds: &["watch", "beacon"],
    about: "EndpointSlices, Services, pods, nodes, Leases and Events of the API server, with the time of receipt",
    cadence: None,
    prepares: false,
    needs,
    run,
};

/// Seconds after which the server ends a watch by itself.
const LASTS: u64 = 290;
/// What comes so soon behind the beginning of a watch had waited for it, ns.
const SOON: i64 = 2 * SECOND;
/// First and longest wait ahead of another try.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));
/// Longest event, bytes: etcd takes objects of 1.5 MB.
const LONGEST: u64 = 16 << 20;
/// Objects of one page of a list.
const PAGE: u32 = 500;

/// One resource.
#[derive(Clone, Debug)]
struct Resource {
    /// Stem of its file.
    name: &'static str,
    /// Paths to try, the best first: older servers do not know it.
    paths: Vec<String>,
    kind: &'static str,
    /// Whether its changes are what an action begins.
    matters: bool,
}

fn resources(plan: &Plan) -> Vec<Resource> {
    let one = |name, kind, path: String| Resource { name, paths: vec![path], kind, matters: false };
    let mut found = vec![
        Resource {
            name: "endpointslices",
            paths: ["v1", "v1beta1"].map(|version| format!("/apis/discovery.k8s.io/{version}/endpointslices")).to_vec(),
            kind: "EndpointSlice",
            matters: true,
        },
        one("services", "Service", "/api/v1/services".to_owned()),
        one("nodes", "Node", "/api/v1/nodes".to_owned()),
        one("leases", "Lease", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases".to_owned()),
        one("proxy-pods", "Pod", pods_path(plan)),
    ];
    let mut namespaces: Vec<&str> = plan.services.iter().map(|service| service.namespace.as_str()).collect();
    namespaces.push(&plan.namespace);
    namespaces.sort_unstable();
    namespaces.dedup();
    for namespace in namespaces {
        found.push(one("pods", "Pod", format!("/api/v1/namespaces/{namespace}/pods")));
        found.push(one("events", "Event", format!("/api/v1/namespaces/{namespace}/events")));
    }
    found
}

fn needs(plan: &Plan) -> Result<Found, Lack> {
    let Some(api) = &plan.api else {
        return Err(Lack::new(
            format!("no API server ({})", plan.no_api),
            "give --kubeconfig, or run in a pod with the account that `manifest` prints",
        ));
    };
    let mut error = String::new();
    for path in &resources(plan)[0].paths {
        match api.get(&format!("{path}?limit=1")) {
            Ok(_) => return Ok(format!("{} by {}", api.server(), api.account())),
            Err(found) => error = found.to_string(),
        }
    }
    Err(Lack::new(
        format!("EndpointSlices cannot be read ({error})"),
        "bind the ClusterRole that `manifest` prints to the account",
    ))
}

fn run(plan: &Plan, out: &mut Out, stop: &Stop) -> anyhow::Result<()> {
    std::thread::scope(|scope| {
        for resource in resources(plan) {
            let out = out.clone();
            scope.spawn(move || {
                let mut watch = Watch {
                    plan,
                    out: &out,
                    stop,
                    resource: &resource,
                    path: String::new(),
                    version: String::new(),
                    gap: None,
                    silent: None,
                };
                if let Err(error) = watch.keep() {
                    out.lost(loss::RECORDER_GAP, 1, format!("{}: {error:#}", resource.name));
                }
            });
        }
    });
    if stop.is_set() { Ok(()) } else { Err(anyhow::anyhow!("no resource could be watched")) }
}

/// How a watch ended, and why.
enum Ended {
    /// The server ended it, as it does after a while.
    Quietly,
    /// Nothing came for long since a time, ns: nothing happened, or the connection is dead.
    Silently(i64),
    /// It may go on where it ended; silent since a time, ns.
    Resumed(String, i64),
    /// What came since cannot be had: a list is needed.
    Gone(String),
}

/// A stretch in which nothing was received.
struct Gap {
    from: i64,
    what: String,
    /// Whether something was missed, or received late only.
    missed: bool,
}

struct Watch<'a> {
    plan: &'a Plan,
    out: &'a Out,
    stop: &'a Stop,
    resource: &'a Resource,
    /// The one of the resource's paths that the server knows; empty ahead of the first list.
    path: String,
    /// Revision to go on from.
    version: String,
    gap: Option<Gap>,
    /// Since when (ns) the last watch was silent, until the next one tells whether something had happened meanwhile.
    silent: Option<i64>,
}

impl Watch<'_> {
    fn keep(&mut self) -> anyhow::Result<()> {
        let mut file = self.out.file(&format!("kubernetes/{}.jsonl", self.resource.name))?;
        let mut listed = false;
        let mut pause = PAUSES.0;
        while !self.stop.is_set() {
            let ended = if listed { self.watch(&mut file)? } else { Ended::Quietly };
            let gap = match ended {
                Ended::Resumed(what, from) => Gap { from, what, missed: false },
                Ended::Gone(what) => {
                    listed = false;
                    Gap { from: Moment::now().realtime, what, missed: true }
                }
                Ended::Silently(since) => {
                    self.silent.get_or_insert(since);
                    continue;
                }
                Ended::Quietly if listed => {
                    pause = PAUSES.0;
                    continue;
                }
                Ended::Quietly => match self.list(&mut file) {
                    Ok(()) => {
                        listed = true;
                        pause = PAUSES.0;
                        self.over(true);
                        continue;
                    }
                    Err(ApiError::Status { code: code @ (401 | 403), message, .. }) if self.path.is_empty() => {
                        let what =
                            format!("{}: {code}, {message}; bind the roles that `manifest` prints", self.resource.name);
                        self.out.lost(loss::SOURCE_NOT_RECORDED, 1, what);
                        return Ok(());
                    }
                    Err(error) => Gap { from: Moment::now().realtime, what: error.to_string(), missed: true },
                },
            };
            if self.stop.is_set() {
                break;
            }
            match &mut self.gap {
                Some(open) => open.missed |= gap.missed,
                None => self.gap = Some(gap),
            }
            if !self.stop.sleep(pause) {
                break;
            }
            pause = (pause * 2).min(PAUSES.1);
        }
        self.over(false);
        Ok(())
    }

    /// Names a gap that is over: the watch is back, or the recording has ended.
    fn over(&mut self, back: bool) {
        let Some(gap) = self.gap.take() else { return };
        let (loss, end) = if !back {
            (loss::WATCH_GAP, "not back until the recording ended")
        } else if gap.missed {
            (loss::WATCH_GAP, "listed anew; what came and went meanwhile was not seen")
        } else {
            (loss::RECORDER_GAP, "resumed where it ended; what happened meanwhile was received late")
        };
        let what = format!("{}: {}; {end}", self.resource.name, gap.what);
        self.out.lost_between(loss, 1, gap.from, Moment::now().realtime.max(gap.from), what);
    }

    /// Behind a silent watch: names the stretch where an event shows that the connection was dead.
    fn waited(&mut self, opened: i64, received: i64) {
        if let Some(since) = self.silent.take()
            && received - opened < SOON
        {
            let what =
                format!("{}: the connection was dead; what happened meanwhile was received late", self.resource.name);
            self.out.lost_between(loss::RECORDER_GAP, 1, since, opened, what);
        }
    }

    /// Lists all objects, page by page.
    fn list(&mut self, file: &mut File) -> Result<(), ApiError> {
        let api = self.plan.api.as_ref().ok_or_else(|| ApiError::Unreachable(self.plan.no_api.clone()))?;
        let mut last = ApiError::Unreachable("no path".to_owned());
        for path in &self.resource.paths {
            let join = if path.contains('?') { '&' } else { '?' };
            let mut page = format!("{path}{join}limit={PAGE}");
            let mut first = true;
            loop {
                let sent = Moment::now();
                let list = match api.json(&page) {
                    Ok(list) => list,
                    Err(error) if first && error.code() == Some(404) => {
                        last = error;
                        break;
                    }
                    Err(error) => return Err(error),
                };
                let returned = Moment::now();
                let version = list["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
                if first {
                    let line = beacon::line("read", &version, sent, returned);
                    self.out
                        .file("kubernetes/reads.jsonl")
                        .and_then(|mut reads| reads.write_line(&line))
                        .map_err(unwritten)?;
                    self.version.clone_from(&version);
                }
                let api_version = list["apiVersion"].as_str().unwrap_or_default().to_owned();
                let items = list["items"].as_array().map_or(&[][..], Vec::as_slice);
                for item in items {
                    let mut object = item.clone();
                    object["kind"] = self.resource.kind.into();
                    object["apiVersion"] = api_version.as_str().into();
                    self.write(file, returned.realtime, "LISTED", object).map_err(unwritten)?;
                }
                first = false;
                match list["metadata"]["continue"].as_str().filter(|text| !text.is_empty()) {
                    Some(next) => page = format!("{path}{join}limit={PAGE}&continue={}", super::api::escaped(next)),
                    None => {
                        self.path.clone_from(path);
                        return Ok(());
                    }
                }
            }
        }
        Err(last)
    }

    /// Watches until it ends.
    fn watch(&mut self, file: &mut File) -> anyhow::Result<Ended> {
        let now = || Moment::now().realtime;
        let Some(api) = &self.plan.api else { return Ok(Ended::Resumed(self.plan.no_api.clone(), now())) };
        let join = if self.path.contains('?') { '&' } else { '?' };
        let path = format!(
            "{}{join}watch=1&allowWatchBookmarks=true&timeoutSeconds={LASTS}&resourceVersion={}",
            self.path, self.version
        );
        let stream = match api.stream(&path, self.plan.silence) {
            Ok(stream) => stream,
            Err(error) if error.code() == Some(410) => return Ok(Ended::Gone(error.to_string())),
            Err(error) => return Ok(Ended::Resumed(error.to_string(), now())),
        };
        self.over(true);
        let opened = now();
        let mut heard = opened;
        let mut reader = BufReader::with_capacity(64 << 10, stream);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = (&mut reader).take(LONGEST).read_until(b'\n', &mut line);
            let received = now();
            match read {
                Ok(0) => return Ok(Ended::Quietly),
                Ok(_) => {}
                Err(error) if was_silent(&error) => return Ok(Ended::Silently(heard)),
                // The connection may have been dead since it was last heard of.
                Err(error) => return Ok(Ended::Resumed(broke_off(&error), heard)),
            }
            let ended = line.ends_with(b"\n");
            let Ok(mut event) = serde_json::from_slice::<Value>(&line) else {
                let what =
                    if ended { "an event that is no JSON" } else { "the connection ended in the middle of an event" };
                return Ok(if ended { Ended::Gone(what.to_owned()) } else { Ended::Resumed(what.to_owned(), heard) });
            };
            heard = received;
            let kind = event["type"].as_str().unwrap_or_default().to_owned();
            let object = event["object"].take();
            if kind == "ERROR" {
                let words = format!("{} {}", object["code"], object["message"].as_str().unwrap_or_default());
                return Ok(Ended::Gone(words.trim().to_owned()));
            }
            if let Some(version) = object["metadata"]["resourceVersion"].as_str() {
                version.clone_into(&mut self.version);
            }
            self.out.tick();
            if kind != "BOOKMARK" {
                self.waited(opened, received);
                if self.resource.matters {
                    self.out.changed();
                }
            }
            self.write(file, received, &kind, object)?;
        }
    }

    fn write(&self, file: &mut File, received: i64, kind: &str, mut object: Value) -> std::io::Result<()> {
        super::super::secrets::of_object(&mut object);
        strip(&mut object);
        // Written by hand: the stamp keeps all its digits.
        let event = json!({"type": kind, "object": object});
        file.write_line(&format!("{{\"received\":{},\"event\":{event}}}", seconds(received)))
    }
}

fn unwritten(error: std::io::Error) -> ApiError {
    ApiError::Unreachable(format!("the capture cannot be written: {error}"))
}

/// Takes out what is no part of a dataplane, and may hold secrets nevertheless: commands with their arguments.
fn strip(object: &mut Value) {
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        let containers = object.pointer_mut(&format!("/spec/{list}")).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
            for key in ["command", "args", "lifecycle", "livenessProbe", "startupProbe"] {
                container.remove(key);
            }
        }
    }
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
        // Of a node: hundreds of names.
        status.remove("images");
    }
}
