//! `rules_rewritten_per_change` of kube-proxy in nftables mode.
//!
//! kube-proxy flushes the chain of a Service that changed and fills it anew, in one transaction; other chains stay as
//! they are. A listing shows what differs, so of each chain in which anything differs everything counts as replaced: its
//! rules, and the elements of their lists. Elements of the named maps count by themselves.
//!
//! ```text
//! table   @service-ips: 5 elements    service-a: 1 rule, 7 elements    service-b: 1 rule, 2 elements    = 16
//! change  service-a has an endpoint more                                       replaced: 1 + 8 = 9 of 17
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};

use polars::prelude::{col, lit};
use syncline_schema::dataplane::{ChangeRow, RuleRow, SnapshotRow};

use super::{Measurement, Missing};
use crate::clock::Evidence;
use crate::events::{Phase, Run};
use crate::math::{Estimate, quantile};

/// What one change replaced.
struct Replaced {
    entries: u64,
    of: u64,
    chains: u64,
    evidence: Evidence,
}

/// The variant `kernel`: share of Services' rules and elements that the kernel replaces for one change.
pub fn measure(run: &Run) -> Measurement {
    let mut row = Measurement::new(run, "rules_rewritten_per_change", "ratio");
    row.variant = "kernel".into();
    row.window = "action and tail".into();
    row.statistic = "median share of Services' rules and elements replaced by a change".into();
    let changes = replaced(run).unwrap_or_default();
    if changes.is_empty() {
        row.missing = Some(Missing {
            what: "no two snapshots of kube-proxy's whole nftables table that differ in the action".into(),
            remedy: "Run `nft -j list table ip kube-proxy` in a loop with `# TIMESTAMP` ahead of each.".into(),
        });
        return row;
    }
    let shares: Vec<f64> = changes.iter().map(|one| one.entries as f64 / one.of as f64).collect();
    row.n = shares.len() as u64;
    row.quantiles = quantile::exact_all(&shares);
    if let Some(median) = quantile::of(&shares, 0.5) {
        row.estimate = Estimate::exact(median);
    }
    let middle =
        |of: fn(&Replaced) -> u64| quantile::of(&changes.iter().map(|one| of(one) as f64).collect::<Vec<_>>(), 0.5);
    for (name, value) in
        [("entries", middle(|one| one.entries)), ("chains", middle(|one| one.chains)), ("table", middle(|one| one.of))]
    {
        row.details.extend(value.map(|value| (name.to_owned(), value)));
    }
    row.method = "rules and elements of every Service chain that differs from one snapshot of the table to the next (kube-proxy refills such a chain as a whole), over all of the table's".into();
    row.notes.push("Snapshots further apart than syncs show several changes as one.".into());
    row.evidence = changes.into_iter().take(3).map(|one| one.evidence).collect();
    row
}

/// The stream of whole tables with the most snapshots; of JSON and text the better one.
fn whole_table(run: &Run) -> anyhow::Result<Vec<SnapshotRow<'static>>> {
    let filter = col("format").eq(lit("nft-json")).or(col("format").eq(lit("nft-text")));
    let mut streams: BTreeMap<i32, Vec<SnapshotRow<'static>>> = BTreeMap::new();
    for row in run.bundle.rows::<SnapshotRow<'static>>(Some(filter))? {
        streams.entry(row.stream).or_default().push(row);
    }
    let maps: BTreeSet<i32> = run
        .bundle
        .rows::<RuleRow<'static>>(Some(col("kind").eq(lit("frontend")).and(col("chain").eq(lit("service-ips")))))?
        .iter()
        .map(|row| row.stream)
        .collect();
    let whole = streams.into_iter().filter(|(stream, _)| maps.contains(stream)).map(|(_, rows)| rows);
    let mut best = whole.max_by_key(Vec::len).unwrap_or_default();
    best.sort_by_key(|row| row.snapshot);
    Ok(best)
}

fn replaced(run: &Run) -> anyhow::Result<Vec<Replaced>> {
    let snapshots = whole_table(run)?;
    let Some(stream) = snapshots.first().map(|row| row.stream) else { return Ok(Vec::new()) };
    let of_stream = || Some(col("stream").eq(lit(stream)));
    let rules: HashMap<i64, RuleRow<'static>> = run
        .bundle
        .rows::<RuleRow<'static>>(of_stream())?
        .into_iter()
        .filter(|row| matches!(row.kind.as_ref(), "rule" | "backend" | "frontend"))
        // Chains of a Service have slashes in their names; the rest of the table does not change.
        .filter(|row| row.kind == "frontend" || row.chain.as_deref().is_some_and(|chain| chain.contains('/')))
        .map(|row| (row.rule, row))
        .collect();
    let mut changes = run.bundle.rows::<ChangeRow<'static>>(of_stream())?;
    changes.sort_by_key(|row| row.snapshot);
    let mut changes = changes.into_iter().peekable();
    let mut held: HashMap<(String, String), u64> = HashMap::new();
    let mut total = 0_u64;
    let mut found = Vec::new();
    let mut last_complete = false;
    for snapshot in &snapshots {
        let mut chains: BTreeSet<(String, String)> = BTreeSet::new();
        let mut elements = 0;
        while let Some(change) = changes.next_if(|row| row.snapshot <= snapshot.snapshot) {
            let Some(rule) = rules.get(&change.rule) else { continue };
            let inserted = match change.operation.as_ref() {
                "insert" => true,
                "delete" => false,
                _ => continue,
            };
            total = if inserted { total + 1 } else { total.saturating_sub(1) };
            if rule.kind == "frontend" {
                elements += u64::from(inserted);
                continue;
            }
            let text = |value: &Option<syncline_schema::Text>| value.as_deref().unwrap_or_default().to_owned();
            let chain = (text(&rule.table), text(&rule.chain));
            let count = held.entry(chain.clone()).or_default();
            *count = if inserted { *count + 1 } else { count.saturating_sub(1) };
            chains.insert(chain);
        }
        let whole = snapshot.complete && last_complete;
        last_complete = snapshot.complete;
        let inside = [Phase::Action, Phase::Tail].iter().any(|phase| {
            snapshot.time.is_some_and(|time| run.window(*phase, &snapshot.clock).is_some_and(|w| w.contains(time)))
        });
        if !whole || !inside || (chains.is_empty() && elements == 0) || total == 0 {
            continue;
        }
        let entries = elements + chains.iter().filter_map(|chain| held.get(chain)).sum::<u64>();
        let what = format!("{entries} of {total} rules and elements in {} chains replaced", chains.len());
        let evidence = run.evidence(snapshot.source, snapshot.record, what);
        found.push(Replaced { entries, of: total, chains: chains.len() as u64, evidence });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use syncline_schema::dataplane::{ChangeRow, RuleRow, SnapshotRow};

    use super::super::fixture;
    use super::replaced;
    use crate::events::Window;

    #[test]
    fn a_chain_that_differs_is_replaced_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = fixture::run(folder.path(), "kube-proxy-nftables", |tables| {
            let piece = |rule: i64, kind: &'static str, chain: &'static str| RuleRow {
                rule,
                kind: kind.into(),
                table: Some("ip kube-proxy".into()),
                chain: Some(chain.into()),
                ..RuleRow::default()
            };
            let (a, b) = ("service-AAAAAAAA-d/a/tcp/http", "service-BBBBBBBB-d/b/tcp/http");
            for row in [
                piece(0, "frontend", "service-ips"),
                piece(1, "rule", a),
                piece(2, "backend", a),
                piece(3, "rule", b),
                piece(4, "backend", b),
                piece(5, "backend", b),
                piece(6, "rule", "services"),
            ] {
                tables.push(&row).unwrap();
            }
            let change = |snapshot: i64, rule: i64| ChangeRow {
                snapshot,
                operation: "insert".into(),
                rule,
                ..ChangeRow::default()
            };
            for row in [0, 1, 2, 3, 4, 6].map(|rule| change(0, rule)).into_iter().chain([change(1, 5)]) {
                tables.push(&row).unwrap();
            }
            for snapshot in 0..3 {
                let row = SnapshotRow {
                    snapshot,
                    clock: "node-a".into(),
                    time: Some(snapshot * fixture::SECOND),
                    format: "nft-json".into(),
                    complete: true,
                    ..SnapshotRow::default()
                };
                tables.push(&row).unwrap();
            }
        });
        run.windows.clock = "node-a".into();
        run.windows.action = Some(Window { start: 0, end: 9 * fixture::SECOND, slack: 0 });
        let found = replaced(&run).unwrap();
        let figures: Vec<_> = found.iter().map(|one| (one.entries, one.of, one.chains)).collect();
        assert_eq!(figures, [(3, 6, 1)], "one rule and two elements of chain b, of five and the map's one");
    }
}
