//! A run as a trace that <https://ui.perfetto.dev> opens: all events of the timeline, what lies between them, and counters, on one clock.
//!
//! ```text
//! Run          phases ├ baseline ┤├ action ┤├ tail ┤   markers ▲    findings ▲
//! Counters     endpoints ready, in the dataplane of each node, failures, CPU
//! Node n1      in the dataplane   ├──┤ bounds of each presence ◀──── arrows from the commits
//!              changes            ├ committed → received ┼ received → visible ┤
//! Sources      audit.log: request, endpoint; kube-proxy.log: sync; …
//! ```
//!
//! Every event of [`each`] is one event of category `timeline`. Commits and presences are slices of their bounds. Requests, syncs and
//! failures are slices of what they lasted on their own clock (instants, where that is nothing), at the middle of where it may lie;
//! markers are instants. The bounds of these are slices of category `bounds`. Stages are drawn between the middles of their bounds, so
//! a stage may seem to begin ahead of where it could: its bounds are in the arguments. Times are ns on the run's reference clock; each
//! argument `clock` names the clock that was read, `converted_ns` how wide its conversion is.

pub mod messages;
mod tracks;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Write;
use std::sync::Arc;

use syncline_promql::{Labels, is_stale};
use syncline_schema::syncs::SyncRow;
use tracks::{Packets, Told, Track, Value};

use crate::bundle::witnesses;
use crate::clock::Evidence;
use crate::events::timeline::{Event, Filter, each, parts};
use crate::events::{Direction, Endpoint, Episode, Observed, Outcome, Run, Window};

/// Counters of CPU time whose growth is drawn, in cores.
const CPU: [&str; 2] = ["container_cpu_usage_seconds_total", "process_cpu_seconds_total"];

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Events of the timeline, each of which is in the trace.
    pub events: u64,
    /// Changes of endpoints with their stages.
    pub changes: u64,
    /// Values of counters.
    pub values: u64,
    /// Clocks that nothing relates to the reference clock, with their events, which are not in the trace, as they are not in the timeline.
    pub unrelated: Vec<(String, u64)>,
    /// Series of CPU time that are not drawn, since nothing relates their clock to the reference clock.
    pub unrelated_series: u64,
    /// Events whose bounds stand in their arguments alone, since too many others overlap them.
    pub bounds_told: u64,
    /// Packets ahead of 1970 on the reference clock, which stand at its beginning.
    pub below: u64,
}

/// Writes the trace of a run, event by event.
///
/// # Errors
/// A table that cannot be read, or what the writer says.
pub fn write(run: &Run, out: &mut dyn Write) -> anyhow::Result<Written> {
    let mut packets = Packets::new(out);
    let top = [format!("Run {}", run.name), "Counters".to_owned(), "Sources".to_owned()];
    let own = packets.track(None, &top[0], Some(0))?;
    let counters = packets.track(None, &top[1], Some(1))?;
    let sources = packets.track(None, &top[2], Some(2))?;
    let mut trace = Trace { run, packets, own, counters, sources, written: Written::default() };
    let first = trace.timeline()?;
    trace.phases(first)?;
    trace.changes()?;
    trace.syncs()?;
    trace.endpoints()?;
    trace.cpu()?;
    trace.written.below = trace.packets.below;
    Ok(trace.written)
}

struct Trace<'r, 'o> {
    run: &'r Run,
    packets: Packets<'o>,
    own: Track,
    counters: Track,
    sources: Track,
    written: Written,
}

/// What tells the changes of all nodes apart, but for the node.
type Change<'r> = (&'r Endpoint, Direction, usize);

fn change(episode: &Episode) -> Change<'_> {
    (&episode.endpoint, episode.direction, episode.number)
}

impl Trace<'_, '_> {
    fn node(&mut self, node: &str) -> std::io::Result<Track> {
        self.packets.track(None, &format!("Node {node}"), Some(1))
    }

    /// Writes the events of the timeline; answers when the first begins, ns.
    fn timeline(&mut self) -> anyhow::Result<Option<i64>> {
        let run = self.run;
        // Arrows go from a commit to where it was seen, on each node.
        let mut seen: HashMap<Change<'_>, Vec<u64>> = HashMap::new();
        for (at, episode) in run.episodes.iter().enumerate() {
            if episode.dataplane.as_ref().is_some_and(|seen| seen.high.is_some()) {
                seen.entry(change(episode)).or_default().push(flow(at));
            }
        }
        let utc = !run.windows.clock.contains('/');
        let (mut first, mut failures) = (None, BTreeMap::new());
        let unrelated = each(run, &Filter::default(), &mut |event| {
            if first.is_none() {
                first = Some(event.low);
                if utc {
                    self.packets.utc(event.low)?;
                }
            }
            self.written.events += 1;
            let episode = event.episode.and_then(|at| Some((at, run.episodes.get(at)?)));
            if event.kind == "failure" {
                self.failed(&mut failures, &event)?;
            }
            Ok(self.event(event, episode, &seen)?)
        })?;
        self.written.unrelated = unrelated;
        Ok(first)
    }

    fn event(
        &mut self,
        event: Event,
        episode: Option<(usize, &Episode)>,
        seen: &HashMap<Change<'_>, Vec<u64>>,
    ) -> std::io::Result<()> {
        let bounds = (event.low, event.high);
        // What it lasted on its own clock, at the middle of where that may lie on the reference clock.
        let aside = event.converted / 2;
        let life = (event.low + aside, event.high - (event.converted - aside));
        let arguments = vec![
            ("source", Value::Shared(event.source.clone())),
            ("record", Value::Int(event.record)),
            ("kind", Value::Shared(event.kind.clone())),
            ("object", Value::Text(event.object.clone())),
            ("what", Value::Text(event.what.clone())),
            ("low_ns", Value::Int(event.low)),
            ("high_ns", Value::Int(event.high)),
            ("uncertainty_ns", Value::Int(half(event.low, event.high))),
            ("clock", Value::Shared(event.clock.clone())),
            ("converted_ns", Value::Int(event.converted)),
            ("order_open", Value::Bool(event.order_open)),
        ];
        let mut told = Told { category: "timeline", name: named(&event), arguments, ..Told::default() };
        let limits = Told {
            category: "bounds",
            name: told.name.clone(),
            arguments: told.arguments[..2].to_vec(),
            ..Told::default()
        };
        let (track, lane, of_bounds) = match (event.kind.as_str(), episode) {
            ("dataplane", Some((at, episode))) => {
                told.ends.push(flow(at));
                let track = self.node(&episode.node)?;
                return self.packets.slice(track, "in the dataplane", bounds, told, Vec::new());
            }
            ("endpoint", episode) => {
                if let Some((_, episode)) = episode {
                    told.flows.extend(seen.get(&change(episode)).into_iter().flatten());
                }
                let track = self.packets.track(Some(self.sources), &event.source, None)?;
                return self.packets.slice(track, "endpoint", bounds, told, Vec::new());
            }
            ("marker", _) => {
                let track = self.packets.track(Some(self.own), "markers", None)?;
                self.packets.slice(track, "marker", (event.low, event.low), told, Vec::new())?;
                (track, None, "bounds of markers")
            }
            (kind, _) => {
                let track = self.packets.track(Some(self.sources), &event.source, None)?;
                let lanes = [
                    ("request", "request", "bounds of requests"),
                    ("sync", "sync", "bounds of syncs"),
                    ("failure", "failure", "bounds of failures"),
                ];
                let known = lanes.into_iter().find(|(known, ..)| *known == kind);
                let (_, lane, of_bounds) = known.unwrap_or(("", "event", "bounds of events"));
                (track, Some((lane, told)), of_bounds)
            }
        };
        let drawn_apart = lane.is_none() || event.converted > 0;
        if let Some((lane, told)) = lane {
            self.packets.slice(track, lane, life, told, Vec::new())?;
        }
        if drawn_apart && event.low < event.high && !self.packets.bounds(track, of_bounds, bounds, limits)? {
            self.written.bounds_told += 1;
        }
        Ok(())
    }

    /// One more failure of a source.
    fn failed(&mut self, failures: &mut BTreeMap<String, (Track, u64)>, event: &Event) -> std::io::Result<()> {
        if !failures.contains_key(&event.source) {
            let name = format!("failed requests ({})", event.source);
            let track = self.packets.counter(self.counters, &name, "requests", "Failed requests so far")?;
            failures.insert(event.source.clone(), (track, 0));
        }
        if let Some((track, count)) = failures.get_mut(&event.source) {
            *count += 1;
            self.packets.value(*track, middle(event.low, event.high), *count as f64)?;
            self.written.values += 1;
        }
        Ok(())
    }

    /// Windows, and what a reader must know: findings have no time, so they stand where the run begins.
    fn phases(&mut self, first: Option<i64>) -> std::io::Result<()> {
        let windows = &self.run.windows;
        let track = self.packets.track(Some(self.own), "phases", None)?;
        let all = [("baseline", &windows.baseline), ("action", &windows.action), ("tail", &windows.tail)];
        for (name, window) in all.into_iter().filter_map(|(name, window)| Some((name, window.as_ref()?))) {
            let Window { start, end, slack } = *window;
            let mut arguments = vec![
                ("uncertainty_ns", Value::Int(slack)),
                ("clock", Value::Shared(windows.clock.clone())),
                ("what", Value::Text(windows.from.clone())),
            ];
            arguments.extend(windows.evidence.first().map(cited).into_iter().flatten());
            if windows.evidence.len() > 1 {
                let lines = windows.evidence.iter().map(|one| format!("{}:{}", one.path, one.record));
                arguments.push(("all_lines", Value::Text(lines.collect::<Vec<_>>().join(", "))));
            }
            let told = Told { category: "phase", name: name.to_owned(), arguments, ..Told::default() };
            self.packets.slice(track, "phase", (start, end.max(start)), told, Vec::new())?;
        }
        let starts = [&windows.baseline, &windows.action].into_iter().flatten().map(|window| window.start);
        let Some(at) = starts.chain(first).min() else { return Ok(()) };
        for finding in self.run.findings.iter().chain(&self.run.clocks.findings) {
            let track = self.packets.track(Some(self.own), "findings", None)?;
            let mut arguments = vec![("what", Value::Text(finding.detail.clone()))];
            arguments.extend(finding.evidence.first().map(cited).into_iter().flatten());
            let told = Told { category: "finding", name: finding.title.clone(), arguments, ..Told::default() };
            self.packets.slice(track, "finding", (at, at), told, Vec::new())?;
        }
        Ok(())
    }

    /// Where a moment lies on the reference clock, ns, and how wide its conversion is; its open end is its other one.
    fn placed(&self, at: &Observed) -> Option<(i64, i64, i64)> {
        let (low, high) = (at.low.or(at.high)?, at.high.or(at.low)?);
        let offset = self.run.clocks.offset_within(&at.clock, &self.run.windows.clock, Some(low), Some(high))?;
        Some((low + offset.low, high + offset.high, offset.high - offset.low))
    }

    /// Each change of an endpoint on each node: from its commit to its presence, stage by stage.
    fn changes(&mut self) -> std::io::Result<()> {
        // All endpoints of a sync share their moments.
        let mut known: HashMap<usize, Option<(i64, i64, i64)>> = HashMap::new();
        for episode in &self.run.episodes {
            let visible = episode.stages.iter().any(|stage| stage.name == "visible");
            let last = episode.dataplane.as_ref().filter(|seen| seen.high.is_some() && !visible);
            let named = [("committed", &episode.committed)].into_iter();
            let named = named.chain(episode.stages.iter().map(|stage| (stage.name, &stage.at)));
            let mut moments = Vec::new();
            for (name, at) in named.chain(last.map(|at| ("in the dataplane", at))) {
                let placed = *known.entry(Arc::as_ptr(at) as usize).or_insert_with(|| self.placed(at));
                if let Some(placed) = placed {
                    moments.push((middle(placed.0, placed.1), name, at, placed));
                }
            }
            moments.sort_by_key(|(time, ..)| *time);
            let (Some((start, ..)), Some((end, ..))) = (moments.first(), moments.last()) else { continue };
            let bounds = (*start, *end);
            let inner = moments.windows(2).map(|pair| {
                let (from, to) = (&pair[0], &pair[1]);
                let (_, name, at, (low, high, converted)) = to;
                let mut arguments = vec![
                    ("low_ns", Value::Int(*low)),
                    ("high_ns", Value::Int(*high)),
                    ("uncertainty_ns", Value::Int(half(*low, *high))),
                    ("clock", Value::Shared(at.clock.clone())),
                    ("converted_ns", Value::Int(*converted)),
                    ("witness", Value::Shared(at.witness.clone())),
                ];
                arguments.extend(at.evidence.last().map(cited).into_iter().flatten());
                let told =
                    Told { category: "stage", name: format!("{} → {name}", from.1), arguments, ..Told::default() };
                ((from.0, to.0), told)
            });
            let inner = inner.collect();
            let endpoint = &episode.endpoint;
            let (verb, outcome) = (
                match episode.direction {
                    Direction::Added => "added",
                    Direction::Removed => "removed",
                },
                match episode.outcome {
                    Outcome::Seen => "seen",
                    Outcome::Never => "never seen",
                    Outcome::Superseded => "superseded",
                    Outcome::Unobserved => "unobserved",
                },
            );
            let mut arguments = vec![
                ("outcome", Value::Shared(outcome.to_owned())),
                ("pod", Value::Text(endpoint.target.clone())),
                ("number", Value::Int(episode.number as i64)),
            ];
            arguments.extend(episode.committed.evidence.last().map(cited).into_iter().flatten());
            let name = format!("{verb} {} {}:{}", endpoint.service, endpoint.address, endpoint.port);
            let told = Told { category: "change", name, arguments, ..Told::default() };
            let lane = if episode.outcome == Outcome::Seen { "changes" } else { "changes not seen in the dataplane" };
            let track = self.node(&episode.node)?;
            self.packets.slice(track, lane, bounds, told, inner)?;
            self.written.changes += 1;
        }
        Ok(())
    }

    /// Syncs whose duration the log tells: the line stands at their end.
    fn syncs(&mut self) -> anyhow::Result<()> {
        let run = self.run;
        parts(run, None, &mut |row: SyncRow<'static>| {
            let (Some(time), Some(duration)) = (row.time, row.duration) else { return Ok(()) };
            let clock = &run.windows.clock;
            let offset = run.clocks.offset_within(&row.clock, clock, Some(time), Some(time));
            let Some(offset) = offset.filter(|_| row.moment == "complete" || row.moment == "failed") else {
                return Ok(());
            };
            let end = middle(time + offset.low, time + offset.high);
            let arguments = vec![
                ("source", Value::Shared(run.path(row.source).to_owned())),
                ("record", Value::Int(row.record)),
                ("duration_ns", Value::Int(duration)),
                ("uncertainty_ns", Value::Int(half(offset.low, offset.high))),
                ("clock", Value::Shared(row.clock.to_string())),
            ];
            let name =
                ["sync", row.family.as_deref().unwrap_or_default(), if row.moment == "failed" { "failed" } else { "" }];
            let name = name.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
            let told = Told { category: "sync", name, arguments, ..Told::default() };
            let track = self.packets.track(Some(self.sources), run.path(row.source), None)?;
            let start = end.saturating_sub(duration.max(0));
            Ok(self.packets.slice(track, "syncs with their duration", (start, end), told, Vec::new())?)
        })
    }

    /// Endpoints of the Service under test that are ready, and that each node's dataplane has, from what there was in the baseline on.
    fn endpoints(&mut self) -> std::io::Result<()> {
        let run = self.run;
        let Some(service) = &run.service_under_test else { return Ok(()) };
        let mut ready: BTreeMap<Change<'_>, (i64, i64)> = BTreeMap::new();
        let mut present: BTreeMap<&str, Vec<(i64, i64)>> = BTreeMap::new();
        for episode in run.episodes.iter().filter(|episode| episode.endpoint.service == *service) {
            let step = if episode.direction == Direction::Added { 1 } else { -1 };
            let at = |observed: &Observed| self.placed(observed).map(|(low, high, _)| (middle(low, high), step));
            if let Some(step) = at(&episode.committed) {
                ready.entry(change(episode)).or_insert(step);
            }
            let seen = episode.dataplane.as_ref().filter(|seen| seen.high.is_some());
            present.entry(&episode.node).or_default().extend(seen.and_then(|seen| at(seen)));
        }
        let description = "Counted from those of the baseline, each change at the middle of its bounds";
        let name = format!("endpoints ready ({service})");
        let mut all = vec![(name, ready.into_values().collect())];
        let of_node = |(node, steps)| (format!("endpoints in the dataplane of {node} ({service})"), steps);
        all.extend(present.into_iter().map(of_node));
        for (name, mut steps) in all {
            steps.sort_unstable();
            let track = self.packets.counter(self.counters, &name, "endpoints", description)?;
            let mut count = i64::try_from(run.baseline_endpoints.unwrap_or(0)).unwrap_or(0);
            let before = run.windows.baseline.as_ref().map(|window| window.start);
            if let Some(before) = before.filter(|before| steps.first().is_none_or(|first| *before < first.0)) {
                self.packets.value(track, before, count as f64)?;
                self.written.values += 1;
            }
            for (time, step) in steps {
                count += step;
                self.packets.value(track, time, count as f64)?;
                self.written.values += 1;
            }
        }
        Ok(())
    }

    /// CPU time of each process or container that the captures have: between two samples, in cores.
    fn cpu(&mut self) -> anyhow::Result<()> {
        let run = self.run;
        let wanted: HashSet<String> = CPU.into_iter().map(str::to_owned).collect();
        let chosen = witnesses::choose(&run.bundle, Some(&wanted))?;
        let mut read_on: HashMap<Labels, (String, Evidence, bool)> = HashMap::new();
        for one in &chosen {
            let named = [("__name__".to_owned(), one.name.clone())];
            let labels = Labels::new(one.labels.clone().into_iter().chain(named));
            let evidence = run.evidence(one.row.source, one.row.record, "");
            let repeats = one.rows().any(|row| row.witness == "api");
            read_on
                .insert(labels, (one.row.clock.to_string(), evidence, repeats || one.name.starts_with("container_")));
        }
        for one in witnesses::load(&run.bundle, chosen, None)?.series {
            let Some((clock, evidence, repeats)) = read_on.get(&one.labels) else { continue };
            let place = |ms: i64| {
                let ns = ms.saturating_mul(1_000_000);
                let offset = run.clocks.offset_within(clock, &run.windows.clock, Some(ns), Some(ns))?;
                Some((middle(ns + offset.low, ns + offset.high), half(offset.low, offset.high)))
            };
            let Some((_, uncertain)) = one.times.first().and_then(|time| place(*time)) else {
                self.written.unrelated_series += 1;
                continue;
            };
            // An answer of the API repeats the newest sample at every step, and cAdvisor its own: only a value that is new was taken then.
            let (between, times, values) = if *repeats {
                let new = |at: &usize| *at == 0 || one.values[*at] != one.values[at - 1];
                let new: Vec<usize> = (0..one.times.len()).filter(new).collect();
                let values: Vec<f64> = new.iter().map(|at| one.values[*at]).collect();
                ("values that differ", new.iter().map(|at| one.times[*at]).collect(), values)
            } else {
                ("samples", one.times.to_vec(), one.values.to_vec())
            };
            let description = format!(
                "Mean growth of {} between two {between}; {}:{}, clock {clock} ± {uncertain} ns",
                one.labels.metric_name(),
                evidence.path,
                evidence.record
            );
            let track = self.packets.counter(
                self.counters,
                &format!("CPU {}", described(&one.labels)),
                "cores",
                &description,
            )?;
            for (times, values) in times.windows(2).zip(values.windows(2)) {
                let cores = (values[1] - values[0]) / ((times[1] - times[0]) as f64 / 1e3);
                let usable = !values.iter().any(|value| is_stale(*value)) && cores.is_finite() && cores >= 0.0;
                if let Some((time, _)) = place(times[0]).filter(|_| usable) {
                    self.packets.value(track, time, cores)?;
                    self.written.values += 1;
                }
            }
        }
        Ok(())
    }
}

/// What a slice of a timeline's event shows: the object first, since that is what differs, and a short slice shows the beginning.
fn named(event: &Event) -> String {
    match (event.what.as_str(), event.object.as_str()) {
        (what, "") => what.to_owned(),
        ("", object) => object.to_owned(),
        (what, object) => format!("{object}: {what}"),
    }
}

/// Labels that tell a process apart, without braces.
fn described(labels: &Labels) -> String {
    let pairs =
        labels.pairs().iter().filter(|(name, _)| ["container", "pod", "job", "instance", "node"].contains(&&**name));
    let pairs: Vec<String> = pairs.map(|(name, value)| format!("{name}={value}")).collect();
    if pairs.is_empty() { labels.metric_name().to_owned() } else { pairs.join(" ") }
}

/// The line of an evidence, as arguments.
fn cited(evidence: &Evidence) -> [(&'static str, Value); 2] {
    [("source", Value::Shared(evidence.path.to_string())), ("record", Value::Int(evidence.record))]
}

/// Number of the arrow that ends at an episode's presence; 0 is none.
fn flow(episode: usize) -> u64 {
    episode as u64 + 1
}

/// Between two times, ns.
fn middle(low: i64, high: i64) -> i64 {
    low.midpoint(high)
}

/// Half the way between two times, ns, rounded up: each is within ± this of the middle.
fn half(low: i64, high: i64) -> i64 {
    high.saturating_sub(low).saturating_add(1) / 2
}
