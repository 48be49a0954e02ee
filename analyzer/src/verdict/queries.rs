//! The catalogue's PromQL, as documented and in its sound form, evaluated over each run.
//!
//! An answer is shown beside the verdict, it does not decide: what decides is the measurement that the row names. A
//! range query over the whole run, a step a second, is cut into the run's phases; of several series the largest value
//! at each step counts. What a reader must know of a query's resolution stands beside its value: a metric that no
//! capture has, a histogram whose top bucket is full, a first bucket that is wider than the value, a handful of
//! observations.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use rayon::prelude::{IntoParallelRefIterator, ParallelIterator};
use serde::Serialize;
use syncline_promql::{Expr, MemoryStorage, Options, Series, Value, is_stale, parse, range};

use super::{Catalogue, RunResult};
use crate::bundle::witnesses;
use crate::clock::Evidence;
use crate::events::metric_names::{absence, is_foreign};
use crate::events::{Phase, Run};

/// Milliseconds between the steps of an evaluation.
const STEP: i64 = 1_000;
/// Observations in a window from which a quantile of a histogram means something.
const LEAST_OBSERVATIONS: f64 = 20.0;
/// Points of a curve at most.
const POINTS: usize = 40;

/// What one query gives over one run.
#[derive(Clone, Debug, PartialEq, Serialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Asker {
    pub id: String,
    /// `documented` or `sound`.
    pub form: &'static str,
}

/// The values within a phase.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PhaseAnswer {
    pub phase: Phase,
    /// Steps with a value.
    pub n: usize,
    pub least: f64,
    pub median: f64,
    pub greatest: f64,
}

/// A query and the rows that ask it.
struct Asked {
    rows: Vec<Asker>,
    text: String,
    expr: Expr,
    names: BTreeSet<String>,
}

/// The PromQL of the catalogue, each query once; commands that a row documents are none, and are left out.
fn asked(catalogue: &Catalogue) -> Vec<Asked> {
    let mut all = Vec::new();
    for row in &catalogue.rows {
        let forms = row.documented.query.iter().map(|text| ("documented", text));
        for (form, text) in forms.chain(row.sound.query.iter().map(|text| ("sound", text))) {
            let asker = Asker { id: row.id.clone(), form };
            if let Some(known) = all.iter_mut().find(|one: &&mut Asked| one.text == *text) {
                known.rows.push(asker);
                continue;
            }
            let Ok(expr) = parse(text) else { continue };
            let Some(names) = expr.metric_names().filter(|names| !names.is_empty()) else { continue };
            all.push(Asked { rows: vec![asker], text: text.clone(), expr, names });
        }
    }
    all
}

/// Whether a row claims something of a dataplane (of kube-proxy's other modes: what it claims of iptables mode).
fn concerns(catalogue: &Catalogue, id: &str, dataplane: &str) -> bool {
    let side = if dataplane.starts_with("kube-proxy") { "kube-proxy-iptables" } else { dataplane };
    catalogue.row(id).and_then(|row| row.side(side)).is_some_and(|side| side.kind != super::catalogue::ClaimKind::None)
}

/// Evaluates every query over every run whose dataplane it is about; in the order of runs, then of the catalogue.
/// What cannot be read is added to `problems`.
pub fn answers(runs: &[RunResult<'_>], catalogue: &Catalogue, problems: &mut Vec<String>) -> Vec<QueryAnswer> {
    let asked = asked(catalogue);
    let found: Vec<anyhow::Result<Vec<QueryAnswer>>> =
        runs.par_iter().map(|result| of_run(result.run, &asked, catalogue)).collect();
    let mut all = Vec::new();
    for (answers, result) in found.into_iter().zip(runs) {
        match answers {
            Ok(answers) => all.extend(answers),
            Err(error) => problems.push(format!("{}: PromQL: {error:#}", result.run.name)),
        }
    }
    all
}

fn of_run(run: &Run, asked: &[Asked], catalogue: &Catalogue) -> anyhow::Result<Vec<QueryAnswer>> {
    let mine: Vec<(&Asked, Vec<Asker>)> = asked
        .iter()
        .filter(|one| !one.names.iter().any(|name| is_foreign(name, &run.dataplane)))
        .map(|one| {
            let rows = one.rows.iter().filter(|asker| concerns(catalogue, &asker.id, &run.dataplane));
            (one, rows.cloned().collect::<Vec<_>>())
        })
        .filter(|(_, rows)| !rows.is_empty())
        .collect();
    let names: HashSet<String> = mine.iter().flat_map(|(one, _)| one.names.iter().cloned()).collect();
    let chosen = witnesses::choose(&run.bundle, Some(&names))?;
    let mut origins: BTreeMap<&str, (Evidence, &str)> = BTreeMap::new();
    for one in &chosen {
        let what = format!("{} ({})", one.name, one.row.witness);
        origins
            .entry(&one.name)
            .or_insert_with(|| (run.evidence(one.row.source, one.row.record, what), one.row.clock.as_ref()));
    }
    let series = witnesses::series(&run.bundle, Some(&names), None)?;
    let first = series.iter().filter_map(|one| one.times.first()).min().copied();
    let last = series.iter().filter_map(|one| one.times.last()).max().copied();
    let storage = MemoryStorage::new(series.clone());
    let mut answers = Vec::new();
    for (one, rows) in mine {
        let mut answer = QueryAnswer {
            run: run.name.clone(),
            dataplane: run.dataplane.clone(),
            rows,
            query: one.text.clone(),
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
    Ok(answers)
}

fn evaluate(
    run: &Run,
    asked: &Asked,
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
fn resolution(run: &Run, asked: &Asked, series: &[Series], clock: &str, answer: &mut QueryAnswer) {
    if !asked.text.contains("histogram_quantile") {
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
    for (time, value) in series.times.iter().zip(&series.values) {
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
    fn the_catalogue_asks_in_both_forms_and_every_sound_query_is_promql() {
        let catalogue = Catalogue::built_in().expect("the catalogue");
        for row in &catalogue.rows {
            for text in &row.sound.query {
                let expr = parse(text).unwrap_or_else(|error| panic!("{}: {text}: {error}", row.id));
                assert!(expr.metric_names().is_some(), "{}: {text}: it would load every series", row.id);
            }
        }
        let asked = asked(&catalogue);
        let count = |form| asked.iter().flat_map(|one| &one.rows).filter(|one| one.form == form).count();
        assert!(count("documented") >= 30 && count("sound") >= 20, "{} and {}", count("documented"), count("sound"));
    }

    #[test]
    fn increases_survive_resets_and_staleness() {
        let series = Series {
            times: vec![0, 1, 2, 3, 4],
            values: vec![5.0, 7.0, syncline_promql::stale_marker(), 1.0, 4.0],
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
