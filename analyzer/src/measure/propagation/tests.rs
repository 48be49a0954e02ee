//! Tests of settling and of what a node's latencies share.

use super::super::fixture::{self, SECOND};
use super::*;
use crate::events::Window;

fn at(low: i64, high: i64) -> Observed {
    Observed {
        low: Some(low),
        high: Some(high),
        clock: "node-a".to_owned(),
        witness: "iptables-save".to_owned(),
        evidence: Vec::new(),
    }
}

/// One endpoint committed at 10 s and in the dataplane at 11 s; the dataplane changes at `moves` besides.
fn settled(moves: &[i64], last: i64) -> Measurement {
    let folder = tempfile::tempdir().unwrap();
    let mut run = fixture::run(folder.path(), "kube-proxy-iptables", |_| ());
    run.windows.clock = "node-a".to_owned();
    run.windows.action = Some(Window { start: 0, end: 100 * SECOND, slack: 0 });
    let endpoint = crate::events::Endpoint {
        service: "default/test".to_owned(),
        address: "10.0.0.1".to_owned(),
        port: 80,
        protocol: "tcp".to_owned(),
        target_uid: String::new(),
        target: String::new(),
    };
    run.episodes.push(Episode {
        endpoint: endpoint.into(),
        node: "node-a".into(),
        direction: Direction::Added,
        number: 0,
        committed: at(10 * SECOND, 10 * SECOND).into(),
        dataplane: Some(at(11 * SECOND, 11 * SECOND + 100).into()),
        outcome: Outcome::Seen,
        stages: Default::default(),
        phase: Some(Phase::Action),
    });
    run.moves.all = moves.iter().map(|time| at(time * SECOND - 100, time * SECOND)).collect();
    run.moves.last = vec![at(last * SECOND, last * SECOND)];
    settle_time(&run)
}

#[test]
fn settled_is_what_stays_for_five_seconds() {
    let value = |row: &Measurement| row.estimate.value.map(f64::round);
    assert_eq!(value(&settled(&[11], 60)), Some(1.0), "the endpoint's own change is none");
    assert_eq!(value(&settled(&[11, 15, 19], 60)), Some(9.0), "each change starts the five seconds anew");
    assert_eq!(value(&settled(&[11, 17], 60)), Some(1.0), "what comes after five quiet seconds is another matter");
    let short = settled(&[11], 14);
    assert_eq!((short.estimate.value, short.estimate.high), (None, None), "the capture ends too early to tell");
    assert!(short.estimate.low.is_some());
}

#[test]
fn what_a_node_shares_moves_all_of_its_latencies() {
    let own = Estimate { value: None, low: Some(1.0), high: Some(1.1) };
    let offset = Offset { low: -SECOND, high: SECOND };
    let found = quantiles(&vec![Shifted { own, offset }; 100])["p50"];
    assert_eq!((found.low, found.high), (Some(0.0), Some(2.1)), "a hundred endpoints know the clock no better");
    let value = found.value.unwrap();
    assert!((1.0..=1.1).contains(&value), "{value}");
}
