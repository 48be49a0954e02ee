//! When the dataplane can have changed at all: table replacements that the kernel was seen to make, and syncs that the
//! proxy logged.
//!
//! ```text
//! snapshots     absent ├───────────────────────────┤ present
//! syncs              ├─────────┤                ├───────┤      (log: end and duration)
//! replacements              ├┤                              (trace: return and duration of the call)
//! changed                   ├┤
//! ```
//!
//! A change that a snapshot shows was made in one of the doings that its interval overlaps: the hull of those bounds
//! it. That holds only where the record of doings is complete, so a trace that lost events is not used, nor is one
//! that does not span the interval. A complete record without any doing in the interval contradicts the snapshot.

use std::collections::{BTreeMap, BTreeSet};

use polars::prelude::{col, lit};
use syncline_schema::syncs::SyncRow;
use syncline_schema::trace::EventRow;

use super::{Observed, proxies};
use crate::bundle::Bundle;
use crate::clock::{Evidence, Graph, Offset};

/// One stretch of time in which the dataplane was changed, ns on the clock of its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doing {
    /// Earliest moment at which it can have had an effect.
    pub start: i64,
    /// Latest such moment.
    pub end: i64,
    /// Index of the source.
    pub source: i32,
    /// Line.
    pub record: i64,
}

/// A complete record of doings, from one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doings {
    /// `kernel trace` or `sync log`.
    pub witness: &'static str,
    /// What a doing is, in words.
    pub what: &'static str,
    /// Clock domain.
    pub clock: String,
    /// First and last moment that the source tells of.
    pub from: i64,
    /// As above.
    pub until: i64,
    /// In order.
    pub all: Vec<Doing>,
}

/// What a record says of an interval.
pub enum Said {
    /// It does not cover the interval, or its clock is unrelated.
    Nothing,
    /// Nothing was done in it: the two contradict each other.
    Contradicts,
    /// The hull of the doings in it, cut with it.
    Tightens(Observed),
}

/// Node that a clock domain belongs to.
pub fn node_of(clock: &str) -> &str {
    clock.split('/').next().unwrap_or(clock)
}

/// The records of a bundle by node: kernel traces and sync logs.
///
/// # Errors
/// A table that cannot be read.
pub fn read(
    bundle: &Bundle,
    dataplane: &str,
    path: &dyn Fn(i32) -> String,
) -> anyhow::Result<BTreeMap<String, Vec<Doings>>> {
    let mut found: BTreeMap<String, Vec<Doings>> = BTreeMap::new();
    for one in syncs(bundle, path)?.into_iter().chain(kernel(bundle, dataplane)?) {
        found.entry(node_of(&one.clock).to_owned()).or_default().push(one);
    }
    Ok(found)
}

fn span(bundle: &Bundle, source: i32) -> Option<(i64, i64)> {
    let source = bundle.manifest.sources.get(usize::try_from(source).ok()?)?;
    source.first.zip(source.last)
}

fn kernel(bundle: &Bundle, dataplane: &str) -> anyhow::Result<Vec<Doings>> {
    let words: &[&str] = match dataplane {
        "kube-proxy-iptables" => &["IPT_SO_SET_REPLACE"],
        "kube-proxy-nftables" => &["NFT_BATCH_SENDMSG"],
        "cilium" => &["BPF_MAP_UPDATE_ELEM", "BPF_MAP_BATCH"],
        _ => return Ok(Vec::new()),
    };
    let wanted = words.iter().map(|word| col("event").eq(lit((*word).to_owned()))).reduce(|a, b| a.or(b));
    let lossy: BTreeSet<&str> = bundle
        .manifest
        .losses
        .iter()
        .filter(|loss| loss.name == "lost-trace-events" || loss.name == "rejected-records")
        .filter_map(|loss| loss.source.as_deref())
        .collect();
    let mut records: BTreeMap<i32, Doings> = BTreeMap::new();
    for row in bundle.rows::<EventRow<'static>>(wanted)? {
        let Some(end) = row.time else { continue };
        let of_nat = row.event.as_deref() != Some("IPT_SO_SET_REPLACE") || value(&row.text, "table") == Some("nat");
        let path = usize::try_from(row.source).ok().and_then(|at| bundle.manifest.sources.get(at));
        let (Some((from, until)), true) = (span(bundle, row.source), of_nat) else { continue };
        if value(&row.text, "ret").is_some_and(|code| code.starts_with('-'))
            || path.is_none_or(|source| lossy.contains(source.path.as_str()))
        {
            continue;
        }
        // Without a duration the call may have begun at any time before: the event bounds it from above only.
        let Some(duration) = value(&row.text, "dur_ns").and_then(|text| text.parse::<i64>().ok()) else { continue };
        let record = records.entry(row.source).or_insert_with(|| Doings {
            witness: "kernel trace",
            what: "the kernel took the new rules",
            clock: row.clock.to_string(),
            from,
            until,
            all: Vec::new(),
        });
        record.all.push(Doing { start: end.saturating_sub(duration), end, source: row.source, record: row.record });
    }
    Ok(finished(records))
}

/// `key=value` among words.
fn value<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    text.split_ascii_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}

/// Time, line and source of a sync that was begun.
type Begun = (i64, i64, i32);

/// Of several proxies on one clock nobody knows which made the node's changes: their syncs are one record then, so that the hull of
/// those in an interval holds the right one.
fn syncs(bundle: &Bundle, path: &dyn Fn(i32) -> String) -> anyhow::Result<Vec<Doings>> {
    let moments = ["complete", "failed", "start"].into_iter().map(|moment| col("moment").eq(lit(moment)));
    let rows = bundle.rows::<SyncRow<'static>>(moments.reduce(|a, b| a.or(b)))?;
    let (begun, ended): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.moment == "start");
    let made = proxies::of(ended, path);
    let mut names: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (proxy, row) in &made.syncs {
        names.entry(&row.clock).or_default().insert(proxy);
    }
    let together = |clock: &str| names.get(clock).is_some_and(|names| names.len() > 1);
    // A source, or all of a clock's.
    let key = |row: &SyncRow<'_>| {
        let source = if together(&row.clock) { -1 } else { row.source };
        (source, row.clock.to_string())
    };
    let mut records: BTreeMap<(i32, String), Doings> = BTreeMap::new();
    let mut starts: BTreeMap<(i32, String), Vec<Begun>> = BTreeMap::new();
    for row in &begun {
        if let (Some(_), Some(time)) = (span(bundle, row.source), row.time) {
            starts.entry(key(row)).or_default().push((time, row.record, row.source));
        }
    }
    for (_, row) in &made.syncs {
        let (Some((from, until)), Some(time)) = (span(bundle, row.source), row.time) else { continue };
        let Some(duration) = row.duration else { continue };
        let record = records.entry(key(row)).or_insert_with(|| Doings {
            witness: "sync log",
            what: "a sync of the proxy",
            clock: row.clock.to_string(),
            from,
            until,
            all: Vec::new(),
        });
        (record.from, record.until) = (record.from.max(from), record.until.min(until));
        // The stamp is cut to microseconds, and taken after the duration.
        let start = time.saturating_sub(duration).saturating_sub(1_000);
        record.all.push(Doing { start, end: time + 1_000, source: row.source, record: row.record });
    }
    for (key, record) in &mut records {
        // A sync that was begun and never ended (the proxy was restarted) may have changed something until the next.
        let starts = starts.remove(key).unwrap_or_default();
        for (at, (time, line, source)) in starts.iter().enumerate() {
            if record.all.iter().any(|one| one.start <= *time && *time <= one.end) {
                continue;
            }
            let end = starts.get(at + 1).map_or(record.until, |next| next.0);
            record.all.push(Doing { start: *time, end, source: *source, record: *line });
        }
    }
    Ok(finished(records))
}

fn finished<K>(records: BTreeMap<K, Doings>) -> Vec<Doings> {
    let mut found: Vec<Doings> = records.into_values().collect();
    for record in &mut found {
        record.all.sort_by_key(|one| (one.start, one.end));
    }
    found
}

impl Doings {
    /// The doings that may overlap an interval on another clock, with the bounds of the offset to that clock.
    /// Null where the record does not span the interval.
    pub fn within(&self, low: i64, high: i64, clock: &str, clocks: &Graph) -> Option<(&[Doing], i64, i64)> {
        let back = clocks.offset_within(clock, &self.clock, Some(low), Some(high))?;
        let offset = Offset { low: -back.high, high: -back.low };
        if self.from + offset.high > low || self.until + offset.low < high {
            return None;
        }
        // Doings of one record hardly overlap: those that end late enough follow each other.
        let first = self.all.partition_point(|one| one.end + offset.high < low);
        let last = self.all.partition_point(|one| one.start + offset.low <= high);
        Some((self.all.get(first..last.max(first)).unwrap_or_default(), offset.low, offset.high))
    }

    /// What the record says of the interval in which a change was seen.
    pub fn say(&self, seen: &Observed, clocks: &Graph, path: &dyn Fn(i32) -> String) -> Said {
        let (Some(low), Some(high)) = (seen.low, seen.high) else { return Said::Nothing };
        let Some((inside, earlier, later)) = self.within(low, high, &seen.clock, clocks) else { return Said::Nothing };
        let (Some(first), Some(last)) = (inside.first(), inside.iter().max_by_key(|one| one.end)) else {
            return Said::Contradicts;
        };
        let (new_low, new_high) = (low.max(first.start + earlier), high.min(last.end + later));
        if (new_low, new_high) == (low, high) || new_low > new_high {
            return Said::Nothing;
        }
        let evidence = |one: &Doing| Evidence {
            path: path(one.source).into(),
            record: one.record,
            what: self.what.into(),
            ..Evidence::default()
        };
        let mut found = seen.clone();
        (found.low, found.high) = (Some(new_low), Some(new_high));
        found.witness = format!("{} ∩ {}", seen.witness, self.witness);
        found.evidence.push(evidence(first));
        if first != last {
            found.evidence.push(evidence(last));
        }
        Said::Tightens(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(all: &[(i64, i64)]) -> Doings {
        let all = all.iter().map(|(start, end)| Doing { start: *start, end: *end, source: 0, record: 1 }).collect();
        Doings { witness: "kernel trace", what: "x", clock: "n".to_owned(), from: 0, until: 1_000, all }
    }

    fn seen(low: i64, high: i64) -> Observed {
        Observed {
            low: Some(low),
            high: Some(high),
            clock: "n".to_owned(),
            witness: "iptables-save".to_owned(),
            evidence: Vec::new(),
        }
    }

    fn said(record: &Doings, low: i64, high: i64) -> Said {
        record.say(&seen(low, high), &Graph::default(), &|_| String::new())
    }

    #[test]
    fn a_snapshot_is_cut_with_the_replacement_in_it() {
        let record = record(&[(10, 20), (150, 160), (400, 420)]);
        let Said::Tightens(found) = said(&record, 100, 300) else { panic!("it lies within") };
        assert_eq!((found.low, found.high), (Some(150), Some(160)));
        assert_eq!(found.witness, "iptables-save ∩ kernel trace");
        let Said::Tightens(hull) = said(&record, 100, 405) else { panic!("two lie within") };
        assert_eq!((hull.low, hull.high), (Some(150), Some(405)), "their hull, never beyond the snapshot's");
    }

    #[test]
    fn a_record_without_a_doing_contradicts_and_a_short_one_says_nothing() {
        let record = record(&[(10, 20)]);
        assert!(matches!(said(&record, 100, 300), Said::Contradicts));
        assert!(matches!(said(&record, 100, 1_001), Said::Nothing), "it ended before");
    }

    #[test]
    fn words_of_a_trace_line() {
        assert_eq!(value("table=nat entries=80 dur_ns=62920 ret=0", "dur_ns"), Some("62920"));
        assert_eq!(value("table=nat", "able"), None);
    }
}
