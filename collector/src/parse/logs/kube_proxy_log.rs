//! kube-proxy's log (klog: plain, structured and JSON), and the moments of its syncs.
//!
//! ```text
//! I1123 04:22:33.568529       1 config.go:142] "Calling handler.OnEndpointSliceUpdate"
//! I1123 04:22:33.606679       1 proxier.go:662] "SyncProxyRules complete" ipFamily="IPv4" elapsed="38.026082ms"
//! I1122 23:40:10.025947       1 proxier.go:825] syncProxyRules took 585.485129ms
//! ```
//!
//! klog writes no year and no zone. They come from `capture.toml`, else from the clock reading that a container
//! runtime wrote ahead of the line (the zone then is the multiple of 15 minutes that brings both together); without either
//! the line keeps no time (its duration needs none). Lines behind an entry that are none (a value over many lines, a trace) have its time
//! and level; lines of other formats go to theirs (`foreign`).

use syncline_schema::clock::ClockToken;
use syncline_schema::logs::LogRow;
use syncline_schema::loss::{LOG_BEGINS_LATE, NO_YEAR};

use crate::form::{Batch, Chunk, Context, Cut, Format, Head, Reads, Sniff};
use crate::parse::logs::foreign;
use crate::parse::logs::klog::{Ahead, Entry, When, closes_value, entry, headless, opens_value};
use crate::parse::logs::proxy_entry::{Carried, MOST_PROXIES, Syncs, moment, push};

/// kube-proxy's log.
pub const FORMAT: Format = Format {
    kind: "kube-proxy-log",
    title: "kube-proxy's log",
    clock: ClockToken::Node,
    cut: Cut::Lines,
    sniff,
    reads: Reads::Rows(parse),
    sample: "I1123 04:22:33.606679       1 proxier.go:662] \"SyncProxyRules complete\" ipFamily=\"IPv4\" elapsed=\"38.026082ms\"",
    recognised: "klog lines (`I1123 04:22:33.606679 1 file.go:662] …`) of a proxier",
    capture: "kubectl -n kube-system logs --timestamps <kube-proxy pod>, with kube-proxy at -v=4",
    proves: "when kube-proxy learnt of a change, and when each sync began and ended",
};

/// Files of kube-proxy's source that no other component has.
const FILES: [&str; 12] = [
    "proxier.go",
    "endpointslicecache.go",
    "endpoints.go",
    "endpointschangetracker.go",
    "servicechangetracker.go",
    "bounded_frequency_runner.go",
    "graceful_termination.go",
    "healthcheck.go",
    "proxier_health.go",
    "server_linux.go",
    "server_others.go",
    "topology.go",
];

/// Words of messages that kube-proxy alone writes, whatever the file.
const WORDS: [&str; 9] = [
    "ipvs",
    "iptables Proxier",
    "nftables Proxier",
    "--proxy-mode",
    "--iptables-sync-period",
    "endpoint slice config controller",
    "endpoints config controller",
    "service config",
    "Calling handler.On",
];

/// Whether an entry is one that kube-proxy writes.
fn is_proxys(found: &Entry<'_>) -> bool {
    let file = found.caller.split(':').next().unwrap_or_default();
    let config = matches!(file, "config.go" | "server.go" | "flags.go" | "shared_informer.go" | "proxier.go");
    FILES.contains(&file) || config && WORDS.iter().any(|word| found.message.contains(word)) || moment(found).is_some()
}

/// Most lines are entries, and one of them at least is kube-proxy's.
fn sniff(head: &Head) -> Sniff {
    let (mut klog, mut others, mut own) = (0, 0, false);
    for line in head.bytes.split(|byte| *byte == b'\n') {
        let Ok(text) = std::str::from_utf8(line) else { continue };
        let text = text.trim_end_matches('\r');
        let found = entry(text).or_else(|| headless(text).filter(|found| moment(found).is_some()));
        match found {
            Some(found) => {
                klog += 1;
                own = own || is_proxys(&found);
            }
            None => others += usize::from(is_strange(text)),
        }
    }
    if klog <= others {
        return Sniff::No;
    }
    let name = head.path.rsplit('/').next().unwrap_or_default();
    let named = name.contains("kube-proxy") || name.contains("kubeproxy");
    if own || named { Sniff::Yes } else { Sniff::No }
}

/// Whether a line that is no entry speaks against a log: not a value over many lines, a rule that was logged, a trace.
fn is_strange(text: &str) -> bool {
    let goes_on = ['\t', ' ', ':', '*', '-', '{', '}', ')', '+'];
    let trace =
        ["goroutine ", "COMMIT", "panic:", "created by ", "main.", "k8s.io/", "Flag --", "net/http", "runtime."];
    !text.trim().is_empty() && !text.starts_with(goes_on) && !trace.iter().any(|word| text.starts_with(word))
}

/// Whether a first entry is one of the flags that a proxy lists when it starts, in the order of the alphabet, but not the first.
fn begins_late(found: &Entry) -> bool {
    found.message.strip_prefix("FLAG: --").is_some_and(|flag| !flag.starts_with('a'))
}

fn parse(context: &Context, chunk: &Chunk, batch: &mut Batch) {
    let mut without_year = 0;
    let mut syncs = Syncs::default();
    // Several proxies may write to one place: each has its own entry that lines go on with.
    let mut running: Vec<(Option<&str>, Ahead)> = Vec::new();
    let mut begun = false;
    for line in chunk.lines() {
        if line.bytes.is_empty() {
            continue;
        }
        let text = line.text();
        let known = chunk.known(line.number);
        let outer_time = known.outer_time;
        let proxy = known.pod.or(known.node);
        let found = entry(&text).or_else(|| headless(&text));
        if let Some(found) = found {
            if chunk.first && !begun && begins_late(&found) {
                batch.loss(LOG_BEGINS_LATE, 1);
            }
            let (level, is_open) = (found.level, opens_value(&found.fields) || opens_value(&found.message));
            let dated = matches!(found.when, When::Outer);
            let time = push(context, &Carried { record: line.number, outer_time, proxy }, found, &mut syncs, batch);
            without_year += u64::from(time.is_none() && !dated);
            let ahead = Ahead { time, level, outer_time, is_open };
            match running.iter().position(|(name, _)| *name == proxy) {
                Some(known) => running[known].1 = ahead,
                None if running.len() >= MOST_PROXIES => running[0] = (proxy, ahead),
                None => running.push((proxy, ahead)),
            }
            begun = true;
            continue;
        }
        let place = running.iter().position(|(name, _)| *name == proxy);
        let mut ahead = place.map(|at| running.swap_remove(at).1);
        let is_open = ahead.is_some_and(|ahead| ahead.is_open);
        if !is_open && foreign::read(context, &line, &text, outer_time, batch) {
            continue;
        }
        ahead = ahead.filter(|ahead| ahead.goes_on(&text, outer_time));
        if let Some(ahead) = &mut ahead
            && ahead.is_open
            && let Some(pairs) = closes_value(&text)
        {
            syncs.pairs(pairs);
            ahead.is_open = false;
        }
        if let Some(ahead) = ahead {
            running.push((proxy, ahead));
        }
        batch.record(outer_time);
        batch.push(&LogRow {
            source: context.source,
            record: line.number,
            clock: context.clock.as_str().into(),
            time: ahead.and_then(|ahead| ahead.time),
            outer_time,
            level: ahead.map_or("info", |ahead| ahead.level).into(),
            message: text,
            ..Default::default()
        });
    }
    syncs.finish(batch);
    if without_year > 0 {
        batch.loss(NO_YEAR, without_year);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::cast::AsArray;

    use super::FORMAT;
    use crate::form::line::{Around, Names, Place};
    use crate::form::{Batch, Chunk, Sniff};
    use crate::parse::harness::{context, corpus_files, files, head, parse_in, untimed, whole};

    #[test]
    fn several_proxies_in_one_file_fail_and_complete_apart() {
        let lines = [
            ("a", "I0203 04:05:06.100000       1 proxier.go:828] \"Syncing iptables rules\" ipFamily=\"IPv4\""),
            ("b", "I0203 04:05:06.110000       1 proxier.go:828] \"Syncing iptables rules\" ipFamily=\"IPv4\""),
            ("a", "E0203 04:05:06.149000       1 proxier.go:1564] \"Failed to execute iptables-restore\" err=<"),
            ("b", "I0203 04:05:06.149500       1 proxier.go:822] \"SyncProxyRules complete\" elapsed=\"40ms\""),
            ("a", "\texit status 2: the table cannot be restored"),
            ("a", " > ipFamily=\"IPv4\""),
            ("a", "I0203 04:05:06.150000       1 proxier.go:822] \"SyncProxyRules complete\" elapsed=\"50ms\""),
        ];
        let text: String = lines.iter().map(|(_, line)| format!("{line}\n")).collect();
        let named = |pod: &str| Names { pod: Some(pod.into()), ..Names::default() };
        let places = lines.iter().map(|(pod, _)| Place { names: if *pod == "a" { 1 } else { 2 }, ..Place::bare(1, 0) });
        let names = Arc::new(vec![Names::default(), named("a"), named("b")]);
        let around = Around { first: 1, places: places.collect(), names };
        let mut batch = Batch::default();
        let chunk = Chunk { around: Some(&around), ..whole(text.as_bytes()) };
        super::parse(&context(), &chunk, &mut batch);
        let tables = batch.take_tables();
        let mut syncs = tables.into_iter().find(|table| table.table == "syncs").expect("syncs");
        let rows = syncs.finish().expect("rows");
        let column = |name: &str| rows.column_by_name(name).expect("a column").clone();
        let texts = |name: &str| -> Vec<String> {
            let column = column(name);
            (0..rows.num_rows()).map(|row| column.as_string::<i32>().value(row).to_owned()).collect()
        };
        assert_eq!(texts("proxy"), ["a", "b", "b", "a"]);
        assert_eq!(texts("moment"), ["start", "start", "complete", "failed"]);
    }

    #[test]
    fn a_line_without_a_year_has_no_time() {
        let line = "I1123 04:22:33.568529       1 proxier.go:1] \"Syncing iptables rules\"\n";
        let batch = parse_in(&FORMAT, &context(), line);
        assert_eq!((batch.span, batch.losses["no-year"].1), (None, 1));
        let mut dated = context();
        (dated.year, dated.utc_offset) = (Some(2026), Some(0));
        let batch = parse_in(&FORMAT, &dated, line);
        assert_eq!(batch.span.map(|span| span.0), Some(1_795_407_753_568_529_000));
    }

    #[test]
    fn takes_every_log_of_the_captures_and_the_corpus() {
        let captured = files(&[
            "captures/iptables-scale-up-1/logs".to_owned(),
            "captures/nftables-scale-up-2000svc-1/logs".to_owned(),
        ]);
        for (path, bytes) in captured.into_iter().chain(corpus_files(&["kube_proxy_log"])) {
            let bytes = untimed(&bytes);
            assert_eq!((FORMAT.sniff)(&head(&path, &bytes)), Sniff::Yes, "{path}");
            let mut dated = context();
            (dated.year, dated.utc_offset) = (Some(2026), Some(0));
            let mut batch = parse_in(&FORMAT, &dated, &String::from_utf8_lossy(&bytes));
            assert_eq!(batch.rejected, 0, "{path}");
            assert!(batch.take_tables().len() == 2 || path.contains("flags"), "{path}");
        }
    }
}
