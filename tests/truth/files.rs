//! Writes a made-up cluster as a capture directory, in the formats of real captures.

use std::fmt::Write as _;
use std::path::Path;

use super::captured::{beacons, maps, recorded, services, stamped};
use super::cluster::{Clock, Cluster, FIRST, MS, Node, Related, SCRAPES, SECOND, START};

/// Civil date and time of ns since the epoch, with `digits` of a second.
fn stamp(time: i64, digits: usize) -> (i64, i64, i64, String) {
    let (days, rest) = (time.div_euclid(86_400 * SECOND), time.rem_euclid(86_400 * SECOND));
    // Days to a civil date, by eras of 400 years from 1 March of year 0.
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day = z.rem_euclid(146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let seconds = rest / SECOND;
    let fraction = format!("{:09}", rest % SECOND);
    let point = if digits == 0 { String::new() } else { format!(".{}", &fraction[..digits]) };
    (year, month, date, format!("{:02}:{:02}:{:02}{point}", seconds / 3_600, seconds / 60 % 60, seconds % 60))
}

fn rfc3339(time: i64, digits: usize) -> String {
    let (year, month, date, clock) = stamp(time, digits);
    format!("{year:04}-{month:02}-{date:02}T{clock}Z")
}

pub fn epoch(time: i64) -> String {
    format!("{}.{:09}", time / SECOND, time % SECOND)
}

/// Writes all files of a cluster.
pub fn write(cluster: &Cluster, folder: &Path) {
    let plan = cluster.plan;
    let save = |path: &str, text: &str| {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder is made");
        std::fs::write(path, text).expect("a file is written");
    };
    save("capture.toml", &statements(cluster));
    save("k8s/audit.jsonl", &audit(cluster));
    if plan.recorded {
        let name = &cluster.nodes[0].name;
        save(&format!("{name}/markers.tsv"), &markers(cluster, &cluster.nodes[0].clock));
        save(&format!("{name}/beacon.jsonl"), &beacons(cluster));
        save(&format!("{name}/watch.jsonl"), &recorded(cluster));
        save(&format!("{name}/services.jsonl"), &services(cluster));
    } else {
        save("markers.tsv", &markers(cluster, &cluster.operator));
        save("k8s/watch-endpointslices.jsonl", &watch(cluster));
    }
    for node in &cluster.nodes {
        let name = &node.name;
        save(&format!("{name}/clock.tsv"), &readings(node, cluster.end, plan.recorded));
        let (path, mut snapshots) = if plan.cilium && plan.recorded {
            (format!("{name}/cilium_lb4_maps.json"), maps(cluster, node))
        } else if plan.cilium {
            (format!("{name}/lb4-default-test.jsonl"), slots(cluster, node))
        } else {
            (format!("{name}/nat-save.stream"), tables(cluster, node))
        };
        if plan.truncated {
            snapshots.truncate(snapshots.len() - snapshots.len().min(97));
        }
        save(&path, &snapshots);
        if plan.trace {
            save(&format!("{name}/trace.txt"), &trace(cluster, node));
        }
        if plan.log && !plan.cilium {
            save(&format!("{name}/kube-proxy.log"), &log(cluster, node));
        }
        if plan.scrapes {
            save(&format!("prometheus/{name}.metrics.stream"), &scrapes(cluster, node));
        }
    }
}

fn statements(cluster: &Cluster) -> String {
    let plan = cluster.plan;
    let dataplane = if plan.cilium { "cilium" } else { "kube-proxy-iptables" };
    let mut text = format!(
        "name = \"generated-{}\"\ndataplane = \"{dataplane}\"\nscenario = \"scale-up\"\nnode = \"node-a\"\nsynthetic = true\nyear = 2026\ntimezone = \"UTC\"\n",
        plan.seed
    );
    if plan.related == Related::Statement {
        let names: Vec<String> = cluster.nodes.iter().map(|node| format!("\"{}\"", node.name)).collect();
        let _ = writeln!(text, "same_host = [\"apiserver\", \"operator\", {}]", names.join(", "));
    }
    if !plan.recorded {
        // The watch ran beside the API server.
        text.push_str("[source.\"k8s/watch-*\"]\nclock = \"apiserver\"\n");
    }
    if plan.scrapes {
        text.push_str("[source.\"prometheus/*\"]\nclock = \"prometheus\"\n");
    }
    for node in &cluster.nodes {
        let _ = writeln!(text, "[source.\"{0}/trace*\"]\nclock = \"{0}/boottime\"", node.name);
        let _ = writeln!(text, "[source.\"{0}/*\"]\nclock = \"{0}\"", node.name);
    }
    text
}

fn markers(cluster: &Cluster, clock: &Clock) -> String {
    let at = |time: i64| epoch(clock.read(time));
    let command = "kubectl scale deploy/test --replicas=9";
    let (sent, returned) = (cluster.request - 20 * MS, cluster.request + 30 * MS);
    let complete = cluster.versions.last().map_or(returned, |version| version.answered + 50 * MS);
    format!(
        "epoch_s\tlabel\tcommand\n{}\tbaseline_start\t\n{}\tbaseline_end\t\n{}\taction_start\t{command}\n{}\taction_returned\t{command}\n{}\trollout_complete\t\n{}\ttail_start\t\n{}\tend\t\n",
        at(START + SECOND),
        at(sent - 10 * MS),
        at(sent),
        at(returned),
        at(complete),
        at(complete + MS),
        at(cluster.end),
    )
}

/// A reading of the node's clocks at the start and at the end, of a recorder now and again: realtime was read within the width.
fn readings(node: &Node, end: i64, often: bool) -> String {
    let mut text = "sample\tmonotonic_ns\tboottime_ns\trealtime_ns\tmonotonic_after_ns\n".to_owned();
    let between = (1..).map(|number| START + number * 2 * SECOND).take_while(|at| often && *at < end);
    for (name, at) in std::iter::once(("start", START)).chain(between.map(|at| ("now", at))).chain([("end", end)]) {
        let since = at - node.booted;
        let _ =
            writeln!(text, "{name}\t{}\t{}\t{}\t{}", since, since + 400, node.clock.read(at + 1_100), since + 2_500);
    }
    text
}

struct Request<'a> {
    time: (i64, i64),
    verb: &'a str,
    resource: &'a str,
    subresource: &'a str,
    namespace: &'a str,
    name: &'a str,
    user: &'a str,
    agent: &'a str,
    code: u32,
    body: String,
}

fn event(clock: &Clock, number: usize, one: &Request<'_>) -> String {
    let sub =
        if one.subresource.is_empty() { String::new() } else { format!(",\"subresource\":\"{}\"", one.subresource) };
    format!(
        "{{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"level\":\"RequestResponse\",\"auditID\":\"id-{number}\",\"stage\":\"ResponseComplete\",\"requestURI\":\"/x/{}/{}\",\"verb\":\"{}\",\"user\":{{\"username\":\"{}\"}},\"userAgent\":\"{}\",\"objectRef\":{{\"resource\":\"{}\",\"namespace\":\"{}\",\"name\":\"{}\"{sub}}},\"responseStatus\":{{\"metadata\":{{}},\"code\":{}}},\"responseObject\":{},\"requestReceivedTimestamp\":\"{}\",\"stageTimestamp\":\"{}\"}}\n",
        one.resource,
        one.name,
        one.verb,
        one.user,
        one.agent,
        one.resource,
        one.namespace,
        one.name,
        one.code,
        one.body,
        rfc3339(clock.read(one.time.0), 6),
        rfc3339(clock.read(one.time.1), 6),
    )
}

fn audit(cluster: &Cluster) -> String {
    let plan = cluster.plan;
    let mut all: Vec<Request<'_>> = vec![Request {
        time: (cluster.request, cluster.request + 2 * MS),
        verb: "patch",
        resource: "deployments",
        subresource: "scale",
        namespace: "default",
        name: "test",
        user: "admin",
        agent: "kubectl/v1.36.4",
        code: 200,
        body: "{\"kind\":\"Scale\",\"metadata\":{\"name\":\"test\"},\"spec\":{\"replicas\":9}}".to_owned(),
    }];
    if plan.related == Related::Objects || plan.related == Related::OneSided {
        for (number, node) in cluster.nodes.iter().enumerate() {
            let mut at = START + 100 * MS + number as i64 * MS;
            while at < cluster.end {
                let renewed = rfc3339(node.clock.read(at), 6);
                all.push(Request {
                    time: (at + MS, at + 3 * MS),
                    verb: "update",
                    resource: "leases",
                    subresource: "",
                    namespace: "kube-node-lease",
                    name: &node.name,
                    user: "system:node:x",
                    agent: "kubelet/v1.36.2",
                    code: 200,
                    body: format!(
                        "{{\"kind\":\"Lease\",\"metadata\":{{\"name\":\"{}\"}},\"spec\":{{\"renewTime\":\"{renewed}\"}}}}",
                        node.name
                    ),
                });
                at += 2 * SECOND;
            }
        }
    }
    for member in &cluster.members {
        let pod = |status: &str| {
            format!(
                "{{\"kind\":\"Pod\",\"metadata\":{{\"name\":\"{0}\",\"namespace\":\"default\",\"uid\":\"{1}\",\"labels\":{{\"app\":\"test\"}}}},\"spec\":{{\"nodeName\":\"{2}\"}},\"status\":{{{status}}}}}",
                member.pod, member.uid, cluster.nodes[member.host].name
            )
        };
        let one = |verb, subresource, time: i64, name, code, body| Request {
            time: (time, time + 2 * MS),
            verb,
            resource: "pods",
            subresource,
            namespace: "default",
            name,
            user: "system:x",
            agent: "x",
            code,
            body,
        };
        all.push(one("create", "", member.created, "", 201, pod("")));
        if plan.related == Related::Objects {
            let status = "{\"kind\":\"Status\",\"status\":\"Success\",\"code\":201}".to_owned();
            all.push(one("create", "binding", member.bound, &member.pod, 201, status));
            let clock = &cluster.nodes[member.host].clock;
            let (ready, started) = (rfc3339(clock.read(member.ready), 0), rfc3339(clock.read(member.started), 0));
            let status = pod(&format!(
                "\"podIP\":\"{}\",\"conditions\":[{{\"type\":\"Ready\",\"status\":\"True\",\"lastTransitionTime\":\"{ready}\"}}],\"containerStatuses\":[{{\"restartCount\":0,\"state\":{{\"running\":{{\"startedAt\":\"{started}\"}}}}}}]",
                member.address
            ));
            all.push(one("patch", "status", member.ready + MS, &member.pod, 200, status));
        }
    }
    if plan.audit {
        for (number, version) in cluster.versions.iter().enumerate() {
            all.push(Request {
                time: (version.received, version.answered),
                verb: "update",
                resource: "endpointslices",
                subresource: "",
                namespace: "default",
                name: "test-x",
                user: "system:x",
                agent: "kube-controller-manager/v1.36.2",
                code: 200,
                body: slice(cluster, version.count, cluster.revisions[number]),
            });
        }
    }
    all.sort_by_key(|one| one.time.1);
    all.iter().enumerate().map(|(number, one)| event(&cluster.apiserver, number, one)).collect()
}

pub fn slice(cluster: &Cluster, count: usize, version: u64) -> String {
    let mut text = format!(
        "{{\"kind\":\"EndpointSlice\",\"apiVersion\":\"discovery.k8s.io/v1\",\"metadata\":{{\"name\":\"test-x\",\"namespace\":\"default\",\"uid\":\"slice\",\"resourceVersion\":\"{version}\",\"labels\":{{\"kubernetes.io/service-name\":\"test\"}}}},\"addressType\":\"IPv4\",\"endpoints\":["
    );
    let old = ("10.244.0.1", "uid-old", "test-old", "node-a");
    let new = cluster.members[..count].iter().map(|member| {
        (member.address.as_str(), member.uid.as_str(), member.pod.as_str(), cluster.nodes[member.host].name.as_str())
    });
    for (at, (address, uid, pod, node)) in std::iter::once(old).chain(new).enumerate() {
        let _ = write!(
            text,
            "{}{{\"addresses\":[\"{address}\"],\"conditions\":{{\"ready\":true}},\"targetRef\":{{\"kind\":\"Pod\",\"name\":\"{pod}\",\"uid\":\"{uid}\"}},\"nodeName\":\"{node}\"}}",
            if at == 0 { "" } else { "," }
        );
    }
    text.push_str("],\"ports\":[{\"name\":\"http\",\"protocol\":\"TCP\",\"port\":8080}]}");
    text
}

fn watch(cluster: &Cluster) -> String {
    let line = |time: i64, kind: &str, body: String| {
        let read = cluster.apiserver.read(time);
        format!(
            "{{\"received\":{}.{:06},\"event\":{{\"type\":\"{kind}\",\"object\":{body}}}}}\n",
            read / SECOND,
            // Never ahead of the moment.
            read % SECOND / 1_000
        )
    };
    let mut text = line(START + 200 * MS, "ADDED", slice(cluster, 0, FIRST));
    for (number, version) in cluster.versions.iter().enumerate() {
        text.push_str(&line(
            version.committed + 2 * MS,
            "MODIFIED",
            slice(cluster, version.count, cluster.revisions[number]),
        ));
    }
    text
}

/// How many members a node's dataplane holds at a moment.
pub fn held(node: &Node, time: i64) -> usize {
    node.syncs.iter().rev().find(|sync| sync.effect <= time).map_or(0, |sync| sync.count)
}

fn tables(cluster: &Cluster, node: &Node) -> String {
    let mut text = String::new();
    let mut last = None;
    for look in &node.looks {
        if cluster.plan.recorded {
            let (line, unchanged) = stamped(node, look, &mut last);
            text.push_str(&line);
            if unchanged {
                continue;
            }
        } else {
            let _ = writeln!(text, "# TIMESTAMP {}", epoch(node.clock.read(look.stamp)));
        }
        text.push_str("# Generated by iptables-save v1.8.9\n*nat\n:PREROUTING ACCEPT [0:0]\n:KUBE-SERVICES - [0:0]\n:KUBE-SVC-YEZFJYGKNSPCOFP3 - [0:0]\n");
        text.push_str("-A KUBE-SERVICES -d 10.96.100.100/32 -p tcp -m comment --comment \"default/test:http cluster IP\" -m tcp --dport 80 -j KUBE-SVC-YEZFJYGKNSPCOFP3\n");
        let addresses: Vec<&str> = std::iter::once("10.244.0.1")
            .chain(cluster.members[..held(node, look.read)].iter().map(|member| member.address.as_str()))
            .collect();
        for address in &addresses {
            let _ = writeln!(
                text,
                "-A KUBE-SVC-YEZFJYGKNSPCOFP3 -m comment --comment \"default/test:http -> {address}:8080\" -j KUBE-SEP-{}",
                chain(address)
            );
        }
        for address in &addresses {
            let _ = writeln!(
                text,
                "-A KUBE-SEP-{} -p tcp -m comment --comment \"default/test:http\" -m tcp -j DNAT --to-destination {address}:8080",
                chain(address)
            );
        }
        text.push_str("COMMIT\n# Completed\n");
    }
    text
}

/// Sixteen letters that stand for an address.
fn chain(address: &str) -> String {
    let number: String = address.split('.').map(|part| format!("{:0>4}", part)).collect();
    number.bytes().map(|digit| char::from(b'A' + (digit - b'0'))).collect()
}

fn slots(cluster: &Cluster, node: &Node) -> String {
    let mut text = String::new();
    let (mut last, mut since) = (usize::MAX, 0);
    for look in &node.looks {
        let count = held(node, look.read);
        since += 1;
        if count == last && since < 12 {
            continue;
        }
        let _ = write!(
            text,
            "{{\"ts\":\"{}\",\"count\":{},\"qcount\":0,\"slots\":[[1,1,\"10.244.0.1:8080\",0]",
            epoch(node.clock.read(look.stamp)),
            count + 1
        );
        for (at, member) in cluster.members[..count].iter().enumerate() {
            let _ = write!(text, ",[{},{},\"{}:8080\",0]", at + 2, at + 2, member.address);
        }
        let _ =
            writeln!(text, "],\"samples_since_last_line\":{since},\"read_ns\":{}}}", look.read - look.stamp + 1_000);
        (last, since) = (count, 0);
    }
    text
}

/// What Prometheus got of a node's exporters: times on the node's clock, read a little after the scrape began.
fn scrapes(cluster: &Cluster, node: &Node) -> String {
    let mut text = String::new();
    let mut at = START + 10 * MS;
    while at < cluster.end {
        let read = at + 2 * MS;
        let name = &node.name;
        let seconds = |time: i64| format!("{:.6}", node.clock.read(time) as f64 / 1e9);
        let _ = writeln!(text, "# SCRAPE {}", epoch(cluster.prometheus.read(at)));
        let _ = writeln!(
            text,
            "# TYPE node_time_seconds gauge\nnode_time_seconds{{instance=\"{name}:9100\"}} {}",
            seconds(read)
        );
        if let Some(sync) = node.syncs.iter().rev().find(|sync| sync.end <= read).filter(|_| !cluster.plan.cilium) {
            let gauge = "kubeproxy_sync_proxy_rules_last_timestamp_seconds";
            let _ = writeln!(text, "# TYPE {gauge} gauge\n{gauge}{{instance=\"{name}:10249\"}} {}", seconds(sync.end));
        }
        at += SCRAPES;
    }
    text
}

fn trace(cluster: &Cluster, node: &Node) -> String {
    let boot = |time: i64| time - node.booted;
    let mut lines: Vec<(i64, String)> = Vec::new();
    let mut at = START + 50 * MS;
    while at < cluster.end {
        lines.push((at, format!("{} EXEC pid=1 comm=iptables", boot(at))));
        at += 100 * MS;
    }
    let mut lost = 0;
    for sync in &node.syncs {
        if !sync.traced {
            lost += 1;
            continue;
        }
        let (word, rest) = if cluster.plan.cilium {
            ("BPF_MAP_UPDATE_ELEM", "tid=2 comm=cilium-agent map_fd=38")
        } else {
            ("IPT_SO_SET_REPLACE", "comm=iptables-restor table=nat entries=80 optlen=100")
        };
        let line = format!("{} {word} pid=7 {rest} dur_ns={} ret=0", boot(sync.returned), sync.returned - sync.call);
        lines.push((sync.returned, line));
    }
    lines.sort();
    let mut text = "Attaching 9 probes...\n".to_owned();
    for (_, line) in lines {
        text.push_str(&line);
        text.push('\n');
    }
    if lost > 0 {
        let _ = writeln!(text, "Lost {lost} events");
    }
    text
}

fn log(cluster: &Cluster, node: &Node) -> String {
    let mut lines: Vec<(i64, String)> = Vec::new();
    lines.push((START + 20 * MS, "config.go:1] \"Starting\"".to_owned()));
    for time in &node.received {
        lines.push((*time, "config.go:142] \"Calling handler.OnEndpointSliceUpdate\"".to_owned()));
    }
    // A restarted proxy loses the end of the sync that it was in, and gets the slice anew.
    let restarted = cluster.plan.proxy_restarts.then_some(node.syncs.len() / 2);
    for (number, sync) in node.syncs.iter().enumerate() {
        let start = "proxier.go:668] \"Syncing iptables rules\" ipFamily=\"IPv4\" fullSync=false".to_owned();
        lines.push((sync.start + 100_000, start));
        if restarted == Some(number) {
            lines.push((sync.end, "config.go:142] \"Calling handler.OnEndpointSliceAdd\"".to_owned()));
            continue;
        }
        let elapsed = sync.end - 50_000 - sync.start;
        let whole = format!("{}.{:06}", elapsed / MS, elapsed % MS);
        lines.push((
            sync.end,
            format!("proxier.go:662] \"SyncProxyRules complete\" ipFamily=\"IPv4\" elapsed=\"{whole}ms\""),
        ));
    }
    lines.push((cluster.end, "config.go:1] \"Stopping\"".to_owned()));
    lines.sort();
    let mut text = String::new();
    for (time, line) in lines {
        let (_, month, date, clock) = stamp(node.clock.read(time), 6);
        let _ = writeln!(text, "I{month:02}{date:02} {clock}       1 {line}");
    }
    text
}
