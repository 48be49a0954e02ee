//! Cilium's update work: map operations, reconciler operations and regenerations between scrapes.
//!
//! | name | what |
//! |---|---|
//! | `map_ops_rate` | Δ `cilium_bpf_map_ops_total` per second in the baseline; variants `action`, `trace` |
//! | `map_updates_per_change` | load-balancer map operations per endpoint change in the action; variant `trace`: all bpf(2) writes |
//! | `update_work` | the same figure under the name that both dataplanes share |
//! | `endpoint_regeneration_time` | Δsum/Δcount per scrape interval in which endpoints were built: p95 |
//! | `late_regenerations` | intervals with regenerations later than 5 s after the last commit of the action |
//! | `reconciler_duration` | Δsum/Δcount per scrape interval of the load-balancer reconciler: p95 |
//! | `backends_delta` | Δ `cilium_statedb_table_objects{table="backends"}` over action and tail, against endpoints changed |
//! | `forward_rate_ratio` | p5 of forwards per second in the action / p50 in the baseline |
//!
//! For kube-proxy they are missing, with that reason: the names are the same for every dataplane.

use std::collections::BTreeMap;

use super::interval_means::{self, Mean};
use super::readings::{self, Reading, Series, Step};
use super::{Interval, Measurement, Missing};
use super::{could_have_shown, sync_census};
use crate::events::{Phase, Run, Window};
use crate::math::{Estimate, exact, quantile};

/// End of the reconciler's `module_id`.
pub const RECONCILER: &str = "loadbalancer-reconciler";

const SCRAPE: &str =
    "Scrape cilium-agent's /metrics every second over the whole run (`prometheus/cilium-agent.metrics.stream`).";

/// Changes of endpoints (additions and removals) committed in the action, each counted once whatever the number of nodes.
pub fn endpoint_changes(run: &Run) -> u64 {
    let mut seen = std::collections::BTreeSet::new();
    for episode in run.episodes.iter().filter(|e| e.phase == Some(Phase::Action)) {
        seen.insert((&episode.endpoint, episode.direction, episode.number));
    }
    seen.len() as u64
}

/// All names above except `update_work`.
pub fn measure(run: &Run) -> Vec<Measurement> {
    let names: [(&str, &str); 7] = [
        ("map_ops_rate", "1/s"),
        ("map_updates_per_change", "1"),
        ("endpoint_regeneration_time", "s"),
        ("late_regenerations", "1"),
        ("reconciler_duration", "s"),
        ("backends_delta", "1"),
        ("forward_rate_ratio", "ratio"),
    ];
    if run.is_kube_proxy() {
        let what = "kube-proxy has no eBPF maps, regenerations or reconcilers";
        return names
            .iter()
            .map(|(name, unit)| Measurement::missing(run, name, unit, what, "Nothing: the claim is about Cilium."))
            .collect();
    }
    let mut found = map_ops(run);
    found.push(Measurement { name: "map_updates_per_change".into(), ..work(run) });
    found.push(traced_work(run));
    found.extend(regenerations(run));
    found.extend(reconciler(run));
    found.push(backends(run));
    found.push(forwards(run));
    found
}

/// Load-balancer map operations per endpoint change (`update_work` of Cilium).
pub fn work(run: &Run) -> Measurement {
    let mut row = Measurement::new(run, "update_work", "1");
    row.window = "action".into();
    row.statistic = "map operations / endpoint changes".into();
    let operations = readings::series(run, "cilium_bpf_map_ops_total", |c| c.label("map_name").starts_with("lb"));
    let changes = endpoint_changes(run);
    match readings::events_in_phase(run, &operations, Phase::Action) {
        Some(count) if changes > 0 => {
            row.n = changes;
            row.estimate = Estimate::exact(count / changes as f64);
            // A count of another such action: exact Poisson.
            let (low, high) = exact::poisson(count.round().max(0.0) as u64, 0.95);
            row.ci = Some(Interval { level: 0.95, low: low / changes as f64, high: high / changes as f64 });
            row.method = format!(
                "Δ cilium_bpf_map_ops_total of the load-balancer maps (witness: {}); it counts fewer than a kernel trace",
                operations[0].witness
            ).into();
            row.details.insert("operations".into(), count);
            row.details.insert("endpoint_changes".into(), changes as f64);
            row.evidence = last_lines(run, &operations);
        }
        Some(_) => {
            row.missing = Some(Missing {
                what: "no endpoint changed in the action".into(),
                remedy: "Capture k8s watches or audit events of EndpointSlices in a run that changes endpoints.".into(),
            });
        }
        None => {
            row.missing = Some(Missing {
                what: "no series cilium_bpf_map_ops_total of load-balancer maps".into(),
                remedy: SCRAPE.into(),
            })
        }
    }
    row
}

fn traced_work(run: &Run) -> Measurement {
    let mut row = Measurement::new(run, "map_updates_per_change", "1");
    row.variant = "trace".into();
    row.window = "action".into();
    row.statistic = "bpf(2) writes / endpoint changes".into();
    let changes = endpoint_changes(run);
    match traced(run, Phase::Action) {
        Some((count, _)) if changes > 0 => {
            row.n = changes;
            row.estimate = Estimate::exact(count as f64 / changes as f64);
            row.method =
                "map updates and deletes of cilium-agent in the kernel trace, all maps (also those of new pods)".into();
            row.details.insert("operations".into(), count as f64);
            row.details.insert("endpoint_changes".into(), changes as f64);
        }
        _ => {
            row.missing = Some(Missing {
                what: "no trace of cilium-agent's bpf(2) calls, or no endpoint change, in the action".into(),
                remedy: "Run bpf-map.bt (tracepoint:syscalls:sys_enter_bpf of cilium-agent) with bpftrace during the action.".into(),
            });
        }
    }
    row
}

/// Map writes in the kernel trace within a phase, and the phase's length.
fn traced(run: &Run, phase: Phase) -> Option<(u64, f64)> {
    let mut count = 0;
    let mut seconds = None;
    for word in ["BPF_MAP_UPDATE_ELEM", "BPF_MAP_DELETE_ELEM", "BPF_MAP_BATCH"] {
        for row in sync_census::trace_events(run, word) {
            let Some(window) = run.window(phase, &row.clock) else { continue };
            seconds = Some(window.seconds());
            count += u64::from(row.time.is_some_and(|t| window.contains(t)));
        }
    }
    seconds.map(|s| (count, s))
}

fn map_ops(run: &Run) -> Vec<Measurement> {
    let operations = readings::series(run, "cilium_bpf_map_ops_total", |_| true);
    let mut found = Vec::new();
    for (phase, variant) in [(Phase::Baseline, ""), (Phase::Action, "action")] {
        let mut row = Measurement::new(run, "map_ops_rate", "1/s");
        row.variant = variant.into();
        row.window = super::proxy_cpu::word(phase).into();
        row.statistic = "mean".into();
        let window = operations.first().and_then(|s| run.window(phase, &s.clock));
        match (window, readings::events_in_phase(run, &operations, phase)) {
            (Some(window), Some(count)) => {
                row.n = count as u64;
                row.estimate = per_second(count, window.seconds());
                row.method =
                    format!("Δ cilium_bpf_map_ops_total over all maps (witness: {})", operations[0].witness).into();
                row.details.insert("operations".into(), count);
                row.details.insert("seconds".into(), window.seconds());
                row.evidence = last_lines(run, &operations);
            }
            _ => {
                row.missing = Some(Missing {
                    what: "no series cilium_bpf_map_ops_total in the window".into(),
                    remedy: SCRAPE.into(),
                })
            }
        }
        found.push(row);
    }
    let mut row = Measurement::new(run, "map_ops_rate", "1/s");
    row.variant = "trace".into();
    row.window = "baseline".into();
    row.statistic = "mean".into();
    match traced(run, Phase::Baseline) {
        Some((count, seconds)) => {
            row.n = count;
            row.estimate = per_second(count as f64, seconds);
            row.method = "map updates and deletes of cilium-agent in the kernel trace".into();
        }
        None => {
            row.missing = Some(Missing {
                what: "no trace of cilium-agent's bpf(2) calls".into(),
                remedy: "Run bpf-map.bt with bpftrace from before the baseline on.".into(),
            });
        }
    }
    found.push(row);
    found
}

/// A count may be off by one scrape at each edge; without the scrape's own count that is one event.
fn per_second(count: f64, seconds: f64) -> Estimate {
    let seconds = seconds.max(1e-9);
    Estimate::between((count - 1.0).max(0.0) / seconds, count / seconds, (count + 1.0) / seconds)
}

fn whole(run: &Run, series: &Series) -> Option<Window> {
    let windows: Vec<Window> =
        [Phase::Baseline, Phase::Action, Phase::Tail].iter().filter_map(|p| run.window(*p, &series.clock)).collect();
    Some(Window {
        start: windows.iter().map(|w| w.start).min()?,
        end: windows.iter().map(|w| w.end).max()?,
        slack: windows.iter().map(|w| w.slack).max()?,
    })
}

fn regenerations(run: &Run) -> Vec<Measurement> {
    let of = |suffix: &str, scope: &'static str| {
        readings::series(run, &format!("cilium_endpoint_regeneration_time_stats_seconds_{suffix}"), |c| {
            c.label("scope") == scope
        })
    };
    let (sums, counts) = (of("sum", "total"), of("count", "total"));
    let mut builds: Vec<Series> = of("count", "bpfCompilation");
    builds.extend(of("count", "bpfLoadProg"));
    let missing = || Missing {
        what: "no series cilium_endpoint_regeneration_time_stats_seconds{scope=\"total\"}".into(),
        remedy: SCRAPE.into(),
    };

    // Only intervals in which a program was built or loaded: periodic regenerations of a steady run do not count.
    let mut built = std::collections::BTreeSet::new();
    for series in &builds {
        if let Some(window) = whole(run, series) {
            built.extend(
                readings::steps(series, &window)
                    .iter()
                    .filter(|s| s.delta > 0.0)
                    .map(|s| (series.clock.clone(), s.end)),
            );
        }
    }
    let means = interval_means::of(&sums, &counts, &|s| whole(run, s));
    let clock = counts.first().map_or(String::new(), |s| s.clock.clone());
    let kept: Vec<Mean> = means.into_iter().filter(|one| built.contains(&(clock.clone(), one.step.end))).collect();
    let mut row = Measurement::new(run, "endpoint_regeneration_time", "s");
    row.window = "baseline, action and tail".into();
    row.statistic = "p95 over scrape intervals with builds".into();
    if counts.is_empty() {
        row.missing = Some(missing());
    } else if kept.is_empty() {
        row.missing = Some(Missing {
            what: "no endpoint was regenerated in the run".into(),
            remedy: "Use a run that creates pods.".into(),
        });
    } else {
        interval_means::describe(run, &mut row, &kept, &counts[0]);
        row.details.insert("regenerations".into(), kept.iter().map(|one| one.step.delta).sum());
        row.method = format!(
            "Δsum/Δcount of cilium_endpoint_regeneration_time_stats_seconds{{scope=\"total\"}} per scrape interval with bpfCompilation or bpfLoadProg (witness: {}); means hide the spread within an interval",
            counts[0].witness
        ).into();
    }

    let mut late = Measurement::new(run, "late_regenerations", "1");
    late.window = "from 5 s after the action's last commit on".into();
    late.statistic = "scrape intervals with regenerations".into();
    // Commits and scrapes stand on different clocks: each commit is moved to the scrapes' clock.
    let last_commit = run
        .episodes
        .iter()
        .filter(|e| e.phase == Some(Phase::Action))
        .filter_map(|e| Some(e.committed.high? + run.clocks.offset(&e.committed.clock, &clock)?.high))
        .max();
    // That nothing came late is seen only by who looked on: to the end of the windows.
    let looked = |from: i64| {
        counts.iter().all(|one| {
            let times: Vec<i64> = one.readings.iter().map(|reading| reading.high).collect();
            let until = whole(run, one).map_or(from, |window| window.end.max(from + 5_000_000_000));
            could_have_shown::reaches(&times, &Window { start: from, end: until, slack: 0 })
        })
    };
    match (counts.first(), last_commit) {
        (Some(_), Some(last)) if !looked(last) => {
            late.missing = Some(Missing {
                what: "the scrapes end before the windows do: what came late is not known".into(),
                remedy: SCRAPE.into(),
            });
        }
        (Some(first), Some(last)) => {
            let steps: Vec<Step> =
                counts.iter().flat_map(|s| whole(run, s).map_or(Vec::new(), |w| readings::steps(s, &w))).collect();
            let after: Vec<&Step> = steps.iter().filter(|s| s.delta > 0.0 && s.start > last + 5_000_000_000).collect();
            late.n = steps.iter().filter(|s| s.delta > 0.0).count() as u64;
            late.estimate = Estimate::exact(after.len() as f64);
            late.method = format!(
                "increases of cilium_endpoint_regeneration_time_stats_seconds_count (witness: {})",
                first.witness
            )
            .into();
            late.evidence = after.iter().take(3).map(|s| s.last.evidence(run, "regenerated late")).collect();
            // That none came late is shown by all that was read behind the last commit.
            late.evidence.extend(counts.iter().filter_map(|one| {
                let window = whole(run, one)?;
                let read: Vec<&Reading> =
                    one.readings.iter().filter(|r| r.high > last && r.high < window.end).collect();
                interval_means::range(run, one, read.first()?, read.last()?, "increase")
            }));
        }
        (None, _) => late.missing = Some(missing()),
        (_, None) => {
            late.missing = Some(Missing {
                what: "no endpoint changed in the action".into(),
                remedy: "Capture watches or audit events of EndpointSlices.".into(),
            });
        }
    }
    vec![row, late]
}

fn reconciler(run: &Run) -> Vec<Measurement> {
    let of = |suffix: &str| {
        readings::series(run, &format!("cilium_reconciler_duration_seconds_{suffix}"), |c| {
            c.label("module_id").ends_with(RECONCILER)
        })
    };
    let (sums, counts) = (of("sum"), of("count"));
    let mut found = Vec::new();
    for (phase, variant) in [(None, ""), (Some(Phase::Action), "action")] {
        let mut row = Measurement::new(run, "reconciler_duration", "s");
        row.variant = variant.into();
        row.window = if variant.is_empty() { "baseline, action and tail".into() } else { variant.into() };
        row.statistic = "p95 over scrape intervals with operations".into();
        let means = interval_means::of(&sums, &counts, &|s| match phase {
            Some(phase) => run.window(phase, &s.clock),
            None => whole(run, s),
        });
        if let (Some(first), false) = (counts.first(), means.is_empty()) {
            interval_means::describe(run, &mut row, &means, first);
            row.details.insert("operations".into(), means.iter().map(|one| one.step.delta).sum());
            row.method = format!(
                "Δsum/Δcount of cilium_reconciler_duration_seconds{{module_id=~\".*{RECONCILER}\"}} per scrape interval (witness: {}): work, not waiting",
                first.witness
            ).into();
        } else {
            row.missing = Some(Missing {
                what: "no operation of the load-balancer reconciler in the window".into(),
                remedy: format!("{SCRAPE} The series exists from Cilium 1.18 on."),
            });
        }
        found.push(row);
    }
    found
}

fn backends(run: &Run) -> Measurement {
    let mut row = Measurement::new(run, "backends_delta", "1");
    row.window = "action and tail".into();
    row.statistic = "difference".into();
    let gauges = readings::series(run, "cilium_statedb_table_objects", |c| c.label("table") == "backends");
    let ends = gauges.first().and_then(|series| {
        let action = run.window(Phase::Action, &series.clock)?;
        let end = run.window(Phase::Tail, &series.clock).map_or(action.end, |w| w.end);
        let before = series.readings.iter().rev().find(|r| r.high <= action.start)?;
        let after = series.readings.iter().rev().find(|r| r.high < end)?;
        Some((series, *before, *after))
    });
    let Some((series, before, after)) = ends else {
        row.missing = Some(Missing {
            what: "no series cilium_statedb_table_objects{table=\"backends\"} around the action".into(),
            remedy: SCRAPE.into(),
        });
        return row;
    };
    let mut net = 0i64;
    let mut seen = std::collections::BTreeSet::new();
    for episode in run.episodes.iter().filter(|e| matches!(e.phase, Some(Phase::Action | Phase::Tail))) {
        if seen.insert((&episode.endpoint, episode.direction, episode.number)) {
            net += if episode.direction == crate::events::Direction::Added { 1 } else { -1 };
        }
    }
    row.n = 2;
    row.estimate = Estimate::exact(after.value - before.value);
    row.method = format!(
        "cilium_statedb_table_objects{{table=\"backends\"}} at the start of the action and at the end (witness: {})",
        series.witness
    )
    .into();
    row.details.insert("before".into(), before.value);
    row.details.insert("after".into(), after.value);
    row.details.insert("endpoints_net".into(), net as f64);
    row.details.insert("endpoint_changes".into(), endpoint_changes(run) as f64);
    row.evidence = vec![
        before.evidence(run, format!("{} backends", before.value)),
        after.evidence(run, format!("{} backends", after.value)),
    ];
    row
}

fn forwards(run: &Run) -> Measurement {
    let mut row = Measurement::new(run, "forward_rate_ratio", "ratio");
    row.window = "action against baseline".into();
    row.statistic = "p5 of the action / p50 of the baseline".into();
    let counters = readings::series(run, "cilium_forward_count_total", |_| true);
    let rates = |phase: Phase| {
        // Directions of one scrape add up.
        let mut by_end: BTreeMap<i64, f64> = BTreeMap::new();
        for series in &counters {
            let Some(window) = run.window(phase, &series.clock) else { continue };
            for step in readings::steps(series, &window) {
                let seconds = (step.end - step.start) as f64 / 1e9;
                if seconds > 0.1 {
                    *by_end.entry(step.end).or_default() += step.delta / seconds;
                }
            }
        }
        by_end.into_values().collect::<Vec<_>>()
    };
    let (before, during) = (rates(Phase::Baseline), rates(Phase::Action));
    match (quantile::of(&before, 0.5), quantile::of(&during, 0.05)) {
        (Some(usual), Some(least)) if usual > 0.0 => {
            row.n = during.len() as u64;
            row.estimate = Estimate::exact(least / usual);
            row.method = format!(
                "packets forwarded per second between scrapes, both directions (cilium_forward_count_total, witness: {})",
                counters[0].witness
            ).into();
            row.details.insert("baseline_p50".into(), usual);
            row.details.insert("action_p5".into(), least);
            row.evidence = last_lines(run, &counters);
        }
        _ => {
            row.missing = Some(Missing {
                what: "no series cilium_forward_count_total in baseline and action".into(),
                remedy: SCRAPE.into(),
            })
        }
    }
    row
}

fn last_lines(run: &Run, series: &[Series]) -> Vec<crate::clock::Evidence> {
    series.iter().take(3).filter_map(|s| Some(s.readings.last()?.evidence(run, &s.name))).collect()
}
