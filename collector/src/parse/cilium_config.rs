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
use syncline_schema::facts::FactRow;

use super::{Batch, Chunk, Context, Cut, Format, Head, Sniff};

/// The agent's options.
pub const CONFIG: Format = Format {
    kind: "cilium-config",
    title: "Options of the Cilium agent",
    clock: ClockToken::None,
    cut: Cut::Whole,
    sniff: sniff_config,
    parse: parse_config,
    sample: "#### Read-only configurations ####\nRoutingMode                       : native\n",
    recognised: "the heading `#### Read-only configurations ####`",
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
    parse: parse_version,
    sample: "Client: 1.19.4 cf4b9c48 2026-06-10T15:09:30+08:00 go version go1.25.5 linux/amd64\nDaemon: 1.19.4 cf4b9c48 2026-06-10T15:09:30+08:00 go version go1.25.5 linux/amd64\n",
    recognised: "lines `Client: <version> <commit> …` and `Daemon: …`, and nothing else",
    capture: "kubectl -n kube-system exec ds/cilium -- cilium-dbg version",
    proves: "the version of the agent",
};

fn sniff_config(head: &Head) -> Sniff {
    let first = head.bytes.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii();
    if first.starts_with(b"####") && first.ends_with(b"configurations ####") { Sniff::Yes } else { Sniff::No }
}

fn sniff_version(head: &Head) -> Sniff {
    let mut lines = head.bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let all = head.whole && lines.all(|line| std::str::from_utf8(line).ok().and_then(version).is_some());
    if all && head.bytes.starts_with(b"Client: ") { Sniff::Yes } else { Sniff::No }
}

/// `Client` or `Daemon`, and its version.
fn version(line: &str) -> Option<(&str, &str)> {
    let (who, rest) = line.split_once(": ")?;
    let version = rest.split_ascii_whitespace().next()?;
    let plausible = version.starts_with(|first: char| first.is_ascii_digit()) && version.contains('.');
    (matches!(who, "Client" | "Daemon") && plausible).then_some((who, version))
}

fn fact(context: &Context, record: i64, key: &str, value: &str, batch: &mut Batch) {
    batch.record(None);
    batch.push(&FactRow {
        source: Some(context.source),
        record,
        key: key.into(),
        value: value.into(),
        ..Default::default()
    });
}

fn parse_config(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    for line in chunk.lines() {
        let text = String::from_utf8_lossy(line.bytes);
        // A multi-valued option continues on indented lines without a name of its own.
        let Some((name, value)) = text.split_once(" : ").or_else(|| text.split_once(": ")) else { continue };
        let name = name.trim_end();
        if !name.is_empty() && !name.starts_with([' ', '#']) && !name.contains(' ') {
            fact(context, line.number, &format!("config/{name}"), value.trim(), batch);
        }
    }
}

fn parse_version(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    for line in chunk.lines() {
        let text = String::from_utf8_lossy(line.bytes);
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
    use crate::parse::Sniff;
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
