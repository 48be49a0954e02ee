//! What is asked of the cluster and the machine once, ahead of the recording: the node, the Services under test, the proxy, versions.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::api::{Api, escaped};
use crate::record::asked::Asked;
use crate::record::host::Host;
use crate::record::plan::{Container, Plan, Pod, Port, Process, Proxy, Service};
use crate::record::sources::SOURCES;

/// Programs that serve Services.
const PROXIES: [&str; 2] = ["kube-proxy", "cilium-agent"];

/// What was learnt.
#[derive(Clone, Debug)]
pub struct Known {
    pub plan: Plan,
    /// Versions by component, as `capture.toml` states them.
    pub versions: BTreeMap<String, String>,
    /// What could not be learnt, in words.
    pub unknown: Vec<String>,
}

/// Asks the API server, where it answers, and looks at the machine.
pub fn learn(asked: &Asked, host: Host) -> Known {
    let mut plan = Plan::of(host);
    let mut versions = BTreeMap::new();
    let mut unknown = Vec::new();
    plan.probe.clone_from(&asked.probe);
    plan.scrape.clone_from(&asked.scrape);
    plan.audit_log.clone_from(&asked.audit_log);
    plan.kubeconfig.clone_from(&asked.kubeconfig);
    plan.named = !asked.services.is_empty();
    plan.cadences = SOURCES.iter().filter_map(|source| Some((source.name.to_owned(), source.cadence?))).collect();
    plan.cadences.extend(asked.every.iter().cloned());
    if let Ok(release) = fs::read_to_string(plan.host.proc.join("sys/kernel/osrelease")) {
        versions.insert("linux".to_owned(), release.trim().to_owned());
    }
    let reached = Api::find(asked.kubeconfig.as_deref()).and_then(|api| {
        let version = api.json("/version").map_err(|error| format!("{}: {error}", api.server()))?;
        Ok((api, version))
    });
    match reached {
        Ok((api, version)) => {
            version_of("kubernetes", version["gitVersion"].as_str(), &mut versions);
            plan.api = Some(Arc::new(api));
            plan.no_api = String::new();
        }
        Err(error) => plan.no_api = error,
    }
    let api = plan.api.clone();
    let context = api.as_ref().filter(|api| !api.is_in_pod()).and_then(|api| api.namespace().map(str::to_owned));
    plan.namespace = asked.namespace.clone().or(context).unwrap_or_else(|| "default".to_owned());
    plan.services = asked
        .services
        .iter()
        .map(|(namespace, name)| Service { namespace: namespace.clone(), name: name.clone(), ..Service::default() })
        .collect();
    processes(&mut plan);
    if let Some(api) = &api {
        services(api, &mut plan, &mut unknown);
        node(api, &mut plan, &mut versions, &mut unknown);
        pods(api, &mut plan, &mut versions, &mut unknown);
    }
    plan.proxy.dataplane = dataplane(&plan);
    Known { plan, versions, unknown }
}

fn version_of(component: &str, version: Option<&str>, versions: &mut BTreeMap<String, String>) {
    let version = version.map(|version| version.trim_start_matches('v')).filter(|version| !version.is_empty());
    if let Some(version) = version {
        versions.insert(component.to_owned(), version.to_owned());
    }
}

/// The proxy's processes, and the network namespace that they program.
fn processes(plan: &mut Plan) {
    let net = |pid: &str| fs::read_link(plan.host.proc.join(pid).join("ns/net")).ok();
    let own = net("self");
    let mut found = plan.host.processes(&PROXIES);
    // Where several nodes run on one machine (kind), the one whose namespace the recorder was started in is meant.
    if found.iter().any(|(pid, _)| net(&pid.to_string()) == own) {
        found.retain(|(pid, _)| net(&pid.to_string()) == own);
    } else if let Some((pid, _)) = found.first() {
        plan.host.netns =
            Some(plan.host.proc.join(pid.to_string()).join("ns/net")).filter(|path| fs::read_link(path).is_ok());
    }
    let processes = found.into_iter().map(|(pid, name)| Process { pid, name }).collect();
    plan.proxy = Proxy { processes, ..Proxy::default() };
}

fn services(api: &Api, plan: &mut Plan, unknown: &mut Vec<String>) {
    if !plan.named {
        match api.json(&format!("/api/v1/namespaces/{}/services", plan.namespace)) {
            Ok(list) => plan.services = items(&list).iter().filter_map(service).collect(),
            Err(error) => unknown.push(format!("Services of namespace {}: {error}", plan.namespace)),
        }
        return;
    }
    for one in &mut plan.services {
        match api.json(&format!("/api/v1/namespaces/{}/services/{}", one.namespace, one.name)) {
            Ok(found) => *one = service(&found).unwrap_or_else(|| one.clone()),
            Err(error) => unknown.push(format!("Service {}/{}: {error}", one.namespace, one.name)),
        }
    }
}

fn items(list: &Value) -> &[Value] {
    list["items"].as_array().map_or(&[], Vec::as_slice)
}

fn service(object: &Value) -> Option<Service> {
    let spec = &object["spec"];
    let mut ips: Vec<IpAddr> = spec["clusterIPs"]
        .as_array()
        .map(|ips| ips.iter().filter_map(|ip| ip.as_str()?.parse().ok()).collect())
        .unwrap_or_default();
    if ips.is_empty() {
        ips.extend(spec["clusterIP"].as_str().and_then(|ip| ip.parse::<IpAddr>().ok()));
    }
    let number = |value: &Value| value.as_u64().and_then(|number| u16::try_from(number).ok());
    let ports = spec["ports"].as_array().map_or(&[][..], Vec::as_slice).iter().filter_map(|port| {
        Some(Port {
            name: port["name"].as_str().unwrap_or_default().to_owned(),
            protocol: port["protocol"].as_str().unwrap_or("TCP").to_owned(),
            port: number(&port["port"])?,
            node_port: number(&port["nodePort"]).filter(|port| *port > 0),
        })
    });
    Some(Service {
        namespace: object["metadata"]["namespace"].as_str()?.to_owned(),
        name: object["metadata"]["name"].as_str()?.to_owned(),
        ips,
        ports: ports.collect(),
    })
}

/// The node that the recorder runs on: by `NODE_NAME` (the manifest sets it), by the host's name, by an address of its own, or the only one.
fn node(api: &Api, plan: &mut Plan, versions: &mut BTreeMap<String, String>, unknown: &mut Vec<String>) {
    let stated = std::env::var("NODE_NAME").ok().filter(|name| !name.is_empty());
    let list = match api.json("/api/v1/nodes") {
        Ok(list) => list,
        Err(error) => {
            unknown.push(format!("nodes: {error}"));
            plan.node = stated;
            return;
        }
    };
    let host = fs::read_to_string(plan.host.proc.join("sys/kernel/hostname")).unwrap_or_default();
    let own = addresses(&plan.host.proc.join("self/net/fib_trie"));
    let nodes = items(&list);
    let name = |node: &Value| node["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let label =
        |node: &Value| node["metadata"]["labels"]["kubernetes.io/hostname"].as_str().unwrap_or_default().to_owned();
    let here = |node: &&Value| {
        node["status"]["addresses"].as_array().is_some_and(|all| {
            all.iter().any(|one| {
                one["address"].as_str().and_then(|ip| ip.parse().ok()).is_some_and(|ip: IpAddr| own.contains(&ip))
            })
        })
    };
    let found = match &stated {
        Some(stated) => nodes.iter().find(|node| name(node) == *stated),
        None => nodes
            .iter()
            .find(|node| name(node) == host.trim() || label(node) == host.trim())
            .or_else(|| nodes.iter().find(here))
            .or_else(|| nodes.first().filter(|_| nodes.len() == 1)),
    };
    plan.node = found.map(name).or(stated);
    let Some(found) = found else {
        unknown.push("which node this is: set NODE_NAME".to_owned());
        return;
    };
    let info = &found["status"]["nodeInfo"];
    version_of("kubelet", info["kubeletVersion"].as_str(), versions);
    if let Some((name, version)) = info["containerRuntimeVersion"].as_str().and_then(|text| text.split_once("://"))
        && ["containerd", "cri-o", "docker"].contains(&name)
    {
        version_of(name, Some(version), versions);
    }
}

/// Addresses of this machine, from the kernel's table of routes: the lines ahead of `/32 host LOCAL`.
fn addresses(path: &Path) -> Vec<IpAddr> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut last = None;
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(address) = line.trim_start().strip_prefix("|-- ") {
            last = address.trim().parse::<IpAddr>().ok();
        } else if line.contains("host LOCAL") {
            found.extend(last.filter(|address| !address.is_loopback() && !found.contains(address)));
        }
    }
    found
}

/// Path of the list of the proxies' pods: of this node where it is known.
pub fn pods_path(plan: &Plan) -> String {
    let labels = escaped("k8s-app in (kube-proxy,cilium)");
    let field = plan.node.as_ref().map(|node| format!("&fieldSelector={}", escaped(&format!("spec.nodeName={node}"))));
    format!("/api/v1/pods?labelSelector={labels}{}", field.unwrap_or_default())
}

fn pods(api: &Api, plan: &mut Plan, versions: &mut BTreeMap<String, String>, unknown: &mut Vec<String>) {
    let list = match api.json(&pods_path(plan)) {
        Ok(list) => list,
        Err(error) => return unknown.push(format!("the proxies' pods: {error}")),
    };
    plan.proxy.pods = items(&list).iter().filter_map(pod).collect();
    for container in plan.proxy.pods.iter().flat_map(|pod| &pod.containers) {
        let program = ["kube-proxy", "cilium"].into_iter().find(|name| container.name.starts_with(name));
        let tag = container.image.split('@').next().and_then(|image| image.rsplit_once(':')).map(|(_, tag)| tag);
        let tag = tag.filter(|tag| tag.trim_start_matches('v').starts_with(|letter: char| letter.is_ascii_digit()));
        if let Some(program) = program {
            version_of(program, tag, versions);
        }
    }
}

fn pod(object: &Value) -> Option<Pod> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let states = object["status"]["containerStatuses"].as_array().map_or(&[][..], Vec::as_slice);
    let containers =
        object["spec"]["containers"].as_array().map_or(&[][..], Vec::as_slice).iter().map(|one| Container {
            name: text(&one["name"]),
            image: text(&one["image"]),
            id: states
                .iter()
                .find(|state| state["name"] == one["name"])
                .map(|state| text(&state["containerID"]))
                .unwrap_or_default(),
        });
    Some(Pod {
        namespace: object["metadata"]["namespace"].as_str()?.to_owned(),
        name: object["metadata"]["name"].as_str()?.to_owned(),
        uid: text(&object["metadata"]["uid"]),
        ip: object["status"]["podIP"].as_str().and_then(|ip| ip.parse().ok()),
        containers: containers.collect(),
    })
}

/// Which dataplane serves Services here; null where that is not certain.
fn dataplane(plan: &Plan) -> Option<String> {
    let runs = |program: &str, container: &str| {
        let pods = plan.proxy.pods.iter().flat_map(|pod| &pod.containers);
        plan.proxy.processes.iter().any(|process| process.name == program)
            || pods.into_iter().any(|one| one.name == container)
    };
    match (runs("kube-proxy", "kube-proxy"), runs("cilium-agent", "cilium-agent")) {
        (true, false) => {
            // kube-proxy says it itself, beside its metrics, in the namespace that it programs.
            let here = plan.host.netns.is_none();
            let mode = here.then(|| Api::plain("http://127.0.0.1:10249").ok()?.get("/proxyMode").ok()).flatten()?;
            let mode = String::from_utf8(mode).ok()?;
            ["iptables", "nftables", "ipvs"].contains(&mode.trim()).then(|| format!("kube-proxy-{}", mode.trim()))
        }
        (false, true) => Some("cilium".to_owned()),
        // Cilium beside kube-proxy may leave some Services to it.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{addresses, pod, service};

    #[test]
    fn addresses_are_read_from_the_kernels_table() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("fib_trie");
        let text = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 172.30.0.0\n        /24 link UNICAST\n     |-- 172.30.0.1\n        /32 host LOCAL\n     |-- 127.0.0.1\n        /32 host LOCAL\n     |-- 172.30.0.255\n        /32 link BROADCAST\n";
        std::fs::write(&path, text).expect("written");
        assert_eq!(addresses(&path), ["172.30.0.1".parse::<std::net::IpAddr>().expect("an address")]);
    }

    #[test]
    fn objects_are_read_as_far_as_they_go() {
        let text = r#"{"metadata":{"namespace":"default","name":"test"},"spec":{"clusterIP":"10.96.100.100","ports":[{"port":80,"nodePort":0},{"port":99999}]}}"#;
        let found = service(&serde_json::from_str(text).expect("JSON")).expect("a Service");
        assert_eq!((found.ips.len(), found.ports.len(), found.ports[0].node_port), (1, 1, None));
        assert_eq!(service(&serde_json::json!([])), None);
        assert_eq!(pod(&serde_json::json!({"metadata": 7})), None);
    }
}
