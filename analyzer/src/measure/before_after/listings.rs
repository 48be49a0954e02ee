//! Listings that were taken twice: rules of iptables and nftables, entries of load-balancer maps, EndpointSlices.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use polars::prelude::{col, lit};
use syncline_schema::dataplane::{COUNTER, ChangeRow, RuleRow, SnapshotRow};
use syncline_schema::endpoints::EndpointRow;

use super::pairs::{self, By, Candidate};
use super::services;
use super::{BeforeAfter, Change, Kind};
use crate::clock::Evidence;
use crate::events::Run;
use crate::math::{Estimate, arithmetic};
use crate::measure::readings::Labels;

/// A stream with more looks than these is a recording, which propagation is measured from.
const FEW: usize = 4;

/// Rules that are named in one row at most.
const NAMED: usize = 6;

/// A rule of a listing, whatever its counters: table, chain, text.
pub(super) type Identity = (String, String, String);

/// One rule in one listing.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    count: u64,
    pub(super) packets: Option<i64>,
    bytes: Option<i64>,
    pub(super) service: String,
    kind: String,
    source: i32,
    record: i64,
}

/// One listing.
pub(super) struct Listing {
    format: String,
    source: i32,
    record: i64,
    time: Option<i64>,
    resolution: i64,
    complete: bool,
    pub(super) entries: BTreeMap<Identity, Entry>,
    /// Rules in the order of the listing.
    order: Vec<Identity>,
}

/// All of a run.
pub fn changes(run: &Run) -> BeforeAfter {
    let mut found = BeforeAfter::default();
    for (by, before, after) in twice(run, listings(run)) {
        found.pairs.push(format!("{} → {}", run.path(before.source), run.path(after.source)));
        rules(run, by, &before, &after, &mut found);
    }
    endpoints(run, &mut found);
    found
}

/// Every listing of streams with few looks, rebuilt.
fn listings(run: &Run) -> Vec<Listing> {
    let snapshots = run.bundle.rows_or_note::<SnapshotRow<'static>>(None);
    let mut streams: BTreeMap<i32, Vec<SnapshotRow<'static>>> = BTreeMap::new();
    for snapshot in snapshots {
        streams.entry(snapshot.stream).or_default().push(snapshot);
    }
    streams.retain(|_, snapshots| snapshots.len() <= FEW);
    let Some(any) = streams.keys().map(|stream| col("stream").eq(lit(*stream))).reduce(polars::prelude::Expr::or)
    else {
        return Vec::new();
    };
    let rules = run.bundle.rows_or_note::<RuleRow<'static>>(Some(any.clone()));
    let rules: HashMap<i64, &RuleRow<'static>> = rules.iter().map(|rule| (rule.rule, rule)).collect();
    let mut changes: BTreeMap<i32, Vec<ChangeRow<'static>>> = BTreeMap::new();
    for change in run.bundle.rows_or_note::<ChangeRow<'static>>(Some(any)) {
        changes.entry(change.stream).or_default().push(change);
    }
    let mut found = Vec::new();
    for (stream, mut snapshots) in streams {
        snapshots.sort_by_key(|snapshot| snapshot.snapshot);
        // Positions refer to the list as it stands when a change is applied.
        let mut pieces: Vec<(i64, Option<i64>, Option<i64>)> = Vec::new();
        let mut left = changes.remove(&stream).unwrap_or_default().into_iter().peekable();
        for snapshot in snapshots {
            while let Some(change) = left.next_if(|change| change.snapshot <= snapshot.snapshot) {
                let Ok(at) = usize::try_from(change.position) else { continue };
                let piece = (change.rule, change.packets, change.bytes);
                match change.operation.as_ref() {
                    "insert" if at <= pieces.len() => pieces.insert(at, piece),
                    "delete" if at < pieces.len() => drop(pieces.remove(at)),
                    "counters" => {
                        if let Some(known) = pieces.get_mut(at) {
                            *known = piece;
                        }
                    }
                    _ => {}
                }
            }
            found.push(listing(&snapshot, &pieces, &rules));
        }
    }
    found
}

fn listing(
    snapshot: &SnapshotRow,
    pieces: &[(i64, Option<i64>, Option<i64>)],
    rules: &HashMap<i64, &RuleRow<'static>>,
) -> Listing {
    let mut listing = Listing {
        format: snapshot.format.to_string(),
        source: snapshot.source,
        record: snapshot.record,
        time: snapshot.time.filter(|_| !matches!(snapshot.time_from.as_ref(), "mtime" | "none")),
        resolution: snapshot.resolution.unwrap_or(0),
        complete: snapshot.complete,
        entries: BTreeMap::new(),
        order: Vec::new(),
    };
    for (rule, packets, bytes) in pieces {
        let Some(rule) = rules.get(rule).filter(|rule| rule.kind != "other") else { continue };
        let text = |column: &Option<syncline_schema::Text>| column.as_deref().unwrap_or_default().to_owned();
        let identity = (text(&rule.table), text(&rule.chain), plain(&rule.text));
        let entry = listing.entries.entry(identity.clone()).or_insert_with(|| Entry {
            service: text(&rule.service),
            kind: rule.kind.to_string(),
            source: rule.source,
            record: rule.record,
            ..Entry::default()
        });
        entry.count += 1;
        let sum = |known: Option<i64>, more: &Option<i64>| match (known, more) {
            (Some(known), Some(more)) => Some(known + more),
            (known, more) => known.or(*more),
        };
        (entry.packets, entry.bytes) = (sum(entry.packets, packets), sum(entry.bytes, bytes));
        listing.order.push(identity);
    }
    listing
}

/// A rule without its counters (rounded ones included), and without the number that `--line-numbers` puts ahead of it: rules
/// move, and are the same.
fn plain(text: &str) -> String {
    let is_count = |word: &&str| {
        let digits = word.trim_end_matches(['K', 'M', 'G', 'T']);
        word.contains(COUNTER) || !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    let words: Vec<&str> = text.split_whitespace().skip_while(is_count).collect();
    let words: Vec<&str> = words.into_iter().filter(|word| !word.contains(COUNTER)).collect();
    words.join(" ")
}

/// Pairs of listings: of files by their names, of one file its first and last.
fn twice(run: &Run, listings: Vec<Listing>) -> Vec<(By, Listing, Listing)> {
    let path = |source: i32| run.path(source).to_owned();
    let candidates: Vec<Candidate> = listings
        .iter()
        .map(|one| one.source)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .filter_map(|source| {
            let own = listings.iter().find(|one| one.source == source)?;
            Some(Candidate { source, path: path(source), kind: own.format.clone(), stated: own.time.is_some() })
        })
        .collect();
    let groups = pairs::groups(&candidates);
    let mut of: BTreeMap<usize, (By, Vec<(u64, Listing)>)> = BTreeMap::new();
    for one in listings {
        let place = groups.iter().enumerate().find_map(|(at, group)| {
            let (rank, _) = group.members.iter().find(|(_, source)| *source == one.source)?;
            // Two states of two nodes are not two moments: a number alone needs stated times.
            (group.by != By::Number || one.time.is_some()).then_some((at, group.by, *rank))
        });
        let alone = groups.len() + usize::try_from(one.source).unwrap_or_default();
        let (at, by, rank) = place.unwrap_or((alone, By::Time, 0));
        of.entry(at).or_insert_with(|| (by, Vec::new())).1.push((rank, one));
    }
    let mut found = Vec::new();
    for (by, mut members) in of.into_values().filter(|(_, members)| members.len() > 1) {
        match members.iter().all(|(_, one)| one.time.is_some()) {
            true => members.sort_by_key(|(rank, one)| (one.time, *rank, one.record)),
            false => members.sort_by_key(|(rank, one)| (*rank, one.source, one.record)),
        }
        let mut members = members.into_iter().map(|(_, one)| one);
        if let (Some(before), Some(after)) = (members.next(), members.next_back()) {
            found.push((by, before, after));
        }
    }
    found
}

/// What a holder gained and lost, and how much it held at each end.
type Changed = (Vec<String>, Vec<String>, [u64; 2]);

/// Kind, table and stem of chains, and whether they are new.
type WholeChain = (String, String, String, bool);

/// What the second listing has that the first had not, and how far the counters went.
fn rules(run: &Run, by: By, before: &Listing, after: &Listing, found: &mut BeforeAfter) {
    let mut notes = Vec::new();
    let seconds = between(by, before, after, &mut notes);
    if !(before.complete && after.complete) {
        notes.push("A listing is incomplete: what it lacks may be there.".to_owned());
    }
    // Added and removed, by what holds them.
    let mut groups: BTreeMap<(String, String, String), Changed> = BTreeMap::new();
    for identity in before.entries.keys().chain(after.entries.keys()).collect::<BTreeSet<_>>() {
        let (old, new) = (before.entries.get(identity), after.entries.get(identity));
        let Some(one) = new.or(old) else { continue };
        let group = groups.entry((one.kind.clone(), identity.0.clone(), identity.1.clone())).or_default();
        let counts = [old, new].map(|entry| entry.map_or(0, |entry| entry.count));
        group.2 = [group.2[0] + counts[0], group.2[1] + counts[1]];
        match counts {
            [a, b] if b > a => group.0.push(identity.2.clone()),
            [a, b] if a > b => group.1.push(identity.2.clone()),
            _ => {}
        }
        if let (Some(old), Some(new)) = (old, new) {
            counted(run, identity, old, new, seconds, &notes, (before, after), found);
        }
    }
    services::connections(run, before, after, seconds, &notes, found);
    // Chains that are wholly new, or wholly gone, are one row by the kind of their name.
    let mut whole_chains: BTreeMap<WholeChain, (Vec<String>, u64)> = BTreeMap::new();
    for ((kind, table, chain), (added, removed, [a, b])) in groups {
        if added.is_empty() && removed.is_empty() {
            found.unchanged += 1;
            continue;
        }
        if a == 0 || b == 0 {
            let stem = stem(&chain);
            let all = whole_chains.entry((kind, table, stem, a == 0)).or_default();
            all.0.push(chain);
            all.1 += a + b;
            continue;
        }
        let mut change = entries(run, before, after, &kind, &[&table, &chain], [a, b]);
        change.seconds = seconds;
        for (word, texts) in [("added", &added), ("removed", &removed)] {
            if let Some(first) = texts.first() {
                change.notes.push(format!("{} {word}: {}", texts.len(), few(texts)));
                let listing = if word == "added" { after } else { before };
                if let Some(entry) = listing.entries.get(&(table.clone(), chain.clone(), first.clone())) {
                    change.evidence.push(line(run, listing, entry, format!("first {word}")));
                }
            }
        }
        change.notes.extend(notes.iter().cloned());
        if change.evidence.len() < 2 {
            change.evidence.extend([whole(run, before), whole(run, after)]);
        }
        found.changes.push(change);
    }
    for ((kind, table, stem, came), (chains, count)) in whole_chains {
        let counts = if came { [0, count] } else { [count, 0] };
        let name = if chains.len() == 1 { chains.concat() } else { format!("{} {stem}…", chains.len()) };
        let mut change = entries(run, before, after, &kind, &[&table, &name], counts);
        change.seconds = seconds;
        let word = if came { "new" } else { "gone" };
        change.notes.push(format!("{} {word}: {}", chains.len(), few(&chains)));
        change.notes.extend(notes.iter().cloned());
        change.evidence = vec![whole(run, before), whole(run, after)];
        found.changes.push(change);
    }
    let same = before.entries.keys().eq(after.entries.keys());
    if same && before.order != after.order {
        let mut change = blank(run, Kind::Entries, "the order of the rules".to_owned());
        change.seconds = seconds;
        change.notes.push("The same rules stand in another order: kube-proxy rewrote the chain. That alone proves nothing of any endpoint.".to_owned());
        change.evidence = vec![whole(run, before), whole(run, after)];
        found.changes.push(change);
    }
}

/// How many rules, backends or chains something holds.
fn entries(run: &Run, before: &Listing, after: &Listing, kind: &str, place: &[&str], [a, b]: [u64; 2]) -> Change {
    let place: Vec<&str> = place.iter().copied().filter(|part| !part.is_empty()).collect();
    let what = match kind {
        // A chain, or a frontend, stands in itself.
        "chain" | "frontend" => format!("{kind} {} ({})", place.join(" "), before.format),
        _ => format!("{kind}s of {} ({})", place.join(" "), before.format),
    };
    let mut change = blank(run, Kind::Entries, what);
    (change.before, change.after) = (Some(a as f64), Some(b as f64));
    change.difference = Estimate::exact(b as f64 - a as f64);
    if after.format != before.format {
        change.notes.push(format!("Listed as {} later.", after.format));
    }
    change
}

/// The first few of many.
fn few(texts: &[String]) -> String {
    let shown: Vec<&str> = texts.iter().take(NAMED).map(String::as_str).collect();
    match texts.len().saturating_sub(NAMED) {
        0 => shown.join("; "),
        more => format!("{}; and {more} more", shown.join("; ")),
    }
}

/// What chains of one kind have in common: `KUBE-SEP-`, `endpoint-`.
fn stem(chain: &str) -> String {
    let mut parts = chain.split_inclusive('-');
    let first = parts.next().unwrap_or_default();
    if first == "KUBE-" { format!("{first}{}", parts.next().unwrap_or_default()) } else { first.to_owned() }
}

/// The packets of one rule.
#[expect(clippy::too_many_arguments, reason = "one rule of a pair, and what all rules of the pair share")]
fn counted(
    run: &Run,
    identity: &Identity,
    old: &Entry,
    new: &Entry,
    seconds: Estimate,
    notes: &[String],
    (before, after): (&Listing, &Listing),
    found: &mut BeforeAfter,
) {
    let (Some(from), Some(to)) = (old.packets, new.packets) else { return };
    if from == to && old.bytes == new.bytes {
        found.unchanged += 1;
        return;
    }
    let service = if new.service.is_empty() { String::new() } else { format!(" ({})", new.service) };
    let mut change = blank(run, Kind::Rule, format!("packets of {}: {}{service}", identity.1, identity.2));
    "packets".clone_into(&mut change.unit);
    if !new.service.is_empty() {
        change.labels = [("service".to_owned(), new.service.clone())].into();
    }
    (change.before, change.after) = (Some(from as f64), Some(to as f64));
    change.seconds = seconds;
    if to < from {
        change.notes.push("The counter fell: the chain was rewritten in between, which resets its counters, so that the difference is unknown.".to_owned());
    } else {
        change.difference = Estimate::exact((to - from) as f64);
        change.rate = arithmetic::ratio(change.difference, seconds);
        if let (Some(from), Some(to)) = (old.bytes, new.bytes)
            && to >= from
        {
            change.notes.push(format!("{} bytes.", to - from));
        }
    }
    change.notes.extend(notes.iter().cloned());
    change.evidence =
        vec![line(run, before, old, format!("{from} packets")), line(run, after, new, format!("{to} packets"))];
    found.changes.push(change);
}

fn between(by: By, before: &Listing, after: &Listing, notes: &mut Vec<String>) -> Estimate {
    let (Some(from), Some(to)) = (before.time, after.time) else {
        let order = if by == By::Word {
            "the words in the files' names order them"
        } else {
            "they stand in this order in their file"
        };
        notes.push(format!("The times of the listings are unknown; {order}."));
        return Estimate::default();
    };
    let apart = (to - from) as f64 / 1e9;
    let (early, late) = (before.resolution as f64 / 1e9, after.resolution as f64 / 1e9);
    Estimate::between((apart - early).max(0.0), apart, apart + late)
}

/// Ready endpoints of each Service in two lists of EndpointSlices.
fn endpoints(run: &Run, found: &mut BeforeAfter) {
    let rows = run.bundle.rows_or_note::<EndpointRow<'static>>(Some(col("witness").eq(lit("list"))));
    let sources: BTreeSet<i32> = rows.iter().map(|row| row.source).collect();
    let candidates: Vec<Candidate> = sources
        .into_iter()
        .map(|source| Candidate { source, path: run.path(source).to_owned(), kind: "list".to_owned(), stated: false })
        .collect();
    for group in pairs::groups(&candidates).into_iter().filter(|group| group.by == By::Word) {
        let (Some((_, first)), Some((_, last))) = (group.members.first(), group.members.last()) else { continue };
        found.pairs.push(format!("{} → {}", run.path(*first), run.path(*last)));
        let ready = |source: i32| {
            let mut of: BTreeMap<String, BTreeMap<String, i64>> = BTreeMap::new();
            for row in rows.iter().filter(|row| row.source == source) {
                let own = of.entry(format!("{}/{}", row.namespace, row.service)).or_default();
                if let Some(address) = row.address.as_deref().filter(|_| row.ready.unwrap_or(true)) {
                    own.entry(address.to_owned()).or_insert(row.record);
                }
            }
            of
        };
        let (before, after) = (ready(*first), ready(*last));
        for service in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
            let empty = BTreeMap::new();
            let (old, new) = (before.get(service).unwrap_or(&empty), after.get(service).unwrap_or(&empty));
            let added = new.keys().filter(|address| !old.contains_key(*address)).count();
            let removed = old.keys().filter(|address| !new.contains_key(*address)).count();
            if added + removed == 0 {
                found.unchanged += 1;
                continue;
            }
            let mut change = blank(run, Kind::Entries, format!("ready endpoints of {service}"));
            "endpoints".clone_into(&mut change.name);
            change.labels = [("service".to_owned(), service.clone())].into();
            (change.before, change.after) = (Some(old.len() as f64), Some(new.len() as f64));
            change.difference = Estimate::exact(new.len() as f64 - old.len() as f64);
            change.notes.push(format!("{added} added, {removed} removed."));
            change
                .notes
                .push("The times of the lists are unknown; the words in the files' names order them.".to_owned());
            let at = |source: i32, of: &BTreeMap<String, i64>| {
                run.evidence(
                    source,
                    of.values().next().copied().unwrap_or(0),
                    format!("{} ready endpoints of {service}", of.len()),
                )
            };
            change.evidence = vec![at(*first, old), at(*last, new)];
            found.changes.push(change);
        }
    }
}

pub(super) fn whole(run: &Run, listing: &Listing) -> Evidence {
    run.evidence(listing.source, listing.record, format!("{} of {} rules", listing.format, listing.order.len()))
}

/// The line of a rule, where it first stood: a rule that stays has the line of the earlier listing.
pub(super) fn line(run: &Run, listing: &Listing, entry: &Entry, what: String) -> Evidence {
    if entry.source == listing.source {
        return run.evidence(entry.source, entry.record, what);
    }
    run.evidence(listing.source, listing.record, what)
}

pub(super) fn blank(run: &Run, kind: Kind, what: String) -> Change {
    Change {
        run: run.name.clone(),
        kind,
        what,
        unit: String::new(),
        before: None,
        after: None,
        difference: Estimate::default(),
        seconds: Estimate::default(),
        rate: Estimate::default(),
        total: None,
        mean: Estimate::default(),
        p95: Estimate::default(),
        longest: Estimate::default(),
        notes: Vec::new(),
        evidence: Vec::new(),
        name: String::new(),
        labels: Labels::new(),
        target: String::new(),
        witness: "listing".to_owned(),
    }
}
