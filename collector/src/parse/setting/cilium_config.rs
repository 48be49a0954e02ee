//! `cilium-dbg config -a` and `cilium-dbg version`: with which options and in which version the agent ran.
//!
//! ```text
//! #### Read-only configurations ####
//! RoutingMode                       : native
//!
//! Daemon: 1.19.4 cf4b9c48 2026-06-10T15:09:30+08:00 go version go1.25.5 linux/amd64
//! ```
//!
//! Gives facts: `config/RoutingMode`, and `version/cilium` of the daemon.

use syncline_schema::clock::ClockToken;

use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Reads, Sniff};

/// The agent's options.
pub const CONFIG: Format = Format {
    kind: "cilium-config",
    title: "Options of the Cilium agent",
    clock: ClockToken::None,
    cut: Cut::Whole,
    sniff: sniff_config,
    reads: Reads::Rows(parse_config),
    sample: "#### Read-only configurations ####\nRoutingMode                       : native\n",
    recognised: "the heading `#### Read-only configurations ####`, or columns of options, two of which every agent has",
    capture: "kubectl -n kube-system exec ds/cilium -- cilium-dbg config -a",
    proves: "with which options the agent ran",
};

/// The agent's version.
pub const VERSION: Format = Format {
    kind: "cilium-version",
    title: "Version of the Cilium agent",
    clock: ClockToken::None,
    cut: Cut::Whole,
    sniff: sniff_version,
    reads: Reads::Rows(parse_version),
    sample: "Client: 1.19.4 cf4b9c48 2026-06-10T15:09:30+08:00 go version go1.25.5 linux/amd64\nDaemon: 1.19.4 cf4b9c48 2026-06-10T15:09:30+08:00 go version go1.25.5 linux/amd64\n",
    recognised: "lines `Client: <version> <commit> …` and `Daemon: …`, and nothing else",
    capture: "kubectl -n kube-system exec ds/cilium -- cilium-dbg version",
    proves: "the version of the agent",
};

fn sniff_config(head: &Head) -> Sniff {
    let text = String::from_utf8_lossy(head.bytes);
    let lines: Vec<&str> = text.lines().take(400).collect();
    let first = lines.first().map_or("", |line| line.trim());
    let headed = first.starts_with("####") && first.trim_end_matches('#').trim_end().ends_with("configurations");
    // Without -a, and in old versions, nothing but options stands there; `cilium config view` prints the ConfigMap.
    let columns = lines.iter().filter(|line| columns(line).is_some()).count();
    let known = lines.iter().filter(|line| columns_name(line).is_some_and(|name| MARKS.contains(&name))).count();
    if headed || known >= 2 && columns * 10 >= lines.len() * 8 { Sniff::Yes } else { Sniff::No }
}

/// Options that every agent has; two of them tell its list from other columns.
const MARKS: [&str; 14] = [
    "ConntrackAccounting",
    "ConntrackLocal",
    "DropNotification",
    "MonitorAggregationLevel",
    "PolicyVerdictNotification",
    "TraceNotification",
    "PolicyEnforcement",
    "kube-proxy-replacement",
    "bpf-lb-map-max",
    "bpf-lb-acceleration",
    "auto-direct-node-routes",
    "cluster-name",
    "enable-bpf-masquerade",
    "agent-not-ready-taint-key",
];

fn columns_name(line: &str) -> Option<&str> {
    columns(line).map(|(name, _)| name)
}

/// Name and value of a line of two columns; a value may be empty.
fn columns(line: &str) -> Option<(&str, &str)> {
    let name = line.split_ascii_whitespace().next().filter(|_| !line.starts_with([' ', '\t', '#']))?;
    let rest = line.strip_prefix(name)?;
    let word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    (word && (rest.starts_with("  ") || rest.starts_with(" : ") || rest.starts_with('\t'))).then(|| {
        let value = rest.trim();
        (name, value.strip_prefix(": ").map_or(value, str::trim))
    })
}

fn sniff_version(head: &Head) -> Sniff {
    let said = |line: &&[u8]| !line.trim_ascii().is_empty();
    let mut lines = head.bytes.split(|byte| *byte == b'\n').filter(said).peekable();
    let first = lines.peek().copied().unwrap_or_default();
    let begins = [&b"Client: "[..], b"cilium-cli: ", b"Daemon: "].iter().any(|mark| first.starts_with(mark));
    let all = head.whole && lines.all(|line| std::str::from_utf8(line).ok().and_then(version).is_some());
    if all && begins { Sniff::Yes } else { Sniff::No }
}

/// `Client` or `Daemon`, and its version.
fn version(line: &str) -> Option<(&str, &str)> {
    let (who, rest) = line.split_once(": ")?;
    let version = rest.split_ascii_whitespace().next()?;
    let digits = version.trim_start_matches('v');
    let plausible = digits.starts_with(|first: char| first.is_ascii_digit()) && digits.contains('.');
    let asked = ["Client", "Daemon", "cilium-cli"].contains(&who) || who.starts_with("cilium image (");
    // The image that runs is the daemon's.
    let who = if who == "cilium image (running)" { "Daemon" } else { who };
    (asked && (plausible || version == "unknown.")).then_some((who, digits))
}

fn fact(context: &Context, record: i64, key: &str, value: &str, batch: &mut Batch) {
    batch.record(None);
    batch.fact(context, record, key, value);
}

fn parse_config(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    for line in chunk.lines() {
        let text = line.text();
        // A multi-valued option continues on indented lines without a name of its own.
        let parted = text.split_once(" : ").or_else(|| text.split_once(": "));
        // A colon within a value parts nothing.
        let parted = parted.filter(|(name, _)| !name.trim_end().contains(' ')).or_else(|| columns(&text));
        let Some((name, value)) = parted else { continue };
        let name = name.trim_end();
        if !name.is_empty() && !name.starts_with([' ', '#']) && !name.contains(' ') {
            fact(context, line.number, &format!("config/{name}"), value.trim(), batch);
        }
    }
}

fn parse_version(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    for line in chunk.lines() {
        let text = line.text();
        match version(&text) {
            Some(("Daemon", version)) => fact(context, line.number, "version/cilium", version, batch),
            Some(_) => batch.record(None),
            None if line.bytes.trim_ascii().is_empty() => {}
            None => batch.reject(context, &line, "expected `Client: <version>` or `Daemon: <version>`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CONFIG, VERSION};
    use crate::form::Sniff;
    use crate::parse::harness::{files, head, parse_text};

    #[test]
    fn reads_options_and_version() {
        let text = "#### Read-only configurations ####\nRoutingMode                       : native\nBPFMapEventBuffers\nEnableSocketLBPodConnectionTermination: true\n";
        let batch = parse_text(&CONFIG, text);
        assert_eq!((batch.records, batch.rejected), (2, 0));
        let batch = parse_text(&VERSION, VERSION.sample);
        assert_eq!((batch.records, batch.rejected), (2, 0));
    }

    #[test]
    fn columns_without_a_heading_are_read() {
        for text in [
            "Conntrack                         Enabled\nConntrackAccounting               Enabled\nDebug                             Disabled\nDropNotification                  Enabled\nk8s-endpoint                      \n",
            "agent-not-ready-taint-key      node.cilium.io/agent-not-ready\nauto-direct-node-routes        false\nbpf-lb-map-max                 65536\ncluster-pool-ipv4-cidr         10.0.0.0/8\ncluster-pool-ipv4-mask-size    24\n",
        ] {
            assert_eq!((CONFIG.sniff)(&head("x", text.as_bytes())), Sniff::Yes, "{text}");
            let batch = parse_text(&CONFIG, text);
            assert_eq!((batch.records, batch.rejected), (5, 0), "{text}");
        }
        let text = "cilium-cli: v0.15.8 compiled with go1.21.0 on linux/amd64\ncilium image (running): 1.14.2\n";
        assert_eq!((VERSION.sniff)(&head("x", text.as_bytes())), Sniff::Yes);
        assert_eq!(parse_text(&VERSION, text).records, 2);
    }

    #[test]
    fn takes_only_its_own_files() {
        for (path, bytes) in files(&["captures/cilium-scale-up-1".to_owned()]) {
            let check = |format: &super::Format, name: &str| {
                let expected = if path.ends_with(name) { Sniff::Yes } else { Sniff::No };
                assert_eq!((format.sniff)(&head(&path, &bytes)), expected, "{path}");
            };
            check(&CONFIG, "cilium-config.txt");
            check(&VERSION, "cilium-version.txt");
        }
    }
}
