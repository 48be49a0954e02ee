//! What is done to the cluster: sent by the recorder itself, so that sent and returned lie on its own clock.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::api::{Api, Verb, escaped};
use super::beacon;
use crate::record::asked::{Action, Workload};
use crate::record::moment::Moment;
use crate::record::stop::Stop;

/// What the action gave.
#[derive(Clone, Debug)]
pub struct Done {
    pub sent: Moment,
    pub returned: Moment,
    /// A line of the kind `beacon`, where the answer names the revision that the request made.
    pub beacon: Option<String>,
    /// What was said against it; null where it succeeded.
    pub failed: Option<String>,
}

/// An action that can be carried out: what had to be known ahead of it.
#[derive(Clone, Debug)]
pub struct Ready {
    pub action: Action,
    /// As kubectl would be told, for markers.
    pub words: String,
    /// Replicas ahead of it, of `--scale`.
    pub replicas: Option<u64>,
    /// Pods to delete, by name.
    pods: Vec<String>,
    /// Ready pods of the selector ahead of it.
    pub ready_pods: usize,
}

/// Looks at what an action is about.
///
/// # Errors
/// It cannot be done: no such workload, too few pods, no API server.
pub fn prepare(action: &Action, namespace: &str, api: Option<&Api>) -> anyhow::Result<Ready> {
    let mut ready =
        Ready { action: action.clone(), words: String::new(), replicas: None, pods: Vec::new(), ready_pods: 0 };
    let named = |workload: &Workload| format!("{}/{}", workload.kind.resource(), workload.name);
    let server = || api.context("the action needs the API server");
    match action {
        Action::Watch => {}
        Action::Command { words } => ready.words = words.join(" "),
        Action::Scale { workload, replicas } => {
            let object = server()?
                .json(&workload.path(namespace))
                .with_context(|| format!("{} in {namespace}", named(workload)))?;
            let before = object["spec"]["replicas"].as_u64();
            if before == Some(u64::from(*replicas)) {
                bail!("{} in {namespace} has {replicas} replicas already: nothing would happen", named(workload));
            }
            ready.replicas = before;
            ready.words = format!("kubectl scale -n {namespace} {} --replicas={replicas}", named(workload));
        }
        Action::Restart { workload } => {
            server()?.json(&workload.path(namespace)).with_context(|| format!("{} in {namespace}", named(workload)))?;
            ready.words = format!("kubectl rollout restart -n {namespace} {}", named(workload));
        }
        Action::DeletePods { selector, count } => {
            let pods = pods(server()?, namespace, selector)?;
            let mut names: Vec<String> = pods.iter().filter(|pod| is_ready(pod)).filter_map(name).collect();
            names.sort();
            let wanted = *count as usize;
            if names.len() < wanted {
                bail!(
                    "--delete-pods: {} pods of {selector} are ready in {namespace}, {wanted} were asked for",
                    names.len()
                );
            }
            ready.ready_pods = names.len();
            names.truncate(wanted);
            ready.words = format!("kubectl delete pod -n {namespace} --grace-period=0 --force {}", names.join(" "));
            ready.pods = names;
        }
    }
    Ok(ready)
}

/// The pods of a selector.
///
/// # Errors
/// The API server's.
pub fn pods(api: &Api, namespace: &str, selector: &str) -> anyhow::Result<Vec<Value>> {
    let list = api.json(&format!("/api/v1/namespaces/{namespace}/pods?labelSelector={}", escaped(selector)))?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

/// Whether a pod serves.
pub fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    pod["metadata"]["deletionTimestamp"].is_null()
        && conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
}

fn name(pod: &Value) -> Option<String> {
    pod["metadata"]["name"].as_str().map(str::to_owned)
}

impl Ready {
    /// Does it.
    pub fn perform(&self, namespace: &str, api: Option<&Api>, stop: &Stop) -> Done {
        let sent = Moment::now();
        let answer = self.send(namespace, api, stop);
        let returned = Moment::now();
        let (beacon, failed) = match answer {
            // Only a request that changed something made the revision that its answer names.
            Ok(Some(version)) => (Some(beacon::line("action", &version, sent, returned)), None),
            Ok(None) => (None, None),
            Err(error) => (None, Some(format!("{error:#}"))),
        };
        Done { sent, returned, beacon, failed }
    }

    fn send(&self, namespace: &str, api: Option<&Api>, stop: &Stop) -> anyhow::Result<Option<String>> {
        let server = || api.context("the action needs the API server");
        let revision = |answer: &Value| answer["metadata"]["resourceVersion"].as_str().map(str::to_owned);
        match &self.action {
            Action::Watch => Ok(None),
            Action::Scale { workload, replicas } => {
                Ok(revision(&scale(server()?, workload, namespace, u64::from(*replicas))?))
            }
            Action::Restart { workload } => {
                let now = jiff::Timestamp::now().to_string();
                let body = json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": now}}}}});
                let kind = "application/strategic-merge-patch+json";
                Ok(revision(&server()?.send(Verb::Patch, &workload.path(namespace), kind, &body)?))
            }
            Action::DeletePods { .. } => {
                let body = json!({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0});
                for pod in &self.pods {
                    server()?.send(
                        Verb::Delete,
                        &format!("/api/v1/namespaces/{namespace}/pods/{pod}"),
                        "application/json",
                        &body,
                    )?;
                }
                // The answer shows the pod as it was.
                Ok(None)
            }
            Action::Command { words } => command(words, stop).map(|()| None),
        }
    }
}

/// Sets the number of replicas; the answer is the Scale.
///
/// # Errors
/// The API server's.
pub fn scale(api: &Api, workload: &Workload, namespace: &str, replicas: u64) -> anyhow::Result<Value> {
    let path = format!("{}/scale", workload.path(namespace));
    Ok(api.send(Verb::Patch, &path, "application/merge-patch+json", &json!({"spec": {"replicas": replicas}}))?)
}

/// Runs a command to its end, or the recording's. What it prints goes to standard error.
fn command(words: &[String], stop: &Stop) -> anyhow::Result<()> {
    let Some((program, arguments)) = words.split_first() else { return Ok(()) };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .stdout(std::io::stderr())
        .spawn()
        .with_context(|| format!("{program} cannot be started"))?;
    loop {
        if let Some(status) = child.try_wait()? {
            anyhow::ensure!(status.success(), "{program}: {status}");
            return Ok(());
        }
        if !stop.sleep(Duration::from_millis(5)) {
            let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
            if let Some(pid) = pid {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            }
            bail!("{program}: the recording ended ahead of it");
        }
    }
}
