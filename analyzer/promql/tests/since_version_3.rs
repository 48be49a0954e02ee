//! What Prometheus 3.0 to 3.14 say otherwise than 2.42, which the differential test compares with. Each rule has its
//! reference: the documentation, or the pull request (PR) or issue of prometheus/prometheus.
//!
//! Native histograms have a file of their own.

mod notation;

use notation::{Point, ask, ask_range, exponential, fails, floats, series, shown, storage};
use syncline_promql::{MemoryStorage, Options, Series, instant, parse, range, to_json};

/// A fixture in the exposition format with timestamps in milliseconds.
fn exposition(name: &str) -> MemoryStorage {
    let path = format!("{}/../../tests/fixtures/faults/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).expect("fixture");
    let mut all: Vec<Series> = Vec::new();
    for line in text.lines() {
        let [metric, value, time] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let labels = series::<f64>(metric, []).labels;
        let place = all.iter().position(|one| one.labels == labels).unwrap_or_else(|| {
            all.push(Series { labels, ..Series::default() });
            all.len() - 1
        });
        all[place].push(time.parse().expect("time"), value.parse().expect("value"));
    }
    storage(all)
}

#[track_caller]
fn check(data: &MemoryStorage, seconds: i64, query: &str, expected: &[&str]) {
    assert_eq!(shown(&ask(data, seconds, query)), expected, "{query}");
}

/// PR 19266 (3.14): the info series are looked for where the first argument looks.
#[test]
fn info_follows_offset_at_and_subqueries_of_its_argument() {
    let data = exposition("p10-info-offset/info-offset.prom");
    let element = |version: &str, value: &str| {
        format!("{{__name__=\"m\", instance=\"i\", job=\"j\", ver=\"{version}\"}} {value}")
    };
    let unnamed = |version: &str| format!("{{instance=\"i\", job=\"j\", ver=\"{version}\"}} 7");
    let now = 1_700_000_100;
    for (query, expected) in [
        ("info(m offset 1h)", element("1", "7")),
        ("info((m offset 1h))", element("1", "7")),
        ("info(m)", element("2", "8")),
        ("info(m @ 1699996500)", element("1", "7")),
        ("info(m @ 1700000100 offset 1h)", element("1", "7")),
        ("info(sum by (instance, job) (m offset 1h))", unnamed("1")),
        ("info(max_over_time(m[5m] offset 1h))", unnamed("1")),
        ("info(max_over_time(m[5m:1m] offset 1h))", unnamed("1")),
        ("info(max_over_time((m offset 30m)[5m:1m] offset 30m))", unnamed("1")),
        // PR 19387 (3.14): where parts of the argument speak of different times, that of the evaluation counts.
        ("info(m offset 1h or m)", element("2", "7")),
    ] {
        check(&data, now, query, &[&expected]);
    }
    assert_eq!(
        shown(&ask_range(&data, now, now + 120, 60, "info(m offset 1h)")),
        ["{__name__=\"m\", instance=\"i\", job=\"j\", ver=\"1\"} 1700000100:7 1700000160:7 1700000220:7"]
    );
    assert_eq!(
        shown(&ask_range(&data, now, now + 60, 60, "info(m @ 1699996500)")),
        ["{__name__=\"m\", instance=\"i\", job=\"j\", ver=\"1\"} 1700000100:7 1700000160:7"]
    );
}

/// docs/querying/functions.md, `info`: which info metrics are considered.
#[test]
fn info_by_the_name_of_the_info_metric() {
    let data = storage([
        series("m{job=\"j\",instance=\"i\"}", [1.0]),
        series("target_info{job=\"j\",instance=\"i\",a=\"target\"}", [1.0]),
        series("build_info{job=\"j\",instance=\"i\",b=\"build\"}", [1.0]),
        series("other{job=\"j\",instance=\"i\",c=\"other\"}", [1.0]),
    ]);
    let with = |labels: &str| format!("{{__name__=\"m\", {labels}instance=\"i\", job=\"j\"}} 1");
    for (query, labels) in [
        ("info(m)", "a=\"target\", "),
        ("info(m, {__name__=\"build_info\"})", "b=\"build\", "),
        ("info(m, {__name__=~\"(target|build)_info\"})", "a=\"target\", b=\"build\", "),
        // Only exclusions: of all metrics that end in `_info`.
        ("info(m, {__name__!=\"build_info\"})", "a=\"target\", "),
        ("info(m, {__name__!~\"target.*\"})", "b=\"build\", "),
        ("info(m, {__name__!=\"m\"})", "a=\"target\", b=\"build\", "),
        ("info(m, {__name__=~\".*_info\",__name__!=\"target_info\"})", "b=\"build\", "),
        // A matcher that everything satisfies asks for its label only.
        ("info(m, {a=~\".*\"})", "a=\"target\", "),
        ("info(m, {nothing=~\".*\"})", ""),
        // What is an info series by the matchers passes as it is.
        ("info(m, {__name__=~\".+\"})", ""),
    ] {
        check(&data, 0, query, &[&with(labels)]);
    }
    check(&data, 0, "info(m, {})", &[&with("a=\"target\", ")]);
    check(&data, 0, "info(m, {a=\"none\"})", &[]);
    check(&data, 0, "info(m, {nothing=~\".+\"})", &[]);
    check(&data, 0, "info(target_info)", &["{__name__=\"target_info\", a=\"target\", instance=\"i\", job=\"j\"} 1"]);
}

/// PR 17817 and the documentation of `info`: its series hold floats.
#[test]
fn info_series_of_histograms_are_refused() {
    let data = storage([
        series("m{job=\"j\",instance=\"i\"}", [1.0]),
        series("target_info{job=\"j\",instance=\"i\"}", [exponential(0, 0.0, &[(1, 1.0)], 1.0)]),
    ]);
    assert_eq!(
        fails(&data, 0, "info(m)"),
        "this should be an info metric, with float samples: {__name__=\"target_info\", instance=\"i\", job=\"j\"}"
    );
}

/// docs/querying/functions.md: NaN among the samples makes the median, and so the deviation from it, NaN.
#[test]
fn the_median_absolute_deviation_with_nan_is_nan() {
    let data = exposition("p14-mad-nan/mad-nan.prom");
    assert!(floats(&ask(&data, 1_700_000_100, "mad_over_time(x[1m])"))[0].is_nan());
    assert_eq!(floats(&ask(&data, 1_700_000_055, "mad_over_time(x[1m])")), [0.5]);
}

/// PR 16628 (3.5): a range query orders its answer by labels in any case.
#[test]
fn sorting_warns_in_range_queries_only() {
    let data = storage([series("x", [1.0, 2.0])]);
    for function in ["sort", "sort_desc"] {
        let query = format!("{function}(x)");
        assert!(ask(&data, 0, &query).warnings.is_empty());
        assert_eq!(
            ask_range(&data, 0, 15, 15, &query).warnings,
            ["PromQL warning: sort is ineffective for range queries since results are always ordered by labels (1:1)"]
        );
    }
}

/// PR 16725 (3.5): wrong parameters are errors whatever the input holds.
#[test]
fn element_counts_that_are_none() {
    let data = storage([series("x", [1.0])]);
    for operator in ["topk", "bottomk", "limitk"] {
        for input in ["x", "nothing"] {
            assert_eq!(fails(&data, 0, &format!("{operator}(NaN, {input})")), "Parameter value is NaN");
            assert_eq!(fails(&data, 0, &format!("{operator}(1e30, {input})")), "Scalar value 1e+30 overflows int64");
            assert_eq!(fails(&data, 0, &format!("{operator}(-1e30, {input})")), "Scalar value -1e+30 underflows int64");
        }
    }
    assert_eq!(fails(&data, 0, "limit_ratio(NaN, nothing)"), "Ratio value is NaN");
    assert_eq!(
        ask(&data, 0, "limit_ratio(1.5, x)").warnings,
        ["PromQL warning: ratio value should be between -1 and 1, got 1.5, capping to 1 (1:13)"]
    );
}

/// PR 17424 (3.8): the first bucket of classic histograms.
#[test]
fn fractions_of_classic_histograms() {
    let data = storage([
        series("negative_bucket{le=\"-2\"}", [4.0]),
        series("negative_bucket{le=\"2\"}", [8.0]),
        series("negative_bucket{le=\"+Inf\"}", [10.0]),
        series("single_bucket{le=\"+Inf\"}", [5.0]),
    ]);
    for (query, expected) in [
        ("histogram_fraction(-Inf, -2, negative_bucket)", 0.4),
        ("histogram_fraction(-3, 0, negative_bucket)", 0.2),
        ("histogram_fraction(-1, 1, negative_bucket)", 0.2),
        ("histogram_fraction(-Inf, +Inf, negative_bucket)", 1.0),
        ("histogram_fraction(-Inf, +Inf, single_bucket)", 1.0),
        ("histogram_fraction(1, 0, single_bucket)", 0.0),
    ] {
        let found = floats(&ask(&data, 0, query));
        assert!(found.len() == 1 && (found[0] - expected).abs() < 1e-12, "{query}: {found:?}");
    }
}

/// docs/querying/operators.md and functions.md: labels are valid UTF-8, and none is empty.
#[test]
fn labels_that_are_not_utf8_are_refused() {
    let data = storage([series("x{a=\"b\"}", [1.0])]);
    for (query, message) in [
        (r#"count_values("\xff", x)"#, r#"invalid label name "\xff""#),
        (r#"count_values("", x)"#, r#"invalid label name """#),
        (
            r#"label_replace(x, "\xff", "$1", "a", "(.*)")"#,
            "invalid destination label name in label_replace(): \u{fffd}",
        ),
        (r#"label_replace(x, "", "$1", "a", "(.*)")"#, "invalid destination label name in label_replace(): "),
        (r#"label_join(x, "\xff", "-", "a")"#, "invalid destination label name in label_join(): \u{fffd}"),
        (r#"label_join(x, "c", "-", "\xff")"#, "invalid source label name in label_join(): \u{fffd}"),
    ] {
        assert_eq!(fails(&data, 0, query), message, "{query}");
    }
    assert!(parse(r#"sum by ("\xff") (x)"#).is_err());
    // Any valid UTF-8 is a name (3.0).
    check(&data, 0, r#"count_values("ü", x)"#, &[r#"{"ü"="1"} 1"#]);
    check(&data, 0, r#"sum by ("a") ({"x"})"#, &[r#"{a="b"} 1"#]);
}

/// docs/querying/operators.md, filling in missing matches (PR 17644, 3.10).
#[test]
fn fill_modifiers_and_metrics_of_that_name() {
    let data = storage([
        series("few{g=\"1\"}", [10.0]),
        series("few{g=\"3\"}", [30.0]),
        series("many{g=\"1\",i=\"a\"}", [1.0]),
        series("many{g=\"1\",i=\"b\"}", [2.0]),
        series("many{g=\"2\",i=\"c\"}", [3.0]),
        series("fill", [7.0]),
        series("plain", [1.0]),
    ]);
    let sorted = |query: &str| {
        let mut found = shown(&ask(&data, 0, query));
        found.sort();
        found
    };
    let both = [r#"{g="1", i="a"} 11"#, r#"{g="1", i="b"} 12"#, r#"{g="2", i="c"} 103"#, r#"{g="3"} 230"#];
    assert_eq!(sorted("many + on(g) group_left fill_right(100) fill_left(200) few"), both);
    assert_eq!(sorted("few + on(g) group_right fill_left(100) fill_right(200) many"), both);
    assert_eq!(sorted("few + on(g) group_right fill(0) many")[2..], [r#"{g="2", i="c"} 3"#, r#"{g="3"} 30"#]);
    check(&data, 0, "plain + fill", &["{} 8"]);
    check(&data, 0, "plain + fill{}", &["{} 8"]);
    check(&data, 0, "fill + plain", &["{} 8"]);
    // Two that would meet the same stand-in are many to one all the same.
    assert_eq!(
        fails(&data, 0, "many + on(none) fill_right(0) nothing"),
        "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
    );
}

/// promql/engine.go; issue 18850: what a comparison filters out has met all the same.
#[test]
fn errors_of_many_to_many_matching() {
    let data = storage([
        series("a{g=\"1\",i=\"a\"}", [1.0]),
        series("a{g=\"1\",i=\"b\"}", [2.0]),
        series("b{g=\"1\",i=\"a\"}", [1.0]),
        series("b{g=\"1\",i=\"b\"}", [2.0]),
        series("c{g=\"1\"}", [1.0]),
    ]);
    let duplicate = "[{__name__=\"b\", g=\"1\", i=\"b\"}, {__name__=\"b\", g=\"1\", i=\"a\"}];many-to-many matching not allowed: matching labels must be unique on one side";
    for query in ["a + on(g) b", "a + ignoring(i) b", "a + on(g) group_left b"] {
        assert_eq!(
            fails(&data, 0, query),
            format!(
                "found duplicate series for the match group {{g=\"1\"}} on the right hand-side of the operation: {duplicate}"
            )
        );
    }
    assert_eq!(
        fails(&data, 0, "b + on(g) group_right a"),
        format!(
            "found duplicate series for the match group {{g=\"1\"}} on the left hand-side of the operation: {duplicate}"
        )
    );
    for query in ["a + on(g) c", "a > on(g) c", "a < on(g) c"] {
        assert_eq!(
            fails(&data, 0, query),
            "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
            "{query}"
        );
    }
}

/// docs/querying/basics.md, duration expressions; PR 16713: signs bind as in other expressions.
#[test]
fn signs_in_duration_expressions() {
    assert!(parse("x[-2 ^ 2]").unwrap_err().to_string().contains("duration must be greater than 0"));
    assert!(parse("x[(-2) ^ 2]").is_ok());
    assert!(parse("x[10 + -2 ^ 2]").is_ok());
    let data = storage([series("x", (0..=20).map(|index| index as f64 * 15.0))]);
    check(&data, 300, "count_over_time(x[-2 ^ 2 * -15])", &["{} 4"]);
    check(&data, 300, "count_over_time(x[90 - 2 ^ 2 * 15 + 1])", &["{} 3"]);
    check(&data, 300, "x offset (-2 ^ 2 * -15)", &["{__name__=\"x\"} 240"]);
    check(&data, 240, "x offset -(2 ^ 2 * 15)", &["{__name__=\"x\"} 300"]);
}

/// util/annotations and web/api/v1: a text said twice is listed once, and ten of them at most.
#[test]
fn notes_are_said_once_and_ten_are_listed() {
    let data = storage((0..14).map(|index| series(&format!("m{index}"), [1.0, 2.0])));
    let twice = ask(&data, 15, "rate(m1[1m]) + rate(m1[1m])");
    assert_eq!(
        twice.infos,
        ["PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"m1\" (1:6)"]
    );
    let parts: Vec<String> = (0..14).map(|index| format!("rate(m{index}[1m])")).collect();
    let many = ask(&data, 15, &parts.join(" + "));
    assert_eq!(many.infos.len(), 14);
    let json = to_json(&many);
    assert_eq!(json.matches("metric might not be a counter").count(), 10);
    assert!(json.ends_with("\"4 more info annotations omitted\"]}"), "{json}");
}

/// docs/feature_flags.md, start timestamps in rates: a sample whose start lies after the one before began anew at 0.
#[test]
fn start_timestamps_say_where_counters_began() {
    let data = |starts: [i64; 4]| {
        let mut one = series("x_total", [100.0, 110.0, 120.0, 130.0]);
        one.start_times = starts.to_vec();
        storage([one])
    };
    let ask = |starts: [i64; 4]| ask(&data(starts), 45, "increase(x_total[46s])");
    let steady = ask([-1000, -1000, -1000, -1000]);
    let anew = ask([-1000, -1000, 20_000, 20_000]);
    assert!(floats(&anew)[0] > floats(&steady)[0] + 100.0, "{anew:?} {steady:?}");
    // No start is known: only values say.
    assert_eq!(floats(&ask([0, 0, 0, 0])), floats(&ask_plain()));
}

fn ask_plain() -> syncline_promql::Answer {
    ask(&storage([series("x_total", [100.0, 110.0, 120.0, 130.0])]), 45, "increase(x_total[46s])")
}

/// docs/querying/basics.md (3.0): windows and the lookback are open on the left; `.` matches newlines.
#[test]
fn what_version_3_changed() {
    let data = storage([series("x{a=\"1\n2\"}", (0..=4).map(|index| Point::Float(f64::from(index))))]);
    assert_eq!(floats(&ask(&data, 60, "count_over_time(x[60s])")), [4.0]);
    assert_eq!(floats(&ask(&data, 60, "x{a=~\"1.2\"}")), [4.0]);
    let expr = parse("x").unwrap();
    assert_eq!(shown(&instant(&data, &expr, 360_000, &Options::default()).unwrap()), Vec::<String>::new());
    assert_eq!(shown(&instant(&data, &expr, 359_999, &Options::default()).unwrap()).len(), 1);
    assert!(
        range(&data, &parse("holt_winters(x[1m], 0.5, 0.5)").map_or(expr, |_| panic!()), 0, 1, 1, &Options::default())
            .is_ok()
    );
}

/// docs/querying/basics.md, extended range selectors: where the first sample lies after the range there is nothing.
#[test]
fn extended_windows_before_the_first_sample_are_empty() {
    let points = (0..12).map(|index| if index < 4 { Point::Gap } else { Point::Float(f64::from(index)) });
    let data = storage([series("x_total", points)]);
    for modifier in ["anchored", "smoothed"] {
        for function in ["rate", "increase", "delta"] {
            check(&data, 45, &format!("{function}(x_total[30s] {modifier})"), &[]);
        }
        assert_eq!(floats(&ask(&data, 165, &format!("increase(x_total[60s] {modifier})"))), [4.0], "{modifier}");
    }
    for function in ["changes", "resets"] {
        check(&data, 45, &format!("{function}(x_total[30s] anchored)"), &[]);
    }
    check(&data, 45, "x_total[30s] anchored", &[]);
    check(&data, 45, "x_total smoothed", &[]);
}
