//! Load: of two windows, or two runs, of which only one ran on a saturated node, a comparison says nothing.

use super::catalogue::Row;
use super::figure::RunFigure;
use super::judge::Status;
use super::{Reason, RunResult, Verdict};
use crate::measure::Measurement;
use crate::measure::node_busy::LOADED;

const PHASES: [&str; 3] = ["baseline", "action", "tail"];

/// Share of the node's CPU that was busy in a phase: measurement `node_busy`, one variant a phase.
pub fn busy(result: &RunResult, phase: &str) -> Option<f64> {
    result
        .measurements
        .iter()
        .find(|m| m.name == "node_busy" && m.variant == phase && m.missing.is_none())
        .and_then(|m| m.estimate.value)
}

/// Share of the node's CPU that was busy while something was measured: of the phases that its window names the busiest, of
/// all phases where it names none.
pub fn during(result: &RunResult, measurement: &Measurement) -> Option<f64> {
    let named = |phase: &&&str| measurement.window.contains(**phase);
    let any = PHASES.iter().any(|phase| named(&phase));
    PHASES.iter().filter(|phase| !any || named(phase)).filter_map(|phase| busy(result, phase)).max_by(f64::total_cmp)
}

/// Why figures do not compare: some were measured on a saturated node, others were not. `None` where that is not known.
pub fn apart<'a>(figures: impl IntoIterator<Item = &'a RunFigure>) -> Option<String> {
    let mut known: Vec<(f64, &str)> = figures
        .into_iter()
        .filter(|one| one.left_out.is_none())
        .filter_map(|one| Some((one.busy?, one.run.as_str())))
        .collect();
    known.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (least, most) = (known.first()?, known.last()?);
    (least.0 <= LOADED && most.0 > LOADED).then(|| {
        format!(
            "the node's CPU was {:.0} % busy in {} and {:.0} % in {} when this was measured, so the two do not compare",
            least.0 * 100.0,
            least.1,
            most.0 * 100.0,
            most.1
        )
    })
}

/// A comparison of two windows of a run of which only one ran on a saturated node cannot be judged.
pub fn windows(row: &Row, runs: &[&RunResult], verdict: &mut Verdict) {
    if !row.two_windows || verdict.status == Status::NotMeasured {
        return;
    }
    for result in runs {
        let [baseline, action] = ["baseline", "action"].map(|phase| busy(result, phase));
        if let (Some(b), Some(a)) = (baseline, action)
            && (b > LOADED) != (a > LOADED)
        {
            verdict.status = Status::Inconclusive;
            let words = format!(
                "the node's CPU was {:.0} % busy in the baseline and {:.0} % in the action of {}, so the two windows do not compare",
                b * 100.0,
                a * 100.0,
                result.run.name
            );
            verdict.reason = Reason::Load { words, otherwise: Some(Box::new(verdict.reason.clone())) };
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(run: &str, busy: Option<f64>) -> RunFigure {
        RunFigure { run: run.to_owned(), busy, ..RunFigure::default() }
    }

    #[test]
    fn runs_compare_where_all_or_none_were_loaded() {
        let reason = |all: &[RunFigure]| apart(all);
        assert_eq!(reason(&[figure("a", Some(0.5)), figure("b", Some(0.9))]), None);
        assert_eq!(reason(&[figure("a", Some(0.95)), figure("b", Some(0.99))]), None);
        assert_eq!(reason(&[figure("a", Some(0.95)), figure("b", None)]), None, "unknown");
        let apart = reason(&[figure("a", Some(0.97)), figure("b", Some(0.69))]).unwrap();
        assert!(apart.contains("69 % busy in b and 97 % in a"), "{apart}");
        let out = RunFigure { left_out: Some("few".to_owned()), ..figure("b", Some(0.69)) };
        assert_eq!(reason(&[figure("a", Some(0.97)), out]), None);
    }
}
