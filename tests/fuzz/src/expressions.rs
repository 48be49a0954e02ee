//! PromQL: a text, or pieces of the language put together, evaluated over a small store at one time and over a range.
//!
//! The first byte says which of the two, the second when. What must hold beside no panic: an instant query answers what a
//! range query of one step answers, and every answer is JSON.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use syncline_promql::{
    Answer, Histogram, HistogramSample, IndexedBucket, Labels, MemoryStorage, Options, Sample, SampleValue, Series,
    Value, instant, parse, range, stale_marker, to_json,
};

/// Pieces of the language.
const PIECES: &[&str] = &[
    "a_total",
    "gauge",
    "h",
    "b_bucket",
    "custom",
    "(",
    ")",
    "[5m]",
    "[1m:15s]",
    "{n=\"1\"}",
    "{n=~\".+\",le!=\"1\"}",
    ",",
    " + ",
    " - ",
    " * ",
    " / ",
    " % ",
    " ^ ",
    " == bool ",
    " > ",
    " and ",
    " or ",
    " unless ",
    " atan2 ",
    " on (n) ",
    " ignoring (le) ",
    " group_left ",
    " group_right (n) ",
    " fill(0) ",
    " by (n) ",
    " without (le) ",
    " offset 1m",
    " offset -30s",
    " @ 1100",
    " @ start()",
    " @ end()",
    " smoothed",
    " anchored",
    "sum(",
    "avg(",
    "min(",
    "max(",
    "count(",
    "stddev(",
    "stdvar(",
    "group(",
    "topk(2, ",
    "bottomk(1, ",
    "limitk(2, ",
    "limit_ratio(0.5, ",
    "count_values(\"v\", ",
    "quantile(0.9, ",
    "rate(",
    "irate(",
    "increase(",
    "delta(",
    "idelta(",
    "deriv(",
    "changes(",
    "resets(",
    "predict_linear(",
    "double_exponential_smoothing(",
    "histogram_quantile(0.9, ",
    "histogram_fraction(0, 1, ",
    "histogram_avg(",
    "histogram_sum(",
    "histogram_count(",
    "histogram_stddev(",
    "histogram_quantiles(",
    "avg_over_time(",
    "sum_over_time(",
    "quantile_over_time(0.5, ",
    "mad_over_time(",
    "last_over_time(",
    "ts_of_max_over_time(",
    "absent(",
    "absent_over_time(",
    "label_replace(",
    "label_join(",
    "info(",
    "abs(",
    "clamp(",
    "round(",
    "sort(",
    "sort_by_label(",
    "timestamp(",
    "scalar(",
    "vector(",
    "time()",
    "pi()",
    "year(",
    "days_in_month(",
    "1",
    "0",
    "-1",
    "0.5",
    "1e18",
    "Inf",
    "NaN",
    "0x1F",
    "1_000",
    "5m",
    "1h30m",
    "step()",
    "range()",
    "\"a\"",
    "\"$1\"",
    "\"(.*)\"",
    "'\\xff'",
    "`x`",
    "[5m:]",
    "[step()]",
    "[1m+2m]",
    " trim_upper(1) ",
    " </ ",
    " >/ ",
    "{\"utf8 name\"}",
    "{__name__=~\".*\"}",
    "# comment\n",
    "-",
    "+",
    "!",
];

/// First sample of the store, milliseconds.
pub(crate) const FIRST: i64 = 1_000_000;
/// Between two samples.
pub(crate) const STEP: i64 = 15_000;

/// Takes an input.
pub fn run(data: &[u8]) {
    let [kind, when, rest @ ..] = data else { return };
    let text = match kind % 2 {
        0 => String::from_utf8_lossy(rest).into_owned(),
        _ => rest.iter().take(40).map(|piece| PIECES[usize::from(*piece) % PIECES.len()]).collect(),
    };
    asked(&text, FIRST + i64::from(*when) * 5_000);
}

/// Asks at a time, in milliseconds, and over a range from there on.
///
/// # Panics
/// Where two ways to ask the same are answered differently.
fn asked(text: &str, time: i64) {
    let Ok(expr) = parse(text) else { return };
    let options = Options {
        lookback: Duration::from_secs(300),
        subquery_step: Duration::from_secs(60),
        timed: true,
        max_samples: 100_000,
        memory: 16 << 20,
        deadline: None,
    };
    let store = store();
    let once = instant(store, &expr, time, &options);
    let over = range(store, &expr, time, time + 90_000, 17_000, &options);
    once.iter().chain(&over).for_each(is_json);
    // Durations may depend on the step, which an instant query has not, and what a pattern finds in a name is the same.
    let (false, Ok(once)) = (text.contains("step"), &once) else { return };
    if let (Ok(same), Some(points)) = (range(store, &expr, time, time, 1_000, &options), points_of(&once.value)) {
        let others = points_of(&same.value).unwrap_or_default();
        assert_eq!(points, others, "{text} at {time}");
    }
}

/// What an answer has by labels, comparable; none where a range query cannot have it.
fn points_of(value: &Value) -> Option<BTreeMap<String, String>> {
    let float = |value: f64| format!("{:?}", if value.is_nan() { f64::NAN } else { value });
    let mut found = BTreeMap::new();
    match value {
        Value::Scalar { value, .. } => drop(found.insert("{}".to_owned(), float(*value))),
        Value::Vector(elements) => {
            for one in elements {
                let text = match &one.value {
                    SampleValue::Float(value) => float(*value),
                    SampleValue::Histogram(histogram) => format!("{histogram:?}"),
                };
                found.insert(one.labels.to_string(), text);
            }
        }
        Value::Matrix(series) => {
            for one in series {
                let floats = one.floats.iter().map(|(_, value)| float(*value));
                let histograms = one.histograms.iter().map(|(_, histogram)| format!("{histogram:?}"));
                found.insert(one.labels.to_string(), floats.chain(histograms).collect());
            }
        }
        Value::String { .. } => return None,
    }
    Some(found)
}

fn is_json(answer: &Answer) {
    let text = to_json(answer);
    let read: Result<serde_json::Value, _> = serde_json::from_str(&text);
    read.unwrap_or_else(|error| panic!("{error}: {text}"));
}

/// Counters with a reset and with gaps, gauges with every special value, classic and native histograms.
fn store() -> &'static MemoryStorage {
    static STORE: OnceLock<MemoryStorage> = OnceLock::new();
    STORE.get_or_init(|| MemoryStorage::new(series()))
}

pub(crate) fn series() -> Vec<Series> {
    let samples = |values: &dyn Fn(i64) -> Option<f64>| {
        let of = |at: i64| values(at).map(|value| Sample { time: FIRST + at * STEP, value });
        (0..60).filter_map(of).collect::<Vec<Sample>>()
    };
    let named = |name: &str, labels: &[(&str, &str)]| {
        Labels::new(labels.iter().copied().chain([("__name__", name)]).collect::<Vec<_>>())
    };
    let counter = samples(&|at| Some((at % 40 * 7) as f64));
    let gaps = samples(&|at| (at % 9 != 3).then_some(if at % 20 == 0 { stale_marker() } else { at as f64 }));
    let special =
        [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, f64::MAX, f64::MIN_POSITIVE, 1e-320, -3.5, 1e18];
    let gauge = samples(&|at| Some(special[at as usize % special.len()]));
    let mut all = vec![
        Series::of_floats(named("a_total", &[("n", "1")]), &counter),
        Series::of_floats(named("a_total", &[("n", "2")]), &gaps),
        Series::of_floats(named("gauge", &[("n", "1"), ("job", "x")]), &gauge),
        Series::of_floats(named("gauge", &[("n", "2"), ("utf8 name", "é\"\\\n")]), &samples(&|at| Some(at as f64))),
        Series::of_floats(
            named("target_info", &[("n", "1"), ("job", "x"), ("version", "1")]),
            &samples(&|_| Some(1.0)),
        ),
    ];
    for (bound, times) in [("0.5", 1), ("1", 3), ("+Inf", 4), ("nonsense", 2)] {
        let labels = named("b_bucket", &[("n", "1"), ("le", bound)]);
        all.push(Series::of_floats(labels, &samples(&|at| Some((at * times) as f64))));
    }
    for (name, schema) in [("h", 0), ("h", 8), ("h", -4), ("custom", -53)] {
        let histograms = (0..60).map(|at| HistogramSample {
            time: FIRST + at * STEP,
            histogram: Arc::new(histogram(schema, (at % 45) as f64)),
        });
        let labels = named(name, &[("n", &schema.to_string())]);
        all.push(Series { labels, histograms: histograms.collect(), ..Series::default() });
    }
    all
}

fn histogram(schema: i32, times: f64) -> Histogram {
    let buckets = |all: &[i32]| all.iter().map(|index| IndexedBucket { index: *index, count: times + 1.0 }).collect();
    let custom = schema == -53;
    Histogram {
        schema,
        zero_threshold: if custom { 0.0 } else { 0.001 },
        zero_count: if custom { 0.0 } else { times },
        count: if custom { 3.0 * (times + 1.0) } else { 5.0 * (times + 1.0) + times },
        sum: times * 12.5,
        positive: buckets(if custom { &[0, 1, 2] } else { &[-3, 0, 1] }),
        negative: if custom { Vec::new() } else { buckets(&[0, 2]) },
        custom_values: if custom { vec![0.1, 5.0] } else { Vec::new() },
        ..Histogram::default()
    }
}

/// Queries of people, and pieces in every order.
pub fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        "sum by (n) (rate(a_total[5m])) / on (n) group_left avg(gauge) by (n)",
        "histogram_quantile(0.99, sum(rate(b_bucket[5m])) by (le))",
        "histogram_quantile(0.5, h) or histogram_fraction(0, 2, custom)",
        "topk(2, gauge) and on () (time() > 0)",
        "max_over_time(rate(a_total[1m])[5m:15s])",
        "label_replace(gauge, \"x\", \"$1-$2\", \"n\", \"(.)(.*)\")",
        "a_total @ end() offset -5m > bool 3 unless gauge",
        "{__name__=~\"a.*\", n!~\"x|y\"}[2m]",
        "predict_linear(gauge[5m], 3600) + deriv(a_total[5m])",
        "info(gauge, {version=~\".+\"})",
        "quantile_over_time(2, gauge[5m]) ^ -1 % 0",
        "count_values(\"v\", gauge)",
        "\"a \\u00e9 \\x41\"",
        "-(-(-1)) ^ 2 ^ 3",
        "a_total[1m] smoothed",
        "increase(a_total[5m] anchored)",
        "absent(nothing{a=\"b\"})",
        "histogram_avg(h + h * 2 - h / 3)",
        "vector(scalar(gauge{n=\"1\"}))",
        "sort_by_label_desc(gauge, \"n\")",
    ];
    let mut seeds: Vec<Vec<u8>> = texts.iter().map(|text| [&[0, 40], text.as_bytes()].concat()).collect();
    for piece in 0..PIECES.len() as u8 {
        // A call, what it is of, a range or a matcher, and its end.
        seeds.push(vec![1, piece, piece, 0, 7, 6]);
        seeds.push(vec![1, piece, piece, 2, 6, piece.wrapping_mul(3), 1]);
        seeds.push(vec![1, piece, 38, piece, piece % 5, 6, 6]);
    }
    seeds
}
