//! `stage_time`: where the time goes between the request and the dataplane, stage by stage.
//!
//! ```text
//! request → pod_created → bound → ready → committed → received → sync_start → kernel_replaced → visible
//! └──────── API server's clock (audit log) ────────┘   └──── node's clock (log, trace, snapshots) ────┘
//! ```
//!
//! Each endpoint has as many of these moments as the captures prove. A stage is the time between two moments that
//! follow each other in it, with bounds: from the latest first to the earliest second, and the reverse. Between two
//! clocks the offset's bounds are added. Every number of endpoints has its own list of stages, so that a stage is
//! always between the same two moments: `variant` is `first → second`.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::propagation::{Shifted, counted, quantiles};
use super::{Measurement, Missing};
use crate::events::{Direction, Episode, Observed, Outcome, Run};
use crate::math::{Estimate, Named};

/// The moments, in order.
pub const MOMENTS: [&str; 9] =
    ["request", "pod_created", "bound", "ready", "committed", "received", "sync_start", "kernel_replaced", "visible"];

/// Ahead of the variant of a stage of endpoints that leave.
const REMOVAL: &str = "removal: ";

/// How many of the slowest endpoints are kept.
const SLOWEST: usize = 10;

/// The stages of one direction in one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Breakdown {
    pub direction: Direction,
    /// In order.
    pub stages: Vec<StageTime>,
    /// Index of the stage with the longest median, and whether its lower bound is above every other's upper bound.
    pub dominant: Option<(usize, bool)>,
    /// The same among the stages from the commit on: what is ahead of it is the pods' start.
    pub dominant_from_commit: Option<(usize, bool)>,
    /// The slowest endpoints, the slowest first.
    pub slowest: Vec<Waterfall>,
}

/// One stage.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StageTime {
    /// Moment it begins with.
    pub from: String,
    /// Moment it ends with.
    pub to: String,
    /// Endpoints that have both moments with none between.
    pub n: usize,
    /// `p50`, `p90`, …, s.
    pub quantiles: Named<Estimate>,
}

/// The moments of one endpoint on one node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Waterfall {
    /// `namespace/name address:port`.
    pub endpoint: String,
    pub node: String,
    /// Name, and seconds since its first moment's middle: earliest, latest.
    pub moments: Vec<(String, f64, f64)>,
}

/// One row a stage and direction; one row that says what is missing where there is none.
pub fn measure(run: &Run) -> Vec<Measurement> {
    let mut found = Vec::new();
    for direction in [Direction::Added, Direction::Removed] {
        let breakdown = Breakdown::new(direction, times(run, direction), Vec::new());
        for (at, stage) in breakdown.stages.iter().enumerate() {
            let mut row = Measurement::new(run, "stage_time", "s");
            let word = if direction == Direction::Added { "" } else { REMOVAL };
            row.variant = format!("{word}{} → {}", stage.from, stage.to).into();
            row.statistic = "p50".into();
            row.n = stage.n as u64;
            row.estimate = stage.quantiles.get("p50").copied().unwrap_or_default();
            row.quantiles = stage.quantiles.clone();
            row.window = "action and tail".into();
            row.method = "time between two moments of each endpoint, on one clock or moved by the offset".into();
            for (dominant, of) in
                [(breakdown.dominant, "all stages"), (breakdown.dominant_from_commit, "the stages from the commit on")]
            {
                if let Some((_, certain)) = dominant.filter(|(dominant, _)| *dominant == at) {
                    let how = if certain { "whatever the bounds" } else { "by its value, not by its bounds" };
                    row.notes.push(format!("the longest of {of}, {how}"));
                }
            }
            found.push(row);
        }
    }
    if found.is_empty() {
        let missing = Missing {
            what: "no change has two moments that captures prove on related clocks".into(),
            remedy: "Keep the audit log with bodies, the proxy's log at --v=4, a trace of its table replacements, and snapshots.".into(),
        };
        found.push(Measurement { missing: Some(missing), ..Measurement::new(run, "stage_time", "s") });
    }
    found
}

/// A moment known from both sides, ns.
#[derive(Clone, Copy)]
struct At<'a> {
    low: i64,
    high: i64,
    clock: &'a str,
}

fn at(observed: &Observed) -> Option<At<'_>> {
    Some(At { low: observed.low?, high: observed.high?, clock: &observed.clock })
}

/// The moments of an episode, in order, as far as they are known from both sides.
fn moments<'a>(run: &'a Run, episode: &'a Episode) -> Vec<(&'static str, At<'a>)> {
    let life = run.pods.lives.get(&episode.endpoint.target_uid).filter(|_| episode.direction == Direction::Added);
    let staged = |name: &str| episode.stages.iter().find(|stage| stage.name == name).map(|stage| &*stage.at);
    MOMENTS
        .into_iter()
        .filter_map(|name| {
            let found = match name {
                // An action later than the change did not cause it.
                "request" => run.pods.request.as_ref().and_then(at).filter(|request| {
                    at(&episode.committed)
                        .and_then(|committed| between(run, request, &committed))
                        .and_then(|time| Some(time.own.high? + time.offset.high as f64 / 1e9))
                        .is_some_and(|latest| latest >= 0.0)
                }),
                "pod_created" => life.and_then(|life| life.created.as_ref()).and_then(at),
                "bound" => life.and_then(|life| life.bound.as_ref()).and_then(at),
                "ready" => life.and_then(|life| life.ready.as_ref()).and_then(at),
                "committed" => at(&episode.committed),
                "visible" => visible(episode),
                other => staged(other).and_then(at),
            };
            found.map(|found| (name, found))
        })
        .collect()
}

/// When a look showed a change: not before the dataplane can have made it, as all witnesses together say.
fn visible(episode: &Episode) -> Option<At<'_>> {
    let all = episode.dataplane.as_ref().filter(|_| episode.outcome == Outcome::Seen)?;
    let Some(look) = episode.stages.iter().find(|stage| stage.name == "visible").map(|stage| &stage.at) else {
        return at(all);
    };
    let low = look.low.max(all.low)?;
    (look.clock == all.clock).then_some(At { low, high: look.high?, clock: &look.clock })
}

/// Time between two moments.
fn between(run: &Run, from: &At<'_>, to: &At<'_>) -> Option<Shifted> {
    let offset = run.clocks.offset_within(to.clock, from.clock, Some(to.low), Some(to.high))?;
    let seconds = |to: i64, from: i64| Some((to - from) as f64 / 1e9);
    let own = Estimate { value: None, low: seconds(to.low, from.high), high: seconds(to.high, from.low) };
    Some(Shifted { own, offset })
}

/// The time that each stage took.
fn times(run: &Run, direction: Direction) -> Vec<StageTime> {
    let mut found: BTreeMap<(usize, usize), Vec<Shifted>> = BTreeMap::new();
    for episode in seen(run, direction) {
        for pair in moments(run, episode).windows(2) {
            if let Some(time) = between(run, &pair[0].1, &pair[1].1) {
                found.entry((place(pair[0].0), place(pair[1].0))).or_default().push(time);
            }
        }
    }
    found
        .into_par_iter()
        .map(|((from, to), times)| StageTime {
            from: MOMENTS[from].to_owned(),
            to: MOMENTS[to].to_owned(),
            n: times.len(),
            quantiles: quantiles(&times),
        })
        .collect()
}

fn seen(run: &Run, direction: Direction) -> impl Iterator<Item = &Episode> {
    counted(run, direction).into_iter().filter(|episode| episode.outcome == Outcome::Seen)
}

fn place(name: &str) -> usize {
    MOMENTS.iter().position(|one| *one == name).unwrap_or(MOMENTS.len())
}

/// The endpoints that took longest, by the upper bound.
fn slowest(run: &Run, direction: Direction) -> Vec<Waterfall> {
    let whole = |episode: &Episode| {
        let (committed, seen) = at(&episode.committed).zip(episode.dataplane.as_deref().and_then(at))?;
        let whole = between(run, &committed, &seen)?;
        Some(whole.own.high? + whole.offset.high as f64 / 1e9)
    };
    let mut slowest: Vec<(f64, &Episode)> =
        seen(run, direction).filter_map(|episode| Some((whole(episode)?, episode))).collect();
    slowest
        .sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| (&a.1.endpoint, &a.1.node).cmp(&(&b.1.endpoint, &b.1.node))));
    slowest.into_iter().take(SLOWEST).filter_map(|(_, episode)| waterfall(run, episode)).collect()
}

impl Breakdown {
    /// The stages of a run from what was [`measure`]d; `None` where no change has two moments.
    pub fn of(run: &Run, measured: &[Measurement], direction: Direction) -> Option<Breakdown> {
        let mut stages: Vec<StageTime> = Vec::new();
        for one in measured.iter().filter(|one| one.name == "stage_time") {
            let removal = one.variant.strip_prefix(REMOVAL);
            let own = if direction == Direction::Removed { removal } else { removal.xor(Some(&one.variant)) };
            let Some((from, to)) = own.and_then(|own| own.split_once(" → ")) else { continue };
            let quantiles = one.quantiles.clone();
            stages.push(StageTime { from: from.to_owned(), to: to.to_owned(), n: one.n as usize, quantiles });
        }
        (!stages.is_empty()).then(|| Breakdown::new(direction, stages, slowest(run, direction)))
    }

    fn new(direction: Direction, stages: Vec<StageTime>, slowest: Vec<Waterfall>) -> Breakdown {
        let from_commit = |stage: &StageTime| place(&stage.from) >= place("committed");
        let dominant_from_commit = dominant(&stages, from_commit);
        Breakdown { direction, dominant: dominant(&stages, |_| true), dominant_from_commit, stages, slowest }
    }
}

/// The stage with the longest median among those that most endpoints have.
fn dominant(stages: &[StageTime], among: impl Fn(&StageTime) -> bool) -> Option<(usize, bool)> {
    let most = stages.iter().map(|stage| stage.n).max()?;
    let median = |stage: &StageTime| stage.quantiles.get("p50").copied().unwrap_or_default();
    let common = || stages.iter().enumerate().filter(|(_, stage)| 2 * stage.n >= most && among(stage));
    let (at, longest) = common()
        .filter(|(_, stage)| median(stage).value.is_some())
        .max_by(|a, b| median(a.1).value.unwrap_or(0.0).total_cmp(&median(b.1).value.unwrap_or(0.0)))?;
    let least = median(longest).low;
    let certain = common()
        .filter(|(other, _)| *other != at)
        .all(|(_, other)| least.zip(median(other).high).is_some_and(|(least, most)| least > most));
    Some((at, certain))
}

fn waterfall(run: &Run, episode: &Episode) -> Option<Waterfall> {
    let all = moments(run, episode);
    let (_, first) = all.first()?;
    let zero = first.low.midpoint(first.high);
    let moments = all
        .iter()
        .filter_map(|(name, at)| {
            let offset = run.clocks.offset(at.clock, first.clock)?;
            let since = |time: i64| (time - zero) as f64 / 1e9;
            Some(((*name).to_owned(), since(at.low + offset.low), since(at.high + offset.high)))
        })
        .collect();
    let endpoint = &episode.endpoint;
    Some(Waterfall {
        endpoint: format!("{} {}:{}", endpoint.service, endpoint.address, endpoint.port),
        node: episode.node.to_string(),
        moments,
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::events::{Endpoint, Stage};

    fn at(low: i64, high: i64) -> Observed {
        Observed {
            low: Some(low * 1_000_000),
            high: Some(high * 1_000_000),
            clock: "node-a".to_owned(),
            witness: String::new(),
            evidence: Vec::new(),
        }
    }

    fn episode(number: u32, shift: i64) -> Episode {
        let endpoint = Endpoint {
            service: "default/test".to_owned(),
            address: format!("10.0.0.{number}"),
            port: 80,
            protocol: "tcp".to_owned(),
            target_uid: String::new(),
            target: String::new(),
        };
        Episode {
            endpoint: endpoint.into(),
            node: "node-a".into(),
            direction: Direction::Added,
            number: 0,
            committed: at(100, 101).into(),
            dataplane: Some(at(700 + shift, 702 + shift).into()),
            outcome: Outcome::Seen,
            stages: [Stage { name: "received", at: at(104, 104).into() }].into(),
            phase: None,
        }
    }

    #[test]
    fn stages_have_bounds_and_the_longest_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = fixture::run(folder.path(), "kube-proxy-iptables", |_| ());
        run.episodes = (0..12).map(|number| episode(number, i64::from(number))).collect();
        run.pods.request = Some(at(0, 0));
        let measured = measure(&run);
        let found = Breakdown::of(&run, &measured, Direction::Added).unwrap();
        let names: Vec<_> = found.stages.iter().map(|stage| (stage.from.as_str(), stage.to.as_str())).collect();
        assert_eq!(names, [("request", "committed"), ("committed", "received"), ("received", "visible")]);
        let median = found.stages[1].quantiles["p50"];
        assert_eq!((median.low, median.high), (Some(0.003), Some(0.004)));
        assert_eq!(found.dominant, Some((2, true)));
        assert_eq!(found.slowest.len(), 10);
        assert!(found.slowest[0].endpoint.contains("10.0.0.11"), "{}", found.slowest[0].endpoint);
        assert_eq!(measured.len(), 3);
    }

    #[test]
    fn unrelated_clocks_have_no_stage_between_them() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = fixture::run(folder.path(), "kube-proxy-iptables", |_| ());
        let mut one = episode(1, 0);
        one.committed = Observed { clock: "apiserver".to_owned(), ..at(100, 101) }.into();
        one.stages = Default::default();
        run.episodes = vec![one];
        let measured = measure(&run);
        assert!(Breakdown::of(&run, &measured, Direction::Added).is_none());
        assert!(measured[0].missing.is_some());
    }
}
