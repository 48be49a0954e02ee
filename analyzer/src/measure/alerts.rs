//! The documented alert rules, evaluated over the capture with their `for:`.
//!
//! The figure is 0 where the expression never exceeded its threshold, 1 where it did so for all of `for:`, and the
//! longest stretch as a share of `for:` in between. Where the quantile has no value at all (no observations), nothing
//! was judged and the measurement is missing: silence is no proof.

use std::collections::HashSet;

use syncline_promql::{AlertRange, MemoryStorage, Options, Value, alert, parse, range};

use super::{Measurement, Missing, THIS_RUN, could_have_shown};
use crate::bundle::witnesses;
use crate::events::metric_names::absence;
use crate::events::{Phase, Run};
use crate::math::{Estimate, Named};

/// One documented rule in its sound form; a test holds it against the catalogue's.
pub(crate) struct Rule {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// Dataplanes that it speaks of begin with this.
    dataplane: &'static str,
    metric: &'static str,
    quantile: &'static str,
    pub(crate) threshold: f64,
    pub(crate) hold_seconds: i64,
}

pub(crate) const RULES: [Rule; 2] = [
    Rule {
        name: "alert:AL1",
        title: "CiliumEndpointUpdateSlow",
        dataplane: "cilium",
        metric: "cilium_endpoint_regeneration_time_stats_seconds_bucket",
        quantile: "histogram_quantile(0.95, rate(cilium_endpoint_regeneration_time_stats_seconds_bucket{scope=\"total\"}[1m]))",
        threshold: 0.1,
        hold_seconds: 300,
    },
    Rule {
        name: "alert:AL2",
        title: "KubeProxySyncTooSlow",
        dataplane: "kube-proxy",
        metric: "kubeproxy_sync_proxy_rules_duration_seconds_bucket",
        quantile: "histogram_quantile(0.95, rate(kubeproxy_sync_proxy_rules_duration_seconds_bucket[1m]))",
        threshold: 5.0,
        hold_seconds: 120,
    },
];

/// Milliseconds between evaluations.
const STEP: i64 = 1_000;

/// `alert:AL1` and `alert:AL2`, each where it speaks of the run's dataplane.
pub fn measure(run: &Run) -> Vec<Measurement> {
    RULES.iter().filter(|rule| run.dataplane.starts_with(rule.dataplane)).map(|rule| evaluate(run, rule)).collect()
}

fn evaluate(run: &Run, rule: &Rule) -> Measurement {
    let blank = Measurement {
        run: run.name.clone().into(),
        name: rule.name.into(),
        unit: "ratio".into(),
        statistic: "longest stretch above the threshold / for:".into(),
        window: "run".into(),
        method: format!(
            "{} > {}, every second over the capture, for: {} s",
            rule.quantile, rule.threshold, rule.hold_seconds
        )
        .into(),
        ..Measurement::default()
    };
    match attempt(run, rule) {
        Ok(Some(found)) if found.covers => found.into_measurement(rule, blank),
        Ok(Some(found)) => {
            let what = format!(
                "{} was captured, but not over the whole action: what the rule did in the rest is not known (it had a value at {} steps)",
                rule.metric, found.valued
            );
            missing(blank, what)
        }
        Ok(None) => {
            let why =
                absence(rule.metric, &run.dataplane, &run.facts).map_or_else(String::new, |why| format!(": {why}"));
            missing(blank, format!("no value of {} over the whole capture{why}", rule.metric))
        }
        Err(error) => missing(blank, format!("{}: {error:#}", rule.metric)),
    }
}

fn missing(blank: Measurement, what: String) -> Measurement {
    let remedy = "scrape the agent's or proxy's /metrics every second into a stream with `# SCRAPE` stamps, over a run with changes";
    Measurement { missing: Some(Missing { what, remedy: remedy.to_owned() }), ..blank }
}

/// What the evaluation found.
struct Found {
    /// Evaluations with a value.
    valued: usize,
    highest: f64,
    longest_ms: i64,
    fired: bool,
    span_ms: i64,
    /// Whether the samples reach over the action: a rule that nothing was evaluated for did not stay silent.
    covers: bool,
    evidence: Vec<crate::clock::Evidence>,
    notes: Vec<String>,
}

fn attempt(run: &Run, rule: &Rule) -> anyhow::Result<Option<Found>> {
    let wanted: HashSet<String> = [rule.metric.to_owned()].into();
    let chosen = witnesses::choose(&run.bundle, Some(&wanted))?;
    let evidence =
        chosen.first().map(|one| run.evidence(one.row.source, one.row.record, rule.metric)).into_iter().collect();
    let series = witnesses::series(&run.bundle, Some(&wanted), None)?;
    let first = series.iter().filter_map(|one| one.times.first().copied()).min();
    let last = series.iter().filter_map(|one| one.times.last().copied()).max();
    let (Some(first), Some(last)) = (first, last) else { return Ok(None) };
    let action = chosen.first().and_then(|one| run.window(Phase::Action, &one.row.clock));
    let times = series.iter().map(|one| &one.times).max_by_key(|times| times.len());
    let times: Vec<i64> = times.into_iter().flat_map(|times| times.iter()).map(|ms| ms * 1_000_000).collect();
    let covers = action.is_none_or(|window| could_have_shown::covers(&times, &window, None));
    let storage = MemoryStorage::new(series);
    let options = Options::default();
    let quantile = range(&storage, &parse(rule.quantile)?, first, last, STEP, &options)?;
    let Value::Matrix(values) = &quantile.value else { return Ok(None) };
    let numbers: Vec<f64> = values
        .iter()
        .flat_map(|one| one.floats.iter().map(|(_, value)| *value))
        .filter(|value| !value.is_nan())
        .collect();
    if numbers.is_empty() {
        return Ok(None);
    }
    let exceeding = parse(&format!("{} > {}", rule.quantile, rule.threshold))?;
    let times = AlertRange { start: first, end: last, step: STEP };
    let history = alert(&storage, &exceeding, rule.hold_seconds * 1_000, times, &options)?;
    // An evaluation stands for the step behind it: one alone is a stretch of a step, not of nothing.
    let longest_ms = history.intervals.iter().map(|one| one.last - one.pending + STEP).max().unwrap_or(0);
    Ok(Some(Found {
        valued: numbers.len(),
        highest: numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        longest_ms,
        fired: history.intervals.iter().any(|one| one.firing.is_some()),
        span_ms: last - first,
        covers,
        evidence,
        notes: history.warnings.into_iter().chain(history.infos).collect(),
    }))
}

impl Found {
    fn into_measurement(self, rule: &Rule, blank: Measurement) -> Measurement {
        let hold = (rule.hold_seconds * 1_000) as f64;
        let share = if self.fired { 1.0 } else { (self.longest_ms as f64 / hold).min(0.999) };
        let mut notes = self.notes;
        notes.push(format!(
            "{}: the quantile was {:.3} s at most (threshold {} s) and stayed above it for {:.0} s at most, of {} s that for: asks.",
            THIS_RUN,
            self.highest,
            rule.threshold,
            self.longest_ms as f64 / 1e3,
            rule.hold_seconds
        ));
        if (self.span_ms as f64) < hold {
            notes.push(format!(
                "The capture of {} is {:.0} s long, shorter than the rule's for: of {} s: {} could not have fired.",
                THIS_RUN,
                self.span_ms as f64 / 1e3,
                rule.hold_seconds,
                rule.title
            ));
        }
        let details = Named::from([
            ("highest quantile (s)".to_owned(), self.highest),
            ("longest stretch above (s)".to_owned(), self.longest_ms as f64 / 1e3),
            ("evaluations with a value".to_owned(), self.valued as f64),
        ]);
        let exact = Estimate { value: Some(share), low: Some(share), high: Some(share) };
        Measurement { n: self.valued as u64, estimate: exact, evidence: self.evidence, notes, details, ..blank }
    }
}
