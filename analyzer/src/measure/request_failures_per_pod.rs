//! `request_failures_per_pod`: failed new connections for each pod that the action replaced, beyond the baseline's rate.
//!
//! A share of the attempts falls as the rollout grows longer, though no pod is replaced any better; this figure does not.
//! Main row: all failures; variant `without refusals`: a pod that ends at once on SIGTERM refuses, whatever the dataplane does.

use std::collections::BTreeSet;

use super::requests::{self, Tally};
use super::{Interval, Measurement};
use crate::events::{Direction, Phase, Run};
use crate::math::{Estimate, exact};

const NAME: &str = "request_failures_per_pod";

/// Both variants.
pub fn measure(run: &Run) -> Vec<Measurement> {
    let baseline = requests::tally(run, Phase::Baseline, "new");
    let action = requests::tally(run, Phase::Action, "new");
    let left = |tally: &Option<Tally>| tally.as_ref().map(Tally::without_refusals);
    vec![
        row(run, "", baseline.as_ref(), action.as_ref()),
        row(run, "without refusals", left(&baseline).as_ref(), left(&action).as_ref()),
    ]
}

/// Pods of the Service under test whose endpoint left in the action.
fn replaced(run: &Run) -> usize {
    let left = run.episodes.iter().filter(|one| {
        one.phase == Some(Phase::Action)
            && one.direction == Direction::Removed
            && run.service_under_test.as_ref().is_none_or(|service| *service == one.endpoint.service)
    });
    // Without a uid the address tells pods apart.
    let pod = |one: &crate::events::Episode| match one.endpoint.target_uid.as_str() {
        "" => one.endpoint.address.clone(),
        uid => uid.to_owned(),
    };
    left.map(pod).collect::<BTreeSet<_>>().len()
}

fn row(run: &Run, variant: &str, baseline: Option<&Tally>, action: Option<&Tally>) -> Measurement {
    let missing = |what: &str, remedy: &str| {
        let row = Measurement::missing(run, NAME, "1", what, remedy);
        Measurement { variant: variant.into(), ..row }
    };
    let (Some(before), Some(during)) = (baseline, action) else {
        return missing("no requests of a client in baseline and action", requests::REMEDY);
    };
    let pods = replaced(run);
    if pods == 0 {
        return missing(
            "no pod of the Service was replaced in the action",
            "Capture watches or audit events of EndpointSlices in a run that replaces pods.",
        );
    }
    let mut row = Measurement::new(run, NAME, "1");
    row.variant = variant.into();
    row.window = "action against baseline".into();
    row.statistic = "(failures − expected by the baseline's rate) / pods replaced".into();
    row.method =
        "failed new connections of the client over the pods whose endpoint left the Service; exact Poisson interval"
            .into();
    row.n = during.attempts;
    let background = before.failures_of_kinds_in(during);
    let share = during.attempts as f64 / before.attempts as f64;
    let each = 1.0 / pods as f64;
    row.estimate = Estimate::exact((during.failures as f64 - background as f64 * share) * each);
    let (low, high) = exact::poisson(during.failures, 0.95);
    // None in the baseline says that there is no background.
    let usual = if background == 0 { (0.0, 0.0) } else { exact::poisson(background, 0.95) };
    row.ci = Some(Interval { level: 0.95, low: (low - usual.1 * share) * each, high: (high - usual.0 * share) * each });
    for (name, value) in [
        ("pods_replaced", pods as f64),
        ("failures", during.failures as f64),
        ("attempts", during.attempts as f64),
        ("baseline_failures", background as f64),
        ("baseline_attempts", before.attempts as f64),
    ] {
        row.details.insert(name.into(), value);
    }
    row.notes.push(format!("{} failures of {} attempts, {pods} pods replaced.", during.failures, during.attempts));
    let failures = format!("count(*) FILTER (WHERE {})", requests::FAILED_SQL);
    row.evidence = requests::cite(run, Phase::Action, "new", &failures);
    let left = run.episodes.iter().find(|one| one.phase == Some(Phase::Action) && one.direction == Direction::Removed);
    row.evidence.extend(left.into_iter().flat_map(|one| one.committed.evidence.iter().take(1).cloned()));
    row
}
