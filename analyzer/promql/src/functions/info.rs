//! `info`: adds the data labels of info metrics (`target_info` by default) to series with the same `instance` and `job`.

use std::collections::HashMap;

use super::Arguments;
use crate::answer::EvalError;
use crate::evaluate::{Cells, Row, merge_same_labels, select_latest};
use crate::labels::{Labels, METRIC_NAME};
use crate::storage::{MatchOperator, Matcher};
use crate::syntax::tree::{NodeKind, Selector};

/// What identifies the target that an info series describes.
const IDENTIFYING: [&str; 2] = ["instance", "job"];

/// Evaluates `info`.
pub(super) fn info(arguments: &Arguments<'_>) -> Result<Vec<Row>, EvalError> {
    let context = arguments.context;
    let rows = arguments.vector(0)?;
    let given: Vec<Matcher> = match arguments.call.arguments.get(1).map(|node| &node.kind) {
        Some(NodeKind::Selector(selector)) => selector.matchers.clone(),
        _ => Vec::new(),
    };
    let (name_matchers, data_matchers): (Vec<Matcher>, Vec<Matcher>) =
        given.into_iter().partition(|matcher| matcher.name == METRIC_NAME);
    let selector = Selector {
        name: None,
        matchers: info_matchers(&name_matchers)?,
        offset: None,
        at: None,
        boundary: None,
        span: arguments.span(1),
    };
    // Info series themselves pass unchanged; which ones they are only a name (or no selector at all) can say.
    let passes = arguments.len() == 1 || !name_matchers.is_empty();
    let is_info =
        |labels: &Labels| passes && selector.matchers.iter().all(|matcher| matcher.matches(labels.metric_name()));
    // Every info series at every step, with the time of its sample: of two with the same identity the newer counts.
    let infos = select_latest(&selector, context)?;
    let mut by_identity: HashMap<Labels, Vec<usize>> = HashMap::new();
    let wanted = |labels: &Labels| data_matchers.iter().all(|matcher| matcher.matches(labels.get(&matcher.name)));
    for (index, (row, _)) in infos.iter().enumerate().filter(|(_, (row, _))| wanted(&row.labels)) {
        by_identity.entry(row.labels.only(&IDENTIFYING)).or_default().push(index);
    }
    // A series without any matching info series is dropped if the labels asked for cannot be empty.
    let required = data_matchers.iter().any(|matcher| !matcher.matches(""));
    let mut results = Vec::new();
    for row in rows {
        if is_info(&row.labels) && row.labels.has(METRIC_NAME) {
            results.push(row);
            continue;
        }
        let identity = row.labels.only(&IDENTIFYING);
        let candidates = by_identity.get(&identity).filter(|_| !identity.is_empty()).map_or(&[][..], |found| found);
        let mut enriched: HashMap<Labels, Cells> = HashMap::new();
        let mut order: Vec<Labels> = Vec::new();
        for step in 0..context.steps {
            let Some(value) = row.cells.get(step) else { continue };
            let Some(labels) = enriched_labels(&row.labels, candidates, &infos, &data_matchers, step, required)? else {
                continue;
            };
            let cells = enriched.entry(labels.clone()).or_insert_with(|| {
                order.push(labels);
                Cells::empty(context.steps)
            });
            cells.set(step, value);
        }
        for labels in order {
            if let Some(cells) = enriched.remove(&labels) {
                results.push(Row { labels, drop_name: row.drop_name, cells });
            }
        }
    }
    merge_same_labels(results)
}

/// Which metrics are looked at: those named, else `target_info`; only excluded names: all that end in `_info`.
fn info_matchers(named: &[Matcher]) -> Result<Vec<Matcher>, EvalError> {
    let new = |operator, value| {
        Matcher::new(METRIC_NAME, operator, value).map_err(|error| EvalError::Execution(error.to_string()))
    };
    let positive = |matcher: &Matcher| matches!(matcher.operator, MatchOperator::Equal | MatchOperator::Matches);
    let mut matchers = named.to_vec();
    if named.is_empty() {
        matchers.push(new(MatchOperator::Equal, "target_info")?);
    } else if !named.iter().any(positive) {
        matchers.push(new(MatchOperator::Matches, ".+_info")?);
    }
    Ok(matchers)
}

/// The labels with data labels added at one step; `None` where the series is to be dropped.
fn enriched_labels(
    base: &Labels,
    candidates: &[usize],
    infos: &[(Row, Vec<i64>)],
    data_matchers: &[Matcher],
    step: usize,
    required: bool,
) -> Result<Option<Labels>, EvalError> {
    // Of each info metric the newest series counts.
    let mut newest: Vec<usize> = Vec::new();
    for &candidate in candidates {
        let (row, times) = &infos[candidate];
        if !row.cells.has(step) {
            continue;
        }
        match newest.iter_mut().find(|other| infos[**other].0.labels.metric_name() == row.labels.metric_name()) {
            Some(other) if infos[*other].1[step] < times[step] => *other = candidate,
            Some(other) if infos[*other].1[step] == times[step] => {
                return Err(EvalError::Execution(format!(
                    "found duplicate series for info metric: existing {} @ {}, new {} @ {}",
                    infos[*other].0.labels, times[step], row.labels, times[step]
                )));
            }
            Some(_) => {}
            None => newest.push(candidate),
        }
    }
    let mut labels = base.clone();
    for info in &newest {
        for (name, value) in infos[*info].0.labels.pairs() {
            let wanted = data_matchers.is_empty() || data_matchers.iter().any(|matcher| matcher.name == **name);
            if &**name == METRIC_NAME || !wanted || base.has(name) {
                continue;
            }
            if labels.has(name) && labels.get(name) != &**value {
                return Err(EvalError::Execution(format!("conflicting label: {name}")));
            }
            labels = labels.with(name, value);
        }
    }
    Ok((!newest.is_empty() || !required).then_some(labels))
}
