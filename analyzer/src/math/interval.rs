//! Sampling intervals: of a proportion (Wilson), of a quantile (order statistics), of a mean of few values (Student).

use super::exact::{beta_i, binomial_cdf, bisect};

/// Two-sided 95 % point of the normal distribution.
pub const Z95: f64 = 1.959_963_984_540_054;

/// Wilson's score interval of a proportion at 95 % (Wilson, JASA 22, 1927); `None` without trials.
pub fn wilson(successes: u64, trials: u64) -> Option<(f64, f64)> {
    if trials == 0 || successes > trials {
        return None;
    }
    let (k, n) = (successes as f64, trials as f64);
    let p = k / n;
    let z2 = Z95 * Z95;
    let centre = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z95 / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    Some(((centre - half).max(0.0), (centre + half).min(1.0)))
}

/// Newcombe's interval of the difference `p1 − p2` at 95 % (Statistics in Medicine 17, 1998, method 10).
pub fn newcombe(first: (u64, u64), second: (u64, u64)) -> Option<(f64, f64)> {
    let (l1, u1) = wilson(first.0, first.1)?;
    let (l2, u2) = wilson(second.0, second.1)?;
    let p1 = first.0 as f64 / first.1 as f64;
    let p2 = second.0 as f64 / second.1 as f64;
    let low = p1 - p2 - ((p1 - l1).powi(2) + (u2 - p2).powi(2)).sqrt();
    let high = p1 - p2 + ((u1 - p1).powi(2) + (p2 - l2).powi(2)).sqrt();
    Some((low, high))
}

/// Indices (from 0, of sorted values) of the order statistics that hold the `q`-quantile with at least `level`;
/// `None` where `n` values cannot (a median at 95 % needs 6).
pub fn order_statistics(n: usize, q: f64, level: f64) -> Option<(usize, usize)> {
    let tail = (1.0 - level) / 2.0;
    let trials = n as u64;
    // The lower index is the greatest l with P(X < l) ≤ tail, X ~ Bin(n, q); 1-based order statistic l.
    let lower = (1..=trials).take_while(|l| binomial_cdf(l - 1, trials, q) <= tail).last()?;
    let first = (((n as f64) * q) as u64).min(trials);
    let upper = (first + 1..=trials).find(|u| binomial_cdf(u - 1, trials, q) >= 1.0 - tail)?;
    Some((lower as usize - 1, upper as usize - 1))
}

/// Interval of the `q`-quantile from sorted values, distribution-free, at `level`.
pub fn of_quantile(sorted: &[f64], q: f64, level: f64) -> Option<(f64, f64)> {
    let n = sorted.len();
    // Far from the ends the binomial is normal enough, and walking all ranks of a million requests is not.
    let (low, high) = if n > 5000 {
        let half = Z95 * (n as f64 * q * (1.0 - q)).sqrt() + 1.0;
        let centre = n as f64 * q;
        let (low, high) = ((centre - half).floor(), (centre + half).ceil());
        if low < 1.0 || high > n as f64 || level > 0.95 {
            return None;
        }
        (low as usize - 1, high as usize - 1)
    } else {
        order_statistics(n, q, level)?
    };
    Some((sorted[low], sorted[high]))
}

/// Interval of the median of a few values (runs), exact; `None` below 6 values at 95 %.
pub fn of_median(values: &[f64], level: f64) -> Option<(f64, f64)> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    of_quantile(&sorted, 0.5, level)
}

/// Two-sided point of Student's distribution: `P(|T| ≤ t) = level` with `degrees` of freedom.
pub fn student(degrees: f64, level: f64) -> f64 {
    // P(|T| ≤ t) = 1 − I_{ν/(ν+t²)}(ν/2, 1/2).
    bisect(0.0, 1e6, |t| 1.0 - beta_i(degrees / 2.0, 0.5, degrees / (degrees + t * t)) - level)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{newcombe, of_median, of_quantile, order_statistics, student, wilson};

    fn close(found: f64, expected: f64, tolerance: f64) {
        assert!((found - expected).abs() <= tolerance, "{found} is not {expected}");
    }

    /// Newcombe 1998, table of single proportions: 81/263, 15/148, 0/20, 1/29.
    #[test]
    fn wilson_limits_of_the_table() {
        for (k, n, low, high) in
            [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]
        {
            let found = wilson(k, n).unwrap();
            close(found.0, low, 6e-5);
            close(found.1, high, 6e-5);
        }
        assert_eq!(wilson(0, 0), None);
    }

    /// Newcombe 1998, difference of proportions: 56/70 − 48/80, method 10.
    #[test]
    fn newcombe_limits_of_the_table() {
        let (low, high) = newcombe((56, 70), (48, 80)).unwrap();
        close(low, 0.0524, 6e-5);
        close(high, 0.3339, 6e-5);
    }

    /// Ranks of the table for a 95 % interval of a median (Conover; Hahn and Meeker), from 1.
    #[test]
    fn median_ranks_of_the_table() {
        for (n, low, high) in [(6, 1, 6), (8, 1, 8), (9, 2, 8), (10, 2, 9), (15, 4, 12), (20, 6, 15), (25, 8, 18)] {
            assert_eq!(order_statistics(n, 0.5, 0.95), Some((low - 1, high - 1)), "n = {n}");
        }
        assert_eq!(order_statistics(5, 0.5, 0.95), None);
    }

    #[test]
    fn five_runs_have_no_interval_and_six_have_their_range() {
        assert_eq!(of_median(&[5.0, 1.0, 4.0, 2.0, 3.0], 0.95), None);
        assert_eq!(of_median(&[5.0, 1.0, 4.0, 2.0, 3.0, 9.0], 0.95), Some((1.0, 9.0)));
    }

    #[test]
    fn many_values_agree_with_few() {
        let values: Vec<f64> = (0..5001).map(f64::from).collect();
        let exact = order_statistics(5001, 0.5, 0.95).unwrap();
        let found = of_quantile(&values, 0.5, 0.95).unwrap();
        assert!((found.0 - exact.0 as f64).abs() <= 2.0 && (found.1 - exact.1 as f64).abs() <= 2.0);
    }

    #[test]
    fn student_points_of_the_table() {
        for (degrees, expected) in [(1.0, 12.706), (2.0, 4.303), (5.0, 2.571), (30.0, 2.042)] {
            close(student(degrees, 0.95), expected, 6e-4);
        }
    }

    proptest! {
        #[test]
        fn an_interval_holds_its_proportion(n in 1u64..5000, share in 0.0..=1.0f64) {
            let k = (share * n as f64) as u64;
            let (low, high) = wilson(k, n).unwrap();
            let p = k as f64 / n as f64;
            prop_assert!(low <= p + 1e-12 && p <= high + 1e-12);
        }
    }
}
