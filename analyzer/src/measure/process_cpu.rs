//! `process_cpu`: who took the node's CPU in each phase, by command.
//!
//! ```text
//! # SECOND nsecs=6811539155252
//! @oncpu_ns[cilium-agent]: 95169715      → cilium-agent, 0.095 cores in this second
//! @oncpu_ns[rustc]: 812040021            → neither the proxy nor the workload: named
//! ```
//!
//! From a bpftrace map that sums on-CPU nanoseconds by command (its name holds `cpu` and `ns`), else from cAdvisor's counters
//! by container, which do not see what runs outside of containers. A script prints the largest keys only, so that what is
//! small may be missing from it.

use std::collections::{BTreeMap, BTreeSet};

use polars::prelude::{col, lit};
use syncline_schema::trace::MapRow;

use super::proxy_cpu;
use super::readings;
use super::{Measurement, Missing};
use crate::clock::Evidence;
use crate::events::{Phase, Run};
use crate::math::Estimate;

/// Its name.
pub const NAME: &str = "process_cpu";

/// Commands named for a phase.
const NAMED: usize = 6;
/// The kernel keeps this much of a command's name.
const COMM: usize = 15;
/// Share of a core from which a command is worth naming.
const LEAST: f64 = 0.01;

/// Commands of the proxies themselves and of what they start.
const PROXY: [&str; 9] = [
    "cilium-agent",
    "kube-proxy",
    "iptables",
    "ip6tables",
    "iptables-restor",
    "ip6tables-resto",
    "nft",
    "ipset",
    "conntrack",
];

/// One row for each phase: variants `baseline`, `action`, `tail`; `details`: cores by command.
pub fn measure(run: &Run) -> Vec<Measurement> {
    let prints = prints(run);
    [Phase::Baseline, Phase::Action, Phase::Tail]
        .into_iter()
        .map(|phase| {
            let word = proxy_cpu::word(phase);
            let mut row = Measurement::new(run, NAME, "cores");
            row.variant = word.into();
            row.window = word.into();
            row.statistic = "sum over the commands seen".into();
            let (cores, evidence, method) = match traced(run, &prints, phase) {
                Some((cores, evidence)) => {
                    (cores, evidence, "on-CPU time by command in the kernel trace, the largest of each print")
                }
                None => match contained(run, phase) {
                    Some((cores, evidence)) => {
                        (cores, evidence, "cAdvisor's container_cpu_usage_seconds_total by container; processes outside of containers are not seen")
                    }
                    None => {
                        row.missing = Some(Missing {
                            what: format!("nothing tells which processes used the CPU in the {word}"),
                            remedy: "Run cpu.bt (tracepoint:sched:sched_switch, on-CPU nanoseconds by comm, printed every second) with bpftrace, or scrape cAdvisor.".into(),
                        });
                        return row;
                    }
                },
            };
            describe(run, &mut row, &cores);
            row.evidence = evidence;
            row.method = method.into();
            row
        })
        .collect()
}

fn describe(run: &Run, row: &mut Measurement, cores: &BTreeMap<String, f64>) {
    let mut order: Vec<(&String, f64)> = cores.iter().map(|(name, used)| (name, *used)).collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(b.0)));
    row.n = order.len() as u64;
    row.estimate = Estimate::exact(order.iter().map(|(_, used)| used).sum());
    for (name, used) in order.iter().filter(|(_, used)| *used >= LEAST) {
        row.details.insert((*name).clone(), *used);
    }
    let words = |list: &[&(&String, f64)]| -> String {
        let each: Vec<String> = list.iter().map(|(name, used)| format!("{name} {used:.2}")).collect();
        each.join(", ")
    };
    let top: Vec<&(&String, f64)> = order.iter().filter(|(_, used)| *used >= LEAST).take(NAMED).collect();
    if top.is_empty() {
        return;
    }
    row.notes.push(format!("In the {}, in cores: {}.", row.variant, words(&top)));
    let workload = workload(run);
    let foreign: Vec<&(&String, f64)> = order
        .iter()
        .filter(|(name, used)| *used >= LEAST && !PROXY.contains(&name.as_str()) && !workload.contains(name.as_str()))
        .take(NAMED)
        .collect();
    if !foreign.is_empty() {
        let who = if workload.is_empty() {
            "not the proxy; which commands are the workload's, the captures do not tell"
        } else {
            "neither the proxy nor the workload"
        };
        row.notes.push(format!("Foreign ({who}): {}.", words(&foreign)));
    }
}

/// Containers of the Service under test, as the kernel names their commands.
fn workload(run: &Run) -> BTreeSet<String> {
    let Some((namespace, name)) = run.service_under_test.as_deref().and_then(|one| one.split_once('/')) else {
        return BTreeSet::new();
    };
    let found = readings::series(run, "container_cpu_usage_seconds_total", |one| {
        let container = one.label("container");
        let own = one.label("namespace") == namespace && one.label("pod").starts_with(name);
        own && !container.is_empty() && container != "POD"
    });
    found.iter().map(|one| one.label("container").chars().take(COMM).collect()).collect()
}

/// One printed value.
struct Print {
    time: i64,
    clock: String,
    map: String,
    comm: String,
    seconds: f64,
    source: i32,
    record: i64,
}

/// What a map of on-CPU nanoseconds printed, in order; of one source.
fn prints(run: &Run) -> Vec<Print> {
    let rows = run.bundle.rows_or_note::<MapRow<'static>>(Some(col("figure").eq(lit("value"))));
    let is_cpu = |map: &str| {
        let name = map.to_lowercase();
        name.contains("cpu")
            && name.split(|letter: char| !letter.is_alphanumeric()).any(|word| matches!(word, "ns" | "nsecs"))
    };
    let mut found: Vec<Print> = rows
        .into_iter()
        .filter(|row| is_cpu(&row.map))
        .filter_map(|row| {
            let comm = row.key.as_deref()?.to_owned();
            // The idle task of each CPU.
            (!comm.starts_with("swapper")).then_some(())?;
            let seconds = row.value.filter(|value| value.is_finite() && *value >= 0.0)? / 1e9;
            Some(Print {
                time: row.time?,
                clock: row.clock.into_owned(),
                map: row.map.into_owned(),
                comm,
                seconds,
                source: row.source,
                record: row.record,
            })
        })
        .collect();
    found.sort_by_key(|one| (one.source, one.record));
    // The same script may have been captured as text and as JSON.
    let first = found.first().map(|one| one.source);
    found.retain(|one| Some(one.source) == first);
    // A map that is never cleared goes on counting: what it grew by counts.
    let mut last: BTreeMap<String, f64> = BTreeMap::new();
    let grows =
        found.iter().all(|one| last.insert(one.comm.clone(), one.seconds).is_none_or(|before| before <= one.seconds));
    if grows && last.len() < found.len() {
        let mut before: BTreeMap<String, f64> = BTreeMap::new();
        for one in &mut found {
            let now = one.seconds;
            one.seconds = before.insert(one.comm.clone(), now).map_or(0.0, |before| now - before);
        }
    }
    found
}

type Found = (BTreeMap<String, f64>, Vec<Evidence>);

/// Cores by command over the prints of a phase; each print stands for the time since the one before.
fn traced(run: &Run, prints: &[Print], phase: Phase) -> Option<Found> {
    let window = run.window(phase, &prints.first()?.clock)?;
    let inside: Vec<&Print> = prints.iter().filter(|one| window.contains(one.time)).collect();
    let (first, last) = (inside.first()?, inside.last()?);
    let times: BTreeSet<i64> = inside.iter().map(|one| one.time).collect();
    let before = prints.iter().map(|one| one.time).filter(|time| *time < first.time).max().unwrap_or(window.start);
    let seconds = (last.time - before) as f64 / 1e9;
    if seconds <= 0.0 || times.len() < 2 {
        return None;
    }
    let mut cores: BTreeMap<String, f64> = BTreeMap::new();
    for one in &inside {
        *cores.entry(one.comm.clone()).or_default() += one.seconds / seconds;
    }
    let evidence = Evidence {
        last: Some(last.record),
        query: format!(
            "SELECT key, sum(value) / 1e9 / {seconds:.3} AS cores FROM 'trace_maps.parquet' WHERE source = {} AND record BETWEEN {} AND {} AND map = '{}' AND figure = 'value' AND key NOT LIKE 'swapper%' GROUP BY key ORDER BY cores DESC",
            first.source, first.record, last.record, first.map
        ).into(),
        ..run.evidence(first.source, first.record, "on-CPU time by command")
    };
    Some((cores, vec![evidence]))
}

/// Cores by container.
fn contained(run: &Run, phase: Phase) -> Option<Found> {
    let all = readings::exported_or(run, "container_cpu_usage_seconds_total", |one| {
        !matches!(one.label("container"), "" | "POD") && matches!(one.label("cpu"), "" | "total")
    });
    let mut cores: BTreeMap<String, f64> = BTreeMap::new();
    let mut evidence = Vec::new();
    for series in all.into_iter().map(readings::distinct) {
        let Some(window) = run.window(phase, &series.clock) else { continue };
        let Ok(increase) = readings::increase(&series, &window, 0.0) else { continue };
        if let Some(rate) = increase.rate().value {
            *cores.entry(series.label("container").to_owned()).or_default() += rate;
            if evidence.len() < 6 {
                evidence.extend(readings::evidence(run, &series, &increase));
            }
        }
    }
    (!cores.is_empty()).then_some((cores, evidence))
}

#[cfg(test)]
mod tests {
    use syncline_schema::trace::MapRow;

    use super::super::fixture::{self, SECOND};
    use crate::events::{Window, Windows};

    fn of(values: &[(i64, &'static str, f64)]) -> Vec<super::Measurement> {
        let folder = tempfile::tempdir().unwrap();
        let mut run = fixture::run(folder.path(), "cilium", |tables| {
            for (record, (at, comm, cores)) in values.iter().enumerate() {
                let row = MapRow {
                    record: record as i64 + 1,
                    clock: "node-a".into(),
                    time: Some(at * SECOND),
                    map: "@oncpu_ns".into(),
                    key: Some((*comm).into()),
                    figure: "value".into(),
                    value: Some(cores * 1e9),
                    ..MapRow::default()
                };
                tables.push(&row).unwrap();
            }
        });
        let window = Some(Window { start: 1, end: 100 * SECOND, slack: 0 });
        run.windows = Windows { clock: "node-a".into(), action: window, ..Windows::default() };
        super::measure(&run)
    }

    #[test]
    fn foreign_commands_are_named() {
        let mut values = Vec::new();
        for at in 1..=10 {
            let wave = if at % 2 == 0 { 0.02 } else { 0.0 };
            values.extend([(at, "cilium-agent", 0.2 + wave), (at, "rustc", 0.9 - wave), (at, "swapper/0", 0.9)]);
        }
        let rows = of(&values);
        let row = rows.iter().find(|row| row.variant == "action").unwrap();
        assert!((row.details["rustc"] - 0.89).abs() < 0.01, "{row:#?}");
        assert!(!row.details.contains_key("swapper/0"));
        assert!(row.notes[0].contains("rustc 0.89, cilium-agent 0.21"), "{:?}", row.notes);
        assert!(row.notes[1].contains("rustc") && !row.notes[1].contains("cilium-agent"), "{:?}", row.notes);
        assert!(row.evidence[0].last > Some(row.evidence[0].record) && row.evidence[0].query.contains("trace_maps"));
        assert!(rows.iter().any(|row| row.variant == "tail" && row.missing.is_some()));
    }

    #[test]
    fn a_map_that_is_never_cleared_counts_by_what_it_grows() {
        let values: Vec<(i64, &str, f64)> = (1..=10).map(|at| (at, "rustc", 0.5 * at as f64)).collect();
        let rows = of(&values);
        let row = rows.iter().find(|row| row.variant == "action").unwrap();
        assert!((row.details["rustc"] - 0.45).abs() < 0.06, "{row:#?}");
    }
}
