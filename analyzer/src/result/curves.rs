//! The course of a run over time: CPU, syncs, failed requests, endpoints, in seconds since the action began on the
//! clock of the run's windows.

use polars::prelude::{col, lit};
use serde::{Deserialize, Serialize};
use syncline_schema::requests::RequestRow;
use syncline_schema::samples::{SampleRow, SeriesRow};
use syncline_schema::syncs::SyncRow;

use crate::events::{Direction, Outcome, Run};

/// Points in time, s, with a value.
pub type Points = Vec<(f64, f64)>;

/// What a picture of a run needs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Curves {
    /// Ready endpoints of the Service under test after each change (middle of what is known).
    pub ready: Points,
    /// Endpoints that the dataplane held: latest time that the captures allow.
    pub dataplane: Points,
    /// Syncs: start and end.
    pub syncs: Points,
    /// Cores between this stamp and the one before; null where the counter was stale ahead of it.
    pub cpu: Vec<(f64, Option<f64>)>,
    /// Failed requests.
    pub failures: Vec<f64>,
    /// Whether the captures have client requests at all: none failed is not the same as none seen.
    pub client_seen: bool,
}

impl Curves {
    /// Of a run; empty where it has neither an action nor a baseline. What cannot be read is added to `problems`.
    pub fn of(run: &Run, problems: &mut Vec<String>) -> Self {
        let Some(begun) = run.windows.action.as_ref().or(run.windows.baseline.as_ref()) else { return Self::default() };
        let origin = begun.start;
        let (ready, dataplane) = steps(run, origin);
        Self {
            ready,
            dataplane,
            syncs: read("syncs", syncs(run, origin), problems),
            cpu: read("CPU", cpu(run, origin), problems),
            failures: read("requests", failures(run, origin), problems),
            client_seen: run.bundle.manifest.tables.iter().any(|table| table.name == "requests" && table.rows > 0),
        }
    }
}

fn read<T: Default>(what: &str, found: anyhow::Result<T>, problems: &mut Vec<String>) -> T {
    found.unwrap_or_else(|error| {
        problems.push(format!("{what}: {error:#}"));
        T::default()
    })
}

/// Middle of the offset from a clock to the windows' clock, ns; `None` where nothing relates them.
fn shift(run: &Run, clock: &str) -> Option<i64> {
    if clock == run.windows.clock {
        return Some(0);
    }
    let offset = run.clocks.offset(clock, &run.windows.clock)?;
    Some(offset.low + (offset.high - offset.low) / 2)
}

/// Seconds since the action began (or since `origin`) on the windows' clock.
fn seconds(run: &Run, clock: &str, time: i64, origin: i64) -> Option<f64> {
    Some((time.checked_add(shift(run, clock)?)?.checked_sub(origin)?) as f64 / 1e9)
}

/// CPU of the proxy: `(seconds since origin, cores since the stamp before)`; null where the counter was stale ahead of the
/// stamp. cAdvisor's counter of the container first, else the process' own.
fn cpu(run: &Run, origin: i64) -> anyhow::Result<Vec<(f64, Option<f64>)>> {
    let container = if run.is_kube_proxy() { "kube-proxy" } else { "cilium-agent" };
    let own = format!("\"container\":\"{container}\"");
    let names: [(&str, &str); 3] = [
        ("container_cpu_usage_seconds_total", &own),
        ("process_cpu_seconds_total", container),
        ("process_cpu_seconds_total", ""),
    ];
    for (name, label) in names {
        let mut series: Vec<SeriesRow<'static>> = run.bundle.rows(Some(col("name").eq(lit(name))))?;
        series.retain(|s| s.labels.contains(label));
        // One witness only; which one matters little for a picture, but it is always the same.
        let rank = |w: &str| ["scrape", "tsdb", "api", "exposition"].iter().position(|x| *x == w).unwrap_or(9);
        series.sort_by_key(|s| (rank(&s.witness), s.source, s.series));
        let Some(chosen) = series.first() else { continue };
        let mut samples: Vec<SampleRow<'static>> = run.bundle.rows(Some(col("series").eq(lit(chosen.series))))?;
        samples.sort_by_key(|s| s.time);
        samples.retain(|s| s.value.is_finite());
        // A stamp that only repeats the one before it (cAdvisor updates less often than it is scraped) is no stamp.
        samples.dedup_by(|b, a| a.value == b.value || a.time == b.time);
        let stale = longest(&samples.iter().map(|s| s.time).collect::<Vec<i64>>());
        let points = samples
            .windows(2)
            .filter_map(|pair| {
                let (a, b) = (pair.first()?, pair.get(1)?);
                let cores = (b.value - a.value) / ((b.time - a.time) as f64 / 1e9);
                // A counter that fell was reset: no rate across it, nor across a time in which it stood still.
                let known = cores.is_finite() && cores >= 0.0 && b.time - a.time <= stale;
                Some((seconds(run, &chosen.clock, b.time, origin)?, known.then_some(cores)))
            })
            .collect::<Vec<_>>();
        if points.iter().filter(|p| p.1.is_some()).count() > 1 {
            return Ok(thinned(points));
        }
    }
    Ok(Vec::new())
}

/// The longest time between two stamps that is no gap, ns: three times the usual one, and never under five seconds.
fn longest(times: &[i64]) -> i64 {
    let mut apart: Vec<i64> = times.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect();
    apart.sort_unstable();
    apart.get(apart.len() / 2).copied().unwrap_or(0).saturating_mul(3).max(5_000_000_000)
}

/// About 600 points at most, each the mean of its neighbours: the picture has no more pixels. Gaps stay.
fn thinned(points: Vec<(f64, Option<f64>)>) -> Vec<(f64, Option<f64>)> {
    let step = points.len().div_ceil(600).max(1);
    if step == 1 {
        return points;
    }
    points
        .chunk_by(|a, b| a.1.is_some() == b.1.is_some())
        .flat_map(|piece| piece.chunks(step))
        .map(|c| {
            let n = c.len() as f64;
            let cores = c.iter().filter_map(|p| p.1).reduce(|a, b| a + b).map(|sum| sum / n);
            (c.iter().map(|p| p.0).sum::<f64>() / n, cores)
        })
        .collect()
}

/// Syncs as start and end, s.
fn syncs(run: &Run, origin: i64) -> anyhow::Result<Vec<(f64, f64)>> {
    let rows: Vec<SyncRow<'static>> = run.bundle.rows(Some(col("moment").eq(lit("complete"))))?;
    Ok(rows
        .iter()
        .filter_map(|r| {
            let end = seconds(run, &r.clock, r.time?, origin)?;
            Some((end - r.duration.unwrap_or(0) as f64 / 1e9, end))
        })
        .collect())
}

/// Failed requests, s.
fn failures(run: &Run, origin: i64) -> anyhow::Result<Vec<f64>> {
    let rows: Vec<RequestRow<'static>> = run.bundle.rows(Some(col("error").is_not_null()))?;
    let mut times: Vec<f64> = rows.iter().filter_map(|r| seconds(run, &r.clock, r.time, origin)).collect();
    times.sort_by(f64::total_cmp);
    // One stroke per pixel of the widest chart is all that can be seen.
    times.dedup_by(|b, a| (*b - *a).abs() < 0.02);
    Ok(times)
}

/// Counts of endpoints of the Service under test over time: ready (middle of what is known), and in the dataplane (the
/// latest time that the captures allow).
fn steps(run: &Run, origin: i64) -> (Points, Points) {
    let node =
        run.episodes.iter().map(|e| &e.node).find(|n| ***n == *run.node).or(run.episodes.first().map(|e| &e.node));
    let own = run
        .episodes
        .iter()
        .filter(|e| Some(&e.node) == node && Some(&e.endpoint.service) == run.service_under_test.as_ref());
    let (mut ready, mut followed): (Points, Points) = Default::default();
    for episode in own {
        let sign = if episode.direction == Direction::Added { 1.0 } else { -1.0 };
        let c = &episode.committed;
        if let Some(time) = c.high.or(c.low)
            && let Some(at) = seconds(run, &c.clock, time, origin)
        {
            ready.push((at, sign));
        }
        if let (Outcome::Seen, Some(d)) = (episode.outcome, &episode.dataplane)
            && let Some(time) = d.high
            && let Some(at) = seconds(run, &d.clock, time, origin)
        {
            followed.push((at, sign));
        }
    }
    // Changes before the action made the baseline's number: walk back from it.
    let base = run.baseline_endpoints.unwrap_or(0) as f64;
    (summed(ready, base), summed(followed, base))
}

fn summed(mut steps: Vec<(f64, f64)>, base: f64) -> Vec<(f64, f64)> {
    if steps.is_empty() {
        return steps;
    }
    steps.sort_by(|a, b| a.0.total_cmp(&b.0));
    steps.retain(|s| s.0 > -5.0);
    let mut count = base;
    let mut points = vec![(-5.0, base)];
    for (time, sign) in steps {
        count += sign;
        points.push((time, count.max(0.0)));
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_three_times_the_usual_step_and_five_seconds_at_least() {
        let s = 1_000_000_000;
        assert_eq!(longest(&[0, s, 2 * s, 45 * s]), 5 * s);
        assert_eq!(longest(&[0, 4 * s, 8 * s, 12 * s]), 12 * s);
        assert_eq!(longest(&[]), 5 * s);
    }

    #[test]
    fn thinning_keeps_the_gaps() {
        let points: Vec<(f64, Option<f64>)> =
            (0..2000).map(|at| (f64::from(at), (at != 1000).then_some(0.5))).collect();
        let kept = thinned(points);
        assert!(kept.len() < 700 && kept.iter().filter(|p| p.1.is_none()).count() == 1, "{}", kept.len());
        assert!(kept.iter().all(|p| p.1.is_none_or(|cores| (cores - 0.5).abs() < 1e-9)));
    }
}
