//! Replayed rules as a table, JSON and JUnit.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use syncline_promql::{Labels, format_float_short};

use super::grid::{Cell, Screen, Style, grid};
use super::junit::{Case, Outcome, document};
use crate::query::ask::RUN;
use crate::query::rules::alerts::{ALERT_NAME, Stretch};
use crate::query::rules::judged::Status;
use crate::query::rules::read::{Rules, What};
use crate::query::rules::replay::{GroupHistory, Replay, RuleHistory};

/// Columns of a drawn stretch.
const COURSE: usize = 16;

/// The rules over one run.
#[derive(Clone, Debug)]
pub struct RunAlerts {
    pub run: String,
    pub replay: Replay,
}

/// Whether any alert of any run fired.
pub fn any_firing(runs: &[RunAlerts]) -> bool {
    rules(runs).any(|(_, _, rule)| rule.status == Status::Firing)
}

/// Whether anything could be judged at all.
pub fn any_judged(runs: &[RunAlerts]) -> bool {
    rules(runs).any(|(_, _, rule)| rule.status == Status::Firing || rule.status.is_pass())
}

fn rules(runs: &[RunAlerts]) -> impl Iterator<Item = (&RunAlerts, &GroupHistory, &RuleHistory)> {
    let groups = runs.iter().flat_map(|run| run.replay.groups.iter().map(move |group| (run, group)));
    groups.flat_map(|(run, group)| group.rules.iter().map(move |rule| (run, group, rule)))
}

/// A table for each run: what fired first. Recording rules are listed only where they failed or gave nothing.
pub fn table(runs: &[RunAlerts], read: &Rules, screen: Screen) -> String {
    let mut out = String::new();
    for run in runs {
        if !out.is_empty() {
            out.push('\n');
        }
        let heading = match run.replay.span {
            Some((start, end)) => {
                format!("{}: {} to {} ({} s)", run.run, moment(start), moment(end), (end - start) as f64 / 1e3)
            }
            None => format!("{}: no samples", run.run),
        };
        out.push_str(&grid(&[vec![Cell::new(heading, Style::Bold)]], screen));
        let start = run.replay.span.map_or(0, |(start, _)| start);
        let head = ["STATUS", "RULE", "COURSE", "SINCE", "FIRING", "UNTIL", "VALUE", "LABELS, OR WHY"];
        let mut lines = vec![head.map(|text| Cell::new(text, Style::Dim)).to_vec()];
        let mut all: Vec<(&GroupHistory, &RuleHistory)> =
            run.replay.groups.iter().flat_map(|group| group.rules.iter().map(move |rule| (group, rule))).collect();
        all.retain(|(_, rule)| rule.status != Status::Recorded);
        let names = names(&all);
        let mut all: Vec<_> = all.into_iter().zip(names).collect();
        all.sort_by_key(|((_, rule), _)| rule.status);
        for ((group, rule), name) in all {
            let status = Cell::new(rule.status.word(), style(rule.status));
            let blank = || Cell::from("");
            if rule.stretches.is_empty() || !rule.why.is_empty() {
                let every = format!("{} evaluations, one in {} s", group.evaluations, group.interval as f64 / 1e3);
                let why = if rule.why.is_empty() { every } else { rule.why.clone() };
                lines.push(vec![
                    status.clone(),
                    name.clone().into(),
                    blank(),
                    blank(),
                    blank(),
                    blank(),
                    blank(),
                    why.into(),
                ]);
            }
            for one in &rule.stretches {
                let after = |time: i64| Cell::number(format!("+{} s", (time - start) as f64 / 1e3));
                let firing = one.firing.map_or_else(|| Cell::number("–"), after);
                let until = one.resolved.map_or_else(|| Cell::number("the end"), after);
                let labels = one.labels.without(&[ALERT_NAME]).to_string();
                let values = values(one);
                lines.push(vec![
                    status.clone(),
                    name.clone().into(),
                    Cell::whole(course(one, run.replay.span)),
                    after(one.pending),
                    firing,
                    until,
                    values.into(),
                    labels.into(),
                ]);
            }
        }
        out.push_str(&grid(&lines, screen));
    }
    for one in &read.refused {
        let line = format!("not evaluated: {}: {}", one.place, one.why);
        out.push_str(&grid(&[vec![Cell::new(line, Style::Red)]], screen));
    }
    out
}

/// Names of rules in a table: those of one name are told apart by their groups, and by their place where these are the same.
fn names(all: &[(&GroupHistory, &RuleHistory)]) -> Vec<String> {
    let mut named: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    let mut numbers = Vec::new();
    for (group, rule) in all {
        let number = named.entry(&rule.name).or_default().entry(&group.name).or_default();
        *number += 1;
        numbers.push(*number);
    }
    let name = |((group, rule), number): (&(&GroupHistory, &RuleHistory), usize)| {
        let groups = &named[rule.name.as_str()];
        match groups[group.name.as_str()] {
            1 if groups.len() == 1 => rule.name.clone(),
            1 => format!("{} [{}]", rule.name, group.name),
            _ => format!("{} [{} {number}]", rule.name, group.name),
        }
    };
    all.iter().zip(numbers).map(name).collect()
}

/// The stretch over the time of the run: `░` pending, `█` firing.
fn course(one: &Stretch, span: Option<(i64, i64)>) -> String {
    let Some((start, end)) = span else { return String::new() };
    // The last evaluation fills a part too.
    let length = (end - start).max(1) + 1;
    let column =
        |time: i64| (i128::from(time - start) * COURSE as i128 / i128::from(length)).clamp(0, COURSE as i128 - 1);
    let gone = one.resolved.map_or(COURSE as i128, |time| column(time).max(column(one.pending) + 1));
    (0..COURSE as i128)
        .map(|at| match one.firing {
            _ if at < column(one.pending) || at >= gone => '·',
            Some(firing) if at >= column(firing) => '█',
            _ => '░',
        })
        .collect()
}

fn values(one: &Stretch) -> String {
    let (low, high) = (short(one.minimum), short(one.maximum));
    if low == high { low } else { format!("{low} to {high}") }
}

/// Four digits are enough to read.
fn short(value: f64) -> String {
    if !value.is_finite() || value == 0.0 {
        return format_float_short(value);
    }
    let rounded: f64 = format!("{value:.3e}").parse().unwrap_or(value);
    format_float_short(rounded)
}

fn style(status: Status) -> Style {
    match status {
        Status::Firing | Status::Failed => Style::Red,
        Status::NoData | Status::Undecided | Status::InPart => Style::Yellow,
        Status::Pending | Status::Inactive => Style::Green,
        Status::Recorded => Style::Plain,
    }
}

/// ms since 1970 in RFC 3339.
fn moment(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| format!("{ms} ms"), |time| time.to_string())
}

/// What stands beside the rules of a run: lines for people.
pub fn notes(runs: &[RunAlerts], read: &Rules) -> Vec<String> {
    let mut all = read.remarks.clone();
    for run in runs {
        for (name, number) in &run.replay.aside {
            all.push(format!("{}: {number} captured series {name} left aside: a rule writes them", run.run));
        }
    }
    for (run, group, rule) in rules(runs) {
        all.extend(rule.notes.iter().map(|note| format!("{}: {}: {}: {note}", run.run, group.name, rule.name)));
    }
    all
}

/// The document of `--format json`.
pub fn json(runs: &[RunAlerts], read: &Rules) -> Value {
    let labels = |labels: &Labels| -> Value {
        labels.pairs().iter().map(|(name, value)| (name.to_string(), Value::from(value.to_string()))).collect()
    };
    let number = |value: f64| if value.is_finite() { json!(value) } else { json!(format_float_short(value)) };
    let stretch = |one: &Stretch| {
        json!({
            "labels": labels(&one.labels), "annotations": one.annotations,
            "pending": moment(one.pending), "firing": one.firing.map(moment), "resolved": one.resolved.map(moment),
            "evaluations": one.evaluations, "minimum": number(one.minimum), "maximum": number(one.maximum),
        })
    };
    let rule = |one: &RuleHistory| {
        let (kind, hold, keep) = match one.what {
            What::Record => ("recording", None, None),
            What::Alert { hold, keep } => ("alerting", Some(hold as f64 / 1e3), Some(keep as f64 / 1e3)),
        };
        json!({
            "name": one.name, "type": kind, "query": one.expr, "for_seconds": hold, "keep_firing_for_seconds": keep,
            "status": one.status.word().replace(' ', "_"), "why": one.why, "evaluations_with_value": one.valued, "series": one.series,
            "stretches": one.stretches.iter().map(stretch).collect::<Vec<_>>(), "failures": one.failures, "notes": one.notes,
        })
    };
    let group = |one: &GroupHistory| {
        json!({
            "file": one.file, "name": one.name, "interval_seconds": one.interval as f64 / 1e3, "evaluations": one.evaluations,
            "rules": one.rules.iter().map(rule).collect::<Vec<_>>(),
        })
    };
    let run = |one: &RunAlerts| {
        json!({
            "run": one.run, "start": one.replay.span.map(|(start, _)| moment(start)), "end": one.replay.span.map(|(_, end)| moment(end)),
            "groups": one.replay.groups.iter().map(group).collect::<Vec<_>>(), "left_aside": one.replay.aside,
        })
    };
    let refused: Vec<Value> = read.refused.iter().map(|one| json!({ "place": one.place, "why": one.why })).collect();
    json!({ "runs": runs.iter().map(run).collect::<Vec<_>>(), "refused": refused, "remarks": read.remarks })
}

/// A case a rule and run: one that fired fails, one that is known not to have fired passes, every other is skipped. A rule that cannot
/// be evaluated fails: nothing is known of it.
pub fn junit(runs: &[RunAlerts], read: &Rules) -> String {
    let case = |(run, group, rule): (&RunAlerts, &GroupHistory, &RuleHistory)| {
        let detail = rule.stretches.iter().map(|one| {
            let firing = one.firing.map_or_else(|| "never".to_owned(), moment);
            let until = one.resolved.map_or_else(|| "the end".to_owned(), moment);
            let words: Vec<String> = one.annotations.iter().map(|(name, text)| format!("{name}: {text}")).collect();
            format!(
                "{}: pending {}, firing {firing}, until {until}, value {}. {}",
                one.labels,
                moment(one.pending),
                values(one),
                words.join(" ")
            )
        });
        Case {
            suite: format!("{}, {}", run.run, group.name),
            name: rule.name.clone(),
            outcome: match rule.status {
                Status::Firing | Status::Failed => Outcome::Failed,
                status if status.is_pass() => Outcome::Passed,
                _ => Outcome::Skipped,
            },
            message: if rule.why.is_empty() {
                rule.status.word().to_owned()
            } else {
                format!("{}: {}", rule.status.word(), rule.why)
            },
            detail: std::iter::once(rule.expr.clone()).chain(detail).collect(),
        }
    };
    let mut cases: Vec<Case> = rules(runs).map(case).collect();
    cases.extend(read.refused.iter().map(|one| Case {
        suite: "not evaluated".to_owned(),
        name: one.place.clone(),
        outcome: Outcome::Failed,
        message: one.why.clone(),
        detail: Vec::new(),
    }));
    document("syncline alerts", cases)
}
/// Groups and alerts as they stood at the last evaluation, in the form of Prometheus' HTTP API (`/api/v1/rules`, `/api/v1/alerts`). With a
/// name of the run every alert and group says of which it is; `shift` (ms) is added to all times.
pub fn as_the_api(replay: &Replay, run: Option<&str>, shift: i64) -> (Vec<Value>, Vec<Value>) {
    let moved = |time: i64| moment(time.saturating_add(shift));
    let last = replay.span.map_or_else(String::new, |(_, last)| moved(last));
    let mut all = Vec::new();
    let alert = |stretch: &Stretch| {
        let labels = run.map_or_else(|| stretch.labels.clone(), |run| stretch.labels.with(RUN, run));
        json!({
            "labels": labels_json(&labels),
            "annotations": stretch.annotations,
            "state": if stretch.firing.is_some() { "firing" } else { "pending" },
            "activeAt": moved(stretch.pending),
            "value": format_exponent(stretch.last),
        })
    };
    let rule = |rule: &RuleHistory| {
        let health = if rule.failures.is_empty() { "ok" } else { "err" };
        let mut out = json!({
            "name": rule.name,
            "query": rule.expr,
            "health": health,
            "evaluationTime": 0,
            "lastEvaluation": last,
        });
        if let Some(error) = rule.failures.keys().next() {
            out["lastError"] = json!(error);
        }
        let What::Alert { hold, keep } = rule.what else {
            out["type"] = json!("recording");
            return (out, Vec::new());
        };
        let alerts: Vec<Value> = rule.stretches.iter().filter(|one| one.resolved.is_none()).map(alert).collect();
        let any = |state: &str| alerts.iter().any(|one| one["state"] == state);
        let state = if any("firing") {
            "firing"
        } else if any("pending") {
            "pending"
        } else {
            "inactive"
        };
        out["type"] = json!("alerting");
        out["state"] = json!(state);
        out["duration"] = json!(hold as f64 / 1e3);
        out["keepFiringFor"] = json!(keep as f64 / 1e3);
        out["labels"] = json!({});
        out["annotations"] = json!({});
        out["alerts"] = json!(alerts);
        (out, alerts)
    };
    let groups = replay.groups.iter().map(|group| {
        let (rules, alerts): (Vec<Value>, Vec<Vec<Value>>) = group.rules.iter().map(rule).unzip();
        all.extend(alerts.into_iter().flatten());
        json!({
            "name": run.map_or_else(|| group.name.clone(), |run| format!("{} ({run})", group.name)),
            "file": file_name(&group.file),
            "interval": group.interval as f64 / 1e3,
            "limit": 0,
            "evaluationTime": 0,
            "lastEvaluation": last,
            "rules": rules,
        })
    });
    let groups = groups.collect();
    (groups, all)
}

fn labels_json(labels: &Labels) -> Value {
    labels
        .pairs()
        .iter()
        .map(|(name, value)| (name.to_string(), Value::from(&**value)))
        .collect::<Map<String, Value>>()
        .into()
}

/// A value as the API writes that of an alert: `1e+00`.
fn format_exponent(value: f64) -> String {
    if !value.is_finite() {
        return format_float_short(value);
    }
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    match exponent.strip_prefix('-') {
        Some(digits) => format!("{mantissa}e-{digits:0>2}"),
        None => format!("{mantissa}e+{exponent:0>2}"),
    }
}

/// The last part of a path: those who ask need not know where it lies.
fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_is_drawn_over_the_time_of_the_run() {
        let stretch = |pending, firing, resolved| Stretch {
            labels: Labels::default(),
            annotations: Default::default(),
            pending,
            firing,
            resolved,
            evaluations: 1,
            minimum: 1.0,
            maximum: 1.0,
            last: 1.0,
        };
        let drawn = |one: Stretch| course(&one, Some((0, 160_000)));
        assert_eq!(drawn(stretch(0, None, None)), "░░░░░░░░░░░░░░░░");
        assert_eq!(drawn(stretch(40_100, Some(80_100), Some(120_100))), "····░░░░████····");
        assert_eq!(drawn(stretch(160_000, Some(160_000), None)), "···············█");
        assert_eq!(drawn(stretch(50_100, None, Some(50_200))), "·····░··········", "however short");
        assert_eq!(course(&stretch(0, None, None), None), "");
    }
}
