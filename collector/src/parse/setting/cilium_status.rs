//! `cilium-dbg status` (also `--verbose`): what the agent says of itself.
//!
//! ```text
//! KVStore:                 Disabled
//! Kubernetes:              Ok         1.36 (v1.36.2) [linux/amd64]
//! KubeProxyReplacement:    True   [eth0 172.30.0.1 (Direct Routing)]
//! Cilium:                  Ok   1.19.4 (v1.19.4-cf4b9c48)
//! ```
//!
//! Each line at the left margin is a fact (`cilium/status/KubeProxyReplacement`); the versions of Kubernetes and of Cilium are
//! facts of the run. Indented lines (details of `--verbose`) go with the line that they stand under, and are left out.

use syncline_schema::clock::ClockToken;

use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Line, Reads, Sniff};

/// The format.
pub const FORMAT: Format = Format {
    kind: "cilium-status",
    title: "Status of the Cilium agent",
    clock: ClockToken::None,
    cut: Cut::Whole,
    sniff,
    reads: Reads::Rows(parse),
    sample: "KVStore:                 Disabled\nKubernetes:              Ok         1.36 (v1.36.2) [linux/amd64]\nKubeProxyReplacement:    True   [eth0 172.30.0.1 (Direct Routing)]\nCilium:                  Ok   1.19.4 (v1.19.4-cf4b9c48)\n",
    recognised: "lines `KubeProxyReplacement: …` and `Cilium: …` at the left margin; its JSON; the picture of `cilium status`",
    capture: "kubectl -n kube-system exec ds/cilium -- cilium-dbg status --verbose",
    proves: "versions, and whether Cilium replaced kube-proxy",
};

fn sniff(head: &Head) -> Sniff {
    if of_command_line(head.bytes) || is_json(head.bytes) {
        return Sniff::Yes;
    }
    let begins = |mark: &[u8]| head.bytes.split(|byte| *byte == b'\n').any(|line| line.starts_with(mark));
    let agent = begins(b"KubeProxyReplacement:") || begins(b"KVStore:");
    if agent && begins(b"Cilium:") && begins(b"Kubernetes:") { Sniff::Yes } else { Sniff::No }
}

/// `cilium status` of the command line outside of the cluster: a picture, then tables.
fn of_command_line(bytes: &[u8]) -> bool {
    let has = |mark: &str| memchr::memmem::find(bytes, mark.as_bytes()).is_some();
    has("Cilium:") && has("Operator:") && has("Hubble Relay:")
}

/// `cilium-dbg status -o json`.
fn is_json(bytes: &[u8]) -> bool {
    let has = |mark: &[u8]| memchr::memmem::find(bytes, mark).is_some();
    bytes.trim_ascii_start().starts_with(b"{")
        && has(b"\"bpf-maps\":") | has(b"\"client-mtls\":") | has(b"\"kube-proxy-replacement\":")
        && (has(b"\"cilium\":") || has(b"\"cluster\":"))
        && !has(b"\"apiVersion\":")
}

/// Parts of the status that say how they are: `{"state":"Ok","msg":"1.19.4 (v1.19.4-cf4b9c48)"}`, `{"mode":"True"}`.
fn parse_json(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    let whole = Line { bytes: chunk.bytes, number: chunk.first_line, offset: chunk.offset, ended: true };
    let status: serde_json::Value = match serde_json::from_slice(chunk.bytes) {
        Ok(status) => status,
        Err(error) => return batch.reject(context, &whole, &format!("expected the agent's status as JSON: {error}")),
    };
    for (name, part) in status.as_object().into_iter().flatten() {
        let word = |key: &str| part[key].as_str().filter(|text| !text.is_empty());
        let said: Vec<&str> = [word("state"), word("mode"), word("msg")].into_iter().flatten().collect();
        if said.is_empty() {
            continue;
        }
        batch.record(None);
        batch.fact(context, whole.number, &format!("cilium/status/{name}"), &said.join("   "));
        if let (component @ ("cilium" | "kubernetes"), Some(version)) = (name.as_str(), version(part["msg"].as_str())) {
            batch.fact(context, whole.number, &format!("version/{component}"), version);
        }
    }
}

/// `1.19.4` of `1.19.4 (v1.19.4-cf4b9c48)`.
fn version(said: Option<&str>) -> Option<&str> {
    said?.split_once("(v").and_then(|(_, rest)| rest.split([')', '-', '+']).next())
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    if chunk.bytes.trim_ascii_start().starts_with(b"{") {
        return parse_json(context, chunk, batch);
    }
    let drawn = of_command_line(chunk.bytes);
    for line in chunk.lines() {
        let text = line.text();
        if drawn {
            // The picture stands on the left; a row without a name belongs to the one above it.
            let said = text.trim_start_matches([' ', '/', '\\', '_', '¯']).trim_end();
            let parted = said.split_once(':').filter(|(name, _)| name.len() < 30 && !name.contains("  "));
            let parted = parted.or_else(|| said.split_once("   "));
            if let Some((name, value)) = parted {
                batch.record(None);
                batch.fact(context, line.number, &format!("cilium/status/{}", name.trim()), value.trim());
            }
            continue;
        }
        if text.trim().is_empty() || text.starts_with([' ', '\t']) {
            continue;
        }
        let Some((name, value)) = text.split_once(':').filter(|(name, _)| name.len() < 60) else {
            batch.reject(context, &line, "expected `Name: value` at the left margin");
            continue;
        };
        let value = value.trim();
        batch.record(None);
        batch.fact(context, line.number, &format!("cilium/status/{name}"), value);
        // `Ok   1.19.4 (v1.19.4-cf4b9c48)`, `Ok   1.36 (v1.36.2) [linux/amd64]`
        match (name, version(Some(value))) {
            ("Cilium", Some(version)) => batch.fact(context, line.number, "version/cilium", version),
            ("Kubernetes", Some(version)) => batch.fact(context, line.number, "version/kubernetes", version),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::FORMAT;
    use crate::form::Sniff;
    use crate::parse::harness::{files, head, parse_text};

    #[test]
    fn versions_are_facts() {
        let mut batch = parse_text(&FORMAT, FORMAT.sample);
        assert_eq!((batch.records, batch.rejected), (4, 0));
        let facts = batch.take_tables().remove(0).finish().expect("rows");
        let column = facts.column_by_name("value").expect("the column");
        let values: Vec<_> = arrow_array::cast::AsArray::as_string::<i32>(column).iter().flatten().collect();
        assert!(values.contains(&"1.36.2") && values.contains(&"1.19.4"), "{values:?}");
    }

    #[test]
    fn the_picture_of_the_command_line_is_read() {
        let text = "    /¯¯\\\n /¯¯\\__/¯¯\\    Cilium:             OK\n \\__/¯¯\\__/    Operator:           OK\n /¯¯\\__/¯¯\\    Hubble Relay:       disabled\n\nDeployment             cilium-operator    Desired: 1, Ready: 1/1\n";
        assert_eq!((FORMAT.sniff)(&head("x", text.as_bytes())), Sniff::Yes);
        let batch = parse_text(&FORMAT, text);
        assert_eq!((batch.records, batch.rejected), (4, 0));
    }

    #[test]
    fn takes_no_other_file() {
        for (path, bytes) in files(&["captures/cilium-scale-up-1".to_owned()]) {
            let wanted = path.contains("cilium-status");
            assert_eq!((FORMAT.sniff)(&head(&path, &bytes)) == Sniff::Yes, wanted, "{path}");
            let batch = parse_text(&FORMAT, &String::from_utf8_lossy(&bytes));
            assert!(!wanted || (batch.records > 10 && batch.rejected == 0), "{path}: {}", batch.rejected);
        }
    }
}
