//! Delays of a run's endpoints, as far as a report or a comparison shows them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::{Evidence, Offset};
use crate::events::{Direction, Episode, Outcome, Phase, Run};

/// Delays that are kept of a run; a curve of more looks the same.
const MOST_DELAYS: usize = 2_000;
/// Slowest endpoints that are kept.
const SLOWEST: usize = 3;

/// Delays of the first additions in the action. Empty where the clocks are unrelated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Propagated {
    /// `[low, high]` of each endpoint's delay, s; `high` null where it never arrived. Of more than 2,000 endpoints the
    /// sorted lower and the sorted upper ends, thinned to so many.
    pub delays: Vec<[Option<f64>; 2]>,
    /// The slowest, the slowest first.
    pub slowest: Vec<SlowEndpoint>,
    /// Additions that never arrived.
    pub never: u64,
}

/// A slow endpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SlowEndpoint {
    /// `namespace/name address:port`.
    pub endpoint: String,
    /// Its pod.
    pub target: String,
    /// Delay, s; null where open.
    pub low: Option<f64>,
    /// As above; null where it never arrived.
    pub high: Option<f64>,
    /// Its commit, then what showed it in the dataplane.
    pub evidence: Vec<Evidence>,
}

/// The change whose bounds are the widest among those that were seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Widest {
    /// Between the look that lacks it and the one that shows it, ns.
    pub look: i64,
    /// Width of the offset between the two clocks, ns.
    pub clock: i64,
    /// Clock that the dataplane was seen on.
    pub seen: String,
    /// Clock of the commit.
    pub committed: String,
}

struct Delay<'a> {
    episode: &'a Episode,
    low: Option<f64>,
    high: Option<f64>,
}

impl Propagated {
    /// Of a run, moved by the clocks' offsets.
    pub fn of(run: &Run) -> Self {
        let never =
            run.episodes.iter().filter(|e| e.outcome == Outcome::Never && e.direction == Direction::Added).count();
        let mut all = delays(run);
        let delays = thinned(all.iter().map(|delay| [delay.low, delay.high]).collect());
        let late = |delay: &Delay<'_>| delay.high.unwrap_or(f64::INFINITY);
        all.sort_by(|a, b| late(b).total_cmp(&late(a)).then_with(|| a.episode.endpoint.cmp(&b.episode.endpoint)));
        let slowest = all.into_iter().take(SLOWEST).map(slow).collect();
        Self { delays, slowest, never: never as u64 }
    }
}

fn slow(delay: Delay<'_>) -> SlowEndpoint {
    let Delay { episode, low, high } = delay;
    let endpoint = &episode.endpoint;
    let seen = episode.dataplane.iter().flat_map(|observed| &observed.evidence);
    SlowEndpoint {
        endpoint: format!("{} {}:{}", endpoint.service, endpoint.address, endpoint.port),
        target: endpoint.target.clone(),
        low,
        high,
        evidence: episode.committed.evidence.iter().chain(seen).take(6).cloned().collect(),
    }
}

fn delays(run: &Run) -> Vec<Delay<'_>> {
    run.episodes
        .iter()
        .filter(|e| e.direction == Direction::Added && e.number == 0 && e.phase == Some(Phase::Action))
        .filter_map(|episode| {
            let [low, high] = delay(run, episode)?;
            Some(Delay { episode, low, high })
        })
        .collect()
}

/// From the commit of a change to the dataplane, moved by their clocks' offset, s: at least and at most, the latter null where it never
/// arrived. Nothing where it was not observed, or where the clocks are unrelated.
pub fn delay(run: &Run, episode: &Episode) -> Option<[Option<f64>; 2]> {
    if !matches!(episode.outcome, Outcome::Seen | Outcome::Never) {
        return None;
    }
    let dataplane = episode.dataplane.as_ref()?;
    let committed = &episode.committed;
    let offset = if committed.clock == dataplane.clock {
        Offset::ZERO
    } else {
        run.clocks
            .offset_within(&dataplane.clock, &committed.clock, dataplane.low, dataplane.high)
            .map(|back| Offset { low: -back.high, high: -back.low })?
    };
    let low = dataplane.low.zip(committed.high).map(|(d, c)| (d - c - offset.high) as f64 / 1e9);
    let high = match episode.outcome {
        Outcome::Seen => dataplane.high.zip(committed.low).map(|(d, c)| (d - c - offset.low) as f64 / 1e9),
        _ => None,
    };
    Some([low, high])
}

/// The envelope at so many nearest ranks: the share that never arrived stays.
fn thinned(delays: Vec<[Option<f64>; 2]>) -> Vec<[Option<f64>; 2]> {
    if delays.len() <= MOST_DELAYS {
        return delays;
    }
    let sorted = |at: usize, open: f64| {
        let mut ends: Vec<f64> = delays.iter().map(|delay| delay[at].unwrap_or(open)).collect();
        ends.sort_by(f64::total_cmp);
        let rank = |n: usize| ends[((n + 1) * ends.len()).div_ceil(MOST_DELAYS) - 1];
        (0..MOST_DELAYS).map(rank).map(|end| end.is_finite().then_some(end)).collect::<Vec<Option<f64>>>()
    };
    sorted(0, f64::NEG_INFINITY).into_iter().zip(sorted(1, f64::INFINITY)).map(|(low, high)| [low, high]).collect()
}

/// The widest bounds of a change that was seen, for each direction.
pub fn widest(run: &Run) -> BTreeMap<Direction, Widest> {
    let mut found: BTreeMap<Direction, Widest> = BTreeMap::new();
    for episode in run.episodes.iter().filter(|one| one.outcome == Outcome::Seen) {
        let Some(seen) = &episode.dataplane else { continue };
        let Some(look) = seen.low.zip(seen.high).map(|(low, high)| high - low) else { continue };
        let offset = run.clocks.offset_within(&seen.clock, &episode.committed.clock, seen.low, seen.high);
        let clock = offset.map_or(0, |offset| offset.high - offset.low);
        if found.get(&episode.direction).is_none_or(|known| look + clock > known.look + known.clock) {
            let widest = Widest { look, clock, seen: seen.clock.clone(), committed: episode.committed.clock.clone() };
            found.insert(episode.direction, widest);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_keeps_the_ends_and_the_share_that_never_arrived() {
        let all: Vec<[Option<f64>; 2]> =
            (0..10_000).map(|at| [Some(f64::from(at)), (at < 7_500).then_some(f64::from(at) + 1.0)]).collect();
        let thin = thinned(all);
        assert_eq!(thin.len(), MOST_DELAYS);
        assert_eq!(thin.iter().filter(|delay| delay[1].is_none()).count(), MOST_DELAYS / 4);
        assert_eq!(thin.last().unwrap()[0], Some(9_999.0));
        assert_eq!(thin[1_499][1], Some(7_500.0));
        let few = vec![[None, Some(1.0)]; 3];
        assert_eq!(thinned(few.clone()), few);
    }
}
