//! What a user asks to be recorded.

use std::path::PathBuf;
use std::time::Duration;

/// All that the command line says.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Capture directory; with several replicates, the folder of their directories.
    pub out: PathBuf,
    pub action: Action,
    /// `--for`: how long it lasts where nothing is done, or how long an action may take to settle.
    pub duration: Option<Duration>,
    /// Puts the number of replicas back behind the tail.
    pub reset: bool,
    pub namespace: Option<String>,
    /// Namespace and name.
    pub services: Vec<(String, String)>,
    pub baseline: Duration,
    pub tail: Duration,
    pub repeat: u32,
    /// Names of sources with their cadences.
    pub every: Vec<(String, Duration)>,
    /// Names of sources, and `beacon`.
    pub without: Vec<String>,
    pub probe: Vec<String>,
    pub scrape: Vec<String>,
    pub audit_log: Option<PathBuf>,
    pub kubeconfig: Option<PathBuf>,
    /// Bytes on disk.
    pub max_size: u64,
    /// Share of one core.
    pub max_cpu: f64,
    pub redact: bool,
}

/// What is done to the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Watch,
    /// Sets the number of replicas.
    Scale { workload: Workload, replicas: u32 },
    /// Replaces all pods, as `kubectl rollout restart` does.
    Restart { workload: Workload },
    /// Deletes some pods, without grace as a crash would.
    DeletePods { selector: String, count: u32 },
    /// Runs a command.
    Command { words: Vec<String> },
}

/// A Deployment, StatefulSet or DaemonSet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    pub kind: Kind,
    pub name: String,
}

/// Kinds of workloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Deployment,
    StatefulSet,
    DaemonSet,
}

impl Kind {
    /// As kubectl takes it: in full or short, singular or plural.
    pub fn of(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().split('.').next()? {
            "deploy" | "deployment" | "deployments" => Some(Self::Deployment),
            "sts" | "statefulset" | "statefulsets" => Some(Self::StatefulSet),
            "ds" | "daemonset" | "daemonsets" => Some(Self::DaemonSet),
            _ => None,
        }
    }

    /// The resource in paths of the API.
    pub fn resource(self) -> &'static str {
        match self {
            Self::Deployment => "deployments",
            Self::StatefulSet => "statefulsets",
            Self::DaemonSet => "daemonsets",
        }
    }
}

impl Workload {
    /// `/apis/apps/v1/namespaces/NS/deployments/NAME`.
    pub fn path(&self, namespace: &str) -> String {
        format!("/apis/apps/v1/namespaces/{namespace}/{}/{}", self.kind.resource(), self.name)
    }
}
