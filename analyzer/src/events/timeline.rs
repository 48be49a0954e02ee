//! All events of a run on one clock, with bounds.
//!
//! Events are read in parts, sorted in runs of a fixed number, and merged from disk: memory does not grow with the capture.
//!
//! ```text
//! tables ─ part by part ─ on the reference clock ─ kept? ─ 65,536 events, sorted ─ file ─┐
//!                                                                                      ├─ merge ─ order marked ─ sink
//!                                                                              … ─ file ─┘
//! ```

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io::{BufRead, BufReader, BufWriter, Seek, Write};

use anyhow::Context;
use polars::prelude::{Expr, col, lit};
use serde::{Deserialize, Serialize};
use syncline_schema::Row;
use syncline_schema::audit::AuditRow;
use syncline_schema::markers::MarkerRow;
use syncline_schema::requests::RequestRow;
use syncline_schema::syncs::SyncRow;

use super::{Direction, Observed, Run};

/// What an event may be.
pub const KINDS: [&str; 6] = ["marker", "request", "endpoint", "sync", "dataplane", "failure"];
/// Stands for a clock where a line has no date (no year, no zone): the log of a proxy, say.
pub const UNDATED: &str = "(no date)";
/// Events that are sorted in memory, and rows that are read at once.
const AT_ONCE: usize = 1 << 16;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Event {
    /// Earliest and latest time on the reference clock, ns.
    pub low: i64,
    /// As above.
    pub high: i64,
    /// One of [`KINDS`].
    pub kind: String,
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
    /// Clock that it was read on.
    pub clock: String,
    /// How much of the bounds' width comes from converting that clock, ns.
    pub converted: i64,
    /// Index of the episode among the run's that it is of; of a commit, the first node's.
    pub episode: Option<usize>,
}

impl Event {
    /// Place in the timeline: the middle of the bounds, then where it stands.
    fn place(&self) -> (i128, i64, &str, i64, &str, &str) {
        let middle = i128::from(self.low) + i128::from(self.high);
        (middle, self.low, &self.source, self.record, &self.kind, &self.object)
    }
}

/// Which events are wanted. An event whose bounds reach into the time is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// First moment on the reference clock, ns.
    pub from: Option<i64>,
    /// First moment behind the time wanted.
    pub to: Option<i64>,
    /// Kind, one of [`KINDS`].
    pub kind: Option<String>,
    /// Text that the object contains.
    pub object: Option<String>,
    /// Text that the path of the source contains.
    pub source: Option<String>,
}

impl Filter {
    fn keeps(&self, event: &Event) -> bool {
        let contains = |wanted: &Option<String>, text: &str| wanted.as_ref().is_none_or(|wanted| text.contains(wanted));
        self.from.is_none_or(|from| event.high >= from)
            && self.to.is_none_or(|to| event.low < to)
            && self.kind.as_ref().is_none_or(|kind| *kind == event.kind)
            && contains(&self.object, &event.object)
            && contains(&self.source, &event.source)
    }
}

/// Gives the events that `filter` keeps to `sink`, in order, on the run's reference clock (that of its windows). The answer
/// is the clocks that nothing relates to it, with the number of their events, which are not among them; [`UNDATED`] stands for
/// those that have no time at all.
///
/// # Errors
/// A table that cannot be read, no room for temporary files, or an error of the sink.
pub fn each(
    run: &Run,
    filter: &Filter,
    sink: &mut dyn FnMut(Event) -> anyhow::Result<()>,
) -> anyhow::Result<Vec<(String, u64)>> {
    let mut sorter = Sorter::default();
    let mut lost = BTreeMap::new();
    let mut add = |low: Option<i64>, high: Option<i64>, clock: &str, event: Event| -> anyhow::Result<()> {
        let (Some(low), Some(high)) = (low.or(high), high.or(low)) else {
            *lost.entry(UNDATED.to_owned()).or_insert(0) += 1;
            return Ok(());
        };
        match run.clocks.offset_within(clock, &run.windows.clock, Some(low), Some(high)) {
            Some(offset) => {
                let (low, high) = (low + offset.low, high + offset.high);
                let event = Event { low, high, clock: clock.to_owned(), converted: offset.high - offset.low, ..event };
                if filter.keeps(&event) { sorter.add(event) } else { Ok(()) }
            }
            None => {
                *lost.entry(clock.to_owned()).or_insert(0) += 1;
                Ok(())
            }
        }
    };
    tables(run, filter, &mut add)?;
    episodes(run, filter, &mut add)?;
    let mut latest: Option<i64> = None;
    sorter.drain(&mut |mut event| {
        event.order_open = latest.is_some_and(|latest| event.low <= latest);
        latest = latest.max(Some(event.high));
        sink(event)
    })?;
    Ok(lost.into_iter().collect())
}

type Add<'a> = &'a mut dyn FnMut(Option<i64>, Option<i64>, &str, Event) -> anyhow::Result<()>;

fn event(run: &Run, kind: &str, object: String, what: String, source: i32, record: i64) -> Event {
    let source = run.path(source).to_owned();
    Event { kind: kind.to_owned(), object, what, source, record, ..Event::default() }
}

/// The rows of a table, part by part, so that memory does not grow with them.
///
/// # Errors
/// A table that cannot be read, or what `each` says.
pub fn parts<R: Row<'static>>(
    run: &Run,
    wanted: Option<Expr>,
    each: &mut dyn FnMut(R) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let rows = run.bundle.manifest.tables.iter().find(|table| table.name == R::TABLE).map_or(0, |table| table.rows);
    let mut at = 0;
    while at < rows {
        let mut frame = run.bundle.scan(R::TABLE)?.slice(i64::try_from(at).unwrap_or(i64::MAX), AT_ONCE as u32);
        if let Some(wanted) = &wanted {
            frame = frame.filter(wanted.clone());
        }
        for row in run.bundle.collect_rows::<R>(frame)? {
            each(row)?;
        }
        at += AT_ONCE as u64;
    }
    Ok(())
}

fn tables(run: &Run, filter: &Filter, add: Add<'_>) -> anyhow::Result<()> {
    let wants = |kind: &str| filter.kind.as_ref().is_none_or(|wanted| wanted == kind);
    if wants("marker") {
        parts(run, None, &mut |row: MarkerRow<'static>| {
            let what = row.command.as_deref().unwrap_or_default().to_owned();
            let one = event(run, "marker", row.label.to_string(), what, row.source, row.record);
            add(Some(row.time), Some(row.time + row.resolution - 1), &row.clock, one)
        })?;
    }
    if wants("request") {
        let writes = ["create", "update", "patch", "delete"].into_iter().map(|verb| col("verb").eq(lit(verb)));
        let stage = col("stage").eq(lit("ResponseComplete"));
        let wanted = writes.reduce(|a, b| a.or(b)).map(|verbs| verbs.and(stage));
        parts(run, wanted, &mut |row: AuditRow<'static>| {
            if row.namespace.as_deref() == Some("kube-node-lease") {
                return Ok(());
            }
            let object =
                [row.resource.as_deref(), row.subresource.as_deref(), row.namespace.as_deref(), row.name.as_deref()];
            let object = object.into_iter().flatten().collect::<Vec<_>>().join("/");
            let what = format!("{} by {}", row.verb, row.user);
            let one = event(run, "request", object, what, row.source, row.record);
            add(Some(row.received), Some(row.stage_time), &row.clock, one)
        })?;
    }
    if wants("sync") {
        parts(run, None, &mut |row: SyncRow<'static>| {
            let duration = row.duration.map(|ns| format!(" after {:.3} ms", ns as f64 / 1e6)).unwrap_or_default();
            let object = row.object.as_deref().unwrap_or_default().to_owned();
            let one = event(run, "sync", object, format!("{}{duration}", row.moment), row.source, row.record);
            add(row.time, row.time, &row.clock, one)
        })?;
    }
    if wants("failure") {
        parts(run, Some(col("error").is_not_null()), &mut |row: RequestRow<'static>| {
            let end = row.latency.map(|latency| row.time + latency);
            let what = row.error.as_deref().unwrap_or_default().to_owned();
            let one = event(run, "failure", row.kind.to_string(), what, row.source, row.record);
            add(Some(row.time), end, &row.clock, one)
        })?;
    }
    Ok(())
}

fn episodes(run: &Run, filter: &Filter, add: Add<'_>) -> anyhow::Result<()> {
    if filter.kind.as_ref().is_some_and(|kind| kind != "endpoint" && kind != "dataplane") {
        return Ok(());
    }
    let several = run.episodes.iter().any(|episode| episode.node != run.episodes[0].node);
    for (at, episode) in run.episodes.iter().enumerate() {
        let object = format!("{} {}:{}", episode.endpoint.service, episode.endpoint.address, episode.endpoint.port);
        let place = |seen: &Observed, kind: &str, what: String| {
            let first = seen.evidence.last();
            Event {
                kind: kind.to_owned(),
                object: object.clone(),
                what,
                source: first.map(|one| one.path.to_string()).unwrap_or_default(),
                record: first.map_or(0, |one| one.record),
                episode: Some(at),
                ..Event::default()
            }
        };
        let (verb, way) = match episode.direction {
            Direction::Added => ("ready", "in"),
            Direction::Removed => ("no longer ready", "out of"),
        };
        let committed = &episode.committed;
        // A commit is one event, on however many nodes it was followed.
        if !several || episode.node == run.episodes[0].node {
            add(committed.low, committed.high, &committed.clock, place(committed, "endpoint", verb.to_owned()))?;
        }
        if let Some(seen) = episode.dataplane.as_ref().filter(|seen| seen.high.is_some()) {
            let node = if several { format!(" on {}", episode.node) } else { String::new() };
            let what = format!("{way} the dataplane{node} ({})", seen.witness);
            add(seen.low, seen.high, &seen.clock, place(seen, "dataplane", what))?;
        }
    }
    Ok(())
}

/// Sorts more events than memory is to hold.
#[derive(Default)]
struct Sorter {
    near: Vec<Event>,
    files: Vec<std::fs::File>,
}

impl Sorter {
    fn add(&mut self, event: Event) -> anyhow::Result<()> {
        self.near.push(event);
        if self.near.len() >= AT_ONCE { self.spill() } else { Ok(()) }
    }

    fn spill(&mut self) -> anyhow::Result<()> {
        let wrong = || "a temporary file of the timeline";
        self.near.sort_by(|a, b| a.place().cmp(&b.place()));
        let mut out = BufWriter::new(tempfile::tempfile().with_context(wrong)?);
        for event in self.near.drain(..) {
            serde_json::to_writer(&mut out, &event).with_context(wrong)?;
            out.write_all(b"\n").with_context(wrong)?;
        }
        let mut file = out.into_inner().map_err(|error| error.into_error()).with_context(wrong)?;
        file.rewind().with_context(wrong)?;
        self.files.push(file);
        Ok(())
    }

    fn drain(mut self, sink: &mut dyn FnMut(Event) -> anyhow::Result<()>) -> anyhow::Result<()> {
        if self.files.is_empty() {
            self.near.sort_by(|a, b| a.place().cmp(&b.place()));
            return self.near.into_iter().try_for_each(sink);
        }
        self.spill()?;
        let mut readers: Vec<_> = self.files.into_iter().map(|file| BufReader::new(file).lines()).collect();
        let mut heap: BinaryHeap<Reverse<Next>> = BinaryHeap::new();
        for (run, lines) in readers.iter_mut().enumerate() {
            heap.extend(next(lines, run)?.map(Reverse));
        }
        while let Some(Reverse(first)) = heap.pop() {
            if let Some(lines) = readers.get_mut(first.run) {
                heap.extend(next(lines, first.run)?.map(Reverse));
            }
            sink(first.event)?;
        }
        Ok(())
    }
}

fn next(lines: &mut std::io::Lines<BufReader<std::fs::File>>, run: usize) -> anyhow::Result<Option<Next>> {
    let Some(line) = lines.next() else { return Ok(None) };
    let event = serde_json::from_str(&line.context("a temporary file of the timeline")?)?;
    Ok(Some(Next { event, run }))
}

/// The first event that a sorted run still has.
#[derive(PartialEq, Eq)]
struct Next {
    event: Event,
    run: usize,
}

impl Ord for Next {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.event.place().cmp(&other.event.place()).then(self.run.cmp(&other.run))
    }
}

impl PartialOrd for Next {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(low: i64, high: i64, object: &str) -> Event {
        Event {
            low,
            high,
            kind: "sync".to_owned(),
            object: object.to_owned(),
            what: String::new(),
            source: "logs/kube-proxy.log".to_owned(),
            record: low,
            ..Event::default()
        }
    }

    #[test]
    fn more_events_than_memory_holds_come_out_in_order() {
        let mut sorter = Sorter::default();
        let count = 2 * AT_ONCE as i64 + 17;
        for at in 0..count {
            // A permutation of all of them.
            let time = at * 7_919 % count;
            sorter.add(one(time, time, "x")).unwrap();
        }
        assert_eq!(sorter.files.len(), 2, "they did not fit");
        let mut found = Vec::new();
        let mut keep = |event: Event| {
            found.push(event.low);
            Ok(())
        };
        sorter.drain(&mut keep).unwrap();
        assert_eq!(found, (0..count).collect::<Vec<_>>());
    }

    #[test]
    fn an_event_is_kept_where_its_bounds_reach_into_the_time() {
        let filter = Filter { from: Some(100), to: Some(200), ..Filter::default() };
        let kept = |low, high| filter.keeps(&one(low, high, "x"));
        assert!(kept(50, 100) && kept(150, 160) && kept(199, 300) && kept(0, 900));
        assert!(!kept(50, 99) && !kept(200, 300));
        let filter = Filter {
            object: Some("default/test".to_owned()),
            source: Some("kube-proxy".to_owned()),
            ..Filter::default()
        };
        assert!(filter.keeps(&one(0, 0, "default/test 10.0.0.1:80")) && !filter.keeps(&one(0, 0, "default/other")));
    }
}
