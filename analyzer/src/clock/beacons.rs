//! Commits bounded by beacons: all objects of one etcd share one order of revisions.
//!
//! ```text
//! revisions     1200      1203      1207      1211
//!               beacon    slice     slice     beacon
//! recorder   s├────┤r                       s├────┤r      sent … returned, on the recorder's clock
//!             └── committed after this ──────────────┘    and before this: whatever the API server's clock says
//! ```
//!
//! A write commits between its own sending and its return. The revision of a list was the newest at some moment between the two,
//! so that an object of just that revision is older than the answer, but not newer than the question.
//!
//! Where the recorder's realtime moved, its boottime tells the time instead ([`Axis`]).

use std::collections::{BTreeMap, HashMap};

use syncline_schema::audit::AuditRow;
use syncline_schema::beacons::BeaconRow;

use super::{Constraint, Evidence};
use crate::bundle::Bundle;

/// By which clock of its machine a stream tells the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// Realtime, as all other captures of that machine.
    Realtime,
    /// Boottime: where realtime moved against it.
    Boottime,
}

/// One beacon, by the clock of its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beacon {
    /// Revision.
    pub version: u64,
    /// Whether the revision is that of a write of the recorder's own.
    pub written: bool,
    /// When it was sent, ns.
    pub sent: i64,
    /// When it had returned, ns.
    pub returned: i64,
    /// Index of the source.
    pub source: i32,
    /// Line of the source.
    pub record: i64,
}

/// The beacons of one clock.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stream {
    /// Clock domain of all times.
    pub clock: String,
    /// In the order of their revisions.
    pub all: Vec<Beacon>,
    /// For each place the beacon up to there that was sent last.
    latest: Vec<usize>,
    /// For each place the beacon from there on that returned first.
    earliest: Vec<usize>,
    /// How far realtime moved against boottime between any two stamps, ns: null where the stamps do not tell.
    pub moved: Option<i64>,
}

/// Two beacons that contradict each other: the newer revision had returned before the older one was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contradiction {
    pub older: Beacon,
    pub newer: Beacon,
}

impl Stream {
    /// The last beacon that was certainly committed before an object of a revision: that was not committed before it was sent.
    pub fn before(&self, version: u64) -> Option<&Beacon> {
        let count = self.all.partition_point(|one| one.version < version);
        self.all.get(*self.latest.get(count.checked_sub(1)?)?)
    }

    /// The first beacon that was certainly not committed before an object of a revision: that was committed before it returned.
    pub fn behind(&self, version: u64) -> Option<&Beacon> {
        let first = self.all.partition_point(|one| one.version < version);
        self.all.get(*self.earliest.get(first)?)
    }

    /// The recorder's own write that made a revision.
    pub fn own(&self, version: u64) -> Option<&Beacon> {
        let first = self.all.partition_point(|one| one.version < version);
        self.all[first..].iter().take_while(|one| one.version == version).find(|one| one.written)
    }

    /// Median and largest time between one beacon's sending and the next one's, ns; null of fewer than two.
    pub fn cadence(&self) -> Option<(i64, i64)> {
        let mut sent: Vec<i64> = self.all.iter().map(|one| one.sent).collect();
        sent.sort_unstable();
        let mut gaps: Vec<i64> = sent.windows(2).map(|pair| pair[1] - pair[0]).collect();
        gaps.sort_unstable();
        Some((*gaps.get(gaps.len() / 2)?, *gaps.last()?))
    }
}

/// Puts the beacons of each clock in order. `axis` says by which clock a machine's are told; one of them that lacks the stamps for it
/// is left out. A stream that contradicts itself (several stores, a store that was restored) bounds nothing and is returned apart.
pub fn streams(
    rows: &[BeaconRow<'static>],
    axis: impl Fn(&str) -> Axis,
) -> (Vec<Stream>, Vec<(String, Contradiction)>) {
    let mut clocks: BTreeMap<&str, Vec<&BeaconRow<'_>>> = BTreeMap::new();
    for row in rows {
        clocks.entry(&row.clock).or_default().push(row);
    }
    let (mut found, mut wrong) = (Vec::new(), Vec::new());
    for (clock, rows) in clocks {
        let axis = axis(clock);
        let mut all: Vec<Beacon> = rows.iter().filter_map(|row| beacon(row, axis)).collect();
        all.sort_by_key(|one| (one.version, one.sent, one.source, one.record));
        if all.is_empty() {
            continue;
        }
        let latest = running((0..all.len()).collect(), |a, b| all[a].sent > all[b].sent);
        let mut earliest = running((0..all.len()).rev().collect(), |a, b| all[a].returned < all[b].returned);
        earliest.reverse();
        if let Some(contradiction) = contradiction(&all, &latest) {
            wrong.push((clock.to_owned(), contradiction));
            continue;
        }
        let clock = if axis == Axis::Boottime { format!("{clock}/boottime") } else { clock.to_owned() };
        found.push(Stream { clock, moved: moved(&rows), all, latest, earliest });
    }
    (found, wrong)
}

fn beacon(row: &BeaconRow<'_>, axis: Axis) -> Option<Beacon> {
    let (sent, returned) = match axis {
        Axis::Realtime => (row.sent, row.returned),
        Axis::Boottime => (row.sent_boottime?, row.returned_boottime?),
    };
    // A realtime that was set back meanwhile tells nothing.
    (sent <= returned).then_some(Beacon {
        version: row.resource_version.parse().ok()?,
        written: row.by != "read",
        sent,
        returned,
        source: row.source,
        record: row.record,
    })
}

/// Along an order, for each place the best so far.
fn running(order: Vec<usize>, better: impl Fn(usize, usize) -> bool) -> Vec<usize> {
    let mut best: Option<usize> = None;
    let step = |at: usize| {
        let kept = match best {
            Some(known) if !better(at, known) => known,
            _ => at,
        };
        best = Some(kept);
        kept
    };
    order.into_iter().map(step).collect()
}

fn contradiction(all: &[Beacon], latest: &[usize]) -> Option<Contradiction> {
    all.iter().zip(latest).find_map(|(newer, latest)| {
        let older = all[*latest];
        (older.version < newer.version && older.sent > newer.returned).then_some(Contradiction { older, newer: *newer })
    })
}

/// How far realtime and boottime moved against each other, as all stamps tell; null where one lacks.
fn moved(rows: &[&BeaconRow<'_>]) -> Option<i64> {
    let mut range: Option<(i64, i64)> = None;
    for row in rows {
        for apart in [row.sent - row.sent_boottime?, row.returned - row.returned_boottime?] {
            let (low, high) = range.get_or_insert((apart, apart));
            (*low, *high) = ((*low).min(apart), (*high).max(apart));
        }
    }
    range.map(|(low, high)| high - low)
}

/// The audit log tells on the API server's clock, and beacons on the recorder's, when a version was committed. Versions of slices
/// and the beacons' own are taken: their answers name a revision that the request made.
pub fn gather(
    bundle: &Bundle,
    audit: &[AuditRow<'static>],
    moved: &HashMap<String, i64>,
    evidence: &dyn Fn(i32, i64, String) -> Evidence,
    found: &mut Vec<Constraint>,
) -> anyhow::Result<()> {
    let rows = bundle.rows::<BeaconRow<'static>>(None)?;
    let axis = |clock: &str| if moved.contains_key(clock) { Axis::Boottime } else { Axis::Realtime };
    let (streams, _) = streams(&rows, axis);
    if streams.is_empty() {
        return Ok(());
    }
    // A request that changes nothing is answered with the revision of an earlier one.
    let mut first: BTreeMap<u64, &AuditRow<'_>> = BTreeMap::new();
    let made = |row: &&AuditRow<'_>| {
        // Events often lie in an etcd of their own, with revisions of its own.
        let shared = row.resource.as_deref() != Some("events") && row.verb != "delete" && row.subresource.is_none();
        shared && row.code.is_none_or(|code| (200..300).contains(&code))
    };
    for row in audit.iter().filter(made) {
        let Some(version) = row.resource_version.as_deref().and_then(|text| text.parse().ok()) else { continue };
        let known = first.entry(version).or_insert(row);
        if row.received < known.received {
            *known = row;
        }
    }
    for (version, row) in first {
        let slice = row.resource.as_deref() == Some("endpointslices");
        for stream in streams.iter().filter(|stream| stream.clock != row.clock) {
            let own = stream.own(version);
            let (before, behind) = match (own, slice) {
                (Some(own), _) => (Some(own), Some(own)),
                (None, true) => (stream.before(version), stream.behind(version)),
                (None, false) => continue,
            };
            let bound = |low, high, at, record: i64, source: i32| Constraint {
                from: row.clock.to_string(),
                to: stream.clock.clone(),
                low,
                high,
                kind: "beacon".to_owned(),
                at: Some(at),
                slack: 0,
                evidence: evidence(
                    source,
                    record,
                    format!("beacon beside version {version}, which the audit log tells of"),
                ),
            };
            found.extend(
                before.map(|one| bound(Some(one.sent - row.stage_time), None, row.stage_time, one.record, one.source)),
            );
            found.extend(
                behind.map(|one| bound(None, Some(one.returned - row.received), row.received, one.record, one.source)),
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(version: u32, sent: i64, returned: i64) -> BeaconRow<'static> {
        BeaconRow {
            record: i64::from(version),
            clock: "a".into(),
            by: "write".into(),
            resource_version: version.to_string().into(),
            sent,
            returned,
            sent_boottime: Some(sent - 1_000),
            returned_boottime: Some(returned - 1_000),
            ..BeaconRow::default()
        }
    }

    fn one(rows: &[BeaconRow<'static>]) -> Stream {
        streams(rows, |_| Axis::Realtime).0.remove(0)
    }

    fn bounds(stream: &Stream, version: u64) -> (Option<i64>, Option<i64>) {
        (stream.before(version).map(|one| one.sent), stream.behind(version).map(|one| one.returned))
    }

    #[test]
    fn a_revision_lies_between_the_beacons_around_it() {
        let stream = one(&[row(10, 100, 110), row(20, 200, 210), row(30, 300, 310)]);
        assert_eq!(bounds(&stream, 5), (None, Some(110)));
        assert_eq!(bounds(&stream, 15), (Some(100), Some(210)));
        assert_eq!(bounds(&stream, 25), (Some(200), Some(310)));
        assert_eq!(bounds(&stream, 31), (Some(300), None));
        assert_eq!(stream.own(20).map(|one| (one.sent, one.returned)), Some((200, 210)));
        assert_eq!(stream.own(21), None);
        assert_eq!((stream.cadence(), stream.moved), (Some((100, 100)), Some(0)));
    }

    #[test]
    fn an_object_of_the_revision_of_a_list_is_older_than_its_answer_only() {
        let listed = BeaconRow { by: "read".into(), ..row(20, 200, 210) };
        let stream = one(&[row(10, 100, 110), listed]);
        assert_eq!(bounds(&stream, 20), (Some(100), Some(210)));
        assert_eq!(bounds(&stream, 21), (Some(200), None));
        assert_eq!(stream.own(20), None);
    }

    #[test]
    fn answers_that_overlap_give_the_tightest_ends() {
        // Sent by several threads: the older revision was sent later, the newer one returned earlier.
        let stream = one(&[row(10, 105, 130), row(11, 100, 120), row(20, 190, 230), row(21, 180, 215)]);
        assert_eq!(bounds(&stream, 15), (Some(105), Some(215)));
    }

    #[test]
    fn a_store_that_was_restored_bounds_nothing() {
        let (good, wrong) = streams(&[row(10, 300, 310), row(20, 100, 110)], |_| Axis::Realtime);
        assert!(good.is_empty());
        assert_eq!((wrong[0].1.older.version, wrong[0].1.newer.version), (10, 20));
    }

    #[test]
    fn boottime_tells_the_time_where_realtime_moved() {
        let set_back = BeaconRow { returned: 205 - 5_000, ..row(20, 200, 210) };
        let (streams, _) = streams(&[row(10, 100, 110), set_back.clone()], |_| Axis::Boottime);
        assert_eq!(streams[0].clock, "a/boottime");
        assert_eq!(bounds(&streams[0], 15), (Some(-900), Some(-790)));
        assert_eq!(streams[0].moved, Some(5_005));
        let without = BeaconRow { sent_boottime: None, ..row(20, 200, 210) };
        let (streams, _) = super::streams(&[row(10, 100, 110), without], |_| Axis::Boottime);
        assert_eq!((streams[0].all.len(), streams[0].moved), (1, None));
    }
}
