//! Which line of a proxy's log tells that it received which version of a slice.
//!
//! The line (`Calling handler.OnEndpointSliceUpdate`) names nothing. But a watch delivers versions in their order, and
//! the proxy logs each once: where the versions of the audit log and the lines of the proxy's log in the same span are
//! equally many, and no line comes before its version's request, the n-th line is the n-th version's. Else nothing is
//! said.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use polars::prelude::{col, lit};
use syncline_schema::endpoints::EndpointRow;
use syncline_schema::syncs::SyncRow;

use super::Observed;
use super::doings::node_of;
use crate::bundle::Bundle;
use crate::clock::{Evidence, Graph};

/// When each node's proxy received each version: by (uid, resourceVersion) of the slice, then by node.
pub type Received = HashMap<(String, String), BTreeMap<String, Arc<Observed>>>;

/// One version, as the audit log has it.
struct Version<'r> {
    number: u64,
    row: &'r EndpointRow<'static>,
}

/// Matches lines with versions.
///
/// # Errors
/// A table that cannot be read.
pub fn read(
    bundle: &Bundle,
    rows: &[EndpointRow<'static>],
    clocks: &Graph,
    path: &dyn Fn(i32) -> String,
) -> anyhow::Result<Received> {
    let mut lines: BTreeMap<(i32, Option<String>), Vec<SyncRow<'static>>> = BTreeMap::new();
    for row in bundle.rows::<SyncRow<'static>>(Some(col("moment").eq(lit("received"))))? {
        lines.entry((row.source, row.proxy.as_deref().map(str::to_owned))).or_default().push(row);
    }
    let versions = versions(rows);
    let mut found = Received::new();
    for (_, mut lines) in lines {
        lines.retain(|row| row.time.is_some());
        lines.sort_by_key(|row| (row.time, row.record));
        let Some(pairs) = pairs(&versions, &lines, clocks) else { continue };
        for (version, line) in pairs {
            let key = (version.row.slice_uid.to_string(), version.row.resource_version.to_string());
            let evidence = Evidence {
                path: path(line.source).into(),
                record: line.record,
                what: "the proxy's handler was called".into(),
                ..Evidence::default()
            };
            let at = Observed {
                low: line.time,
                // The stamp is cut to microseconds.
                high: line.time.map(|time| time + 1_000),
                clock: line.clock.to_string(),
                witness: "log".to_owned(),
                evidence: vec![evidence],
            };
            found.entry(key).or_default().insert(node_of(&line.clock).to_owned(), Arc::new(at));
        }
    }
    Ok(found)
}

fn versions<'a>(rows: &'a [EndpointRow<'static>]) -> Vec<Version<'a>> {
    let mut seen = BTreeSet::new();
    let mut found: Vec<Version<'_>> = rows
        .iter()
        .filter(|row| row.witness == "audit" && row.kind == "EndpointSlice" && row.received.is_some())
        .filter(|row| seen.insert((row.slice_uid.as_ref(), row.resource_version.as_ref())))
        .map(|row| Version { number: row.resource_version.parse().unwrap_or(0), row })
        .collect();
    found.sort_by_key(|version| (version.number, version.row.received));
    found
}

fn pairs<'a>(
    versions: &'a [Version<'a>],
    lines: &'a [SyncRow<'static>],
    clocks: &Graph,
) -> Option<Vec<(&'a Version<'a>, &'a SyncRow<'static>)>> {
    let first = versions.first()?;
    let offset = clocks.offset(&lines.first()?.clock, &first.row.clock)?;
    // Lines that were certainly written before the first request belong to older versions.
    let begun = first.row.received?;
    let late = lines.partition_point(|line| line.time.is_some_and(|time| time + 1_000 + offset.high < begun));
    let lines = lines.get(late..)?;
    let ordered = versions.len() == lines.len() && versions.iter().all(|version| version.number > 0);
    let causal = versions.iter().zip(lines).all(|(version, line)| {
        version.row.received.zip(line.time).is_some_and(|(received, time)| time + 1_000 + offset.high >= received)
    });
    (ordered && causal).then(|| versions.iter().zip(lines).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: u32, received: i64) -> EndpointRow<'static> {
        EndpointRow {
            witness: "audit".into(),
            kind: "EndpointSlice".into(),
            clock: "a".into(),
            slice_uid: "u".into(),
            resource_version: number.to_string().into(),
            received: Some(received),
            time: Some(received + 5_000),
            ..Default::default()
        }
    }

    fn line(time: i64) -> SyncRow<'static> {
        SyncRow { clock: "a".into(), time: Some(time), moment: "received".into(), ..Default::default() }
    }

    fn matched(rows: &[EndpointRow<'static>], lines: &[SyncRow<'static>]) -> Option<Vec<(String, i64)>> {
        let versions = versions(rows);
        let pairs = pairs(&versions, lines, &Graph::default())?;
        Some(pairs.into_iter().map(|(v, l)| (v.row.resource_version.to_string(), l.time.unwrap_or_default())).collect())
    }

    #[test]
    fn lines_and_versions_pair_up_in_order() {
        let rows = [row(10, 200_000), row(9, 100_000)];
        let lines = [line(50_000), line(101_000), line(203_000)];
        assert_eq!(matched(&rows, &lines), Some(vec![("9".to_owned(), 101_000), ("10".to_owned(), 203_000)]));
    }

    #[test]
    fn a_missing_line_or_one_ahead_of_its_request_matches_nothing() {
        let rows = [row(9, 100_000), row(10, 200_000)];
        assert_eq!(matched(&rows, &[line(101_000)]), None);
        assert_eq!(matched(&rows, &[line(101_000), line(150_000)]), None, "the second is before its request");
    }
}
