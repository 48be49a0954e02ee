//! Scenario and windows of a run: from markers and transcripts, else from the audit log.
//!
//! ```text
//! date      kubectl      date          last change, sync or failed request that belongs to it
//! ├──────────────────────┤·······································┤ 1 s
//! action_start   action_returned        (not the action's end)    action's end        capture's end
//! ```
//!
//! A command returns long before what it began has ended. Where markers state the end (`rollout_complete`, `tail_start`) the
//! action ends there, or with its last endpoint in the dataplane. Where they state only the command's return, it ends a
//! second behind the last change, sync or failed request that belongs to it; with the next action; where nothing of the
//! kind was captured, with the capture. A window that nobody stated holds its last reading.

use syncline_schema::audit::AuditRow;
use syncline_schema::markers::MarkerRow;

use super::{Window, Windows};
use crate::clock::Evidence;

/// Nanoseconds of a second.
const SECOND: i64 = 1_000_000_000;
/// Baseline ahead of the first request where no markers say otherwise.
const BASELINE: i64 = 30 * SECOND;

/// A request that begins a scenario.
#[derive(Clone, Debug)]
pub struct Action {
    /// `scale-up`, `rolling-restart`, `pod-crash`.
    pub scenario: &'static str,
    /// Receipt of the request, ns.
    pub time: i64,
    /// Its clock domain.
    pub clock: String,
    /// The line.
    pub evidence: Evidence,
}

/// Requests of people (not of controllers) that scale, restart or delete, in order.
pub fn actions(audit: &[AuditRow<'static>], path: &dyn Fn(i32) -> String) -> Vec<Action> {
    let mut found = Vec::new();
    let mut replicas: std::collections::HashMap<(&str, &str), i64> = std::collections::HashMap::new();
    let mut rows: Vec<&AuditRow<'_>> = audit.iter().filter(|row| row.stage == "ResponseComplete").collect();
    rows.sort_by_key(|row| row.received);
    for row in rows {
        let succeeded = row.code.is_none_or(|code| (200..300).contains(&code));
        let controller = row.user.starts_with("system:");
        let key = (row.namespace.as_deref().unwrap_or_default(), row.name.as_deref().unwrap_or_default());
        let resource = row.resource.as_deref().unwrap_or_default();
        let count = row.replicas.filter(|_| resource == "deployments");
        let known = count.and_then(|count| replicas.insert(key, count));
        if controller || !succeeded {
            continue;
        }
        let scenario = match (resource, row.subresource.as_deref(), row.verb.as_ref()) {
            ("deployments", Some("scale"), "patch" | "update") => match (known, row.replicas) {
                (Some(before), Some(now)) if now <= before => None,
                _ => Some("scale-up"),
            },
            ("deployments", None, "patch" | "update") if row.restarted_at.is_some() => Some("rolling-restart"),
            ("pods", None, "delete") => Some("pod-crash"),
            _ => None,
        };
        if let Some(scenario) = scenario {
            let what = format!("{} {} by {}", row.verb, row.uri, row.user);
            let evidence = Evidence {
                path: path(row.source).into(),
                record: row.record,
                what: what.into(),
                ..Evidence::default()
            };
            found.push(Action { scenario, time: row.received, clock: row.clock.to_string(), evidence });
        }
    }
    found
}

/// Windows as markers state them.
#[derive(Clone, Debug, PartialEq)]
pub struct Stated {
    /// The action ends with its command's return as long as [`close`] has not been asked.
    pub windows: Windows,
    /// False where nobody stated when the action was over: the return of its command does not say.
    pub ends: bool,
}

/// Number of an action that a label begins (`action_start`, `action2_start`), as it is written.
fn begins(label: &str) -> Option<&str> {
    let number = label.strip_prefix("action")?.strip_suffix("_start")?;
    number.bytes().all(|byte| byte.is_ascii_digit()).then_some(number)
}

/// The markers that begin actions, by time. Two transcripts may number theirs alike.
pub fn starts<'m>(markers: &'m [MarkerRow<'static>]) -> Vec<&'m MarkerRow<'static>> {
    let mut found: Vec<&MarkerRow<'_>> = markers.iter().filter(|one| begins(&one.label).is_some()).collect();
    found.sort_by_key(|one| (one.time, one.source, one.record));
    found
}

/// Middle of when a marker was set, and how far it may be from there.
fn middle(marker: &MarkerRow<'_>) -> (i64, i64) {
    (marker.time + marker.resolution / 2, marker.resolution / 2)
}

/// Windows from markers; the action's end is moved to its last event later.
pub fn from_markers(markers: &[MarkerRow<'static>], path: &dyn Fn(i32) -> String) -> Option<Stated> {
    let starts = starts(markers);
    let action_start = starts.first().copied();
    let clock = action_start.or(markers.first())?.clock.to_string();
    let own = || markers.iter().filter(|marker| marker.clock == clock);
    let find = |label: &str| own().find(|marker| marker.label == label);
    let window = |from: Option<&MarkerRow<'_>>, to: Option<&MarkerRow<'_>>| {
        let ((from, before), (to, after)) = (middle(from?), middle(to?));
        (to > from).then(|| Window { start: from, end: to, slack: before.max(after) })
    };
    let later = |label: &str| {
        let start = action_start.map_or(i64::MIN, |start| start.time);
        own().filter(|marker| marker.label == label && marker.time >= start).min_by_key(|marker| marker.time)
    };
    let end = find("end").or_else(|| own().max_by_key(|marker| marker.time));
    let next = starts.iter().find(|marker| action_start.is_some_and(|start| marker.time > start.time));
    let (tail_start, stated) = (find("tail_start"), later("rollout_complete"));
    let ends = stated.or(tail_start).is_some();
    let mut action = window(action_start, stated.or(tail_start).or_else(|| later("action_returned")));
    if let (None, Some(start)) = (&action, action_start) {
        // Whole seconds may hold the command and its return; or nobody wrote when it returned.
        let (start, slack) = middle(start);
        action = Some(Window { start, end: start + 1, slack });
    }
    let mut followed = None;
    if let (Some(action), Some(next)) = (&mut action, next) {
        let next = middle(next).0;
        action.end = action.end.min(next).max(action.start + 1);
        followed = end.filter(|_| ends).map(|end| middle(end).0).filter(|end| *end > action.end).map(|end| Window {
            start: action.end,
            end,
            slack: action.slack,
        });
    }
    let baseline = window(find("baseline_start"), find("baseline_end")).or_else(|| {
        let (start, slack) = middle(action_start?);
        Some(Window { start: start - BASELINE, end: start, slack })
    });
    // A further action ends the first one: what follows is its tail.
    let tail = followed.or_else(|| window(tail_start.or(stated), end).filter(|_| ends));
    if baseline.is_none() && action.is_none() {
        return None;
    }
    let evidence = |marker: &MarkerRow<'_>| Evidence {
        path: path(marker.source).into(),
        record: marker.record,
        what: marker.label.as_ref().into(),
        ..Evidence::default()
    };
    let named = [find("baseline_start"), find("baseline_end"), action_start, stated];
    let evidence = named.into_iter().flatten().map(evidence).collect();
    let windows = Windows { clock, baseline, action, tail, from: "time markers".to_owned(), evidence, next: None };
    Some(Stated { windows, ends })
}

/// The scenario that a command, or kubectl's answer to it, begins; null where its words do not tell.
pub fn scenario_of(command: &str) -> Option<&'static str> {
    let words: Vec<&str> = command
        .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-')
        .filter(|word| !word.is_empty())
        .collect();
    let has = |word: &str| words.contains(&word);
    let set = has("set") && ["image", "env", "resources"].iter().any(|word| has(word));
    let updated = has("updated") && ["image", "env", "resource"].iter().any(|word| has(word));
    let rolled = has("rollout") && (has("restart") || has("undo")) || command.contains("rolled back");
    if rolled || has("restarted") || set || updated {
        Some("rolling-restart")
    } else if has("scale") || has("scaled") {
        Some("scale-up")
    } else if ["kill", "pkill", "killall"].iter().any(|word| has(word))
        || (has("delete") || has("deleted")) && ["pod", "pods", "po"].iter().any(|word| has(word))
    {
        Some("pod-crash")
    } else {
        None
    }
}

/// Windows from the first action in the audit log; `last` is the last time on that clock.
pub fn from_actions(actions: &[Action], last: i64) -> Option<Windows> {
    let first = actions.first()?;
    let next = actions.iter().skip(1).find(|action| action.time > first.time + SECOND).map(|action| action.time);
    let start = first.time;
    // The last reading belongs to it.
    let end = next.unwrap_or(last + 1).max(start + SECOND);
    Some(Windows {
        clock: first.clock.clone(),
        baseline: Some(Window { start: start - BASELINE, end: start, slack: 0 }),
        action: Some(Window { start, end, slack: 0 }),
        tail: None,
        from: "the audit log (there are no markers)".to_owned(),
        evidence: vec![first.evidence.clone()],
        next,
    })
}

/// Moves the end of the action to a second behind the last endpoint in the dataplane, and the tail behind it.
/// `next` is where the next action begins.
pub fn extend(windows: &mut Windows, last_in_dataplane: Option<i64>, marked: bool) {
    let (Some(action), Some(last)) = (&mut windows.action, last_in_dataplane) else { return };
    let end = last + SECOND;
    let old = action.end;
    action.end = if marked { action.end.max(end) } else { end.min(action.end).max(action.start + SECOND) };
    match &mut windows.tail {
        Some(tail) => tail.start = tail.start.max(action.end).min(tail.end),
        None if old > action.end => windows.tail = Some(Window { start: action.end, end: old, slack: action.slack }),
        None => {}
    }
}

/// What may belong to an action whose end nobody stated, ns on the windows' clock.
#[derive(Clone, Debug, Default)]
pub struct Events {
    /// Endpoints committed, requests that change them, changes of the dataplane.
    pub changes: Vec<i64>,
    /// Syncs and failed requests, which a cluster at rest may have too.
    pub others: Vec<i64>,
    /// When the next action begins.
    pub next: Option<i64>,
    /// Last moment that any capture tells of.
    pub last: Option<i64>,
}

/// A change later than this behind the one before it does not belong to the same action (but the first may wait for images).
const CHANGES_APART: i64 = 60 * SECOND;
/// As above, for a sync or a failed request.
const OTHERS_APART: i64 = 5 * SECOND;

/// Ends an action that markers only begin.
pub fn close(windows: &mut Windows, mut events: Events) {
    let Some(action) = &mut windows.action else { return };
    let until = events.next.unwrap_or(i64::MAX);
    let (start, returned) = (action.start - action.slack, action.end);
    for list in [&mut events.changes, &mut events.others] {
        list.retain(|time| *time >= start && *time < until);
        list.sort_unstable();
    }
    let mut last = None;
    for change in &events.changes {
        if last.is_some_and(|last: i64| *change - last > CHANGES_APART) {
            break;
        }
        last = Some(*change);
    }
    let changed = last.is_some();
    for other in &events.others {
        if changed && last.is_some_and(|last| *other > last.max(returned) + OTHERS_APART) {
            break;
        }
        last = last.max(Some(*other));
    }
    let end = match last {
        Some(last) => last + SECOND,
        None => events.last.unwrap_or(returned) + 1,
    };
    action.end = end.max(returned).min(until);
    windows.from.push_str(match (last, events.next) {
        (_, Some(next)) if action.end == next => "; nobody stated the action's end: the next one's begin",
        (Some(_), _) => "; nobody stated the action's end: a second behind the last change, sync or failed request that belongs to it",
        (None, _) => "; nobody stated the action's end, and no change, sync or failed request was captured: the capture's end",
    });
    let end = events.last.map(|last| last + 1).filter(|end| *end > action.end);
    windows.tail = end.map(|end| Window { start: action.end, end, slack: action.slack });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker(label: &'static str, seconds: i64, resolution: i64) -> MarkerRow<'static> {
        MarkerRow {
            clock: "operator".into(),
            time: seconds * SECOND,
            resolution,
            label: label.into(),
            ..Default::default()
        }
    }

    fn stated(markers: &[MarkerRow<'static>]) -> Stated {
        from_markers(markers, &|_| String::new()).unwrap()
    }

    fn seconds(window: &Option<Window>) -> Option<(f64, f64)> {
        window.as_ref().map(|one| (one.start as f64 / 1e9, one.end as f64 / 1e9))
    }

    #[test]
    fn the_return_of_a_command_does_not_end_its_action() {
        let of = |events: Events| {
            let mut found = stated(&[marker("action_start", 100, 1), marker("action_returned", 101, 1)]);
            assert!(!found.ends);
            close(&mut found.windows, events);
            (seconds(&found.windows.action), seconds(&found.windows.tail))
        };
        let at = |list: &[i64]| list.iter().map(|one| one * SECOND).collect::<Vec<_>>();
        let last = Some(200 * SECOND);
        // One sync, 3 s behind.
        assert_eq!(of(Events { others: at(&[90, 104]), ..Events::default() }), (Some((100.0, 105.0)), None));
        // Syncs go on while things change; one that comes long after does not belong to it.
        let (action, tail) =
            of(Events { changes: at(&[130, 150]), others: at(&[131, 153, 190]), last, ..Events::default() });
        assert_eq!((action, tail), (Some((100.0, 154.0)), Some((154.0, 200.000000001))));
        assert_eq!(of(Events { changes: at(&[130, 195]), ..Events::default() }).0, Some((100.0, 131.0)));
        let next = Some(120 * SECOND);
        assert_eq!(of(Events { changes: at(&[110, 130]), next, last, ..Events::default() }).0, Some((100.0, 111.0)));
        // Nothing of the kind was captured: the capture's end, and its last reading is in.
        assert_eq!(of(Events { last, ..Events::default() }).0, Some((100.0, 200.000000001)));
    }

    #[test]
    fn a_stated_end_holds_and_whole_seconds_have_their_middle() {
        let all = [marker("action_start", 100, SECOND), marker("rollout_complete", 110, SECOND), marker("end", 150, 1)];
        let found = stated(&all);
        assert!(found.ends);
        assert_eq!(seconds(&found.windows.action), Some((100.5, 110.5)));
        assert_eq!(seconds(&found.windows.tail), Some((110.5, 150.0)));
        assert_eq!(found.windows.action.map(|one| one.slack), Some(SECOND / 2));
        let both = stated(&[marker("action_start", 100, SECOND), marker("action_returned", 100, SECOND)]);
        assert_eq!(seconds(&both.windows.action), Some((100.5, 100.500000001)));
    }

    #[test]
    fn commands_and_answers_tell_the_scenario() {
        for (text, expected) in [
            ("kubectl -n shop scale deploy/cart --replicas=9", Some("scale-up")),
            ("(deployment.apps/cart scaled)", Some("scale-up")),
            ("kubectl rollout undo deploy/cart", Some("rolling-restart")),
            ("(deployment.apps/cart rolled back)", Some("rolling-restart")),
            ("kubectl set image deploy/cart app=x:2", Some("rolling-restart")),
            ("kubectl delete pod cart-1", Some("pod-crash")),
            ("(pod \"cart-1\" deleted from default namespace)", Some("pod-crash")),
            ("ctr -n k8s.io tasks kill -s SIGKILL 68bd", Some("pod-crash")),
            ("kubectl delete service cart", None),
            ("kubectl apply -f cart.yaml", None),
        ] {
            assert_eq!(scenario_of(text), expected, "{text}");
        }
    }
}
