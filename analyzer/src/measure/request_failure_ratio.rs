//! `request_failure_ratio`: failed requests over attempts, by window and kind of connection.
//!
//! | variant | what |
//! |---|---|
//! | (none) | new connections in the action |
//! | `excess` | the same, less the share that fails in the baseline by the kinds seen in the action |
//! | `without refusals` | refusals left out: a pod that ends at once on SIGTERM refuses, whatever the dataplane does |
//! | `excess without refusals` | both |
//! | `baseline`, `tail` | new connections there |
//! | `keepalive` | requests on connections kept alive, in the action |

use super::requests::{self, Tally};
use super::{Interval, Measurement};
use crate::events::{Phase, Run};
use crate::math::{Estimate, exact, interval};

/// All variants.
pub fn measure(run: &Run) -> Vec<Measurement> {
    let baseline = requests::tally(run, Phase::Baseline, "new");
    let action = requests::tally(run, Phase::Action, "new");
    let tail = requests::tally(run, Phase::Tail, "new");
    let kept = requests::tally(run, Phase::Action, "keepalive");
    let left = |tally: &Option<Tally>| tally.as_ref().map(Tally::without_refusals);
    let without = left(&action);
    let mut found = vec![proportion(run, "", "action", action.clone())];
    found.push(excess(run, "excess", baseline.clone(), action));
    let mut rows = [
        proportion(run, "without refusals", "action", without.clone()),
        excess(run, "excess without refusals", left(&baseline), without),
    ];
    for row in &mut rows {
        row.notes.push(
            "Refused connections are left out: they are what a pod without a preStop delay answers between SIGTERM and its removal from the dataplane.".into(),
        );
    }
    found.extend(rows);
    found.push(proportion(run, "baseline", "baseline", baseline));
    found.push(proportion(run, "tail", "tail", tail));
    found.push(proportion(run, "keepalive", "action", kept));
    for row in &mut found {
        evidence(run, row);
    }
    found
}

fn proportion(run: &Run, variant: &str, window: &str, tally: Option<Tally>) -> Measurement {
    let mut row = Measurement::new(run, "request_failure_ratio", "ratio");
    row.variant = variant.into();
    row.window = window.into();
    row.statistic = "ratio".into();
    let Some(tally) = tally else {
        return Measurement { variant: variant.into(), window: window.into(), ..absent(run) };
    };
    row.n = tally.attempts;
    row.estimate = Estimate::exact(tally.failures as f64 / tally.attempts as f64);
    row.ci = interval::wilson(tally.failures, tally.attempts).map(|(low, high)| Interval { level: 0.95, low, high });
    row.method =
        "requests of the client that failed (an error, a 5xx answer, or none), by the window in which they were sent"
            .into();
    for (name, value) in [
        ("attempts", tally.attempts),
        ("failures", tally.failures),
        ("refused", tally.refused),
        ("timeouts", tally.timeouts),
    ] {
        row.details.insert(name.into(), value as f64);
    }
    for (kind, n) in &tally.kinds {
        row.details.insert(format!("failures: {kind}"), *n as f64);
    }
    if let Some(upper) = exact::proportion_upper(tally.failures, tally.attempts, 0.95) {
        row.details.insert("upper95".into(), upper);
    }
    row
}

/// Share of failures above the baseline's share, with Newcombe's interval.
fn excess(run: &Run, variant: &str, baseline: Option<Tally>, action: Option<Tally>) -> Measurement {
    let (Some(before), Some(during)) = (baseline, action) else {
        return Measurement { variant: variant.into(), window: "action against baseline".into(), ..absent(run) };
    };
    // A kind that the action did not show cannot speak for what it did.
    let background = before.failures_of_kinds_in(&during);
    let mut row = proportion(run, variant, "action against baseline", Some(during.clone()));
    let share = |failures: u64, attempts: u64| failures as f64 / attempts as f64;
    row.estimate = Estimate::exact(share(during.failures, during.attempts) - share(background, before.attempts));
    row.statistic = "difference of ratios".into();
    row.ci = interval::newcombe((during.failures, during.attempts), (background, before.attempts))
        .map(|(low, high)| Interval { level: 0.95, low, high });
    row.details.insert("baseline_attempts".into(), before.attempts as f64);
    row.details.insert("baseline_failures".into(), background as f64);
    row.details.insert("baseline_failures_of_other_kinds".into(), (before.failures - background) as f64);
    row
}

fn absent(run: &Run) -> Measurement {
    Measurement::missing(
        run,
        "request_failure_ratio",
        "ratio",
        "no requests of a client in this window",
        requests::REMEDY,
    )
}

/// The first failures of the window, by line; then all attempts, as a range.
fn evidence(run: &Run, row: &mut Measurement) {
    if row.missing.is_some() {
        return;
    }
    let phase = match row.window.as_str() {
        "baseline" => Phase::Baseline,
        "tail" => Phase::Tail,
        _ => Phase::Action,
    };
    let kind = if row.variant == "keepalive" { "keepalive" } else { "new" };
    for clock in requests::clocks(run) {
        let Some(window) = run.window(phase, &clock) else { continue };
        for failure in
            requests::failures(run, &clock, window.start, window.end).iter().filter(|f| f.kind == kind).take(5)
        {
            let text = failure.error.as_deref().unwrap_or("failed");
            row.evidence.push(run.evidence(failure.source, failure.record, text));
        }
    }
    let share = format!("1.0 * count(*) FILTER (WHERE {}) / count(*)", requests::FAILED_SQL);
    row.evidence.extend(requests::cite(run, phase, kind, &share));
    if row.variant.starts_with("excess") {
        row.evidence.extend(requests::cite(run, Phase::Baseline, kind, &share));
    }
}
