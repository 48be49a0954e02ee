//! Which change of the dataplane answers which change of the API.
//!
//! For each change the looks of every stream that covers its Service are searched for the first transition in the
//! same direction that may come after the commit and before the endpoint changed back. Streams are witnesses of one
//! state, so their intervals intersect. Clocks are related first: without an offset nothing is matched.

use std::collections::BTreeMap;

use super::dataplane::{Change, Look, Presence};
use super::episodes::ApiChange;
use super::{Direction, Episode, Observed, Outcome, Phase, Stage, Windows};
use crate::clock::{Evidence, Graph, Offset};

/// Episodes of all changes, on the node whose dataplane was observed.
pub fn episodes(
    changes: Vec<ApiChange>,
    presences: &[Presence],
    clocks: &Graph,
    node: &str,
    windows: &Windows,
    path: &dyn Fn(i32) -> String,
) -> Vec<Episode> {
    let mut by_key: BTreeMap<(&str, &str, i32), Vec<&Presence>> = BTreeMap::new();
    // A stream tells about a Service where it ever showed one of its endpoints.
    let mut covering: BTreeMap<&str, BTreeMap<i32, &Presence>> = BTreeMap::new();
    for presence in presences {
        by_key.entry((&presence.service, &presence.address, presence.port)).or_default().push(presence);
        covering.entry(&presence.service).or_default().insert(presence.stream, presence);
    }
    let none = BTreeMap::new();
    let mut found: Vec<Episode> = Vec::with_capacity(changes.len());
    for (at, change) in changes.iter().enumerate() {
        // The next change of the same address ends the time in which the dataplane can answer this one.
        let same = |other: &&ApiChange| {
            let (a, b) = (&other.endpoint, &change.endpoint);
            a.service == b.service && a.address == b.address && a.port == b.port && other.direction != change.direction
        };
        let next = changes[at + 1..].iter().find(same);
        let streams: &[&Presence] = by_key
            .get(&(change.endpoint.service.as_str(), change.endpoint.address.as_str(), change.endpoint.port))
            .map_or(&[], Vec::as_slice);
        let (dataplane, outcome) = answer(
            change,
            next,
            streams,
            covering.get(change.endpoint.service.as_str()).unwrap_or(&none),
            clocks,
            path,
        );
        let mut stages = vec![Stage { name: "committed".to_owned(), at: change.committed.clone() }];
        if let (Some(seen), Outcome::Seen) = (&dataplane, outcome) {
            stages.push(Stage { name: "visible".to_owned(), at: seen.clone() });
        }
        found.push(Episode {
            endpoint: change.endpoint.clone(),
            node: node.to_owned(),
            direction: change.direction,
            number: change.number,
            committed: change.committed.clone(),
            dataplane,
            outcome,
            stages,
            phase: phase(&change.committed, clocks, windows),
        });
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
    covering: &BTreeMap<i32, &Presence>,
    clocks: &Graph,
    path: &dyn Fn(i32) -> String,
) -> (Option<Observed>, Outcome) {
    let wanted = change.direction == Direction::Added;
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
        let fits = |one: &&Change| {
            let ends = one.after.until.unwrap_or(i64::MAX);
            let begins = one.before.time;
            one.present == wanted
                && earliest.is_none_or(|earliest| ends >= earliest)
                && latest.is_none_or(|latest| begins <= latest)
        };
        let Some(one) = presence.changes.iter().find(fits) else { continue };
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
    let Some(last) = covering.values().max_by_key(|presence| presence.last_look.time) else {
        return (None, Outcome::Unobserved);
    };
    let look = last.last_look;
    let Some(offset) = clocks.offset(&change.committed.clock, &last.clock) else { return (None, Outcome::Unobserved) };
    if !related && !streams.is_empty() {
        return (None, Outcome::Unobserved);
    }
    if next.is_some() {
        return (None, Outcome::Superseded);
    }
    // A capture that ends before the commit proves nothing.
    if change.committed.high.is_some_and(|high| look.time < high + offset.high) {
        return (None, Outcome::Unobserved);
    }
    let evidence =
        Evidence { path: path(look.source), record: look.record, what: "last look, not there yet".to_owned() };
    let low = Some(look.time);
    let never =
        Observed { low, high: None, clock: last.clock.clone(), witness: last.format.clone(), evidence: vec![evidence] };
    (Some(never), Outcome::Never)
}

fn observed(presence: &Presence, one: &Change, path: &dyn Fn(i32) -> String) -> Observed {
    let evidence =
        |look: &Look, what: &str| Evidence { path: path(look.source), record: look.record, what: what.to_owned() };
    // Where a witness goes on showing endpoints that get nothing any more, the look before proves no presence.
    let low = (one.present || !presence.shows_leaving).then_some(one.before.time);
    Observed {
        low,
        high: one.after.until,
        clock: presence.clock.clone(),
        witness: presence.format.clone(),
        evidence: vec![
            evidence(&one.before, "last look with the state before"),
            evidence(&one.after, "first look with the state after"),
        ],
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
