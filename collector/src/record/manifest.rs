//! `manifest`: the YAML of the recorder's DaemonSet (of one node or of all), its account and the least rights that it needs, each with its reason.
//!
//! What is read of the whole cluster is in one ClusterRole, what is read or written in one namespace in Roles there. A right to
//! change something is printed only for the recorder's own beacon and for the actions that were asked for.

use std::fmt::Write as _;

/// An action that the recorder may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// `record --scale`.
    Scale,
    /// `record --restart`.
    Restart,
    /// `record --delete-pods`.
    DeletePods,
}

/// Where the recorder's pods run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On one node, by its name; `None`: the user fills it in.
    Node(Option<String>),
    /// On every node.
    AllNodes,
}

/// What to print.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub place: Place,
    /// Where pods and account lie.
    pub namespace: String,
    pub image: String,
    /// Namespaces of the Services under test, where actions are taken.
    pub under_test: Vec<String>,
    pub actions: Vec<Action>,
    /// Print capabilities instead of `privileged: true`.
    pub capabilities: bool,
}

/// One rule of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    pub groups: &'static [&'static str],
    pub resources: &'static [&'static str],
    pub verbs: &'static [&'static str],
    /// Names of objects that it is limited to; empty: all.
    pub names: &'static [&'static str],
    /// What the recorder does with it.
    pub reason: &'static str,
}

/// The name of account, roles and DaemonSet.
pub const NAME: &str = "syncline-recorder";
/// The image where none is named.
pub const IMAGE: &str = "syncline-collector:latest";
/// Node where none is named.
const NODE: &str = "NODE_UNDER_TEST";

const LOOK: &[&str] = &["list", "watch"];

/// Rights over the whole cluster: reads only.
pub const CLUSTER: &[Rule] = &[
    Rule {
        groups: &["discovery.k8s.io"],
        resources: &["endpointslices"],
        verbs: LOOK,
        names: &[],
        reason: "which endpoints there are, and when that changed",
    },
    Rule {
        groups: &[""],
        resources: &["services"],
        verbs: &["get", "list", "watch"],
        names: &[],
        reason: "addresses and ports of what is under test, and how many there are",
    },
    Rule {
        groups: &[""],
        resources: &["pods", "nodes"],
        verbs: LOOK,
        names: &[],
        reason: "the proxies' pods, those under test, the node",
    },
    Rule {
        groups: &[""],
        resources: &["nodes/metrics"],
        verbs: &["get"],
        names: &[],
        reason: "CPU and memory of containers by the kubelet (cAdvisor)",
    },
];

/// Rights in `kube-system`, where the proxies' pods are.
pub const KUBE_SYSTEM: &[Rule] =
    &[Rule { groups: &[""], resources: &["pods/log"], verbs: &["get"], names: &[], reason: "the proxies' logs" }];

/// Rights in `kube-node-lease`.
pub const LEASES: &[Rule] = &[Rule {
    groups: &["coordination.k8s.io"],
    resources: &["leases"],
    verbs: LOOK,
    names: &[],
    reason: "how far the nodes' clocks are apart",
}];

/// Rights in the recorder's own namespace: its beacon, the only object that it writes. A right to create cannot name an object.
pub const BEACON: &[Rule] = &[
    Rule { groups: &[""], resources: &["configmaps"], verbs: &["create"], names: &[], reason: "the beacon is made" },
    Rule {
        groups: &[""],
        resources: &["configmaps"],
        verbs: &["patch", "delete"],
        names: &[BEACON_NAME],
        reason: "the beacon is updated, and removed at the end",
    },
];

/// Name of the beacon's object.
pub const BEACON_NAME: &str = "syncline-beacon";

/// Rights in the namespaces under test.
pub const UNDER_TEST: &[Rule] = &[
    Rule {
        groups: &["apps"],
        resources: &["deployments", "statefulsets", "daemonsets"],
        verbs: &["get"],
        names: &[],
        reason: "replicas ahead of the action, and when its rollout is complete",
    },
    Rule { groups: &[""], resources: &["events"], verbs: LOOK, names: &[], reason: "what happened to the pods" },
];

/// Rights that an action needs in the namespaces under test.
pub fn rules_of(action: Action) -> &'static [Rule] {
    match action {
        Action::Scale => &[Rule {
            groups: &["apps"],
            resources: &["deployments/scale", "statefulsets/scale"],
            verbs: &["patch"],
            names: &[],
            reason: "--scale",
        }],
        Action::Restart => &[Rule {
            groups: &["apps"],
            resources: &["deployments", "statefulsets", "daemonsets"],
            verbs: &["patch"],
            names: &[],
            reason: "--restart",
        }],
        Action::DeletePods => {
            &[Rule { groups: &[""], resources: &["pods"], verbs: &["delete"], names: &[], reason: "--delete-pods" }]
        }
    }
}

/// Capabilities that stand in for `privileged`, with what each is for.
pub const CAPABILITIES: &[(&str, &str)] = &[
    ("NET_ADMIN", "rules of iptables, nftables and ipvs"),
    ("NET_RAW", "iptables-legacy reads its tables through a raw socket"),
    ("SYS_ADMIN", "pinned maps and programs on kernels before 5.8, the host's network namespace"),
    ("BPF", "pinned maps, programs' run times"),
    ("PERFMON", "bpftrace"),
    ("SYS_PTRACE", "the proxies' processes in /proc"),
    ("SYS_RESOURCE", "memory for maps on kernels before 5.11"),
    ("SYS_NICE", "its own lower priority, back and forth"),
    ("SYSLOG", "addresses of kernel functions, for bpftrace"),
];

/// The YAML.
pub fn yaml(wanted: &Wanted) -> String {
    let mut out = String::new();
    let namespace = &wanted.namespace;
    let _ = writeln!(
        out,
        "# Printed by `syncline-collector manifest`. It reads, and writes nothing but its own ConfigMap {BEACON_NAME}"
    );
    let _ = match wanted.actions.as_slice() {
        [] => writeln!(out, "# in namespace {namespace}."),
        actions => {
            let words: Vec<&str> = actions.iter().flat_map(|one| rules_of(*one)).map(|rule| rule.reason).collect();
            writeln!(out, "# in namespace {namespace}, and what you tell it to with {}.", words.join(", "))
        }
    };
    let _ = write!(out, "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: {NAME}\n  namespace: {namespace}\n");
    role(&mut out, None, NAME, namespace, CLUSTER);
    role(&mut out, Some("kube-system"), NAME, namespace, KUBE_SYSTEM);
    role(&mut out, Some("kube-node-lease"), NAME, namespace, LEASES);
    role(&mut out, Some(namespace), &format!("{NAME}-beacon"), namespace, BEACON);
    for tested in &wanted.under_test {
        let mut rules = UNDER_TEST.to_vec();
        rules.extend(wanted.actions.iter().flat_map(|action| rules_of(*action)));
        role(&mut out, Some(tested), &format!("{NAME}-under-test"), namespace, &rules);
    }
    pod(&mut out, wanted);
    out
}

/// A role and its binding: of the cluster, or of a namespace.
fn role(out: &mut String, within: Option<&str>, name: &str, account: &str, rules: &[Rule]) {
    let kind = if within.is_some() { "Role" } else { "ClusterRole" };
    let place = within.map(|namespace| format!("\n  namespace: {namespace}")).unwrap_or_default();
    let head = |kind: &str| {
        format!("---\napiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\nmetadata:\n  name: {name}{place}\n")
    };
    let _ = writeln!(out, "{}rules:", head(kind));
    for rule in rules {
        let list = |words: &[&str]| {
            let quoted = |word: &&str| if word.is_empty() { "\"\"".to_owned() } else { (*word).to_owned() };
            words.iter().map(quoted).collect::<Vec<_>>().join(", ")
        };
        let _ = writeln!(out, "- apiGroups: [{}] # {}", list(rule.groups), rule.reason);
        let _ = writeln!(out, "  resources: [{}]", list(rule.resources));
        if !rule.names.is_empty() {
            let _ = writeln!(out, "  resourceNames: [{}]", list(rule.names));
        }
        let _ = writeln!(out, "  verbs: [{}]", list(rule.verbs));
    }
    let _ = write!(
        out,
        "{}roleRef:\n  apiGroup: rbac.authorization.k8s.io\n  kind: {kind}\n  name: {name}\nsubjects:\n- kind: ServiceAccount\n  name: {NAME}\n  namespace: {account}\n",
        head(&format!("{kind}Binding"))
    );
}

/// Folders of the host: where, and for what. None is made where it is missing.
const MOUNTS: &[(&str, &str, &str)] = &[
    ("bpf", "/sys/fs/bpf", "Cilium's pinned maps"),
    ("tracing", "/sys/kernel/tracing", "tracepoints"),
    ("debug", "/sys/kernel/debug", "tracepoints, on older kernels"),
    ("cgroup", "/sys/fs/cgroup", "CPU and memory of the proxies' containers"),
];

fn pod(out: &mut String, wanted: &Wanted) {
    let namespace = &wanted.namespace;
    // Not a pod alone: the API server takes that only where the account is there already, so that no dry run would pass.
    let _ = write!(
        out,
        "---\napiVersion: apps/v1\nkind: DaemonSet\nmetadata:\n  name: {NAME}\n  namespace: {namespace}\n  labels: {{app.kubernetes.io/name: {NAME}}}\nspec:\n  selector: {{matchLabels: {{app.kubernetes.io/name: {NAME}}}}}\n  template:\n    metadata:\n      labels: {{app.kubernetes.io/name: {NAME}}}\n    spec:\n"
    );
    let mut line = |text: String| {
        let _ = writeln!(out, "      {text}");
    };
    line(format!("serviceAccountName: {NAME}"));
    match &wanted.place {
        Place::AllNodes => line("nodeSelector: {kubernetes.io/os: linux}".into()),
        Place::Node(node) => {
            let node = node.as_deref().unwrap_or(NODE);
            line(format!("nodeSelector: {{kubernetes.io/hostname: \"{node}\"}} # the node under test"));
        }
    }
    line("hostNetwork: true # the rules are those of the host's network namespace".into());
    line("hostPID: true # the proxies' processes".into());
    line("dnsPolicy: ClusterFirstWithHostNet".into());
    line("tolerations: [{operator: Exists}]".into());
    line("containers:".into());
    line("- name: recorder".into());
    line(format!("  image: {}", wanted.image));
    line("  command: [sleep, infinity]".into());
    line("  env: [{name: NODE_NAME, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]".into());
    line("  resources: {requests: {cpu: 50m, memory: 64Mi}}".into());
    if wanted.capabilities {
        line("  securityContext:".into());
        line("    seccompProfile: {type: Unconfined}".into());
        line("    capabilities:".into());
        line("      drop: [ALL]".into());
        line("      add:".into());
        for (name, reason) in CAPABILITIES {
            line(format!("      - {name} # {reason}"));
        }
    } else {
        line("  securityContext: {privileged: true}".into());
    }
    line("  volumeMounts:".into());
    for (name, path, reason) in MOUNTS {
        // What is mounted later on the host, as by an agent that starts late, is to be seen.
        line(format!(
            "  - {{name: {name}, mountPath: {path}, readOnly: true, mountPropagation: HostToContainer}} # {reason}"
        ));
    }
    line("  - {name: captures, mountPath: /captures}".into());
    line("volumes:".into());
    for (name, path, _) in MOUNTS {
        line(format!("- {{name: {name}, hostPath: {{path: {path}}}}}"));
    }
    line("- {name: captures, emptyDir: {}}".into());
}

#[cfg(test)]
mod tests {
    use super::{
        Action, BEACON, CAPABILITIES, CLUSTER, KUBE_SYSTEM, LEASES, Place, UNDER_TEST, Wanted, rules_of, yaml,
    };
    use std::collections::BTreeSet;

    fn wanted() -> Wanted {
        Wanted {
            place: Place::Node(Some("node-a".into())),
            namespace: "default".into(),
            image: "registry.example/syncline-collector:1".into(),
            under_test: vec!["default".into()],
            actions: vec![],
            capabilities: false,
        }
    }

    fn documents(text: &str) -> Vec<serde_json::Value> {
        text.split("---\n")
            .map(|one| serde_saphyr::from_str(one).unwrap_or_else(|error| panic!("{error}\n{one}")))
            .collect()
    }

    /// Every right: where, verb, resource (with the names that it is limited to).
    fn rights(text: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for one in documents(text) {
            let Some(rules) = one["rules"].as_array() else { continue };
            let place = one["metadata"]["namespace"].as_str().unwrap_or("*");
            let texts = |value: &serde_json::Value| -> Vec<String> {
                value
                    .as_array()
                    .map(|list| list.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect())
                    .unwrap_or_default()
            };
            for rule in rules {
                let names = texts(&rule["resourceNames"]);
                for (verb, resource) in texts(&rule["verbs"]).iter().flat_map(|verb| {
                    texts(&rule["resources"]).into_iter().map(move |resource| (verb.clone(), resource))
                }) {
                    let limit = if names.is_empty() { String::new() } else { format!(" {}", names.join("|")) };
                    found.insert(format!("{place}: {verb} {resource}{limit}"));
                }
            }
        }
        found
    }

    #[test]
    fn it_is_yaml_and_every_role_is_bound_to_the_account() {
        for place in [Place::Node(None), Place::Node(Some("node-a".into())), Place::AllNodes] {
            for capabilities in [false, true] {
                let text =
                    yaml(&Wanted { place: place.clone(), capabilities, actions: vec![Action::Scale], ..wanted() });
                let all = documents(&text);
                let kinds: Vec<&str> = all.iter().filter_map(|one| one["kind"].as_str()).collect();
                assert_eq!(kinds.iter().filter(|kind| kind.ends_with("Role")).count(), 5, "{kinds:?}");
                for role in all.iter().filter(|one| one["kind"].as_str().is_some_and(|kind| kind.ends_with("Role"))) {
                    let bound = all.iter().filter(|one| {
                        one["roleRef"]["name"] == role["metadata"]["name"]
                            && one["roleRef"]["kind"] == role["kind"]
                            && one["metadata"]["namespace"] == role["metadata"]["namespace"]
                            && one["subjects"][0]["name"] == all[0]["metadata"]["name"]
                    });
                    assert_eq!(bound.count(), 1, "{role}");
                }
                let spec = &all.last().unwrap()["spec"]["template"]["spec"];
                let label = &spec["nodeSelector"]["kubernetes.io/hostname"];
                match &place {
                    Place::AllNodes => assert!(label.is_null()),
                    Place::Node(node) => assert_eq!(label, node.as_deref().unwrap_or("NODE_UNDER_TEST")),
                }
                assert_eq!((&spec["hostNetwork"], &spec["hostPID"]), (&true.into(), &true.into()));
                let security = &spec["containers"][0]["securityContext"];
                assert_eq!(security["privileged"] == true, !capabilities);
                assert!(
                    spec["volumes"].as_array().unwrap().len()
                        == spec["containers"][0]["volumeMounts"].as_array().unwrap().len()
                );
            }
        }
    }

    /// Every right that is printed, with its reason in `Rule::reason`: a new one must be added here, on purpose.
    #[test]
    fn rights_are_the_least() {
        let none = rights(&yaml(&wanted()));
        let expected = [
            "*: list endpointslices",
            "*: watch endpointslices",
            "*: get services",
            "*: list services",
            "*: watch services",
            "*: list pods",
            "*: watch pods",
            "*: list nodes",
            "*: watch nodes",
            "*: get nodes/metrics",
            "kube-system: get pods/log",
            "kube-node-lease: list leases",
            "kube-node-lease: watch leases",
            "default: create configmaps",
            "default: patch configmaps syncline-beacon",
            "default: delete configmaps syncline-beacon",
            "default: get deployments",
            "default: get statefulsets",
            "default: get daemonsets",
            "default: list events",
            "default: watch events",
        ];
        assert_eq!(none, expected.iter().map(|right| (*right).to_owned()).collect());
        let more = |action| {
            let all = rights(&yaml(&Wanted { actions: vec![action], ..wanted() }));
            all.difference(&none).cloned().collect::<Vec<_>>()
        };
        assert_eq!(more(Action::DeletePods), ["default: delete pods"]);
        assert_eq!(
            more(Action::Restart),
            ["default: patch daemonsets", "default: patch deployments", "default: patch statefulsets"]
        );
        assert_eq!(more(Action::Scale), ["default: patch deployments/scale", "default: patch statefulsets/scale"]);
        for text in [
            yaml(&wanted()),
            yaml(&Wanted { actions: vec![Action::Scale, Action::Restart, Action::DeletePods], ..wanted() }),
        ] {
            assert!(!text.contains("secrets") && !text.contains("'*'") && !text.contains("\"*\""));
            assert!(!text.contains("pods/exec"));
        }
    }

    /// The page that people read lists every right and capability, and no other.
    #[test]
    fn the_page_says_what_is_printed() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/RECORD.md");
        let page = std::fs::read_to_string(path).expect("RECORD.md");
        let under_test = [UNDER_TEST, rules_of(Action::Scale), rules_of(Action::Restart), rules_of(Action::DeletePods)];
        let mut expected: Vec<String> = Vec::new();
        let places =
            [("cluster", CLUSTER), ("kube-system", KUBE_SYSTEM), ("kube-node-lease", LEASES), ("its own", BEACON)];
        for (place, rules) in places.into_iter().chain(under_test.map(|rules| ("under test", rules))) {
            for rule in rules {
                let names = if rule.names.is_empty() { String::new() } else { format!(" {}", rule.names.join(", ")) };
                let right = format!("{} {}{names}", rule.verbs.join(", "), rule.resources.join(", "));
                expected.push(format!("| {place} | {right} | {} |", rule.reason));
            }
        }
        let found: Vec<&str> =
            page.lines().filter(|line| line.starts_with("| ") && !line.contains("---")).skip(1).collect();
        assert_eq!(found, expected);
        let names: Vec<&str> = CAPABILITIES.iter().map(|(name, _)| *name).collect();
        assert!(page.contains(&format!("{}.", names.join(", "))), "capabilities");
    }
}
