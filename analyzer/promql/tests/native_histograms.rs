//! Native histograms as in Prometheus 3.14. Each test names the documentation or the pull request that its rule is from.
//! "operators.md" and "functions.md" are `docs/querying/` of Prometheus' repository, numbers are its pull requests.
// In a test an unexpected error is to fail it.
#![allow(clippy::unwrap_used)]

mod notation;

use notation::{Point, ask, ask_range, custom, exponential, fails, floats, hinted, histogram, series, shown, storage};
use syncline_promql::{ResetHint, Series, to_json};

const NAN: f64 = f64::NAN;

/// #17904, #15708 of Mimir: the trim operators filter, so the metric keeps its name as with a comparison.
#[test]
fn trim_operators_keep_the_metrics_name() {
    let data = storage([series("h{a=\"x\"}", [exponential(0, 0.0, &[(1, 4.0), (2, 4.0)], 20.0)])]);
    assert_eq!(
        shown(&ask(&data, 0, "h </ 2")),
        ["{__name__=\"h\", a=\"x\"} {count:4, sum:5.656854249492381, (1,2]:4}"]
    );
    assert_eq!(
        shown(&ask(&data, 0, "h >/ on () group_left () vector(2)")),
        ["{__name__=\"h\", a=\"x\"} {count:4, sum:11.313708498984761, (2,4]:4}"]
    );
    assert_eq!(shown(&ask(&data, 0, "h >/ -1")), ["{__name__=\"h\", a=\"x\"} {count:8, sum:20, (1,2]:4, (2,4]:4}"]);
    let wrong = ask(&data, 0, "vector(1) </ 2");
    assert!(shown(&wrong).is_empty());
    assert_eq!(
        wrong.infos,
        ["PromQL info: incompatible sample types encountered for binary operator \"</\": float </ float (1:1)"]
    );
}

/// operators.md, "Arithmetic binary operators" and "Unary operator"; the API shows a zero bucket only if its count is
/// above 0, and no empty bucket.
#[test]
fn products_with_negative_numbers_zero_and_nan() {
    let data = storage([series("h", [exponential(0, 2.0, &[(0, 1.0), (1, 3.0)], 5.0)])]);
    let shows = |query: &str, expected: &str| assert_eq!(shown(&ask(&data, 0, query)), [format!("{{}} {expected}")]);
    shows("h * -1", "{count:-6, sum:-5, [-0.001,0.001]:-2, (0.5,1]:-1, (1,2]:-3}");
    shows("-h", "{count:-6, sum:-5, [-0.001,0.001]:-2, (0.5,1]:-1, (1,2]:-3}");
    shows("h * 0", "{count:0, sum:0}");
    shows("h / 0", "{count:+Inf, sum:+Inf, [-0.001,0.001]:+Inf}");
    shows("-h / 0", "{count:-Inf, sum:-Inf, [-0.001,0.001]:-Inf}");
    shows("h * NaN", "{count:NaN, sum:NaN, [-0.001,0.001]:NaN, (0.5,1]:NaN, (1,2]:NaN}");
    assert_eq!(histogram(&ask(&data, 0, "h * -1")).reset_hint, ResetHint::Gauge);
    assert_eq!(histogram(&ask(&data, 0, "h * 2")).reset_hint, ResetHint::Unknown);
    let json = |query: &str| to_json(&ask(&data, 0, query));
    assert!(json("h * -1").contains(r#""buckets":[[0,"0.5","1","-1"],[0,"1","2","-3"]]"#), "{}", json("h * -1"));
    assert!(!json("-h / 0").contains("buckets") && json("h / 0").contains(r#"[[3,"-0.001","0.001","+Inf"]]"#));
}

/// #17004: a difference is a gauge; buckets that it empties are gone.
#[test]
fn a_difference_has_buckets_in_order_and_no_empty_ones() {
    let data = storage([
        series("h{l=\"a\"}", [exponential(0, 3.0, &[(0, 1.0), (1, 3.0)], 5.0)]),
        series("h{l=\"b\"}", [exponential(0, 1.0, &[(-1, 2.0), (1, 3.0), (2, 4.0)], 9.0)]),
    ]);
    let found = histogram(&ask(&data, 0, "h{l=\"a\"} - ignoring (l) h{l=\"b\"}"));
    assert_eq!(found.to_string(), "{count:-3, sum:-4, [-0.001,0.001]:2, (0.25,0.5]:-2, (0.5,1]:1, (2,4]:-4}");
    assert_eq!(found.reset_hint, ResetHint::Gauge);
    assert_eq!(found.positive.len(), 3);
}

/// #14407 for floats, #17687 for histograms: sums are compensated, in every bucket.
#[test]
fn sums_are_compensated_in_every_bucket() {
    let one = |count: f64| exponential(0, count, &[(1, count)], count);
    let data = storage(
        [1.0, 1e100, 1.0, -1e100]
            .iter()
            .enumerate()
            .map(|(n, count)| series(&format!("h{{n=\"{n}\"}}"), [one(*count)])),
    );
    assert_eq!(shown(&ask(&data, 0, "sum(h)")), ["{} {count:4, sum:2, [-0.001,0.001]:2, (1,2]:2}"]);
    assert_eq!(shown(&ask(&data, 0, "avg(h)")), ["{} {count:1, sum:0.5, [-0.001,0.001]:0.5, (1,2]:0.5}"]);
    let over_time = storage([series("h", [1.0, 1e100, 1.0, -1e100].map(one))]);
    let expected = "{} {count:4, sum:2, [-0.001,0.001]:2, (1,2]:2}";
    assert_eq!(shown(&ask(&over_time, 45, "sum_over_time(h[5m])")), [expected]);
    let expected = "{} {count:1, sum:0.5, [-0.001,0.001]:0.5, (1,2]:0.5}";
    assert_eq!(shown(&ask(&over_time, 45, "avg_over_time(h[5m])")), [expected]);
}

/// #14413 and #17687: an average whose sum would overflow goes on incrementally.
#[test]
fn averages_do_not_overflow() {
    let huge = exponential(0, 0.0, &[(1, 1e308)], 1e308);
    let data = storage((0..3).map(|n| series(&format!("h{{n=\"{n}\"}}"), [huge.clone(), huge.clone()])));
    for query in ["avg(h)", "avg_over_time(h{n=\"0\"}[5m])"] {
        let found = histogram(&ask(&data, 15, query));
        assert!(
            (found.count / 1e308 - 1.0).abs() < 1e-12 && (found.sum / 1e308 - 1.0).abs() < 1e-12,
            "{query} {found}"
        );
        assert!((found.positive[0].count / 1e308 - 1.0).abs() < 1e-12, "{query} {found}");
    }
    assert_eq!(histogram(&ask(&data, 15, "sum(h)")).count, f64::INFINITY);
}

/// #17278: custom buckets with other bounds are reduced to those that both have, with an info that says so.
#[test]
fn custom_bounds_that_changed_are_reconciled_and_said() {
    let data = storage([
        series("c{l=\"a\"}", [custom(&[1.0, 2.0, 4.0], &[1.0, 2.0, 3.0, 4.0], 30.0)]),
        series("c{l=\"b\"}", [custom(&[1.0, 4.0], &[1.0, 1.0, 1.0], 9.0)]),
    ]);
    for (query, word, place, expected) in [
        ("sum(c)", "aggregation", "1:5", "{count:13, sum:39, [-Inf,1]:2, (1,4]:6, (4,+Inf]:5}"),
        ("avg(c)", "aggregation", "1:5", "{count:6.5, sum:19.5, [-Inf,1]:1, (1,4]:3, (4,+Inf]:2.5}"),
        ("c{l=\"a\"} + on () c{l=\"b\"}", "addition", "1:1", "{count:13, sum:39, [-Inf,1]:2, (1,4]:6, (4,+Inf]:5}"),
        ("c{l=\"a\"} - on () c{l=\"b\"}", "subtraction", "1:1", "{count:7, sum:21, (1,4]:4, (4,+Inf]:3}"),
    ] {
        let answer = ask(&data, 0, query);
        assert_eq!(shown(&answer), [format!("{{}} {expected}")], "{query}");
        let info = format!("PromQL info: mismatched custom buckets were reconciled during {word} ({place})");
        assert_eq!(answer.infos, [info], "{query}");
    }
    // Bounds that changed over time: no reset by themselves.
    let changed = storage([series(
        "c_count",
        [custom(&[1.0, 2.0, 4.0], &[1.0, 2.0, 3.0, 4.0], 30.0), custom(&[1.0, 4.0], &[2.0, 6.0, 5.0], 40.0)],
    )]);
    let answer = ask(&changed, 15, "increase(c_count[15s1ms])");
    let found = histogram(&answer);
    assert_eq!((found.custom_values.as_slice(), found.positive.len()), (&[1.0, 4.0][..], 3), "{found}");
    assert_eq!(answer.infos, ["PromQL info: mismatched custom buckets were reconciled during subtraction (1:10)"]);
    assert_eq!(floats(&ask(&changed, 15, "resets(c_count[5m])")), [0.0]);
    assert_eq!(
        ask(&changed, 15, "irate(c_count[5m])").infos,
        ["PromQL info: mismatched custom buckets were reconciled during subtraction (1:7)"]
    );
    // A common bucket that sank is one.
    let sank = storage([series(
        "c_count",
        [custom(&[1.0, 2.0, 4.0], &[1.0, 2.0, 3.0, 4.0], 30.0), custom(&[1.0, 4.0], &[2.0, 4.0, 9.0], 40.0)],
    )]);
    assert_eq!(floats(&ask(&sank, 15, "resets(c_count[5m])")), [1.0]);
}

/// #17312: a warning where a "reset" and a "no reset" hint meet, in whatever order, and not otherwise.
#[test]
fn conflicting_hints_are_a_warning_of_aggregations() {
    let one = |hint| hinted(hint, exponential(0, 0.0, &[(1, 4.0)], 6.0));
    use ResetHint::{CounterReset, Gauge, NotCounterReset, Unknown};
    for (hints, conflict, result) in [
        ([CounterReset, Unknown, NotCounterReset], true, Unknown),
        ([CounterReset, Unknown, CounterReset], false, Unknown),
        ([CounterReset, CounterReset, CounterReset], false, CounterReset),
        ([NotCounterReset, Gauge, NotCounterReset], false, Gauge),
        ([NotCounterReset, Gauge, CounterReset], true, Gauge),
    ] {
        let over = series("h", hints.map(one));
        let across = hints.iter().enumerate().map(|(n, hint)| series(&format!("g{{n=\"{n}\"}}"), [one(*hint)]));
        let data = storage(across.chain([over]));
        for (query, time, place) in [
            ("sum(g)", 0, "1:5"),
            ("avg(g)", 0, "1:5"),
            ("sum_over_time(h[5m])", 30, "1:15"),
            ("avg_over_time(h[5m])", 30, "1:15"),
        ] {
            let answer = ask(&data, time, query);
            let warning = format!("PromQL warning: conflicting counter resets during histogram aggregation ({place})");
            assert_eq!(answer.warnings, if conflict { vec![warning] } else { Vec::new() }, "{query} {hints:?}");
            assert_eq!(histogram(&answer).reset_hint, result, "{query} {hints:?}");
        }
    }
}

/// #17094: rates expect resets, and do not warn of them. #15987: in a subquery hints hold no longer.
#[test]
fn resets_by_hint_and_in_subqueries() {
    use ResetHint::{CounterReset, NotCounterReset};
    let at = |hint, count: f64| hinted(hint, exponential(0, 0.0, &[(1, count)], count));
    let data = storage([series("h", [at(NotCounterReset, 4.0), at(CounterReset, 5.0), at(NotCounterReset, 7.0)])]);
    let answer = ask(&data, 30, "increase(h[45s])");
    assert_eq!(histogram(&answer).count, (4.0 + 5.0 - 4.0 + 2.0) * 45.0 / 30.0);
    assert!(answer.warnings.is_empty(), "{:?}", answer.warnings);
    assert_eq!(floats(&ask(&data, 30, "resets(h[5m])")), [1.0]);
    // Each sample is seen three times; by their counts nothing was reset.
    assert_eq!(floats(&ask(&data, 30, "resets(h[1m:5s])")), [0.0]);
    assert_eq!(histogram(&ask(&data, 15, "irate(h[5m])")).count, 5.0 / 15.0);
}

/// functions.md, `resets` and `changes`: another type of sample, or of histogram.
#[test]
fn resets_and_changes_between_types_of_samples() {
    let counter = exponential(0, 0.0, &[(1, 4.0)], 6.0);
    let gauge = hinted(ResetHint::Gauge, counter.clone());
    let data =
        storage([series("m", [Point::from(1.0), counter.clone().into(), gauge.into(), Point::Gap, counter.into()])]);
    assert_eq!(floats(&ask(&data, 60, "resets(m[5m])")), [3.0]);
    assert_eq!(floats(&ask(&data, 60, "changes(m[5m])")), [1.0]);
}

/// functions.md, `histogram_quantile` and `histogram_fraction`; the infos point at the histograms.
#[test]
fn nan_observations_are_said_at_the_histograms() {
    let data = storage([series("h", [exponential(0, 0.0, &[(1, 10.0)], NAN)])]);
    let mut unplaced = exponential(0, 0.0, &[(1, 10.0)], NAN);
    unplaced.count = 20.0;
    let skewed = storage([series("h", [unplaced])]);
    assert!(ask(&data, 0, "histogram_quantile(0.5, h)").infos.is_empty());
    assert!(ask(&data, 0, "histogram_fraction(0, 2, h)").infos.is_empty());
    for (query, place, text) in [
        ("histogram_quantile(0.1, h)", "1:25", "histogram_quantile has NaN observations, result is skewed higher"),
        ("histogram_quantile(0.9, h)", "1:25", "histogram_quantile has NaN observations, result is NaN"),
        ("histogram_quantiles(h, \"q\", 0.9)", "1:21", "histogram_quantile has NaN observations, result is NaN"),
        (
            "histogram_fraction(0, 2, h)",
            "1:26",
            "histogram_fraction has NaN observations, which are excluded from all fractions",
        ),
    ] {
        let info = format!("PromQL info: input to {text} for metric name \"h\" ({place})");
        assert_eq!(ask(&skewed, 0, query).infos, [info], "{query}");
    }
    assert_eq!(floats(&ask(&skewed, 0, "histogram_fraction(-Inf, +Inf, h)")), [0.5]);
}

/// #17285 and #19040's kin: classic buckets that had to be raised are said once a step, at the vector.
#[test]
fn repaired_buckets_of_histogram_quantiles_are_said_once() {
    let data = storage(
        [("1", 5.0), ("2", 3.0), ("+Inf", 6.0)].map(|(le, count)| series(&format!("h_bucket{{le=\"{le}\"}}"), [count])),
    );
    let answer = ask(&data, 0, "histogram_quantiles(h_bucket, \"q\", 0.5, 0.9)");
    assert_eq!(answer.infos.len(), 1);
    let info = &answer.infos[0];
    assert!(info.contains("over 1 samples from 1970-01-01T00:00:00Z") && info.ends_with("(1:21)"), "{info}");
    // Over time: the quantile may differ from step to step, and so does the label.
    let steps = storage([series("x", [0.25, 0.75]), series("h", [exponential(0, 0.0, &[(1, 10.0)], 9.0)])]);
    let answer = ask_range(&steps, 0, 15, 15, "histogram_quantiles(h, \"q\", scalar(x)) > bool 0");
    assert_eq!(shown(&answer), ["{q=\"0.25\"} 0:1", "{q=\"0.75\"} 15:1"]);
}

/// #18564: `anchored` and `smoothed` know native histograms.
#[test]
fn anchored_and_smoothed_histograms() {
    let at = |count: f64| exponential(0, 0.0, &[(1, count)], 2.0 * count);
    let data = storage([series("h", [0.0, 10.0, 20.0, 30.0, 40.0, 50.0].map(at))]);
    let shows = |time, query: &str, expected: &str| {
        assert_eq!(shown(&ask(&data, time, query)), [format!("{{}} {expected}")], "{query}");
    };
    shows(60, "increase(h[20s] anchored)", "{count:20, sum:40, (1,2]:20}");
    shows(60, "increase(h[30s] smoothed)", "{count:20, sum:40, (1,2]:20}");
    let between = histogram(&ask(&data, 52, "increase(h[15s] smoothed)"));
    assert!((between.count - 10.0).abs() < 1e-9 && (between.sum - 20.0).abs() < 1e-9, "{between}");
    shows(60, "rate(h[20s] anchored)", "{count:1, sum:2, (1,2]:1}");
    let value = histogram(&ask(&data, 36, "h smoothed"));
    assert!((value.count - 24.0).abs() < 1e-9, "{value}");
    assert_eq!(
        ask(&data, 60, "delta(h[20s] anchored)").warnings,
        ["PromQL warning: this native histogram metric is not a gauge: \"h\" (1:7)"]
    );
    // Counts begin anew across a reset, at the left end as well.
    let reset = storage([series("h", [100.0, 110.0, 4.0, 10.0].map(at))]);
    assert_eq!(histogram(&ask(&reset, 45, "increase(h[45s] anchored)")).count, 20.0);
    let left = histogram(&ask(&reset, 45, "increase(h[22s500ms] smoothed)"));
    assert!((left.count - 8.0).abs() < 1e-9, "{left}");
    let mixed = storage([series("h", [Point::from(1.0), at(1.0).into(), at(2.0).into()])]);
    assert_eq!(
        ask(&mixed, 30, "increase(h[20s] anchored)").warnings,
        ["PromQL warning: encountered a mix of histograms and floats for metric name \"h\" (1:10)"]
    );
    // #18906: the anchor is the last sample before the window, of whichever type.
    assert_eq!(floats(&ask(&mixed, 30, "resets(h[16s] anchored)")), [1.0]);
    assert_eq!(floats(&ask(&mixed, 30, "changes(h[15s] anchored)")), [1.0]);
}

/// #16457: what does not know such windows refuses them; nothing comes of samples beyond the window alone.
#[test]
fn extended_windows_are_refused_where_nothing_knows_them() {
    let data = storage([series("x", [Point::Gap, Point::Gap, 30.0.into(), 40.0.into()])]);
    assert_eq!(
        fails(&data, 0, "sum_over_time(x[1m] anchored)"),
        "anchored modifier can only be used with: changes, delta, increase, rate, resets - not with sum_over_time"
    );
    assert_eq!(
        fails(&data, 0, "irate(x[1m] smoothed)"),
        "smoothed modifier can only be used with: delta, increase, rate - not with irate"
    );
    assert!(shown(&ask(&data, 20, "increase(x[10s] smoothed)")).is_empty());
    assert_eq!(floats(&ask(&data, 35, "increase(x[10s] smoothed)")).len(), 1);
    assert_eq!(shown(&ask(&data, 40, "x[20s] smoothed")), ["{__name__=\"x\"} 20:30 30:30 40:36.666666666666664"]);
}

/// #18344, #18619, #18627: start timestamps in rates, as for floats.
#[test]
fn start_timestamps_of_histograms() {
    let at = |count: f64| exponential(0, 0.0, &[(1, count)], count);
    let mut one: Series = series("h", [Point::Gap, at(10.0).into(), at(20.0).into(), at(30.0).into()]);
    one.histogram_start_times = vec![5_000, 5_000, 40_000];
    let data = storage([one]);
    // From 0 at 5 s: 10, 20, and 30 more since the restart at 40 s.
    assert_eq!(histogram(&ask(&data, 45, "increase(h[1m])")).count, 50.0);
    assert_eq!(histogram(&ask(&data, 15, "increase(h[1m])")).count, 10.0);
    assert_eq!(floats(&ask(&data, 45, "resets(h[1m])")), [1.0]);
    assert_eq!(histogram(&ask(&data, 45, "irate(h[1m])")).count, 2.0);
    assert_eq!(floats(&ask(&data, 45, "start_timestamp(h)")), [40.0]);
}
