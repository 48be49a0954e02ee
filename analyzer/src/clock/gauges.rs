//! Metrics whose values are moments of the exporter's clock, scraped on another clock.
//!
//! ```text
//! exporter    ── v₁ ──────────── v₂ ──────        the gauge is set to the time
//! scraper         S₁ ──── S₁'      S₂ ── S₂'      a scrape begins at S and is over before the next one begins
//! ```
//!
//! v₂ was set before the scrape that shows it was over, and after the scrape that still showed v₁ had begun: one
//! scrape interval bounds the offset on both sides. `process_start_time_seconds` gives the first of these only;
//! `node_time_seconds` is read while the scrape goes on, so that it gives both at once.

use std::collections::HashMap;

use polars::prelude::{col, lit};
use syncline_schema::samples::{SampleRow, SeriesRow};

use super::{Constraint, Evidence};
use crate::bundle::{Bundle, witnesses};

/// Gauges that their exporter sets to its current time, and what is known of a value.
const GAUGES: [(&str, Set); 4] = [
    ("kubeproxy_sync_proxy_rules_last_timestamp_seconds", Set::AtTheTime),
    ("kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds", Set::AtTheTime),
    ("node_time_seconds", Set::WhileScraped),
    ("process_start_time_seconds", Set::Before),
];

/// When a gauge got its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    /// When something happened: the value is the time of it.
    AtTheTime,
    /// In the scrape itself.
    WhileScraped,
    /// Long before; the kernel counts it in ticks from a boot time in whole seconds.
    Before,
}

/// A double near 1.8e9 keeps 0.24 µs; exporters round to that.
const ROUNDING: i64 = 1_000;
/// Boot time is told in whole seconds.
const BOOT: i64 = 1_000_000_000;
/// Prometheus' default timeout of a scrape, where no next scrape tells when one was over.
const TIMEOUT: i64 = 10_000_000_000;

/// Adds what the gauges of exporters on a node say.
///
/// # Errors
/// A table that cannot be read.
pub fn gather(
    bundle: &Bundle,
    node: &str,
    evidence: &dyn Fn(i32, i64, String) -> Evidence,
    found: &mut Vec<Constraint>,
) -> anyhow::Result<()> {
    let wanted = GAUGES.iter().map(|(name, _)| col("name").eq(lit(*name))).reduce(|a, b| a.or(b));
    let series = of_exporters(bundle.rows::<SeriesRow<'static>>(wanted)?, &bundle.manifest.nodes, node);
    let mut ids: Vec<i64> = series.keys().copied().collect();
    ids.sort_unstable();
    if !ids.is_empty() {
        constraints(&series, witnesses::samples_of(bundle, &ids)?, evidence, found);
    }
    Ok(())
}

type Exported = HashMap<i64, (SeriesRow<'static>, String, Set)>;

/// The series by identifier, each with the clock that its values are of, where that is another than the scraper's.
fn of_exporters(rows: Vec<SeriesRow<'static>>, nodes: &[String], node: &str) -> Exported {
    let mut series = HashMap::new();
    for row in rows {
        let Some((_, set)) = GAUGES.iter().find(|(name, _)| *name == row.name) else { continue };
        let labels: HashMap<String, String> = serde_json::from_str(&row.labels).unwrap_or_default();
        let host = exporter(&row, &labels, nodes, node);
        // Steps of an API answer repeat samples: a value there has no scrape of its own.
        let Some(host) = host.filter(|host| *host != row.clock && row.witness != "api") else { continue };
        series.insert(row.series, (row, host, *set));
    }
    series
}

fn constraints(
    series: &Exported,
    mut samples: Vec<SampleRow<'static>>,
    evidence: &dyn Fn(i32, i64, String) -> Evidence,
    found: &mut Vec<Constraint>,
) {
    let mut last: HashMap<i64, (i64, f64)> = HashMap::new();
    samples.sort_by_key(|row| (row.series, row.time, row.record));
    for (at, row) in samples.iter().enumerate() {
        let Some((of, host, set)) = series.get(&row.series).filter(|_| row.value.is_finite() && row.value > 0.0) else {
            continue;
        };
        let value = (row.value * 1e9) as i64;
        let next =
            samples.get(at + 1).filter(|next| next.series == row.series).map_or(row.time + TIMEOUT, |next| next.time);
        let before = last.insert(row.series, (row.time, row.value));
        let one = |low: Option<i64>, high: Option<i64>| Constraint {
            from: host.clone(),
            to: of.clock.to_string(),
            low,
            high,
            kind: "gauge".to_owned(),
            at: Some(value),
            slack: 0,
            evidence: evidence(of.source, row.record, format!("{} of the exporter, and its scrape", of.name)),
        };
        let (low, high) = match set {
            Set::WhileScraped => (Some(row.time - value - ROUNDING), Some(next - value + ROUNDING)),
            Set::Before if before.is_none() => (None, Some(next - value + BOOT)),
            Set::Before => continue,
            Set::AtTheTime => match before {
                None => (None, Some(next - value + ROUNDING)),
                Some((_, same)) if same == row.value => continue,
                Some((scraped, _)) => (Some(scraped - value - ROUNDING), Some(next - value + ROUNDING)),
            },
        };
        // Each side is one-sided evidence of its own: it bounds the offset at its moment.
        found.extend(low.map(|low| one(Some(low), None)));
        found.extend(high.map(|high| one(None, Some(high))));
    }
}

/// Whose clock a series holds: the node that a label names, else the one node of the run.
fn exporter(row: &SeriesRow<'_>, labels: &HashMap<String, String>, nodes: &[String], node: &str) -> Option<String> {
    let host = |label: &str| labels.get(label).map(|value| value.split(':').next().unwrap_or(value).to_owned());
    let named = ["node", "kubernetes_node", "nodename", "instance"].into_iter().filter_map(host);
    if let Some(found) = named.into_iter().find(|name| nodes.contains(name) || name == node) {
        return Some(found);
    }
    // A process that may run anywhere proves nothing of a node.
    let of_node = !row.name.starts_with("process_")
        || labels
            .get("job")
            .is_some_and(|job| ["kube-proxy", "cilium-agent", "kubelet", "node-exporter"].contains(&job.as_str()));
    (of_node && nodes.len() <= 1).then(|| node.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn gathered(name: &str, labels: &str, samples: &[(i64, f64)]) -> Vec<Constraint> {
        let row = SeriesRow {
            series: 1,
            clock: "node-a".into(),
            witness: "scrape".into(),
            name: name.to_owned().into(),
            labels: labels.to_owned().into(),
            ..Default::default()
        };
        let sample = |(at, value): &(i64, f64)| SampleRow {
            series: 1,
            record: *at,
            time: at * SECOND,
            value: *value,
            ..Default::default()
        };
        let cite = |_: i32, record: i64, what: String| Evidence { path: "x".to_owned(), record, what };
        let series = of_exporters(vec![row], &["node-a".to_owned(), "node-b".to_owned()], "node-a");
        let mut found = Vec::new();
        constraints(&series, samples.iter().map(sample).collect(), &cite, &mut found);
        found
    }

    /// The tightest offset from the exporter to the scraper, in seconds.
    fn tightest(found: &[Constraint]) -> (Option<i64>, Option<i64>) {
        let seconds = |ns: i64| (ns as f64 / SECOND as f64).round() as i64;
        let low = found.iter().filter_map(|one| one.low).max();
        (low.map(seconds), found.iter().filter_map(|one| one.high).min().map(seconds))
    }

    #[test]
    fn a_gauge_that_changes_is_bounded_by_the_scrapes_around_it() {
        // The exporter's clock is 100 s behind. It syncs at 1006.5 and 1016.5 of the scraper's clock.
        let name = "kubeproxy_sync_proxy_rules_last_timestamp_seconds";
        let samples = [(1_000, 800.0), (1_005, 800.0), (1_010, 906.5), (1_015, 906.5), (1_020, 916.5), (1_025, 916.5)];
        let found = gathered(name, r#"{"node":"node-b"}"#, &samples);
        let (low, high) = tightest(&found);
        assert!(low.is_some_and(|low| (95..=100).contains(&low)), "{low:?}");
        assert!(high.is_some_and(|high| (100..=110).contains(&high)), "{high:?}");
        assert!(found.iter().all(|one| one.from == "node-b" && one.to == "node-a" && one.evidence.record > 0));
    }

    #[test]
    fn a_process_started_before_it_was_scraped() {
        let found = gathered("process_start_time_seconds", r#"{"node":"node-b"}"#, &[(1_000, 500.0), (1_005, 500.0)]);
        assert_eq!(tightest(&found), (None, Some(506)), "one side, the rounding of boot time on top");
        assert!(
            gathered("process_start_time_seconds", r#"{"job":"shop"}"#, &[(1_000, 500.0)]).is_empty(),
            "of any host"
        );
    }

    #[test]
    fn a_clock_that_is_scraped_is_read_within_the_scrape() {
        let found = gathered("node_time_seconds", r#"{"instance":"node-b:9100"}"#, &[(1_000, 901.0), (1_005, 905.2)]);
        assert_eq!(tightest(&found), (Some(100), Some(104)));
    }
}
