//! `cpu_baseline`, `cpu_event`, `cpu_increase_ratio`, `cpu_increase_points`, `cpu_excess_seconds`: the proxy's CPU.
//!
//! All are exact counter differences between the first and the last stamp inside a window, which must span 60 % of
//! it. Their bounds are measurement bounds (stamps, counter steps), not confidence: how much the CPU wanders by itself
//! is told by windows of equal length in the baseline (`details`: `window_min`, `window_median`, `window_max`).
//! They stand in one file because they are five readings of the same three differences.

use super::proxy_cpu::{self, PhaseCpu, ProxyCpu};
use super::readings;
use super::{Measurement, Missing};
use crate::events::{Phase, Run, Window};
use crate::math::{Estimate, arithmetic, quantile};

/// Length of the windows that show the baseline's own spread, ns.
const SPREAD: i64 = 5_000_000_000;

/// All five, in that order; `cpu_event` also with the variants `tail` and `peak`, `cpu_excess_seconds` with `over tail`.
pub fn measure(run: &Run) -> Vec<Measurement> {
    const NAMES: [(&str, &str); 5] = [
        ("cpu_baseline", "cores"),
        ("cpu_event", "cores"),
        ("cpu_increase_ratio", "ratio"),
        ("cpu_increase_points", "points"),
        ("cpu_excess_seconds", "core-s"),
    ];
    let Some(cpu) = proxy_cpu::find(run) else {
        let what = format!("no CPU counter of the container {} or of its process", proxy_cpu::container(run));
        return NAMES
            .iter()
            .map(|(name, unit)| Measurement::missing(run, name, unit, &what, proxy_cpu::REMEDY))
            .collect();
    };
    let mut phases = proxy_cpu::by_phase(run, &cpu);
    let mut take = |phase| phases.remove(&phase).unwrap_or_else(|| Err("no such window".into()));
    let (baseline, action, tail) = (take(Phase::Baseline), take(Phase::Action), take(Phase::Tail));
    let mut found = Vec::new();

    let mut row = level(run, &cpu, "cpu_baseline", "", Phase::Baseline, &baseline);
    if baseline.is_ok() {
        spread(run, &cpu, &mut row);
    }
    found.push(row);
    found.push(level(run, &cpu, "cpu_event", "", Phase::Action, &action));
    found.push(level(run, &cpu, "cpu_event", "tail", Phase::Tail, &tail));
    found.push(peak(run, &cpu));

    match (&baseline, &action) {
        (Ok(before), Ok(during)) => {
            let mut row = start(run, &cpu, "cpu_increase_ratio", "ratio", "action against baseline");
            let ratio = arithmetic::ratio(during.cores, before.cores);
            row.estimate = arithmetic::difference(ratio, Estimate::exact(1.0));
            row.statistic = "(action − baseline) / baseline".into();
            describe(run, &cpu, &mut row, &[("baseline", before), ("action", during)]);
            found.push(row);

            let mut row = start(run, &cpu, "cpu_increase_points", "points", "action against baseline");
            match proxy_cpu::node_cpus(run) {
                Some((cpus, told)) if cpus > 0.0 => {
                    row.estimate = arithmetic::scaled(arithmetic::difference(during.cores, before.cores), 100.0 / cpus);
                    row.statistic = "(action − baseline) in percent of the node's CPUs".into();
                    row.details.insert("node_cpus".into(), cpus);
                    row.notes.push(format!("The node has {cpus} CPUs by {told}."));
                    describe(run, &cpu, &mut row, &[("baseline", before), ("action", during)]);
                }
                _ => {
                    row.missing = Some(Missing {
                        what: "the number of the node's CPUs".into(),
                        remedy: "Save query_range of node_cpu_seconds_total (node-exporter) or machine_cpu_cores (cAdvisor).".into(),
                    });
                }
            }
            found.push(row);
        }
        _ => {
            let why =
                [&baseline, &action].iter().filter_map(|p| p.as_ref().err().cloned()).collect::<Vec<_>>().join("; ");
            for (name, unit) in [NAMES[2], NAMES[3]] {
                found.push(Measurement::missing(run, name, unit, &why, LONGER));
            }
        }
    }
    found.push(excess(run, &cpu, "", &action, &baseline));
    found.push(excess(run, &cpu, "over tail", &action, &tail));
    found
}

const LONGER: &str = "Keep baseline, action and tail at 30 s or more and scrape cAdvisor every second.";

fn start(run: &Run, cpu: &ProxyCpu, name: &str, unit: &str, window: &str) -> Measurement {
    let mut row = Measurement::new(run, name, unit);
    row.method = cpu.method.clone().into();
    row.window = window.into();
    // A quotient or difference of two lower bounds bounds nothing: only the levels say so.
    row.lower_bound_only = cpu.lower_bound_only;
    row
}

fn level(
    run: &Run,
    cpu: &ProxyCpu,
    name: &str,
    variant: &str,
    phase: Phase,
    found: &Result<PhaseCpu, String>,
) -> Measurement {
    let mut row = start(run, cpu, name, "cores", proxy_cpu::word(phase));
    row.variant = variant.into();
    match found {
        Ok(cpu_in) => {
            row.estimate = cpu_in.cores;
            row.statistic = "mean".into();
            describe(run, cpu, &mut row, &[("", cpu_in)]);
        }
        Err(why) => row.missing = Some(Missing { what: why.clone(), remedy: LONGER.into() }),
    }
    row
}

fn describe(run: &Run, cpu: &ProxyCpu, row: &mut Measurement, parts: &[(&str, &PhaseCpu)]) {
    row.n = parts.iter().map(|(_, p)| p.stamps as u64).min().unwrap_or(0);
    for (word, part) in parts {
        let key = |name: &str| if word.is_empty() { name.to_owned() } else { format!("{word}_{name}") };
        for (name, value) in [
            ("cores", part.cores.value),
            ("cpu_seconds", part.used.value),
            ("span_seconds", part.seconds.value),
            ("stamps", Some(part.stamps as f64)),
            ("containers", Some(part.increases.len() as f64)),
        ] {
            if let Some(value) = value {
                row.details.insert(key(name), value);
            }
        }
        for (at, increase) in &part.increases {
            row.evidence.extend(readings::evidence(run, &cpu.series[*at], increase));
        }
    }
    if cpu.lower_bound_only && row.name.starts_with("cpu_increase") {
        row.notes.push(
            "Without the iptables-restore children, which work only during syncs, the increase is too low.".into(),
        );
    }
}

/// CPU of windows of equal length in the baseline: its own wandering.
fn spread(run: &Run, cpu: &ProxyCpu, row: &mut Measurement) {
    let mut rates = Vec::new();
    for series in &cpu.series {
        let Some(whole) = run.window(Phase::Baseline, &series.clock) else { continue };
        let mut at = whole.start;
        while at + SPREAD <= whole.end {
            let part = Window { start: at, end: at + SPREAD, slack: whole.slack };
            if let Some(rate) = readings::increase(series, &part, cpu.resolution).ok().and_then(|i| i.rate().value) {
                rates.push(rate);
            }
            at += SPREAD;
        }
    }
    rates.sort_by(f64::total_cmp);
    if let (Some(low), Some(high), Some(middle)) = (rates.first(), rates.last(), quantile::median(&rates)) {
        row.details.insert("windows".into(), rates.len() as f64);
        row.details.insert("window_seconds".into(), SPREAD as f64 / 1e9);
        row.details.insert("window_min".into(), *low);
        row.details.insert("window_median".into(), middle);
        row.details.insert("window_max".into(), *high);
    }
}

/// Least time between the two stamps of a peak, ns.
const APART: i64 = 500_000_000;

/// Highest rate between two stamps at least half a second apart in the action.
fn peak(run: &Run, cpu: &ProxyCpu) -> Measurement {
    let mut row = start(run, cpu, "cpu_event", "cores", "action");
    row.variant = "peak".into();
    row.statistic = "highest rate between two samples".into();
    for series in &cpu.series {
        let Some(window) = run.window(Phase::Action, &series.clock) else { continue };
        // Of an answer of the API only a value that is new was taken when it is shown; one that stays may be as old as the first.
        let stays = |at: usize| at > 0 && series.readings[at - 1].value == series.readings[at].value;
        let is_answer = series.witness == "api";
        let shown = series.readings.iter().enumerate().filter(|(_, r)| window.contains(r.high));
        let inside: Vec<_> = shown.filter(|(at, _)| !(is_answer && stays(*at))).collect();
        for (at, (place, first)) in inside.iter().enumerate() {
            // A recorder looks ten times a second: steps of the counter would be rates of their own.
            let later = inside[at + 1..].iter().find(|(_, later)| later.high - first.high >= APART);
            let Some((place_of_second, second)) = later else { break };
            let pair = [*first, *second];
            // What rose did so after the last of the repeated values, if that was a new sample.
            let open = is_answer && place + 1 < *place_of_second;
            let seconds = (pair[1].high - pair[0].high) as f64 / 1e9;
            let delta = pair[1].value - pair[0].value;
            if delta < 0.0 {
                continue;
            }
            row.n += 1;
            let slack = (pair[1].high - pair[1].low) as f64 / 1e9;
            let rate = Estimate {
                value: Some(delta / seconds),
                low: Some((delta - cpu.resolution).max(0.0) / (seconds + slack)),
                high: (seconds > slack && !open).then(|| (delta + cpu.resolution) / (seconds - slack)),
            };
            if rate.value > row.estimate.value {
                row.estimate = rate;
                row.evidence = vec![pair[1].evidence(run, format!("{} {}", series.name, pair[1].value))];
            }
        }
    }
    if row.estimate.value.is_none() {
        row.missing = Some(Missing { what: "fewer than two samples in the action".into(), remedy: LONGER.into() });
    }
    row
}

fn excess(
    run: &Run,
    cpu: &ProxyCpu,
    variant: &str,
    action: &Result<PhaseCpu, String>,
    quiet: &Result<PhaseCpu, String>,
) -> Measurement {
    let against = if variant.is_empty() { "baseline" } else { "tail" };
    let mut row = start(run, cpu, "cpu_excess_seconds", "core-s", &format!("action against {against}"));
    row.variant = variant.into();
    match (action, quiet) {
        (Ok(during), Ok(quiet)) => {
            // Between the action's own stamps; nothing is extrapolated to its edges.
            let expected = match (
                quiet.cores.low,
                quiet.cores.value,
                quiet.cores.high,
                during.seconds.low,
                during.seconds.value,
                during.seconds.high,
            ) {
                (Some(cl), Some(c), Some(ch), Some(sl), Some(s), Some(sh)) => {
                    Estimate::between(cl * sl, c * s, ch * sh)
                }
                (_, Some(c), _, _, Some(s), _) => Estimate { value: Some(c * s), low: None, high: None },
                _ => Estimate::default(),
            };
            row.estimate = arithmetic::difference(during.used, expected);
            row.statistic = format!("CPU-seconds above the {against}'s rate").into();
            describe(run, cpu, &mut row, &[("action", during), (against, quiet)]);
        }
        _ => {
            let why = [action, quiet].iter().filter_map(|p| p.as_ref().err().cloned()).collect::<Vec<_>>().join("; ");
            row.missing = Some(Missing { what: why, remedy: LONGER.into() });
        }
    }
    row
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{self, SECOND};
    use crate::events::{Window, Windows};

    fn window(start: i64, end: i64) -> Option<Window> {
        Some(Window { start: start * SECOND, end: end * SECOND, slack: 0 })
    }

    /// 0.1 cores in the baseline, 0.3 in the action, 0.1 in the tail, on a node of two CPUs.
    #[test]
    fn all_readings_of_one_counter() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = fixture::run(folder.path(), "cilium", |tables| {
            let used = |t: i64| 0.1 * t as f64 + 0.2 * (t - 30).clamp(0, 20) as f64;
            let points: Vec<(i64, f64)> = (0..=80).map(|t| (t, used(t))).collect();
            let labels = r#"{"container":"cilium-agent","cpu":"total"}"#;
            fixture::series(tables, 0, "tsdb", "container_cpu_usage_seconds_total", labels, &points);
            for cpu in 0..2 {
                let labels = format!(r#"{{"cpu":"{cpu}","mode":"idle"}}"#);
                fixture::series(tables, 1 + cpu, "tsdb", "node_cpu_seconds_total", &labels, &[(0, 0.0), (80, 8.0)]);
            }
        });
        run.windows = Windows {
            clock: "node-a".into(),
            baseline: window(0, 31),
            action: window(30, 51),
            tail: window(51, 80),
            ..Windows::default()
        };
        let rows = super::measure(&run);
        let value = |name: &str, variant: &str| {
            rows.iter().find(|m| m.name == name && m.variant == variant).and_then(|m| m.estimate.value).unwrap()
        };
        for (name, variant, expected) in [
            ("cpu_baseline", "", 0.1),
            ("cpu_event", "", 0.3),
            ("cpu_event", "tail", 0.1),
            ("cpu_event", "peak", 0.3),
            ("cpu_increase_ratio", "", 2.0),
            ("cpu_increase_points", "", 10.0),
            ("cpu_excess_seconds", "", 4.0),
            ("cpu_excess_seconds", "over tail", 4.0),
        ] {
            assert!((value(name, variant) - expected).abs() < 1e-6, "{name} {variant}: {}", value(name, variant));
        }
        assert!(rows.iter().all(|m| m.missing.is_none() && !m.evidence.is_empty()));
    }

    /// A Prometheus that scrapes every 15 s, asked at every second: each value stands there 15 times. 0.1 cores throughout.
    #[test]
    fn repeated_values_of_an_answer_are_no_bursts() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = fixture::run(folder.path(), "cilium", |tables| {
            let points: Vec<(i64, f64)> = (4..=240).map(|t| (t, 0.1 * ((t - 4) / 15 * 15) as f64)).collect();
            let labels = r#"{"job":"cilium-agent"}"#;
            fixture::series(tables, 0, "api", "process_cpu_seconds_total", labels, &points);
        });
        run.windows = Windows {
            clock: "node-a".into(),
            baseline: window(0, 80),
            action: window(80, 160),
            tail: window(160, 240),
            ..Windows::default()
        };
        let rows = super::measure(&run);
        for (name, variant) in [("cpu_baseline", ""), ("cpu_event", ""), ("cpu_event", "peak"), ("cpu_event", "tail")] {
            let row = rows.iter().find(|m| m.name == name && m.variant == variant).unwrap();
            let found = row.estimate;
            assert!((found.value.unwrap() - 0.1).abs() < 0.03, "{name} {variant}: {found:?}");
            assert!(
                found.low.unwrap() <= 0.1 && found.high.is_none_or(|high| high >= 0.1),
                "{name} {variant}: {found:?}"
            );
        }
    }

    #[test]
    fn without_a_counter_every_name_says_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let run = fixture::run(folder.path(), "kube-proxy-iptables", |_| ());
        let rows = super::super::all(&run).unwrap();
        for name in super::super::NAMES {
            assert!(rows.iter().any(|m| m.name == *name), "{name} yields no row");
        }
        for row in &rows {
            let missing = row.missing.as_ref().unwrap_or_else(|| panic!("{} {} has a figure", row.name, row.variant));
            assert!(!missing.what.is_empty() && !missing.remedy.is_empty(), "{}", row.name);
        }
    }
}
