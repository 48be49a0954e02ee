//! `trace_distribution`: the histograms that a bpftrace script printed, with the quantiles that their buckets leave.
//!
//! ```text
//! @latency:
//! [1K, 2K)      5 |@@@@@@@@@@|       p50 of 8 lies in [1K, 2K)
//! [2K, 4K)      3 |@@@@@@    |       the longest in [2K, 4K)
//! ```
//!
//! One row a histogram (`variant`: the map and its key). bpftrace prints no units: the document's own script takes differences of
//! `nsecs`, so that its `@latency` is in nanoseconds, and a name may say it (`_us`, `_ms`); else the figures stay bare numbers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use syncline_schema::trace::HistogramRow;

use super::Measurement;
use crate::events::Run;
use crate::math::Estimate;

/// Quantiles that are given.
const QUANTILES: [(&str, f64); 5] = [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("max", 1.0)];

/// One bucket.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bucket {
    /// Null: open below.
    pub low: Option<f64>,
    /// Null: open above.
    pub high: Option<f64>,
    pub count: u64,
}

/// A histogram as it was printed last.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Distribution {
    /// `@latency`, `@usecs[kube-proxy]`.
    pub name: String,
    /// Seconds of one unit; null where nothing tells.
    pub scale: Option<f64>,
    pub source: i32,
    /// Its first line.
    pub record: i64,
    /// Ascending.
    pub buckets: Vec<Bucket>,
}

/// All histograms of a run, in the order of their sources.
pub fn distributions(run: &Run) -> Vec<Distribution> {
    let mut rows = run.bundle.rows_or_note::<HistogramRow<'static>>(None);
    rows.sort_by_key(|row| (row.source, row.record));
    let mut found: Vec<Distribution> = Vec::new();
    let mut at: BTreeMap<(i32, String), usize> = BTreeMap::new();
    for row in rows {
        let key = row.key.as_deref().map_or_else(String::new, |key| format!("[{key}]"));
        let name = format!("{}{key}", row.map);
        let place = *at.entry((row.source, name.clone())).or_insert_with(|| {
            found.push(Distribution {
                scale: scale(&row.map),
                name,
                source: row.source,
                record: row.record,
                buckets: Vec::new(),
            });
            found.len() - 1
        });
        let Some(own) = found.get_mut(place) else { continue };
        // A map that is printed again begins anew from below, with all that it counted until then.
        let below = |bucket: &Bucket| row.low.unwrap_or(f64::NEG_INFINITY) <= bucket.low.unwrap_or(f64::NEG_INFINITY);
        if own.buckets.last().is_some_and(below) {
            own.buckets.clear();
            own.record = row.record;
        }
        own.buckets.push(Bucket { low: row.low, high: row.high, count: u64::try_from(row.count).unwrap_or(0) });
    }
    found.retain(|one| one.buckets.iter().any(|bucket| bucket.count > 0));
    found
}

/// One row a histogram.
pub fn measure(run: &Run) -> Vec<Measurement> {
    distributions(run).iter().map(|one| row(run, one)).collect()
}

/// Seconds of a unit, as the name of the map tells.
fn scale(map: &str) -> Option<f64> {
    let name = map.trim_start_matches('@').to_lowercase();
    let words = || name.split(|c: char| !c.is_alphanumeric());
    let has = |units: &[&str]| words().any(|word| units.contains(&word));
    match name.as_str() {
        // The document's: hist(nsecs - @start[tid]).
        "latency" => Some(1e-9),
        _ if has(&["ns", "nsec", "nsecs", "nanoseconds"]) => Some(1e-9),
        _ if has(&["us", "usec", "usecs", "microseconds"]) => Some(1e-6),
        _ if has(&["ms", "msec", "msecs", "milliseconds"]) => Some(1e-3),
        _ => None,
    }
}

/// The bucket that holds a nearest-rank quantile.
pub fn quantile(one: &Distribution, q: f64) -> Estimate {
    let n: u64 = one.buckets.iter().map(|bucket| bucket.count).sum();
    let rank = ((q * n as f64).ceil() as u64).max(1);
    let mut below = 0;
    for bucket in &one.buckets {
        below += bucket.count;
        if below >= rank {
            let scaled = |edge: Option<f64>| edge.map(|edge| edge * one.scale.unwrap_or(1.0));
            return Estimate { value: None, low: scaled(bucket.low), high: scaled(bucket.high) };
        }
    }
    Estimate::default()
}

fn row(run: &Run, one: &Distribution) -> Measurement {
    let mut row = Measurement::new(run, "trace_distribution", if one.scale.is_some() { "s" } else { "1" });
    row.variant = one.name.as_str().into();
    row.window = "while the script ran".into();
    row.statistic = "p50".into();
    row.n = one.buckets.iter().map(|bucket| bucket.count).sum();
    row.quantiles = QUANTILES.iter().map(|(name, q)| ((*name).to_owned(), quantile(one, *q))).collect();
    row.estimate = quantile(one, 0.5);
    row.method = "histogram that bpftrace printed: a quantile lies somewhere in its bucket".into();
    if one.name == "@latency" {
        row.notes.push("Taken as nanoseconds, as in the document's script (hist(nsecs - @start[tid])).".into());
    } else if one.scale.is_none() {
        row.notes
            .push("bpftrace prints no unit, and the map's name tells none: these are the script's own numbers.".into());
    }
    row.evidence = vec![run.evidence(one.source, one.record, format!("{}: {} observations", one.name, row.n))];
    row
}

#[cfg(test)]
mod tests {
    use syncline_schema::trace::HistogramRow;

    use super::super::fixture;
    use super::{distributions, measure, scale};

    #[test]
    fn the_documents_histogram_is_a_distribution_within_its_buckets() {
        let folder = tempfile::tempdir().unwrap();
        let run = fixture::run(folder.path(), "cilium", |tables| {
            // Printed twice: the second time holds the first.
            for (record, low, count) in [(1, 1024.0, 2), (2, 2048.0, 1), (5, 1024.0, 5), (6, 2048.0, 3)] {
                let row = HistogramRow {
                    record,
                    map: "@latency".into(),
                    low: Some(low),
                    high: Some(low * 2.0),
                    count,
                    ..HistogramRow::default()
                };
                tables.push(&row).unwrap();
            }
        });
        let found = distributions(&run);
        assert_eq!((found.len(), found[0].buckets.len(), found[0].record), (1, 2, 5));
        let row = &measure(&run)[0];
        assert_eq!((row.n, row.unit.as_str(), row.estimate.value), (8, "s", None));
        assert_eq!((row.quantiles["p50"].low, row.quantiles["p50"].high), (Some(1.024e-6), Some(2.048e-6)));
        assert_eq!(row.quantiles["max"].high, Some(4.096e-6));
    }

    #[test]
    fn a_name_may_tell_the_unit() {
        assert_eq!(scale("@sync_us"), Some(1e-6));
        assert_eq!(scale("@lat_ns"), Some(1e-9));
        assert_eq!(scale("@bytes"), None);
    }
}
