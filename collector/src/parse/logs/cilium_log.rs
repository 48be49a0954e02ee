//! Logs of the Cilium agent, operator and Hubble: logfmt (logrus, slog) and JSON.
//!
//! ```text
//! time=2026-11-23T04:43:12.169061113Z level=info msg="New endpoint" endpointID=864 subsys=endpoint
//! 2022-11-10T18:56:37.533309581Z level=info msg="Started gops server" address="127.0.0.1:9890" subsys=daemon
//! {"time":"2026-11-23T04:43:12.169061113Z","level":"info","msg":"New endpoint","subsys":"endpoint"}
//! ```
//!
//! Older agents write no time: then only the container runtime's reading ahead of the line is known. The options that a
//! component lists when it starts (`msg="  --name='value'"`) become facts, `config/name` of the agent and
//! `config/operator/name` of the operator. Lines of other formats (exported flows, klog of libraries) go to theirs.

use syncline_schema::clock::ClockToken;
use syncline_schema::logs::LogRow;
use syncline_schema::loss::NO_TIME;

use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Reads, Sniff};
use crate::parse::logs::proxy_entry::{Carried, Syncs};
use crate::parse::logs::{foreign, klog, logfmt, proxy_entry};

/// Logs of Cilium's components.
pub const FORMAT: Format = Format {
    kind: "cilium-log",
    title: "Log of the Cilium agent or operator",
    clock: ClockToken::Node,
    cut: Cut::Lines,
    sniff,
    reads: Reads::Rows(parse),
    sample: "time=2026-11-23T04:43:12.169061113Z level=info msg=\"New endpoint\" endpointID=864 subsys=endpoint",
    recognised: "lines with `level=` and `msg=`, or JSON with both; `subsys` or `module`, or Cilium's name",
    capture: "kubectl -n kube-system logs --timestamps <cilium pod>",
    proves: "when the agent built endpoints, and with which options it ran",
};

fn sniff(head: &Head) -> Sniff {
    let (mut good, mut named, mut bad) = (0, false, 0);
    for line in head.bytes.split(|byte| *byte == b'\n').take(60) {
        let Ok(text) = std::str::from_utf8(line) else { continue };
        let text = text.trim_end_matches('\r');
        match logfmt::entry(text) {
            Some(found) => {
                good += 1;
                named |= found.caller.is_some() || found.message.contains("ilium") || found.message.contains("ubble");
            }
            // An agent may export its flows to the same place, and libraries write klog.
            None if foreign::is_known(text) || klog::entry(text).is_some() => {}
            None => bad += usize::from(!text.trim().is_empty()),
        }
    }
    let name = head.path.rsplit('/').next().unwrap_or_default();
    named |= name.contains("cilium") || name.contains("hubble");
    match (good > bad, named) {
        (true, true) => Sniff::Yes,
        // Other programs write logfmt too: nothing tells that this is Cilium's.
        _ => Sniff::No,
    }
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    let mut timeless = 0;
    let mut syncs = Syncs::default();
    for line in chunk.lines() {
        if line.bytes.is_empty() {
            continue;
        }
        let text = line.text();
        let known = chunk.known(line.number);
        let outer_time = known.outer_time;
        if let Some(found) = logfmt::entry(&text) {
            timeless += u64::from(logfmt::push(context, line.number, outer_time, found, batch).is_none());
            continue;
        }
        // Kubernetes' client library writes klog between the agent's own lines.
        if let Some(found) = klog::entry(&text) {
            let carried = Carried { record: line.number, outer_time, proxy: known.pod.or(known.node) };
            proxy_entry::push(context, &carried, found, &mut syncs, batch);
            continue;
        }
        if foreign::read(context, &line, &text, outer_time, batch) {
            continue;
        }
        batch.record(outer_time);
        batch.push(&LogRow {
            source: context.source,
            record: line.number,
            clock: context.clock.as_str().into(),
            outer_time,
            level: "info".into(),
            message: text,
            ..Default::default()
        });
    }
    syncs.finish(batch);
    if timeless > 0 {
        batch.loss(NO_TIME, timeless);
    }
}

#[cfg(test)]
mod tests {
    use super::FORMAT;
    use crate::form::Sniff;
    use crate::parse::harness::{corpus_files, files, head, parse_text, untimed};

    #[test]
    fn options_are_facts() {
        let mut batch = parse_text(&FORMAT, "level=info msg=\"  --lb-reflector-wait-time='500ms'\" subsys=daemon\n");
        assert_eq!((batch.take_tables().len(), batch.losses["no-time"].1), (2, 1));
    }

    #[test]
    fn takes_every_log_of_the_captures_and_the_corpus() {
        let captured = files(&["captures/cilium-scale-up-1".to_owned()]).into_iter();
        for (path, bytes) in captured.chain(corpus_files(&["cilium_agent_log", "kube_proxy_log", "k8s_audit"])) {
            let bytes = untimed(&bytes);
            let found = (FORMAT.sniff)(&head(&path, &bytes));
            let is_log = path.contains("cilium_agent_log")
                || path.contains("/logs/")
                || path.contains("/hubble.std")
                || path.contains("dropped.std");
            assert_eq!(found == Sniff::Yes, is_log, "{path}");
            if is_log {
                assert_eq!(parse_text(&FORMAT, &String::from_utf8_lossy(&bytes)).rejected, 0, "{path}");
            }
        }
    }
}
