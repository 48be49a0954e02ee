//! `series`, `labels`, `label/NAME/values`, `metadata`.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use syncline_promql::syntax::tree::NodeKind;
use syncline_promql::{METRIC_NAME, Matcher, Series, Storage, parse};

use super::{TRUNCATED, limit, time};
use crate::{Failure, Request, Response, Served};

/// Label sets of the series that any `match[]` holds for.
pub(super) fn series(served: &Served, request: &Request) -> Result<Response, Failure> {
    let limit = limit(request)?;
    if request.all("match[]").next().is_none() {
        return Err(Failure::bad_data("no match[] parameter provided"));
    }
    let found = selected(served, request)?;
    let labels: BTreeSet<_> = found.iter().map(|one| &one.labels).collect();
    let objects = labels.into_iter().map(|labels| {
        let pairs = labels.pairs().iter().map(|(name, value)| (name.to_string(), Value::from(&**value)));
        Value::Object(pairs.collect::<Map<String, Value>>())
    });
    Ok(listed(objects, limit))
}

/// Names of labels.
pub(super) fn label_names(served: &Served, request: &Request) -> Result<Response, Failure> {
    let limit = limit(request)?;
    let found = selected(served, request)?;
    let names: BTreeSet<&str> = found.iter().flat_map(|one| one.labels.pairs()).map(|(name, _)| &**name).collect();
    Ok(listed(names.into_iter().map(Value::from), limit))
}

/// Values of a label.
pub(super) fn label_values(served: &Served, request: &Request, name: &str) -> Result<Response, Failure> {
    let limit = limit(request)?;
    let name = unescaped(name);
    if name.is_empty() || name.contains(char::REPLACEMENT_CHARACTER) {
        return Err(Failure::bad_data(format!("invalid label name: {name:?}")));
    }
    let found = selected(served, request)?;
    let values: BTreeSet<&str> =
        found.iter().map(|one| one.labels.get(&name)).filter(|value| !value.is_empty()).collect();
    Ok(listed(values.into_iter().map(Value::from), limit))
}

/// What is known of metrics.
pub(super) fn metadata(served: &Served, request: &Request) -> Result<Response, Failure> {
    let number = |name: &str| match request.get(name) {
        "" => Ok(None),
        text => {
            let wrong = Failure::bad_data(format!("{name} must be a number"));
            text.parse::<i64>().map(|number| usize::try_from(number).ok()).map_err(|_| wrong)
        }
    };
    let (limit, each) = (number("limit")?, number("limit_per_metric")?.filter(|each| *each > 0));
    let wanted = request.get("metric");
    let all = served.metadata.iter().filter(|(name, _)| wanted.is_empty() || *name == wanted);
    let objects: Map<String, Value> = all
        .take(limit.unwrap_or(usize::MAX))
        .map(|(name, known)| {
            let known = known.iter().take(each.unwrap_or(usize::MAX));
            let known = known.map(|one| json!({"type": one.kind, "help": one.help, "unit": one.unit}));
            (name.clone(), Value::Array(known.collect()))
        })
        .collect();
    Ok(Response::data(&Value::Object(objects)))
}

fn listed(all: impl ExactSizeIterator<Item = Value>, limit: usize) -> Response {
    let warnings = if limit > 0 && all.len() > limit { vec![TRUNCATED.to_owned()] } else { Vec::new() };
    let most = if limit > 0 { limit } else { usize::MAX };
    Response::with_warnings(&Value::Array(all.take(most).collect()), &warnings)
}

/// The series with samples from `start` to `end` that any `match[]` holds for; all of them without one.
fn selected(served: &Served, request: &Request) -> Result<Vec<Arc<Series>>, Failure> {
    let start = time(request, "start", i64::MIN)?;
    let end = time(request, "end", i64::MAX)?;
    let sets: Vec<Vec<Matcher>> = request
        .all("match[]")
        .map(matchers)
        .collect::<Result<_, _>>()
        .map_err(|why| Failure::parameter("match[]", why))?;
    if sets.is_empty() {
        return Ok(served.storage.select(&[], start, end));
    }
    Ok(sets.iter().flat_map(|set| served.storage.select(set, start, end)).collect())
}

/// The matchers of a selector.
///
/// # Errors
/// A text that is none, in words.
pub(super) fn matchers(text: &str) -> Result<Vec<Matcher>, String> {
    let query = parse(text).map_err(|error| error.to_string())?;
    match query.root.kind {
        NodeKind::Selector(selector)
            if selector.offset.is_none() && selector.at.is_none() && selector.boundary.is_none() =>
        {
            Ok(selector.matchers)
        }
        _ => Err("1:1: parse error: expected a series selector, as up{job=\"node\"}".to_owned()),
    }
}

/// A label's name as it stands in a path: names that are no plain ones may come escaped (`U__a_2e_b` is `a.b`).
fn unescaped(name: &str) -> String {
    let Some(rest) = name.strip_prefix("U__") else { return name.to_owned() };
    let mut out = String::new();
    let mut parts = rest;
    while let Some(at) = parts.find('_') {
        out.push_str(&parts[..at]);
        parts = &parts[at + 1..];
        if let Some(after) = parts.strip_prefix('_') {
            out.push('_');
            parts = after;
            continue;
        }
        let Some((code, after)) = parts.split_once('_') else { return name.to_owned() };
        let Some(letter) = u32::from_str_radix(code, 16).ok().and_then(char::from_u32) else { return name.to_owned() };
        out.push(letter);
        parts = after;
    }
    out.push_str(parts);
    out
}

/// The name of a metric, for a page or a listing.
pub(super) fn name(series: &Series) -> &str {
    series.labels.get(METRIC_NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_paths_may_be_escaped() {
        assert_eq!(unescaped("job"), "job");
        assert_eq!(unescaped("U__http_2e_method"), "http.method");
        assert_eq!(unescaped("U__a__b"), "a_b");
        assert_eq!(unescaped("U__a_zz_b"), "U__a_zz_b");
    }

    #[test]
    fn only_selectors_match() {
        assert_eq!(matchers("up{job=\"a\"}").unwrap().len(), 2);
        for text in ["1", "rate(up[5m])", "up offset 5m", "up[5m]", "{", "{}", ""] {
            assert!(matchers(text).is_err(), "{text}");
        }
    }
}
