//! Interval arithmetic on [`Estimate`]: a result holds whatever the operands may be within their bounds.
//!
//! An operand's open end makes the result open where it matters. What cannot be formed is `None`, never a guess.

use super::Estimate;

/// `a + b`.
pub fn sum(a: Estimate, b: Estimate) -> Estimate {
    Estimate {
        value: both(a.value, b.value, f64_add),
        low: both(a.low, b.low, f64_add),
        high: both(a.high, b.high, f64_add),
    }
}

/// `a − b`.
pub fn difference(a: Estimate, b: Estimate) -> Estimate {
    Estimate {
        value: both(a.value, b.value, f64_sub),
        low: both(a.low, b.high, f64_sub),
        high: both(a.high, b.low, f64_sub),
    }
}

/// `a × factor`; a negative factor swaps the ends.
pub fn scaled(a: Estimate, factor: f64) -> Estimate {
    let times = |x: Option<f64>| x.map(|x| x * factor);
    let (low, high) = if factor < 0.0 { (a.high, a.low) } else { (a.low, a.high) };
    Estimate { value: times(a.value), low: times(low), high: times(high) }
}

/// `a / b` for quantities that cannot be negative (lower ends below zero count as zero). A divisor that may be zero
/// leaves the upper end open; one that is zero leaves no value.
pub fn ratio(a: Estimate, b: Estimate) -> Estimate {
    let clip = |x: Option<f64>| x.map(|x| x.max(0.0));
    let value = match (a.value, b.value) {
        (Some(a), Some(b)) if b > 0.0 => Some(a / b),
        _ => None,
    };
    let low = match (clip(a.low), b.high) {
        (Some(a), Some(b)) if b > 0.0 => Some(a / b),
        _ => None,
    };
    let high = match (clip(a.high), clip(b.low)) {
        (Some(a), Some(b)) if b > 0.0 => Some(a / b),
        _ => None,
    };
    Estimate { value, low, high }
}

/// The smallest interval that holds both; open where either is. The value is not defined.
pub fn union(a: Estimate, b: Estimate) -> Estimate {
    Estimate { value: None, low: both(a.low, b.low, f64::min), high: both(a.high, b.high, f64::max) }
}

fn both(a: Option<f64>, b: Option<f64>, f: fn(f64, f64) -> f64) -> Option<f64> {
    Some(f(a?, b?))
}

fn f64_add(a: f64, b: f64) -> f64 {
    a + b
}

fn f64_sub(a: f64, b: f64) -> f64 {
    a - b
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Estimate, difference, ratio, scaled, sum, union};

    fn check(found: Estimate, expected: (Option<f64>, Option<f64>, Option<f64>)) {
        assert_eq!((found.low, found.value, found.high), expected);
    }

    #[test]
    fn ends_cross_in_a_difference_and_a_quotient() {
        let a = Estimate::between(4.0, 5.0, 6.0);
        let b = Estimate::between(1.0, 2.0, 4.0);
        check(difference(a, b), (Some(0.0), Some(3.0), Some(5.0)));
        check(ratio(a, b), (Some(1.0), Some(2.5), Some(6.0)));
        check(sum(a, b), (Some(5.0), Some(7.0), Some(10.0)));
        check(scaled(a, -2.0), (Some(-12.0), Some(-10.0), Some(-8.0)));
        check(union(a, b), (Some(1.0), None, Some(6.0)));
    }

    #[test]
    fn a_divisor_that_may_be_zero_bounds_nothing_above() {
        let a = Estimate::exact(1.0);
        check(ratio(a, Estimate::between(-1.0, 1.0, 2.0)), (Some(0.5), Some(1.0), None));
        check(ratio(a, Estimate::exact(0.0)), (None, None, None));
    }

    #[test]
    fn an_open_end_stays_open() {
        let open = Estimate { value: Some(1.0), low: Some(0.5), high: None };
        assert_eq!(sum(open, Estimate::exact(1.0)).high, None);
        assert_eq!(difference(Estimate::exact(1.0), open).low, None);
        assert_eq!(ratio(Estimate::exact(1.0), open).low, None);
    }

    proptest! {
        #[test]
        fn results_hold_every_choice_within_the_bounds(
            a in 0.0..10.0f64, aw in 0.0..5.0f64, b in 0.1..10.0f64, bw in 0.0..5.0f64, s in 0.0..1.0f64, t in 0.0..1.0f64,
        ) {
            let x = Estimate::between(a, a + aw / 2.0, a + aw);
            let y = Estimate::between(b, b + bw / 2.0, b + bw);
            let (p, q) = (a + s * aw, b + t * bw);
            for (found, truth) in [(ratio(x, y), p / q), (difference(x, y), p - q), (sum(x, y), p + q)] {
                prop_assert!(found.low.unwrap() <= truth + 1e-9 && truth <= found.high.unwrap() + 1e-9);
            }
        }
    }
}
