//! What the captures say about clocks: statements, readings, and causality that needs no statement.
//!
//! | kind | rests on |
//! | --- | --- |
//! | `statement` | `same_host` of `capture.toml` |
//! | `prompt` | the prompt of a transcript names the machine that a command was typed on, and it is the node: see [`super::prompts`] |
//! | `reading` | two clocks read at one instant (`clock.tsv`) |
//! | `request` | a command was started before the API server received its request, and returned after it was answered |
//! | `beacon` | the API server received the request that made a version before, and answered it after, the version was committed; which was between the beacons around it: see [`super::beacons`] |
//! | `lease` | a node's Lease was renewed (its clock) before the API server received the renewal |
//! | `watch` | a version was received from a watch after the API server received the request that made it |
//! | `handler` | a version reached a proxy's handler (its log) after the API server received the request that made it |
//! | `object-timestamp` | a container started, a pod became ready (node, whole seconds) after the pod was bound (API server), and before the status that says so was received |
//! | `chrony` | `chronyc -c tracking`: how far at most a clock was from that of its time servers (the domain `ntp`) |
//! | `gauge` | a metric holds a moment of the exporter's clock, scraped by another: see [`super::gauges`] |
//! | `programmed` | an endpoint was committed before a dataplane held it: circular for propagation, so taken only where all else would let it be there before |

use std::collections::{BTreeMap, BTreeSet, HashMap};

use polars::prelude::{col, lit};
use syncline_schema::audit::AuditRow;
use syncline_schema::clock_anchors::ClockAnchorRow;
use syncline_schema::endpoints::EndpointRow;
use syncline_schema::facts::FactRow;
use syncline_schema::markers::MarkerRow;
use syncline_schema::pods::PodRow;
use syncline_schema::syncs::SyncRow;

use super::pieces::{self, DRIFT};
use super::{Constraint, Evidence, beacons, gauges, prompts};
use crate::bundle::Bundle;

/// All constraints that a bundle gives.
///
/// # Errors
/// A table that cannot be read.
pub fn gather(bundle: &Bundle, node: &str) -> anyhow::Result<Vec<Constraint>> {
    let mut found = Vec::new();
    let path = |source: i32| {
        usize::try_from(source).ok().and_then(|at| bundle.manifest.sources.get(at)).map_or("?", |one| one.path.as_str())
    };
    let evidence = |source: i32, record: i64, what: String| Evidence {
        path: path(source).into(),
        record,
        what: what.into(),
        ..Evidence::default()
    };
    for fact in bundle.rows::<FactRow<'static>>(Some(col("key").eq(lit("same_host"))))? {
        let domains: Vec<&str> = fact.value.split(',').map(str::trim).filter(|domain| !domain.is_empty()).collect();
        for pair in domains.windows(2) {
            found.push(Constraint {
                from: pair[0].to_owned(),
                to: pair[1].to_owned(),
                low: Some(0),
                high: Some(0),
                kind: "statement".to_owned(),
                evidence: evidence(fact.source.unwrap_or(-1), fact.record, format!("same_host: {}", fact.value)),
                ..Constraint::default()
            });
        }
    }
    let (readings, moved) = readings(&bundle.rows::<ClockAnchorRow<'static>>(None)?, &evidence);
    found.extend(readings);
    let writes = ["create", "update", "patch", "delete"].into_iter().map(|verb| col("verb").eq(lit(verb)));
    let audit = bundle.rows::<AuditRow<'static>>(writes.reduce(|a, b| a.or(b)))?;
    for lease in audit.iter().filter(|row| row.namespace.as_deref() == Some("kube-node-lease")) {
        let (Some(renewed), Some(name)) = (lease.renew_time, lease.name.as_deref()) else { continue };
        found.push(Constraint {
            from: name.to_owned(),
            to: lease.clock.to_string(),
            low: None,
            high: Some(lease.received - renewed),
            kind: "lease".to_owned(),
            at: Some(renewed),
            slack: 0,
            evidence: evidence(lease.source, lease.record, format!("Lease of {name} renewed, then received")),
        });
    }
    if node == UNNAMED && bundle.manifest.nodes.is_empty() {
        found.extend(only_node(&audit, &evidence));
    }
    found.extend(prompts::gather(bundle, node, &evidence)?);
    requests(bundle, &audit, &evidence, &mut found)?;
    watches(bundle, &evidence, &mut found)?;
    objects(bundle, node, &audit, &evidence, &mut found)?;
    handlers(bundle, &evidence, &mut found)?;
    beacons::gather(bundle, &audit, &moved, &evidence, &mut found)?;
    gauges::gather(bundle, node, &evidence, &mut found)?;
    steady(&mut found, &moved);
    allow(bundle, &moved, &mut found);
    Ok(found)
}

/// Name of the node of the node-level captures where nobody stated it.
pub const UNNAMED: &str = "node";

/// Where one node only renews a Lease the cluster has no other: the captures of a node that nobody named are its.
fn only_node(audit: &[AuditRow<'static>], evidence: Cite<'_>) -> Option<Constraint> {
    let mut leases = audit
        .iter()
        .filter(|row| row.namespace.as_deref() == Some("kube-node-lease") && row.resource.as_deref() == Some("leases"))
        .filter_map(|row| Some((row, row.name.as_deref()?)));
    let (first, name) = leases.next()?;
    if name == UNNAMED || leases.any(|(_, other)| other != name) {
        return None;
    }
    Some(Constraint {
        from: name.to_owned(),
        to: UNNAMED.to_owned(),
        low: Some(0),
        high: Some(0),
        kind: "only-node".to_owned(),
        evidence: evidence(first.source, first.record, format!("{name} is the only node that renews a Lease")),
        ..Constraint::default()
    })
}

/// Readings closer than this to each other are one reading, repeated.
const TOGETHER: i64 = 1_000_000_000;

type Cite<'a> = &'a dyn Fn(i32, i64, String) -> Evidence;

/// Readings of two clocks at one instant. Those taken together intersect; the offset may have moved between one group and
/// the next, so groups give their hull. Groups that do not overlap are left to contradict each other, and how far they
/// lie apart is told for each domain.
fn readings(anchors: &[ClockAnchorRow<'static>], evidence: Cite<'_>) -> (Vec<Constraint>, HashMap<String, i64>) {
    type Group<'r> = (i64, i64, i64, &'r ClockAnchorRow<'static>);
    let mut pairs: BTreeMap<(&str, &str, &str), Vec<&ClockAnchorRow<'_>>> = BTreeMap::new();
    for anchor in anchors {
        pairs.entry((&anchor.b, &anchor.a, &anchor.evidence)).or_default().push(anchor);
    }
    let mut found = Vec::new();
    let mut moved: HashMap<String, i64> = HashMap::new();
    for ((from, to, kind), mut all) in pairs {
        all.sort_by_key(|anchor| anchor.b_low);
        let mut groups: Vec<Group<'_>> = Vec::new();
        for anchor in all {
            let (low, high) = (anchor.a_low - anchor.b_high, anchor.a_high - anchor.b_low);
            match groups.last_mut() {
                Some((time, group_low, group_high, _))
                    if anchor.b_low - *time < TOGETHER && low <= *group_high && high >= *group_low =>
                {
                    (*group_low, *group_high) = (low.max(*group_low), high.min(*group_high));
                }
                _ => groups.push((anchor.b_low, low, high, anchor)),
            }
        }
        let ends = |pick: fn(&Group<'_>) -> i64| (groups.iter().map(pick).min(), groups.iter().map(pick).max());
        let ((Some(least_low), Some(most_low)), (Some(least_high), Some(most_high))) = (ends(|g| g.1), ends(|g| g.2))
        else {
            continue;
        };
        let constraint = |low: i64, high: i64, at: Option<i64>, anchor: &ClockAnchorRow<'_>| Constraint {
            at,
            slack: 0,
            from: from.to_owned(),
            to: to.to_owned(),
            low: Some(low),
            high: Some(high),
            kind: kind.to_owned(),
            evidence: evidence(anchor.source, anchor.record, read_as(kind).to_owned()),
        };
        if most_low <= least_high {
            found.extend(groups.first().map(|(.., anchor)| constraint(least_low, most_high, None, anchor)));
        } else {
            // It is the realtime that steps: boottime and monotonic of a kernel only go on.
            for domain in [from, to].into_iter().filter(|domain| !domain.contains('/')) {
                let apart = moved.entry(domain.to_owned()).or_default();
                *apart = (*apart).max(most_high - least_low);
            }
            found.extend(groups.iter().map(|(time, low, high, anchor)| constraint(*low, *high, Some(*time), anchor)));
        }
    }
    (found, moved)
}

fn read_as(kind: &str) -> &'static str {
    match kind {
        "chrony" => "chronyc tracking: offset and root distance",
        "adjtimex" => "the kernel's bound of its clock's error (adjtimex)",
        _ => "clock readings",
    }
}

/// Where readings show that a node's realtime moved against its boottime, what is known of its realtime at a moment is
/// also told of its boottime: that does not step.
fn steady(found: &mut Vec<Constraint>, moved: &HashMap<String, i64>) {
    let mut told = Vec::new();
    for (domain, _) in moved.iter().filter(|(domain, _)| !domain.contains('/')) {
        let boottime = format!("{domain}/boottime");
        let readings: Vec<&Constraint> =
            found.iter().filter(|one| one.kind == "reading" && one.from == boottime && one.to == *domain).collect();
        let Some(watched) = pieces::of_readings(&readings) else { continue };
        let Some(whole) = pieces::closed(watched.hull()) else { continue };
        for one in found.iter().filter(|one| one.low.is_none() || one.high.is_none()) {
            let Some(at) = one.at else { continue };
            // When it was on the clock that stepped; the bound of one-sided evidence is the difference of two stamps.
            let stamp = match (one.from == *domain, one.to == *domain) {
                (true, false) => at,
                (false, true) => at + one.low.or(one.high).unwrap_or(0),
                _ => continue,
            };
            let Some(then) = pieces::closed(pieces::within(&watched.all, stamp - whole.high, stamp - whole.low)) else {
                continue;
            };
            let mut copy = one.clone();
            if one.from == *domain {
                copy.from.clone_from(&boottime);
                copy.at = Some(stamp - then.low);
                (copy.low, copy.high) = (one.low.map(|low| low + then.low), one.high.map(|high| high + then.high));
            } else {
                copy.to.clone_from(&boottime);
                (copy.low, copy.high) = (one.low.map(|low| low - then.high), one.high.map(|high| high - then.low));
            }
            copy.evidence.what = format!("{}, read on {boottime}", one.evidence.what).into();
            told.push(copy);
        }
    }
    told.sort_by(|a, b| (&a.from, &a.to, &a.evidence).cmp(&(&b.from, &b.to, &b.evidence)));
    found.extend(told);
}

/// One-sided evidence bounds an offset at its own moment. At any other moment of the run the clocks may have drifted
/// apart, and where readings show that one moved (a step, a slew; `moved`, ns by domain) by as much again.
pub fn allow(bundle: &Bundle, moved: &HashMap<String, i64>, found: &mut [Constraint]) {
    let span = |domain: &str| {
        let own = || bundle.manifest.sources.iter().filter(|source| source.clock.as_deref() == Some(domain));
        let (first, last) = (own().filter_map(|one| one.first).min(), own().filter_map(|one| one.last).max());
        first.zip(last).map_or(0, |(first, last)| last.saturating_sub(first).clamp(0, MOST_SPAN))
    };
    let mut spans: HashMap<String, i64> = HashMap::new();
    for one in found {
        if ["statement", "only-node", "prompt", "reading", "chrony", "adjtimex"].contains(&one.kind.as_str()) {
            continue;
        }
        let mut of = |domain: &str| *spans.entry(domain.to_owned()).or_insert_with(|| span(domain));
        let span = of(&one.from).max(of(&one.to));
        let of_node = |domain: &str| moved.get(domain).copied().unwrap_or(0);
        // Boottime and monotonic do not step: what moved is told of the realtime of their node.
        let slack = (span as f64 * DRIFT) as i64 + of_node(&one.from) + of_node(&one.to);
        one.slack = slack;
        one.low = one.low.map(|low| low.saturating_sub(slack));
        one.high = one.high.map(|high| high.saturating_add(slack));
    }
}

/// A run is not taken to be longer than this for the drift in it: sources may begin long before (objects of a list).
const MOST_SPAN: i64 = 3_600_000_000_000;

/// A proxy's handler is called for a version after its request was received. The line names no version, but a watch
/// delivers them in order: where there are as many lines as versions, the n-th is the n-th's.
fn handlers(bundle: &Bundle, evidence: Cite<'_>, found: &mut Vec<Constraint>) -> anyhow::Result<()> {
    let mut lines: BTreeMap<(i32, Option<String>), Vec<SyncRow<'static>>> = BTreeMap::new();
    for row in bundle.rows::<SyncRow<'static>>(Some(col("moment").eq(lit("received"))))? {
        lines.entry((row.source, row.proxy.as_deref().map(str::to_owned))).or_default().push(row);
    }
    if lines.is_empty() {
        return Ok(());
    }
    let of_slices = col("witness").eq(lit("audit")).and(col("kind").eq(lit("EndpointSlice")));
    let rows = bundle.rows::<EndpointRow<'static>>(Some(of_slices))?;
    let mut seen = BTreeSet::new();
    let mut versions: Vec<(u64, &EndpointRow<'_>)> = rows
        .iter()
        .filter(|row| seen.insert((row.slice_uid.as_ref(), row.resource_version.as_ref())))
        .filter_map(|row| Some((row.resource_version.parse().ok()?, row)))
        .collect();
    versions.sort_by_key(|(number, row)| (*number, row.received));
    for mut lines in lines.into_values().filter(|lines| lines.len() == versions.len()) {
        lines.sort_by_key(|line| (line.time, line.record));
        for (line, (number, version)) in lines.iter().zip(&versions) {
            let known = version.received.zip(line.time).filter(|_| version.clock != line.clock);
            let Some((received, logged)) = known else { continue };
            found.push(Constraint {
                from: version.clock.to_string(),
                to: line.clock.to_string(),
                low: None,
                // The stamp is cut to microseconds.
                high: Some(logged + 1_000 - received),
                kind: "handler".to_owned(),
                at: Some(received),
                slack: 0,
                evidence: evidence(
                    line.source,
                    line.record,
                    format!("version {number} reached the proxy after its request"),
                ),
            });
        }
    }
    Ok(())
}

/// The operator's commands: sent after the marker ahead of them, answered before the marker behind.
fn requests(
    bundle: &Bundle,
    audit: &[AuditRow<'static>],
    evidence: &dyn Fn(i32, i64, String) -> Evidence,
    found: &mut Vec<Constraint>,
) -> anyhow::Result<()> {
    let markers = bundle.rows::<MarkerRow<'static>>(None)?;
    let starts = markers.iter().filter(|marker| marker.label.starts_with("action") && marker.label.ends_with("_start"));
    for start in starts {
        let words: BTreeSet<&str> = start.command.iter().flat_map(|text| text.split_ascii_whitespace()).collect();
        // Options may stand between the two: kubectl -n shop scale …
        let has = |word: &str| words.contains("kubectl") && words.contains(word);
        // Which request a command makes is certain only where it is the single one of its kind in the capture.
        let own: Vec<&AuditRow<'_>> = audit
            .iter()
            .filter(|row| {
                row.stage == "ResponseComplete"
                    && row.user_agent.as_deref().is_some_and(|agent| agent.starts_with("kubectl"))
            })
            .filter(|row| {
                let deployment = row.resource.as_deref() == Some("deployments");
                let scale = row.subresource.as_deref() == Some("scale");
                (has("scale") && deployment && scale && row.verb != "get")
                    || (has("rollout") && has("restart") && deployment && row.verb == "patch")
            })
            .collect();
        let [request] = own.as_slice() else { continue };
        found.push(Constraint {
            from: start.clock.to_string(),
            to: request.clock.to_string(),
            low: None,
            high: Some(request.received - start.time),
            kind: "request".to_owned(),
            at: Some(start.time),
            slack: 0,
            evidence: evidence(
                request.source,
                request.record,
                format!("received after the marker {} was set", start.label),
            ),
        });
        let returned = markers.iter().find(|marker| marker.label == start.label.replace("_start", "_returned"));
        if let Some(returned) = returned {
            found.push(Constraint {
                from: start.clock.to_string(),
                to: request.clock.to_string(),
                low: Some(request.stage_time - (returned.time + returned.resolution)),
                high: None,
                kind: "request".to_owned(),
                at: Some(returned.time + returned.resolution),
                slack: 0,
                evidence: evidence(
                    returned.source,
                    returned.record,
                    format!("{} was set after the answer", returned.label),
                ),
            });
        }
    }
    Ok(())
}

/// A version cannot be delivered before the request that made it was received.
fn watches(
    bundle: &Bundle,
    evidence: &dyn Fn(i32, i64, String) -> Evidence,
    found: &mut Vec<Constraint>,
) -> anyhow::Result<()> {
    let rows = bundle.rows::<EndpointRow<'static>>(Some(col("time").is_not_null()))?;
    let mut received: HashMap<(String, String), &EndpointRow<'_>> = HashMap::new();
    for row in rows.iter().filter(|row| row.witness == "audit" && !row.resource_version.is_empty()) {
        received.insert((row.slice_uid.to_string(), row.resource_version.to_string()), row);
    }
    let mut seen = BTreeSet::new();
    for row in rows.iter().filter(|row| row.witness == "watch") {
        let key = (row.slice_uid.to_string(), row.resource_version.to_string());
        let latest = row.time.map(|time| time.saturating_add(row.resolution.unwrap_or(0)));
        let (Some(made), Some(time)) = (received.get(&key), latest) else { continue };
        let (Some(request), true) = (made.received, seen.insert((row.source, row.record))) else { continue };
        if made.clock == row.clock {
            continue;
        }
        found.push(Constraint {
            from: made.clock.to_string(),
            to: row.clock.to_string(),
            low: None,
            high: Some(time - request),
            kind: "watch".to_owned(),
            at: Some(request),
            slack: 0,
            evidence: evidence(
                row.source,
                row.record,
                format!("version {} received after its request", row.resource_version),
            ),
        });
    }
    Ok(())
}

/// Whole seconds that the kubelet wrote, against the requests around them.
fn objects(
    bundle: &Bundle,
    node: &str,
    audit: &[AuditRow<'static>],
    evidence: Cite<'_>,
    found: &mut Vec<Constraint>,
) -> anyhow::Result<()> {
    let rows = bundle.rows::<PodRow<'static>>(Some(col("witness").eq(lit("audit"))))?;
    // A pod was bound, at the latest created, before a kubelet could start it.
    let mut before: HashMap<(&str, &str), i64> = HashMap::new();
    let made = rows
        .iter()
        .filter(|row| row.event == "create")
        .filter_map(|row| Some(((row.namespace.as_ref(), row.name.as_ref()), row.received?)));
    let bound = audit
        .iter()
        .filter(|row| row.subresource.as_deref() == Some("binding"))
        .filter_map(|row| Some(((row.namespace.as_deref()?, row.name.as_deref()?), row.received)));
    for (pod, received) in made.chain(bound) {
        before.entry(pod).and_modify(|known| *known = (*known).max(received)).or_insert(received);
    }
    for row in rows.iter().filter(|row| row.event.ends_with("/status")) {
        let Some(received) = row.received else { continue };
        let host = row.node.as_deref().unwrap_or(node);
        let bound = before.get(&(row.namespace.as_ref(), row.name.as_ref()));
        let ready = row.ready_since.filter(|_| row.ready == Some(true));
        for (time, what) in [(row.started, "its container started"), (ready, "it became ready")] {
            let Some(time) = time else { continue };
            let one = |low: Option<i64>, high: Option<i64>, at: i64| Constraint {
                from: host.to_owned(),
                to: row.clock.to_string(),
                low,
                high,
                kind: "object-timestamp".to_owned(),
                at: Some(at),
                slack: 0,
                evidence: evidence(row.source, row.record, format!("pod {} says that {what}", row.name)),
            };
            found.push(one(None, Some(received - time), time));
            // Whole seconds: it was at any time within the second.
            let until = time + 1_000_000_000;
            found.extend(bound.map(|bound| one(Some(bound - until), None, until)));
        }
    }
    Ok(())
}
