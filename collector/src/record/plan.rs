//! What is to be recorded, and what is known of the cluster and the machine ahead of it. Every source is given it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::cluster::api::Api;
use super::host::Host;

/// Of one recording.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Namespace of the workload under test.
    pub namespace: String,
    /// The Services under test: those of `--service`, else those of the namespace. What the cluster said of them.
    pub services: Vec<Service>,
    /// Whether `--service` named them: then sources record these alone where that costs less.
    pub named: bool,
    /// Cadences by the name of the source; ask [`Plan::every`].
    pub cadences: BTreeMap<String, Duration>,
    /// URLs of `--scrape`.
    pub scrape: Vec<String>,
    /// `URL` or `URL@RATE` of `--probe`, as they were typed.
    pub probe: Vec<String>,
    /// `--audit-log`.
    pub audit_log: Option<PathBuf>,
    /// `--kubeconfig`.
    pub kubeconfig: Option<PathBuf>,
    /// Name of the node that the recorder runs on.
    pub node: Option<String>,
    /// The API server, where it answers.
    pub api: Option<Arc<Api>>,
    /// Longest that a watch may be silent until it is begun anew: most API servers send a bookmark each minute.
    pub silence: Duration,
    /// Why `api` is absent; empty where it is there.
    pub no_api: String,
    /// The machine.
    pub host: Host,
    /// The proxy of this node.
    pub proxy: Proxy,
    /// How much slower than asked the sources look, in thousandths (1000: as asked), so that the recorder costs no more than `--max-cpu`.
    pub slowness: Arc<AtomicU32>,
}

/// A Service and where it answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    pub namespace: String,
    pub name: String,
    /// ClusterIPs; none of a headless Service, or where the API could not be asked.
    pub ips: Vec<IpAddr>,
    /// Its ports.
    pub ports: Vec<Port>,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Empty where it has none.
    pub name: String,
    /// `TCP`, `UDP`, `SCTP`.
    pub protocol: String,
    pub port: u16,
    /// Null where it has none.
    pub node_port: Option<u16>,
}

/// What serves Services on this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxy {
    /// `kube-proxy-iptables` and so on, where it is known.
    pub dataplane: Option<String>,
    /// Processes on this machine.
    pub processes: Vec<Process>,
    /// Pods on this node, as the API names them.
    pub pods: Vec<Pod>,
}

/// A process of the proxy, as found when the recording began: it may have been restarted since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    /// `kube-proxy`, `cilium-agent`.
    pub name: String,
}

/// A pod of the proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub ip: Option<IpAddr>,
    pub containers: Vec<Container>,
}

/// A container of such a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    pub name: String,
    pub image: String,
    /// As the API gives it, with the runtime ahead (`containerd://…`); empty where it does not run.
    pub id: String,
}

impl Plan {
    /// A plan of nothing on a machine: what tests begin with.
    pub fn of(host: Host) -> Self {
        Self {
            namespace: "default".to_owned(),
            services: Vec::new(),
            named: false,
            cadences: BTreeMap::new(),
            scrape: Vec::new(),
            probe: Vec::new(),
            audit_log: None,
            kubeconfig: None,
            node: None,
            api: None,
            silence: Duration::from_secs(100),
            no_api: "no API server was asked".to_owned(),
            host,
            proxy: Proxy::default(),
            slowness: Arc::new(AtomicU32::new(1000)),
        }
    }

    /// How often a source is to look now: what `--every` or the source says, slowed down where the recorder costs too much. Ask
    /// it ahead of each reading. A source without a cadence gets a second.
    pub fn every(&self, source: &str) -> Duration {
        self.asked(source).saturating_mul(self.slowness.load(Ordering::Relaxed)) / 1000
    }

    /// As asked, whatever it costs: for what all bounds rest on.
    pub fn asked(&self, source: &str) -> Duration {
        self.cadences.get(source).copied().unwrap_or(Duration::from_secs(1))
    }
}
