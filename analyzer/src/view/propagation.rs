//! Propagation: quantiles per run, and the slowest endpoints.

use serde::Serialize;

use super::chart::Chart;
use super::{dataplane_name, number};
use crate::events::{Direction, Episode, Outcome, Phase, Run};
use crate::verdict::RunResult;

/// The section.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Propagation {
    pub chart: Option<Chart>,
    pub quantiles: Vec<QuantileRow>,
    pub slowest: Vec<SlowRow>,
}

/// Quantiles of one run.
#[derive(Clone, Debug, Serialize)]
pub struct QuantileRow {
    pub run: String,
    pub dataplane: String,
    pub n: String,
    pub never: String,
    pub p50: String,
    pub p90: String,
    pub p95: String,
    pub p99: String,
    pub max: String,
}

/// One slow endpoint.
#[derive(Clone, Debug, Serialize)]
pub struct SlowRow {
    pub run: String,
    pub endpoint: String,
    pub target: String,
    pub delay: String,
    pub evidence: Vec<String>,
}

/// Delay of one endpoint, s.
#[derive(Clone, Debug)]
pub struct Delay<'a> {
    pub episode: &'a Episode,
    pub low: Option<f64>,
    /// Null where it never arrived.
    pub high: Option<f64>,
}

/// Delays of the first additions in the action, moved by the clocks' offsets. Empty where the clocks are unrelated.
pub fn delays(run: &Run) -> Vec<Delay<'_>> {
    run.episodes
        .iter()
        .filter(|e| e.direction == Direction::Added && e.number == 0 && e.phase == Some(Phase::Action))
        .filter(|e| matches!(e.outcome, Outcome::Seen | Outcome::Never))
        .filter_map(|episode| {
            let dataplane = episode.dataplane.as_ref()?;
            let committed = &episode.committed;
            let offset = if committed.clock == dataplane.clock {
                crate::clock::Offset::ZERO
            } else {
                run.clocks
                    .offset_within(&dataplane.clock, &committed.clock, dataplane.low, dataplane.high)
                    .map(|back| crate::clock::Offset { low: -back.high, high: -back.low })?
            };
            let low = dataplane.low.zip(committed.high).map(|(d, c)| (d - c - offset.high) as f64 / 1e9);
            let high = match episode.outcome {
                Outcome::Seen => dataplane.high.zip(committed.low).map(|(d, c)| (d - c - offset.low) as f64 / 1e9),
                _ => None,
            };
            Some(Delay { episode, low, high })
        })
        .collect()
}

/// Builds the section.
pub fn build(runs: &[RunResult<'_>], chart: Option<Chart>) -> Propagation {
    let mut section = Propagation { chart, ..Propagation::default() };
    for result in runs {
        let run = result.run;
        for m in result.measurements.iter().filter(|m| m.name == "endpoint_propagation" && m.missing.is_none()) {
            let quantile = |q: &str| {
                m.quantiles
                    .get(q)
                    .map_or_else(|| "–".to_owned(), |e| number::interval(e.low, e.high, "s", number::Show::Unit))
            };
            let never =
                run.episodes.iter().filter(|e| e.outcome == Outcome::Never && e.direction == Direction::Added).count();
            let name = if m.variant.is_empty() { run.name.clone() } else { format!("{}, {}", run.name, m.variant) };
            section.quantiles.push(QuantileRow {
                run: name,
                dataplane: dataplane_name(&run.dataplane),
                n: number::count(m.n),
                never: number::count(never as u64),
                p50: quantile("p50"),
                p90: quantile("p90"),
                p95: quantile("p95"),
                p99: quantile("p99"),
                max: quantile("max"),
            });
        }
        section.slowest.extend(slowest(run));
    }
    section
}

/// The three slowest of a run.
fn slowest(run: &Run) -> Vec<SlowRow> {
    let mut all = delays(run);
    all.sort_by(|a, b| {
        let key = |d: &Delay<'_>| d.high.unwrap_or(f64::INFINITY);
        key(b).total_cmp(&key(a)).then_with(|| a.episode.endpoint.cmp(&b.episode.endpoint))
    });
    all.into_iter()
        .take(3)
        .map(|d| SlowRow {
            run: run.name.clone(),
            endpoint: format!(
                "{} {}:{}",
                d.episode.endpoint.service, d.episode.endpoint.address, d.episode.endpoint.port
            ),
            target: d.episode.endpoint.target.clone(),
            delay: number::interval(d.low, d.high, "s", number::Show::Unit),
            evidence: d
                .episode
                .committed
                .evidence
                .iter()
                .chain(d.episode.dataplane.iter().flat_map(|o| &o.evidence))
                .take(6)
                .map(super::rows::evidence_line)
                .collect(),
        })
        .collect()
}
