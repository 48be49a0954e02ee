//! Injected truth: captures of made-up clusters, in the real formats, of which every moment is known.
//!
//! For every seed the true moments, offsets and quantiles must lie within the reported bounds; bounds may be at most
//! twice as wide as what the capture permits; and where nothing relates the clocks the answer is *not measured*. The
//! table that the test prints (`cargo test --test truth -- --nocapture`) stands in `ARCHITECTURE.md`. More seeds:
//! `SYNCLINE_SEEDS=5000`. Nothing made here is ever shown as measured: the bundle says `synthetic`.

#[path = "truth/captured.rs"]
mod captured;
#[path = "truth/cluster.rs"]
mod cluster;
#[path = "truth/files.rs"]
mod files;
#[path = "truth/recorded.rs"]
mod recorded;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use cluster::{Cluster, Node, Plan, Related, SCRAPES, SECOND};
use syncline::bundle::{Bundle, MEMORY};
use syncline::events::{Direction, Episode, Observed, Outcome, Run};
use syncline::measure::{self, Measurement};
use syncline::result::given;
use syncline_collector::bundle::{BundleOptions, bundle};

/// What was counted over all seeds.
#[derive(Clone, Debug, Default)]
struct Tally {
    runs: u64,
    measured: u64,
    episodes: u64,
    never: u64,
    removed: u64,
    quantiles: u64,
    /// Σ of the widths reported, and of those that the capture permits.
    width: f64,
    permitted: f64,
    complaints: Vec<String>,
}

fn load(cluster: &Cluster) -> (Run, Vec<Measurement>) {
    let folder = tempfile::tempdir().expect("a folder");
    let capture = folder.path().join("capture");
    files::write(cluster, &capture);
    let (bundle, _temporary) = given::one(&capture, MEMORY).expect("a capture that is bundled");
    let run = Run::load(bundle).expect("a run");
    let measured = measure::all(&run).expect("measured");
    (run, measured)
}

fn holds(at: &Observed, time: i64) -> bool {
    at.low.is_none_or(|low| low <= time) && at.high.is_none_or(|high| time <= high)
}

/// Stamps of the looks that a witness kept: the map's reader writes a line on each change, and now and then between.
fn kept(node: &Node, plan: Plan) -> Vec<(i64, i64, usize)> {
    let count = |time: i64| node.syncs.iter().rev().find(|sync| sync.effect <= time).map_or(0, |sync| sync.count);
    let mut found: Vec<(i64, i64, usize)> = Vec::new();
    for (at, look) in node.looks.iter().enumerate() {
        let next = node.looks.get(at + 1).map_or(i64::MAX, |next| next.stamp);
        let until = match (plan.cilium, plan.recorded) {
            (_, true) => look.over,
            (true, false) => look.read,
            (false, false) => next,
        };
        found.push((look.stamp, until, count(look.read)));
    }
    found
}

/// Width that looks permit for a change, ns: from the last one without it to the end of the first one with it.
fn permitted(node: &Node, member: usize, direction: Direction, plan: Plan) -> Option<i64> {
    let looks = kept(node, plan);
    let mut first = looks.iter().position(|(_, _, count)| *count > member)?;
    if direction == Direction::Removed {
        first += looks[first..].iter().position(|(_, _, count)| *count <= member)?;
    }
    // The map's reader says how many readings stand behind a line, not when each was: one of them is given up.
    let before = looks.get(first.checked_sub(if plan.cilium && !plan.recorded { 2 } else { 1 })?)?;
    let until = looks[first].1;
    // What ends with the capture has no end to its last look.
    (until < i64::MAX).then(|| until - before.0)
}

/// Whether a moment may lie behind the last look that the capture kept: a cut file lost some, the map's reader writes a
/// line every twelve readings only, and clocks are related within `width`.
fn late(plan: Plan, node: &Node, time: i64, width: i64) -> bool {
    let kept = if plan.cilium && !plan.recorded { 13 } else { 1 } + if plan.truncated { 13 } else { 0 };
    let last = node.looks.len().checked_sub(kept).and_then(|at| node.looks.get(at));
    last.is_none_or(|look| time + width >= look.stamp)
}

/// How well a node's clock is known.
fn width(run: &Run, node: &str) -> i64 {
    run.clocks.offset("apiserver", node).map_or(0, |offset| offset.high - offset.low)
}

fn check(cluster: &Cluster, run: &Run, measured: &[Measurement]) -> Tally {
    let plan = cluster.plan;
    let mut tally = Tally { runs: 1, ..Tally::default() };
    let mut complain = |text: String| tally.complaints.push(format!("seed {}: {text}; {plan:?}", plan.seed));
    if !run.synthetic {
        complain("the run does not say that it is generated".to_owned());
    }
    let row = measured.iter().find(|row| row.name == "endpoint_propagation").expect("a row");
    // Lines of a proxy's log give the direction that Leases lack, where each version has its line.
    let lines = plan.log && plan.audit && !plan.cilium && !plan.proxy_restarts;
    // Without such lines the other direction is given by the endpoints themselves, as the last choice: then it is marked.
    let one_sided = plan.related == Related::OneSided && !lines && !plan.recorded;
    if one_sided && row.missing.is_none() && !row.notes.iter().any(|note| note.starts_with("circular")) {
        complain("the endpoints relate the clocks, and the figure does not say that this is circular".to_owned());
    }
    if (plan.related == Related::Nothing && !plan.recorded) || (one_sided && row.missing.is_some()) {
        if row.missing.is_none() {
            complain(format!("clocks are unrelated, but p50 is {:?}", row.quantiles.get("p50")));
        }
        if row.missing.as_ref().is_some_and(|missing| !missing.what.contains("clock")) {
            complain(format!("it does not say that the clocks are missing: {:?}", row.missing));
        }
        return tally;
    }
    tally.measured = 1;
    let seen = run.episodes.iter().any(|one| one.outcome != Outcome::Unobserved);
    if let Some(missing) = row.missing.as_ref().filter(|_| seen) {
        complain(format!("not measured: {}", missing.what));
    }
    let mut complain = |text: String| tally.complaints.push(format!("seed {}: {text}; {plan:?}", plan.seed));
    let told =
        run.clocks.findings.iter().any(|finding| finding.title.contains("stepped") && !finding.evidence.is_empty());
    if plan.step && !told {
        complain(format!("a clock stepped, and no finding tells so: {:?}", run.clocks.findings));
    }
    for text in recorded::commits(cluster, run, row) {
        complain(text);
    }
    // Without an audit log nothing need relate the API server's clock to a recorder's.
    let apiserver = !plan.recorded || plan.audit || matches!(plan.related, Related::Statement | Related::Objects);
    for node in cluster.nodes.iter().filter(|_| apiserver) {
        // The true offset at any moment of the run.
        for time in [cluster.request, cluster.end] {
            let truth = node.clock.read(time) - cluster.apiserver.read(time);
            match run.clocks.offset("apiserver", &node.name) {
                Some(offset) if offset.low - 1 <= truth && truth <= offset.high + 1 => {}
                offset => complain(format!("offset to {} is {truth}, reported {offset:?}", node.name)),
            }
            // At that moment alone: what the clocks did at other times must not lead away from the truth.
            let read = cluster.apiserver.read(time);
            match run.clocks.offset_within("apiserver", &node.name, Some(read), Some(read)) {
                Some(offset) if offset.low - 1 <= truth && truth <= offset.high + 1 => {}
                offset => complain(format!("offset to {} at {read} is {truth}, reported {offset:?}", node.name)),
            }
        }
    }
    for text in scraped(cluster, run) {
        complain(text);
    }
    let by_key: BTreeMap<(&str, &str), &Episode> = run
        .episodes
        .iter()
        .filter(|one| one.direction == Direction::Added)
        .map(|one| ((&*one.node, one.endpoint.target_uid.as_str()), one))
        .collect();
    let mut latencies: Vec<Option<i64>> = Vec::new();
    for node in &cluster.nodes {
        for (number, member) in cluster.members.iter().enumerate() {
            let Some(episode) = by_key.get(&(node.name.as_str(), member.uid.as_str())) else {
                complain(format!("{} on {} has no episode", member.uid, node.name));
                continue;
            };
            tally.episodes += 1;
            let version = &cluster.versions[member.version];
            let committed = cluster.read(&episode.committed.clock, version.committed);
            if !holds(&episode.committed, committed) {
                complain(format!("{}: committed at {committed}, reported {:?}", member.uid, episode.committed));
            }
            let last_look = if plan.truncated { node.looks.len().saturating_sub(4) } else { node.looks.len() - 1 };
            let last_look = node.looks.get(last_look).map_or(0, |look| look.stamp);
            let truth = node.visible[number];
            if episode.outcome != Outcome::Unobserved {
                latencies.push(truth.map(|truth| truth - version.committed));
            }
            match (truth, episode.outcome, &episode.dataplane) {
                (Some(truth), Outcome::Seen, Some(seen)) => {
                    let read = node.clock.read(truth);
                    if !holds(seen, read) {
                        complain(format!("{} on {}: in force at {read}, reported {seen:?}", member.uid, node.name));
                    }
                    if let (Some(low), Some(high), Some(best)) =
                        (seen.low, seen.high, permitted(node, number, Direction::Added, plan))
                    {
                        let (width, best) = ((high - low) as f64, best as f64);
                        tally.width += width / 1e9;
                        tally.permitted += best / 1e9;
                        // A step of the clock itself widens what its stamps say.
                        if width > 2.0 * best + 1e6 && !plan.step {
                            complain(format!("{}: {width} ns wide, the capture permits {best}", member.uid));
                        }
                    }
                }
                (None, Outcome::Never, Some(_)) => tally.never += 1,
                // What came with the last looks, of which a cut file lost some, may be missed.
                (Some(truth), Outcome::Never, Some(seen))
                    if truth >= last_look || holds(seen, node.clock.read(truth)) =>
                {
                    tally.never += 1;
                }
                (_, Outcome::Unobserved, None) if late(plan, node, version.committed, width(run, &node.name)) => {}
                (truth, outcome, _) => {
                    complain(format!("{} on {}: truth {truth:?}, reported {outcome:?}", member.uid, node.name));
                }
            }
        }
    }
    let left = removals(cluster, run, measured);
    left.complaints.into_iter().for_each(&mut complain);
    tally.removed += left.removed;
    tally.quantiles += left.quantiles;
    tally.width += left.width;
    tally.permitted += left.permitted;
    if latencies.is_empty() {
        return tally;
    }
    latencies.sort_by_key(|one| one.unwrap_or(i64::MAX));
    for (name, q) in [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("max", 1.0)] {
        let rank = ((q * latencies.len() as f64 - 1e-9).ceil().max(1.0) as usize).min(latencies.len()) - 1;
        let Some(found) = row.quantiles.get(name) else { continue };
        tally.quantiles += 1;
        let truth = latencies[rank].map(|ns| ns as f64 / 1e9);
        let low = found.low.is_none_or(|low| truth.is_none_or(|truth| low <= truth + 1e-7));
        let high = found.high.is_none_or(|high| truth.is_some_and(|truth| truth <= high + 1e-7));
        if !low || !high {
            complain(format!("{name} is {truth:?}, reported {found:?}"));
        }
        if found.value.is_some() && found.high.is_none() {
            complain(format!("{name} has a value beyond the censored share: {found:?}"));
        }
    }
    tally
}

/// What is wrong with Prometheus' clock: the times that exporters print relate it to each node's.
fn scraped(cluster: &Cluster, run: &Run) -> Vec<String> {
    let mut wrong = Vec::new();
    for node in cluster.nodes.iter().filter(|_| cluster.plan.scrapes) {
        for time in [cluster.request, cluster.end] {
            let read = cluster.prometheus.read(time);
            let truth = node.clock.read(time) - read;
            let Some(offset) = run.clocks.offset_within("prometheus", &node.name, Some(read), Some(read)) else {
                wrong.push(format!("Prometheus' clock and that of {} are unrelated", node.name));
                continue;
            };
            if truth < offset.low - 1 || offset.high + 1 < truth {
                wrong.push(format!("offset from Prometheus to {} is {truth}, reported {offset:?}", node.name));
            }
            if offset.high - offset.low > 2 * SCRAPES && !cluster.plan.step {
                wrong.push(format!("offset from Prometheus to {}: {} ns wide", node.name, offset.high - offset.low));
            }
        }
    }
    wrong
}

/// The removals of a run, and what is wrong with them.
fn removals(cluster: &Cluster, run: &Run, measured: &[Measurement]) -> Tally {
    let plan = cluster.plan;
    let mut tally = Tally::default();
    let mut wrong = |text: String| tally.complaints.push(text);
    let by_key: BTreeMap<(&str, &str), &Episode> = run
        .episodes
        .iter()
        .filter(|one| one.direction == Direction::Removed)
        .map(|one| ((&*one.node, one.endpoint.target_uid.as_str()), one))
        .collect();
    let mut latencies: Vec<f64> = Vec::new();
    let mut unseen = false;
    for node in &cluster.nodes {
        for (number, member) in cluster.members.iter().enumerate() {
            let episode = by_key.get(&(node.name.as_str(), member.uid.as_str()));
            let (Some(version), Some(episode)) = (member.removed, episode) else {
                if member.removed.is_some() != episode.is_some() {
                    wrong(format!(
                        "{} on {}: removed {:?}, reported {episode:?}",
                        member.uid, node.name, member.removed
                    ));
                }
                continue;
            };
            let version = &cluster.versions[version];
            if !holds(&episode.committed, cluster.read(&episode.committed.clock, version.committed)) {
                wrong(format!("{}: its removal was committed outside of {:?}", member.uid, episode.committed));
            }
            let truth = node.gone[number];
            latencies.extend(truth.map(|truth| (truth - version.committed) as f64 / 1e9));
            match (truth, episode.outcome, &episode.dataplane) {
                (Some(truth), Outcome::Seen, Some(seen)) => {
                    let read = node.clock.read(truth);
                    if !holds(seen, read) {
                        wrong(format!("{} on {}: gone at {read}, reported {seen:?}", member.uid, node.name));
                    }
                    // A recorder's dumps of the map tell which slots get new connections.
                    if plan.recorded && seen.low.is_none() {
                        wrong(format!("{} on {}: gone at any time before {:?}", member.uid, node.name, seen.high));
                    }
                    if let (Some(low), Some(high), Some(best)) =
                        (seen.low, seen.high, permitted(node, number, Direction::Removed, plan))
                    {
                        tally.width += (high - low) as f64 / 1e9;
                        tally.permitted += best as f64 / 1e9;
                        if (high - low) as f64 > 2.0 * best as f64 + 1e6 && !plan.step {
                            wrong(format!(
                                "{}: removal {} ns wide, the capture permits {best}",
                                member.uid,
                                high - low
                            ));
                        }
                    }
                    tally.removed += 1;
                }
                // What went with the last looks, of which a cut file lost some, may be missed.
                (Some(truth), Outcome::Never | Outcome::Unobserved, seen)
                    if late(plan, node, truth, width(run, &node.name))
                        || seen.as_ref().is_some_and(|seen| holds(seen, node.clock.read(truth))) =>
                {
                    unseen = true;
                }
                (truth, outcome, _) => {
                    wrong(format!("{} on {}: gone {truth:?}, reported {outcome:?}", member.uid, node.name));
                }
            }
        }
    }
    latencies.sort_by(f64::total_cmp);
    let row = measured.iter().find(|row| row.name == "endpoint_removal" && row.variant.is_empty());
    let Some(row) = row.filter(|row| row.missing.is_none() && !unseen && !latencies.is_empty()) else { return tally };
    for (name, q) in [("p50", 0.5), ("p90", 0.9), ("max", 1.0)] {
        let rank = ((q * latencies.len() as f64 - 1e-9).ceil().max(1.0) as usize).min(latencies.len()) - 1;
        let (Some(found), truth) = (row.quantiles.get(name), latencies[rank]) else { continue };
        tally.quantiles += 1;
        let inside =
            found.low.is_none_or(|low| low <= truth + 1e-7) && found.high.is_none_or(|high| truth <= high + 1e-7);
        if !inside {
            tally.complaints.push(format!("{name} of the removals is {truth}, reported {found:?}"));
        }
    }
    tally
}

fn seeds() -> u64 {
    std::env::var("SYNCLINE_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(200)
}

#[test]
fn truth_lies_within_the_bounds() {
    let count = seeds();
    let next = AtomicU64::new(0);
    let work = || {
        let mut found: Vec<(Plan, Tally)> = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= count {
                return found;
            }
            let cluster = Cluster::new(Plan::of(seed));
            let (run, measured) = load(&cluster);
            found.push((cluster.plan, check(&cluster, &run, &measured)));
        }
    };
    let all: Vec<(Plan, Tally)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    let mut table: BTreeMap<String, Tally> = BTreeMap::new();
    for (plan, tally) in &all {
        let dataplane = if plan.cilium { "Cilium" } else { "kube-proxy (iptables)" };
        let clocks = match plan.related {
            _ if plan.recorded && plan.step => "beacons, a clock steps",
            _ if plan.recorded && plan.audit => "beacons and audit log",
            _ if plan.recorded => "beacons, no audit log",
            Related::Statement => "one clock, stated",
            Related::Objects if plan.step => "leases and object times, a clock steps",
            Related::Objects => "leases and object times, drift",
            Related::OneSided => "leases only",
            Related::Nothing => "nothing relates them",
        };
        let sum = table.entry(format!("{dataplane} | {clocks}")).or_default();
        sum.runs += tally.runs;
        sum.measured += tally.measured;
        sum.episodes += tally.episodes;
        sum.never += tally.never;
        sum.removed += tally.removed;
        sum.quantiles += tally.quantiles;
        sum.width += tally.width;
        sum.permitted += tally.permitted;
    }
    eprintln!(
        "| dataplane | clocks | runs | measured | endpoints × nodes | never arrived | removals | quantiles | width / what looks permit |"
    );
    eprintln!("|---|---|--:|--:|--:|--:|--:|--:|--:|");
    for (name, sum) in &table {
        let ratio = if sum.permitted > 0.0 { format!("{:.2}", sum.width / sum.permitted) } else { "–".to_owned() };
        eprintln!(
            "| {name} | {} | {} | {} | {} | {} | {} | {ratio} |",
            sum.runs, sum.measured, sum.episodes, sum.never, sum.removed, sum.quantiles
        );
    }
    let complaints: Vec<&String> = all.iter().flat_map(|(_, tally)| &tally.complaints).collect();
    let shown: Vec<&str> = complaints.iter().take(12).map(|text| text.as_str()).collect();
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), shown.join("\n"));
    assert!(all.iter().any(|(plan, _)| plan.nodes > 1) || count < 20);
}

/// Fifty nodes, ten thousand endpoints: the whole of it in seconds, and every figure as true as a small one's.
#[test]
fn many_nodes_and_endpoints() {
    let (nodes, members) = match std::env::var("SYNCLINE_SCALE") {
        Ok(_) => (50, 10_000),
        Err(_) => (50, 200),
    };
    let plan = Plan {
        seed: 1,
        cilium: false,
        nodes,
        members,
        related: Related::Objects,
        audit: true,
        trace: true,
        trace_loses: false,
        log: true,
        proxy_restarts: false,
        never: members / 50,
        removals: 0,
        truncated: false,
        interval: 2 * SECOND,
        step: false,
        scrapes: true,
        recorded: false,
        reads: false,
        drops: false,
        breaks: false,
    };
    let cluster = Cluster::new(plan);
    let folder = tempfile::tempdir().expect("a folder");
    let (capture, out) = (folder.path().join("capture"), folder.path().join("bundle"));
    files::write(&cluster, &capture);
    let started = Instant::now();
    let options = BundleOptions { inputs: vec![capture.clone()], out: out.clone(), ..BundleOptions::default() };
    bundle(&options).expect("a bundle");
    let bundled = started.elapsed();
    let run = Run::load(Bundle::open(&out, MEMORY).expect("a bundle")).expect("a run");
    let loaded = started.elapsed();
    let measured = measure::all(&run).expect("measured");
    eprintln!(
        "{nodes} nodes, {members} endpoints: bundled in {bundled:?}, loaded in {:?}, measured in {:?}",
        loaded - bundled,
        started.elapsed() - loaded
    );
    assert_eq!(run.episodes.len(), nodes * members);
    let tally = check(&cluster, &run, &measured);
    let shown: Vec<&str> = tally.complaints.iter().take(5).map(String::as_str).collect();
    assert!(tally.complaints.is_empty(), "{} complaints:\n{}", tally.complaints.len(), shown.join("\n"));
}

/// The generator is the same everywhere: a seed names a capture.
#[test]
fn a_seed_makes_the_same_files() {
    let write = |seed| {
        let folder = tempfile::tempdir().expect("a folder");
        files::write(&Cluster::new(Plan::of(seed)), folder.path());
        std::fs::read(folder.path().join("k8s/audit.jsonl")).expect("a file")
    };
    assert_eq!(write(3), write(3));
    assert_ne!(write(3), write(4));
}
