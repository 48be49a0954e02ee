//! What may belong to an action that markers only begin: changes of endpoints and of the dataplane, syncs, failed requests.

use std::collections::BTreeSet;

use polars::prelude::{col, lit};
use syncline_schema::audit::AuditRow;
use syncline_schema::loss;
use syncline_schema::manifest::Source;
use syncline_schema::markers::MarkerRow;
use syncline_schema::requests::RequestRow;
use syncline_schema::syncs::SyncRow;

use super::dataplane::Presence;
use super::windows::Events;
use super::{Episode, Outcome, Windows};
use crate::bundle::Bundle;
use crate::clock::Graph;

/// Where events are looked for.
pub struct Captured<'a> {
    pub bundle: &'a Bundle,
    pub clocks: &'a Graph,
    pub episodes: &'a [Episode],
    pub presences: &'a [Presence],
}

impl Captured<'_> {
    /// All of them at their latest, on the windows' clock; what is stamped by a clock that nothing relates to it is not among
    /// them.
    ///
    /// # Errors
    /// A table that cannot be read.
    pub fn events(&self, windows: &Windows, markers: &[MarkerRow<'static>]) -> anyhow::Result<Events> {
        let at = |time: i64, clock: &str| Some(time + self.clocks.offset(clock, &windows.clock)?.high);
        let mut found = Events { next: windows.next, ..Events::default() };
        for episode in self.episodes {
            let committed = &episode.committed;
            found.changes.extend(committed.high.and_then(|time| at(time, &committed.clock)));
            if let (Outcome::Seen, Some(seen)) = (episode.outcome, &episode.dataplane) {
                found.changes.extend(seen.high.or(seen.low).and_then(|time| at(time, &seen.clock)));
            }
        }
        for presence in self.presences {
            let looks = presence.changes.iter().map(|change| change.after.until.unwrap_or(change.after.time));
            found.changes.extend(looks.filter_map(|time| at(time, &presence.clock)));
        }
        let writes = ["create", "update", "patch", "delete"].into_iter().map(|verb| col("verb").eq(lit(verb)));
        if let Some(writes) = writes.reduce(|a, b| a.or(b)) {
            let slices = col("resource").eq(lit("endpointslices")).and(col("stage").eq(lit("ResponseComplete")));
            for row in self.bundle.rows::<AuditRow<'static>>(Some(slices.and(writes)))? {
                found.changes.extend(at(row.stage_time, &row.clock));
            }
        }
        let ended = col("moment").eq(lit("complete")).or(col("moment").eq(lit("failed")));
        for row in self.bundle.rows::<SyncRow<'static>>(Some(ended))? {
            found.others.extend(row.time.and_then(|time| at(time, &row.clock)));
        }
        for row in self.bundle.rows::<RequestRow<'static>>(Some(col("error").is_not_null()))? {
            found.others.extend(at(row.time + row.latency.unwrap_or(0).max(0), &row.clock));
        }
        let stated =
            markers.iter().filter(|one| one.label == "end" && one.clock == windows.clock).map(|one| one.time).max();
        let captured = timed(self.bundle).filter_map(|one| at(one.last?, one.clock.as_deref()?)).max();
        found.last = stated.or(captured);
        Ok(found)
    }
}

/// Sources whose times somebody wrote: a modification time may be that of the last copy.
pub fn timed(bundle: &Bundle) -> impl Iterator<Item = &Source> {
    let by_file: BTreeSet<&str> = bundle
        .manifest
        .losses
        .iter()
        .filter(|one| one.name == loss::TIME_FROM_MTIME.name)
        .filter_map(|one| one.source.as_deref())
        .collect();
    bundle.manifest.sources.iter().filter(move |one| !by_file.contains(one.path.as_str()))
}
