//! What `--version` of several programs printed, gathered in one file: `versions.txt`.
//!
//! ```text
//! Linux 6.18.44
//! Server Version: v1.36.2
//! bpftrace v0.17.0
//! iptables v1.8.13 (legacy)
//! ```

use syncline_schema::clock::ClockToken;
use syncline_schema::facts::FactRow;

use super::{Batch, Chunk, Context, Cut, Format, Head, Sniff};

/// The format.
pub const FORMAT: Format = Format {
    kind: "versions",
    title: "versions of programs, one a line",
    clock: ClockToken::None,
    cut: Cut::Whole,
    sniff,
    parse,
    sample: "Server Version: v1.36.2\nbpftrace v0.17.0\niptables v1.8.13 (legacy)",
    recognised: "the name versions.txt, and at least one line of a known program; what `kubectl version` prints, also as JSON",
    capture: "(uname -sr; kubectl version; bpftrace --version; iptables --version; cilium-dbg version) > versions.txt",
    proves: "which versions the run used",
};

/// Beginnings of lines, and the component that they tell of.
const KNOWN: [(&str, &str); 12] = [
    ("Linux ", "linux"),
    ("Server Version: ", "kubernetes"),
    ("Client Version: ", "kubectl"),
    ("Kubernetes ", "kube-proxy"),
    ("bpftrace ", "bpftrace"),
    ("iptables ", "iptables"),
    ("nftables ", "nftables"),
    ("prometheus, version ", "prometheus"),
    ("node_exporter, version ", "node_exporter"),
    ("etcd Version: ", "etcd"),
    ("containerd ", "containerd"),
    ("runc version ", "runc"),
];

fn version(line: &str) -> Option<(&'static str, String)> {
    let (start, component) = KNOWN.iter().find(|(start, _)| line.starts_with(start))?;
    // Old versions of kubectl print a Go struct.
    if let Some((_, rest)) = line.split_once("GitVersion:\"v") {
        return Some((component, rest.split('"').next()?.to_owned()));
    }
    let words = line[start.len()..].split_whitespace();
    let version = words
        .map(|word| word.trim_start_matches('v'))
        .find(|word| word.starts_with(|letter: char| letter.is_ascii_digit()))?;
    Some((component, version.trim_end_matches(',').to_owned()))
}

/// `kubectl version`, as JSON or text, by itself.
fn of_kubectl(text: &str) -> bool {
    let json =
        text.trim_start().starts_with('{') && text.contains("\"clientVersion\"") && text.contains("\"gitVersion\"");
    let marks = ["Client Version: ", "Server Version: ", "Kustomize Version: ", "WARNING: ", "$ ", "clientVersion:"];
    let lines = || text.lines().filter(|line| !line.trim().is_empty());
    let all = lines().take(20).all(|line| marks.iter().any(|mark| line.starts_with(mark)));
    json || lines().any(|line| line.starts_with("Client Version: ") || line.starts_with("Server Version: ")) && all
}

/// `serverVersion.gitVersion` and the client's.
fn parse_json(context: &Context, chunk: &Chunk, batch: &mut Batch) -> bool {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(chunk.bytes) else { return false };
    for (key, component) in [("serverVersion", "kubernetes"), ("clientVersion", "kubectl")] {
        if let Some(version) = value[key]["gitVersion"].as_str() {
            batch.record(None);
            batch.push(&FactRow {
                source: Some(context.source),
                record: chunk.first_line,
                key: format!("version/{component}").into(),
                value: version.trim_start_matches('v').to_owned().into(),
                ..Default::default()
            });
        }
    }
    true
}

fn sniff(head: &Head) -> Sniff {
    let named = head.path.rsplit('/').next().is_some_and(|name| name.starts_with("versions"));
    let text = String::from_utf8_lossy(head.bytes);
    if of_kubectl(&text) {
        return Sniff::Yes;
    }
    if named && text.lines().any(|line| version(line).is_some()) { Sniff::Yes } else { Sniff::No }
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    if chunk.bytes.trim_ascii_start().starts_with(b"{") && parse_json(context, chunk, batch) {
        return;
    }
    for line in chunk.lines() {
        let text = String::from_utf8_lossy(line.bytes);
        if text.trim().is_empty() {
            continue;
        }
        batch.record(None);
        let (key, value) = match version(&text) {
            Some((component, version)) => (format!("version/{component}"), version),
            // Whatever else was gathered is kept as it was printed.
            None => (format!("versions/{}", line.number), text.trim().to_owned()),
        };
        batch.push(&FactRow {
            source: Some(context.source),
            record: line.number,
            key: key.into(),
            value: value.into(),
            ..Default::default()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn versions_are_told_from_their_lines() {
        assert_eq!(version("Server Version: v1.36.2"), Some(("kubernetes", "1.36.2".to_owned())));
        assert_eq!(version("iptables v1.8.13 (legacy)"), Some(("iptables", "1.8.13".to_owned())));
        assert_eq!(
            version("containerd github.com/containerd/containerd/v2 2.1.9+unknown"),
            Some(("containerd", "2.1.9+unknown".to_owned()))
        );
        assert_eq!(version("Kustomize Version: v5.8.1"), None);
    }
}
