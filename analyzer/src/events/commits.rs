//! When versions were committed, as beacons tell: between those around a version's revision ([`crate::clock::beacons`]).
//!
//! ```text
//! audit log   receipt ────── answer                 on the API server's clock
//! watch                          ── delivery        upper end only
//! beacons       sent ─────────────────── returned   on the recorder's clock, whatever the API server's says
//! ```
//!
//! What is left of all three bounds the commit. It stays on the clock of the audit log where there is one and the clocks are
//! related, else it is told on the recorder's. This rests on one assumption, which the run's findings name: that the objects lie
//! in the etcd that the beacons were written to.

use syncline_schema::beacons::BeaconRow;

use super::Observed;
use super::contradictions::Contradictions;
use crate::bundle::Bundle;
use crate::clock::beacons::{self, Axis, Beacon, Stream};
use crate::clock::{Evidence, Finding, Graph, Offset};

/// The beacons of a run.
#[derive(Clone, Debug, Default)]
pub struct Commits {
    streams: Vec<Stream>,
    /// What a reader must know of them.
    pub findings: Vec<Finding>,
    /// The request that began the action: sent and returned.
    pub request: Option<Observed>,
}

/// Realtime that moved by less against boottime only shows that the two were not read at one instant.
const READ_APART: i64 = 1_000_000;

impl Commits {
    /// Reads them.
    ///
    /// # Errors
    /// A table that cannot be read.
    pub fn read(bundle: &Bundle, clocks: &Graph, path: &dyn Fn(i32) -> String) -> anyhow::Result<Commits> {
        let rows = bundle.rows::<BeaconRow<'static>>(None)?;
        let mut found = Commits::default();
        let (streams, wrong) = beacons::streams(&rows, |clock| axis(clocks, clock));
        for (clock, contradiction) in wrong {
            found.findings.push(Finding {
                title: format!("beacons on the clock {clock} contradict each other"),
                detail: format!(
                    "revision {} had returned {:.3} ms before the older revision {} was sent: they are of several stores, the store was restored, or the clock was set back; they bound no commit",
                    contradiction.newer.version,
                    (contradiction.older.sent - contradiction.newer.returned) as f64 / 1e6,
                    contradiction.older.version
                ),
                evidence: vec![cite(&contradiction.older, path), cite(&contradiction.newer, path)],
            });
        }
        for stream in &streams {
            found.findings.extend(told(stream, clocks, path));
        }
        found.streams = streams.into_iter().map(|stream| widened(stream, clocks)).collect();
        let action =
            rows.iter().filter(|row| row.by == "action" && row.sent <= row.returned).min_by_key(|row| row.sent);
        found.request = action.map(|row| Observed {
            low: Some(row.sent),
            high: Some(row.returned),
            clock: row.clock.to_string(),
            witness: "beacon".to_owned(),
            evidence: vec![Evidence {
                path: path(row.source).into(),
                record: row.record,
                what: "the request that began the action: sent, returned".into(),
                ..Evidence::default()
            }],
        });
        Ok(found)
    }

    /// Cuts what is known of a commit by the beacons around it. `revisions`: it made an object newer than all that is older than
    /// the first, and not newer than the second.
    pub fn narrow(
        &self,
        told: Observed,
        revisions: (Option<u64>, Option<u64>),
        clocks: &Graph,
        contradictions: &mut Contradictions,
        path: &dyn Fn(i32) -> String,
    ) -> Observed {
        let mut found = told;
        for stream in &self.streams {
            let before = revisions.0.and_then(|version| stream.before(version));
            let behind = revisions.1.and_then(|version| stream.behind(version));
            if before.is_none() && behind.is_none() {
                continue;
            }
            let own = Observed {
                low: before.map(|one| one.sent),
                high: behind.map(|one| one.returned),
                clock: stream.clock.clone(),
                witness: "beacon".to_owned(),
                evidence: [before, behind].into_iter().flatten().map(|one| cite(one, path)).collect(),
            };
            found = intersect(found, own, clocks, contradictions);
        }
        found
    }
}

/// Boottime where readings show that realtime moved against it.
fn axis(clocks: &Graph, clock: &str) -> Axis {
    let boottime = format!("{clock}/boottime");
    let moves = clocks.edges.iter().any(|edge| {
        let ends = [edge.from.as_str(), edge.to.as_str()];
        ends.contains(&clock) && ends.contains(&boottime.as_str()) && !edge.pieces.is_empty()
    });
    if moves { Axis::Boottime } else { Axis::Realtime }
}

/// How far a realtime moved that no reading relates to boottime; zero where one does.
fn unread(stream: &Stream, clocks: &Graph) -> i64 {
    let related = stream.clock.ends_with("/boottime")
        || clocks.offset(&stream.clock, &format!("{}/boottime", stream.clock)).is_some();
    if related { 0 } else { stream.moved.filter(|moved| *moved > READ_APART).unwrap_or(0) }
}

/// A stream whose bounds hold whenever its clock moved.
fn widened(mut stream: Stream, clocks: &Graph) -> Stream {
    let by = unread(&stream, clocks);
    for one in &mut stream.all {
        (one.sent, one.returned) = (one.sent - by, one.returned + by);
    }
    stream
}

/// What a stream's bounds rest on.
fn told(stream: &Stream, clocks: &Graph, path: &dyn Fn(i32) -> String) -> Option<Finding> {
    let (first, last) = stream.all.first().zip(stream.all.last())?;
    let cadence = stream.cadence().map_or_else(String::new, |(median, largest)| {
        format!(", {:.0} ms apart (median; at most {:.0} ms)", median as f64 / 1e6, largest as f64 / 1e6)
    });
    let moved = match unread(stream, clocks) {
        0 => String::new(),
        by => format!(
            "; the clock {} moved by {:.3} ms against its boottime, and no reading of both tells when: the bounds are wider by that",
            stream.clock,
            by as f64 / 1e6
        ),
    };
    Some(Finding {
        title: "commits are bounded by beacons".to_owned(),
        detail: format!(
            "{} revisions that the recorder learnt on the clock {}{cadence}: a version was committed between those around it. This takes EndpointSlices and the beacons to lie in one etcd (so it is unless --etcd-servers-overrides parts them), and resourceVersions to be its revisions{moved}",
            stream.all.len(),
            stream.clock
        ),
        evidence: vec![cite(first, path), cite(last, path)],
    })
}

fn cite(one: &Beacon, path: &dyn Fn(i32) -> String) -> Evidence {
    Evidence {
        path: path(one.source).into(),
        record: one.record,
        what: format!("beacon: revision {}", one.version).into(),
        ..Evidence::default()
    }
}

/// Two accounts of one commit: on the clock of the audit log where it is one of them and related, else on the beacons'.
fn intersect(told: Observed, beacon: Observed, clocks: &Graph, contradictions: &mut Contradictions) -> Observed {
    let (base, other) = if told.low.is_some() { (&told, &beacon) } else { (&beacon, &told) };
    // Each end by what the clocks did at that moment.
    let moved = |time: Option<i64>, end: fn(Offset) -> i64| match time {
        None => Some(None),
        Some(time) => {
            let offset = clocks.offset_within(&other.clock, &base.clock, Some(time), Some(time))?;
            Some(Some(time + end(offset)))
        }
    };
    let ends = moved(other.low, |offset| offset.low).zip(moved(other.high, |offset| offset.high));
    let Some((low, high)) = ends else {
        // Nothing relates them: the recorder's clock is that of the dataplane it looked at.
        return if beacon.low.is_some() && beacon.high.is_some() { beacon } else { told };
    };
    let low = base.low.max(low);
    let high = [base.high, high].into_iter().flatten().min();
    if let Some((low, high)) = low.zip(high).filter(|(low, high)| low > high) {
        contradictions.add(
            format!(
                "{} and beacons tell that the same versions were committed at different times: another store, or a clock that is not what it is taken for",
                told.witness
            ),
            low - high,
            told.evidence.iter().chain(&beacon.evidence).cloned(),
        );
        return told;
    }
    let witness = match told.witness.as_str() {
        "" | "watch" => "beacon".to_owned(),
        "beacon" => told.witness.clone(),
        other if other.contains("beacon") => other.to_owned(),
        other => format!("{other} ∩ beacon"),
    };
    let mut evidence = told.evidence.clone();
    evidence.extend(beacon.evidence.iter().cloned());
    Observed { low, high, clock: base.clock.clone(), witness, evidence }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    fn row(version: u32, sent: i64) -> BeaconRow<'static> {
        BeaconRow {
            record: i64::from(version),
            clock: "node-a".into(),
            by: "write".into(),
            resource_version: version.to_string().into(),
            sent,
            returned: sent + 3 * MS,
            ..BeaconRow::default()
        }
    }

    fn commits() -> Commits {
        let rows = [row(10, 100 * MS), row(20, 200 * MS), row(30, 300 * MS)];
        Commits { streams: beacons::streams(&rows, |_| Axis::Realtime).0, ..Commits::default() }
    }

    fn told(witness: &str, clock: &str, low: Option<i64>, high: Option<i64>) -> Observed {
        Observed { low, high, clock: clock.to_owned(), witness: witness.to_owned(), evidence: Vec::new() }
    }

    fn narrowed(told: Observed, revisions: (Option<u64>, Option<u64>)) -> (Observed, u64) {
        let mut contradictions = Contradictions::default();
        let found = commits().narrow(told, revisions, &Graph::default(), &mut contradictions, &|_| String::new());
        (found, contradictions.count())
    }

    #[test]
    fn a_delivery_and_the_beacon_ahead_of_it_bound_a_commit() {
        let (found, count) = narrowed(told("watch", "node-a", None, Some(160 * MS)), (Some(15), Some(15)));
        assert_eq!((found.low, found.high, count), (Some(100 * MS), Some(160 * MS), 0));
        assert_eq!((found.witness.as_str(), found.clock.as_str(), found.evidence.len()), ("beacon", "node-a", 2));
    }

    #[test]
    fn a_deletion_is_later_than_its_revision_and_a_gap_begins_behind_the_version_before() {
        let watch = || told("watch", "node-a", None, Some(290 * MS));
        assert_eq!(narrowed(watch(), (Some(15), None)).0.low, Some(100 * MS));
        let (found, _) = narrowed(watch(), (Some(13), Some(25)));
        assert_eq!((found.low, found.high), (Some(100 * MS), Some(290 * MS)));
        assert_eq!(narrowed(watch(), (None, Some(15))).0.high, Some(203 * MS));
    }

    #[test]
    fn a_delivery_ahead_of_the_beacon_that_is_older_is_a_contradiction() {
        let (found, count) = narrowed(told("watch", "node-a", None, Some(150 * MS)), (Some(25), Some(25)));
        assert_eq!((found.low, found.high, count), (None, Some(150 * MS), 1));
    }

    #[test]
    fn an_audit_log_on_an_unrelated_clock_gives_way() {
        let audit = told("audit", "apiserver", Some(5), Some(9));
        let (found, count) = narrowed(audit, (Some(15), Some(15)));
        assert_eq!((found.low, found.high, found.clock.as_str()), (Some(100 * MS), Some(203 * MS), "node-a"));
        assert_eq!(count, 0);
    }

    #[test]
    fn what_no_beacon_surrounds_is_left_as_it_was_told() {
        let audit = told("audit", "apiserver", Some(5), Some(9));
        assert_eq!(narrowed(audit.clone(), (None, None)).0, audit);
    }
}
