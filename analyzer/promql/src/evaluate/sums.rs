//! Compensated sums, means and variances.
//!
//! Sums carry a second float with what rounding lost (Kahan's method as improved by Neumaier), so that the order and
//! the number of terms hardly matter.

/// A sum and its compensation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CompensatedSum {
    pub sum: f64,
    pub compensation: f64,
}

impl CompensatedSum {
    /// Adds a term.
    pub(crate) fn add(&mut self, term: f64) {
        let total = self.sum + term;
        let (large, small) = if self.sum.abs() >= term.abs() { (self.sum, term) } else { (term, self.sum) };
        let lost = (large - total) + small;
        self.compensation = if total.is_infinite() { 0.0 } else { self.compensation + lost };
        self.sum = total;
    }

    /// The sum.
    pub(crate) fn value(&self) -> f64 {
        self.sum + self.compensation
    }
}

/// A mean: a sum until that overflows, from then on an incremental mean.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mean {
    total: CompensatedSum,
    count: f64,
    incremental: bool,
}

impl Mean {
    /// Adds a value.
    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1.0;
        if !self.incremental {
            let mut next = self.total;
            next.add(value);
            if self.count <= 1.0 || !next.sum.is_infinite() || self.total.sum.is_infinite() {
                self.total = next;
                return;
            }
            self.incremental = true;
            self.total.sum /= self.count - 1.0;
            self.total.compensation /= self.count - 1.0;
        }
        let share = (self.count - 1.0) / self.count;
        self.total.sum *= share;
        self.total.compensation *= share;
        self.total.add(value / self.count);
    }

    /// The mean.
    pub(crate) fn value(&self) -> f64 {
        if self.incremental {
            self.total.value()
        } else {
            self.total.sum / self.count + self.total.compensation / self.count
        }
    }
}

/// A population variance by Welford's method, compensated.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Variance {
    count: f64,
    mean: CompensatedSum,
    squares: CompensatedSum,
}

impl Variance {
    /// Adds a value.
    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1.0;
        let before = value - self.mean.value();
        self.mean.add(before / self.count);
        let after = value - self.mean.value();
        self.squares.add(before * after);
    }

    /// The variance.
    pub(crate) fn value(&self) -> f64 {
        self.squares.value() / self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_terms_survive_large_ones() {
        let mut sum = CompensatedSum::default();
        for term in [1.0, 1e100, 1.0, -1e100] {
            sum.add(term);
        }
        assert_eq!(sum.value(), 2.0);
    }

    #[test]
    fn a_mean_of_huge_values_does_not_overflow() {
        let mut mean = Mean::default();
        for _ in 0..3 {
            mean.add(f64::MAX);
        }
        assert!((mean.value() / f64::MAX - 1.0).abs() < 1e-12);
        let mut infinite = Mean::default();
        infinite.add(f64::INFINITY);
        infinite.add(1.0);
        assert_eq!(infinite.value(), f64::INFINITY);
    }

    #[test]
    fn the_variance_is_that_of_the_population() {
        let mut variance = Variance::default();
        for value in [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0] {
            variance.add(value);
        }
        assert_eq!(variance.value(), 4.0);
    }
}
