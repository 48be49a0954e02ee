//! `rules_total`: rules of Services in the dataplane, and what snapshots say of tables' sizes.
//!
//! For iptables: rules of the nat chains KUBE-SERVICES, KUBE-SVC-*, KUBE-SEP-*, KUBE-EXT-*, KUBE-FW-*, KUBE-NODEPORTS
//! in a whole-table snapshot. For nftables: rules of the chains `service-…`, `local-…`, `external-…`, `firewall-…`,
//! `endpoint-…` of kube-proxy's tables, and the elements of maps and lists that lead to them (where iptables has a rule
//! for each Service and each endpoint, nftables has an element). Without a snapshot, kube-proxy's own gauge. It
//! measures the cluster's size: the Services and endpoints stand beside it.

use std::collections::BTreeMap;

use polars::prelude::{DataType, Expr, JoinArgs, JoinType, col, len, lit};
use syncline_schema::dataplane::SnapshotRow;

use super::readings;
use super::{Measurement, Missing};
use crate::clock::Evidence;
use crate::events::{Phase, Run};
use crate::math::{Estimate, quantile};

/// What one snapshot holds.
#[derive(Clone, Debug, Default)]
pub struct Size {
    pub time: Option<i64>,
    pub clock: String,
    /// Rules of Services (iptables: nat chains of Services).
    pub service_rules: i64,
    /// All rules of the nat table, and its chains.
    pub rules: i64,
    pub chains: i64,
    pub evidence: Option<Evidence>,
}

/// Sizes of every snapshot of whole tables of a format, by stream, in order.
pub fn sizes(run: &Run, format: &str) -> BTreeMap<i32, Vec<Size>> {
    let mut snapshots = run.bundle.rows_or_note::<SnapshotRow<'static>>(Some(col("format").eq(lit(format.to_owned()))));
    snapshots.sort_by_key(|s| (s.stream, s.snapshot));
    let mut found: BTreeMap<i32, Vec<Size>> = BTreeMap::new();
    if snapshots.is_empty() {
        return found;
    }
    let deltas = deltas(run).unwrap_or_default();
    let mut at: BTreeMap<i32, (i64, i64, i64)> = BTreeMap::new();
    for snapshot in &snapshots {
        let state = at.entry(snapshot.stream).or_default();
        if let Some(delta) = deltas.get(&(snapshot.stream, snapshot.snapshot)) {
            *state = (state.0 + delta.0, state.1 + delta.1, state.2 + delta.2);
        }
        if !snapshot.complete {
            continue;
        }
        found.entry(snapshot.stream).or_default().push(Size {
            time: snapshot.time,
            clock: snapshot.clock.to_string(),
            service_rules: state.0,
            rules: state.1,
            chains: state.2,
            evidence: Some(run.evidence(
                snapshot.source,
                snapshot.record,
                format!("snapshot with {} rules of Services", state.0),
            )),
        });
    }
    found
}

/// Change of (service rules, rules, chains) at each snapshot, by stream and number.
type Deltas = BTreeMap<(i32, i64), (i64, i64, i64)>;

fn deltas(run: &Run) -> anyhow::Result<Deltas> {
    let begins = |prefix: &str| col("chain").fill_null(lit("")).str().starts_with(lit(prefix.to_owned()));
    let of_service: Expr = [
        "KUBE-SERVICES",
        "KUBE-SVC-",
        "KUBE-SVL-",
        "KUBE-SEP-",
        "KUBE-EXT-",
        "KUBE-XLB-",
        "KUBE-FW-",
        "KUBE-NODEPORTS",
    ]
    .iter()
    .map(|prefix| begins(prefix))
    .reduce(Expr::or)
    .unwrap_or_else(|| lit(false));
    let nft_table = col("table").fill_null(lit("")).str().ends_with(lit(" kube-proxy"));
    let nft_chain = ["service-", "local-", "external-", "firewall-", "endpoint-", "affinity-"]
        .iter()
        .map(|role| begins(role))
        .reduce(Expr::or)
        .unwrap_or_else(|| lit(false))
        // The two checks that every packet passes belong to no Service.
        .and(col("chain").neq(lit("service-endpoints-check")))
        .and(col("chain").neq(lit("firewall-check")));
    let of_service = of_service.or(nft_table.and(nft_chain));
    let rules =
        run.bundle
            .scan("dataplane_rules")?
            .filter(col("table").is_null().or(
                col("table").neq(lit("filter")).and(col("table").neq(lit("mangle"))).and(col("table").neq(lit("raw"))),
            ))
            .filter(
                ["rule", "chain", "frontend", "backend"]
                    .map(|kind| col("kind").eq(lit(kind)))
                    .into_iter()
                    .reduce(Expr::or)
                    .unwrap_or_else(|| lit(false)),
            )
            .select([col("rule"), col("kind"), of_service.alias("of_service")]);
    let frame = run
        .bundle
        .scan("dataplane_changes")?
        .filter(col("operation").neq(lit("counters")))
        .select([col("stream"), col("snapshot"), col("operation"), col("rule")])
        .join(rules, [col("rule")], [col("rule")], JoinArgs::new(JoinType::Inner))
        .group_by([col("stream"), col("snapshot"), col("operation"), col("kind"), col("of_service")])
        .agg([len().cast(DataType::Int64).alias("n")])
        .collect()?;
    let (streams, snapshots) = (frame.column("stream")?.i32()?, frame.column("snapshot")?.i64()?);
    let (operations, kinds) = (frame.column("operation")?.str()?, frame.column("kind")?.str()?);
    let (services, counts) = (frame.column("of_service")?.bool()?, frame.column("n")?.i64()?);
    let mut found = Deltas::new();
    for at in 0..frame.height() {
        let (Some(stream), Some(snapshot), Some(n)) = (streams.get(at), snapshots.get(at), counts.get(at)) else {
            continue;
        };
        let n = if operations.get(at) == Some("delete") { -n } else { n };
        let entry = found.entry((stream, snapshot)).or_default();
        if kinds.get(at) == Some("chain") {
            entry.2 += n;
        } else {
            entry.1 += n;
            if services.get(at) == Some(true) {
                entry.0 += n;
            }
        }
    }
    Ok(found)
}

/// The main row: median over the baseline's snapshots, else the first snapshot; `details` have the most of the run.
pub fn measure(run: &Run) -> Vec<Measurement> {
    let mut row = Measurement::new(run, "rules_total", "1");
    row.statistic = "median".into();
    row.window = "baseline".into();
    if let Some(services) = run.services {
        row.details.insert("services".into(), services as f64);
    }
    if let Some(endpoints) = run.baseline_endpoints {
        row.details.insert("endpoints".into(), endpoints as f64);
    }
    if !run.is_kube_proxy() {
        row.missing = Some(Missing {
            what: "Cilium programs map entries, not rules".into(),
            remedy: "Nothing: the claim is about kube-proxy.".into(),
        });
        return vec![row];
    }
    let mut best: Option<Vec<Size>> = None;
    let nftables = run.dataplane == "kube-proxy-nftables";
    let formats: &[&str] =
        if nftables { &["nft-json", "nft-text"] } else { &["iptables-save", "nft-json", "nft-text", "ipvsadm"] };
    for format in formats {
        for sizes in sizes(run, format).into_values() {
            // The stream with the most rules is the whole table; a stream of one chain has a part of them.
            let most = |s: &[Size]| s.iter().map(|s| s.rules).max().unwrap_or(0);
            if best.as_ref().is_none_or(|b| (most(&sizes), sizes.len()) > (most(b), b.len())) {
                best = Some(sizes);
            }
        }
    }
    match best.filter(|b| b.iter().any(|s| s.rules > 0)) {
        Some(sizes) => {
            let iptables = sizes.iter().any(|s| s.service_rules > 0);
            let count = |s: &Size| if iptables { s.service_rules } else { s.rules };
            let inside: Vec<&Size> = sizes
                .iter()
                .filter(|s| {
                    s.time.is_some_and(|t| run.window(Phase::Baseline, &s.clock).is_some_and(|w| w.contains(t)))
                })
                .collect();
            let used: Vec<&Size> = if inside.is_empty() { sizes.iter().take(1).collect() } else { inside };
            row.n = used.len() as u64;
            if let Some(median) = quantile::of(&used.iter().map(|s| count(s) as f64).collect::<Vec<_>>(), 0.5) {
                row.estimate = Estimate::exact(median);
            }
            row.details.insert("most".into(), sizes.iter().map(count).max().unwrap_or(0) as f64);
            row.details.insert(if nftables { "all_rules" } else { "nat_rules" }.into(), used[0].rules as f64);
            row.details.insert("chains".into(), used[0].chains as f64);
            row.method = if nftables {
                "rules of Services' chains and elements that lead to Services and endpoints, in snapshots of the ruleset"
            } else if iptables {
                "rules of Services' chains in snapshots of the nat table"
            } else {
                "rules in snapshots of the ruleset"
            }
            .into();
            row.evidence.extend(used[0].evidence.clone());
        }
        None => {
            let gauges =
                readings::series(run, "kubeproxy_sync_proxy_rules_iptables_total", |c| c.label("table") == "nat");
            // One series per address family: the larger one is the table that the claim means.
            let ends = gauges.iter().filter_map(|s| s.readings.last().map(|r| (s, *r)));
            match ends.max_by(|a, b| a.1.value.total_cmp(&b.1.value)) {
                Some((series, reading)) => {
                    row.n = 1;
                    row.window = "last sample".into();
                    row.statistic = "last".into();
                    row.estimate = Estimate::exact(reading.value);
                    row.method = format!(
                        "{}{{table=\"nat\"}} of kube-proxy, the larger address family (witness: {}); wrong in Kubernetes 1.26 and 1.27",
                        series.name, series.witness
                    ).into();
                    row.evidence = vec![reading.evidence(run, &series.name)];
                }
                None => {
                    row.missing = Some(Missing {
                        what: "no snapshot of the rules and no gauge of kube-proxy".into(),
                        remedy: "Run `iptables-save -c -t nat` in a loop with `# TIMESTAMP` ahead of each.".into(),
                    });
                }
            }
        }
    }
    vec![row]
}

#[cfg(test)]
mod tests {
    use syncline_schema::dataplane::{ChangeRow, RuleRow, SnapshotRow};

    use super::super::fixture;
    use super::sizes;

    #[test]
    fn sizes_follow_the_changes() {
        let folder = tempfile::tempdir().unwrap();
        let run = fixture::run(folder.path(), "kube-proxy-iptables", |tables| {
            let rule = |rule: i64, kind: &'static str, table: &'static str, chain: &'static str| RuleRow {
                rule,
                kind: kind.into(),
                table: Some(table.into()),
                chain: Some(chain.into()),
                ..RuleRow::default()
            };
            for row in [
                rule(0, "chain", "nat", "KUBE-SVC-A"),
                rule(1, "rule", "nat", "KUBE-SVC-A"),
                rule(2, "rule", "nat", "POSTROUTING"),
                rule(3, "rule", "nat", "KUBE-SEP-B"),
                rule(4, "rule", "filter", "KUBE-SERVICES"),
                rule(5, "other", "nat", ""),
            ] {
                tables.push(&row).unwrap();
            }
            let change = |snapshot: i64, operation: &'static str, rule: i64| ChangeRow {
                snapshot,
                operation: operation.into(),
                rule,
                ..ChangeRow::default()
            };
            for row in [0, 1, 2, 4, 5].map(|r| change(0, "insert", r)).into_iter().chain([
                change(1, "counters", 1),
                change(2, "insert", 3),
                change(2, "delete", 2),
            ]) {
                tables.push(&row).unwrap();
            }
            for snapshot in 0..4 {
                let row = SnapshotRow {
                    snapshot,
                    format: "iptables-save".into(),
                    complete: snapshot != 3,
                    ..SnapshotRow::default()
                };
                tables.push(&row).unwrap();
            }
        });
        let found = sizes(&run, "iptables-save").remove(&0).unwrap();
        let figures: Vec<_> = found.iter().map(|s| (s.service_rules, s.rules, s.chains)).collect();
        assert_eq!(figures, [(1, 2, 1), (1, 2, 1), (2, 2, 1)], "a truncated snapshot proves nothing");
    }
}
