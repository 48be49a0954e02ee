//! The life of every pod up to its endpoint: created, bound, ready, as the API server's audit log and watches tell.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use polars::prelude::{col, lit};
use syncline_schema::audit::AuditRow;
use syncline_schema::pods::PodRow;

use super::Observed;
use crate::bundle::Bundle;
use crate::clock::Evidence;

/// What is known of one pod; each moment where a capture tells it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Life {
    /// Created: from the receipt of the request to its answer.
    pub created: Option<Observed>,
    /// Bound to a node, alike.
    pub bound: Option<Observed>,
    /// First status that says ready, alike.
    pub ready: Option<Observed>,
    /// When its Ready condition turned true: a whole second of the kubelet's clock.
    pub ready_since: Option<Observed>,
}

/// The pods of a run, and the request that began its action.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pods {
    /// By uid.
    pub lives: HashMap<String, Life>,
    /// Receipt of the request that began the action.
    pub request: Option<Observed>,
}

const SECOND: i64 = 1_000_000_000;

/// When a version of an object that a watch delivered was committed, from what the watch says and its revision.
pub type Bounded<'a> = &'a mut dyn FnMut(Observed, u64) -> Observed;

/// Reads the lives of all pods. `node` is the clock of a kubelet whose pod names no node.
///
/// # Errors
/// A table that cannot be read.
pub fn read(
    bundle: &Bundle,
    node: &str,
    bounded: Bounded<'_>,
    path: &dyn Fn(i32) -> String,
) -> anyhow::Result<HashMap<String, Life>> {
    let rows = bundle.rows::<PodRow<'static>>(None)?;
    let bindings = bundle
        .rows::<AuditRow<'static>>(Some(col("resource").eq(lit("pods")).and(col("subresource").eq(lit("binding")))))?;
    let mut found = lives(&rows, &bindings, node, path);
    watched(&rows, bounded, path, &mut found);
    Ok(found)
}

/// What no request tells of: a version that a watch delivered, where beacons bound its commit from both sides.
fn watched(
    rows: &[PodRow<'static>],
    bounded: Bounded<'_>,
    path: &dyn Fn(i32) -> String,
    found: &mut HashMap<String, Life>,
) {
    let mut versions: Vec<(u64, &PodRow<'_>)> = rows
        .iter()
        .filter(|row| row.witness == "watch" && !row.uid.is_empty() && row.time.is_some())
        .filter_map(|row| Some((row.resource_version.parse().ok()?, row)))
        .collect();
    versions.sort_by_key(|(version, row)| (*version, row.time, row.source, row.record));
    // The first version of each kind is the moment, whether or not it can be bounded.
    let mut met: BTreeSet<(&str, &str)> = BTreeSet::new();
    for (version, row) in versions {
        let life = found.entry(row.uid.to_string()).or_default();
        let kinds = [
            ("created", true, &mut life.created, "the pod was created"),
            ("bound", row.node.is_some(), &mut life.bound, "the pod was bound"),
            ("ready", row.ready == Some(true), &mut life.ready, "a status says ready"),
        ];
        for (kind, shown, place, what) in kinds {
            if !shown || !met.insert((row.uid.as_ref(), kind)) || place.is_some() || row.event == "LISTED" {
                continue;
            }
            if kind == "created" && row.event != "ADDED" {
                continue;
            }
            let evidence = Evidence {
                path: path(row.source).into(),
                record: row.record,
                what: what.into(),
                ..Evidence::default()
            };
            let told = Observed {
                low: None,
                high: row.time.map(|time| time.saturating_add(row.resolution.unwrap_or(0))),
                clock: row.clock.to_string(),
                witness: row.witness.to_string(),
                evidence: vec![evidence],
            };
            let at = bounded(told, version);
            if at.low.is_some() && at.high.is_some() {
                *place = Some(at);
            }
        }
    }
}

fn lives(
    rows: &[PodRow<'static>],
    bindings: &[AuditRow<'static>],
    node: &str,
    path: &dyn Fn(i32) -> String,
) -> HashMap<String, Life> {
    let mut found: HashMap<String, Life> = HashMap::new();
    // A binding names its pod; its answer is a bare status without a uid.
    let mut names: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    for row in rows.iter().filter(|row| !row.uid.is_empty()) {
        names.insert((&row.namespace, &row.name), &row.uid);
    }
    let observed = |row: &PodRow<'_>, what: &str| Observed {
        low: row.received,
        high: row.time,
        clock: row.clock.to_string(),
        witness: row.witness.to_string(),
        evidence: vec![Evidence {
            path: path(row.source).into(),
            record: row.record,
            what: what.into(),
            ..Evidence::default()
        }],
    };
    let earlier = |place: &mut Option<Observed>, new: Observed| {
        let later = place.as_ref().is_some_and(|known| known.clock != new.clock || known.high <= new.high);
        if !later {
            *place = Some(new);
        }
    };
    for row in bindings.iter().filter(|row| row.code.is_none_or(|code| (200..300).contains(&code))) {
        let pod = row.namespace.as_deref().zip(row.name.as_deref());
        let Some(uid) = pod.and_then(|pod| names.get(&pod)) else { continue };
        let evidence = Evidence {
            path: path(row.source).into(),
            record: row.record,
            what: "the pod was bound".into(),
            ..Evidence::default()
        };
        let at = Observed {
            low: Some(row.received),
            high: Some(row.stage_time),
            clock: row.clock.to_string(),
            witness: "audit".to_owned(),
            evidence: vec![evidence],
        };
        earlier(&mut found.entry((*uid).to_owned()).or_default().bound, at);
    }
    for row in rows.iter().filter(|row| !row.uid.is_empty()) {
        let life = found.entry(row.uid.to_string()).or_default();
        if row.witness == "audit" && row.received.is_some() {
            match row.event.as_ref() {
                "create" => earlier(&mut life.created, observed(row, "the pod was created")),
                _ if row.ready == Some(true) => earlier(&mut life.ready, observed(row, "a status says ready")),
                _ => {}
            }
        }
        if let (Some(true), Some(since)) = (row.ready, row.ready_since) {
            let clock = row.node.as_deref().filter(|node| !node.is_empty()).unwrap_or(node).to_owned();
            let at =
                Observed { low: Some(since), high: Some(since + SECOND), clock, ..observed(row, "condition Ready") };
            earlier(&mut life.ready_since, at);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(event: &'static str, uid: &'static str, at: i64) -> PodRow<'static> {
        PodRow {
            clock: "apiserver".into(),
            witness: "audit".into(),
            event: event.into(),
            namespace: "default".into(),
            name: "p".into(),
            uid: uid.into(),
            received: Some(at),
            time: Some(at + 10),
            ..Default::default()
        }
    }

    #[test]
    fn what_a_watch_delivered_is_a_moment_where_its_revision_is_bounded() {
        let version = |number: &'static str, event: &'static str, node: Option<&'static str>, ready| PodRow {
            witness: "watch".into(),
            resource_version: number.into(),
            node: node.map(Into::into),
            ready,
            ..row(event, "u", 0)
        };
        let rows = [
            version("7", "MODIFIED", Some("node-a"), Some(false)),
            version("5", "ADDED", None, None),
            version("9", "LISTED", Some("node-a"), Some(true)),
            version("11", "MODIFIED", Some("node-a"), Some(true)),
        ];
        let mut found = HashMap::new();
        let mut bounded = |told: Observed, number: u64| Observed { low: Some(number as i64), ..told };
        watched(&rows, &mut bounded, &|_| String::new(), &mut found);
        let low = |one: &Option<Observed>| one.as_ref().and_then(|one| one.low);
        let life = &found["u"];
        // It was ready before the list showed it: nobody knows since when.
        assert_eq!((low(&life.created), low(&life.bound), low(&life.ready)), (Some(5), Some(7), None));
        let mut open = HashMap::new();
        watched(&rows, &mut |told, _| told, &|_| String::new(), &mut open);
        assert_eq!(open["u"], Life::default());
    }

    #[test]
    fn a_life_is_put_together_from_requests() {
        let ready = |at| PodRow { ready: Some(true), ready_since: Some(SECOND), ..row("patch/status", "u", at) };
        let rows = [row("create", "u", 100), ready(400), ready(300)];
        let binding = AuditRow {
            namespace: Some("default".into()),
            name: Some("p".into()),
            received: 200,
            stage_time: 210,
            code: Some(201),
            ..Default::default()
        };
        let lives = lives(&rows, &[binding], "node-a", &|_| String::new());
        let life = &lives["u"];
        let low = |one: &Option<Observed>| one.as_ref().and_then(|one| one.low);
        assert_eq!((low(&life.created), low(&life.bound), low(&life.ready)), (Some(100), Some(200), Some(300)));
        let since = life.ready_since.as_ref().unwrap();
        assert_eq!((since.low, since.high, since.clock.as_str()), (Some(SECOND), Some(2 * SECOND), "node-a"));
    }
}
