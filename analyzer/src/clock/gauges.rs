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

use std::collections::{BTreeSet, HashMap};

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

/// Metrics that name the node at an address: metric, label of the address, label of the name.
const NAMED: [(&str, &str, &str); 2] =
    [("node_uname_info", "instance", "nodename"), ("kube_node_info", "internal_ip", "node")];

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
    let names = GAUGES.iter().map(|(name, _)| *name).chain(NAMED.iter().map(|(name, ..)| *name));
    let wanted = names.map(|name| col("name").eq(lit(name))).reduce(|a, b| a.or(b));
    let nodes = nodes_of(bundle, node);
    let series = of_exporters(bundle.rows::<SeriesRow<'static>>(wanted)?, &nodes, node);
    let mut ids: Vec<i64> = series.keys().copied().collect();
    ids.sort_unstable();
    if !ids.is_empty() {
        constraints(&series, witnesses::samples_of(bundle, &ids)?, evidence, found);
    }
    Ok(())
}

/// Nodes of which the run has captures: what was stated, and every clock domain that is no other machine's.
fn nodes_of(bundle: &Bundle, node: &str) -> BTreeSet<String> {
    let others = ["apiserver", "operator", "prometheus", "none"];
    let clocks = bundle.manifest.sources.iter().filter_map(|source| source.clock.as_deref());
    let bases = clocks.map(|clock| clock.split('/').next().unwrap_or(clock)).filter(|base| !others.contains(base));
    let stated = bundle.manifest.nodes.iter().map(String::as_str).chain([node]);
    bases.chain(stated).map(str::to_owned).collect()
}

type Exported = HashMap<i64, (SeriesRow<'static>, String, Set)>;

/// The series by identifier, each with the clock that its values are of, where that is another than the scraper's.
fn of_exporters(rows: Vec<SeriesRow<'static>>, nodes: &BTreeSet<String>, node: &str) -> Exported {
    let rows: Vec<(SeriesRow<'static>, Labels)> = rows
        .into_iter()
        .map(|row| {
            let labels = serde_json::from_str(&row.labels).unwrap_or_default();
            (row, labels)
        })
        .collect();
    let mut hosts = Hosts { nodes, node, names: HashMap::new(), exporters: HashMap::new() };
    for (row, labels) in &rows {
        if let Some((_, place, name)) = NAMED.iter().find(|(metric, ..)| *metric == row.name)
            && let (Some(place), Some(name)) = (labels.get(*place), labels.get(*name))
        {
            hosts.names.insert(host(place).to_owned(), name.clone());
        }
        hosts.exporters.entry(row.name.to_string()).or_default().extend(labels.get("instance").cloned());
    }
    let mut series = HashMap::new();
    for (row, labels) in rows {
        let Some((_, set)) = GAUGES.iter().find(|(name, _)| *name == row.name) else { continue };
        let host = hosts.exporter(&row, &labels);
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

type Labels = HashMap<String, String>;

/// What tells the host of an exporter.
struct Hosts<'n> {
    /// Nodes of which the run has captures, and the first of them.
    nodes: &'n BTreeSet<String>,
    node: &'n str,
    /// Names of nodes by address.
    names: HashMap<String, String>,
    /// By metric the exporters that have it.
    exporters: HashMap<String, BTreeSet<String>>,
}

impl Hosts<'_> {
    /// Whose clock a series holds: the node that a label names, else the one node of the run.
    fn exporter(&self, row: &SeriesRow<'_>, labels: &Labels) -> Option<String> {
        let named =
            ["node", "kubernetes_node", "nodename", "instance"].into_iter().filter_map(|label| labels.get(label));
        let named: Vec<&str> =
            named.map(|value| host(value)).map(|host| self.names.get(host).map_or(host, String::as_str)).collect();
        if let Some(found) = named.iter().find(|name| self.nodes.contains(**name)) {
            return Some((*found).to_owned());
        }
        // A process that may run anywhere proves nothing of a node.
        let of_node = !row.name.starts_with("process_")
            || labels
                .get("job")
                .is_some_and(|job| ["kube-proxy", "cilium-agent", "kubelet", "node-exporter"].contains(&job.as_str()));
        // One of several exporters may be on any node of the cluster.
        let alone = self.exporters.get(row.name.as_ref()).is_none_or(|exporters| exporters.len() <= 1);
        (of_node && alone && self.nodes.len() <= 1).then(|| self.node.to_owned())
    }
}

/// The host of `host:port` or `[address]:port`; an address alone is one.
fn host(place: &str) -> &str {
    match place.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => place.split_once(':').filter(|(_, port)| !port.contains(':')).map_or(place, |(host, _)| host),
    }
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
        let cite = |_: i32, record: i64, what: String| Evidence {
            path: "x".into(),
            record,
            what: what.into(),
            ..Evidence::default()
        };
        let series = of_exporters(vec![row], &["node-a".to_owned(), "node-b".to_owned()].into(), "node-a");
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
    fn the_host_of_an_exporter_is_never_guessed_among_several() {
        let row = |series: i64, name: &'static str, labels: &'static str| SeriesRow {
            series,
            clock: "prometheus".into(),
            witness: "scrape".into(),
            name: name.into(),
            labels: labels.into(),
            ..Default::default()
        };
        let hosts = |rows: Vec<SeriesRow<'static>>| -> Vec<String> {
            let mut found: Vec<(i64, String)> = of_exporters(rows, &["node-a".to_owned()].into(), "node-a")
                .into_iter()
                .map(|(series, (_, host, _))| (series, host))
                .collect();
            found.sort();
            found.into_iter().map(|(_, host)| host).collect()
        };
        let a = || row(1, "node_time_seconds", r#"{"instance":"10.0.3.7:9100"}"#);
        let b = || row(2, "node_time_seconds", r#"{"instance":"[fd00::8]:9100"}"#);
        assert_eq!(hosts(vec![a()]), ["node-a"], "the only exporter of the only node");
        assert_eq!(hosts(vec![a(), b()]), [""; 0], "either may be the node's");
        let named = row(3, "node_uname_info", r#"{"instance":"10.0.3.7:9100","nodename":"node-a"}"#);
        assert_eq!(hosts(vec![a(), b(), named]), ["node-a"]);
        let listed = row(3, "kube_node_info", r#"{"internal_ip":"fd00::8","node":"node-a"}"#);
        assert_eq!(hosts(vec![a(), b(), listed]), ["node-a"]);
    }

    #[test]
    fn a_clock_that_is_scraped_is_read_within_the_scrape() {
        let found = gathered("node_time_seconds", r#"{"instance":"node-b:9100"}"#, &[(1_000, 901.0), (1_005, 905.2)]);
        assert_eq!(tightest(&found), (Some(100), Some(104)));
    }
}
