//! The life of every endpoint: each change of its readiness is an episode.
//!
//! The union of a Service's slices is replayed version by version. A change to ready (null counts as ready) is an
//! addition, a change away from ready, or out of the slices, a removal. A version that several witnesses saw (audit
//! log, watch) is one version: it was committed between the receipt of its request and the earliest of the answer's
//! stamp and the first delivery, and between the beacons around its revision ([`super::commits`]).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use syncline_schema::endpoints::EndpointRow;

use super::commits::Commits;
use super::contradictions::Contradictions;
use super::received::Received;
use super::{Direction, Endpoint, Observed};
use crate::clock::{Evidence, Graph};

/// One change, before the dataplane was looked at.
#[derive(Clone, Debug)]
pub struct ApiChange {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// Whether it came or went.
    pub direction: Direction,
    /// Number of this change among the endpoint's in this direction, from 0. What was ready at first has come once.
    pub number: usize,
    /// When it was committed.
    pub committed: Arc<Observed>,
    /// When the proxy of a node received the version, by node, where its log tells.
    pub received: Arc<BTreeMap<String, Arc<Observed>>>,
}

/// What else bounds a commit, beside the audit event and the deliveries by watches.
pub struct Bounds<'a> {
    /// Handler lines of proxies.
    pub received: &'a Received,
    /// Ready conditions of pods, by uid: a pod that lists as ready was so before.
    pub ready: &'a HashMap<String, Observed>,
    /// Revisions that a recorder knew the times of.
    pub commits: &'a Commits,
    /// Contradictions between clocks that were met.
    pub contradictions: &'a mut Contradictions,
}

/// One observed version of one slice.
struct Version<'r> {
    order: (u64, i64),
    slice: &'r str,
    created: bool,
    /// Between which revisions its changes were made: after the first, and not after the second.
    revisions: (Option<u64>, Option<u64>),
    rows: Vec<&'r EndpointRow<'static>>,
    witnesses: BTreeMap<(i32, i64), &'r EndpointRow<'static>>,
}

impl Version<'_> {
    /// Of a deletion the newest revision that a watch gave the slice: it was deleted then or later.
    fn deletion(&self) -> Option<u64> {
        let watched = self.witnesses.values().filter(|row| row.witness == "watch");
        watched.filter_map(|row| row.resource_version.parse().ok()).max()
    }
}

/// All changes of all Services, in the order of their versions.
pub fn changes(
    rows: &[EndpointRow<'static>],
    clocks: &Graph,
    bounds: &mut Bounds<'_>,
    path: &dyn Fn(i32) -> String,
) -> Vec<ApiChange> {
    let slices = rows.iter().any(|row| row.kind == "EndpointSlice");
    let wanted = if slices { "EndpointSlice" } else { "Endpoints" };
    let begun = first_times(rows);
    let mut services: BTreeMap<String, BTreeMap<(&str, &str), Version<'_>>> = BTreeMap::new();
    let named = services_of_slices(rows);
    for row in rows.iter().filter(|row| row.kind == wanted && row.witness != "list") {
        // An audit event of a deletion may answer with a status: then only the slice is known.
        let service = match row.service.as_ref() {
            "" => named.get(&(row.namespace.as_ref(), row.slice.as_ref())).map(|(service, _)| *service),
            service => Some(service),
        };
        let Some(service) = service else { continue };
        let deleted = row.event == "DELETED" || row.event == "delete";
        let version = if deleted { "deleted" } else { row.resource_version.as_ref() };
        let known = named.get(&(row.namespace.as_ref(), row.slice.as_ref())).map(|(_, uid)| *uid);
        let uid = match row.slice_uid.as_ref() {
            "" => known.filter(|uid| !uid.is_empty()).unwrap_or(row.slice.as_ref()),
            uid => uid,
        };
        let all = services.entry(format!("{}/{service}", row.namespace)).or_default();
        let entry = all.entry((uid, version)).or_insert_with(|| Version {
            order: (row.resource_version.parse().unwrap_or(0), row.time.unwrap_or(0)),
            slice: uid,
            created: false,
            revisions: (None, None),
            rows: Vec::new(),
            witnesses: BTreeMap::new(),
        });
        // A slice that its first witness saw made, or that came up after the watch was established, began empty.
        let late = begun.get(&row.source).zip(row.time).is_some_and(|(begun, time)| time - begun > 2_000_000_000);
        entry.created |= row.event == "create" || (["ADDED", "LISTED"].contains(&row.event.as_ref()) && late);
        if entry.witnesses.is_empty() || entry.witnesses.contains_key(&(row.source, row.record)) {
            let first = entry.witnesses.keys().next().is_none_or(|first| *first == (row.source, row.record));
            if first {
                entry.rows.push(row);
            }
        }
        entry.order.0 = entry.order.0.max(row.resource_version.parse().unwrap_or(0));
        entry.witnesses.insert((row.source, row.record), row);
    }
    let mut found = Vec::new();
    for (service, versions) in services {
        let mut versions: Vec<Version<'_>> = versions.into_values().collect();
        // A deletion without a version of its own follows what had been seen by then.
        let seen: Vec<(u64, i64)> = versions.iter().map(|version| version.order).collect();
        for version in versions.iter_mut().filter(|version| version.order.0 == 0) {
            let before = seen.iter().filter(|(_, time)| *time <= version.order.1);
            version.order.0 = before.map(|(number, _)| *number).max().unwrap_or(0);
        }
        versions.sort_by_key(|version| version.order);
        set_revisions(&mut versions);
        replay(&service, &versions, clocks, bounds, path, &mut found);
    }
    found
}

/// Tells for each version between which revisions it came to be. One that was seen in a list alone, when a watch began anew, may hold
/// changes of versions that nobody saw: they came after the version of the slice before it.
fn set_revisions(versions: &mut [Version<'_>]) {
    let mut known: HashMap<&str, u64> = HashMap::new();
    for version in versions {
        let number = version.order.0;
        let before = known.get(version.slice).copied();
        let events: Vec<&str> = version.witnesses.values().map(|row| row.event.as_ref()).collect();
        let deleted = events.iter().any(|event| ["DELETED", "delete"].contains(event));
        let whole = events.iter().any(|event| match *event {
            "LISTED" => false,
            "ADDED" => before.is_none(),
            _ => true,
        });
        version.revisions = match (number, deleted, whole) {
            (0, ..) => (None, None),
            // Which revision the deletion itself made is not told by all versions of the API.
            (_, true, _) => (version.deletion(), None),
            (_, false, true) => (Some(number), Some(number)),
            (_, false, false) => (before.map(|before| before + 1), Some(number)),
        };
        if deleted {
            known.remove(version.slice);
        } else {
            known.insert(version.slice, number);
        }
    }
}

/// Service and uid of each slice, by namespace and name, from the rows that say them; of a name that was used again the last.
fn services_of_slices<'r>(rows: &'r [EndpointRow<'static>]) -> HashMap<(&'r str, &'r str), (&'r str, &'r str)> {
    let told = rows.iter().filter(|row| !row.service.is_empty());
    told.map(|row| ((row.namespace.as_ref(), row.slice.as_ref()), (row.service.as_ref(), row.slice_uid.as_ref())))
        .collect()
}

/// First time of each source: a watch begins with what is there already.
fn first_times(rows: &[EndpointRow<'static>]) -> HashMap<i32, i64> {
    let mut first: HashMap<i32, i64> = HashMap::new();
    for row in rows.iter().filter(|row| row.witness == "watch") {
        if let Some(time) = row.time {
            first.entry(row.source).and_modify(|known| *known = (*known).min(time)).or_insert(time);
        }
    }
    first
}

fn replay(
    service: &str,
    versions: &[Version<'_>],
    clocks: &Graph,
    bounds: &mut Bounds<'_>,
    path: &dyn Fn(i32) -> String,
    found: &mut Vec<ApiChange>,
) {
    let mut slices: HashMap<&str, BTreeSet<Endpoint>> = HashMap::new();
    let mut ready: BTreeMap<Endpoint, usize> = BTreeMap::new();
    let mut numbers: HashMap<(Endpoint, Direction), usize> = HashMap::new();
    for version in versions {
        let now: BTreeSet<Endpoint> = version.rows.iter().filter_map(|row| endpoint(service, row)).collect();
        let before = slices.insert(version.slice, now.clone());
        let initial = before.is_none() && !version.created;
        let before = before.unwrap_or_default();
        let received = version
            .rows
            .first()
            .and_then(|row| bounds.received.get(&(row.slice_uid.to_string(), row.resource_version.to_string())))
            .cloned()
            .map(Arc::new)
            .unwrap_or_default();
        let told = committed(version, &received, clocks, bounds.contradictions, path);
        let committed = Arc::new(bounds.commits.narrow(told, version.revisions, clocks, bounds.contradictions, path));
        for endpoint in now.difference(&before) {
            let count = ready.entry(endpoint.clone()).or_default();
            *count += 1;
            if *count == 1 {
                let number = next(&mut numbers, endpoint, Direction::Added);
                if initial {
                    continue;
                }
                found.push(ApiChange {
                    endpoint: Arc::new(endpoint.clone()),
                    direction: Direction::Added,
                    number,
                    committed: since_ready(&committed, endpoint, bounds.ready, clocks),
                    received: received.clone(),
                });
            }
        }
        for endpoint in before.difference(&now) {
            let Some(count) = ready.get_mut(endpoint) else { continue };
            *count = count.saturating_sub(1);
            if *count == 0 {
                ready.remove(endpoint);
                let number = next(&mut numbers, endpoint, Direction::Removed);
                found.push(ApiChange {
                    endpoint: Arc::new(endpoint.clone()),
                    direction: Direction::Removed,
                    number,
                    committed: committed.clone(),
                    received: received.clone(),
                });
            }
        }
    }
}

/// Counts a change of an endpoint; answers how many there were before.
fn next(numbers: &mut HashMap<(Endpoint, Direction), usize>, endpoint: &Endpoint, direction: Direction) -> usize {
    let number = numbers.entry((endpoint.clone(), direction)).or_default();
    *number += 1;
    *number - 1
}

/// The endpoint of a row, where it is ready.
fn endpoint(service: &str, row: &EndpointRow<'_>) -> Option<Endpoint> {
    if !row.ready.unwrap_or(true) {
        return None;
    }
    Some(Endpoint {
        service: service.to_owned(),
        address: row.address.as_deref()?.to_owned(),
        port: row.port.unwrap_or(0),
        protocol: row.protocol.as_deref().unwrap_or("TCP").to_ascii_lowercase(),
        target_uid: row.target_uid.as_deref().unwrap_or_default().to_owned(),
        target: row.target.as_deref().unwrap_or_default().to_owned(),
    })
}

/// Where no request bounds a commit from below, its pod's Ready condition does: the slice lists what the kubelet said.
fn since_ready(
    committed: &Arc<Observed>,
    endpoint: &Endpoint,
    ready: &HashMap<String, Observed>,
    clocks: &Graph,
) -> Arc<Observed> {
    if committed.low.is_some() {
        return Arc::clone(committed);
    }
    let since = ready.get(&endpoint.target_uid).and_then(|since| {
        let offset = clocks.offset(&since.clock, &committed.clock)?;
        Some((since.low? + offset.low, since.evidence.clone()))
    });
    let Some((low, evidence)) = since.filter(|(low, _)| committed.high.is_none_or(|high| *low <= high)) else {
        return Arc::clone(committed);
    };
    let mut found = Observed::clone(committed);
    found.low = Some(low);
    found.evidence.extend(evidence);
    Arc::new(found)
}

/// A stamp of whole seconds was taken up to a second after what it says.
fn latest(row: &EndpointRow<'_>) -> Option<i64> {
    Some(row.time?.saturating_add(row.resolution.unwrap_or(0)))
}

/// Between the request's receipt and the earliest of the answer, the first delivery by a watch, and a proxy's own line.
fn committed(
    version: &Version<'_>,
    received: &BTreeMap<String, Arc<Observed>>,
    clocks: &Graph,
    contradictions: &mut Contradictions,
    path: &dyn Fn(i32) -> String,
) -> Observed {
    let audit = version.witnesses.values().find(|row| row.witness == "audit" && row.received.is_some());
    let watches = || version.witnesses.values().filter(|row| row.witness == "watch" && row.time.is_some());
    let evidence = |row: &EndpointRow<'_>, what: &str| Evidence {
        path: path(row.source).into(),
        record: row.record,
        what: what.into(),
        ..Evidence::default()
    };
    let Some(audit) = audit else {
        // Without the request only a delivery is known: an upper bound.
        let first = watches().min_by_key(|row| (latest(row), row.source, row.record));
        return Observed {
            low: None,
            high: first.and_then(|row| latest(row)),
            clock: first.map(|row| row.clock.to_string()).unwrap_or_default(),
            witness: "watch".to_owned(),
            evidence: first.map(|row| evidence(row, "first delivery by a watch")).into_iter().collect(),
        };
    };
    let mut found = Observed {
        low: audit.received,
        high: audit.time,
        clock: audit.clock.to_string(),
        witness: "audit".to_owned(),
        evidence: vec![evidence(audit, "audit event of the slice's update")],
    };
    let deliveries = watches().filter_map(|row| {
        let proof = evidence(row, "first delivery by a watch");
        Some(("watch", latest(row)?, row.clock.as_ref(), proof))
    });
    let lines =
        received.values().filter_map(|at| Some(("log", at.high?, at.clock.as_str(), at.evidence.first()?.clone())));
    for (witness, time, clock, proof) in deliveries.chain(lines) {
        let Some(offset) = clocks.offset(clock, &audit.clock) else { continue };
        let converted = time + offset.high;
        if let Some(begun) = audit.received.filter(|begun| converted < *begun) {
            contradictions.add(
                format!(
                    "{witness} on the clock {clock} tells of versions before the API server received their requests"
                ),
                begun - converted,
                [evidence(audit, "audit event of the slice's update"), proof],
            );
        } else if found.high.is_none_or(|high| converted < high) {
            found.high = Some(converted);
            witness.clone_into(&mut found.witness);
            found.evidence.truncate(1);
            found.evidence.push(proof);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(version: &'static str, time: i64, address: &'static str, ready: Option<bool>) -> EndpointRow<'static> {
        EndpointRow {
            record: time,
            clock: "operator".into(),
            witness: "watch".into(),
            time: Some(time),
            event: "MODIFIED".into(),
            kind: "EndpointSlice".into(),
            namespace: "default".into(),
            service: "test".into(),
            slice: "test-1".into(),
            slice_uid: "u".into(),
            resource_version: version.into(),
            address: Some(address.into()),
            port: Some(80),
            ready,
            ..Default::default()
        }
    }

    fn directions(rows: &[EndpointRow<'static>]) -> Vec<(String, Direction)> {
        let (received, ready, commits) = (Received::new(), HashMap::new(), Commits::default());
        let mut contradictions = Contradictions::default();
        let mut bounds =
            Bounds { received: &received, ready: &ready, commits: &commits, contradictions: &mut contradictions };
        changes(rows, &Graph::default(), &mut bounds, &|_| String::new())
            .into_iter()
            .map(|one| (one.endpoint.address.clone(), one.direction))
            .collect()
    }

    #[test]
    fn what_was_there_at_first_is_no_addition() {
        assert!(directions(&[row("1", 1, "10.0.0.1", None)]).is_empty());
    }

    #[test]
    fn a_deletion_that_names_the_slice_only_removes_its_endpoints() {
        let gone = EndpointRow {
            event: "delete".into(),
            service: "".into(),
            slice_uid: "".into(),
            resource_version: "".into(),
            address: None,
            ..row("3", 3, "", None)
        };
        let rows = [row("1", 1, "10.0.0.1", Some(false)), row("2", 2, "10.0.0.1", Some(true)), gone];
        assert_eq!(
            directions(&rows),
            [("10.0.0.1".to_owned(), Direction::Added), ("10.0.0.1".to_owned(), Direction::Removed)]
        );
    }

    #[test]
    fn ready_unready_ready_are_three_episodes() {
        let rows = [
            row("1", 1, "10.0.0.1", Some(false)),
            row("2", 2, "10.0.0.1", Some(true)),
            row("3", 3, "10.0.0.1", Some(false)),
            row("4", 4, "10.0.0.1", None),
        ];
        let found: Vec<Direction> = directions(&rows).into_iter().map(|(_, direction)| direction).collect();
        assert_eq!(found, [Direction::Added, Direction::Removed, Direction::Added]);
    }

    #[test]
    fn versions_are_ordered_by_their_number_not_by_their_arrival() {
        let rows =
            [row("1", 1, "10.0.0.1", None), row("10", 3, "10.0.0.1", Some(false)), row("9", 4, "10.0.0.1", Some(true))];
        assert_eq!(directions(&rows).len(), 1, "version 9 comes before version 10");
    }

    #[test]
    fn a_delivery_ahead_of_its_request_is_a_finding() {
        let made = EndpointRow {
            witness: "audit".into(),
            clock: "operator".into(),
            received: Some(1_000_000),
            source: 1,
            ..row("2", 1_200_000, "10.0.0.1", Some(true))
        };
        let seen = row("2", 400_000, "10.0.0.1", Some(true));
        let (received, ready, commits) = (Received::new(), HashMap::new(), Commits::default());
        let mut contradictions = Contradictions::default();
        let mut bounds =
            Bounds { received: &received, ready: &ready, commits: &commits, contradictions: &mut contradictions };
        let first = row("1", 1, "10.0.0.1", Some(false));
        let found = changes(&[first, made, seen], &Graph::default(), &mut bounds, &|_| String::new());
        assert_eq!((found[0].committed.low, found[0].committed.high), (Some(1_000_000), Some(1_200_000)));
        let findings = contradictions.findings();
        assert_eq!(findings.len(), 1);
        assert!(findings[0].detail.contains("0.600 ms"), "{}", findings[0].detail);
    }

    #[test]
    fn without_a_request_the_ready_condition_bounds_the_commit_from_below() {
        let mut added = row("2", 5_000_000_000, "10.0.0.1", Some(true));
        added.target_uid = Some("p".into());
        let since = Observed {
            low: Some(3_000_000_000),
            high: Some(4_000_000_000),
            clock: "operator".to_owned(),
            witness: "watch".to_owned(),
            evidence: Vec::new(),
        };
        let (received, commits) = (Received::new(), Commits::default());
        let ready = HashMap::from([("p".to_owned(), since)]);
        let mut contradictions = Contradictions::default();
        let mut bounds =
            Bounds { received: &received, ready: &ready, commits: &commits, contradictions: &mut contradictions };
        let first = row("1", 1, "10.0.0.2", Some(true));
        let found = changes(&[first, added], &Graph::default(), &mut bounds, &|_| String::new());
        let found = found.iter().find(|one| one.endpoint.target_uid == "p").unwrap();
        assert_eq!((found.committed.low, found.committed.high), (Some(3_000_000_000), Some(5_000_000_000)));
    }
}
