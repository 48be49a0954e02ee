//! `rules_rewritten_per_change`: how much of the table one update replaces.
//!
//! "Full table rewrite" can be read in two ways, and they differ widely; for kube-proxy both are here:
//!
//! | variant | what |
//! |---|---|
//! | `kernel` | share of the nat table that the *kernel* replaces: entries of IPT_SO_SET_REPLACE over the table's entries |
//! | `restore` | lines handed to iptables-restore (log: "Reloading service iptables data") over the table's lines |
//! | `metric` | `…_iptables_last` / `…_iptables_total` of the nat table, at each scrape in which a sync fell |
//!
//! For kube-proxy in nftables mode `kernel` is the share of Services' rules and elements that a transaction replaces (see
//! `nftables_rewrites`). For Cilium: `services`, Services rewritten per change (frontends of the load-balancer map whose entries differ from
//! one snapshot to the next), and `map-entries`, entries that differ then.
//!
//! A kernel table holds more than rules: one policy entry for each built-in chain, two entries (an ERROR head and a
//! RETURN) for each other chain, and one ERROR at the end. With R rules and C chains of which B are built in, that is
//! R + B + 2·(C − B) + 1.

use std::collections::{BTreeMap, BTreeSet};

use polars::prelude::{JoinArgs, JoinType, col, lit};
use syncline_schema::dataplane::SnapshotRow;
use syncline_schema::syncs::SyncRow;

use super::nftables_rewrites;
use super::readings;
use super::rules_total::{self, Size};
use super::sync_census::{self, figure, word};
use super::{Measurement, Missing};
use crate::clock::Evidence;
use crate::events::{Phase, Run};
use crate::math::{Estimate, quantile};

/// Built-in chains of the nat table: PREROUTING, INPUT, OUTPUT, POSTROUTING.
const BUILT_IN: i64 = 4;

const TRACE: &str =
    "Run ipt-sync.bt (setsockopt IPT_SO_SET_REPLACE with num_entries) with bpftrace, and snapshots of the nat table.";

/// The variants above.
pub fn measure(run: &Run) -> Vec<Measurement> {
    if !run.is_kube_proxy() {
        return services_per_change(run);
    }
    if run.dataplane == "kube-proxy-nftables" {
        return vec![nftables_rewrites::measure(run)];
    }
    if run.dataplane != "kube-proxy-iptables" {
        let what = "ipvs mode changes single destinations; no documented value speaks of them";
        return vec![Measurement::missing(run, "rules_rewritten_per_change", "ratio", what, "Nothing.")];
    }
    let table = nat_sizes(run);
    vec![kernel(run, &table), restore_input(run, &table), metric(run)]
}

/// The stream of whole nat tables with the most snapshots.
fn nat_sizes(run: &Run) -> Vec<Size> {
    rules_total::sizes(run, "iptables-save")
        .into_values()
        .max_by_key(|s| (s.iter().map(|s| s.rules).max(), s.len()))
        .unwrap_or_default()
}

/// The first snapshot taken at or after an instant of another clock.
fn after<'a>(run: &Run, table: &'a [Size], time: i64, clock: &str) -> Option<&'a Size> {
    let offset = run.clocks.offset(clock, &table.first()?.clock)?;
    table.iter().find(|s| s.time.is_some_and(|t| t >= time + offset.high))
}

fn row(run: &Run, variant: &str, statistic: &str) -> Measurement {
    let mut row = Measurement::new(run, "rules_rewritten_per_change", "ratio");
    row.variant = variant.into();
    row.window = "baseline, action and tail".into();
    row.statistic = statistic.into();
    row
}

fn fill(row: &mut Measurement, shares: &[f64]) {
    row.n = shares.len() as u64;
    row.quantiles = quantile::exact_all(shares);
    if let (Some(median), Some(low), Some(high)) =
        (quantile::of(shares, 0.5), shares.iter().copied().reduce(f64::min), shares.iter().copied().reduce(f64::max))
    {
        row.estimate = Estimate::exact(median);
        row.details.insert("least".into(), low);
        row.details.insert("most".into(), high);
    }
}

fn kernel(run: &Run, table: &[Size]) -> Measurement {
    let mut row = row(run, "kernel", "median share of the table in a replace");
    let mut shares = Vec::new();
    let mut entries = Vec::new();
    let replaces = sync_census::trace_events(run, "IPT_SO_SET_REPLACE");
    for replace in replaces.iter().filter(|r| word(&r.text, "table") == Some("nat")) {
        let (Some(time), Some(count)) = (replace.time, figure(&replace.text, "entries")) else { continue };
        entries.push(count);
        if row.evidence.len() < 3 {
            row.evidence.push(run.evidence(replace.source, replace.record, format!("nat replaced, {count} entries")));
        }
        if let Some(size) = after(run, table, time, &replace.clock) {
            let whole = size.rules + BUILT_IN + 2 * (size.chains - BUILT_IN).max(0) + 1;
            shares.push(count / whole.max(1) as f64);
        }
    }
    if shares.is_empty() && !entries.is_empty() {
        // The call takes a whole table by its definition: it has no way to change a part.
        shares = vec![1.0; entries.len()];
        row.notes.push(
            "No snapshot of the nat table to compare with: IPT_SO_SET_REPLACE always replaces the whole table.".into(),
        );
    }
    if shares.is_empty() {
        row.missing =
            Some(Missing { what: "no IPT_SO_SET_REPLACE of the nat table in a trace".into(), remedy: TRACE.into() });
        return row;
    }
    fill(&mut row, &shares);
    if let Some(median) = quantile::of(&entries, 0.5) {
        row.details.insert("entries".into(), median);
    }
    row.method = "num_entries of each IPT_SO_SET_REPLACE of nat (kernel trace) over the entries of the next snapshot: rules, policies and chain heads".into();
    row
}

fn restore_input(run: &Run, table: &[Size]) -> Measurement {
    let mut row = row(run, "restore", "median share of the table's lines in the restore's input");
    let reloads = run.bundle.rows_or_note::<SyncRow<'static>>(Some(col("moment").eq(lit("reload"))));
    let mut shares = Vec::new();
    let mut inputs = Vec::new();
    for reload in &reloads {
        let detail = reload.detail.as_deref().unwrap_or("");
        let (Some(chains), Some(rules)) = (figure(detail, "numNATChains"), figure(detail, "numNATRules")) else {
            continue;
        };
        inputs.push(chains + rules);
        if row.evidence.len() < 3 {
            row.evidence.push(run.evidence(
                reload.source,
                reload.record,
                format!("{chains} chains and {rules} rules of nat"),
            ));
        }
        if let Some(size) = reload.time.and_then(|time| after(run, table, time, &reload.clock))
            && size.rules + size.chains > 0
        {
            shares.push((chains + rules) / (size.rules + size.chains) as f64);
        }
    }
    if shares.is_empty() {
        row.missing = Some(Missing {
            what: "no \"Reloading service iptables data\" line with a snapshot of the nat table after it".into(),
            remedy: "Run kube-proxy with -v=4 and save its log; snapshot the nat table in a loop.".into(),
        });
        return row;
    }
    fill(&mut row, &shares);
    if let Some(median) = quantile::of(&inputs, 0.5) {
        row.details.insert("lines".into(), median);
    }
    row.method =
        "numNATChains + numNATRules of the log's reload lines over rules and chains of the next snapshot".into();
    row
}

fn metric(run: &Run) -> Measurement {
    let mut row = row(run, "metric", "median of …_iptables_last / …_iptables_total");
    let last = readings::series(run, "kubeproxy_sync_proxy_rules_iptables_last", |c| c.label("table") == "nat");
    let total = readings::series(run, "kubeproxy_sync_proxy_rules_iptables_total", |c| c.label("table") == "nat");
    let counts = readings::series(run, "kubeproxy_sync_proxy_rules_duration_seconds_count", |_| true);
    let synced: BTreeSet<i64> = counts
        .iter()
        .flat_map(|s| s.readings.windows(2).filter(|w| w[1].value > w[0].value).map(|w| w[1].high))
        .collect();
    let mut shares = Vec::new();
    for series in &last {
        let Some(whole) = total.iter().find(|t| t.labels == series.labels) else { continue };
        let sizes: BTreeMap<i64, f64> = whole.readings.iter().map(|r| (r.high, r.value)).collect();
        for reading in series.readings.iter().filter(|r| synced.contains(&r.high)) {
            if let Some(size) = sizes.get(&reading.high)
                && *size > 0.0
            {
                shares.push(reading.value / size);
                if row.evidence.len() < 3 {
                    row.evidence.push(reading.evidence(run, format!("{} of {size} rules written", reading.value)));
                }
            }
        }
    }
    if shares.is_empty() {
        row.missing = Some(Missing {
            what: "no scrape with kubeproxy_sync_proxy_rules_iptables_last and _total after a sync".into(),
            remedy: "Scrape kube-proxy's /metrics every second (Kubernetes 1.28 or later).".into(),
        });
        return row;
    }
    fill(&mut row, &shares);
    row.method = format!("kube-proxy's own gauges at scrapes that follow a sync (witness: {})", last[0].witness).into();
    row
}

/// Services and entries that changed between neighbouring snapshots of the load-balancer map, in action and tail.
fn services_per_change(run: &Run) -> Vec<Measurement> {
    type Count = fn(&Changed) -> usize;
    let changes = changed_frontends(run).unwrap_or_default();
    let readings: [(&str, &str, Count); 2] = [
        ("services", "mean number of Services rewritten at a change", |c| c.frontends),
        ("map-entries", "mean number of map entries rewritten at a change", |c| c.entries),
    ];
    readings
        .into_iter()
        .map(|(variant, statistic, count)| {
            let mut row = row(run, variant, statistic);
            row.unit = "1".into();
            row.window = "action and tail".into();
            if changes.is_empty() {
                row.missing = Some(Missing {
                    what: "no snapshots of the load-balancer map that change in action or tail".into(),
                    remedy: "Run `cilium-dbg bpf lb list -o json` in a loop with `# TIMESTAMP` ahead of each.".into(),
                });
                return row;
            }
            let counts: Vec<f64> = changes.iter().map(|c| count(c) as f64).collect();
            row.n = counts.len() as u64;
            row.estimate = Estimate::exact(counts.iter().sum::<f64>() / counts.len() as f64);
            row.quantiles = quantile::exact_all(&counts);
            row.method = "entries that differ between neighbouring snapshots of the load-balancer map, over the snapshots that differ".into();
            row.notes.push("An entry that was rewritten with the same content cannot be seen.".into());
            row.evidence = changes.iter().take(3).map(|c| c.evidence.clone()).collect();
            row
        })
        .collect()
}

struct Changed {
    frontends: usize,
    entries: usize,
    evidence: Evidence,
}

fn changed_frontends(run: &Run) -> anyhow::Result<Vec<Changed>> {
    // Whole lists only: a reader of one Service's slots cannot see another Service rewritten.
    let snapshots: BTreeMap<(i32, i64), SnapshotRow<'static>> = run
        .bundle
        .rows::<SnapshotRow<'static>>(Some(col("format").eq(lit("cilium-lb-list"))))?
        .into_iter()
        .map(|s| ((s.stream, s.snapshot), s))
        .collect();
    let rules = run.bundle.scan("dataplane_rules")?.select([
        col("rule"),
        col("kind"),
        col("chain"),
        col("address"),
        col("port"),
        col("text"),
    ]);
    let frame = run
        .bundle
        .scan("dataplane_changes")?
        .filter(col("operation").neq(lit("counters")).and(col("snapshot").gt(lit(0i64))))
        .join(rules, [col("rule")], [col("rule")], JoinArgs::new(JoinType::Inner))
        .filter(col("kind").eq(lit("frontend")).or(col("kind").eq(lit("backend"))))
        .select(["stream", "snapshot", "operation", "kind", "chain", "address", "port", "text"].map(col))
        .collect()?;
    let (streams, numbers) = (frame.column("stream")?.i32()?, frame.column("snapshot")?.i64()?);
    let (chains, addresses, ports) =
        (frame.column("chain")?.str()?, frame.column("address")?.str()?, frame.column("port")?.i32()?);
    let (operations, texts) = (frame.column("operation")?.str()?, frame.column("text")?.str()?);
    // The agent's list is in no order, and its columns are as wide as their longest cell: what went in one place and came in another
    // was not rewritten.
    let mut net: BTreeMap<(i32, i64), BTreeMap<(String, String), i64>> = BTreeMap::new();
    for at in 0..frame.height() {
        let (Some(stream), Some(number)) = (streams.get(at), numbers.get(at)) else { continue };
        let frontend = match chains.get(at) {
            Some(chain) => chain.to_owned(),
            None => format!("{}:{}", addresses.get(at).unwrap_or(""), ports.get(at).unwrap_or(0)),
        };
        let words: Vec<&str> = texts.get(at).unwrap_or("").split_whitespace().collect();
        let step = if operations.get(at) == Some("insert") { 1 } else { -1 };
        *net.entry((stream, number)).or_default().entry((frontend, words.join(" "))).or_default() += step;
    }
    let mut found = Vec::new();
    for ((stream, number), net) in net {
        let apart = || net.iter().filter(|(_, step)| **step != 0);
        let frontends: BTreeSet<&str> = apart().map(|((frontend, _), _)| frontend.as_str()).collect();
        let entries = apart().map(|(_, step)| step.unsigned_abs() as usize).sum::<usize>();
        if entries == 0 {
            continue;
        }
        let Some(snapshot) = snapshots.get(&(stream, number)) else { continue };
        // What a truncated list lacks was not rewritten, nor what the next whole one has again.
        let before = snapshots.get(&(stream, number - 1));
        if !snapshot.complete || before.is_some_and(|before| !before.complete) {
            continue;
        }
        let inside = [Phase::Action, Phase::Tail]
            .iter()
            .any(|p| snapshot.time.is_some_and(|t| run.window(*p, &snapshot.clock).is_some_and(|w| w.contains(t))));
        if inside {
            let what = format!("{} Services, {entries} entries changed", frontends.len());
            found.push(Changed {
                frontends: frontends.len(),
                entries,
                evidence: run.evidence(snapshot.source, snapshot.record, what),
            });
        }
    }
    Ok(found)
}
