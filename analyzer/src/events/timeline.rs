//! All events of a run on one clock, with bounds.

use polars::prelude::{col, lit};
use serde::Serialize;
use syncline_schema::audit::AuditRow;
use syncline_schema::markers::MarkerRow;
use syncline_schema::requests::RequestRow;
use syncline_schema::syncs::SyncRow;

use super::{Direction, Run};

/// One event.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// Earliest and latest time on the reference clock, ns.
    pub low: i64,
    /// As above.
    pub high: i64,
    /// `marker`, `request`, `endpoint`, `sync`, `dataplane`, `failure`.
    pub kind: &'static str,
    /// What it concerns.
    pub object: String,
    /// What happened.
    pub what: String,
    /// Where it stands.
    pub source: String,
    /// Line.
    pub record: i64,
    /// True where the bounds leave open whether it came before the event ahead of it.
    pub order_open: bool,
}

/// The timeline.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Timeline {
    /// Reference clock.
    pub clock: String,
    /// In order of the middle of their bounds.
    pub events: Vec<Event>,
    /// Clocks that nothing relates to the reference, with the number of their events: these are not in the list.
    pub unrelated: Vec<(String, u64)>,
}

/// Builds the timeline on the run's reference clock (that of its windows).
///
/// # Errors
/// A table that cannot be read.
pub fn timeline(run: &Run) -> anyhow::Result<Timeline> {
    let mut found = Timeline { clock: run.windows.clock.clone(), ..Timeline::default() };
    let mut lost = std::collections::BTreeMap::new();
    let mut add = |low: Option<i64>, high: Option<i64>, clock: &str, event: Event| {
        let (Some(low), Some(high)) = (low.or(high), high.or(low)) else { return };
        match run.clocks.offset(clock, &run.windows.clock) {
            Some(offset) => found.events.push(Event { low: low + offset.low, high: high + offset.high, ..event }),
            None => *lost.entry(clock.to_owned()).or_insert(0) += 1,
        }
    };
    let event = |kind, object: String, what: String, source: i32, record: i64| Event {
        low: 0,
        high: 0,
        kind,
        object,
        what,
        source: run.path(source).to_owned(),
        record,
        order_open: false,
    };
    for row in run.bundle.rows::<MarkerRow<'static>>(None)? {
        let what = row.command.as_deref().unwrap_or_default().to_owned();
        add(
            Some(row.time),
            Some(row.time + row.resolution - 1),
            &row.clock,
            event("marker", row.label.to_string(), what, row.source, row.record),
        );
    }
    let writes = ["create", "update", "patch", "delete"].into_iter().map(|verb| col("verb").eq(lit(verb)));
    let stage = col("stage").eq(lit("ResponseComplete"));
    let filter = writes.reduce(|a, b| a.or(b)).map(|verbs| verbs.and(stage));
    for row in run.bundle.rows::<AuditRow<'static>>(filter)? {
        if row.namespace.as_deref() == Some("kube-node-lease") {
            continue;
        }
        let object =
            [row.resource.as_deref(), row.subresource.as_deref(), row.namespace.as_deref(), row.name.as_deref()];
        let object = object.into_iter().flatten().collect::<Vec<_>>().join("/");
        let what = format!("{} by {}", row.verb, row.user);
        add(
            Some(row.received),
            Some(row.stage_time),
            &row.clock,
            event("request", object, what, row.source, row.record),
        );
    }
    for row in run.bundle.rows::<SyncRow<'static>>(None)? {
        let duration = row.duration.map(|ns| format!(" after {:.3} ms", ns as f64 / 1e6)).unwrap_or_default();
        let object = row.object.as_deref().unwrap_or_default().to_owned();
        add(
            Some(row.time),
            Some(row.time),
            &row.clock,
            event("sync", object, format!("{}{duration}", row.moment), row.source, row.record),
        );
    }
    for row in run.bundle.rows::<RequestRow<'static>>(Some(col("error").is_not_null()))? {
        let end = row.latency.map(|latency| row.time + latency);
        let what = row.error.as_deref().unwrap_or_default().to_owned();
        add(Some(row.time), end, &row.clock, event("failure", row.kind.to_string(), what, row.source, row.record));
    }
    for episode in &run.episodes {
        let object = format!("{} {}:{}", episode.endpoint.service, episode.endpoint.address, episode.endpoint.port);
        let verb = match episode.direction {
            Direction::Added => "ready",
            Direction::Removed => "no longer ready",
        };
        let place = |at: &super::Observed, kind, what: String| {
            let first = at.evidence.last();
            Event {
                low: 0,
                high: 0,
                kind,
                object: object.clone(),
                what,
                source: first.map(|one| one.path.clone()).unwrap_or_default(),
                record: first.map_or(0, |one| one.record),
                order_open: false,
            }
        };
        let committed = &episode.committed;
        add(committed.low, committed.high, &committed.clock, place(committed, "endpoint", verb.to_owned()));
        if let Some(seen) = episode.dataplane.as_ref().filter(|seen| seen.high.is_some()) {
            let what = match episode.direction {
                Direction::Added => format!("in the dataplane ({})", seen.witness),
                Direction::Removed => format!("out of the dataplane ({})", seen.witness),
            };
            add(seen.low, seen.high, &seen.clock, place(seen, "dataplane", what));
        }
    }
    found.events.sort_by(|a, b| {
        let key = |one: &Event| (i128::from(one.low) + i128::from(one.high), one.low);
        key(a)
            .cmp(&key(b))
            .then_with(|| (&a.source, a.record, a.kind, &a.object).cmp(&(&b.source, b.record, b.kind, &b.object)))
    });
    let mut latest = i64::MIN;
    for event in &mut found.events {
        event.order_open = event.low <= latest && latest != i64::MIN;
        latest = latest.max(event.high);
    }
    found.unrelated = lost.into_iter().collect();
    Ok(found)
}
