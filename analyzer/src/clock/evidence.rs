//! What the captures say about clocks: statements, readings, and causality that needs no statement.
//!
//! | kind | rests on |
//! | --- | --- |
//! | `statement` | `same_host` of `capture.toml` |
//! | `reading` | two clocks read at one instant (`clock.tsv`) |
//! | `request` | a command was started before the API server received its request, and returned after it was answered |
//! | `lease` | a node's Lease was renewed (its clock) before the API server received the renewal |
//! | `watch` | a version was received from a watch after the API server received the request that made it |
//! | `object-timestamp` | a container started (node) after its pod was bound (API server), and before the status that says so was received |

use std::collections::{BTreeSet, HashMap};

use polars::prelude::{col, lit};
use syncline_schema::audit::AuditRow;
use syncline_schema::clock_anchors::ClockAnchorRow;
use syncline_schema::endpoints::EndpointRow;
use syncline_schema::facts::FactRow;
use syncline_schema::markers::MarkerRow;
use syncline_schema::pods::PodRow;

use super::{Constraint, Evidence};
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
    let evidence = |source: i32, record: i64, what: String| Evidence { path: path(source).to_owned(), record, what };
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
            });
        }
    }
    for anchor in bundle.rows::<ClockAnchorRow<'static>>(None)? {
        found.push(Constraint {
            from: anchor.b.to_string(),
            to: anchor.a.to_string(),
            low: Some(anchor.a_low - anchor.b_high),
            high: Some(anchor.a_high - anchor.b_low),
            kind: anchor.evidence.to_string(),
            evidence: evidence(anchor.source, anchor.record, "clock readings".to_owned()),
        });
    }
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
            evidence: evidence(lease.source, lease.record, format!("Lease of {name} renewed, then received")),
        });
    }
    requests(bundle, &audit, &evidence, &mut found)?;
    watches(bundle, &evidence, &mut found)?;
    objects(bundle, node, &evidence, &mut found)?;
    Ok(found)
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
        let command = start.command.as_deref().unwrap_or_default();
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
                (command.contains("kubectl scale") && deployment && scale && row.verb != "get")
                    || (command.contains("rollout restart") && deployment && row.verb == "patch")
            })
            .collect();
        let [request] = own.as_slice() else { continue };
        found.push(Constraint {
            from: start.clock.to_string(),
            to: request.clock.to_string(),
            low: None,
            high: Some(request.received - start.time),
            kind: "request".to_owned(),
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
        let (Some(made), Some(time)) = (received.get(&key), row.time) else { continue };
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
    evidence: &dyn Fn(i32, i64, String) -> Evidence,
    found: &mut Vec<Constraint>,
) -> anyhow::Result<()> {
    let rows = bundle.rows::<PodRow<'static>>(Some(col("witness").eq(lit("audit"))))?;
    let mut bound: HashMap<&str, &PodRow<'_>> = HashMap::new();
    for row in rows.iter().filter(|row| row.event == "create/binding") {
        bound.insert(&row.name, row);
    }
    for row in rows.iter().filter(|row| row.event.ends_with("/status")) {
        let (Some(started), Some(received)) = (row.started, row.received) else { continue };
        let host = row.node.as_deref().unwrap_or(node);
        let started_text = || format!("pod {} says that its container started", row.name);
        found.push(Constraint {
            from: host.to_owned(),
            to: row.clock.to_string(),
            low: None,
            high: Some(received - started),
            kind: "object-timestamp".to_owned(),
            evidence: evidence(row.source, row.record, started_text()),
        });
        if let Some(binding) = bound.get(row.name.as_ref()).and_then(|binding| binding.received) {
            found.push(Constraint {
                from: host.to_owned(),
                to: row.clock.to_string(),
                low: Some(binding - (started + 1_000_000_000)),
                high: None,
                kind: "object-timestamp".to_owned(),
                evidence: evidence(row.source, row.record, started_text()),
            });
        }
    }
    Ok(())
}
