//! Every query ends: with an answer, or with an error in Prometheus' words; never with an abort.

mod notation;

use notation::{ask, exponential, fails, series, shown, storage};
use syncline_promql::{Answer, EvalError, MemoryStorage, Options, instant, parse, range};

const TOO_MANY: &str = "query processing would load too many samples into memory in query execution";

/// As many series as asked for, each with samples over 75 s.
fn counters(count: usize) -> MemoryStorage {
    storage(
        (0..count).map(|index| series(&format!("go_{index}_total{{a=\"{index}\"}}"), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])),
    )
}

fn within(data: &MemoryStorage, query: &str, options: &Options) -> Result<Answer, EvalError> {
    instant(data, &parse(query).expect("query"), 75_000, options)
}

fn is_refused(found: &Result<Answer, EvalError>) -> bool {
    matches!(found, Err(EvalError::Execution(message)) if message == TOO_MANY)
}

/// The guard counts steps × series: none of these gets as far as to allocate.
#[test]
fn subqueries_of_a_year_by_the_second_are_refused() {
    let data = counters(40);
    for query in [
        "count(count_over_time({__name__=~\"go_.*\"}[365d:1s]))",
        "count_over_time({__name__=~\"go_.*\"}[365d:1s])",
        "sum_over_time(rate({__name__=~\"go_.*\"}[5m])[365d:1s])",
        "max_over_time(timestamp({__name__=~\"go_.*\"})[365d:1s])",
        "max_over_time(({__name__=~\"go_.*\"} @ 10)[365d:1s])",
        "max_over_time(vector(1)[10y:1s])",
        "max_over_time(vector(time())[1y:1ms])",
        "max_over_time(max_over_time(go_1_total[365d:1s])[365d:1s])",
        "{__name__=~\"go_.*\"}[365d:1s]",
        "info({__name__=~\"go_.*\"})[365d:1ms]",
    ] {
        assert_eq!(fails(&data, 75, query), TOO_MANY, "{query}");
    }
    assert_eq!(shown(&ask(&data, 75, "count(count_over_time({__name__=~\"go_.*\"}[1d:1s]))")), ["{} 40"]);
}

/// docs/command-line/prometheus.md, `--query.max-samples`: what is loaded at a time, which bounds the answer too.
#[test]
fn samples_are_counted_as_they_are_held() {
    let data = counters(10);
    let least = |query: &str| {
        (0..200).find(|&max_samples| {
            let found = within(&data, query, &Options { max_samples, ..Options::default() });
            assert!(found.is_ok() || is_refused(&found), "{query}: {found:?}");
            found.is_ok()
        })
    };
    assert_eq!(least("{__name__=~\"go_.*\"}"), Some(10));
    // All samples of a range vector that is the answer; of one in a function, those of a series at a time.
    assert_eq!(least("{__name__=~\"go_.*\"}[1m]"), Some(40));
    assert_eq!(least("rate({__name__=~\"go_.*\"}[1m])"), Some(14));
    // What was read, and what came of it.
    assert_eq!(least("sum({__name__=~\"go_.*\"})"), Some(11));
    assert_eq!(least("sum(sum({__name__=~\"go_.*\"}))"), Some(11));
    assert_eq!(least("go_1_total + go_1_total"), Some(3));
    assert_eq!(least("go_1_total + go_1_total + go_1_total"), Some(3));
    assert_eq!(least("sum_over_time(go_1_total[1m:15s])"), Some(9));
    // What parts held is given back: length does not matter.
    let long = vec!["go_1_total"; 100].join(" + ");
    assert_eq!(least(&long), Some(3));
}

/// Steps without a sample are none.
#[test]
fn empty_steps_of_a_range_query_are_no_samples() {
    let data = counters(10);
    let expr = parse("{__name__=~\"go_.*\"}").expect("query");
    let least = (0..5000).find(|&max_samples| {
        let options = Options { max_samples, ..Options::default() };
        range(&data, &expr, 0, 3_600_000, 15_000, &options).is_ok()
    });
    // 25 steps of each, from the first sample to the end of the lookback after the last; 241 steps in all.
    assert_eq!(least, Some(250));
}

#[test]
fn memory_is_bounded_too() {
    let data = counters(10);
    let ask = |query: &str, memory: usize| within(&data, query, &Options { memory, ..Options::default() });
    let query = "sum_over_time({__name__=~\"go_.*\"}[1d:1s])";
    assert!(is_refused(&ask(query, 5 << 20)));
    assert!(ask(query, 50 << 20).is_ok());
    // Labels that grow by themselves.
    let mut query = "go_1_total".to_owned();
    for _ in 0..60 {
        query = format!("label_join({query}, \"a\", \"\", \"a\", \"a\")");
    }
    assert!(is_refused(&ask(&query, 5 << 20)));
    let mut query = "go_1_total".to_owned();
    for _ in 0..60 {
        query = format!("label_replace({query}, \"a\", \"$1$1$1\", \"a\", \"(.*)\")");
    }
    assert!(is_refused(&ask(&query, 5 << 20)));
}

/// A value per label: what is made anew at each step.
#[test]
fn rows_that_differ_at_each_step_are_bounded() {
    let data = counters(4);
    let options = Options { memory: 50 << 20, ..Options::default() };
    for query in [
        "count_values(\"v\", {__name__=~\"go_.*\"} * time())",
        "histogram_quantiles(go_1_total, \"q\", time() / 1e9, 0.5) or count_values(\"v\", go_1_total @ 10 * time())",
    ] {
        let expr = parse(query).expect("query");
        let found = range(&data, &expr, 0, 10_000_000, 1000, &options);
        let found = found.map(|answer| shown(&answer).len());
        assert!(matches!(&found, Err(error) if error.to_string() == TOO_MANY), "{query}: {found:?}");
    }
}

#[test]
fn computed_histograms_are_bounded() {
    let at = |time: i32| {
        let buckets: Vec<(i32, f64)> = (0..100).map(|index| (index, f64::from(time))).collect();
        exponential(2, 0.0, &buckets, 1.0)
    };
    let data = storage([series("h", (1..12).map(at))]);
    let options = Options { memory: 1 << 20, ..Options::default() };
    let ask = |query: &str, end: i64| range(&data, &parse(query).expect("query"), 0, end, 100, &options);
    assert!(ask("h", 300_000).is_ok());
    for query in
        ["h * 2", "-h", "rate(h[1m])", "sum(h)", "h + h", "avg_over_time(h[1m])", "sum_over_time((h * 2)[1m:15s])"]
    {
        assert!(ask(query, 3_000).is_ok(), "{query}");
        let found = ask(query, 150_000);
        assert!(matches!(&found, Err(error) if error.to_string() == TOO_MANY), "{query}");
    }
}

/// How deep the deepest expression is that is not refused.
fn deepest(written: &dyn Fn(usize) -> String) -> usize {
    let depths: Vec<usize> = (50..1000).collect();
    let refused = depths.partition_point(|&depth| parse(&written(depth)).is_ok());
    assert!(refused > 0, "{}", written(3));
    depths[refused - 1]
}

/// Recursion ends with an error on a small stack: parentheses, signs, calls, subqueries, durations.
#[test]
fn nesting_is_bounded() {
    let on_small_stack = || {
        let data = counters(1);
        for (open, close) in [
            ("(", ")"),
            ("-", ""),
            ("- -", ""),
            ("abs(", ")"),
            ("sum(", ")"),
            ("1 + (", ")"),
            ("2 ^ ", ""),
            ("2 ^ -", ""),
            ("last_over_time(", "[1m:15s])"),
            ("info(", ")"),
            ("topk(scalar(", "), go_0_total)"),
        ] {
            let written = |depth: usize| format!("{}go_0_total{}", open.repeat(depth), close.repeat(depth));
            for depth in [1000, 20_000] {
                let error = parse(&written(depth)).expect_err(open).to_string();
                assert!(error.ends_with("parse error: expression is nested too deeply"), "{error}");
            }
            ask(&data, 75, &written(deepest(&written)));
        }
        for (open, close) in [("(", ")"), ("-", ""), ("1 + ", ""), ("min(1, ", ")"), ("1 ^ ", "")] {
            let written = |depth: usize| format!("go_0_total[{}60{}]", open.repeat(depth), close.repeat(depth));
            let error = parse(&written(20_000)).expect_err(open).to_string();
            assert!(error.ends_with("parse error: expression is nested too deeply"), "{error}");
            let expr = parse(&written(deepest(&written))).expect(open);
            let _ = instant(&data, &expr, 75_000, &Options::default());
        }
    };
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(on_small_stack).expect("thread");
    thread.join().expect("no panic");
}

/// Chains of operators are long before they are refused.
#[test]
fn long_chains_are_answered() {
    let data = counters(3);
    for operator in ["or", "+ on()", "and"] {
        let chain = |length: usize| vec!["go_1_total"; length].join(&format!(" {operator} "));
        assert_eq!(shown(&ask(&data, 75, &chain(900))).len(), 1);
        assert!(parse(&chain(20_000)).is_err());
    }
}

/// RE2 is linear, and so is what is used here; what grows too large is refused.
#[test]
fn regular_expressions_are_linear_or_refused() {
    let data = storage([series(&format!("x{{a=\"{}\"}}", "a".repeat(100_000)), [1.0])]);
    assert_eq!(shown(&ask(&data, 0, "count(x{a=~\"(a+)+b\"} or vector(1))")), ["{} 1"]);
    assert!(parse("x{a=~\"((a{1,1000}){1,1000}){1,1000}\"}").is_err());
    let replaced = "label_replace(x, \"b\", \"\", \"a\", \"((a{1,1000}){1,1000}){1,1000}\")";
    assert!(fails(&data, 0, replaced).starts_with("invalid regular expression in label_replace()"));
}
