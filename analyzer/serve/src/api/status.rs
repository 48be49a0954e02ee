//! `status/…`: what serves, and how much. No path of this machine is told.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use syncline_promql::Series;

use super::series::name;
use crate::{Clock, Failure, Request, Response, Served};

/// The Prometheus whose semantics hold; clients choose what they may ask by it.
const SEMANTICS: &str = "3.14.0";

/// Answers `status/WHAT`.
pub(super) fn status(served: &Served, request: &Request, what: &str) -> Result<Response, Failure> {
    let data = match what {
        "buildinfo" => json!({
            "version": SEMANTICS,
            "revision": format!("syncline {}", served.version),
            "branch": "",
            "buildUser": "",
            "buildDate": "",
            "goVersion": "",
        }),
        "runtimeinfo" => {
            let started = rfc3339(served.started);
            json!({
                "startTime": started,
                "CWD": "",
                "hostname": "",
                "serverTime": rfc3339(served.clock.now()),
                "reloadConfigSuccess": true,
                "lastConfigTime": started,
                "corruptionCount": 0,
                "goroutineCount": 0,
                "GOMAXPROCS": std::thread::available_parallelism().map_or(1, usize::from),
                "GOMEMLIMIT": 0,
                "GOGC": "",
                "GODEBUG": "",
                "storageRetention": "",
            })
        }
        "flags" => json!({
            "query.lookback-delta": shown(served.lookback),
            "query.max-samples": served.max_samples.to_string(),
            "query.timeout": shown(served.timeout),
            "web.listen-address": served.listen,
            "web.enable-admin-api": "false",
            "web.enable-lifecycle": "false",
            "shift": if served.clock == Clock::Wall { "now" } else { "" },
        }),
        "config" => json!({ "yaml": "" }),
        "walreplay" => json!({ "min": 0, "max": 0, "current": 0, "state": "done" }),
        _ => tsdb(served, request)?,
    };
    Ok(Response::data(&data))
}

/// The largest of each kind.
fn tsdb(served: &Served, request: &Request) -> Result<Value, Failure> {
    let most = match request.get("limit") {
        "" => 10,
        text => {
            let number = text.parse::<usize>().ok().filter(|number| (1..=10_000).contains(number));
            number.ok_or_else(|| Failure::bad_data("limit must be a positive number"))?
        }
    };
    let all = served.storage.series();
    let mut by_name: BTreeMap<String, usize> = BTreeMap::new();
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut bytes: BTreeMap<String, usize> = BTreeMap::new();
    let mut pairs: BTreeMap<String, usize> = BTreeMap::new();
    for one in all {
        *by_name.entry(name(one).to_owned()).or_default() += 1;
        for (label, value) in one.labels.pairs() {
            if values.entry(label).or_default().insert(value) {
                *bytes.entry(label.to_string()).or_default() += value.len();
            }
            *pairs.entry(format!("{label}={value}")).or_default() += 1;
        }
    }
    let counts = values.iter().map(|(label, values)| (label.to_string(), values.len())).collect();
    let edge = |times: fn(&Series) -> Option<i64>| all.iter().filter_map(move |one| times(one));
    Ok(json!({
        "headStats": {
            "numSeries": all.len(),
            "numLabelPairs": values.values().map(BTreeSet::len).sum::<usize>(),
            "chunkCount": all.len(),
            "minTime": edge(|one| one.times.first().copied()).min().unwrap_or(i64::MAX),
            "maxTime": edge(|one| one.times.last().copied()).max().unwrap_or(i64::MIN),
        },
        "seriesCountByMetricName": largest(by_name, most),
        "labelValueCountByLabelName": largest(counts, most),
        "memoryInBytesByLabelName": largest(bytes, most),
        "seriesCountByLabelValuePair": largest(pairs, most),
    }))
}

fn largest(all: BTreeMap<String, usize>, most: usize) -> Vec<Value> {
    let mut all: Vec<(String, usize)> = all.into_iter().collect();
    all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    all.into_iter().take(most).map(|(name, value)| json!({ "name": name, "value": value })).collect()
}

fn rfc3339(milliseconds: i64) -> String {
    jiff::Timestamp::from_millisecond(milliseconds).map_or_else(|_| String::new(), |at| at.to_string())
}

fn shown(duration: std::time::Duration) -> String {
    format!("{}s", duration.as_secs_f64())
}
