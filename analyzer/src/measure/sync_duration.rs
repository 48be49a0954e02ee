//! `sync_duration` and what follows from kube-proxy's syncs: `sync_share`, `long_syncs`, `sync_spikes`, `update_work`.
//!
//! | name | what |
//! |---|---|
//! | `sync_duration` | census of the run's syncs: p95, or the maximum with fewer than 20; variant `action` |
//! | `sync_share` | Σ sync duration in the action / its length: how sustained the work is |
//! | `long_syncs` | syncs of the action of 1 s or more |
//! | `sync_spikes` | syncs of the action above 10 × the run's median and 100 ms |
//! | `update_work` | kube-proxy: sync seconds per endpoint change (`details`: per sync); Cilium: map operations per change |

use super::sync_census::{self, Census, Sync};
use super::{Interval, Measurement, cilium_updates};
use crate::events::{Phase, Run};
use crate::math::{Estimate, arithmetic, interval, quantile};

/// From this many syncs on a p95 means something.
const ENOUGH: usize = 20;

/// All names above; for Cilium only `update_work` can have a figure.
pub fn measure(run: &Run) -> Vec<Measurement> {
    if !run.is_kube_proxy() {
        let what = match run.dataplane.as_str() {
            "cilium" => "Cilium has no syncs: it programs maps per change (see reconciler_duration)",
            _ => "no capture tells of kube-proxy, and the dataplane is not known",
        };
        let mut found: Vec<Measurement> =
            [("sync_duration", "s"), ("sync_share", "ratio"), ("long_syncs", "1"), ("sync_spikes", "1")]
                .iter()
                .map(|(name, unit)| {
                    Measurement::missing(run, name, unit, what, "Nothing: the claim is about kube-proxy.")
                })
                .collect();
        found.push(cilium_updates::work(run));
        return found;
    }
    let census = sync_census::take(run);
    // By proxy: what one made over the run, and in the action.
    let (whole, action) = (census.of_run(run), census.within(run, Phase::Action));
    let parts: Vec<Part<'_>> = census
        .proxies()
        .into_iter()
        .map(|proxy| Part { proxy, whole: of(proxy, &whole), action: of(proxy, &action) })
        .collect();
    let each = |row: &dyn Fn(&Part<'_>) -> Measurement| {
        sync_census::worst(parts.iter().map(|part| (part.proxy, row(part))).collect())
    };
    let mut found = each(&|part| duration(run, &census, &part.whole, ""));
    found.extend(each(&|part| duration(run, &census, &part.action, "action")));
    found.extend(each(&|part| share(run, &census, part)));
    found.extend(each(&|part| counted(run, &census, part, "long_syncs", Some(1.0))));
    found.extend(each(&|part| {
        let median = quantile::of(&part.whole.iter().filter_map(|s| s.duration.value).collect::<Vec<_>>(), 0.5);
        counted(run, &census, part, "sync_spikes", median.map(|m| (10.0 * m).max(0.1)))
    }));
    found.extend(each(&|part| work(run, &census, part)));
    found
}

/// The syncs of one proxy.
struct Part<'a> {
    proxy: &'a str,
    whole: Vec<&'a Sync>,
    action: Vec<&'a Sync>,
}

fn of<'a>(proxy: &str, syncs: &[&'a Sync]) -> Vec<&'a Sync> {
    syncs.iter().copied().filter(|one| one.proxy == proxy).collect()
}

fn total(syncs: &[&Sync]) -> Estimate {
    syncs.iter().fold(Estimate::exact(0.0), |sum, s| arithmetic::sum(sum, s.duration))
}

fn share(run: &Run, census: &Census, part: &Part<'_>) -> Measurement {
    let mut share = row(run, census, "sync_share", "ratio", &part.action);
    let window = run.window(Phase::Action, part.whole.first().map_or(run.windows.clock.as_str(), |s| s.clock.as_str()));
    match &window {
        Some(window) if !census.witness.is_empty() && !undated(&part.whole) => {
            share.estimate = arithmetic::scaled(total(&part.action), 1.0 / window.seconds().max(1e-9));
            share.statistic = "Σ duration / length of the action".into();
            share.details.insert("action_seconds".into(), window.seconds());
            share.upper_bound_only = census.mixed.iter().any(|mixed| mixed == part.proxy);
        }
        _ => absent(run, census, &mut share, &part.whole),
    }
    share
}

fn counted(run: &Run, census: &Census, part: &Part<'_>, name: &str, least: Option<f64>) -> Measurement {
    let mut counted = row(run, census, name, "1", &part.action);
    match least {
        Some(least) if !census.witness.is_empty() && !undated(&part.whole) => {
            let high: Vec<&&Sync> = part
                .action
                .iter()
                .filter(|s| s.duration.value.or(s.duration.low).is_some_and(|d| d >= least))
                .collect();
            counted.estimate = Estimate::exact(high.len() as f64);
            counted.statistic = format!("syncs of {least:.3} s or more").into();
            counted.details.insert("threshold_seconds".into(), least);
            // That none was so long is shown by the longest.
            counted.evidence = match high.as_slice() {
                [] => lines(&longest(&part.action), 3),
                _ => high.iter().take(5).map(|s| s.evidence.clone()).collect(),
            };
        }
        _ => absent(run, census, &mut counted, &part.whole),
    }
    counted
}

fn work(run: &Run, census: &Census, part: &Part<'_>) -> Measurement {
    let action = part.action.as_slice();
    let mut work = row(run, census, "update_work", "s", action);
    let changes = cilium_updates::endpoint_changes(run);
    if changes > 0 && !action.is_empty() {
        let total = total(action);
        work.estimate = arithmetic::scaled(total, 1.0 / changes as f64);
        work.statistic = "Σ sync seconds / endpoint changes of the action".into();
        work.details.insert("endpoint_changes".into(), changes as f64);
        work.details.insert("sync_seconds".into(), total.value.unwrap_or_default());
        work.details.insert("syncs".into(), action.len() as f64);
        if let Some(total) = total.value {
            work.details.insert("seconds_per_sync".into(), total / action.len() as f64);
        }
        work.ci = of_work(action, changes as f64);
    } else {
        absent(run, census, &mut work, &part.whole);
        if changes == 0 && !part.action.is_empty() {
            work.missing = Some(super::Missing {
                what: "no endpoint changed in the action".into(),
                remedy: "Capture k8s watches or audit events of EndpointSlices in a run that changes endpoints.".into(),
            });
        }
    }
    work
}

/// How far the work of another such action might lie: Student's interval of the mean sync, for as many syncs.
fn of_work(syncs: &[&Sync], changes: f64) -> Option<Interval> {
    let seconds: Vec<f64> = syncs.iter().map(|one| one.duration.value).collect::<Option<_>>()?;
    let n = seconds.len() as f64;
    if seconds.len() < 3 {
        return None;
    }
    let mean = seconds.iter().sum::<f64>() / n;
    let variance = seconds.iter().map(|one| (one - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let half = interval::student(n - 1.0, 0.95) * (variance / n).sqrt();
    let scale = n / changes;
    Some(Interval { level: 0.95, low: (mean - half).max(0.0) * scale, high: (mean + half) * scale })
}

fn row(run: &Run, census: &Census, name: &str, unit: &str, syncs: &[&Sync]) -> Measurement {
    let mut row = Measurement::new(run, name, unit);
    row.window = "action".into();
    row.n = syncs.len() as u64;
    row.lower_bound_only = census.lower_bound_only;
    row.method = method(census).into();
    row.evidence = lines(syncs, LINES);
    row
}

/// Lines of syncs cited for a sum of all.
const LINES: usize = 12;

fn lines(syncs: &[&Sync], most: usize) -> Vec<crate::clock::Evidence> {
    syncs.iter().take(most).map(|one| one.evidence.clone()).collect()
}

/// Longest first.
fn longest<'a>(syncs: &[&'a Sync]) -> Vec<&'a Sync> {
    let mut sorted = syncs.to_vec();
    sorted.sort_by(|a, b| key(b).total_cmp(&key(a)).then(a.end.cmp(&b.end)));
    sorted
}

fn method(census: &Census) -> String {
    match census.witness {
        "log" => "every sync that kube-proxy's log reports, with its own duration (witness: log)".into(),
        "trace" => {
            "lives of iptables-restore (nftables mode: nft) children in the kernel trace: parts of syncs, a lower bound (witness: trace)"
                .into()
        }
        "histogram" => {
            "buckets of kubeproxy_sync_proxy_rules_duration_seconds between scrapes (witness: histogram)".into()
        }
        _ => String::new(),
    }
}

/// Whether syncs are there that no window can hold, for their lines have no date.
fn undated(syncs: &[&Sync]) -> bool {
    !syncs.is_empty() && syncs.iter().all(|s| s.end.is_none())
}

fn absent(run: &Run, census: &Census, row: &mut Measurement, known: &[&Sync]) {
    let (what, remedy) =
        sync_census::unplaced(run, known, Phase::Action).unwrap_or_else(|| (census.none(), sync_census::REMEDY.into()));
    row.missing = Some(super::Missing { what, remedy });
}

fn duration(run: &Run, census: &Census, syncs: &[&Sync], variant: &str) -> Measurement {
    let mut row = row(run, census, "sync_duration", "s", syncs);
    row.variant = variant.into();
    row.window = if variant.is_empty() { "baseline, action and tail".into() } else { variant.into() };
    let undated = syncs.iter().filter(|s| s.end.is_none()).count();
    if undated > 0 {
        row.notes.push(format!(
            "{undated} of {} syncs have no date (no year, no zone): a duration needs none, so all of their log is counted.",
            syncs.len()
        ));
    }
    if syncs.is_empty() {
        // Syncs that are there but cannot be placed are not absent.
        let known: Vec<&Sync> = census.syncs.iter().collect();
        match sync_census::unplaced(run, &known, Phase::Action).filter(|_| variant == "action") {
            Some((what, remedy)) => row.missing = Some(super::Missing { what, remedy }),
            None if !census.witness.is_empty() => {
                row.missing = Some(super::Missing {
                    what: "kube-proxy made no sync in the window".into(),
                    remedy: "Nothing is missing: a quiet cluster has no syncs.".into(),
                });
            }
            None => absent(run, census, &mut row, &known),
        }
        return row;
    }
    let durations: Vec<Estimate> = syncs.iter().map(|s| s.duration).collect();
    row.quantiles = quantile::envelope_all(&durations);
    let (name, q) = if syncs.len() >= ENOUGH { ("p95", 0.95) } else { ("max", 1.0) };
    row.statistic = name.into();
    row.estimate = quantile::envelope(&durations, q);
    if syncs.len() < ENOUGH {
        row.notes.push(format!("Only {} syncs: the maximum stands in for p95.", syncs.len()));
    }
    let sum = durations.iter().fold(Estimate::exact(0.0), |a, b| arithmetic::sum(a, *b));
    if let Some(sum) = sum.value {
        row.details.insert("total_seconds".into(), sum);
    }
    row.evidence = lines(&longest(syncs), 3);
    row
}

fn key(sync: &Sync) -> f64 {
    sync.duration.value.or(sync.duration.low).unwrap_or_default()
}
