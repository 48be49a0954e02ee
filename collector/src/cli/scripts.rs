//! `scripts`: the bpftrace scripts, tailored to Services.

use std::fs;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::Value;
use syncline_schema::printable::tell;

use crate::record::cluster::api::Api;
use crate::record::node::scripts::{self, Target};

/// Arguments of `scripts`.
#[derive(Args, Debug)]
pub struct ScriptsArguments {
    /// Service to look at; its addresses are asked of the API; repeatable
    #[arg(long = "service", value_name = "NS/NAME")]
    services: Vec<String>,
    /// Address to look at; repeatable
    #[arg(long = "ip", value_name = "IP:PORT")]
    addresses: Vec<SocketAddr>,
    /// Write a file for each script (default: print them)
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How to reach the API (default: as kubectl does)
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

/// Prints the scripts, or writes them to files.
///
/// # Errors
/// A Service that the API does not tell, a folder that cannot be written.
pub fn run(arguments: &ScriptsArguments) -> anyhow::Result<ExitCode> {
    let mut targets: Vec<Target> =
        arguments.addresses.iter().map(|at| Target { name: at.to_string(), at: *at }).collect();
    if !arguments.services.is_empty() {
        targets.extend(of_services(arguments)?);
    }
    // Where no tracefs tells what this kernel has, the scripts are for another machine: whole.
    let known = scripts::tracepoints(Path::new("/sys"));
    if known.is_none() {
        tell(format_args!(
            "tracefs is not mounted here: the scripts have all their probes, whether the kernel has them or not"
        ));
    }
    let has = |name: &str| known.as_ref().is_none_or(|has| has(name));
    for script in scripts::all(&targets, &has) {
        if !script.traces {
            tell(format_args!("{}: left out, since this kernel has none of its tracepoints", script.name));
            continue;
        }
        match &arguments.out {
            None => write!(std::io::stdout(), "// ---- {}\n{}\n", script.name, script.text)?,
            Some(folder) => {
                fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
                let path = folder.join(script.name);
                fs::write(&path, &script.text).with_context(|| path.display().to_string())?;
                let stem = script.name.trim_end_matches(".bt");
                tell(format_args!("bpftrace -B line {} > {stem}.txt", path.display()));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Addresses of the Services that were named, as the API tells them.
fn of_services(arguments: &ScriptsArguments) -> anyhow::Result<Vec<Target>> {
    let api = Api::find(arguments.kubeconfig.as_deref()).map_err(anyhow::Error::msg)?;
    let mut found = Vec::new();
    for name in &arguments.services {
        let (namespace, service) =
            name.split_once('/').with_context(|| format!("`{name}`: expected NAMESPACE/NAME"))?;
        let object = api
            .json(&format!("/api/v1/namespaces/{namespace}/services/{service}"))
            .with_context(|| format!("Service {name}"))?;
        let targets = of_service(name, &object["spec"]);
        if targets.is_empty() {
            bail!("Service {name} has no virtual IP with a TCP port: name its pods with --ip");
        }
        found.extend(targets);
    }
    Ok(found)
}

fn of_service(name: &str, spec: &Value) -> Vec<Target> {
    let mut ips: Vec<&str> = spec["clusterIPs"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    // Before Kubernetes 1.20 a Service has one.
    if ips.is_empty() {
        ips.extend(spec["clusterIP"].as_str());
    }
    let ports: Vec<u16> = spec["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|port| port["protocol"].as_str().unwrap_or("TCP") == "TCP")
        .filter_map(|port| u16::try_from(port["port"].as_u64()?).ok())
        .collect();
    let addresses = ips.iter().filter_map(|ip| ip.parse::<IpAddr>().ok());
    addresses
        .flat_map(|ip| ports.iter().map(move |port| SocketAddr::new(ip, *port)))
        .map(|at| Target { name: name.to_owned(), at })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::of_service;

    #[test]
    fn a_service_answers_at_each_of_its_addresses_and_tcp_ports() {
        let both =
            json!({"clusterIPs": ["10.96.0.9", "fd00::9"], "ports": [{"port": 80}, {"port": 53, "protocol": "UDP"}]});
        let found: Vec<String> = of_service("a/b", &both).iter().map(|target| target.at.to_string()).collect();
        assert_eq!(found, ["10.96.0.9:80", "[fd00::9]:80"]);
        let old = json!({"clusterIP": "10.96.0.9", "ports": [{"port": 80, "protocol": "TCP"}]});
        assert_eq!(of_service("a/b", &old).len(), 1);
        assert!(of_service("a/b", &json!({"clusterIPs": ["None"], "ports": [{"port": 80}]})).is_empty());
    }
}
