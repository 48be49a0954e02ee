//! `packet_cost` and `lookup_time`: seconds of kernel work per packet.
//!
//! Cilium, direct: `bpftool prog` keeps `run_time_ns` and `run_cnt` of every program (with kernel.bpf_stats_enabled=1);
//! the difference of two dumps by program id is the mean run time, measuring included.
//! Any dataplane, from above: softirq CPU-seconds of the node over the workload's packets. It charges *all* softirq
//! work to the workload, so it is an upper bound. Ticks of the kernel (250 Hz) are sampled: ± 2√ticks.

use std::collections::BTreeMap;

use super::readings::{self, Series};
use super::requests;
use super::{Measurement, Missing};
use crate::events::{Phase, Run};
use crate::math::{Estimate, arithmetic};

/// Kernel ticks a second, by which softirq time is sampled.
const TICKS: f64 = 250.0;

/// Packets of one successful request both ways, by kind: least, usual, most.
///
/// A new connection has three of the handshake, request and answer, and its closing: six where a reset closes it and
/// acknowledgements ride along, twelve where each stands alone. On a connection that is kept there are request and answer alone.
const PACKETS: [(&str, [f64; 3]); 2] = [("new", [6.0, 10.0, 12.0]), ("keepalive", [2.0, 3.0, 4.0])];

/// Programs on the path of a packet.
const PACKET_PROGRAMS: [&str; 8] = [
    "cil_from_container",
    "cil_to_container",
    "cil_from_netdev",
    "cil_to_netdev",
    "cil_from_host",
    "cil_to_host",
    "cil_from_overlay",
    "cil_xdp_entry",
];

/// Programs that look a Service up when a socket connects or sends.
const LOOKUP_PROGRAMS: [&str; 4] = ["cil_sock4_connect", "cil_sock6_connect", "cil_sock4_sendmsg", "cil_sock6_sendmsg"];

const BPFTOOL: &str = "sysctl kernel.bpf_stats_enabled=1, then `date +%s.%N; bpftool prog show -j` at the start and at the end of the baseline.";
const NODE: &str = "Save query_range of node_cpu_seconds_total and container_network_*_packets_total over the baseline, with load on the Service.";

/// `packet_cost` (main: direct for Cilium where there are dumps, else the upper bound; `upper bound` beside it) and `lookup_time`.
pub fn measure(run: &Run) -> Vec<Measurement> {
    let direct = (!run.is_kube_proxy()).then(|| programs(run, "packet_cost", &PACKET_PROGRAMS, false));
    let bound = softirq(run);
    let mut found = Vec::new();
    match direct {
        Some(direct) if direct.missing.is_none() => {
            found.push(direct);
            found.push(Measurement { variant: "upper bound".into(), ..bound });
        }
        _ => found.push(bound),
    }
    let lookup = if run.is_kube_proxy() {
        let mut row = Measurement { name: "lookup_time".into(), ..found[0].clone() };
        row.notes.push("A rule lookup is part of a packet's cost: the whole bounds it from above.".into());
        row
    } else {
        programs(run, "lookup_time", &LOOKUP_PROGRAMS, true)
    };
    found.push(lookup);
    found
}

/// Mean run time of programs between two dumps, by id: those around the baseline, or (`all`) the first and the last.
/// A look-up happens once a connection, so that a baseline alone has few of them.
fn programs(run: &Run, name: &str, wanted: &[&str], all: bool) -> Measurement {
    let mut row = Measurement::new(run, name, "s");
    row.statistic = "mean of a run".into();
    let keep = |c: readings::Candidate| wanted.contains(&c.label("name"));
    let times = readings::series(run, "bpftool_prog_run_time_ns", keep);
    let counts = readings::series(run, "bpftool_prog_run_cnt", keep);
    let mut sums = (0.0, 0.0);
    let mut by_name: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    let mut window = String::new();
    for count in &counts {
        let Some(time) = times.iter().find(|t| t.labels == count.labels) else { continue };
        let Some((first, last, words)) = pair(run, count, all) else { continue };
        let at = |t: i64| time.readings.iter().find(|r| r.high == t).map(|r| r.value);
        let (Some(start), Some(end)) = (at(first.high), at(last.high)) else { continue };
        let (runs, nanoseconds) = (last.value - first.value, end - start);
        if runs > 0.0 && nanoseconds >= 0.0 {
            sums = (sums.0 + nanoseconds, sums.1 + runs);
            let entry = by_name.entry(count.label("name").to_owned()).or_default();
            *entry = (entry.0 + nanoseconds, entry.1 + runs);
            window = words;
            // Both dumps: the figure is their difference.
            if row.evidence.len() < 12 {
                let name = count.label("name");
                row.evidence
                    .extend([first, last].map(|one| one.evidence(run, format!("{name} run_cnt {}", one.value))));
            }
        }
    }
    if sums.1 > 0.0 {
        row.n = sums.1 as u64;
        row.window = window.into();
        row.estimate = Estimate::exact(sums.0 / sums.1 / 1e9);
        row.method = format!(
            "Δrun_time_ns / Δrun_cnt of {} between two dumps of bpftool prog, by program id",
            wanted.join(", ")
        )
        .into();
        row.notes.push("bpftool counts the measuring itself; a packet may pass more than one program.".into());
        for (program, (nanoseconds, runs)) in by_name {
            row.details.insert(format!("{program}_seconds"), nanoseconds / runs / 1e9);
            row.details.insert(format!("{program}_runs"), runs);
        }
    } else {
        row.missing = Some(Missing {
            what: "no two dumps of bpftool prog with run_cnt of the datapath's programs".into(),
            remedy: BPFTOOL.into(),
        });
    }
    row
}

/// The two dumps to use: the last pair that ends by the end of the baseline, else the first and the last of all.
fn pair(run: &Run, series: &Series, all: bool) -> Option<(readings::Reading, readings::Reading, String)> {
    let first = *series.readings.first()?;
    let last = *series.readings.last()?;
    if let Some(baseline) = run.window(Phase::Baseline, &series.clock).filter(|_| !all) {
        // A dump "at the end of the baseline" may be written a moment after the marker.
        let end = series.readings.iter().rev().find(|r| r.high <= baseline.end + 1_000_000_000);
        if let Some(end) = end
            && end.high > first.high
        {
            return Some((first, *end, "from the first dump to the baseline's end".into()));
        }
    }
    (last.high > first.high).then(|| (first, last, "between the first and the last dump".into()))
}

/// Softirq CPU-seconds of the baseline per packet.
fn softirq(run: &Run) -> Measurement {
    let mut row = Measurement::new(run, "packet_cost", "s");
    row.upper_bound_only = true;
    row.window = "baseline".into();
    row.statistic = "Δ softirq CPU-seconds / packets".into();
    let absent = |mut row: Measurement, what: String| {
        row.missing = Some(Missing { what, remedy: NODE.into() });
        row
    };
    let cpus = readings::recorded_or(run, "node_cpu_seconds_total", |c| c.label("mode") == "softirq");
    let mut rate = Estimate::exact(0.0);
    let (mut seconds, mut used) = (0.0f64, 0.0);
    for series in &cpus {
        let Some(window) = run.window(Phase::Baseline, &series.clock) else { continue };
        // The counter moves in steps of 10 ms.
        match readings::increase(series, &window, 0.01) {
            Ok(increase) => {
                rate = arithmetic::sum(rate, increase.rate());
                seconds = seconds.max(increase.seconds.value.unwrap_or_default());
                used += increase.delta.value.unwrap_or_default();
                row.evidence.extend(readings::evidence(run, series, &increase));
            }
            Err(why) => return absent(row, why),
        }
    }
    if seconds <= 0.0 {
        return absent(row, "no node_cpu_seconds_total{mode=\"softirq\"} in the baseline".into());
    }
    let ticks = used * TICKS;
    let sampling = 2.0 * ticks.sqrt() / TICKS / seconds;
    let rate = Estimate {
        value: rate.value,
        low: rate.low.map(|low| (low - sampling).max(0.0)),
        high: rate.high.map(|high| high + sampling),
    };
    let Some((packets, per_second, told)) = packets(run) else {
        return absent(
            row,
            "neither container_network_*_packets_total nor requests of a client in the baseline".into(),
        );
    };
    row.n = packets as u64;
    // The fewest packets give the upper bound.
    row.estimate = arithmetic::ratio(rate, per_second);
    row.method =
        format!("softirq CPU of the node (witness: {}) over packets of the workload: {told}", cpus[0].witness).into();
    row.notes.push("All softirq work of the node is charged to the workload: an upper bound.".into());
    row.details.insert("softirq_seconds".into(), used);
    row.details.insert("ticks".into(), ticks);
    row.details.insert("packets".into(), packets);
    for (name, value) in [("", per_second.value), ("_least", per_second.low), ("_most", per_second.high)] {
        if let Some(value) = value {
            row.details.insert(format!("packets_per_second{name}"), value);
        }
    }
    row
}

/// Packets of the workload in the baseline, per second too, and what told them.
fn packets(run: &Run) -> Option<(f64, Estimate, String)> {
    let service = run.service_under_test.as_deref().unwrap_or("");
    let (namespace, name) = service.split_once('/').unwrap_or(("", ""));
    let mut total = (0.0, 0.0);
    for metric in ["container_network_receive_packets_total", "container_network_transmit_packets_total"] {
        let found = readings::series(run, metric, |c| {
            !name.is_empty() && c.label("namespace") == namespace && c.label("pod").starts_with(name)
        });
        for series in found.into_iter().map(readings::distinct) {
            let window = run.window(Phase::Baseline, &series.clock)?;
            if let Ok(increase) = readings::increase(&series, &window, 0.0)
                && let (Some(delta), Some(rate)) = (increase.delta.value, increase.rate().value)
            {
                total = (total.0 + delta, total.1 + rate);
            }
        }
    }
    if total.0 > 0.0 {
        let told = format!("container_network_*_packets_total of pods {service}-…, both ways");
        return Some((total.0, Estimate::exact(total.1), told));
    }
    let clock = requests::clocks(run).into_iter().next()?;
    let seconds = run.window(Phase::Baseline, &clock)?.seconds();
    let mut packets = [0.0; 3];
    let mut told = Vec::new();
    for (kind, each) in PACKETS {
        let Some(tally) = requests::tally(run, Phase::Baseline, kind) else { continue };
        let succeeded = (tally.attempts - tally.failures.min(tally.attempts)) as f64;
        // A failed attempt has one packet at least, and no more than a whole request.
        let failed = tally.failures as f64;
        for (sum, (count, of_failed)) in packets.iter_mut().zip(each.into_iter().zip([1.0, 1.0, each[2]])) {
            *sum += succeeded * count + failed * of_failed;
        }
        told.push(format!("{} requests ({kind}) × {} to {}", tally.attempts, each[0], each[2]));
    }
    if packets[0] <= 0.0 || seconds <= 0.0 {
        return None;
    }
    let [least, usual, most] = packets.map(|count| count / seconds);
    let told = format!("{} of the client (no packet counter of its pods was captured)", told.join(", "));
    Some((packets[1], Estimate::between(least, usual, most), told))
}

#[cfg(test)]
mod tests {
    use syncline_schema::requests::RequestRow;

    use super::super::fixture::{self, SECOND};
    use crate::events::{Window, Windows};

    /// A quarter of the requests kept their connection: ten packets for each would be no bound.
    #[test]
    fn packets_are_counted_by_kind() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = fixture::run(folder.path(), "kube-proxy-iptables", |tables| {
            for at in 0..4000 {
                let kind = if at % 4 == 0 { "keepalive" } else { "new" };
                let row = RequestRow {
                    record: at + 1,
                    clock: "node-a".into(),
                    time: at * SECOND / 100,
                    kind: kind.into(),
                    status: Some(200),
                    ..RequestRow::default()
                };
                tables.push(&row).unwrap();
            }
            let points: Vec<(i64, f64)> = (0..=40).map(|t| (t, 0.02 * t as f64)).collect();
            let labels = r#"{"cpu":"0","mode":"softirq"}"#;
            fixture::series(tables, 0, "tsdb", "node_cpu_seconds_total", labels, &points);
        });
        let window = Some(Window { start: 0, end: 40 * SECOND, slack: 0 });
        run.windows = Windows { clock: "node-a".into(), baseline: window, ..Windows::default() };
        let rows = super::measure(&run);
        let row = &rows[0];
        let close = |found: Option<f64>, wanted: f64| found.is_some_and(|found| (found / wanted - 1.0).abs() < 0.01);
        // 75 new and 25 kept requests a second.
        assert!(close(row.details.get("packets_per_second").copied(), 75.0 * 10.0 + 25.0 * 3.0), "{row:#?}");
        assert!(close(row.details.get("packets_per_second_least").copied(), 75.0 * 6.0 + 25.0 * 2.0), "{row:#?}");
        assert!(close(row.estimate.value, 0.02 / 825.0), "{row:#?}");
        // The bound must hold even if each request had no more packets than it needs: ten each would have said less.
        assert!(row.upper_bound_only && row.estimate.high.is_some_and(|high| high >= 0.02 / 500.0), "{row:#?}");
    }
}
