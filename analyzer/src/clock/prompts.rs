//! Where a command was typed, as the prompt of its transcript says.
//!
//! ```text
//! root@node-a:~# date +%s.%N; kubectl scale deploy/test --replicas=44; date +%s.%N
//! ```
//!
//! The stamps around the command are then of node-a's clock, as are those of the captures of that node. Where nobody named the
//! node of the node-level captures, but every capture that names a node of the cluster names this one, it is that: a cluster of one
//! node has no other. Prompts of two machines say nothing.

use std::collections::{BTreeMap, BTreeSet};

use polars::prelude::{col, lit};
use syncline_schema::endpoints::EndpointRow;
use syncline_schema::facts::FactRow;
use syncline_schema::markers::MarkerRow;
use syncline_schema::pods::PodRow;
use syncline_schema::samples::SeriesRow;

use super::evidence::UNNAMED;
use super::{Constraint, Evidence};
use crate::bundle::Bundle;

/// The operator's clock is that of the node, where a prompt shows it.
///
/// # Errors
/// A table that cannot be read.
pub fn gather(
    bundle: &Bundle,
    node: &str,
    evidence: &dyn Fn(i32, i64, String) -> Evidence,
) -> anyhow::Result<Option<Constraint>> {
    let hosts = bundle.rows::<FactRow<'static>>(Some(col("key").eq(lit("prompt-host"))))?;
    let Some(first) = hosts.first() else { return Ok(None) };
    if hosts.iter().any(|host| host.value != first.value) {
        return Ok(None);
    }
    let host = first.value.as_ref();
    let markers = bundle.rows::<MarkerRow<'static>>(None)?;
    let Some(operator) = markers.iter().find(|one| Some(one.source) == first.source).map(|one| one.clock.to_string())
    else {
        return Ok(None);
    };
    let is_node = if node == UNNAMED { named(bundle)?.iter().eq([host]) } else { node == host };
    if !is_node || operator == node {
        return Ok(None);
    }
    let what = format!("the prompt says that the command was typed on {host}");
    Ok(Some(Constraint {
        from: operator,
        to: node.to_owned(),
        low: Some(0),
        high: Some(0),
        kind: "prompt".to_owned(),
        evidence: evidence(first.source.unwrap_or(-1), first.record, what),
        ..Constraint::default()
    }))
}

/// Nodes of the cluster that any capture names.
fn named(bundle: &Bundle) -> anyhow::Result<BTreeSet<String>> {
    let of_node = || Some(col("node").is_not_null());
    let mut found: BTreeSet<String> = BTreeSet::new();
    let endpoints = bundle.rows::<EndpointRow<'static>>(of_node())?;
    found.extend(endpoints.into_iter().filter_map(|row| row.node.map(|node| node.into_owned())));
    let pods = bundle.rows::<PodRow<'static>>(of_node())?;
    found.extend(pods.into_iter().filter_map(|row| row.node.map(|node| node.into_owned())));
    let facts = bundle.rows::<FactRow<'static>>(None)?;
    found.extend(facts.iter().filter_map(|fact| fact.key.strip_prefix("node/").map(str::to_owned)));
    found.extend(bundle.manifest.nodes.iter().cloned());
    for row in bundle.rows::<SeriesRow<'static>>(Some(col("name").eq(lit("kube_node_info"))))? {
        let labels: BTreeMap<String, String> = serde_json::from_str(&row.labels).unwrap_or_default();
        found.extend(labels.get("node").cloned());
    }
    found.retain(|name| !name.is_empty() && name != UNNAMED);
    Ok(found)
}
