//! Loads a run: facts, clocks, scenario, windows, episodes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use polars::prelude::{col, lit};
use syncline_schema::audit::AuditRow;
use syncline_schema::dataplane::{ChangeRow, RuleRow, SnapshotRow};
use syncline_schema::endpoints::EndpointRow;
use syncline_schema::facts::FactRow;
use syncline_schema::markers::MarkerRow;
use syncline_schema::services::ServiceRow;

use super::contradictions::Contradictions;
use super::dataplane::{Presence, Total, presences, totals};
use super::pods::{self, Pods};
use super::probes;
use super::programmed;
use super::run::Moves;
use super::{
    Direction, Episode, Observed, Outcome, Phase, Run, Windows, doings, episodes, facts, follow, nft_order, received,
    windows,
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
        let last = bundle
            .manifest
            .sources
            .iter()
            .filter(|one| one.clock.as_deref() == Some("apiserver"))
            .filter_map(|one| one.last)
            .max();
        let mut found = marked
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
        let lives = pods::read(&bundle, &node, &path)?;
        let received = received::read(&bundle, &rows, &clocks, &path)?;
        let ready = lives.iter().filter_map(|(uid, life)| Some((uid.clone(), life.ready_since.clone()?))).collect();
        let mut bounds = episodes::Bounds { received: &received, ready: &ready, contradictions: &mut contradictions };
        let changes = episodes::changes(&rows, &clocks, &mut bounds, &path);
        findings.extend(disagreeing);
        let dataplane = dataplane(&bundle, &totals, &facts, &mut findings);
        let doings = doings::read(&bundle, &dataplane)?;
        let looked = follow::Seen { presences: &seen, doings: &doings, clocks: &clocks, node: &node, path: &path };
        let mut episodes = follow::episodes(&changes, &looked, &mut contradictions);
        if dataplane == "kube-proxy-nftables" {
            findings.extend(nft_order::narrow(&bundle, &clocks, &path, &mut episodes)?);
        }
        let next_action = next_action(&markers, &actions, &found, is_marked);
        let last = last_seen(&episodes, &clocks, &found, next_action);
        windows::extend(&mut found, last, is_marked);
        if let (Some(action), Some(next)) = (&mut found.action, next_action) {
            action.end = action.end.min(next);
        }
        // The phases of episodes follow the windows, which follow the last episode.
        follow::set_phases(&mut episodes, &clocks, &found);
        findings.extend(contradictions.findings());
        findings.extend(probes::findings(&bundle, &path));
        let scenario = scenario(&bundle, &actions, &markers, &mut findings);
        let service_under_test = under_test(&episodes);
        let moves = moves(&seen, service_under_test.as_deref(), &path);
        let request = request(&actions, &found, &clocks);
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
        let folder = bundle.path.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = bundle.manifest.name.clone().or(folder).unwrap_or_else(|| "run".to_owned());
        Ok(Run {
            name,
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
    let on_node = || bundle.manifest.sources.iter().filter(|source| source.clock.as_deref() == Some(node));
    let start = on_node().filter_map(|source| source.first).min();
    let end = on_node().filter_map(|source| source.last).max();
    let window = start.zip(end).filter(|(start, end)| end > start);
    Windows {
        clock: node.to_owned(),
        baseline: window.map(|(start, end)| super::Window { start, end, slack: 0 }),
        action: None,
        tail: None,
        from: "the whole capture (no markers, no scaling, no restart, no deletion in it)".to_owned(),
        evidence: Vec::new(),
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
        let later =
            markers.iter().filter(|marker| marker.label.starts_with("action") && marker.label.ends_with("_start"));
        return later.map(|marker| marker.time).filter(|time| *time > start).min();
    }
    actions.iter().map(|action| action.time).find(|time| *time > start + 1_000_000_000)
}

/// When the last endpoint of the action was in the dataplane, on the windows' clock.
fn last_seen(episodes: &[Episode], clocks: &Graph, windows: &Windows, next: Option<i64>) -> Option<i64> {
    let start = windows.action.as_ref()?.start;
    episodes
        .iter()
        .filter(|episode| episode.direction == Direction::Added && episode.outcome == Outcome::Seen)
        .filter_map(|episode| {
            let seen = episode.dataplane.as_ref()?;
            let offset = clocks.offset(&seen.clock, &windows.clock)?;
            let time = seen.high.or(seen.low)? + offset.high;
            (time >= start && next.is_none_or(|next| time < next)).then_some(time)
        })
        .max()
}

fn dataplane(bundle: &Bundle, totals: &[Total], facts: &facts::Facts, findings: &mut Vec<Finding>) -> String {
    if let Some(stated) = &bundle.manifest.dataplane {
        return stated.clone();
    }
    let formats: BTreeSet<&str> =
        totals.iter().filter(|total| total.services > 0).map(|total| total.format.as_str()).collect();
    let guess = if formats.iter().any(|format| format.starts_with("cilium") || *format == "lb4-reader") {
        "cilium"
    } else if formats.contains("ipvsadm") {
        "kube-proxy-ipvs"
    } else if formats.iter().any(|format| format.starts_with("nft")) {
        "kube-proxy-nftables"
    } else if formats.iter().any(|format| format.starts_with("iptables")) {
        "kube-proxy-iptables"
    } else {
        match facts.get("mode").map(|(mode, _)| mode.as_str()) {
            Some("iptables") => "kube-proxy-iptables",
            Some("nftables") => "kube-proxy-nftables",
            Some("ipvs") => "kube-proxy-ipvs",
            _ => "unknown",
        }
    };
    let (from, evidence) = match facts.get("mode").filter(|_| formats.is_empty()) {
        Some((_, evidence)) => ("the proxy's mode", vec![evidence.clone()]),
        None => ("the snapshots", Vec::new()),
    };
    findings.push(Finding {
        title: format!("dataplane taken to be {guess}"),
        detail: format!("nothing states it: it was told from {from}; state it in capture.toml or by --dataplane"),
        evidence,
    });
    guess.to_owned()
}

fn scenario(
    bundle: &Bundle,
    actions: &[windows::Action],
    markers: &[MarkerRow<'static>],
    findings: &mut Vec<Finding>,
) -> String {
    if let Some(stated) = &bundle.manifest.scenario {
        return stated.clone();
    }
    let commands = || markers.iter().filter_map(|marker| marker.command.as_deref());
    let (guess, from, evidence) = match actions.first() {
        Some(action) => (action.scenario, "the audit log", vec![action.evidence.clone()]),
        None if commands().any(|command| command.contains("kubectl scale")) => {
            ("scale-up", "the markers' commands", Vec::new())
        }
        None if commands().any(|command| command.contains("rollout restart")) => {
            ("rolling-restart", "the markers' commands", Vec::new())
        }
        None if commands().any(|command| command.contains("kill") || command.contains("delete pod")) => {
            ("pod-crash", "the markers' commands", Vec::new())
        }
        None => ("steady-state", "the absence of any scaling, restart or deletion", Vec::new()),
    };
    findings.push(Finding {
        title: format!("scenario taken to be {guess}"),
        detail: format!("nothing states it: it was told from {from}"),
        evidence,
    });
    guess.to_owned()
}

/// The Service with the most changes in the action; where the run has none in an action, with the most changes.
fn under_test(episodes: &[Episode]) -> Option<String> {
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for episode in episodes {
        let (in_action, all) = counts.entry(&episode.endpoint.service).or_default();
        *in_action += usize::from(episode.phase == Some(Phase::Action));
        *all += 1;
    }
    let most = counts.into_iter().max_by_key(|(name, count)| (*count, std::cmp::Reverse(*name)))?;
    Some(most.0.to_owned())
}

/// All changes of a Service in the dataplane, one for each look that showed any, and the last look of each stream.
fn moves(presences: &[Presence], service: Option<&str>, path: &dyn Fn(i32) -> String) -> Moves {
    let mut found = Moves::default();
    let mut looks: BTreeMap<(i32, i64), Observed> = BTreeMap::new();
    let mut streams = BTreeSet::new();
    for presence in presences.iter().filter(|presence| Some(presence.service.as_str()) == service) {
        let at = |low: Option<i64>, high: Option<i64>, source: i32, record: i64, what: &str| Observed {
            low,
            high,
            clock: presence.clock.clone(),
            witness: presence.format.clone(),
            evidence: vec![Evidence { path: path(source), record, what: what.to_owned() }],
        };
        if streams.insert(presence.stream) {
            let last = presence.last_look;
            found.last.push(at(Some(last.time), last.until, last.source, last.record, "last look"));
        }
        for change in &presence.changes {
            let after = change.after;
            looks.entry((presence.stream, after.time)).or_insert_with(|| {
                at(Some(change.before.time), after.until, after.source, after.record, "look that shows a change")
            });
        }
    }
    found.all = looks.into_values().collect();
    found
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Endpoint;

    fn episode(service: &str, phase: Phase) -> Episode {
        let endpoint = Endpoint {
            service: service.to_owned(),
            address: String::new(),
            port: 0,
            protocol: String::new(),
            target_uid: String::new(),
            target: String::new(),
        };
        Episode {
            endpoint: endpoint.into(),
            node: "".into(),
            direction: Direction::Added,
            number: 0,
            committed: Default::default(),
            dataplane: None,
            outcome: Outcome::Unobserved,
            stages: Default::default(),
            phase: Some(phase),
        }
    }

    #[test]
    fn the_service_under_test_is_the_one_that_the_action_changed() {
        let mut all = vec![episode("default/noise", Phase::Baseline); 9];
        all.extend([episode("default/noise", Phase::Action), episode("default/test", Phase::Action)]);
        all.push(episode("default/test", Phase::Action));
        assert_eq!(under_test(&all).as_deref(), Some("default/test"));
        assert_eq!(under_test(&all[..9]).as_deref(), Some("default/noise"), "without an action, the most changes");
    }
}
