//! The catalogue's PromQL over the runs: what each query gives in each phase, what limits it, and its course over time.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

use super::chart::{Drawing, Scale, class_of};
use super::number::{self, Show};
use super::rows;
use crate::events::Phase;
use crate::query::{Asker, Form, QueryAnswer};
use crate::result::{AnswerHead, RunResult, in_parallel};
use crate::verdict::Catalogue;

/// One query over all runs that it is about.
#[derive(Clone, Debug, Serialize)]
pub struct QueryView {
    /// Rows of the catalogue whose documented query it is.
    pub documented: Vec<String>,
    /// Rows for which it asks what they are about.
    pub sound: Vec<String>,
    pub query: String,
    /// Runs in which it has values.
    pub lines: Vec<QueryLine>,
    /// Limits that all runs share, each once.
    pub limits: Vec<String>,
    /// Names of runs in which it has no value at all.
    pub silent: Vec<String>,
    /// Where a server answers it; in files there is none.
    pub link: Option<String>,
}

/// One query over one run.
#[derive(Clone, Debug, Serialize)]
pub struct QueryLine {
    pub run: String,
    /// Class of the dataplane's colour.
    pub class: String,
    /// Median over the phase's steps, and least to greatest with the number of steps.
    pub baseline: String,
    pub action: String,
    pub tail: String,
    /// Limits of this run alone.
    pub limits: Vec<String>,
    /// Course over time, as markup.
    pub spark: String,
    /// Where it was read from.
    pub evidence: Vec<String>,
}

/// Lines of a query on the page of several runs.
pub const MOST: usize = 8;

/// What all runs say of a query.
#[derive(Default)]
struct Together {
    askers: Vec<Asker>,
    /// Limits that all runs share, in the order of the first.
    shared: Vec<String>,
    /// Places of the runs whose lines are shown.
    shown: Vec<usize>,
    lines: Vec<QueryLine>,
    silent: Vec<String>,
}

/// Groups the answers by query, in the order of the catalogue. Of each query so many lines are made, and the others counted in `more`.
pub fn build(
    runs: &[RunResult],
    catalogue: &Catalogue,
    most: usize,
    more: &mut BTreeMap<&'static str, usize>,
) -> Vec<QueryView> {
    let mut all: HashMap<String, Together> = HashMap::new();
    let heads = in_parallel(runs, RunResult::answer_heads).enumerate();
    for (at, answer) in heads.flat_map(|(at, own)| own.into_iter().map(move |one| (at, one))) {
        let silent = answer.is_silent();
        let AnswerHead { query, rows, limits, .. } = answer;
        let met = all.contains_key(&query);
        let one = all.entry(query).or_default();
        for asker in rows {
            if !one.askers.contains(&asker) {
                one.askers.push(asker);
            }
        }
        if met {
            one.shared.retain(|limit| limits.contains(limit));
        } else {
            one.shared = limits;
        }
        if silent {
            one.silent.push(runs[at].run.name.clone());
        } else if one.shown.len() == most {
            *more.entry("queries").or_default() += 1;
        } else {
            one.shown.push(at);
        }
    }
    let shown: BTreeSet<usize> = all.values().flat_map(|one| &one.shown).copied().collect();
    for at in shown {
        for answer in runs[at].answers() {
            if let Some(one) = all.get_mut(&answer.query).filter(|one| one.shown.contains(&at)) {
                one.lines.push(line(&answer, &one.shared));
            }
        }
    }
    let queries = catalogue.rows.iter().flat_map(|row| row.documented.query.iter().chain(&row.sound.query));
    queries.filter_map(|text| Some(view(text.clone(), all.remove(text)?))).collect()
}

fn view(query: String, found: Together) -> QueryView {
    let Together { askers, shared, lines, silent, .. } = found;
    let of = |form| askers.iter().filter(|one| one.form == form).map(|one| one.id.clone()).collect();
    QueryView {
        documented: of(Form::Documented),
        sound: of(Form::Sound),
        query,
        lines,
        limits: shared.iter().map(|limit| rows::sentence(limit)).collect(),
        silent,
        link: None,
    }
}

fn line(answer: &QueryAnswer, shared: &[String]) -> QueryLine {
    let of = |phase: Phase| {
        answer.phases.iter().find(|one| one.phase == phase).map_or_else(
            || "–".to_owned(),
            |one| {
                let median = number::digits(one.median);
                if one.least == one.greatest {
                    return format!("{median} (constant, {} steps)", one.n);
                }
                let ends = format!("{} to {}", number::digits(one.least), number::digits(one.greatest));
                format!("{median} ({ends}, {} steps)", one.n)
            },
        )
    };
    QueryLine {
        run: answer.run.clone(),
        class: class_of(&answer.dataplane).to_owned(),
        baseline: of(Phase::Baseline),
        action: of(Phase::Action),
        tail: of(Phase::Tail),
        limits: answer.limits.iter().filter(|limit| !shared.contains(limit)).map(|one| rows::sentence(one)).collect(),
        spark: spark(answer),
        evidence: answer.evidence.iter().map(rows::evidence_line).collect(),
    }
}

/// A small curve from the least to the greatest value, with a line where the action begins.
fn spark(answer: &QueryAnswer) -> String {
    let (Some(first), Some(last)) = (answer.curve.first(), answer.curve.last()) else { return String::new() };
    let values = || answer.curve.iter().map(|(_, value)| *value).filter(|value| value.is_finite());
    let (low, high) = (values().fold(f64::INFINITY, f64::min).min(0.0), values().fold(f64::NEG_INFINITY, f64::max));
    let (width, height) = (120.0, 28.0);
    let time = Scale { low: first.0, high: last.0, from: 1.0, to: width - 1.0, log: false };
    let level = Scale { low, high: if high > low { high } else { low + 1.0 }, from: height - 2.0, to: 2.0, log: false };
    let mut drawing = Drawing::new();
    if first.0 < 0.0 && last.0 > 0.0 {
        drawing.line("grid", time.at(0.0), 0.0, time.at(0.0), height);
    }
    let points: Vec<(f64, f64)> = answer.curve.iter().map(|(at, value)| (time.at(*at), level.within(*value))).collect();
    drawing.path(&format!("curve {}", class_of(&answer.dataplane)), &points, false);
    let words = format!(
        "{} from {} to {} over {} s",
        answer.run,
        number::figure(low, "", Show::Unit),
        number::figure(high, "", Show::Unit),
        number::digits(last.0 - first.0)
    );
    drawing.small(&words, width, height)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::PhaseAnswer;

    #[test]
    fn a_query_without_values_is_named_not_dropped() {
        let catalogue = Catalogue::built_in().expect("the catalogue");
        let row = catalogue.row("T1.3").expect("a row");
        let answer = |run: &str, phases: Vec<PhaseAnswer>| QueryAnswer {
            run: run.into(),
            dataplane: "cilium".into(),
            rows: vec![Asker { id: "T1.3".into(), form: Form::Sound }],
            query: row.sound.query[0].clone(),
            series: 1,
            curve: vec![(-1.0, 1.0), (0.0, f64::NAN), (1.0, 2.0)],
            phases,
            limits: vec!["no capture has it".into()],
            evidence: Vec::new(),
        };
        let phase = PhaseAnswer { phase: Phase::Action, n: 3, least: 1.0, median: 1.5, greatest: 2.0 };
        let run = |name: &str, phases: Vec<PhaseAnswer>| {
            let mut result = RunResult::default();
            result.run.name = name.to_owned();
            result.answer(&vec![answer(name, phases)]);
            result
        };
        let runs = [run("a", vec![phase.clone()]), run("b", Vec::new()), run("c", vec![phase])];
        let mut more = BTreeMap::new();
        let views = build(&runs, &catalogue, 1, &mut more);
        assert_eq!(more["queries"], 1, "a line that is left out is counted");
        assert_eq!(views.len(), 1);
        assert_eq!((views[0].documented.len(), views[0].sound.len()), (0, 1));
        assert_eq!(views[0].silent, ["b"]);
        assert_eq!(views[0].lines[0].action, "1.5 (1 to 2, 3 steps)");
        assert_eq!(views[0].limits.len(), 1, "a shared limit stands once");
        assert!(views[0].lines[0].spark.starts_with("<svg") && !views[0].lines[0].spark.contains("NaN"));
    }
}
