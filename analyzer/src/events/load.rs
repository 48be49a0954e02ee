//! Loads a run: facts, clocks, scenario, windows, episodes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use polars::prelude::{col, lit};
use syncline_schema::audit::AuditRow;
use syncline_schema::dataplane::{ChangeRow, RuleRow, SnapshotRow};
use syncline_schema::endpoints::EndpointRow;
use syncline_schema::facts::FactRow;
use syncline_schema::manifest::Source;
use syncline_schema::markers::MarkerRow;
use syncline_schema::services::ServiceRow;
use syncline_schema::syncs::SyncRow;

use super::commits::Commits;
use super::contradictions::Contradictions;
use super::dataplane::{presences, totals};
use super::entrance::Entrances;
use super::inference::Reasons;
use super::pods::{self, Pods};
use super::probes;
use super::programmed;
use super::{
    Direction, Episode, Observed, Outcome, Run, Windows, belonging, doings, episodes, facts, follow, moves, nft_order,
    proxies, received, recorder, windows,
};
use crate::bundle::Bundle;
use crate::clock::{Constraint, Evidence, Finding, Graph, evidence};

impl Run {
    /// Loads a bundle.
    ///
    /// # Errors
    /// A table that cannot be read.
    pub fn load(bundle: Bundle) -> anyhow::Result<Run> {
        let paths: Vec<String> = bundle.manifest.sources.iter().map(|source| source.path.clone()).collect();
        let path = move |source: i32| {
            usize::try_from(source).ok().and_then(|at| paths.get(at)).cloned().unwrap_or_else(|| "?".to_owned())
        };
        let (mut facts, disagreeing) = facts::gather(&bundle, &path)?;
        let node = facts.get("node").map(|(node, _)| node.clone()).or_else(|| bundle.manifest.nodes.first().cloned());
        let node = node.unwrap_or_else(|| evidence::UNNAMED.to_owned());
        let mut constraints = evidence::gather(&bundle, &node)?;
        let domains = domains(&bundle, &node, &constraints)?;
        let mut clocks = Graph::build(domains.clone(), &constraints);

        let services = service_map(&bundle)?;
        let (rules, changed) = (bundle.rows::<RuleRow<'static>>(None)?, bundle.rows::<ChangeRow<'static>>(None)?);
        let snapshots = bundle.rows::<SnapshotRow<'static>>(None)?;
        let seen = presences(&rules, &changed, &snapshots, &services.by_address);
        let totals = totals(&rules, &changed, &snapshots);
        let in_dataplane = services_in_dataplane(&rules);
        let entrances = Entrances::of(&rules, &path);
        let mut reasons = Reasons::of_state(&rules, &snapshots, &path);
        // The largest tables of a run are not needed any more.
        drop((rules, changed, snapshots));
        let audit = bundle.rows::<AuditRow<'static>>(Some(
            col("resource")
                .eq(lit("deployments"))
                .or(col("resource").eq(lit("pods")).and(col("verb").eq(lit("delete")))),
        ))?;
        let actions = windows::actions(&audit, &path);
        let markers = bundle.rows::<MarkerRow<'static>>(None)?;
        let marked = windows::from_markers(&markers, &path);
        let is_marked = marked.is_some();
        let is_open = marked.as_ref().is_some_and(|stated| !stated.ends);
        let typed = windows::starts(&markers).first().is_some_and(|start| {
            let source = usize::try_from(start.source).ok().and_then(|at| bundle.manifest.sources.get(at));
            source.is_some_and(|source| source.kind == "transcript")
        });
        let last = bundle
            .manifest
            .sources
            .iter()
            .filter(|one| one.clock.as_deref() == Some("apiserver"))
            .filter_map(|one| one.last)
            .max();
        let mut found = marked
            .map(|stated| Windows {
                from: if typed { "the dates around the command".to_owned() } else { stated.windows.from.clone() },
                ..stated.windows
            })
            .or_else(|| windows::from_actions(&actions, last.unwrap_or(0)))
            .unwrap_or_else(|| whole_run(&bundle, &node));

        let rows = bundle.rows::<EndpointRow<'static>>(Some(col("kind").is_not_null()))?;
        let (mut circular, mut findings) = programmed::gather(&rows, &seen, &clocks, &path);
        if !circular.is_empty() {
            evidence::allow(&bundle, &HashMap::new(), &mut circular);
            let own: Vec<(String, String)> = circular.iter().map(|one| (one.from.clone(), one.to.clone())).collect();
            constraints.extend(circular);
            clocks = Graph::build(domains, &constraints);
            // One side alone still relates nothing.
            if own.iter().all(|(from, to)| clocks.offset(from, to).is_none()) {
                findings.clear();
            }
        }
        let mut contradictions = Contradictions::default();
        let commits = Commits::read(&bundle, &clocks, &path)?;
        findings.extend(commits.findings.iter().cloned());
        findings.extend(recorder::findings(&mut facts));
        let mut bounded =
            |told, version| commits.narrow(told, (Some(version), Some(version)), &clocks, &mut contradictions, &path);
        let lives = pods::read(&bundle, &node, &mut bounded, &path)?;
        let received = received::read(&bundle, &rows, &clocks, &path)?;
        let ready = lives.iter().filter_map(|(uid, life)| Some((uid.clone(), life.ready_since.clone()?))).collect();
        let mut bounds = episodes::Bounds {
            received: &received,
            ready: &ready,
            commits: &commits,
            contradictions: &mut contradictions,
        };
        let changes = episodes::changes(&rows, &clocks, &mut bounds, &path);
        findings.extend(disagreeing);
        reasons.add_programs(&bundle, &facts, &path)?;
        let (dataplane, told) = reasons.decide(stated(&bundle, &facts));
        findings.extend(told);
        let complete = Some(col("moment").eq(lit("complete")));
        findings.extend(proxies::findings(&proxies::of(bundle.rows::<SyncRow<'static>>(complete)?, &path)));
        let doings = doings::read(&bundle, &dataplane, &path)?;
        let looked = follow::Seen { presences: &seen, doings: &doings, clocks: &clocks, node: &node, path: &path };
        let mut episodes = follow::episodes(&changes, &looked, &mut contradictions);
        if dataplane == "kube-proxy-nftables" {
            findings.extend(nft_order::narrow(&bundle, &clocks, &path, &mut episodes)?);
        }
        found.next = next_action(&markers, &actions, &found, is_marked);
        if is_open {
            let belongs =
                belonging::Captured { bundle: &bundle, clocks: &clocks, episodes: &episodes, presences: &seen };
            let events = belongs.events(&found, &markers)?;
            windows::close(&mut found, events);
        } else {
            let last = last_seen(&episodes, &clocks, &found);
            windows::extend(&mut found, last, is_marked);
        }
        if let (Some(action), Some(next)) = (&mut found.action, found.next) {
            action.end = action.end.min(next);
        }
        // The phases of episodes follow the windows, which follow the last episode.
        follow::set_phases(&mut episodes, &clocks, &found);
        findings.extend(contradictions.findings());
        findings.extend(probes::findings(&bundle, &path));
        let scenario = scenario(&bundle, &actions, &markers, &path, &mut findings);
        let service_under_test = moves::under_test(&episodes).or_else(|| moves::most_changed(&seen, &clocks, &found));
        let moves = moves::of(&seen, service_under_test.as_deref(), &path);
        if found.action.is_some() && moves.all.is_empty() {
            let words: Vec<&str> = markers
                .iter()
                .filter_map(|marker| marker.command.as_deref())
                .flat_map(|command| command.split([' ', '/', '(', ')', '"']))
                .chain(service_under_test.as_deref())
                .collect();
            findings.extend(entrances.finding(&words));
        }
        let request = request(&actions, &found, &clocks).or(commits.request);
        let baseline_endpoints = baseline_endpoints(&rows, service_under_test.as_deref(), &found, &clocks);
        let services = services.count.max(in_dataplane);
        let nodes = Some(bundle.manifest.nodes.len() as u64).filter(|count| *count > 0);
        facts::count(
            &mut facts,
            [
                ("nodes", nodes, "nodes that the captures name"),
                ("services", services, "Services in the dataplane or among the objects"),
                ("endpoints", baseline_endpoints, "ready endpoints of the Service under test in the baseline"),
            ],
        );
        let id = bundle.manifest.run_id.chars().take(12).collect();
        Ok(Run {
            name: Run::name_of(&bundle),
            id,
            dataplane,
            scenario,
            synthetic: bundle.manifest.synthetic,
            node,
            clocks,
            windows: found,
            services,
            baseline_endpoints,
            service_under_test,
            episodes,
            pods: Pods { lives, request },
            moves,
            totals,
            facts,
            findings,
            bundle,
        })
    }

    /// Name of the run of a bundle: as stated, else its folder's.
    pub fn name_of(bundle: &Bundle) -> String {
        let folder = bundle.path.file_name().map(|name| name.to_string_lossy().into_owned());
        bundle.manifest.name.clone().or(folder).unwrap_or_else(|| "run".to_owned())
    }
}

/// The dataplane that somebody stated, and whether by an option of the command line.
fn stated<'b>(bundle: &'b Bundle, facts: &facts::Facts) -> Option<(&'b str, bool)> {
    let by_option = facts.get("dataplane").is_some_and(|(_, evidence)| evidence.path == facts::COMMAND_LINE);
    Some((bundle.manifest.dataplane.as_deref()?, by_option))
}

/// All domains that anything is stamped by, and those of the node.
fn domains(bundle: &Bundle, node: &str, constraints: &[Constraint]) -> anyhow::Result<Vec<String>> {
    let stamped = bundle.manifest.sources.iter().filter_map(|source| source.clock.clone());
    let stated = bundle.rows::<FactRow<'static>>(Some(col("key").eq(lit("same_host"))))?;
    let stated: Vec<String> =
        stated.iter().flat_map(|row| row.value.split(',').map(str::trim).map(str::to_owned)).collect();
    let own = [node.to_owned(), format!("{node}/boottime"), format!("{node}/monotonic")];
    let leases = bundle
        .rows::<AuditRow<'static>>(Some(col("renew_time").is_not_null()))?
        .into_iter()
        .filter_map(|row| row.name.map(|name| name.into_owned()));
    let related = constraints.iter().flat_map(|one| [one.from.clone(), one.to.clone()]);
    let mut all: BTreeSet<String> = stamped.chain(stated).chain(leases).chain(related).collect();
    if !all.is_empty() {
        all.extend(own);
    }
    Ok(all.into_iter().filter(|domain| !domain.is_empty()).collect())
}

struct Services {
    by_address: HashMap<(String, i32, String), String>,
    count: Option<u64>,
}

fn service_map(bundle: &Bundle) -> anyhow::Result<Services> {
    let mut by_address = HashMap::new();
    let mut names = BTreeSet::new();
    for row in bundle.rows::<ServiceRow<'static>>(None)? {
        let name = format!("{}/{}", row.namespace, row.name);
        names.insert(name.clone());
        if let (Some(address), Some(port)) = (row.cluster_ip, row.port) {
            let protocol = row.protocol.as_deref().unwrap_or("TCP").to_ascii_lowercase();
            by_address.insert((address.into_owned(), port, protocol), name);
        }
    }
    Ok(Services { by_address, count: (!names.is_empty()).then_some(names.len() as u64) })
}

/// Services that the snapshots tell of: names in the comments of KUBE-SERVICES or of the chains that nftables' maps lead
/// to, cluster IPs among Cilium's frontends.
fn services_in_dataplane(rules: &[RuleRow<'static>]) -> Option<u64> {
    let maps = ["KUBE-SERVICES", "service-ips", "service-nodeports", "no-endpoint-services"];
    let named = rules.iter().filter(|rule| rule.chain.as_deref().is_some_and(|chain| maps.contains(&chain)));
    let named: BTreeSet<&str> = named.filter_map(|rule| rule.service.as_deref()?.split(':').next()).collect();
    let frontends = rules.iter().filter(|rule| rule.kind == "frontend" && rule.text.contains("ClusterIP"));
    let addresses: BTreeSet<&str> = frontends.filter_map(|rule| rule.address.as_deref()).collect();
    let most = named.len().max(addresses.len());
    (most > 0).then_some(most as u64)
}

/// A run without markers and without actions: all of it is baseline.
fn whole_run(bundle: &Bundle, node: &str) -> Windows {
    let of_node = |source: &&Source| source.clock.as_deref() == Some(node);
    let mut on_node: Vec<&Source> = belonging::timed(bundle).filter(of_node).collect();
    if on_node.iter().all(|source| source.first.is_none()) {
        on_node = bundle.manifest.sources.iter().filter(of_node).collect();
    }
    let start = on_node.iter().filter_map(|source| source.first).min();
    let end = on_node.iter().filter_map(|source| source.last).max();
    let window = start.zip(end).filter(|(start, end)| end > start);
    Windows {
        clock: node.to_owned(),
        // Nobody stated where it ends: the last reading is in.
        baseline: window.map(|(start, end)| super::Window { start, end: end + 1, slack: 0 }),
        from: "the whole capture (no markers, no scaling, no restart, no deletion in it)".to_owned(),
        ..Windows::default()
    }
}

/// When the next action begins, on the windows' clock.
fn next_action(
    markers: &[MarkerRow<'static>],
    actions: &[windows::Action],
    found: &Windows,
    marked: bool,
) -> Option<i64> {
    let start = found.action.as_ref()?.start;
    if marked {
        let own = windows::starts(markers).into_iter().filter(|marker| marker.clock == found.clock);
        return own.map(|marker| marker.time).filter(|time| *time > start).min();
    }
    actions.iter().map(|action| action.time).find(|time| *time > start + 1_000_000_000)
}

/// When the last endpoint of the action was in the dataplane, on the windows' clock.
fn last_seen(episodes: &[Episode], clocks: &Graph, windows: &Windows) -> Option<i64> {
    let start = windows.action.as_ref()?.start;
    episodes
        .iter()
        .filter(|episode| episode.direction == Direction::Added && episode.outcome == Outcome::Seen)
        .filter_map(|episode| {
            let seen = episode.dataplane.as_ref()?;
            let offset = clocks.offset(&seen.clock, &windows.clock)?;
            let time = seen.high.or(seen.low)? + offset.high;
            (time >= start && windows.next.is_none_or(|next| time < next)).then_some(time)
        })
        .max()
}

fn scenario(
    bundle: &Bundle,
    actions: &[windows::Action],
    markers: &[MarkerRow<'static>],
    path: &dyn Fn(i32) -> String,
    findings: &mut Vec<Finding>,
) -> String {
    if let Some(stated) = &bundle.manifest.scenario {
        return stated.clone();
    }
    let stated = windows::starts(markers);
    let (guess, from, evidence) = match (actions.first(), stated.first()) {
        (Some(action), _) => (action.scenario, "the audit log", vec![action.evidence.clone()]),
        (None, Some(start)) => {
            let told = stated.iter().find_map(|one| Some((*one, windows::scenario_of(one.command.as_deref()?)?)));
            let (marker, guess) = told.unwrap_or((start, "unknown"));
            let what = marker.command.as_deref().unwrap_or(&marker.label).to_owned();
            let evidence = Evidence {
                path: path(marker.source).into(),
                record: marker.record,
                what: what.into(),
                ..Evidence::default()
            };
            (guess, "the commands around which times stand", vec![evidence])
        }
        (None, None) => ("steady-state", "the absence of any scaling, restart or deletion", Vec::new()),
    };
    findings.push(Finding {
        title: format!("scenario taken to be {guess}"),
        detail: format!("nothing states it: it was told from {from}"),
        evidence,
    });
    guess.to_owned()
}

/// Receipt of the request that began the action: the first one not before its window.
fn request(actions: &[windows::Action], windows: &Windows, clocks: &Graph) -> Option<Observed> {
    let start = windows.action.as_ref()?;
    actions
        .iter()
        .find(|action| {
            let offset = clocks.offset(&action.clock, &windows.clock);
            offset.is_some_and(|offset| action.time + offset.high >= start.start - start.slack)
        })
        .map(|action| Observed {
            low: Some(action.time),
            high: Some(action.time),
            clock: action.clock.clone(),
            witness: "audit".to_owned(),
            evidence: vec![action.evidence.clone()],
        })
}

/// Ready endpoints of the Service under test ahead of the action.
fn baseline_endpoints(
    rows: &[EndpointRow<'static>],
    service: Option<&str>,
    windows: &Windows,
    clocks: &Graph,
) -> Option<u64> {
    let slices = rows.iter().any(|row| row.kind == "EndpointSlice");
    let wanted = if slices { "EndpointSlice" } else { "Endpoints" };
    // Without changes the Service with the most endpoints in any one version is meant.
    type Version<'r> = (i64, BTreeSet<(&'r str, i32)>);
    let mut latest: BTreeMap<(String, &str), Version<'_>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.kind == wanted) {
        let name = format!("{}/{}", row.namespace, row.service);
        let time = match (row.time, clocks.offset(&row.clock, &windows.clock)) {
            (Some(time), Some(offset)) => time + offset.high,
            _ => i64::MIN,
        };
        let begun = windows.action.as_ref().map_or(i64::MAX, |action| action.start);
        if time >= begun || (row.witness == "list" && windows.action.is_some()) {
            continue;
        }
        let entry = latest.entry((name, row.slice.as_ref())).or_insert((time, BTreeSet::new()));
        if time > entry.0 {
            *entry = (time, BTreeSet::new());
        }
        if let (Some(address), true, true) = (row.address.as_deref(), row.ready.unwrap_or(true), time == entry.0) {
            entry.1.insert((address, row.port.unwrap_or(0)));
        }
    }
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for ((name, _), (_, ready)) in latest {
        *counts.entry(name).or_default() += ready.len() as u64;
    }
    match service {
        Some(service) => counts.get(service).copied(),
        None => counts.values().copied().max(),
    }
}
