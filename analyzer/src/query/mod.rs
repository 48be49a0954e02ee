//! Expressions over a run, answered phase by phase.
//!
//! An answer is shown beside a verdict, it does not decide: what decides is a measurement. A range query over the whole
//! run, a step a second, is cut into the run's phases; of several series the largest value at each step counts. What a reader must know of a query's resolution stands beside its value: a metric that no
//! capture has, a histogram whose top bucket is full, a first bucket that is wider than the value, a handful of
//! observations.

pub mod ask;
pub mod held;
pub mod rules;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::{Deserialize, Serialize};
use syncline_promql::{Expr, MemoryStorage, Options, Series, Value, is_stale, parse, range};

use crate::bundle::witnesses::{self, Aside, Selected, Why};
use crate::clock::{Evidence, Finding};
use crate::events::metric_names::{absence, is_foreign};
use crate::events::{Phase, Run};

/// Milliseconds between the steps of an evaluation.
const STEP: i64 = 1_000;
/// Observations in a window from which a quantile of a histogram means something.
const LEAST_OBSERVATIONS: f64 = 20.0;
/// Points of a curve at most.
const POINTS: usize = 40;

/// What one query gives over one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueryAnswer {
    pub run: String,
    pub dataplane: String,
    /// Rows of the catalogue that ask it of this dataplane.
    pub rows: Vec<Asker>,
    pub query: String,
    /// Series in the answer.
    pub series: usize,
    pub phases: Vec<PhaseAnswer>,
    /// What limits it, in words.
    pub limits: Vec<String>,
    /// The first sample that each selected metric was read from.
    pub evidence: Vec<Evidence>,
    /// Seconds since the action began (the first sample, where there is no action), and the largest value then.
    pub curve: Vec<(f64, f64)>,
}

/// A row that asks a query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asker {
    pub id: String,
    pub form: Form,
}

/// In which form a row asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// As the document has it.
    Documented,
    /// What would answer the question.
    Sound,
}

/// The values within a phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseAnswer {
    pub phase: Phase,
    /// Steps with a value.
    pub n: usize,
    pub least: f64,
    pub median: f64,
    pub greatest: f64,
}

/// A query, and who asks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub rows: Vec<Asker>,
    /// PromQL.
    pub text: String,
}

/// A question that is PromQL and names its metrics.
struct Asked<'q> {
    question: &'q Question,
    expr: Expr,
    names: BTreeSet<String>,
}

/// The metrics that an expression names; `None` where the text is no PromQL or would load every series.
fn parsed(text: &str) -> Option<(Expr, BTreeSet<String>)> {
    let expr = parse(text).ok()?;
    let names = expr.metric_names().filter(|names| !names.is_empty())?;
    Some((expr, names))
}

/// Whether a text can be asked: PromQL that names its metrics (commands that a document quotes are none).
pub fn is_query(text: &str) -> bool {
    parsed(text).is_some()
}

/// Whether a text can be asked of a dataplane: metrics of another one are none that it could have.
pub fn concerns(text: &str, dataplane: &str) -> bool {
    parsed(text).is_some_and(|(_, names)| !names.iter().any(|name| is_foreign(name, dataplane)))
}

/// Answers the questions over one run, in their order, and what of the captures they leave aside. Those about metrics of another dataplane
/// are left out.
///
/// # Errors
/// A table that cannot be read.
pub fn answers(run: &Run, questions: &[Question]) -> anyhow::Result<(Vec<QueryAnswer>, Option<Finding>)> {
    let mine: Vec<Asked<'_>> = questions
        .iter()
        .filter_map(|question| {
            let (expr, names) = parsed(&question.text)?;
            Some(Asked { question, expr, names })
        })
        .filter(|one| !one.names.iter().any(|name| is_foreign(name, &run.dataplane)))
        .collect();
    let names: HashSet<String> = mine.iter().flat_map(|one| one.names.iter().cloned()).collect();
    let chosen = witnesses::choose(&run.bundle, Some(&names))?;
    let mut origins: BTreeMap<&str, (Evidence, &str)> = BTreeMap::new();
    for one in &chosen {
        let what = format!("{} ({})", one.name, one.row.witness);
        origins
            .entry(&one.name)
            .or_insert_with(|| (run.evidence(one.row.source, one.row.record, what), one.row.clock.as_ref()));
    }
    let Selected { series, aside } = witnesses::select(&run.bundle, Some(&names), None)?;
    let first = series.iter().filter_map(|one| one.times.first()).min().copied();
    let last = series.iter().filter_map(|one| one.times.last()).max().copied();
    let storage = MemoryStorage::new(series.clone());
    let mut answers = Vec::new();
    for one in &mine {
        let mut answer = QueryAnswer {
            run: run.name.clone(),
            dataplane: run.dataplane.clone(),
            rows: one.question.rows.clone(),
            query: one.question.text.clone(),
            series: 0,
            phases: Vec::new(),
            limits: Vec::new(),
            evidence: one.names.iter().filter_map(|name| Some(origins.get(name.as_str())?.0.clone())).collect(),
            curve: Vec::new(),
        };
        for name in one.names.iter().filter(|name| !origins.contains_key(name.as_str())) {
            let why = absence(name, &run.dataplane, &run.facts).map_or_else(String::new, |why| format!(": {why}"));
            answer.limits.push(format!("no capture has a series {name}{why}"));
        }
        let clock = one.names.iter().find_map(|name| origins.get(name.as_str())).map(|origin| origin.1);
        if let (Some(first), Some(last), Some(clock)) = (first, last, clock) {
            evaluate(run, one, &storage, (first, last), clock, &mut answer);
            resolution(run, one, &series, clock, &mut answer);
        }
        answers.push(answer);
    }
    Ok((answers, left_aside(run, &aside)))
}

/// Sources that are named of those that were left aside for one reason.
const NAMED: usize = 3;

/// Samples that none of the questions uses, since another witness has their stretch of time: by how they were captured, and why.
fn left_aside(run: &Run, aside: &[Aside]) -> Option<Finding> {
    let mut reasons: BTreeMap<(&str, Why, &str), Vec<&Aside>> = BTreeMap::new();
    for one in aside {
        reasons.entry((&one.witness, one.why, &one.instead)).or_default().push(one);
    }
    let told = reasons.iter().map(|((witness, why, instead), all)| {
        let (samples, series) =
            all.iter().fold((0, 0), |(samples, series), one| (samples + one.samples, series + one.series));
        let paths: Vec<&str> = all.iter().take(NAMED).map(|one| run.path(one.source)).collect();
        let more = match all.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let paths = paths.join(", ");
        format!("{samples} samples of {series} series of {paths}{more} ({witness}): {} ({instead})", why.words())
    });
    let evidence = reasons.values().flat_map(|all| all.iter().take(NAMED));
    (!aside.is_empty()).then(|| Finding {
        title: "samples that the documented queries leave aside".to_owned(),
        detail: told.collect::<Vec<_>>().join("; "),
        evidence: evidence.map(|one| run.evidence(one.source, 1, one.witness.clone())).collect(),
    })
}

fn evaluate(
    run: &Run,
    asked: &Asked<'_>,
    storage: &MemoryStorage,
    (first, last): (i64, i64),
    clock: &str,
    answer: &mut QueryAnswer,
) {
    // A window that begins ahead of the first sample is only partly filled, and its rate too low.
    let reach = asked.expr.reach();
    let start = if first + reach <= last { first + reach } else { first };
    if first + reach > last {
        let (window, all) = (reach / 1_000, (last - first) / 1_000);
        answer.limits.push(format!("it looks back {window} s, but the captures reach {all} s: no window is full"));
    }
    let result = match range(storage, &asked.expr, start, last, STEP, &Options::default()) {
        Ok(result) => result,
        Err(error) => return answer.limits.push(error.to_string()),
    };
    answer.limits.extend(result.warnings.iter().chain(&result.infos).cloned());
    let mut largest: BTreeMap<i64, f64> = BTreeMap::new();
    match &result.value {
        Value::Matrix(series) => {
            answer.series = series.len();
            for (time, value) in series.iter().flat_map(|one| &one.floats).filter(|(_, value)| !value.is_nan()) {
                largest.entry(*time).and_modify(|known| *known = known.max(*value)).or_insert(*value);
            }
        }
        _ => return,
    }
    if answer.series > 1 {
        answer.limits.push(format!("{} series: the largest at each step is shown", answer.series));
    }
    if largest.is_empty() && !answer.evidence.is_empty() {
        answer.limits.push("no value at any step".into());
    }
    for phase in [Phase::Baseline, Phase::Action, Phase::Tail] {
        let Some(window) = run.window(phase, clock) else { continue };
        let within = (window.start.div_euclid(1_000_000))..window.end.div_euclid(1_000_000);
        let mut values: Vec<f64> = largest.range(within).map(|(_, value)| *value).collect();
        values.sort_by(f64::total_cmp);
        if let (Some(least), Some(greatest)) = (values.first(), values.last()) {
            let median = values[(values.len() - 1) / 2];
            answer.phases.push(PhaseAnswer { phase, n: values.len(), least: *least, median, greatest: *greatest });
        }
    }
    let origin = run.window(Phase::Action, clock).map_or(first, |window| window.start.div_euclid(1_000_000));
    answer.curve = thinned(&largest).map(|(time, value)| ((time - origin) as f64 / 1e3, value)).collect();
}

/// Of each stretch of steps the largest: a spike must not fall between two points.
fn thinned(points: &BTreeMap<i64, f64>) -> impl Iterator<Item = (i64, f64)> {
    let all: Vec<(i64, f64)> = points.iter().map(|(time, value)| (*time, *value)).collect();
    let stretch = all.len().div_ceil(POINTS).max(1);
    all.chunks(stretch)
        .filter_map(|few| few.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1)))
        .collect::<Vec<_>>()
        .into_iter()
}

/// What a classic histogram cannot tell, over the action (the whole run, where there is none).
fn resolution(run: &Run, asked: &Asked<'_>, series: &[Series], clock: &str, answer: &mut QueryAnswer) {
    if !asked.question.text.contains("histogram_quantile") {
        return;
    }
    let window = run.window(Phase::Action, clock).map(|w| (w.start.div_euclid(1_000_000), w.end.div_euclid(1_000_000)));
    for name in asked.names.iter().filter(|name| name.ends_with("_bucket")) {
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for one in series.iter().filter(|one| one.labels.get("__name__") == name.as_str()) {
            let Ok(bound) = one.labels.get("le").parse::<f64>() else { continue };
            match buckets.iter_mut().find(|(known, _)| *known == bound) {
                Some((_, sum)) => *sum += increase(one, window),
                None => buckets.push((bound, increase(one, window))),
            }
        }
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let total = buckets.last().map_or(0.0, |(_, count)| *count);
        let finite: Vec<&(f64, f64)> = buckets.iter().filter(|(bound, _)| bound.is_finite()).collect();
        if let (Some(lowest), Some(top)) = (finite.first(), finite.last()) {
            if total < LEAST_OBSERVATIONS {
                answer.limits.push(format!("{name}: {total:.0} observations in the action, too few for a quantile"));
            }
            if total > top.1 {
                let beyond = total - top.1;
                answer
                    .limits
                    .push(format!("{name}: {beyond:.0} observations lie beyond the top bucket of {} s", top.0));
            }
            if total > 0.0 && lowest.1 > total / 2.0 {
                answer.limits.push(format!(
                    "{name}: most observations lie in the first bucket, 0 to {} s wide: a quantile in it is a guess",
                    lowest.0
                ));
            }
        }
    }
}

/// Increase of a counter between its first and last sample in a window, resets counted from zero.
fn increase(series: &Series, window: Option<(i64, i64)>) -> f64 {
    let mut sum = 0.0;
    let mut before: Option<f64> = None;
    for (time, value) in series.times.iter().zip(series.values.iter()) {
        if window.is_some_and(|(start, end)| *time < start || *time >= end) || is_stale(*value) {
            continue;
        }
        if let Some(before) = before {
            sum += if *value >= before { value - before } else { *value };
        }
        before = Some(*value);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn increases_survive_resets_and_staleness() {
        let series = Series {
            times: vec![0, 1, 2, 3, 4].into(),
            values: vec![5.0, 7.0, syncline_promql::stale_marker(), 1.0, 4.0].into(),
            ..Series::default()
        };
        assert_eq!(increase(&series, None), 2.0 + 1.0 + 3.0);
        assert_eq!(increase(&series, Some((3, 9))), 3.0);
    }

    #[test]
    fn a_thinned_curve_keeps_its_spikes() {
        let points: BTreeMap<i64, f64> = (0..1000).map(|at| (at, if at == 777 { 9.0 } else { 1.0 })).collect();
        let thin: Vec<(i64, f64)> = thinned(&points).collect();
        assert!(thin.len() <= POINTS && thin.contains(&(777, 9.0)));
    }
}
