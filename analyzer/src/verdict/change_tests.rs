//! Injected ratios, equal sets, few runs, bounds, load.

use super::*;
use crate::result::Header;

/// A small generator, the same on every machine (xorshift64*).
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Skewed as latencies are: most near 1, a tail of some multiples.
    fn latency(&mut self) -> f64 {
        1.0 + (-(1.0 - self.unit()).ln()).powf(1.5) * 0.3
    }
}

fn measured(name: &str, value: f64, width: f64) -> Measurement {
    Measurement {
        name: name.into(),
        unit: "s".into(),
        estimate: Estimate::between(value - width, value, value + width),
        statistic: "value".into(),
        n: 43,
        ..Measurement::default()
    }
}

fn run(name: &str, measurements: Vec<Measurement>) -> RunResult {
    let run = Header { name: name.to_owned(), scenario: "scale-up".to_owned(), services: Some(5), ..Header::default() };
    RunResult { run, measurements, ..RunResult::default() }
}

fn changes(a: &[RunResult], b: &[RunResult]) -> Changes {
    compare_sets(&a.iter().collect::<Vec<_>>(), &b.iter().collect::<Vec<_>>(), &|_| true)
}

fn of(values: &[f64], width: f64) -> Vec<RunResult> {
    values.iter().map(|value| run(&value.to_string(), vec![measured("x", *value, width)])).collect()
}

/// One measurement of `values` against that of `others`.
fn one(values: &[f64], others: &[f64], width: f64) -> Change {
    changes(&of(values, width), &of(others, width)).all.remove(0)
}

fn set(random: &mut Random, runs: usize, names: &[String], factor: f64, width: f64) -> Vec<RunResult> {
    let of_run = |at: usize, random: &mut Random| {
        // What a run's machine does to all of its figures alike: they are not independent.
        let shared = 0.9 + 0.2 * random.unit();
        let rows = names.iter().map(|name| {
            let truth = shared * random.latency() * factor;
            // The figure lies anywhere within bounds that hold the truth.
            let seen = truth + width * (2.0 * random.unit() - 1.0);
            measured(name, seen, width)
        });
        run(&at.to_string(), rows.collect())
    };
    (0..runs).map(|at| of_run(at, random)).collect()
}

/// The stated share is 5 % over all comparisons of one call, whatever their number.
#[test]
fn equal_sets_are_called_different_in_no_more_than_the_stated_share() {
    let names: Vec<String> = (0..8).map(|at| format!("m{at}")).collect();
    for (runs, others) in [(6, 6), (5, 9), (8, 8)] {
        let mut random = Random(0x9E37_79B9_7F4A_7C15 ^ runs as u64);
        let called = (0..1_000)
            .filter(|_| {
                let (a, b) = (set(&mut random, runs, &names, 1.0, 0.0), set(&mut random, others, &names, 1.0, 0.0));
                changes(&a, &b).all.iter().any(|one| matches!(one.word, Word::Lower | Word::Higher))
            })
            .count();
        assert!(called <= 50, "{runs} against {others}: {called} of 1,000");
        // A test that could find nothing would pass this too.
        assert!(called > 0 || runs == 6, "{runs} against {others}: never");
    }
}

/// Without the correction the share is far beyond: what the test above would notice.
#[test]
fn without_the_correction_equal_sets_would_be_called_different() {
    let names: Vec<String> = (0..12).map(|at| format!("m{at}")).collect();
    let mut random = Random(77);
    let called = (0..300)
        .filter(|_| {
            let (a, b) = (set(&mut random, 10, &names, 1.0, 0.0), set(&mut random, 10, &names, 1.0, 0.0));
            changes(&a, &b).all.iter().any(|one| one.p.is_some_and(|p| p < SIGNIFICANT))
        })
        .count();
    assert!(called > 60, "{called} of 300");
}

/// Each interval holds the injected ratio as often as it says, with exact figures and with bounds.
#[test]
fn injected_ratios_lie_within_their_intervals() {
    let names = ["x".to_owned()];
    for (runs, factor, width) in [(3, 2.0, 0.0), (4, 0.13, 0.0), (6, 1.5, 0.0), (10, 0.5, 0.0), (8, 3.0, 0.05)] {
        let mut random = Random(0xD1B5_4A32_D192_ED03 ^ runs as u64);
        let (mut held, mut share) = (0, 0.0);
        for _ in 0..1_000 {
            let a = set(&mut random, runs, &names, 1.0, width);
            let b = set(&mut random, runs, &names, factor, width);
            let found = changes(&a, &b).all.remove(0);
            let [low, high] = found.ratio_interval.map(|end| end.expect("closed"));
            held += u32::from(low <= factor && factor <= high);
            share = found.coverage.expect("stated");
        }
        // Three standard deviations of a share of 1,000.
        let slack = 3.0 * (share * (1.0 - share) / 1_000.0).sqrt();
        assert!(f64::from(held) / 1_000.0 >= share - slack, "{runs} runs, {factor}: {held} of 1,000 at {share}");
    }
}

#[test]
fn differences_are_found_from_enough_runs_and_few_say_how_many_would_do() {
    let up = |runs: usize, from: f64| (0..runs).map(|at| from + 0.01 * at as f64).collect::<Vec<f64>>();
    let found = one(&up(4, 1.0), &up(4, 2.0), 0.0);
    assert_eq!((found.word, found.reason), (Word::Higher, None));
    assert_eq!(one(&up(4, 2.0), &up(4, 1.0), 0.0).word, Word::Lower);
    let few = one(&up(3, 1.0), &up(3, 2.0), 0.0);
    assert_eq!((few.word, few.reason, few.runs_needed), (Word::CannotTell, Some(Doubt::Runs), 4));
    assert_eq!((few.p, few.p_adjusted), (Some(0.1), None));
    assert!((few.coverage.unwrap() - 0.9).abs() < 1e-9);
    let single = one(&[1.0], &[2.0], 0.1);
    assert_eq!((single.word, single.coverage, single.p), (Word::CannotTell, None, None));
    assert!((single.ratio_interval[0].unwrap() - 1.9 / 1.1).abs() < 1e-9, "what the bounds of these runs leave");
    let same = one(&up(6, 1.0), &up(6, 1.0), 0.0);
    assert_eq!(same.word, Word::NoDifference);
    assert!(same.smallest_difference.unwrap() < 0.06, "{:?}", same.smallest_difference);
}

#[test]
fn bounds_of_single_figures_may_leave_open_what_their_values_tell() {
    let (a, b) = ([1.0, 1.01, 1.02, 1.03, 1.04], [1.2, 1.21, 1.22, 1.23, 1.24]);
    assert_eq!(one(&a, &b, 0.05).word, Word::Higher);
    let wide = one(&a, &b, 0.5);
    assert_eq!((wide.word, wide.reason), (Word::CannotTell, Some(Doubt::Bounds)));
    let mut open = of(&b, 0.0);
    open[2].measurements[0].estimate = Estimate { value: None, low: Some(1.0), high: None };
    let found = changes(&of(&a, 0.0), &open).all.remove(0);
    assert_eq!((found.word, found.reason, found.p), (Word::CannotTell, Some(Doubt::Open), None));
}

#[test]
fn nothing_against_something_has_no_ratio_and_is_told_by_its_difference() {
    let found = one(&[0.0; 5], &[0.1, 0.2, 0.3, 0.4, 0.5], 0.0);
    assert_eq!((found.ratio, found.word), (None, Word::Higher));
    assert_eq!(found.shift_interval[0], Some(0.1));
    let constant = one(&[43.0; 6], &[43.0; 6], 0.0);
    assert_eq!((constant.word, constant.p_adjusted), (Word::NoDifference, None));
    assert_eq!(constant.smallest_difference, Some(0.0));
}

#[test]
fn correction_is_over_all_comparisons_made() {
    let run_of = |at: usize, apart: f64| {
        let value = 1.0 + 0.01 * at as f64 + apart;
        run(&at.to_string(), ["x", "y"].map(|name| measured(name, value, 0.0)).into())
    };
    let set = |apart: f64| (0..4).map(|at| run_of(at, apart)).collect::<Vec<_>>();
    let found = changes(&set(0.0), &set(1.0)).all;
    assert!((found[0].p_adjusted.unwrap() - 4.0 / 70.0).abs() < 1e-9);
    assert_eq!((found[0].word, found[0].runs_needed), (Word::CannotTell, 5));
}

#[test]
fn load_on_one_side_explains_what_it_could_have_made_and_nothing_else() {
    let with = |values: &[f64], busy: f64| {
        let mut runs = of(values, 0.0);
        for one in &mut runs {
            one.measurements[0].name = "endpoint_propagation".into();
            let row = Measurement { variant: "action".into(), ..measured("node_busy", busy, 0.0) };
            one.measurements.push(row);
        }
        runs
    };
    let (low, high) = ([1.0, 1.1, 1.2, 1.3, 1.4, 1.5], [2.0, 2.1, 2.2, 2.3, 2.4, 2.5]);
    let word = |a: &[RunResult], b: &[RunResult]| changes(a, b).all.remove(0).word;
    let by_load = changes(&with(&low, 0.5), &with(&high, 0.95)).all.remove(0);
    assert!(by_load.word == Word::CannotTell && matches!(by_load.reason, Some(Doubt::Load(_))), "{by_load:?}");
    assert_eq!(word(&with(&high, 0.95), &with(&low, 0.5)), Word::CannotTell);
    assert_eq!(word(&with(&low, 0.95), &with(&high, 0.5)), Word::Higher, "in spite of the load");
    assert_eq!(word(&with(&low, 0.95), &with(&high, 0.96)), Word::Higher);
}

#[test]
fn what_has_no_counterpart_is_named() {
    let mut a = of(&[1.0, 2.0], 0.0);
    a[1].run.scenario = "pod-crash".to_owned();
    let mut b = of(&[1.0], 0.0);
    b[0].measurements.push(measured("only-b", 1.0, 0.0));
    let found = changes(&a, &b);
    assert_eq!(found.alone, [vec![(("pod-crash".to_owned(), Some(5)), 1)], Vec::new()]);
    assert_eq!(found.unmatched[0].len(), 0);
    assert_eq!(found.unmatched[1].iter().map(|one| one.measurement.as_str()).collect::<Vec<_>>(), ["only-b"]);
}
