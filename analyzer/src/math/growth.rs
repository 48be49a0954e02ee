//! How a cost grows with size.
//!
//! A straight line through log(cost) over log(size) hides linear growth under a fixed cost: y = 10 + 0.01·n looks
//! like an exponent near 0.3 between 10 and 2000. So the cost at the smallest size is taken off first:
//!
//! ```text
//! exponent = log((y₃ − y₁) / (y₂ − y₁)) / log((n₃ − n₁) / (n₂ − n₁))
//! ```
//!
//! which is 1 for any a + b·n and 2 for a + b·n² where n₁ is small against n₂.

use super::Estimate;
use super::interval::student;

/// The exponent from three sizes, smallest first; `None` where the sizes are not rising or the cost does not.
pub fn exponent(sizes: [f64; 3], costs: [f64; 3]) -> Option<f64> {
    let [n1, n2, n3] = sizes;
    let [y1, y2, y3] = costs;
    if !(n1 < n2 && n2 < n3 && y2 > y1 && y3 > y1) {
        return None;
    }
    let found = ((y3 - y1) / (y2 - y1)).ln() / ((n3 - n1) / (n2 - n1)).ln();
    found.is_finite().then_some(found)
}

/// The exponent with bounds: each cost may lie anywhere in its interval. An end is open where a cost's interval
/// reaches the smallest size's, because then no growth at all is possible.
pub fn exponent_bounds(sizes: [f64; 3], costs: [Estimate; 3]) -> Estimate {
    let value = match (costs[0].value, costs[1].value, costs[2].value) {
        (Some(y1), Some(y2), Some(y3)) => exponent(sizes, [y1, y2, y3]),
        _ => None,
    };
    let mut low: Option<f64> = Some(f64::INFINITY);
    let mut high: Option<f64> = Some(f64::NEG_INFINITY);
    // The formula is monotonic in each cost, so that the extremes lie at corners.
    for corner in 0..8u8 {
        let pick = |i: usize| if corner & (1 << i) == 0 { costs[i].low } else { costs[i].high };
        let found = match (pick(0), pick(1), pick(2)) {
            (Some(y1), Some(y2), Some(y3)) => exponent(sizes, [y1, y2, y3]),
            _ => None,
        };
        low = low.zip(found).map(|(a, b)| a.min(b));
        high = high.zip(found).map(|(a, b)| a.max(b));
    }
    Estimate { value, low, high }
}

/// A straight line by least squares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    pub slope: f64,
    pub intercept: f64,
    /// Half-width of the slope's 95 % interval; `None` with fewer than three points.
    pub half_width: Option<f64>,
}

/// Fits `y = intercept + slope·x`; `None` with fewer than two distinct `x`.
pub fn line(points: &[(f64, f64)]) -> Option<Line> {
    let n = points.len() as f64;
    let mean_x = points.iter().map(|p| p.0).sum::<f64>() / n;
    let mean_y = points.iter().map(|p| p.1).sum::<f64>() / n;
    let sxx: f64 = points.iter().map(|p| (p.0 - mean_x).powi(2)).sum();
    // Without points it is NaN, with one x it is zero.
    if sxx.is_nan() || sxx <= 0.0 {
        return None;
    }
    let sxy: f64 = points.iter().map(|p| (p.0 - mean_x) * (p.1 - mean_y)).sum();
    let slope = sxy / sxx;
    let intercept = mean_y - slope * mean_x;
    let half_width = (points.len() >= 3).then(|| {
        let residual: f64 = points.iter().map(|p| (p.1 - intercept - slope * p.0).powi(2)).sum();
        let degrees = n - 2.0;
        student(degrees, 0.95) * (residual / degrees / sxx).sqrt()
    });
    Some(Line { slope, intercept, half_width })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Estimate, exponent, exponent_bounds, line};

    #[test]
    fn a_fixed_cost_does_not_hide_the_growth() {
        let sizes = [5.0, 505.0, 2005.0];
        let linear = exponent(sizes, sizes.map(|n| 10.0 + 0.01 * n)).unwrap();
        assert!((linear - 1.0).abs() < 1e-9);
        let quadratic = exponent(sizes, sizes.map(|n| 10.0 + 0.01 * n * n)).unwrap();
        assert!((quadratic - 2.0).abs() < 0.02);
        assert_eq!(exponent(sizes, [1.0, 1.0, 1.0]), None);
        assert_eq!(exponent([1.0, 1.0, 2.0], [1.0, 2.0, 3.0]), None);
    }

    #[test]
    fn bounds_open_where_no_growth_is_possible() {
        let sizes = [5.0, 505.0, 2005.0];
        let wide = exponent_bounds(
            sizes,
            [Estimate::between(1.0, 2.0, 3.0), Estimate::between(2.0, 4.0, 6.0), Estimate::exact(9.0)],
        );
        assert!(wide.value.is_some() && wide.low.is_none() && wide.high.is_none());
        let tight = exponent_bounds(
            sizes,
            [Estimate::exact(1.0), Estimate::between(3.0, 4.0, 5.0), Estimate::between(9.0, 10.0, 11.0)],
        );
        assert!(tight.low.unwrap() < tight.value.unwrap() && tight.value.unwrap() < tight.high.unwrap());
    }

    /// Worked example: x 1 2 3 4, y 6 5 7 10: slope 1.4, intercept 3.5, residual sum 4.2.
    #[test]
    fn a_line_and_its_interval() {
        let found = line(&[(1.0, 6.0), (2.0, 5.0), (3.0, 7.0), (4.0, 10.0)]).unwrap();
        assert!((found.slope - 1.4).abs() < 1e-12 && (found.intercept - 3.5).abs() < 1e-12);
        let expected = 4.302_652_7 * (4.2f64 / 2.0 / 5.0).sqrt();
        assert!((found.half_width.unwrap() - expected).abs() < 1e-5);
        assert_eq!(line(&[]), None);
        assert_eq!(line(&[(1.0, 1.0), (1.0, 2.0)]), None);
    }

    proptest! {
        #[test]
        fn any_line_grows_with_exponent_one(a in 0.0..100.0f64, b in 0.001..10.0f64) {
            let sizes = [5.0, 505.0, 2005.0];
            prop_assert!((exponent(sizes, sizes.map(|n| a + b * n)).unwrap() - 1.0).abs() < 1e-6);
        }
    }
}
