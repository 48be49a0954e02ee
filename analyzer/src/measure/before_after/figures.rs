//! The catalogue's measurements from two readings: the variant [`VARIANT`], which stands in where no recording gives the main one.
//!
//! | measurement | from | what it cannot say |
//! |---|---|---|
//! | `sync_duration`, `reconciler_duration`, `endpoint_regeneration_time` | Δ of a histogram | a percentile, but within its buckets and what the sum leaves |
//! | `sync_rate`, `map_ops_rate` | Δcount ÷ seconds | when in between |
//! | `restore_failures` | Δ of kube-proxy's counters; zero without them, where a whole page would have shown them | |
//! | `cpu_baseline` | Δ CPU seconds ÷ seconds | the rest before the action: the action's work is in it, so it bounds the rest from above |
//! | `memory_bytes` | the two gauges | what lies between |
//! | `backends_delta` | Δ of the agent's table of backends, against the EndpointSlices of both moments | |
//! | `packet_loss_ratio` | Δ drops of reasons that can hit a Service ÷ (drops + forwards) | losses that are no drop of Cilium's: no upper bound |

use std::collections::{BTreeMap, BTreeSet};

use super::super::cilium_updates::RECONCILER;
use super::super::could_have_shown;
use super::super::{Measurement, Missing, packet_loss_ratio, proxy_cpu};
use super::{BeforeAfter, Change, Kind, apart, width};
use crate::events::Run;
use crate::math::{Estimate, arithmetic};

/// The variant of every measurement that rests on two readings.
pub const VARIANT: &str = "before/after";

/// From this many observations on a p95 means something.
const ENOUGH: f64 = 20.0;

const TIMES: &str =
    "Save both readings with their time: `date +%s.%N` ahead of each, or names like `$(date +%s.%N).prom`.";

/// All of them that the pairs give.
pub fn of(run: &Run, found: &BeforeAfter) -> Vec<Measurement> {
    let mut rows = Vec::new();
    let cpu = ["container_cpu_usage_seconds_total", "process_cpu_seconds_total", "cilium_process_cpu_seconds_total"];
    let memory =
        ["container_memory_working_set_bytes", "process_resident_memory_bytes", "cilium_process_resident_memory_bytes"];
    if run.is_kube_proxy() {
        let syncs = histogram(found, "kubeproxy_sync_proxy_rules_duration_seconds", |_| true);
        rows.extend(durations(run, "sync_duration", &syncs, "syncs"));
        rows.extend(rate(
            run,
            "sync_rate",
            &counts(found, "kubeproxy_sync_proxy_rules_duration_seconds", |_| true),
            "syncs",
        ));
        rows.extend(failures(run, found));
    } else if run.dataplane == "cilium" {
        let reconciler = |change: &Change| change.labels.get("module_id").is_some_and(|id| id.ends_with(RECONCILER));
        let total = |change: &Change| change.labels.get("scope").is_some_and(|scope| scope == "total");
        let operations = histogram(found, "cilium_reconciler_duration_seconds", reconciler);
        rows.extend(durations(run, "reconciler_duration", &operations, "operations of the load-balancer reconciler"));
        let builds = histogram(found, "cilium_endpoint_regeneration_time_stats_seconds", total);
        rows.extend(durations(run, "endpoint_regeneration_time", &builds, "regenerations"));
        let operations = counts(found, "cilium_reconciler_duration_seconds", reconciler);
        rows.extend(rate(run, "sync_rate", &operations, "operations of the load-balancer reconciler"));
        rows.extend(rate(
            run,
            "map_ops_rate",
            &counters(found, "cilium_bpf_map_ops_total", |_| true),
            "map operations",
        ));
        rows.extend(backends(run, found));
        rows.extend(drops(run, found));
    } else {
        return rows;
    }
    rows.extend(cpu.iter().find_map(|name| used(run, &counters(found, name, |change| is_proxy(run, change)))));
    rows.extend(memory.iter().find_map(|name| {
        let gauges = found.changes.iter().filter(|change| change.name == *name && is_proxy(run, change));
        held(run, &gauges.collect::<Vec<_>>())
    }));
    rows
}

/// Whether a process's or a container's series is the proxy's.
fn is_proxy(run: &Run, change: &Change) -> bool {
    let label = |name: &str| change.labels.get(name).map_or("", String::as_str);
    let word = if run.is_kube_proxy() { "kube-proxy" } else { "cilium" };
    if change.name.starts_with("container_") {
        return label("container") == proxy_cpu::container(run) && matches!(label("cpu"), "" | "total");
    }
    if change.name.starts_with("cilium_process") {
        return !label("job").contains("operator");
    }
    match label("job") {
        "" => {
            let own = proxy_cpu::own_sources(run);
            change.evidence.iter().any(|evidence| own.iter().any(|source| run.path(*source) == evidence.path))
        }
        job => job.contains(word) && !job.contains("operator"),
    }
}

fn named<'a>(found: &'a BeforeAfter, name: &str, keep: impl Fn(&Change) -> bool) -> Vec<&'a Change> {
    best(found.changes.iter().filter(|change| change.name == name && keep(change)).collect(), width)
}

/// One fact has several witnesses: the one that knows best when it read goes ahead.
fn best(all: Vec<&Change>, width: fn(&Change) -> f64) -> Vec<&Change> {
    let order = |a: &&Change, b: &&Change| width(a).total_cmp(&width(b)).then(a.witness.cmp(&b.witness));
    let Some(witness) = all.iter().copied().min_by(|a, b| order(a, b)).map(|change| change.witness.clone()) else {
        return all;
    };
    all.into_iter().filter(|change| change.witness == witness).collect()
}

/// A histogram by the witness with buckets: they tell more than when it was read.
fn histogram<'a>(found: &'a BeforeAfter, base: &str, keep: impl Fn(&Change) -> bool) -> Vec<&'a Change> {
    let own = |change: &&Change| {
        change.name == base && change.kind == Kind::Histogram && change.total.is_some() && keep(change)
    };
    let all: Vec<&Change> = found.changes.iter().filter(own).collect();
    let paged: Vec<&Change> = all.iter().copied().filter(|change| !change.by_api()).collect();
    best(if paged.is_empty() { all } else { paged }, width)
}

/// Counts of a histogram, or of its `_count` where the sum was not read; never the one number that a list prints in a histogram's place.
fn counts<'a>(found: &'a BeforeAfter, base: &str, keep: impl Fn(&Change) -> bool) -> Vec<&'a Change> {
    let count = format!("{base}_count");
    let all = found
        .changes
        .iter()
        .filter(|change| change.kind != Kind::Gauge)
        .filter(|change| (change.name == base || change.name == count) && keep(change));
    // How often asks for when: a page without a time must not stand ahead of an answer with one.
    best(all.collect(), apart)
}

fn counters<'a>(found: &'a BeforeAfter, name: &str, keep: impl Fn(&Change) -> bool) -> Vec<&'a Change> {
    named(found, name, |change| change.kind == Kind::Counter && keep(change))
}

/// Changes of one target each: two proxies are never pooled.
fn by_target<'a>(changes: &[&'a Change]) -> Vec<(&'a str, Vec<&'a Change>)> {
    let mut found: BTreeMap<&str, Vec<&Change>> = BTreeMap::new();
    for change in changes {
        found.entry(&change.target).or_default().push(change);
    }
    found.into_iter().collect()
}

fn blank(run: &Run, name: &str, unit: &str, changes: &[&Change]) -> Measurement {
    let mut row = Measurement::new(run, name, unit);
    row.variant = VARIANT.into();
    row.window = match changes.first().and_then(|change| change.seconds.value) {
        Some(seconds) => format!("between the two readings, {seconds:.3} s").into(),
        None => "between the two readings".into(),
    };
    for change in changes {
        row.evidence.extend(change.evidence.iter().take(4).cloned());
        for note in &change.notes {
            if !row.notes.contains(note) {
                row.notes.push(note.clone());
            }
        }
    }
    row.evidence.truncate(12);
    row
}

/// Where several targets were read: each by its name, and the costliest as the main one.
fn per_target(mut rows: Vec<(String, Measurement)>) -> Vec<Measurement> {
    if rows.len() < 2 {
        return rows.into_iter().map(|(_, row)| row).collect();
    }
    let cost = |row: &Measurement| row.estimate.value.or(row.estimate.high).unwrap_or(f64::INFINITY);
    rows.sort_by(|(a, x), (b, y)| cost(y).total_cmp(&cost(x)).then(a.cmp(b)));
    let names: Vec<String> = rows.iter().map(|(target, _)| target.clone()).collect();
    let mut found = Vec::new();
    if let Some((target, row)) = rows.first() {
        let mut main = row.clone();
        main.notes.push(format!("{target} of {}: never pooled; the costliest stands here.", names.join(", ")));
        found.push(main);
    }
    found.extend(
        rows.into_iter().map(|(target, row)| Measurement { variant: format!("{VARIANT} {target}").into(), ..row }),
    );
    found
}

/// Durations of a histogram. A mean is no percentile: judged is what its buckets and its sum leave of the p95 (of the longest,
/// with fewer than 20).
fn durations(run: &Run, name: &str, changes: &[&Change], things: &str) -> Vec<Measurement> {
    let of = |(target, changes): (&str, Vec<&Change>)| {
        let n: f64 = changes.iter().filter_map(|change| change.difference.value).sum();
        let total: f64 = changes.iter().filter_map(|change| change.total).sum();
        let mut row = blank(run, name, "s", &changes);
        row.n = n as u64;
        // Several label sets of one target (ip_family): the whole has no percentile of its own but within the parts.
        let hull = |pick: fn(&Change) -> Estimate| {
            let parts = || changes.iter().map(|change| pick(change));
            let low = parts().filter_map(|one| one.low).reduce(f64::min);
            Estimate { value: None, low, high: parts().map(|one| one.high).reduce(larger).flatten() }
        };
        let mut longest = hull(|change| change.longest);
        longest.low = changes.iter().filter_map(|change| change.longest.low).reduce(f64::max);
        let p95 = if n < ENOUGH { longest } else { hull(|change| change.p95) };
        (row.estimate, row.statistic) = (p95, if n < ENOUGH { "max" } else { "p95" }.into());
        row.quantiles = [("p95".to_owned(), p95), ("max".to_owned(), longest)].into();
        let mean = total / n.max(1.0);
        row.details = [("mean".to_owned(), mean), ("total_seconds".to_owned(), total), ("count".to_owned(), n)].into();
        for (end, value) in [
            ("low", changes.iter().filter_map(|c| c.mean.low).reduce(f64::min)),
            ("high", changes.iter().filter_map(|c| c.mean.high).reduce(f64::max)),
        ] {
            row.details.extend(value.map(|value| (format!("mean_{end}"), value)));
        }
        row.method = format!(
            "{n} {things} took {total:.4} s in all, {:.4} s each in the mean: Δsum ÷ Δcount of {} between two readings; a mean is no percentile, so that the buckets and the sum bound it",
            mean,
            changes.first().map_or("", |change| &change.name)
        ).into();
        row.notes.push(if n < ENOUGH {
            format!("{n} {things}: the longest of them is judged. It took the mean at least, and no more than all of them together.")
        } else {
            format!("{n} {things}: the p95 is judged, within the buckets and what the sum leaves.")
        });
        (target.to_owned(), row)
    };
    per_target(by_target(changes).into_iter().map(of).collect())
}

fn larger(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    Some(a?.max(b?))
}

/// Whether a counter fell between the readings.
fn reset(changes: &[&Change]) -> bool {
    changes.iter().any(|change| change.difference.value.is_none() && change.before.is_some() && change.after.is_some())
}

fn after_a_reset(things: &str) -> Missing {
    Missing {
        what: format!("the counter of {things} fell between the two readings: its process was restarted"),
        remedy: "Read it again before and after, without a restart of the process in between; or scrape it every second, which sees a restart.".into(),
    }
}

/// Events per second: the counts hold at the two readings, an event may fall on either edge.
fn rate(run: &Run, name: &str, changes: &[&Change], things: &str) -> Vec<Measurement> {
    let of = |(target, changes): (&str, Vec<&Change>)| {
        let n: f64 = changes.iter().filter_map(|change| change.difference.value).sum();
        let mut row = blank(run, name, "1/s", &changes);
        row.n = n as u64;
        row.statistic = "mean".into();
        if reset(&changes) {
            row.missing = Some(after_a_reset(things));
            return (target.to_owned(), row);
        }
        let seconds = changes.first().map(|change| change.seconds).unwrap_or_default();
        let events = Estimate::between((n - 1.0).max(0.0), n, n + 1.0);
        row.estimate = arithmetic::ratio(events, seconds);
        row.details = [("count".to_owned(), n)].into();
        row.details.extend(seconds.value.map(|seconds| ("seconds".to_owned(), seconds)));
        row.method = format!("{n} {things} between two readings / the time between them").into();
        if row.estimate == Estimate::default() {
            row.missing = Some(Missing {
                what: format!("{n} {things} were counted between two readings, but nobody stated when these were made"),
                remedy: TIMES.into(),
            });
        }
        // What the action did is in it: at rest there is no more.
        row.upper_bound_only = name == "map_ops_rate";
        (target.to_owned(), row)
    };
    per_target(by_target(changes).into_iter().map(of).collect())
}

/// Failed restores and syncs between two readings. A counter that is on neither page was never raised, where a whole page would have shown it.
fn failures(run: &Run, found: &BeforeAfter) -> Option<Measurement> {
    let raised: Vec<&Change> = found
        .changes
        .iter()
        .filter(|change| change.kind == Kind::Counter && super::super::kube_proxy_counters::is_failure(&change.name))
        .collect();
    let reset = raised.iter().any(|change| change.difference.value.is_none());
    let pages = could_have_shown::twice(run, &could_have_shown::KUBE_PROXY);
    if reset || (raised.is_empty() && pages.is_empty()) {
        return None;
    }
    let mut row = blank(run, "restore_failures", "1", &raised);
    row.n = 1;
    row.statistic = "total".into();
    // The sum of nothing is minus zero.
    row.estimate = Estimate::exact(0.0 + raised.iter().filter_map(|change| change.difference.value).sum::<f64>());
    row.method = "Δ of kube-proxy's counters of failed restores and syncs between two readings".into();
    if raised.is_empty() {
        row.notes
            .push("Both pages show all that kube-proxy exports, and no counter of failures rose between them.".into());
        row.evidence = pages;
    }
    Some(row)
}

/// CPU of the proxy between two readings: at rest it used no more, for the action's work is in it.
fn used(run: &Run, changes: &[&Change]) -> Option<Measurement> {
    let first = changes.first()?;
    let mut row = blank(run, "cpu_baseline", "cores", changes);
    row.n = 2;
    row.statistic = "mean".into();
    let targets: BTreeSet<&str> = changes.iter().map(|change| change.target.as_str()).collect();
    let rates = changes.iter().map(|change| change.rate).reduce(arithmetic::sum)?;
    row.estimate = arithmetic::scaled(rates, 1.0 / targets.len().max(1) as f64);
    row.upper_bound_only = true;
    row.method = format!(
        "Δ {} between two readings / the time between them: the action's work is in it, so that the use at rest is no more",
        first.name
    ).into();
    row.details.extend(first.difference.value.map(|value| ("cpu_seconds".to_owned(), value)));
    if reset(changes) {
        row.missing = Some(after_a_reset("the proxy's CPU seconds"));
    } else if row.estimate == Estimate::default() {
        row.missing = Some(Missing {
            what: "CPU seconds of the proxy were read twice, but nobody stated when".into(),
            remedy: TIMES.into(),
        });
    }
    Some(row)
}

/// Memory at the two readings.
fn held(run: &Run, changes: &[&Change]) -> Option<Measurement> {
    let of = best(changes.to_vec(), width);
    let first = of.first()?;
    let mut row = blank(run, "memory_bytes", "bytes", &of);
    let ends = || of.iter().flat_map(|change| [change.before, change.after]).flatten();
    row.n = ends().count() as u64;
    row.statistic = "before".into();
    let before: Vec<f64> = of.iter().filter_map(|change| change.before).collect();
    let mean = before.iter().sum::<f64>() / before.len().max(1) as f64;
    row.estimate =
        Estimate::between(ends().fold(f64::INFINITY, f64::min), mean, ends().fold(f64::NEG_INFINITY, f64::max));
    row.method =
        format!("{} at the reading before, between the least and the greatest of both readings", first.name).into();
    (!before.is_empty()).then_some(row)
}

/// Backends in the agent's own table against ready endpoints.
fn backends(run: &Run, found: &BeforeAfter) -> Option<Measurement> {
    let gauges = named(found, "cilium_statedb_table_objects", |change| {
        change.labels.get("table").is_some_and(|table| table == "backends")
    });
    let change = gauges.first()?;
    let mut row = blank(run, "backends_delta", "1", &gauges[..1]);
    row.n = 2;
    row.statistic = "difference".into();
    row.estimate = change.difference;
    row.method = "cilium_statedb_table_objects{table=\"backends\"} at the two readings".into();
    let slices: Vec<&Change> = found.changes.iter().filter(|change| change.name == "endpoints").collect();
    if !slices.is_empty() {
        let net: f64 = slices.iter().filter_map(|change| change.difference.value).sum();
        row.details.insert("endpoints_net".into(), net);
        row.evidence.extend(slices.iter().flat_map(|change| change.evidence.iter().cloned()));
    }
    Some(row)
}

/// Drops that can hit a Service, of all packets: a lower bound, for what is lost elsewhere is no drop of Cilium's.
fn drops(run: &Run, found: &BeforeAfter) -> Option<Measurement> {
    let forwarded = counters(found, "cilium_forward_count_total", |_| true);
    let sent: f64 = forwarded.iter().filter_map(|change| change.difference.value).sum();
    if sent <= 0.0 {
        return None;
    }
    let dropped = counters(found, "cilium_drop_count_total", |_| true);
    if reset(&forwarded) || reset(&dropped) {
        return None;
    }
    let hits = |change: &&&Change| {
        change.labels.get("reason").is_some_and(|reason| packet_loss_ratio::can_hit_a_service(reason))
    };
    let lost = 0.0 + dropped.iter().filter(hits).filter_map(|change| change.difference.value).sum::<f64>();
    let all = 0.0 + dropped.iter().filter_map(|change| change.difference.value).sum::<f64>();
    let mut row = blank(run, "packet_loss_ratio", "ratio", &[forwarded, dropped].concat());
    row.n = (sent + all) as u64;
    row.statistic = "Δ drops that can hit a Service / (Δ drops + Δ forwards)".into();
    row.estimate = Estimate { value: Some(lost / (sent + all)), low: Some(0.0), high: None };
    row.method =
        "cilium_drop_count_total and cilium_forward_count_total between two readings, of packets of all workloads"
            .into();
    row.notes.push(format!("{lost} of {all} drops have a reason that can hit a Service. Packets that are lost elsewhere are no drop of Cilium's, and nothing tells the drops of a quiet time: no upper bound."));
    row.details =
        [("drops".to_owned(), lost), ("other_drops".to_owned(), all - lost), ("forwards".to_owned(), sent)].into();
    Some(row)
}
