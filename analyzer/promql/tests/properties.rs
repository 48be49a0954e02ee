//! Laws that hold for any data.
// In a test an unexpected error is to fail it.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use syncline_promql::{Labels, MemoryStorage, Options, Sample, SampleValue, Series, Value, instant, parse, range};

/// A series of irregular samples from time 1,000 s on.
fn samples(values: impl Strategy<Value = f64>) -> impl Strategy<Value = Vec<Sample>> {
    prop::collection::vec((1i64..40_000, values), 2..60).prop_map(|steps| {
        let mut time = 1_000_000;
        steps
            .into_iter()
            .map(|(distance, value)| {
                time += distance;
                Sample { time, value }
            })
            .collect()
    })
}

fn series(name: &str, number: usize, samples: &[Sample]) -> Series {
    let labels =
        Labels::new([("__name__", name.to_owned()), ("n", number.to_string()), ("odd", (number % 2).to_string())]);
    Series::of_floats(labels, samples)
}

/// Labels and value of each element, sorted.
fn ask(storage: &MemoryStorage, time: i64, query: &str) -> Vec<(Labels, f64)> {
    let answer = instant(storage, &parse(query).unwrap(), time, &Options::default()).unwrap();
    let mut all: Vec<(Labels, f64)> = match answer.value {
        Value::Scalar { value, .. } => vec![(Labels::default(), value)],
        Value::Vector(elements) => elements
            .into_iter()
            .map(|element| match element.value {
                SampleValue::Float(value) => (element.labels, value),
                SampleValue::Histogram(_) => panic!("no histograms here"),
            })
            .collect(),
        other => panic!("{other:?}"),
    };
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

fn close(a: &[(Labels, f64)], b: &[(Labels, f64)], tolerance: f64) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|(a, b)| {
            a.0 == b.0
                && (a.1 == b.1
                    || (a.1.is_nan() && b.1.is_nan())
                    || (a.1 - b.1).abs() <= tolerance * a.1.abs().max(b.1.abs()).max(1.0))
        })
}

const OVER_TIME: [&str; 16] = [
    "sum_over_time",
    "avg_over_time",
    "min_over_time",
    "max_over_time",
    "count_over_time",
    "stddev_over_time",
    "stdvar_over_time",
    "last_over_time",
    "first_over_time",
    "mad_over_time",
    "rate",
    "increase",
    "delta",
    "deriv",
    "changes",
    "resets",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_range_query_is_an_instant_query_at_each_step(
        all in prop::collection::vec(samples(prop_oneof![4 => -1e3..1e3, 1 => Just(f64::NAN), 1 => Just(f64::INFINITY)]), 1..5),
        function in prop::sample::select(&OVER_TIME[..]),
        seconds in 10i64..400,
        step in 1_000i64..50_000,
    ) {
        let storage = MemoryStorage::new(all.iter().enumerate().map(|(n, one)| series("x", n, one)).collect());
        for query in [
            format!("{function}(x[{seconds}s])"),
            format!("sum by (odd) ({function}(x[{seconds}s] offset 7s))"),
            format!("topk(2, {function}(x[{seconds}s])) > 0"),
        ] {
            let expr = parse(&query).unwrap();
            let (start, end) = (1_000_000, 1_000_000 + step * 30);
            let answer = range(&storage, &expr, start, end, step, &Options::default()).unwrap();
            let Value::Matrix(matrix) = answer.value else { panic!("a matrix") };
            for index in 0..=30 {
                let time = start + step * index;
                let mut at_step: Vec<(Labels, f64)> = matrix
                    .iter()
                    .filter_map(|one| {
                        one.floats.iter().find(|(at, _)| *at == time).map(|(_, value)| (one.labels.clone(), *value))
                    })
                    .collect();
                at_step.sort_by(|a, b| a.0.cmp(&b.0));
                let single = ask(&storage, time, &query);
                prop_assert!(close(&at_step, &single, 1e-12), "{query} at {time}: {at_step:?} {single:?}");
            }
        }
    }

    #[test]
    fn a_subquery_sees_what_a_range_query_gives(all in samples(-1e3..1e3), step in 1i64..50, range_steps in 1i64..20) {
        let storage = MemoryStorage::new(vec![series("x", 0, &all)]);
        let step = step * 1000;
        let last = 1_000_000 + step * 20;
        let end = last / step * step;
        let query = format!("x[{}s:{}s]", range_steps * step / 1000, step / 1000);
        let answer = instant(&storage, &parse(&query).unwrap(), end, &Options::default()).unwrap();
        let Value::Matrix(subquery) = answer.value else { panic!("a matrix") };
        let start = end - (range_steps - 1) * step;
        let answer = range(&storage, &parse("x").unwrap(), start, end, step, &Options::default()).unwrap();
        let Value::Matrix(plain) = answer.value else { panic!("a matrix") };
        prop_assert_eq!(subquery, plain);
    }

    #[test]
    fn the_rate_of_a_counter_does_not_depend_on_what_it_counted_before(
        increments in samples(0.0..100.0),
        before in 1e4..1e6f64,
        seconds in 30i64..600,
    ) {
        // Far from zero, so that the extrapolation to the counter's zero point plays no part.
        let counter = |start: f64| {
            let mut total = start;
            let counted: Vec<Sample> = increments
                .iter()
                .map(|sample| {
                    total += sample.value.round();
                    Sample { time: sample.time, value: total }
                })
                .collect();
            MemoryStorage::new(vec![series("x_total", 0, &counted)])
        };
        let time = 1_000_000 + 300_000;
        let query = format!("rate(x_total[{seconds}s])");
        let (a, b) = (ask(&counter(1e6), time, &query), ask(&counter(1e6 + before.round()), time, &query));
        prop_assert!(close(&a, &b, 1e-9), "{a:?} {b:?}");
    }

    #[test]
    fn aggregating_in_two_steps_is_aggregating_in_one(all in prop::collection::vec(samples(-1e6..1e6), 1..12)) {
        let storage = MemoryStorage::new(all.iter().enumerate().map(|(n, one)| series("x", n, one)).collect());
        let time = 1_100_000;
        for operator in ["sum", "min", "max"] {
            let once = ask(&storage, time, &format!("{operator}(x)"));
            let twice = ask(&storage, time, &format!("{operator}({operator} by (odd) (x))"));
            prop_assert!(close(&once, &twice, 1e-12), "{operator} {once:?} {twice:?}");
        }
        let ratio = ask(&storage, time, "sum(x) / count(x) - avg(x)");
        prop_assert!(ratio.iter().all(|(_, value)| value.abs() < 1e-6));
    }

    #[test]
    fn set_operators_obey_the_laws_of_sets(all in prop::collection::vec(samples(-10.0..10.0), 1..8)) {
        let storage = MemoryStorage::new(all.iter().enumerate().map(|(n, one)| series("x", n, one)).collect());
        let time = 1_100_000;
        let split = ask(&storage, time, "(x and (x > 0)) or (x unless (x > 0))");
        prop_assert_eq!(split, ask(&storage, time, "x"));
        let filtered = ask(&storage, time, "x > 0");
        prop_assert_eq!(filtered, ask(&storage, time, "x and (x > 0)"));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[ -~\\n]{0,60}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_query_makes_the_engine_panic(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "x", "(", ")", "sum", "rate", "[5m]", "[1m:7s]", " + ", " and ", " on (n) ", "by (n)", "1", "topk", ",",
            " offset 1m", " @ 3", "histogram_quantile", "{n=\"1\"}", "abs", "-", " > bool ", "0.5", "\"a\"", "time()",
            "label_replace", "info", " smoothed", "Inf", "NaN", "quantile_over_time", " group_left ", " fill(0) ",
        ]), 1..14),
        all in samples(-1e3..1e3),
    ) {
        let text = pieces.concat();
        if let Ok(expr) = parse(&text) {
            let storage = MemoryStorage::new(vec![series("x", 1, &all)]);
            let _ = instant(&storage, &expr, 1_100_000, &Options::default());
            let _ = range(&storage, &expr, 1_000_000, 1_200_000, 17_000, &Options::default());
        }
    }
}
