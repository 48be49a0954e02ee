//! The syncs of kube-proxy in a run: one census, by the best witness there is.
//!
//! 1. `log`: every "SyncProxyRules complete" (or older wording) line, with its duration. A sync that failed is none of them:
//!    it wrote nothing or not all, so its duration is no latency.
//! 2. `trace`: the lives of iptables-restore children (`EXEC`/`EXIT` of a bpftrace script), in nftables mode of the
//!    nft children that committed a batch (`NFT_BATCH_SENDMSG`): part of a sync, so a lower bound of its duration.
//! 3. `histogram`: `kubeproxy_sync_proxy_rules_duration_seconds`: counts in buckets of 1 ms·2ⁿ, open above 16.384 s.
//!
//! Each sync is its proxy's ([`crate::events::proxies`]): figures of two proxies are never pooled. A row takes the worst of
//! them, and each has a row of its own. A sync whose line has no date (no year, no zone) has a duration all the same: it
//! counts over the whole log, and in no window.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::bail;
use polars::prelude::{col, lit};
use syncline_schema::syncs::SyncRow;
use syncline_schema::trace::EventRow;

use super::{Measurement, readings};
use crate::clock::Evidence;
use crate::events::doings::node_of;
use crate::events::{Phase, Run, proxies};
use crate::math::Estimate;

/// One sync.
#[derive(Clone, Debug)]
pub struct Sync {
    /// End, ns on `clock`; null where its line has no date.
    pub end: Option<i64>,
    pub clock: String,
    /// Proxy that made it: its name, else the log or the scraped instance; empty where one is all there is.
    pub proxy: String,
    /// Seconds, with bounds.
    pub duration: Estimate,
    pub evidence: Evidence,
}

/// All syncs of a run.
#[derive(Clone, Debug, Default)]
pub struct Census {
    pub syncs: Vec<Sync>,
    /// `log`, `trace`, `histogram`, or empty where nothing shows syncs.
    pub witness: &'static str,
    /// True where durations are bounded only from below.
    pub lower_bound_only: bool,
    /// Proxies whose syncs overlap, so that they are several without names.
    pub mixed: Vec<String>,
    /// Why what there is shows none that could be counted.
    pub refused: Option<String>,
}

impl Census {
    /// Why there is no sync, in words.
    pub fn none(&self) -> String {
        self.refused.clone().unwrap_or_else(|| "no sync of kube-proxy was captured".to_owned())
    }

    /// Syncs that ended in a phase.
    pub fn within<'a>(&'a self, run: &Run, phase: Phase) -> Vec<&'a Sync> {
        let inside = |s: &&Sync| s.end.zip(run.window(phase, &s.clock)).is_some_and(|(end, w)| w.contains(end));
        self.syncs.iter().filter(inside).collect()
    }

    /// Proxies, in order.
    pub fn proxies(&self) -> Vec<&str> {
        let found: BTreeSet<&str> = self.syncs.iter().map(|s| s.proxy.as_str()).collect();
        if found.is_empty() { vec![""] } else { found.into_iter().collect() }
    }

    /// Syncs without a date.
    pub fn undated(&self) -> usize {
        self.syncs.iter().filter(|s| s.end.is_none()).count()
    }

    /// Syncs of the run's windows: from the baseline's start to the tail's end; all, where there are no windows. Those
    /// without a date are of the run as their log is.
    pub fn of_run<'a>(&'a self, run: &Run) -> Vec<&'a Sync> {
        let phases = [Phase::Baseline, Phase::Action, Phase::Tail];
        self.syncs
            .iter()
            .filter(|s| {
                let windows: Vec<_> = phases.iter().filter_map(|p| run.window(*p, &s.clock)).collect();
                let start = windows.iter().map(|w| w.start).min();
                let end = windows.iter().map(|w| w.end).max();
                match (start, end, s.end) {
                    (Some(start), Some(end), Some(time)) => start <= time && time < end,
                    _ => true,
                }
            })
            .collect()
    }
}

/// A row for each proxy, and the worst of them ahead as the row that is judged. `rows` has one for each, by proxy; of
/// one proxy its row is all.
pub fn worst(mut rows: Vec<(&str, Measurement)>) -> Vec<Measurement> {
    if rows.len() < 2 {
        return rows.pop().into_iter().map(|(_, row)| row).collect();
    }
    let most = |row: &Measurement| row.estimate.value.or(row.estimate.low).unwrap_or(f64::NEG_INFINITY);
    let worst = rows.iter().max_by(|a, b| most(&a.1).total_cmp(&most(&b.1)).then(b.0.cmp(a.0)));
    let mut found: Vec<Measurement> = worst
        .map(|(proxy, row)| {
            let mut row = row.clone();
            row.notes.push(format!(
                "{} proxies, never pooled: this is {proxy}'s, the highest; each has a row of its own.",
                rows.len()
            ));
            row
        })
        .into_iter()
        .collect();
    found.extend(rows.into_iter().map(|(proxy, mut row)| {
        let of = format!("proxy {proxy}");
        row.variant = if row.variant.is_empty() { of.into() } else { format!("{}, {of}", row.variant).into() };
        row
    }));
    found
}

/// Why none of the syncs that were captured can be placed in a phase, and what would help; null where they can be.
pub fn unplaced(run: &Run, known: &[&Sync], phase: Phase) -> Option<(String, String)> {
    let first = known.first()?;
    let Some(dated) = known.iter().find(|s| s.end.is_some()) else {
        let what = format!(
            "the {} syncs in the log have no date (no year, no zone), so none can be placed in the {}",
            known.len(),
            super::proxy_cpu::word(phase)
        );
        let remedy = "State year and timezone in capture.toml, or keep the log with `kubectl logs --timestamps`.";
        return Some((what, remedy.into()));
    };
    if run.window(phase, &dated.clock).is_some() {
        return None;
    }
    if run.clocks.offset(&run.windows.clock, &first.clock).is_none() && !run.windows.clock.is_empty() {
        let missing = run.clocks.missing(&run.windows.clock, &first.clock);
        return Some((format!("{} syncs were captured, but {missing}", known.len()), missing));
    }
    let what = format!("{} syncs were captured, but the run has no {}", known.len(), super::proxy_cpu::word(phase));
    Some((what, "Write markers around the command (date +%s.%N; kubectl …; date +%s.%N).".into()))
}

/// How syncs are captured.
pub const REMEDY: &str = "Save kube-proxy's log (any verbosity from 2 on logs the duration of each sync), or scrape its /metrics every second.";

/// Takes the census.
pub fn take(run: &Run) -> Census {
    let rows = run.bundle.rows_or_note::<SyncRow<'static>>(Some(col("moment").eq(lit("complete"))));
    let made = proxies::of(rows, &|source| run.path(source).to_owned());
    let mut syncs: Vec<Sync> = made
        .syncs
        .iter()
        .filter_map(|(proxy, row)| {
            let seconds = row.duration? as f64 / 1e9;
            Some(Sync {
                end: row.time,
                clock: row.clock.to_string(),
                proxy: proxy.clone(),
                duration: Estimate::exact(seconds),
                evidence: run.evidence(row.source, row.record, format!("sync of {:.1} ms", seconds * 1e3)),
            })
        })
        .collect();
    if !syncs.is_empty() {
        sort(&mut syncs);
        let mixed = made.overlaps.into_iter().map(|one| one.proxy).collect();
        return Census { syncs, witness: "log", lower_bound_only: false, mixed, refused: None };
    }
    // nft also lists: only a child that sent a batch programmed anything.
    let batches: Vec<EventRow<'static>> = trace_events(run, "NFT_BATCH_SENDMSG");
    let committed = |row: &EventRow| {
        let sent = batches.iter().filter(|batch| batch.clock == row.clock && batch.pid == row.pid);
        let since = row.time.zip(figure(&row.text, "dur_ns")).map(|(end, life)| end - life as i64);
        sent.into_iter().any(|batch| batch.time <= row.time && batch.time >= since)
    };
    let programs = |row: &&EventRow| match row.comm.as_deref() {
        Some(comm) if comm.starts_with("iptables-restor") => true,
        Some("nft") => committed(row),
        _ => false,
    };
    let mut syncs: Vec<Sync> = trace_events(run, "EXIT")
        .iter()
        .filter(programs)
        .filter_map(|row| {
            let seconds = figure(&row.text, "dur_ns")? / 1e9;
            Some(Sync {
                end: Some(row.time?),
                clock: row.clock.to_string(),
                proxy: node_of(&row.clock).to_owned(),
                duration: Estimate { value: Some(seconds), low: Some(seconds), high: None },
                evidence: run.evidence(
                    row.source,
                    row.record,
                    format!("EXIT of {}", row.comm.as_deref().unwrap_or_default()),
                ),
            })
        })
        .collect();
    if !syncs.is_empty() {
        sort(&mut syncs);
        return Census { syncs, witness: "trace", lower_bound_only: true, ..Census::default() };
    }
    match from_histogram(run) {
        Ok(syncs) if syncs.is_empty() => Census::default(),
        Ok(syncs) => Census { syncs, witness: "histogram", ..Census::default() },
        Err(refused) => Census { refused: Some(refused.to_string()), ..Census::default() },
    }
}

/// Events of one word, of one source per clock: a script captured twice (text and JSON) saw the same events twice.
/// The source with most of them is used, the first of equals.
pub fn trace_events(run: &Run, word: &str) -> Vec<EventRow<'static>> {
    let rows = run.bundle.rows_or_note::<EventRow<'static>>(Some(col("event").eq(lit(word.to_owned()))));
    one_source(rows)
}

/// As [`trace_events`], for rows at hand.
pub fn one_source(rows: Vec<EventRow<'static>>) -> Vec<EventRow<'static>> {
    let mut counts: BTreeMap<(String, i32), usize> = BTreeMap::new();
    for row in &rows {
        *counts.entry((row.clock.to_string(), row.source)).or_default() += 1;
    }
    let mut chosen: BTreeMap<String, (usize, i32)> = BTreeMap::new();
    for ((clock, source), count) in counts {
        let best = chosen.entry(clock).or_insert((count, source));
        if count > best.0 {
            *best = (count, source);
        }
    }
    let mut rows: Vec<_> = rows
        .into_iter()
        .filter(|row| chosen.get(row.clock.as_ref()).is_some_and(|(_, source)| *source == row.source))
        .collect();
    rows.sort_by_key(|row| (row.time, row.source, row.record));
    rows
}

/// The number behind `key=` in the text of an event.
pub fn figure(text: &str, key: &str) -> Option<f64> {
    word(text, key)?.parse().ok()
}

/// The word behind `key=` in the text of an event.
pub fn word<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.split_whitespace().find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
}

/// Observations by bucket.
type Counted = BTreeMap<usize, (f64, Evidence)>;

/// Syncs of a run at most: a proxy that syncs ten times a second for a day has 864,000. A counter that grows by more is no proxy's.
const MOST_SYNCS: usize = 1 << 20;

/// Each observation as a sync of unknown duration within its bucket, ended at the scrape that first counted it.
///
/// # Errors
/// Counters that grow by more than any proxy syncs: what could be kept of them would be another figure.
fn from_histogram(run: &Run) -> anyhow::Result<Vec<Sync>> {
    let buckets = readings::series(run, "kubeproxy_sync_proxy_rules_duration_seconds_bucket", |_| true);
    let edge = |le: &str| le.parse::<f64>().ok().filter(|edge| !edge.is_nan());
    let mut edges: Vec<f64> = buckets.iter().filter_map(|s| edge(s.label("le"))).collect();
    edges.sort_by(f64::total_cmp);
    edges.dedup();
    // Δ per scrape and bucket, less the next lower bucket of the same series.
    let mut grid: BTreeMap<(String, String, i64), Counted> = BTreeMap::new();
    for series in &buckets {
        let Some(le) = edge(series.label("le")) else { continue };
        // Both zeros are one edge.
        let at = edges.partition_point(|edge| *edge < le);
        // A proxy is scraped at an instance; a page of one has no such label.
        let of = ["pod", "instance", "node"].into_iter().map(|name| series.label(name)).find(|value| !value.is_empty());
        let proxy = of.unwrap_or_default().to_owned();
        for pair in series.readings.windows(2) {
            let delta = if pair[1].value >= pair[0].value { pair[1].value - pair[0].value } else { pair[1].value };
            if delta > 0.0 {
                let cell = grid.entry((proxy.clone(), series.clock.clone(), pair[1].high)).or_default().entry(at);
                let evidence = pair[1].evidence(run, format!("{} le={}", series.name, edges[at]));
                cell.or_insert((0.0, evidence)).0 += delta;
            }
        }
    }
    let mut syncs = Vec::new();
    for ((proxy, clock, end), row) in grid {
        let mut below = 0.0;
        for (at, (upto, evidence)) in row {
            let low = if at == 0 { 0.0 } else { edges[at - 1] };
            let high = edges[at].is_finite().then_some(edges[at]);
            // A bucket that cannot be divided is no reason to make up more syncs than were counted: whole ones only.
            let whole = (upto - below).round().max(0.0);
            if whole > (MOST_SYNCS - syncs.len()) as f64 {
                let Evidence { path, record, what, .. } = evidence;
                bail!("{path}:{record}: {what} grew by {whole}, more than any kube-proxy syncs: no count of them");
            }
            for _ in 0..whole as u64 {
                syncs.push(Sync {
                    end: Some(end),
                    clock: clock.clone(),
                    proxy: proxy.clone(),
                    duration: Estimate { value: None, low: Some(low), high },
                    evidence: evidence.clone(),
                });
            }
            below = upto;
        }
    }
    sort(&mut syncs);
    Ok(syncs)
}

fn sort(syncs: &mut [Sync]) {
    let place = |s: &Sync| (s.clock.clone(), s.end, s.evidence.path.clone(), s.evidence.record);
    syncs.sort_by_cached_key(place);
}

#[cfg(test)]
mod tests {
    use syncline_schema::trace::EventRow;

    use syncline_schema::syncs::SyncRow;

    use super::super::fixture::{self, SECOND};
    use super::{figure, one_source, take, word};

    /// Observations of 3 ms and of 20 s (above the last bucket), counted between two scrapes.
    #[test]
    fn a_histogram_bounds_each_sync_by_its_bucket() {
        let folder = tempfile::tempdir().unwrap();
        let run = fixture::run(folder.path(), "kube-proxy-iptables", |tables| {
            let name = "kubeproxy_sync_proxy_rules_duration_seconds_bucket";
            for (id, le, after) in [(0, "0.002", 5.0), (1, "0.004", 6.0), (2, "16.384", 6.0), (3, "+Inf", 7.0)] {
                fixture::series(tables, id, "scrape", name, &format!(r#"{{"le":"{le}"}}"#), &[(1, 5.0), (2, after)]);
            }
        });
        let census = take(&run);
        assert_eq!(census.witness, "histogram");
        let bounds: Vec<_> = census
            .syncs
            .iter()
            .map(|s| (s.end.unwrap() / SECOND, s.duration.low, s.duration.value, s.duration.high))
            .collect();
        assert_eq!(bounds, [(2, Some(0.002), None, Some(0.004)), (2, Some(16.384), None, None)]);
    }

    /// Edges that are no numbers bound nothing, and a counter that leaps makes no syncs.
    #[test]
    fn a_histogram_that_no_proxy_has_makes_nothing_up() {
        let syncs = |edges: &[(&str, f64)]| {
            let folder = tempfile::tempdir().unwrap();
            let run = fixture::run(folder.path(), "kube-proxy-iptables", |tables| {
                let name = "kubeproxy_sync_proxy_rules_duration_seconds_bucket";
                for (id, (le, after)) in edges.iter().enumerate() {
                    let labels = format!(r#"{{"le":"{le}"}}"#);
                    fixture::series(tables, id as i64, "scrape", name, &labels, &[(1, 5.0), (2, *after)]);
                }
            });
            take(&run).syncs.iter().map(|sync| (sync.duration.low, sync.duration.high)).collect::<Vec<_>>()
        };
        let nonsense = [("NaN", 9.0), ("-NaN", 9.0), ("x", 9.0), ("", 9.0), ("0.004", 6.0), ("1e999", 6.0)];
        assert_eq!(syncs(&nonsense), [(Some(0.0), Some(0.004))]);
        for leap in [1e9, 1e300, f64::INFINITY] {
            assert_eq!(syncs(&[("0.004", 6.0), ("+Inf", leap)]), [], "{leap}");
        }
    }

    #[test]
    fn the_log_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let run = fixture::run(folder.path(), "kube-proxy-iptables", |tables| {
            let row = SyncRow {
                clock: "node-a".into(),
                time: Some(9),
                moment: "complete".into(),
                duration: Some(12_300_000),
                ..SyncRow::default()
            };
            tables.push(&row).unwrap();
            tables.push(&SyncRow { moment: "received".into(), ..row }).unwrap();
            let exit = EventRow {
                clock: "node-a/boottime".into(),
                time: Some(1),
                event: Some("EXIT".into()),
                comm: Some("iptables-restor".into()),
                text: "dur_ns=5".into(),
                ..EventRow::default()
            };
            tables.push(&exit).unwrap();
        });
        let census = take(&run);
        assert_eq!((census.witness, census.lower_bound_only, census.syncs.len()), ("log", false, 1));
        assert_eq!(census.syncs[0].duration.value, Some(0.0123));
    }

    #[test]
    fn figures_of_a_trace_line() {
        let text = "pid=20093 comm=iptables-restor table=nat entries=80 optlen=16000 dur_ns=62000 ret=0";
        assert_eq!(figure(text, "entries"), Some(80.0));
        assert_eq!(word(text, "table"), Some("nat"));
        assert_eq!(figure(text, "ent"), None);
        assert_eq!(figure("entries=x", "entries"), None);
    }

    #[test]
    fn a_script_captured_twice_counts_once() {
        let row = |source: i32, record: i64| EventRow {
            source,
            record,
            clock: "node/boottime".into(),
            time: Some(record),
            ..Default::default()
        };
        let rows = vec![row(0, 1), row(1, 1), row(1, 2), row(0, 2), row(1, 3)];
        let kept = one_source(rows);
        assert_eq!(kept.iter().map(|r| (r.source, r.record)).collect::<Vec<_>>(), [(1, 1), (1, 2), (1, 3)]);
    }
}
