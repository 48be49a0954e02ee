//! What `--version` of several programs printed, gathered in one file: `versions.txt`.
//!
//! ```text
//! Linux 6.18.44
//! Server Version: v1.36.2
//! bpftrace v0.17.0
//! iptables v1.8.13 (legacy)
//! ```

use syncline_schema::clock::ClockToken;

use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Reads, Sniff};

/// The format.
pub const FORMAT: Format = Format {
    kind: "versions",
    title: "versions of programs, one a line",
    clock: ClockToken::None,
    cut: Cut::Whole,
    sniff,
    reads: Reads::Rows(parse),
    sample: "Server Version: v1.36.2\nbpftrace v0.17.0\niptables v1.8.13 (legacy)",
    recognised: "the name versions.txt, and at least one line of a known program; what `kubectl version` (also as JSON) and `uname -a` print",
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
    let mut words = line[start.len()..].split_whitespace();
    if is_uname(line) {
        words.next();
    }
    let version = words
        .map(|word| word.trim_start_matches('v'))
        .find(|word| word.starts_with(|letter: char| letter.is_ascii_digit()))?;
    Some((component, version.trim_end_matches(',').to_owned()))
}

/// `uname -a`, which has the name of the host ahead of the release.
fn is_uname(line: &str) -> bool {
    line.starts_with("Linux ") && line.contains(" #")
}

/// The version alone, in a file that says whose it is: `k8s-version-<ts>.txt` of a sysdump.
fn of_kubernetes(head: &Head, text: &str) -> bool {
    let number = text.trim().strip_prefix('v').is_some_and(|rest| {
        rest.starts_with(|letter: char| letter.is_ascii_digit()) && !rest.contains(char::is_whitespace)
    });
    number && head.path.rsplit('/').next().is_some_and(|name| name.starts_with("k8s-version"))
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
            let key = format!("version/{component}");
            batch.fact(context, chunk.first_line, &key, version.trim_start_matches('v'));
        }
    }
    true
}

fn sniff(head: &Head) -> Sniff {
    let named = head.path.rsplit('/').next().is_some_and(|name| name.starts_with("versions"));
    let text = String::from_utf8_lossy(head.bytes);
    let mut said = text.lines().filter(|line| !line.trim().is_empty());
    if of_kubectl(&text) || of_kubernetes(head, &text) || said.next().is_some_and(is_uname) && said.next().is_none() {
        return Sniff::Yes;
    }
    if named && text.lines().any(|line| version(line).is_some()) { Sniff::Yes } else { Sniff::No }
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    if chunk.bytes.trim_ascii_start().starts_with(b"{") && parse_json(context, chunk, batch) {
        return;
    }
    let whole = String::from_utf8_lossy(chunk.bytes);
    let alone = of_kubernetes(&Head { path: &context.path, bytes: chunk.bytes, whole: true }, &whole);
    for line in chunk.lines() {
        let text = line.text();
        if text.trim().is_empty() {
            continue;
        }
        batch.record(None);
        let (key, value) = match version(&text) {
            Some((component, version)) => (format!("version/{component}"), version),
            None if alone => ("version/kubernetes".to_owned(), text.trim().trim_start_matches('v').to_owned()),
            // Whatever else was gathered is kept as it was printed.
            None => (format!("versions/{}", line.number), text.trim().to_owned()),
        };
        batch.fact(context, line.number, &key, &value);
    }
}

#[cfg(test)]
mod tests {
    use super::{FORMAT, Sniff, version};
    use crate::parse::harness::head;

    #[test]
    fn versions_are_told_from_their_lines() {
        assert_eq!(version("Server Version: v1.36.2"), Some(("kubernetes", "1.36.2".to_owned())));
        assert_eq!(version("iptables v1.8.13 (legacy)"), Some(("iptables", "1.8.13".to_owned())));
        assert_eq!(
            version("containerd github.com/containerd/containerd/v2 2.1.9+unknown"),
            Some(("containerd", "2.1.9+unknown".to_owned()))
        );
        assert_eq!(version("Kustomize Version: v5.8.1"), None);
        let uname =
            "Linux 10-0-3-7 6.1.0-40-amd64 #1 SMP PREEMPT_DYNAMIC Debian 6.1.153-1 (2025-09-20) x86_64 GNU/Linux";
        assert_eq!(version(uname), Some(("linux", "6.1.0-40-amd64".to_owned())));
        let read = |path: &str, text: &str| (FORMAT.sniff)(&head(path, text.as_bytes())) == Sniff::Yes;
        assert!(read("uname--a.md", &format!("{uname}\n")) && read("k8s-version-1.txt", "v1.33.1\n"));
        assert!(!read("x.txt", "v1.33.1\n"));
    }
}
