//! `info`: adds the data labels of info metrics (`target_info` by default) to series with the same `instance` and `job`.

use std::collections::{HashMap, HashSet};

use super::Arguments;
use crate::answer::EvalError;
use crate::evaluate::{Cells, Context, Moment, Reference, Row, merge_same_labels, reference_of, sample_moments};
use crate::labels::{Labels, METRIC_NAME};
use crate::storage::{MatchOperator, Matcher};
use crate::syntax::tree::{At, DurationNode, NodeKind, Selector};

/// What identifies the target that an info series describes.
const IDENTIFYING: [&str; 2] = ["instance", "job"];

/// About what an entry of [`InfoSeries::by_target`] takes.
const BYTES_OF_AN_INFO: usize = 100;

/// Evaluates `info`.
pub(super) fn info(arguments: &Arguments<'_>) -> Result<Vec<Row>, EvalError> {
    let rows = arguments.vector(0)?;
    let given: Vec<Matcher> = match arguments.call.arguments.get(1).map(|node| &node.kind) {
        Some(NodeKind::Selector(selector)) => selector.matchers.clone(),
        _ => Vec::new(),
    };
    let (named, data): (Vec<Matcher>, Vec<Matcher>) =
        given.into_iter().partition(|matcher| matcher.name == METRIC_NAME);
    let names = info_names(named)?;
    // Series that are info series themselves pass unchanged.
    let is_info = |row: &Row| names.iter().all(|matcher| matcher.matches(row.labels.metric_name()));
    let enriched: Vec<&Row> = rows.iter().filter(|row| !is_info(row)).collect();
    let infos = InfoSeries::select(&names, &data, &enriched, arguments)?;
    arguments.context.reserve_rows(rows.len())?;
    let mut results = Vec::with_capacity(rows.len());
    for row in &rows {
        if is_info(row) {
            results.push(row.clone());
        } else {
            results.extend(infos.enrich(row, &data, arguments.context)?);
        }
    }
    merge_same_labels(results)
}

/// Which metrics are looked at: those named, else `target_info`; only excluded names: all that end in `_info`.
fn info_names(mut named: Vec<Matcher>) -> Result<Vec<Matcher>, EvalError> {
    let new = |operator, value| {
        Matcher::new(METRIC_NAME, operator, value).map_err(|error| EvalError::Execution(error.to_string()))
    };
    let positive = |matcher: &Matcher| matches!(matcher.operator, MatchOperator::Equal | MatchOperator::Matches);
    if named.is_empty() {
        named.push(new(MatchOperator::Equal, "target_info")?);
    } else if !named.iter().any(positive) {
        named.push(new(MatchOperator::Matches, ".+_info")?);
    }
    Ok(named)
}

/// The info series that count at each step: of each metric and target the newest one.
struct InfoSeries {
    series: Vec<Labels>,
    /// For each step, by target: the numbers of its info series and the times of their samples.
    by_target: Vec<HashMap<Labels, Vec<(usize, i64)>>>,
}

impl InfoSeries {
    /// Selects the info series of all targets of the rows, at the time that the rows speak of (Prometheus 3.14, PR
    /// 19266).
    fn select(
        names: &[Matcher],
        data: &[Matcher],
        rows: &[&Row],
        arguments: &Arguments<'_>,
    ) -> Result<InfoSeries, EvalError> {
        let context = arguments.context;
        let mut found = InfoSeries { series: Vec::new(), by_target: vec![HashMap::new(); context.steps] };
        let targets: [(&str, HashSet<&str>); 2] = IDENTIFYING.map(|name| {
            (name, rows.iter().map(|row| row.labels.get(name)).filter(|value| !value.is_empty()).collect())
        });
        if targets.iter().all(|(_, values)| values.is_empty()) {
            return Ok(found);
        }
        context.budget.take_bytes(context.steps.saturating_mul(size_of::<HashMap<Labels, Vec<(usize, i64)>>>()))?;
        let (at, offset) = match reference_of(arguments.node_of(0)?, context)? {
            Reference::Fixed(time) => (Some(At::Time(time)), None),
            Reference::Before(before) => (None, Some(DurationNode::Seconds(before as f64 / 1000.0))),
        };
        let matchers = names.iter().chain(data).cloned().collect();
        let selector = Selector { name: None, matchers, offset, at, boundary: None, span: arguments.span(1) };
        // Where there is nothing to enrich, nothing can contradict itself.
        let filled: Vec<bool> = (0..context.steps).map(|step| rows.iter().any(|row| row.cells.has(step))).collect();
        for (labels, moments) in sample_moments(&selector, context)? {
            let wanted =
                |(name, values): &(&str, HashSet<&str>)| values.is_empty() || values.contains(labels.get(name));
            if !targets.iter().all(wanted) {
                continue;
            }
            let (number, target) = (found.series.len(), labels.only(&IDENTIFYING));
            found.series.push(labels);
            for (step, moment) in moments.iter().enumerate() {
                match moment {
                    None => {}
                    Some(Moment::OfHistogram) => {
                        let labels = &found.series[number];
                        let message = format!("this should be an info metric, with float samples: {labels}");
                        return Err(EvalError::Execution(message));
                    }
                    Some(Moment::OfFloat(time)) if filled[step] => {
                        context.budget.take_bytes(BYTES_OF_AN_INFO)?;
                        found.take(step, number, &target, *time)?;
                    }
                    Some(Moment::OfFloat(_)) => {}
                }
            }
        }
        Ok(found)
    }

    /// Takes an info series at a step, unless there is a newer one of the same metric and target.
    fn take(&mut self, step: usize, number: usize, target: &Labels, time: i64) -> Result<(), EvalError> {
        let Some(at_step) = self.by_target.get_mut(step) else { return Ok(()) };
        let rivals = at_step.entry(target.clone()).or_default();
        let name = self.series[number].metric_name();
        let Some(rival) = rivals.iter_mut().find(|(other, _)| self.series[*other].metric_name() == name) else {
            rivals.push((number, time));
            return Ok(());
        };
        if rival.1 == time {
            return Err(EvalError::Execution(format!(
                "found duplicate series for info metric: existing {} @ {time}, new {} @ {time}",
                self.series[rival.0], self.series[number]
            )));
        }
        if rival.1 < time {
            *rival = (number, time);
        }
        Ok(())
    }

    /// A row with data labels added, which may differ from step to step: a row for each label set.
    fn enrich(&self, row: &Row, data: &[Matcher], context: &Context<'_>) -> Result<Vec<Row>, EvalError> {
        let target = row.labels.only(&IDENTIFYING);
        let mut places: HashMap<Labels, usize> = HashMap::new();
        let mut enriched: Vec<Row> = Vec::new();
        for step in 0..context.steps {
            let Some(value) = row.cells.get(step) else { continue };
            let found = self.by_target[step].get(&target).map_or(&[][..], |found| found);
            let Some(labels) = self.labels(&row.labels, found, data)? else { continue };
            let place = match places.get(&labels) {
                Some(place) => *place,
                None => {
                    context.reserve_rows(1)?;
                    places.insert(labels.clone(), enriched.len());
                    let cells = Cells::empty(context.steps);
                    enriched.push(Row { labels, drop_name: row.drop_name, cells });
                    enriched.len() - 1
                }
            };
            enriched[place].cells.set(step, value);
        }
        Ok(enriched)
    }

    /// Labels with those of info series added; `None` where none matches although a label is asked for that cannot be
    /// empty.
    fn labels(&self, base: &Labels, infos: &[(usize, i64)], data: &[Matcher]) -> Result<Option<Labels>, EvalError> {
        if infos.is_empty() {
            let required = data.iter().any(|matcher| !matcher.matches(""));
            return Ok((!required).then(|| base.clone()));
        }
        let mut labels = base.clone();
        let mut added: HashMap<&str, &str> = HashMap::new();
        for (number, _) in infos {
            for (name, value) in self.series[*number].pairs() {
                let wanted = data.is_empty() || data.iter().any(|matcher| matcher.name == **name);
                if &**name == METRIC_NAME || !wanted || base.has(name) {
                    continue;
                }
                if added.insert(name, value).is_some_and(|other| other != &**value) {
                    return Err(EvalError::Execution(format!("conflicting label: {name}")));
                }
                labels = labels.with(name, value);
            }
        }
        Ok(Some(labels))
    }
}
