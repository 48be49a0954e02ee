//! Tests of the shifts: the statistic by its definition, false alarms on shuffled figures, injected shifts, bounds, open ends.

use proptest::prelude::*;

use super::*;

/// Figures of latencies: most near 0.2 s, a tenth of runs with a second mode, one in thirty ten times as slow, read to the millisecond
/// (so there are ties), within a few percent.
fn figures(random: &mut fastrand::Rng, count: usize) -> Vec<Estimate> {
    (0..count)
        .map(|_| {
            let normal: f64 = (0..12).map(|_| random.f64()).sum::<f64>() - 6.0;
            let mode = match random.u32(0..30) {
                0 => 10.0,
                1..=3 => 1.6,
                _ => 1.0,
            };
            let value = (0.2 * mode * (0.15 * normal).exp() * 1e3).round() / 1e3;
            Estimate::between(value * 0.97, value, value * 1.04)
        })
        .collect()
}

fn scaled(values: &mut [Estimate], factor: f64) {
    for one in values {
        *one = crate::math::arithmetic::scaled(*one, factor);
    }
}

fn places(found: &Found) -> Vec<usize> {
    found.shifts.iter().map(|shift| shift.at).collect()
}

fn seeds(default: u64) -> u64 {
    std::env::var("SYNCLINE_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Of `trials` at a rate of 5 % more than this many happen once in a thousand times.
fn allowed(trials: u64) -> u64 {
    let mean = SIGNIFICANT * trials as f64;
    (mean + 3.1 * (mean * (1.0 - SIGNIFICANT)).sqrt()).ceil() as u64
}

/// Mn/(m+n) · (2 E|X−Y| − E|X−X'| − E|Y−Y'|), pair by pair.
fn distance(x: &[i32], y: &[i32]) -> f64 {
    let mean = |a: &[i32], b: &[i32], pairs: usize| {
        let sum: i64 = a.iter().flat_map(|x| b.iter().map(move |y| i64::from(x.abs_diff(*y)))).sum();
        sum as f64 / pairs as f64
    };
    let (m, n) = (x.len(), y.len());
    let energy = 2.0 * mean(x, y, m * n) - mean(x, x, m * (m - 1)) - mean(y, y, n * (n - 1));
    (m * n) as f64 / (m + n) as f64 * energy
}

proptest! {
    #[test]
    fn the_best_division_is_that_of_the_definition(values in prop::collection::vec(0u8..12, 2 * LEAST..24)) {
        let values: Vec<f64> = values.into_iter().map(f64::from).collect();
        let ranks = ranks(&values);
        let n = ranks.len();
        let all = (LEAST..n).flat_map(|at| (at + LEAST..=n).map(move |end| (at, end)));
        let greatest = all.map(|(at, end)| distance(&ranks[..at], &ranks[at..end])).fold(f64::MIN, f64::max);
        match best(&ranks) {
            Some(best) => {
                prop_assert!((best.distance - greatest).abs() < 1e-6, "{} is not {greatest}", best.distance);
                let own = (best.at + LEAST..=n).map(|end| distance(&ranks[..best.at], &ranks[best.at..end]));
                prop_assert!((own.fold(f64::MIN, f64::max) - greatest).abs() < 1e-6);
            }
            None => prop_assert!(greatest < 1e-6),
        }
    }

    #[test]
    fn whatever_comes_is_answered(values in prop::collection::vec(any::<[Option<f64>; 3]>(), 0..20)) {
        let values: Vec<Estimate> =
            values.into_iter().map(|[value, low, high]| Estimate { value, low, high }).collect();
        let found = find(&values);
        for shift in &found.shifts {
            prop_assert!(shift.before.len() >= LEAST && shift.after.len() >= LEAST && shift.p <= SIGNIFICANT);
            prop_assert!(shift.higher().is_some());
        }
        prop_assert_eq!(find(&values), found);
    }
}

#[test]
fn of_a_hundred_sequences_without_a_shift_five_have_one_at_most() {
    let trials = seeds(200);
    for (count, from) in [(12, 1), (40, 2)] {
        let (mut divided, mut shifted) = (0, 0);
        for seed in 0..trials {
            let values = figures(&mut fastrand::Rng::with_seed(seed * 7 + from), count);
            let found = find(&values);
            divided += u64::from(!found.shifts.is_empty() || !found.unproven.is_empty());
            shifted += u64::from(!found.shifts.is_empty());
        }
        println!("{count} runs: {divided} of {trials} divide, {shifted} shift");
        assert!(divided <= allowed(trials), "{count} runs: {divided} of {trials}");
        // A test that never says anything has no false alarms either.
        assert!(trials < 200 || divided > 0, "{count} runs: none of {trials} at a level of 5 %");
    }
}

/// The figures of one sequence with a shift, in random orders.
#[test]
fn a_shifted_sequence_in_another_order_is_no_shift() {
    let trials = seeds(200);
    let mut random = fastrand::Rng::with_seed(11);
    let mut values = figures(&mut random, 30);
    scaled(&mut values[15..], 2.0);
    assert_eq!(find(&values).shifts.len(), 1);
    let alarms = (0..trials).filter(|_| {
        random.shuffle(&mut values);
        !find(&values).shifts.is_empty()
    });
    let alarms = alarms.count() as u64;
    println!("{alarms} of {trials} orders have a shift");
    assert!(alarms <= allowed(trials), "{alarms} of {trials}");
}

#[test]
fn an_injected_shift_is_found_near_its_place() {
    let trials = seeds(100);
    for (factor, power, least) in [(1.5, 0.9, 0.8), (2.0, 0.98, 0.93), (0.5, 0.98, 0.93)] {
        let (mut found_it, mut near, mut held) = (0u64, 0u64, 0u64);
        for seed in 0..trials {
            let mut random = fastrand::Rng::with_seed(1_000 + seed);
            let mut values = figures(&mut random, 40);
            let at = random.usize(8..32);
            scaled(&mut values[at..], factor);
            let found = find(&values);
            let close = |one: &&Shift| one.at.abs_diff(at) <= 2;
            let shift = found.shifts.iter().min_by_key(|one| one.at.abs_diff(at));
            found_it += u64::from(!found.shifts.is_empty());
            near += u64::from(shift.as_ref().is_some_and(close));
            held += u64::from(shift.filter(close).and_then(|one| one.ratio).is_some_and(|ratio| {
                ratio.low.is_some_and(|low| low <= factor) && ratio.high.is_some_and(|high| factor <= high)
            }));
        }
        println!("× {factor}: {found_it} of {trials} found, {near} within two runs, {held} of these hold the factor");
        assert!(found_it as f64 >= power * trials as f64, "× {factor}: {found_it} of {trials}");
        assert!(near as f64 >= least * trials as f64, "× {factor}: {near} of {trials} near");
        assert!(held as f64 >= 0.95 * near as f64, "× {factor}: {held} of {near}");
    }
}

#[test]
fn a_level_that_comes_back_is_two_shifts() {
    let mut values = figures(&mut fastrand::Rng::with_seed(5), 36);
    scaled(&mut values[12..24], 2.0);
    let found = find(&values);
    let at = places(&found);
    assert!(at.len() == 2 && at[0].abs_diff(12) <= 1 && at[1].abs_diff(24) <= 1, "{found:?}");
    let higher: Vec<Option<bool>> = found.shifts.iter().map(Shift::higher).collect();
    assert_eq!(higher, [Some(true), Some(false)]);
    assert_eq!((found.shifts[0].after.clone(), found.shifts[1].before.clone()), (at[0]..at[1], at[0]..at[1]));
}

/// The highest of the low values stands last: by ranks alone it may as well be the first of the high ones.
#[test]
fn a_division_lies_at_the_gap() {
    let near = |level: f64| (0..12).map(move |at| Estimate::exact(level + 0.01 * f64::from((at * 7 + 6) % 12)));
    let values: Vec<Estimate> = near(1.0).chain(near(5.0).take(8)).collect();
    assert_eq!(places(&find(&values)), [12]);
    let open = Estimate { value: None, low: Some(9.0), high: None };
    let values: Vec<Estimate> = near(1.0).chain(std::iter::repeat_n(open, 8)).collect();
    assert_eq!(places(&find(&values)), [12]);
}

#[test]
fn four_against_four_can_be_told_and_fewer_say_why_not() {
    let of = |values: &[f64]| find(&values.iter().copied().map(Estimate::exact).collect::<Vec<_>>());
    let found = of(&[1.0, 1.1, 1.2, 1.05, 2.0, 2.1, 2.2, 2.05]);
    assert_eq!(places(&found), [4], "{found:?}");
    assert!(found.shifts[0].p < 0.05 && found.shifts[0].p > 0.01, "2 of 70 orders: {found:?}");
    assert_eq!(of(&[1.0, 1.1, 1.2, 1.05, 2.0, 2.1, 2.2]).nothing, Some(Nothing::TooFew));
    assert_eq!(of(&[]).nothing, Some(Nothing::TooFew));
    assert_eq!(of(&[3.0; 50]).nothing, Some(Nothing::Constant));
}

#[test]
fn ties_shift_and_zeroes_have_a_difference_without_a_ratio() {
    let values: Vec<Estimate> = (0..20).map(|at| Estimate::exact(if at < 10 { 0.0 } else { 3.0 })).collect();
    let found = find(&values);
    assert_eq!(places(&found), [10]);
    let difference = found.shifts[0].difference.expect("one");
    assert_eq!((found.shifts[0].ratio, difference.low, difference.high), (None, Some(3.0), Some(3.0)));
}

#[test]
fn one_slow_run_and_a_wider_spread_are_no_shift() {
    let mut random = fastrand::Rng::with_seed(8);
    let mut values: Vec<Estimate> = (0..30).map(|_| Estimate::exact(1.0 + 0.1 * random.f64())).collect();
    values[14] = Estimate::exact(100.0);
    assert_eq!(find(&values), Found::default());
    let spread: Vec<Estimate> =
        (0..40).map(|at| Estimate::exact(1.0 + (random.f64() - 0.5) * if at < 20 { 0.01 } else { 0.9 })).collect();
    let found = find(&spread);
    assert!(found.shifts.is_empty(), "{found:?}");
}

#[test]
fn what_the_bounds_alone_can_have_made_is_no_shift() {
    // First wide looks, whose middles say 0.5; then narrow ones near 0.9: all may be 0.9.
    let mut random = fastrand::Rng::with_seed(2);
    let values: Vec<Estimate> = (0..24)
        .map(|at| match at {
            0..12 => Estimate::between(0.0, 0.5 + 0.05 * random.f64(), 1.0),
            _ => {
                let value = 0.9 + 0.05 * random.f64();
                Estimate::between(value - 0.01, value, value + 0.01)
            }
        })
        .collect();
    let found = find(&values);
    assert!(found.shifts.is_empty(), "{found:?}");
    let at: Vec<usize> = found.unproven.iter().map(|one| one.at).collect();
    assert_eq!(at, [12], "it is told all the same");
    // A shift beyond all bounds stands beside it.
    let mut shifted = values.clone();
    shifted.extend((0..12).map(|_| Estimate::between(4.9, 5.0 + 0.05 * random.f64(), 5.1)));
    let found = find(&shifted);
    assert_eq!((places(&found), found.shifts[0].before.clone()), (vec![24], 0..24), "{found:?}");
}

#[test]
fn what_never_arrived_is_later_than_all_and_leaves_the_factor_open() {
    let mut random = fastrand::Rng::with_seed(3);
    let mut values: Vec<Estimate> = (0..12).map(|_| Estimate::exact(1.0 + 0.1 * random.f64())).collect();
    values.extend((0..12).map(|_| Estimate { value: None, low: Some(30.0), high: None }));
    let found = find(&values);
    assert_eq!(places(&found), [12]);
    let ratio = found.shifts[0].ratio.expect("one");
    assert!(ratio.low.is_some_and(|low| low > 25.0) && ratio.high.is_none(), "{ratio:?}");
    assert!(level(&values[12]) > level(&Estimate::exact(1e300)), "whatever was waited for");
    // Waited for no longer than the others took: nothing is proven.
    for one in &mut values[12..] {
        one.low = Some(0.9);
    }
    let found = find(&values);
    assert!(found.shifts.is_empty() && found.unproven.len() == 1, "{found:?}");
}

#[test]
fn of_a_sequence_that_is_too_long_the_newest_values_are_searched() {
    let mut values = vec![Estimate::exact(9.0); 5];
    values.extend(vec![Estimate::exact(1.0); MOST]);
    let found = find(&values);
    assert_eq!((found.left_out, found.nothing), (5, Some(Nothing::Constant)));
}
