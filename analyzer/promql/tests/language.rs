//! What the documentation of the language says, on small series.
// In a test an unexpected error is to fail it.
#![allow(clippy::unwrap_used)]

use syncline_promql::{
    AlertRange, Labels, MemoryStorage, Options, Sample, Series, Value, alert, eval_error_to_json, instant, parse,
    range, stale_marker, to_json,
};

/// Series from lines like `name{label="value"} 1 2 _ stale 5`, one value each 15 s from time 0; `_` is no sample.
fn storage(text: &str) -> MemoryStorage {
    let series = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| {
        let (metric, values) = match line.rfind('}') {
            Some(end) => line.split_at(end + 1),
            None => line.split_at(line.find(' ').unwrap_or(line.len())),
        };
        let (name, labels) = metric.trim_end_matches('}').split_once('{').unwrap_or((metric, ""));
        let mut pairs = vec![("__name__".to_owned(), name.to_owned())];
        for pair in labels.split(',').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap();
            pairs.push((name.trim().to_owned(), value.trim_matches('"').to_owned()));
        }
        let samples: Vec<Sample> = values
            .split_whitespace()
            .enumerate()
            .filter(|(_, value)| *value != "_")
            .map(|(index, value)| Sample {
                time: index as i64 * 15_000,
                value: if value == "stale" { stale_marker() } else { value.parse().unwrap() },
            })
            .collect();
        Series::of_floats(Labels::new(pairs), &samples)
    });
    MemoryStorage::new(series.collect())
}

/// The answer at a time in seconds, one element per line: `{labels} value`.
fn at(storage: &MemoryStorage, seconds: f64, query: &str) -> String {
    let expr = parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
    match instant(storage, &expr, (seconds * 1000.0) as i64, &Options::default()) {
        Err(error) => format!("error: {error}"),
        Ok(answer) => match answer.value {
            Value::Scalar { value, .. } => format!("{value}"),
            Value::String { text, .. } => text,
            Value::Vector(elements) => elements
                .iter()
                .map(|element| match &element.value {
                    syncline_promql::SampleValue::Float(value) => format!("{} {value}", element.labels),
                    syncline_promql::SampleValue::Histogram(histogram) => format!("{} {histogram}", element.labels),
                })
                .collect::<Vec<_>>()
                .join("\n"),
            Value::Matrix(series) => {
                series.iter().map(|one| format!("{} {:?}", one.labels, one.floats)).collect::<Vec<_>>().join("\n")
            }
        },
    }
}

#[track_caller]
fn check(storage: &MemoryStorage, seconds: f64, query: &str, expected: &[&str]) {
    assert_eq!(at(storage, seconds, query), expected.join("\n"), "{query}");
}

#[test]
fn a_selector_looks_back_five_minutes_open_on_the_left_and_stops_at_a_stale_marker() {
    let data = storage("up 1 1\nold{a=\"1\"} 2 stale");
    check(&data, 15.0, "up", &[r#"{__name__="up"} 1"#]);
    check(&data, 314.999, "up", &[r#"{__name__="up"} 1"#]);
    check(&data, 315.0, "up", &[]);
    check(&data, 14.0, "old", &[r#"{__name__="old", a="1"} 2"#]);
    check(&data, 15.0, "old", &[]);
    check(&data, 20.0, "up offset 10s", &[r#"{__name__="up"} 1"#]);
    check(&data, 2000.0, "up @ 20", &[r#"{__name__="up"} 1"#]);
    check(&data, 2000.0, "up @ start() offset 33m", &[r#"{__name__="up"} 1"#]);
}

#[test]
fn range_windows_are_open_on_the_left() {
    let data = storage("x 1 2 3 4 5");
    check(&data, 60.0, "count_over_time(x[30s])", &["{} 2"]);
    check(&data, 60.0, "x[30s]", &[r#"{__name__="x"} [(45000, 4.0), (60000, 5.0)]"#]);
    check(&data, 60.0, "sum_over_time(x[30s] offset 15s)", &["{} 7"]);
    check(&data, 60.0, "count_over_time(x[1m:15s])", &["{} 4"]);
    check(&data, 60.0, "last_over_time(x[1m])", &[r#"{__name__="x"} 5"#]);
}

#[test]
fn rates_extrapolate_to_the_window_but_never_below_zero() {
    let data = storage("a_total 0 15 30 45 60\nb_total 100 130 10 40 70\nc_total _ _ 30 45 60");
    check(&data, 60.0, "round(rate(a_total[1m]), 0.001)", &["{} 1"]);
    // The samples cover 45 s of the 60 s; the 15 s before the first are within 1.1 × the distance, and filled.
    check(&data, 60.0, "round(increase(b_total[1m]), 0.01)", &["{} 93.33"]);
    // Half a distance before the first sample: the series began there.
    check(&data, 60.0, "increase(c_total[5m])", &["{} 37.5"]);
    check(&data, 60.0, "irate(b_total[1m])", &["{} 2"]);
    check(&data, 60.0, "resets(b_total[5m])", &["{} 1"]);
    check(&data, 60.0, "changes(b_total[5m])", &["{} 4"]);
    check(&data, 60.0, "round(delta(b_total[1m]))", &["{} -80"]);
}

#[test]
fn anchored_and_smoothed_windows_use_the_samples_around_the_ends() {
    let data = storage("a_total 0 10 20 30 40 50");
    check(&data, 60.0, "increase(a_total[20s] anchored)", &["{} 20"]);
    check(&data, 52.5, "increase(a_total[15s] smoothed)", &["{} 10"]);
    check(&data, 52.5, "rate(a_total[15s] smoothed)", &["{} 0.6666666666666666"]);
    check(&data, 52.5, "a_total smoothed", &[r#"{__name__="a_total"} 35"#]);
    assert!(at(&data, 60.0, "irate(a_total[20s] anchored)").starts_with("error: anchored modifier"));
}

#[test]
fn the_documented_example_of_vector_matching() {
    let data = storage(
        r#"errors{method="get",code="500"} 24
           errors{method="get",code="404"} 30
           errors{method="put",code="501"} 3
           errors{method="post",code="500"} 6
           errors{method="post",code="404"} 21
           requests{method="get"} 600
           requests{method="del"} 34
           requests{method="post"} 120"#,
    );
    let expected = [r#"{method="get"} 0.04"#, r#"{method="post"} 0.05"#];
    check(&data, 0.0, r#"errors{code="500"} / ignoring(code) requests"#, &expected);
    check(
        &data,
        0.0,
        "sort(errors / ignoring(code) group_left requests)",
        &[
            r#"{code="500", method="get"} 0.04"#,
            r#"{code="404", method="get"} 0.05"#,
            r#"{code="500", method="post"} 0.05"#,
            r#"{code="404", method="post"} 0.175"#,
        ],
    );
    check(&data, 0.0, "count(requests and on (method) errors)", &["{} 2"]);
    check(&data, 0.0, "requests unless on (method) errors", &[r#"{__name__="requests", method="del"} 34"#]);
    check(&data, 0.0, "count(errors or requests)", &["{} 8"]);
    check(
        &data,
        0.0,
        r#"sort(errors{code="500"} + ignoring(code) fill(0) requests)"#,
        &[r#"{method="del"} 34"#, r#"{method="post"} 126"#, r#"{method="get"} 624"#],
    );
    assert!(at(&data, 0.0, "requests / on (method) errors").starts_with(
        r#"error: found duplicate series for the match group {method="get"} on the right hand-side of the operation: ["#
    ));
    assert_eq!(
        at(&data, 0.0, "errors / on (method) requests"),
        "error: multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
    );
}

#[test]
fn comparisons_filter_or_give_zero_and_one() {
    let data = storage("x{a=\"1\"} 1\nx{a=\"2\"} 2");
    check(&data, 0.0, "x > 1", &[r#"{__name__="x", a="2"} 2"#]);
    check(&data, 0.0, "1 < x", &[r#"{__name__="x", a="2"} 2"#]);
    check(&data, 0.0, "x >= bool 2", &[r#"{a="1"} 0"#, r#"{a="2"} 1"#]);
    check(&data, 0.0, "1 == bool 1", &["1"]);
    check(&data, 0.0, "x == on (a) x", &[r#"{a="1"} 1"#, r#"{a="2"} 2"#]);
}

#[test]
fn aggregations() {
    let data = storage("x{a=\"1\",b=\"x\"} 1\nx{a=\"2\",b=\"x\"} 3\nx{a=\"3\",b=\"y\"} NaN\nx{a=\"4\",b=\"y\"} 8");
    check(&data, 0.0, "sum by (b) (x)", &[r#"{b="x"} 4"#, r#"{b="y"} NaN"#]);
    check(&data, 0.0, "max without (a) (x)", &[r#"{b="x"} 3"#, r#"{b="y"} 8"#]);
    check(&data, 0.0, "topk(2, x)", &[r#"{__name__="x", a="4", b="y"} 8"#, r#"{__name__="x", a="2", b="x"} 3"#]);
    check(
        &data,
        0.0,
        "bottomk by (b) (1, x)",
        &[r#"{__name__="x", a="1", b="x"} 1"#, r#"{__name__="x", a="4", b="y"} 8"#],
    );
    check(&data, 0.0, r#"quantile(0.5, x{b="x"})"#, &["{} 2"]);
    check(&data, 0.0, r#"stddev(x{b="x"})"#, &["{} 1"]);
    check(&data, 0.0, r#"count_values("v", x{b="x"})"#, &[r#"{v="1"} 1"#, r#"{v="3"} 1"#]);
    check(&data, 0.0, "group(x)", &["{} 1"]);
    check(&data, 0.0, "count(limitk(3, x))", &["{} 3"]);
    check(&data, 0.0, "count(limit_ratio(0.4, x) or limit_ratio(-0.6, x))", &["{} 4"]);
}

#[test]
fn functions_of_labels_and_absence() {
    let data = storage("up{job=\"api-server\",service=\"a:c\",src1=\"a\",src2=\"b\"} 1");
    check(
        &data,
        0.0,
        r#"label_replace(up, "foo", "$1", "service", "(.*):.*") * 1"#,
        &[r#"{foo="a", job="api-server", service="a:c", src1="a", src2="b"} 1"#],
    );
    check(
        &data,
        0.0,
        r#"label_replace(up, "foo", "$name", "service", "(?P<name>.*):(?P<version>.*)") * 1"#,
        &[r#"{foo="a", job="api-server", service="a:c", src1="a", src2="b"} 1"#],
    );
    check(
        &data,
        0.0,
        r#"label_join(up, "foo", ",", "src1", "src2", "none") * 1"#,
        &[r#"{foo="a,b,", job="api-server", service="a:c", src1="a", src2="b"} 1"#],
    );
    check(&data, 0.0, r#"absent(nonexistent{job="myjob",instance=~".*"})"#, &[r#"{job="myjob"} 1"#]);
    check(&data, 0.0, r#"absent(sum(nonexistent{job="myjob"}))"#, &["{} 1"]);
    check(&data, 0.0, r#"absent_over_time(nonexistent{job="myjob"}[1h])"#, &[r#"{job="myjob"} 1"#]);
    check(&data, 0.0, "absent(up)", &[]);
    // A name that the query gives itself outlasts the removal of names.
    check(&data, 0.0, r#"label_replace(sum(up), "__name__", "total", "", "")"#, &[r#"{__name__="total"} 1"#]);
}

#[test]
fn info_adds_data_labels() {
    let data = storage(
        r#"x_total{instance="a",job="1",label="v"} 1
           target_info{instance="a",job="1",version="7",data="d"} 1"#,
    );
    check(
        &data,
        0.0,
        r#"info(x_total, {version=~".+"})"#,
        &[r#"{__name__="x_total", instance="a", job="1", label="v", version="7"} 1"#],
    );
    check(
        &data,
        0.0,
        "info(x_total)",
        &[r#"{__name__="x_total", data="d", instance="a", job="1", label="v", version="7"} 1"#],
    );
    check(&data, 0.0, r#"info(x_total, {none=~".+"})"#, &[]);
}

#[test]
fn classic_histograms() {
    let data = storage("h_bucket{le=\"0.1\"} 1\nh_bucket{le=\"1\"} 3\nh_bucket{le=\"+Inf\"} 4\nbad_bucket{le=\"x\"} 1");
    check(&data, 0.0, "histogram_quantile(0.5, h_bucket)", &["{} 0.55"]);
    check(&data, 0.0, "histogram_fraction(0, 1, h_bucket)", &["{} 0.75"]);
    check(&data, 0.0, r#"histogram_quantiles(h_bucket, "q", 0.25, 0.99)"#, &[r#"{q="0.25"} 0.1"#, r#"{q="0.99"} 1"#]);
    let expr = parse("histogram_quantile(2, bad_bucket)").unwrap();
    let answer = instant(&data, &expr, 0, &Options::default()).unwrap();
    assert_eq!(
        answer.warnings,
        [
            r#"PromQL warning: bucket label "le" is missing or has a malformed value of "x" for metric name "bad_bucket" (1:23)"#,
            "PromQL warning: quantile value should be between 0 and 1, got 2 (1:20)",
        ]
    );
}

#[test]
fn infos_name_their_place() {
    let data = storage("x 1 2 3");
    let expr = parse("sum(rate(x[1m]))").unwrap();
    let answer = instant(&data, &expr, 30_000, &Options::default()).unwrap();
    assert_eq!(
        answer.infos,
        [r#"PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "x" (1:10)"#]
    );
    assert_eq!((answer.selected[0].series, answer.selected[0].samples), (1, 3));
    assert_eq!(answer.selected[0].selector, "x");
}

#[test]
fn scalars_strings_and_time() {
    let data = storage("x 7");
    check(&data, 90.0, "time() + 1h", &["3690"]);
    check(&data, 90.0, "\"a string\"", &["a string"]);
    check(&data, 90.0, "-2 ^ 2 % 3 atan2 1", &[&format!("{}", (-1f64).atan2(1.0))]);
    check(&data, 10.0, "scalar(x) + pi() * 0", &["7"]);
    check(&data, 10.0, "timestamp(x)", &["{} 0"]);
    check(&data, 10.0, "timestamp(x + 0)", &["{} 10"]);
    check(&data, 10.0, "round(x / 2, 0.25) - clamp(x, 0, 3)", &["{} 0.5"]);
    check(&data, 10.0, "max_of(1, 3) - min_of(1, 3)", &["2"]);
}

#[test]
fn range_queries_fix_the_order_and_refuse_what_the_api_refuses() {
    let data = storage("x{a=\"2\"} 1 2 3\nx{a=\"1\"} 4 _ 6");
    let expr = parse("sort(x) * step()").unwrap();
    let answer = range(&data, &expr, 0, 30_000, 15_000, &Options::default()).unwrap();
    assert_eq!(
        to_json(&answer),
        r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"a":"1"},"values":[[0,"60"],[15,"60"],[30,"90"]]},{"metric":{"a":"2"},"values":[[0,"15"],[15,"30"],[30,"45"]]}]},"warnings":["PromQL warning: sort is ineffective for range queries since results are always ordered by labels (1:1)"]}"#
    );
    let refused = range(&data, &expr, 0, 20_000_000, 1000, &Options::default()).unwrap_err();
    assert!(eval_error_to_json(&refused).contains("exceeded maximum resolution of 11,000 points per timeseries"));
    assert!(range(&data, &parse("x[5m]").unwrap(), 0, 1, 1, &Options::default()).is_err());
}

#[test]
fn names_are_removed_at_the_end_so_that_two_metrics_may_meet() {
    let data = storage("a_total{x=\"1\"} 0 15 30\nb_total{x=\"2\"} 0 30 60\na_total{x=\"2\"} 0 15 30");
    check(
        &data,
        30.0,
        r#"label_replace(rate({__name__=~"a_total|b_total",x="2"}[1m]), "__name__", "$1", "__name__", "(.).*")"#,
        &[r#"{__name__="a", x="2"} 0.5"#, r#"{__name__="b", x="2"} 1"#],
    );
    assert_eq!(
        at(&data, 30.0, r#"rate({__name__=~"a_total|b_total"}[1m])"#),
        "error: vector cannot contain metrics with the same labelset"
    );
}

#[test]
fn an_alert_is_pending_before_it_fires_and_starts_again_after_a_gap() {
    let data = storage("x 1 5 5 5 1 5 5");
    let expr = parse("x > 4").unwrap();
    let times = AlertRange { start: 0, end: 90_000, step: 15_000 };
    let history = alert(&data, &expr, 30_000, times, &Options::default()).unwrap();
    let found: Vec<_> =
        history.intervals.iter().map(|one| (one.pending, one.firing, one.last, one.open, one.evaluations)).collect();
    assert_eq!(found, [(15_000, Some(45_000), 45_000, false, 3), (75_000, None, 90_000, true, 2)]);
}

#[test]
fn start_timestamps_tell_resets_that_values_do_not_show() {
    let labels = Labels::new([("__name__", "x_total")]);
    let samples = [(15_000, 10.0), (30_000, 20.0), (45_000, 30.0)].map(|(time, value)| Sample { time, value });
    let mut series = Series::of_floats(labels, &samples);
    series.start_times = vec![5_000, 5_000, 40_000];
    let data = MemoryStorage::new(vec![series]);
    // From 0 at 5 s: 10, 20, and 30 more since the restart at 40 s.
    check(&data, 45.0, "increase(x_total[1m])", &["{} 50"]);
    check(&data, 15.0, "increase(x_total[1m])", &["{} 10"]);
    check(&data, 45.0, "start_timestamp(x_total)", &["{} 40"]);
}

#[test]
fn the_deepest_expressions_do_not_exhaust_the_stack() {
    let data = storage("x -1");
    for (open, close) in
        [("abs(", ")"), ("(", ")"), ("-", ""), ("sum(", ")"), ("1 + (", ")"), ("last_over_time(", "[1m:15s])")]
    {
        let query = format!("{}x{}", open.repeat(60), close.repeat(60));
        assert!(parse(&query).is_ok(), "{query}");
        let deepest =
            (60..400).rev().step_by(5).find(|n| parse(&format!("{}x{}", open.repeat(*n), close.repeat(*n))).is_ok());
        let query = format!("{}x{}", open.repeat(deepest.unwrap()), close.repeat(deepest.unwrap()));
        let _ = at(&data, 0.0, &query);
    }
}

#[test]
fn repaired_buckets_are_told_once_with_their_extent() {
    let data = storage("h_bucket{le=\"1\"} 5 5\nh_bucket{le=\"2\"} 3 4\nh_bucket{le=\"+Inf\"} 6 6");
    let expr = parse("histogram_quantile(0.5, h_bucket)").unwrap();
    let answer = range(&data, &expr, 0, 15_000, 15_000, &Options::default()).unwrap();
    assert_eq!(
        answer.infos,
        [
            r#"PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile) for metric name "h_bucket", from buckets 2 to 2, with a max diff of 2, over 2 samples from 1970-01-01T00:00:00Z to 1970-01-01T00:00:15Z (1:25)"#
        ]
    );
}
