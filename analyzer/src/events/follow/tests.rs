//! Tests of the matching: changes and streams made by hand, all on one clock.

use super::super::Endpoint;
use super::super::doings::Doing;
use super::*;

fn endpoint(address: &str) -> Endpoint {
    Endpoint {
        service: "default/test".to_owned(),
        address: address.to_owned(),
        port: 80,
        protocol: "tcp".to_owned(),
        target_uid: address.to_owned(),
        target: address.to_owned(),
    }
}

fn change(address: &str, direction: Direction, low: i64, high: i64) -> ApiChange {
    let committed = Observed {
        low: Some(low),
        high: Some(high),
        clock: "n".to_owned(),
        witness: "audit".to_owned(),
        evidence: Vec::new(),
    };
    ApiChange {
        endpoint: endpoint(address).into(),
        direction,
        number: 0,
        committed: committed.into(),
        received: Default::default(),
    }
}

fn look(time: i64) -> Look {
    Look { time, until: Some(time + 10), source: 0, record: time }
}

/// A stream that looks from 0 to `last`; the endpoint changes at the looks given, alternately.
fn presence(stream: i32, address: &str, initially: bool, at: &[i64], last: i64) -> Presence {
    let changes = at
        .iter()
        .enumerate()
        .map(|(number, time)| Change {
            present: (number % 2 == 0) != initially,
            before: look(time - 10),
            after: look(*time),
        })
        .collect();
    Presence {
        service: "default/test".to_owned(),
        address: address.to_owned(),
        port: 80,
        protocol: "TCP".to_owned(),
        stream,
        format: format!("stream-{stream}"),
        clock: "n".to_owned(),
        time_from: "stamp".to_owned(),
        initially,
        changes,
        first_look: look(0),
        last_look: look(last),
        shows_leaving: false,
    }
}

fn follow(changes: &[ApiChange], presences: &[Presence], doings: Vec<Doings>) -> (Vec<Episode>, Contradictions) {
    let doings = BTreeMap::from([("n".to_owned(), doings)]);
    let clocks = Graph::default();
    let seen = Seen { presences, doings: &doings, clocks: &clocks, node: "n", path: &|_| "x".to_owned() };
    let mut contradictions = Contradictions::default();
    let found = episodes(changes, &seen, &mut contradictions);
    (found, contradictions)
}

fn outcomes(changes: &[ApiChange], presences: &[Presence]) -> Vec<Outcome> {
    follow(changes, presences, Vec::new()).0.iter().map(|one| one.outcome).collect()
}

#[test]
fn never_needs_a_stream_that_looked_after_the_commit_and_holds_the_port() {
    let other = presence(0, "10.0.0.1", true, &[], 1_000);
    let added = [change("10.0.0.2", Direction::Added, 500, 510)];
    assert_eq!(outcomes(&added, std::slice::from_ref(&other)), [Outcome::Never]);
    let short = presence(0, "10.0.0.1", true, &[], 505);
    assert_eq!(outcomes(&added, &[short]), [Outcome::Unobserved], "its last look may be before the commit");
    let port = Presence { port: 81, ..other.clone() };
    assert_eq!(outcomes(&added, &[port]), [Outcome::Unobserved], "it shows another port");
    let elsewhere = Presence { service: "default/other".to_owned(), ..other.clone() };
    assert_eq!(outcomes(&added, &[elsewhere]), [Outcome::Unobserved], "it shows another Service");
    let family = Presence { address: "fd00::1".to_owned(), ..other.clone() };
    assert_eq!(outcomes(&added, &[family]), [Outcome::Unobserved], "it shows the other family");
    let unrelated = Presence { clock: "m".to_owned(), ..other };
    assert_eq!(outcomes(&added, &[unrelated]), [Outcome::Unobserved], "nothing relates its clock");
}

#[test]
fn a_witness_that_shows_leaving_endpoints_proves_no_stay() {
    let stays = presence(0, "10.0.0.1", true, &[], 1_000);
    let removed = [change("10.0.0.1", Direction::Removed, 500, 510)];
    assert_eq!(outcomes(&removed, std::slice::from_ref(&stays)), [Outcome::Never]);
    let vague = Presence { shows_leaving: true, ..stays };
    assert_eq!(outcomes(&removed, &[vague]), [Outcome::Unobserved]);
}

#[test]
fn a_change_back_before_the_dataplane_acted_supersedes_both() {
    let stays = presence(0, "10.0.0.1", true, &[], 1_000);
    let both = [change("10.0.0.1", Direction::Removed, 500, 501), change("10.0.0.1", Direction::Added, 502, 503)];
    assert_eq!(outcomes(&both, &[stays]), [Outcome::Superseded, Outcome::Superseded]);
}

#[test]
fn each_change_takes_the_transition_of_its_own_time() {
    let flaps = presence(0, "10.0.0.1", true, &[200, 300, 600, 700], 1_000);
    let changes = [
        change("10.0.0.1", Direction::Removed, 180, 185),
        change("10.0.0.1", Direction::Added, 280, 285),
        change("10.0.0.1", Direction::Removed, 580, 585),
        change("10.0.0.1", Direction::Added, 680, 685),
    ];
    let (found, _) = follow(&changes, &[flaps], Vec::new());
    let seen: Vec<_> = found.iter().map(|one| one.dataplane.as_ref().and_then(|seen| seen.low)).collect();
    assert_eq!(seen, [Some(190), Some(290), Some(590), Some(690)]);
}

#[test]
fn witnesses_that_do_not_overlap_are_a_finding_and_leave_their_hull() {
    let (a, b) = (presence(0, "10.0.0.1", false, &[600], 1_000), presence(1, "10.0.0.1", false, &[700], 1_000));
    let (found, contradictions) = follow(&[change("10.0.0.1", Direction::Added, 500, 510)], &[a, b], Vec::new());
    let seen = found[0].dataplane.as_ref().unwrap();
    assert_eq!((seen.low, seen.high), (Some(590), Some(710)));
    let findings = contradictions.findings();
    assert_eq!(findings.len(), 1);
    assert!(findings[0].title.contains("stream-0 and stream-1"), "{}", findings[0].title);
    assert_eq!(findings[0].evidence.len(), 4);
}

#[test]
fn what_was_there_before_its_commit_is_a_finding_and_no_latency() {
    let early = presence(0, "10.0.0.1", false, &[300], 1_000);
    let (found, contradictions) = follow(&[change("10.0.0.1", Direction::Added, 500, 510)], &[early], Vec::new());
    assert_eq!(found[0].outcome, Outcome::Unobserved);
    assert_eq!(contradictions.findings().len(), 1);
}

#[test]
fn the_kernels_replacement_tightens_what_snapshots_show() {
    let stream = presence(0, "10.0.0.1", false, &[600], 1_000);
    let kernel = Doings {
        witness: "kernel trace",
        what: "the kernel took the new rules",
        clock: "n".to_owned(),
        from: 0,
        until: 2_000,
        all: vec![Doing { start: 596, end: 598, source: 0, record: 7 }],
    };
    let (found, contradictions) =
        follow(&[change("10.0.0.1", Direction::Added, 500, 510)], std::slice::from_ref(&stream), vec![kernel.clone()]);
    let seen = found[0].dataplane.as_ref().unwrap();
    assert_eq!((seen.low, seen.high), (Some(596), Some(598)));
    assert!(found[0].stages.iter().any(|stage| stage.name == "kernel_replaced"));
    assert!(contradictions.findings().is_empty());
    let idle = Doings { all: Vec::new(), ..kernel };
    let (found, contradictions) = follow(&[change("10.0.0.1", Direction::Added, 500, 510)], &[stream], vec![idle]);
    assert_eq!(found[0].dataplane.as_ref().unwrap().low, Some(590), "the snapshot is kept");
    assert_eq!(contradictions.findings().len(), 1);
}
