//! Scenario and windows of a run: from markers, else from the audit log.

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
            let evidence = Evidence { path: path(row.source), record: row.record, what };
            found.push(Action { scenario, time: row.received, clock: row.clock.to_string(), evidence });
        }
    }
    found
}

/// Windows from markers; the action's end is moved to the last endpoint later.
pub fn from_markers(markers: &[MarkerRow<'static>], path: &dyn Fn(i32) -> String) -> Option<Windows> {
    let find = |label: &str| markers.iter().find(|marker| marker.label == label);
    let clock = markers.first()?.clock.to_string();
    let window = |from: Option<&MarkerRow<'_>>, to: Option<&MarkerRow<'_>>| {
        let (from, to) = (from?, to?);
        (to.time > from.time).then(|| Window {
            start: from.time,
            end: to.time,
            slack: from.resolution.max(to.resolution) / 2,
        })
    };
    let action_start = find("action_start");
    let end = find("end").or_else(|| markers.iter().max_by_key(|marker| marker.time));
    let next_action = markers.iter().find(|marker| {
        let numbered = marker.label.strip_prefix("action").and_then(|rest| rest.strip_suffix("_start"));
        numbered.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    });
    let complete = find("rollout_complete").or_else(|| find("action_returned"));
    let mut action = window(action_start, complete);
    let mut followed = None;
    if let (Some(action), Some(next)) = (&mut action, next_action) {
        action.end = action.end.min(next.time);
        followed = end.filter(|end| end.time > action.end).map(|end| Window {
            start: action.end,
            end: end.time,
            slack: action.slack,
        });
    }
    let baseline = window(find("baseline_start"), find("baseline_end")).or_else(|| {
        let start = action_start?;
        Some(Window { start: start.time - BASELINE, end: start.time, slack: start.resolution / 2 })
    });
    // A further action ends the first one: what follows is its tail.
    let tail = followed.or_else(|| window(find("tail_start").or(complete), end));
    if baseline.is_none() && action.is_none() {
        return None;
    }
    let evidence = |marker: &MarkerRow<'_>| Evidence {
        path: path(marker.source),
        record: marker.record,
        what: marker.label.to_string(),
    };
    let named = ["baseline_start", "baseline_end", "action_start", "rollout_complete"];
    let evidence = named.iter().filter_map(|label| find(label)).map(evidence).collect();
    Some(Windows { clock, baseline, action, tail, from: "time markers".to_owned(), evidence })
}

/// Windows from the first action in the audit log; `last` is the last time on that clock.
pub fn from_actions(actions: &[Action], last: i64) -> Option<Windows> {
    let first = actions.first()?;
    let next = actions.iter().skip(1).find(|action| action.time > first.time + SECOND).map(|action| action.time);
    let start = first.time;
    let end = next.unwrap_or(last).max(start + SECOND);
    Some(Windows {
        clock: first.clock.clone(),
        baseline: Some(Window { start: start - BASELINE, end: start, slack: 0 }),
        action: Some(Window { start, end, slack: 0 }),
        tail: None,
        from: "the audit log (there are no markers)".to_owned(),
        evidence: vec![first.evidence.clone()],
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
