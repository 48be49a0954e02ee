//! Which proxy made which sync: figures of two proxies are never pooled.
//!
//! | what a line has | its proxy |
//! | --- | --- |
//! | a name (pod, node) that stood around it | that name |
//! | none | its source: one log is one proxy's |
//! | none, in two sources of one clock whose times do not overlap | one proxy: a log that was rotated, a proxy that was restarted |
//! | the same stamp and duration as a line of another source | that line again: it counts once |
//!
//! A proxy makes one sync at a time (one for each address family). Syncs that overlap in one log without names are those of
//! several proxies: what can be told of each is not known, so this is a finding.

use std::collections::{BTreeMap, HashMap};

use syncline_schema::syncs::SyncRow;

use crate::clock::{Evidence, Finding};

/// Syncs (rows of the moments `complete` and `failed`) with the proxy that made each, every sync once.
#[derive(Clone, Debug, Default)]
pub struct Made {
    /// In the order of the table.
    pub syncs: Vec<(String, SyncRow<'static>)>,
    /// Paths of logs in which syncs overlap, with the two lines of the first pair.
    pub overlaps: Vec<Overlap>,
}

/// Syncs of one log that were made at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct Overlap {
    /// Proxy, as [`Made::syncs`] names it.
    pub proxy: String,
    pub path: String,
    /// How many began before the one ahead of them had ended.
    pub count: usize,
    pub evidence: Vec<Evidence>,
}

/// Stamps and durations are rounded apart: less than this is no overlap.
const ROUNDING: i64 = 1_000_000;

/// Finds the proxy of each sync.
pub fn of(rows: Vec<SyncRow<'static>>, path: &dyn Fn(i32) -> String) -> Made {
    let owners = owners(&rows, path);
    let mut seen: HashMap<(String, i64, i64), i32> = HashMap::new();
    let mut made = Made::default();
    for row in rows {
        let Some(owner) = owners.get(&key(&row)) else { continue };
        if let (Some(time), Some(duration)) = (row.time, row.duration) {
            // The same line in another source is the same sync.
            let first = seen.entry((owner.clone(), time, duration)).or_insert(row.source);
            if *first != row.source {
                continue;
            }
        }
        made.syncs.push((owner.clone(), row));
    }
    made.overlaps = overlaps(&made.syncs, path);
    made
}

type Key = (Option<String>, i32);

/// A named proxy is one in whatever source it stands.
fn key(row: &SyncRow<'_>) -> Key {
    match &row.proxy {
        Some(name) => (Some(name.to_string()), -1),
        None => (None, row.source),
    }
}

fn owners(rows: &[SyncRow<'static>], path: &dyn Fn(i32) -> String) -> BTreeMap<Key, String> {
    #[derive(Default)]
    struct Log<'r> {
        clock: &'r str,
        span: Option<(i64, i64)>,
    }
    let mut logs: BTreeMap<Key, Log<'_>> = BTreeMap::new();
    let mut lines: HashMap<(&str, i64, i64), Key> = HashMap::new();
    let mut same: Vec<(Key, Key)> = Vec::new();
    for row in rows {
        let key = key(row);
        let log = logs.entry(key.clone()).or_insert(Log { clock: &row.clock, span: None });
        if let Some(time) = row.time {
            let begun = time - row.duration.unwrap_or(0);
            log.span = Some(log.span.map_or((begun, time), |(a, b)| (a.min(begun), b.max(time))));
        }
        if let (Some(time), Some(duration)) = (row.time, row.duration) {
            let first = lines.entry((&row.clock, time, duration)).or_insert_with(|| key.clone());
            // Two names are two proxies, whatever they did.
            if *first != key && (first.0.is_none() || key.0.is_none()) {
                same.push((first.clone(), key));
            }
        }
    }
    let mut found: BTreeMap<Key, String> = BTreeMap::new();
    for (name, source) in logs.keys() {
        let plain = name.clone().unwrap_or_else(|| path(*source));
        found.insert((name.clone(), *source), plain);
    }
    for (a, b) in same {
        let (named, other) = if b.0.is_some() { (b, a) } else { (a, b) };
        if let Some(name) = found.get(&named).cloned() {
            found.insert(other, name);
        }
    }
    // Unnamed logs of one clock, one behind the other.
    let mut unnamed: Vec<(&Key, (i64, i64), &str)> = logs
        .iter()
        .filter(|((name, _), _)| name.is_none())
        .filter_map(|(key, log)| Some((key, log.span?, log.clock)))
        .collect();
    unnamed.sort_by_key(|(key, span, clock)| (*clock, *span, (*key).clone()));
    for pair in unnamed.windows(2) {
        let [(first, before, one), (second, after, other)] = pair else { continue };
        if one == other
            && before.1 <= after.0
            && let Some(name) = found.get(*first).cloned()
        {
            found.insert((*second).clone(), name);
        }
    }
    found
}

fn overlaps(syncs: &[(String, SyncRow<'static>)], path: &dyn Fn(i32) -> String) -> Vec<Overlap> {
    type Place<'s> = (&'s str, i32, Option<&'s str>);
    let mut logs: BTreeMap<Place<'_>, Vec<(i64, i64, &SyncRow<'_>)>> = BTreeMap::new();
    for (proxy, row) in syncs {
        if let (Some(time), Some(duration)) = (row.time, row.duration) {
            let place = (proxy.as_str(), row.source, row.family.as_deref());
            logs.entry(place).or_default().push((time - duration, time, row));
        }
    }
    let mut found = Vec::new();
    for ((proxy, source, _), mut all) in logs {
        all.sort_by_key(|(_, end, row)| (*end, row.record));
        let mut overlap: Option<Overlap> = None;
        for pair in all.windows(2) {
            let [(_, ended, first), (begun, _, second)] = pair else { continue };
            if begun + ROUNDING >= *ended {
                continue;
            }
            let line = |row: &SyncRow<'_>| Evidence {
                path: path(row.source).into(),
                record: row.record,
                what: format!("sync of {:.1} ms", row.duration.unwrap_or(0) as f64 / 1e6).into(),
                ..Evidence::default()
            };
            let known = overlap.get_or_insert_with(|| Overlap {
                proxy: proxy.to_owned(),
                path: path(source),
                count: 0,
                evidence: vec![line(first), line(second)],
            });
            known.count += 1;
        }
        found.extend(overlap);
    }
    found
}

/// What a reader must know of proxies.
pub fn findings(made: &Made) -> Vec<Finding> {
    let finding = |one: &Overlap| Finding {
        title: format!("several proxies in one log: syncs overlap in {}", one.path),
        detail: format!(
            "{} of its syncs began before the one ahead of them had ended, which one proxy does not do (unless they are of its two address families, which its lines do not name): rates and shares of the time are of all of them together and bound each from above; keep each proxy's log apart, or `kubectl logs --prefix`",
            one.count
        ),
        evidence: one.evidence.clone(),
    };
    made.overlaps.iter().map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(source: i32, proxy: Option<&'static str>, time: i64, duration: i64) -> SyncRow<'static> {
        SyncRow {
            source,
            record: time,
            clock: "node-a".into(),
            time: Some(time * 1_000_000),
            proxy: proxy.map(Into::into),
            moment: "complete".into(),
            duration: Some(duration * 1_000_000),
            ..SyncRow::default()
        }
    }

    fn made(rows: &[SyncRow<'static>]) -> (Vec<String>, usize) {
        let found = of(rows.to_vec(), &|source| format!("log-{source}"));
        (found.syncs.iter().map(|(proxy, _)| proxy.clone()).collect(), findings(&found).len())
    }

    #[test]
    fn names_tell_proxies_apart_and_sources_where_there_are_none() {
        let named = [row(0, Some("a"), 150, 50), row(0, Some("b"), 190, 70), row(1, Some("a"), 400, 50)];
        assert_eq!(made(&named), (vec!["a".into(), "b".into(), "a".into()], 0));
        let together = [row(0, None, 150, 50), row(1, None, 160, 20), row(0, None, 350, 50)];
        assert_eq!(made(&together), (vec!["log-0".into(), "log-1".into(), "log-0".into()], 0));
        let rotated = [row(0, None, 150, 50), row(1, None, 300, 20)];
        assert_eq!(made(&rotated), (vec!["log-0".into(), "log-0".into()], 0));
    }

    #[test]
    fn one_line_in_two_sources_counts_once() {
        let copied = [row(0, None, 150, 50), row(1, Some("a"), 150, 50), row(1, Some("a"), 290, 60)];
        assert_eq!(made(&copied), (vec!["a".into(), "a".into()], 0));
        let two = [row(0, Some("a"), 150, 50), row(0, Some("b"), 150, 50)];
        assert_eq!(made(&two).0.len(), 2, "two names are two proxies");
    }

    #[test]
    fn syncs_that_overlap_without_names_are_a_finding() {
        let overlap = [row(0, None, 150, 50), row(0, None, 190, 70)];
        assert_eq!(made(&overlap).1, 1);
        let families = |family: &'static str, one: SyncRow<'static>| SyncRow { family: Some(family.into()), ..one };
        let dual = [families("IPv4", overlap[0].clone()), families("IPv6", overlap[1].clone())];
        assert_eq!(made(&dual).1, 0, "each family has its own");
    }
}
