//! Committed ≤ programmed, as evidence of clocks: the last choice.
//!
//! A dataplane cannot hold an endpoint before it was committed. Used to relate the clocks this is circular for the very
//! time from commit to dataplane: the fastest endpoint then has zero as its lower bound, and all others are as much
//! slower as they were seen to be. So it is taken only where all other evidence would let an endpoint be there before it
//! was committed (or relates the clocks on one side only), and is marked wherever it counts.

use std::collections::{BTreeMap, BTreeSet};

use syncline_schema::endpoints::EndpointRow;

use super::dataplane::Presence;
use crate::clock::{Constraint, Evidence, Finding, Graph, PROGRAMMED};

type Key<'r> = (String, &'r str, i32);

/// The evidence for each dataplane's clock that nothing else relates to that of the commits, and what a reader must know.
pub fn gather(
    rows: &[EndpointRow<'static>],
    seen: &[Presence],
    clocks: &Graph,
    path: &dyn Fn(i32) -> String,
) -> (Vec<Constraint>, Vec<Finding>) {
    let committed = committed(rows);
    let mut found: BTreeMap<(&str, &str), Constraint> = BTreeMap::new();
    for one in seen {
        let key = (one.service.clone(), one.address.as_str(), one.port);
        let Some(row) = committed.get(&key) else { continue };
        let came: Vec<_> = one.changes.iter().filter(|change| change.present).collect();
        let (Some(received), [change], false) = (row.received, came.as_slice(), one.initially) else { continue };
        let Some(until) = change.after.until else { continue };
        let high = until - received;
        // Of a clock that stepped it would bound one moment only.
        let stepped = clocks.edges.iter().any(|edge| !edge.pieces.is_empty());
        if clocks.offset(&row.clock, &one.clock).is_some_and(|known| stepped || known.high <= high) {
            continue;
        }
        let known = found.get(&(row.clock.as_ref(), one.clock.as_str()));
        if known.and_then(|known| known.high).is_some_and(|known| known <= high) {
            continue;
        }
        let what = format!("{} {} was committed before the look that shows it was over", one.service, one.address);
        let evidence = Evidence {
            path: path(change.after.source).into(),
            record: change.after.record,
            what: what.into(),
            ..Evidence::default()
        };
        let constraint = Constraint {
            from: row.clock.to_string(),
            to: one.clock.clone(),
            low: None,
            high: Some(high),
            kind: PROGRAMMED.to_owned(),
            at: Some(received),
            slack: 0,
            evidence,
        };
        found.insert((row.clock.as_ref(), one.clock.as_str()), constraint);
    }
    let findings = found
        .values()
        .map(|one| Finding {
            title: match clocks.offset(&one.from, &one.to) {
                None => format!("nothing but the endpoints themselves bounds {} against {} on one side", one.to, one.from),
                Some(known) => format!(
                    "all else leaves {} against {} within {:.3} s, in which endpoints might be programmed before their commit",
                    one.to,
                    one.from,
                    (known.high - known.low) as f64 / 1e9
                ),
            },
            detail: "committed before programmed bounds that side: circular for propagation, whose fastest endpoint has zero as its lower bound by this; a clock reading (`chronyc -c tracking` of both machines) would settle it".to_owned(),
            evidence: vec![one.evidence.clone()],
        })
        .collect();
    (found.into_values().collect(), findings)
}

/// Endpoints that were added once, in a version whose request is known, to a slice of which the version before is
/// known, or which was created with them.
fn committed<'r>(rows: &'r [EndpointRow<'static>]) -> BTreeMap<Key<'r>, &'r EndpointRow<'static>> {
    type Version<'r> = BTreeMap<(&'r str, i32), &'r EndpointRow<'static>>;
    let mut slices: BTreeMap<&str, BTreeMap<u64, (bool, Version<'r>)>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.witness == "audit" && row.kind == "EndpointSlice") {
        let Ok(number) = row.resource_version.parse::<u64>() else { continue };
        let version = slices.entry(&row.slice_uid).or_default().entry(number).or_default();
        version.0 |= row.event == "create";
        if let (Some(address), Some(port)) = (row.address.as_deref(), row.port) {
            version.1.insert((address, port), row);
        }
    }
    let mut found: BTreeMap<Key<'r>, &EndpointRow<'static>> = BTreeMap::new();
    let mut again: BTreeSet<Key<'r>> = BTreeSet::new();
    for versions in slices.values() {
        let mut before: Option<&Version<'r>> = None;
        for (created, version) in versions.values() {
            for (place, row) in version {
                let key = (format!("{}/{}", row.namespace, row.service), place.0, place.1);
                let fresh = before.map_or(*created, |before| !before.contains_key(place));
                if fresh && found.insert(key.clone(), row).is_some() || (before.is_none() && !created) {
                    again.insert(key);
                }
            }
            before = Some(version);
        }
    }
    found.retain(|key, _| !again.contains(key));
    found
}

#[cfg(test)]
mod tests {
    use super::super::dataplane::{Change, Look};
    use super::*;

    fn row(version: &str, event: &str, address: &str, received: i64) -> EndpointRow<'static> {
        EndpointRow {
            clock: "apiserver".into(),
            witness: "audit".into(),
            received: Some(received),
            event: event.to_owned().into(),
            kind: "EndpointSlice".into(),
            namespace: "default".into(),
            service: "test".into(),
            slice_uid: "s".into(),
            resource_version: version.to_owned().into(),
            address: Some(address.to_owned().into()),
            port: Some(80),
            ..Default::default()
        }
    }

    fn presence(address: &str, until: i64) -> Presence {
        let look = |time: i64| Look { time, until: Some(time + 10), source: 0, record: 7 };
        Presence {
            service: "default/test".to_owned(),
            address: address.to_owned(),
            port: 80,
            protocol: "TCP".to_owned(),
            stream: 0,
            format: "iptables-save".to_owned(),
            clock: "n".to_owned(),
            time_from: "stamp".to_owned(),
            initially: false,
            changes: vec![Change { present: true, before: look(until - 20), after: look(until - 10) }],
            first_look: look(0),
            last_look: look(9_000),
            shows_leaving: false,
        }
    }

    #[test]
    fn the_fastest_endpoint_bounds_the_clock() {
        let rows = [
            row("1", "create", "10.0.0.1", 1_000),
            row("2", "update", "10.0.0.1", 2_000),
            row("2", "update", "10.0.0.2", 2_000),
        ];
        let seen = [presence("10.0.0.1", 4_000), presence("10.0.0.2", 4_500)];
        let domains = ["apiserver", "n"].map(str::to_owned).to_vec();
        let (found, findings) = gather(&rows, &seen, &Graph::build(domains.clone(), &[]), &|_| "x".to_owned());
        assert_eq!(found.iter().map(|one| one.high).collect::<Vec<_>>(), [Some(2_500)]);
        assert!(findings[0].detail.contains("circular"), "it is marked");
        assert_eq!(findings[0].evidence[0].record, 7);
        // Last choice: not where other evidence leaves no such thing, but where it does.
        let wide = |low: i64, high: i64| {
            let lease = Constraint {
                from: "apiserver".to_owned(),
                to: "n".to_owned(),
                low: Some(low),
                high: Some(high),
                kind: "lease".to_owned(),
                ..Constraint::default()
            };
            let (found, findings) = gather(&rows, &seen, &Graph::build(domains.clone(), &[lease]), &|_| "x".to_owned());
            (found.first().and_then(|one| one.high), findings.len())
        };
        assert_eq!(wide(0, 2_500), (None, 0));
        assert_eq!(wide(0, 9_000), (Some(2_500), 1));
        let stated = Constraint {
            from: "apiserver".to_owned(),
            to: "n".to_owned(),
            low: Some(0),
            high: Some(0),
            kind: "statement".to_owned(),
            ..Constraint::default()
        };
        assert!(gather(&rows, &seen, &Graph::build(domains, &[stated]), &|_| "x".to_owned()).0.is_empty());
    }

    #[test]
    fn an_endpoint_that_may_have_been_there_before_bounds_nothing() {
        let rows = [row("1", "update", "10.0.0.1", 1_000)];
        let domains = ["apiserver", "n"].map(str::to_owned).to_vec();
        let clocks = Graph::build(domains, &[]);
        assert!(gather(&rows, &[presence("10.0.0.1", 4_000)], &clocks, &|_| "x".to_owned()).0.is_empty());
    }
}
