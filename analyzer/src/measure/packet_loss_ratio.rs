//! `packet_loss_ratio`: SYN retransmits of the client towards the Service over new connection attempts.
//!
//! One definition for all dataplanes. A retransmit counts if its socket is in SYN_SENT (state 2 of the kernel's
//! enum), it goes to the ClusterIP or to an endpoint of the Service, **and it comes from a client's address** where
//! the requests tell one: the kubelet's probes of pods that start or end retransmit their SYNs as well, and are no
//! loss of the Service. (In real scale-ups all SYN retransmits to backends were the kubelet's.) The variant
//! `any source` counts them all.

use std::collections::BTreeSet;

use polars::prelude::{Expr, col, lit};
use syncline_schema::flows::FlowRow;
use syncline_schema::services::ServiceRow;
use syncline_schema::trace::EventRow;

use super::requests;
use super::sync_census;
use super::{Interval, Measurement, Missing};
use crate::clock::Evidence;
use crate::events::{Phase, Run};
use crate::math::{Estimate, exact};

const TRACE: &str = "Run tcp.bt (tracepoint:tcp:tcp_retransmit_skb with addresses and state) with bpftrace from before the baseline on.";

/// Words in the reasons of Cilium's drops that can hit a Service's traffic: as whole words, since "destination" holds "nat".
const SERVICE_REASONS: [&str; 5] = ["stale", "unroutable", "backend", "nat", "ct"];

/// Whether a drop for this reason can have been of a Service's traffic (`Stale or unroutable IP`, `NO_SERVICE_BACKEND`, `CT: …`).
pub(super) fn can_hit_a_service(reason: &str) -> bool {
    let reason = reason.to_lowercase();
    let mut words = reason.split(|c: char| !c.is_alphanumeric());
    !reason.contains("unsupported") && words.any(|word| SERVICE_REASONS.contains(&word))
}

/// A SYN retransmit.
struct Retransmit {
    time: i64,
    clock: String,
    from: String,
    evidence: (i32, i64),
}

/// Main (from the client, excess over the baseline), `action`, `any source`, and `cilium drops`.
pub fn measure(run: &Run) -> Vec<Measurement> {
    let rows = sync_census::trace_events(run, "RETRANSMIT");
    let targets = targets(run);
    let clients: BTreeSet<String> = requests::client_addresses(run).into_iter().collect();
    let all: Vec<Retransmit> = rows.iter().filter_map(|row| syn(row, &targets)).collect();
    let traced = traced(run);
    let mine: Vec<&Retransmit> = all.iter().filter(|r| clients.is_empty() || clients.contains(&r.from)).collect();
    let every: Vec<&Retransmit> = all.iter().collect();
    let mut found = vec![excess(run, "", &traced, &mine), excess(run, "any source", &traced, &every)];
    if clients.is_empty() {
        found[0].notes.push("The requests do not tell the client's address: retransmits of others (the kubelet's probes) may be among these.".into());
    }
    found[0].details.insert("from_others".into(), (every.len() - mine.len()) as f64);
    if !run.is_kube_proxy() {
        found.push(drops(run));
    }
    found
}

/// Addresses that a client's SYN to the Service can have: ClusterIPs and endpoints.
fn targets(run: &Run) -> BTreeSet<String> {
    let Some((namespace, name)) = run.service_under_test.as_deref().and_then(|s| s.split_once('/')) else {
        return BTreeSet::new();
    };
    let of = |column: &str| {
        col("namespace").eq(lit(namespace.to_owned())).and(col(column.to_owned()).eq(lit(name.to_owned())))
    };
    let mut found = BTreeSet::new();
    for row in run.bundle.rows_or_note::<ServiceRow<'static>>(Some(of("name"))) {
        found.extend(row.cluster_ip.map(|ip| ip.into_owned()));
    }
    match addresses(run, of("service")) {
        Ok(addresses) => found.extend(addresses),
        Err(error) => run.bundle.note(&error),
    }
    found
}

/// Each address of some endpoints once: a large Service is listed again with every version of its slices.
fn addresses(run: &Run, of: Expr) -> anyhow::Result<Vec<String>> {
    let column = col("address");
    let frame = run.bundle.scan("endpoints")?.filter(of.and(column.clone().is_not_null())).select([column.unique()]);
    let frame = frame.collect()?;
    let column = frame.column("address")?.str()?;
    Ok(column.iter().flatten().map(str::to_owned).collect())
}

/// `5707400172462 RETRANSMIT 10.244.0.1:40776 -> 10.244.0.50:8080 state=2`
fn syn(row: &EventRow, targets: &BTreeSet<String>) -> Option<Retransmit> {
    if sync_census::word(&row.text, "state")? != "2" {
        return None;
    }
    let (from, rest) = row.text.split_once(" -> ")?;
    let address = |text: &str| {
        text.split_whitespace().next_back()?.rsplit_once(':').map(|(a, _)| a.trim_matches(['[', ']']).to_owned())
    };
    let to = address(rest.split_whitespace().next()?)?;
    // Without a list of targets none can be told apart, and all count.
    if !targets.is_empty() && !targets.contains(&to) {
        return None;
    }
    Some(Retransmit {
        time: row.time?,
        clock: row.clock.to_string(),
        from: address(from)?,
        evidence: (row.source, row.record),
    })
}

/// Whether a script that would have seen retransmits ran (it printed such an event, or its map), and to the end of the action: a trace
/// that ended ahead of it saw nothing of the rest.
fn traced(run: &Run) -> Result<Vec<Evidence>, Missing> {
    let words = ["RETRANSMIT", "RST_RECV", "CONNECT_FAILED"].map(|word| col("event").eq(lit(word)));
    let words = words.into_iter().reduce(Expr::or);
    let maps = col("map").eq(lit("@rst_recv")).or(col("map").eq(lit("@retransmits")));
    let mut sources: BTreeSet<(i32, String)> = BTreeSet::new();
    for row in run.bundle.rows_or_note::<EventRow<'static>>(words) {
        sources.insert((row.source, row.clock.to_string()));
    }
    for row in run.bundle.rows_or_note::<syncline_schema::trace::MapRow<'static>>(Some(maps)) {
        sources.insert((row.source, row.clock.to_string()));
    }
    if sources.is_empty() {
        return Err(Missing { what: "no trace of TCP retransmits".into(), remedy: TRACE.into() });
    }
    let last = |source: i32| run.bundle.manifest.sources.get(usize::try_from(source).ok()?)?.last;
    let reaches = |(source, clock): &(i32, String)| match run.window(Phase::Action, clock) {
        Some(action) => last(*source).is_some_and(|last| last >= action.end - action.slack),
        None => true,
    };
    let whole = |(source, _): &(i32, String)| {
        Evidence {
        last: last_record(run, *source).filter(|last| *last > 1),
        query: format!(
            "SELECT count(*) FILTER (WHERE event = 'RETRANSMIT' AND text LIKE '%state=2%') FROM 'trace_events.parquet' WHERE source = {source}"
        ).into(),
        ..run.evidence(
            *source,
            1,
            "the whole trace: SYN retransmits of anyone; those of the client to the Service count",
        )
    }
    };
    if sources.iter().any(reaches) {
        return Ok(sources.iter().filter(|one| reaches(one)).map(whole).collect());
    }
    let what = "the trace of TCP retransmits ends ahead of the action: what was lost in the rest is not known";
    Err(Missing { what: what.into(), remedy: TRACE.into() })
}

/// Last line of a trace that says anything.
fn last_record(run: &Run, source: i32) -> Option<i64> {
    let last = |table: &str| {
        let scan = run.bundle.scan(table).ok()?.filter(col("source").eq(lit(source)));
        let frame = scan.select([col("record").max()]).collect().ok()?;
        frame.column("record").ok()?.i64().ok()?.get(0)
    };
    last("trace_events").max(last("trace_maps"))
}

fn excess(
    run: &Run,
    variant: &str,
    traced: &Result<Vec<Evidence>, Missing>,
    retransmits: &[&Retransmit],
) -> Measurement {
    let mut row = Measurement::new(run, "packet_loss_ratio", "ratio");
    row.variant = variant.into();
    row.window = "action against baseline".into();
    row.statistic = "(SYN retransmits − expected by the baseline's rate) / attempts".into();
    let traced = match traced {
        Ok(traced) => traced,
        Err(missing) => {
            row.missing = Some(missing.clone());
            return row;
        }
    };
    let (Some(before), Some(during)) =
        (requests::tally(run, Phase::Baseline, "new"), requests::tally(run, Phase::Action, "new"))
    else {
        row.missing = Some(Missing {
            what: "no new connections of a client in baseline and action".into(),
            remedy: requests::REMEDY.into(),
        });
        return row;
    };
    let count = |phase: Phase| {
        retransmits.iter().filter(|r| run.window(phase, &r.clock).is_some_and(|w| w.contains(r.time))).count() as u64
    };
    let (quiet, seen) = (count(Phase::Baseline), count(Phase::Action));
    let attempts = during.attempts as f64;
    let share = attempts / before.attempts as f64;
    row.n = during.attempts;
    row.estimate = Estimate::exact((seen as f64 - quiet as f64 * share) / attempts);
    let (low, high) = exact::poisson(seen, 0.95);
    let (quiet_low, quiet_high) = exact::poisson(quiet, 0.95);
    // The baseline's own uncertainty only where it had events: none at all says "no background", within its interval.
    let background = if quiet == 0 { (0.0, 0.0) } else { (quiet_low, quiet_high) };
    row.ci = Some(Interval {
        level: 0.95,
        low: (low - background.1 * share) / attempts,
        high: (high - background.0 * share) / attempts,
    });
    row.method =
        "kernel trace of tcp_retransmit_skb in SYN_SENT to the ClusterIP or an endpoint; exact Poisson interval".into();
    for (name, value) in [
        ("retransmits", seen as f64),
        ("baseline_retransmits", quiet as f64),
        ("attempts", attempts),
        ("baseline_attempts", before.attempts as f64),
        ("upper95", exact::poisson(seen, 0.9).1 / attempts),
    ] {
        row.details.insert(name.into(), value);
    }
    row.evidence = retransmits
        .iter()
        .filter(|r| run.window(Phase::Action, &r.clock).is_some_and(|w| w.contains(r.time)))
        .take(5)
        .map(|r| run.evidence(r.evidence.0, r.evidence.1, format!("SYN retransmit from {}", r.from)))
        .collect();
    row.evidence.extend(traced.iter().cloned());
    row.evidence.extend(requests::cite(run, Phase::Action, "new", "count(*)"));
    row
}

/// Dropped flows that can have hit the Service, over attempts.
fn drops(run: &Run) -> Measurement {
    let mut row = Measurement::new(run, "packet_loss_ratio", "ratio");
    row.variant = "cilium drops".into();
    row.window = "action".into();
    row.statistic = "dropped flows that can hit the Service / attempts".into();
    let captured = run.bundle.manifest.tables.iter().any(|t| t.name == FlowRow::TABLE && t.rows > 0);
    let Some(attempts) = requests::tally(run, Phase::Action, "new").filter(|_| captured) else {
        row.missing = Some(Missing {
            what: "no Hubble flows, or no requests, in the action".into(),
            remedy: "Run `hubble observe --verdict DROPPED -o jsonpb --follow` over the whole run.".into(),
        });
        return row;
    };
    let dropped = run.bundle.rows_or_note::<FlowRow<'static>>(Some(col("verdict").eq(lit("DROPPED"))));
    // The same flow may stand in the exporter's file and in an observer's.
    let mut seen = BTreeSet::new();
    let mut other = 0u64;
    for flow in dropped {
        let inside = flow.time.is_some_and(|t| run.window(Phase::Action, &flow.clock).is_some_and(|w| w.contains(t)));
        if !inside {
            continue;
        }
        let reason = flow.drop_reason.as_deref().unwrap_or("").to_lowercase();
        if can_hit_a_service(&reason) {
            if seen.insert((flow.time, flow.source_address.clone(), flow.source_port, flow.destination_address.clone()))
                && row.evidence.len() < 5
            {
                row.evidence.push(run.evidence(flow.source, flow.record, reason));
            }
        } else {
            other += 1;
        }
    }
    row.n = attempts.attempts;
    row.estimate = Estimate::exact(seen.len() as f64 / attempts.attempts as f64);
    let (low, high) = exact::poisson(seen.len() as u64, 0.95);
    row.ci = Some(Interval { level: 0.95, low: low / attempts.attempts as f64, high: high / attempts.attempts as f64 });
    row.method = "Hubble flows with the verdict DROPPED and a reason that can hit a Service (stale or unroutable address, no backend, no NAT mapping, CT)".into();
    row.details.insert("drops".into(), seen.len() as f64);
    row.details.insert("other_drops".into(), other as f64);
    row
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use syncline_schema::trace::EventRow;

    use super::{can_hit_a_service, syn};

    #[test]
    fn reasons_are_read_by_words() {
        for reason in [
            "Stale or unroutable IP",
            "NO_SERVICE_BACKEND",
            "CT: Map insertion failed",
            "No mapping for NAT masquerade",
        ] {
            assert!(can_hit_a_service(reason), "{reason}");
        }
        for reason in
            ["Invalid destination mac", "Unsupported L3 protocol", "Policy denied", "Authentication required (direct)"]
        {
            assert!(!can_hit_a_service(reason), "{reason}");
        }
    }

    fn row(text: &'static str) -> EventRow<'static> {
        EventRow { time: Some(5_707_400_172_462), text: text.into(), ..Default::default() }
    }

    #[test]
    fn only_syns_to_the_service_count() {
        let targets: BTreeSet<String> = ["10.244.0.50".to_owned(), "10.96.100.100".to_owned()].into();
        let found = syn(&row("10.244.0.22:40776 -> 10.96.100.100:80 state=2"), &targets).unwrap();
        assert_eq!(found.from, "10.244.0.22");
        assert!(syn(&row("10.244.0.1:40776 -> 10.244.0.50:8080 state=2"), &targets).is_some());
        assert!(syn(&row("10.244.0.22:40776 -> 10.96.100.100:80 state=1"), &targets).is_none());
        assert!(syn(&row("10.244.0.22:40776 -> 10.96.0.1:443 state=2"), &targets).is_none());
        assert!(syn(&row("10.244.0.22:40776 -> "), &targets).is_none());
        assert!(syn(&row("state=2 -> "), &targets).is_none());
    }
}
