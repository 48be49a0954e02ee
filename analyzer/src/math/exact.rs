//! Exact intervals of counts, and the two special functions that they rest on.
//!
//! Sources: Clopper and Pearson, Biometrika 26 (1934); Garwood, Biometrika 28 (1936). Both invert the tail of the
//! distribution; here by bisection, which cannot fail to converge. The regularised incomplete gamma and beta
//! functions are computed by their series and continued fractions (NIST DLMF 8.11, 8.17.22).

/// Exact (Garwood) interval of the mean of a Poisson count, at a two-sided level.
pub fn poisson(count: u64, level: f64) -> (f64, f64) {
    let tail = (1.0 - level) / 2.0;
    let k = count as f64;
    let top = k + 20.0 * (k + 1.0).sqrt() + 50.0;
    // P(X ≥ k | λ) = P(k, λ) rises with λ.
    let low = if count == 0 { 0.0 } else { bisect(0.0, top, |mean| gamma_p(k, mean) - tail) };
    let high = bisect(0.0, top, |mean| gamma_p(k + 1.0, mean) - (1.0 - tail));
    (low, high)
}

/// Exact (Clopper–Pearson) interval of a proportion, at a two-sided level; `None` without trials.
pub fn proportion(successes: u64, trials: u64, level: f64) -> Option<(f64, f64)> {
    if trials == 0 || successes > trials {
        return None;
    }
    let tail = (1.0 - level) / 2.0;
    let (k, n) = (successes as f64, trials as f64);
    let low = if successes == 0 { 0.0 } else { bisect(0.0, 1.0, |p| beta_i(k, n - k + 1.0, p) - tail) };
    let high = if successes == trials { 1.0 } else { bisect(0.0, 1.0, |p| beta_i(k + 1.0, n - k, p) - (1.0 - tail)) };
    Some((low, high))
}

/// Exact one-sided upper bound of a proportion (for no successes in `n` trials about 3/n at 95 %).
pub fn proportion_upper(successes: u64, trials: u64, level: f64) -> Option<f64> {
    // A two-sided interval with the same tail has the level 1 − 2·(1 − level).
    proportion(successes, trials, 2.0 * level - 1.0).map(|(_, high)| high)
}

/// `P(X ≤ k)` of a binomial distribution.
pub fn binomial_cdf(k: u64, trials: u64, p: f64) -> f64 {
    if k >= trials { 1.0 } else { 1.0 - beta_i(k as f64 + 1.0, (trials - k) as f64, p) }
}

/// The root of a rising function between two points, to about 1e-14 of the range.
pub fn bisect(mut low: f64, mut high: f64, f: impl Fn(f64) -> f64) -> f64 {
    for _ in 0..120 {
        let middle = low + (high - low) / 2.0;
        if f(middle) < 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    low + (high - low) / 2.0
}

/// `ln Γ(x)` for `x > 0` (Lanczos, g = 7, 9 terms: about 1e-14).
pub fn ln_gamma(x: f64) -> f64 {
    const G: f64 = 7.0;
    const TERMS: [f64; 9] = [
        0.999_999_999_999_809_9,
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    if x < 0.5 {
        // Reflection.
        return (std::f64::consts::PI / (std::f64::consts::PI * x).sin()).ln() - ln_gamma(1.0 - x);
    }
    let x = x - 1.0;
    let mut sum = TERMS[0];
    for (i, term) in TERMS.iter().enumerate().skip(1) {
        sum += term / (x + i as f64);
    }
    let t = x + G + 0.5;
    0.5 * (2.0 * std::f64::consts::PI).ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

/// Regularised lower incomplete gamma function `P(a, x)`.
pub fn gamma_p(a: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if a <= 0.0 {
        return 1.0;
    }
    let front = (a * x.ln() - x - ln_gamma(a)).exp();
    if x < a + 1.0 {
        let mut term = 1.0 / a;
        let mut sum = term;
        let mut n = a;
        for _ in 0..100_000 {
            n += 1.0;
            term *= x / n;
            sum += term;
            if term.abs() < sum.abs() * 1e-16 {
                break;
            }
        }
        (front * sum).min(1.0)
    } else {
        // Modified Lentz on the continued fraction of Q(a, x).
        let tiny = 1e-300;
        let mut b = x + 1.0 - a;
        let mut c = 1.0 / tiny;
        let mut d = 1.0 / b;
        let mut h = d;
        for i in 1..100_000 {
            let i = f64::from(i);
            let an = -i * (i - a);
            b += 2.0;
            d = an * d + b;
            if d.abs() < tiny {
                d = tiny;
            }
            c = b + an / c;
            if c.abs() < tiny {
                c = tiny;
            }
            d = 1.0 / d;
            let delta = d * c;
            h *= delta;
            if (delta - 1.0).abs() < 1e-16 {
                break;
            }
        }
        (1.0 - front * h).max(0.0)
    }
}

/// Regularised incomplete beta function `I_x(a, b)`.
pub fn beta_i(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p()).exp();
    if x < (a + 1.0) / (a + b + 2.0) {
        front * beta_fraction(a, b, x) / a
    } else {
        1.0 - front * beta_fraction(b, a, 1.0 - x) / b
    }
}

fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    let tiny = 1e-300;
    let nudge = |v: f64| if v.abs() < tiny { tiny } else { v };
    let mut c = 1.0;
    let mut d = 1.0 / nudge(1.0 - (a + b) * x / (a + 1.0));
    let mut h = d;
    for m in 1..20_000 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / nudge(1.0 + even * d);
        c = nudge(1.0 + even / c);
        h *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / nudge(1.0 + odd * d);
        c = nudge(1.0 + odd / c);
        let delta = d * c;
        h *= delta;
        if (delta - 1.0).abs() < 1e-15 {
            break;
        }
    }
    h
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{beta_i, binomial_cdf, gamma_p, ln_gamma, poisson, proportion, proportion_upper};

    fn close(found: f64, expected: f64, tolerance: f64) {
        assert!((found - expected).abs() <= tolerance, "{found} is not {expected}");
    }

    /// Garwood's limits as tabulated (95 %): half the chi-square quantiles at 2k and 2k + 2 degrees.
    #[test]
    fn poisson_limits_of_the_table() {
        for (count, low, high) in [
            (0, 0.0, 3.689),
            (1, 0.025, 5.572),
            (2, 0.242, 7.225),
            (5, 1.623, 11.668),
            (10, 4.795, 18.390),
            (100, 81.36, 121.63),
        ] {
            let found = poisson(count, 0.95);
            let tolerance = if count == 100 { 6e-3 } else { 6e-4 };
            close(found.0, low, tolerance);
            close(found.1, high, tolerance);
        }
    }

    #[test]
    fn proportion_limits_of_the_table() {
        // No success in 10: 1 − 0.025^(1/10).
        let (low, high) = proportion(0, 10, 0.95).unwrap();
        close(low, 0.0, 0.0);
        close(high, 1.0 - 0.025_f64.powf(0.1), 1e-10);
        let (low, high) = proportion(5, 10, 0.95).unwrap();
        close(low, 0.187_086, 1e-5);
        close(high, 0.812_914, 1e-5);
        assert_eq!(proportion(1, 0, 0.95), None);
        assert_eq!(proportion(3, 2, 0.95), None);
    }

    /// The documents' minimum of 3,001 attempts: none failed means below 0.1 %, and 2,990 would not do.
    #[test]
    fn the_rule_of_three() {
        assert!(proportion_upper(0, 3001, 0.95).unwrap() < 0.001);
        assert!(proportion_upper(0, 2990, 0.95).unwrap() > 0.001);
    }

    #[test]
    fn special_functions_at_known_points() {
        close(ln_gamma(0.5), std::f64::consts::PI.sqrt().ln(), 1e-13);
        close(ln_gamma(11.0), 3_628_800_f64.ln(), 1e-12);
        close(gamma_p(1.0, 2.0), 1.0 - (-2.0_f64).exp(), 1e-14);
        close(beta_i(2.0, 3.0, 0.4), 0.524_8, 1e-12);
        close(binomial_cdf(2, 5, 0.5), 0.5, 1e-12);
        close(binomial_cdf(0, 3, 0.5), 0.125, 1e-12);
    }

    proptest! {
        #[test]
        fn the_limits_hold_their_tails(count in 0u64..400) {
            let (low, high) = poisson(count, 0.95);
            let k = count as f64;
            prop_assert!(low <= k && k <= high);
            if count > 0 {
                prop_assert!((gamma_p(k, low) - 0.025).abs() < 1e-6);
            }
            prop_assert!((1.0 - gamma_p(k + 1.0, high) - 0.025).abs() < 1e-6);
        }

        #[test]
        fn a_proportion_lies_in_its_limits(trials in 1u64..2000, share in 0.0..=1.0f64) {
            let successes = (share * trials as f64) as u64;
            let (low, high) = proportion(successes, trials, 0.95).unwrap();
            let p = successes as f64 / trials as f64;
            prop_assert!(0.0 <= low && low <= p && p <= high && high <= 1.0);
        }
    }
}
