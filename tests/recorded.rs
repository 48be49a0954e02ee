//! Real recordings held against the audit log of their cluster, which was kept apart: `tests/fixtures/recorded/*.commits.tsv` says
//! when the API server received and answered each request that made a version of an EndpointSlice.
//!
//! The cluster: API server, controllers and kube-proxy of Kubernetes 1.20.2 on one machine of two cores under foreign load, so that all
//! stamps are of one clock. `syncline-collector record --scale deploy/test=44` (and `--restart deploy/test`) made the
//! captures; left out is who took the machine's CPU.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use syncline::bundle::{Bundle, MEMORY};
use syncline::clock::beacons::{Axis, streams};
use syncline::events::{Direction, Outcome, Run};
use syncline::measure::{self, Measurement};
use syncline::result::given;
use syncline_collector::write::staged::Scratch;
use syncline_schema::beacons::BeaconRow;
use syncline_schema::dataplane::SnapshotRow;
use syncline_schema::endpoints::EndpointRow;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/recorded")
}

/// Receipt and answer of the request that made each revision, ns.
fn commits(name: &str) -> BTreeMap<u64, (i64, i64)> {
    let text = std::fs::read_to_string(folder().join(format!("{name}.commits.tsv"))).expect("the truth");
    let row = |line: &str| {
        let numbers: Vec<i64> = line.split('\t').map(|field| field.parse().expect("a number")).collect();
        (u64::try_from(numbers[0]).expect("a revision"), (numbers[1], numbers[2]))
    };
    text.lines().skip(1).map(row).collect()
}

/// The run, what was measured, and the folder of its bundle, which goes with it.
fn recorded(name: &str) -> (Run, Vec<Measurement>, Option<Scratch>) {
    let (bundle, temporary) = given::one(&folder().join(name), MEMORY).expect("a capture that is bundled");
    let run = Run::load(bundle).expect("a run");
    let measured = measure::all(&run).expect("measured");
    (run, measured, temporary)
}

/// The revision in which each endpoint was listed as ready first, and that in which it was not any more.
fn revisions(bundle: &Bundle) -> BTreeMap<(String, Direction), u64> {
    let rows = bundle.rows::<EndpointRow<'static>>(None).expect("endpoints");
    let mut versions: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.witness == "watch" && row.service == "test") {
        let Ok(revision) = row.resource_version.parse() else { continue };
        let ready = versions.entry(revision).or_default();
        if row.ready.unwrap_or(true) {
            ready.extend(row.address.as_deref().map(str::to_owned));
        }
    }
    let mut found = BTreeMap::new();
    let mut before: Vec<String> = Vec::new();
    for (revision, now) in versions {
        for address in now.iter().filter(|one| !before.contains(one)) {
            found.entry((address.clone(), Direction::Added)).or_insert(revision);
        }
        for address in before.iter().filter(|one| !now.contains(one)) {
            found.entry((address.clone(), Direction::Removed)).or_insert(revision);
        }
        before = now;
    }
    found
}

/// Median time between two looks at the rules, s.
fn cadence(bundle: &Bundle) -> f64 {
    let rows = bundle.rows::<SnapshotRow<'static>>(None).expect("snapshots");
    let times: Vec<i64> = rows.iter().filter(|row| row.format == "iptables-save").filter_map(|row| row.time).collect();
    let mut gaps: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    gaps.sort_unstable();
    gaps[gaps.len() / 2] as f64 / 1e9
}

#[test]
fn every_commit_lies_within_the_beacons_around_its_revision() {
    for name in ["scale-up-1", "rolling-restart-1"] {
        let (run, measured, _temporary) = recorded(name);
        let commits = commits(name);
        let rows = run.bundle.rows::<BeaconRow<'static>>(None).expect("beacons");
        let (streams, wrong) = streams(&rows, |_| Axis::Realtime);
        assert!(wrong.is_empty() && streams.len() == 1, "{name}: {wrong:?}");
        let mut widths: Vec<i64> = Vec::new();
        for (revision, (received, answered)) in &commits {
            let (Some(before), Some(behind)) = (streams[0].before(*revision), streams[0].behind(*revision)) else {
                continue;
            };
            // It was committed between its receipt and its answer.
            assert!(before.sent <= *answered, "{name}: {revision} was answered before {before:?} was sent");
            assert!(behind.returned >= *received, "{name}: {revision} was received after {behind:?} had returned");
            widths.push(behind.returned - before.sent);
        }
        assert!(widths.len() > 40, "{name}: {} of {} commits have beacons around them", widths.len(), commits.len());
        widths.sort_unstable();
        let ms = |at: usize| widths[at] as f64 / 1e6;
        eprintln!(
            "{name}: {} commits, {:.0} ms wide (median; at most {:.0})",
            widths.len(),
            ms(widths.len() / 2),
            ms(widths.len() - 1)
        );

        let revisions = revisions(&run.bundle);
        let mut held = 0;
        for episode in run.episodes.iter().filter(|one| one.endpoint.service == "default/test") {
            let key = (episode.endpoint.address.clone(), episode.direction);
            let Some((received, answered)) = revisions.get(&key).and_then(|revision| commits.get(revision)) else {
                continue;
            };
            let committed = &episode.committed;
            let (Some(low), Some(high)) = (committed.low, committed.high) else {
                panic!("{name}: {episode:?} is open")
            };
            assert!(low <= *answered && *received <= high, "{name}: committed in {received}–{answered}: {episode:?}");
            held += 1;
        }
        assert!(held >= 43, "{name}: {held} episodes are held against the audit log");

        let cadence = cadence(&run.bundle);
        let propagation = measured.iter().find(|one| one.name == "endpoint_propagation").expect("a row");
        let (low, high) = propagation.estimate.low.zip(propagation.estimate.high).expect("bounds on both sides");
        eprintln!("{name}: cadence {cadence:.3} s, propagation {low:.3} to {high:.3} s");
        let seen = run.episodes.iter().filter(|one| one.outcome == Outcome::Seen).count();
        assert!(seen >= 43, "{name}: {seen} endpoints were seen to come or go");
        assert!(propagation.notes.iter().any(|note| note.contains("one etcd")), "{:?}", propagation.notes);
    }
}

/// What the recorder said that it could not see stands in the report's findings, and nothing of its files is refused.
#[test]
fn what_the_recorder_lost_is_told() {
    let (run, _, _temporary) = recorded("scale-up-1");
    assert!(run.bundle.manifest.sources.iter().all(|source| source.rejected == 0 && source.kind != "unread"));
    let titles: Vec<&str> = run.findings.iter().map(|finding| finding.title.as_str()).collect();
    for title in [
        "commits are bounded by beacons",
        "the recorder could not see all of iptables",
        "sources that the recorder did not find, or left out",
    ] {
        assert!(titles.contains(&title), "{titles:?}");
    }
    assert!(run.pods.request.is_some(), "the action's own request is known");
    assert!(!run.facts.keys().any(|key| key.starts_with("lost/")));
}
