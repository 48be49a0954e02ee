//! How a Service changed in the dataplane, whatever made it change: no request, no watch is needed for that.

use std::collections::{BTreeMap, BTreeSet};

use super::dataplane::{Look, Presence};
use super::run::{Moves, Step, Watched};
use super::{Episode, Observed, Phase, Windows};
use crate::clock::{Evidence, Graph};

/// The Service with the most changes in the action; where the run has none in an action, with the most changes.
pub fn under_test(episodes: &[Episode]) -> Option<String> {
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for episode in episodes {
        let (in_action, all) = counts.entry(&episode.endpoint.service).or_default();
        *in_action += usize::from(episode.phase == Some(Phase::Action));
        *all += 1;
    }
    let most = counts.into_iter().max_by_key(|(name, count)| (*count, std::cmp::Reverse(*name)))?;
    Some(most.0.to_owned())
}

/// The Service whose endpoints changed most in the dataplane since the action began (up to the next), where nothing else tells
/// which one is tested. Of several streams that which shows most counts.
pub fn most_changed(presences: &[Presence], clocks: &Graph, windows: &Windows) -> Option<String> {
    let mut counts: BTreeMap<(&str, i32), usize> = BTreeMap::new();
    for presence in presences {
        let offset = clocks.offset(&presence.clock, &windows.clock);
        let belongs = |look: &Look| match (&windows.action, offset) {
            (Some(action), Some(offset)) => {
                let late = look.until.is_none_or(|until| until + offset.high >= action.start - action.slack);
                late && windows.next.is_none_or(|next| look.time + offset.low < next)
            }
            // Clocks that nothing relates tell no order.
            _ => true,
        };
        let changes = presence.changes.iter().filter(|change| belongs(&change.after)).count();
        *counts.entry((&presence.service, presence.stream)).or_default() += changes;
    }
    let mut most: BTreeMap<&str, usize> = BTreeMap::new();
    for ((service, _), count) in counts {
        let known = most.entry(service).or_default();
        *known = (*known).max(count);
    }
    let most = most.into_iter().filter(|(_, count)| *count > 0);
    most.max_by_key(|(name, count)| (*count, std::cmp::Reverse(*name))).map(|(name, _)| name.to_owned())
}

/// All changes of a Service in the dataplane, one for each look that showed any, and the last look of each stream.
pub fn of(presences: &[Presence], service: Option<&str>, path: &dyn Fn(i32) -> String) -> Moves {
    let mut found = Moves::default();
    let mut looks: BTreeMap<(i32, i64, i32, i64), Step> = BTreeMap::new();
    let mut streams: BTreeMap<i32, Watched> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for presence in presences.iter().filter(|presence| Some(presence.service.as_str()) == service) {
        let at = |low: Option<i64>, high: Option<i64>, look: &Look, what: &str| Observed {
            low,
            high,
            clock: presence.clock.clone(),
            witness: presence.format.clone(),
            evidence: vec![Evidence {
                path: path(look.source).into(),
                record: look.record,
                what: what.into(),
                ..Evidence::default()
            }],
        };
        if seen.insert(presence.stream) {
            let (first, last) = (presence.first_look, presence.last_look);
            let last = at(Some(last.time), last.until, &last, "last look");
            found.last.push(last.clone());
            let first = at(Some(first.time), first.until, &first, "first look");
            streams.insert(presence.stream, Watched { steps: Vec::new(), first, last });
        }
        for change in &presence.changes {
            let after = change.after;
            // Two looks of one second have one stamp: they are told apart by where they stand.
            let step = looks.entry((presence.stream, after.time, after.source, after.record)).or_insert_with(|| Step {
                at: at(Some(change.before.time), after.until, &after, "look that shows a change"),
                shown: after.time,
                before: Evidence {
                    path: path(change.before.source).into(),
                    record: change.before.record,
                    what: "last look with the state before".into(),
                    ..Evidence::default()
                },
                ..Step::default()
            });
            step.came += usize::from(change.present);
            step.went += usize::from(!change.present);
        }
    }
    for ((stream, ..), step) in looks {
        found.all.push(step.at.clone());
        if let Some(watched) = streams.get_mut(&stream) {
            watched.steps.push(step);
        }
    }
    found.streams = streams.into_values().collect();
    found
}

#[cfg(test)]
mod tests {
    use super::super::Window;
    use super::super::dataplane::Change;
    use super::*;
    use crate::events::{Direction, Endpoint, Outcome};

    fn episode(service: &str, phase: Phase) -> Episode {
        let endpoint = Endpoint {
            service: service.to_owned(),
            address: String::new(),
            port: 0,
            protocol: String::new(),
            target_uid: String::new(),
            target: String::new(),
        };
        Episode {
            endpoint: endpoint.into(),
            node: "".into(),
            direction: Direction::Added,
            number: 0,
            committed: Default::default(),
            dataplane: None,
            outcome: Outcome::Unobserved,
            stages: Default::default(),
            phase: Some(phase),
        }
    }

    #[test]
    fn the_service_under_test_is_the_one_that_the_action_changed() {
        let mut all = vec![episode("default/noise", Phase::Baseline); 9];
        all.extend([episode("default/noise", Phase::Action), episode("default/test", Phase::Action)]);
        all.push(episode("default/test", Phase::Action));
        assert_eq!(under_test(&all).as_deref(), Some("default/test"));
        assert_eq!(under_test(&all[..9]).as_deref(), Some("default/noise"), "without an action, the most changes");
    }

    #[test]
    fn without_requests_the_service_that_changed_most_since_the_action_is_meant() {
        let look = |time: i64| Look { time, until: Some(time + 10), source: 0, record: time };
        let presence = |service: &str, at: &[i64]| Presence {
            service: service.to_owned(),
            address: "10.0.0.1".to_owned(),
            port: 80,
            protocol: "TCP".to_owned(),
            stream: 0,
            format: "iptables-save".to_owned(),
            clock: "n".to_owned(),
            time_from: "stamp".to_owned(),
            initially: false,
            changes: at.iter().map(|at| Change { present: true, before: look(at - 10), after: look(*at) }).collect(),
            first_look: look(0),
            last_look: look(900),
            shows_leaving: false,
        };
        let seen = [presence("a/noise", &[10, 20, 30]), presence("a/test", &[110, 120]), presence("a/test", &[120])];
        let action = Some(Window { start: 100, end: 101, slack: 0 });
        let windows = Windows { clock: "n".to_owned(), action, ..Windows::default() };
        let clocks = Graph::build(vec!["n".to_owned()], &[]);
        assert_eq!(most_changed(&seen, &clocks, &windows).as_deref(), Some("a/test"));
        let moves = of(&seen, Some("a/test"), &|_| String::new());
        let steps: Vec<_> = moves.streams[0].steps.iter().map(|one| (one.at.low, one.shown, one.came)).collect();
        assert_eq!(steps, [(Some(100), 110, 1), (Some(110), 120, 2)]);
        assert_eq!(most_changed(&seen[..1], &clocks, &windows), None);
    }
}
