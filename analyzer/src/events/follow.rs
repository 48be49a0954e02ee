//! Which change of the dataplane answers which change of the API.
//!
//! For each change the looks of every stream that covers its Service are searched for the first transition in the
//! same direction that may come after the commit and before the endpoint changed back. Streams are witnesses of one
//! state, so their intervals intersect, and syncs and kernel traces tighten them ([`super::doings`]). Clocks are
//! related first: without an offset nothing is matched. What contradicts becomes a finding, and bounds nothing.
//!
//! | seen by | outcome |
//! |---|---|
//! | a transition that fits | `Seen` |
//! | a stream that holds the Service's port, looked after the commit, and still had the state before | `Never` |
//! | the same, but the endpoint changed back, or the dataplane never left the state | `Superseded` |
//! | none of these | `Unobserved` |

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::contradictions::Contradictions;
use super::dataplane::{Change, Look, Presence};
use super::doings::{Doings, Said, node_of};
use super::episodes::ApiChange;
use super::{Direction, Episode, Observed, Outcome, Phase, Stage, Windows};
use crate::clock::{Evidence, Graph, Offset};

/// All that was seen of dataplanes, and what it takes to relate it.
pub struct Seen<'a> {
    /// Endpoints in the streams of snapshots.
    pub presences: &'a [Presence],
    /// Syncs and kernel traces, by node.
    pub doings: &'a BTreeMap<String, Vec<Doings>>,
    /// Clocks.
    pub clocks: &'a Graph,
    /// Node of captures that are stamped by no node's clock.
    pub node: &'a str,
    /// Names of sources.
    pub path: &'a dyn Fn(i32) -> String,
}

/// One stream, as far as it holds a Service.
struct Holding<'p> {
    any: &'p Presence,
    /// Ports of its endpoints, and whether their addresses are IPv6.
    ports: BTreeSet<(i32, bool)>,
}

/// What was seen of one node's dataplane.
#[derive(Default)]
struct Node<'p> {
    by_key: HashMap<(&'p str, &'p str, i32), Vec<&'p Presence>>,
    holding: HashMap<&'p str, BTreeMap<i32, Holding<'p>>>,
}

/// Episodes of all changes on all observed nodes; without any, on the main node, not observed.
pub fn episodes(changes: &[ApiChange], seen: &Seen<'_>, contradictions: &mut Contradictions) -> Vec<Episode> {
    let mut nodes: BTreeMap<&str, Node<'_>> = BTreeMap::new();
    for presence in seen.presences {
        let own = node_of(&presence.clock);
        let own = if ["apiserver", "operator", "prometheus"].contains(&own) { seen.node } else { own };
        let node = nodes.entry(own).or_default();
        node.by_key.entry((&presence.service, &presence.address, presence.port)).or_default().push(presence);
        let streams = node.holding.entry(&presence.service).or_default();
        let held = streams.entry(presence.stream).or_insert_with(|| Holding { any: presence, ports: BTreeSet::new() });
        held.ports.insert((presence.port, presence.address.contains(':')));
    }
    if nodes.is_empty() {
        nodes.insert(seen.node, Node::default());
    }
    let around = around(changes);
    let mut found: Vec<Episode> = Vec::with_capacity(changes.len() * nodes.len());
    for (name, node) in &nodes {
        let doings = seen.doings.get(*name).map_or(&[][..], Vec::as_slice);
        let (name, mut answers) = (Arc::from(*name), Answers::default());
        for (change, (before, after)) in changes.iter().zip(&around) {
            let context = Context { seen, node, doings, before: *before, after: *after };
            found.push(episode(change, &name, &context, &mut answers, contradictions));
        }
    }
    found
}

/// For each change the last one ahead of it and the next one behind it, of the same address in the other direction.
fn around(changes: &[ApiChange]) -> Vec<(Option<&ApiChange>, Option<&ApiChange>)> {
    let mut places: HashMap<(&str, &str, i32), Vec<usize>> = HashMap::new();
    for (at, change) in changes.iter().enumerate() {
        let endpoint = &change.endpoint;
        places.entry((&endpoint.service, &endpoint.address, endpoint.port)).or_default().push(at);
    }
    let mut found: Vec<(Option<&ApiChange>, Option<&ApiChange>)> = vec![(None, None); changes.len()];
    for list in places.values() {
        let mut last: [Option<&ApiChange>; 2] = [None, None];
        let side = |one: &ApiChange| usize::from(one.direction == Direction::Added);
        for at in list {
            found[*at].0 = last[1 - side(&changes[*at])];
            last[side(&changes[*at])] = Some(&changes[*at]);
        }
        let mut next: [Option<&ApiChange>; 2] = [None, None];
        for at in list.iter().rev() {
            found[*at].1 = next[1 - side(&changes[*at])];
            next[side(&changes[*at])] = Some(&changes[*at]);
        }
    }
    found
}

/// Sets the phase that each commit falls into.
pub fn set_phases(episodes: &mut [Episode], clocks: &Graph, windows: &Windows) {
    for episode in episodes {
        episode.phase = phase(&episode.committed, clocks, windows);
    }
}

fn phase(committed: &Observed, clocks: &Graph, windows: &Windows) -> Option<Phase> {
    let Offset { low, high } = clocks.offset(&committed.clock, &windows.clock)?;
    let time = committed.high? + low + (high - low) / 2;
    let phases = [(Phase::Baseline, &windows.baseline), (Phase::Action, &windows.action), (Phase::Tail, &windows.tail)];
    phases
        .into_iter()
        .find(|(_, window)| window.as_ref().is_some_and(|window| window.contains(time)))
        .map(|(phase, _)| phase)
}

struct Context<'a> {
    seen: &'a Seen<'a>,
    node: &'a Node<'a>,
    doings: &'a [Doings],
    before: Option<&'a ApiChange>,
    after: Option<&'a ApiChange>,
}

/// What all endpoints that came with one sync have in common.
#[derive(Clone)]
struct Shared {
    dataplane: Arc<Observed>,
    stages: Arc<[Stage]>,
}

/// What was shown by which looks, and where in memory the version's receipt by the proxy stands.
type ShownBy = (Vec<(i32, [(i32, i64); 2], bool)>, Option<usize>);

/// The answers of one node's dataplane so far.
#[derive(Default)]
struct Answers {
    known: HashMap<ShownBy, Shared>,
}

fn episode(
    change: &ApiChange,
    node: &Arc<str>,
    context: &Context<'_>,
    answers: &mut Answers,
    contradictions: &mut Contradictions,
) -> Episode {
    let shown = transitions(change, context);
    let (dataplane, stages, outcome) = if shown.is_empty() {
        let (last, outcome) = unseen(change, context, contradictions);
        (last.map(Arc::new), Arc::default(), outcome)
    } else {
        let answer = answer(change.received.get(&**node), &shown, context, answers, contradictions);
        (Some(answer.dataplane), answer.stages, Outcome::Seen)
    };
    Episode {
        endpoint: Arc::clone(&change.endpoint),
        node: Arc::clone(node),
        direction: change.direction,
        number: change.number,
        committed: Arc::clone(&change.committed),
        dataplane,
        outcome,
        stages,
        phase: None,
    }
}

/// When the dataplane followed, by looks that others may have been answered by before. Contradictions are counted for
/// each endpoint, so what contradicts is looked at again.
fn answer(
    received: Option<&Arc<Observed>>,
    shown: &[(&Presence, &Change)],
    context: &Context<'_>,
    answers: &mut Answers,
    contradictions: &mut Contradictions,
) -> Shared {
    let look = |look: &Look| (look.source, look.record);
    let by =
        |(presence, one): &(&Presence, &Change)| (presence.stream, [look(&one.before), look(&one.after)], one.present);
    let key: ShownBy = (shown.iter().map(by).collect(), received.map(|at| Arc::as_ptr(at) as usize));
    if let Some(known) = answers.known.get(&key) {
        return known.clone();
    }
    let counted = contradictions.count();
    let visible = together(shown, context, contradictions);
    let tight = Arc::new(tighten(&visible, context, contradictions));
    let mut stages = Vec::new();
    if let Some(received) = received {
        stages.push(Stage { name: "received", at: Arc::clone(received) });
    }
    stages.extend(doing_stages(&tight, context));
    stages.push(Stage { name: "visible", at: Arc::new(visible) });
    let shared = Shared { dataplane: tight, stages: stages.into() };
    if contradictions.count() == counted {
        answers.known.insert(key, shared.clone());
    }
    shared
}

/// Earliest and latest time on a stream's clock at which the dataplane can answer a change.
fn span(change: &ApiChange, after: Option<&ApiChange>, offset: Offset) -> (Option<i64>, Option<i64>) {
    (
        change.committed.low.map(|time| time + offset.low),
        after.and_then(|next| next.committed.high).map(|time| time + offset.high),
    )
}

fn streams<'a>(change: &'a ApiChange, context: &'a Context<'a>) -> &'a [&'a Presence] {
    let endpoint = &change.endpoint;
    let key = (endpoint.service.as_str(), endpoint.address.as_str(), endpoint.port);
    context.node.by_key.get(&key).map_or(&[], Vec::as_slice)
}

/// The transition of each stream that answers a change.
fn transitions<'a>(change: &'a ApiChange, context: &'a Context<'a>) -> Vec<(&'a Presence, &'a Change)> {
    let wanted = change.direction == Direction::Added;
    let of_stream = |presence: &&'a Presence| {
        let presence = *presence;
        // From the commit to the moment at which the endpoint changed back, or to any time.
        let until = context.after.and_then(|next| next.committed.high);
        let (committed, clocks) = (&change.committed, context.seen.clocks);
        let offset = clocks.offset_within(&committed.clock, &presence.clock, committed.low, until)?;
        let (earliest, latest) = span(change, context.after, offset);
        let ends = |one: &Change| one.after.until.unwrap_or(i64::MAX);
        let first = earliest.map_or(0, |earliest| presence.changes.partition_point(|one| ends(one) < earliest));
        let one = presence.changes.iter().skip(first).find(|one| one.present == wanted)?;
        latest.is_none_or(|latest| one.before.time <= latest).then_some((presence, one))
    };
    streams(change, context).iter().filter_map(of_stream).collect()
}

/// What the streams together saw of a change.
fn together(shown: &[(&Presence, &Change)], context: &Context<'_>, contradictions: &mut Contradictions) -> Observed {
    let mut found: Option<Observed> = None;
    for (presence, one) in shown {
        let interval = observed(presence, one, context.seen.path);
        found = Some(match found {
            None => interval,
            Some(known) => intersect(known, interval, context.seen.clocks, contradictions),
        });
    }
    found.unwrap_or_default()
}

/// Cuts what snapshots show with what the proxy logged and the kernel was seen to do, the widest first.
fn tighten(visible: &Observed, context: &Context<'_>, contradictions: &mut Contradictions) -> Observed {
    let mut found = visible.clone();
    for record in context.doings {
        match record.say(&found, context.seen.clocks, context.seen.path) {
            Said::Nothing => {}
            Said::Tightens(tight) => found = tight,
            Said::Contradicts => {
                let width = found.high.zip(found.low).map_or(0, |(high, low)| high - low);
                let title =
                    format!("{} shows changes at times at which the {} has nothing", visible.witness, record.witness);
                contradictions.add(title, width, visible.evidence.iter().cloned());
            }
        }
    }
    found
}

/// Between taking the duration of a sync and the stamp of the line that tells it.
const STAMPED_WITHIN: i64 = 1_000_000;

/// When the sync that made a change began, and when the kernel took its rules.
fn doing_stages(tight: &Observed, context: &Context<'_>) -> Vec<Stage> {
    let (Some(low), Some(high)) = (tight.low, tight.high) else { return Vec::new() };
    let mut found = Vec::new();
    for record in context.doings {
        let Some((inside, earlier, later)) = record.within(low, high, &tight.clock, context.seen.clocks) else {
            continue;
        };
        let (Some(first), Some(last)) = (inside.first(), inside.last()) else { continue };
        let of_log = record.witness == "sync log";
        let name = if of_log { "sync_start" } else { "kernel_replaced" };
        if found.iter().any(|stage: &Stage| stage.name == name) {
            continue;
        }
        let (low, high) = if of_log {
            (first.start - STAMPED_WITHIN + earlier, last.start + 2_000 + later)
        } else {
            ((first.start + earlier).max(low), (last.end + later).min(high))
        };
        let evidence = Evidence {
            path: (context.seen.path)(first.source).into(),
            record: first.record,
            what: record.what.into(),
            ..Evidence::default()
        };
        let at = Observed {
            low: Some(low),
            high: Some(high.max(low)),
            clock: tight.clock.clone(),
            witness: record.witness.to_owned(),
            evidence: vec![evidence],
        };
        found.push(Stage { name, at: Arc::new(at) });
    }
    found
}

/// No transition fits: was there a stream that could have shown one?
fn unseen(
    change: &ApiChange,
    context: &Context<'_>,
    contradictions: &mut Contradictions,
) -> (Option<Observed>, Outcome) {
    let endpoint = &change.endpoint;
    let wanted = change.direction == Direction::Added;
    let family = (endpoint.port, endpoint.address.contains(':'));
    let could = |held: &&Holding<'_>| {
        // Where a witness goes on showing endpoints that get nothing any more, it cannot show that one left.
        let tells = held.ports.contains(&family) && (wanted || !held.any.shows_leaving);
        let offset = context.seen.clocks.offset(&change.committed.clock, &held.any.clock);
        // A stream that ends before the commit proves nothing.
        tells
            && offset
                .zip(change.committed.high)
                .is_some_and(|(offset, high)| held.any.last_look.time >= high + offset.high)
    };
    let holding = context.node.holding.get(endpoint.service.as_str());
    let Some(last) = holding
        .into_iter()
        .flat_map(BTreeMap::values)
        .filter(could)
        .max_by_key(|held| (held.any.last_look.time, std::cmp::Reverse(held.any.stream)))
    else {
        return (None, Outcome::Unobserved);
    };
    let own = streams(change, context).iter().find(|presence| presence.stream == last.any.stream);
    let state = own.is_some_and(|own| own.changes.last().map_or(own.initially, |one| one.present));
    if context.after.is_some() || (state == wanted && context.before.is_some()) {
        return (None, Outcome::Superseded);
    }
    if state == wanted {
        // It was there all along, or came before the commit: then the clocks are wrong.
        if let (Some(own), Some(low)) = (own, change.committed.low)
            && let Some(offset) = context.seen.clocks.offset(&change.committed.clock, &own.clock)
            && let Some((one, until)) = own.changes.last().and_then(|one| Some((one, one.after.until?)))
        {
            let shown = observed(own, one, context.seen.path);
            contradictions.add(
                format!("{} on the clock {} shows changes before they were committed", own.format, own.clock),
                low + offset.low - until,
                change.committed.evidence.iter().chain(&shown.evidence).cloned(),
            );
        }
        return (None, Outcome::Unobserved);
    }
    let look = last.any.last_look;
    let evidence = Evidence {
        path: (context.seen.path)(look.source).into(),
        record: look.record,
        what: if wanted { "last look, not there yet" } else { "last look, still there" }.into(),
        ..Evidence::default()
    };
    let never = Observed {
        low: Some(look.time),
        high: None,
        clock: last.any.clock.clone(),
        witness: last.any.format.clone(),
        evidence: vec![evidence],
    };
    (Some(never), Outcome::Never)
}

fn observed(presence: &Presence, one: &Change, path: &dyn Fn(i32) -> String) -> Observed {
    let evidence = |look: &Look, what: &str| Evidence {
        path: path(look.source).into(),
        record: look.record,
        what: what.into(),
        ..Evidence::default()
    };
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

/// Two witnesses of one state, on the clock of the first. Where they contradict each other, their hull is kept and the
/// contradiction is counted.
fn intersect(a: Observed, b: Observed, clocks: &Graph, contradictions: &mut Contradictions) -> Observed {
    let Some(offset) = clocks.offset_within(&b.clock, &a.clock, b.low, b.high) else { return a };
    let (b_low, b_high) = (b.low.map(|low| low + offset.low), b.high.map(|high| high + offset.high));
    let low = a.low.max(b_low);
    let high = match (a.high, b_high) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    let witness = if a.witness == b.witness { a.witness.clone() } else { format!("{} ∩ {}", a.witness, b.witness) };
    if let Some((low, high)) = low.zip(high).filter(|(low, high)| low > high) {
        let title = format!("{} and {} show the same changes at different times", a.witness, b.witness);
        contradictions.add(title, low - high, a.evidence.iter().chain(&b.evidence).cloned());
        let hull = |a: Option<i64>, b: Option<i64>, pick: fn(i64, i64) -> i64| Some(pick(a?, b?));
        let evidence = a.evidence.into_iter().chain(b.evidence).collect();
        let (low, high) = (hull(a.low, b_low, i64::min), hull(a.high, b_high, i64::max));
        return Observed { low, high, clock: a.clock, witness, evidence };
    }
    let width = |low: Option<i64>, high: Option<i64>| low.zip(high).map_or(i64::MAX, |(low, high)| high - low);
    let (first, second) =
        if width(b_low, b_high) < width(a.low, a.high) { (b.evidence, a.evidence) } else { (a.evidence, b.evidence) };
    Observed { low, high, clock: a.clock, witness, evidence: first.into_iter().chain(second).collect() }
}

#[cfg(test)]
mod tests;
