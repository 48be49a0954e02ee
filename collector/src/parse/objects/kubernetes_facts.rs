//! What Kubernetes objects say of the cluster itself, as facts and lines: nodes, ConfigMaps of the proxies, the images of
//! their DaemonSets, and Events.
//!
//! ```text
//! Node            node/node-a = "Linux 6.1.0, kubelet 1.36.2", version/linux, version/kubernetes
//! ConfigMap       cilium-config: config/kube-proxy-replacement, …; kube-proxy: mode, config/min-sync-period
//! DaemonSet       quay.io/cilium/cilium:v1.19.4@sha256:… → version/cilium
//! Event           a line, with its time in the text: it is that of whoever reported it, to a second
//! ```
//!
//! Objects of all other kinds are counted, so that it shows that nothing was read from them.

use serde_json::Value;
use syncline_schema::logs::LogRow;
use syncline_schema::loss;

use crate::form::{Batch, Context};

/// Reads an object of a kind that no row is made of.
pub fn read(context: &Context, record: i64, text: &[u8], list_kind: &str, batch: &mut Batch) {
    let Ok(object) = serde_json::from_slice::<Value>(text) else { return };
    let mut told = Facts { context, record, batch };
    match object["kind"].as_str().unwrap_or(list_kind) {
        "Node" => node(&object, &mut told),
        "ConfigMap" => config_map(&object, &mut told),
        "DaemonSet" | "Deployment" => images(&object, &mut told),
        "Event" => event(&object, &mut told),
        _ => batch.loss(loss::KIND_NOT_USED, 1),
    }
}

struct Facts<'a> {
    context: &'a Context,
    record: i64,
    batch: &'a mut Batch,
}

impl Facts<'_> {
    fn tell(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.batch.fact(self.context, self.record, key, value);
        }
    }
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn node(object: &Value, told: &mut Facts<'_>) {
    let kernel = text(object, "/status/nodeInfo/kernelVersion");
    let kubelet = text(object, "/status/nodeInfo/kubeletVersion").trim_start_matches('v');
    told.tell("version/linux", kernel);
    told.tell("version/kubernetes", kubelet);
    let name = text(object, "/metadata/name");
    if !name.is_empty() {
        told.tell(&format!("node/{name}"), &format!("Linux {kernel}, kubelet {kubelet}"));
    }
}

fn config_map(object: &Value, told: &mut Facts<'_>) {
    let data = object["data"].as_object();
    match text(object, "/metadata/name") {
        "cilium-config" => {
            for (key, value) in data.into_iter().flatten() {
                told.tell(&format!("config/{key}"), value.as_str().unwrap_or_default());
            }
        }
        name if name.contains("kube-proxy") => {
            for (_, value) in data.into_iter().flatten().filter(|(_, value)| value.is_string()) {
                kube_proxy(value.as_str().unwrap_or_default(), told);
            }
        }
        _ => told.batch.loss(loss::KIND_NOT_USED, 1),
    }
}

/// A `KubeProxyConfiguration`: its mode (iptables where it is left empty), and how often that mode syncs at most.
fn kube_proxy(configuration: &str, told: &mut Facts<'_>) {
    if !configuration.contains("KubeProxyConfiguration") {
        return;
    }
    let value = |line: &str, key: &str| {
        let rest = line.trim().strip_prefix(key)?.strip_prefix(':')?.split(" #").next()?;
        Some(rest.trim().trim_matches(['"', '\'']).to_owned())
    };
    let at_margin = |line: &&str| !line.starts_with([' ', '\t', '#']);
    let mode = configuration.lines().filter(at_margin).find_map(|line| value(line, "mode")).unwrap_or_default();
    let mode = if mode.is_empty() { "iptables".to_owned() } else { mode };
    told.tell("mode", &mode);
    let mut section = String::new();
    for line in configuration.lines().filter(|line| !line.trim().is_empty()) {
        if at_margin(&line) {
            section = line.split(':').next().unwrap_or_default().to_owned();
        } else if section == mode {
            for (key, fact) in [("minSyncPeriod", "config/min-sync-period"), ("syncPeriod", "config/sync-period")] {
                if let Some(value) = value(line, key) {
                    told.tell(fact, &value);
                }
            }
        }
    }
}

/// The versions of Cilium and kube-proxy by the tags of their images.
fn images(object: &Value, told: &mut Facts<'_>) {
    let containers = object.pointer("/spec/template/spec/containers").and_then(Value::as_array);
    let mut any = false;
    for container in containers.into_iter().flatten() {
        let image = text(container, "/image");
        let name = image.split('@').next().unwrap_or_default();
        let Some((path, tag)) = name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) else { continue };
        let key = match path.rsplit('/').next() {
            Some("cilium" | "cilium-ci") => "version/cilium",
            Some("kube-proxy") => "version/kube-proxy",
            _ => continue,
        };
        told.tell(key, tag.trim_start_matches('v'));
        any = true;
    }
    if !any {
        told.batch.loss(loss::KIND_NOT_USED, 1);
    }
}

fn event(object: &Value, told: &mut Facts<'_>) {
    let stamps =
        ["/eventTime", "/series/lastObservedTime", "/lastTimestamp", "/firstTimestamp", "/deprecatedLastTimestamp"];
    let time = stamps.iter().map(|at| text(object, at)).find(|time| !time.is_empty()).unwrap_or("at an unknown time");
    let of = if object["regarding"].is_object() { "/regarding" } else { "/involvedObject" };
    let part = |key: &str| text(object, &format!("{of}/{key}")).to_owned();
    let message = if object["message"].is_string() { text(object, "/message") } else { text(object, "/note") };
    told.batch.push(&LogRow {
        source: told.context.source,
        record: told.record,
        clock: told.context.clock.as_str().into(),
        level: if text(object, "/type") == "Warning" { "warning" } else { "info" }.into(),
        caller: Some(format!("{}/{}", part("kind"), part("name")).into()),
        message: format!("{time} {}: {message}", text(object, "/reason")).into(),
        ..Default::default()
    });
}

#[cfg(test)]
mod tests {
    use crate::parse::harness::{facts, parse_text};
    use crate::parse::objects::list::FORMAT;

    fn told(text: &str) -> Vec<String> {
        let mut batch = parse_text(&FORMAT, text);
        assert_eq!(batch.rejected, 0);
        facts(&mut batch)
    }

    #[test]
    fn nodes_settings_and_images_are_facts() {
        let node = r#"{"apiVersion":"v1","kind":"Node","metadata":{"name":"n1"},"status":{"nodeInfo":{"kernelVersion":"5.15.0-92-generic","kubeletVersion":"v1.29.1"}}}"#;
        assert_eq!(
            told(node),
            [
                "version/linux=5.15.0-92-generic",
                "version/kubernetes=1.29.1",
                "node/n1=Linux 5.15.0-92-generic, kubelet 1.29.1"
            ]
        );
        let cilium = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: cilium-config\ndata:\n  kube-proxy-replacement: \"true\"\n  lb-reflector-wait-time: 30s\n";
        assert_eq!(told(cilium), ["config/kube-proxy-replacement=true", "config/lb-reflector-wait-time=30s"]);
        let image = r#"{"apiVersion":"apps/v1","kind":"DaemonSet","metadata":{"name":"cilium"},"spec":{"template":{"spec":{"containers":[{"image":"reg:5000/cilium/cilium:v1.19.4@sha256:ab"},{"image":"reg:5000/x"}]}}}}"#;
        assert_eq!(told(image), ["version/cilium=1.19.4"]);
    }

    #[test]
    fn a_proxys_settings_are_those_of_its_mode() {
        let map = |configuration: &str| {
            serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kube-proxy"}, "data": {"config.conf": configuration, "kubeconfig.conf": "kind: Config\nmode: x"}})
                .to_string()
        };
        let text = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\niptables:\n  minSyncPeriod: 0s\nnftables:\n  minSyncPeriod: 2s\n  syncPeriod: 30s\nmode: \"nftables\"\n";
        assert_eq!(told(&map(text)), ["mode=nftables", "config/min-sync-period=2s", "config/sync-period=30s"]);
        assert_eq!(told(&map(&text.replace("\"nftables\"", "\"\""))), ["mode=iptables", "config/min-sync-period=0s"]);
    }

    #[test]
    fn events_are_lines_and_other_kinds_are_counted() {
        let event = r#"{"apiVersion":"v1","kind":"Event","metadata":{},"involvedObject":{"kind":"Pod","name":"web-1"},"reason":"Killing","message":"Stopping container web","type":"Normal","lastTimestamp":"2024-03-01T10:00:00Z"}"#;
        let mut batch = parse_text(&FORMAT, event);
        assert!(batch.losses.is_empty());
        assert_eq!(batch.take_tables().iter().filter(|table| table.table == "logs").count(), 1);
        let batch = parse_text(&FORMAT, r#"{"apiVersion":"x/v1","kind":"Thing","metadata":{}}"#);
        assert_eq!((batch.records, batch.losses["kind-not-used"].1), (1, 1));
    }
}
