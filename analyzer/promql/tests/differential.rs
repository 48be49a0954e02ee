//! The same samples, the same queries: this engine against Debian's real Prometheus.
//!
//! Needs `prometheus` and `promtool` on the path, and says so where they are missing. Debian 12 has version 2.42, in
//! which windows are closed on the left; samples lie between whole seconds and everything asked for is in whole
//! seconds, so that no sample lies on an edge. Counters stay far from zero, where 2.42 extrapolates otherwise.

// In a test an unexpected error is to fail it; what was skipped or compared is for people to read.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "../../../tests/prometheus/mod.rs"]
mod prometheus;
#[path = "../../../tests/promtool/mod.rs"]
mod promtool;
#[path = "../../../tests/url/mod.rs"]
mod url;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use prometheus::Prometheus;
use promtool::promtool;
use serde_json::Value as Json;
use syncline_promql::{
    Labels, MemoryStorage, Options, Sample, Series, eval_error_to_json, instant, parse, range, to_json,
};
use url::escaped;

/// First sample, seconds since 1970; divisible by 60.
const BEGIN: i64 = 1_700_000_040;
const SECONDS: i64 = 5400;
const QUERIES: usize = 400;

/// A small generator of pseudo-random numbers (xorshift), so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides
    }

    fn share(&mut self) -> f64 {
        self.roll(1 << 30) as f64 / (1 << 30) as f64
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.roll(choices.len())]
    }
}

/// Samples every 15 s or so, some missing, each 137 ms after a whole second.
fn samples(dice: &mut Dice, mut value: impl FnMut(&mut Dice) -> f64) -> Vec<Sample> {
    let mut samples = Vec::new();
    let mut second = BEGIN + dice.roll(15) as i64;
    while second < BEGIN + SECONDS {
        let one = value(dice);
        if dice.roll(30) > 0 {
            samples.push(Sample { time: second * 1000 + 137, value: one });
        }
        second += 14 + dice.roll(3) as i64 + if dice.roll(100) == 0 { 400 } else { 0 };
    }
    samples
}

fn series(dice: &mut Dice) -> Vec<Series> {
    let mut all = Vec::new();
    for instance in ["a", "b", "c", "d"] {
        let labels = |name: &str, more: &[(&str, &str)]| {
            let base = [("__name__", name), ("instance", instance)];
            Labels::new(base.iter().chain(more).map(|(name, value)| (*name, *value)))
        };
        for method in ["get", "post"] {
            let mut total = 1e6;
            let counted = samples(dice, |dice| {
                total = if dice.roll(90) == 0 { 5e5 } else { total + dice.share() * 20.0 };
                total
            });
            all.push(Series::of_floats(labels("requests_total", &[("job", "api"), ("method", method)]), &counted));
        }
        let mut level = 50.0;
        let gauge = samples(dice, |dice| {
            level += dice.share() * 6.0 - 3.0;
            level
        });
        all.push(Series::of_floats(labels("temperature", &[("room", if instance < "c" { "x" } else { "y" })]), &gauge));
        let up = samples(dice, |dice| if dice.roll(9) == 0 { 0.0 } else { 1.0 });
        all.push(Series::of_floats(labels("up", &[("job", "api")]), &up));
        let mut counts = [1e5; 5];
        let buckets = samples(dice, |dice| {
            counts.iter_mut().for_each(|count| *count += dice.roll(4) as f64);
            0.0
        });
        // The same times for all buckets, cumulative counts.
        let mut growth = [0.0; 5];
        let mut columns: Vec<Vec<Sample>> = vec![Vec::new(); 5];
        for sample in &buckets {
            growth.iter_mut().for_each(|count| *count += dice.roll(4) as f64);
            let mut sum = 0.0;
            for (column, own) in columns.iter_mut().zip(growth) {
                sum += 1e5 + own;
                column.push(Sample { time: sample.time, value: sum });
            }
        }
        for (bound, column) in ["0.01", "0.1", "1", "10", "+Inf"].iter().zip(&columns) {
            all.push(Series::of_floats(labels("latency_bucket", &[("le", bound)]), column));
        }
    }
    all
}

const SELECTORS: [&str; 9] = [
    "requests_total",
    "temperature",
    "up",
    "latency_bucket",
    "requests_total{method=\"get\"}",
    "requests_total{instance=~\"[a-c]\",method!~\"p.*\"}",
    "temperature{room!=\"x\"}",
    "latency_bucket{le=\"1\"}",
    "up{job=\"none\"}",
];
const OVER_TIME: [&str; 17] = [
    "rate",
    "increase",
    "delta",
    "irate",
    "idelta",
    "deriv",
    "resets",
    "changes",
    "sum_over_time",
    "avg_over_time",
    "min_over_time",
    "max_over_time",
    "count_over_time",
    "last_over_time",
    "stddev_over_time",
    "stdvar_over_time",
    "present_over_time",
];
const RANGES: [&str; 5] = ["1m", "5m", "17m", "3m30s", "1h"];
const MOMENTS: [&str; 6] = ["", "", "", " offset 7m", " offset -3m", " @ 1700003000"];

fn windowed(dice: &mut Dice) -> String {
    let (selector, range, moment) = (dice.pick(&SELECTORS), dice.pick(&RANGES), dice.pick(&MOMENTS));
    // The first two extrapolate to zero: only for counters, which are far from it.
    let counter = selector.starts_with("requests") || selector.starts_with("latency");
    let functions = if counter { &OVER_TIME[..] } else { &OVER_TIME[2..] };
    match dice.roll(10) {
        0 => format!("quantile_over_time(0.{}, {selector}[{range}]{moment})", dice.roll(10)),
        1 => format!("predict_linear({selector}[{range}] offset 1m, 600)"),
        2 => {
            let (outer, inner) = (dice.pick(&OVER_TIME[2..]), dice.pick(&functions[..6]));
            format!("{outer}({inner}({selector}[{range}]{moment})[31m:{}])", dice.pick(&["", "30s", "1m"]))
        }
        _ => format!("{}({selector}[{range}]{moment})", dice.pick(functions)),
    }
}

fn vector(dice: &mut Dice, depth: usize) -> String {
    if depth > 3 {
        return dice.pick(&SELECTORS).to_owned();
    }
    let group =
        ["", " by (instance)", " without (instance)", " by (job, method)", " without (le, method)", " by (room, le)"];
    match dice.roll(13) {
        0 => format!("{}{}", dice.pick(&SELECTORS), dice.pick(&MOMENTS)),
        1..=3 => windowed(dice),
        4 | 5 => {
            let operator = dice.pick(&["sum", "avg", "min", "max", "count", "group"]);
            format!("{operator}{}({})", dice.pick(&group), vector(dice, depth + 1))
        }
        // Of an infinite value 2.42 says 0, later versions NaN: only finite ones.
        6 => format!("{}{}({})", dice.pick(&["stddev", "stdvar"]), dice.pick(&group), windowed(dice)),
        // Ties are broken by chance in Prometheus: only values that differ.
        7 => format!("{}({}, temperature)", dice.pick(&["topk", "bottomk"]), dice.roll(5)),
        8 => format!("quantile by (instance) (0.{}, {})", dice.roll(10), vector(dice, depth + 1)),
        9 => {
            let function = dice.pick(&[
                "abs",
                "ceil",
                "floor",
                "exp",
                "sqrt",
                "ln",
                "log2",
                "log10",
                "sgn",
                "sin",
                "cos",
                "tanh",
                "deg",
                "rad",
                "minute",
                "hour",
                "day_of_week",
                "month",
                "timestamp",
                "absent",
            ]);
            let inner = vector(dice, depth + 1);
            match dice.roll(16) {
                0 => format!("label_replace({inner}, \"new\", \"$1-x\", \"instance\", \"([ab])\")"),
                1 => format!("label_join({inner}, \"new\", \"/\", \"instance\", \"job\", \"none\")"),
                2 => format!("clamp({inner}, -1, 1e3)"),
                3 => format!("clamp_max(clamp_min({inner}, 0.5), 7)"),
                4 => format!("round({inner}, 0.25)"),
                5 => format!("count_values by (job) (\"value\", round({inner}))"),
                6 => format!("absent_over_time({}[{}])", dice.pick(&SELECTORS), dice.pick(&RANGES)),
                7 => format!("sort_desc({inner})"),
                8 => format!("vector(scalar({inner})) + time()"),
                9 => format!("double_exponential_smoothing(temperature[{}], 0.3, 0.6)", dice.pick(&RANGES)),
                10 => format!("-({inner})"),
                11 => format!("sum by (instance) ({inner}) * on (instance) group_right (new) temperature"),
                12 => format!("sum by (instance) ({inner}) atan2 sum by (instance) (up)"),
                13 => format!("sum by (instance) ({inner}) >= bool sum by (instance) (temperature)"),
                14 => format!("max_over_time(({inner})[10m:1m] offset 3m)"),
                _ => format!("{function}({inner})"),
            }
        }
        10 => {
            let operator = dice.pick(&["+", "-", "*", "/", ">", "<", "==", "!=", ">= bool", "<= bool"]);
            let scalar = dice.pick(&["2", "0.5", "-3", "scalar(sum(up))", "1e6"]);
            format!("({}) {operator} {scalar}", vector(dice, depth + 1))
        }
        11 => {
            let (left, right) = (vector(dice, depth + 1), vector(dice, depth + 1));
            match dice.pick(&["and", "or", "unless", "+", "-", "*", "/", ">", "<= bool"]) {
                set @ ("and" | "or" | "unless") => {
                    format!("({left}) {set}{} ({right})", dice.pick(&["", " on (instance)", " ignoring (method, le)"]))
                }
                operator => format!("({left}) {operator} on (instance) group_left () sum by (instance) ({right})"),
            }
        }
        _ => {
            let sum = dice.pick(&["sum by (le) ", "", "sum by (instance, le) "]);
            format!(
                "histogram_quantile(0.{}, {sum}(rate(latency_bucket[{}])))",
                1 + dice.roll(98),
                dice.pick(&RANGES[1..])
            )
        }
    }
}

/// A server over blocks of these series.
fn serve(directory: &Path, series: &[Series]) -> Option<Prometheus> {
    if !promtool() {
        return None;
    }
    let mut text = String::new();
    let mut by_name: BTreeMap<&str, Vec<&Series>> = BTreeMap::new();
    for one in series {
        by_name.entry(one.labels.metric_name()).or_default().push(one);
    }
    for (name, all) in by_name {
        writeln!(text, "# TYPE {name} unknown").unwrap();
        for one in all {
            let labels = one.labels.without_name().to_string();
            for (time, value) in one.times.iter().zip(one.values.iter()) {
                writeln!(text, "{name}{} {value:?} {}", labels.replace(", ", ","), syncline_promql::format_time(*time))
                    .unwrap();
            }
        }
    }
    text.push_str("# EOF\n");
    std::fs::write(directory.join("samples"), text).unwrap();
    let made = Command::new("promtool")
        .args(["tsdb", "create-blocks-from", "openmetrics", "samples", "data"])
        .current_dir(directory)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(made.success());
    Prometheus::over(directory)
}

/// Each series' points by its labels; `None` for an error.
fn points(answer: &Json) -> Option<BTreeMap<String, Vec<(String, f64)>>> {
    let result = answer.get("data")?.get("result")?.as_array()?;
    let point = |pair: &Json| Some((pair.get(0)?.to_string(), pair.get(1)?.as_str()?.parse().ok()?));
    let mut all = BTreeMap::new();
    for one in result {
        let points = match one.get("value") {
            Some(pair) => vec![point(pair)?],
            None => one.get("values")?.as_array()?.iter().map(point).collect::<Option<Vec<_>>>()?,
        };
        all.insert(one.get("metric")?.to_string(), points);
    }
    Some(all)
}

fn close(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
}

#[test]
fn answers_are_those_of_prometheus() {
    let mut dice = Dice(0x5eed_1234_9876_4321);
    let series = series(&mut dice);
    let directory = tempfile::tempdir().unwrap();
    let Some(server) = serve(directory.path(), &series) else {
        println!("skipped: prometheus and promtool are not installed");
        return;
    };
    let storage = MemoryStorage::new(series);
    let (mut filled, mut failed, mut wrong) = (0, 0, Vec::new());
    for number in 0..QUERIES {
        let query = vector(&mut dice, 0);
        let expr = parse(&query).unwrap_or_else(|error| panic!("{query}: {error}"));
        // 7 s off the minute: no step of a subquery lies on the edge of its window.
        let start = BEGIN + 7 + 60 * dice.roll(60) as i64;
        // Renamed since.
        let theirs = escaped(&query.replace("double_exponential_smoothing", "holt_winters"));
        let (ours, path) = if number % 2 == 0 {
            let path = format!("/api/v1/query?query={theirs}&time={start}");
            (instant(&storage, &expr, start * 1000, &Options::default()), path)
        } else {
            let (end, step) = (start + 60 * dice.roll(40) as i64, [60, 120, 300][dice.roll(3)]);
            let path = format!("/api/v1/query_range?query={theirs}&start={start}&end={end}&step={step}");
            (range(&storage, &expr, start * 1000, end * 1000, step * 1000, &Options::default()), path)
        };
        let ours = ours.map_or_else(|error| eval_error_to_json(&error), |answer| to_json(&answer));
        let (_, theirs) = server.get(&path).expect("an answer");
        let (ours, theirs): (Json, Json) =
            (serde_json::from_str(&ours).unwrap(), serde_json::from_str(&theirs).unwrap());
        let same = match (points(&ours), points(&theirs)) {
            (Some(ours), Some(theirs)) => {
                filled += usize::from(!theirs.is_empty());
                ours.len() == theirs.len()
                    && ours.iter().zip(&theirs).all(|(a, b)| {
                        a.0 == b.0
                            && a.1.len() == b.1.len()
                            && a.1.iter().zip(b.1).all(|(a, b)| a.0 == b.0 && close(a.1, b.1))
                    })
            }
            (None, None) => {
                failed += 1;
                ours.get("errorType") == theirs.get("errorType")
            }
            _ => false,
        };
        if !same {
            wrong.push(format!("{query}\n  at {path}\n  ours   {ours}\n  theirs {theirs}"));
        }
    }
    println!("{QUERIES} queries, {filled} with values, {failed} with errors");
    assert!(filled > QUERIES / 2, "too few queries had values: {filled}");
    let shown: Vec<String> = wrong.iter().take(3).map(|text| text.chars().take(1500).collect()).collect();
    assert!(wrong.is_empty(), "{} of {QUERIES} differ:\n{}", wrong.len(), shown.join("\n"));
}
