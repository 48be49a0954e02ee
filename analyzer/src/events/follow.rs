//! Which change of the dataplane answers which change of the API.
//!
//! For each change the looks of every stream that covers its Service are searched for the first transition in the
//! same direction that may come after the commit and before the endpoint changed back. Streams are witnesses of one
//! state, so their intervals intersect. Clocks are related first: without an offset nothing is matched.

use std::collections::BTreeMap;

use super::dataplane::{Presence, Replay, Transition};
use super::episodes::ApiChange;
use super::{Direction, Endpoint, Episode, Observed, Outcome, Phase, Stage, Windows};
use crate::clock::{Evidence, Graph, Offset};

/// Episodes of all changes, on the node whose dataplane was observed.
pub fn episodes(
    changes: Vec<ApiChange>,
    replay: &Replay,
    clocks: &Graph,
    node: &str,
    windows: &Windows,
    path: &dyn Fn(i32) -> String,
) -> Vec<Episode> {
    let mut by_key: BTreeMap<(&str, &str, i32), Vec<&Presence>> = BTreeMap::new();
    for presence in &replay.presences {
        by_key.entry((&presence.service, &presence.address, presence.port)).or_default().push(presence);
    }
    let mut numbers: BTreeMap<(Endpoint, Direction), usize> = BTreeMap::new();
    let mut found: Vec<Episode> = Vec::with_capacity(changes.len());
    for (at, change) in changes.iter().enumerate() {
        let number = numbers.entry((change.endpoint.clone(), change.direction)).or_default();
        // The next change of the same address ends the time in which the dataplane can answer this one.
        let same = |other: &&ApiChange| {
            let (a, b) = (&other.endpoint, &change.endpoint);
            a.service == b.service && a.address == b.address && a.port == b.port && other.direction != change.direction
        };
        let next = changes[at + 1..].iter().find(same);
        let streams: &[&Presence] = by_key
            .get(&(change.endpoint.service.as_str(), change.endpoint.address.as_str(), change.endpoint.port))
            .map_or(&[], Vec::as_slice);
        let (dataplane, outcome) = answer(change, next, streams, replay, clocks, path);
        let mut stages = vec![Stage { name: "committed".to_owned(), at: change.committed.clone() }];
        if let (Some(seen), Outcome::Seen) = (&dataplane, outcome) {
            stages.push(Stage { name: "visible".to_owned(), at: seen.clone() });
        }
        found.push(Episode {
            endpoint: change.endpoint.clone(),
            node: node.to_owned(),
            direction: change.direction,
            number: *number,
            committed: change.committed.clone(),
            dataplane,
            outcome,
            stages,
            phase: phase(&change.committed, clocks, windows),
        });
        *number += 1;
    }
    found
}

/// Phase that a commit falls into.
fn phase(committed: &Observed, clocks: &Graph, windows: &Windows) -> Option<Phase> {
    let Offset { low, high } = clocks.offset(&committed.clock, &windows.clock)?;
    let time = committed.high? + low + (high - low) / 2;
    let phases = [(Phase::Baseline, &windows.baseline), (Phase::Action, &windows.action), (Phase::Tail, &windows.tail)];
    phases
        .into_iter()
        .find(|(_, window)| window.as_ref().is_some_and(|window| window.contains(time)))
        .map(|(phase, _)| phase)
}

fn answer(
    change: &ApiChange,
    next: Option<&ApiChange>,
    streams: &[&Presence],
    replay: &Replay,
    clocks: &Graph,
    path: &dyn Fn(i32) -> String,
) -> (Option<Observed>, Outcome) {
    let wanted = change.direction == Direction::Added;
    let covering: Vec<i32> = replay
        .covered
        .iter()
        .filter(|(_, services)| services.contains(&change.endpoint.service))
        .map(|(stream, _)| *stream)
        .collect();
    if covering.is_empty() {
        return (None, Outcome::Unobserved);
    }
    let mut seen: Option<Observed> = None;
    let mut related = false;
    for presence in streams {
        let Some(offset) = clocks.offset(&change.committed.clock, &presence.clock) else { continue };
        related = true;
        // Not before the commit may have been, and not after the next change must have been.
        let earliest = change
            .committed
            .low
            .or(change.committed.high.map(|high| high - 2_000_000_000))
            .map(|time| time + offset.low);
        let latest = next.and_then(|next| next.committed.high).map(|time| time + offset.high);
        let fits = |one: &&Transition| {
            let ends = one.after.until.unwrap_or(i64::MAX);
            let begins = one.before.as_ref().map_or(i64::MIN, |look| look.time);
            one.present == wanted
                && earliest.is_none_or(|earliest| ends >= earliest)
                && latest.is_none_or(|latest| begins <= latest)
        };
        let Some(one) = presence.transitions.iter().find(fits) else { continue };
        let interval = observed(presence, one, path);
        seen = Some(match seen {
            None => interval,
            Some(known) => intersect(known, interval),
        });
    }
    if let Some(seen) = seen {
        return (Some(seen), Outcome::Seen);
    }
    // A stream that covers the Service but never showed the endpoint: was the endpoint there (or gone) all along?
    let looks: Vec<_> = replay.totals.iter().filter(|total| covering.contains(&total.stream)).collect();
    let Some(last) = looks.iter().max_by_key(|total| total.look.time) else { return (None, Outcome::Unobserved) };
    let Some(offset) = clocks.offset(&change.committed.clock, &last.clock) else { return (None, Outcome::Unobserved) };
    if !related && !streams.is_empty() {
        return (None, Outcome::Unobserved);
    }
    if next.is_some() {
        return (None, Outcome::Superseded);
    }
    // A capture that ends before the commit proves nothing.
    if change.committed.high.is_some_and(|high| last.look.time < high + offset.high) {
        return (None, Outcome::Unobserved);
    }
    let evidence = Evidence {
        path: path(last.look.source),
        record: last.look.record,
        what: "last look, not there yet".to_owned(),
    };
    let low = Some(last.look.time);
    let never =
        Observed { low, high: None, clock: last.clock.clone(), witness: last.format.clone(), evidence: vec![evidence] };
    (Some(never), Outcome::Never)
}

fn observed(presence: &Presence, one: &Transition, path: &dyn Fn(i32) -> String) -> Observed {
    let evidence = |look: &super::dataplane::Look, what: &str| Evidence {
        path: path(look.source),
        record: look.record,
        what: what.to_owned(),
    };
    let before = one.before.as_ref().map(|look| evidence(look, "last look with the state before"));
    Observed {
        low: one.before.as_ref().map(|look| look.time),
        high: one.after.until,
        clock: presence.clock.clone(),
        witness: presence.format.clone(),
        evidence: before.into_iter().chain([evidence(&one.after, "first look with the state after")]).collect(),
    }
}

/// Two witnesses of one state on one clock. Where they contradict each other, the narrower one is kept.
fn intersect(a: Observed, b: Observed) -> Observed {
    let low = a.low.max(b.low);
    let high = match (a.high, b.high) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    let width = |one: &Observed| one.low.zip(one.high).map_or(i64::MAX, |(low, high)| high - low);
    let empty = low.zip(high).is_some_and(|(low, high)| low > high);
    if empty || a.clock != b.clock {
        return if width(&b) < width(&a) { b } else { a };
    }
    let narrower = if width(&b) < width(&a) { &b } else { &a };
    let witness = if a.witness == b.witness { a.witness.clone() } else { format!("{} ∩ {}", a.witness, b.witness) };
    let (clock, mut evidence) = (narrower.clock.clone(), narrower.evidence.clone());
    let other = if width(&b) < width(&a) { &a } else { &b };
    evidence.extend(other.evidence.iter().cloned());
    Observed { low, high, clock, witness, evidence }
}
