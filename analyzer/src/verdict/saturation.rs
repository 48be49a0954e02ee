//! Load, by direction: what a saturated node can do to a figure, and which verdicts it could therefore have produced.
//!
//! ```text
//!   figure         a busy node can only   verdict says it is      so the verdict
//!   latency, loss  raise it               above the range         could be load: inconclusive
//!                                         inside or below         stands in spite of load
//!   CPU, rates     lower it               below the range         could be load: inconclusive
//!                                         above                   stands in spite of load
//!   memory, sizes  not touch it           anything                is never gated
//! ```
//!
//! Who waits for a CPU answers later and loses more, and gets less CPU time and does less a second. What a busy node does
//! beside that (caches, shared cores) is small against the claims and is not reasoned with. Two windows, or two sides, compare
//! where their loads are alike ([`ALIKE`], or both below [`FREE`]), or where the difference works against the conclusion. Waiting
//! grows long before a node is saturated, but what is done per second falls only where nothing is left ([`LOADED`]).

use super::catalogue::{Beyond, ClaimKind};
use super::figure::RunFigure;
use super::judge::Claim;
use super::reason::{Grown, Loaded, Moved, Reason};
use super::{RunResult, Status};
use crate::measure::Measurement;
use crate::measure::node_busy::LOADED;

/// Loads that differ by no more than this share of the node's CPU are alike.
pub const ALIKE: f64 = 0.1;
/// Below this share there is a free CPU for nearly everything that becomes ready: such loads are alike too.
pub const FREE: f64 = 0.5;

const PHASES: [&str; 3] = ["baseline", "action", "tail"];

/// What a saturated node can do to a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Make it greater: whatever waits.
    Raises,
    /// Make it smaller: whatever is done per second, CPU time among it.
    Lowers,
    /// Either, so that no verdict stands: ratios of such things, and what is not known here.
    Either,
    /// Nothing: sizes.
    Nothing,
}

/// Measurements by what load does to them.
const EFFECTS: [(&str, Effect); 34] = [
    ("api_processing_time", Effect::Raises),
    ("backends_delta", Effect::Nothing),
    ("connection_setup_time", Effect::Raises),
    ("convergence_time", Effect::Raises),
    ("cpu_baseline", Effect::Lowers),
    ("cpu_event", Effect::Lowers),
    ("cpu_excess_seconds", Effect::Lowers),
    ("cpu_increase_points", Effect::Lowers),
    ("cpu_increase_ratio", Effect::Lowers),
    ("endpoint_propagation", Effect::Raises),
    ("endpoint_regeneration_time", Effect::Raises),
    ("endpoint_removal", Effect::Raises),
    ("forward_rate_ratio", Effect::Lowers),
    ("impact_duration", Effect::Raises),
    ("late_regenerations", Effect::Raises),
    ("lookup_time", Effect::Raises),
    ("map_ops_rate", Effect::Lowers),
    ("memory_bytes", Effect::Nothing),
    ("memory_per_service", Effect::Nothing),
    ("packet_cost", Effect::Raises),
    ("packet_loss_ratio", Effect::Raises),
    // Counted against changes of endpoints, which wait as well.
    ("programming_observations", Effect::Either),
    ("reconciler_duration", Effect::Raises),
    ("recovery_time", Effect::Raises),
    ("request_failure_ratio", Effect::Raises),
    ("request_failures_per_pod", Effect::Raises),
    ("request_latency_ratio", Effect::Raises),
    ("restore_failures", Effect::Raises),
    // Changes that wait for a sync come together in one.
    ("rules_rewritten_per_change", Effect::Raises),
    ("rules_total", Effect::Nothing),
    ("settle_time", Effect::Raises),
    ("sync_duration", Effect::Raises),
    ("sync_rate", Effect::Lowers),
    ("sync_share", Effect::Raises),
];

/// Of counts of syncs: longer ones count, fewer are made.
const SPIKES: &str = "sync_spikes";

/// What load does to a statistic of a measurement, named as verdicts name it (`endpoint_propagation max`). Unknown ones: either.
pub fn effect(named: &str) -> Effect {
    let (name, statistic) = named.split_once(' ').unwrap_or((named, ""));
    if name.starts_with("alert:") || name == SPIKES {
        return Effect::Raises;
    }
    let of_name = EFFECTS.iter().find(|(known, _)| *known == name).map_or(Effect::Either, |(_, effect)| *effect);
    match statistic {
        // A number of things done in a window.
        "n" if of_name == Effect::Raises => Effect::Lowers,
        // Of a quotient of two latencies either may have grown more.
        quotient if quotient.contains('/') && of_name != Effect::Nothing => Effect::Either,
        _ => of_name,
    }
}

/// Share of the node's CPU that was busy in a phase: measurement `node_busy`, one variant a phase, without niced time.
pub fn busy(result: &RunResult, phase: &str) -> Option<f64> {
    result
        .measurements
        .iter()
        .find(|m| m.name == "node_busy" && m.variant == phase && m.missing.is_none())
        .and_then(|m| m.estimate.value)
}

/// Share of the node's CPU that was busy while something was measured: of the phases that its window names the busiest, of
/// all phases where it names none.
fn during(result: &RunResult, measurement: &Measurement) -> Option<f64> {
    let named = |phase: &&&str| measurement.window.contains(**phase);
    let any = PHASES.iter().any(|phase| named(&phase));
    PHASES.iter().filter(|phase| !any || named(phase)).filter_map(|phase| busy(result, phase)).max_by(f64::total_cmp)
}

/// Load while something was measured, and, where two windows are compared, in the window that it is compared with.
pub fn of_figure(result: &RunResult, measurement: &Measurement) -> (Option<f64>, Option<f64>) {
    let other = measurement.window.strip_prefix("action against ").filter(|other| PHASES.contains(other));
    match other {
        Some(other) => (busy(result, "action"), busy(result, other)),
        None => (during(result, measurement), None),
    }
}

/// Whether two loads are alike for what load does to a figure.
fn alike(effect: Effect, a: f64, b: f64) -> bool {
    let spare = if effect == Effect::Lowers { LOADED } else { FREE };
    (a - b).abs() <= ALIKE || a.max(b) <= spare
}

/// What load may have done to a figure: each with the run and the loads that show it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pressure {
    /// It may be too high.
    pub raised: Option<Loaded>,
    /// It may be too low.
    pub lowered: Option<Loaded>,
}

impl Pressure {
    /// `more`: the figure's own load is the greater one (or there is no other).
    fn add(&mut self, effect: Effect, more: bool, loaded: Loaded) {
        let (raises, lowers) = match effect {
            Effect::Nothing => return,
            Effect::Either => (true, true),
            Effect::Raises => (more, !more),
            Effect::Lowers => (!more, more),
        };
        for (wanted, held) in [(raises, &mut self.raised), (lowers, &mut self.lowered)] {
            if wanted && held.as_ref().is_none_or(|held| loaded.apart() > held.apart()) {
                *held = Some(loaded.clone());
            }
        }
    }
}

/// What load may have done to the figures of a group's runs.
pub fn pressure(effect: Effect, figures: &[RunFigure]) -> Pressure {
    let mut found = Pressure::default();
    for one in figures.iter().filter(|one| one.left_out.is_none()) {
        match (one.busy, one.against_busy) {
            (Some(action), Some(other)) if !alike(effect, action, other) => {
                found.add(effect, action > other, Loaded::Windows { run: one.run.to_string(), other, action });
            }
            (Some(busy), None) if busy > LOADED => {
                found.add(effect, true, Loaded::While { run: one.run.to_string(), busy });
            }
            _ => {}
        }
    }
    found
}

/// Least and greatest load of figures that count, with the runs.
fn ends<'a>(figures: impl IntoIterator<Item = &'a RunFigure>) -> Option<[(f64, &'a str); 2]> {
    let mut known: Vec<(f64, &str)> = figures
        .into_iter()
        .filter(|one| one.left_out.is_none())
        .filter_map(|one| Some((one.busy?, one.run.as_str())))
        .collect();
    known.sort_by(|a, b| a.0.total_cmp(&b.0));
    Some([*known.first()?, *known.last()?])
}

/// What load may have done to a figure of `over` divided by (or less) one of `under`.
pub fn of_ratio<'a>(
    effect: Effect,
    over: impl IntoIterator<Item = &'a RunFigure>,
    under: impl IntoIterator<Item = &'a RunFigure>,
) -> Pressure {
    let mut found = Pressure::default();
    let (Some(over), Some(under)) = (ends(over), ends(under)) else { return found };
    // Each side's least against the other's greatest load, both ways.
    for (a, b) in [(over[1], under[0]), (over[0], under[1])] {
        if !alike(effect, a.0, b.0) {
            let named = |one: (f64, &str)| (one.1.to_owned(), one.0);
            let (less, more) = if a.0 < b.0 { (a, b) } else { (b, a) };
            let loaded = Loaded::Sides { less: named(less), more: named(more) };
            found.add(effect, a.0 > b.0, loaded);
        }
    }
    found
}

/// Whether one side can be said to have the lower figure: the load that could have made it so, if any.
pub fn could_have_parted<'a>(
    measurement: &str,
    lower: impl IntoIterator<Item = &'a RunFigure>,
    higher: impl IntoIterator<Item = &'a RunFigure>,
) -> Option<Loaded> {
    // Higher over lower: a ratio that load may have raised.
    of_ratio(effect(measurement), higher, lower).raised
}

/// The verdict with load weighed: one that load could have produced is inconclusive; one reached in spite of it stands, and says so.
pub fn weigh(status: Status, reason: Reason, claim: &Claim, pressure: &Pressure) -> (Status, Reason) {
    if !matches!(status, Status::Holds | Status::Better | Status::Worse) {
        return (status, reason);
    }
    let found = side(&reason, status);
    // What the true figure might say instead, if it is lower (or higher) than the measured one.
    let by_raising = match found {
        Side::Above => true,
        Side::Inside => claim.low.is_some() && claim.beyond_low == Beyond::Worse,
        Side::Below | Side::Whatever => false,
    };
    let by_lowering = match found {
        Side::Below => true,
        Side::Inside => {
            let can_fail = claim.high.is_some() || matches!(claim.kind, ClaimKind::Zero | ClaimKind::Alert);
            can_fail && claim.beyond_high == Beyond::Worse
        }
        Side::Above | Side::Whatever => false,
    };
    let producer = pressure.raised.as_ref().filter(|_| by_raising).map(|loaded| (loaded, Moved::Raised)).or(pressure
        .lowered
        .as_ref()
        .filter(|_| by_lowering)
        .map(|loaded| (loaded, Moved::Lowered)));
    if let Some((loaded, moved)) = producer {
        let reason = Reason::Load { loaded: loaded.clone(), moved, otherwise: Some(Box::new(reason)) };
        return (Status::Inconclusive, reason);
    }
    let (loaded, moved) = match (&pressure.raised, &pressure.lowered, found) {
        (_, _, Side::Whatever) | (None, None, _) => return (status, reason),
        (Some(loaded), _, _) => (loaded.clone(), Moved::Raised),
        (None, Some(loaded), _) => (loaded.clone(), Moved::Lowered),
    };
    (status, Reason::InSpiteOfLoad { loaded, moved, reason: Box::new(reason) })
}

/// Where a verdict puts the figure against the claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Below,
    Inside,
    Above,
    /// It cannot fail, whatever the figure.
    Whatever,
}

fn side(reason: &Reason, status: Status) -> Side {
    match reason.core() {
        Reason::CannotFail => Side::Whatever,
        Reason::Below | Reason::Flat | Reason::Growth(Grown::DoesNotGrow) => Side::Below,
        Reason::Above | Reason::Growth(Grown::Grows) | Reason::Excess | Reason::Fired => Side::Above,
        _ if status == Status::Worse => Side::Above,
        _ => Side::Inside,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Catalogue;
    use crate::verdict::catalogue::Direction;
    use crate::verdict::judge::{Figure, judge};

    fn figure(busy: f64, against: Option<f64>) -> RunFigure {
        RunFigure { run: "a".into(), busy: Some(busy), against_busy: against, ..RunFigure::default() }
    }

    fn verdict(effect: Effect, value: f64, figures: &[RunFigure]) -> (Status, Reason) {
        let claim = Claim::new(ClaimKind::Range, Some(1.0), Some(5.0), Direction::Lower);
        let measured = Figure { value: Some(value), low: Some(value), high: Some(value), n: 9, ..Figure::default() };
        let (status, reason) = judge(&measured, &claim);
        weigh(status, reason, &claim, &pressure(effect, figures))
    }

    #[test]
    fn load_that_can_only_lengthen_spares_what_is_short() {
        let loaded = [figure(0.97, None)];
        for (value, status) in [(0.5, Status::Better), (3.0, Status::Holds), (9.0, Status::Inconclusive)] {
            let (found, reason) = verdict(Effect::Raises, value, &loaded);
            assert_eq!(found, status, "{value}");
            assert_eq!(reason.is_load(), status == Status::Inconclusive, "{reason}");
            assert_eq!(reason.to_string().contains("in spite of load"), status != Status::Inconclusive, "{reason}");
        }
        // Where nothing is loaded, nothing is said.
        assert_eq!(verdict(Effect::Raises, 9.0, &[figure(0.9, None)]), (Status::Worse, Reason::Above));
    }

    #[test]
    fn cpu_held_back_by_load_is_no_sign_of_thrift() {
        let loaded = [figure(0.97, None)];
        // Inside: the true use may lie above the range, and that would be worse.
        for (value, status) in [(0.5, Status::Inconclusive), (3.0, Status::Inconclusive), (9.0, Status::Worse)] {
            assert_eq!(verdict(Effect::Lowers, value, &loaded).0, status, "{value}");
        }
        for value in [0.5, 3.0, 9.0] {
            assert!(!verdict(Effect::Nothing, value, &loaded).1.is_load());
            assert!(verdict(Effect::Either, value, &loaded).1.is_load(), "{value}");
        }
    }

    #[test]
    fn windows_compare_where_they_are_alike_or_the_difference_works_against_the_conclusion() {
        let worse = |action, baseline| verdict(Effect::Raises, 9.0, &[figure(action, Some(baseline))]).0;
        assert_eq!(worse(0.95, 0.90), Status::Worse);
        assert_eq!(worse(0.84, 0.26), Status::Inconclusive);
        assert_eq!(worse(0.92, 0.75), Status::Inconclusive);
        assert_eq!(worse(0.45, 0.05), Status::Worse, "a free CPU in both");
        assert_eq!(
            worse(0.26, 0.84),
            Status::Worse,
            "the baseline was the slower window, and the ratio is high all the same"
        );
        let thrift = |action| verdict(Effect::Lowers, 0.5, &[figure(action, Some(0.35))]).0;
        assert_eq!(
            (thrift(0.88), thrift(0.98)),
            (Status::Better, Status::Inconclusive),
            "held back only where nothing is left"
        );
        let better = |action, baseline| verdict(Effect::Raises, 0.5, &[figure(action, Some(baseline))]).0;
        assert_eq!(better(0.84, 0.26), Status::Better);
        assert_eq!(better(0.26, 0.84), Status::Inconclusive);
    }

    #[test]
    fn sides_compare_by_direction() {
        let (quiet, loaded) = ([figure(0.3, None)], [figure(0.97, None)]);
        let parted = |name: &str, lower: &[RunFigure], higher: &[RunFigure]| could_have_parted(name, lower, higher);
        assert!(parted("endpoint_propagation max", &quiet, &loaded).is_some());
        assert!(parted("endpoint_propagation max", &loaded, &quiet).is_none(), "shorter in spite of load");
        assert!(parted("cpu_baseline value", &loaded, &quiet).is_some());
        assert!(parted("cpu_baseline value", &quiet, &loaded).is_none());
        assert!(
            parted("memory_bytes value", &quiet, &loaded).is_none()
                && parted("memory_bytes value", &loaded, &quiet).is_none()
        );
        let out = RunFigure { left_out: Some("few".to_owned()), ..figure(0.97, None) };
        assert!(parted("endpoint_propagation max", &quiet, &[figure(0.35, None), out]).is_none());
    }

    #[test]
    fn what_load_does_is_stated_for_all_that_the_catalogue_reads() {
        for row in Catalogue::built_in().unwrap().rows {
            for reading in row.readings {
                let name = reading.measurement.as_str();
                let known = EFFECTS.iter().any(|(known, _)| *known == name)
                    || name.starts_with("alert:")
                    // Seconds of syncing, or map operations, per change: syncs grow longer and fewer.
                    || matches!(name, SPIKES | "update_work");
                assert!(known, "{}: {name}", row.id);
            }
        }
        assert_eq!(effect("reconciler_duration n"), Effect::Lowers);
        assert_eq!(effect("reconciler_duration p95/p50"), Effect::Either);
        assert_eq!(effect("reconciler_duration p95"), Effect::Raises);
        assert_eq!(effect("of my own"), Effect::Either);
    }
}
