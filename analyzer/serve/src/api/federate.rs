//! `/federate`: the newest samples in the text format.

use std::collections::BTreeMap;
use std::fmt::Write;

use syncline_promql::{METRIC_NAME, Series, Storage, format_float_short, is_stale};

use super::series::matchers;
use crate::{Request, Response, Served};

/// A page of the text format.
pub(super) fn exposition(text: String) -> Response {
    Response {
        content_type: "text/plain; version=0.0.4; charset=utf-8",
        headers: Vec::new(),
        ..Response::text(200, text)
    }
}

/// The newest sample of each series that any `match[]` holds for, not older than the lookback. Native histograms have no
/// place in the text format and are left out, which a comment says.
pub(super) fn federate(served: &Served, request: &Request) -> Response {
    let now = served.clock.now();
    let oldest = now.saturating_sub(i64::try_from(served.lookback.as_millis()).unwrap_or(i64::MAX)).saturating_add(1);
    let mut lines: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut histograms = 0_usize;
    for text in request.all("match[]") {
        let set = match matchers(text) {
            Ok(set) => set,
            Err(why) => return Response::text(400, format!("{why}\n")),
        };
        for series in served.storage.select(&set, oldest, now) {
            match newest(&series, oldest, now) {
                Some((time, value)) => {
                    let line = format!("{} {} {time}", labels(&series), format_float_short(value));
                    let name = series.labels.metric_name().to_owned();
                    lines.entry(name).or_default().insert(series.labels.to_string(), line);
                }
                None => histograms += usize::from(!series.histograms.is_empty()),
            }
        }
    }
    let mut out = String::new();
    for (name, lines) in lines {
        let _ = writeln!(out, "# TYPE {name} untyped");
        for line in lines.into_values() {
            let _ = writeln!(out, "{line}");
        }
    }
    if histograms > 0 {
        let _ =
            writeln!(out, "# {histograms} series of native histograms are left out: this format has no place for them");
    }
    exposition(out)
}

fn newest(series: &Series, oldest: i64, now: i64) -> Option<(i64, f64)> {
    let at = series.times.partition_point(|time| *time <= now).checked_sub(1)?;
    let (time, value) = (series.times[at], series.values[at]);
    (time >= oldest && !is_stale(value)).then_some((time, value))
}

/// A series as the text format has it. One without `instance` says so, as a server that federates expects it.
fn labels(series: &Series) -> String {
    let mut pairs: Vec<String> = series
        .labels
        .pairs()
        .iter()
        .filter(|(name, _)| &**name != METRIC_NAME)
        .map(|(name, value)| {
            format!("{name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
        })
        .collect();
    if !series.labels.has("instance") {
        pairs.push("instance=\"\"".to_owned());
    }
    format!("{}{{{}}}", series.labels.metric_name(), pairs.join(","))
}
