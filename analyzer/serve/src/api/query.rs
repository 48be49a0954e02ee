//! `query`, `query_range`, `query_exemplars`.

use std::time::{Duration, Instant};

use serde_json::json;
use syncline_promql::{Answer, EvalError, Options, Value, parse, to_json};

use super::{TRUNCATED, limit, time};
use crate::response::{failed, unreadable};
use crate::times::{duration, time as parsed_time};
use crate::{Failure, Request, Response, Served};

/// Evaluates at one time.
pub(super) fn instant(served: &Served, request: &Request, asked: Instant) -> Result<Response, Failure> {
    let limit = limit(request)?;
    let at = time(request, "time", served.clock.now())?;
    let options = options(served, request, asked)?;
    let query = match parse(request.get("query")) {
        Ok(query) => query,
        Err(error) => return Ok(unreadable(&error)),
    };
    Ok(answer(served, syncline_promql::instant(&served.storage, &query, at, &options), limit))
}

/// Evaluates at each step.
pub(super) fn range(served: &Served, request: &Request, asked: Instant) -> Result<Response, Failure> {
    let limit = limit(request)?;
    let needed = |name: &str| {
        let text = request.get(name);
        let wrong = || Failure::parameter(name, format!("cannot parse {text:?} to a valid timestamp"));
        parsed_time(text).ok_or_else(wrong)
    };
    let (start, end) = (needed("start")?, needed("end")?);
    if end < start {
        return Err(Failure::parameter("end", "end timestamp must not be before start time"));
    }
    let step = duration(request.get("step")).map_err(|why| Failure::parameter("step", why))?;
    let options = options(served, request, asked)?;
    // What is wrong with the step is said ahead of what is wrong with the expression.
    if step <= 0 || end.saturating_sub(start) / step > 11_000 {
        let constant = parse("0").map_err(|error| Failure::bad_data(error.to_string()))?;
        return Ok(answer(served, syncline_promql::range(&served.storage, &constant, start, end, step, &options), 0));
    }
    let query = match parse(request.get("query")) {
        Ok(query) => query,
        Err(error) => return Ok(unreadable(&error)),
    };
    Ok(answer(served, syncline_promql::range(&served.storage, &query, start, end, step, &options), limit))
}

/// Captures hold no exemplars; the parameters are read all the same.
pub(super) fn exemplars(served: &Served, request: &Request) -> Result<Response, Failure> {
    let start = time(request, "start", i64::MIN)?;
    let end = time(request, "end", served.clock.now().max(start))?;
    if end < start {
        return Err(Failure::bad_data("end timestamp must not be before start timestamp"));
    }
    parse(request.get("query")).map_err(|error| Failure::bad_data(error.to_string()))?;
    Ok(Response::data(&json!([])))
}

fn options(served: &Served, request: &Request, asked: Instant) -> Result<Options, Failure> {
    let given = |name: &str| match request.get(name) {
        "" => Ok(None),
        text => duration(text).map(Some).map_err(|why| Failure::parameter(name, why)),
    };
    let positive = |milliseconds: Option<i64>| milliseconds.and_then(|one| u64::try_from(one).ok());
    let timeout = positive(given("timeout")?).map_or(served.timeout, Duration::from_millis).min(served.timeout);
    let lookback = match request.get("lookback_delta") {
        "" => served.lookback,
        text => {
            let milliseconds = duration(text)
                .map_err(|why| Failure::bad_data(format!("error parsing lookback delta duration: {why}")))?;
            // As in Prometheus, one that is not positive is as none.
            positive(Some(milliseconds).filter(|one| *one > 0)).map_or(served.lookback, Duration::from_millis)
        }
    };
    Ok(Options {
        lookback,
        max_samples: served.max_samples,
        memory: served.memory,
        deadline: Some(asked + timeout),
        ..Options::default()
    })
}

fn answer(served: &Served, result: Result<Answer, EvalError>, limit: usize) -> Response {
    let mut answer = match result {
        Ok(answer) => answer,
        Err(error) => return failed(&error),
    };
    if limit > 0 {
        let cut = match &mut answer.value {
            Value::Vector(elements) => cut(elements, limit),
            Value::Matrix(series) => cut(series, limit),
            _ => false,
        };
        if cut {
            answer.warnings.push(TRUNCATED.to_owned());
        }
    }
    answer.infos.extend(served.notes.iter().cloned());
    Response::json(to_json(&answer))
}

fn cut<T>(all: &mut Vec<T>, limit: usize) -> bool {
    let longer = all.len() > limit;
    all.truncate(limit);
    longer
}
