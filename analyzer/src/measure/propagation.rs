//! How long each change took from the API to the dataplane.
//!
//! | name | from → to |
//! |---|---|
//! | `endpoint_propagation` | object committed → dataplane holds it, per endpoint and node |
//! | `endpoint_removal` | removal committed → no new connection can be sent to it |
//! | `settle_time` | last ready committed → last endpoint in the dataplane, unchanged for 5 s |
//! | `pod_ready_to_dataplane` | the pod's Ready condition (whole seconds, kubelet's clock) → dataplane |
//!
//! Beside them stand `convergence_time` and `api_processing_time`, which have files of their own.
//!
//! ```text
//! committed   [c.low ───── c.high]
//! dataplane              [d.low ──────── d.high]
//! latency     d.low − c.high  …  d.high − c.low      then moved by the clocks' offset, which all endpoints share
//! ```

use std::collections::BTreeSet;

use super::{Measurement, Missing};
use crate::clock::{Evidence, Offset};
use crate::events::{Direction, Episode, Observed, Outcome, Phase, Run};
use crate::math::{Estimate, Named, quantile, turnbull};

/// What to capture where no dataplane was seen.
pub const SNAPSHOTS: &str = "while :; do echo \"# TIMESTAMP $(date +%s.%N)\"; iptables-save -t nat; sleep 0.1; done (Cilium: cilium-dbg bpf lb list -o json), with an audit log or a watch of EndpointSlices";
/// Lines of evidence kept with a distribution.
const EVIDENCE: usize = 12;

/// All of them.
pub fn measure(run: &Run) -> Vec<Measurement> {
    let mut found = vec![
        distribution(run, "endpoint_propagation", Direction::Added),
        distribution(run, "endpoint_removal", Direction::Removed),
        settle_time(run),
    ];
    found.extend(super::convergence_time::measure(run));
    found.push(pod_ready_to_dataplane(run));
    found.extend(super::api_processing_time::measure(run));
    found
}

pub(super) fn blank(run: &Run, name: &str, statistic: &str) -> Measurement {
    Measurement {
        run: run.name.clone().into(),
        name: name.into(),
        unit: "s".into(),
        statistic: statistic.into(),
        ..Measurement::default()
    }
}

pub(super) fn absent(run: &Run, name: &str, what: impl Into<String>, remedy: impl Into<String>) -> Measurement {
    Measurement { missing: Some(Missing { what: what.into(), remedy: remedy.into() }), ..blank(run, name, "") }
}

/// Episodes that a distribution counts: additions of endpoints that were never ready before, and all removals, of the
/// action and its tail. An endpoint that comes back (a crashed container) is `recovery_time`'s.
pub fn counted(run: &Run, direction: Direction) -> Vec<&Episode> {
    let tested =
        |episode: &&Episode| run.service_under_test.as_ref().is_none_or(|service| *service == episode.endpoint.service);
    let late =
        |episode: &&Episode| matches!(episode.phase, Some(Phase::Action | Phase::Tail)) || run.windows.action.is_none();
    run.episodes
        .iter()
        .filter(|episode| episode.direction == direction)
        .filter(tested)
        .filter(late)
        .filter(|episode| direction == Direction::Removed || episode.number == 0)
        .collect()
}

/// Latency of an episode on the captures' own clocks, s; the offset between them is applied later.
pub(super) fn latency(committed: &Observed, seen: &Observed) -> Estimate {
    let seconds = |to: Option<i64>, from: Option<i64>| to.zip(from).map(|(to, from)| (to - from) as f64 / 1e9);
    let low = seconds(seen.low, committed.high);
    let high = seconds(seen.high, committed.low);
    // The best single figure: the middle of when it was seen, from the middle of when it was committed. Where an end
    // is open, the closed one stands for it.
    let middle = |one: &Observed| match (one.low, one.high) {
        (Some(low), Some(high)) => Some(low + (high - low) / 2),
        (low, high) => high.or(low),
    };
    Estimate { value: if seen.high.is_some() { seconds(middle(seen), middle(committed)) } else { None }, low, high }
}

/// A latency and the offset that its node's clocks share with all others of that node.
#[derive(Clone, Copy, Debug)]
pub struct Shifted {
    /// On the captures' own clocks: how well this one is known.
    pub own: Estimate,
    /// From the dataplane's clock to that of the commit: how well the clocks are known.
    pub offset: Offset,
}

/// Quantiles of latencies. What is uncertain of each alone (sampling) is sorted out by the envelope and the estimate of
/// their distribution; what a node's latencies share (the offset of its clock) moves all of them at once, so it is not
/// averaged away: the lower ends are moved by the offset's lower end, the upper ends by its upper end, and the
/// distribution is estimated with the offset at its middle.
///
/// ```text
/// one node        quantile of (own.low)  + offset.low   …   quantile of (own.high) + offset.high
/// several nodes   quantile of (own.low + offset.low)    …   quantile of (own.high + offset.high)
/// ```
pub fn quantiles(latencies: &[Shifted]) -> Named<Estimate> {
    let seconds = |time: i64| time as f64 / 1e9;
    let moved = |one: &Shifted, low: f64, high: f64| Estimate {
        value: None,
        low: one.own.low.map(|value| value + low),
        high: one.own.high.map(|value| value + high),
    };
    let wide: Vec<Estimate> =
        latencies.iter().map(|one| moved(one, seconds(one.offset.low), seconds(one.offset.high))).collect();
    let middle = |one: &Shifted| (seconds(one.offset.low) + seconds(one.offset.high)) / 2.0;
    let likely: Vec<Estimate> = latencies.iter().map(|one| moved(one, middle(one), middle(one))).collect();
    let mut found = turnbull::quantiles(&likely);
    let wide = quantile::Envelope::new(&wide);
    for (name, q) in quantile::REPORTED {
        if let Some(estimate) = found.get_mut(name) {
            let bounds = wide.at(q);
            (estimate.low, estimate.high) = (bounds.low, bounds.high);
        }
    }
    found
}

fn distribution(run: &Run, name: &str, direction: Direction) -> Measurement {
    let episodes = counted(run, direction);
    if episodes.is_empty() {
        // That nothing was recorded is not that nothing happened.
        let (come, came, comes) = match direction {
            Direction::Added => ("become ready", "became ready", "endpoints are added"),
            Direction::Removed => ("left", "left", "endpoints are removed"),
        };
        // Whoever saw endpoints change one way would have seen the other.
        let (what, remedy) = if !run.episodes.is_empty() {
            (format!("no endpoint is recorded to have {come} in the action"), format!("capture a run in which {comes}"))
        } else {
            (
                format!("no capture tells when an endpoint {came} (no audit log, no watch)"),
                format!(
                    "capture a run in which {comes}, with an audit log (RequestResponse for endpointslices) or a watch"
                ),
            )
        };
        return absent(run, name, what, remedy);
    }
    let superseded = episodes.iter().filter(|episode| episode.outcome == Outcome::Superseded).count();
    let unobserved = episodes.iter().filter(|episode| episode.outcome == Outcome::Unobserved).count();
    let judged: Vec<&&Episode> =
        episodes.iter().filter(|episode| matches!(episode.outcome, Outcome::Seen | Outcome::Never)).collect();
    let related = |episode: &Episode| {
        let seen = episode.dataplane.as_ref()?;
        // When it was seen: what the clocks did at other times does not matter.
        run.clocks.offset_within(&seen.clock, &episode.committed.clock, seen.low, seen.high)
    };
    if judged.is_empty() {
        let unrelated = unrelated(run, &episodes);
        return match unrelated {
            Some(missing) => absent(run, name, format!("{} endpoints changed, but {missing}", episodes.len()), missing),
            None => absent(
                run,
                name,
                format!(
                    "{} endpoints changed, but no capture of the dataplane covers their Service at that time",
                    episodes.len()
                ),
                SNAPSHOTS,
            ),
        };
    }
    let shifted: Vec<Shifted> = judged
        .iter()
        .filter_map(|episode| {
            let own = latency(&episode.committed, episode.dataplane.as_ref()?);
            Some(Shifted { own, offset: related(episode)? })
        })
        .collect();
    let quantiles = quantiles(&shifted);
    let Some(offset) = shifted.iter().map(|one| one.offset).max_by_key(|offset| offset.high - offset.low) else {
        let missing = unrelated(run, &episodes).unwrap_or_default();
        return absent(run, name, missing.clone(), missing);
    };
    let latencies: Vec<Estimate> = shifted
        .iter()
        .map(|one| {
            let middle = (one.offset.low + one.offset.high) as f64 / 2e9;
            Estimate { value: one.own.value.map(|value| value + middle), ..one.own }
        })
        .collect();
    let minimum = latencies.iter().filter_map(|one| one.value).fold(f64::INFINITY, f64::min);
    let never = judged.iter().filter(|episode| episode.outcome == Outcome::Never).count();
    let mut witnesses: Vec<&str> =
        judged.iter().filter_map(|episode| Some(episode.dataplane.as_ref()?.witness.as_str())).collect();
    witnesses.sort_unstable();
    witnesses.dedup();
    let mut notes = Vec::new();
    if never > 0 {
        notes.push(format!(
            "{never} of {} never arrived before the capture ended: they count as later than everything seen",
            judged.len()
        ));
    }
    if superseded > 0 {
        notes.push(format!("{superseded} changed back before the dataplane acted: counted apart, not as latencies"));
    }
    if unobserved > 0 {
        notes.push(format!("{unobserved} were not covered by any capture of the dataplane"));
    }
    let pairs: BTreeSet<(&str, &str)> = judged
        .iter()
        .filter_map(|episode| Some((episode.dataplane.as_ref()?.clock.as_str(), episode.committed.clock.as_str())))
        .collect();
    if pairs.iter().any(|(seen, committed)| run.clocks.circular(seen, committed)) {
        notes.push("circular: the clocks are related by endpoints having been committed before they were programmed, so that the fastest has zero as its lower bound; a clock reading of both machines would settle it".to_owned());
    }
    if judged.iter().any(|episode| episode.committed.low.is_none()) {
        notes.push("of a change without an audit event, and without a beacon ahead of it, only an upper end of its commit is known: such latencies are open above".to_owned());
    }
    let by_beacons = judged.iter().filter(|episode| episode.committed.witness.contains("beacon")).count();
    if by_beacons > 0 {
        notes.push(format!(
            "{by_beacons} of {} commits are bounded by the beacons around their revision, which takes both to lie in one etcd",
            judged.len()
        ));
    }
    let mut slowest = judged.clone();
    slowest.sort_by_key(|episode| {
        let seen = episode.dataplane.as_ref().and_then(|seen| seen.high).unwrap_or(i64::MAX);
        std::cmp::Reverse(seen.saturating_sub(episode.committed.high.unwrap_or(0)))
    });
    let evidence: Vec<Evidence> = slowest
        .iter()
        .take(EVIDENCE / 3)
        .flat_map(|episode| {
            episode.committed.evidence.iter().chain(episode.dataplane.iter().flat_map(|seen| &seen.evidence))
        })
        .cloned()
        .collect();
    Measurement {
        n: latencies.len() as u64,
        estimate: quantiles.get("p50").copied().unwrap_or_default(),
        quantiles,
        method: format!(
            "commit ({}audit log, first delivery by a watch, the proxy's own line) to the dataplane by {}; bounds by lower and upper ends sorted apart, moved by the clocks' offset of {}, values by Turnbull's estimate of the censored distribution",
            if by_beacons > 0 { "beacons, " } else { "" },
            witnesses.join(", "),
            said(offset)
        ).into(),
        window: if direction == Direction::Added { "action and tail, first episodes" } else { "action and tail" }
            .into(),
        evidence,
        notes,
        details: Named::from([
            ("minimum".to_owned(), minimum),
            ("endpoints changed".to_owned(), episodes.len() as f64),
            ("never arrived".to_owned(), never as f64),
            ("superseded".to_owned(), superseded as f64),
            ("not covered".to_owned(), unobserved as f64),
        ]),
        ..blank(run, name, "p50")
    }
}

/// An offset in words: where one of the clocks counts from the boot only its width says anything.
fn said(offset: Offset) -> String {
    const YEAR: i64 = 365 * 86_400 * 1_000_000_000;
    let ms = |time: i64| time as f64 / 1e6;
    if offset.low.abs() > YEAR {
        return format!("realtime and boottime, known within {:.3} ms", ms(offset.high - offset.low));
    }
    format!("{:.3} to {:.3} ms", ms(offset.low), ms(offset.high))
}

/// Which clocks nothing relates, of the first episode that is not observed for that reason.
fn unrelated(run: &Run, episodes: &[&Episode]) -> Option<String> {
    episodes
        .iter()
        .find(|episode| run.clocks.offset(&episode.committed.clock, &episode.node).is_none())
        .map(|episode| run.clocks.missing(&episode.committed.clock, &episode.node))
}

/// The last of some moments, converted to one clock.
fn last(run: &Run, moments: &[&Observed], clock: &str) -> Option<Observed> {
    let mut found: Option<Observed> = None;
    for one in moments {
        let one = convert(run, one, clock)?;
        let (low, high) = (one.low, one.high);
        found = Some(match found {
            None => one,
            Some(known) => {
                let later = high.is_none() || known.high.zip(high).is_some_and(|(known, high)| high > known);
                Observed {
                    low: known.low.max(low),
                    high: if known.high.is_none() || high.is_none() { None } else { known.high.max(high) },
                    evidence: if later { one.evidence } else { known.evidence },
                    ..known
                }
            }
        });
    }
    found
}

pub(super) fn additions(run: &Run) -> Result<(Vec<&Episode>, Observed, Observed), Missing> {
    let lacking = |what: &str, remedy: &str| Missing { what: what.to_owned(), remedy: remedy.to_owned() };
    let episodes: Vec<&Episode> = counted(run, Direction::Added)
        .into_iter()
        .filter(|episode| {
            episode.phase == Some(Phase::Action) && matches!(episode.outcome, Outcome::Seen | Outcome::Never)
        })
        .collect();
    let none = || lacking("no endpoint was seen to come into the dataplane in the action", SNAPSHOTS);
    let clock = episodes.first().map(|episode| episode.committed.clock.clone()).ok_or_else(none)?;
    let committed: Vec<&Observed> = episodes.iter().map(|episode| &*episode.committed).collect();
    let seen: Vec<&Observed> = episodes.iter().filter_map(|episode| episode.dataplane.as_deref()).collect();
    let unrelated = || {
        let missing = run.clocks.missing(&run.node, &clock);
        lacking(&missing, &missing)
    };
    let committed = last(run, &committed, &clock).ok_or_else(unrelated)?;
    let seen = last(run, &seen, &clock).ok_or_else(unrelated)?;
    Ok((episodes, committed, seen))
}

pub(super) fn single(run: &Run, name: &str, from: &Observed, to: &Observed, n: usize, method: &str) -> Measurement {
    Measurement {
        n: n as u64,
        estimate: latency(from, to),
        method: method.into(),
        window: "action".into(),
        evidence: from.evidence.iter().chain(&to.evidence).cloned().collect(),
        ..blank(run, name, "value")
    }
}

/// How long the dataplane must stay as it is to count as settled, ns.
pub(super) const QUIET: i64 = 5_000_000_000;

fn settle_time(run: &Run) -> Measurement {
    let name = "settle_time";
    let (episodes, committed, seen) = match additions(run) {
        Ok(found) => found,
        Err(missing) => return Measurement { missing: Some(missing), ..blank(run, name, "value") },
    };
    let method = "last endpoint committed as ready → last endpoint in the dataplane and unchanged for 5 s";
    let (settled, moved) = quiet(run, seen);
    let watched = run.moves.last.iter().filter_map(|look| convert(run, look, &settled.clock)?.low).max();
    let mut row = single(run, name, &committed, &settled, episodes.len(), method);
    if moved > 0 {
        row.notes.push(format!("the dataplane changed {moved} more times before it stayed as it was for 5 s"));
    }
    if settled.high.is_some() && watched.zip(settled.high).is_none_or(|(last, high)| last < high + QUIET) {
        row.estimate = Estimate { value: None, high: None, ..row.estimate };
        row.notes.push(
            "the capture of the dataplane ends before 5 s without a change: settled at the earliest then".to_owned(),
        );
    }
    row
}

/// Moves a moment to the first one from which the Service's endpoints stayed as they were for 5 s, and counts the
/// changes that were in the way. What may be the same change as the moment's own is none.
fn quiet(run: &Run, seen: Observed) -> (Observed, usize) {
    let mut changes: Vec<Observed> = run.moves.all.iter().filter_map(|one| convert(run, one, &seen.clock)).collect();
    changes.sort_by_key(|one| (one.high.unwrap_or(i64::MAX), one.low));
    let mut settled = seen;
    let mut moved = 0;
    for change in changes {
        let (Some(high), Some(low)) = (settled.high, change.low) else { continue };
        if low >= high && low < high + QUIET {
            settled = Observed { witness: settled.witness, ..change };
            moved += 1;
        }
    }
    (settled, moved)
}

/// A moment on another clock.
pub(super) fn convert(run: &Run, one: &Observed, clock: &str) -> Option<Observed> {
    let offset = run.clocks.offset_within(&one.clock, clock, one.low, one.high)?;
    Some(Observed {
        low: one.low.map(|low| low + offset.low),
        high: one.high.map(|high| high + offset.high),
        clock: clock.to_owned(),
        ..one.clone()
    })
}

fn pod_ready_to_dataplane(run: &Run) -> Measurement {
    let name = "pod_ready_to_dataplane";
    let latencies: Vec<Estimate> = counted(run, Direction::Added)
        .into_iter()
        .filter(|episode| episode.outcome == Outcome::Seen && episode.number == 0)
        .filter_map(|episode| {
            // The condition's stamp is cut to whole seconds: the pod was ready up to a second later.
            let since = run.pods.lives.get(&episode.endpoint.target_uid)?.ready_since.as_ref()?;
            let seen = episode.dataplane.as_ref()?;
            let at = convert(run, since, &seen.clock)?;
            Some(latency(&at, seen))
        })
        .collect();
    if latencies.is_empty() {
        return absent(
            run,
            name,
            "no pod's Ready condition together with its endpoint in the dataplane",
            "watch pods (kubectl get pods -w -o json) beside the snapshots of the dataplane",
        );
    }
    let quantiles = turnbull::quantiles(&latencies);
    Measurement {
        n: latencies.len() as u64,
        estimate: quantiles.get("p50").copied().unwrap_or_default(),
        quantiles,
        method: "the pod's Ready condition (whole seconds, the kubelet's clock) to the dataplane".into(),
        window: "action".into(),
        ..blank(run, name, "p50")
    }
}

#[cfg(test)]
mod tests;
