//! Which names a capture holds: of namespaces, pods, nodes, Services and what makes pods, found in its objects, events, flows and rules.
//!
//! ```text
//! "metadata":{"name":"cart-7d9f-x2x","namespace":"shop",…}     objects, lists, watch events
//! "objectRef":{"resource":"pods","namespace":"shop","name":…}  audit events
//! "source":{"namespace":"shop","pod_name":…}                   flows
//! {"namespace":"shop","pod":…,"node":…}                        labels of series
//! --comment "shop/cart:http"    service-AB12-shop/cart/tcp/http   rules
//! ```

use std::collections::BTreeSet;

use serde_json::Value;
use serde_json::value::RawValue;

/// Keys whose text is a name, wherever they stand.
const NAMING: [&str; 18] = [
    "namespace",
    "nodeName",
    "node_name",
    "node",
    "nodename",
    "pod",
    "pod_name",
    "podName",
    "service",
    "serviceName",
    "hostname",
    "exported_namespace",
    "exported_pod",
    "exported_service",
    "holderIdentity",
    "generateName",
    "reportingInstance",
    "host",
];
/// Labels whose value is the name of a workload.
const LABELS: [&str; 8] = [
    "app",
    "k8s-app",
    "app.kubernetes.io/name",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/component",
    "app.kubernetes.io/part-of",
    "kubernetes.io/service-name",
    "kubernetes.io/hostname",
];
/// Objects that an `objectRef` or a `metadata` names and that are no names of the cluster's users.
const FOREIGN: [&str; 12] = [
    "clusterroles",
    "clusterrolebindings",
    "customresourcedefinitions",
    "apiservices",
    "flowschemas",
    "prioritylevelconfigurations",
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "APIService",
    "FlowSchema",
    "PriorityLevelConfiguration",
];

/// Adds the names that a JSON text holds; false where it is none.
pub fn of_json(text: &[u8], names: &mut BTreeSet<String>) -> bool {
    // A list of everything is large: one item after the other.
    #[derive(serde::Deserialize)]
    struct List<'a> {
        #[serde(borrow)]
        items: Vec<&'a RawValue>,
    }
    if let Ok(list) = serde_json::from_slice::<List<'_>>(text) {
        for item in list.items {
            if let Ok(value) = serde_json::from_str::<Value>(item.get()) {
                of_value(&value, "", names);
            }
        }
        return true;
    }
    match serde_json::from_slice::<Value>(text) {
        Ok(value) => {
            of_value(&value, "", names);
            true
        }
        Err(_) => false,
    }
}

fn of_value(value: &Value, key: &str, names: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| of_value(item, key, names)),
        Value::Object(fields) => {
            let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
            let foreign = FOREIGN.contains(&text("kind")) || FOREIGN.contains(&text("resource"));
            let named = matches!(
                key,
                "metadata"
                    | "objectRef"
                    | "targetRef"
                    | "involvedObject"
                    | "regarding"
                    | "related"
                    | "ownerReferences"
                    | "destination_service"
                    | "source_service"
                    | "workloads"
                    | "scaleTargetRef"
                    | "claimRef"
            );
            if named && !foreign {
                add(text("name"), names);
            }
            for (name, value) in fields {
                if foreign && name == "metadata" {
                    continue;
                }
                match value {
                    Value::String(text) if NAMING.contains(&name.as_str()) => add(text, names),
                    Value::String(text) if LABELS.contains(&name.as_str()) => add(text, names),
                    // Addresses of a Node: its names are among them.
                    Value::String(text) if name == "address" && is_name(text) => {
                        if fields
                            .get("type")
                            .and_then(Value::as_str)
                            .is_some_and(|kind| kind.contains("DNS") || kind == "Hostname")
                        {
                            add(text, names);
                        }
                    }
                    // A JSON text within a JSON text: a log line, an annotation.
                    Value::String(text) if text.starts_with('{') => {
                        of_json(text.as_bytes(), names);
                    }
                    Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
                    _ => of_value(value, name, names),
                }
            }
        }
        _ => {}
    }
}

/// Adds the names that a line of text holds: `NAMESPACE/SERVICE:PORT`, `NAMESPACE/SERVICE/tcp/PORT`, `namespace="…"`, `node = "…"`.
pub fn of_line(line: &[u8], names: &mut BTreeSet<String>) {
    let Ok(line) = std::str::from_utf8(line) else { return };
    for (at, _) in line.match_indices('/') {
        let before = &line[..at];
        let from = before.rfind(|letter: char| !part(letter)).map_or(0, |found| found + 1);
        let behind = &line[at + 1..];
        let end = behind.find(|letter: char| !part(letter)).unwrap_or(behind.len());
        let (left, right, rest) = (&before[from..], &behind[..end], &behind[end..]);
        let service = rest.starts_with(':') && rest[1..].starts_with(|next: char| next.is_ascii_lowercase())
            || rest.starts_with("/tcp/")
            || rest.starts_with("/udp/")
            || rest.starts_with("/sctp/")
            || rest.starts_with(" cluster IP")
            || rest.starts_with(" has no ");
        if !service {
            continue;
        }
        // `service-JKB34KST-shop`: the namespace stands behind the hash.
        let left = match left.split_once('-').and_then(|(kind, rest)| Some((kind, rest.split_once('-')?))) {
            Some(("service" | "external" | "firewall" | "endpoint", (hash, namespace)))
                if hash.len() == 8 && hash.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()) =>
            {
                namespace
            }
            _ => left,
        };
        add(left, names);
        add(right, names);
    }
    for mark in ["namespace=\"", "pod=\"", "node=\"", "service=\"", "nodename=\"", "node = \"", "kubernetes_node=\""] {
        for (at, _) in line.match_indices(mark) {
            if at == 0 || !line[..at].ends_with(|before: char| before.is_ascii_alphanumeric()) {
                let text = &line[at + mark.len()..];
                add(text.split('"').next().unwrap_or_default(), names);
            }
        }
    }
}

fn part(letter: char) -> bool {
    letter.is_ascii_lowercase()
        || letter.is_ascii_digit()
        || letter == '-'
        || letter == '.'
        || letter.is_ascii_uppercase()
}

/// What Kubernetes takes for the name of an object.
pub fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    let bytes = text.as_bytes();
    (1..=253).contains(&bytes.len())
        && bytes.iter().all(|byte| inner(*byte))
        && bytes.iter().any(u8::is_ascii_lowercase)
        && !matches!(bytes[0], b'-' | b'.')
        && !matches!(bytes[bytes.len() - 1], b'-' | b'.')
}

/// Adds a name, and of a host's name its first part too.
fn add(text: &str, names: &mut BTreeSet<String>) {
    // `generateName` ends with a dash; a node may be told as `cluster/node`, or with a port.
    for text in text.split('/') {
        let text = text.split(':').next().unwrap_or_default().trim_end_matches(['-', '.']);
        if !is_name(text) {
            continue;
        }
        if let Some((first, _)) = text.split_once('.').filter(|(first, _)| is_name(first)) {
            names.insert(first.to_owned());
        }
        names.insert(text.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::{of_json, of_line};
    use std::collections::BTreeSet;

    #[test]
    fn objects_events_flows_and_rules_are_looked_through() {
        let mut names = BTreeSet::new();
        for text in [
            r#"{"items":[{"kind":"Pod","metadata":{"name":"cart-7d9f-x2x","namespace":"shop","labels":{"app":"cart"}},"spec":{"nodeName":"ip-10-0-0-1.ec2.internal"}}]}"#,
            r#"{"objectRef":{"resource":"services","namespace":"pay","name":"till"}}"#,
            r#"{"objectRef":{"resource":"clusterroles","name":"view"}}"#,
            r#"{"flow":{"source":{"namespace":"web","pod_name":"front-1"}},"node_name":"east/worker-9"}"#,
            r#"{"message":"{\"metadata\":{\"name\":\"inner\"}}"}"#,
        ] {
            assert!(of_json(text.as_bytes(), &mut names), "{text}");
        }
        of_line(b"-A KUBE-SVC-X -m comment --comment \"rule/one:http -> 10.0.0.1:80\"", &mut names);
        of_line(b"\tchain service-JKB34KST-nft/two/tcp/http {", &mut names);
        of_line(b"-A KUBE-SERVICES -m comment --comment \"rule/three has no endpoints\"", &mut names);
        of_line(b"x{namespace=\"label\",le=\"1\"} 1", &mut names);
        let found: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(
            found,
            [
                "cart",
                "cart-7d9f-x2x",
                "east",
                "front-1",
                "inner",
                "ip-10-0-0-1",
                "ip-10-0-0-1.ec2.internal",
                "label",
                "nft",
                "one",
                "pay",
                "rule",
                "shop",
                "three",
                "till",
                "two",
                "web",
                "worker-9"
            ]
        );
    }

    #[test]
    fn what_is_no_name_is_left_out() {
        let mut names = BTreeSet::new();
        of_line(b"Nov 23 10/12/2026 a/b/c TCP://10.0.0.1 1/2:3 http://a/b", &mut names);
        assert!(!of_json(b"no json", &mut names));
        assert!(names.is_empty(), "{names:?}");
    }
}
